//! One SIP terminal without I/O.
//!
//! ```text
//!                  registering (portunus_keydist::terminal)                         inside the channel
//!         +------------------------------------------------------------+   +-----------------------------------+
//!  start  |  s1 --s6--> s7 --s10--> confirm --protected answer--> .    |   |  refresh, probe, requests, answers|
//! ------->|  back-off with jitter after any failure                    |-->|  nothing heard after a request:   |
//!         |  stops after `attempts_max` failures in a row              |<--|  lost, register afresh            |
//!         +------------------------------------------------------------+   +-----------------------------------+
//!                                    ^                                         |            | de-registered
//!                                    +----- the key's life runs low -----------+            v  at rest
//! ```
//!
//! What is SIP is here and in `portunus_sip`; the rules of the protocol are the role machine's. A registration beside
//! an active session replaces it only when the new one is confirmed (make before break). Nothing unprotected is obeyed
//! but s6, s10 and refusals, and those only in answer to this terminal's own transaction.

mod config;
mod event;
mod failure;
mod inside;
mod registering;
mod session;
mod text;

pub use config::{MECHS, Profile, ProfileError, Transport};
pub use event::{Active, BEHIND_THE_PROXY, Event, Step};
pub use failure::{Blame, Failure};

use core::net::SocketAddr;
use inside::Inside;
use portunus_keydist::terminal::{Terminal, Why as MachineWhy};
use portunus_keydist::{Idc, Idsp, Key, Now, Random};
use registering::Pending;
use session::Session;
use std::collections::VecDeque;
use std::sync::Arc;

/// How a message leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Path {
    /// By the signalling transport: the UDP socket, or the TCP connection to the proxy.
    Signalling,
    /// As a sealed datagram, from the UDP socket.
    Sealed,
}

/// A message to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transmit {
    /// How.
    pub path: Path,
    /// Where.
    pub to: SocketAddr,
    /// Its octets.
    pub octets: Vec<u8>,
}

/// Why a terminal wants to be woken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Why {
    /// Something of the registration: repetition, confirmation, back-off, renewal, end of the key.
    Registration(MachineWhy),
    /// A request inside the channel is to be sent again, or given up.
    Inside,
    /// The binding is to be refreshed inside the channel.
    Refresh,
    /// Nothing was heard for long: a sign of life is due.
    Probe,
}

/// Numbers a terminal keeps for its owner's totals.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Messages sent, all kinds.
    pub sent: u32,
    /// Of those, repetitions.
    pub repeated: u32,
    /// Messages ignored: not for this terminal's transaction, from elsewhere, or not verifying.
    pub ignored: u32,
    /// Sessions that became active.
    pub activations: u32,
    /// Attempts that failed.
    pub failures: u32,
}

/// One SIP terminal. See the module's drawing for its life.
pub struct SipTerminal {
    profile: Arc<Profile>,
    machine: Terminal,
    local: SocketAddr,
    tag: u32,
    cseq: u32,
    /// Random part of the Call-ID of every REGISTER of this terminal, and of its From tag.
    call: u64,
    failures_in_row: u32,
    stopped: bool,
    began_ms: u64,
    keyed_after_ms: u64,
    pending: Option<Box<Pending>>,
    provisional: Option<Box<Session>>,
    session: Option<Box<Session>>,
    inside: Inside,
    out: VecDeque<Transmit>,
    events: VecDeque<Event>,
    tally: Tally,
}

impl core::fmt::Debug for SipTerminal {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let state = match (&self.session, &self.pending) {
            (Some(_), _) => "active",
            (None, Some(_)) => "registering",
            (None, None) => "at rest",
        };
        write!(f, "SipTerminal({}, {state})", self.idc())
    }
}

impl SipTerminal {
    /// A terminal at rest. `None` when `idc` is not an IDc or the profile's proxy name not an IDsp.
    ///
    /// `local` is the address that it is reached at (Via and Contact). `tag` begins every Call-ID that it makes, so
    /// that an owner of many terminals behind one socket finds the right one ([`call_id_tag`]).
    pub fn new(
        profile: Arc<Profile>,
        idc: &str,
        key: &Key,
        local: SocketAddr,
        tag: u32,
        rng: &mut dyn Random,
    ) -> Option<Self> {
        let machine = Terminal::new(Idc::new(idc)?, Idsp::new(&profile.idsp)?, key, Arc::clone(&profile.registering));
        Some(Self {
            profile,
            machine,
            local,
            tag,
            cseq: 0,
            call: rng.next_u64(),
            failures_in_row: 0,
            stopped: false,
            began_ms: 0,
            keyed_after_ms: 0,
            pending: None,
            provisional: None,
            session: None,
            inside: Inside::default(),
            out: VecDeque::new(),
            events: VecDeque::new(),
            tally: Tally::default(),
        })
    }

    /// Who it is.
    pub fn idc(&self) -> &str {
        self.machine.names().0.as_str()
    }

    /// True while its session is active: confirmed, and neither lost nor ended.
    pub fn is_active(&self) -> bool {
        self.session.is_some()
    }

    /// The proxy's handle for the active session.
    pub fn kid(&self) -> Option<u64> {
        self.session.as_ref().map(|s| s.kid)
    }

    /// Its totals.
    pub fn tally(&self) -> Tally {
        self.tally
    }

    /// Takes a datagram from the terminal's UDP socket; a sealed one is opened in place. What is not for this terminal,
    /// or does not verify, is counted and changes nothing.
    pub fn on_datagram(&mut self, now: Now, rng: &mut dyn Random, from: SocketAddr, octets: &mut [u8]) {
        let taken = match session::kid_of(octets) {
            Some(kid) => self.on_sealed(now, rng, kid, octets),
            // A reply comes from where the request went; who else answers is not the proxy.
            None if from == self.profile.server => self.on_answer(now, rng, octets),
            None => false,
        };
        self.tally.ignored += u32::from(!taken);
    }

    /// Takes a message that the owner framed from the connection to the proxy.
    pub fn on_message(&mut self, now: Now, rng: &mut dyn Random, octets: &[u8]) {
        let taken = self.on_answer(now, rng, octets);
        self.tally.ignored += u32::from(!taken);
    }

    /// Does what is due at `now`; harmless when nothing is.
    pub fn on_timer(&mut self, now: Now, rng: &mut dyn Random) {
        self.registering_due(now, rng);
        self.inside_due(now, rng);
    }

    /// When [`SipTerminal::on_timer`] wants to be called, monotonic milliseconds, and why. `None`: at rest.
    pub fn next_deadline(&self) -> Option<(u64, Why)> {
        let machine = self.machine.next_deadline().map(|(at, why)| (at, Why::Registration(why)));
        let machine = machine.filter(|_| !self.stopped || self.session.is_some());
        [machine, self.inside_deadline()].into_iter().flatten().min_by_key(|(at, _)| *at)
    }

    /// The next message to send, until there is none.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        drained(&mut self.out)
    }

    /// The next event, until there is none.
    pub fn poll_event(&mut self) -> Option<Event> {
        drained(&mut self.events)
    }

    fn step(&mut self, now: Now, step: Step) {
        if self.profile.ladder {
            self.events.push_back(Event::Step { step, at_ms: now.mono_ms });
        }
    }

    fn send(&mut self, path: Path, to: SocketAddr, octets: Vec<u8>) {
        self.tally.sent += 1;
        self.out.push_back(Transmit { path, to, octets });
    }
}

/// The first item; an empty queue gives its memory back, since a fleet's terminals are silent most of their lives.
fn drained<T>(queue: &mut VecDeque<T>) -> Option<T> {
    let first = queue.pop_front();
    if first.is_none() && queue.capacity() != 0 {
        *queue = VecDeque::new();
    }
    first
}

/// The owner's tag in a message's Call-ID, read without parsing the rest: for terminals that share a socket.
pub fn call_id_tag(message: &[u8]) -> Option<u32> {
    text::call_id_tag(message)
}

/// The proxy's handle in a sealed datagram's header, for the same purpose; `None` when it is not sealed.
pub fn sealed_kid(datagram: &[u8]) -> Option<u64> {
    session::kid_of(datagram)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A million simulated terminals must fit into a small machine: less than 1.5 kB each, once they are active.
    #[test]
    fn an_active_terminal_is_small() {
        // And what its owner keeps beside it: places in a table, a map and a heap.
        let (terminal, session, owner) = (size_of::<SipTerminal>(), size_of::<Session>(), 160);
        assert!(terminal + session + owner <= 1_536, "{terminal} + {session} + {owner}");
        let mut queue = VecDeque::from([1]);
        assert_eq!((drained(&mut queue), drained(&mut queue), queue.capacity()), (Some(1), None, 0));
    }
}
