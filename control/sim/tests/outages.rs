//! What the product promises for bad days, each as a run of its own: loss, a proxy that dies, an AuC that is away.

use portunus_keydist::mech::Mech;
use portunus_signalling::Protocol;
use portunus_sim::dialect;
use portunus_sim::scenario::{Held, Malice, Mishap, Node, Scenario, Weather};
use portunus_sim::world::World;

const FINE: Weather = Weather { loss: 0, duplicate: 0, corrupt: 0, delay: 5, jitter: 5 };

/// A run of many terminals in which nothing goes wrong by itself.
fn plain(seed: u64, phones: usize, direct: bool) -> Scenario {
    let mut s = Scenario::draw(seed);
    (s.phones, s.direct, s.stock, s.mishaps, s.malice) = (phones, direct, 0, Vec::new(), Malice::default());
    (s.proxies, s.workers) = (if direct { 1 } else { 2 }, 2);
    (s.access, s.core, s.aaa) = (FINE, FINE, FINE);
    (s.expires_s, s.life_s) = (300, 86_400);
    (s.mechs, s.allowed) = (vec!["x-pkd-sealed"; phones], &[Mech::Sealed]);
    s.clock_off = vec![0; phones];
    // All protocols in turn, and room for each terminal's lane wherever it goes.
    s.protocols = dialect::ALL.iter().map(|d| d.protocol()).cycle().take(phones).collect();
    (s.lanes, s.silent_s) = (40, 600);
    (s.calm_at, s.deadline) = (3_600_000, 4_000_000);
    s
}

fn good(world: &World) {
    assert_eq!(world.oracle.violation, None);
}

fn registered(world: &World) -> usize {
    world.sessions().iter().flatten().count()
}

#[test]
fn a_third_of_all_packets_lost_each_way_and_every_terminal_registers() {
    for seed in 0..8 {
        let mut s = plain(seed, 30, seed % 2 == 0);
        s.access = Weather { loss: 300, jitter: 200, duplicate: 50, ..FINE };
        let mut world = World::new(s, false);
        let mut ever = [false; 30];
        for second in 0..240 {
            world.run_to(second * 1_000);
            ever.iter_mut().zip(world.sessions()).for_each(|(e, s)| *e |= s.is_some());
        }
        good(&world);
        assert_eq!(ever, [true; 30], "seed {seed}");
        assert!(registered(&world) >= 28, "and nearly all of them at any one time");
    }
}

#[test]
fn a_proxy_killed_and_restarted_gets_its_terminals_back_by_themselves() {
    for direct in [false, true] {
        let mut s = plain(11, 30, direct);
        s.mishaps = vec![(60_000, Mishap::Crash(Node::Proxy(0), 3_000))];
        let mut world = World::new(s, false);
        world.run_to(59_000);
        assert_eq!(registered(&world), 30);
        let before = world.sessions();
        // A terminal notices within its probe (30 s) and the probe's 32 s, and then registers.
        world.run_to(180_000);
        good(&world);
        assert_eq!(registered(&world), 30);
        let theirs = |i: usize| direct || i.is_multiple_of(2);
        for (i, (a, b)) in before.iter().zip(world.sessions()).enumerate() {
            assert_eq!(*a == b, !theirs(i), "terminal {i}: only the killed proxy's terminals have new sessions");
        }
        let most = world.asked().range(63..180).map(|(_, n)| *n).max().unwrap_or(0);
        assert!(most <= 30, "{most} questions in one second: they all came back at once");
    }
}

#[test]
fn an_auc_away_for_a_minute_under_load_admits_nobody_and_ends_nothing() {
    for direct in [false, true] {
        let mut s = plain(12, 30, direct);
        s.mishaps = vec![(60_000, Mishap::Crash(Node::Auc, 60_000))];
        // Ten terminals come back during the outage, and strangers knock all the time.
        s.mishaps.extend((0..10).map(|i| (70_000 + i as u64 * 2_000, Mishap::Crash(Node::Phone(i), 100))));
        s.malice = Malice { every: 300, flood: 20, luck: 31, ..Malice::default() };
        let mut world = World::new(s, false);
        world.run_to(59_000);
        assert_eq!(registered(&world), 30);
        let before = world.sessions();
        world.run_to(119_000);
        good(&world);
        let during = world.sessions();
        assert!(during[..10].iter().all(Option::is_none), "nobody is admitted without the AuC");
        assert_eq!(before[10..], during[10..], "who was active stays so");
        world.run_to(240_000);
        good(&world);
        assert_eq!(registered(&world), 30, "and everybody is back");
        assert_eq!(before[10..], world.sessions()[10..]);
        let most = world.asked().range(120..240).map(|(_, n)| *n).max().unwrap_or(0);
        // Each of the ten needs an s3 and an s11.
        assert!(most <= 10, "{most} questions in one second: they all came back at once");
    }
}

#[test]
fn a_softswitch_away_for_two_minutes_ends_no_session_and_is_told_again_who_is_where() {
    let mut s = plain(13, 30, false);
    let spoken = s.protocols.clone();
    s.mishaps = vec![(60_000, Mishap::Crash(Node::Switch, 120_000))];
    let mut world = World::new(s, false);
    world.run_to(59_000);
    assert_eq!(registered(&world), 30);
    let before = world.sessions();
    // Only SIP's refreshes tell a softswitch that has forgotten everything; gateways register anew when they speak.
    let sip = |sessions: Vec<Option<u64>>| -> Vec<Option<u64>> {
        let speaks = |i: &usize| spoken[*i] == Protocol::Sip;
        sessions.into_iter().enumerate().filter(|(i, _)| speaks(i)).map(|(_, session)| session).collect()
    };
    for at in [120_000, 179_000, 300_000] {
        world.run_to(at);
        good(&world);
        match at {
            300_000 => assert_eq!(sip(before.clone()), sip(world.sessions()), "at {at} ms"),
            _ => assert_eq!(before, world.sessions(), "at {at} ms"),
        }
    }
    // Its memory is gone: each refresh, before 300 s are over, or a new registration tells it again.
    world.run_to(520_000);
    good(&world);
    assert_eq!((registered(&world), world.trouble()), (30, None));
}

#[test]
fn a_connection_that_opens_into_silence_is_given_up_and_the_terminal_is_back() {
    let mut s = plain(13, 12, true);
    // Nothing but tls is offered, by the protocols that have it.
    let streams = [Protocol::Sip, Protocol::H248];
    s.protocols = streams.into_iter().cycle().take(12).collect();
    (s.mechs, s.allowed) = (vec!["tls"; 12], &[Mech::Tls]);
    // While the proxy's host only takes what comes, everybody is seen elsewhere, and connects anew.
    s.mishaps = vec![(60_000, Mishap::Mute(0, 10_000))];
    s.mishaps.extend((0..12).map(|i| (60_500, Mishap::Move(i))));
    let mut world = World::new(s, false);
    world.run_to(59_000);
    assert_eq!(registered(&world), 12);
    world.run_to(240_000);
    good(&world);
    assert_eq!((registered(&world), world.trouble()), (12, None), "and reachable");
}

#[test]
fn a_proxys_key_is_replaced_in_either_order_and_no_registration_fails() {
    for direct in [false, true] {
        let mut s = plain(15, 30, direct);
        // Keys live so short that every terminal registers anew within each step.
        s.life_s = 60;
        s.mishaps =
            [(80, Held::NewOld), (160, Held::New)].map(|(at, held)| (at * 1000, Mishap::Hold(0, held))).to_vec();
        s.mishaps.push((140_000, Mishap::Rotate(0)));
        if !direct {
            let steps = [(80, Held::OldNew), (150, Held::NewOld), (220, Held::New)];
            s.mishaps.extend(steps.map(|(at, held)| (at * 1000, Mishap::Hold(1, held))));
            s.mishaps.push((140_000, Mishap::Rotate(1)));
        }
        s.mishaps.sort_by_key(|(at, _)| *at);
        let proxies = s.proxies;
        let mut world = World::new(s, false);
        world.run_to(70_000);
        let mut before = world.sessions();
        for second in 71..300 {
            world.run_to(second * 1_000);
            good(&world);
            assert_eq!(registered(&world), 30, "direct {direct}, second {second}");
            if second % 75 == 0 && second > 75 {
                let now = world.sessions();
                assert!(before.iter().zip(&now).all(|(a, b)| a != b), "everybody has registered since");
                before = now;
            }
        }
        for proxy in 0..proxies {
            let (other, failed) = world.unwrapped(proxy);
            assert!(
                other > 0 && failed == 0,
                "direct {direct}, proxy {proxy}: {other} by the other key, {failed} failed"
            );
        }
    }
}
