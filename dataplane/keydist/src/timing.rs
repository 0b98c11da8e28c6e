//! When things are repeated, given up, and tried again: schedules as data, in milliseconds, and the small clockwork
//! that follows them.

use crate::world::{Now, Random};

/// When an unanswered message is repeated, and when it is given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Repeat {
    /// Gaps between sending and repeating; the last one recurs. Empty: never repeated, as on streams.
    pub gaps_ms: &'static [u32],
    /// After how long the answer is no longer waited for.
    pub give_up_ms: u32,
}

impl Repeat {
    /// SIP over UDP: timers E and F of RFC 3261 section 17.1.2.2 (T1 0.5 s doubling to T2 4 s, 64 T1).
    pub const SIP_UDP: Self = Self { gaps_ms: &[500, 1000, 2000, 4000], give_up_ms: 32_000 };
    /// Any stream transport: it repeats by itself; timer F alone.
    pub const STREAM: Self = Self { gaps_ms: &[], give_up_ms: 32_000 };
    /// The confirmation of a key (spec section 2): after 0.5, 1, 2, 4 s, then every 4 s, until the proxy's
    /// provisional session dies at 30 s.
    pub const CONFIRM: Self = Self { gaps_ms: &[500, 1000, 2000, 4000], give_up_ms: 30_000 };

    fn gap(&self, sent: u32) -> Option<u32> {
        let index = usize::try_from(sent).unwrap_or(usize::MAX);
        self.gaps_ms.get(index).or(self.gaps_ms.last()).copied()
    }
}

/// For how long an answer is waited for at most, however often the other side says that it is at it: who says so may be
/// anybody, before there is a session.
pub const PROGRESS_MAX_MS: u64 = 180_000;

/// One message on its way through a [`Repeat`] schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Repeating {
    schedule: Repeat,
    began_ms: u64,
    repeats: u32,
    repeat_at: Option<u64>,
    give_up_at: u64,
}

/// What a schedule asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// Send it again.
    Repeat,
    /// No longer wait.
    GiveUp,
}

impl Repeating {
    /// The message leaves now.
    pub fn begin(schedule: Repeat, now: Now) -> Self {
        let repeat_at = schedule.gap(0).map(|gap| now.mono_ms + u64::from(gap));
        let give_up_at = now.mono_ms + u64::from(schedule.give_up_ms);
        Self { schedule, began_ms: now.mono_ms, repeats: 0, repeat_at, give_up_at }
    }

    /// When the message left first, monotonic milliseconds.
    pub const fn began_ms(&self) -> u64 {
        self.began_ms
    }

    /// The other side is at it and will answer within `delay_ms`: nothing is repeated until then, and it is waited for as
    /// long as that and one gap more, but for no more than [`PROGRESS_MAX_MS`] in all.
    pub fn postpone(&mut self, now: Now, delay_ms: u32) {
        let latest = self.began_ms + PROGRESS_MAX_MS.max(self.schedule.give_up_ms.into());
        let until = (now.mono_ms + u64::from(delay_ms)).min(latest);
        self.repeat_at = self.repeat_at.map(|_| until);
        let gap = self.schedule.gap(0).map_or(0, u64::from);
        self.give_up_at = self.give_up_at.max((until + gap).min(latest));
    }

    /// When [`Repeating::poll`] has something to say next (monotonic milliseconds), and what.
    pub fn deadline(&self) -> (u64, Due) {
        match self.repeat_at {
            Some(at) if at < self.give_up_at => (at, Due::Repeat),
            _ => (self.give_up_at, Due::GiveUp),
        }
    }

    /// What is due now. Called late, it repeats once, not once for every gap that was missed.
    pub fn poll(&mut self, now: Now) -> Option<Due> {
        let (at, due) = self.deadline();
        if now.mono_ms >= self.give_up_at {
            return Some(Due::GiveUp);
        }
        if now.mono_ms < at {
            return None;
        }
        self.repeats += 1;
        self.repeat_at = self.schedule.gap(self.repeats).map(|gap| now.mono_ms + u64::from(gap));
        Some(due)
    }
}

/// How long to stay quiet after a failure: doubling, with jitter, so that many terminals that failed together do not
/// come back together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BackOff {
    /// After the first failure.
    pub first_ms: u32,
    /// The longest.
    pub max_ms: u32,
    /// The longest Retry-After that is honoured, in seconds: refusals are unauthenticated, and nobody may silence a
    /// terminal for a year by one.
    pub retry_after_max_s: u32,
}

impl BackOff {
    /// 1 s doubling to about two minutes; Retry-After up to an hour.
    pub const DEFAULT: Self = Self { first_ms: 1000, max_ms: 128_000, retry_after_max_s: 3600 };

    /// Milliseconds to wait after `failures` (1 or more) failed attempts in a row: drawn evenly from the upper half
    /// of the doubled time, and never earlier than the proxy asked for.
    pub fn delay_ms(&self, failures: u32, retry_after_s: Option<u32>, rng: &mut dyn Random) -> u64 {
        let doublings = failures.saturating_sub(1).min(31);
        let most = (u64::from(self.first_ms) << doublings).min(u64::from(self.max_ms)).max(1);
        let own = most - below(rng, most / 2 + 1);
        match retry_after_s {
            Some(s) => {
                let asked = u64::from(s.min(self.retry_after_max_s)) * 1000;
                own.max(asked + below(rng, asked / 4 + 1))
            }
            None => own,
        }
    }
}

/// A number from 0 to `n` - 1. The bias of the remainder is below 2^-40 for any `n` that a timer uses.
pub fn below(rng: &mut dyn Random, n: u64) -> u64 {
    rng.next_u64() % n.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SystemRandom;

    fn at(mono_ms: u64) -> Now {
        Now { mono_ms, wall_ms: 0 }
    }

    #[test]
    fn repeats_as_rfc_3261_says_and_gives_up() {
        let mut r = Repeating::begin(Repeat::SIP_UDP, at(100));
        let mut times = Vec::new();
        loop {
            let (when, due) = r.deadline();
            assert_eq!(r.poll(at(when - 1)), None);
            assert_eq!(r.poll(at(when)), Some(due));
            if due == Due::GiveUp {
                assert_eq!(when, 32_100);
                break;
            }
            times.push(when - 100);
        }
        assert_eq!(times, [500, 1500, 3500, 7500, 11_500, 15_500, 19_500, 23_500, 27_500, 31_500]);
    }

    #[test]
    fn a_late_caller_repeats_once() {
        let mut r = Repeating::begin(Repeat::SIP_UDP, at(0));
        assert_eq!(r.poll(at(9000)), Some(Due::Repeat));
        assert_eq!(r.poll(at(9000)), None);
        assert_eq!(r.deadline(), (10_000, Due::Repeat));
        assert_eq!(r.poll(at(40_000)), Some(Due::GiveUp));
    }

    #[test]
    fn who_is_at_it_is_waited_for_but_not_for_ever() {
        let mut r = Repeating::begin(Repeat::SIP_UDP, at(1_000));
        r.postpone(at(1_200), 40_000);
        assert_eq!((r.poll(at(41_199)), r.deadline()), (None, (41_200, Due::Repeat)));
        assert_eq!((r.poll(at(41_200)), r.deadline()), (Some(Due::Repeat), (41_700, Due::GiveUp)));
        // Less than what is left takes nothing away.
        let mut r = Repeating::begin(Repeat::SIP_UDP, at(1_000));
        r.postpone(at(1_100), 50);
        assert_eq!((r.poll(at(1_150)), r.poll(at(33_000))), (Some(Due::Repeat), Some(Due::GiveUp)));
        // Again and again.
        let (mut r, mut now) = (Repeating::begin(Repeat::SIP_UDP, at(0)), 0);
        while r.poll(at(now)) != Some(Due::GiveUp) {
            r.postpone(at(now), 65_535);
            now += 1_000;
        }
        assert_eq!((now, r.began_ms()), (PROGRESS_MAX_MS, 0));
        // A stream repeats nothing.
        let mut r = Repeating::begin(Repeat::STREAM, at(0));
        r.postpone(at(10), 40_000);
        assert_eq!(r.deadline(), (40_010, Due::GiveUp));
    }

    #[test]
    fn streams_only_give_up() {
        let mut r = Repeating::begin(Repeat::STREAM, at(0));
        assert_eq!(r.deadline(), (32_000, Due::GiveUp));
        assert_eq!(r.poll(at(31_999)), None);
        assert_eq!(r.poll(at(32_000)), Some(Due::GiveUp));
    }

    #[test]
    fn backing_off_doubles_jitters_and_honours_retry_after() {
        let rng = &mut SystemRandom::new();
        let b = BackOff::DEFAULT;
        let mut distinct = std::collections::BTreeSet::new();
        for _ in 0..200 {
            let first = b.delay_ms(1, None, rng);
            assert!((500..=1000).contains(&first));
            distinct.insert(first);
            assert!((2000..=4000).contains(&b.delay_ms(3, None, rng)));
            assert!((64_000..=128_000).contains(&b.delay_ms(60, None, rng)));
            assert!((20_000..=25_000).contains(&b.delay_ms(1, Some(20), rng)));
            assert!((3_600_000..=4_500_000).contains(&b.delay_ms(1, Some(u32::MAX), rng)), "capped");
        }
        assert!(distinct.len() > 50, "jittered");
    }
}
