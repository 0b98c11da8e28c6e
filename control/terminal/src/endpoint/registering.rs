//! Steps out, answers in, and the confirmation of the key.

use super::{Base, Endpoint, Path, Pending};
use crate::agent::{Agent, Env, Reading};
use crate::event::{Active, Event, Step};
use crate::failure::Failure;
use crate::session::Session;
use core::net::SocketAddr;
use core::ops::Range;
use portunus_channel::Said;
use portunus_keydist::steps::{Refusal, S1, S6, S10};
use portunus_keydist::terminal::{KeyMessage, Next, Reject, Todo};
use portunus_keydist::{N1, Now, Random};
use portunus_signalling::Text;

/// s1 as the agent writes it, with its N1.
fn written_s1<A: Agent>(
    agent: &mut A,
    (profile, local, tag): (&crate::profile::Profile, SocketAddr, u32),
    rng: &mut dyn Random,
    s1: &S1<'_>,
) -> (N1, Option<Vec<u8>>) {
    (s1.n1, agent.write_s1(&Env { profile, idc: s1.idc, local, carrier: profile.transport, tag }, rng, s1))
}

/// The first SPI that terminals here receive under: no unprotected message of any protocol begins with such an octet, and
/// all come to one socket.
const SPI_BASE: u32 = 0xc000_0000;

impl Base {
    /// Names an SPI for the registration that begins: its own among the terminals of one owner and among this one's last
    /// 256 registrations. The inner port is that of the socket.
    pub(super) fn choose_spi(&mut self) {
        self.registrations = self.registrations.wrapping_add(1);
        let spi = SPI_BASE | (self.tag & 0x3f_ffff) << 8 | u32::from(self.registrations);
        self.machine.receive_at(spi, self.local.port().max(1));
    }

    fn ask(&mut self, now: Now, step: u8, (n1, octets): (N1, Option<Vec<u8>>)) {
        let Some(octets) = octets else {
            return self.failed(now, Failure::TooLong);
        };
        self.send(Path::Signalling, self.profile.server, octets.clone());
        self.pending = Some(Box::new(Pending { step, n1, octets }));
        self.step(now, if step == 1 { Step::S1 } else { Step::S7 });
    }

    /// One protected message without content.
    fn confirm(&mut self, now: Now, step: Step) {
        let Some(session) = &mut self.provisional else { return };
        if session.is_stream() {
            return self.want_connection(now, step, true);
        }
        let to = session.to;
        if let Some((path, octets)) = session.seal(now.mono_ms, &[]) {
            self.send(path, to, octets);
            self.step(now, step);
        }
    }

    fn rejected(&mut self, now: Now, reject: Reject) {
        if reject.ends_attempt() {
            self.failed(now, Failure::Rejected(reject));
        } else {
            self.tally.ignored += 1;
        }
    }

    /// The attempt came to nothing; the role machine backs off, and this says so.
    pub(super) fn failed(&mut self, now: Now, why: Failure) {
        self.forget_registration();
        self.tally.failures += 1;
        self.failures_in_row += 1;
        let most = self.profile.attempts_max;
        self.stopped = why == Failure::TooLong || (most != 0 && self.failures_in_row >= most);
        if self.stopped && self.session.is_none() {
            self.machine.stop();
        }
        let next = self.machine.next_deadline().map(|(at, _)| at.saturating_sub(now.mono_ms));
        self.events.push_back(Event::Failed { why, retry_in_ms: next.filter(|_| !self.stopped) });
    }

    fn repeat(&mut self, now: Now) {
        if let Some(pending) = &self.pending {
            let octets = pending.octets.clone();
            self.tally.repeated += 1;
            self.send(Path::Signalling, self.profile.server, octets);
            self.step(now, Step::Again);
        }
    }

    /// Whatever was under way: answers to it, and its key, are worth nothing any more.
    pub(super) fn forget_registration(&mut self) {
        self.pending = None;
        if let Some(gone) = self.provisional.take() {
            self.events.push_back(Event::Forget { kid: gone.kid });
        }
    }

    pub(super) fn forget_session(&mut self) {
        self.sign = None;
        if let Some(gone) = self.session.take() {
            self.events.push_back(Event::Forget { kid: gone.kid });
        }
    }

    /// s10; true: it was accepted, and its session is provisional.
    fn on_key(
        &mut self,
        now: Now,
        rng: &mut dyn Random,
        (message, mac_field): (&[u8], Range<usize>),
        s10: S10<'_>,
        expires_s: Option<u32>,
    ) -> bool {
        let key = KeyMessage { s10, message, mac_field, terms_kept: expires_s.is_some() };
        let established = match self.machine.on_key(now, rng, &key) {
            Ok(established) => established,
            Err(reject) => {
                self.rejected(now, reject);
                return false;
            }
        };
        self.pending = None;
        self.step(now, Step::S10);
        let (protocol, server) = (self.profile.protocol, self.profile.server);
        let expires_s = expires_s.unwrap_or_default();
        let Some(session) = Session::agreed(&self.machine, &established, protocol, server, expires_s) else {
            // A mechanism that was offered although this terminal has no room for it: the profile's doing.
            self.machine.stop();
            self.failed(now, Failure::Mechanism);
            return false;
        };
        let kid = session.kid;
        self.provisional = Some(Box::new(session));
        self.keyed_after_ms = now.mono_ms.saturating_sub(self.began_ms);
        self.events.push_back(Event::Keyed { kid });
        self.confirm(now, Step::Confirm);
        true
    }
}

impl<A: Agent> Endpoint<A> {
    /// Registers, unless a registration is under way. The terminal goes on trying by itself, with back-off, until it is
    /// active, and keeps its session alive from then on.
    pub fn start(&mut self, now: Now, rng: &mut dyn Random) {
        self.base.stopped = false;
        if self.base.pending.is_none() && self.base.provisional.is_none() {
            self.base.failures_in_row = 0;
            self.begin(now, rng);
        }
    }

    /// Sends s1.
    pub(super) fn begin(&mut self, now: Now, rng: &mut dyn Random) {
        self.base.began_ms = now.mono_ms;
        self.base.provisional = None;
        self.base.choose_spi();
        let Base { machine, profile, local, tag, .. } = &mut self.base;
        let s1 = machine.start(now, rng);
        let written = written_s1(&mut self.agent, (profile, *local, *tag), rng, &s1);
        self.base.ask(now, 1, written);
    }

    /// Takes an answer to the pending s1 or s7; false: it is none.
    pub(super) fn on_answer(&mut self, now: Now, rng: &mut dyn Random, message: &[u8]) -> bool {
        let (mut text, mut reply) = (Text::default(), Vec::new());
        let reading = self.agent.read(&self.base.env(), message, &mut text, &mut reply);
        if !reply.is_empty() {
            self.base.send(Path::Signalling, self.base.profile.server, reply);
        }
        if self.base.pending.is_none() {
            return false;
        }
        match reading {
            Reading::Nothing => return false,
            Reading::Noted => {}
            Reading::Progress(delay_ms) => self.base.machine.on_progress(now, delay_ms),
            Reading::Challenge(s6) => self.on_challenge(now, rng, &s6),
            Reading::Cookie { n1, ts, cookie } => self.on_cookie(now, rng, &n1, ts, cookie),
            Reading::Refused { n1, refusal, status } => self.on_refusal(now, rng, n1, &refusal, status),
            Reading::Key { s10, mac, expires_s } => {
                if self.base.on_key(now, rng, (message, mac), s10, expires_s) {
                    self.agent.on_keyed(message);
                }
            }
        }
        true
    }

    fn on_challenge(&mut self, now: Now, rng: &mut dyn Random, s6: &S6<'_>) {
        self.base.step(now, Step::S6);
        let Base { machine, profile, local, tag, .. } = &mut self.base;
        match machine.on_challenge(now, rng, s6) {
            Ok(s7) => {
                let env = Env { profile, idc: s7.idc, local: *local, carrier: profile.transport, tag: *tag };
                let written = (s7.n1, self.agent.write_s7(&env, rng, &s7));
                self.base.ask(now, 7, written);
            }
            Err(reject) => self.base.rejected(now, reject),
        }
    }

    fn on_cookie(&mut self, now: Now, rng: &mut dyn Random, n1: &N1, ts: u64, cookie: &[u8]) {
        self.base.step(now, Step::Cookie);
        let Base { machine, profile, local, tag, .. } = &mut self.base;
        match machine.on_cookie(now, rng, n1, ts, cookie) {
            Ok(s1) => {
                let written = written_s1(&mut self.agent, (profile, *local, *tag), rng, &s1);
                self.base.ask(now, 1, written);
            }
            Err(reject) => self.base.rejected(now, reject),
        }
    }

    fn on_refusal(&mut self, now: Now, rng: &mut dyn Random, n1: Option<N1>, refusal: &Refusal, status: Option<u16>) {
        if matches!(refusal, Refusal::Stale { .. }) {
            self.base.step(now, Step::Stale);
        }
        let Base { machine, profile, local, tag, .. } = &mut self.base;
        match machine.on_refusal(now, rng, n1.as_ref(), refusal) {
            Ok(Next::Send(s1)) => {
                let written = written_s1(&mut self.agent, (profile, *local, *tag), rng, &s1);
                self.base.ask(now, 1, written);
            }
            Ok(Next::Wait { .. }) => self.base.failed(now, Failure::of_refusal(refusal, status)),
            Err(reject) => self.base.rejected(now, reject),
        }
    }

    /// Takes a datagram that bears a session's handle; false when it does not verify. `newest`: the handle is that of the
    /// session that is not confirmed yet.
    pub(super) fn on_protected(&mut self, now: Now, rng: &mut dyn Random, newest: bool, datagram: &mut [u8]) -> bool {
        let base = &mut self.base;
        let session = if newest { &mut base.provisional } else { &mut base.session };
        let Some(heard) = session.as_mut().and_then(|s| s.open(now.mono_ms, datagram)) else {
            return false;
        };
        // The proxy is there.
        base.sign = None;
        if newest {
            self.confirmed(now, rng);
        }
        if heard.said == Said::Message {
            self.call(now, rng, |agent, ctx| agent.on_inside(ctx, heard.content));
        }
        true
    }

    /// Something protected verified under the new key: it replaces the old one.
    pub(super) fn confirmed(&mut self, now: Now, rng: &mut dyn Random) {
        let base = &mut self.base;
        base.machine.on_protected(now, rng);
        let Some(mut session) = base.provisional.take() else { return };
        session.refreshed(now.mono_ms, session.expires_s, rng);
        let active = Active {
            mech: session.mech(),
            kid: session.kid,
            life_s: session.life_s,
            expires_s: session.expires_s,
            keyed_after_ms: base.keyed_after_ms,
            active_after_ms: now.mono_ms.saturating_sub(base.began_ms),
        };
        if let Some(old) = base.session.replace(session) {
            base.events.push_back(Event::Forget { kid: old.kid });
        }
        base.failures_in_row = 0;
        base.tally.activations += 1;
        base.step(now, Step::Confirmed);
        base.events.push_back(Event::Active(active));
        self.call(now, rng, |agent, ctx| agent.on_active(ctx));
    }

    /// What the role machine's clock asks for.
    pub(super) fn registering_due(&mut self, now: Now, rng: &mut dyn Random) {
        while let Some(todo) = self.base.machine.on_timer(now, rng) {
            match todo {
                Todo::Repeat => self.base.repeat(now),
                Todo::Confirm => {
                    self.base.tally.repeated += 1;
                    self.base.confirm(now, Step::Again);
                }
                Todo::GaveUp(why) => {
                    let step = self.base.pending.as_ref().map_or(1, |p| p.step);
                    self.base.failed(now, Failure::of_machine(why, step));
                }
                // The last session lives to its end, and nothing follows it.
                Todo::Start if self.base.stopped => {}
                Todo::Start => self.begin(now, rng),
                Todo::SessionEnded => self.base.forget_session(),
            }
        }
    }

    /// The connection to the proxy could not be opened, or was lost while an answer was awaited: the attempt failed.
    pub fn on_connection_lost(&mut self, now: Now, rng: &mut dyn Random) {
        if self.base.pending.is_some() {
            // As a busy proxy that names no time: back-off, and then afresh over a new connection.
            let _ = self.base.machine.on_refusal(now, rng, None, &Refusal::Busy { retry_after_s: 0 });
            self.base.failed(now, Failure::Connection);
        }
    }
}
