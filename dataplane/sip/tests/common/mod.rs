//! Every message of a registration and of a session, as the writers make them, with the real key schedule.
#![allow(dead_code, unreachable_pub)]

use portunus_keydist::ident::{Idc, Idsp};
use portunus_keydist::steps::{Refusal, S1};
use portunus_signalling::{Crossing, SessionRef, Signalling};
use portunus_sip::Sip;
use portunus_sip::carriage::core::{self, Granted};
use portunus_sip::carriage::terminal::{self, Agent, Plain, StockAnswer, Txn};
use portunus_sip::view::{Message, Name};
use std::net::SocketAddr;

pub use portunus_testkit::steps::*;
pub use portunus_testkit::wire::*;

/// Who and where.
#[derive(Debug, Clone, Copy)]
pub struct World {
    pub idc: Idc<'static>,
    pub idsp: Idsp<'static>,
    pub terminal: SocketAddr,
    pub access: SocketAddr,
    pub core: SocketAddr,
    pub softswitch: SocketAddr,
    pub transport: Transport,
    pub contact: &'static str,
}

impl World {
    pub fn v4() -> Self {
        Self {
            idc: Idc::new("alice@example.test").unwrap(),
            idsp: Idsp::new("sp1.example.test").unwrap(),
            terminal: address("203.0.113.7:40000"),
            access: address("192.0.2.1:5060"),
            core: address("198.51.100.1:5060"),
            softswitch: address("198.51.100.2:5060"),
            transport: Transport::Udp,
            contact: "sip:alice@10.0.0.7:40000",
        }
    }

    pub fn v6() -> Self {
        Self {
            idc: Idc::new("größe+1@example.test").unwrap(),
            terminal: address("[2001:db8::7]:40000"),
            access: address("[2001:db8::1]:5060"),
            core: address("[2001:db8:1::1]:5060"),
            softswitch: address("[2001:db8:1::2]:5060"),
            contact: "sip:g@[2001:db8::7]:40000",
            ..Self::v4()
        }
    }

    pub fn hop(&self) -> Hop<'static> {
        hop(self, self.access, self.core, self.transport)
    }

    pub fn agent(&self) -> Agent<'static> {
        // Behind a NAT, where the address is IPv4: what it writes is not where it comes from.
        let local = if self.terminal.is_ipv4() { address("10.0.0.7:40000") } else { self.terminal };
        Agent {
            idc: self.idc,
            realm: "example.test",
            registrar: "sip:example.test",
            local,
            transport: self.transport,
            contact: self.contact,
            call_id: "a84b4c76e66710@10.0.0.7",
            from_tag: "1928301774",
        }
    }

    pub fn session(&self) -> SessionRef<'static> {
        SessionRef { idc: self.idc, binding: self.contact.as_bytes(), keyed: true, crossing: Crossing::OPEN }
    }

    pub fn up(&self, name: &'static str, octets: Vec<u8>) -> Sent {
        Sent { name, from: self.terminal, to: self.access, octets }
    }

    pub fn down(&self, name: &'static str, octets: Vec<u8>) -> Sent {
        Sent { name, from: self.access, to: self.terminal, octets }
    }

    pub fn coreward(&self, name: &'static str, octets: Vec<u8>) -> Sent {
        Sent { name, from: self.core, to: self.softswitch, octets }
    }

    pub fn terminalward(&self, name: &'static str, octets: Vec<u8>) -> Sent {
        Sent { name, from: self.softswitch, to: self.core, octets }
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

/// s1 to s10, in order.
pub fn ladder(w: &World) -> Vec<Sent> {
    let (hop, agent) = (w.hop(), w.agent());
    let first = Txn { cseq: 1, branch: "z9hG4bK776asdhds" };
    let second = Txn { cseq: 2, branch: "z9hG4bK776asdhdt" };
    let s1_msg = write(|o| terminal::write_s1(&agent, &first, 3600, &s1(w), o));
    let s2_msg = write(|o| Sip.write_s2(&hop, &s1_msg, &s1(w), o));
    let s2_view = Message::parse(&s2_msg).unwrap();
    let s5_msg = write(|o| core::write_s5(&s2_view, "ss1", "example.test", w.idsp, &RAND, o));
    let s6_msg = write(|o| Sip.write_s6(&hop, &s1_msg, &s5_msg, &s6(w), o));
    let s7_msg = write(|o| terminal::write_s7(&agent, &second, 3600, &s7(w), o));
    let s8_msg = write(|o| Sip.write_s8(&hop, &s7_msg, &s7(w), &s8(w), o));
    let s8_view = Message::parse(&s8_msg).unwrap();
    let bound = s8_view.contacts().next().unwrap();
    let granted = [Granted { uri: bound.uri, expires: 1800 }];
    let s9_msg = write(|o| core::write_s9(&s8_view, "ss2", &s9(w), &granted, o));
    let s10_msg = signed(&Sip, &hop, (&s7_msg, &s9_msg), &s10(w));
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

/// Cookie and refusals.
pub fn refusals(w: &World) -> Vec<Sent> {
    let hop = w.hop();
    let steps = ladder(w);
    let s1_msg = &steps[0].octets;
    let mut out = vec![w.down("cookie", write(|o| Sip.write_cookie(&hop, s1_msg, &n1a(), NOW, b"C00kie_-", o)))];
    let all = [
        ("denied", Refusal::Denied),
        ("stale", Refusal::Stale { ts: NOW }),
        ("mechanism", Refusal::Mechanism),
        ("busy", Refusal::Busy { retry_after_s: 7 }),
        ("malformed", Refusal::Malformed),
    ];
    for (name, refusal) in all {
        out.push(w.down(name, write(|o| Sip.write_refusal(&hop, s1_msg, &refusal, Some(&n1a()), o))));
    }
    let again = S1 { cookie: Some(b"C00kie_-"), ..s1(w) };
    let txn = Txn { cseq: 3, branch: "z9hG4bK776asdhdu" };
    let again_msg = write(|o| terminal::write_s1(&w.agent(), &txn, 3600, &again, o));
    out.push(w.coreward("s2 after a cookie", write(|o| Sip.write_s2(&hop, &again_msg, &again, o))));
    out.push(w.up("s1 with a cookie", again_msg));
    out
}

/// Refresh and de-registration inside the session.
pub fn refreshes(w: &World) -> Vec<Sent> {
    let mut out = Vec::new();
    for (seconds, name) in [(3600, "refresh"), (0, "de-registration")] {
        let txn = Txn { cseq: 9, branch: "z9hG4bKrefresh" };
        let msg = write(|o| terminal::write_register(&w.agent(), &txn, seconds, o));
        let up = write(|o| Sip.relay_up(&w.hop(), &w.session(), &msg, o).map(|_| ()));
        let view = Message::parse(&up).unwrap();
        let uri = view.contacts().next().unwrap().uri;
        let bound = [Granted { uri, expires: 1200 }];
        let granted = if seconds == 0 { &[][..] } else { &bound };
        let answer = write(|o| core::write_granted(&view, "ss3", granted, o));
        let down = write(|o| Sip.relay_down(&w.hop(), &w.session(), &answer, o));
        out.push(w.up(name, msg));
        out.push(w.coreward(name, up));
        out.push(w.terminalward(name, answer));
        out.push(w.down(name, down));
    }
    out
}

/// A stock phone's registration, both rounds.
pub fn stock(w: &World) -> Vec<Sent> {
    let (hop, mut out) = (w.hop(), Vec::new());
    let answer = StockAnswer { nonce: "MDEyMzQ1Njc4OWFiY2RlZg", response: &"5e".repeat(32), algorithm: "SHA-256" };
    for (cseq, answer) in [(1, None), (2, Some(&answer))] {
        let txn = Txn { cseq, branch: "z9hG4bKstock" };
        let msg = write(|o| terminal::write_stock_register(&w.agent(), &txn, 600, answer, o));
        let up = write(|o| Sip.write_digest(&hop, &msg, w.idc, o));
        let view = Message::parse(&up).unwrap();
        let uri = view.contacts().next().unwrap().uri;
        let reply = match answer {
            None => write(|o| core::write_digest_challenge(&view, "ss4", "example.test", &RAND, "SHA-256", o)),
            Some(_) => write(|o| core::write_granted(&view, "ss4", &[Granted { uri, expires: 300 }], o)),
        };
        let session = SessionRef { keyed: false, ..w.session() };
        let down = write(|o| Sip.relay_down(&hop, &session, &reply, o));
        out.push(w.up("stock phone", msg));
        out.push(w.coreward("stock phone", up));
        out.push(w.terminalward("stock phone", reply));
        out.push(w.down("stock phone", down));
    }
    out
}

/// A call from this terminal through the softswitch back to it: INVITE up, core, down; 200 all the way back; ACK.
pub fn call(w: &World) -> Vec<Sent> {
    let (hop, session) = (w.hop(), w.session());
    let sdp = (
        "application/sdp",
        &b"v=0\r\no=- 1 1 IN IP4 10.0.0.7\r\ns=-\r\nc=IN IP4 10.0.0.7\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n"[..],
    );
    let plain = Plain {
        method: "INVITE",
        uri: "sip:bob@example.test",
        from: w.idc,
        from_tag: "88sja8x",
        to_uri: "sip:bob@example.test",
        to_tag: None,
        call_id: "987asjd97y7atg",
        txn: Txn { cseq: 986759, branch: "z9hG4bKnashds8" },
        local: w.agent().local,
        transport: w.transport,
        contact: Some(w.contact),
        route: None,
        body: Some(sdp),
    };
    let invite = write(|o| terminal::write_request(&plain, o));
    let up = write(|o| Sip.relay_up(&hop, &session, &invite, o).map(|_| ()));
    // The softswitch finds the callee at this same proxy and terminal: Path and Contact of its registration.
    let steps = ladder(w);
    let s8_view = Message::parse(&steps[5].octets).unwrap();
    let path = s8_view.value(Name::Path).unwrap();
    let contact = s8_view.contacts().next().unwrap();
    let via = format!("SIP/2.0/UDP {};branch=z9hG4bKss.1", w.softswitch);
    let forward = core::Forward {
        uri: Some(contact.uri),
        via: via.as_bytes(),
        source: w.core,
        route: Some(path),
        pop_routes: 0,
        record_route: None,
        asserted: None,
    };
    let onward = write(|o| core::forward_request(&Message::parse(&up).unwrap(), &forward, o));
    let down = write(|o| Sip.relay_down(&hop, &session, &onward, o));
    let callee = Message::parse(&down).unwrap();
    let ok = write(|o| terminal::write_response(&callee, 200, "OK", "314159", Some(w.contact), Some(sdp), o));
    let ok_up = write(|o| Sip.relay_up(&hop, &session, &ok, o).map(|_| ()));
    let ok_on = write(|o| core::forward_response(&Message::parse(&ok_up).unwrap(), o));
    let ok_down = write(|o| Sip.relay_down(&hop, &session, &ok_on, o));
    let answered = Message::parse(&ok_down).unwrap();
    let routes: Vec<_> = answered.items(Name::RecordRoute).map(|r| std::str::from_utf8(r).unwrap()).collect();
    let route = routes.iter().rev().copied().collect::<Vec<_>>().join(", ");
    let ack = Plain {
        method: "ACK",
        uri: w.contact,
        to_tag: Some("314159"),
        txn: Txn { cseq: 986759, branch: "z9hG4bKnashds9" },
        route: Some(&route),
        contact: None,
        body: None,
        ..plain
    };
    let ack_msg = write(|o| terminal::write_request(&ack, o));
    let ack_up = write(|o| Sip.relay_up(&hop, &session, &ack_msg, o).map(|_| ()));
    let ack_down = write(|o| Sip.relay_down(&hop, &session, &ack_up, o));
    vec![
        w.up("INVITE", invite),
        w.coreward("INVITE", up),
        w.terminalward("INVITE", onward),
        w.down("INVITE", down),
        w.up("200", ok),
        w.coreward("200", ok_up),
        w.terminalward("200", ok_on),
        w.down("200", ok_down),
        w.up("ACK", ack_msg),
        w.coreward("ACK", ack_up),
        w.down("ACK", ack_down),
    ]
}

/// Everything above.
pub fn everything(w: &World) -> Vec<Sent> {
    [ladder(w), refusals(w), refreshes(w), stock(w), call(w)].concat()
}
