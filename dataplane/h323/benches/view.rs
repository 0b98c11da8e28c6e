//! Reading RAS: the view of a registration's messages, and what the proxy reads and writes of them.

#[path = "../tests/common/mod.rs"]
mod common;

use common::{Sent, World, from_terminal, ladder, s1, s8};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use portunus_codec::Writer;
use portunus_h323::Ras;
use portunus_h323::view::Message;
use portunus_signalling::{FromTerminal, Signalling, Text};
use std::hint::black_box;

fn octets<'a>(sent: &'a [Sent], name: &str) -> &'a [u8] {
    &sent.iter().find(|s| s.name == name).expect("a message of the ladder").octets
}

fn view(c: &mut Criterion) {
    let w = World::v4();
    let sent = ladder(&w);
    let (_, keep_alive) = from_terminal(&w).swap_remove(0);
    let mut text = Text::new();
    for (name, msg) in [("s1", octets(&sent, "s1")), ("s7", octets(&sent, "s7")), ("keep-alive", &keep_alive)] {
        assert!(Message::parse(msg).is_ok());
        let mut group = c.benchmark_group(format!("ras view, {name}"));
        group.throughput(Throughput::Bytes(msg.len() as u64));
        group.bench_function("check", |b| b.iter(|| Message::parse(black_box(msg)).is_ok()));
        group.bench_function("read", |b| b.iter(|| Ras.read_terminal(black_box(msg), &mut text).is_ok()));
        group.finish();
    }
    let mut group = c.benchmark_group("ras");
    for name in ["s5", "s9"] {
        let msg = octets(&sent, name);
        group.bench_function(format!("route {name}"), |b| b.iter(|| Ras.route_core(black_box(msg))));
        group.bench_function(format!("read {name}"), |b| {
            b.iter(|| Ras.read_answer(black_box(msg), &mut text).is_ok());
        });
    }
    let (hop, mut buf) = (w.hop(), vec![0u8; 4096]);
    let (s1_msg, s7_msg) = (octets(&sent, "s1"), octets(&sent, "s7"));
    let mut names = Text::new();
    let Ok(FromTerminal::S7(s7)) = Ras.read_terminal(s7_msg, &mut names) else { panic!("s7") };
    group.bench_function("write s2", |b| {
        b.iter(|| Ras.write_s2(&hop, black_box(s1_msg), &s1(&w), &mut Writer::new(&mut buf)));
    });
    group.bench_function("write s8", |b| {
        b.iter(|| Ras.write_s8(&hop, black_box(s7_msg), &s7, &s8(&w), &mut Writer::new(&mut buf)));
    });
    group.finish();
}

criterion_group!(benches, view);
criterion_main!(benches);
