//! H.248: a media gateway controller as far as registration and what follows at once. It challenges and registers
//! gateways, audits their terminations, asks each to report off-hook, answers that with dial tone, lets a gateway that
//! is idle say so, and audits again whoever is silent.
//!
//! ```text
//!   s9 sent ──► audit of all terminations (503: its session is not active yet, once more)
//!          ──► off-hook wanted of each, inactivity of ROOT
//!   Notify al/of ──► Reply, Modify (dial tone, on-hook wanted)    Notify al/on ──► Reply, Modify (off-hook wanted)
//!   silent for half its time ──► AuditValue ROOT ──► a Reply: it lives │ 503, nothing: it is gone
//!   ServiceChange ROOT forced ──► Reply, gone    restart, disconnected, failover, handoff ──► Reply, audited
//! ```
//!
//! Deliberately absent: contexts, streams, digits, calls.

mod behind;
mod serve;
mod steps;

use self::behind::Text;
use crate::agent::{Agent, Ctx};
use crate::behind::{Behind, Served};
use crate::commands::Commands;
use crate::gateways::Gateways;
use crate::peers::Peer;
use crate::registration::{Vector, Waiting};
use crate::state::Core;
use portunus_codec::{Full, Writer};
use portunus_h248::carriage::message::{self, LONG_MS, REPEAT, Sender};
use portunus_h248::view::{Kind, Message, Transaction};
use portunus_keydist::ident::{Idc, IdcBuf};

/// What a command of the controller's was for.
#[derive(Debug)]
enum Purpose {
    /// A step of a registration: only that it arrives matters.
    Step,
    /// Are you there; `all` is true where the reply names the terminations.
    Audit { idc: Box<str>, lane: Peer, all: bool },
    /// Events wanted, signals applied.
    Modify { idc: Box<str> },
}

/// What is kept of a gateway beside.
#[derive(Debug)]
struct Spoken {
    /// The version of the protocol that it speaks.
    version: u8,
    /// The request identifier of events that was used last.
    request: u32,
    /// Which controller of somebody else's serves it.
    served: Served,
}

/// The H.248 agent.
#[derive(Debug)]
pub(crate) struct Controller {
    /// Our message identifier: the domain's name.
    name: IdcBuf,
    commands: Commands<Purpose>,
    gateways: Gateways<Spoken>,
    /// Controllers of somebody else's.
    behind: Option<Behind<Text>>,
}

impl Controller {
    pub(crate) fn new(core: &mut Core) -> Self {
        let max = core.config.limits.commands;
        let commands = Commands::new(1..=u32::MAX - 1, REPEAT, max, &mut *core.random);
        let own = core.config.own.to_string();
        let name = Idc::new(&core.config.realm).or_else(|| Idc::new(&own)).map(IdcBuf::from);
        // An address is always an identity.
        let name = name.unwrap_or_else(|| Idc::new("mgc").map(IdcBuf::from).expect("an identity"));
        let there = !core.config.behind.controllers.is_empty();
        let behind = there.then(|| Behind::new(core, Text::new(core.config.own, &name)));
        Self { name, commands, gateways: Gateways::new(&mut *core.random), behind }
    }

    fn sender(&self, version: u8) -> Sender<'_> {
        Sender { idc: self.name.as_idc(), version }
    }

    /// Sends a command, and again until it is replied to; `false`: it does not fit, or too many are open.
    fn command(
        &mut self,
        ctx: &mut Ctx<'_>,
        to: Peer,
        version: u8,
        purpose: Purpose,
        write: impl FnOnce(&Sender<'_>, u32, &mut Writer<'_>) -> Result<(), Full>,
    ) -> bool {
        let id = self.commands.id();
        let bytes = ctx.write(|w| write(&self.sender(version), id, w));
        bytes.is_some_and(|bytes| self.commands.send(ctx, id, to, bytes, purpose))
    }

    fn on_reply(&mut self, ctx: &mut Ctx<'_>, from: Peer, msg: &Message<'_>, reply: &Transaction<'_>) {
        if reply.wants_ack()
            && let Some(bytes) = ctx.write(|w| message::write_ack(&self.sender(msg.version()), reply.id, w))
        {
            ctx.send(from, bytes);
        }
        if let Some(purpose) = self.commands.answered(ctx, reply.id, from) {
            self.on_outcome(ctx, purpose, Some(reply));
        }
    }

    /// What became of a command: its reply, or `None` when nobody replied in time.
    fn on_outcome(&mut self, ctx: &mut Ctx<'_>, purpose: Purpose, reply: Option<&Transaction<'_>>) {
        // The proxy says so of a gateway that has no session.
        let unavailable = |t: &Transaction<'_>| t.error().is_some_and(|e| e.code == 503);
        match (purpose, reply) {
            (Purpose::Step, _) => {}
            (Purpose::Audit { idc, lane, all }, Some(reply)) if !unavailable(reply) => {
                self.on_audited(ctx, (&idc, lane), all.then_some(reply));
            }
            (Purpose::Audit { idc, lane, .. }, _) => self.gateways.absent(ctx, &idc, lane),
            (Purpose::Modify { idc }, Some(reply)) if !unavailable(reply) => self.on_alive(ctx, &idc),
            // Gone with its gateway, which the next audit finds out.
            (Purpose::Modify { .. }, _) => {}
        }
    }
}

impl Agent for Controller {
    fn on_message(&mut self, ctx: &mut Ctx<'_>, from: Peer, bytes: &[u8]) {
        let read =
            Message::parse(bytes).and_then(|msg| portunus_h248::carriage::core::read(&msg).map(|step| (msg, step)));
        match read {
            // Whoever is behind us registers nobody.
            Ok((_, Some(_))) if matches!(from, Peer::Behind(..)) => ctx.core.counters.unreadable += 1,
            Ok((msg, None)) if matches!(from, Peer::Behind(..)) => self.pass_back(ctx, from, &msg),
            Ok((msg, Some(step))) => self.on_step(ctx, from, &msg, &step),
            Ok((msg, None)) if self.behind.is_some() => self.pass_behind(ctx, from, &msg),
            Ok((msg, None)) => {
                for t in msg.transactions() {
                    match t.kind {
                        Kind::Request => self.on_request(ctx, from, &msg, &t),
                        Kind::Reply => self.on_reply(ctx, from, &msg, &t),
                        Kind::Pending => self.commands.pending(ctx.now, t.id, from, LONG_MS),
                        // Replies are kept for their time in any case, and none of ours is cut into segments.
                        Kind::ResponseAck | Kind::Segment | Kind::Error => {}
                    }
                }
            }
            Err(fault) => {
                ctx.core.counters.unreadable += 1;
                let answer = ctx.write(|w| message::write_fault(&self.sender(2), bytes, &fault, w).map(|_| ()));
                if let Some(answer) = answer.filter(|answer| !answer.is_empty()) {
                    ctx.send(from, answer);
                }
            }
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
