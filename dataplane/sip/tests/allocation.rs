//! Nothing on the proxy's path allocates: a counting allocator watches every reader and writer.
#![allow(unsafe_code)] // A global allocator cannot be written without it; this one counts and passes on.

mod common;

use common::{SEL, World, everything, ladder, n1a, s1, s6, s7, s10};
use portunus_codec::Writer;
use portunus_keydist::steps::{Refusal, S8};
use portunus_signalling::Signalling;
use portunus_sip::Sip;
use portunus_sip::frame::next_message;
use portunus_sip::view::Message;
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
    for w in [World::v4(), World::v6()] {
        for sent in everything(&w) {
            let octets = &sent.octets[..];
            let cut = &octets[..octets.len() / 2];
            let n = allocations(|| {
                for octets in [octets, cut] {
                    _ = black_box(next_message(octets));
                    _ = black_box(Message::parse(octets).map(|m| m.headers().count()));
                    _ = black_box(Sip.read_terminal(octets).is_ok());
                    _ = black_box(Sip.read_core(octets).is_ok());
                    _ = black_box(Sip.route_core(octets));
                }
            });
            assert_eq!(n, 0, "{}", sent.name);
        }
    }
}

#[test]
fn writers_allocate_nothing() {
    for w in [World::v4(), World::v6()] {
        let sent = ladder(&w);
        let (s1_msg, s5_msg) = (&sent[0].octets[..], &sent[2].octets[..]);
        let (s7_msg, s9_msg) = (&sent[4].octets[..], &sent[6].octets[..]);
        let (s1, s6, s7, s10, hop) = (s1(&w), s6(&w), s7(&w), s10(&w), w.hop());
        let s8 = S8 { idc: w.idc, idsp: w.idsp, rand: s6.rand, auth_c: s7.auth_c, ipc: w.terminal };
        let mut buf = vec![0u8; 8192];
        let n = allocations(|| {
            for step in 0..8 {
                let mut out = Writer::new(&mut buf);
                let written = match step {
                    0 => Sip.write_s2(&hop, s1_msg, &s1, &mut out),
                    1 => Sip.write_s6(&hop, s1_msg, s5_msg, &s6, &mut out),
                    2 => Sip.write_s8(&hop, s7_msg, &s7, &s8, &mut out),
                    3 => Sip.write_s10(&hop, s7_msg, s9_msg, &s10, &mut out).map(|_| ()),
                    4 => Sip.write_refusal(&hop, s1_msg, &Refusal::Stale { ts: 1 }, Some(&n1a()), &mut out),
                    5 => Sip.write_cookie(&hop, s1_msg, &n1a(), 1, b"c", &mut out),
                    6 => Sip.write_digest(&hop, s1_msg, w.idc, &mut out),
                    _ => Sip.binding(s7_msg, &portunus_signalling::Marks::NONE, &mut out),
                };
                assert!(written.is_ok() && !out.is_empty());
            }
        });
        assert_eq!((n, SEL.len()), (0, s10.sel.len()));
        for sent in everything(&w) {
            let n = allocations(|| {
                let mut out = Writer::new(&mut buf);
                _ = black_box(Sip.relay_up(&hop, &w.session(), &sent.octets, &mut out).is_ok());
                let mut out = Writer::new(&mut buf);
                _ = black_box(Sip.relay_down(&hop, &w.session(), &sent.octets, &mut out).is_ok());
                let mut out = Writer::new(&mut buf);
                if let Err(fault) = Sip.read_terminal(&sent.octets) {
                    _ = black_box(Sip.write_fault(&hop, &sent.octets, &fault, &mut out).is_ok());
                }
            });
            assert_eq!(n, 0, "{}", sent.name);
        }
    }
}
