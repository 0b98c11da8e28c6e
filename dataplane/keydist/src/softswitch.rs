//! The softswitch's role: asks the AuC, keeps the first verification word, compares it with the second.
//!
//! ```text
//!   on_s2             on_s4                   on_s8, words equal
//!  ───────► AwaitS4 ─────────► Challenged ──────────────────────► Over: s9 to the proxy, s11 to the AuC
//!              ▲                 │   │ words differ, none left
//!              │ words differ,   │   └──────────────────────────► Over: the one refusal
//!              └ retries left ───┘
//!  AwaitS4, Challenged: time over ──────────────────────────────► Over
//! ```
//!
//! One value a registration; the table that finds it, by N1a before there is a Rand and by (IDc, Rand) after, belongs
//! to the softswitch. A challenge serves one s8. Every refusal takes the same way through the comparison, so that its
//! time tells nothing; the word is erased when the registration is over.

use crate::ident::{Idc, IdcBuf, Idsp, IdspBuf, N1, Rand, Word, Wrap};
use crate::schedule::words_equal;
use crate::steps::{Registration as Event, S2, S3, S4, S5, S8, S9, S11};
use crate::world::Now;
use zeroize::Zeroize as _;

/// Most renewed challenges that a policy may allow (spec section 2).
pub const RETRIES_MAX: u8 = 3;

/// What a softswitch allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    retries: u8,
    vector_ms: u32,
    challenge_ms: u32,
}

impl Policy {
    /// `retries`: renewed challenges after a wrong word, 0 to [`RETRIES_MAX`]. `vector_ms`: how long to wait for the
    /// AuC. `challenge_ms`: how long to wait for s8; the proxy's own limit on s7 is the stricter one. `None` when
    /// `retries` is out of range or a time is 0, which is the configuration's fault.
    pub const fn new(retries: u8, vector_ms: u32, challenge_ms: u32) -> Option<Self> {
        if retries > RETRIES_MAX || vector_ms == 0 || challenge_ms == 0 {
            return None;
        }
        Some(Self { retries, vector_ms, challenge_ms })
    }
}

impl Default for Policy {
    /// One retry, 4 s for the AuC, 14 s for the terminal: its 10 s and the way through the proxy.
    fn default() -> Self {
        Self { retries: 1, vector_ms: 4000, challenge_ms: 14_000 }
    }
}

/// The step came when it was not awaited: a duplicate, or too late. Nothing changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotAwaited;

impl core::fmt::Display for NotAwaited {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("this step is not awaited")
    }
}

impl core::error::Error for NotAwaited {}

/// What became of an s8.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict<'a> {
    /// The words are equal: s9 for the proxy, s11 for the AuC.
    Granted(S9, S11<'a>),
    /// They differ: ask the AuC for another vector; s5 follows its answer.
    Again(S3<'a>),
    /// The one refusal.
    Refused,
}

#[derive(Clone)]
enum State {
    AwaitS4 { until_ms: u64 },
    Challenged { rand: Rand, word: Word, ekc: Wrap, eksp: Wrap, until_ms: u64 },
    Over,
}

impl Drop for State {
    fn drop(&mut self) {
        if let Self::Challenged { word, .. } = self {
            word.zeroize();
        }
    }
}

/// One registration on its way.
#[derive(Clone)]
pub struct Registration {
    idc: IdcBuf,
    idsp: IdspBuf,
    n1a: N1,
    policy: Policy,
    retries_left: u8,
    state: State,
}

impl core::fmt::Debug for Registration {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let state = match self.state {
            State::AwaitS4 { .. } => "AwaitS4",
            State::Challenged { .. } => "Challenged",
            State::Over => "Over",
        };
        write!(f, "Registration({}, {state})", self.idc.as_idc().as_str())
    }
}

impl Registration {
    /// s2: begins. Send [`Registration::ask`] to the AuC.
    pub fn on_s2(now: Now, s2: &S2<'_>, policy: Policy) -> Self {
        Self {
            idc: s2.idc.into(),
            idsp: s2.idsp.into(),
            n1a: s2.n1,
            policy,
            retries_left: policy.retries,
            state: State::AwaitS4 { until_ms: now.mono_ms + u64::from(policy.vector_ms) },
        }
    }

    /// s3, the first time and every time: always with the N1 of the registration's s1.
    pub fn ask(&self) -> S3<'_> {
        let (idc, idsp) = self.names();
        S3 { idc, idsp, n1: self.n1a }
    }

    /// s4: the vector. Returns s5 for the proxy. That there is a vector says nothing about the terminal.
    ///
    /// # Errors
    /// [`NotAwaited`]
    pub fn on_s4(&mut self, now: Now, s4: &S4) -> Result<S5<'_>, NotAwaited> {
        match self.state {
            State::AwaitS4 { until_ms } if now.mono_ms < until_ms => {}
            _ => return Err(NotAwaited),
        }
        let until_ms = now.mono_ms + u64::from(self.policy.challenge_ms);
        let S4 { rand, auth_c, ekc, eksp } = *s4;
        self.state = State::Challenged { rand, word: auth_c, ekc, eksp, until_ms };
        let (idc, idsp) = self.names();
        Ok(S5 { idc, idsp, rand })
    }

    /// s8: the answer. Uses the challenge up, whatever it says.
    ///
    /// # Errors
    /// [`NotAwaited`] when there is no challenge, or not this Rand, IDc or IDsp: a stray copy spoils nothing.
    pub fn on_s8(&mut self, now: Now, s8: &S8<'_>) -> Result<Verdict<'_>, NotAwaited> {
        let State::Challenged { rand, word, ekc, eksp, until_ms } = &self.state else {
            return Err(NotAwaited);
        };
        if s8.rand != *rand || (s8.idc, s8.idsp) != (self.idc.as_idc(), self.idsp.as_idsp()) {
            return Err(NotAwaited);
        }
        // Compared in any case: an expired challenge must not be refused faster than a wrong word.
        let equal = words_equal(word, &s8.auth_c);
        let granted = equal & (now.mono_ms < *until_ms);
        let (s9, rand) = (S9 { ekc: *ekc, eksp: *eksp }, *rand);
        if granted {
            self.state = State::Over;
            let (idc, idsp) = self.names();
            let s11 = S11 { idc, idsp, rand, ipc: s8.ipc, event: Event::Start };
            return Ok(Verdict::Granted(s9, s11));
        }
        if self.retries_left == 0 {
            self.state = State::Over;
            return Ok(Verdict::Refused);
        }
        self.retries_left -= 1;
        self.state = State::AwaitS4 { until_ms: now.mono_ms + u64::from(self.policy.vector_ms) };
        Ok(Verdict::Again(self.ask()))
    }

    /// Who registers, and through whom.
    pub fn names(&self) -> (Idc<'_>, Idsp<'_>) {
        (self.idc.as_idc(), self.idsp.as_idsp())
    }

    /// The challenge under way: with the IDc, what s8 is matched by.
    pub fn rand(&self) -> Option<&Rand> {
        match &self.state {
            State::Challenged { rand, .. } => Some(rand),
            _ => None,
        }
    }

    /// The N1 of the registration's s1: what s4 is matched by.
    pub fn n1a(&self) -> &N1 {
        &self.n1a
    }

    /// Renewed challenges that are left.
    pub fn retries_left(&self) -> u8 {
        self.retries_left
    }

    /// Until when (monotonic milliseconds) the next step is awaited; `None` when it is over.
    pub fn deadline(&self) -> Option<u64> {
        match self.state {
            State::AwaitS4 { until_ms } | State::Challenged { until_ms, .. } => Some(until_ms),
            State::Over => None,
        }
    }

    /// The deadline may have passed. True when the registration is over and may be forgotten.
    pub fn on_timer(&mut self, now: Now) -> bool {
        if self.deadline().is_some_and(|until| until <= now.mono_ms) {
            self.state = State::Over;
        }
        matches!(self.state, State::Over)
    }
}
