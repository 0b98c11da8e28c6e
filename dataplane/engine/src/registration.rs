//! The ladder from s1 to s8: s1 and s7 checked, admitted and sent on; s5 and refusals answered.
//!
//! The order within one message: is it a retransmission (then what was said is said again), is there room for more
//! work, does it keep the rules (the role machine), can it be remembered; only then is anything marked as used.

use crate::access::Incoming;
use crate::api::Sink;
use crate::config::Cookies;
use crate::engine::Engine;
use crate::out::{send, send_octets};
use crate::routes::Affinity;
use crate::store::pendings::{Pending, Task, Work};
use portunus_keydist::mech::MechList;
use portunus_keydist::proxy::{Exchange, Fresh, Look, Reject, Source};
use portunus_keydist::steps::{Refusal, S1, S6, S7, S8};
use portunus_keydist::{Idc, Idsp, N1, Now, Rand};
use portunus_signalling::{Fault, FaultKind, Full, Hop, Signalling, Ticket, Transport, Writer};

/// Writes an answer to a waiting message, given here with its way.
pub(crate) type WriteAnswer<'w> =
    &'w mut dyn FnMut(&dyn Signalling, &Hop<'_>, &[u8], &mut Writer<'_>) -> Result<(), Full>;

/// What names the transaction of the command that was just written, where answers to it bear no handle.
fn own_transaction(signalling: &dyn Signalling, w: &Writer<'_>) -> Option<u32> {
    if signalling.lanes() { signalling.step_transaction(w.written()) } else { None }
}

/// What there is room for. Protected traffic and s7 with a valid N2 are never asked (spec section 6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Admission {
    /// New registrations.
    Open,
    /// New registrations that show by a cookie that their source is real.
    Cookie,
    /// No new registrations; they are told when to come again.
    Busy,
    /// No new registrations, and no words either.
    Drop,
}

impl Engine {
    pub(crate) fn admission(&self) -> Admission {
        let (used, policy) = (self.pendings.percent(), &self.policy);
        let above = |percent: u8| used >= usize::from(percent) && used > 0;
        if above(policy.drop_percent) {
            Admission::Drop
        } else if self.draining || above(policy.busy_percent) {
            Admission::Busy
        } else {
            match policy.cookies {
                Cookies::Always => Admission::Cookie,
                Cookies::Auto if above(policy.cookie_percent) => Admission::Cookie,
                Cookies::Auto | Cookies::Never => Admission::Open,
            }
        }
    }

    /// Answers a retransmission from the cache; true when it was one.
    pub(crate) fn answered_again(&mut self, now: Now, incoming: &Incoming<'_>, sink: &mut dyn Sink) -> bool {
        let Some(answer) = self.answers.find(now.mono_ms, incoming.of) else { return false };
        self.counters.retransmissions_answered += 1;
        let octets = self.answers.get(answer);
        // The limit counts anew: what was kept may have been too long to be sent, or paid for by several copies.
        send_octets(sink, &mut self.counters, incoming.meta.back(), incoming.budget, octets);
        true
    }

    /// The slot of the registration that this message repeats.
    pub(crate) fn repeated(&mut self, incoming: &Incoming<'_>) -> Option<u32> {
        let slot = self.pendings.find(incoming.of)?;
        self.counters.retransmissions_relayed += 1;
        if let Some(pending) = self.pendings.get_mut(slot) {
            pending.budget = pending.budget.saturating_add(incoming.budget);
        }
        Some(slot)
    }

    /// True, and the message is done with, when no new registration is wanted.
    pub(crate) fn shed(&mut self, incoming: &Incoming<'_>, n1: Option<&N1>, sink: &mut dyn Sink) -> bool {
        match self.admission() {
            Admission::Open | Admission::Cookie => false,
            Admission::Busy => {
                self.counters.shed_busy += 1;
                self.refuse_busy(incoming, n1, sink);
                true
            }
            Admission::Drop => {
                self.counters.shed_dropped += 1;
                true
            }
        }
    }

    pub(crate) fn on_s1(
        &mut self,
        now: Now,
        incoming: &Incoming<'_>,
        (s1, look): (&S1<'_>, &Look),
        sink: &mut dyn Sink,
    ) {
        if let Some(slot) = self.repeated(incoming) {
            return self.send_s2(slot, incoming, s1, sink);
        }
        if self.answered_again(now, incoming, sink) || self.shed(incoming, Some(&s1.n1), sink) {
            return;
        }
        if self.is_n1_taken(incoming, &s1.n1) {
            return;
        }
        let cookie = self.admission() == Admission::Cookie;
        match self.role.check_s1(now, &incoming.source, self.site.idsp(), (s1, look), cookie) {
            Ok(fresh) => {
                if let Some(slot) = self.admit(now, incoming, (s1.idc, None), &fresh, sink) {
                    self.counters.s1_accepted += 1;
                    self.send_s2(slot, incoming, s1, sink);
                }
            }
            // Dropped, not refused: a copy from elsewhere must not talk the terminal out of the real one.
            Err(Reject::Replayed) => self.counters.replayed_s1 += 1,
            Err(reject @ (Reject::CookieMissing | Reject::CookieWrong)) => {
                self.refusal_for(now, reject);
                self.send_cookie(now, incoming, s1, sink);
            }
            Err(reject) => {
                if let Some(refusal) = self.refusal_for(now, reject) {
                    self.refuse(incoming, refusal, Some(&s1.n1), sink);
                }
            }
        }
    }

    fn send_cookie(&mut self, now: Now, incoming: &Incoming<'_>, s1: &S1<'_>, sink: &mut dyn Sink) {
        let cookie = self.role.cookie(now, &incoming.source, s1);
        let hop = incoming.hop(&self.site, Ticket(0));
        let (signalling, bytes) = (incoming.access.signalling, incoming.bytes);
        send(sink, &mut self.counters, incoming.meta.back(), incoming.budget, &mut |w| {
            signalling.write_cookie(&hop, bytes, &s1.n1, now.wall_ms, &cookie, w)
        });
    }

    pub(crate) fn on_s7(
        &mut self,
        now: Now,
        incoming: &Incoming<'_>,
        (s7, look): (&S7<'_>, &Look),
        sink: &mut dyn Sink,
    ) {
        if let Some(slot) = self.repeated(incoming) {
            return self.send_s8(now, slot, incoming, s7, sink);
        }
        if self.answered_again(now, incoming, sink) {
            return;
        }
        match self.role.check_s7(now, &incoming.source, self.site.idsp(), (s7, look)) {
            Ok(fresh) => {
                if let Some(slot) = self.admit(now, incoming, (s7.idc, Some(&s7.mechs)), &fresh, sink) {
                    self.counters.s7_accepted += 1;
                    self.send_s8(now, slot, incoming, s7, sink);
                }
            }
            Err(reject) => {
                if let Some(refusal) = self.refusal_for(now, reject) {
                    self.refuse(incoming, refusal, Some(&s7.n1), sink);
                }
            }
        }
    }

    /// Takes a registration in and marks it as used; where that cannot be, it is told so.
    fn admit(
        &mut self,
        now: Now,
        incoming: &Incoming<'_>,
        (idc, mechs): (Idc<'_>, Option<&MechList>),
        fresh: &Fresh,
        sink: &mut dyn Sink,
    ) -> Option<u32> {
        let n1 = fresh.exchange.n1();
        let work = Work { task: Task::Pkd(fresh.exchange), idc, mechs, home: fresh.home };
        let slot = self.enter(now, incoming, &work, Some(&n1), sink)?;
        if self.role.accept(now, fresh).is_err() {
            self.counters.replay_full += 1;
            self.release(slot);
            self.refuse_busy(incoming, Some(&n1), sink);
            return None;
        }
        Some(slot)
    }

    /// Gives work a slot; the oldest unproven work makes room when there is none.
    pub(crate) fn enter(
        &mut self,
        now: Now,
        incoming: &Incoming<'_>,
        work: &Work<'_>,
        n1: Option<&N1>,
        sink: &mut dyn Sink,
    ) -> Option<u32> {
        if !self.pendings.fits(incoming.bytes) {
            self.counters.request_too_long += 1;
            // Where a step was acknowledged already, its refusal is one of PKD1's.
            match incoming.access.signalling.lanes() {
                true => self.refuse(incoming, Refusal::Malformed, n1, sink),
                false => self.answer_fault(incoming, &Fault { kind: FaultKind::TooBig, what: "message", at: 0 }, sink),
            }
            return None;
        }
        if self.pendings.is_full() {
            if let Some(oldest) = self.pendings.oldest_unproven() {
                self.counters.pending_evicted += 1;
                self.conclude_busy(now, oldest, 0, sink);
            } else {
                self.counters.pending_full += 1;
                self.refuse_busy(incoming, n1, sink);
                return None;
            }
        }
        let Some(route) = self.routes.of(work.idc.as_str()) else {
            self.counters.realm_unserved += 1;
            self.refuse(incoming, Refusal::Denied, n1, sink);
            return None;
        };
        let names = (incoming.of, self.sessions.lane(work.idc));
        let slot = self.pendings.insert(work, *incoming.meta, names, (incoming.bytes, incoming.marks))?;
        if let Some(pending) = self.pendings.get_mut(slot) {
            // From a source that has shown what was sent to it, or by a stream, there is no limit.
            let proven = !work.task.is_unproven() || incoming.access.transport == Transport::Tcp;
            pending.budget = if proven { usize::MAX } else { incoming.budget };
            pending.heading.route = route;
        }
        self.name(slot, incoming.access.signalling);
        self.wheel.arm(now.mono_ms, slot, now.mono_ms + self.policy.core_timeout_ms);
        Some(slot)
    }

    /// The name of the lane of the terminal that waits in `slot`, and its affinity.
    pub(crate) fn lane_of(&self, slot: u32) -> (u64, Affinity) {
        self.pendings.get(slot).map_or((0, Affinity(0)), |p| (p.lane, p.heading.affinity(p.lane).asking()))
    }

    fn send_s2(&mut self, slot: u32, incoming: &Incoming<'_>, s1: &S1<'_>, sink: &mut dyn Sink) {
        let signalling = incoming.access.signalling;
        let (ticket, to) = (self.pending_ticket(slot), self.to_core(signalling, self.lane_of(slot), true));
        let hop = incoming.hop(&self.site, ticket);
        let mut transaction = None;
        send(sink, &mut self.counters, to, usize::MAX, &mut |w| {
            signalling.write_s2(&hop, incoming.bytes, s1, w)?;
            transaction = own_transaction(signalling, w);
            Ok(())
        });
        self.name_transaction(slot, to, transaction);
    }

    fn send_s8(&mut self, now: Now, slot: u32, incoming: &Incoming<'_>, s7: &S7<'_>, sink: &mut dyn Sink) {
        let Some(Task::Pkd(Exchange::AwaitS9 { rand, .. })) = self.pendings.get(slot).map(|p| p.task) else { return };
        let signalling = incoming.access.signalling;
        let (lane, affinity) = self.lane_of(slot);
        // Only the softswitch that made the challenge has the first word.
        let (ticket, to) = (self.pending_ticket(slot), self.to_core(signalling, (lane, affinity.exactly()), false));
        let hop = incoming.hop(&self.site, ticket);
        let idsp = self.site.idsp();
        let s8 = S8 { idc: s7.idc, idsp, rand, auth_c: s7.auth_c, ipc: incoming.meta.source };
        let mut transaction = None;
        let sent = send(sink, &mut self.counters, to, usize::MAX, &mut |w| {
            signalling.write_s8(&hop, incoming.bytes, s7, &s8, w)?;
            transaction = own_transaction(signalling, w);
            Ok(())
        });
        self.name_transaction(slot, to, transaction);
        if !sent && self.routes.several {
            // Nobody there: the terminal finds another at once. By a ring this is known later, when nothing came back.
            self.conclude_anew(now, slot, sink);
        }
    }

    /// Ends the waiting of `slot`.
    pub(crate) fn release(&mut self, slot: u32) {
        self.wheel.disarm(slot);
        self.pendings.remove(slot);
    }

    /// Answers the message in `slot` and keeps the answer for its retransmissions; true when it was sent.
    pub(crate) fn answer(&mut self, now: Now, slot: u32, sink: &mut dyn Sink, write: WriteAnswer<'_>) -> bool {
        let Some(&Pending { meta, of, budget, .. }) = self.pendings.get(slot) else { return false };
        let Some(access) = self.site.access(meta.listener) else { return false };
        let (request, marks) = self.pendings.request(slot);
        let hop = self.site.hop(meta.listener, meta.source, self.pending_ticket(slot), of as u64);
        let hop = Hop { marks, ..hop };
        let until = now.mono_ms + self.policy.answer_ms;
        let put = self.answers.put(now.mono_ms, of, until, |buf| {
            let mut w = Writer::new(buf);
            write(access.signalling, &hop, request, &mut w).and_then(|()| w.finish()).ok().filter(|len| *len > 0)
        });
        let Some((answer, early)) = put else {
            self.counters.write_full += 1;
            return false;
        };
        self.counters.answer_evicted += early;
        send_octets(sink, &mut self.counters, meta.back(), budget, self.answers.get(answer))
    }

    /// Refuses the message in `slot` for good.
    pub(crate) fn conclude(&mut self, now: Now, slot: u32, refusal: Refusal, sink: &mut dyn Sink) {
        let n1 = match self.pendings.get(slot).map(|pending| pending.task) {
            Some(Task::Pkd(exchange)) => Some(exchange.n1()),
            _ => None,
        };
        self.answer(now, slot, sink, &mut |signalling, hop, request, w| {
            signalling.write_refusal(hop, request, &refusal, n1.as_ref(), w)
        });
        self.release(slot);
    }

    /// Says 503 to the message in `slot`; not before `at_least_s` seconds should it come again.
    pub(crate) fn conclude_busy(&mut self, now: Now, slot: u32, at_least_s: u32, sink: &mut dyn Sink) {
        let retry_after_s = self.retry_after().saturating_add(at_least_s);
        self.conclude(now, slot, Refusal::Busy { retry_after_s }, sink);
    }

    /// The softswitch that has the challenge of the registration in `slot` does not answer: where there are others, the
    /// terminal is to begin anew, at once but not together with all that were there.
    pub(crate) fn conclude_anew(&mut self, now: Now, slot: u32, sink: &mut dyn Sink) {
        self.counters.begun_anew += 1;
        let mut lot = [0; 1];
        self.rng.fill(&mut lot);
        let retry_after_s = 1 + u32::from(lot[0] % 2);
        self.conclude(now, slot, Refusal::Busy { retry_after_s }, sink);
    }

    /// s5 for the registration in `slot`.
    pub(crate) fn on_challenge(
        &mut self,
        now: Now,
        slot: u32,
        core_msg: &[u8],
        names: (Option<Idc<'_>>, Idsp<'_>),
        (rand, home): (Rand, u8),
        sink: &mut dyn Sink,
    ) {
        let Some(&Pending { task: Task::Pkd(exchange), meta, idc, .. }) = self.pendings.get(slot) else {
            self.counters.core_mismatched += 1;
            return;
        };
        let Some(next) = exchange.on_s5(&rand) else {
            self.counters.core_unmatched += 1;
            return;
        };
        let (asked, idsp) = names;
        let idc = idc.as_idc();
        if idsp != self.site.idsp() || asked.is_some_and(|asked| asked != idc) {
            self.counters.core_mismatched += 1;
            return;
        }
        let source = Source::new(meta.source, meta.listener);
        if next.renewed && !self.role.renews(now, idc, &rand) {
            self.counters.core_unmatched += 1;
            return;
        }
        if next.renewed {
            self.role.failed(now, &source, idc);
            self.counters.s6_renewed += 1;
        }
        let n2 = self.role.challenge(now, &source, idc, (&rand, &next.n1a), home);
        let sent = self.answer(now, slot, sink, &mut |signalling, hop, request, w| {
            let s6 = S6 { idsp: hop.own.idsp, n1: next.n1, n2: &n2, ts: now.wall_ms, rand };
            signalling.write_s6(hop, request, core_msg, &s6, w)
        });
        self.counters.s6_sent += u64::from(sent);
        self.release(slot);
    }

    /// The core refused the registration in `slot`.
    pub(crate) fn on_refused(&mut self, now: Now, slot: u32, refusal: Refusal, sink: &mut dyn Sink) {
        let Some(&Pending { task, meta, idc, .. }) = self.pendings.get(slot) else { return };
        match refusal {
            Refusal::Busy { retry_after_s } => {
                self.counters.busy_by_core += 1;
                self.conclude_busy(now, slot, retry_after_s, sink);
            }
            Refusal::Malformed => {
                self.counters.denied_by_core += 1;
                self.conclude(now, slot, Refusal::Malformed, sink);
            }
            // Whatever the core's reason is, the terminal hears the one refusal.
            Refusal::Denied | Refusal::Stale { .. } | Refusal::Mechanism => {
                self.counters.denied_by_core += 1;
                if let Task::Pkd(Exchange::AwaitS9 { .. }) = task {
                    self.role.failed(now, &Source::new(meta.source, meta.listener), idc.as_idc());
                }
                self.conclude(now, slot, Refusal::Denied, sink);
            }
        }
    }
}
