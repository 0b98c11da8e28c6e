//! From a keyed hash to a slot: open addressing with linear probing, eight octets an entry, deletion by shifting
//! back, so that no tombstones gather. The hashes are keyed, so nobody outside can aim at one place.

/// A multimap from 32-bit hashes to slots; the caller compares what the slots hold.
pub(crate) struct Index {
    /// 0: free; else the hash above the slot plus one.
    entries: Vec<u64>,
    used: usize,
    most: usize,
}

const fn entry(hash: u32, slot: u32) -> u64 {
    (hash as u64) << 32 | (slot as u64 + 1)
}

const fn hash_of(entry: u64) -> u32 {
    (entry >> 32) as u32
}

const fn slot_of(entry: u64) -> u32 {
    (entry as u32).wrapping_sub(1)
}

impl Index {
    /// Room for `capacity` entries, at most two thirds of the table.
    pub(crate) fn new(capacity: usize) -> Self {
        let len = (capacity + capacity / 2 + 1).next_power_of_two();
        Self { entries: vec![0; len], used: 0, most: capacity }
    }

    fn mask(&self) -> usize {
        self.entries.len() - 1
    }

    fn at(&self, place: usize) -> u64 {
        self.entries.get(place).copied().unwrap_or_default()
    }

    fn put(&mut self, place: usize, value: u64) {
        if let Some(entry) = self.entries.get_mut(place) {
            *entry = value;
        }
    }

    /// Reads the place where a search for `hash` begins, so that the misses of several overlap.
    #[inline]
    pub(crate) fn touch(&self, hash: u32) -> u64 {
        self.at(hash as usize & self.mask())
    }

    /// The first slot under `hash` that `is_it` accepts.
    #[inline]
    pub(crate) fn find(&self, hash: u32, mut is_it: impl FnMut(u32) -> bool) -> Option<u32> {
        let mut place = hash as usize & self.mask();
        loop {
            let entry = self.at(place);
            if entry == 0 {
                return None;
            }
            if hash_of(entry) == hash && is_it(slot_of(entry)) {
                return Some(slot_of(entry));
            }
            place = (place + 1) & self.mask();
        }
    }

    /// Adds an entry; false when the table holds as many as it was made for.
    pub(crate) fn insert(&mut self, hash: u32, slot: u32) -> bool {
        if self.used >= self.most {
            return false;
        }
        let mut place = hash as usize & self.mask();
        while self.at(place) != 0 {
            place = (place + 1) & self.mask();
        }
        self.put(place, entry(hash, slot));
        self.used += 1;
        true
    }

    /// Removes an entry; false when it is not there.
    pub(crate) fn remove(&mut self, hash: u32, slot: u32) -> bool {
        let mut place = hash as usize & self.mask();
        loop {
            match self.at(place) {
                0 => return false,
                found if found == entry(hash, slot) => break,
                _ => place = (place + 1) & self.mask(),
            }
        }
        self.close(place);
        self.used -= 1;
        true
    }

    /// Fills the hole at `hole` with later entries that may stand there.
    fn close(&mut self, mut hole: usize) {
        let mask = self.mask();
        let mut place = hole;
        loop {
            place = (place + 1) & mask;
            let entry = self.at(place);
            if entry == 0 {
                break;
            }
            let home = hash_of(entry) as usize & mask;
            // It may move when the hole lies between its home and where it stands.
            if place.wrapping_sub(home) & mask >= place.wrapping_sub(hole) & mask {
                self.put(hole, entry);
                hole = place;
            }
        }
        self.put(hole, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        /// Against a set, with hashes so few that chains collide and wrap around.
        #[test]
        fn agrees_with_a_set(ops in proptest::collection::vec((0u32..6, 0u32..12, any::<bool>()), 1..200)) {
            let mut index = Index::new(10);
            let mut set = BTreeSet::new();
            for (h, slot, add) in ops {
                let hash = h.wrapping_mul(0x5555_5555);
                if add && !set.contains(&(hash, slot)) {
                    let fits = set.len() < 10;
                    prop_assert_eq!(index.insert(hash, slot), fits);
                    if fits { set.insert((hash, slot)); }
                } else if !add {
                    prop_assert_eq!(index.remove(hash, slot), set.remove(&(hash, slot)));
                }
                for h in 0..6u32 {
                    for slot in 0..12 {
                        let hash = h.wrapping_mul(0x5555_5555);
                        prop_assert_eq!(index.find(hash, |s| s == slot).is_some(), set.contains(&(hash, slot)));
                    }
                }
            }
        }
    }
}
