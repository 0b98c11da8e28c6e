//! Who may import whom, read from `cargo metadata`.

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

/// Each crate of the data plane with the crates of ours that it may import. Arrows run downward only.
const DATAPLANE: &[(&str, &[&str])] = &[
    ("codec", &[]),
    ("keydist", &["codec"]),
    ("signalling", &["codec", "keydist"]),
    ("sip", &["codec", "keydist", "signalling"]),
    ("mgcp", &["codec", "keydist", "signalling"]),
    ("h248", &["codec", "keydist", "signalling"]),
    ("h323", &["codec", "keydist", "signalling"]),
    // For tests alone: nobody is allowed it below, and what only tests use is not looked at.
    ("testkit", &["codec", "keydist", "signalling"]),
    ("channel", &["codec", "keydist"]),
    ("engine", &["channel", "codec", "keydist", "signalling"]),
    ("io", &[]),
    ("node", &["channel", "codec", "engine", "h248", "io", "keydist", "signalling", "sip"]),
];

/// The crates of the control side likewise; all of them may also import what `DATA` names.
const CONTROL: &[(&str, &[&str])] = &[
    ("aaa", &[]),
    ("auc", &["aaa"]),
    ("api", &["auc"]),
    ("softswitch", &["aaa"]),
    ("terminal", &[]),
    ("agent", &["terminal"]),
    ("config", &["passphrase"]),
    ("passphrase", &[]),
    ("sim", &["aaa", "auc", "softswitch", "terminal"]),
    ("portunus", &["aaa", "agent", "api", "auc", "config", "passphrase", "softswitch", "terminal"]),
    ("tidy", &[]),
];

/// What the state machines of the control side may use of the data plane: nothing with a socket.
const DATA: &[&str] = &["codec", "keydist", "signalling", "sip", "mgcp", "h248", "h323", "channel"];
/// And who may use more of it, why.
const MORE: &[(&str, &[&str], &str)] = &[
    ("sim", &["engine", "io"], "runs the engine on its in-memory network"),
    ("aaa", &["io"], "its server's thin runner moves whole batches"),
    ("softswitch", &["io"], "its thin loop reads whole batches"),
    ("terminal", &["io"], "fleets send and receive whole batches"),
    ("agent", &["io"], "its thin loop serves phones on streams"),
    ("portunus", &["engine", "io", "node"], "assembles the roles"),
    ("benches", &["engine", "io", "node", "aaa", "auc", "softswitch", "terminal", "config"], "measures everything"),
];

/// The graph as it is built on this host: other platforms' crates need not be here.
fn metadata() -> Value {
    let rustc = Command::new("rustc").arg("-vV").output().expect("rustc runs");
    let version = String::from_utf8_lossy(&rustc.stdout).into_owned();
    let host = version.lines().find_map(|l| l.strip_prefix("host: ")).expect("rustc says its host");
    let out = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked", "--offline", "--filter-platform", host])
        .current_dir(portunus_tidy::root())
        .output()
        .expect("cargo runs");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    serde_json::from_slice(&out.stdout).expect("cargo writes JSON")
}

struct Crate {
    folder: String,
    uses: BTreeSet<String>,
    uses_in_tests: BTreeSet<String>,
}

fn text<'v>(v: &'v Value, key: &str) -> &'v str {
    v[key].as_str().unwrap_or_default()
}

fn crates(meta: &Value) -> BTreeMap<String, Crate> {
    let short = |name: &str| name.strip_prefix("portunus-").unwrap_or(name).to_owned();
    let root = text(meta, "workspace_root").to_owned();
    let packages = meta["packages"].as_array().expect("packages");
    let ours: Vec<&Value> = packages.iter().filter(|p| p["source"].is_null()).collect();
    let names: BTreeSet<&str> = ours.iter().map(|p| text(p, "name")).collect();
    let mut out = BTreeMap::new();
    for p in &ours {
        let folder = text(p, "manifest_path").trim_start_matches(&root).trim_start_matches('/').to_owned();
        let (mut uses, mut uses_in_tests) = (BTreeSet::new(), BTreeSet::new());
        for d in p["dependencies"].as_array().into_iter().flatten() {
            if names.contains(text(d, "name")) {
                let into = if d["kind"] == "dev" { &mut uses_in_tests } else { &mut uses };
                into.insert(short(text(d, "name")));
            }
        }
        out.insert(short(text(p, "name")), Crate { folder, uses, uses_in_tests });
    }
    out
}

fn may(name: &str) -> BTreeSet<&'static str> {
    let of = |table: &'static [(&str, &[&'static str])]| table.iter().find(|(n, _)| *n == name).map(|(_, may)| *may);
    if let Some(may) = of(DATAPLANE) {
        return may.iter().copied().collect();
    }
    let more = MORE.iter().find(|(n, ..)| *n == name).map_or(&[][..], |(_, may, _)| may);
    of(CONTROL).unwrap_or_default().iter().chain(DATA).chain(more).copied().collect()
}

#[test]
fn every_arrow_is_drawn_and_no_other() {
    for (name, c) in crates(&metadata()) {
        let may = may(&name);
        for used in &c.uses {
            assert!(
                may.contains(used.as_str()),
                "{name} imports {used}, which is no arrow of control/tidy/tests/arrows.rs"
            );
        }
        let known = DATAPLANE.iter().chain(CONTROL).any(|(n, _)| *n == name) || name == "benches";
        assert!(known, "{name} has no line in control/tidy/tests/arrows.rs");
    }
}

#[test]
fn nothing_in_dataplane_imports_control() {
    let crates = crates(&metadata());
    let control: Vec<&String> =
        crates.iter().filter(|(_, c)| !c.folder.starts_with("dataplane/")).map(|(name, _)| name).collect();
    assert!(control.len() >= CONTROL.len());
    for (name, c) in crates.iter().filter(|(_, c)| c.folder.starts_with("dataplane/")) {
        for used in c.uses.iter().chain(&c.uses_in_tests) {
            assert!(!control.contains(&used), "{name} (dataplane) imports {used} (control)");
        }
    }
}

#[test]
fn no_asynchronous_runtime_below_control() {
    let meta = metadata();
    let nodes = meta["resolve"]["nodes"].as_array().expect("a resolved graph");
    let packages = meta["packages"].as_array().expect("packages");
    let name_of = |id: &str| packages.iter().find(|p| p["id"] == id).map_or("", |p| text(p, "name"));
    let crates = crates(&meta);
    for (name, _) in crates.iter().filter(|(_, c)| c.folder.starts_with("dataplane/")) {
        let full = format!("portunus-{name}");
        let mut open: Vec<&str> = packages.iter().filter(|p| text(p, "name") == full).map(|p| text(p, "id")).collect();
        assert!(!open.is_empty(), "{full}");
        let mut seen = BTreeSet::new();
        while let Some(id) = open.pop() {
            if !seen.insert(id) {
                continue;
            }
            let runtime = matches!(name_of(id), "tokio" | "async-std" | "smol" | "futures-executor");
            assert!(!runtime, "{full} reaches {}", name_of(id));
            let Some(node) = nodes.iter().find(|n| n["id"] == id) else { continue };
            for d in node["deps"].as_array().into_iter().flatten() {
                let kinds = d["dep_kinds"].as_array().map_or(&[][..], Vec::as_slice);
                if kinds.iter().any(|k| k["kind"].is_null()) {
                    open.push(text(d, "pkg"));
                }
            }
        }
    }
}

#[test]
fn every_crate_has_the_licence_and_a_purpose() {
    let meta = metadata();
    for p in meta["packages"].as_array().expect("packages").iter().filter(|p| p["source"].is_null()) {
        let name = text(p, "name");
        assert_eq!(text(p, "license"), "MIT OR Apache-2.0", "{name}");
        assert!(!text(p, "description").is_empty(), "{name} has no description");
        let manifest = std::fs::read_to_string(text(p, "manifest_path")).expect("a manifest");
        assert!(manifest.contains("[lints]\nworkspace = true"), "{name} does not inherit the lints");
    }
}
