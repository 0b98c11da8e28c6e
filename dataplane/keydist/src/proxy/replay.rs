//! What was accepted once is remembered until it could no longer be accepted again: keyed fingerprints in buckets of
//! one cache line, with a generation instead of a deletion.
//!
//! A fingerprint lives in one of two buckets of eight. What is two to three generations old counts as free, so nothing
//! is ever cleared and no moment is slower than another. A lookup reads at most two cache lines, whatever the
//! attacker sends. 48 bits are kept: the chance that a fresh pair is taken for a used one is below 2^-43.

use super::source::HashKey;

/// Slots of a bucket: eight of eight octets are one cache line.
const WAYS: usize = 8;

/// A keyed fingerprint: meaningless, and unpredictable, outside the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint(u128);

impl Fingerprint {
    /// Of some parts, in a domain of its own.
    pub fn new(hash: &HashKey, domain: u8, parts: &[&[u8]]) -> Self {
        Self(hash.digest(domain, parts))
    }

    /// The 48 bits that are kept, never all zero: zero is a slot that was never used.
    const fn kept(self) -> u64 {
        ((self.0 >> 64) as u64 >> 16) | 1
    }
}

/// The set was full where the fingerprint belongs: what cannot be remembered must not be accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReplayFull;

/// Fingerprints, each kept for two to three turns.
pub struct ReplaySet {
    buckets: Vec<[u64; WAYS]>,
    generation: u16,
    turned_ms: u64,
    every_ms: u64,
}

impl core::fmt::Debug for ReplaySet {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("ReplaySet").field("buckets", &self.buckets.len()).finish_non_exhaustive()
    }
}

impl ReplaySet {
    /// Room for `capacity` fingerprints, rounded up to a power of two of buckets, 8 octets each; the memory is
    /// reserved now and touched as it is used. What is marked is kept for two to three times `every_ms`
    /// milliseconds.
    pub fn new(capacity: usize, every_ms: u64) -> Self {
        let buckets = capacity.div_ceil(WAYS).max(2).next_power_of_two();
        Self { buckets: vec![[0; WAYS]; buckets], generation: 0, turned_ms: 0, every_ms: every_ms.max(1) }
    }

    /// Another length of a turn, from the next turn on.
    pub fn set_every(&mut self, every_ms: u64) {
        self.every_ms = every_ms.max(1);
    }

    fn turn(&mut self, mono_ms: u64) {
        let turns = mono_ms.saturating_sub(self.turned_ms) / self.every_ms;
        if turns > 0 {
            self.turned_ms = mono_ms - (mono_ms - self.turned_ms) % self.every_ms;
            // After a long sleep everything is old: three turns say so, more might wrap around.
            self.generation = self.generation.wrapping_add(turns.min(3) as u16);
        }
    }

    fn alive(&self, slot: u64) -> bool {
        slot >> 16 != 0 && self.generation.wrapping_sub(slot as u16) <= 2
    }

    fn places(&self, of: Fingerprint) -> [usize; 2] {
        let mask = self.buckets.len() - 1;
        let first = of.0 as usize & mask;
        let second = (of.0 >> 32) as usize & mask;
        [first, if second == first { (second + 1) & mask } else { second }]
    }

    /// Reads a word of each line that [`ReplaySet::seen`] will look at, so that the misses of several overlap.
    #[inline]
    pub fn touch(&self, of: Fingerprint) -> u64 {
        self.places(of).iter().filter_map(|at| self.buckets.get(*at)).fold(0, |sum, bucket| sum ^ bucket[0])
    }

    /// True when it was marked and not yet forgotten.
    pub fn seen(&mut self, mono_ms: u64, of: Fingerprint) -> bool {
        self.turn(mono_ms);
        let held = |slot: &u64| slot >> 16 == of.kept() && self.alive(*slot);
        self.places(of).iter().filter_map(|at| self.buckets.get(*at)).any(|bucket| bucket.iter().any(held))
    }

    /// Remembers it, in the emptier of its two buckets.
    ///
    /// # Errors
    /// [`ReplayFull`] when both are full of living fingerprints.
    pub fn mark(&mut self, mono_ms: u64, of: Fingerprint) -> Result<(), ReplayFull> {
        self.turn(mono_ms);
        let free = |at: usize| {
            let bucket = self.buckets.get(at)?;
            let slot = bucket.iter().position(|slot| !self.alive(*slot))?;
            Some((at, slot, bucket.iter().filter(|slot| self.alive(**slot)).count()))
        };
        let best = self.places(of).into_iter().filter_map(free).min_by_key(|(_, _, used)| *used);
        let (at, slot, _) = best.ok_or(ReplayFull)?;
        let value = of.kept() << 16 | u64::from(self.generation);
        match self.buckets.get_mut(at).and_then(|bucket| bucket.get_mut(slot)) {
            Some(place) => *place = value,
            None => return Err(ReplayFull),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn print(n: u64) -> Fingerprint {
        Fingerprint::new(&HashKey::new(3, 4), b'T', &[&n.to_be_bytes()])
    }

    #[test]
    fn kept_for_two_turns_and_forgotten_after_three() {
        for start in [0, 29_999, 30_000, 7_777_777] {
            let mut set = ReplaySet::new(64, 30_000);
            assert!(!set.seen(start, print(1)));
            set.mark(start, print(1)).unwrap();
            assert!(set.seen(start, print(1)));
            assert!(set.seen(start + 60_000, print(1)));
            assert!(!set.seen(start + 60_000, print(2)));
            assert!(!set.seen(start + 90_001, print(1)));
        }
    }

    #[test]
    fn a_long_sleep_forgets_and_wraps_nothing_back() {
        let mut set = ReplaySet::new(64, 1);
        set.mark(5, print(1)).unwrap();
        assert!(!set.seen(5 + 65_536, print(1)));
        assert!(!set.seen(5 + 65_537, print(1)));
    }

    #[test]
    fn full_is_said_and_room_comes_back() {
        let mut set = ReplaySet::new(4096, 1000);
        let mut held = Vec::new();
        let mut refused = 0;
        for n in 0..8192 {
            match set.mark(0, print(n)) {
                Ok(()) => held.push(n),
                Err(ReplayFull) => refused += 1,
            }
        }
        assert!(refused > 0);
        assert!(held.len() > 4096 * 9 / 10, "two choices fill it well: {}", held.len());
        assert!(held.iter().all(|n| set.seen(0, print(*n))), "nothing accepted is ever pushed out");
        assert!(set.mark(3000, print(99_999)).is_ok());
    }
}
