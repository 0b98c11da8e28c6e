//! The terminal's role under any order of events: whatever comes, it accepts only what is right, offers its whole
//! list, never spins, and always has something to wait for while it is not registered.

use portunus_codec::hex_encode;
use portunus_keydist::auc::{Decoy, vector};
use portunus_keydist::mech::{MechList, Sel};
use portunus_keydist::schedule::{For, WrapCtx, message_mac};
use portunus_keydist::steps::{Refusal, S3, S4, S6, S10};
use portunus_keydist::terminal::{Config, KeyMessage, Next, Reject, Terminal, Todo};
use portunus_keydist::timing::Repeat;
use portunus_keydist::{Idc, Idsp, Key, N1, Now, Random};
use proptest::prelude::*;
use std::sync::Arc;

const LIST: &str = "x-pkd-sealed;q=0.9 tls;q=0.5";

/// A small seeded generator (splitmix64): runs are repeatable.
struct Seeded(u64);

impl Random for Seeded {
    fn fill(&mut self, out: &mut [u8]) {
        for chunk in out.chunks_mut(8) {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = self.0;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            chunk.copy_from_slice(&(z ^ (z >> 31)).to_le_bytes()[..chunk.len()]);
        }
    }
}

#[derive(Debug, Clone)]
enum Event {
    Start,
    /// s6 for the newest s1 or s7, or for an older one.
    Challenge {
        newest: bool,
        skew_ms: i64,
    },
    Cookie {
        newest: bool,
    },
    Refuse {
        newest: bool,
        kind: u8,
    },
    /// s10 for the newest or an older s7; `flaw` 0 is flawless.
    Key {
        newest: bool,
        flaw: u8,
    },
    Protected,
    Renew,
    Lost,
    Wait {
        ms: u64,
    },
}

fn event() -> impl Strategy<Value = Event> {
    let newest = || prop::bool::weighted(0.8);
    prop_oneof![
        2 => Just(Event::Start),
        4 => (newest(), prop_oneof![3 => -29_000i64..29_000, 1 => -60_000i64..60_000])
            .prop_map(|(newest, skew_ms)| Event::Challenge { newest, skew_ms }),
        1 => newest().prop_map(|newest| Event::Cookie { newest }),
        1 => (newest(), 0u8..5).prop_map(|(newest, kind)| Event::Refuse { newest, kind }),
        4 => (newest(), prop_oneof![2 => Just(0u8), 1 => 1u8..8]).prop_map(|(newest, flaw)| Event::Key { newest, flaw }),
        2 => Just(Event::Protected),
        1 => Just(Event::Renew),
        1 => Just(Event::Lost),
        3 => prop_oneof![0u64..5_000, 0u64..100_000_000].prop_map(|ms| Event::Wait { ms }),
    ]
}

/// The world around one terminal, which knows what the terminal may believe.
struct World {
    terminal: Terminal,
    rng: Seeded,
    now: Now,
    kc: Key,
    ksp: Key,
    /// Every (N1a, N1 sent last, vector challenged with) so far; the last is under way, if any is.
    n1a: Vec<N1>,
    sent: Vec<N1>,
    keys: Vec<(N1, N1, S4)>,
    accepted: bool,
}

fn names() -> (Idc<'static>, Idsp<'static>) {
    (Idc::new("alice@example.test").expect("an IDc"), Idsp::new("sp1.example.test").expect("an IDsp"))
}

fn pick<T: Clone>(all: &[T], newest: bool) -> Option<T> {
    if newest { all.last().cloned() } else { all.first().cloned() }
}

impl World {
    fn new(seed: u64) -> Self {
        let (kc, ksp, (idc, idsp)) = (Key::new([3; 32]), Key::new([4; 32]), names());
        let mechs = MechList::from_text(LIST).expect("a list");
        let terminal = Terminal::new(idc, idsp, &kc, Arc::new(Config::new(mechs, Repeat::SIP_UDP)));
        let now = Now { mono_ms: 1, wall_ms: 1_790_000_000_000 };
        let (n1a, sent, keys) = (Vec::new(), Vec::new(), Vec::new());
        Self { terminal, rng: Seeded(seed), now, kc, ksp, n1a, sent, keys, accepted: false }
    }

    fn began(&mut self, n1: N1) {
        assert!(!self.sent.contains(&n1), "an N1 is never used again");
        self.n1a.push(n1);
        self.sent.push(n1);
        self.accepted = false;
    }

    fn start(&mut self) {
        let s1 = self.terminal.start(self.now, &mut self.rng);
        let n1 = s1.n1;
        assert_eq!(s1.cookie, None);
        self.began(n1);
    }

    fn challenge(&mut self, newest: bool, skew_ms: i64) {
        let (Some(n1), Some(n1a)) = (pick(&self.sent, newest), self.n1a.last().copied()) else { return };
        let (idc, idsp) = names();
        let decoy = Decoy::new(Key::new([9; 32]));
        let s3 = S3 { idc, idsp, n1: n1a };
        let s4 = vector(&mut self.rng, Some(&self.kc), &decoy, Some(&self.ksp), &s3).expect("known");
        let ts = self.now.wall_ms.saturating_add_signed(skew_ms);
        let s6 = S6 { idsp, n1, n2: b"n2a", ts, rand: s4.rand };
        match self.terminal.on_challenge(self.now, &mut self.rng, &s6) {
            Ok(s7) => {
                assert_eq!(s7.mechs.as_str(), LIST, "never less");
                assert_eq!((s7.auth_c, s7.n2), (s4.auth_c, &b"n2a"[..]));
                assert_eq!(Some(&n1), self.sent.last(), "only what answers the newest");
                let n1b = s7.n1;
                assert!(!self.sent.contains(&n1b));
                self.sent.push(n1b);
                self.keys.push((n1a, n1b, s4));
            }
            Err(Reject::Clock | Reject::Late | Reject::TooMany | Reject::NotAwaited) => {}
            Err(other) => panic!("{other:?}"),
        }
    }

    fn cookie(&mut self, newest: bool) {
        let Some(n1) = pick(&self.sent, newest) else { return };
        if let Ok(s1) = self.terminal.on_cookie(self.now, &mut self.rng, &n1, self.now.wall_ms, b"c") {
            assert_eq!((s1.n1, s1.cookie), (n1, Some(&b"c"[..])));
            assert_eq!(Some(&n1), self.n1a.last());
        }
    }

    fn refuse(&mut self, newest: bool, kind: u8) {
        let Some(n1) = pick(&self.sent, newest) else { return };
        let stale = Refusal::Stale { ts: self.now.wall_ms };
        let busy = Refusal::Busy { retry_after_s: 7 };
        let all = [Refusal::Denied, Refusal::Mechanism, Refusal::Malformed, busy, stale];
        let refusal = all[usize::from(kind)];
        match self.terminal.on_refusal(self.now, &mut self.rng, Some(&n1), &refusal) {
            Ok(Next::Send(s1)) => {
                let n1 = s1.n1;
                self.began(n1);
            }
            Ok(Next::Wait { until_ms }) => assert!(until_ms > self.now.mono_ms),
            Err(reject) => assert_eq!(reject, Reject::NotAwaited),
        }
    }

    fn key(&mut self, newest: bool, flaw: u8) {
        let Some((n1a, n1b, s4)) = pick(&self.keys, newest) else { return };
        let (idc, idsp) = names();
        let mechs = if flaw == 1 { "tls;q=0.5" } else { LIST };
        let sel = Sel::sealed(5, 5065);
        let sel = if flaw == 2 { "ipsec-man;spi-s=300;port-s=5070" } else { sel.as_str() };
        let ts = self.now.wall_ms + if flaw == 3 { 100_000 } else { 0 };
        let mut message = format!("{mechs} {sel} {ts} {}", "0".repeat(64)).into_bytes();
        let field = message.len() - 64..message.len();
        let ctx = WrapCtx { idc, idsp, rand: &s4.rand, n1a: &n1a };
        let key = self.ksp.prk().unwrap(For::Proxy, &ctx, &s4.eksp).expect("opens");
        let mac_key = key.secret(&s4.rand).mac_key();
        let mac = message_mac(&mac_key, &message, field.clone(), &[b'0'; 64]).expect("inside");
        hex_encode(&mac, &mut message[field.clone()]);
        if flaw == 4 {
            message[0] ^= 1;
        }
        let mut ekc = s4.ekc;
        ekc[0] ^= u8::from(flaw == 5);
        let other = Idsp::new("sp2.example.test").expect("an IDsp");
        let idsp = if flaw == 6 { other } else { idsp };
        let s10 = S10 { idsp, n1: n1b, n2: N1::from_bits(1), ts, life: 600, ekc, sel, mechs };
        let key = KeyMessage { s10, message: &message, mac_field: field, terms_kept: flaw != 7 };
        if self.terminal.on_key(self.now, &mut self.rng, &key).is_ok() {
            assert_eq!(flaw, 0);
            assert_eq!(self.sent.last(), Some(&n1b), "only what answers the newest");
            assert!(!self.accepted, "once");
            self.accepted = true;
        }
    }

    fn protected(&mut self) {
        if self.terminal.on_protected(self.now, &mut self.rng) {
            assert!(self.accepted, "nothing is active that was not accepted");
            assert!(self.terminal.is_active());
            self.accepted = false;
        }
    }

    /// Follows the clock as a driver does.
    fn wait(&mut self, ms: u64) {
        let until = self.now.mono_ms + ms;
        for _ in 0..200 {
            let Some((at, _)) = self.terminal.next_deadline().filter(|(at, _)| *at <= until) else { break };
            let step = at.saturating_sub(self.now.mono_ms);
            self.now = Now { mono_ms: self.now.mono_ms + step, wall_ms: self.now.wall_ms + step };
            let mut due = 0;
            while let Some(todo) = self.terminal.on_timer(self.now, &mut self.rng) {
                due += 1;
                assert!(due < 5, "it spins");
                match todo {
                    Todo::Start => self.start(),
                    Todo::GaveUp(_) => self.accepted = false,
                    Todo::SessionEnded => assert!(!self.terminal.is_active()),
                    Todo::Confirm => assert!(self.accepted),
                    Todo::Repeat => {}
                }
            }
            assert!(self.terminal.next_deadline().is_none_or(|(at, _)| at > self.now.mono_ms), "it spins");
        }
    }

    fn apply(&mut self, event: &Event) {
        match *event {
            Event::Start => self.start(),
            Event::Challenge { newest, skew_ms } => self.challenge(newest, skew_ms),
            Event::Cookie { newest } => self.cookie(newest),
            Event::Refuse { newest, kind } => self.refuse(newest, kind),
            Event::Key { newest, flaw } => self.key(newest, flaw),
            Event::Protected => self.protected(),
            Event::Renew => self.terminal.renew(self.now),
            Event::Lost => self.terminal.session_lost(self.now, &mut self.rng),
            Event::Wait { ms } => self.wait(ms),
        }
        let begun = !self.sent.is_empty();
        assert!(!begun || self.terminal.next_deadline().is_some(), "it always has something to wait for");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn any_order(seed: u64, events in proptest::collection::vec(event(), 1..60)) {
        let mut world = World::new(seed);
        for event in &events {
            world.apply(event);
        }
        // And it still registers once it is let.
        world.start();
        world.challenge(true, 0);
        if world.keys.last().map(|k| k.1) != world.sent.last().copied() {
            // The clock was led astray; the challenge just now corrected it.
            world.start();
            world.challenge(true, 0);
        }
        world.key(true, 0);
        world.protected();
        prop_assert!(world.terminal.is_active());
    }
}
