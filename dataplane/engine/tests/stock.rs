//! Stock phones: admitted where the policy says so, from their proven source, and never past a key.
mod common;

use common::*;
use portunus_engine::{EndReason, Meta, Policy, To};
use portunus_sip::carriage::terminal::{StockAnswer, write_response, write_stock_register};
use portunus_sip::view::Message;

fn phone(idc: &str, addr: &str) -> Phone {
    let mut phone = Phone::new(idc, &portunus_keydist::Key::new([0; 32]), addr);
    phone.listener = STOCK;
    phone
}

fn register(phone: &mut Phone, expires: u32, response: Option<&str>) -> Vec<u8> {
    let answer =
        response.map(|response| StockAnswer { nonce: "BwcHBwcHBwcHBwcHBwcHBw", response, algorithm: "SHA-256" });
    phone.write(|a, t, w| write_stock_register(a, t, expires, answer.as_ref(), w))
}

const GOOD: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const BAD: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

fn registered(world: &mut World, idc: &str, addr: &str) -> Phone {
    let mut phone = phone(idc, addr);
    let first = register(&mut phone, 3600, None);
    assert_eq!(status(&world.one(&phone, &first)), 401);
    let second = register(&mut phone, 3600, Some(GOOD));
    let answer = world.one(&phone, &second);
    assert_eq!(status(&answer), 200);
    assert!(String::from_utf8_lossy(&answer).contains(&phone.contact()));
    phone
}

#[test]
fn registers_where_admitted_and_nowhere_else() {
    let mut world = World::new();
    let mut elsewhere = phone("carol@example.test", "192.0.2.7:5060");
    elsewhere.listener = UDP;
    let first = register(&mut elsewhere, 3600, None);
    assert_eq!(status(&world.one(&elsewhere, &first)), 403);
    assert_eq!(world.count().stock_not_admitted, 1);
    let carol = registered(&mut world, "carol@example.test", "192.0.2.7:5060");
    let count = world.count();
    assert_eq!((count.sessions_stock, count.stock_registered, count.sessions_active), (1, 1, 0));
    assert!(matches!(&world.sink.events[..], [Heard::Active { idc, keyed: false, .. }] if *idc == carol.idc));
}

#[test]
fn a_wrong_response_makes_no_session() {
    let mut world = World::new();
    let mut carol = phone("carol@example.test", "192.0.2.7:5060");
    let request = register(&mut carol, 3600, Some(BAD));
    assert_eq!(status(&world.one(&carol, &request)), 403);
    assert_eq!((world.count().sessions_stock, world.count().denied_by_core), (0, 1));
}

#[test]
fn never_past_a_key() {
    let mut world = World::new();
    world.active("alice@example.test", "192.0.2.7:5060");
    let mut thief = phone("alice@example.test", "192.0.2.66:5060");
    let request = register(&mut thief, 3600, Some(GOOD));
    assert_eq!(status(&world.one(&thief, &request)), 403);
    assert_eq!((world.count().stock_keyed_idc, world.count().sessions_stock), (1, 0));
}

#[test]
fn a_confirmed_key_ends_the_stock_session() {
    let mut world = World::new();
    registered(&mut world, "alice@example.test", "192.0.2.66:5060");
    world.active("alice@example.test", "192.0.2.7:5060");
    assert_eq!((world.count().sessions_stock, world.count().sessions_active), (0, 1));
    assert!(matches!(world.sink.events[1], Heard::Ended { why: EndReason::Replaced, .. }));
}

#[test]
fn requests_and_responses_pass_from_the_proven_source_only() {
    let mut world = World::new();
    let carol = registered(&mut world, "carol@example.test", "192.0.2.7:5060");
    let request = "MESSAGE sip:carol%40example.test@10.0.0.1:5070 SIP/2.0\r\n\
        Via: SIP/2.0/UDP 10.0.0.9:5060;branch=z9hG4bKabc\r\nMax-Forwards: 70\r\nFrom: <sip:a@b>;tag=1\r\n\
        To: <sip:carol@example.test>\r\nCall-ID: x\r\nCSeq: 1 MESSAGE\r\nContent-Length: 0\r\n\r\n";
    let down = world.core_says(request.as_bytes());
    assert_eq!(down[0].0, To::Access { listener: STOCK, conn: 0, addr: carol.addr });
    let msg = Message::parse(&down[0].1).unwrap();
    let mut buf = vec![0u8; 2048];
    let mut w = portunus_codec::Writer::new(&mut buf);
    write_response(&msg, 200, "OK", "t", None, None, &mut w).unwrap();
    let len = w.finish().unwrap();
    let thief = Meta { source: "192.0.2.66:5060".parse().unwrap(), ..carol.meta() };
    assert!(world.access(thief, &buf[..len]).is_empty());
    let up = world.access(carol.meta(), &buf[..len]);
    assert!(matches!(up[0].0, To::Core { .. }));
    assert_eq!((status(&up[0].1), Message::parse(&up[0].1).unwrap().vias().count()), (200, 1));

    let bye = "MESSAGE sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.7:5060;branch=z9hG4bKq;rport\r\n\
        Max-Forwards: 70\r\nFrom: <sip:carol@example.test>;tag=1\r\nTo: <sip:a@b>\r\nCall-ID: y\r\n\
        CSeq: 2 MESSAGE\r\nContent-Length: 0\r\n\r\n";
    let out = world.access(carol.meta(), bye.as_bytes());
    assert!(matches!(out[0].0, To::Core { .. }));
    let out = world.access(thief, bye.as_bytes());
    assert_eq!(status(&out[0].1), 403);
    let foreign = bye.replace("sip:carol@example.test", "sip:dave@example.test");
    let out = world.access(carol.meta(), foreign.as_bytes());
    assert_eq!(status(&out[0].1), 403, "another name from the same source");
    let count = world.count();
    assert_eq!((count.plain_up, count.plain_down, count.stock_foreign_source), (2, 1, 1));
}

#[test]
fn ends_by_deregistration_and_by_time() {
    let mut world = World::with(Policy { stock_life_ms: 60_000, ..Policy::default() }, capacity());
    let mut carol = registered(&mut world, "carol@example.test", "192.0.2.7:5060");
    let request = register(&mut carol, 0, Some(GOOD));
    assert_eq!(status(&world.one(&carol, &request)), 200);
    assert_eq!(world.count().sessions_stock, 0);
    let mut carol = registered(&mut world, "carol@example.test", "192.0.2.7:5060");
    world.pass(40_000);
    let request = register(&mut carol, 3600, Some(GOOD));
    // The same octets as before, from long ago: a registration of its own again.
    assert_eq!(status(&world.one(&carol, &request)), 200);
    world.pass(40_000);
    assert_eq!(world.count().sessions_stock, 1, "renewed");
    world.pass(21_100);
    assert_eq!((world.count().sessions_stock, world.count().sessions_expired), (0, 1));
}
