//! A sender's sequence numbers. None is ever handed out twice under a key, whatever crashes and whatever is restored.
//!
//! ```text
//!  handed out        may be handed out       reserved: becomes so when its mark is kept
//! |------------------|----------------------|- - - - - - - - - - - - -|
//! 1               last                    kept                      due()
//! ```
//!
//! A number may only be used once it is certain that nobody will use it again. Where the key lives in this memory alone
//! that is so of all of them: key and numbers end together ([`Sequence`]; a proxy's sessions and a terminal's are such).
//! Where the key can outlive the memory, in a file or at another host, numbers are taken from blocks ([`Reserving`]):
//! the mark of the next block is kept there first, and whoever takes the key over goes on above the mark. A crash costs
//! the rest of a block, and never a number twice.

use portunus_keydist::bugs::{Bug, planted};

/// Numbers of a block: of 2^32, so that a restart every second for a month leaves half.
pub const BLOCK: u32 = 1 << 10;

/// The sequence numbers of a sender whose key ends with this memory: from 1, each handed out once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sequence(u32);

impl Sequence {
    /// None handed out yet.
    pub const fn new() -> Self {
        Self(0)
    }

    /// The next number, up to `max` and to 2^32 - 1 whatever that says; `None` when they are used up, and ever after.
    pub fn take(&mut self, max: u64) -> Option<u64> {
        if u64::from(self.0) >= max {
            return None;
        }
        let next = self.0.checked_add(1)?;
        if planted(Bug::SequenceRepeats) && self.0 % 4 == 3 {
            self.0 = next;
            return Some(u64::from(next - 1));
        }
        self.0 = next;
        Some(u64::from(next))
    }

    /// The last number handed out; 0 before the first.
    pub const fn last(&self) -> u64 {
        self.0 as u64
    }

    /// True when seven eighths of `max` are used: time to register anew.
    pub const fn runs_low(&self, max: u64) -> bool {
        self.0 as u64 >= max - max / 8
    }
}

/// The sequence numbers of a sender whose key may outlive this memory: none is handed out that is not reserved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Reserving {
    sequence: Sequence,
    kept: u32,
}

impl Reserving {
    /// For a new key: none may be handed out before [`Reserving::keep`].
    pub const fn new() -> Self {
        Self::restored(0)
    }

    /// For a key that was taken over with the newest mark that was kept for it: all numbers up to there may have been used.
    /// A mark that no sequence has counts as used up.
    pub const fn restored(mark: u64) -> Self {
        let mark = if mark > u32::MAX as u64 { u32::MAX } else { mark as u32 };
        Self { sequence: Sequence(mark), kept: mark }
    }

    /// The mark to keep next, when less than half a block may still be handed out; `None`: there is no need, or no number
    /// left to reserve up to `max`. The same until [`Reserving::keep`].
    pub fn due(&self, max: u64) -> Option<u64> {
        let left = self.kept.saturating_sub(self.sequence.0);
        let mark = u64::from(self.kept.saturating_add(BLOCK)).min(max);
        (left < BLOCK / 2 && mark > u64::from(self.kept)).then_some(mark)
    }

    /// This mark is kept where whoever takes the key over will find it: its numbers may be handed out. One that is lower
    /// than another before it changes nothing.
    pub fn keep(&mut self, mark: u64) {
        self.kept = self.kept.max(u32::try_from(mark).unwrap_or(u32::MAX));
    }

    /// As [`Sequence::take`]; `None` also when the mark that is due was not kept yet.
    pub fn take(&mut self, max: u64) -> Option<u64> {
        self.sequence.take(max.min(self.kept.into()))
    }

    /// As [`Sequence::last`].
    pub const fn last(&self) -> u64 {
        self.sequence.last()
    }

    /// As [`Sequence::runs_low`].
    pub const fn runs_low(&self, max: u64) -> bool {
        self.sequence.runs_low(max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::{BTreeSet, VecDeque};

    const MAX: u64 = u32::MAX as u64;

    #[test]
    fn nothing_is_handed_out_before_its_mark_is_kept() {
        let mut seq = Reserving::new();
        assert_eq!((seq.take(MAX), seq.due(MAX)), (None, Some(BLOCK.into())));
        seq.keep(BLOCK.into());
        assert_eq!((seq.take(MAX), seq.due(MAX)), (Some(1), None));
        for _ in 1..BLOCK / 2 {
            seq.take(MAX).unwrap();
        }
        assert_eq!(seq.due(MAX), None);
        seq.take(MAX).unwrap();
        assert_eq!(seq.due(MAX), Some(2 * u64::from(BLOCK)), "in time, so that nobody waits");
        while seq.last() < BLOCK.into() {
            seq.take(MAX).unwrap();
        }
        assert_eq!(seq.take(MAX), None);
        seq.keep(7);
        assert_eq!(seq.take(MAX), None, "an older mark that comes late");
        seq.keep(2 * u64::from(BLOCK));
        assert_eq!(seq.take(MAX), Some(u64::from(BLOCK) + 1));
    }

    #[test]
    fn the_last_block_ends_at_the_last_number() {
        let mut seq = Reserving::restored(MAX - 3);
        assert_eq!((seq.due(MAX - 1), seq.due(MAX)), (Some(MAX - 1), Some(MAX)));
        seq.keep(MAX);
        assert_eq!((seq.take(MAX - 1), seq.take(MAX - 1), seq.take(MAX - 1)), (Some(MAX - 2), Some(MAX - 1), None));
        assert_eq!((seq.take(MAX), seq.take(MAX), seq.due(MAX)), (Some(MAX), None, None));
        let used_up = Reserving::restored(u64::MAX);
        assert_eq!(({ used_up }.take(MAX), used_up.due(MAX), used_up.runs_low(MAX)), (None, None, true));
    }

    /// What happens next to a sender and the place where marks are kept.
    #[derive(Debug, Clone)]
    enum Step {
        Take(u16),
        /// The mark that is due is sent there.
        Ask,
        /// The place writes the oldest mark that it was sent, and says so: the sender hears of it, or does not.
        Write {
            heard: bool,
        },
        /// A mark on its way there is lost.
        Lose,
        /// The sender dies with all that it knows, what it has sent is still on its way; another takes the key over.
        Crash,
        /// So does everything on its way.
        PowerCut,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (1u16..900).prop_map(Step::Take),
            4 => Just(Step::Ask),
            4 => any::<bool>().prop_map(|heard| Step::Write { heard }),
            1 => Just(Step::Lose),
            2 => Just(Step::Crash),
            1 => Just(Step::PowerCut),
        ]
    }

    proptest! {
        /// Whatever is lost and whenever who dies, no number is used twice; and it goes on when nothing is lost.
        #[test]
        fn no_number_is_used_twice_under_any_schedule_of_crashes(steps in proptest::collection::vec(step(), 1..200)) {
            let (mut seq, mut written, mut sent) = (Reserving::new(), 0, VecDeque::new());
            let mut used = BTreeSet::new();
            for step in steps {
                match step {
                    Step::Take(count) => {
                        for number in (0..count).map_while(|_| seq.take(MAX)) {
                            prop_assert!(used.insert(number), "{} twice", number);
                            prop_assert!(number <= written, "{} before its mark was written", number);
                        }
                    }
                    Step::Ask => sent.extend(seq.due(MAX)),
                    Step::Write { heard } => if let Some(mark) = sent.pop_front() {
                        written = written.max(mark);
                        if heard {
                            seq.keep(mark);
                        }
                    },
                    Step::Lose => _ = sent.pop_back(),
                    Step::Crash => seq = Reserving::restored(written),
                    Step::PowerCut => {
                        sent.clear();
                        seq = Reserving::restored(written);
                    }
                }
            }
            let mark = seq.due(MAX).unwrap_or(written).max(written);
            seq.keep(mark);
            let next = seq.take(MAX);
            prop_assert!(next.is_some_and(|number| used.insert(number)));
        }
    }
}
