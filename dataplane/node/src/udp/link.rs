//! The sockets of a link over UDP, and what is known of the softswitches behind them; driven by the control thread, or
//! by the only worker.

use std::io;
use std::net::{IpAddr, SocketAddr};

use mio::event::Source;
use mio::{Interest, Registry, Token};
use portunus_engine::Reading;
use portunus_io::{Batch, Pushed, Rx, Tx, UdpPort, listen};
use portunus_keydist::Now;
use portunus_signalling::Protocol;

use super::{UdpConfig, UdpCounters};
use crate::outputs::AFFINITY_SHIFT;

/// What is known of a softswitch.
#[derive(Debug, Default)]
struct Health {
    /// When the first message left to which nothing has come back.
    asked_ms: Option<u64>,
    /// It is passed over, and tried again at this time.
    silent_until: Option<u64>,
}

struct Socket {
    port: UdpPort,
    tx: Batch,
    ready: bool,
    /// `None` for the main socket.
    health: Option<Health>,
}

/// Connected sockets to the softswitches, and one for whatever else the core sends to their address.
pub struct UdpLink {
    config: UdpConfig,
    /// The softswitches' connected sockets in the order of the configuration, then the main one.
    sockets: Vec<Socket>,
    trusted: Vec<IpAddr>,
    /// Octets of the longest message.
    longest: usize,
    /// Datagrams of one system call.
    batch: usize,
    pub(super) counters: UdpCounters,
    silent: usize,
    look_ms: u64,
    /// Where the sockets are registered.
    registry: Option<Registry>,
}

impl core::fmt::Debug for UdpLink {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("UdpLink").field("peers", &self.config.peers).finish_non_exhaustive()
    }
}

/// Milliseconds between looks at who is silent.
const LOOK_MS: u64 = 250;

impl UdpLink {
    /// Nothing is open yet.
    pub(super) fn new(config: UdpConfig) -> Self {
        let mut trusted: Vec<_> =
            config.peers.iter().map(SocketAddr::ip).chain(config.trusted.iter().copied()).collect();
        trusted.sort_unstable();
        trusted.dedup();
        Self {
            sockets: Vec::new(),
            trusted,
            longest: config.message_max.clamp(576, 65_535),
            batch: config.batch.clamp(1, 256),
            counters: UdpCounters::default(),
            silent: 0,
            look_ms: 0,
            registry: None,
            config,
        }
    }

    /// Opens the sockets and registers them, with tokens from `first` on: one for each softswitch, at most 256, and one
    /// more.
    pub(super) fn open(&mut self, registry: &Registry, first: usize) -> io::Result<()> {
        if self.config.peers.is_empty() || self.config.peers.len() > 256 {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a link to the core needs 1 to 256 softswitches"));
        }
        let main = listen::udp_shared(self.config.bind, self.config.buffers)?;
        for peer in self.config.peers.clone() {
            let socket = listen::udp_connected(&main, peer, self.config.buffers)?;
            self.add(socket, true);
        }
        self.add(main, false);
        self.register(registry, first)
    }

    fn add(&mut self, socket: std::net::UdpSocket, peer: bool) {
        let mut port = UdpPort::new(socket, self.batch);
        if self.config.coalesce {
            port.coalesce();
        }
        let tx = Batch::new(self.batch, self.longest);
        self.sockets.push(Socket { port, tx, ready: true, health: peer.then(Health::default) });
    }

    /// Registers the sockets here, and nowhere else any longer.
    pub(crate) fn register(&mut self, registry: &Registry, first: usize) -> io::Result<()> {
        let before = self.registry.replace(registry.try_clone()?);
        for (nth, Socket { port, ready, .. }) in self.sockets.iter_mut().enumerate() {
            before.as_ref().map_or(Ok(()), |before| port.deregister(before))?;
            port.register(registry, Token(first + nth), Interest::READABLE)?;
            *ready = true;
        }
        Ok(())
    }

    /// A batch to receive into.
    pub(crate) fn room(&self) -> Batch {
        if self.config.coalesce { Batch::coalescing(self.batch.min(32)) } else { Batch::new(self.batch, self.longest) }
    }

    /// Whose messages it carries.
    pub(crate) fn protocol(&self) -> Protocol {
        self.config.protocol
    }

    /// Sockets open.
    pub(crate) fn sockets(&self) -> usize {
        self.sockets.len()
    }

    /// The address that the system uses towards the first softswitch.
    pub(super) fn local_addr(&self) -> io::Result<SocketAddr> {
        let first = self.sockets.first().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        first.port.local_addr()
    }

    /// The softswitch for this affinity.
    fn choose(&mut self, now: Now, affinity: u32) -> usize {
        let peers = self.config.peers.len().max(1);
        let own = affinity as usize % peers;
        if self.silent == 0 {
            return own;
        }
        let interval = self.config.probe_ms;
        for nth in 0..peers {
            let at = (own + nth) % peers;
            let Some(health) = self.sockets.get_mut(at).and_then(|socket| socket.health.as_mut()) else { continue };
            match health.silent_until {
                None => {
                    self.counters.link_failed_over += u64::from(nth > 0);
                    return at;
                }
                Some(until) if until <= now.mono_ms => {
                    health.silent_until = Some(now.mono_ms + interval);
                    self.counters.link_probes += 1;
                    return at;
                }
                Some(_) => {}
            }
        }
        // All are silent: theirs may be the first to come back.
        own
    }

    /// Brings the softswitches' standing up to date, when that is due.
    pub(crate) fn look(&mut self, now: Now) {
        if self.look_ms <= now.mono_ms {
            self.look_at_all(now);
        }
    }

    fn look_at_all(&mut self, now: Now) {
        self.look_ms = now.mono_ms + LOOK_MS;
        let (patience, interval) = (self.config.silent_ms, self.config.probe_ms);
        let mut silent = 0;
        for health in self.sockets.iter_mut().filter_map(|socket| socket.health.as_mut()) {
            let overdue = health.asked_ms.is_some_and(|asked| now.mono_ms.saturating_sub(asked) >= patience);
            if overdue && health.silent_until.is_none() {
                health.silent_until = Some(now.mono_ms + interval);
            }
            silent += usize::from(health.silent_until.is_some());
        }
        self.silent = silent;
        self.counters.link_peers_silent = silent as u64;
    }

    /// When [`UdpLink::look`] is wanted next, on the monotonic clock in milliseconds.
    pub(crate) fn next_look(&self) -> Option<u64> {
        let asked = self.sockets.iter().any(|socket| socket.health.as_ref().is_some_and(|h| h.asked_ms.is_some()));
        asked.then_some(self.look_ms)
    }

    /// True while the system takes no more of what waits to leave.
    pub(crate) fn is_blocked(&self) -> bool {
        self.sockets.iter().any(|socket| !socket.tx.is_empty())
    }

    /// Takes what `write` writes for the softswitch of this affinity; it leaves with the next [`UdpLink::flush`] at the
    /// latest. False when it was dropped.
    pub(crate) fn push_with(
        &mut self,
        now: Now,
        affinity: u32,
        write: impl FnOnce(&mut [u8]) -> Option<usize>,
    ) -> Pushed {
        let at = self.choose(now, affinity >> AFFINITY_SHIFT);
        if self.sockets.get(at).is_some_and(|socket| socket.tx.is_full()) {
            self.flush_one(at);
        }
        let Some(socket) = self.sockets.get_mut(at) else { return Pushed::Full };
        let peer = self.config.peers.get(at).copied().unwrap_or(self.config.bind);
        let pushed = socket.tx.push_with(peer, write);
        match (pushed, &mut socket.health) {
            (Pushed::Written, Some(health)) => health.asked_ms = health.asked_ms.or(Some(now.mono_ms)),
            (Pushed::Full, _) => self.counters.link_full += 1,
            _ => {}
        }
        pushed
    }

    /// Sends something back by socket `nth`.
    pub(super) fn push_back(&mut self, nth: usize, peer: SocketAddr, octets: &[u8]) {
        if let Some(socket) = self.sockets.get_mut(nth) {
            self.counters.link_full += u64::from(socket.tx.push(peer, octets) == Pushed::Full);
        }
    }

    /// What waits leaves now.
    pub(crate) fn flush(&mut self) {
        for nth in 0..self.sockets.len() {
            self.flush_one(nth);
        }
    }

    fn flush_one(&mut self, nth: usize) {
        let Some(socket) = self.sockets.get_mut(nth).filter(|socket| !socket.tx.is_empty()) else { return };
        self.counters.link_calls += 1;
        match socket.port.send(&mut socket.tx) {
            Ok(sent) => {
                self.counters.link_sent += sent.messages as u64;
                self.counters.link_oversize += sent.oversize as u64;
                self.counters.link_failed += sent.failed as u64;
            }
            Err(_) => {
                self.counters.link_failed += socket.tx.len() as u64;
                socket.tx.clear();
            }
        }
    }

    /// Socket `nth` may have something to receive.
    pub(crate) fn set_ready(&mut self, nth: usize) {
        if let Some(socket) = self.sockets.get_mut(nth) {
            socket.ready = true;
        }
    }

    /// So may every one of them.
    pub(crate) fn set_all_ready(&mut self) {
        self.sockets.iter_mut().for_each(|socket| socket.ready = true);
    }

    /// True while some socket may have something.
    pub(crate) fn hungry(&self) -> bool {
        self.sockets.iter().any(|socket| socket.ready)
    }

    /// Receives by socket `nth` into `rx`, which is empty; false when there is nothing more.
    pub(crate) fn recv(&mut self, nth: usize, now: Now, rx: &mut Batch) -> bool {
        let Some(socket) = self.sockets.get_mut(nth).filter(|socket| socket.ready) else { return false };
        self.counters.link_calls += 1;
        match socket.port.recv(rx) {
            Ok(received) => {
                socket.ready = !received.drained;
                self.counters.link_oversize += received.oversize as u64;
            }
            Err(error) => {
                if error.kind() == io::ErrorKind::ConnectionRefused {
                    self.counters.link_refused += 1;
                    self.refused(nth, now);
                }
                return true;
            }
        }
        if let Some(health) = socket.health.as_mut().filter(|_| !rx.is_empty()) {
            health.asked_ms = None;
            if health.silent_until.take().is_some() {
                self.silent = self.silent.saturating_sub(1);
                self.counters.link_peers_silent = self.silent as u64;
            }
        }
        true
    }

    /// A softswitch's host says that nobody listens there.
    fn refused(&mut self, nth: usize, now: Now) {
        let interval = self.config.probe_ms;
        if let Some(health) = self.sockets.get_mut(nth).and_then(|socket| socket.health.as_mut()) {
            health.silent_until = health.silent_until.or(Some(now.mono_ms + interval));
        }
        self.look_at_all(now);
    }

    /// True for a message that is to be taken: from a host of the core, and no longer than messages are.
    pub(crate) fn admits(&mut self, peer: SocketAddr, message: &[u8]) -> bool {
        if self.trusted.binary_search(&peer.ip()).is_err() {
            self.counters.link_foreign += 1;
            return false;
        }
        if message.len() > self.longest {
            self.counters.link_oversize += 1;
            return false;
        }
        self.counters.link_received += 1;
        true
    }

    /// Shows every counter.
    pub(crate) fn readings(&self, show: &mut dyn FnMut(Reading)) {
        self.counters.readings(show);
    }
}
