//! Reading MGCP: the view, and what the proxy reads of a registration's messages.

#[path = "../tests/common/mod.rs"]
mod common;

use common::{World, ladder, octets, s1, s8};
use criterion::{Criterion, criterion_group, criterion_main};
use portunus_codec::Writer;
use portunus_mgcp::Mgcp;
use portunus_mgcp::view::Message;
use portunus_signalling::{FromTerminal, Signalling};
use std::hint::black_box;

fn view(c: &mut Criterion) {
    let w = World::v4();
    let sent = ladder(&w);
    let mut group = c.benchmark_group("mgcp");
    for name in ["s1", "s7", "s9"] {
        let octets = octets(&sent, name);
        group.bench_function(format!("view of {name}"), |b| b.iter(|| Message::parse(black_box(octets)).is_ok()));
    }
    for name in ["s1", "s7"] {
        let octets = octets(&sent, name);
        group.bench_function(format!("read {name}"), |b| b.iter(|| Mgcp.read_terminal(black_box(octets)).is_ok()));
    }
    for name in ["s5", "s9"] {
        let octets = octets(&sent, name);
        group.bench_function(format!("route {name}"), |b| b.iter(|| Mgcp.route_core(black_box(octets))));
        group.bench_function(format!("read {name}"), |b| b.iter(|| Mgcp.read_core(black_box(octets)).is_ok()));
    }
    let (hop, mut buf) = (w.hop(), vec![0u8; 4096]);
    let (s1_msg, s7_msg) = (octets(&sent, "s1"), octets(&sent, "s7"));
    let Ok(FromTerminal::S7(s7)) = Mgcp.read_terminal(s7_msg) else { panic!("s7") };
    group.bench_function("write s2", |b| {
        b.iter(|| Mgcp.write_s2(&hop, black_box(s1_msg), &s1(&w), &mut Writer::new(&mut buf)))
    });
    group.bench_function("write s8", |b| {
        b.iter(|| Mgcp.write_s8(&hop, black_box(s7_msg), &s7, &s8(&w), &mut Writer::new(&mut buf)))
    });
    group.finish();
}

criterion_group!(benches, view);
criterion_main!(benches);
