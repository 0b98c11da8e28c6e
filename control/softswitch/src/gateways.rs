//! What a call agent, controller or gatekeeper keeps of a registered gateway or endpoint: its lane, its endpoints or
//! terminations, and when it is audited next.

use crate::keyed::Keyed;
use crate::peers::Peer;
use hashbrown::HashMap;
use portunus_keydist::Random;
use std::collections::BTreeSet;

/// Endpoints or terminations of a gateway that are asked one by one; of a larger one all are asked at once.
pub(crate) const ENDPOINTS_EACH: usize = 16;

/// When a gateway is audited after its key was sent: its session is active a round trip later.
pub(crate) const FIRST_AUDIT_MS: u64 = 300;
/// How long a session may stay unconfirmed (spec section 2), and a little.
pub(crate) const UNCONFIRMED_MS: u64 = 32_000;
/// When an audit is tried again while a session may not be active yet.
pub(crate) const AGAIN_MS: u64 = 1_000;

/// A registered gateway.
#[derive(Debug)]
pub(crate) struct Gateway<T> {
    /// What the protocol keeps beside.
    pub(crate) own: T,
    /// Where it is reached.
    pub(crate) lane: Peer,
    /// True once it spoke from inside its session.
    pub(crate) confirmed: bool,
    /// Until when silence means that its session is not active yet, monotonic milliseconds.
    pub(crate) until_ms: u64,
    /// Names of its endpoints or terminations, as the audit found them.
    pub(crate) endpoints: Vec<Box<[u8]>>,
    /// True while an audit is under way.
    pub(crate) audited: bool,
    /// True once one was: the first follows a registration whatever the gateway says meanwhile.
    pub(crate) known: bool,
    due_ms: u64,
}

/// All of them. As many as the location table admits, which forgets them with [`crate::agent::Agent::on_left`].
#[derive(Debug)]
pub(crate) struct Gateways<T> {
    by_idc: HashMap<Box<str>, Gateway<T>, Keyed>,
    due: BTreeSet<(u64, Box<str>)>,
}

impl<T> Gateways<T> {
    pub(crate) fn new(random: &mut dyn Random) -> Self {
        Self { by_idc: HashMap::with_hasher(Keyed::new(random)), due: BTreeSet::new() }
    }

    /// A gateway registered: audited first at the first time, and without harm silent until the second. Where it was
    /// reached before.
    pub(crate) fn insert(&mut self, idc: &str, lane: Peer, (due_ms, until_ms): (u64, u64), own: T) -> Option<Peer> {
        let former = self.remove(idc).map(|former| former.lane);
        let (endpoints, confirmed, audited, known) = (Vec::new(), false, false, false);
        let gateway = Gateway { own, lane, confirmed, until_ms, endpoints, audited, known, due_ms };
        self.by_idc.insert(idc.into(), gateway);
        self.due.insert((due_ms, idc.into()));
        former
    }

    pub(crate) fn get_mut(&mut self, idc: &str) -> Option<&mut Gateway<T>> {
        self.by_idc.get_mut(idc)
    }

    /// Forgets one.
    pub(crate) fn remove(&mut self, idc: &str) -> Option<Gateway<T>> {
        let gateway = self.by_idc.remove(idc)?;
        self.due.remove(&(gateway.due_ms, idc.into()));
        Some(gateway)
    }

    /// An audit begins; false: one is under way.
    pub(crate) fn begin_audit(&mut self, idc: &str) -> bool {
        let Some(gateway) = self.by_idc.get_mut(idc) else { return false };
        gateway.known = true;
        !core::mem::replace(&mut gateway.audited, true)
    }

    /// It was heard of: it is audited again at `due_ms`, but for the first time when that was planned.
    pub(crate) fn heard(&mut self, idc: &str, due_ms: u64) {
        let Some(gateway) = self.by_idc.get_mut(idc) else { return };
        gateway.confirmed = true;
        gateway.audited = false;
        if gateway.known {
            self.plan(idc, due_ms);
        }
    }

    /// When it is audited next.
    pub(crate) fn plan(&mut self, idc: &str, due_ms: u64) {
        let Some(gateway) = self.by_idc.get_mut(idc) else { return };
        let former = core::mem::replace(&mut gateway.due_ms, due_ms);
        self.due.remove(&(former, idc.into()));
        self.due.insert((due_ms, idc.into()));
    }

    /// One whose audit is due; it is planned anew when its audit has an outcome.
    pub(crate) fn take_due(&mut self, now_ms: u64) -> Option<Box<str>> {
        let due = self.due.first().is_some_and(|(due, _)| *due <= now_ms);
        if due { self.due.pop_first().map(|(_, idc)| idc) } else { None }
    }

    pub(crate) fn next_due(&self) -> Option<u64> {
        self.due.first().map(|(due, _)| *due)
    }
}
