//! The server's end of Diameter: who may connect, whether a request is what it says and meant for us, and the
//! duplicates.
//!
//! ```text
//! request --> readable, allowed, complete? --> for us? --> seen before? --no--> Asked --> answer, kept
//!                 |no: 3xxx, 5xxx              |no: 3002, 3005, 5004   |yes: the same answer, on the newest way
//! ```
//!
//! A repetition bears the Origin-Host, End-to-End Identifier and Session-Id of the first (RFC 6733 section 6.2). It
//! may come by another relay, so what is kept is the answer and not its octets: each way gets its own Hop-by-Hop
//! Identifier and Proxy-Info.

use super::base;
use super::cx::{self, Asked as Repeated};
use super::dict::{self, result};
use super::message::{Fault, Header, Message};
use super::watchdog::{Due, Watchdog};
use crate::exchange::{AaaAnswer, AaaRequest};
use crate::server::{AskTicket, End, EndConfig, EndCounters, EndEffect, Origin, Received};
use core::net::IpAddr;
use portunus_keydist::{Now, Random};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// A CER must come within this, and a connection be closed within this after a DPR.
const PATIENCE_MS: u64 = 5_000;

enum Phase {
    /// Until then.
    AwaitsCer(u64),
    Open(Watchdog),
    /// Said goodbye; closed at that time.
    Closing(u64),
}

struct Connection {
    local: IpAddr,
    phase: Phase,
    /// Its Origin-Host.
    host: Arc<str>,
    origin: Option<Origin>,
}

type Slot = (Box<str>, u32);

struct Seen {
    session: Box<[u8]>,
    ticket: u64,
    /// `None` while it is being made.
    answer: Option<AaaAnswer>,
}

struct Pending {
    slot: Slot,
    connection: u64,
    origin: Origin,
    repeated: Repeated,
}

/// See the module's text.
pub struct DiameterEnd {
    config: EndConfig,
    rng: Box<dyn Random + Send>,
    connections: BTreeMap<u64, Connection>,
    seen: BTreeMap<Slot, Seen>,
    order: VecDeque<(u64, Slot, u64)>,
    pending: BTreeMap<u64, Pending>,
    next_ticket: u64,
    next_hop: u32,
    effects: VecDeque<EndEffect>,
    scratch: Vec<u8>,
    counters: EndCounters,
}

impl DiameterEnd {
    /// An end for these peers.
    pub fn new(config: EndConfig, rng: Box<dyn Random + Send>) -> Self {
        Self {
            config,
            rng,
            connections: BTreeMap::new(),
            seen: BTreeMap::new(),
            order: VecDeque::new(),
            pending: BTreeMap::new(),
            next_ticket: 0,
            next_hop: 0,
            effects: VecDeque::new(),
            scratch: Vec::new(),
            counters: EndCounters::default(),
        }
    }

    fn reply(&mut self, octets: Vec<u8>) -> Received<'_> {
        self.scratch = octets;
        Received::Answer(&self.scratch)
    }

    fn refuse(&mut self, header: &Header, bytes: &[u8], fault: &Fault) -> Received<'_> {
        let octets = base::refuse(header, bytes, &self.config.node, fault);
        self.reply(octets)
    }

    fn expire(&mut self, now: Now) {
        while let Some((at, slot, ticket)) = self.order.front() {
            if self.order.len() <= self.config.cache && now.mono_ms < at + self.config.cache_ms {
                return;
            }
            if self.seen.get(slot).is_some_and(|s| s.ticket == *ticket) {
                self.seen.remove(slot);
                self.pending.remove(ticket);
            }
            self.order.pop_front();
        }
    }

    /// A peer introduces itself.
    fn on_cer(&mut self, now: Now, number: u64, origin: &Origin, message: &Message<'_>) -> Received<'_> {
        let host = message.avps().text(&dict::ORIGIN_HOST).unwrap_or_default();
        let proven = match origin {
            Origin::Stream { name, .. } => !self.config.hosts_proven || name.eq_ignore_ascii_case(host),
            Origin::Datagram { .. } => false,
        };
        let code = if !proven || host.eq_ignore_ascii_case(&self.config.node.host) {
            self.counters.stranger += 1;
            result::UNKNOWN_PEER
        } else if !base::is_capable(message) {
            result::NO_COMMON_APPLICATION
        } else if !base::is_secured_elsewhere(message) {
            result::NO_COMMON_SECURITY
        } else {
            result::SUCCESS
        };
        let watchdog = Watchdog::new(now.mono_ms, self.config.watchdog_ms, 0, self.rng.as_mut());
        let phase = if code == result::SUCCESS {
            // A host that introduces itself anew has lost its former connection, whatever we still believe of it.
            let former = self.connections.iter().filter(|(n, c)| **n != number && c.host.eq_ignore_ascii_case(host));
            self.effects.extend(former.map(|(n, _)| EndEffect::Close { connection: *n }));
            Phase::Open(watchdog)
        } else {
            Phase::Closing(now.mono_ms)
        };
        let Some(c) = self.connections.get_mut(&number) else { return Received::Close };
        c.phase = phase;
        c.host = host.into();
        c.origin = Some(origin.clone());
        let local = c.local;
        let octets = base::cea(&message.header, &self.config.node, local, code);
        self.reply(octets)
    }

    fn on_request(&mut self, now: Now, number: u64, origin: &Origin, message: &Message<'_>) -> Received<'_> {
        let header = &message.header;
        match header.code {
            dict::CAPABILITIES => return self.on_cer(now, number, origin, message),
            dict::WATCHDOG => {
                self.counters.probes += 1;
                let octets = base::done(header, &self.config.node);
                return self.reply(octets);
            }
            dict::DISCONNECT => {
                if let Some(c) = self.connections.get_mut(&number) {
                    c.phase = Phase::Closing(now.mono_ms + PATIENCE_MS);
                }
                let octets = base::done(header, &self.config.node);
                return self.reply(octets);
            }
            _ => {}
        }
        let read = self.is_for_us(message).and_then(|()| cx::read_request(message));
        match read {
            Ok(request) => self.question(now, number, origin, message, request),
            Err(fault) => {
                self.counters.malformed += 1;
                self.refuse(header, message.octets(), &fault)
            }
        }
    }

    /// Routing (RFC 6733 section 6.1): we are where it ends, and have not passed it on before.
    fn is_for_us(&self, message: &Message<'_>) -> Result<(), Fault> {
        let avps = message.avps();
        let ours = |value: &[u8]| value.eq_ignore_ascii_case(self.config.node.host.as_bytes());
        if avps.clone().any(|a| a.is(&dict::ROUTE_RECORD) && ours(a.value)) {
            return Err(Fault::plain(result::LOOP_DETECTED));
        }
        if avps.first(&dict::DESTINATION_HOST).is_some_and(|a| !ours(a.value)) {
            return Err(Fault::plain(result::UNABLE_TO_DELIVER));
        }
        let Some(realm) = avps.first(&dict::DESTINATION_REALM) else {
            return Err(Fault::missing(&dict::DESTINATION_REALM));
        };
        let served = self.config.realms.iter().any(|r| realm.value.eq_ignore_ascii_case(r.as_bytes()));
        if served { Ok(()) } else { Err(Fault::about(result::INVALID_AVP_VALUE, &realm)) }
    }

    /// A good question: a repetition, or something new.
    fn question(
        &mut self,
        now: Now,
        number: u64,
        origin: &Origin,
        message: &Message<'_>,
        request: AaaRequest,
    ) -> Received<'_> {
        let asker = message.avps().text(&dict::ORIGIN_HOST).unwrap_or_default();
        let slot: Slot = (asker.into(), message.header.end_to_end);
        let repeated = Repeated::of(message);
        if let Some(seen) = self.seen.get(&slot).filter(|s| s.session == repeated.session) {
            if let Some(answer) = &seen.answer {
                self.counters.repeated += 1;
                let octets = cx::write_answer(&repeated, &self.config.node, answer);
                return self.reply(octets);
            }
            // The answer goes the newest way.
            self.counters.waiting += 1;
            if let Some(p) = self.pending.get_mut(&seen.ticket) {
                *p = Pending { slot, connection: number, origin: origin.clone(), repeated };
            }
            return Received::Nothing;
        }
        if self.pending.len() >= self.config.pending {
            self.counters.full += 1;
            return self.refuse(&message.header, message.octets(), &Fault::plain(result::TOO_BUSY));
        }
        let Origin::Stream { name: client, .. } = origin else { return Received::Nothing };
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        let seen = Seen { session: repeated.session.clone(), ticket, answer: None };
        if let Some(old) = self.seen.insert(slot.clone(), seen) {
            self.pending.remove(&old.ticket);
        }
        self.order.push_back((now.mono_ms, slot.clone(), ticket));
        self.pending.insert(ticket, Pending { slot, connection: number, origin: origin.clone(), repeated });
        self.counters.asked += 1;
        Received::Asked { ticket: AskTicket(ticket), client: client.clone(), request }
    }

    /// What is due on one connection.
    fn tend(&mut self, now: Now, number: u64) {
        let Some(c) = self.connections.get_mut(&number) else { return };
        let due = match &mut c.phase {
            Phase::AwaitsCer(until) | Phase::Closing(until) if *until <= now.mono_ms => Due::Close,
            Phase::Open(watchdog) => watchdog.on_timer(now.mono_ms, self.rng.as_mut()),
            _ => Due::Nothing,
        };
        match (due, &c.origin) {
            (Due::Close, _) => {
                // Closed once; the timer rests until it is.
                c.phase = Phase::Closing(u64::MAX);
                self.effects.push_back(EndEffect::Close { connection: number });
            }
            (Due::Probe, Some(origin)) => {
                self.next_hop = self.next_hop.wrapping_add(1);
                let octets = base::dwr((self.next_hop, self.rng.next_u64() as u32), &self.config.node);
                self.effects.push_back(EndEffect::Send { origin: origin.clone(), octets });
            }
            _ => {}
        }
    }
}

impl End for DiameterEnd {
    fn on_connection(&mut self, now: Now, connection: u64, local: Option<IpAddr>) {
        match local {
            Some(local) => {
                let phase = Phase::AwaitsCer(now.mono_ms + PATIENCE_MS);
                let c = Connection { local, phase, host: "".into(), origin: None };
                self.connections.insert(connection, c);
            }
            None => {
                self.connections.remove(&connection);
            }
        }
    }

    fn on_packet(&mut self, now: Now, origin: &Origin, bytes: &[u8]) -> Received<'_> {
        self.expire(now);
        let Origin::Stream { connection: number, .. } = origin else { return Received::Nothing };
        let number = *number;
        let Some(header) = Header::read(bytes) else { return Received::Close };
        let cer = header.is_request() && header.code == dict::CAPABILITIES;
        match self.connections.get_mut(&number).map(|c| &mut c.phase) {
            None => return Received::Close,
            // Nothing is listened to before a CER, or after a goodbye.
            Some(Phase::AwaitsCer(_)) if !cer => {
                self.counters.stranger += 1;
                return Received::Close;
            }
            Some(Phase::Closing(_)) => return Received::Nothing,
            Some(Phase::AwaitsCer(_)) => {}
            Some(Phase::Open(watchdog)) => {
                let dwa = !header.is_request() && header.code == dict::WATCHDOG;
                watchdog.heard(now.mono_ms, dwa, self.config.watchdog_ms, self.rng.as_mut());
            }
        }
        let message = Message::parse(bytes);
        if !header.is_request() {
            self.counters.unreadable += u64::from(message.is_err());
            return Received::Nothing;
        }
        match message.and_then(|m| m.check().map(|()| m)) {
            Ok(message) => self.on_request(now, number, origin, &message),
            Err(fault) => {
                self.counters.unreadable += 1;
                if cer && let Some(c) = self.connections.get_mut(&number) {
                    c.phase = Phase::Closing(now.mono_ms);
                }
                self.refuse(&header, bytes, &fault)
            }
        }
    }

    fn answer(&mut self, _now: Now, ticket: AskTicket, answer: &AaaAnswer) -> Option<(Origin, &[u8])> {
        let p = self.pending.remove(&ticket.0)?;
        let seen = self.seen.get_mut(&p.slot)?;
        seen.answer = Some(*answer);
        // Whoever lost its connection asks again, and finds the answer here.
        if !self.connections.contains_key(&p.connection) {
            return None;
        }
        self.counters.answered += 1;
        self.scratch = cx::write_answer(&p.repeated, &self.config.node, answer);
        Some((p.origin, &self.scratch))
    }

    fn abandon(&mut self, ticket: AskTicket) {
        let Some(p) = self.pending.remove(&ticket.0) else { return };
        if self.seen.get(&p.slot).is_some_and(|s| s.ticket == ticket.0) {
            self.seen.remove(&p.slot);
        }
        // A stream repeats nothing by itself: say so, and it is asked again later or elsewhere.
        let mut b = super::Builder::answer(&p.repeated.header, true);
        b.put(&dict::SESSION_ID, &p.repeated.session).number(&dict::RESULT_CODE, result::TOO_BUSY);
        base::from(&mut b, &self.config.node);
        b.wire(&p.repeated.proxy_info);
        self.effects.push_back(EndEffect::Send { origin: p.origin, octets: b.finish() });
    }

    fn on_timer(&mut self, now: Now) {
        let due: Vec<u64> = self.connections.keys().copied().collect();
        for number in due {
            self.tend(now, number);
        }
    }

    fn next_deadline(&self) -> Option<u64> {
        let of = |c: &Connection| match &c.phase {
            Phase::AwaitsCer(at) | Phase::Closing(at) => *at,
            Phase::Open(watchdog) => watchdog.deadline(),
        };
        self.connections.values().map(of).min()
    }

    fn poll_effect(&mut self) -> Option<EndEffect> {
        self.effects.pop_front()
    }

    fn farewell(&mut self) {
        for c in self.connections.values_mut() {
            if let (Phase::Open(_), Some(origin)) = (&c.phase, &c.origin) {
                self.next_hop = self.next_hop.wrapping_add(1);
                let octets = base::dpr((self.next_hop, self.next_hop), &self.config.node);
                self.effects.push_back(EndEffect::Send { origin: origin.clone(), octets });
                c.phase = Phase::Closing(u64::MAX);
            }
        }
    }

    fn counters(&self) -> EndCounters {
        self.counters
    }
}

#[cfg(test)]
mod tests;
