//! Several domains, and several softswitches of one: whom a softswitch asks about whom, and by whom calls go on.

mod common;

use common::{Bench, SP1, config, header, peer};
use portunus_aaa::{AaaRequest, Realms};
use portunus_softswitch::{Neighbour, Peer};
use std::sync::Arc;

const OTHER: &str = "198.51.100.20:5060";
const SIBLINGS: [&str; 2] = ["192.0.2.101:5060", "192.0.2.102:5060"];

fn bench() -> Bench {
    let mut config = config();
    let neighbour =
        |address: &str, domain: &str| Neighbour { address: address.parse().unwrap(), domains: vec![domain.into()] };
    config.neighbours = vec![
        neighbour(OTHER, "other.test"),
        neighbour(SIBLINGS[0], "example.test"),
        neighbour(SIBLINGS[1], "example.test"),
    ];
    let servers: [&[Arc<str>]; 2] = [&["example.test".into()], &["other.test".into()]];
    config.realms = Realms::new("example.test", &config.domains, servers.into_iter());
    let mut b = Bench::new(config);
    b.registered(1, "alice", 1);
    b
}

fn message(from: &str, to: &str, vias: &[&str], more: &str) -> String {
    let vias: String =
        vias.iter().enumerate().map(|(n, at)| format!("Via: SIP/2.0/UDP {at};branch=z9hG4bKn{n}\r\n")).collect();
    format!(
        "MESSAGE sip:{to} SIP/2.0\r\n{vias}Max-Forwards: 69\r\nFrom: <sip:{from}>;tag=a\r\nTo: <sip:{to}>\r\n\
         Call-ID: call-1\r\nCSeq: 2 MESSAGE\r\n{more}Content-Length: 0\r\n\r\n"
    )
}

fn says(b: &mut Bench, from: Peer, text: &str) -> (Peer, String) {
    b.sip(from, text);
    b.one()
}

#[test]
fn a_subscriber_of_another_domain_is_reached_by_its_softswitch_which_is_told_who_calls() {
    let mut b = bench();
    let (to, on) = says(&mut b, peer(SP1), &message("alice@example.test", "erin@Other.test", &[SP1], ""));
    assert_eq!(to, peer(OTHER));
    assert!(on.starts_with("MESSAGE sip:erin@Other.test SIP/2.0\r\n"), "{on}");
    assert_eq!(header(&on, "Max-Forwards"), ["68"]);
    assert_eq!(header(&on, "P-Asserted-Identity"), ["<sip:alice@example.test>"]);
    // What it says of a caller stays as it is.
    let asserted = "P-Asserted-Identity: <sip:erin@other.test>\r\n";
    let (to, on) = says(&mut b, peer(OTHER), &message("erin@other.test", "alice@example.test", &[OTHER], asserted));
    assert_eq!((to, header(&on, "P-Asserted-Identity")), (peer(SP1), vec!["<sip:erin@other.test>"]));
    // Nobody's request passes through us from one foreign domain to another, or to one that nobody knows.
    for (from, target) in [(OTHER, "erin@other.test"), (OTHER, "carol@third.test"), (SP1, "carol@third.test")] {
        let (_, answer) = says(&mut b, peer(from), &message("x@other.test", target, &[from], ""));
        assert!(answer.starts_with("SIP/2.0 404 "), "{from} {target}: {answer}");
    }
    let none =
        message("alice@example.test", "erin@other.test", &[SP1], "").replace("Max-Forwards: 69", "Max-Forwards: 0");
    assert!(says(&mut b, peer(SP1), &none).1.starts_with("SIP/2.0 483 "));
    assert_eq!(b.ss.counters().to_neighbour, 2);
}

#[test]
fn who_is_not_here_may_be_at_another_of_our_own_each_asked_once() {
    let mut b = bench();
    let to_dave = |vias: &[&str]| message("alice@example.test", "dave@example.test", vias, "");
    assert_eq!(says(&mut b, peer(SP1), &to_dave(&[SP1])).0, peer(SIBLINGS[0]));
    // The first had no such subscriber either, and we are its next; then there is the second, and then nobody.
    assert_eq!(says(&mut b, peer(SIBLINGS[0]), &to_dave(&[SIBLINGS[0], SP1])).0, peer(SIBLINGS[1]));
    let (to, answer) = says(&mut b, peer(SIBLINGS[1]), &to_dave(&[SIBLINGS[1], SIBLINGS[0], SP1]));
    assert!(to == peer(SIBLINGS[1]) && answer.starts_with("SIP/2.0 404 Not Found"), "{answer}");
    // Who is here is nobody else's.
    let to_alice = message("dave@example.test", "alice@example.test", &[SIBLINGS[0]], "");
    assert_eq!(says(&mut b, peer(SIBLINGS[0]), &to_alice).0, peer(SP1));
}

#[test]
fn the_centre_of_the_subscribers_own_realm_is_asked_and_an_unknown_realm_is_refused() {
    let mut b = bench();
    // It names its own domain, and whatever digest realm: PKD1's words are bound to none.
    let s2 = |b: &mut Bench, id: &str, domain: &str| {
        let text = b.s2(1, "alice").replace("alice@example.test", id);
        text.replace("sip:example.test", &format!("sip:{domain}")).replace("realm=\"example.test\"", "realm=\"x\"")
    };
    for (id, domain, realm) in
        [("bob@example.test", "example.test", "example.test"), ("erin@other.test", "other.test", "other.test")]
    {
        let text = s2(&mut b, id, domain);
        b.sip(peer(SP1), &text);
        let (_, AaaRequest::Authenticate(a)) = b.question() else { panic!("a vector is asked for") };
        assert_eq!((a.idc.as_str(), &*a.realm), (id, realm));
    }
    let eve = s2(&mut b, "eve@third.test", "example.test");
    assert!(says(&mut b, peer(SP1), &eve).1.starts_with("SIP/2.0 403 "));
    assert_eq!(b.ss.counters().unknown_realm, 1);
    let elsewhere = s2(&mut b, "eve@third.test", "third.test");
    assert!(says(&mut b, peer(SP1), &elsewhere).1.starts_with("SIP/2.0 404 No Route"));
}
