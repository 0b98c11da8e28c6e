//! Messages from the core: matched by ticket, or by the terminal that they are for.

use crate::api::Sink;
use crate::engine::Engine;
use crate::grant::{BATCH, Claim};
use crate::out::send;
use crate::site::{TicketKind, TicketParts};
use crate::store::pendings::Task;
use crate::store::sessions::State;
use arrayvec::ArrayVec;
use portunus_keydist::{Idc, Now};
use portunus_signalling::{FromCore, Full, Hop, Of, Protocol, Signalling, Ticket, Writer};

/// What a ticket names.
enum Named {
    Pending(u32),
    Session { slot: u32, kind: TicketKind },
}

const fn ticket_of(read: &FromCore<'_>) -> Option<Ticket> {
    match *read {
        FromCore::Challenge { of: Of::Ticket(ticket), .. }
        | FromCore::Key { of: Of::Ticket(ticket), .. }
        | FromCore::Refused { of: Of::Ticket(ticket), .. }
        | FromCore::Answer { of: Of::Ticket(ticket), .. } => Some(ticket),
        _ => None,
    }
}

impl Engine {
    /// Takes a batch of messages from the core, all of one protocol. The s9 among them are answered together, after
    /// the others, unless one of these is for the same registration: then what came first is answered first.
    pub fn on_core(&mut self, now: Now, messages: &[&[u8]], protocol: Protocol, sink: &mut dyn Sink) {
        self.counters.rx_core += messages.len() as u64;
        let Some(signalling) = self.site.protocol(protocol as u8) else {
            self.counters.core_unreadable += messages.len() as u64;
            return;
        };
        for batch in messages.chunks(BATCH) {
            let mut claims: ArrayVec<Claim<'_>, BATCH> = ArrayVec::new();
            for message in batch {
                match signalling.read_answer(message) {
                    Ok((FromCore::Key { of, idc, s9 }, salt)) => match self.named(of, salt) {
                        // The same s9 twice in a batch: the second is late.
                        Some(Named::Pending(slot)) if claims.iter().all(|claim| claim.slot != slot) => {
                            claims.push(Claim { slot, core_msg: message, idc, s9 });
                        }
                        _ => self.counters.core_unmatched += 1,
                    },
                    Ok((read, salt)) => {
                        // An s9 waits for its batch; whatever else comes for that registration comes after it.
                        let parts = ticket_of(&read).and_then(|ticket| TicketParts::read(ticket, self.site.worker));
                        if claims.iter().any(|claim| parts.as_ref().is_some_and(|of| of.slot == claim.slot)) {
                            self.grant(now, signalling, &claims, sink);
                            claims.clear();
                        }
                        self.on_core_message(now, signalling, (&read, salt), message, sink);
                    }
                    Err(_) => self.counters.core_unreadable += 1,
                }
            }
            self.grant(now, signalling, &claims, sink);
        }
        self.gauge();
    }

    /// What a handle that came with this salt names. Handles can be guessed: a registration's answer must bring its salt
    /// back too; for sessions the protocol checks that as it relays.
    fn named(&self, of: Of, salt: Option<u64>) -> Option<Named> {
        let Of::Ticket(ticket) = of else { return None };
        let TicketParts { kind, generation, slot } = TicketParts::read(ticket, self.site.worker)?;
        match kind {
            TicketKind::Pending => {
                let pending = self.pendings.get(slot)?;
                let salted = salt.is_none_or(|salt| salt == pending.of as u64);
                (pending.generation == generation && salted).then_some(Named::Pending(slot))
            }
            TicketKind::Session | TicketKind::Deregister => {
                self.sessions.by_ticket(slot, generation).map(|slot| Named::Session { slot, kind })
            }
        }
    }

    fn on_core_message(
        &mut self,
        now: Now,
        signalling: &'static dyn Signalling,
        (read, salt): (&FromCore<'_>, Option<u64>),
        message: &[u8],
        sink: &mut dyn Sink,
    ) {
        match *read {
            FromCore::Challenge { of, idc, idsp, rand } => match self.named(of, salt) {
                Some(Named::Pending(slot)) => self.on_challenge(now, slot, message, (idc, idsp), rand, sink),
                _ => self.counters.core_unmatched += 1,
            },
            FromCore::Refused { of, refusal } => match self.named(of, salt) {
                Some(Named::Pending(slot)) => match self.pendings.get(slot).map(|pending| pending.task) {
                    Some(Task::Stock { .. }) => self.on_stock_answer(now, slot, message, false, sink),
                    _ => self.on_refused(now, slot, refusal, sink),
                },
                Some(Named::Session { slot, .. }) => {
                    self.settle(signalling, slot, message, false);
                    self.relay_down(signalling, slot, message, sink);
                }
                None => self.counters.core_unmatched += 1,
            },
            FromCore::Answer { of, last, success } => match self.named(of, salt) {
                Some(Named::Pending(slot)) => self.on_registration_answer(now, slot, message, (last, success), sink),
                Some(Named::Session { slot, kind }) => {
                    if last {
                        self.settle(signalling, slot, message, success);
                    }
                    let relayed = self.relay_down(signalling, slot, message, sink);
                    if relayed && kind == TicketKind::Deregister && last && success {
                        self.end_session(slot, crate::api::EndReason::Deregistered, sink);
                    }
                }
                None => self.counters.core_unmatched += 1,
            },
            FromCore::Request { idc: Some(idc) } => self.on_core_request(signalling, idc.as_idc(), message, sink),
            FromCore::Request { idc: None } => self.counters.core_unmatched += 1,
            FromCore::Own => {
                self.counters.core_own += 1;
                self.answer_core(signalling, None, message, sink, &mut |hop, w| {
                    signalling.answer_own(hop, message, true, w)
                });
            }
            // Taken by the batch.
            FromCore::Key { .. } => {}
        }
    }

    fn on_registration_answer(
        &mut self,
        now: Now,
        slot: u32,
        message: &[u8],
        (last, success): (bool, bool),
        sink: &mut dyn Sink,
    ) {
        // What is not final says only that the core is at it.
        if !last {
            return;
        }
        match self.pendings.get(slot).map(|pending| pending.task) {
            Some(Task::Stock { .. }) => self.on_stock_answer(now, slot, message, success, sink),
            // A registration that is neither challenged, keyed nor refused: the core does not know PKD1.
            _ => self.counters.core_mismatched += 1,
        }
    }

    fn on_core_request(
        &mut self,
        signalling: &'static dyn Signalling,
        idc: Idc<'_>,
        message: &[u8],
        sink: &mut dyn Sink,
    ) {
        let confirmed = |state| matches!(state, State::Active | State::Stock);
        match self.sessions.by_idc(idc, confirmed) {
            Some(slot) => _ = self.relay_down(signalling, slot, message, sink),
            None => {
                self.counters.core_unreachable += 1;
                self.answer_core(signalling, Some(idc), message, sink, &mut |hop, w| {
                    signalling.answer_own(hop, message, false, w)
                });
            }
        }
    }

    /// Sends the proxy's own answer to a request of the core's; nothing where nothing is written.
    pub(crate) fn answer_core(
        &mut self,
        signalling: &dyn Signalling,
        idc: Option<Idc<'_>>,
        message: &[u8],
        sink: &mut dyn Sink,
        write: &mut dyn FnMut(&Hop<'_>, &mut Writer<'_>) -> Result<(), Full>,
    ) {
        let affinity = idc.map_or(0, |idc| self.sessions.hash_idc(idc));
        let to = crate::api::To::Core { protocol: signalling.protocol(), affinity };
        let salt = self.hash.digest(b'M', &[message]) as u64;
        let hop = self.site.own_hop(salt);
        send(sink, &mut self.counters, to, usize::MAX, &mut |w| write(&hop, w));
    }
}
