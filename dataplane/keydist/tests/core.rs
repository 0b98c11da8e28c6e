//! Softswitch and AuC, rule by rule.

use portunus_keydist::auc::{Change, Decoy, UnknownProxy, record, vector};
use portunus_keydist::schedule::{For, WrapCtx};
use portunus_keydist::softswitch::{NotAwaited, Policy, RETRIES_MAX, Registration, Verdict};
use portunus_keydist::steps::{Registration as Event, S2, S3, S4, S8, S9, S11};
use portunus_keydist::{Idc, Idsp, Key, N1, Now, SystemRandom};
use std::net::SocketAddr;

fn at(mono_ms: u64) -> Now {
    Now { mono_ms, wall_ms: 0 }
}

fn idc(s: &'static str) -> Idc<'static> {
    Idc::new(s).expect("an IDc")
}

fn idsp(s: &'static str) -> Idsp<'static> {
    Idsp::new(s).expect("an IDsp")
}

fn ipc() -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 7], 5060))
}

fn s3() -> S3<'static> {
    S2 { idc: idc("alice@example.test"), idsp: idsp("sp1.example.test"), n1: N1::from_bits(7) }
}

fn s4(tag: u8) -> S4 {
    S4 { rand: [tag; 16], auth_c: [tag; 32], ekc: [tag; 48], eksp: [tag; 48] }
}

fn s8(rand: u8, word: u8) -> S8<'static> {
    S8 { idc: s3().idc, idsp: s3().idsp, rand: [rand; 16], auth_c: [word; 32], ipc: ipc() }
}

fn challenged(policy: Policy) -> Registration {
    let mut r = Registration::on_s2(at(0), &s3(), policy);
    assert_eq!(r.ask(), s3());
    let s5 = r.on_s4(at(10), &s4(1)).expect("awaited");
    assert_eq!((s5.idc, s5.idsp, s5.rand), (s3().idc, s3().idsp, [1; 16]));
    r
}

#[test]
fn equal_words_are_granted_once() {
    let mut r = challenged(Policy::default());
    let s11 = S11 { idc: s3().idc, idsp: s3().idsp, rand: [1; 16], ipc: ipc(), event: Event::Start };
    let granted = Verdict::Granted(S9 { ekc: [1; 48], eksp: [1; 48] }, s11);
    assert_eq!(r.on_s8(at(20), &s8(1, 1)), Ok(granted));
    assert_eq!(r.on_s8(at(20), &s8(1, 1)), Err(NotAwaited));
    assert!(r.on_timer(at(20)) && r.deadline().is_none());
}

#[test]
fn a_wrong_word_brings_retries_and_then_the_one_refusal() {
    for retries in 0..=RETRIES_MAX {
        let mut r = challenged(Policy::new(retries, 4000, 10_000).expect("in range"));
        for round in 0..retries {
            let tag = round + 1;
            assert_eq!(r.on_s8(at(20), &s8(tag, 99)), Ok(Verdict::Again(s3())), "always with N1a");
            assert_eq!(r.on_s8(at(20), &s8(tag, tag)), Err(NotAwaited), "the challenge is used up");
            r.on_s4(at(30), &s4(tag + 1)).expect("awaited");
        }
        assert_eq!(r.on_s8(at(40), &s8(retries + 1, 99)), Ok(Verdict::Refused));
        assert_eq!(r.on_s8(at(40), &s8(retries + 1, retries + 1)), Err(NotAwaited));
    }
    assert_eq!(Policy::new(RETRIES_MAX + 1, 1, 1), None);
    assert_eq!(Policy::new(0, 0, 1), None);
    assert_eq!(Policy::new(0, 1, 0), None);
}

#[test]
fn a_word_that_differs_anywhere_is_wrong() {
    for bit in 0..256 {
        let mut r = challenged(Policy::new(0, 100, 100).expect("in range"));
        let mut answer = s8(1, 1);
        answer.auth_c[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(r.on_s8(at(20), &answer), Ok(Verdict::Refused), "bit {bit}");
    }
}

#[test]
fn stray_answers_spoil_nothing() {
    let mut r = challenged(Policy::default());
    let good = s8(1, 1);
    for stray in [s8(2, 1), S8 { idc: idc("bob@example.test"), ..good }, S8 { idsp: idsp("sp2.example.test"), ..good }]
    {
        assert_eq!(r.on_s8(at(20), &stray), Err(NotAwaited));
    }
    assert_eq!(r.on_s4(at(20), &s4(9)), Err(NotAwaited), "a second vector");
    assert!(matches!(r.on_s8(at(20), &good), Ok(Verdict::Granted(..))));
}

#[test]
fn nothing_lasts_for_ever() {
    let policy = Policy::new(1, 100, 1000).expect("in range");
    let mut r = Registration::on_s2(at(0), &s3(), policy);
    assert_eq!(r.deadline(), Some(100));
    assert!(!r.on_timer(at(99)));
    assert_eq!(r.clone().on_s4(at(100), &s4(1)), Err(NotAwaited));
    assert!(r.on_timer(at(100)));

    let mut r = Registration::on_s2(at(0), &s3(), policy);
    r.on_s4(at(50), &s4(1)).expect("awaited");
    assert_eq!((r.deadline(), r.rand()), (Some(1050), Some(&[1; 16])));
    let mut late = r.clone();
    assert_eq!(late.on_s8(at(1050), &s8(1, 1)), Ok(Verdict::Again(s3())), "too late counts as wrong");
    assert_eq!(late.rand(), None);
    assert!(matches!(r.on_s8(at(1049), &s8(1, 1)), Ok(Verdict::Granted(..))));
}

fn decoy() -> Decoy {
    Decoy::new(Key::new([9; 32]))
}

#[test]
fn both_wraps_hold_one_key_and_every_vector_is_new() {
    let (kc, ksp) = (Key::new([1; 32]), Key::new([2; 32]));
    let rng = &mut SystemRandom::new();
    let a = vector(rng, Some(&kc), &decoy(), Some(&ksp), &s3()).expect("known");
    let b = vector(rng, Some(&kc), &decoy(), Some(&ksp), &s3()).expect("known");
    assert!(a.rand != b.rand && a.auth_c != b.auth_c && a.ekc != b.ekc && a.eksp != b.eksp);
    let n1 = s3().n1;
    let ctx = WrapCtx { idc: s3().idc, idsp: s3().idsp, rand: &a.rand, n1a: &n1 };
    let at_terminal = kc.prk().unwrap(For::Terminal, &ctx, &a.ekc).expect("opens");
    let at_proxy = ksp.prk().unwrap(For::Proxy, &ctx, &a.eksp).expect("opens");
    assert_eq!(at_terminal.expose(), at_proxy.expose());
    assert_eq!(a.auth_c, kc.prk().word(s3().idc, s3().idsp, &a.rand));
}

#[test]
fn strangers_get_vectors_that_nobody_can_answer() {
    let (kc, ksp) = (Key::new([1; 32]), Key::new([2; 32]));
    let rng = &mut SystemRandom::new();
    let a = vector(rng, None, &decoy(), Some(&ksp), &s3()).expect("as for anybody");
    let n1 = s3().n1;
    let ctx = WrapCtx { idc: s3().idc, idsp: s3().idsp, rand: &a.rand, n1a: &n1 };
    // The proxy's wrap opens as ever: nothing downstream can tell.
    assert!(ksp.prk().unwrap(For::Proxy, &ctx, &a.eksp).is_ok());
    for guess in [&kc, &ksp, &Key::new([9; 32]), &Key::new([0; 32])] {
        assert!(guess.prk().unwrap(For::Terminal, &ctx, &a.ekc).is_err());
        assert_ne!(a.auth_c, guess.prk().word(s3().idc, s3().idsp, &a.rand));
    }
}

/// A generator that repeats itself, so that vectors can be compared.
struct Same(u8);

impl portunus_keydist::Random for Same {
    fn fill(&mut self, out: &mut [u8]) {
        out.fill(self.0);
    }
}

#[test]
fn a_strangers_key_is_its_own_and_stays_the_same() {
    let ksp = Key::new([2; 32]);
    let word = |id, master: u8, kc: Option<&Key>| {
        let decoy = Decoy::new(Key::new([master; 32]));
        let s3 = S3 { idc: idc(id), ..s3() };
        vector(&mut Same(5), kc, &decoy, Some(&ksp), &s3).expect("known").auth_c
    };
    let kc = Key::new([1; 32]);
    assert_eq!(word("nobody@example.test", 9, None), word("nobody@example.test", 9, None));
    assert_ne!(word("nobody@example.test", 9, None), word("nobody@example.test", 8, None));
    assert_ne!(word("nobody@example.test", 9, None), word("nobody@example.tesu", 9, None));
    assert_eq!(word("alice@example.test", 9, Some(&kc)), word("alice@example.test", 8, Some(&kc)));
    assert_ne!(word("alice@example.test", 9, Some(&kc)), word("alice@example.test", 9, None));
}

#[test]
fn an_unknown_proxy_gets_no_vector() {
    let kc = Key::new([1; 32]);
    let got = vector(&mut SystemRandom::new(), Some(&kc), &decoy(), None, &s3());
    assert_eq!(got, Err(UnknownProxy));
}

#[test]
fn records_follow_the_newest_registration() {
    let s11 = |rand: u8, event| S11 { idc: s3().idc, idsp: s3().idsp, rand: [rand; 16], ipc: ipc(), event };
    let Change::Keep(first) = record(None, 100, &s11(1, Event::Start)) else { panic!("kept") };
    assert_eq!((first.since_ms, first.seen_ms, first.rand), (100, 100, [1; 16]));
    let Change::Keep(seen) = record(Some(&first), 200, &s11(1, Event::Refresh)) else { panic!("kept") };
    assert_eq!((seen.since_ms, seen.seen_ms), (100, 200));
    let Change::Keep(repeated) = record(Some(&seen), 300, &s11(1, Event::Start)) else { panic!("kept") };
    assert_eq!((repeated.since_ms, repeated.seen_ms), (100, 300), "a Start that is repeated is no new registration");
    let Change::Keep(second) = record(Some(&repeated), 400, &s11(2, Event::Start)) else { panic!("kept") };
    assert_eq!((second.since_ms, second.rand), (400, [2; 16]));
    for late in [Event::Refresh, Event::Stop] {
        assert_eq!(record(Some(&second), 500, &s11(1, late)), Change::Ignore);
    }
    assert_eq!(record(Some(&second), 600, &s11(2, Event::Stop)), Change::Remove);
    assert_eq!(record(None, 700, &s11(2, Event::Stop)), Change::Ignore);
    assert!(matches!(record(None, 800, &s11(2, Event::Refresh)), Change::Keep(_)), "its Start was lost");
}

#[test]
fn the_first_word_does_not_show_itself() {
    let shown = format!("{:?}", S4 { rand: [1; 16], auth_c: [222; 32], ekc: [3; 48], eksp: [4; 48] });
    assert!(shown.contains("rand") && !shown.contains("222"), "{shown}");
}
