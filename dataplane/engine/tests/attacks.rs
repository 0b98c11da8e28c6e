//! Whatever is sent, in whatever order: nothing panics, nobody gets in who should not, memory stays within its limits.
mod common;

use common::*;
use portunus_engine::{Capacity, Meta, Policy, To};
use proptest::prelude::*;

/// What the attacker does with the messages that it sees.
#[derive(Debug, Clone)]
enum Deed {
    /// Lets the honest terminal take its next step.
    Step,
    /// Sends a seen message again, from a source, with a bit flipped or cut.
    Again { which: prop::sample::Index, from: u8, flip: Option<prop::sample::Index>, cut: bool },
    /// Sends a seen core message again, likewise.
    Core { which: prop::sample::Index, flip: Option<prop::sample::Index> },
    /// Sends noise.
    Noise(Vec<u8>, u8),
    /// Lets time pass.
    Pass(u64),
}

fn deed() -> impl Strategy<Value = Deed> {
    let index = any::<prop::sample::Index>;
    prop_oneof![
        4 => Just(Deed::Step),
        4 => (index(), 0u8..4, prop::option::of(index()), any::<bool>())
            .prop_map(|(which, from, flip, cut)| Deed::Again { which, from, flip, cut }),
        2 => (index(), prop::option::of(index())).prop_map(|(which, flip)| Deed::Core { which, flip }),
        1 => (prop::collection::vec(any::<u8>(), 0..300), 0u8..5).prop_map(|(octets, listener)| Deed::Noise(octets, listener)),
        1 => (0u64..6_000).prop_map(Deed::Pass),
    ]
}

fn altered(octets: &[u8], flip: Option<prop::sample::Index>, cut: bool) -> Vec<u8> {
    let mut octets = octets.to_vec();
    if let Some(flip) = flip.filter(|_| !octets.is_empty()) {
        let bit = flip.index(octets.len() * 8);
        octets[bit / 8] ^= 1 << (bit % 8);
    }
    if cut {
        octets.truncate(octets.len() / 2);
    }
    octets
}

/// The honest terminal's next message, from what it got last.
fn step(world: &mut World, phone: &mut Phone, last: &mut Option<Vec<u8>>) -> (Meta, Vec<u8>) {
    if phone.session.is_some() {
        return (world.sealed(phone), phone.seal(0, b""));
    }
    match last.take().filter(|answer| status(answer) == 401) {
        Some(s6) => (phone.meta(), phone.s7(world.now, &s6)),
        None => (phone.meta(), phone.s1(world.now)),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn the_honest_terminal_alone_gets_a_session(deeds in prop::collection::vec(deed(), 1..60)) {
        let small = Capacity { pendings: 16, sessions: 8, ..capacity() };
        let mut world = World::with(Policy::default(), small);
        let mut phone = world.phone("alice@example.test", "192.0.2.7:5060");
        let mut seen: Vec<(Meta, Vec<u8>)> = Vec::new();
        let mut from_core: Vec<Vec<u8>> = Vec::new();
        let (mut last, mut answered) = (None, 0);
        for deed in deeds {
            let mut to_phone = Vec::new();
            match deed {
                Deed::Step => {
                    let (meta, octets) = step(&mut world, &mut phone, &mut last);
                    for (to, message) in world.access(meta, &octets) {
                        if matches!(to, To::Core { .. }) {
                            let answer = world.core.answer(&message);
                            from_core.push(answer.clone());
                            to_phone.extend(world.core_says(&answer));
                        }
                    }
                    answered += u64::from(octets.windows(16).any(|w| w == b"Security-Client:"));
                    seen.push((meta, octets));
                }
                Deed::Again { which, from, flip, cut } if !seen.is_empty() => {
                    let (mut meta, octets) = which.get(&seen[..]).clone();
                    if from > 0 {
                        meta.source = format!("198.51.100.{from}:{}", 4000 + u16::from(from)).parse().unwrap();
                    }
                    for (to, message) in world.access(meta, &altered(&octets, flip, cut)) {
                        let own = matches!(to, To::Access { addr, .. } if addr == phone.addr);
                        prop_assert!(own || !String::from_utf8_lossy(&message).contains("ekc="), "a key for a stranger");
                    }
                }
                Deed::Core { which, flip } if !from_core.is_empty() => {
                    let octets = altered(&from_core[which.index(from_core.len())], flip, false);
                    world.engine.on_core(world.now, &[&octets, &octets], portunus_signalling::Protocol::Sip, &mut world.sink);
                    world.sink.out.clear();
                }
                Deed::Noise(octets, listener) => {
                    world.access(Meta { source: "198.51.100.1:9".parse().unwrap(), listener, conn: 0 }, &octets);
                    world.core_says(&octets);
                }
                Deed::Pass(ms) => world.pass(ms),
                _ => {}
            }
            for (to, message) in to_phone {
                let own = matches!(to, To::Access { addr, .. } if addr == phone.addr);
                prop_assert!(own);
                let registering = phone.session.is_none();
                if registering && status(&message) == 200 {
                    prop_assert!(phone.on_s10(&message));
                }
                last = Some(message);
            }
            let count = world.count();
            prop_assert!(count.pendings <= 16);
            prop_assert!(count.sessions_active + count.sessions_provisional <= 8);
            prop_assert!(count.s10_sent <= count.s7_accepted && count.s7_accepted <= count.s6_sent);
            prop_assert!(count.sessions_active <= 1);
            prop_assert_eq!(count.sessions_confirmed, world.sink.events.iter()
                .filter(|e| matches!(e, Heard::Active { .. })).count() as u64);
        }
        prop_assert!(world.count().s10_sent <= answered, "a key for each answer of the terminal's own, at most");
    }
}
