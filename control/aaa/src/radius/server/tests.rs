use super::*;
use crate::exchange::{Account, Authenticate, Scheme};
use crate::radius::check_answer;
use crate::server::ClientEntry;
use portunus_keydist::SystemRandom;
use portunus_keydist::ident::N1;
use portunus_keydist::steps::{Registration, S4};

fn secret() -> SharedSecret {
    SharedSecret::new(*b"sixteen octets!!")
}

fn end() -> RadiusEnd {
    let host = ClientEntry::host("ss1", "192.0.2.1".parse().unwrap(), secret());
    let net = ClientEntry {
        name: "lab".into(),
        address: "192.0.2.0".parse().unwrap(),
        prefix: 24,
        secret: SharedSecret::new(*b"another secret!!"),
    };
    let config = EndConfig { clients: vec![net, host], cache: 4, cache_ms: 1_000, pending: 3, ..EndConfig::default() };
    RadiusEnd::new(config, Box::new(SystemRandom::new()))
}

fn from(ip: &str, port: Port) -> Origin {
    Origin::Datagram { peer: format!("{ip}:5000").parse().unwrap(), port }
}

fn at(ms: u64) -> Now {
    Now { mono_ms: ms, wall_ms: 0 }
}

fn s3() -> AaaRequest {
    AaaRequest::Authenticate(Authenticate {
        idc: "alice@example.test".into(),
        idsp: "sp1.example.test".into(),
        scheme: Scheme::Pkd1 { n1: N1::from_bits(1) },
        realm: "example.test".into(),
        uri: None,
        source: None,
    })
}

fn s11() -> AaaRequest {
    AaaRequest::Account(Account {
        idc: "alice@example.test".into(),
        idsp: "sp1.example.test".into(),
        rand: [3; 16],
        ip: "192.0.2.9".parse().unwrap(),
        event: Registration::Start,
        softswitch: None,
    })
}

fn packet(request: &AaaRequest, id: u8, authenticator: u8, extra: &[(u8, &[u8])], secret: &SharedSecret) -> Vec<u8> {
    let mut b = Builder::new(Vec::new(), carriage::code_of(request), id);
    carriage::write_request(&mut b, request, "ss1", None);
    for (kind, value) in extra {
        b.put(*kind, value);
    }
    b.finish_request(&[authenticator; 16], secret).unwrap()
}

fn vector(n: u8) -> AaaAnswer {
    AaaAnswer::Vector(S4 { rand: [n; 16], auth_c: [n; 32], ekc: [n; 48], eksp: [n; 48] })
}

#[test]
fn asked_once_answered_alike_and_again_for_something_new() {
    let mut end = end();
    let here = from("192.0.2.1", Port::Auth);
    let first = packet(&s3(), 1, 1, &[(PROXY_STATE, b"p1"), (PROXY_STATE, b"p2")], &secret());
    let Received::Asked { ticket, client, request } = end.on_packet(at(0), &here, &first) else { panic!() };
    assert_eq!(&*client, "ss1");
    let AaaRequest::Authenticate(asked) = &request else { panic!() };
    assert_eq!(asked.idc, "alice@example.test");
    // While it is being worked on a repetition is silence.
    assert_eq!(end.on_packet(at(1), &here, &first), Received::Nothing);
    let (to, octets) = end.answer(at(2), ticket, &vector(1)).unwrap();
    let octets = octets.to_vec();
    assert_eq!(to, here);
    let answer = Packet::parse(&octets).unwrap();
    check_answer(&answer, (Code::AccessRequest, &[1; 16]), &secret()).unwrap();
    assert_eq!(carriage::read_answer(&answer, &s3()), Ok(vector(1)));
    let proxies: Vec<&[u8]> = answer.attributes().filter(|a| a.kind == PROXY_STATE).map(|a| a.value).collect();
    assert_eq!(proxies, [b"p1", b"p2"]);
    // Afterwards it is the same octets, and a second answer to one ticket is nothing.
    assert_eq!(end.on_packet(at(3), &here, &first), Received::Answer(&octets));
    assert!(end.answer(at(4), ticket, &vector(2)).is_none());
    // The same identifier with another authenticator is another question.
    let second = packet(&s3(), 1, 2, &[], &secret());
    assert!(matches!(end.on_packet(at(5), &here, &second), Received::Asked { .. }));
    // And so is the first one after its time in the cache.
    assert!(matches!(end.on_packet(at(1_500), &here, &first), Received::Asked { .. }));
}

#[test]
fn state_is_repeated_or_made() {
    let mut end = end();
    let here = from("192.0.2.1", Port::Auth);
    for (n, extra) in [(1u8, vec![]), (2, vec![(attr::STATE, b"conversation".as_slice())])] {
        let octets = packet(&s3(), n, n, &extra, &secret());
        let Received::Asked { ticket, .. } = end.on_packet(at(0), &here, &octets) else { panic!() };
        let (_, octets) = end.answer(at(0), ticket, &vector(n)).unwrap();
        let Only::One(state) = Packet::parse(octets).unwrap().only(attr::STATE) else { panic!() };
        assert_eq!(state == b"conversation", n == 2);
    }
}

#[test]
fn strangers_forgers_and_wrong_ports_get_silence() {
    let mut end = end();
    let good = packet(&s3(), 1, 1, &[], &secret());
    assert_eq!(end.on_packet(at(0), &from("198.51.100.1", Port::Auth), &good), Received::Nothing);
    assert_eq!(end.counters().stranger, 1);
    // The network's secret is not the host's.
    assert_eq!(end.on_packet(at(0), &from("192.0.2.2", Port::Auth), &good), Received::Nothing);
    assert_eq!(end.on_packet(at(0), &from("192.0.2.1", Port::Acct), &good), Received::Nothing);
    let acct = packet(&s11(), 1, 1, &[], &secret());
    assert_eq!(end.on_packet(at(0), &from("192.0.2.1", Port::Auth), &acct), Received::Nothing);
    assert_eq!(end.counters().untrusted, 3);
    for n in 0..good.len() {
        assert_eq!(end.on_packet(at(0), &from("192.0.2.1", Port::Auth), &good[..n]), Received::Nothing);
    }
    for bit in 0..good.len() * 8 {
        let mut bad = good.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(end.on_packet(at(0), &from("192.0.2.1", Port::Auth), &bad), Received::Nothing, "bit {bit}");
    }
    assert_eq!(end.counters().asked, 0);
    // On a connection the same ends it.
    let stream = Origin::Stream { connection: 1, name: "ss1".into() };
    assert_eq!(end.on_packet(at(0), &stream, &good), Received::Close);
    let radsec = packet(&s3(), 1, 1, &[], &SharedSecret::radsec());
    assert!(matches!(end.on_packet(at(0), &stream, &radsec), Received::Asked { .. }));
}

#[test]
fn senseless_questions_are_rejected_and_probes_answered() {
    let mut end = end();
    let here = from("192.0.2.1", Port::Auth);
    let mut b = Builder::new(Vec::new(), Code::AccessRequest, 9);
    b.put(attr::USER_NAME, b"nemo");
    let pap = b.finish_request(&[7; 16], &secret()).unwrap();
    let Received::Answer(octets) = end.on_packet(at(0), &here, &pap) else { panic!() };
    let answer = Packet::parse(octets).unwrap();
    check_answer(&answer, (Code::AccessRequest, &[7; 16]), &secret()).unwrap();
    assert_eq!(answer.code(), Code::AccessReject);
    for (port, code) in [(Port::Auth, Code::AccessAccept), (Port::Acct, Code::AccountingResponse)] {
        let probe = Builder::new(Vec::new(), Code::StatusServer, 9).finish_request(&[8; 16], &secret()).unwrap();
        let Received::Answer(octets) = end.on_packet(at(0), &from("192.0.2.1", port), &probe) else { panic!() };
        let answer = Packet::parse(octets).unwrap();
        check_answer(&answer, (Code::StatusServer, &[8; 16]), &secret()).unwrap();
        assert_eq!(answer.code(), code);
    }
}

#[test]
fn nothing_grows_beyond_its_limit() {
    let mut end = end();
    let here = from("192.0.2.1", Port::Auth);
    for id in 0..3 {
        let octets = packet(&s3(), id, 1, &[], &secret());
        assert!(matches!(end.on_packet(at(0), &here, &octets), Received::Asked { .. }));
    }
    assert_eq!(end.on_packet(at(0), &here, &packet(&s3(), 3, 1, &[], &secret())), Received::Nothing);
    assert_eq!(end.counters().full, 1);
    for id in 10..200 {
        let octets = packet(&s3(), id, 1, &[], &secret());
        if let Received::Asked { ticket, .. } = end.on_packet(at(1_000), &here, &octets) {
            end.answer(at(1_000), ticket, &vector(1)).unwrap();
        }
        assert!(end.seen.len() <= 5 && end.pending.len() <= 3 && end.order.len() <= 5);
    }
}

#[test]
fn a_network_covers_its_addresses() {
    let covers = |net: &str, prefix, ip: &str| {
        ClientEntry { name: "x".into(), address: net.parse().unwrap(), prefix, secret: secret() }
            .covers(ip.parse().unwrap())
    };
    assert!(covers("192.0.2.0", 24, "192.0.2.255"));
    assert!(!covers("192.0.2.0", 24, "192.0.3.0"));
    assert!(covers("0.0.0.0", 0, "192.0.3.0"));
    assert!(covers("::", 0, "2001:db8::1"));
    assert!(!covers("::", 0, "192.0.3.0"));
    assert!(covers("2001:db8::", 32, "2001:db8:ffff::1"));
    assert!(!covers("2001:db8::1", 128, "2001:db8::2"));
}

#[test]
fn what_is_not_recorded_is_not_answered_and_may_be_asked_again() {
    let mut end = end();
    let here = from("192.0.2.1", Port::Acct);
    let octets = packet(&s11(), 1, 1, &[], &secret());
    let Received::Asked { ticket, .. } = end.on_packet(at(0), &here, &octets) else { panic!() };
    assert!(end.answer(at(0), ticket, &AaaAnswer::Rejected).is_none());
    let Received::Asked { ticket, .. } = end.on_packet(at(1), &here, &octets) else { panic!() };
    end.abandon(ticket);
    let Received::Asked { ticket, .. } = end.on_packet(at(2), &here, &octets) else { panic!() };
    let (_, answer) = end.answer(at(2), ticket, &AaaAnswer::Recorded).unwrap();
    assert_eq!(Packet::parse(answer).unwrap().code(), Code::AccountingResponse);
}
