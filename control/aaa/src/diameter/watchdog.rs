//! The watchdog of a connection (RFC 3539 section 3.4), for both ends.
//!
//! ```text
//!        Tw, nothing heard: DWR       Tw again          Tw again
//!  Okay ----------------------> Okay ---------> Suspect ---------> closed
//!   ^  ^                      (pending)            | anything heard
//!   |  +-------------------------------------------+
//!   +-- `revive_after` DWAs -- Reopen  (a connection made after one was lost)
//! ```

use portunus_keydist::Random;

/// What is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    /// Nothing.
    Nothing,
    /// Send a DWR.
    Probe,
    /// Ask others until it is heard of again.
    Suspect,
    /// Close it.
    Close,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Okay,
    Suspect,
    /// DWAs that are still to come.
    Reopen(u8),
}

/// See the module's text. Times in milliseconds.
#[derive(Debug, Clone)]
pub(super) struct Watchdog {
    tw: u64,
    state: State,
    pending: bool,
    at: u64,
}

impl Watchdog {
    /// One for a connection whose capabilities were exchanged. `reopen`: DWAs before it is trusted, 0 for a first one.
    pub(super) fn new(now: u64, tw: u64, reopen: u8, rng: &mut dyn Random) -> Self {
        let state = if reopen == 0 { State::Okay } else { State::Reopen(reopen) };
        let mut watchdog = Self { tw, state, pending: false, at: now };
        // What is to be trusted again proves itself at once.
        if reopen == 0 {
            watchdog.rest(now, rng);
        }
        watchdog
    }

    /// Tw with its jitter: ± 2 s, or a quarter where Tw is short.
    fn rest(&mut self, now: u64, rng: &mut dyn Random) {
        let span = (self.tw / 4).min(2_000);
        self.at = now + self.tw - span + rng.next_u64() % (2 * span + 1);
    }

    /// True when requests may go there.
    pub(super) fn is_okay(&self) -> bool {
        self.state == State::Okay
    }

    /// When [`Watchdog::on_timer`] is due.
    pub(super) fn deadline(&self) -> u64 {
        self.at
    }

    /// Anything was heard; `dwa`: the answer to a DWR.
    pub(super) fn heard(&mut self, now: u64, dwa: bool, next_probe: u64, rng: &mut dyn Random) {
        self.pending &= !dwa;
        match self.state {
            State::Okay => {}
            State::Suspect => self.state = State::Okay,
            State::Reopen(_) if !dwa => return,
            State::Reopen(left) if left > 1 => {
                self.state = State::Reopen(left - 1);
                self.at = now + next_probe;
                return;
            }
            State::Reopen(_) => self.state = State::Okay,
        }
        self.rest(now, rng);
    }

    /// Something asked is overdue: a DWR goes out now unless one is out, and has `patience` to be answered.
    pub(super) fn press(&mut self, now: u64, patience: u64) -> Due {
        if self.pending || self.state != State::Okay {
            return Due::Nothing;
        }
        self.pending = true;
        self.at = now + patience;
        Due::Probe
    }

    /// Time has passed.
    pub(super) fn on_timer(&mut self, now: u64, rng: &mut dyn Random) -> Due {
        if now < self.at {
            return Due::Nothing;
        }
        let due = match (self.state, self.pending) {
            (State::Okay | State::Reopen(_), false) => {
                self.pending = true;
                Due::Probe
            }
            (State::Okay, true) => {
                self.state = State::Suspect;
                Due::Suspect
            }
            (State::Suspect | State::Reopen(_), _) => Due::Close,
        };
        self.rest(now, rng);
        due
    }
}
