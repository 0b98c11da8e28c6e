//! Watches the first registration behind the proxy, so that its ladder has times: the softswitch shows what it
//! receives, asks and sends. Off unless somebody watches.

use portunus_aaa::{AaaAnswer, AaaRequest};
use portunus_softswitch::{Seen, Witness};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// What the softswitch saw first of each step, and when.
#[derive(Debug, Clone, Default)]
pub struct Watch(Arc<Mutex<Vec<(&'static str, Instant)>>>);

/// Steps that a softswitch can see: s2 to s5, s8, s9 and s11.
const STEPS: usize = 7;

impl Watch {
    /// The witness to hand to a softswitch.
    pub fn witness(&self) -> Witness {
        let watch = self.clone();
        Box::new(move |seen| watch.see(seen))
    }

    fn see(&self, seen: Seen<'_>) {
        let Ok(mut steps) = self.0.lock() else { return };
        // One registration is told; whatever follows costs a look at a length.
        if steps.len() >= STEPS {
            return;
        }
        let had = |step: &str| steps.iter().any(|(s, _)| *s == step);
        let step = match seen {
            // s8 answers a challenge; s2 has none to answer.
            Seen::Received(_, m) if m.starts_with(b"REGISTER ") => {
                if had("s5") {
                    "s8"
                } else {
                    "s2"
                }
            }
            Seen::Sent(_, m) if m.starts_with(b"SIP/2.0 401") => "s5",
            Seen::Sent(_, m) if m.starts_with(b"SIP/2.0 200") => "s9",
            Seen::Asked(AaaRequest::Authenticate(_)) => "s3",
            Seen::Asked(AaaRequest::Account(_)) => "s11",
            Seen::Answered(e) if matches!(e.outcome, Ok(AaaAnswer::Vector(_))) => "s4",
            _ => return,
        };
        if !had(step) {
            steps.push((step, Instant::now()));
        }
    }

    /// The times since `start`.
    pub fn since(&self, start: Instant) -> Vec<(&'static str, Duration)> {
        let seen = self.0.lock().map(|s| s.clone()).unwrap_or_default();
        seen.into_iter().map(|(s, at)| (s, at.saturating_duration_since(start))).collect()
    }
}
