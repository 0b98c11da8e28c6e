//! SIP: registrar (RFC 3261 section 10) and stateless proxy (section 16.11).

mod answers;
mod register;
mod relay;

use crate::agent::{Agent, Ctx};
use crate::peers::Peer;
use crate::registration::{Vector, Waiting};
use portunus_sip::view::Message;

/// The SIP agent. It keeps nothing of its own: transactions, challenges and locations are the softswitch's.
#[derive(Debug)]
pub(crate) struct Registrar;

impl Agent for Registrar {
    fn on_message(&mut self, ctx: &mut Ctx<'_>, from: Peer, bytes: &[u8]) {
        // CRLF keep-alives and the like.
        if bytes.iter().all(u8::is_ascii_whitespace) {
            ctx.core.counters.unreadable += u64::from(bytes.len() > 4);
            return;
        }
        match Message::parse(bytes) {
            Ok(msg) if !msg.is_request() => relay::response(ctx.core, &msg, ctx.out),
            Ok(msg) => relay::request(ctx.core, ctx.now, from, &msg, ctx.out),
            Err(_) => ctx.core.counters.unreadable += 1,
        }
    }

    fn on_vector(&mut self, ctx: &mut Ctx<'_>, waiting: &Waiting, vector: &Vector) {
        ctx.core.on_vector(ctx.now, waiting, vector, ctx.out);
    }
}
