//! MGCP: a call agent as far as registration and what follows at once. It challenges and registers gateways, audits
//! their endpoints, asks each to report off-hook, answers that with dial tone, and audits again whoever is silent.
//!
//! ```text
//!   s9 sent ──► audit of all endpoints (501: its session is not active yet, once more) ──► off-hook wanted of each
//!   NTFY L/hd ──► 200, RQNT (dial tone, on-hook wanted)      NTFY anything else ──► 200, RQNT (off-hook wanted)
//!   silent for half its time ──► AUEP ──► 200: it lives │ 501, nothing: it is gone
//!   RSIP forced, all endpoints ──► 200, gone      RSIP restart, disconnected ──► 200, audited
//! ```
//!
//! Deliberately absent: connections, digits, calls.

mod behind;
mod serve;
mod steps;

use self::behind::Lines;
use crate::agent::{Agent, Ctx};
use crate::behind::{Behind, Served};
use crate::commands::Commands;
use crate::gateways::Gateways;
use crate::peers::Peer;
use crate::registration::{Vector, Waiting};
use crate::state::Core;
use portunus_mgcp::code::{self, Code};
use portunus_mgcp::transaction::{LONG_MS, REPEAT, Response, response};
use portunus_mgcp::view::{Message, PARTS_MAX, Parts, TRANSACTION_MAX};
use portunus_signalling::FaultKind;

/// What a command of the call agent's was for.
#[derive(Debug)]
enum Purpose {
    /// A step of a registration: only that it arrives matters.
    Step,
    /// Are you there; `endpoints` is true where the answer names them.
    Audit { idc: Box<str>, lane: Peer, endpoints: bool },
    /// Events wanted, signals applied.
    Request { idc: Box<str> },
}

/// What is kept of a gateway beside.
#[derive(Debug)]
struct Known {
    /// The local name that it registered by.
    local: Box<[u8]>,
    /// Which call agent of somebody else's serves it.
    served: Served,
}

/// The MGCP agent.
pub(crate) struct CallAgent {
    commands: Commands<Purpose>,
    gateways: Gateways<Known>,
    /// Call agents of somebody else's.
    behind: Option<Behind<Lines>>,
}

impl CallAgent {
    pub(crate) fn new(core: &mut Core) -> Self {
        let max = core.config.limits.commands;
        let commands = Commands::new(1..=TRANSACTION_MAX, REPEAT, max, &mut *core.random);
        let there = !core.config.behind.call_agents.is_empty();
        let (own, realm) = (core.config.own, core.config.realm.clone());
        let behind = there.then(|| Behind::new(core, Lines::new(own, &realm)));
        Self { commands, gateways: Gateways::new(&mut *core.random), behind }
    }

    fn on_part(&mut self, ctx: &mut Ctx<'_>, from: Peer, octets: &[u8]) {
        match Message::parse(octets) {
            Ok(msg) if matches!(from, Peer::Behind(..)) => match portunus_mgcp::carriage::core::read(&msg) {
                Ok(None) => self.pass_back(ctx, from, &msg),
                // Whoever is behind us registers nobody.
                Ok(Some(_)) | Err(_) => ctx.core.counters.unreadable += 1,
            },
            Ok(msg) if self.behind.is_some() && response(&msg).is_some() => self.pass_behind(ctx, from, &msg),
            Ok(msg) => match response(&msg) {
                Some(found) => self.on_response(ctx, from, &msg, found),
                None => self.on_command(ctx, from, &msg),
            },
            Err(fault) => {
                ctx.core.counters.unreadable += 1;
                if let Some(transaction) = Message::salvage(octets).filter(|_| fault.kind != FaultKind::Unreadable) {
                    respond(ctx, from, code::of(&fault), transaction);
                }
            }
        }
    }

    fn on_command(&mut self, ctx: &mut Ctx<'_>, from: Peer, msg: &Message<'_>) {
        match portunus_mgcp::carriage::core::read(msg) {
            Ok(Some(step)) => self.on_step(ctx, from, msg, &step),
            Ok(None) if self.behind.is_some() => self.pass_behind(ctx, from, msg),
            Ok(None) => self.on_service(ctx, from, msg),
            Err(fault) => {
                ctx.core.counters.unreadable += 1;
                respond(ctx, from, code::of(&fault), msg.transaction());
            }
        }
    }

    fn on_response(&mut self, ctx: &mut Ctx<'_>, from: Peer, msg: &Message<'_>, found: Response) {
        let transaction = msg.transaction();
        match found {
            Response::Pending => self.commands.pending(ctx.now, transaction, from, LONG_MS),
            // Answers are kept for their time in any case.
            Response::Confirmed => {}
            Response::Final { code, confirm } => {
                if confirm {
                    respond(ctx, from, code::ACKNOWLEDGED, transaction);
                }
                if let Some(purpose) = self.commands.answered(ctx, transaction, from) {
                    self.on_outcome(ctx, purpose, Some((code, msg)));
                }
            }
        }
    }

    /// What became of a command: its final answer, or `None` when nobody answered in time.
    fn on_outcome(&mut self, ctx: &mut Ctx<'_>, purpose: Purpose, answer: Option<(Code, &Message<'_>)>) {
        match (purpose, answer) {
            (Purpose::Step, _) => {}
            (Purpose::Audit { idc, lane, endpoints }, Some((200..=299, msg))) => {
                self.on_audited(ctx, (&idc, lane), endpoints.then_some(Some(msg)));
            }
            // Nobody, or the proxy in the place of a gateway that has no session.
            (Purpose::Audit { idc, lane, .. }, None | Some((code::NOT_READY, _))) => {
                self.gateways.absent(ctx, &idc, lane)
            }
            // An error is an answer of somebody who is there: it may not know wildcards.
            (Purpose::Audit { idc, lane, endpoints }, Some(_)) => {
                self.on_audited(ctx, (&idc, lane), endpoints.then_some(None));
            }
            (Purpose::Request { idc }, Some((200..=499, _))) => self.on_alive(ctx, &idc),
            // The endpoint does not do that, or is gone with its gateway, which the next audit finds out.
            (Purpose::Request { .. }, _) => {}
        }
    }
}

impl Agent for CallAgent {
    fn on_message(&mut self, ctx: &mut Ctx<'_>, from: Peer, bytes: &[u8]) {
        for part in Parts::new(bytes).take(PARTS_MAX) {
            self.on_part(ctx, from, part);
        }
    }

    fn on_vector(&mut self, ctx: &mut Ctx<'_>, waiting: &Waiting, vector: &Vector) {
        self.challenge(ctx, waiting, vector);
    }

    fn on_left(&mut self, ctx: &mut Ctx<'_>, idc: &str, lane: Peer) {
        let gateway = self.gateways.remove(idc, lane);
        if ctx.owner(lane).is_none() {
            self.commands.cancel(lane);
        }
        if let (Some(mut gateway), Some(behind)) = (gateway, &mut self.behind) {
            behind.on_left(ctx, &mut self.gateways, idc, &mut gateway);
        }
    }

    fn on_timer(&mut self, ctx: &mut Ctx<'_>) {
        for purpose in self.commands.on_timer(ctx) {
            self.on_outcome(ctx, purpose, None);
        }
        while let Some((idc, lane)) = self.gateways.take_due(ctx.now.mono_ms) {
            self.audit(ctx, &idc, lane);
        }
        if let Some(behind) = &mut self.behind {
            behind.on_timer(ctx, &mut self.gateways);
        }
    }

    fn next_deadline(&self) -> Option<u64> {
        let behind = self.behind.as_ref().and_then(Behind::next_deadline);
        [self.commands.next_deadline(), self.gateways.next_due(), behind].into_iter().flatten().min()
    }
}

/// Sends a response that is not kept: for what was never begun.
fn respond(ctx: &mut Ctx<'_>, to: Peer, code: Code, transaction: u32) {
    if let Some(bytes) = written(ctx, code, transaction) {
        ctx.send(to, bytes);
    }
}

fn written(ctx: &mut Ctx<'_>, code: Code, transaction: u32) -> Option<Vec<u8>> {
    ctx.write(|w| {
        portunus_mgcp::write::response(code, transaction, w);
        Ok(())
    })
}
