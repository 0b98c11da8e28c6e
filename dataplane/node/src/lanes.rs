//! The link to the core for protocols that tell terminals apart by their transport address (MGCP, H.248, RAS): one
//! shared UDP port a worker for first steps, and for each terminal that answers a challenge a port of its own, its
//! *lane*, through which everything of its session passes.
//!
//! ```text
//!  worker 0 ── s2 ──────────────────► [shared port of worker 0] ───► softswitch
//!  worker 0 ── s8, session of A ────► [lane (A, worker 0)] ────────► softswitch
//!  worker 1 ── s8, session of B ────► [lane (B, worker 1)] ────────► softswitch
//! ```
//!
//! The pool of lanes is bounded. A lane is opened by an s8 and closed when its session has ended and nothing has passed
//! for a while; when the pool is full, the lane without an active session that has been unused for the longest time
//! makes room, and when all have one, the message is dropped and counted.

mod pool;

use core::ops::Range;
use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};

use mio::event::{Event, Source};
use mio::{Interest, Registry, Token};
use portunus_engine::{Lane, Reading};
use portunus_io::listen::{self, Buffers};
use portunus_io::{Batch, Pushed, Rx, Tx, UdpPort};
use portunus_keydist::Now;
use portunus_signalling::Protocol;

use self::pool::{Opening, Pool};
use crate::outputs::AFFINITY_SHIFT;
use crate::readings::counters;
use crate::upstream::{Arrival, CoreMessage, Deliver, Delivered, Upstream};

/// What the link is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LanesConfig {
    /// Whose messages it carries.
    pub protocol: Protocol,
    /// The address of all its ports; the system chooses their numbers.
    pub bind: IpAddr,
    /// The softswitches (or what stands before them); at least one, at most 256. A terminal keeps one of them.
    pub peers: Vec<SocketAddr>,
    /// Further hosts whose messages are taken.
    pub trusted: Vec<IpAddr>,
    /// Lanes open at once, at most; 1 to 65536, each a file descriptor.
    pub lanes: usize,
    /// Datagrams moved by one system call at the shared ports, 1 to 256.
    pub batch: usize,
    /// Octets of the longest message.
    pub message_max: usize,
    /// Kernel buffers of the shared ports; lanes have the system's own sizes.
    pub buffers: Buffers,
    /// Lets messages to and from a softswitch pass the system's network stack joined at the shared ports (UDP_SEGMENT,
    /// UDP_GRO), as [`crate::UdpConfig::coalesce`] does.
    pub coalesce: bool,
}

/// Most lanes of a link.
pub const LANES_MAX: usize = 1 << 16;

impl LanesConfig {
    /// The defaults for a link from `bind` to `peers`.
    pub fn new(protocol: Protocol, bind: IpAddr, peers: Vec<SocketAddr>) -> Self {
        let (lanes, batch, message_max, buffers) = (4096, 64, 8192, Buffers::default());
        Self { protocol, bind, peers, trusted: Vec::new(), lanes, batch, message_max, buffers, coalesce: true }
    }
}

counters! {
    /// What the link did.
    LaneCounters {
        Counter lane_sent "Datagrams sent to the core by lanes and shared ports";
        Counter lane_received "Datagrams received from the core by lanes and shared ports";
        Counter lane_foreign "Datagrams dropped at lanes and shared ports: not from a host of the core";
        Counter lane_oversize "Datagrams dropped at lanes and shared ports: longer than the buffers";
        Counter lane_failed "Datagrams that the system could not send by a lane or a shared port";
        Counter lane_blocked "Datagrams dropped: the system takes no more at a lane or a shared port";
        Counter lane_opened "Lanes opened";
        Counter lane_unopened "Messages dropped: the system opens no further socket for a lane or a shared port";
        Counter lane_none_free "Messages dropped: every lane has an active session";
        Counter lane_reused "Lanes without an active session closed because another terminal needed one";
        Counter lane_closed "Lanes closed because their session had ended";
        Gauge lane_open "Lanes open";
        Gauge lane_active "Lanes with an active session";
    }
}

/// Milliseconds for which a lane without an active session is kept after its last message: as long as an answer of
/// the core's may be repeated.
const LINGER_MS: u64 = 32_000;
/// Workers at most, and tokens of their shared ports; those of lanes follow.
const WORKERS: usize = 256;
/// Batches that one lane may bring in one turn, so that others get theirs.
const TURN_LANE: usize = 4;
/// Batches that one shared port may bring in one turn.
const TURN_BATCHES: usize = 4;

/// A worker's shared port.
struct Shared {
    port: UdpPort,
    tx: Batch,
    ready: bool,
}

/// See the module.
pub struct LanesUpstream {
    config: LanesConfig,
    registry: Option<Registry>,
    tokens: Range<usize>,
    trusted: Vec<IpAddr>,
    shared: Vec<Option<Shared>>,
    pool: Pool,
    /// Lanes and shared ports that may have more to read, by token.
    ready: VecDeque<usize>,
    rx: Batch,
    /// Octets of the longest message.
    longest: usize,
    answer: Box<[u8]>,
    counters: LaneCounters,
}

impl core::fmt::Debug for LanesUpstream {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("LanesUpstream").field("config", &self.config).field("open", &self.pool.len()).finish()
    }
}

/// What leads an answer back to this sender.
fn affinity_of(peers: &[SocketAddr], sender: SocketAddr) -> u32 {
    let exactly = peers.iter().position(|peer| *peer == sender);
    let place = exactly.or_else(|| peers.iter().position(|peer| peer.ip() == sender.ip()));
    (place.unwrap_or_default() as u32) << AFFINITY_SHIFT
}

/// Counts a datagram of the core's; false where it is from elsewhere or too long.
fn admit(counters: &mut LaneCounters, trusted: &[IpAddr], longest: usize, sender: SocketAddr, octets: &[u8]) -> bool {
    let foreign = trusted.binary_search(&sender.ip()).is_err();
    let counter = match foreign {
        true => &mut counters.lane_foreign,
        false if octets.len() > longest => &mut counters.lane_oversize,
        false => &mut counters.lane_received,
    };
    *counter += 1;
    !foreign && octets.len() <= longest
}

/// Counts what became of a datagram that a lane sent.
fn note(counters: &mut LaneCounters, result: &io::Result<usize>) -> bool {
    match result {
        Ok(_) => counters.lane_sent += 1,
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => counters.lane_blocked += 1,
        Err(_) => counters.lane_failed += 1,
    }
    result.is_ok()
}

impl LanesUpstream {
    /// A link that opens when the node starts it.
    pub fn new(config: LanesConfig) -> Self {
        let mut trusted: Vec<_> =
            config.peers.iter().map(SocketAddr::ip).chain(config.trusted.iter().copied()).collect();
        trusted.sort_unstable();
        trusted.dedup();
        let (batch, longest) = (config.batch.clamp(1, 256), config.message_max.clamp(576, 65_535));
        Self {
            registry: None,
            tokens: 0..0,
            trusted,
            shared: Vec::new(),
            pool: Pool::new(config.lanes.clamp(1, LANES_MAX)),
            ready: VecDeque::new(),
            rx: if config.coalesce { Batch::coalescing(batch.min(32)) } else { Batch::new(batch, longest) },
            longest,
            answer: vec![0; longest.max(4096)].into_boxed_slice(),
            counters: LaneCounters::default(),
            config,
        }
    }

    /// The softswitch for this affinity.
    fn choose(&self, affinity: u32) -> Option<SocketAddr> {
        let nth = (affinity >> AFFINITY_SHIFT) as usize;
        self.config.peers.get(nth % self.config.peers.len().max(1)).copied()
    }

    fn open_shared(&mut self, worker: u8) -> io::Result<()> {
        let nth = usize::from(worker);
        if self.shared.len() <= nth {
            self.shared.resize_with(nth + 1, || None);
        }
        let Some(place) = self.shared.get_mut(nth).filter(|place| place.is_none()) else { return Ok(()) };
        let registry = self.registry.as_ref().ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected))?;
        let batch = self.config.batch.clamp(1, 256);
        let socket = listen::udp(SocketAddr::new(self.config.bind, 0), self.config.buffers)?;
        let mut port = UdpPort::new(socket, batch);
        if self.config.coalesce {
            port.coalesce();
        }
        port.register(registry, Token(self.tokens.start + nth), Interest::READABLE)?;
        let tx = Batch::new(batch, self.config.message_max.clamp(576, 65_535));
        *place = Some(Shared { port, tx, ready: false });
        Ok(())
    }

    fn send_shared(&mut self, message: CoreMessage<'_>) -> bool {
        if self.open_shared(message.worker).is_err() {
            self.counters.lane_unopened += 1;
            return false;
        }
        let Some(peer) = self.choose(message.affinity) else { return false };
        let nth = usize::from(message.worker);
        if self.shared.get(nth).and_then(Option::as_ref).is_some_and(|shared| shared.tx.is_full()) {
            self.flush_shared(nth);
        }
        let Some(shared) = self.shared.get_mut(nth).and_then(Option::as_mut) else { return false };
        match shared.tx.push(peer, message.octets) {
            Pushed::Written => true,
            Pushed::Full => {
                self.counters.lane_blocked += 1;
                false
            }
            Pushed::Declined => {
                self.counters.lane_oversize += 1;
                false
            }
        }
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

    fn send_lane(&mut self, now: Now, name: u64, message: CoreMessage<'_>) -> bool {
        let Some(registry) = &self.registry else { return false };
        let opening = Opening { bind: self.config.bind, first_token: self.tokens.start + WORKERS };
        let whose = (name, message.worker);
        let Some(slot) = self.pool.lane(whose, now.mono_ms, registry, &opening, &mut self.counters) else {
            return false;
        };
        self.pool.touch(slot, now.mono_ms);
        let chosen = self.choose(message.affinity);
        let Some(lane) = self.pool.get(slot) else { return false };
        // A session's messages go to whom it heard last; steps to whom the terminal's first step went.
        let Some(peer) = lane.peer.filter(|_| lane.active).or(chosen) else { return false };
        let result = lane.port.send_one(peer, message.octets);
        note(&mut self.counters, &result)
    }

    /// Reads a lane, up to a turn's share.
    fn read_lane(&mut self, now: Now, slot: u32, up: &mut dyn Deliver) {
        let Self { pool, rx, longest, answer, counters, trusted, config, ready, .. } = self;
        for _ in 0..TURN_LANE {
            let Some(lane) = pool.get(slot) else { return };
            // Reported by it, an earlier datagram's error is gone.
            let Ok(received) = lane.port.recv(rx) else { continue };
            counters.lane_oversize += received.oversize as u64;
            for (sender, octets) in rx.iter() {
                if !admit(counters, trusted, *longest, sender, octets) {
                    continue;
                }
                lane.peer = Some(sender);
                let affinity = affinity_of(&config.peers, sender);
                let (protocol, worker, of) = (config.protocol, lane.worker, Lane::Of(lane.name));
                let arrival = Arrival { protocol, worker, lane: of, affinity, octets };
                if let Delivered::Answer(len) = up.deliver(arrival, answer) {
                    let result = lane.port.send_one(sender, answer.get(..len).unwrap_or_default());
                    note(counters, &result);
                }
            }
            rx.clear();
            lane.ready = !received.drained;
            if received.messages > 0 {
                pool.touch(slot, now.mono_ms);
            }
            if received.drained {
                return;
            }
        }
        ready.push_back(WORKERS + slot as usize);
    }

    /// Reads a worker's shared port, up to a turn's share.
    fn read_shared(&mut self, nth: usize, up: &mut dyn Deliver) {
        let Self { shared, rx, answer, counters, trusted, config, longest, ready, .. } = self;
        let Some(shared) = shared.get_mut(nth).and_then(Option::as_mut) else { return };
        for _ in 0..TURN_BATCHES {
            let Ok(received) = shared.port.recv(rx) else { continue };
            counters.lane_oversize += received.oversize as u64;
            for (sender, octets) in rx.iter() {
                if !admit(counters, trusted, *longest, sender, octets) {
                    continue;
                }
                let affinity = affinity_of(&config.peers, sender);
                let (protocol, worker) = (config.protocol, nth as u8);
                let arrival = Arrival { protocol, worker, lane: Lane::Shared, affinity, octets };
                if let Delivered::Answer(len) = up.deliver(arrival, answer) {
                    let pushed = shared.tx.push(sender, answer.get(..len).unwrap_or_default());
                    counters.lane_blocked += u64::from(pushed == Pushed::Full);
                }
            }
            rx.clear();
            if received.drained {
                shared.ready = false;
                return;
            }
        }
        ready.push_back(nth);
    }

    fn read(&mut self, now: Now, nth: usize, up: &mut dyn Deliver) {
        match nth.checked_sub(WORKERS) {
            None => self.read_shared(nth, up),
            Some(slot) => self.read_lane(now, slot as u32, up),
        }
    }

    /// Notes that there is something to read; true when it was not noted yet.
    fn mark(&mut self, nth: usize) -> bool {
        let ready = match nth.checked_sub(WORKERS) {
            None => self.shared.get_mut(nth).and_then(Option::as_mut).map(|shared| &mut shared.ready),
            Some(slot) => self.pool.get(slot as u32).map(|lane| &mut lane.ready),
        };
        ready.is_some_and(|ready| !core::mem::replace(ready, true))
    }
}

impl Upstream for LanesUpstream {
    fn start(&mut self, registry: &Registry, tokens: Range<usize>) -> io::Result<SocketAddr> {
        let invalid = |text| Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        if self.config.peers.is_empty() || self.config.peers.len() > 256 {
            return invalid("a link to the core needs 1 to 256 softswitches");
        }
        if tokens.len() < WORKERS + self.config.lanes.clamp(1, LANES_MAX) {
            return invalid("too many lanes");
        }
        self.registry = Some(registry.try_clone()?);
        self.tokens = tokens;
        // The first worker's port shows whether the address can be used at all.
        self.open_shared(0)?;
        let first = self.shared.first().and_then(Option::as_ref);
        first.map_or_else(|| Err(io::Error::from(io::ErrorKind::NotFound)), |shared| shared.port.local_addr())
    }

    fn send(&mut self, now: Now, message: CoreMessage<'_>) -> bool {
        if message.protocol != self.config.protocol {
            return false;
        }
        match message.lane {
            Lane::Shared => self.send_shared(message),
            Lane::Of(name) => self.send_lane(now, name, message),
        }
    }

    fn flush(&mut self, _now: Now, _up: &mut dyn Deliver) {
        for nth in 0..self.shared.len() {
            self.flush_shared(nth);
        }
    }

    fn on_ready(&mut self, now: Now, event: &Event, up: &mut dyn Deliver) {
        let Some(nth) = event.token().0.checked_sub(self.tokens.start) else { return };
        if self.mark(nth) {
            self.read(now, nth, up);
        }
    }

    fn hungry(&self) -> bool {
        !self.ready.is_empty()
    }

    fn on_timer(&mut self, now: Now, up: &mut dyn Deliver) {
        for _ in 0..self.ready.len() {
            let Some(nth) = self.ready.pop_front() else { break };
            self.read(now, nth, up);
        }
        if let (Some(registry), Some(until)) = (&self.registry, now.mono_ms.checked_sub(LINGER_MS)) {
            self.pool.close_idle(until, registry, &mut self.counters);
        }
    }

    fn next_deadline(&self) -> Option<u64> {
        if self.shared.iter().flatten().any(|shared| !shared.tx.is_empty()) {
            // The system took no more: try again soon.
            return Some(0);
        }
        self.pool.oldest().map(|used| used + LINGER_MS)
    }

    fn descriptors(&self) -> usize {
        WORKERS + self.config.lanes.clamp(1, LANES_MAX)
    }

    fn follows_sessions(&self) -> bool {
        true
    }

    fn on_session(&mut self, now: Now, name: u64, worker: u8, active: bool) {
        if let Some(slot) = self.pool.find(name, worker) {
            self.pool.set_active(slot, now.mono_ms, active, &mut self.counters);
        }
    }

    fn readings(&self, show: &mut dyn FnMut(Reading)) {
        self.counters.readings(show);
    }
}
