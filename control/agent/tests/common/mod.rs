//! An agent, a proxy without memory behind it, and a phone that is a script: no socket, no waiting.

// Each test binary uses its own part of this.
#![allow(dead_code, unreachable_pub)]

use core::net::SocketAddr;
use portunus_agent::{Agent, Config, Effect, Flow, Notice, PhoneConfig};
use portunus_codec::Writer;
use portunus_keydist::{Key, Now, SystemRandom};
use portunus_terminal::farend::{Core, FarEnd};
use portunus_terminal::sip::{MECHS, Profile, Transport};

pub const IDSP: &str = "sp1.example.test";
pub const REALM: &str = "example.test";
pub const ALICE: &str = "alice@example.test";
pub const BOB: &str = "bob@example.test";

pub fn addr(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

pub fn key_of(identity: &str) -> Key {
    let mut octets = [7u8; 32];
    octets.iter_mut().zip(identity.bytes()).for_each(|(o, b)| *o = b);
    Key::new(octets)
}

/// A phone's UDP flow from this port.
pub fn udp(port: u16) -> Flow {
    Flow { listener: 0, peer: addr(port), stream: None }
}

pub struct World {
    pub now: Now,
    pub rng: SystemRandom,
    pub far: FarEnd,
    pub agent: Agent,
    /// What phones were sent, and how.
    pub phones: Vec<(Flow, String)>,
    /// What came out of the channels at the proxy, registrations apart, and whose it was.
    pub proxy: Vec<(String, String)>,
    /// REGISTERs inside the channels.
    pub refreshed: usize,
    pub notices: Vec<(usize, Notice)>,
    /// False: nothing reaches the proxy.
    pub reachable: bool,
    /// Every octet that left towards the proxy.
    pub access: Vec<Vec<u8>>,
}

impl World {
    pub fn new() -> Self {
        Self::with_keys(&key_of)
    }

    /// The phones' keys are these, the core's are right.
    pub fn with_keys(key: &dyn Fn(&str) -> Key) -> Self {
        let mut rng = SystemRandom::new();
        let far = FarEnd::new(Core::new(REALM, Box::new(|id| Some(key_of(id)))), IDSP, 5065, true).unwrap();
        let mut profile = Profile::new(addr(5060), Transport::Udp, IDSP, REALM, MECHS).unwrap();
        profile.probe_ms = 15_000;
        let phone = |id: &str| PhoneConfig { id: id.into(), key: key(id), from: Vec::new() };
        let config = Config {
            profile,
            listeners: vec![addr(5160)],
            phones: vec![phone(ALICE), phone(BOB)],
            gateways: Vec::new(),
        };
        let agent = Agent::new(config, &[addr(10_000), addr(10_001)], &mut rng).unwrap();
        let now = Now { mono_ms: 1_000, wall_ms: 1_800_000_000_000 };
        Self {
            now,
            rng,
            far,
            agent,
            phones: Vec::new(),
            proxy: Vec::new(),
            refreshed: 0,
            notices: Vec::new(),
            reachable: true,
            access: Vec::new(),
        }
    }

    /// Carries messages until nobody has anything to say.
    pub fn settle(&mut self) {
        while let Some(effect) = self.agent.poll() {
            match effect {
                Effect::ToPhone { flow, octets } => self.phones.push((flow, String::from_utf8(octets).unwrap())),
                Effect::Tell { phone, notice } => self.notices.push((phone, notice)),
                // Nobody offers `tls` here.
                Effect::Connect { .. } => panic!("a connection is wanted"),
                Effect::HangUp { .. } => {}
                Effect::ToProxy { phone, to, octets, .. } => {
                    self.access.push(octets.clone());
                    if self.reachable {
                        self.carry_up(phone, to, octets);
                    }
                }
            }
        }
    }

    fn carry_up(&mut self, phone: usize, to: SocketAddr, mut octets: Vec<u8>) {
        let from = addr(10_000 + phone as u16);
        if to == addr(5060) {
            let mut room = [0u8; 4096];
            let mut w = Writer::new(&mut room);
            if self.far.on_terminal(self.now, from, &octets, &mut w).is_some() {
                let mut answer = w.written().to_vec();
                self.agent.on_proxy(self.now, &mut self.rng, phone, to, &mut answer);
            }
            return;
        }
        let Some(inside) = self.far.open(from, &mut octets) else { return };
        let text = String::from_utf8(inside.text.clone()).unwrap();
        if text.starts_with("REGISTER") {
            self.refreshed += 1;
            let answer = self.far.answer_inside(&inside.text).unwrap();
            self.down(phone, &inside.idc, &answer);
        } else if text.is_empty() {
            self.down(phone, &inside.idc, b"");
        } else {
            self.proxy.push((inside.idc, text));
        }
    }

    fn down(&mut self, phone: usize, idc: &str, text: &[u8]) {
        let (_, mut sealed) = self.far.seal(idc, text).unwrap();
        self.agent.on_proxy(self.now, &mut self.rng, phone, addr(5065), &mut sealed);
    }

    /// The proxy says something in the channel of phone `n`.
    pub fn say(&mut self, n: usize, text: &str) {
        let idc = [ALICE, BOB][n];
        self.down(n, idc, text.as_bytes());
        self.settle();
    }

    /// A phone says something; what it was answered with since.
    pub fn phone(&mut self, flow: Flow, text: &str) -> Vec<String> {
        let before = self.phones.len();
        self.agent.on_phone(self.now, &mut self.rng, flow, text.as_bytes());
        self.settle();
        self.phones[before..].iter().map(|(_, text)| text.clone()).collect()
    }

    /// Moves the clock from deadline to deadline until `ms` have passed.
    pub fn pass(&mut self, ms: u64) {
        let end = self.now.mono_ms + ms;
        loop {
            self.settle();
            let at = self.agent.next_deadline().unwrap_or(u64::MAX).max(self.now.mono_ms + 1).min(end);
            self.now = Now { mono_ms: at, wall_ms: self.now.wall_ms + at - self.now.mono_ms };
            self.agent.on_timer(self.now, &mut self.rng);
            self.settle();
            if self.now.mono_ms >= end {
                return;
            }
        }
    }

    /// Alice's phone at port 5061 registers, and is registered.
    pub fn registered() -> Self {
        let mut w = Self::new();
        let answers = w.phone(udp(5061), &register("alice", 5061, 1, 600));
        assert!(answers.last().is_some_and(|a| status(a) == 200), "{answers:?}");
        w
    }
}

pub fn status(text: &str) -> u16 {
    text.strip_prefix("SIP/2.0 ").and_then(|t| t.get(..3)).and_then(|t| t.parse().ok()).unwrap_or(0)
}

/// The values of a header, in order.
pub fn values<'t>(text: &'t str, name: &str) -> Vec<&'t str> {
    let of = |l: &'t str| l.split_once(": ").filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v);
    text.lines().take_while(|l| !l.is_empty()).filter_map(of).collect()
}

pub fn register(user: &str, port: u16, cseq: u32, expires: u32) -> String {
    format!(
        "REGISTER sip:example.test SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:{port};branch=z9hG4bKr{user}{cseq};rport\r\n\
         Max-Forwards: 70\r\nFrom: <sip:{user}@example.test>;tag=f\r\nTo: <sip:{user}@example.test>\r\n\
         Call-ID: reg-{user}\r\nCSeq: {cseq} REGISTER\r\nContact: <sip:{user}-0x5a@127.0.0.1:{port}>\r\n\
         Expires: {expires}\r\nContent-Length: 0\r\n\r\n"
    )
}

/// A request of alice's phone to bob, with what her phone would put in.
pub fn from_alice(method: &str, via: &str, more: &str) -> String {
    format!(
        "{method} sip:bob@example.test SIP/2.0\r\nVia: {via}\r\nMax-Forwards: 70\r\n\
         From: <sip:alice@example.test>;tag=fa\r\nTo: <sip:bob@example.test>\r\nCall-ID: c1\r\nCSeq: 7 {method}\r\n\
         Contact: <sip:alice-0x5a@127.0.0.1:5061>\r\n{more}Content-Length: 0\r\n\r\n"
    )
}

/// A response to a request as it arrived.
pub fn respond(request: &str, code: u16, more: &str) -> String {
    let mut out = format!("SIP/2.0 {code} Said\r\n");
    for name in ["Via", "Record-Route", "From", "To", "Call-ID", "CSeq"] {
        for value in values(request, name) {
            let tag = if name == "To" && !value.contains("tag=") { ";tag=tb" } else { "" };
            out += &format!("{name}: {value}{tag}\r\n");
        }
    }
    out + more + "Content-Length: 0\r\n\r\n"
}
