//! Nothing on the proxy's path allocates: a counting allocator watches every reader and writer.

mod common;

use common::{World, everything, ladder};
use portunus_signalling::Signalling as _;
use portunus_sip::Sip;
use portunus_sip::frame::next_message;
use portunus_sip::view::Message;
use portunus_testkit::allocation;
use std::hint::black_box;

fn count(f: &mut dyn FnMut()) -> u64 {
    allocation_counter::measure(f).count_total
}

#[test]
fn readers_allocate_nothing() {
    for w in [World::v4(), World::v6()] {
        allocation::readers(&count, &Sip, &everything(&w), |octets| {
            _ = black_box(next_message(octets));
            _ = black_box(Message::parse(octets).map(|m| m.headers().count()));
            _ = black_box(Sip.read_terminal(octets).is_ok());
            _ = black_box(Sip.read_core(octets).is_ok());
        });
    }
}

#[test]
fn writers_allocate_nothing() {
    for w in [World::v4(), World::v6()] {
        let messages = (&ladder(&w)[..], &everything(&w)[..]);
        allocation::writers(&count, &Sip, &w, (&w.hop(), &w.session()), messages, |octets, o| {
            _ = black_box(Sip.write_digest(&w.hop(), octets, w.idc, o).is_ok());
        });
    }
}
