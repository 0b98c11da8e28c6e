//! What a running proxy does at a signal, with the test in the place of terminals and softswitch: it finishes the
//! registrations that are under way, and shows its counters.

#[path = "../../../dataplane/engine/tests/common/mod.rs"]
#[allow(clippy::wrong_self_convention)]
mod common;
mod lab;

use common::{Core, Phone, Seeded, challenge, status};
use lab::free_port;
use portunus_keydist::Now;
use portunus_keydist::schedule::Key;
use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Lines};
use std::net::{SocketAddr, UdpSocket};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

struct Running {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    _folder: tempfile::TempDir,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Running {
    fn start(sip: SocketAddr, softswitch: SocketAddr) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let text = format!(
            "lab = true\n[proxy]\nidentity = \"{}\"\nrealm = \"{}\"\n[proxy.key]\nhex = \"{}\"\n[proxy.core]\nlisten = \"{}\"\n\
             softswitches = [\"{softswitch}\"]\n[[proxy.listener]]\nprotocol = \"sip\"\naddress = \"{sip}\"\n\
             [proxy.sealed]\naddress = \"{}\"\n[proxy.capacity]\nsessions = 1000\n",
            common::IDSP,
            common::REALM,
            "5a".repeat(32),
            free_port(),
            free_port(),
        );
        let file = folder.path().join("sp.toml");
        std::fs::write(&file, text).expect("written");
        let mut child = Command::new(env!("CARGO_BIN_EXE_portunus"))
            .args(["run", "--config"])
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("it starts");
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let ready = lines.next().and_then(Result::ok).unwrap_or_default();
        assert!(ready.starts_with("portunus ready: "), "{ready}");
        Self { child, lines, _folder: folder }
    }

    fn signal(&self, signal: i32) {
        let pid = i32::try_from(self.child.id()).expect("a process id");
        let said = Command::new("kill").args([format!("-{signal}"), pid.to_string()]).status().expect("kill runs");
        assert!(said.success());
    }

    fn line(&mut self) -> String {
        self.lines.next().and_then(Result::ok).expect("a line")
    }

    /// Asks for the counters and reads them.
    fn counters(&mut self) -> serde_json::Value {
        self.signal(signal_hook::consts::SIGUSR1);
        let line = self.line();
        let value: serde_json::Value = serde_json::from_str(&line).expect("a line of JSON");
        assert_eq!(value["event"], "counters");
        value
    }

    fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("waited").is_some()
    }
}

fn socket() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("bound");
    socket.set_read_timeout(Some(Duration::from_secs(3))).expect("set");
    socket
}

fn receive(socket: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut buffer = [0u8; 9000];
    let (len, from) = socket.recv_from(&mut buffer).expect("a message");
    (buffer[..len].to_vec(), from)
}

fn now() -> Now {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").as_millis();
    Now { mono_ms: 0, wall_ms: u64::try_from(wall).expect("this century") }
}

#[test]
fn a_registration_under_way_is_finished_before_the_end() {
    let (softswitch, sip) = (socket(), free_port());
    let mut running = Running::start(sip, softswitch.local_addr().expect("bound"));
    let (subscribers, asked) = (BTreeMap::new(), BTreeMap::new());
    let rng = Seeded(now().wall_ms);
    let mut core = Core { subscribers, proxy: Key::new([0x5a; 32]), retries: 1, asked, rands: Vec::new(), rng };
    let (key, line) = (Key::new([7; 32]), socket());
    let mut phone = Phone::new("alice@example.test", &key, &line.local_addr().expect("bound").to_string());
    core.subscribers.insert("alice@example.test".into(), key);
    line.send_to(&phone.s1(now()), sip).expect("sent");
    let (s2, proxy) = receive(&softswitch);
    // Counters leave a worker in its housekeeping: not necessarily before s2 did.
    let until = Instant::now() + Duration::from_secs(5);
    loop {
        let seen = running.counters();
        if (&seen["proxy"]["s1_accepted"], &seen["proxy"]["pendings"]) == (&1.into(), &1.into()) {
            break;
        }
        assert!(Instant::now() < until, "{seen}");
        std::thread::sleep(Duration::from_millis(20));
    }
    // While the softswitch has not answered, the proxy is told to end: it stays for that one, and takes no other.
    running.signal(signal_hook::consts::SIGTERM);
    std::thread::sleep(Duration::from_millis(700));
    assert!(!running.has_ended(), "it waits for the registration");
    let late = socket();
    let mut other = Phone::new("bob@example.test", &Key::new([8; 32]), &late.local_addr().expect("bound").to_string());
    late.send_to(&other.s1(now()), sip).expect("sent");
    assert_eq!(status(&receive(&late).0), 503);
    softswitch.send_to(&core.answer(&s2), proxy).expect("sent");
    challenge(&receive(&line).0);
    // Nothing is under way any more.
    let until = Instant::now() + Duration::from_secs(5);
    while !running.has_ended() {
        assert!(Instant::now() < until, "it ends");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(running.line(), "portunus stopped");
}
