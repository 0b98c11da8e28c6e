//! The sockets of a link over UDP, and what is known of the softswitches behind them; driven by the control thread, or
//! by the only worker.

use std::io;
use std::net::{IpAddr, SocketAddr};

use mio::event::Source;
use mio::{Interest, Registry, Token};
use portunus_engine::{Affinity, HOMES_MAX, Reading};
use portunus_io::{Batch, Pushed, Rx, Tx, UdpPort, listen};
use portunus_keydist::Now;
use portunus_signalling::Protocol;

use super::{UdpConfig, UdpCounters};
use crate::softswitches::Softswitches;

struct Socket {
    port: UdpPort,
    tx: Batch,
    ready: bool,
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
    softswitches: Softswitches,
    /// Where the sockets are registered.
    registry: Option<Registry>,
}

impl core::fmt::Debug for UdpLink {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("UdpLink").field("peers", &self.config.peers).finish_non_exhaustive()
    }
}

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
            softswitches: Softswitches::new("link", &config.peers, &config.routes, (config.silent_ms, config.probe_ms)),
            registry: None,
            config,
        }
    }

    /// Opens the sockets and registers them, with tokens from `first` on: one for each softswitch, at most 255, and one
    /// more.
    pub(super) fn open(&mut self, registry: &Registry, first: usize) -> io::Result<()> {
        if self.config.peers.is_empty() || self.config.peers.len() > HOMES_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a link to the core needs 1 to 255 softswitches"));
        }
        let main = listen::udp_shared(self.config.bind, self.config.buffers)?;
        for peer in self.config.peers.clone() {
            let socket = listen::udp_connected(&main, peer, self.config.buffers)?;
            self.add(socket);
        }
        self.add(main);
        self.register(registry, first)
    }

    fn add(&mut self, socket: std::net::UdpSocket) {
        let mut port = UdpPort::new(socket, self.batch);
        if self.config.coalesce {
            port.coalesce();
        }
        let tx = Batch::new(self.batch, self.longest);
        self.sockets.push(Socket { port, tx, ready: true });
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

    /// Brings the softswitches' standing up to date, when that is due.
    pub(crate) fn look(&mut self, now: Now) {
        self.softswitches.look(now);
    }

    /// When [`UdpLink::look`] is wanted next, on the monotonic clock in milliseconds.
    pub(crate) fn next_look(&self) -> Option<u64> {
        self.softswitches.next_look()
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
        let Some(at) = self.softswitches.choose(now, Affinity(affinity)) else { return Pushed::Full };
        if self.sockets.get(at).is_some_and(|socket| socket.tx.is_full()) {
            self.flush_one(at);
        }
        let Some(socket) = self.sockets.get_mut(at) else { return Pushed::Full };
        let peer = self.config.peers.get(at).copied().unwrap_or(self.config.bind);
        let pushed = socket.tx.push_with(peer, write);
        self.counters.link_full += u64::from(pushed == Pushed::Full);
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
                    self.softswitches.refused(nth, now);
                }
                return true;
            }
        }
        // The main socket is behind theirs, and is nobody's.
        if !rx.is_empty() {
            self.softswitches.heard(nth);
        }
        true
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
        let passed = self.softswitches.passed;
        let counters = UdpCounters {
            link_failed_over: passed.failed_over,
            link_probes: passed.probes,
            link_held: passed.held,
            link_peers_silent: self.softswitches.silent() as u64,
            ..self.counters
        };
        counters.readings(show);
        self.softswitches.readings(show);
    }
}
