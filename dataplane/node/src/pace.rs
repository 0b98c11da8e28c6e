//! Resting for larger batches: what interrupt moderation does in a network card.
//!
//! A thread that has just handled a few messages gains by resting a moment before it looks again: its next batch is
//! larger, and while it rests nobody pays a system call to wake it. Under little load the rest brings nothing, so a
//! rest after which nothing was there suspends resting for a growing number of turns.

use core::time::Duration;

use crate::config::Pace;

/// One thread's decision when to rest.
#[derive(Debug)]
pub(crate) struct Pacer {
    rest: Duration,
    enough: usize,
    /// Turns that go without a rest still.
    suspended: u32,
    /// Turns to go without after the next rest in vain.
    penalty: u32,
}

const PENALTY_MAX: u32 = 64;

impl Pacer {
    pub(crate) fn new(pace: Pace) -> Self {
        let rest = pace.rest.min(Duration::from_millis(10));
        Self { rest, enough: pace.enough, suspended: 0, penalty: 1 }
    }

    /// After a turn that handled `work` messages: how long to rest, if at all.
    pub(crate) fn rest(&mut self, work: usize) -> Option<Duration> {
        if work == 0 || work >= self.enough || self.rest.is_zero() {
            return None;
        }
        if self.suspended > 0 {
            self.suspended -= 1;
            return None;
        }
        Some(self.rest)
    }

    /// After a rest: whether something had come meanwhile.
    pub(crate) fn outcome(&mut self, something: bool) {
        if something {
            self.penalty = 1;
        } else {
            self.suspended = self.penalty;
            self.penalty = (self.penalty * 2).min(PENALTY_MAX);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rests_that_bring_nothing_become_rare_and_those_that_do_go_on() {
        let rest = Duration::from_micros(100);
        let mut pacer = Pacer::new(Pace { rest, enough: 32 });
        assert_eq!(pacer.rest(0), None);
        assert_eq!(pacer.rest(32), None);
        let rests = |pacer: &mut Pacer, gain: bool| {
            (0..1000)
                .filter(|_| {
                    let rests = pacer.rest(1).is_some();
                    if rests {
                        pacer.outcome(gain);
                    }
                    rests
                })
                .count()
        };
        assert!(rests(&mut pacer, false) < 30);
        assert!(rests(&mut pacer, true) > 900);
        assert_eq!(Pacer::new(Pace { rest: Duration::ZERO, enough: 32 }).rest(1), None);
    }
}
