//! s9 to s10, for a batch at once: wraps opened together, mechanisms chosen, provisional sessions made, MACs made
//! together.

use crate::api::{Meta, Sink};
use crate::choice::Choice;
use crate::config::Policy;
use crate::counters::Counters;
use crate::engine::Engine;
use crate::out::send_octets;
use crate::routes::Heading;
use crate::site::Site;
use crate::store::answers::{AnswerId, Answers};
use crate::store::pendings::{Pendings, Task};
use crate::store::sessions::{Opening, Session, Sessions, State};
use crate::store::wheel::Wheel;
use arrayvec::ArrayVec;
use core::net::SocketAddr;
use core::ops::Range;
use portunus_channel::End;
use portunus_keydist::batch::{MacJob, OpenJob, Opened, mac_batch};
use portunus_keydist::bugs::{Bug, planted};
use portunus_keydist::device::Under;
use portunus_keydist::ident::IdcBuf;
use portunus_keydist::mech::MechList;
use portunus_keydist::proxy::{Granted, Source};
use portunus_keydist::steps::{Refusal, S9, S10};
use portunus_keydist::{DeviceKeys, Idc, Now, Random};
use portunus_signalling::{BINDING_MAX, Hop, Signalling, Writer};

/// Most s9 of one batch.
pub(crate) const BATCH: usize = 32;

/// An s9 that found its registration.
#[derive(Clone, Copy)]
pub(crate) struct Claim<'m> {
    pub(crate) slot: u32,
    pub(crate) core_msg: &'m [u8],
    pub(crate) idc: Option<IdcBuf>,
    pub(crate) s9: S9,
}

/// One of them with everything that its s10 is made from.
struct Case<'a> {
    slot: u32,
    core_msg: &'a [u8],
    request: &'a [u8],
    idc: Idc<'a>,
    mechs: &'a MechList,
    granted: Granted,
    meta: Meta,
    of: u128,
    lane: u64,
    heading: Heading,
    hop: Hop<'a>,
    signalling: &'static dyn Signalling,
}

/// What became of a case.
#[derive(Clone)]
enum Outcome {
    /// s10 stands in the cache; the MAC's field is empty still.
    Written { answer: AnswerId, field: Range<usize>, session: u32 },
    /// No s10.
    Refused(Refusal),
}

/// Where the messages of a terminal would come from, were its ESP the kernel's, and the outer port. `None`: the kernel is not
/// asked here, or cannot tell this terminal from another one behind the same address.
fn vacancy(site: &Site, sessions: &Sessions, case: &Case<'_>, terminal: End) -> Option<(Meta, u16)> {
    let source = SocketAddr::new(case.meta.source.ip(), terminal.port);
    let of = |listener| Meta { source, listener, conn: 0 };
    let listeners = || site.kernel_listeners(case.meta.listener, case.signalling.protocol());
    // Two associations towards one address cannot bear the same SPI.
    if u32::try_from(terminal.handle).is_ok_and(|spi| sessions.by_spi(source.ip(), spi).is_some()) {
        return None;
    }
    let own = |slot| sessions.known(slot).is_some_and(|known| known.idc == case.idc);
    // Its own unconfirmed one makes room for the next.
    let leaves = |slot| own(slot) && sessions.get(slot).is_some_and(|s| s.state == State::Provisional);
    let mut free = listeners().filter(|(listener, _)| sessions.by_kernel(&of(*listener)).is_none_or(leaves));
    free.next().map(|(listener, outer)| (of(listener), outer))
}

/// The rooms that s10 is made in, apart from where the requests lie.
struct Desk<'e> {
    site: &'e Site,
    policy: &'e Policy,
    sessions: &'e mut Sessions,
    answers: &'e mut Answers,
    rng: &'e mut dyn Random,
    counters: &'e mut Counters,
    wheel: &'e mut Wheel,
    first_timer: u32,
    /// The host's kernel takes new sessions.
    kernel: bool,
    /// Sessions that made room for newer ones and had, or asked for, the kernel's ESP.
    superseded: ArrayVec<u64, BATCH>,
}

impl Desk<'_> {
    /// Makes the provisional session and writes its s10, but for the MAC.
    fn write(&mut self, now: Now, case: &Case<'_>, opened: &Opened) -> Outcome {
        let pair = self.policy.pair(case.meta.listener, case.idc);
        let at = (case.meta.listener, case.signalling);
        let kernel = |terminal| self.kernel.then(|| vacancy(self.site, self.sessions, case, terminal)).flatten();
        let choice = match Choice::of(self.site, (self.policy, pair), case.mechs, at, kernel) {
            Ok(choice) => choice,
            Err(below) => {
                let counters = &mut *self.counters;
                *(if below { &mut counters.mechanism_below_floor } else { &mut counters.mechanism_refused }) += 1;
                return Outcome::Refused(Refusal::Mechanism);
            }
        };
        let mut binding = [0u8; BINDING_MAX];
        let mut w = Writer::new(&mut binding);
        let bound = case.signalling.binding(case.request, case.hop.marks, &mut w).and_then(|()| w.finish());
        let Some(binding) = bound.ok().and_then(|len| binding.get(..len)) else {
            self.counters.write_full += 1;
            return Outcome::Refused(Refusal::Malformed);
        };
        let (idc, idsp, n1b) = (case.idc, case.hop.own.idsp, &case.granted.n1b);
        let Some((n2b, keys)) = choice.keys(self.site, &opened.secret, (idc, idsp, n1b), self.rng) else {
            self.counters.session_full += 1;
            return Outcome::Refused(Refusal::Busy { retry_after_s: 0 });
        };
        // A newer provisional session takes the place of an older one that nobody has confirmed.
        if let Some(older) = self.sessions.by_idc_on(idc, case.lane, |state| state == State::Provisional) {
            self.wheel.disarm(self.first_timer + older);
            let kernel = self.sessions.get(older).and_then(Session::kernel_spi);
            self.superseded.extend(kernel.and_then(|_| self.sessions.kid(older)));
            self.sessions.close(older);
            self.counters.sessions_provisional -= 1;
            self.counters.sessions_superseded += 1;
        }
        let opening = Opening {
            idc,
            lane: case.lane,
            binding,
            meta: choice.kernel().unwrap_or(case.meta),
            protected: Some((choice.mech(), choice.terminal())),
            kernel: choice.kernel().is_some(),
            protocol: case.signalling.protocol(),
            state: State::Provisional,
            ends_s: (now.mono_ms / 1000) as u32 + self.policy.life_s,
        };
        let session = self.sessions.open(&opening, keys);
        let session = session.and_then(|slot| Some((slot, choice.answer(self.site, self.sessions, slot)?)));
        let Some((session, sel)) = session else {
            self.counters.session_full += 1;
            return Outcome::Refused(Refusal::Busy { retry_after_s: 0 });
        };
        self.sessions.set_pace(session, (pair, case.heading), now);
        self.counters.sessions_provisional += 1;
        let s10 = S10 {
            idsp,
            n1: case.granted.n1b,
            n2: n2b,
            ts: now.wall_ms,
            life: self.policy.life_s,
            ekc: case.granted.ekc,
            sel: sel.as_str(),
            mechs: case.mechs.as_str(),
        };
        self.put(now, case, &s10, session)
    }

    fn put(&mut self, now: Now, case: &Case<'_>, s10: &S10<'_>, session: u32) -> Outcome {
        let mut field = 0..0;
        let put = self.answers.put(now.mono_ms, case.of, now.mono_ms + self.policy.answer_ms, |buf| {
            let mut w = Writer::new(buf);
            field = case.signalling.write_s10(&case.hop, case.request, case.core_msg, s10, &mut w).ok()?;
            w.finish().ok()
        });
        match put {
            Some((answer, early)) => {
                self.counters.answer_evicted += early;
                Outcome::Written { answer, field, session }
            }
            None => {
                self.counters.write_full += 1;
                self.counters.sessions_provisional -= 1;
                self.sessions.close(session);
                Outcome::Refused(Refusal::Busy { retry_after_s: 0 })
            }
        }
    }
}

/// Finds what each s9 answers; says how many answer something else than an s7 of theirs. The rooms of a batch are
/// filled where they stand: moving them would cost a lone s9 more than the rest of its way.
fn collect<'a>(
    pendings: &'a Pendings,
    site: &'a Site,
    signalling: &'static dyn Signalling,
    claims: &[Claim<'a>],
    cases: &mut ArrayVec<Case<'a>, BATCH>,
) -> u64 {
    let mut mismatched = 0;
    for claim in claims {
        let (slot, (request, marks)) = (claim.slot, pendings.request(claim.slot));
        let Some(pending) = pendings.get(slot) else { continue };
        let granted = match pending.task {
            Task::Pkd(exchange) => Granted::new(&exchange, &claim.s9),
            Task::Stock { .. } => None,
        };
        let idc = pending.idc.as_idc();
        let (Some(granted), Some(mechs), None) =
            (granted, &pending.mechs, claim.idc.filter(|asked| asked.as_idc() != idc))
        else {
            mismatched += 1;
            continue;
        };
        let (meta, of, lane, heading) = (pending.meta, pending.of, pending.lane, pending.heading);
        let hop = site.hop(meta.listener, meta.source, pending.ticket(slot, site.worker), of as u64);
        let hop = Hop { marks, ..hop };
        let core_msg = claim.core_msg;
        cases.push(Case { slot, core_msg, request, idc, mechs, granted, meta, of, lane, heading, hop, signalling });
    }
    mismatched
}

/// Opens the wraps of all cases; says how many opened under the other key only.
fn open_all(keys: &DeviceKeys, cases: &[Case<'_>], opened: &mut ArrayVec<Option<Opened>, BATCH>) -> u64 {
    let mut jobs: ArrayVec<OpenJob<'_>, BATCH> = ArrayVec::new();
    jobs.extend(cases.iter().map(|case| case.granted.open_job(case.idc, case.hop.own.idsp)));
    let mut other = 0;
    keys.open_batch(&jobs, |result| {
        other += u64::from(matches!(result, Ok((_, Under::Other))));
        opened.push(result.ok().map(|(opened, _)| opened));
    });
    other
}

/// Makes and puts in the MACs of all s10 that were written.
fn sign_all(
    answers: &mut Answers,
    signalling: &dyn Signalling,
    opened: &[Option<Opened>],
    outcomes: &[(u32, Outcome)],
) {
    let mut jobs: ArrayVec<MacJob<'_>, BATCH> = ArrayVec::new();
    for (opened, (_, outcome)) in opened.iter().zip(outcomes) {
        if let (Some(opened), Outcome::Written { answer, field, .. }) = (opened, outcome) {
            let (message, placeholder) = (answers.get(*answer), signalling.mac_placeholder());
            jobs.push(MacJob { key: &opened.mac_key, message, field: field.clone(), placeholder, out: [0; 32] });
        }
    }
    let made = mac_batch(&mut jobs);
    debug_assert_eq!(made, jobs.len(), "a protocol named a field outside its message");
    let macs: ArrayVec<[u8; 32], BATCH> = jobs.iter().map(|job| job.out).collect();
    drop(jobs);
    let written = outcomes.iter().filter_map(|(_, outcome)| match outcome {
        Outcome::Written { answer, field, .. } => Some((*answer, field.clone())),
        Outcome::Refused(_) => None,
    });
    for ((answer, field), mac) in written.zip(&macs) {
        if let Some(field) = answers.get_mut(answer).get_mut(field) {
            signalling.put_mac(field, mac);
        }
    }
}

impl Engine {
    /// Answers a batch of s9.
    pub(crate) fn grant(
        &mut self,
        now: Now,
        signalling: &'static dyn Signalling,
        claims: &[Claim<'_>],
        sink: &mut dyn Sink,
    ) {
        if claims.is_empty() {
            return;
        }
        let mut cases = ArrayVec::new();
        let mut opened = ArrayVec::new();
        self.counters.core_mismatched += collect(&self.pendings, &self.site, signalling, claims, &mut cases);
        self.counters.unwrap_other_key += open_all(&self.device, &cases, &mut opened);
        let mut desk = Desk {
            site: &self.site,
            policy: &self.policy,
            sessions: &mut self.sessions,
            answers: &mut self.answers,
            rng: &mut *self.rng,
            counters: &mut self.counters,
            wheel: &mut self.wheel,
            first_timer: self.first_session_timer,
            kernel: self.kernel,
            superseded: ArrayVec::new(),
        };
        let mut outcomes: ArrayVec<(u32, Outcome), BATCH> = ArrayVec::new();
        for (case, opened) in cases.iter().zip(&opened) {
            let outcome = match opened {
                Some(opened) => {
                    self.role.proven(&Source::new(case.meta.source, case.meta.listener), case.idc);
                    desk.write(now, case, opened)
                }
                None => {
                    desk.counters.unwrap_failed += 1;
                    Outcome::Refused(Refusal::Denied)
                }
            };
            outcomes.push((case.slot, outcome));
        }
        // Whatever becomes of what took their place.
        desk.superseded.iter().for_each(|kid| sink.uninstall(*kid));
        drop(cases);
        sign_all(&mut self.answers, signalling, &opened, &outcomes);
        for (slot, outcome) in outcomes {
            self.deliver(now, slot, outcome, sink);
        }
    }

    fn deliver(&mut self, now: Now, slot: u32, outcome: Outcome, sink: &mut dyn Sink) {
        match outcome {
            Outcome::Written { answer, session, .. } => {
                if !self.install(session, sink) {
                    self.counters.sessions_provisional -= 1;
                    self.sessions.close(session);
                    return self.conclude_busy(now, slot, 0, sink);
                }
                let until = now.mono_ms + self.policy.provisional_ms;
                self.wheel.arm(now.mono_ms, self.session_timer(session), until);
                if let Some(meta) = self.pendings.get(slot).map(|pending| pending.meta) {
                    let octets = self.answers.get(answer);
                    let sent = send_octets(sink, &mut self.counters, meta.back(), usize::MAX, octets);
                    self.counters.s10_sent += u64::from(sent);
                }
                self.release(slot);
                if planted(Bug::Unconfirmed) {
                    self.activate(now, session, sink);
                }
            }
            Outcome::Refused(Refusal::Busy { .. }) => self.conclude_busy(now, slot, 0, sink),
            Outcome::Refused(refusal) => self.conclude(now, slot, refusal, sink),
        }
    }
}
