//! Provisioning as an operator does it: an AuC process that is confined as ever, its HTTPS interface with tokens, and
//! activation codes from their issue to a terminal that registers.

mod lab;

use lab::{Lab, bounded, free_port};
use portunus_keydist::Key;
use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

const BINARY: &str = env!("CARGO_BIN_EXE_portunus");

/// An AuC in a process of its own, with its interface and its place for codes.
struct Centre {
    folder: tempfile::TempDir,
    api: SocketAddr,
    codes: SocketAddr,
    process: Option<Child>,
}

impl Drop for Centre {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Centre {
    fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut centre = Self { folder, api: free_port(), codes: free_port(), process: None };
        let key = KeyPair::generate().expect("a key");
        let own = CertificateParams::new(vec!["auc.example.test".to_owned()]).expect("a name").self_signed(&key);
        // Elsewhere than the rest, so that the fence has to let it through.
        std::fs::create_dir(centre.path("tls")).expect("a folder");
        std::fs::write(centre.path("tls/auc.pem"), own.expect("a certificate").pem()).expect("written");
        std::fs::write(centre.path("tls/auc.key"), key.serialize_pem()).expect("written");
        std::fs::set_permissions(centre.path("tls/auc.key"), std::fs::Permissions::from_mode(0o600)).expect("private");
        let text = format!(
            "[auc]\nrealms = [\"example.test\"]\nstore = \"state/auc.redb\"\naudit_log = \"state/audit.log\"\n\
             [auc.master_key]\nfile = \"state/master\"\ncreate = true\n[[auc.listen]]\ntransport = \"diameter-tcp\"\n\
             identity = \"auc.example.test\"\naddress = \"{}\"\nclients = [\"127.0.0.1\"]\n[auc.api]\naddress = \"{}\"\n\
             certificate = \"tls/auc.pem\"\nkey = \"tls/auc.key\"\n[auc.redeem]\naddress = \"{}\"\n",
            free_port(),
            centre.api,
            centre.codes
        );
        std::fs::write(centre.path("auc.toml"), text).expect("written");
        centre.run();
        centre
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn run(&mut self) {
        let log = std::fs::File::create(self.path("auc.log")).expect("a log");
        let mut child = Command::new(BINARY)
            .args(["run", "--config"])
            .arg(self.path("auc.toml"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .expect("it starts");
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let ready = lines.next().and_then(Result::ok).unwrap_or_default();
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
        self.process = Some(child);
        let told = [format!("api https {}", self.api), format!("codes udp {}", self.codes)];
        assert!(told.iter().all(|t| ready.contains(t)), "{ready}\n{}", self.log());
    }

    fn kill(&mut self) {
        if let Some(mut child) = self.process.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.path("auc.log")).unwrap_or_default()
    }

    /// `portunus ... --config`, as JSON.
    fn portunus(&self, args: &[&str]) -> Value {
        portunus(&self.path("auc.toml"), args)
    }

    /// A request over TLS: the status, the head in lower case, the body.
    fn ask(&self, token: &str, method: &str, path: &str, headers: &str, body: &str) -> (u16, String, Value) {
        let mut roots = RootCertStore::empty();
        let own = CertificateDer::from_pem_file(self.path("tls/auc.pem")).expect("a certificate");
        roots.add(own).expect("it is one");
        let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from("auc.example.test").expect("a name");
        let tls = ClientConnection::new(Arc::new(config), name).expect("a client");
        let tcp = TcpStream::connect(self.api).expect("it listens");
        tcp.set_read_timeout(Some(Duration::from_secs(10))).expect("set");
        let mut stream = StreamOwned::new(tls, tcp);
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: auc.example.test\r\nAuthorization: Bearer {token}\r\n{headers}\
             Connection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).expect("sent");
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        let text = String::from_utf8_lossy(&answer).into_owned();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{text}\n{}", self.log()));
        let status = head.split(' ').nth(1).and_then(|s| s.parse().ok()).expect("a status");
        (status, head.to_ascii_lowercase(), serde_json::from_str(body).unwrap_or(Value::Null))
    }

    fn json(&self, token: &str, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let (status, _, body) = self.ask(token, method, path, "Content-Type: application/json\r\n", &body.to_string());
        (status, body)
    }
}

fn portunus(config: &Path, args: &[&str]) -> Value {
    let mut command = Command::new(BINARY);
    let report = bounded(command.args(args).arg("--config").arg(config).arg("--json"), Duration::from_secs(20));
    assert!(report.ok, "{args:?}: {}", report.text);
    let line = report.text.lines().find(|l| l.starts_with('{')).expect("JSON");
    serde_json::from_str(line).expect("JSON")
}

/// `portunus redeem`: whether it succeeded, and what it said.
fn redeem(server: SocketAddr, code: &Path, out: &Path) -> lab::Report {
    redeem_within(40, server, code, out)
}

fn redeem_within(limit: u64, server: SocketAddr, code: &Path, out: &Path) -> lab::Report {
    let mut command = Command::new(BINARY);
    command.arg("redeem").args(["--limit", &limit.to_string()]);
    command.args(["--server", &server.to_string(), "--code"]).arg(code).arg("--out").arg(out);
    bounded(&mut command, Duration::from_secs(60))
}

#[test]
fn a_confined_auc_is_provisioned_over_https_with_a_token_and_keeps_what_it_acknowledged() {
    let mut centre = Centre::start();
    let pid = centre.process.as_ref().expect("it runs").id();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("its status");
    assert!(status.contains("Seccomp:\t2") && status.contains("NoNewPrivs:\t1"), "{status}");
    assert!(centre.log().contains("system calls refused"), "{}", centre.log());
    let added = centre.portunus(&["token", "add", "--name", "ops", "--scope", "subscribers:read,subscribers:write"]);
    let token = added["token"].as_str().expect("a token").to_owned();
    assert_eq!(centre.json("ptk_none", "GET", "/v1/subscribers", &json!({})).0, 401);
    assert_eq!(centre.json(&token, "GET", "/v1/devices", &json!({})).0, 403);
    let (status, made) = centre.json(&token, "PUT", "/v1/subscribers/alice%40example.test", &json!({}));
    let key = made["key"].as_str().expect("a key, once").to_owned();
    assert_eq!((status, key.len()), (201, 64));
    let rows: String = (0..1_500).map(|n| format!("t{n}@example.test,{key}\n")).collect();
    let (status, _, done) = centre.ask(&token, "POST", "/v1/imports", "Content-Type: text/csv\r\n", &rows);
    assert_eq!((status, &done["added"]), (200, &json!(1_500)));
    // Killed the moment it answered: everything is there, and nobody is told the key again.
    centre.kill();
    centre.run();
    let (status, head, shown) = centre.ask(&token, "GET", "/v1/subscribers/alice%40example.test", "", "");
    assert!(status == 200 && head.contains("etag: \"") && shown["key"].is_null(), "{head}{shown}");
    let listed = centre.portunus(&["key", "list"]);
    assert_eq!(listed["identities"].as_array().map(Vec::len), Some(1_501));
    let tokens = centre.portunus(&["token", "list"])["tokens"].clone();
    assert!(tokens[0]["name"] == "ops" && !tokens.to_string().contains(&token[25..]));
    centre.portunus(&["token", "revoke", "--id", added["id"].as_str().expect("a name")]);
    assert_eq!(centre.json(&token, "GET", "/v1/subscribers", &json!({})).0, 401);
    let audited = std::fs::read_to_string(centre.path("state/audit.log")).expect("a log");
    for event in ["token.add", "token.revoke", "api.request"] {
        assert!(audited.contains(event), "{event}");
    }
    for secret in [&key, &token[21..]] {
        assert!(!audited.contains(secret) && !centre.log().contains(secret), "a secret was logged");
    }
}

#[test]
fn a_code_becomes_a_key_with_which_a_terminal_registers_and_serves_nobody_else() {
    let codes = free_port();
    let lab = Lab::plan().with_codes(codes).start();
    let config = lab.config_file();
    let beside = |name: &str| config.with_file_name(name);
    let text = |path: &Path| path.to_str().expect("UTF-8").to_owned();
    let file = beside("codes.csv");
    let args = ["code", "issue", "--prefix", "new", "--realm", "example.test", "--count", "2", "--out", &text(&file)];
    assert_eq!(portunus(&config, &args)["codes"], json!(2));
    assert_eq!(std::fs::metadata(&file).expect("a file").permissions().mode() & 0o777, 0o600);
    let rows = std::fs::read_to_string(&file).expect("rows");
    let rows: Vec<&str> = rows.lines().collect();
    let (id, code) = rows[1].split_once(',').expect("a row");
    assert_eq!((rows[0], id, rows.len()), ("id,code", "new000001@example.test", 3));
    std::fs::write(beside("paper"), code.to_lowercase().replace('-', " ")).expect("written");
    let key = beside("new.key");
    let report = redeem(codes, &beside("paper"), &key);
    assert!(report.ok && report.text.contains(id), "{}", report.text);
    assert_eq!(std::fs::metadata(&key).expect("a file").permissions().mode() & 0o777, 0o600);
    assert!(!beside("new.key.unconfirmed").exists());
    let registered = lab.register_keyed(("sip", id), "udp", &key, Duration::from_secs(10));
    assert!(registered.ok, "{}", registered.text);
    // The code is used up: a second redemption hears nothing, and leaves nothing behind.
    let mistyped = beside("mistyped");
    std::fs::write(&mistyped, format!("{code}A")).expect("written");
    let report = redeem(codes, &mistyped, &beside("x.key"));
    assert!(report.code == Some(3) && report.text.contains("26"), "{}", report.text);
    let again = std::thread::spawn({
        let (paper, out) = (beside("paper"), beside("second.key"));
        move || redeem_within(4, codes, &paper, &out)
    });
    // Meanwhile the other code, through a line that loses what it likes: every message once, in both directions.
    std::fs::write(beside("other"), rows[2].rsplit(',').next().expect("a code")).expect("written");
    let lossy = lossy_line(codes);
    let report = redeem(lossy, &beside("other"), &beside("other.key"));
    assert!(report.ok, "{}", report.text);
    let registered =
        lab.register_keyed(("sip", "new000002@example.test"), "udp", &beside("other.key"), Duration::from_secs(10));
    assert!(registered.ok, "{}", registered.text);
    let again = again.join().expect("it ends");
    assert!(again.code == Some(4) && again.text.contains("did not answer"), "{}", again.text);
    assert!(!beside("second.key").exists() && !beside("second.key.unconfirmed").exists());
    let listed = portunus(&config, &["code", "list"]);
    let states: Vec<_> = listed["codes"].as_array().expect("codes").iter().map(|c| c["state"].clone()).collect();
    assert_eq!(states, ["redeemed", "redeemed"]);
}

/// Where a redemption loses the first copy of every message.
fn lossy_line(to: SocketAddr) -> SocketAddr {
    let (front, back) =
        (UdpSocket::bind("127.0.0.1:0").expect("a port"), UdpSocket::bind("127.0.0.1:0").expect("a port"));
    let at = front.local_addr().expect("an address");
    for socket in [&front, &back] {
        socket.set_read_timeout(Some(Duration::from_millis(5))).expect("set");
    }
    std::thread::spawn(move || {
        let (mut seen, mut terminal, mut octets) = (std::collections::BTreeSet::new(), None, [0u8; 512]);
        // Ends with the test's process.
        loop {
            if let Ok((n, from)) = front.recv_from(&mut octets) {
                terminal = Some(from);
                if !seen.insert(octets[..n].to_vec()) {
                    let _ = back.send_to(&octets[..n], to);
                }
            }
            if let (Ok((n, _)), Some(terminal)) = (back.recv_from(&mut octets), terminal)
                && !seen.insert(octets[..n].to_vec())
            {
                let _ = front.send_to(&octets[..n], terminal);
            }
        }
    });
    at
}

#[test]
fn a_terminal_that_was_cut_off_before_its_confirm_goes_on_with_the_key_that_it_kept() {
    let centre = Centre::start();
    let (ids, file) = (centre.path("ids"), centre.path("codes.csv"));
    std::fs::write(&ids, "# two gateways\ngw1.example.test\n\ngw2.example.test\n").expect("written");
    let text = |path: &Path| path.to_str().expect("UTF-8").to_owned();
    centre.portunus(&["code", "issue", "--ids", &text(&ids), "--out", &text(&file)]);
    let rows = std::fs::read_to_string(&file).expect("rows");
    let code = rows.lines().nth(1).and_then(|row| row.rsplit(',').next()).expect("a code");
    std::fs::write(centre.path("paper"), code).expect("written");
    // By hand as far as a terminal gets that loses its power between the two writes of its life: the AuC has confirmed,
    // the terminal never heard of it.
    let key = portunus_keydist::activation::Code::parse(code).expect("a code").key();
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
    socket.connect(centre.codes).expect("connected");
    socket.set_read_timeout(Some(Duration::from_secs(10))).expect("set");
    let mut octets = [0u8; 512];
    let now = |ms| portunus_keydist::Now { mono_ms: ms, wall_ms: 0 };
    let mut redeem_machine = portunus_terminal::activation::Redeem::new(now(0), key, [5; 16]);
    socket.send(&redeem_machine.poll_transmit(now(0)).expect("an ask")).expect("sent");
    let n = socket.recv(&mut octets).expect("an answer");
    let Some(portunus_terminal::activation::Event::Key(pending)) = redeem_machine.on_datagram(&octets[..n]) else {
        panic!("no key")
    };
    let out = centre.path("gw1.key");
    std::fs::write(centre.path("gw1.key.unconfirmed"), pending.to_text().as_bytes()).expect("kept");
    redeem_machine.kept(now(1));
    socket.send(&redeem_machine.poll_transmit(now(1)).expect("a confirm")).expect("sent");
    socket.recv(&mut octets).expect("a done, which the terminal does not live to see");
    let report = redeem(centre.codes, &centre.path("paper"), &out);
    assert!(report.ok, "{}", report.text);
    let kept = portunus_config::read_key_file(&out, "gw1.example.test", false).expect("a key file");
    assert_eq!(&*kept, Key::expose(&pending.kc));
    assert!(!centre.path("gw1.key.unconfirmed").exists());
    let audited = std::fs::read_to_string(centre.path("state/audit.log")).expect("a log");
    assert_eq!((audited.matches("code.answer").count(), audited.matches("code.redeem").count()), (1, 1));
    assert!(!audited.contains(&code[..11]) && !centre.log().contains(&code[..11]), "no code is logged");
}
