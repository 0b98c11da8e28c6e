//! Protocols whose messages bear no handle: what waits for the core is found by its N1a, its Rand or its transaction
//! and by the lane that the answer came on, and what follows by the lane alone.
//!
//! Every name is a keyed hash over protocol, lane and value: N1s and Rands are chosen by outsiders, and what comes by
//! one terminal's lane never reaches another's registration.
//!
//! ```text
//!  s1 ── s2 ──► shared port      s5, refusals of s2 come by it: N1a
//!  s7 ── s8 ──► terminal's lane  s9, renewed s5, refusals of s8 come by it: Rand, N1a
//!  session ───► terminal's lane  whatever comes by it and is none of these is the session's
//! ```

use crate::access::Incoming;
use crate::api::{CorePacket, Lane, Sink, To};
use crate::engine::Engine;
use crate::out::send_octets;
use crate::routes::Affinity;
use crate::store::asked::Wish;
use crate::store::pendings::Task;
use crate::store::sessions::State;
use portunus_keydist::proxy::Exchange;
use portunus_keydist::{N1, Rand};
use portunus_signalling::{FromCore, Protocol, Signalling, Writer};

/// What names a registration that waits for the core, besides its lane.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Name {
    /// The N1 of its s1.
    N1(N1),
    /// The challenge that it answers.
    Rand(Rand),
    /// The transaction of the proxy's own command.
    Transaction(u32),
}

impl Name {
    /// Its place among a registration's names.
    const fn nth(&self) -> usize {
        match self {
            Self::N1(_) => 0,
            Self::Rand(_) => 1,
            Self::Transaction(_) => 2,
        }
    }
}

impl Engine {
    /// The way to the core: by the shared port for a terminal's first step, by its lane for what follows. The affinity
    /// leads every message of an IDc's to the same element there, from every worker.
    pub(crate) fn to_core(&self, signalling: &dyn Signalling, (name, of): (u64, Affinity), first: bool) -> To {
        let lane = if first || !signalling.lanes() { Lane::Shared } else { Lane::Of(name) };
        To::Core { protocol: signalling.protocol(), affinity: of.0, lane }
    }

    /// Never 0, which is no name.
    pub(crate) fn hashed(&self, protocol: Protocol, lane: Lane, name: Name) -> u64 {
        let mut head = [0u8; 11];
        (head[0], head[1]) = (protocol as u8, name.nth() as u8);
        if let Lane::Of(of) = lane {
            head[2] = 1;
            head[3..].copy_from_slice(&of.to_be_bytes());
        }
        let digest = match name {
            Name::N1(n1) => self.hash.digest(b'N', &[&head, n1.as_bytes()]),
            Name::Rand(rand) => self.hash.digest(b'N', &[&head, &rand]),
            Name::Transaction(number) => self.hash.digest(b'N', &[&head, &number.to_be_bytes()]),
        };
        (digest as u64).max(1)
    }

    /// The registration that waits for what came by this lane.
    pub(crate) fn waiting(&self, protocol: Protocol, lane: Lane, name: Name) -> Option<u32> {
        self.pendings.find_named(self.hashed(protocol, lane, name))
    }

    /// Gives the registration in `slot` the names that answers to its next step may bear.
    pub(crate) fn name(&mut self, slot: u32, signalling: &dyn Signalling) {
        let Some(pending) = self.pendings.get(slot).filter(|_| signalling.lanes()) else { return };
        let protocol = signalling.protocol();
        let names = match pending.task {
            Task::Pkd(Exchange::AwaitS5 { n1a }) => [Some((Lane::Shared, Name::N1(n1a))), None],
            Task::Pkd(Exchange::AwaitS9 { n1a, rand, .. }) => {
                let lane = Lane::Of(pending.lane);
                [Some((lane, Name::N1(n1a))), Some((lane, Name::Rand(rand)))]
            }
            Task::Stock { .. } => [None, None],
        };
        for (lane, name) in names.into_iter().flatten() {
            let hashed = self.hashed(protocol, lane, name);
            self.pendings.name(slot, name.nth(), hashed);
        }
    }

    /// The proxy's own command for `slot` left: its acknowledgement is known by the transaction's number.
    pub(crate) fn name_transaction(&mut self, slot: u32, to: To, transaction: Option<u32>) {
        let (Some(name), To::Core { protocol, lane, .. }) = (transaction.map(Name::Transaction), to) else { return };
        let hashed = self.hashed(protocol, lane, name);
        self.pendings.name(slot, name.nth(), hashed);
    }

    /// True when another s1 that waits bears this N1: answers could not tell the two apart, and the first one is not
    /// to be disturbed.
    pub(crate) fn is_n1_taken(&mut self, incoming: &Incoming<'_>, n1: &N1) -> bool {
        let signalling = incoming.access.signalling;
        let taken = signalling.lanes() && self.waiting(signalling.protocol(), Lane::Shared, Name::N1(*n1)).is_some();
        self.counters.n1_in_use += u64::from(taken);
        taken
    }

    /// The session of the terminal whose lane this is.
    pub(crate) fn session_on(&self, protocol: Protocol, lane: Lane) -> Option<u32> {
        let Lane::Of(name) = lane else { return None };
        let slot = self.sessions.by_lane(name, |state| state == State::Active)?;
        self.speaks(slot, protocol).then_some(slot)
    }

    /// True when the session in `slot` is of this protocol: another one's messages are not for it.
    pub(crate) fn speaks(&self, slot: u32, protocol: Protocol) -> bool {
        self.sessions.get(slot).is_some_and(|session| session.protocol == protocol)
    }

    /// What the session asked for in this transaction.
    pub(crate) fn wish(&self, slot: u32, transaction: Option<u32>) -> Option<Wish> {
        let kid = self.sessions.kid(slot)?;
        self.asked.find(kid, transaction?)
    }

    /// The session asks for something that its transaction's answer decides.
    pub(crate) fn ask(&mut self, slot: u32, signalling: &dyn Signalling, message: &[u8], wish: Wish) {
        let (Some(kid), Some(transaction)) = (self.sessions.kid(slot), signalling.transaction(message)) else {
            return;
        };
        self.counters.asked_lost += u64::from(!self.asked.put(kid, transaction, wish));
    }

    /// Sends what the protocol owes the core at once for a step of its, also for one that nothing waits for. `read` is what
    /// the message was read as; `None`: it could not be read, which a step may be owed a receipt for all the same.
    pub(crate) fn acknowledge_core(
        &mut self,
        signalling: &dyn Signalling,
        packet: &CorePacket<'_>,
        read: Option<&FromCore<'_>>,
        sink: &mut dyn Sink,
    ) {
        use FromCore::{Answer, Challenge, Key, Own, Refused, Request};
        if matches!(read, Some(Answer { .. } | Request { .. } | Own)) {
            return;
        }
        let hop = self.site.own_hop(0);
        let mut w = Writer::new(&mut self.scratch);
        match read {
            Some(Challenge { .. } | Key { .. } | Refused { .. }) => {
                signalling.acknowledge_step(&hop, packet.bytes, &mut w);
            }
            _ => signalling.acknowledge_core(&hop, packet.bytes, &mut w),
        }
        let Some(octets) = w.finish().ok().filter(|len| *len > 0).and_then(|len| self.scratch.get(..len)) else {
            return;
        };
        let to = packet.back(signalling.protocol());
        let sent = send_octets(sink, &mut self.counters, to, usize::MAX, octets);
        self.counters.core_steps_acknowledged += u64::from(sent);
    }
}
