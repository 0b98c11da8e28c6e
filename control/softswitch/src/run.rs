//! The loop around a softswitch: one thread, one UDP socket towards the neighbours, one AAA client. Thin: every
//! decision is in [`Softswitch`].

use crate::config::Config;
use crate::counters::Counters;
use crate::joined::{Joined, Questions, Witness};
use crate::peers::Peer;
use crate::state::{Gauges, Softswitch};
use core::net::SocketAddr;
use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use mio::{Events, Interest, Poll, Token, Waker};
use portunus_aaa::client::ClientCounters;
use portunus_aaa::net::{ClientRunner, RunnerConfig};
use portunus_aaa::{AaaEvent, AaaRequest, Refused, RequestId};
use portunus_io::listen::{Buffers, udp};
use portunus_io::{Batch, Pushed, Rx as _, Tx as _, UdpPort};
use portunus_keydist::{Now, SystemRandom};
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
/// How often the numbers for the outside are renewed.
const SNAPSHOT: Duration = Duration::from_millis(250);
/// Patience with a socket that takes no more.
const BLOCKED: Duration = Duration::from_millis(1);

const WAKE: Token = Token(0);
const SIP: Token = Token(1);
const AAA: Token = Token(2);

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
}

struct Shared {
    stop: AtomicBool,
    snapshot: Mutex<Snapshot>,
}

/// A running softswitch. Dropping it stops it.
pub struct Handle {
    address: SocketAddr,
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
    /// Where neighbours reach it.
    pub fn address(&self) -> SocketAddr {
        self.address
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

/// Starts a softswitch on a thread of its own, bound to `config.own`; port 0 there finds a free one, and the address
/// found is then its own.
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
    let socket = udp(config.own, Buffers::default())?;
    config.own = socket.local_addr()?;
    let address = config.own;
    let message_max = config.limits.message;
    let softswitch = Softswitch::new(config, Box::new(SystemRandom::new()))
        .map_err(|e| io::Error::new(io::ErrorKind::InvalidInput, e))?;
    let client = ClientRunner::new(aaa, Box::new(SystemRandom::new()), Box::new(SystemRandom::new()))?;
    let poll = Poll::new()?;
    let waker = Arc::new(Waker::new(poll.registry(), WAKE)?);
    let mut port = UdpPort::new(socket, BATCH);
    // Few neighbours, many messages to each: they pass the system joined where it can do that.
    port.coalesce();
    poll.registry().register(&mut port, SIP, Interest::READABLE)?;
    let shared = Arc::new(Shared { stop: AtomicBool::new(false), snapshot: Mutex::default() });
    let mut run = Loop {
        poll,
        port,
        rx: Batch::coalescing(JOINED),
        tx: Batch::new(BATCH * TURN, message_max),
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
    let thread = std::thread::Builder::new().name("softswitch".into()).spawn(move || run.run())?;
    Ok(Handle { address, shared, waker, thread: Some(thread) })
}

struct Loop {
    poll: Poll,
    port: UdpPort,
    rx: Batch,
    tx: Batch,
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
        let mut readable = false;
        let mut renewed = Instant::now();
        while !self.shared.stop.load(Ordering::Relaxed) {
            let timeout = self.timeout(readable);
            match self.poll.poll(&mut events, Some(timeout)) {
                Err(e) if e.kind() != io::ErrorKind::Interrupted => return Err(e),
                _ => {}
            }
            let now = self.now();
            for event in &events {
                match event.token() {
                    SIP => readable = true,
                    WAKE => {}
                    _ => {
                        self.joined.aaa().on_ready(now, event);
                    }
                }
            }
            if readable {
                readable = self.receive(now)?;
            }
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
    fn timeout(&mut self, readable: bool) -> Duration {
        if readable {
            return Duration::ZERO;
        }
        if !self.tx.is_empty() {
            return BLOCKED;
        }
        let due = [self.joined.next_deadline(), self.joined.aaa().next_deadline()].into_iter().flatten().min();
        let wait = due.map_or(u64::MAX, |due| due.saturating_sub(self.now().mono_ms));
        Duration::from_millis(wait).min(SNAPSHOT)
    }

    /// Reads what has arrived; true when more may be waiting.
    fn receive(&mut self, now: Now) -> io::Result<bool> {
        for _ in 0..TURN {
            self.rx.clear();
            let received = self.port.recv(&mut self.rx)?;
            for (from, bytes) in self.rx.iter() {
                self.joined.on_sip(now, Peer::Udp(from), bytes);
            }
            if received.drained {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Sends what is to be sent. What a full socket does not take waits in the batch; what the batch does not take is
    /// counted, and comes again as the neighbour's retransmission.
    fn send(&mut self) -> io::Result<()> {
        while let Some((to, bytes)) = self.joined.poll_send() {
            // There is no engine in this process: a configuration with one runs under its loop, not under this.
            let Peer::Udp(addr) = to else { continue };
            if self.tx.is_full() {
                self.port.send(&mut self.tx)?;
            }
            if self.tx.push(addr, &bytes) != Pushed::Written {
                self.send_full += 1;
            }
        }
        if !self.tx.is_empty() {
            self.port.send(&mut self.tx)?;
        }
        Ok(())
    }

    fn show(&mut self) {
        let snapshot = Snapshot {
            counters: self.joined.softswitch().counters().clone(),
            gauges: self.joined.softswitch().gauges(),
            aaa: self.joined.aaa().counters(),
            send_full: self.send_full,
        };
        if let Ok(mut shared) = self.shared.snapshot.lock() {
            *shared = snapshot;
        }
    }
}
