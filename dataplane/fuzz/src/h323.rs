//! What must hold for RAS, whatever the octets: nothing panics, answers go to requests only and can be read, steps follow
//! from steps, and what passes in a session passes unchanged but for PKD1's tokens.
#![allow(unreachable_pub)] // The tests of `portunus-h323` include this file.

use portunus_codec::Writer;
use portunus_h323::carriage::{core, terminal};
use portunus_h323::view::{Alias, Kind, MESSAGE_MAX, Message, Reason};
use portunus_h323::{MAC_PLACEHOLDER, Ras};
use portunus_keydist::ident::{Idc, Idsp, N1};
use portunus_keydist::steps::{Refusal, S1, S6, S7, S8, S10};
use portunus_signalling::{
    Crossing, FromCore, FromTerminal, Hop, Marks, Own, Route, SessionRef, Signalling, Text, Ticket, Transport, Up,
};
use std::net::SocketAddr;

/// More than any writer makes of the longest message.
const ROOM: usize = 2 * MESSAGE_MAX;

/// One arbitrary input.
pub fn h323(octets: &[u8]) {
    let parsed = Message::parse(octets);
    if let Ok(msg) = &parsed {
        view(msg);
    }
    let mut buf = vec![0u8; ROOM];
    let mut text = Text::new();
    _ = terminal::read_answer(octets, &mut text);
    _ = terminal::terms_kept(octets, &["studio-3"], 3600);
    _ = Ras.transaction(octets);
    _ = Ras.answers_registration(octets);
    let route = Ras.route_core(octets);
    if let Ok((read, _)) = Ras.read_answer(octets, &mut text) {
        let step = matches!(read, FromCore::Challenge { .. } | FromCore::Key { .. } | FromCore::Refused { .. });
        assert_eq!(route, if step { Route::Step } else { Route::Lane }, "what can be read has a way");
    }
    match Ras.read_terminal(octets, &mut text) {
        Err(fault) => {
            assert!(!fault.what.is_empty());
            let mut w = Writer::new(&mut buf);
            if Ras.write_fault(&hop(), octets, &fault, &mut w) == Ok(true) {
                assert_answer(octets, w.written());
            }
        }
        Ok(FromTerminal::S1(s1)) => after_s1(octets, &s1, &mut buf),
        Ok(FromTerminal::S7(s7)) => after_s7(octets, &s7, &mut buf),
        Ok(FromTerminal::KeepAlive(_)) => assert!(octets.is_empty()),
        Ok(read) => {
            let mut w = Writer::new(&mut buf);
            Ras.write_refusal(&hop(), octets, &Refusal::Denied, None, &mut w).expect("a refusal fits");
            assert!(w.is_empty() || matches!(read, FromTerminal::Request { .. }), "an answer is never answered");
            if !w.is_empty() {
                assert_answer(octets, w.written());
            }
        }
    }
    relays(octets, &mut buf);
}

/// Where the proxy of these tests is.
pub fn hop() -> Hop<'static> {
    let address = |s: &str| s.parse::<SocketAddr>().expect("an address");
    Hop {
        own: Own {
            idsp: Idsp::new("sp1.example.test").expect("an IDsp"),
            realm: "example.test",
            access: address("192.0.2.1:1719"),
            core: address("198.51.100.1:40001"),
        },
        source: address("203.0.113.7:40000"),
        transport: Transport::Udp,
        ticket: Ticket(0x0300_0000_0000_0001),
        salt: 0x0123_4567_89ab_cdef,
        marks: &Marks::NONE,
    }
}

/// Every accessor of a message.
fn view(msg: &Message<'_>) {
    let mut room = [0u8; 1024];
    for alias in msg.aliases().chain(msg.destination()) {
        if let Some(len) = alias.put(&mut room)
            && let Ok(text) = std::str::from_utf8(&room[..len])
        {
            assert!(alias.is(text), "an alias is the text that it is written as");
            assert!(!matches!(alias, Alias::Other));
        }
    }
    for name in [msg.endpoint_id(), msg.gatekeeper_id()].into_iter().flatten() {
        assert!((2..=256).contains(&name.octets().len()));
        if let Some(len) = name.put(&mut room) {
            assert!(std::str::from_utf8(&room[..len]).is_ok_and(|text| name.is(text)));
        }
    }
    if let Some(salvaged) = Message::salvage(msg.octets()) {
        assert_eq!(salvaged, (msg.kind(), msg.seq()));
    }
    assert!(msg.seq() > 0 || matches!(msg.kind(), Kind::Unknown(_)));
    if let Some(mac) = msg.mac() {
        assert_eq!(msg.octets().get(mac.field), Some(&mac.value[..]));
    }
    let rejects = msg.reason().is_some();
    assert!(!rejects || format!("{:?}", msg.kind()).ends_with("Reject"));
    if let Some(Reason::Added(_, Some(name))) = msg.reason() {
        assert!(name < 16);
    }
    _ = (msg.time_to_live(), msg.keep_alive(), msg.answer_call(), msg.need_response(), msg.delay_ms());
    _ = (msg.bandwidth(), msg.call_reference(), msg.conference_id(), msg.version(), msg.token());
    _ = (msg.ras_address(), msg.call_signal_address(), msg.destination_address());
}

/// One answer, that can be read, of the kind and number of what it answers, and no request itself.
fn assert_answer(octets: &[u8], answer: &[u8]) {
    let answer = Message::parse(answer).expect("what is written can be read");
    let (asked, seq) = Message::salvage(octets)
        .or_else(|| Message::parse(octets).ok().map(|msg| (msg.kind(), msg.seq())))
        .expect("something was asked");
    assert!(asked.is_request() && !answer.kind().is_request());
    assert_eq!(answer.kind(), asked.reject().unwrap_or(Kind::UnknownMessageResponse));
    assert_eq!(answer.seq(), seq.max(1));
    if asked.reject().is_none() {
        assert!(answer.octets().len() <= 3 * octets.len(), "no amplifier");
    }
}

fn after_s1(octets: &[u8], s1: &S1<'_>, buf: &mut [u8]) {
    let hop = hop();
    let mut text = Text::new();
    let mut w = Writer::new(buf);
    Ras.write_s2(&hop, octets, s1, &mut w).expect("s2 follows from s1");
    let msg = Message::parse(w.written()).expect("s2 can be read");
    let Ok(core::Ask::S2(s2)) = core::read(&msg, &mut text) else { panic!("s2") };
    assert!(s2.idc == s1.idc && s2.idsp == s1.idsp && s2.n1 == s1.n1);
    w.truncate(0);
    let s6 = S6 { idsp: hop.own.idsp, n1: s1.n1, n2: b"token", ts: s1.ts, rand: [7; 16] };
    Ras.write_s6(&hop, octets, b"", &s6, &mut w).expect("s6 follows from s1");
    let reply = terminal::read_answer(w.written(), &mut text).expect("s6");
    assert!(matches!(reply.answer, terminal::Answer::Challenge(got) if got == s6));
    w.truncate(0);
    Ras.write_cookie(&hop, octets, &s1.n1, s1.ts, b"cookie", &mut w).expect("a cookie follows from s1");
    let reply = terminal::read_answer(w.written(), &mut text).expect("a cookie");
    assert!(matches!(reply.answer, terminal::Answer::Cookie { n1, .. } if n1 == s1.n1));
}

fn after_s7(octets: &[u8], s7: &S7<'_>, buf: &mut [u8]) {
    let hop = hop();
    let idsp = hop.own.idsp;
    let mut text = Text::new();
    let mut w = Writer::new(buf);
    let s8 = S8 { idc: s7.idc, idsp, rand: [7; 16], auth_c: s7.auth_c, ipc: hop.source };
    Ras.write_s8(&hop, octets, s7, &s8, &mut w).expect("s8 follows from s7");
    let msg = Message::parse(w.written()).expect("s8 can be read");
    assert!(matches!(core::read(&msg, &mut text), Ok(core::Ask::S8(got)) if got == s8));
    let s9 = portunus_keydist::steps::S9 { ekc: [1; 48], eksp: [2; 48] };
    let signal = hop.source;
    let confirmed = portunus_h323::write::Confirmed {
        signal,
        aliases: &[s7.idc.as_str()],
        gatekeeper_id: "gk",
        endpoint_id: "4711",
        ttl: 60,
    };
    let mut core_msg = vec![0u8; 2048];
    let mut c = Writer::new(&mut core_msg);
    core::write_s9(msg.seq(), &confirmed, s7.idc, idsp, &[7; 16], &s9, &mut c).expect("s9 fits");
    let core_msg = c.written().to_vec();
    w.truncate(0);
    let (sel, mechs) = ("x-pkd-sealed;kid=0000000100000001;port=5065", s7.mechs.as_str());
    let s10 = S10 { idsp, n1: s7.n1, n2: N1::from_bits(1), ts: s7.ts, life: 60, ekc: s9.ekc, sel, mechs };
    let field = Ras.write_s10(&hop, octets, &core_msg, &s10, &mut w).expect("s10 follows from s7");
    assert_eq!(w.written().get(field.clone()), Some(&MAC_PLACEHOLDER[..]));
    let reply = terminal::read_answer(w.written(), &mut text).expect("s10");
    assert!(matches!(reply.answer, terminal::Answer::Key { s10: got, mac } if got == s10 && mac.field == field));
}

/// What PKD1's tokens leave behind, read again, is what was there but for them.
fn assert_same(octets: &[u8], passed: &[u8]) {
    let (was, is) = (Message::parse(octets).expect("checked"), Message::parse(passed).expect("readable"));
    assert_eq!((was.kind(), was.seq()), (is.kind(), is.seq()));
    assert!(matches!(is.token(), Ok(None)) && is.mac().is_none(), "nothing of PKD1 passes");
    if matches!(was.token(), Ok(None)) && passed.len() == octets.len() {
        assert_eq!(octets, passed, "passed as it stands");
    }
    assert!(was.aliases().eq(is.aliases()) && was.destination().eq(is.destination()));
    assert_eq!((was.endpoint_id(), was.reason()), (is.endpoint_id(), is.reason()));
    assert_eq!((was.time_to_live(), was.keep_alive()), (is.time_to_live(), is.keep_alive()));
}

fn relays(octets: &[u8], buf: &mut [u8]) {
    let session =
        SessionRef { idc: Idc::new("studio-3").expect("an IDc"), binding: b"", keyed: true, crossing: Crossing::OPEN };
    let mut w = Writer::new(buf);
    match Ras.relay_up(&hop(), &session, octets, &mut w) {
        Ok(Up::Answer) => assert_answer(octets, w.written()),
        Ok(Up::Drop) => assert!(w.is_empty()),
        Ok(_) => assert_same(octets, w.written()),
        Err(_) => {}
    }
    w.truncate(0);
    if Ras.relay_down(&hop(), &session, octets, &mut w).is_ok() {
        assert_same(octets, w.written());
    }
}
