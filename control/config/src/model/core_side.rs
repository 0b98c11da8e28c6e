//! A proxy's core side: the softswitches, and which terminals belong to which.

use super::ListenProtocol;
use core::net::SocketAddr;
use core::time::Duration;

/// A proxy's core side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Core {
    /// Where the core reaches the proxy: source of what it sends, Via, Path and Contact of its making.
    pub listen: SocketAddr,
    /// Where the core reaches the proxy, where that differs.
    pub advertised: Option<SocketAddr>,
    /// Where terminals go that no route is for.
    pub all: Peers,
    /// Where others go; the first that fits counts.
    pub routes: Vec<CoreRoute>,
    /// How long a softswitch may say nothing to a question before others are asked.
    pub silent_after: Duration,
    /// How often a silent one is tried.
    pub probe_every: Duration,
    /// Ports towards the core of each of the protocols beside SIP at most, each one terminal's own.
    pub lanes: usize,
}

/// Softswitches, protocol by protocol: the same number in each list is the same softswitch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Peers {
    /// SIP: the softswitches (or the elements before them). Empty where no listener speaks SIP; likewise below.
    pub softswitches: Vec<SocketAddr>,
    /// MGCP: the call agents.
    pub call_agents: Vec<SocketAddr>,
    /// H.248: the media gateway controllers.
    pub controllers: Vec<SocketAddr>,
    /// H.323 RAS: the gatekeepers.
    pub gatekeepers: Vec<SocketAddr>,
    /// Their shares of the terminals; empty: all the same.
    pub weights: Vec<u16>,
}

/// Terminals that have softswitches of their own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CoreRoute {
    /// Those of this realm; `None`: of any.
    pub realm: Option<String>,
    /// Those whose name begins so, a leading `+` apart; `None`: all.
    pub prefix: Option<String>,
    /// Where they go. In a protocol without any here they go where all go.
    pub peers: Peers,
}

impl Peers {
    /// Those that speak this protocol.
    pub fn of(&self, protocol: ListenProtocol) -> &[SocketAddr] {
        match protocol {
            ListenProtocol::Sip => &self.softswitches,
            ListenProtocol::Mgcp => &self.call_agents,
            ListenProtocol::H248 => &self.controllers,
            ListenProtocol::Ras => &self.gatekeepers,
        }
    }

    /// Those that speak this protocol, with their shares.
    pub fn shares(&self, protocol: ListenProtocol) -> impl Iterator<Item = (SocketAddr, u16)> {
        let weight = |nth: usize| self.weights.get(nth).copied().unwrap_or(1);
        self.of(protocol).iter().enumerate().map(move |(nth, peer)| (*peer, weight(nth)))
    }
}

impl Core {
    /// The lists of softswitches: all's, then the routes'.
    pub fn lists(&self) -> impl Iterator<Item = &Peers> {
        core::iter::once(&self.all).chain(self.routes.iter().map(|route| &route.peers))
    }

    /// Every element of the core that speaks this protocol, once.
    pub fn peers(&self, protocol: ListenProtocol) -> Vec<SocketAddr> {
        let mut all = Vec::new();
        for peer in self.lists().flat_map(|list| list.of(protocol)) {
            if !all.contains(peer) {
                all.push(*peer);
            }
        }
        all
    }
}
