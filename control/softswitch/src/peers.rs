//! Whom we talk to: the configured neighbours and nobody else.

use crate::config::{Config, Peer as PeerConfig};
use crate::uri;
use core::net::SocketAddr;
use portunus_signalling::Protocol;
use portunus_sip::view::Uri;
use std::sync::Arc;

/// A neighbour on the trusted side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Peer {
    /// At this address, over UDP.
    Udp(SocketAddr),
    /// The proxy engine in this process (direct topology), in SIP.
    LocalProxy,
    /// The proxy engine in this process, in a lane protocol: a virtual address, of one terminal's (its lane) or of all
    /// those that have none yet. It means nothing but which.
    LocalLane(SocketAddr),
    /// A call agent or controller of somebody else's, the nth of its kind in [`crate::Behind`], for the gateway whose lane
    /// has this address: by a port that is this gateway's alone.
    Behind(SocketAddr, u16),
}

fn config_of(config: &Config, addr: SocketAddr) -> Option<&PeerConfig> {
    let same_ip = |p: &&PeerConfig| p.addr.ip().to_canonical() == addr.ip().to_canonical();
    // An entry with the exact port says more than one for every port.
    let mut exact = config.peers.iter().filter(same_ip).filter(|p| p.addr.port() == addr.port());
    exact.next().or_else(|| config.peers.iter().filter(same_ip).find(|p| p.addr.port() == 0))
}

/// The neighbours at a host: a proxy's lanes are many ports of its address.
fn host(config: &Config, addr: SocketAddr) -> impl Iterator<Item = &PeerConfig> {
    let ip = addr.ip().to_canonical();
    config.peers.iter().filter(move |p| p.addr.ip().to_canonical() == ip)
}

/// True for a signalling proxy, which registers terminals and sends what they ask for.
pub(crate) fn is_proxy(config: &Config, from: Peer) -> bool {
    match from {
        Peer::Udp(addr) => config_of(config, addr).is_some_and(|p| !p.idsps.is_empty()),
        Peer::LocalProxy => true,
        Peer::LocalLane(_) | Peer::Behind(..) => false,
    }
}

/// True when messages from this neighbour are listened to.
pub(crate) fn is_trusted(config: &Config, protocol: Protocol, from: Peer) -> bool {
    match (from, protocol) {
        (Peer::Udp(addr), Protocol::Sip) => config_of(config, addr).is_some(),
        (Peer::Udp(addr), _) => host(config, addr).next().is_some(),
        (Peer::LocalProxy, _) => config.local.is_some() && protocol == Protocol::Sip,
        (Peer::LocalLane(_), _) => config.local.is_some() && protocol != Protocol::Sip,
        (Peer::Behind(_, nth), _) => protocol != Protocol::Sip && usize::from(nth) < config.behind.of(protocol).len(),
    }
}

/// The proxy identity `idsp`, when this neighbour may send its registrations.
pub(crate) fn serves(config: &Config, protocol: Protocol, from: Peer, idsp: &str) -> Option<Arc<str>> {
    match from {
        Peer::Udp(addr) if protocol == Protocol::Sip => {
            config_of(config, addr)?.idsps.iter().find(|i| &***i == idsp).cloned()
        }
        Peer::Udp(addr) => host(config, addr).flat_map(|p| &p.idsps).find(|i| &***i == idsp).cloned(),
        Peer::LocalProxy | Peer::LocalLane(_) => {
            config.local.as_ref().map(|l| &l.idss).filter(|i| &***i == idsp).cloned()
        }
        Peer::Behind(..) => None,
    }
}

/// The address that stands for a neighbour in `received` and `rport`.
pub(crate) fn address(config: &Config, peer: Peer) -> Option<SocketAddr> {
    match peer {
        Peer::Udp(addr) | Peer::LocalLane(addr) | Peer::Behind(addr, _) => Some(addr),
        Peer::LocalProxy => config.local.as_ref().map(|l| l.core),
    }
}

/// The neighbour at an address; `None` for anybody else: we are no open relay.
pub(crate) fn at(config: &Config, addr: SocketAddr) -> Option<Peer> {
    if config.local.as_ref().is_some_and(|l| l.core == addr) {
        return Some(Peer::LocalProxy);
    }
    config_of(config, addr).map(|_| Peer::Udp(addr))
}

/// The neighbour that a URI names.
pub(crate) fn named(config: &Config, uri: &Uri<'_>) -> Option<Peer> {
    // Between neighbours there is UDP only; `sips:` and another transport ask for what is not there.
    let plain = !uri.secure && uri.param("transport").is_none_or(|t| t.eq_ignore_ascii_case(b"udp"));
    uri::address(uri).filter(|_| plain).and_then(|addr| at(config, addr))
}

/// True when a host part is one that we answer for: a domain of ours, or our own address.
pub(crate) fn is_ours(config: &Config, uri: &Uri<'_>) -> bool {
    is_own(config, uri) || config.domains.iter().any(|d| uri.host.eq_ignore_ascii_case(d.as_bytes()))
}

/// True for our own address.
pub(crate) fn is_own(config: &Config, uri: &Uri<'_>) -> bool {
    uri::address(uri) == Some(config.own)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::LocalProxy;

    #[test]
    fn only_configured_neighbours_exist() {
        let mut c = Config::new("127.0.0.1:5070".parse().unwrap(), "example.test");
        let peer = |addr: &str, idsp: &str| PeerConfig { addr: addr.parse().unwrap(), idsps: vec![idsp.into()] };
        c.peers = vec![peer("192.0.2.1:0", "any"), peer("192.0.2.1:5060", "sp1")];
        let from = |s: &str| Peer::Udp(s.parse().unwrap());
        let (sip, mgcp) = (Protocol::Sip, Protocol::Mgcp);
        assert!(is_trusted(&c, sip, from("192.0.2.1:7")) && !is_trusted(&c, sip, from("192.0.2.2:5060")));
        assert!(is_trusted(&c, sip, from("[::ffff:192.0.2.1]:5060")));
        assert!(!is_trusted(&c, sip, Peer::LocalProxy));
        assert!(serves(&c, sip, from("192.0.2.1:5060"), "sp1").is_some());
        assert!(serves(&c, sip, from("192.0.2.1:5060"), "any").is_none());
        assert!(serves(&c, sip, from("192.0.2.1:9"), "any").is_some());
        c.local = Some(LocalProxy { idss: "ss1".into(), core: "127.0.0.1:1".parse().unwrap() });
        // A lane is a port of a proxy's address, whichever.
        assert!(is_trusted(&c, mgcp, from("192.0.2.1:49152")) && !is_trusted(&c, mgcp, from("192.0.2.2:2727")));
        assert!(serves(&c, mgcp, from("192.0.2.1:49152"), "sp1").is_some());
        assert!(serves(&c, mgcp, from("192.0.2.1:49152"), "sp2").is_none());
        let lane = Peer::LocalLane("127.0.0.1:9".parse().unwrap());
        assert!(is_trusted(&c, mgcp, lane) && !is_trusted(&c, sip, lane) && !is_trusted(&c, mgcp, Peer::LocalProxy));
        assert!(serves(&c, mgcp, lane, "ss1").is_some());
        let hop = |s: &str| named(&c, &Uri::parse(s.as_bytes()).unwrap());
        assert_eq!(hop("sip:tok@127.0.0.1:1;lr"), Some(Peer::LocalProxy));
        assert_eq!(hop("sip:192.0.2.1"), Some(from("192.0.2.1:5060")));
        assert_eq!(hop("sip:192.0.2.1;transport=tcp"), None);
        assert_eq!(hop("sips:192.0.2.1"), None);
        assert_eq!(hop("sip:sp1.example.test"), None);
        assert!(is_ours(&c, &Uri::parse(b"sip:Example.TEST").unwrap()));
        assert!(is_ours(&c, &Uri::parse(b"sip:a@127.0.0.1:5070").unwrap()));
        assert!(!is_ours(&c, &Uri::parse(b"sip:a@other.test").unwrap()));
    }
}
