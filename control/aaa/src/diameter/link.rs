//! The client's end of Diameter towards one peer: an AuC, or a relay on the way to it.
//!
//! ```text
//!           connected: CER          CEA, Cx or relay
//!  Closed -----------------> Asking -----------------> Open --DPR from the peer--> Leaving
//!    ^                         | no CEA, or a bad one    | watchdog: suspect, then closed   |
//!    +-------------------------+-------------------------+----------------------------------+
//! ```
//!
//! What was asked on a connection that breaks, or that the watchdog suspects while another peer is up, goes elsewhere
//! with its End-to-End Identifier and Session-Id and the T flag (RFC 6733 section 5.5.4). A question that nothing was
//! heard for in `dead_after` has a DWR sent at once, so that a peer that hangs is found within twice that and not
//! only after Tw.

use super::base;
use super::cx::{self, Names, Reply};
use super::dict::{self, result};
use super::message::{Fault, Header, Message};
use super::watchdog::{Due, Watchdog};
use crate::client::link::{Canary, Health, Link, LinkConfig, LinkCounters, LinkEffect};
use crate::exchange::{AaaAnswer, AaaRequest};
use core::net::SocketAddr;
use portunus_keydist::{Now, Random};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// A CEA must come within this.
const CAPABILITIES_MS: u64 = 5_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Closed,
    /// CER is out; given up at this time.
    Asking(u64),
    Open,
    Leaving,
}

struct Open {
    key: u64,
    request: Arc<AaaRequest>,
    sent: u64,
}

enum Out {
    Send(Vec<u8>),
    Close,
}

/// See the module's text. It has one lane: two nodes have one connection (RFC 6733 section 2.1).
pub struct DiameterLink {
    config: LinkConfig,
    phase: Phase,
    watchdog: Option<Watchdog>,
    health: Health,
    /// It was up once: the next connection proves itself first.
    known: bool,
    open: BTreeMap<u32, Open>,
    by_key: BTreeMap<u64, u32>,
    /// When to worry about a question, oldest first.
    worries: VecDeque<(u64, u32)>,
    out: VecDeque<Out>,
    sending: Vec<u8>,
    answers: VecDeque<(u64, AaaAnswer)>,
    lost: VecDeque<u64>,
    refused: VecDeque<u64>,
    next_hop: u32,
    heard: u64,
    canary: Canary,
    counters: LinkCounters,
}

impl DiameterLink {
    /// A link to one peer.
    pub fn new(config: LinkConfig) -> Self {
        Self {
            config,
            phase: Phase::Closed,
            watchdog: None,
            health: Health::Connecting,
            known: false,
            open: BTreeMap::new(),
            by_key: BTreeMap::new(),
            worries: VecDeque::new(),
            out: VecDeque::new(),
            sending: Vec::new(),
            answers: VecDeque::new(),
            lost: VecDeque::new(),
            refused: VecDeque::new(),
            next_hop: 0,
            heard: 0,
            canary: Canary::default(),
            counters: LinkCounters::default(),
        }
    }

    /// A Hop-by-Hop Identifier that nothing open bears.
    fn hop(&mut self) -> u32 {
        loop {
            self.next_hop = self.next_hop.wrapping_add(1);
            if !self.open.contains_key(&self.next_hop) {
                return self.next_hop;
            }
        }
    }

    fn names(&mut self, rng: &mut dyn Random) -> (u32, u32) {
        (self.hop(), rng.next_u64() as u32)
    }

    fn send(&mut self, octets: Vec<u8>) {
        self.out.push_back(Out::Send(octets));
    }

    fn set_health(&mut self, now: Now, health: Health) {
        if health == Health::Down && self.health != Health::Down {
            self.counters.downs += 1;
            self.canary.rest(now, self.config.timing.probe_every_ms);
        }
        self.health = health;
    }

    /// The connection is gone: what was asked on it is to be asked again.
    fn drop_connection(&mut self, now: Now) {
        self.phase = Phase::Closed;
        self.watchdog = None;
        self.out.retain(|o| matches!(o, Out::Close));
        self.worries.clear();
        self.by_key.clear();
        self.lost.extend(std::mem::take(&mut self.open).into_values().map(|o| o.key));
        self.set_health(now, Health::Down);
    }

    fn break_off(&mut self, now: Now) {
        self.drop_connection(now);
        self.out.push_back(Out::Close);
    }

    /// Health as the watchdog sees it.
    fn follow(&mut self, now: Now) {
        if self.phase == Phase::Open
            && let Some(w) = &self.watchdog
        {
            let okay = w.is_okay();
            self.known |= okay;
            self.set_health(now, if okay { Health::Up } else { Health::Down });
        }
    }

    fn act(&mut self, now: Now, due: Due, rng: &mut dyn Random) {
        match due {
            Due::Nothing | Due::Suspect => {}
            Due::Probe => {
                let names = self.names(rng);
                let octets = base::dwr(names, &self.config.node);
                self.counters.probes += 1;
                self.send(octets);
            }
            Due::Close => return self.break_off(now),
        }
        self.follow(now);
    }

    fn on_cea(&mut self, now: Now, message: &Message<'_>, rng: &mut dyn Random) {
        let Phase::Asking(_) = self.phase else {
            self.counters.stray += 1;
            return;
        };
        let avps = message.avps();
        let ours = &self.config.node.host;
        let welcome = message.check().is_ok()
            && avps.number(&dict::RESULT_CODE) == Some(result::SUCCESS)
            && base::is_capable(message)
            && avps.text(&dict::ORIGIN_HOST).is_some_and(|host| !host.eq_ignore_ascii_case(ours));
        if !welcome {
            self.counters.untrusted += 1;
            return self.break_off(now);
        }
        let timing = self.config.timing;
        let reopen = if self.known { timing.revive_after } else { 0 };
        self.watchdog = Some(Watchdog::new(now.mono_ms, timing.watchdog_ms, reopen, rng));
        self.phase = Phase::Open;
        self.follow(now);
    }

    /// What the peer asks of us: its own base messages, and nothing else.
    fn on_request(&mut self, now: Now, message: Result<Message<'_>, Fault>, header: &Header, octets: &[u8]) {
        let node = self.config.node.clone();
        let fault = match message.and_then(|m| m.check().map(|()| m)) {
            Ok(m) if matches!(m.header.code, dict::WATCHDOG) => return self.send(base::done(header, &node)),
            Ok(m) if m.header.code == dict::DISCONNECT => {
                self.send(base::done(header, &node));
                // It closes the connection; what it answers before is welcome.
                self.phase = Phase::Leaving;
                return self.set_health(now, Health::Down);
            }
            Ok(m) if m.header.code == dict::CAPABILITIES => {
                return self.send(base::cea(header, &node, node.address, result::SUCCESS));
            }
            Ok(_) => Fault::plain(result::COMMAND_UNSUPPORTED),
            Err(fault) => {
                self.counters.unreadable += 1;
                fault
            }
        };
        self.send(base::refuse(header, octets, &node, &fault));
    }

    fn on_answer(&mut self, message: Result<Message<'_>, Fault>, header: &Header) {
        let Some(open) = self.open.remove(&header.hop_by_hop) else {
            self.counters.stray += 1;
            return;
        };
        self.by_key.remove(&open.key);
        self.counters.answers += 1;
        match message.and_then(|m| cx::read_answer(&m, &open.request)) {
            Ok(Reply::Answer(answer)) => self.answers.push_back((open.key, answer)),
            Ok(Reply::Elsewhere) => self.refused.push_back(open.key),
            Err(_) => {
                self.counters.senseless += 1;
                self.answers.push_back((open.key, AaaAnswer::Rejected));
            }
        }
    }
}

impl Link for DiameterLink {
    fn leads_to(&self, realm: &str) -> bool {
        self.config.leads_to(realm)
    }

    fn has_room(&self) -> bool {
        self.phase == Phase::Open && self.open.len() < self.config.window
    }

    fn submit(&mut self, now: Now, key: u64, request: &Arc<AaaRequest>, again: bool, _rng: &mut dyn Random) -> bool {
        if !self.has_room() {
            return false;
        }
        let node = &self.config.node;
        let session = format!("{};{};{key}", node.host, node.state_id);
        let end_to_end = node.first_end_to_end.wrapping_add(key as u32);
        let hop_by_hop = self.hop();
        let names = Names { hop_by_hop, end_to_end, session: &session, again };
        let octets = cx::write_request(request, &self.config.node, names);
        self.counters.repeated += u64::from(again);
        self.send(octets);
        self.open.insert(hop_by_hop, Open { key, request: request.clone(), sent: now.mono_ms });
        self.by_key.insert(key, hop_by_hop);
        self.worries.push_back((now.mono_ms + self.config.timing.dead_after_ms, hop_by_hop));
        true
    }

    fn forget(&mut self, key: u64) {
        if let Some(hop) = self.by_key.remove(&key) {
            self.open.remove(&hop);
        }
    }

    fn on_packet(&mut self, now: Now, _lane: u16, _from: SocketAddr, bytes: &[u8], rng: &mut dyn Random) {
        let Some(header) = Header::read(bytes).filter(|_| self.phase != Phase::Closed) else {
            self.counters.unreadable += 1;
            return;
        };
        self.heard = now.mono_ms;
        let message = Message::parse(bytes);
        if header.is_request() {
            self.on_request(now, message, &header, bytes);
        } else if header.code == dict::CAPABILITIES {
            match message {
                Ok(m) => return self.on_cea(now, &m, rng),
                Err(_) => return self.break_off(now),
            }
        } else if !matches!(header.code, dict::WATCHDOG | dict::DISCONNECT) {
            self.on_answer(message, &header);
        }
        let dwa = !header.is_request() && header.code == dict::WATCHDOG;
        if let Some(w) = &mut self.watchdog {
            w.heard(now.mono_ms, dwa, self.config.timing.probe_every_ms, rng);
        }
        self.follow(now);
    }

    fn on_lane(&mut self, now: Now, _lane: u16, up: bool, rng: &mut dyn Random) {
        if !up || self.phase != Phase::Closed {
            self.drop_connection(now);
        }
        if up {
            // The first connection is waited for; later ones are made while the peer counts as down.
            if !self.known {
                self.health = Health::Connecting;
            }
            self.phase = Phase::Asking(now.mono_ms + CAPABILITIES_MS);
            let names = self.names(rng);
            let octets = base::cer(names, &self.config.node);
            self.send(octets);
        }
    }

    fn on_timer(&mut self, now: Now, rng: &mut dyn Random) {
        if matches!(self.phase, Phase::Asking(until) if until <= now.mono_ms) {
            return self.break_off(now);
        }
        while let Some((at, hop)) = self.worries.front().copied() {
            if at > now.mono_ms {
                break;
            }
            self.worries.pop_front();
            let silent = self.open.get(&hop).is_some_and(|o| self.heard <= o.sent);
            if silent && let Some(w) = &mut self.watchdog {
                let due = w.press(now.mono_ms, self.config.timing.dead_after_ms);
                self.act(now, due, rng);
            }
        }
        if let Some(w) = &mut self.watchdog {
            let due = w.on_timer(now.mono_ms, rng);
            self.act(now, due, rng);
        }
    }

    fn next_deadline(&self) -> Option<u64> {
        let asking = match self.phase {
            Phase::Asking(until) => Some(until),
            _ => None,
        };
        let worry = self.worries.front().map(|(at, _)| *at);
        [asking, worry, self.watchdog.as_ref().map(Watchdog::deadline)].into_iter().flatten().min()
    }

    fn poll_effect(&mut self) -> Option<LinkEffect<'_>> {
        match self.out.pop_front()? {
            Out::Close => Some(LinkEffect::Close { lane: 0 }),
            Out::Send(octets) => {
                self.counters.sent += 1;
                self.sending = octets;
                Some(LinkEffect::Send { lane: 0, to: self.config.auth, bytes: &self.sending })
            }
        }
    }

    fn poll_answer(&mut self) -> Option<(u64, AaaAnswer)> {
        self.answers.pop_front()
    }

    fn poll_lost(&mut self) -> Option<u64> {
        self.lost.pop_front()
    }

    fn poll_refused(&mut self) -> Option<u64> {
        self.refused.pop_front()
    }

    fn farewell(&mut self) {
        if matches!(self.phase, Phase::Open) {
            self.phase = Phase::Leaving;
            let names = (self.hop(), self.next_hop);
            let octets = base::dpr(names, &self.config.node);
            self.send(octets);
        }
    }

    fn health(&self) -> Health {
        self.health
    }

    fn admits_canary(&mut self, now: Now) -> bool {
        let every = self.config.timing.probe_every_ms;
        self.health == Health::Down && self.has_room() && self.canary.flies(now, every)
    }

    fn counters(&self) -> LinkCounters {
        self.counters
    }
}

#[cfg(test)]
mod tests;
