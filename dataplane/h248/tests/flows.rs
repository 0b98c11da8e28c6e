//! The registration s1 to s10 through every writer and reader, with the real key schedule; and what the steps must and
//! must not carry.

mod common;

use common::*;
use portunus_h248::carriage::core::{self, FromProxy as AtCore};
use portunus_h248::carriage::message;
use portunus_h248::carriage::terminal::{self, FromProxy};
use portunus_h248::view::Message;
use portunus_h248::{H248, MAC_PLACEHOLDER};
use portunus_keydist::ident::Idc;
use portunus_keydist::schedule::{For, WrapCtx, message_mac};
use portunus_keydist::steps::Refusal;
use portunus_signalling::{
    FaultKind, FromCore, FromTerminal, Hop, Marks, Of, Route, SessionRef, Signalling, Text, Up, Writer,
};

fn text(octets: &[u8]) -> &str {
    std::str::from_utf8(octets).unwrap()
}

fn named<'a>(sent: &'a [Sent], name: &str) -> &'a [u8] {
    &sent.iter().find(|s| s.name == name).unwrap().octets
}

#[test]
fn every_step_is_read_as_it_was_written() {
    for w in World::all() {
        let sent = ladder(&w);
        let octets = |name: &str| named(&sent, name);
        assert!(matches!(H248.read_terminal(octets("s1")), Ok(FromTerminal::S1(got)) if got == s1(&w)));
        assert!(matches!(H248.read_terminal(octets("s7")), Ok(FromTerminal::S7(got)) if got == s7(&w)));
        for name in ["reply to s6", "reply to s10"] {
            assert!(matches!(H248.read_terminal(octets(name)), Ok(FromTerminal::Response { ticket: None })), "{name}");
        }
        let s2 = Message::parse(octets("s2")).unwrap();
        let Ok(Some(AtCore::Register { s2: got, version, services, .. })) = core::read(&s2) else { panic!() };
        assert_eq!((got.idc, got.idsp, got.n1, version), (w.idc, w.idsp, n1a(), w.version));
        assert_eq!(services.reason(), b"901 Cold Boot");
        assert!(!text(octets("s2")).contains("ts="), "the clock is the proxy's business");
        let s8_view = Message::parse(octets("s8")).unwrap();
        assert!(matches!(core::read(&s8_view), Ok(Some(AtCore::Response { s8: got, .. })) if got == s8(&w)));
        assert!(!text(octets("s8")).contains("mechs"), "the list is not forwarded");
        let challenge = H248.read_core(octets("s5"));
        assert!(
            matches!(challenge, Ok(FromCore::Challenge { of: Of::N1(n1), idc: None, idsp, rand }) if n1 == n1a() && idsp == w.idsp && rand == RAND)
        );
        let key = H248.read_core(octets("s9"));
        assert!(matches!(key, Ok(FromCore::Key { of: Of::Rand(RAND), idc: None, s9: got }) if got == s9(&w)));
        assert!(matches!(terminal::read(octets("s6")), Ok((_, FromProxy::Challenge(got))) if got == s6(&w)));
        let (_, FromProxy::Key { s10: got, mac, mac_value }) = terminal::read(octets("s10")).unwrap() else { panic!() };
        assert_eq!(got, s10(&w));
        let ctx = WrapCtx { idc: w.idc, idsp: w.idsp, rand: &RAND, n1a: &n1a() };
        let k = key_of(&got.ekc, &ctx);
        let expected = message_mac(&k.secret(&RAND).mac_key(), octets("s10"), mac, MAC_PLACEHOLDER).unwrap();
        assert_eq!(expected, mac_value);
        assert!(!text(octets("s10")).contains("eksp"));
        for name in ["s5", "s9"] {
            assert_eq!(H248.route_core(octets(name)), Route::Step, "{name}");
        }
        for name in ["reply to s2", "reply to s8"] {
            assert_eq!(H248.route_core(octets(name)), Route::Lane, "{name}");
            let read = H248.read_core(octets(name));
            assert!(matches!(read, Ok(FromCore::Answer { of: Of::Lane, last: true, success: true })), "{name}");
        }
    }
}

/// A step of the core's that was read already is acknowledged as one that is read for that.
#[test]
fn a_step_that_was_read_is_acknowledged_as_one_that_was_not() {
    for w in World::all() {
        let mut steps = 0;
        for sent in ladder(&w).into_iter().chain(refusals(&w)).filter(|s| s.from == w.softswitch) {
            let read = H248.read_core(&sent.octets).unwrap();
            let anew = put(|o| H248.acknowledge_core(&w.hop(), &sent.octets, o));
            if matches!(read, FromCore::Challenge { .. } | FromCore::Key { .. } | FromCore::Refused { .. }) {
                assert_eq!(
                    text(&put(|o| H248.acknowledge_step(&w.hop(), &sent.octets, o))),
                    text(&anew),
                    "{}",
                    sent.name
                );
                steps += 1;
            } else {
                assert_eq!(text(&anew), "", "{}: no step", sent.name);
            }
        }
        assert_eq!(steps, 4, "s5, s9 and two refusals");
        for name in ["s2", "s8"] {
            let written = named(&ladder(&w), name).to_vec();
            assert_eq!(H248.step_transaction(&written), H248.transaction(&written), "{name}");
        }
    }
}

/// What is written from a step is the same with what was noted when it was read as without; and what is no step of a
/// gateway's leaves no note.
#[test]
fn notes_change_nothing_of_what_is_written() {
    for w in World::all() {
        let sent = ladder(&w);
        let read = |name: &str| {
            let (mut marks, mut text) = (Marks::NONE, Text::new());
            assert!(marks.push(&[1, 2, 3]), "what it held");
            H248.read_marked(named(&sent, name), &mut marks, &mut text).unwrap();
            marks
        };
        assert!(["reply to s6", "reply to s10"].iter().all(|name| read(name).words().is_empty()));
        let (s1_msg, s7_msg) = (named(&sent, "s1"), named(&sent, "s7"));
        let (of_s1, of_s7, plain) = (read("s1"), read("s7"), w.hop());
        assert!(!of_s1.words().is_empty() && !of_s7.words().is_empty());
        let (one, seven) = (Hop { marks: &of_s1, ..plain }, Hop { marks: &of_s7, ..plain });
        let same = |name: &str, octets: Vec<u8>| assert_eq!(text(&octets), text(named(&sent, name)), "{name}");
        same("reply to s1", put(|o| H248.acknowledge(&one, s1_msg, o)));
        same("s2", write(|o| H248.write_s2(&one, s1_msg, &s1(&w), o)));
        same("s6", write(|o| H248.write_s6(&one, s1_msg, b"", &s6(&w), o)));
        same("reply to s7", put(|o| H248.acknowledge(&seven, s7_msg, o)));
        same("s8", write(|o| H248.write_s8(&seven, s7_msg, &s7(&w), &s8(&w), o)));
        let s10_of = |hop: &Hop<'_>| {
            let mut buf = vec![0; 4096];
            let mut o = Writer::new(&mut buf);
            let field = H248.write_s10(hop, s7_msg, b"", &s10(&w), &mut o).unwrap();
            (o.written().to_vec(), field)
        };
        assert_eq!(s10_of(&seven), s10_of(&plain));
        for (hop, msg) in [(&one, s1_msg), (&seven, s7_msg)] {
            for refusal in [Refusal::Denied, Refusal::Busy { retry_after_s: 7 }, Refusal::Malformed] {
                let fail = |hop: &Hop<'_>| write(|o| H248.write_refusal(hop, msg, &refusal, Some(&n1a()), o));
                assert_eq!(text(&fail(hop)), text(&fail(&plain)));
            }
            let cookie = |hop: &Hop<'_>| write(|o| H248.write_cookie(hop, msg, &n1a(), NOW, b"C00kie_-", o));
            assert_eq!(text(&cookie(hop)), text(&cookie(&plain)));
        }
    }
}

fn key_of(ekc: &[u8; 48], ctx: &WrapCtx<'_>) -> portunus_keydist::schedule::SessionKey {
    key().prk().unwrap(For::Terminal, ctx, ekc).unwrap()
}

#[test]
fn the_messages_are_those_of_the_specification() {
    let w = World::v4();
    let sent = ladder(&w);
    let shown = |name: &str| text(named(&sent, name)).to_owned();
    assert_eq!(
        shown("s1"),
        "!/1 <gw1.example.test> T=1{C=-{SC=ROOT{SV{MT=RS,RE=\"901 Cold Boot\",V=2,\
         X-PKD=\"v=1;idsp=sp1.example.test;n1=64e6d05cb4c9b98f;ts=1763942400000\"}}}}"
    );
    assert_eq!(shown("reply to s1"), "!/1 <sp1.example.test> P=1{C=-{SC=ROOT{SV{V=2}}}}");
    let s6 = shown("s6");
    assert!(s6.starts_with("!/2 <sp1.example.test> T="), "{s6}");
    assert!(
        s6.contains("{C=-{MF=ROOT{SG{portunus/chal{idsp=\"sp1.example.test\",n1=\"64e6d05cb4c9b98f\",n2=\""),
        "{s6}"
    );
    assert!(s6.ends_with(",mechreq=\"1\"}},E=1{portunus/resp}}}}"), "{s6}");
    assert!(
        shown("s7").starts_with("!/2 <gw1.example.test> T=2{C=-{N=ROOT{OE=1{portunus/resp{n1=\"3f05e7b59536e12e\",")
    );
    let s10 = shown("s10");
    assert!(s10.starts_with("AU=0x00000001:0x00000001:0x"), "{s10}");
    assert_eq!(s10[27..].find(' '), Some(64), "{s10}");
    assert!(s10[27 + 65..].starts_with("!/2 <sp1.example.test> T="), "{s10}");
    assert!(
        s10.contains("{C=-{MF=ROOT{SG{portunus/key{idsp=\"sp1.example.test\",n1=\"3f05e7b59536e12e\",n2=\""),
        "{s10}"
    );
}

#[test]
fn a_bit_flipped_anywhere_in_s10_is_seen() {
    let w = World::v4();
    let sent = ladder(&w);
    let good = named(&sent, "s10").to_vec();
    let mac_key =
        key_of(&s9(&w).ekc, &WrapCtx { idc: w.idc, idsp: w.idsp, rand: &RAND, n1a: &n1a() }).secret(&RAND).mac_key();
    let accepts = |octets: &[u8]| match terminal::read(octets) {
        Ok((_, FromProxy::Key { mac, mac_value, .. })) => {
            message_mac(&mac_key, octets, mac, MAC_PLACEHOLDER).is_some_and(|mac| mac == mac_value)
        }
        _ => false,
    };
    assert!(accepts(&good));
    for bit in 0..good.len() * 8 {
        let mut bad = good.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        assert!(!accepts(&bad), "bit {bit}");
    }
}

#[test]
fn refusals_reach_the_gateway() {
    let w = World::v4();
    let sent = refusals(&w);
    for (name, expected) in [
        ("denied", Refusal::Denied),
        ("stale", Refusal::Stale { ts: NOW }),
        ("mechanism", Refusal::Mechanism),
        ("busy", Refusal::Busy { retry_after_s: portunus_keydist::params::BUSY_RETRY_S }),
    ] {
        let read = terminal::read(named(&sent, name));
        assert!(
            matches!(read, Ok((id, FromProxy::Refused { n1: Some(n1), refusal })) if id != 0 && n1 == n1a() && refusal == expected),
            "{name}"
        );
    }
    assert!(matches!(terminal::read(named(&sent, "malformed")), Ok((1, FromProxy::Reply { id: 1, error: Some(400) }))));
    assert!(matches!(terminal::read(named(&sent, "402")), Ok((4, FromProxy::Reply { id: 4, error: Some(402) }))));
    assert!(matches!(terminal::read(named(&sent, "message error")), Ok((_, FromProxy::Error(400)))));
    assert!(matches!(terminal::read(named(&sent, "pending")), Ok((5, FromProxy::Pending(5)))));
    let cookie = terminal::read(named(&sent, "cookie"));
    assert!(matches!(cookie, Ok((_, FromProxy::Cookie { n1, ts: NOW, cookie: b"C00kie_-" })) if n1 == n1a()));
    let again = H248.read_terminal(named(&sent, "s1 with a cookie"));
    assert!(matches!(again, Ok(FromTerminal::S1(s1)) if s1.cookie == Some(b"C00kie_-")));
    assert!(!text(named(&sent, "s2 after a cookie")).contains("cookie"));
    let of_core = H248.read_core(named(&sent, "refusal of s8"));
    assert!(matches!(of_core, Ok(FromCore::Refused { of: Of::Rand(RAND), refusal: Refusal::Denied })));
    let of_core = H248.read_core(named(&sent, "refusal of s2"));
    assert!(matches!(of_core, Ok(FromCore::Refused { of: Of::N1(n1), refusal: Refusal::Denied }) if n1 == n1a()));
    let busy = H248.read_core(named(&sent, "busy core"));
    assert!(matches!(busy, Ok(FromCore::Answer { of: Of::Lane, last: true, success: false })));
    assert_eq!(H248.transaction(named(&sent, "busy core")), Some(5));
}

#[test]
fn a_step_stands_alone_in_its_message_and_comes_from_who_may_send_it() {
    let w = World::v4();
    let sent = ladder(&w);
    let fault = |octets: &[u8]| H248.read_terminal(octets).unwrap_err();
    let twice = [named(&sent, "s1"), b" T=9{C=-{AV=ROOT{AT{}}}}"].concat();
    assert_eq!(fault(&twice).kind, FaultKind::Malformed);
    let behind_a_reply = text(named(&sent, "s7")).replacen("T=2", "P=8{C=-{MF=ROOT}}T=2", 1);
    assert_eq!(fault(behind_a_reply.as_bytes()).kind, FaultKind::Malformed);
    for name in ["s5", "s6", "s9", "s10"] {
        assert_eq!(fault(named(&sent, name)).kind, FaultKind::Forbidden, "{name}");
    }
    for (from, to) in [
        ("n1=\"3f", "ekc=\"AAAA\",n1=\"3f"),
        ("n1=\"3f05e7b59536e12e\"", "n1=\"3f05e7b59536e12e\",n1=\"3f05e7b59536e12e\""),
        ("n1=\"3f05e7b59536e12e\"", "odd=1,odd=2,n1=\"3f05e7b59536e12e\""),
        ("n1=\"3f05e7b59536e12e\"", "n1=\"3F05E7B59536E12E\""),
        ("authc=", "authd="),
        ("OE=1{portunus/resp", "OE=1{al/of,portunus/resp"),
        ("ROOT", "A4444"),
        ("C=-", "C=1"),
    ] {
        let changed = text(named(&sent, "s7")).replacen(from, to, 1);
        assert!(matches!(fault(changed.as_bytes()).kind, FaultKind::Malformed | FaultKind::Forbidden), "{changed}");
    }
    let eksp = format!("n1=\"3f05e7b59536e12e\",eksp=\"{}\"", "A".repeat(64));
    let core_only = text(named(&sent, "s7")).replacen("n1=\"3f05e7b59536e12e\"", &eksp, 1);
    assert_eq!(fault(core_only.as_bytes()).kind, FaultKind::Forbidden);
    let graceful = text(named(&sent, "s1")).replacen("MT=RS", "MT=GR", 1);
    assert_eq!(fault(graceful.as_bytes()).kind, FaultKind::Malformed);
    // A peer that quotes only what must be quoted is understood.
    let bare = text(named(&sent, "s7")).replacen("n1=\"3f05e7b59536e12e\"", "n1=3f05e7b59536e12e", 1);
    assert!(matches!(H248.read_terminal(bare.as_bytes()), Ok(FromTerminal::S7(got)) if got == s7(&w)));
    let pretty =
        text(named(&sent, "s1")).replace("T=1", "Transaction = 1 ").replace("{SV", " { ; comment }\n Services ");
    assert!(matches!(H248.read_terminal(pretty.as_bytes()), Ok(FromTerminal::S1(got)) if got == s1(&w)), "{pretty}");
}

#[test]
fn every_header_version_is_taken_and_others_are_told() {
    let w = World::v4();
    let sent = ladder(&w);
    let s1_text = text(named(&sent, "s1")).to_owned();
    for version in 1..=3 {
        let msg = s1_text.replacen("!/1", &format!("!/{version}"), 1);
        assert!(matches!(H248.read_terminal(msg.as_bytes()), Ok(FromTerminal::S1(_))));
    }
    for version in ["0", "4", "99"] {
        let msg = s1_text.replacen("!/1", &format!("MEGACO/{version}"), 1);
        let fault = H248.read_terminal(msg.as_bytes()).unwrap_err();
        assert_eq!((fault.kind, fault.what), (FaultKind::Unsupported, "version"));
        let answer = write(|o| H248.write_fault(&w.hop(), msg.as_bytes(), &fault, o).map(|due| assert!(due)));
        assert_eq!(text(&answer), "!/3 <sp1.example.test> ER=406{\"Version not supported\"}");
    }
}

#[test]
fn what_is_malformed_is_answered_once_and_an_answer_never() {
    let w = World::v4();
    let answer = |msg: &str| {
        let fault = H248.read_terminal(msg.as_bytes()).unwrap_err();
        let mut due = false;
        let octets = write(|o| H248.write_fault(&w.hop(), msg.as_bytes(), &fault, o).map(|d| due = d));
        assert_eq!(due, !octets.is_empty(), "{msg}");
        due.then(|| String::from_utf8(octets).unwrap())
    };
    let own = |rest: &str| Some(format!("!/2 <sp1.example.test> {rest}"));
    assert_eq!(answer("!/2 <gw> T=5{C=-{N=ROOT{OE=1{al}}}}"), own("P=5{ER=400{\"Syntax error in message\"}}"));
    assert_eq!(answer("!/2 <gw> T=5{C=-{N=ROOT"), own("P=5{ER=400{\"Syntax error in message\"}}"));
    assert_eq!(answer("!/2 <gw1.example.test> T=x{C=-{}}"), own("ER=400{\"Syntax error in message\"}"));
    assert_eq!(answer("!/2 <gw1.example.test> Hello=5"), own("ER=400{\"Syntax error in message\"}"));
    for silent in
        ["", "hello", "INVITE sip:a@b SIP/2.0\r\n\r\n", "!/2 <gw> P=5{", "!/2 <gw> ER=4{}{", "!/2 <gw> PN=5", "!/2"]
    {
        assert_eq!(answer(silent), None, "{silent}");
    }
    let auth = format!(
        "AU=0x00000001:0x00000001:0x{} !/2 <gw1.example.test> T=5{{C=-{{N=A{{OE=1{{al/of}}}}}}}}",
        "a".repeat(64)
    );
    assert_eq!(answer(&auth), own("P=5{ER=402{\"Unauthorized\"}}"));
    // The shortest request, and a proxy with the longest name: the answer is left out rather than too long.
    let msg = "!/1 a T=1{C=-{S=a}}";
    let mut hop = w.hop();
    let name = "p".repeat(63);
    hop.own.idsp = portunus_keydist::ident::Idsp::new(&name).unwrap();
    assert!(write(|o| H248.write_refusal(&hop, msg.as_bytes(), &Refusal::Denied, None, o)).is_empty());
    assert!(!write(|o| H248.write_refusal(&w.hop(), msg.as_bytes(), &Refusal::Denied, None, o)).is_empty());
}

#[test]
fn sessions_relay_what_is_theirs() {
    let w = World::v4();
    let (hop, session) = (w.hop(), w.session());
    let up = |octets: &[u8]| {
        let mut how = Up::Drop;
        let out = write(|o| H248.relay_up(&hop, &session, octets, o).map(|up| how = up));
        (how, String::from_utf8(out).unwrap())
    };
    let sent = common::session(&w);
    let find = |name: &str| sent.iter().find(|s| s.name == name).unwrap();
    for (name, how) in [
        ("off-hook", Up::Forward),
        ("restart", Up::Refresh),
        ("disconnected", Up::Refresh),
        ("graceful", Up::Forward),
        ("termination", Up::Forward),
        ("forced", Up::Deregister),
        ("audit reply", Up::Forward),
    ] {
        assert_eq!(up(&find(name).octets).0, how, "{name}");
    }
    let (_, forced) = up(&find("forced").octets);
    assert!(forced.ends_with("RE=\"905 Termination taken out of service\"}}}}"), "no address passes: {forced}");
    assert_eq!(up(&find("off-hook").octets).1, text(&find("off-hook").octets), "else nothing changes");
    let down = |octets: &[u8]| String::from_utf8(write(|o| H248.relay_down(&hop, &session, octets, o))).unwrap();
    assert_eq!(down(&find("addressed").octets), "!/2 <sp1.example.test> P=100{C=-{SC=ROOT{SV{V=2}}}}");
    let alone = "!/2 <ss1.example.test> P=100{C=-{SC=ROOT{SV{AD=2945}}}}";
    assert_eq!(down(alone.as_bytes()), "!/2 <sp1.example.test> P=100{C=-{SC=ROOT{SV{V=2}}}}");
    assert!(down(&find("redirected").octets).contains("MG=<ss2.example.test>:2945"));
    // Another name than the session's.
    let other = SessionRef { idc: Idc::new("gw2.example.test").unwrap(), ..session };
    let mut how = Up::Forward;
    let refused = write(|o| H248.relay_up(&hop, &other, &find("off-hook").octets, o).map(|up| how = up));
    assert_eq!((how, text(&refused)), (Up::Answer, "!/2 <sp1.example.test> P=100{ER=402{\"Unauthorized\"}}"));
    let mut how = Up::Forward;
    let refused = write(|o| H248.relay_up(&hop, &other, &find("modified").octets, o).map(|up| how = up));
    assert_eq!((how, refused.len()), (Up::Drop, 0), "a reply is never answered");
    // No step of a registration passes, in either direction.
    let steps = ladder(&w);
    let mut buf = [0u8; 4096];
    for name in ["s1", "s7"] {
        let read = H248.relay_up(&hop, &session, named(&steps, name), &mut portunus_codec::Writer::new(&mut buf));
        assert_eq!(read.unwrap_err().kind, FaultKind::Forbidden, "{name}");
    }
    for name in ["s5", "s9"] {
        let read = H248.relay_down(&hop, &session, named(&steps, name), &mut portunus_codec::Writer::new(&mut buf));
        assert_eq!(read.unwrap_err().kind, FaultKind::Forbidden, "{name}");
    }
    for hidden in ["E=1{al/of{EM{SG{portunus/key{ekc=\"x\"}}}}}", "SG{SL=1{portunus/fail}}", "EB{portunus/resp}"] {
        let msg = write(|o| message::write_request(&w.controller(), 1, &format!("C=-{{MF=ROOT{{{hidden}}}}}"), o));
        let read = H248.relay_down(&hop, &session, &msg, &mut portunus_codec::Writer::new(&mut buf));
        assert_eq!(read.unwrap_err().kind, FaultKind::Forbidden, "{hidden}");
    }
}

#[test]
fn answers_name_their_transaction() {
    let w = World::v4();
    let sent = common::session(&w);
    let octets = |name: &str| &sent.iter().find(|s| s.name == name).unwrap().octets[..];
    assert_eq!(H248.transaction(octets("granted")), Some(100));
    assert!(H248.answers_registration(octets("granted")));
    assert!(!H248.answers_registration(octets("notified")));
    let both = "!/2 <ss1.example.test> P=7{C=-{N=ROOT}}P=100{C=-{SC=ROOT}}T=3{C=-{AV=ROOT{AT{}}}}";
    assert_eq!(H248.transaction(both.as_bytes()), Some(100));
    assert!(matches!(
        H248.read_core(both.as_bytes()),
        Ok(FromCore::Answer { of: Of::Lane, last: true, success: true })
    ));
    let failed = "!/2 <ss1.example.test> P=100{C=-{SC=ROOT{ER=501{\"x\"}}}}";
    assert!(matches!(H248.read_core(failed.as_bytes()), Ok(FromCore::Answer { success: false, .. })));
    assert!(matches!(H248.read_core(octets("audit")), Ok(FromCore::Request { idc: None })));
    let pending = "!/2 <ss1.example.test> PN=100{}";
    assert!(matches!(H248.read_core(pending.as_bytes()), Ok(FromCore::Answer { last: false, .. })));
    // A gateway without a session: the core hears so.
    let gone = write(|o| H248.answer_own(&w.hop(), octets("audit"), false, o));
    assert_eq!(text(&gone), "!/2 <sp1.example.test> P=8000{ER=503{\"Service unavailable\"}}");
}
