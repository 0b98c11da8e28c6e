//! The client's end of RADIUS towards one server: identifiers, repetition, the outstanding window, and whether the
//! server lives.
//!
//! ```text
//!            answer proved                        3 sends and nothing heard for dead_after (UDP)
//!   Up  <----------------------  any request  -------------------------------------------------->  Down
//!    ^                                             last connection lost (RadSec)                    |
//!    |                                                                                              |
//!    +---- `revive_after` probes (Status-Server, RFC 5997) or one canary answered; or connected <----+
//! ```
//!
//! A lane is a space of 256 identifiers: a source port over UDP, a connection over TLS (RFC 6613 section 2.6.5). Over
//! UDP a request is repeated unchanged from the same port, as RFC 5080 section 2.2.1 has it, with a doubling and
//! jittered interval; over TLS it is never repeated, and a connection on which nothing was heard for `dead_after`
//! while something was asked is given up.

use super::lane::Lane;
use super::states::States;
use super::{Builder, Code, Packet, carriage, check_answer};
use crate::client::link::{Canary, Health, Link, LinkConfig, LinkCounters, LinkEffect};
use crate::exchange::{AaaAnswer, AaaRequest};
use core::net::SocketAddr;
use portunus_keydist::{Now, Random};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

/// What an exchange is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Request(u64),
    Probe,
    /// Nobody waits any more, but over TLS the answer may still come, so that the identifier is not free.
    Abandoned,
}

struct Exchange {
    purpose: Purpose,
    lane: u16,
    id: u8,
    code: Code,
    authenticator: [u8; 16],
    request: Option<Arc<AaaRequest>>,
    packet: Vec<u8>,
    sends: u32,
    first_sent: u64,
    /// What had been heard, on the lane (RadSec) or the link (UDP), when it was first sent.
    heard: u64,
    interval: u64,
    timer_at: u64,
    /// Tells a slot's tenants apart in the outbox.
    serial: u64,
}

enum Out {
    Send { slot: u32, serial: u64 },
    Close { lane: u16 },
}

/// See the module's text.
pub struct RadiusLink {
    config: LinkConfig,
    lanes: Vec<Lane>,
    next_lane: usize,
    table: Vec<Option<Exchange>>,
    vacant: Vec<u32>,
    by_key: BTreeMap<u64, u32>,
    timers: BTreeSet<(u64, u32)>,
    out: VecDeque<Out>,
    answers: VecDeque<(u64, AaaAnswer)>,
    lost: VecDeque<u64>,
    health: Health,
    serial: u64,
    /// Next probe while down; next look at silent connections while up.
    housekeeping_at: Option<u64>,
    canary: Canary,
    revived: u8,
    states: States,
    buffers: Vec<Vec<u8>>,
    counters: LinkCounters,
}

impl RadiusLink {
    /// A link to one server; over UDP it counts as up until it proves otherwise.
    pub fn new(config: LinkConfig) -> Self {
        let lanes = (0..config.lanes.max(1)).map(|_| Lane::new(!config.stream)).collect();
        let health = if config.stream { Health::Connecting } else { Health::Up };
        Self {
            config,
            lanes,
            next_lane: 0,
            table: Vec::new(),
            vacant: Vec::new(),
            by_key: BTreeMap::new(),
            timers: BTreeSet::new(),
            out: VecDeque::new(),
            answers: VecDeque::new(),
            lost: VecDeque::new(),
            health,
            serial: 0,
            housekeeping_at: None,
            canary: Canary::default(),
            revived: 0,
            states: States::default(),
            buffers: Vec::new(),
            counters: LinkCounters::default(),
        }
    }

    fn exchange(&self, slot: u32) -> Option<&Exchange> {
        self.table.get(slot as usize)?.as_ref()
    }

    /// A lane with a free identifier, taking turns.
    fn free_lane(&self) -> Option<usize> {
        let n = self.lanes.len();
        (0..n).map(|i| (self.next_lane + i) % n).find(|i| self.lanes.get(*i).is_some_and(Lane::has_room))
    }

    fn address(&self, code: Code) -> SocketAddr {
        if code == Code::AccountingRequest { self.config.acct } else { self.config.auth }
    }

    /// Writes a request, or a probe where there is none. The authenticator is the one that the answer is bound to.
    fn write(
        &mut self,
        now: Now,
        id: u8,
        request: Option<&AaaRequest>,
        rng: &mut dyn Random,
    ) -> Option<(Vec<u8>, [u8; 16])> {
        let code = request.map_or(Code::StatusServer, carriage::code_of);
        let mut b = Builder::new(self.buffers.pop().unwrap_or_default(), code, id);
        match request {
            Some(r) => carriage::write_request(&mut b, r, &self.config.nas_identifier, self.states.find(r, now)),
            None => {
                b.put(super::attr::NAS_IDENTIFIER, self.config.nas_identifier.as_bytes());
            }
        }
        let mut unpredictable = [0u8; 16];
        rng.fill(&mut unpredictable);
        let packet = b.finish_request(&unpredictable, &self.config.secret).ok()?;
        // Accounting computes its own.
        let authenticator = Packet::parse(&packet).ok()?.authenticator();
        Some((packet, authenticator))
    }

    /// Takes an identifier and sends. `request` absent: a probe.
    fn start(
        &mut self,
        now: Now,
        lane: usize,
        purpose: Purpose,
        request: Option<&Arc<AaaRequest>>,
        rng: &mut dyn Random,
    ) -> bool {
        let Some(id) = self.lanes.get(lane).and_then(Lane::free_id) else { return false };
        let Some((packet, authenticator)) = self.write(now, id, request.map(Arc::as_ref), rng) else { return false };
        let interval = match (purpose, self.config.stream) {
            (Purpose::Probe, _) => self.config.timing.probe_every_ms,
            (_, true) => self.config.timing.dead_after_ms,
            (_, false) => jitter(self.config.timing.repeat_initial_ms, 10, rng),
        };
        let timer_at = now.mono_ms + interval;
        let slot = self.vacant.pop().unwrap_or(self.table.len() as u32);
        self.serial += 1;
        let exchange = Exchange {
            purpose,
            lane: lane as u16,
            id,
            code: request.map_or(Code::StatusServer, |r| carriage::code_of(r)),
            authenticator,
            request: request.cloned(),
            packet,
            sends: 1,
            first_sent: now.mono_ms,
            heard: self.heard(lane),
            interval,
            timer_at,
            serial: self.serial,
        };
        match self.table.get_mut(slot as usize) {
            Some(place) => *place = Some(exchange),
            None => self.table.push(Some(exchange)),
        }
        if let Some(l) = self.lanes.get_mut(lane) {
            l.take(id, slot);
        }
        self.next_lane = lane + 1;
        self.timers.insert((timer_at, slot));
        self.out.push_back(Out::Send { slot, serial: self.serial });
        if let Purpose::Request(key) = purpose {
            self.by_key.insert(key, slot);
        }
        true
    }

    /// Answers heard where silence would mean death: on the connection, or from the server at all.
    fn heard(&self, lane: usize) -> u64 {
        if self.config.stream { self.lanes.get(lane).map_or(0, |l| l.heard) } else { self.counters.answers }
    }

    /// Ends an exchange and frees its identifier.
    fn end(&mut self, slot: u32) -> Option<Exchange> {
        let exchange = self.table.get_mut(slot as usize)?.take()?;
        self.vacant.push(slot);
        self.timers.remove(&(exchange.timer_at, slot));
        if let Purpose::Request(key) = exchange.purpose {
            self.by_key.remove(&key);
        }
        if let Some(lane) = self.lanes.get_mut(usize::from(exchange.lane)) {
            lane.give_back(exchange.id);
            lane.probing &= exchange.purpose != Purpose::Probe;
        }
        Some(exchange)
    }

    fn recycle(&mut self, exchange: Exchange) {
        if self.buffers.len() < 64 {
            self.buffers.push(exchange.packet);
        }
    }

    fn go_down(&mut self, now: Now, rng: &mut dyn Random) {
        if self.health != Health::Down {
            self.health = Health::Down;
            self.counters.downs += 1;
        }
        self.revived = 0;
        let every = self.config.timing.probe_every_ms;
        self.canary.rest(now, every);
        self.housekeeping_at = if self.config.stream { None } else { Some(now.mono_ms + jitter(every, 25, rng)) };
    }

    fn go_up(&mut self, now: Now, rng: &mut dyn Random) {
        self.health = Health::Up;
        self.revived = 0;
        let every = self.config.timing.watchdog_ms;
        self.housekeeping_at = self.config.stream.then(|| now.mono_ms + jitter(every, 10, rng));
    }

    /// A connection is gone: what was asked on it is to be asked again.
    fn drop_lane(&mut self, now: Now, lane: u16, rng: &mut dyn Random) {
        let Some(l) = self.lanes.get_mut(usize::from(lane)) else { return };
        l.up = false;
        for slot in l.holders() {
            if let Some(e) = self.end(slot) {
                if let Purpose::Request(key) = e.purpose {
                    self.lost.push_back(key);
                }
                self.recycle(e);
            }
        }
        if !self.lanes.iter().any(|l| l.up) {
            self.go_down(now, rng);
        }
    }

    fn break_lane(&mut self, now: Now, lane: u16, rng: &mut dyn Random) {
        self.out.push_back(Out::Close { lane });
        self.drop_lane(now, lane, rng);
    }

    fn on_exchange_timer(&mut self, now: Now, slot: u32, rng: &mut dyn Random) {
        let stream = self.config.stream;
        let timing = self.config.timing;
        let Some(e) = self.exchange(slot) else { return };
        let silent = self.heard(usize::from(e.lane)) == e.heard && now.mono_ms >= e.first_sent + timing.dead_after_ms;
        let Some(Some(e)) = self.table.get_mut(slot as usize) else { return };
        if e.purpose == Purpose::Probe {
            let lane = e.lane;
            if let Some(e) = self.end(slot) {
                self.recycle(e);
            }
            self.revived = 0;
            if stream {
                self.break_lane(now, lane, rng);
            }
            return;
        }
        if stream && silent {
            let lane = e.lane;
            return self.break_lane(now, lane, rng);
        }
        if stream {
            e.timer_at = now.mono_ms + timing.dead_after_ms;
        } else {
            e.sends += 1;
            e.interval = (e.interval * 2).min(timing.repeat_max_ms);
            e.timer_at = now.mono_ms + jitter(e.interval, 10, rng);
            self.counters.repeated += 1;
            self.out.push_back(Out::Send { slot, serial: e.serial });
        }
        let (at, sends) = (e.timer_at, e.sends);
        self.timers.insert((at, slot));
        if !stream && silent && sends > 3 && self.health == Health::Up {
            self.go_down(now, rng);
        }
    }

    /// Probes a server that is down, or connections that have been silent.
    fn housekeeping(&mut self, now: Now, rng: &mut dyn Random) {
        let timing = self.config.timing;
        if self.health == Health::Down {
            self.housekeeping_at = Some(now.mono_ms + jitter(timing.probe_every_ms, 25, rng));
            if !self.lanes.iter().any(|l| l.probing)
                && let Some(lane) = self.free_lane()
            {
                self.probe(now, lane, rng);
            }
            return;
        }
        self.housekeeping_at = Some(now.mono_ms + jitter(timing.watchdog_ms, 10, rng));
        for lane in 0..self.lanes.len() {
            let quiet = self
                .lanes
                .get(lane)
                .is_some_and(|l| l.has_room() && !l.probing && l.last_rx + timing.watchdog_ms / 2 <= now.mono_ms);
            if quiet {
                self.probe(now, lane, rng);
            }
        }
    }

    fn probe(&mut self, now: Now, lane: usize, rng: &mut dyn Random) {
        if self.start(now, lane, Purpose::Probe, None, rng) {
            self.counters.probes += 1;
            if let Some(l) = self.lanes.get_mut(lane) {
                l.probing = true;
            }
        }
    }

    /// An answer that proved itself.
    fn accept(&mut self, now: Now, slot: u32, packet: &Packet<'_>, rng: &mut dyn Random) {
        let Some(e) = self.end(slot) else { return };
        self.counters.answers += 1;
        if let Some(l) = self.lanes.get_mut(usize::from(e.lane)) {
            l.last_rx = now.mono_ms;
            l.heard += 1;
        }
        match (e.purpose, e.request.as_deref()) {
            (Purpose::Request(key), Some(request)) => {
                let answer = carriage::read_answer(packet, request).unwrap_or_else(|_| {
                    self.counters.senseless += 1;
                    AaaAnswer::Rejected
                });
                self.states.keep(request, packet, now);
                self.answers.push_back((key, answer));
                if self.health == Health::Down {
                    self.go_up(now, rng);
                }
            }
            (Purpose::Probe, _) if self.health == Health::Down => {
                self.revived += 1;
                if self.revived >= self.config.timing.revive_after {
                    self.go_up(now, rng);
                }
            }
            _ => {}
        }
        self.recycle(e);
    }
}

impl Link for RadiusLink {
    fn leads_to(&self, realm: &str) -> bool {
        self.config.leads_to(realm)
    }

    fn has_room(&self) -> bool {
        self.by_key.len() < self.config.window && self.free_lane().is_some()
    }

    fn submit(&mut self, now: Now, key: u64, request: &Arc<AaaRequest>, _again: bool, rng: &mut dyn Random) -> bool {
        if self.by_key.len() >= self.config.window {
            return false;
        }
        self.free_lane().is_some_and(|lane| self.start(now, lane, Purpose::Request(key), Some(request), rng))
    }

    fn forget(&mut self, key: u64) {
        let Some(slot) = self.by_key.get(&key).copied() else { return };
        if self.config.stream {
            self.by_key.remove(&key);
            if let Some(Some(e)) = self.table.get_mut(slot as usize) {
                e.purpose = Purpose::Abandoned;
            }
        } else if let Some(e) = self.end(slot) {
            self.recycle(e);
        }
    }

    fn on_packet(&mut self, now: Now, lane: u16, from: SocketAddr, bytes: &[u8], rng: &mut dyn Random) {
        let stream = self.config.stream;
        let Ok(packet) = Packet::parse(bytes) else {
            self.counters.unreadable += 1;
            if stream {
                self.break_lane(now, lane, rng);
            }
            return;
        };
        let slot = self.lanes.get(usize::from(lane)).and_then(|l| l.holder(packet.id()));
        let Some((slot, e)) = slot.and_then(|slot| self.exchange(slot).map(|e| (slot, e))) else {
            self.counters.stray += 1;
            return;
        };
        if !stream && from != self.address(e.code) {
            self.counters.stray += 1;
            return;
        }
        if check_answer(&packet, (e.code, &e.authenticator), &self.config.secret).is_err() {
            self.counters.untrusted += 1;
            // Nobody but the peer speaks inside TLS: the stream is out of step (RFC 6613 section 2.6.4).
            if stream {
                self.break_lane(now, lane, rng);
            }
            return;
        }
        self.accept(now, slot, &packet, rng);
    }

    fn on_lane(&mut self, now: Now, lane: u16, up: bool, rng: &mut dyn Random) {
        if !self.config.stream {
            return;
        }
        let was = self.lanes.get(usize::from(lane)).is_some_and(|l| l.up);
        if was || !up {
            self.drop_lane(now, lane, rng);
        }
        if up {
            if let Some(l) = self.lanes.get_mut(usize::from(lane)) {
                l.up = true;
                l.last_rx = now.mono_ms;
            }
            self.go_up(now, rng);
        }
    }

    fn on_timer(&mut self, now: Now, rng: &mut dyn Random) {
        while let Some(&(at, slot)) = self.timers.first() {
            if at > now.mono_ms {
                break;
            }
            self.timers.pop_first();
            self.on_exchange_timer(now, slot, rng);
        }
        if self.housekeeping_at.is_some_and(|at| at <= now.mono_ms) {
            self.housekeeping(now, rng);
        }
    }

    fn next_deadline(&self) -> Option<u64> {
        let timer = self.timers.first().map(|(at, _)| *at);
        [timer, self.housekeeping_at].into_iter().flatten().min()
    }

    fn poll_effect(&mut self) -> Option<LinkEffect<'_>> {
        loop {
            match self.out.pop_front()? {
                Out::Close { lane } => return Some(LinkEffect::Close { lane }),
                Out::Send { slot, serial } => {
                    // What was answered or given up in the meantime is not sent.
                    if self.exchange(slot).is_some_and(|e| e.serial == serial) {
                        self.counters.sent += 1;
                        let e = self.exchange(slot)?;
                        let to = self.address(e.code);
                        return Some(LinkEffect::Send { lane: e.lane, to, bytes: &e.packet });
                    }
                }
            }
        }
    }

    fn poll_answer(&mut self) -> Option<(u64, AaaAnswer)> {
        self.answers.pop_front()
    }

    fn poll_lost(&mut self) -> Option<u64> {
        self.lost.pop_front()
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

/// `ms` ± `percent`.
fn jitter(ms: u64, percent: u64, rng: &mut dyn Random) -> u64 {
    let span = ms * percent / 100;
    ms - span + rng.next_u64() % (2 * span + 1)
}
