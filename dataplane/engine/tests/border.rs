//! Policies of listeners and terminals, and what of sessions' messages may cross the border.
mod common;

use common::*;
use portunus_engine::{Class, Classes, Command, Names, Pattern, Policy, Rules, Terms, To};
use portunus_keydist::mech::{Mech, MechList};
use portunus_sip::carriage::terminal::{StockAnswer, write_stock_register};
use portunus_sip::view::Message;
use std::sync::Arc;

const ALICE: &str = "alice@example.test";
const ADDR: &str = "192.0.2.7:5060";

fn message(n: u32) -> Vec<u8> {
    format!(
        "MESSAGE sip:bob@example.test SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.7:5060;branch=z9hG4bKm{n};rport\r\n\
         Max-Forwards: 70\r\nFrom: <sip:{ALICE}>;tag=1\r\nTo: <sip:bob@example.test>\r\nCall-ID: m\r\n\
         CSeq: {n} MESSAGE\r\nContent-Length: 0\r\n\r\n"
    )
    .into_bytes()
}

/// A policy that everybody on every listener has.
fn everywhere(terms: Terms) -> Policy {
    Policy { classes: Classes { base: terms, ..Classes::default() }, ..Policy::default() }
}

/// A policy of its own for whom a pattern fits.
fn for_some(pattern: &str, mechs: &[Mech], terms: Terms) -> Policy {
    let class = Class { name: "own".into(), mechanisms: mechs.iter().copied().collect(), terms };
    let terminals = vec![(Pattern::new(pattern).unwrap(), 1)];
    let classes = Classes { named: [class].into_iter().collect(), terminals, ..Classes::default() };
    Policy { mechanisms: [Mech::Sealed, Mech::Esp].into_iter().collect(), classes, ..Policy::default() }
}

/// What comes of a message inside alice's session: the status that she is answered, or nothing where it went on.
fn sent(world: &mut World, phone: &mut Phone, octets: &[u8]) -> Option<u16> {
    let sealed = phone.seal(1, octets);
    let out = world.access(world.sealed(phone), &sealed);
    assert_eq!(out.len(), 1);
    match out[0].0 {
        To::Core { .. } => None,
        To::Access { .. } => Some(status(&phone.open(&out[0].1).expect("protected").1)),
    }
}

#[test]
fn a_rate_lets_a_burst_pass_and_then_no_more_than_it_says() {
    let mut world = World::with(everywhere(Terms { rate_s: 10, burst: 3, ..Terms::OPEN }), capacity());
    let mut alice = world.active(ALICE, ADDR);
    let all =
        |world: &mut World, alice: &mut Phone| (0..10).map(|n| sent(world, alice, &message(n))).collect::<Vec<_>>();
    let (none, busy) = ([None; 3], [Some(503); 7]);
    assert_eq!(all(&mut world, &mut alice), [&none[..], &busy].concat());
    world.pass(100);
    assert_eq!(sent(&mut world, &mut alice, &message(50)), None);
    assert_eq!(sent(&mut world, &mut alice, &message(51)), Some(503));
    // ACK is not answered; a forged datagram uses nothing up.
    let ack = String::from_utf8(message(52)).unwrap().replace("MESSAGE", "ACK");
    let (meta, sealed) = (world.sealed(&alice), alice.seal(1, ack.as_bytes()));
    assert!(world.access(meta, &sealed).is_empty());
    world.pass(100);
    let mut forged = alice.seal(1, &message(53));
    *forged.last_mut().unwrap() ^= 1;
    assert!(world.access(meta, &forged).is_empty());
    assert_eq!(sent(&mut world, &mut alice, &message(54)), None);
    let count = world.count();
    assert_eq!((count.rate_exceeded, count.sealed_up, count.sealed_forged), (9, 5, 1));
    // Another terminal's rate is its own, and the core is not limited.
    let mut bob = world.active("bob@example.test", "192.0.2.8:5060");
    let of_bob = String::from_utf8(message(1)).unwrap().replace(ALICE, "bob@example.test");
    assert_eq!(sent(&mut world, &mut bob, of_bob.as_bytes()), None);
    // A reload is felt at once.
    world.command(Command::Reload(Arc::new(Policy::default())));
    assert_eq!(all(&mut world, &mut alice), [None; 10]);
}

#[test]
fn a_message_longer_than_the_policy_allows_gets_its_protocols_word_for_it() {
    let mut world = World::with(everywhere(Terms { message: 1500, ..Terms::OPEN }), capacity());
    let mut alice = world.active(ALICE, ADDR);
    let long = |octets: &[u8], of: usize| {
        let text = String::from_utf8(octets.to_vec()).unwrap();
        let pad = of - octets.len() - "X: \r\n".len();
        text.replace("Max-Forwards", &format!("X: {}\r\nMax-Forwards", "y".repeat(pad))).into_bytes()
    };
    assert_eq!(sent(&mut world, &mut alice, &long(&message(1), 1500)), None);
    assert_eq!(sent(&mut world, &mut alice, &long(&message(2), 1501)), Some(513));
    let mut bob = world.phone("bob@example.test", "192.0.2.8:5060");
    let s1 = bob.s1(world.now);
    let answer = world.one(&bob, &long(&s1, 1501));
    assert_eq!(status(&answer), 513);
    assert_eq!((world.count().message_too_long, world.count().relay_fault), (2, 0));
}

#[test]
fn a_floor_keeps_out_who_offers_nothing_as_strong() {
    let strict = Terms { floor: Some(Mech::Esp), ..Terms::OPEN };
    let mut world = World::with(for_some("alice@*", &[Mech::Esp, Mech::Sealed], strict), capacity());
    let both = MechList::from_text("x-pkd-sealed;q=0.9 ipsec-man;q=0.5;spi-c=3221225729;port-c=5066").unwrap();
    let weak = MechList::from_text("x-pkd-sealed").unwrap();
    let mut refused = world.phone(ALICE, ADDR);
    refused.mechs = weak;
    let s1 = refused.s1(world.now);
    let s6 = world.one(&refused, &s1);
    let s7 = refused.s7(world.now, &s6);
    assert_eq!(status(&world.one(&refused, &s7)), 494);
    let mut alice = world.phone(ALICE, "192.0.2.7:5070");
    alice.mechs = both;
    world.register(&mut alice);
    assert_eq!(alice.session.as_ref().map(Session::mech), Some(Mech::Esp), "what she likes better is below the floor");
    // Others have the base policy.
    let mut bob = world.phone("bob@example.test", "192.0.2.8:5060");
    bob.mechs = weak;
    world.register(&mut bob);
    // Nothing in common at all is another thing.
    let mut carol = world.phone("carol@example.test", "192.0.2.9:5060");
    carol.mechs = MechList::from_text("tls").unwrap();
    let s1 = carol.s1(world.now);
    let s6 = world.one(&carol, &s1);
    let s7 = carol.s7(world.now, &s6);
    assert_eq!(status(&world.one(&carol, &s7)), 494);
    assert_eq!((world.count().mechanism_below_floor, world.count().mechanism_refused), (1, 1));
}

fn stock(world: &mut World, idc: &str) -> (Phone, u16) {
    let mut phone = Phone::new(idc, &portunus_keydist::Key::new([0; 32]), ADDR);
    phone.listener = STOCK;
    let response = "a".repeat(64);
    let answer = StockAnswer { nonce: "BwcHBwcHBwcHBwcHBwcHBw", response: &response, algorithm: "SHA-256" };
    let request = phone.write(|a, t, w| write_stock_register(a, t, 3600, Some(&answer), w));
    let got = status(&world.one(&phone, &request));
    (phone, got)
}

#[test]
fn digest_and_plain_messages_need_a_policy_that_allows_them() {
    let no_digest = Terms { digest: false, ..Terms::OPEN };
    let mut world = World::with(for_some("*.gw@example.test", &[Mech::Sealed], no_digest), capacity());
    assert_eq!(stock(&mut world, "a.gw@example.test").1, 403);
    let (phone, got) = stock(&mut world, ALICE);
    assert_eq!((got, world.count().digest_refused, world.count().sessions_stock), (200, 1, 1));
    assert!(matches!(world.access(phone.meta(), &message(1))[0].0, To::Core { .. }));
    let request = "MESSAGE sip:alice%40example.test@10.0.0.1:5070 SIP/2.0\r\n\
        Via: SIP/2.0/UDP 10.0.0.9:5060;branch=z9hG4bKabc\r\nMax-Forwards: 70\r\nFrom: <sip:a@b>;tag=1\r\n\
        To: <sip:alice@example.test>\r\nCall-ID: x\r\nCSeq: 1 MESSAGE\r\nContent-Length: 0\r\n\r\n";
    assert!(matches!(world.core_says(request.as_bytes())[0].0, To::Access { .. }));
    // No more from now on: nothing of the phone's passes, and the core hears that it is not reached.
    world.command(Command::Reload(Arc::new(everywhere(Terms { plain: false, ..Terms::OPEN }))));
    let out = world.access(phone.meta(), &message(2));
    assert!(matches!(out[0].0, To::Access { .. }) && status(&out[0].1) == 403);
    let out = world.core_says(request.as_bytes());
    assert!(matches!(out[0].0, To::Core { .. }) && status(&out[0].1) == 480);
    assert_eq!((world.count().plain_refused, world.count().core_unreachable), (1, 1));
    // Sessions with keys carry nothing in the clear anyhow.
    let mut keyed = world.active("keyed@example.test", "192.0.2.9:5060");
    let of_keyed = String::from_utf8(message(3)).unwrap().replace(ALICE, "keyed@example.test");
    assert_eq!(sent(&mut world, &mut keyed, of_keyed.as_bytes()), None);
}

#[test]
fn both_the_listeners_policy_and_the_terminals_own_hold() {
    let (slow, small) = (Terms { rate_s: 1, burst: 1, ..Terms::OPEN }, Terms { message: 1400, ..Terms::OPEN });
    let mut policy = for_some("alice@*", &[Mech::Sealed], small);
    policy.classes.named.push(Class { name: "slow".into(), mechanisms: policy.mechanisms.clone(), terms: slow });
    policy.classes.listeners = [2].into_iter().collect();
    let mut world = World::with(policy.clone(), capacity());
    let mut alice = world.active(ALICE, ADDR);
    assert_eq!(sent(&mut world, &mut alice, &message(1)), None);
    assert_eq!(sent(&mut world, &mut alice, &message(2)), Some(503));
    let long = [&message(3)[..], &[b'x'; 1400]].concat();
    assert_eq!(sent(&mut world, &mut alice, &long), Some(513));
    // After a reload the session still has both, in whatever order the file names them now.
    policy.classes.named.swap(0, 1);
    (policy.classes.listeners, policy.classes.terminals[0].1) = ([1].into_iter().collect(), 2);
    policy.classes.named[0].terms.rate_s = 0;
    world.command(Command::Reload(Arc::new(policy)));
    assert_eq!((sent(&mut world, &mut alice, &message(4)), sent(&mut world, &mut alice, &message(5))), (None, None));
    assert_eq!(sent(&mut world, &mut alice, &long), Some(513));
}

#[test]
fn the_border_hides_strips_and_counts() {
    let (strip_up, strip_down) = (Names::of(["X-PKD-*"]).unwrap(), Names::of(["Server"]).unwrap());
    let rules = Rules { hide: true, strip_up, strip_down };
    let mut world = World::with(Policy { border: rules, ..Policy::default() }, capacity());
    let mut alice = world.active(ALICE, ADDR);
    let request = "INVITE sip:alice%40example.test@10.0.0.1:5070 SIP/2.0\r\n\
        Via: SIP/2.0/UDP 10.0.0.9:5060;branch=z9hG4bKabc\r\nRecord-Route: <sip:10.0.0.9;lr>\r\nMax-Forwards: 70\r\n\
        From: <sip:bob@example.test>;tag=1\r\nTo: <sip:alice@example.test>\r\nCall-ID: x\r\nCSeq: 1 INVITE\r\n\
        Contact: <sip:bob@10.0.0.9>\r\nServer: secret\r\nContent-Length: 0\r\n\r\n";
    let down = world.core_says(request.as_bytes());
    let (_, rings) = alice.open(&down[0].1).unwrap();
    let text = String::from_utf8(rings.clone()).unwrap();
    assert!(!text.contains("10.0.0.") && !text.contains("secret"), "{text}");
    let msg = Message::parse(&rings).unwrap();
    let target = String::from_utf8(msg.contacts().next().unwrap().uri.to_vec()).unwrap();
    let inside = |uri: &str, lines: &str| {
        let text = String::from_utf8(message(9)).unwrap();
        text.replacen("sip:bob@example.test", uri, 1).replace("Call-ID", &format!("{lines}Call-ID")).into_bytes()
    };
    assert_eq!(sent(&mut world, &mut alice, &inside(&target, "X-PKD-Key: 1\r\n")), None);
    assert_eq!(sent(&mut world, &mut alice, &inside("sip:bob@example.test", "Route: <sip:10.0.0.9;lr>\r\n")), None);
    let forged = target.replace("pkd~", "pkd~A");
    assert_eq!(sent(&mut world, &mut alice, &inside(&forged, "")), Some(403));
    let count = world.count();
    let border = (count.border_stripped_up, count.border_stripped_down, count.border_routed, count.border_forged);
    assert_eq!((border, count.relay_fault), ((1, 1, 1, 1), 1));
    // Keep-alives inside the channel.
    let (meta, ping) = (world.sealed(&alice), alice.seal(1, b"\r\n\r\n"));
    let pong = world.access(meta, &ping);
    assert_eq!(alice.open(&pong[0].1), Some((1, b"\r\n".to_vec())));
    assert_eq!(world.count().relay_fault, 1);
}
