//! N2a: the proxy's memory of a challenge, sealed and handed to the terminal, so that nothing is kept between s6
//! and s7 (spec section 1).
//!
//! AES-256-GCM under a key of the process; plaintext Rand, N1a and the time; associated data the terminal's source
//! and IDc: the token opens only for the address, port and identity that it was made for. The nonce is the worker's
//! number, that of the softswitch that made the challenge, and a counter, so it never repeats under the key; it also names
//! the challenge, which serves one s7.

use super::source::{ProcessKeys, SOURCE_LEN, Source};
use crate::bugs::{Bug, planted};
use crate::ident::{IDC_MAX, Idc, N1, Rand};
use portunus_codec::{b64_decode, b64_encode, b64_len};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

pub(super) const NONCE: usize = 12;
const PLAIN: usize = 8 + 8 + 16;
const SEALED: usize = NONCE + PLAIN + 16;

/// Characters of an N2a token of this proxy's.
pub const TOKEN_LEN: usize = b64_len(SEALED);

/// What a token holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Challenge {
    /// The challenge's random octets.
    pub rand: Rand,
    /// The N1 of the registration's s1: every wrap of this registration is bound to it.
    pub n1a: N1,
    /// Names the challenge within the process.
    pub id: [u8; NONCE],
    /// The softswitch that keeps its first word, by a number of the caller's; 0: whichever.
    pub home: u8,
}

/// Why a token was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChallengeFault {
    /// Not made by this process for this source and IDc, or altered.
    Invalid,
    /// Older than its life.
    Expired,
}

/// Seals and opens challenges.
pub struct Challenges {
    key: LessSafeKey,
    worker: u8,
    counter: u64,
}

impl core::fmt::Debug for Challenges {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Challenges(..)")
    }
}

/// Source and IDc as associated data.
struct Bound {
    buf: [u8; SOURCE_LEN + IDC_MAX],
    len: usize,
}

impl Bound {
    fn new(source: &Source, idc: Idc<'_>) -> Self {
        let idc = idc.as_bytes();
        let mut bound = Self { buf: [0; SOURCE_LEN + IDC_MAX], len: SOURCE_LEN + idc.len() };
        if !planted(Bug::AddressUnbound) {
            bound.buf[..SOURCE_LEN].copy_from_slice(source.as_bytes());
        }
        // An Idc is at most IDC_MAX octets; the source has a fixed length, so the two cannot run into each other.
        if let Some(room) = bound.buf.get_mut(SOURCE_LEN..bound.len) {
            room.copy_from_slice(idc);
        }
        bound
    }

    fn aad(&self) -> Aad<&[u8]> {
        Aad::from(self.buf.get(..self.len).unwrap_or_default())
    }
}

impl Challenges {
    /// With the process's key and this worker's share of the nonces.
    pub fn new(keys: &ProcessKeys, worker: u8) -> Self {
        let key = match UnboundKey::new(&AES_256_GCM, &keys.challenge) {
            Ok(key) => LessSafeKey::new(key),
            Err(_) => unreachable!("an AES-256-GCM key is 32 octets"),
        };
        Self { key, worker, counter: 0 }
    }

    /// Makes the token for one challenge, of whichever softswitch.
    pub fn seal(&mut self, mono_ms: u64, source: &Source, idc: Idc<'_>, rand: &Rand, n1a: &N1) -> [u8; TOKEN_LEN] {
        self.seal_from(mono_ms, source, idc, (rand, n1a), 0)
    }

    /// Makes the token for one challenge of this softswitch's.
    pub fn seal_from(
        &mut self,
        mono_ms: u64,
        source: &Source,
        idc: Idc<'_>,
        (rand, n1a): (&Rand, &N1),
        home: u8,
    ) -> [u8; TOKEN_LEN] {
        self.counter += 1;
        let mut sealed = [0u8; SEALED];
        (sealed[0], sealed[1]) = (self.worker, home);
        sealed[4..NONCE].copy_from_slice(&self.counter.to_be_bytes());
        sealed[NONCE..NONCE + 8].copy_from_slice(&mono_ms.to_be_bytes());
        sealed[NONCE + 8..NONCE + 16].copy_from_slice(&n1a.bits().to_be_bytes());
        sealed[NONCE + 16..NONCE + PLAIN].copy_from_slice(rand);
        let (nonce, rest) = sealed.split_at_mut(NONCE);
        let (plain, tag) = rest.split_at_mut(PLAIN);
        let bound = Bound::new(source, idc);
        let made = Nonce::try_assume_unique_for_key(nonce)
            .and_then(|nonce| self.key.seal_in_place_separate_tag(nonce, bound.aad(), plain));
        match made {
            Ok(made) => tag.copy_from_slice(made.as_ref()),
            Err(_) => unreachable!("the nonce is 12 octets and the text 32"),
        }
        let mut token = [0u8; TOKEN_LEN];
        b64_encode(&sealed, &mut token);
        token
    }

    /// The name of the challenge that a token seems to be; whether it is one says only [`Challenges::open`].
    pub(super) fn name(token: &[u8]) -> Option<[u8; NONCE]> {
        let mut id = [0u8; NONCE];
        (b64_decode(token.get(..b64_len(NONCE))?, &mut id) == Some(NONCE)).then_some(id)
    }

    /// Opens a token that came back from `source` in a message of `idc`'s.
    ///
    /// # Errors
    /// [`ChallengeFault`]: the terminal's, or an attacker's, fault.
    pub fn open(
        &self,
        mono_ms: u64,
        source: &Source,
        idc: Idc<'_>,
        token: &[u8],
        life_ms: u64,
    ) -> Result<Challenge, ChallengeFault> {
        let mut sealed = [0u8; SEALED];
        if token.len() != TOKEN_LEN || b64_decode(token, &mut sealed) != Some(SEALED) {
            return Err(ChallengeFault::Invalid);
        }
        let mut id = [0u8; NONCE];
        id.copy_from_slice(&sealed[..NONCE]);
        let bound = Bound::new(source, idc);
        let nonce = Nonce::assume_unique_for_key(id);
        let plain = self.key.open_in_place(nonce, bound.aad(), &mut sealed[NONCE..]);
        let plain: [u8; PLAIN] = plain.ok().and_then(|p| (&*p).try_into().ok()).ok_or(ChallengeFault::Invalid)?;
        let word = |at: usize| plain.iter().skip(at).take(8).fold(0u64, |n, octet| n << 8 | u64::from(*octet));
        let mut rand = Rand::default();
        rand.copy_from_slice(&plain[16..]);
        if mono_ms.saturating_sub(word(0)) > life_ms && !planted(Bug::ChallengeEternal) {
            return Err(ChallengeFault::Expired);
        }
        Ok(Challenge { rand, n1a: N1::from_bits(word(8)), home: id[1], id })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::SystemRandom;

    fn source(s: &str) -> Source {
        Source::new(s.parse().unwrap(), 0)
    }

    #[test]
    fn opens_for_its_own_source_and_identity_in_its_time_only() {
        let keys = ProcessKeys::draw(&mut SystemRandom::new());
        let mut mine = Challenges::new(&keys, 3);
        let (here, idc, n1a) = (source("192.0.2.7:5060"), Idc::new("alice@example.test").unwrap(), N1::from_bits(77));
        let token = mine.seal(1000, &here, idc, &[9; 16], &n1a);
        assert!(crate::ident::is_n2(&token));
        let got = mine.open(11_000, &here, idc, &token, 10_000).unwrap();
        assert_eq!((got.rand, got.n1a), ([9; 16], n1a));
        let elsewhere = mine.seal_from(1000, &here, idc, (&[9; 16], &n1a), 200);
        assert_eq!((got.home, mine.open(1000, &here, idc, &elsewhere, 10_000).unwrap().home), (0, 200));
        // Another worker of the process opens it too.
        assert_eq!(Challenges::new(&keys, 9).open(1000, &here, idc, &token, 10_000), Ok(got));

        assert_eq!(mine.open(11_001, &here, idc, &token, 10_000), Err(ChallengeFault::Expired));
        let refused = |source: &Source, idc: &str, token: &[u8]| {
            mine.open(1000, source, Idc::new(idc).unwrap(), token, 10_000) == Err(ChallengeFault::Invalid)
        };
        assert!(refused(&source("192.0.2.7:5061"), "alice@example.test", &token));
        assert!(refused(&source("192.0.2.8:5060"), "alice@example.test", &token));
        assert!(refused(&Source::new("192.0.2.7:5060".parse().unwrap(), 1), "alice@example.test", &token));
        assert!(refused(&here, "alice@example.tes", &token));
        assert!(refused(&here, "alice@example.test", &token[..79]));
        assert!(refused(&here, "alice@example.test", b""));
        for at in 0..TOKEN_LEN {
            let mut bad = token;
            bad[at] = if bad[at] == b'A' { b'B' } else { b'A' };
            assert!(refused(&here, "alice@example.test", &bad), "character {at}");
        }
        let other = Challenges::new(&ProcessKeys::draw(&mut SystemRandom::new()), 3);
        assert_eq!(other.open(1000, &here, idc, &token, 10_000), Err(ChallengeFault::Invalid));
    }

    #[test]
    fn no_two_tokens_and_no_two_names_are_alike() {
        let keys = ProcessKeys::draw(&mut SystemRandom::new());
        let (mut one, mut two) = (Challenges::new(&keys, 1), Challenges::new(&keys, 2));
        let (here, idc, n1a) = (source("192.0.2.7:5060"), Idc::new("a").unwrap(), N1::from_bits(1));
        let mut ids = Vec::new();
        for _ in 0..100 {
            for worker in [&mut one, &mut two] {
                let token = worker.seal(0, &here, idc, &[0; 16], &n1a);
                ids.push(worker.open(0, &here, idc, &token, 1).unwrap().id);
            }
        }
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), 200);
    }
}
