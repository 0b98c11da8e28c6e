//! The ladder s1 to s10 through the engine, and every rule of the specification's section 2 that the proxy keeps.
mod common;

use common::*;
use portunus_engine::{Command, Cookies, CorePacket, Policy, To};
use portunus_keydist::steps::S6;
use portunus_keydist::{DeviceKeys, Key};
use portunus_sip::carriage::terminal::{Answer, read_answer};
use std::sync::Arc;

#[test]
fn a_terminal_registers_and_confirms() {
    let mut world = World::new();
    let mut phone = world.phone("alice@example.test", "192.0.2.7:5060");
    world.register(&mut phone);
    let count = world.count();
    assert_eq!((count.s1_accepted, count.s6_sent, count.s7_accepted, count.s10_sent), (1, 1, 1, 1));
    assert_eq!((count.sessions_provisional, count.sessions_active, count.pendings), (1, 0, 0));
    assert!(world.sink.events.is_empty(), "an unconfirmed session is nobody's");
    world.confirm(&mut phone);
    let kid = phone.session.as_ref().unwrap().kid;
    assert_eq!(kid >> 56, 3, "the worker leads the key id");
    assert_eq!(world.sink.events, [Heard::Active { idc: phone.idc.clone(), kid, keyed: true }]);
    let count = world.count();
    assert_eq!((count.sessions_provisional, count.sessions_active, count.sessions_confirmed), (0, 1, 1));
}

#[test]
fn over_tcp_and_ipv6_too() {
    let mut world = World::new();
    for (idc, addr, listener) in [("a@x", "192.0.2.7:40000", TCP), ("b@x", "[2001:db8::7]:5060", UDP)] {
        let mut phone = world.phone(idc, addr);
        phone.listener = listener;
        world.register(&mut phone);
        // The confirmation may come from another port than the registration.
        phone.addr.set_port(5999);
        world.confirm(&mut phone);
    }
    assert_eq!(world.count().sessions_active, 2);
}

#[test]
fn retransmissions_never_get_a_second_challenge_or_key() {
    let mut world = World::new();
    let mut phone = world.phone("alice@example.test", "192.0.2.7:5060");
    let s1 = phone.s1(world.now);
    let first = world.access(phone.meta(), &s1);
    let again = world.access(phone.meta(), &s1);
    assert_eq!(first, again, "while the core is silent the same octets go there, under the same branch");
    let s5 = world.core.answer(&first[0].1);
    let s6 = world.core_says(&s5).remove(0).1;
    world.pass(20_000);
    assert_eq!(world.one(&phone, &s1), s6);
    assert!(world.core_says(&s5).is_empty(), "a late s5 is ignored");
    world.pass(15_000);
    // After 32 s nothing is remembered, and nothing need be: its clock is out of the window.
    assert!(matches!(read_answer(&world.one(&phone, &s1)).unwrap().answer, Answer::Stale { .. }));

    let mut phone = world.phone("bob@example.test", "192.0.2.8:5060");
    let s1 = phone.s1(world.now);
    let s6 = world.one(&phone, &s1);
    let s7 = phone.s7(world.now, &s6);
    let s8 = world.access(phone.meta(), &s7);
    assert_eq!(s8, world.access(phone.meta(), &s7));
    let s9 = world.core.answer(&s8[0].1);
    let s10 = world.core_says(&s9).remove(0).1;
    assert_eq!(world.one(&phone, &s7), s10);
    assert!(world.core_says(&s9).is_empty(), "a late s9 is ignored");
    assert!(phone.on_s10(&s10));
    let count = world.count();
    assert_eq!((count.retransmissions_relayed, count.retransmissions_answered, count.core_unmatched), (2, 2, 2));
    assert_eq!((count.s10_sent, count.sessions_provisional), (1, 1));
}

#[test]
fn the_same_s9_twice_in_one_batch_makes_one_session() {
    let mut world = World::new();
    let mut phone = world.phone("alice@example.test", "192.0.2.7:5060");
    let s1 = phone.s1(world.now);
    let s6 = world.one(&phone, &s1);
    let s7 = phone.s7(world.now, &s6);
    let s8 = world.access(phone.meta(), &s7).remove(0).1;
    let s9 = world.core.answer(&s8);
    let twice = [CorePacket::shared(&s9); 2];
    world.engine.on_core(world.now, &twice, portunus_signalling::Protocol::Sip, &mut world.sink);
    assert_eq!((world.sink.out.len(), world.count().core_unmatched), (1, 1));
}

#[test]
fn a_wrong_word_is_challenged_anew_and_then_refused() {
    let mut world = World::new();
    let mut phone = world.phone("alice@example.test", "192.0.2.7:5060");
    let s1 = phone.s1(world.now);
    let s6 = world.one(&phone, &s1);
    let s7 = phone.s7_with(world.now, &challenge(&s6), [0; 32]);
    let renewed = world.one(&phone, &s7);
    assert_eq!(challenge(&renewed).n1, phone.n1b, "s6 carries the N1 of the message that it answers");
    // The right word for the renewed challenge works, and the wraps open under the N1 of s1.
    let s7 = phone.s7(world.now, &renewed);
    let s10 = world.one(&phone, &s7);
    assert!(phone.on_s10(&s10));

    let s1 = phone.s1(world.now);
    let s6 = world.one(&phone, &s1);
    let s7 = phone.s7_with(world.now, &challenge(&s6), [0; 32]);
    let renewed = world.one(&phone, &s7);
    let s7 = phone.s7_with(world.now, &challenge(&renewed), [0; 32]);
    assert_eq!(status(&world.one(&phone, &s7)), 403);
    let count = world.count();
    assert_eq!((count.s6_renewed, count.denied_by_core, count.s10_sent), (2, 1, 1));
}

#[test]
fn an_unknown_identity_looks_like_a_wrong_word() {
    let mut world = World::new();
    let mut known = world.phone("alice@example.test", "192.0.2.7:5060");
    let mut stranger = Phone::new("mallory@x", &portunus_keydist::Key::new([9; 32]), "192.0.2.8:5060");
    let mut seen = Vec::new();
    for phone in [&mut known, &mut stranger] {
        let s1 = phone.s1(world.now);
        let mut answer = world.one(phone, &s1);
        let mut statuses = Vec::new();
        for _ in 0..2 {
            let s7 = phone.s7_with(world.now, &challenge(&answer), [0; 32]);
            answer = world.one(phone, &s7);
            statuses.push(status(&answer));
        }
        seen.push(statuses);
    }
    assert_eq!(seen[0], seen[1]);
}

#[test]
fn a_wrong_clock_hears_the_right_time_and_spoils_nothing() {
    let mut world = World::new();
    let mut phone = world.phone("alice@example.test", "192.0.2.7:5060");
    phone.clock_ms = -120_000;
    let s1 = phone.s1(world.now);
    let answer = world.one(&phone, &s1);
    let Answer::Stale { ts, .. } = read_answer(&answer).unwrap().answer else { panic!("stale") };
    assert_eq!(ts, world.now.wall_ms);
    phone.clock_ms = 0;
    let s1 = phone.s1_again(world.now, None);
    let s6 = world.one(&phone, &s1);
    // The same N1 went through: the stale one had not used it. Now s7 the same way.
    phone.clock_ms = 31_000;
    let s7 = phone.s7(world.now, &s6);
    let answer = world.one(&phone, &s7);
    assert!(matches!(read_answer(&answer).unwrap().answer, Answer::Stale { .. }));
    phone.clock_ms = 0;
    let s7 = phone.s7(world.now, &s6);
    let s10 = world.one(&phone, &s7);
    assert!(phone.on_s10(&s10));
    assert_eq!(world.count().clock_stale, 2);
}

#[test]
fn a_challenge_serves_its_own_address_for_ten_seconds_and_once() {
    let mut world = World::new();
    let mut phone = world.phone("alice@example.test", "192.0.2.7:5060");
    let s1 = phone.s1(world.now);
    let s6 = world.one(&phone, &s1);
    let s7 = phone.s7(world.now, &s6);
    // Another port, another address, another listener: refused, and nothing is spoilt.
    let mut thief = Phone::new("alice@example.test", &portunus_keydist::Key::new([1; 32]), "192.0.2.7:5061");
    assert_eq!(status(&world.one(&thief, &s7)), 403);
    thief.addr = "198.51.100.1:5060".parse().unwrap();
    assert_eq!(status(&world.one(&thief, &s7)), 403);
    (thief.addr, thief.listener) = (phone.addr, TCP);
    assert_eq!(status(&world.one(&thief, &s7)), 403);
    // One bit of N2 or of the nonce.
    let s6 = challenge(&s6);
    let mut n2 = s6.n2.to_vec();
    n2[40] = if n2[40] == b'A' { b'B' } else { b'A' };
    let word = phone.prk.word(portunus_keydist::Idc::new(&phone.idc).unwrap(), s6.idsp, &s6.rand);
    let (kept_n1b, kept_rand) = (phone.n1b, phone.rand);
    let forged = phone.s7_with(world.now, &S6 { n2: &n2, ..s6 }, word);
    assert_eq!(status(&world.one(&phone, &forged)), 403);
    let mut other = s6.rand;
    other[3] ^= 1;
    let forged = phone.s7_with(world.now, &S6 { rand: other, ..s6 }, word);
    assert_eq!(status(&world.one(&phone, &forged)), 403);
    assert_eq!(world.count().challenge_invalid, 5);
    (phone.n1b, phone.rand) = (kept_n1b, kept_rand);
    let s10 = world.one(&phone, &s7);
    assert!(phone.on_s10(&s10));
    // The challenge has served.
    let second = phone.s7_with(world.now, &s6, word);
    assert_eq!(status(&world.one(&phone, &second)), 403);
    assert_eq!(world.count().challenge_reused, 1);

    let s1 = phone.s1(world.now);
    let s6 = world.one(&phone, &s1);
    world.pass(10_001);
    let s7 = phone.s7(world.now, &s6);
    assert_eq!(status(&world.one(&phone, &s7)), 403);
    assert_eq!(world.count().challenge_expired, 1);
}

#[test]
fn a_replayed_s1_is_dropped_from_everywhere() {
    let mut world = World::new();
    let mut phone = world.phone("alice@example.test", "192.0.2.7:5060");
    let s1 = phone.s1(world.now);
    world.one(&phone, &s1);
    let elsewhere = portunus_engine::Meta { source: "198.51.100.9:5060".parse().unwrap(), ..phone.meta() };
    assert!(world.access(elsewhere, &s1).is_empty());
    let changed = phone.s1_again(world.now, None);
    assert!(world.access(phone.meta(), &changed).is_empty(), "the same N1 in another message");
    assert_eq!(world.count().replayed_s1, 2);
}

#[test]
fn another_proxys_registration_is_refused() {
    let mut world = World::new();
    let mut phone = world.phone("alice@example.test", "192.0.2.7:5060");
    let s1 = String::from_utf8(phone.s1(world.now)).unwrap().replace(IDSP, "sp2.example.test").into_bytes();
    assert_eq!(status(&world.one(&phone, &s1)), 403);
    assert_eq!((world.count().wrong_idsp, world.count().s1_accepted), (1, 0));
}

#[test]
fn no_acceptable_mechanism_is_said_after_the_word_verified() {
    let mut world = World::new();
    let mut phone = world.phone("alice@example.test", "192.0.2.7:5060");
    phone.mechs = portunus_keydist::mech::MechList::from_text("ipsec-man;q=1 tls").unwrap();
    let s1 = phone.s1(world.now);
    let s6 = world.one(&phone, &s1);
    let s7 = phone.s7(world.now, &s6);
    assert_eq!(status(&world.one(&phone, &s7)), 494);
    assert_eq!((world.count().mechanism_refused, world.count().sessions_provisional), (1, 0));
}

#[test]
fn an_answer_for_other_names_is_not_taken() {
    let mut world = World::new();
    let mut phone = world.phone("alice@example.test", "192.0.2.7:5060");
    let s1 = phone.s1(world.now);
    let s2 = world.access(phone.meta(), &s1).remove(0).1;
    let s5 = String::from_utf8(world.core.answer(&s2)).unwrap();
    let foreign = s5.replace(IDSP, "sp2.example.test");
    assert!(world.core_says(foreign.as_bytes()).is_empty());
    assert_eq!(world.count().core_mismatched, 1);
    assert_eq!(world.core_says(s5.as_bytes()).len(), 1, "the right one still serves");
}

#[test]
fn a_wrap_for_another_challenge_denies() {
    let mut world = World::new();
    let mut phone = world.phone("alice@example.test", "192.0.2.7:5060");
    let s1 = phone.s1(world.now);
    let s6 = world.one(&phone, &s1);
    let s7 = phone.s7(world.now, &s6);
    // The core's entry is replaced by another vector's wraps, as a confused AuC might.
    let rand = phone.rand;
    let idc = portunus_keydist::Idc::new("alice@example.test").unwrap();
    let idsp = portunus_keydist::Idsp::new(IDSP).unwrap();
    let n1 = portunus_keydist::N1::from_bits(1);
    let ctx = portunus_keydist::schedule::WrapCtx { idc, idsp, rand: &[1; 16], n1a: &n1 };
    let key = portunus_keydist::SessionKey::new([4; 32]);
    let entry = world.core.asked.get_mut(&rand).unwrap();
    entry.1.eksp = world.core.proxy.prk().wrap(portunus_keydist::schedule::For::Proxy, &ctx, &key);
    assert_eq!(status(&world.one(&phone, &s7)), 403);
    assert_eq!((world.count().unwrap_failed, world.count().sessions_provisional), (1, 0));
}

#[test]
fn the_proxys_key_is_replaced_in_either_order_and_no_registration_or_session_ends() {
    let prk = |n: u8| Key::new([n; 32]).prk();
    let hold = |world: &mut World, own: u8, other: Option<u8>| {
        world.command(Command::Rekey(Arc::new(DeviceKeys::new(prk(own), other.map(prk)))));
    };
    let mut world = World::new();
    let mut phones: Vec<_> = (0..8).map(|n| world.phone(&format!("t{n}@example.test"), "192.0.2.7:5060")).collect();
    let mut phones = phones.iter_mut();
    let mut registers = |world: &mut World| {
        let phone = phones.next().unwrap();
        world.register(phone);
        world.confirm(phone);
    };
    // 0x5a is the key of the start. The AuC first: until it changes over the other key is tried second.
    hold(&mut world, 1, Some(0x5a));
    registers(&mut world);
    assert_eq!(world.count().unwrap_other_key, 1);
    world.core.proxy = Key::new([1; 32]);
    registers(&mut world);
    hold(&mut world, 1, None);
    registers(&mut world);
    // The proxy first.
    hold(&mut world, 1, Some(2));
    registers(&mut world);
    world.core.proxy = Key::new([2; 32]);
    registers(&mut world);
    hold(&mut world, 2, Some(1));
    registers(&mut world);
    hold(&mut world, 2, None);
    registers(&mut world);
    let count = world.count();
    assert_eq!((count.unwrap_other_key, count.unwrap_failed, count.sessions_active), (2, 0, 7));
    // A registration that is under way while the keys change, and a key that the proxy has never heard of.
    let phone = phones.next().unwrap();
    let s1 = phone.s1(world.now);
    let s6 = world.one(phone, &s1);
    hold(&mut world, 3, Some(2));
    let s7 = phone.s7(world.now, &s6);
    assert_eq!(status(&world.one(phone, &s7)), 200);
    hold(&mut world, 3, Some(4));
    let mut stranger = world.phone("last@example.test", "192.0.2.9:5060");
    let s1 = stranger.s1(world.now);
    let s6 = world.one(&stranger, &s1);
    let s7 = stranger.s7(world.now, &s6);
    assert_eq!(status(&world.one(&stranger, &s7)), 403);
    assert_eq!((world.count().unwrap_other_key, world.count().unwrap_failed), (3, 1));
}

#[test]
fn cookies_come_first_when_asked_for_and_cost_no_memory() {
    let mut world = World::with(Policy { cookies: Cookies::Always, ..Policy::default() }, capacity());
    let mut phone = world.phone("alice@example.test", "192.0.2.7:5060");
    let s1 = phone.s1(world.now);
    let answer = world.one(&phone, &s1);
    let Answer::Cookie { cookie, n1, .. } = read_answer(&answer).unwrap().answer else { panic!("a cookie") };
    assert_eq!((n1, world.count().pendings), (phone.n1a, 0));
    assert!(answer.len() <= 3 * s1.len());
    // Somebody else's cookie does not serve, one's own does: same N1, new TS.
    let mut thief = world.phone("bob@example.test", "192.0.2.8:5060");
    thief.s1(world.now);
    let stolen = thief.s1_again(world.now, Some(cookie));
    assert!(matches!(read_answer(&world.one(&thief, &stolen)).unwrap().answer, Answer::Cookie { .. }));
    world.pass(50);
    let s1 = phone.s1_again(world.now, Some(cookie));
    let s6 = world.one(&phone, &s1);
    let s7 = phone.s7(world.now, &s6);
    let s10 = world.one(&phone, &s7);
    assert!(phone.on_s10(&s10));
    assert_eq!((world.count().cookie_sent, world.count().cookie_invalid), (1, 1));
}

#[test]
fn the_core_is_never_told_the_list_and_the_terminal_never_the_proxys_wrap() {
    let mut world = World::new();
    let mut phone = world.phone("alice@example.test", "192.0.2.7:5060");
    let s1 = phone.s1(world.now);
    let s6 = world.one(&phone, &s1);
    let s7 = phone.s7(world.now, &s6);
    let s8 = world.access(phone.meta(), &s7).remove(0);
    assert!(matches!(s8.0, To::Core { .. }));
    let text = String::from_utf8(s8.1.clone()).unwrap().to_ascii_lowercase();
    for gone in ["security-client", "sec-agree", "n2=", "ts="] {
        assert!(!text.contains(gone), "{gone} in {text}");
    }
    let s9 = world.core.answer(&s8.1);
    let s10 = String::from_utf8(world.core_says(&s9).remove(0).1).unwrap();
    assert!(!s10.contains("eksp"), "{s10}");
}
