//! Call agents and controllers of somebody else's, which know nothing of any of this: they are told of gateways in the
//! gateways' names, and each gateway keeps to one of them while it is up. What is the same in both protocols is here; what
//! is said, and what passes, is `mgcp::behind`'s and `h248::behind`'s.
//!
//! ```text
//!   session active ──► announced to the one that its identity prefers ──► taken: the two talk
//!                        │ refused: again in 5 s        │ silent, or it sends elsewhere: the next one
//!   theirs is down ──► announced to the next as a fail-over; nobody is up: as soon as one is
//!   theirs is up again ──► nothing: who lives stays where it is until it registers anew
//!   gone ──► dismissed, and its port closed
//!
//!   time ──► a question for a sign of life ──► any answer, also an error: it is up │ silence: it is down, after some
//! ```
//!
//! A call agent counts its transactions for itself, and a gateway that does not notice the change remembers what it
//! answered its former one under the same numbers: after a change the numbers of the new one are moved by a number drawn
//! for it (`shift`). Before any they pass as they are.

mod served;

pub(crate) use served::{Say, Served, moved};

use crate::agent::Ctx;
use crate::commands::Commands;
use crate::gateways::{Gateway, Gateways};
use crate::peers::Peer;
use crate::state::{Core, Effect};
use core::net::{Ipv4Addr, SocketAddr};
use core::ops::RangeInclusive;
use portunus_codec::{Full, Writer};
use portunus_keydist::timing::Repeat;
use served::Standing;

/// When a gateway that nobody took is announced again.
const AGAIN_MS: u64 = 5_000;
/// When a command to one of them is repeated.
const GAPS_MS: &[u32] = &[500, 1_000, 2_000, 4_000];
/// How many times as long as a question for a sign of life an announcement waits: it may be one of thousands.
const PATIENCE: u32 = 4;
/// How many gateways are announced in a millisecond when one that is down leaves thousands.
const PACE: u64 = 1;
/// How often a gateway is sent on from one to the next before nobody believes it any more.
const HOPS: u8 = 3;
/// The lane that signs of life are asked for by: no gateway's has it.
const OWN: SocketAddr = SocketAddr::new(core::net::IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

/// What a protocol says.
pub(crate) trait Dialect: Send {
    /// What it keeps of a gateway.
    type Own;
    /// The numbers of transactions.
    const NUMBERS: RangeInclusive<u32>;

    /// What is kept for this.
    fn served(own: &mut Self::Own) -> &mut Served;

    /// Writes a command in a gateway's name.
    fn write(&self, own: &Self::Own, idc: &str, say: Say, id: u32, w: &mut Writer<'_>) -> Result<(), Full>;

    /// Writes a question for a sign of life: one that changes nothing, whatever is made of it.
    fn write_question(&self, id: u32, w: &mut Writer<'_>) -> Result<(), Full>;
}

/// What one of them answers to an announcement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// It serves the gateway.
    Taken,
    /// It serves the gateway at this place, which may be nobody's.
    TakenAt(Option<usize>),
    /// It does not, now.
    Refused,
    /// This one does, which may be nobody.
    Elsewhere(Option<usize>),
}

#[derive(Debug)]
enum Purpose {
    Announce { idc: Box<str>, lane: Peer, nth: u16 },
    Dismiss { lane: Peer },
}

/// What is said to them.
#[derive(Debug)]
pub(crate) struct Behind<D> {
    dialect: D,
    questions: Commands<u16>,
    commands: Commands<Purpose>,
}

/// One of them, by the port of a lane.
pub(crate) fn port(lane: Peer, nth: u16) -> Option<Peer> {
    match lane {
        Peer::Udp(addr) | Peer::LocalLane(addr) => Some(Peer::Behind(addr, nth)),
        Peer::LocalProxy | Peer::Behind(..) => None,
    }
}

/// True for what comes by the lane that signs of life are asked for by: it is us who are meant.
pub(crate) fn is_own(from: Peer) -> bool {
    matches!(from, Peer::Behind(OWN, _))
}

impl<D: Dialect> Behind<D> {
    /// Nothing is said yet.
    pub(crate) fn new(core: &mut Core, dialect: D) -> Self {
        let (within, max) = (core.config.behind.health.answer_within_ms, core.config.limits.commands);
        let schedule = |give_up_ms| Repeat { gaps_ms: GAPS_MS, give_up_ms };
        let questions = Commands::new(D::NUMBERS, schedule(within), max, &mut *core.random);
        let patience = schedule(within.saturating_mul(PATIENCE));
        let commands = Commands::new(D::NUMBERS, patience, max, &mut *core.random);
        Self { dialect, questions, commands }
    }

    /// Who has this lane, where a message came for it by its port.
    pub(crate) fn whose(ctx: &Ctx<'_>, from: Peer) -> Option<(Peer, Box<str>)> {
        let Peer::Behind(addr, _) = from else { return None };
        let lanes = [Peer::LocalLane(addr), Peer::Udp(addr)];
        lanes.into_iter().find_map(|lane| Some((lane, ctx.whose(lane)?)))
    }

    /// True where a message is from the one that serves this gateway. Else it is counted.
    pub(crate) fn serves(ctx: &mut Ctx<'_>, gateways: &mut Gateways<D::Own>, idc: &str, from: Peer) -> bool {
        let Peer::Behind(_, nth) = from else { return false };
        let own = gateways.get_mut(idc).is_some_and(|g| D::served(&mut g.own).nth == Some(nth));
        ctx.core.counters.upstream_other += u64::from(!own);
        own
    }

    /// Where what a gateway asks for goes. `None`, and counted: nobody serves it now. `announces`: it announces itself.
    pub(crate) fn way(
        &mut self,
        ctx: &mut Ctx<'_>,
        gateways: &mut Gateways<D::Own>,
        idc: &str,
        announces: bool,
    ) -> Option<Peer> {
        let gateway = gateways.get_mut(idc)?;
        let lane = gateway.lane;
        if announces && D::served(&mut gateway.own).standing != Standing::Taken && self.choose(ctx, gateway, idc) {
            let served = D::served(&mut gateway.own);
            (served.standing, served.by) = (Standing::Taken, served.nth);
        }
        let served = D::served(&mut gateway.own);
        let to = served.nth.filter(|_| served.standing == Standing::Taken).and_then(|nth| port(lane, nth));
        ctx.core.counters.gateway_waits += u64::from(to.is_none());
        to
    }

    /// Where a gateway's answers go.
    pub(crate) fn back(gateways: &mut Gateways<D::Own>, idc: &str) -> Option<(Peer, u32)> {
        let gateway = gateways.get_mut(idc)?;
        let lane = gateway.lane;
        let served = D::served(&mut gateway.own);
        Some((port(lane, served.nth?)?, served.shift))
    }

    /// The one that is to serve a gateway: its present one while that is up; false where nobody is.
    fn choose(&mut self, ctx: &mut Ctx<'_>, gateway: &mut Gateway<D::Own>, idc: &str) -> bool {
        let (lane, served) = (gateway.lane, D::served(&mut gateway.own));
        let all = &ctx.core.upstreams[ctx.protocol];
        let stays = served.nth.map(usize::from).filter(|nth| all.is_up(*nth) && !served.tried.contains(nth));
        let next = stays.or_else(|| all.choose(idc.as_bytes(), &served.tried));
        let Some(nth) = next.or_else(|| all.choose(idc.as_bytes(), &[])) else { return false };
        served.move_to(ctx, nth, *D::NUMBERS.end());
        // Where it was before it registered anew it is no longer.
        if let Some(former) = served.former.take().filter(|former| usize::from(*former) != nth) {
            self.dismiss_from(ctx, idc, gateway, (lane, former));
        }
        true
    }

    /// Announces a gateway whose session is active, where nobody knows it.
    pub(crate) fn introduce(&mut self, ctx: &mut Ctx<'_>, gateways: &mut Gateways<D::Own>, idc: &str) {
        self.introduce_in(ctx, gateways, idc, 0);
    }

    fn introduce_in(&mut self, ctx: &mut Ctx<'_>, gateways: &mut Gateways<D::Own>, idc: &str, ms: u64) {
        let Some(gateway) = gateways.get_mut(idc) else { return };
        let served = D::served(&mut gateway.own);
        if served.is_known() {
            return;
        }
        served.standing = Standing::Lost;
        if self.choose(ctx, gateway, idc) {
            return self.announce(ctx, gateways, idc, ms);
        }
        ctx.core.counters.gateway_unserved += 1;
    }

    /// Tells the one that it was moved to.
    fn announce(&mut self, ctx: &mut Ctx<'_>, gateways: &mut Gateways<D::Own>, idc: &str, ms: u64) {
        let Some(gateway) = gateways.get_mut(idc) else { return };
        let lane = gateway.lane;
        let served = D::served(&mut gateway.own);
        let (say, nth) = (served.say(), served.nth);
        let Some((nth, to)) = nth.and_then(|nth| Some((nth, port(lane, nth)?))) else { return };
        let id = self.commands.id();
        let written = ctx.write(|w| self.dialect.write(&gateway.own, idc, say, id, w));
        let purpose = Purpose::Announce { idc: idc.into(), lane, nth };
        let sent = written.is_some_and(|bytes| self.commands.send_in(ctx, ms, (id, to), bytes, purpose));
        D::served(&mut gateway.own).standing = if sent { Standing::Told } else { Standing::Lost };
        match sent {
            true => ctx.core.counters.gateway_announced += 1,
            false => gateways.plan(idc, ctx.now.mono_ms + AGAIN_MS),
        }
    }

    /// Another one is to serve a gateway, since its own is silent.
    fn fail_over(&mut self, ctx: &mut Ctx<'_>, gateways: &mut Gateways<D::Own>, idc: &str, ms: u64) {
        let Some(gateway) = gateways.get_mut(idc) else { return };
        let served = D::served(&mut gateway.own);
        (served.standing, served.sent_on) = (Standing::Lost, false);
        served.tried.extend(served.nth.map(usize::from));
        let all = &ctx.core.upstreams[ctx.protocol];
        let (next, some_up) = (all.choose(idc.as_bytes(), &served.tried), all.up() > 0);
        if let Some(next) = next {
            ctx.core.counters.gateway_failover += 1;
            served.move_to(ctx, next, *D::NUMBERS.end());
            return self.announce(ctx, gateways, idc, ms);
        }
        served.tried.clear();
        ctx.core.counters.gateway_unserved += 1;
        // Whoever is up did not answer: again. Where nobody is, whoever comes first is told.
        if some_up {
            gateways.plan(idc, ctx.now.mono_ms + AGAIN_MS);
        }
    }

    /// The one that serves a gateway sends it to another; false, and counted: to nobody that we know, or who is up.
    pub(crate) fn send_on(
        &mut self,
        ctx: &mut Ctx<'_>,
        gateways: &mut Gateways<D::Own>,
        idc: &str,
        target: Option<usize>,
    ) -> bool {
        let all = &ctx.core.upstreams[ctx.protocol];
        let target = target.filter(|nth| all.is_up(*nth));
        let Some(gateway) = gateways.get_mut(idc) else { return false };
        let served = D::served(&mut gateway.own);
        let target = target.filter(|nth| served.hops < HOPS && served.nth.map(usize::from) != Some(*nth));
        let Some(nth) = target else {
            ctx.core.counters.redirect_refused += 1;
            return false;
        };
        ctx.core.counters.redirect_followed += 1;
        served.hops += 1;
        served.sent_on = true;
        served.move_to(ctx, nth, *D::NUMBERS.end());
        self.announce(ctx, gateways, idc, 0);
        true
    }

    /// True for an answer to a question or command of ours here, whatever it says of that.
    pub(crate) fn awaits(&self, id: u32, from: Peer) -> bool {
        self.questions.awaits(id, from) || self.commands.awaits(id, from)
    }

    /// A provisional answer to a command of ours: a sign of life, and no more.
    pub(crate) fn pending(
        &mut self,
        ctx: &mut Ctx<'_>,
        gateways: &mut Gateways<D::Own>,
        (id, from): (u32, Peer),
        ms: u32,
    ) {
        self.commands.pending(ctx.now, id, from, ms);
        if self.questions.awaits(id, from) {
            self.answered(ctx, gateways, (id, from), Answer::Refused);
        }
    }

    /// The final one.
    pub(crate) fn answered(
        &mut self,
        ctx: &mut Ctx<'_>,
        gateways: &mut Gateways<D::Own>,
        (id, from): (u32, Peer),
        answer: Answer,
    ) {
        if self.questions.awaits(id, from) {
            if let Some(nth) = self.questions.answered(ctx, id, from) {
                self.sign(ctx, gateways, nth, true);
            }
        } else if let Some(purpose) = self.commands.answered(ctx, id, from) {
            self.on_outcome(ctx, gateways, purpose, Some(answer));
        }
    }

    fn on_outcome(
        &mut self,
        ctx: &mut Ctx<'_>,
        gateways: &mut Gateways<D::Own>,
        purpose: Purpose,
        answer: Option<Answer>,
    ) {
        let (idc, lane, nth) = match purpose {
            Purpose::Dismiss { lane } => return self.leave(ctx, lane),
            Purpose::Announce { idc, lane, nth } => (idc, lane, nth),
        };
        let Some(gateway) = gateways.get_mut(&idc).filter(|g| g.lane == lane) else { return };
        let served = D::served(&mut gateway.own);
        if served.nth != Some(nth) || served.standing != Standing::Told {
            // It is elsewhere by now.
            return;
        }
        match answer {
            Some(Answer::Taken) => served.take(nth),
            Some(Answer::TakenAt(at)) => {
                served.take(nth);
                match at.and_then(|at| u16::try_from(at).ok()) {
                    // Where it said itself that it goes on: there is nobody else to tell.
                    Some(at) => (served.nth, served.by) = (Some(at), Some(at)),
                    None => ctx.core.counters.redirect_refused += 1,
                }
            }
            Some(Answer::Elsewhere(target)) if self.send_on(ctx, gateways, &idc, target) => {}
            Some(Answer::Elsewhere(_) | Answer::Refused) => {
                served_of::<D>(gateways, &idc, |s| s.standing = Standing::Lost);
                ctx.core.counters.gateway_refused += 1;
                gateways.plan(&idc, ctx.now.mono_ms + AGAIN_MS);
            }
            None => self.fail_over(ctx, gateways, &idc, 0),
        }
    }

    /// A sign of life, or of none.
    fn sign(&mut self, ctx: &mut Ctx<'_>, gateways: &mut Gateways<D::Own>, nth: u16, alive: bool) {
        let (which, now_ms) = (usize::from(nth), ctx.now.mono_ms);
        let all = &mut ctx.core.upstreams[ctx.protocol];
        let turned = if alive { all.heard(which) } else { all.silent(which) };
        all.probed(now_ms, which);
        if !turned {
            return;
        }
        let counters = &mut ctx.core.counters;
        *(if alive { &mut counters.upstream_up } else { &mut counters.upstream_down }) += 1;
        let mut whose = Vec::new();
        for idc in gateways.here().map(|(idc, _)| Box::<str>::from(idc)).collect::<Vec<_>>() {
            served_of::<D>(gateways, &idc, |s| match alive {
                true if s.standing == Standing::Lost => whose.push(idc.clone()),
                false if s.nth == Some(nth) && s.standing != Standing::New => whose.push(idc.clone()),
                _ => {}
            });
        }
        for (n, idc) in whose.iter().enumerate() {
            let ms = n as u64 / PACE;
            match alive {
                true => self.introduce_in(ctx, gateways, idc, ms),
                false => self.fail_over(ctx, gateways, idc, ms),
            }
        }
    }

    /// A gateway is gone; whoever served it is told, where it does not know that from the gateway.
    pub(crate) fn dismiss(&mut self, ctx: &mut Ctx<'_>, idc: &str, gateway: &mut Gateway<D::Own>) {
        let lane = gateway.lane;
        let served = D::served(&mut gateway.own);
        let known = served.nth.filter(|_| served.is_known());
        self.cancel(lane);
        match known {
            Some(nth) => self.dismiss_from(ctx, idc, gateway, (lane, nth)),
            None => self.leave(ctx, lane),
        }
    }

    fn dismiss_from(&mut self, ctx: &mut Ctx<'_>, idc: &str, gateway: &Gateway<D::Own>, (lane, nth): (Peer, u16)) {
        let id = self.commands.id();
        let written = ctx.write(|w| self.dialect.write(&gateway.own, idc, Say::Forced, id, w));
        let sent = written
            .zip(port(lane, nth))
            .is_some_and(|(bytes, to)| self.commands.send(ctx, id, to, bytes, Purpose::Dismiss { lane }));
        if !sent {
            self.leave(ctx, lane);
        }
    }

    /// A gateway left a lane. Where it is at another one, whoever serves it hears of it from there, unless that is another.
    pub(crate) fn on_left(
        &mut self,
        ctx: &mut Ctx<'_>,
        gateways: &mut Gateways<D::Own>,
        idc: &str,
        former: &mut Gateway<D::Own>,
    ) {
        let elsewhere = ctx.lane_of(idc).is_some();
        let present = gateways.get_mut(idc).and_then(|g| D::served(&mut g.own).nth);
        match elsewhere && (present.is_none() || present == D::served(&mut former.own).nth) {
            true => self.leave(ctx, former.lane),
            false => self.dismiss(ctx, idc, former),
        }
    }

    /// Nothing more is said by the port of this lane, unless a gateway has come to it since.
    fn leave(&mut self, ctx: &mut Ctx<'_>, lane: Peer) {
        let Some(Peer::Behind(addr, _)) = port(lane, 0).filter(|_| ctx.whose(lane).is_none()) else { return };
        self.cancel(lane);
        ctx.out.push(Effect::Leave(ctx.protocol, addr));
    }

    fn cancel(&mut self, lane: Peer) {
        let Some(Peer::Behind(addr, _)) = port(lane, 0) else { return };
        self.commands.cancel_if(|to| matches!(to, Peer::Behind(at, _) if at == addr));
    }

    /// The gateway asked to be out of service and was let go: nobody knows it any more.
    pub(crate) fn let_go(gateways: &mut Gateways<D::Own>, idc: &str) {
        served_of::<D>(gateways, idc, |s| s.standing = Standing::New);
    }

    /// Repeats what is due, gives up who is silent, and asks for signs of life.
    pub(crate) fn on_timer(&mut self, ctx: &mut Ctx<'_>, gateways: &mut Gateways<D::Own>) {
        for nth in self.questions.on_timer(ctx) {
            self.sign(ctx, gateways, nth, false);
        }
        for purpose in self.commands.on_timer(ctx) {
            self.on_outcome(ctx, gateways, purpose, None);
        }
        let protocol = ctx.protocol;
        while let Some(which) = ctx.core.upstreams[protocol].take_due(ctx.now.mono_ms) {
            let nth = u16::try_from(which).unwrap_or(u16::MAX);
            let id = self.questions.id();
            let written = ctx.write(|w| self.dialect.write_question(id, w));
            let to = Peer::Behind(OWN, nth);
            if !written.is_some_and(|bytes| self.questions.send(ctx, id, to, bytes, nth)) {
                ctx.core.upstreams[protocol].probed(ctx.now.mono_ms, which);
            }
        }
    }

    pub(crate) fn next_deadline(&self) -> Option<u64> {
        [self.questions.next_deadline(), self.commands.next_deadline()].into_iter().flatten().min()
    }
}

fn served_of<D: Dialect>(gateways: &mut Gateways<D::Own>, idc: &str, f: impl FnOnce(&mut Served)) {
    if let Some(gateway) = gateways.get_mut(idc) {
        f(D::served(&mut gateway.own));
    }
}
