//! The host's clocks as the state machines take them.

use portunus_keydist::Now;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A start on the monotonic clock.
#[derive(Debug, Clone, Copy)]
pub struct Clock(Instant);

impl Clock {
    /// Starts now.
    pub fn new() -> Self {
        Self(Instant::now())
    }

    /// One reading of both clocks. The wall clock is read anew each time: it may be set while we run.
    pub fn now(&self) -> Now {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Now { mono_ms: self.0.elapsed().as_millis() as u64, wall_ms: wall.as_millis() as u64 }
    }

    /// How long to sleep for the earliest of these deadlines (monotonic milliseconds), at most `most`.
    pub fn until(&self, now: Now, deadlines: &[Option<u64>], most: Duration) -> Duration {
        let next = deadlines.iter().flatten().min();
        next.map_or(most, |at| Duration::from_millis(at.saturating_sub(now.mono_ms)).min(most))
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::new()
    }
}
