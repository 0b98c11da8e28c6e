use super::*;
use crate::custody::MasterKey;
use core::net::IpAddr;
use portunus_aaa::Account;
use portunus_keydist::auc::Change;
use portunus_keydist::steps::Registration;
use portunus_keydist::{Key, SystemRandom};
use redb::Builder;
use zeroize::Zeroizing;

pub(super) fn rng() -> SystemRandom {
    SystemRandom::new()
}

pub(super) fn master(n: u8) -> MasterKey {
    MasterKey::new([n; 32])
}

pub(super) fn entry(id: &str, kind: Kind, n: u8) -> Entry {
    let credential = match kind {
        Kind::Digest => Credential::Digest(Zeroizing::new(vec![n; 9])),
        _ => Credential::Key(Key::new([n; 32])),
    };
    Entry { id: id.into(), kind, credential }
}

pub(super) struct Lab {
    _folder: tempfile::TempDir,
    pub(super) path: PathBuf,
}

pub(super) fn lab() -> Lab {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("auc.redb");
    Lab { _folder: folder, path }
}

impl Lab {
    pub(super) fn open(&self) -> Store {
        Store::open(&self.path, &master(1), &mut rng()).unwrap()
    }
}

pub(super) fn octets(store: &Store, space: Space, id: &str) -> Option<Vec<u8>> {
    store.credential(space, id).unwrap().map(|c| c.octets().to_vec())
}

pub(super) fn account(idc: &str, rand: u8, event: Registration) -> Account {
    let ip: IpAddr = "192.0.2.7".parse().unwrap();
    Account { idc: idc.into(), idsp: "sp1.example.test".into(), rand: [rand; 16], ip, event, softswitch: None }
}

#[test]
fn what_is_put_is_there_after_reopening_and_lists_without_keys() {
    let lab = lab();
    let store = lab.open();
    let batch = [
        entry("alice@example.test", Kind::Terminal, 0xa1),
        entry("phone@example.test", Kind::Digest, 0xa2),
        entry("sp1.example.test", Kind::Device, 0xa3),
    ];
    let stored = store.put(5, &batch, IfThere::Refuse, &mut rng()).unwrap();
    assert_eq!(stored, Stored { added: 3, ..Stored::default() });
    drop(store);
    let store = lab.open();
    assert_eq!(octets(&store, Space::Subscriber, "alice@example.test"), Some(vec![0xa1; 32]));
    assert_eq!(octets(&store, Space::Subscriber, "phone@example.test"), Some(vec![0xa2; 9]));
    assert_eq!(octets(&store, Space::Device, "sp1.example.test"), Some(vec![0xa3; 32]));
    // The spaces are apart.
    assert_eq!(octets(&store, Space::Subscriber, "sp1.example.test"), None);
    let mut seen = Vec::new();
    store
        .list(Space::Subscriber, &mut |l| {
            seen.push(l);
            true
        })
        .unwrap();
    assert_eq!(seen.len(), 2);
    assert_eq!((seen[1].id.as_str(), seen[1].kind, seen[1].made_ms), ("phone@example.test", Kind::Digest, 5));
    assert_eq!((store.count(Space::Subscriber).unwrap(), store.count(Space::Device).unwrap()), (2, 1));
    // No key octet lies in the file.
    let file = std::fs::read(&lab.path).unwrap();
    for n in [0xa1u8, 0xa2, 0xa3] {
        assert!(!file.windows(9).any(|w| w == [n; 9]));
    }
    use std::os::unix::fs::PermissionsExt as _;
    assert_eq!(std::fs::metadata(&lab.path).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_batch_is_all_or_nothing_and_each_policy_does_as_it_says() {
    let lab = lab();
    let store = lab.open();
    let alice = |n| entry("alice@example.test", Kind::Terminal, n);
    let bob = entry("bob@example.test", Kind::Terminal, 9);
    store.put(1, &[alice(1)], IfThere::Refuse, &mut rng()).unwrap();
    let before = store.generation().unwrap();
    let refused = store.put(2, &[bob.clone(), alice(2)], IfThere::Refuse, &mut rng()).unwrap_err();
    assert!(matches!(refused, StoreError::Exists { id, .. } if id == "alice@example.test"));
    assert_eq!(octets(&store, Space::Subscriber, "bob@example.test"), None);
    assert_eq!(store.generation().unwrap(), before);
    let kept = store.put(3, &[bob.clone(), alice(3)], IfThere::Keep, &mut rng()).unwrap();
    assert_eq!(kept, Stored { added: 1, replaced: 0, kept: 1 });
    assert_eq!(octets(&store, Space::Subscriber, "alice@example.test"), Some(vec![1; 32]));
    let replaced = store.put(4, &[bob, alice(4)], IfThere::Replace, &mut rng()).unwrap();
    assert_eq!(replaced, Stored { added: 0, replaced: 2, kept: 0 });
    assert_eq!(octets(&store, Space::Subscriber, "alice@example.test"), Some(vec![4; 32]));
    let mut seen = Vec::new();
    store
        .list(Space::Subscriber, &mut |l| {
            seen.push((l.made_ms, l.rotated_ms));
            true
        })
        .unwrap();
    assert_eq!(seen, [(1, 4), (3, 4)]);
    assert!(store.generation().unwrap() > before);
    // Forms and kinds are checked before anything is written.
    for bad in [
        entry("two words", Kind::Terminal, 1),
        entry("alice@example.test", Kind::Device, 1),
        Entry { kind: Kind::Digest, ..entry("x", Kind::Terminal, 1) },
        Entry { credential: Credential::Digest(Zeroizing::new(vec![1; 129])), ..entry("x", Kind::Digest, 1) },
    ] {
        let refused = store.put(5, &[bad], IfThere::Replace, &mut rng());
        assert!(matches!(refused, Err(StoreError::Malformed { .. })));
    }
}

#[test]
fn rotation_and_removal() {
    let lab = lab();
    let store = lab.open();
    store.put(1, &[entry("alice@example.test", Kind::Terminal, 1)], IfThere::Refuse, &mut rng()).unwrap();
    let key = |n: u8| Credential::Key(Key::new([n; 32]));
    store.rotate((2, 0), Space::Subscriber, "alice@example.test", key(2), &mut rng()).unwrap();
    assert_eq!(octets(&store, Space::Subscriber, "alice@example.test"), Some(vec![2; 32]));
    let digest = Credential::Digest(Zeroizing::new(vec![1]));
    let wrong = store.rotate((2, 0), Space::Subscriber, "alice@example.test", digest, &mut rng());
    assert!(matches!(wrong, Err(StoreError::Malformed { .. })));
    let missing = store.rotate((2, 0), Space::Device, "alice@example.test", key(3), &mut rng());
    assert!(matches!(missing, Err(StoreError::Missing { .. })));
    store.record(3, &[account("alice@example.test", 1, Registration::Start)]).unwrap();
    store.remove(Space::Subscriber, "alice@example.test").unwrap();
    assert_eq!(octets(&store, Space::Subscriber, "alice@example.test"), None);
    assert_eq!(store.registration("alice@example.test").unwrap(), None);
    assert!(matches!(store.remove(Space::Subscriber, "alice@example.test"), Err(StoreError::Missing { .. })));
}

#[test]
fn another_master_key_is_told_at_once_and_a_moved_or_damaged_record_by_name() {
    let lab = lab();
    let store = lab.open();
    let ids = ["alice@example.test", "bob@example.test", "carol"];
    let batch: Vec<_> = ids.iter().map(|id| entry(id, Kind::Terminal, id.len() as u8)).collect();
    store.put(1, &batch, IfThere::Refuse, &mut rng()).unwrap();
    drop(store);
    let wrong = Store::open(&lab.path, &master(2), &mut rng()).unwrap_err();
    assert!(matches!(wrong, StoreError::WrongMasterKey { .. }), "{wrong}");
    // Somebody with the file but not the key: bob's record put in alice's place, carol's cut.
    let db = Builder::new().open(&lab.path).unwrap();
    let txn = db.begin_write().unwrap();
    {
        let mut table = txn.open_table(SUBSCRIBERS).unwrap();
        let bob = table.get("bob@example.test").unwrap().unwrap().value().to_vec();
        table.insert("alice@example.test", bob.as_slice()).unwrap();
        let mut carol = table.get("carol").unwrap().unwrap().value().to_vec();
        // The kind is readable, and bound: a terminal's key must not become a digest secret.
        carol[1] = Kind::Digest as u8;
        table.insert("carol", carol.as_slice()).unwrap();
    }
    txn.commit().unwrap();
    drop(db);
    let store = lab.open();
    for id in ["alice@example.test", "carol"] {
        let text = store.credential(Space::Subscriber, id).unwrap_err().to_string();
        assert!(text.contains(id) && text.contains("subscriber"), "{text}");
    }
    assert!(octets(&store, Space::Subscriber, "bob@example.test").is_some());
}

#[test]
fn registrations_start_move_refresh_and_end() {
    let lab = lab();
    let store = lab.open();
    let alice = "alice@example.test";
    let act = |wall, rand, event| store.record(wall, &[account(alice, rand, event)]).unwrap();
    act(10, 1, Registration::Start);
    act(20, 1, Registration::Refresh);
    let r = store.registration(alice).unwrap().unwrap();
    assert_eq!((r.since_ms, r.seen_ms, r.rand, r.idsp.as_str()), (10, 20, [1; 16], "sp1.example.test"));
    assert_eq!(r.ipc.ip().to_string(), "192.0.2.7");
    act(30, 2, Registration::Start);
    // The end of the old registration says nothing of the new one.
    assert_eq!(act(40, 1, Registration::Stop), [Change::Ignore]);
    assert_eq!(store.registration(alice).unwrap().unwrap().since_ms, 30);
    assert_eq!(act(50, 2, Registration::Stop), [Change::Remove]);
    assert_eq!(store.registration(alice).unwrap(), None);
    // What comes late does not bring it back, and the next one begins anew.
    assert_eq!(act(55, 2, Registration::Refresh), [Change::Ignore]);
    let mut last = None;
    store.registrations(&mut |_, r| last.replace(r).is_none()).unwrap();
    let last = last.unwrap();
    assert_eq!((last.record.since_ms, last.record.seen_ms, last.ended_ms), (30, 30, Some(50)));
    act(56, 3, Registration::Start);
    assert_eq!(store.registration(alice).unwrap().map(|r| (r.since_ms, r.rand)), Some((56, [3; 16])));
    act(57, 3, Registration::Stop);
    let many: Vec<_> = (0..500).map(|n| account(&format!("user{n:03}"), 1, Registration::Start)).collect();
    assert_eq!(store.record(60, &many).unwrap().len(), 500);
    drop(store);
    let mut seen = Vec::new();
    lab.open()
        .registrations(&mut |id, r| {
            seen.push((id.to_owned(), r.record.since_ms));
            seen.len() < 501
        })
        .unwrap();
    assert_eq!(seen.len(), 501);
    assert_eq!(seen[500], ("user499".to_owned(), 60));
}

#[test]
fn two_openings_see_each_other() {
    let lab = lab();
    let (one, two) = (lab.open(), lab.open());
    one.put(1, &[entry("alice@example.test", Kind::Terminal, 1)], IfThere::Refuse, &mut rng()).unwrap();
    assert_eq!(octets(&two, Space::Subscriber, "alice@example.test"), Some(vec![1; 32]));
    let before = one.generation().unwrap();
    two.put(2, &[entry("alice@example.test", Kind::Terminal, 2)], IfThere::Replace, &mut rng()).unwrap();
    assert_eq!(octets(&one, Space::Subscriber, "alice@example.test"), Some(vec![2; 32]));
    assert_ne!(one.generation().unwrap(), before);
}
