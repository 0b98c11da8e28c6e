//! The mechanism list (spec section 4): entries `token;name=value...` with priorities, its canonical form, and the
//! choice.

use arrayvec::ArrayString;

/// Longest canonical list in octets.
pub const LIST_MAX: usize = 512;
/// Most entries in a list.
pub const ENTRIES_MAX: usize = 16;

/// The mechanisms this specification knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Mech {
    /// `x-pkd-sealed`: sealed datagrams.
    Sealed = 1,
    /// `ipsec-man`: ESP in UDP.
    Esp = 2,
    /// `tls`: TLS 1.3 keyed by PKD1.
    Tls = 3,
}

impl Mech {
    /// The token in lists, answers and derivations.
    pub const fn token(self) -> &'static str {
        match self {
            Self::Sealed => "x-pkd-sealed",
            Self::Esp => "ipsec-man",
            Self::Tls => "tls",
        }
    }

    /// The mechanism of a token; `None` for one that this specification does not know.
    pub fn from_token(token: &str) -> Option<Self> {
        [Self::Sealed, Self::Esp, Self::Tls].into_iter().find(|m| m.token() == token)
    }
}

/// A list that was checked against every rule of the spec, held in canonical form: the entries as sent, trimmed,
/// joined by one space.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MechList {
    text: ArrayString<LIST_MAX>,
}
