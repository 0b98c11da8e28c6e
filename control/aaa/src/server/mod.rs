//! What every server end of a transport protocol does, whatever it is: packets in, questions out, answers back.

use crate::exchange::{AaaAnswer, AaaRequest};
use crate::node::Node;
use crate::secret::SharedSecret;
use core::net::{IpAddr, SocketAddr};
use portunus_keydist::Now;
use std::sync::Arc;

/// One client, or a network of them, that may ask over UDP.
#[derive(Debug, Clone)]
pub struct ClientEntry {
    /// Its name in logs and records.
    pub name: Arc<str>,
    /// Its address, or its network's.
    pub address: IpAddr,
    /// Leading bits of the address that count; 32 or 128 for a single host.
    pub prefix: u8,
    /// The secret shared with it.
    pub secret: SharedSecret,
}

impl ClientEntry {
    /// A single host.
    pub fn host(name: &str, address: IpAddr, secret: SharedSecret) -> Self {
        Self { name: name.into(), address, prefix: if address.is_ipv4() { 32 } else { 128 }, secret }
    }

    /// True when the address is the host's or in the network.
    pub fn covers(&self, peer: IpAddr) -> bool {
        let (own, other, width) = match (self.address, peer) {
            (IpAddr::V4(a), IpAddr::V4(b)) => (u128::from(a.to_bits()), u128::from(b.to_bits()), 32),
            (IpAddr::V6(a), IpAddr::V6(b)) => (a.to_bits(), b.to_bits(), 128),
            _ => return false,
        };
        let free = width - u32::from(self.prefix).min(width);
        free == 128 || own >> free == other >> free
    }
}

/// Who may ask, and the limits.
#[derive(Debug, Clone)]
pub struct EndConfig {
    /// Clients over UDP. A longer prefix goes before a shorter one.
    pub clients: Vec<ClientEntry>,
    /// Most answers kept for repetitions.
    pub cache: usize,
    /// How long they are kept, milliseconds.
    pub cache_ms: u64,
    /// Most questions waiting for their answer.
    pub pending: usize,
    /// Our names, where the protocol has them.
    pub node: Node,
    /// Realms served, where the protocol routes by them.
    pub realms: Vec<Arc<str>>,
    /// True when a connection's name is the peer's Origin-Host, proven by its certificate.
    pub hosts_proven: bool,
    /// Silence on a connection after which it is probed, where the protocol does that; milliseconds.
    pub watchdog_ms: u64,
}

impl Default for EndConfig {
    fn default() -> Self {
        Self {
            clients: Vec::new(),
            cache: 65_536,
            cache_ms: 30_000,
            pending: 65_536,
            node: Node::default(),
            realms: Vec::new(),
            hosts_proven: false,
            watchdog_ms: 30_000,
        }
    }
}

/// Which of a protocol's two datagram ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Port {
    /// Authentication (RADIUS 1812).
    Auth,
    /// Accounting (RADIUS 1813).
    Acct,
}

/// Where a packet came from, and its answer goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A datagram.
    Datagram {
        /// Its source.
        peer: SocketAddr,
        /// The port that took it.
        port: Port,
    },
    /// A connection whose peer proved its name by certificate, or has it by its address.
    Stream {
        /// The connection; never used twice.
        connection: u64,
        /// The name in the certificate.
        name: Arc<str>,
    },
}

/// Names a question until it is answered; never used twice by one end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AskTicket(pub u64);

/// What a packet amounts to.
#[derive(Debug, PartialEq, Eq)]
pub enum Received<'a> {
    /// A question to be answered by [`End::answer`].
    Asked {
        /// Its name.
        ticket: AskTicket,
        /// Who asks, as the configuration or the certificate names it.
        client: Arc<str>,
        /// The question.
        request: AaaRequest,
    },
    /// To be sent back at once: a repetition's cached answer, a probe's, a rejection.
    Answer(&'a [u8]),
    /// Dropped or waiting already; counted.
    Nothing,
    /// The connection is of no use any more.
    Close,
}

/// What an end counted since it was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EndCounters {
    /// Questions handed out.
    pub asked: u64,
    /// Answers sent.
    pub answered: u64,
    /// Repetitions answered from the cache.
    pub repeated: u64,
    /// Repetitions dropped because their answer is still being made.
    pub waiting: u64,
    /// Probes answered.
    pub probes: u64,
    /// Packets that could not be read.
    pub unreadable: u64,
    /// Packets from addresses that are nobody's.
    pub stranger: u64,
    /// Packets whose authenticators are wrong.
    pub untrusted: u64,
    /// Authentic questions that made no sense.
    pub malformed: u64,
    /// Questions dropped because too many wait already.
    pub full: u64,
}

/// What an end wants done by itself.
#[derive(Debug, PartialEq, Eq)]
pub enum EndEffect {
    /// Send a message.
    Send {
        /// To whom.
        origin: Origin,
        /// The message.
        octets: Vec<u8>,
    },
    /// Close a connection.
    Close {
        /// Which.
        connection: u64,
    },
}

/// The server end of a protocol. Sans-I/O.
pub trait End: Send {
    /// A connection was made from `local` on our side, its peer proven; or is gone (`None`).
    fn on_connection(&mut self, _now: Now, _connection: u64, _local: Option<IpAddr>) {}

    /// Time has passed.
    fn on_timer(&mut self, _now: Now) {}

    /// When [`End::on_timer`] is due next, monotonic milliseconds.
    fn next_deadline(&self) -> Option<u64> {
        None
    }

    /// The next thing to do.
    fn poll_effect(&mut self) -> Option<EndEffect> {
        None
    }

    /// We are about to stop: what the protocol says then becomes an effect.
    fn farewell(&mut self) {}

    /// One packet arrived.
    fn on_packet(&mut self, now: Now, origin: &Origin, bytes: &[u8]) -> Received<'_>;

    /// Answers a question; gives what is to be sent and where, or `None` when nobody waits for it any more.
    fn answer(&mut self, now: Now, ticket: AskTicket, answer: &AaaAnswer) -> Option<(Origin, &[u8])>;

    /// Gives a question up: nothing is sent, and a repetition counts as new.
    fn abandon(&mut self, ticket: AskTicket);

    /// What was counted.
    fn counters(&self) -> EndCounters;
}
