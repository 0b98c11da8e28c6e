//! H.323 RAS: a gatekeeper as far as registration, admission and location. It challenges and registers endpoints, asks
//! each whether it is there, keeps their registrations while they renew them, and tells endpoints of each other's
//! addresses.
//!
//! ```text
//!   s9 sent ──► IRQ (silence: its session is not active yet, once more) ──► IRR: it is there
//!   RRQ, lightweight ──► RCF, its time begins anew │ RRJ fullRegistrationRequired │ RRJ discoveryRequired
//!   ARQ ──► ACF, the called endpoint's address │ ARJ      LRQ ──► LCF │ LRJ      DRQ ──► DCF
//!   silent for half its time ──► IRQ ──► any answer: it lives │ nothing: URQ, gone
//!   its time to live is over ──► URQ, gone      URQ ──► UCF, gone
//! ```
//!
//! Requests are answered as they come, but for those that wait for the AuC: they hear RIP when that takes long.
//!
//! An endpoint is registered under its IDc and under no other alias, for nothing else of it is authenticated: RCF says so.
//! Deliberately absent: calls, which are signalled directly; bandwidth; other gatekeepers.

mod serve;
mod steps;

use crate::agent::{Agent, Ctx};
use crate::commands::Commands;
use crate::gateways::Gateways;
use crate::keyed::Keyed;
use crate::peers::Peer;
use crate::registration::{Vector, Waiting};
use crate::state::Core;
use crate::transactions::TransactionId;
use core::net::SocketAddr;
use hashbrown::HashMap;
use portunus_codec::{Full, Writer};
use portunus_h323::carriage::core::{Ask, read};
use portunus_h323::carriage::write_fault;
use portunus_h323::view::{Kind, Message};
use portunus_h323::write;
use portunus_keydist::timing::Repeat;
use portunus_signalling::{Fault, Text};
use std::collections::VecDeque;

/// Requests of the gatekeeper's: H.225.0 gives 3 s and one retry; the first is lost easily, while a session becomes
/// active, and is repeated sooner here.
const REPEAT: Repeat = Repeat { gaps_ms: &[1_000, 2_000, 4_000], give_up_ms: 15_000 };
/// Requests open at most: half of what requestSeqNum can tell apart.
const OPEN_MAX: usize = 32_768;
/// A request that is not answered for so long hears that it is in progress.
const SLOW_MS: u64 = 1_000;

/// What a request of the gatekeeper's was for.
#[derive(Debug)]
enum Purpose {
    /// Are you there.
    Audit { idc: Box<str>, lane: Peer },
    /// You are no longer registered.
    Dismissal,
}

/// What is kept of an endpoint beside.
#[derive(Debug)]
struct Registered {
    /// What it is called since its registration: endpointIdentifier.
    id: Box<str>,
    /// Where it takes calls.
    signal: SocketAddr,
    /// Its time to live, seconds.
    ttl_s: u32,
}

/// The RAS agent.
#[derive(Debug)]
pub(crate) struct Gatekeeper {
    /// gatekeeperIdentifier: the domain's name.
    name: Box<str>,
    commands: Commands<Purpose>,
    endpoints: Gateways<Registered>,
    /// Requests that wait for the AuC: from where, and their number.
    waiting: HashMap<TransactionId, (Peer, u16), Keyed>,
    /// When each of them has waited long.
    slow: VecDeque<(u64, TransactionId)>,
}

impl Gatekeeper {
    pub(crate) fn new(core: &mut Core) -> Self {
        let max = core.config.limits.commands.min(OPEN_MAX);
        let commands = Commands::new(1..=65_535, REPEAT, max, &mut *core.random);
        // A BMPString of at most 128 units.
        let name = core.config.realm.chars().filter(|c| c.len_utf16() == 1).take(128).collect::<String>();
        Self {
            name: name.into(),
            commands,
            endpoints: Gateways::new(&mut *core.random),
            waiting: HashMap::with_hasher(Keyed::new(&mut *core.random)),
            slow: VecDeque::new(),
        }
    }

    /// Sends a request, and again until it is answered; `false`: it does not fit, or too many are open.
    fn command(
        &mut self,
        ctx: &mut Ctx<'_>,
        to: Peer,
        purpose: Purpose,
        write: impl FnOnce(u16, &mut Writer<'_>) -> Result<(), Full>,
    ) -> bool {
        let id = self.commands.id();
        let bytes = ctx.write(|w| write(id as u16, w));
        bytes.is_some_and(|bytes| self.commands.send(ctx, id, to, bytes, purpose))
    }

    /// An answer to something that was asked, or to nothing.
    fn on_answer(&mut self, ctx: &mut Ctx<'_>, from: Peer, msg: &Message<'_>) {
        let id = u32::from(msg.seq());
        match msg.kind() {
            Kind::RequestInProgress => self.commands.pending(ctx.now, id, from, msg.delay_ms().unwrap_or(1)),
            // Unsolicited: as a request, which it is where it wants to be acknowledged.
            Kind::InfoRequestResponse if !self.commands.awaits(id, from) => self.on_request(ctx, from, msg),
            _ => {
                if let Some(purpose) = self.commands.answered(ctx, id, from) {
                    self.on_outcome(ctx, purpose, true);
                }
            }
        }
    }

    /// What became of a request: `answered`, whatever was said, or not in time.
    fn on_outcome(&mut self, ctx: &mut Ctx<'_>, purpose: Purpose, answered: bool) {
        match (purpose, answered) {
            (Purpose::Audit { idc, lane }, true) if self.endpoints.confirm(ctx, &idc, lane) => self.on_alive(ctx, &idc),
            (Purpose::Audit { idc, lane }, false) => self.endpoints.absent(ctx, &idc, lane),
            (Purpose::Audit { .. }, true) => {}
            (Purpose::Dismissal, _) => {}
        }
    }

    fn on_fault(&mut self, ctx: &mut Ctx<'_>, from: Peer, bytes: &[u8], fault: &Fault) {
        ctx.core.counters.unreadable += 1;
        let answer = ctx.write(|w| write_fault(bytes, fault, w).map(|_| ()));
        if let Some(answer) = answer.filter(|answer| !answer.is_empty()) {
            ctx.send(from, answer);
        }
    }

    /// A request waits for the AuC.
    fn wait(&mut self, ctx: &Ctx<'_>, transaction: TransactionId, from: Peer, seq: u16) {
        if self.waiting.insert(transaction, (from, seq)).is_none() {
            self.slow.push_back((ctx.now.mono_ms + SLOW_MS, transaction));
        }
    }

    /// A request waits no longer. They are answered in order, more or less: what is over leaves from the front.
    fn waited(&mut self, transaction: TransactionId) {
        self.waiting.remove(&transaction);
        while self.slow.front().is_some_and(|(_, t)| !self.waiting.contains_key(t)) {
            self.slow.pop_front();
        }
    }

    /// Tells those that wait for long that they will hear more.
    fn say_slow(&mut self, ctx: &mut Ctx<'_>) {
        let delay_ms = ctx.core.config.ask_ms.min(65_535) as u16;
        while let Some((_, transaction)) = self.slow.front().copied().filter(|(due, _)| *due <= ctx.now.mono_ms) {
            self.slow.pop_front();
            let Some((to, seq)) = self.waiting.get(&transaction).copied() else { continue };
            if let Some(bytes) = ctx.write(|w| write::request_in_progress(seq, delay_ms, w)) {
                ctx.send(to, bytes);
            }
        }
    }
}

impl Agent for Gatekeeper {
    fn on_message(&mut self, ctx: &mut Ctx<'_>, from: Peer, bytes: &[u8]) {
        let msg = match Message::parse(bytes) {
            Ok(msg) => msg,
            Err(fault) => return self.on_fault(ctx, from, bytes, &fault),
        };
        match read(&msg, &mut Text::new()) {
            Ok(Ask::S2(s2)) => self.on_s2(ctx, from, &msg, &s2),
            Ok(Ask::S8(s8)) => self.on_s8(ctx, from, &msg, &s8),
            Ok(Ask::None) if msg.kind().is_request() => self.on_request(ctx, from, &msg),
            Ok(Ask::None) => self.on_answer(ctx, from, &msg),
            Err(fault) => self.on_fault(ctx, from, bytes, &fault),
        }
    }

    fn on_vector(&mut self, ctx: &mut Ctx<'_>, waiting: &Waiting, vector: &Vector) {
        self.waited(waiting.transaction);
        self.challenge(ctx, waiting, vector);
    }

    fn on_left(&mut self, ctx: &mut Ctx<'_>, idc: &str, lane: Peer) {
        let gone = self.endpoints.remove(idc, lane);
        if ctx.owner(lane).is_some() {
            return;
        }
        self.commands.cancel(lane);
        // Who is bound elsewhere is not told: its session here ended when the one there was confirmed.
        if let Some(gone) = gone.filter(|_| !ctx.is_bound(idc)) {
            let Registered { id, signal, .. } = gone.own;
            self.command(ctx, lane, Purpose::Dismissal, |seq, w| {
                write::unregistration_request(seq, signal, &[idc], Some(&id), w)
            });
        }
    }

    fn on_timer(&mut self, ctx: &mut Ctx<'_>) {
        for purpose in self.commands.on_timer(ctx) {
            self.on_outcome(ctx, purpose, false);
        }
        while let Some((idc, lane)) = self.endpoints.take_due(ctx.now.mono_ms) {
            self.audit(ctx, &idc, lane);
        }
        self.say_slow(ctx);
    }

    fn next_deadline(&self) -> Option<u64> {
        let slow = self.slow.front().map(|(due, _)| *due);
        [self.commands.next_deadline(), self.endpoints.next_due(), slow].into_iter().flatten().min()
    }
}
