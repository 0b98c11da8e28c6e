//! What a softswitch asks an AuC and what it hears back, without a word of any transport: the same types stand at
//! both ends, and RADIUS and Diameter are ways to carry them.

use core::net::{IpAddr, SocketAddr};
use portunus_keydist::ident::{Idc, Idsp, N1, Rand};
use portunus_keydist::steps::{Registration, S3, S4, S11};
use std::sync::Arc;

/// Longest digest URI in octets: what fits one RADIUS attribute.
pub const URI_MAX: usize = 253;
/// Longest realm in octets.
pub const REALM_MAX: usize = 253;

/// Names one request of this client's; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId(pub u64);

/// A question for the AuC. Owned, because it may wait, be sent again, or move to another server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AaaRequest {
    /// s3: a vector for one registration.
    Authenticate(Authenticate),
    /// s11: what became of a registration.
    Account(Account),
}

/// s3, and what the digest carriage needs beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authenticate {
    /// Who registers.
    pub idc: String,
    /// Through whom.
    pub idsp: String,
    /// Which kind of word is wanted.
    pub scheme: Scheme,
    /// The digest realm, which names the AuC's domain; at most [`REALM_MAX`] octets.
    pub realm: Arc<str>,
    /// The digest URI of the registration; `None` where the protocol has none, and then `sip:`realm is sent. At most
    /// [`URI_MAX`] octets.
    pub uri: Option<String>,
    /// Where the registration came from. Never sent: it is part of what makes two requests "the same one" (spec
    /// section 6). `None` is never the same as anything.
    pub source: Option<SocketAddr>,
}

impl Authenticate {
    /// A PKD1 question from s3.
    pub fn pkd1(s3: &S3<'_>, realm: Arc<str>, uri: Option<&str>, source: Option<SocketAddr>) -> Self {
        Self {
            idc: s3.idc.as_str().to_owned(),
            idsp: s3.idsp.as_str().to_owned(),
            scheme: Scheme::Pkd1 { n1: s3.n1 },
            realm,
            uri: uri.map(str::to_owned),
            source,
        }
    }

    /// A stock phone's question.
    pub fn digest(
        idc: Idc<'_>,
        idsp: Idsp<'_>,
        algorithm: DigestAlgorithm,
        realm: Arc<str>,
        uri: &str,
        source: Option<SocketAddr>,
    ) -> Self {
        Self {
            idc: idc.as_str().to_owned(),
            idsp: idsp.as_str().to_owned(),
            scheme: Scheme::Digest { algorithm },
            realm,
            uri: Some(uri.to_owned()),
            source,
        }
    }

    /// The URI as it is sent: the request's, else `sip:`realm (spec section 4, RADIUS).
    pub fn uri_or_default(&self) -> std::borrow::Cow<'_, str> {
        match &self.uri {
            Some(uri) => uri.as_str().into(),
            None => format!("sip:{}", self.realm).into(),
        }
    }
}

/// Which kind of verification word, and what it is bound to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// PKD1: a word and two wraps, bound to the N1 of the registration's s1.
    Pkd1 {
        /// N1a.
        n1: N1,
    },
    /// A stock phone's: RFC 7616 without qop, no key (spec section 4).
    Digest {
        /// The hash.
        algorithm: DigestAlgorithm,
    },
}

/// The hashes of the digest profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DigestAlgorithm {
    /// RFC 7616's.
    Sha256,
    /// RFC 2617's; behind its own switch wherever it could be admitted.
    Md5,
}

impl DigestAlgorithm {
    /// The token in `algorithm=` and Digest-Algorithm.
    pub const fn token(self) -> &'static str {
        match self {
            Self::Sha256 => "SHA-256",
            Self::Md5 => "MD5",
        }
    }

    /// The algorithm of a token; compared without regard to case, as RFC 7616 section 3.3 does.
    pub fn from_token(token: &str) -> Option<Self> {
        [Self::Sha256, Self::Md5].into_iter().find(|a| a.token().eq_ignore_ascii_case(token))
    }

    /// Octets of a response (half its hex digits).
    pub const fn word_len(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Md5 => 16,
        }
    }
}

/// s11.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Who registered.
    pub idc: String,
    /// Through whom.
    pub idsp: String,
    /// The challenge that authenticated it: names the record.
    pub rand: Rand,
    /// The address registered, as the proxy sees it. AAA protocols carry no port.
    pub ip: IpAddr,
    /// What happened.
    pub event: Registration,
    /// The softswitch that says so, as its protocol names it (NAS-Identifier, Origin-Host), relays between
    /// notwithstanding. Read, never written: who sends has its name from its configuration.
    pub softswitch: Option<String>,
}

impl From<&S11<'_>> for Account {
    fn from(s11: &S11<'_>) -> Self {
        Self {
            idc: s11.idc.as_str().to_owned(),
            idsp: s11.idsp.as_str().to_owned(),
            rand: s11.rand,
            // An IPv4 client on a dual-stack socket is an IPv4 client.
            ip: s11.ipc.ip().to_canonical(),
            event: s11.event,
            softswitch: None,
        }
    }
}

/// The AuC's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AaaAnswer {
    /// s4.
    Vector(S4),
    /// A digest challenge and the response that answers it.
    Digest(DigestVector),
    /// s11 is recorded, durably.
    Recorded,
    /// The AuC does not serve this proxy or realm, or could not read the question. The core answers busy (spec
    /// section 4): it is never about the terminal.
    Rejected,
}

/// A digest challenge with its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DigestVector {
    /// The challenge; its base64url is the nonce that the phone sees.
    pub rand: Rand,
    /// The word expected.
    pub word: DigestWord,
}

/// A digest response as octets; the phone sends it as twice as many lower-case hex digits. Whoever reads it before the
/// phone has answered can answer in its stead, so debug output does not show it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum DigestWord {
    /// SHA-256.
    Sha256([u8; 32]),
    /// MD5.
    Md5([u8; 16]),
}

impl core::fmt::Debug for DigestWord {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "DigestWord({})", self.algorithm().token())
    }
}

impl DigestWord {
    /// The octets.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Sha256(w) => w,
            Self::Md5(w) => w,
        }
    }

    /// Which hash it is of.
    pub const fn algorithm(&self) -> DigestAlgorithm {
        match self {
            Self::Sha256(_) => DigestAlgorithm::Sha256,
            Self::Md5(_) => DigestAlgorithm::Md5,
        }
    }
}

/// What became of a request: exactly one of these for every [`RequestId`] given out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AaaEvent {
    /// Which.
    pub id: RequestId,
    /// The answer, or why there is none.
    pub outcome: Result<AaaAnswer, Unreachable>,
}

/// No server answered before the deadline, or none is reachable and saying so at once spares everybody the wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unreachable;

impl core::fmt::Display for Unreachable {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("no authentication centre answered in time")
    }
}

impl core::error::Error for Unreachable {}

/// Why a request was not taken at all; nothing was sent and no event follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// As many requests as configured are waiting already: our side's limit.
    Busy,
    /// An identity, realm or URI in it breaks a limit or a form: the caller's fault.
    Malformed,
}

impl core::fmt::Display for Refused {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Busy => "too many requests to the authentication centre are waiting",
            Self::Malformed => "an identity, realm or URI of the request cannot be sent",
        })
    }
}

impl core::error::Error for Refused {}

impl AaaRequest {
    /// As whoever asks has it: without the name that was read beside it.
    pub fn as_asked(mut self) -> Self {
        if let Self::Account(account) = &mut self {
            account.softswitch = None;
        }
        self
    }

    /// True when every identity has its form and everything fits its attribute.
    pub fn is_well_formed(&self) -> bool {
        let text = |s: &str, max: usize| (1..=max).contains(&s.len()) && !s.bytes().any(|c| c < b' ' || c == 0x7f);
        match self {
            Self::Authenticate(a) => {
                Idc::new(&a.idc).is_some()
                    && Idsp::new(&a.idsp).is_some()
                    && text(&a.realm, REALM_MAX)
                    && text(&a.uri_or_default(), URI_MAX)
            }
            Self::Account(a) => Idc::new(&a.idc).is_some() && Idsp::new(&a.idsp).is_some(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_keeps_words_to_itself() {
        let vector = DigestVector { rand: [1; 16], word: DigestWord::Sha256([0xa7; 32]) };
        let shown = format!("{vector:?} {:?}", DigestVector { word: DigestWord::Md5([0xa7; 16]), ..vector });
        assert!(!shown.contains("167") && !shown.contains("a7") && shown.contains("SHA-256"), "{shown}");
    }
}
