//! The server's ends with their sockets, on the caller's loop.

use super::datagrams::Datagrams;
use super::proof::Proof;
use super::stream::{Stream, Turn};
use crate::exchange::{AaaAnswer, AaaRequest};
use crate::server::{AskTicket, End, EndConfig, EndCounters, EndEffect, Origin, Port, Received};
use crate::transport::{Carrier, Transport};
use core::net::SocketAddr;
use mio::event::Event;
use mio::net::TcpListener;
use mio::{Interest, Registry, Token};
use portunus_keydist::{Now, Random};
use rustls::ServerConnection;
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

/// A handshake must be through within this.
const HANDSHAKE_MS: u64 = 5_000;
/// Connections that may exist at once on one listener; more are turned away.
const CONNECTIONS: usize = 256;

/// How a listener proves itself, and who may connect.
#[derive(Debug, Clone)]
pub struct ListenTls {
    /// From [`crate::tls::Identity::server`].
    pub config: Arc<rustls::ServerConfig>,
    /// Names that a client's certificate may be for. Empty: any certificate of the authorities does.
    pub names: Vec<String>,
}

/// One listener.
#[derive(Debug, Clone)]
pub struct Listen {
    /// What is spoken there.
    pub transport: &'static Transport,
    /// Authentication, or everything over TLS. Port 0: any.
    pub auth: SocketAddr,
    /// Accounting; over a connection not used. Port 0: any.
    pub acct: SocketAddr,
    /// For transports over TLS.
    pub tls: Option<ListenTls>,
    /// Who may ask by address (UDP, TCP), and how much is remembered of what was asked.
    pub end: EndConfig,
}

/// Names a question until it is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServerTicket {
    listener: usize,
    ticket: AskTicket,
}

/// A question.
#[derive(Debug, PartialEq, Eq)]
pub struct Asked {
    /// To answer it by.
    pub ticket: ServerTicket,
    /// Who asks, as the configuration or the certificate names it.
    pub client: Arc<str>,
    /// The question.
    pub request: AaaRequest,
}

enum Socket {
    /// Authentication and accounting.
    Udp(Box<[Datagrams; 2]>),
    Stream {
        listener: TcpListener,
        proof: Proof,
        connections: Vec<Option<Connection>>,
        accept_more: bool,
    },
}

struct Connection {
    stream: Stream,
    since: u64,
    number: u64,
    /// The name proved, and told to the end; `None` during the handshake.
    name: Option<Arc<str>>,
    peer: SocketAddr,
    more: bool,
}

struct Listener {
    transport: &'static Transport,
    end: Box<dyn End>,
    socket: Socket,
    /// First of its tokens, counted from the runner's first.
    base: usize,
}

/// All listeners of a server.
pub struct ServerRunner {
    listeners: Vec<Listener>,
    asked: VecDeque<Asked>,
    registry: Option<(Registry, usize)>,
    next_connection: u64,
}

impl core::fmt::Debug for ServerRunner {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("ServerRunner").field("addresses", &self.addresses()).finish_non_exhaustive()
    }
}

impl ServerRunner {
    /// Opens the listeners. `rng` makes one generator for each.
    ///
    /// # Errors
    /// An address that cannot be had, named; a listener over TLS without certificates.
    pub fn bind(listen: Vec<Listen>, rng: &mut dyn FnMut() -> Box<dyn Random + Send>) -> io::Result<Self> {
        let mut listeners = Vec::new();
        let mut base = 0;
        for l in listen {
            let at = |a: SocketAddr| move |e: io::Error| io::Error::new(e.kind(), format!("{a}: {e}"));
            let socket = match (l.transport.carrier, l.tls) {
                (Carrier::Datagram, _) => {
                    let open = |a| Datagrams::bind(a).map_err(at(a));
                    Socket::Udp(Box::new([open(l.auth)?, open(l.acct)?]))
                }
                (Carrier::Tls, Some(tls)) => connections(l.auth, Proof::Tls(tls)).map_err(at(l.auth))?,
                (Carrier::Tcp, _) => connections(l.auth, Proof::Address(l.end.clients.clone())).map_err(at(l.auth))?,
                (Carrier::Tls, None) => {
                    return Err(io::Error::new(io::ErrorKind::InvalidInput, "a TLS listener needs certificates"));
                }
            };
            let end = (l.transport.end)(l.end, rng());
            let listener = Listener { transport: l.transport, end, socket, base };
            base += listener.tokens();
            listeners.push(listener);
        }
        Ok(Self { listeners, asked: VecDeque::new(), registry: None, next_connection: 0 })
    }

    /// The addresses in use, in the order of the configuration: authentication, then accounting where it has a port
    /// of its own.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        let of = |l: &Listener| match &l.socket {
            Socket::Udp(ports) => ports.iter().map(Datagrams::local_addr).collect(),
            Socket::Stream { listener, .. } => vec![listener.local_addr()],
        };
        self.listeners.iter().flat_map(of).flatten().collect()
    }

    /// How many tokens [`ServerRunner::register`] takes.
    pub fn tokens(&self) -> usize {
        self.listeners.last().map_or(0, |l| l.base + l.tokens())
    }

    /// Puts the sockets on a loop, with the tokens `first` to `first + tokens()`.
    ///
    /// # Errors
    /// As the loop gives them.
    pub fn register(&mut self, registry: &Registry, first: Token) -> io::Result<usize> {
        self.registry = Some((registry.try_clone()?, first.0));
        for l in &mut self.listeners {
            let token = Token(first.0 + l.base);
            match &mut l.socket {
                Socket::Udp(ports) => {
                    for (n, port) in ports.iter_mut().enumerate() {
                        port.register(registry, Token(token.0 + n))?;
                    }
                }
                Socket::Stream { listener, .. } => registry.register(listener, token, Interest::READABLE)?,
            }
        }
        Ok(self.tokens())
    }

    /// One event of the loop; false when its token is not ours.
    pub fn on_ready(&mut self, now: Now, event: &Event) -> bool {
        let Some((registry, first)) = &self.registry else { return false };
        let Some(n) = event.token().0.checked_sub(*first) else { return false };
        let Some((index, l)) =
            self.listeners.iter_mut().enumerate().find(|(_, l)| (l.base..l.base + l.tokens()).contains(&n))
        else {
            return false;
        };
        let mut turn = TurnContext {
            now,
            index,
            registry,
            base: first + l.base,
            asked: &mut self.asked,
            next_connection: &mut self.next_connection,
        };
        l.read(n - l.base, &mut turn);
        true
    }

    /// The next question.
    pub fn poll_asked(&mut self) -> Option<Asked> {
        self.asked.pop_front()
    }

    /// Answers a question. The answer leaves with the next [`ServerRunner::flush`].
    pub fn answer(&mut self, now: Now, ticket: ServerTicket, answer: &AaaAnswer) {
        let Some(l) = self.listeners.get_mut(ticket.listener) else { return };
        let Some((origin, octets)) = l.end.answer(now, ticket.ticket, answer) else { return };
        send(&mut l.socket, &origin, octets);
    }

    /// Gives a question up: nothing is sent, and a repetition counts as new.
    pub fn abandon(&mut self, ticket: ServerTicket) {
        if let Some(l) = self.listeners.get_mut(ticket.listener) {
            l.end.abandon(ticket.ticket);
        }
    }

    /// Sends what is queued. To be called once a turn of the loop.
    pub fn flush(&mut self) {
        let Some((registry, _)) = &self.registry else { return };
        for l in &mut self.listeners {
            l.act(Some(registry));
            match &mut l.socket {
                Socket::Udp(ports) => ports.iter_mut().for_each(|port| port.out().flush()),
                Socket::Stream { connections, .. } => {
                    for place in connections {
                        if place.as_mut().is_some_and(|c| c.stream.flush().is_err()) {
                            drop_connection(registry, place, l.end.as_mut());
                        }
                    }
                }
            }
        }
    }

    /// Time has passed; due at [`ServerRunner::next_deadline`], harmless at any other time.
    pub fn on_timer(&mut self, now: Now) {
        let Some((registry, first)) = &self.registry else { return };
        for (index, l) in self.listeners.iter_mut().enumerate() {
            let mut turn = TurnContext {
                now,
                index,
                registry,
                base: first + l.base,
                asked: &mut self.asked,
                next_connection: &mut self.next_connection,
            };
            for n in l.left_over(now) {
                l.read(n, &mut turn);
            }
            if let Socket::Stream { connections, .. } = &mut l.socket {
                for place in connections {
                    let slow = |c: &Connection| c.name.is_none() && c.since + HANDSHAKE_MS <= now.mono_ms;
                    if place.as_ref().is_some_and(slow) {
                        drop_connection(registry, place, l.end.as_mut());
                    }
                }
            }
            if l.end.next_deadline().is_some_and(|at| at <= now.mono_ms) {
                l.end.on_timer(now);
            }
            l.act(Some(registry));
        }
    }

    /// When [`ServerRunner::on_timer`] is due, monotonic milliseconds.
    pub fn next_deadline(&self) -> Option<u64> {
        let of = |l: &Listener| match &l.socket {
            Socket::Udp(ports) => ports.iter().any(|port| port.more).then_some(0),
            Socket::Stream { accept_more: true, .. } => Some(0),
            Socket::Stream { connections, .. } => connections
                .iter()
                .flatten()
                .filter_map(|c| match (c.more, &c.name) {
                    (true, _) => Some(0),
                    (false, None) => Some(c.since + HANDSHAKE_MS),
                    _ => None,
                })
                .min(),
        };
        let ends = self.listeners.iter().filter_map(|l| l.end.next_deadline());
        self.listeners.iter().filter_map(of).chain(ends).min()
    }

    /// What each listener counted, in the order of the configuration.
    pub fn counters(&self) -> Vec<EndCounters> {
        self.listeners.iter().map(|l| l.end.counters()).collect()
    }
}

impl Drop for ServerRunner {
    /// Says goodbye where the protocol has a word for it; nobody waits for the answer.
    fn drop(&mut self) {
        for l in &mut self.listeners {
            l.end.farewell();
            l.act(None);
            match &mut l.socket {
                Socket::Udp(ports) => ports.iter_mut().for_each(|port| port.out().flush()),
                Socket::Stream { connections, .. } => {
                    connections.drain(..).flatten().for_each(|c| c.stream.close());
                }
            }
        }
    }
}

/// A listener for connections.
fn connections(at: SocketAddr, proof: Proof) -> io::Result<Socket> {
    let connections = (0..CONNECTIONS).map(|_| None).collect();
    Ok(Socket::Stream { listener: TcpListener::bind(at)?, proof, connections, accept_more: false })
}

struct TurnContext<'a> {
    now: Now,
    index: usize,
    registry: &'a Registry,
    base: usize,
    asked: &'a mut VecDeque<Asked>,
    next_connection: &'a mut u64,
}

impl TurnContext<'_> {
    fn ask(&mut self, ticket: AskTicket, client: Arc<str>, request: AaaRequest) {
        let ticket = ServerTicket { listener: self.index, ticket };
        self.asked.push_back(Asked { ticket, client, request });
    }
}

impl Listener {
    fn tokens(&self) -> usize {
        match &self.socket {
            Socket::Udp(ports) => ports.len(),
            Socket::Stream { .. } => 1 + CONNECTIONS,
        }
    }

    /// Tokens, counted from `base`, that had more to read than one turn allows.
    fn left_over(&self, _now: Now) -> Vec<usize> {
        match &self.socket {
            Socket::Udp(ports) => (0..2).filter(|n| ports.get(*n).is_some_and(|port| port.more)).collect(),
            Socket::Stream { connections, accept_more, .. } => {
                let more = connections.iter().enumerate().filter(|(_, c)| c.as_ref().is_some_and(|c| c.more));
                let more = more.map(|(n, _)| n + 1);
                accept_more.then_some(0).into_iter().chain(more).collect()
            }
        }
    }

    /// Does what the end wants by itself.
    fn act(&mut self, registry: Option<&Registry>) {
        while let Some(effect) = self.end.poll_effect() {
            match effect {
                EndEffect::Send { origin, octets } => send(&mut self.socket, &origin, &octets),
                EndEffect::Close { connection } => {
                    let Socket::Stream { connections, .. } = &mut self.socket else { continue };
                    let place = connections.iter_mut().find(|c| c.as_ref().is_some_and(|c| c.number == connection));
                    if let (Some(place), Some(registry)) = (place, registry) {
                        drop_connection(registry, place, self.end.as_mut());
                    }
                }
            }
        }
    }

    fn read(&mut self, n: usize, turn: &mut TurnContext<'_>) {
        match (&self.socket, n) {
            (Socket::Udp(_), _) => self.read_datagrams(n, turn),
            (Socket::Stream { .. }, 0) => self.accept(turn),
            (Socket::Stream { .. }, _) => self.read_connection(n - 1, turn),
        }
    }

    fn read_datagrams(&mut self, n: usize, turn: &mut TurnContext<'_>) {
        let Socket::Udp(ports) = &mut self.socket else { return };
        let port = if n == 0 { Port::Auth } else { Port::Acct };
        let (Some(socket), end) = (ports.get_mut(n), &mut self.end) else { return };
        socket.read(|peer, octets, out| match end.on_packet(turn.now, &Origin::Datagram { peer, port }, octets) {
            Received::Asked { ticket, client, request } => turn.ask(ticket, client, request),
            Received::Answer(octets) => out.send(peer, octets),
            Received::Nothing | Received::Close => {}
        });
    }

    fn accept(&mut self, turn: &mut TurnContext<'_>) {
        let Socket::Stream { listener, proof, connections, accept_more } = &mut self.socket else { return };
        *accept_more = false;
        for _ in 0..CONNECTIONS {
            let (mut socket, peer) = match listener.accept() {
                Ok(got) => got,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => continue,
            };
            if !proof.admits(peer) {
                continue;
            }
            // A full house turns newcomers away; those inside are proven, or gone in five seconds.
            let Some((slot, place)) = connections.iter_mut().enumerate().find(|(_, c)| c.is_none()) else { continue };
            let token = Token(turn.base + 1 + slot);
            let session = match proof {
                Proof::Tls(tls) => ServerConnection::new(tls.config.clone()).ok().map(|s| Some(s.into())),
                Proof::Address(_) => Some(None),
            };
            let Some(session) = session else { continue };
            if turn.registry.register(&mut socket, token, Interest::READABLE | Interest::WRITABLE).is_err() {
                continue;
            }
            let stream = Stream::new(socket, session, true);
            let number = *turn.next_connection;
            *turn.next_connection += 1;
            let since = turn.now.mono_ms;
            *place = Some(Connection { stream, since, number, name: None, peer, more: true });
        }
        *accept_more = true;
    }

    fn read_connection(&mut self, slot: usize, turn: &mut TurnContext<'_>) {
        let frame = self.transport.frame;
        let Socket::Stream { proof, connections, .. } = &mut self.socket else { return };
        let Some(place) = connections.get_mut(slot) else { return };
        let Some(c) = place.as_mut() else { return };
        let mut packets: Vec<Vec<u8>> = Vec::new();
        let read = c.stream.turn(frame, &mut |packet| packets.push(packet.to_vec()));
        if c.name.is_none() && c.stream.is_ready() {
            c.name = proof.name(&c.stream, c.peer);
            if c.name.is_none() {
                return drop_connection(turn.registry, place, self.end.as_mut());
            }
            self.end.on_connection(turn.now, c.number, c.stream.socket.local_addr().ok().map(|a| a.ip()));
        }
        let Some(name) = c.name.clone() else {
            c.more = matches!(read, Ok(Turn::More));
            if read.is_err() {
                drop_connection(turn.registry, place, self.end.as_mut());
            }
            return;
        };
        let origin = Origin::Stream { connection: c.number, name };
        let mut fine = read.is_ok();
        for packet in packets {
            match self.end.on_packet(turn.now, &origin, &packet) {
                Received::Asked { ticket, client, request } => turn.ask(ticket, client, request),
                Received::Answer(octets) => fine &= c.stream.send(octets).is_ok(),
                Received::Nothing => {}
                Received::Close => fine = false,
            }
        }
        fine &= c.stream.flush().is_ok();
        c.more = fine && matches!(read, Ok(Turn::More));
        if !fine {
            drop_connection(turn.registry, place, self.end.as_mut());
        }
    }
}

fn drop_connection(registry: &Registry, place: &mut Option<Connection>, end: &mut dyn End) {
    if let Some(mut c) = place.take() {
        end.on_connection(Now::default(), c.number, None);
        let _ = registry.deregister(&mut c.stream.socket);
        c.stream.close();
    }
}

fn send(socket: &mut Socket, origin: &Origin, octets: &[u8]) {
    match (socket, origin) {
        (Socket::Udp(ports), Origin::Datagram { peer, port }) => {
            let [auth, acct] = ports.as_mut();
            let socket = if *port == Port::Auth { auth } else { acct };
            socket.out().send(*peer, octets);
        }
        (Socket::Stream { connections, .. }, Origin::Stream { connection, .. }) => {
            if let Some(c) = connections.iter_mut().flatten().find(|c| c.number == *connection) {
                // A peer that does not read finds out at the next flush: the connection is closed there.
                let _ = c.stream.send(octets);
            }
        }
        _ => {}
    }
}
