//! A store, and a whole AuC, that is killed while it works comes back with everything that was acknowledged.
//!
//! The tests run themselves as child processes: one that records registrations and says so after each commit, and an AuC
//! on sockets that answers s11 while keys are put into its store. They are killed without warning, and what is there
//! is looked at.

use portunus_aaa::net::Listen;
use portunus_aaa::radius::{Builder, Code, Packet, carriage, check_answer};
use portunus_aaa::secret::SharedSecret;
use portunus_aaa::server::{ClientEntry, EndConfig};
use portunus_aaa::transport::RADIUS_UDP;
use portunus_aaa::{AaaRequest, Account};
use portunus_auc::custody::MasterKey;
use portunus_auc::store::{Credential, Depth, Entry, IfThere, Kind, Space, Store};
use portunus_auc::{AucConfig, RunConfig};
use portunus_keydist::steps::Registration;
use portunus_keydist::{Key, Random as _, SystemRandom};
use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const CHILD: &str = "PORTUNUS_TEST_KILLED_STORE";
const AUC: &str = "PORTUNUS_TEST_KILLED_AUC";
const SP: &str = "sp1.example.test";
/// How often the AuC is killed.
const KILLS: u64 = 25;
/// s11 under way at a time.
const WINDOW: usize = 48;

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
                softswitch: None,
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

fn secret() -> SharedSecret {
    SharedSecret::new(*b"sixteen octets!!")
}

fn entry(id: String, kind: Kind) -> Entry {
    Entry { id, kind, credential: Credential::Key(Key::new([7; 32])) }
}

/// An AuC that answers until it is killed, and a thread beside it that puts keys into its store, one transaction each,
/// and says so.
fn auc(path: &Path) -> ! {
    let store = Arc::new(open(path));
    let mut rng = SystemRandom::new();
    store.put(0, &[entry(SP.into(), Kind::Device)], IfThere::Keep, &mut rng).unwrap();
    let any = "127.0.0.1:0".parse().unwrap();
    let clients = vec![ClientEntry::host("ss1", "127.0.0.1".parse().unwrap(), secret())];
    let end = EndConfig { clients, ..EndConfig::default() };
    let config = RunConfig {
        auc: AucConfig { realms: vec!["example.test".into()], digest_sha256: false, digest_md5: false },
        listen: vec![Listen { transport: &RADIUS_UDP, auth: any, acct: any, tls: None, end }],
        open_keys: 100,
    };
    let running = portunus_auc::start(config, store.clone(), None).unwrap();
    println!("at {}", running.addresses()[1]);
    // Names that no earlier child gave.
    let own = rng.next_u64();
    for n in 0u64.. {
        let id = format!("key{own:x}-{n}");
        store.put(n, &[entry(id.clone(), Kind::Terminal)], IfThere::Refuse, &mut rng).unwrap();
        println!("{id}");
    }
    unreachable!("the keys do not end")
}

/// Sends s11 until the AuC says nothing any more; those that it acknowledged, by identity.
fn tells(to: SocketAddr, round: u64, dead: &AtomicBool) -> BTreeMap<String, [u8; 16]> {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(to).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    let mut under_way: BTreeMap<u8, ([u8; 16], Account)> = BTreeMap::new();
    let mut acknowledged = BTreeMap::new();
    let (mut room, mut n) = ([0u8; 4096], 0u64);
    loop {
        while under_way.len() < WINDOW {
            let id = (n % 256) as u8;
            n += 1;
            if under_way.contains_key(&id) {
                continue;
            }
            let mut rand = [0u8; 16];
            SystemRandom::new().fill(&mut rand);
            let account = Account {
                idc: format!("user{round}-{n}"),
                idsp: SP.into(),
                rand,
                ip: "192.0.2.1".parse().unwrap(),
                event: Registration::Start,
                softswitch: None,
            };
            let mut b = Builder::new(Vec::new(), Code::AccountingRequest, id);
            carriage::write_request(&mut b, &AaaRequest::Account(account.clone()), "ss1.example.test", None);
            let packet = b.finish_request(&[0; 16], &secret()).unwrap();
            let authenticator = Packet::parse(&packet).unwrap().authenticator();
            if socket.send(&packet).is_err() {
                return acknowledged;
            }
            under_way.insert(id, (authenticator, account));
        }
        let Ok(len) = socket.recv(&mut room) else {
            // What it said before its death has been read.
            if dead.load(Ordering::Acquire) {
                return acknowledged;
            }
            continue;
        };
        let answer = Packet::parse(&room[..len]).unwrap();
        let Some((authenticator, account)) = under_way.remove(&answer.id()) else { continue };
        check_answer(&answer, (Code::AccountingRequest, &authenticator), &secret()).unwrap();
        acknowledged.insert(account.idc, account.rand);
    }
}

fn kill(mut process: Child) {
    process.kill().unwrap();
    process.wait().unwrap();
}

#[test]
fn an_auc_killed_at_any_moment_loses_no_acknowledged_key_and_no_acknowledged_s11() {
    if let Some(path) = std::env::var_os(AUC) {
        auc(Path::new(&path));
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("auc.redb");
    let (mut keys, mut records) = (Vec::new(), BTreeMap::new());
    for round in 0..KILLS {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "an_auc_killed_at_any_moment_loses_no_acknowledged_key_and_no_acknowledged_s11"])
            .args(["--nocapture"])
            .env(AUC, &path)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines().map_while(Result::ok);
        // The test's own name comes before it, without the end of a line.
        let at = lines.find_map(|l| l.split("at ").last().and_then(|a| a.parse::<SocketAddr>().ok())).unwrap();
        let told = Arc::new(Mutex::new(Vec::new()));
        let keeps = told.clone();
        let listener = std::thread::spawn(move || {
            lines.for_each(|line| keeps.lock().unwrap().extend(line.starts_with("key").then_some(line)));
        });
        let dead = Arc::new(AtomicBool::new(false));
        let hears = dead.clone();
        let speaker = std::thread::spawn(move || tells(at, round, &hears));
        // Another moment each time, in steps finer than a commit.
        let until = Instant::now() + Duration::from_micros(15_000 + round * 7_313);
        std::thread::sleep(until.saturating_duration_since(Instant::now()));
        kill(process);
        dead.store(true, Ordering::Release);
        listener.join().unwrap();
        records.extend(speaker.join().unwrap());
        // A line that was cut says nothing for certain: only whole ones are there, for `println!` writes them at once.
        keys.append(&mut told.lock().unwrap());
        let store = open(&path);
        for id in &keys {
            assert!(store.credential(Space::Subscriber, id).unwrap().is_some(), "round {round}: {id} is lost");
        }
        for (id, rand) in &records {
            let kept = store.registration(id).unwrap();
            assert_eq!(kept.map(|r| r.rand), Some(*rand), "round {round}: the record of {id} is lost");
        }
        assert_eq!(store.verify(Depth::Records, &mut |_| ()).unwrap().damaged_count, 0);
    }
    println!("{KILLS} kills, {} keys, {} records", keys.len(), records.len());
    assert!(keys.len() > 2 * KILLS as usize && records.len() > 10 * KILLS as usize, "too little was under way");
}
