//! The registrar and the softswitch's part of PKD1, message by message.

mod common;

use common::{Bench, SP1, SP2, b64, config, header, peer, vector};
use portunus_aaa::{AaaAnswer, AaaRequest, DigestAlgorithm, DigestVector, DigestWord, Scheme, Unreachable};
use portunus_keydist::steps::Registration;
use portunus_softswitch::{LocalProxy, Peer};

#[test]
fn a_registration_from_s2_to_s11() {
    let mut b = Bench::new(config());
    let s2 = b.s2(1, "alice");
    b.sip(peer(SP1), &s2);
    b.silence();
    let (id, AaaRequest::Authenticate(s3)) = b.question() else { panic!() };
    assert_eq!((s3.idc.as_str(), s3.idsp.as_str()), ("alice@example.test", "sp1.example.test"));
    assert!(matches!(s3.scheme, Scheme::Pkd1 { n1 } if n1.as_str() == "00000000000000aa"));
    assert_eq!(s3.uri.as_deref(), Some("sip:example.test"));
    assert_eq!(s3.source, "198.51.100.7:40000".parse().ok());

    b.aaa(id, Ok(AaaAnswer::Vector(vector(3))));
    let (to, s5) = b.one();
    assert_eq!(to, peer(SP1));
    assert!(s5.starts_with("SIP/2.0 401 "), "{s5}");
    let challenge = header(&s5, "WWW-Authenticate")[0];
    assert!(challenge.contains(&format!("nonce=\"{}\"", b64(&[3; 16]))), "{challenge}");
    assert!(challenge.contains("idsp=\"sp1.example.test\""), "{challenge}");
    assert!(!s5.contains(&common::hex(&[3; 32])), "the first word stays here");

    let s8 = b.s8(1, "alice", [3; 16], [3; 32], "600");
    b.sip(peer(SP1), &s8);
    let (_, s9) = b.one();
    assert!(s9.starts_with("SIP/2.0 200 "), "{s9}");
    let info = header(&s9, "Authentication-Info")[0];
    assert!(info.contains(&format!("ekc=\"{}\"", b64(&[3; 48]))), "{info}");
    assert!(info.contains(&format!("eksp=\"{}\"", b64(&[3 ^ 0xff; 48]))), "{info}");
    assert!(header(&s9, "Contact")[0].contains("<sip:alice%40example.test@192.0.2.1:5060>"), "{s9}");
    assert!(header(&s9, "Contact")[0].contains("expires=600"));
    let records = b.records();
    assert_eq!(records.len(), 1);
    let s11 = &records[0];
    assert_eq!((s11.event, s11.rand, s11.ip), (Registration::Start, [3; 16], "198.51.100.7".parse().unwrap()));

    let bound = b.ss.bindings_of(b.now, "alice@example.test");
    assert_eq!(bound, ["sip:alice%40example.test@192.0.2.1:5060"]);
}

#[test]
fn a_retransmission_brings_neither_a_second_challenge_nor_a_second_key() {
    let mut b = Bench::new(config());
    let s2 = b.s2(1, "alice");
    b.sip(peer(SP1), &s2);
    b.sip(peer(SP1), &s2);
    let (id, _) = b.question();
    b.aaa(id, Ok(AaaAnswer::Vector(vector(3))));
    let s5 = b.one();
    b.sip(peer(SP1), &s2);
    assert_eq!(b.one(), s5);
    let s8 = b.s8(1, "alice", [3; 16], [3; 32], "600");
    b.sip(peer(SP1), &s8);
    let s9 = b.one();
    b.sip(peer(SP1), &s8);
    assert_eq!(b.one(), s9);
    assert_eq!(b.records().len(), 1);
    assert_eq!(b.ss.counters().retransmission, 3);
    // The same octets from another neighbour are another request.
    b.sip(peer(SP2), &s8);
    assert!(b.one().1.starts_with("SIP/2.0 403 "));
    // And the answer is forgotten in time.
    b.pass(32_000);
    b.sip(peer(SP1), &s8);
    assert!(b.one().1.starts_with("SIP/2.0 403 "));
}

#[test]
fn a_wrong_word_is_challenged_again_and_then_refused() {
    for retries in 0..=3 {
        let mut b = Bench::new(portunus_softswitch::Config { retries, ..config() });
        let s2 = b.s2(1, "mallory");
        b.sip(peer(SP1), &s2);
        for n in 0..=retries {
            let (id, AaaRequest::Authenticate(s3)) = b.question() else { panic!() };
            assert!(matches!(s3.scheme, Scheme::Pkd1 { n1 } if n1.as_str() == "00000000000000aa"), "always N1a");
            b.aaa(id, Ok(AaaAnswer::Vector(vector(n))));
            assert!(b.one().1.starts_with("SIP/2.0 401 "));
            let s8 = b.s8(1, "mallory", [n; 16], [0xee; 32], "600");
            b.sip(peer(SP1), &s8);
        }
        let refusal = b.one().1;
        assert!(refusal.starts_with("SIP/2.0 403 "));
        assert!(b.asked.is_empty());
        assert!(b.ss.bindings_of(b.now, "mallory@example.test").is_empty());
        // An answer to no challenge at all gets the same words.
        let s8 = b.s8(1, "mallory", [0x77; 16], [0xee; 32], "600");
        b.sip(peer(SP1), &s8);
        let other = b.one().1;
        assert_eq!(refusal.lines().next(), other.lines().next());
        let names =
            |m: &str| m.lines().filter_map(|l| l.split_once(':').map(|(n, _)| n.to_owned())).collect::<Vec<_>>();
        assert_eq!(names(&refusal), names(&other));
    }
}

#[test]
fn a_challenge_is_its_own_terminals_and_its_own_proxys() {
    let mut b = Bench::new(config());
    let s2 = b.s2(1, "alice");
    b.sip(peer(SP1), &s2);
    let (id, _) = b.question();
    b.aaa(id, Ok(AaaAnswer::Vector(vector(3))));
    b.one();
    for (sp, user, from) in [(1, "bob", SP1), (2, "alice", SP2), (1, "alice", SP2), (2, "alice", SP1)] {
        let stolen = b.s8(sp, user, [3; 16], [3; 32], "600");
        b.sip(peer(from), &stolen);
        assert!(b.one().1.starts_with("SIP/2.0 403 "));
    }
    let late = b.s8(1, "alice", [3; 16], [3; 32], "600");
    b.pass(15_000);
    b.sip(peer(SP1), &late);
    assert!(b.one().1.starts_with("SIP/2.0 403 "));
    assert_eq!(b.ss.counters().challenge_expired, 1);
    assert!(b.asked.is_empty() && b.ss.bindings_of(b.now, "alice@example.test").is_empty());
}

#[test]
fn strangers_and_names_that_are_not_theirs_get_nothing() {
    let mut b = Bench::new(config());
    let s2 = b.s2(1, "alice");
    b.sip(peer("203.0.113.5:5060"), &s2);
    b.sip(Peer::LocalProxy, &s2);
    b.silence();
    assert_eq!(b.ss.counters().stranger, 2);
    let s2 = b.s2(2, "alice");
    b.sip(peer(SP1), &s2);
    assert!(b.one().1.starts_with("SIP/2.0 403 "));
    assert_eq!(b.ss.counters().unknown_proxy, 1);
    let other = b.s2(1, "alice").replace("To: <sip:alice@", "To: <sip:bob@");
    b.sip(peer(SP1), &other);
    assert!(!b.one().1.starts_with("SIP/2.0 401 "));
    let refresh = b.refresh(1, "alice", "600");
    b.sip(peer(SP2), &refresh);
    assert!(b.one().1.starts_with("SIP/2.0 403 "), "only its own proxy may vouch for a terminal");
    assert!(b.asked.is_empty());
}

#[test]
fn refresh_and_deregistration_that_a_proxy_vouches_for() {
    let mut b = Bench::new(config());
    b.registered(1, "alice", 3);
    b.pass(300_000);
    let refresh = b.refresh(1, "alice", "600");
    b.sip(peer(SP1), &refresh);
    let (_, answer) = b.one();
    assert!(answer.starts_with("SIP/2.0 200 ") && !answer.contains("ekc="), "{answer}");
    let records = b.records();
    assert!(matches!(&records[..], [r] if r.event == Registration::Refresh && r.rand == [3; 16]));
    b.pass(599_000);
    assert_eq!(b.ss.bindings_of(b.now, "alice@example.test").len(), 1);
    let gone = b.refresh(1, "alice", "0");
    b.sip(peer(SP1), &gone);
    let (_, answer) = b.one();
    assert!(answer.starts_with("SIP/2.0 200 ") && header(&answer, "Contact").is_empty(), "{answer}");
    let records = b.records();
    assert!(matches!(&records[..], [r] if r.event == Registration::Stop && r.rand == [3; 16]));
    assert_eq!(b.ss.gauges().bindings, 0);
}

#[test]
fn contact_star_ends_everything_and_time_does_too() {
    let mut b = Bench::new(config());
    b.registered(1, "alice", 3);
    b.registered(2, "alice", 4);
    let bound = b.ss.bindings_of(b.now, "alice@example.test");
    assert!(
        bound.len() == 2 && bound[0].contains("192.0.2.1"),
        "where it was, until it shows life elsewhere: {bound:?}"
    );
    let star = |b: &mut Bench, expires: &str| {
        let message = b.refresh(1, "alice", "600");
        let contact = message.lines().find(|l| l.starts_with("Contact")).unwrap().to_owned();
        message.replace(&contact, &format!("Contact: *\r\nExpires: {expires}"))
    };
    let bad = star(&mut b, "5");
    b.sip(peer(SP1), &bad);
    assert!(b.one().1.starts_with("SIP/2.0 400 "));
    let good = star(&mut b, "0");
    b.sip(peer(SP1), &good);
    assert!(b.one().1.starts_with("SIP/2.0 200 "));
    let mut ended: Vec<_> = b.records().into_iter().map(|r| (r.event, r.rand[0], r.idsp)).collect();
    ended.sort_by_key(|(_, n, _)| *n);
    let (sp1, sp2) = ("sp1.example.test".to_owned(), "sp2.example.test".to_owned());
    assert_eq!(ended, [(Registration::Stop, 3, sp1), (Registration::Stop, 4, sp2)]);

    b.registered(1, "bob", 5);
    b.pass(600_000);
    let records = b.records();
    assert!(matches!(&records[..], [r] if r.event == Registration::Stop && r.idc == "bob@example.test"));
    assert_eq!(b.ss.counters().binding_expired, 1);
}

#[test]
fn a_new_key_is_a_new_record_and_ends_the_old_one() {
    let mut b = Bench::new(config());
    b.registered(1, "alice", 3);
    let s2 = b.s2(1, "alice");
    b.sip(peer(SP1), &s2);
    let (id, _) = b.question();
    b.aaa(id, Ok(AaaAnswer::Vector(vector(4))));
    let s8 = b.s8(1, "alice", [4; 16], [4; 32], "600");
    b.sip(peer(SP1), &s8);
    let events: Vec<_> = b.records().into_iter().map(|r| (r.event, r.rand[0])).collect();
    assert_eq!(events, [(Registration::Stop, 3), (Registration::Start, 4)]);
    assert_eq!(b.ss.gauges().bindings, 1);
}

#[test]
fn lifetimes_are_bounded_on_both_sides() {
    let mut b = Bench::new(config());
    b.registered(1, "alice", 3);
    let brief = b.refresh(1, "alice", "59");
    b.sip(peer(SP1), &brief);
    let (_, answer) = b.one();
    assert!(answer.starts_with("SIP/2.0 423 "), "{answer}");
    assert_eq!(header(&answer, "Min-Expires"), ["60"]);
    let long = b.refresh(1, "alice", "86400");
    b.sip(peer(SP1), &long);
    assert!(header(&b.one().1, "Contact")[0].contains("expires=3600"));
    let none = b.refresh(1, "alice", "x").replace(";expires=x", "");
    b.sip(peer(SP1), &none);
    assert!(header(&b.one().1, "Contact")[0].contains("expires=3600"));
    let old = none.replace(".0000000000000007", ".0000000000000008");
    b.sip(peer(SP1), &old);
    assert!(b.one().1.starts_with("SIP/2.0 500 "), "a CSeq that is not newer");
    let odd = b.refresh(1, "alice", "600").replace("Supported: path", "Require: path, gruu");
    b.sip(peer(SP1), &odd);
    let (_, answer) = b.one();
    assert!(answer.starts_with("SIP/2.0 420 "));
    assert_eq!(header(&answer, "Unsupported"), ["gruu"]);
    let lost =
        b.refresh(1, "alice", "600").replace("Path: <sip:alice%40example.test@192.0.2.1", "Path: <sip:x@203.0.113.9");
    b.sip(peer(SP1), &lost);
    assert!(b.one().1.starts_with("SIP/2.0 400 "));
}

#[test]
fn an_auc_that_is_away_costs_a_jittered_wait_and_no_records() {
    let mut b = Bench::new(config());
    b.registered(1, "alice", 3);
    let mut waits = std::collections::BTreeSet::new();
    for n in 0..60u32 {
        let s2 = b.s2(1, "bob");
        b.sip(peer(SP1), &s2);
        let (id, _) = b.question();
        match n % 2 {
            0 => b.aaa(id, Err(Unreachable)),
            _ => b.aaa(id, Ok(AaaAnswer::Rejected)),
        }
        let (_, answer) = b.one();
        assert!(answer.starts_with("SIP/2.0 503 "), "{answer}");
        let wait: u32 = header(&answer, "Retry-After")[0].parse().unwrap();
        assert!((5..=15).contains(&wait));
        waits.insert(wait);
    }
    assert!(waits.len() > 5, "jittered: {waits:?}");
    // What is active stays, and its record waits for the AuC.
    let refresh = b.refresh(1, "alice", "600");
    b.sip(peer(SP1), &refresh);
    assert!(b.one().1.starts_with("SIP/2.0 200 "));
    let (id, _) = b.question();
    b.aaa(id, Err(Unreachable));
    let gone = b.refresh(1, "alice", "0");
    b.sip(peer(SP1), &gone);
    b.one();
    assert!(b.asked.is_empty());
    b.pass(5_000);
    let records = b.records();
    assert!(matches!(&records[..], [r] if r.event == Registration::Stop), "{records:?}");
    assert_eq!(b.ss.gauges().records, 0);
}

#[test]
fn tables_are_bounded_and_say_so() {
    let mut c = config();
    c.limits.asks = 4;
    c.limits.challenges = 4;
    c.limits.identities = 1;
    let mut b = Bench::new(c);
    for n in 0..8 {
        let s2 = b.s2(1, "alice");
        b.sip(peer(SP1), &s2);
        assert_eq!(b.sent.len(), if n < 4 { 0 } else { n - 3 });
    }
    assert!(b.sent.drain(..).all(|(_, m)| m.starts_with("SIP/2.0 503 ")));
    assert_eq!((b.ss.counters().ask_full, b.ss.gauges().asks), (4, 4));
    // A client that never answers is given up.
    b.pass(32_000);
    assert_eq!((b.ss.gauges().asks, b.ss.counters().ask_expired), (0, 4));
    (b.sent, b.asked) = Default::default();
    for n in 0..8 {
        let s2 = b.s2(1, "alice");
        b.sip(peer(SP1), &s2);
        let (id, _) = b.question();
        b.aaa(id, Ok(AaaAnswer::Vector(vector(n))));
    }
    assert_eq!((b.ss.gauges().challenges, b.ss.counters().challenge_evicted), (4, 4));
    b.sent.clear();
    b.registered(1, "alice", 9);
    let refresh = b.refresh(1, "bob", "600");
    b.sip(peer(SP1), &refresh);
    assert!(b.one().1.starts_with("SIP/2.0 503 "));
    assert_eq!(b.ss.counters().location_full, 1);
}

#[test]
fn stock_phones_by_digest_where_they_are_admitted() {
    let challenge = "nonce=\"\", response=\"\", algorithm=SHA-256";
    let mut b = Bench::new(config());
    let first = b.register(1, "phone", challenge, "");
    b.sip(peer(SP1), &first);
    assert!(b.one().1.starts_with("SIP/2.0 403 "), "off by default");

    let mut b = Bench::new(portunus_softswitch::Config { digest: Some(DigestAlgorithm::Sha256), ..config() });
    let contact = "Contact: <sip:phone@198.51.100.7:40000>;expires=600\r\n";
    let ask = |b: &mut Bench, message: &str, n: u8| {
        b.sip(peer(SP1), message);
        let (id, AaaRequest::Authenticate(s3)) = b.question() else { panic!() };
        assert_eq!(s3.scheme, Scheme::Digest { algorithm: DigestAlgorithm::Sha256 });
        b.aaa(id, Ok(AaaAnswer::Digest(DigestVector { rand: [n; 16], word: DigestWord::Sha256([n; 32]) })));
        let (_, answer) = b.one();
        assert!(answer.starts_with("SIP/2.0 401 "), "{answer}");
        let header = header(&answer, "WWW-Authenticate")[0];
        assert!(header.contains("algorithm=SHA-256") && header.contains(&b64(&[n; 16])), "{header}");
        assert!(!header.contains("qop"), "{header}");
    };
    let answered = |b: &mut Bench, n: u8, word: u8| {
        let authorization =
            format!("nonce=\"{}\", response=\"{}\", algorithm=SHA-256", b64(&[n; 16]), common::hex(&[word; 32]));
        b.register(1, "phone", &authorization, contact)
    };
    let first = b.register(1, "phone", challenge, contact);
    ask(&mut b, &first, 1);
    let right = answered(&mut b, 1, 1);
    b.sip(peer(SP1), &right);
    let (_, answer) = b.one();
    assert!(answer.starts_with("SIP/2.0 200 ") && !answer.contains("ekc"), "{answer}");
    assert!(matches!(&b.records()[..], [r] if r.event == Registration::Start));
    // The next time it answers the old challenge, and is challenged anew.
    let old = answered(&mut b, 1, 1);
    ask(&mut b, &old, 2);
    let right = answered(&mut b, 2, 2);
    b.sip(peer(SP1), &right);
    b.one();
    assert!(matches!(&b.records()[..], [r] if r.event == Registration::Refresh && r.rand == [1; 16]));
    // A wrong one gets one more challenge, then the refusal.
    let old = answered(&mut b, 1, 1);
    ask(&mut b, &old, 3);
    let wrong = answered(&mut b, 3, 9);
    ask(&mut b, &wrong, 4);
    let wrong = answered(&mut b, 4, 9);
    b.sip(peer(SP1), &wrong);
    assert!(b.one().1.starts_with("SIP/2.0 403 "));
}

#[test]
fn facing_terminals_directly_through_the_engine_in_the_same_process() {
    let mut c = config();
    c.local = Some(LocalProxy { idss: "ss1.example.test".into(), core: SP1.parse().unwrap() });
    c.peers.clear();
    let mut b = Bench::new(c);
    let s2 = b.s2(1, "alice").replace("sp1.example.test", "ss1.example.test");
    b.sip(Peer::LocalProxy, &s2);
    let (id, AaaRequest::Authenticate(s3)) = b.question() else { panic!() };
    assert_eq!(s3.idsp, "ss1.example.test");
    b.aaa(id, Ok(AaaAnswer::Vector(vector(3))));
    assert_eq!(b.one().0, Peer::LocalProxy);
    let s8 = b.s8(1, "alice", [3; 16], [3; 32], "600").replace("sp1.example.test", "ss1.example.test");
    b.sip(Peer::LocalProxy, &s8);
    assert!(b.one().1.starts_with("SIP/2.0 200 "));
    assert_eq!(b.records()[0].idsp, "ss1.example.test");
    b.sip(peer(SP1), &s8);
    b.silence();
}
