//! A laboratory for tests with live peers: a configuration in a temporary folder, the binary running it, captures of
//! what crosses the loopback, and the peers' own programs.

// Each test binary uses its own part of this.
#![allow(dead_code, unreachable_pub)]

pub mod agents;
mod capture;
pub mod certificates;
pub mod line;
pub mod megaco;
pub mod radius;

use portunus_keydist::Key;
use portunus_signalling::Protocol;
use portunus_terminal::fleet::{Arrivals, Fleet, FleetConfig, FleetResult, Goal};
use portunus_terminal::{MECHS, Profile, Transport};
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

/// The key of alice@example.test in `tuning/lab-subscribers.csv`, read from there.
pub const ALICE_KEY: &str = "e2999e00a84d5ccc5e99665de657c2023d94c48056ae662660a33fdd02ed01bf";

const BINARY: &str = env!("CARGO_BIN_EXE_portunus");
const SUBSCRIBERS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tuning/lab-subscribers.csv");
const PEERS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/peers");

/// The standard port of a protocol beside SIP, by its name in the configuration.
fn port(protocol: &str) -> u16 {
    match protocol {
        "mgcp" => 2727,
        "h248" => 2944,
        _ => 1719,
    }
}

/// Fails with what to do when a program is missing: a test that quietly did nothing would be worse.
pub fn needs(programs: &[&str]) {
    for program in programs {
        let found = Command::new("sh").args(["-c", &format!("command -v {program}")]).output();
        let found = found.is_ok_and(|o| o.status.success());
        assert!(found, "{program} is missing: `sh control/tidy/test.sh tools` installs what the tests talk to");
    }
}

/// An address on the loopback that is free for UDP and TCP now. It lies below the ports that the system hands out by
/// itself, so that no socket of anybody's takes it by chance before it is bound, and no test here was given it before.
pub fn free_port() -> SocketAddr {
    use std::hash::{BuildHasher as _, RandomState};
    static DRAWN: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    static GIVEN: std::sync::Mutex<std::collections::BTreeSet<u16>> =
        std::sync::Mutex::new(std::collections::BTreeSet::new());
    let draw = RandomState::new();
    for _ in 0..1_000 {
        let n = DRAWN.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let port = 10_240 + (draw.hash_one(n) % 20_480) as u16;
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let free = UdpSocket::bind(address).is_ok() && TcpListener::bind(address).is_ok();
        if free && GIVEN.lock().expect("nobody panics with it").insert(port) {
            return address;
        }
    }
    panic!("no port is free for both UDP and TCP")
}

/// What a program said and whether it was content.
pub struct Report {
    pub ok: bool,
    /// The exit code; `None`: a signal ended it.
    pub code: Option<i32>,
    pub text: String,
}

impl Report {
    fn of(output: &Output) -> Self {
        let text = format!(
            "{}\n{}\n{}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        Self { ok: output.status.success(), code: output.status.code(), text }
    }
}

/// Runs a command to its end, or kills it at the limit.
pub fn bounded(command: &mut Command, limit: Duration) -> Report {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let (mut out, mut err) = (child.stdout.take().expect("piped"), child.stderr.take().expect("piped"));
    let reader = std::thread::spawn(move || {
        let mut text = Vec::new();
        let _ = out.read_to_end(&mut text);
        text
    });
    let errors = std::thread::spawn(move || {
        let mut text = Vec::new();
        let _ = err.read_to_end(&mut text);
        text
    });
    let until = Instant::now() + limit;
    let status = loop {
        match child.try_wait().expect("a child can be asked") {
            Some(status) => break status,
            None if Instant::now() > until => {
                let _ = child.kill();
                break child.wait().expect("a killed child ends");
            }
            None => std::thread::sleep(Duration::from_millis(20)),
        }
    };
    Report::of(&Output { status, stdout: reader.join().unwrap_or_default(), stderr: errors.join().unwrap_or_default() })
}

/// A process that ends with the test, and with it whatever it started: it leads a group of its own.
pub struct Running(Child);

impl Running {
    /// Of a process that leads its own group.
    pub fn of(child: Child) -> Self {
        Self(child)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // A server that is killed alone leaves its workers behind.
        let _ = Command::new("kill").args(["-KILL", "--", &format!("-{}", self.0.id())]).stderr(Stdio::null()).status();
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub struct Lab {
    folder: tempfile::TempDir,
    /// SIP towards terminals.
    pub sip: SocketAddr,
    /// SIP towards stock phones.
    pub stock: SocketAddr,
    /// Sealed datagrams.
    pub sealed: SocketAddr,
    /// ESP in UDP.
    pub ipsec: SocketAddr,
    /// H.248 towards gateways.
    pub h248: SocketAddr,
    /// TLS connections, for SIP.
    pub tls: SocketAddr,
    /// TLS connections, for H.248.
    pub tls_h248: SocketAddr,
    /// The proxy's core side.
    pub core: SocketAddr,
    /// The softswitch.
    pub softswitch: SocketAddr,
    softswitch_h248: SocketAddr,
    /// Media gateway controllers of somebody else's, which serve the gateways.
    controllers: Vec<SocketAddr>,
    /// Call agents of somebody else's, which serve the MGCP gateways.
    call_agents: Vec<SocketAddr>,
    /// How often those are asked for a sign of life; empty: as ever.
    health: &'static str,
    /// SIP registrars of somebody else's, which serve the terminals.
    registrars: Vec<SocketAddr>,
    radius: SocketAddr,
    accounting: SocketAddr,
    /// The AuC and what the softswitch asks, where both speak Diameter.
    diameter: Option<[SocketAddr; 2]>,
    /// What is between softswitch and AuC, where both speak RADIUS.
    relay: Option<radius::Relay>,
    next_hop: Option<SocketAddr>,
    direct: bool,
    /// Where terminals, and where the proxy, reach the protocols beside SIP at their standard ports: addresses of this
    /// laboratory's own. `None`: there are none.
    beside: Option<[Ipv4Addr; 2]>,
    /// The hash that stock phones are challenged with; `None`: none is admitted.
    digest: Option<&'static str>,
    phones: Vec<(String, String)>,
    /// Where activation codes are redeemed, if anywhere.
    codes: Option<SocketAddr>,
    process: Option<Running>,
    said: Option<Receiver<String>>,
}

impl Lab {
    pub fn plan() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        Self {
            folder,
            sip: free_port(),
            stock: free_port(),
            sealed: free_port(),
            ipsec: free_port(),
            tls: free_port(),
            tls_h248: free_port(),
            h248: free_port(),
            core: free_port(),
            softswitch: free_port(),
            softswitch_h248: free_port(),
            controllers: Vec::new(),
            call_agents: Vec::new(),
            health: "",
            registrars: Vec::new(),
            radius: free_port(),
            accounting: free_port(),
            diameter: None,
            relay: None,
            next_hop: None,
            direct: false,
            beside: None,
            digest: None,
            phones: Vec::new(),
            codes: None,
            process: None,
            said: None,
        }
    }

    pub fn proxied_through(mut self, element: SocketAddr) -> Self {
        self.next_hop = Some(element);
        self
    }

    pub fn direct(mut self) -> Self {
        self.direct = true;
        self
    }

    /// MGCP, H.248 and RAS too.
    pub fn with_every_protocol(mut self) -> Self {
        let own = [0x7f4e_0000, 0x7f4f_0000].map(|net| Ipv4Addr::from(net | u32::from(self.sip.port())));
        // What is protected goes to where the registration went.
        for at in [&mut self.sip, &mut self.sealed, &mut self.ipsec] {
            at.set_ip(own[0].into());
        }
        self.beside = Some(own);
        self
    }

    /// A listener that admits stock phones with this hash, and one such phone.
    pub fn with_stock_phone(mut self, hash: &'static str, id: &str, password: &str) -> Self {
        self.digest = Some(hash);
        self.phones.push((id.to_owned(), password.to_owned()));
        self
    }

    /// Softswitch and AuC speak Diameter, through a relay at this address.
    pub fn with_diameter_relay(mut self, relay: SocketAddr) -> Self {
        self.diameter = Some([free_port(), relay]);
        self
    }

    /// Where the AuC speaks Diameter.
    pub fn diameter(&self) -> SocketAddr {
        self.diameter.expect("a laboratory with Diameter")[0]
    }

    /// Activation codes are redeemed here.
    pub fn with_codes(mut self, at: SocketAddr) -> Self {
        self.codes = Some(at);
        self
    }

    /// Gateways are served by this controller.
    pub fn with_controller(self, controller: SocketAddr) -> Self {
        self.with_controllers(&[controller])
    }

    /// Gateways are served by these controllers.
    pub fn with_controllers(mut self, controllers: &[SocketAddr]) -> Self {
        self.controllers = controllers.to_vec();
        self
    }

    /// MGCP gateways are served by these call agents; without a proxy of its own process.
    pub fn with_call_agents(mut self, call_agents: &[SocketAddr]) -> Self {
        self.call_agents = call_agents.to_vec();
        self.direct()
    }

    /// Whoever of these is down is found to be so within two seconds.
    pub fn watchful(mut self) -> Self {
        self.health =
            "[softswitch.health]\nprobe_every = \"300ms\"\nanswer_within = \"500ms\"\ndown_after = 2\nup_after = 1\n";
        self
    }

    /// Terminals are served by these registrars.
    pub fn with_registrars(mut self, registrars: &[SocketAddr]) -> Self {
        self.registrars = registrars.to_vec();
        self
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn config(&self) -> String {
        let Self { sip, stock, sealed, ipsec, tls, core, softswitch, .. } = self;
        let peer = self.next_hop.unwrap_or(*core);
        let next = self.next_hop.unwrap_or(*softswitch);
        let digest = self.digest.map_or(String::new(), |hash| format!("digest = \"{hash}\""));
        let listeners = |section: &str| {
            let listener = |protocol: &str, transport: &str, address: &SocketAddr, more: &str| {
                format!(
                    "[[{section}.listener]]\nprotocol = \"{protocol}\"\ntransport = \"{transport}\"\naddress = \"{address}\"\n{more}\n"
                )
            };
            let row = |transport: &str, address: &SocketAddr, more: &str| listener("sip", transport, address, more);
            let beside = self.beside.into_iter().flat_map(|[access, _]| {
                [("mgcp", "udp"), ("h248", "udp"), ("h248", "tcp"), ("ras", "udp")]
                    .map(|(protocol, by)| listener(protocol, by, &SocketAddr::new(access.into(), port(protocol)), ""))
            });
            let beside: String = beside.collect();
            let stock = if self.digest.is_some() { row("udp", stock, "stock_phones = true") } else { String::new() };
            let mut behind = String::new();
            if !self.controllers.is_empty() {
                behind += &format!(
                    "[[{section}.listener]]\nprotocol = \"h248\"\naddress = \"{}\"\n[[{section}.tls]]\nprotocol = \"h248\"\naddress = \"{}\"\n",
                    self.h248, self.tls_h248
                );
            }
            if !self.call_agents.is_empty() {
                behind += &listener("mgcp", "udp", &self.h248, "");
            }
            format!(
                "{}{}{beside}{stock}{behind}[{section}.sealed]\naddress = \"{sealed}\"\n[{section}.ipsec]\naddress = \"{ipsec}\"\n[[{section}.tls]]\nprotocol = \"sip\"\naddress = \"{tls}\"\n[{section}.policy]\nmechanisms = [\"x-pkd-sealed\", \"ipsec-man\", \"tls\"]\n[{section}.key]\nfile = \"subscribers.csv\"\n[{section}.capacity]\nsessions = 1000\n",
                row("udp", sip, ""),
                row("tcp", sip, "")
            )
        };
        let (edge, behind) = if self.direct {
            (listeners("softswitch.direct"), String::new())
        } else {
            let controllers = match self.controllers.is_empty() {
                false => format!("controllers = [\"{}\"]\n", self.softswitch_h248),
                true => String::new(),
            };
            let peers = [("call_agents", "mgcp"), ("controllers", "h248"), ("gatekeepers", "ras")];
            let peers = self
                .beside
                .into_iter()
                .flat_map(|[_, at]| peers.map(|(key, protocol)| format!("{key} = [\"{at}:{}\"]\n", port(protocol))));
            let peers: String = peers.collect();
            let proxy = format!(
                "[proxy]\nidentity = \"sp1.example.test\"\nrealm = \"example.test\"\n[proxy.core]\nlisten = \"{core}\"\nsoftswitches = [\"{next}\"]\n{controllers}{peers}{}",
                listeners("proxy")
            );
            let mut peers = format!("[[softswitch.peer]]\naddress = \"{peer}\"\nidentities = [\"sp1.example.test\"]\n");
            if peer != *core {
                // The element puts no Path of its own: requests for terminals go to the proxy itself.
                peers += &format!("[[softswitch.peer]]\naddress = \"{core}\"\nidentities = []\n");
            }
            (proxy, format!("{peers}\n"))
        };
        let own = self.beside.into_iter().flat_map(|[_, at]| {
            ["mgcp", "h248", "ras"].map(|protocol| format!("\nlisten_{protocol} = \"{at}:{}\"", port(protocol)))
        });
        let upstreams =
            [("registrar", &self.registrars), ("controller", &self.controllers), ("call_agent", &self.call_agents)];
        let upstreams = upstreams
            .into_iter()
            .flat_map(|(kind, list)| list.iter().map(move |at| format!("[[softswitch.{kind}]]\naddress = \"{at}\"\n")));
        let behind: String = upstreams.chain([self.health.to_owned(), behind]).collect();
        let listen = if self.direct && self.registrars.is_empty() {
            String::new()
        } else {
            format!("listen = \"{softswitch}\"{}", own.collect::<String>())
        };
        let behind_it = match self.controllers.is_empty() || self.direct {
            false => format!("listen_h248 = \"{}\"", self.softswitch_h248),
            true => String::new(),
        };
        let (auc, aaa) = match self.diameter {
            Some([auc, relay]) => (
                format!(
                    "transport = \"diameter-tcp\"\naddress = \"{auc}\"\nidentity = \"auc.example.test\"\nclients = [\"127.0.0.1\"]"
                ),
                format!(
                    "transport = \"diameter-tcp\"\n[[softswitch.aaa.server]]\naddress = \"{relay}\"\nrealms = [\"example.test\"]"
                ),
            ),
            None => self.radius_sections(),
        };
        let codes = self.codes.map_or(String::new(), |at| format!("[auc.redeem]\naddress = \"{at}\"\n"));
        format!(
            r#"lab = true
[log]
level = "info"
[auc]
realms = ["example.test"]
store = "auc.redb"
audit_log = "audit.log"
import = "subscribers.csv"
digests = ["sha-256", "md5"]
[auc.master_key]
file = "master.key"
create = true
[[auc.listen]]
{auc}
{codes}[softswitch]
identity = "ss1.example.test"
realm = "example.test"
{listen}
{behind_it}
{digest}
{behind}
[softswitch.aaa]
{aaa}
{edge}
"#
        )
    }

    /// Writes the configuration and what it needs; nothing runs yet.
    pub fn prepared(self) -> Self {
        std::fs::copy(SUBSCRIBERS, self.path("subscribers.csv")).expect("the lab's subscribers");
        std::fs::write(self.path("lab.toml"), self.config()).expect("a configuration");
        for (id, password) in &self.phones {
            self.add_digest_subscriber(id, password);
        }
        self
    }

    /// Where the configuration lies.
    pub fn config_file(&self) -> PathBuf {
        self.path("lab.toml")
    }

    pub fn start(self) -> Self {
        let mut lab = self.prepared();
        lab.run();
        lab
    }

    fn run(&mut self) {
        let log = std::fs::File::create(self.path("log")).expect("a log file");
        let mut child = Command::new(BINARY)
            .args(["run", "--config"])
            .arg(self.path("lab.toml"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .process_group(0)
            .spawn()
            .expect("the binary starts");
        let stdout = child.stdout.take().expect("piped");
        self.process = Some(Running(child));
        let told = spoken(stdout);
        match told.recv_timeout(Duration::from_secs(30)) {
            Ok(line) if line.contains("ready") => {}
            other => panic!("no ready line but {other:?}; it logged:\n{}", self.log()),
        }
        self.said = Some(told);
    }

    /// A counter of the access side that stands under `role`.
    pub fn counter(&self, role: &str, name: &str) -> u64 {
        let all = self.counters();
        all[role][name].as_u64().unwrap_or_else(|| panic!("no {name} of {role} in {all}"))
    }

    /// Every counter of the access sides.
    pub fn counters(&self) -> serde_json::Value {
        let pid = self.process.as_ref().expect("it runs").0.id().to_string();
        let said = Command::new("kill").args(["-USR1", &pid]).status();
        assert!(said.is_ok_and(|status| status.success()));
        let line = self.said.as_ref().and_then(|said| said.recv_timeout(Duration::from_secs(10)).ok());
        serde_json::from_str(&line.expect("a line of counters")).expect("JSON")
    }

    /// The key of a subscriber.
    pub fn key_of(&self, id: &str) -> portunus_keydist::Key {
        let key = portunus_config::read_key_file(&self.path("subscribers.csv"), id, true);
        portunus_keydist::Key::new(*key.unwrap_or_else(|e| panic!("{e}")))
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    /// Starts what was prepared, under a configuration that the test has changed since.
    pub fn start_prepared(mut self) -> Self {
        self.run();
        self
    }

    /// Has the configuration read anew, and says what came of it.
    pub fn reload(&self) -> String {
        let pid = self.process.as_ref().expect("it runs").0.id().to_string();
        let said = Command::new("kill").args(["-HUP", &pid]).status();
        assert!(said.is_ok_and(|status| status.success()));
        let line = self.said.as_ref().and_then(|said| said.recv_timeout(Duration::from_secs(10)).ok());
        line.expect("a line about the reload")
    }

    pub fn kill_and_restart(&mut self) {
        self.process = None;
        self.run();
    }

    pub fn proxy_id(&self) -> &'static str {
        if self.direct { "ss1.example.test" } else { "sp1.example.test" }
    }

    /// Where MGCP gateways register.
    pub fn mgcp(&self) -> SocketAddr {
        self.access("mgcp")
    }

    /// Where terminals reach a protocol, by its name in the configuration.
    fn access(&self, protocol: &str) -> SocketAddr {
        match self.beside {
            Some([access, _]) if protocol != "sip" => SocketAddr::new(access.into(), port(protocol)),
            _ => self.sip,
        }
    }

    /// Registers by another protocol than SIP.
    pub fn register_by(&self, protocol: &str, id: &str, transport: &str) -> Report {
        self.register_keyed((protocol, id), transport, &self.path("subscribers.csv"), Duration::from_secs(10))
    }

    /// As [`Lab::register_by`], with a key that is not the subscriber's.
    pub fn register_wrongly(&self, protocol: &str, id: &str) -> Report {
        let key = self.path("wrong.key");
        std::fs::write(&key, "00".repeat(32)).expect("a key file");
        let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(&key, private).expect("a private key file");
        self.register_keyed((protocol, id), "udp", &key, Duration::from_secs(8))
    }

    /// A terminal that registers, asks something of the core inside its session, and answers what it is asked there for
    /// a second.
    pub fn stays(&self, protocol: Protocol, name: &str, id: &str) -> FleetResult {
        let profile = Profile::new(self.access(name), Transport::Udp, self.proxy_id(), "example.test", MECHS);
        let config = FleetConfig {
            profile: profile.expect("a profile").speaking(protocol),
            terminals: 1,
            local: Ipv4Addr::LOCALHOST.into(),
            sockets: 1,
            arrivals: Arrivals::Window(1),
            limit: Duration::from_millis(1_200),
            goal: Goal::Verified,
            stay: true,
        };
        let (id, key) = (id.to_owned(), *self.key_of(id).expose());
        let subscriber = move |_: u32| Some((id.clone(), Key::new(key)));
        Fleet::new(config, Box::new(subscriber)).expect("a socket").run(&mut |_| true).expect("a run")
    }

    pub fn register_keyed(&self, who: (&str, &str), transport: &str, key: &Path, limit: Duration) -> Report {
        bounded(&mut self.terminal(who, transport, key, limit), limit + Duration::from_secs(5))
    }

    /// Registers by SIP over UDP and offers this mechanism alone.
    pub fn register_under(&self, id: &str, mechanism: &str) -> Report {
        let limit = Duration::from_secs(10);
        let mut command = self.terminal(("sip", id), "udp", &self.path("subscribers.csv"), limit);
        bounded(command.args(["--mechanism", mechanism]), limit + Duration::from_secs(5))
    }

    fn terminal(&self, (protocol, id): (&str, &str), transport: &str, key: &Path, limit: Duration) -> Command {
        let mut command = Command::new(BINARY);
        let server = self.access(protocol).to_string();
        command.args(["register", "--protocol", protocol, "--server", &server, "--id", id]);
        command.args(["--proxy-id", self.proxy_id(), "--transport", transport, "--key-file"]).arg(key);
        command.args(["--limit", &limit.as_secs().to_string()]);
        command
    }

    /// Registers offering this mechanism alone; the report's text is JSON.
    pub fn register_offering(&self, id: &str, transport: &str, mechanism: &str) -> Report {
        let mut command = Command::new(BINARY);
        command.args(["--json", "register", "--server", &self.sip.to_string(), "--id", id, "--mechanism", mechanism]);
        command.args(["--proxy-id", self.proxy_id(), "--transport", transport, "--limit", "10", "--key-file"]);
        bounded(command.arg(self.path("subscribers.csv")), Duration::from_secs(15))
    }

    pub fn register(&self, id: &str, transport: &str) -> Report {
        self.register_within(id, transport, Duration::from_secs(10))
    }

    pub fn register_within(&self, id: &str, transport: &str, limit: Duration) -> Report {
        self.register_keyed(("sip", id), transport, &self.path("subscribers.csv"), limit)
    }

    pub fn register_with_wrong_key(&self, id: &str) -> Report {
        self.register_wrongly("sip", id)
    }

    /// Adds a stock phone before the AuC runs, as its store has one owner at a time.
    fn add_digest_subscriber(&self, id: &str, password: &str) {
        let secret = self.path("phone.secret");
        std::fs::write(&secret, password).expect("a secret file");
        let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(&secret, private).expect("a private secret file");
        let mut command = Command::new(BINARY);
        command.args(["key", "add", "--kind", "digest", "--id", id, "--config"]).arg(self.path("lab.toml"));
        command.arg("--key-file").arg(&secret);
        let report = bounded(&mut command, Duration::from_secs(10));
        assert!(report.ok, "key add: {}", report.text);
    }
}

/// The lines of a stream as they come.
fn spoken(stream: impl std::io::Read + Send + 'static) -> Receiver<String> {
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            let _ = tell.send(line);
        }
    });
    told
}

/// The peers' own programs.
pub struct Peer;

impl Peer {
    /// Kamailio listening at `at`, relaying to the lab's softswitch.
    pub fn kamailio(lab: &Lab, at: SocketAddr) -> Running {
        Self::kamailio_as("kamailio-path.cfg", lab, at)
    }

    /// Kamailio listening at `at`, the registrar behind the lab's softswitch.
    pub fn kamailio_registrar(lab: &Lab, at: SocketAddr) -> Running {
        Self::kamailio_as("kamailio-registrar.cfg", lab, at)
    }

    /// freeDiameter listening at `at`, relaying to the lab's AuC; the softswitch connects to it.
    pub fn free_diameter(lab: &Lab, at: SocketAddr) -> Running {
        let (key, certificate) = (lab.path("relay.key"), lab.path("relay.pem"));
        if !key.exists() {
            // It does not start without, although nothing here asks for TLS.
            let mut make = Command::new("openssl");
            make.args([
                "req",
                "-x509",
                "-newkey",
                "rsa:2048",
                "-nodes",
                "-days",
                "2",
                "-subj",
                "/CN=relay.example.test",
            ]);
            let made = bounded(make.arg("-keyout").arg(&key).arg("-out").arg(&certificate), Duration::from_secs(60));
            assert!(made.ok, "openssl: {}", made.text);
        }
        let template = std::fs::read_to_string(Path::new(PEERS).join("free-diameter.conf")).expect("its configuration");
        let text = template
            .replace("@PORT@", &at.port().to_string())
            .replace("@AUC@", &lab.diameter().port().to_string())
            .replace("@FOLDER@", &lab.folder.path().display().to_string());
        std::fs::write(lab.path("relay.conf"), text).expect("its configuration");
        std::fs::write(lab.path("relay.acl"), "ALLOW_IPSEC ss1.example.test\n").expect("its white list");
        let log = std::fs::File::create(lab.path("relay.log")).expect("a log");
        let errors = log.try_clone().expect("a log");
        let child = Command::new("freeDiameterd")
            .arg("-c")
            .arg(lab.path("relay.conf"))
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors)
            .process_group(0)
            .spawn()
            .expect("freeDiameterd starts");
        let running = Running(child);
        let until = Instant::now() + Duration::from_secs(20);
        while TcpListener::bind(at).is_ok() {
            let log = std::fs::read_to_string(lab.path("relay.log")).unwrap_or_default();
            assert!(Instant::now() < until, "freeDiameterd does not listen: {log}");
            std::thread::sleep(Duration::from_millis(100));
        }
        running
    }

    fn kamailio_as(template: &str, lab: &Lab, at: SocketAddr) -> Running {
        let template = std::fs::read_to_string(Path::new(PEERS).join(template)).expect("its configuration");
        let softswitch = lab.softswitch.to_string();
        let text = template.replace("@LISTEN@", &at.to_string()).replace("@SOFTSWITCH@", &softswitch);
        let text = text.replace("@PROXY@", &softswitch);
        let file = lab.path("kamailio.cfg");
        std::fs::write(&file, text).expect("its configuration");
        let log = std::fs::File::create(lab.path("kamailio.log")).expect("a log");
        let child = Command::new("kamailio")
            .args(["-DD", "-E", "-m", "32", "-M", "8", "-Y"])
            .arg(lab.folder.path())
            .arg("-f")
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .process_group(0)
            .spawn()
            .expect("kamailio starts");
        let running = Running(child);
        // It answers once its socket is bound: the port is taken then.
        let until = Instant::now() + Duration::from_secs(15);
        while UdpSocket::bind(at).is_ok() {
            assert!(
                Instant::now() < until,
                "kamailio does not listen: {}",
                std::fs::read_to_string(lab.path("kamailio.log")).unwrap_or_default()
            );
            std::thread::sleep(Duration::from_millis(100));
        }
        running
    }

    /// sipp as a stock phone that registers once.
    pub fn sipp(lab: &Lab, user: &str, password: &str, server: &SocketAddr) -> Report {
        let injected = lab.path("phones.csv");
        let row = format!("SEQUENTIAL\n{user};[authentication username={user}@example.test password={password}]\n");
        std::fs::write(&injected, row).expect("sipp's field file");
        let mut command = Command::new("sipp");
        command.arg(server.to_string()).arg("-sf").arg(Path::new(PEERS).join("stock-phone.xml"));
        command.arg("-inf").arg(&injected);
        command.args(["-m", "1", "-l", "1", "-i", "127.0.0.1", "-nostdin", "-timeout", "6", "-timeout_error"]);
        command.args(["-max_retrans", "3", "-nd", "-auth_uri", "example.test"]);
        bounded(command.current_dir(lab.folder.path()), Duration::from_secs(15))
    }

    /// sipsak in its registration mode.
    pub fn sipsak(lab: &Lab, user: &str, password: &str, server: &SocketAddr) -> Report {
        let mut command = Command::new("sipsak");
        // The host name is given, and so is where to send: nothing is looked up.
        command.args(["-U", "-i", "-v", "-H", "127.0.0.1", "-p", &server.to_string()]);
        command.args(["-s", &format!("sip:{user}@example.test"), "-u", &format!("{user}@example.test")]);
        command.args(["-a", password, "-x", "300", "-C", &format!("sip:{user}@127.0.0.1:9")]);
        bounded(command.current_dir(lab.folder.path()), Duration::from_secs(15))
    }
}
