//! Stock phones (spec section 4, opt-in by listener): digest registrations relayed, and afterwards their plain
//! messages from the source that registered. Such a session has no key.

use crate::access::Incoming;
use crate::api::{EndReason, Event, Sink};
use crate::border::Way;
use crate::engine::Engine;
use crate::out::send;
use crate::routes::Heading;
use crate::site::{TicketKind, TicketParts};
use crate::store::pendings::{Pending, Task, Work};
use crate::store::sessions::{Opening, State};
use core::cell::Cell;
use portunus_channel::Keys;
use portunus_keydist::bugs::{Bug, planted};
use portunus_keydist::proxy::Source;
use portunus_keydist::steps::Refusal;
use portunus_keydist::{Idc, Now};
use portunus_signalling::{BINDING_MAX, Crossing, SessionRef, Ticket, Writer};
use std::sync::Arc;

impl Engine {
    /// A stock phone's registration.
    pub(crate) fn on_stock_registration(
        &mut self,
        now: Now,
        incoming: &Incoming<'_>,
        idc: Idc<'_>,
        answered: bool,
        ends: bool,
        sink: &mut dyn Sink,
    ) {
        if !incoming.access.stock_phones {
            self.counters.stock_not_admitted += 1;
            return self.refuse(incoming, Refusal::Denied, None, sink);
        }
        if !self.admits_digest(incoming.meta.listener, idc) {
            self.counters.digest_refused += 1;
            return self.refuse(incoming, Refusal::Denied, None, sink);
        }
        if let Some(slot) = self.repeated(incoming) {
            return self.send_digest(slot, incoming, idc, sink);
        }
        if self.answered_again(now, incoming, sink) || self.shed(incoming, None, sink) {
            return;
        }
        if self.sessions.by_idc(idc, |state| matches!(state, State::Active | State::Provisional)).is_some() {
            self.counters.stock_keyed_idc += 1;
            return self.refuse(incoming, Refusal::Denied, None, sink);
        }
        if let Err(reject) = self.role.check_lock(now, &incoming.source, idc) {
            if let Some(refusal) = self.refusal_for(now, reject) {
                self.refuse(incoming, refusal, None, sink);
            }
            return;
        }
        let work = Work { task: Task::Stock { answered, ends }, idc, mechs: None, home: 0 };
        if let Some(slot) = self.enter(now, incoming, &work, None, sink) {
            self.send_digest(slot, incoming, idc, sink);
        }
    }

    fn send_digest(&mut self, slot: u32, incoming: &Incoming<'_>, idc: Idc<'_>, sink: &mut dyn Sink) {
        let (ticket, to) =
            (self.pending_ticket(slot), self.to_core(incoming.access.signalling, self.lane_of(slot), true));
        let hop = incoming.hop(&self.site, ticket);
        send(sink, &mut self.counters, to, usize::MAX, &mut |w| {
            incoming.access.signalling.write_digest(&hop, incoming.bytes, idc, w)
        });
    }

    /// The core's final answer to the stock phone's registration in `slot`.
    pub(crate) fn on_stock_answer(&mut self, now: Now, slot: u32, message: &[u8], success: bool, sink: &mut dyn Sink) {
        let Some(&Pending { task: Task::Stock { answered, ends }, meta, idc, heading, .. }) = self.pendings.get(slot)
        else {
            return;
        };
        let Some(signalling) = self.site.access(meta.listener).map(|access| access.signalling) else { return };
        let (request, marks) = self.pendings.request(slot);
        let idc = idc.as_idc();
        let mut buf = [0u8; BINDING_MAX];
        let mut w = Writer::new(&mut buf);
        let written = signalling.binding(request, marks, &mut w).and_then(|()| w.finish());
        let binding = written.ok().and_then(|len| buf.get(..len)).unwrap_or_default();
        let (protocol, state) = (signalling.protocol(), State::Stock);
        let ends_s = (now.mono_ms + self.policy.stock_life_ms).div_ceil(1000) as u32;
        let lane = self.sessions.lane(idc);
        let opening = Opening { idc, lane, binding, meta, protected: None, kernel: false, protocol, state, ends_s };
        if success && !answered {
            // Granted without a response: nobody has proven anything.
            self.counters.core_mismatched += 1;
            return self.conclude(now, slot, Refusal::Denied, sink);
        }
        if answered && !success {
            self.counters.denied_by_core += 1;
            self.role.failed(now, &Source::new(meta.source, meta.listener), idc);
        }
        if success && !self.keep_stock(now, &opening, (ends, heading), sink) {
            self.counters.session_full += 1;
            return self.conclude_busy(now, slot, 0, sink);
        }
        let (border, noticed) = (Arc::clone(&self.border), Cell::default());
        let crossing = Crossing { border: &border, noticed: Some(&noticed) };
        let known = SessionRef { idc, binding, keyed: false, crossing };
        let mut fault = false;
        self.answer(now, slot, sink, &mut |signalling, hop, _, w| {
            fault = signalling.relay_down(hop, &known, message, w).is_err();
            Ok(())
        });
        self.counters.relay_fault += u64::from(fault);
        self.counters.noticed(noticed.get(), Way::Down);
        self.release(slot);
    }

    /// Keeps, renews or ends the session that was granted; false when there is no room for it.
    fn keep_stock(
        &mut self,
        now: Now,
        opening: &Opening<'_>,
        (ends, heading): (bool, Heading),
        sink: &mut dyn Sink,
    ) -> bool {
        let Opening { idc, binding, meta, ends_s, .. } = *opening;
        self.counters.stock_registered += 1;
        self.role.proven(&Source::new(meta.source, meta.listener), idc);
        let before = self.sessions.by_idc(idc, |state| state == State::Stock);
        let renewed = before.filter(|slot| !ends && self.sessions.get(*slot).is_some_and(|s| s.meta() == meta));
        let ends_ms = u64::from(ends_s) * 1000;
        if let Some(slot) = renewed {
            if let Some(session) = self.sessions.get_mut(slot) {
                session.ends_s = ends_s;
            }
            self.wheel.arm(now.mono_ms, self.session_timer(slot), ends_ms);
            self.sessions.set_pace(slot, (self.policy.pair(meta.listener, idc), heading), now);
            return self.sessions.rebind(slot, binding);
        }
        if let Some(slot) = before {
            self.end_session(slot, if ends { EndReason::Deregistered } else { EndReason::Replaced }, sink);
        }
        if ends {
            return true;
        }
        let Some(slot) = self.sessions.open(opening, Keys::none()) else { return false };
        self.sessions.set_pace(slot, (self.policy.pair(meta.listener, idc), heading), now);
        self.wheel.arm(now.mono_ms, self.session_timer(slot), ends_ms);
        self.counters.sessions_stock += 1;
        let kid = self.sessions.kid(slot).unwrap_or_default();
        sink.event(Event::Active { idc, kid, keyed: false });
        true
    }

    /// An unprotected request that is no registration: for a stock phone's session, or refused.
    pub(crate) fn on_plain_request(
        &mut self,
        now: Now,
        incoming: &Incoming<'_>,
        idc: Option<Idc<'_>>,
        sink: &mut dyn Sink,
    ) {
        let slot = match incoming.access.stock_phones {
            true => self.sessions.by_source(incoming.meta, idc),
            false if planted(Bug::PlainAccepted) => {
                idc.and_then(|idc| self.sessions.by_idc(idc, |state| state == State::Active))
            }
            false => None,
        };
        match slot {
            Some(slot) => self.relay_up(now, incoming.access.signalling, (slot, incoming.bytes), sink),
            None => {
                self.counters.unprotected_refused += 1;
                self.refuse(incoming, Refusal::Denied, None, sink);
            }
        }
    }

    /// An unprotected response: a stock phone's, or dropped.
    pub(crate) fn on_plain_response(
        &mut self,
        now: Now,
        incoming: &Incoming<'_>,
        ticket: Option<Ticket>,
        sink: &mut dyn Sink,
    ) {
        if !incoming.access.stock_phones {
            self.counters.unprotected_response += 1;
            return;
        }
        let named = match ticket.map(|ticket| TicketParts::read(ticket, self.site.worker)) {
            Some(Some(TicketParts { kind: TicketKind::Session, generation, slot })) => {
                self.sessions.by_ticket(slot, generation)
            }
            Some(_) => None,
            None => self.sessions.by_source(incoming.meta, None),
        };
        let own = |slot: &u32| {
            self.sessions.get(*slot).is_some_and(|s| s.state == State::Stock && s.meta() == *incoming.meta)
        };
        match named.filter(own) {
            Some(slot) => self.relay_up(now, incoming.access.signalling, (slot, incoming.bytes), sink),
            None => self.counters.stock_foreign_source += 1,
        }
    }
}
