//! What a call agent, controller or gatekeeper keeps of a registered gateway or endpoint: its lane, its endpoints or
//! terminations, and when it is audited next.
//!
//! One that registered on another lane than where it is (`location::candidates`) is kept there beside: it is audited by
//! both lanes, and where it answers, or speaks, is where it is.

use crate::agent::{Bound, Ctx};
use crate::keyed::Keyed;
use crate::location::UNCONFIRMED_MS;
use crate::peers::Peer;
use hashbrown::HashMap;
use portunus_keydist::Random;
use std::collections::BTreeSet;

/// Endpoints or terminations of a gateway that are asked one by one; of a larger one all are asked at once.
pub(crate) const ENDPOINTS_EACH: usize = 16;

/// When a gateway is audited after its key was sent: its session is active a round trip later.
const FIRST_AUDIT_MS: u64 = 300;
/// When an audit is tried again while a session may not be active yet.
pub(crate) const AGAIN_MS: u64 = 1_000;

/// A registered gateway, by one lane.
#[derive(Debug)]
pub(crate) struct Gateway<T> {
    /// What the protocol keeps beside.
    pub(crate) own: T,
    /// Where it is reached.
    pub(crate) lane: Peer,
    /// Names of its endpoints or terminations, as the audit found them.
    pub(crate) endpoints: Vec<Box<[u8]>>,
    /// False while it waits here for a sign of life, and once it is elsewhere.
    here: bool,
    /// True once it spoke from inside its session.
    confirmed: bool,
    /// Until when silence means that its session is not active yet, monotonic milliseconds.
    until_ms: u64,
    /// True while an audit is under way.
    audited: bool,
    /// True once one was: the first follows a registration whatever the gateway says meanwhile.
    known: bool,
    due_ms: u64,
}

/// All of them. As many as the location table admits, which forgets them with [`crate::agent::Agent::on_left`].
#[derive(Debug)]
pub(crate) struct Gateways<T> {
    /// Mostly one lane each.
    by_idc: HashMap<Box<str>, Vec<Gateway<T>>, Keyed>,
    due: BTreeSet<(u64, Box<str>, Peer)>,
}

impl<T> Gateways<T> {
    pub(crate) fn new(random: &mut dyn Random) -> Self {
        Self { by_idc: HashMap::with_hasher(Keyed::new(random)), due: BTreeSet::new() }
    }

    /// A gateway registered: it is bound, and audited soon.
    ///
    /// # Errors
    /// As [`Ctx::bind`].
    pub(crate) fn register(&mut self, ctx: &mut Ctx<'_>, bound: &Bound<'_>, own: T) -> Result<(), u32> {
        let here = ctx.bind(bound)?;
        let (idc, lane, now_ms) = (bound.idc.as_str(), bound.lane, ctx.now.mono_ms);
        self.remove(idc, lane);
        let (due_ms, until_ms) = (now_ms + FIRST_AUDIT_MS, now_ms + UNCONFIRMED_MS);
        let (endpoints, confirmed, audited, known) = (Vec::new(), false, false, false);
        let lanes = self.by_idc.entry(idc.into()).or_default();
        lanes.push(Gateway { own, lane, endpoints, here, confirmed, until_ms, audited, known, due_ms });
        if here {
            be_at(lanes, lane);
        }
        self.due.insert((due_ms, idc.into(), lane));
        Ok(())
    }

    /// Who sent a message that is no step, and no answer: whoever registered on the lane that it came from, which is
    /// where it is from now on, when what it says of itself is right. `None`: nobody, or in another name.
    pub(crate) fn sender(
        &mut self,
        ctx: &mut Ctx<'_>,
        lane: Peer,
        named: impl FnOnce(&str) -> bool,
    ) -> Option<Box<str>> {
        let idc = ctx.owner(lane).filter(|idc| named(idc))?;
        self.confirm(ctx, &idc, lane).then_some(idc)
    }

    /// It showed life on a lane ([`Ctx::confirm`]). True when it is there.
    pub(crate) fn confirm(&mut self, ctx: &mut Ctx<'_>, idc: &str, lane: Peer) -> bool {
        let there = ctx.confirm(idc, lane);
        if there && let Some(lanes) = self.by_idc.get_mut(idc) {
            be_at(lanes, lane);
        }
        there
    }

    /// One, where it is.
    pub(crate) fn get_mut(&mut self, idc: &str) -> Option<&mut Gateway<T>> {
        self.by_idc.get_mut(idc)?.iter_mut().find(|g| g.here)
    }

    /// Every one, where it is.
    pub(crate) fn here(&self) -> impl Iterator<Item = (&str, &Gateway<T>)> {
        self.by_idc.iter().flat_map(|(idc, lanes)| lanes.iter().filter(|g| g.here).map(|g| (&**idc, g)))
    }

    /// One on a lane, whether it is there or waits.
    pub(crate) fn on(&mut self, idc: &str, lane: Peer) -> Option<&mut Gateway<T>> {
        self.by_idc.get_mut(idc)?.iter_mut().find(|g| g.lane == lane)
    }

    /// Forgets one on a lane.
    pub(crate) fn remove(&mut self, idc: &str, lane: Peer) -> Option<Gateway<T>> {
        let lanes = self.by_idc.get_mut(idc)?;
        let gateway = lanes.swap_remove(lanes.iter().position(|g| g.lane == lane)?);
        if lanes.is_empty() {
            self.by_idc.remove(idc);
        }
        self.due.remove(&(gateway.due_ms, idc.into(), lane));
        Some(gateway)
    }

    /// An audit begins; `None`: one is under way.
    pub(crate) fn begin_audit(&mut self, idc: &str, lane: Peer) -> Option<&mut Gateway<T>> {
        let gateway = self.on(idc, lane)?;
        gateway.known = true;
        (!core::mem::replace(&mut gateway.audited, true)).then_some(gateway)
    }

    /// An audit did not begin after all: too many commands are open. Later.
    pub(crate) fn put_off(&mut self, ctx: &Ctx<'_>, idc: &str, lane: Peer) {
        if let Some(gateway) = self.on(idc, lane) {
            gateway.audited = false;
        }
        self.plan_on(idc, lane, ctx.now.mono_ms + AGAIN_MS);
    }

    /// An audit found nobody: the session is not active yet, or it is over.
    pub(crate) fn absent(&mut self, ctx: &mut Ctx<'_>, idc: &str, lane: Peer) {
        let now_ms = ctx.now.mono_ms;
        let Some(gateway) = self.on(idc, lane) else { return };
        if !core::mem::replace(&mut gateway.audited, false) {
            // It was heard of since it was asked.
            return;
        }
        if gateway.confirmed || now_ms >= gateway.until_ms {
            return ctx.leave(idc, lane);
        }
        self.plan_on(idc, lane, now_ms + AGAIN_MS);
    }

    /// It was heard of: it is audited again at `due_ms`, but for the first time when that was planned.
    pub(crate) fn heard(&mut self, idc: &str, due_ms: u64) {
        let Some(gateway) = self.get_mut(idc) else { return };
        gateway.confirmed = true;
        gateway.audited = false;
        if gateway.known {
            self.plan(idc, due_ms);
        }
    }

    /// When it is audited next, where it is.
    pub(crate) fn plan(&mut self, idc: &str, due_ms: u64) {
        if let Some(lane) = self.get_mut(idc).map(|g| g.lane) {
            self.plan_on(idc, lane, due_ms);
        }
    }

    fn plan_on(&mut self, idc: &str, lane: Peer, due_ms: u64) {
        let Some(gateway) = self.on(idc, lane) else { return };
        let former = core::mem::replace(&mut gateway.due_ms, due_ms);
        self.due.remove(&(former, idc.into(), lane));
        self.due.insert((due_ms, idc.into(), lane));
    }

    /// One whose audit is due on a lane; it is planned anew when its audit has an outcome.
    pub(crate) fn take_due(&mut self, now_ms: u64) -> Option<(Box<str>, Peer)> {
        let due = self.due.first().is_some_and(|(due, ..)| *due <= now_ms);
        if due { self.due.pop_first().map(|(_, idc, lane)| (idc, lane)) } else { None }
    }

    pub(crate) fn next_due(&self) -> Option<u64> {
        self.due.first().map(|(due, ..)| *due)
    }
}

/// It is at this lane of its lanes; what is kept of it elsewhere is forgotten when the location table says so.
fn be_at<T>(lanes: &mut [Gateway<T>], lane: Peer) {
    for gateway in lanes {
        gateway.here = gateway.lane == lane;
    }
}
