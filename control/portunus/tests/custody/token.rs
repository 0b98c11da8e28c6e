//! SoftHSM 2 is the token, pkcs11-tool the other program that uses it.

use super::lab::{Lab, Running, needs};
use super::{done, portunus, private, run, text};
use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

const PIN: &str = "canary-pin-90715";
const SO_PIN: &str = "43218765";

/// The module, where Debian's packages of it lie.
fn module() -> &'static str {
    let places = ["/usr/lib/softhsm/libsofthsm2.so", "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so"];
    let found = places.into_iter().find(|path| std::path::Path::new(path).exists());
    found.expect("SoftHSM 2 is missing: `sh control/tidy/test.sh tools` installs it")
}

/// A folder with tokens of its own, and a store beside them.
struct Safe {
    folder: tempfile::TempDir,
}

impl Safe {
    fn new(tokens: &[&str]) -> Self {
        needs(&["softhsm2-util", "pkcs11-tool"]);
        let safe = Self { folder: tempfile::tempdir().expect("a folder") };
        std::fs::create_dir(safe.path("tokens")).expect("a folder");
        let config = format!("directories.tokendir = {}\nobjectstore.backend = file\n", safe.path("tokens").display());
        std::fs::write(safe.path("softhsm2.conf"), config).expect("written");
        private(&safe.path("pin"), &format!("{PIN}\n"));
        for label in tokens {
            let mut init = safe.with(Command::new("softhsm2-util"));
            done(init.args(["--init-token", "--free", "--label", label, "--so-pin", SO_PIN, "--pin", PIN]));
        }
        safe
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn with(&self, mut command: Command) -> Command {
        command.env("SOFTHSM2_CONF", self.path("softhsm2.conf"));
        command
    }

    fn uri(&self, token: &str, key: &str) -> String {
        format!(
            "pkcs11:token={token};object={key}?module-path={}&pin-source=file:{}",
            module(),
            text(&self.path("pin"))
        )
    }

    /// Runs `portunus ARGS` on the store under a master key.
    fn on_store(&self, master: &str, args: &[&str]) -> Command {
        let mut command = self.with(portunus());
        command.args(args).arg("--store").arg(self.path("auc.redb")).args(["--master-key", master, "--json"]);
        command
    }

    fn refused(&self, master: &str, args: &[&str], wanted: &str) {
        let report = run(&mut self.on_store(master, args));
        assert_eq!(report.code, Some(3), "{}", report.text);
        assert!(report.text.contains(wanted), "{wanted}: {}", report.text);
        assert!(!report.text.contains(PIN), "{}", report.text);
    }

    fn keygen(&self, token: &str, label: &str, more: &[&str]) {
        let mut command = self.with(Command::new("pkcs11-tool"));
        command.args(["--module", module(), "--token-label", token, "--login", "--pin", PIN, "--keygen"]);
        done(command.args(["--key-type", "AES:32", "--label", label]).args(more));
    }
}

#[test]
fn a_key_in_a_token_opens_the_store_and_every_mistake_is_told_for_what_it_is() {
    let safe = Safe::new(&["portunus"]);
    let (uri, add) = (safe.uri("portunus", "auc"), safe.path("alice.key"));
    let add = ["key", "add", "--id", "alice@example.test", "--out", text(&add)];
    safe.refused(&uri, &add, "`portunus store master create` makes one");
    let create = || {
        let mut command = safe.with(portunus());
        command.args(["store", "master", "create", "--at", &uri]);
        command
    };
    assert!(done(&mut create()).contains("it stays in the token"));
    let again = run(&mut create());
    assert!(!again.ok && again.text.contains("already, which is left alone"), "{}", again.text);
    assert!(done(&mut safe.on_store(&uri, &add)).contains("added"));
    assert!(done(&mut safe.on_store(&uri, &["store", "verify"])).contains("\"subscribers\":1"));
    assert!(done(&mut safe.on_store(&uri, &["store", "reseal"])).contains("\"records\":1"));
    assert!(done(&mut safe.on_store(&uri, &["store", "verify"])).contains("\"damaged\":0"));

    let list = ["key", "list"];
    safe.refused(&uri.replace("libsofthsm2", "nothing"), &list, "no module there");
    let no_module = uri.replace(module(), text(&safe.path("pin")));
    safe.refused(&no_module, &list, "not a PKCS#11 module");
    safe.refused(&safe.uri("other", "auc"), &list, "no such token; the module has: portunus (serial ");
    let lax = safe.path("lax");
    std::fs::write(&lax, PIN).expect("written");
    safe.refused(&uri.replace(text(&safe.path("pin")), text(&lax)), &list, "lets others in");
    let wrong = safe.path("wrong");
    private(&wrong, "11111111");
    safe.refused(&uri.replace(text(&safe.path("pin")), text(&wrong)), &list, "the PIN is wrong; ");
    // Those that could leave, or that nobody would miss the PIN for.
    safe.keygen("portunus", "loose", &["--extractable", "--sensitive", "--private"]);
    safe.refused(&safe.uri("portunus", "loose"), &list, "key loose can be taken out of the token");
    safe.keygen("portunus", "public", &["--sensitive"]);
    safe.refused(&safe.uri("portunus", "public"), &list, "key public works without the PIN");
    safe.keygen("portunus", "twice", &["--sensitive", "--private"]);
    safe.keygen("portunus", "twice", &["--sensitive", "--private"]);
    safe.refused(&safe.uri("portunus", "twice"), &list, "2 keys are meant by key twice");
    safe.keygen("portunus", "another", &["--sensitive", "--private"]);
    safe.refused(&safe.uri("portunus", "another"), &list, "sealed under another master key");
    // With its PIN given wrongly once, the right one still works.
    done(&mut safe.on_store(&uri, &list));
}

#[test]
fn from_a_file_to_a_token_to_another_and_back_nothing_is_lost_and_the_backups_follow() {
    let safe = Safe::new(&["first", "second"]);
    let (file, uris) = (safe.path("master"), [safe.uri("first", "auc"), safe.uri("second", "auc")]);
    for uri in &uris {
        done(safe.with(portunus()).args(["store", "master", "create", "--at", uri]));
    }
    let key = safe.path("alice.key");
    let add = ["key", "add", "--id", "alice@example.test", "--out", text(&key)];
    done(&mut safe.on_store(text(&file), &add));
    let back = safe.path("master-again");
    let (mut names, mut now) = (Vec::new(), text(&file));
    for next in [&uris[0], &uris[1], text(&back)] {
        let admitted = done(&mut safe.on_store(now, &["store", "master", "admit", "--next", next]));
        for master in [now, next] {
            assert!(done(&mut safe.on_store(master, &["store", "verify"])).contains("\"damaged\":0"), "{admitted}");
        }
        assert!(done(&mut safe.on_store(next, &["store", "master", "retire"])).contains("\"retired\":1"));
        safe.refused(now, &["store", "verify"], "sealed under another master key");
        now = next;
        let backup = safe.path(&format!("backup-{}", names.len()));
        done(&mut safe.on_store(now, &["store", "backup", "--to", text(&backup)]));
        let listed = done(&mut safe.on_store(now, &["store", "master", "list"]));
        names.push((now.to_owned(), backup, listed));
    }
    assert!(names[0].2 != names[1].2 && names[1].2 != names[2].2, "three keys, three names");
    std::fs::remove_file(safe.path("auc.redb")).expect("removed");
    for (n, (master, backup, _)) in names.iter().enumerate() {
        let other = &names[(n + 1) % names.len()].0;
        safe.refused(other, &["store", "restore", "--from", text(backup)], "does not open with this master key");
        done(&mut safe.on_store(master, &["store", "restore", "--from", text(backup)]));
        assert!(done(&mut safe.on_store(master, &["store", "verify"])).contains("\"subscribers\":1"));
        std::fs::remove_file(safe.path("auc.redb")).expect("removed");
    }
}

#[test]
fn an_auc_behind_its_fence_goes_on_with_the_token_and_tells_nobody_the_pin() {
    let safe = Safe::new(&["portunus"]);
    let uri = safe.uri("portunus", "auc");
    done(safe.with(portunus()).args(["store", "master", "create", "--at", &uri]));
    let lab = Lab::plan().prepared();
    let config = lab.config_file();
    let all = std::fs::read_to_string(&config).expect("a configuration");
    let (auc, rest) = all.split_once("[softswitch]").expect("both");
    let devices = "devices = [\"sp1.example.test\", \"ss1.example.test\"]";
    let master = format!("pkcs11 = \"{uri}\"\npkcs11_folders = [\"{}\"]", text(&safe.path("tokens")));
    let auc = auc.replace("file = \"master.key\"\ncreate = true", &master);
    let auc = auc.replace("[auc.master_key]", &format!("{devices}\n[auc.master_key]"));
    let auc_config = config.with_file_name("auc.toml");
    std::fs::write(&auc_config, auc).expect("written");
    std::fs::write(&config, format!("lab = true\n[softswitch]{rest}")).expect("written");
    assert!(done(safe.with(portunus()).args(["check", "--config"]).arg(&auc_config)).contains("auc"));

    let log = config.with_file_name("auc.log");
    let mut command = safe.with(portunus());
    command.args(["run", "--config"]).arg(&auc_config).stdin(Stdio::null()).stdout(Stdio::piped()).process_group(0);
    let mut child = command.stderr(std::fs::File::create(&log).expect("a log")).spawn().expect("it starts");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).expect("a line");
    let _auc = Running::of(child);
    let said = || std::fs::read_to_string(&log).unwrap_or_default();
    assert!(line.contains("ready"), "{line}{}", said());
    assert!(said().contains("file system fenced") && said().contains("system calls refused"), "{}", said());

    let lab = lab.start_prepared();
    let registered = |id: &str| {
        let report = lab.register(id, "udp");
        assert!(report.ok, "{id}: {}\n{}", report.text, said());
    };
    registered("alice@example.test");
    // Other working keys: the AuC has its token unwrap them, behind its fence.
    let store = |args: &[&str]| done(safe.with(portunus()).arg("store").args(args).arg("--config").arg(&auc_config));
    store(&["reseal"]);
    registered("bob@example.test");
    for file in std::fs::read_dir(config.parent().expect("a folder")).expect("read").flatten() {
        let octets = std::fs::read(file.path()).unwrap_or_default();
        let holds = octets.windows(PIN.len()).any(|window| window == PIN.as_bytes());
        assert!(!holds, "the PIN stands in {}", file.path().display());
    }
}
