//! The link to the core over UDP: one address of the proxy, one or several softswitches.
//!
//! A terminal's messages go to one softswitch, chosen by its affinity; while that is silent, to the next one that is
//! not. A softswitch counts as silent when it was sent something and said nothing for a while, or at once when its
//! host refuses; then one message an interval still goes there, and its answer brings it back. See
//! `softswitches`.
//!
//! To each softswitch goes a connected socket on the proxy's one address, which costs the system less for each
//! datagram; whatever else the core sends (from other addresses of trusted hosts) arrives at the main socket.
//!
//! Where there is one worker, nothing is to be distributed: the sockets are that worker's own, and no ring and no other
//! thread stand between it and the core. Several workers share the one address by way of the control thread.

mod link;

use core::ops::Range;
use std::io;
use std::net::{IpAddr, SocketAddr};

use mio::Registry;
use mio::event::Event;
use portunus_engine::{Affinity, Reading};
use portunus_io::listen::Buffers;
use portunus_io::{Batch, Pushed};
use portunus_keydist::Now;
use portunus_signalling::Protocol;

pub use self::link::UdpLink;
use crate::own::OwnLinks;
use crate::readings::counters;
use crate::softswitches::Shares;
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
    /// The softswitches (or what stands before them); at least one, at most 255.
    pub peers: Vec<SocketAddr>,
    /// Which of them each route leads to; none: all, evenly.
    pub routes: Vec<Shares>,
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
            routes: Vec::new(),
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
        Counter link_held "Messages not sent: only a softswitch that is silent could answer them";
        Counter link_probes "Messages that tried a silent softswitch";
        Gauge link_peers "Softswitches";
        Gauge link_peers_silent "Softswitches that are silent";
        Counter link_calls "System calls for sending and receiving";
    }
}

/// See the module.
pub struct UdpUpstream {
    config: UdpConfig,
    link: UdpLink,
    tokens: Range<usize>,
    rx: Batch,
    answer: Box<[u8]>,
}

const TURN_BATCHES: usize = 4;

impl UdpUpstream {
    /// A link that opens when the node starts it.
    pub fn new(config: UdpConfig) -> Self {
        let mut link = UdpLink::new(config.clone());
        link.counters.link_peers = config.peers.len() as u64;
        let longest = config.message_max.clamp(576, 65_535);
        let (rx, answer) = (link.room(), vec![0; longest.max(2048)].into_boxed_slice());
        Self { config, link, tokens: 0..0, rx, answer }
    }

    /// The address for Via and Path: configured, or the one that the system uses towards the first softswitch.
    fn reached_at(&self) -> io::Result<SocketAddr> {
        let bound = self.link.local_addr()?;
        Ok(match self.config.advertised {
            Some(told) if told.port() != 0 => told,
            Some(told) => SocketAddr::new(told.ip(), bound.port()),
            None => bound,
        })
    }

    fn receive(&mut self, nth: usize, now: Now, up: &mut dyn Deliver) {
        for _ in 0..TURN_BATCHES {
            if !self.link.recv(nth, now, &mut self.rx) {
                return;
            }
            self.hand_up(nth, up);
        }
    }

    /// Delivers what was received.
    fn hand_up(&mut self, nth: usize, up: &mut dyn Deliver) {
        let Self { link, rx, answer, config, .. } = self;
        for (peer, message) in rx.iter() {
            if !link.admits(peer, message) {
                continue;
            }
            let affinity = Affinity::from(nth).0;
            let arrival = Arrival { affinity, ..Arrival::shared(config.protocol, message) };
            if let Delivered::Answer(len) = up.deliver(arrival, answer) {
                link.push_back(nth, peer, answer.get(..len).unwrap_or_default());
            }
        }
        rx.clear();
    }
}

impl Upstream for UdpUpstream {
    fn start(&mut self, registry: &Registry, tokens: Range<usize>) -> io::Result<SocketAddr> {
        self.tokens = tokens;
        self.link.open(registry, self.tokens.start)?;
        self.reached_at()
    }

    fn yield_links(&mut self, registry: &Registry, own: &mut OwnLinks) -> io::Result<()> {
        if own.udp.is_some() {
            return Ok(());
        }
        own.take_udp(registry, core::mem::replace(&mut self.link, UdpLink::new(self.config.clone())))
    }

    fn send(&mut self, now: Now, message: CoreMessage<'_>) -> bool {
        if message.protocol != self.config.protocol {
            return false;
        }
        let pushed = self.link.push_with(now, message.affinity, |place| {
            place.get_mut(..message.octets.len())?.copy_from_slice(message.octets);
            Some(message.octets.len())
        });
        self.link.counters.link_oversize += u64::from(pushed == Pushed::Declined);
        pushed == Pushed::Written
    }

    fn flush(&mut self, _now: Now, _up: &mut dyn Deliver) {
        self.link.flush();
    }

    fn on_ready(&mut self, now: Now, event: &Event, up: &mut dyn Deliver) {
        let Some(nth) = event.token().0.checked_sub(self.tokens.start) else { return };
        self.link.set_ready(nth);
        self.receive(nth, now, up);
    }

    fn hungry(&self) -> bool {
        self.link.hungry()
    }

    fn on_timer(&mut self, now: Now, up: &mut dyn Deliver) {
        for nth in 0..self.link.sockets() {
            self.receive(nth, now, up);
        }
        self.link.look(now);
    }

    fn next_deadline(&self) -> Option<u64> {
        // The system took no more: try again soon.
        if self.link.is_blocked() { Some(0) } else { self.link.next_look() }
    }

    fn descriptors(&self) -> usize {
        self.config.peers.len() + 1
    }

    fn readings(&self, show: &mut dyn FnMut(Reading)) {
        self.link.readings(show);
    }
}
