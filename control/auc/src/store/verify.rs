//! Reads the whole store and names what is damaged.

use super::record::{self, Head};
use super::{PREVIOUS, REGISTRATIONS, ROWS, Space, Store, StoreError, definition, previous, sealed, unseal};
use redb::ReadableTable as _;

/// How closely records are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// What can be read without opening anything.
    Heads,
    /// Every credential is opened and forgotten.
    Records,
}

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verified {
    /// Subscribers whose records are whole.
    pub subscribers: u64,
    /// Devices whose records are whole.
    pub devices: u64,
    /// Registrations that can be read.
    pub registrations: u64,
    /// The first [`Verified::NAMED`] damaged records: what, and whose.
    pub damaged: Vec<(&'static str, String)>,
    /// How many are damaged.
    pub damaged_count: u64,
}

impl Verified {
    /// Damaged records that are named; the others are counted.
    pub const NAMED: usize = 100;

    fn add(&mut self, noun: &'static str, id: &str, whole: bool) {
        if !whole {
            self.damaged_count += 1;
            if self.damaged.len() < Self::NAMED {
                self.damaged.push((noun, id.to_owned()));
            }
            return;
        }
        match noun {
            "registration" => self.registrations += 1,
            noun if noun == Space::Device.noun() => self.devices += 1,
            _ => self.subscribers += 1,
        }
    }

    /// Records looked at.
    pub const fn seen(&self) -> u64 {
        self.subscribers + self.devices + self.registrations + self.damaged_count
    }
}

impl Store {
    /// Has the file's own checksums and structure verified. False when something was mended: the last transaction may
    /// be lost.
    ///
    /// # Errors
    /// [`StoreError::Backend`] when it is beyond mending.
    pub fn verify_file(&mut self) -> Result<bool, StoreError> {
        self.db.check_integrity().map_err(|e| self.fault(e))
    }

    /// Reads every record, of one moment, while others go on working. `told` hears now and then how many were seen.
    ///
    /// # Errors
    /// [`StoreError::Backend`]; a damaged record is a finding, not an error.
    pub fn verify(&self, depth: Depth, told: &mut dyn FnMut(u64)) -> Result<Verified, StoreError> {
        let txn = self.db.begin_read().map_err(|e| self.fault(e))?;
        let mut found = Verified::default();
        let keys = self.keys.now();
        for space in [Space::Subscriber, Space::Device] {
            let table = txn.open_table(definition(space)).map_err(|e| self.fault(e))?;
            for row in table.iter().map_err(|e| self.fault(e))? {
                let (id, octets) = row.map_err(|e| self.fault(e))?;
                let (id, octets) = (id.value(), octets.value());
                let whole = match depth {
                    Depth::Heads => Head::read(octets).is_some_and(|head| head.kind.space() == space),
                    Depth::Records => unseal(&keys.custody, space, id, octets).is_some(),
                };
                found.add(space.noun(), id, whole);
                if found.seen() % 4096 == 0 {
                    told(found.seen());
                }
            }
        }
        let table = txn.open_table(PREVIOUS).map_err(|e| self.fault(e))?;
        for row in table.iter().map_err(|e| self.fault(e))? {
            let (id, octets) = row.map_err(|e| self.fault(e))?;
            let whole = previous::parts(octets.value()).is_some_and(|(until, sealed)| {
                depth == Depth::Heads || keys.custody.open(&previous::bound(id.value(), until), sealed).is_ok()
            });
            // A whole one is part of its identity.
            if !whole {
                found.add("former key of", id.value(), false);
            }
        }
        for (definition, noun) in ROWS {
            let table = txn.open_table(definition).map_err(|e| self.fault(e))?;
            for row in table.iter().map_err(|e| self.fault(e))? {
                let (key, octets) = row.map_err(|e| self.fault(e))?;
                let (key, octets) = (key.value(), octets.value());
                let opens = || sealed::open(&keys.custody, definition, key, octets).is_some();
                if sealed::parts(octets).is_none() || (depth == Depth::Records && !opens()) {
                    found.add(noun, key, false);
                }
            }
        }
        let table = txn.open_table(REGISTRATIONS).map_err(|e| self.fault(e))?;
        for row in table.iter().map_err(|e| self.fault(e))? {
            let (id, octets) = row.map_err(|e| self.fault(e))?;
            found.add("registration", id.value(), record::read_registration(octets.value()).is_some());
        }
        told(found.seen());
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{account, entry, lab, master, rng};
    use super::super::{IfThere, Kind, SUBSCRIBERS};
    use super::*;
    use portunus_keydist::steps::Registration;

    #[test]
    fn a_damaged_record_is_named_and_the_others_are_counted() {
        let lab = lab();
        let mut store = lab.open();
        let batch: Vec<_> = (0..5).map(|n| entry(&format!("t{n}@example.test"), Kind::Terminal, n)).collect();
        store.put(1, &batch, IfThere::Refuse, &mut rng()).unwrap();
        store.put(1, &[entry("sp1.example.test", Kind::Device, 9)], IfThere::Refuse, &mut rng()).unwrap();
        store.record(5, &[account("t1@example.test", 1, Registration::Start)]).unwrap();
        let whole = store.verify(Depth::Records, &mut |_| ()).unwrap();
        assert_eq!((whole.subscribers, whole.devices, whole.registrations, whole.damaged_count), (5, 1, 1, 0));
        // One octet in the sealed part of one record, and two records swapped.
        let txn = store.db.begin_write().unwrap();
        {
            let mut table = txn.open_table(SUBSCRIBERS).unwrap();
            let read = |id: &str, table: &redb::Table<'_, &'static str, &'static [u8]>| {
                table.get(id).unwrap().unwrap().value().to_vec()
            };
            let mut first = read("t0@example.test", &table);
            first[60] ^= 1;
            let (third, fourth) = (read("t3@example.test", &table), read("t4@example.test", &table));
            table.insert("t0@example.test", first.as_slice()).unwrap();
            table.insert("t3@example.test", fourth.as_slice()).unwrap();
            table.insert("t4@example.test", third.as_slice()).unwrap();
            table.insert("t5@example.test", [1u8, 1].as_slice()).unwrap();
        }
        txn.commit().unwrap();
        let found = store.verify(Depth::Records, &mut |_| ()).unwrap();
        let named: Vec<_> = found.damaged.iter().map(|(noun, id)| format!("{noun} {id}")).collect();
        let wanted = ["t0", "t3", "t4", "t5"].map(|t| format!("subscriber {t}@example.test"));
        assert_eq!((named.as_slice(), found.damaged_count, found.subscribers), (&wanted[..], 4, 2));
        let heads = store.verify(Depth::Heads, &mut |_| ()).unwrap();
        assert_eq!(heads.damaged, [("subscriber", "t5@example.test".to_owned())]);
        assert!(store.verify_file().unwrap(), "the file itself is whole");
    }

    #[test]
    fn a_file_that_was_altered_anywhere_is_refused_or_its_damage_found_and_nothing_panics() {
        let lab = lab();
        let store = lab.open();
        let batch: Vec<_> = (0..40).map(|n| entry(&format!("t{n}@example.test"), Kind::Terminal, n)).collect();
        store.put(1, &batch, IfThere::Refuse, &mut rng()).unwrap();
        drop(store);
        let whole = std::fs::read(&lab.path).unwrap();
        let (mut refused, mut found, mut harmless) = (0, 0, 0);
        for at in (0..whole.len()).step_by(1 + whole.len() / 400) {
            let mut bad = whole.clone();
            bad[at] ^= 0x55;
            std::fs::write(&lab.path, bad).unwrap();
            let looked = Store::open(&lab.path, &master(1), &mut rng()).and_then(|mut store| {
                let file = store.verify_file()?;
                Ok((file, store.verify(Depth::Records, &mut |_| ())?))
            });
            match looked {
                Err(_) => refused += 1,
                Ok((true, found)) if found.damaged_count == 0 && found.subscribers == 40 => harmless += 1,
                Ok(_) => found += 1,
            }
        }
        // What was flipped where nothing lies, or in what the next opening writes anew, does no harm.
        assert!(refused > 0 && harmless > 0, "{refused} refused, {found} found, {harmless} harmless");
    }
}
