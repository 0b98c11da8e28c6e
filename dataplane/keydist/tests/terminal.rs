//! The terminal's role, rule by rule, against a proxy made of the same schedule.

use portunus_codec::hex_encode;
use portunus_keydist::auc::{Decoy, vector};
use portunus_keydist::mech::{MechList, Sel};
use portunus_keydist::schedule::{For, WrapCtx, message_mac};
use portunus_keydist::steps::{Refusal, S1, S3, S4, S6, S7, S10};
use portunus_keydist::terminal::{Config, Established, Failure, KeyMessage, Next, Reject, Terminal, Todo, Why};
use portunus_keydist::timing::Repeat;
use portunus_keydist::{Idc, Idsp, Key, N1, Now, Rand, SystemRandom};
use std::sync::Arc;

const WALL: u64 = 1_790_000_000_000;
const LIST: &str = "x-pkd-sealed;q=0.9 tls;q=0.5";
const N2A: &[u8] = b"opaque_Token-1";

fn at(mono_ms: u64) -> Now {
    Now { mono_ms, wall_ms: WALL + mono_ms }
}

fn idc() -> Idc<'static> {
    Idc::new("alice@example.test").expect("an IDc")
}

fn idsp() -> Idsp<'static> {
    Idsp::new("sp1.example.test").expect("an IDsp")
}

fn kc() -> Key {
    Key::new([3; 32])
}

fn ksp() -> Key {
    Key::new([4; 32])
}

fn terminal() -> Terminal {
    let mechs = MechList::from_text(LIST).expect("a list");
    Terminal::new(idc(), idsp(), &kc(), Arc::new(Config::new(mechs, Repeat::SIP_UDP)))
}

fn auc(n1a: N1) -> S4 {
    let decoy = Decoy::new(Key::new([9; 32]));
    let s3 = S3 { idc: idc(), idsp: idsp(), n1: n1a };
    vector(&mut SystemRandom::new(), Some(&kc()), &decoy, Some(&ksp()), &s3).expect("a known proxy")
}

fn s6(n1: N1, now: Now, rand: Rand) -> S6<'static> {
    S6 { idsp: idsp(), n1, n2: N2A, ts: now.wall_ms, rand }
}

/// What a proxy may put into s10, to be altered before it is signed.
#[derive(Clone)]
struct Draft {
    idsp: Idsp<'static>,
    n1: N1,
    ts: u64,
    life: u32,
    sel: String,
    mechs: String,
    s4: S4,
    n1a: N1,
    terms_kept: bool,
}

impl Draft {
    fn new(n1a: N1, n1b: N1, s4: S4, now: Now) -> Self {
        let sel = Sel::sealed(0x0100_0000_0000_0001, 5065).as_str().to_owned();
        let (mechs, life) = (LIST.to_owned(), 86_400);
        Self { idsp: idsp(), n1: n1b, ts: now.wall_ms, life, sel, mechs, s4, n1a, terms_kept: true }
    }

    /// Signs as the proxy would, and hands the message over through `alter`.
    fn deliver(
        &self,
        terminal: &mut Terminal,
        now: Now,
        alter: impl FnOnce(&mut Vec<u8>),
    ) -> Result<Established, Reject> {
        let n2b = N1::from_bits(77);
        let fields = format!("{:?} {} {} {} {} {}", self.idsp, self.n1, self.ts, self.life, self.sel, self.mechs);
        let mut message = format!("200 {fields} mac=\"{}\" end", "0".repeat(64)).into_bytes();
        let from = message.len() - 64 - 5;
        let field = from..from + 64;
        let ctx = WrapCtx { idc: idc(), idsp: idsp(), rand: &self.s4.rand, n1a: &self.n1a };
        if let Ok(key) = ksp().prk().unwrap(For::Proxy, &ctx, &self.s4.eksp) {
            let mac_key = key.secret(&self.s4.rand).mac_key();
            let mac = message_mac(&mac_key, &message, field.clone(), &[b'0'; 64]).expect("the field is inside");
            hex_encode(&mac, &mut message[field.clone()]);
        }
        alter(&mut message);
        let s10 = S10 {
            idsp: self.idsp,
            n1: self.n1,
            n2: n2b,
            ts: self.ts,
            life: self.life,
            ekc: self.s4.ekc,
            sel: &self.sel,
            mechs: &self.mechs,
        };
        let key = KeyMessage { s10, message: &message, mac_field: field, terms_kept: self.terms_kept };
        terminal.on_key(now, &mut SystemRandom::new(), &key)
    }
}

/// A terminal that awaits s10, and the s10 that it awaits.
fn before_s10(now: Now) -> (Terminal, Draft) {
    let rng = &mut SystemRandom::new();
    let mut t = terminal();
    let n1a = t.start(now, rng).n1;
    let s4 = auc(n1a);
    let n1b = t.on_challenge(now, rng, &s6(n1a, now, s4.rand)).expect("its challenge").n1;
    (t, Draft::new(n1a, n1b, s4, now))
}

fn register(t: &mut Terminal, now: Now) {
    let rng = &mut SystemRandom::new();
    let n1a = t.start(now, rng).n1;
    let s4 = auc(n1a);
    let n1b = t.on_challenge(now, rng, &s6(n1a, now, s4.rand)).expect("its challenge").n1;
    Draft::new(n1a, n1b, s4, now).deliver(t, now, |_| {}).expect("accepted");
    assert!(t.on_protected(now, rng));
}

#[test]
fn a_registration_from_start_to_session() {
    let rng = &mut SystemRandom::new();
    let mut t = terminal();
    assert_eq!(t.next_deadline(), None);
    let s1 = t.start(at(0), rng);
    assert_eq!((s1.idc, s1.idsp, s1.ts, s1.cookie), (idc(), idsp(), WALL, None));
    let n1a = s1.n1;
    let s4 = auc(n1a);
    let s7 = t.on_challenge(at(50), rng, &s6(n1a, at(40), s4.rand)).expect("its challenge");
    assert_eq!((s7.n2, s7.rand, s7.ts, s7.auth_c), (N2A, Some(s4.rand), WALL + 50, s4.auth_c));
    assert_eq!(s7.mechs.as_str(), LIST);
    assert_ne!(s7.n1, n1a);
    let draft = Draft::new(n1a, s7.n1, s4, at(60));
    let established = draft.deliver(&mut t, at(80), |_| {}).expect("accepted");
    assert_eq!(established.sel.kid(), Some(0x0100_0000_0000_0001));
    assert_eq!((established.n1b, established.n2b, established.life_s), (draft.n1, N1::from_bits(77), 86_400));
    let ctx = t.traffic_ctx(&established);
    assert_eq!((ctx.idc, ctx.idsp, ctx.token), (idc(), idsp(), "x-pkd-sealed"));
    assert!(!t.is_active(), "provisional until something protected verifies");
    assert!(t.on_protected(at(90), rng));
    assert!(t.is_active());
    assert!(!t.on_protected(at(91), rng), "only once");
}

#[test]
fn s6_is_refused_unless_it_answers_what_was_asked() {
    let rng = &mut SystemRandom::new();
    let mut t = terminal();
    let stray = s6(N1::from_bits(1), at(0), [1; 16]);
    assert_eq!(t.on_challenge(at(0), rng, &stray), Err(Reject::NotAwaited), "nothing was asked");
    let n1a = t.start(at(0), rng).n1;
    assert_eq!(t.on_challenge(at(0), rng, &stray), Err(Reject::NotAwaited), "another N1");
    let good = s6(n1a, at(0), [1; 16]);
    assert!(t.on_challenge(at(0), rng, &good).is_ok());
    assert_eq!(t.on_challenge(at(0), rng, &good), Err(Reject::NotAwaited), "the proxy's cached copy");

    let mut t = terminal();
    let n1a = t.start(at(0), rng).n1;
    let other = S6 { idsp: Idsp::new("sp2.example.test").expect("an IDsp"), ..s6(n1a, at(0), [1; 16]) };
    assert_eq!(t.on_challenge(at(0), rng, &other), Err(Reject::Proxy));
    assert_eq!(t.next_deadline().map(|d| d.1), Some(Why::BackOff));
}

#[test]
fn the_window_is_exact_and_a_clock_that_is_off_is_corrected() {
    let rng = &mut SystemRandom::new();
    for (skew, expected) in [(30_000i64, true), (-30_000, true), (30_001, false), (-30_001, false)] {
        let mut t = terminal();
        let n1a = t.start(at(0), rng).n1;
        let ts = WALL.saturating_add_signed(skew);
        let message = S6 { ts, ..s6(n1a, at(0), [1; 16]) };
        let got = t.on_challenge(at(0), rng, &message).map(|_| ());
        assert_eq!(got, if expected { Ok(()) } else { Err(Reject::Clock) }, "{skew}");
        if !expected {
            assert_eq!(t.start(at(10), rng).ts, ts + 10, "the next attempt speaks the proxy's time");
        }
        let (mut t, mut draft) = before_s10(at(0));
        draft.ts = ts;
        let got = draft.deliver(&mut t, at(0), |_| {}).map(|_| ());
        assert_eq!(got, if expected { Ok(()) } else { Err(Reject::Clock) }, "{skew}");
    }
}

#[test]
fn stale_corrects_the_clock_and_begins_again_with_a_new_n1_a_bounded_number_of_times() {
    let rng = &mut SystemRandom::new();
    let mut t = terminal();
    let mut n1 = t.start(at(0), rng).n1;
    for _ in 0..3 {
        let refusal = Refusal::Stale { ts: 5_000_000 };
        let Ok(Next::Send(s1)) = t.on_refusal(at(0), rng, Some(&n1), &refusal) else { panic!("s1 again") };
        assert_eq!(s1.ts, 5_000_000);
        assert_ne!(s1.n1, n1);
        n1 = s1.n1;
    }
    let last = t.on_refusal(at(0), rng, Some(&n1), &Refusal::Stale { ts: 5_000_000 });
    assert!(matches!(last, Ok(Next::Wait { .. })));

    // s7 can be stale too, and far clocks do not overflow.
    for (ts, spoken) in [(0, 0), (1, 1), (u64::MAX, WALL)] {
        let (mut t, draft) = before_s10(at(0));
        let next = t.on_refusal(at(0), rng, Some(&draft.n1), &Refusal::Stale { ts });
        let Ok(Next::Send(s1)) = next else { panic!("s1 again") };
        assert_eq!(s1.ts, spoken, "a time that no clock shows changes nothing");
    }
}

#[test]
fn a_cookie_repeats_s1_with_the_same_n1_and_a_new_ts() {
    let rng = &mut SystemRandom::new();
    let mut t = terminal();
    assert_eq!(t.on_cookie(at(0), rng, &N1::from_bits(1), WALL, b"c"), Err(Reject::NotAwaited));
    let n1 = t.start(at(0), rng).n1;
    assert_eq!(t.on_cookie(at(0), rng, &N1::from_bits(1), WALL, b"c"), Err(Reject::NotAwaited));
    for i in 1..=3 {
        let s1 = t.on_cookie(at(i), rng, &n1, WALL, b"cookie").expect("taken");
        assert_eq!(s1, S1 { idc: idc(), idsp: idsp(), n1, ts: WALL + i, cookie: Some(b"cookie") });
        assert_eq!(t.next_deadline(), Some((i + 500, Why::Answer)), "its schedule begins anew");
    }
    assert_eq!(t.on_cookie(at(9), rng, &n1, WALL, b"cookie"), Err(Reject::TooMany));
    assert_eq!(t.next_deadline().map(|d| d.1), Some(Why::BackOff));
}

#[test]
fn a_challenge_that_came_too_late_is_not_worth_an_answer() {
    let rng = &mut SystemRandom::new();
    let rand = [5; 16];
    // Made in time, on its way for longer than it lives.
    let mut t = terminal();
    let n1 = t.start(at(0), rng).n1;
    assert_eq!(t.on_challenge(at(10_200), rng, &s6(n1, at(100), rand)), Err(Reject::Late));
    assert_eq!(t.on_timer(at(10_200), rng), Some(Todo::Start), "afresh, at once");
    assert!(t.start(at(10_200), rng).n1 != n1);
    // Every s1 but the last was lost: this one is fresh.
    let mut t = terminal();
    let n1 = t.start(at(0), rng).n1;
    assert!(t.on_challenge(at(10_200), rng, &s6(n1, at(10_100), rand)).is_ok());
    // The proxy's clock is behind ours by almost the window: what was asked just now cannot be old.
    let mut t = terminal();
    let n1 = t.start(at(40_000), rng).n1;
    assert!(t.on_challenge(at(40_100), rng, &s6(n1, at(10_200), rand)).is_ok());
    // A renewed challenge likewise.
    let (mut t, first) = before_s10(at(0));
    assert_eq!(t.on_challenge(at(10_200), rng, &s6(first.n1, at(100), rand)), Err(Reject::Late));
}

#[test]
fn a_renewed_challenge_answers_s7_and_the_wrap_stays_bound_to_n1a() {
    let rng = &mut SystemRandom::new();
    let (mut t, first) = before_s10(at(0));
    let mut n1b = first.n1;
    let mut s4 = first.s4;
    for _ in 0..3 {
        s4 = auc(first.n1a);
        let s7: S7<'_> = t.on_challenge(at(100), rng, &s6(n1b, at(100), s4.rand)).expect("renewed");
        assert_eq!(s7.auth_c, s4.auth_c);
        assert_ne!(s7.n1, n1b);
        n1b = s7.n1;
    }
    let mut again = t;
    let late = first.deliver(&mut again, at(150), |_| {}).map(|_| ());
    assert_eq!(late, Err(Reject::NotAwaited), "the first challenge's N1 is over");
    Draft::new(first.n1a, n1b, s4, at(200)).deliver(&mut again, at(200), |_| {}).expect("accepted");

    let (mut t, first) = before_s10(at(0));
    let mut n1b = first.n1;
    for _ in 0..3 {
        n1b = t.on_challenge(at(1), rng, &s6(n1b, at(1), [5; 16])).expect("renewed").n1;
    }
    assert_eq!(t.on_challenge(at(1), rng, &s6(n1b, at(1), [5; 16])), Err(Reject::TooMany));
}

/// Alters one thing of a good s10 and expects the reason, a fresh registration, and a spent N1.
fn rejected(expected: Reject, change: impl FnOnce(&mut Draft), alter: impl FnOnce(&mut Vec<u8>)) {
    let now = at(0);
    let (mut t, good) = before_s10(now);
    let mut draft = good.clone();
    change(&mut draft);
    assert_eq!(draft.deliver(&mut t, now, alter).map(|_| ()), Err(expected));
    assert!(expected.ends_attempt());
    assert_eq!(t.next_deadline().map(|d| d.1), Some(Why::BackOff), "{expected:?}");
    let after = good.deliver(&mut t, now, |_| {}).map(|_| ());
    assert_eq!(after, Err(Reject::NotAwaited), "no later s10 with that N1 is looked at");
    assert!(!t.is_active() && !t.on_protected(now, &mut SystemRandom::new()));
}

#[test]
fn s10_is_refused_for_every_reason_of_the_specification() {
    let none = |_: &mut Vec<u8>| {};
    rejected(Reject::Wrap, |d| d.s4.ekc[5] ^= 1, none);
    rejected(Reject::Wrap, |d| d.s4 = auc(N1::from_bits(8)), none);
    rejected(Reject::Mac, |_| {}, |m| m[4] ^= 1);
    rejected(
        Reject::Mac,
        |_| {},
        |m| {
            let at = m.len() - 20;
            m[at] ^= 1
        },
    );
    rejected(Reject::Mac, |_| {}, |m| m.make_ascii_uppercase());
    rejected(Reject::Mac, |_| {}, |m| m.truncate(m.len() - 10));
    rejected(Reject::Mac, |_| {}, |m| m.push(b' '));
    rejected(Reject::Proxy, |d| d.idsp = Idsp::new("sp2.example.test").expect("an IDsp"), none);
    rejected(Reject::List, |d| d.mechs = "tls;q=0.5".into(), none);
    rejected(Reject::List, |d| d.mechs = "tls;q=0.5 x-pkd-sealed;q=0.9".into(), none);
    rejected(Reject::List, |d| d.mechs = LIST.replace("0.9", "0.90"), none);
    rejected(Reject::List, |d| d.mechs = format!("{LIST} "), none);
    rejected(Reject::Mechanism, |d| d.sel = Sel::esp(300, 5070, 4500).as_str().to_owned(), none);
    rejected(Reject::Mechanism, |d| d.sel = "x-pkd-sealed;port=5065".into(), none);
    rejected(Reject::Mechanism, |d| d.sel = "x-other".into(), none);
    rejected(Reject::Mechanism, |d| d.sel = String::new(), none);
    rejected(Reject::Terms, |d| d.terms_kept = false, none);
}

#[test]
fn s10_with_another_n1_is_not_looked_at_and_spoils_nothing() {
    let (mut t, good) = before_s10(at(0));
    for n1 in [N1::from_bits(1), good.n1a] {
        let other = Draft { n1, ..good.clone() };
        assert_eq!(other.deliver(&mut t, at(0), |_| {}).map(|_| ()), Err(Reject::NotAwaited));
    }
    assert!(good.deliver(&mut t, at(0), |_| {}).is_ok());
    assert_eq!(good.deliver(&mut t, at(0), |_| {}).map(|_| ()), Err(Reject::NotAwaited), "accepted once");
}

#[test]
fn no_refusal_makes_it_offer_less() {
    let rng = &mut SystemRandom::new();
    let mut t = terminal();
    for refusal in [
        Refusal::Mechanism,
        Refusal::Denied,
        Refusal::Busy { retry_after_s: 1 },
        Refusal::Malformed,
        Refusal::Stale { ts: WALL },
    ] {
        let n1a = t.start(at(0), rng).n1;
        let n1b = t.on_challenge(at(0), rng, &s6(n1a, at(0), [1; 16])).expect("a challenge").n1;
        assert_eq!(t.on_refusal(at(0), rng, Some(&n1a), &refusal), Err(Reject::NotAwaited), "of s1, too late");
        assert!(t.on_refusal(at(0), rng, Some(&n1b), &refusal).is_ok());
        let n1a = t.start(at(0), rng).n1;
        let s7 = t.on_challenge(at(0), rng, &s6(n1a, at(0), [1; 16])).expect("a challenge");
        assert_eq!(s7.mechs.as_str(), LIST);
    }
    t.stop();
    assert_eq!(t.on_refusal(at(0), rng, None, &Refusal::Denied), Err(Reject::NotAwaited));
    assert_eq!(t.next_deadline(), None);
}

#[test]
fn silence_is_repeated_given_up_and_tried_again_ever_less_often() {
    let rng = &mut SystemRandom::new();
    let mut t = terminal();
    let mut now = 0;
    let mut waits = Vec::new();
    for _ in 0..9 {
        t.start(at(now), rng);
        let mut repeats = 0;
        loop {
            now = t.next_deadline().expect("something is due").0;
            match t.on_timer(at(now), rng) {
                Some(Todo::Repeat) => repeats += 1,
                Some(Todo::GaveUp(why)) => break assert_eq!(why, Failure::Silence),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(repeats, 10);
        let (until, why) = t.next_deadline().expect("it backs off");
        assert_eq!(why, Why::BackOff);
        waits.push(until - now);
        assert_eq!(t.on_timer(at(until - 1), rng), None);
        assert_eq!(t.on_timer(at(until), rng), Some(Todo::Start));
        now = until;
    }
    for (i, wait) in waits.iter().enumerate() {
        let most = (1000 << i).min(128_000);
        assert!((most / 2..=most).contains(wait), "{waits:?}");
    }
}

#[test]
fn retry_after_is_honoured() {
    let rng = &mut SystemRandom::new();
    let mut t = terminal();
    t.start(at(0), rng);
    let busy = Refusal::Busy { retry_after_s: 40 };
    let Ok(Next::Wait { until_ms }) = t.on_refusal(at(0), rng, None, &busy) else { panic!("waits") };
    assert!((40_000..=50_000).contains(&until_ms));
    assert_eq!(t.on_timer(at(39_999), rng), None);
}

#[test]
fn the_confirmation_is_repeated_until_something_verifies_or_the_session_has_died() {
    let rng = &mut SystemRandom::new();
    let (mut t, good) = before_s10(at(0));
    good.deliver(&mut t, at(0), |_| {}).expect("accepted");
    let mut times = Vec::new();
    loop {
        let (when, why) = t.next_deadline().expect("due");
        assert_eq!(why, Why::Confirmation);
        match t.on_timer(at(when), rng) {
            Some(Todo::Confirm) => times.push(when),
            Some(Todo::GaveUp(why)) => {
                assert_eq!((why, when), (Failure::Unconfirmed, 30_000));
                break;
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(times[..5], [500, 1500, 3500, 7500, 11_500]);
    assert!(!t.on_protected(at(30_001), rng), "too late");
    assert_eq!(t.next_deadline().map(|d| d.1), Some(Why::BackOff));
}

#[test]
fn renews_in_time_make_before_break() {
    let rng = &mut SystemRandom::new();
    let mut t = terminal();
    register(&mut t, at(0));
    let (renew, why) = t.next_deadline().expect("due");
    assert_eq!(why, Why::Renewal);
    assert!((64_800_000..=77_760_000).contains(&renew), "75 to 90 % of a day: {renew}");
    assert_eq!(t.on_timer(at(renew - 1), rng), None);
    assert_eq!(t.on_timer(at(renew), rng), Some(Todo::Start));
    assert_eq!(t.on_timer(at(renew), rng), None, "said once");
    // The new registration fails; the old session stays to its end.
    let n1a = t.start(at(renew), rng).n1;
    t.on_refusal(at(renew), rng, Some(&n1a), &Refusal::Denied).expect("its refusal");
    assert!(t.is_active());
    let mut asked = 0;
    loop {
        let (when, _) = t.next_deadline().expect("due");
        match t.on_timer(at(when), rng) {
            Some(Todo::SessionEnded) => break assert_eq!(when, 86_400_000),
            Some(Todo::Start) => asked += 1,
            other => panic!("{other:?} at {when}"),
        }
        assert!(t.is_active());
    }
    assert!(asked > 10, "it goes on asking although nobody listens");
    assert!(!t.is_active());

    // A renewal that works replaces it.
    register(&mut t, at(86_400_000));
    register(&mut t, at(86_500_000));
    assert!(t.next_deadline().expect("due").0 > 86_500_000 + 64_000_000);
    t.renew(at(86_600_000));
    assert_eq!(t.next_deadline(), Some((86_600_000, Why::Renewal)));
}

#[test]
fn a_lost_session_is_replaced_after_a_pause() {
    let rng = &mut SystemRandom::new();
    let mut t = terminal();
    register(&mut t, at(0));
    t.session_lost(at(1000), rng);
    assert!(!t.is_active());
    let (until, why) = t.next_deadline().expect("due");
    assert_eq!(why, Why::BackOff);
    assert!((1500..=2000).contains(&until));
}

#[test]
fn a_life_of_no_time_does_not_spin() {
    let rng = &mut SystemRandom::new();
    let (mut t, mut draft) = before_s10(at(0));
    draft.life = 0;
    draft.deliver(&mut t, at(0), |_| {}).expect("accepted");
    assert!(t.on_protected(at(0), rng));
    assert_eq!(t.on_timer(at(0), rng), Some(Todo::SessionEnded));
    assert_eq!(t.on_timer(at(0), rng), None);
}
