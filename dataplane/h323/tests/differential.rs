//! Changed messages, given to the project and to pycrate: both take them or both refuse them, both read the same, and
//! where they disagree the reason is one of those below.

mod common;
mod peer;

use common::{World, everything};
use peer::outline::{hex, outline, peer_outline};
use peer::{Ask, Pycrate};
use portunus_h323::view::Message;
use portunus_signalling::Fault;
use serde_json::Value;

/// Messages changed and compared.
const ROUNDS: usize = 20_000;

/// Why the two disagree about a message. `true` where the project takes it and the peer does not.
type Reason = (&'static str, bool, fn(&Case<'_>) -> bool);

struct Case<'a> {
    octets: &'a [u8],
    fault: Option<Fault>,
    theirs: &'a str,
    /// Whether the peer takes it when it passes the additions that the project passes.
    passes: bool,
}

const REASONS: &[Reason] = &[
    ("additions that are not read here pass by their length; the peer reads them all", true, |c| c.passes),
    (
        "half a surrogate pair passes as it stands, and is no text when it is asked for; the peer makes text at once",
        true,
        |c| c.theirs.contains("utf-16-be"),
    ),
    ("a length below 128 has one octet (X.691 10.9.3.6); the peer takes two", false, |c| {
        let two = if what(c) == "RasMessage" { c.octets.get(1..3) } else { before(c, 2) };
        two.is_some_and(|o| o[0] == 0x80 && o[1] < 0x80)
    }),
    (
        "an object identifier has whole subidentifiers, none padded (X.690 8.19.2); the peer takes any octets",
        false,
        |c| ["protocolIdentifier", "nonStandardIdentifier", "algorithmOID", "tokenOID"].contains(&what(c)),
    ),
    ("an integer has no more octets than it needs (X.691 10.5.7.4); the peer takes leading zeroes", false, |c| {
        let integer = ["bandWidth", "allowedBandWidth", "timeToLive", "timeStamp", "ssrc"].contains(&what(c));
        integer && (2..=4).any(|n| before(c, n).is_some_and(|o| o[0] == 0))
    }),
    ("an addition is one value, and nothing is behind it; the peer goes on where the value ends", false, |c| {
        ["tokens", "cryptoTokens", "sendersID", "profileInfo", "callIdentifier", "reason"].contains(&what(c))
            || ["timeToLive", "keepAlive", "needResponse", "destinationInfo", "sourceInfo"].contains(&what(c))
    }),
    ("the same of additions that are not read: where the peer goes by their length it refuses too", false, |c| {
        !c.passes
    }),
    (
        "an extended sequence has an addition (X.691 18.1), of an octet or more (10.1.3); the peer needs none",
        false,
        |c| what(c) == "extension additions",
    ),
];

fn what(c: &Case<'_>) -> &'static str {
    c.fault.map_or("", |f| f.what)
}

/// The octets in front of the fault.
fn before<'a>(c: &Case<'a>, n: usize) -> Option<&'a [u8]> {
    let at = c.fault?.at;
    c.octets.get(at.checked_sub(n)?..at)
}

/// Changes a message a little: bits, octets and pieces of others.
fn mutate(seed: &mut u64, msg: &[u8], donor: &[u8]) -> Vec<u8> {
    let mut next = |n: usize| {
        *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((*seed >> 33) as usize) % n.max(1)
    };
    let mut octets = msg.to_vec();
    for _ in 0..=next(2) {
        let at = next(octets.len());
        match next(8) {
            0 => _ = octets.remove(at),
            1 => octets.insert(at, [0, 1, 0x40, 0x80, 0xff, 7][next(6)]),
            2 => octets[at] = [0, 1, 0x40, 0x80, 0xc1, 0xff][next(6)],
            3 => octets.truncate(at.max(1)),
            4 => {
                let from = next(donor.len());
                let end = (from + 1 + next(20)).min(donor.len());
                octets.splice(at..at, donor[from..end].iter().copied());
            }
            _ => octets[at] ^= 1 << next(8),
        }
        if octets.is_empty() {
            break;
        }
    }
    octets
}

#[test]
fn changed_messages_are_taken_or_refused_alike() {
    let mut peer = Pycrate::shared();
    let mut all: Vec<_> = everything(&World::v4()).into_iter().map(|s| s.octets).collect();
    all.sort_unstable();
    all.dedup();
    all.extend((0..400).map(|seed| peer.made_up(seed)));
    let (mut seed, mut agreed, mut unexplained) = (1u64, [0usize; 2], Vec::new());
    let mut explained = vec![0usize; REASONS.len()];
    for i in 0..ROUNDS {
        let octets = mutate(&mut seed, &all[i % all.len()], &all[(i * 7 + 3) % all.len()]);
        let ours = Message::parse(&octets);
        let theirs = peer.decode(&octets);
        if let (Ok(ours), Ok(theirs)) = (&ours, &theirs) {
            agreed[1] += 1;
            compare(ours, theirs, &octets);
            continue;
        }
        if ours.is_err() && theirs.is_err() {
            agreed[0] += 1;
            continue;
        }
        let (taken, said) = (ours.is_ok(), theirs.as_ref().map_or_else(String::clone, Value::to_string));
        let passes = peer.ask(Ask::Read, &octets).is_ok();
        let case = Case { octets: &octets, fault: ours.err(), theirs: &said, passes };
        match REASONS.iter().position(|(_, here, why)| *here == taken && why(&case)) {
            Some(n) => explained[n] += 1,
            None => unexplained.push(format!("here {taken} {:?}\n  {}\n  {said:.300}", case.fault, hex(&octets))),
        }
    }
    println!("agreed: refused {}, taken {}", agreed[0], agreed[1]);
    for ((why, here, _), n) in REASONS.iter().zip(&explained) {
        println!("{n:5} {} {why}", if *here { "taken here only:" } else { "taken there only:" });
    }
    assert!(
        unexplained.is_empty(),
        "{} disagreements without a reason\n{}",
        unexplained.len(),
        unexplained.join("\n\n")
    );
    assert!(agreed[0] > 1000 && agreed[1] > 1000, "{agreed:?}");
}

/// What both take means the same to both.
fn compare(ours: &Message<'_>, theirs: &Value, octets: &[u8]) {
    let (mut here, mut there) = (outline(ours), peer_outline(theirs));
    if ours.token().is_err() {
        // One token, no element twice: rules of PKD1, which the peer does not know.
        (here["token"], there["token"]) = (Value::Null, Value::Null);
    }
    assert_eq!(here, there, "{}", hex(octets));
}
