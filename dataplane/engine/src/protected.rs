//! Protected datagrams: a batch of them is found, opened together, and taken in the order in which they came.

use crate::api::{Meta, Packet, Sink};
use crate::engine::{AHEAD, Engine};
use crate::protection::Protection;
use crate::store::sessions::State;
use arrayvec::ArrayVec;
use core::ops::Range;
use portunus_channel::{Dropped, Mechanism, OpenJob, Said, Sequence};
use portunus_keydist::Now;
use portunus_keydist::bugs::{Bug, planted};

/// A datagram whose header names a session, and a number that the session has not seen.
struct Found {
    slot: u32,
    /// The session of now: what is taken first may end it.
    kid: u64,
    seq: u64,
    protection: Protection,
}

/// What became of its octets.
type Outcome = Result<(Said, Range<usize>), Dropped>;

impl Engine {
    /// Some datagrams of a listener for those of a mechanism, [`AHEAD`] at most.
    pub(crate) fn on_protected(
        &mut self,
        now: Now,
        mechanism: &'static dyn Mechanism,
        packets: &mut [Packet<'_>],
        sink: &mut dyn Sink,
    ) {
        let found = self.find(mechanism, packets);
        let outcomes = self.open(mechanism, &found, packets);
        for ((packet, found), outcome) in packets.iter_mut().zip(found).zip(outcomes) {
            let (Some(found), Some(outcome)) = (found, outcome) else { continue };
            if let Some((said, range)) = self.accept(&packet.meta, &found, outcome) {
                let content = packet.bytes.get(range).unwrap_or_default();
                self.take_opened(now, found.slot, (said, content), sink);
            }
        }
    }

    /// Finds each datagram's session, once the lines of all of them are on their way.
    fn find(&mut self, mechanism: &'static dyn Mechanism, packets: &[Packet<'_>]) -> ArrayVec<Option<Found>, AHEAD> {
        let peeks: ArrayVec<_, AHEAD> = packets.iter().take(AHEAD).map(|p| mechanism.peek(p.bytes)).collect();
        let touched = peeks.iter().flatten().fold(0, |sum, peek| sum ^ self.sessions.touch(mechanism, peek.handle));
        core::hint::black_box(touched);
        let mut found = ArrayVec::new();
        for peek in peeks {
            let peek = match peek {
                Ok(peek) => peek,
                Err(why) => {
                    self.counters.dropped(why);
                    found.push(None);
                    continue;
                }
            };
            let slot = self.sessions.by_handle(mechanism, peek.handle);
            self.counters.sealed_unknown_kid += u64::from(slot.is_none());
            let of = |slot| Some((self.sessions.get(slot)?, self.sessions.kid(slot)?, self.protection(slot)?));
            let new = slot.and_then(|slot| {
                let (session, kid, protection) = of(slot)?;
                let seen = session.window.check(peek.seq).is_err();
                Some((seen, Found { slot, kid, seq: peek.seq, protection }))
            });
            self.counters.sealed_replayed += u64::from(new.as_ref().is_some_and(|(seen, _)| *seen));
            found.push(new.filter(|(seen, _)| !seen).map(|(_, found)| found));
        }
        found
    }

    /// Opens what was found, in place, in one batch.
    fn open(
        &self,
        mechanism: &'static dyn Mechanism,
        found: &[Option<Found>],
        packets: &mut [Packet<'_>],
    ) -> ArrayVec<Option<Outcome>, AHEAD> {
        let mut jobs = ArrayVec::<OpenJob<'_>, AHEAD>::new();
        let mut outcomes = ArrayVec::<Option<Outcome>, AHEAD>::new();
        for (packet, found) in packets.iter_mut().zip(found) {
            let job = found.as_ref().and_then(|found| {
                let (key, flow) = (&self.sessions.get(found.slot)?.keys.c2s, found.protection.c2s);
                Some(OpenJob { key, flow, datagram: packet.bytes, result: Err(Dropped::Unverified) })
            });
            outcomes.push(job.is_some().then_some(Err(Dropped::Unverified)));
            jobs.extend(job);
        }
        mechanism.open_batch(&mut jobs);
        for (place, job) in outcomes.iter_mut().flatten().zip(jobs) {
            *place = job.result;
        }
        outcomes
    }

    /// Commits the number of a datagram that verified and follows its source. `None`: it is not to be taken.
    fn accept(&mut self, meta: &Meta, found: &Found, outcome: Outcome) -> Option<(Said, Range<usize>)> {
        if planted(Bug::MovedUnverified)
            && let Some(session) = self.sessions.get_mut(found.slot)
        {
            session.set_meta(meta);
        }
        let opened = match outcome {
            Ok(opened) => opened,
            Err(why) => {
                self.counters.dropped(why);
                return None;
            }
        };
        // One before it in the batch may have ended its session, or have been its copy.
        let lives = self.sessions.kid(found.slot) == Some(found.kid);
        let Some(session) = self.sessions.get_mut(found.slot).filter(|_| lives) else {
            self.counters.sealed_unknown_kid += 1;
            return None;
        };
        let newest = found.seq > session.window.top();
        if session.window.commit(found.seq).is_err() {
            self.counters.sealed_replayed += 1;
            return None;
        }
        // Only the newest message moves a session: a delayed copy does not drag it back.
        if newest && session.meta() != *meta {
            self.counters.sealed_moved += u64::from(session.state == State::Active);
            session.set_meta(meta);
            if planted(Bug::SequenceRestarts) {
                session.sequence = Sequence::new();
            }
        }
        Some(opened)
    }

    /// What a message that verified leads to.
    pub(crate) fn take_opened(&mut self, now: Now, slot: u32, (said, content): (Said, &[u8]), sink: &mut dyn Sink) {
        if said == Said::Nothing {
            self.counters.sealed_dummy += 1;
            return;
        }
        let Some((state, protocol)) = self.sessions.get(slot).map(|session| (session.state, session.protocol)) else {
            return;
        };
        let confirms = state == State::Provisional;
        if confirms {
            self.activate(now, slot, sink);
        }
        if said == Said::Confirmation {
            self.counters.sealed_confirmations += 1;
        }
        if confirms || said == Said::Confirmation {
            self.seal(slot, 0, sink);
        }
        if said == Said::Message
            && let Some(signalling) = self.site.protocol(protocol as u8)
            && !self.kept_alive(signalling, slot, content, sink)
        {
            self.relay_up(now, signalling, (slot, content), sink);
        }
    }
}
