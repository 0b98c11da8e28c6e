//! A terminal whose key its user remembers: entered at the AuC and at the terminal, and at both refused when weak.

use super::lab::{Lab, Report, bounded, needs};
use super::{done, portunus, private, run, text};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

const GOOD: &str = "gravel otter monsoon thimble quartz";
const CAROL: &str = "carol@example.test";

fn register(lab: &Lab, file: &Path) -> Report {
    let mut command = portunus();
    command.args(["register", "--server", &lab.sip.to_string(), "--id", CAROL, "--proxy-id", lab.proxy_id()]);
    run(command.args(["--limit", "10", "--passphrase-file"]).arg(file))
}

#[test]
fn a_terminal_registers_by_its_users_passphrase_and_by_no_other() {
    let lab = Lab::plan().start();
    let config = lab.config_file();
    let file = |name: &str, passphrase: &str| {
        let path = config.with_file_name(name);
        private(&path, &format!("{passphrase}\n"));
        path
    };
    let add = |file: &Path| {
        let mut command = portunus();
        run(command.args(["key", "add", "--id", CAROL, "--passphrase-file", text(file), "--config"]).arg(&config))
    };
    let (good, weak, other) =
        (file("good", GOOD), file("weak", "carol example 2026"), file("other", "gravel otter monsoon thimble marble"));
    for refused in [add(&weak), register(&lab, &weak)] {
        assert_eq!(refused.code, Some(3), "{}", refused.text);
        assert!(refused.text.contains("the passphrase is weak: about 10^"), "{}", refused.text);
        assert!(refused.text.contains("words drawn at random") && !refused.text.contains("2026"), "{}", refused.text);
    }
    let added = add(&good);
    assert!(added.ok && added.text.contains("added terminal"), "{}", added.text);
    std::thread::sleep(Duration::from_millis(1500));
    let active = register(&lab, &good);
    assert!(active.ok && active.text.contains("active after"), "{}", active.text);
    let denied = register(&lab, &other);
    assert_eq!(denied.code, Some(5), "{}", denied.text);
    for octets in [std::fs::read(config.with_file_name("auc.redb")), std::fs::read(config.with_file_name("audit.log"))]
    {
        let octets = octets.expect("a file");
        assert!(!octets.windows(GOOD.len()).any(|window| window == GOOD.as_bytes()), "only the key is kept, sealed");
    }
    // The agent takes it too, and says in which line a weak one is named.
    let agent = config.with_file_name("agent.toml");
    let plan = |passphrase: &str| {
        let text = format!(
            "[agent]\nserver = \"{}\"\nproxy = \"{}\"\nrealm = \"example.test\"\nlisten = [\"{}\"]\n\
             [[agent.phone]]\nid = \"{CAROL}\"\npassphrase_file = \"{passphrase}\"\n",
            lab.sip,
            lab.proxy_id(),
            super::lab::free_port()
        );
        std::fs::write(&agent, text).expect("written");
    };
    plan("weak");
    let told = run(portunus().args(["check", "--config"]).arg(&agent));
    assert!(told.text.contains("agent.toml:8:") && told.text.contains("passphrase is weak"), "{}", told.text);
    plan("good");
    let once = run(portunus().args(["agent", "--once", "--config"]).arg(&agent));
    assert!(once.ok && once.text.contains("1 of 1 phones active"), "{}", once.text);
}

/// Types these lines at a terminal that a command asks at.
fn typed(command: &str, lines: &[&str]) -> Report {
    let mut script = Command::new("sh");
    let typed: String = lines.iter().map(|line| format!("sleep 1; printf '%s\\n' '{line}'; ")).collect();
    let line = format!("({typed} sleep 1) | script -qec \"$0\" /dev/null");
    bounded(script.args(["-c", &line, command]).stdin(Stdio::null()), Duration::from_secs(60))
}

#[test]
fn at_a_prompt_it_is_asked_for_twice_and_never_shown() {
    needs(&["script"]);
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    let add = format!(
        "{} key add --id {CAROL} --passphrase --store {} --master-key {}",
        env!("CARGO_BIN_EXE_portunus"),
        text(&path("auc.redb")),
        text(&path("master"))
    );
    let differ = typed(&add, &[GOOD, "gravel otter monsoon thimble marble"]);
    assert!(differ.code == Some(2) && differ.text.contains("the two passphrases differ"), "{}", differ.text);
    let added = typed(&add, &[GOOD, GOOD]);
    assert!(added.ok && added.text.contains("The same again: ") && added.text.contains("added"), "{}", added.text);
    for said in [&differ.text, &added.text] {
        assert!(!said.contains("gravel"), "{said}");
    }
    let listed =
        done(portunus().args(["key", "list", "--store"]).arg(path("auc.redb")).arg("--master-key").arg(path("master")));
    assert!(listed.contains(CAROL));
}
