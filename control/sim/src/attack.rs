//! The attackers: they hear everything on the access side, speak from any address there, change what passes, and know
//! everything but keys. What they try is drawn by lot; that nothing comes of it is the model's to say.

use crate::net::{Datagram, addr};
use crate::phone;
use crate::prng::Prng;
use crate::proxy;
use crate::scenario::Scenario;
use core::net::SocketAddr;
use portunus_codec::Writer;
use portunus_keydist::mech::MechList;
use portunus_keydist::steps::{S1, S7};
use portunus_keydist::{Idc, Idsp, N1, Now, Word};
use portunus_signalling::Transport;
use portunus_sip::carriage::terminal::{
    Agent, Answer, Plain, StockAnswer, Txn, read_answer, write_request, write_s1, write_s7, write_stock_register,
};
use std::collections::VecDeque;

/// Datagrams remembered.
const HEARD: usize = 200;

/// An exchange that an attacker began in somebody's name.
struct Pretence {
    idc: String,
    proxy: usize,
    at: SocketAddr,
}

/// All attackers together.
pub struct Attackers {
    rng: Prng,
    heard: VecDeque<Datagram>,
    pretences: VecDeque<Pretence>,
    cseq: u32,
    held: Option<Vec<u8>>,
}

impl core::fmt::Debug for Attackers {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Attackers(heard {})", self.heard.len())
    }
}

fn written(f: impl FnOnce(&mut Writer<'_>) -> Result<(), portunus_codec::Full>) -> Option<Vec<u8>> {
    let mut buf = [0u8; 4096];
    let mut w = Writer::new(&mut buf);
    f(&mut w).ok()?;
    w.finish().ok()?;
    Some(w.written().to_vec())
}

/// Replaces the first `what` behind the first `after`.
fn replaced(bytes: &[u8], what: &[u8], with: &[u8]) -> Option<Vec<u8>> {
    let at = bytes.windows(what.len().max(1)).position(|w| w == what)?;
    Some([&bytes[..at], with, &bytes[at + what.len()..]].concat())
}

/// The value of the header line or quoted parameter that begins with `head` and ends with `end`.
fn value<'b>(bytes: &'b [u8], head: &[u8], end: u8) -> Option<&'b [u8]> {
    let at = bytes.windows(head.len()).position(|w| w == head)? + head.len();
    let rest = bytes.get(at..)?;
    rest.get(..rest.iter().position(|c| *c == end)?)
}

impl Attackers {
    /// They have heard nothing yet.
    pub fn new(rng: Prng) -> Self {
        Self { rng, heard: VecDeque::new(), pretences: VecDeque::new(), cseq: 0, held: None }
    }

    /// Something passes on the access side.
    pub fn hear(&mut self, datagram: &Datagram) {
        if self.heard.len() == HEARD {
            self.heard.pop_front();
        }
        self.heard.push_back(datagram.clone());
    }

    /// On the path: a copy of an s7 from elsewhere, to arrive first.
    pub fn race(&mut self, scenario: &Scenario, datagram: &Datagram) -> Option<Datagram> {
        if !is_s7(&datagram.bytes) || !self.rng.chance(scenario.malice.race) {
            return None;
        }
        Some(Datagram { from: addr::attacker(1), ..datagram.clone() })
    }

    /// On the path: keeps an s7 and all its copies. `Some` when it is kept, with the time after which one copy goes on.
    pub fn hold(&mut self, scenario: &Scenario, datagram: &Datagram) -> Option<Option<u64>> {
        if self.held.as_ref().is_some_and(|held| *held == datagram.bytes) {
            return Some(None);
        }
        if !is_s7(&datagram.bytes) || !self.rng.chance(scenario.malice.hold) {
            return None;
        }
        self.held = Some(datagram.bytes.clone());
        Some(Some(self.rng.between(8_000, 29_000)))
    }

    /// On the path: changes what passes; true when it did.
    pub fn edit(&mut self, scenario: &Scenario, datagram: &mut Datagram) -> bool {
        if !self.rng.chance(scenario.malice.edit) {
            return false;
        }
        match self.edited(&datagram.bytes) {
            Some(bytes) if bytes != datagram.bytes => {
                datagram.bytes = bytes;
                true
            }
            _ => false,
        }
    }

    fn edited(&mut self, bytes: &[u8]) -> Option<Vec<u8>> {
        let line = |head: &[u8]| value(bytes, head, b'\r').map(<[u8]>::to_vec);
        let param = |head: &[u8]| value(bytes, head, b'"').map(<[u8]>::to_vec);
        match self.rng.between(0, 11) {
            // Bid down: fewer, weaker or other mechanisms than the terminal offered, or than it reads back.
            0 | 1 => replaced(bytes, &line(b"Security-Client: ")?, b"x-pkd-sealed;q=0.1"),
            2 => replaced(bytes, &line(b"Security-Client: ")?, b"tls;q=1.0, x-pkd-sealed;q=0.3"),
            3 => replaced(bytes, &param(b"mechs=\"")?, b"x-pkd-sealed"),
            4 => replaced(bytes, &line(b"Security-Server: ")?, b"tls;port=5061"),
            // Take the registration elsewhere, or keep it for longer.
            5 => replaced(bytes, b"@10.0.0.", b"@10.9.9."),
            6 => replaced(bytes, b";expires=", b";expires=9"),
            // Swap values.
            7 => replaced(bytes, &param(b" n1=\"")?, b"0123456789abcdef"),
            8 => replaced(bytes, &param(b"nonce=\"")?, b"AAAAAAAAAAAAAAAAAAAAAA"),
            9 => self.nearly(bytes),
            10 => replaced(bytes, &param(b"ts=\"")?, b"1793491200000"),
            // Append something behind the end.
            _ => Some([bytes, b"\r\nX: y"].concat()),
        }
    }

    /// A word or a MAC that is right but for its end.
    fn nearly(&mut self, bytes: &[u8]) -> Option<Vec<u8>> {
        let head: &[u8] = if self.rng.chance(500) { b"response=\"" } else { b"mac=\"" };
        let right = value(bytes, head, b'"').filter(|v| v.len() == 64)?.to_vec();
        let mut wrong = right.clone();
        let last = wrong.last_mut()?;
        *last = if *last == b'0' { b'1' } else { b'0' };
        replaced(bytes, &right, &wrong)
    }

    /// A moment to act: what they send.
    pub fn act(&mut self, scenario: &Scenario, now: Now) -> Vec<Datagram> {
        match self.rng.between(0, 10) {
            0 | 1 => self.replay(),
            2 => self.replay_from_elsewhere(),
            3 | 4 => self.pretend(scenario, now),
            5 => self.garble(),
            6 => self.flood(scenario, now),
            7 => self.speak_plainly(scenario),
            8 => self.claim_to_be_inside(scenario),
            9 => self.bid_down(scenario),
            _ => self.answer_for_the_proxy(),
        }
    }

    fn remembered(&mut self) -> Option<Datagram> {
        let heard: Vec<_> = self.heard.iter().collect();
        self.rng.pick(&heard).map(|d| (*d).clone())
    }

    fn replay(&mut self) -> Vec<Datagram> {
        self.remembered().into_iter().collect()
    }

    fn replay_from_elsewhere(&mut self) -> Vec<Datagram> {
        let from = addr::attacker(self.rng.between(2, 9) as u16);
        self.remembered().map(|d| Datagram { from, ..d }).into_iter().collect()
    }

    fn garble(&mut self) -> Vec<Datagram> {
        let Some(mut d) = self.remembered() else { return Vec::new() };
        for _ in 0..self.rng.between(1, 4) {
            let at = self.rng.between(0, d.bytes.len().max(1) as u64 - 1) as usize;
            if let Some(octet) = d.bytes.get_mut(at) {
                *octet = self.rng.bits() as u8;
            }
        }
        if self.rng.chance(200) {
            d.bytes.truncate(self.rng.between(0, 200) as usize);
        }
        vec![d]
    }

    /// s1 in somebody's name, from an attacker's own address.
    fn pretend(&mut self, scenario: &Scenario, now: Now) -> Vec<Datagram> {
        let victim = self.rng.between(0, (scenario.phones + scenario.nobodies - 1) as u64) as usize;
        let idc = if victim < scenario.phones { phone::name(victim) } else { nobody(victim - scenario.phones) };
        let proxy = victim % scenario.proxies;
        let at = addr::attacker(self.rng.between(100, 140) as u16);
        let s1 = self.s1(scenario, now, &idc, proxy, at, None);
        if self.pretences.len() == 64 {
            self.pretences.pop_front();
        }
        self.pretences.push_back(Pretence { idc, proxy, at });
        s1.into_iter().collect()
    }

    fn s1(
        &mut self,
        scenario: &Scenario,
        now: Now,
        idc: &str,
        proxy: usize,
        at: SocketAddr,
        cookie: Option<(N1, &[u8])>,
    ) -> Option<Datagram> {
        let idsp = proxy::name(scenario, proxy);
        let n1 = cookie.map_or_else(|| N1::from_bits(self.rng.bits()), |(n1, _)| n1);
        let s1 =
            S1 { idc: Idc::new(idc)?, idsp: Idsp::new(&idsp)?, n1, ts: now.wall_ms, cookie: cookie.map(|(_, c)| c) };
        let (cseq, branch) = self.transaction();
        let bytes = written(|w| write_s1(&agent(s1.idc, at), &Txn { cseq, branch: &branch }, 300, &s1, w))?;
        Some(Datagram { from: at, to: addr::access(proxy), bytes })
    }

    fn transaction(&mut self) -> (u32, String) {
        self.cseq += 1;
        (self.cseq, format!("z9hG4bK{:016x}", self.rng.bits()))
    }

    /// Something came to an attacker's own address: a challenge is answered with a guess. `luck` gives the right word,
    /// of which the guess has the first octets.
    pub fn receive(
        &mut self,
        scenario: &Scenario,
        now: Now,
        datagram: &Datagram,
        luck: impl FnOnce(&str, usize, &[u8; 16]) -> Option<Word>,
    ) -> Vec<Datagram> {
        let Some(known) = self.pretences.iter().position(|p| p.at == datagram.to) else { return Vec::new() };
        let Some(Pretence { idc, proxy, at }) = self.pretences.remove(known) else { return Vec::new() };
        let sent = match read_answer(&datagram.bytes).map(|r| r.answer) {
            Ok(Answer::Challenge(s6)) => self.guess(scenario, now, &idc, (proxy, at), &s6, luck),
            Ok(Answer::Cookie { n1, cookie, .. }) => self.s1(scenario, now, &idc, proxy, at, Some((n1, cookie))),
            _ => return Vec::new(),
        };
        self.pretences.push_back(Pretence { idc, proxy, at });
        sent.into_iter().collect()
    }

    fn guess(
        &mut self,
        scenario: &Scenario,
        now: Now,
        idc: &str,
        (proxy, at): (usize, SocketAddr),
        s6: &portunus_keydist::steps::S6<'_>,
        luck: impl FnOnce(&str, usize, &[u8; 16]) -> Option<Word>,
    ) -> Option<Datagram> {
        let mut word = [0u8; 32];
        word.iter_mut().for_each(|o| *o = self.rng.bits() as u8);
        let right = luck(idc, proxy, &s6.rand).unwrap_or(word);
        let lucky = scenario.malice.luck.min(31);
        word[..lucky].copy_from_slice(&right[..lucky]);
        // The last octet is always wrong: nobody guesses the whole word.
        word[31] = !right[31];
        let mechs = MechList::from_sip("x-pkd-sealed").ok()?;
        let s7 = S7 {
            idc: Idc::new(idc)?,
            idsp: Some(s6.idsp),
            n1: N1::from_bits(self.rng.bits()),
            n2: s6.n2,
            ts: now.wall_ms,
            rand: Some(s6.rand),
            auth_c: word,
            mechs,
        };
        let (cseq, branch) = self.transaction();
        let bytes = written(|w| write_s7(&agent(s7.idc, at), &Txn { cseq, branch: &branch }, 300, &s7, w))?;
        Some(Datagram { from: at, to: addr::access(proxy), bytes })
    }

    /// Many s1 at once, from everywhere, for anybody.
    fn flood(&mut self, scenario: &Scenario, now: Now) -> Vec<Datagram> {
        let count = self.rng.between(0, scenario.malice.flood);
        (0..count)
            .filter_map(|n| {
                let idc = format!("x{}@example.test", self.rng.between(0, 999));
                let proxy = self.rng.between(0, scenario.proxies as u64 - 1) as usize;
                self.s1(scenario, now, &idc, proxy, addr::attacker(1000 + n as u16), None)
            })
            .collect()
    }

    /// An unprotected request in somebody's name, from its own address.
    fn speak_plainly(&mut self, scenario: &Scenario) -> Vec<Datagram> {
        let (a, b) = (phone::name(0), phone::name(scenario.phones - 1));
        let (Some(from), (cseq, branch)) = (Idc::new(&a), self.transaction()) else { return Vec::new() };
        let method = *self.rng.pick(&["MESSAGE", "INVITE", "BYE", "OPTIONS"]).unwrap_or(&"MESSAGE");
        let uri = format!("sip:{b}");
        let plain = Plain {
            method,
            uri: &uri,
            from,
            from_tag: "evil",
            to_uri: &uri,
            to_tag: None,
            call_id: "evil",
            txn: Txn { cseq, branch: &branch },
            local: addr::public(0, 0),
            transport: Transport::Udp,
            contact: Some("sip:evil@203.0.113.66"),
            route: None,
            body: Some(("text/plain", b"forged")),
        };
        let to = addr::access(self.rng.between(0, scenario.proxies as u64 - 1) as usize);
        written(|w| write_request(&plain, w))
            .map(|bytes| Datagram { from: addr::public(0, 0), to, bytes })
            .into_iter()
            .collect()
    }

    /// A subscriber's registration as if its terminal were a stock phone.
    fn bid_down(&mut self, scenario: &Scenario) -> Vec<Datagram> {
        let victim = phone::name(self.rng.between(0, scenario.phones as u64 - 1) as usize);
        let (at, (cseq, branch)) = (addr::attacker(60), self.transaction());
        let Some(idc) = Idc::new(&victim) else { return Vec::new() };
        let response = format!("{:016x}", self.rng.bits()).repeat(4);
        let nonce = self.heard.iter().rev().find_map(|d| value(&d.bytes, b"nonce=\"", b'"')).unwrap_or(b"AAAA");
        let nonce = String::from_utf8_lossy(nonce).into_owned();
        let answer = StockAnswer { nonce: &nonce, response: &response, algorithm: "SHA-256" };
        let answer = self.rng.chance(500).then_some(&answer);
        let txn = Txn { cseq, branch: &branch };
        let bytes = written(|w| write_stock_register(&agent(idc, at), &txn, 300, answer, w));
        let to = addr::stock(self.rng.between(0, scenario.proxies as u64 - 1) as usize);
        bytes.map(|bytes| Datagram { from: at, to, bytes }).into_iter().collect()
    }

    /// A REGISTER with what only the core may say, towards proxy and softswitch.
    fn claim_to_be_inside(&mut self, scenario: &Scenario) -> Vec<Datagram> {
        let victim = if self.rng.chance(500) { phone::name(0) } else { nobody(0) };
        let (idsp, (cseq, branch)) = (proxy::name(scenario, 0), self.transaction());
        let text = format!(
            "REGISTER sip:example.test SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.10:5070;branch={branch}.0000000000000000\r\n\
             Max-Forwards: 70\r\nFrom: <sip:{victim}>;tag=e\r\nTo: <sip:{victim}>\r\nCall-ID: evil\r\n\
             CSeq: {cseq} REGISTER\r\nPath: <sip:evil@192.0.2.10:5070;lr>\r\nContact: <sip:evil@203.0.113.66>\r\n\
             Authorization: Digest username=\"{victim}\", realm=\"example.test\", nonce=\"\", uri=\"sip:example.test\", \
             response=\"\", algorithm=PKD1-HMAC-SHA-256, idsp=\"{idsp}\", integrity-protected=\"yes\"\r\n\
             Expires: 300\r\nContent-Length: 0\r\n\r\n"
        );
        let to = if self.rng.chance(500) { addr::access(0) } else { addr::switch() };
        vec![Datagram { from: addr::attacker(7), to, bytes: text.into_bytes() }]
    }

    /// What the owner of a real session says in it, in other names than its own.
    pub fn inside(&mut self, scenario: &Scenario) -> String {
        let other = if scenario.phones > 1 { phone::name(scenario.phones - 1) } else { nobody(0) };
        let own = phone::name(0);
        let (cseq, branch) = self.transaction();
        let via = format!("Via: SIP/2.0/UDP 10.0.0.1:5060;branch={branch};rport\r\nMax-Forwards: 70\r\n");
        let tail = format!("Call-ID: evil\r\nCSeq: {cseq}");
        match self.rng.between(0, 3) {
            // A request of somebody else.
            0 => format!(
                "MESSAGE sip:{own} SIP/2.0\r\n{via}From: <sip:{other}>;tag=e\r\nTo: <sip:{own}>\r\n{tail} MESSAGE\r\n\
                 Content-Type: text/plain\r\nContent-Length: 6\r\n\r\nforged"
            ),
            // Somebody else's registration, to its own address.
            1 => format!(
                "REGISTER sip:example.test SIP/2.0\r\n{via}From: <sip:{other}>;tag=e\r\nTo: <sip:{other}>\r\n{tail} REGISTER\r\n\
                 Contact: <sip:evil@203.0.113.66>;expires=300\r\nContent-Length: 0\r\n\r\n"
            ),
            // Its own, with a Contact of its making and words that only the core may say.
            2 => format!(
                "REGISTER sip:example.test SIP/2.0\r\n{via}From: <sip:{own}>;tag=e\r\nTo: <sip:{own}>\r\n{tail} REGISTER\r\n\
                 Path: <sip:evil@203.0.113.66;lr>\r\nContact: <sip:evil@203.0.113.66>;expires=300\r\n\
                 P-Asserted-Identity: <sip:{other}>\r\nContent-Length: 0\r\n\r\n"
            ),
            // A way out of the trusted network.
            _ => format!(
                "MESSAGE sip:x@203.0.113.66 SIP/2.0\r\n{via}Route: <sip:192.0.2.100;lr>, <sip:203.0.113.66;lr>\r\n\
                 From: <sip:{own}>;tag=e\r\nTo: <sip:x@203.0.113.66>\r\n{tail} MESSAGE\r\nContent-Length: 0\r\n\r\n"
            ),
        }
    }

    /// A refusal, a challenge or a key in the proxy's name, made from what was heard.
    fn answer_for_the_proxy(&mut self) -> Vec<Datagram> {
        let Some(mut d) = self.remembered().filter(|d| d.bytes.starts_with(b"SIP/2.0 ")) else { return Vec::new() };
        let status: &[u8] = match self.rng.between(0, 4) {
            0 => b"403",
            1 => b"494",
            2 => b"503",
            3 => b"200",
            _ => b"401",
        };
        if let Some(code) = d.bytes.get_mut(8..11) {
            code.copy_from_slice(status);
        }
        if let Some(edited) = self.edited(&d.bytes) {
            d.bytes = edited;
        }
        vec![d]
    }
}

/// True for an s7.
pub fn is_s7(bytes: &[u8]) -> bool {
    bytes.starts_with(b"REGISTER") && bytes.windows(5).any(|w| w == b" n2=\"")
}

/// An identity that no subscriber has.
pub fn nobody(n: usize) -> String {
    format!("nobody{n}@example.test")
}

fn agent(idc: Idc<'_>, local: SocketAddr) -> Agent<'_> {
    Agent {
        idc,
        realm: "example.test",
        registrar: "sip:example.test",
        local,
        transport: Transport::Udp,
        contact: "sip:evil@203.0.113.66:5060",
        call_id: "evil",
        from_tag: "evil",
    }
}
