//! The softswitch's part of PKD1 (spec section 2), whatever the protocol: asks the AuC, keeps the first verification
//! word, compares it with the second.

use crate::challenges::{Again, Challenge, Phone, Verdict};
use crate::peers::Peer;
use crate::state::{Asked, Core, Effect, Kind};
use crate::transactions::TransactionId;
use core::net::SocketAddr;
use portunus_aaa::{AaaAnswer, AaaRequest, Authenticate, DigestAlgorithm, Unreachable};
use portunus_keydist::Now;
use portunus_keydist::ident::{IdcBuf, IdspBuf, N1, Rand};
use portunus_keydist::softswitch::Registration;
use portunus_keydist::steps::{Refusal, S2, S5, S8, S9};
use portunus_signalling::Protocol;
use std::sync::Arc;

/// Where a step came from, and what it takes to answer it later.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Origin<'a> {
    /// Its protocol.
    pub protocol: Protocol,
    /// Its sender.
    pub from: Peer,
    /// Its transaction.
    pub transaction: TransactionId,
    /// Its octets.
    pub request: &'a [u8],
}

/// An [`Origin`] kept until the AuC has answered.
#[derive(Debug)]
pub(crate) struct Waiting {
    /// Its protocol.
    pub protocol: Protocol,
    /// Its sender, who gets the answer.
    pub from: Peer,
    /// Its transaction.
    pub transaction: TransactionId,
    /// Its octets.
    pub request: Box<[u8]>,
}

/// What became of a question about a registration.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "lives for one call")]
pub(crate) enum Vector {
    /// s5 is to be written.
    Challenge {
        /// Who is challenged.
        idc: IdcBuf,
        /// Through whom.
        idsp: IdspBuf,
        /// N1a, by which a proxy knows the registration.
        n1: N1,
        /// The challenge.
        rand: Rand,
    },
    /// A stock phone's challenge (SIP only).
    Digest {
        /// The challenge.
        rand: Rand,
        /// The hash.
        algorithm: DigestAlgorithm,
    },
    /// The AuC is busy or cannot be reached.
    Busy {
        /// Seconds to wait, jittered.
        retry_after_s: u32,
    },
}

/// What became of an s8.
#[derive(Debug)]
pub(crate) enum Judged {
    /// The words are equal: bind, and send this.
    Right(S9),
    /// They differ, and the AuC is asked for another challenge: it follows by [`crate::agent::Agent::on_vector`].
    Asked,
    /// The one refusal, for whatever cause.
    Refused,
    /// Too many questions are open.
    Busy {
        /// Seconds to wait, jittered.
        retry_after_s: u32,
    },
}

impl Core {
    /// s2 to s3. `uri` is the request's own, where it has one. `Err`: nobody was asked, and why.
    pub(crate) fn begin_pkd1(
        &mut self,
        now: Now,
        origin: &Origin<'_>,
        s2: &S2<'_>,
        (uri, ipc): (Option<&str>, Option<SocketAddr>),
        out: &mut Vec<Effect>,
    ) -> Result<(), Refusal> {
        let registration = Box::new(Registration::on_s2(now, s2, self.policy));
        self.ask_pkd1(now, origin, registration, (uri, ipc), out)
    }

    /// s3, the first time and every time.
    fn ask_pkd1(
        &mut self,
        now: Now,
        origin: &Origin<'_>,
        registration: Box<Registration>,
        (uri, ipc): (Option<&str>, Option<SocketAddr>),
        out: &mut Vec<Effect>,
    ) -> Result<(), Refusal> {
        let Some(realm) = self.realm_of(registration.ask().idc.as_str()) else { return Err(Refusal::Denied) };
        let s3 = Authenticate::pkd1(&registration.ask(), realm, uri.filter(|u| !u.is_empty()), ipc);
        let asked = self.ask_vector(now, origin, Kind::Pkd1(registration), AaaRequest::Authenticate(s3), out);
        asked.map_err(|retry_after_s| Refusal::Busy { retry_after_s })
    }

    /// The realm whose AuC knows this identity; `None`, and counted, where none does.
    pub(crate) fn realm_of(&mut self, idc: &str) -> Option<Arc<str>> {
        let realm = self.config.realms.of(idc);
        if realm.is_none() {
            self.counters.unknown_realm += 1;
            self.counters.refused += 1;
        }
        realm
    }

    /// s8: judged, and counted.
    pub(crate) fn judge_pkd1(
        &mut self,
        now: Now,
        origin: &Origin<'_>,
        s8: &S8<'_>,
        uri: Option<&str>,
        out: &mut Vec<Effect>,
    ) -> Judged {
        match self.challenges.answer(now, s8) {
            Verdict::Right(Some(s9)) => {
                self.counters.authenticated += 1;
                return Judged::Right(s9);
            }
            Verdict::Again(Again::Pkd1(registration)) => {
                self.counters.word_differs += 1;
                return match self.ask_pkd1(now, origin, registration, (uri, Some(s8.ipc)), out) {
                    Ok(()) => Judged::Asked,
                    Err(Refusal::Busy { retry_after_s }) => Judged::Busy { retry_after_s },
                    Err(_) => Judged::Refused,
                };
            }
            Verdict::Wrong => self.counters.word_differs += 1,
            Verdict::Unknown | Verdict::Right(None) | Verdict::Again(Again::Digest { .. }) => {
                self.counters.challenge_unknown += 1;
            }
        }
        self.counters.refused += 1;
        Judged::Refused
    }

    /// Opens a question about a registration. `Err`, and counted, when too many are open: seconds to wait.
    pub(crate) fn ask_vector(
        &mut self,
        now: Now,
        origin: &Origin<'_>,
        kind: Kind,
        request: AaaRequest,
        out: &mut Vec<Effect>,
    ) -> Result<(), u32> {
        if !self.may_ask() {
            self.counters.ask_full += 1;
            return Err(self.wait_s());
        }
        let Origin { protocol, from, transaction, request: octets } = *origin;
        let waiting = Waiting { protocol, from, transaction, request: octets.into() };
        self.open_question(now, Asked { waiting, kind }, request, out);
        Ok(())
    }

    /// s4, or what came instead of it: the challenge is kept.
    pub(crate) fn vector(&mut self, now: Now, kind: Kind, outcome: Result<AaaAnswer, Unreachable>) -> Vector {
        let (challenge, vector) = match (outcome, kind) {
            (Ok(AaaAnswer::Vector(s4)), Kind::Pkd1(mut registration)) => {
                let n1 = *registration.n1a();
                let Ok(S5 { idc, idsp, rand }) = registration.on_s4(now, &s4) else { return self.unavailable() };
                let vector = Vector::Challenge { idc: idc.into(), idsp: idsp.into(), n1, rand };
                ((rand, Challenge::Pkd1(registration)), vector)
            }
            (Ok(AaaAnswer::Digest(vector)), Kind::Digest { idc, idsp, retries_left }) => {
                let (rand, algorithm) = (vector.rand, vector.word.algorithm());
                let phone = Phone { idc, idsp, vector, retries_left };
                ((rand, Challenge::Digest(phone)), Vector::Digest { rand, algorithm })
            }
            _ => return self.unavailable(),
        };
        let (rand, challenge) = challenge;
        self.counters.challenge_evicted += self.challenges.insert(now.mono_ms, rand, challenge);
        self.counters.challenged += 1;
        vector
    }

    fn unavailable(&mut self) -> Vector {
        self.counters.auc_unavailable += 1;
        Vector::Busy { retry_after_s: self.wait_s() }
    }
}
