//! H.248: a media gateway controller as far as registration and what follows at once.

use crate::agent::{Agent, Ctx};
use crate::peers::Peer;
use crate::registration::{Vector, Waiting};
use crate::state::Core;

/// The H.248 agent.
#[derive(Debug)]
pub(crate) struct Controller {}

impl Controller {
    pub(crate) fn new(_core: &mut Core) -> Self {
        Self {}
    }
}

impl Agent for Controller {
    fn on_message(&mut self, ctx: &mut Ctx<'_>, _from: Peer, _bytes: &[u8]) {
        ctx.core.counters.unreadable += 1;
    }

    fn on_vector(&mut self, _ctx: &mut Ctx<'_>, _waiting: &Waiting, _vector: &Vector) {}
}
