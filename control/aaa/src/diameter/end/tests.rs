//! Both ends of a connection against each other, without sockets.

use super::*;
use crate::client::link::{Health, Link, LinkConfig, LinkEffect, Timing};
use crate::diameter::link::DiameterLink;
use crate::exchange::{Authenticate, Scheme};
use crate::node::Node;
use crate::secret::SharedSecret;
use core::net::SocketAddr;
use portunus_keydist::ident::N1;
use portunus_keydist::steps::S4;

struct Dice(u64);

impl Random for Dice {
    fn fill(&mut self, out: &mut [u8]) {
        for b in out {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            *b = (self.0 >> 56) as u8;
        }
    }
}

pub(in crate::diameter) const AT: SocketAddr =
    SocketAddr::new(IpAddr::V4(core::net::Ipv4Addr::new(192, 0, 2, 10)), 3_868);

fn at(mono_ms: u64) -> Now {
    Now { mono_ms, wall_ms: 0 }
}

fn node(host: &str) -> Node {
    Node { host: host.into(), realm: "example.test".into(), state_id: 1, first_end_to_end: 0x10, ..Node::default() }
}

fn link() -> DiameterLink {
    DiameterLink::new(LinkConfig {
        auth: AT,
        acct: AT,
        secret: SharedSecret::new([]),
        nas_identifier: "ss1.example.test".into(),
        lanes: 1,
        window: 2,
        stream: true,
        node: node("ss1.example.test"),
        realms: vec!["example.test".into()],
        timing: Timing::default(),
    })
}

fn end() -> DiameterEnd {
    let realms = vec!["example.test".into()];
    let config = EndConfig { node: node("auc.example.test"), realms, hosts_proven: true, ..EndConfig::default() };
    DiameterEnd::new(config, Box::new(Dice(1)))
}

fn origin(connection: u64) -> Origin {
    Origin::Stream { connection, name: "ss1.example.test".into() }
}

fn question(realm: &str) -> Arc<AaaRequest> {
    Arc::new(AaaRequest::Authenticate(Authenticate {
        idc: "alice@example.test".into(),
        idsp: "sp1.example.test".into(),
        scheme: Scheme::Pkd1 { n1: N1::from_bits(1) },
        realm: realm.into(),
        uri: None,
        source: None,
    }))
}

const S4_ANSWER: AaaAnswer = AaaAnswer::Vector(S4 { rand: [1; 16], auth_c: [2; 32], ekc: [3; 48], eksp: [4; 48] });

/// What a link sends; `None` in the place of a close.
fn sent(link: &mut DiameterLink) -> Vec<Option<Vec<u8>>> {
    let mut all = Vec::new();
    while let Some(effect) = link.poll_effect() {
        all.push(match effect {
            LinkEffect::Send { bytes, .. } => Some(bytes.to_vec()),
            LinkEffect::Close { .. } => None,
        });
    }
    all
}

fn code(octets: &[u8]) -> u32 {
    Message::parse(octets).unwrap().avps().number(&dict::RESULT_CODE).unwrap()
}

fn answer_to(end: &mut DiameterEnd, now: Now, connection: u64, octets: &[u8]) -> Vec<u8> {
    match end.on_packet(now, &origin(connection), octets) {
        Received::Answer(a) => a.to_vec(),
        other => panic!("{other:?}"),
    }
}

/// Connects a link to an end as this connection.
fn connect(link: &mut DiameterLink, end: &mut DiameterEnd, now: Now, connection: u64) {
    end.on_connection(now, connection, Some(AT.ip()));
    link.on_lane(now, 0, true, &mut Dice(2));
    let cer = sent(link).pop().flatten().unwrap();
    let cea = answer_to(end, now, connection, &cer);
    link.on_packet(now, 0, AT, &cea, &mut Dice(3));
}

#[test]
fn a_question_goes_there_and_back_and_the_window_bounds() {
    let (mut link, mut end) = (link(), end());
    assert!(!link.submit(at(0), 1, &question("example.test"), false, &mut Dice(1)), "nothing before a CEA");
    connect(&mut link, &mut end, at(0), 1);
    assert_eq!(link.health(), Health::Up);
    for key in [1, 2] {
        assert!(link.submit(at(1), key, &question("example.test"), false, &mut Dice(1)));
    }
    assert!(!link.submit(at(1), 3, &question("example.test"), false, &mut Dice(1)), "the window is full");
    let mar = sent(&mut link)[0].clone().unwrap();
    let Received::Asked { ticket, client, request } = end.on_packet(at(1), &origin(1), &mar) else { panic!() };
    assert_eq!((&*client, &request), ("ss1.example.test", &*question("example.test")));
    let (_, maa) = end.answer(at(2), ticket, &S4_ANSWER).unwrap();
    link.on_packet(at(2), 0, AT, maa, &mut Dice(1));
    assert_eq!(link.poll_answer(), Some((1, S4_ANSWER)));
    // A stray copy of it answers nothing.
    let maa = cx::write_answer(&Repeated::of(&Message::parse(&mar).unwrap()), &node("auc.example.test"), &S4_ANSWER);
    link.on_packet(at(2), 0, AT, &maa, &mut Dice(1));
    assert_eq!((link.poll_answer(), link.counters().stray), (None, 1));
}

#[test]
fn what_moves_bears_t_and_gets_the_same_answer_by_the_newest_way() {
    let (mut first, mut second, mut end) = (link(), link(), end());
    connect(&mut first, &mut end, at(0), 1);
    assert!(first.submit(at(1), 5, &question("example.test"), false, &mut Dice(1)));
    let mar = sent(&mut first)[0].clone().unwrap();
    let Received::Asked { ticket, .. } = end.on_packet(at(1), &origin(1), &mar) else { panic!() };
    first.on_lane(at(2), 0, false, &mut Dice(1));
    assert_eq!((first.poll_lost(), first.health()), (Some(5), Health::Down));
    end.on_connection(at(2), 1, None);
    connect(&mut second, &mut end, at(3), 2);
    assert!(second.submit(at(3), 5, &question("example.test"), true, &mut Dice(1)));
    let again = sent(&mut second)[0].clone().unwrap();
    let (a, b) = (Header::read(&mar).unwrap(), Header::read(&again).unwrap());
    assert_eq!((a.end_to_end, a.flags | 0x10), (b.end_to_end, b.flags));
    // Still being made: nobody is asked twice, and the answer takes the second way.
    assert_eq!(end.on_packet(at(3), &origin(2), &again), Received::Nothing);
    let (way, maa) = end.answer(at(4), ticket, &S4_ANSWER).map(|(o, b)| (o, b.to_vec())).unwrap();
    assert_eq!(way, origin(2));
    second.on_packet(at(4), 0, AT, &maa, &mut Dice(1));
    assert_eq!(second.poll_answer(), Some((5, S4_ANSWER)));
    // Made: a third copy, with another relay's Proxy-Info and Hop-by-Hop Identifier, gets it with those.
    let mut third = again.clone();
    third[12..16].copy_from_slice(&77u32.to_be_bytes());
    let mut info = super::super::Builder::bare();
    info.group(&dict::PROXY_INFO, |g| {
        g.text(&dict::PROXY_HOST, "r.test").put(&dict::PROXY_STATE, b"xyz");
    });
    let info = info.take();
    third.extend_from_slice(&info);
    let len = third.len() as u32;
    third[1..4].copy_from_slice(&len.to_be_bytes()[1..]);
    let maa = answer_to(&mut end, at(5), 2, &third);
    assert!(maa.ends_with(&info) && Header::read(&maa).unwrap().hop_by_hop == 77);
    assert_eq!((end.counters().asked, end.counters().repeated, end.counters().waiting), (1, 1, 1));
}

fn with(octets: &[u8], def: &'static dict::AvpDef, value: &str) -> Vec<u8> {
    let mut b = super::super::Builder::bare();
    b.wire(octets).text(def, value);
    let mut out = b.take();
    let len = out.len() as u32;
    out[1..4].copy_from_slice(&len.to_be_bytes()[1..]);
    out
}

#[test]
fn what_is_for_others_is_said_so() {
    let (mut link, mut end) = (link(), end());
    connect(&mut link, &mut end, at(0), 1);
    let ask = |realm: &str| {
        let names = cx::Names { hop_by_hop: 1, end_to_end: 2, session: "s", again: false };
        let octets = cx::write_request(&question(realm), &node("ss1.example.test"), names);
        assert!(link.leads_to("Example.test") && !link.leads_to("other.test"));
        octets
    };
    let (good, foreign) = (ask("example.test"), ask("other.test"));
    for (octets, expected, proto_error) in [
        (with(&good, &dict::DESTINATION_HOST, "elsewhere.test"), result::UNABLE_TO_DELIVER, true),
        (with(&good, &dict::ROUTE_RECORD, "AUC.example.test"), result::LOOP_DETECTED, true),
        (foreign, result::INVALID_AVP_VALUE, false),
    ] {
        let answer = answer_to(&mut end, at(1), 1, &octets);
        assert_eq!(code(&answer), expected);
        assert_eq!(answer[4] & 0x20 != 0, proto_error);
    }
    // A proxy that is not served.
    let Received::Asked { ticket, .. } = end.on_packet(at(1), &origin(1), &good) else { panic!() };
    let (_, maa) = end.answer(at(1), ticket, &AaaAnswer::Rejected).unwrap();
    assert_eq!(code(maa), result::AUTHORIZATION_REJECTED);
}

#[test]
fn a_relay_that_cannot_deliver_is_left_for_another() {
    let (mut link, mut end) = (link(), end());
    connect(&mut link, &mut end, at(0), 1);
    assert!(link.submit(at(1), 1, &question("example.test"), false, &mut Dice(1)));
    let mar = sent(&mut link)[0].clone().unwrap();
    let answer = answer_to(&mut end, at(1), 1, &with(&mar, &dict::DESTINATION_HOST, "elsewhere.test"));
    link.on_packet(at(1), 0, AT, &answer, &mut Dice(1));
    assert_eq!((link.poll_refused(), link.poll_answer()), (Some(1), None));
}

#[test]
fn strangers_and_early_talk_are_not_listened_to() {
    let mut end = end();
    end.on_connection(at(0), 1, Some(AT.ip()));
    let dwr = base::dwr((1, 1), &node("ss1.example.test"));
    assert_eq!(end.on_packet(at(0), &origin(1), &dwr), Received::Close);
    for (host, expected) in [
        // The certificate says another name; our own name.
        ("ss2.example.test", result::UNKNOWN_PEER),
        ("auc.example.test", result::UNKNOWN_PEER),
    ] {
        end.on_connection(at(0), 2, Some(AT.ip()));
        let cea = answer_to(&mut end, at(0), 2, &base::cer((1, 1), &node(host)));
        assert_eq!(code(&cea), expected);
        end.on_timer(at(0));
        assert_eq!(end.poll_effect(), Some(EndEffect::Close { connection: 2 }));
        end.on_connection(at(0), 2, None);
    }
    // Nobody who says nothing stays.
    end.on_timer(at(PATIENCE_MS));
    assert_eq!(end.poll_effect(), Some(EndEffect::Close { connection: 1 }));
    // A peer without our application.
    let mut b =
        super::super::Builder::new(&Header { flags: 0x80, code: 257, application: 0, hop_by_hop: 1, end_to_end: 1 });
    base::from(&mut b, &node("ss1.example.test"));
    b.put(&dict::HOST_IP_ADDRESS, &[0, 1, 127, 0, 0, 1]).number(&dict::VENDOR_ID, 0).text(&dict::PRODUCT_NAME, "x");
    end.on_connection(at(0), 3, Some(AT.ip()));
    let cea = answer_to(&mut end, at(0), 3, &b.finish());
    assert_eq!(code(&cea), result::NO_COMMON_APPLICATION);
}

#[test]
fn a_host_that_connects_again_replaces_its_former_connection() {
    let (mut one, mut two, mut end) = (link(), link(), end());
    connect(&mut one, &mut end, at(0), 1);
    connect(&mut two, &mut end, at(1), 2);
    assert_eq!(end.poll_effect(), Some(EndEffect::Close { connection: 1 }));
    assert_eq!(end.poll_effect(), None);
}

#[test]
fn the_server_watches_too_and_both_say_goodbye() {
    let (mut link, mut end) = (link(), end());
    connect(&mut link, &mut end, at(0), 1);
    let due = end.next_deadline().unwrap();
    end.on_timer(at(due));
    let Some(EndEffect::Send { octets, .. }) = end.poll_effect() else { panic!("a DWR") };
    link.on_packet(at(due), 0, AT, &octets, &mut Dice(1));
    let dwa = sent(&mut link)[0].clone().unwrap();
    assert_eq!(end.on_packet(at(due), &origin(1), &dwa), Received::Nothing);
    // Three silent intervals, and it is closed.
    for _ in 0..3 {
        end.on_timer(at(end.next_deadline().unwrap()));
    }
    let effects: Vec<_> = std::iter::from_fn(|| end.poll_effect()).collect();
    assert_eq!(effects.last(), Some(&EndEffect::Close { connection: 1 }));
    end.on_connection(at(due), 1, None);
    connect(&mut link, &mut end, at(due), 2);
    link.farewell();
    let dpr = sent(&mut link).pop().flatten().unwrap();
    let dpa = answer_to(&mut end, at(due), 2, &dpr);
    assert_eq!(code(&dpa), result::SUCCESS);
    assert_eq!(end.on_packet(at(due), &origin(2), &dpr), Received::Nothing, "nothing after a goodbye");
}
