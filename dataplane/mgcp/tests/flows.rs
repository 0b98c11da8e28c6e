//! The registration s1 to s10 through every writer and reader, with the real key schedule; and what the steps must and
//! must not carry.

mod common;

use common::*;
use portunus_keydist::ident::Idc;
use portunus_keydist::schedule::{For, WrapCtx, message_mac};
use portunus_keydist::steps::Refusal;
use portunus_mgcp::carriage::core::{self, Ask};
use portunus_mgcp::carriage::terminal::{self, Answer};
use portunus_mgcp::view::Message;
use portunus_mgcp::{MAC_PLACEHOLDER, Mgcp};
use portunus_signalling::{FromCore, FromTerminal, Of, Protocol, Route, Signalling};

fn text(octets: &[u8]) -> &str {
    std::str::from_utf8(octets).unwrap()
}

#[test]
fn every_step_is_read_as_it_was_written() {
    assert_eq!((Mgcp.protocol(), Mgcp.lanes()), (Protocol::Mgcp, true));
    for w in [World::v4(), World::v6()] {
        let sent = ladder(&w);
        let octets = |name| octets(&sent, name);
        assert!(matches!(Mgcp.read_terminal(octets("s1")), Ok(FromTerminal::S1(got)) if got == s1(&w)));
        let s2 = core::read(&Message::parse(octets("s2")).unwrap()).unwrap().unwrap();
        assert!(matches!(s2.ask, Ask::S2(s2) if (s2.idc, s2.idsp, s2.n1) == (w.idc, w.idsp, n1a())));
        assert_eq!(core::challenged(&s2.endpoint), w.endpoint());
        match Mgcp.read_core(octets("s5")) {
            Ok(FromCore::Challenge { of, idc, idsp, rand }) => {
                assert_eq!((of, idc, idsp, rand), (Of::N1(n1a()), Some(w.idc), w.idsp, RAND));
            }
            other => panic!("{other:?}"),
        }
        let s6_msg = terminal::read(octets("s6")).unwrap().unwrap();
        assert!(matches!(s6_msg.answer, Answer::Challenge(got) if got == s6(&w)));
        assert_eq!((s6_msg.endpoint, s6_msg.x), (w.endpoint(), &b"0123456789ab"[..]));
        assert!(matches!(Mgcp.read_terminal(octets("s7")), Ok(FromTerminal::S7(got)) if got == s7(&w)));
        let s8_msg = core::read(&Message::parse(octets("s8")).unwrap()).unwrap().unwrap();
        assert!(matches!(s8_msg.ask, Ask::S8(got) if got == s8(&w)));
        // The softswitch hears its own request identifier again.
        assert_eq!(s8_msg.x, b"0123456789ab");
        match Mgcp.read_core(octets("s9")) {
            Ok(FromCore::Key { of, idc, s9: got }) => {
                assert_eq!((of, idc.map(|i| i.as_idc() == w.idc), got), (Of::Rand(RAND), Some(true), s9(&w)));
            }
            other => panic!("{other:?}"),
        }
        for step in ["s5", "s9"] {
            assert_eq!(Mgcp.route_core(octets(step)), Route::Step);
        }
        key_is_received(&w, octets("s10"));
    }
}

fn key_is_received(w: &World, octets: &[u8]) {
    let Answer::Key { s10: got, mac, mac_value } = terminal::read(octets).unwrap().unwrap().answer else {
        panic!("s10 bears a key")
    };
    assert_eq!(got, s10(w));
    let ctx = WrapCtx { idc: w.idc, idsp: w.idsp, rand: &RAND, n1a: &n1a() };
    let k = key().prk().unwrap(For::Terminal, &ctx, &got.ekc).unwrap();
    let mac_key = k.secret(&RAND).mac_key();
    assert_eq!(message_mac(&mac_key, octets, mac, MAC_PLACEHOLDER), Some(mac_value));
    // One bit changed anywhere is noticed: by the reader, or by the MAC.
    let mut forged = octets.to_vec();
    for bit in 0..forged.len() * 8 {
        forged[bit / 8] ^= 1 << (bit % 8);
        if let Ok(Some(reply)) = terminal::read(&forged)
            && let Answer::Key { mac, mac_value, .. } = reply.answer
        {
            assert_ne!(message_mac(&mac_key, &forged, mac, MAC_PLACEHOLDER), Some(mac_value), "bit {bit}");
        }
        forged[bit / 8] ^= 1 << (bit % 8);
    }
    // So is anything put behind or before it.
    for (before, after) in
        [("", "\r\n"), ("", ".\r\n"), ("", "A: b\r\n"), ("200 1 OK\r\n.\r\n", ""), ("", ".\r\n200 1 OK\r\n")]
    {
        let forged = [before.as_bytes(), octets, after.as_bytes()].concat();
        let taken = match terminal::read(&forged) {
            Ok(Some(terminal::Reply { answer: Answer::Key { mac, mac_value, .. }, .. })) => {
                message_mac(&mac_key, &forged, mac, MAC_PLACEHOLDER) == Some(mac_value)
            }
            _ => false,
        };
        assert!(!taken, "{before:?} {after:?}");
    }
}

/// The messages themselves, as the specification writes them.
#[test]
fn the_steps_in_full() {
    let sent = ladder(&World::v4());
    let n2 = "N2a_token-0123456789";
    let (authc, ekc) = (hex(&s7(&World::v4()).auth_c), b64(&s9(&World::v4()).ekc));
    let mechs = "x-pkd-sealed;q=0.9 ipsec-man;q=0.5;spi-c=1193046;port-c=5062";
    let x = "X: 0123456789ab\r\n";
    let head = "aaln/1@gw1.example.test MGCP 1.0\r\n";
    let n = "N: x-pkd@[192.0.2.1]:2727\r\n";
    for (name, expected) in [
        (
            "s1",
            "RSIP 1 *@gw1.example.test MGCP 1.0\r\nRM: restart\r\n\
             X-PKD: v=1;idsp=sp1.example.test;n1=64e6d05cb4c9b98f;ts=1763942400000\r\n"
                .to_owned(),
        ),
        ("200 to s1", "200 1 OK\r\n".to_owned()),
        (
            "s2",
            "RSIP # *@gw1.example.test MGCP 1.0\r\nRM: restart\r\n\
             X-PKD: v=1;idsp=sp1.example.test;n1=64e6d05cb4c9b98f\r\n"
                .to_owned(),
        ),
        (
            "s5",
            format!(
                "RQNT 501 {head}{x}S: x-pkd/chal(idsp=\"sp1.example.test\",n1=\"64e6d05cb4c9b98f\",\
                 rand=\"MDEyMzQ1Njc4OWFiY2RlZg\")\r\n"
            ),
        ),
        (
            "s6",
            format!(
                "RQNT # {head}{n}{x}R: x-pkd/resp(N)\r\nS: x-pkd/chal(idsp=\"sp1.example.test\",\
                 n1=\"64e6d05cb4c9b98f\",n2=\"{n2}\",ts=\"1763942400003\",rand=\"MDEyMzQ1Njc4OWFiY2RlZg\",mechreq=\"1\")\r\n"
            ),
        ),
        (
            "s7",
            format!(
                "NTFY 2 {head}{x}O: x-pkd/resp(n1=\"3f05e7b59536e12e\",n2=\"{n2}\",ts=\"1763942400020\",\
                 authc=\"{authc}\",mechs=\"{mechs}\")\r\n"
            ),
        ),
        (
            "s8",
            format!(
                "NTFY # {head}{x}O: x-pkd/resp(idsp=\"sp1.example.test\",rand=\"MDEyMzQ1Njc4OWFiY2RlZg\",\
                 authc=\"{authc}\",ipc=\"203.0.113.7:2427\")\r\n"
            ),
        ),
        (
            "s10",
            format!(
                "RQNT # {head}{n}{x}S: x-pkd/key(idsp=\"sp1.example.test\",n1=\"3f05e7b59536e12e\",\
                 n2=\"7f8616e0dbb8446d\",ts=\"1763942400030\",life=\"86400\",ekc=\"{ekc}\",sel=\"{SEL}\",\
                 mechs=\"{mechs}\")\r\nX-PKDMAC: "
            ),
        ),
    ] {
        let got = text(octets(&sent, name));
        // A transaction of the proxy's own making is whatever it is.
        let mut words = got.splitn(3, ' ');
        let (verb, transaction, rest) = (words.next().unwrap(), words.next().unwrap(), words.next().unwrap());
        let transaction = if expected.contains(" # ") { "#" } else { transaction };
        let got = format!("{verb} {transaction} {rest}");
        let got = if name == "s10" { &got[..got.len() - 66] } else { &got };
        assert_eq!(got, expected, "{name}");
    }
}

fn hex(octets: &[u8]) -> String {
    octets.iter().map(|o| format!("{o:02x}")).collect()
}

fn b64(octets: &[u8]) -> String {
    text(&put(|w| _ = w.b64(octets))).to_owned()
}

#[test]
fn the_proxys_own_transactions_repeat_and_differ() {
    let w = World::v4();
    let sent = ladder(&w);
    let own: Vec<u32> = ["s2", "s6", "s8", "s10"]
        .iter()
        .map(|name| Message::parse(octets(&sent, name)).unwrap().transaction())
        .chain([Message::parse(octets(&refusals(&w), "denied")).unwrap().transaction()])
        .collect();
    for (i, one) in own.iter().enumerate() {
        assert!(own.iter().skip(i + 1).all(|other| other != one), "{own:?}");
    }
    let again = ladder(&w);
    for (one, other) in sent.iter().zip(&again) {
        assert_eq!(one.octets, other.octets, "{}", one.name);
    }
}

#[test]
fn refusals_say_what_they_are() {
    for w in [World::v4(), World::v6()] {
        let sent = refusals(&w);
        let read = |name| terminal::read(octets(&sent, name)).unwrap().map(|reply| reply.answer);
        assert!(matches!(read("cookie"), Some(Answer::Cookie { n1, ts: NOW, cookie: b"C00kie_-" }) if n1 == n1a()));
        for (name, expected) in [
            ("denied", Refusal::Denied),
            ("stale", Refusal::Stale { ts: NOW }),
            ("mechanism", Refusal::Mechanism),
            ("busy", Refusal::Busy { retry_after_s: 4 }),
        ] {
            match read(name) {
                Some(Answer::Refused { n1, refusal }) => assert_eq!((n1, refusal), (n1a(), expected)),
                other => panic!("{other:?}"),
            }
        }
        assert!(read("malformed").is_none());
        assert_eq!(terminal::read_response(octets(&sent, "malformed")), Some((510, 1)));
        match Mgcp.read_terminal(octets(&sent, "s1 with a cookie")) {
            Ok(FromTerminal::S1(s1)) => assert_eq!(s1.cookie, Some(&b"C00kie_-"[..])),
            other => panic!("{other:?}"),
        }
        assert!(!text(octets(&sent, "s2 after a cookie")).contains("cookie"));
        let early = Mgcp.read_core(octets(&sent, "early fail"));
        assert!(
            matches!(early, Ok(FromCore::Refused { of: Of::N1(n1), refusal: Refusal::Busy { .. } }) if n1 == n1a())
        );
        let late = Mgcp.read_core(octets(&sent, "late fail"));
        assert!(matches!(late, Ok(FromCore::Refused { of: Of::Rand(RAND), refusal: Refusal::Denied })));
    }
}

#[test]
fn nothing_of_the_steps_answers_or_obeys_a_stranger() {
    let w = World::v4();
    let sent = everything(&w);
    for s in &sent {
        // What a terminal sends is never a step of the core's, and the reverse.
        if matches!(s.name, "s1" | "s7" | "s1 with a cookie") {
            assert!(!matches!(Mgcp.read_core(&s.octets), Ok(FromCore::Challenge { .. } | FromCore::Key { .. })));
            assert!(terminal::read(&s.octets).unwrap().is_none(), "{}", s.name);
        }
        if s.from == w.softswitch {
            let read = Mgcp.read_terminal(&s.octets);
            assert!(!matches!(read, Ok(FromTerminal::S1(_) | FromTerminal::S7(_))), "{}", s.name);
        }
    }
    // A name that is no IDc's is nobody's.
    let msg = b"RSIP 1 *@gw,1 MGCP 1.0\r\nX-PKD: v=1;idsp=sp1;n1=64e6d05cb4c9b98f;ts=1\r\n";
    assert!(Mgcp.read_terminal(msg).is_err());
    assert!(Idc::new("gw,1").is_none());
}
