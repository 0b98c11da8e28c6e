//! SIP: registrar (RFC 3261 section 10) and stateless proxy (section 16.11); or, with registrars of somebody else's behind
//! us, what stands between them and the proxies.

mod answers;
mod behind;
mod probes;
mod register;
mod relay;

use crate::agent::{Agent, Ctx};
use crate::peers::Peer;
use crate::registration::{Vector, Waiting};
use crate::state::Core;
use behind::Behind;
use portunus_sip::view::Message;
use probes::Probes;

/// The SIP agent. Transactions, challenges and locations are the softswitch's; its own are only the questions to
/// terminals that may have moved, and those to registrars behind us.
pub(crate) struct Registrar {
    probes: Probes,
    /// `None`: the registrar is this one.
    behind: Option<Behind>,
}

impl Registrar {
    pub(crate) fn new(core: &mut Core) -> Self {
        Self { probes: Probes::default(), behind: Behind::new(core) }
    }
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
                let granting = relay::request(ctx.core, ctx.now, from, &msg, ctx.out);
                if let (Some(granting), Some(behind)) = (granting, &mut self.behind) {
                    behind.register(ctx, granting);
                }
                self.probes.begin(ctx);
            }
            Ok(msg) if self.probes.answered(ctx, from, &msg) => {}
            Ok(msg) if self.behind.as_mut().is_some_and(|behind| behind.answered(ctx, from, &msg)) => {}
            Ok(msg) => relay::response(ctx.core, &msg, ctx.out),
            Err(_) => ctx.core.counters.unreadable += 1,
        }
    }

    fn on_vector(&mut self, ctx: &mut Ctx<'_>, waiting: &Waiting, vector: &Vector) {
        ctx.core.on_vector(ctx.now, waiting, vector, ctx.out);
    }

    fn on_timer(&mut self, ctx: &mut Ctx<'_>) {
        self.probes.on_timer(ctx);
        self.behind.iter_mut().for_each(|behind| behind.on_timer(ctx));
    }

    fn next_deadline(&self) -> Option<u64> {
        [self.probes.next_deadline(), self.behind.as_ref().and_then(Behind::next_deadline)].into_iter().flatten().min()
    }
}
