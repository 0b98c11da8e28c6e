//! Another layout, another master key, other working keys: while the store is in use.

use super::{META, PREVIOUS, ROWS, Space, Store, StoreError, definition, keys, sealing};
use crate::custody::{Custody, Master};
use portunus_keydist::Random;
use redb::ReadableTable as _;

impl Store {
    /// The layout of the store.
    ///
    /// # Errors
    /// [`StoreError::Backend`].
    pub fn version(&self) -> Result<u32, StoreError> {
        let txn = self.db.begin_read().map_err(|e| self.fault(e))?;
        let meta = txn.open_table(META).map_err(|e| self.fault(e))?;
        Ok(keys::version(&keys::reader(&meta, &self.path))?.unwrap_or(keys::VERSION))
    }

    /// Names of the master keys that open the store; empty for one without an envelope.
    ///
    /// # Errors
    /// [`StoreError::Record`] for a damaged envelope, [`StoreError::Backend`].
    pub fn masters(&self) -> Result<Vec<String>, StoreError> {
        let txn = self.db.begin_read().map_err(|e| self.fault(e))?;
        let meta = txn.open_table(META).map_err(|e| self.fault(e))?;
        let read = keys::reader(&meta, &self.path);
        if keys::version(&read)? != Some(keys::VERSION) {
            return Ok(Vec::new());
        }
        Ok(keys::envelope(&read)?.masters())
    }

    /// The name of the master key that this store was opened with.
    pub fn master(&self) -> String {
        self.keys.wrapping.name()
    }

    /// Brings the store to the present layout; the layout that it had. No record is touched: the keys that they are
    /// sealed under move into the envelope.
    ///
    /// # Errors
    /// [`StoreError::Backend`]; the store is then as it was.
    pub fn migrate(&self, rng: &mut dyn Random) -> Result<u32, StoreError> {
        let txn = self.db.begin_write().map_err(|e| self.fault(e))?;
        let from = {
            let mut meta = txn.open_table(META).map_err(|e| self.fault(e))?;
            let from = keys::version(&keys::reader(&meta, &self.path))?.unwrap_or(keys::VERSION);
            if from < keys::VERSION {
                let custody = &self.keys.now().custody;
                keys::write(&mut meta, &self.path, custody, 1, &[&self.keys.wrapping], rng)?;
            }
            from
        };
        txn.commit().map_err(|e| self.fault(e))?;
        if from < keys::VERSION {
            let custody = self.keys.now().custody.clone();
            self.keys.set(custody, 1, rng);
        }
        Ok(from)
    }

    /// Lets another master key open the store, beside the present one. Processes that have it open go on.
    ///
    /// # Errors
    /// [`StoreError::Older`], [`StoreError::Masters`] when two do already, [`StoreError::Custody`] when a token does not answer,
    /// [`StoreError::Backend`].
    pub fn admit_master(&self, next: &dyn Master, rng: &mut dyn Random) -> Result<(), StoreError> {
        let txn = self.db.begin_write().map_err(|e| self.fault(e))?;
        self.own_in(&txn)?;
        {
            let mut meta = txn.open_table(META).map_err(|e| self.fault(e))?;
            let mut envelope = self.envelope(&meta)?;
            let custody = envelope
                .open(&self.keys.wrapping)?
                .ok_or_else(|| StoreError::WrongMasterKey { path: self.path.clone() })?;
            envelope.admit(&custody, &next.wrapping(), rng).map_err(|e| keys::refused(e, &self.path))?;
            keys::put(&mut meta, &self.path, &envelope)?;
        }
        txn.commit().map_err(|e| self.fault(e))
    }

    /// Shuts out every master key but the one that this store was opened with; how many that were. Processes that have
    /// the store open under another go on until they are restarted, or the working keys are renewed.
    ///
    /// # Errors
    /// [`StoreError::Older`], [`StoreError::Backend`].
    pub fn retire_masters(&self) -> Result<usize, StoreError> {
        let txn = self.db.begin_write().map_err(|e| self.fault(e))?;
        self.own_in(&txn)?;
        let retired = {
            let mut meta = txn.open_table(META).map_err(|e| self.fault(e))?;
            let mut envelope = self.envelope(&meta)?;
            // Whoever was shut out shuts nobody out.
            if envelope.open(&self.keys.wrapping)?.is_none() {
                return Err(StoreError::WrongMasterKey { path: self.path.clone() });
            }
            let retired = envelope.keep_only(&self.keys.wrapping);
            keys::put(&mut meta, &self.path, &envelope)?;
            retired
        };
        txn.commit().map_err(|e| self.fault(e))?;
        Ok(retired)
    }

    fn envelope(
        &self,
        meta: &redb::Table<'_, &'static str, &'static [u8]>,
    ) -> Result<crate::envelope::Envelope, StoreError> {
        let read = keys::reader(meta, &self.path);
        match keys::version(&read)? {
            Some(keys::VERSION) => keys::envelope(&read),
            version => Err(StoreError::Older { path: self.path.clone(), version: version.unwrap_or(0) }),
        }
    }

    /// Seals every credential anew, under working keys that no earlier master key ever wrapped, in one transaction.
    /// `told` hears how many records are done.
    ///
    /// # Errors
    /// [`StoreError::Masters`] when two master keys open the store: only this one is here to wrap for.
    /// [`StoreError::Record`] for one that does not open, [`StoreError::Older`], [`StoreError::Backend`]. Nothing has
    /// changed then.
    pub fn reseal(&self, told: &mut dyn FnMut(u64), rng: &mut dyn Random) -> Result<u64, StoreError> {
        let txn = self.db.begin_write().map_err(|e| self.fault(e))?;
        self.own_in(&txn)?;
        let old = self.keys_in(&txn, rng)?;
        let custody = Custody::renewed(old.custody.decoy(), rng);
        let mut done = 0;
        for space in [Space::Subscriber, Space::Device] {
            done += self.reseal_space(&txn, space, (&old.custody, &custody), (done, told), rng)?;
        }
        self.reseal_previous(&txn, &old.custody, &custody, rng)?;
        for (rows, _) in ROWS {
            self.reseal_rows(&txn, rows, (&old.custody, &custody), rng)?;
        }
        let epoch = {
            let mut meta = txn.open_table(META).map_err(|e| self.fault(e))?;
            let envelope = self.envelope(&meta)?;
            if envelope.masters() != [self.keys.wrapping.name()] {
                return Err(StoreError::Masters { path: self.path.clone() });
            }
            let epoch = envelope.epoch.wrapping_add(1);
            keys::write(&mut meta, &self.path, &custody, epoch, &[&self.keys.wrapping], rng)?;
            epoch
        };
        self.count_change(&txn)?;
        txn.commit().map_err(|e| self.fault(e))?;
        self.keys.set(custody, epoch, rng);
        Ok(done)
    }

    /// Former keys: as many as are being replaced.
    fn reseal_previous(
        &self,
        txn: &redb::WriteTransaction,
        old: &Custody,
        new: &Custody,
        rng: &mut dyn Random,
    ) -> Result<(), StoreError> {
        let mut table = txn.open_table(PREVIOUS).map_err(|e| self.fault(e))?;
        let mut all = Vec::new();
        for row in table.iter().map_err(|e| self.fault(e))? {
            let (id, octets) = row.map_err(|e| self.fault(e))?;
            all.push((id.value().to_owned(), octets.value().to_vec()));
        }
        for (id, octets) in all {
            let damaged = || StoreError::Record { noun: "former key of", id: id.clone() };
            let anew = sealing::former_anew((old, new), &id, &octets, rng).ok_or_else(damaged)?;
            table.insert(id.as_str(), anew.as_slice()).map_err(|e| self.fault(e))?;
        }
        Ok(())
    }

    fn reseal_space(
        &self,
        txn: &redb::WriteTransaction,
        space: Space,
        (old, new): (&Custody, &Custody),
        (before, told): (u64, &mut dyn FnMut(u64)),
        rng: &mut dyn Random,
    ) -> Result<u64, StoreError> {
        /// Records at a time: what is held open in memory meanwhile.
        const BATCH: usize = 1024;
        let mut table = txn.open_table(definition(space)).map_err(|e| self.fault(e))?;
        let mut after = String::new();
        let mut done = 0;
        loop {
            let mut batch = Vec::with_capacity(BATCH);
            for row in table.range(after.as_str()..).map_err(|e| self.fault(e))? {
                let (id, octets) = row.map_err(|e| self.fault(e))?;
                if id.value() == after && done > 0 {
                    continue;
                }
                batch.push((id.value().to_owned(), octets.value().to_vec()));
                if batch.len() == BATCH {
                    break;
                }
            }
            let Some((last, _)) = batch.last() else { return Ok(done) };
            after.clone_from(last);
            for (id, octets) in &batch {
                let damaged = || StoreError::Record { noun: space.noun(), id: id.clone() };
                let anew = sealing::anew((old, new), space, id, octets, rng).ok_or_else(damaged)?;
                table.insert(id.as_str(), anew.as_slice()).map_err(|e| self.fault(e))?;
            }
            done += batch.len() as u64;
            told(before + done);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{entry, lab, master, octets, rng};
    use super::super::{CHECK, ENVELOPE, IfThere, Kind, SCHEMA, SUBSCRIBERS};
    use super::*;

    const ALICE: &str = "alice@example.test";

    #[test]
    fn a_master_key_is_replaced_while_another_process_works() {
        let lab = lab();
        let (ours, theirs) = (lab.open(), lab.open());
        ours.put(1, &[entry(ALICE, Kind::Terminal, 7)], IfThere::Refuse, &mut rng()).unwrap();
        ours.admit_master(&master(2), &mut rng()).unwrap();
        assert_eq!(ours.masters().unwrap().len(), 2);
        assert!(matches!(ours.admit_master(&master(3), &mut rng()), Err(StoreError::Masters { .. })));
        let next = Store::open(&lab.path, &master(2), &mut rng()).unwrap();
        for store in [&ours, &theirs, &next] {
            assert_eq!(octets(store, Space::Subscriber, ALICE), Some(vec![7; 32]));
        }
        assert_eq!(next.retire_masters().unwrap(), 1);
        assert_eq!(next.masters().unwrap(), [next.master()]);
        assert!(matches!(Store::open(&lab.path, &master(1), &mut rng()), Err(StoreError::WrongMasterKey { .. })));
        assert!(matches!(ours.retire_masters(), Err(StoreError::WrongMasterKey { .. })), "nobody undoes it");
        // Those who had it open go on: an AuC is restarted under the new key when it suits.
        assert_eq!(octets(&theirs, Space::Subscriber, ALICE), Some(vec![7; 32]));
    }

    #[test]
    fn resealed_records_open_for_processes_of_the_same_master_and_for_nobody_before() {
        let lab = lab();
        let (ours, theirs) = (lab.open(), lab.open());
        let many: Vec<_> =
            (0..3000u32).map(|n| entry(&format!("t{n}@example.test"), Kind::Terminal, n as u8)).collect();
        ours.put(1, &many, IfThere::Refuse, &mut rng()).unwrap();
        ours.put(1, &[entry("sp1.example.test", Kind::Device, 9)], IfThere::Refuse, &mut rng()).unwrap();
        let before = ours.keys.now();
        let mut told = 0;
        ours.admit_master(&master(2), &mut rng()).unwrap();
        assert!(matches!(ours.reseal(&mut |_| (), &mut rng()), Err(StoreError::Masters { .. })));
        assert_eq!(ours.retire_masters().unwrap(), 1);
        assert_eq!(ours.reseal(&mut |n| told = n, &mut rng()).unwrap(), 3001);
        assert_eq!(told, 3001);
        for store in [&ours, &theirs] {
            assert_eq!(octets(store, Space::Subscriber, "t77@example.test"), Some(vec![77; 32]));
            assert_eq!(octets(store, Space::Device, "sp1.example.test"), Some(vec![9; 32]));
        }
        let txn = ours.db.begin_read().unwrap();
        let table = txn.open_table(SUBSCRIBERS).unwrap();
        let record = table.get("t77@example.test").unwrap().unwrap();
        assert!(super::super::unseal(&before.custody, Space::Subscriber, "t77@example.test", record.value()).is_none());
        // A process that was away writes under the new keys too.
        theirs.put(2, &[entry(ALICE, Kind::Terminal, 5)], IfThere::Refuse, &mut rng()).unwrap();
        assert_eq!(octets(&lab.open(), Space::Subscriber, ALICE), Some(vec![5; 32]));
    }

    #[test]
    fn a_store_of_the_first_layout_opens_and_migrates_without_touching_a_record() {
        let lab = lab();
        // As that layout had it: working keys from the master key, a check sealed under them, no envelope.
        let first = Custody::new(&master(1));
        {
            let store = lab.open();
            let txn = store.db.begin_write().unwrap();
            {
                let mut meta = txn.open_table(META).unwrap();
                meta.remove(SCHEMA).unwrap();
                meta.remove(ENVELOPE).unwrap();
                meta.insert(CHECK, first.seal(CHECK.as_bytes(), CHECK.as_bytes(), &mut rng()).as_slice()).unwrap();
            }
            txn.commit().unwrap();
        }
        assert!(matches!(Store::open(&lab.path, &master(2), &mut rng()), Err(StoreError::WrongMasterKey { .. })));
        let store = lab.open();
        store.put(1, &[entry(ALICE, Kind::Terminal, 3)], IfThere::Refuse, &mut rng()).unwrap();
        assert_eq!(store.version().unwrap(), 1);
        assert!(matches!(store.admit_master(&master(2), &mut rng()), Err(StoreError::Older { version: 1, .. })));
        assert_eq!(store.migrate(&mut rng()).unwrap(), 1);
        assert_eq!((store.version().unwrap(), store.migrate(&mut rng()).unwrap()), (2, 2));
        store.admit_master(&master(2), &mut rng()).unwrap();
        for (n, store) in [(1, store), (2, Store::open(&lab.path, &master(2), &mut rng()).unwrap())] {
            assert_eq!(octets(&store, Space::Subscriber, ALICE), Some(vec![3; 32]), "master {n}");
            assert_eq!(store.keys.now().custody.decoy().expose(), first.decoy().expose(), "nobody's keys stay");
        }
    }

    #[test]
    fn a_layout_of_the_future_is_left_alone() {
        let lab = lab();
        let store = lab.open();
        let txn = store.db.begin_write().unwrap();
        txn.open_table(META).unwrap().insert(SCHEMA, 3u32.to_be_bytes().as_slice()).unwrap();
        txn.commit().unwrap();
        drop(store);
        let refused = Store::open(&lab.path, &master(1), &mut rng()).unwrap_err();
        assert!(refused.to_string().contains("layout 3; this program knows layouts up to 2"), "{refused}");
    }
}
