//! The loop around an agent: a UDP socket for each phone's terminal, and under `tls` a connection for its session; a UDP
//! socket and a TCP listener for each place where phones reach it. Thin: every decision is in [`Agent`].

use crate::agent::{Agent, Effect, Notice};
use crate::config::{Config, ConfigError};
use crate::secured::{Happened, Secured};
use crate::way::Flow;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use core::time::Duration;
use mio::net::UdpSocket;
use mio::{Events, Interest, Poll, Token};
use portunus_io::listen::{tcp_group, udp_small};
use portunus_io::stream::{Frame, Framing, Scratch, StreamLimits, Streams};
use portunus_keydist::{Now, SystemRandom};
use portunus_sip::frame::{self, next_message};
use portunus_sip::view::MESSAGE_MAX;
use portunus_terminal::Path;
use std::io;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Datagrams read from one socket before the others have their turn.
const READS: usize = 64;
/// Longest datagram taken, octets.
const DATAGRAM_MAX: usize = 65_536;
/// Connections accepted in one turn.
const ACCEPTS: usize = 16;

/// How long the proxy may take to answer a sign of life, or a handshake, on a connection, milliseconds; ten seconds in
/// RFC 5626 section 4.4.1, and eight here as for one in datagrams.
const PATIENCE_MS: u64 = 8_000;

/// Why an agent cannot start.
#[derive(Debug)]
pub enum StartError {
    /// The configuration's fault.
    Config(ConfigError),
    /// A place where phones should reach it cannot be had.
    Listener(SocketAddr, io::Error),
    /// No way to the proxy.
    Route(SocketAddr, io::Error),
    /// The system's fault.
    System(io::Error),
}

impl core::fmt::Display for StartError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Config(e) => write!(f, "{e}"),
            Self::Listener(at, e) => write!(f, "listening on {at}: {e}"),
            Self::Route(to, e) => write!(f, "no route to {to}: {e}"),
            Self::System(e) => write!(f, "system: {e}"),
        }
    }
}

impl std::error::Error for StartError {}

struct Socket {
    socket: UdpSocket,
    /// False: nothing is left to read until the next readiness event.
    readable: bool,
}

/// An agent over sockets.
pub struct Runner {
    agent: Agent,
    poll: Poll,
    /// Of the phones' terminals, then of the listeners.
    sockets: Vec<Socket>,
    phones: usize,
    streams: Streams,
    secured: Secured,
    scratch: Scratch,
    room: Vec<u8>,
    rng: SystemRandom,
    start: Instant,
    wall_ms: u64,
    send_errors: u64,
}

impl core::fmt::Debug for Runner {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Runner").field("agent", &self.agent).finish_non_exhaustive()
    }
}

/// RFC 3261 section 18.3; a ping is handed on, since the agent answers it.
fn framed(octets: &[u8]) -> Frame {
    match next_message(octets) {
        frame::Frame::Message(len) | frame::Frame::Ping(len) => Frame::Message(len),
        frame::Frame::Pong(len) => Frame::Skip(len),
        frame::Frame::Incomplete => Frame::Incomplete,
        frame::Frame::Broken(_) => Frame::Broken,
    }
}

/// The address of ours that packets to `server` leave from: it stands in Via and Contact.
///
/// # Errors
/// There is no route.
pub fn source_towards(server: SocketAddr) -> io::Result<IpAddr> {
    let any: IpAddr = match server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = std::net::UdpSocket::bind((any, 0))?;
    // Connecting a datagram socket sends nothing: the system only chooses a route.
    socket.connect(server)?;
    Ok(socket.local_addr()?.ip())
}

impl Runner {
    /// Binds every socket. Nothing is sent before [`Runner::turn`] or [`Runner::open_all`].
    ///
    /// # Errors
    /// [`StartError`].
    pub fn new(mut config: Config) -> Result<Self, StartError> {
        let poll = Poll::new().map_err(StartError::System)?;
        let mut sockets = Vec::new();
        let mut locals = Vec::new();
        let gateways = config.gateways.iter().map(|of| (of.profile.server, of.list.len()));
        for (server, count) in [(config.profile.server, config.phones.len())].into_iter().chain(gateways) {
            if count == 0 {
                continue;
            }
            let local = source_towards(server).map_err(|e| StartError::Route(server, e))?;
            for _ in 0..count {
                let socket = udp_small(SocketAddr::new(local, 0)).map_err(StartError::System)?;
                locals.push(socket.local_addr().map_err(StartError::System)?);
                sockets.push(Socket { socket: UdpSocket::from_std(socket), readable: true });
            }
        }
        let phones = sockets.len();
        let listeners = config.listeners.len() + config.gateways.iter().map(|of| of.listeners.len()).sum::<usize>();
        // A phone may be silent from one registration to the next.
        let idle_ms = u64::from(config.profile.expires_s) * 1_000 + 60_000;
        let quiet_ms = u64::from(config.profile.probe_ms);
        let (connections, message_max) = (4 * phones.max(4), MESSAGE_MAX);
        let limits = StreamLimits { connections, message_max, idle_ms, ..StreamLimits::default() };
        let mut streams = Streams::new(limits, phones + listeners);
        let secured = Secured::new(phones, streams.tokens().end, quiet_ms, PATIENCE_MS);
        for (n, at) in (0u8..).zip(&mut config.listeners) {
            let cannot = |e: io::Error| StartError::Listener(*at, e);
            let socket = udp_small(*at).map_err(cannot)?;
            let bound = socket.local_addr().map_err(cannot)?;
            let tcp = tcp_group(bound, 1, 64).map_err(cannot)?;
            for tcp in tcp {
                streams.listen(poll.registry(), tcp, n, Framing::plain(framed)).map_err(cannot)?;
            }
            *at = bound;
            sockets.push(Socket { socket: UdpSocket::from_std(socket), readable: true });
        }
        for at in config.gateways.iter_mut().flat_map(|of| &mut of.listeners) {
            let cannot = |e: io::Error| StartError::Listener(*at, e);
            let socket = udp_small(*at).map_err(cannot)?;
            *at = socket.local_addr().map_err(cannot)?;
            sockets.push(Socket { socket: UdpSocket::from_std(socket), readable: true });
        }
        for (n, socket) in sockets.iter_mut().enumerate() {
            let registered = poll.registry().register(&mut socket.socket, Token(n), Interest::READABLE);
            registered.map_err(StartError::System)?;
        }
        let mut rng = SystemRandom::new();
        let agent = Agent::new(config, &locals, &mut rng).map_err(StartError::Config)?;
        let wall_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64;
        let (scratch, room) = (streams.scratch(), vec![0; DATAGRAM_MAX]);
        let start = Instant::now();
        Ok(Self { agent, poll, sockets, phones, streams, secured, scratch, room, rng, start, wall_ms, send_errors: 0 })
    }

    /// The agent, to look at.
    pub fn agent(&self) -> &Agent {
        &self.agent
    }

    /// Where phones reach it, as bound.
    pub fn listeners(&self) -> &[SocketAddr] {
        self.agent.listeners()
    }

    /// Messages that the system did not take.
    pub fn send_errors(&self) -> u64 {
        self.send_errors
    }

    fn now(&self) -> Now {
        let mono_ms = self.start.elapsed().as_millis() as u64;
        Now { mono_ms, wall_ms: self.wall_ms + mono_ms }
    }

    /// [`Agent::open_all`].
    pub fn open_all(&mut self) {
        let now = self.now();
        self.agent.open_all(now, &mut self.rng);
    }

    /// [`Agent::close_all`].
    pub fn close_all(&mut self) {
        let now = self.now();
        self.agent.close_all(now, &mut self.rng);
    }

    /// Does what there is to do, having waited for it for `most` at most. `tell` hears of every phone's notices.
    ///
    /// # Errors
    /// What the system reports about the poll itself; what concerns one message is counted.
    pub fn turn(&mut self, most: Duration, tell: &mut dyn FnMut(&str, &Notice)) -> io::Result<()> {
        self.act(tell);
        let hungry = self.streams.hungry() || self.sockets.iter().any(|s| s.readable);
        let dues = [self.agent.next_deadline(), self.streams.next_deadline(), self.secured.next_deadline()];
        let due = dues.into_iter().flatten().min();
        let until_due = due.map_or(most, |at| Duration::from_millis(at.saturating_sub(self.now().mono_ms)));
        let mut events = Events::with_capacity(64);
        match self.poll.poll(&mut events, Some(if hungry { Duration::ZERO } else { most.min(until_due) })) {
            Err(e) if e.kind() != io::ErrorKind::Interrupted => return Err(e),
            _ => {}
        }
        for event in &events {
            match self.sockets.get_mut(event.token().0) {
                Some(socket) => socket.readable = true,
                None if self.streams.tokens().contains(&event.token().0) => self.streams.on_event(event),
                None => self.on_secured(event.token(), tell),
            }
        }
        for n in 0..self.sockets.len() {
            self.receive(n, tell);
        }
        self.receive_streams(tell);
        let now = self.now();
        self.streams.on_timer(now.mono_ms);
        for (phone, kid) in self.secured.on_timer(now.mono_ms) {
            self.secured_lost(phone, kid);
        }
        self.agent.on_timer(now, &mut self.rng);
        self.act(tell);
        Ok(())
    }

    fn receive(&mut self, n: usize, tell: &mut dyn FnMut(&str, &Notice)) {
        for _ in 0..READS {
            let now = self.now();
            let Some(socket) = self.sockets.get_mut(n).filter(|s| s.readable) else { return };
            let (len, from) = match socket.socket.recv_from(&mut self.room) {
                Ok(got) => got,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    socket.readable = false;
                    return;
                }
                // An asynchronous error of an earlier datagram (ICMP): the next read says more.
                Err(_) => continue,
            };
            let octets = self.room.get_mut(..len).unwrap_or_default();
            match n.checked_sub(self.phones) {
                None => self.agent.on_proxy(now, &mut self.rng, n, from, octets),
                Some(listener) => {
                    let flow = Flow { listener, peer: from, stream: None };
                    self.agent.on_phone(now, &mut self.rng, flow, octets);
                }
            }
            self.act(tell);
        }
    }

    fn receive_streams(&mut self, tell: &mut dyn FnMut(&str, &Notice)) {
        let now = self.now();
        self.streams.accept(self.poll.registry(), now.mono_ms, ACCEPTS);
        for _ in 0..READS {
            let Some(turn) = self.streams.turn(now.mono_ms, &mut self.scratch) else { break };
            let flow = Flow { listener: turn.listener.into(), peer: turn.peer, stream: Some(turn.conn) };
            for message in self.scratch.messages() {
                self.agent.on_phone(now, &mut self.rng, flow, message);
            }
            self.act(tell);
        }
        self.streams.flush();
    }

    /// Something happened on the connection of a session.
    fn on_secured(&mut self, token: Token, tell: &mut dyn FnMut(&str, &Notice)) {
        let now = self.now();
        let Some(Happened { phone, kid, turn }) = self.secured.on_event(token, now.mono_ms) else { return };
        if turn.opened {
            self.agent.on_secured(now, &mut self.rng, phone, kid);
        }
        for message in turn.messages {
            self.agent.on_inside(now, &mut self.rng, phone, kid, &message);
        }
        if turn.lost {
            self.secured_lost(phone, kid);
        }
        self.act(tell);
    }

    fn secured_lost(&mut self, phone: usize, kid: u64) {
        let now = self.now();
        self.secured.drop_lost(self.poll.registry(), phone, kid);
        self.agent.on_secured_lost(now, &mut self.rng, phone, kid);
    }

    fn connect(&mut self, phone: usize, kid: u64) {
        let now = self.now();
        let Some(key) = self.agent.connection_key(phone, kid) else { return };
        if self
            .secured
            .connect(self.poll.registry(), now.mono_ms, (phone, kid, self.agent.protocol(phone)), key)
            .is_err()
        {
            self.secured_lost(phone, kid);
        }
    }

    /// Carries the agent's effects out.
    fn act(&mut self, tell: &mut dyn FnMut(&str, &Notice)) {
        while let Some(effect) = self.agent.poll() {
            match effect {
                Effect::ToProxy { phone, path: Path::Secured { kid }, octets, .. } => {
                    match self.secured.send(phone, kid, &octets) {
                        Ok(sent) => self.send_errors += u64::from(!sent),
                        Err(_) => self.secured_lost(phone, kid),
                    }
                }
                Effect::ToProxy { phone, to, octets, .. } => self.send(phone, to, &octets),
                Effect::Connect { phone, kid } => self.connect(phone, kid),
                Effect::HangUp { phone, kid } => self.secured.hang_up(self.poll.registry(), phone, kid),
                Effect::ToPhone { flow: Flow { listener, peer, stream: None }, octets } => {
                    self.send(self.phones + listener, peer, &octets);
                }
                Effect::ToPhone { flow, octets } => self.send_stream(flow, &octets),
                Effect::Tell { phone, notice } => tell(self.agent.id(phone), &notice),
            }
        }
        self.streams.flush();
    }

    fn send(&mut self, socket: usize, to: SocketAddr, octets: &[u8]) {
        let sent = self.sockets.get(socket).map(|s| s.socket.send_to(octets, to));
        self.send_errors += u64::from(!matches!(sent, Some(Ok(_))));
    }

    fn send_stream(&mut self, flow: Flow, octets: &[u8]) {
        let put = |room: &mut [u8]| {
            room.get_mut(..octets.len())?.copy_from_slice(octets);
            Some(octets.len())
        };
        let queued = self.streams.write_with(flow.stream.unwrap_or(0), octets.len(), put);
        if queued.is_err() {
            let now = self.now();
            self.agent.on_undelivered(now, &mut self.rng, flow, octets);
        }
    }
}
