//! The attackers: they hear everything on the access side, speak from any address there, change what passes, and know
//! everything but keys. What they try is drawn by lot; that nothing comes of it is the model's to say.

mod channel;

use crate::dialect::{self, Dialect, Edit, Said, Speaker, is_s7, replaced, value, written};
use crate::net::{Datagram, addr};
use crate::phone;
use crate::prng::Prng;
use crate::proxy;
use crate::scenario::Scenario;
use core::net::SocketAddr;
use portunus_keydist::mech::MechList;
use portunus_keydist::steps::{S1, S6, S7};
use portunus_keydist::{Idc, Idsp, N1, Now, Word};
use portunus_signalling::{Protocol, Text, Transport};
use portunus_sip::carriage::terminal::{Agent, StockAnswer, Txn, write_stock_register};
use std::collections::VecDeque;

/// Datagrams remembered.
const HEARD: usize = 200;

/// An exchange that an attacker began in somebody's name.
#[derive(Clone)]
struct Pretence {
    dialect: &'static dyn Dialect,
    idc: String,
    proxy: usize,
    at: SocketAddr,
}

/// All attackers together.
pub struct Attackers {
    rng: Prng,
    heard: VecDeque<Datagram>,
    pretences: VecDeque<Pretence>,
    number: u32,
    held: Option<Vec<u8>>,
}

impl core::fmt::Debug for Attackers {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Attackers(heard {})", self.heard.len())
    }
}

impl Attackers {
    /// They have heard nothing yet.
    pub fn new(rng: Prng) -> Self {
        Self { rng, heard: VecDeque::new(), pretences: VecDeque::new(), number: 0, held: None }
    }

    /// Something passes on the access side.
    pub fn hear(&mut self, datagram: &Datagram) {
        if self.heard.len() == HEARD {
            self.heard.pop_front();
        }
        self.heard.push_back(datagram.clone());
    }

    /// On the path: a copy of an s7, of what a proxy says, or of something protected, from elsewhere and to arrive first.
    pub fn race(&mut self, scenario: &Scenario, datagram: &Datagram) -> Option<Datagram> {
        let chance = scenario.malice.race / if is_datagram_s7(datagram) { 1 } else { 8 };
        if !self.rng.chance(chance) {
            return None;
        }
        Some(Datagram { from: addr::attacker(1), ..datagram.clone() })
    }

    /// On the path: keeps an s7 and all its copies. `Some` when it is kept, with the time after which one copy goes on.
    pub fn hold(&mut self, scenario: &Scenario, datagram: &Datagram) -> Option<Option<u64>> {
        if self.held.as_ref().is_some_and(|held| *held == datagram.bytes) {
            return Some(None);
        }
        if !is_datagram_s7(datagram) || !self.rng.chance(scenario.malice.hold) {
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
        let Some(dialect) = addr::spoken(datagram.to).or_else(|| addr::spoken(datagram.from)) else { return false };
        match self.edited(dialect, &datagram.bytes) {
            Some(bytes) if bytes != datagram.bytes => {
                datagram.bytes = bytes;
                true
            }
            _ => false,
        }
    }

    fn edited(&mut self, dialect: &dyn Dialect, bytes: &[u8]) -> Option<Vec<u8>> {
        match self.rng.between(0, 8) {
            0..=5 => match *self.rng.pick(dialect.edits())? {
                Edit::Value(head, end, with) => {
                    let from = value(bytes, head, end)?.to_vec();
                    replaced(bytes, &[head, &from[..]].concat(), &[head, with].concat())
                }
                Edit::Octets(what, with) => replaced(bytes, what, with),
            },
            6 => self.nearly(dialect, bytes),
            // One bit, anywhere.
            7 => {
                let (at, bit) = (self.rng.between(0, bytes.len().max(1) as u64 - 1), self.rng.between(0, 7));
                let mut flipped = bytes.to_vec();
                *flipped.get_mut(at as usize)? ^= 1 << bit;
                Some(flipped)
            }
            // Append something behind the end.
            _ => Some([bytes, dialect.tail()].concat()),
        }
    }

    /// A word or a MAC that is right but for its end.
    fn nearly(&mut self, dialect: &dyn Dialect, bytes: &[u8]) -> Option<Vec<u8>> {
        let (head, end) = *self.rng.pick(dialect.proofs())?;
        let right = value(bytes, head, end).filter(|v| v.len() == 64)?.to_vec();
        let mut wrong = right.clone();
        let last = wrong.last_mut()?;
        *last = if *last == b'0' { b'1' } else { b'0' };
        replaced(bytes, &right, &wrong)
    }

    /// A moment to act: what they send.
    pub fn act(&mut self, scenario: &Scenario, now: Now) -> Vec<Datagram> {
        match self.rng.between(0, 13) {
            0 | 1 => self.replay(),
            2 => self.replay_from_elsewhere(),
            3 | 4 => self.pretend(scenario, now),
            5 => self.garble(),
            6 => self.flood(scenario, now),
            7 => self.speak_plainly(scenario),
            8 => self.claim_to_be_inside(scenario),
            9 => self.bid_down(scenario),
            10..=12 => self.tamper(),
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

    /// Somebody to pretend to be, in the protocol that they speak or, at times, in another.
    fn victim(&mut self, scenario: &Scenario) -> (usize, &'static dyn Dialect, String) {
        let victim = self.rng.between(0, (scenario.phones + scenario.nobodies - 1) as u64) as usize;
        let other = *self.rng.pick(dialect::ALL).unwrap_or(&dialect::of(Protocol::Sip));
        if victim >= scenario.phones {
            return (victim, other, other.idc(&nobody(victim - scenario.phones)));
        }
        let own = dialect::of(phone::spoken(scenario, victim));
        (victim, if self.rng.chance(100) { other } else { own }, phone::name(scenario, victim))
    }

    fn speaker<'a>(&mut self, idc: &'a str, at: SocketAddr) -> Option<Speaker<'a>> {
        self.number += 1;
        Some(Speaker { idc: Idc::new(idc)?, at, number: self.number, bits: self.rng.bits() })
    }

    /// s1 in somebody's name, from an attacker's own address.
    fn pretend(&mut self, scenario: &Scenario, now: Now) -> Vec<Datagram> {
        let (victim, dialect, idc) = self.victim(scenario);
        let at = addr::attacker(self.rng.between(100, 140) as u16);
        let pretence = Pretence { dialect, idc, proxy: victim % scenario.proxies, at };
        let s1 = self.s1(scenario, now, &pretence, None);
        if self.pretences.len() == 64 {
            self.pretences.pop_front();
        }
        self.pretences.push_back(pretence);
        s1.into_iter().collect()
    }

    fn s1(
        &mut self,
        scenario: &Scenario,
        now: Now,
        pretence: &Pretence,
        cookie: Option<(N1, &[u8])>,
    ) -> Option<Datagram> {
        let Pretence { dialect, idc, proxy, at } = pretence;
        let idsp = proxy::name(scenario, *proxy);
        let n1 = cookie.map_or_else(|| N1::from_bits(self.rng.bits()), |(n1, _)| n1);
        let s1 =
            S1 { idc: Idc::new(idc)?, idsp: Idsp::new(&idsp)?, n1, ts: now.wall_ms, cookie: cookie.map(|(_, c)| c) };
        let bytes = dialect.s1(&self.speaker(idc, *at)?, &s1)?;
        Some(Datagram { from: *at, to: addr::access(*proxy, dialect.protocol()), bytes })
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
        let Some(pretence) = self.pretences.get(known).cloned() else { return Vec::new() };
        let sent = match pretence.dialect.said(&datagram.bytes, &mut Text::new()) {
            Ok(Said::Challenge { s6, .. }) => self.guess(scenario, now, &pretence, (&datagram.bytes, &s6), luck),
            Ok(Said::Cookie { n1, cookie }) => self.s1(scenario, now, &pretence, Some((n1, cookie))),
            Ok(Said::Harmless) => return Vec::new(),
            _ => {
                self.pretences.remove(known);
                return Vec::new();
            }
        };
        sent.into_iter().collect()
    }

    fn guess(
        &mut self,
        scenario: &Scenario,
        now: Now,
        pretence: &Pretence,
        (octets, s6): (&[u8], &S6<'_>),
        luck: impl FnOnce(&str, usize, &[u8; 16]) -> Option<Word>,
    ) -> Option<Datagram> {
        let Pretence { dialect, idc, proxy, at } = pretence;
        let mut word = [0u8; 32];
        word.iter_mut().for_each(|o| *o = self.rng.bits() as u8);
        let right = luck(idc, *proxy, &s6.rand).unwrap_or(word);
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
        let bytes = dialect.s7(&self.speaker(idc, *at)?, octets, &s7)?;
        Some(Datagram { from: *at, to: addr::access(*proxy, dialect.protocol()), bytes })
    }

    /// Many s1 at once, from everywhere, for anybody, in one protocol.
    fn flood(&mut self, scenario: &Scenario, now: Now) -> Vec<Datagram> {
        let count = self.rng.between(0, scenario.malice.flood);
        let dialect = *self.rng.pick(dialect::ALL).unwrap_or(&dialect::of(Protocol::Sip));
        (0..count)
            .filter_map(|n| {
                let idc = dialect.idc(&format!("x{}", self.rng.between(0, 999)));
                let proxy = self.rng.between(0, scenario.proxies as u64 - 1) as usize;
                self.s1(scenario, now, &Pretence { dialect, idc, proxy, at: addr::attacker(1000 + n as u16) }, None)
            })
            .collect()
    }

    /// An unprotected request in somebody's name, from the first terminal's address.
    fn speak_plainly(&mut self, scenario: &Scenario) -> Vec<Datagram> {
        let (a, b) = (phone::name(scenario, 0), phone::name(scenario, scenario.phones - 1));
        let (at, dialect) = (addr::public(0, 0), dialect::of(phone::spoken(scenario, 0)));
        let to = addr::access(self.rng.between(0, scenario.proxies as u64 - 1) as usize, dialect.protocol());
        let bytes = self.speaker(&a, at).and_then(|who| dialect.plainly(&who, &b));
        bytes.map(|bytes| Datagram { from: at, to, bytes }).into_iter().collect()
    }

    /// A subscriber's registration as if its terminal were a stock phone.
    fn bid_down(&mut self, scenario: &Scenario) -> Vec<Datagram> {
        let victim = phone::name(scenario, self.rng.between(0, scenario.phones as u64 - 1) as usize);
        let at = addr::attacker(60);
        let Some(Speaker { idc, number: cseq, bits, .. }) = self.speaker(&victim, at) else { return Vec::new() };
        let response = format!("{:016x}", self.rng.bits()).repeat(4);
        let nonce = self.heard.iter().rev().find_map(|d| value(&d.bytes, b"nonce=\"", b'"')).unwrap_or(b"AAAA");
        let nonce = String::from_utf8_lossy(nonce).into_owned();
        let answer = StockAnswer { nonce: &nonce, response: &response, algorithm: "SHA-256" };
        let answer = self.rng.chance(500).then_some(&answer);
        let txn = Txn { cseq, branch: &format!("z9hG4bK{bits:016x}") };
        let bytes = written(|w| write_stock_register(&agent(idc, at), &txn, 300, answer, w));
        let to = addr::stock(self.rng.between(0, scenario.proxies as u64 - 1) as usize);
        bytes.map(|bytes| Datagram { from: at, to, bytes }).into_iter().collect()
    }

    /// What only the core may say, towards proxy and softswitch.
    fn claim_to_be_inside(&mut self, scenario: &Scenario) -> Vec<Datagram> {
        let (_, dialect, victim) = self.victim(scenario);
        let (idsp, at) = (proxy::name(scenario, 0), addr::attacker(7));
        let Some(who) = self.speaker(&victim, at) else { return Vec::new() };
        let protocol = dialect.protocol();
        let to = if self.rng.chance(500) { addr::access(0, protocol) } else { addr::switch(protocol) };
        vec![Datagram { from: at, to, bytes: dialect.claim(&who, &idsp) }]
    }

    /// What the owner of a real session says in it, in other names than its own.
    pub fn inside(&mut self, scenario: &Scenario) -> Vec<u8> {
        let dialect = dialect::of(phone::spoken(scenario, 0));
        let own = phone::name(scenario, 0);
        let other = match scenario.phones {
            1 => dialect.idc(&nobody(0)),
            n => phone::name(scenario, n - 1),
        };
        let who = self.speaker(&own, addr::public(0, 0));
        who.map(|who| dialect.inside(&who, &other)).unwrap_or_default()
    }

    /// A refusal, a challenge or a key in the proxy's name, made from what was heard.
    fn answer_for_the_proxy(&mut self) -> Vec<Datagram> {
        let Some((mut d, dialect)) = self.remembered().and_then(|d| addr::spoken(d.from).map(|dialect| (d, dialect)))
        else {
            return Vec::new();
        };
        let Some(forged) = dialect.instead(&d.bytes, self.rng.bits()) else { return Vec::new() };
        d.bytes = self.edited(dialect, &forged).unwrap_or(forged);
        // From the proxy's own address, or from one of theirs.
        if self.rng.chance(200) {
            d.from = addr::attacker(8);
        }
        vec![d]
    }
}

/// True for an s7 on its way to a proxy.
fn is_datagram_s7(datagram: &Datagram) -> bool {
    addr::spoken(datagram.to).is_some_and(|dialect| is_s7(dialect, &datagram.bytes))
}

/// The name of somebody who is no subscriber.
pub fn nobody(n: usize) -> String {
    format!("nobody{n}")
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
