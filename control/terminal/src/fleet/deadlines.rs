//! Who wants to be woken when.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

const NEVER: u64 = u64::MAX;

/// Deadlines of numbered terminals. Moving a deadline later costs nothing: its entry stays in the heap and is looked
/// at again when it comes up; only an earlier one is pushed anew.
#[derive(Debug, Default)]
pub(super) struct Deadlines {
    heap: BinaryHeap<Reverse<(u64, u32)>>,
    /// The earliest entry of each terminal in the heap.
    armed: Vec<u64>,
}

impl Deadlines {
    /// Sees to it that the terminal comes up at `at_ms` at the latest.
    pub(super) fn arm(&mut self, index: u32, at_ms: u64) {
        let i = index as usize;
        if self.armed.len() <= i {
            self.armed.resize(i + 1, NEVER);
        }
        if at_ms < self.armed[i] {
            self.armed[i] = at_ms;
            self.heap.push(Reverse((at_ms, index)));
        }
    }

    /// The next terminal whose entry is due; it must be armed again by the caller.
    pub(super) fn due(&mut self, now_ms: u64) -> Option<u32> {
        while let Some(Reverse((at, index))) = self.heap.peek().copied() {
            if at > now_ms {
                return None;
            }
            self.heap.pop();
            if let Some(armed) = self.armed.get_mut(index as usize) {
                // An entry that an earlier one replaced is stale.
                if *armed == at {
                    *armed = NEVER;
                    return Some(index);
                }
            }
        }
        None
    }

    /// When the next entry comes up.
    pub(super) fn next(&self) -> Option<u64> {
        self.heap.peek().map(|Reverse((at, _))| *at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn earlier_replaces_and_later_waits() {
        let mut d = Deadlines::default();
        d.arm(1, 100);
        d.arm(1, 50);
        d.arm(0, 70);
        d.arm(0, 900);
        assert_eq!(d.next(), Some(50));
        assert_eq!(d.due(49), None);
        assert_eq!(d.due(100), Some(1));
        assert_eq!(d.due(100), Some(0));
        assert_eq!(d.due(10_000), None, "the replaced entry is not handed out twice");
    }
}
