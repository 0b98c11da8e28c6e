//! A store that is killed while it works comes back with everything that was acknowledged.
//!
//! The test runs itself as a child process that records registrations and says so after each commit, kills it without
//! warning, and looks at what is there.

use portunus_aaa::Account;
use portunus_auc::custody::MasterKey;
use portunus_auc::store::{Credential, Entry, IfThere, Kind, Space, Store};
use portunus_keydist::steps::Registration;
use portunus_keydist::{Key, SystemRandom};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

const CHILD: &str = "PORTUNUS_TEST_KILLED_STORE";

fn open(path: &Path) -> Store {
    Store::open(path, &MasterKey::new([1; 32]), &mut SystemRandom::new()).unwrap()
}

/// Records until it is killed.
fn child(path: &Path) -> ! {
    let store = open(path);
    let mut out = std::io::stdout();
    for round in 0u64.. {
        let ip = "192.0.2.1".parse().unwrap();
        let accounts: Vec<_> = (0..20)
            .map(|n| Account {
                idc: format!("user{round}-{n}"),
                idsp: "sp1.example.test".into(),
                rand: [n; 16],
                ip,
                event: Registration::Start,
            })
            .collect();
        store.record(round, &accounts).unwrap();
        let key = Credential::Key(Key::new([7; 32]));
        let entry = Entry { id: format!("user{round}"), kind: Kind::Terminal, credential: key };
        store.put(round, &[entry], IfThere::Replace, &mut SystemRandom::new()).unwrap();
        writeln!(out, "done {round}").unwrap();
        out.flush().unwrap();
    }
    unreachable!("the rounds do not end")
}

#[test]
fn what_was_acknowledged_is_there_after_a_kill() {
    if let Some(path) = std::env::var_os(CHILD) {
        child(Path::new(&path));
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("auc.redb");
    let mut acknowledged = Vec::new();
    for round in 0..4 {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "what_was_acknowledged_is_there_after_a_kill", "--nocapture"])
            .env(CHILD, &path)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        // Each time at another moment, and once while this process has the store open as well.
        let beside = (round == 2).then(|| open(&path));
        let mut wanted = 3 + 5 * round;
        let mut last = None;
        while wanted > 0 {
            let line = lines.next().expect("the child goes on").unwrap();
            if let Some(n) = line.strip_prefix("done ") {
                last = Some(n.parse::<u64>().unwrap());
                wanted -= 1;
            }
        }
        process.kill().unwrap();
        process.wait().unwrap();
        acknowledged.push(last.unwrap());
        drop(beside);
        let store = open(&path);
        for n in 0..=*acknowledged.iter().max().unwrap() {
            assert!(store.credential(Space::Subscriber, &format!("user{n}")).unwrap().is_some(), "key {n}");
            for m in 0..20 {
                let record = store.registration(&format!("user{n}-{m}")).unwrap();
                assert!(record.is_some_and(|r| r.rand == [m; 16]), "registration {n}-{m}");
            }
        }
        // And it goes on working.
        store.remove(Space::Subscriber, "user0").unwrap();
    }
}
