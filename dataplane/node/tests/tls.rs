//! Mechanism `tls` through a node's sockets: registrations over UDP, connections that arrive at whichever worker, what is
//! refused and how.

#[path = "../../engine/tests/common/mod.rs"]
#[allow(clippy::wrong_self_convention)]
mod common;
#[path = "corethread/mod.rs"]
mod corethread;

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use common::{IDSP, Phone, REALM, SIP};
use corethread::{CoreThread, any, await_counter, message_for, now};
use portunus_channel::sealed::Sealed;
use portunus_channel::tls::{Client, Connection, Identity, Limits, Psk};
use portunus_engine::{ListenerKind, Policy};
use portunus_keydist::Idc;
use portunus_keydist::mech::{Mech, MechList};
use portunus_keydist::schedule::Key;
use portunus_node::{Cpus, ListenerConfig, Node, NodeConfig, NodeHandle, Topology, UdpConfig, UdpUpstream};
use portunus_signalling::{Protocol, Transport};

const UDP: usize = 0;
const TLS: usize = 2;

fn start(workers: usize, core: &CoreThread) -> NodeHandle {
    let listener = |kind| ListenerConfig { bind: any(), advertised: None, kind };
    let mut topology = Topology { cpus: Cpus::Unpinned(workers), ..Topology::default() };
    topology.streams.opening_ms = 700;
    let config = NodeConfig {
        topology,
        idsp: IDSP.into(),
        realm: REALM.into(),
        routes: Default::default(),
        device: Key::new([0x5a; 32]).prk().into(),
        listeners: vec![
            listener(ListenerKind::Access { signalling: &SIP, transport: Transport::Udp, stock_phones: false }),
            listener(ListenerKind::Protected(&Sealed)),
            listener(ListenerKind::Tls { signalling: &SIP }),
        ],
        capacity: portunus_engine::Capacity { sessions: 512, pendings: 256, ..common::capacity() },
        policy: Policy { mechanisms: [Mech::Tls, Mech::Sealed].into_iter().collect(), ..Policy::default() },
        kernel: None,
        middleware: None,
    };
    let link = UdpConfig::new(Protocol::Sip, any(), vec![core.socket.local_addr().unwrap()]);
    Node::start(config, Box::new(UdpUpstream::new(link))).unwrap()
}

/// A connection of a terminal's.
struct Secured {
    tcp: TcpStream,
    tls: Connection,
}

impl Secured {
    /// Connects and shakes hands; the error is the last that the proxy said before it closed.
    fn open(at: SocketAddr, id: Identity, psk: Psk) -> Result<Self, Vec<u8>> {
        let mut tcp = TcpStream::connect(at).unwrap();
        tcp.set_read_timeout(Some(Duration::from_secs(3))).unwrap();
        let mut tls = Client::new(Limits::default()).unwrap().connection(id, psk).unwrap();
        let mut out = Vec::new();
        tls.start(&mut out).unwrap();
        let mut said = Vec::new();
        loop {
            tcp.write_all(&out).unwrap();
            out.clear();
            if tls.is_established() {
                return Ok(Self { tcp, tls });
            }
            let mut octets = [0; 4096];
            let count = tcp.read(&mut octets).unwrap();
            said.extend_from_slice(&octets[..count]);
            if count == 0 || tls.take(&octets[..count], &mut [0; 16], &mut out).is_err() {
                let mut rest = Vec::new();
                tcp.read_to_end(&mut rest).unwrap();
                said.extend(rest);
                return Err(said);
            }
        }
    }

    fn say(&mut self, text: &[u8]) {
        let mut out = Vec::new();
        self.tls.put(text, &mut out).unwrap();
        self.tcp.write_all(&out).unwrap();
    }

    /// What is inside next; `None` when the proxy closes.
    fn hear(&mut self) -> Option<String> {
        let (mut octets, mut room) = ([0; 9000], [0; 9000]);
        loop {
            let count = self.tcp.read(&mut octets).expect("an answer in time");
            if count == 0 {
                return None;
            }
            match self.tls.take(&octets[..count], &mut room, &mut Vec::new()) {
                Ok(taken) if taken.plain == 0 => {}
                Ok(taken) => return Some(String::from_utf8(room[..taken.plain].to_vec()).unwrap()),
                Err(_) => return None,
            }
        }
    }
}

/// A phone that offers `tls` first.
struct Line {
    phone: Phone,
    socket: UdpSocket,
}

impl Line {
    fn new(core: &CoreThread, idc: &str) -> Self {
        let socket = UdpSocket::bind(any()).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(3))).unwrap();
        let mut phone = core.phone(idc, socket.local_addr().unwrap());
        phone.mechs = MechList::from_text("tls;q=0.9 x-pkd-sealed;q=0.1").unwrap();
        Self { phone, socket }
    }

    fn ask(&self, node: &NodeHandle, octets: &[u8]) -> Vec<u8> {
        self.socket.send_to(octets, node.listeners()[UDP]).unwrap();
        let mut buffer = [0; 9000];
        let len = self.socket.recv(&mut buffer).expect("an answer");
        buffer[..len].to_vec()
    }

    /// Registers; the session is provisional then.
    fn register(&mut self, node: &NodeHandle) -> (Identity, Psk) {
        let s1 = self.phone.s1(now());
        let s6 = self.ask(node, &s1);
        let s7 = self.phone.s7(now(), &s6);
        let s10 = self.ask(node, &s7);
        assert!(self.phone.on_s10(&s10), "{}", String::from_utf8_lossy(&s10));
        let (id, psk, port) = self.phone.tls.clone().expect("tls was chosen");
        assert_eq!(port, node.listeners()[TLS].port());
        (id, psk)
    }
}

fn options(line: &Line) -> String {
    format!(
        "OPTIONS sip:example.test SIP/2.0\r\nVia: SIP/2.0/TLS {local};branch=z9hG4bKo1\r\nMax-Forwards: 70\r\n\
         From: <sip:{idc}>;tag=a\r\nTo: <sip:example.test>\r\nCall-ID: o1\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n",
        idc = line.phone.idc,
        local = line.phone.addr
    )
}

#[test]
fn terminals_confirm_by_the_handshake_and_are_reached_inside_whichever_worker_accepts() {
    for workers in [1, 3] {
        let core = CoreThread::start();
        let node = start(workers, &core);
        let at = node.listeners()[TLS];
        let mut lines: Vec<_> = (0..16).map(|nth| Line::new(&core, &format!("t{nth}@example.test"))).collect();
        let keys: Vec<_> = lines.iter_mut().map(|line| line.register(&node)).collect();
        await_counter(&node, "sessions_provisional", 16);
        let mut inside: Vec<_> =
            keys.iter().map(|(id, psk)| Secured::open(at, *id, psk.clone()).expect("in")).collect();
        await_counter(&node, "sessions_active", 16);
        await_counter(&node, "tls_handshakes", 16);
        let handed = node.counter("tls_handed_over");
        assert_eq!(handed > 0, workers > 1, "{handed} of 16 came to another worker");
        for (line, secured) in lines.iter().zip(&mut inside) {
            secured.say(b"\r\n\r\n");
            assert_eq!(secured.hear().as_deref(), Some("\r\n"), "a keep-alive");
            secured.say(options(line).as_bytes());
            let relayed = String::from_utf8(core.heard()).unwrap();
            assert!(relayed.starts_with("OPTIONS ") && relayed.contains(&line.phone.idc), "{relayed}");
            core.socket.send_to(message_for(&line.phone.idc, &node, &core).as_bytes(), node.core()).unwrap();
            let text = secured.hear().expect("the message");
            assert!(text.starts_with("MESSAGE ") && text.ends_with("\r\n\r\nhello"), "{text}");
            assert!(text.contains("Via: SIP/2.0/TLS "), "{text}");
        }
        // Nothing but the first two answers ever came outside.
        lines[0].socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        assert_eq!(lines[0].socket.recv(&mut [0; 10]).unwrap_err().kind(), ErrorKind::WouldBlock);
        node.stop().unwrap();
    }
}

#[test]
fn the_newest_connection_of_a_session_is_the_one_and_none_is_unreachable() {
    let core = CoreThread::start();
    let node = start(2, &core);
    let at = node.listeners()[TLS];
    let mut line = Line::new(&core, "alice@example.test");
    let (id, psk) = line.register(&node);
    let mut first = Secured::open(at, id, psk.clone()).expect("in");
    await_counter(&node, "sessions_active", 1);
    let mut second = Secured::open(at, id, psk.clone()).expect("in again");
    assert_eq!(first.hear(), None, "closed for the newer one");
    await_counter(&node, "tls_replaced", 1);
    core.socket.send_to(message_for(&line.phone.idc, &node, &core).as_bytes(), node.core()).unwrap();
    assert!(second.hear().expect("the message").starts_with("MESSAGE "));
    drop((first, second));
    await_counter(&node, "stream_open", 0);
    core.socket.send_to(message_for(&line.phone.idc, &node, &core).as_bytes(), node.core()).unwrap();
    assert!(core.heard().starts_with(b"SIP/2.0 480 "), "no connection");
    // A newer session of the same terminal ends the older one and its connection.
    let mut third = Secured::open(at, id, psk.clone()).expect("the session lives");
    let (newer, key) = line.register(&node);
    third.say(options(&line).as_bytes());
    assert!(core.heard().starts_with(b"OPTIONS "), "make before break");
    let mut fourth = Secured::open(at, newer, key).expect("in");
    assert_eq!(third.hear(), None);
    await_counter(&node, "sessions_active", 1);
    let refused = Secured::open(at, id, psk).err().expect("the older session is over");
    assert!(matches!(refused[..], [21, 3, _, 0, 2, 2, _]), "{refused:?}");
    node.end_session(Idc::new("alice@example.test").unwrap());
    assert_eq!(fourth.hear(), None, "ended from outside");
    node.stop().unwrap();
}

#[test]
fn strangers_get_the_alert_or_nothing() {
    let core = CoreThread::start();
    let node = start(2, &core);
    let at = node.listeners()[TLS];
    let mut line = Line::new(&core, "alice@example.test");
    let (id, _) = line.register(&node);
    let wrong = Secured::open(at, id, Psk::new([9; 32])).err().expect("a wrong key");
    let unknown = Secured::open(at, Identity([9; 16]), Psk::new([9; 32])).err().expect("an unknown identity");
    assert!(matches!(wrong[..], [21, 3, _, 0, 2, 2, _]), "an alert and nothing else: {wrong:?}");
    assert_eq!(wrong, unknown, "in the same way");
    await_counter(&node, "tls_unproven", 2);
    assert_eq!(node.counter("tls_unknown_id"), 1);
    let said = |octets: &[u8]| {
        let mut tcp = TcpStream::connect(at).unwrap();
        tcp.set_read_timeout(Some(Duration::from_secs(3))).unwrap();
        tcp.write_all(octets).unwrap();
        let mut all = Vec::new();
        // A reset is as good as an end.
        let _ = tcp.read_to_end(&mut all);
        all
    };
    assert_eq!(said(options(&line).as_bytes()), b"");
    await_counter(&node, "tls_not_tls", 1);
    assert_eq!(said(&[22, 3, 1, 0, 0]), b"");
    await_counter(&node, "tls_bad_hello", 1);
    // Who says nothing, or half of it, has 700 ms here.
    assert_eq!(said(&[22, 3, 1, 1]), b"");
    await_counter(&node, "tls_late", 1);
    await_counter(&node, "stream_open", 0);
    assert_eq!((node.counter("sessions_active"), node.counter("sessions_provisional")), (0, 1));
    node.stop().unwrap();
}
