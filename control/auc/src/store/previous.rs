//! A new key for an identity, and the one before, which works for a while yet.
//!
//! | whose | meanwhile |
//! |---|---|
//! | a subscriber's | both work ([`crate::overlap`]): whether the terminal has the new one already shows in what it answers |
//! | a device's | the one before: nothing shows whether the device has the new one, and one that has holds both |
//!
//! ```text
//! until u64 (milliseconds since 1970 UTC) | nonce 12 | sealed key | tag 16
//! ```

use super::{
    Entry, If, IfThere, PREVIOUS, Space, Store, StoreError, definition, former, record, unseal, unseal_former,
};
use crate::custody::Custody;
use crate::store::Credential;
use portunus_keydist::{Key, Random};
use redb::{ReadableTable as _, WriteTransaction};
use std::borrow::Cow;

/// Octets before the nonce.
const HEADER: usize = 8;

/// The row of an identity's former key. The two spaces share a table, and names: no identity has a backslash.
pub(crate) fn row(space: Space, id: &str) -> Cow<'_, str> {
    match space {
        Space::Subscriber => Cow::Borrowed(id),
        Space::Device => Cow::Owned(format!("\\{id}")),
    }
}

/// What the seal of a former key is bound to.
pub(super) fn bound(id: &str, until: &[u8]) -> Vec<u8> {
    [b"portunus previous".as_slice(), &(id.len() as u16).to_be_bytes(), id.as_bytes(), until].concat()
}

/// The end of a former key's time, and what is sealed.
pub(super) fn parts(octets: &[u8]) -> Option<(&[u8; HEADER], &[u8])> {
    octets.split_first_chunk::<HEADER>()
}

impl Store {
    /// Gives an identity a new secret; kind and date of making stay. The key until now works for `overlap_ms` more, see
    /// the module; 0: not a moment. Of a device whose key is being replaced already, it is the one in use that goes on
    /// working, and the one that was to follow it is forgotten.
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
        self.rotate_if((now_ms, overlap_ms), (space, id), credential, If::Any, rng)
    }

    /// As [`Store::rotate`] in a transaction.
    pub(super) fn rotate_in(
        &self,
        txn: &WriteTransaction,
        (now_ms, overlap_ms): (u64, u64),
        (space, id): (Space, &str),
        credential: Credential,
        rng: &mut dyn Random,
    ) -> Result<(), StoreError> {
        let damaged = || StoreError::Record { noun: space.noun(), id: id.to_owned() };
        let keys = self.keys_in(txn, rng)?;
        let old = {
            let table = txn.open_table(definition(space)).map_err(|e| self.fault(e))?;
            let found = table.get(id).map_err(|e| self.fault(e))?;
            found.ok_or_else(|| StoreError::Missing { space, id: id.to_owned() })?.value().to_vec()
        };
        let kind = record::Head::read(&old).ok_or_else(damaged)?.kind;
        let in_use = match space {
            Space::Subscriber => None,
            Space::Device => self.former_in(txn, &keys.custody, id)?.filter(|(_, until)| now_ms < *until),
        };
        let entry = Entry { id: id.to_owned(), kind, credential };
        self.put_in(txn, now_ms, &[entry], IfThere::Replace, rng)?;
        if overlap_ms > 0 {
            let key = match in_use {
                Some((key, _)) => key,
                None => match unseal(&keys.custody, space, id, &old) {
                    Some(Credential::Key(key)) => key,
                    _ => return Err(damaged()),
                },
            };
            let row = row(space, id);
            let sealed = former(&keys.custody, &row, now_ms.saturating_add(overlap_ms), &key, rng);
            let mut table = txn.open_table(PREVIOUS).map_err(|e| self.fault(e))?;
            table.insert(&*row, sealed.as_slice()).map_err(|e| self.fault(e))?;
        }
        Ok(())
    }

    /// A device's former key, past or not.
    fn former_in(&self, txn: &WriteTransaction, custody: &Custody, id: &str) -> Result<Option<(Key, u64)>, StoreError> {
        let table = txn.open_table(PREVIOUS).map_err(|e| self.fault(e))?;
        let row = row(Space::Device, id);
        let Some(octets) = table.get(&*row).map_err(|e| self.fault(e))? else { return Ok(None) };
        let damaged = || StoreError::Record { noun: "former key of", id: id.to_owned() };
        unseal_former(custody, &row, octets.value()).map(Some).ok_or_else(damaged)
    }

    /// The key that an identity had before, with the end of its time in milliseconds since 1970 UTC, past or not.
    ///
    /// # Errors
    /// [`StoreError::Record`] for one that does not open, [`StoreError::Backend`].
    pub fn previous(&self, space: Space, id: &str) -> Result<Option<(Key, u64)>, StoreError> {
        self.previous_in(&self.moment()?, space, id)
    }

    /// Forgets the key that an identity had before.
    pub(super) fn forget_previous(&self, txn: &WriteTransaction, space: Space, id: &str) -> Result<(), StoreError> {
        let mut table = txn.open_table(PREVIOUS).map_err(|e| self.fault(e))?;
        table.remove(&*row(space, id)).map(|_| ()).map_err(|e| self.fault(e))
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
        let old = |store: &Store| {
            store.previous(Space::Subscriber, ALICE).unwrap().map(|(key, until)| (key.expose()[0], until))
        };
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

    #[test]
    fn of_a_device_the_key_in_use_goes_on_and_the_one_that_was_to_follow_is_forgotten() {
        const PROXY: &str = "sp1.example.test";
        let lab = lab();
        let store = lab.open();
        let old =
            |store: &Store| store.previous(Space::Device, PROXY).unwrap().map(|(key, until)| (key.expose()[0], until));
        let rotate = |now, overlap, n| store.rotate((now, overlap), Space::Device, PROXY, key(n), &mut rng()).unwrap();
        store.put(1, &[entry(PROXY, Kind::Device, 1)], IfThere::Refuse, &mut rng()).unwrap();
        // A subscriber of the same name is somebody else.
        store.put(1, &[entry(PROXY, Kind::Terminal, 99)], IfThere::Refuse, &mut rng()).unwrap();
        rotate(10, 500, 2);
        assert_eq!(old(&store), Some((1, 510)));
        assert_eq!(store.previous(Space::Subscriber, PROXY).unwrap().map(|(_, until)| until), None);
        rotate(20, 700, 3);
        assert_eq!(old(&store), Some((1, 720)), "the device has never heard of 2");
        store.reseal(&mut |_| (), &mut rng()).unwrap();
        assert_eq!(old(&lab.open()), Some((1, 720)));
        rotate(720, 5, 4);
        assert_eq!(old(&store), Some((3, 725)), "its time is over: 3 is in use");
        rotate(721, 0, 5);
        assert_eq!(old(&store), None);
        rotate(722, 9, 6);
        store.remove(Space::Subscriber, PROXY).unwrap();
        assert_eq!(old(&store), Some((5, 731)));
        store.remove(Space::Device, PROXY).unwrap();
        assert_eq!(old(&store), None);
    }
}
