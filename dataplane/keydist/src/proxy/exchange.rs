//! One registration under way, as the proxy sees it while the core is asked.
//!
//! ```text
//!            s1 (fresh, not replayed)                 s7 (opens N2a, fresh, not replayed)
//!  nothing ───────────────────────────► AwaitS5         nothing ───────────────► AwaitS9
//!                                        │   │                                    │ │ │
//!      s6 sent, nothing kept ◄── s5 ─────┘   │              s6 anew, ◄── s5 ──────┘ │ │
//!                                            │              nothing kept            │ │
//!      refusal sent ◄── denied, busy, ───────┘              s10 sent, ◄── s9 ───────┘ │
//!                       timeout, evicted                    provisional session       │
//!                                                           refusal sent ◄── denied, ─┘
//!                                                                busy, timeout, no mechanism
//! ```
//!
//! Between s6 and s7 there is no state here at all: N2a holds it, at the terminal ([`super::challenge`]). What follows
//! s10 is the session's life:
//!
//! ```text
//!   s10 ──► Provisional ── first protected message that verifies ──► Active ──► ended: replaced by a newer session,
//!               │                                                                de-registered, lifetime over,
//!               └── 30 s without one, or a newer s10: gone;                      ended by the network
//!                   the previous Active session lives on
//! ```

use crate::batch::OpenJob;
use crate::ident::{Idc, Idsp, N1, Rand, Wrap};
use crate::schedule::WrapCtx;

/// What a registration waits for, and what the rest of it is bound to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exchange {
    /// s2 went to the core.
    AwaitS5 {
        /// N1 of s1.
        n1a: N1,
    },
    /// s8 went to the core.
    AwaitS9 {
        /// N1 of the registration's s1, out of N2a.
        n1a: N1,
        /// N1 of s7.
        n1b: N1,
        /// The challenge answered.
        rand: Rand,
    },
}

/// What an s5 leads to: the next s6.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NextChallenge {
    /// The N1 that s6 repeats: that of the message which it answers.
    pub n1: N1,
    /// The N1 that N2a seals: that of the registration's s1, however often it is challenged.
    pub n1a: N1,
    /// True when this follows a wrong word.
    pub renewed: bool,
}

impl Exchange {
    /// The N1 of the terminal's message that the next answer answers.
    pub const fn n1(&self) -> N1 {
        match *self {
            Self::AwaitS5 { n1a } => n1a,
            Self::AwaitS9 { n1b, .. } => n1b,
        }
    }

    /// An s5 came. `None` when it repeats the challenge that has just been answered: a late copy of the s5 before.
    pub fn on_s5(&self, rand: &Rand) -> Option<NextChallenge> {
        match *self {
            Self::AwaitS5 { n1a } => Some(NextChallenge { n1: n1a, n1a, renewed: false }),
            Self::AwaitS9 { rand: answered, .. } if answered == *rand => None,
            Self::AwaitS9 { n1a, n1b, .. } => Some(NextChallenge { n1: n1b, n1a, renewed: true }),
        }
    }

    /// True when nothing has proven the terminal's source yet: the first to go when room is needed, and what the
    /// limit of three times the octets received applies to.
    pub const fn is_unproven(&self) -> bool {
        matches!(self, Self::AwaitS5 { .. })
    }
}

/// An E_Ksp[K] with what it is bound to, owned: for batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Granted {
    /// N1 of the registration's s1.
    pub n1a: N1,
    /// N1 of s7.
    pub n1b: N1,
    /// The challenge answered.
    pub rand: Rand,
    /// The session key under Kc, to be passed on.
    pub ekc: Wrap,
    /// The session key under Ksp, to be opened and not passed on.
    pub eksp: Wrap,
}

impl Granted {
    /// From the exchange and the core's s9; `None` when no s7 was sent on.
    pub const fn new(exchange: &Exchange, s9: &crate::steps::S9) -> Option<Self> {
        match *exchange {
            Exchange::AwaitS9 { n1a, n1b, rand } => Some(Self { n1a, n1b, rand, ekc: s9.ekc, eksp: s9.eksp }),
            Exchange::AwaitS5 { .. } => None,
        }
    }

    /// What is to be opened, and what it is bound to: the N1 of s1, also after a wrong word.
    pub const fn open_job<'a>(&'a self, idc: Idc<'a>, idsp: Idsp<'a>) -> OpenJob<'a> {
        OpenJob { ctx: WrapCtx { idc, idsp, rand: &self.rand, n1a: &self.n1a }, wrap: &self.eksp }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_renewed_challenge_answers_s7_and_keeps_n1a() {
        let (n1a, n1b, rand) = (N1::from_bits(1), N1::from_bits(2), [3; 16]);
        let first = Exchange::AwaitS5 { n1a };
        assert_eq!(first.on_s5(&rand), Some(NextChallenge { n1: n1a, n1a, renewed: false }));
        let second = Exchange::AwaitS9 { n1a, n1b, rand };
        assert_eq!(second.on_s5(&[4; 16]), Some(NextChallenge { n1: n1b, n1a, renewed: true }));
        assert_eq!(second.on_s5(&rand), None);
        assert!(first.is_unproven() && !second.is_unproven());
    }

    #[test]
    fn a_key_needs_an_answered_challenge() {
        let s9 = crate::steps::S9 { ekc: [4; 48], eksp: [5; 48] };
        assert_eq!(Granted::new(&Exchange::AwaitS5 { n1a: N1::from_bits(1) }, &s9), None);
        let exchange = Exchange::AwaitS9 { n1a: N1::from_bits(1), n1b: N1::from_bits(2), rand: [3; 16] };
        let granted = Granted::new(&exchange, &s9).unwrap();
        let (idc, idsp) = (Idc::new("a").unwrap(), Idsp::new("sp").unwrap());
        let job = granted.open_job(idc, idsp);
        assert_eq!((*job.ctx.n1a, *job.ctx.rand, *job.wrap), (N1::from_bits(1), [3; 16], [5; 48]));
    }
}
