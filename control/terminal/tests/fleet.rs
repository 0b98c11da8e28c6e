//! Fleets over real sockets on loopback, against the far end on a thread of its own.

use core::net::SocketAddr;
use core::time::Duration;
use portunus_codec::Writer;
use portunus_keydist::mech::Mech;
use portunus_keydist::{Key, Now};
use portunus_sip::frame::{Frame, next_message};
use portunus_terminal::farend::{Core, Did, FarEnd};
use portunus_terminal::fleet::{Arrivals, Fleet, FleetConfig, FleetResult, Goal};
use portunus_terminal::offering;
use portunus_terminal::sip::{MECHS, Profile, Step, Transport};
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::{SystemTime, UNIX_EPOCH};

const IDSP: &str = "sp1.example.test";
const REALM: &str = "example.test";

fn key_of(identity: &str) -> Key {
    let mut octets = [7u8; 32];
    octets.iter_mut().zip(identity.bytes()).for_each(|(o, b)| *o = b);
    Key::new(octets)
}

fn now() -> Now {
    let wall_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64;
    Now { mono_ms: wall_ms, wall_ms }
}

struct Server {
    sip: SocketAddr,
    stop: Arc<AtomicBool>,
    granted: Arc<AtomicU32>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Answers over UDP and TCP on one port; `lose` throws away every so-many-th datagram in each direction (0: none).
    fn start(lose: u32) -> Self {
        // A port that is free for UDP may still be some connection's: tried until one is free for both.
        let both = || {
            let sip = UdpSocket::bind("127.0.0.1:0").unwrap();
            let tcp = TcpListener::bind(sip.local_addr().unwrap()).ok()?;
            Some((sip, tcp))
        };
        let (sip, tcp) = (0..1_000).find_map(|_| both()).unwrap();
        let address = sip.local_addr().unwrap();
        tcp.set_nonblocking(true).unwrap();
        let (stop, granted) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
        let (stopped, count) = (Arc::clone(&stop), Arc::clone(&granted));
        let thread = std::thread::spawn(move || serve(&sip, &tcp, lose, &stopped, &count));
        Self { sip: address, stop, granted, thread: Some(thread) }
    }
}

fn serve(sip: &UdpSocket, tcp: &TcpListener, lose: u32, stop: &AtomicBool, granted: &AtomicU32) {
    let sealed = UdpSocket::bind("127.0.0.1:0").unwrap();
    let core = Core::new(REALM, Box::new(|id| Some(key_of(id))));
    let mut far = FarEnd::new(core, IDSP, sealed.local_addr().unwrap().port(), true).unwrap();
    for s in [sip, &sealed] {
        s.set_nonblocking(true).unwrap();
    }
    let (mut room, mut count) = ([0u8; 4096], 0u32);
    let mut streams = Vec::new();
    let mut lost = move || {
        count += 1;
        lose != 0 && count % lose == 0
    };
    while !stop.load(Ordering::Relaxed) {
        let mut idle = true;
        while let Ok((n, from)) = sip.recv_from(&mut room) {
            idle = false;
            let mut out = [0u8; 4096];
            let mut w = Writer::new(&mut out);
            if lost() {
                continue;
            }
            let did = far.on_terminal(now(), from, &room[..n], &mut w);
            granted.fetch_add(u32::from(did == Some(Did::Granted)), Ordering::Relaxed);
            if did.is_some() && !lost() {
                sip.send_to(w.written(), from).unwrap();
            }
        }
        while let Ok((n, from)) = sealed.recv_from(&mut room) {
            idle = false;
            let Some(inside) = far.open(from, &mut room[..n]).filter(|_| !lost()) else { continue };
            let answer = if inside.text.is_empty() { Some(Vec::new()) } else { far.answer_inside(&inside.text) };
            if let Some((to, octets)) = answer.and_then(|a| far.seal(&inside.idc, &a)).filter(|_| !lost()) {
                sealed.send_to(&octets, to).unwrap();
            }
        }
        if let Ok((stream, from)) = tcp.accept() {
            stream.set_nonblocking(true).unwrap();
            streams.push((stream, from, Vec::new()));
        }
        for (stream, from, buffer) in &mut streams {
            while let Ok(n @ 1..) = stream.read(&mut room) {
                buffer.extend_from_slice(&room[..n]);
            }
            while let Frame::Message(n) = next_message(buffer) {
                let message: Vec<u8> = buffer.drain(..n).collect();
                let mut out = [0u8; 4096];
                let mut w = Writer::new(&mut out);
                let did = far.on_terminal(now(), *from, &message, &mut w);
                granted.fetch_add(u32::from(did == Some(Did::Granted)), Ordering::Relaxed);
                // Cut in two, so that framing has something to do.
                let (a, b) = w.written().split_at(w.len() / 2);
                stream.write_all(a).unwrap();
                std::thread::sleep(Duration::from_millis(1));
                stream.write_all(b).unwrap();
            }
        }
        if idle {
            std::thread::sleep(Duration::from_micros(200));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

fn run(server: &Server, transport: Transport, terminals: u32, arrivals: Arrivals, goal: Goal) -> FleetResult {
    run_under(server, MECHS, transport, terminals, arrivals, goal)
}

fn run_under(
    server: &Server,
    mechs: &str,
    transport: Transport,
    terminals: u32,
    arrivals: Arrivals,
    goal: Goal,
) -> FleetResult {
    let mut profile = Profile::new(server.sip, transport, IDSP, REALM, mechs).unwrap();
    profile.ladder = true;
    let config = FleetConfig {
        profile,
        terminals,
        local: [127, 0, 0, 1].into(),
        sockets: 4,
        arrivals,
        limit: Duration::from_secs(30),
        goal,
        stay: false,
    };
    let named = |n: u32| format!("u{n:05}@{REALM}");
    let subscribers = Box::new(move |n| Some((named(n), key_of(&named(n)))));
    let mut told = 0;
    let result = Fleet::new(config, subscribers).unwrap().run(&mut |p| {
        assert!(p.active >= told);
        told = p.active;
        true
    });
    result.unwrap()
}

#[test]
fn a_closed_loop_over_udp_registers_and_verifies_everyone() {
    let server = Server::start(0);
    let r = run(&server, Transport::Udp, 500, Arrivals::Window(32), Goal::Verified);
    assert!(r.all_active(), "{:?}", r.failures);
    assert_eq!((r.verified, r.keyed_us.len(), r.active_us.len()), (500, 500, 500));
    assert!(server.granted.load(Ordering::Relaxed) >= 500);
    assert!(r.packets_sent >= 4 * 500 && r.packets_received >= 4 * 500);
    let steps: Vec<Step> = r.ladder.iter().map(|(s, _)| *s).collect();
    assert_eq!(steps, [Step::S1, Step::S6, Step::S7, Step::S10, Step::Confirm, Step::Confirmed]);
}

#[test]
fn an_open_loop_with_loss_registers_everyone_and_counts_the_repetitions() {
    let server = Server::start(11);
    let r = run(&server, Transport::Udp, 300, Arrivals::Poisson(600.0), Goal::Active);
    assert!(r.all_active(), "{:?}", r.failures);
    assert!(r.retransmissions > 0);
    assert!(r.active_us.max() > 400_000, "whoever lost a message waited at least T1");
}

/// A terminal whose part ends with s10 asks for nothing more, and so repeats nothing, however long the others take: the
/// fleet looks up only when what was due for its s7 and its confirmation is long past.
#[test]
fn who_has_done_its_part_repeats_nothing() {
    let server = Server::start(0);
    let config = FleetConfig {
        profile: Profile::new(server.sip, Transport::Udp, IDSP, REALM, MECHS).unwrap(),
        terminals: 2,
        local: [127, 0, 0, 1].into(),
        sockets: 1,
        arrivals: Arrivals::Steady(1.0),
        limit: Duration::from_secs(30),
        goal: Goal::Keyed,
        stay: false,
    };
    let mut slept = false;
    let named = |n: u32| format!("u{n}@{REALM}");
    let fleet = Fleet::new(config, Box::new(move |n| Some((named(n), key_of(&named(n))))));
    let result = fleet.unwrap().run(&mut |p| {
        if p.keyed == 1 && !core::mem::replace(&mut slept, true) {
            std::thread::sleep(Duration::from_millis(700));
        }
        true
    });
    let r = result.unwrap();
    assert_eq!((slept, r.registered, r.retransmissions), (true, 2, 0));
}

#[test]
fn everyone_behind_a_few_sockets_receives_under_an_spi_of_its_own() {
    let server = Server::start(0);
    let r = run_under(&server, &offering(Mech::Esp), Transport::Udp, 300, Arrivals::Window(32), Goal::Verified);
    assert!(r.all_active(), "{:?}", r.failures);
    assert_eq!((r.verified, r.first_active.map(|a| a.mech)), (300, Some(Mech::Esp)));
}

#[test]
fn tcp_registers_everyone() {
    let server = Server::start(0);
    let r = run(&server, Transport::Tcp, 40, Arrivals::Window(8), Goal::Active);
    assert!(r.all_active(), "{:?}", r.failures);
}

#[test]
fn nobody_listens_and_the_reason_says_so() {
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut profile = Profile::new(silent.local_addr().unwrap(), Transport::Tcp, IDSP, REALM, MECHS).unwrap();
    profile.attempts_max = 1;
    let config = FleetConfig {
        profile,
        terminals: 3,
        local: [127, 0, 0, 1].into(),
        sockets: 1,
        arrivals: Arrivals::Steady(1_000.0),
        limit: Duration::from_secs(10),
        goal: Goal::Active,
        stay: false,
    };
    let fleet = Fleet::new(config, Box::new(|n| Some((format!("u{n}@{REALM}"), key_of("u")))));
    let r = fleet.unwrap().run(&mut |_| true).unwrap();
    assert_eq!(r.failures.get("connection"), Some(&3), "{:?}", r.failures);
    assert_eq!(r.active, 0);
}
