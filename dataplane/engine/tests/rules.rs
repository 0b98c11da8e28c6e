//! What an attacker tries against the rules: answers to guessed handles, more octets than were sent, and messages that
//! are refused inside a session as outside.
mod common;

use common::*;
use portunus_codec::Writer;
use portunus_engine::{EndReason, Policy, To};
use portunus_sip::carriage::core as core_side;
use portunus_sip::carriage::terminal::{
    Answer, Plain, StockAnswer, Txn, read_answer, write_request, write_stock_register,
};
use portunus_sip::view::Message;

fn written(write: impl FnOnce(&mut Writer<'_>)) -> Vec<u8> {
    let mut buf = vec![0u8; 8192];
    let mut w = Writer::new(&mut buf);
    write(&mut w);
    let len = w.finish().unwrap();
    buf.truncate(len);
    buf
}

/// The branch of the topmost Via, as handle and salt.
fn handle(octets: &[u8]) -> (String, String) {
    let msg = Message::parse(octets).unwrap();
    let branch = String::from_utf8(msg.via().branch().unwrap().to_vec()).unwrap();
    let (ticket, salt) = branch.strip_prefix("z9hG4bK").unwrap().split_once('.').unwrap();
    (ticket.to_owned(), salt.to_owned())
}

fn replaced(octets: &[u8], what: &str, by: &str) -> Vec<u8> {
    let text = String::from_utf8(octets.to_vec()).unwrap();
    assert!(text.contains(what), "{what} in {text}");
    text.replace(what, by).into_bytes()
}

fn request(phone: &mut Phone, method: &str, extra: &str) -> Vec<u8> {
    let (contact, idc) = (phone.contact(), phone.idc.clone());
    let msg = phone.write(|agent, txn, w| {
        let plain = Plain {
            method,
            uri: "sip:bob@example.test",
            from: portunus_keydist::Idc::new(&idc).unwrap(),
            from_tag: "f",
            to_uri: "sip:bob@example.test",
            to_tag: None,
            call_id: "c1",
            txn: Txn { cseq: txn.cseq, branch: txn.branch },
            local: agent.local,
            transport: agent.transport,
            contact: Some(&contact),
            route: None,
            body: None,
        };
        write_request(&plain, w)
    });
    replaced(&msg, "Call-ID:", &format!("{extra}Call-ID:"))
}

#[test]
fn a_guessed_handle_answers_no_registration() {
    let mut world = World::new();
    let mut phone = world.phone("alice@example.test", "192.0.2.7:5060");
    let s1 = phone.s1(world.now);
    let s2 = world.access(phone.meta(), &s1).remove(0).1;
    let (_, salt) = handle(&s2);
    let s5 = world.core.answer(&s2);
    assert!(world.core_says(&replaced(&s5, &salt, "0000000000000000")).is_empty());
    let busy = written(|w| {
        core_side::write_status(&Message::parse(&s2).unwrap(), "t", 403, "Forbidden", None, w).unwrap();
    });
    assert!(world.core_says(&replaced(&busy, &salt, "0123456789abcdef")).is_empty());
    let s6 = world.core_says(&s5).remove(0).1;
    let s7 = phone.s7(world.now, &s6);
    let s8 = world.access(phone.meta(), &s7).remove(0).1;
    let (_, salt) = handle(&s8);
    let s9 = world.core.answer(&s8);
    assert!(world.core_says(&replaced(&s9, &salt, "0123456789abcdef")).is_empty());
    assert_eq!((world.count().core_unmatched, world.count().s10_sent), (3, 0));
    let s10 = world.core_says(&s9).remove(0).1;
    assert!(phone.on_s10(&s10));
}

#[test]
fn a_guessed_handle_admits_no_stock_phone() {
    let mut world = World::new();
    let mut thief = Phone::new("carol@example.test", &portunus_keydist::Key::new([0; 32]), "192.0.2.66:5060");
    thief.listener = STOCK;
    let response = "b".repeat(64);
    let answer = StockAnswer { nonce: "BwcHBwcHBwcHBwcHBwcHBw", response: &response, algorithm: "SHA-256" };
    let msg = thief.write(|a, t, w| write_stock_register(a, t, 3600, Some(&answer), w));
    let up = world.access(thief.meta(), &msg).remove(0).1;
    let (_, salt) = handle(&up);
    let granted = written(|w| core_side::write_granted(&Message::parse(&up).unwrap(), "t", &[], w).unwrap());
    assert!(world.core_says(&replaced(&granted, &salt, "0123456789abcdef")).is_empty());
    assert_eq!((world.count().sessions_stock, world.count().core_unmatched), (0, 1));
}

/// What a callee of hers can make of what it saw of a caller's request: her proxy's Via and her own.
#[test]
fn nobody_ends_a_session_by_an_answer_that_nobody_asked_for() {
    let mut world = World::new();
    let mut alice = world.active("alice@example.test", "192.0.2.7:5060");
    let invite = request(&mut alice, "INVITE", "");
    let sealed = alice.seal(1, &invite);
    let up = world.access(world.sealed(&alice), &sealed).remove(0).1;
    let ok = written(|w| core_side::write_granted(&Message::parse(&up).unwrap(), "t", &[], w).unwrap());
    let (ticket, salt) = handle(&up);
    // The third digit of the handle is its kind: 2 a session's, 3 that of its de-registration.
    let ends = format!("{}3{}", &ticket[..2], &ticket[3..]);
    assert!(world.core_says(&replaced(&ok, &ticket, &ends)).is_empty());
    let as_register = replaced(&replaced(&ok, &ticket, &ends), " INVITE", " REGISTER");
    assert!(world.core_says(&as_register).is_empty());
    assert!(world.core_says(&replaced(&ok, &salt, "0123456789abcdef")).is_empty());
    assert_eq!((world.count().sessions_active, world.count().relay_fault), (1, 3));
    assert_eq!(world.core_says(&ok).len(), 1, "the real answer passes");
    assert!(!world.sink.events.iter().any(|e| matches!(e, Heard::Ended { why: EndReason::Deregistered, .. })));
}

#[test]
fn a_terminal_answers_only_what_it_was_asked() {
    let mut world = World::new();
    let mut bob = world.active("bob@example.test", "192.0.2.8:5060");
    let mut mallory = world.active("mallory@example.test", "192.0.2.66:5060");
    let asked = "INVITE sip:bob%40example.test@10.0.0.1:5070 SIP/2.0\r\n\
        Via: SIP/2.0/UDP 10.0.0.9:5060;branch=z9hG4bKabc\r\nMax-Forwards: 70\r\nFrom: <sip:a@b>;tag=1\r\n\
        To: <sip:bob@example.test>\r\nCall-ID: x\r\nCSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n";
    let down = world.core_says(asked.as_bytes()).remove(0).1;
    let (_, seen) = bob.open(&down).unwrap();
    let ok = written(|w| {
        let msg = Message::parse(&seen).unwrap();
        portunus_sip::carriage::terminal::write_response(&msg, 200, "OK", "t", None, None, w).unwrap();
    });
    let stolen = mallory.seal(1, &ok);
    assert!(world.access(world.sealed(&mallory), &stolen).is_empty(), "somebody else's");
    let elsewhere = bob.seal(1, &replaced(&ok, "z9hG4bKabc", "z9hG4bKabd"));
    assert!(world.access(world.sealed(&bob), &elsewhere).is_empty(), "another transaction of the core's");
    // A newer session of his still answers.
    let mut again = world.phone("bob@example.test", "192.0.2.88:5060");
    again.rng = Seeded(99);
    world.register(&mut again);
    world.confirm(&mut again);
    let own = again.seal(1, &ok);
    assert_eq!(world.access(world.sealed(&again), &own).len(), 1);
}

#[test]
fn an_unproven_source_never_gets_more_than_three_times_its_octets() {
    let mut world = World::new();
    let mut phone = world.phone("alice@example.test", "192.0.2.7:5060");
    // The shortest s1 that there is, and a core whose tag makes the answer long.
    let s1 = phone.s1(world.now);
    let s2 = world.access(phone.meta(), &s1).remove(0).1;
    let s5 = world.core.answer(&s2);
    let long = replaced(&s5, "tag=core", &format!("tag={}", "x".repeat(3 * s1.len())));
    assert!(world.core_says(&long).is_empty());
    assert_eq!(world.count().amplification_limited, 1);
    // It was kept for retransmissions: they have the same limit.
    for _ in 0..5 {
        let back = world.access(phone.meta(), &s1);
        let octets: usize = back.iter().map(|(_, m)| m.len()).sum();
        assert!(octets <= 3 * s1.len(), "{octets} octets for {}", s1.len());
    }
}

#[test]
fn what_is_refused_inside_a_session_is_told_there() {
    let mut world = World::new();
    let mut phone = world.active("alice@example.test", "192.0.2.7:5060");
    for (method, extra, expected) in [
        ("MESSAGE", "P-Asserted-Identity: <sip:bob@example.test>\r\n", 403),
        ("MESSAGE", "Proxy-Authorization: Digest integrity-protected=yes\r\n", 403),
        ("MESSAGE", "Proxy-Authorization: Digest a=1,,b=2\r\n", 400),
        ("INVITE", "Max-Forwards: 0\r\n", 483),
        ("INVITE", "Proxy-Require: foo\r\n", 420),
        ("MESSAGE", "Expires: never\r\n", 400),
    ] {
        let mut msg = request(&mut phone, method, extra);
        if extra.starts_with("Max") {
            msg = replaced(&msg, "Max-Forwards: 70\r\n", "");
        }
        let sealed = phone.seal(1, &msg);
        let back = world.access(world.sealed(&phone), &sealed);
        assert_eq!(back.len(), 1, "{extra}");
        let (protocol, answer) = phone.open(&back[0].1).expect("sealed");
        assert_eq!((protocol, status(&answer)), (1, expected), "{extra}");
    }
    // Nothing answers a response, an ACK or noise.
    let ack = request(&mut phone, "ACK", "P-Asserted-Identity: <sip:bob@example.test>\r\n");
    for octets in [&ack[..], b"noise", b"SIP/2.0 200 OK\r\n\r\n"] {
        let sealed = phone.seal(1, octets);
        assert!(world.access(world.sealed(&phone), &sealed).is_empty());
    }
    assert_eq!(world.count().relay_fault, 9);
}

#[test]
fn every_answer_to_a_stranger_is_within_its_limit_and_says_the_same() {
    let mut world = World::with(Policy { cookies: portunus_engine::Cookies::Never, ..Policy::default() }, capacity());
    let mut phone = world.phone("alice@example.test", "192.0.2.7:5060");
    phone.clock_ms = -40_000;
    let stale = phone.s1(world.now);
    phone.clock_ms = 0;
    let s1 = phone.s1(world.now);
    let wrong_proxy = replaced(&s1, IDSP, "sp2.example.test");
    let forbidden = replaced(&s1, "Call-ID:", "Path: <sip:x;lr>\r\nCall-ID:");
    let malformed = replaced(&s1, "Expires: 3600", "Expires: x");
    let foreign = replaced(&s1, "From: <sip:alice", "From: <sip:bob");
    for (msg, expected) in [(stale, 401), (wrong_proxy, 403), (forbidden, 403), (malformed, 400), (foreign, 403)] {
        let back = world.access(phone.meta(), &msg);
        assert_eq!((back.len(), status(&back[0].1)), (1, expected));
        assert!(back[0].1.len() <= 3 * msg.len());
        assert!(matches!(back[0].0, To::Access { .. }));
    }
    // None of them used the N1 up.
    let s6 = world.one(&phone, &s1);
    assert!(matches!(read_answer(&s6).unwrap().answer, Answer::Challenge(_)));
}

#[test]
fn what_follows_an_s9_in_its_batch_is_late() {
    let mut world = World::new();
    let mut phone = world.phone("alice@example.test", "192.0.2.7:5060");
    let s1 = phone.s1(world.now);
    let s2 = world.access(phone.meta(), &s1).remove(0).1;
    let s5 = world.core.answer(&s2);
    let s6 = world.core_says(&s5).remove(0).1;
    let s7 = phone.s7(world.now, &s6);
    let s8 = world.access(phone.meta(), &s7).remove(0).1;
    let s9 = world.core.answer(&s8);
    // A core without memory answers the repeated s8 by a refusal; both answers arrive together.
    let refused = written(|w| {
        core_side::write_status(&Message::parse(&s8).unwrap(), "t", 403, "Forbidden", None, w).unwrap();
    });
    let mut out = world.core_says_all(&[&s9, &refused]);
    assert_eq!(out.len(), 1, "one answer, the first");
    assert!(phone.on_s10(&out.remove(0).1));
    assert_eq!((world.count().core_unmatched, world.count().s10_sent), (1, 1));
}
