use super::*;
use crate::mech::MechList;
use crate::world::SystemRandom;

const NOW: Now = Now { mono_ms: 1_000_000, wall_ms: 1_700_000_000_000 };

fn proxy() -> Proxy {
    let keys = ProcessKeys::draw(&mut SystemRandom::new());
    Proxy::new(&keys, 1, Sizes { replay: 1024, lockout: 64 }, Rules::default())
}

fn own() -> Idsp<'static> {
    Idsp::new("sp1").unwrap()
}

fn alice() -> Idc<'static> {
    Idc::new("alice@example.test").unwrap()
}

fn source(s: &str) -> Source {
    Source::new(s.parse().unwrap(), 0)
}

fn later(ms: u64) -> Now {
    Now { mono_ms: NOW.mono_ms + ms, wall_ms: NOW.wall_ms + ms }
}

fn s1(n1: u64) -> S1<'static> {
    S1 { idc: alice(), idsp: own(), n1: N1::from_bits(n1), ts: NOW.wall_ms, cookie: None }
}

fn s7<'a>(n1: u64, n2: &'a [u8], rand: Rand) -> S7<'a> {
    S7 {
        idc: alice(),
        idsp: Some(own()),
        n1: N1::from_bits(n1),
        n2,
        ts: NOW.wall_ms,
        rand: Some(rand),
        auth_c: [0; 32],
        mechs: MechList::from_text("x-pkd-sealed").unwrap(),
    }
}

fn check_s1(p: &mut Proxy, now: Now, from: &Source, s1: &S1<'_>, cookie: bool) -> Result<Fresh, Reject> {
    let look = p.look_s1(from, s1);
    p.check_s1(now, from, own(), (s1, &look), cookie)
}

fn check_s7(p: &mut Proxy, now: Now, from: &Source, s7: &S7<'_>) -> Result<Fresh, Reject> {
    let look = p.look_s7(from, s7);
    p.check_s7(now, from, own(), (s7, &look))
}

#[test]
fn an_n1_serves_once_while_it_could_be_fresh() {
    let (mut proxy, here) = (proxy(), source("192.0.2.7:5060"));
    let fresh = check_s1(&mut proxy, NOW, &here, &s1(1), false).unwrap();
    // A check alone uses nothing.
    assert!(check_s1(&mut proxy, NOW, &here, &s1(1), false).is_ok());
    proxy.accept(NOW, &fresh).unwrap();
    for (after, elsewhere) in [(0, "192.0.2.7:5060"), (30_000, "203.0.113.9:1"), (60_000, "192.0.2.7:5060")] {
        let mut again = s1(1);
        again.ts += after;
        let got = check_s1(&mut proxy, later(after), &source(elsewhere), &again, false);
        assert_eq!(got.err(), Some(Reject::Replayed));
    }
}

#[test]
fn the_clock_window_is_exact_on_both_sides() {
    let (mut proxy, here) = (proxy(), source("192.0.2.7:5060"));
    for (ts, good) in [(-30_001i64, false), (-30_000, true), (30_000, true), (30_001, false)] {
        let mut message = s1(1);
        message.ts = message.ts.checked_add_signed(ts).unwrap();
        let got = check_s1(&mut proxy, NOW, &here, &message, false);
        assert_eq!(got.is_ok(), good, "{ts}");
        assert!(good || got == Err(Reject::Stale));
    }
    let mut never = s1(1);
    for ts in [0, u64::MAX] {
        never.ts = ts;
        assert_eq!(check_s1(&mut proxy, NOW, &here, &never, false), Err(Reject::Stale));
    }
}

#[test]
fn a_challenge_serves_one_s7_from_its_own_address_in_its_time() {
    let (mut proxy, here, rand) = (proxy(), source("192.0.2.7:5060"), [5; 16]);
    let n2 = proxy.challenge(NOW, &here, alice(), (&rand, &N1::from_bits(1)), 7);
    let answer = s7(2, &n2, rand);
    let got = |p: &mut Proxy, now, from: &str, s7: &S7<'_>| check_s7(p, now, &source(from), s7).err();
    assert_eq!(got(&mut proxy, NOW, "192.0.2.7:5061", &answer), Some(Reject::ChallengeInvalid));
    assert_eq!(got(&mut proxy, NOW, "192.0.2.7:5060", &s7(2, &n2, [6; 16])), Some(Reject::ChallengeInvalid));
    assert_eq!(got(&mut proxy, later(10_001), "192.0.2.7:5060", &answer), Some(Reject::ChallengeExpired));
    let stale = S7 { ts: NOW.wall_ms - 40_000, ..answer };
    assert_eq!(got(&mut proxy, NOW, "192.0.2.7:5060", &stale), Some(Reject::Stale));
    let other = S7 { idsp: Idsp::new("sp2"), ..answer };
    assert_eq!(got(&mut proxy, NOW, "192.0.2.7:5060", &other), Some(Reject::WrongProxy));
    // None of these copies has spoilt the real one.
    let fresh = check_s7(&mut proxy, NOW, &here, &answer).unwrap();
    assert_eq!(fresh.home, 7);
    assert_eq!(fresh.exchange, Exchange::AwaitS9 { n1a: N1::from_bits(1), n1b: N1::from_bits(2), rand });
    proxy.accept(NOW, &fresh).unwrap();
    assert_eq!(got(&mut proxy, NOW, "192.0.2.7:5060", &answer), Some(Reject::Replayed));
    assert_eq!(got(&mut proxy, NOW, "192.0.2.7:5060", &s7(3, &n2, rand)), Some(Reject::ChallengeReused));
}

#[test]
fn a_cookie_is_asked_for_before_anything_is_kept() {
    let (mut proxy, here) = (proxy(), source("192.0.2.7:5060"));
    assert_eq!(check_s1(&mut proxy, NOW, &here, &s1(1), true), Err(Reject::CookieMissing));
    let cookie = proxy.cookie(NOW, &here, &s1(1));
    let with = S1 { cookie: Some(&cookie), ts: NOW.wall_ms + 5, ..s1(1) };
    let fresh = check_s1(&mut proxy, later(5), &here, &with, true).unwrap();
    proxy.accept(NOW, &fresh).unwrap();
    let elsewhere = source("192.0.2.8:5060");
    let stolen = S1 { n1: N1::from_bits(9), ..with };
    assert_eq!(check_s1(&mut proxy, NOW, &here, &stolen, true), Err(Reject::CookieWrong));
    assert_eq!(check_s1(&mut proxy, NOW, &elsewhere, &with, true), Err(Reject::CookieWrong));
}

#[test]
fn a_challenge_is_renewed_once_by_each_rand() {
    let mut proxy = proxy();
    let bob = Idc::new("bob@example.test").unwrap();
    for rand in [[1; 16], [2; 16]] {
        assert!(proxy.renews(NOW, alice(), &rand));
        assert!(!proxy.renews(later(30_000), alice(), &rand), "a late copy of the core's command");
    }
    assert!(!proxy.renews(later(1), alice(), &[1; 16]), "the one before the last, too");
    assert!(proxy.renews(NOW, bob, &[1; 16]));
}

#[test]
fn failures_slow_and_success_forgives() {
    let (mut proxy, here) = (proxy(), source("192.0.2.7:5060"));
    for _ in 0..3 {
        proxy.failed(NOW, &here, alice());
    }
    assert_eq!(check_s1(&mut proxy, NOW, &here, &s1(1), false), Err(Reject::Wait(1000)));
    // Neither a neighbour behind the same address nor the same identity elsewhere is hit.
    let neighbour = S1 { idc: Idc::new("bob@example.test").unwrap(), ..s1(1) };
    assert!(check_s1(&mut proxy, NOW, &here, &neighbour, false).is_ok());
    assert!(check_s1(&mut proxy, NOW, &source("198.51.100.1:5060"), &s1(1), false).is_ok());
    for _ in 0..10 {
        proxy.failed(NOW, &here, alice());
    }
    assert_eq!(check_s1(&mut proxy, NOW, &here, &s1(1), false), Err(Reject::Ignore));
    proxy.proven(&here, alice());
    assert!(check_s1(&mut proxy, NOW, &here, &s1(1), false).is_ok());
}

#[test]
fn what_cannot_be_remembered_is_not_accepted() {
    let keys = ProcessKeys::draw(&mut SystemRandom::new());
    let mut proxy = Proxy::new(&keys, 1, Sizes { replay: 16, lockout: 4 }, Rules::default());
    let here = source("192.0.2.7:5060");
    let mut full = false;
    for n in 0..64 {
        let fresh = check_s1(&mut proxy, NOW, &here, &s1(n), false).unwrap();
        full |= proxy.accept(NOW, &fresh).is_err();
    }
    assert!(full);
}
