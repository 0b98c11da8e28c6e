//! Nothing on the proxy's path allocates: a counting allocator watches every reader and writer.

mod common;

use common::{World, everything, ladder};
use portunus_h323::Ras;
use portunus_h323::carriage::{core, terminal};
use portunus_h323::view::Message;
use portunus_signalling::Text;
use portunus_testkit::allocation;
use std::hint::black_box;

fn count(f: &mut dyn FnMut()) -> u64 {
    allocation_counter::measure(f).count_total
}

#[test]
fn readers_allocate_nothing() {
    for w in World::all() {
        allocation::readers(&count, &Ras, &everything(&w), |octets| {
            let mut text = Text::new();
            if let Ok(msg) = Message::parse(octets) {
                _ = black_box(msg.aliases().chain(msg.destination()).count());
                _ = black_box((msg.token().is_ok(), msg.mac().is_some(), msg.reason()));
                _ = black_box(core::read(&msg, &mut text).is_ok());
            }
            _ = black_box(terminal::read_answer(octets, &mut text).is_ok());
        });
    }
}

#[test]
fn writers_allocate_nothing() {
    for w in World::all() {
        let messages = (&ladder(&w)[..], &everything(&w)[..]);
        allocation::writers(&count, &Ras, &w, (&w.hop(), &w.session()), messages, |_, _| {});
    }
}
