//! Which worker holds which terminal's active session. Owned by the control thread; needed only where there is more
//! than one worker.
//!
//! An open-addressing table with linear probing and backward-shift deletion: it never grows, leaves no tombstones and
//! never rehashes, so a million terminals that come and go cost the same at the last as at the first, and 30 octets
//! each.

/// Bounded map from a terminal's name to the handle of its active session. The name is the one of its lane
/// ([`portunus_engine::Lane::name`]), a keyed hash, for identities are chosen by attackers; two of a million terminals
/// share one with a probability of 3 in 10^8, and then a request for one of them gets "unreachable".
pub(crate) struct Directory {
    slots: Box<[Entry]>,
    limit: usize,
    used: usize,
}

/// Hash 0 marks a free slot.
#[derive(Clone, Copy, Default)]
struct Entry {
    hash: u64,
    kid: u64,
    /// When it became active, among all sessions of the node.
    stamp: u64,
}

/// What became of an entry.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Entered {
    /// It is there; nothing was before.
    New,
    /// It is there; this session was before.
    Replaced(u64),
    /// It is not: the session that is there became active after it.
    Older,
    /// There is no room.
    Full,
}

impl Directory {
    /// For at most `limit` terminals, all of its memory reserved now.
    pub(crate) fn new(limit: usize) -> Self {
        let limit = limit.max(1);
        // A quarter more slots than terminals keeps probes short: about 3 where there is something.
        let slots = vec![Entry::default(); limit + limit / 4 + 1].into_boxed_slice();
        Self { slots, limit, used: 0 }
    }

    /// Where a hash belongs: its upper bits scaled to the number of slots.
    fn home(&self, hash: u64) -> usize {
        ((u128::from(hash) * self.slots.len() as u128) >> 64) as usize
    }

    fn after(&self, slot: usize) -> usize {
        if slot + 1 == self.slots.len() { 0 } else { slot + 1 }
    }

    /// The slot of this hash, or the free one where it would go. There always is a free one.
    fn probe(&self, hash: u64) -> usize {
        let mut slot = self.home(hash);
        while self.slots.get(slot).is_some_and(|entry| entry.hash != hash && entry.hash != 0) {
            slot = self.after(slot);
        }
        slot
    }

    /// Terminals entered.
    pub(crate) fn len(&self) -> usize {
        self.used
    }

    /// The handle of the terminal's active session.
    pub(crate) fn find(&self, name: u64) -> Option<u64> {
        let hash = name.max(1);
        self.slots.get(self.probe(hash)).filter(|entry| entry.hash == hash).map(|entry| entry.kid)
    }

    /// Session `kid` of this terminal became active, as the `stamp`th of the node. Workers' news may arrive out of
    /// order: the session with the higher stamp is the one that stays.
    pub(crate) fn enter(&mut self, name: u64, kid: u64, stamp: u64) -> Entered {
        let hash = name.max(1);
        let slot = self.probe(hash);
        let Some(entry) = self.slots.get_mut(slot) else { return Entered::Full };
        if entry.hash == hash {
            if stamp < entry.stamp {
                return Entered::Older;
            }
            entry.stamp = stamp;
            return Entered::Replaced(core::mem::replace(&mut entry.kid, kid));
        }
        if self.used >= self.limit {
            return Entered::Full;
        }
        *entry = Entry { hash, kid, stamp };
        self.used += 1;
        Entered::New
    }

    /// Session `kid` of this terminal ended. A newer one stays.
    pub(crate) fn remove(&mut self, name: u64, kid: u64) {
        let hash = name.max(1);
        let mut hole = self.probe(hash);
        if !self.slots.get(hole).is_some_and(|entry| entry.hash == hash && entry.kid == kid) {
            return;
        }
        self.used -= 1;
        // Whoever was pushed past the hole moves back into it, so that every probe still ends at the first free slot.
        let mut slot = self.after(hole);
        while let Some(entry) = self.slots.get(slot).copied().filter(|entry| entry.hash != 0) {
            let home = self.home(entry.hash);
            let stays = if hole < slot { hole < home && home <= slot } else { hole < home || home <= slot };
            if !stays {
                if let Some(place) = self.slots.get_mut(hole) {
                    *place = entry;
                }
                hole = slot;
            }
            slot = self.after(slot);
        }
        if let Some(place) = self.slots.get_mut(hole) {
            *place = Entry::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use portunus_engine::Lane;
    use portunus_keydist::Idc;
    use portunus_keydist::proxy::HashKey;
    use std::collections::HashMap;

    fn name(key: u64, text: &str) -> u64 {
        Lane::name(&HashKey::new(key, 2), Idc::new(text).unwrap())
    }

    #[test]
    fn a_newer_session_replaces_and_an_old_end_does_not_remove_it() {
        let mut directory = Directory::new(2);
        let (a, b, c) = (name(1, "a@example.test"), name(1, "b@example.test"), name(1, "c@example.test"));
        assert_eq!(directory.enter(a, 1, 1), Entered::New);
        assert_eq!(directory.enter(a, 2, 3), Entered::Replaced(1));
        assert_eq!(directory.enter(a, 9, 2), Entered::Older);
        directory.remove(a, 1);
        assert_eq!(directory.find(a), Some(2));
        assert_eq!(directory.enter(b, 3, 4), Entered::New);
        assert_eq!(directory.enter(c, 4, 5), Entered::Full);
        assert_eq!(directory.find(c), None);
        directory.remove(a, 2);
        assert_eq!((directory.find(a), directory.len()), (None, 1));
        assert_eq!(directory.enter(c, 4, 5), Entered::New);
    }

    /// Against the standard library's map, full to the limit and under churn.
    #[test]
    fn it_is_a_bounded_map() {
        for key in 0..20u64 {
            let mut directory = Directory::new(50);
            let mut model: HashMap<String, u64> = HashMap::new();
            let mut state = key;
            for kid in 0..4000u64 {
                state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                let idc = format!("t{}@example.test", (state >> 33) % 80);
                let name = name(key, &idc);
                if (state >> 20) % 3 == 0 {
                    if let Some(kid) = model.remove(&idc) {
                        directory.remove(name, kid);
                    }
                } else if model.contains_key(&idc) || model.len() < 50 {
                    let before = model.insert(idc, kid);
                    let wanted = before.map_or(Entered::New, Entered::Replaced);
                    assert_eq!(directory.enter(name, kid, kid), wanted);
                } else {
                    assert_eq!(directory.enter(name, kid, kid), Entered::Full);
                }
                assert_eq!(directory.len(), model.len());
            }
            for nth in 0..80 {
                let idc = format!("t{nth}@example.test");
                assert_eq!(directory.find(name(key, &idc)), model.get(&idc).copied());
            }
        }
    }
}
