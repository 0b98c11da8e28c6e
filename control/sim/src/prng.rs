//! The simulator's only source of chance: xoshiro256** seeded through SplitMix64. Small, fast, and the same everywhere,
//! so that a seed is a whole run. Predictable by design: it never leaves the simulator.

use portunus_keydist::Random;

/// A seeded generator.
#[derive(Debug, Clone)]
pub struct Prng([u64; 4]);

impl Prng {
    /// The generator of a seed.
    pub fn new(seed: u64) -> Self {
        let mut x = seed;
        let mut next = || {
            x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let z = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ (z >> 31)
        };
        Self([next(), next(), next(), next()])
    }

    /// A generator of its own for a part of the world, so that what one part draws does not move another's draws.
    pub fn fork(&mut self) -> Self {
        Self::new(self.bits())
    }

    /// 64 bits.
    pub fn bits(&mut self) -> u64 {
        let s = &mut self.0;
        let out = s[1].wrapping_mul(5).rotate_left(7).wrapping_mul(9);
        let t = s[1] << 17;
        s[2] ^= s[0];
        s[3] ^= s[1];
        s[1] ^= s[2];
        s[0] ^= s[3];
        s[2] ^= t;
        s[3] = s[3].rotate_left(45);
        out
    }

    /// A number from `low` to `high`, both included.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.bits() % (high - low + 1)
    }

    /// True in `permille` of a thousand cases.
    pub fn chance(&mut self, permille: u64) -> bool {
        self.bits() % 1000 < permille
    }

    /// One of them; `None` of none.
    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        from.get((self.bits() % from.len().max(1) as u64) as usize)
    }
}

impl Random for Prng {
    fn fill(&mut self, out: &mut [u8]) {
        for chunk in out.chunks_mut(8) {
            let bits = self.bits().to_le_bytes();
            chunk.copy_from_slice(&bits[..chunk.len()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_is_the_same_run_and_another_is_another() {
        let draw = |seed| {
            let mut p = Prng::new(seed);
            let mut out = [0u8; 20];
            p.fill(&mut out);
            (out, p.between(5, 9), p.fork().bits())
        };
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
        let mut p = Prng::new(3);
        assert!((0..1000).all(|_| (5..=9).contains(&p.between(5, 9))));
        assert!((0..1000).filter(|_| p.chance(300)).count().abs_diff(300) < 80);
        assert_eq!(p.pick::<u8>(&[]), None);
    }
}
