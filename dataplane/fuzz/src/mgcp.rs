//! What must hold for MGCP, whatever the octets: nothing panics, answers go to commands only and can be read, and what
//! passes in a session passes unchanged.
#![allow(unreachable_pub)] // The tests of `portunus-mgcp` include this file.

use portunus_codec::Writer;
use portunus_keydist::ident::{Idc, Idsp, N1};
use portunus_keydist::steps::{Refusal, S6, S8, S9, S10};
use portunus_mgcp::carriage::{core, terminal};
use portunus_mgcp::view::{DATAGRAM_MAX, Message, Name, PARTS_MAX, Parts};
use portunus_mgcp::{MAC_PLACEHOLDER, Mgcp};
use portunus_signalling::{
    Crossing, FromCore, FromTerminal, Hop, Marks, Own, Route, SessionRef, Signalling, Ticket, Transport, Up,
};
use std::net::SocketAddr;

/// More than any writer makes of the longest datagram.
const ROOM: usize = 2 * DATAGRAM_MAX;

/// One arbitrary input.
pub fn mgcp(octets: &[u8]) {
    view(octets);
    let mut buf = vec![0u8; ROOM];
    let (read, back) = (Mgcp.read_terminal(octets), Mgcp.read_core(octets));
    let _ = terminal::read(octets);
    let _ = terminal::read_response(octets);
    let _ = Mgcp.transaction(octets);
    if back.is_ok() {
        assert_ne!(Mgcp.route_core(octets), Route::Unknown, "what can be read has a way");
    }
    let mut w = Writer::new(&mut buf);
    Mgcp.acknowledge_core(&hop(), octets, &mut w);
    let step = matches!(back, Ok(FromCore::Challenge { .. } | FromCore::Key { .. } | FromCore::Refused { .. }));
    assert!(!step || !w.is_empty(), "a step is acknowledged");
    match read {
        Err(fault) => {
            assert!(!fault.what.is_empty());
            let mut w = Writer::new(&mut buf);
            if Mgcp.write_fault(&hop(), octets, &fault, &mut w) == Ok(true) {
                assert_answers(octets, w.written());
            }
        }
        Ok(read) => registration(octets, &read, &mut buf),
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
            access: address("192.0.2.1:2727"),
            core: address("198.51.100.1:2427"),
        },
        source: address("203.0.113.7:2427"),
        transport: Transport::Udp,
        ticket: Ticket(0x0700_0000_0000_0001),
        salt: 0x0123_4567_89ab_cdef,
        marks: &Marks::NONE,
    }
}

/// Every accessor of every message; what is read once reads the same again.
fn view(octets: &[u8]) {
    let mut total = 0;
    for part in Parts::new(octets).take(PARTS_MAX) {
        total += part.len();
        let Ok(msg) = Message::parse(part) else { continue };
        for line in msg.lines() {
            assert_eq!(part.get(line.at..line.at + line.value.len()), Some(line.value));
            assert_eq!(Name::of(line.spelled), line.name);
        }
        for list in [Name::RequestedEvents, Name::SignalRequests, Name::ObservedEvents] {
            assert!(msg.events(list).count() <= portunus_mgcp::view::EVENTS_MAX + 1);
        }
        if let Some((_, endpoint)) = msg.command() {
            assert_eq!(Message::salvage(part), Some(msg.transaction()));
            assert!(!endpoint.local.is_empty() && !endpoint.domain.is_empty());
            assert!(endpoint.covers(endpoint.local), "a name covers itself");
            let _ = core::read(&msg);
        } else {
            assert_eq!(Message::salvage(part), None, "a response is never answered");
        }
        assert!(msg.body().len() <= part.len());
    }
    assert!(total <= octets.len());
}

/// Answers can be read, are final, and each belongs to a command.
fn assert_answers(octets: &[u8], answers: &[u8]) {
    let asked: Vec<_> = Parts::new(octets).take(PARTS_MAX).filter_map(Message::salvage).collect();
    let mut count = 0;
    for part in Parts::new(answers) {
        let answer = Message::parse(part).expect("what is written can be read");
        assert!(answer.code().is_some_and(|code| code >= 400), "an error");
        assert!(asked.contains(&answer.transaction()));
        count += 1;
    }
    assert!((1..=asked.len()).contains(&count));
}

/// The steps that follow from a message that was read.
fn registration(octets: &[u8], read: &FromTerminal<'_>, buf: &mut [u8]) {
    let hop = hop();
    let idsp = hop.own.idsp;
    let n1 = N1::from_bits(1);
    match read {
        FromTerminal::S1(s1) => {
            let mut w = Writer::new(buf);
            Mgcp.acknowledge(&hop, octets, &mut w);
            assert!(w.written().starts_with(b"200 "));
            w.truncate(0);
            Mgcp.write_s2(&hop, octets, s1, &mut w).expect("s2 follows from s1");
            let s2 = core::read(&Message::alone(w.written()).expect("s2 alone")).expect("s2").expect("a step");
            assert!(matches!(s2.ask, core::Ask::S2(s2) if s2.idc == s1.idc && s2.n1 == s1.n1));
            assert!(Message::alone(w.written()).is_ok_and(|m| m.value(Name::Pkd).is_some_and(|v| !v.ends_with(b"ts"))));
            w.truncate(0);
            let s6 = S6 { idsp, n1: s1.n1, n2: b"token", ts: s1.ts, rand: [7; 16] };
            Mgcp.write_s6(&hop, octets, b"", &s6, &mut w).expect("s6 follows from s1");
            let reply = terminal::read(w.written()).expect("s6").expect("a step");
            assert!(matches!(reply.answer, terminal::Answer::Challenge(got) if got == s6));
        }
        FromTerminal::S7(s7) => {
            let mut w = Writer::new(buf);
            let s8 = S8 { idc: s7.idc, idsp, rand: [7; 16], auth_c: s7.auth_c, ipc: hop.source };
            Mgcp.write_s8(&hop, octets, s7, &s8, &mut w).expect("s8 follows from s7");
            let read = core::read(&Message::alone(w.written()).expect("s8 alone")).expect("s8").expect("a step");
            assert!(matches!(read.ask, core::Ask::S8(got) if got == s8));
            w.truncate(0);
            let (sel, mechs) = ("x-pkd-sealed;kid=0000000100000001;port=5065", s7.mechs.as_str());
            let s9 = S9 { ekc: [1; 48], eksp: [2; 48] };
            let s10 = S10 { idsp, n1: s7.n1, n2: n1, ts: s7.ts, life: 60, ekc: s9.ekc, sel, mechs };
            let field = Mgcp.write_s10(&hop, octets, b"", &s10, &mut w).expect("s10 follows from s7");
            assert_eq!(w.written().get(field.clone()), Some(&MAC_PLACEHOLDER[..]));
            let reply = terminal::read(w.written()).expect("s10").expect("a step");
            assert!(matches!(reply.answer, terminal::Answer::Key { s10: got, mac, .. } if got == s10 && mac == field));
        }
        _ => {
            let mut w = Writer::new(buf);
            Mgcp.write_refusal(&hop, octets, &Refusal::Denied, None, &mut w).expect("a refusal fits");
            match read {
                FromTerminal::Response { .. } => assert!(w.is_empty(), "a response is never answered"),
                _ => assert_answers(octets, w.written()),
            }
        }
    }
}

fn relays(octets: &[u8], buf: &mut [u8]) {
    let session = SessionRef {
        idc: Idc::new("gw1.example.test").expect("an IDc"),
        binding: b"",
        keyed: true,
        crossing: Crossing::OPEN,
    };
    let mut w = Writer::new(buf);
    match Mgcp.relay_up(&hop(), &session, octets, &mut w) {
        Ok(Up::Answer) => assert_answers(octets, w.written()),
        Ok(_) => assert_eq!(w.written(), octets, "passed as it stands"),
        Err(_) => {}
    }
    w.truncate(0);
    if Mgcp.relay_down(&hop(), &session, octets, &mut w).is_ok() {
        assert_eq!(w.written(), octets, "passed as it stands");
        for msg in Parts::new(octets).map(Message::parse) {
            let msg = msg.expect("checked");
            assert!(msg.command().is_none_or(|(_, e)| e.domain == b"gw1.example.test"));
            assert!(msg.find(Name::PkdMac).is_none() && msg.find(Name::Pkd).is_none());
        }
    }
}
