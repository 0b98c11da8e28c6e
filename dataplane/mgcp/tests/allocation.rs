//! Nothing on the proxy's path allocates: a counting allocator watches every reader and writer.

mod common;

use common::{World, everything, ladder};
use portunus_mgcp::Mgcp;
use portunus_mgcp::carriage::{core, terminal};
use portunus_mgcp::view::{Message, Parts};
use portunus_testkit::allocation;
use std::hint::black_box;

fn count(f: &mut dyn FnMut()) -> u64 {
    allocation_counter::measure(f).count_total
}

#[test]
fn readers_allocate_nothing() {
    for w in [World::v4(), World::v6()] {
        allocation::readers(&count, &Mgcp, &everything(&w), |octets| {
            for part in Parts::new(octets) {
                let msg = Message::parse(part);
                _ = black_box(msg.as_ref().map(|m| m.lines().count()));
                _ = black_box(msg.is_ok_and(|m| core::read(&m).is_ok()));
            }
            _ = black_box(terminal::read(octets).is_ok());
            _ = black_box(Mgcp.read_terminal(octets).is_ok());
            _ = black_box(Mgcp.read_core(octets).is_ok());
        });
    }
}

#[test]
fn writers_allocate_nothing() {
    for w in [World::v4(), World::v6()] {
        let messages = (&ladder(&w)[..], &everything(&w)[..]);
        allocation::writers(&count, &Mgcp, &w, (&w.hop(), &w.session()), messages, |_, _| {});
    }
}
