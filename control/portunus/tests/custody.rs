//! Where keys are kept and how they are replaced, as an operator does it: a master key in a PKCS#11 token, device keys
//! that are replaced while terminals register, and terminals whose key is a passphrase.

mod lab;

#[path = "custody/devices.rs"]
mod devices;
#[path = "custody/passphrases.rs"]
mod passphrases;
#[path = "custody/token.rs"]
mod token;

use lab::{Report, bounded};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

fn private(path: &Path, text: &str) {
    std::fs::write(path, text).expect("written");
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).expect("made private");
}

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

fn portunus() -> Command {
    Command::new(env!("CARGO_BIN_EXE_portunus"))
}

fn run(command: &mut Command) -> Report {
    bounded(command, Duration::from_secs(60))
}

fn done(command: &mut Command) -> String {
    let report = run(command);
    assert!(report.ok, "{command:?}: {}", report.text);
    report.text
}
