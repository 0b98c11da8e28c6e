//! Who may listen, change, copy and hold back everything on the access side, in every protocol: nobody gets in but who
//! holds the key, the terminal accepts nothing that was changed, and each attempt has its counter.

use super::dialect::Said;
use super::stage::{Stage, Terminal};
use super::{ALL, ELSEWHERE, HERE};
use portunus_engine::Meta;
use portunus_keydist::schedule::Key;
use portunus_keydist::steps::Refusal;

/// s1 to s7: the message that is about to be sent.
fn about_to_answer(stage: &mut Stage, terminal: &mut Terminal) -> Vec<u8> {
    let (d, now) = (stage.dialect, stage.now);
    let s1 = terminal.s1(d, now);
    let s6 = stage.one(terminal.meta(), &s1);
    terminal.s7(d, now, &s6)
}

/// Where a text stands in a message.
fn find(octets: &[u8], text: &[u8]) -> usize {
    octets.windows(text.len()).position(|w| w == text).expect("the text stands in it")
}

#[test]
fn a_bit_flipped_anywhere_in_s10_and_it_is_not_accepted() {
    for d in ALL {
        let mut stage = Stage::new(d);
        let mut terminal = stage.terminal(0, HERE);
        let s7 = about_to_answer(&mut stage, &mut terminal);
        let s10 = stage.one(terminal.meta(), &s7);
        let mut forged = s10.clone();
        for bit in 0..forged.len() * 8 {
            forged[bit / 8] ^= 1 << (bit % 8);
            assert!(!terminal.on_s10(d, &forged), "bit {bit}");
            forged[bit / 8] ^= 1 << (bit % 8);
        }
        for end in 0..s10.len() {
            assert!(!terminal.on_s10(d, &s10[..end]), "cut at {end}");
        }
        for more in [&b"\r\n"[..], b"\0", b" ", b"."] {
            assert!(!terminal.on_s10(d, &[&s10, more].concat()), "{more:?} behind it");
        }
        assert!(terminal.on_s10(d, &s10));
    }
}

#[test]
fn an_edited_list_is_seen_and_the_session_dies_unconfirmed() {
    for d in ALL {
        let mut stage = Stage::new(d);
        let mut terminal = stage.terminal(0, HERE);
        let mut s7 = about_to_answer(&mut stage, &mut terminal);
        // Bidding down, as far as the same length allows.
        let at = find(&s7, b"x-pkd-sealed;q=0.9") + b"x-pkd-sealed;q=0.".len();
        s7[at] = b'1';
        let s10 = stage.one(terminal.meta(), &s7);
        assert!(d.key(&s10).is_some_and(|key| key.mechs.contains("q=0.1")));
        assert!(!terminal.on_s10(d, &s10), "the echo is not what was offered");
        stage.pass(31_000);
        let count = stage.count();
        assert_eq!((count.sessions_active, count.sessions_confirmed, count.sessions_unconfirmed), (0, 0, 1));
    }
}

#[test]
fn steps_out_of_order_late_and_again() {
    for d in ALL {
        let mut stage = Stage::new(d);
        let mut terminal = stage.terminal(0, HERE);
        // s7 that answers what another proxy (or nobody) asked: same words, N2 not made here.
        let s7 = about_to_answer(&mut stage, &mut terminal);
        let mut early = Stage::new(d);
        let mut known = early.terminal(0, HERE);
        let elsewhere = Meta { source: ELSEWHERE.parse().unwrap(), ..known.meta() };
        assert!(!early.round(elsewhere, &s7).iter().any(|octets| d.key(octets).is_some()));
        assert_eq!((early.count().challenge_invalid, early.count().s7_accepted), (1, 0));
        known.n1a = terminal.n1a;
        // Held back for longer than a challenge lives.
        stage.pass(10_500);
        let back = stage.one(terminal.meta(), &s7);
        assert!(matches!(d.said(&back), Said::Refused(_)), "{:?}", d.said(&back));
        assert_eq!(stage.count().challenge_expired, 1);
        // An s1 from before the window, and one from behind it.
        let mut now = stage.now;
        for ahead in [false, true] {
            now.wall_ms = if ahead { stage.now.wall_ms + 31_000 } else { stage.now.wall_ms - 31_000 };
            let s1 = terminal.s1(d, now);
            let back = stage.one(terminal.meta(), &s1);
            assert!(matches!(d.said(&back), Said::Refused(Refusal::Stale { .. })), "{:?}", d.said(&back));
        }
        assert_eq!(stage.count().clock_stale, 2);
        // The key of one attempt is none of the next.
        let s7 = about_to_answer(&mut stage, &mut terminal);
        let old = stage.one(terminal.meta(), &s7);
        let next = about_to_answer(&mut stage, &mut terminal);
        assert!(!terminal.on_s10(d, &old));
        let s10 = stage.one(terminal.meta(), &next);
        assert!(!terminal.on_s10(d, &old) && terminal.on_s10(d, &s10));
        assert_eq!((stage.count().sessions_active, stage.count().unwrap_failed), (0, 0));
    }
}

#[test]
fn whoever_lacks_the_key_never_gets_one_whatever_is_tried() {
    for d in ALL {
        let mut stage = Stage::new(d);
        let mut victim = stage.active(0, HERE);
        let mut thief = stage.terminal(0, ELSEWHERE);
        for n in 0..40u8 {
            let now = stage.now;
            let s1 = thief.s1(d, now);
            let back = stage.round(thief.meta(), &s1);
            // Slowed down, and then ignored.
            let Some(s6) = back.into_iter().find(|octets| matches!(d.said(octets), Said::Challenge { .. })) else {
                continue;
            };
            let s7 = thief.s7_with(d, now, &s6, &Key::new([n; 32]));
            assert!(!stage.round(thief.meta(), &s7).iter().any(|octets| d.key(octets).is_some()));
        }
        let count = stage.count();
        assert!(count.denied_by_core > 0 && count.locked_slowed + count.locked_ignored > 0, "{count:?}");
        assert_eq!((count.sessions_active, count.sessions_replaced), (1, 0));
        // It disturbs nobody: not the session, and not a new registration from where its owner is.
        let request = d.request(88, &victim.idc);
        assert_eq!(stage.inside(&mut victim, &request).1.len(), 1);
        stage.register(&mut victim);
    }
}

/// Every bit of s1 and s7 flipped on its way. What then passes is what says the same (letters that have no case, white
/// space, what nobody reads): the terminal accepts it, or it accepts nothing.
#[test]
fn flipped_bits_on_the_way_change_nothing_or_are_refused() {
    for d in ALL {
        let mut stage = Stage::new(d);
        let mut terminal = stage.terminal(0, HERE);
        let (now, mut bit, mut accepted, mut refused) = (stage.now, 0, 0, 0);
        loop {
            let s1 = terminal.s1(d, now);
            let back = stage.round(terminal.meta(), &s1);
            let Some(s6) = back.iter().find(|octets| matches!(d.said(octets), Said::Challenge { .. })) else {
                // What the flips cost is kept for a while: on with a proxy that remembers nothing.
                stage = Stage::new(d);
                terminal = stage.terminal(0, HERE);
                terminal.n1a = portunus_keydist::N1::from_bits(bit as u64);
                continue;
            };
            let mut s7 = terminal.s7(d, now, s6);
            if bit >= s7.len() * 8 {
                break;
            }
            s7[bit / 8] ^= 1 << (bit % 8);
            bit += 7;
            let back = stage.round(terminal.meta(), &s7);
            let key = back.iter().find(|octets| d.key(octets).is_some());
            match key.is_some_and(|s10| terminal.on_s10(d, s10)) {
                true => {
                    accepted += 1;
                    terminal.session = None;
                }
                false => refused += 1,
            }
            assert_eq!(stage.count().sessions_confirmed, 0);
        }
        assert!(refused > accepted * 3, "accepted {accepted}, refused {refused}");
    }
}
