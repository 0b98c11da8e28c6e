use super::*;
use crate::secret::SharedSecret;
use proptest::prelude::*;
use std::sync::Arc;

fn secret() -> SharedSecret {
    SharedSecret::new(*b"sixteen octets!!")
}

fn arb_idc() -> impl Strategy<Value = String> {
    "[a-zA-Z0-9.@:\\[\\]<>é_-]{1,60}"
}

fn arb_authenticate() -> impl Strategy<Value = Authenticate> {
    let scheme = prop_oneof![
        any::<u64>().prop_map(|bits| Scheme::Pkd1 { n1: N1::from_bits(bits) }),
        Just(Scheme::Digest { algorithm: DigestAlgorithm::Sha256 }),
        Just(Scheme::Digest { algorithm: DigestAlgorithm::Md5 }),
    ];
    (arb_idc(), "[A-Za-z0-9._:\\[\\]-]{1,63}", scheme, "[a-z0-9. -]{1,253}", "sip:[a-z0-9.@;=]{1,249}").prop_map(
        |(idc, idsp, scheme, realm, uri)| Authenticate {
            idc,
            idsp,
            scheme,
            realm: Arc::from(realm),
            uri: Some(uri),
            source: None,
        },
    )
}

fn arb_account() -> impl Strategy<Value = Account> {
    let event = prop_oneof![Just(Registration::Start), Just(Registration::Refresh), Just(Registration::Stop)];
    (arb_idc(), "[A-Za-z0-9._:-]{1,63}", any::<[u8; 16]>(), any::<IpAddr>(), event)
        .prop_map(|(idc, idsp, rand, ip, event)| Account { idc, idsp, rand, ip, event, softswitch: None })
}

fn arb_answer() -> impl Strategy<Value = AaaAnswer> {
    (any::<Rand>(), any::<[u8; 32]>(), any::<[u8; 32]>(), 0..3u8).prop_map(|(rand, a, b, which)| {
        let wrap = |x: u8| core::array::from_fn(|i| b[i % 32].wrapping_add(x).wrapping_mul(i as u8 | 1));
        match which {
            0 => AaaAnswer::Vector(S4 { rand, auth_c: a, ekc: wrap(1), eksp: wrap(2) }),
            1 => AaaAnswer::Digest(DigestVector { rand, word: DigestWord::Sha256(a) }),
            _ => AaaAnswer::Digest(DigestVector { rand, word: DigestWord::Md5(a[..16].try_into().unwrap()) }),
        }
    })
}

fn asked_for(answer: &AaaAnswer) -> AaaRequest {
    let scheme = match answer {
        AaaAnswer::Digest(d) => Scheme::Digest { algorithm: d.word.algorithm() },
        _ => Scheme::Pkd1 { n1: N1::from_bits(7) },
    };
    AaaRequest::Authenticate(Authenticate {
        idc: "alice@example.test".into(),
        idsp: "sp1.example.test".into(),
        scheme,
        realm: "example.test".into(),
        uri: None,
        source: None,
    })
}

fn octets_of(request: &AaaRequest) -> Vec<u8> {
    let mut b = Builder::new(Vec::new(), code_of(request), 3);
    write_request(&mut b, request, "ss1.example.test", None);
    b.finish_request(&[4; 16], &secret()).unwrap()
}

proptest! {
    #[test]
    fn every_s3_comes_back(a in arb_authenticate()) {
        let request = AaaRequest::Authenticate(a);
        prop_assert!(request.is_well_formed());
        let octets = octets_of(&request);
        let packet = Packet::parse(&octets).unwrap();
        crate::radius::check_request(&packet, &secret()).unwrap();
        prop_assert_eq!(read_request(&packet), Ok(request));
    }

    #[test]
    fn every_s11_comes_back(a in arb_account()) {
        let octets = octets_of(&AaaRequest::Account(a.clone()));
        let packet = Packet::parse(&octets).unwrap();
        crate::radius::check_request(&packet, &secret()).unwrap();
        let softswitch = Some("ss1.example.test".to_owned());
        prop_assert_eq!(read_request(&packet), Ok(AaaRequest::Account(Account { softswitch, ..a })));
    }

    #[test]
    fn every_answer_comes_back(answer in arb_answer()) {
        let asked = asked_for(&answer);
        let mut b = Builder::new(Vec::new(), code_of_answer(&answer), 3);
        write_answer(&mut b, &answer, "example.test", b"state");
        let octets = b.finish_answer(&[4; 16], &secret()).unwrap();
        let packet = Packet::parse(&octets).unwrap();
        crate::radius::check_answer(&packet, (Code::AccessRequest, &[4; 16]), &secret()).unwrap();
        prop_assert_eq!(read_answer(&packet, &asked), Ok(answer));
    }

    #[test]
    fn arbitrary_attributes_never_trip_a_reader(
        attrs in proptest::collection::vec((any::<u8>(), proptest::collection::vec(any::<u8>(), 1..40)), 0..12),
        code in prop_oneof![Just(Code::AccessRequest), Just(Code::AccountingRequest), Just(Code::AccessChallenge)],
    ) {
        let mut b = Builder::new(Vec::new(), code, 3);
        for (kind, value) in &attrs {
            b.put(*kind, value);
        }
        let octets = b.finish_request(&[0; 16], &secret()).unwrap();
        let packet = Packet::parse(&octets).unwrap();
        let _ = read_request(&packet);
        let _ = read_answer(&packet, &asked_for(&AaaAnswer::Rejected));
    }
}

/// What the spec says, attribute by attribute, read without the reader.
#[test]
fn s3_looks_as_specified() {
    let request = asked_for(&AaaAnswer::Rejected);
    let octets = octets_of(&request);
    let packet = Packet::parse(&octets).unwrap();
    let seen: Vec<(u8, &[u8])> = packet.attributes().skip(1).map(|a| (a.kind, a.value)).collect();
    assert_eq!(packet.attributes().next().unwrap().kind, 80);
    assert_eq!(
        seen,
        [
            (1, b"alice@example.test".as_slice()),
            (32, b"ss1.example.test"),
            (104, b"example.test"),
            (108, b"REGISTER"),
            (109, b"sip:example.test"),
            (117, b"idsp=\"sp1.example.test\""),
            (117, b"n1=\"0000000000000007\""),
        ]
    );
}

#[test]
fn s4_looks_as_specified() {
    let s4 = S4 { rand: [0; 16], auth_c: [0xab; 32], ekc: [0xff; 48], eksp: [0; 48] };
    let mut b = Builder::new(Vec::new(), Code::AccessChallenge, 3);
    write_answer(&mut b, &AaaAnswer::Vector(s4), "example.test", b"s");
    let octets = b.finish_answer(&[4; 16], &secret()).unwrap();
    let packet = Packet::parse(&octets).unwrap();
    let kinds: Vec<u8> = packet.attributes().map(|a| a.kind).collect();
    assert_eq!(kinds, [80, 24, 104, 105, 111, 117, 117, 117]);
    let params: Vec<String> =
        packet.attributes().filter(|a| a.kind == 117).map(|a| String::from_utf8(a.value.to_vec()).unwrap()).collect();
    assert_eq!(params[0], format!("authc=\"{}\"", "ab".repeat(32)));
    assert_eq!(params[1], format!("ekc=\"{}\"", "_".repeat(64)));
    assert_eq!(params[2], format!("eksp=\"{}\"", "A".repeat(64)));
    assert_eq!(packet.only(105), Only::One(b"AAAAAAAAAAAAAAAAAAAAAA"));
}

/// Types and values, to be edited.
type Attributes = Vec<(u8, Vec<u8>)>;

#[test]
fn repeated_missing_or_foreign_attributes_are_named() {
    let good = asked_for(&AaaAnswer::Rejected);
    let read = |edit: &dyn Fn(&mut Attributes)| {
        let octets = octets_of(&good);
        let packet = Packet::parse(&octets).unwrap();
        let mut attrs: Attributes = packet.attributes().skip(1).map(|a| (a.kind, a.value.to_vec())).collect();
        edit(&mut attrs);
        let mut b = Builder::new(Vec::new(), Code::AccessRequest, 3);
        for (kind, value) in &attrs {
            b.put(*kind, value);
        }
        let octets = b.finish_request(&[0; 16], &secret()).unwrap();
        read_request(&Packet::parse(&octets).unwrap()).map_err(|m| m.what)
    };
    assert!(read(&|_| {}).is_ok());
    for (kind, what) in
        [(1, "User-Name"), (104, "Digest-Realm"), (108, "Digest-Method"), (109, "Digest-URI"), (117, "idsp")]
    {
        assert_eq!(read(&|a| a.retain(|x| x.0 != kind)), Err(what));
        assert_eq!(
            read(&|a| {
                let twice = a.iter().find(|x| x.0 == kind).cloned().unwrap();
                a.push(twice);
            }),
            Err(what)
        );
    }
    assert_eq!(read(&|a| a.push((103, b"00".to_vec()))), Err("Digest-Response"));
    assert_eq!(read(&|a| a.push((111, b"SHA-512".to_vec()))), Err("Digest-Algorithm"));
    assert_eq!(read(&|a| a.retain(|x| !x.1.starts_with(b"n1="))), Err("n1"));
    assert_eq!(read(&|a| a.push((117, b"n1=\"0000000000000008\"".to_vec()))), Err("n1"));
    assert_eq!(read(&|a| a.push((117, b"n1=0000000000000008".to_vec()))), Err("n1"));
    assert_eq!(read(&|a| a[3].1 = b"INVITE".to_vec()), Err("Digest-Method"));
    // Unknown parameters are for somebody else.
    assert!(read(&|a| a.push((117, b"other=\"x\"".to_vec()))).is_ok());
}
