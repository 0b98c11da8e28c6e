//! The direct topology: the proxy engine faces the terminals with IDss and Kss, and the softswitch behind it lives in
//! the node's control thread. No socket lies between the two. Where call agents or controllers of somebody else's serve
//! the media gateways, the ports towards them are here.

use mio::event::Event;
use mio::{Registry, Token};
use portunus_aaa::net::{ClientRunner, RunnerConfig};
use portunus_engine::{Kind, Lane, Reading};
use portunus_io::listen::{Buffers, udp};
use portunus_io::{Batch, Pushed, Rx as _, Tx as _, UdpPort};
use portunus_keydist::{Now, SystemRandom};
use portunus_node::{Arrival, CoreMessage, Deliver, Delivered, Upstream};
use portunus_signalling::Protocol;
use portunus_softswitch::{Config, Joined, Listeners, Peer, Ports, Softswitch, Witness};
use std::io;
use std::net::SocketAddr;
use std::ops::Range;

/// Messages that one system call moves.
const BATCH: usize = 64;
/// Batches read before everything else has its turn.
const TURN: usize = 16;
/// Descriptors of its own and of the links to the AuC, beside the ports.
const DESCRIPTORS: usize = 64;
/// Room for what the proxy answers for itself.
const ANSWER: usize = 4096;

/// The softswitch in the place of the way to it.
pub struct InProcess {
    joined: Joined<ClientRunner>,
    /// The address that names the engine in messages.
    core: SocketAddr,
    /// Where proxies reach the softswitch, when it serves them as well: a place for each protocol.
    neighbours: Vec<Neighbours>,
    /// The ports towards call agents and controllers of somebody else's.
    behind: Option<Ports>,
    /// Where the AAA client's links are still to be opened: that takes the node's clock, which the first turn brings.
    unopened: Option<(Registry, Token)>,
    received: u64,
    sent: u64,
    dropped: u64,
}

struct Neighbours {
    protocol: Protocol,
    port: UdpPort,
    token: Token,
    rx: Batch,
    tx: Batch,
    readable: bool,
}

impl core::fmt::Debug for InProcess {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("InProcess").field("joined", &self.joined).finish_non_exhaustive()
    }
}

impl InProcess {
    /// A softswitch whose `config.local` names the engine in front of it. With `listen` it also serves neighbours over
    /// UDP in SIP at `config.own`, and in the other protocols where `config.listeners` says.
    ///
    /// # Errors
    /// A configuration that cannot be used (`InvalidInput`), and what the system reports.
    pub fn new(
        mut config: Config,
        aaa: RunnerConfig,
        listen: Option<SocketAddr>,
        witness: Option<Witness>,
    ) -> io::Result<Self> {
        let invalid = |e: portunus_softswitch::ConfigError| io::Error::new(io::ErrorKind::InvalidInput, e);
        let core = match &config.local {
            Some(local) => local.core,
            None => return Err(io::Error::new(io::ErrorKind::InvalidInput, "no engine is named in the configuration")),
        };
        let message_max = config.limits.message;
        let Listeners { mgcp, h248, ras } = &mut config.listeners;
        let own = (Protocol::Sip, listen, Some(&mut config.own));
        let beside = [(Protocol::Mgcp, *mgcp, mgcp.as_mut()), (Protocol::H248, *h248, h248.as_mut())];
        let all = [own].into_iter().chain(beside).chain([(Protocol::Ras, *ras, ras.as_mut())]);
        let mut neighbours = Vec::new();
        for (protocol, listen, bound) in all {
            let (Some(listen), Some(bound)) = (listen, bound) else { continue };
            let place = Neighbours::open(protocol, listen, message_max)?;
            *bound = place.port.local_addr()?;
            neighbours.push(place);
        }
        let behind = Ports::new(&config.behind, message_max);
        let softswitch = Softswitch::new(config, Box::new(SystemRandom::new())).map_err(invalid)?;
        let client = ClientRunner::new(aaa, Box::new(SystemRandom::new()), Box::new(SystemRandom::new()))?;
        let mut joined = Joined::new(softswitch, client);
        if let Some(witness) = witness {
            joined.watch(witness);
        }
        Ok(Self { joined, core, neighbours, behind, unopened: None, received: 0, sent: 0, dropped: 0 })
    }

    /// Carries questions and answers over, and what the softswitch wants sent to where it goes.
    fn work(&mut self, now: Now, up: &mut dyn Deliver) {
        self.joined.pump(now);
        let mut answer = [0u8; ANSWER];
        while let Some((protocol, to, bytes)) = self.joined.poll_send() {
            match to {
                Peer::LocalProxy | Peer::LocalLane(_) => {
                    let Some(arrival) = arrival(protocol, to, &bytes) else {
                        self.dropped += 1;
                        continue;
                    };
                    self.sent += 1;
                    // What the engine answers for itself comes back to the softswitch at once.
                    if let Delivered::Answer(n) = up.deliver(arrival, &mut answer)
                        && let Some(reply) = answer.get(..n)
                    {
                        self.joined.on_message(now, protocol, to, reply);
                    }
                }
                Peer::Udp(addr) => {
                    let place = self.neighbours.iter_mut().find(|n| n.protocol == protocol);
                    self.dropped += u64::from(!place.is_some_and(|n| n.push(addr, &bytes)));
                }
                Peer::Behind(lane, nth) => {
                    self.behind.iter_mut().for_each(|ports| ports.send(protocol, (lane, nth), &bytes));
                }
            }
        }
        while let Some((protocol, lane)) = self.joined.poll_left() {
            self.behind.iter_mut().for_each(|ports| ports.close(protocol, lane));
        }
        self.neighbours.iter_mut().for_each(Neighbours::flush);
        self.joined.aaa().flush(now);
    }

    fn read_neighbours(&mut self, now: Now, nth: usize) {
        let Some(n) = self.neighbours.get_mut(nth) else { return };
        for _ in 0..TURN {
            n.rx.clear();
            // An error of a datagram socket is about an earlier datagram; the next event goes on.
            let Ok(got) = n.port.recv(&mut n.rx) else { break };
            for (from, bytes) in n.rx.iter() {
                self.joined.on_message(now, n.protocol, Peer::Udp(from), bytes);
            }
            if got.drained {
                n.readable = false;
                return;
            }
        }
        n.readable = true;
    }

    fn read_behind(&mut self, now: Now) {
        if let Some(ports) = &mut self.behind {
            ports.read(|protocol, from, bytes| self.joined.on_message(now, protocol, from, bytes));
        }
    }
}

/// A message of the softswitch's for the engine, as the node takes it: a lane's virtual address names worker and lane.
fn arrival(protocol: Protocol, to: Peer, octets: &[u8]) -> Option<Arrival<'_>> {
    let Peer::LocalLane(address) = to else { return Some(Arrival::shared(protocol, octets)) };
    let (worker, lane) = Lane::of_virtual_address(address)?;
    Some(Arrival { worker, lane, ..Arrival::shared(protocol, octets) })
}

impl Neighbours {
    fn open(protocol: Protocol, listen: SocketAddr, message_max: usize) -> io::Result<Self> {
        let port = UdpPort::new(udp(listen, Buffers::default())?, BATCH);
        let (rx, tx) = (Batch::new(BATCH, message_max), Batch::new(BATCH * TURN, message_max));
        Ok(Self { protocol, port, token: Token(0), rx, tx, readable: false })
    }

    fn push(&mut self, to: SocketAddr, bytes: &[u8]) -> bool {
        if self.tx.is_full() {
            self.flush();
        }
        self.tx.push(to, bytes) == Pushed::Written
    }

    fn flush(&mut self) {
        if !self.tx.is_empty() {
            // What a full socket does not take waits in the batch.
            let _ = self.port.send(&mut self.tx);
        }
    }
}

impl Upstream for InProcess {
    fn start(&mut self, registry: &Registry, tokens: Range<usize>) -> io::Result<SocketAddr> {
        let mut next = tokens.start;
        for n in &mut self.neighbours {
            n.token = Token(next);
            registry.register(&mut n.port, n.token, mio::Interest::READABLE)?;
            next += 1;
        }
        if next + self.joined.aaa().tokens() > tokens.end {
            return Err(io::Error::other("too many links to the authentication centre"));
        }
        if let Some(ports) = &mut self.behind {
            let first = next + self.joined.aaa().tokens();
            if first + ports.limit() > tokens.end {
                return Err(io::Error::other("too many ports towards controllers and call agents"));
            }
            ports.start(registry, first)?;
        }
        self.unopened = Some((registry.try_clone()?, Token(next)));
        Ok(self.core)
    }

    fn send(&mut self, now: Now, message: CoreMessage<'_>) -> bool {
        self.received += 1;
        let from = match message.protocol {
            Protocol::Sip => Peer::LocalProxy,
            _ => Peer::LocalLane(message.lane.virtual_address(message.worker)),
        };
        self.joined.on_message(now, message.protocol, from, message.octets);
        true
    }

    fn flush(&mut self, now: Now, up: &mut dyn Deliver) {
        self.work(now, up);
    }

    fn on_ready(&mut self, now: Now, event: &Event, up: &mut dyn Deliver) {
        match self.neighbours.iter().position(|n| n.token == event.token()) {
            Some(nth) => self.read_neighbours(now, nth),
            None if self.behind.as_mut().is_some_and(|ports| ports.on_ready(event.token())) => self.read_behind(now),
            None => {
                self.joined.aaa().on_ready(now, event);
            }
        }
        self.work(now, up);
    }

    fn hungry(&self) -> bool {
        let behind = self.behind.as_ref().is_some_and(Ports::is_hungry);
        self.unopened.is_some() || behind || self.neighbours.iter().any(|n| n.readable)
    }

    fn on_timer(&mut self, now: Now, up: &mut dyn Deliver) {
        if let Some((registry, first)) = self.unopened.take() {
            // A link that cannot be opened now is tried again by the client's own timer.
            if let Err(e) = self.joined.aaa().register(&registry, first, now) {
                tracing::warn!(error = %e, "a link to the authentication centre could not be opened");
            }
        }
        for nth in 0..self.neighbours.len() {
            if self.neighbours.get(nth).is_some_and(|n| n.readable) {
                self.read_neighbours(now, nth);
            }
        }
        self.read_behind(now);
        self.joined.aaa().on_timer(now);
        self.joined.on_timer(now);
        self.work(now, up);
    }

    fn next_deadline(&self) -> Option<u64> {
        [self.joined.next_deadline(), self.joined.aaa_ref().next_deadline()].into_iter().flatten().min()
    }

    fn descriptors(&self) -> usize {
        DESCRIPTORS + self.behind.as_ref().map_or(0, Ports::limit)
    }

    fn readings(&self, show: &mut dyn FnMut(Reading)) {
        let gauges = self.joined.softswitch().gauges();
        let all = [
            ("direct_received", "Messages of the engine that reached the softswitch", Kind::Counter, self.received),
            ("direct_sent", "Messages of the softswitch handed to the engine", Kind::Counter, self.sent),
            ("direct_dropped", "Messages of the softswitch that nobody took", Kind::Counter, self.dropped),
            ("softswitch_identities", "Identities in the location table", Kind::Gauge, gauges.identities as u64),
            ("softswitch_challenges", "Challenges waiting for their answer", Kind::Gauge, gauges.challenges as u64),
            ("softswitch_asks", "Questions open at the AuC", Kind::Gauge, gauges.asks as u64),
            (
                "softswitch_registrars",
                "Registrars behind the softswitch that are up",
                Kind::Gauge,
                gauges.registrars as u64,
            ),
            (
                "softswitch_call_agents",
                "Call agents behind the softswitch that are up",
                Kind::Gauge,
                gauges.call_agents as u64,
            ),
            (
                "softswitch_controllers",
                "Controllers behind the softswitch that are up",
                Kind::Gauge,
                gauges.controllers as u64,
            ),
        ];
        for (name, help, kind, value) in all {
            show(Reading { name, help, kind, value });
        }
        for (name, help, value) in self.joined.softswitch().counters().told() {
            show(Reading { name, help, kind: Kind::Counter, value });
        }
        for (name, help, value) in self.behind.iter().flat_map(|ports| ports.counters().named()) {
            let kind = if name == "behind_open" { Kind::Gauge } else { Kind::Counter };
            show(Reading { name, help, kind, value });
        }
    }
}
