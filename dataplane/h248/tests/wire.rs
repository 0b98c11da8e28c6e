//! What an independent reader says of every message: tshark must call each Megaco and have nothing to remark.

mod common;

use common::{Sent, Shown, World, everything};
use portunus_h248::tpkt::header;

fn clean(name: &str, sent: &[Sent], tcp: bool) {
    let place = (env!("CARGO_TARGET_TMPDIR"), name);
    let (shown, _) = Shown::clean(place, sent, |_| tcp, ("megaco", &["megaco.version"], &[]));
    let commands = shown.tshark(&["-T", "fields", "-e", "megaco.command"]);
    assert!(["Modify", "Notify", "ServiceChange"].iter().all(|c| commands.contains(c)), "{commands}");
}

#[test]
fn every_message_over_udp_and_ipv4() {
    clean("h248-udp4", &everything(&World::v4()), false);
}

#[test]
fn every_message_over_udp_and_ipv6() {
    clean("h248-udp6", &everything(&World::v6()), false);
}

#[test]
fn every_message_of_a_gateway_with_a_device_name() {
    clean("h248-device", &everything(&World::device()), false);
}

#[test]
fn every_message_over_tcp() {
    let w = World::v4();
    // One connection, established before the capture begins: only what the gateway's side carries, each behind TPKT.
    let framed = |mut s: Sent| {
        s.octets = [&header(s.octets.len()).unwrap()[..], &s.octets].concat();
        s
    };
    let own = |s: &Sent| s.from == w.terminal || s.to == w.terminal;
    let sent: Vec<_> = everything(&w).into_iter().filter(own).map(framed).collect();
    clean("h248-tcp4", &sent, true);
}
