//! Whatever arrives: nothing panics, work is bounded, and what was read reads the same again. The properties are
//! those of the fuzz target, so that what fuzzing finds is kept and replayed here.

mod common;
#[path = "../../fuzz/src/seeds.rs"]
mod seeds;
#[path = "../../fuzz/src/sip.rs"]
mod target;

use common::{World, everything};
use portunus_sip::view::Message;
use portunus_testkit::robust;
use proptest::prelude::*;

#[test]
fn kept_seeds_hold() {
    assert!(seeds::replay("sip", target::sip) >= 10);
}

#[test]
fn every_message_whole_and_truncated_at_every_octet() {
    for w in [World::v4(), World::v6()] {
        robust::truncated(&everything(&w), target::sip, |part| Message::parse(part).is_ok(), |_, all| all);
    }
}

#[test]
fn every_message_with_every_bit_flipped() {
    robust::flipped(everything(&World::v4()), target::sip);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn arbitrary_octets(octets in proptest::collection::vec(any::<u8>(), 0..2000)) {
        target::sip(&octets);
    }

    #[test]
    fn arbitrary_lines(
        start in prop_oneof!["REGISTER sip:a@h SIP/2.0", "SIP/2.0 200 OK", "[A-Z]{1,8} [ -~]{0,20} SIP/2.0"],
        lines in proptest::collection::vec(
            ("(Via|From|To|CSeq|Call-ID|Contact|l|Route|Authorization|Security-Client|Require|[!-~]{1,20})", "[ -~]{0,60}"), 0..30),
        body in "[ -~]{0,20}",
    ) {
        let head: String = lines.iter().map(|(n, v)| format!("{n}: {v}\r\n")).collect();
        target::sip(format!("{start}\r\n{head}\r\n{body}").as_bytes());
    }

    #[test]
    fn messages_spliced(which in 0usize..200, other in 0usize..200, at in 0usize..1200, from in 0usize..1200, len in 0usize..300) {
        target::sip(&robust::spliced(&everything(&World::v4()), (which, at), (other, from, len)));
    }
}

#[test]
fn endless_and_oversized_input_costs_bounded_work() {
    let start = "REGISTER sip:example.test SIP/2.0\r\n";
    let endless = format!("{start}{}", "A: b\r\n".repeat(200_000));
    let folded = format!("{start}X: y\r\n{}", " z\r\n".repeat(200_000));
    let params = format!("{start}Via: SIP/2.0/UDP h{}\r\n\r\n", ";a".repeat(5000));
    let commas = format!("{start}Via: {}\r\n\r\n", ",".repeat(15_000));
    let quotes = format!("{start}Contact: {}\r\n\r\n", "\"\\\"".repeat(5000));
    let brackets = format!("{start}Contact: {}\r\n\r\n", "<".repeat(15_000));
    let colons = format!("{start}{}\r\n\r\n", ":".repeat(15_000));
    let inputs = [endless, folded, params, commas, quotes, brackets, colons];
    robust::bounded(&inputs, target::sip, |octets| Message::parse(octets).is_err());
}
