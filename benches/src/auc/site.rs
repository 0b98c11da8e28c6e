//! What is measured: an AuC over a store, and FreeRADIUS over a list, both of so many subscribers, each a process.

use super::drive;
use crate::cpu::Meter;
use crate::keys::{IDSP, REALM, identity, key_of};
use core::net::SocketAddr;
use core::time::Duration;
use portunus_auc::custody::MasterKey;
use portunus_auc::store::{Credential, Entry, IfThere, Kind, Store};
use portunus_keydist::{Random as _, SystemRandom};
use std::io::{self, BufWriter, Write as _};
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

/// The secret shared with both servers.
pub(super) const SECRET: &str = "bench-radius-secret";
/// What the generator calls itself.
pub(super) const NAS: &str = "ss1.bench.example.test";
/// Keys that the AuC keeps open: the fewest that it may, so that a question takes a key from the store and unseals it.
const OPEN_KEYS: u32 = 256;
/// Credentials a transaction when a store is filled.
const TOGETHER: u64 = 20_000;
/// How long a server may take to begin to answer.
const START: Duration = Duration::from_secs(120);

/// A user's password at FreeRADIUS.
pub(super) fn password(n: u64) -> String {
    format!("p{n:08}")
}

/// A store of so many subscribers with its master key and a configuration that serves it.
#[derive(Debug)]
pub(super) struct Estate {
    folder: tempfile::TempDir,
    pub(super) subscribers: u64,
    address: SocketAddr,
}

/// A port that is free now, below those that the system hands out by itself: nobody takes it by chance before it is bound.
fn free_port() -> io::Result<SocketAddr> {
    let mut rng = SystemRandom::new();
    for _ in 0..1_000 {
        let port = 10_240 + (rng.next_u64() % 20_480) as u16;
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        if UdpSocket::bind(address).is_ok() {
            return Ok(address);
        }
    }
    Err(io::ErrorKind::AddrInUse.into())
}

fn fault(e: impl core::fmt::Display) -> io::Error {
    io::Error::other(e.to_string())
}

impl Estate {
    /// Makes one. `told` hears how many subscribers are in.
    pub(super) fn make(subscribers: u64, told: &mut dyn FnMut(u64)) -> io::Result<Self> {
        let folder = tempfile::tempdir()?;
        let mut rng = SystemRandom::new();
        let master = MasterKey::create_file(&folder.path().join("master"), &mut rng).map_err(fault)?;
        let store = Store::open(&folder.path().join("auc.redb"), &master, &mut rng).map_err(fault)?;
        let device = Entry { id: IDSP.into(), kind: Kind::Device, credential: Credential::Key(key_of(IDSP)) };
        store.put(1, &[device], IfThere::Refuse, &mut rng).map_err(fault)?;
        for first in (0..subscribers).step_by(TOGETHER as usize) {
            let batch = first..subscribers.min(first + TOGETHER);
            let entry = |n| {
                let id = identity(n);
                let credential = Credential::Key(key_of(&id));
                Entry { id, kind: Kind::Terminal, credential }
            };
            let batch: Vec<Entry> = batch.map(entry).collect();
            store.put(1, &batch, IfThere::Refuse, &mut rng).map_err(fault)?;
            told(first + batch.len() as u64);
        }
        let estate = Self { folder, subscribers, address: free_port()? };
        std::fs::write(estate.path("auc.toml"), estate.config()?)?;
        Ok(estate)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn config(&self) -> io::Result<String> {
        let (address, accounting) = (self.address, free_port()?);
        // Over UDP, for FreeRADIUS verifies its digests there.
        Ok(format!(
            "lab = true\n[log]\nlevel = \"warn\"\n[auc]\nrealms = [\"{REALM}\"]\nstore = \"auc.redb\"\naudit_log = \"audit.log\"\n\
             open_keys = {OPEN_KEYS}\n\
             [auc.master_key]\nfile = \"master\"\n[[auc.listen]]\ntransport = \"udp\"\naddress = \"{address}\"\n\
             accounting = \"{accounting}\"\n[[auc.listen.client]]\naddress = \"127.0.0.1\"\nsecret = \"{SECRET}\"\n"
        ))
    }

    /// Starts the AuC over it; how long it took from there to its first right answer.
    pub(super) fn start(&self, program: &Path) -> io::Result<(Server, Duration)> {
        let begun = Instant::now();
        let log = std::fs::File::create(self.path("auc.log"))?;
        let child = Command::new(program)
            .args(["run", "--config"])
            .arg(self.path("auc.toml"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .map_err(|e| io::Error::new(e.kind(), format!("{}: {e}", program.display())))?;
        let mut server = Server { meter: Meter::new(child.id())?, child, address: self.address, _files: None };
        match drive::first_answer(self.address, begun, START) {
            Ok(took) => Ok((server, took)),
            Err(e) => {
                let _ = server.child.kill();
                let log = std::fs::read_to_string(self.path("auc.log")).unwrap_or_default();
                Err(io::Error::new(e.kind(), format!("the AuC: {e}\n{log}")))
            }
        }
    }
}

/// A server under test; it is ended when dropped.
#[derive(Debug)]
pub(super) struct Server {
    /// What it costs.
    pub(super) meter: Meter,
    /// Where it answers.
    pub(super) address: SocketAddr,
    child: Child,
    _files: Option<tempfile::TempDir>,
}

/// Where FreeRADIUS has its users.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Users {
    /// In memory, read from a file at the start: its fastest way.
    Memory,
    /// In a database on disk, where they can be added while it runs, as the AuC's can: SQLite.
    Database,
}

impl Users {
    /// What tables call it.
    pub(super) const fn label(self) -> &'static str {
        match self {
            Self::Memory => "FreeRADIUS, memory",
            Self::Database => "FreeRADIUS, SQLite",
        }
    }

    const fn module(self) -> &'static str {
        match self {
            Self::Memory => include_str!("../../peers/freeradius-memory.conf"),
            Self::Database => include_str!("../../peers/freeradius-sqlite.conf"),
        }
    }
}

impl Server {
    /// FreeRADIUS with so many users, whose digests it verifies.
    pub(super) fn freeradius(kind: Users, users: u64) -> io::Result<Self> {
        let (folder, address) = (tempfile::tempdir()?, free_port()?);
        let files = folder.path().to_string_lossy().into_owned();
        let template = |text: &str| {
            text.replace("@FILES@", &files)
                .replace("@SECRET@", SECRET)
                .replace("@USERS@", &users.to_string())
                .replace("@PORT@", &address.port().to_string())
        };
        let written = [
            ("radiusd.conf", include_str!("../../peers/freeradius-digest.conf")),
            ("store.conf", kind.module()),
            ("users.sql", include_str!("../../peers/freeradius-users.sql")),
            ("dictionary", ""),
        ];
        for (name, text) in written {
            std::fs::write(folder.path().join(name), template(text))?;
        }
        let mut list = BufWriter::new(std::fs::File::create(folder.path().join("subscribers"))?);
        for n in 0..users {
            writeln!(list, "{}:{}", identity(n), password(n))?;
        }
        list.flush()?;
        let child = Command::new("freeradius")
            .args(["-f", "-d"])
            .arg(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|e| io::Error::new(e.kind(), format!("freeradius: {e}; apt-get install freeradius")))?;
        let meter = Meter::new(child.id())?;
        let server = Self { meter, address, child, _files: Some(folder) };
        let begun = Instant::now();
        // While it reads its users it does not answer.
        while let Err(e) = drive::Driver::new(drive::Ask::Digest, address, users)?.run(1, 1) {
            if begun.elapsed() > START {
                return Err(io::Error::new(e.kind(), format!("freeradius: {e}")));
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(server)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
