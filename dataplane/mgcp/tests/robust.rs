//! Whatever arrives: nothing panics, work is bounded, and what was read reads the same again. The properties are
//! those of the fuzz target, so that what fuzzing finds is kept and replayed here.

mod common;
#[path = "../../fuzz/src/seeds.rs"]
mod seeds;
#[path = "../../fuzz/src/mgcp.rs"]
mod target;

use common::{World, everything};
use portunus_mgcp::view::{Message, Parts};
use portunus_testkit::robust;
use proptest::prelude::*;

#[test]
fn kept_seeds_hold() {
    assert!(seeds::replay("mgcp", target::mgcp) >= 10);
}

#[test]
fn every_message_whole_and_truncated_at_every_octet() {
    fn last(part: &[u8]) -> &[u8] {
        Parts::new(part).last().unwrap_or_default()
    }
    // MGCP ends a message with its datagram: what is cut between two lines is a shorter message, what is cut in one is
    // none.
    let should = |part: &[u8], _| part.ends_with(b"\n") && !last(part).starts_with(b".");
    for w in [World::v4(), World::v6()] {
        robust::truncated(&everything(&w), target::mgcp, |part| Message::parse(last(part)).is_ok(), should);
    }
}

#[test]
fn a_step_cut_anywhere_is_no_step() {
    let w = World::v4();
    for name in ["s1", "s7", "s6", "s10"] {
        let sent = common::ladder(&w);
        let whole = common::octets(&sent, name);
        for end in 0..whole.len() {
            let part = &whole[..end];
            let up = portunus_mgcp::Mgcp.read_terminal(part);
            assert!(
                !matches!(up, Ok(portunus_signalling::FromTerminal::S1(_) | portunus_signalling::FromTerminal::S7(_))),
                "{name} cut at {end}"
            );
            let down = portunus_mgcp::carriage::terminal::read(part);
            assert!(!matches!(down, Ok(Some(_))), "{name} cut at {end}");
        }
    }
}

#[test]
fn every_message_with_every_bit_flipped() {
    robust::flipped(everything(&World::v4()), target::mgcp);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn arbitrary_octets(octets in proptest::collection::vec(any::<u8>(), 0..2000)) {
        target::mgcp(&octets);
    }

    #[test]
    fn arbitrary_lines(
        start in prop_oneof!["RSIP 1 \\*@gw1.example.test MGCP 1.0", "200 1 OK", "NTFY 9 a/1@gw MGCP 1.0", "[A-Z0-9]{1,5} [0-9]{1,4} [ -~]{0,20}"],
        lines in proptest::collection::vec(
            ("(X|N|RM|R|S|O|X-PKD|X-PKDMAC|Z|\\.|[!-~]{1,10})", "(: |:|)", "(x-pkd/[a-z]{1,5}\\([ -~]{0,30}\\)|[ -~]{0,60})"), 0..12),
        end in "(\r\n|\n|)",
    ) {
        let head: String = lines.iter().map(|(n, c, v)| format!("{n}{c}{v}{end}")).collect();
        target::mgcp(format!("{start}\r\n{head}").as_bytes());
    }

    #[test]
    fn messages_spliced(which in 0usize..200, other in 0usize..200, at in 0usize..800, from in 0usize..800, len in 0usize..300) {
        target::mgcp(&robust::spliced(&everything(&World::v4()), (which, at), (other, from, len)));
    }
}

#[test]
fn endless_and_oversized_input_costs_bounded_work() {
    let start = "NTFY 1 aaln/1@gw1.example.test MGCP 1.0\r\n";
    let lines = format!("{start}{}", "A: b\r\n".repeat(200_000));
    let small = format!("{start}{}", "A: b\r\n".repeat(2_000));
    let dots = ".\r\n".repeat(500_000);
    let messages = format!("{start}.\r\n").repeat(20_000);
    let quotes = format!("{start}X: 1\r\nO: x-pkd/resp({})\r\n", "\"\"".repeat(5000));
    let brackets = format!("{start}X: 1\r\nO: {}\r\n", "x-pkd/a(".repeat(1500));
    let events = format!("{start}X: 1\r\nO: {}\r\n", "x-pkd/a,".repeat(1500));
    let names = format!("{start}X: 1\r\nO: x-pkd/resp({})\r\n", "a=\"\",".repeat(2500));
    let slashes = format!("NTFY 1 {}@gw MGCP 1.0\r\nO: {}\r\n", "a/".repeat(4000), "/".repeat(6000));
    let inputs = [lines, small, dots, messages, quotes, brackets, events, names, slashes];
    robust::bounded(&inputs, target::mgcp, |octets| portunus_mgcp::Mgcp.read_terminal(octets).is_err());
}
