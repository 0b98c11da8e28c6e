use super::*;
use crate::diameter::cx::{self, Names};
use crate::exchange::{
    AaaAnswer, AaaRequest, Account, Authenticate, DigestAlgorithm, DigestVector, DigestWord, Scheme,
};
use crate::node::Node;
use portunus_keydist::ident::N1;
use portunus_keydist::steps::{Registration, S4};
use proptest::prelude::*;

fn node() -> Node {
    Node { host: "ss1.example.test".into(), realm: "example.test".into(), state_id: 7, ..Node::default() }
}

fn s3(scheme: Scheme) -> AaaRequest {
    let uri = matches!(scheme, Scheme::Digest { .. }).then(|| "sip:example.test".to_owned());
    AaaRequest::Authenticate(Authenticate {
        idc: "alice@example.test".into(),
        idsp: "sp1.example.test".into(),
        scheme,
        realm: "example.test".into(),
        uri,
        source: None,
    })
}

fn s11(ip: &str, event: Registration) -> AaaRequest {
    let (idc, idsp) = ("gw1.example.test".into(), "sp1.example.test".into());
    AaaRequest::Account(Account { idc, idsp, rand: [9; 16], ip: ip.parse().unwrap(), event, softswitch: None })
}

fn written(request: &AaaRequest) -> Vec<u8> {
    let names = Names { hop_by_hop: 1, end_to_end: 2, session: "ss1.example.test;7;1", again: false };
    cx::write_request(request, &node(), names)
}

fn requests() -> Vec<AaaRequest> {
    vec![
        s3(Scheme::Pkd1 { n1: N1::from_bits(1) }),
        s3(Scheme::Digest { algorithm: DigestAlgorithm::Md5 }),
        s11("192.0.2.7", Registration::Start),
        s11("2001:db8::1", Registration::Refresh),
        s11("192.0.2.7", Registration::Stop),
    ]
}

fn answers() -> Vec<AaaAnswer> {
    let word = DigestWord::Md5([3; 16]);
    vec![
        AaaAnswer::Vector(S4 { rand: [1; 16], auth_c: [2; 32], ekc: [3; 48], eksp: [4; 48] }),
        AaaAnswer::Digest(DigestVector { rand: [1; 16], word }),
        AaaAnswer::Recorded,
        AaaAnswer::Recorded,
        AaaAnswer::Rejected,
    ]
}

#[test]
fn what_is_written_is_read_again() {
    for (request, answer) in requests().iter().zip(answers()) {
        let octets = written(request);
        let message = Message::parse(&octets).unwrap();
        message.check().unwrap();
        let read = cx::read_request(&message).unwrap();
        if let AaaRequest::Account(account) = &read {
            assert_eq!(account.softswitch.as_deref(), Some(&*node().host));
        }
        assert_eq!(&read.as_asked(), request);
        let back = cx::write_answer(&cx::Asked::of(&message), &node(), &answer);
        let back = Message::parse(&back).unwrap();
        back.check().unwrap();
        assert_eq!((back.header.hop_by_hop, back.header.end_to_end), (1, 2));
        assert_eq!(cx::read_answer(&back, request), Ok(cx::Reply::Answer(answer)));
    }
}

/// A message cut at any octet, or whose length says so, is no message; and a stream waits for its rest.
#[test]
fn every_length_but_the_right_one_is_refused() {
    let octets = written(&requests()[0]);
    for len in 0..octets.len() {
        assert!(Message::parse(&octets[..len]).is_err(), "{len}");
        assert_eq!(frame(&octets[..len]), Ok(None));
        let mut shorter = octets[..len].to_vec();
        if len >= 4 {
            shorter[1..4].copy_from_slice(&(len as u32).to_be_bytes()[1..]);
            let framed = frame(&shorter);
            assert_eq!(framed, if len < HEADER_LEN { Err(BadLength) } else { Ok(Some(len)) });
            // Cut between two AVPs it can be read, and lacks something.
            assert!(Message::parse(&shorter).and_then(|m| m.check()).is_err(), "{len}");
        }
    }
    let mut long = octets.clone();
    long[1..4].copy_from_slice(&[0xff; 3]);
    assert_eq!(frame(&long), Err(BadLength));
}

/// Each AVP's length at every value near its own: below its header's it is named, and whatever follows from the others
/// is refused or read as it stands, by both ends.
#[test]
fn an_avp_with_another_length_harms_nobody() {
    let octets = written(&requests()[0]);
    let mut at = HEADER_LEN;
    while at < octets.len() {
        let len = u32::from_be_bytes([0, octets[at + 5], octets[at + 6], octets[at + 7]]);
        let head = if octets[at + 4] & VENDOR != 0 { 12 } else { 8 };
        for other in 0..len.next_multiple_of(4) + 64 {
            let mut bad = octets.clone();
            bad[at + 5..at + 8].copy_from_slice(&other.to_be_bytes()[1..]);
            if other < head || at + other as usize > bad.len() {
                let fault = Message::parse(&bad).unwrap_err();
                assert_eq!((fault.code, &fault.avp[..4]), (5_014, &octets[at..at + 4]));
            }
            crate::fuzz::diameter(&bad);
        }
        at += len.next_multiple_of(4) as usize;
    }
    assert_eq!(at, octets.len());
}

fn base(flags: u8) -> Header {
    Header { flags, code: dict::WATCHDOG, application: dict::BASE, hop_by_hop: 0, end_to_end: 0 }
}

fn fault_of(header: &Header, fill: impl FnOnce(&mut crate::diameter::Builder)) -> (u32, Vec<u8>) {
    let mut b = crate::diameter::Builder::new(header);
    b.text(&dict::ORIGIN_HOST, "a.test").text(&dict::ORIGIN_REALM, "test");
    fill(&mut b);
    let fault = Message::parse(&b.finish()).and_then(|m| m.check()).unwrap_err();
    (fault.code, fault.avp)
}

#[test]
fn faults_are_named_as_the_rfc_names_them() {
    let dwr = base(flag::REQUEST);
    // Unknown and mandatory, on top or in a group; unknown and optional is skipped.
    let (code, avp) = fault_of(&dwr, |b| {
        b.raw(9_999, 0, true, b"x");
    });
    assert_eq!((code, &avp[..]), (5_001, &[0, 0, 0x27, 0x0f, 0x40, 0, 0, 9, b'x', 0, 0, 0][..]));
    let nested = |b: &mut crate::diameter::Builder| {
        b.group(&dict::VENDOR_SPECIFIC_APPLICATION_ID, |g| {
            g.raw(9_999, 10_415, true, b"");
        });
    };
    assert_eq!(fault_of(&dwr, nested).0, 5_001);
    let mut fine = crate::diameter::Builder::new(&dwr);
    fine.text(&dict::ORIGIN_HOST, "a.test").text(&dict::ORIGIN_REALM, "test").raw(9_999, 0, false, b"x");
    let fine = fine.finish();
    Message::parse(&fine).and_then(|m| m.check()).unwrap();
    // Twice, of a wrong length, not UTF-8, an address of no family, V without a vendor, missing.
    assert_eq!(
        fault_of(&dwr, |b| {
            b.text(&dict::ORIGIN_HOST, "b.test");
        })
        .0,
        5_009
    );
    assert_eq!(
        fault_of(&dwr, |b| {
            b.put(&dict::ORIGIN_STATE_ID, &[1; 5]);
        })
        .0,
        5_014
    );
    assert_eq!(
        fault_of(&dwr, |b| {
            b.put(&dict::PRODUCT_NAME, &[0xff]);
        })
        .0,
        5_004
    );
    assert_eq!(
        fault_of(&dwr, |b| {
            b.put(&dict::HOST_IP_ADDRESS, &[0]);
        })
        .0,
        5_004
    );
    assert_eq!(
        fault_of(&dwr, |b| {
            b.wire(&[0, 0, 1, 1, 0x80, 0, 0, 12, 0, 0, 0, 0]);
        })
        .0,
        3_009
    );
    let dpr = Header { code: dict::DISCONNECT, ..dwr };
    let (code, avp) = fault_of(&dpr, |_| {});
    assert_eq!((code, &avp[..]), (5_005, &[0, 0, 1, 17, 0x40, 0, 0, 12, 0, 0, 0, 0][..]));
    // The header: version, command, application, bits.
    assert_eq!(fault_of(&Header { code: 999, ..dwr }, |_| {}).0, 3_001);
    assert_eq!(fault_of(&Header { application: 4, ..dwr }, |_| {}).0, 3_007);
    assert_eq!(fault_of(&base(flag::REQUEST | flag::ERROR), |_| {}).0, 3_008);
    assert_eq!(fault_of(&base(flag::REQUEST | flag::PROXIABLE), |_| {}).0, 3_008);
    let mut old = fine.clone();
    old[0] = 2;
    assert_eq!(Message::parse(&old).unwrap_err().code, 5_011);
}

#[test]
fn groups_in_groups_end_somewhere() {
    let mut group = vec![0u8; 0];
    for _ in 0..2_000 {
        let mut b = crate::diameter::Builder::bare();
        b.put(&dict::PROXY_INFO, &group);
        group = b.take();
    }
    assert_eq!(
        fault_of(&base(flag::REQUEST), |b| {
            b.wire(&group);
        })
        .0,
        5_004
    );
}

proptest! {
    #[test]
    fn arbitrary_octets_hold(octets in proptest::collection::vec(any::<u8>(), 0..300)) {
        crate::fuzz::diameter(&octets);
    }

    #[test]
    fn altered_messages_hold(
        which in 0..5usize, edits in proptest::collection::vec((any::<usize>(), any::<u8>()), 0..6),
    ) {
        let mut octets = written(&requests()[which]);
        for (at, value) in edits {
            let at = at % octets.len();
            octets[at] = value;
        }
        crate::fuzz::diameter(&octets);
    }
}
