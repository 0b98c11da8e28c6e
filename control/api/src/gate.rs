//! How much a token may ask for.

use std::collections::BTreeMap;

/// Tokens whose use is remembered; the store keeps no more of them.
const TOKENS: usize = 1_024;

/// Requests a second, with a reserve of twice as many.
#[derive(Debug)]
pub(crate) struct Rates {
    each_second: u32,
    /// Thousandths of a request left, and when that was counted, by the token's public part.
    left: BTreeMap<String, (u64, u64)>,
}

impl Rates {
    pub(crate) fn new(each_second: u32) -> Self {
        Self { each_second: each_second.max(1), left: BTreeMap::new() }
    }

    /// True when this token may ask now; what it asks is then counted.
    pub(crate) fn admit(&mut self, mono_ms: u64, token: &str) -> bool {
        let (rate, full) = (u64::from(self.each_second), u64::from(self.each_second) * 2_000);
        if self.left.len() >= TOKENS && !self.left.contains_key(token) {
            // Those that have all their reserve are as good as forgotten.
            self.left.retain(|_, (left, at)| *left + mono_ms.saturating_sub(*at) * rate < full);
        }
        let (left, at) = self.left.entry(token.to_owned()).or_insert((full, mono_ms));
        *left = (*left + mono_ms.saturating_sub(*at) * rate).min(full);
        *at = mono_ms;
        let admitted = *left >= 1_000;
        if admitted {
            *left -= 1_000;
        }
        admitted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reserve_then_so_many_a_second_each_token_by_itself() {
        let mut rates = Rates::new(5);
        assert_eq!((0..20).filter(|_| rates.admit(0, "a")).count(), 10);
        assert!(rates.admit(0, "b"));
        assert!(!rates.admit(199, "a") && rates.admit(200, "a") && !rates.admit(200, "a"));
        assert_eq!((0..100).filter(|n| rates.admit(1_000 + n * 10, "a")).count(), 8);
        for n in 0..3_000u64 {
            rates.admit(10_000 + n, &n.to_string());
            assert!(rates.left.len() <= TOKENS + 1);
        }
    }
}
