//! What an independent reader says of every message: tshark must call each SIP and have nothing to remark.

mod common;

use common::{Sent, Shown, World, everything};
use portunus_signalling::Transport;

fn clean(name: &str, sent: &[Sent], tcp: bool) {
    // The core side is always UDP.
    let core = |s: &Sent| [5080, 5060].contains(&s.from.port()) && [5080, 5060].contains(&s.to.port());
    let place = (env!("CARGO_TARGET_TMPDIR"), name);
    Shown::clean(place, sent, |s| tcp && !core(s), ("sip", &["sip.CSeq.seq"], &[]));
}

#[test]
fn every_message_over_udp_and_ipv4() {
    clean("sip-udp4", &everything(&World::v4()), false);
}

#[test]
fn every_message_over_udp_and_ipv6() {
    clean("sip-udp6", &everything(&World::v6()), false);
}

#[test]
fn every_message_over_tcp() {
    let w = World { transport: Transport::Tcp, ..World::v4() };
    // One connection, established before the capture begins: only what the terminal's side carries.
    let sent: Vec<_> = everything(&w).into_iter().filter(|s| s.from == w.terminal || s.to == w.terminal).collect();
    clean("sip-tcp4", &sent, true);
}
