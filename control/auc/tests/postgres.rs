//! Several nodes and their system of record, a real PostgreSQL: changes reach every node, an outage stops provisioning
//! and nothing else, nothing is lost when many write, and the database holds no key.

mod server;

use portunus_aaa::Account;
use portunus_auc::custody::MasterKey;
use portunus_auc::postgres::{Database, DatabaseConfig, DatabaseTls, FollowStatus, Follower, Moved};
use portunus_auc::provision::Provision as _;
use portunus_auc::store::{Credential, Entry, IfThere, Kind, Space, Stand, Store, StoreError};
use portunus_keydist::steps::Registration;
use portunus_keydist::{Key, SystemRandom};
use server::{PASSWORD, Server};
use std::sync::Arc;
use std::time::{Duration, Instant};

const ALICE: &str = "alice@example.test";
const SP1: &str = "sp1.example.test";

fn config(server: &Server) -> DatabaseConfig {
    DatabaseConfig {
        servers: vec![("localhost".to_owned(), server.port)],
        name: "portunus".to_owned(),
        user: "portunus".to_owned(),
        password: Some(PASSWORD.to_owned().into()),
        tls: Some(DatabaseTls { ca: server.file("ca.pem"), own: None }),
        pool: 2,
        timeout: Duration::from_secs(10),
        poll: Duration::from_secs(1),
    }
}

struct Node {
    _folder: tempfile::TempDir,
    store: Arc<Store>,
    database: Arc<Database>,
}

impl Node {
    fn new(config: DatabaseConfig, master: u8) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let master = MasterKey::new([master; 32]);
        let store = Store::open(&folder.path().join("auc.redb"), &master, &mut SystemRandom::new()).unwrap();
        let database = Database::new(config, &master).unwrap();
        Self { _folder: folder, store: Arc::new(store), database: Arc::new(database) }
    }

    fn migrate(&self) -> Result<Moved, StoreError> {
        self.database.take_in(&self.store, 1, &mut |_| (), &mut SystemRandom::new())
    }

    fn follow(&self) -> Result<(Follower, Stand), StoreError> {
        Follower::start(self.store.clone(), self.database.clone())
    }

    fn put(&self, id: &str, kind: Kind, key: u8, if_there: IfThere) -> Result<(), StoreError> {
        self.database.put(5, &[entry(id, kind, key)], if_there, &mut SystemRandom::new()).map(|_| ())
    }

    /// The first octet of the key that the node answers with.
    fn key(&self, space: Space, id: &str) -> Option<u8> {
        match self.store.credential(space, id).unwrap()? {
            Credential::Key(key) => Some(key.expose()[0]),
            Credential::Digest(_) => None,
        }
    }

    fn even(&self) -> bool {
        self.database.compare(&self.store, &mut |_| ()).unwrap().is_even()
    }
}

fn entry(id: &str, kind: Kind, key: u8) -> Entry {
    Entry { id: id.to_owned(), kind, credential: Credential::Key(Key::new([key; 32])) }
}

fn within(limit: Duration, what: &str, mut so: impl FnMut() -> bool) {
    let until = Instant::now() + limit;
    while !so() {
        assert!(Instant::now() < until, "not within {limit:?}: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

const SOON: Duration = Duration::from_secs(20);

fn told(e: &StoreError) -> String {
    e.to_string()
}

#[test]
fn what_is_provisioned_at_one_node_is_answered_by_the_other_and_the_database_holds_no_key() {
    let server = Server::start();
    let (one, two) = (Node::new(config(&server), 1), Node::new(config(&server), 1));
    assert!(told(&one.follow().unwrap_err()).contains("portunus store migrate"));
    let founded = one.migrate().unwrap();
    assert_eq!((founded.from, founded.founded), (0, true));
    assert_eq!(one.migrate().unwrap(), Moved { from: founded.to, founded: false, ..founded }, "once is enough");
    let (follower, began) = one.follow().unwrap();
    let (other, _) = two.follow().unwrap();
    assert!(began.whole && began.changes == Some(0));

    // A key that no chance makes, so that it is found wherever it lies in clear.
    let canary = *b"canary canary canary canary 32 o";
    let credential = Credential::Key(Key::new(canary));
    let entries = [Entry { id: ALICE.into(), kind: Kind::Terminal, credential }, entry(SP1, Kind::Device, 7)];
    let stored = one.database.put(5, &entries, IfThere::Refuse, &mut SystemRandom::new()).unwrap();
    assert_eq!(stored.added, 2);
    assert!(matches!(two.put(ALICE, Kind::Terminal, 1, IfThere::Refuse), Err(StoreError::Exists { .. })));
    two.put(ALICE, Kind::Terminal, 1, IfThere::Keep).unwrap();
    within(SOON, "both", || two.key(Space::Subscriber, ALICE) == Some(b'c') && two.key(Space::Device, SP1) == Some(7));
    let taken = |s: FollowStatus| (s.reached, s.written, s.copies, s.refused) == (true, 2, 1, 0);
    within(SOON, "a word of it", || taken(other.status()));

    // A replica changes by what the system of record says only.
    assert!(matches!(
        two.store.put(5, &entries, IfThere::Replace, &mut SystemRandom::new()),
        Err(StoreError::Replica { .. })
    ));
    assert!(matches!(two.store.remove(Space::Subscriber, ALICE), Err(StoreError::Replica { .. })));

    let new = Credential::Key(Key::new([9; 32]));
    two.database.rotate((10, 500), Space::Subscriber, ALICE, new, &mut SystemRandom::new()).unwrap();
    within(SOON, "the rotated key", || one.key(Space::Subscriber, ALICE) == Some(9));
    let former = one.store.previous(Space::Subscriber, ALICE).unwrap().map(|(key, until)| (*key.expose(), until));
    assert_eq!(former, Some((canary, 510)));
    let listed = one.database.listed(Space::Subscriber, ALICE).unwrap().unwrap();
    assert_eq!((listed.kind, listed.made_ms, listed.rotated_ms), (Kind::Terminal, 5, 10));

    let taken_by_a_thief = [server.dump(), std::fs::read(server.log()).unwrap()];
    for (text, what) in taken_by_a_thief.iter().zip(["dump", "log"]) {
        let hex: String = canary.iter().map(|o| format!("{o:02x}")).collect();
        let finds = |needle: &[u8]| text.windows(needle.len()).any(|w| w.eq_ignore_ascii_case(needle));
        assert!(finds(b"portunus.record") && finds(ALICE.as_bytes()), "{what} is one");
        assert!(!finds(&canary) && !finds(hex.as_bytes()), "{what} holds a key");
    }

    let account = Account {
        softswitch: None,
        idc: ALICE.into(),
        idsp: SP1.into(),
        rand: [1; 16],
        ip: "192.0.2.7".parse().unwrap(),
        event: Registration::Start,
    };
    one.store.record(7, &[account]).unwrap();
    one.database.remove(Space::Subscriber, ALICE).unwrap();
    assert!(matches!(one.database.remove(Space::Subscriber, ALICE), Err(StoreError::Missing { .. })));
    within(SOON, "its removal", || [&one, &two].iter().all(|n| n.key(Space::Subscriber, ALICE).is_none()));
    assert!(one.store.registration(ALICE).unwrap().is_none(), "its registration goes with it");
    assert!(one.even() && two.even());
    assert!(follower.is_running() && other.is_running());
}

#[test]
fn without_the_database_answers_go_on_provisioning_is_refused_and_what_was_missed_is_made_up() {
    let mut server = Server::start();
    let short = DatabaseConfig { timeout: Duration::from_secs(3), ..config(&server) };
    let (one, two) = (Node::new(short.clone(), 1), Node::new(short, 1));
    one.migrate().unwrap();
    let (_follower, _) = one.follow().unwrap();
    one.put(ALICE, Kind::Terminal, 1, IfThere::Refuse).unwrap();
    within(SOON, "the first key", || one.key(Space::Subscriber, ALICE) == Some(1));

    server.kill();
    let refused = one.put("bob@example.test", Kind::Terminal, 2, IfThere::Refuse).unwrap_err();
    assert!(matches!(refused, StoreError::Database { unknown: false, .. }), "{refused}");
    let label = format!("localhost:{}/portunus", server.port);
    assert!(told(&refused).contains(&label) && told(&refused).contains("nothing was changed"), "{refused}");
    assert!(one.key(Space::Subscriber, ALICE) == Some(1), "answers go on");
    // Who has a replica begins without the database; who has none cannot.
    drop(_follower);
    let (follower, began) = one.follow().unwrap();
    assert!(began.whole && began.changes == Some(1), "{began:?}");
    assert!(matches!(two.follow(), Err(StoreError::Database { .. })));
    within(SOON, "the failure", || follower.status().failures > 0 && !follower.status().reached);

    server.run();
    within(SOON, "provisioning", || one.put("bob@example.test", Kind::Terminal, 2, IfThere::Keep).is_ok());
    within(SOON, "what was missed", || one.key(Space::Subscriber, "bob@example.test") == Some(2));
    within(SOON, "a word of it", || follower.status().reached);
    let FollowStatus { copies, failure, .. } = follower.status();
    assert_eq!((copies, failure), (0, None), "followed, not copied");

    // A database that neither answers nor goes away is worse than a dead one: there is a limit on everything.
    server.freeze(true);
    let begun = Instant::now();
    let refused = one.put("carol@example.test", Kind::Terminal, 3, IfThere::Refuse).unwrap_err();
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
    assert!(matches!(refused, StoreError::Database { .. }), "{refused}");
    assert_eq!(one.key(Space::Subscriber, ALICE), Some(1));
    server.freeze(false);
    within(SOON, "provisioning again", || one.put("dave@example.test", Kind::Terminal, 4, IfThere::Keep).is_ok());
    within(SOON, "the last key", || one.key(Space::Subscriber, "dave@example.test") == Some(4));
    assert!(one.even());
}

#[test]
fn many_writers_lose_nothing_and_a_node_that_joins_meanwhile_has_everything() {
    const WRITERS: u8 = 6;
    const ROUNDS: u32 = 12;
    const TOGETHER: u32 = 120;
    let server = Server::start();
    let one = Node::new(config(&server), 1);
    // Three at one time make one estate.
    let (two, three) = (Node::new(config(&server), 1), Node::new(config(&server), 1));
    let founders = std::thread::scope(|s| {
        let migrating = [&one, &two, &three].map(|node| s.spawn(|| node.migrate().unwrap()));
        migrating.map(|m| m.join().unwrap()).into_iter().filter(|moved| moved.founded).count()
    });
    assert_eq!(founders, 1);
    // More than one page is there when the newcomer copies.
    let before: Vec<Entry> = (0..2_500).map(|n| entry(&format!("old{n}@example.test"), Kind::Terminal, 200)).collect();
    one.database.put(1, &before, IfThere::Refuse, &mut SystemRandom::new()).unwrap();
    let (_follower, _) = one.follow().unwrap();
    let nodes = std::thread::scope(|s| {
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let server = &server;
                s.spawn(move || {
                    // A pool of its own, as another process has.
                    let node = Node::new(config(server), 1);
                    for round in 0..ROUNDS {
                        let ids = (0..TOGETHER).map(|n| format!("w{writer}r{round}n{n}@example.test"));
                        let batch: Vec<Entry> = ids.map(|id| entry(&id, Kind::Terminal, writer)).collect();
                        node.database.put(2, &batch, IfThere::Refuse, &mut SystemRandom::new()).unwrap();
                        // Everybody at the same identity, and some go.
                        node.put(ALICE, Kind::Terminal, writer, IfThere::Replace).unwrap();
                        node.database.remove(Space::Subscriber, &format!("w{writer}r{round}n0@example.test")).unwrap();
                        // What fails takes no number with it.
                        let twice = node.database.put(2, &batch[1..], IfThere::Refuse, &mut SystemRandom::new());
                        assert!(matches!(twice, Err(StoreError::Exists { .. })));
                    }
                })
            })
            .collect();
        let mut newcomers = Vec::new();
        while !writers.iter().all(|w| w.is_finished()) {
            if newcomers.len() < 3 {
                let node = Node::new(config(&server), 1);
                let followed = node.follow().unwrap();
                assert_eq!(node.key(Space::Subscriber, "old2499@example.test"), Some(200), "serves with a whole copy");
                newcomers.push((node, followed));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        newcomers
    });
    assert!(!nodes.is_empty());
    let last: u64 = server.sql("portunus", "select seq from portunus.estate").parse().unwrap();
    let wanted = 2_500 + u64::from(WRITERS) * u64::from(ROUNDS) * (u64::from(TOGETHER) + 2);
    assert_eq!(last, wanted, "every change has its number, and nothing else has one");
    let all = 2_501 + u64::from(WRITERS) * u64::from(ROUNDS) * (u64::from(TOGETHER) - 1);
    for node in nodes.iter().map(|(node, _)| node).chain([&one]) {
        within(SOON, "the last change", || node.store.stand().unwrap().unwrap().changes == Some(last));
        assert_eq!(node.store.count(Space::Subscriber).unwrap(), all);
        assert!(node.even());
    }
    for (_, (follower, _)) in &nodes {
        assert_eq!((follower.status().copies, follower.status().refused), (1, 0));
    }
}

#[test]
fn a_damaged_row_is_refused_and_named_and_a_database_of_another_life_is_copied_anew() {
    let server = Server::start();
    let node = Node::new(config(&server), 1);
    node.migrate().unwrap();
    let (follower, _) = node.follow().unwrap();
    for (n, id) in ["a@example.test", "b@example.test", "c@example.test"].into_iter().enumerate() {
        node.put(id, Kind::Terminal, n as u8 + 1, IfThere::Refuse).unwrap();
    }
    within(SOON, "three keys", || node.key(Space::Subscriber, "c@example.test") == Some(3));
    // One record altered, one moved to another identity, one good one behind them.
    let next = "(select max(seq) from portunus.record) + 1";
    let alter = "update portunus.record set record = set_byte(record, 60, get_byte(record, 60) # 1)";
    server.sql("portunus", &format!("{alter}, seq = {next} where id = 'a@example.test'"));
    let moved = "(select record from portunus.record where id = 'c@example.test')";
    server.sql(
        "portunus",
        &format!("update portunus.record set record = {moved}, seq = {next} where id = 'b@example.test'"),
    );
    server.sql("portunus", "update portunus.estate set seq = (select max(seq) from portunus.record)");
    node.put("d@example.test", Kind::Terminal, 4, IfThere::Refuse).unwrap();
    within(SOON, "the good one", || node.key(Space::Subscriber, "d@example.test") == Some(4));
    within(SOON, "a word of what was refused", || follower.status().refused == 2);
    let status = follower.status();
    let named: Vec<_> = status.refused_named.iter().map(|(_, id)| id.as_str()).collect();
    assert_eq!((status.refused, named), (2, vec!["a@example.test", "b@example.test"]));
    assert_eq!(node.key(Space::Subscriber, "a@example.test"), Some(1), "what was good stays");
    let found = node.database.compare(&node.store, &mut |_| ()).unwrap();
    assert_eq!((found.damaged, found.same, found.is_even()), (2, 2, false));
    // A new key mends it.
    let key = Credential::Key(Key::new([9; 32]));
    node.database.rotate((9, 0), Space::Subscriber, "a@example.test", key, &mut SystemRandom::new()).unwrap();
    within(SOON, "the mended one", || node.key(Space::Subscriber, "a@example.test") == Some(9));

    // The tables are read back from an earlier dump: as many changes follow as the node had seen, or more.
    let before = follower.status().copies;
    server.sql(
        "portunus",
        "create table portunus.other as select * from portunus.record where id <> 'd@example.test'; \
         create table portunus.estate2 (like portunus.estate including all); \
         insert into portunus.estate2 select one, seq + 7, envelope from portunus.estate; \
         truncate portunus.record; insert into portunus.record select * from portunus.other; \
         drop table portunus.other; drop table portunus.estate; alter table portunus.estate2 rename to estate; \
         alter table portunus.estate owner to portunus;",
    );
    within(SOON, "a copy", || follower.status().copies == before + 1);
    assert_eq!(node.key(Space::Subscriber, "d@example.test"), None, "what this life does not know is gone");
    assert_eq!(node.key(Space::Subscriber, "a@example.test"), Some(9));
}

#[test]
fn stores_move_in_a_lost_database_is_founded_again_and_strangers_are_kept_out() {
    let server = Server::start();
    let (first, second) = (Node::new(config(&server), 1), Node::new(config(&server), 1));
    let rng = &mut SystemRandom::new();
    let key = |n: u8| Credential::Key(Key::new([n; 32]));
    first.store.put(1, &[entry(ALICE, Kind::Terminal, 1), entry(SP1, Kind::Device, 2)], IfThere::Refuse, rng).unwrap();
    first.store.rotate((2, 900), Space::Subscriber, ALICE, key(3), rng).unwrap();
    let own = [entry(ALICE, Kind::Terminal, 77), entry("bob@example.test", Kind::Terminal, 4)];
    second.store.put(1, &own, IfThere::Refuse, rng).unwrap();
    let Moved { founded, moved, known, .. } = first.migrate().unwrap();
    assert_eq!((founded, moved, known), (true, 2, 0));
    // Keys of its own are not thrown away by a copy.
    let refused = second.follow().map(|_| ()).unwrap_err();
    assert!(told(&refused).contains("keys of its own"), "{refused}");
    assert_eq!(second.key(Space::Subscriber, "bob@example.test"), Some(4));
    let Moved { founded, moved, known, .. } = second.migrate().unwrap();
    assert_eq!((founded, moved, known), (false, 1, 1));
    let (follower, _) = first.follow().unwrap();
    within(SOON, "bob", || first.key(Space::Subscriber, "bob@example.test") == Some(4));
    for node in [&first, &second] {
        assert_eq!((node.key(Space::Subscriber, ALICE), node.key(Space::Device, SP1)), (Some(3), Some(2)));
        let former =
            node.store.previous(Space::Subscriber, ALICE).unwrap().map(|(key, until)| (key.expose()[0], until));
        assert_eq!(former, Some((1, 902)));
        assert!(node.even());
    }
    drop(follower);

    // Another master key, another authority, no password, in clear: each says what is wrong.
    let stranger = Node::new(config(&server), 2);
    let refused = told(&stranger.follow().map(|_| ()).unwrap_err());
    assert!(refused.contains("master key") && refused.contains("configured here"), "{refused}");
    let refused = told(&stranger.put("eve@example.test", Kind::Terminal, 1, IfThere::Refuse).unwrap_err());
    assert!(refused.contains("master key"), "{refused}");
    let other = DatabaseTls { ca: server.file("client.pem"), own: None };
    let wrong = [
        (DatabaseConfig { tls: Some(other), ..config(&server) }, "certificate"),
        (DatabaseConfig { servers: vec![("127.0.0.1".into(), server.port)], ..config(&server) }, "certificate"),
        (DatabaseConfig { password: Some("wrong".to_owned().into()), ..config(&server) }, "password"),
        (DatabaseConfig { tls: None, ..config(&server) }, "pg_hba"),
    ];
    for (config, word) in wrong {
        let refused = told(&Node::new(config, 1).follow().map(|_| ()).unwrap_err());
        assert!(refused.contains(word) && !refused.contains(PASSWORD), "{word}: {refused}");
    }
    // With a certificate in the place of a password; its user may not read the tables.
    let own = Some((server.file("client.pem"), server.file("client.key")));
    let tls = Some(DatabaseTls { ca: server.file("ca.pem"), own });
    let certified = DatabaseConfig { user: "certified".into(), password: None, tls, ..config(&server) };
    let refused = told(&Node::new(certified.clone(), 1).follow().map(|_| ()).unwrap_err());
    assert!(refused.contains("permission denied"), "{refused}");
    server.sql("portunus", "grant usage on schema portunus to certified");
    server.sql("portunus", "grant select, insert, update on all tables in schema portunus to certified");
    Node::new(certified, 1).follow().unwrap();

    server.sql("portunus", "drop schema portunus cascade");
    let Moved { from, founded, moved, .. } = second.migrate().unwrap();
    assert_eq!((from, founded, moved), (0, true, 3));
    let (_follower, _) = first.follow().unwrap();
    within(SOON, "the new database", || _follower.status().copies == 1);
    assert!(first.even() && second.even());

    // Tables of a version that is not known yet are left alone.
    server.sql("portunus", "insert into portunus.migration (version) values (99)");
    for refused in [first.migrate().map(|_| ()), second.put(ALICE, Kind::Terminal, 1, IfThere::Replace)] {
        let refused = told(&refused.unwrap_err());
        assert!(refused.contains("version 99"), "{refused}");
    }
}
