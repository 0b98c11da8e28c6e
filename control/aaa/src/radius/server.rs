//! The server's end of RADIUS: who may ask, whether a packet is what it says, and the duplicate cache.
//!
//! ```text
//! packet --> readable? --> client known? --> authenticators right? --> seen before? --no--> Asked --> answer, cached
//!               |no            |no                 |no                    |yes
//!            dropped        dropped             dropped          cached answer, or silence while it is being made
//! ```
//!
//! A repetition is the same identifier and Request Authenticator from the same source (RFC 5080 section 2.2.2). It gets
//! the octets of the first answer, so a question is worked on once; anything else is new and draws a new Rand.
//! Duplicates are kept for `cache_ms` and at most `cache` of them, the oldest going first.

use super::attr::PROXY_STATE;
use super::{Builder, Code, Only, Packet, attr, carriage, check_request};
use crate::exchange::{AaaAnswer, AaaRequest};
use crate::secret::SharedSecret;
use crate::server::{AskTicket, End, EndConfig, EndCounters, Origin, Port, Received};
use core::net::SocketAddr;
use portunus_keydist::{Now, Random};
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

/// What a repetition is recognised by, its Request Authenticator apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Slot {
    source: Source,
    code: u8,
    id: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Source {
    Datagram(SocketAddr, Port),
    Stream(u64),
}

/// Octets that a challenge takes, without long names and Proxy-States.
const ANSWER: usize = 384;

struct Seen {
    authenticator: [u8; 16],
    /// The question that it became.
    ticket: u64,
    /// Empty while the answer is being made.
    answer: Vec<u8>,
}

struct Pending {
    slot: Slot,
    origin: Origin,
    authenticator: [u8; 16],
    secret: SharedSecret,
    realm: Option<Arc<str>>,
    state: Option<Box<[u8]>>,
    /// The Proxy-State attributes, as they came.
    proxy_state: Vec<u8>,
}

/// See the module's text.
pub struct RadiusEnd {
    config: EndConfig,
    radsec: SharedSecret,
    rng: Box<dyn Random + Send>,
    seen: HashMap<Slot, Seen>,
    /// When each entry of `seen` was made, oldest first.
    order: VecDeque<(u64, Slot, u64)>,
    pending: HashMap<u64, Pending>,
    next_ticket: u64,
    scratch: Vec<u8>,
    counters: EndCounters,
}

impl RadiusEnd {
    /// An end for these clients. Connections need no entry: their certificates were checked where TLS ends.
    pub fn new(mut config: EndConfig, rng: Box<dyn Random + Send>) -> Self {
        config.clients.sort_by_key(|c| core::cmp::Reverse(c.prefix));
        Self {
            config,
            radsec: SharedSecret::radsec(),
            rng,
            seen: HashMap::new(),
            order: VecDeque::new(),
            pending: HashMap::new(),
            next_ticket: 0,
            scratch: Vec::new(),
            counters: EndCounters::default(),
        }
    }

    fn client(&self, origin: &Origin) -> Option<(Arc<str>, SharedSecret)> {
        match origin {
            Origin::Stream { name, .. } => Some((name.clone(), self.radsec.clone())),
            Origin::Datagram { peer, .. } => {
                let ip = peer.ip().to_canonical();
                let client = self.config.clients.iter().find(|c| c.covers(ip))?;
                Some((client.name.clone(), client.secret.clone()))
            }
        }
    }

    fn expire(&mut self, now: Now) {
        while let Some((at, slot, ticket)) = self.order.front().copied() {
            if self.order.len() <= self.config.cache && now.mono_ms < at + self.config.cache_ms {
                return;
            }
            self.order.pop_front();
            // An identifier used again has a later entry of its own.
            if self.seen.get(&slot).is_some_and(|s| s.ticket == ticket) {
                self.seen.remove(&slot);
                self.pending.remove(&ticket);
            }
        }
    }

    /// The answer to a probe (RFC 5997 section 3): proof that requests would be answered.
    fn answer_probe(&mut self, origin: &Origin, packet: &Packet<'_>, secret: &SharedSecret) -> Received<'_> {
        let acct = matches!(origin, Origin::Datagram { port: Port::Acct, .. });
        let code = if acct { Code::AccountingResponse } else { Code::AccessAccept };
        let mut b = Builder::new(std::mem::take(&mut self.scratch), code, packet.id());
        b.put_raw(&proxy_state(packet));
        match b.finish_answer(&packet.authenticator(), secret) {
            Ok(octets) => {
                self.counters.probes += 1;
                self.scratch = octets;
                Received::Answer(&self.scratch)
            }
            Err(_) => Received::Nothing,
        }
    }

    /// A proven question: a repetition, or something new.
    fn question(
        &mut self,
        now: Now,
        origin: &Origin,
        client: Arc<str>,
        secret: SharedSecret,
        packet: &Packet<'_>,
    ) -> Received<'_> {
        let source = match origin {
            Origin::Datagram { peer, port } => Source::Datagram(*peer, *port),
            Origin::Stream { connection, .. } => Source::Stream(*connection),
        };
        let slot = Slot { source, code: packet.code() as u8, id: packet.id() };
        if self.seen.get(&slot).is_some_and(|s| s.authenticator == packet.authenticator()) {
            let Some(seen) = self.seen.get(&slot) else { return Received::Nothing };
            if seen.answer.is_empty() {
                self.counters.waiting += 1;
                return Received::Nothing;
            }
            self.counters.repeated += 1;
            return Received::Answer(&seen.answer);
        }
        if self.pending.len() >= self.config.pending {
            self.counters.full += 1;
            return Received::Nothing;
        }
        let request = carriage::read_request(packet);
        if request.is_err() {
            self.counters.malformed += 1;
            if packet.code() == Code::AccountingRequest {
                return Received::Nothing;
            }
        }
        let state = match packet.only(attr::STATE) {
            Only::One(state) => Some(state.into()),
            _ => None,
        };
        let realm = match &request {
            Ok(AaaRequest::Authenticate(a)) => Some(a.realm.clone()),
            _ => None,
        };
        let ticket = self.open(
            now,
            Pending {
                slot,
                origin: origin.clone(),
                authenticator: packet.authenticator(),
                secret,
                realm,
                state,
                proxy_state: proxy_state(packet),
            },
        );
        match request {
            Ok(request) => {
                self.counters.asked += 1;
                Received::Asked { ticket: AskTicket(ticket), client, request }
            }
            Err(_) => match self.answer(now, AskTicket(ticket), &AaaAnswer::Rejected) {
                Some((_, octets)) => Received::Answer(octets),
                None => Received::Nothing,
            },
        }
    }

    /// Notes a question that must be answered once.
    fn open(&mut self, now: Now, pending: Pending) -> u64 {
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        let slot = pending.slot;
        let seen = Seen { authenticator: pending.authenticator, ticket, answer: Vec::new() };
        if let Some(old) = self.seen.insert(slot, seen) {
            // The client uses the identifier for something new: it has given the old question up.
            self.pending.remove(&old.ticket);
        }
        self.order.push_back((now.mono_ms, slot, ticket));
        self.pending.insert(ticket, pending);
        ticket
    }
}

/// The Proxy-State attributes in wire form, to be repeated unchanged and in order (RFC 2865 section 5.33).
fn proxy_state(packet: &Packet<'_>) -> Vec<u8> {
    let mut raw = Vec::new();
    for a in packet.attributes().filter(|a| a.kind == PROXY_STATE) {
        raw.extend_from_slice(packet.octets().get(a.at..a.at + 2 + a.value.len()).unwrap_or_default());
    }
    raw
}

fn right_port(origin: &Origin, code: Code) -> bool {
    match origin {
        Origin::Stream { .. } => true,
        Origin::Datagram { port: Port::Auth, .. } => code != Code::AccountingRequest,
        Origin::Datagram { port: Port::Acct, .. } => code != Code::AccessRequest,
    }
}

impl End for RadiusEnd {
    fn on_packet(&mut self, now: Now, origin: &Origin, bytes: &[u8]) -> Received<'_> {
        self.expire(now);
        let refuse = |origin: &Origin| match origin {
            Origin::Stream { .. } => Received::Close,
            Origin::Datagram { .. } => Received::Nothing,
        };
        let Some((client, secret)) = self.client(origin) else {
            self.counters.stranger += 1;
            return refuse(origin);
        };
        let Ok(packet) = Packet::parse(bytes) else {
            self.counters.unreadable += 1;
            return refuse(origin);
        };
        if !right_port(origin, packet.code()) || check_request(&packet, &secret).is_err() {
            self.counters.untrusted += 1;
            return refuse(origin);
        }
        if packet.code() == Code::StatusServer {
            return self.answer_probe(origin, &packet, &secret);
        }
        self.question(now, origin, client, secret, &packet)
    }

    fn answer(&mut self, _now: Now, ticket: AskTicket, answer: &AaaAnswer) -> Option<(Origin, &[u8])> {
        // There is no Accounting-Reject: what is not recorded is not answered (RFC 2866 section 2).
        let accounting = |p: &Pending| p.slot.code == Code::AccountingRequest as u8;
        if *answer == AaaAnswer::Rejected && self.pending.get(&ticket.0).is_some_and(accounting) {
            self.abandon(ticket);
            return None;
        }
        let p = self.pending.remove(&ticket.0)?;
        let mut fresh = [0u8; 16];
        let state = match p.state.as_deref() {
            Some(state) => state,
            None => {
                self.rng.fill(&mut fresh);
                &fresh
            }
        };
        let mut b = Builder::new(Vec::with_capacity(ANSWER), carriage::code_of_answer(answer), p.slot.id);
        carriage::write_answer(&mut b, answer, p.realm.as_deref().unwrap_or_default(), state);
        b.put_raw(&p.proxy_state);
        let octets = b.finish_answer(&p.authenticator, &p.secret).ok()?;
        self.counters.answered += 1;
        let seen = self.seen.get_mut(&p.slot)?;
        seen.answer = octets;
        Some((p.origin, &seen.answer))
    }

    fn abandon(&mut self, ticket: AskTicket) {
        if let Some(p) = self.pending.remove(&ticket.0)
            && self.seen.get(&p.slot).is_some_and(|s| s.ticket == ticket.0)
        {
            self.seen.remove(&p.slot);
        }
    }

    fn counters(&self) -> EndCounters {
        self.counters
    }
}

#[cfg(test)]
mod tests;
