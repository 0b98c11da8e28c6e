//! An endpoint's whole life on a made-up clock: registered at the far end, and then kept, admitted, asked and sent away
//! inside its session.

use core::net::SocketAddr;
use portunus_codec::Writer;
use portunus_h323::carriage::terminal as carriage;
use portunus_h323::view::{Element, Kind, Message, Reason};
use portunus_h323::write::{self, Call, Confirmed, Endpoint};
use portunus_keydist::steps::S1;
use portunus_keydist::{Idc, Idsp, Key, N1, Now, SystemRandom};
use portunus_signalling::Protocol;
use portunus_terminal::farend::{Core, FarEnd};
use portunus_terminal::ras::{Ras, RasTerminal};
use portunus_terminal::{Event, MECHS, Path, Profile, Transport};
use std::sync::Arc;

const IDC: &str = "studio-3";
const IDSP: &str = "sp1.example.test";
const TTL: u32 = 60;

fn addr(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

fn written<E: core::fmt::Debug>(f: impl FnOnce(&mut Writer<'_>) -> Result<(), E>) -> Vec<u8> {
    let mut room = [0; 4096];
    let mut w = Writer::new(&mut room);
    f(&mut w).unwrap();
    w.written().to_vec()
}

fn read(octets: &[u8]) -> Message<'_> {
    Message::parse(octets).unwrap_or_else(|e| panic!("{e:?}: {octets:02x?}"))
}

fn kinds(messages: &[Vec<u8>]) -> Vec<Kind> {
    messages.iter().map(|m| read(m).kind()).collect()
}

struct World {
    now: Now,
    rng: SystemRandom,
    far: FarEnd,
    terminal: RasTerminal,
    /// What the endpoint sent in the clear, what it heard there, and what it sent inside its session.
    clear: Vec<Vec<u8>>,
    heard: Vec<Vec<u8>>,
    inside: Vec<Vec<u8>>,
    events: Vec<Event>,
}

impl World {
    fn new() -> Self {
        let mut rng = SystemRandom::new();
        let core = Core::new("example.test", Box::new(|_| Some(Key::new([7; 32])))).speaking(Protocol::Ras);
        let mut profile = Profile::new(addr(1719), Transport::Udp, IDSP, "", MECHS).unwrap().speaking(Protocol::Ras);
        profile.expires_s = TTL;
        let agent = Ras::new(1, &mut rng);
        let terminal = RasTerminal::with(agent, Arc::new(profile), IDC, &Key::new([7; 32]), addr(40_000), 1).unwrap();
        let mut w = Self {
            now: Now { mono_ms: 1_000, wall_ms: 1_800_000_000_000 },
            rng,
            far: FarEnd::new(core, IDSP, 5065, true).unwrap(),
            terminal,
            clear: vec![],
            heard: vec![],
            inside: vec![],
            events: vec![],
        };
        w.terminal.start(w.now, &mut w.rng);
        w
    }

    fn registered() -> Self {
        let mut w = Self::new();
        w.settle();
        assert!(w.terminal.is_active(), "{:?}", w.events);
        w.events.clear();
        w
    }

    fn settle(&mut self) {
        loop {
            while let Some(event) = self.terminal.poll_event() {
                self.events.push(event);
            }
            let Some(mut out) = self.terminal.poll_transmit() else { return };
            match out.path {
                Path::Signalling => self.on_clear(out.octets),
                Path::Secured { .. } => unreachable!("no session of tls"),
                Path::Sealed => match self.far.open(addr(40_000), &mut out.octets).unwrap().text {
                    sign if sign.is_empty() => self.seal(b""),
                    message => self.inside.push(message),
                },
            }
        }
    }

    fn on_clear(&mut self, octets: Vec<u8>) {
        let mut room = [0u8; 4096];
        let mut w = Writer::new(&mut room);
        self.far.on_terminal(self.now, addr(40_000), &octets, &mut w);
        self.clear.push(octets);
        self.heard.push(w.written().to_vec());
        self.down(w.written().to_vec());
    }

    fn pass(&mut self, ms: u64) {
        let until = self.now.mono_ms + ms;
        while let Some((due, _)) = self.terminal.next_deadline().filter(|(due, _)| *due <= until) {
            let gone = due.saturating_sub(self.now.mono_ms);
            self.now = Now { mono_ms: self.now.mono_ms + gone, wall_ms: self.now.wall_ms + gone };
            self.terminal.on_timer(self.now, &mut self.rng);
            self.settle();
        }
        let gone = until - self.now.mono_ms;
        self.now = Now { mono_ms: until, wall_ms: self.now.wall_ms + gone };
    }

    fn down(&mut self, mut octets: Vec<u8>) {
        if !octets.is_empty() {
            self.terminal.on_datagram(self.now, &mut self.rng, addr(1719), &mut octets);
        }
    }

    fn seal(&mut self, message: &[u8]) {
        let (_, mut sealed) = self.far.seal(IDC, message).unwrap();
        self.terminal.on_datagram(self.now, &mut self.rng, addr(5065), &mut sealed);
    }

    /// The gatekeeper says this inside the session; what the endpoint says then.
    fn core(&mut self, message: &[u8]) -> Vec<Vec<u8>> {
        self.seal(message);
        self.settle();
        core::mem::take(&mut self.inside)
    }

    /// The one message that the endpoint sent inside its session since the last look, maybe repeated; of this kind and in
    /// its own name.
    fn one(&mut self, kind: Kind) -> Vec<u8> {
        self.settle();
        self.inside.dedup();
        assert_eq!(self.inside.len(), 1, "{:?}", kinds(&self.inside));
        let message = self.inside.remove(0);
        assert_eq!(read(&message).kind(), kind);
        assert!(read(&message).endpoint_id().unwrap().is(IDC), "as the far end calls it");
        message
    }

    /// The lightweight registration that is due within `ms`, as soon as it is.
    fn refresh(&mut self, ms: u64) -> Vec<u8> {
        let until = self.now.mono_ms + ms;
        while self.inside.is_empty() && self.now.mono_ms < until {
            self.pass(100);
        }
        self.one(Kind::RegistrationRequest)
    }

    fn rejects(&mut self, request: &[u8], reason: Reason) -> Vec<Vec<u8>> {
        let kind = read(request).kind().reject().unwrap();
        self.core(&written(|w| write::reject(kind, read(request).seq(), reason, None, w)))
    }

    fn ask(&mut self, f: impl FnOnce(&mut RasTerminal, Now, &mut SystemRandom) -> Option<u32>) -> u32 {
        f(&mut self.terminal, self.now, &mut self.rng).expect("a request")
    }

    fn told(&self, id: u32, status: u16) -> bool {
        self.events.contains(&Event::Response { id, status })
    }

    /// A registration afresh has begun, beside the session.
    fn registers_anew(&mut self) -> bool {
        self.settle();
        let clear = core::mem::take(&mut self.clear);
        self.terminal.is_active() && kinds(&clear) == [Kind::GatekeeperRequest, Kind::RegistrationRequest]
    }
}

fn granted(seq: u16, ttl: u32) -> Vec<u8> {
    let signal = addr(1720);
    let confirmed = Confirmed { signal, aliases: &[], gatekeeper_id: "gk", endpoint_id: IDC, ttl };
    written(|w| write::registration_confirm(seq, &confirmed, None, w))
}

#[test]
fn an_endpoint_registers_in_two_round_trips() {
    let w = World::registered();
    assert_eq!(kinds(&w.clear), [Kind::GatekeeperRequest, Kind::RegistrationRequest]);
    let numbers: Vec<_> = w.clear.iter().map(|m| read(m).token().unwrap().unwrap().n).collect();
    assert_eq!(numbers, [1, 3]);
    let rrq = read(&w.clear[1]);
    assert!(rrq.aliases().next().unwrap().is(IDC) && rrq.aliases().count() == 1 && !rrq.keep_alive());
    assert_eq!((rrq.time_to_live(), rrq.call_signal_address()), (Some(TTL), Some(addr(1720))));
    assert_eq!(rrq.ras_address(), Some(addr(40_000)));
    assert!(w.inside.is_empty());
}

#[test]
fn who_is_told_that_it_takes_a_while_waits() {
    let mut w = World::new();
    let s1 = w.terminal.poll_transmit().unwrap().octets;
    let in_progress = |seq, ms| written(|o| write::request_in_progress(seq, ms, o));
    w.down(in_progress(read(&s1).seq() ^ 1, 60_000));
    assert_eq!(w.terminal.next_deadline().unwrap().0, w.now.mono_ms + 1_000, "of another request");
    w.down(in_progress(read(&s1).seq(), 40_000));
    assert_eq!(w.terminal.next_deadline().unwrap().0, w.now.mono_ms + 40_000);
    w.pass(39_999);
    assert!(w.clear.is_empty() && w.events.is_empty(), "{:?}", w.events);
    // Then it is repeated, and answered.
    w.pass(1);
    assert_eq!((w.clear.first(), w.terminal.is_active()), (Some(&s1), true));

    // A request inside the session as well: given up after 15 s otherwise.
    let light = w.refresh(60_000);
    assert!(w.core(&in_progress(read(&light).seq(), 25_000)).is_empty());
    w.pass(24_900);
    assert!(w.inside.is_empty() && w.clear.len() == 2, "{:?}", kinds(&w.inside));
    w.pass(200);
    assert_eq!(w.inside, std::slice::from_ref(&light));
    w.inside.clear();
    assert!(w.core(&granted(read(&light).seq(), 60)).is_empty() && w.terminal.is_active());
}

#[test]
fn a_token_for_somebody_else_decides_nothing() {
    let mut w = World::new();
    let s1 = w.terminal.poll_transmit().unwrap().octets;
    let seq = read(&s1).seq();
    let n1 = N1::parse(read(&s1).token().unwrap().unwrap().get(Element::N1).unwrap()).unwrap();
    // The same number and N1, challenged under another name: generalID differs, and nothing else.
    let other = Idc::new("studio-4").unwrap();
    let e = Endpoint { aliases: &["studio-4"], ras: addr(40_000), signal: addr(1720), product: "p" };
    let asked = S1 { idc: other, idsp: Idsp::new(IDSP).unwrap(), n1, ts: w.now.wall_ms, cookie: None };
    let strange = written(|o| carriage::write_s1(&e, seq, &asked, o));
    let s6_to = |w: &mut World, s1: &[u8]| {
        let mut room = [0u8; 4096];
        let mut o = Writer::new(&mut room);
        w.far.on_terminal(w.now, addr(40_000), s1, &mut o);
        o.written().to_vec()
    };
    let s6 = s6_to(&mut w, &strange);
    assert_eq!(read(&s6).seq(), seq);
    w.down(s6);
    assert!(w.terminal.poll_transmit().is_none() && w.terminal.poll_event().is_none());
    assert_eq!(w.terminal.tally().ignored, 1);

    // A cookie and a clock: for another name, and from another proxy.
    let ts = w.now.wall_ms;
    let octets = ts.to_be_bytes();
    let reject = |reason, general_id: &str, senders_id, elements: &[(Element, &[u8])]| {
        let (time_stamp, general_id) = ((ts / 1000) as u32, general_id.into());
        let tok = write::Tok { n: 2, time_stamp, challenge: None, general_id, senders_id, elements };
        written(|o| write::reject(Kind::GatekeeperReject, seq, reason, Some(&tok), o))
    };
    let cookie = [(Element::N1, &n1.as_bytes()[..]), (Element::Ts, &octets[..]), (Element::Cookie, b"crumbs")];
    let denial = Reason::security_denial(Kind::GatekeeperReject);
    let clock = Reason::security_error(Kind::GatekeeperReject, 0);
    for (general_id, senders_id) in [("studio-4", IDSP), (IDC, "sp2.example.test")] {
        w.down(reject(denial, general_id, senders_id, &cookie));
        w.down(reject(clock, general_id, senders_id, &cookie[..2]));
    }
    assert!(w.terminal.poll_transmit().is_none() && w.terminal.poll_event().is_none());
    assert_eq!(w.terminal.tally().ignored, 5);
    // Its own is obeyed.
    w.down(reject(denial, IDC, IDSP, &cookie));
    let again = w.terminal.poll_transmit().unwrap().octets;
    assert_eq!(read(&again).token().unwrap().unwrap().get(Element::Cookie), Some(&b"crumbs"[..]));
    let s6 = s6_to(&mut w, &again);
    w.down(s6);
    w.settle();
    assert!(w.terminal.is_active(), "{:?}", w.events);
}

#[test]
fn a_registration_is_kept_by_lightweight_ones() {
    let mut w = World::registered();
    w.pass(44_000);
    assert!(w.inside.is_empty());
    let light = w.refresh(10_500);
    assert!(read(&light).keep_alive() && !read(&light).has_aliases() && read(&light).token().unwrap().is_none());
    assert_eq!(read(&light).time_to_live(), Some(TTL));
    // Repeated until it is answered, whatever it hears meanwhile.
    let rip = written(|o| write::request_in_progress(read(&light).seq(), 3_000, o));
    assert!(w.core(&rip).is_empty() && w.core(&granted(read(&light).seq() ^ 1, 40)).is_empty());
    w.pass(8_000);
    assert!(w.inside.len() >= 2 && w.inside.iter().all(|m| *m == light));
    w.inside.clear();
    assert!(w.core(&granted(read(&light).seq(), 40)).is_empty());
    assert!(w.events.contains(&Event::Refreshed { expires_s: 40 }), "{:?}", w.events);
    w.pass(29_000);
    assert!(w.inside.is_empty());
    let light = w.refresh(7_500);
    w.clear.clear();
    w.rejects(&light, Reason::DISCOVERY_REQUIRED);
    assert!(w.registers_anew());
    // And one that nobody answers.
    w.refresh(54_500);
    w.pass(15_500);
    assert!(w.registers_anew());
}

#[test]
fn admission_and_location_are_asked_for() {
    let mut w = World::registered();
    let id = w.ask(|t, now, rng| t.admission(now, rng, "bob"));
    let arq = w.one(Kind::AdmissionRequest);
    let msg = read(&arq);
    assert!(msg.aliases().any(|a| a.is(IDC)) && msg.destination().all(|a| a.is("bob")) && !msg.answer_call());
    // Nothing is called: what was admitted is over at once.
    let acf = written(|o| write::admission_confirm(msg.seq(), 1_280, addr(1720), o));
    let drq = w.core(&acf).remove(0);
    assert!(w.told(id, 200));
    assert_eq!(read(&drq).kind(), Kind::DisengageRequest);
    assert_eq!(read(&drq).conference_id(), msg.conference_id());
    assert_eq!(read(&drq).call_reference(), msg.call_reference());
    assert!(w.core(&written(|o| write::confirm(Kind::DisengageConfirm, read(&drq).seq(), o))).is_empty());
    w.pass(5_000);
    assert!(w.inside.is_empty(), "answered, so not repeated");
    let id = w.ask(|t, now, rng| t.locate(now, rng, "bob"));
    let lrq = w.one(Kind::LocationRequest);
    assert!(read(&lrq).destination().all(|a| a.is("bob")));
    w.core(&written(|o| write::location_confirm(read(&lrq).seq(), addr(1720), addr(1719), o)));
    assert!(w.told(id, 200));
    let id = w.ask(|t, now, rng| t.locate(now, rng, "nobody"));
    let lrq = w.one(Kind::LocationRequest);
    w.rejects(&lrq, Reason::REQUEST_DENIED);
    assert!(w.told(id, 404));
    for (reason, status, anew) in [
        (Reason::CALLED_PARTY_NOT_REGISTERED, 404, false),
        (Reason::security_denial(Kind::AdmissionReject), 403, false),
        (Reason::CALLER_NOT_REGISTERED, 403, true),
        (Reason::INVALID_ENDPOINT_IDENTIFIER, 403, true),
    ] {
        w.clear.clear();
        let id = w.ask(|t, now, rng| t.probe(now, rng));
        let arq = w.one(Kind::AdmissionRequest);
        w.rejects(&arq, reason);
        assert!(w.told(id, status), "{reason:?}: {:?}", w.events);
        assert_eq!(w.registers_anew(), anew, "{reason:?}");
    }
    let id = w.ask(|t, now, rng| t.probe(now, rng));
    let arq = w.one(Kind::AdmissionRequest);
    w.core(&written(|o| write::unknown_message_response(read(&arq).seq(), &arq, o)));
    assert!(w.told(id, 403));
    let id = w.ask(|t, now, rng| t.probe(now, rng));
    w.pass(16_000);
    assert!(w.told(id, 408) && kinds(&w.inside).iter().all(|k| *k == Kind::AdmissionRequest));
}

#[test]
fn what_a_gatekeeper_asks_is_answered() {
    let mut w = World::registered();
    let irr = w.core(&written(|o| write::info_request(900, 0, o))).remove(0);
    let msg = read(&irr);
    assert_eq!((msg.kind(), msg.seq(), msg.need_response()), (Kind::InfoRequestResponse, 900, false));
    assert!(msg.aliases().all(|a| a.is(IDC)) && msg.endpoint_id().unwrap().is(IDC));
    assert!(
        w.events.iter().any(|e| matches!(e, Event::Request { method, status: 200, .. } if method == "InfoRequest"))
    );
    let call = Call { conference: [1; 16], id: [2; 16], reference: 3 };
    let dcf = w.core(&written(|o| write::disengage_request(901, IDC, &call, o))).remove(0);
    assert_eq!((read(&dcf).kind(), read(&dcf).seq()), (Kind::DisengageConfirm, 901));
    // What is another registration's, and what no endpoint does.
    let other = w.core(&written(|o| write::unregistration_request(902, addr(1720), &[], Some("other"), o))).remove(0);
    assert_eq!(
        (read(&other).kind(), read(&other).reason()),
        (Kind::UnregistrationReject, Some(Reason::NOT_REGISTERED))
    );
    let arj = w.core(&written(|o| write::admission_request(903, "x", &[], &[], &call, false, 1, o))).remove(0);
    assert_eq!((read(&arj).kind(), read(&arj).seq()), (Kind::AdmissionReject, 903));
    let xrs = w.core(&[0x85, 0x04, 0x00, 0x00, 0x12, 0x66]).remove(0);
    assert_eq!((read(&xrs).kind(), read(&xrs).seq()), (Kind::UnknownMessageResponse, 4_711));
    let mut cut = written(|o| write::disengage_request(904, IDC, &call, o));
    cut.truncate(12);
    assert_eq!(read(&w.core(&cut)[0]).kind(), Kind::DisengageReject);
    for junk in [&b"\0"[..], b"hello", &[0xff; 40]] {
        assert!(w.core(junk).len() <= 1);
    }
    // Outside the session nothing is obeyed, and nobody is answered.
    w.clear.clear();
    w.down(written(|o| write::info_request(905, 0, o)));
    w.down(written(|o| write::unregistration_request(906, addr(1720), &[], Some(IDC), o)));
    w.down(granted(907, 60));
    w.settle();
    assert!(w.clear.is_empty() && w.inside.is_empty() && w.terminal.is_active());
}

#[test]
fn whoever_is_unregistered_registers_anew() {
    for (aliases, id) in [(&[][..], Some(IDC)), (&[IDC], None), (&[], None)] {
        let mut w = World::registered();
        w.clear.clear();
        let urq = written(|o| write::unregistration_request(900, addr(1720), aliases, id, o));
        let ucf = w.core(&urq).remove(0);
        assert_eq!((read(&ucf).kind(), read(&ucf).seq()), (Kind::UnregistrationConfirm, 900));
        assert!(w.registers_anew());
    }
}

#[test]
fn an_endpoint_leaves() {
    for answer in ["UCF", "URJ notCurrentlyRegistered", "nothing"] {
        let mut w = World::registered();
        assert!(w.terminal.deregister(w.now, &mut w.rng));
        let urq = w.one(Kind::UnregistrationRequest);
        assert!(read(&urq).aliases().all(|a| a.is(IDC)));
        match answer {
            "UCF" => {
                w.core(&written(|o| write::confirm(Kind::UnregistrationConfirm, read(&urq).seq(), o)));
            }
            "nothing" => w.pass(16_000),
            _ => {
                w.rejects(&urq, Reason::NOT_REGISTERED);
            }
        }
        assert!(w.events.contains(&Event::Deregistered) && !w.terminal.is_active(), "{answer}");
        w.inside.clear();
        w.pass(100_000);
        assert!(w.inside.is_empty(), "{answer}");
    }
    // It may be told to stay: callInProgress.
    let mut w = World::registered();
    assert!(w.terminal.deregister(w.now, &mut w.rng));
    let urq = w.one(Kind::UnregistrationRequest);
    w.rejects(&urq, Reason::Root(1));
    assert!(w.terminal.is_active() && w.events.iter().any(|e| matches!(e, Event::Response { status: 403, .. })));
}

/// endpointIdentifier is the one of the s10 that was verified, whatever came behind it.
#[test]
fn a_forged_confirmation_renames_nobody() {
    for provisional in [true, false] {
        let mut w = World::new();
        for _ in 0..2 {
            let octets = w.terminal.poll_transmit().unwrap().octets;
            w.on_clear(octets);
        }
        if !provisional {
            w.settle();
        }
        assert_eq!(w.terminal.is_active(), !provisional);
        let s10 = w.heard.pop().unwrap();
        let own: Vec<u8> = IDC.encode_utf16().flat_map(u16::to_be_bytes).collect();
        // Behind the alias.
        let places: Vec<_> = (0..s10.len() - own.len()).filter(|i| s10[*i..].starts_with(&own)).collect();
        let mut forged = s10;
        forged[places[1] + 1] ^= 1;
        assert!(!read(&forged).endpoint_id().unwrap().is(IDC) && read(&forged).aliases().all(|a| a.is(IDC)));
        w.down(forged);
        w.settle();
        w.ask(|t, now, rng| t.probe(now, rng));
        w.one(Kind::AdmissionRequest);
    }
}
