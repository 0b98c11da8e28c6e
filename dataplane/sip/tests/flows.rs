//! The registration s1 to s10 through every writer and reader, with the real key schedule; and what the steps must and
//! must not carry.

mod common;

use common::*;
use portunus_keydist::ident::Idc;
use portunus_keydist::schedule::{For, WrapCtx, message_mac};
use portunus_keydist::steps::Refusal;
use portunus_signalling::{FaultKind, FromCore, FromTerminal, Marks, Of, Route, SessionRef, Signalling, Transport, Up};
use portunus_sip::carriage::core::{self, Ask};
use portunus_sip::carriage::terminal::{self, Answer};
use portunus_sip::view::Message;
use portunus_sip::{MAC_PLACEHOLDER, Sip};

fn text(octets: &[u8]) -> &str {
    std::str::from_utf8(octets).unwrap()
}

fn worlds() -> [World; 3] {
    [World::v4(), World::v6(), World { transport: Transport::Tcp, ..World::v4() }]
}

#[test]
fn every_step_is_read_as_it_was_written() {
    for w in worlds() {
        let sent = ladder(&w);
        let octets = |name: &str| &sent.iter().find(|s| s.name == name).unwrap().octets[..];
        assert!(matches!(Sip.read_terminal(octets("s1")), Ok(FromTerminal::S1(got)) if got == s1(&w)));
        let s2 = Message::parse(octets("s2")).unwrap();
        let register = core::read_register(&s2).unwrap();
        assert!(matches!(register.ask, Ask::S2(s2) if (s2.idc, s2.idsp, s2.n1) == (w.idc, w.idsp, n1a())));
        assert_eq!((register.ticket, register.ipc), (w.hop().ticket, w.terminal));
        assert_eq!((register.realm, register.uri), (&b"example.test"[..], &b"sip:example.test"[..]));
        assert_eq!(Sip.route_core(octets("s5")), Route::Ticket(w.hop().ticket));
        match Sip.read_core(octets("s5")) {
            Ok(FromCore::Challenge { of, idsp, rand, .. }) => {
                assert_eq!((of, idsp, rand), (Of::Ticket(w.hop().ticket), w.idsp, RAND));
            }
            other => panic!("{other:?}"),
        }
        let reply = terminal::read_answer(octets("s6")).unwrap();
        assert!(matches!(reply.answer, Answer::Challenge(got) if got == s6(&w)));
        assert_eq!((reply.status, reply.branch, reply.cseq), (401, &b"z9hG4bK776asdhds"[..], 1));
        assert_eq!(reply.realm, Some(&b"example.test"[..]));
        assert!(matches!(Sip.read_terminal(octets("s7")), Ok(FromTerminal::S7(got)) if got == s7(&w)));
        let s8 = Message::parse(octets("s8")).unwrap();
        match core::read_register(&s8).unwrap().ask {
            Ask::S8(s8) => assert_eq!((s8.rand, s8.auth_c, s8.ipc), (RAND, s7(&w).auth_c, w.terminal)),
            other => panic!("{other:?}"),
        }
        assert!(matches!(Sip.read_core(octets("s9")), Ok(FromCore::Key { s9: got, .. }) if got == s9(&w)));
        key_is_received(&w, octets("s10"));
    }
}

fn key_is_received(w: &World, octets: &[u8]) {
    let Answer::Key { s10: got, mac, mac_value } = terminal::read_answer(octets).unwrap().answer else {
        panic!("s10 bears a key")
    };
    assert_eq!(got, s10(w));
    let ctx = WrapCtx { idc: w.idc, idsp: w.idsp, rand: &RAND, n1a: &n1a() };
    let k = key().prk().unwrap(For::Terminal, &ctx, &got.ekc).unwrap();
    let mac_key = k.secret(&RAND).mac_key();
    assert_eq!(message_mac(&mac_key, octets, mac.into(), MAC_PLACEHOLDER), Some(mac_value));
    // The time granted, on the Contact that it asked for; never longer than asked.
    assert_eq!(terminal::granted(octets, w.contact), Some(1800));
    assert_eq!(terminal::granted(octets, "sip:mallory@192.0.2.66"), None);
    // One octet changed anywhere is noticed: by the reader, or by the MAC.
    let mut forged = octets.to_vec();
    for i in 0..forged.len() {
        forged[i] ^= 1;
        if let Ok(reply) = terminal::read_answer(&forged)
            && let Answer::Key { mac, mac_value, .. } = reply.answer
        {
            assert_ne!(message_mac(&mac_key, &forged, mac.into(), MAC_PLACEHOLDER), Some(mac_value), "octet {i}");
        }
        forged[i] ^= 1;
    }
}

#[test]
fn each_step_carries_what_the_spec_says_and_nothing_else() {
    for w in worlds() {
        let sent = ladder(&w);
        let has = |name: &str, what: &str| {
            let octets = &sent.iter().find(|s| s.name == name).unwrap().octets;
            text(octets).contains(what)
        };
        for (step, present) in [
            ("s1", "Supported: path, sec-agree"),
            ("s1", "nonce=\"\""),
            ("s1", "response=\"\""),
            ("s1", "ts=\""),
            ("s2", "Path: <sip:"),
            ("s2", "n1=\""),
            ("s6", "mech-req=\"1\""),
            ("s7", "Require: sec-agree"),
            ("s7", "Proxy-Require: sec-agree"),
            ("s7", "Security-Client: "),
            ("s8", "Path: <sip:"),
            ("s9", "eksp=\""),
            ("s10", "Security-Server: x-pkd-sealed;kid="),
            ("s10", "mechs=\"x-pkd-sealed;q=0.9 ipsec-man;"),
        ] {
            assert!(has(step, present), "{step} lacks {present}");
        }
        for (step, absent) in [
            ("s2", "ts=\""),
            ("s8", "ts=\""),
            ("s8", "n2=\""),
            ("s8", "Security-Client"),
            ("s8", "sec-agree"),
            ("s8", w.contact),
            ("s10", "eksp"),
            ("s10", "Path"),
            ("s10", "Path: <sip:"),
            ("s6", "Path"),
        ] {
            assert!(!has(step, absent), "{step} has {absent}");
        }
        let s10 = &sent.last().unwrap().octets;
        assert_eq!(text(s10).matches("mac=\"").count(), 1);
        let s2 = Message::parse(&sent[1].octets).unwrap();
        assert_eq!(s2.max_forwards(), Some(69));
        let vias: Vec<_> = s2.vias().collect();
        assert_eq!(vias.len(), 2);
        assert_eq!(vias[1].source(), Some(w.terminal));
        // Where the answer goes is told to the terminal as RFC 3581 asks.
        assert_eq!(Message::parse(s10).unwrap().via().source(), Some(w.terminal));
    }
}

#[test]
fn refusals_say_what_they_are() {
    let w = World::v4();
    for sent in refusals(&w) {
        if sent.name.starts_with('s') && sent.name != "stale" {
            continue;
        }
        let answer = terminal::read_answer(&sent.octets).unwrap().answer;
        let expected = match sent.name {
            "cookie" => {
                assert!(matches!(answer, Answer::Cookie { n1, ts: NOW, cookie: b"C00kie_-" } if n1 == n1a()));
                continue;
            }
            "stale" => {
                assert!(matches!(answer, Answer::Stale { n1, ts: NOW } if n1 == Some(n1a())));
                continue;
            }
            "denied" => Refusal::Denied,
            "mechanism" => Refusal::Mechanism,
            "busy" => Refusal::Busy { retry_after_s: 7 },
            _ => Refusal::Malformed,
        };
        assert!(matches!(answer, Answer::Refused(got) if got == expected), "{}: {answer:?}", sent.name);
    }
    let with_cookie = refusals(&w).pop().unwrap();
    assert!(matches!(Sip.read_terminal(&with_cookie.octets), Ok(FromTerminal::S1(s)) if s.cookie == Some(b"C00kie_-")));
    assert!(refusals(&w).iter().filter(|s| s.name.starts_with("s2")).all(|s| !text(&s.octets).contains("cookie")));
}

#[test]
fn answers_are_no_amplifiers() {
    for w in worlds() {
        let steps = ladder(&w);
        let request = steps[0].octets.len();
        for answer in refusals(&w).into_iter().filter(|s| s.from == w.access).chain([steps[3].clone()]) {
            assert!(answer.octets.len() <= 3 * request, "{}", answer.name);
        }
    }
}

/// s1 with something put in front of a header.
fn with(step: &[u8], before: &str, what: &str) -> Vec<u8> {
    text(step).replacen(before, &format!("{what}{before}"), 1).into_bytes()
}

#[test]
fn core_only_fields_are_refused_from_terminals() {
    let w = World::v4();
    let steps = ladder(&w);
    let (s1, s7) = (&steps[0].octets, &steps[4].octets);
    let headers = [
        "Path: <sip:x>",
        "Service-Route: <sip:x;lr>",
        "P-Asserted-Identity: <sip:bob@example.test>",
        "P-Asserted-Service: urn:x",
        "P-Charging-Vector: x=1",
        "P-Charging-Function-Addresses: x=1",
        "P-Associated-URI: <sip:x>",
        "P-Visited-Network-ID: x",
        "Authentication-Info: nextnonce=\"x\"",
        "Security-Server: tls",
        "p-asserted-identity : <sip:bob@example.test>",
    ];
    for step in [s1, s7] {
        for header in headers {
            let forged = with(step, "Contact:", &format!("{header}\r\n"));
            assert_eq!(Sip.read_terminal(&forged).unwrap_err().kind, FaultKind::Forbidden, "{header}");
            let mut buf = [0u8; 4096];
            let mut out = portunus_codec::Writer::new(&mut buf);
            let inside = Sip.relay_up(&w.hop(), &w.session(), &forged, &mut out);
            assert_eq!(inside.unwrap_err().kind, FaultKind::Forbidden, "{header}");
        }
        for param in ["ekc=\"x\"", "eksp=\"x\"", "mac=\"x\"", "integrity-protected=\"yes\"", "Integrity-Protected=yes"]
        {
            let forged = text(step).replacen("idsp=", &format!("{param}, idsp="), 1);
            assert_eq!(Sip.read_terminal(forged.as_bytes()).unwrap_err().kind, FaultKind::Forbidden, "{param}");
        }
    }
}

#[test]
fn names_are_bound() {
    let w = World::v4();
    let steps = ladder(&w);
    for step in [&steps[0].octets, &steps[4].octets] {
        for (what, header) in [("From: <sip:alice@", "From"), ("To: <sip:alice@", "To")] {
            for other in ["sip:bob@", "sips:alice@", "sip:Alice@", "sip:alice:pw@"] {
                let forged = text(step).replacen(what, &format!("{header}: <{other}"), 1);
                let fault = Sip.read_terminal(forged.as_bytes()).unwrap_err();
                assert_eq!((fault.kind, fault.what), (FaultKind::Forbidden, header), "{other}");
            }
        }
        let escaped = text(step).replacen("From: <sip:alice@", "From: <sip:%61lice@", 1);
        assert!(Sip.read_terminal(escaped.as_bytes()).is_ok(), "an escape is another spelling of the same name");
    }
    for sent in call(&w).into_iter().filter(|s| s.from == w.terminal && s.name != "200") {
        let bob = SessionRef { idc: Idc::new("bob@example.test").unwrap(), ..w.session() };
        let mut buf = [0u8; 4096];
        let mut out = portunus_codec::Writer::new(&mut buf);
        let up = Sip.relay_up(&w.hop(), &bob, &sent.octets, &mut out).unwrap();
        if sent.name == "ACK" {
            assert_eq!((up, out.written()), (Up::Drop, &b""[..]));
        } else {
            assert_eq!(up, Up::Answer);
            assert!(out.written().starts_with(b"SIP/2.0 403 "));
        }
    }
}

#[test]
fn what_is_malformed_is_named() {
    let w = World::v4();
    let steps = ladder(&w);
    let (s1, s7) = (text(&steps[0].octets).to_owned(), text(&steps[4].octets).to_owned());
    let cases = [
        (s1.replacen("CSeq: 1 REGISTER", "CSeq: 1 INVITE", 1), "CSeq"),
        (s1.replacen("CSeq: 1 ", "CSeq: x ", 1), "CSeq"),
        (s1.replacen("Max-Forwards: 70", "Max-Forwards: 256", 1), "Max-Forwards"),
        (s1.replacen("Call-ID: ", "Call-ID: a b", 1), "Call-ID"),
        (with(s1.as_bytes(), "Call-ID:", "Expires: 1\r\n").escape(), "Expires"),
        (s1.replacen("Content-Length: 0", "Content-Length: 1", 1), "Content-Length"),
        (s1.replacen("n1=\"64", "n1=\"zz", 1), "Authorization n1"),
        (s1.replacen("n1=", "n1=\"0000000000000000\", N1=", 1), "Authorization"),
        (s1.replacen("idsp=\"", "idsp=\"/", 1), "Authorization idsp"),
        (s1.replacen("ts=\"", "ts=\"-", 1), "Authorization ts"),
        (s1.replacen("username=\"", "username=\"\\", 1), "Authorization"),
        (s1.replacen("Contact: <", "Contact: <<", 1), "Contact"),
        (with(s1.as_bytes(), "Content-Length", "Authorization: Digest a=b\r\n").escape(), "Authorization"),
        (s7.replacen("response=\"", "response=\"0", 1), "Authorization response"),
        (s7.replacen("nonce=\"", "nonce=\"0", 1), "Authorization nonce"),
        (s7.replacen("n2=\"", "n2=\"+", 1), "Authorization n2"),
        (s7.replacen("Security-Client: ", "Security-Client: X y, ", 1), "Security-Client"),
        (s7.replacen("Security-Client: ", "Subject: ", 1), "Security-Client"),
        (s7.replacen("Contact: ", "Subject: ", 1), "Contact"),
        (s7.replacen("expires=3600", "expires=0", 1), "Contact"),
    ];
    for (forged, what) in cases {
        let fault = Sip.read_terminal(forged.as_bytes()).expect_err(&forged);
        assert_eq!((fault.kind, fault.what), (FaultKind::Malformed, what), "{forged}");
        let answer = write(|o| Sip.write_fault(&w.hop(), forged.as_bytes(), &fault, o).map(|due| assert!(due)));
        assert!(text(&answer).starts_with(&format!("SIP/2.0 400 Malformed {what}\r\n")), "{}", text(&answer));
    }
}

trait Escape {
    fn escape(self) -> String;
}

impl Escape for Vec<u8> {
    fn escape(self) -> String {
        String::from_utf8(self).unwrap()
    }
}

#[test]
fn other_faults_get_their_own_answers() {
    let w = World::v4();
    let s1 = text(&ladder(&w)[0].octets).to_owned();
    let answer = |msg: &str| {
        let fault = Sip.read_terminal(msg.as_bytes()).unwrap_err();
        let mut buf = [0u8; 4096];
        let mut out = portunus_codec::Writer::new(&mut buf);
        let due = Sip.write_fault(&w.hop(), msg.as_bytes(), &fault, &mut out).unwrap();
        assert_eq!(due, !out.is_empty());
        text(out.written()).to_owned()
    };
    assert!(
        answer(&s1.replacen("Max-Forwards: 70", "Max-Forwards: 0", 1)).starts_with("SIP/2.0 483 Too Many Hops\r\n")
    );
    assert!(answer(&s1.replacen("SIP/2.0", "SIP/7.0", 1)).starts_with("SIP/2.0 505 "));
    let extension = answer(&with(s1.as_bytes(), "Contact:", "Proxy-Require: sec-agree, foo\r\n").escape());
    assert!(extension.starts_with("SIP/2.0 420 Bad Extension\r\n") && extension.contains("Unsupported: foo\r\n"));
    assert!(!extension.contains("Unsupported: sec-agree"));
    let padded = with(s1.as_bytes(), "Contact:", &format!("Subject: {}\r\n", "x".repeat(17_000))).escape();
    assert!(answer(&padded).starts_with("SIP/2.0 513 "));
    let many = with(s1.as_bytes(), "Content-Length:", &"X: y\r\n".repeat(100)).escape();
    assert!(answer(&many).starts_with("SIP/2.0 513 "));
    // Nothing answers what is no request, an ACK, or what lacks the parts of an answer.
    assert_eq!(answer(&s1.replacen("REGISTER sip", "SIP/2.0 200 OK\r\nX:", 1).replacen("CSeq: 1", "CSeq: x", 1)), "");
    assert_eq!(answer("hello"), "");
    assert_eq!(answer(&s1.replacen("Via:", "Subject:", 1)), "");
    assert_eq!(answer(&s1[..s1.len() - 2]), "");
    let ack = "ACK sip:a@h SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bKx\r\nFrom: <sip:a@h>;tag=1\r\nTo: <sip:a@h>\r\nCall-ID: 1\r\nCSeq: x ACK\r\n\r\n";
    assert_eq!(answer(ack), "");
}

#[test]
fn several_contacts_are_all_restored_and_the_best_is_bound() {
    let w = World::v4();
    let s7_msg = text(&ladder(&w)[4].octets).replacen(
        "Contact: <sip:alice@10.0.0.7:40000>;expires=3600\r\n",
        "m: \"A, B\" <sip:a1@10.0.0.7>;q=0.2;expires=600, <sip:a2@10.0.0.8;transport=tcp>;q=0.9\r\n\
         Contact: <sip:a3@10.0.0.9>;+sip.instance=\"<urn:uuid:1>\";expires=0\r\n",
        1,
    );
    let Ok(FromTerminal::S7(s7)) = Sip.read_terminal(s7_msg.as_bytes()) else { panic!("s7") };
    assert_eq!(
        write(|o| Sip.binding(s7_msg.as_bytes(), &Marks::NONE, o)),
        b"sip:a2@10.0.0.8;transport=tcp\nsip:a1@10.0.0.7"
    );
    let s8 = portunus_keydist::steps::S8 { idc: w.idc, idsp: w.idsp, rand: RAND, auth_c: s7.auth_c, ipc: w.terminal };
    let up = write(|o| Sip.write_s8(&w.hop(), s7_msg.as_bytes(), &s7, &s8, o));
    let up = Message::parse(&up).unwrap();
    let contacts: Vec<_> = up.contacts().collect();
    assert_eq!((contacts.len(), contacts[0].expires()), (1, Some(3600)));
    let s9_msg =
        write(|o| core::write_s9(&up, "t", &s9(&w), &[core::Granted { uri: contacts[0].uri, expires: 900 }], o));
    let down = write(|o| Sip.write_s10(&w.hop(), s7_msg.as_bytes(), &s9_msg, &s10(&w), o).map(|_| ()));
    let down = text(&down);
    assert!(down.contains("Contact: \"A, B\" <sip:a1@10.0.0.7>;q=0.2;expires=600\r\n"), "{down}");
    assert!(down.contains("Contact: <sip:a2@10.0.0.8;transport=tcp>;q=0.9;expires=900\r\n"), "{down}");
    assert!(!down.contains("a3@"), "{down}");
}

#[test]
fn nothing_but_the_named_parts_changes() {
    // Folds, compact forms, odd case and unknown headers go through as they are.
    let w = World::v4();
    let s1_msg = text(&ladder(&w)[0].octets).replacen("Via: ", "v:\t", 1).replacen("From: ", "fRoM :  ", 1).replacen(
        "Content-Length: 0",
        "X-Odd: a\r\n\t b ;; \"\r\nl:0 ",
        1,
    );
    let Ok(FromTerminal::S1(s1)) = Sip.read_terminal(s1_msg.as_bytes()) else { panic!("{s1_msg}") };
    let s2_msg = write(|o| Sip.write_s2(&w.hop(), s1_msg.as_bytes(), &s1, o));
    let s2_text = text(&s2_msg);
    for kept in [
        "fRoM :  <",
        "X-Odd: a\r\n\t b ;; \"\r\nl:0 \r\n\r\n",
        "v:\tSIP/2.0/UDP 10.0.0.7:40000;branch=z9hG4bK776asdhds;",
    ] {
        assert!(s2_text.contains(kept), "{s2_text}");
    }
    let changed: Vec<_> =
        s2_text.lines().filter(|l| !s1_msg.lines().any(|k| k == *l)).map(|l| l.split(':').next().unwrap()).collect();
    assert_eq!(changed, ["Via", "Path", "v", "Max-Forwards", "Authorization"]);
}

#[test]
fn core_refusals() {
    let w = World::v4();
    let steps = ladder(&w);
    let s2 = Message::parse(&steps[1].octets).unwrap();
    for (status, wait, expected) in [
        (403, None, Refusal::Denied),
        (404, None, Refusal::Denied),
        (400, None, Refusal::Malformed),
        (503, Some(9), Refusal::Busy { retry_after_s: 9 }),
        (500, None, Refusal::Busy { retry_after_s: 5 }),
    ] {
        let msg = write(|o| core::write_status(&s2, "t", status, "Reason", wait, o));
        assert!(
            matches!(Sip.read_core(&msg), Ok(FromCore::Refused { refusal, .. }) if refusal == expected),
            "{status}"
        );
    }
    let trying = write(|o| core::write_status(&s2, "t", 100, "Trying", None, o));
    assert!(matches!(Sip.read_core(&trying), Ok(FromCore::Answer { last: false, success: false, .. })));
    let stray = text(&trying).replacen("z9hG4bK", "z9hG4bKx", 1);
    assert_eq!(Sip.read_core(stray.as_bytes()).unwrap_err().what, "Via");
    assert_eq!(Sip.route_core(stray.as_bytes()), Route::Unknown);
}
