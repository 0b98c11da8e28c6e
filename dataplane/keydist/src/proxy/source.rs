//! Where a message came from, as octets to bind things to; and the process's own secrets.

use crate::world::Random;
use core::hash::Hasher as _;
use core::net::{IpAddr, SocketAddr};
use siphasher::sip128::{Hasher128 as _, SipHasher13};
use zeroize::{Zeroize, ZeroizeOnDrop};

/// Octets of a [`Source`].
pub const SOURCE_LEN: usize = 19;

/// A terminal's address, its port and the listener that heard it: what a challenge or a cookie is bound to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Source([u8; SOURCE_LEN]);

impl Source {
    /// From an address and port, and the number of the listener.
    pub fn new(addr: SocketAddr, listener: u8) -> Self {
        let ip = match addr.ip() {
            IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
            IpAddr::V6(v6) => v6.octets(),
        };
        let mut octets = [0u8; SOURCE_LEN];
        octets[..16].copy_from_slice(&ip);
        octets[16..18].copy_from_slice(&addr.port().to_be_bytes());
        octets[18] = listener;
        Self(octets)
    }

    /// All of it.
    pub fn as_bytes(&self) -> &[u8; SOURCE_LEN] {
        &self.0
    }

    /// What an attacker does not change at will: the IPv4 address, or the /64 of an IPv6 one.
    fn network(&self) -> &[u8] {
        let mapped = self.0[..10] == [0; 10] && self.0[10..12] == [0xff; 2];
        if mapped { &self.0[..16] } else { &self.0[..8] }
    }

    /// What lockouts go by: the network and the IDc, never the network alone.
    pub(super) fn suspect(&self, hash: &HashKey, idc: &[u8]) -> u128 {
        hash.digest(b'L', &[self.network(), idc])
    }
}

/// The key of every hash of what attackers may choose.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct HashKey([u64; 2]);

impl core::fmt::Debug for HashKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("HashKey(..)")
    }
}

impl HashKey {
    /// From 128 random bits.
    pub const fn new(k0: u64, k1: u64) -> Self {
        Self([k0, k1])
    }

    /// SipHash-1-3 with 128 bits of output over a domain octet and some parts, each preceded by its length. Without
    /// the key nobody finds two inputs with one digest, so a digest may stand for its input.
    #[inline]
    pub fn digest(&self, domain: u8, parts: &[&[u8]]) -> u128 {
        let mut hasher = SipHasher13::new_with_keys(self.0[0], self.0[1]);
        hasher.write_u8(domain);
        for part in parts {
            hasher.write_u32(part.len() as u32);
            hasher.write(part);
        }
        hasher.finish128().as_u128()
    }
}

/// The secrets of one process, drawn afresh at every start: all its workers hold the same. Nothing outside the
/// process can open or check what they make.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct ProcessKeys {
    pub(super) challenge: [u8; 32],
    pub(super) cookie: [u8; 32],
    hash: HashKey,
}

impl ProcessKeys {
    /// Draws all of them.
    pub fn draw(rng: &mut dyn Random) -> Self {
        let (mut challenge, mut cookie) = ([0u8; 32], [0u8; 32]);
        rng.fill(&mut challenge);
        rng.fill(&mut cookie);
        Self { challenge, cookie, hash: HashKey::new(rng.next_u64(), rng.next_u64()) }
    }

    /// The key of hashes.
    pub fn hash(&self) -> &HashKey {
        &self.hash
    }
}

impl core::fmt::Debug for ProcessKeys {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("ProcessKeys(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suspects_are_a_network_and_an_identity() {
        let key = HashKey::new(1, 2);
        let at = |s: &str| Source::new(s.parse().unwrap(), 0);
        let suspect = |s: &str, idc: &[u8]| at(s).suspect(&key, idc);
        assert_eq!(suspect("192.0.2.1:5060", b"a"), suspect("192.0.2.1:9", b"a"));
        assert_ne!(suspect("192.0.2.1:5060", b"a"), suspect("192.0.2.2:5060", b"a"));
        assert_ne!(suspect("192.0.2.1:5060", b"a"), suspect("192.0.2.1:5060", b"b"));
        assert_eq!(suspect("[2001:db8::1]:1", b"a"), suspect("[2001:db8::ffff:2]:1", b"a"));
        assert_ne!(suspect("[2001:db8:0:1::1]:1", b"a"), suspect("[2001:db8::1]:1", b"a"));
        assert_ne!(at("192.0.2.1:1"), at("192.0.2.1:2"));
        assert_ne!(at("192.0.2.1:1"), Source::new("192.0.2.1:1".parse().unwrap(), 1));
    }

    #[test]
    fn parts_do_not_run_into_each_other() {
        let key = HashKey::new(1, 2);
        assert_ne!(key.digest(0, &[b"ab", b"c"]), key.digest(0, &[b"a", b"bc"]));
        assert_ne!(key.digest(0, &[b"ab"]), key.digest(1, &[b"ab"]));
        assert_ne!(key.digest(0, &[b"ab"]), HashKey::new(2, 1).digest(0, &[b"ab"]));
    }
}
