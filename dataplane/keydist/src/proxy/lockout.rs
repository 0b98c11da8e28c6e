//! Who fails to authenticate again and again is slowed down, then ignored for a while (spec section 6). The key is
//! the source's network together with the IDc, so neither a NAT's other users nor the IDc's owner elsewhere suffer.

/// Ways of a bucket: four of sixteen octets are one cache line.
const WAYS: usize = 4;

/// What repeated failures cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LockoutPolicy {
    /// From this failure on a new attempt must wait; 0 switches lockouts off.
    pub slow_after: u16,
    /// The first wait in milliseconds; it doubles with each further failure.
    pub slow_ms: u32,
    /// From this failure on attempts are ignored.
    pub ignore_after: u16,
    /// For so many milliseconds after the last failure; failures older than that are forgotten.
    pub ignore_ms: u32,
}

impl Default for LockoutPolicy {
    fn default() -> Self {
        Self { slow_after: 3, slow_ms: 1_000, ignore_after: 10, ignore_ms: 300_000 }
    }
}

/// What may be done for a suspect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lock {
    /// Anything.
    Free,
    /// It has to wait so many milliseconds.
    Wait(u64),
    /// It gets no answer.
    Ignore,
}

#[derive(Clone, Copy, Default)]
struct Suspect {
    print: u64,
    /// Time of the last failure in milliseconds (48 bits) and the number of failures (16).
    when_count: u64,
}

/// Failures of a bounded number of suspects; the one whose last failure is the oldest makes room.
pub struct Lockout {
    /// Plain words, so that the memory comes zeroed and is touched as it is used.
    buckets: Vec<[u64; WAYS * 2]>,
    policy: LockoutPolicy,
}

impl core::fmt::Debug for Lockout {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Lockout").field("policy", &self.policy).finish_non_exhaustive()
    }
}

impl Lockout {
    /// Room for `capacity` suspects, 16 octets each, rounded up to a power of two.
    pub fn new(capacity: usize, policy: LockoutPolicy) -> Self {
        let buckets = capacity.div_ceil(WAYS).max(1).next_power_of_two();
        Self { buckets: vec![[0; WAYS * 2]; buckets], policy }
    }

    /// Another policy from now on.
    pub fn set_policy(&mut self, policy: LockoutPolicy) {
        self.policy = policy;
    }

    fn bucket(&self, who: u128) -> usize {
        who as usize & (self.buckets.len() - 1)
    }

    fn print(who: u128) -> u64 {
        (who >> 64) as u64 | 1
    }

    fn suspects(&self, who: u128) -> [Suspect; WAYS] {
        let mut out = [Suspect::default(); WAYS];
        if let Some(bucket) = self.buckets.get(self.bucket(who)) {
            for (suspect, words) in out.iter_mut().zip(bucket.chunks_exact(2)) {
                *suspect = Suspect { print: words[0], when_count: words[1] };
            }
        }
        out
    }

    /// Reads a word of the line that [`Lockout::verdict`] will look at, so that the misses of several overlap.
    #[inline]
    pub fn touch(&self, who: u128) -> u64 {
        self.buckets.get(self.bucket(who)).map_or(0, |bucket| bucket[0])
    }

    fn put(&mut self, who: u128, way: usize, suspect: Suspect) {
        let at = self.bucket(who);
        if let Some(words) = self.buckets.get_mut(at).and_then(|b| b.get_mut(way * 2..way * 2 + 2)) {
            words.copy_from_slice(&[suspect.print, suspect.when_count]);
        }
    }

    fn failures(&self, mono_ms: u64, suspect: &Suspect) -> u16 {
        let age = mono_ms.saturating_sub(suspect.when_count >> 16);
        if age >= u64::from(self.policy.ignore_ms) { 0 } else { suspect.when_count as u16 }
    }

    /// What may be done for `who` now.
    pub fn verdict(&self, mono_ms: u64, who: u128) -> Lock {
        let print = Self::print(who);
        let Some(suspect) = self.suspects(who).into_iter().find(|s| s.print == print) else { return Lock::Free };
        let failures = self.failures(mono_ms, &suspect);
        if self.policy.slow_after == 0 || failures < self.policy.slow_after {
            return Lock::Free;
        }
        if failures >= self.policy.ignore_after {
            return Lock::Ignore;
        }
        let doublings = u32::from(failures - self.policy.slow_after).min(20);
        let wait = u64::from(self.policy.slow_ms) << doublings;
        match (suspect.when_count >> 16).saturating_add(wait).saturating_sub(mono_ms) {
            0 => Lock::Free,
            left => Lock::Wait(left),
        }
    }

    /// Counts a failure.
    pub fn failed(&mut self, mono_ms: u64, who: u128) {
        let (print, suspects) = (Self::print(who), self.suspects(who));
        let own = suspects.iter().position(|s| s.print == print);
        let oldest = || suspects.iter().enumerate().min_by_key(|(_, s)| s.when_count >> 16).map_or(0, |(way, _)| way);
        let way = own.unwrap_or_else(oldest);
        let before = match (own, suspects.get(way)) {
            (Some(_), Some(suspect)) => self.failures(mono_ms, suspect),
            _ => 0,
        };
        let when_count = mono_ms << 16 | u64::from(before.saturating_add(1));
        self.put(who, way, Suspect { print, when_count });
    }

    /// Forgets `who`: it has proven itself.
    pub fn cleared(&mut self, who: u128) {
        let print = Self::print(who);
        if let Some(way) = self.suspects(who).iter().position(|s| s.print == print) {
            self.put(who, way, Suspect::default());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slowed_then_ignored_then_forgiven() {
        let mut lockout = Lockout::new(64, LockoutPolicy::default());
        let who = 0x1234_5678_9abc_def0_u128 << 40;
        for _ in 0..2 {
            lockout.failed(1000, who);
        }
        assert_eq!(lockout.verdict(1000, who), Lock::Free);
        lockout.failed(1000, who);
        assert_eq!(lockout.verdict(1500, who), Lock::Wait(500));
        assert_eq!(lockout.verdict(2000, who), Lock::Free);
        lockout.failed(2000, who);
        assert_eq!(lockout.verdict(2000, who), Lock::Wait(2000));
        for _ in 0..6 {
            lockout.failed(2000, who);
        }
        assert_eq!(lockout.verdict(100_000, who), Lock::Ignore);
        assert_eq!(lockout.verdict(100_000, who ^ 1 << 100), Lock::Free);
        assert_eq!(lockout.verdict(302_000, who), Lock::Free);
        lockout.failed(302_000, who);
        assert_eq!(lockout.verdict(302_000, who), Lock::Free, "old failures are forgotten");
        for _ in 0..9 {
            lockout.failed(302_000, who);
        }
        assert_eq!(lockout.verdict(302_001, who), Lock::Ignore);
        lockout.cleared(who);
        assert_eq!(lockout.verdict(302_001, who), Lock::Free);
    }

    #[test]
    fn bounded_and_the_oldest_makes_room() {
        let mut lockout = Lockout::new(4, LockoutPolicy { slow_after: 1, ..LockoutPolicy::default() });
        let who = |n: u64| u128::from(n + 1) << 96;
        for n in 0..5 {
            lockout.failed(n, who(n));
        }
        assert_eq!(lockout.verdict(5, who(0)), Lock::Free);
        for n in 1..5 {
            assert_ne!(lockout.verdict(5, who(n)), Lock::Free, "{n}");
        }
    }

    #[test]
    fn off_means_off() {
        let mut lockout = Lockout::new(4, LockoutPolicy { slow_after: 0, ..LockoutPolicy::default() });
        for _ in 0..100 {
            lockout.failed(0, 1 << 90);
        }
        assert_eq!(lockout.verdict(0, 1 << 90), Lock::Free);
    }
}
