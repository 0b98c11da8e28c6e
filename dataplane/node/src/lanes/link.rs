//! The sockets of a link by lanes, and what waits at them; driven by the control thread, or by the only worker.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};

use mio::event::Source;
use mio::{Interest, Registry, Token};
use portunus_engine::{Affinity, HOMES_MAX, Lane, Reading};
use portunus_io::{Batch, Pushed, Receiver, Rx, Tx, UdpPort, listen};
use portunus_keydist::Now;
use portunus_signalling::Protocol;

use super::pool::{Opening, Pool};
use super::{LANES_MAX, LaneCounters, LanesConfig};
use crate::softswitches::Softswitches;

/// Milliseconds for which a lane without an active session is kept after its last message: as long as an answer of
/// the core's may be repeated.
const LINGER_MS: u64 = 32_000;
/// Workers at most, and tokens of their shared ports; those of lanes follow.
pub(super) const WORKERS: usize = 256;
/// Tokens of a link.
pub(crate) const TOKENS: usize = WORKERS + LANES_MAX;
/// Datagrams received by a lane at once: an acknowledgement and the step behind it, and one that shows there are no more.
const BATCH: usize = 3;

/// A worker's shared port.
struct Shared {
    port: UdpPort,
    tx: Batch,
    ready: bool,
}

/// What a message came by.
#[derive(Debug, Clone, Copy)]
pub(crate) struct From {
    /// The worker whose shared port or lane it is.
    pub(crate) worker: u8,
    pub(crate) lane: Lane,
    slot: u32,
}

/// What was received, by several lanes and shared ports.
pub(crate) struct LanesRx {
    batch: Batch,
    /// What the messages came by: each up to this one.
    from: Vec<(usize, From)>,
}

impl LanesRx {
    /// All messages with what they came by and their senders, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (From, SocketAddr, &[u8])> {
        let mut from = self.from.iter().copied();
        let mut current = from.next();
        self.batch.iter().enumerate().filter_map(move |(nth, (sender, octets))| {
            while current.is_some_and(|(until, _)| until <= nth) {
                current = from.next();
            }
            current.map(|(_, from)| (from, sender, octets))
        })
    }

    /// Messages received.
    pub(crate) fn len(&self) -> usize {
        self.batch.len()
    }

    pub(crate) fn clear(&mut self) {
        self.batch.clear();
        self.from.clear();
    }

    /// What was received since the last such note came by this.
    fn note(&mut self, from: From) {
        self.from.push((self.batch.len(), from));
    }

    fn is_full(&self) -> bool {
        self.batch.is_full() || self.from.len() == self.from.capacity()
    }
}

/// Shared ports, lanes, and which of them may have something to receive.
pub(crate) struct LanesLink {
    config: LanesConfig,
    trusted: Vec<IpAddr>,
    /// Octets of the longest message.
    longest: usize,
    /// Where the sockets are registered, and their first token.
    registry: Option<(Registry, usize)>,
    shared: Vec<Option<Shared>>,
    softswitches: Softswitches,
    pool: Pool,
    receiver: Receiver,
    /// Lanes and shared ports that may have more to read, by token; each once.
    ready: VecDeque<u32>,
    /// What waits to leave by lanes, and by which: sent together, it finds the softswitch awake.
    tx: Batch,
    by: Vec<u32>,
    pub(super) counters: LaneCounters,
}

impl core::fmt::Debug for LanesLink {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("LanesLink").field("open", &self.pool.len()).finish_non_exhaustive()
    }
}

impl LanesLink {
    /// Nothing is open yet.
    pub(super) fn new(config: LanesConfig) -> Self {
        let mut trusted: Vec<_> =
            config.peers.iter().map(SocketAddr::ip).chain(config.trusted.iter().copied()).collect();
        trusted.sort_unstable();
        trusted.dedup();
        let longest = config.message_max.clamp(576, 65_535);
        let link = match config.protocol {
            Protocol::Mgcp => "mgcp",
            Protocol::H248 => "h248",
            Protocol::Ras => "ras",
            Protocol::Sip => "lane",
        };
        let patience = (config.silent_ms, config.probe_ms);
        Self {
            softswitches: Softswitches::new(link, &config.peers, &config.routes, patience),
            trusted,
            longest,
            registry: None,
            shared: Vec::new(),
            pool: Pool::new(config.lanes.clamp(1, LANES_MAX)),
            receiver: Receiver::new(BATCH),
            ready: VecDeque::with_capacity(WORKERS + config.lanes.clamp(1, LANES_MAX)),
            tx: Batch::new(config.batch.clamp(1, 256), longest),
            by: Vec::with_capacity(256),
            counters: LaneCounters::default(),
            config,
        }
    }

    /// Opens the first worker's port, which shows whether the address can be used at all. Tokens are from `first` on, at
    /// most [`TOKENS`]. Returns the port's address.
    pub(super) fn open(&mut self, registry: &Registry, first: usize) -> io::Result<SocketAddr> {
        if self.config.peers.is_empty() || self.config.peers.len() > HOMES_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a link to the core needs 1 to 255 softswitches"));
        }
        self.registry = Some((registry.try_clone()?, first));
        self.open_shared(0)?;
        let first = self.shared.first().and_then(Option::as_ref);
        first.map_or_else(|| Err(io::Error::from(io::ErrorKind::NotFound)), |shared| shared.port.local_addr())
    }

    /// Registers what [`LanesLink::open`] opened here, and nowhere else any longer; no lane is open yet.
    pub(crate) fn register(&mut self, registry: &Registry, first: usize) -> io::Result<()> {
        let before = self.registry.replace((registry.try_clone()?, first));
        for (nth, shared) in self.shared.iter_mut().enumerate().filter_map(|(nth, s)| Some((nth, s.as_mut()?))) {
            before.as_ref().map_or(Ok(()), |(before, _)| shared.port.deregister(before))?;
            shared.port.register(registry, Token(first + nth), Interest::READABLE)?;
        }
        Ok(())
    }

    pub(super) fn is_open(&self) -> bool {
        self.registry.is_some()
    }

    /// Octets of the longest message.
    pub(super) fn longest(&self) -> usize {
        self.longest
    }

    /// A batch to receive into.
    pub(crate) fn room(&self) -> LanesRx {
        let batch = self.config.batch.clamp(1, 256);
        let batch =
            if self.config.coalesce { Batch::coalescing(batch.min(32)) } else { Batch::new(batch, self.longest) };
        let from = Vec::with_capacity(batch.capacity());
        LanesRx { batch, from }
    }

    /// Whose messages it carries.
    pub(crate) fn protocol(&self) -> Protocol {
        self.config.protocol
    }

    fn open_shared(&mut self, worker: u8) -> io::Result<()> {
        let nth = usize::from(worker);
        if self.shared.len() <= nth {
            self.shared.resize_with(nth + 1, || None);
        }
        let Some(place) = self.shared.get_mut(nth).filter(|place| place.is_none()) else { return Ok(()) };
        let (registry, first) = self.registry.as_ref().ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected))?;
        let batch = self.config.batch.clamp(1, 256);
        let socket = listen::udp(SocketAddr::new(self.config.bind, 0), self.config.buffers)?;
        let mut port = UdpPort::new(socket, batch);
        if self.config.coalesce {
            port.coalesce();
        }
        port.register(registry, Token(first + nth), Interest::READABLE)?;
        *place = Some(Shared { port, tx: Batch::new(batch, self.longest), ready: false });
        Ok(())
    }

    /// The softswitch for this affinity; `None`, and counted, where nothing is to be sent.
    fn choose(&mut self, now: Now, affinity: u32) -> Option<SocketAddr> {
        let nth = self.softswitches.choose(now, Affinity(affinity))?;
        self.config.peers.get(nth).copied()
    }

    /// Takes what `write` writes; it leaves with the next [`LanesLink::flush`] at the latest. [`Pushed::Full`]: it was
    /// dropped, and counted.
    pub(crate) fn push_with(
        &mut self,
        now: Now,
        affinity: u32,
        (lane, worker): (Lane, u8),
        write: &mut dyn FnMut(&mut [u8]) -> Option<usize>,
    ) -> Pushed {
        match lane {
            Lane::Shared => self.push_shared(now, affinity, worker, write),
            Lane::Of(name) => self.push_lane(now, affinity, (name, worker), write),
        }
    }

    fn push_shared(
        &mut self,
        now: Now,
        affinity: u32,
        worker: u8,
        write: &mut dyn FnMut(&mut [u8]) -> Option<usize>,
    ) -> Pushed {
        if self.open_shared(worker).is_err() {
            self.counters.lane_unopened += 1;
            return Pushed::Full;
        }
        let (nth, peer) = (usize::from(worker), self.choose(now, affinity));
        if self.shared.get(nth).and_then(Option::as_ref).is_some_and(|shared| shared.tx.is_full()) {
            self.flush_shared(nth);
        }
        let (Some(shared), Some(peer)) = (self.shared.get_mut(nth).and_then(Option::as_mut), peer) else {
            return Pushed::Full;
        };
        let pushed = shared.tx.push_with(peer, write);
        self.counters.lane_blocked += u64::from(pushed == Pushed::Full);
        pushed
    }

    fn push_lane(
        &mut self,
        now: Now,
        affinity: u32,
        whose: (u64, u8),
        write: &mut dyn FnMut(&mut [u8]) -> Option<usize>,
    ) -> Pushed {
        let chosen = self.choose(now, affinity);
        let exact = Affinity(affinity).is_exact();
        if exact && chosen.is_none() {
            return Pushed::Full;
        }
        // A lane that makes room for another has nothing that waits.
        if self.tx.is_full() || self.pool.is_full() {
            self.flush_lanes();
        }
        let Some((registry, first)) = &self.registry else { return Pushed::Full };
        let opening = Opening { bind: self.config.bind, first_token: first + WORKERS };
        let Some(slot) = self.pool.lane(whose, now.mono_ms, registry, &opening, &mut self.counters) else {
            return Pushed::Full;
        };
        self.pool.touch(slot, now.mono_ms);
        let Some(lane) = self.pool.get(slot) else { return Pushed::Full };
        // A session's messages go to whom it heard last; steps to whom the terminal's first step went, whatever an older
        // session of the terminal's has heard.
        let Some(peer) = lane.peer.filter(|_| lane.active && !exact).or(chosen) else { return Pushed::Full };
        let pushed = self.tx.push_with(peer, write);
        if pushed == Pushed::Written {
            self.by.push(slot);
        }
        pushed
    }

    /// Sends something back to the sender of what came by this.
    pub(super) fn push_back(&mut self, from: &From, sender: SocketAddr, octets: &[u8]) {
        if let Lane::Of(_) = from.lane {
            if let Some(lane) = self.pool.get(from.slot) {
                note(&mut self.counters, &lane.socket.send_to(octets, sender));
            }
        } else if let Some(shared) = self.shared.get_mut(usize::from(from.worker)).and_then(Option::as_mut) {
            self.counters.lane_blocked += u64::from(shared.tx.push(sender, octets) == Pushed::Full);
        }
    }

    /// What waits leaves now.
    pub(crate) fn flush(&mut self) {
        for nth in 0..self.shared.len() {
            self.flush_shared(nth);
        }
        self.flush_lanes();
    }

    fn flush_lanes(&mut self) {
        for (slot, (peer, octets)) in self.by.iter().zip(self.tx.iter()) {
            if let Some(lane) = self.pool.get(*slot) {
                note(&mut self.counters, &lane.socket.send_to(octets, peer));
            }
        }
        self.by.clear();
        self.tx.clear();
    }

    fn flush_shared(&mut self, nth: usize) {
        let Some(shared) = self.shared.get_mut(nth).and_then(Option::as_mut).filter(|s| !s.tx.is_empty()) else {
            return;
        };
        match shared.port.send(&mut shared.tx) {
            Ok(sent) => {
                self.counters.lane_sent += sent.messages as u64;
                self.counters.lane_oversize += sent.oversize as u64;
                self.counters.lane_failed += sent.failed as u64;
            }
            Err(_) => {
                self.counters.lane_failed += shared.tx.len() as u64;
                shared.tx.clear();
            }
        }
    }

    /// True while the system takes no more of what waits to leave.
    pub(crate) fn is_blocked(&self) -> bool {
        self.shared.iter().flatten().any(|shared| !shared.tx.is_empty())
    }

    /// The socket of this token (counted from the link's first) may have something to receive.
    pub(crate) fn set_ready(&mut self, nth: usize) {
        let ready = match nth.checked_sub(WORKERS) {
            None => self.shared.get_mut(nth).and_then(Option::as_mut).map(|shared| &mut shared.ready),
            Some(slot) => self.pool.get(slot as u32).map(|lane| &mut lane.ready),
        };
        if ready.is_some_and(|ready| !core::mem::replace(ready, true)) {
            self.ready.push_back(nth as u32);
        }
    }

    /// Sockets that may have something to receive.
    pub(crate) fn waiting(&self) -> usize {
        self.ready.len()
    }

    /// Receives into `rx`, which is empty, by as many sockets as have something and as fit; false when none has.
    pub(crate) fn recv(&mut self, now: Now, rx: &mut LanesRx) -> bool {
        let turns = self.ready.len();
        for _ in 0..turns {
            if rx.is_full() {
                break;
            }
            let Some(nth) = self.ready.pop_front() else { break };
            let more = match (nth as usize).checked_sub(WORKERS) {
                None => self.recv_shared(nth as u8, rx),
                Some(slot) => self.recv_lane(now, slot as u32, rx),
            };
            if more {
                self.ready.push_back(nth);
            }
        }
        turns > 0
    }

    /// Receives by a lane; true when it may have more.
    fn recv_lane(&mut self, now: Now, slot: u32, rx: &mut LanesRx) -> bool {
        let Some(lane) = self.pool.get(slot) else { return false };
        let before = rx.batch.len();
        // Reported by it, an earlier datagram's error is gone.
        let Ok(received) = self.receiver.recv(&lane.socket, &mut rx.batch) else { return true };
        self.counters.lane_oversize += received.oversize as u64;
        lane.ready = !received.drained;
        if rx.batch.len() > before {
            rx.note(From { worker: lane.worker, lane: Lane::Of(lane.name), slot });
            self.pool.touch(slot, now.mono_ms);
        }
        !received.drained
    }

    /// Receives by a worker's shared port; true when it may have more.
    fn recv_shared(&mut self, worker: u8, rx: &mut LanesRx) -> bool {
        let Some(shared) = self.shared.get_mut(usize::from(worker)).and_then(Option::as_mut) else { return false };
        let before = rx.batch.len();
        let Ok(received) = shared.port.recv(&mut rx.batch) else { return true };
        self.counters.lane_oversize += received.oversize as u64;
        shared.ready = !received.drained;
        if rx.batch.len() > before {
            rx.note(From { worker, lane: Lane::Shared, slot: 0 });
        }
        !received.drained
    }

    /// Takes note of a datagram's sender. The affinity by which an answer finds it; `None`, and counted, where it is from
    /// elsewhere or too long.
    pub(crate) fn admit(&mut self, from: &From, sender: SocketAddr, octets: &[u8]) -> Option<u32> {
        if self.trusted.binary_search(&sender.ip()).is_err() {
            self.counters.lane_foreign += 1;
            return None;
        }
        if octets.len() > self.longest {
            self.counters.lane_oversize += 1;
            return None;
        }
        self.counters.lane_received += 1;
        if let (Lane::Of(_), Some(lane)) = (from.lane, self.pool.get(from.slot)) {
            lane.peer = Some(sender);
        }
        let peers = &self.config.peers;
        let exactly = peers.iter().position(|peer| *peer == sender);
        let place = exactly.or_else(|| peers.iter().position(|peer| peer.ip() == sender.ip()));
        let place = place.unwrap_or_default();
        self.softswitches.heard(place);
        // From another port of its host's, its lane alone knows the way back.
        Some(if exactly.is_some() { Affinity::from(place).0 } else { Affinity::new(0, place as u8 + 1, 0).0 })
    }

    /// Brings the softswitches' standing up to date, and closes the lanes whose time has come.
    pub(crate) fn look(&mut self, now: Now) {
        self.softswitches.look(now);
        if let (Some((registry, _)), Some(until)) = (&self.registry, now.mono_ms.checked_sub(LINGER_MS)) {
            self.pool.close_idle(until, registry, &mut self.counters);
        }
    }

    /// When [`LanesLink::look`] is wanted next, on the monotonic clock in milliseconds.
    pub(crate) fn next_look(&self) -> Option<u64> {
        [self.pool.oldest().map(|used| used + LINGER_MS), self.softswitches.next_look()].into_iter().flatten().min()
    }

    /// The terminal of this name has, or has no longer, an active session at this worker.
    pub(crate) fn on_session(&mut self, now: Now, (name, worker): (u64, u8), active: bool) {
        if let Some(slot) = self.pool.find(name, worker) {
            self.pool.set_active(slot, now.mono_ms, active, &mut self.counters);
        }
    }

    /// Shows every counter.
    pub(crate) fn readings(&self, show: &mut dyn FnMut(Reading)) {
        let passed = self.softswitches.passed;
        let counters = LaneCounters {
            lane_failed_over: passed.failed_over,
            lane_held: passed.held,
            lane_probes: passed.probes,
            lane_peers_silent: self.softswitches.silent() as u64,
            ..self.counters
        };
        counters.readings(show);
        self.softswitches.readings(show);
    }
}

/// Counts what became of a datagram that a lane sent.
fn note(counters: &mut LaneCounters, result: &io::Result<usize>) {
    let counter = match result {
        Ok(_) => &mut counters.lane_sent,
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => &mut counters.lane_blocked,
        Err(_) => &mut counters.lane_failed,
    };
    *counter += 1;
}

#[cfg(test)]
mod tests;
