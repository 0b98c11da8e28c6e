//! SIP: registrar (RFC 3261 section 10) and stateless proxy (section 16.11).

mod answers;
mod probes;
mod register;
mod relay;

use crate::agent::{Agent, Ctx};
use crate::peers::Peer;
use crate::registration::{Vector, Waiting};
use portunus_sip::view::Message;
use probes::Probes;

/// The SIP agent. Transactions, challenges and locations are the softswitch's; its own are only the questions to
/// terminals that may have moved.
#[derive(Debug, Default)]
pub(crate) struct Registrar {
    probes: Probes,
}

impl Agent for Registrar {
    fn on_message(&mut self, ctx: &mut Ctx<'_>, from: Peer, bytes: &[u8]) {
        // CRLF keep-alives and the like.
        if bytes.iter().all(u8::is_ascii_whitespace) {
            ctx.core.counters.unreadable += u64::from(bytes.len() > 4);
            return;
        }
        match Message::parse(bytes) {
            Ok(msg) if msg.is_request() => {
                relay::request(ctx.core, ctx.now, from, &msg, ctx.out);
                self.probes.begin(ctx);
            }
            Ok(msg) if self.probes.answered(ctx, from, &msg) => {}
            Ok(msg) => relay::response(ctx.core, &msg, ctx.out),
            Err(_) => ctx.core.counters.unreadable += 1,
        }
    }

    fn on_vector(&mut self, ctx: &mut Ctx<'_>, waiting: &Waiting, vector: &Vector) {
        ctx.core.on_vector(ctx.now, waiting, vector, ctx.out);
    }

    fn on_timer(&mut self, ctx: &mut Ctx<'_>) {
        self.probes.on_timer(ctx);
    }

    fn next_deadline(&self) -> Option<u64> {
        self.probes.next_deadline()
    }
}
