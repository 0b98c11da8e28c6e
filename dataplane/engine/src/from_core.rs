//! Messages from the core: matched by ticket, by what names a registration, by their lane, or by the terminal that
//! they are for.

use crate::api::{CorePacket, EndReason, Sink};
use crate::engine::{AHEAD, Engine};
use crate::grant::{BATCH, Claim};
use crate::lanes::Name;
use crate::out::send;
use crate::routes::Affinity;
use crate::site::{TicketKind, TicketParts};
use crate::store::asked::Wish;
use crate::store::pendings::{Pending, Task};
use crate::store::sessions::State;
use arrayvec::ArrayVec;
use portunus_keydist::Now;
use portunus_keydist::ident::IdcBuf;
use portunus_keydist::steps::Refusal;
use portunus_signalling::{FromCore, Full, Hop, Of, Protocol, Signalling, Text, Ticket, Writer};

/// What an answer is to.
#[derive(Debug, Clone, Copy)]
enum Named {
    Pending(u32),
    Session { slot: u32, wish: Option<Wish> },
}

/// What finds what an answer is to, made out once: what is found by it may change from message to message.
#[derive(Debug, Clone, Copy)]
enum Key {
    /// The handle, and the salt where one came back.
    Ticket(Ticket, Option<u64>),
    /// The name of a registration that waits.
    Name(u64),
    /// The lane; with it, the transaction's number and the name of a registration that waits for its answer.
    Lane(Option<(u32, u64)>),
}

const fn of(read: &FromCore<'_>) -> Option<Of> {
    match *read {
        FromCore::Challenge { of, .. }
        | FromCore::Key { of, .. }
        | FromCore::Refused { of, .. }
        | FromCore::Answer { of, .. } => Some(of),
        FromCore::Request { .. } | FromCore::Own => None,
    }
}

impl Engine {
    /// Takes a batch of messages from the core, all of one protocol. The s9 among them are answered together, after
    /// the others, unless one of these is for the same registration: then what came first is answered first.
    pub fn on_core(&mut self, now: Now, packets: &[CorePacket<'_>], protocol: Protocol, sink: &mut dyn Sink) {
        self.counters.rx_core += packets.len() as u64;
        let Some(signalling) = self.site.protocol(protocol as u8) else {
            self.counters.core_unreadable += packets.len() as u64;
            return;
        };
        for batch in packets.chunks(BATCH) {
            core::hint::black_box(self.answers.touch_oldest(batch.len() as u64));
            let mut claims: ArrayVec<Claim<'_>, BATCH> = ArrayVec::new();
            for some in batch.chunks(AHEAD) {
                self.take_some(now, signalling, (some, &mut claims), sink);
            }
            self.grant(now, signalling, &claims, sink);
        }
        self.gauge();
    }

    /// Takes a few messages of a batch; s9 are put to the claims.
    fn take_some<'m>(
        &mut self,
        now: Now,
        signalling: &'static dyn Signalling,
        (packets, claims): (&[CorePacket<'m>], &mut ArrayVec<Claim<'m>, BATCH>),
        sink: &mut dyn Sink,
    ) {
        let mut texts = [const { Text::new() }; AHEAD];
        let mut reads = ArrayVec::<_, AHEAD>::new();
        for (packet, text) in packets.iter().zip(&mut texts) {
            let read = signalling.read_answer(packet.bytes, text);
            if signalling.lanes() {
                self.acknowledge_core(signalling, packet, read.as_ref().ok().map(|(read, _)| read), sink);
            }
            match read {
                Ok(read) => reads.push((packet, read)),
                Err(_) => self.counters.core_unreadable += 1,
            }
        }
        let (mut keys, mut sum) = (ArrayVec::<_, AHEAD>::new(), 0);
        for (packet, (read, salt)) in &reads {
            let key = of(read).map(|of| self.key(signalling, packet, of, *salt));
            let named = key.and_then(|key| self.named(signalling, packet, key));
            sum ^= named.map_or(0, |named| self.touch_named(named));
            keys.push(key);
        }
        core::hint::black_box(sum);
        for ((packet, (read, _)), key) in reads.into_iter().zip(keys) {
            // Anew: what came before it may have changed what it is to.
            let named = key.and_then(|key| self.named(signalling, packet, key));
            let claimed = |claim: &Claim<'_>| matches!(named, Some(Named::Pending(slot)) if slot == claim.slot);
            match (read, named) {
                // The same s9 twice in a batch: the second is late.
                (FromCore::Key { idc, s9, .. }, Some(Named::Pending(slot))) if !claims.iter().any(claimed) => {
                    claims.push(Claim { slot, core_msg: packet.bytes, idc, s9 });
                }
                (FromCore::Key { .. }, _) => self.counters.core_unmatched += 1,
                (read, named) => {
                    // An s9 waits for its batch; whatever else comes for that registration comes after it.
                    let late = claims.iter().any(claimed);
                    if late {
                        self.grant(now, signalling, claims, sink);
                        claims.clear();
                    }
                    self.on_core_message(now, signalling, (&read, named.filter(|_| !late)), packet, sink);
                }
            }
        }
    }

    /// What finds what an answer with this salt is to.
    fn key(&self, signalling: &dyn Signalling, packet: &CorePacket<'_>, of: Of, salt: Option<u64>) -> Key {
        let hashed = |name: Name| self.hashed(signalling.protocol(), packet.lane, name);
        match of {
            Of::Ticket(ticket) => Key::Ticket(ticket, salt),
            Of::N1(n1) => Key::Name(hashed(Name::N1(n1))),
            Of::Rand(rand) => Key::Name(hashed(Name::Rand(rand))),
            Of::Lane => {
                let transaction = signalling.transaction(packet.bytes);
                Key::Lane(transaction.map(|number| (number, hashed(Name::Transaction(number)))))
            }
        }
    }

    /// What an answer is to. Handles can be guessed: a registration's answer must bring its salt back too; for sessions the
    /// protocol checks that as it relays.
    fn named(&self, signalling: &dyn Signalling, packet: &CorePacket<'_>, key: Key) -> Option<Named> {
        match key {
            Key::Ticket(ticket, salt) => self.named_by_ticket(ticket, salt),
            Key::Name(name) => self.pendings.find_named(name).map(Named::Pending),
            Key::Lane(transaction) => {
                let own = transaction.and_then(|(_, name)| self.pendings.find_named(name));
                own.map(Named::Pending).or_else(|| {
                    let slot = self.session_on(signalling.protocol(), packet.lane)?;
                    Some(Named::Session { slot, wish: self.wish(slot, transaction.map(|(number, _)| number)) })
                })
            }
        }
    }

    /// Reads a little of each table that an answer is about to change; the sum has no meaning. See [`Engine::touch`].
    fn touch_named(&self, named: Named) -> u64 {
        let touch =
            |p: &Pending| self.pendings.touch(p.of) ^ self.answers.touch(p.of) ^ self.sessions.touch_lane(p.lane);
        match named {
            Named::Pending(slot) => self.pendings.get(slot).map_or(0, touch),
            Named::Session { slot, .. } => self.sessions.touch_slot(slot),
        }
    }

    fn named_by_ticket(&self, ticket: Ticket, salt: Option<u64>) -> Option<Named> {
        let TicketParts { kind, generation, slot } = TicketParts::read(ticket, self.site.worker)?;
        if kind != TicketKind::Pending {
            let wish = (kind == TicketKind::Deregister).then_some(Wish::Deregister);
            return self.sessions.by_ticket(slot, generation).map(|slot| Named::Session { slot, wish });
        }
        let pending = self.pendings.get(slot)?;
        let salted = salt.is_none_or(|salt| salt == pending.of as u64);
        (pending.generation == generation && salted).then_some(Named::Pending(slot))
    }

    fn on_core_message(
        &mut self,
        now: Now,
        signalling: &'static dyn Signalling,
        (read, named): (&FromCore<'_>, Option<Named>),
        packet: &CorePacket<'_>,
        sink: &mut dyn Sink,
    ) {
        let message = packet.bytes;
        match (*read, named) {
            (FromCore::Challenge { idc, idsp, rand, .. }, Some(Named::Pending(slot))) => {
                let home = Affinity(packet.affinity).home();
                self.on_challenge(now, slot, message, (idc, idsp), (rand, home), sink);
            }
            (FromCore::Refused { refusal, .. }, Some(Named::Pending(slot))) => {
                match self.pendings.get(slot).map(|pending| pending.task) {
                    Some(Task::Stock { .. }) => self.on_stock_answer(now, slot, message, false, sink),
                    _ => self.on_refused(now, slot, refusal, sink),
                }
            }
            (FromCore::Refused { .. }, Some(Named::Session { slot, wish })) => {
                self.on_session_answer(signalling, (slot, wish), packet, (true, false), sink);
            }
            (FromCore::Answer { last, success, .. }, Some(Named::Pending(slot))) => {
                self.on_registration_answer(now, slot, message, (last, success), sink);
            }
            (FromCore::Answer { last, success, .. }, Some(Named::Session { slot, wish })) => {
                self.on_session_answer(signalling, (slot, wish), packet, (last, success), sink);
            }
            (FromCore::Answer { of: Of::Lane, .. }, None) => self.counters.core_acknowledged += 1,
            (FromCore::Request { idc }, _) => self.on_core_request(signalling, idc, packet, sink),
            (FromCore::Own, _) => {
                self.counters.core_own += 1;
                self.answer_core(signalling, packet, sink, &mut |hop, w| signalling.answer_own(hop, message, true, w));
            }
            // A key is taken by the batch.
            (FromCore::Challenge { .. } | FromCore::Refused { .. } | FromCore::Answer { .. }, _)
            | (FromCore::Key { .. }, _) => self.counters.core_unmatched += 1,
        }
    }

    /// The core answered something of the session's.
    fn on_session_answer(
        &mut self,
        signalling: &'static dyn Signalling,
        (slot, wish): (u32, Option<Wish>),
        packet: &CorePacket<'_>,
        (last, success): (bool, bool),
        sink: &mut dyn Sink,
    ) {
        if last {
            self.settle(signalling, (slot, wish), packet.bytes, success);
        }
        let relayed = self.relay_down(signalling, slot, packet, sink);
        if relayed && wish == Some(Wish::Deregister) && last && success {
            self.end_session(slot, EndReason::Deregistered, sink);
        }
    }

    /// The core is at what waits in `slot`, and may say for how long: the terminal hears of it, within what it may be sent,
    /// and the wait begins anew.
    fn on_progress(&mut self, now: Now, slot: u32, message: &[u8], sink: &mut dyn Sink) {
        let Some(&Pending { meta, of, budget, .. }) = self.pendings.get(slot) else { return };
        let Some(access) = self.site.access(meta.listener) else { return };
        let (request, marks) = self.pendings.request(slot);
        let hop = self.site.hop(meta.listener, meta.source, self.pending_ticket(slot), of as u64);
        let hop = Hop { marks, ..hop };
        let (mut wait_ms, mut octets) = (None, 0);
        let sent = send(sink, &mut self.counters, meta.back(), budget, &mut |w| {
            wait_ms = access.signalling.write_progress(&hop, request, message, w)?;
            octets = w.len();
            Ok(())
        });
        self.counters.progress_sent += u64::from(sent);
        if let (true, Some(pending)) = (sent, self.pendings.get_mut(slot)) {
            pending.budget = pending.budget.saturating_sub(octets);
        }
        if let Some(wait_ms) = wait_ms {
            let wait_ms = u64::from(wait_ms).max(self.policy.core_timeout_ms);
            self.wheel.arm(now.mono_ms, slot, now.mono_ms + wait_ms);
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
        let Some(pending) = self.pendings.get(slot) else { return };
        let lanes = self.site.access(pending.meta.listener).is_some_and(|access| access.signalling.lanes());
        match pending.task {
            // What is not final says that the core is at it, and perhaps for how long.
            _ if !last => self.on_progress(now, slot, message, sink),
            Task::Stock { .. } => self.on_stock_answer(now, slot, message, success, sink),
            // The step follows as a command of its own.
            Task::Pkd(_) if lanes && success => self.counters.core_acknowledged += 1,
            Task::Pkd(_) if lanes => self.on_refused(now, slot, Refusal::Denied, sink),
            // A registration that is neither challenged, keyed nor refused: the core does not know PKD1.
            Task::Pkd(_) => self.counters.core_mismatched += 1,
        }
    }

    /// A request of the core's: for the terminal that it names, or else for the one whose lane it came on.
    fn on_core_request(
        &mut self,
        signalling: &'static dyn Signalling,
        idc: Option<IdcBuf>,
        packet: &CorePacket<'_>,
        sink: &mut dyn Sink,
    ) {
        let confirmed = |state| matches!(state, State::Active | State::Stock);
        let slot = match idc {
            Some(idc) => self.sessions.by_idc(idc.as_idc(), confirmed),
            None => self.session_on(signalling.protocol(), packet.lane),
        };
        match slot.filter(|slot| self.speaks(*slot, signalling.protocol()) && self.is_reachable(*slot)) {
            Some(slot) => _ = self.relay_down(signalling, slot, packet, sink),
            None => {
                self.counters.core_unreachable += 1;
                let message = packet.bytes;
                self.answer_core(signalling, packet, sink, &mut |hop, w| signalling.answer_own(hop, message, false, w));
            }
        }
    }

    /// Sends the proxy's own answer to a request of the core's; nothing where nothing is written.
    pub(crate) fn answer_core(
        &mut self,
        signalling: &dyn Signalling,
        packet: &CorePacket<'_>,
        sink: &mut dyn Sink,
        write: &mut dyn FnMut(&Hop<'_>, &mut Writer<'_>) -> Result<(), Full>,
    ) {
        let salt = self.hash.digest(b'M', &[packet.bytes]) as u64;
        let hop = self.site.own_hop(salt);
        send(sink, &mut self.counters, packet.back(signalling.protocol()), usize::MAX, &mut |w| write(&hop, w));
    }
}
