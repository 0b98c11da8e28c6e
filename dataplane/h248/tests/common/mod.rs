//! Every message of a registration and of a session, as the writers make them, with the real key schedule.
#![allow(dead_code, unreachable_pub)]

use portunus_h248::H248;
use portunus_h248::carriage::message::{self, Sender};
use portunus_h248::carriage::{core, terminal};
use portunus_keydist::ident::{Idc, Idsp};
use portunus_keydist::steps::{Refusal, S1, S10};
use portunus_signalling::{Crossing, SessionRef, Signalling};
use std::net::SocketAddr;

pub use portunus_testkit::steps::*;
pub use portunus_testkit::wire::*;

/// Who and where.
#[derive(Debug, Clone, Copy)]
pub struct World {
    pub idc: Idc<'static>,
    pub idsp: Idsp<'static>,
    pub version: u8,
    pub terminal: SocketAddr,
    pub access: SocketAddr,
    pub core: SocketAddr,
    pub softswitch: SocketAddr,
}

impl World {
    pub fn v4() -> Self {
        Self {
            idc: Idc::new("gw1.example.test").unwrap(),
            idsp: Idsp::new("sp1.example.test").unwrap(),
            version: 2,
            terminal: address("203.0.113.7:2944"),
            access: address("192.0.2.1:2944"),
            core: address("198.51.100.1:40000"),
            softswitch: address("198.51.100.2:2944"),
        }
    }

    /// An address for its identifier, and a proxy whose name is no domain name.
    pub fn v6() -> Self {
        Self {
            idc: Idc::new("[2001:db8::7]:2944").unwrap(),
            idsp: Idsp::new("[2001:db8::1]:2944").unwrap(),
            version: 3,
            terminal: address("[2001:db8::7]:2944"),
            access: address("[2001:db8::1]:2944"),
            core: address("[2001:db8:1::1]:40000"),
            softswitch: address("[2001:db8:1::2]:2944"),
        }
    }

    /// A device name for its identifier.
    pub fn device() -> Self {
        Self { idc: Idc::new("gw1/rack_2@example.test").unwrap(), version: 1, ..Self::v4() }
    }

    pub fn all() -> [Self; 3] {
        [Self::v4(), Self::v6(), Self::device()]
    }

    pub fn hop(&self) -> Hop<'static> {
        hop(self, self.access, self.core, Transport::Udp)
    }

    pub fn gateway(&self) -> Sender<'static> {
        Sender { idc: self.idc, version: self.version }
    }

    pub fn controller(&self) -> Sender<'static> {
        Sender { idc: Idc::new("ss1.example.test").unwrap(), version: self.version }
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
        Sent { name, from: self.core, to: self.softswitch, octets }
    }

    pub fn terminalward(&self, name: &'static str, octets: Vec<u8>) -> Sent {
        Sent { name, from: self.softswitch, to: self.core, octets }
    }
}

impl Party for World {
    const REPEATS: bool = false;

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

/// s10 with its MAC.
pub fn s10_msg(w: &World, s7_msg: &[u8], s9_msg: &[u8], s10: &S10<'_>) -> Vec<u8> {
    signed(&H248, &w.hop(), (s7_msg, s9_msg), s10)
}

/// s1 to s10 with the replies to each, in order.
pub fn ladder(w: &World) -> Vec<Sent> {
    let (hop, gateway, controller) = (w.hop(), w.gateway(), w.controller());
    let s1_msg = write(|o| terminal::write_s1(&gateway, 1, &s1(w), o));
    let s1_reply = put(|o| H248.acknowledge(&hop, &s1_msg, o));
    let s2_msg = write(|o| H248.write_s2(&hop, &s1_msg, &s1(w), o));
    let s2_id = H248.transaction(&s2_msg).unwrap();
    let s2_reply = write(|o| message::write_reply(&controller, s2_id, "C=-{SC=ROOT{SV{V=2}}}", o));
    let s5_msg = write(|o| core::write_s5(&controller, 7001, &s5(w), &n1a(), o));
    let s5_reply = put(|o| H248.acknowledge_core(&hop, &s5_msg, o));
    let s6_msg = write(|o| H248.write_s6(&hop, &s1_msg, &s5_msg, &s6(w), o));
    let s6_id = H248.transaction(&s6_msg).unwrap();
    let s6_reply = write(|o| terminal::write_step_reply(&gateway, s6_id, o));
    let s7_msg = write(|o| terminal::write_s7(&gateway, 2, &s7(w), o));
    let s7_reply = put(|o| H248.acknowledge(&hop, &s7_msg, o));
    let s8_msg = write(|o| H248.write_s8(&hop, &s7_msg, &s7(w), &s8(w), o));
    let s8_id = H248.transaction(&s8_msg).unwrap();
    let s8_reply = write(|o| message::write_reply(&controller, s8_id, "C=-{N=ROOT}", o));
    let s9_msg = write(|o| core::write_s9(&controller, 7002, w.idsp, &RAND, &s9(w), o));
    let s9_reply = put(|o| H248.acknowledge_core(&hop, &s9_msg, o));
    let s10_msg = s10_msg(w, &s7_msg, &s9_msg, &s10(w));
    let s10_id = H248.transaction(&s10_msg).unwrap();
    let s10_reply = write(|o| terminal::write_step_reply(&gateway, s10_id, o));
    vec![
        w.up("s1", s1_msg),
        w.down("reply to s1", s1_reply),
        w.coreward("s2", s2_msg),
        w.terminalward("reply to s2", s2_reply),
        w.terminalward("s5", s5_msg),
        w.coreward("reply to s5", s5_reply),
        w.down("s6", s6_msg),
        w.up("reply to s6", s6_reply),
        w.up("s7", s7_msg),
        w.down("reply to s7", s7_reply),
        w.coreward("s8", s8_msg),
        w.terminalward("reply to s8", s8_reply),
        w.terminalward("s9", s9_msg),
        w.coreward("reply to s9", s9_reply),
        w.down("s10", s10_msg),
        w.up("reply to s10", s10_reply),
    ]
}

/// Cookie and refusals, the proxy's and the core's.
pub fn refusals(w: &World) -> Vec<Sent> {
    let (hop, gateway, controller) = (w.hop(), w.gateway(), w.controller());
    let s1_msg = write(|o| terminal::write_s1(&gateway, 1, &s1(w), o));
    let mut out = vec![w.down("cookie", write(|o| H248.write_cookie(&hop, &s1_msg, &n1a(), NOW, b"C00kie_-", o)))];
    let all = [
        ("denied", Refusal::Denied),
        ("stale", Refusal::Stale { ts: NOW }),
        ("mechanism", Refusal::Mechanism),
        ("busy", Refusal::Busy { retry_after_s: 7 }),
        ("malformed", Refusal::Malformed),
    ];
    for (name, refusal) in all {
        out.push(w.down(name, write(|o| H248.write_refusal(&hop, &s1_msg, &refusal, Some(&n1a()), o))));
    }
    for (name, rand) in [("refusal of s8", Some(&RAND)), ("refusal of s2", None)] {
        let refusal = Refusal::Denied;
        let msg = write(|o| core::write_refusal(&controller, 7003, &refusal, rand, &n1a(), o));
        out.push(w.coreward("reply to a refusal", put(|o| H248.acknowledge_core(&hop, &msg, o))));
        out.push(w.terminalward(name, msg));
    }
    let again = S1 { cookie: Some(b"C00kie_-"), ..s1(w) };
    let again_msg = write(|o| terminal::write_s1(&gateway, 3, &again, o));
    out.push(w.coreward("s2 after a cookie", write(|o| H248.write_s2(&hop, &again_msg, &again, o))));
    out.push(w.up("s1 with a cookie", again_msg));
    let plain = write(|o| message::write_request(&gateway, 4, "C=-{N=A4444{OE=1{al/of}}}", o));
    out.push(w.down("402", write(|o| H248.write_refusal(&hop, &plain, &Refusal::Denied, None, o))));
    out.push(
        w.terminalward("busy core", write(|o| message::write_error(&controller, 5, 503, "Service unavailable", o))),
    );
    out.push(w.down("message error", write(|o| message::write_message_error(&controller, 400, "Syntax error", o))));
    out.push(w.down("pending", write(|o| message::write_pending(&controller, 5, o))));
    out.push(w.up("acknowledgement", write(|o| message::write_ack(&gateway, 5, o))));
    out
}

/// What gateway and controller say in a session: up as the gateway's `true` ones, with what the proxy makes of each.
pub fn session(w: &World) -> Vec<Sent> {
    let (hop, gateway, controller, mut out) = (w.hop(), w.gateway(), w.controller(), Vec::new());
    let downward = [
        ("audit", "C=-{W-AV=*{AT{PG}}}"),
        ("audit of ROOT", "C=-{AV=ROOT{AT{}}}"),
        ("off-hook request", "C=-{MF=A4444{E=2222{al/of{strict=\"state\"}}}}"),
        ("dial tone", "C=-{MF=A4444{SG{cg/dt},E=2223{al/on,dd/ce{DM=dialplan0}},DM=dialplan0{(0|00|[1-7]xxx)}}}"),
        ("inactivity", "C=-{MF=ROOT{E=9{it/ito{mit=\"6000\"}}}}"),
        ("handoff", "C=-{SC=ROOT{SV{MT=HO,RE=\"903 MGC Directed Change\",MG=<ss2.example.test>}}}"),
    ];
    for (i, (name, actions)) in downward.into_iter().enumerate() {
        let msg = write(|o| message::write_request(&controller, 8000 + i as u32, actions, o));
        let down = write(|o| H248.relay_down(&hop, &w.session(), &msg, o));
        out.push(w.terminalward(name, msg));
        out.push(w.down(name, down));
    }
    let upward = [
        ("off-hook", "C=-{N=A4444{OE=2222{20261124T03500000:al/of{init=\"OFF\"}}}}"),
        ("inactive", "C=-{N=ROOT{OE=9{it/ito}}}"),
        ("restart", "C=-{SC=ROOT{SV{MT=RS,RE=\"901 Cold Boot\",V=2}}}"),
        ("disconnected", "C=-{SC=ROOT{SV{MT=DC,RE=\"900 Service Restored\"}}}"),
        ("graceful", "C=-{SC=ROOT{SV{MT=GR,RE=\"904 Termination malfunctioning\",DL=300}}}"),
        ("termination", "C=-{SC=A4444{SV{MT=FO,RE=\"904 Termination malfunctioning\"}}}"),
        ("forced", "C=-{SC=ROOT{SV{MT=FO,RE=\"905 Termination taken out of service\",AD=2945}}}"),
    ];
    for (i, (name, actions)) in upward.into_iter().enumerate() {
        let msg = write(|o| message::write_request(&gateway, 100 + i as u32, actions, o));
        let up = write(|o| H248.relay_up(&hop, &w.session(), &msg, o).map(|_| ()));
        out.push(w.up(name, msg));
        out.push(w.coreward(name, up));
    }
    let replies = [
        ("audit reply", "C=-{AV=A4444{PG{al-1,cg-1,dd-1}},AV=A4445{PG{al-1,cg-1}}}"),
        ("media", "C=-{AV=A4444{M{TS{SI=IV,BF=OFF},ST=1{O{MO=SR,RV=OFF,RG=OFF,nt/jit=\"40\"}}},E=2222{al/of}}}"),
        ("modified", "C=-{MF=A4444}"),
        ("unknown", "C=-{MF=A9999{ER=430{\"Unknown TerminationID\"}}}"),
    ];
    for (name, actions) in replies {
        let msg = write(|o| message::write_reply(&gateway, 8000, actions, o));
        let up = write(|o| H248.relay_up(&hop, &w.session(), &msg, o).map(|_| ()));
        out.push(w.up(name, msg));
        out.push(w.coreward(name, up));
    }
    let answers = [
        ("notified", "C=-{N=A4444}"),
        ("granted", "C=-{SC=ROOT{SV{V=2}}}"),
        ("redirected", "C=-{SC=ROOT{SV{MG=<ss2.example.test>:2945}}}"),
        ("addressed", "C=-{SC=ROOT{SV{AD=[198.51.100.2]:2945,V=2}}}"),
    ];
    for (name, actions) in answers {
        let msg = write(|o| message::write_reply(&controller, 100, actions, o));
        let down = write(|o| H248.relay_down(&hop, &w.session(), &msg, o));
        out.push(w.terminalward(name, msg));
        out.push(w.down(name, down));
    }
    out
}

/// Everything above.
pub fn everything(w: &World) -> Vec<Sent> {
    [ladder(w), refusals(w), session(w)].concat()
}
