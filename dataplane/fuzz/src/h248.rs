//! What must hold for H.248, whatever the octets: nothing panics, what is read once reads the same again, what this
//! product writes it can read, and no answer is an amplifier.
#![allow(unreachable_pub)] // The tests of `portunus-h248` include this file.

use portunus_codec::Writer;
use portunus_h248::carriage::{core, terminal};
use portunus_h248::tpkt::{self, Frame};
use portunus_h248::view::{Elements, Kind, MESSAGE_MAX, Message, Mid};
use portunus_h248::{H248, MAC_PLACEHOLDER};
use portunus_keydist::ident::{Idc, Idsp, N1};
use portunus_keydist::steps::{Refusal, S5, S6, S8, S9, S10};
use portunus_signalling::{
    Crossing, Fault, FromCore, FromTerminal, Hop, Marks, Of, Own, Route, SessionRef, Signalling, Ticket, Transport, Up,
};
use std::net::SocketAddr;

/// More than any writer makes of the longest message.
const ROOM: usize = 2 * MESSAGE_MAX;

/// One arbitrary input.
pub fn h248(octets: &[u8]) {
    framing(octets);
    let _ = H248.route_core(octets);
    let _ = terminal::read(octets);
    let _ = Mid::parse(octets);
    let mut buf = vec![0u8; ROOM];
    if let Err(fault) = H248.read_core(octets) {
        answer(octets, &fault, &mut buf, true);
    }
    relays(octets, &mut buf);
    match H248.read_terminal(octets) {
        Err(fault) => answer(octets, &fault, &mut buf, false),
        Ok(read) => {
            view(octets);
            registration(octets, &read, &mut buf);
        }
    }
}

/// Where the proxy of these tests is.
pub fn hop() -> Hop<'static> {
    let address = |s: &str| s.parse::<SocketAddr>().expect("an address");
    Hop {
        own: Own {
            idsp: Idsp::new("sp1.example.test").expect("an IDsp"),
            realm: "example.test",
            access: address("192.0.2.1:2944"),
            core: address("198.51.100.1:40000"),
        },
        source: address("203.0.113.7:2944"),
        transport: Transport::Udp,
        ticket: Ticket(0x0700_0000_0000_0001),
        salt: 0x0123_4567_89ab_cdef,
        marks: &Marks::NONE,
    }
}

fn framing(octets: &[u8]) {
    match tpkt::next_message(octets) {
        Frame::Message(n) => {
            assert!((1..=MESSAGE_MAX).contains(&n) && octets.len() >= n + tpkt::HEADER_LEN);
            assert_eq!(tpkt::header(n).map(|h| (h[0], h[2], h[3])), Some((3, octets[2], octets[3])));
        }
        Frame::Incomplete => assert!(octets.len() < MESSAGE_MAX + tpkt::HEADER_LEN, "a full buffer is decided on"),
        Frame::Broken => {}
    }
}

/// What every accessor gives lies inside the message, and the message that was checked has nothing unread.
fn view(octets: &[u8]) {
    let Ok(msg) = Message::parse(octets) else { return };
    let inside = |part: &[u8]| part.is_empty() || octets.as_ptr_range().contains(&part.as_ptr());
    assert!((1..=3).contains(&msg.version()) && inside(msg.mid().text));
    assert_eq!(Mid::parse(msg.mid().text).as_ref(), Some(msg.mid()));
    let mut parts = 0;
    for t in msg.transactions() {
        parts += 1;
        let _ = (t.error(), t.failed(), t.wants_ack(), t.acknowledged().count());
        for a in t.actions() {
            deep(a.elements(), &inside, 0);
            for c in a.commands() {
                assert!(c.terminations().count() > 0);
                let services = c.services();
                let _ = (c.error(), c.is_root(), services.map(|s| (s.method(), s.reason_code(), s.mgc())));
                assert!(t.kind == Kind::Request || services.and_then(|s| s.method()).is_none());
            }
        }
    }
    assert!(parts > 0, "a body of something");
}

fn deep<'m>(list: Elements<'m>, inside: &impl Fn(&[u8]) -> bool, depth: usize) {
    assert!(depth <= portunus_h248::view::DEPTH_MAX + 4);
    for e in list {
        assert!(inside(e.whole()) && inside(e.value()) && !e.name().is_empty());
        deep(e.elements(), inside, depth + 1);
    }
}

/// The answer to what was not taken: a message, never to an answer, and never three times as long.
fn answer(octets: &[u8], fault: &Fault, buf: &mut [u8], core: bool) {
    assert!(fault.at <= octets.len() && !fault.what.is_empty());
    let mut w = Writer::new(buf);
    let due = match core {
        true => H248.write_core_fault(&hop(), octets, fault, &mut w),
        false => H248.write_fault(&hop(), octets, fault, &mut w),
    };
    assert_eq!(due, Ok(!w.is_empty()), "there is room");
    assert!(w.len() <= 3 * octets.len());
    if w.written().first().is_some_and(|first| *first != 0x30) {
        let msg = Message::parse(w.written()).expect("an answer is a message");
        assert!(msg.transactions().all(|t| matches!(t.kind, Kind::Reply | Kind::Error) && t.error().is_some()));
    }
}

fn registration(octets: &[u8], read: &FromTerminal<'_>, buf: &mut [u8]) {
    let hop = hop();
    match read {
        FromTerminal::S1(s1) => {
            acknowledged(octets, buf);
            let mut w = Writer::new(buf);
            H248.write_s2(&hop, octets, s1, &mut w).expect("there is room");
            let msg = Message::parse(w.written()).expect("s2 is a message");
            let Ok(Some(core::FromProxy::Register { s2, .. })) = core::read(&msg) else { panic!("s2 is one") };
            assert_eq!((s2.idc, s2.idsp, s2.n1), (s1.idc, s1.idsp, s1.n1));
            let mut w = Writer::new(buf);
            H248.write_cookie(&hop, octets, &s1.n1, 7, b"cookie", &mut w).expect("there is room");
            assert!(
                matches!(terminal::read(w.written()), Ok((_, terminal::FromProxy::Cookie { n1, ts: 7, .. })) if n1 == s1.n1)
            );
            challenge(octets, &s1.n1, buf);
        }
        FromTerminal::S7(s7) => {
            acknowledged(octets, buf);
            let s8 = S8 { idc: s7.idc, idsp: hop.own.idsp, rand: [7; 16], auth_c: s7.auth_c, ipc: hop.source };
            let mut w = Writer::new(buf);
            H248.write_s8(&hop, octets, s7, &s8, &mut w).expect("there is room");
            let msg = Message::parse(w.written()).expect("s8 is a message");
            assert!(matches!(core::read(&msg), Ok(Some(core::FromProxy::Response { s8: got, .. })) if got == s8));
            challenge(octets, &s7.n1, buf);
            key(octets, s7.mechs.as_str(), &s7.n1, buf);
        }
        FromTerminal::Request { .. } => {
            let mut w = Writer::new(buf);
            H248.write_refusal(&hop, octets, &Refusal::Denied, None, &mut w).expect("there is room");
            assert!(w.len() <= 3 * octets.len());
            let errors = |msg: Message<'_>| msg.transactions().all(|t| t.error().is_some_and(|e| e.code == 402));
            assert!(w.is_empty() || errors(Message::parse(w.written()).expect("a refusal is a message")));
        }
        _ => {}
    }
}

/// The reply that a step gets at once is one to its transaction.
fn acknowledged(octets: &[u8], buf: &mut [u8]) {
    let mut w = Writer::new(buf);
    H248.acknowledge(&hop(), octets, &mut w);
    assert!(matches!(terminal::read(w.written()), Ok((_, terminal::FromProxy::Reply { error: None, .. }))));
    assert_eq!(H248.transaction(w.written()), H248.transaction(octets));
}

/// s6 and every refusal of the message, read back.
fn challenge(octets: &[u8], n1: &N1, buf: &mut [u8]) {
    let hop = hop();
    let from = core_sender();
    let mut core_buf = vec![0u8; ROOM];
    let mut w = Writer::new(&mut core_buf);
    let s5 = S5 { idc: from.idc, idsp: hop.own.idsp, rand: [7; 16] };
    core::write_s5(&from, 9, &s5, n1, &mut w).expect("there is room");
    assert_eq!(H248.route_core(w.written()), Route::Step);
    let read = H248.read_core(w.written());
    assert!(matches!(read, Ok(FromCore::Challenge { of: Of::N1(of), rand: [7, ..], .. }) if of == *n1));
    let s6 = S6 { idsp: hop.own.idsp, n1: *n1, n2: b"token", ts: 9, rand: [7; 16] };
    let mut out = Writer::new(buf);
    H248.write_s6(&hop, octets, w.written(), &s6, &mut out).expect("there is room");
    assert!(matches!(terminal::read(out.written()), Ok((_, terminal::FromProxy::Challenge(got))) if got == s6));
    for refusal in [Refusal::Denied, Refusal::Stale { ts: 5 }, Refusal::Mechanism, Refusal::Busy { retry_after_s: 4 }] {
        let mut w = Writer::new(buf);
        H248.write_refusal(&hop, octets, &refusal, Some(n1), &mut w).expect("there is room");
        match terminal::read(w.written()) {
            Ok((_, terminal::FromProxy::Refused { n1: got, refusal: said })) => {
                assert_eq!((got, said), (Some(*n1), refusal));
            }
            other => panic!("{other:?}"),
        }
    }
}

fn core_sender() -> portunus_h248::carriage::message::Sender<'static> {
    let idc = Idc::new("ss1.example.test").expect("an IDc");
    portunus_h248::carriage::message::Sender { idc, version: 2 }
}

/// s10 of the message, read back.
fn key(octets: &[u8], mechs: &str, n1: &N1, buf: &mut [u8]) {
    let hop = hop();
    let s9 = S9 { ekc: [1; 48], eksp: [2; 48] };
    let mut core_buf = vec![0u8; ROOM];
    let mut w = Writer::new(&mut core_buf);
    core::write_s9(&core_sender(), 9, hop.own.idsp, &[7; 16], &s9, &mut w).expect("there is room");
    assert!(
        matches!(H248.read_core(w.written()), Ok(FromCore::Key { of: Of::Rand([7, ..]), s9: got, .. }) if got == s9)
    );
    let s10 = S10 {
        idsp: hop.own.idsp,
        n1: *n1,
        n2: N1::from_bits(5),
        ts: 9,
        life: 86_400,
        ekc: s9.ekc,
        sel: "x-pkd-sealed;kid=0000000100000001;port=5065",
        mechs,
    };
    let mut out = Writer::new(buf);
    let field = H248.write_s10(&hop, octets, w.written(), &s10, &mut out).expect("there is room");
    assert_eq!(out.written().get(field.clone()), Some(&MAC_PLACEHOLDER[..]));
    H248.put_mac(out.written_mut().get_mut(field.clone()).expect("the field"), &[0xab; 32]);
    match terminal::read(out.written()) {
        Ok((_, terminal::FromProxy::Key { s10: got, mac, mac_value })) => {
            assert_eq!((got, mac, mac_value), (s10, field, [0xab; 32]));
        }
        other => panic!("{other:?}"),
    }
}

/// The message as one inside a session, both ways.
fn relays(octets: &[u8], buf: &mut [u8]) {
    let hop = hop();
    let own = Message::parse(octets).ok().and_then(|msg| msg.mid().idc());
    let idc = own.unwrap_or(core_sender().idc);
    let session = SessionRef { idc, binding: b"", keyed: true, crossing: Crossing::OPEN };
    let mut w = Writer::new(buf);
    if let Ok(up) = H248.relay_up(&hop, &session, octets, &mut w)
        && up != Up::Drop
    {
        let msg = Message::parse(w.written()).expect("what goes on is a message");
        assert!(msg.auth().is_none() && msg.mid().idc() == Some(idc));
        assert!(no_addresses(&msg));
        assert_eq!(H248.transaction(w.written()), H248.transaction(octets));
    }
    let mut w = Writer::new(buf);
    if H248.relay_down(&hop, &session, octets, &mut w).is_ok() {
        let msg = Message::parse(w.written()).expect("what goes on is a message");
        assert!(msg.auth().is_none() && msg.mid().idc().is_some_and(|own| own.as_str() == "sp1.example.test"));
        assert!(no_addresses(&msg));
        // No step hides in what is passed on.
        assert!(!matches!(H248.read_core(w.written()), Ok(FromCore::Key { .. } | FromCore::Challenge { .. })));
    }
    let mut w = Writer::new(buf);
    let _ = H248.answer_own(&hop, octets, false, &mut w);
    assert!(w.len() <= 3 * octets.len());
    let mut w = Writer::new(buf);
    H248.acknowledge_core(&hop, octets, &mut w);
    assert!(w.is_empty() || H248.transaction(w.written()) == H248.transaction(octets));
}

fn no_addresses(msg: &Message<'_>) -> bool {
    let mut services =
        msg.transactions().flat_map(|t| t.actions()).flat_map(|a| a.commands()).filter_map(|c| c.services());
    services.all(|s| s.address().is_none())
}
