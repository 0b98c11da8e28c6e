//! What a signalling protocol is to a terminal: how steps are written and read, and what is said inside the session.

use crate::endpoint::{Base, Wish};
use crate::event::Event;
use crate::profile::Profile;
use core::net::SocketAddr;
use core::ops::Range;
use portunus_keydist::steps::{Refusal, S1, S6, S7, S10};
use portunus_keydist::{Idc, N1, Now, Random};
use portunus_signalling::{Protocol, Text, Transport};

/// Who writes, for steps.
#[derive(Debug, Clone, Copy)]
pub struct Env<'a> {
    /// What terminals of this kind share.
    pub profile: &'a Profile,
    /// Who it is.
    pub idc: Idc<'a>,
    /// The address that it is reached at.
    pub local: SocketAddr,
    /// What carries what is written.
    pub carrier: Transport,
    /// The owner's number for it: terminals that share a socket keep their transaction ids apart by it.
    pub tag: u32,
}

/// What an unprotected message says.
#[derive(Debug)]
pub enum Reading<'m> {
    /// It is no answer to what is under way; counted as ignored.
    Nothing,
    /// It belongs to it and decides nothing (a provisional response, the receipt of a command).
    Noted,
    /// The answer takes so many milliseconds more.
    Progress(u32),
    /// s6.
    Challenge(S6<'m>),
    /// The request for s1 with a cookie.
    Cookie {
        /// The N1 that it answers.
        n1: N1,
        /// The proxy's clock.
        ts: u64,
        /// To be repeated.
        cookie: &'m [u8],
    },
    /// A refusal, a stale clock included.
    Refused {
        /// The N1 that it answers, where it names one.
        n1: Option<N1>,
        /// What was refused.
        refusal: Refusal,
        /// The protocol's own code, where it says more than the refusal.
        status: Option<u16>,
    },
    /// s10.
    Key {
        /// What it says.
        s10: S10<'m>,
        /// Where its MAC stands in the message.
        mac: Range<usize>,
        /// The expiry granted, in seconds (0: this protocol has none); `None`: what was registered is not what was
        /// asked for, and the key is to be rejected.
        expires_s: Option<u32>,
    },
}

/// Which terminal of several behind one socket an unprotected message is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tag {
    /// The owner's number stands in it.
    Owner(u32),
    /// The N1 of what it answers.
    N1(N1),
    /// The transaction id of what it answers.
    Transaction(u32),
}

/// A protocol as a terminal speaks it. One value a terminal; no I/O and no clock.
pub trait Agent: Send {
    /// Which.
    fn protocol(&self) -> Protocol;

    /// s1, with a cookie where it has one. It becomes the transaction under way. `None`: it does not fit.
    fn write_s1(&mut self, env: &Env<'_>, rng: &mut dyn Random, s1: &S1<'_>) -> Option<Vec<u8>>;

    /// s7, likewise.
    fn write_s7(&mut self, env: &Env<'_>, rng: &mut dyn Random, s7: &S7<'_>) -> Option<Vec<u8>>;

    /// The transaction id of the s1 or s7 written last, by which the owner of several terminals finds this one where an
    /// answer bears no N1.
    fn transaction(&self) -> Option<u32> {
        None
    }

    /// Reads an unprotected message from the proxy. What is written to `reply` is sent back at once, unprotected (the
    /// protocol's own receipt), whether the message is awaited or not; the answers to what is under way are the only
    /// messages that may be obeyed.
    fn read<'m>(&mut self, env: &Env<'_>, message: &'m [u8], text: &'m mut Text, reply: &mut Vec<u8>) -> Reading<'m>;

    /// `message` is an s10 that was accepted: what it says is true. Its session is not active yet.
    fn on_keyed(&mut self, _message: &[u8]) {}

    /// The session is active, for the first time or under a new key.
    fn on_active(&mut self, _ctx: &mut Ctx<'_>) {}

    /// The session is over: what is under way inside will not be answered.
    fn on_ended(&mut self, ctx: &mut Ctx<'_>);

    /// A message from inside the session.
    fn on_inside(&mut self, ctx: &mut Ctx<'_>, message: &[u8]);

    /// The registration is to be refreshed inside the session; [`Ctx::refreshed`] or [`Ctx::register_anew`] follows.
    fn refresh(&mut self, ctx: &mut Ctx<'_>);

    /// The registration is to be ended inside the session; [`Ctx::deregistered`] follows, or [`Event::Response`] where
    /// it is refused. False: not possible now.
    fn deregister(&mut self, ctx: &mut Ctx<'_>) -> bool;

    /// Sends something that the core answers: proves the key both ways, end to end. The number that
    /// [`Event::Response`] will bear; `None`: not possible now.
    fn probe(&mut self, ctx: &mut Ctx<'_>) -> Option<u32>;

    /// Time has passed: repeat what is under way inside the session, give it up.
    fn on_timer(&mut self, _ctx: &mut Ctx<'_>) {}

    /// When [`Agent::on_timer`] has something to do, monotonic milliseconds.
    fn next_deadline(&self) -> Option<u64> {
        None
    }
}

impl<A: Agent + ?Sized> Agent for Box<A> {
    fn protocol(&self) -> Protocol {
        (**self).protocol()
    }
    fn write_s1(&mut self, env: &Env<'_>, rng: &mut dyn Random, s1: &S1<'_>) -> Option<Vec<u8>> {
        (**self).write_s1(env, rng, s1)
    }
    fn write_s7(&mut self, env: &Env<'_>, rng: &mut dyn Random, s7: &S7<'_>) -> Option<Vec<u8>> {
        (**self).write_s7(env, rng, s7)
    }
    fn transaction(&self) -> Option<u32> {
        (**self).transaction()
    }
    fn read<'m>(&mut self, env: &Env<'_>, message: &'m [u8], text: &'m mut Text, reply: &mut Vec<u8>) -> Reading<'m> {
        (**self).read(env, message, text, reply)
    }
    fn on_keyed(&mut self, message: &[u8]) {
        (**self).on_keyed(message);
    }
    fn on_active(&mut self, ctx: &mut Ctx<'_>) {
        (**self).on_active(ctx);
    }
    fn on_ended(&mut self, ctx: &mut Ctx<'_>) {
        (**self).on_ended(ctx);
    }
    fn on_inside(&mut self, ctx: &mut Ctx<'_>, message: &[u8]) {
        (**self).on_inside(ctx, message);
    }
    fn refresh(&mut self, ctx: &mut Ctx<'_>) {
        (**self).refresh(ctx);
    }
    fn deregister(&mut self, ctx: &mut Ctx<'_>) -> bool {
        (**self).deregister(ctx)
    }
    fn probe(&mut self, ctx: &mut Ctx<'_>) -> Option<u32> {
        (**self).probe(ctx)
    }
    fn on_timer(&mut self, ctx: &mut Ctx<'_>) {
        (**self).on_timer(ctx);
    }
    fn next_deadline(&self) -> Option<u64> {
        (**self).next_deadline()
    }
}

/// What an agent may use while it is called about its session.
pub struct Ctx<'a> {
    /// The time.
    pub now: Now,
    /// Where randomness comes from.
    pub rng: &'a mut dyn Random,
    pub(crate) base: &'a mut Base,
}

impl core::fmt::Debug for Ctx<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Ctx(..)")
    }
}

impl Ctx<'_> {
    /// Who writes.
    pub fn env(&self) -> Env<'_> {
        self.base.env()
    }

    /// True while there is an active session.
    pub fn is_active(&self) -> bool {
        self.base.session.is_some()
    }

    /// Sends a message inside the session; false: there is none, or it is worn out.
    pub fn say(&mut self, message: &[u8]) -> bool {
        let (session, now_ms) = (self.base.session.as_mut(), self.now.mono_ms);
        let sealed = session.and_then(|s| Some((s.to, s.seal(now_ms, message)?)));
        sealed.map(|(to, (path, octets))| self.base.send(path, to, octets)).is_some()
    }

    /// As [`Ctx::say`], for a repetition, which is counted.
    pub fn repeat(&mut self, message: &[u8]) {
        self.base.tally.repeated += 1;
        self.say(message);
    }

    /// Counts a message that could not be read or is nobody's.
    pub fn ignore(&mut self) {
        self.base.tally.ignored += 1;
    }

    /// Tells the owner.
    pub fn tell(&mut self, event: Event) {
        self.base.events.push_back(event);
    }

    /// The core granted a refresh: `expires_s` seconds from now; 0: no further refresh.
    pub fn refreshed(&mut self, expires_s: u32) {
        if let Some(session) = &mut self.base.session {
            session.refreshed(self.now.mono_ms, expires_s, self.rng);
            self.base.events.push_back(Event::Refreshed { expires_s });
        }
    }

    /// The core forgot the registration or wants proof again: a new one beside the session, unless one is under way.
    pub fn register_anew(&mut self) {
        self.base.wish = Some(Wish::Anew);
    }

    /// The core granted the de-registration, or nobody answers it at all: the terminal comes to rest.
    pub fn deregistered(&mut self) {
        self.base.wish = Some(Wish::Rest);
    }
}

/// Which of several terminals behind one socket an unprotected message of this protocol is for, read without checking
/// the rest. `None`: it does not say.
pub fn tag_of(protocol: Protocol, message: &[u8]) -> Option<Tag> {
    match protocol {
        Protocol::Sip => crate::sip::call_id_tag(message).map(Tag::Owner),
        Protocol::Mgcp => crate::mgcp::tag_of(message),
        Protocol::H248 => crate::h248::tag_of(message),
        Protocol::Ras => crate::ras::tag_of(message),
    }
}
