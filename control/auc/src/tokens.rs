//! Tokens of the provisioning interface: who may ask for what, until when. A token is shown once, when it is made; what
//! is kept of it is a hash of its secret part.
//!
//! ```text
//! ptk_<name of the token: 16 hex digits>_<secret: 32 octets as base64url>
//! ```
//!
//! The secret is drawn at random, 256 bits, so that a plain SHA-256 keeps it as well as any slower function would.

use portunus_keydist::Random;
use ring::digest::{SHA256, digest};
use zeroize::Zeroizing;

/// What a token may be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Scope {
    /// Listing and looking up subscribers.
    SubscribersRead,
    /// Adding, replacing, rotating and removing subscribers, one by one and by CSV.
    SubscribersWrite,
    /// Listing and looking up devices.
    DevicesRead,
    /// Adding, replacing, rotating and removing devices.
    DevicesWrite,
    /// Issuing, listing and revoking activation codes.
    CodesIssue,
    /// Registration records.
    RecordsRead,
    /// Counters.
    StatusRead,
}

impl Scope {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::SubscribersRead,
        Self::SubscribersWrite,
        Self::DevicesRead,
        Self::DevicesWrite,
        Self::CodesIssue,
        Self::RecordsRead,
        Self::StatusRead,
    ];

    /// Its name on the command line and in answers.
    pub const fn name(self) -> &'static str {
        match self {
            Self::SubscribersRead => "subscribers:read",
            Self::SubscribersWrite => "subscribers:write",
            Self::DevicesRead => "devices:read",
            Self::DevicesWrite => "devices:write",
            Self::CodesIssue => "codes:issue",
            Self::RecordsRead => "records:read",
            Self::StatusRead => "status:read",
        }
    }

    /// The scope of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.name() == name)
    }
}

/// A set of scopes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Scopes(u16);

impl Scopes {
    /// True when `scope` is among them.
    pub const fn has(self, scope: Scope) -> bool {
        self.0 & (1 << scope as u8) != 0
    }

    /// As a number, for storage.
    pub const fn bits(self) -> u16 {
        self.0
    }

    /// From a number; a bit without a meaning here grants nothing.
    pub const fn from_bits(bits: u16) -> Self {
        Self(bits)
    }

    /// Their names.
    pub fn names(self) -> Vec<&'static str> {
        Scope::ALL.into_iter().filter(|s| self.has(*s)).map(Scope::name).collect()
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<I: IntoIterator<Item = Scope>>(all: I) -> Self {
        Self(all.into_iter().fold(0, |bits, scope| bits | 1 << scope as u8))
    }
}

/// What is known of a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// Its public part: 16 hex digits.
    pub id: String,
    /// Whose it is, in the words of whoever made it.
    pub name: String,
    /// What it may be used for.
    pub scopes: Scopes,
    /// When it was made, milliseconds since 1970 UTC.
    pub made_ms: u64,
    /// When it ends; `u64::MAX`: never.
    pub expires_ms: u64,
}

/// Octets of a token's secret part, and of its hash.
pub const SECRET: usize = 32;
const PREFIX: &str = "ptk_";
/// Base64url digits of the secret part.
const DIGITS: usize = 43;
/// Longest name of a token, octets.
pub const NAME_MAX: usize = 64;

/// A fresh token: its public part, its text, and what is kept of its secret.
pub(crate) fn mint(rng: &mut dyn Random) -> (String, Zeroizing<String>, [u8; SECRET]) {
    let (mut id, mut secret) = ([0u8; 8], Zeroizing::new([0u8; SECRET]));
    rng.fill(&mut id);
    rng.fill(secret.as_mut_slice());
    let id: String = id.iter().map(|b| format!("{b:02x}")).collect();
    let mut digits = Zeroizing::new([0u8; DIGITS]);
    portunus_codec::b64_encode(secret.as_slice(), digits.as_mut_slice());
    // Room for all of it from the start: growing would leave a copy behind.
    let mut text = Zeroizing::new(String::with_capacity(PREFIX.len() + 16 + 1 + DIGITS));
    text.push_str(PREFIX);
    text.push_str(&id);
    text.push('_');
    text.push_str(core::str::from_utf8(digits.as_slice()).unwrap_or_default());
    (id, text, hash(&secret))
}

/// Public part and secret of what somebody shows; `None` when it is no token by its form.
pub(crate) fn parse(text: &str) -> Option<(&str, Zeroizing<[u8; SECRET]>)> {
    let (id, digits) = text.strip_prefix(PREFIX)?.split_once('_')?;
    let good = id.len() == 16 && id.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'));
    let mut secret = Zeroizing::new([0u8; SECRET]);
    let whole =
        digits.len() == DIGITS && portunus_codec::b64_decode(digits.as_bytes(), secret.as_mut_slice())? == SECRET;
    (good && whole).then_some((id, secret))
}

pub(crate) fn hash(secret: &[u8; SECRET]) -> [u8; SECRET] {
    let mut out = [0u8; SECRET];
    out.copy_from_slice(digest(&SHA256, secret).as_ref());
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use portunus_keydist::SystemRandom;
    use proptest::prelude::*;

    #[test]
    fn what_is_minted_is_read_and_nothing_else() {
        let (id, text, kept) = mint(&mut SystemRandom::new());
        let (read, secret) = parse(&text).unwrap();
        assert_eq!((read, hash(&secret)), (id.as_str(), kept));
        for n in 0..text.len() {
            assert!(parse(&text[..n]).is_none(), "cut at {n}");
        }
        assert!(parse(&format!("{}x", text.as_str())).is_none());
        assert!(parse(&text.to_uppercase()).is_none());
    }

    #[test]
    fn scopes_have_names_and_stand_alone() {
        for scope in Scope::ALL {
            assert_eq!(Scope::from_name(scope.name()), Some(scope));
            let one: Scopes = [scope].into_iter().collect();
            assert_eq!(Scope::ALL.into_iter().filter(|s| one.has(*s)).collect::<Vec<_>>(), [scope]);
            assert_eq!(Scopes::from_bits(one.bits()).names(), [scope.name()]);
        }
        assert_eq!(Scope::from_name("keys:read"), None, "no scope gives a stored key");
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in ".{0,90}") {
            let _ = parse(&text);
        }
    }
}
