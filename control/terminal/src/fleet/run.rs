//! The loop: start who is due, wake who is due, read, write.

use super::config::{FleetConfig, FleetResult, Goal, Progress, Subscribers};
use super::deadlines::Deadlines;
use super::finder::{Awaited, Finder};
use super::schedule::Schedule;
use super::secured::Secured;
use super::sockets::Sockets;
use crate::stream::Stream;
use crate::{AnyTerminal, Event, Path, Profile, Transport};
use core::time::Duration;
use hdrhistogram::Histogram;
use mio::{Events, Poll, Token};
use portunus_channel::tls::Client;
use portunus_keydist::{Now, SystemRandom};
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Terminals started between two looks at the sockets: a burst of arrivals must not leave answers unread.
const STARTS_A_ROUND: usize = 64;
/// Batches read from one socket between two looks at the clock.
const READS_A_ROUND: usize = 4;
/// Connections that a terminal may have at a time.
const CONNECTIONS: usize = 3;
/// Longest sleep, so that progress is told.
const NAP: Duration = Duration::from_millis(100);
/// Highest latency told apart, microseconds: ten minutes.
const SLOWEST_US: u64 = 600_000_000;

pub(super) struct Clock {
    start: Instant,
    wall_ms: u64,
}

impl Clock {
    fn new() -> Self {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { start: Instant::now(), wall_ms: wall.as_millis() as u64 }
    }

    fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    pub(super) fn now(&self) -> Now {
        let mono_ms = self.elapsed().as_millis() as u64;
        Now { mono_ms, wall_ms: self.wall_ms + mono_ms }
    }
}

/// A terminal of the fleet and what it has reached.
pub(super) struct Member {
    pub(super) terminal: AnyTerminal,
    /// What it is found by in the fleet's maps while it awaits an answer.
    awaited: Awaited,
    /// Intended start, since the start of the run.
    intended: Duration,
    stream: Option<Box<Stream>>,
    /// Connections of its sessions of `tls`: the active one's, and that of the one that is to follow.
    pub(super) secured: Option<Box<Secured>>,
    keyed: bool,
    active: bool,
    verified: bool,
    /// It counts as under way no longer.
    ended: bool,
}

/// A fleet that runs, or has run. While it exists its terminals keep their sockets.
pub struct Fleet {
    config: FleetConfig,
    pub(super) profile: Arc<Profile>,
    subscribers: Box<Subscribers>,
    pub(super) members: Vec<Member>,
    finder: Finder,
    pub(super) deadlines: Deadlines,
    schedule: Schedule,
    sockets: Sockets,
    pub(super) poll: Poll,
    pub(super) rng: SystemRandom,
    pub(super) clock: Clock,
    exhausted: bool,
    under_way: usize,
    pub(super) result: FleetResult,
    last_end: Duration,
    /// What all connections of `tls` share; made for the first.
    pub(super) tls: Option<Client>,
}

impl core::fmt::Debug for Fleet {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Fleet({} of {} terminals started)", self.members.len(), self.config.terminals)
    }
}

fn histogram() -> Histogram<u64> {
    // Three significant figures up to SLOWEST_US: a valid combination.
    let mut h = Histogram::new_with_bounds(1, SLOWEST_US, 3).unwrap_or_else(|_| unreachable!("valid bounds"));
    h.auto(true);
    h
}

impl Fleet {
    /// Binds the sockets. Nothing is sent before [`Fleet::run`]. `subscribers` is asked once for each terminal, in
    /// order, when it starts.
    ///
    /// # Errors
    /// What the system reports when sockets cannot be had.
    pub fn new(config: FleetConfig, subscribers: Box<Subscribers>) -> io::Result<Self> {
        let poll = Poll::new()?;
        let sockets = Sockets::bind(config.local, config.sockets, poll.registry())?;
        let result = FleetResult {
            terminals: config.terminals,
            registered: 0,
            active: 0,
            verified: 0,
            failures: BTreeMap::new(),
            keyed_us: histogram(),
            active_us: histogram(),
            packets_sent: 0,
            packets_received: 0,
            octets_sent: 0,
            octets_received: 0,
            retransmissions: 0,
            ignored: 0,
            send_errors: 0,
            ladder: Vec::new(),
            first_active: None,
            last_failure: None,
            began: Instant::now(),
            elapsed: Duration::ZERO,
        };
        Ok(Self {
            profile: Arc::new(config.profile.clone()),
            schedule: Schedule::new(config.arrivals),
            finder: Finder::new(config.profile.protocol),
            config,
            subscribers,
            members: Vec::new(),
            deadlines: Deadlines::default(),
            sockets,
            poll,
            rng: SystemRandom::new(),
            clock: Clock::new(),
            exhausted: false,
            under_way: 0,
            result,
            last_end: Duration::ZERO,
            tls: None,
        })
    }

    /// Runs until every terminal has come to an end, the limit is over, or `progress` says false. It may be called
    /// again: it goes on where it stopped, with `limit` counted anew.
    ///
    /// # Errors
    /// What the system reports about the poll itself; what concerns one datagram is counted.
    pub fn run(&mut self, progress: &mut dyn FnMut(&Progress) -> bool) -> io::Result<FleetResult> {
        if self.members.is_empty() {
            self.clock = Clock::new();
            self.result.began = self.clock.start;
        }
        let until = self.clock.elapsed() + self.config.limit;
        let mut told = Duration::ZERO;
        let mut events = Events::with_capacity(256);
        loop {
            self.start_due();
            self.wake_due();
            self.receive();
            self.sockets.flush();
            let elapsed = self.clock.elapsed();
            if elapsed - told >= NAP {
                told = elapsed;
                if !progress(&self.progress(elapsed)) {
                    break;
                }
            }
            if elapsed >= until || (!self.config.stay && self.complete()) {
                break;
            }
            self.wait(&mut events, until - elapsed)?;
        }
        progress(&self.progress(self.clock.elapsed()));
        Ok(self.summary())
    }

    fn complete(&self) -> bool {
        self.under_way == 0 && (self.exhausted || self.members.len() >= self.config.terminals as usize)
    }

    /// How many of its terminals are active now.
    pub fn active_now(&self) -> usize {
        self.members.iter().filter(|m| m.terminal.is_active()).count()
    }

    /// Sessions of its terminals that became active so far: more than one a terminal where some had to register anew.
    pub fn activations(&self) -> u64 {
        self.members.iter().map(|m| u64::from(m.terminal.tally().activations)).sum()
    }

    fn progress(&self, elapsed: Duration) -> Progress {
        Progress {
            started: self.members.len() as u32,
            keyed: self.result.registered,
            active: self.result.active,
            failures: self.result.failures.values().sum(),
            elapsed,
        }
    }

    fn summary(&mut self) -> FleetResult {
        let mut result = self.result.clone();
        result.packets_sent += self.sockets.sent;
        result.packets_received += self.sockets.received;
        result.octets_sent += self.sockets.octets_sent;
        result.octets_received += self.sockets.octets_received;
        result.send_errors += self.sockets.errors;
        for member in &self.members {
            let tally = member.terminal.tally();
            result.retransmissions += u64::from(tally.repeated);
            result.ignored += u64::from(tally.ignored);
        }
        result.elapsed = self.last_end;
        result
    }

    fn start_due(&mut self) {
        for _ in 0..STARTS_A_ROUND {
            if self.exhausted || self.members.len() >= self.config.terminals as usize {
                return;
            }
            let Some(intended) = self.schedule.due(self.clock.elapsed(), self.under_way, &mut self.rng) else { return };
            let index = self.members.len() as u32;
            let Some((idc, key)) = (self.subscribers)(index) else {
                self.exhausted = true;
                return;
            };
            // One terminal's ladder is told; the others save the trouble.
            let profile = match (index, self.config.profile.ladder) {
                (1, true) => {
                    let quiet = Profile { ladder: false, ..self.config.profile.clone() };
                    self.profile = Arc::new(quiet);
                    &self.profile
                }
                _ => &self.profile,
            };
            let local = self.sockets.local(index as usize);
            let made = AnyTerminal::any(Arc::clone(profile), &idc, &key, local, index, &mut self.rng);
            let Some(terminal) = made else {
                *self.result.failures.entry("identity").or_default() += 1;
                self.exhausted = true;
                return;
            };
            let mut member = Member {
                terminal,
                awaited: None,
                intended,
                stream: None,
                secured: None,
                keyed: false,
                active: false,
                verified: false,
                ended: false,
            };
            member.terminal.start(self.clock.now(), &mut self.rng);
            self.members.push(member);
            self.under_way += 1;
            self.attend(index);
        }
    }

    fn wake_due(&mut self) {
        let now = self.clock.now();
        let stay = self.config.stay;
        while let Some(index) = self.deadlines.due(now.mono_ms) {
            // A deadline that was set before its terminal had done its part is no reason to go on.
            if let Some(member) = self.members.get_mut(index as usize).filter(|m| stay || !m.ended) {
                member.terminal.on_timer(now, &mut self.rng);
                self.attend(index);
            }
        }
    }

    fn receive(&mut self) {
        for socket in 0..self.sockets.len() {
            for _ in 0..READS_A_ROUND {
                let Some(mut batch) = self.sockets.receive(socket) else { break };
                let now = self.clock.now();
                for (from, octets) in batch.iter_mut() {
                    let index = self.finder.find(octets);
                    match index.and_then(|i| Some((i, self.members.get_mut(i as usize)?))) {
                        Some((i, member)) => {
                            member.terminal.on_datagram(now, &mut self.rng, from, octets);
                            self.attend(i);
                        }
                        None => self.result.ignored += 1,
                    }
                }
                self.sockets.give_back(batch);
            }
        }
    }

    /// After anything happened to a terminal: its messages leave, its events count, its next deadline is set.
    pub(super) fn attend(&mut self, index: u32) {
        while let Some(event) = self.members.get_mut(index as usize).and_then(|m| m.terminal.poll_event()) {
            self.on_event(index, event);
        }
        while let Some(out) = self.members.get_mut(index as usize).and_then(|m| m.terminal.poll_transmit()) {
            match (out.path, self.profile.transport) {
                (Path::Sealed, _) if self.config.goal == Goal::Keyed => {}
                (Path::Secured { kid }, _) => self.send_secured(index, kid, &out.octets),
                (Path::Signalling, Transport::Tcp) => self.send_stream(index, &out.octets),
                (Path::Signalling, _) => {
                    self.finder
                        .expect(index, self.members.get_mut(index as usize).map(|m| (&m.terminal, &mut m.awaited)));
                    self.sockets.send(index as usize, out.to, &out.octets);
                }
                _ => self.sockets.send(index as usize, out.to, &out.octets),
            }
        }
        if let Some(member) = self.members.get(index as usize) {
            // Who has done its part and need not stay is left alone.
            if let Some((at, _)) = member.terminal.next_deadline().filter(|_| self.config.stay || !member.ended) {
                self.deadlines.arm(index, at);
            }
        }
    }

    fn on_event(&mut self, index: u32, event: Event) {
        let elapsed = self.clock.elapsed();
        let goal = self.config.goal;
        let Some(member) = self.members.get_mut(index as usize) else { return };
        let since = elapsed.saturating_sub(member.intended);
        let us = (since.as_micros() as u64).clamp(1, SLOWEST_US);
        match event {
            Event::Step { step, .. } => self.result.ladder.push((step, since)),
            Event::Keyed { kid } => {
                self.finder.by_kid.insert(kid, index);
                if !member.keyed {
                    member.keyed = true;
                    self.result.registered += 1;
                    self.result.keyed_us.saturating_record(us);
                }
                if goal == Goal::Keyed {
                    self.end(index, elapsed);
                }
            }
            Event::Active(agreed) => {
                member.stream = None;
                if index == 0 && self.result.first_active.is_none() {
                    self.result.first_active = Some(agreed);
                }
                if !member.active {
                    member.active = true;
                    self.result.active += 1;
                    self.result.active_us.saturating_record(us);
                }
                let asked = goal == Goal::Verified
                    && !member.verified
                    && member.terminal.probe(self.clock.now(), &mut self.rng).is_some();
                if !asked {
                    self.end(index, elapsed);
                }
            }
            Event::Response { status, .. } => {
                if !member.verified && status != 408 {
                    member.verified = true;
                    self.result.verified += 1;
                }
                self.end(index, elapsed);
            }
            Event::Failed { why, retry_in_ms } => {
                *self.result.failures.entry(why.word()).or_default() += 1;
                self.result.last_failure = Some(why);
                if retry_in_ms.is_none() {
                    self.end(index, elapsed);
                }
            }
            Event::Forget { kid } => {
                self.finder.by_kid.remove(&kid);
                self.hang_up(index, kid);
            }
            Event::Connect { kid } => {
                if goal != Goal::Keyed {
                    self.connect(index, kid);
                }
            }
            Event::Refreshed { .. } | Event::Deregistered | Event::Request { .. } | Event::Inside { .. } => {}
        }
    }

    fn end(&mut self, index: u32, elapsed: Duration) {
        if let Some(member) = self.members.get_mut(index as usize).filter(|m| !m.ended) {
            member.ended = true;
            self.under_way -= 1;
            self.last_end = elapsed;
        }
    }

    /// The token of a terminal's connection: 0 is that of its registrations, 1 and 2 are those of its sessions.
    pub(super) fn token(&self, index: u32, which: usize) -> Token {
        Token(self.sockets.len() + index as usize * CONNECTIONS + which)
    }

    fn send_stream(&mut self, index: u32, octets: &[u8]) {
        let token = self.token(index, 0);
        let registry = self.poll.registry();
        let Some(member) = self.members.get_mut(index as usize) else { return };
        let sent = match &mut member.stream {
            Some(stream) => stream.send(octets),
            None => {
                Stream::connect(self.profile.server, self.profile.protocol, registry, token).and_then(|mut stream| {
                    let sent = stream.send(octets);
                    member.stream = Some(Box::new(stream));
                    sent
                })
            }
        };
        match sent {
            Ok(()) => {
                self.result.packets_sent += 1;
                self.result.octets_sent += octets.len() as u64;
            }
            Err(_) => self.stream_lost(index),
        }
    }

    fn stream_lost(&mut self, index: u32) {
        let now = self.clock.now();
        if let Some(member) = self.members.get_mut(index as usize) {
            if let Some(mut stream) = member.stream.take() {
                stream.deregister(self.poll.registry());
            }
            member.terminal.on_connection_lost(now, &mut self.rng);
            // Its events are taken by the caller's `attend`, or at its next deadline, which this sets.
            self.deadlines.arm(index, now.mono_ms);
        }
    }

    fn stream_ready(&mut self, index: u32) {
        let now = self.clock.now();
        let Some(member) = self.members.get_mut(index as usize) else { return };
        let Some(stream) = &mut member.stream else { return };
        let turn = stream.turn();
        for message in turn.messages {
            self.result.packets_received += 1;
            self.result.octets_received += message.len() as u64;
            member.terminal.on_message(now, &mut self.rng, &message);
        }
        if turn.lost {
            self.stream_lost(index);
        }
        self.attend(index);
    }

    fn wait(&mut self, events: &mut Events, left: Duration) -> io::Result<()> {
        let mut nap = NAP.min(left);
        if self.sockets.any_readable() {
            nap = Duration::ZERO;
        }
        if self.sockets.any_queued() {
            nap = nap.min(Duration::from_millis(1));
        }
        let elapsed = self.clock.elapsed();
        let more = !self.exhausted && self.members.len() < self.config.terminals as usize;
        if let Some(at) = self.schedule.next().filter(|_| more) {
            nap = nap.min(at.saturating_sub(elapsed));
        } else if more && self.schedule.due(elapsed, self.under_way, &mut self.rng).is_some() {
            nap = Duration::ZERO;
        }
        if let Some(at_ms) = self.deadlines.next() {
            nap = nap.min(Duration::from_millis(at_ms).saturating_sub(elapsed));
        }
        match self.poll.poll(events, Some(nap)) {
            Err(e) if e.kind() != io::ErrorKind::Interrupted => return Err(e),
            _ => {}
        }
        for event in events.iter() {
            match event.token().0.checked_sub(self.sockets.len()) {
                None => self.sockets.mark_readable(event.token().0),
                Some(at) if at % CONNECTIONS == 0 => self.stream_ready((at / CONNECTIONS) as u32),
                Some(at) => self.secured_ready((at / CONNECTIONS) as u32, at % CONNECTIONS - 1),
            }
        }
        Ok(())
    }
}
