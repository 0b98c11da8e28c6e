//! The replay window: which of the newest 1024 sequence numbers were seen.
//!
//! ```text
//!            seq <= top - 1024        top - 1024 < seq <= top          seq > top
//! check        TooOld              Seen when its bit is set, else ok        ok
//! commit         -                        sets its bit              clears the bits between, top = seq
//! ```
//!
//! Bit `seq mod 1024` stands for `seq`. The bits are exact to one, so 128 octets and the top hold the whole window
//! (the block-wise algorithm of RFC 6479 needs a spare block for that). Sequence number 0 is never valid, and needs no
//! bit: a fresh window has `top` 0.

use portunus_keydist::bugs::{Bug, planted};

/// How many sequence numbers the window holds.
pub const WINDOW: u64 = 1024;
const WORDS: usize = (WINDOW / 64) as usize;

/// Why a sequence number is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Replay {
    /// 0, which no sender uses.
    Zero,
    /// Older than the window.
    TooOld,
    /// Seen before.
    Seen,
}

/// The window of one direction of one session: 136 octets.
#[derive(Clone, PartialEq, Eq)]
pub struct ReplayWindow {
    bits: [u64; WORDS],
    top: u64,
}

impl ReplayWindow {
    /// A window that has seen nothing.
    pub const fn new() -> Self {
        Self { bits: [0; WORDS], top: 0 }
    }

    /// The highest sequence number committed; 0 before the first.
    pub const fn top(&self) -> u64 {
        self.top
    }

    /// Says whether a message with this number may be opened. Changes nothing: what an attacker can write must not
    /// move the window.
    ///
    /// # Errors
    /// [`Replay`] with the reason.
    #[inline]
    pub fn check(&self, seq: u64) -> Result<(), Replay> {
        if seq == 0 {
            Err(Replay::Zero)
        } else if seq > self.top || planted(Bug::WindowShort) && seq == self.top {
            Ok(())
        } else if self.top - seq >= WINDOW {
            Err(Replay::TooOld)
        } else if self.word(seq) & mask(seq) != 0 {
            Err(Replay::Seen)
        } else {
            Ok(())
        }
    }

    /// Marks the number of a message that verified.
    ///
    /// # Errors
    /// As [`ReplayWindow::check`], which it repeats: two copies of a message in one batch both pass the first check.
    #[inline]
    pub fn commit(&mut self, seq: u64) -> Result<(), Replay> {
        self.check(seq)?;
        if seq > self.top {
            self.advance(seq);
        }
        if let Some(word) = self.bits.get_mut(index(seq)) {
            *word |= mask(seq);
        }
        Ok(())
    }

    /// Moves the top to `seq`, forgetting the numbers that fall out.
    fn advance(&mut self, seq: u64) {
        let step = seq - self.top;
        if step >= WINDOW {
            self.bits = [0; WORDS];
        } else {
            // Clear top+1 ..= seq, a word at a time.
            let mut from = self.top + 1;
            loop {
                let last_of_word = from | 63;
                let to = last_of_word.min(seq);
                let span = to - from + 1;
                let ones = if span == 64 { u64::MAX } else { (1u64 << span) - 1 };
                if let Some(word) = self.bits.get_mut(index(from)) {
                    *word &= !(ones << (from & 63));
                }
                if to == seq {
                    break;
                }
                from = to + 1;
            }
        }
        self.top = seq;
    }

    fn word(&self, seq: u64) -> u64 {
        self.bits.get(index(seq)).copied().unwrap_or(u64::MAX)
    }
}

const fn index(seq: u64) -> usize {
    (seq / 64) as usize % WORDS
}

const fn mask(seq: u64) -> u64 {
    1 << (seq & 63)
}

impl Default for ReplayWindow {
    fn default() -> Self {
        Self::new()
    }
}

impl core::fmt::Debug for ReplayWindow {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "ReplayWindow(top {})", self.top)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[test]
    fn is_as_compact_as_it_says() {
        assert_eq!(size_of::<ReplayWindow>(), 136);
    }

    #[test]
    fn the_edges_are_exact() {
        let mut w = ReplayWindow::new();
        assert_eq!(w.check(0), Err(Replay::Zero));
        assert_eq!(w.commit(0), Err(Replay::Zero));
        assert_eq!(w.commit(5000), Ok(()));
        assert_eq!(w.check(5000), Err(Replay::Seen));
        assert_eq!(w.check(5000 - 1023), Ok(()), "the oldest that the window holds");
        assert_eq!(w.check(5000 - 1024), Err(Replay::TooOld));
        assert_eq!(w.commit(5000 - 1023), Ok(()));
        assert_eq!(w.commit(5000 - 1023), Err(Replay::Seen));
        assert_eq!(w.commit(5001), Ok(()));
        assert_eq!(w.check(5000 - 1023), Err(Replay::TooOld), "it fell out");
        assert_eq!(w.check(5001 - 1023), Ok(()), "and its bit was not inherited");
    }

    #[test]
    fn a_number_at_the_end_of_the_range_does_not_wrap() {
        let mut w = ReplayWindow::new();
        assert_eq!(w.commit(u64::MAX), Ok(()));
        assert_eq!(w.commit(u64::MAX), Err(Replay::Seen));
        assert_eq!(w.check(u64::MAX - 1), Ok(()));
        assert_eq!(w.check(1), Err(Replay::TooOld));
        let mut w = ReplayWindow::new();
        assert_eq!(w.commit(u64::MAX - 100), Ok(()));
        assert_eq!(w.commit(u64::MAX), Ok(()));
        assert_eq!(w.check(u64::MAX - 100), Err(Replay::Seen));
        assert_eq!(w.check(u64::MAX - 99), Ok(()));
    }

    proptest! {
        /// Against a set that remembers everything.
        #[test]
        fn agrees_with_a_set(start in 1u64..5000, steps in proptest::collection::vec((-1200i64..1500, any::<bool>()), 1..400)) {
            let mut window = ReplayWindow::new();
            let mut seen = BTreeSet::new();
            let mut top = 0u64;
            let mut near = start;
            for (step, small) in steps {
                let step = if small { step / 40 } else { step };
                near = near.saturating_add_signed(step);
                let expected = if near == 0 {
                    Err(Replay::Zero)
                } else if near + WINDOW <= top {
                    Err(Replay::TooOld)
                } else if seen.contains(&near) {
                    Err(Replay::Seen)
                } else {
                    Ok(())
                };
                prop_assert_eq!(window.check(near), expected);
                prop_assert_eq!(window.commit(near), expected);
                if expected.is_ok() {
                    seen.insert(near);
                    top = top.max(near);
                }
                prop_assert_eq!(window.top(), top);
            }
        }
    }
}
