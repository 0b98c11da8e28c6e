//! What passes in sessions, and what becomes of them: confirmed, replaced, ended.

use crate::api::{CorePacket, EndReason, Event, Sink};
use crate::border::{Way, crossing};
use crate::engine::Engine;
use crate::out::send_octets;
use crate::site::TicketKind;
use crate::store::asked::Wish;
use crate::store::sessions::State;
use core::cell::Cell;
use portunus_keydist::bugs::{Bug, planted};
use portunus_keydist::{Idc, Now};
use portunus_signalling::{BINDING_MAX, Hop, Signalling, Ticket, Up, Writer};

impl Engine {
    /// The first protected message verified: the session is the IDc's from now on.
    pub(crate) fn activate(&mut self, now: Now, slot: u32, sink: &mut dyn Sink) {
        let confirmed = |state| matches!(state, State::Active | State::Stock);
        let Some(idc) = self.sessions.known(slot).map(|known| portunus_keydist::ident::IdcBuf::new(known.idc)) else {
            return;
        };
        if let Some(older) = self.sessions.by_idc(idc.as_idc(), confirmed) {
            self.end_session(older, EndReason::Replaced, sink);
        }
        let Some(session) = self.sessions.get_mut(slot) else { return };
        session.state = State::Active;
        let ends_ms = u64::from(session.ends_s) * 1000;
        let kid = self.sessions.kid(slot).unwrap_or_default();
        self.wheel.arm(now.mono_ms, self.session_timer(slot), ends_ms);
        self.counters.sessions_confirmed += 1;
        self.counters.sessions_provisional -= 1;
        self.counters.sessions_active += 1;
        sink.event(Event::Active { idc: idc.as_idc(), kid, keyed: true });
    }

    /// Ends a session of any kind; whoever keeps account hears of the confirmed ones.
    pub(crate) fn end_session(&mut self, slot: u32, why: EndReason, sink: &mut dyn Sink) {
        let (Some(session), Some(kid)) = (self.sessions.get(slot), self.sessions.kid(slot)) else { return };
        let state = session.state;
        let counters = &mut self.counters;
        match state {
            State::Free => return,
            State::Provisional => counters.sessions_provisional -= 1,
            State::Active => counters.sessions_active -= 1,
            State::Stock => counters.sessions_stock -= 1,
        }
        match why {
            EndReason::Expired if state == State::Provisional => counters.sessions_unconfirmed += 1,
            EndReason::Expired => counters.sessions_expired += 1,
            EndReason::Replaced => counters.sessions_replaced += 1,
            EndReason::Deregistered => counters.sessions_deregistered += 1,
            EndReason::Commanded => counters.sessions_commanded += 1,
            EndReason::Exhausted => counters.sessions_exhausted += 1,
        }
        if state != State::Provisional
            && let Some(known) = self.sessions.known(slot)
        {
            sink.event(Event::Ended { idc: known.idc, kid, why });
        }
        if session.kernel_spi().is_some() {
            sink.uninstall(kid);
        }
        if let Some(conn) = session.stream().filter(|conn| *conn != 0) {
            sink.hang_up(conn);
        }
        self.wheel.disarm(self.session_timer(slot));
        self.staged.take(kid);
        self.asked.forget(kid);
        self.sessions.close(slot);
    }

    /// Protects the first `len` octets of the scratch buffer for the session's terminal; none are a confirmation.
    pub(crate) fn seal(&mut self, slot: u32, len: usize, sink: &mut dyn Sink) {
        if self.sessions.get(slot).is_some_and(|session| session.kernel_spi().is_some()) {
            return self.leave_to_kernel(slot, len, sink);
        }
        let Some(protection) = self.protection(slot) else { return };
        let Some(session) = self.sessions.get_mut(slot) else { return };
        let Some(content) = self.scratch.get(..len) else { return };
        let (mechanism, counters, mut exhausted) = (protection.mechanism, &mut self.counters, false);
        let (format, total) = (mechanism.format(), mechanism.sealed_len(len));
        let queued = sink.send(session.meta().back(), &mut |buf| {
            let Some(room) = buf.get_mut(..total) else {
                counters.write_full += 1;
                return None;
            };
            let Some(seq) = session.sequence.take(format.seq_max) else {
                exhausted = true;
                return None;
            };
            room.get_mut(format.head..format.head + len)?.copy_from_slice(content);
            mechanism.seal_in_place(&session.keys.s2c, &protection.s2c, seq, len, room).ok()
        });
        if exhausted {
            self.end_session(slot, EndReason::Exhausted, sink);
        } else if !queued {
            self.counters.access_queue_full += 1;
        } else if len > 0 {
            self.counters.sealed_down += 1;
        }
    }

    /// The salt of what is relayed for a terminal: its own secret, the same in all its sessions and on every worker, so
    /// that what the older of two sessions was asked is still answered in the newer.
    fn relay_salt(&self, idc: Idc<'_>) -> u64 {
        self.hash.digest(b'T', &[idc.as_bytes()]) as u64
    }

    /// A message of the session's terminal, towards the core.
    pub(crate) fn relay_up(
        &mut self,
        now: Now,
        signalling: &'static dyn Signalling,
        (slot, message): (u32, &[u8]),
        sink: &mut dyn Sink,
    ) {
        if !self.may_cross(now, signalling, slot, message, sink) {
            return;
        }
        let ticket = self.session_ticket(slot, TicketKind::Session);
        let Some((mut up, mut len)) = self.write_up(signalling, slot, message, ticket) else { return };
        if up == Up::Deregister {
            // Written once more, with the handle that ends the session when the answer comes.
            let ticket = self.session_ticket(slot, TicketKind::Deregister);
            match self.write_up(signalling, slot, message, ticket) {
                Some(again) => (up, len) = again,
                None => return,
            }
        }
        match up {
            Up::Forward | Up::Refresh | Up::Deregister => {
                let Some(known) = self.sessions.known(slot) else { return };
                let (lane, keyed) = (self.sessions.lane(known.idc), known.keyed);
                let affinity = self.sessions.pace(slot).heading().affinity(lane);
                let affinity = if up == Up::Forward { affinity } else { affinity.asking() };
                let to = self.to_core(signalling, (lane, affinity), false);
                let octets = self.scratch.get(..len).unwrap_or_default();
                if send_octets(sink, &mut self.counters, to, usize::MAX, octets) {
                    *(if keyed { &mut self.counters.sealed_up } else { &mut self.counters.plain_up }) += 1;
                }
                match up {
                    Up::Refresh => {
                        self.stage(signalling, slot, message);
                        self.ask(slot, signalling, message, Wish::Refresh);
                    }
                    Up::Deregister => self.ask(slot, signalling, message, Wish::Deregister),
                    Up::Forward | Up::Answer | Up::Drop => {}
                }
            }
            Up::Answer => {
                self.counters.relay_refused += 1;
                self.send_down(slot, len, sink);
            }
            Up::Drop => self.counters.relay_dropped += 1,
        }
    }

    /// Writes what goes up into the scratch buffer.
    fn write_up(
        &mut self,
        signalling: &'static dyn Signalling,
        slot: u32,
        message: &[u8],
        ticket: Ticket,
    ) -> Option<(Up, usize)> {
        let (session, known) = (self.sessions.get(slot)?, self.sessions.known(slot)?);
        let meta = session.meta();
        let salt = self.relay_salt(known.idc);
        let hop = self.site.hop(meta.listener, meta.source, ticket, salt);
        let mut w = Writer::new(&mut self.scratch);
        let noticed = Cell::default();
        let known = crossing(known, &self.border, &noticed);
        let relayed = signalling.relay_up(&hop, &known, message, &mut w);
        self.counters.noticed(noticed.get(), Way::Up);
        let up = match relayed {
            Ok(up) => up,
            Err(fault) => {
                self.counters.relay_fault += 1;
                // The terminal's secret is in no answer.
                let hop = Hop { salt: self.hash.digest(b'M', &[message]) as u64, ..hop };
                w = Writer::new(&mut self.scratch);
                match signalling.write_fault(&hop, message, &fault, &mut w) {
                    Ok(true) => Up::Answer,
                    Ok(false) | Err(_) => return None,
                }
            }
        };
        match w.finish() {
            Ok(len) => Some((up, len)),
            Err(_) => {
                self.counters.write_full += 1;
                None
            }
        }
    }

    /// A refresh may name another binding: it waits for the core to grant it.
    fn stage(&mut self, signalling: &'static dyn Signalling, slot: u32, message: &[u8]) {
        let (Some(kid), Some(known)) = (self.sessions.kid(slot), self.sessions.known(slot)) else { return };
        let mut binding = [0u8; BINDING_MAX];
        let mut w = Writer::new(&mut binding);
        let written = signalling.rebinding(&known, message, &mut w).and_then(|()| w.finish());
        match written.ok().and_then(|len| binding.get(..len)) {
            // Nothing changes, and what was asked for before is no longer wanted.
            Some(binding) if binding == known.binding => _ = self.staged.take(kid),
            Some(binding) => self.counters.binding_lost += u64::from(!self.staged.put(kid, binding)),
            None => self.counters.binding_lost += 1,
        }
    }

    /// The core answered something of the session's: where it is a registration, the binding that it asked for is kept
    /// when it is granted, and forgotten when it is not. A terminal has one registration under way at a time (RFC 3261
    /// section 10.2).
    pub(crate) fn settle(
        &mut self,
        signalling: &dyn Signalling,
        (slot, wish): (u32, Option<Wish>),
        message: &[u8],
        granted: bool,
    ) {
        let Some(kid) = self.sessions.kid(slot) else { return };
        if wish.is_some() {
            self.asked.forget(kid);
        }
        let decides =
            || wish == Some(Wish::Refresh) || (!signalling.lanes() && signalling.answers_registration(message));
        if self.staged.is_empty() || !decides() {
            return;
        }
        if let Some(binding) = self.staged.take(kid)
            && granted
            && !self.sessions.rebind(slot, &binding)
        {
            self.counters.binding_lost += 1;
        }
    }

    /// A message of the core, towards the session's terminal. False when it is none that may go there.
    pub(crate) fn relay_down(
        &mut self,
        signalling: &'static dyn Signalling,
        slot: u32,
        packet: &CorePacket<'_>,
        sink: &mut dyn Sink,
    ) -> bool {
        let message = packet.bytes;
        let (Some(session), Some(known)) = (self.sessions.get(slot), self.sessions.known(slot)) else { return false };
        let meta = session.meta();
        let salt = self.relay_salt(known.idc);
        let ticket = self.session_ticket(slot, TicketKind::Session);
        let hop = self.site.hop(meta.listener, meta.source, ticket, salt);
        let mut w = Writer::new(&mut self.scratch);
        let noticed = Cell::default();
        let known = crossing(known, &self.border, &noticed);
        let relayed = signalling.relay_down(&hop, &known, message, &mut w);
        let written = w.finish();
        self.counters.noticed(noticed.get(), Way::Down);
        if let Err(fault) = relayed {
            self.counters.relay_fault += 1;
            self.answer_core(signalling, packet, sink, &mut |hop, w| {
                let before = w.len();
                if !signalling.write_core_fault(hop, message, &fault, w)? {
                    w.truncate(before);
                }
                Ok(())
            });
            return false;
        }
        match written {
            Ok(0) => self.counters.relay_dropped += 1,
            Ok(len) => self.send_down(slot, len, sink),
            Err(_) => self.counters.write_full += 1,
        }
        true
    }

    /// Sends the first `len` octets of the scratch buffer to the session's terminal, protected where it has a key.
    pub(crate) fn send_down(&mut self, slot: u32, len: usize, sink: &mut dyn Sink) {
        let Some(session) = self.sessions.get(slot) else { return };
        let stream = session.stream();
        if stream == Some(0) && !planted(Bug::ClearWithoutConnection) {
            // What it registered by is known, but nothing may go there in the clear.
            self.counters.tls_no_connection += 1;
            return;
        }
        if session.is_keyed() && stream.is_none() {
            return self.seal(slot, len, sink);
        }
        let octets = self.scratch.get(..len).unwrap_or_default();
        let sent = send_octets(sink, &mut self.counters, session.meta().back(), usize::MAX, octets);
        *(if stream.is_some() { &mut self.counters.sealed_down } else { &mut self.counters.plain_down }) +=
            u64::from(sent);
    }
}
