//! What a registered terminal costs: resident memory, and whether a million of them make a message dearer than a
//! thousand do. Prints the memory, then measures with criterion.
//!
//! `cargo bench -p portunus-engine`; `PORTUNUS_TERMINALS` sets the large number (default 1,000,000).

#[path = "../tests/common/mod.rs"]
mod common;

use common::*;
use criterion::{Criterion, Throughput};
use portunus_engine::{Capacity, CorePacket, Event, Meta, Packet, Policy, Sink, To};
use portunus_keydist::mech::MechList;
use portunus_keydist::{Key, Random as _};
use portunus_signalling::Protocol;
use std::hint::black_box;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

/// Octets of this process that are in memory.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok());
    pages.unwrap_or_default() * 4096
}

/// Takes messages and forgets them.
struct Void {
    buf: Vec<u8>,
    sent: u64,
}

impl Sink for Void {
    fn send(&mut self, _: To, write: &mut dyn FnMut(&mut [u8]) -> Option<usize>) -> bool {
        self.sent += u64::from(write(&mut self.buf).is_some());
        true
    }

    fn event(&mut self, _: Event<'_>) {}
}

fn phone(n: usize, key: &Key) -> Phone {
    let addr = SocketAddr::new(Ipv4Addr::from(0x0a00_0000 + n as u32).into(), 5060);
    let mut phone = Phone::new(&format!("t{n:07}@example.test"), key, &addr.to_string());
    phone.mechs = MechList::from_text("x-pkd-sealed").expect("a list");
    phone
}

/// Registers and confirms so many terminals; keeps the sessions of some.
fn fill(terminals: usize, keep: usize) -> (World, Vec<Phone>) {
    let mut world = World::with(Policy::default(), Capacity::for_terminals(terminals));
    let key = Key::new([3; 32]);
    let mut kept = Vec::with_capacity(keep);
    // Once before the measure, so that the harness's own buffers are there.
    for n in 0..terminals {
        let mut phone = phone(n, &key);
        world.core.subscribers.insert(phone.idc.clone(), key.clone());
        world.register(&mut phone);
        world.confirm(&mut phone);
        world.core.subscribers.clear();
        world.core.asked.clear();
        world.core.rands.clear();
        world.sink.events.clear();
        // All in about half an hour, as the capacities are meant.
        world.pass((1_800_000 / terminals as u64).max(2));
        if n % (terminals / keep).max(1) == 0 && kept.len() < keep {
            kept.push(phone);
        }
    }
    assert_eq!(world.count().sessions_active, terminals as u64);
    (world, kept)
}

/// One confirmation of each kept terminal, in batches of 32: header, lookup, window, open, seal, send.
fn sealed_traffic(c: &mut Criterion, name: &str, world: &mut World, phones: &mut [Phone]) {
    let mut void = Void { buf: vec![0; 4096], sent: 0 };
    let mut rng = Seeded(5);
    let mut group = c.benchmark_group("a sealed datagram in and one out");
    group.throughput(Throughput::Elements(32));
    group.bench_function(name, |b| {
        b.iter_custom(|rounds| {
            let mut total = Duration::ZERO;
            for _ in 0..rounds {
                let mut batch: Vec<(Meta, Vec<u8>)> = (0..32)
                    .map(|_| {
                        let phone = &mut phones[rng.next_u64() as usize % 4096.min(phones.len())];
                        (Meta { source: phone.addr, listener: SEALED, conn: 0 }, phone.seal(0, b""))
                    })
                    .collect();
                let mut packets: Vec<Packet<'_>> =
                    batch.iter_mut().map(|(meta, bytes)| Packet { meta: *meta, bytes }).collect();
                let start = Instant::now();
                world.engine.on_batch(world.now, black_box(&mut packets), &mut void);
                total += start.elapsed();
            }
            total
        });
    });
    group.finish();
    assert_eq!(world.count().sealed_forged, 0);
}

/// Messages that leave, in buffers that were there before.
struct Tray {
    rooms: Vec<(usize, Vec<u8>)>,
    used: usize,
}

impl Tray {
    fn take(&mut self) -> Vec<Vec<u8>> {
        self.rooms[..std::mem::take(&mut self.used)].iter().map(|(len, room)| room[..*len].to_vec()).collect()
    }
}

impl Sink for Tray {
    fn send(&mut self, _: To, write: &mut dyn FnMut(&mut [u8]) -> Option<usize>) -> bool {
        let Some((len, room)) = self.rooms.get_mut(self.used) else { return false };
        if let Some(written) = write(room) {
            *len = written;
            self.used += 1;
        }
        true
    }

    fn event(&mut self, _: Event<'_>) {}
}

const BATCH: usize = 32;

/// A batch in from the access side; the time is added, what leaves comes back.
fn timed_access(
    world: &mut World,
    tray: &mut Tray,
    total: &mut Duration,
    batch: &mut [(Meta, Vec<u8>)],
) -> Vec<Vec<u8>> {
    let mut packets: Vec<Packet<'_>> = batch.iter_mut().map(|(meta, bytes)| Packet { meta: *meta, bytes }).collect();
    let start = Instant::now();
    world.engine.on_batch(world.now, &mut packets, tray);
    *total += start.elapsed();
    tray.take()
}

/// A batch in from the core, answering these.
fn timed_core(world: &mut World, tray: &mut Tray, total: &mut Duration, asked: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let answers: Vec<Vec<u8>> = asked.iter().map(|message| world.core.answer(message)).collect();
    let answers: Vec<_> = answers.iter().map(|answer| CorePacket::shared(answer)).collect();
    let start = Instant::now();
    world.engine.on_core(world.now, &answers, Protocol::Sip, tray);
    *total += start.elapsed();
    tray.take()
}

/// Whole registrations, s1 to s10, in batches of 32; only the proxy's work is counted.
fn registrations(c: &mut Criterion, name: &str, world: &mut World) {
    let key = Key::new([3; 32]);
    let mut tray = Tray { rooms: (0..BATCH).map(|_| (0, vec![0; 4096])).collect(), used: 0 };
    let mut group = c.benchmark_group("a registration at the proxy, s1 to s10");
    group.throughput(Throughput::Elements(BATCH as u64));
    group.bench_function(name, |b| {
        b.iter_custom(|rounds| {
            let mut total = Duration::ZERO;
            for _ in 0..rounds {
                // The same few terminals over and over, so that the table stays as full as it is.
                let mut phones: Vec<Phone> = (0..BATCH).map(|i| phone(9_000_000 + i, &key)).collect();
                for phone in &mut phones {
                    phone.rng = Seeded(world.core.rng.next_u64());
                    world.core.subscribers.insert(phone.idc.clone(), key.clone());
                }
                let now = world.now;
                let mut s1s: Vec<_> = phones.iter_mut().map(|phone| (phone.meta(), phone.s1(now))).collect();
                let s2s = timed_access(world, &mut tray, &mut total, &mut s1s);
                let s6s = timed_core(world, &mut tray, &mut total, &s2s);
                let mut s7s: Vec<_> =
                    phones.iter_mut().zip(&s6s).map(|(phone, s6)| (phone.meta(), phone.s7(now, s6))).collect();
                let s8s = timed_access(world, &mut tray, &mut total, &mut s7s);
                let s10s = timed_core(world, &mut tray, &mut total, &s8s);
                assert!(s10s.len() == BATCH && status(&s10s[0]) == 200);
                world.core.rands.clear();
                // Slowly enough for the capacities of the smaller table.
                world.pass(1_000);
            }
            total
        });
    });
    group.finish();
}

fn main() {
    let large = std::env::var("PORTUNUS_TERMINALS").ok().and_then(|n| n.parse().ok()).unwrap_or(1_000_000);
    let before = resident();
    let (mut world, mut kept) = fill(large, 4096);
    let grown = resident().saturating_sub(before) as f64;
    println!("{large} terminals: {:.0} octets resident each, everything included", grown / large as f64);
    let mut c = Criterion::default().configure_from_args();
    let (mut small, mut few) = fill(1_000, 1_000);
    sealed_traffic(&mut c, "1k sessions", &mut small, &mut few);
    sealed_traffic(&mut c, &format!("{large} sessions"), &mut world, &mut kept);
    registrations(&mut c, "1k sessions", &mut small);
    registrations(&mut c, &format!("{large} sessions"), &mut world);
    c.final_summary();
}
