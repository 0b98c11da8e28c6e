//! `portunus store` as an operator uses it: saved, damaged, brought back, its master key replaced under a running AuC.

mod lab;

use lab::{Lab, bounded};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a folder") }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs `portunus ...` on this place's store.
    fn run(&self, master: &str, args: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_portunus"))
            .args(args)
            .arg("--store")
            .arg(self.path("auc.redb"))
            .arg("--master-key")
            .arg(self.path(master))
            .arg("--json")
            .stdin(Stdio::null())
            .output()
            .expect("it runs")
    }

    fn json(&self, master: &str, args: &[&str]) -> Value {
        let output = self.run(master, args);
        assert!(output.status.success(), "{args:?}: {}", both(&output));
        serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {}", both(&output)))
    }

    fn refused(&self, master: &str, args: &[&str], code: i32, text: &str) {
        let output = self.run(master, args);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {}", both(&output));
        assert!(both(&output).contains(text), "{args:?}: {}", both(&output));
    }
}

fn both(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

#[test]
fn a_lost_store_comes_back_from_a_backup_and_from_nothing_less() {
    let place = Place::new();
    let (backup, key) = (place.path("monday"), place.path("alice.key"));
    for (id, kind) in [("alice@example.test", "terminal"), ("sp1.example.test", "device")] {
        let out = place.path(&format!("{kind}.key"));
        place.json("master", &["key", "add", "--id", id, "--kind", kind, "--out", text(&out)]);
    }
    let saved = place.json("master", &["store", "backup", "--to", text(&backup)]);
    let found = place.json("master", &["store", "verify"]);
    assert_eq!((&found["subscribers"], &found["devices"], &found["damaged"]), (&1.into(), &1.into(), &0.into()));
    place.json("master", &["key", "remove", "--id", "alice@example.test"]);
    place.refused("master", &["store", "restore", "--from", text(&backup)], 3, "--replace");
    place.refused("master", &["store", "restore", "--from", text(&key), "--replace"], 1, "No such file");
    let restored = place.json("master", &["store", "restore", "--from", text(&backup), "--replace"]);
    assert_eq!(restored["rows"], saved["rows"]);
    assert!(place.path("auc.redb.before-restore").exists());
    let listed = place.json("master", &["key", "list"]);
    assert_eq!(listed["identities"].as_array().map(Vec::len), Some(2));
    // With another master key it is of no use, and a damaged one restores nothing.
    std::fs::remove_file(place.path("auc.redb")).expect("removed");
    let other = Place::new();
    other.json("other", &["key", "add", "--id", "x@example.test", "--out", text(&other.path("x.key"))]);
    std::fs::copy(other.path("other"), place.path("other")).expect("copied");
    place.refused("other", &["store", "restore", "--from", text(&backup)], 3, "does not open with this master key");
    let mut octets = std::fs::read(&backup).expect("a backup");
    octets.pop();
    std::fs::write(place.path("cut"), octets).expect("written");
    place.refused("master", &["store", "restore", "--from", text(&place.path("cut"))], 1, "nothing was restored");
    place.refused("master", &["store", "verify"], 3, "there is no store");
    place.json("master", &["store", "restore", "--from", text(&backup)]);
    assert_eq!(place.json("master", &["store", "verify"])["subscribers"], 1);
}

#[test]
fn the_master_key_is_replaced_while_terminals_register() {
    let lab = Lab::plan().start();
    let config = lab.config_file();
    let store = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_portunus"));
        command.arg("store").args(args).arg("--config").arg(&config).arg("--json").stdin(Stdio::null());
        let report = bounded(&mut command, Duration::from_secs(20));
        assert!(report.ok, "{args:?}: {}", report.text);
        report.text
    };
    let register = |id: &str| {
        let report = lab.register(id, "udp");
        assert!(report.ok, "{id}: {}", report.text);
    };
    let next = config.with_file_name("next-master");
    register("alice@example.test");
    assert!(store(&["master", "admit", "--next", text(&next)]).contains("admitted"));
    register("bob@example.test");
    assert!(store(&["master", "retire"]).contains("\"retired\":1"));
    assert!(store(&["reseal"]).contains("resealed"));
    // The AuC runs on, and finds the keys under which its records lie now.
    register("alice@example.test");
    assert!(store(&["verify"]).contains("\"damaged\":0"));
    let saved = config.with_file_name("backup");
    assert!(store(&["backup", "--to", text(&saved)]).contains("saved"));
}

#[test]
fn while_a_terminals_key_is_replaced_it_registers_with_either_and_then_with_the_new_one_only() {
    let lab = Lab::plan().start();
    let config = lab.config_file();
    let new = config.with_file_name("alice.new");
    let rotate = |overlap: &str, out: &Path| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_portunus"));
        command.args([
            "key",
            "rotate",
            "--id",
            "alice@example.test",
            "--overlap",
            overlap,
            "--out",
            text(out),
            "--config",
        ]);
        let report = bounded(command.arg(&config).stdin(Stdio::null()), Duration::from_secs(20));
        assert!(report.ok, "{}", report.text);
    };
    let by = |key: &Path| lab.register_keyed(("sip", "alice@example.test"), "udp", key, Duration::from_secs(10));
    let old = config.with_file_name("subscribers.csv");
    rotate("1h", &new);
    // Changes of other processes are seen within a second.
    std::thread::sleep(Duration::from_millis(1500));
    for (which, key) in [("old", &old), ("new", &new), ("old", &old)] {
        let report = by(key);
        assert!(report.ok, "{which}: {}", report.text);
    }
    let last = config.with_file_name("alice.last");
    rotate("0s", &last);
    std::thread::sleep(Duration::from_millis(1500));
    assert!(by(&last).ok);
    for key in [&old, &new] {
        let report = by(key);
        // The second one is made to wait besides, for the failures of the first.
        assert!(!report.ok && !report.text.contains("active after"), "{}", report.text);
    }
}

#[test]
fn an_auc_does_not_start_on_a_damaged_store_and_says_whose_record_and_how_to_restore() {
    let lab = Lab::plan().prepared();
    let (config, store) = (lab.config_file(), lab.config_file().with_file_name("auc.redb"));
    let portunus = |args: &[&str], limit| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_portunus"));
        bounded(command.arg("--json").args(args).arg("--config").arg(&config), Duration::from_secs(limit))
    };
    let key = config.with_file_name("dora.key");
    let added = portunus(&["key", "add", "--id", "dora@example.test", "--out", text(&key)], 20);
    assert!(added.ok, "{}", added.text);
    let backup = config.with_file_name("backup");
    assert!(portunus(&["store", "backup", "--to", text(&backup)], 20).ok);
    // Where its record begins: version, kind, and when it was added, which only this record says.
    let listed = portunus(&["key", "list"], 20).text;
    let json: Value = listed.lines().find_map(|l| serde_json::from_str(l).ok()).expect("JSON");
    let at = json["identities"][0]["added_ms"].as_u64().expect("a time").to_be_bytes();
    let head = [[1, 1].as_slice(), &at].concat();
    let mut octets = std::fs::read(&store).expect("a store");
    let places: Vec<_> = (0..octets.len() - 10).filter(|n| octets[*n..].starts_with(&head)).collect();
    assert!(!places.is_empty(), "no record in the file");
    places.iter().for_each(|at| octets[*at] = 9);
    std::fs::write(&store, &octets).expect("written");
    let refused = portunus(&["run"], 20);
    assert!(!refused.ok && refused.code == Some(1), "{}", refused.text);
    for word in ["subscriber dora@example.test", "portunus store restore"] {
        assert!(refused.text.contains(word), "no {word}: {}", refused.text);
    }
    // And on one that is no store at all any more.
    octets[..4096].fill(0x5a);
    std::fs::write(&store, octets).expect("written");
    let refused = portunus(&["run"], 20);
    assert!(!refused.ok && refused.text.contains("store restore --replace"), "{}", refused.text);
    // As it says: then the AuC has everybody again.
    let restored = portunus(&["store", "restore", "--from", text(&backup), "--replace"], 20);
    assert!(restored.ok, "{}", restored.text);
    assert!(portunus(&["store", "verify"], 20).text.contains("\"damaged\":0"));
}
