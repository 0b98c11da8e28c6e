//! The client of one or more AuCs: coalesces, bounds, fails over and back; each server's link does the protocol.
//!
//! ```text
//! request --> same one under way? --yes--> joins it
//!    |no
//!    v
//! first server that is up and has room --> on its link --> answer --> event
//!    |none has room            |server went down, connection lost
//!    v                         v
//!  waits (bounded)  <----------+           deadline --> Unreachable
//! ```
//!
//! s3 fails at once when every server is known to be down, except for one canary a server and probe interval: waiting
//! would only fill the tables of everybody in front. s11 waits, because what it says stays true.

mod groups;
pub mod link;

use crate::exchange::{AaaAnswer, AaaEvent, AaaRequest, Refused, RequestId, Scheme, Unreachable};
use crate::realms::Realms;
use core::net::SocketAddr;
use groups::{Groups, Sort};
use link::{Health, Link, LinkCounters, LinkEffect};
use portunus_keydist::bugs::{Bug, planted};
use portunus_keydist::{Now, Random};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

/// Most requests that may join one that is under way.
const JOINED_MAX: usize = 16;
/// Waiting requests looked at in vain in one go.
const IDLE_MAX: u32 = 16;

/// Limits and patience of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Most s3 in flight or waiting.
    pub authenticate: usize,
    /// Most s11 in flight or waiting.
    pub account: usize,
    /// Patience for s3, milliseconds; below the proxy's own for the core.
    pub authenticate_ms: u64,
    /// Patience for s11, milliseconds.
    pub account_ms: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { authenticate: 4_096, account: 65_536, authenticate_ms: 3_500, account_ms: 120_000 }
    }
}

/// A lane of a server: one source port or one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LaneId {
    /// Which server, in the order of the configuration.
    pub server: u16,
    /// Which of its lanes.
    pub lane: u16,
}

/// What the client wants done.
#[derive(Debug, PartialEq, Eq)]
pub enum Effect<'a> {
    /// Send one packet.
    Send {
        /// From here.
        lane: LaneId,
        /// To this address.
        to: SocketAddr,
        /// The packet.
        bytes: &'a [u8],
    },
    /// Close this connection and make it anew.
    Close {
        /// Which.
        lane: LaneId,
    },
}

/// What the client counted since it was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ClientCounters {
    /// Requests taken.
    pub requests: u64,
    /// Of these, joined to one under way.
    pub coalesced: u64,
    /// Requests refused because the tables are full.
    pub busy: u64,
    /// Answers other than rejections.
    pub answered: u64,
    /// Rejections.
    pub rejected: u64,
    /// Requests that nobody answered.
    pub unreachable: u64,
    /// Requests that moved to another server.
    pub moved: u64,
    /// Requests for a realm that no server leads to.
    pub unroutable: u64,
}

struct Entry {
    request: Arc<AaaRequest>,
    ids: Vec<RequestId>,
    deadline: u64,
    /// The server that it is with; `None` while it waits.
    server: Option<usize>,
    /// It was sent at least once.
    sent: bool,
    /// Servers that could not bring it to an AuC, a bit each.
    avoid: u64,
    same: Option<Box<[u8]>>,
    /// Its realm's group.
    group: usize,
}

impl Entry {
    fn sort(&self) -> Sort {
        match *self.request {
            AaaRequest::Authenticate(_) => Sort::Authenticate,
            AaaRequest::Account(_) => Sort::Account,
        }
    }
}

/// See the module's text.
pub struct Client {
    limits: Limits,
    links: Vec<Box<dyn Link>>,
    was: Vec<Health>,
    rng: Box<dyn Random + Send>,
    entries: BTreeMap<u64, Entry>,
    by_sameness: BTreeMap<Box<[u8]>, u64>,
    deadlines: BTreeSet<(u64, u64)>,
    realms: Arc<Realms>,
    groups: Groups,
    events: VecDeque<AaaEvent>,
    next_key: u64,
    next_id: u64,
    counters: ClientCounters,
}

impl core::fmt::Debug for Client {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Client").field("in_flight", &self.entries.len()).field("counters", &self.counters).finish()
    }
}

impl Client {
    /// A client over these links, the preferred server first; every subscriber is of one realm.
    pub fn new(links: Vec<Box<dyn Link>>, limits: Limits, rng: Box<dyn Random + Send>) -> Self {
        Self::routed(links, Arc::default(), limits, rng)
    }

    /// A client over these links, for the realms that they lead to.
    pub fn routed(links: Vec<Box<dyn Link>>, realms: Arc<Realms>, limits: Limits, rng: Box<dyn Random + Send>) -> Self {
        let was = links.iter().map(|l| l.health()).collect();
        Self {
            limits,
            links,
            was,
            rng,
            entries: BTreeMap::new(),
            by_sameness: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            groups: Groups::new(realms.known()),
            realms,
            events: VecDeque::new(),
            next_key: 0,
            next_id: 0,
            counters: ClientCounters::default(),
        }
    }

    /// Asks. Exactly one [`AaaEvent`] follows; identical requests (IDc, IDsp, N1a and source alike) that overlap are
    /// asked once and get the same answer.
    ///
    /// # Errors
    /// [`Refused`]; then nothing follows.
    pub fn request(&mut self, now: Now, request: AaaRequest) -> Result<RequestId, Refused> {
        if !request.is_well_formed() {
            return Err(Refused::Malformed);
        }
        let id = RequestId(self.next_id);
        let same = sameness(&request);
        let under_way = same.as_ref().and_then(|s| self.by_sameness.get(s)).copied();
        if let Some(entry) = under_way.and_then(|key| self.entries.get_mut(&key)) {
            if entry.ids.len() >= JOINED_MAX {
                self.counters.busy += 1;
                return Err(Refused::Busy);
            }
            entry.ids.push(id);
            self.next_id += 1;
            self.counters.requests += 1;
            self.counters.coalesced += 1;
            return Ok(id);
        }
        let (sort, limit, patience) = match request {
            AaaRequest::Authenticate(_) => (Sort::Authenticate, self.limits.authenticate, self.limits.authenticate_ms),
            AaaRequest::Account(_) => (Sort::Account, self.limits.account, self.limits.account_ms),
        };
        let group = self.groups.of(&self.realms.of_request(&request));
        if !self.groups.admits(group, sort, limit) {
            self.counters.busy += 1;
            return Err(Refused::Busy);
        }
        let key = self.next_key;
        self.next_key += 1;
        self.next_id += 1;
        self.counters.requests += 1;
        self.groups.opened(group, sort);
        let deadline = now.mono_ms + patience;
        self.deadlines.insert((deadline, key));
        if let Some(same) = &same {
            self.by_sameness.insert(same.clone(), key);
        }
        let (request, ids) = (Arc::new(request), vec![id]);
        let entry = Entry { request, ids, deadline, server: None, sent: false, avoid: 0, same, group };
        self.entries.insert(key, entry);
        self.dispatch(now, key);
        Ok(id)
    }

    /// The next thing that became of a request.
    pub fn poll_event(&mut self) -> Option<AaaEvent> {
        self.events.pop_front()
    }

    /// The next thing to do. To be called until `None` after every other call.
    pub fn poll_effect(&mut self) -> Option<Effect<'_>> {
        for (server, link) in self.links.iter_mut().enumerate() {
            let lane_id = |lane| LaneId { server: server as u16, lane };
            match link.poll_effect() {
                Some(LinkEffect::Send { lane, to, bytes }) => {
                    return Some(Effect::Send { lane: lane_id(lane), to, bytes });
                }
                Some(LinkEffect::Close { lane }) => return Some(Effect::Close { lane: lane_id(lane) }),
                None => {}
            }
        }
        None
    }

    /// One packet arrived from `from` on a lane.
    pub fn on_packet(&mut self, now: Now, lane: LaneId, from: SocketAddr, bytes: &[u8]) {
        if let Some(link) = self.links.get_mut(usize::from(lane.server)) {
            link.on_packet(now, lane.lane, from, bytes, self.rng.as_mut());
        }
        self.settle(now);
    }

    /// A connection was made (`up`), was lost, or could not be made.
    pub fn on_lane(&mut self, now: Now, lane: LaneId, up: bool) {
        if let Some(link) = self.links.get_mut(usize::from(lane.server)) {
            link.on_lane(now, lane.lane, up, self.rng.as_mut());
        }
        self.settle(now);
    }

    /// Time has passed; due at [`Client::next_deadline`], harmless at any other time.
    pub fn on_timer(&mut self, now: Now) {
        while let Some(&(at, key)) = self.deadlines.first() {
            if at > now.mono_ms {
                break;
            }
            if let Some(link) = self.entries.get(&key).and_then(|e| e.server).and_then(|s| self.links.get_mut(s)) {
                link.forget(key);
            }
            self.finish(key, Err(Unreachable));
        }
        for link in &mut self.links {
            link.on_timer(now, self.rng.as_mut());
        }
        self.settle(now);
        let entries = &self.entries;
        self.groups.forget(|key| !entries.contains_key(&key));
    }

    /// When [`Client::on_timer`] is due, monotonic milliseconds.
    pub fn next_deadline(&self) -> Option<u64> {
        let own = self.deadlines.first().map(|(at, _)| *at);
        self.links.iter().filter_map(|l| l.next_deadline()).chain(own).min()
    }

    /// We are about to stop: goodbyes become effects.
    pub fn farewell(&mut self) {
        for link in &mut self.links {
            link.farewell();
        }
    }

    /// How a server stands, in the order of the configuration.
    pub fn health(&self, server: usize) -> Option<Health> {
        self.links.get(server).map(|l| l.health())
    }

    /// Requests in flight or waiting.
    pub fn in_flight(&self) -> usize {
        self.entries.len()
    }

    /// What was counted.
    pub fn counters(&self) -> ClientCounters {
        self.counters
    }

    /// What one server's link counted.
    pub fn link_counters(&self, server: usize) -> Option<LinkCounters> {
        self.links.get(server).map(|l| l.counters())
    }

    /// Moves answers, losses and changes of health on, and lets those who wait go.
    fn settle(&mut self, now: Now) {
        for server in 0..self.links.len() {
            while let Some((key, answer)) = self.links.get_mut(server).and_then(|l| l.poll_answer()) {
                self.finish(key, Ok(answer));
            }
            while let Some(key) = self.links.get_mut(server).and_then(|l| l.poll_lost()) {
                self.take_back(now, key);
            }
            while let Some(key) = self.links.get_mut(server).and_then(|l| l.poll_refused()) {
                if let Some(entry) = self.entries.get_mut(&key) {
                    entry.avoid |= bit(server);
                }
                self.take_back(now, key);
            }
            let is = self.links.get(server).map_or(Health::Down, |l| l.health());
            let was = self.was.get_mut(server).map(|w| std::mem::replace(w, is));
            if is == Health::Down && was != Some(Health::Down) && self.links.iter().any(|l| l.health() == Health::Up) {
                self.move_away(now, server);
            }
        }
        self.pump(now);
    }

    /// A request lost its connection: it goes out again.
    fn take_back(&mut self, now: Now, key: u64) {
        if let Some(entry) = self.entries.get_mut(&key) {
            entry.server = None;
            self.counters.moved += 1;
            self.dispatch(now, key);
        }
    }

    /// What a server left unanswered goes to those that are up.
    fn move_away(&mut self, now: Now, server: usize) {
        let keys: Vec<u64> =
            self.entries.iter().filter(|(_, e)| e.server == Some(server)).map(|(key, _)| *key).collect();
        for key in keys {
            if let Some(link) = self.links.get_mut(server) {
                link.forget(key);
            }
            self.take_back(now, key);
        }
    }

    /// Sends a request, lets it wait (and then says `false`), or gives it up.
    fn dispatch(&mut self, now: Now, key: u64) -> bool {
        let Some(entry) = self.entries.get_mut(&key) else { return true };
        let (sort, group, realm) = (entry.sort(), entry.group, self.realms.of_request(&entry.request));
        let (mut down, mut served) = (true, false);
        for (server, link) in self.links.iter_mut().enumerate() {
            if entry.avoid & bit(server) != 0 || !link.leads_to(&realm) {
                continue;
            }
            served = true;
            down &= link.health() == Health::Down;
            if link.health() == Health::Up
                && link.has_room()
                && link.submit(now, key, &entry.request, entry.sent, self.rng.as_mut())
            {
                (entry.server, entry.sent) = (Some(server), true);
                return true;
            }
        }
        // Where no server leads to the realm, or all that do have sent it back, there is nothing to wait for.
        if !served && !self.links.is_empty() {
            self.counters.unroutable += u64::from(entry.avoid == 0);
            self.finish(key, Err(Unreachable));
            return true;
        }
        if down {
            for (server, link) in self.links.iter_mut().enumerate() {
                if entry.avoid & bit(server) == 0
                    && link.leads_to(&realm)
                    && link.admits_canary(now)
                    && link.submit(now, key, &entry.request, entry.sent, self.rng.as_mut())
                {
                    (entry.server, entry.sent) = (Some(server), true);
                    return true;
                }
            }
            if sort == Sort::Authenticate {
                self.finish(key, Err(Unreachable));
                return true;
            }
        }
        self.groups.wait(group, sort, key);
        false
    }

    /// Lets those who wait go, realm by realm, while there is room for them.
    fn pump(&mut self, now: Now) {
        for group in 0..self.groups.len() {
            self.pump_group(now, group);
        }
    }

    fn pump_group(&mut self, now: Now, group: usize) {
        // Those whose own servers are down or full go to the end of the queue, a few of them a call.
        let mut idle = 0u32;
        while idle < IDLE_MAX {
            let realm = self.groups.realm(group);
            let mut servers = self.links.iter().filter(|l| realm.is_none_or(|r| l.leads_to(r))).peekable();
            let none = servers.peek().is_none();
            let (mut all_down, mut room) = (true, false);
            for link in servers {
                all_down &= link.health() == Health::Down;
                room |= link.health() == Health::Up && link.has_room();
            }
            let next = if all_down || none {
                // They are told at once; s11 goes on waiting.
                self.groups.next_s3(group)
            } else if !room {
                None
            } else {
                self.groups.next(group)
            };
            let Some(key) = next else { return };
            // What timed out while it waited is gone.
            if self.entries.get(&key).is_some_and(|e| e.server.is_none()) && !self.dispatch(now, key) {
                idle += 1;
            }
        }
    }

    fn finish(&mut self, key: u64, outcome: Result<AaaAnswer, Unreachable>) {
        let Some(entry) = self.entries.remove(&key) else { return };
        self.deadlines.remove(&(entry.deadline, key));
        if let Some(same) = &entry.same {
            self.by_sameness.remove(same);
        }
        self.groups.closed(entry.group, entry.sort());
        for id in entry.ids {
            match outcome {
                Ok(AaaAnswer::Rejected) => self.counters.rejected += 1,
                Ok(_) => self.counters.answered += 1,
                Err(_) => self.counters.unreachable += 1,
            }
            self.events.push_back(AaaEvent { id, outcome });
        }
    }
}

/// A server's bit among those to avoid; the 64th and later ones share one.
fn bit(server: usize) -> u64 {
    1 << server.min(63)
}

/// What makes two s3 the same one: IDc, IDsp, N1a and source (spec section 6). A stock phone has no N1, and s11 is
/// never the same as another.
fn sameness(request: &AaaRequest) -> Option<Box<[u8]>> {
    let AaaRequest::Authenticate(a) = request else { return None };
    let (Scheme::Pkd1 { n1 }, Some(source)) = (a.scheme, a.source) else { return None };
    if planted(Bug::VectorShared) {
        return Some(a.idc.as_bytes().into());
    }
    let source = source.to_string();
    // None of the parts can hold a zero octet.
    Some([a.idc.as_bytes(), a.idsp.as_bytes(), n1.as_bytes(), a.realm.as_bytes(), source.as_bytes()].join(&0).into())
}

#[cfg(test)]
mod tests;
