//! The simulated network: addresses, links, weather, partitions.

use crate::prng::Prng;
use crate::scenario::{LinkKind, Scenario, Weather};
use core::net::SocketAddr;

/// A datagram under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Datagram {
    /// Its source as the receiver sees it.
    pub from: SocketAddr,
    /// Its destination.
    pub to: SocketAddr,
    /// Its octets.
    pub bytes: Vec<u8>,
}

/// Where everybody is. Terminals live in 198.51.100.0/24 and behind one NAT, attackers in 203.0.113.0/24, the inside
/// in 192.0.2.0/24.
pub mod addr {
    use crate::dialect::{self, Dialect};
    use core::net::{IpAddr, Ipv4Addr, SocketAddr};
    use portunus_channel::esp::Esp;
    use portunus_channel::sealed::Sealed;
    use portunus_channel::{Mechanism, tls};
    use portunus_signalling::Protocol;

    fn proxy_ip(proxy: usize) -> [u8; 4] {
        [192, 0, 2, 10 + proxy as u8]
    }

    /// The proxy that an address is of.
    pub fn proxy_of(at: SocketAddr) -> Option<usize> {
        let IpAddr::V4(ip) = at.ip() else { return None };
        (0..8).find(|p| ip == Ipv4Addr::from(proxy_ip(*p)))
    }

    /// A proxy's listener for a protocol's unprotected signalling.
    pub fn access(proxy: usize, protocol: Protocol) -> SocketAddr {
        (proxy_ip(proxy), dialect::of(protocol).port()).into()
    }

    /// What is spoken at this listener of a proxy's; `None` for any other address.
    pub fn spoken(at: SocketAddr) -> Option<&'static dyn Dialect> {
        let p = proxy_of(at)?;
        if at == stock(p) {
            return Some(dialect::of(Protocol::Sip));
        }
        dialect::ALL.iter().copied().find(|d| access(p, d.protocol()) == at)
    }

    /// The proxy's port towards the core for a protocol with lanes that all terminals of a worker share.
    pub fn shared(proxy: usize, protocol: Protocol, worker: usize) -> SocketAddr {
        (proxy_ip(proxy), 20_000 + 1_000 * protocol as u16 + worker as u16).into()
    }

    /// A terminal's own port towards the core, one of [`PORTS`].
    pub fn terminal_lane(proxy: usize, protocol: Protocol, port: u16) -> SocketAddr {
        (proxy_ip(proxy), 20_100 + 1_000 * protocol as u16 + port).into()
    }

    /// Ports for lanes of a protocol: more than there may be lanes, and few enough to be used again.
    pub const PORTS: u16 = 80;

    /// The mechanisms for datagrams, and the ports that proxies listen at for them.
    pub static PROTECTED: [(&dyn Mechanism, u16); 2] = [(&Sealed, 5065), (&Esp, 4500)];

    /// A proxy's listener for datagrams of a mechanism.
    pub fn protected(proxy: usize, mechanism: &dyn Mechanism) -> SocketAddr {
        let port = PROTECTED.iter().find(|(m, _)| m.mech() == mechanism.mech()).map_or(0, |(_, port)| *port);
        (proxy_ip(proxy), port).into()
    }

    /// The mechanism of a listener; `None`: no protected datagrams belong there.
    pub fn mechanism(at: SocketAddr) -> Option<&'static dyn Mechanism> {
        let p = proxy_of(at)?;
        PROTECTED.iter().map(|(m, _)| *m).find(|m| protected(p, *m) == at)
    }

    /// The protocols that are carried by connections of `tls`, and the ports that proxies listen at for them.
    pub const SECURED: [(Protocol, u16); 2] = [(Protocol::Sip, tls::PORT_SIP), (Protocol::H248, tls::PORT_H248)];

    /// A proxy's listener for connections of `tls`.
    pub fn secured(proxy: usize, protocol: Protocol) -> SocketAddr {
        let port = SECURED.iter().find(|(p, _)| *p == protocol).map_or(0, |(_, port)| *port);
        (proxy_ip(proxy), port).into()
    }

    /// True for a listener of `tls`.
    pub fn is_secured(at: SocketAddr) -> bool {
        proxy_of(at).is_some_and(|p| SECURED.iter().any(|(protocol, _)| secured(p, *protocol) == at))
    }

    /// A proxy's listener for stock phones.
    pub fn stock(proxy: usize) -> SocketAddr {
        (proxy_ip(proxy), 5080).into()
    }

    /// Where a stock phone is.
    pub fn stock_phone(index: usize) -> SocketAddr {
        ([198, 51, 100, 100 + index as u8], 5060).into()
    }

    /// A proxy's address towards the core.
    pub fn core(proxy: usize) -> SocketAddr {
        (proxy_ip(proxy), 5070).into()
    }

    /// Where the softswitch serves a protocol.
    pub fn switch(protocol: Protocol) -> SocketAddr {
        ([192, 0, 2, 100], dialect::of(protocol).port()).into()
    }

    /// What the softswitch serves at an address of its own; `None` for any other.
    pub fn served(at: SocketAddr) -> Option<Protocol> {
        dialect::ALL.iter().map(|d| d.protocol()).find(|p| switch(*p) == at)
    }

    /// A source port of the softswitch's AAA client.
    pub fn lane(lane: u16) -> SocketAddr {
        ([192, 0, 2, 100], 41_000 + lane).into()
    }

    /// The softswitch's host.
    pub fn is_switch(at: SocketAddr) -> bool {
        at.ip() == lane(0).ip()
    }

    /// The AuC's ports.
    pub fn auc_auth() -> SocketAddr {
        ([192, 0, 2, 200], 1812).into()
    }

    /// See [`auc_auth`].
    pub fn auc_acct() -> SocketAddr {
        ([192, 0, 2, 200], 1813).into()
    }

    /// Where a terminal believes that it is.
    pub fn local(phone: usize) -> SocketAddr {
        ([10, 0, 0, 1 + phone as u8], 5060).into()
    }

    /// Where a terminal is seen: every second one behind the same NAT, on a port that changes when it moves.
    pub fn public(phone: usize, moves: u16) -> SocketAddr {
        if phone.is_multiple_of(2) {
            ([198, 51, 100, 1 + phone as u8], 5060 + moves).into()
        } else {
            ([198, 51, 100, 250], 20_000 + 100 * phone as u16 + moves).into()
        }
    }

    /// An attacker's own address.
    pub fn attacker(n: u16) -> SocketAddr {
        ([203, 0, 113, 66], 10_000 + n).into()
    }

    /// True for an attacker's own address.
    pub fn is_attacker(a: SocketAddr) -> bool {
        matches!(a, SocketAddr::V4(a) if a.ip().octets()[..3] == [203, 0, 113])
    }
}

/// Which link a datagram travels.
pub fn link(from: SocketAddr, to: SocketAddr) -> LinkKind {
    let aaa = |a: SocketAddr| matches!(a, SocketAddr::V4(a) if a.ip().octets() == [192, 0, 2, 200]);
    let inside = |a: SocketAddr| matches!(a, SocketAddr::V4(a) if a.ip().octets()[..3] == [192, 0, 2]);
    if aaa(from) || aaa(to) {
        LinkKind::Aaa
    } else if inside(from) && inside(to) {
        LinkKind::Core
    } else {
        LinkKind::Access
    }
}

/// What the network does with one datagram.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is lost.
    Lost,
    /// It arrives after these delays (milliseconds), the second time only where it is doubled; changed where `true`.
    Arrives {
        /// Delay of the first copy.
        after: u64,
        /// Delay of a second one.
        again: Option<u64>,
        /// An octet was changed.
        corrupted: bool,
    },
}

/// The weather's dice, and which links are cut.
#[derive(Debug)]
pub struct Network {
    rng: Prng,
    cut: Vec<(LinkKind, u64)>,
}

impl Network {
    /// All links whole.
    pub fn new(rng: Prng) -> Self {
        Self { rng, cut: Vec::new() }
    }

    /// Cuts all links of a kind until then.
    pub fn cut(&mut self, link: LinkKind, until_ms: u64) {
        self.cut.push((link, until_ms));
    }

    /// Milliseconds that octets of a connection take: what is lost is sent again, and what is cut waits.
    pub fn delay(&mut self, now_ms: u64, scenario: &Scenario, link: LinkKind) -> u64 {
        let w: Weather = scenario.weather(now_ms, link);
        let (mut after, mut again) = (w.delay + self.rng.between(0, w.jitter), 200);
        while self.rng.chance(w.loss) && again < 10_000 {
            (after, again) = (after + again, again * 2);
        }
        let until = self.cut.iter().filter(|(cut, _)| *cut == link).map(|(_, until)| *until).max().unwrap_or(0);
        until.saturating_sub(now_ms) + after
    }

    /// Decides a datagram's fate, and may change an octet of it.
    pub fn decide(&mut self, now_ms: u64, scenario: &Scenario, datagram: &mut Datagram) -> Verdict {
        let link = link(datagram.from, datagram.to);
        self.cut.retain(|(_, until)| *until > now_ms);
        let w: Weather = scenario.weather(now_ms, link);
        // Drawn in any case, so that what is cut does not shift everybody's luck.
        let lost = self.rng.chance(w.loss);
        let delay = |rng: &mut Prng| w.delay + rng.between(0, w.jitter);
        let (after, again) = (delay(&mut self.rng), delay(&mut self.rng));
        let (doubled, corrupted) = (self.rng.chance(w.duplicate), self.rng.chance(w.corrupt));
        if lost || self.cut.iter().any(|(cut, _)| *cut == link) {
            return Verdict::Lost;
        }
        if corrupted && !datagram.bytes.is_empty() {
            let at = self.rng.between(0, datagram.bytes.len() as u64 - 1) as usize;
            let flip = self.rng.between(1, 255) as u8;
            if let Some(octet) = datagram.bytes.get_mut(at) {
                *octet ^= flip;
            }
        }
        Verdict::Arrives { after, again: doubled.then_some(again), corrupted }
    }
}
