//! The ports towards a controller of somebody else's ([`crate::Config::elsewhere`]): one UDP port a gateway, by which
//! the controller knows it apart, as it would if the gateway stood there itself.
//!
//! ```text
//!   message for the controller ──► [port of this gateway's lane] ──► controller      opened by the first one
//!   the gateway left, and nothing more is to be said for it: closed
//! ```
//!
//! Bounded: when as many are open as there may be, further gateways have none, which is counted; theirs are opened as
//! soon as others leave. What does not come from the controller's host is dropped.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use mio::event::Source as _;
use mio::net::UdpSocket;
use mio::{Interest, Registry, Token};
use portunus_io::{addr, listen};
use std::collections::{HashMap, VecDeque};
use std::io;

/// Datagrams that one port may bring in one turn, so that others get theirs.
const TURN: usize = 16;

/// What the ports did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PortCounters {
    /// Messages sent to the controller.
    pub sent: u64,
    /// Messages received from the controller.
    pub received: u64,
    /// Messages dropped: the system would not send them.
    pub failed: u64,
    /// Messages dropped: as many ports are open as there may be.
    pub none_free: u64,
    /// Messages dropped: the system opens no further port.
    pub unopened: u64,
    /// Messages dropped: not from the controller's host.
    pub foreign: u64,
    /// Messages dropped: longer than a message may be.
    pub oversize: u64,
    /// Ports open now.
    pub open: u64,
}

impl PortCounters {
    /// Every number with its name and what it says, in a fixed order.
    pub fn named(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> + use<> {
        [
            ("behind_sent", "Messages sent to the controller behind the softswitch", self.sent),
            ("behind_received", "Messages received from the controller behind the softswitch", self.received),
            ("behind_failed", "Messages for that controller that the system would not send", self.failed),
            (
                "behind_none_free",
                "Messages for that controller dropped: every port is another gateway's",
                self.none_free,
            ),
            ("behind_unopened", "Messages for that controller dropped: the system opens no port", self.unopened),
            ("behind_foreign", "Datagrams dropped: not from the host of that controller", self.foreign),
            ("behind_oversize", "Datagrams of that controller dropped: longer than a message may be", self.oversize),
            ("behind_open", "Ports open towards that controller", self.open),
        ]
        .into_iter()
    }
}

struct Port {
    socket: UdpSocket,
    lane: SocketAddr,
    /// It may have more to read.
    ready: bool,
}

/// All ports. Slots keep their numbers, which their tokens are made from.
pub struct Ports {
    controller: SocketAddr,
    limit: usize,
    registry: Option<Registry>,
    first: usize,
    slots: Vec<Option<Port>>,
    free: Vec<usize>,
    by_lane: HashMap<SocketAddr, usize>,
    /// Slots that may have more to read.
    ready: VecDeque<usize>,
    buffer: Box<[u8]>,
    counters: PortCounters,
}

impl core::fmt::Debug for Ports {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Ports").field("controller", &self.controller).field("open", &self.by_lane.len()).finish()
    }
}

impl Ports {
    /// None open; at most `limit` at a time, each a file descriptor. Messages have at most `message_max` octets.
    pub fn new(controller: SocketAddr, limit: usize, message_max: usize) -> Self {
        Self {
            controller,
            limit,
            registry: None,
            first: 0,
            slots: Vec::new(),
            free: Vec::new(),
            by_lane: HashMap::new(),
            ready: VecDeque::new(),
            // One octet more than the longest message shows what is longer.
            buffer: vec![0; message_max + 1].into_boxed_slice(),
            counters: PortCounters::default(),
        }
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

    /// Sends a message to the controller for the gateway of this lane, by its port. What cannot be sent is counted.
    pub fn send(&mut self, lane: SocketAddr, octets: &[u8]) {
        let Some(slot) = self.slot(lane) else { return };
        let Some(port) = self.slots.get(slot).and_then(Option::as_ref) else { return };
        match port.socket.send_to(octets, self.controller) {
            Ok(_) => self.counters.sent += 1,
            Err(_) => self.counters.failed += 1,
        }
    }

    /// The port of a lane, opened where there is none.
    fn slot(&mut self, lane: SocketAddr) -> Option<usize> {
        if let Some(slot) = self.by_lane.get(&lane) {
            return Some(*slot);
        }
        if self.by_lane.len() >= self.limit {
            self.counters.none_free += 1;
            return None;
        }
        let slot = self.free.last().copied().unwrap_or(self.slots.len());
        let Ok(socket) = self.open(slot) else {
            self.counters.unopened += 1;
            return None;
        };
        let port = Port { socket, lane, ready: false };
        match self.slots.get_mut(slot) {
            Some(place) => *place = Some(port),
            None => self.slots.push(Some(port)),
        }
        self.free.pop();
        self.by_lane.insert(lane, slot);
        self.counters.open = self.by_lane.len() as u64;
        Some(slot)
    }

    fn open(&self, slot: usize) -> io::Result<UdpSocket> {
        let registry = self.registry.as_ref().ok_or(io::ErrorKind::NotConnected)?;
        // The system chooses the address that leads to the controller, and a port.
        let any: IpAddr = match self.controller {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let mut socket = UdpSocket::from_std(listen::udp_small(SocketAddr::new(any, 0))?);
        registry.register(&mut socket, Token(self.first + slot), Interest::READABLE)?;
        Ok(socket)
    }

    /// Closes the port of a lane: what still comes for it is refused by the host.
    pub fn close(&mut self, lane: SocketAddr) {
        let Some(slot) = self.by_lane.remove(&lane) else { return };
        if let (Some(mut port), Some(registry)) =
            (self.slots.get_mut(slot).and_then(Option::take), self.registry.as_ref())
        {
            // The descriptor leaves the event queue when it is closed, whatever this says.
            let _ = port.socket.deregister(registry);
        }
        self.free.push(slot);
        self.counters.open = self.by_lane.len() as u64;
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

    /// Reads a turn's share of every port that is ready, and gives each message with the lane that it is for.
    pub fn read(&mut self, mut take: impl FnMut(SocketAddr, &[u8])) {
        for _ in 0..self.ready.len() {
            let Some(slot) = self.ready.pop_front() else { return };
            if self.read_one(slot, &mut take) {
                self.ready.push_back(slot);
            }
        }
    }

    /// True where there may be more.
    fn read_one(&mut self, slot: usize, take: &mut impl FnMut(SocketAddr, &[u8])) -> bool {
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
            match self.buffer.get(..len) {
                _ if from.ip() != self.controller.ip() => self.counters.foreign += 1,
                Some(octets) if len < self.buffer.len() => {
                    self.counters.received += 1;
                    take(port.lane, octets);
                }
                _ => self.counters.oversize += 1,
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::time::Duration;
    use mio::{Events, Poll};
    use std::net::UdpSocket as Plain;

    fn lane(n: u16) -> SocketAddr {
        ([192, 0, 2, 1], n).into()
    }

    struct World {
        poll: Poll,
        controller: Plain,
        ports: Ports,
    }

    impl World {
        fn new(limit: usize) -> Self {
            let poll = Poll::new().unwrap();
            let controller = Plain::bind("127.0.0.1:0").unwrap();
            controller.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
            let mut ports = Ports::new(controller.local_addr().unwrap(), limit, 100);
            ports.start(poll.registry(), 7).unwrap();
            Self { poll, controller, ports }
        }

        /// What the controller gets, and from where.
        fn heard(&self) -> (Vec<u8>, SocketAddr) {
            let mut room = [0; 200];
            let (len, from) = self.controller.recv_from(&mut room).unwrap();
            (room[..len].to_vec(), from)
        }

        /// Until `n` messages were read.
        fn read(&mut self, n: usize) -> Vec<(SocketAddr, Vec<u8>)> {
            let (mut all, mut events) = (Vec::new(), Events::with_capacity(8));
            while all.len() < n {
                self.poll.poll(&mut events, Some(Duration::from_secs(5))).unwrap();
                assert!(!events.is_empty(), "{all:?}");
                assert!(events.iter().all(|e| self.ports.on_ready(e.token())));
                while self.ports.is_hungry() {
                    self.ports.read(|lane, octets| all.push((lane, octets.to_vec())));
                }
            }
            all
        }
    }

    #[test]
    fn each_gateway_has_a_port_and_is_answered_by_it() {
        let mut w = World::new(8);
        w.ports.send(lane(1), b"one");
        w.ports.send(lane(2), b"two");
        let (one, two) = (w.heard(), w.heard());
        assert_eq!((&one.0[..], &two.0[..]), (&b"one"[..], &b"two"[..]));
        assert_ne!(one.1, two.1);
        for n in 0..40u8 {
            w.controller.send_to(&[n; 100], two.1).unwrap();
        }
        w.controller.send_to(b"to one", one.1).unwrap();
        let all = w.read(41);
        assert!(all.contains(&(lane(1), b"to one".to_vec())));
        assert_eq!(all.iter().filter(|(of, octets)| *of == lane(2) && octets.len() == 100).count(), 40);
        w.ports.send(lane(1), b"again");
        assert_eq!(w.heard(), (b"again".to_vec(), one.1));
        assert!(!w.ports.on_ready(Token(6)) && !w.ports.on_ready(Token(7 + 8)), "somebody else's");
    }

    #[test]
    fn strangers_and_long_messages_are_counted() {
        let mut w = World::new(8);
        w.ports.send(lane(1), b"one");
        let (_, at) = w.heard();
        Plain::bind("127.0.0.2:0").unwrap().send_to(b"stranger", (at.ip(), at.port())).unwrap();
        w.controller.send_to(&[0; 101], at).unwrap();
        // Another port of the controller's host is the controller's.
        Plain::bind("127.0.0.1:0").unwrap().send_to(b"beside", at).unwrap();
        assert_eq!(w.read(1), [(lane(1), b"beside".to_vec())]);
        let c = w.ports.counters();
        assert_eq!((c.foreign, c.oversize, c.received, c.sent), (1, 1, 1, 1));
    }

    #[test]
    fn full_is_counted_until_somebody_leaves() {
        let mut w = World::new(2);
        for n in 1..=3 {
            w.ports.send(lane(n), b"x");
        }
        assert_eq!((w.ports.counters().open, w.ports.counters().none_free), (2, 1));
        let (_, first) = w.heard();
        w.ports.close(lane(1));
        w.ports.close(lane(1));
        assert_eq!(w.ports.counters().open, 1);
        w.ports.send(lane(3), b"third");
        w.heard();
        let (octets, third) = w.heard();
        assert_eq!((&octets[..], w.ports.counters().open), (&b"third"[..], 2));
        // The port that was closed takes nothing any more, and its number is the third's now.
        let _ = w.controller.send_to(b"late", first);
        w.controller.send_to(b"for the third", third).unwrap();
        assert_eq!(w.read(1), [(lane(3), b"for the third".to_vec())]);
    }
}
