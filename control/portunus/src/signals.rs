//! SIGINT and SIGTERM ask for the end, SIGHUP for a reload, SIGUSR1 for the counters.

use crate::exit::Failure;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGXFSZ};
use signal_hook::flag;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Makes a file that may not grow (RLIMIT_FSIZE) an error of the write, as a full disk is one, instead of the end of the
/// process.
pub fn outlive_full_files() {
    // Nobody reads the flag. Where the handler cannot be had, things are as they were.
    let _ = flag::register(SIGXFSZ, Arc::default());
}

/// What the signals asked for.
#[derive(Debug, Clone)]
pub struct Signals {
    end: Arc<AtomicBool>,
    reload: Arc<AtomicBool>,
    counters: Arc<AtomicBool>,
}

impl Signals {
    /// Catches them from now on. A second SIGINT or SIGTERM ends the process at once.
    ///
    /// # Errors
    /// What the system says.
    pub fn catch() -> Result<Self, Failure> {
        let signals = Self { end: Arc::default(), reload: Arc::default(), counters: Arc::default() };
        let cannot = |e: std::io::Error| Failure::io("catching signals", &e);
        for signal in [SIGINT, SIGTERM] {
            // In this order: the first signal finds the flag unset and sets it, the second finds it set.
            flag::register_conditional_shutdown(signal, 130, Arc::clone(&signals.end)).map_err(cannot)?;
            flag::register(signal, Arc::clone(&signals.end)).map_err(cannot)?;
        }
        flag::register(SIGHUP, Arc::clone(&signals.reload)).map_err(cannot)?;
        flag::register(SIGUSR1, Arc::clone(&signals.counters)).map_err(cannot)?;
        Ok(signals)
    }

    /// True once the end was asked for.
    pub fn end_asked(&self) -> bool {
        self.end.load(Ordering::Relaxed)
    }

    /// True once for every reload that was asked for.
    pub fn reload_asked(&self) -> bool {
        self.reload.swap(false, Ordering::Relaxed)
    }

    /// True once for every time that the counters were asked for.
    pub fn counters_asked(&self) -> bool {
        self.counters.swap(false, Ordering::Relaxed)
    }

    /// Sleeps, at most for `most`; a signal ends the sleep early.
    pub fn wait(&self, most: Duration) {
        // A caught signal interrupts the sleep of this thread or of another; so sleeps are short.
        std::thread::park_timeout(most.min(Duration::from_millis(200)));
    }
}
