//! Limits: full tables, a silent or full core, floods.
mod common;

use common::*;
use portunus_engine::{Capacity, Command, Config, Cookies, Engine, Policy, To};
use portunus_sip::carriage::terminal::{Answer, read_answer};
use portunus_sip::view::{Message, Name};
use std::sync::Arc;

fn retry_after(octets: &[u8]) -> u32 {
    let msg = Message::parse(octets).unwrap();
    std::str::from_utf8(msg.value(Name::RetryAfter).expect("Retry-After")).unwrap().trim().parse().unwrap()
}

#[test]
fn a_silent_core_is_answered_503_with_jitter() {
    let mut world = World::new();
    let mut waits = Vec::new();
    let mut phones: Vec<Phone> =
        (0..20).map(|i| world.phone(&format!("t{i}@x"), &format!("192.0.2.{i}:5060"))).collect();
    for phone in &mut phones {
        let s1 = phone.s1(world.now);
        world.access(phone.meta(), &s1);
    }
    assert_eq!(world.count().pendings, 20);
    world.pass(4_100);
    for (_, answer) in std::mem::take(&mut world.sink.out) {
        assert_eq!(status(&answer), 503);
        waits.push(retry_after(&answer));
    }
    assert_eq!((waits.len(), world.count().core_timeout, world.count().pendings), (20, 20, 0));
    assert!(waits.iter().all(|wait| (5..=30).contains(wait)));
    waits.sort_unstable();
    waits.dedup();
    assert!(waits.len() > 4, "spread: {waits:?}");
}

#[test]
fn an_answered_word_pushes_the_oldest_unproven_work_out() {
    let small = Capacity { pendings: 16, ..capacity() };
    let policy = Policy { cookies: Cookies::Never, busy_percent: 100, drop_percent: 100, ..Policy::default() };
    let mut world = World::with(policy, small);
    let mut honest = world.phone("alice@example.test", "192.0.2.7:5060");
    let s1 = honest.s1(world.now);
    let s6 = world.one(&honest, &s1);
    let mut first = None;
    for i in 0..16 {
        let mut phone = world.phone(&format!("t{i}@x"), &format!("192.0.2.{}:5060", 100 + i));
        let s1 = phone.s1(world.now);
        assert_eq!(world.access(phone.meta(), &s1).len(), 1);
        first.get_or_insert(phone.addr);
    }
    let s7 = honest.s7(world.now, &s6);
    let out = world.access(honest.meta(), &s7);
    assert_eq!((out.len(), status(&out[0].1)), (2, 503));
    assert!(matches!(out[0].0, To::Access { addr, .. } if Some(addr) == first), "the oldest is told so");
    assert!(matches!(out[1].0, To::Core { .. }));
    assert_eq!((world.count().pending_evicted, world.count().pendings), (1, 16));
}

#[test]
fn admission_goes_from_cookies_to_503_to_silence() {
    let small = Capacity { pendings: 20, ..capacity() };
    let mut world = World::with(Policy::default(), small);
    let mut seen = Vec::new();
    for i in 0..60 {
        let mut phone = world.phone(&format!("t{i}@x"), &format!("192.0.2.{i}:5060"));
        let s1 = phone.s1(world.now);
        let out = world.access(phone.meta(), &s1);
        let mut what = out.first().map_or("nothing", |(to, octets)| match to {
            To::Core { .. } => "s2",
            To::Access { .. } if status(octets) == 503 => "503",
            To::Access { .. } => "cookie",
        });
        if what == "cookie" {
            let Answer::Cookie { cookie, .. } = read_answer(&out[0].1).unwrap().answer else { panic!("a cookie") };
            let s1 = phone.s1_again(world.now, Some(cookie));
            let out = world.access(phone.meta(), &s1);
            what = if matches!(out[0].0, To::Core { .. }) { "cookie, s2" } else { "cookie, 503" };
        }
        seen.push(what);
    }
    assert!(seen[..10].iter().all(|w| *w == "s2"), "{seen:?}");
    assert!(seen[10..16].iter().all(|w| *w == "cookie, s2"), "{seen:?}");
    assert!(seen[16..].iter().all(|w| *w == "503"), "{seen:?}");
    let count = world.count();
    assert_eq!((count.pendings, count.shed_busy, count.shed_dropped), (16, 44, 0));
    // Proven work still gets in above that, up to silence for the others.
    world.command(Command::Reload(Arc::new(Policy { drop_percent: 80, busy_percent: 80, ..Policy::default() })));
    let mut phone = world.phone("late@x", "198.51.100.1:5060");
    let s1 = phone.s1(world.now);
    assert!(world.access(phone.meta(), &s1).is_empty());
    assert_eq!(world.count().shed_dropped, 1);
}

#[test]
fn a_full_queue_to_the_core_is_counted_and_a_retransmission_gets_through() {
    let mut world = World::new();
    let mut phone = world.phone("alice@example.test", "192.0.2.7:5060");
    let s1 = phone.s1(world.now);
    world.sink.core_is_full = true;
    assert!(world.access(phone.meta(), &s1).is_empty());
    assert_eq!(world.count().core_queue_full, 1);
    world.sink.core_is_full = false;
    let s6 = world.one(&phone, &s1);
    world.sink.access_is_full = true;
    let s7 = phone.s7(world.now, &s6);
    assert!(world.round(phone.meta(), &s7).is_empty());
    world.sink.access_is_full = false;
    let s10 = world.one(&phone, &s7);
    assert!(phone.on_s10(&s10), "the answer was kept though it could not be sent");
    assert_eq!(world.count().access_queue_full, 1);
}

#[test]
fn full_sessions_and_a_full_replay_set_are_busy() {
    let mut world = World::with(Policy::default(), Capacity { sessions: 2, ..capacity() });
    for i in 0..2 {
        world.active(&format!("t{i}@x"), &format!("192.0.2.{i}:5060"));
    }
    let mut phone = world.phone("late@x", "198.51.100.1:5060");
    let s1 = phone.s1(world.now);
    let s6 = world.one(&phone, &s1);
    let s7 = phone.s7(world.now, &s6);
    assert_eq!(status(&world.one(&phone, &s7)), 503);
    assert_eq!(world.count().session_full, 1);

    let mut world = World::with(Policy::default(), Capacity { replay: 1024, ..capacity() });
    let mut busy = 0;
    for i in 0..1100 {
        let mut phone = world.phone(&format!("t{i}@x"), "192.0.2.1:5060");
        let s1 = phone.s1(world.now);
        busy += u64::from(status(&world.one(&phone, &s1)) == 503);
    }
    assert!(busy > 0);
    assert_eq!(world.count().replay_full, busy);
}

#[test]
fn draining_refuses_the_new_and_finishes_the_old() {
    let mut world = World::new();
    let mut active = world.active("alice@example.test", "192.0.2.7:5060");
    let mut phone = world.phone("bob@example.test", "192.0.2.8:5060");
    let s1 = phone.s1(world.now);
    let s6 = world.one(&phone, &s1);
    world.command(Command::Drain);
    let mut newer = world.phone("carol@example.test", "192.0.2.9:5060");
    let s1 = newer.s1(world.now);
    assert_eq!(status(&world.one(&newer, &s1)), 503);
    let s7 = phone.s7(world.now, &s6);
    let s10 = world.one(&phone, &s7);
    assert!(phone.on_s10(&s10));
    world.confirm(&mut phone);
    let ping = active.seal(0, b"");
    assert_eq!(world.access(world.sealed(&active), &ping).len(), 1);
    assert!(world.engine.is_idle());
    world.command(Command::Resume);
    let s1 = newer.s1(world.now);
    assert_eq!(status(&world.one(&newer, &s1)), 401);
}

#[test]
fn repeated_failures_are_slowed_and_then_ignored() {
    let mut world = World::new();
    world.core.retries = 0;
    let mut phone = world.phone("alice@example.test", "192.0.2.7:5060");
    let mut statuses = Vec::new();
    for _ in 0..14 {
        let s1 = phone.s1(world.now);
        let out = world.round(phone.meta(), &s1);
        let Some((_, answer)) = out.first() else {
            statuses.push(0);
            continue;
        };
        if status(answer) == 401 {
            let s7 = phone.s7_with(world.now, &challenge(answer), [1; 32]);
            statuses.push(status(&world.one(&phone, &s7)));
        } else {
            statuses.push(status(answer));
            world.pass(u64::from(retry_after(answer)) * 1000);
        }
    }
    assert!(statuses.contains(&503) && statuses[..3] == [403; 3], "{statuses:?}");
    // The neighbour behind the same address registers as ever.
    let mut neighbour = world.phone("bob@example.test", "192.0.2.7:5061");
    world.register(&mut neighbour);
    assert!(world.count().locked_slowed > 0);
}

#[test]
fn no_unproven_source_gets_more_than_three_times_what_it_sent() {
    let mut world = World::new();
    let mut phone = world.phone("alice@example.test", "192.0.2.7:5060");
    let mut rng = Seeded(9);
    let mut sent = 0;
    let mut received = 0;
    for _ in 0..300 {
        let mut s1 = phone.s1(world.now);
        // Cut or altered at will.
        use portunus_keydist::Random as _;
        let at = rng.next_u64() as usize % s1.len();
        match rng.next_u64() % 3 {
            0 => s1.truncate(at),
            1 => s1[at] ^= 1 << (at % 8),
            _ => {}
        }
        let out = world.round(phone.meta(), &s1);
        let back: usize = out.iter().map(|(_, octets)| octets.len()).sum();
        assert!(back <= 3 * s1.len(), "{back} for {}", s1.len());
        sent += s1.len();
        received += back;
    }
    assert!(received > 0 && received <= 3 * sent);
}

#[test]
fn what_is_too_long_or_unreadable_is_counted() {
    let mut world = World::new();
    let mut phone = world.phone("alice@example.test", "192.0.2.7:5060");
    let s1 = String::from_utf8(phone.s1(world.now)).unwrap();
    let long = s1.replace("Max-Forwards: 70\r\n", &format!("Max-Forwards: 70\r\nX: {}\r\n", "y".repeat(2000)));
    assert_eq!(status(&world.one(&phone, long.as_bytes())), 513);
    assert_eq!(world.count().request_too_long, 1);
    assert!(world.access(phone.meta(), &[0xff; 200]).is_empty());
    assert_eq!(world.count().fault_unreadable, 1);
    let bad = s1.replace("CSeq: ", "CSeq: x");
    assert!(world.access(phone.meta(), bad.as_bytes())[0].1.starts_with(b"SIP/2.0 400 Malformed CSeq"));
    let forbidden = s1.replace(", ts=", ", integrity-protected=\"yes\", ts=");
    assert_eq!(status(&world.access(phone.meta(), forbidden.as_bytes())[0].1), 403);
    assert_eq!((world.count().fault_malformed, world.count().fault_forbidden), (1, 1));
}

#[test]
fn a_bad_configuration_is_named_and_a_bad_reload_ignored() {
    let keys = || portunus_engine::Keys::new(portunus_keydist::Key::new([1; 32]).prk(), &mut Seeded(1));
    let make = |config: Config, policy: Policy| {
        Engine::new(config, Arc::new(policy), keys(), Box::new(Seeded(1))).map(|_| ()).map_err(|e| e.field)
    };
    let good = || config(capacity());
    assert_eq!(make(good(), Policy::default()), Ok(()));
    assert_eq!(make(Config { idsp: "a b".into(), ..good() }, Policy::default()), Err("idsp"));
    assert_eq!(make(Config { listeners: vec![], ..good() }, Policy::default()), Err("listeners"));
    assert_eq!(make(good(), Policy { life_s: 1, ..Policy::default() }), Err("life_s"));
    assert_eq!(make(good(), Policy { challenge_ms: 60_000, ..Policy::default() }), Err("challenge_ms"));
    let mut world = World::new();
    world.command(Command::Reload(Arc::new(Policy { core_timeout_ms: 1, ..Policy::default() })));
    let mut phone = world.phone("alice@example.test", "192.0.2.7:5060");
    let s1 = phone.s1(world.now);
    world.access(phone.meta(), &s1);
    world.pass(3_900);
    assert_eq!(world.count().core_timeout, 0);
}

/// At the rate that it was made for, the replay set never says that it is full; with a quarter of the room it does.
#[test]
fn the_replay_set_fits_the_rate_that_it_was_made_for() {
    let window_ms = 5_000;
    let fits = Capacity::replay_for(100, window_ms);
    for (replay, enough) in [(fits, true), (fits / 4, false)] {
        let policy = Policy { window_ms, challenge_ms: window_ms, ..Policy::default() };
        let mut world = World::with(policy, Capacity { replay, ..capacity() });
        let mut phone = world.phone("alice@example.test", "192.0.2.7:5060");
        for _ in 0..2_000 {
            let s1 = phone.s1(world.now);
            let s6 = world.one(&phone, &s1);
            if status(&s6) == 401 {
                let s7 = phone.s7(world.now, &s6);
                world.one(&phone, &s7);
            }
            world.pass(10);
        }
        assert_eq!(world.count().replay_full == 0, enough, "{} of {replay}", world.count().replay_full);
    }
}
