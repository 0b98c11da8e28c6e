//! The node with the proxy engine in it, over real sockets: phones that speak PKD1 in SIP on one side, a small core
//! (softswitch and AuC in one thread) on the other. Phones and core are those of the engine's own tests.

#[path = "../../engine/tests/common/mod.rs"]
#[allow(clippy::wrong_self_convention)]
mod common;
#[path = "corethread/mod.rs"]
mod corethread;
#[path = "watched/mod.rs"]
mod watched;

use std::io::{Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use common::{IDSP, Phone, REALM, SIP};
use corethread::{CoreThread, any, await_counter, message_for, now};
use portunus_channel::esp::Esp;
use portunus_channel::sealed::Sealed;
use portunus_engine::{ListenerKind, Policy};
use portunus_io::count::Counting;
use portunus_io::fault::{Fault, Faults};
use portunus_keydist::Idc;
use portunus_keydist::mech::{Mech, MechList};
use portunus_keydist::schedule::Key;
use portunus_node::{Cpus, ListenerConfig, Node, NodeConfig, NodeHandle, Topology, UdpConfig, UdpUpstream};
use portunus_signalling::{Protocol, Transport};
use portunus_sip::frame;
use watched::Watched;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const UDP: usize = 0;
const SEALED: usize = 1;
const ESP: usize = 3;
const TCP: usize = 2;

fn config(workers: usize) -> NodeConfig {
    let access = |transport| ListenerKind::Access { signalling: &SIP, transport, stock_phones: false };
    let listener = |kind| ListenerConfig { bind: any(), advertised: None, kind };
    NodeConfig {
        topology: Topology { cpus: Cpus::Unpinned(workers), ..Topology::default() },
        idsp: IDSP.into(),
        realm: REALM.into(),
        routes: Default::default(),
        device: Key::new([0x5a; 32]).prk().into(),
        listeners: vec![
            listener(access(Transport::Udp)),
            listener(ListenerKind::Protected(&Sealed)),
            listener(access(Transport::Tcp)),
            listener(ListenerKind::Protected(&Esp)),
        ],
        capacity: portunus_engine::Capacity { sessions: 512, pendings: 256, ..common::capacity() },
        policy: Policy { mechanisms: [Mech::Sealed, Mech::Esp].into_iter().collect(), ..Policy::default() },
        kernel: None,
        middleware: None,
    }
}

fn start(config: NodeConfig, core: &CoreThread) -> NodeHandle {
    let link = UdpConfig::new(Protocol::Sip, any(), vec![core.socket.local_addr().unwrap()]);
    Node::start(config, Box::new(UdpUpstream::new(link))).unwrap()
}

/// A phone with its socket.
struct Line {
    phone: Phone,
    socket: UdpSocket,
}

impl Line {
    fn new(core: &CoreThread, idc: &str) -> Self {
        let socket = UdpSocket::bind(any()).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
        Self { phone: core.phone(idc, socket.local_addr().unwrap()), socket }
    }

    /// Offers ESP alone.
    fn under_esp(mut self) -> Self {
        self.phone.mechs = MechList::from_text("ipsec-man;spi-c=3221225729;port-c=5062").unwrap();
        self
    }

    /// Sends a protected datagram where its mechanism is listened for.
    fn send_protected(&self, node: &NodeHandle, octets: &[u8]) {
        let session = self.phone.session.as_ref().expect("a session");
        let listener = if session.mech() == Mech::Esp { ESP } else { SEALED };
        assert_eq!(session.port, node.listeners()[listener].port());
        self.send(node, listener, octets);
    }

    fn send(&self, node: &NodeHandle, listener: usize, octets: &[u8]) {
        self.socket.send_to(octets, node.listeners()[listener]).unwrap();
    }

    fn receive(&self) -> Option<Vec<u8>> {
        let mut buffer = [0; 9000];
        let len = self.socket.recv(&mut buffer).ok()?;
        Some(buffer[..len].to_vec())
    }

    fn ask(&self, node: &NodeHandle, octets: &[u8]) -> Vec<u8> {
        self.send(node, UDP, octets);
        self.receive().expect("an answer")
    }

    fn register(&mut self, node: &NodeHandle) {
        let s1 = self.phone.s1(now());
        let s6 = self.ask(node, &s1);
        let s7 = self.phone.s7(now(), &s6);
        let s10 = self.ask(node, &s7);
        assert!(self.phone.on_s10(&s10), "{}", String::from_utf8_lossy(&s10));
        let confirmation = self.phone.seal(0, b"");
        self.send_protected(node, &confirmation);
        let answer = self.receive().expect("a protected answer");
        assert_eq!(self.phone.open(&answer), Some((0, Vec::new())));
    }
}

#[test]
fn terminals_register_confirm_and_are_reached_on_whichever_worker_they_are() {
    for workers in [1, 3] {
        let core = CoreThread::start();
        let node = start(config(workers), &core);
        let line = |nth: u32| Line::new(&core, &format!("t{nth}@example.test"));
        let mut lines: Vec<_> =
            (0..24).map(|nth| if nth % 2 == 0 { line(nth) } else { line(nth).under_esp() }).collect();
        for line in &mut lines {
            line.register(&node);
        }
        await_counter(&node, "sessions_active", 24);
        await_counter(&node, "directory", if workers > 1 { 24 } else { 0 });
        for line in &lines {
            let idc = line.phone.idc.clone();
            core.socket.send_to(message_for(&idc, &node, &core).as_bytes(), node.core()).unwrap();
            let (protocol, content) = line.phone.open(&line.receive().expect("the message")).expect("it opens");
            assert_eq!(protocol, 1);
            let text = String::from_utf8(content).unwrap();
            assert!(text.starts_with("MESSAGE ") && text.ends_with("\r\n\r\nhello"), "{text}");
        }
        // Keep-alives and key exchanges name no worker; some worker drops them.
        for octets in [&[0xff][..], &[0; 4], &[0; 60]] {
            lines[1].send(&node, ESP, octets);
        }
        await_counter(&node, "sealed_keep_alive", 1);
        await_counter(&node, "sealed_marker", 2);
        // Nobody there, and the proxy itself.
        core.socket.send_to(message_for("nobody@example.test", &node, &core).as_bytes(), node.core()).unwrap();
        assert!(core.heard().starts_with(b"SIP/2.0 480 "));
        let own = node.core();
        let options = message_for("x", &node, &core).replace("MESSAGE", "OPTIONS").replace("sip:x@", "sip:");
        core.socket.send_to(options.as_bytes(), own).unwrap();
        assert!(core.heard().starts_with(b"SIP/2.0 200 "));
        for name in [
            "core_unroutable",
            "ring_core_full",
            "ring_events_lost",
            "core_ring_full",
            "link_foreign",
            "sealed_unknown_kid",
        ] {
            assert_eq!(node.counter(name), 0, "{name}");
        }
        node.stop().unwrap();
    }
}

#[test]
fn a_terminal_that_moves_to_another_worker_has_one_session() {
    let core = CoreThread::start();
    let node = start(config(2), &core);
    // Sources are spread by a seed that nobody outside knows: a few lines reach both workers.
    for _ in 0..8 {
        Line::new(&core, "mover@example.test").register(&node);
        await_counter(&node, "sessions_active", 1);
    }
    await_counter(&node, "sessions_confirmed", 8);
    // The control thread publishes in its own time.
    let told = || (node.counter("sessions_replaced"), node.counter("sessions_moved"));
    let (replaced, moved) = (0..200)
        .find_map(|_| {
            std::thread::sleep(Duration::from_millis(10));
            Some(told()).filter(|(replaced, moved)| replaced + moved == 7)
        })
        .unwrap_or_else(told);
    assert_eq!(replaced + moved, 7);
    await_counter(&node, "sessions_commanded", moved);
    assert_eq!(node.counter("directory"), 1);
    // And ended from outside.
    node.end_session(Idc::new("mover@example.test").unwrap());
    await_counter(&node, "sessions_active", 0);
    await_counter(&node, "directory", 0);
    node.stop().unwrap();
}

#[test]
fn a_terminal_registers_over_tcp_and_is_answered_there() {
    let core = CoreThread::start();
    let node = start(config(2), &core);
    let mut stream = TcpStream::connect(node.listeners()[TCP]).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    let mut phone = core.phone("tcp@example.test", stream.local_addr().unwrap());
    phone.listener = common::TCP;
    let mut ask = |octets: &[u8]| {
        stream.write_all(octets).unwrap();
        let mut got = Vec::new();
        loop {
            let mut buffer = [0; 4096];
            let len = stream.read(&mut buffer).unwrap();
            assert_ne!(len, 0, "closed");
            got.extend_from_slice(&buffer[..len]);
            if let frame::Frame::Message(len) = frame::next_message(&got) {
                assert_eq!(len, got.len());
                return got;
            }
        }
    };
    let s6 = ask(&phone.s1(now()));
    let s10 = ask(&phone.s7(now(), &s6));
    assert!(phone.on_s10(&s10));
    // A ping between messages is answered by a pong (RFC 5626 section 3.5.1).
    stream.write_all(b"\r\n\r\n").unwrap();
    let mut pong = [0; 2];
    stream.read_exact(&mut pong).unwrap();
    assert_eq!(&pong, b"\r\n");
    // Garbage ends the connection, not the session.
    stream.write_all(b"\r\nREGISTER sip:x SIP/2.0\r\nContent-Length: x\r\n\r\n").unwrap();
    assert_eq!(stream.read(&mut pong).unwrap_or(0), 0);
    await_counter(&node, "stream_broken", 1);
    await_counter(&node, "sessions_provisional", 1);
    node.stop().unwrap();
}

#[test]
fn draining_turns_new_ones_away_and_a_reload_is_checked() {
    let core = CoreThread::start();
    let node = start(config(2), &core);
    let mut line = Line::new(&core, "early@example.test");
    line.register(&node);
    node.drain();
    std::thread::sleep(Duration::from_millis(50));
    let mut late = Line::new(&core, "late@example.test");
    let s1 = late.phone.s1(now());
    let answer = late.ask(&node, &s1);
    assert!(answer.starts_with(b"SIP/2.0 503 "), "{}", String::from_utf8_lossy(&answer));
    node.resume();
    std::thread::sleep(Duration::from_millis(50));
    late.register(&node);
    assert!(node.reload(Policy { life_s: 1, ..Policy::default() }).is_err());
    node.reload(Policy { life_s: 7777, ..Policy::default() }).unwrap();
    std::thread::sleep(Duration::from_millis(50));
    let mut third = Line::new(&core, "third@example.test");
    let s1 = third.phone.s1(now());
    let s6 = third.ask(&node, &s1);
    let s7 = third.phone.s7(now(), &s6);
    let s10 = String::from_utf8(third.ask(&node, &s7)).unwrap();
    assert!(s10.contains("life=\"7777\"") || s10.contains("life=7777"), "{s10}");
    node.stop().unwrap();
}

#[test]
fn registration_gets_through_a_lossy_access_network() {
    let core = CoreThread::start();
    let mut config = config(2);
    let faults = Faults { drop: 200, duplicate: 100, reorder: 100, corrupt: 0 };
    config.middleware = Some(Arc::new(move |place, link| {
        let seed = u64::from(place.worker) << 8 | u64::from(place.listener);
        Box::new(Fault::new(link, faults, seed))
    }));
    let node = start(config, &core);
    for nth in 0..10 {
        let mut line = Line::new(&core, &format!("lossy{nth}@example.test"));
        line.socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        // As a terminal does: repeats the same octets until something comes.
        let persist = |line: &Line, octets: &[u8], wanted: &str| {
            (0..40)
                .find_map(|_| {
                    line.send(&node, UDP, octets);
                    line.receive().filter(|got| got.starts_with(wanted.as_bytes()))
                })
                .expect("an answer in the end")
        };
        let s1 = line.phone.s1(now());
        let s6 = persist(&line, &s1, "SIP/2.0 401 ");
        let s7 = line.phone.s7(now(), &s6);
        let s10 = persist(&line, &s7, "SIP/2.0 200 ");
        assert!(line.phone.on_s10(&s10));
        let opened = (0..40).find_map(|_| {
            let confirmation = line.phone.seal(0, b"");
            line.send(&node, SEALED, &confirmation);
            line.phone.open(&line.receive()?)
        });
        assert_eq!(opened, Some((0, Vec::new())));
    }
    node.stop().unwrap();
}

#[test]
fn workers_allocate_nothing_while_terminals_register() {
    let core = CoreThread::start();
    let config = config(2);
    let link = UdpConfig::new(Protocol::Sip, any(), vec![core.socket.local_addr().unwrap()]);
    let node = Node::start_wrapped(config, Box::new(UdpUpstream::new(link)), Watched::new).unwrap();
    for nth in 0..40 {
        let line = Line::new(&core, &format!("a{nth}@example.test"));
        (if nth % 2 == 0 { line } else { line.under_esp() }).register(&node);
    }
    await_counter(&node, "sessions_active", 40);
    assert_eq!(node.counter("watched"), 2);
    assert_eq!(node.counter("allocations"), 0);
    node.stop().unwrap();
}
