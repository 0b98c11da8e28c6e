//! Whatever arrives does no harm: messages cut short, with bits flipped, spliced with each other, and far too long. What
//! must hold for each is the protocol's `target`, the body of its fuzz target.

use crate::wire::Sent;
use std::collections::HashSet;
use std::time::Instant;

/// Every message whole and truncated at every octet; `parses` says whether what is there is a message, and `should`
/// whether it should be one, of the part and of whether it is all of the message.
///
/// # Panics
/// When a part is taken for a message that is none, or the other way round.
pub fn truncated(
    sent: &[Sent],
    target: impl Fn(&[u8]),
    parses: impl Fn(&[u8]) -> bool,
    should: impl Fn(&[u8], bool) -> bool,
) {
    for s in sent {
        for end in 0..=s.octets.len() {
            let part = &s.octets[..end];
            target(part);
            assert_eq!(parses(part), should(part, end == s.octets.len()), "{} cut at {end}", s.name);
        }
    }
}

/// Every message with each of its bits flipped. Messages that came by unchanged are not flipped twice.
pub fn flipped(sent: Vec<Sent>, target: impl Fn(&[u8])) {
    let mut seen = HashSet::new();
    for mut octets in sent.into_iter().map(|s| s.octets) {
        if !seen.insert(octets.clone()) {
            continue;
        }
        for bit in 0..octets.len() * 8 {
            octets[bit / 8] ^= 1 << (bit % 8);
            target(&octets);
            octets[bit / 8] ^= 1 << (bit % 8);
        }
    }
}

/// One message with a piece of another in it: `which` gets `len` octets of `other`, from `from` on, at `at`.
pub fn spliced(sent: &[Sent], (which, at): (usize, usize), (other, from, len): (usize, usize, usize)) -> Vec<u8> {
    let mut octets = sent[which % sent.len()].octets.clone();
    let donor = &sent[other % sent.len()].octets;
    let piece = &donor[from.min(donor.len())..(from + len).min(donor.len())];
    let at = at.min(octets.len());
    octets.splice(at..at, piece.iter().copied());
    octets
}

/// What is endless or oversized is refused, and costs bounded work.
///
/// # Panics
/// When `refuses` says of one that it is not, or it takes long.
pub fn bounded(inputs: &[String], target: impl Fn(&[u8]), refuses: impl Fn(&[u8]) -> bool) {
    for input in inputs.iter().map(String::as_bytes) {
        let begun = Instant::now();
        for _ in 0..20 {
            assert!(refuses(input));
        }
        target(input);
        // Generous a thousandfold: what is caught is quadratic work on megabytes, not a slow machine.
        assert!(begun.elapsed().as_secs() < 5);
    }
}
