//! Nothing on the proxy's path allocates: a counting allocator watches every reader and writer.

mod common;

use common::{World, everything, ladder};
use portunus_h248::H248;
use portunus_h248::tpkt::next_message;
use portunus_h248::view::Message;
use portunus_testkit::allocation;
use std::hint::black_box;

fn count(f: &mut dyn FnMut()) -> u64 {
    allocation_counter::measure(f).count_total
}

#[test]
fn readers_allocate_nothing() {
    for w in World::all() {
        allocation::readers(&count, &H248, &everything(&w), |octets| {
            _ = black_box(next_message(octets));
            _ = black_box(Message::parse(octets).map(|m| m.transactions().count()));
            _ = black_box(H248.read_terminal(octets).is_ok());
            _ = black_box(H248.read_core(octets).is_ok());
        });
    }
}

#[test]
fn writers_allocate_nothing() {
    for w in World::all() {
        let messages = (&ladder(&w)[..], &everything(&w)[..]);
        allocation::writers(&count, &H248, &w, (&w.hop(), &w.session()), messages, |_, _| {});
    }
}
