//! A terminal that registers through another proxy moves there when it shows life there, and not before: nothing that
//! an unconfirmed session says moves a terminal (spec section 2). In SIP here; on lanes in `lanes`.

mod common;
#[path = "moved/lanes.rs"]
mod lanes;

use common::{Bench, SP1, SP2, config, header, peer};
use portunus_keydist::steps::Registration;

/// A request to alice; where it goes.
fn call(b: &mut Bench) -> String {
    let branch = b.branch();
    let message = format!(
        "MESSAGE sip:alice@example.test SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1:5060;branch={branch}\r\n\
         Max-Forwards: 69\r\nFrom: <sip:bob@example.test>;tag=b\r\nTo: <sip:alice@example.test>\r\nCall-ID: {branch}\r\n\
         CSeq: 1 MESSAGE\r\nContent-Length: 0\r\n\r\n"
    );
    b.sip(peer(SP1), &message);
    header(&b.one().1, "Route").concat()
}

/// The answer to a question of the softswitch's.
fn answer(question: &str, status: &str) -> String {
    let line = |name: &str| format!("{name}: {}\r\n", header(question, name).join(", "));
    let kept: String = ["Via", "From", "Call-ID", "CSeq"].map(line).concat();
    format!("SIP/2.0 {status}\r\n{kept}To: {};tag=a\r\nContent-Length: 0\r\n\r\n", header(question, "To")[0])
}

fn two_places() -> Bench {
    let mut b = Bench::new(config());
    b.registered(1, "alice", 1);
    b.registered(2, "alice", 2);
    b
}

#[test]
fn a_registration_that_nobody_confirms_moves_nobody() {
    let mut b = two_places();
    assert!(call(&mut b).contains("192.0.2.1"), "through the first proxy");
    let mut questions = 0;
    for _ in 0..60 {
        b.pass(1_000);
        while !b.sent.is_empty() {
            let (to, question) = b.sent.remove(0);
            questions += 1;
            assert_eq!(to, peer(SP2));
            assert!(question.starts_with("OPTIONS sip:alice%40example.test@192.0.2.2:5060 SIP/2.0\r\n"), "{question}");
            assert_eq!(header(&question, "Route"), ["<sip:alice%40example.test@192.0.2.2:5060;lr>"]);
            // What the proxy says while it has no session; what another proxy says in its place; a stranger's name.
            b.sip(to, &answer(&question, "480 Temporarily Unavailable"));
            b.sip(peer(SP1), &answer(&question, "200 OK"));
            b.sip(to, &answer(&question.replace("alice", "bob"), "200 OK"));
            b.sip(to, &answer(&question.replace("where-", "where-0"), "200 OK"));
        }
    }
    assert!((8..=16).contains(&questions), "{questions} questions");
    assert!(call(&mut b).contains("192.0.2.1"), "still");
    assert_eq!(b.ss.counters().moved, 0);
    assert!(b.records().is_empty());
}

#[test]
fn a_terminal_that_answers_through_its_new_proxy_is_there() {
    let mut b = two_places();
    b.pass(300);
    let (to, question) = b.one();
    b.sip(to, &answer(&question, "200 OK"));
    b.silence();
    let ended = b.records();
    assert!(
        ended.len() == 1 && ended[0].event == Registration::Stop && ended[0].idsp == "sp1.example.test",
        "{ended:?}"
    );
    assert!(call(&mut b).contains("192.0.2.2"));
    assert_eq!((b.ss.counters().moved, b.ss.gauges().bindings), (1, 1));
    b.pass(60_000);
    b.silence();
    // The answer once more is nobody's.
    b.sip(to, &answer(&question, "200 OK"));
    b.silence();
}

#[test]
fn a_request_or_a_refresh_through_the_new_proxy_shows_life_too() {
    let mut b = two_places();
    let branch = b.branch();
    let own = format!(
        "OPTIONS sip:example.test SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.2:5060;branch={branch}\r\nMax-Forwards: 69\r\n\
         From: <sip:alice@example.test>;tag=a\r\nTo: <sip:example.test>\r\nCall-ID: o\r\nCSeq: 1 OPTIONS\r\n\
         Content-Length: 0\r\n\r\n"
    );
    // From the proxy where it was, that says nothing new.
    b.sip(peer(SP1), &own.replace("192.0.2.2", "192.0.2.1"));
    b.sent.clear();
    assert!(call(&mut b).contains("192.0.2.1"));
    b.sip(peer(SP2), &own);
    b.sent.clear();
    assert!(call(&mut b).contains("192.0.2.2"));

    let mut b = two_places();
    let refresh = b.refresh(2, "alice", "600");
    b.sip(peer(SP2), &refresh);
    assert!(b.one().1.starts_with("SIP/2.0 200 "));
    assert!(call(&mut b).contains("192.0.2.2"));
    assert_eq!(b.ss.gauges().bindings, 1);
    b.pass(60_000);
    b.silence();
}

#[test]
fn who_is_nowhere_else_needs_no_question() {
    let mut b = Bench::new(config());
    b.registered(1, "alice", 1);
    b.registered(1, "alice", 2);
    b.pass(60_000);
    b.silence();
    let gone = b.refresh(1, "alice", "0");
    b.sip(peer(SP1), &gone);
    b.sent.clear();
    b.records();
    b.registered(2, "alice", 3);
    b.pass(60_000);
    b.silence();
    assert!(call(&mut b).contains("192.0.2.2"));
}
