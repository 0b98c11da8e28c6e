//! Once an engine is made, nothing that it does allocates: a counting allocator says so.
mod common;

use common::*;
use core::cell::Cell;
use portunus_engine::{Capacity, CorePacket, Event, Packet, Policy, Sink, To};
use portunus_signalling::Protocol;
use std::alloc::{GlobalAlloc, Layout, System};

thread_local! {
    static COUNTING: Cell<bool> = const { Cell::new(false) };
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

fn note() {
    if COUNTING.with(Cell::get) {
        COUNT.with(|count| count.set(count.get() + 1));
    }
}

// SAFETY: everything is handed to the system's allocator as it came; the counting touches thread-local cells only.
#[allow(unsafe_code)]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note();
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        note();
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        note();
        // SAFETY: the caller's promises are passed on.
        unsafe { System.realloc(at, layout, size) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Counts what happens in `run`.
fn allocations(run: impl FnOnce()) -> u64 {
    COUNT.with(|count| count.set(0));
    COUNTING.with(|counting| counting.set(true));
    run();
    COUNTING.with(|counting| counting.set(false));
    COUNT.with(Cell::get)
}

/// Keeps what leaves in buffers that were there before.
struct Fixed {
    buffers: Vec<(Option<To>, usize, Vec<u8>)>,
    used: usize,
    events: u64,
}

impl Fixed {
    fn new() -> Self {
        Self { buffers: (0..64).map(|_| (None, 0, vec![0; 4096])).collect(), used: 0, events: 0 }
    }

    fn take(&mut self) -> Vec<(To, Vec<u8>)> {
        let out = self.buffers[..self.used].iter().map(|(to, len, buf)| (to.unwrap(), buf[..*len].to_vec())).collect();
        self.used = 0;
        out
    }
}

impl Sink for Fixed {
    fn send(&mut self, to: To, write: &mut dyn FnMut(&mut [u8]) -> Option<usize>) -> bool {
        let Some((place, length, buf)) = self.buffers.get_mut(self.used) else { return false };
        if let Some(len) = write(buf) {
            (*place, *length) = (Some(to), len);
            self.used += 1;
        }
        true
    }

    fn event(&mut self, _: Event<'_>) {
        self.events += 1;
    }
}

struct Counted {
    world: World,
    sink: Fixed,
    total: u64,
}

impl Counted {
    fn access(&mut self, meta: portunus_engine::Meta, octets: &[u8]) -> Vec<(To, Vec<u8>)> {
        let mut octets = octets.to_vec();
        let (engine, sink, now) = (&mut self.world.engine, &mut self.sink, self.world.now);
        self.total += allocations(|| engine.on_batch(now, &mut [Packet { meta, bytes: &mut octets }], sink));
        self.sink.take()
    }

    fn core(&mut self, octets: &[u8]) -> Vec<(To, Vec<u8>)> {
        let (engine, sink, now) = (&mut self.world.engine, &mut self.sink, self.world.now);
        self.total += allocations(|| engine.on_core(now, &[CorePacket::shared(octets)], Protocol::Sip, sink));
        self.sink.take()
    }

    fn timer(&mut self, ms: u64) -> Vec<(To, Vec<u8>)> {
        self.world.now.mono_ms += ms;
        self.world.now.wall_ms += ms;
        let (engine, sink, now) = (&mut self.world.engine, &mut self.sink, self.world.now);
        self.total += allocations(|| engine.on_timer(now, sink));
        self.sink.take()
    }

    fn round(&mut self, meta: portunus_engine::Meta, octets: &[u8]) -> Vec<u8> {
        let up = self.access(meta, octets);
        let answer = self.world.core.answer(&up[0].1);
        self.core(&answer).remove(0).1
    }
}

#[test]
fn the_counter_counts() {
    assert_eq!(allocations(|| drop(std::hint::black_box(Box::new(7)))), 1);
    assert_eq!(allocations(|| ()), 0);
}

#[test]
fn nothing_allocates_from_the_first_message_on() {
    let world = World::with(Policy::default(), Capacity { sessions: 8, ..capacity() });
    let mut counted = Counted { world, sink: Fixed::new(), total: 0 };
    for round in 0..40u64 {
        let idc = format!("t{}@x", round % 7);
        let mut phone = counted.world.phone(&idc, "192.0.2.7:5060");
        phone.rng = Seeded(round);
        let s1 = phone.s1(counted.world.now);
        let s6 = counted.round(phone.meta(), &s1);
        counted.access(phone.meta(), &s1);
        let s7 = phone.s7(counted.world.now, &s6);
        let s10 = counted.round(phone.meta(), &s7);
        counted.access(phone.meta(), &s7);
        assert!(phone.on_s10(&s10));
        let at = counted.world.sealed(&phone);
        let confirmation = phone.seal(0, b"");
        assert_eq!(counted.access(at, &confirmation).len(), 1);
        let refresh = phone.write(|a, t, w| portunus_sip::carriage::terminal::write_register(a, t, 600, w));
        let sealed = phone.seal(1, &refresh);
        let up = counted.access(at, &sealed).remove(0).1;
        let answer = counted.world.core.answer(&up);
        assert_eq!(counted.core(&answer).len(), 1);
        // What fails: forged, replayed, cut, foreign; and what nobody answers.
        let mut forged = phone.seal(1, &refresh);
        forged[30] ^= 1;
        counted.access(at, &forged);
        counted.access(at, &sealed);
        counted.access(phone.meta(), &s1[..100]);
        counted.access(phone.meta(), &refresh);
        let silent = phone.s1(counted.world.now);
        counted.access(phone.meta(), &silent);
        assert_eq!(counted.timer(5_000).len(), 1, "503 to the one that nobody answered");
    }
    let count = counted.world.count();
    assert_eq!((count.s10_sent, count.sessions_confirmed, count.core_timeout), (40, 40, 40));
    assert!(counted.sink.events > 40);
    assert_eq!(counted.total, 0, "allocations in 40 rounds");
}
