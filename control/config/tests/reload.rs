//! What a reload would change is named, and secrets are compared without being shown.

use portunus_config::{Loaded, difference, parse};
use std::path::Path;

const LAB: &str = include_str!("../../../tuning/lab.toml");

fn lab(from: &str, to: &str) -> Loaded {
    assert!(LAB.contains(from), "{from}");
    parse("lab.toml", &LAB.replace(from, to), Path::new("/etc")).expect("a good file")
}

#[test]
fn live_and_restart_are_told_apart() {
    let running = lab("lab = true", "lab = true");
    let new = lab("[proxy.capacity]\nsessions = 10000", "core_timeout = \"2s\"\n\n[proxy.capacity]\nsessions = 20000");
    let d = difference(&running, &new);
    let live: Vec<_> = d.live().map(ToString::to_string).collect();
    let restart: Vec<_> = d.restart().map(ToString::to_string).collect();
    assert_eq!(live, ["proxy.policy.core_timeout: 4s -> 2s: applied"]);
    assert_eq!(restart, ["proxy.capacity.sessions: 10000 -> 20000: needs a restart"]);
}

#[test]
fn a_changed_secret_is_seen_and_not_shown() {
    let running = lab("lab-radius-secret", "lab-radius-secret");
    let new = lab("lab-radius-secret", "another-secret");
    let d = difference(&running, &new);
    assert_eq!(d.changes.len(), 2);
    let shown = format!("{d:?} {new:?}");
    assert!(!shown.contains("another-secret"), "{shown}");
}

#[test]
fn a_section_that_comes_or_goes_needs_a_restart() {
    let tcp = "[[proxy.listener]]\nprotocol = \"sip\"\ntransport = \"tcp\"\naddress = \"127.0.0.1:5060\"\n";
    let d = difference(&lab("lab = true", "lab = true"), &lab(tcp, ""));
    assert!(d.live().next().is_none());
    assert!(d.restart().any(|c| c.key == "proxy.listener[5].address" && c.to.is_none()));
}

#[test]
fn a_devices_other_key_comes_and_goes_without_one() {
    const KEY: &str = "[proxy.key]\nfile = \"lab-subscribers.csv\"\n";
    let one = lab("lab = true", "lab = true");
    let two = lab(KEY, "[proxy.key]\nfile = \"new.key\"\n[proxy.key.other]\nfile = \"lab-subscribers.csv\"\n");
    for (from, to) in [(&one, &two), (&two, &one)] {
        let d = difference(from, to);
        let live: Vec<_> = d.live().map(|c| c.key.as_str()).collect();
        assert_eq!((live, d.restart().count()), (vec!["proxy.key.file", "proxy.key.other.file"], 0));
    }
    assert_eq!(difference(&one, &lab(KEY, "[proxy.key]\ncredential = \"sp1\"\n")).restart().count(), 0);
    let master = lab("lab-state/auc.master", "lab-state/other.master");
    assert_eq!(difference(&one, &master).restart().count(), 1, "the master key is what the store is open with");
}

#[test]
fn defaults_are_the_specifications() {
    let s = lab("lab = true", "lab = true").settings;
    let value = |key: &str| s.get(key).map(|s| (s.value.as_str(), s.written));
    assert_eq!(value("proxy.policy.clock_window"), Some(("30s", false)));
    assert_eq!(value("proxy.policy.challenge_life"), Some(("10s", false)));
    assert_eq!(value("proxy.policy.answer_cache"), Some(("32s", false)));
    assert_eq!(value("proxy.policy.key_life"), Some(("1d", false)));
    assert_eq!(value("softswitch.retries"), Some(("1", false)));
    assert_eq!(value("proxy.capacity.sessions"), Some(("10000", true)));
}
