//! What passes between proxies and core on terminals' lanes, where nothing but the lane says whose it is.

use super::{Life, Oracle};
use crate::dialect;
use crate::net::{Datagram, addr};
use crate::proxy::Passed;
use core::net::SocketAddr;
use portunus_signalling::{FromCore, Of, Protocol, Text};
use std::collections::{BTreeMap, BTreeSet};

/// A lane of a proxy process.
type Lane = (Life, Protocol, u64);

/// What is known of lanes.
#[derive(Default)]
pub(super) struct Lanes {
    /// Whose they are: who was challenged with what the first s8 on each answered.
    owners: BTreeMap<Lane, String>,
    /// To whom the core gave a key there last.
    granted: BTreeMap<(Protocol, SocketAddr), String>,
    /// The requests that the core made of somebody, by the number of their transaction.
    asked: BTreeSet<(Life, String, u32)>,
}

impl Oracle {
    /// A message passes on a lane.
    pub fn passed(&mut self, life: Life, message: &Passed) {
        let (dialect, lane) = (dialect::of(message.protocol), (life, message.protocol, message.lane));
        if !message.up {
            if let Some(local) = message.local {
                self.granted(message.protocol, local, &message.bytes);
            }
            if let (Some(owner), true) = (self.lanes.owners.get(&lane), dialect.is_request(&message.bytes)) {
                let number = dialect.signalling().transaction(&message.bytes);
                self.lanes.asked.extend(number.map(|number| (life, owner.clone(), number)));
            }
            return;
        }
        if let Some(rand) = dialect.s8(&message.bytes) {
            let Some(idc) = self.vectors.get(&rand).map(|v| v.idc.clone()) else {
                return self.forbid("an s8 answers a challenge that the AuC never made");
            };
            let owner = self.lanes.owners.entry(lane).or_insert_with(|| idc.clone()).clone();
            self.hold(owner == idc, || format!("{idc} and {owner} share a lane"));
        }
        // Names are bound: what is asked is asked by its owner. (The proxy's own receipts bear its own name in H.248.)
        let owner = self.lanes.owners.get(&lane).cloned();
        let bears = dialect.bears(&message.bytes).filter(|_| dialect.is_request(&message.bytes));
        if let (Some(bears), Some(owner)) = (bears, owner) {
            self.hold(bears == owner, || format!("{bears} is named on the lane of {owner}"));
        }
    }

    /// A proxy says this in a session: where it is the core's request, the core made it of this terminal.
    pub(super) fn said_down(&mut self, session: usize, content: &[u8]) {
        let Some(session) = self.sessions.get(session) else { return };
        let dialect = dialect::of(session.protocol);
        if !dialect.signalling().lanes() || !dialect.is_request(content) {
            return;
        }
        let (life, idc) = (session.life, session.idc.clone());
        let number = dialect.signalling().transaction(content).unwrap_or_default();
        let asked = self.lanes.asked.contains(&(life, idc.clone(), number));
        self.hold(asked, || format!("{idc} is asked what the core never asked of it"));
    }

    /// The softswitch sends.
    pub fn switch_sends(&mut self, datagram: &Datagram) {
        if let Some(protocol) = addr::served(datagram.from) {
            self.granted(protocol, datagram.to, &datagram.bytes);
        }
    }

    /// The core says something on a lane: an s9 makes it somebody's.
    fn granted(&mut self, protocol: Protocol, lane: SocketAddr, octets: &[u8]) {
        let (signalling, mut text) = (dialect::of(protocol).signalling(), Text::new());
        if !signalling.lanes() {
            return;
        }
        if let Ok((FromCore::Key { of: Of::Rand(rand), .. }, _)) = signalling.read_answer(octets, &mut text)
            && let Some(vector) = self.vectors.get(&rand)
        {
            self.lanes.granted.insert((protocol, lane), vector.idc.clone());
        }
    }

    /// The softswitch reaches somebody by this lane.
    pub fn reached_by(&mut self, idc: &str, protocol: Protocol, lane: SocketAddr) {
        let owner = self.lanes.granted.get(&(protocol, lane)).cloned();
        self.hold(owner.as_deref() == Some(idc), || format!("{idc} is bound to a lane that is {owner:?}'s"));
    }
}
