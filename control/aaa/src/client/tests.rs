use super::*;
use crate::exchange::{Account, Authenticate};
use crate::node::Node;
use crate::radius::link::RadiusLink;
use crate::radius::server::RadiusEnd;
use crate::secret::SharedSecret;
use crate::server::{ClientEntry, End as _, EndConfig, Origin, Port, Received};
use link::{LinkConfig, Timing};
use portunus_keydist::ident::N1;
use portunus_keydist::steps::{Registration, S4};

/// A reproducible generator.
struct Dice(u64);

impl Random for Dice {
    fn fill(&mut self, out: &mut [u8]) {
        for o in out {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            *o = (self.0 >> 56) as u8;
        }
    }
}

const SECRET: [u8; 16] = *b"sixteen octets!!";

/// A client and its servers in one process, with a clock that jumps from deadline to deadline.
struct World {
    client: Client,
    ends: Vec<(RadiusEnd, bool)>,
    ms: u64,
    stream: bool,
    /// One packet in this many is lost, each way; 0: none.
    loss: u64,
    dice: Dice,
    rand: u8,
    events: Vec<(u64, AaaEvent)>,
    closed: Vec<LaneId>,
    asked: usize,
}

fn address(server: usize, port: Port) -> SocketAddr {
    let port = if port == Port::Auth { 1812 } else { 1813 };
    SocketAddr::from(([192, 0, 2, 10 + server as u8], port))
}

impl World {
    fn new(servers: usize, stream: bool, limits: Limits, window: usize) -> Self {
        Self::routed(&vec![&[][..]; servers], stream, limits, window)
    }

    /// With servers that lead to these realms.
    fn routed(servers: &[&[&str]], stream: bool, limits: Limits, window: usize) -> Self {
        let realms: Vec<Vec<Arc<str>>> = servers.iter().map(|r| r.iter().map(|r| Arc::from(*r)).collect()).collect();
        let servers = servers.len();
        let known = Arc::new(Realms::new("example.test", &[], realms.iter().map(Vec::as_slice)));
        let secret = || SharedSecret::new(if stream { b"radsec".to_vec() } else { SECRET.to_vec() });
        let link = |server: usize| {
            let config = LinkConfig {
                auth: address(server, Port::Auth),
                acct: address(server, if stream { Port::Auth } else { Port::Acct }),
                secret: secret(),
                nas_identifier: "ss1.example.test".into(),
                lanes: 2,
                window,
                stream,
                node: Node::default(),
                realms: realms[server].clone(),
                timing: Timing::default(),
            };
            Box::new(RadiusLink::new(config)) as Box<dyn Link>
        };
        let end = |server: usize| {
            let client = ClientEntry::host("ss1", "192.0.2.1".parse().unwrap(), secret());
            let config = EndConfig { clients: vec![client], ..EndConfig::default() };
            (RadiusEnd::new(config, Box::new(Dice(server as u64 + 9))), true)
        };
        Self {
            client: Client::routed((0..servers).map(link).collect(), known, limits, Box::new(Dice(1))),
            ends: (0..servers).map(end).collect(),
            ms: 1,
            stream,
            loss: 0,
            dice: Dice(2),
            rand: 0,
            events: Vec::new(),
            closed: Vec::new(),
            asked: 0,
        }
    }

    fn now(&self) -> Now {
        Now { mono_ms: self.ms, wall_ms: 1_700_000_000_000 + self.ms }
    }

    fn lost(&mut self) -> bool {
        self.loss > 0 && self.dice.next_u64().is_multiple_of(self.loss)
    }

    /// Carries packets both ways until nothing moves.
    fn settle(&mut self) {
        let now = self.now();
        let mut packets = Vec::new();
        loop {
            match self.client.poll_effect() {
                Some(Effect::Send { lane, to, bytes }) => packets.push((lane, to, bytes.to_vec())),
                Some(Effect::Close { lane }) => self.closed.push(lane),
                None => break,
            }
        }
        let moved = !packets.is_empty();
        for (lane, to, bytes) in packets {
            let server = usize::from(lane.server);
            if self.lost() || !self.ends[server].1 {
                continue;
            }
            let port = if to == address(server, Port::Auth) { Port::Auth } else { Port::Acct };
            let origin = if self.stream {
                Origin::Stream { connection: u64::from(lane.lane), name: "ss1".into() }
            } else {
                Origin::Datagram { peer: SocketAddr::from(([192, 0, 2, 1], 5_000 + lane.lane)), port }
            };
            let end = &mut self.ends[server].0;
            let back = match end.on_packet(now, &origin, &bytes) {
                Received::Asked { ticket, request, .. } => {
                    self.asked += 1;
                    self.rand = self.rand.wrapping_add(1);
                    let r = self.rand;
                    let answer = match request {
                        AaaRequest::Account(_) => AaaAnswer::Recorded,
                        AaaRequest::Authenticate(a) if a.realm.as_ref() == "elsewhere.test" => AaaAnswer::Rejected,
                        AaaRequest::Authenticate(_) => {
                            AaaAnswer::Vector(S4 { rand: [r; 16], auth_c: [r; 32], ekc: [r; 48], eksp: [r; 48] })
                        }
                    };
                    end.answer(now, ticket, &answer).map(|(_, octets)| octets.to_vec())
                }
                Received::Answer(octets) => Some(octets.to_vec()),
                Received::Nothing | Received::Close => None,
            };
            if let Some(octets) = back
                && !self.lost()
            {
                self.client.on_packet(now, lane, to, &octets);
            }
        }
        while let Some(event) = self.client.poll_event() {
            self.events.push((self.ms, event));
        }
        if moved {
            self.settle();
        }
    }

    /// Lets time pass until `until`.
    fn run(&mut self, until: u64) {
        self.settle();
        while let Some(at) = self.client.next_deadline().filter(|at| *at <= until) {
            self.ms = at.max(self.ms);
            let now = self.now();
            self.client.on_timer(now);
            self.settle();
        }
        self.ms = until;
    }

    fn ask(&mut self, n: u64, source: Option<&str>) -> Result<RequestId, Refused> {
        self.ask_of("example.test", n, source)
    }

    fn ask_of(&mut self, realm: &str, n: u64, source: Option<&str>) -> Result<RequestId, Refused> {
        let request = Authenticate {
            idc: format!("alice@{realm}"),
            idsp: "sp1.example.test".into(),
            scheme: Scheme::Pkd1 { n1: N1::from_bits(n) },
            realm: realm.into(),
            uri: None,
            source: source.map(|s| s.parse().unwrap()),
        };
        let now = self.now();
        self.client.request(now, AaaRequest::Authenticate(request))
    }

    fn account(&mut self) -> Result<RequestId, Refused> {
        self.account_of("example.test")
    }

    fn account_of(&mut self, realm: &str) -> Result<RequestId, Refused> {
        let request = Account {
            idc: format!("alice@{realm}"),
            idsp: "sp1.example.test".into(),
            rand: [7; 16],
            ip: "192.0.2.9".parse().unwrap(),
            event: Registration::Start,
            softswitch: None,
        };
        let now = self.now();
        self.client.request(now, AaaRequest::Account(request))
    }

    fn rand_of(&self, id: RequestId) -> Option<u8> {
        self.events.iter().find(|(_, e)| e.id == id).and_then(|(_, e)| match e.outcome {
            Ok(AaaAnswer::Vector(s4)) => Some(s4.rand[0]),
            _ => None,
        })
    }
}

#[test]
fn a_question_is_answered_and_the_same_one_is_asked_once() {
    let mut w = World::new(1, false, Limits::default(), 512);
    let a = w.ask(1, Some("198.51.100.1:5060")).unwrap();
    let b = w.ask(1, Some("198.51.100.1:5060")).unwrap();
    let c = w.ask(1, Some("198.51.100.2:5060")).unwrap();
    let d = w.ask(2, Some("198.51.100.1:5060")).unwrap();
    let e = w.ask(1, None).unwrap();
    let s11 = w.account().unwrap();
    w.settle();
    let rands: Vec<_> = [a, b, c, d, e].map(|id| w.rand_of(id).unwrap()).to_vec();
    assert_eq!(rands[0], rands[1]);
    let distinct: BTreeSet<_> = rands.iter().collect();
    assert_eq!(distinct.len(), 4);
    assert!(w.events.iter().any(|(_, x)| x.id == s11 && x.outcome == Ok(AaaAnswer::Recorded)));
    assert_eq!(w.client.in_flight(), 0);
    // Once answered, the same question is a new one and draws a new vector.
    let again = w.ask(1, Some("198.51.100.1:5060")).unwrap();
    w.settle();
    assert!(!rands.contains(&w.rand_of(again).unwrap()));
}

#[test]
fn loss_is_repaired_and_no_question_is_worked_on_twice() {
    let mut w = World::new(1, false, Limits { authenticate_ms: 20_000, ..Limits::default() }, 512);
    w.loss = 3;
    for n in 0..200 {
        w.ask(n, None).unwrap();
    }
    w.run(20_000);
    let answered = w.events.iter().filter(|(_, e)| e.outcome.is_ok()).count();
    assert_eq!(w.events.len(), 200);
    assert!(answered >= 199, "{answered}");
    assert!(w.asked <= 200, "{}", w.asked);
    assert!(w.client.link_counters(0).unwrap().repeated > 20);
}

#[test]
fn silence_ends_in_unreachable_by_the_deadline_and_then_at_once() {
    let mut w = World::new(1, false, Limits::default(), 512);
    w.ends[0].1 = false;
    let id = w.ask(1, None).unwrap();
    w.run(4_000);
    assert_eq!(w.events, [(3_501, AaaEvent { id, outcome: Err(Unreachable) })]);
    assert_eq!(w.client.health(0), Some(Health::Down));
    // Down: a canary now and then, the others told at once; s11 waits.
    let canary = w.account().unwrap();
    let s11 = w.account().unwrap();
    let before = w.events.len();
    for n in 0..50 {
        w.ask(n, None).unwrap();
    }
    w.settle();
    assert_eq!(w.events.len() - before, 50);
    assert_eq!(w.client.in_flight(), 2);
    // Back: probes find out, s11 arrives, and there was no storm.
    w.ms = 10_000;
    w.ends[0].1 = true;
    let sent = w.client.link_counters(0).unwrap().sent;
    w.run(13_000);
    assert_eq!(w.client.health(0), Some(Health::Up));
    for id in [canary, s11] {
        assert!(w.events.iter().any(|(_, e)| e.id == id && e.outcome == Ok(AaaAnswer::Recorded)));
    }
    assert!(w.client.link_counters(0).unwrap().sent - sent < 12);
    let id = w.ask(99, None).unwrap();
    w.settle();
    assert!(w.rand_of(id).is_some());
}

#[test]
fn the_second_server_takes_over_and_the_first_gets_it_back() {
    let mut w = World::new(2, false, Limits::default(), 512);
    w.ends[0].1 = false;
    let ids: Vec<_> = (0..20).map(|n| w.ask(n, None).unwrap()).collect();
    w.run(3_400);
    for id in ids {
        assert!(w.rand_of(id).is_some(), "{id:?} answered by the second before its deadline");
    }
    assert_eq!((w.client.health(0), w.client.health(1)), (Some(Health::Down), Some(Health::Up)));
    let second = w.client.link_counters(1).unwrap().answers;
    assert_eq!(second, 20);
    w.ends[0].1 = true;
    w.run(8_000);
    assert_eq!(w.client.health(0), Some(Health::Up));
    let id = w.ask(1, None).unwrap();
    w.settle();
    assert!(w.rand_of(id).is_some());
    assert_eq!(w.client.link_counters(1).unwrap().answers, second);
}

#[test]
fn windows_queues_and_identifiers_are_bounded() {
    let limits = Limits { authenticate: 700, account: 2, ..Limits::default() };
    let mut w = World::new(1, false, limits, 600);
    for n in 0..700 {
        w.ask(n, None).unwrap();
    }
    assert_eq!(w.ask(700, None), Err(Refused::Busy));
    w.account().unwrap();
    w.account().unwrap();
    assert_eq!(w.account(), Err(Refused::Busy));
    // Two source ports are 512 identifiers, whatever the window allows.
    let mut out = BTreeSet::new();
    let mut packets = Vec::new();
    while let Some(Effect::Send { lane, bytes, .. }) = w.client.poll_effect() {
        assert!(out.insert((lane, bytes[1])), "an identifier twice in flight");
        packets.push(lane);
    }
    assert_eq!(out.len(), 512);
    w.run(3_400);
    assert_eq!(w.events.len(), 702);
    assert!(w.events.iter().all(|(_, e)| e.outcome.is_ok()));
}

#[test]
fn answers_from_elsewhere_late_or_altered_change_nothing() {
    let mut w = World::new(1, false, Limits::default(), 512);
    w.ask(1, None).unwrap();
    let Some(Effect::Send { lane, to, bytes }) = w.client.poll_effect() else { panic!() };
    let bytes = bytes.to_vec();
    let origin = Origin::Datagram { peer: "192.0.2.1:5000".parse().unwrap(), port: Port::Auth };
    let now = w.now();
    let Received::Asked { ticket, .. } = w.ends[0].0.on_packet(now, &origin, &bytes) else { panic!() };
    let s4 = S4 { rand: [1; 16], auth_c: [1; 32], ekc: [1; 48], eksp: [1; 48] };
    let good = w.ends[0].0.answer(now, ticket, &AaaAnswer::Vector(s4)).unwrap().1.to_vec();
    w.client.on_packet(now, lane, "192.0.2.99:1812".parse().unwrap(), &good);
    w.client.on_packet(now, LaneId { lane: 1, ..lane }, to, &good);
    for bit in 0..good.len() * 8 {
        let mut bad = good.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        w.client.on_packet(now, lane, to, &bad);
    }
    for n in 0..good.len() {
        w.client.on_packet(now, lane, to, &good[..n]);
    }
    assert!(w.client.poll_event().is_none());
    w.client.on_packet(now, lane, to, &good);
    assert!(matches!(w.client.poll_event(), Some(AaaEvent { outcome: Ok(AaaAnswer::Vector(_)), .. })));
    w.client.on_packet(now, lane, to, &good);
    assert!(w.client.poll_event().is_none());
}

#[test]
fn a_connection_that_breaks_or_goes_silent_loses_nothing() {
    let mut w = World::new(1, true, Limits::default(), 512);
    let lane = |lane| LaneId { server: 0, lane };
    // Before the first connection questions wait.
    let a = w.ask(1, None).unwrap();
    w.settle();
    assert!(w.rand_of(a).is_none());
    let now = w.now();
    w.client.on_lane(now, lane(0), true);
    w.settle();
    assert!(w.rand_of(a).is_some());
    assert_eq!(w.client.link_counters(0).unwrap().downs, 0);
    // The one connection breaks with a question open, and a second one takes it.
    w.ends[0].1 = false;
    let b = w.ask(2, None).unwrap();
    w.settle();
    w.ends[0].1 = true;
    let now = w.now();
    w.client.on_lane(now, lane(1), true);
    w.client.on_lane(now, lane(0), false);
    w.settle();
    assert!(w.rand_of(b).is_some());
    // Silence on a live connection: given up after `dead_after`, and with no other left the server is down.
    w.ends[0].1 = false;
    let c = w.ask(3, None).unwrap();
    w.run(3_000);
    assert_eq!(w.closed, [lane(1)]);
    assert_eq!(w.client.health(0), Some(Health::Down));
    assert!(w.events.iter().any(|(_, e)| e.id == c && e.outcome == Err(Unreachable)));
    // An idle connection is probed, and given up when the probe goes unanswered.
    let now = w.now();
    w.client.on_lane(now, lane(0), true);
    w.run(60_000);
    assert_eq!(w.closed, [lane(1), lane(0)]);
    assert!(w.client.link_counters(0).unwrap().probes >= 1);
}

#[test]
fn rejection_is_an_answer_and_nonsense_is_refused_unsent() {
    let mut w = World::new(1, false, Limits::default(), 512);
    let now = w.now();
    let mut request = Authenticate {
        idc: "alice@example.test".into(),
        idsp: "sp1.example.test".into(),
        scheme: Scheme::Pkd1 { n1: N1::from_bits(1) },
        realm: "elsewhere.test".into(),
        uri: None,
        source: None,
    };
    let id = w.client.request(now, AaaRequest::Authenticate(request.clone())).unwrap();
    w.settle();
    assert_eq!(w.events, [(1, AaaEvent { id, outcome: Ok(AaaAnswer::Rejected) })]);
    request.idc = "two words".into();
    let refused = w.client.request(now, AaaRequest::Authenticate(request));
    assert_eq!(refused, Err(Refused::Malformed));
}

mod realms;
