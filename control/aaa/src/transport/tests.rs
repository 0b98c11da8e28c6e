//! One suite for every line of the table, over real sockets on the loopback interface.

use super::*;
use crate::client::Limits;
use crate::client::link::{Health, Timing};
use crate::exchange::{AaaAnswer, AaaRequest, Account, Authenticate, Scheme};
use crate::net::{ClientRunner, Listen, ListenTls, RunnerConfig, ServerPeer, ServerRunner, TlsPeer};
use crate::node::Node;
use crate::secret::SharedSecret;
use crate::server::{ClientEntry, EndConfig};
use core::net::SocketAddr;
use mio::{Events, Poll, Token};
use portunus_keydist::ident::N1;
use portunus_keydist::steps::{Registration, S4};
use portunus_keydist::{Now, SystemRandom};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

fn generator() -> Box<dyn Random + Send> {
    Box::new(SystemRandom::new())
}

fn secret(t: &Transport) -> SharedSecret {
    if t.carrier == Carrier::Tls { SharedSecret::radsec() } else { SharedSecret::new(*b"sixteen octets!!") }
}

struct Bench {
    poll: Poll,
    start: Instant,
    server: Option<ServerRunner>,
    client: ClientRunner,
    asked: u8,
    outcomes: BTreeMap<u64, Option<AaaAnswer>>,
}

fn listen(t: &'static Transport, at: SocketAddr, acct: SocketAddr, lab: &crate::lab::LabCertificates) -> Listen {
    Listen {
        transport: t,
        auth: at,
        acct,
        tls: (t.carrier == Carrier::Tls)
            .then(|| ListenTls { config: lab.server.server().unwrap(), names: vec!["ss1.example.test".into()] }),
        end: EndConfig {
            clients: vec![ClientEntry::host("ss1", "127.0.0.1".parse().unwrap(), secret(t))],
            node: Node { host: "auc.example.test".into(), realm: "example.test".into(), ..Node::default() },
            realms: vec!["example.test".into()],
            hosts_proven: t.carrier == Carrier::Tls,
            ..EndConfig::default()
        },
    }
}

impl Bench {
    fn new(t: &'static Transport, lab: &crate::lab::LabCertificates) -> Self {
        let any = "127.0.0.1:0".parse().unwrap();
        let mut server = ServerRunner::bind(vec![listen(t, any, any, lab)], &mut generator).unwrap();
        let addresses = server.addresses();
        let name = "auc.example.test".try_into().unwrap();
        let peer = ServerPeer {
            transport: t,
            auth: addresses[0],
            acct: *addresses.last().unwrap(),
            secret: secret(t),
            tls: (t.carrier == Carrier::Tls).then(|| TlsPeer { config: lab.client.client().unwrap(), name }),
            lanes: 2,
            realms: vec![],
            window: 512,
            timing: Timing { probe_every_ms: 200, ..Timing::default() },
        };
        let config = RunnerConfig {
            servers: vec![peer],
            nas_identifier: "ss1.example.test".into(),
            realms: "example.test".into(),
            limits: Limits::default(),
        };
        let mut client = ClientRunner::new(config, generator(), generator()).unwrap();
        let poll = Poll::new().unwrap();
        server.register(poll.registry(), Token(1_000)).unwrap();
        client.register(poll.registry(), Token(0), Now::default()).unwrap();
        Self { poll, start: Instant::now(), server: Some(server), client, asked: 0, outcomes: BTreeMap::new() }
    }

    fn now(&self) -> Now {
        Now { mono_ms: self.start.elapsed().as_millis() as u64, wall_ms: 0 }
    }

    /// Runs the loop until `done`, at most ten seconds.
    fn run(&mut self, done: &dyn Fn(&Self) -> bool) {
        let mut events = Events::with_capacity(256);
        let begun = Instant::now();
        while !done(self) {
            assert!(begun.elapsed() < Duration::from_secs(10), "{:?} {:?}", self.client.counters(), self.outcomes);
            self.poll.poll(&mut events, Some(Duration::from_millis(5))).unwrap();
            let now = self.now();
            for event in &events {
                let ours = self.client.on_ready(now, event);
                let theirs = self.server.as_mut().is_some_and(|s| s.on_ready(now, event));
                assert!(!(ours && theirs));
            }
            self.client.on_timer(now);
            if let Some(server) = &mut self.server {
                server.on_timer(now);
                while let Some(asked) = server.poll_asked() {
                    self.asked = self.asked.wrapping_add(1);
                    let r = self.asked;
                    let answer = match asked.request {
                        AaaRequest::Authenticate(_) => {
                            AaaAnswer::Vector(S4 { rand: [r; 16], auth_c: [r; 32], ekc: [r; 48], eksp: [r; 48] })
                        }
                        AaaRequest::Account(_) => AaaAnswer::Recorded,
                    };
                    assert!(asked.client.starts_with("ss1"));
                    server.answer(now, asked.ticket, &answer);
                }
                server.flush();
            }
            while let Some(event) = self.client.poll_event() {
                self.outcomes.insert(event.id.0, event.outcome.ok());
            }
        }
    }

    fn ask(&mut self, n: u64) -> u64 {
        let request = AaaRequest::Authenticate(Authenticate {
            idc: format!("user{n}@example.test"),
            idsp: "sp1.example.test".into(),
            scheme: Scheme::Pkd1 { n1: N1::from_bits(n) },
            realm: "example.test".into(),
            uri: None,
            source: None,
        });
        let now = self.now();
        self.client.request(now, request).unwrap().0
    }
}

#[test]
fn every_transport_carries_questions_survives_its_server_and_comes_back() {
    let lab = crate::lab::certificates(&["auc.example.test"], &["ss1.example.test"]).unwrap();
    for t in TRANSPORTS {
        let mut b = Bench::new(t, &lab);
        for n in 0..300 {
            b.ask(n);
        }
        let account = AaaRequest::Account(Account {
            idc: "user1@example.test".into(),
            idsp: "sp1.example.test".into(),
            rand: [1; 16],
            ip: "2001:db8::1".parse().unwrap(),
            event: Registration::Stop,
            softswitch: None,
        });
        let now = b.now();
        let s11 = b.client.request(now, account).unwrap().0;
        b.run(&|b| b.outcomes.len() == 301);
        assert!(b.outcomes.values().all(|o| o.is_some()), "{}", t.name);
        assert_eq!(b.outcomes[&s11], Some(AaaAnswer::Recorded));
        // The server goes away: an open question ends in time, the next ones at once.
        let addresses = b.server.as_ref().unwrap().addresses();
        b.server = None;
        let lost = b.ask(1_000);
        b.run(&|b| b.outcomes.contains_key(&lost) && b.client.health(0) == Some(Health::Down));
        assert_eq!(b.outcomes[&lost], None, "{}", t.name);
        // It comes back at the same address, and is found without being asked for.
        // Somebody else's outgoing connection may stand on its port for a moment.
        let until = Instant::now() + Duration::from_secs(20);
        let mut server = loop {
            let again = listen(t, addresses[0], *addresses.last().unwrap(), &lab);
            match ServerRunner::bind(vec![again], &mut generator) {
                Ok(server) => break server,
                Err(e) => assert!(Instant::now() < until, "{}: {e}", t.name),
            }
            std::thread::sleep(Duration::from_millis(50));
        };
        server.register(b.poll.registry(), Token(1_000)).unwrap();
        b.server = Some(server);
        b.run(&|b| b.client.health(0) == Some(Health::Up));
        let back = b.ask(1_001);
        b.run(&|b| b.outcomes.contains_key(&back));
        assert!(b.outcomes[&back].is_some(), "{}", t.name);
    }
}

#[test]
fn certificates_of_another_authority_or_for_another_name_open_nothing() {
    let lab = crate::lab::certificates(&["auc.example.test"], &["ss1.example.test"]).unwrap();
    let other = crate::lab::certificates(&["auc.example.test"], &["ss1.example.test"]).unwrap();
    let stranger = crate::lab::certificates(&["elsewhere.example.test"], &["ss2.example.test"]).unwrap();
    let any = "127.0.0.1:0".parse().unwrap();
    for (server_side, client_side) in [(&lab, &other), (&stranger, &stranger)] {
        let mut listen = listen(&RADSEC, any, any, &lab);
        listen.tls =
            Some(ListenTls { config: server_side.server.server().unwrap(), names: vec!["ss1.example.test".into()] });
        let mut server = ServerRunner::bind(vec![listen], &mut generator).unwrap();
        let mut b = Bench::new(&RADSEC, &lab);
        let peer = ServerPeer {
            transport: &RADSEC,
            auth: server.addresses()[0],
            acct: server.addresses()[0],
            secret: SharedSecret::radsec(),
            tls: Some(TlsPeer {
                config: client_side.client.client().unwrap(),
                name: "elsewhere.example.test".try_into().unwrap(),
            }),
            lanes: 1,
            realms: vec![],
            window: 16,
            timing: Timing::default(),
        };
        let config = RunnerConfig {
            servers: vec![peer],
            nas_identifier: "ss1".into(),
            realms: "example.test".into(),
            limits: Limits::default(),
        };
        b.client = ClientRunner::new(config, generator(), generator()).unwrap();
        server.register(b.poll.registry(), Token(2_000)).unwrap();
        let now = b.now();
        b.client.register(b.poll.registry(), Token(4_000), now).unwrap();
        b.server = Some(server);
        let id = b.ask(1);
        b.run(&|b| b.outcomes.contains_key(&id));
        assert_eq!(b.outcomes[&id], None);
        assert_eq!(b.asked, 0);
    }
}

#[test]
fn the_table_has_one_line_a_name() {
    for t in TRANSPORTS {
        assert!(std::ptr::eq(transport(t.name).unwrap(), *t));
    }
    assert!(transport("telepathy").is_none());
}
