//! The links to the core that the only worker of a node drives itself: nothing is to be distributed then, and no ring
//! and no other thread stand between it and the core.

use std::io;

use mio::Registry;
use portunus_engine::{Event, Lane, Reading};
use portunus_io::{Batch, Pushed};
use portunus_keydist::Now;
use portunus_keydist::proxy::HashKey;
use portunus_signalling::Protocol;

use crate::lanes::{LanesLink, LanesRx, TOKENS};
use crate::udp::UdpLink;

/// Tokens of the link over UDP; at most 257 of them.
pub(crate) const LINK: usize = 512;
/// Tokens of the links by lanes begin here, behind those of all connections.
const LANES: usize = 1 << 24;

/// See the module.
#[derive(Debug)]
pub struct OwnLinks {
    pub(crate) udp: Option<UdpLink>,
    pub(crate) lanes: Vec<LanesLink>,
    /// What names terminals.
    hash: HashKey,
}

impl OwnLinks {
    /// None yet.
    pub(crate) const fn new(hash: HashKey) -> Self {
        Self { udp: None, lanes: Vec::new(), hash }
    }

    /// Takes sockets over; there is one link of this kind.
    pub(crate) fn take_udp(&mut self, registry: &Registry, mut link: UdpLink) -> io::Result<()> {
        link.register(registry, LINK)?;
        self.udp = Some(link);
        Ok(())
    }

    /// Takes the lanes of a protocol over.
    pub(crate) fn take_lanes(&mut self, registry: &Registry, mut link: LanesLink) -> io::Result<()> {
        link.register(registry, LANES + self.lanes.len() * TOKENS)?;
        self.lanes.push(link);
        Ok(())
    }

    /// What is received into.
    pub(crate) fn rooms(&self) -> Rooms {
        let udp = self.udp.as_ref().map_or_else(|| Batch::new(1, 1), UdpLink::room);
        Rooms { udp, lanes: self.lanes.iter().map(LanesLink::room).collect() }
    }

    /// Takes what `write` writes for the core; `None` where the protocol's link is not the worker's own.
    pub(crate) fn push_with(
        &mut self,
        now: Now,
        (protocol, affinity, lane): (Protocol, u32, Lane),
        write: &mut dyn FnMut(&mut [u8]) -> Option<usize>,
    ) -> Option<Pushed> {
        if let Some(link) = self.udp.as_mut().filter(|link| link.protocol() == protocol) {
            return Some(link.push_with(now, affinity, write));
        }
        let link = self.lanes.iter_mut().find(|link| link.protocol() == protocol)?;
        Some(link.push_with(now, affinity, (lane, 0), write))
    }

    /// What waits leaves now; true when the system takes no more of it.
    pub(crate) fn flush(&mut self) -> bool {
        self.udp.iter_mut().for_each(UdpLink::flush);
        self.lanes.iter_mut().for_each(LanesLink::flush);
        self.udp.as_ref().is_some_and(UdpLink::is_blocked) || self.lanes.iter().any(LanesLink::is_blocked)
    }

    /// An event for one of the tokens.
    pub(crate) fn on_event(&mut self, token: usize) {
        let Some(at) = token.checked_sub(LANES) else {
            return self.udp.iter_mut().for_each(|link| link.set_ready(token - LINK));
        };
        if let Some(link) = self.lanes.get_mut(at / TOKENS) {
            link.set_ready(at % TOKENS);
        }
    }

    /// True for the tokens of links by lanes.
    pub(crate) const fn is_lane(token: usize) -> bool {
        token >= LANES
    }

    /// True while some socket may have something.
    pub(crate) fn hungry(&self) -> bool {
        self.udp.as_ref().is_some_and(UdpLink::hungry) || self.lanes.iter().any(|link| link.waiting() > 0)
    }

    /// Every socket but the lanes may have something.
    pub(crate) fn set_all_ready(&mut self) {
        self.udp.iter_mut().for_each(UdpLink::set_all_ready);
        self.lanes.iter_mut().for_each(|link| link.set_ready(0));
    }

    /// Does what is due.
    pub(crate) fn look(&mut self, now: Now) {
        self.udp.iter_mut().for_each(|link| link.look(now));
        self.lanes.iter_mut().for_each(|link| link.look(now));
    }

    /// When [`OwnLinks::look`] is wanted next, on the monotonic clock in milliseconds.
    pub(crate) fn next_look(&self) -> Option<u64> {
        let udp = self.udp.as_ref().and_then(UdpLink::next_look);
        self.lanes.iter().filter_map(LanesLink::next_look).chain(udp).min()
    }

    /// What became of a session decides about its terminal's lane.
    pub(crate) fn on_session(&mut self, now: Now, event: &Event<'_>) {
        if self.lanes.is_empty() {
            return;
        }
        let (idc, active) = match event {
            Event::Active { idc, .. } => (*idc, true),
            Event::Ended { idc, .. } => (*idc, false),
        };
        let name = Lane::name(&self.hash, idc);
        self.lanes.iter_mut().for_each(|link| link.on_session(now, (name, 0), active));
    }

    /// Shows every counter.
    pub(crate) fn readings(&self, show: &mut dyn FnMut(Reading)) {
        self.udp.iter().for_each(|link| link.readings(show));
        self.lanes.iter().for_each(|link| link.readings(show));
    }
}

/// What a worker receives into from its own links.
pub(crate) struct Rooms {
    pub(crate) udp: Batch,
    /// One for each link by lanes.
    pub(crate) lanes: Vec<LanesRx>,
}
