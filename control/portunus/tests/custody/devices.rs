//! A proxy's or softswitch's key is replaced in either order of steps, and no registration notices.

use super::lab::Lab;
use super::{done, portunus, private, run, text};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How long the AuC goes on with the key until now.
const OVERLAP: Duration = Duration::from_secs(6);
/// Changes of other processes are seen within a second.
const SEEN: Duration = Duration::from_millis(1500);

struct Rotation {
    lab: Lab,
    section: &'static str,
    role: &'static str,
}

impl Rotation {
    fn beside(&self, name: &str) -> PathBuf {
        self.lab.config_file().with_file_name(name)
    }

    /// Gives the running device these keys.
    fn hold(&self, own: &str, other: Option<&str>) {
        let config = std::fs::read_to_string(self.lab.config_file()).expect("a configuration");
        let begin = config.find(&format!("[{}.key]", self.section)).expect("a key");
        let end = config.find(&format!("[{}.capacity]", self.section)).expect("what follows it");
        let mut keys = format!("[{}.key]\nfile = \"{own}\"\n", self.section);
        if let Some(other) = other {
            keys += &format!("[{}.key.other]\nfile = \"{other}\"\n", self.section);
        }
        let changed = format!("{}{keys}{}", &config[..begin], &config[end..]);
        std::fs::write(self.lab.config_file(), changed).expect("written");
        let said = self.lab.reload();
        assert!(said.contains("applied") && !said.contains("restart"), "{said}");
    }

    fn rotate(&self, args: &[&str]) -> String {
        let mut command = portunus();
        command.args(["key", "rotate", "--kind", "device", "--id", self.lab.proxy_id(), "--config"]);
        done(command.arg(self.lab.config_file()).args(args))
    }

    fn counted(&self, name: &str) -> u64 {
        self.lab.counter(self.role, name)
    }

    /// Both orders, one after the other.
    fn steps(&self) {
        const OLD: &str = "subscribers.csv";
        // The AuC first: it goes on with the key until now, and changes over when the overlap ends.
        let new = self.beside("second.key");
        let said = self.rotate(&["--overlap", "6s", "--out", text(&new)]);
        assert!(said.contains("key.other"), "{said}");
        std::thread::sleep(SEEN);
        self.hold("second.key", Some(OLD));
        std::thread::sleep(OVERLAP - SEEN);
        let by_other = self.counted("unwrap_other_key");
        assert!(by_other > 0, "the device held both while the AuC went on with the first");
        std::thread::sleep(SEEN);
        self.hold("second.key", None);
        std::thread::sleep(Duration::from_millis(500));
        // The device first: it holds the key to come, and the AuC changes over at once.
        private(&self.beside("third.key"), &"5c".repeat(32));
        self.hold("second.key", Some("third.key"));
        self.rotate(&["--key-file", text(&self.beside("third.key"))]);
        std::thread::sleep(SEEN);
        assert!(self.counted("unwrap_other_key") > by_other);
        self.hold("third.key", None);
        std::thread::sleep(Duration::from_millis(500));
    }
}

fn rotated(lab: Lab, section: &'static str, role: &'static str) {
    let subscribers = lab.config_file().with_file_name("subscribers.csv");
    let rotation = Rotation { lab, section, role };
    let ended = AtomicBool::new(false);
    let (server, proxy) = (rotation.lab.sip.to_string(), rotation.lab.proxy_id());
    let terminal = || {
        let mut command = portunus();
        command.args(["register", "--server", &server, "--proxy-id", proxy, "--id", "alice@example.test"]);
        command.args(["--limit", "10", "--key-file", text(&subscribers)]);
        run(&mut command)
    };
    let made = std::thread::scope(|scope| {
        let terminals = scope.spawn(|| {
            let mut made = 0;
            while !ended.load(Ordering::Relaxed) {
                let report = terminal();
                assert!(report.ok, "after {made}: {}", report.text);
                made += 1;
            }
            made
        });
        let steps = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| rotation.steps()));
        ended.store(true, Ordering::Relaxed);
        let made: u32 = terminals.join().expect("every registration went well");
        steps.unwrap_or_else(|failed| std::panic::resume_unwind(failed));
        made
    });
    assert!(made > 10, "{made} registrations");
    assert_eq!(rotation.counted("unwrap_failed"), 0);
}

#[test]
fn a_proxys_key_is_replaced_in_either_order_while_terminals_register() {
    rotated(Lab::plan().start(), "proxy", "proxy");
}

#[test]
fn a_softswitchs_key_likewise_where_it_serves_terminals_itself() {
    rotated(Lab::plan().direct().start(), "softswitch.direct", "softswitch");
}
