//! The watchdog of a link against a peer that hangs, by hand.

use super::*;
use crate::client::link::Timing;
use crate::node::Node;
use crate::secret::SharedSecret;

struct Zeros;

impl Random for Zeros {
    fn fill(&mut self, out: &mut [u8]) {
        out.fill(0);
    }
}

fn at(mono_ms: u64) -> Now {
    Now { mono_ms, wall_ms: 0 }
}

fn peer() -> Node {
    Node { host: "relay.example.test".into(), realm: "example.test".into(), ..Node::default() }
}

fn link() -> DiameterLink {
    let auth = SocketAddr::from(([192, 0, 2, 1], 3_868));
    DiameterLink::new(LinkConfig {
        auth,
        acct: auth,
        secret: SharedSecret::new([]),
        nas_identifier: "ss1.example.test".into(),
        lanes: 1,
        window: 16,
        stream: true,
        node: Node { host: "ss1.example.test".into(), realm: "example.test".into(), ..Node::default() },
        realms: vec![],
        timing: Timing::default(),
    })
}

/// Commands sent; 0 for a close.
fn sent(link: &mut DiameterLink) -> Vec<(u32, Header)> {
    let mut all = Vec::new();
    let none = Header { flags: 0, code: 0, application: 0, hop_by_hop: 0, end_to_end: 0 };
    while let Some(effect) = link.poll_effect() {
        let header = match effect {
            LinkEffect::Send { bytes, .. } => Header::read(bytes).unwrap(),
            LinkEffect::Close { .. } => none,
        };
        all.push((header.code, header));
    }
    all
}

fn say(link: &mut DiameterLink, ms: u64, octets: &[u8]) {
    link.on_packet(at(ms), 0, SocketAddr::from(([192, 0, 2, 1], 3_868)), octets, &mut Zeros);
}

fn connect(link: &mut DiameterLink, ms: u64) {
    link.on_lane(at(ms), 0, true, &mut Zeros);
    let cer = sent(link)[0].1;
    say(link, ms, &base::cea(&cer, &peer(), core::net::Ipv4Addr::LOCALHOST.into(), result::SUCCESS));
}

fn record() -> Arc<AaaRequest> {
    Arc::new(AaaRequest::Account(crate::Account {
        idc: "a@example.test".into(),
        idsp: "sp1".into(),
        rand: [1; 16],
        ip: [192, 0, 2, 7].into(),
        event: portunus_keydist::steps::Registration::Start,
        softswitch: None,
    }))
}

#[test]
fn a_peer_that_hangs_is_found_soon_suspected_then_left_and_trusted_late() {
    let mut link = link();
    connect(&mut link, 0);
    assert_eq!(link.health(), Health::Up);
    assert!(link.submit(at(10), 1, &record(), false, &mut Zeros));
    assert_eq!(sent(&mut link)[0].0, dict::SERVER_ASSIGNMENT);
    // Nothing heard for dead_after: a DWR at once, and it is suspected when that is not answered either.
    link.on_timer(at(1_510), &mut Zeros);
    assert_eq!(sent(&mut link)[0].0, dict::WATCHDOG);
    link.on_timer(at(3_010), &mut Zeros);
    assert_eq!((link.health(), link.counters().downs), (Health::Down, 1));
    // A late word makes it a good one again.
    let dwr = base::dwr((9, 9), &peer());
    say(&mut link, 3_020, &dwr);
    assert_eq!((link.health(), sent(&mut link)[0].0), (Health::Up, dict::WATCHDOG));
    // Silence from here on: DWR, suspect, close; what was asked goes elsewhere.
    let mut closed = false;
    while let Some(due) = link.next_deadline() {
        link.on_timer(at(due), &mut Zeros);
        closed |= sent(&mut link).iter().any(|(code, _)| *code == 0);
    }
    assert!(closed && link.poll_lost() == Some(1));
    link.on_lane(at(100_000), 0, false, &mut Zeros);
    // Connected again it is trusted after `revive_after` DWAs.
    connect(&mut link, 100_000);
    for n in 0..Timing::default().revive_after {
        assert_eq!(link.health(), Health::Down, "{n}");
        let due = link.next_deadline().unwrap();
        link.on_timer(at(due), &mut Zeros);
        let dwr = sent(&mut link)[0].1;
        assert_eq!(dwr.code, dict::WATCHDOG);
        say(&mut link, due, &base::done(&dwr, &peer()));
    }
    assert_eq!(link.health(), Health::Up);
}

#[test]
fn no_cea_a_refusal_and_a_goodbye_end_it() {
    let mut waiting = link();
    waiting.on_lane(at(0), 0, true, &mut Zeros);
    sent(&mut waiting);
    waiting.on_timer(at(CAPABILITIES_MS), &mut Zeros);
    assert_eq!((sent(&mut waiting)[0].0, waiting.health()), (0, Health::Down));

    let mut refused = link();
    refused.on_lane(at(0), 0, true, &mut Zeros);
    let cer = sent(&mut refused)[0].1;
    let cea = base::cea(&cer, &peer(), core::net::Ipv4Addr::LOCALHOST.into(), result::UNKNOWN_PEER);
    say(&mut refused, 1, &cea);
    assert_eq!((sent(&mut refused)[0].0, refused.counters().untrusted), (0, 1));

    let mut left = link();
    connect(&mut left, 0);
    say(&mut left, 1, &base::dpr((1, 1), &peer()));
    assert_eq!((sent(&mut left)[0].0, left.health()), (dict::DISCONNECT, Health::Down));
    assert!(!left.submit(at(2), 1, &record(), false, &mut Zeros));
    // What nobody asks a client is said to be unknown.
    let mut asked = link();
    connect(&mut asked, 0);
    let names = Names { hop_by_hop: 1, end_to_end: 1, session: "s", again: false };
    say(&mut asked, 1, &cx::write_request(&record(), &peer(), names));
    let LinkEffect::Send { bytes, .. } = asked.poll_effect().unwrap() else { panic!() };
    assert_eq!(Message::parse(bytes).unwrap().avps().number(&dict::RESULT_CODE), Some(result::COMMAND_UNSUPPORTED));
}
