//! Several realms: each question reaches its own AuC, and a dead one is nobody else's trouble.

use super::*;

const OWN: &[&str] = &["example.test"];
const OTHER: &[&str] = &["b.test"];

#[test]
fn questions_and_records_go_to_the_subscribers_own_realm() {
    let mut w = World::routed(&[OWN, OTHER], false, Limits::default(), 512);
    let (own, other) = (w.ask(1, None).unwrap(), w.ask_of("b.test", 2, None).unwrap());
    let records = [w.account_of("b.test").unwrap(), w.account().unwrap()];
    w.settle();
    assert!(w.rand_of(own).is_some() && w.rand_of(other).is_some());
    for id in records {
        assert!(w.events.iter().any(|(_, e)| e.id == id && e.outcome == Ok(AaaAnswer::Recorded)));
    }
    for server in [0, 1] {
        assert_eq!(w.client.link_counters(server).unwrap().answers, 2, "one question and one record each");
    }
    // Nobody leads there: said at once, counted, and nothing is sent.
    let nowhere = w.ask_of("c.test", 3, None).unwrap();
    w.settle();
    assert!(w.events.iter().any(|(_, e)| e.id == nowhere && e.outcome == Err(Unreachable)));
    assert_eq!((w.client.counters().unroutable, w.client.in_flight()), (1, 0));
}

#[test]
fn a_dead_foreign_auc_slows_nobody_else() {
    let limits = Limits { authenticate: 240, ..Limits::default() };
    let mut w = World::routed(&[OWN, OTHER], false, limits, 100);
    w.ends[1].1 = false;
    // More for the dead one than its window and its share hold.
    let taken = (0..1_000).filter(|n| w.ask_of("b.test", *n, None).is_ok()).count();
    assert_eq!(taken, 160, "half of the room, and a third of the rest");
    w.settle();
    // Ours are answered at once, many times over, while those wait.
    for n in 0..500 {
        let id = w.ask(5_000 + n, None).unwrap();
        w.settle();
        assert!(w.rand_of(id).is_some(), "{n}");
    }
    // It is found out; from then on a canary at a time is in flight, and the others are told at once.
    w.run(3_000);
    assert_eq!((w.client.health(0), w.client.health(1)), (Some(Health::Up), Some(Health::Down)));
    let before = w.events.len();
    for n in 0..200 {
        w.ask_of("b.test", 10_000 + n, None).unwrap();
    }
    w.settle();
    assert!(w.events.len() >= before + 199, "{}", w.events.len() - before);
    assert!(w.client.in_flight() <= 2);
    // And back.
    w.ends[1].1 = true;
    w.run(7_000);
    let id = w.ask_of("b.test", 20_000, None).unwrap();
    w.settle();
    assert!(w.rand_of(id).is_some());
}

#[test]
fn those_who_wait_for_their_own_server_are_not_behind_those_of_another() {
    let mut w = World::routed(&[OWN, OTHER], false, Limits::default(), 8);
    w.ends[1].1 = false;
    // Windows of eight: the rest waits, the dead realm's first.
    for n in 0..600 {
        w.ask_of("b.test", n, None).unwrap();
    }
    let ids: Vec<_> = (0..200).map(|n| w.ask(1_000 + n, None).unwrap()).collect();
    w.settle();
    for id in ids {
        assert!(w.rand_of(id).is_some());
    }
}
