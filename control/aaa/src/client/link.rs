//! The contract between the client and one server's link: what a transport protocol must do, whatever it is. RADIUS
//! and Diameter implement it.

use crate::exchange::{AaaAnswer, AaaRequest};
use crate::node::Node;
use crate::secret::SharedSecret;
use core::net::SocketAddr;
use portunus_keydist::{Now, Random};
use std::sync::Arc;

/// Lets one request now and then through to a server that is down.
#[derive(Debug, Default)]
pub(crate) struct Canary {
    at_ms: u64,
}

impl Canary {
    /// None for so long from now on.
    pub(crate) fn rest(&mut self, now: Now, every_ms: u64) {
        self.at_ms = now.mono_ms + every_ms;
    }

    /// True when one may go, which begins the next rest.
    pub(crate) fn flies(&mut self, now: Now, every_ms: u64) -> bool {
        let due = now.mono_ms >= self.at_ms;
        if due {
            self.rest(now, every_ms);
        }
        due
    }
}

/// Times and limits of a link; milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// First repetition after this (UDP), ± 10 %, doubling.
    pub repeat_initial_ms: u64,
    /// The doubling stops here.
    pub repeat_max_ms: u64,
    /// Unanswered for this long, the server is down.
    pub dead_after_ms: u64,
    /// Between probes of a server that is down, ± 25 %; also a probe's own patience.
    pub probe_every_ms: u64,
    /// Silence on a connection after which a probe goes out (RFC 3539's Tw).
    pub watchdog_ms: u64,
    /// Probes that must be answered one after the other before a server counts as up again.
    pub revive_after: u8,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            repeat_initial_ms: 400,
            repeat_max_ms: 2_000,
            dead_after_ms: 1_500,
            probe_every_ms: 1_000,
            watchdog_ms: 15_000,
            revive_after: 2,
        }
    }
}

/// What a link is made from.
#[derive(Debug, Clone)]
pub struct LinkConfig {
    /// Where Access-Requests and probes go.
    pub auth: SocketAddr,
    /// Where Accounting-Requests go; the same over TLS.
    pub acct: SocketAddr,
    /// The shared secret.
    pub secret: SharedSecret,
    /// NAS-Identifier in every request.
    pub nas_identifier: String,
    /// Source ports or connections, at least 1.
    pub lanes: u16,
    /// Most requests outstanding at once over all lanes.
    pub window: usize,
    /// True over a connection.
    pub stream: bool,
    /// Our names, where the protocol has them.
    pub node: Node,
    /// Realms that the server leads to; none: all.
    pub realms: Vec<Arc<str>>,
    /// Times.
    pub timing: Timing,
}

impl LinkConfig {
    /// True when the server leads to the AuC of this realm.
    pub fn leads_to(&self, realm: &str) -> bool {
        self.realms.is_empty() || self.realms.iter().any(|r| r.eq_ignore_ascii_case(realm))
    }
}

/// How a server stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// It answers, or has not been found not to.
    Up,
    /// A connection is being made for the first time; requests may wait for it.
    Connecting,
    /// It does not answer; probes or connection attempts go on.
    Down,
}

/// What a link wants done.
#[derive(Debug, PartialEq, Eq)]
pub enum LinkEffect<'a> {
    /// Send one packet.
    Send {
        /// From this source port or on this connection.
        lane: u16,
        /// To this address (a connection has only the one).
        to: SocketAddr,
        /// The packet.
        bytes: &'a [u8],
    },
    /// Close this connection and make it anew.
    Close {
        /// Which.
        lane: u16,
    },
}

/// What a link counted since it was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LinkCounters {
    /// Packets given out to be sent, repetitions and probes included.
    pub sent: u64,
    /// Repetitions among them.
    pub repeated: u64,
    /// Probes among them.
    pub probes: u64,
    /// Packets that were answers to something open and proved themselves.
    pub answers: u64,
    /// Packets dropped because they answered nothing open, or came from another address.
    pub stray: u64,
    /// Packets dropped because they could not be read.
    pub unreadable: u64,
    /// Packets dropped because their authenticators are wrong: forged, or the shared secrets differ.
    pub untrusted: u64,
    /// Authentic answers that made no sense; treated as a rejection.
    pub senseless: u64,
    /// Times the server went down.
    pub downs: u64,
}

/// One server's link. Sans-I/O: lanes are source ports or connections that whoever drives it owns.
pub trait Link: Send {
    /// True when another request can go out now.
    fn has_room(&self) -> bool;

    /// True when the server leads to the AuC of this realm.
    fn leads_to(&self, realm: &str) -> bool;

    /// Sends a request; `key` names it in everything that follows, and is the same wherever it moves; `again`: it was
    /// sent before, here or elsewhere. `false`: no room (or it cannot be written), and nothing was done.
    fn submit(&mut self, now: Now, key: u64, request: &Arc<AaaRequest>, again: bool, rng: &mut dyn Random) -> bool;

    /// The request needs no answer any more.
    fn forget(&mut self, key: u64);

    /// A packet arrived on a lane.
    fn on_packet(&mut self, now: Now, lane: u16, from: SocketAddr, bytes: &[u8], rng: &mut dyn Random);

    /// A connection was made, was lost, or could not be made.
    fn on_lane(&mut self, now: Now, lane: u16, up: bool, rng: &mut dyn Random);

    /// Time has passed.
    fn on_timer(&mut self, now: Now, rng: &mut dyn Random);

    /// When [`Link::on_timer`] is due next, monotonic milliseconds.
    fn next_deadline(&self) -> Option<u64>;

    /// The next thing to do.
    fn poll_effect(&mut self) -> Option<LinkEffect<'_>>;

    /// The next answer.
    fn poll_answer(&mut self) -> Option<(u64, AaaAnswer)>;

    /// The next request whose connection broke under it: to be submitted again, here or elsewhere.
    fn poll_lost(&mut self) -> Option<u64>;

    /// The next request that the server could not bring to an AuC: to be submitted elsewhere.
    fn poll_refused(&mut self) -> Option<u64> {
        None
    }

    /// We are about to stop: what the protocol says then becomes an effect.
    fn farewell(&mut self) {}

    /// How the server stands.
    fn health(&self) -> Health;

    /// While the server is down, lets one request through from time to time, for servers that answer no probes. True:
    /// submit one now.
    fn admits_canary(&mut self, now: Now) -> bool;

    /// What was counted.
    fn counters(&self) -> LinkCounters;
}
