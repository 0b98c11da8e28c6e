//! A store as the replica of a system of record: takes changes over, in their order, each batch together with how far it
//! reaches, so that after a crash exactly what is missing is asked for.
//!
//! ```text
//! stand: version 1 | flags u8 (1: whole, 2: even) | changes u64 | touched u64 | origin
//! ```
//!
//! Sealed records are taken over as they are. One that does not open under the estate's working keys is refused and
//! named, and what the replica had in its place stays. Registrations are the node's own and are not touched, but for
//! those of identities that go.

use super::{
    META, PREVIOUS, REGISTRATIONS, ROWS, Space, Store, StoreError, definition, keys, previous, sealing, unseal,
    unseal_former,
};
use crate::custody::Custody;
use crate::envelope::{Envelope, Wrapping};
use core::ops::Bound;
use portunus_keydist::Random;
use redb::{ReadableTable as _, WriteTransaction};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::Ordering;

const STAND: &str = "replica";
const VERSION: u8 = 1;
const WHOLE: u8 = 1;
const EVEN: u8 = 2;

/// How far a replica follows its system of record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stand {
    /// Which system of record, and which life of it: another one has to be copied, not followed.
    pub origin: String,
    /// Every change up to this one is here; `None` while a copy is under way.
    pub changes: Option<u64>,
    /// True once a copy was complete: the node may answer from it.
    pub whole: bool,
    /// When it was last compared with the system of record, milliseconds since 1970 UTC.
    pub touched_ms: u64,
}

impl Stand {
    fn to_octets(&self) -> Vec<u8> {
        let flag = |on: bool, bit: u8| if on { bit } else { 0 };
        let mut out = vec![VERSION, flag(self.whole, WHOLE) | flag(self.changes.is_some(), EVEN)];
        out.extend_from_slice(&self.changes.unwrap_or_default().to_be_bytes());
        out.extend_from_slice(&self.touched_ms.to_be_bytes());
        out.extend_from_slice(self.origin.as_bytes());
        out
    }

    fn read(octets: &[u8]) -> Option<Self> {
        let (head, rest) = octets.split_first_chunk::<2>()?;
        let (changes, rest) = rest.split_first_chunk::<8>()?;
        let (touched, origin) = rest.split_first_chunk::<8>()?;
        let origin = core::str::from_utf8(origin).ok()?.to_owned();
        (head[0] == VERSION).then(|| Self {
            origin,
            changes: (head[1] & EVEN != 0).then_some(u64::from_be_bytes(*changes)),
            whole: head[1] & WHOLE != 0,
            touched_ms: u64::from_be_bytes(*touched),
        })
    }
}

/// An identity as the system of record has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) space: Space,
    pub(crate) id: String,
    /// Its sealed credential; `None`: removed.
    pub(crate) record: Option<Vec<u8>>,
    /// Its sealed former key.
    pub(crate) former: Option<Vec<u8>>,
}

/// What is taken over in one transaction.
pub(crate) struct Batch<'a> {
    /// The estate's envelope, when it is to take the place of the one here.
    pub(crate) envelope: Option<&'a Envelope>,
    pub(crate) rows: &'a [Row],
    /// In a copy: from after this identity to that one (or the end) of a space the rows are all that there is.
    pub(crate) sweep: Vec<(Space, String, Option<String>)>,
    pub(crate) stand: Stand,
}

/// What became of a batch.
#[derive(Debug, Default)]
pub(crate) struct Applied {
    pub(crate) written: u64,
    pub(crate) removed: u64,
    /// What was refused, and whose it is.
    pub(crate) refused: Vec<(&'static str, String)>,
}

impl Store {
    /// That keys may be changed here: not in a replica.
    pub(super) fn own_in(&self, txn: &WriteTransaction) -> Result<(), StoreError> {
        let meta = txn.open_table(META).map_err(|e| self.fault(e))?;
        match meta.get(STAND).map_err(|e| self.fault(e))? {
            None => Ok(()),
            Some(_) => Err(StoreError::Replica { path: self.path.clone() }),
        }
    }

    /// How far this replica follows; `None`: it is none.
    ///
    /// # Errors
    /// [`StoreError::Record`] when that cannot be read, [`StoreError::Backend`].
    pub fn stand(&self) -> Result<Option<Stand>, StoreError> {
        let txn = self.db.begin_read().map_err(|e| self.fault(e))?;
        let meta = txn.open_table(META).map_err(|e| self.fault(e))?;
        let Some(octets) = meta.get(STAND).map_err(|e| self.fault(e))? else { return Ok(None) };
        let damaged = || StoreError::Record { noun: "the store's own", id: STAND.to_owned() };
        Stand::read(octets.value()).map(Some).ok_or_else(damaged)
    }

    /// What the master key is to envelopes.
    pub(crate) fn wrapping(&self) -> &Wrapping {
        &self.keys.wrapping
    }

    /// The envelope here; `None` in a store of the first layout.
    pub(crate) fn own_envelope(&self) -> Result<Option<Envelope>, StoreError> {
        let txn = self.db.begin_read().map_err(|e| self.fault(e))?;
        let meta = txn.open_table(META).map_err(|e| self.fault(e))?;
        let read = keys::reader(&meta, &self.path);
        match keys::version(&read)? {
            Some(keys::VERSION) => keys::envelope(&read).map(Some),
            _ => Ok(None),
        }
    }

    /// Takes a batch over, in one transaction that is durable when this returns.
    pub(crate) fn apply(&self, batch: &Batch<'_>, rng: &mut dyn Random) -> Result<Applied, StoreError> {
        let mut done = Applied::default();
        let txn = self.db.begin_write().map_err(|e| self.fault(e))?;
        let old = self.keys_in(&txn, rng)?;
        let taken = match batch.envelope {
            Some(envelope) => Some((self.take_envelope(&txn, envelope)?, envelope.epoch)),
            None => None,
        };
        let custody = taken.as_ref().map_or(&old.custody, |(custody, _)| custody);
        if taken.is_some() {
            // What is this node's own goes on opening.
            for (rows, _) in ROWS {
                self.reseal_rows(&txn, rows, (&old.custody, custody), rng)?;
            }
        }
        for (space, after, upto) in &batch.sweep {
            self.sweep(&txn, (*space, after, upto.as_deref()), batch.rows, &mut done)?;
        }
        for row in batch.rows {
            self.take(&txn, custody, row, &mut done)?;
        }
        {
            let mut meta = txn.open_table(META).map_err(|e| self.fault(e))?;
            meta.insert(STAND, batch.stand.to_octets().as_slice()).map_err(|e| self.fault(e))?;
        }
        if done.written + done.removed > 0 || taken.is_some() {
            self.count_change(&txn)?;
        }
        txn.commit().map_err(|e| self.fault(e))?;
        if let Some((custody, epoch)) = taken {
            self.keys.set(custody, epoch, rng);
        }
        self.changes
            .fetch_add(u64::from(done.written + done.removed > 0 || batch.envelope.is_some()), Ordering::Release);
        Ok(done)
    }

    fn take_envelope(&self, txn: &WriteTransaction, envelope: &Envelope) -> Result<Custody, StoreError> {
        let custody = envelope.open(&self.keys.wrapping)?;
        let custody = custody.ok_or_else(|| StoreError::WrongMasterKey { path: self.path.clone() })?;
        let mut meta = txn.open_table(META).map_err(|e| self.fault(e))?;
        keys::put(&mut meta, &self.path, envelope)?;
        Ok(custody)
    }

    /// Removes what the system of record does not have.
    fn sweep(
        &self,
        txn: &WriteTransaction,
        (space, after, upto): (Space, &str, Option<&str>),
        rows: &[Row],
        done: &mut Applied,
    ) -> Result<(), StoreError> {
        let there: BTreeSet<&str> = rows.iter().filter(|r| r.space == space).map(|r| r.id.as_str()).collect();
        let mut gone = Vec::new();
        {
            let table = txn.open_table(definition(space)).map_err(|e| self.fault(e))?;
            let end = upto.map_or(Bound::Unbounded, Bound::Included);
            for row in table.range::<&str>((Bound::Excluded(after), end)).map_err(|e| self.fault(e))? {
                let (id, _) = row.map_err(|e| self.fault(e))?;
                if !there.contains(id.value()) {
                    gone.push(id.value().to_owned());
                }
            }
        }
        for id in gone {
            self.drop_identity(txn, space, &id, done)?;
        }
        Ok(())
    }

    fn drop_identity(
        &self,
        txn: &WriteTransaction,
        space: Space,
        id: &str,
        done: &mut Applied,
    ) -> Result<(), StoreError> {
        let mut table = txn.open_table(definition(space)).map_err(|e| self.fault(e))?;
        if table.remove(id).map_err(|e| self.fault(e))?.is_some() {
            done.removed += 1;
        }
        self.forget_previous(txn, space, id)?;
        if space == Space::Subscriber {
            let mut registrations = txn.open_table(REGISTRATIONS).map_err(|e| self.fault(e))?;
            registrations.remove(id).map_err(|e| self.fault(e))?;
        }
        Ok(())
    }

    fn take(&self, txn: &WriteTransaction, custody: &Custody, row: &Row, done: &mut Applied) -> Result<(), StoreError> {
        let Row { space, id, record, former } = row;
        let Some(record) = record else { return self.drop_identity(txn, *space, id, done) };
        if unseal(custody, *space, id, record).is_none() {
            done.refused.push((space.noun(), id.clone()));
            return Ok(());
        }
        let put = |table, row: &str, value: &[u8]| -> Result<bool, StoreError> {
            let mut table: redb::Table<'_, &str, &[u8]> = txn.open_table(table).map_err(|e| self.fault(e))?;
            let same = table.get(row).map_err(|e| self.fault(e))?.is_some_and(|old| old.value() == value);
            if !same {
                table.insert(row, value).map_err(|e| self.fault(e))?;
            }
            Ok(!same)
        };
        let mut changed = put(definition(*space), id, record)?;
        let kept = previous::row(*space, id);
        match former {
            Some(former) if unseal_former(custody, &kept, former).is_some() => changed |= put(PREVIOUS, &kept, former)?,
            Some(_) => done.refused.push(("former key of", id.clone())),
            None => self.forget_previous(txn, *space, id)?,
        }
        done.written += u64::from(changed);
        Ok(())
    }

    /// True when the records here are sealed under these working keys.
    pub(crate) fn seals_with(&self, custody: &Custody) -> bool {
        self.keys.now().custody.to_octets() == custody.to_octets()
    }

    /// A row of this store, sealed under other working keys.
    pub(crate) fn sealed_for(&self, custody: &Custody, row: Row, rng: &mut dyn Random) -> Result<Row, StoreError> {
        sealing::row_anew((&self.keys.now().custody, custody), row, rng)
    }

    /// Where the store is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Identities of both spaces.
    pub(crate) fn identities(&self) -> Result<u64, StoreError> {
        Ok(self.count(Space::Subscriber)? + self.count(Space::Device)?)
    }

    /// Up to `most` identities of a space after one, as a system of record would have them.
    pub(crate) fn rows(&self, space: Space, after: &str, most: usize) -> Result<Vec<Row>, StoreError> {
        let txn = self.db.begin_read().map_err(|e| self.fault(e))?;
        let table = txn.open_table(definition(space)).map_err(|e| self.fault(e))?;
        let formers = txn.open_table(PREVIOUS).map_err(|e| self.fault(e))?;
        let mut out = Vec::new();
        for row in table.range::<&str>((Bound::Excluded(after), Bound::Unbounded)).map_err(|e| self.fault(e))? {
            if out.len() == most {
                break;
            }
            let (id, octets) = row.map_err(|e| self.fault(e))?;
            let id = id.value().to_owned();
            let former = formers.get(&*previous::row(space, &id)).map_err(|e| self.fault(e))?;
            let (record, former) = (Some(octets.value().to_vec()), former.map(|f| f.value().to_vec()));
            out.push(Row { space, id, record, former });
        }
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{entry, lab, octets, rng};
    use super::super::{IfThere, Kind};
    use super::*;

    fn stand(changes: Option<u64>) -> Stand {
        Stand { origin: "here/1".to_owned(), changes, whole: true, touched_ms: 7 }
    }

    fn batch<'a>(rows: &'a [Row], sweep: &[(&str, Option<&str>)], changes: Option<u64>) -> Batch<'a> {
        let sweep = sweep.iter().map(|(from, to)| (Space::Subscriber, (*from).to_owned(), to.map(str::to_owned)));
        Batch { envelope: None, rows, sweep: sweep.collect(), stand: stand(changes) }
    }

    #[test]
    fn a_stand_comes_back_and_what_is_cut_or_newer_is_none() {
        for changes in [None, Some(0), Some(u64::MAX)] {
            let written = stand(changes).to_octets();
            assert_eq!(Stand::read(&written), Some(stand(changes)));
            (0..18).for_each(|n| assert_eq!(Stand::read(&written[..n]), None));
            assert_eq!(Stand::read(&[&[2], &written[1..]].concat()), None);
        }
    }

    #[test]
    fn rows_are_taken_over_swept_and_refused_and_nothing_else_changes_a_replica() {
        let (source, lab) = (lab(), lab());
        let there = source.open();
        let id = |n: u8| format!("t{n}@example.test");
        let many: Vec<_> = (0..6).map(|n| entry(&id(n), Kind::Terminal, n + 1)).collect();
        there.put(1, &many, IfThere::Refuse, &mut rng()).unwrap();
        let mut rows = there.rows(Space::Subscriber, "", 99).unwrap();
        assert_eq!(there.rows(Space::Subscriber, &id(1), 2).unwrap(), rows[2..4]);

        let here = lab.open();
        let envelope = there.own_envelope().unwrap().unwrap();
        let first = Batch { envelope: Some(&envelope), ..batch(&rows, &[("", None)], Some(6)) };
        assert_eq!(here.apply(&first, &mut rng()).unwrap().written, 6);
        assert!(here.seals_with(&there.keys.now().custody));
        assert_eq!(here.apply(&batch(&rows, &[("", None)], Some(6)), &mut rng()).unwrap().written, 0, "once");
        assert_eq!(lab.open().stand().unwrap(), Some(stand(Some(6))));

        // Of the first three the second is gone, and the third was altered; what lies behind is not concerned.
        rows.remove(1);
        rows[1].record.as_mut().unwrap()[70] ^= 1;
        let done = here.apply(&batch(&rows[..2], &[("", Some(&id(2)))], Some(8)), &mut rng()).unwrap();
        assert_eq!((done.removed, done.written), (1, 0));
        assert_eq!(done.refused, [("subscriber", id(2))]);
        let keys: Vec<_> = (0..6).map(|n| octets(&here, Space::Subscriber, &id(n)).map(|key| key[0])).collect();
        assert_eq!(keys, [Some(1), None, Some(3), Some(4), Some(5), Some(6)]);

        let replica = |e: StoreError| assert!(matches!(e, StoreError::Replica { .. }), "{e}");
        replica(here.put(1, &many, IfThere::Keep, &mut rng()).unwrap_err());
        replica(here.remove(Space::Subscriber, &id(0)).unwrap_err());
        replica(here.retire_masters().unwrap_err());
        replica(here.reseal(&mut |_| (), &mut rng()).unwrap_err());
    }
}
