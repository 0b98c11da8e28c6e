//! What keeps a session: refreshes, signs of life, keep-alives, and a new key in time.

use super::{Base, Endpoint, Path, Why};
use crate::agent::Agent;
use crate::event::Event;
use crate::failure::Failure;
use portunus_keydist::timing::{Due, Repeating};
use portunus_keydist::{Now, Random};

impl Base {
    /// Asks the proxy itself for a sign of life: a protected message without content, which it answers with one of its
    /// own, whatever becomes of the core behind it.
    fn ask_for_sign(&mut self, now: Now) {
        let sealed = self.session.as_mut().and_then(|s| Some((s.to, s.seal(now.mono_ms, &[])?)));
        if let Some((to, (path, octets))) = sealed {
            self.send(path, to, octets);
        }
    }

    /// The sign of life is repeated, and given up: then the session is lost, as with a connection that does not open.
    fn watch(&mut self, now: Now, rng: &mut dyn Random) {
        if self.opening().is_some_and(|until_ms| until_ms <= now.mono_ms) {
            return self.lost(now, rng);
        }
        match self.sign.as_mut().and_then(|sign| sign.poll(now)) {
            Some(Due::Repeat) => {
                self.tally.repeated += 1;
                self.ask_for_sign(now);
            }
            Some(Due::GiveUp) => self.lost(now, rng),
            None => {}
        }
    }

    /// Until when the connection that the active session wants must be open.
    pub(super) fn opening(&self) -> Option<u64> {
        self.session.as_ref()?.opening()
    }

    /// The active session is no more: a new registration follows, unless one is under way.
    pub(super) fn lost(&mut self, now: Now, rng: &mut dyn Random) {
        self.machine.session_lost(now, rng);
        self.forget_session();
        if self.pending.is_none() && self.provisional.is_none() {
            self.failed(now, Failure::Lost);
        }
    }

    /// Sign of life, and a new key before the sequence numbers run out. True when a refresh is due.
    fn upkeep(&mut self, now: Now) -> bool {
        let Some(session) = &mut self.session else { return false };
        if session.worn() {
            self.machine.renew(now);
        }
        let probe_ms = u64::from(self.profile.probe_ms);
        // A connection says itself when it is lost.
        let quiet = probe_ms != 0 && !session.is_stream() && session.heard_ms + probe_ms <= now.mono_ms;
        let stale = session.refresh_ms <= now.mono_ms;
        if stale {
            session.refresh_ms = u64::MAX;
        }
        if quiet && self.sign.is_none() {
            self.sign = Some(Repeating::begin(self.profile.inside, now));
            self.ask_for_sign(now);
        }
        self.keep_alive(now);
        stale
    }

    /// When the session is to be kept alive in NATs on its way, where its mechanism does that (RFC 3948 section 4).
    fn keep_alive_at(&self) -> Option<u64> {
        let (session, after) = (self.session.as_ref()?, u64::from(self.profile.keep_alive_ms));
        session.keep_alive().filter(|_| after != 0).map(|_| session.said_ms + after)
    }

    fn keep_alive(&mut self, now: Now) {
        if self.keep_alive_at().is_none_or(|at| at > now.mono_ms) {
            return;
        }
        let Some(session) = &mut self.session else { return };
        session.said_ms = now.mono_ms;
        if let (to, Some(octets)) = (session.to, session.keep_alive()) {
            self.send(Path::Sealed, to, octets.to_vec());
        }
    }
}

impl<A: Agent> Endpoint<A> {
    /// Ends the registration inside the channel; [`Event::Deregistered`] follows when it is granted, or nobody
    /// answers at all; [`Event::Response`] when it is refused, and the session goes on. False: not active, or too much
    /// under way.
    pub fn deregister(&mut self, now: Now, rng: &mut dyn Random) -> bool {
        self.base.session.is_some() && self.call(now, rng, |agent, ctx| agent.deregister(ctx))
    }

    /// Sends a message of the protocol's inside the session, for whom the terminal stands for. False: not active, or the
    /// session is worn out.
    pub fn say(&mut self, now: Now, rng: &mut dyn Random, message: &[u8]) -> bool {
        self.call(now, rng, |_, ctx| ctx.say(message))
    }

    /// Refreshes the registration inside the channel before its time; [`Event::Refreshed`] follows, or another
    /// registration where the core wants one. False: not active.
    pub fn refresh(&mut self, now: Now, rng: &mut dyn Random) -> bool {
        let active = self.base.session.is_some();
        if active {
            self.call(now, rng, |agent, ctx| agent.refresh(ctx));
        }
        active
    }

    /// Asks the core for a sign of life: proves the key both ways, end to end. The number that [`Event::Response`] will
    /// bear; `None`: not active, or too much under way.
    pub fn probe(&mut self, now: Now, rng: &mut dyn Random) -> Option<u32> {
        self.base.session.as_ref()?;
        self.call(now, rng, |agent, ctx| agent.probe(ctx))
    }

    /// To rest at once, without a word to anybody; [`Event::Deregistered`] follows. A registration that was to follow this
    /// session ends with it.
    pub fn come_to_rest(&mut self, now: Now, rng: &mut dyn Random) {
        self.base.machine.stop();
        self.base.forget_registration();
        self.base.forget_session();
        self.call(now, rng, |agent, ctx| agent.on_ended(ctx));
        self.base.events.push_back(Event::Deregistered);
    }

    /// What is due inside the channel.
    pub(super) fn inside_due(&mut self, now: Now, rng: &mut dyn Random) {
        if self.base.session.is_none() {
            return self.call(now, rng, |agent, ctx| agent.on_ended(ctx));
        }
        self.call(now, rng, |agent, ctx| agent.on_timer(ctx));
        self.base.watch(now, rng);
        if self.base.upkeep(now) {
            self.call(now, rng, |agent, ctx| agent.refresh(ctx));
        }
    }

    /// The next thing to do inside the channel.
    pub(super) fn inside_deadline(&self) -> Option<(u64, Why)> {
        let session = self.base.session.as_ref()?;
        let again = self.agent.next_deadline().map(|at| (at, Why::Inside));
        let refresh = (session.refresh_ms != u64::MAX).then_some((session.refresh_ms, Why::Refresh));
        let probe_ms = u64::from(self.base.profile.probe_ms);
        let probe = match &self.base.sign {
            Some(sign) => Some((sign.deadline().0, Why::Probe)),
            None => (probe_ms != 0 && !session.is_stream()).then_some((session.heard_ms + probe_ms, Why::Probe)),
        };
        let opening = self.base.opening().map(|at| (at, Why::Probe));
        let alive = self.base.keep_alive_at().map(|at| (at, Why::KeepAlive));
        [again, refresh, probe, opening, alive].into_iter().flatten().min_by_key(|d| d.0)
    }
}
