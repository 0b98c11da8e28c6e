//! What must hold for SIP, whatever the octets: nothing panics, what is read once reads the same again, and what this
//! product writes it can read.
#![allow(unreachable_pub)] // The tests of `portunus-sip` include this file.

use portunus_codec::Writer;
use portunus_keydist::Key;
use portunus_keydist::ident::{Idc, Idsp, N1};
use portunus_keydist::proxy::Veil;
use portunus_keydist::steps::{Refusal, S6, S8, S9, S10};
use portunus_signalling::{
    BINDING_MAX, Border, Crossing, FromCore, FromTerminal, Hop, Marks, Names, Own, Route, Rules, SessionRef,
    Signalling, Ticket, Transport, Up,
};
use portunus_sip::carriage::{core, terminal};
use portunus_sip::frame::{Frame, Framer, next_message};
use portunus_sip::patch::Patch;
use portunus_sip::view::{MESSAGE_MAX, Message, Name};
use portunus_sip::{MAC_PLACEHOLDER, Sip};
use std::net::SocketAddr;

/// More than any writer makes of the longest message.
const ROOM: usize = 2 * MESSAGE_MAX;

/// One arbitrary input.
pub fn sip(octets: &[u8]) {
    framing(octets);
    let _ = Sip.route_core(octets);
    let _ = Sip.read_core(octets);
    let _ = terminal::read_answer(octets);
    let _ = terminal::granted(octets, "sip:alice@192.0.2.7:5060");
    let read = Sip.read_terminal(octets);
    relays(octets);
    let mut buf = vec![0u8; ROOM];
    match read {
        Err(fault) => {
            assert!(fault.at <= octets.len(), "a fault lies in the message");
            assert!(!fault.what.is_empty());
            let mut w = Writer::new(&mut buf);
            if Sip.write_fault(&hop(), octets, &fault, &mut w) == Ok(true) {
                assert_answers(octets, w.written());
            }
        }
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
            access: address("192.0.2.1:5060"),
            core: address("198.51.100.1:5080"),
        },
        source: address("203.0.113.7:40000"),
        transport: Transport::Udp,
        ticket: Ticket(0x0700_0000_0000_0001),
        salt: 0x0123_4567_89ab_cdef,
        marks: &Marks::NONE,
    }
}

fn framing(octets: &[u8]) {
    let whole = next_message(octets);
    match whole {
        Frame::Message(n) | Frame::Ping(n) | Frame::Pong(n) => assert!((1..=octets.len()).contains(&n)),
        Frame::Incomplete => assert!(octets.len() < MESSAGE_MAX, "a full buffer is decided on"),
        Frame::Broken(_) => {}
    }
    // However it arrives, a stream is cut alike.
    let mut framer = Framer::new();
    for end in (0..octets.len()).step_by(1 + octets.len() / 64) {
        match framer.next(&octets[..end]) {
            Frame::Incomplete => {}
            // A lone CRLF is told from a ping by what follows it, an oversized message by its length alone.
            early => return assert_eq!(early, whole, "cut at {end}"),
        }
    }
    assert_eq!(framer.next(octets), whole);
}

/// What every accessor gives lies inside the message, and the unpatched message is the message.
fn view(octets: &[u8]) {
    let Ok(msg) = Message::parse(octets) else { return };
    assert!(octets.starts_with(msg.octets()));
    assert!(octets.ends_with(msg.body()) || msg.octets().len() < octets.len());
    let mut lines = 0;
    for (_, value, line) in msg.headers() {
        assert!(line.start < line.end && line.end <= msg.headers_end());
        assert!(value.is_empty() || line.contains(&msg.offset(value)));
        lines += line.len();
    }
    let start_line = msg.headers_end() - lines;
    assert_eq!(start_line + lines + 2 + msg.body().len(), msg.octets().len());
    assert!(!msg.via().host.is_empty() && !msg.from().uri.is_empty() && !msg.to().uri.is_empty());
    let mut buf = vec![0u8; ROOM];
    let mut w = Writer::new(&mut buf);
    assert_eq!(Patch::new(msg.octets(), &mut w).finish(), Ok(()));
    assert_eq!(w.written(), msg.octets());
}

fn registration(octets: &[u8], read: &FromTerminal<'_>, buf: &mut [u8]) {
    let hop = hop();
    match read {
        FromTerminal::S1(s1) => {
            let mut w = Writer::new(buf);
            if Sip.write_s2(&hop, octets, s1, &mut w).is_ok() {
                let msg = Message::parse(w.written()).expect("s2 is a message");
                let register = core::read_register(&msg).expect("s2 is a registration");
                assert_eq!((register.idc, register.idsp, register.ipc), (s1.idc, s1.idsp, hop.source));
                assert!(matches!(register.ask, core::Ask::S2(s2) if s2.n1 == s1.n1));
                answers(octets, &msg, &s1.n1);
            }
            let mut w = Writer::new(buf);
            if Sip.write_cookie(&hop, octets, &s1.n1, 7, b"cookie", &mut w).is_ok() {
                let reply = terminal::read_answer(w.written()).expect("a cookie is an answer");
                assert!(matches!(reply.answer, terminal::Answer::Cookie { n1, ts: 7, .. } if n1 == s1.n1));
            }
        }
        FromTerminal::S7(s7) => {
            let rand = s7.rand.expect("SIP's nonce is Rand");
            let s8 =
                S8 { idc: s7.idc, idsp: s7.idsp.unwrap_or(hop.own.idsp), rand, auth_c: s7.auth_c, ipc: hop.source };
            let mut w = Writer::new(buf);
            if Sip.write_s8(&hop, octets, s7, &s8, &mut w).is_ok() {
                let msg = Message::parse(w.written()).expect("s8 is a message");
                assert!(!msg.has(Name::SecurityClient));
                let register = core::read_register(&msg).expect("s8 is a registration");
                assert!(matches!(register.ask, core::Ask::S8(got) if got == s8));
                key(octets, &msg, s7.mechs.as_str(), &s7.n1);
            }
        }
        FromTerminal::Digest { idc, answered, .. } => {
            let mut w = Writer::new(buf);
            if Sip.write_digest(&hop, octets, *idc, &mut w).is_ok()
                && let Ok(msg) = Message::parse(w.written())
                && let Ok(register) = core::read_register(&msg)
            {
                assert_eq!((register.idc, register.idsp), (*idc, hop.own.idsp));
                assert!(*answered || matches!(register.ask, core::Ask::DigestChallenge));
            }
        }
        _ => {}
    }
}

/// s5 to s2, and s6 of it, read back.
fn answers(octets: &[u8], s2: &Message<'_>, n1: &N1) {
    let hop = hop();
    let (mut core_buf, mut buf) = (vec![0u8; ROOM], vec![0u8; ROOM]);
    let mut w = Writer::new(&mut core_buf);
    core::write_s5(s2, "tag", hop.own.realm, hop.own.idsp, &[7; 16], &mut w).expect("there is room");
    let s5 = w.written();
    assert_eq!(Sip.route_core(s5), Route::Ticket(hop.ticket));
    assert!(matches!(Sip.read_core(s5), Ok(FromCore::Challenge { rand: [7, ..], .. })));
    let s6 = S6 { idsp: hop.own.idsp, n1: *n1, n2: b"token", ts: 9, rand: [7; 16] };
    let mut w = Writer::new(&mut buf);
    Sip.write_s6(&hop, octets, s5, &s6, &mut w).expect("there is room");
    let reply = terminal::read_answer(w.written()).expect("s6 is an answer");
    assert!(matches!(reply.answer, terminal::Answer::Challenge(got) if got == s6));
    for refusal in [Refusal::Denied, Refusal::Stale { ts: 5 }, Refusal::Mechanism, Refusal::Busy { retry_after_s: 3 }] {
        let mut w = Writer::new(&mut buf);
        Sip.write_refusal(&hop, octets, &refusal, Some(n1), &mut w).expect("there is room");
        let reply = terminal::read_answer(w.written()).expect("a refusal is an answer");
        match reply.answer {
            terminal::Answer::Refused(got) => assert_eq!(got, refusal),
            terminal::Answer::Stale { n1: got, ts } => assert_eq!((got, ts), (Some(*n1), 5)),
            other => panic!("{other:?}"),
        }
    }
}

/// s9 to s8, and s10 of it, read back.
fn key(octets: &[u8], s8: &Message<'_>, mechs: &str, n1: &N1) {
    let hop = hop();
    let (mut core_buf, mut buf) = (vec![0u8; ROOM], vec![0u8; ROOM]);
    let own = s8.contacts().next().expect("the proxy's own Contact");
    let binding = core::Granted { uri: own.uri, expires: 600 };
    let mut w = Writer::new(&mut core_buf);
    let s9 = S9 { ekc: [1; 48], eksp: [2; 48] };
    core::write_s9(s8, "tag", &s9, &[binding], &mut w).expect("there is room");
    assert!(matches!(Sip.read_core(w.written()), Ok(FromCore::Key { s9: got, .. }) if got == s9));
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
    let mut w10 = Writer::new(&mut buf);
    let field = Sip.write_s10(&hop, octets, w.written(), &s10, &mut w10).expect("there is room");
    assert_eq!(w10.written().get(field.clone()), Some(&MAC_PLACEHOLDER[..]));
    Sip.put_mac(w10.written_mut().get_mut(field.clone()).expect("the field"), &[0xab; 32]);
    let reply = terminal::read_answer(w10.written()).expect("s10 is an answer");
    match reply.answer {
        terminal::Answer::Key { s10: got, mac, mac_value } => {
            assert_eq!((got, mac.into(), mac_value), (s10, field, [0xab; 32]));
        }
        other => panic!("{other:?}"),
    }
    // The key under Ksp never leaves the trusted side.
    assert!(
        memchr::memmem::find(w10.written(), b"eksp").is_none_or(|_| memchr::memmem::find(octets, b"eksp").is_some())
    );
    let mut w = Writer::new(&mut core_buf);
    if Sip.binding(octets, &Marks::NONE, &mut w).is_ok() {
        let uri = std::str::from_utf8(w.written()).unwrap_or_default();
        assert!(w.len() <= BINDING_MAX);
        assert!(uri.is_empty() || terminal::granted(w10.written(), uri).is_some_and(|s| s <= 600));
    }
}

/// The message as one inside a session, both ways.
fn relays(octets: &[u8]) {
    let hop = hop();
    let mut buf = vec![0u8; ROOM];
    let hiding = Crossing { border: border(), noticed: None };
    for (keyed, crossing) in [(true, Crossing::OPEN), (false, Crossing::OPEN), (true, hiding), (false, hiding)] {
        let idc = Idc::new("alice@example.test").expect("an IDc");
        let session = SessionRef { idc, binding: b"sip:alice@192.0.2.7:5060", keyed, crossing };
        let mut w = Writer::new(&mut buf);
        if let Ok(up) = Sip.relay_up(&hop, &session, octets, &mut w)
            && up != Up::Drop
        {
            let msg = Message::index(w.written()).expect("what goes on is a message");
            assert!(msg.has(Name::ContentLength), "it can travel on a stream");
            assert!(!msg.is_request() || up != Up::Answer);
        }
        let mut w = Writer::new(&mut buf);
        if Sip.relay_down(&hop, &session, octets, &mut w).is_ok() {
            let msg = Message::index(w.written()).expect("what goes on is a message");
            assert!(msg.headers().all(|(name, ..)| !name.is_core_only()));
            if crossing.border.rules.hide {
                hidden(octets, &Message::parse(w.written()).expect("what is hidden is well formed"));
            }
        }
    }
    let mut w = Writer::new(&mut buf);
    let _ = Sip.answer_own(&hop, octets, false, &mut w);
}

/// A border that hides the core.
fn border() -> &'static Border {
    static BORDER: std::sync::OnceLock<Border> = std::sync::OnceLock::new();
    BORDER.get_or_init(|| {
        let names = |list: &[&str]| Names::of(list.iter().copied()).expect("names");
        let rules = Rules { hide: true, strip_up: names(&["X-*"]), strip_down: names(&["Server", "P-*"]) };
        Border { veil: Some(Veil::new(&Key::new([0x42; 32]).prk())), rules }
    })
}

/// A terminal sees one Via of a request's, the proxy's, and routes that only the proxy can read.
fn hidden(octets: &[u8], down: &Message<'_>) {
    if down.is_request() {
        assert_eq!(down.values(Name::Via).count(), 1);
    }
    for item in down.items(Name::RecordRoute).take(1) {
        assert!(item.starts_with(b"<sip:pkd~"), "{}", String::from_utf8_lossy(octets));
    }
    assert!(!down.has(Name::PAssertedIdentity) && down.headers().all(|(name, ..)| !name.is_core_only()));
}

/// What answers bad input has the form of a response and is no amplifier.
fn assert_answers(request: &[u8], response: &[u8]) {
    assert!(response.starts_with(b"SIP/2.0 ") && response.ends_with(b"\r\n\r\n"));
    assert!(response.len() <= 3 * request.len(), "{} of {}", response.len(), request.len());
}
