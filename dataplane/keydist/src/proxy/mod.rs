//! The proxy's role: what may be believed of an s1 or s7 before the core is asked, and what is remembered of it.
//!
//! [`Proxy`] checks in the order that the spec's section 2 asks for, so that a stale or misdirected copy never spoils
//! the real message: whose proxy, which address (N2a), which clock, and only then whether it was used before. A check
//! changes nothing; the caller, once it has room to carry the registration on, says so with [`Proxy::accept`], and only
//! that marks N1 and the challenge as used. The life of a registration is drawn in [`exchange`].
//!
//! Deliberately absent: tables of registrations and sessions (the engine's), syntax, sockets, the core's answers'
//! transport.

pub mod challenge;
pub mod cookie;
pub mod exchange;
pub mod lockout;
pub mod replay;
pub mod source;
pub mod veil;

pub use challenge::{Challenge, ChallengeFault, Challenges, TOKEN_LEN};
pub use cookie::{COOKIE_LEN, Cookies};
pub use exchange::{Exchange, Granted, NextChallenge};
pub use lockout::{Lock, Lockout, LockoutPolicy};
pub use replay::{Fingerprint, ReplayFull, ReplaySet};
pub use source::{HashKey, ProcessKeys, Source};
pub use veil::{VEIL_LEN, Veil};

use crate::bugs::{Bug, planted};
use crate::ident::{Idc, Idsp, N1, Rand};
use crate::steps::{S1, S7};
use crate::world::Now;

/// What the rules leave open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// How far a TS may be from the proxy's clock, either way, milliseconds.
    pub window_ms: u64,
    /// How long a challenge serves, milliseconds.
    pub challenge_ms: u64,
    /// What repeated failures cost.
    pub lockout: LockoutPolicy,
}

impl Default for Rules {
    fn default() -> Self {
        Self { window_ms: 30_000, challenge_ms: 10_000, lockout: LockoutPolicy::default() }
    }
}

/// Fixed sizes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
    /// Fingerprints in the replay set.
    pub replay: usize,
    /// Suspects remembered.
    pub lockout: usize,
}

/// Why a registration is not carried on. Always the peer's doing, but for `Full`, which is a limit of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reject {
    /// It is for another proxy.
    WrongProxy,
    /// Its TS is outside the window.
    Stale,
    /// Its (IDc, N1) was accepted before.
    Replayed,
    /// It has to bring a cookie first.
    CookieMissing,
    /// Its cookie does not verify.
    CookieWrong,
    /// Its N2 was not made here for this source and IDc, or its nonce is not the one that N2 seals.
    ChallengeInvalid,
    /// Its challenge is too old.
    ChallengeExpired,
    /// Its challenge has served before.
    ChallengeReused,
    /// It failed too often and has to wait so many milliseconds.
    Wait(u64),
    /// It failed far too often: no answer at all.
    Ignore,
}

/// A registration that passed every check and has changed nothing yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "only Proxy::accept marks it as used"]
pub struct Fresh {
    n1: Fingerprint,
    challenge: Option<Fingerprint>,
    /// What the core's answer will be bound to.
    pub exchange: Exchange,
    /// Of an s7: the softswitch that its challenge is of, as [`Proxy::challenge`] was told; else 0.
    pub home: u8,
}

/// What a registration is looked up by in the role's tables, found out before its turn comes: the tables are large, and
/// reading a little of them ahead ([`Proxy::touch`]) lets the misses of a batch overlap.
#[derive(Debug, Clone, Copy)]
pub struct Look {
    n1: Fingerprint,
    who: u128,
    /// Of an s7: the name of the challenge that it seems to answer.
    challenge: Option<([u8; challenge::NONCE], Fingerprint)>,
}

/// True when `ts` is at most `window_ms` from the clock, either way.
pub const fn is_fresh(now: Now, ts: u64, window_ms: u64) -> bool {
    now.wall_ms.abs_diff(ts) <= window_ms
}

/// The role machine.
#[derive(Debug)]
pub struct Proxy {
    challenges: Challenges,
    cookies: Cookies,
    replay: ReplaySet,
    lockout: Lockout,
    hash: HashKey,
    rules: Rules,
}

impl Proxy {
    /// For one worker of the process whose secrets these are. Reserves all memory that it will ever use.
    pub fn new(keys: &ProcessKeys, worker: u8, sizes: Sizes, rules: Rules) -> Self {
        Self {
            challenges: Challenges::new(keys, worker),
            cookies: Cookies::new(keys),
            replay: ReplaySet::new(sizes.replay, rules.window_ms),
            lockout: Lockout::new(sizes.lockout, rules.lockout),
            hash: keys.hash().clone(),
            rules,
        }
    }

    /// Other rules from now on.
    pub fn set_rules(&mut self, rules: Rules) {
        self.replay.set_every(rules.window_ms);
        self.lockout.set_policy(rules.lockout);
        self.rules = rules;
    }

    fn print_n1(&self, idc: Idc<'_>, n1: &N1) -> Fingerprint {
        Fingerprint::new(&self.hash, b'N', &[idc.as_bytes(), n1.as_bytes()])
    }

    fn print_challenge(&self, id: &[u8]) -> Fingerprint {
        Fingerprint::new(&self.hash, b'C', &[id])
    }

    fn look(&self, source: &Source, idc: Idc<'_>, n1: &N1, token: Option<&[u8]>) -> Look {
        let (n1, who) = (self.print_n1(idc, n1), source.suspect(&self.hash, idc.as_bytes()));
        let challenge = token.and_then(Challenges::name).map(|id| (id, self.print_challenge(&id)));
        Look { n1, who, challenge }
    }

    /// Reads a word of each line of the tables that a check will look at. The sum has no meaning.
    pub fn touch(&self, look: &Look) -> u64 {
        let served = look.challenge.map_or(0, |(_, served)| self.replay.touch(served));
        self.replay.touch(look.n1) ^ self.lockout.touch(look.who) ^ served
    }

    /// Looks ahead for [`Proxy::check_s1`].
    pub fn look_s1(&self, source: &Source, s1: &S1<'_>) -> Look {
        self.look(source, s1.idc, &s1.n1, None)
    }

    /// Looks ahead for [`Proxy::check_s7`].
    pub fn look_s7(&self, source: &Source, s7: &S7<'_>) -> Look {
        self.look(source, s7.idc, &s7.n1, Some(s7.n2))
    }

    /// May this source try again for this IDc? Part of every check; alone for what brings no step of PKD1.
    ///
    /// # Errors
    /// [`Reject::Wait`] or [`Reject::Ignore`] after repeated failures.
    pub fn check_lock(&self, now: Now, source: &Source, idc: Idc<'_>) -> Result<(), Reject> {
        self.lock(now, source.suspect(&self.hash, idc.as_bytes()))
    }

    fn lock(&self, now: Now, who: u128) -> Result<(), Reject> {
        match self.lockout.verdict(now.mono_ms, who) {
            Lock::Free => Ok(()),
            Lock::Wait(ms) => Err(Reject::Wait(ms)),
            Lock::Ignore => Err(Reject::Ignore),
        }
    }

    /// May this s1 go on? `look` is [`Proxy::look_s1`] of it, `cookie` says whether it has to bring one. Changes nothing.
    ///
    /// # Errors
    /// [`Reject`]: the first rule that it breaks.
    pub fn check_s1(
        &mut self,
        now: Now,
        source: &Source,
        own: Idsp<'_>,
        (s1, look): (&S1<'_>, &Look),
        cookie: bool,
    ) -> Result<Fresh, Reject> {
        if s1.idsp != own {
            return Err(Reject::WrongProxy);
        }
        if !is_fresh(now, s1.ts, self.rules.window_ms) {
            return Err(Reject::Stale);
        }
        self.lock(now, look.who)?;
        if cookie {
            let brought = s1.cookie.ok_or(Reject::CookieMissing)?;
            if !self.cookies.is_good(now.mono_ms, source, s1.idc, &s1.n1, brought) {
                return Err(Reject::CookieWrong);
            }
        }
        if self.replay.seen(now.mono_ms, look.n1) {
            return Err(Reject::Replayed);
        }
        Ok(Fresh { n1: look.n1, challenge: None, exchange: Exchange::AwaitS5 { n1a: s1.n1 }, home: 0 })
    }

    /// May this s7 go on? `look` is [`Proxy::look_s7`] of it. Changes nothing.
    ///
    /// # Errors
    /// [`Reject`]: the first rule that it breaks.
    pub fn check_s7(
        &mut self,
        now: Now,
        source: &Source,
        own: Idsp<'_>,
        (s7, look): (&S7<'_>, &Look),
    ) -> Result<Fresh, Reject> {
        if s7.idsp.is_some_and(|idsp| idsp != own) {
            return Err(Reject::WrongProxy);
        }
        let opened = self.challenges.open(now.mono_ms, source, s7.idc, s7.n2, self.rules.challenge_ms);
        let challenge = opened.map_err(|fault| match fault {
            ChallengeFault::Invalid => Reject::ChallengeInvalid,
            ChallengeFault::Expired => Reject::ChallengeExpired,
        })?;
        if s7.rand.is_some_and(|rand| rand != challenge.rand) {
            return Err(Reject::ChallengeInvalid);
        }
        if !is_fresh(now, s7.ts, self.rules.window_ms) {
            return Err(Reject::Stale);
        }
        self.lock(now, look.who)?;
        if self.replay.seen(now.mono_ms, look.n1) {
            return Err(Reject::Replayed);
        }
        let served = match look.challenge {
            Some((id, served)) if id == challenge.id => served,
            _ => self.print_challenge(&challenge.id),
        };
        if self.replay.seen(now.mono_ms, served) {
            return Err(Reject::ChallengeReused);
        }
        let exchange = Exchange::AwaitS9 { n1a: challenge.n1a, n1b: s7.n1, rand: challenge.rand };
        Ok(Fresh { n1: look.n1, challenge: Some(served), exchange, home: challenge.home })
    }

    /// The registration goes on: its N1, and the challenge that it answers, are used from now on.
    ///
    /// # Errors
    /// [`ReplayFull`] when that cannot be remembered: then it must not go on.
    pub fn accept(&mut self, now: Now, fresh: &Fresh) -> Result<(), ReplayFull> {
        if planted(Bug::UseUnmarked) {
            return Ok(());
        }
        if let Some(challenge) = fresh.challenge {
            self.replay.mark(now.mono_ms, challenge)?;
        }
        self.replay.mark(now.mono_ms, fresh.n1)
    }

    /// N2a for the s6 that carries `rand` to `source`; `home` says which softswitch the challenge is of, and comes back
    /// with its s7.
    pub fn challenge(
        &mut self,
        now: Now,
        source: &Source,
        idc: Idc<'_>,
        (rand, n1a): (&Rand, &N1),
        home: u8,
    ) -> [u8; TOKEN_LEN] {
        self.challenges.seal_from(now.mono_ms, source, idc, (rand, n1a), home)
    }

    /// A challenge came after a wrong word: true the first time. Where the core repeats its commands until they are
    /// acknowledged, a late copy of one before it would otherwise be sent on as a new one.
    pub fn renews(&mut self, now: Now, idc: Idc<'_>, rand: &Rand) -> bool {
        let of = Fingerprint::new(&self.hash, b'R', &[idc.as_bytes(), rand]);
        let first = !self.replay.seen(now.mono_ms, of);
        // What cannot be remembered leads nowhere: no s7 is accepted then.
        first && self.replay.mark(now.mono_ms, of).is_ok()
    }

    /// The cookie that this s1 has to bring.
    pub fn cookie(&self, now: Now, source: &Source, s1: &S1<'_>) -> [u8; COOKIE_LEN] {
        self.cookies.bake(now.mono_ms, source, s1.idc, &s1.n1)
    }

    /// The core found the words to differ.
    pub fn failed(&mut self, now: Now, source: &Source, idc: Idc<'_>) {
        let who = source.suspect(&self.hash, idc.as_bytes());
        self.lockout.failed(now.mono_ms, who);
    }

    /// The core found the words to be the same.
    pub fn proven(&mut self, source: &Source, idc: Idc<'_>) {
        let who = source.suspect(&self.hash, idc.as_bytes());
        self.lockout.cleared(who);
    }
}

#[cfg(test)]
mod tests;
