//! What is kept of a gateway that somebody else's server serves: which one, how far that knows it, and what it is told.

use crate::agent::Ctx;

/// What is said in a gateway's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Say {
    /// It is new, and knows nothing of before.
    Restart,
    /// Whoever served it does no longer.
    Failover,
    /// It was out of touch with you, and is again.
    Disconnected,
    /// Whoever served it sent it to you.
    HandOff,
    /// It is gone.
    Forced,
}

/// How far one of them knows a gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// Its session may not be active yet.
    New,
    /// It is active, and nobody serves it.
    Lost,
    /// Announced.
    Told,
    /// Served.
    Taken,
}

/// What is kept of a gateway for this.
#[derive(Debug)]
pub(crate) struct Served {
    pub(super) nth: Option<u16>,
    pub(super) standing: Standing,
    /// Who served it last.
    pub(super) by: Option<u16>,
    /// Who did before it registered anew.
    pub(super) former: Option<u16>,
    pub(super) sent_on: bool,
    pub(super) hops: u8,
    /// Who did not answer.
    pub(super) tried: Vec<usize>,
    /// By how much the numbers of its present one's transactions are moved; 0: not at all.
    pub(crate) shift: u32,
    /// The gateway's own request to be out of service, on its way.
    pub(crate) leaving: Option<u32>,
}

impl Served {
    /// Of a gateway that registers, in the place of this one.
    pub(crate) fn new(before: Option<&Self>) -> Self {
        let former = before.filter(|b| b.is_known()).and_then(|b| b.nth);
        let (nth, by, sent_on, tried) = (None, None, false, Vec::new());
        Self { nth, standing: Standing::New, by, former, sent_on, hops: 0, tried, shift: 0, leaving: None }
    }

    pub(super) fn is_known(&self) -> bool {
        matches!(self.standing, Standing::Told | Standing::Taken)
    }

    /// It is this one's from now on.
    pub(super) fn move_to(&mut self, ctx: &mut Ctx<'_>, nth: usize, most: u32) {
        let nth = u16::try_from(nth).ok();
        let before = self.nth.or(self.former);
        if before.is_some() && before != nth {
            self.shift = 1 + (ctx.core.random.next_u64() % u64::from(most - 1)) as u32;
        }
        self.nth = nth;
        self.leaving = None;
    }

    pub(super) fn take(&mut self, nth: u16) {
        (self.standing, self.by, self.sent_on, self.hops) = (Standing::Taken, Some(nth), false, 0);
        self.tried.clear();
    }

    pub(super) fn say(&self) -> Say {
        match self.by {
            None => Say::Restart,
            Some(_) if self.sent_on => Say::HandOff,
            Some(_) if self.by == self.nth => Say::Disconnected,
            Some(_) => Say::Failover,
        }
    }
}

/// A number moved by a gateway's `shift` within those that a protocol has, there or back.
pub(crate) fn moved(n: u32, shift: u32, most: u32, back: bool) -> u32 {
    let (n64, most64) = (u64::from(n), u64::from(most));
    let by = if back { most64 - u64::from(shift) % most64 } else { u64::from(shift) };
    // What no protocol counts with stays what it is.
    if n == 0 || n > most { n } else { ((n64 - 1 + by) % most64 + 1) as u32 }
}

#[cfg(test)]
mod tests {
    use super::moved;

    #[test]
    fn numbers_are_moved_within_their_range_and_back() {
        for most in [u32::MAX - 1, 999_999_999] {
            for shift in [0, 1, 77, most - 1, most] {
                for n in [1, 2, 500, most - 1, most] {
                    let there = moved(n, shift, most, false);
                    assert!((1..=most).contains(&there), "{n} {shift}: {there}");
                    assert_eq!(moved(there, shift, most, true), n, "{n} {shift}");
                }
            }
        }
        assert_eq!((moved(7, 3, 10, false), moved(9, 3, 10, false), moved(10, 1, 10, false)), (10, 2, 1));
        assert_eq!((moved(0, 3, 10, false), moved(11, 3, 10, true)), (0, 11), "no number of the protocol's");
    }
}
