//! What the outside gives: time and randomness.

use ring::rand::SecureRandom as _;

/// One reading of the two clocks, taken once a batch and passed down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Now {
    /// Monotonic milliseconds since an arbitrary start: timers and lifetimes.
    pub mono_ms: u64,
    /// Milliseconds since 1970 UTC: the TS fields of the protocol, and nothing else.
    pub wall_ms: u64,
}

/// A source of unpredictable octets. Production uses [`SystemRandom`]; the simulator a seeded generator.
pub trait Random {
    /// Fills `out` completely.
    fn fill(&mut self, out: &mut [u8]);

    /// A fresh array.
    fn array<const N: usize>(&mut self) -> [u8; N]
    where
        Self: Sized,
    {
        let mut out = [0u8; N];
        self.fill(&mut out);
        out
    }

    /// 64 random bits.
    fn next_u64(&mut self) -> u64 {
        let mut out = [0u8; 8];
        self.fill(&mut out);
        u64::from_ne_bytes(out)
    }
}

/// The operating system's generator (getrandom), drawn in blocks so that small draws do not each cost a system call.
pub struct SystemRandom {
    source: ring::rand::SystemRandom,
    pool: [u8; 512],
    left: usize,
}

impl SystemRandom {
    /// A generator with an empty pool.
    pub fn new() -> Self {
        Self { source: ring::rand::SystemRandom::new(), pool: [0; 512], left: 0 }
    }

    fn draw(&self, out: &mut [u8]) {
        // The kernel's generator fails only where the system call itself is missing or forbidden; going on with
        // predictable keys would be worse than stopping.
        if self.source.fill(out).is_err() {
            std::process::abort();
        }
    }
}

impl Default for SystemRandom {
    fn default() -> Self {
        Self::new()
    }
}

impl core::fmt::Debug for SystemRandom {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("SystemRandom")
    }
}

impl Drop for SystemRandom {
    fn drop(&mut self) {
        zeroize::Zeroize::zeroize(&mut self.pool);
    }
}

impl Random for SystemRandom {
    fn fill(&mut self, out: &mut [u8]) {
        if out.len() > 64 {
            return self.draw(out);
        }
        if self.left < out.len() {
            let mut pool = [0u8; 512];
            self.draw(&mut pool);
            self.pool = pool;
            self.left = 512;
        }
        let from = self.left - out.len();
        if let Some(taken) = self.pool.get_mut(from..self.left) {
            out.copy_from_slice(taken);
            // What was handed out must not be readable here afterwards.
            taken.fill(0);
        }
        self.left = from;
    }
}
