//! A softswitch with a proxy's messages before it and an AuC's answers behind it.
#![allow(dead_code, unreachable_pub)]

use core::net::SocketAddr;
use portunus_aaa::{AaaAnswer, AaaRequest, Account, Unreachable};
use portunus_keydist::steps::S4;
use portunus_keydist::{Now, Random};
use portunus_signalling::Protocol;
use portunus_softswitch::{AskId, Config, Effect, Peer, PeerConfig, Softswitch};

pub const SP1: &str = "192.0.2.1:5060";
pub const SP2: &str = "192.0.2.2:5060";
pub const OWN: &str = "192.0.2.100:5060";

/// A small seeded generator, so that a test does the same every time.
pub struct Seeded(pub u64);

impl Random for Seeded {
    fn fill(&mut self, out: &mut [u8]) {
        for octet in out {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            *octet = (self.0 >> 56) as u8;
        }
    }
}

pub fn config() -> Config {
    let mut config = Config::new(OWN.parse().unwrap(), "example.test");
    config.peers = vec![
        PeerConfig { addr: SP1.parse().unwrap(), idsps: vec!["sp1.example.test".into()] },
        PeerConfig { addr: SP2.parse().unwrap(), idsps: vec!["sp2.example.test".into()] },
    ];
    config
}

pub struct Bench {
    pub ss: Softswitch,
    pub now: Now,
    pub sent: Vec<(Peer, String)>,
    /// What was sent in RAS, which is no text.
    pub octets: Vec<(Peer, Vec<u8>)>,
    pub asked: Vec<(AskId, AaaRequest)>,
    /// Lanes by whose ports nothing is said any more.
    pub left: Vec<SocketAddr>,
    /// Questions for signs of life to call agents and controllers.
    pub questions: Vec<(Protocol, u16, String)>,
    /// Those of them that do not answer any.
    pub silent: Vec<u16>,
    branch: u64,
    call: u64,
}

/// The lane that is no gateway's.
const NOBODYS: SocketAddr = SocketAddr::new(core::net::IpAddr::V4(core::net::Ipv4Addr::UNSPECIFIED), 0);

pub fn peer(addr: &str) -> Peer {
    Peer::Udp(addr.parse().unwrap())
}

impl Bench {
    pub fn new(config: Config) -> Self {
        let ss = Softswitch::new(config, Box::new(Seeded(1))).unwrap();
        Self {
            ss,
            now: Now { mono_ms: 1_000, wall_ms: 0 },
            sent: vec![],
            octets: vec![],
            asked: vec![],
            left: vec![],
            questions: vec![],
            silent: vec![],
            branch: 0,
            call: 0,
        }
    }

    pub fn take(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Send { protocol, to: Peer::Behind(lane, nth), bytes } if lane == NOBODYS => {
                    self.questions.push((protocol, nth, String::from_utf8(bytes).unwrap()));
                }
                Effect::Send { protocol: Protocol::Ras, to, bytes } => self.octets.push((to, bytes)),
                Effect::Send { to, bytes, .. } => self.sent.push((to, String::from_utf8(bytes).unwrap())),
                Effect::Ask { id, request } => self.asked.push((id, request)),
                Effect::Leave(_, lane) => self.left.push(lane),
            }
        }
    }

    pub fn sip(&mut self, from: Peer, message: &str) {
        self.say(Protocol::Sip, from, message.as_bytes());
    }

    pub fn say(&mut self, protocol: Protocol, from: Peer, message: &[u8]) {
        let mut out = Vec::new();
        self.ss.on_message(self.now, protocol, from, message, &mut out);
        self.take(out);
    }

    pub fn aaa(&mut self, id: AskId, outcome: Result<AaaAnswer, Unreachable>) {
        let mut out = Vec::new();
        self.ss.on_aaa(self.now, id, outcome, &mut out);
        self.take(out);
    }

    /// Time passes, with the timer called when it asks for it.
    pub fn pass(&mut self, ms: u64) {
        let until = self.now.mono_ms + ms;
        while let Some(due) = self.ss.next_deadline().filter(|due| *due <= until) {
            self.now.mono_ms = self.now.mono_ms.max(due);
            let mut out = Vec::new();
            self.ss.on_timer(self.now, &mut out);
            self.take(out);
            self.show_life();
        }
        self.now.mono_ms = until;
    }

    /// Whoever is asked for a sign of life and is not silent says that it knows nobody of that name.
    fn show_life(&mut self) {
        for (protocol, nth, question) in core::mem::take(&mut self.questions) {
            if self.silent.contains(&nth) {
                continue;
            }
            let digits = |rest: &str| rest.chars().take_while(char::is_ascii_digit).collect::<String>();
            let answer = match protocol {
                Protocol::H248 => {
                    assert!(question.ends_with("{C=-{N=ROOT{OE=1{it/ito}}}}"), "{question}");
                    let id = digits(question.split("T=").nth(1).unwrap());
                    format!("!/1 <mgc.example.test> P={id}{{ER=505{{\"No ServiceChange yet\"}}}}")
                }
                _ => {
                    assert!(question.ends_with(" nobody@[192.0.2.100] MGCP 1.0\r\nX: 0\r\nO: \r\n"), "{question}");
                    format!("500 {}\r\n", digits(question.split(' ').nth(1).unwrap()))
                }
            };
            self.say(protocol, Peer::Behind(NOBODYS, nth), answer.as_bytes());
        }
    }

    /// The one message that was sent since the last look.
    pub fn one(&mut self) -> (Peer, String) {
        assert_eq!(self.sent.len(), 1, "{:#?}", self.sent);
        self.sent.remove(0)
    }

    pub fn silence(&mut self) {
        assert!(self.sent.is_empty() && self.octets.is_empty(), "{:#?} {:?}", self.sent, self.octets);
    }

    /// The one question that was put since the last look.
    pub fn question(&mut self) -> (AskId, AaaRequest) {
        assert_eq!(self.asked.len(), 1, "{:#?}", self.asked);
        self.asked.remove(0)
    }

    /// The records sent since the last look, each acknowledged.
    pub fn records(&mut self) -> Vec<Account> {
        let mut records = Vec::new();
        while !self.asked.is_empty() {
            let (id, request) = self.asked.remove(0);
            let AaaRequest::Account(account) = request else { panic!("{request:?}") };
            records.push(account);
            self.aaa(id, Ok(AaaAnswer::Recorded));
        }
        records
    }

    pub fn branch(&mut self) -> String {
        self.branch += 1;
        format!("z9hG4bK{:016x}.{:016x}", self.branch, 7)
    }

    /// A REGISTER as a proxy sends it, with these parameters of Authorization and these further header lines.
    pub fn register(&mut self, sp: u8, user: &str, authorization: &str, more: &str) -> String {
        let branch = self.branch();
        self.call += 1;
        let (cseq, token) = (self.call, format!("{user}%40example.test"));
        format!(
            "REGISTER sip:example.test SIP/2.0\r\n\
             Via: SIP/2.0/UDP 192.0.2.{sp}:5060;branch={branch}\r\n\
             Via: SIP/2.0/UDP 10.0.0.9:5062;branch=z9hG4bKt{cseq};received=198.51.100.7;rport=40000\r\n\
             Max-Forwards: 69\r\n\
             From: <sip:{user}@example.test>;tag=f\r\n\
             To: <sip:{user}@example.test>\r\n\
             Call-ID: reg-{user}\r\n\
             CSeq: {cseq} REGISTER\r\n\
             Path: <sip:{token}@192.0.2.{sp}:5060;lr>\r\n\
             Supported: path\r\n\
             Authorization: Digest username=\"{user}@example.test\", realm=\"example.test\", {authorization}, \
             uri=\"sip:example.test\", idsp=\"sp{sp}.example.test\"\r\n\
             {more}Content-Length: 0\r\n\r\n"
        )
    }

    pub fn s2(&mut self, sp: u8, user: &str) -> String {
        let authorization = "nonce=\"\", response=\"\", algorithm=PKD1-HMAC-SHA-256, n1=\"00000000000000aa\"";
        let contact = format!("Contact: <sip:{user}@10.0.0.9:5062>;expires=600\r\n");
        self.register(sp, user, authorization, &contact)
    }

    pub fn s8(&mut self, sp: u8, user: &str, rand: [u8; 16], word: [u8; 32], expires: &str) -> String {
        let authorization = format!(
            "nonce=\"{}\", response=\"{}\", algorithm=PKD1-HMAC-SHA-256, n1=\"00000000000000bb\"",
            b64(&rand),
            hex(&word)
        );
        let contact = contact(sp, user, expires);
        self.register(sp, user, &authorization, &contact)
    }

    pub fn refresh(&mut self, sp: u8, user: &str, expires: &str) -> String {
        let authorization = "nonce=\"\", response=\"\", algorithm=PKD1-HMAC-SHA-256, integrity-protected=\"yes\"";
        let contact = contact(sp, user, expires);
        self.register(sp, user, authorization, &contact)
    }

    /// s2, s4, s5, s8, s9 of one registration, and its record.
    pub fn registered(&mut self, sp: u8, user: &str, n: u8) {
        let from = peer(if sp == 1 { SP1 } else { SP2 });
        let s2 = self.s2(sp, user);
        self.sip(from, &s2);
        let (id, _) = self.question();
        self.aaa(id, Ok(AaaAnswer::Vector(vector(n))));
        assert!(self.one().1.starts_with("SIP/2.0 401 "));
        let s8 = self.s8(sp, user, [n; 16], [n; 32], "600");
        self.sip(from, &s8);
        assert!(self.one().1.starts_with("SIP/2.0 200 "));
        self.records();
    }
}

fn contact(sp: u8, user: &str, expires: &str) -> String {
    format!("Contact: <sip:{user}%40example.test@192.0.2.{sp}:5060>;expires={expires}\r\n")
}

pub fn vector(n: u8) -> S4 {
    S4 { rand: [n; 16], auth_c: [n; 32], ekc: [n; 48], eksp: [n ^ 0xff; 48] }
}

pub fn b64(octets: &[u8]) -> String {
    let mut out = vec![0; portunus_codec::b64_len(octets.len())];
    portunus_codec::b64_encode(octets, &mut out);
    String::from_utf8(out).unwrap()
}

pub fn hex(octets: &[u8]) -> String {
    octets.iter().map(|b| format!("{b:02x}")).collect()
}

/// The values of a header, in order.
pub fn header<'a>(message: &'a str, name: &str) -> Vec<&'a str> {
    let head = message.split("\r\n\r\n").next().unwrap_or_default();
    let named = |l: &'a str| l.split_once(':').filter(|(n, _)| n.trim().eq_ignore_ascii_case(name));
    head.split("\r\n").skip(1).filter_map(named).map(|(_, v)| v.trim()).collect()
}
