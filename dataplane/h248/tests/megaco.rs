//! Erlang/OTP's megaco application as a peer: it decodes every message of the project's flows, the project decodes what
//! it encodes, and both say the same of what a message holds. It ships with the tests' machine (package
//! `erlang-megaco`), which the test command installs.

mod common;
mod peer;

use common::{World, everything, ladder, s6, s7};
use peer::{Ask, Megaco};
use portunus_h248::H248;
use portunus_h248::carriage::terminal::{self, FromProxy};
use portunus_h248::view::{Kind, Message};
use portunus_signalling::{Fault, FaultKind, FromTerminal, Signalling};
use std::fmt::Write as _;

/// The messages of RFC 3525 appendix I.
const RFC3525: &str = include_str!("rfc3525.txt");

/// Those messages, for the peer: it reads no empty block of signals, which the first version of the protocol writes and
/// later ones leave out.
fn rfc3525() -> impl Iterator<Item = (&'static str, String)> {
    RFC3525.split("%%\n").map(|text| (text, text.replace("Signals { }", "Signals")))
}

/// What a message says, told alike for all spellings of it: transactions, contexts, commands, terminations, descriptors.
fn outline(octets: &[u8]) -> String {
    let msg = Message::parse(octets).unwrap_or_else(|e| panic!("{e:?}: {}", String::from_utf8_lossy(octets)));
    // The peer writes the hex digits of an address large.
    let mut out = format!("{} {}\n", msg.version(), String::from_utf8_lossy(msg.mid().text).to_ascii_lowercase());
    for t in msg.transactions() {
        _ = writeln!(out, "{:?} {} {:?}", t.kind, t.id, t.error().map(|e| e.code));
        for a in t.actions() {
            _ = writeln!(out, " {:?} {:?}", a.context, a.error().map(|e| e.code));
            for c in a.commands() {
                let terminations: Vec<_> = c.terminations().map(String::from_utf8_lossy).collect();
                _ = write!(out, "  {:?} {} {}", c.kind, c.optional, c.wildcard);
                _ = write!(out, " {}", terminations.join(",").to_ascii_lowercase());
                let n = c.descriptors().count();
                _ = writeln!(out, " {n} {:?}", c.services().map(|s| (s.method(), s.version(), s.reason_code())));
            }
        }
    }
    out
}

/// A message without its authentication header. The peer decodes one, and encodes its numbers with twelve hex digits
/// where the grammar has eight.
fn without_header(octets: &[u8]) -> &[u8] {
    let start = [&b"!/"[..], b"MEGACO/"].iter().find_map(|s| octets.windows(s.len()).position(|w| w == *s));
    &octets[start.unwrap()..]
}

#[test]
fn every_message_of_the_flows_is_decoded_and_means_the_same() {
    let mut peer = Megaco::start();
    let mut n = 0;
    for sent in World::all().iter().flat_map(everything) {
        let text = String::from_utf8_lossy(&sent.octets).into_owned();
        if sent.name == "acknowledgement" {
            // It decodes, and cannot encode what it decoded: a lone acknowledgement is built otherwise there.
            peer.ask(Ask::Check, &sent.octets).unwrap_or_else(|e| panic!("{}: {e}\n{text}", sent.name));
            continue;
        }
        let again = peer.again(Ask::Decode, &sent.octets).unwrap_or_else(|e| panic!("{}: {e}\n{text}", sent.name));
        // What it encodes is read, and says the same.
        for text in [&again.compact, &again.pretty] {
            assert_eq!(outline(without_header(text)), outline(without_header(&sent.octets)), "{}", sent.name);
        }
        n += 1;
    }
    assert!(n > 150, "{n}");
}

#[test]
fn steps_encoded_by_the_peer_are_read() {
    // It quotes only what must be quoted, and orders as it likes.
    let mut peer = Megaco::start();
    let w = World::v4();
    let sent = ladder(&w);
    let octets = |name: &str| &sent.iter().find(|s| s.name == name).unwrap().octets;
    let again = peer.again(Ask::Decode, octets("s7")).unwrap();
    for text in [again.compact, again.pretty] {
        assert!(matches!(H248.read_terminal(&text), Ok(FromTerminal::S7(got)) if got == s7(&w)));
    }
    let again = peer.again(Ask::Decode, octets("s6")).unwrap();
    for text in [again.compact, again.pretty] {
        assert!(matches!(terminal::read(&text), Ok((_, FromProxy::Challenge(got))) if got == s6(&w)));
    }
}

#[test]
fn the_examples_of_rfc_3525() {
    let mut peer = Megaco::start();
    let mut n = 0;
    for (written, text) in rfc3525() {
        let here = outline(written.as_bytes());
        let again = peer.again(Ask::Decode, text.as_bytes()).unwrap_or_else(|e| panic!("{e}\n{text}"));
        assert_eq!(outline(&again.compact), here);
        assert_eq!(outline(&again.pretty), here);
        for version in ["2", "3"] {
            let newer = text.replacen("MEGACO/1", &format!("MEGACO/{version}"), 1);
            let again = peer.again(Ask::Decode, newer.as_bytes()).unwrap_or_else(|e| panic!("{e}\n{newer}"));
            assert_eq!(outline(&again.compact), outline(newer.as_bytes()));
            assert_eq!(outline(&again.pretty), outline(newer.as_bytes()));
        }
        n += 1;
    }
    assert_eq!(n, 21);
}

#[test]
fn binary_messages_get_a_binary_error() {
    let mut peer = Megaco::start();
    let w = World::v4();
    for version in 1..=3 {
        let term = format!(
            "{{'MegacoMessage',asn1_NOVALUE,{{'Message',{version},{{domainName,{{'DomainName',\"gw1.example.test\",\
             asn1_NOVALUE}}}},{{transactions,[{{transactionRequest,{{'TransactionRequest',7,[]}}}}]}}}}}}"
        );
        let request = peer.ask(Ask::EncodeBinary, term.as_bytes()).unwrap();
        let fault = H248.read_terminal(&request).unwrap_err();
        assert_eq!((fault.kind, fault.what), (FaultKind::Unsupported, "encoding"));
        let answer = common::write(|o| H248.write_fault(&w.hop(), &request, &fault, o).map(|due| assert!(due)));
        let told = String::from_utf8(peer.ask(Ask::DecodeBinary, &answer).unwrap()).unwrap();
        for expected in
            ["sp1.example.test", "messageError", "400", "Text encoding only", &format!("'Message',{version},")]
        {
            assert!(told.contains(expected), "{told}");
        }
        // The answer is an error, and gets none.
        let fault = H248.read_terminal(&answer).unwrap_err();
        assert!(common::write(|o| H248.write_fault(&w.hop(), &answer, &fault, o).map(|due| assert!(!due))).is_empty());
        // Cut or changed anywhere: nothing worse than silence.
        for end in 0..request.len() {
            let mut cut = request[..end].to_vec();
            let fault = H248.read_terminal(&cut).unwrap_err();
            common::write(|o| H248.write_fault(&w.hop(), &cut, &fault, o).map(|_| ()));
            cut = request.clone();
            cut[end] ^= 0x81;
            if let Err(fault) = H248.read_terminal(&cut) {
                common::write(|o| H248.write_fault(&w.hop(), &cut, &fault, o).map(|_| ()));
            }
        }
    }
}

/// Messages changed and compared.
const ROUNDS: usize = 20_000;

/// Why the two disagree about a message, one entry each. `true` where the project takes it and the peer does not.
type Reason = (&'static str, bool, fn(&Case<'_>) -> bool);

struct Case<'a> {
    text: &'a str,
    fault: Option<Fault>,
    theirs: &'a str,
}

const REASONS: &[Reason] = &[
    ("annex B.2 wants white space behind version and identifier; the peer does without", false, |c| {
        what(c) == "separator"
    }),
    ("a domain name has letters, digits, '-' and '.'; the peer takes any word, blanks before it", false, |c| {
        let name = what(c) == "message identifier" || what(c) == "domain name" || what(c) == "service change parameter";
        name && (at(c).contains('<') || c.text.contains("!/2 <") || c.text.contains("!/1 <"))
    }),
    ("a transaction has an identifier, and it is a number; the peer makes one up or cuts one out", false, |c| {
        let head = at(c).split('{').next().unwrap_or_default();
        let id = head.split('=').nth(1).unwrap_or_default().trim();
        what(c) == "transaction" && (!id.starts_with(|c: char| c.is_ascii_digit()) || id.ends_with('/'))
    }),
    ("a parameter's name is a NAME; the peer takes any word", false, |c| what(c) == "parameter" && !is_name(name(c))),
    ("a package's item is NAME/NAME; the peer takes more", false, |c| {
        let of_package = ["signal", "event", "observed event", "property", "statistic"].contains(&what(c));
        of_package && !name(c).split_once('/').is_some_and(|(p, i)| is_name(p) && is_name(i))
    }),
    ("an extension of services is X- and 1 to 6 letters and digits; the peer takes any word", false, |c| {
        what(c) == "service change parameter" && name(c).contains(['-', '+'])
    }),
    ("a termination is a path name; the peer takes any word", false, |c| what(c) == "termination"),
    ("a digit map's name is a NAME; the peer takes any word", false, |c| what(c) == "DigitMap"),
    ("a package has NAME-version; the peer takes any word", false, |c| what(c) == "item" && name(c).contains('-')),
    ("O- and W- stand before commands only; the peer strips them anywhere", false, |c| {
        let prefix = at(c).to_ascii_uppercase();
        prefix.starts_with("O-") || prefix.starts_with("W-")
    }),
    ("an address is one, and no blanks stand in it; the peer takes more", false, |c| {
        let head = c.text.get(..60.min(c.text.len())).unwrap_or_default();
        ["message identifier", "value", "separator"].contains(&what(c)) && head.contains('[')
    }),
    ("a device's name has no dots before its '@'; the peer takes any word", false, |c| {
        what(c) == "message identifier" && !at(c).starts_with(['<', '['])
    }),
    ("a profile is NAME/version; the peer takes any word for the name", false, |c| {
        what(c) == "service change parameter" && name(c).eq_ignore_ascii_case("profile")
    }),
    ("a version has one or two digits; the peer takes any number", false, |c| what(c) == "version"),
    ("a descriptor stands once in a command (H.248.8, 448); the peer keeps the last", false, |c| {
        what(c) == "descriptor twice"
    }),
    ("a comment may hold a quotation mark; the peer looks for the wrong character (22, not 0x22)", true, |c| {
        c.theirs.contains("'CommentChars'") && c.theirs.contains(",34}")
    }),
    ("a value may be spelled as a token is; the peer has forgotten some", true, |c| {
        c.theirs.contains("syntax error before") && c.theirs.contains("\"s\"")
    }),
    ("version 3's segments are taken under every version", true, |c| {
        c.theirs.contains("not_an_integer") && c.text.contains('/')
    }),
    ("SDP is the gateway's business; the peer reads its lines", true, |c| {
        c.theirs.contains("bad_prop_name") && (c.text.contains("Local") || c.text.contains("Remote"))
    }),
    ("the peer takes a termination named as a descriptor for that descriptor", true, |c| {
        let named =
            ["R", "L"].iter().any(|n| c.text.replace(' ', "").to_ascii_uppercase().contains(&format!("={n}{{")));
        named && (c.theirs.contains("bad_prop_name") || c.theirs.contains("PropertyParm"))
    }),
];

fn what(c: &Case<'_>) -> &'static str {
    c.fault.map_or("", |f| f.what)
}

/// The name of the element that the fault is in.
fn name<'a>(c: &Case<'a>) -> &'a str {
    at(c).split(|c: char| "=#<>{},\" \n".contains(c)).next().unwrap_or_default()
}

fn is_name(word: &str) -> bool {
    word.starts_with(|c: char| c.is_ascii_alphabetic()) && word.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// The message from the fault on.
fn at<'a>(c: &Case<'a>) -> &'a str {
    c.text.get(c.fault.map_or(0, |f| f.at)..).unwrap_or_default()
}

/// Changes a message a little: characters, tokens and pieces of others.
fn mutate(seed: &mut u64, text: &str, donor: &str) -> String {
    let mut next = |n: usize| {
        *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((*seed >> 33) as usize) % n.max(1)
    };
    let mut octets = text.as_bytes().to_vec();
    for _ in 0..=next(3) {
        let at = next(octets.len());
        match next(7) {
            0 => _ = octets.remove(at),
            1 => octets.insert(at, b"{}[],=\"<>#:; \n-*$/0aZ"[next(21)]),
            2 => octets[at] = b"{}[],=\"<>#:; \n-*$/0aZ"[next(21)],
            3 => {
                // A stretch between two commas or brackets, twice or no more.
                let end = octets[at..].iter().position(|c| b",{}".contains(c)).map_or(octets.len(), |n| at + n);
                let part = octets[at..end].to_vec();
                if next(2) == 0 {
                    octets.splice(at..end, []);
                } else {
                    octets.splice(at..at, part);
                }
            }
            4 => {
                let from = next(donor.len());
                let end = (from + 1 + next(30)).min(donor.len());
                octets.splice(at..at, donor.as_bytes()[from..end].iter().copied());
            }
            5 => {
                const WORDS: [&str; 12] = [
                    "ROOT",
                    "A4444",
                    "E=1{al/of}",
                    "SG{}",
                    "L{v=0}",
                    "DM=d{x}",
                    "AT{M}",
                    "ER=400{}",
                    "ST=1",
                    "KA",
                    "O-",
                    "C=-",
                ];
                let word = WORDS[next(WORDS.len())];
                octets.splice(at..at, word.bytes());
            }
            _ => octets[at] = octets[at].to_ascii_lowercase(),
        }
        if octets.is_empty() {
            break;
        }
    }
    octets.retain(u8::is_ascii);
    String::from_utf8(octets).unwrap()
}

#[test]
fn changed_messages_are_taken_or_refused_alike() {
    let mut peer = Megaco::start();
    let all: Vec<_> = everything(&World::v4())
        .into_iter()
        .map(|s| String::from_utf8(s.octets).unwrap())
        .chain(rfc3525().map(|(_, t)| t.replacen("MEGACO/1", "MEGACO/3", 1)))
        .collect();
    let (mut seed, mut agreed, mut unexplained) = (1u64, [0usize; 2], Vec::new());
    let mut explained = vec![0usize; REASONS.len()];
    for i in 0..ROUNDS {
        let text = mutate(&mut seed, &all[i % all.len()], &all[(i * 7 + 3) % all.len()]);
        let ours = Message::parse(text.as_bytes());
        let theirs = peer.ask(Ask::Check, text.as_bytes());
        if ours.is_ok() == theirs.is_ok() {
            agreed[usize::from(ours.is_ok())] += 1;
            continue;
        }
        let (taken, reason) = (ours.is_ok(), theirs.err().unwrap_or_default());
        let case = Case { text: &text, fault: ours.err(), theirs: &reason };
        match REASONS.iter().position(|(_, here, why)| *here == taken && why(&case)) {
            Some(n) => explained[n] += 1,
            None => unexplained.push(format!("here {taken} {:?}\n  {text}\n  {reason:.200}", case.fault)),
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
    assert!(agreed[0] > 500 && agreed[1] > 100, "{agreed:?}");
}

#[test]
fn replies_name_what_they_answer() {
    // A message of several transactions as the peer packs them.
    let mut peer = Megaco::start();
    let text = "!/2 <gw1.example.test> P=5{C=-{MF=ROOT}}PN=6{}T=7{C=-{AV=ROOT{AT{}}}}K{1,3-4}";
    assert!(peer.ask(Ask::Check, text.as_bytes()).is_ok());
    let msg = Message::parse(text.as_bytes()).unwrap();
    let kinds: Vec<_> = msg.transactions().map(|t| (t.kind, t.id)).collect();
    assert_eq!(kinds, [(Kind::Reply, 5), (Kind::Pending, 6), (Kind::Request, 7), (Kind::ResponseAck, 0)]);
    let acknowledged: Vec<_> = msg.transactions().last().unwrap().acknowledged().collect();
    assert_eq!(acknowledged, [(1, 1), (3, 4)]);
}
