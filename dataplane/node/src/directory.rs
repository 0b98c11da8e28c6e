//! Which worker holds which terminal's active session. Owned by the control thread; needed only where there is more
//! than one worker.

use hashbrown::HashTable;
use siphasher::sip::SipHasher13;
use std::hash::Hasher;

use portunus_keydist::Idc;

/// Bounded map from IDc to the handle of its active session. Identities are chosen by attackers, so the hash is keyed;
/// only the hash is kept: two of a million terminals share one with a probability of 3 in 10^8, and then a
/// request for one of them gets "unreachable".
pub(crate) struct Directory {
    key: (u64, u64),
    entries: HashTable<(u64, u64)>,
    limit: usize,
}

/// What became of an entry.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Entered {
    /// It is there; nothing was before.
    New,
    /// It is there; this session was before.
    Replaced(u64),
    /// There is no room.
    Full,
}

impl Directory {
    /// For at most `limit` terminals, all of its memory reserved now.
    pub(crate) fn new(limit: usize, key: (u64, u64)) -> Self {
        Self { key, entries: HashTable::with_capacity(limit), limit }
    }

    fn hash(&self, idc: Idc<'_>) -> u64 {
        let mut hasher = SipHasher13::new_with_keys(self.key.0, self.key.1);
        hasher.write(idc.as_bytes());
        hasher.finish()
    }

    /// Terminals entered.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The handle of the terminal's active session.
    pub(crate) fn find(&self, idc: Idc<'_>) -> Option<u64> {
        let hash = self.hash(idc);
        self.entries.find(hash, |entry| entry.0 == hash).map(|entry| entry.1)
    }

    /// Session `kid` of this terminal became active.
    pub(crate) fn enter(&mut self, idc: Idc<'_>, kid: u64) -> Entered {
        let hash = self.hash(idc);
        if let Some(entry) = self.entries.find_mut(hash, |entry| entry.0 == hash) {
            return Entered::Replaced(core::mem::replace(&mut entry.1, kid));
        }
        if self.entries.len() >= self.limit {
            return Entered::Full;
        }
        self.entries.insert_unique(hash, (hash, kid), |entry| entry.0);
        Entered::New
    }

    /// Session `kid` of this terminal ended. A newer one stays.
    pub(crate) fn remove(&mut self, idc: Idc<'_>, kid: u64) {
        let hash = self.hash(idc);
        if let Ok(entry) = self.entries.find_entry(hash, |entry| *entry == (hash, kid)) {
            entry.remove();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn idc(text: &str) -> Idc<'_> {
        Idc::new(text).unwrap()
    }

    #[test]
    fn a_newer_session_replaces_and_an_old_end_does_not_remove_it() {
        let mut directory = Directory::new(2, (1, 2));
        let (a, b, c) = (idc("a@example.test"), idc("b@example.test"), idc("c@example.test"));
        assert_eq!(directory.enter(a, 1), Entered::New);
        assert_eq!(directory.enter(a, 2), Entered::Replaced(1));
        directory.remove(a, 1);
        assert_eq!(directory.find(a), Some(2));
        assert_eq!(directory.enter(b, 3), Entered::New);
        assert_eq!(directory.enter(c, 4), Entered::Full);
        assert_eq!(directory.find(c), None);
        directory.remove(a, 2);
        assert_eq!((directory.find(a), directory.len()), (None, 1));
        assert_eq!(directory.enter(c, 4), Entered::New);
    }

    #[test]
    fn entering_up_to_the_limit_never_grows_the_table() {
        let mut directory = Directory::new(1000, (1, 2));
        let room = directory.entries.capacity();
        for round in 0..5u64 {
            for nth in 0..1000 {
                directory.enter(idc(&format!("t{nth}@example.test")), round * 1000 + nth);
            }
            for nth in 0..1000 {
                directory.remove(idc(&format!("t{nth}@example.test")), round * 1000 + nth);
            }
        }
        assert_eq!(directory.entries.capacity(), room);
    }
}
