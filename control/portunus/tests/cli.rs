//! The binary as scripts use it: exit codes, JSON, and no key in anything that it writes.

mod lab;

use lab::{Lab, bounded};
use serde_json::Value;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

const TUNING: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tuning");

fn portunus(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_portunus")).args(args).stdin(Stdio::null()).output().expect("it runs")
}

fn code(output: &Output) -> i32 {
    output.status.code().expect("no signal ended it")
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn both(output: &Output) -> String {
    format!("{}{}", out(output), String::from_utf8_lossy(&output.stderr))
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {}", both(output)))
}

#[test]
fn everything_in_tuning_is_good() {
    use std::os::unix::fs::PermissionsExt as _;
    let mut seen = 0;
    let place = tempfile::tempdir().expect("a folder");
    for entry in std::fs::read_dir(TUNING).expect("tuning").flatten() {
        if entry.path().is_file() {
            std::fs::copy(entry.path(), place.path().join(entry.file_name())).expect("copied");
        }
    }
    // What an operator brings along, which is nobody's to ship.
    for name in ["database.password", "database-ca.pem", "auc1.pem", "auc1.key", "ca.pem"] {
        let path = place.path().join(name);
        std::fs::write(&path, "an operator's own\n").expect("written");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("private");
    }
    for entry in std::fs::read_dir(place.path()).expect("tuning").flatten() {
        let path = entry.path();
        if path.extension().is_some_and(|e| e == "toml") {
            let checked = portunus(&["check", "--json", "--config", path.to_str().expect("UTF-8")]);
            assert_eq!(code(&checked), 0, "{}", both(&checked));
            assert_eq!(json(&checked)["good"], true);
            seen += 1;
        }
    }
    assert!(seen >= 4);
}

#[test]
fn mistakes_have_places_and_code_3() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("bad.toml");
    std::fs::write(&path, "[proxy]\nidentitty = \"sp1\"\nworkers = 0\n").expect("written");
    let path = path.to_str().expect("UTF-8");
    let checked = portunus(&["check", "--config", path]);
    assert_eq!(code(&checked), 3);
    assert!(out(&checked).contains("bad.toml:2:1: proxy.identitty: unknown key; did you mean `identity`?"));
    let found = json(&portunus(&["check", "--json", "--config", path]));
    let rows = found["mistakes"].as_array().expect("a list");
    assert!(rows.iter().any(|m| m["line"] == 3 && m["column"] == 11 && m["key"] == "proxy.workers"), "{rows:?}");
    // A wrong configuration starts nothing.
    assert_eq!(code(&portunus(&["run", "--config", path])), 3);
}

#[test]
fn usage_help_completions_and_manual() {
    assert_eq!(code(&portunus(&["frobnicate"])), 2);
    assert_eq!(code(&portunus(&["check"])), 2);
    let help = portunus(&["--help"]);
    assert_eq!(code(&help), 0);
    assert!(out(&help).contains("Exit codes:") && out(&help).contains("register"));
    for shell in ["bash", "zsh", "fish"] {
        assert!(out(&portunus(&["completions", shell])).contains("register"), "{shell}");
    }
    let folder = tempfile::tempdir().expect("a folder");
    assert_eq!(code(&portunus(&["man", folder.path().to_str().expect("UTF-8")])), 0);
    assert!(
        folder.path().join("portunus.1").exists()
            && folder.path().join("portunus-agent.1").exists()
            && folder.path().join("portunus-key-add.1").exists()
    );
}

struct Store {
    folder: tempfile::TempDir,
}

impl Store {
    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn key(&self, args: &[&str]) -> Output {
        let (store, master) = (self.path("auc.redb"), self.path("master"));
        let fixed = ["--store", store.to_str().expect("UTF-8"), "--master-key", master.to_str().expect("UTF-8")];
        let (sub, rest) = args.split_first().expect("a sub-command");
        portunus(&[&["key", sub], &fixed[..], rest].concat())
    }
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).expect("it is there").permissions().mode() & 0o777
}

#[test]
fn keys_go_in_and_never_come_out() {
    let s = Store { folder: tempfile::tempdir().expect("a folder") };
    let file = s.path("alice.key");
    let named = file.to_str().expect("UTF-8");
    let added = s.key(&["add", "--id", "alice@example.test", "--out", named]);
    assert_eq!(code(&added), 0, "{}", both(&added));
    assert_eq!((mode(&file), mode(&s.path("master")), mode(&s.path("auc.redb"))), (0o600, 0o600, 0o600));
    let key = std::fs::read_to_string(&file).expect("the key").trim().to_owned();
    assert_eq!(key.len(), 64);
    // A second one of the same name is refused, and its file does not stay behind.
    let again = s.path("again.key");
    let refused = s.key(&["add", "--id", "alice@example.test", "--out", again.to_str().expect("UTF-8")]);
    assert_eq!((code(&refused), again.exists()), (1, false), "{}", both(&refused));
    // An existing file is never overwritten.
    assert_eq!(code(&s.key(&["rotate", "--id", "alice@example.test", "--out", named])), 3);
    let given = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
    assert_eq!(code(&s.key(&["rotate", "--id", "alice@example.test", "--hex", given])), 0);
    assert_eq!(code(&s.key(&["add", "--kind", "device", "--id", "sp1.example.test", "--hex", given])), 0);
    assert_eq!(code(&s.key(&["add", "--id", "bob@example.test", "--hex", "1234"])), 3);
    let csv = format!("{TUNING}/lab-subscribers.csv");
    let imported = s.key(&["import", "--csv", &csv, "--json"]);
    assert_eq!((&json(&imported)["added"], &json(&imported)["kept"]), (&Value::from(6), &Value::from(1)));
    let listed = s.key(&["list", "--json"]);
    let all = both(&added) + &both(&refused) + &both(&imported) + &both(&listed) + &both(&s.key(&["list"]));
    let stored = std::fs::read(s.path("auc.redb")).expect("the store");
    for secret in [key.as_str(), given, lab::ALICE_KEY] {
        assert!(!all.contains(secret), "a key was printed: {all}");
        let octets: Vec<u8> =
            (0..32).map(|n| u8::from_str_radix(&secret[n * 2..n * 2 + 2], 16).expect("hex")).collect();
        assert!(!stored.windows(32).any(|w| w == octets), "a key lies open in the store");
    }
    assert_eq!(json(&listed)["identities"].as_array().map(Vec::len), Some(8));
    assert_eq!(code(&s.key(&["remove", "--id", "carol"])), 0);
    assert_eq!(code(&s.key(&["remove", "--id", "carol"])), 1);
    // Another master key opens nothing.
    std::fs::write(s.path("master"), "11".repeat(32)).expect("written");
    assert_eq!(code(&s.key(&["list"])), 3);
}

#[test]
fn a_demonstration_tells_everything() {
    for (topology, transport, mechanism, token) in [
        ("proxied", "udp", "sealed", "x-pkd-sealed"),
        ("proxied", "udp", "ipsec-man", "ipsec-man"),
        ("direct", "tcp", "ipsec-man", "ipsec-man"),
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_portunus"));
        command.args(["demo", "--terminals", "26", "--topology", topology, "--transport", transport, "--json"]);
        command.args(["--mechanism", mechanism]);
        let done = bounded(&mut command, Duration::from_secs(60));
        assert!(done.ok, "{}", done.text);
        let line = done.text.lines().find(|l| l.starts_with('{')).expect("JSON");
        let v: Value = serde_json::from_str(line).expect("JSON");
        assert_eq!((&v["terminals"], &v["verified"], &v["active"]), (&26.into(), &26.into(), &26.into()), "{v}");
        let messages = [
            ("sip", 7, "REGISTER", "200"),
            ("mgcp", 7, "RSIP", "RQNT x-pkd/key"),
            ("h248", 6, "ServiceChange", "Modify portunus/key"),
            ("h323", 6, "GRQ", "RCF"),
        ];
        for (spoken, (name, count, s1, s10)) in v["protocols"].as_array().expect("protocols").iter().zip(messages) {
            assert_eq!((&spoken["protocol"], &spoken["active"]), (&name.into(), &count.into()), "{v}");
            let rungs = spoken["ladder"].as_array().expect("a ladder");
            for n in 1..=11 {
                let found = rungs.iter().find(|r| r["step"] == format!("s{n}"));
                let found = found.unwrap_or_else(|| panic!("no s{n} in {name}: {rungs:?}"));
                assert!(found["at_us"].is_u64() && found["carries"] != "" && found["message"] != "", "{found}");
            }
            let message = |step: &str| rungs.iter().find(|r| r["step"] == step).map(|r| r["message"].clone());
            assert_eq!((message("s1"), message("s10")), (Some(s1.into()), Some(s10.into())));
            assert_eq!(spoken["negotiated"]["mechanism"], token);
            assert_eq!(spoken["answered_inside"], 1, "something said inside and answered by the core: {v}");
            assert_eq!(spoken["active_us"]["count"], count);
        }
        assert!(v["octets_sent"].as_u64() > Some(26 * 500));
    }
}

#[test]
fn a_registration_says_whose_fault_it_is() {
    let lab = Lab::plan().start();
    let server = lab.sip.to_string();
    let subscribers = format!("{TUNING}/lab-subscribers.csv");
    let register = |id: &str, proxy: &str, server: &str| {
        let fixed = ["register", "--json", "--limit", "4", "--key-file", &subscribers];
        portunus(&[&fixed[..], &["--id", id, "--proxy-id", proxy, "--server", server]].concat())
    };
    let good = register("alice@example.test", "sp1.example.test", &server);
    assert_eq!(code(&good), 0, "{}", both(&good));
    let first: Value = serde_json::from_str(out(&good).lines().next().unwrap_or_default()).expect("JSON");
    assert_eq!((&first["active"], &first["key_life_s"]), (&true.into(), &86_400.into()));
    assert_eq!(code(&register("alice@example.test", "sp2.example.test", &server)), 5);
    assert_eq!(code(&register("alice@example.test", "sp1.example.test", &lab::free_port().to_string())), 4);
    assert_eq!(code(&register("alice@example.test", "sp1.example.test", "nowhere")), 2);
    assert_eq!(code(&register("nobody@example.test", "sp1.example.test", &server)), 3);
    let sealed = register("alice@example.test", "sp1.example.test", &server);
    for text in [both(&good), both(&sealed), lab.log()] {
        assert!(!text.contains(lab::ALICE_KEY), "a key was written: {text}");
    }
}

/// The binary running a configuration, its lines on standard output as they come.
struct Running {
    child: Child,
    lines: std::sync::mpsc::Receiver<String>,
}

impl Running {
    fn start(config: &Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_portunus"))
            .args(["run", "--json", "--config"])
            .arg(config)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("it starts");
        let (tell, lines) = std::sync::mpsc::channel();
        let stdout = child.stdout.take().expect("piped");
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let _ = tell.send(line);
            }
        });
        Self { child, lines }
    }

    fn next(&self) -> Value {
        let line = self.lines.recv_timeout(Duration::from_secs(30)).expect("a line");
        serde_json::from_str(&line).expect("JSON")
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([name, &self.child.id().to_string()]).status();
        assert!(sent.is_ok_and(|s| s.success()), "{name}");
    }

    fn end(&mut self) -> Option<i32> {
        let until = Instant::now() + Duration::from_secs(40);
        while Instant::now() < until {
            if let Ok(Some(status)) = self.child.try_wait() {
                return status.code();
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        None
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn reload_takes_over_what_it_can_and_names_the_rest() {
    let lab = Lab::plan().prepared();
    let config = lab.config_file();
    let mut running = Running::start(&config);
    let ready = running.next();
    assert_eq!(ready["event"], "ready");
    assert!(ready["roles"]["proxy"].to_string().contains(&lab.sip.to_string()), "{ready}");
    let text = std::fs::read_to_string(&config).expect("the configuration");
    let changed = text.replace("sessions = 1000", "sessions = 2000");
    let changed = changed.replace("mechanisms = ", "key_life = \"2h\"\nmechanisms = ");
    assert_ne!(changed, text);
    std::fs::write(&config, &changed).expect("written");
    running.signal("-HUP");
    let reloaded = running.next();
    assert_eq!((&reloaded["event"], &reloaded["done"]), (&"reload".into(), &true.into()), "{reloaded}");
    let change = |key: &str| {
        let all = reloaded["changes"].as_array().expect("a list").clone();
        all.into_iter().find(|c| c["key"] == key).unwrap_or_else(|| panic!("{key}: {reloaded}"))
    };
    assert_eq!(change("proxy.policy.key_life")["live"], true);
    assert_eq!(change("proxy.capacity.sessions")["live"], false);
    // What was taken over holds for the next registration.
    let report = lab.register("alice@example.test", "udp");
    assert!(report.ok && report.text.contains("key for 2 h"), "{}", report.text);
    // A wrong file leaves the running one untouched.
    std::fs::write(&config, changed.replace("\"2h\"", "\"2 h\"")).expect("written");
    running.signal("-HUP");
    let refused = running.next();
    assert_eq!(refused["done"], false, "{refused}");
    assert!(lab.register("alice@example.test", "udp").text.contains("key for 2 h"));
    running.signal("-TERM");
    assert_eq!(running.next()["event"], "stopped");
    assert_eq!(running.end(), Some(0));
}
