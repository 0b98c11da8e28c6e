//! What the proxy shows of the core without showing it: names and addresses, sealed into text that only this proxy can
//! read and that whoever holds it gives back. Nothing is kept: what comes back is all that there is to know.
//!
//! AES-256-GCM under a key of the holder's own, derived from its long-term key, so that what was sealed before a restart
//! opens after it, and on every worker. Associated data is a domain octet, which says what it is, and whom it was given
//! to: nobody else's is taken, nor one for another purpose. The nonce is a keyed hash of all of it (SipHash-2-4, 96 bits
//! of 128): the same text gives the same octets, as retransmissions need it, and no two texts share a nonce but with
//! the probability of a collision.

use crate::device::DeviceKeys;
use crate::ident::{IDC_MAX, Idc};
use crate::schedule::Prk;
use core::hash::Hasher as _;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use siphasher::sip128::{Hasher128 as _, SipHasher24};
use zeroize::Zeroize as _;

const NONCE: usize = 12;
const TAG: usize = 16;

/// Octets that a sealed text is longer than the text.
pub const VEIL_LEN: usize = NONCE + TAG;

/// Seals and opens what the proxy hides.
pub struct Veil {
    key: LessSafeKey,
    nonces: [u8; 16],
    /// The one of the holder's other long-term key: opens only.
    other: Option<Box<Self>>,
}

impl core::fmt::Debug for Veil {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Veil(..)")
    }
}

impl Drop for Veil {
    fn drop(&mut self) {
        self.nonces.zeroize();
    }
}

/// Domain and name as associated data.
struct Bound {
    octets: [u8; 1 + IDC_MAX],
    len: usize,
}

impl Bound {
    fn new(domain: u8, name: Idc<'_>) -> Self {
        let name = name.as_bytes();
        let mut bound = Self { octets: [0; 1 + IDC_MAX], len: 1 + name.len() };
        bound.octets[0] = domain;
        if let Some(room) = bound.octets.get_mut(1..bound.len) {
            room.copy_from_slice(name);
        }
        bound
    }

    fn as_bytes(&self) -> &[u8] {
        self.octets.get(..self.len).unwrap_or_default()
    }
}

impl Veil {
    /// The veil of whoever holds this long-term key.
    pub fn new(prk: &Prk) -> Self {
        let (mut key, mut nonces) = ([0u8; 32], [0u8; 16]);
        prk.own("veil", &mut key);
        prk.own("veil nonces", &mut nonces);
        let unbound = UnboundKey::new(&AES_256_GCM, &key);
        key.zeroize();
        match unbound {
            Ok(unbound) => Self { key: LessSafeKey::new(unbound), nonces, other: None },
            Err(_) => unreachable!("an AES-256-GCM key is 32 octets"),
        }
    }

    /// The veil of whoever holds these long-term keys: what was hidden under the other one is still read.
    pub fn of(keys: &DeviceKeys) -> Self {
        let mut veil = Self::new(keys.own());
        veil.other = keys.other().map(|prk| Box::new(Self::new(prk)));
        veil
    }

    /// The veil of the other long-term key, where the holder has two.
    pub fn other(&self) -> Option<&Self> {
        self.other.as_deref()
    }

    /// Seals, for `name` and for the purpose that `domain` is, the text that stands in `room` between the first 12 and
    /// the last 16 octets, in place. False, and nothing to be used, when `room` is too short.
    pub fn seal(&self, domain: u8, name: Idc<'_>, room: &mut [u8]) -> bool {
        let bound = Bound::new(domain, name);
        let Some(len) = room.len().checked_sub(VEIL_LEN) else { return false };
        let (head, rest) = room.split_at_mut(NONCE);
        let (text, tag) = rest.split_at_mut(len);
        let nonce = self.nonce(bound.as_bytes(), text);
        head.copy_from_slice(&nonce);
        let nonce = Nonce::assume_unique_for_key(nonce);
        match self.key.seal_in_place_separate_tag(nonce, Aad::from(bound.as_bytes()), text) {
            Ok(made) => {
                tag.copy_from_slice(made.as_ref());
                true
            }
            Err(_) => false,
        }
    }

    /// The text that was sealed for `name` and this purpose, opened in place; `None`: it was not, or was altered.
    pub fn open<'s>(&self, domain: u8, name: Idc<'_>, sealed: &'s mut [u8]) -> Option<&'s [u8]> {
        let (head, rest) = sealed.split_at_mut_checked(NONCE)?;
        let nonce = Nonce::try_assume_unique_for_key(head).ok()?;
        let bound = Bound::new(domain, name);
        self.key.open_in_place(nonce, Aad::from(bound.as_bytes()), rest).ok().map(|text| &*text)
    }

    fn nonce(&self, bound: &[u8], text: &[u8]) -> [u8; NONCE] {
        let mut hasher = SipHasher24::new_with_key(&self.nonces);
        hasher.write_u32(bound.len() as u32);
        hasher.write(bound);
        hasher.write(text);
        let mut nonce = [0u8; NONCE];
        nonce.copy_from_slice(&hasher.finish128().as_bytes()[..NONCE]);
        nonce
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::Key;

    fn veil(key: u8) -> Veil {
        Veil::new(&Key::new([key; 32]).prk())
    }

    fn alice() -> Idc<'static> {
        Idc::new("alice@example.test").unwrap()
    }

    fn sealed(veil: &Veil, text: &[u8]) -> Vec<u8> {
        let mut room = vec![0; NONCE];
        room.extend_from_slice(text);
        room.resize(text.len() + VEIL_LEN, 0);
        assert!(veil.seal(b'V', alice(), &mut room));
        room
    }

    #[test]
    fn what_is_sealed_opens_for_the_same_name_and_purpose_only() {
        let text = b"SIP/2.0/UDP 198.51.100.2:5060;branch=z9hG4bK1";
        let (made, long) = (sealed(&veil(1), text), [0x5a; 700]);
        let open = |veil: Veil, domain, idc, mut sealed: Vec<u8>| {
            veil.open(domain, Idc::new(idc).unwrap(), &mut sealed).map(<[u8]>::to_vec)
        };
        // Another instance with the same key: a restart, another worker.
        assert_eq!(open(veil(1), b'V', "alice@example.test", made.clone()).as_deref(), Some(&text[..]));
        assert_eq!(open(veil(1), b'V', "alice@example.test", sealed(&veil(1), &long)).as_deref(), Some(&long[..]));
        assert_eq!(open(veil(1), b'V', "alice@example.test", sealed(&veil(1), b"")).as_deref(), Some(&b""[..]));
        assert_eq!(open(veil(2), b'V', "alice@example.test", made.clone()), None, "another key");
        assert_eq!(open(veil(1), b'R', "alice@example.test", made.clone()), None, "another purpose");
        assert_eq!(open(veil(1), b'V', "alice@example.tes", made.clone()), None, "another terminal");
        for at in 0..made.len() {
            let mut bad = made.clone();
            bad[at] ^= 1;
            assert_eq!(open(veil(1), b'V', "alice@example.test", bad), None, "octet {at}");
            assert_eq!(open(veil(1), b'V', "alice@example.test", made[..at].to_vec()), None, "cut at {at}");
        }
        assert!(!made.windows(4).any(|w| text.windows(4).any(|t| t == w)));
    }

    #[test]
    fn the_same_text_gives_the_same_octets_and_another_one_another_nonce() {
        let one = veil(1);
        assert_eq!(sealed(&one, b"a"), sealed(&veil(1), b"a"));
        let mut seen: Vec<_> = (0..1000u32).map(|n| sealed(&one, &n.to_be_bytes())[..NONCE].to_vec()).collect();
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), 1000);
        assert!(!one.seal(b'V', alice(), &mut [0; VEIL_LEN - 1]));
        assert_eq!(format!("{one:?}"), "Veil(..)");
    }
}
