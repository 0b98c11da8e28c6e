//! The rules of spec section 4 for RAS, one by one, most of them on messages that no writer of the project makes.

mod build;
mod common;

use build::*;
use common::*;
use portunus_codec::{PerWriter, Writer};
use portunus_h323::Ras;
use portunus_h323::view::{Element, Kind, Message, Reason};
use portunus_h323::write::{self, Endpoint, Registering, Tok};
use portunus_keydist::steps::{S1, S2};
use portunus_signalling::{Border, Crossing, Fault, FaultKind, FromTerminal, Rules, SessionRef, Signalling, Text, Up};

/// A RegistrationRequest's root: its time to live and keepAlive are the last 11 octets, their map among them.
fn rrq_root(w: &World, seq: u16) -> Vec<u8> {
    let mut all = write(|o| write::registration_request(seq, &w.endpoint(), TTL, &Registering::Full(None), o));
    all.truncate(all.len() - 11);
    all
}

/// s1 with these elements in its token.
fn s1_of(w: &World, elements: &[(u8, Value<'_>)]) -> Vec<u8> {
    let own = own1(w, elements);
    extended(grq_root(w, 1), GRQ, &[(1, &tokens(&[&|p| own.put(p)]))])
}

fn read_s1(octets: &[u8]) -> Result<S1<'static>, Fault> {
    // The text of names lives as long as the room that they are read into.
    let text = Box::leak(Box::new(Text::new()));
    let octets = Box::leak(octets.to_vec().into_boxed_slice());
    match Ras.read_terminal(octets, text)? {
        FromTerminal::S1(s1) => Ok(s1),
        other => panic!("{other:?}"),
    }
}

fn fault(octets: &[u8]) -> (FaultKind, &'static str) {
    let fault = Ras.read_terminal(octets, &mut Text::new()).expect_err("a fault");
    (fault.kind, fault.what)
}

const MALFORMED: FaultKind = FaultKind::Malformed;
const FORBIDDEN: FaultKind = FaultKind::Forbidden;

#[test]
fn the_builder_builds_what_the_writers_write() {
    let w = World::v4();
    assert_eq!(s1_of(&w, &plain()), ladder(&w)[0].octets);
}

#[test]
fn an_element_twice_is_malformed_and_an_unknown_one_ignored() {
    let w = World::v4();
    let with = |more: &[(u8, Value<'_>)]| {
        let all: Vec<_> = plain().into_iter().chain(more.iter().copied()).collect();
        s1_of(&w, &all)
    };
    for (id, value) in
        [(14, Value::Octets(b"later")), (0, Value::Flag), (255, Value::None), (200, Value::Dressed(b"and more"))]
    {
        assert_eq!(read_s1(&with(&[(id, value)])), Ok(s1(&w)), "{id}");
        assert_eq!(fault(&with(&[(id, value), (id, Value::None)])), (MALFORMED, "profileInfo"), "{id} twice");
    }
    assert_eq!(fault(&with(&[(1, Value::Octets(b"0123456789abcdef"))])), (MALFORMED, "profileInfo"));
    // What is known is octets, dressed or not.
    let n1 = *n1a().as_bytes();
    let dressed = [(1, Value::Dressed(&n1[..])), plain()[1]];
    assert_eq!(read_s1(&s1_of(&w, &dressed)), Ok(s1(&w)));
    for value in [Value::Flag, Value::None] {
        assert_eq!(fault(&s1_of(&w, &[plain()[0], (3, value)])), (MALFORMED, "profileInfo"));
    }
}

#[test]
fn values_have_their_size_and_characters() {
    let w = World::v4();
    let (n1, ts) = (plain()[0], plain()[1]);
    for (elements, what) in [
        (vec![ts], "n1"),
        (vec![n1], "ts"),
        (vec![(1, Value::Octets(b"0123456789ABCDEF")), ts], "n1"),
        (vec![(1, Value::Octets(b"0123456789abcde")), ts], "n1"),
        (vec![n1, (3, Value::Octets(&[0; 7]))], "ts"),
        (vec![n1, (3, Value::Octets(&[0; 8]))], "timeStamp"),
        (vec![n1, ts, (10, Value::Octets(b"no cookie!"))], "cookie"),
        (vec![n1, ts, (10, Value::Octets(b""))], "cookie"),
    ] {
        assert_eq!(fault(&s1_of(&w, &elements)), (MALFORMED, what));
    }
    let mut unstamped = own1(&w, &[n1, ts]).put_with(None);
    assert_eq!(fault(&extended(grq_root(&w, 1), GRQ, &[(1, &unstamped)])), (MALFORMED, "timeStamp"));
    unstamped = own1(&w, &[n1, ts]).put_with(Some(NOW + 1000));
    assert_eq!(fault(&extended(grq_root(&w, 1), GRQ, &[(1, &unstamped)])), (MALFORMED, "timeStamp"));
}

#[test]
fn what_only_the_core_may_say_is_refused_from_a_terminal() {
    let w = World::v4();
    let session = w.session();
    for (id, what) in [(6, "ekc"), (8, "eksp"), (12, "ipc"), (13, "rand")] {
        let all = [plain()[0], plain()[1], (id, Value::Octets(&[7; 16]))];
        let msg = s1_of(&w, &all);
        assert_eq!(fault(&msg), (FORBIDDEN, what));
        // Inside a session too.
        let mut buf = [0; 2000];
        let up = Ras.relay_up(&w.hop(), &session, &msg, &mut Writer::new(&mut buf)).unwrap_err();
        assert_eq!((up.kind, up.what), (FORBIDDEN, what));
        let answer = write(|o| Ras.write_fault(&w.hop(), &msg, &up, o).map(|due| assert!(due)));
        let answer = Message::parse(&answer).unwrap();
        assert_eq!((answer.kind(), answer.reason()), (Kind::GatekeeperReject, Some(Reason::Added(0, None))));
    }
    // The proxy's own answers, sent back to it.
    for name in ["s10", "s9"] {
        let sent = ladder(&w);
        let octets = &sent.iter().find(|s| s.name == name).unwrap().octets;
        assert_eq!(fault(octets).0, FORBIDDEN, "{name}");
    }
    // A MAC, well formed or not, alone or beside others, in a message of any kind.
    for form in [Mac::good(), Mac { bits: 128, ..Mac::good() }, Mac { algorithm: &[0x2a, 3], ..Mac::good() }] {
        let crypto = built(|p| {
            p.length(2);
            other_hash(p);
            form.put(p);
        });
        let msg = extended(grq_root(&w, 1), GRQ, &[(2, &crypto)]);
        assert_eq!(fault(&msg), (FORBIDDEN, "mac"));
    }
}

#[test]
fn a_message_has_one_mac_of_one_form() {
    let w = World::v4();
    let mac = |all: &[Mac<'_>]| {
        let crypto = built(|p| {
            p.length(all.len() + 1);
            other_hash(p);
            all.iter().for_each(|mac| mac.put(p));
        });
        Message::parse(&extended(grq_root(&w, 1), GRQ, &[(2, &crypto)])).unwrap().mac()
    };
    let good = Mac::good();
    assert_eq!(mac(&[good]).map(|m| m.value), Some([0xab; 32]));
    for bad in [
        Mac { outer: 4, ..good },
        Mac { inner: 4, ..good },
        Mac { algorithm: &[0x2a, 3], ..good },
        Mac { bits: 255, ..good },
        Mac { bits: 264, ..good },
        Mac { bits: 0, ..good },
    ] {
        assert_eq!(mac(&[bad]), None);
        // Beside a good one, one that bears the MAC's OID is a second MAC whatever its form.
        assert_eq!(mac(&[good, bad]).is_some(), bad.outer != 5);
        assert_eq!(mac(&[bad, good]).is_some(), bad.outer != 5);
    }
    assert_eq!((mac(&[]), mac(&[good, good])), (None, None));
}

#[test]
fn names_are_bound() {
    let w = World::v4();
    let elements = plain();
    let build = |from: &str, to: &str, aliases: &[&str]| {
        let e = Endpoint { aliases, ..w.endpoint() };
        let own = Own { from, to, ..own1(&w, &elements) };
        extended(write(|o| write::gatekeeper_request(1, &e, None, o)), GRQ, &[(1, &tokens(&[&|p| own.put(p)]))])
    };
    let (idc, idsp) = (w.idc.as_str(), w.idsp.as_str());
    assert!(read_s1(&build(idc, idsp, &[idc])).is_ok());
    assert!(read_s1(&build(idc, idsp, &[idc, "0042"])).is_ok());
    for aliases in [&["0042", idc][..], &["studio-33"], &["studio-"], &["Studio-3"], &[]] {
        assert_eq!(fault(&build(idc, idsp, aliases)), (FORBIDDEN, "sendersID"), "{aliases:?}");
    }
    // Which is said so.
    let msg = build(idc, idsp, &["0042"]);
    let why = Ras.read_terminal(&msg, &mut Text::new()).unwrap_err();
    let answer = write(|o| Ras.write_fault(&w.hop(), &msg, &why, o).map(|due| assert!(due)));
    assert_eq!(Message::parse(&answer).unwrap().reason(), Some(Reason::Added(3, Some(3))), "securityWrongSendersID");
    // No identity of an endpoint, no name of a proxy.
    for (from, to, what) in [
        ("a b", idsp, "sendersID"),
        ("a;b", idsp, "sendersID"),
        (idc, "sp 1", "generalID"),
        (idc, "größe", "generalID"),
    ] {
        assert_eq!(fault(&build(from, to, &[from])), (MALFORMED, what));
    }
    // 128 octets, or fewer UTF-16 units than octets, are as long as an identity may be.
    let long = "x".repeat(128);
    assert_eq!(read_s1(&build(&long, idsp, &[&long])).unwrap().idc.as_str(), long);
    let wide = "ß".repeat(65);
    assert_eq!(fault(&build(&wide, idsp, &[&wide])), (MALFORMED, "sendersID"));
    // The same to the core, and from it.
    let sent = ladder(&w);
    let s2 = Message::parse(&sent[1].octets).unwrap();
    let other = build("studio-4", idsp, &[idc]);
    let other = Message::parse(&other).unwrap();
    let mut text = Text::new();
    assert!(matches!(
        portunus_h323::carriage::core::read(&s2, &mut text),
        Ok(portunus_h323::carriage::core::Ask::S2(S2 { .. }))
    ));
    let why = portunus_h323::carriage::core::read(&other, &mut text).unwrap_err();
    assert_eq!((why.kind, why.what), (FORBIDDEN, "sendersID"));
}

#[test]
fn there_is_one_token_and_its_number_fits_the_message() {
    let w = World::v4();
    let elements = plain();
    let list = |all: &[(u8, bool)]| {
        let own: Vec<_> = all
            .iter()
            .map(|(n, challenge)| Own { n: *n, challenge: challenge.then_some(&RAND[..]), ..own1(&w, &elements) })
            .collect();
        let parts: Vec<_> = own.iter().map(|own| move |p: &mut PerWriter<'_, '_>| own.put(p)).collect();
        let parts: Vec<Part<'_>> = parts.iter().map(|part| part as Part<'_>).collect();
        tokens(&parts)
    };
    let grq = |all: &[(u8, bool)]| extended(grq_root(&w, 1), GRQ, &[(1, &list(all))]);
    assert!(read_s1(&grq(&[(1, false)])).is_ok());
    for two in [[(1, false), (1, false)], [(1, false), (3, true)], [(5, false), (1, false)]] {
        assert_eq!(fault(&grq(&two)), (MALFORMED, "tokens"));
    }
    assert_eq!(fault(&grq(&[(1, true)])), (MALFORMED, "challenge"), "in tokens 2 and 3 only");
    for n in [2, 3, 4, 5] {
        assert_eq!(fault(&grq(&[(n, n == 2 || n == 3)])), (MALFORMED, "tokenOID"), "{n} in a GatekeeperRequest");
    }
    // Numbers that PKD1 does not have are somebody else's business.
    assert!(read_s1(&grq(&[(6, false), (1, false)])).is_ok());
    for n in [0, 6, 0x7f] {
        let read = Ras
            .read_terminal(&grq(&[(n, false)]), &mut Text::new())
            .map(|r| matches!(r, FromTerminal::Request { idc: None }));
        assert_eq!(read, Ok(true), "{n}");
    }
    let rrq = |n, challenge| extended(rrq_root(&w, 2), RRQ, &[(2, &list(&[(n, challenge)]))]);
    for n in [1, 2, 4, 5] {
        assert_eq!(fault(&rrq(n, n == 2)), (MALFORMED, "tokenOID"), "{n} in a RegistrationRequest");
    }
    assert_eq!(fault(&rrq(3, true)), (MALFORMED, "n2"));
}

#[test]
fn s7_is_complete_and_no_keep_alive() {
    let w = World::v4();
    let (n1, ts, word, list) = (*n1b().as_bytes(), (NOW + 20).to_be_bytes(), s7(&w).auth_c, mechs());
    let elements = [
        (Element::N1, &n1[..]),
        (Element::N2, s7(&w).n2),
        (Element::Ts, &ts[..]),
        (Element::AuthC, &word[..]),
        (Element::Mechs, list.as_str().as_bytes()),
    ];
    let (senders_id, general_id) = (w.idc.as_str(), w.idsp.as_str());
    let time_stamp = ((NOW + 20) / 1000) as u32;
    let tok = Tok {
        n: 3,
        time_stamp,
        challenge: Some(&RAND),
        general_id: general_id.into(),
        senders_id,
        elements: &elements,
    };
    let build =
        |tok: &Tok<'_>| write(|o| write::registration_request(2, &w.endpoint(), TTL, &Registering::Full(Some(tok)), o));
    assert_eq!(build(&tok), ladder(&w)[4].octets);
    for (at, name) in ["n1", "n2", "ts", "authc", "mechs"].into_iter().enumerate() {
        let without: Vec<_> = elements.iter().enumerate().filter(|(i, _)| *i != at).map(|(_, e)| *e).collect();
        assert_eq!(fault(&build(&Tok { elements: &without, ..tok })), (MALFORMED, name));
    }
    for challenge in [None, Some(&RAND[..15]), Some(&[7; 17][..])] {
        assert_eq!(fault(&build(&Tok { challenge, ..tok })), (MALFORMED, "challenge"));
    }
    for (at, octets, name) in [
        (1, &b"n2 with blanks"[..], "n2"),
        (3, &[1; 31], "authc"),
        (4, b"", "mechs"),
        (4, b"x-pkd-sealed x-pkd-sealed", "mechs"),
        (4, b"x-pkd-sealed;q=2", "mechs"),
        (4, b"\xff", "mechs"),
    ] {
        let mut changed = elements;
        changed[at].1 = octets;
        assert_eq!(fault(&build(&Tok { elements: &changed, ..tok })), (MALFORMED, name));
    }
    // A lightweight registration is none.
    let mut keep = build(&tok);
    *keep.last_mut().unwrap() = 0x80;
    assert!(Message::parse(&keep).unwrap().keep_alive());
    assert_eq!(fault(&keep), (MALFORMED, "keepAlive"));
}

#[test]
fn what_is_unknown_or_of_others_is_carried_through_untouched() {
    let w = World::v4();
    let elements = plain();
    let own = own1(&w, &elements);
    let s2_own = Own { stamp: None, elements: &elements[..1], ..own1(&w, &elements) };
    let crypto = built(|p| {
        p.length(1);
        other_hash(p);
    });
    // featureSet, genericData and two that are still to come, with content that is nobody's here.
    let later = [(8u32, &b"\x00"[..]), (9, &[0x5a; 200]), (30, b"later"), (40, b"\x01\x02")];
    let build = |seq: u16, count: u32, list: &[u8]| {
        let mut all = vec![(1, list), (2, &crypto[..])];
        all.extend(later);
        extended(grq_root(&w, seq), count, &all)
    };
    let msg = build(1, 41, &tokens(&[&foreign, &|p| own.put(p), &stranger, &foreign]));
    assert_eq!(read_s1(&msg), Ok(s1(&w)));
    let out = write(|o| Ras.write_s2(&w.hop(), &msg, &s1(&w), o));
    let seq = Message::parse(&out).unwrap().seq();
    // Those behind it move up, to other octet boundaries than they had.
    let expected = build(seq, 41, &tokens(&[&foreign, &stranger, &foreign, &|p| s2_own.put(p)]));
    assert_eq!(out, expected);
    // In a session PKD1's goes, and nothing else changes.
    let up = |msg: &[u8]| {
        let mut how = Up::Drop;
        let out = write(|o| Ras.relay_up(&w.hop(), &w.session(), msg, o).map(|up| how = up));
        (how, out)
    };
    assert_eq!(up(&msg), (Up::Forward, build(1, 41, &tokens(&[&foreign, &stranger, &foreign]))));
    let alone = up(&s1_of(&w, &elements)).1;
    assert_eq!(alone, grq_root(&w, 1), "no additions are left, and none are announced");
    let without = build(1, 41, &tokens(&[&stranger, &foreign]));
    assert_eq!(up(&without), (Up::Forward, without.clone()), "untouched");
    assert_eq!(write(|o| Ras.relay_down(&w.hop(), &w.session(), &without, o)), without);
}

#[test]
fn nothing_of_pkd1_passes_down_a_session() {
    for w in World::all() {
        let sent = ladder(&w);
        for name in ["s5", "s9", "s10"] {
            let octets = &sent.iter().find(|s| s.name == name).unwrap().octets;
            let out = write(|o| Ras.relay_down(&w.hop(), &w.session(), octets, o));
            let msg = Message::parse(&out).unwrap();
            assert!(msg.token().unwrap().is_none() && msg.mac().is_none(), "{name}");
            assert_eq!((msg.kind(), msg.seq()), Message::salvage(octets).unwrap(), "{name}");
            assert!(!out.windows(9).any(|part| part == PKD1), "{name}");
        }
    }
}

/// A ResourcesAvailableIndicate with this list of tokens: an added alternative, with them in its root.
fn resources(list: &[u8]) -> Vec<u8> {
    let body = built(|p| {
        p.bits(0b0_0100, 5).constrained(21, 1, 65_535);
        p.length(6).octets(&[0, 8, 0x91, 0x4a, 0, 7]);
        put_bmp(p, ENDPOINT_ID);
        p.length(0).bool(true);
        p.octets(list);
    });
    built(|p| {
        p.bool(true).small(1).length(body.len()).octets(&body);
    })
}

#[test]
fn a_step_s_token_has_no_business_in_an_added_kind() {
    let w = World::v4();
    let elements = plain();
    let own = own1(&w, &elements);
    let msg = resources(&tokens(&[&|p| own.put(p)]));
    assert_eq!(Message::parse(&msg).unwrap().kind(), Kind::ResourcesAvailableIndicate);
    let mut buf = [0; 2000];
    let up = Ras.relay_up(&w.hop(), &w.session(), &msg, &mut Writer::new(&mut buf)).unwrap_err();
    assert_eq!((up.kind, up.what), (FORBIDDEN, "tokens"));
    let down = Ras.relay_down(&w.hop(), &w.session(), &msg, &mut Writer::new(&mut buf)).unwrap_err();
    assert_eq!((down.kind, down.what), (FORBIDDEN, "tokens"));
    let theirs = resources(&tokens(&[&stranger]));
    let mut how = Up::Drop;
    let out = write(|o| Ras.relay_up(&w.hop(), &w.session(), &theirs, o).map(|up| how = up));
    assert_eq!((how, out), (Up::Forward, theirs));
}

#[test]
fn what_is_not_understood_is_answered_so() {
    let w = World::v4();
    let hop = w.hop();
    // serviceControlIndication, whose number can be read; and kinds that are still to come.
    let control = built(|p| {
        let body = built(|p| _ = p.bits(0, 9).constrained(4242, 1, 65_535).length(0));
        p.bool(true).small(5).length(body.len()).octets(&body);
    });
    let future = built(|p| _ = p.bool(true).small(9).length(5).octets(b"whoev"));
    for (msg, n, seq) in [(&control, 5, 4242), (&future, 9, 0)] {
        let view = Message::parse(msg).unwrap();
        assert_eq!((view.kind(), view.seq()), (Kind::Unknown(n), seq));
        let mut text = Text::new();
        assert!(matches!(Ras.read_terminal(msg, &mut text), Ok(FromTerminal::Request { idc: None })));
        let xrs = write(|o| Ras.answer_own(&hop, msg, true, o));
        let answer = Message::parse(&xrs).unwrap();
        assert_eq!((answer.kind(), answer.seq()), (Kind::UnknownMessageResponse, seq.max(1)));
        assert!(xrs.ends_with(msg), "the message is repeated");
        let refused = write(|o| Ras.write_refusal(&hop, msg, &portunus_keydist::steps::Refusal::Denied, None, o));
        assert_eq!(refused, xrs);
        // Inside a session it passes: who knows it is the gatekeeper's business.
        let mut how = Up::Drop;
        let out = write(|o| Ras.relay_up(&hop, &w.session(), msg, o).map(|up| how = up));
        assert_eq!((how, &out), (Up::Forward, msg));
    }
    // The shortest of them is answered by nothing, for that would be more than three times as long; requests that end
    // behind their number are answered.
    let shortest = built(|p| _ = p.bool(true).small(9).length(1).octets(b"w"));
    assert!(write(|o| Ras.answer_own(&hop, &shortest, true, o)).is_empty());
    for kind in (0..25u8).filter(|k| [0, 3, 6, 9, 12, 15, 18].contains(k)) {
        let request = [kind << 2, 0, 0, 0];
        let why = Ras.read_terminal(&request, &mut Text::new()).unwrap_err();
        let answer = write(|o| Ras.write_fault(&hop, &request, &why, o).map(|due| assert!(due)));
        assert!((4..=3 * request.len()).contains(&answer.len()), "{kind}: {}", answer.len());
    }
    // An answer is never answered, and neither is an XRS.
    for (name, msg) in from_gatekeeper(&w).into_iter().filter(|(name, _)| !matches!(*name, "IRQ" | "URQ")) {
        assert!(
            write(|o| Ras.write_refusal(&hop, &msg, &portunus_keydist::steps::Refusal::Denied, None, o)).is_empty(),
            "{name}"
        );
    }
    let xrs = write(|o| write::unknown_message_response(3, &[], o));
    assert!(write(|o| Ras.answer_own(&hop, &xrs, true, o)).is_empty());
}

#[test]
fn faults_are_answered_with_the_reason_that_says_most() {
    let w = World::v4();
    let hop = w.hop();
    let answer = |msg: &[u8]| {
        let why = Ras.read_terminal(msg, &mut Text::new()).unwrap_err();
        let mut due = false;
        let out = write(|o| Ras.write_fault(&hop, msg, &why, o).map(|d| due = d));
        assert_eq!(due, !out.is_empty());
        due.then(|| {
            let msg = Message::parse(&out).unwrap();
            (msg.kind(), msg.seq(), msg.reason().unwrap())
        })
    };
    let s1_msg = &ladder(&w)[0].octets;
    // Cut behind its number: there is something to answer.
    assert_eq!(answer(&s1_msg[..20]), Some((Kind::GatekeeperReject, 1, Reason::Root(3))));
    // Cut within it, or no RAS at all: there is not.
    for silent in [&s1_msg[..2], &s1_msg[..1], &[0xff; 30], &[0x7f; 30]] {
        assert_eq!(answer(silent), None);
    }
    // An answer that is malformed is not answered.
    let rcf = &ladder(&w)[7].octets;
    assert_eq!(answer(&rcf[..rcf.len() - 1]), None);
    let own = Own { n: 3, ..own1(&w, &[]) };
    let wrong = extended(grq_root(&w, 9), GRQ, &[(1, &tokens(&[&|p| own.put(p)]))]);
    assert_eq!(answer(&wrong), Some((Kind::GatekeeperReject, 9, Reason::Added(3, Some(5)))), "securityWrongOID");
    // More than a message may be.
    let long = [&s1_msg[..], &vec![0; portunus_h323::view::MESSAGE_MAX]].concat();
    let why = Ras.read_terminal(&long, &mut Text::new()).unwrap_err();
    assert_eq!(why.kind, FaultKind::TooBig);
}

#[test]
fn the_proxy_s_own_answers_to_the_core() {
    let w = World::v4();
    let hop = w.hop();
    for (name, msg) in from_gatekeeper(&w) {
        let out = write(|o| Ras.answer_own(&hop, &msg, false, o));
        match name {
            // Nobody is registered here under that lane.
            "URQ" => {
                let answer = Message::parse(&out).unwrap();
                assert_eq!((answer.kind(), answer.seq()), (Kind::UnregistrationReject, 901));
                assert_eq!(answer.reason(), Some(Reason::Root(0)), "notCurrentlyRegistered");
            }
            _ => assert!(out.is_empty(), "{name}"),
        }
    }
}

/// Endpoints are told the proxy's address for the gatekeeper's, in every message that says where to send RAS to, and
/// nothing else of it changes.
#[test]
fn the_gatekeepers_address_stays_in_the_core() {
    let veil = Some(portunus_keydist::proxy::Veil::new(&key().prk()));
    let border = Border { veil, rules: Rules { hide: true, ..Rules::OPEN } };
    let seeds = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds/h323");
    let kept = std::fs::read_dir(seeds).unwrap().map(|file| std::fs::read(file.unwrap().path()).unwrap());
    for w in World::all() {
        let session = SessionRef { crossing: Crossing { border: &border, noticed: None }, ..w.session() };
        let inner = w.gatekeeper;
        let written = [
            write(|o| write::gatekeeper_confirm(7, "gk", inner, o)),
            write(|o| write::location_confirm(8, inner, inner, o)),
        ];
        for octets in &written {
            let out = write(|o| Ras.relay_down(&w.hop(), &session, octets, o));
            let (was, is) = (Message::parse(octets).unwrap(), Message::parse(&out).unwrap());
            assert_eq!((was.ras_address(), is.ras_address()), (Some(inner), Some(w.access)));
            assert_eq!((was.seq(), was.call_signal_address()), (is.seq(), is.call_signal_address()));
            let open = write(|o| Ras.relay_down(&w.hop(), &w.session(), octets, o));
            assert_eq!(&open, octets, "where nothing is hidden");
        }
        // Of another version of IP: nobody's.
        let other = if inner.is_ipv4() { "[2001:db8:1::9]:1719" } else { "198.51.100.9:1719" };
        let octets = write(|o| write::gatekeeper_confirm(7, "gk", other.parse().unwrap(), o));
        let out = write(|o| Ras.relay_down(&w.hop(), &session, &octets, o));
        let told = Message::parse(&out).unwrap().ras_address().unwrap();
        assert!(told.ip().is_unspecified() && told.port() == 0, "{told}");
    }
    // Messages that others wrote.
    let w = World::v4();
    let session = SessionRef { crossing: Crossing { border: &border, noticed: None }, ..w.session() };
    let mut seen = [0; 3];
    for octets in kept {
        let Ok(was) = Message::parse(&octets) else { continue };
        let mut buf = vec![0u8; 8192];
        let mut out = Writer::new(&mut buf);
        let mut plain_buf = vec![0u8; 8192];
        let mut plain = Writer::new(&mut plain_buf);
        let relayed = Ras.relay_down(&w.hop(), &session, &octets, &mut out);
        let open = Ras.relay_down(&w.hop(), &w.session(), &octets, &mut plain);
        let nth = match was.kind() {
            Kind::GatekeeperConfirm => 0,
            Kind::LocationConfirm => 1,
            Kind::InfoRequest => 2,
            _ => {
                assert_eq!((relayed, out.written()), (open, plain.written()), "{was:?}");
                continue;
            }
        };
        if relayed.is_err() || open.is_err() {
            continue;
        }
        seen[nth] += 1;
        let is = Message::parse(out.written()).unwrap();
        assert_eq!((is.seq(), out.len()), (was.seq(), plain.len()));
        let differ = out.written().iter().zip(plain.written()).filter(|(a, b)| a != b).count();
        assert!(differ <= 18, "an address and a port at most: {differ}");
        if let Some(told) = is.ras_address().filter(|_| nth < 2) {
            assert!(told == w.access || told.ip().is_unspecified(), "{told}");
        }
    }
    assert!(seen.iter().all(|n| *n > 0), "{seen:?}");
}
