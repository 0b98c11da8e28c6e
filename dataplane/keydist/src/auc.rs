//! The AuC's role: makes vectors, answers for unknown identities as for known ones, and keeps one registration record
//! an identity.
//!
//! ```text
//!   s3 ──► vector ──► s4          (nothing is kept: a vector proves nothing)
//!
//!            s11 Start                 s11 Start, another Rand: replaced
//!   none ──────────────► Registered ◄──┐
//!    ▲                    │  ├─────────┘
//!    │ s11 Stop, its Rand │  │ s11 Refresh or Start, its Rand: seen again
//!    └────────────────────┘  └ s11 of an older Rand: ignored
//! ```

use crate::ident::{Idc, Rand};
use crate::schedule::{For, Key, SessionKey, WrapCtx};
use crate::steps::{Registration, S3, S4, S11};
use crate::world::Random;
use core::net::SocketAddr;
use ring::hmac;
use subtle::{Choice, ConditionallySelectable as _};
use zeroize::Zeroize as _;

/// Where the keys of identities that do not exist come from. Drawn once and kept with the AuC's other secrets: an
/// unknown identity must look the same today and after a restart.
#[derive(Debug, Clone)]
pub struct Decoy(Key);

impl Decoy {
    /// Takes a 32-octet secret that serves nothing else.
    pub fn new(master: Key) -> Self {
        Self(master)
    }

    /// The key that this identity would have. Always the same for the same identity; to whoever does not hold the
    /// master it cannot be told from a subscriber's.
    fn key(&self, idc: Idc<'_>) -> [u8; 32] {
        let mut mac = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, self.0.expose()));
        mac.update(b"PKD1 decoy");
        mac.update(&(idc.as_bytes().len() as u16).to_be_bytes());
        mac.update(idc.as_bytes());
        let mut key = [0u8; 32];
        key.copy_from_slice(mac.sign().as_ref());
        key
    }
}

/// The AuC does not know the proxy that s3 names: whoever asked is not to be answered with keys. An Access-Reject,
/// Diameter 5003; never a secret about a terminal, because it says nothing of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnknownProxy;

impl core::fmt::Display for UnknownProxy {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("no key is shared with the proxy named")
    }
}

impl core::error::Error for UnknownProxy {}

/// The key that vectors for `idc` are made from: the subscriber's, or one that nobody has. The same work is done for
/// both, and the choice does not branch.
fn terminal_key(idc: Idc<'_>, kc: Option<&Key>, decoy: &Decoy) -> Key {
    let mut octets = decoy.key(idc);
    let blank = [0u8; 32];
    let (known, kc) = kc.map_or((Choice::from(0), &blank), |k| (Choice::from(1), k.expose()));
    for (own, subscribers) in octets.iter_mut().zip(kc) {
        own.conditional_assign(subscribers, known);
    }
    let key = Key::new(octets);
    octets.zeroize();
    key
}

/// s4 for one s3: a new Rand and a new session key, the first verification word and both wraps. `kc` is the
/// subscriber's key, `None` for an identity that does not exist (or may not register): it gets a vector like any other,
/// which nobody can answer. `device` is the key shared with the proxy (or softswitch) that s3 names.
///
/// # Errors
/// [`UnknownProxy`] when there is no `device`.
pub fn vector(
    rng: &mut dyn Random,
    kc: Option<&Key>,
    decoy: &Decoy,
    device: Option<&Key>,
    s3: &S3<'_>,
) -> Result<S4, UnknownProxy> {
    let device = device.ok_or(UnknownProxy)?;
    let terminal = terminal_key(s3.idc, kc, decoy).prk();
    let mut rand = [0u8; 16];
    rng.fill(&mut rand);
    let mut octets = [0u8; 32];
    rng.fill(&mut octets);
    let key = SessionKey::new(octets);
    octets.zeroize();
    let ctx = WrapCtx { idc: s3.idc, idsp: s3.idsp, rand: &rand, n1a: &s3.n1 };
    Ok(S4 {
        rand,
        auth_c: terminal.word(s3.idc, s3.idsp, &rand),
        ekc: terminal.wrap(For::Terminal, &ctx, &key),
        eksp: device.prk().wrap(For::Proxy, &ctx, &key),
    })
}

/// What the AuC remembers of a registered identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Through which proxy.
    pub idsp: String,
    /// The challenge that authenticated it; names the record (RADIUS Acct-Session-Id).
    pub rand: Rand,
    /// The address registered.
    pub ipc: SocketAddr,
    /// Since when, milliseconds since 1970 UTC.
    pub since_ms: u64,
    /// When it was last heard of, milliseconds since 1970 UTC.
    pub seen_ms: u64,
}

/// What an s11 does to an identity's record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// This is the record now.
    Keep(Record),
    /// There is none any more.
    Remove,
    /// Nothing changes: it is about a registration that was replaced or ended before, or repeats what is known.
    Ignore,
}

/// Applies s11 to the record that `current` is. `wall_ms`: milliseconds since 1970 UTC. A Refresh of something
/// unknown makes a record, because its Start may have been lost on the way; one that comes late, for a Rand that was
/// replaced, does not bring the old registration back.
pub fn record(current: Option<&Record>, wall_ms: u64, s11: &S11<'_>) -> Change {
    let fresh = || {
        Change::Keep(Record {
            idsp: s11.idsp.as_str().to_owned(),
            rand: s11.rand,
            ipc: s11.ipc,
            since_ms: wall_ms,
            seen_ms: wall_ms,
        })
    };
    match (current, s11.event) {
        (Some(r), Registration::Stop) if r.rand == s11.rand => Change::Remove,
        (_, Registration::Stop) => Change::Ignore,
        (Some(r), _) if r.rand == s11.rand => Change::Keep(Record { ipc: s11.ipc, seen_ms: wall_ms, ..r.clone() }),
        (None, _) | (Some(_), Registration::Start) => fresh(),
        (Some(_), Registration::Refresh) => Change::Ignore,
    }
}
