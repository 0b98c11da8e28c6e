//! Three files, three processes, RadSec between softswitch and AuC, systemd's notifications, an AuC that goes away
//! and comes back: as in production, with certificates made by the test.

mod lab;

use lab::{ALICE_KEY, bounded, free_port};
use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
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

fn private(path: &Path, text: &str) {
    std::fs::write(path, text).expect("written");
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).expect("made private");
}

/// An authority, a server's and a client's certificate, as PEM files.
fn certificates(folder: &Path) {
    let mut params = CertificateParams::new(Vec::new()).expect("no names");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages.push(KeyUsagePurpose::KeyCertSign);
    let key = KeyPair::generate().expect("a key");
    let ca = params.self_signed(&key).expect("an authority");
    std::fs::write(folder.join("ca.pem"), ca.pem()).expect("written");
    let issuer = Issuer::new(params, key);
    let ends = [("auc", ExtendedKeyUsagePurpose::ServerAuth), ("ss1", ExtendedKeyUsagePurpose::ClientAuth)];
    for (name, usage) in ends {
        let mut params = CertificateParams::new(vec![format!("{name}.example.test")]).expect("a name");
        params.key_usages.push(KeyUsagePurpose::DigitalSignature);
        params.extended_key_usages.push(usage);
        let key = KeyPair::generate().expect("a key");
        let leaf = params.signed_by(&key, &issuer).expect("a certificate");
        std::fs::write(folder.join(format!("{name}.pem")), leaf.pem()).expect("written");
        private(&folder.join(format!("{name}.key")), &key.serialize_pem());
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
        certificates(site.folder.path());
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
        let mut child = Command::new(env!("CARGO_BIN_EXE_portunus"))
            .args(["run", "--config"])
            .arg(self.path(&format!("{name}.toml")))
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
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
        self.roles.push((name, child));
    }

    fn kill(&mut self, name: &str) {
        let at = self.roles.iter().position(|(n, _)| *n == name).expect("it runs");
        let (_, mut child) = self.roles.remove(at);
        child.kill().expect("killed");
        let _ = child.wait();
    }

    fn register(&self, limit: u64) -> lab::Report {
        let mut command = Command::new(env!("CARGO_BIN_EXE_portunus"));
        command.args(["register", "--id", "alice@example.test", "--proxy-id", "sp1.example.test"]);
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
