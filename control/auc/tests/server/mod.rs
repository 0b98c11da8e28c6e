//! A PostgreSQL of a test's own: in a folder that goes with the test, on a port of its own, with TLS and certificates
//! of its own. It may be killed and started again.

// Each test binary uses its own part of this.
#![allow(dead_code, unreachable_pub)]

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// The password of user `portunus`.
pub const PASSWORD: &str = "correct horse battery";

pub struct Server {
    folder: tempfile::TempDir,
    programs: PathBuf,
    pub port: u16,
    /// Whom the server runs as: it refuses to be root.
    user: Option<(u32, u32)>,
    child: Option<Child>,
}

/// Where the distribution keeps what is not for everybody's path.
fn programs() -> PathBuf {
    let mut found: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .map(|e| e.path().join("bin"))
        .filter(|bin| bin.join("initdb").exists())
        .collect();
    found.sort();
    found.pop().expect("postgresql is missing: `sh control/tidy/test.sh tools` installs what the tests talk to")
}

/// User and group `nobody`, for a test that runs as root.
fn nobody() -> Option<(u32, u32)> {
    let root = std::fs::metadata("/proc/self").is_ok_and(|m| std::os::unix::fs::MetadataExt::uid(&m) == 0);
    let passwd = std::fs::read_to_string("/etc/passwd").ok().filter(|_| root)?;
    let fields: Vec<&str> = passwd.lines().find(|l| l.starts_with("nobody:"))?.split(':').collect();
    Some((fields.get(2)?.parse().ok()?, fields.get(3)?.parse().ok()?))
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

impl Server {
    /// Makes a database `portunus` that user `portunus` owns, and starts it.
    pub fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let port = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port").port();
        let mut server = Self { folder, programs: programs(), port, user: nobody(), child: None };
        server.certificates();
        server.own(server.folder.path());
        let mut init = server.program("initdb");
        init.args(["-U", "postgres", "-A", "trust", "-N", "-E", "UTF8", "--locale=C", "--no-instructions", "-D"]);
        let init = init.arg(server.data()).output().expect("initdb runs");
        assert!(init.status.success(), "{}", said(&init));
        let more = format!(
            "listen_addresses = '127.0.0.1'\nport = {port}\nunix_socket_directories = '{}'\nfsync = off\n\
             shared_buffers = 16MB\nmax_connections = 60\nssl = on\nssl_cert_file = '../server.pem'\n\
             ssl_key_file = '../server.key'\nssl_ca_file = '../ca.pem'\nlog_statement = 'all'\n\
             log_parameter_max_length = -1\nlog_parameter_max_length_on_error = -1\n",
            server.folder.path().display()
        );
        let conf = server.data().join("postgresql.conf");
        std::fs::write(&conf, std::fs::read_to_string(&conf).expect("made") + &more).expect("written");
        let rules = "local all postgres trust\nhostssl all certified 127.0.0.1/32 cert\n\
                     hostssl all portunus 127.0.0.1/32 scram-sha-256\nhostnossl all plain 127.0.0.1/32 scram-sha-256\n";
        std::fs::write(server.data().join("pg_hba.conf"), rules).expect("written");
        server.run();
        for user in ["portunus", "certified", "plain"] {
            server.sql("postgres", &format!("create user {user} password '{PASSWORD}'"));
        }
        server.sql("postgres", "create database portunus owner portunus");
        server
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Gives a path to the server's user.
    fn own(&self, path: &Path) {
        if let Some((user, group)) = self.user {
            chown(path, Some(user), Some(group)).expect("root may");
        }
    }

    fn program(&self, name: &str) -> Command {
        let mut command = Command::new(self.programs.join(name));
        command.current_dir(self.folder.path()).stdin(Stdio::null()).env_remove("PGHOST").env("LC_ALL", "C");
        if let Some((user, group)) = self.user {
            command.uid(user).gid(group);
        }
        command
    }

    /// Starts it and waits until it answers. One that was killed leaves children behind, which end a moment later.
    pub fn run(&mut self) {
        let until = Instant::now() + Duration::from_secs(60);
        while Instant::now() < until {
            let log = std::fs::File::options().create(true).append(true).open(self.log()).expect("a log");
            self.own(&self.log());
            let mut child = self.program("postgres");
            let child = child.arg("-D").arg(self.data()).stdout(Stdio::null()).stderr(log);
            let mut child = child.spawn().expect("it starts");
            while child.try_wait().expect("it can be asked").is_none() && Instant::now() < until {
                if self.psql("postgres", "select 1").status.success() {
                    self.child = Some(child);
                    return;
                }
                std::thread::sleep(Duration::from_millis(50));
            }
            let _ = child.kill();
            let _ = child.wait();
        }
        panic!("it does not start: {}", std::fs::read_to_string(self.log()).unwrap_or_default());
    }

    /// What the server logs, statements and their parameters among it.
    pub fn log(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    /// Kills it without warning.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Stops it in its tracks, or lets it go on: it neither answers nor closes anything.
    pub fn freeze(&self, frozen: bool) {
        let signal = if frozen { "-STOP" } else { "-CONT" };
        let parent = self.child.as_ref().expect("it runs").id();
        let children = std::fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).expect("Linux");
        let all = children.split_whitespace().map(str::to_owned).chain([parent.to_string()]);
        assert!(Command::new("kill").arg(signal).args(all).status().expect("kill runs").success());
    }

    fn psql(&self, database: &str, sql: &str) -> Output {
        let mut psql = self.program("psql");
        psql.args(["-X", "-At", "-q", "-U", "postgres", "-v", "ON_ERROR_STOP=1", "-p", &self.port.to_string(), "-h"]);
        psql.arg(self.folder.path()).args(["-d", database, "-c", sql]).output().expect("psql runs")
    }

    /// What the database's owner gets for a statement.
    pub fn sql(&self, database: &str, sql: &str) -> String {
        let output = self.psql(database, sql);
        assert!(output.status.success(), "{sql}: {}", said(&output));
        String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
    }

    /// Everything in the database, as a thief would take it.
    pub fn dump(&self) -> Vec<u8> {
        let mut dump = self.program("pg_dump");
        dump.args(["-U", "postgres", "-p", &self.port.to_string(), "-h"]).arg(self.folder.path()).arg("portunus");
        let output = dump.output().expect("pg_dump runs");
        assert!(output.status.success(), "{}", said(&output));
        output.stdout
    }

    /// A file of its folder: `ca.pem`, `client.pem`, `client.key`.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// An authority, the server's certificate for `localhost`, a client's for user `certified`.
    fn certificates(&self) {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.distinguished_name.push(DnType::CommonName, "laboratory authority");
        params.key_usages.push(KeyUsagePurpose::KeyCertSign);
        let key = KeyPair::generate().expect("a key");
        let authority = params.self_signed(&key).expect("an authority");
        std::fs::write(self.file("ca.pem"), authority.pem()).expect("written");
        let issuer = Issuer::new(params, key);
        let uses = [("server", "localhost", ExtendedKeyUsagePurpose::ServerAuth)];
        for (file, name, usage) in
            uses.into_iter().chain([("client", "certified", ExtendedKeyUsagePurpose::ClientAuth)])
        {
            let mut params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
            params.distinguished_name.push(DnType::CommonName, name);
            params.extended_key_usages.push(usage);
            let key = KeyPair::generate().expect("a key");
            let certificate = params.signed_by(&key, &issuer).expect("signed");
            std::fs::write(self.file(&format!("{file}.pem")), certificate.pem()).expect("written");
            let secret = self.file(&format!("{file}.key"));
            std::fs::write(&secret, key.serialize_pem()).expect("written");
            std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o600)).expect("private");
        }
        self.own(&self.file("server.key"));
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}
