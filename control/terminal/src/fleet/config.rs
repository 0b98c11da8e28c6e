//! What a fleet is told, and what it tells.

use super::schedule::Arrivals;
use crate::{Active, Failure, Profile, Step};
use core::net::IpAddr;
use core::time::Duration;
use hdrhistogram::Histogram;
use portunus_keydist::Key;
use std::collections::BTreeMap;

/// Gives the terminal of a number its identity and key. `None`: there are no more.
pub type Subscribers = dyn FnMut(u32) -> Option<(String, Key)> + Send;

/// When a terminal has done its part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Goal {
    /// s10 was accepted. Nothing is sent inside the channel, so the proxy forgets the session after a while: for
    /// measuring the registration alone.
    Keyed,
    /// The session is active: something protected verified in both directions.
    Active,
    /// As `Active`, and a request inside the channel was answered by the core (SIP: OPTIONS to the registrar).
    Verified,
}

/// A fleet.
#[derive(Debug, Clone)]
pub struct FleetConfig {
    /// What all its terminals have in common.
    pub profile: Profile,
    /// Terminals.
    pub terminals: u32,
    /// The address to send from.
    pub local: IpAddr,
    /// UDP sockets to spread the terminals over: the proxy steers by source address and port, so at least a few
    /// times as many as it has workers. At least 1.
    pub sockets: u16,
    /// When terminals start.
    pub arrivals: Arrivals,
    /// The run ends at the latest this long after its start, whatever is under way.
    pub limit: Duration,
    /// When a terminal has done its part.
    pub goal: Goal,
    /// True: terminals go on refreshing until the limit; false: the run ends when every terminal is active or has
    /// failed for good.
    pub stay: bool,
}

/// Where a run stands; given to the progress callback about ten times a second.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// Terminals that started.
    pub started: u32,
    /// Terminals whose s10 was accepted at least once.
    pub keyed: u32,
    /// Terminals that were active at least once.
    pub active: u32,
    /// Attempts that failed so far.
    pub failures: u32,
    /// Since the start of the run.
    pub elapsed: Duration,
}

/// What came of a run.
#[derive(Debug, Clone)]
pub struct FleetResult {
    /// Terminals asked for.
    pub terminals: u32,
    /// Terminals whose s10 was accepted at least once: every check of the specification passed.
    pub registered: u32,
    /// Terminals that were active at least once: something protected verified in both directions.
    pub active: u32,
    /// Terminals that got an answer to a request inside their channel, where that was asked for.
    pub verified: u32,
    /// Failed attempts by reason ([`crate::Failure::word`]); a terminal that tries again may still be active.
    pub failures: BTreeMap<&'static str, u32>,
    /// Microseconds from the intended start to s10 accepted.
    pub keyed_us: Histogram<u64>,
    /// Microseconds from the intended start to the proxy's protected answer.
    pub active_us: Histogram<u64>,
    /// Datagrams (or framed messages) sent.
    pub packets_sent: u64,
    /// Datagrams (or framed messages) received.
    pub packets_received: u64,
    /// Their octets, sent.
    pub octets_sent: u64,
    /// Their octets, received.
    pub octets_received: u64,
    /// Requests repeated.
    pub retransmissions: u64,
    /// Messages that no terminal took.
    pub ignored: u64,
    /// Sends that the operating system refused.
    pub send_errors: u64,
    /// The first terminal's steps and when they were seen since its start, where the profile asks for a ladder.
    pub ladder: Vec<(Step, Duration)>,
    /// What the first terminal agreed on.
    pub first_active: Option<Active>,
    /// The failure seen last.
    pub last_failure: Option<Failure>,
    /// When the run began: the ladder's zero, but for the first terminal's intended start.
    pub began: std::time::Instant,
    /// From the first intended start to the last terminal's end.
    pub elapsed: Duration,
}

impl FleetResult {
    /// Registrations a second over the whole run.
    pub fn rate(&self) -> f64 {
        f64::from(self.registered) / self.elapsed.as_secs_f64().max(1e-9)
    }

    /// True when every terminal verified its s10 and its session went active.
    pub fn all_active(&self) -> bool {
        self.active == self.terminals && self.registered == self.terminals
    }
}
