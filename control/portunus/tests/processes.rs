//! Three files, three processes, RadSec between softswitch and AuC, systemd's notifications, an AuC that goes away
//! and comes back: as in production, with certificates made by the test.

mod lab;

use lab::certificates::{CLIENT, SERVER, certificates, private};
use lab::{ALICE_KEY, bounded, free_port};
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const SP_KEY: &str = "e0f9e48309c1b91d8f21a69334c4983ef8087c94a5627f2b8535e73a1222d20d";

/// Roles of one site, each with a file of its own.
struct Site {
    folder: tempfile::TempDir,
    sip: SocketAddr,
    radsec: SocketAddr,
    roles: Vec<(&'static str, Child)>,
}

impl Drop for Site {
    fn drop(&mut self) {
        for (_, child) in &mut self.roles {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Site {
    fn plan() -> Self {
        let site = Self {
            folder: tempfile::tempdir().expect("a folder"),
            sip: free_port(),
            radsec: free_port(),
            roles: Vec::new(),
        };
        certificates(site.folder.path(), &[("auc", &[SERVER]), ("ss1", &[CLIENT])]);
        let (sealed, core, softswitch) = (free_port(), free_port(), free_port());
        let (sip, radsec) = (site.sip, site.radsec);
        private(&site.path("sp1.key"), SP_KEY);
        private(&site.path("keys.csv"), &format!("alice@example.test,{ALICE_KEY}\nsp1.example.test,{SP_KEY}\n"));
        let auc = format!(
            "[auc]\nrealms = [\"example.test\"]\nstore = \"auc.redb\"\naudit_log = \"audit.log\"\nimport = \"keys.csv\"\n\
             devices = [\"sp1.example.test\"]\n[auc.master_key]\nfile = \"master\"\ncreate = true\n[[auc.listen]]\n\
             transport = \"radsec\"\naddress = \"{radsec}\"\ncertificate = \"auc.pem\"\nkey = \"auc.key\"\nca = \"ca.pem\"\n\
             clients = [\"ss1.example.test\"]\n"
        );
        let ss = format!(
            "[softswitch]\nidentity = \"ss1.example.test\"\nrealm = \"example.test\"\nlisten = \"{softswitch}\"\n\
             [[softswitch.peer]]\naddress = \"{core}\"\nidentities = [\"sp1.example.test\"]\n[softswitch.aaa]\n\
             certificate = \"ss1.pem\"\nkey = \"ss1.key\"\nca = \"ca.pem\"\nprobe_every = \"200ms\"\n\
             [[softswitch.aaa.server]]\naddress = \"{radsec}\"\nname = \"auc.example.test\"\n"
        );
        let sp = format!(
            "[proxy]\nidentity = \"sp1.example.test\"\nrealm = \"example.test\"\nworkers = 2\n[proxy.key]\nfile = \"sp1.key\"\n\
             [proxy.core]\nlisten = \"{core}\"\nsoftswitches = [\"{softswitch}\"]\n[[proxy.listener]]\nprotocol = \"sip\"\n\
             address = \"{sip}\"\n[proxy.sealed]\naddress = \"{sealed}\"\n[proxy.capacity]\nsessions = 1000\n"
        );
        for (name, text) in [("auc", auc), ("ss1", ss), ("sp1", sp)] {
            std::fs::write(site.path(&format!("{name}.toml")), text).expect("written");
        }
        site
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn start(&mut self, name: &'static str) {
        let log = std::fs::File::create(self.path(&format!("{name}.log"))).expect("a log");
        // Whoever may have a core gets one, here.
        let mut child = Command::new("sh")
            .args(["-c", "ulimit -c unlimited && exec \"$0\" run --config \"$1\"", env!("CARGO_BIN_EXE_portunus")])
            .arg(self.path(&format!("{name}.toml")))
            .current_dir(self.folder.path())
            .env("NOTIFY_SOCKET", self.path("notify"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .expect("it starts");
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let ready = lines.next().and_then(Result::ok).unwrap_or_default();
        let log = std::fs::read_to_string(self.path(&format!("{name}.log"))).unwrap_or_default();
        assert!(ready.starts_with("portunus ready: "), "{name}: {ready}\n{log}");
        let mut said = std::fs::File::create(self.path(&format!("{name}.out"))).expect("a file");
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(|line| drop(writeln!(said, "{line}"))));
        self.roles.push((name, child));
    }

    /// Sends a signal to a role.
    fn signal(&self, name: &str, signal: &str) {
        let (_, child) = self.roles.iter().find(|(n, _)| *n == name).expect("it runs");
        let sent = Command::new("kill").args([signal, &child.id().to_string()]).status().expect("kill runs");
        assert!(sent.success(), "{signal} to {name}");
    }

    /// Files of the site, and of what crossed its network, in which a text or these octets stand.
    fn holding(&self, what: &[u8]) -> Vec<String> {
        let holds = |path: &Path| {
            let octets = std::fs::read(path).unwrap_or_default();
            octets.windows(what.len()).any(|w| w == what)
        };
        let files = std::fs::read_dir(self.folder.path()).expect("a folder").flatten();
        let files = files.map(|f| f.path()).filter(|path| path.is_file() && holds(path));
        let mut names: Vec<_> =
            files.map(|p| p.file_name().unwrap_or_default().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    fn kill(&mut self, name: &str) {
        let at = self.roles.iter().position(|(n, _)| *n == name).expect("it runs");
        let (_, mut child) = self.roles.remove(at);
        child.kill().expect("killed");
        let _ = child.wait();
    }

    fn register(&self, limit: u64) -> lab::Report {
        self.register_as("alice@example.test", limit)
    }

    fn register_as(&self, id: &str, limit: u64) -> lab::Report {
        let mut command = Command::new(env!("CARGO_BIN_EXE_portunus"));
        command.args(["register", "--id", id, "--proxy-id", "sp1.example.test"]);
        command.args(["--server", &self.sip.to_string(), "--limit", &limit.to_string(), "--key-file"]);
        command.arg(self.path("keys.csv"));
        bounded(&mut command, Duration::from_secs(limit + 5))
    }

    /// Registers until it works.
    fn registers_within(&self, most: Duration) -> String {
        let until = Instant::now() + most;
        loop {
            let report = self.register(5);
            if report.ok || Instant::now() > until {
                assert!(report.ok, "{}", report.text);
                return report.text;
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    }
}

#[test]
fn three_processes_over_radsec_survive_the_loss_of_their_auc() {
    let mut site = Site::plan();
    let notify = UnixDatagram::bind(site.path("notify")).expect("a socket for notifications");
    notify.set_read_timeout(Some(Duration::from_secs(10))).expect("set");
    for name in ["auc", "ss1", "sp1"] {
        site.start(name);
        let mut word = [0u8; 1024];
        let n = notify.recv(&mut word).expect("a word to systemd");
        assert!(word[..n].starts_with(b"READY=1"), "{}", String::from_utf8_lossy(&word[..n]));
    }
    let text = site.registers_within(Duration::from_secs(10));
    assert!(text.contains("active after"), "{text}");
    // Without an AuC nobody is let in, and the terminal hears that it is not about its key.
    site.kill("auc");
    let refused = site.register(8);
    assert!(!refused.ok && refused.text.contains("busy (503"), "{}", refused.text);
    // It comes back on the same address; nobody else is restarted.
    site.start("auc");
    site.registers_within(Duration::from_secs(15));
    for name in ["auc", "ss1", "sp1"] {
        let log = std::fs::read_to_string(site.path(&format!("{name}.log"))).expect("a log");
        assert!(!log.contains(ALICE_KEY) && !log.contains(SP_KEY), "a key was logged by {name}");
    }
}

/// An identity that is in no other test: what looks for keys must find it.
const CANARY: &str = "canary-4f1d9b@example.test";
const CANARY_KEY: &str = "9d3f5f0c7a1be2486d0c9e51b7f2a8634ec1d0957b3a6f28e4d9c0b17a5f3e86";

#[test]
fn no_key_is_on_disk_in_logs_in_metrics_on_the_wire_or_in_a_forced_core() {
    lab::needs(&["tshark"]);
    let mut site = Site::plan();
    let notify = UnixDatagram::bind(site.path("notify")).expect("a socket for notifications");
    notify.set_nonblocking(true).expect("set");
    let keys = std::fs::read_to_string(site.path("keys.csv")).expect("keys");
    private(&site.path("keys.csv"), &format!("{keys}{CANARY},{CANARY_KEY}\n"));
    let mut wire = Command::new("tshark")
        .args([
            "-q",
            "-i",
            "lo",
            "-F",
            "pcap",
            "-f",
            &format!("port {} or port {}", site.sip.port(), site.radsec.port()),
            "-w",
        ])
        .arg(site.path("wire.pcap"))
        .stderr(Stdio::piped())
        .spawn()
        .expect("tshark starts");
    let mut lines = BufReader::new(wire.stderr.take().expect("piped")).lines();
    assert!(lines.by_ref().map_while(Result::ok).any(|l| l.contains("Capturing on")), "tshark captures");
    std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
    std::thread::sleep(Duration::from_millis(700));
    for name in ["auc", "ss1", "sp1"] {
        site.start(name);
    }
    site.registers_within(Duration::from_secs(10));
    let registered = site.register_as(CANARY, 8);
    assert!(registered.ok, "{}", registered.text);
    site.signal("sp1", "-USR1");
    let (_, auc) = site.roles.iter().find(|(name, _)| *name == "auc").expect("it runs");
    let status = std::fs::read_to_string(format!("/proc/{}/status", auc.id())).expect("its status");
    assert!(status.contains("Seccomp:\t2") && status.contains("NoNewPrivs:\t1"), "{status}");
    let log = std::fs::read_to_string(site.path("auc.log")).expect("a log");
    assert!(log.contains("confined: no cores") && log.contains("system calls refused"), "{log}");
    // A process with the canary in its memory and no reason to hide it: that the search finds what is there.
    let mut careless = Command::new("sh")
        .args(["-c", "ulimit -c unlimited && exec sleep 60"])
        .env("CANARY", CANARY)
        .current_dir(site.folder.path())
        .spawn()
        .expect("it runs");
    std::thread::sleep(Duration::from_millis(1500));
    let _ = Command::new("kill").args(["-ABRT", &careless.id().to_string()]).status();
    let _ = careless.wait();
    let named = |name: &str| name.starts_with("core");
    let found = site.holding(CANARY.as_bytes());
    let pattern = std::fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap_or_default();
    if pattern.starts_with("core") {
        assert!(found.iter().any(|f| named(f)), "the careless process left a core with the canary: {found:?}");
    }
    for file in std::fs::read_dir(site.folder.path()).expect("a folder").flatten() {
        if named(&file.file_name().to_string_lossy()) {
            std::fs::remove_file(file.path()).expect("removed");
        }
    }
    site.signal("auc", "-ABRT");
    std::thread::sleep(Duration::from_millis(500));
    let _ = Command::new("kill").args(["-INT", &wire.id().to_string()]).status();
    let _ = wire.wait();
    for place in ["auc.redb", "audit.log", "keys.csv", "wire.pcap"] {
        assert!(
            found.iter().any(|f| f == place) || site.holding(CANARY.as_bytes()).iter().any(|f| f == place),
            "{place}"
        );
    }
    let master = std::fs::read_to_string(site.path("master")).expect("a master key");
    for key in [ALICE_KEY, SP_KEY, CANARY_KEY, master.trim()] {
        let raw = portunus_codec::hex_decode::<32>(key.as_bytes()).expect("hex");
        let mut base64 = [0u8; 43];
        portunus_codec::b64_encode(&raw, &mut base64);
        for form in [key.as_bytes(), key.to_uppercase().as_bytes(), &raw, &raw[..12], &base64] {
            let where_it_may = ["keys.csv", "sp1.key", "master"];
            let others: Vec<_> =
                site.holding(form).into_iter().filter(|f| !where_it_may.contains(&f.as_str())).collect();
            assert!(others.is_empty(), "a key stands in {others:?}");
        }
    }
    let cores: Vec<_> = std::fs::read_dir(site.folder.path()).expect("a folder").flatten().collect();
    assert!(!cores.iter().any(|f| named(&f.file_name().to_string_lossy())), "the AuC left no core");
}
