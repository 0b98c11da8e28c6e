//! Nothing on the proxy's path allocates: a counting allocator watches every reader and writer.
#![allow(unsafe_code)] // A global allocator cannot be written without it; this one counts and passes on.

mod common;

use common::{World, everything, ladder, n1a, s1, s6, s7, s8, s10};
use portunus_codec::Writer;
use portunus_h323::Ras;
use portunus_h323::carriage::{core, terminal};
use portunus_h323::view::Message;
use portunus_keydist::steps::Refusal;
use portunus_signalling::{Signalling, Text};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::hint::black_box;

struct Counting;

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: every call goes to the system's allocator unchanged; the counter is a thread-local without destructor and
// without allocation of its own.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.with(|c| c.set(c.get() + 1));
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(ptr, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn allocations(f: impl FnOnce()) -> u64 {
    let before = COUNT.with(Cell::get);
    f();
    COUNT.with(Cell::get) - before
}

#[test]
fn the_counter_counts() {
    assert_eq!(allocations(|| drop(black_box(Box::new(1)))), 1);
}

#[test]
fn readers_allocate_nothing() {
    for sent in World::all().iter().flat_map(everything) {
        let octets = &sent.octets[..];
        let cut = &octets[..octets.len() / 2];
        let n = allocations(|| {
            let mut text = Text::new();
            for octets in [octets, cut] {
                if let Ok(msg) = Message::parse(octets) {
                    _ = black_box(msg.aliases().chain(msg.destination()).count());
                    _ = black_box((msg.token().is_ok(), msg.mac().is_some(), msg.reason()));
                    _ = black_box(core::read(&msg, &mut text).is_ok());
                }
                _ = black_box(Ras.read_terminal(octets, &mut text).is_ok());
                _ = black_box(Ras.read_answer(octets, &mut text).is_ok());
                _ = black_box(terminal::read_answer(octets, &mut text).is_ok());
                _ = black_box(Ras.route_core(octets));
                _ = black_box(Ras.transaction(octets));
                _ = black_box(Ras.answers_registration(octets));
            }
        });
        assert_eq!(n, 0, "{}", sent.name);
    }
}

#[test]
fn writers_allocate_nothing() {
    for w in World::all() {
        let sent = ladder(&w);
        let find = |name: &str| &sent.iter().find(|s| s.name == name).unwrap().octets[..];
        let (s1_msg, s5_msg, s7_msg, s9_msg) = (find("s1"), find("s5"), find("s7"), find("s9"));
        let (s1, s6, s7, s8, s10, hop) = (s1(&w), s6(&w), s7(&w), s8(&w), s10(&w), w.hop());
        let mut buf = vec![0u8; 8192];
        let n = allocations(|| {
            for step in 0..7 {
                let mut out = Writer::new(&mut buf);
                let written = match step {
                    0 => Ras.write_s2(&hop, s1_msg, &s1, &mut out),
                    1 => Ras.write_s6(&hop, s1_msg, s5_msg, &s6, &mut out),
                    2 => Ras.write_s8(&hop, s7_msg, &s7, &s8, &mut out),
                    3 => Ras.write_s10(&hop, s7_msg, s9_msg, &s10, &mut out).map(|_| ()),
                    4 => Ras.write_refusal(&hop, s1_msg, &Refusal::Stale { ts: 1 }, Some(&n1a()), &mut out),
                    5 => Ras.write_refusal(&hop, s7_msg, &Refusal::Denied, None, &mut out),
                    _ => Ras.write_cookie(&hop, s1_msg, &n1a(), 1, b"c", &mut out),
                };
                assert!(written.is_ok() && !out.is_empty());
            }
        });
        assert_eq!(n, 0);
        for sent in everything(&w) {
            let n = allocations(|| {
                let mut out = Writer::new(&mut buf);
                _ = black_box(Ras.relay_up(&hop, &w.session(), &sent.octets, &mut out).is_ok());
                let mut out = Writer::new(&mut buf);
                _ = black_box(Ras.relay_down(&hop, &w.session(), &sent.octets, &mut out).is_ok());
                let mut out = Writer::new(&mut buf);
                if let Err(fault) = Ras.read_terminal(&sent.octets, &mut Text::new()) {
                    _ = black_box(Ras.write_fault(&hop, &sent.octets, &fault, &mut out).is_ok());
                }
                let mut out = Writer::new(&mut buf);
                _ = black_box(Ras.answer_own(&hop, &sent.octets, false, &mut out).is_ok());
            });
            assert_eq!(n, 0, "{}", sent.name);
        }
    }
}
