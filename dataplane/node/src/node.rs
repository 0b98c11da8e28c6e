//! Starting a node, and the handle to one that runs.

use std::any::Any;
use std::io;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam::channel::{Receiver, Sender};
use portunus_engine::{Command, Config, ConfigError, Engine, Keys, Listener, ListenerKind, Policy, Reading};
use portunus_io::Link;
use portunus_io::steer::Steer;
use portunus_io::stream::Framing;
use portunus_keydist::proxy::HashKey;
use portunus_keydist::{DeviceKeys, Idc, Random, SystemRandom};
use portunus_signalling::{Signalling, Transport};

use crate::assemble;
use crate::config::{NodeConfig, Topology};
use crate::control::{ControlShared, Order};
use crate::framing;
use crate::handler::Handler;
use crate::kernel::{KernelEsp, KernelShared};
use crate::route::{ByProtocol, Router};
use crate::upstream::Upstream;
use crate::worker::{Bell, WorkerShared};

/// Why a node did not start. Everything here is the configuration's or the system's doing, never a peer's.
#[derive(Debug)]
#[non_exhaustive]
pub enum StartError {
    /// The engine refuses its configuration.
    Config(ConfigError),
    /// A listener cannot be opened.
    Listener {
        /// Its index in the configuration.
        index: usize,
        /// The address.
        address: SocketAddr,
        /// What the system says.
        error: io::Error,
    },
    /// The protocol of a TCP listener is not carried over streams here.
    NoStreams {
        /// Its index in the configuration.
        index: usize,
    },
    /// The link to the core cannot be opened.
    Upstream(io::Error),
    /// The host's kernel cannot do ESP for the proxy.
    Kernel(io::Error),
    /// A thread, an event queue or a waker cannot be had.
    System(io::Error),
}

impl core::fmt::Display for StartError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Config(error) => write!(f, "{error}"),
            Self::Listener { index, address, error } => write!(f, "listener {index} on {address}: {error}"),
            Self::NoStreams { index } => write!(f, "listener {index}: its protocol is not carried over TCP"),
            Self::Upstream(error) => write!(f, "link to the core: {error}"),
            Self::Kernel(error) => write!(
                f,
                "ESP in the kernel: {error}: it takes the modules esp4 or esp6 and xfrm_user, and CAP_NET_ADMIN; without \
                 [proxy.ipsec.kernel] the proxy does ESP itself"
            ),
            Self::System(error) => write!(f, "system: {error}"),
        }
    }
}

impl std::error::Error for StartError {}

impl From<ConfigError> for StartError {
    fn from(error: ConfigError) -> Self {
        Self::Config(error)
    }
}

/// What a worker's place in the node is.
#[derive(Debug, Clone, Copy)]
pub struct Seat<'a> {
    /// Its number, from 0.
    pub worker: u8,
    /// How many there are.
    pub workers: u8,
    /// Where terminals reach the listeners.
    pub listeners: &'a [SocketAddr],
    /// Where the core reaches the node.
    pub core: SocketAddr,
}

/// What kind of sockets a listener has.
#[derive(Debug, Clone, Copy)]
pub enum PlanKind {
    /// Datagrams, spread over the workers like this.
    Udp(Steer),
    /// Datagrams, a port for each worker: the workers' ports follow each other from the address on, behind those of as
    /// many rows before.
    Row(u16),
    /// Connections, cut into messages like this.
    Tcp(Framing),
    /// Connections of mechanism `tls`; what is inside is cut into messages like this.
    Tls(Framing),
}

/// One listener of a [`Plan`].
#[derive(Debug, Clone, Copy)]
pub struct PlanListener {
    /// The address to bind.
    pub bind: SocketAddr,
    /// Where terminals reach it, where that differs; port 0 means the port bound.
    pub advertised: Option<SocketAddr>,
    /// Its sockets.
    pub kind: PlanKind,
}

/// Where middleware is put in.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    /// The worker.
    pub worker: u8,
    /// The listener.
    pub listener: u8,
    /// The address bound.
    pub local: SocketAddr,
}

/// Wraps the datagram sockets of listeners: captures, traces, faults (`portunus_io::{capture, trace, fault}`).
pub type Middleware = Arc<dyn Fn(Place, Box<dyn Link>) -> Box<dyn Link> + Send + Sync>;

/// Threads and sockets without saying what the workers do: what a floor shares with the proxy.
#[derive(Clone)]
pub struct Plan {
    /// Threads, batches and rings.
    pub topology: Topology,
    /// The access side.
    pub listeners: Vec<PlanListener>,
    /// Around datagram sockets, where given.
    pub middleware: Option<Middleware>,
    /// That the kernel does the ESP of what arrives at rows ([`PlanKind::Row`]).
    pub kernel: Option<KernelEsp>,
}

impl core::fmt::Debug for Plan {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Plan")
            .field("topology", &self.topology)
            .field("listeners", &self.listeners)
            .finish_non_exhaustive()
    }
}

/// A thread ended that should not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Which: `worker 0`, `control`.
    pub thread: String,
    /// What it died of.
    pub reason: String,
}

impl core::fmt::Display for Failure {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{} died: {}", self.thread, self.reason)
    }
}

impl std::error::Error for Failure {}

/// What came of a start, for the operator.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StartReport {
    /// Workers started.
    pub workers: usize,
    /// The processors that they are pinned to, as far as they are.
    pub pinned: Vec<usize>,
    /// What is not as asked, and works nevertheless.
    pub warnings: Vec<String>,
}

/// One counter of one thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NodeReading {
    /// The worker; `None` for the control thread.
    pub worker: Option<u8>,
    /// The counter.
    pub reading: Reading,
}

/// A signalling proxy's node. It has no state of its own: [`Node::start`] gives the handle to what runs.
#[derive(Debug, Clone, Copy)]
pub struct Node;

impl Node {
    /// Starts workers and the control thread for a signalling proxy.
    ///
    /// # Errors
    /// [`StartError`]; nothing runs then.
    pub fn start(config: NodeConfig, upstream: Box<dyn Upstream>) -> Result<NodeHandle, StartError> {
        Self::start_wrapped(config, upstream, |engine| engine)
    }

    /// As [`Node::start`], with something around each worker's engine: what measures or watches it.
    ///
    /// # Errors
    /// [`StartError`]; nothing runs then.
    pub fn start_wrapped<H: Handler>(
        config: NodeConfig,
        upstream: Box<dyn Upstream>,
        mut wrap: impl FnMut(Engine) -> H,
    ) -> Result<NodeHandle, StartError> {
        config.policy.validate()?;
        let mut rng = SystemRandom::new();
        let seed = rng.next_u64() as u32;
        let mut topology = config.topology.clone();
        topology.message_max = topology.message_max.max(config.capacity.message);
        let (listeners, kernel) = (plan_listeners(&config, seed)?, config.kernel);
        let plan = Plan { topology, listeners, middleware: config.middleware.clone(), kernel };
        let keys = Keys::new(config.device.clone(), &mut rng);
        let policy = Arc::new(config.policy.clone());
        let router = |core| -> Box<dyn Router> {
            Box::new(ByProtocol::new(protocols(&config), &config.idsp, &config.realm, core))
        };
        assemble::start(&plan, keys.process.hash().clone(), upstream, router, |seat| {
            let listeners = config.listeners.iter().zip(seat.listeners);
            let engine = Config {
                worker: seat.worker,
                workers: seat.workers,
                idsp: config.idsp.clone(),
                realm: config.realm.clone(),
                routes: config.routes.clone(),
                core: seat.core,
                listeners: listeners.map(|(told, &address)| own_place(told.kind, address, seat.worker)).collect(),
                capacity: config.capacity,
            };
            let rng = Box::new(SystemRandom::new());
            Ok(wrap(Engine::new(engine, Arc::clone(&policy), keys.clone(), rng)?))
        })
    }

    /// Starts a node whose workers run what `make` makes for each of them.
    ///
    /// # Errors
    /// [`StartError`]; nothing runs then.
    pub fn start_with<H: Handler>(
        plan: &Plan,
        upstream: Box<dyn Upstream>,
        router: impl FnOnce(SocketAddr) -> Box<dyn Router>,
        make: impl FnMut(&Seat<'_>) -> Result<H, StartError>,
    ) -> Result<NodeHandle, StartError> {
        let mut rng = SystemRandom::new();
        let hash = HashKey::new(rng.next_u64(), rng.next_u64());
        assemble::start(plan, hash, upstream, router, make)
    }
}

/// A listener as one worker has it.
fn own_place(kind: ListenerKind, mut address: SocketAddr, worker: u8) -> Listener {
    if let ListenerKind::Kernel { .. } = kind {
        address.set_port(address.port().saturating_add(worker.into()));
    }
    Listener { address, kind }
}

/// Each protocol that some listener speaks, once.
fn protocols(config: &NodeConfig) -> Vec<&'static dyn Signalling> {
    let mut found: Vec<&'static dyn Signalling> = Vec::new();
    for listener in &config.listeners {
        let ListenerKind::Access { signalling, .. } = listener.kind else { continue };
        if found.iter().all(|known| known.protocol() != signalling.protocol()) {
            found.push(signalling);
        }
    }
    found
}

fn plan_listeners(config: &NodeConfig, seed: u32) -> Result<Vec<PlanListener>, StartError> {
    let kind = |index, kind: &ListenerKind| match kind {
        ListenerKind::Protected(mechanism) => Ok(PlanKind::Udp(Steer::Octet { at: mechanism.format().worker_octet })),
        ListenerKind::Kernel { row, .. } => Ok(PlanKind::Row((*row).into())),
        ListenerKind::Access { transport: Transport::Udp, .. } => Ok(PlanKind::Udp(Steer::Source { seed })),
        ListenerKind::Access { signalling, .. } => {
            framing::of(signalling.protocol()).map(PlanKind::Tcp).ok_or(StartError::NoStreams { index })
        }
        ListenerKind::Tls { signalling } => {
            framing::of(signalling.protocol()).map(PlanKind::Tls).ok_or(StartError::NoStreams { index })
        }
    };
    let listeners = config.listeners.iter().enumerate();
    listeners
        .map(|(index, told)| {
            Ok(PlanListener { bind: told.bind, advertised: told.advertised, kind: kind(index, &told.kind)? })
        })
        .collect()
}

/// A node that runs. Dropping it stops it.
pub struct NodeHandle {
    pub(crate) listeners: Vec<SocketAddr>,
    pub(crate) core: SocketAddr,
    pub(crate) report: StartReport,
    pub(crate) workers: Vec<(Arc<WorkerShared>, Arc<Bell>)>,
    pub(crate) control: (Arc<ControlShared>, Arc<Bell>),
    pub(crate) orders: Sender<Order>,
    pub(crate) failures: Receiver<Failure>,
    /// The thread that talks to the kernel, where there is one.
    pub(crate) kernel: Option<(Arc<KernelShared>, Arc<Bell>)>,
    pub(crate) threads: Vec<JoinHandle<()>>,
}

impl core::fmt::Debug for NodeHandle {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("NodeHandle")
            .field("listeners", &self.listeners)
            .field("core", &self.core)
            .field("report", &self.report)
            .finish_non_exhaustive()
    }
}

impl NodeHandle {
    /// The addresses bound, in the order of the configuration.
    pub fn listeners(&self) -> &[SocketAddr] {
        &self.listeners
    }

    /// Where the core reaches the node.
    pub fn core(&self) -> SocketAddr {
        self.core
    }

    /// What came of the start.
    pub fn report(&self) -> &StartReport {
        &self.report
    }

    /// All counters of all threads, as published last (at most 100 ms ago while there is traffic).
    pub fn readings(&self) -> Vec<NodeReading> {
        let workers = self.workers.iter().enumerate().flat_map(|(worker, (shared, _))| {
            shared.board.read().map(move |reading| NodeReading { worker: Some(worker as u8), reading })
        });
        let control = self.control.0.board.read().map(|reading| NodeReading { worker: None, reading });
        let kernel = self.kernel.iter().flat_map(|(shared, _)| shared.board.read());
        let kernel = kernel.map(|reading| NodeReading { worker: None, reading });
        workers.chain(control).chain(kernel).collect()
    }

    /// The sum of a counter over all threads; 0 for an unknown name.
    pub fn counter(&self, name: &str) -> u64 {
        self.readings().iter().filter(|one| one.reading.name == name).map(|one| one.reading.value).sum()
    }

    /// Takes no new registrations from now on; those under way finish, sessions go on.
    pub fn drain(&self) {
        self.order(Order::All(Command::Drain));
    }

    /// Takes new registrations again.
    pub fn resume(&self) {
        self.order(Order::All(Command::Resume));
    }

    /// Another policy for all workers from now on.
    ///
    /// # Errors
    /// The first limit that it breaks: nothing changes then.
    pub fn reload(&self, policy: Policy) -> Result<(), ConfigError> {
        policy.validate()?;
        self.order(Order::All(Command::Reload(Arc::new(policy))));
        Ok(())
    }

    /// Other long-term keys for all workers from now on; sessions go on.
    pub fn rekey(&self, device: DeviceKeys) {
        self.order(Order::All(Command::Rekey(Arc::new(device))));
    }

    /// Ends a terminal's session, wherever it is.
    pub fn end_session(&self, idc: Idc<'_>) {
        self.order(Order::End(idc.into()));
    }

    fn order(&self, order: Order) {
        // The control thread takes orders as long as it lives; when it does not, `failure` tells.
        if self.orders.send(order).is_ok() {
            self.control.1.force();
        }
    }

    /// The first thread that died, waiting for one at most so long. A node with a dead thread serves only part of its
    /// terminals: the process is to stop and be started again.
    pub fn failure(&self, wait: Duration) -> Option<Failure> {
        self.failures.recv_timeout(wait).ok()
    }

    /// Stops all threads, sends what waits to be sent, and waits for their end.
    ///
    /// # Errors
    /// The first failure of a thread that nobody has asked for yet.
    pub fn stop(mut self) -> Result<(), Failure> {
        self.halt();
        self.failures.try_recv().map_or(Ok(()), Err)
    }

    fn halt(&mut self) {
        // The workers first: what they have for the core still leaves.
        let workers = self.workers.len();
        for (shared, bell) in &self.workers {
            shared.stop.store(true, Ordering::Relaxed);
            bell.force();
        }
        for thread in self.threads.drain(..workers.min(self.threads.len())) {
            // Panics were caught and reported inside.
            let _ = thread.join();
        }
        self.control.0.stop.store(true, Ordering::Relaxed);
        self.control.1.force();
        if let Some((shared, bell)) = &self.kernel {
            shared.stop.store(true, Ordering::Relaxed);
            bell.force();
        }
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Drop for NodeHandle {
    fn drop(&mut self) {
        self.halt();
    }
}

/// Runs a thread's work, and reports its end when that is not a stop.
pub(crate) fn guarded(thread: &str, failures: &Sender<Failure>, work: impl FnOnce() -> io::Result<()>) {
    let reason = match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(())) => return,
        Ok(Err(error)) => error.to_string(),
        Err(panic) => panic_text(panic.as_ref()),
    };
    // Nobody listens any more only when the node is being dropped.
    let _ = failures.send(Failure { thread: thread.to_owned(), reason });
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("a panic without a text").to_owned()
}
