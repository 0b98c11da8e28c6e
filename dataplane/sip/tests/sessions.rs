//! What passes inside sessions and from stock phones, both ways, and what the proxy answers itself.

mod common;

use common::*;
use portunus_signalling::{FromCore, FromTerminal, Route, Signalling, Transport, Up};
use portunus_sip::Sip;
use portunus_sip::carriage::core::{self, Ask};
use portunus_sip::carriage::terminal::{self, Answer};
use portunus_sip::view::{Message, Method, Name};

fn text(octets: &[u8]) -> &str {
    std::str::from_utf8(octets).unwrap()
}

fn worlds() -> [World; 3] {
    [World::v4(), World::v6(), World { transport: Transport::Tcp, ..World::v4() }]
}

/// A message with a line put in front of a header.
fn with(msg: &[u8], before: &str, what: &str) -> Vec<u8> {
    text(msg).replacen(before, &format!("{what}{before}"), 1).into_bytes()
}

#[test]
fn refreshes_are_asserted_by_the_proxy_and_restored_for_the_terminal() {
    for w in worlds() {
        for chunk in refreshes(&w).chunks(4) {
            let [asked, up, _, down] = chunk else { panic!("four messages") };
            let view = Message::parse(&up.octets).unwrap();
            let register = core::read_register(&view).unwrap();
            assert!(matches!(register.ask, Ask::Refresh));
            assert_eq!((register.idc, register.idsp, register.ipc), (w.idc, w.idsp, w.terminal));
            assert!(!text(&up.octets).contains(w.contact));
            let ends = asked.name == "de-registration";
            let mut buf = [0u8; 4096];
            let mut out = portunus_codec::Writer::new(&mut buf);
            let up = Sip.relay_up(&w.hop(), &w.session(), &asked.octets, &mut out);
            assert_eq!(up, Ok(if ends { Up::Deregister } else { Up::Refresh }));
            let granted = terminal::granted(&down.octets, w.contact);
            assert_eq!(granted, if ends { None } else { Some(1200) });
            assert!(matches!(terminal::read_answer(&down.octets).unwrap().answer, Answer::Granted));
            assert!(!text(&down.octets).contains("Path"));
            assert_eq!(Message::parse(&down.octets).unwrap().vias().count(), 1);
        }
    }
}

#[test]
fn a_stock_phone_is_named_to_the_core_and_challenged_by_it() {
    let w = World::v4();
    let sent = stock(&w);
    for (i, answered) in [(0, false), (4, true)] {
        match Sip.read_terminal(&sent[i].octets) {
            Ok(FromTerminal::Digest { idc, answered: got, ends: false }) => {
                assert_eq!((idc, got), (w.idc, answered));
            }
            other => panic!("{other:?}"),
        }
        let view = Message::parse(&sent[i + 1].octets).unwrap();
        let register = core::read_register(&view).unwrap();
        assert_eq!((register.idc, register.idsp), (w.idc, w.idsp));
        match (answered, register.ask) {
            (false, Ask::DigestChallenge) => {}
            (true, Ask::DigestAnswer { rand, response, algorithm }) => {
                assert_eq!((rand, response.len(), algorithm), (Some(RAND), 64, Some(&b"SHA-256"[..])));
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(matches!(Sip.read_core(&sent[2].octets), Ok(FromCore::Answer { last: true, success: false, .. })));
    assert!(matches!(Sip.read_core(&sent[6].octets), Ok(FromCore::Answer { last: true, success: true, .. })));
    assert!(matches!(terminal::read_answer(&sent[3].octets).unwrap().answer, Answer::Digest { .. }));
    assert_eq!(terminal::granted(&sent[7].octets, w.contact), Some(300));
}

#[test]
fn a_call_reaches_its_terminal_and_stays_on_the_proxy() {
    for w in worlds() {
        let sent = call(&w);
        let view = |i: usize| Message::parse(&sent[i].octets).unwrap();
        let octets = |i: usize| &sent[i].octets[..];
        // Up: Via with the handle, Record-Route naming the caller, body untouched.
        assert_eq!(view(1).via().ticket(), Some(w.hop().ticket));
        assert_eq!(view(1).addrs(Name::RecordRoute).next().unwrap().sip().unwrap().token().unwrap().as_idc(), w.idc);
        assert_eq!(view(1).body(), view(0).body());
        assert!(matches!(Sip.read_core(octets(2)), Ok(FromCore::Request { idc: Some(idc) }) if idc.as_idc() == w.idc));
        assert_eq!(Sip.route_core(octets(2)), Route::Terminal(w.idc.into()));
        // Down: the proxy's Route is gone, the Request-URI is the terminal's Contact.
        assert_eq!(view(3).uri(), w.contact.as_bytes());
        assert!(!view(3).has(Name::Route));
        assert_eq!(view(3).items(Name::RecordRoute).count(), 2);
        assert_eq!(view(3).max_forwards(), Some(67));
        // Back: every element takes its own Via away.
        assert!(
            matches!(Sip.read_terminal(octets(4)), Ok(FromTerminal::Response { ticket }) if ticket == Some(w.hop().ticket))
        );
        let counts: Vec<_> = (4..8).map(|i| view(i).items(Name::Via).count()).collect();
        assert_eq!(counts, [4, 3, 2, 1]);
        assert_eq!(view(7).via().branch(), Some(&b"z9hG4bKnashds8"[..]));
        // ACK: both Routes are used up; no further Record-Route.
        assert_eq!(view(8).items(Name::Route).count(), 2);
        assert_eq!((view(9).items(Name::Route).count(), view(10).items(Name::Route).count()), (1, 0));
        assert_eq!(view(10).uri(), w.contact.as_bytes());
        assert!(!view(10).has(Name::RecordRoute));
    }
}

#[test]
fn cancel_and_the_ack_of_a_refusal_follow_their_invite() {
    let w = World::v4();
    let sent = call(&w);
    let invite = text(&sent[0].octets).to_owned();
    let invite_up = Message::parse(&sent[1].octets).unwrap();
    for method in ["CANCEL", "ACK"] {
        let follows = invite.replace("INVITE", method);
        let up = write(|o| Sip.relay_up(&w.hop(), &w.session(), follows.as_bytes(), o).map(|_| ()));
        assert_eq!(Message::parse(&up).unwrap().via().branch(), invite_up.via().branch(), "{method}");
    }
    let other = invite.replace("986759", "986760");
    let up = write(|o| Sip.relay_up(&w.hop(), &w.session(), other.as_bytes(), o).map(|_| ()));
    assert_ne!(Message::parse(&up).unwrap().via().branch(), invite_up.via().branch());
}

#[test]
fn requests_for_the_proxy_and_for_the_absent() {
    let w = World::v4();
    let options = "OPTIONS sip:198.51.100.1:5060 SIP/2.0\r\nVia: SIP/2.0/UDP 198.51.100.2;branch=z9hG4bKo\r\nFrom: <sip:ss1@example.test>;tag=1\r\nTo: <sip:198.51.100.1>\r\nCall-ID: o\r\nCSeq: 1 OPTIONS\r\n\r\n";
    assert!(matches!(Sip.read_core(options.as_bytes()), Ok(FromCore::Own)));
    assert_eq!(Sip.route_core(options.as_bytes()), Route::Own);
    let answer = |msg: &str, reachable| {
        let mut buf = [0u8; 2048];
        let mut out = portunus_codec::Writer::new(&mut buf);
        Sip.answer_own(&w.hop(), msg.as_bytes(), reachable, &mut out).unwrap();
        text(out.written()).to_owned()
    };
    assert!(answer(options, true).starts_with("SIP/2.0 200 OK\r\n"));
    assert!(answer(options, false).starts_with("SIP/2.0 480 "));
    assert!(answer(&options.replace("OPTIONS", "INVITE"), true).starts_with("SIP/2.0 405 "));
    assert_eq!(answer(&options.replace("OPTIONS", "ACK"), false), "");
    let hello = Message::parse(options.as_bytes()).unwrap();
    assert_eq!(hello.method(), Method::Options);
}

#[test]
fn core_only_fields_end_at_the_proxy() {
    let w = World::v4();
    let sent = call(&w);
    let marked = with(&sent[2].octets, "Call-ID:", "P-Asserted-Identity: <sip:x@y>\r\nP-Charging-Vector: a=1\r\n");
    let down = write(|o| Sip.relay_down(&w.hop(), &w.session(), &marked, o));
    assert!(!text(&down).contains("P-Asserted") && !text(&down).contains("P-Charging"));
    let marked = with(&sent[6].octets, "Call-ID:", "Authentication-Info: eksp=\"x\"\r\nService-Route: <sip:x;lr>\r\n");
    let down = write(|o| Sip.relay_down(&w.hop(), &w.session(), &marked, o));
    assert!(!text(&down).contains("eksp") && !text(&down).contains("Service-Route"));
}

#[test]
fn keep_alives() {
    assert!(matches!(Sip.read_terminal(b"\r\n\r\n"), Ok(FromTerminal::KeepAlive(b"\r\n"))));
    for quiet in [&b""[..], b"\r\n", b"\0", b"\0\0\0\0"] {
        assert!(matches!(Sip.read_terminal(quiet), Ok(FromTerminal::KeepAlive(b""))));
    }
}

/// A phone that knows no domain registers with the proxy's address: towards the core that is the domain.
#[test]
fn a_registration_for_the_proxys_own_address_is_for_the_domain() {
    for w in worlds() {
        let asked = refreshes(&w).remove(0).octets;
        let to = |uri: &str| {
            let asked = text(&asked).replacen("REGISTER sip:example.test ", &format!("REGISTER {uri} "), 1);
            let up = write(|o| Sip.write_digest(&w.hop(), asked.as_bytes(), w.idc, o));
            let view = Message::parse(&up).unwrap();
            let digest = view.digest(Name::Authorization).unwrap().unwrap();
            assert_eq!(digest.get(portunus_sip::view::Field::Uri), Some(uri.as_bytes()), "what the phone hashes");
            text(view.uri()).to_owned()
        };
        assert_eq!(to(&format!("sip:{}", w.access)), "sip:example.test");
        assert_eq!(to(&format!("sip:{};transport=udp", w.access)), "sip:example.test");
        assert_eq!(
            to(&format!("sip:{}", w.access.ip().to_string().replace("2001:db8::1", "[2001:db8::1]"))),
            "sip:example.test"
        );
        assert_eq!(to("sip:192.0.2.99"), "sip:192.0.2.99", "somebody else's");
        assert_eq!(to("sip:example.test"), "sip:example.test");
    }
}
