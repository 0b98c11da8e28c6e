//! The terminal's role: registers, proves that it knows Kc, checks the proxy, and keeps a session alive.
//!
//! ```text
//!              start                on_challenge              on_key                  on_protected
//!   Idle ────────────► AwaitS6 ────────────────► AwaitS10 ────────────► Confirming ───────────────► Idle
//!    ▲                 │  ▲  │ cookie, stale:     │    ▲ renewed          │ protected, every            + session
//!    │                 │  └──┘ s1 again           │    └─┘ challenge      │ 0.5, 1, 2, 4 .. s
//!    │ time over       │                          │                       │
//!    └──── BackOff ◄───┴── refusal, silence ──────┴─── s10 not acceptable ┴── nothing verified in 30 s
//! ```
//!
//! The session stands beside this: a registration under way leaves the old session as it is until the new one is
//! confirmed (make before break), and an old session ends at its own time, whatever becomes of the attempt.
//!
//! What a refusal may do is wait, correct the clock, or repeat s1 with a cookie. It cannot touch the list: refusals
//! are unauthenticated, and a terminal that offered less because of one could be talked down.

use crate::bugs::{Bug, planted};
use crate::ident::{Idc, IdcBuf, Idsp, IdspBuf, N1, Rand, Word};
use crate::mech::{MechList, Sel};
use crate::schedule::{For, Key, Prk, Secret, TrafficCtx, WrapCtx, message_mac, words_equal};
use crate::steps::{Refusal, S1, S6, S7};
use crate::timing::{Due, Repeating, below};
use crate::world::{Now, Random};
use portunus_codec::hex_decode;
use std::sync::Arc;

mod face;

pub use face::{Config, Established, Failure, KeyMessage, Next, Reject, Todo, Why};

#[derive(Debug, Clone, Copy)]
enum Attempt {
    Idle,
    BackOff { until_ms: u64 },
    AwaitS6 { n1a: N1, repeat: Repeating, cookies: u8 },
    AwaitS10 { n1a: N1, n1b: N1, rand: Rand, repeat: Repeating, challenges: u8 },
    Confirming { repeat: Repeating, life_s: u32 },
}

#[derive(Debug, Clone, Copy)]
struct Session {
    renew_at_ms: u64,
    ends_at_ms: u64,
}

/// One terminal.
#[derive(Debug)]
pub struct Terminal {
    idc: IdcBuf,
    idsp: IdspBuf,
    prk: Prk,
    config: Arc<Config>,
    /// The SPI and inner port that it receives ESP under.
    receiving: Option<(u32, u16)>,
    /// What the proxy's clock is ahead of ours, learnt from its refusals.
    offset_ms: i64,
    failures: u32,
    /// Clock corrections within the registration under way.
    corrections: u8,
    attempt: Attempt,
    session: Option<Session>,
}

impl Terminal {
    /// A terminal that has not registered yet. The key is not kept; what it derives is.
    pub fn new(idc: Idc<'_>, idsp: Idsp<'_>, key: &Key, config: Arc<Config>) -> Self {
        Self {
            idc: idc.into(),
            idsp: idsp.into(),
            prk: key.prk(),
            config,
            receiving: None,
            offset_ms: 0,
            failures: 0,
            corrections: 0,
            attempt: Attempt::Idle,
            session: None,
        }
    }

    /// Who it is, and whose proxy it registers through.
    pub fn names(&self) -> (Idc<'_>, Idsp<'_>) {
        (self.idc.as_idc(), self.idsp.as_idsp())
    }

    /// Names the SPI and the inner port that the terminal receives ESP under, for the registrations begun from now on.
    /// Every one of them needs its own SPI: the session before it lives until it is confirmed.
    pub const fn receive_at(&mut self, spi: u32, port: u16) {
        self.receiving = Some((spi, port));
    }

    /// What is offered.
    pub fn mechs(&self) -> MechList {
        let told = self.receiving.and_then(|(spi, port)| self.config.mechs.receiving(spi, port));
        told.unwrap_or(self.config.mechs)
    }

    /// Begins a registration, also one that is to replace a living session: s1, to be sent now.
    pub fn start(&mut self, now: Now, rng: &mut dyn Random) -> S1<'_> {
        self.corrections = 0;
        self.begin(now, N1::from_bits(rng.next_u64()), 0)
    }

    /// s6: the challenge. Returns s7, to be sent now; from here on [`Todo::Repeat`] means s7.
    ///
    /// # Errors
    /// [`Reject`]; unless it is [`Reject::NotAwaited`], the registration is given up and begins afresh later.
    pub fn on_challenge<'a>(&'a mut self, now: Now, rng: &mut dyn Random, s6: &S6<'a>) -> Result<S7<'a>, Reject> {
        let (n1a, awaited, challenges, repeat) = match self.attempt {
            Attempt::AwaitS6 { n1a, repeat, .. } => (n1a, n1a, 0, repeat),
            Attempt::AwaitS10 { n1a, n1b, challenges, repeat, .. } => (n1a, n1b, challenges, repeat),
            _ => return Err(Reject::NotAwaited),
        };
        if s6.n1 != awaited {
            return Err(Reject::NotAwaited);
        }
        if let Err(reject) = self.judge_challenge(now, s6, challenges) {
            if reject == Reject::Clock {
                // A proxy with a wider window than ours never says stale; what it says here is as good.
                self.correct_clock(now, s6.ts);
            }
            return Err(self.reject(now, rng, reject));
        }
        if self.is_late(now, s6, &repeat) {
            // No failure of anybody's: afresh, without waiting.
            self.attempt = Attempt::BackOff { until_ms: now.mono_ms };
            return Err(Reject::Late);
        }
        let n1b = N1::from_bits(rng.next_u64());
        let repeat = Repeating::begin(self.config.repeat, now);
        self.attempt = Attempt::AwaitS10 { n1a, n1b, rand: s6.rand, repeat, challenges: challenges + 1 };
        let (idc, idsp) = self.names();
        Ok(S7 {
            idc,
            idsp: Some(idsp),
            n1: n1b,
            n2: s6.n2,
            ts: self.own_ts(now),
            rand: Some(s6.rand),
            auth_c: self.prk.word(idc, idsp, &s6.rand),
            mechs: self.mechs(),
        })
    }

    fn judge_challenge(&self, now: Now, s6: &S6<'_>, challenges: u8) -> Result<(), Reject> {
        if s6.idsp != self.idsp.as_idsp() {
            Err(Reject::Proxy)
        } else if !self.in_window(now, s6.ts) {
            Err(Reject::Clock)
        } else if challenges >= self.config.challenges {
            Err(Reject::TooMany)
        } else {
            Ok(())
        }
    }

    /// True when the proxy has forgotten the challenge by now. Its TS alone does not say so, for clocks may differ by
    /// the window: what answers a message cannot be older than that message is.
    fn is_late(&self, now: Now, s6: &S6<'_>, asked: &Repeating) -> bool {
        let life = self.config.challenge_ms;
        now.mono_ms.saturating_sub(asked.began_ms()) > life && self.own_ts(now).saturating_sub(s6.ts) > life
    }

    /// The stateless cookie: s1 again with it, the same N1 and a new TS. `ts` is the proxy's clock, which it says
    /// here already.
    ///
    /// # Errors
    /// [`Reject`], as [`Terminal::on_challenge`].
    pub fn on_cookie<'a>(
        &'a mut self,
        now: Now,
        rng: &mut dyn Random,
        n1: &N1,
        ts: u64,
        cookie: &'a [u8],
    ) -> Result<S1<'a>, Reject> {
        let Attempt::AwaitS6 { n1a, cookies, .. } = self.attempt else {
            return Err(Reject::NotAwaited);
        };
        if *n1 != n1a {
            return Err(Reject::NotAwaited);
        }
        if cookies >= self.config.repeats_of_s1 {
            return Err(self.reject(now, rng, Reject::TooMany));
        }
        if !self.in_window(now, ts) {
            self.correct_clock(now, ts);
        }
        let s1 = self.begin(now, n1a, cookies + 1);
        Ok(S1 { cookie: Some(cookie), ..s1 })
    }

    /// Whoever answers the message under way is at it, and says for how many milliseconds more; see [`Repeating::postpone`].
    pub fn on_progress(&mut self, now: Now, delay_ms: u32) {
        if let Attempt::AwaitS6 { repeat, .. } | Attempt::AwaitS10 { repeat, .. } = &mut self.attempt {
            repeat.postpone(now, delay_ms);
        }
    }

    /// A refusal of the message under way. `n1` is the N1 that it names, where its protocol names one.
    ///
    /// # Errors
    /// [`Reject::NotAwaited`] when it belongs to nothing under way.
    pub fn on_refusal(
        &mut self,
        now: Now,
        rng: &mut dyn Random,
        n1: Option<&N1>,
        refusal: &Refusal,
    ) -> Result<Next<'_>, Reject> {
        let own = match &self.attempt {
            Attempt::AwaitS6 { n1a, .. } => *n1a,
            Attempt::AwaitS10 { n1b, .. } => *n1b,
            _ => return Err(Reject::NotAwaited),
        };
        if n1.is_some_and(|n1| *n1 != own) {
            return Err(Reject::NotAwaited);
        }
        if let Refusal::Stale { ts } = refusal {
            self.correct_clock(now, *ts);
            if self.corrections < self.config.repeats_of_s1 {
                self.corrections += 1;
                return Ok(Next::Send(self.begin(now, N1::from_bits(rng.next_u64()), 0)));
            }
        }
        let retry_after_s = match refusal {
            Refusal::Busy { retry_after_s } => Some(*retry_after_s),
            _ => None,
        };
        Ok(Next::Wait { until_ms: self.back_off(now, rng, retry_after_s) })
    }

    /// s10: the key. On success the caller derives the traffic keys, sends a protected message without content at
    /// once, and goes on as [`Todo`] says.
    ///
    /// # Errors
    /// [`Reject`]; unless it is [`Reject::NotAwaited`], the key is discarded, this N1 is spent, and the registration
    /// begins afresh later.
    pub fn on_key(&mut self, now: Now, rng: &mut dyn Random, key: &KeyMessage<'_>) -> Result<Established, Reject> {
        let Attempt::AwaitS10 { n1a, n1b, rand, .. } = self.attempt else {
            return Err(Reject::NotAwaited);
        };
        if key.s10.n1 != n1b {
            return Err(Reject::NotAwaited);
        }
        match self.judge_key(now, key, &n1a, &rand) {
            Ok(established) => {
                let repeat = Repeating::begin(self.config.confirm, now);
                self.attempt = Attempt::Confirming { repeat, life_s: established.life_s };
                Ok(established)
            }
            Err(reject) => Err(self.reject(now, rng, reject)),
        }
    }

    /// Every rule of spec section 2 on s10, the MAC before anything that it protects.
    fn judge_key(&self, now: Now, key: &KeyMessage<'_>, n1a: &N1, rand: &Rand) -> Result<Established, Reject> {
        let (s10, (idc, idsp)) = (&key.s10, self.names());
        let ctx = WrapCtx { idc, idsp, rand, n1a };
        let session_key = self.prk.unwrap(For::Terminal, &ctx, &s10.ekc).map_err(|_| Reject::Wrap)?;
        let secret = session_key.secret(rand);
        if !mac_verifies(&secret, key) && !planted(Bug::MacUnchecked) {
            return Err(Reject::Mac);
        }
        if s10.idsp != idsp {
            return Err(Reject::Proxy);
        }
        if !self.in_window(now, s10.ts) {
            return Err(Reject::Clock);
        }
        let offered = self.mechs();
        if s10.mechs != offered.as_str() && !planted(Bug::ListUnchecked) {
            return Err(Reject::List);
        }
        let sel = Sel::parse(s10.sel).map_err(|_| Reject::Mechanism)?;
        if !offered.get(sel.mech()).is_some_and(|entry| entry.is_complete()) || !sel.is_complete() {
            return Err(Reject::Mechanism);
        }
        if !key.terms_kept {
            return Err(Reject::Terms);
        }
        Ok(Established { secret, sel, n1b: s10.n1, n2b: s10.n2, life_s: s10.life })
    }

    /// What the traffic keys of an accepted key are bound to.
    pub fn traffic_ctx<'a>(&'a self, established: &'a Established) -> TrafficCtx<'a> {
        let (idc, idsp) = self.names();
        let token = established.sel.mech().token();
        TrafficCtx { idc, idsp, n1b: &established.n1b, n2b: &established.n2b, token }
    }

    /// Something protected verified under the newest key. True when that made its session active: the one before it
    /// ends now, and the caller forgets its keys.
    pub fn on_protected(&mut self, now: Now, rng: &mut dyn Random) -> bool {
        let Attempt::Confirming { life_s, .. } = self.attempt else {
            return false;
        };
        let life_ms = u64::from(life_s) * 1000;
        let (from, to) = self.config.renew_permille;
        let permille = u64::from(from) + below(rng, u64::from(to.saturating_sub(from)) + 1);
        let renew_at_ms = now.mono_ms + life_ms / 1000 * permille;
        self.session = Some(Session { renew_at_ms, ends_at_ms: now.mono_ms + life_ms });
        self.attempt = Attempt::Idle;
        self.failures = 0;
        true
    }

    /// Asks for a new key before its time, because sequence numbers run low: [`Todo::Start`] follows at the next
    /// timer.
    pub fn renew(&mut self, now: Now) {
        if let Some(session) = &mut self.session {
            session.renew_at_ms = session.renew_at_ms.min(now.mono_ms);
        }
    }

    /// The session no longer works (its messages stay unanswered: the proxy forgot it). Registers afresh after a
    /// back-off, because every other terminal of that proxy notices too.
    pub fn session_lost(&mut self, now: Now, rng: &mut dyn Random) {
        self.session = None;
        if matches!(self.attempt, Attempt::Idle) {
            self.back_off(now, rng, None);
        }
    }

    /// De-registered: forgets session and attempt and does nothing until [`Terminal::start`].
    pub fn stop(&mut self) {
        self.session = None;
        self.attempt = Attempt::Idle;
        self.failures = 0;
    }

    /// True while there is a confirmed session whose key lives.
    pub fn is_active(&self) -> bool {
        self.session.is_some()
    }

    /// When [`Terminal::on_timer`] has something to do next (monotonic milliseconds), and why.
    pub fn next_deadline(&self) -> Option<(u64, Why)> {
        let attempt = match &self.attempt {
            Attempt::Idle => self.session.map(|s| (s.renew_at_ms, Why::Renewal)),
            Attempt::BackOff { until_ms } => Some((*until_ms, Why::BackOff)),
            Attempt::AwaitS6 { repeat, .. } | Attempt::AwaitS10 { repeat, .. } => {
                Some((repeat.deadline().0, Why::Answer))
            }
            Attempt::Confirming { repeat, .. } => Some((repeat.deadline().0, Why::Confirmation)),
        };
        let end = self.session.map(|s| (s.ends_at_ms, Why::SessionEnd));
        match (attempt, end) {
            (Some(a), Some(e)) => Some(if a.0 <= e.0 { a } else { e }),
            (a, e) => a.or(e),
        }
    }

    /// What is due now; called until it returns `None`.
    pub fn on_timer(&mut self, now: Now, rng: &mut dyn Random) -> Option<Todo> {
        if self.session.is_some_and(|s| s.ends_at_ms <= now.mono_ms) {
            self.session_lost(now, rng);
            return Some(Todo::SessionEnded);
        }
        let failure = match &mut self.attempt {
            Attempt::Idle => {
                let due = self.session.is_some_and(|s| s.renew_at_ms <= now.mono_ms);
                return due.then(|| self.ask_to_start(now));
            }
            Attempt::BackOff { until_ms } => {
                let due = *until_ms <= now.mono_ms;
                return due.then(|| self.ask_to_start(now));
            }
            Attempt::AwaitS6 { repeat, .. } | Attempt::AwaitS10 { repeat, .. } => match repeat.poll(now)? {
                Due::Repeat => return Some(Todo::Repeat),
                Due::GiveUp => Failure::Silence,
            },
            Attempt::Confirming { repeat, .. } => match repeat.poll(now)? {
                Due::Repeat => return Some(Todo::Confirm),
                Due::GiveUp => Failure::Unconfirmed,
            },
        };
        self.back_off(now, rng, None);
        Some(Todo::GaveUp(failure))
    }

    /// Says `Start`, and says so again a little later should nobody listen.
    fn ask_to_start(&mut self, now: Now) -> Todo {
        self.attempt = Attempt::BackOff { until_ms: now.mono_ms + u64::from(self.config.back_off.first_ms.max(1)) };
        Todo::Start
    }

    fn begin(&mut self, now: Now, n1a: N1, cookies: u8) -> S1<'_> {
        self.attempt = Attempt::AwaitS6 { n1a, repeat: Repeating::begin(self.config.repeat, now), cookies };
        let (idc, idsp) = self.names();
        S1 { idc, idsp, n1: n1a, ts: self.own_ts(now), cookie: None }
    }

    /// Ends the attempt: whatever N1 it had is spent.
    fn back_off(&mut self, now: Now, rng: &mut dyn Random, retry_after_s: Option<u32>) -> u64 {
        self.failures = self.failures.saturating_add(1);
        let until_ms = now.mono_ms + self.config.back_off.delay_ms(self.failures, retry_after_s, rng);
        self.attempt = Attempt::BackOff { until_ms };
        until_ms
    }

    fn reject(&mut self, now: Now, rng: &mut dyn Random, reject: Reject) -> Reject {
        self.back_off(now, rng, None);
        reject
    }

    fn own_ts(&self, now: Now) -> u64 {
        now.wall_ms.saturating_add_signed(self.offset_ms)
    }

    fn in_window(&self, now: Now, ts: u64) -> bool {
        self.own_ts(now).abs_diff(ts) <= self.config.window_ms
    }

    fn correct_clock(&mut self, now: Now, ts: u64) {
        let ahead = i128::from(ts) - i128::from(now.wall_ms);
        self.offset_ms = i64::try_from(ahead).unwrap_or(self.offset_ms);
    }
}

/// The MAC over the octets received, compared in constant time with what stands in its field.
fn mac_verifies(secret: &Secret, key: &KeyMessage<'_>) -> bool {
    let Some(field) = key.message.get(key.mac_field.clone()) else {
        return false;
    };
    let (placeholder, received): (&[u8], Option<Word>) = match field.len() {
        64 => (&[b'0'; 64], hex_decode(field)),
        32 => (&[0; 32], field.try_into().ok()),
        _ => return false,
    };
    let mac_key = secret.mac_key();
    let own = message_mac(&mac_key, key.message, key.mac_field.clone(), placeholder);
    match (own, received) {
        (Some(own), Some(received)) => words_equal(&own, &received),
        _ => false,
    }
}
