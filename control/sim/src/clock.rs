//! Everybody's own clock: the world's time, begun elsewhere and a little off.

use portunus_keydist::Now;

/// Milliseconds since 1970 UTC at which every run begins: 2026-11-01.
const EPOCH: u64 = 1_793_491_200_000;

/// A role's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct Clock {
    /// Where its monotonic clock began.
    pub mono: u64,
    /// How far its wall clock is off.
    pub wall: i64,
}

impl Clock {
    /// Its reading at the world's time.
    pub fn now(&self, world_ms: u64) -> Now {
        Now { mono_ms: world_ms + self.mono, wall_ms: (EPOCH + world_ms).saturating_add_signed(self.wall) }
    }

    /// The world's time of a monotonic reading.
    pub fn world(&self, mono_ms: u64) -> u64 {
        mono_ms.saturating_sub(self.mono)
    }
}
