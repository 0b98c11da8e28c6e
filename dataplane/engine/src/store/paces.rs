//! How fast sessions may send, and where to, seven octets a session: which policies they have, their route, and until when what they sent has used
//! their rate up (the generic cell rate algorithm, which needs one time instead of a level and a time).
//!
//! Times are quarters of a millisecond in 32 bits: they come round after twelve days. A time that lies further ahead than
//! a whole burst is one of long ago.

use crate::classes::{Pair, Terms};
use crate::routes::Heading;

/// Units in a millisecond.
const FINE: u64 = 4;
/// Units in a second.
const SECOND: u32 = 1000 * FINE as u32;

/// One session's.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Pace {
    until: [u8; 4],
    pair: Pair,
    heading: Heading,
}

const fn fine(now_ms: u64) -> u32 {
    now_ms.wrapping_mul(FINE) as u32
}

impl Pace {
    /// Of a session that has sent nothing until now.
    pub(crate) const fn new(pair: Pair, heading: Heading, now_ms: u64) -> Self {
        Self { until: fine(now_ms).to_ne_bytes(), pair, heading }
    }

    /// Its policies.
    pub(crate) const fn pair(&self) -> Pair {
        self.pair
    }

    /// Its route and softswitch.
    pub(crate) const fn heading(&self) -> Heading {
        self.heading
    }

    /// Takes one message in. False: it is one too many.
    pub(crate) fn take(&mut self, now_ms: u64, terms: &Terms) -> bool {
        if terms.rate_s == 0 {
            return true;
        }
        let each = SECOND / u32::from(terms.rate_s);
        let now = fine(now_ms);
        let before_last = each.saturating_mul(u32::from(terms.burst.max(1)) - 1);
        let ahead = u32::from_ne_bytes(self.until).wrapping_sub(now);
        let ahead = if ahead > before_last.saturating_add(each) { 0 } else { ahead };
        if ahead > before_last {
            return false;
        }
        self.until = now.wrapping_add(ahead + each).to_ne_bytes();
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terms(rate_s: u16, burst: u16) -> Terms {
        Terms { rate_s, burst, ..Terms::OPEN }
    }

    #[test]
    fn five_octets() {
        assert_eq!(size_of::<Pace>(), 7);
    }

    #[test]
    fn a_burst_at_once_and_then_the_rate_at_any_time_of_day() {
        for start in [0u64, 1, 1 << 20, (1 << 30) - 3, (1 << 32) - 1, 1 << 40] {
            let (terms, mut pace) = (terms(10, 5), Pace::new(Pair::default(), Heading::default(), start));
            let sent = |pace: &mut Pace, ms: u64| (0..100).filter(|_| pace.take(start + ms, &terms)).count();
            assert_eq!(sent(&mut pace, 0), 5, "{start}");
            assert_eq!((sent(&mut pace, 99), sent(&mut pace, 100), sent(&mut pace, 300)), (0, 1, 2));
            // Rest is saved up to one burst, however long it takes.
            for rest in [10_000, 3_600_000, 86_400_000, 6 * 86_400_000] {
                assert_eq!(sent(&mut pace, 1_000 + rest), 5, "{start}, {rest}");
            }
        }
    }

    #[test]
    fn the_rate_holds_in_the_long_run_and_none_is_no_limit() {
        for rate in [1u16, 7, 300, 1000] {
            let (terms, mut pace) = (terms(rate, 8), Pace::new(Pair::default(), Heading::default(), 0));
            let sent = (0..60_000).filter(|ms| pace.take(*ms, &terms)).count();
            let wanted = usize::from(rate) * 60;
            assert!((wanted..=wanted + wanted / 20 + 8).contains(&sent), "{rate}: {sent}");
        }
        let mut pace = Pace::new(Pair::default(), Heading::default(), 0);
        assert!((0..10_000).all(|_| pace.take(7, &terms(0, 1))));
    }
}
