//! What an interface for administrators needs beside [`Store::put`] and [`Store::list`]: pages, and changes that hold
//! only while nobody else made one.

use super::{
    Credential, Entry, IfThere, Listed, REGISTRATIONS, Registered, Space, Store, StoreError, Stored, definition,
    listed, record,
};
use portunus_keydist::Random;
use redb::{ReadableTable as _, WriteTransaction};
use ring::digest::{SHA256, digest};
use std::ops::Bound;
use std::sync::atomic::Ordering;

/// Which version of a credential's record: changed by every change, the same for nobody else's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tag(pub u64);

impl Tag {
    /// Of a record: nonces are drawn at random, so that no two records are alike.
    pub(crate) fn of(record: &[u8]) -> Self {
        let hash = digest(&SHA256, record);
        Self(hash.as_ref().first_chunk::<8>().map_or(0, |first| u64::from_be_bytes(*first)))
    }
}

/// What must be so for a change to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum If {
    /// Nothing.
    Any,
    /// The identity is not there.
    Absent,
    /// It is there in this version.
    Version(Tag),
}

/// Holds when a record, or none, is as `wanted`.
pub(crate) fn met((space, id): (Space, &str), record: Option<&[u8]>, wanted: If) -> Result<(), StoreError> {
    match (wanted, record.map(Tag::of)) {
        (If::Any, _) | (If::Absent, None) => Ok(()),
        (If::Absent, Some(_)) => Err(StoreError::Exists { space, id: id.to_owned() }),
        (If::Version(_), None) => Err(StoreError::Missing { space, id: id.to_owned() }),
        (If::Version(tag), Some(found)) if tag == found => Ok(()),
        (If::Version(_), Some(_)) => Err(StoreError::Changed { space, id: id.to_owned() }),
    }
}

impl Store {
    /// What is known of one identity without opening its record, and the record's version.
    ///
    /// # Errors
    /// [`StoreError::Record`] for one that cannot be read, [`StoreError::Backend`].
    pub fn look(&self, space: Space, id: &str) -> Result<Option<(Listed, Tag)>, StoreError> {
        let txn = self.db.begin_read().map_err(|e| self.fault(e))?;
        let table = txn.open_table(definition(space)).map_err(|e| self.fault(e))?;
        let Some(octets) = table.get(id).map_err(|e| self.fault(e))? else { return Ok(None) };
        Ok(Some((listed(space, id, octets.value())?, Tag::of(octets.value()))))
    }

    /// As [`Store::registrations`], from the first identity behind `after` on.
    ///
    /// # Errors
    /// As [`Store::registrations`].
    pub fn registrations_after(
        &self,
        after: &str,
        visit: &mut dyn FnMut(&str, Registered) -> bool,
    ) -> Result<(), StoreError> {
        let txn = self.db.begin_read().map_err(|e| self.fault(e))?;
        let table = txn.open_table(REGISTRATIONS).map_err(|e| self.fault(e))?;
        let from: (Bound<&str>, Bound<&str>) = (Bound::Excluded(after), Bound::Unbounded);
        for row in table.range::<&str>(from).map_err(|e| self.fault(e))? {
            let (id, octets) = row.map_err(|e| self.fault(e))?;
            let damaged = || StoreError::Record { noun: "registration", id: id.value().to_owned() };
            if !visit(id.value(), record::read_registration(octets.value()).ok_or_else(damaged)?) {
                break;
            }
        }
        Ok(())
    }

    /// Holds when the identity is as `wanted` in this transaction.
    fn met(&self, txn: &WriteTransaction, space: Space, id: &str, wanted: If) -> Result<(), StoreError> {
        let table = txn.open_table(definition(space)).map_err(|e| self.fault(e))?;
        let found = table.get(id).map_err(|e| self.fault(e))?;
        met((space, id), found.as_ref().map(|octets| octets.value()), wanted)
    }

    /// Puts one credential into the store, new or in the place of another, durable when this returns.
    ///
    /// # Errors
    /// [`StoreError::Exists`], [`StoreError::Missing`] and [`StoreError::Changed`] where it is not as `wanted`;
    /// [`StoreError::Malformed`], [`StoreError::Backend`].
    pub fn put_if(&self, now_ms: u64, entry: Entry, wanted: If, rng: &mut dyn Random) -> Result<Stored, StoreError> {
        let txn = self.db.begin_write().map_err(|e| self.fault(e))?;
        self.met(&txn, entry.kind.space(), &entry.id, wanted)?;
        let stored = self.put_in(&txn, now_ms, &[entry], IfThere::Replace, rng)?;
        txn.commit().map_err(|e| self.fault(e))?;
        self.changes.fetch_add(1, Ordering::Release);
        Ok(stored)
    }

    /// As [`Store::rotate`], where the identity is as `wanted`.
    ///
    /// # Errors
    /// As [`Store::rotate`]; [`StoreError::Changed`].
    pub fn rotate_if(
        &self,
        times: (u64, u64),
        (space, id): (Space, &str),
        credential: Credential,
        wanted: If,
        rng: &mut dyn Random,
    ) -> Result<(), StoreError> {
        let txn = self.db.begin_write().map_err(|e| self.fault(e))?;
        self.met(&txn, space, id, wanted)?;
        self.rotate_in(&txn, times, (space, id), credential, rng)?;
        txn.commit().map_err(|e| self.fault(e))?;
        self.changes.fetch_add(1, Ordering::Release);
        Ok(())
    }

    /// As [`Store::remove`], where the identity is as `wanted`.
    ///
    /// # Errors
    /// As [`Store::remove`]; [`StoreError::Changed`].
    pub fn remove_if(&self, space: Space, id: &str, wanted: If) -> Result<(), StoreError> {
        let txn = self.db.begin_write().map_err(|e| self.fault(e))?;
        self.met(&txn, space, id, wanted)?;
        self.remove_in(&txn, space, id)?;
        txn.commit().map_err(|e| self.fault(e))?;
        self.changes.fetch_add(1, Ordering::Release);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{account, entry, lab, octets, rng};
    use super::super::{Depth, Kind};
    use super::*;
    use portunus_keydist::Key;
    use portunus_keydist::steps::Registration;

    const ALICE: &str = "alice@example.test";

    #[test]
    fn pages_follow_each_other_without_gap_or_repetition() {
        let lab = lab();
        let store = lab.open();
        let batch: Vec<_> = (0..25).map(|n| entry(&format!("t{n:02}@example.test"), Kind::Terminal, 1)).collect();
        store.put(1, &batch, IfThere::Refuse, &mut rng()).unwrap();
        let records: Vec<_> = batch.iter().map(|e| account(&e.id, 1, Registration::Start)).collect();
        store.record(5, &records).unwrap();
        let (mut after, mut seen, mut registered) = (String::new(), Vec::new(), Vec::new());
        loop {
            let mut page = Vec::new();
            store
                .list_after(Space::Subscriber, &after, &mut |l| {
                    page.push(l.id);
                    page.len() < 10
                })
                .unwrap();
            let Some(last) = page.last() else { break };
            after = last.clone();
            seen.extend(page);
        }
        store
            .registrations_after("t09@example.test", &mut |id, _| {
                registered.push(id.to_owned());
                true
            })
            .unwrap();
        assert_eq!(seen, batch.iter().map(|e| e.id.clone()).collect::<Vec<_>>());
        assert_eq!(registered, seen[10..]);
    }

    #[test]
    fn changes_hold_only_while_nobody_else_made_one() {
        let lab = lab();
        let store = lab.open();
        let put = |n: u8, wanted| store.put_if(1, entry(ALICE, Kind::Terminal, n), wanted, &mut rng());
        let tag = || store.look(Space::Subscriber, ALICE).unwrap().map(|(_, tag)| tag);
        assert!(matches!(put(1, If::Version(Tag(1))), Err(StoreError::Missing { .. })));
        put(1, If::Absent).unwrap();
        assert!(matches!(put(2, If::Absent), Err(StoreError::Exists { .. })));
        let first = tag().unwrap();
        put(2, If::Version(first)).unwrap();
        assert!(matches!(put(3, If::Version(first)), Err(StoreError::Changed { .. })));
        let key = || Credential::Key(Key::new([4; 32]));
        let rotate = |wanted| store.rotate_if((10, 500), (Space::Subscriber, ALICE), key(), wanted, &mut rng());
        let second = tag().unwrap();
        assert!(matches!(rotate(If::Version(first)), Err(StoreError::Changed { .. })));
        rotate(If::Version(second)).unwrap();
        // A second copy of the same request would end the overlap of the first key.
        assert!(matches!(rotate(If::Version(second)), Err(StoreError::Changed { .. })));
        assert_eq!(
            store.previous(Space::Subscriber, ALICE).unwrap().map(|(key, until)| (key.expose()[0], until)),
            Some((2, 510))
        );
        assert_eq!(octets(&store, Space::Subscriber, ALICE), Some(vec![4; 32]));
        assert!(matches!(
            store.remove_if(Space::Subscriber, ALICE, If::Version(second)),
            Err(StoreError::Changed { .. })
        ));
        store.remove_if(Space::Subscriber, ALICE, If::Version(tag().unwrap())).unwrap();
        assert_eq!(tag(), None);
        assert_eq!(store.verify(Depth::Records, &mut |_| ()).unwrap().damaged_count, 0);
    }
}
