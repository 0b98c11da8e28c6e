//! Wall time of the data plane's pieces, for a look; what gates is `portunus-load count`, and what is claimed is
//! `portunus-load compare`. The crates' own benches (`cargo bench -p portunus-sip`, `-keydist`, `-engine`) go deeper.
#![allow(missing_docs)] // criterion's macros make public functions without any.

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use portunus_benches::count::{Crypto, SEVENTEEN, ring, seal_and_open};
use portunus_benches::paths::S1_SIP;
use portunus_benches::rig::{BATCH, Rig};
use portunus_channel::ReplayWindow;
use portunus_keydist::mech::Mech;
use portunus_sip::Sip;
use portunus_sip::view::Message;
use std::hint::black_box;
use std::time::Duration;

fn parse(c: &mut Criterion) {
    let mut g = c.benchmark_group("parse");
    g.bench_function("index 17 headers", |b| b.iter(|| Message::parse(black_box(SEVENTEEN.as_bytes())).is_ok()));
    g.bench_function("read s1", |b| b.iter(|| Sip.read_terminal(black_box(S1_SIP.as_bytes())).is_ok()));
    g.finish();
}

fn crypto(c: &mut Criterion) {
    let crypto = Crypto::new().expect("always the same material");
    let mut g = c.benchmark_group("crypto");
    g.throughput(Throughput::Elements(BATCH as u64));
    g.bench_function("s9 to s10, batch of 32", |b| b.iter(|| crypto.batch(BATCH)));
    g.throughput(Throughput::Elements(1));
    for mech in [Mech::Sealed, Mech::Esp] {
        let mut seq = 0;
        g.bench_function(format!("seal and open 600 octets, {}", mech.token()), |b| {
            b.iter(|| {
                seq += 1;
                seal_and_open(mech, &crypto.keys, seq)
            });
        });
    }
    g.finish();
}

fn tables(c: &mut Criterion) {
    let mut g = c.benchmark_group("tables");
    let mut window = ReplayWindow::new();
    let mut seq = 0;
    g.bench_function("replay window commit", |b| {
        b.iter(|| {
            seq += 1;
            window.commit(black_box(seq))
        });
    });
    g.throughput(Throughput::Elements(1_000));
    g.bench_function("ring, 1000 messages of 600 octets", |b| {
        b.iter_batched(|| (), |()| ring(1_000), BatchSize::SmallInput);
    });
    g.finish();
}

fn engine(c: &mut Criterion) {
    let mut g = c.benchmark_group("engine");
    g.sample_size(20).throughput(Throughput::Elements(BATCH as u64));
    let mut rig = Rig::new(10_000).expect("its configuration is valid");
    let mut next = 0u64;
    g.bench_function("32 registrations, s1 to confirmation (engine alone)", |b| {
        b.iter_custom(|runs| {
            let before = rig.engine_time;
            for _ in 0..runs {
                let numbers: Vec<u64> = (next..next + BATCH as u64).map(|n| n % 10_000).collect();
                next += BATCH as u64;
                rig.register(&numbers);
            }
            (rig.engine_time - before).max(Duration::from_nanos(1))
        });
    });
    g.finish();
}

criterion_group!(benches, parse, crypto, tables, engine);
criterion_main!(benches);
