//! What time brings: a silent core, unconfirmed sessions, the ends of lives.

use crate::api::{EndReason, Sink};
use crate::engine::Engine;
use crate::store::pendings::{Pending, Task};
use crate::store::sessions::State;
use portunus_keydist::Now;
use portunus_keydist::proxy::Exchange;

/// Most timers of one call; what is left is due at once again.
const AT_ONCE: usize = 4096;

impl Engine {
    /// Does what is due. Bounded: after many expiries [`Engine::next_deadline`] is in the past still.
    pub fn on_timer(&mut self, now: Now, sink: &mut dyn Sink) {
        for _ in 0..AT_ONCE {
            let Some(timer) = self.wheel.pop(now.mono_ms) else { break };
            match timer.checked_sub(self.first_session_timer) {
                None => {
                    self.counters.core_timeout += 1;
                    let judged = |p: &Pending| matches!(p.task, Task::Pkd(Exchange::AwaitS9 { .. }));
                    match self.routes.several && self.pendings.get(timer).is_some_and(judged) {
                        true => self.conclude_anew(now, timer, sink),
                        false => self.conclude_busy(now, timer, 0, sink),
                    }
                }
                Some(slot) => self.on_session_timer(now, slot, sink),
            }
        }
        self.gauge();
    }

    fn on_session_timer(&mut self, now: Now, slot: u32, sink: &mut dyn Sink) {
        let Some((state, ends_s)) = self.sessions.get(slot).map(|session| (session.state, session.ends_s)) else {
            return;
        };
        let ends_ms = u64::from(ends_s) * 1000;
        if state == State::Provisional || ends_ms <= now.mono_ms {
            self.end_session(slot, EndReason::Expired, sink);
        } else {
            self.wheel.arm(now.mono_ms, self.session_timer(slot), ends_ms);
        }
    }
}
