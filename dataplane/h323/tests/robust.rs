//! Whatever arrives: nothing panics, work is bounded, and what was read reads the same again. The properties are
//! those of the fuzz target, so that what fuzzing finds is kept and replayed here.

mod build;
mod common;
#[path = "../../fuzz/src/seeds.rs"]
mod seeds;
#[path = "../../fuzz/src/h323.rs"]
mod target;

use build::{GRQ, extended, foreign, grq_root, stranger, tokens};
use common::{World, everything, ladder};
use portunus_h323::view::{MESSAGE_MAX, Message};
use portunus_testkit::robust;
use proptest::prelude::*;

#[test]
fn kept_seeds_hold() {
    assert!(seeds::replay("h323", target::h323) >= 10);
}

#[test]
fn every_message_whole_and_truncated_at_every_octet() {
    let sent: Vec<_> = World::all().iter().flat_map(everything).collect();
    robust::truncated(&sent, target::h323, |part| Message::parse(part).is_ok(), |_, all| all);
    for sent in sent {
        let longer = [&sent.octets[..], &[0]].concat();
        assert!(Message::parse(&longer).is_err(), "{} with an octet more", sent.name);
    }
}

#[test]
fn every_message_with_every_bit_flipped() {
    robust::flipped(World::all().iter().flat_map(everything).collect(), target::h323);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn arbitrary_octets(octets in proptest::collection::vec(any::<u8>(), 0..2000)) {
        target::h323(&octets);
    }

    #[test]
    fn arbitrary_bodies(kind in 0u8..25, octets in proptest::collection::vec(any::<u8>(), 0..300)) {
        // A choice that can be read, and octets behind it in which few lengths are long.
        let head = kind << 2;
        target::h323(&[&[head][..], &octets].concat());
        let small: Vec<_> = octets.iter().map(|o| if o & 3 == 0 { *o } else { o & 7 }).collect();
        target::h323(&[&[head][..], &small].concat());
    }

    #[test]
    fn messages_spliced(which in 0usize..200, other in 0usize..200, at in 0usize..500, from in 0usize..500, len in 0usize..300) {
        target::h323(&robust::spliced(&everything(&World::v4()), (which, at), (other, from, len)));
    }

    #[test]
    fn tokens_of_others_survive(which in proptest::collection::vec(any::<bool>(), 0..12), own in 0usize..12) {
        // Whatever stands before and behind PKD1's, in whatever order: what was there is there, in its order.
        let w = World::v4();
        let s1 = &ladder(&w)[0].octets;
        let list = built_list(&which, None);
        let expected = extended(grq_root(&w, 1), GRQ, &[(1, &list)]);
        let with_own = extended(grq_root(&w, 1), GRQ, &[(1, &built_list(&which, Some(own.min(which.len()))))]);
        let out = common::write(|o| {
            use portunus_signalling::Signalling;
            portunus_h323::Ras.relay_up(&w.hop(), &w.session(), &with_own, o).map(|_| ())
        });
        if which.is_empty() {
            prop_assert_eq!(&with_own, s1);
            prop_assert_eq!(out, grq_root(&w, 1));
        } else {
            prop_assert_eq!(out, expected);
        }
    }
}

/// Tokens of others, and s1's at this place among them.
fn built_list(which: &[bool], own: Option<usize>) -> Vec<u8> {
    let w = World::v4();
    let elements = build::plain();
    let pkd1 = build::own1(&w, &elements);
    let put_own = |p: &mut portunus_codec::PerWriter<'_, '_>| pkd1.put(p);
    let mut parts: Vec<build::Part<'_>> =
        which.iter().map(|short| if *short { &foreign as build::Part<'_> } else { &stranger }).collect();
    if let Some(at) = own {
        parts.insert(at, &put_own);
    }
    tokens(&parts)
}

#[test]
fn long_lists_and_wrong_lengths_cost_bounded_work() {
    let w = World::v4();
    let aliases = vec!["a"; 900];
    let e = portunus_h323::write::Endpoint { aliases: &aliases, ..w.endpoint() };
    let many_aliases = common::write(|o| portunus_h323::write::gatekeeper_request(1, &e, None, o));
    let which = vec![true; 400];
    let many_tokens = extended(grq_root(&w, 1), GRQ, &[(1, &built_list(&which, Some(399)))]);
    assert!(many_tokens.len() > 5000 && many_aliases.len() > 3000);
    let mut announced = grq_root(&w, 1);
    // As many aliases as a length can say, and two of them there.
    let at = announced.windows(2).position(|pair| pair == [2, 0x40]).unwrap();
    announced.splice(at..=at, [0xbf, 0xff]);
    let fragments = [&announced[..at], &[0xc4][..], &[0; 4000]].concat();
    let deep: Vec<u8> = std::iter::repeat_n(0xff, MESSAGE_MAX).collect();
    for (input, taken) in
        [(many_aliases, true), (many_tokens, true), (announced, false), (fragments, false), (deep, false)]
    {
        let begun = std::time::Instant::now();
        for _ in 0..20 {
            assert_eq!(Message::parse(&input).is_ok(), taken);
        }
        target::h323(&input);
        // Generous a thousandfold: what is caught is quadratic work on megabytes, not a slow machine.
        assert!(begun.elapsed().as_secs() < 5);
    }
}
