//! The link to the core over UDP: one address of the proxy, one or several softswitches.
//!
//! A terminal's messages go to one softswitch, chosen by its affinity; while that is silent, to the next one that is
//! not. A softswitch counts as silent when it was sent something and said nothing for a while, or at once when its
//! host refuses; then one message an interval still goes there, and its answer brings it back.
//!
//! To each softswitch goes a connected socket on the proxy's one address, which costs the system less for each
//! datagram; whatever else the core sends (from other addresses of trusted hosts) arrives at the main socket.

use core::ops::Range;
use std::io;
use std::net::{IpAddr, SocketAddr};

use mio::event::{Event, Source};
use mio::{Interest, Registry, Token};
use portunus_engine::Reading;
use portunus_io::listen::{self, Buffers};
use portunus_io::{Batch, Pushed, Rx, Tx, UdpPort};
use portunus_keydist::Now;
use portunus_signalling::Protocol;

use crate::outputs::AFFINITY_SHIFT;
use crate::readings::counters;
use crate::upstream::{Arrival, CoreMessage, Deliver, Delivered, Upstream};

/// What the link is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UdpConfig {
    /// Whose messages it carries.
    pub protocol: Protocol,
    /// The address to bind; port 0 finds a free one.
    pub bind: SocketAddr,
    /// Where the core reaches the proxy, where that differs; port 0 here means the port bound.
    pub advertised: Option<SocketAddr>,
    /// The softswitches (or what stands before them); at least one, at most 256.
    pub peers: Vec<SocketAddr>,
    /// Further hosts whose messages are taken.
    pub trusted: Vec<IpAddr>,
    /// Milliseconds of silence after which a softswitch is passed over.
    pub silent_ms: u64,
    /// Milliseconds between the messages that try a silent one.
    pub probe_ms: u64,
    /// Datagrams moved by one system call, 1 to 256.
    pub batch: usize,
    /// Octets of the longest message.
    pub message_max: usize,
    /// Kernel buffers of the sockets.
    pub buffers: Buffers,
    /// Lets messages to and from a softswitch pass the system's network stack joined (UDP_SEGMENT, UDP_GRO). The wire
    /// carries the same; a path that cannot do it is found out and served without.
    pub coalesce: bool,
}

impl UdpConfig {
    /// The defaults for a link from `bind` to `peers`.
    pub fn new(protocol: Protocol, bind: SocketAddr, peers: Vec<SocketAddr>) -> Self {
        Self {
            protocol,
            bind,
            advertised: None,
            peers,
            trusted: Vec::new(),
            silent_ms: 2000,
            probe_ms: 1000,
            batch: 64,
            message_max: 8192,
            buffers: Buffers::default(),
            coalesce: true,
        }
    }
}

counters! {
    /// What the link did.
    UdpCounters {
        Counter link_sent "Datagrams sent to the core";
        Counter link_received "Datagrams received from the core";
        Counter link_foreign "Datagrams dropped: not from a host of the core";
        Counter link_oversize "Datagrams dropped: longer than the buffers or than the link takes";
        Counter link_failed "Datagrams that the system could not send";
        Counter link_full "Messages for the core dropped: the system takes no more";
        Counter link_refused "Times that a softswitch's host refused a datagram";
        Counter link_failed_over "Messages sent to another softswitch because theirs is silent";
        Counter link_probes "Messages that tried a silent softswitch";
        Gauge link_peers "Softswitches";
        Gauge link_peers_silent "Softswitches that are silent";
        Counter link_calls "System calls for sending and receiving";
    }
}

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

/// See the module.
pub struct UdpUpstream {
    config: UdpConfig,
    /// The softswitches' connected sockets in the order of the configuration, then the main one.
    sockets: Vec<Socket>,
    tokens: Range<usize>,
    trusted: Vec<IpAddr>,
    rx: Batch,
    /// Octets of the longest message.
    longest: usize,
    /// Datagrams of one system call.
    batch: usize,
    answer: Box<[u8]>,
    counters: UdpCounters,
    silent: usize,
    look_ms: u64,
}

/// Milliseconds between looks at who is silent.
const LOOK_MS: u64 = 250;
const TURN_BATCHES: usize = 4;

impl UdpUpstream {
    /// A link that opens when the node starts it.
    pub fn new(config: UdpConfig) -> Self {
        let mut trusted: Vec<_> =
            config.peers.iter().map(SocketAddr::ip).chain(config.trusted.iter().copied()).collect();
        trusted.sort_unstable();
        trusted.dedup();
        let (batch, longest) = (config.batch.clamp(1, 256), config.message_max.clamp(576, 65_535));
        Self {
            sockets: Vec::new(),
            tokens: 0..0,
            trusted,
            rx: if config.coalesce { Batch::coalescing(batch.min(32)) } else { Batch::new(batch, longest) },
            answer: vec![0; longest.max(2048)].into_boxed_slice(),
            longest,
            batch,
            counters: UdpCounters { link_peers: config.peers.len() as u64, ..UdpCounters::default() },
            silent: 0,
            look_ms: 0,
            config,
        }
    }

    fn add(&mut self, registry: &Registry, socket: std::net::UdpSocket, peer: bool) -> io::Result<()> {
        let mut port = UdpPort::new(socket, self.batch);
        if self.config.coalesce {
            port.coalesce();
        }
        port.register(registry, Token(self.tokens.start + self.sockets.len()), Interest::READABLE)?;
        let tx = Batch::new(self.batch, self.longest);
        self.sockets.push(Socket { port, tx, ready: true, health: peer.then(Health::default) });
        Ok(())
    }

    /// The address for Via and Path: configured, or the one that the system uses towards the first softswitch.
    fn reached_at(&self) -> io::Result<SocketAddr> {
        let first = self.sockets.first().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        let bound = first.port.local_addr()?;
        Ok(match self.config.advertised {
            Some(told) if told.port() != 0 => told,
            Some(told) => SocketAddr::new(told.ip(), bound.port()),
            None => bound,
        })
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

    /// Brings the softswitches' standing up to date.
    fn look(&mut self, now: Now) {
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

    fn receive(&mut self, nth: usize, now: Now, up: &mut dyn Deliver) {
        for _ in 0..TURN_BATCHES {
            let Some(socket) = self.sockets.get_mut(nth).filter(|socket| socket.ready) else { return };
            self.counters.link_calls += 1;
            match socket.port.recv(&mut self.rx) {
                Ok(received) => {
                    socket.ready = !received.drained;
                    self.counters.link_oversize += received.oversize as u64;
                }
                Err(error) => {
                    if error.kind() == io::ErrorKind::ConnectionRefused {
                        self.counters.link_refused += 1;
                        self.refused(nth, now);
                    }
                    continue;
                }
            }
            self.hand_up(nth, up);
        }
    }

    /// A softswitch's host says that nobody listens there.
    fn refused(&mut self, nth: usize, now: Now) {
        let interval = self.config.probe_ms;
        if let Some(health) = self.sockets.get_mut(nth).and_then(|socket| socket.health.as_mut()) {
            health.silent_until = health.silent_until.or(Some(now.mono_ms + interval));
        }
        self.look(now);
    }

    /// Delivers what was received.
    fn hand_up(&mut self, nth: usize, up: &mut dyn Deliver) {
        let Self { sockets, rx, answer, counters, trusted, config, silent, longest, .. } = self;
        let Some(socket) = sockets.get_mut(nth) else { return };
        if let Some(health) = socket.health.as_mut().filter(|_| !rx.is_empty()) {
            health.asked_ms = None;
            if health.silent_until.take().is_some() {
                *silent = silent.saturating_sub(1);
                counters.link_peers_silent = *silent as u64;
            }
        }
        for (peer, message) in rx.iter() {
            if trusted.binary_search(&peer.ip()).is_err() {
                counters.link_foreign += 1;
                continue;
            }
            if message.len() > *longest {
                counters.link_oversize += 1;
                continue;
            }
            counters.link_received += 1;
            let affinity = (nth as u32) << AFFINITY_SHIFT;
            let arrival = Arrival { affinity, ..Arrival::shared(config.protocol, message) };
            if let Delivered::Answer(len) = up.deliver(arrival, answer) {
                let octets = answer.get(..len).unwrap_or_default();
                counters.link_full += u64::from(socket.tx.push(peer, octets) == Pushed::Full);
            }
        }
        rx.clear();
    }
}

impl Upstream for UdpUpstream {
    fn start(&mut self, registry: &Registry, tokens: Range<usize>) -> io::Result<SocketAddr> {
        if self.config.peers.is_empty() || self.config.peers.len() > 256 {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a link to the core needs 1 to 256 softswitches"));
        }
        self.tokens = tokens;
        let main = listen::udp_shared(self.config.bind, self.config.buffers)?;
        for peer in self.config.peers.clone() {
            let socket = listen::udp_connected(&main, peer, self.config.buffers)?;
            self.add(registry, socket, true)?;
        }
        self.add(registry, main, false)?;
        self.reached_at()
    }

    fn send(&mut self, now: Now, message: CoreMessage<'_>) -> bool {
        if message.protocol != self.config.protocol {
            return false;
        }
        let at = self.choose(now, message.affinity >> AFFINITY_SHIFT);
        if self.sockets.get(at).is_some_and(|socket| socket.tx.is_full()) {
            self.flush_one(at);
        }
        let Some(socket) = self.sockets.get_mut(at) else { return false };
        let peer = self.config.peers.get(at).copied().unwrap_or(self.config.bind);
        if let Some(health) = &mut socket.health {
            health.asked_ms = health.asked_ms.or(Some(now.mono_ms));
        }
        match socket.tx.push(peer, message.octets) {
            Pushed::Written => true,
            Pushed::Full => {
                self.counters.link_full += 1;
                false
            }
            Pushed::Declined => {
                self.counters.link_oversize += 1;
                false
            }
        }
    }

    fn flush(&mut self, _now: Now, _up: &mut dyn Deliver) {
        for nth in 0..self.sockets.len() {
            self.flush_one(nth);
        }
    }

    fn on_ready(&mut self, now: Now, event: &Event, up: &mut dyn Deliver) {
        let Some(nth) = event.token().0.checked_sub(self.tokens.start) else { return };
        if let Some(socket) = self.sockets.get_mut(nth) {
            socket.ready = true;
            self.receive(nth, now, up);
        }
    }

    fn hungry(&self) -> bool {
        self.sockets.iter().any(|socket| socket.ready)
    }

    fn on_timer(&mut self, now: Now, up: &mut dyn Deliver) {
        for nth in 0..self.sockets.len() {
            self.receive(nth, now, up);
        }
        if self.look_ms <= now.mono_ms {
            self.look(now);
        }
    }

    fn next_deadline(&self) -> Option<u64> {
        let asked = self.sockets.iter().any(|socket| socket.health.as_ref().is_some_and(|h| h.asked_ms.is_some()));
        let waiting = self.sockets.iter().any(|socket| !socket.tx.is_empty());
        match (waiting, asked) {
            // The system took no more: try again soon.
            (true, _) => Some(0),
            (false, true) => Some(self.look_ms),
            (false, false) => None,
        }
    }

    fn descriptors(&self) -> usize {
        self.config.peers.len() + 1
    }

    fn readings(&self, show: &mut dyn FnMut(Reading)) {
        self.counters.readings(show);
    }
}
