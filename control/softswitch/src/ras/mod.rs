//! H.323 RAS: a gatekeeper as far as registration, admission and location.

use crate::agent::{Agent, Ctx};
use crate::peers::Peer;
use crate::registration::{Vector, Waiting};
use crate::state::Core;

/// The RAS agent.
#[derive(Debug)]
pub(crate) struct Gatekeeper {}

impl Gatekeeper {
    pub(crate) fn new(_core: &mut Core) -> Self {
        Self {}
    }
}

impl Agent for Gatekeeper {
    fn on_message(&mut self, ctx: &mut Ctx<'_>, _from: Peer, _bytes: &[u8]) {
        ctx.core.counters.unreadable += 1;
    }

    fn on_vector(&mut self, _ctx: &mut Ctx<'_>, _waiting: &Waiting, _vector: &Vector) {}
}
