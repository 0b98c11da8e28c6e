use super::*;
use crate::subscribers::InMemory;
use portunus_aaa::DigestWord;
use portunus_keydist::SystemRandom;
use portunus_keydist::ident::N1;
use portunus_keydist::schedule::{For, WrapCtx};
use portunus_keydist::steps::{Registration, S4};

const ALICE: &str = "alice@example.test";
const PHONE: &str = "phone@example.test";
const SP: &str = "sp1.example.test";

fn auc() -> Auc<InMemory> {
    let mut rng = SystemRandom::new();
    let mut subscribers = InMemory::new(&mut rng);
    subscribers.add_subscriber(ALICE, Credential::Key(Key::new([1; 32])));
    subscribers.add_subscriber(PHONE, Credential::Digest(Zeroizing::new(b"wonderland".to_vec())));
    subscribers.add_device(SP, Key::new([2; 32]));
    let config = AucConfig { realms: vec!["example.test".into()], digest_sha256: true, digest_md5: false };
    Auc::new(config, subscribers, &mut rng)
}

fn ask(idc: &str, idsp: &str, realm: &str, scheme: Scheme) -> AaaRequest {
    AaaRequest::Authenticate(Authenticate {
        idc: idc.into(),
        idsp: idsp.into(),
        scheme,
        realm: realm.into(),
        uri: None,
        source: None,
    })
}

fn pkd1() -> Scheme {
    Scheme::Pkd1 { n1: N1::from_bits(5) }
}

fn sha() -> Scheme {
    Scheme::Digest { algorithm: DigestAlgorithm::Sha256 }
}

fn answer(auc: &mut Auc<InMemory>, request: AaaRequest) -> AaaAnswer {
    match auc.on_request(Now::default(), &mut SystemRandom::new(), request) {
        Verdict::Answer(answer) => answer,
        Verdict::Record(_) | Verdict::Foreign { .. } => panic!("not answered"),
    }
}

fn s4(auc: &mut Auc<InMemory>, idc: &str) -> S4 {
    match answer(auc, ask(idc, SP, "example.test", pkd1())) {
        AaaAnswer::Vector(s4) => s4,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_subscribers_vector_opens_at_both_ends_and_is_new_each_time() {
    let mut auc = auc();
    let (a, b) = (s4(&mut auc, ALICE), s4(&mut auc, ALICE));
    assert_ne!((a.rand, a.ekc, a.eksp), (b.rand, b.ekc, b.eksp));
    let (idc, idsp, n1a) = (Idc::new(ALICE).unwrap(), Idsp::new(SP).unwrap(), N1::from_bits(5));
    let ctx = WrapCtx { idc, idsp, rand: &a.rand, n1a: &n1a };
    let terminal = Key::new([1; 32]).prk();
    assert_eq!(terminal.word(idc, idsp, &a.rand), a.auth_c);
    let k1 = terminal.unwrap(For::Terminal, &ctx, &a.ekc).unwrap();
    let k2 = Key::new([2; 32]).prk().unwrap(For::Proxy, &ctx, &a.eksp).unwrap();
    assert_eq!(k1.expose(), k2.expose());
    assert_eq!(auc.counters().vectors, 2);
}

#[test]
fn strangers_and_stock_phones_get_vectors_that_no_key_here_answers() {
    let mut auc = auc();
    for idc in ["nobody@example.test", PHONE] {
        let s4 = s4(&mut auc, idc);
        let (idc, idsp) = (Idc::new(idc).unwrap(), Idsp::new(SP).unwrap());
        let mut secret = [0u8; 32];
        secret[..10].copy_from_slice(b"wonderland");
        for key in [Key::new([1; 32]), Key::new([0; 32]), Key::new(secret)] {
            assert_ne!(key.prk().word(idc, idsp, &s4.rand), s4.auth_c);
        }
        // The proxy's half is real, so that it cannot tell either.
        let n1a = N1::from_bits(5);
        let ctx = WrapCtx { idc, idsp, rand: &s4.rand, n1a: &n1a };
        assert!(Key::new([2; 32]).prk().unwrap(For::Proxy, &ctx, &s4.eksp).is_ok());
    }
    assert_eq!((auc.counters().vectors, auc.counters().decoys), (0, 2));
}

#[test]
fn digest_serves_its_own_subscribers_only() {
    let mut auc = auc();
    let mut word = |idc| match answer(&mut auc, ask(idc, SP, "example.test", sha())) {
        AaaAnswer::Digest(d) => d,
        other => panic!("{other:?}"),
    };
    let expected = |idc: &str, d: &DigestVector, secret: &[u8]| {
        digest::word(DigestAlgorithm::Sha256, idc, "example.test", secret, "sip:example.test", &d.rand)
    };
    let phone = word(PHONE);
    assert_eq!(phone.word, expected(PHONE, &phone, b"wonderland"));
    // No downgrade: alice's Kc as hex, as octets, or nothing, do not answer.
    let alice = word(ALICE);
    for secret in [vec![1; 32], "01".repeat(32).into_bytes(), vec![]] {
        assert_ne!(alice.word, expected(ALICE, &alice, &secret));
    }
    assert!(matches!(word("nobody@example.test").word, DigestWord::Sha256(_)));
    assert_eq!((auc.counters().vectors, auc.counters().decoys, auc.counters().digests), (1, 2, 3));
    let md5 = Scheme::Digest { algorithm: DigestAlgorithm::Md5 };
    assert_eq!(answer(&mut auc, ask(PHONE, SP, "example.test", md5)), AaaAnswer::Rejected);
    assert!(matches!(auc.poll_notice(), Some(Notice::DigestOff)));
}

#[test]
fn unknown_devices_and_realms_are_rejected_whoever_registers() {
    let mut auc = auc();
    for idc in [ALICE, PHONE, "nobody@example.test"] {
        for scheme in [pkd1(), sha()] {
            assert_eq!(answer(&mut auc, ask(idc, "sp9.example.test", "example.test", scheme)), AaaAnswer::Rejected);
            assert_eq!(answer(&mut auc, ask(idc, SP, "elsewhere.test", scheme)), AaaAnswer::Rejected);
        }
    }
    assert_eq!(auc.counters().rejected, 12);
    assert!(matches!(auc.poll_notice(), Some(Notice::UnknownRealm { realm }) if realm == "elsewhere.test"));
    // Notices are bounded, whoever asks.
    for _ in 0..1_000 {
        answer(&mut auc, ask(ALICE, "sp9.example.test", "example.test", pkd1()));
    }
    let mut left = 0;
    while auc.poll_notice().is_some() {
        left += 1;
    }
    assert!(left <= NOTICES_MAX);
}

#[test]
fn registration_events_are_recorded_for_known_devices() {
    let mut auc = auc();
    let mut account = Account {
        idc: ALICE.into(),
        idsp: SP.into(),
        rand: [1; 16],
        ip: "192.0.2.1".parse().unwrap(),
        event: Registration::Start,
        softswitch: None,
    };
    let mut rng = SystemRandom::new();
    let verdict = auc.on_request(Now::default(), &mut rng, AaaRequest::Account(account.clone()));
    assert_eq!(verdict, Verdict::Record(account.clone()));
    account.idsp = "sp9.example.test".into();
    let verdict = auc.on_request(Now::default(), &mut rng, AaaRequest::Account(account));
    assert_eq!(verdict, Verdict::Answer(AaaAnswer::Rejected));
}

#[test]
fn while_a_key_is_replaced_both_bring_the_terminal_in_and_the_right_one_comes_first() {
    let mut auc = auc();
    auc.subscribers_mut().add_previous(ALICE, Key::new([9; 32]));
    auc.subscribers_mut().add_previous(PHONE, Key::new([9; 32]));
    let (idc, idsp) = (Idc::new(ALICE).unwrap(), Idsp::new(SP).unwrap());
    let answers = |s4: &S4, key: u8| Key::new([key; 32]).prk().word(idc, idsp, &s4.rand) == s4.auth_c;
    let (first, second) = (s4(&mut auc, ALICE), s4(&mut auc, ALICE));
    assert!(answers(&first, 1) && !answers(&first, 9));
    assert!(answers(&second, 9) && !answers(&second, 1), "who cannot answer is asked by the other key");
    let account = Account {
        idc: ALICE.into(),
        idsp: SP.into(),
        rand: second.rand,
        ip: [192, 0, 2, 7].into(),
        event: Registration::Start,
        softswitch: None,
    };
    let recorded = auc.on_request(Now::default(), &mut SystemRandom::new(), AaaRequest::Account(account));
    assert!(matches!(recorded, Verdict::Record(_)));
    let next = s4(&mut auc, ALICE);
    assert!(answers(&next, 9) || answers(&s4(&mut auc, ALICE), 9));
    // A former key serves a subscriber that has a key, and nobody else.
    let phone = s4(&mut auc, PHONE);
    assert_ne!(Key::new([9; 32]).prk().word(Idc::new(PHONE).unwrap(), idsp, &phone.rand), phone.auth_c);
}
