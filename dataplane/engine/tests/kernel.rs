//! Sessions whose ESP the host's kernel does: what it is asked for, whose its messages are, and what it is no longer asked
//! for.
mod common;

use common::*;
use portunus_engine::{Command, Meta, To};
use portunus_keydist::mech::MechList;

const ALICE: &str = "alice@example.test";
const HERE: &str = "192.0.2.7:5060";

/// Where the kernel's messages of a terminal at 192.0.2.7 come from.
fn inside(row: usize) -> Meta {
    Meta { source: "192.0.2.7:5066".parse().unwrap(), listener: ROWS[row], conn: 0 }
}

/// A phone with another SPI, as every registration draws one.
fn again(world: &mut World, spi: u32, seed: u64) -> Phone {
    let mechs = MechList::from_text(&format!("ipsec-man;spi-c={spi};port-c=5066")).unwrap();
    Phone { mechs, rng: Seeded(seed), ..world.phone(ALICE, HERE) }
}

#[test]
fn the_kernel_is_asked_with_the_keys_of_the_session_and_an_empty_message_confirms() {
    let mut world = World::with_kernel();
    let mut phone = world.phone(ALICE, HERE);
    world.register(&mut phone);
    let (session, pair) = (phone.session.as_ref().unwrap(), world.sink.installs.pop().unwrap());
    assert_eq!((session.port, session.c2s.ports), (4501, (5066, 6003)));
    assert_eq!((pair.here, pair.there), ("203.0.113.5:6003".parse().unwrap(), "192.0.2.7:5066".parse().unwrap()));
    assert_eq!((pair.outer, pair.spi), ((4501, 0), (session.kid as u32, 3_221_225_729)));
    let mut material = [0; 36];
    pair.c2s.material(&mut material);
    assert_eq!(material, session.esp_c2s);
    assert_eq!(world.count().sessions_active, 0);
    let back = world.access(inside(0), b"");
    assert_eq!(back, [(To::Access { listener: ROWS[0], conn: 0, addr: inside(0).source }, Vec::new())]);
    assert_eq!((world.count().sessions_active, world.count().kernel_sessions), (1, 1));
}

#[test]
fn messages_pass_in_the_clear_by_the_kernels_listener_alone() {
    let mut world = World::with_kernel();
    let mut phone = world.phone(ALICE, HERE);
    world.register(&mut phone);
    world.access(inside(0), b"");
    let options = b"OPTIONS sip:bob@example.test SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.7:5066;branch=z9hG4bKo\r\n\
        Max-Forwards: 70\r\nFrom: <sip:alice@example.test>;tag=1\r\nTo: <sip:bob@example.test>\r\nCall-ID: x\r\n\
        CSeq: 9 OPTIONS\r\nContent-Length: 0\r\n\r\n";
    let up = world.access(inside(0), options);
    assert!(matches!(up[..], [(To::Core { .. }, _)]), "{up:?}");
    // From anywhere else it is nobody's; by the plain listener it is refused; protected for a worker it opens nothing.
    let moved = Meta { source: "192.0.2.8:5066".parse().unwrap(), ..inside(0) };
    assert!(world.access(moved, options).is_empty() && world.access(inside(1), options).is_empty());
    let sealed = phone.seal(1, options);
    assert!(world.access(Meta { listener: ESP, ..phone.meta() }, &sealed).is_empty());
    let refused = world.access(phone.meta(), options);
    assert_eq!(status(&refused[0].1), 403);
    let count = world.count();
    assert_eq!((count.kernel_unknown, count.sealed_unknown_kid, count.unprotected_refused), (2, 1, 1));
}

#[test]
fn the_older_session_lives_beside_the_newer_until_that_is_confirmed() {
    let mut world = World::with_kernel();
    let mut first = world.phone(ALICE, HERE);
    world.register(&mut first);
    world.access(inside(0), b"");
    let mut second = again(&mut world, 301, 77);
    world.register(&mut second);
    assert_eq!(world.sink.installs.iter().map(|pair| pair.here.port()).collect::<Vec<_>>(), [6003, 6010]);
    assert_eq!(world.access(inside(0), b"").len(), 1, "the older one answers still");
    // A third takes the place of the second, which nobody confirmed.
    let mut third = again(&mut world, 302, 78);
    world.register(&mut third);
    let kids: Vec<u64> = world.sink.installs.iter().map(|pair| pair.kid).collect();
    assert_eq!((world.sink.installs[2].here.port(), &world.sink.uninstalls[..]), (6010, &kids[1..2]));
    assert_eq!(world.access(inside(1), b"").len(), 1);
    assert_eq!(world.sink.uninstalls, [kids[1], kids[0]], "confirmed: the oldest one is over");
    assert!(world.access(inside(0), b"").is_empty());
    assert_eq!(world.count().sessions_active, 1);
}

#[test]
fn who_cannot_be_told_apart_is_protected_by_the_worker() {
    let mut world = World::with_kernel();
    let mut phones: Vec<Phone> =
        ["alice@example.test", "bob@example.test", "carol@example.test"].map(|idc| world.phone(idc, HERE)).into();
    for (nth, phone) in phones.iter_mut().enumerate() {
        phone.mechs = MechList::from_text(&format!("ipsec-man;spi-c={};port-c=5066", 400 + nth)).unwrap();
        world.register(phone);
    }
    let ports: Vec<u16> = phones.iter().map(|phone| phone.session.as_ref().unwrap().port).collect();
    assert_eq!(ports, [4501, 4501, 4500]);
    // One SPI towards one address is one association.
    let mut same = Phone { rng: Seeded(9), ..world.phone("dave@example.test", HERE) };
    same.mechs = MechList::from_text("ipsec-man;spi-c=400;port-c=5099").unwrap();
    world.register(&mut same);
    assert_eq!(same.session.as_ref().unwrap().port, 4500);
    same.mechs = MechList::from_text("ipsec-man;spi-c=410;port-c=5099").unwrap();
    world.register(&mut same);
    assert_eq!(same.session.as_ref().unwrap().port, 4501);
}

#[test]
fn what_the_kernel_loses_ends_and_a_kernel_that_refuses_is_left_alone() {
    let mut world = World::with_kernel();
    let mut phone = world.phone(ALICE, HERE);
    world.register(&mut phone);
    world.access(inside(0), b"");
    let kid = world.sink.installs[0].kid;
    world.command(Command::EndChannel { kid });
    assert_eq!((world.count().sessions_active, world.count().kernel_lost), (0, 1));
    world.command(Command::EndChannel { kid });
    world.command(Command::Kernel(false));
    let mut next = again(&mut world, 500, 5);
    world.register(&mut next);
    assert_eq!((next.session.as_ref().unwrap().port, world.sink.installs.len()), (4500, 1));
    world.command(Command::Kernel(true));
    world.sink.kernel_is_full = true;
    let mut last = again(&mut world, 501, 6);
    let s1 = last.s1(world.now);
    let s6 = world.one(&last, &s1);
    let s7 = last.s7(world.now, &s6);
    assert_eq!((status(&world.one(&last, &s7)), world.count().kernel_unasked), (503, 1));
}

#[test]
fn an_unconfirmed_session_takes_its_associations_with_it() {
    let mut world = World::with_kernel();
    let mut phone = world.phone(ALICE, HERE);
    world.register(&mut phone);
    world.pass(31_000);
    assert_eq!(world.sink.uninstalls, [world.sink.installs[0].kid]);
    assert!(world.access(inside(0), b"").is_empty());
}
