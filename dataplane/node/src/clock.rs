//! The node's clocks: the only place of the data plane that reads them.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use portunus_keydist::Now;

/// Both clocks, with one origin for all threads of a node.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    start: Instant,
}

impl Clock {
    /// Starts counting. The monotonic clock begins at one minute, so that no deadline computed backwards meets zero.
    pub fn start() -> Self {
        let now = Instant::now();
        Self { start: now.checked_sub(std::time::Duration::from_secs(60)).unwrap_or(now) }
    }

    /// One reading of both.
    pub fn now(&self) -> Now {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Now { mono_ms: self.start.elapsed().as_millis() as u64, wall_ms: wall.as_millis() as u64 }
    }
}
