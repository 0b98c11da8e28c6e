//! One terminal without I/O, whatever it speaks.
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
//! What is a protocol's is its [`Agent`]'s; the rules of PKD1 are the role machine's. A registration beside an active
//! session replaces it only when the new one is confirmed (make before break). Nothing unprotected is obeyed but s6,
//! s10 and refusals, and those only in answer to this terminal's own transaction.

mod connection;
mod registering;
mod upkeep;

use crate::agent::{Agent, Ctx, Env};
use crate::event::{Event, Step};
use crate::profile::Profile;
use crate::session::Session;
use core::net::SocketAddr;
use portunus_keydist::terminal::{Terminal, Why as MachineWhy};
use portunus_keydist::timing::Repeating;
use portunus_keydist::{Idc, Idsp, Key, N1, Now, Random};
use portunus_signalling::{Protocol, Transport};
use std::collections::VecDeque;
use std::sync::Arc;

/// How a message leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Path {
    /// By the signalling transport: the UDP socket, or the TCP connection to the proxy.
    Signalling,
    /// As a protected datagram of the session's mechanism, from the UDP socket.
    Sealed,
    /// Inside the TLS connection of a session.
    Secured {
        /// The session: see [`crate::Event::Connect`].
        kid: u64,
    },
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
    /// Nothing was heard for long: a sign of life is due. Or a connection takes long to open.
    Probe,
    /// Nothing was sent for long: NATs are to be reminded.
    KeepAlive,
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

/// The s1 or s7 that an answer is awaited for.
struct Pending {
    step: u8,
    n1: N1,
    octets: Vec<u8>,
}

/// What an agent asked for, done when it has returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wish {
    /// A registration beside the session.
    Anew,
    /// De-registered.
    Rest,
}

/// Everything of a terminal but its agent.
pub(crate) struct Base {
    profile: Arc<Profile>,
    machine: Terminal,
    local: SocketAddr,
    tag: u32,
    /// Registrations begun, for their SPIs.
    registrations: u8,
    failures_in_row: u32,
    stopped: bool,
    began_ms: u64,
    keyed_after_ms: u64,
    pending: Option<Box<Pending>>,
    provisional: Option<Box<Session>>,
    pub(crate) session: Option<Box<Session>>,
    /// A sign of life that the proxy was asked for and has not given yet.
    sign: Option<Repeating>,
    out: VecDeque<Transmit>,
    pub(crate) events: VecDeque<Event>,
    pub(crate) tally: Tally,
    pub(crate) wish: Option<Wish>,
}

impl Base {
    pub(crate) fn env(&self) -> Env<'_> {
        let inside = self.session.as_ref().is_some_and(|session| session.is_stream());
        let carrier = if inside { Transport::Tls } else { self.profile.transport };
        Env { profile: &self.profile, idc: self.machine.names().0, local: self.local, carrier, tag: self.tag }
    }

    pub(crate) fn send(&mut self, path: Path, to: SocketAddr, octets: Vec<u8>) {
        self.tally.sent += 1;
        self.out.push_back(Transmit { path, to, octets });
    }

    fn step(&mut self, now: Now, step: Step) {
        if self.profile.ladder {
            self.events.push_back(Event::Step { step, at_ms: now.mono_ms });
        }
    }
}

/// One terminal. See the module's drawing for its life.
pub struct Endpoint<A> {
    pub(crate) agent: A,
    pub(crate) base: Base,
}

/// A terminal of whichever protocol.
pub type AnyTerminal = Endpoint<Box<dyn Agent>>;

impl<A> core::fmt::Debug for Endpoint<A> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let state = match (&self.base.session, &self.base.pending) {
            (Some(_), _) => "active",
            (None, Some(_)) => "registering",
            (None, None) => "at rest",
        };
        write!(f, "Terminal({}, {state})", self.base.env().idc.as_str())
    }
}

impl AnyTerminal {
    /// A terminal at rest that speaks `profile.protocol`. As [`Endpoint::with`].
    pub fn any(
        profile: Arc<Profile>,
        idc: &str,
        key: &Key,
        local: SocketAddr,
        tag: u32,
        rng: &mut dyn Random,
    ) -> Option<Self> {
        let agent: Box<dyn Agent> = match profile.protocol {
            Protocol::Sip => Box::new(crate::sip::Sip::new(rng)),
            Protocol::Mgcp => Box::new(crate::mgcp::Mgcp::new(tag, rng)),
            Protocol::H248 => Box::new(crate::h248::H248::new(tag, rng)),
            Protocol::Ras => Box::new(crate::ras::Ras::new(tag, rng)),
        };
        Self::with(agent, profile, idc, key, local, tag)
    }
}

impl<A: Agent> Endpoint<A> {
    /// A terminal at rest. `None` when `idc` is not an IDc or the profile's proxy name not an IDsp.
    ///
    /// `local` is the address that it is reached at. `tag` is its owner's number for it: an owner of many terminals
    /// behind one socket finds the right one by it ([`crate::agent::tag_of`]).
    pub fn with(agent: A, profile: Arc<Profile>, idc: &str, key: &Key, local: SocketAddr, tag: u32) -> Option<Self> {
        let machine = Terminal::new(Idc::new(idc)?, Idsp::new(&profile.idsp)?, key, Arc::clone(&profile.registering));
        let base = Base {
            profile,
            machine,
            local,
            tag,
            registrations: 0,
            failures_in_row: 0,
            stopped: false,
            began_ms: 0,
            keyed_after_ms: 0,
            pending: None,
            provisional: None,
            session: None,
            sign: None,
            out: VecDeque::new(),
            events: VecDeque::new(),
            tally: Tally::default(),
            wish: None,
        };
        Some(Self { agent, base })
    }

    /// Who it is.
    pub fn idc(&self) -> &str {
        self.base.machine.names().0.as_str()
    }

    /// True while its session is active: confirmed, and neither lost nor ended.
    pub fn is_active(&self) -> bool {
        self.base.session.is_some()
    }

    /// The handle that the proxy's datagrams in the active session bear.
    pub fn kid(&self) -> Option<u64> {
        self.base.session.as_ref().map(|s| s.kid)
    }

    /// What carries what is said inside the session: [`Transport::Tls`] where that is a connection.
    pub fn carrier(&self) -> Transport {
        self.base.env().carrier
    }

    /// Its totals.
    pub fn tally(&self) -> Tally {
        self.base.tally
    }

    /// What an answer to the s1 or s7 under way bears: its N1 and, where the protocol has one, its transaction id.
    pub fn awaited(&self) -> Option<(N1, Option<u32>)> {
        self.base.pending.as_ref().map(|p| (p.n1, self.agent.transaction()))
    }

    /// Takes a datagram from the terminal's UDP socket; a protected one is opened in place. What is not for this terminal,
    /// or does not verify, is counted and changes nothing.
    pub fn on_datagram(&mut self, now: Now, rng: &mut dyn Random, from: SocketAddr, octets: &mut [u8]) {
        let named = |session: &Option<Box<Session>>| session.as_ref().is_some_and(|s| s.is_named_by(octets));
        let taken = match (named(&self.base.provisional), named(&self.base.session)) {
            (true, _) => self.on_protected(now, rng, true, octets),
            (_, true) => self.on_protected(now, rng, false, octets),
            // A reply comes from where the request went; who else answers is not the proxy.
            _ if from == self.base.profile.server => self.on_answer(now, rng, octets),
            _ => false,
        };
        self.base.tally.ignored += u32::from(!taken);
    }

    /// Takes a message that the owner framed from the connection to the proxy.
    pub fn on_message(&mut self, now: Now, rng: &mut dyn Random, octets: &[u8]) {
        let taken = self.on_answer(now, rng, octets);
        self.base.tally.ignored += u32::from(!taken);
    }

    /// Does what is due at `now`; harmless when nothing is.
    pub fn on_timer(&mut self, now: Now, rng: &mut dyn Random) {
        self.registering_due(now, rng);
        self.inside_due(now, rng);
    }

    /// When [`Endpoint::on_timer`] wants to be called, monotonic milliseconds, and why. `None`: at rest.
    pub fn next_deadline(&self) -> Option<(u64, Why)> {
        let machine = self.base.machine.next_deadline().map(|(at, why)| (at, Why::Registration(why)));
        let machine = machine.filter(|_| !self.base.stopped || self.base.session.is_some());
        [machine, self.inside_deadline()].into_iter().flatten().min_by_key(|(at, _)| *at)
    }

    /// The next message to send, until there is none.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        drained(&mut self.base.out)
    }

    /// The next event, until there is none.
    pub fn poll_event(&mut self) -> Option<Event> {
        drained(&mut self.base.events)
    }

    /// Calls the agent about its session, and does what it wished for.
    pub(crate) fn call<R>(&mut self, now: Now, rng: &mut dyn Random, f: impl FnOnce(&mut A, &mut Ctx<'_>) -> R) -> R {
        let result = f(&mut self.agent, &mut Ctx { now, rng, base: &mut self.base });
        match self.base.wish.take() {
            Some(Wish::Anew) if self.base.pending.is_none() && self.base.provisional.is_none() => self.begin(now, rng),
            Some(Wish::Rest) => self.come_to_rest(now, rng),
            Some(Wish::Anew) | None => {}
        }
        result
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::SipTerminal;

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
