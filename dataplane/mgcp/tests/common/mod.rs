//! Every message of a registration and of a session, as the writers make them, with the real key schedule.
#![allow(dead_code, unreachable_pub)]

use portunus_keydist::ident::{Idc, Idsp};
use portunus_keydist::steps::{Refusal, S1};
use portunus_mgcp::Mgcp;
use portunus_mgcp::carriage::core::{self, Txn};
use portunus_mgcp::carriage::terminal;
use portunus_mgcp::view::{Endpoint, Message};
use portunus_signalling::{Crossing, SessionRef, Signalling};
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
    /// Where s2 leaves from; s8 and the session leave from the lane.
    pub shared: SocketAddr,
    pub lane: SocketAddr,
    pub softswitch: SocketAddr,
    /// What the gateway registers: `*`, or an endpoint's local name.
    pub registers: &'static str,
}

impl World {
    pub fn v4() -> Self {
        Self {
            idc: Idc::new("gw1.example.test").unwrap(),
            idsp: Idsp::new("sp1.example.test").unwrap(),
            terminal: address("203.0.113.7:2427"),
            access: address("192.0.2.1:2727"),
            shared: address("198.51.100.1:2427"),
            lane: address("198.51.100.1:30001"),
            softswitch: address("198.51.100.2:2727"),
            registers: "*",
        }
    }

    pub fn v6() -> Self {
        Self {
            idc: Idc::new("[2001:db8::7]").unwrap(),
            terminal: address("[2001:db8::7]:2427"),
            access: address("[2001:db8::1]:2727"),
            shared: address("[2001:db8:1::1]:2427"),
            lane: address("[2001:db8:1::1]:30001"),
            softswitch: address("[2001:db8:1::2]:2727"),
            registers: "ds/e1-1/2",
            ..Self::v4()
        }
    }

    pub fn endpoint(&self) -> Endpoint<'static> {
        let local = if self.registers == "*" { "aaln/1" } else { self.registers };
        Endpoint { local: local.as_bytes(), domain: self.idc.as_bytes() }
    }

    pub fn hop(&self) -> Hop<'static> {
        hop(self, self.access, self.shared, Transport::Udp)
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

    pub fn coreward(&self, name: &'static str, from: SocketAddr, octets: Vec<u8>) -> Sent {
        Sent { name, from, to: self.softswitch, octets }
    }

    pub fn terminalward(&self, name: &'static str, to: SocketAddr, octets: Vec<u8>) -> Sent {
        Sent { name, from: self.softswitch, to, octets }
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

fn txn(w: &World, transaction: u32) -> Txn<'static> {
    Txn { transaction, endpoint: w.endpoint(), x: b"0123456789ab" }
}

/// s1 to s10 with the responses between them, in order. The steps themselves are at the even places.
pub fn ladder(w: &World) -> Vec<Sent> {
    let hop = w.hop();
    let s1_msg = write(|o| terminal::write_s1(1, w.registers, "restart", &s1(w), o));
    let s2_msg = write(|o| Mgcp.write_s2(&hop, &s1_msg, &s1(w), o));
    let s5_msg = write(|o| core::write_s5(&txn(w, 501), &s5(w), &n1a(), o));
    let s6_msg = write(|o| Mgcp.write_s6(&hop, &s1_msg, &s5_msg, &s6(w), o));
    let challenge = terminal::read(&s6_msg).unwrap().unwrap();
    let s7_msg = write(|o| terminal::write_s7(2, &challenge.endpoint, challenge.x, &s7(w), o));
    let s8_msg = write(|o| Mgcp.write_s8(&hop, &s7_msg, &s7(w), &s8(w), o));
    let s9_msg = write(|o| core::write_s9(&txn(w, 502), w.idsp, &RAND, &s9(w), o));
    let s10_msg = signed(&Mgcp, &hop, (&s7_msg, &s9_msg), &s10(w));
    let ok = |msg: &[u8]| {
        let transaction = Message::parse(msg).unwrap().transaction();
        put(|o| portunus_mgcp::write::response(200, transaction, o))
    };
    let ours = |msg: &[u8]| put(|o| Mgcp.acknowledge(&hop, msg, o));
    let cores = |msg: &[u8]| put(|o| Mgcp.acknowledge_core(&hop, msg, o));
    let (r1, r2, r5, r6) = (ours(&s1_msg), ok(&s2_msg), cores(&s5_msg), ok(&s6_msg));
    let (r7, r8, r9, r10) = (ours(&s7_msg), ok(&s8_msg), cores(&s9_msg), ok(&s10_msg));
    vec![
        w.up("s1", s1_msg),
        w.down("200 to s1", r1),
        w.coreward("s2", w.shared, s2_msg),
        w.terminalward("200 to s2", w.shared, r2),
        w.terminalward("s5", w.shared, s5_msg),
        w.coreward("200 to s5", w.shared, r5),
        w.down("s6", s6_msg),
        w.up("200 to s6", r6),
        w.up("s7", s7_msg),
        w.down("200 to s7", r7),
        w.coreward("s8", w.lane, s8_msg),
        w.terminalward("200 to s8", w.lane, r8),
        w.terminalward("s9", w.lane, s9_msg),
        w.coreward("200 to s9", w.lane, r9),
        w.down("s10", s10_msg),
        w.up("200 to s10", r10),
    ]
}

/// Cookie and refusals, of the proxy and of the core.
pub fn refusals(w: &World) -> Vec<Sent> {
    let hop = w.hop();
    let steps = ladder(w);
    let s1_msg = octets(&steps, "s1");
    let mut out = vec![w.down("cookie", write(|o| Mgcp.write_cookie(&hop, s1_msg, &n1a(), NOW, b"C00kie_-", o)))];
    let all = [
        ("denied", Refusal::Denied),
        ("stale", Refusal::Stale { ts: NOW }),
        ("mechanism", Refusal::Mechanism),
        ("busy", Refusal::Busy { retry_after_s: 4 }),
        ("malformed", Refusal::Malformed),
    ];
    for (name, refusal) in all {
        out.push(w.down(name, write(|o| Mgcp.write_refusal(&hop, s1_msg, &refusal, Some(&n1a()), o))));
    }
    let again = S1 { cookie: Some(b"C00kie_-"), ..s1(w) };
    let again_msg = write(|o| terminal::write_s1(3, w.registers, "disconnected", &again, o));
    let again_up = write(|o| Mgcp.write_s2(&hop, &again_msg, &again, o));
    out.push(w.coreward("s2 after a cookie", w.shared, again_up));
    out.push(w.up("s1 with a cookie", again_msg));
    let (early, late) = (Refusal::Busy { retry_after_s: 4 }, Refusal::Denied);
    let fail = |t, refusal, rand: Option<&[u8; 16]>| write(|o| core::write_fail(&txn(w, t), refusal, rand, &n1a(), o));
    out.push(w.terminalward("early fail", w.shared, fail(503, &early, None)));
    out.push(w.terminalward("late fail", w.lane, fail(504, &late, Some(&RAND))));
    out
}

/// What passes after the registration, both ways: name, direction, text.
pub fn traffic(w: &World) -> Vec<Sent> {
    let (idc, ep) = (w.idc.as_str(), String::from_utf8_lossy(w.endpoint().local).into_owned());
    let down = [
        ("audit of endpoints", format!("AUEP 7001 *@{idc} MGCP 1.0\r\n")),
        (
            "off-hook wanted",
            format!("RQNT 7002 {ep}@{idc} MGCP 1.0\r\nN: ca@ca1.example.test:2727\r\nX: 1\r\nR: L/hd(N)\r\n"),
        ),
        ("200 to NTFY", "200 31 OK\r\n".to_owned()),
        (
            "dial tone, piggy-backed",
            format!(
                "200 32 OK\r\n.\r\nRQNT 7003 {ep}@{idc} MGCP 1.0\r\nX: 2\r\nR: L/hu(N), D/[0-9#*](D)\r\nS: L/dl\r\nD: 5xxx\r\n"
            ),
        ),
        ("200 to forced restart", "200 33 OK\r\n".to_owned()),
        ("handshake", "000 7002\r\n".to_owned()),
    ];
    let up = [
        ("endpoints", format!("200 7001 OK\r\nZ: aaln/1@{idc}\r\nZ: aaln/2@{idc}\r\n")),
        ("200 to RQNT", "200 7002 OK\r\n".to_owned()),
        ("off-hook", format!("NTFY 31 {ep}@{idc} MGCP 1.0\r\nN: ca@ca1.example.test:2727\r\nX: 1\r\nO: L/hd\r\n")),
        ("provisional", "100 7003 In progress\r\n".to_owned()),
        ("graceful restart", format!("RSIP 34 aaln/2@{idc} MGCP 1.0\r\nRM: graceful\r\nRD: 300\r\n")),
        (
            "two events",
            format!(
                "NTFY 35 {ep}@{idc} MGCP 1.0\r\nX: 1\r\nO: L/hd\r\n.\r\nNTFY 36 aaln/2@{idc} MGCP 1.0\r\nX: 1\r\nO: L/hu\r\n"
            ),
        ),
        ("forced restart", format!("RSIP 33 *@{idc} MGCP 1.0\r\nRM: forced\r\n")),
    ];
    let mut out = Vec::new();
    for (name, text) in down {
        out.push(w.terminalward(name, w.lane, text.clone().into_bytes()));
        out.push(w.down(name, write(|o| Mgcp.relay_down(&w.hop(), &w.session(), text.as_bytes(), o))));
    }
    for (name, text) in up {
        out.push(w.up(name, text.clone().into_bytes()));
        let msg = write(|o| Mgcp.relay_up(&w.hop(), &w.session(), text.as_bytes(), o).map(|_| ()));
        out.push(w.coreward(name, w.lane, msg));
    }
    out
}

/// Everything above.
pub fn everything(w: &World) -> Vec<Sent> {
    [ladder(w), refusals(w), traffic(w)].concat()
}
