//! Watches one registration behind the proxy, so that its ladder has times: the softswitch shows what it receives, asks
//! and sends. Off unless somebody watches.

use portunus_aaa::{AaaAnswer, AaaRequest};
use portunus_signalling::Protocol;
use portunus_softswitch::{Seen, Witness};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// What the softswitch saw first of each step, and when.
#[derive(Debug, Clone, Default)]
pub struct Watch(Arc<Mutex<Watched>>);

#[derive(Debug, Default)]
struct Watched {
    /// What is watched for; `None`: nothing.
    protocol: Option<Protocol>,
    steps: Vec<(&'static str, Instant)>,
}

/// Steps that a softswitch can see: s2 to s5, s8, s9 and s11.
const STEPS: usize = 7;

impl Watch {
    /// The witness to hand to a softswitch.
    pub fn witness(&self) -> Witness {
        let watch = self.clone();
        Box::new(move |seen| watch.see(seen))
    }

    /// From now on a registration by this protocol is watched for; what was seen before is forgotten.
    pub fn begin(&self, protocol: Protocol) {
        if let Ok(mut watched) = self.0.lock() {
            *watched = Watched { protocol: Some(protocol), steps: Vec::new() };
        }
    }

    /// The times since `start`; nothing is watched for any more.
    pub fn end(&self, start: Instant) -> Vec<(&'static str, Duration)> {
        let seen = self.0.lock().map(|mut w| core::mem::take(&mut *w).steps).unwrap_or_default();
        seen.into_iter().map(|(s, at)| (s, at.saturating_duration_since(start))).collect()
    }

    fn see(&self, seen: Seen<'_>) {
        let Ok(mut watched) = self.0.lock() else { return };
        // One registration is told; whatever follows costs a look at a length.
        let Some(wanted) = watched.protocol.filter(|_| watched.steps.len() < STEPS) else { return };
        let had = |step: &str| watched.steps.iter().any(|(s, _)| *s == step);
        let step = match seen {
            Seen::Received(protocol, m) if protocol == wanted && is_step(protocol, m) => {
                // s8 answers a challenge; s2 has none to answer.
                if had("s5") { "s8" } else { "s2" }
            }
            Seen::Sent(protocol, m) if protocol == wanted && is_step(protocol, m) => {
                if had("s8") {
                    "s9"
                } else {
                    "s5"
                }
            }
            Seen::Asked(AaaRequest::Authenticate(_)) => "s3",
            Seen::Asked(AaaRequest::Account(_)) => "s11",
            Seen::Answered(e) if matches!(e.outcome, Ok(AaaAnswer::Vector(_))) => "s4",
            _ => return,
        };
        if !had(step) {
            watched.steps.push((step, Instant::now()));
        }
    }
}

/// True for what carries a step, and not for the receipts and the other traffic around it.
fn is_step(protocol: Protocol, message: &[u8]) -> bool {
    let has = |needle: &[u8]| message.windows(needle.len()).any(|w| w.eq_ignore_ascii_case(needle));
    match protocol {
        Protocol::Sip => [&b"REGISTER "[..], b"SIP/2.0 401", b"SIP/2.0 200"].iter().any(|s| message.starts_with(s)),
        Protocol::Mgcp => has(b"X-PKD"),
        Protocol::H248 => has(b"X-PKD") || has(b"portunus/"),
        // Here every step is a request or its answer, and nothing else comes before the last of them.
        Protocol::Ras => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_told_from_receipts_and_from_other_protocols() {
        let watch = Watch::default();
        let mgcp = Protocol::Mgcp;
        watch.see(Seen::Received(mgcp, b"RSIP 1 *@gw MGCP 1.0\r\nX-PKD: v=1\r\n"));
        assert!(watch.end(Instant::now()).is_empty(), "nobody asked");
        watch.begin(mgcp);
        watch.see(Seen::Received(mgcp, b"RSIP 1 *@gw MGCP 1.0\r\nX-PKD: v=1\r\n"));
        watch.see(Seen::Sent(mgcp, b"200 1\r\n"));
        watch.see(Seen::Sent(Protocol::Sip, b"SIP/2.0 401 Unauthorized\r\n"));
        watch.see(Seen::Sent(mgcp, b"RQNT 7 aaln/1@gw MGCP 1.0\r\nS: x-pkd/chal(...)\r\n"));
        watch.see(Seen::Received(mgcp, b"NTFY 2 aaln/1@gw MGCP 1.0\r\nO: x-pkd/resp(...)\r\n"));
        watch.see(Seen::Sent(mgcp, b"RQNT 8 aaln/1@gw MGCP 1.0\r\nS: x-pkd/key(...)\r\n"));
        watch.see(Seen::Sent(mgcp, b"AUEP 9 *@gw MGCP 1.0\r\n"));
        let steps: Vec<_> = watch.end(Instant::now()).into_iter().map(|(s, _)| s).collect();
        assert_eq!(steps, ["s2", "s5", "s8", "s9"]);
    }
}
