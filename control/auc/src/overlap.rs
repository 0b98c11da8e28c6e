//! While a subscriber's key is being replaced both keys work: which one a vector is made from.
//!
//! An AuC cannot see which key a terminal holds: it makes the word, and the softswitch compares. But whoever answers
//! wrongly is challenged again, up to three times in a registration (spec section 2), and each challenge is a question of
//! its own. So the questions for such a subscriber take turns, beginning with the key that worked last.
//!
//! ```text
//! question --> key that worked last (at first: the new one) --word wrong, question--> the other --> ...
//!                                 s11 with its Rand: that key worked
//! ```

use portunus_keydist::ident::Rand;
use std::collections::BTreeMap;

/// Subscribers under way at one time; beyond them the new key serves alone.
const UNDER_WAY: usize = 16_384;
/// A question this long after the one before begins anew, milliseconds: no registration lasts longer.
const APART_MS: u64 = 60_000;
/// What worked is remembered this long, milliseconds.
const KEPT_MS: u64 = 24 * 3_600_000;
/// Rands remembered: of the challenges of one registration.
const RANDS: usize = 4;

/// Which of a subscriber's two keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Which {
    /// The one that it has now.
    New,
    /// The one before.
    Old,
}

#[derive(Debug)]
struct Turn {
    asked_ms: u64,
    worked: Which,
    last: Which,
    rands: [Option<(Rand, Which)>; RANDS],
}

/// Whose turn it is.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    of: BTreeMap<Box<str>, Turn>,
}

impl Turns {
    /// The key for this question. `mono_ms`: the monotonic clock.
    pub(crate) fn next(&mut self, mono_ms: u64, idc: &str) -> Which {
        if let Some(turn) = self.of.get_mut(idc) {
            let again = mono_ms.saturating_sub(turn.asked_ms) < APART_MS;
            turn.last = match (again, turn.last) {
                (false, _) => turn.worked,
                (true, Which::New) => Which::Old,
                (true, Which::Old) => Which::New,
            };
            turn.asked_ms = mono_ms;
            return turn.last;
        }
        if self.of.len() >= UNDER_WAY {
            self.of.retain(|_, turn| mono_ms.saturating_sub(turn.asked_ms) < KEPT_MS);
        }
        if self.of.len() < UNDER_WAY {
            let new = Turn { asked_ms: mono_ms, worked: Which::New, last: Which::New, rands: [None; RANDS] };
            self.of.insert(idc.into(), new);
        }
        Which::New
    }

    /// A vector with this Rand was made from that key.
    pub(crate) fn made(&mut self, idc: &str, rand: Rand, which: Which) {
        if let Some(turn) = self.of.get_mut(idc) {
            turn.rands.rotate_right(1);
            turn.rands[0] = Some((rand, which));
        }
    }

    /// The terminal answered the challenge with this Rand rightly.
    pub(crate) fn worked(&mut self, idc: &str, rand: &Rand) {
        if let Some(turn) = self.of.get_mut(idc)
            && let Some((_, which)) = turn.rands.iter().flatten().find(|(known, _)| known == rand)
        {
            turn.worked = *which;
            // The next question is the next registration's.
            turn.asked_ms = turn.asked_ms.saturating_sub(APART_MS);
            turn.last = *which;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALICE: &str = "alice@example.test";

    #[test]
    fn questions_take_turns_and_begin_with_what_worked() {
        let mut turns = Turns::default();
        let start = 10 * APART_MS;
        assert_eq!([0, 1, 2].map(|n| turns.next(start + n, ALICE)), [Which::New, Which::Old, Which::New]);
        // A new registration begins with the new key again, until the old one has worked.
        assert_eq!(turns.next(start + 2 * APART_MS, ALICE), Which::New);
        assert_eq!(turns.next(start + 2 * APART_MS + 1, ALICE), Which::Old);
        turns.made(ALICE, [7; 16], Which::Old);
        turns.worked(ALICE, &[8; 16]);
        assert_eq!(turns.next(start + 2 * APART_MS + 2, ALICE), Which::New, "another Rand says nothing");
        turns.worked(ALICE, &[7; 16]);
        assert_eq!(turns.next(start + 2 * APART_MS + 3, ALICE), Which::Old);
        assert_eq!(turns.next(start + 9 * APART_MS, ALICE), Which::Old);
    }

    #[test]
    fn a_flood_of_names_is_bounded_and_gets_the_new_key() {
        let mut turns = Turns::default();
        for n in 0..UNDER_WAY + 10 {
            assert_eq!(turns.next(5, &format!("t{n}")), Which::New);
        }
        assert_eq!(turns.of.len(), UNDER_WAY);
        assert_eq!(turns.next(5, "another"), Which::New);
        assert_eq!(turns.next(6, "another"), Which::New);
        turns.next(KEPT_MS + 10, "later");
        assert_eq!(turns.of.len(), 1, "what nobody asked for in a day is forgotten");
    }
}
