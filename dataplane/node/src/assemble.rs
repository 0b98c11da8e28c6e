//! Putting a node together: sockets, rings, wakers and threads.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};

use crossbeam::channel::Sender;
use mio::event::Source;
use mio::{Events, Interest, Poll, Registry, Token, Waker};
use portunus_channel::tls::{Limits, Server};
use portunus_io::listen;
use portunus_io::ring::ring;
use portunus_io::stream::{Framing, Streams};
use portunus_io::{Batch, Consumer, Doorbell, Link, Producer, UdpPort};
use portunus_keydist::proxy::HashKey;

use crate::clock::Clock;
use crate::config::{Cpus, Topology};
use crate::control::{Control, ControlShared, Hub, Intake, LINKS, Order, Way};
use crate::directory::Directory;
use crate::handler::Handler;
use crate::kernel::{self, KernelEsp, KernelThread, ToKernel, WISHES};
use crate::node::{Failure, NodeHandle, Place, Plan, PlanKind, PlanListener, Seat, StartError, StartReport, guarded};
use crate::outputs::{News, Outputs, Port};
use crate::own::OwnLinks;
use crate::pace::Pacer;
use crate::readings::{Board, ControlCounters};
use crate::route::Router;
use crate::secured::{Neighbour, Neighbours, layers};
use crate::upstream::Upstream;
use crate::worker::{Bell, PORTS, STREAMS, WAKER, Worker, WorkerShared};

/// Orders that wait in a worker's queue.
const ORDERS: usize = 256;
/// Connections that wait to be accepted at one listener.
const BACKLOG: u32 = 1024;

/// Sockets of one listener, one for each worker.
enum Group {
    Udp(Vec<std::net::UdpSocket>),
    Tcp(Vec<std::net::TcpListener>, Framing, Option<Arc<Server>>),
}

/// Everything of a worker but its handler.
struct Bench {
    poll: Poll,
    bell: Arc<Bell>,
    ports: Vec<Port>,
    streams: Streams,
    neighbours: Neighbours,
}

fn system(error: std::io::Error) -> StartError {
    StartError::System(error)
}

/// See [`crate::Node::start_with`].
pub(crate) fn start<H: Handler>(
    plan: &Plan,
    hash: HashKey,
    mut upstream: Box<dyn Upstream>,
    router: impl FnOnce(SocketAddr) -> Box<dyn Router>,
    mut make: impl FnMut(&Seat<'_>) -> Result<H, StartError>,
) -> Result<NodeHandle, StartError> {
    let (cpus, workers) = processors(&plan.topology.cpus);
    let mut report = StartReport { workers, ..StartReport::default() };
    descriptors(plan, workers, upstream.as_ref(), &mut report);
    let clock = Clock::start();
    let (poll, bell) = poll_and_bell()?;
    let core = upstream.start(poll.registry(), LINKS).map_err(StartError::Upstream)?;
    // Before anything listens there.
    let opened = close_rows(plan, workers)?;
    let (groups, bound, reached) = open(plan, workers, &mut report)?;
    let (orders, taken) = crossbeam::channel::unbounded();
    let mut hub = Hub {
        ways: Vec::new(),
        router: router(core),
        hash,
        directory: (workers > 1).then(|| Directory::new(plan.topology.directory)),
        counters: ControlCounters::default(),
    };
    let (mut intakes, mut ready, order) = (Vec::new(), Vec::new(), Arc::new(AtomicU64::new(0)));
    for (number, bench) in benches(plan, groups, workers)?.into_iter().enumerate() {
        let seat = Seat { worker: number as u8, workers: workers as u8, listeners: &reached, core };
        let mut own = OwnLinks::new(hub.hash.clone());
        // Several workers share what the control thread keeps.
        if workers == 1 {
            upstream.yield_links(bench.poll.registry(), &mut own).map_err(StartError::Upstream)?;
        }
        let topology = &plan.topology;
        let order = (workers > 1 || upstream.follows_sessions()).then(|| Arc::clone(&order));
        let parts = Parts { clock, own, control: Arc::clone(&bell), topology, order };
        let (worker, way, intake) = parts.worker(bench, make(&seat)?);
        hub.ways.push(way);
        intakes.push(intake);
        ready.push(worker);
    }
    let kernel = opened.map(|opened| kernel_thread(opened, &mut ready, (clock, &orders, &bell))).transpose()?;
    let board = Board::new(|show| {
        hub.counters.readings(show);
        upstream.readings(show);
    });
    let shared = Arc::new(ControlShared { board, stop: AtomicBool::new(false) });
    let (failed, failures) = crossbeam::channel::bounded::<Failure>(workers + 1);
    let node = NodeHandle {
        listeners: bound,
        core,
        report,
        workers: ready.iter().map(|worker| (Arc::clone(&worker.shared), Arc::clone(&worker.bell))).collect(),
        control: (Arc::clone(&shared), Arc::clone(&bell)),
        orders,
        failures,
        kernel: kernel.as_ref().map(|(thread, bell)| (thread.shared(), Arc::clone(bell))),
        threads: Vec::new(),
    };
    let (events, pacer) = (Events::with_capacity(256), Pacer::new(plan.topology.pace));
    let (orders, published_ms, dirty) = (taken, 0, true);
    let control =
        Control { clock, poll, events, upstream, hub, intakes, orders, bell, shared, pacer, published_ms, dirty };
    let kernel = kernel.map(|(thread, _)| thread);
    launch(node, &failed, ready, &cpus, (control, kernel), plan.topology.control_cpu)
}

/// Descriptors for everything that is neither a connection nor a link's: listeners, event queues, files.
const DESCRIPTORS: usize = 256;

/// Asks for the descriptors that may be needed, and warns where the system grants fewer.
fn descriptors(plan: &Plan, workers: usize, upstream: &dyn Upstream, report: &mut StartReport) {
    let connects = plan.listeners.iter().any(|listener| matches!(listener.kind, PlanKind::Tcp(_) | PlanKind::Tls(_)));
    let connections = if connects { plan.topology.streams.connections * workers } else { 0 };
    let most = DESCRIPTORS + plan.listeners.len() * workers + connections + upstream.descriptors();
    // Where the limit cannot even be read, the first socket that cannot be opened tells.
    let Ok(granted) = portunus_io::descriptors::raise_limit() else { return };
    if granted < most as u64 {
        report.warnings.push(format!(
            "the system grants {granted} file descriptors, and {most} may be needed: raise LimitNOFILE (ulimit -n)"
        ));
    }
}

/// Starts the threads. A failure drops the handle, which stops those that run already.
fn launch<H: Handler>(
    mut node: NodeHandle,
    failed: &Sender<Failure>,
    workers: Vec<Worker<H>>,
    cpus: &[usize],
    (mut control, kernel): (Control, Option<KernelThread>),
    control_cpu: Option<usize>,
) -> Result<NodeHandle, StartError> {
    for (number, mut worker) in workers.into_iter().enumerate() {
        let failed = failed.clone();
        spawn(&mut node, &format!("worker {number}"), cpus.get(number).copied(), move |name| {
            guarded(name, &failed, || worker.run());
            worker.linger();
        })?;
    }
    if let Some(mut kernel) = kernel {
        let failed = failed.clone();
        spawn(&mut node, "kernel", control_cpu, move |name| guarded(name, &failed, || kernel.run()))?;
    }
    let failed = failed.clone();
    spawn(&mut node, "control", control_cpu, move |name| guarded(name, &failed, || control.run()))?;
    Ok(node)
}

/// Starts a thread on a processor, or anywhere; that the system refuses the processor is worth a warning only.
fn spawn(
    node: &mut NodeHandle,
    name: &str,
    cpu: Option<usize>,
    work: impl FnOnce(&str) + Send + 'static,
) -> Result<(), StartError> {
    let own = name.to_owned();
    let (told, pinned) = crossbeam::channel::bounded(1);
    let thread = std::thread::Builder::new().name(own.clone()).spawn(move || {
        let pin = |id| core_affinity::set_for_current(core_affinity::CoreId { id });
        // Nobody waits for it any more only when the start has failed.
        let _ = told.send(cpu.is_none_or(pin));
        work(&own);
    });
    node.threads.push(thread.map_err(system)?);
    match (cpu, pinned.recv() == Ok(true)) {
        (None, _) => {}
        (Some(cpu), true) => node.report.pinned.push(cpu),
        (Some(cpu), false) => {
            node.report.warnings.push(format!("{name} is not pinned: the system refuses processor {cpu}"));
        }
    }
    Ok(())
}

/// The workers' processors (empty: not pinned) and the number of workers.
fn processors(cpus: &Cpus) -> (Vec<usize>, usize) {
    match cpus {
        Cpus::List(list) => (list.iter().copied().take(255).collect(), list.len().clamp(1, 255)),
        Cpus::Unpinned(workers) => (Vec::new(), (*workers).clamp(1, 255)),
        Cpus::Auto { workers } => {
            let there: Vec<usize> = core_affinity::get_core_ids().unwrap_or_default().iter().map(|id| id.id).collect();
            let most = there.len().saturating_sub(1).clamp(1, 255);
            let workers = if *workers == 0 { most } else { (*workers).clamp(1, 255) };
            // On a small machine the workers share their processors with all else: the system places them better.
            let pinned = there.len() >= 4 && workers <= most;
            (if pinned { there.into_iter().take(workers).collect() } else { Vec::new() }, workers)
        }
    }
}

fn poll_and_bell() -> Result<(Poll, Arc<Bell>), StartError> {
    let poll = Poll::new().map_err(system)?;
    let waker = Waker::new(poll.registry(), Token(WAKER)).map_err(system)?;
    Ok((poll, Arc::new(Doorbell::new(waker))))
}

type Opened = (Vec<Group>, Vec<SocketAddr>, Vec<SocketAddr>);

/// Opens all listeners: the sockets, the addresses bound, the addresses advertised.
fn open(plan: &Plan, workers: usize, report: &mut StartReport) -> Result<Opened, StartError> {
    let (mut groups, mut bound, mut reached) = (Vec::new(), Vec::new(), Vec::new());
    for (index, listener) in plan.listeners.iter().enumerate() {
        let fail = |error| StartError::Listener { index, address: listener.bind, error };
        let (group, address) = open_one(listener, workers, plan, report).map_err(fail)?;
        groups.push(group);
        bound.push(address);
        reached.push(match listener.advertised {
            Some(told) if told.port() != 0 => told,
            Some(told) => SocketAddr::new(told.ip(), address.port()),
            None => address,
        });
    }
    Ok((groups, bound, reached))
}

fn open_one(
    listener: &PlanListener,
    workers: usize,
    plan: &Plan,
    report: &mut StartReport,
) -> std::io::Result<(Group, SocketAddr)> {
    let missing = || std::io::Error::from(std::io::ErrorKind::NotFound);
    match listener.kind {
        PlanKind::Udp(steer) => {
            let sockets = listen::udp_group(listener.bind, workers, steer, plan.topology.buffers)?;
            let first = sockets.first().ok_or_else(missing)?;
            let (address, granted) = (first.local_addr()?, listen::receive_buffer(first)?);
            let wanted = plan.topology.buffers.receive;
            if granted < wanted {
                report.warnings.push(format!(
                    "the system grants {granted} of {wanted} octets of receive buffer on {address}: raise net.core.rmem_max"
                ));
            }
            Ok((Group::Udp(sockets), address))
        }
        PlanKind::Row(row) => {
            let sockets = (0..workers)
                .map(|worker| listen::udp(at_row(listener.bind, row, workers, worker), plan.topology.buffers));
            let sockets: Vec<_> = sockets.collect::<std::io::Result<_>>()?;
            Ok((Group::Udp(sockets), at_row(listener.bind, row, workers, 0)))
        }
        PlanKind::Tcp(framing) | PlanKind::Tls(framing) => {
            let sockets = listen::tcp_group(listener.bind, workers, BACKLOG)?;
            let address = sockets.first().ok_or_else(missing)?.local_addr()?;
            let secured = if let PlanKind::Tls(_) = listener.kind { Some(server(plan)?) } else { None };
            Ok((Group::Tcp(sockets, framing, secured), address))
        }
    }
}

/// A worker's port in a row.
fn at_row(first: SocketAddr, row: u16, workers: usize, worker: usize) -> SocketAddr {
    let offset = usize::from(row) * workers + worker;
    SocketAddr::new(first.ip(), first.port().saturating_add(u16::try_from(offset).unwrap_or(u16::MAX)))
}

/// Has the kernel close the ports of all rows to what is unprotected.
fn close_rows(plan: &Plan, workers: usize) -> Result<Option<(KernelEsp, kernel::Opened)>, StartError> {
    let Some(config) = plan.kernel else { return Ok(None) };
    let rows =
        plan.listeners.iter().filter_map(|l| if let PlanKind::Row(row) = l.kind { Some((l.bind, row)) } else { None });
    let inner: Vec<SocketAddr> =
        rows.flat_map(|(first, row)| (0..workers).map(move |worker| at_row(first, row, workers, worker))).collect();
    kernel::open(&config, &inner).map(|opened| Some((config, opened))).map_err(StartError::Kernel)
}

/// The thread that talks to the kernel, and each worker's way to it.
fn kernel_thread<H: Handler>(
    (config, opened): (KernelEsp, kernel::Opened),
    workers: &mut [Worker<H>],
    (clock, orders, control): (Clock, &Sender<Order>, &Arc<Bell>),
) -> Result<(KernelThread, Arc<Bell>), StartError> {
    let (poll, bell) = poll_and_bell()?;
    let mut wishes = Vec::new();
    for worker in workers {
        let (producer, consumer) = rtrb::RingBuffer::new(WISHES);
        wishes.push(consumer);
        worker.out.kernel = Some(ToKernel { wishes: producer, bell: Arc::clone(&bell), pushed: false });
    }
    let ways = (wishes, orders.clone(), Arc::clone(control));
    let thread = KernelThread::new(clock, opened, &config, (poll, Arc::clone(&bell)), ways).map_err(system)?;
    Ok((thread, bell))
}

/// Deals the sockets out to the workers.
fn benches(plan: &Plan, groups: Vec<Group>, workers: usize) -> Result<Vec<Bench>, StartError> {
    let waits = (0..workers).map(|_| poll_and_bell()).collect::<Result<Vec<_>, _>>()?;
    let all: Arc<[Neighbour]> = waits.iter().map(|(_, bell)| Neighbour::new(Arc::clone(bell))).collect();
    let mut benches = Vec::new();
    for (own, (poll, bell)) in waits.into_iter().enumerate() {
        let streams = Streams::new(plan.topology.streams, STREAMS);
        let neighbours = Neighbours { all: Arc::clone(&all), own: own as u8 };
        benches.push(Bench { poll, bell, ports: Vec::new(), streams, neighbours });
    }
    for (listener, group) in groups.into_iter().enumerate() {
        match group {
            Group::Udp(sockets) => {
                for (worker, (bench, socket)) in benches.iter_mut().zip(sockets).enumerate() {
                    add_port(plan, bench, worker as u8, listener as u8, socket).map_err(system)?;
                }
            }
            Group::Tcp(sockets, framing, secured) => {
                for (bench, socket) in benches.iter_mut().zip(sockets) {
                    let Bench { poll, streams, .. } = bench;
                    let behind = (framing, secured.as_ref().map(layers));
                    streams.listen_behind(poll.registry(), socket, listener as u8, behind).map_err(system)?;
                }
            }
        }
    }
    Ok(benches)
}

/// The proxy's end of all TLS connections of a listener. A want of memory, or an OpenSSL without TLS 1.3.
fn server(plan: &Plan) -> std::io::Result<Arc<Server>> {
    // What waits for a peer is the connections' affair; octets that have left already may stand before it.
    let outgoing = plan.topology.streams.write_max.saturating_mul(4);
    Server::new(Limits { outgoing, ..Limits::default() }).map(Arc::new).map_err(std::io::Error::other)
}

fn add_port(
    plan: &Plan,
    bench: &mut Bench,
    worker: u8,
    listener: u8,
    socket: std::net::UdpSocket,
) -> std::io::Result<()> {
    let batch = plan.topology.batch.clamp(1, 256);
    let mut port = UdpPort::new(socket, batch);
    let local = port.local_addr()?;
    register(&mut port, bench.poll.registry(), PORTS + bench.ports.len())?;
    let mut link: Box<dyn Link> = Box::new(port);
    if let Some(wrap) = &plan.middleware {
        link = wrap(Place { worker, listener, local }, link);
    }
    let tx = Batch::new(batch, plan.topology.message_max);
    bench.ports.push(Port { link, listener, tx, ready: true });
    Ok(())
}

fn register(port: &mut UdpPort, registry: &Registry, token: usize) -> std::io::Result<()> {
    port.register(registry, Token(token), Interest::READABLE)
}

/// What a worker is made from, apart from its sockets for terminals and its handler.
struct Parts<'a> {
    clock: Clock,
    /// The worker's own links to the core.
    own: OwnLinks,
    control: Arc<Bell>,
    topology: &'a Topology,
    /// The count that puts the workers' news in order, where anybody wants them.
    order: Option<Arc<AtomicU64>>,
}

impl Parts<'_> {
    fn worker<H: Handler>(self, bench: Bench, handler: H) -> (Worker<H>, Way, Intake) {
        let size = self.topology.ring.clamp(65_536, 1 << 30).max(4 * self.topology.message_max);
        let (to_core, messages): (Producer, Consumer) = ring(size);
        let (to_worker, from_core) = ring(size);
        let (news, events) = self
            .order
            .map(|order| (order, ring(size)))
            .map(|(order, (ring, events))| (News { ring, order }, events))
            .unzip();
        let (orders_in, orders) = rtrb::RingBuffer::new(ORDERS);
        let scratch = bench.streams.scratch();
        let rooms = self.own.rooms();
        let out = Outputs::new(bench.ports, bench.streams, (to_core, self.own), news, self.topology.message_max);
        let board = Board::new(|show| {
            out.counters.readings(show);
            handler.readings(show);
            out.own.readings(show);
        });
        let shared = Arc::new(WorkerShared { board, stop: AtomicBool::new(false) });
        let bell = Arc::clone(&bench.bell);
        let worker = Worker {
            clock: self.clock,
            poll: bench.poll,
            events: Events::with_capacity(1024),
            handler,
            out,
            rx: Batch::new(self.topology.batch.clamp(1, 256), self.topology.message_max),
            scratch,
            rooms,
            from_core,
            orders,
            bell: bench.bell,
            neighbours: bench.neighbours,
            control: self.control,
            shared,
            pacer: Pacer::new(self.topology.pace),
            published_ms: 0,
            dirty: true,
        };
        let way = Way { to: to_worker, orders: orders_in, backlog: VecDeque::new(), bell, pushed: false };
        (worker, way, Intake { messages, events })
    }
}
