//! Requests apart by the realm that they are for, so that a realm whose AuC is dead takes nothing from the others: each
//! has queues of its own, and a share of the room that nobody else gets.

use std::collections::VecDeque;
use std::sync::Arc;

/// s3 or s11.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sort {
    Authenticate = 0,
    Account = 1,
}

/// A realm that servers lead to by name, or all those that none does.
#[derive(Debug, Default)]
struct Group {
    realm: Option<Arc<str>>,
    /// In flight or waiting.
    open: [usize; 2],
    waiting: [VecDeque<u64>; 2],
    /// Turns of its queues.
    turn: u32,
}

/// All of them; the last is of the realms without a name.
#[derive(Debug)]
pub(super) struct Groups {
    all: Vec<Group>,
    open: [usize; 2],
}

impl Groups {
    /// One a realm, and one for the others.
    pub(super) fn new(realms: &[Arc<str>]) -> Self {
        let named = realms.iter().map(|r| Group { realm: Some(r.clone()), ..Group::default() });
        Self { all: named.chain([Group::default()]).collect(), open: [0; 2] }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    /// The realm's.
    pub(super) fn of(&self, realm: &str) -> usize {
        let named = |g: &Group| g.realm.as_ref().is_some_and(|r| r.eq_ignore_ascii_case(realm));
        self.all.iter().position(named).unwrap_or(self.all.len() - 1)
    }

    /// The name of a group's realm.
    pub(super) fn realm(&self, group: usize) -> Option<&Arc<str>> {
        self.all.get(group)?.realm.as_ref()
    }

    /// True when one more may be open. Half of the room is for whoever comes; the other half is divided evenly, and each
    /// group's part is left free for it.
    pub(super) fn admits(&self, group: usize, sort: Sort, limit: usize) -> bool {
        let nth = sort as usize;
        let share = limit / (2 * self.all.len());
        let left = |open: usize| share.saturating_sub(open);
        let open = |g: &Group| g.open[nth];
        let own = self.all.get(group).map_or(0, open);
        let others: usize = self.all.iter().map(open).map(left).sum::<usize>() - left(own);
        own < share || self.open[nth] + others < limit
    }

    /// One is open.
    pub(super) fn opened(&mut self, group: usize, sort: Sort) {
        self.open[sort as usize] += 1;
        if let Some(g) = self.all.get_mut(group) {
            g.open[sort as usize] += 1;
        }
    }

    /// One is done with.
    pub(super) fn closed(&mut self, group: usize, sort: Sort) {
        self.open[sort as usize] -= 1;
        if let Some(g) = self.all.get_mut(group) {
            g.open[sort as usize] -= 1;
        }
    }

    /// One waits.
    pub(super) fn wait(&mut self, group: usize, sort: Sort, key: u64) {
        if let Some(g) = self.all.get_mut(group) {
            g.waiting[sort as usize].push_back(key);
        }
    }

    /// The next s3 that waits.
    pub(super) fn next_s3(&mut self, group: usize) -> Option<u64> {
        self.all.get_mut(group)?.waiting[0].pop_front()
    }

    /// The next that waits: s3 before s11, but every fourth turn is an s11's.
    pub(super) fn next(&mut self, group: usize) -> Option<u64> {
        let g = self.all.get_mut(group)?;
        g.turn = g.turn.wrapping_add(1);
        let (first, second) = if g.turn.is_multiple_of(4) { (1, 0) } else { (0, 1) };
        g.waiting[first].pop_front().or_else(|| g.waiting[second].pop_front())
    }

    /// Of one kind the oldest wait in front, so that what timed out leaves the queues here, room or no room.
    pub(super) fn forget(&mut self, gone: impl Fn(u64) -> bool) {
        for queue in self.all.iter_mut().flat_map(|g| &mut g.waiting) {
            while queue.front().is_some_and(|key| gone(*key)) {
                queue.pop_front();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_realm_that_is_full_leaves_the_others_their_part() {
        let mut groups = Groups::new(&["a.test".into(), "b.test".into()]);
        assert_eq!((groups.of("A.test"), groups.of("b.test"), groups.of("c.test")), (0, 1, 2));
        let fill = |groups: &mut Groups, group| {
            let mut n = 0;
            while groups.admits(group, Sort::Authenticate, 60) {
                groups.opened(group, Sort::Authenticate);
                n += 1;
            }
            n
        };
        // A dead one takes what is common and its own part, and no more; the others have theirs.
        assert_eq!(fill(&mut groups, 1), 40);
        assert_eq!((fill(&mut groups, 0), fill(&mut groups, 2)), (10, 10));
        assert!(groups.admits(0, Sort::Account, 1), "s11 has room of its own");
        groups.closed(0, Sort::Authenticate);
        assert!(groups.admits(0, Sort::Authenticate, 60) && !groups.admits(1, Sort::Authenticate, 60));
        // One realm alone has all of it.
        let mut one = Groups::new(&[]);
        assert_eq!(fill(&mut one, 0), 60);
    }
}
