//! The loop around a softswitch: one thread, one UDP socket a protocol towards the neighbours, one AAA client, and the
//! ports towards call agents and controllers of somebody else's where there are any.
//! Thin: every decision is in [`Softswitch`].

use crate::config::{Config, Listeners};
use crate::counters::Counters;
use crate::joined::{Joined, Questions, Witness};
use crate::peers::Peer;
use crate::ports::{PortCounters, Ports};
use crate::state::Gauges;
use crate::switch::Softswitch;
use core::net::SocketAddr;
use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use mio::{Events, Interest, Poll, Registry, Token, Waker};
use portunus_aaa::client::ClientCounters;
use portunus_aaa::net::{ClientRunner, RunnerConfig};
use portunus_aaa::{AaaEvent, AaaRequest, Refused, RequestId};
use portunus_io::listen::{Buffers, udp};
use portunus_io::{Batch, Pushed, Rx as _, Tx as _, UdpPort};
use portunus_keydist::{Now, SystemRandom};
use portunus_signalling::Protocol;
use std::io;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

impl Questions for ClientRunner {
    fn request(&mut self, now: Now, request: AaaRequest) -> Result<RequestId, Refused> {
        Self::request(self, now, request)
    }

    fn poll_event(&mut self) -> Option<AaaEvent> {
        Self::poll_event(self)
    }
}

/// Messages moved by one system call at most.
const BATCH: usize = 64;
/// Datagrams read by one system call at most; each may bring many messages, joined.
const JOINED: usize = 32;
/// Batches read before everything else has its turn.
const TURN: usize = 16;
/// Batches that may wait to be sent by a socket other than SIP's.
const TURN_OTHERS: usize = 4;
/// How often the numbers for the outside are renewed.
const SNAPSHOT: Duration = Duration::from_millis(250);
/// Patience with a socket that takes no more.
const BLOCKED: Duration = Duration::from_millis(1);

const WAKE: Token = Token(0);
/// The first of the AAA client's; before it, the numbers of the protocols.
const AAA: Token = Token(5);

/// What a running softswitch shows.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// The softswitch's counters.
    pub counters: Counters,
    /// How full its tables are.
    pub gauges: Gauges,
    /// The AAA client's counters.
    pub aaa: ClientCounters,
    /// Messages dropped because the socket took no more.
    pub send_full: u64,
    /// The ports towards call agents and controllers of somebody else's.
    pub behind: PortCounters,
}

struct Shared {
    stop: AtomicBool,
    snapshot: Mutex<Snapshot>,
}

/// A running softswitch. Dropping it stops it.
pub struct Handle {
    address: SocketAddr,
    listeners: Listeners,
    shared: Arc<Shared>,
    waker: Arc<Waker>,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl core::fmt::Debug for Handle {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Handle").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Handle {
    /// Where neighbours reach it in SIP.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where neighbours reach it in the other protocols.
    pub fn listeners(&self) -> Listeners {
        self.listeners
    }

    /// Its numbers, at most a quarter of a second old.
    pub fn snapshot(&self) -> Snapshot {
        self.shared.snapshot.lock().map(|s| s.clone()).unwrap_or_default()
    }

    /// True while it runs; false when its socket failed it, which [`Handle::stop`] tells more about.
    pub fn is_running(&self) -> bool {
        self.thread.as_ref().is_some_and(|t| !t.is_finished())
    }

    /// Stops it and waits for its end.
    ///
    /// # Errors
    /// Why its loop had ended by itself.
    pub fn stop(mut self) -> io::Result<()> {
        self.end()
    }

    fn end(&mut self) -> io::Result<()> {
        self.shared.stop.store(true, Ordering::Relaxed);
        let woken = self.waker.wake();
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(result)) => result.and(woken),
            Some(Err(_)) => Err(io::Error::other("the softswitch's thread panicked")),
            None => Ok(()),
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        // Whoever wants to know why it ended calls `stop`.
        let _ = self.end();
    }
}

/// Starts a softswitch on a thread of its own, bound to `config.own` and `config.listeners`; port 0 there finds a free
/// one, and the address found is then its own.
///
/// # Errors
/// A configuration that cannot be used (`InvalidInput`), and what the system reports.
pub fn start(config: Config, aaa: RunnerConfig) -> io::Result<Handle> {
    start_watched(config, aaa, None)
}

/// As [`start`], with somebody looking on.
///
/// # Errors
/// As [`start`].
pub fn start_watched(mut config: Config, aaa: RunnerConfig, witness: Option<Witness>) -> io::Result<Handle> {
    let poll = Poll::new()?;
    let ports = bind(&mut config, poll.registry())?;
    let (address, listeners) = (config.own, config.listeners);
    let behind = Ports::new(&config.behind, config.limits.message);
    let softswitch = Softswitch::new(config, Box::new(SystemRandom::new()))
        .map_err(|e| io::Error::new(io::ErrorKind::InvalidInput, e))?;
    let client = ClientRunner::new(aaa, Box::new(SystemRandom::new()), Box::new(SystemRandom::new()))?;
    let waker = Arc::new(Waker::new(poll.registry(), WAKE)?);
    let shared = Arc::new(Shared { stop: AtomicBool::new(false), snapshot: Mutex::default() });
    let mut run = Loop {
        poll,
        ports,
        behind,
        rx: Batch::coalescing(JOINED),
        joined: Joined::new(softswitch, client),
        started: Instant::now(),
        send_full: 0,
        shared: shared.clone(),
    };
    if let Some(witness) = witness {
        run.joined.watch(witness);
    }
    let now = run.now();
    run.joined.aaa().register(run.poll.registry(), AAA, now)?;
    let first = AAA.0 + run.joined.aaa().tokens();
    run.behind.as_mut().map_or(Ok(()), |ports| ports.start(run.poll.registry(), first))?;
    let thread = std::thread::Builder::new().name("softswitch".into()).spawn(move || run.run())?;
    Ok(Handle { address, listeners, shared, waker, thread: Some(thread) })
}

/// A socket and what waits to be sent by it.
struct Port {
    protocol: Protocol,
    socket: UdpPort,
    tx: Batch,
    /// True while something may wait to be read.
    readable: bool,
}

fn token(protocol: Protocol) -> Token {
    Token(usize::from(protocol as u8))
}

/// Binds every listener and writes the addresses found into the configuration.
fn bind(config: &mut Config, registry: &Registry) -> io::Result<Vec<Port>> {
    let message_max = config.limits.message;
    let Listeners { mgcp, h248, ras } = &mut config.listeners;
    let wanted = [
        (Protocol::Sip, Some(&mut config.own)),
        (Protocol::Mgcp, mgcp.as_mut()),
        (Protocol::H248, h248.as_mut()),
        (Protocol::Ras, ras.as_mut()),
    ];
    let mut ports = Vec::new();
    for (protocol, addr) in wanted {
        let Some(addr) = addr else { continue };
        let socket = udp(*addr, Buffers::default())?;
        *addr = socket.local_addr()?;
        let mut socket = UdpPort::new(socket, BATCH);
        // Few neighbours, many messages to each: they pass the system joined where it can do that.
        socket.coalesce();
        registry.register(&mut socket, token(protocol), Interest::READABLE)?;
        let waiting = if protocol == Protocol::Sip { TURN } else { TURN_OTHERS };
        ports.push(Port { protocol, socket, tx: Batch::new(BATCH * waiting, message_max), readable: false });
    }
    Ok(ports)
}

struct Loop {
    poll: Poll,
    ports: Vec<Port>,
    behind: Option<Ports>,
    rx: Batch,
    joined: Joined<ClientRunner>,
    started: Instant,
    send_full: u64,
    shared: Arc<Shared>,
}

impl Loop {
    fn now(&self) -> Now {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Now { mono_ms: self.started.elapsed().as_millis() as u64, wall_ms: wall.as_millis() as u64 }
    }

    fn run(&mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(256);
        let mut renewed = Instant::now();
        while !self.shared.stop.load(Ordering::Relaxed) {
            let timeout = self.timeout();
            match self.poll.poll(&mut events, Some(timeout)) {
                Err(e) if e.kind() != io::ErrorKind::Interrupted => return Err(e),
                _ => {}
            }
            let now = self.now();
            for event in &events {
                match event.token() {
                    WAKE => {}
                    Token(n) if n < AAA.0 => {
                        self.ports.iter_mut().filter(|p| token(p.protocol).0 == n).for_each(|p| p.readable = true);
                    }
                    token if self.behind.as_mut().is_some_and(|ports| ports.on_ready(token)) => {}
                    _ => {
                        self.joined.aaa().on_ready(now, event);
                    }
                }
            }
            self.receive(now)?;
            if self.joined.aaa().next_deadline().is_some_and(|due| due <= now.mono_ms) {
                self.joined.aaa().on_timer(now);
            }
            self.joined.pump(now);
            if self.joined.next_deadline().is_some_and(|due| due <= now.mono_ms) {
                self.joined.on_timer(now);
            }
            self.joined.aaa().flush(now);
            self.send()?;
            if renewed.elapsed() >= SNAPSHOT {
                renewed = Instant::now();
                self.show();
            }
        }
        self.show();
        Ok(())
    }

    /// How long nothing needs to be done: as long as nothing is due, and no longer than the numbers may be old.
    fn timeout(&mut self) -> Duration {
        if self.ports.iter().any(|p| p.readable) || self.behind.as_ref().is_some_and(Ports::is_hungry) {
            return Duration::ZERO;
        }
        if self.ports.iter().any(|p| !p.tx.is_empty()) {
            return BLOCKED;
        }
        let due = [self.joined.next_deadline(), self.joined.aaa().next_deadline()].into_iter().flatten().min();
        let wait = due.map_or(u64::MAX, |due| due.saturating_sub(self.now().mono_ms));
        Duration::from_millis(wait).min(SNAPSHOT)
    }

    /// Reads what has arrived.
    fn receive(&mut self, now: Now) -> io::Result<()> {
        for port in self.ports.iter_mut().filter(|p| p.readable) {
            for _ in 0..TURN {
                self.rx.clear();
                let received = port.socket.recv(&mut self.rx)?;
                for (from, bytes) in self.rx.iter() {
                    self.joined.on_message(now, port.protocol, Peer::Udp(from), bytes);
                }
                if received.drained {
                    port.readable = false;
                    break;
                }
            }
        }
        if let Some(ports) = &mut self.behind {
            ports.read(|protocol, from, bytes| self.joined.on_message(now, protocol, from, bytes));
        }
        Ok(())
    }

    /// Sends what is to be sent. What a full socket does not take waits in the batch; what the batch does not take is
    /// counted, and comes again as the neighbour's retransmission.
    fn send(&mut self) -> io::Result<()> {
        while let Some((protocol, to, bytes)) = self.joined.poll_send() {
            let addr = match to {
                Peer::Udp(addr) => addr,
                Peer::Behind(lane, nth) => {
                    self.behind.iter_mut().for_each(|ports| ports.send(protocol, (lane, nth), &bytes));
                    continue;
                }
                // There is no engine in this process: a configuration with one runs under its loop, not under this.
                Peer::LocalProxy | Peer::LocalLane(_) => continue,
            };
            let Some(port) = self.ports.iter_mut().find(|p| p.protocol == protocol) else { continue };
            if port.tx.is_full() {
                port.socket.send(&mut port.tx)?;
            }
            if port.tx.push(addr, &bytes) != Pushed::Written {
                self.send_full += 1;
            }
        }
        while let Some((protocol, lane)) = self.joined.poll_left() {
            self.behind.iter_mut().for_each(|ports| ports.close(protocol, lane));
        }
        for port in self.ports.iter_mut().filter(|p| !p.tx.is_empty()) {
            port.socket.send(&mut port.tx)?;
        }
        Ok(())
    }

    fn show(&mut self) {
        let snapshot = Snapshot {
            counters: self.joined.softswitch().counters().clone(),
            gauges: self.joined.softswitch().gauges(),
            aaa: self.joined.aaa().counters(),
            send_full: self.send_full,
            behind: self.behind.as_ref().map(Ports::counters).unwrap_or_default(),
        };
        if let Ok(mut shared) = self.shared.snapshot.lock() {
            *shared = snapshot;
        }
    }
}
