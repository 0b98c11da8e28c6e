//! FreeRADIUS between softswitch and AuC, its client, and what the AuC recorded.

use super::certificates::{CLIENT, SERVER, certificates};
use super::{BINARY, Lab, PEERS, Report, Running, bounded, free_port};
use serde_json::Value;
use std::io::Write as _;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// The secret that is shared where TLS does not protect.
pub const SECRET: &str = "lab-radius-secret";
/// Dictionaries as they are shipped; with the one for RFC 5090, which Debian's own list leaves out.
const DICTIONARIES: [&str; 5] = ["rfc2865", "rfc2866", "rfc2869", "rfc6911", "rfc5090"];

/// A relay's addresses.
#[derive(Debug, Clone, Copy)]
pub struct Relay {
    pub at: SocketAddr,
    pub records: SocketAddr,
    radsec: bool,
}

impl Relay {
    /// True where it speaks TLS on both sides.
    pub fn is_radsec(&self) -> bool {
        self.radsec
    }
}

impl Lab {
    /// Softswitch and AuC speak RADIUS through a relay, over UDP.
    pub fn with_radius_relay(mut self) -> Self {
        self.relay = Some(Relay { at: free_port(), records: free_port(), radsec: false });
        self
    }

    /// Softswitch and AuC speak RADIUS through a relay, over TLS.
    pub fn with_radsec_relay(mut self) -> Self {
        self.relay = Some(Relay { at: free_port(), records: free_port(), radsec: true });
        let ends = [("auc", [SERVER].as_slice()), ("ss1", &[CLIENT]), ("relay", &[SERVER, CLIENT])];
        certificates(self.folder.path(), &ends);
        self
    }

    /// The relay's addresses.
    pub fn relay(&self) -> Relay {
        self.relay.expect("a laboratory with a relay")
    }

    /// Where the AuC answers over UDP: authentication, and records.
    pub fn radius(&self) -> [SocketAddr; 2] {
        [self.radius, self.accounting]
    }

    /// The AuC's listener and the softswitch's servers, as the configuration has them.
    pub(super) fn radius_sections(&self) -> (String, String) {
        let Self { radius, accounting, .. } = self;
        let over_udp = |address: &SocketAddr, records: &SocketAddr| {
            format!("address = \"{address}\"\naccounting = \"{records}\"\n")
        };
        let (at, records) = self.relay.as_ref().map_or((radius, accounting), |relay| (&relay.at, &relay.records));
        if self.relay.is_some_and(|relay| relay.radsec) {
            let own = |name: &str| format!("certificate = \"{name}.pem\"\nkey = \"{name}.key\"\nca = \"ca.pem\"\n");
            let auc = format!(
                "transport = \"radsec\"\naddress = \"{radius}\"\n{}clients = [\"relay.example.test\"]",
                own("auc")
            );
            let server = format!("[[softswitch.aaa.server]]\naddress = \"{at}\"\nname = \"relay.example.test\"");
            return (auc, format!("{}{server}", own("ss1")));
        }
        (
            format!(
                "transport = \"udp\"\n{}[[auc.listen.client]]\naddress = \"127.0.0.1\"\nsecret = \"{SECRET}\"",
                over_udp(radius, accounting)
            ),
            format!("transport = \"udp\"\n[[softswitch.aaa.server]]\n{}secret = \"{SECRET}\"", over_udp(at, records)),
        )
    }

    /// FreeRADIUS, as its distribution ships it, relaying to the lab's AuC.
    pub fn free_radius(&self) -> Running {
        let relay = self.relay();
        let folder = self.path("raddb");
        std::fs::create_dir_all(&folder).expect("a folder");
        let legs = if relay.radsec { "free-radius-radsec.conf" } else { "free-radius-udp.conf" };
        for (template, name) in [("free-radius.conf", "radiusd.conf"), (legs, "legs.conf")] {
            let text = std::fs::read_to_string(Path::new(PEERS).join(template)).expect("its configuration");
            let text = text
                .replace("@PORT@", &relay.at.port().to_string())
                .replace("@RECORDS@", &relay.records.port().to_string())
                .replace("@AUC@", &self.radius.port().to_string())
                .replace("@AUC_RECORDS@", &self.accounting.port().to_string())
                .replace("@SECRET@", SECRET)
                .replace("@FOLDER@", &folder.display().to_string());
            std::fs::write(folder.join(name), text).expect("its configuration");
        }
        for name in ["relay.key", "relay.pem", "ca.pem"].iter().filter(|_| relay.radsec) {
            std::fs::copy(self.path(name), folder.join(name)).expect("its certificate");
        }
        // It wants one of its own beside those that are shipped.
        std::fs::write(folder.join("dictionary"), "").expect("a dictionary");
        let log = std::fs::File::create(self.path("relay.log")).expect("a log");
        let errors = log.try_clone().expect("a log");
        let child = Command::new("freeradius")
            .args(["-f", "-l", "stdout", "-xx", "-d"])
            .arg(&folder)
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors)
            .process_group(0)
            .spawn()
            .expect("freeradius starts");
        let running = Running(child);
        let until = Instant::now() + Duration::from_secs(20);
        let free = || match relay.radsec {
            true => TcpListener::bind(relay.at).is_ok(),
            false => UdpSocket::bind(relay.at).is_ok() || UdpSocket::bind(relay.records).is_ok(),
        };
        while free() {
            assert!(Instant::now() < until, "freeradius does not listen: {}", self.relay_log());
            std::thread::sleep(Duration::from_millis(100));
        }
        running
    }

    /// The process that runs.
    pub fn pid(&self) -> u32 {
        self.process.as_ref().expect("it runs").0.id()
    }

    /// What FreeRADIUS says it did.
    pub fn relay_log(&self) -> String {
        std::fs::read_to_string(self.path("relay.log")).unwrap_or_default()
    }

    /// FreeRADIUS's client: sends one packet of these attributes, once, and shows what came back.
    pub fn radclient(&self, at: SocketAddr, kind: &str, attributes: &str) -> Report {
        let folder = self.path("dictionaries");
        std::fs::create_dir_all(&folder).expect("a folder");
        let lines = DICTIONARIES.map(|rfc| format!("$INCLUDE /usr/share/freeradius/dictionary.{rfc}\n"));
        std::fs::write(folder.join("dictionary"), lines.concat()).expect("a dictionary");
        let input = self.path("radclient.in");
        let mut file = std::fs::File::create(&input).expect("a file");
        writeln!(file, "{attributes}").expect("written");
        let mut command = Command::new("radclient");
        command.arg("-x").arg("-D").arg(&folder).args(["-r", "1", "-t", "5", "-f"]).arg(&input);
        bounded(command.arg(at.to_string()).args([kind, SECRET]), Duration::from_secs(10))
    }

    /// What the AuC knows of an identity's registration: `portunus store records`.
    pub fn record_of(&self, id: &str) -> Option<Value> {
        let mut command = Command::new(BINARY);
        command.args(["--json", "store", "records", "--id", id, "--config"]).arg(self.config_file());
        let output = command.stdin(Stdio::null()).output().expect("it runs");
        assert!(output.status.success(), "store records: {}", String::from_utf8_lossy(&output.stderr));
        let all: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        let mut records = all["records"].as_array().expect("records").iter();
        let found = records.next().cloned();
        assert!(records.next().is_none(), "one identity has one record: {all}");
        found
    }

    /// Waits until what the AuC knows is as it should be.
    pub fn until_recorded(&self, id: &str, what: &str, mut right: impl FnMut(&Value) -> bool) -> Value {
        let until = Instant::now() + Duration::from_secs(15);
        loop {
            let found = self.record_of(id);
            match found {
                Some(found) if right(&found) => return found,
                found => assert!(Instant::now() < until, "{id}: {what}: {found:?}\n{}", self.relay_log()),
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}
