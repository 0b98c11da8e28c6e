//! REGISTER of a phone: what becomes of it, and what reaches the proxy meanwhile.

mod common;

use common::{ALICE, World, addr, key_of, register, status, udp, values};
use portunus_agent::{Agent, Config, ConfigError, Flow, Notice, PhoneConfig};
use portunus_keydist::{Key, SystemRandom};
use portunus_terminal::sip::{MECHS, Profile, Transport};

#[test]
fn a_registration_waits_for_the_channel_and_is_granted_with_the_phones_own_contact() {
    let mut w = World::new();
    let answers = w.phone(udp(5061), &register("alice", 5061, 1, 600));
    let [granted] = &answers[..] else { panic!("{answers:?}") };
    assert_eq!(status(granted), 200);
    assert_eq!(values(granted, "Contact"), ["<sip:alice-0x5a@127.0.0.1:5061>;expires=600"]);
    assert!(values(granted, "Via")[0].contains("rport=5061"), "{granted}");
    assert!(w.notices.iter().any(|(n, notice)| *n == 0 && *notice == Notice::Registered(600)));
    assert_eq!((w.agent.active(), w.refreshed), ((2, 1), 0), "bob's phone has said nothing");
    // Plain towards the proxy are s1 and s7 and nothing of the phone's own.
    let plain: Vec<_> = w.access.iter().filter(|o| o.starts_with(b"REGISTER")).collect();
    assert_eq!(plain.len(), 2);
    assert!(plain.iter().all(|o| !String::from_utf8_lossy(o).contains("0x5a")));
}

#[test]
fn a_retransmission_gets_the_same_answer_and_costs_nothing() {
    let mut w = World::registered();
    let again = w.phone(udp(5061), &register("alice", 5061, 1, 600));
    assert_eq!(again, [w.phones[0].1.clone()]);
    assert_eq!(w.refreshed, 0);
}

#[test]
fn a_refresh_is_one_inside_the_channel_and_a_query_is_answered_here() {
    let mut w = World::registered();
    w.pass(10_000);
    let answers = w.phone(udp(5061), &register("alice", 5061, 2, 7_200));
    assert_eq!((status(&answers[0]), w.refreshed), (200, 1));
    assert!(values(&answers[0], "Contact")[0].ends_with(";expires=3600"), "the most that phones are granted");
    let query = register("alice", 5061, 3, 600).replace("Contact: <sip:alice-0x5a@127.0.0.1:5061>\r\n", "");
    let told = w.phone(udp(5061), &query);
    assert!(values(&told[0], "Contact")[0].starts_with("<sip:alice-0x5a@127.0.0.1:5061>;expires=360"), "{told:?}");
    assert_eq!(w.refreshed, 1);
}

#[test]
fn a_phone_that_goes_ends_its_session_and_may_come_back() {
    let mut w = World::registered();
    let star = register("alice", 5061, 2, 0).replace("<sip:alice-0x5a@127.0.0.1:5061>", "*");
    let answers = w.phone(udp(5061), &star);
    assert_eq!((status(&answers[0]), values(&answers[0], "Contact").len()), (200, 0), "{answers:?}");
    assert_eq!((w.agent.active().1, w.refreshed), (0, 1));
    assert!(w.notices.contains(&(0, Notice::Closed)) && w.notices.contains(&(0, Notice::Gone { lapsed: false })));
    assert_eq!(w.agent.next_deadline(), None, "at rest");
    assert_eq!(status(&w.phone(udp(5061), &register("alice", 5061, 3, 600))[0]), 200);
    // One that was never there may say that it is gone.
    assert_eq!(status(&w.phone(udp(5062), &register("bob", 5062, 1, 0))[0]), 200);
}

#[test]
fn a_phone_that_does_not_say_so_again_is_gone() {
    let mut w = World::registered();
    w.pass(590_000);
    assert_eq!(w.agent.active().1, 1);
    w.pass(20_000);
    assert_eq!((w.agent.active().1, w.agent.counters().lapsed), (0, 1));
    assert!(w.notices.contains(&(0, Notice::Gone { lapsed: true })));
    w.pass(4_000_000);
    assert_eq!(w.agent.active().1, 0, "nobody registers for it");
}

#[test]
fn a_wrong_key_is_403_and_is_not_tried_again_for_nobody() {
    let mut w = World::with_keys(&|id| if id == ALICE { Key::new([9; 32]) } else { key_of(id) });
    let answers = w.phone(udp(5061), &register("alice", 5061, 1, 600));
    assert_eq!(answers.iter().map(|a| status(a)).collect::<Vec<_>>(), [403]);
    let sent = w.access.len();
    w.pass(600_000);
    assert_eq!((w.access.len(), w.agent.counters().refused), (sent, 1));
    assert_eq!(status(&w.phone(udp(5062), &register("bob", 5062, 1, 600))[0]), 200, "the other phone has its own key");
}

#[test]
fn a_silent_proxy_is_100_and_then_503_with_a_time() {
    let mut w = World::new();
    w.reachable = false;
    assert!(w.phone(udp(5061), &register("alice", 5061, 1, 600)).is_empty());
    w.pass(3_400);
    assert!(w.phones.is_empty(), "too soon for a request that is not INVITE");
    w.pass(200);
    assert_eq!(status(&w.phones[0].1), 100);
    assert!(w.phone(udp(5061), &register("alice", 5061, 1, 600)).is_empty(), "absorbed");
    w.pass(20_000);
    let last = &w.phones.last().unwrap().1;
    assert_eq!((status(last), values(last, "Retry-After").len()), (503, 1), "{last}");
    w.reachable = true;
    // Its next attempt finds the proxy, and waits for no back-off of the last one's.
    let mut answers = w.phone(udp(5061), &register("alice", 5061, 2, 600));
    w.pass(15_000);
    answers.extend(w.phones.last().map(|(_, t)| t.clone()));
    assert_eq!(status(answers.last().unwrap()), 200, "{answers:?}");
}

#[test]
fn a_proxy_that_forgot_is_found_out_and_the_phone_is_registered_again() {
    let mut w = World::registered();
    w.far.forget();
    w.pass(60_000);
    assert_eq!(w.agent.active().1, 1, "{:?}", w.notices);
    let active = w.notices.iter().filter(|(_, n)| matches!(n, Notice::Active(_))).count();
    assert_eq!(active, 2);
    assert_eq!(w.phones.len(), 1, "the phone heard nothing of it");
}

#[test]
fn strangers_are_403() {
    let mut w = World::registered();
    let far = Flow { peer: "192.0.2.7:5061".parse().unwrap(), ..udp(5061) };
    let other_to = register("alice", 5061, 9, 600).replace("To: <sip:alice@", "To: <sip:bob@");
    for (flow, text) in [
        (udp(5061), register("mallory", 5061, 1, 600)),
        (far, register("alice", 5061, 2, 600)),
        (udp(5061), other_to),
        (udp(5061), register("alice", 5061, 8, 600).replace("sip:alice@example.test>;", "sips:alice@example.test>;")),
    ] {
        let answers = w.phone(flow, &text);
        assert_eq!(answers.iter().map(|a| status(a)).collect::<Vec<_>>(), [403], "{text}");
    }
    assert_eq!((w.agent.counters().stranger, w.agent.active().1), (4, 1));
}

#[test]
fn nonsense_gets_sips_own_error() {
    let mut w = World::registered();
    let good = register("alice", 5061, 2, 600);
    for (bad, code) in [
        (good.replace("CSeq: 2", "CSeq: x"), 400),
        (good.replace("0x5a@127.0.0.1:5061>", "0x5a@127.0.0.1:99999>"), 400),
        (good.replace("Contact: <sip:alice-0x5a@127.0.0.1:5061>", "Contact: *"), 400),
        (good.replace("SIP/2.0\r\nVia", "SIP/3.0\r\nVia"), 505),
    ] {
        let answers = w.phone(udp(5061), &bad);
        assert_eq!(answers.iter().map(|a| status(a)).collect::<Vec<_>>(), [code], "{bad}");
    }
    for bad in ["hello", "\u{1}\u{2}\u{3}", "GET / HTTP/1.1\r\n\r\n"] {
        assert!(w.phone(udp(5061), bad).is_empty(), "{bad}");
    }
    let c = *w.agent.counters();
    assert_eq!((c.malformed + c.unreadable, w.refreshed), (7, 0));
    assert_eq!(w.phone(udp(5061), "\r\n\r\n"), ["\r\n"], "a keep-alive is no nonsense");
}

#[test]
fn the_end_of_the_agent_ends_every_registration() {
    let mut w = World::registered();
    w.agent.close_all(w.now, &mut w.rng);
    w.settle();
    assert_eq!((w.agent.active().1, w.refreshed), (0, 1));
    assert!(w.notices.contains(&(0, Notice::Closed)));
}

#[test]
fn channels_can_be_opened_without_phones() {
    let mut w = World::new();
    w.agent.open_all(w.now, &mut w.rng);
    w.settle();
    assert_eq!(w.agent.active(), (2, 2));
    assert!(w.phones.is_empty());
}

#[test]
fn a_configuration_that_cannot_be_is_refused() {
    let profile = Profile::new(addr(5060), Transport::Udp, "sp1", "example.test", MECHS).unwrap();
    let phone = |id: &str| PhoneConfig { id: id.into(), key: key_of(id), from: Vec::new() };
    let new = |ids: &[&str]| {
        let phones = ids.iter().map(|id| phone(id)).collect();
        let config = Config { profile: profile.clone(), listeners: vec![addr(5160)], phones, gateways: Vec::new() };
        Agent::new(config, &[addr(1), addr(2)], &mut SystemRandom::new()).err()
    };
    assert_eq!(new(&[ALICE, ALICE]), Some(ConfigError::Twice(ALICE.into())));
    assert_eq!(new(&["a b"]), Some(ConfigError::Identity("a b".into())));
    assert_eq!(new(&["alice"]), Some(ConfigError::Identity("alice".into())));
    assert_eq!(new(&[ALICE]), None);
}
