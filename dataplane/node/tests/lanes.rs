//! The node with protocols that tell terminals apart by their address, over real sockets: each terminal has a port of
//! its own towards the core, from a bounded pool.

#[path = "../../engine/tests/common/mod.rs"]
#[allow(clippy::wrong_self_convention)]
mod common;
#[path = "../../engine/tests/protocols/dialect.rs"]
#[allow(dead_code)]
mod dialect;
#[path = "../../engine/tests/protocols/h248.rs"]
mod h248;
#[path = "../../engine/tests/protocols/mgcp.rs"]
mod mgcp;
#[path = "../../engine/tests/protocols/ras.rs"]
mod ras;
#[path = "../../engine/tests/protocols/stage.rs"]
#[allow(dead_code)]
mod stage;
#[path = "watched/mod.rs"]
mod watched;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use common::{IDSP, REALM};
use dialect::{Asked, Dialect, Said};
use portunus_channel::sealed::Sealed;
use portunus_engine::{Capacity, ListenerKind, Policy};
use portunus_io::count::Counting;
use portunus_keydist::Now;
use portunus_keydist::steps::Refusal;
use portunus_node::{Cpus, LanesConfig, LanesUpstream, Links, ListenerConfig, Node, NodeConfig, NodeHandle, Topology};
use portunus_signalling::Transport;
use stage::{Core, Terminal, proxy_key};
use watched::Watched;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const ALL: [&dyn Dialect; 3] = [&mgcp::Calls, &h248::Gateways, &ras::Endpoints];

fn any() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 0))
}

fn now() -> Now {
    let wall = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    Now { mono_ms: 0, wall_ms: wall.as_millis() as u64 }
}

/// What the core has seen: where each terminal's steps came from, and what came besides steps.
#[derive(Default)]
struct Seen {
    s2: BTreeMap<String, SocketAddr>,
    s8: BTreeMap<String, SocketAddr>,
    others: Vec<(SocketAddr, Vec<u8>)>,
}

/// A core for one protocol, in a thread.
struct CoreThread {
    dialect: &'static dyn Dialect,
    socket: UdpSocket,
    core: Arc<Mutex<Core>>,
    seen: Arc<Mutex<Seen>>,
    /// It does not hear so many messages that come next.
    deaf: Arc<AtomicU32>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl CoreThread {
    fn start(dialect: &'static dyn Dialect) -> Self {
        Self::start_at(dialect, any())
    }

    fn start_at(dialect: &'static dyn Dialect, address: SocketAddr) -> Self {
        let socket = UdpSocket::bind(address).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        let core = Arc::new(Mutex::new(Core::new(dialect, now().wall_ms)));
        let (seen, stop) = (Arc::new(Mutex::new(Seen::default())), Arc::new(AtomicBool::new(false)));
        let (link, mine, notes, told) =
            (socket.try_clone().unwrap(), Arc::clone(&core), Arc::clone(&seen), Arc::clone(&stop));
        let deaf = Arc::new(AtomicU32::new(0));
        let lost = Arc::clone(&deaf);
        let thread = std::thread::spawn(move || {
            let mut buffer = [0; 9000];
            while !told.load(Ordering::Relaxed) {
                let Ok((len, from)) = link.recv_from(&mut buffer) else { continue };
                let octets = &buffer[..len];
                if lost.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok() {
                    continue;
                }
                let mut seen = notes.lock().unwrap();
                match dialect.asked(octets) {
                    Asked::S2 { idc, .. } => _ = seen.s2.insert(idc, from),
                    Asked::S8 { idc, .. } => _ = seen.s8.insert(idc, from),
                    Asked::Other => seen.others.push((from, octets.to_vec())),
                }
                drop(seen);
                for answer in mine.lock().unwrap().answer(octets) {
                    link.send_to(&answer, from).unwrap();
                }
            }
        });
        Self { dialect, socket, core, seen, deaf, stop, thread: Some(thread) }
    }

    /// The next message besides steps that is of this transaction.
    fn heard(&self, like: &[u8]) -> (SocketAddr, Vec<u8>) {
        let transaction = |octets: &[u8]| self.dialect.signalling().transaction(octets);
        let end = Instant::now() + Duration::from_secs(3);
        while Instant::now() < end {
            let mut seen = self.seen.lock().unwrap();
            if let Some(at) = seen.others.iter().position(|(_, octets)| transaction(octets) == transaction(like)) {
                return seen.others.remove(at);
            }
            drop(seen);
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!("the core heard nothing");
    }

    fn lane(&self, idc: &str) -> SocketAddr {
        self.seen.lock().unwrap().s8[idc]
    }
}

impl Drop for CoreThread {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The listeners of the nth protocol; the sealed one stands behind them.
const SEALED: usize = 3;
const TCP: usize = 4;

fn start(workers: usize, cores: &[CoreThread], lanes: usize, policy: Policy) -> NodeHandle {
    Node::start(config(workers, policy), links(cores, lanes)).unwrap()
}

fn config(workers: usize, policy: Policy) -> NodeConfig {
    let listener = |kind| ListenerConfig { bind: any(), advertised: None, kind };
    let access = |d: &dyn Dialect, transport| {
        listener(ListenerKind::Access { signalling: d.signalling(), transport, stock_phones: false })
    };
    NodeConfig {
        topology: Topology { cpus: Cpus::Unpinned(workers), ..Topology::default() },
        idsp: IDSP.into(),
        realm: REALM.into(),
        routes: Default::default(),
        device: proxy_key().prk().into(),
        listeners: vec![
            access(ALL[0], Transport::Udp),
            access(ALL[1], Transport::Udp),
            access(ALL[2], Transport::Udp),
            listener(ListenerKind::Protected(&Sealed)),
            access(ALL[1], Transport::Tcp),
        ],
        capacity: Capacity { sessions: 512, pendings: 256, ..common::capacity() },
        policy,
        kernel: None,
        middleware: None,
    }
}

fn links(cores: &[CoreThread], lanes: usize) -> Box<Links> {
    let mut links = Links::new();
    for core in cores {
        let protocol = core.dialect.signalling().protocol();
        let peers = vec![core.socket.local_addr().unwrap()];
        let told = LanesConfig { lanes, ..LanesConfig::new(protocol, IpAddr::V4(Ipv4Addr::LOCALHOST), peers) };
        links = links.with(protocol, Box::new(LanesUpstream::new(told)));
    }
    Box::new(links)
}

/// A terminal with its socket.
struct Line<'c> {
    core: &'c CoreThread,
    /// Its listener.
    nth: usize,
    terminal: Terminal,
    socket: UdpSocket,
}

impl<'c> Line<'c> {
    fn new(core: &'c CoreThread, nth: usize, idc: &str) -> Self {
        let socket = UdpSocket::bind(any()).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
        let terminal = core.core.lock().unwrap().terminal_as(idc, &socket.local_addr().unwrap().to_string());
        Self { core, nth, terminal, socket }
    }

    fn send(&self, node: &NodeHandle, listener: usize, octets: &[u8]) {
        self.socket.send_to(octets, node.listeners()[listener]).unwrap();
    }

    fn receive(&self) -> Vec<u8> {
        let mut buffer = [0; 9000];
        let len = self.socket.recv(&mut buffer).expect("an answer");
        buffer[..len].to_vec()
    }

    /// Sends a step and waits for the proxy's; its receipts are passed over.
    fn ask(&self, node: &NodeHandle, octets: &[u8]) -> Vec<u8> {
        self.send(node, self.nth, octets);
        loop {
            let answer = self.receive();
            if !matches!(self.core.dialect.said(&answer), Said::Receipt { .. }) {
                return answer;
            }
        }
    }

    fn try_register(&mut self, node: &NodeHandle) -> Result<(), Refusal> {
        let d = self.core.dialect;
        let s1 = self.terminal.s1(d, now());
        let s6 = self.ask(node, &s1);
        let s7 = self.terminal.s7(d, now(), &s6);
        let s10 = self.ask(node, &s7);
        if let Said::Refused(refusal) = d.said(&s10) {
            return Err(refusal);
        }
        assert!(self.terminal.on_s10(d, &s10));
        let confirmation = self.terminal.seal(0, b"");
        self.send(node, SEALED, &confirmation);
        assert_eq!(self.terminal.open(&self.receive()), Some((0, Vec::new())));
        Ok(())
    }

    fn register(&mut self, node: &NodeHandle) {
        assert_eq!(self.try_register(node), Ok(()));
    }

    fn say(&mut self, node: &NodeHandle, octets: &[u8]) {
        let datagram = self.terminal.seal(self.core.dialect.signalling().protocol() as u8, octets);
        self.send(node, SEALED, &datagram);
    }

    fn hear(&self) -> Vec<u8> {
        self.terminal.open(&self.receive()).expect("it opens").1
    }
}

fn await_counter(node: &NodeHandle, name: &str, want: u64) {
    let end = Instant::now() + Duration::from_secs(3);
    while node.counter(name) != want && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(node.counter(name), want, "{name}");
}

#[test]
fn each_terminal_has_a_port_of_its_own_and_is_reached_by_it() {
    for workers in [1, 3] {
        let cores = ALL.map(CoreThread::start);
        let node = start(workers, &cores, 64, Policy::default());
        let mut lines = Vec::new();
        for (nth, core) in cores.iter().enumerate() {
            for n in 0..6 {
                lines.push(Line::new(core, nth, &format!("gw{n}-{nth}.example.test")));
            }
        }
        for line in &mut lines {
            line.register(&node);
        }
        await_counter(&node, "lane_active", 18);
        for (nth, core) in cores.iter().enumerate() {
            let seen = core.seen.lock().unwrap();
            let mut shared: Vec<_> = seen.s2.values().collect();
            let mut lanes: Vec<_> = seen.s8.values().collect();
            assert!(lanes.iter().all(|lane| !shared.contains(lane)));
            shared.sort_unstable();
            lanes.sort_unstable();
            shared.dedup();
            lanes.dedup();
            assert!((1..=workers).contains(&shared.len()), "one port a worker");
            assert_eq!(lanes.len(), 6, "one port a terminal, in protocol {nth}");
        }
        for line in &mut lines {
            let (d, idc) = (line.core.dialect, line.terminal.idc.clone());
            let lane = line.core.lane(&idc);
            // Down by the lane, the answer back by it; up by it, the answer down.
            let command = d.command(6001, &idc);
            line.core.socket.send_to(&command, lane).unwrap();
            let heard = line.hear();
            line.say(&node, &d.done(&heard, &idc));
            assert_eq!(line.core.heard(&command).0, lane);
            let request = d.request(77, &idc);
            line.say(&node, &request);
            let (from, request) = line.core.heard(&request);
            assert_eq!(from, lane);
            line.core.socket.send_to(&d.granted(&request), lane).unwrap();
            line.hear();
        }
        // A stranger's word counts for nothing at a lane.
        let strange = UdpSocket::bind("127.0.0.2:0").unwrap();
        let lane = cores[1].lane("gw0-1.example.test");
        strange.send_to(&ALL[1].command(6002, "gw0-1.example.test"), lane).unwrap();
        await_counter(&node, "lane_foreign", 1);
        assert_eq!(node.counter("ring_core_sent") == 0, workers == 1, "a lone worker drives the lanes itself");
        for name in ["core_unroutable", "core_ring_full", "ring_events_lost", "core_mismatched", "relay_fault"] {
            assert_eq!(node.counter(name), 0, "{name}");
        }
        node.stop().unwrap();
    }
}

#[test]
fn the_pool_is_bounded_and_active_sessions_keep_their_lanes() {
    let cores = [CoreThread::start(ALL[0])];
    let core = &cores[0];
    let policy = Policy { core_timeout_ms: 300, ..Policy::default() };
    let node = start(1, &cores, 3, policy);
    let mut lines: Vec<_> = (0..5).map(|n| Line::new(core, 0, &format!("gw{n}.example.test"))).collect();
    for line in &mut lines[..3] {
        line.register(&node);
    }
    await_counter(&node, "lane_active", 3);
    let refused = lines[3].try_register(&node);
    assert!(matches!(refused, Err(Refusal::Busy { .. })), "{refused:?}");
    assert_eq!(node.counter("lane_none_free"), 1);
    // One leaves: the next finds room, and those that stayed are reached as before.
    let d = core.dialect;
    let leave = d.leave(90, &lines[1].terminal.idc);
    lines[1].say(&node, &leave);
    let (from, asked) = core.heard(&leave);
    core.socket.send_to(&d.granted(&asked), from).unwrap();
    lines[1].hear();
    await_counter(&node, "lane_active", 2);
    lines[4].register(&node);
    await_counter(&node, "lane_reused", 1);
    await_counter(&node, "lane_active", 3);
    for nth in [0, 2, 4] {
        let idc = lines[nth].terminal.idc.clone();
        core.socket.send_to(&d.command(6003, &idc), core.lane(&idc)).unwrap();
        lines[nth].hear();
    }
    node.stop().unwrap();
}

/// What a lane carries is repeated by the terminal, and found again.
#[test]
fn what_the_core_does_not_hear_is_repeated_by_the_same_lane() {
    for workers in [1, 2] {
        let cores = [CoreThread::start(ALL[2])];
        let node = start(workers, &cores, 8, Policy::default());
        let mut line = Line::new(&cores[0], 2, "gw1.example.test");
        let d = cores[0].dialect;
        line.socket.set_read_timeout(Some(Duration::from_millis(150))).unwrap();
        let persist = |line: &Line<'_>, octets: &[u8]| {
            cores[0].deaf.store(2, Ordering::Relaxed);
            let mut buffer = [0; 9000];
            let answer = (0..20).find_map(|_| {
                line.send(&node, 2, octets);
                line.socket.recv(&mut buffer).ok()
            });
            buffer[..answer.expect("an answer in the end")].to_vec()
        };
        let s1 = line.terminal.s1(d, now());
        let s6 = persist(&line, &s1);
        let s7 = line.terminal.s7(d, now(), &s6);
        let s10 = persist(&line, &s7);
        assert!(line.terminal.on_s10(d, &s10));
        await_counter(&node, "lane_opened", 1);
        await_counter(&node, "retransmissions_relayed", 4);
        node.stop().unwrap();
    }
}

/// Its host refuses what is sent to a core that is gone; when it is back, the same lanes lead to it.
#[test]
fn a_core_that_is_gone_costs_its_terminals_nothing_but_time() {
    let core = CoreThread::start(ALL[2]);
    let (address, d) = (core.socket.local_addr().unwrap(), core.dialect);
    let policy = Policy { core_timeout_ms: 200, ..Policy::default() };
    let node = Node::start(config(1, policy), links(std::slice::from_ref(&core), 8)).unwrap();
    let mut line = Line::new(&core, 2, "gw1.example.test");
    let s1 = line.terminal.s1(d, now());
    let s6 = line.ask(&node, &s1);
    let s7 = line.terminal.s7(d, now(), &s6);
    let (socket, terminal) = (line.socket, line.terminal);
    drop(core);
    socket.send_to(&s7, node.listeners()[2]).unwrap();
    let mut buffer = [0; 9000];
    let len = socket.recv(&mut buffer).unwrap();
    assert!(matches!(d.said(&buffer[..len]), Said::Refused(Refusal::Busy { .. })));
    let again = CoreThread::start_at(d, address);
    // The same key, and numbers that were not used yet.
    again.core.lock().unwrap().terminal_as(&terminal.idc, "127.0.0.1:1");
    let mut line = Line { core: &again, nth: 2, terminal, socket };
    line.register(&node);
    await_counter(&node, "lane_opened", 1);
    await_counter(&node, "lane_active", 1);
    assert_eq!((node.counter("core_queue_full"), node.counter("lane_failed")), (0, 0));
    node.stop().unwrap();
}

#[test]
fn a_lone_worker_allocates_nothing_while_terminals_come_by_new_lanes() {
    let cores = ALL.map(CoreThread::start);
    let node = Node::start_wrapped(config(1, Policy::default()), links(&cores, 64), Watched::new).unwrap();
    for n in 0..30 {
        Line::new(&cores[n % 3], n % 3, &format!("gw{n}.example.test")).register(&node);
    }
    await_counter(&node, "lane_active", 30);
    assert_eq!((node.counter("watched"), node.counter("allocations")), (1, 0));
    node.stop().unwrap();
}

/// H.248.1 annex D.2: each message in a TPKT, which is no part of it, of its MAC neither.
#[test]
fn h248_over_tcp_is_framed_by_tpkt() {
    let cores = [CoreThread::start(ALL[1])];
    let node = start(2, &cores, 16, Policy::default());
    let mut line = Line::new(&cores[0], 1, "gw1.example.test");
    let mut stream = TcpStream::connect(node.listeners()[TCP]).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    let d = cores[0].dialect;
    let mut ask = |octets: &[u8]| -> Vec<u8> {
        let len = (octets.len() + 4) as u16;
        let framed = [&[3, 0, (len >> 8) as u8, len as u8][..], octets].concat();
        let (front, back) = framed.split_at(framed.len() / 2);
        stream.write_all(front).unwrap();
        stream.write_all(back).unwrap();
        loop {
            let mut header = [0; 4];
            stream.read_exact(&mut header).unwrap();
            assert_eq!(header[..2], [3, 0]);
            let mut message = vec![0; usize::from(u16::from_be_bytes([header[2], header[3]])) - 4];
            stream.read_exact(&mut message).unwrap();
            if !matches!(d.said(&message), Said::Receipt { .. }) {
                return message;
            }
        }
    };
    let s1 = line.terminal.s1(d, now());
    let s6 = ask(&s1);
    let s7 = line.terminal.s7(d, now(), &s6);
    let s10 = ask(&s7);
    assert!(line.terminal.on_s10(d, &s10));
    let confirmation = line.terminal.seal(0, b"");
    line.send(&node, SEALED, &confirmation);
    assert_eq!(line.terminal.open(&line.receive()), Some((0, Vec::new())));
    node.stop().unwrap();
}
