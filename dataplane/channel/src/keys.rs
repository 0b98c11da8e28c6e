//! The keys of a session, and the one cipher that every mechanism for datagrams here uses: AES-256-GCM with a nonce of
//! a salt and eight octets that the message bears or implies.

use crate::contract::{Dropped, SealError};
use portunus_keydist::schedule::{Secret, TrafficCtx};
use ring::aead::{self, Aad, LessSafeKey, Nonce, UnboundKey};
use zeroize::{Zeroize, ZeroizeOnDrop};

/// Octets of the tag.
pub(crate) const TAG_LEN: usize = 16;
const SALT_LEN: usize = 4;

/// The key of one direction, raw: 32 octets and a salt of four, which is 0 where the mechanism has none. The schedule
/// of `ring` is 544 octets, so it is made anew for every message; a million sessions are worth more than the 130 ns.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct TrafficKey {
    key: [u8; 32],
    salt: [u8; SALT_LEN],
}

impl TrafficKey {
    /// Takes 32 octets over, with the salt 0.
    pub const fn new(key: [u8; 32]) -> Self {
        Self::salted(key, [0; SALT_LEN])
    }

    /// Takes key and salt over.
    pub const fn salted(key: [u8; 32], salt: [u8; SALT_LEN]) -> Self {
        Self { key, salt }
    }

    /// The 32 octets, for a mechanism that keys something else with them.
    pub(crate) const fn octets(&self) -> &[u8; 32] {
        &self.key
    }

    /// Key and salt as RFC 4106 section 8.1 joins them, for whoever else is to encipher; the caller erases it.
    pub fn material(&self, out: &mut [u8; 36]) {
        let (key, salt) = out.split_at_mut(self.key.len());
        key.copy_from_slice(&self.key);
        salt.copy_from_slice(&self.salt);
    }

    /// Any octet of it, read so that its cache line is there when it is needed.
    pub const fn touch(&self) -> u8 {
        self.key[0]
    }

    /// Verifies `body`, text and tag, and deciphers it in place. Returns the octets of the text.
    pub(crate) fn open(&self, explicit: [u8; 8], aad: &[u8], body: &mut [u8]) -> Result<usize, Dropped> {
        let ready = self.ready().ok_or(Dropped::Unverified)?;
        let plain = ready.open_in_place(self.nonce(explicit), Aad::from(aad), body).map_err(|_| Dropped::Unverified)?;
        Ok(plain.len())
    }

    /// Enciphers `text` in place and puts the tag into `tag`, which is [`TAG_LEN`] octets.
    pub(crate) fn seal(&self, explicit: [u8; 8], aad: &[u8], text: &mut [u8], tag: &mut [u8]) -> Result<(), SealError> {
        let ready = self.ready().ok_or(SealError::Full)?;
        let made = ready.seal_in_place_separate_tag(self.nonce(explicit), Aad::from(aad), text);
        let made = made.map_err(|_| SealError::Full)?;
        if tag.len() != made.as_ref().len() {
            return Err(SealError::Full);
        }
        tag.copy_from_slice(made.as_ref());
        Ok(())
    }

    fn ready(&self) -> Option<LessSafeKey> {
        UnboundKey::new(&aead::AES_256_GCM, &self.key).ok().map(LessSafeKey::new)
    }

    fn nonce(&self, explicit: [u8; 8]) -> Nonce {
        let mut octets = [0u8; 12];
        let (salt, rest) = octets.split_at_mut(SALT_LEN);
        salt.copy_from_slice(&self.salt);
        rest.copy_from_slice(&explicit);
        Nonce::assume_unique_for_key(octets)
    }
}

impl core::fmt::Debug for TrafficKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("TrafficKey(..)")
    }
}

/// A session's keys by direction: 72 octets.
#[derive(Debug, Clone)]
pub struct Keys {
    /// Terminal to proxy.
    pub c2s: TrafficKey,
    /// Proxy to terminal.
    pub s2c: TrafficKey,
}

impl Keys {
    /// The keys of two labels without a salt: 32 octets each.
    pub(crate) fn unsalted(secret: &Secret, ctx: &TrafficCtx<'_>, [c2s, s2c]: [&str; 2]) -> Self {
        let key = |label| {
            let mut octets = [0u8; 32];
            secret.traffic(label, ctx, &mut octets);
            let key = TrafficKey::new(octets);
            octets.zeroize();
            key
        };
        Self { c2s: key(c2s), s2c: key(s2c) }
    }

    /// The keys of two labels with a salt: 36 octets each.
    pub(crate) fn salted(secret: &Secret, ctx: &TrafficCtx<'_>, [c2s, s2c]: [&str; 2]) -> Self {
        let key = |label| {
            let mut octets = [0u8; 36];
            secret.traffic(label, ctx, &mut octets);
            let mut made = TrafficKey::new([0; 32]);
            let (key, salt) = octets.split_at(32);
            made.key.copy_from_slice(key);
            made.salt.copy_from_slice(salt);
            octets.zeroize();
            made
        };
        Self { c2s: key(c2s), s2c: key(s2c) }
    }

    /// Keys of no secret: to overwrite others with, and for sessions that have none.
    pub const fn none() -> Self {
        Self { c2s: TrafficKey::new([0; 32]), s2c: TrafficKey::new([0; 32]) }
    }
}
