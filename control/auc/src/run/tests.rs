use super::*;
use crate::custody::MasterKey;
use crate::store::{Credential, Entry, IfThere, Kind, Space};
use portunus_aaa::client::Limits;
use portunus_aaa::client::link::Timing;
use portunus_aaa::net::{ClientRunner, ListenTls, RunnerConfig, ServerPeer, TlsPeer};
use portunus_aaa::node::Node;
use portunus_aaa::secret::SharedSecret;
use portunus_aaa::server::{ClientEntry, EndConfig};
use portunus_aaa::transport::{Carrier, TRANSPORTS, Transport};
use portunus_aaa::{AaaRequest, Authenticate, DigestAlgorithm, Scheme};
use portunus_keydist::Key;
use portunus_keydist::ident::{Idc, Idsp, N1};
use std::collections::BTreeMap;
use std::path::Path;

const ALICE: &str = "alice@example.test";
const SP: &str = "sp1.example.test";

fn secret(t: &Transport) -> SharedSecret {
    if t.carrier == Carrier::Tls { SharedSecret::radsec() } else { SharedSecret::new(*b"sixteen octets!!") }
}

fn open(path: &Path) -> Arc<Store> {
    Arc::new(Store::open(path, &MasterKey::new([1; 32]), &mut SystemRandom::new()).unwrap())
}

fn run_config(t: &'static Transport, lab: &portunus_aaa::lab::LabCertificates) -> RunConfig {
    let any = "127.0.0.1:0".parse().unwrap();
    let names = vec!["ss1.example.test".into()];
    let clients = vec![ClientEntry::host("ss1", "127.0.0.1".parse().unwrap(), secret(t))];
    let tls = (t.carrier == Carrier::Tls).then(|| ListenTls { config: lab.server.server().unwrap(), names });
    RunConfig {
        auc: AucConfig { realms: vec!["example.test".into()], digest_sha256: true, digest_md5: false },
        listen: vec![Listen {
            transport: t,
            auth: any,
            acct: any,
            tls,
            end: EndConfig {
                clients,
                node: Node { host: "auc.example.test".into(), realm: "example.test".into(), ..Node::default() },
                realms: vec!["example.test".into()],
                hosts_proven: t.carrier == Carrier::Tls,
                ..EndConfig::default()
            },
        }],
        open_keys: 100,
    }
}

/// A client on a loop of its own.
struct Asker {
    poll: Poll,
    client: ClientRunner,
    begun: Instant,
    outcomes: BTreeMap<u64, Option<AaaAnswer>>,
}

impl Asker {
    fn new(t: &'static Transport, lab: &portunus_aaa::lab::LabCertificates, addresses: &[SocketAddr]) -> Self {
        let name = "auc.example.test".try_into().unwrap();
        let peer = ServerPeer {
            transport: t,
            auth: addresses[0],
            acct: *addresses.last().unwrap(),
            secret: secret(t),
            tls: (t.carrier == Carrier::Tls).then(|| TlsPeer { config: lab.client.client().unwrap(), name }),
            lanes: 8,
            realms: vec![],
            window: 2_048,
            timing: Timing::default(),
        };
        let config = RunnerConfig {
            servers: vec![peer],
            nas_identifier: "ss1.example.test".into(),
            realms: "example.test".into(),
            limits: Limits::default(),
        };
        let rng = || Box::new(SystemRandom::new());
        let mut client = ClientRunner::new(config, rng(), rng()).unwrap();
        let poll = Poll::new().unwrap();
        client.register(poll.registry(), Token(0), Now::default()).unwrap();
        Self { poll, client, begun: Instant::now(), outcomes: BTreeMap::new() }
    }

    fn now(&self) -> Now {
        Now { mono_ms: self.begun.elapsed().as_millis() as u64, wall_ms: 0 }
    }

    fn ask(&mut self, request: AaaRequest) -> u64 {
        let now = self.now();
        self.client.request(now, request).unwrap().0
    }

    fn wait(&mut self, n: usize) {
        let mut events = Events::with_capacity(256);
        let begun = Instant::now();
        while self.outcomes.len() < n {
            assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", self.client.counters());
            self.client.flush(self.now());
            self.poll.poll(&mut events, Some(Duration::from_millis(5))).unwrap();
            let now = self.now();
            for event in &events {
                self.client.on_ready(now, event);
            }
            self.client.on_timer(now);
            while let Some(event) = self.client.poll_event() {
                self.outcomes.insert(event.id.0, event.outcome.ok());
            }
        }
    }
}

fn s3(idc: &str, scheme: Scheme) -> AaaRequest {
    AaaRequest::Authenticate(Authenticate {
        idc: idc.into(),
        idsp: SP.into(),
        scheme,
        realm: "example.test".into(),
        uri: None,
        source: None,
    })
}

fn pkd1(n: u64) -> Scheme {
    Scheme::Pkd1 { n1: N1::from_bits(n) }
}

fn s11(idc: &str, rand: u8, event: Registration) -> AaaRequest {
    let ip = "192.0.2.7".parse().unwrap();
    AaaRequest::Account(Account { idc: idc.into(), idsp: SP.into(), rand: [rand; 16], ip, event, softswitch: None })
}

fn entry(id: &str, kind: Kind, n: u8) -> Entry {
    Entry { id: id.into(), kind, credential: Credential::Key(Key::new([n; 32])) }
}

#[test]
fn over_every_transport_vectors_verify_and_records_are_durable_before_they_are_acknowledged() {
    let lab = portunus_aaa::lab::certificates(&["auc.example.test"], &["ss1.example.test"]).unwrap();
    for t in TRANSPORTS {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("auc.redb");
        let log = folder.path().join("audit.log");
        let store = open(&path);
        let batch = [entry(ALICE, Kind::Terminal, 1), entry(SP, Kind::Device, 2)];
        store.put(1, &batch, IfThere::Refuse, &mut SystemRandom::new()).unwrap();
        let audit = Arc::new(Audit::open(&log, 1 << 20).unwrap());
        let handle = start(run_config(t, &lab), store, Some(audit)).unwrap();
        let mut asker = Asker::new(t, &lab, handle.addresses());
        let vector = asker.ask(s3(ALICE, pkd1(1)));
        let stranger = asker.ask(s3("nobody@example.test", pkd1(2)));
        let digest = asker.ask(s3(ALICE, Scheme::Digest { algorithm: DigestAlgorithm::Sha256 }));
        let started = asker.ask(s11(ALICE, 7, Registration::Start));
        asker.wait(4);
        let Some(AaaAnswer::Vector(s4)) = asker.outcomes[&vector] else { panic!("{}", t.name) };
        let (idc, idsp) = (Idc::new(ALICE).unwrap(), Idsp::new(SP).unwrap());
        assert_eq!(s4.auth_c, Key::new([1; 32]).prk().word(idc, idsp, &s4.rand));
        assert!(matches!(asker.outcomes[&stranger], Some(AaaAnswer::Vector(_))));
        assert!(matches!(asker.outcomes[&digest], Some(AaaAnswer::Digest(_))));
        assert_eq!(asker.outcomes[&started], Some(AaaAnswer::Recorded));
        // Acknowledged: whoever opens the file now, beside the running AuC, finds it.
        assert_eq!(open(&path).registration(ALICE).unwrap().unwrap().rand, [7; 16]);
        // A rotated key serves the very next question.
        let new = Credential::Key(Key::new([9; 32]));
        handle.store().rotate((2, 0), Space::Subscriber, ALICE, new, &mut SystemRandom::new()).unwrap();
        let vector = asker.ask(s3(ALICE, pkd1(3)));
        asker.wait(5);
        let Some(AaaAnswer::Vector(s4)) = asker.outcomes[&vector] else { panic!("{}", t.name) };
        assert_eq!(s4.auth_c, Key::new([9; 32]).prk().word(idc, idsp, &s4.rand));
        assert!(handle.is_running());
        handle.stop();
        let text = std::fs::read_to_string(&log).unwrap();
        assert!(text.contains("registration.start") && text.contains(ALICE) && crate::audit::verify(&log).is_ok());
    }
}

#[test]
fn many_events_share_a_commit_and_each_is_acknowledged() {
    let lab = portunus_aaa::lab::certificates(&["auc.example.test"], &["ss1.example.test"]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("auc.redb");
    let store = open(&path);
    store.put(1, &[entry(SP, Kind::Device, 2)], IfThere::Refuse, &mut SystemRandom::new()).unwrap();
    let t = TRANSPORTS[0];
    let handle = start(run_config(t, &lab), store, None).unwrap();
    let mut asker = Asker::new(t, &lab, handle.addresses());
    for n in 0..3_000 {
        asker.ask(s11(&format!("user{n}"), 1, Registration::Start));
    }
    asker.wait(3_000);
    assert!(asker.outcomes.values().all(|o| *o == Some(AaaAnswer::Recorded)));
    let status = handle.status();
    handle.stop();
    let mut seen = 0;
    open(&path)
        .registrations(&mut |_, _| {
            seen += 1;
            true
        })
        .unwrap();
    assert_eq!(seen, 3_000);
    assert!(status.commits < status.recorded / 2, "{} commits for {}", status.commits, status.recorded);
    println!("{} events in {} commits", status.recorded, status.commits);
}
