//! Sessions of mechanism `tls` as the engine keeps them: found by what a ClientHello names, confirmed by a handshake,
//! reached by their newest connection, and never in the clear.
mod common;

use common::*;
use portunus_channel::tls::{Identity, Psk};
use portunus_engine::{Command, EndReason, Meta, Packet, Policy, To};
use portunus_keydist::mech::{Mech, MechList};
use portunus_sip::carriage::terminal::write_register;

const ALICE: &str = "alice@example.test";
const HERE: &str = "192.0.2.7:5060";
const OPTIONS: &str = "OPTIONS sip:alice%40example.test@10.0.0.1:5070 SIP/2.0\r\n\
    Via: SIP/2.0/UDP 10.0.0.9:5060;branch=z9hG4bKabc\r\nMax-Forwards: 70\r\nFrom: <sip:a@b>;tag=1\r\n\
    To: <sip:alice@example.test>\r\nCall-ID: x\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n";

/// A world whose policy and phones know `tls` alone.
fn world() -> World {
    let mut world = World::under(Mech::Tls);
    world.mechs = MechList::from_text("tls").expect("a list");
    world
}

fn key(phone: &Phone) -> (Identity, Psk) {
    let (id, psk, port) = phone.tls.clone().expect("tls was chosen");
    assert_eq!(port, 5061);
    (id, psk)
}

/// The phone's connection of this number, from a port of its own.
fn at(phone: &Phone, conn: u32) -> Meta {
    let mut source = phone.addr;
    source.set_port(40_000 + conn as u16);
    Meta { source, listener: TLS, conn }
}

/// A connection whose handshake succeeded, as its holder tells of it.
fn connect(world: &mut World, phone: &Phone, conn: u32) -> u64 {
    let (id, psk) = key(phone);
    let (kid, found) = world.engine.tls_session(&id).expect("the session");
    assert_eq!(found.expose(), psk.expose());
    assert!(world.engine.on_secured(world.now, kid, &at(phone, conn), &mut world.sink));
    kid
}

fn inside(world: &mut World, kid: u64, meta: Meta, octets: &[u8]) -> Vec<(To, Vec<u8>)> {
    let mut octets = octets.to_vec();
    world.engine.on_inside(world.now, kid, &mut [Packet { meta, bytes: &mut octets }], &mut world.sink);
    std::mem::take(&mut world.sink.out)
}

#[test]
fn the_identity_names_the_worker_and_the_handshake_confirms() {
    let mut world = world();
    let mut phone = world.phone(ALICE, HERE);
    for _ in 0..20 {
        world.register(&mut phone);
        let (id, _) = key(&phone);
        assert_eq!(id.worker(7), 3, "this world's worker, of seven");
    }
    assert!(world.engine.tls_session(&Identity([1; 16])).is_none());
    let count = world.count();
    assert_eq!((count.tls_unknown_id, count.sessions_provisional, count.sessions_active), (1, 1, 0));
    let kid = connect(&mut world, &phone, 1);
    let count = world.count();
    assert_eq!((count.sessions_confirmed, count.sessions_active, count.tls_handshakes), (1, 1, 1));
    assert_eq!(world.sink.events, [Heard::Active { idc: ALICE.into(), kid, keyed: true }]);
    // The session outlives its confirmation's time.
    world.pass(60_000);
    assert_eq!(world.count().sessions_active, 1);
}

#[test]
fn messages_come_from_inside_and_go_to_the_newest_connection() {
    let mut world = world();
    let mut phone = world.phone(ALICE, HERE);
    world.register(&mut phone);
    let kid = connect(&mut world, &phone, 1);
    let refresh = phone.write(|a, t, w| write_register(a, t, 600, w));
    let up = inside(&mut world, kid, at(&phone, 1), &refresh);
    assert!(matches!(up[..], [(To::Core { .. }, _)]), "{up:?}");
    let answer = world.core.answer(&up[0].1);
    let down = world.core_says(&answer);
    let first = To::Access { listener: TLS, conn: 1, addr: at(&phone, 1).source };
    assert_eq!((down[0].0, status(&down[0].1)), (first, 200), "as it stands: the connection protects it");
    let pong = inside(&mut world, kid, at(&phone, 1), b"\r\n\r\n");
    assert_eq!(pong, [(first, b"\r\n".to_vec())]);
    connect(&mut world, &phone, 2);
    assert_eq!(world.sink.hung_up, [1], "one connection a session");
    let down = world.core_says(OPTIONS.as_bytes());
    assert!(matches!(down[0].0, To::Access { listener: TLS, conn: 2, .. }), "{down:?}");
    // The older one's end changes nothing; the newer one's makes the terminal unreachable.
    world.engine.on_connection_gone(kid, 1);
    assert!(matches!(world.core_says(OPTIONS.as_bytes())[0].0, To::Access { conn: 2, .. }));
    world.engine.on_connection_gone(kid, 2);
    let back = world.core_says(OPTIONS.as_bytes());
    assert!(matches!(back[0].0, To::Core { .. }));
    assert_eq!((status(&back[0].1), world.count().core_unreachable), (480, 1));
}

#[test]
fn nothing_leaves_in_the_clear_by_what_the_registration_came_by() {
    let mut world = world();
    let mut phone = world.phone(ALICE, HERE);
    // Over TCP: the session must not take that connection for one of its own.
    phone.listener = TCP;
    world.register(&mut phone);
    let back = world.core_says(OPTIONS.as_bytes());
    assert_eq!(status(&back[0].1), 480, "not confirmed");
    let kid = connect(&mut world, &phone, 9);
    let refresh = phone.write(|a, t, w| write_register(a, t, 600, w));
    let up = inside(&mut world, kid, at(&phone, 9), &refresh).remove(0).1;
    world.engine.on_connection_gone(kid, 9);
    let answer = world.core.answer(&up);
    assert!(world.core_says(&answer).is_empty(), "nobody to say it to");
    assert_eq!(world.count().tls_no_connection, 1);
    // What is unprotected is refused, active session or not.
    let plain = phone.write(|a, t, w| write_register(a, t, 600, w));
    let refused = world.access(phone.meta(), &plain);
    assert!(matches!(refused[..], [(To::Access { conn: 1, .. }, _)]) && status(&refused[0].1) == 403, "{refused:?}");
    // A handshake does not come through a batch.
    assert!(world.access(at(&phone, 9), &refresh).is_empty());
    assert_eq!(world.count().wrong_listener, 1);
}

#[test]
fn a_session_ends_with_its_connection_closed() {
    let mut world = world();
    let mut phone = world.phone(ALICE, HERE);
    world.register(&mut phone);
    let kid = connect(&mut world, &phone, 1);
    let leave = phone.write(|a, t, w| write_register(a, t, 0, w));
    let up = inside(&mut world, kid, at(&phone, 1), &leave).remove(0).1;
    let answer = world.core.answer(&up);
    let down = world.core_says(&answer);
    assert!(matches!(down[0].0, To::Access { conn: 1, .. }), "its last reply");
    assert_eq!((world.sink.hung_up.clone(), world.count().sessions_deregistered), (vec![1], 1));
    // What still arrives belongs to nobody, and neither does a handshake that was under way.
    assert!(inside(&mut world, kid, at(&phone, 1), &leave).is_empty());
    assert!(world.engine.tls_session(&key(&phone).0).is_none());
    assert!(!world.engine.on_secured(world.now, kid, &at(&phone, 2), &mut world.sink));
    assert_eq!(world.count().tls_session_gone, 2);
    world.register(&mut phone);
    connect(&mut world, &phone, 3);
    world.command(Command::EndSession { idc: ALICE.try_into().expect("short"), kid: None });
    assert_eq!(world.sink.hung_up, [1, 3]);
}

#[test]
fn a_newer_session_is_made_before_the_older_is_broken() {
    let mut world = world();
    let mut phone = world.phone(ALICE, HERE);
    world.register(&mut phone);
    let older = connect(&mut world, &phone, 1);
    let (old_id, _) = key(&phone);
    world.register(&mut phone);
    assert!(world.engine.tls_session(&old_id).is_some() && world.sink.hung_up.is_empty(), "both live");
    assert!(matches!(world.core_says(OPTIONS.as_bytes())[0].0, To::Access { conn: 1, .. }));
    connect(&mut world, &phone, 2);
    assert!(world.engine.tls_session(&old_id).is_none());
    assert_eq!((world.sink.hung_up.clone(), world.count().sessions_replaced), (vec![1], 1));
    let ended = Heard::Ended { idc: ALICE.into(), kid: older, why: EndReason::Replaced };
    assert!(world.sink.events.contains(&ended), "{:?}", world.sink.events);
    assert!(matches!(world.core_says(OPTIONS.as_bytes())[0].0, To::Access { conn: 2, .. }));
}

#[test]
fn policy_and_listener_decide_whether_it_is_offered() {
    for (allowed, mechs, chosen) in [
        (&[Mech::Sealed, Mech::Tls][..], "tls;q=0.9 x-pkd-sealed;q=0.8", Mech::Tls),
        (&[Mech::Sealed, Mech::Tls], "tls x-pkd-sealed", Mech::Sealed),
        (&[Mech::Sealed], "tls;q=0.9 x-pkd-sealed;q=0.8", Mech::Sealed),
    ] {
        let policy = Policy { mechanisms: allowed.iter().copied().collect(), ..Policy::default() };
        let mut world = World::with(policy, capacity());
        world.mechs = MechList::from_text(mechs).expect("a list");
        let mut phone = world.phone(ALICE, HERE);
        world.register(&mut phone);
        assert_eq!(phone.tls.is_some(), chosen == Mech::Tls, "{mechs}");
    }
}
