//! MGCP as a gateway speaks it.

use crate::agent::{Agent, Ctx, Env, Reading, Tag};
use portunus_keydist::Random;
use portunus_keydist::steps::{S1, S7};
use portunus_signalling::{Protocol, Text};

/// A terminal's part.
#[derive(Debug)]
pub struct Mgcp {}

impl Mgcp {
    /// A terminal's part at rest. Transaction ids begin at `tag`.
    pub fn new(_tag: u32, _rng: &mut dyn Random) -> Self {
        Self {}
    }
}

/// Which of several terminals behind one socket an unprotected message is for.
pub(crate) fn tag_of(_message: &[u8]) -> Option<Tag> {
    None
}

impl Agent for Mgcp {
    fn protocol(&self) -> Protocol {
        Protocol::Mgcp
    }

    fn write_s1(&mut self, _env: &Env<'_>, _rng: &mut dyn Random, _s1: &S1<'_>) -> Option<Vec<u8>> {
        None
    }

    fn write_s7(&mut self, _env: &Env<'_>, _rng: &mut dyn Random, _s7: &S7<'_>) -> Option<Vec<u8>> {
        None
    }

    fn read<'m>(
        &mut self,
        _env: &Env<'_>,
        _message: &'m [u8],
        _text: &'m mut Text,
        _reply: &mut Vec<u8>,
    ) -> Reading<'m> {
        Reading::Nothing
    }

    fn on_ended(&mut self, _ctx: &mut Ctx<'_>) {}

    fn on_inside(&mut self, ctx: &mut Ctx<'_>, _message: &[u8]) {
        ctx.ignore();
    }

    fn refresh(&mut self, _ctx: &mut Ctx<'_>) {}

    fn deregister(&mut self, _ctx: &mut Ctx<'_>) -> bool {
        false
    }

    fn probe(&mut self, _ctx: &mut Ctx<'_>) -> Option<u32> {
        None
    }
}
