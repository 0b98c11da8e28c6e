//! A new key for an identity, and the one before, which may work beside it for a while.
//!
//! ```text
//! until u64 (milliseconds since 1970 UTC) | nonce 12 | sealed key | tag 16
//! ```

use super::{Entry, IfThere, PREVIOUS, Space, Store, StoreError, definition, record, unseal};
use crate::store::Credential;
use portunus_keydist::{Key, Random, SystemRandom};
use redb::{ReadableDatabase as _, ReadableTable as _, WriteTransaction};
use std::sync::atomic::Ordering;

/// Octets before the nonce.
const HEADER: usize = 8;

/// What the seal of a former key is bound to.
pub(super) fn bound(id: &str, until: &[u8]) -> Vec<u8> {
    [b"portunus previous".as_slice(), &(id.len() as u16).to_be_bytes(), id.as_bytes(), until].concat()
}

/// The end of a former key's time, and what is sealed.
pub(super) fn parts(octets: &[u8]) -> Option<(&[u8; HEADER], &[u8])> {
    octets.split_first_chunk::<HEADER>()
}

impl Store {
    /// Gives an identity a new secret; kind and date of making stay. A subscriber's key until now works beside it for
    /// `overlap_ms` more; 0: not a moment. A device's never does: it holds both keys itself while its own is replaced.
    ///
    /// # Errors
    /// [`StoreError::Missing`], [`StoreError::Malformed`] when the secret does not fit the kind, [`StoreError::Record`]
    /// when the old one is to be kept and does not open, [`StoreError::Backend`].
    pub fn rotate(
        &self,
        (now_ms, overlap_ms): (u64, u64),
        space: Space,
        id: &str,
        credential: Credential,
        rng: &mut dyn Random,
    ) -> Result<(), StoreError> {
        let damaged = || StoreError::Record { noun: space.noun(), id: id.to_owned() };
        let txn = self.db.begin_write().map_err(|e| self.fault(e))?;
        let keys = self.keys_in(&txn, rng)?;
        let old = {
            let table = txn.open_table(definition(space)).map_err(|e| self.fault(e))?;
            let found = table.get(id).map_err(|e| self.fault(e))?;
            found.ok_or_else(|| StoreError::Missing { space, id: id.to_owned() })?.value().to_vec()
        };
        let kind = record::Head::read(&old).ok_or_else(damaged)?.kind;
        let entry = Entry { id: id.to_owned(), kind, credential };
        self.put_in(&txn, now_ms, &[entry], IfThere::Replace, rng)?;
        if overlap_ms > 0 && space == Space::Subscriber {
            let Some((_, Credential::Key(key))) = unseal(&keys.custody, space, id, &old) else { return Err(damaged()) };
            let until = now_ms.saturating_add(overlap_ms).to_be_bytes();
            let sealed = keys.custody.seal(&bound(id, &until), key.expose(), rng);
            let mut table = txn.open_table(PREVIOUS).map_err(|e| self.fault(e))?;
            table.insert(id, [&until[..], &sealed].concat().as_slice()).map_err(|e| self.fault(e))?;
        }
        txn.commit().map_err(|e| self.fault(e))?;
        self.changes.fetch_add(1, Ordering::Release);
        Ok(())
    }

    /// The key that a subscriber had before, with the end of its time in milliseconds since 1970 UTC, past or not.
    ///
    /// # Errors
    /// [`StoreError::Record`] for one that does not open, [`StoreError::Backend`].
    pub fn previous(&self, id: &str) -> Result<Option<(Key, u64)>, StoreError> {
        let txn = self.db.begin_read().map_err(|e| self.fault(e))?;
        let table = txn.open_table(PREVIOUS).map_err(|e| self.fault(e))?;
        let Some(octets) = table.get(id).map_err(|e| self.fault(e))? else { return Ok(None) };
        let open = || {
            let (until, sealed) = parts(octets.value())?;
            let plain = self.keys.now().custody.open(&bound(id, until), sealed).ok()?;
            Some((Key::new(plain.as_slice().try_into().ok()?), u64::from_be_bytes(*until)))
        };
        if let Some(found) = open() {
            return Ok(Some(found));
        }
        let meta = txn.open_table(super::META).map_err(|e| self.fault(e))?;
        self.keys.refresh(&super::keys::reader(&meta, &self.path), &self.path, &mut SystemRandom::new())?;
        open().map(Some).ok_or_else(|| StoreError::Record { noun: "former key of", id: id.to_owned() })
    }

    /// Forgets the key that a subscriber had before.
    pub(super) fn forget_previous(&self, txn: &WriteTransaction, id: &str) -> Result<(), StoreError> {
        let mut table = txn.open_table(PREVIOUS).map_err(|e| self.fault(e))?;
        table.remove(id).map(|_| ()).map_err(|e| self.fault(e))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{entry, lab, rng};
    use super::super::{Depth, Kind};
    use super::*;

    const ALICE: &str = "alice@example.test";

    fn key(n: u8) -> Credential {
        Credential::Key(Key::new([n; 32]))
    }

    #[test]
    fn the_key_before_is_kept_for_its_time_and_goes_with_every_other_change() {
        let lab = lab();
        let store = lab.open();
        let old = |store: &Store| store.previous(ALICE).unwrap().map(|(key, until)| (key.expose()[0], until));
        store.put(1, &[entry(ALICE, Kind::Terminal, 1)], IfThere::Refuse, &mut rng()).unwrap();
        assert_eq!(old(&store), None);
        store.rotate((10, 500), Space::Subscriber, ALICE, key(2), &mut rng()).unwrap();
        assert_eq!(old(&store), Some((1, 510)));
        store.rotate((20, 700), Space::Subscriber, ALICE, key(3), &mut rng()).unwrap();
        assert_eq!(old(&store), Some((2, 720)), "one before, not two");
        store.reseal(&mut |_| (), &mut rng()).unwrap();
        assert_eq!(old(&store), Some((2, 720)));
        assert_eq!(old(&lab.open()), Some((2, 720)));
        assert_eq!(store.verify(Depth::Records, &mut |_| ()).unwrap().damaged_count, 0);
        store.rotate((30, 0), Space::Subscriber, ALICE, key(4), &mut rng()).unwrap();
        assert_eq!(old(&store), None, "without an overlap the old one ends at once");
        store.rotate((40, 9), Space::Subscriber, ALICE, key(5), &mut rng()).unwrap();
        store.put(50, &[entry(ALICE, Kind::Terminal, 6)], IfThere::Replace, &mut rng()).unwrap();
        assert_eq!(old(&store), None);
        store.rotate((60, 9), Space::Subscriber, ALICE, key(7), &mut rng()).unwrap();
        store.remove(Space::Subscriber, ALICE).unwrap();
        assert_eq!(old(&store), None);
    }
}
