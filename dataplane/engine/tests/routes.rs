//! Several softswitches: each step reaches the one that it is for, and a terminal whose softswitch is silent begins anew.
mod common;

use common::*;
use portunus_engine::{Affinity, Routes, Rule, To};

fn routes() -> Routes {
    let rule = Rule { realm: Some("b.test".into()), prefix: None, route: 1 };
    Routes { served: vec!["a.test".into(), "b.test".into()], rules: vec![rule], several: true }
}

/// Where the one message that leaves goes, in the core.
fn way(out: &[(To, Vec<u8>)]) -> Affinity {
    let [(To::Core { affinity, .. }, _)] = out else { panic!("one message to the core: {out:?}") };
    Affinity(*affinity)
}

/// The seconds of Retry-After.
fn wait(answer: &[u8]) -> u32 {
    let text = String::from_utf8_lossy(answer);
    text.lines().find_map(|l| l.strip_prefix("Retry-After: ")).expect("it is there").trim().parse().expect("seconds")
}

#[test]
fn steps_and_sessions_keep_to_the_softswitch_that_made_the_challenge() {
    let mut world = World::routed(routes());
    let mut bob = world.phone("bob@b.test", "192.0.2.7:5060");
    let s1 = bob.s1(world.now);
    let s2 = world.access(bob.meta(), &s1);
    let first = way(&s2);
    assert_eq!((first.route(), first.home(), first.is_exact(), first.asks()), (1, 0, false, true));
    let s5 = world.core.answer(&s2[0].1);
    let s6 = world.switch_says(4, &s5).remove(0).1;
    let s7 = bob.s7(world.now, &s6);
    let s8 = world.access(bob.meta(), &s7);
    let second = way(&s8);
    assert_eq!((second.route(), second.home(), second.is_exact(), second.asks()), (1, 5, true, true));
    assert_eq!(second.lot(), first.lot());
    let s9 = world.core.answer(&s8[0].1);
    let s10 = world.switch_says(4, &s9).remove(0).1;
    assert!(bob.on_s10(&s10));
    world.confirm(&mut bob);
    // What he says in his session goes there too, and elsewhere when it is gone; silence means nothing.
    let said = b"MESSAGE sip:alice@a.test SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.7:5060;branch=z9hG4bKx\r\nMax-Forwards: 70\r\n\
        From: <sip:bob@b.test>;tag=1\r\nTo: <sip:alice@a.test>\r\nCall-ID: c1\r\nCSeq: 1 MESSAGE\r\nContent-Length: 0\r\n\r\n";
    let sealed = bob.seal(1, said);
    let up = way(&world.access(world.sealed(&bob), &sealed));
    assert_eq!((up.route(), up.home(), up.is_exact(), up.asks(), up.lot()), (1, 5, false, false, first.lot()));
    // Everybody else goes by the first route.
    let alice = world.phone("alice@a.test", "192.0.2.8:5060").s1(world.now);
    let meta = world.phone("alice@a.test", "192.0.2.8:5060").meta();
    assert_eq!(way(&world.access(meta, &alice)).route(), 0);
}

#[test]
fn a_realm_that_is_not_served_is_refused_and_counted() {
    let mut world = World::routed(routes());
    let mut eve = world.phone("eve@c.test", "192.0.2.9:5060");
    let s1 = eve.s1(world.now);
    assert_eq!(status(&world.one(&eve, &s1)), 403);
    let count = world.count();
    assert_eq!((count.realm_unserved, count.s1_accepted, count.pendings), (1, 0, 0));
}

#[test]
fn whose_softswitch_is_silent_begins_anew_at_once_where_there_are_others() {
    for several in [true, false] {
        let mut world = World::routed(Routes { several, ..routes() });
        let mut bob = world.phone("bob@b.test", "192.0.2.7:5060");
        let s1 = bob.s1(world.now);
        let s6 = world.one(&bob, &s1);
        let s7 = bob.s7(world.now, &s6);
        assert_eq!(world.access(bob.meta(), &s7).len(), 1);
        world.pass(4_500);
        let (_, answer) = world.sink.out.pop().expect("an answer");
        assert_eq!(status(&answer), 503);
        assert_eq!((1..=2).contains(&wait(&answer)), several, "{}", wait(&answer));
        assert_eq!(world.count().begun_anew, u64::from(several));
        // It does: nothing of the old registration is in the way, and no failure counts against it.
        world.register(&mut bob);
        assert_eq!(world.count().locked_slowed, 0);
    }
}
