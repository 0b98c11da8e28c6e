//! When terminals start.

use core::time::Duration;
use portunus_keydist::Random;

/// The arrival of terminals.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Arrivals {
    /// Closed loop: this many registrations under way at any time; the next starts when one ends.
    Window(usize),
    /// Open loop at a steady rate, registrations a second.
    Steady(f64),
    /// Open loop, Poisson arrivals at this mean rate, registrations a second.
    Poisson(f64),
}

/// Gives the intended start of the next terminal. Latencies count from it, not from when the generator got round to
/// it: a generator that falls behind must not flatter what it measures (coordinated omission).
#[derive(Debug)]
pub struct Schedule {
    arrivals: Arrivals,
    next: Duration,
}

impl Schedule {
    /// A schedule that begins at zero.
    pub fn new(arrivals: Arrivals) -> Self {
        Self { arrivals, next: Duration::ZERO }
    }

    /// The intended start of the next terminal when it is due at `now`, both since the beginning; `under_way` is how
    /// many have started and not ended. Open loop: every arrival comes due in turn, however many are under way.
    pub fn due(&mut self, now: Duration, under_way: usize, rng: &mut dyn Random) -> Option<Duration> {
        match self.arrivals {
            Arrivals::Window(n) => (under_way < n).then_some(now),
            Arrivals::Steady(rate) => self.step(now, || 1.0 / rate.max(1e-6)),
            Arrivals::Poisson(rate) => self.step(now, || {
                // 53 random bits, never zero: the inverse of the exponential distribution.
                let u = ((rng.next_u64() >> 11) + 1) as f64 / (1u64 << 53) as f64;
                -u.ln() / rate.max(1e-6)
            }),
        }
    }

    fn step(&mut self, now: Duration, gap: impl FnOnce() -> f64) -> Option<Duration> {
        if self.next > now {
            return None;
        }
        let intended = self.next;
        self.next += Duration::from_secs_f64(gap());
        Some(intended)
    }

    /// When the next arrival is due, since the beginning; `None` in closed loop.
    pub fn next(&self) -> Option<Duration> {
        (!matches!(self.arrivals, Arrivals::Window(_))).then_some(self.next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use portunus_keydist::SystemRandom;

    fn count(arrivals: Arrivals, secs: u64) -> usize {
        let (mut s, mut rng) = (Schedule::new(arrivals), SystemRandom::new());
        let now = Duration::from_secs(secs);
        core::iter::from_fn(|| s.due(now, usize::MAX, &mut rng)).count()
    }

    #[test]
    fn open_loop_keeps_its_rate_whatever_is_under_way() {
        assert!((999..=1_001).contains(&count(Arrivals::Steady(100.0), 10)));
        let n = count(Arrivals::Poisson(1_000.0), 10);
        assert!((9_500..=10_500).contains(&n), "{n} arrivals, expected 10000 within five standard deviations");
    }

    #[test]
    fn a_window_lets_in_as_many_as_it_is_wide() {
        let (mut s, mut rng) = (Schedule::new(Arrivals::Window(3)), SystemRandom::new());
        assert!(s.due(Duration::ZERO, 2, &mut rng).is_some());
        assert!(s.due(Duration::ZERO, 3, &mut rng).is_none());
        assert_eq!(s.next(), None);
    }
}
