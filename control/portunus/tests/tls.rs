//! Mechanism `tls` from registration to the last message: the binary in its roles, terminals of the project's, and
//! OpenSSL's own client in a terminal's place.

mod lab;

use lab::line::Line;
use lab::{Lab, needs};
use portunus_keydist::SystemRandom;
use portunus_keydist::mech::Mech;
use portunus_signalling::Protocol;
use portunus_terminal::Event;
use portunus_terminal::fleet::{Arrivals, Fleet, FleetConfig, Goal};
use portunus_terminal::sip::Sip;
use portunus_terminal::{Profile, Transport, offering};
use std::io::{Read as _, Write as _};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

const ALICE: &str = "alice@example.test";
const PATIENCE: Duration = Duration::from_secs(15);

/// Waits until a counter of `role` stands at `want`: a worker shows its numbers ten times a second.
fn awaited(lab: &Lab, role: &str, name: &str, want: u64) {
    let until = Instant::now() + PATIENCE;
    while lab.counter(role, name) != want {
        assert!(Instant::now() < until, "{name} is {}, not {want}", lab.counter(role, name));
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn terminals_register_over_udp_and_tcp_and_confirm_by_tls_in_both_topologies() {
    for direct in [false, true] {
        let plan = Lab::plan();
        let lab = if direct { plan.direct().start() } else { plan.start() };
        for transport in ["udp", "tcp"] {
            let report = lab.register_offering(ALICE, transport, "tls");
            assert!(
                report.ok && report.text.contains("\"mechanism\":\"tls\""),
                "{direct} {transport}: {}",
                report.text
            );
        }
        let role = if direct { "softswitch" } else { "proxy" };
        awaited(&lab, role, "tls_handshakes", 2);
        awaited(&lab, role, "sessions_confirmed", 2);
    }
    // Not every protocol goes inside TLS.
    let lab = Lab::plan();
    let server = lab.sip.to_string();
    let key = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tuning/lab-subscribers.csv");
    let mgcp =
        ["register", "--protocol", "mgcp", "--mechanism", "tls", "--server", &server, "--id", "gw1.example.test"];
    let mut command = Command::new(env!("CARGO_BIN_EXE_portunus"));
    let refused = lab::bounded(command.args(mgcp).args(["--proxy-id", "x", "--key-file", key]), PATIENCE);
    assert!(!refused.ok && refused.text.contains("MGCP is not carried inside TLS"), "{}", refused.text);
}

/// Terminals that stay, each verified by a request that the core answers inside its connection.
fn fleet(lab: &Lab, terminals: u32) -> Fleet {
    let mut profile =
        Profile::new(lab.sip, Transport::Udp, lab.proxy_id(), "example.test", &offering(Mech::Tls)).unwrap();
    profile.expires_s = 60;
    let keys: Vec<_> = [ALICE, "bob@example.test"].iter().map(|id| (id.to_string(), lab.key_of(id))).collect();
    let config = FleetConfig {
        profile,
        terminals,
        local: [127, 0, 0, 1].into(),
        sockets: 1,
        arrivals: Arrivals::Window(8),
        limit: Duration::from_secs(10),
        goal: Goal::Verified,
        stay: true,
    };
    Fleet::new(config, Box::new(move |n| keys.get(n as usize).cloned())).unwrap()
}

/// Runs a fleet until `enough`.
fn until(fleet: &mut Fleet, what: &str, mut enough: impl FnMut(&portunus_terminal::fleet::Progress) -> bool) {
    let mut reached = false;
    let result = fleet.run(&mut |progress| {
        reached |= enough(progress);
        !reached
    });
    assert!(reached, "{what}: {:?}", result.unwrap());
}

#[test]
fn a_request_is_relayed_inside_and_terminals_register_again_when_the_proxy_comes_back() {
    let mut lab = Lab::plan().start();
    let mut fleet = fleet(&lab, 2);
    until(&mut fleet, "two active", |progress| progress.active == 2 && progress.elapsed > Duration::from_millis(1500));
    assert_eq!((fleet.active_now(), fleet.activations()), (2, 2));
    // REGISTER is s1 and s7; the OPTIONS of each went through to the core and its answer came back.
    awaited(&lab, "proxy", "sealed_up", 2);
    awaited(&lab, "proxy", "sealed_down", 2);
    awaited(&lab, "proxy", "tls_handshakes", 2);
    lab.kill_and_restart();
    let began = Instant::now();
    until(&mut fleet, "active again", |_| began.elapsed() > Duration::from_secs(6));
    assert_eq!((fleet.active_now(), fleet.activations()), (2, 4), "each registered anew");
    awaited(&lab, "proxy", "sessions_active", 2);
}

/// `openssl s_client` as the connection of a terminal's session.
struct Tunnel {
    child: Child,
    heard: Receiver<Vec<u8>>,
}

impl Tunnel {
    fn open(line: &mut Line<Sip>) -> Self {
        let kid = line.events.iter().find_map(|e| if let Event::Connect { kid } = e { Some(*kid) } else { None });
        let (to, id, psk) = line.terminal.connection_key(kid.expect("it wants a connection")).expect("its session");
        let key: String = psk.expose().iter().map(|octet| format!("{octet:02x}")).collect();
        let mut child = Command::new("openssl")
            .args(["s_client", "-quiet", "-tls1_3", "-connect", &to.to_string(), "-psk", &key, "-psk_identity"])
            .arg(String::from_utf8(id.text().to_vec()).unwrap())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("openssl starts");
        let (told, heard) = std::sync::mpsc::channel();
        let mut stdout = child.stdout.take().expect("piped");
        std::thread::spawn(move || {
            let mut room = [0; 8192];
            while let Ok(count @ 1..) = stdout.read(&mut room) {
                let _ = told.send(room[..count].to_vec());
            }
        });
        Self { child, heard }
    }

    fn say(&mut self, text: &[u8]) {
        self.child.stdin.as_mut().expect("piped").write_all(text).expect("it runs");
    }

    /// What came inside, until it holds `end`.
    fn hear(&self, end: &str) -> String {
        let (mut all, until) = (String::new(), Instant::now() + PATIENCE);
        while !all.contains(end) {
            match self.heard.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(octets) => all += &String::from_utf8_lossy(&octets),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => panic!("no {end:?} in {all:?}"),
            }
        }
        all
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn s_client_registers_over_a_connection_keyed_by_pkd1() {
    needs(&["openssl", "tshark"]);
    let lab = Lab::plan().start();
    let capture = lab.capture();
    let agent = Sip::new(&mut SystemRandom::new());
    let key = lab.key_of(ALICE);
    let mut line = Line::offering(Mech::Tls, Protocol::Sip, (lab.sip, lab.proxy_id()), (ALICE, &key), agent);
    line.until("it wants a connection", |e| matches!(e, Event::Connect { .. }), || ());
    let mut tunnel = Tunnel::open(&mut line);
    let local = line.local();
    let register = |cseq: u32, expires: u32| {
        format!(
            "REGISTER sip:example.test SIP/2.0\r\nVia: SIP/2.0/TLS {local};branch=z9hG4bKs{cseq}\r\nMax-Forwards: 70\r\n\
             From: <sip:{ALICE}>;tag=s\r\nTo: <sip:{ALICE}>\r\nCall-ID: s-client\r\nCSeq: {cseq} REGISTER\r\n\
             Contact: <sip:alice@{local}>;expires={expires}\r\nContent-Length: 0\r\n\r\n"
        )
    };
    tunnel.say(register(1, 600).as_bytes());
    let answer = tunnel.hear("\r\n\r\n");
    assert!(answer.starts_with("SIP/2.0 200 ") && answer.contains("expires="), "{answer}");
    awaited(&lab, "proxy", "sessions_active", 1);
    tunnel.say(register(2, 0).as_bytes());
    assert!(tunnel.hear("\r\n\r\n").starts_with("SIP/2.0 200 "));
    // The session ends with its last reply, and its connection with it.
    awaited(&lab, "proxy", "stream_finished", 1);
    awaited(&lab, "proxy", "sessions_deregistered", 1);
    // The session is over: the alert, and nothing else.
    let mut late = Tunnel::open(&mut line);
    assert!(!late.child.wait().expect("it ends").success());
    let mut said = String::new();
    late.child.stderr.take().expect("piped").read_to_string(&mut said).expect("its words");
    assert!(said.contains("alert"), "{said}");
    let seen = capture.finish();
    seen.assert_clean();
    seen.assert_at_least("tls", 8);
}

#[test]
fn a_lost_connection_is_wanted_again_and_a_session_without_any_is_registered_anew() {
    let lab = Lab::plan().start();
    let (agent, key) = (Sip::new(&mut SystemRandom::new()), lab.key_of(ALICE));
    let mut line = Line::offering(Mech::Tls, Protocol::Sip, (lab.sip, lab.proxy_id()), (ALICE, &key), agent);
    let wanted = |e: &Event| if let Event::Connect { kid } = e { Some(*kid) } else { None };
    line.until("it wants a connection", |e| wanted(e).is_some(), || ());
    let kid = line.events.iter().find_map(wanted).expect("told above");
    let now = line.now();
    // Not confirmed: it asks again when the confirmation is due, half a second later.
    line.terminal.on_secured_lost(now, &mut line.rng, kid);
    line.events.clear();
    line.until("again", |e| wanted(e) == Some(kid), || ());
    assert!(line.now().mono_ms - now.mono_ms >= 400);
    let now = line.now();
    line.terminal.on_secured(now, &mut line.rng, kid);
    line.active();
    line.events.clear();
    // Active: at once, and the session goes on when that succeeds.
    line.terminal.on_secured_lost(now, &mut line.rng, kid);
    line.turn();
    assert_eq!(line.events.iter().find_map(wanted), Some(kid));
    let now = line.now();
    line.terminal.on_secured(now, &mut line.rng, kid);
    line.terminal.probe(now, &mut line.rng).expect("a request");
    line.turn();
    let request = line.inside.pop().expect("it goes inside");
    let text = String::from_utf8(request).expect("SIP");
    assert!(text.starts_with("OPTIONS ") && text.contains("Via: SIP/2.0/TLS "), "{text}");
    // And when it does not, the terminal registers anew.
    line.terminal.on_secured_lost(now, &mut line.rng, kid);
    line.turn();
    line.terminal.on_secured_lost(now, &mut line.rng, kid);
    line.events.clear();
    line.until("a new session", |e| wanted(e).is_some_and(|newer| newer != kid), || ());
    assert!(!line.terminal.is_active());
}
