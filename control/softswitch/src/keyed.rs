//! Keyed hashing: table keys, tags and branches.
//!
//! Identities, Call-IDs and branches are chosen by attackers, so every hash here is SipHash under a key drawn at
//! start; the key comes from the caller's [`Random`], so the simulator replays the same tables.

use core::hash::{BuildHasher, Hasher as _};
use portunus_keydist::Random;
use siphasher::sip::SipHasher13;

/// A hash function keyed once at start.
#[derive(Clone, Copy)]
pub(crate) struct Keyed {
    k0: u64,
    k1: u64,
}

impl core::fmt::Debug for Keyed {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Keyed(..)")
    }
}

impl Keyed {
    /// Draws a key.
    pub(crate) fn new(random: &mut dyn Random) -> Self {
        Self { k0: random.next_u64(), k1: random.next_u64() }
    }

    /// The same in every process: for what several must decide alike, and nobody gains by deciding.
    pub(crate) const fn common() -> Self {
        Self { k0: 0, k1: 0 }
    }

    /// The hash of several octet strings, each with its length, so that no two lists of parts run together.
    pub(crate) fn parts(&self, domain: u8, parts: &[&[u8]]) -> u64 {
        let mut h = self.build_hasher();
        h.write_u8(domain);
        for part in parts {
            h.write_usize(part.len());
            h.write(part);
        }
        h.finish()
    }
}

impl BuildHasher for Keyed {
    type Hasher = SipHasher13;

    fn build_hasher(&self) -> SipHasher13 {
        SipHasher13::new_with_keys(self.k0, self.k1)
    }
}
