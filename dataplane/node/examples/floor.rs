//! What a message costs the node itself: the bare forwarder under a closed-loop load, CPU time of its own threads,
//! system calls and wake-ups a message.
//!
//! `cargo run --release -p portunus-node --example floor -- [window] [rest in us] [workers] [seconds] [rate] [ring in KiB] [coalescing]`
//!
//! With a rate (messages a second) the load is open-loop instead, and the window means nothing. Coalescing: 0 none, 1 the
//! node's link, 2 the core as well.
//!
//! Generator and core run in the same process and are not counted. Figures of one machine at one moment: compare only
//! what one run prints, or runs that alternate.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use portunus_io::listen::{self, Buffers};
use portunus_io::steer::Steer;
use portunus_io::{Batch, Rx, Tx, UdpPort};
use portunus_node::floor::{Floor, FloorRouter};
use portunus_node::{Cpus, Node, Pace, Plan, PlanKind, PlanListener, Topology, UdpConfig, UdpUpstream};
use portunus_signalling::Protocol;

const LEN: usize = 700;

fn any() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

fn blocking(port: UdpSocket) -> (UdpSocket, UdpPort) {
    let wait = port.try_clone().expect("a second handle");
    wait.set_nonblocking(false).expect("blocking");
    wait.set_read_timeout(Some(Duration::from_millis(20))).expect("timeout");
    let _ = wait.set_nonblocking(false);
    (wait, UdpPort::new(port, 64))
}

/// Waits until something can be received, without receiving it.
fn wait(socket: &UdpSocket) -> bool {
    socket.peek(&mut [0]).is_ok()
}

/// Sends everything back.
fn core(socket: UdpSocket, coalesce: bool, stop: Arc<AtomicBool>) {
    let (waiting, mut port) = blocking(socket);
    let mut batch = if coalesce { Batch::coalescing(32) } else { Batch::new(64, 2048) };
    let mut known = None;
    while !stop.load(Ordering::Relaxed) {
        if wait(&waiting) && port.recv(&mut batch).is_ok() {
            // One node, one peer: connected, it can join what it sends.
            if coalesce && known.is_none() {
                known = batch.peer(0);
                let socket = waiting.try_clone().expect("a second handle");
                known.iter().for_each(|peer| socket.connect(peer).expect("a peer"));
                port = UdpPort::new(socket, 64);
                port.coalesce();
            }
            let _ = port.send(&mut batch);
            batch.clear();
        }
    }
}

/// Sends `rate` messages a second, whatever comes back.
fn open_loop(to: SocketAddr, rate: usize, stop: Arc<AtomicBool>, count: Arc<AtomicU64>) {
    let mut port = UdpPort::new(listen::udp(any(), Buffers::default()).expect("a socket"), 64);
    let mut batch = Batch::new(64, 2048);
    let (began, mut sent) = (Instant::now(), 0);
    while !stop.load(Ordering::Relaxed) {
        let due = (began.elapsed().as_secs_f64() * rate as f64) as usize;
        while sent < due {
            batch.push(to, &[b'x'; LEN]);
            let _ = port.send(&mut batch);
            batch.clear();
            sent += 1;
        }
        let _ = port.recv(&mut batch);
        count.fetch_add(batch.len() as u64, Ordering::Relaxed);
        batch.clear();
        std::thread::sleep(Duration::from_micros(1));
    }
}

/// Keeps `window` messages under way.
fn generator(to: SocketAddr, window: usize, stop: Arc<AtomicBool>, count: Arc<AtomicU64>) {
    let (waiting, mut port) = blocking(listen::udp(any(), Buffers::default()).expect("a socket"));
    let mut batch = Batch::new(64, 2048);
    let mut underway = 0;
    while !stop.load(Ordering::Relaxed) {
        while underway < window {
            while underway < window && !batch.is_full() {
                batch.push(to, &[b'x'; LEN]);
                underway += 1;
            }
            let _ = port.send(&mut batch);
            batch.clear();
        }
        if !wait(&waiting) {
            // Lost somewhere: begin anew.
            underway = 0;
            continue;
        }
        let _ = port.recv(&mut batch);
        underway -= batch.len().min(underway);
        count.fetch_add(batch.len() as u64, Ordering::Relaxed);
        batch.clear();
    }
}

/// CPU time in microseconds of this process's threads whose name begins so.
fn cpu_us(name: &str) -> u64 {
    let tasks = std::fs::read_dir("/proc/self/task").expect("proc");
    tasks
        .flatten()
        .filter(|task| {
            std::fs::read_to_string(task.path().join("comm")).is_ok_and(|comm| comm.trim().starts_with(name))
        })
        .filter_map(|task| std::fs::read_to_string(task.path().join("schedstat")).ok())
        .filter_map(|text| text.split(' ').next()?.parse::<u64>().ok())
        .sum::<u64>()
        / 1000
}

fn main() {
    let argument =
        |nth: usize, default: usize| std::env::args().nth(nth).and_then(|text| text.parse().ok()).unwrap_or(default);
    let (window, rest, workers, seconds) = (argument(1, 64), argument(2, 100), argument(3, 1), argument(4, 2));
    let (rate, ring, coalesce) = (argument(5, 0), argument(6, 1024) * 1024, argument(7, 1));
    let stop = Arc::new(AtomicBool::new(false));
    let count = Arc::new(AtomicU64::new(0));
    let socket = listen::udp(any(), Buffers::default()).expect("a socket");
    let peer = socket.local_addr().expect("its address");
    let mut threads = Vec::new();
    let told = Arc::clone(&stop);
    threads.push(std::thread::spawn(move || core(socket, coalesce > 1, told)));
    let listener = PlanListener { bind: any(), advertised: None, kind: PlanKind::Udp(Steer::Source { seed: 1 }) };
    let pace = Pace { rest: Duration::from_micros(rest as u64), ..Pace::default() };
    let topology = Topology { cpus: Cpus::Unpinned(workers), pace, ring, ..Topology::default() };
    let plan = Plan { topology, listeners: vec![listener], middleware: None, kernel: None };
    let link = UdpConfig { coalesce: coalesce > 0, ..UdpConfig::new(Protocol::Sip, any(), vec![peer]) };
    let link = Box::new(UdpUpstream::new(link));
    let node = Node::start_with(&plan, link, |_| Box::new(FloorRouter), |seat| Ok(Floor::new(seat.worker)));
    let node = node.expect("a node");
    for _ in 0..workers {
        let (to, told, count) = (node.listeners()[0], Arc::clone(&stop), Arc::clone(&count));
        threads.push(std::thread::spawn(move || match rate {
            0 => generator(to, window, told, count),
            rate => open_loop(to, rate / workers, told, count),
        }));
    }
    std::thread::sleep(Duration::from_millis(300));
    let names = ["io_rx_datagrams", "calls_io", "calls_poll", "link_calls", "wakes_issued", "rests", "loops"];
    let read = || (cpu_us("worker"), cpu_us("control"), count.load(Ordering::Relaxed), names.map(|n| node.counter(n)));
    let (began, before) = (Instant::now(), read());
    std::thread::sleep(Duration::from_secs(seconds as u64));
    let after = read();
    let (trips, elapsed) = ((after.2 - before.2) as f64, began.elapsed().as_secs_f64());
    println!(
        "{:.0} round trips/s; CPU a round trip: worker {:.2} us, control {:.2} us, both {:.2} us",
        trips / elapsed,
        (after.0 - before.0) as f64 / trips,
        (after.1 - before.1) as f64 / trips,
        (after.0 - before.0 + after.1 - before.1) as f64 / trips,
    );
    for (nth, name) in names.iter().enumerate() {
        println!("  {name:16} {:.4} a round trip", (after.3[nth] - before.3[nth]) as f64 / trips);
    }
    stop.store(true, Ordering::Relaxed);
    for thread in threads {
        let _ = thread.join();
    }
    if let Err(failure) = node.stop() {
        eprintln!("{failure}");
    }
}
