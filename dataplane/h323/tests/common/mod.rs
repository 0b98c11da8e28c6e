//! Every message of a registration and of a session, as the writers make them, with the real key schedule.
#![allow(dead_code, unreachable_pub)]

use portunus_h323::Ras;
use portunus_h323::carriage::{core, terminal};
use portunus_h323::view::{Kind, Message, Reason};
use portunus_h323::write::{self, Call, Confirmed, Endpoint, Registering};
use portunus_keydist::ident::{Idc, Idsp};
use portunus_keydist::steps::{Refusal, S1, S6};
use portunus_signalling::{Crossing, SessionRef, Signalling};
use std::net::SocketAddr;

pub use portunus_testkit::steps::*;
pub use portunus_testkit::wire::*;

pub const TTL: u32 = 3600;
pub const GRANTED: u32 = 1800;
pub const ENDPOINT_ID: &str = "4711_portunus";
pub const CALL: Call = Call { conference: [0xc0; 16], id: [0x1d; 16], reference: 17 };

/// Who and where.
#[derive(Debug, Clone, Copy)]
pub struct World {
    pub idc: Idc<'static>,
    pub aliases: &'static [&'static str],
    pub idsp: Idsp<'static>,
    pub terminal: SocketAddr,
    pub access: SocketAddr,
    pub lane: SocketAddr,
    pub shared: SocketAddr,
    pub gatekeeper: SocketAddr,
    pub local: SocketAddr,
}

impl World {
    pub fn v4() -> Self {
        Self {
            idc: Idc::new("studio-3").unwrap(),
            aliases: &["studio-3", "0123456789"],
            idsp: Idsp::new("sp1.example.test").unwrap(),
            terminal: address("203.0.113.7:40000"),
            access: address("192.0.2.1:1719"),
            lane: address("198.51.100.1:40001"),
            shared: address("198.51.100.1:40002"),
            gatekeeper: address("198.51.100.2:1719"),
            local: address("10.0.0.7:1719"),
        }
    }

    /// Other addresses, and an identity that no ASCII is.
    pub fn v6() -> Self {
        Self {
            idc: Idc::new("größe-𝄞").unwrap(),
            aliases: &["größe-𝄞"],
            idsp: Idsp::new("[2001:db8::1]:1719").unwrap(),
            terminal: address("[2001:db8::7]:40000"),
            access: address("[2001:db8::1]:1719"),
            lane: address("[2001:db8:1::1]:40001"),
            shared: address("[2001:db8:1::1]:40002"),
            gatekeeper: address("[2001:db8:1::2]:1719"),
            local: address("[2001:db8::7]:1719"),
        }
    }

    /// An identity of dialled digits.
    pub fn digits() -> Self {
        Self { idc: Idc::new("4989123#").unwrap(), aliases: &["4989123#"], ..Self::v4() }
    }

    pub fn all() -> [Self; 3] {
        [Self::v4(), Self::v6(), Self::digits()]
    }

    pub fn hop(&self) -> Hop<'static> {
        hop(self, self.access, self.lane, Transport::Udp)
    }

    pub fn endpoint(&self) -> Endpoint<'static> {
        let signal = SocketAddr::new(self.local.ip(), 1720);
        Endpoint { aliases: self.aliases, ras: self.local, signal, product: "portunus" }
    }

    pub fn session(&self) -> SessionRef<'static> {
        SessionRef { idc: self.idc, binding: b"", keyed: true, crossing: Crossing::OPEN }
    }

    pub fn up(&self, name: &'static str, octets: Vec<u8>) -> Sent {
        Sent { name, from: self.terminal, to: self.access, octets }
    }

    pub fn down(&self, name: &'static str, octets: Vec<u8>) -> Sent {
        Sent { name, from: self.access, to: self.terminal, octets }
    }

    pub fn coreward(&self, name: &'static str, octets: Vec<u8>) -> Sent {
        let from = if name.starts_with("s2") { self.shared } else { self.lane };
        Sent { name, from, to: self.gatekeeper, octets }
    }

    pub fn terminalward(&self, name: &'static str, octets: Vec<u8>) -> Sent {
        let to = if name == "s5" || name == "refusal of s2" { self.shared } else { self.lane };
        Sent { name, from: self.gatekeeper, to, octets }
    }
}

impl Party for World {
    const REPEATS: bool = true;

    fn idc(&self) -> Idc<'static> {
        self.idc
    }

    fn idsp(&self) -> Idsp<'static> {
        self.idsp
    }

    fn terminal(&self) -> SocketAddr {
        self.terminal
    }
}

pub fn confirmed(w: &World) -> Confirmed<'static> {
    let signal = SocketAddr::new(w.gatekeeper.ip(), 1720);
    Confirmed { signal, aliases: w.aliases, gatekeeper_id: "gk.example.test", endpoint_id: ENDPOINT_ID, ttl: GRANTED }
}

/// s1 to s10, in order.
pub fn ladder(w: &World) -> Vec<Sent> {
    let (hop, e) = (w.hop(), w.endpoint());
    let s1_msg = write(|o| terminal::write_s1(&e, 1, &s1(w), o));
    let s2_msg = write(|o| Ras.write_s2(&hop, &s1_msg, &s1(w), o));
    let asked = Message::parse(&s2_msg).unwrap();
    let s5_msg = write(|o| core::write_s5((asked.kind(), asked.seq()), w.idc, w.idsp, &n1a(), &RAND, o));
    let s6_msg = write(|o| Ras.write_s6(&hop, &s1_msg, &s5_msg, &s6(w), o));
    let s7_msg = write(|o| terminal::write_s7(&e, 2, TTL, &s7(w), o));
    let s8_msg = write(|o| Ras.write_s8(&hop, &s7_msg, &s7(w), &s8(w), o));
    let seq = Message::parse(&s8_msg).unwrap().seq();
    let s9_msg = write(|o| core::write_s9(seq, &confirmed(w), w.idc, w.idsp, &RAND, &s9(w), o));
    let s10_msg = signed(&Ras, &hop, (&s7_msg, &s9_msg), &s10(w));
    vec![
        w.up("s1", s1_msg),
        w.coreward("s2", s2_msg),
        w.terminalward("s5", s5_msg),
        w.down("s6", s6_msg),
        w.up("s7", s7_msg),
        w.coreward("s8", s8_msg),
        w.terminalward("s9", s9_msg),
        w.down("s10", s10_msg),
    ]
}

/// Every refusal of the proxy's, and those of the core.
pub fn all_refusals() -> [(&'static str, Refusal); 5] {
    [
        ("denied", Refusal::Denied),
        ("stale", Refusal::Stale { ts: NOW }),
        ("mechanism", Refusal::Mechanism),
        ("busy", Refusal::Busy { retry_after_s: 7 }),
        ("malformed", Refusal::Malformed),
    ]
}

/// Cookie, renewed challenge and refusals.
pub fn refusals(w: &World) -> Vec<Sent> {
    let (hop, steps) = (w.hop(), ladder(w));
    let (s1_msg, s7_msg, s8_msg) = (&steps[0].octets, &steps[4].octets, &steps[5].octets);
    let mut out = vec![w.down("cookie", write(|o| Ras.write_cookie(&hop, s1_msg, &n1a(), NOW, b"C00kie_-", o)))];
    for request in [s1_msg, s7_msg] {
        let n1 = if request == s1_msg { n1a() } else { n1b() };
        for (name, refusal) in all_refusals() {
            out.push(w.down(name, write(|o| Ras.write_refusal(&hop, request, &refusal, Some(&n1), o))));
        }
    }
    let asked = Message::parse(s8_msg).unwrap();
    let of = (asked.kind(), asked.seq());
    let again = write(|o| core::write_s5(of, w.idc, w.idsp, &n1a(), &[9; 16], o));
    let renewed = S6 { n1: n1b(), rand: [9; 16], ..s6(w) };
    out.push(w.down("s6 again", write(|o| Ras.write_s6(&hop, s7_msg, &again, &renewed, o))));
    out.push(w.terminalward("s5 again", again));
    for (name, refusal) in all_refusals() {
        let rand = core::Named::Rand(&RAND);
        let n1 = n1a();
        let early = core::Named::N1(&n1);
        out.push(w.terminalward(name, write(|o| core::write_refusal(of, w.idc, w.idsp, &rand, &refusal, o))));
        let of = (Kind::GatekeeperRequest, 77);
        out.push(
            w.terminalward("refusal of s2", write(|o| core::write_refusal(of, w.idc, w.idsp, &early, &refusal, o))),
        );
    }
    let again = S1 { cookie: Some(b"C00kie_-"), ..s1(w) };
    let again_msg = write(|o| terminal::write_s1(&w.endpoint(), 3, &again, o));
    out.push(w.coreward("s2 after a cookie", write(|o| Ras.write_s2(&hop, &again_msg, &again, o))));
    out.push(w.up("s1 with a cookie", again_msg));
    out
}

/// What follows inside the session, as the terminal says it.
pub fn from_terminal(w: &World) -> Vec<(&'static str, Vec<u8>)> {
    let (e, id) = (w.endpoint(), ENDPOINT_ID);
    let keep = Registering::KeepAlive { endpoint_id: id };
    vec![
        ("RRQ light", write(|o| write::registration_request(3, &e, TTL, &keep, o))),
        ("RRQ full", write(|o| write::registration_request(4, &e, TTL, &Registering::Full(None), o))),
        ("GRQ", write(|o| write::gatekeeper_request(5, &e, None, o))),
        ("IRR", write(|o| write::info_request_response(900, &e, id, false, o))),
        ("IRR unsolicited", write(|o| write::info_request_response(6, &e, id, true, o))),
        ("ARQ", write(|o| write::admission_request(7, id, w.aliases, &["bob"], &CALL, false, 640, o))),
        ("ARQ answer", write(|o| write::admission_request(8, id, &["bob"], &[], &CALL, true, 640, o))),
        ("BRQ", write(|o| write::bandwidth_request(12, id, &CALL, 1_280, o))),
        ("DRQ", write(|o| write::disengage_request(9, id, &CALL, o))),
        ("LRQ", write(|o| write::location_request(10, Some(id), &["bob", "12*#"], w.local, o))),
        ("UCF", write(|o| write::confirm(Kind::UnregistrationConfirm, 901, o))),
        ("XRS", write(|o| write::unknown_message_response(902, &[1, 2, 3], o))),
        ("URQ", write(|o| write::unregistration_request(11, e.signal, w.aliases, Some(id), o))),
    ]
}

/// And as the gatekeeper does.
pub fn from_gatekeeper(w: &World) -> Vec<(&'static str, Vec<u8>)> {
    let light = Confirmed { aliases: &[], ..confirmed(w) };
    let rejects = [
        ("GRJ", Kind::GatekeeperReject),
        ("RRJ", Kind::RegistrationReject),
        ("URJ", Kind::UnregistrationReject),
        ("ARJ", Kind::AdmissionReject),
        ("BRJ", Kind::BandwidthReject),
        ("DRJ", Kind::DisengageReject),
        ("LRJ", Kind::LocationReject),
    ];
    let mut out = vec![
        ("RIP", write(|o| write::request_in_progress(3, 2500, o))),
        ("RCF", write(|o| write::registration_confirm(3, &light, None, o))),
        ("RCF full", write(|o| write::registration_confirm(4, &confirmed(w), None, o))),
        ("GCF", write(|o| write::gatekeeper_confirm(5, "gk.example.test", w.gatekeeper, o))),
        ("IRQ", write(|o| write::info_request(900, 0, o))),
        ("IACK", write(|o| write::info_request_ack(6, o))),
        ("INAK", write(|o| write::info_request_nak(6, write::NakReason::NotRegistered, o))),
        ("BCF", write(|o| write::bandwidth_confirm(12, 1_280, o))),
        ("ACF", write(|o| write::admission_confirm(7, 640, w.terminal, o))),
        ("DCF", write(|o| write::confirm(Kind::DisengageConfirm, 9, o))),
        ("LCF", write(|o| write::location_confirm(10, w.terminal, w.gatekeeper, o))),
        ("URQ", write(|o| write::unregistration_request(901, w.terminal, &[], Some(ENDPOINT_ID), o))),
        ("UCF", write(|o| write::confirm(Kind::UnregistrationConfirm, 11, o))),
    ];
    for (name, kind) in rejects {
        for reason in [
            Reason::Root(1),
            Reason::security_denial(kind),
            Reason::security_error(kind, 3),
            Reason::resource_unavailable(kind),
            Reason::undefined(kind),
        ] {
            out.push((name, write(|o| write::reject(kind, 12, reason, None, o))));
        }
    }
    out
}

/// Both, on both sides of the proxy.
pub fn session(w: &World) -> Vec<Sent> {
    let mut out = Vec::new();
    for (name, msg) in from_terminal(w) {
        let up = write(|o| Ras.relay_up(&w.hop(), &w.session(), &msg, o).map(|_| ()));
        out.extend([w.up(name, msg), w.coreward(name, up)]);
    }
    for (name, msg) in from_gatekeeper(w) {
        let down = write(|o| Ras.relay_down(&w.hop(), &w.session(), &msg, o));
        out.extend([w.terminalward(name, msg), w.down(name, down)]);
    }
    out
}

/// Everything above.
pub fn everything(w: &World) -> Vec<Sent> {
    [ladder(w), refusals(w), session(w)].concat()
}
