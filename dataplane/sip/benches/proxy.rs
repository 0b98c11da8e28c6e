//! What the proxy spends on SIP for one challenged registration: every reader and writer of the steps, in order.

#[path = "../tests/common/mod.rs"]
mod common;

use common::{World, ladder, s6, s10};
use criterion::{Criterion, criterion_group, criterion_main};
use portunus_codec::Writer;
use portunus_keydist::steps::S8;
use portunus_signalling::{FromCore, FromTerminal, Signalling};
use portunus_sip::Sip;
use std::hint::black_box;

fn proxy(c: &mut Criterion) {
    let w = World::v4();
    let sent: Vec<Vec<u8>> = ladder(&w).into_iter().map(|s| s.octets).collect();
    let [s1_msg, _, s5_msg, _, s7_msg, _, s9_msg, _] = &sent[..] else { panic!("eight messages") };
    let (hop, s6, s10) = (w.hop(), s6(&w), s10(&w));
    let mut buf = vec![0u8; 4096];
    let mut group = c.benchmark_group("sip at the proxy");
    let Ok(FromTerminal::S1(s1)) = Sip.read_terminal(s1_msg) else { panic!("s1") };
    let Ok(FromTerminal::S7(s7)) = Sip.read_terminal(s7_msg) else { panic!("s7") };
    let s8 = S8 { idc: s7.idc, idsp: hop.own.idsp, rand: s6.rand, auth_c: s7.auth_c, ipc: hop.source };
    group.bench_function("read s1", |b| b.iter(|| Sip.read_terminal(black_box(s1_msg)).is_ok()));
    group.bench_function("write s2", |b| {
        b.iter(|| Sip.write_s2(&hop, black_box(s1_msg), &s1, &mut Writer::new(&mut buf)))
    });
    group.bench_function("route s5", |b| b.iter(|| Sip.route_core(black_box(s5_msg))));
    group.bench_function("read s5", |b| b.iter(|| Sip.read_core(black_box(s5_msg)).is_ok()));
    group.bench_function("write s6", |b| {
        b.iter(|| Sip.write_s6(&hop, black_box(s1_msg), s5_msg, &s6, &mut Writer::new(&mut buf)))
    });
    group.bench_function("read s7", |b| b.iter(|| Sip.read_terminal(black_box(s7_msg)).is_ok()));
    group.bench_function("write s8", |b| {
        b.iter(|| Sip.write_s8(&hop, black_box(s7_msg), &s7, &s8, &mut Writer::new(&mut buf)))
    });
    group.bench_function("read s9", |b| b.iter(|| Sip.read_core(black_box(s9_msg)).is_ok()));
    group.bench_function("write s10", |b| {
        b.iter(|| Sip.write_s10(&hop, black_box(s7_msg), s9_msg, &s10, &mut Writer::new(&mut buf)))
    });
    group.bench_function("all of a registration", |b| {
        b.iter(|| {
            let mut out = Writer::new(&mut buf);
            let Ok(FromTerminal::S1(s1)) = Sip.read_terminal(black_box(s1_msg)) else { return 0 };
            _ = Sip.write_s2(&hop, s1_msg, &s1, &mut out);
            black_box(Sip.route_core(black_box(s5_msg)));
            let Ok(FromCore::Challenge { .. }) = Sip.read_core(s5_msg) else { return 0 };
            out.truncate(0);
            _ = Sip.write_s6(&hop, s1_msg, s5_msg, &s6, &mut out);
            let Ok(FromTerminal::S7(s7)) = Sip.read_terminal(black_box(s7_msg)) else { return 0 };
            out.truncate(0);
            _ = Sip.write_s8(&hop, s7_msg, &s7, &s8, &mut out);
            black_box(Sip.route_core(black_box(s9_msg)));
            let Ok(FromCore::Key { .. }) = Sip.read_core(s9_msg) else { return 0 };
            out.truncate(0);
            _ = Sip.write_s10(&hop, s7_msg, s9_msg, &s10, &mut out);
            out.len()
        });
    });
    group.finish();
}

criterion_group!(benches, proxy);
criterion_main!(benches);
