//! What the call agent keeps of a registered gateway: its lane, its endpoints, and when it is audited next.

use crate::keyed::Keyed;
use crate::peers::Peer;
use hashbrown::HashMap;
use portunus_keydist::Random;
use std::collections::BTreeSet;

/// Endpoints of a gateway that are asked one by one; of a larger one all are asked at once.
pub(super) const ENDPOINTS_EACH: usize = 16;

/// A registered gateway.
#[derive(Debug)]
pub(super) struct Gateway {
    /// Where it is reached.
    pub(super) lane: Peer,
    /// True once it spoke from inside its session.
    pub(super) confirmed: bool,
    /// Until when silence means that its session is not active yet, monotonic milliseconds.
    pub(super) until_ms: u64,
    /// Local names of its endpoints, as the audit found them.
    pub(super) endpoints: Vec<Box<[u8]>>,
    /// True while an audit is under way.
    pub(super) audited: bool,
    due_ms: u64,
}

/// All of them. As many as the location table admits, which forgets them with [`crate::agent::Agent::on_left`].
#[derive(Debug)]
pub(super) struct Gateways {
    by_idc: HashMap<Box<str>, Gateway, Keyed>,
    due: BTreeSet<(u64, Box<str>)>,
}

impl Gateways {
    pub(super) fn new(random: &mut dyn Random) -> Self {
        Self { by_idc: HashMap::with_hasher(Keyed::new(random)), due: BTreeSet::new() }
    }

    /// A gateway registered: audited first at `due_ms`. Where it was reached before.
    pub(super) fn insert(&mut self, idc: &str, lane: Peer, due_ms: u64, until_ms: u64) -> Option<Peer> {
        let former = self.remove(idc);
        let gateway = Gateway { lane, confirmed: false, until_ms, endpoints: Vec::new(), audited: false, due_ms };
        self.by_idc.insert(idc.into(), gateway);
        self.due.insert((due_ms, idc.into()));
        former
    }

    pub(super) fn get_mut(&mut self, idc: &str) -> Option<&mut Gateway> {
        self.by_idc.get_mut(idc)
    }

    /// Forgets one; where it was reached.
    pub(super) fn remove(&mut self, idc: &str) -> Option<Peer> {
        let gateway = self.by_idc.remove(idc)?;
        self.due.remove(&(gateway.due_ms, idc.into()));
        Some(gateway.lane)
    }

    /// When it is audited next.
    pub(super) fn plan(&mut self, idc: &str, due_ms: u64) {
        let Some(gateway) = self.by_idc.get_mut(idc) else { return };
        let former = core::mem::replace(&mut gateway.due_ms, due_ms);
        self.due.remove(&(former, idc.into()));
        self.due.insert((due_ms, idc.into()));
    }

    /// One whose audit is due; it is planned anew when its audit has an outcome.
    pub(super) fn take_due(&mut self, now_ms: u64) -> Option<Box<str>> {
        let due = self.due.first().is_some_and(|(due, _)| *due <= now_ms);
        if due { self.due.pop_first().map(|(_, idc)| idc) } else { None }
    }

    pub(super) fn next_due(&self) -> Option<u64> {
        self.due.first().map(|(due, _)| *due)
    }
}
