//! The registration s1 to s10 through every writer and reader, with the real key schedule; and what the steps must and
//! must not carry.

mod common;

use common::*;
use portunus_h323::carriage::core::{self, Ask};
use portunus_h323::carriage::terminal::{self, Answer};
use portunus_h323::view::{Element, Kind, Message, Reason};
use portunus_h323::write::{self as ras, Tok};
use portunus_h323::{MAC_PLACEHOLDER, Ras};
use portunus_keydist::schedule::{For, SessionKey, WrapCtx, message_mac};
use portunus_keydist::steps::{Refusal, S1, S6};
use portunus_signalling::{FaultKind, FromCore, FromTerminal, Hop, Marks, Of, Route, SessionRef, Signalling, Text, Up};

fn named<'a>(sent: &'a [Sent], name: &str) -> &'a [u8] {
    &sent.iter().find(|s| s.name == name).unwrap().octets
}

fn parsed(octets: &[u8]) -> Message<'_> {
    Message::parse(octets).unwrap()
}

fn key_of(w: &World, ekc: &[u8; 48]) -> SessionKey {
    let ctx = WrapCtx { idc: w.idc, idsp: w.idsp, rand: &RAND, n1a: &n1a() };
    key().prk().unwrap(For::Terminal, &ctx, ekc).unwrap()
}

#[test]
fn what_the_terminal_sends_is_read_as_it_was_written() {
    for w in World::all() {
        let sent = ladder(&w);
        let mut text = Text::new();
        let read = Ras.read_terminal(named(&sent, "s1"), &mut text);
        assert!(matches!(read, Ok(FromTerminal::S1(got)) if got == s1(&w)));
        let read = Ras.read_terminal(named(&sent, "s7"), &mut text);
        assert!(matches!(read, Ok(FromTerminal::S7(got)) if got == s7(&w)));
        let s2_msg = parsed(named(&sent, "s2"));
        let Ok(Ask::S2(got)) = core::read(&s2_msg, &mut text) else { panic!() };
        assert_eq!((got.idc, got.idsp, got.n1), (w.idc, w.idsp, n1a()));
        let s8_msg = parsed(named(&sent, "s8"));
        let Ok(Ask::S8(got)) = core::read(&s8_msg, &mut text) else { panic!() };
        assert_eq!(got, s8(&w));
    }
}

/// What is written from a step is the same with what was noted when it was read as without; what bears no token leaves
/// no note.
#[test]
fn notes_change_nothing_of_what_is_written() {
    for w in World::all() {
        let sent = ladder(&w);
        let read = |octets: &[u8]| {
            let (mut marks, mut text) = (Marks::NONE, Text::new());
            assert!(marks.push(&[1, 2, 3]), "what it held");
            Ras.read_marked(octets, &mut marks, &mut text).unwrap();
            marks
        };
        assert!(from_terminal(&w).iter().any(|(_, octets)| read(octets).words().is_empty()));
        let (s1_msg, s7_msg, plain) = (named(&sent, "s1"), named(&sent, "s7"), w.hop());
        let (of_s1, of_s7) = (read(s1_msg), read(s7_msg));
        assert!(!of_s1.words().is_empty() && !of_s7.words().is_empty());
        let (one, seven) = (Hop { marks: &of_s1, ..plain }, Hop { marks: &of_s7, ..plain });
        assert_eq!(write(|o| Ras.write_s2(&one, s1_msg, &s1(&w), o)), named(&sent, "s2"));
        assert_eq!(write(|o| Ras.write_s6(&one, s1_msg, b"", &s6(&w), o)), named(&sent, "s6"));
        assert_eq!(write(|o| Ras.write_s8(&seven, s7_msg, &s7(&w), &s8(&w), o)), named(&sent, "s8"));
        let s10_of = |hop: &Hop<'_>| {
            let mut field = 0..0;
            let octets = write(|o| Ras.write_s10(hop, s7_msg, named(&sent, "s9"), &s10(&w), o).map(|f| field = f));
            (octets, field)
        };
        assert_eq!(s10_of(&seven), s10_of(&plain));
        for (hop, msg) in [(&one, s1_msg), (&seven, s7_msg)] {
            for (_, refusal) in all_refusals() {
                let fail = |hop: &Hop<'_>| write(|o| Ras.write_refusal(hop, msg, &refusal, Some(&n1a()), o));
                assert_eq!(fail(hop), fail(&plain));
            }
            let cookie = |hop: &Hop<'_>| write(|o| Ras.write_cookie(hop, msg, &n1a(), NOW, b"C00kie_-", o));
            assert_eq!(cookie(hop), cookie(&plain));
        }
    }
}

#[test]
fn what_the_core_sends_is_read_as_it_was_written() {
    for w in World::all() {
        let sent = ladder(&w);
        let mut text = Text::new();
        let (read, transaction) = Ras.read_answer(named(&sent, "s5"), &mut text).unwrap();
        let FromCore::Challenge { of: Of::N1(n1), idc, idsp, rand } = read else { panic!("{read:?}") };
        assert_eq!((n1, idc, idsp, rand, transaction), (n1a(), Some(w.idc), w.idsp, RAND, None));
        let (read, _) = Ras.read_answer(named(&sent, "s9"), &mut text).unwrap();
        let FromCore::Key { of: Of::Rand(RAND), idc, s9: got } = read else { panic!("{read:?}") };
        assert_eq!((idc.as_ref().map(|i| i.as_idc()), got), (Some(w.idc), s9(&w)));
        for name in ["s5", "s9"] {
            assert_eq!(Ras.route_core(named(&sent, name)), Route::Step, "{name}");
        }
    }
}

#[test]
fn what_the_proxy_sends_is_read_as_it_was_written() {
    for w in World::all() {
        let sent = ladder(&w);
        let mut text = Text::new();
        let reply = terminal::read_answer(named(&sent, "s6"), &mut text).unwrap();
        assert_eq!((reply.kind, reply.seq), (Kind::GatekeeperReject, 1));
        assert!(matches!(reply.answer, Answer::Challenge(got) if got == s6(&w)));
        let s10_msg = named(&sent, "s10");
        let reply = terminal::read_answer(s10_msg, &mut text).unwrap();
        assert_eq!((reply.kind, reply.seq), (Kind::RegistrationConfirm, 2));
        let Answer::Key { s10: got, mac } = reply.answer else { panic!() };
        assert_eq!(got, s10(&w));
        assert_eq!(mac.field.end, s10_msg.len(), "the MAC is the last of s10");
        let mac_key = key_of(&w, &got.ekc).secret(&RAND).mac_key();
        assert_eq!(message_mac(&mac_key, s10_msg, mac.field, MAC_PLACEHOLDER).unwrap(), mac.value);
        assert_eq!(terminal::terms_kept(s10_msg, w.aliases, TTL), Some(GRANTED));
        assert_eq!(terminal::terms_kept(s10_msg, w.aliases, GRANTED - 1), None, "no longer than asked");
        assert_eq!(terminal::terms_kept(s10_msg, &["other"], TTL), None);
        assert_eq!(terminal::terms_kept(s10_msg, &[], TTL), None, "no alias more than asked");
    }
}

#[test]
fn the_messages_are_those_of_the_specification() {
    let w = World::v4();
    let sent = ladder(&w);
    for (name, kind, n, reason) in [
        ("s1", Kind::GatekeeperRequest, 1, None),
        ("s2", Kind::GatekeeperRequest, 1, None),
        ("s5", Kind::GatekeeperReject, 2, Some(Reason::Added(0, None))),
        ("s6", Kind::GatekeeperReject, 2, Some(Reason::Added(0, None))),
        ("s7", Kind::RegistrationRequest, 3, None),
        ("s8", Kind::RegistrationRequest, 3, None),
        ("s9", Kind::RegistrationConfirm, 4, None),
        ("s10", Kind::RegistrationConfirm, 4, None),
    ] {
        let msg = parsed(named(&sent, name));
        let token = msg.token().unwrap().unwrap();
        assert_eq!((msg.kind(), token.n, msg.reason()), (kind, n, reason), "{name}");
        assert_eq!(token.challenge, (n == 2 || n == 3).then_some(&RAND[..]), "{name}: challenge in 2 and 3 only");
        let (from, to) = if n % 2 == 1 { (w.idc.as_str(), w.idsp.as_str()) } else { (w.idsp.as_str(), w.idc.as_str()) };
        assert!(token.senders_id.unwrap().is(from) && token.general_id.unwrap().is(to), "{name}");
        // The core side has no clocks.
        let stamped = matches!(name, "s1" | "s6" | "s7" | "s10");
        assert_eq!(token.time_stamp, stamped.then_some((NOW / 1000) as u32), "{name}");
        assert_eq!(token.get(Element::Ts).is_some(), stamped, "{name}");
        assert_eq!(msg.version(), Some(7));
    }
    let has = |name: &str, e| parsed(named(&sent, name)).token().unwrap().unwrap().get(e).is_some();
    assert!(has("s7", Element::Mechs) && !has("s8", Element::Mechs), "the list is not forwarded");
    assert!(has("s7", Element::N2) && !has("s8", Element::N2));
    assert!(!has("s7", Element::IpC) && has("s8", Element::IpC));
    assert!(has("s9", Element::Eksp) && !has("s10", Element::Eksp), "the proxy's wrap stays with it");
    assert!(has("s9", Element::Rand) && !has("s10", Element::Rand));
    assert!(has("s6", Element::MechReq) && has("s10", Element::Mechs) && has("s10", Element::Life));
    // Numbers: the proxy's own towards the core in s2, the terminal's everywhere else.
    let seq = |name: &str| parsed(named(&sent, name)).seq();
    assert_eq!([seq("s1"), seq("s6"), seq("s7"), seq("s8"), seq("s9"), seq("s10")], [1, 1, 2, 2, 2, 2]);
    assert_eq!(seq("s2"), seq("s5"));
    assert_eq!(Ras.transaction(named(&sent, "s2")), Some(u32::from(seq("s2"))));
}

#[test]
fn a_bit_flipped_anywhere_in_s10_is_seen() {
    let w = World::v4();
    let sent = ladder(&w);
    let mac_key = key_of(&w, &s9(&w).ekc).secret(&RAND).mac_key();
    let accepts = |octets: &[u8]| match terminal::read_answer(octets, &mut Text::new()) {
        Ok(reply) => match reply.answer {
            Answer::Key { mac, .. } => {
                message_mac(&mac_key, octets, mac.field, MAC_PLACEHOLDER).is_some_and(|m| m == mac.value)
            }
            _ => false,
        },
        Err(_) => false,
    };
    let mut octets = named(&sent, "s10").to_vec();
    assert!(accepts(&octets));
    for bit in 0..octets.len() * 8 {
        octets[bit / 8] ^= 1 << (bit % 8);
        assert!(!accepts(&octets), "bit {bit}");
        octets[bit / 8] ^= 1 << (bit % 8);
    }
}

#[test]
fn refusals_reach_the_terminal() {
    for w in World::all() {
        let (steps, hop) = (ladder(&w), w.hop());
        for (request, kind, seq, n1) in
            [("s1", Kind::GatekeeperReject, 1, n1a()), ("s7", Kind::RegistrationReject, 2, n1b())]
        {
            for (name, refusal) in all_refusals() {
                let msg = write(|o| Ras.write_refusal(&hop, named(&steps, request), &refusal, Some(&n1), o));
                let mut text = Text::new();
                let reply = terminal::read_answer(&msg, &mut text).unwrap();
                assert_eq!((reply.kind, reply.seq), (kind, seq), "{name}");
                match (&refusal, reply.answer) {
                    (Refusal::Stale { ts }, Answer::Stale { n1: got, ts: told }) => {
                        assert_eq!((got, told), (n1, *ts));
                        assert_eq!(parsed(&msg).reason(), Some(Reason::security_error(kind, 0)));
                    }
                    // RAS has no room for when to come back.
                    (Refusal::Busy { .. }, Answer::Refused(got)) => {
                        assert_eq!(got, Refusal::Busy { retry_after_s: 0 });
                    }
                    (asked, Answer::Refused(got)) => {
                        assert_eq!(&got, asked, "{name}");
                        assert!(parsed(&msg).token().unwrap().is_none(), "{name}: no token in a final refusal");
                    }
                    (_, other) => panic!("{name}: {other:?}"),
                }
            }
        }
        let denied = write(|o| Ras.write_refusal(&hop, named(&steps, "s7"), &Refusal::Denied, None, o));
        assert_eq!(parsed(&denied).reason(), Some(Reason::Added(3, None)), "securityDenial of a RegistrationReject");
    }
}

#[test]
fn a_cookie_goes_to_the_terminal_and_comes_back_and_no_further() {
    for w in World::all() {
        let sent = refusals(&w);
        let mut text = Text::new();
        let msg = named(&sent, "cookie");
        let reply = terminal::read_answer(msg, &mut text).unwrap();
        assert!(matches!(reply.answer, Answer::Cookie { n1, ts: NOW, cookie: b"C00kie_-" } if n1 == n1a()));
        assert_eq!((reply.kind, parsed(msg).reason()), (Kind::GatekeeperReject, Some(Reason::Added(0, None))));
        assert_eq!(parsed(msg).token().unwrap().unwrap().challenge, None);
        let again = Ras.read_terminal(named(&sent, "s1 with a cookie"), &mut text);
        let expected = S1 { cookie: Some(b"C00kie_-"), ..s1(&w) };
        assert!(matches!(again, Ok(FromTerminal::S1(got)) if got == expected));
        let s2_msg = parsed(named(&sent, "s2 after a cookie"));
        assert_eq!(s2_msg.token().unwrap().unwrap().get(Element::Cookie), None);
    }
}

#[test]
fn a_renewed_challenge_is_a_registration_reject() {
    for w in World::all() {
        let sent = refusals(&w);
        let mut text = Text::new();
        let (read, _) = Ras.read_answer(named(&sent, "s5 again"), &mut text).unwrap();
        assert!(
            matches!(read, FromCore::Challenge { of: Of::N1(n1), rand, .. } if n1 == n1a() && rand == [9; 16]),
            "the core names the registration by the N1 of its s1"
        );
        let reply = terminal::read_answer(named(&sent, "s6 again"), &mut text).unwrap();
        assert_eq!((reply.kind, reply.seq), (Kind::RegistrationReject, 2));
        let renewed = S6 { n1: n1b(), rand: [9; 16], ..s6(&w) };
        assert!(matches!(reply.answer, Answer::Challenge(got) if got == renewed));
    }
}

#[test]
fn refusals_of_the_core_name_their_registration() {
    for w in World::all() {
        let n1 = n1a();
        for of in [(Kind::GatekeeperRequest, 77), (Kind::RegistrationRequest, 2)] {
            for (name, refusal) in all_refusals() {
                for (named, expected) in
                    [(core::Named::Rand(&RAND), Of::Rand(RAND)), (core::Named::N1(&n1), Of::N1(n1))]
                {
                    let msg = write(|o| core::write_refusal(of, w.idc, w.idsp, &named, &refusal, o));
                    assert_eq!(Ras.route_core(&msg), Route::Step, "{name}");
                    let mut text = Text::new();
                    let (read, _) = Ras.read_answer(&msg, &mut text).unwrap();
                    let FromCore::Refused { of: got, refusal: why } = read else { panic!("{name}: {read:?}") };
                    assert_eq!(got, expected, "{name}");
                    match refusal {
                        Refusal::Busy { .. } => assert!(matches!(why, Refusal::Busy { retry_after_s: 1.. })),
                        Refusal::Malformed => assert_eq!(why, Refusal::Malformed),
                        // Clocks and mechanisms are the proxy's business, not the core's.
                        _ => assert_eq!(why, Refusal::Denied),
                    }
                }
            }
        }
    }
}

#[test]
fn a_provisional_answer_says_how_long_to_wait() {
    let w = World::v4();
    let all = from_gatekeeper(&w);
    let rip = &all.iter().find(|(name, _)| *name == "RIP").unwrap().1;
    let mut text = Text::new();
    let reply = terminal::read_answer(rip, &mut text).unwrap();
    assert!(matches!((reply.kind, reply.seq), (Kind::RequestInProgress, 3)));
    assert!(matches!(reply.answer, Answer::Provisional(2500)));
    let (read, _) = Ras.read_answer(rip, &mut text).unwrap();
    assert!(matches!(read, FromCore::Answer { of: Of::Lane, last: false, success: false }));
    assert_eq!((Ras.route_core(rip), Ras.transaction(rip)), (Route::Lane, Some(3)));
}

#[test]
fn a_keep_alive_is_granted_for_its_time() {
    let w = World::v4();
    let all = from_gatekeeper(&w);
    for name in ["RCF", "RCF full"] {
        let rcf = &all.iter().find(|(n, _)| *n == name).unwrap().1;
        let mut text = Text::new();
        let reply = terminal::read_answer(rcf, &mut text).unwrap();
        assert!(matches!(reply.answer, Answer::Granted(Some(GRANTED))), "{name}");
        assert!(Ras.answers_registration(rcf));
    }
    let keep = &from_terminal(&w)[0].1;
    let msg = parsed(keep);
    assert!(msg.keep_alive() && !msg.has_aliases() && msg.endpoint_id().unwrap().is(ENDPOINT_ID));
    assert_eq!(msg.time_to_live(), Some(TTL));
}

#[test]
fn sessions_relay_what_is_theirs_untouched() {
    for w in World::all() {
        let (hop, session) = (w.hop(), w.session());
        for (name, msg) in from_terminal(&w) {
            let mut how = Up::Drop;
            let out = write(|o| Ras.relay_up(&hop, &session, &msg, o).map(|up| how = up));
            let expected = match name {
                "RRQ light" | "RRQ full" => Up::Refresh,
                "URQ" => Up::Deregister,
                _ => Up::Forward,
            };
            assert_eq!((how, &out), (expected, &msg), "{name}");
            let mut text = Text::new();
            let read = Ras.read_terminal(&msg, &mut text);
            match name {
                "UCF" | "XRS" => assert!(matches!(read, Ok(FromTerminal::Response { ticket: None })), "{name}"),
                _ => assert!(matches!(read, Ok(FromTerminal::Request { idc: None })), "{name}: {read:?}"),
            }
        }
        for (name, msg) in from_gatekeeper(&w) {
            assert_eq!(write(|o| Ras.relay_down(&hop, &session, &msg, o)), msg, "{name}");
            assert_eq!(Ras.route_core(&msg), Route::Lane, "{name}");
            let mut text = Text::new();
            let (read, _) = Ras.read_answer(&msg, &mut text).unwrap();
            match name {
                "IRQ" | "URQ" => assert!(matches!(read, FromCore::Request { idc: None }), "{name}"),
                _ => {
                    let FromCore::Answer { of: Of::Lane, last, success } = read else { panic!("{name}: {read:?}") };
                    assert_eq!(last, name != "RIP", "{name}");
                    assert_eq!(success, name.ends_with("CF") || name == "RCF full" || name == "IACK", "{name}");
                }
            }
        }
    }
}

#[test]
fn a_stranger_in_a_session_is_told_so_by_the_kinds_that_can_tell() {
    let w = World::v4();
    let other = SessionRef { idc: portunus_keydist::Idc::new("studio-4").unwrap(), ..w.session() };
    for (name, msg) in from_terminal(&w) {
        let mut how = Up::Drop;
        let out = write(|o| Ras.relay_up(&w.hop(), &other, &msg, o).map(|up| how = up));
        match name {
            "RRQ full" | "GRQ" | "ARQ" | "URQ" => {
                assert_eq!(how, Up::Answer, "{name}");
                let (asked, answer) = (parsed(&msg), parsed(&out));
                assert_eq!((Some(answer.kind()), answer.seq()), (asked.kind().reject(), asked.seq()));
                assert_eq!(answer.reason(), Some(Reason::security_error(answer.kind(), 3)), "{name}");
            }
            // A name in it, and no rejection of its kind.
            "IRR" | "IRR unsolicited" => assert_eq!((how, out.len()), (Up::Drop, 0), "{name}"),
            // They name nobody; the lane says whose they are.
            _ => assert!(matches!(how, Up::Forward | Up::Refresh), "{name}"),
        }
    }
}

#[test]
fn a_core_s_step_that_is_none_is_a_fault_of_the_core_s() {
    let w = World::v4();
    let sent = ladder(&w);
    let find = |name: &str| &sent.iter().find(|s| s.name == name).unwrap().octets;
    // Another token than the kind's: s9 without its wraps, s5 of token 4.
    let tok = Tok {
        n: 2,
        time_stamp: 0,
        challenge: Some(&RAND),
        general_id: w.idc.as_str().into(),
        senders_id: w.idsp.as_str(),
        elements: &[],
    };
    let mut text = Text::new();
    for (n, what) in [(1, "tokenOID"), (2, "tokenOID"), (3, "tokenOID"), (4, "challenge")] {
        let msg = write(|o| ras::registration_confirm(2, &confirmed(&w), Some(&Tok { n, ..tok }), o));
        let why = Ras.read_answer(&msg, &mut text).unwrap_err();
        assert_eq!((why.kind, why.what), (FaultKind::Malformed, what), "{n}");
    }
    let msg = write(|o| ras::registration_confirm(2, &confirmed(&w), Some(&Tok { n: 4, challenge: None, ..tok }), o));
    let why = Ras.read_answer(&msg, &mut text).unwrap_err();
    assert_eq!((why.kind, why.what), (FaultKind::Malformed, "rand"));
    for n in [1, 3, 4] {
        let denied = Reason::security_denial(Kind::GatekeeperReject);
        let msg = write(|o| ras::reject(Kind::GatekeeperReject, 2, denied, Some(&Tok { n, ..tok }), o));
        assert_eq!(Ras.read_answer(&msg, &mut text).unwrap_err().what, "tokenOID", "{n}");
    }
    // A refusal with a challenge and no N1 names the registration by its Rand.
    let denied = Reason::security_denial(Kind::RegistrationReject);
    let msg = write(|o| ras::reject(Kind::RegistrationReject, 2, denied, Some(&tok), o));
    assert!(matches!(Ras.read_answer(&msg, &mut text), Ok((FromCore::Refused { .. }, None))));
    // Another's answer is for whoever's lane it came on.
    let other = SessionRef { idc: portunus_keydist::Idc::new("studio-4").unwrap(), ..w.session() };
    let out = write(|o| Ras.relay_down(&w.hop(), &other, find("s9"), o));
    assert!(Message::parse(&out).unwrap().token().unwrap().is_none());
}
