//! Nothing on the proxy's path allocates: a counting allocator watches every reader and writer.
#![allow(unsafe_code)] // A global allocator cannot be written without it; this one counts and passes on.

mod common;

use common::{SEL, World, everything, ladder, n1a, octets, s1, s6, s7, s8, s10};
use portunus_codec::Writer;
use portunus_keydist::steps::Refusal;
use portunus_mgcp::Mgcp;
use portunus_mgcp::carriage::{core, terminal};
use portunus_mgcp::view::{Message, Parts};
use portunus_signalling::Signalling;
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
                    for part in Parts::new(octets) {
                        let msg = Message::parse(part);
                        _ = black_box(msg.as_ref().map(|m| m.lines().count()));
                        _ = black_box(msg.is_ok_and(|m| core::read(&m).is_ok()));
                    }
                    _ = black_box(terminal::read(octets).is_ok());
                    _ = black_box(Mgcp.read_terminal(octets).is_ok());
                    _ = black_box(Mgcp.read_core(octets).is_ok());
                    _ = black_box(Mgcp.route_core(octets));
                    _ = black_box(Mgcp.transaction(octets));
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
        let (s1_msg, s5_msg) = (octets(&sent, "s1"), octets(&sent, "s5"));
        let (s7_msg, s9_msg) = (octets(&sent, "s7"), octets(&sent, "s9"));
        let (s1, s6, s7, s10, s8, hop) = (s1(&w), s6(&w), s7(&w), s10(&w), s8(&w), w.hop());
        let mut buf = vec![0u8; 8192];
        let n = allocations(|| {
            for step in 0..8 {
                let mut out = Writer::new(&mut buf);
                let written = match step {
                    0 => Mgcp.write_s2(&hop, s1_msg, &s1, &mut out),
                    1 => Mgcp.write_s6(&hop, s1_msg, s5_msg, &s6, &mut out),
                    2 => Mgcp.write_s8(&hop, s7_msg, &s7, &s8, &mut out),
                    3 => Mgcp.write_s10(&hop, s7_msg, s9_msg, &s10, &mut out).map(|_| ()),
                    4 => Mgcp.write_refusal(&hop, s1_msg, &Refusal::Stale { ts: 1 }, Some(&n1a()), &mut out),
                    5 => Mgcp.write_cookie(&hop, s1_msg, &n1a(), 1, b"c", &mut out),
                    6 => {
                        Mgcp.acknowledge(&hop, s1_msg, &mut out);
                        Ok(())
                    }
                    _ => {
                        Mgcp.acknowledge_core(&hop, s5_msg, &mut out);
                        Ok(())
                    }
                };
                assert!(written.is_ok() && !out.is_empty());
            }
        });
        assert_eq!((n, SEL.len()), (0, s10.sel.len()));
        for sent in everything(&w) {
            let n = allocations(|| {
                let mut out = Writer::new(&mut buf);
                _ = black_box(Mgcp.relay_up(&hop, &w.session(), &sent.octets, &mut out).is_ok());
                let mut out = Writer::new(&mut buf);
                _ = black_box(Mgcp.relay_down(&hop, &w.session(), &sent.octets, &mut out).is_ok());
                let mut out = Writer::new(&mut buf);
                _ = black_box(Mgcp.write_refusal(&hop, &sent.octets, &Refusal::Denied, None, &mut out).is_ok());
                let mut out = Writer::new(&mut buf);
                if let Err(fault) = Mgcp.read_terminal(&sent.octets) {
                    _ = black_box(Mgcp.write_fault(&hop, &sent.octets, &fault, &mut out).is_ok());
                }
            });
            assert_eq!(n, 0, "{}", sent.name);
        }
    }
}
