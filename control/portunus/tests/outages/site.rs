//! A site: AuC, softswitch and proxy as three processes from three files, and crowds of terminals.

// Each test binary uses its own part of this.
#![allow(dead_code)]

use super::lab::{bounded, free_port};
use portunus_keydist::Key;
use portunus_keydist::timing::Repeat;
use portunus_terminal::fleet::{Arrivals, Fleet, FleetConfig, FleetResult, Goal};
use portunus_terminal::sip::{MECHS, Profile, Transport};
use std::io::{BufRead as _, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const BINARY: &str = env!("CARGO_BIN_EXE_portunus");
const IDSP: &str = "sp1.example.test";

/// Identity of terminal `n`.
pub(crate) fn identity(n: u32) -> String {
    format!("t{n:04}@example.test")
}

/// A key for tests: its identity, padded.
fn key(id: &str) -> [u8; 32] {
    let mut octets = [0x5a; 32];
    octets.iter_mut().zip(id.bytes()).for_each(|(o, b)| *o = b);
    octets
}

/// One role as a process.
pub(crate) struct Process {
    child: Child,
    lines: Receiver<String>,
    log: PathBuf,
    /// What it said when it was ready.
    pub(crate) ready: String,
}

impl Process {
    /// `verb` is what it is: `run`, or `agent`.
    pub(crate) fn start(verb: &str, config: PathBuf, log: PathBuf) -> Self {
        let errors = std::fs::OpenOptions::new().create(true).append(true).open(&log).expect("a log file");
        let mut child = Command::new(BINARY)
            .args([verb, "--config"])
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(errors)
            .spawn()
            .expect("the binary starts");
        let stdout = child.stdout.take().expect("piped");
        let (tell, lines) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let _ = tell.send(line);
            }
        });
        let mut process = Self { child, lines, log, ready: String::new() };
        let ready = process.line();
        assert!(ready.starts_with("portunus ") && ready.contains("ready: "), "{}: {ready:?}", config.display());
        process.ready = ready;
        process
    }

    /// The next line on its standard output.
    pub(crate) fn line(&self) -> String {
        let line = self.lines.recv_timeout(Duration::from_secs(20));
        line.unwrap_or_else(|e| panic!("no line: {e}; it logged:\n{}", self.log()))
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([name, &self.child.id().to_string()]).status();
        assert!(sent.is_ok_and(|s| s.success()), "{name}");
    }

    /// SIGHUP.
    pub(crate) fn hang_up(&self) {
        self.signal("-HUP");
    }

    /// Every counter of the access sides.
    pub(crate) fn counters(&self) -> serde_json::Value {
        self.signal("-USR1");
        serde_json::from_str(&self.line()).expect("JSON")
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// A counter of a role's, as it stands now.
    pub(crate) fn counter(&self, role: &str, name: &str) -> u64 {
        self.signal("-USR1");
        let all: serde_json::Value = serde_json::from_str(&self.line()).expect("JSON");
        all[role][name].as_u64().unwrap_or_else(|| panic!("no {name} of {role} in {all}"))
    }

    /// SIGKILL: no good-bye.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("killed");
        self.child.wait().expect("it ends");
    }

    /// SIGTERM, and what it ends with.
    pub(crate) fn terminate(mut self) -> ExitStatus {
        self.signal("-TERM");
        let until = Instant::now() + Duration::from_secs(10);
        while Instant::now() < until {
            if let Some(status) = self.child.try_wait().expect("a child can be asked") {
                return status;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("it did not end; it logged:\n{}", self.log())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Addresses and files of a site.
pub(crate) struct Site {
    folder: tempfile::TempDir,
    pub(crate) sip: SocketAddr,
    pub(crate) sealed: SocketAddr,
    pub(crate) ipsec: SocketAddr,
    pub(crate) tls: SocketAddr,
    pub(crate) core: SocketAddr,
    pub(crate) softswitch: SocketAddr,
    /// Where the AuC listens: questions, accounts.
    pub(crate) radius: [SocketAddr; 2],
    /// Where the softswitch asks; the same, unless something stands between.
    pub(crate) asked: [SocketAddr; 2],
}

impl Site {
    /// A site that knows `terminals` terminals.
    pub(crate) fn plan(terminals: u32) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let devices = [IDSP, "ss1.example.test"].map(str::to_owned);
        let mut rows = String::from("id,key\n");
        for id in devices.into_iter().chain((0..terminals).map(identity)) {
            let hex: String = key(&id).iter().map(|o| format!("{o:02x}")).collect();
            rows += &format!("{id},{hex}\n");
        }
        std::fs::write(folder.path().join("subscribers.csv"), rows).expect("subscribers");
        let radius = [free_port(), free_port()];
        let (sip, core, softswitch) = (free_port(), free_port(), free_port());
        let (sealed, ipsec, tls) = (free_port(), free_port(), free_port());
        Self { folder, sip, sealed, ipsec, tls, core, softswitch, radius, asked: radius }
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(format!("{name}.toml"))
    }

    /// A key that is nobody's, in a file with these permissions.
    pub(crate) fn key_file(&self, name: &str, mode: u32) {
        let path = self.folder.path().join(name);
        std::fs::write(&path, "00".repeat(32)).expect("a key file");
        let mode = std::os::unix::fs::PermissionsExt::from_mode(mode);
        std::fs::set_permissions(&path, mode).expect("its permissions");
    }

    /// The text of a role's file.
    pub(crate) fn config(&self, name: &str) -> String {
        std::fs::read_to_string(self.file(name)).expect("a configuration")
    }

    pub(crate) fn rewrite(&self, name: &str, text: &str) {
        std::fs::write(self.file(name), text).expect("a configuration");
    }

    pub(crate) fn start(&self, name: &str, text: &str) -> Process {
        self.rewrite(name, text);
        Process::start("run", self.file(name), self.folder.path().join(format!("{name}.log")))
    }

    fn ask(&self, verb: &str, name: &str) -> (Option<i32>, String) {
        let mut command = Command::new(BINARY);
        let done = bounded(command.args([verb, "--config"]).arg(self.file(name)), Duration::from_secs(10));
        (done.code, done.text)
    }

    /// `portunus check`: its exit code and what it said.
    pub(crate) fn check(&self, name: &str) -> (Option<i32>, String) {
        self.ask("check", name)
    }

    /// `portunus run` that is expected to end by itself.
    pub(crate) fn try_to_run(&self, name: &str) -> (Option<i32>, String) {
        self.ask("run", name)
    }

    /// An agent at `listen` whose way to the proxy is `server`, with one mechanism and these terminals.
    pub(crate) fn agent(&self, name: &str, listen: SocketAddr, server: SocketAddr, plan: (&str, &[u32])) -> Process {
        self.rewrite(name, &Self::agent_text(listen, server, plan));
        Process::start("agent", self.file(name), self.folder.path().join(format!("{name}.log")))
    }

    /// An agent's file.
    pub(crate) fn agent_text(listen: SocketAddr, server: SocketAddr, (mechanism, terminals): (&str, &[u32])) -> String {
        // A sign of life every second instead of every fifteen, so that an outage fits into a test.
        let mut text = format!(
            r#"lab = true
[agent]
server = "{server}"
proxy = "{IDSP}"
realm = "example.test"
listen = ["{listen}"]
mechanisms = ["{mechanism}"]
sign_of_life = "1s"
"#
        );
        for id in terminals.iter().copied().map(identity) {
            text += &format!("[[agent.phone]]\nid = \"{id}\"\nkey_file = \"subscribers.csv\"\n");
        }
        text
    }

    /// `portunus agent --once`: its exit code and what it said.
    pub(crate) fn agent_once(&self, name: &str) -> (Option<i32>, String) {
        let mut command = Command::new(BINARY);
        let command = command.args(["agent", "--once", "--limit", "5", "--config"]).arg(self.file(name));
        let done = bounded(command, Duration::from_secs(10));
        (done.code, done.text)
    }

    pub(crate) fn auc(&self) -> Process {
        self.start("auc", &Self::auc_text("", self.radius, "import = \"subscribers.csv\""))
    }

    /// An AuC's file: its files are in `folder`, which ends in a slash or is empty; `more` goes on after `[auc]`.
    pub(crate) fn auc_text(folder: &str, [address, accounting]: [SocketAddr; 2], more: &str) -> String {
        format!(
            r#"lab = true
[auc]
realms = ["example.test"]
store = "{folder}auc.redb"
audit_log = "{folder}audit.log"
devices = ["{IDSP}", "ss1.example.test"]
{more}
[auc.master_key]
file = "master.key"
create = true
[[auc.listen]]
transport = "udp"
address = "{address}"
accounting = "{accounting}"
[[auc.listen.client]]
address = "127.0.0.1"
secret = "lab-radius-secret"
"#
        )
    }

    pub(crate) fn softswitch(&self) -> Process {
        self.softswitch_asking(&[self.asked])
    }

    /// A softswitch that asks these, in order of preference.
    pub(crate) fn softswitch_asking(&self, asked: &[[SocketAddr; 2]]) -> Process {
        let Self { softswitch, core, .. } = self;
        // Retry-After is shorter than by default, so that an outage fits into a test; the proxy adds a lot of its own.
        let mut text = format!(
            r#"lab = true
[softswitch]
identity = "ss1.example.test"
realm = "example.test"
listen = "{softswitch}"
retry_after_least = "1s"
retry_after_most = "4s"
[[softswitch.peer]]
address = "{core}"
identities = ["{IDSP}"]
[softswitch.aaa]
transport = "udp"
"#
        );
        for [address, accounting] in asked {
            text += &format!(
                r#"[[softswitch.aaa.server]]
address = "{address}"
accounting = "{accounting}"
secret = "lab-radius-secret"
"#
            );
        }
        self.start("softswitch", &text)
    }

    pub(crate) fn proxy(&self) -> Process {
        let Self { sip, sealed, ipsec, tls, core, softswitch, .. } = self;
        let text = format!(
            r#"lab = true
[proxy]
identity = "{IDSP}"
realm = "example.test"
[proxy.key]
file = "subscribers.csv"
[proxy.core]
listen = "{core}"
softswitches = ["{softswitch}"]
[[proxy.listener]]
protocol = "sip"
transport = "udp"
address = "{sip}"
[proxy.sealed]
address = "{sealed}"
[proxy.ipsec]
address = "{ipsec}"
[[proxy.tls]]
protocol = "sip"
address = "{tls}"
[proxy.policy]
mechanisms = ["x-pkd-sealed", "ipsec-man", "tls"]
[proxy.overload]
retry_after_least = "1s"
retry_after_most = "4s"
[proxy.capacity]
sessions = 5000
"#
        );
        self.start("proxy", &text)
    }
}

/// Terminals of one kind.
pub(crate) struct Plan {
    /// Where they register.
    pub(crate) server: SocketAddr,
    /// The numbers of the first and of how many.
    pub(crate) first: u32,
    pub(crate) count: u32,
    pub(crate) arrivals: Arrivals,
    /// False: each has a key that is not its own.
    pub(crate) right_key: bool,
    /// When unanswered s1, s7 and confirmations are repeated.
    pub(crate) repeat: Repeat,
    /// How long an active terminal bears silence before it asks for a sign of life; 0: for ever.
    pub(crate) probe_ms: u32,
}

/// Where a crowd stands.
#[derive(Clone)]
pub(crate) struct Standing {
    pub(crate) result: FleetResult,
    /// Terminals that are active now.
    pub(crate) active: usize,
    /// Sessions that became active so far.
    pub(crate) activations: u64,
}

impl Standing {
    pub(crate) fn failed(&self, why: &str) -> u32 {
        self.result.failures.get(why).copied().unwrap_or(0)
    }
}

/// A fleet on a thread of its own, each terminal with an address of its own, until the crowd is dropped.
pub(crate) struct Crowd {
    seen: Arc<Mutex<Standing>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Crowd {
    pub(crate) fn start(plan: &Plan) -> Self {
        let mut profile = Profile::new(plan.server, Transport::Udp, IDSP, "example.test", MECHS).expect("a profile");
        profile.probe_ms = plan.probe_ms;
        // A sign of life is given up after 4 s, not after 32 s: what follows is the same, sooner.
        profile.inside = Repeat { gaps_ms: &[500, 1_000], give_up_ms: 4_000 };
        let registering = Arc::make_mut(&mut profile.registering);
        (registering.repeat, registering.confirm) = (plan.repeat, plan.repeat);
        let config = FleetConfig {
            profile,
            terminals: plan.count,
            local: Ipv4Addr::LOCALHOST.into(),
            sockets: u16::try_from(plan.count).expect("a small crowd"),
            arrivals: plan.arrivals,
            limit: Duration::from_secs(60),
            goal: Goal::Active,
            stay: true,
        };
        let (first, right) = (plan.first, plan.right_key);
        let subscriber = move |n: u32| {
            let id = identity(first + n);
            let octets = if right { key(&id) } else { [0xee; 32] };
            Some((id, Key::new(octets)))
        };
        let mut fleet = Fleet::new(config, Box::new(subscriber)).expect("sockets");
        let turn = |fleet: &mut Fleet, wait: Duration| {
            let until = Instant::now() + wait;
            let result = fleet.run(&mut |_| Instant::now() < until).expect("a fleet runs");
            Standing { result, active: fleet.active_now(), activations: fleet.activations() }
        };
        let seen = Arc::new(Mutex::new(turn(&mut fleet, Duration::ZERO)));
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, place) = (Arc::clone(&stop), Arc::clone(&seen));
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                let standing = turn(&mut fleet, Duration::from_millis(100));
                *place.lock().expect("no panic under it") = standing;
            }
        });
        Self { seen, stop, thread: Some(thread) }
    }

    pub(crate) fn standing(&self) -> Standing {
        self.seen.lock().expect("no panic under it").clone()
    }

    /// Waits for what `good` says; tells how long it took.
    pub(crate) fn until(&self, what: &str, limit: Duration, good: impl Fn(&Standing) -> bool) -> Duration {
        let began = Instant::now();
        loop {
            let s = self.standing();
            if good(&s) {
                return began.elapsed();
            }
            assert!(
                began.elapsed() < limit,
                "{what}: not within {limit:?}: {} of {} registered, {} active now, {} activations, failures {:?}",
                s.result.registered,
                s.result.terminals,
                s.active,
                s.activations,
                s.result.failures
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
