//! Whatever arrives: nothing panics, work is bounded, and what was read reads the same again. The properties are
//! those of the fuzz target, so that what fuzzing finds is kept and replayed here.

mod common;
#[path = "../../fuzz/src/seeds.rs"]
mod seeds;
#[path = "../../fuzz/src/h248.rs"]
mod target;

use common::{World, everything};
use portunus_h248::view::Message;
use portunus_testkit::robust;
use proptest::prelude::*;
use std::fmt::Write as _;

#[test]
fn kept_seeds_hold() {
    assert!(seeds::replay("h248", target::h248) >= 10);
}

#[test]
fn every_message_whole_and_truncated_at_every_octet() {
    for w in World::all() {
        robust::truncated(&everything(&w), target::h248, |part| Message::parse(part).is_ok(), |_, all| all);
    }
}

#[test]
fn every_message_with_every_bit_flipped() {
    robust::flipped(everything(&World::v4()), target::h248);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn arbitrary_octets(octets in proptest::collection::vec(any::<u8>(), 0..2000)) {
        target::h248(&octets);
    }

    #[test]
    fn arbitrary_bodies(body in "[TPKCNMFSGEOVRA=\\-{}\\[\\],:\"<># \\n;0-9a-z/\\\\]{0,120}") {
        target::h248(format!("!/2 <gw1.example.test> {body}").as_bytes());
        target::h248(format!("!/2 <gw1.example.test> T=1{{C=-{{{body}}}}}").as_bytes());
        target::h248(format!("!/2 <gw1.example.test> T=1{{C=-{{MF=ROOT{{{body}}}}}}}").as_bytes());
    }

    #[test]
    fn messages_spliced(which in 0usize..200, other in 0usize..200, at in 0usize..700, from in 0usize..700, len in 0usize..300) {
        target::h248(&robust::spliced(&everything(&World::v4()), (which, at), (other, from, len)));
    }
}

#[test]
fn endless_and_oversized_input_costs_bounded_work() {
    let start = "!/2 <gw1.example.test> ";
    let inside = |body: &str| format!("{start}T=1{{C=-{{MF=ROOT{{{body}}}}}}}");
    let nested = |open: &str, n: usize| inside(&format!("{}{}", open.repeat(n), "}".repeat(n)));
    let mut topology = String::from("C=1{TP{a");
    for i in 0..4000 {
        _ = write!(topology, ",t{}", i % 10);
    }
    for input in [
        nested("E=1{", 5000),
        nested("SG{", 15),
        nested("EM{E=1{al/of{", 5),
        "{".repeat(16_000),
        format!("{start}{}", "T=1{C=-{S=a}}".repeat(1200)),
        format!("{start}{}", "T=1{C=-{S=a}}".repeat(200_000)),
        format!("{start}K{{{}1}}", "1,".repeat(8000).trim_end_matches('\0')) + "}",
        inside(&format!("SG{{cg/dt{{x=\"{}", "a".repeat(16_000))),
        inside(&format!("SG{{cg/dt{{x=\"{}\"", "a\"\"".repeat(5000))),
        inside(&format!("M{{L{{{}", "v=0\n\\}".repeat(2500))),
        inside(&format!("E=1{{{}", "al/of,".repeat(2600))),
        inside(&format!("MX=H221{{{}", ";comment\n".repeat(1700))),
        format!("{}!/2 <gw> T=1{{C=-{{S=a}}", ";\n".repeat(8000)),
        format!("!/2 [{}]:1 T=1{{C=-{{S=a}}}}", "1:".repeat(8000)),
        format!("!/2 <{}> T=1{{C=-{{S=a}}}}", "a".repeat(16_000)),
        format!("{start}T=1{{C=1{{{topology}}}}}"),
        format!("{start}T=99999999999999999999999999{{C=-{{S=a}}}}"),
        format!("AU=0x00000001:0x00000001:0x{} {start}", "a".repeat(16_000)),
    ] {
        let begun = std::time::Instant::now();
        for _ in 0..20 {
            assert!(Message::parse(input.as_bytes()).is_err(), "{}", &input[..80.min(input.len())]);
        }
        target::h248(input.as_bytes());
        // Generous a thousandfold: what is caught is quadratic work on megabytes, not a slow machine.
        assert!(begun.elapsed().as_secs() < 5, "{}", &input[..80]);
    }
}

#[test]
fn the_longest_message_that_is_taken_costs_bounded_work() {
    // As deep and as full as the limits allow.
    let event = "al/of{EM{SG{cg/dt{a=1}},E=2{al/on{b=2}}}},";
    let body = event.repeat(16_000 / event.len());
    let msg = format!("!/2 <gw1.example.test> T=1{{C=-{{MF=ROOT{{E=1{{{}}}}}}}}}", body.trim_end_matches(','));
    assert!(msg.len() < portunus_h248::view::MESSAGE_MAX && Message::parse(msg.as_bytes()).is_ok());
    let begun = std::time::Instant::now();
    for _ in 0..20 {
        target::h248(msg.as_bytes());
    }
    assert!(begun.elapsed().as_secs() < 5);
}
