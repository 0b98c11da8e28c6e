//! The whole node over real sockets with the bare forwarder in place of the engine: what is under test is the loop,
//! the rings, the steering, the link to the core, and that none of it allocates.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use portunus_engine::{Command, CorePacket, Kind, Packet, Reading, Sink};
use portunus_io::count::{Counting, allocations};
use portunus_io::steer::Steer;
use portunus_io::stream::{Frame, Framing};
use portunus_keydist::Now;
use portunus_node::floor::{Floor, FloorRouter, LABEL};
use portunus_node::{Cpus, Handler, Node, NodeHandle, Plan, PlanKind, PlanListener, Topology, UdpConfig, UdpUpstream};
use portunus_signalling::Protocol;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn any() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

/// A floor that shows how often its thread has allocated since its first message, and can be told to panic.
struct Watched {
    floor: Floor,
    at_first: Option<u64>,
}

impl Handler for Watched {
    fn on_batch(&mut self, now: Now, packets: &mut [Packet<'_>], sink: &mut dyn Sink) {
        if packets.iter().any(|packet| packet.bytes == b"panic") {
            panic!("told to");
        }
        self.floor.on_batch(now, packets, sink);
        self.at_first.get_or_insert_with(allocations);
    }

    fn on_core(&mut self, now: Now, protocol: Protocol, packets: &[CorePacket<'_>], sink: &mut dyn Sink) {
        self.floor.on_core(now, protocol, packets, sink);
    }

    fn on_command(&mut self, now: Now, command: Command, sink: &mut dyn Sink) {
        self.floor.on_command(now, command, sink);
    }

    fn on_timer(&mut self, now: Now, sink: &mut dyn Sink) {
        self.floor.on_timer(now, sink);
    }

    fn next_deadline(&self) -> Option<u64> {
        None
    }

    fn readings(&self, show: &mut dyn FnMut(Reading)) {
        self.floor.readings(show);
        let value = self.at_first.map_or(0, |first| allocations() - first);
        show(Reading { name: "allocations", help: "since the first message", kind: Kind::Counter, value });
    }
}

/// A core that sends every message back, with its last octet inverted.
struct Core {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<u64>>,
}

impl Core {
    fn start() -> Self {
        let socket = UdpSocket::bind(any()).unwrap();
        let address = socket.local_addr().unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut buffer = [0; 9000];
            let mut count = 0;
            while !told.load(Ordering::Relaxed) {
                let Ok((len, from)) = socket.recv_from(&mut buffer) else { continue };
                buffer[len - 1] ^= 0xFF;
                socket.send_to(&buffer[..len], from).unwrap();
                count += 1;
            }
            count
        });
        Self { address, stop, thread: Some(thread) }
    }

    fn stop(&mut self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().map_or(0, |thread| thread.join().unwrap())
    }
}

/// Messages are lines.
fn lines(octets: &[u8]) -> Frame {
    octets.iter().position(|&octet| octet == b'\n').map_or(Frame::Incomplete, |at| Frame::Message(at + 1))
}

fn floor(workers: usize, peers: Vec<SocketAddr>) -> NodeHandle {
    let listener = |kind| PlanListener { bind: any(), advertised: None, kind };
    let plan = Plan {
        topology: Topology { cpus: Cpus::Unpinned(workers), ..Topology::default() },
        listeners: vec![
            listener(PlanKind::Udp(Steer::Source { seed: 5 })),
            listener(PlanKind::Udp(Steer::Octet { at: 4 })),
            listener(PlanKind::Tcp(Framing::plain(lines))),
        ],
        middleware: None,
        kernel: None,
    };
    let link = UdpUpstream::new(UdpConfig::new(Protocol::Sip, any(), peers));
    let make = |seat: &portunus_node::Seat<'_>| Ok(Watched { floor: Floor::new(seat.worker), at_first: None });
    Node::start_with(&plan, Box::new(link), |_| Box::new(FloorRouter), make).unwrap()
}

/// Waits until a sum of counters is reached; they are published with a delay.
fn await_counter(node: &NodeHandle, name: &str, want: u64) -> u64 {
    let end = Instant::now() + Duration::from_secs(3);
    while node.counter(name) < want && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(20));
    }
    node.counter(name)
}

/// Sends `rounds` messages from each of `sockets`, a window at a time, and checks each answer.
fn exchange(node: &NodeHandle, listener: usize, sockets: usize, rounds: usize) {
    let to = node.listeners()[listener];
    let clients: Vec<_> = (0..sockets)
        .map(|_| {
            let socket = UdpSocket::bind(any()).unwrap();
            socket.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
            socket
        })
        .collect();
    for round in 0..rounds {
        let message = |nth: usize| {
            let mut message = format!("....{} {round} {nth} ", (nth % 3) as u8 as char).into_bytes();
            message.resize(100 + nth * 13 % 700, b'x');
            message
        };
        for (nth, client) in clients.iter().enumerate() {
            client.send_to(&message(nth), to).unwrap();
        }
        for (nth, client) in clients.iter().enumerate() {
            let mut buffer = [0; 2000];
            let (len, from) = client.recv_from(&mut buffer).unwrap();
            let mut wanted = message(nth);
            *wanted.last_mut().unwrap() ^= 0xFF;
            assert_eq!((from, &buffer[..len]), (to, &wanted[..]));
        }
    }
}

#[test]
fn messages_go_there_and_back_and_workers_allocate_nothing() {
    for workers in [1, 3] {
        let mut core = Core::start();
        let node = floor(workers, vec![core.address]);
        assert_eq!(node.report().workers, workers);
        exchange(&node, 0, 40, 1);
        exchange(&node, 0, 40, 50);
        exchange(&node, 1, 40, 5);
        let messages = 40 * 56;
        for name in ["floor_down", "floor_up", "core_sent", "link_received"] {
            assert_eq!(await_counter(&node, name, messages), messages, "{name}");
        }
        for name in ["floor_dropped", "core_dropped", "core_ring_full", "core_unroutable", "link_foreign"] {
            assert_eq!(node.counter(name), 0, "{name}");
        }
        assert_eq!(node.counter("allocations"), 0);
        // All workers had a share.
        let shares: HashMap<u8, u64> = node
            .readings()
            .iter()
            .filter(|one| one.reading.name == "floor_up")
            .map(|one| (one.worker.unwrap(), one.reading.value))
            .collect();
        assert!(shares.len() == workers && shares.values().all(|&share| share > 0), "{shares:?}");
        assert_eq!(node.stop(), Ok(()));
        assert_eq!(core.stop(), messages);
    }
}

#[test]
fn connections_are_served_and_answers_find_them() {
    let mut core = Core::start();
    let node = floor(2, vec![core.address]);
    let to = node.listeners()[2];
    let mut clients: Vec<_> = (0..20).map(|_| TcpStream::connect(to).unwrap()).collect();
    for round in 0..20 {
        for (nth, client) in clients.iter_mut().enumerate() {
            // In two pieces, and two messages at once.
            let text = format!("{nth} {round} a\n{nth} {round} b\n");
            let (front, back) = text.as_bytes().split_at(3);
            client.write_all(front).unwrap();
            client.write_all(back).unwrap();
        }
        for (nth, client) in clients.iter_mut().enumerate() {
            client.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
            let mut wanted = format!("{nth} {round} a\n{nth} {round} b\n").into_bytes();
            for octet in &mut wanted {
                if *octet == b'\n' {
                    *octet ^= 0xFF;
                }
            }
            let mut got = vec![0; wanted.len()];
            client.read_exact(&mut got).unwrap();
            assert_eq!(got, wanted);
        }
    }
    drop(clients);
    assert_eq!(await_counter(&node, "stream_closed", 20), 20);
    assert_eq!(await_counter(&node, "io_rx_stream_messages", 800), 800);
    assert_eq!(node.counter("stream_open"), 0);
    node.stop().unwrap();
    core.stop();
}

#[test]
fn a_silent_core_is_passed_over_and_comes_back() {
    // The only worker has the link, or the control thread has it for several.
    for workers in [1, 2] {
        passes_over_a_silent_core(workers);
    }
}

fn passes_over_a_silent_core(workers: usize) {
    let mut core = Core::start();
    // Bound and never read: silent, not refused.
    let silent = UdpSocket::bind(any()).unwrap();
    let listener = PlanListener { bind: any(), advertised: None, kind: PlanKind::Udp(Steer::Source { seed: 5 }) };
    let topology = Topology { cpus: Cpus::Unpinned(workers), ..Topology::default() };
    let plan = Plan { topology, listeners: vec![listener], middleware: None, kernel: None };
    let peers = vec![silent.local_addr().unwrap(), core.address];
    let link = UdpConfig { silent_ms: 300, probe_ms: 200, ..UdpConfig::new(Protocol::Sip, any(), peers) };
    let make = |seat: &portunus_node::Seat<'_>| Ok(Floor::new(seat.worker));
    let link = Box::new(UdpUpstream::new(link));
    let node = Node::start_with(&plan, link, |_| Box::new(FloorRouter), make).unwrap();
    let clients: Vec<_> = (0..8).map(|_| UdpSocket::bind(any()).unwrap()).collect();
    let mut answered = Vec::new();
    for _ in 0..12 {
        for client in &clients {
            client.send_to(b"hello there", node.listeners()[0]).unwrap();
        }
        std::thread::sleep(Duration::from_millis(80));
        let mut buffer = [0; 100];
        let got = clients.iter().filter(|client| {
            client.set_nonblocking(true).unwrap();
            client.recv(&mut buffer).is_ok()
        });
        answered.push(got.count());
    }
    // At first those whose softswitch is silent go without; later at most the one that tries it does.
    assert!(answered[0] < 8, "{answered:?}");
    assert!(answered.iter().rev().take(3).all(|&count| count >= 7), "{answered:?}");
    assert_eq!(await_counter(&node, "link_peers_silent", 1), 1);
    // It speaks: the next messages go there again.
    silent.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    let mut buffer = [0; 100];
    let (len, from) = silent.recv_from(&mut buffer).unwrap();
    silent.send_to(&buffer[..len], from).unwrap();
    let end = Instant::now() + Duration::from_secs(3);
    while node.counter("link_peers_silent") > 0 && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(node.counter("link_peers_silent"), 0);
    node.stop().unwrap();
    core.stop();
}

#[test]
fn only_a_lone_worker_talks_to_the_core_itself() {
    let mut core = Core::start();
    for workers in [1, 2] {
        let node = floor(workers, vec![core.address]);
        exchange(&node, 0, 5, 5);
        let end = Instant::now() + Duration::from_secs(3);
        let of = |worker: bool, name: &str| {
            let readings = node.readings();
            let these = readings.iter().filter(|r| r.worker.is_some() == worker && r.reading.name == name);
            these.map(|r| r.reading.value).sum::<u64>()
        };
        while node.counter("core_received") < node.counter("floor_down").max(25) && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(20));
        }
        let alone = workers == 1;
        for name in ["core_sent", "core_received", "link_received"] {
            assert_eq!((of(true, name) > 0, of(false, name) > 0), (alone, !alone), "{name}, {workers} workers");
        }
        assert_eq!(node.counter("ring_core_sent") == 0, alone);
        assert_eq!(node.counter("link_peers"), 1);
        node.stop().unwrap();
    }
    core.stop();
}

#[test]
fn a_panic_in_a_worker_is_told_and_the_others_go_on() {
    let mut core = Core::start();
    let node = floor(2, vec![core.address]);
    let to = node.listeners()[1];
    let client = UdpSocket::bind(any()).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    assert_eq!(node.failure(Duration::from_millis(10)), None);
    // The sealed port: octet 4 of the payload names the worker. "panic"[4] is odd: worker 1.
    client.send_to(b"panic", to).unwrap();
    let failure = node.failure(Duration::from_secs(2)).unwrap();
    assert_eq!((failure.thread.as_str(), failure.reason.as_str()), ("worker 1", "told to"));
    for worker in [0u8, 2, 4] {
        let message = [b'x', b'x', b'x', b'x', worker, b'y'];
        client.send_to(&message, to).unwrap();
        let mut buffer = [0; 100];
        assert_eq!(client.recv(&mut buffer).unwrap(), message.len());
    }
    node.stop().unwrap();
    core.stop();
}

#[test]
fn a_flood_is_dropped_by_name_and_service_goes_on() {
    let mut core = Core::start();
    let node = floor(1, vec![core.address]);
    let to = node.listeners()[0];
    let flood = UdpSocket::bind(any()).unwrap();
    for _ in 0..30_000 {
        flood.send_to(&[b'f'; 1000], to).unwrap();
    }
    std::thread::sleep(Duration::from_millis(300));
    exchange(&node, 0, 5, 5);
    assert_eq!(node.failure(Duration::ZERO), None);
    // Every datagram that was received is accounted for, once all threads have published.
    let accounted = || {
        let received = node.counter("io_rx_datagrams");
        received > 25
            && received == node.counter("floor_up") + node.counter("floor_dropped")
            && node.counter("floor_up") == node.counter("core_sent") + node.counter("core_dropped")
    };
    let end = Instant::now() + Duration::from_secs(3);
    while !accounted() && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(accounted(), "{:?}", node.readings());
    node.stop().unwrap();
    core.stop();
}

#[test]
fn orders_and_stop_wake_a_sleeping_node() {
    let node = floor(2, vec![any_peer()]);
    std::thread::sleep(Duration::from_millis(400));
    let before = Instant::now();
    node.drain();
    node.resume();
    assert_eq!(node.stop(), Ok(()));
    assert!(before.elapsed() < Duration::from_millis(900), "{:?}", before.elapsed());
    assert_eq!(LABEL, 24);
}

fn any_peer() -> SocketAddr {
    // A port that was free a moment ago: its host refuses, which is no error of the node's.
    UdpSocket::bind(any()).unwrap().local_addr().unwrap()
}
