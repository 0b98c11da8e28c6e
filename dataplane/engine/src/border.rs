//! What a session's messages must keep to before they cross the border, whatever their protocol: the terms of its
//! policies, and the limits in them.

use crate::api::Sink;
use crate::counters::Counters;
use crate::engine::Engine;
use crate::store::sessions::State;
use core::cell::Cell;
use portunus_keydist::proxy::Veil;
use portunus_keydist::steps::Refusal;
use portunus_keydist::{DeviceKeys, Idc, Now};
use portunus_signalling::{
    Border, Crossing, Fault, FaultKind, FromTerminal, Full, Hop, Marks, Noticed, Rules, SessionRef, Signalling, Text,
    Ticket, Writer,
};
use std::sync::Arc;

/// Octets of the longest keep-alive of any protocol.
pub(crate) const KEEP_ALIVE: usize = 4;

/// Which way a message crosses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Up,
    Down,
}

/// The border of an engine with these rules.
pub(crate) fn border(device: &DeviceKeys, rules: &Rules) -> Arc<Border> {
    Arc::new(Border { veil: Some(Veil::of(device)), rules: rules.clone() })
}

/// What a protocol may know of a session, and what of its messages may cross.
pub(crate) fn crossing<'a>(known: SessionRef<'a>, border: &'a Border, noticed: &'a Cell<Noticed>) -> SessionRef<'a> {
    SessionRef { crossing: Crossing { border, noticed: Some(noticed) }, ..known }
}

impl Engine {
    /// True when a message of the session's may cross the border; what may not is counted, and answered where its
    /// protocol answers such a message at all.
    pub(crate) fn may_cross(
        &mut self,
        now: Now,
        signalling: &'static dyn Signalling,
        slot: u32,
        message: &[u8],
        sink: &mut dyn Sink,
    ) -> bool {
        let Some(session) = self.sessions.get(slot) else { return false };
        let (plain, pace) = (session.state == State::Stock, self.sessions.pace(slot));
        let terms = self.policy.terms(pace.pair());
        if plain && !terms.plain {
            self.counters.plain_refused += 1;
            self.tell(slot, sink, &mut |hop, w| signalling.write_refusal(hop, message, &Refusal::Denied, None, w));
            return false;
        }
        if message.len() > terms.message {
            self.counters.message_too_long += 1;
            let fault = Fault { kind: FaultKind::TooBig, what: "message", at: terms.message };
            self.tell(slot, sink, &mut |hop, w| {
                let before = w.len();
                if !signalling.write_fault(hop, message, &fault, w)? {
                    w.truncate(before);
                }
                Ok(())
            });
            return false;
        }
        let within = self.sessions.pace_mut(slot).is_none_or(|pace| pace.take(now.mono_ms, &terms));
        if !within {
            self.counters.rate_exceeded += 1;
            let refusal = Refusal::Busy { retry_after_s: self.retry_after() };
            self.tell(slot, sink, &mut |hop, w| signalling.write_refusal(hop, message, &refusal, None, w));
        }
        within
    }

    /// Tells the session's terminal what `write` writes; nothing where it writes nothing.
    fn tell(
        &mut self,
        slot: u32,
        sink: &mut dyn Sink,
        write: &mut dyn FnMut(&Hop<'_>, &mut Writer<'_>) -> Result<(), Full>,
    ) {
        let Some(meta) = self.sessions.get(slot).map(|session| session.meta()) else { return };
        let salt = self.rng.next_u64();
        let hop = self.site.hop(meta.listener, meta.source, Ticket(0), salt);
        let mut w = Writer::new(&mut self.scratch);
        match write(&hop, &mut w).and_then(|()| w.finish()) {
            Ok(0) => {}
            Ok(len) => self.send_down(slot, len, sink),
            Err(Full) => self.counters.write_full += 1,
        }
    }

    /// Answers a keep-alive inside a session; false for any other message.
    pub(crate) fn kept_alive(
        &mut self,
        signalling: &dyn Signalling,
        slot: u32,
        message: &[u8],
        sink: &mut dyn Sink,
    ) -> bool {
        if message.len() > KEEP_ALIVE {
            return false;
        }
        let (mut marks, mut text) = (Marks::NONE, Text::new());
        let Ok(FromTerminal::KeepAlive(answer)) = signalling.read_marked(message, &mut marks, &mut text) else {
            return false;
        };
        if let Some(room) = self.scratch.get_mut(..answer.len()).filter(|room| !room.is_empty()) {
            room.copy_from_slice(answer);
            self.send_down(slot, answer.len(), sink);
        }
        true
    }

    /// True when nothing keeps messages from the session's terminal: stock phones' need a policy that lets them through
    /// in the clear.
    pub(crate) fn is_admitted(&self, slot: u32) -> bool {
        let stock = self.sessions.get(slot).is_some_and(|session| session.state == State::Stock);
        !stock || self.policy.terms(self.sessions.pace(slot).pair()).plain
    }

    /// True when the policies of a stock phone let it register.
    pub(crate) fn admits_digest(&self, listener: u8, idc: Idc<'_>) -> bool {
        self.policy.terms(self.policy.pair(listener, idc)).digest
    }
}

impl Counters {
    /// Counts what a protocol noticed.
    pub(crate) const fn noticed(&mut self, noticed: Noticed, way: Way) {
        self.border_forged += noticed.forged as u64;
        self.border_routed += noticed.routed as u64;
        match way {
            Way::Up => self.border_stripped_up += noticed.stripped as u64,
            Way::Down => self.border_stripped_down += noticed.stripped as u64,
        }
    }
}
