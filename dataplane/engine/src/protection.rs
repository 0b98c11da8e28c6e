//! What the engine makes of a mechanism: which one a session has, what its messages bear, and what becomes of those that
//! are none. Everything that differs between mechanisms stands in `portunus_channel`.

use crate::counters::Counters;
use crate::engine::Engine;
use crate::store::sessions::Carried;
use portunus_channel::{Dropped, End, Flow, Mechanism, datagrams};

/// A session's mechanism and its two directions.
#[derive(Clone, Copy)]
pub(crate) struct Protection {
    pub(crate) mechanism: &'static dyn Mechanism,
    pub(crate) c2s: Flow,
    pub(crate) s2c: Flow,
}

impl Engine {
    /// How the messages of the session in `slot` are protected; `None` for a stock phone's.
    pub(crate) fn protection(&self, slot: u32) -> Option<Protection> {
        let session = self.sessions.get(slot)?;
        let Carried::Protected { mech, handle, port } = session.carried else { return None };
        let mechanism = datagrams(mech)?;
        let terminal = End { handle: handle.into(), port };
        let proxy =
            End { handle: self.sessions.handle(slot, mechanism)?, port: self.site.inner_port(session.protocol) };
        let protocol = session.protocol as u8;
        let (c2s, s2c) = (Flow::c2s(terminal, proxy, protocol), Flow::s2c(terminal, proxy, protocol));
        Some(Protection { mechanism, c2s, s2c })
    }
}

impl Counters {
    /// Counts a protected datagram that was dropped.
    pub(crate) const fn dropped(&mut self, why: Dropped) {
        let counter = match why {
            Dropped::KeepAlive => &mut self.sealed_keep_alive,
            Dropped::Marker => &mut self.sealed_marker,
            Dropped::Unverified => &mut self.sealed_forged,
            _ if why.is_verified() => &mut self.sealed_bad_content,
            _ => &mut self.sealed_bad_header,
        };
        *counter += 1;
    }
}
