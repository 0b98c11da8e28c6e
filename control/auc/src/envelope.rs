//! The envelope: a store's working keys, wrapped once under each master key that may open it.
//!
//! ```text
//! version 1 | epoch u32 | one to two of: master key's name 8 | nonce 12 | sealed (seal 32, decoy 32) | tag 16
//! ```
//!
//! A master key is replaced by wrapping the same working keys a second time, and later dropping the first wrap: no record
//! is touched and both master keys open the store in between. The epoch counts new working keys, so that a process
//! that holds older ones sees it.

use crate::custody::{self, Custody, CustodyError, MasterKey, SEAL_OVERHEAD};
use crate::token::Token;
use core::fmt;
use portunus_keydist::Random;
use std::sync::Arc;
use zeroize::Zeroizing;

const VERSION: u8 = 1;
/// Master keys that may open a store at one time: the present one and the next.
pub const MASTERS_MAX: usize = 2;
const NAME: usize = 8;
const SEALED: usize = 64 + SEAL_OVERHEAD;

/// What a master key is to an envelope: a name that tells nothing of it, and what wraps.
#[derive(Clone)]
pub struct Wrapping {
    name: [u8; NAME],
    by: By,
}

#[derive(Clone)]
enum By {
    /// A key of one held here.
    Key(Zeroizing<[u8; 32]>),
    /// The one in a token.
    Token(Arc<Token>),
}

impl fmt::Debug for Wrapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Wrapping({})", self.name())
    }
}

impl Wrapping {
    /// Of a master key that is held here.
    pub fn new(master: &MasterKey) -> Self {
        let mut name = [0u8; NAME];
        name.copy_from_slice(&master.derive(b"portunus master name")[..NAME]);
        Self { name, by: By::Key(master.derive(b"portunus wrap")) }
    }

    /// Of a master key in a token.
    pub(crate) fn of_token(token: &Arc<Token>) -> Self {
        Self { name: token.name(), by: By::Token(Arc::clone(token)) }
    }

    /// The master key's name: 16 hex digits that say which it is and nothing about it.
    pub fn name(&self) -> String {
        self.name.iter().map(|octet| format!("{octet:02x}")).collect()
    }

    /// Seals: nonce, ciphertext, tag.
    pub(crate) fn seal(&self, bound: &[u8], plain: &[u8], rng: &mut dyn Random) -> Result<Vec<u8>, CustodyError> {
        match &self.by {
            By::Key(key) => Ok(custody::seal(key, bound, plain, rng)),
            By::Token(token) => token.seal(bound, plain, rng),
        }
    }

    /// Opens what was sealed for the same place; `None` when it does not open.
    pub(crate) fn open(&self, bound: &[u8], sealed: &[u8]) -> Result<Option<Zeroizing<Vec<u8>>>, CustodyError> {
        match &self.by {
            By::Key(key) => Ok(custody::open(key, bound, sealed).ok()),
            By::Token(token) => token.open_sealed(bound, sealed),
        }
    }
}

/// Why a master key was not admitted.
#[derive(Debug)]
pub(crate) enum NotAdmitted {
    /// Two master keys open the store already.
    Full,
    /// Its token did not answer.
    Custody(CustodyError),
}

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Envelope {
    /// How often the working keys were renewed.
    pub(crate) epoch: u32,
    wraps: Vec<([u8; NAME], Vec<u8>)>,
}

/// What a wrap is bound to.
fn bound(epoch: u32, name: &[u8; NAME]) -> Vec<u8> {
    [b"portunus envelope".as_slice(), &epoch.to_be_bytes(), name].concat()
}

impl Envelope {
    /// One that nobody can open yet.
    pub(crate) const fn new(epoch: u32) -> Self {
        Self { epoch, wraps: Vec::new() }
    }

    /// Lets another master key open it. One that may already is left as it is.
    pub(crate) fn admit(&mut self, custody: &Custody, to: &Wrapping, rng: &mut dyn Random) -> Result<(), NotAdmitted> {
        if self.wraps.iter().any(|(name, _)| *name == to.name) {
            return Ok(());
        }
        if self.wraps.len() == MASTERS_MAX {
            return Err(NotAdmitted::Full);
        }
        let sealed = to.seal(&bound(self.epoch, &to.name), custody.to_octets().as_slice(), rng);
        let sealed = sealed.map_err(NotAdmitted::Custody)?;
        self.wraps.push((to.name, sealed));
        Ok(())
    }

    /// Shuts out every master key but this one; how many they were.
    pub(crate) fn keep_only(&mut self, to: &Wrapping) -> usize {
        let before = self.wraps.len();
        self.wraps.retain(|(name, _)| *name == to.name);
        before - self.wraps.len()
    }

    /// The working keys; `None` for a master key that was not admitted, or an altered envelope.
    ///
    /// # Errors
    /// [`CustodyError`]: the token does not answer.
    pub(crate) fn open(&self, with: &Wrapping) -> Result<Option<Custody>, CustodyError> {
        let Some((name, sealed)) = self.wraps.iter().find(|(name, _)| *name == with.name) else { return Ok(None) };
        let opened = with.open(&bound(self.epoch, name), sealed)?;
        Ok(opened.and_then(|octets| Custody::from_octets(&octets)))
    }

    /// Names of the master keys that open it.
    pub(crate) fn masters(&self) -> Vec<String> {
        let hex = |name: &[u8; NAME]| name.iter().map(|octet| format!("{octet:02x}")).collect();
        self.wraps.iter().map(|(name, _)| hex(name)).collect()
    }

    pub(crate) fn to_octets(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        out.extend_from_slice(&self.epoch.to_be_bytes());
        for (name, sealed) in &self.wraps {
            out.extend_from_slice(name);
            out.extend_from_slice(sealed);
        }
        out
    }

    /// `None` when it is none.
    pub(crate) fn read(octets: &[u8]) -> Option<Self> {
        let (version, rest) = octets.split_first()?;
        let (epoch, mut rest) = rest.split_first_chunk::<4>()?;
        let mut wraps = Vec::new();
        while let Some((name, after)) = rest.split_first_chunk::<NAME>() {
            let (sealed, after) = after.split_at_checked(SEALED)?;
            wraps.push((*name, sealed.to_vec()));
            rest = after;
        }
        let whole = rest.is_empty() && (1..=MASTERS_MAX).contains(&wraps.len());
        (*version == VERSION && whole).then_some(Self { epoch: u32::from_be_bytes(*epoch), wraps })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use portunus_keydist::SystemRandom;

    fn wrapping(n: u8) -> Wrapping {
        Wrapping::new(&MasterKey::new([n; 32]))
    }

    #[test]
    fn two_masters_open_it_a_third_does_not_and_one_can_be_shut_out() {
        let rng = &mut SystemRandom::new();
        let custody = Custody::renewed(Custody::new(&MasterKey::new([9; 32])).decoy(), rng);
        let (old, new, other) = (wrapping(1), wrapping(2), wrapping(3));
        let mut envelope = Envelope::new(7);
        envelope.admit(&custody, &old, rng).unwrap();
        envelope.admit(&custody, &new, rng).unwrap();
        envelope.admit(&custody, &old, rng).unwrap();
        assert!(matches!(envelope.admit(&custody, &other, rng), Err(NotAdmitted::Full)));
        let read = Envelope::read(&envelope.to_octets()).unwrap();
        assert_eq!(read, envelope);
        for with in [&old, &new] {
            assert_eq!(read.open(with).unwrap().unwrap().to_octets(), custody.to_octets());
        }
        assert!(read.open(&other).unwrap().is_none());
        assert_eq!(envelope.keep_only(&new), 1);
        assert!(envelope.open(&old).unwrap().is_none() && envelope.open(&new).unwrap().is_some());
        assert_eq!(envelope.masters(), [new.name()]);
    }

    #[test]
    fn cut_or_altered_it_is_refused() {
        let rng = &mut SystemRandom::new();
        let custody = Custody::renewed(Custody::new(&MasterKey::new([9; 32])).decoy(), rng);
        let mut envelope = Envelope::new(1);
        envelope.admit(&custody, &wrapping(1), rng).unwrap();
        let octets = envelope.to_octets();
        for n in 0..octets.len() {
            assert!(Envelope::read(&octets[..n]).is_none());
        }
        for bit in 0..octets.len() * 8 {
            let mut bad = octets.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(Envelope::read(&bad).and_then(|e| e.open(&wrapping(1)).unwrap()).is_none(), "bit {bit}");
        }
    }

    #[test]
    fn nothing_prints_a_key() {
        let wrapping = wrapping(0x5a);
        assert_eq!(format!("{wrapping:?}"), format!("Wrapping({})", wrapping.name()));
    }
}
