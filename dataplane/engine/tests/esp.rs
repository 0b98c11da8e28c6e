//! `ipsec-man` through the engine: what is negotiated, what is dropped and under which name, and what is not confused.
mod common;

use common::*;
use portunus_channel::TrafficKey;
use portunus_engine::{Meta, Policy};
use portunus_keydist::mech::{Mech, MechList};
use ring::aead;

const ALICE: &str = "alice@example.test";
const HERE: &str = "192.0.2.7:5060";

/// A dummy of the terminal's: next header 59 over whatever.
fn dummy(phone: &mut Phone) -> Vec<u8> {
    let session = phone.session.as_mut().expect("a session");
    session.seq += 1;
    let header = [(session.c2s.handle as u32).to_be_bytes(), (session.seq as u32).to_be_bytes()].concat();
    let (iv, mut body) = (session.seq.to_be_bytes(), vec![0x5a, 0x5a, 0xff, 59]);
    let (key, salt) = session.esp_c2s.split_at(32);
    let nonce = [salt, &iv].concat();
    let key = aead::LessSafeKey::new(aead::UnboundKey::new(&aead::AES_256_GCM, key).expect("a key"));
    let nonce = aead::Nonce::try_assume_unique_for_key(&nonce).expect("12 octets");
    key.seal_in_place_append_tag(nonce, aead::Aad::from(&header), &mut body).expect("seals");
    [&header[..], &iv, &body].concat()
}

#[test]
fn the_answer_names_the_proxys_spi_inner_port_and_outer_port() {
    let mut world = World::under(Mech::Esp);
    let phone = world.active(ALICE, HERE);
    let session = phone.session.as_ref().expect("a session");
    assert_eq!((session.mech(), session.port), (Mech::Esp, 4500));
    assert_eq!((session.c2s.ports, session.s2c.ports), ((5066, 5060), (5060, 5066)));
    assert_eq!((session.kid & 0xff, session.s2c.handle), (3, 3_221_225_729), "the worker, for whoever steers");
}

#[test]
fn the_policy_and_the_parameters_decide() {
    let policy = |mechs: &[Mech]| Policy { mechanisms: mechs.iter().copied().collect(), ..Policy::default() };
    for (mechs, allowed, chosen) in [
        ("x-pkd-sealed;q=0.5 ipsec-man;q=0.6;spi-c=300;port-c=5066", &[Mech::Sealed, Mech::Esp][..], Some(Mech::Esp)),
        ("x-pkd-sealed ipsec-man;spi-c=300;port-c=5066", &[Mech::Esp, Mech::Sealed], Some(Mech::Esp)),
        ("x-pkd-sealed;q=0.5 ipsec-man;q=0.6;spi-c=300;port-c=5066", &[Mech::Sealed], Some(Mech::Sealed)),
        ("x-pkd-sealed;q=0.5 ipsec-man;q=0.6;spi-c=255;port-c=5066", &[Mech::Esp, Mech::Sealed], Some(Mech::Sealed)),
        ("ipsec-man;spi-c=300", &[Mech::Esp, Mech::Sealed], None),
        ("ipsec-man;spi-c=300;port-c=5066", &[Mech::Sealed], None),
    ] {
        let mut world = World::with(policy(allowed), capacity());
        let mut phone = world.phone(ALICE, HERE);
        phone.mechs = MechList::from_text(mechs).expect("a list");
        let s1 = phone.s1(world.now);
        let s6 = world.one(&phone, &s1);
        let s7 = phone.s7(world.now, &s6);
        let answer = world.one(&phone, &s7);
        let Some(chosen) = chosen else {
            assert_eq!((status(&answer), world.count().mechanism_refused), (494, 1), "{mechs}");
            continue;
        };
        assert!(phone.on_s10(&answer), "{mechs}");
        assert_eq!(phone.session.as_ref().map(Session::mech), Some(chosen), "{mechs}");
        world.confirm(&mut phone);
    }
}

#[test]
fn what_is_no_datagram_of_a_session_is_dropped_in_silence_under_its_name() {
    let mut world = World::under(Mech::Esp);
    let mut phone = world.active(ALICE, HERE);
    let at = world.sealed(&phone);
    let ping = phone.seal(0, b"");
    let mut ike = ping.clone();
    ike[..4].fill(0);
    let mut reserved = ping.clone();
    reserved[..4].copy_from_slice(&[0, 0, 0, 77]);
    let mut nobody = ping.clone();
    nobody[0] ^= 0x10;
    let mut forged = ping.clone();
    forged[20] ^= 1;
    for octets in [&[0xff][..], &ike, &ike[..4], &reserved, &nobody, &forged, &ping[..30], &ping[..39], &[]] {
        assert!(world.access(at, octets).is_empty());
    }
    let count = world.count();
    assert_eq!((count.sealed_keep_alive, count.sealed_marker, count.sealed_bad_header), (1, 2, 4));
    assert_eq!((count.sealed_unknown_kid, count.sealed_forged, count.sealed_bad_content), (1, 1, 0));
    assert_eq!(world.access(at, &ping).len(), 1, "nothing was used up");
    assert_eq!(world.sink.events.len(), 1, "and nothing else changed");
    let session = phone.session.as_mut().expect("a session");
    session.c2s.ports.0 += 1;
    assert!(world.access(at, &phone.seal(1, b"OPTIONS")).is_empty());
    assert_eq!(world.count().sealed_bad_content, 1, "only the holder of the key can do that");
}

#[test]
fn dummies_confirm_nothing_and_are_not_answered() {
    let mut world = World::under(Mech::Esp);
    let mut phone = world.phone(ALICE, HERE);
    world.register(&mut phone);
    let at = world.sealed(&phone);
    let said = dummy(&mut phone);
    assert!(world.access(at, &said).is_empty());
    let count = world.count();
    assert_eq!((count.sealed_dummy, count.sessions_provisional, count.sessions_active), (1, 1, 0));
    assert!(world.access(at, &said).is_empty());
    assert_eq!(world.count().sealed_replayed, 1, "their numbers count");
    world.confirm(&mut phone);
    // A dummy that is newest tells where the terminal is now.
    let moved = Meta { source: "198.51.100.7:777".parse().expect("an address"), ..at };
    let said = dummy(&mut phone);
    assert!(world.access(moved, &said).is_empty());
    assert_eq!((world.count().sealed_dummy, world.count().sealed_moved), (2, 1));
}

#[test]
fn handles_of_one_mechanism_lead_nowhere_in_another() {
    let policy = Policy { mechanisms: [Mech::Sealed, Mech::Esp].into_iter().collect(), ..Policy::default() };
    let mut world = World::with(policy, capacity());
    let mut sealed = world.active("bob@example.test", "192.0.2.8:5060");
    world.mechs = MechList::from_text("ipsec-man;spi-c=300;port-c=5066").expect("a list");
    let mut esp = world.active(ALICE, HERE);
    let to_esp = Meta { listener: ESP, ..world.sealed(&sealed) };
    let to_sealed = Meta { listener: SEALED, ..world.sealed(&esp) };
    assert!(world.access(to_esp, &sealed.seal(0, b"")).is_empty());
    assert!(world.access(to_sealed, &esp.seal(0, b"")).is_empty());
    // The SPI that the sealed session's slot would have, and the key id that the ESP session's would.
    let session = esp.session.as_mut().expect("a session");
    let (spi, other) = (session.c2s.handle, sealed.session.as_ref().expect("a session").c2s.handle);
    let generation = (spi >> 8) & !0xff | ((other as u32 + 1) & 0xff) as u64;
    session.c2s.handle = generation << 8 | 3;
    let keys = std::mem::replace(&mut session.keys.c2s, TrafficKey::new([0; 32]));
    assert!(world.access(world.sealed(&esp), &esp.seal(0, b"")).is_empty());
    let session = esp.session.as_mut().expect("a session");
    (session.keys.c2s, session.c2s.handle) = (keys, spi);
    assert_eq!(world.access(world.sealed(&esp), &esp.seal(0, b"")).len(), 1);
    assert_eq!(world.count().sessions_active, 2);
}

#[test]
fn a_renewed_session_has_another_spi_and_the_older_lives_until_it_is_confirmed() {
    let mut world = World::under(Mech::Esp);
    let mut first = world.active(ALICE, HERE);
    let mut second = world.phone(ALICE, "192.0.2.99:5060");
    (second.rng, second.mechs) = (Seeded(77), MechList::from_text("ipsec-man;spi-c=301;port-c=5066").expect("a list"));
    world.register(&mut second);
    let spi = |phone: &Phone| phone.session.as_ref().map(|session| session.kid);
    assert_ne!(spi(&first), spi(&second));
    assert_eq!(world.access(world.sealed(&first), &first.seal(0, b"")).len(), 1);
    world.confirm(&mut second);
    assert!(world.access(world.sealed(&first), &first.seal(0, b"")).is_empty());
    let count = world.count();
    assert_eq!((count.sessions_active, count.sessions_replaced, count.sealed_unknown_kid), (1, 1, 1));
}
