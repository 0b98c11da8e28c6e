//! The AuC without I/O: a question in, an answer out, or a registration event to be recorded first.
//!
//! ```text
//! s3 --> another domain's? --yes, device known--> for its AuC to answer (`foreign`)
//!           |no
//!        realm served? --> device known? --> subscriber, or a decoy --> vector --> s4
//!           |no               |no
//!        rejected          rejected              (never about the terminal)
//! s11 --> device known? --> recorded durably --> acknowledged
//! ```

mod foreign;

pub use foreign::{Foreign, Partner};

use crate::digest;
use crate::overlap::{Turns, Which};
use crate::store::{Credential, StoreError};
use crate::subscribers::Subscribers;
use portunus_aaa::{AaaAnswer, AaaRequest, Account, Authenticate, DigestAlgorithm, DigestVector, Scheme};
use portunus_keydist::auc::{Decoy, vector};
use portunus_keydist::ident::{Idc, Idsp};
use portunus_keydist::steps::S3;
use portunus_keydist::{Key, Now, Random};
use ring::hmac;
use zeroize::Zeroizing;

/// What an AuC serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AucConfig {
    /// Its realms.
    pub realms: Vec<String>,
    /// Stock phones: digest with SHA-256.
    pub digest_sha256: bool,
    /// Stock phones: digest with MD5.
    pub digest_md5: bool,
}

/// What is to be done with a question.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// This is the answer.
    Answer(AaaAnswer),
    /// Ask the AuC of another domain, and answer with what [`Auc::on_foreign`] makes of its answer.
    Foreign {
        /// Which, in the order of [`Auc::among`].
        nth: usize,
        /// What.
        request: AaaRequest,
    },
    /// Answer [`AaaAnswer::Recorded`] once this is recorded durably; no answer when that fails, so that it is sent again.
    Record(Account),
}

/// Something that whoever runs the AuC must hear of; no answer tells it.
#[derive(Debug)]
pub enum Notice {
    /// A question named a device that no key is shared with.
    UnknownDevice {
        /// The name.
        idsp: String,
    },
    /// A question named a realm that is not served.
    UnknownRealm {
        /// The name.
        realm: String,
    },
    /// What the AuC of another domain wrapped for us does not open: the keys that the two hold differ.
    ForeignWrap {
        /// Its realm.
        realm: String,
    },
    /// A digest question while that profile is off.
    DigestOff,
    /// The store failed, or holds a damaged record.
    Store(StoreError),
}

/// What was counted since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AucCounters {
    /// Vectors for subscribers.
    pub vectors: u64,
    /// Vectors that nobody can answer: unknown identities, and known ones asked for in the wrong profile.
    pub decoys: u64,
    /// Digest challenges among both.
    pub digests: u64,
    /// Guests' questions and records passed to their own AuC.
    pub guests: u64,
    /// Rejections.
    pub rejected: u64,
    /// Registration events handed on to be recorded.
    pub records: u64,
    /// Questions that met a failing store or a damaged record.
    pub faults: u64,
}

/// See the module's text.
pub struct Auc<S> {
    config: AucConfig,
    subscribers: S,
    decoy: Decoy,
    /// Digest secrets of those who have none.
    digest_decoy: hmac::Key,
    turns: Turns,
    foreign: Vec<Foreign>,
    partners: Vec<Partner>,
    notices: Vec<Notice>,
    counters: AucCounters,
}

impl<S> core::fmt::Debug for Auc<S> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Auc").field("counters", &self.counters).finish_non_exhaustive()
    }
}

/// Notices kept for [`Auc::poll_notice`]; more are dropped, because whoever asks could send them without end.
const NOTICES_MAX: usize = 64;

impl<S: Subscribers> Auc<S> {
    /// An AuC over these subscribers.
    pub fn new(config: AucConfig, subscribers: S, rng: &mut dyn Random) -> Self {
        let decoy = subscribers.decoy();
        let mut octets = Zeroizing::new([0u8; 32]);
        rng.fill(octets.as_mut_slice());
        let digest_decoy = hmac::Key::new(hmac::HMAC_SHA256, octets.as_slice());
        let (turns, notices, counters) = (Turns::default(), Vec::new(), AucCounters::default());
        let (foreign, partners) = (Vec::new(), Vec::new());
        Self { config, subscribers, decoy, digest_decoy, turns, foreign, partners, notices, counters }
    }

    /// The subscribers, to change them.
    pub fn subscribers_mut(&mut self) -> &mut S {
        &mut self.subscribers
    }

    /// What was counted.
    pub fn counters(&self) -> AucCounters {
        self.counters
    }

    /// The next thing to be told to people.
    pub fn poll_notice(&mut self) -> Option<Notice> {
        self.notices.pop()
    }

    /// Answers s3, or says that s11 is to be recorded; whoever asks.
    pub fn on_request(&mut self, now: Now, rng: &mut dyn Random, request: AaaRequest) -> Verdict {
        self.on_request_of(now, rng, "", request)
    }

    /// As [`Auc::on_request`], of a client that is known by this name.
    pub fn on_request_of(&mut self, now: Now, rng: &mut dyn Random, client: &str, request: AaaRequest) -> Verdict {
        if let Some(nth) = self.foreign_for(client, &request) {
            return self.guest(now, nth, request);
        }
        match request {
            AaaRequest::Authenticate(a) => {
                let keyed = self.keyed(client, &a.idsp).to_owned();
                Verdict::Answer(self.authenticate(now, rng, &a, &keyed))
            }
            AaaRequest::Account(a) => {
                let keyed = self.keyed(client, &a.idsp).to_owned();
                match self.device(now, &keyed) {
                    Some(_) => {
                        self.counters.records += 1;
                        self.turns.worked(&a.idc, &a.rand);
                        Verdict::Record(a)
                    }
                    None => Verdict::Answer(AaaAnswer::Rejected),
                }
            }
        }
    }

    fn reject(&mut self, notice: Notice) -> AaaAnswer {
        self.counters.rejected += 1;
        if self.notices.len() < NOTICES_MAX {
            self.notices.push(notice);
        }
        AaaAnswer::Rejected
    }

    /// The key shared with a device; `None` has been counted and noted as a rejection.
    fn device(&mut self, now: Now, idsp: &str) -> Option<Key> {
        let notice = match self.subscribers.device(now, idsp) {
            Ok(Some(key)) => return Some(key),
            Ok(None) => Notice::UnknownDevice { idsp: idsp.to_owned() },
            Err(e) => {
                self.counters.faults += 1;
                Notice::Store(e)
            }
        };
        self.reject(notice);
        None
    }

    /// `keyed`: the device under whose key the session key is wrapped beside Kc.
    fn authenticate(&mut self, now: Now, rng: &mut dyn Random, a: &Authenticate, keyed: &str) -> AaaAnswer {
        if !self.config.realms.iter().any(|r| **r == *a.realm) {
            return self.reject(Notice::UnknownRealm { realm: a.realm.to_string() });
        }
        let Some(device) = self.device(now, keyed) else { return AaaAnswer::Rejected };
        let found = self.subscribers.subscriber(now, &a.idc).and_then(|credential| {
            let old = match a.scheme {
                Scheme::Pkd1 { .. } => self.subscribers.previous(now, &a.idc)?,
                Scheme::Digest { .. } => None,
            };
            Ok((credential, old))
        });
        let (credential, old) = match found {
            Ok(found) => found,
            // One damaged record must not tell that it is there: it gets what an unknown identity gets.
            Err(e @ StoreError::Record { .. }) => {
                self.counters.faults += 1;
                if self.notices.len() < NOTICES_MAX {
                    self.notices.push(Notice::Store(e));
                }
                (None, None)
            }
            Err(e) => {
                self.counters.faults += 1;
                return self.reject(Notice::Store(e));
            }
        };
        let (Some(idc), Some(idsp)) = (Idc::new(&a.idc), Idsp::new(&a.idsp)) else {
            self.counters.rejected += 1;
            return AaaAnswer::Rejected;
        };
        match a.scheme {
            Scheme::Pkd1 { n1 } => {
                // A stock phone's secret is no Kc: the profiles never serve for each other.
                let kc = match &credential {
                    Some(Credential::Key(key)) => Some(key),
                    _ => None,
                };
                // Both only where both are: a key that is gone brings nobody in with the one before it.
                let turn = kc.and(old.as_ref()).map(|old| (self.turns.next(now.mono_ms, &a.idc), old));
                let kc = match &turn {
                    Some((Which::Old, old)) => Some(*old),
                    _ => kc,
                };
                self.count(kc.is_some());
                match vector(rng, kc, &self.decoy, Some(&device), &S3 { idc, idsp, n1 }) {
                    Ok(s4) => {
                        if let Some((which, _)) = turn {
                            self.turns.made(&a.idc, s4.rand, which);
                        }
                        AaaAnswer::Vector(s4)
                    }
                    Err(_) => self.reject(Notice::UnknownDevice { idsp: a.idsp.clone() }),
                }
            }
            Scheme::Digest { algorithm } => self.digest(rng, a, algorithm, credential.as_ref()),
        }
    }

    fn digest(
        &mut self,
        rng: &mut dyn Random,
        a: &Authenticate,
        algorithm: DigestAlgorithm,
        credential: Option<&Credential>,
    ) -> AaaAnswer {
        let on = match algorithm {
            DigestAlgorithm::Sha256 => self.config.digest_sha256,
            DigestAlgorithm::Md5 => self.config.digest_md5,
        };
        if !on {
            return self.reject(Notice::DigestOff);
        }
        // A PKD1 subscriber is never accepted this way (no downgrade): its challenge is like any other, and no response
        // answers it. The decoy's secret is made for everybody, so that it costs the same.
        let decoy = hmac::sign(&self.digest_decoy, a.idc.as_bytes());
        let secret = match credential {
            Some(Credential::Digest(secret)) => secret.as_slice(),
            _ => decoy.as_ref(),
        };
        let mut rand = [0u8; 16];
        rng.fill(&mut rand);
        let word = digest::word(algorithm, &a.idc, &a.realm, secret, &a.uri_or_default(), &rand);
        self.count(matches!(credential, Some(Credential::Digest(_))));
        self.counters.digests += 1;
        AaaAnswer::Digest(DigestVector { rand, word })
    }

    fn count(&mut self, known: bool) {
        *(if known { &mut self.counters.vectors } else { &mut self.counters.decoys }) += 1;
    }
}

#[cfg(test)]
mod tests;
