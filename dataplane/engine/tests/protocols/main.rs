//! Every protocol that has no place for a handle, through the same engine: registered, confirmed, traffic both ways,
//! renewed, ended; and what attackers may try.

mod attacks;
#[path = "../common/mod.rs"]
#[allow(clippy::wrong_self_convention)]
mod common;
mod dialect;
mod h248;
mod mgcp;
mod ras;
mod stage;

use common::Session;
use dialect::{Dialect, Named, Said};
use portunus_engine::{Classes, Cookies, Lane, Policy, Terms};
use portunus_keydist::mech::{Mech, MechList};
use portunus_keydist::schedule::Key;
use portunus_keydist::steps::Refusal;
use portunus_keydist::{Idc, N1};
use stage::{Stage, Terminal, idsp};

const ALL: [&dyn Dialect; 3] = [&mgcp::Calls, &h248::Gateways, &ras::Endpoints];
const HERE: &str = "192.0.2.7:2427";
const ELSEWHERE: &str = "198.51.100.9:2944";

/// The lane that a terminal's session uses.
fn lane_of(stage: &mut Stage, terminal: &mut Terminal) -> Lane {
    let t = terminal.next();
    let request = stage.dialect.request(t, &terminal.idc);
    let (_, up) = stage.inside(terminal, &request);
    assert!(matches!(up[0].0, Lane::Of(_)));
    up[0].0
}

#[test]
fn registered_confirmed_and_traffic_both_ways() {
    for d in ALL {
        for (nth, mech) in [(0, Mech::Sealed), (1, Mech::Sealed), (0, Mech::Esp), (1, Mech::Esp)] {
            let policy = Policy { mechanisms: [mech].into_iter().collect(), ..Policy::default() };
            let mut stage = Stage::with(d, policy);
            let mut gateway = stage.terminal(nth, HERE);
            gateway.mechs = MechList::from_text("x-pkd-sealed ipsec-man;q=0.5;spi-c=256;port-c=1").unwrap();
            // s2 by the shared port, s8 by the terminal's own; steps acknowledged where they came.
            let s1 = gateway.s1(d, stage.now);
            let (_, up) = stage.access(gateway.meta(), &s1);
            assert_eq!(up.iter().map(|(lane, _)| *lane).collect::<Vec<_>>(), [Lane::Shared]);
            let said = stage.answer(&up[0].1);
            let mut s6 = None;
            for message in said {
                let (down, acknowledged) = stage.core_says(Lane::Shared, &message);
                s6 = down.into_iter().next().or(s6);
                assert!(acknowledged.iter().all(|(lane, _)| *lane == Lane::Shared));
                stage.heard.extend(acknowledged);
            }
            assert_eq!(stage.heard.len(), usize::from(d.has_receipts()));
            let s7 = gateway.s7(d, stage.now, &s6.expect("s6"));
            let s10 = stage.one(gateway.meta(), &s7);
            let lane = stage.heard.last().filter(|_| d.has_receipts()).map(|(lane, _)| *lane);
            assert!(gateway.on_s10(d, &s10), "{:?}", d.said(&s10));
            let confirmation = gateway.seal(0, b"");
            stage.access(gateway.sealed_meta(), &confirmation);
            assert_eq!(gateway.session.as_ref().map(Session::mech), Some(mech));
            // Inside the session numbers of transactions pass unchanged, both ways, by one lane.
            let request = d.request(900, &gateway.idc);
            let (down, up) = stage.inside(&mut gateway, &request);
            assert!(down.is_empty());
            let transaction = |octets: &[u8]| d.signalling().transaction(octets);
            assert_eq!((up.len(), transaction(&up[0].1)), (1, transaction(&request)));
            assert!(lane.is_none_or(|lane| lane == up[0].0) && matches!(up[0].0, Lane::Of(_)));
            let lane = up[0].0;
            for answer in [d.granted(&up[0].1), d.rejected(&up[0].1)] {
                let (down, up) = stage.outside(&gateway, lane, &answer);
                assert_eq!((down.len(), transaction(&down[0])), (1, transaction(&request)));
                assert!(up.is_empty());
            }
            let command = d.command(5005, &gateway.idc);
            let (down, up) = stage.outside(&gateway, lane, &command);
            assert_eq!((down.len(), up.len(), transaction(&down[0])), (1, 0, transaction(&command)));
            let done = d.done(&down[0], &gateway.idc);
            let (_, up) = stage.inside(&mut gateway, &done);
            assert_eq!((up.len(), up[0].0, transaction(&up[0].1)), (1, lane, transaction(&command)));
            let count = stage.count();
            assert_eq!((count.sessions_active, count.core_mismatched, count.core_unmatched), (1, 0, 0), "{count:?}");
            assert_eq!(count.core_steps_acknowledged, 2 * u64::from(d.has_receipts()));
            assert_eq!(count.core_acknowledged, 2 * u64::from(d.has_receipts()));
        }
    }
}

#[test]
fn repeated_messages_get_the_same_answers() {
    for d in ALL {
        let mut stage = Stage::new(d);
        let mut gateway = stage.terminal(0, HERE);
        let s1 = gateway.s1(d, stage.now);
        // While the core is silent the same s2 goes out again; afterwards the same s6 comes back.
        let (_, first) = stage.access(gateway.meta(), &s1);
        let (_, second) = stage.access(gateway.meta(), &s1);
        assert_eq!(first, second);
        let said = stage.answer(&first[0].1);
        let mut down: Vec<_> = said.iter().flat_map(|message| stage.core_says(Lane::Shared, message).0).collect();
        let s6 = down.pop().expect("s6");
        assert_eq!(stage.one(gateway.meta(), &s1), s6);
        // A step that the core repeats is acknowledged again, and nothing else comes of it.
        let (down, up) = stage.core_says(Lane::Shared, said.last().unwrap());
        assert_eq!((down.len(), up.len()), (0, usize::from(d.has_receipts())));
        let s7 = gateway.s7(d, stage.now, &s6);
        let s10 = stage.one(gateway.meta(), &s7);
        assert_eq!(stage.one(gateway.meta(), &s7), s10);
        assert!(gateway.on_s10(d, &s10));
        let count = stage.count();
        assert_eq!((count.s6_sent, count.s10_sent, count.sessions_provisional), (1, 1, 1));
        assert_eq!((count.retransmissions_relayed, count.retransmissions_answered), (1, 2));
    }
}

/// What is too much, or too long, is answered in each protocol's own words, where it answers at all.
#[test]
fn rates_and_sizes_hold_for_every_protocol() {
    for d in ALL {
        let terms = Terms { rate_s: 1, burst: 2, message: 1000, ..Terms::OPEN };
        let classes = Classes { base: terms, ..Classes::default() };
        let mut stage = Stage::with(d, Policy { classes, ..Policy::default() });
        let mut gateway = stage.active(0, HERE);
        let mut went = Vec::new();
        for n in 0..4 {
            let request = d.request(900 + n, &gateway.idc);
            let (down, up) = stage.inside(&mut gateway, &request);
            assert_eq!(down.len() + up.len(), 1);
            went.push(up.len());
        }
        assert_eq!(went, [1, 1, 0, 0]);
        let long = [d.request(910, &gateway.idc), vec![b' '; 1000]].concat();
        let (down, up) = stage.inside(&mut gateway, &long);
        assert!(up.is_empty() && down.len() <= 1);
        let count = stage.count();
        assert_eq!((count.rate_exceeded, count.message_too_long, count.relay_fault), (2, 1, 0));
    }
}

#[test]
fn a_granted_departure_ends_the_session_and_nothing_else_does() {
    for d in ALL {
        let mut stage = Stage::new(d);
        let mut gateway = stage.active(0, HERE);
        let idc = gateway.idc.clone();
        if let Some(refresh) = d.refresh(70, &idc) {
            let (_, up) = stage.inside(&mut gateway, &refresh);
            let answer = d.granted(&up[0].1);
            assert_eq!(stage.outside(&gateway, up[0].0, &answer).0.len(), 1);
        }
        let leave = d.leave(71, &idc);
        let (_, up) = stage.inside(&mut gateway, &leave);
        let (lane, asked) = up[0].clone();
        // Another transaction's success, and this one's failure.
        let other = d.granted(&d.request(72, &idc));
        stage.outside(&gateway, lane, &other);
        let no = d.rejected(&asked);
        assert_eq!(stage.outside(&gateway, lane, &no).0.len(), 1);
        assert_eq!((stage.count().sessions_active, stage.ended()), (1, 0));
        // Asked again under the same number (a retransmission), and granted: its last reply reaches the terminal.
        stage.inside(&mut gateway, &leave);
        let yes = d.granted(&asked);
        assert_eq!(stage.outside(&gateway, lane, &yes).0.len(), 1);
        assert_eq!((stage.count().sessions_active, stage.ended()), (0, 1));
        assert_eq!((stage.count().sessions_deregistered, stage.count().relay_fault), (1, 0));
        // What the core says now reaches nobody, and a command is answered for the terminal.
        let (down, up) = stage.core_says(lane, &d.command(5006, &idc));
        assert!(down.is_empty() && up.len() <= 1);
        assert_eq!(stage.count().core_unreachable, 1);
    }
}

#[test]
fn wrong_words_are_refused_or_challenged_again() {
    for d in ALL {
        let mut stage = Stage::new(d);
        let mut gateway = stage.terminal(0, HERE);
        let wrong = Key::new([9; 32]);
        for again in [false, true] {
            stage.core.again = again;
            let now = stage.now;
            let s1 = gateway.s1(d, now);
            let s6 = stage.one(gateway.meta(), &s1);
            let s7 = gateway.s7_with(d, now, &s6, &wrong);
            let back = stage.one(gateway.meta(), &s7);
            if !again {
                assert!(matches!(d.said(&back), Said::Refused(Refusal::Denied)), "{:?}", d.said(&back));
                continue;
            }
            // The second challenge answers s7, and the right word wins under the N1 of the first s1.
            assert!(matches!(d.said(&back), Said::Challenge { n1, .. } if n1 == gateway.n1b));
            let s7 = gateway.s7(d, now, &back);
            let s10 = stage.one(gateway.meta(), &s7);
            assert!(gateway.on_s10(d, &s10), "{:?}", d.said(&s10));
        }
        let count = stage.count();
        assert_eq!((count.denied_by_core, count.s6_renewed, count.s10_sent), (1, 1, 1), "{count:?}");
    }
}

#[test]
fn the_core_refuses_or_stays_silent() {
    for d in ALL {
        let mut stage = Stage::new(d);
        let mut gateway = stage.terminal(0, HERE);
        let s1 = gateway.s1(d, stage.now);
        let (_, up) = stage.access(gateway.meta(), &s1);
        let (idc, n1) = (Idc::new(&gateway.idc).unwrap(), Named::N1(gateway.n1a));
        let fail = d.fail(8000, &up[0].1, idsp(), idc, n1);
        let (down, _) = stage.core_says(Lane::Shared, &fail);
        assert!(matches!(d.said(&down[0]), Said::Refused(Refusal::Denied)), "{:?}", d.said(&down[0]));
        // An error instead of a receipt refuses as well.
        let s1 = gateway.s1(d, stage.now);
        let (_, up) = stage.access(gateway.meta(), &s1);
        let (down, _) = stage.core_says(Lane::Shared, &d.rejected(&up[0].1));
        assert!(matches!(d.said(&down[0]), Said::Refused(Refusal::Denied)), "{:?}", d.said(&down[0]));
        let s1 = gateway.s1(d, stage.now);
        stage.access(gateway.meta(), &s1);
        let down = stage.pass(5000);
        assert!(matches!(d.said(&down[0]), Said::Refused(Refusal::Busy { .. })), "{:?}", d.said(&down[0]));
        let count = stage.count();
        assert_eq!((count.denied_by_core, count.core_timeout, count.core_mismatched), (2, 1, 0));
    }
}

#[test]
fn who_waits_hears_that_the_core_is_at_it_and_waits_longer() {
    use portunus_h323::view::{Kind, Message};
    let d = &ras::Endpoints;
    let number = |octets: &[u8]| Message::parse(octets).unwrap().seq();
    let in_progress = |seq, ms| dialect::write(|w| portunus_h323::write::request_in_progress(seq, ms, w));
    let mut stage = Stage::new(d);
    let mut endpoint = stage.terminal(0, HERE);
    let s1 = endpoint.s1(d, stage.now);
    let (_, up) = stage.access(endpoint.meta(), &s1);
    assert_ne!(number(&up[0].1), number(&s1), "s2 has a number of the proxy's");
    assert!(stage.pass(3_000).is_empty());
    // One for another number is nobody's.
    let (down, _) = stage.core_says(Lane::Shared, &in_progress(number(&up[0].1) ^ 1, 60_000));
    assert!(down.is_empty());
    let (down, _) = stage.core_says(Lane::Shared, &in_progress(number(&up[0].1), 20_000));
    let told = Message::parse(&down[0]).unwrap();
    assert_eq!((told.kind(), told.seq(), told.delay_ms()), (Kind::RequestInProgress, number(&s1), Some(20_000)));
    assert!(stage.pass(19_000).is_empty(), "the wait has begun anew");
    let s6 = stage.answer(&up[0].1).remove(0);
    let (down, _) = stage.core_says(Lane::Shared, &s6);
    // s8 keeps the terminal's number; a short delay shortens nothing, and without an answer it ends.
    let s7 = endpoint.s7(d, stage.now, &down[0]);
    let (_, up) = stage.access(endpoint.meta(), &s7);
    let (down, _) = stage.core_says(up[0].0, &in_progress(number(&s7), 1));
    assert_eq!((down.len(), number(&down[0])), (1, number(&s7)));
    assert!(stage.pass(3_900).is_empty());
    let down = stage.pass(300);
    assert!(matches!(d.said(&down[0]), Said::Refused(Refusal::Busy { .. })), "{:?}", d.said(&down[0]));
    assert_eq!((stage.count().progress_sent, stage.count().core_timeout), (2, 1));
    // However often the core says so, who is not proven gets no more than three times what was sent.
    let s1 = endpoint.s1(d, stage.now);
    let (_, up) = stage.access(endpoint.meta(), &s1);
    let mut sent = 0;
    for _ in 0..200 {
        let (down, _) = stage.core_says(Lane::Shared, &in_progress(number(&up[0].1), 5_000));
        sent += down.iter().map(Vec::len).sum::<usize>();
    }
    assert!(sent > 2 * s1.len() && sent <= 3 * s1.len(), "{sent} for {}", s1.len());
}

#[test]
fn a_strangers_s1_with_the_same_n1_disturbs_nothing() {
    for d in ALL {
        let mut stage = Stage::new(d);
        let (mut honest, mut stranger) = (stage.terminal(0, HERE), stage.terminal(1, ELSEWHERE));
        let s1 = honest.s1(d, stage.now);
        let (_, up) = stage.access(honest.meta(), &s1);
        stranger.n1a = honest.n1a;
        let copied = stranger.s1_again(d, stage.now, None);
        let (_, nothing) = stage.access(stranger.meta(), &copied);
        assert!(nothing.is_empty());
        let replayed = stage.access(stranger.meta(), &s1).1;
        assert!(replayed.is_empty());
        assert_eq!(stage.count().n1_in_use, 2);
        let said = stage.answer(&up[0].1);
        let down: Vec<_> = said.iter().flat_map(|message| stage.core_says(Lane::Shared, message).0).collect();
        assert_eq!(down.len(), 1);
        let s7 = honest.s7(d, stage.now, &down[0]);
        let s10 = stage.one(honest.meta(), &s7);
        assert!(honest.on_s10(d, &s10));
    }
}

#[test]
fn steps_count_only_where_they_belong() {
    for d in ALL {
        let mut stage = Stage::new(d);
        let mut other = stage.active(1, ELSEWHERE);
        let foreign = lane_of(&mut stage, &mut other);
        let mut gateway = stage.terminal(0, HERE);
        let s1 = gateway.s1(d, stage.now);
        let (_, up) = stage.access(gateway.meta(), &s1);
        let s5 = stage.answer(&up[0].1).pop().unwrap();
        // s5 on somebody's lane; then where it belongs.
        assert!(stage.core_says(foreign, &s5).0.is_empty());
        let s6 = stage.core_says(Lane::Shared, &s5).0.remove(0);
        let s7 = gateway.s7(d, stage.now, &s6);
        let (_, up) = stage.access(gateway.meta(), &s7);
        let (own, s8) = up[0].clone();
        assert!(own != foreign && own != Lane::Shared);
        let s9 = stage.answer(&s8).pop().unwrap();
        for lane in [foreign, Lane::Shared] {
            assert!(stage.core_says(lane, &s9).0.is_empty());
        }
        // An s9 for a challenge that is not this one's.
        let (idc, rand) = (Idc::new(&gateway.idc).unwrap(), [0x77; 16]);
        let s9_msg = d.s9(8001, &s8, idsp(), idc, &rand, &portunus_keydist::steps::S9 { ekc: [1; 48], eksp: [2; 48] });
        assert!(stage.core_says(own, &s9_msg).0.is_empty());
        let s10 = stage.core_says(own, &s9).0.remove(0);
        assert!(gateway.on_s10(d, &s10));
        // Twice in a row: the second is late.
        assert!(stage.core_says(own, &s9).0.is_empty());
        let count = stage.count();
        assert_eq!((count.core_unmatched, count.s10_sent, count.unwrap_failed), (5, 2, 0), "{count:?}");
    }
}

#[test]
fn copies_and_strangers_get_nowhere() {
    for d in ALL {
        let mut stage = Stage::new(d);
        let mut gateway = stage.terminal(0, HERE);
        let now = stage.now;
        let s1 = gateway.s1(d, now);
        let s6 = stage.one(gateway.meta(), &s1);
        let s7 = gateway.s7(d, now, &s6);
        let elsewhere = portunus_engine::Meta { source: ELSEWHERE.parse().unwrap(), ..gateway.meta() };
        // s7 from another address spoils nothing; nor does s1.
        assert!(!stage.round(elsewhere, &s7).iter().any(|octets| matches!(d.said(octets), Said::Key)));
        assert!(stage.round(elsewhere, &s1).is_empty());
        let s10 = stage.one(gateway.meta(), &s7);
        assert!(gateway.on_s10(d, &s10));
        // Answered again under another N1: the challenge has served.
        let again = gateway.s7(d, now, &s6);
        assert!(matches!(d.said(&stage.one(gateway.meta(), &again)), Said::Refused(_)));
        let count = stage.count();
        assert_eq!((count.challenge_invalid, count.replayed_s1, count.challenge_reused), (1, 1, 1), "{count:?}");
        assert_eq!((count.s7_accepted, count.s10_sent), (1, 1));
    }
}

#[test]
fn what_is_not_authenticated_is_refused_and_names_are_bound() {
    for d in ALL {
        let mut stage = Stage::new(d);
        let mut gateway = stage.terminal(0, HERE);
        // Before there is a session.
        let request = d.request(1, &gateway.idc);
        let (down, up) = stage.access(gateway.meta(), &request);
        assert!(up.is_empty());
        assert!(down.iter().all(|octets| matches!(d.said(octets), Said::Receipt { error: true } | Said::Refused(_))));
        assert_eq!(stage.count().unprotected_refused, 1);
        stage.register(&mut gateway);
        // Outside of it, although there is one; and inside, in another's name.
        assert!(stage.access(gateway.meta(), &request).1.is_empty());
        let foreign = d.request(2, d.idcs()[1]);
        let (down, up) = stage.inside(&mut gateway, &foreign);
        assert!(up.is_empty() && down.len() <= 1, "{up:?}");
        let count = stage.count();
        assert_eq!(count.unprotected_refused, 2);
        assert_eq!(count.relay_refused + count.relay_fault + count.relay_dropped, 1);
    }
}

#[test]
fn a_cookie_comes_first_under_load() {
    for d in ALL {
        let mut stage = Stage::with(d, Policy { cookies: Cookies::Always, ..Policy::default() });
        let mut gateway = stage.terminal(0, HERE);
        let s1 = gateway.s1(d, stage.now);
        let Said::Cookie(cookie) = d.said(&stage.one(gateway.meta(), &s1)) else { panic!("no cookie") };
        let s1 = gateway.s1_again(d, stage.now, Some(&cookie));
        assert!(matches!(d.said(&stage.one(gateway.meta(), &s1)), Said::Challenge { .. }));
    }
}

#[test]
fn the_newer_session_takes_the_lane_over() {
    for d in ALL {
        let mut stage = Stage::new(d);
        let mut first = stage.active(0, HERE);
        let lane = lane_of(&mut stage, &mut first);
        let mut second = stage.terminal(0, ELSEWHERE);
        let now = stage.now;
        let s1 = second.s1(d, now);
        let s6 = stage.one(second.meta(), &s1);
        let s7 = second.s7(d, now, &s6);
        let s10 = stage.one(second.meta(), &s7);
        assert!(second.on_s10(d, &s10));
        // Until it is confirmed the older one is reached; the acknowledgements of s8 are not for it.
        let command = d.command(5007, &first.idc);
        assert_eq!(stage.outside(&first, lane, &command).0.len(), 1);
        let confirmation = second.seal(0, b"");
        stage.access(second.sealed_meta(), &confirmation);
        assert_eq!(stage.outside(&second, lane, &command).0.len(), 1);
        assert_eq!((stage.count().sessions_active, stage.count().sessions_replaced), (1, 1));
    }
}

#[test]
fn an_n1_is_free_again_once_it_is_answered() {
    for d in ALL {
        let mut stage = Stage::new(d);
        let mut gateway = stage.terminal(0, HERE);
        for _ in 0..100 {
            let s1 = gateway.s1(d, stage.now);
            let s6 = stage.one(gateway.meta(), &s1);
            assert!(matches!(d.said(&s6), Said::Challenge { n1, .. } if n1 == gateway.n1a));
        }
        let mut other = stage.terminal(1, HERE);
        other.n1a = gateway.n1a;
        let s1 = other.s1_again(d, stage.now, None);
        let s6 = stage.one(other.meta(), &s1);
        assert!(matches!(d.said(&s6), Said::Challenge { .. }));
        assert_eq!((stage.count().n1_in_use, stage.count().pendings), (0, 0));
        assert_ne!(N1::from_bits(0), other.n1a);
    }
}
