//! The client with its sockets: a source port or a connection a lane, on the caller's loop.

use super::stream::{Stream, Turn};
use super::{DATAGRAM_MAX, TURN};
use crate::client::link::{Health, LinkConfig, LinkCounters, Timing};
use crate::client::{Client, ClientCounters, Effect, LaneId, Limits};
use crate::exchange::{AaaEvent, AaaRequest, Refused, RequestId};
use crate::node::Node;
use crate::realms::Realms;
use crate::secret::SharedSecret;
use crate::transport::{Carrier, Transport};
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use mio::event::Event;
use mio::net::{TcpStream, UdpSocket};
use mio::{Interest, Registry, Token};
use portunus_keydist::{Now, Random};
use rustls::ClientConnection;
use rustls::pki_types::ServerName;
use std::io;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// First pause before a connection is tried again, doubling, ± 25 %.
const BACKOFF_MS: u64 = 250;
/// The doubling stops here.
const BACKOFF_MAX_MS: u64 = 15_000;
/// A connection must be made, handshake included, within this.
const CONNECT_MS: u64 = 5_000;
/// A connection that lived this long was a good one: the pause starts small again.
const GOOD_MS: u64 = 5_000;

/// How to prove ourselves to a server, and what its certificate must say.
#[derive(Debug, Clone)]
pub struct TlsPeer {
    /// From [`crate::tls::Identity::client`].
    pub config: Arc<rustls::ClientConfig>,
    /// The name or address in the server's certificate.
    pub name: ServerName<'static>,
}

/// One server, the preferred first.
#[derive(Debug, Clone)]
pub struct ServerPeer {
    /// How to reach it.
    pub transport: &'static Transport,
    /// Where authentication goes.
    pub auth: SocketAddr,
    /// Where accounting goes; over a connection not used.
    pub acct: SocketAddr,
    /// The shared secret; [`SharedSecret::radsec`] over TLS.
    pub secret: SharedSecret,
    /// For transports over TLS.
    pub tls: Option<TlsPeer>,
    /// Source ports or connections, where the transport has several.
    pub lanes: u16,
    /// Realms that it leads to; none: all.
    pub realms: Vec<Arc<str>>,
    /// Most requests outstanding at this server.
    pub window: usize,
    /// Times.
    pub timing: Timing,
}

/// What a client is made from.
#[derive(Debug, Clone)]
pub struct RunnerConfig {
    /// The servers, the preferred first.
    pub servers: Vec<ServerPeer>,
    /// NAS-Identifier or Origin-Host: IDss, or IDsp where the proxy asks.
    pub nas_identifier: String,
    /// Whose subscribers are whose: our own realm is Origin-Realm where the protocol has one.
    pub realms: Realms,
    /// Limits over all servers.
    pub limits: Limits,
}

enum Socket {
    Udp(UdpSocket),
    /// Not connected; to be tried again at this time.
    Idle(u64),
    Stream {
        stream: Box<Stream>,
        since: u64,
        up: bool,
    },
}

struct Lane {
    id: LaneId,
    socket: Socket,
    backoff: u64,
    more: bool,
}

/// The client and its sockets. Requests go out with the next [`ClientRunner::flush`], [`ClientRunner::on_ready`] or
/// [`ClientRunner::on_timer`], so that a batch of them costs one write a connection.
pub struct ClientRunner {
    config: RunnerConfig,
    client: Client,
    lanes: Vec<Lane>,
    registry: Option<(Registry, usize)>,
    rng: Box<dyn Random + Send>,
    buf: Vec<u8>,
}

impl core::fmt::Debug for ClientRunner {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("ClientRunner").field("client", &self.client).finish_non_exhaustive()
    }
}

impl ClientRunner {
    /// Opens the datagram sockets; connections are begun by [`ClientRunner::register`]. Two generators, because the
    /// client owns one.
    ///
    /// # Errors
    /// No socket to be had, or a server over TLS without [`TlsPeer`] (the configuration's fault).
    pub fn new(
        config: RunnerConfig,
        client_rng: Box<dyn Random + Send>,
        mut rng: Box<dyn Random + Send>,
    ) -> io::Result<Self> {
        let unix_s = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs() as u32);
        let realms = Arc::new(config.realms.clone());
        let first_end_to_end = Node::end_to_end(unix_s, rng.next_u64() as u32);
        let mut links = Vec::new();
        let mut lanes = Vec::new();
        for (server, peer) in config.servers.iter().enumerate() {
            let stream = peer.transport.carrier.is_stream();
            let count = if peer.transport.one_lane { 1 } else { peer.lanes.max(1) };
            if peer.transport.carrier == Carrier::Tls && peer.tls.is_none() {
                return Err(io::Error::new(io::ErrorKind::InvalidInput, "a server over TLS needs certificates"));
            }
            links.push((peer.transport.link)(LinkConfig {
                auth: peer.auth,
                acct: if stream { peer.auth } else { peer.acct },
                secret: peer.secret.clone(),
                nas_identifier: config.nas_identifier.clone(),
                lanes: count,
                window: peer.window,
                stream,
                node: Node {
                    host: config.nas_identifier.as_str().into(),
                    realm: config.realms.own().clone(),
                    realms: realms.clone(),
                    state_id: unix_s,
                    first_end_to_end,
                    address: source_towards(peer.auth)?,
                },
                realms: peer.realms.clone(),
                timing: peer.timing,
            }));
            for lane in 0..count {
                let socket = if stream { Socket::Idle(0) } else { Socket::Udp(source_port(peer.auth.ip())?) };
                let id = LaneId { server: server as u16, lane };
                lanes.push(Lane { id, socket, backoff: BACKOFF_MS, more: false });
            }
        }
        let client = Client::routed(links, realms, config.limits, client_rng);
        Ok(Self { config, client, lanes, registry: None, rng, buf: vec![0; DATAGRAM_MAX] })
    }

    /// How many tokens [`ClientRunner::register`] takes.
    pub fn tokens(&self) -> usize {
        self.lanes.len()
    }

    /// Puts the sockets on a loop, with the tokens `first` to `first + tokens()`, and begins to connect.
    ///
    /// # Errors
    /// As the loop gives them.
    pub fn register(&mut self, registry: &Registry, first: Token, now: Now) -> io::Result<usize> {
        self.registry = Some((registry.try_clone()?, first.0));
        for (n, lane) in self.lanes.iter_mut().enumerate() {
            if let Socket::Udp(socket) = &mut lane.socket {
                registry.register(socket, Token(first.0 + n), Interest::READABLE)?;
            }
        }
        self.on_timer(now);
        Ok(self.lanes.len())
    }

    /// Asks; see [`Client::request`].
    ///
    /// # Errors
    /// [`Refused`].
    pub fn request(&mut self, now: Now, request: AaaRequest) -> Result<RequestId, Refused> {
        self.client.request(now, request)
    }

    /// The next thing that became of a request.
    pub fn poll_event(&mut self) -> Option<AaaEvent> {
        self.client.poll_event()
    }

    /// One event of the loop; false when its token is not ours.
    pub fn on_ready(&mut self, now: Now, event: &Event) -> bool {
        let Some((_, first)) = &self.registry else { return false };
        let Some(n) = event.token().0.checked_sub(*first).filter(|n| *n < self.lanes.len()) else { return false };
        self.read(now, n);
        self.flush(now);
        true
    }

    /// Time has passed; due at [`ClientRunner::next_deadline`], harmless at any other time.
    pub fn on_timer(&mut self, now: Now) {
        self.client.on_timer(now);
        for n in 0..self.lanes.len() {
            let Some(lane) = self.lanes.get(n) else { continue };
            match &lane.socket {
                Socket::Idle(at) if *at <= now.mono_ms => self.connect(now, n),
                Socket::Stream { up: false, since, .. } if since + CONNECT_MS <= now.mono_ms => self.lost(now, n),
                _ if lane.more => self.read(now, n),
                _ => {}
            }
        }
        self.flush(now);
    }

    /// When [`ClientRunner::on_timer`] is due, monotonic milliseconds.
    pub fn next_deadline(&self) -> Option<u64> {
        let lanes = self.lanes.iter().filter_map(|l| match &l.socket {
            _ if l.more => Some(0),
            Socket::Idle(at) => Some(*at),
            Socket::Stream { up: false, since, .. } => Some(since + CONNECT_MS),
            _ => None,
        });
        lanes.chain(self.client.next_deadline()).min()
    }

    /// Sends what is to be sent.
    pub fn flush(&mut self, now: Now) {
        // Bounded: a broken connection takes its requests elsewhere, and each server breaks at most once a call.
        for _ in 0..=self.lanes.len() {
            let mut broken = self.send_all();
            for (n, lane) in self.lanes.iter_mut().enumerate() {
                let flushed = match &mut lane.socket {
                    Socket::Stream { stream, .. } => stream.flush(),
                    _ => Ok(()),
                };
                if flushed.is_err() {
                    broken.push(n);
                }
            }
            if broken.is_empty() {
                return;
            }
            for n in broken {
                self.lost(now, n);
            }
        }
    }

    /// Gives every packet to its socket; the lanes that are broken, or to be closed, come back.
    fn send_all(&mut self) -> Vec<usize> {
        let mut broken = Vec::new();
        while let Some(effect) = self.client.poll_effect() {
            let (Effect::Send { lane: id, .. } | Effect::Close { lane: id }) = effect;
            let Some((n, lane)) = self.lanes.iter_mut().enumerate().find(|(_, l)| l.id == id) else { continue };
            match (&mut lane.socket, effect) {
                (Socket::Udp(socket), Effect::Send { to, bytes, .. }) => {
                    // What a full socket buffer refuses is repeated like what the network loses.
                    let _ = socket.send_to(bytes, to);
                }
                (Socket::Stream { stream, up: true, .. }, Effect::Send { bytes, .. }) => {
                    let sent = stream.send(bytes);
                    broken.extend(sent.is_err().then_some(n));
                }
                (Socket::Stream { .. }, Effect::Close { .. }) => broken.push(n),
                _ => {}
            }
        }
        broken
    }

    fn read(&mut self, now: Now, n: usize) {
        let Some(lane) = self.lanes.get_mut(n) else { return };
        lane.more = false;
        let id = lane.id;
        match &mut lane.socket {
            Socket::Idle(_) => {}
            Socket::Udp(socket) => {
                for _ in 0..TURN {
                    match socket.recv_from(&mut self.buf) {
                        Ok((len, from)) => {
                            let packet = self.buf.get(..len).unwrap_or_default();
                            self.client.on_packet(now, id, from, packet);
                        }
                        Err(e) if e.kind() == io::ErrorKind::WouldBlock => return,
                        // ICMP's errors say nothing that silence would not.
                        Err(_) => {}
                    }
                }
                lane.more = true;
            }
            Socket::Stream { stream, up, .. } => {
                let Some(peer) = self.config.servers.get(usize::from(id.server)) else { return };
                let client = &mut self.client;
                let turn =
                    stream.turn(peer.transport.frame, &mut |packet| client.on_packet(now, id, peer.auth, packet));
                if stream.is_ready() && !*up && turn.is_ok() {
                    *up = true;
                    self.client.on_lane(now, id, true);
                }
                match turn {
                    Ok(turn) => lane.more = turn == Turn::More,
                    Err(_) => self.lost(now, n),
                }
            }
        }
    }

    fn connect(&mut self, now: Now, n: usize) {
        let Some((registry, first)) = &self.registry else { return };
        let Some(lane) = self.lanes.get_mut(n) else { return };
        let Some(peer) = self.config.servers.get(usize::from(lane.id.server)) else { return };
        let open = || -> io::Result<Stream> {
            let mut socket = TcpStream::connect(peer.auth)?;
            registry.register(&mut socket, Token(first + n), Interest::READABLE | Interest::WRITABLE)?;
            let tls = match &peer.tls {
                Some(tls) if peer.transport.carrier == Carrier::Tls => {
                    let tls = ClientConnection::new(tls.config.clone(), tls.name.clone());
                    Some(tls.map_err(io::Error::other)?.into())
                }
                _ => None,
            };
            Ok(Stream::new(socket, tls, false))
        };
        match open() {
            Ok(stream) => {
                lane.socket = Socket::Stream { stream: Box::new(stream), since: now.mono_ms, up: false };
            }
            Err(_) => self.lost(now, n),
        }
    }

    /// A connection is gone or was not made: again after a pause.
    fn lost(&mut self, now: Now, n: usize) {
        let Some(lane) = self.lanes.get_mut(n) else { return };
        if let Socket::Stream { since, up: true, .. } = &lane.socket
            && now.mono_ms >= since + GOOD_MS
        {
            lane.backoff = BACKOFF_MS;
        }
        let span = lane.backoff / 4;
        let pause = lane.backoff - span + self.rng.next_u64() % (2 * span + 1);
        lane.backoff = (lane.backoff * 2).min(BACKOFF_MAX_MS);
        lane.more = false;
        if let Socket::Stream { stream, .. } = std::mem::replace(&mut lane.socket, Socket::Idle(now.mono_ms + pause)) {
            let mut stream = stream;
            if let Some((registry, _)) = &self.registry {
                let _ = registry.deregister(&mut stream.socket);
            }
            stream.close();
        }
        let id = lane.id;
        self.client.on_lane(now, id, false);
    }

    /// How a server stands, in the order of the configuration.
    pub fn health(&self, server: usize) -> Option<Health> {
        self.client.health(server)
    }

    /// What was counted.
    pub fn counters(&self) -> ClientCounters {
        self.client.counters()
    }

    /// What one server's link counted.
    pub fn link_counters(&self, server: usize) -> Option<LinkCounters> {
        self.client.link_counters(server)
    }
}

impl Drop for ClientRunner {
    /// Says goodbye where the protocol has a word for it; nobody waits for the answer.
    fn drop(&mut self) {
        self.client.farewell();
        self.send_all();
        for lane in &mut self.lanes {
            if let Socket::Stream { stream, .. } = std::mem::replace(&mut lane.socket, Socket::Idle(u64::MAX)) {
                stream.close();
            }
        }
    }
}

/// The address that we have towards a server, as the host routes; nothing is sent.
fn source_towards(server: SocketAddr) -> io::Result<IpAddr> {
    let socket = std::net::UdpSocket::bind(any(server.ip()))?;
    // A server that cannot be reached now may be later.
    let _ = socket.connect(server);
    Ok(socket.local_addr()?.ip())
}

/// A fresh source port of the right family.
fn source_port(towards: IpAddr) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind(any(towards))?;
    // Answers come in bursts; the kernel grants what it may.
    let _ = socket2::SockRef::from(&socket).set_recv_buffer_size(1 << 20);
    Ok(socket)
}

/// Any address of the family, any port.
fn any(towards: IpAddr) -> SocketAddr {
    let any = if towards.is_ipv4() { IpAddr::V4(Ipv4Addr::UNSPECIFIED) } else { IpAddr::V6(Ipv6Addr::UNSPECIFIED) };
    SocketAddr::new(any, 0)
}
