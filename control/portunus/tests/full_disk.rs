//! No room: provisioning fails and says why, terminals go on registering, nothing is half-written, and what was to be
//! recorded is recorded when there is room again.
//!
//! RLIMIT_FSIZE makes every write beyond a place in a file fail (EFBIG), anywhere and without a file system of its own; the
//! process goes through the same as on a full disk (ENOSPC).

mod lab;

use lab::{Lab, bounded, needs};
use serde_json::Value;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

const ALICE: &str = "alice@example.test";
const BOB: &str = "bob@example.test";
const BINARY: &str = env!("CARGO_BIN_EXE_portunus");

/// Says how long files of the laboratory's process may be from now on.
fn limit(lab: &Lab, octets: &str) {
    let mut command = Command::new("prlimit");
    let report =
        bounded(command.args(["--pid", &lab.pid().to_string(), &format!("--fsize={octets}:")]), Duration::from_secs(5));
    assert!(report.ok, "prlimit: {}", report.text);
}

/// `portunus --json ARGS --config ...`, with files limited to so many blocks of 512 octets; `None`: they are not.
fn portunus(lab: &Lab, blocks: Option<u64>, args: &[&str]) -> Output {
    let limit = blocks.map_or_else(String::new, |n| format!("ulimit -f {n};"));
    let mut command = Command::new("sh");
    command.args(["-c", &format!("{limit} exec \"$@\""), "sh", BINARY, "--json"]).args(args);
    command.arg("--config").arg(lab.config_file()).output().expect("it runs")
}

fn said(output: &Output) -> String {
    format!(
        "{:?} {}{}",
        output.status.code(),
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// What `portunus store verify` finds.
fn verified(lab: &Lab) -> Value {
    let output = portunus(lab, None, &["store", "verify"]);
    assert!(output.status.success(), "{}", said(&output));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

#[test]
fn without_room_terminals_register_and_what_was_told_meanwhile_is_recorded_afterwards() {
    needs(&["prlimit"]);
    let lab = Lab::plan().start();
    let registers = |id: &str| {
        let report = lab.register(id, "udp");
        assert!(report.ok, "{id}: {}\n{}", report.text, lab.log());
    };
    registers(ALICE);
    let began = lab.until_recorded(ALICE, "no Start", |r| r["ended_ms"].is_null());
    let subscribers = verified(&lab)["subscribers"].clone();
    // The store's first page can be written, and nothing behind it.
    limit(&lab, "4096");
    registers(ALICE);
    // Nobody asked about this one before: the store is read, after writes have failed.
    std::thread::sleep(Duration::from_millis(1_500));
    registers(BOB);
    registers(ALICE);
    assert!(lab.log().contains("were not recorded"), "{}", lab.log());
    assert_eq!(lab.record_of(BOB), None, "what was not recorded is not there");
    assert_eq!(lab.record_of(ALICE), Some(began), "the record before is whole");
    assert_eq!(verified(&lab)["subscribers"], subscribers);
    limit(&lab, "unlimited");
    // The softswitch says again what was not acknowledged.
    lab.until_recorded(BOB, "no Start after there was room again", |r| r["ended_ms"].is_null());
    registers(BOB);
}

#[test]
fn without_room_provisioning_fails_and_says_why_and_leaves_nothing_half_written() {
    let lab = Lab::plan().start();
    let key = lab.config_file().with_file_name("carol.key");
    let add = ["key", "add", "--id", "carol@example.test", "--out", text(&key)];
    let before = verified(&lab);
    let failed = portunus(&lab, Some(8), &add);
    assert_eq!(failed.status.code(), Some(1), "{}", said(&failed));
    for word in ["auc.redb", "File too large", "has room"] {
        assert!(said(&failed).contains(word), "no {word}: {}", said(&failed));
    }
    assert!(!key.exists(), "a key that is not stored is nobody's");
    // Less than the key itself fits.
    let failed = portunus(&lab, Some(0), &add);
    assert!(!failed.status.success() && !key.exists(), "{}", said(&failed));
    // A file of many keys, more than what the store may grow to.
    let csv = lab.config_file().with_file_name("many.csv");
    let rows: String = (0..20_000).map(|n| format!("many{n:05}@example.test,{}\n", "5a".repeat(32))).collect();
    std::fs::write(&csv, rows).expect("written");
    let store = lab.config_file().with_file_name("auc.redb");
    let blocks = std::fs::metadata(&store).expect("a store").len() / 512 + 2_048;
    let failed = portunus(&lab, Some(blocks), &["key", "import", "--csv", text(&csv)]);
    assert!(!failed.status.success() && said(&failed).contains("has room"), "{}", said(&failed));
    let found = verified(&lab);
    assert_eq!(found["damaged"], 0);
    let (was, is) = (before["subscribers"].as_u64(), found["subscribers"].as_u64());
    let added = is.zip(was).map(|(is, was)| is - was).expect("numbers");
    assert!(added < 20_000 && added % 1_000 == 0, "{added} of whole batches of a thousand");
    // With room the same commands work, and what is there already is left as it is.
    assert!(portunus(&lab, None, &add).status.success() && key.exists());
    let imported = portunus(&lab, None, &["key", "import", "--csv", text(&csv)]);
    let imported: Value = serde_json::from_slice(&imported.stdout).expect("JSON");
    assert_eq!(imported["added"].as_u64(), Some(20_000 - added));
    std::thread::sleep(Duration::from_millis(1_500));
    let report = lab.register_keyed(("sip", "carol@example.test"), "udp", &key, Duration::from_secs(10));
    assert!(report.ok, "{}", report.text);
}
