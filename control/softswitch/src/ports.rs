//! The ports towards call agents and controllers of somebody else's ([`crate::Behind`]): one UDP port a gateway, by which
//! they know it apart, as they would if the gateway stood there itself. It is the gateway's whoever of a kind serves it.
//!
//! ```text
//!   message for one of them ──► [port of this gateway's lane] ──► the nth of its kind      opened by the first one
//!   the gateway left, and nothing more is to be said for it: closed
//! ```
//!
//! Bounded: when as many are open as there may be, further gateways have none, which is counted; theirs are opened as
//! soon as others leave. What does not come from the host of any of them is dropped. One of them may send from another
//! port than it listens at: then it is the one at that host to which the gateway last said something.

use crate::config::Behind;
use crate::peers::Peer;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use mio::event::Source as _;
use mio::net::UdpSocket;
use mio::{Interest, Registry, Token};
use portunus_io::{addr, listen};
use portunus_signalling::Protocol;
use std::collections::{HashMap, VecDeque};
use std::io;

/// Datagrams that one port may bring in one turn, so that others get theirs.
const TURN: usize = 16;

/// What the ports did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PortCounters {
    /// Messages sent to them.
    pub sent: u64,
    /// Messages received from them.
    pub received: u64,
    /// Messages dropped: the system would not send them.
    pub failed: u64,
    /// Messages dropped: as many ports are open as there may be.
    pub none_free: u64,
    /// Messages dropped: the system opens no further port.
    pub unopened: u64,
    /// Messages dropped: from nobody's host of theirs.
    pub foreign: u64,
    /// Messages dropped: longer than a message may be.
    pub oversize: u64,
    /// Gateways' ports open now.
    pub open: u64,
}

impl PortCounters {
    /// Every number with its name and what it says, in a fixed order.
    pub fn named(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> + use<> {
        [
            ("behind_sent", "Messages sent to call agents and controllers behind the softswitch", self.sent),
            ("behind_received", "Messages received from those", self.received),
            ("behind_failed", "Messages for those that the system would not send", self.failed),
            ("behind_none_free", "Messages for those dropped: every port is another gateway's", self.none_free),
            ("behind_unopened", "Messages for those dropped: the system opens no port", self.unopened),
            ("behind_foreign", "Datagrams dropped: from no host of theirs", self.foreign),
            ("behind_oversize", "Datagrams of theirs dropped: longer than a message may be", self.oversize),
            ("behind_open", "Ports of gateways open towards those", self.open),
        ]
        .into_iter()
    }
}

/// Whose a port is.
type Of = (Protocol, SocketAddr);

struct Port {
    socket: UdpSocket,
    of: Of,
    /// The one that was last said something.
    nth: u16,
    /// It may have more to read.
    ready: bool,
}

/// All ports. Slots keep their numbers, which their tokens are made from.
pub struct Ports {
    call_agents: Vec<SocketAddr>,
    controllers: Vec<SocketAddr>,
    limit: usize,
    registry: Option<Registry>,
    first: usize,
    slots: Vec<Option<Port>>,
    free: Vec<usize>,
    by_lane: HashMap<Of, usize>,
    /// Of these, those that are no gateway's.
    own: usize,
    /// Slots that may have more to read.
    ready: VecDeque<usize>,
    buffer: Box<[u8]>,
    counters: PortCounters,
}

impl core::fmt::Debug for Ports {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Ports").field("open", &self.by_lane.len()).finish_non_exhaustive()
    }
}

/// Beside the gateways': those that signs of life are asked for by, of an address that no lane has, one a kind.
const OWN: usize = 2;

impl Ports {
    /// None open; as many at a time as `behind` says, each a file descriptor. Messages have at most `message_max` octets.
    /// `None`: there is nobody behind us to whom gateways have ports.
    pub fn new(behind: &Behind, message_max: usize) -> Option<Self> {
        let at = |protocol| behind.of(protocol).iter().map(|one| one.address).collect();
        behind.has_ports().then(|| Self {
            call_agents: at(Protocol::Mgcp),
            controllers: at(Protocol::H248),
            limit: behind.ports + OWN,
            registry: None,
            first: 0,
            slots: Vec::new(),
            free: Vec::new(),
            by_lane: HashMap::new(),
            own: 0,
            ready: VecDeque::new(),
            // One octet more than the longest message shows what is longer.
            buffer: vec![0; message_max + 1].into_boxed_slice(),
            counters: PortCounters::default(),
        })
    }

    /// Says whom to wait with: ports opened from now on have tokens from `first` on, [`Ports::limit`] of them.
    ///
    /// # Errors
    /// What the system reports.
    pub fn start(&mut self, registry: &Registry, first: usize) -> io::Result<()> {
        self.registry = Some(registry.try_clone()?);
        self.first = first;
        Ok(())
    }

    /// Ports open at a time at most.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// What they did.
    pub fn counters(&self) -> PortCounters {
        self.counters
    }

    /// Sends a message to the nth of its kind for the gateway of this lane, by its port. What cannot be sent is counted.
    pub fn send(&mut self, protocol: Protocol, (lane, nth): (SocketAddr, u16), octets: &[u8]) {
        let Some(to) = at(protocol, &self.call_agents, &self.controllers).get(usize::from(nth)).copied() else {
            return;
        };
        let Some(slot) = self.slot((protocol, lane), to.is_ipv4()) else { return };
        let Some(port) = self.slots.get_mut(slot).and_then(Option::as_mut) else { return };
        port.nth = nth;
        match port.socket.send_to(octets, to) {
            Ok(_) => self.counters.sent += 1,
            Err(_) => self.counters.failed += 1,
        }
    }

    /// The port of a lane, opened where there is none.
    fn slot(&mut self, of: Of, v4: bool) -> Option<usize> {
        if let Some(slot) = self.by_lane.get(&of) {
            return Some(*slot);
        }
        let own = of.1.ip().is_unspecified();
        if !own && self.gateways() + OWN >= self.limit {
            self.counters.none_free += 1;
            return None;
        }
        let slot = self.free.last().copied().unwrap_or(self.slots.len());
        let Ok(socket) = self.open(slot, v4) else {
            self.counters.unopened += 1;
            return None;
        };
        let port = Port { socket, of, nth: 0, ready: false };
        match self.slots.get_mut(slot) {
            Some(place) => *place = Some(port),
            None => self.slots.push(Some(port)),
        }
        self.free.pop();
        self.by_lane.insert(of, slot);
        self.own += usize::from(own);
        self.counters.open = self.gateways() as u64;
        Some(slot)
    }

    /// Ports open that are gateways'.
    fn gateways(&self) -> usize {
        self.by_lane.len() - self.own
    }

    fn open(&self, slot: usize, v4: bool) -> io::Result<UdpSocket> {
        let registry = self.registry.as_ref().ok_or(io::ErrorKind::NotConnected)?;
        // The system chooses the address that leads there, and a port.
        let any: IpAddr = if v4 { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let mut socket = UdpSocket::from_std(listen::udp_small(SocketAddr::new(any, 0))?);
        registry.register(&mut socket, Token(self.first + slot), Interest::READABLE)?;
        Ok(socket)
    }

    /// Closes the port of a lane: what still comes for it is refused by the host.
    pub fn close(&mut self, protocol: Protocol, lane: SocketAddr) {
        let Some(slot) = self.by_lane.remove(&(protocol, lane)) else { return };
        if let (Some(mut port), Some(registry)) =
            (self.slots.get_mut(slot).and_then(Option::take), self.registry.as_ref())
        {
            // The descriptor leaves the event queue when it is closed, whatever this says.
            let _ = port.socket.deregister(registry);
        }
        self.free.push(slot);
        self.own -= usize::from(lane.ip().is_unspecified());
        self.counters.open = self.gateways() as u64;
    }

    /// A source is ready (edge-triggered). False: it is no port's.
    pub fn on_ready(&mut self, token: Token) -> bool {
        let Some(slot) = token.0.checked_sub(self.first).filter(|slot| *slot < self.limit) else { return false };
        if let Some(port) = self.slots.get_mut(slot).and_then(Option::as_mut)
            && !core::mem::replace(&mut port.ready, true)
        {
            self.ready.push_back(slot);
        }
        true
    }

    /// True while something may wait to be read: [`Ports::read`] is wanted.
    pub fn is_hungry(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Reads a turn's share of every port that is ready, and gives each message with whom it is from and for.
    pub fn read(&mut self, mut take: impl FnMut(Protocol, Peer, &[u8])) {
        for _ in 0..self.ready.len() {
            let Some(slot) = self.ready.pop_front() else { return };
            if self.read_one(slot, &mut take) {
                self.ready.push_back(slot);
            }
        }
    }

    /// True where there may be more.
    fn read_one(&mut self, slot: usize, take: &mut impl FnMut(Protocol, Peer, &[u8])) -> bool {
        let Some(port) = self.slots.get_mut(slot).and_then(Option::as_mut) else { return false };
        for _ in 0..TURN {
            let (len, from) = match port.socket.recv_from(&mut self.buffer) {
                Ok((len, from)) => (len, addr::canonical(from)),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    port.ready = false;
                    return false;
                }
                // Reported by it, an earlier datagram's error is gone.
                Err(_) => continue,
            };
            let (protocol, lane) = port.of;
            match (self.buffer.get(..len), which(at(protocol, &self.call_agents, &self.controllers), from, port.nth)) {
                (_, None) => self.counters.foreign += 1,
                (Some(octets), Some(nth)) if len < self.buffer.len() => {
                    self.counters.received += 1;
                    take(protocol, Peer::Behind(lane, nth), octets);
                }
                _ => self.counters.oversize += 1,
            }
        }
        true
    }
}

/// Where those of a protocol are.
fn at<'a>(protocol: Protocol, call_agents: &'a [SocketAddr], controllers: &'a [SocketAddr]) -> &'a [SocketAddr] {
    match protocol {
        Protocol::Mgcp => call_agents,
        Protocol::H248 => controllers,
        Protocol::Sip | Protocol::Ras => &[],
    }
}

/// Which of them a datagram is from; `last` is the one that was last said something.
fn which(all: &[SocketAddr], from: SocketAddr, last: u16) -> Option<u16> {
    let here = |one: &SocketAddr| one.ip() == from.ip();
    let exact = all.iter().position(|one| *one == from).and_then(|nth| u16::try_from(nth).ok());
    let last = || all.get(usize::from(last)).filter(|one| here(one)).map(|_| last);
    exact.or_else(last).or_else(|| all.iter().position(here).and_then(|nth| u16::try_from(nth).ok()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Upstream;
    use core::time::Duration;
    use mio::{Events, Poll};
    use std::net::UdpSocket as Plain;

    fn lane(n: u16) -> SocketAddr {
        ([192, 0, 2, 1], n).into()
    }

    fn from(n: u16, nth: u16) -> Peer {
        Peer::Behind(lane(n), nth)
    }

    struct World {
        poll: Poll,
        controller: Plain,
        second: Plain,
        ports: Ports,
    }

    impl World {
        fn new(limit: usize) -> Self {
            let poll = Poll::new().unwrap();
            let [controller, second] =
                [1, 1].map(|host| Plain::bind(SocketAddr::from(([127, 0, 0, host], 0))).unwrap());
            controller.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
            second.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
            let both = [&controller, &second].map(|c| Upstream::at(c.local_addr().unwrap()));
            let behind = Behind { controllers: both.to_vec(), ports: limit, ..Behind::default() };
            let mut ports = Ports::new(&behind, 100).unwrap();
            ports.start(poll.registry(), 7).unwrap();
            Self { poll, controller, second, ports }
        }

        /// To the first controller.
        fn send(&mut self, n: u16, octets: &[u8]) {
            self.ports.send(Protocol::H248, (lane(n), 0), octets);
        }

        /// What the controller gets, and from where.
        fn heard(&self) -> (Vec<u8>, SocketAddr) {
            let mut room = [0; 200];
            let (len, from) = self.controller.recv_from(&mut room).unwrap();
            (room[..len].to_vec(), from)
        }

        /// Until `n` messages were read.
        fn read(&mut self, n: usize) -> Vec<(Peer, Vec<u8>)> {
            let (mut all, mut events) = (Vec::new(), Events::with_capacity(8));
            while all.len() < n {
                self.poll.poll(&mut events, Some(Duration::from_secs(5))).unwrap();
                assert!(!events.is_empty(), "{all:?}");
                assert!(events.iter().all(|e| self.ports.on_ready(e.token())));
                while self.ports.is_hungry() {
                    self.ports.read(|_, peer, octets| all.push((peer, octets.to_vec())));
                }
            }
            all
        }
    }

    #[test]
    fn each_gateway_has_a_port_and_is_answered_by_it() {
        let mut w = World::new(8);
        w.send(1, b"one");
        w.send(2, b"two");
        let (one, two) = (w.heard(), w.heard());
        assert_eq!((&one.0[..], &two.0[..]), (&b"one"[..], &b"two"[..]));
        assert_ne!(one.1, two.1);
        for n in 0..40u8 {
            w.controller.send_to(&[n; 100], two.1).unwrap();
        }
        w.controller.send_to(b"to one", one.1).unwrap();
        let all = w.read(41);
        assert!(all.contains(&(from(1, 0), b"to one".to_vec())));
        assert_eq!(all.iter().filter(|(of, octets)| *of == from(2, 0) && octets.len() == 100).count(), 40);
        w.send(1, b"again");
        assert_eq!(w.heard(), (b"again".to_vec(), one.1));
        assert!(!w.ports.on_ready(Token(6)) && !w.ports.on_ready(Token(7 + 8 + 2)), "somebody else's");
    }

    #[test]
    fn a_gateway_keeps_its_port_whoever_serves_it_and_senders_are_told_apart() {
        let mut w = World::new(8);
        w.send(1, b"one");
        let (_, at) = w.heard();
        w.ports.send(Protocol::H248, (lane(1), 1), b"two");
        let mut room = [0; 10];
        assert_eq!(w.second.recv_from(&mut room).unwrap(), (3, at));
        w.controller.send_to(b"late", at).unwrap();
        assert_eq!(w.read(1), [(from(1, 0), b"late".to_vec())]);
        w.second.send_to(b"now", at).unwrap();
        assert_eq!(w.read(1), [(from(1, 1), b"now".to_vec())]);
        // From another port of a host that both are at.
        Plain::bind("127.0.0.1:0").unwrap().send_to(b"beside", at).unwrap();
        assert_eq!(w.read(1), [(from(1, 1), b"beside".to_vec())]);
        w.ports.send(Protocol::Mgcp, (lane(1), 0), b"there is no call agent");
        assert_eq!((w.ports.counters().open, w.ports.counters().sent), (1, 2));
    }

    #[test]
    fn strangers_and_long_messages_are_counted() {
        let mut w = World::new(8);
        w.send(1, b"one");
        let (_, at) = w.heard();
        Plain::bind("127.0.0.2:0").unwrap().send_to(b"stranger", (at.ip(), at.port())).unwrap();
        w.controller.send_to(&[0; 101], at).unwrap();
        // Another port of the controller's host is the controller's.
        Plain::bind("127.0.0.1:0").unwrap().send_to(b"beside", at).unwrap();
        assert_eq!(w.read(1), [(from(1, 0), b"beside".to_vec())]);
        let c = w.ports.counters();
        assert_eq!((c.foreign, c.oversize, c.received, c.sent), (1, 1, 1, 1));
    }

    #[test]
    fn full_is_counted_until_somebody_leaves() {
        let mut w = World::new(2);
        for n in 1..=3 {
            w.send(n, b"x");
        }
        assert_eq!((w.ports.counters().open, w.ports.counters().none_free), (2, 1));
        // Questions for signs of life have a port whatever happens.
        w.ports.send(Protocol::H248, (SocketAddr::from(([0, 0, 0, 0], 0)), 1), b"?");
        assert_eq!((w.ports.counters().open, w.ports.counters().sent), (2, 3));
        let (_, first) = w.heard();
        w.ports.close(Protocol::H248, lane(1));
        w.ports.close(Protocol::H248, lane(1));
        assert_eq!(w.ports.counters().open, 1);
        w.send(3, b"third");
        w.heard();
        let (octets, third) = w.heard();
        assert_eq!((&octets[..], w.ports.counters().open), (&b"third"[..], 2));
        // The port that was closed takes nothing any more, and its number is the third's now.
        let _ = w.controller.send_to(b"late", first);
        w.controller.send_to(b"for the third", third).unwrap();
        assert_eq!(w.read(1), [(from(3, 0), b"for the third".to_vec())]);
    }
}
