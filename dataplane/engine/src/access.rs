//! Unprotected messages of the access side: read, told apart, and what is neither s1 nor s7 refused.

use crate::api::{Meta, Packet, Sink};
use crate::engine::Engine;
use crate::out::{send, send_octets};
use crate::site::{Access, Site};
use portunus_keydist::proxy::{Look, Reject, Source};
use portunus_keydist::steps::{Refusal, S1, S7};
use portunus_keydist::{N1, Now};
use portunus_signalling::{Fault, FaultKind, FromTerminal, Hop, Marks, Text, Ticket, Transport, Writer};

/// Octets that a source may get back for each of its own before it is proven (spec section 2).
const AMPLIFICATION: usize = 3;

/// A message that was read, on its way through the engine.
pub(crate) struct Incoming<'m> {
    pub(crate) meta: &'m Meta,
    pub(crate) bytes: &'m [u8],
    pub(crate) access: Access,
    pub(crate) source: Source,
    /// Digest of source and octets.
    pub(crate) of: u128,
    /// Octets that may still be sent back while the source is unproven.
    pub(crate) budget: usize,
    /// What its protocol noted of it.
    pub(crate) marks: &'m Marks,
}

impl Incoming<'_> {
    pub(crate) const fn salt(&self) -> u64 {
        self.of as u64
    }

    /// The way of what is written from it.
    pub(crate) fn hop<'a>(&'a self, site: &'a Site, ticket: Ticket) -> Hop<'a> {
        let hop = site.hop(self.meta.listener, self.meta.source, ticket, self.salt());
        Hop { marks: self.marks, ..hop }
    }
}

/// What an unprotected message says, and for a registration what it is looked up by.
pub(crate) enum Said<'m> {
    S1(S1<'m>, Look),
    S7(S7<'m>, Look),
    Other(FromTerminal<'m>),
    Nothing(Fault),
}

/// An unprotected message, taken out of its batch.
pub(crate) type Taken<'m> = (Incoming<'m>, Said<'m>);

impl Engine {
    /// Reads a message. `None`: nobody listens for it.
    pub(crate) fn take<'m>(
        &mut self,
        packet: &'m Packet<'_>,
        marks: &'m mut Marks,
        text: &'m mut Text,
    ) -> Option<Taken<'m>> {
        let meta = &packet.meta;
        let Some(access) = self.site.access(meta.listener) else {
            self.counters.wrong_listener += 1;
            return None;
        };
        let bytes: &[u8] = packet.bytes;
        let source = Source::new(meta.source, meta.listener);
        let of = self.digest(meta, bytes);
        let longest = self.policy.longest(meta.listener);
        let read = match bytes.len() > longest {
            false => access.signalling.read_marked(bytes, marks, text),
            true => {
                self.counters.message_too_long += 1;
                Err(Fault { kind: FaultKind::TooBig, what: "message", at: longest })
            }
        };
        let said = match read {
            Ok(FromTerminal::S1(s1)) => Said::S1(s1, self.role.look_s1(&source, &s1)),
            Ok(FromTerminal::S7(s7)) => {
                let look = self.role.look_s7(&source, &s7);
                Said::S7(s7, look)
            }
            Ok(other) => Said::Other(other),
            Err(fault) => Said::Nothing(fault),
        };
        // A connected stream has proven its source.
        let budget = match access.transport {
            Transport::Udp => bytes.len().saturating_mul(AMPLIFICATION),
            Transport::Tcp | Transport::Tls => usize::MAX,
        };
        Some((Incoming { meta, bytes, access, source, of, budget, marks }, said))
    }

    /// Reads a little of each table that a message will be looked up in; the sum has no meaning. The tables are large:
    /// done for several messages before the first is handled, their misses overlap.
    pub(crate) fn touch(&self, (incoming, said): &Taken<'_>) -> u64 {
        let look = match said {
            Said::S1(_, look) | Said::S7(_, look) => self.role.touch(look),
            Said::Other(_) | Said::Nothing(_) => 0,
        };
        look ^ self.pendings.touch(incoming.of) ^ self.answers.touch(incoming.of)
    }

    pub(crate) fn on_unprotected(
        &mut self,
        now: Now,
        incoming: &mut Incoming<'_>,
        said: &Said<'_>,
        sink: &mut dyn Sink,
    ) {
        if let Said::S1(..) | Said::S7(..) | Said::Other(FromTerminal::Digest { .. }) = said {
            self.acknowledge(incoming, sink);
        }
        let incoming = &*incoming;
        match said {
            Said::S1(s1, look) => self.on_s1(now, incoming, (s1, look), sink),
            Said::S7(s7, look) => self.on_s7(now, incoming, (s7, look), sink),
            Said::Other(FromTerminal::Digest { idc, answered, ends }) => {
                self.on_stock_registration(now, incoming, *idc, *answered, *ends, sink);
            }
            Said::Other(FromTerminal::Request { idc }) => self.on_plain_request(now, incoming, *idc, sink),
            Said::Other(FromTerminal::Response { ticket }) => self.on_plain_response(now, incoming, *ticket, sink),
            Said::Other(FromTerminal::KeepAlive([])) => {}
            Said::Other(FromTerminal::KeepAlive(answer)) => {
                send_octets(sink, &mut self.counters, incoming.meta.back(), usize::MAX, answer);
            }
            // Taken above.
            Said::Other(FromTerminal::S1(_) | FromTerminal::S7(_)) => {}
            Said::Nothing(fault) => self.on_fault(incoming, fault, sink),
        }
    }

    /// Sends what a transaction protocol owes at once; it counts against what the source may get.
    fn acknowledge(&mut self, incoming: &mut Incoming<'_>, sink: &mut dyn Sink) {
        let hop = incoming.hop(&self.site, Ticket(0));
        let mut w = Writer::new(&mut self.scratch);
        incoming.access.signalling.acknowledge(&hop, incoming.bytes, &mut w);
        let Some(octets) = w.finish().ok().filter(|len| *len > 0).and_then(|len| self.scratch.get(..len)) else {
            return;
        };
        let sent = octets.len();
        send_octets(sink, &mut self.counters, incoming.meta.back(), incoming.budget, octets);
        incoming.budget = incoming.budget.saturating_sub(sent);
    }

    fn on_fault(&mut self, incoming: &Incoming<'_>, fault: &Fault, sink: &mut dyn Sink) {
        let counters = &mut self.counters;
        match fault.kind {
            FaultKind::Unreadable => counters.fault_unreadable += 1,
            FaultKind::Malformed => counters.fault_malformed += 1,
            FaultKind::TooBig => counters.fault_too_big += 1,
            FaultKind::Forbidden => counters.fault_forbidden += 1,
            FaultKind::Unsupported => counters.fault_unsupported += 1,
        }
        self.answer_fault(incoming, fault, sink);
    }

    /// Tells the sender what is wrong with its message, where that can be told.
    pub(crate) fn answer_fault(&mut self, incoming: &Incoming<'_>, fault: &Fault, sink: &mut dyn Sink) {
        let counters = &mut self.counters;
        let hop = incoming.hop(&self.site, Ticket(0));
        let (signalling, bytes) = (incoming.access.signalling, incoming.bytes);
        send(sink, counters, incoming.meta.back(), incoming.budget, &mut |w| {
            let before = w.len();
            if !signalling.write_fault(&hop, bytes, fault, w)? {
                w.truncate(before);
            }
            Ok(())
        });
    }

    /// Refuses a message without remembering it.
    pub(crate) fn refuse(&mut self, incoming: &Incoming<'_>, refusal: Refusal, n1: Option<&N1>, sink: &mut dyn Sink) {
        let hop = incoming.hop(&self.site, Ticket(0));
        let (signalling, bytes) = (incoming.access.signalling, incoming.bytes);
        send(sink, &mut self.counters, incoming.meta.back(), incoming.budget, &mut |w| {
            signalling.write_refusal(&hop, bytes, &refusal, n1, w)
        });
    }

    /// Says 503 to a message without remembering it.
    pub(crate) fn refuse_busy(&mut self, incoming: &Incoming<'_>, n1: Option<&N1>, sink: &mut dyn Sink) {
        let retry_after_s = self.retry_after();
        self.refuse(incoming, Refusal::Busy { retry_after_s }, n1, sink);
    }

    /// Counts why the role machine does not carry a registration on, and says what the peer may hear of it: `None` is
    /// silence.
    pub(crate) fn refusal_for(&mut self, now: Now, reject: Reject) -> Option<Refusal> {
        let counters = &mut self.counters;
        let counter = match reject {
            Reject::WrongProxy => &mut counters.wrong_idsp,
            Reject::Stale => &mut counters.clock_stale,
            Reject::Replayed => &mut counters.replayed_s7,
            Reject::CookieMissing => &mut counters.cookie_sent,
            Reject::CookieWrong => &mut counters.cookie_invalid,
            Reject::ChallengeInvalid => &mut counters.challenge_invalid,
            Reject::ChallengeExpired => &mut counters.challenge_expired,
            Reject::ChallengeReused => &mut counters.challenge_reused,
            Reject::Wait(_) => &mut counters.locked_slowed,
            Reject::Ignore => &mut counters.locked_ignored,
        };
        *counter += 1;
        match reject {
            Reject::Stale => Some(Refusal::Stale { ts: now.wall_ms }),
            Reject::Wait(ms) => {
                Some(Refusal::Busy { retry_after_s: u32::try_from(ms.div_ceil(1000)).unwrap_or(u32::MAX) })
            }
            Reject::Ignore | Reject::CookieMissing | Reject::CookieWrong => None,
            Reject::WrongProxy
            | Reject::Replayed
            | Reject::ChallengeInvalid
            | Reject::ChallengeExpired
            | Reject::ChallengeReused => Some(Refusal::Denied),
        }
    }
}
