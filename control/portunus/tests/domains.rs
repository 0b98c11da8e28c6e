//! Two domains, each with an authentication centre and softswitches of its own, and one proxy before both, as processes:
//! subscribers register at their own domain, and as guests at the other, and call each other; a softswitch that dies
//! while they register, and an authentication centre that is gone, are noticed by nobody who does not need them.

mod lab;
#[path = "domains/relay.rs"]
mod relay;
#[path = "outages/site.rs"]
mod site;
#[path = "domains/world.rs"]
mod world;

use lab::line::Line;
use portunus_terminal::sip::Sip;
use portunus_terminal::{Event, Failure};
use relay::Relay;
use site::Process;
use std::time::{Duration, Instant};
use world::World;

/// Everybody but the proxy.
fn core(world: &World) -> Vec<Process> {
    ["auc0", "auc1", "ss0", "ss1", "ss2"].map(|name| world.start(name)).into()
}

/// One sends a MESSAGE to another, who hears it and by whom it is; the answer comes back.
fn reaches(from: &mut Line<Sip>, to: &mut Line<Sip>) {
    let (now, target) = (from.now(), to.terminal.idc().to_owned());
    let asked = from.terminal.send_request(now, &mut from.rng, "MESSAGE", &target, b"hello").expect("it is active");
    let answered = |e: &Event| matches!(e, Event::Response { id, .. } if *id == asked);
    from.until("an answer", answered, || to.turn());
    let status = from.events.iter().find_map(|e| match e {
        Event::Response { id, status } if *id == asked => Some(*status),
        _ => None,
    });
    let sender = from.terminal.idc().to_owned();
    assert_eq!(status, Some(200), "{sender} to {target}: {:?}", to.events);
    let heard = |e: &Event| matches!(e, Event::Request { from, .. } if from.contains(&sender));
    assert!(to.events.iter().any(heard), "{target} heard nothing of {sender}'s: {:?}", to.events);
}

fn is_denied(event: &Event) -> bool {
    matches!(event, Event::Failed { why: Failure::Denied, .. })
}

#[test]
fn subscribers_of_two_domains_register_and_call_each_other() {
    let world = World::plan();
    let _core = core(&world);
    let proxy = world.start("proxy");
    let mut own: Vec<_> = (0..6).map(|n| world.line(0, n)).collect();
    let mut other: Vec<_> = (0..2).map(|n| world.line(1, n)).collect();
    // A subscriber of b.test who registers at the softswitches of a.test: its key comes from its own domain.
    let mut guest = world.line(1, 9);
    own.iter_mut().chain(&mut other).chain([&mut guest]).for_each(Line::active);
    // By lot the six are at both softswitches of a.test, unless chance has it otherwise once in thirty runs.
    for n in 0..5 {
        let (left, right) = own.split_at_mut(n + 1);
        reaches(&mut left[n], &mut right[0]);
    }
    reaches(&mut own[0], &mut other[0]);
    reaches(&mut other[1], &mut own[3]);
    reaches(&mut guest, &mut other[1]);
    reaches(&mut guest, &mut own[1]);
    // A realm that nobody here serves.
    let key = World::key(0, 0);
    let mut stranger = Line::start(
        portunus_signalling::Protocol::Sip,
        world.sip,
        "sp1.test",
        ("eve@c.test", &key),
        Sip::new(&mut portunus_keydist::SystemRandom::new()),
    );
    stranger.until("it is refused", is_denied, || ());
    assert!(proxy.counter("proxy", "realm_unserved") >= 1);
    let sent: Vec<_> = (0..3).map(|n| proxy.counter("proxy", &format!("link_peer_{n}_sent"))).collect();
    assert!(sent[2] > 0 && sent[0] + sent[1] > 0, "{sent:?}");
}

/// With one worker, whose link to the core is its own, and with several, which hear of it later.
#[test]
fn a_softswitch_that_dies_while_they_register_is_replaced_by_the_next() {
    for workers in [1, 2] {
        dies(workers);
    }
}

fn dies(workers: usize) {
    let world = World::plan();
    // It makes challenges, and dies before the first answer to one reaches it.
    let answers = |text: &str| text.contains("response=\"") && !text.contains("response=\"\"");
    let first = Relay::before(world.switches[0][0], answers);
    let mut switches = world.switches;
    switches[0][0] = first.at;
    world.write_proxy(switches, workers);
    let _core = core(&world);
    let proxy = world.start("proxy");
    let mut lines: Vec<_> = (0..9).map(|n| world.line(0, n)).collect();
    let until = Instant::now() + Duration::from_secs(25);
    while !lines.iter().all(|line| line.terminal.is_active()) {
        assert!(Instant::now() < until, "{:#?}", lines.iter().map(|l| &l.events).collect::<Vec<_>>());
        lines.iter_mut().for_each(Line::turn);
    }
    assert!(first.lost() > 0, "nobody's lot was the one that dies");
    assert!(!lines.iter().any(|line| line.events.iter().any(is_denied)), "an answer reached the wrong softswitch");
    for name in ["begun_anew", "link_failed_over"] {
        assert!(proxy.counter("proxy", name) > 0, "{name}");
    }
    assert_eq!(proxy.counter("proxy", "link_peer_0_silent"), 1);
}

#[test]
fn gateways_have_several_softswitches_too_and_pass_a_dead_one_over() {
    let world = World::plan();
    let _auc = world.start("auc0");
    // The first of a.test is not there at all, and that of b.test is nobody's who is asked for.
    let _second = world.start("ss1");
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").expect("bound and never read");
    let mut switches = world.switches;
    switches[0][1] = silent.local_addr().expect("its address");
    world.write_proxy(switches, 1);
    let proxy = world.start("proxy");
    let mut gateways = [world.gateway(0, 10), world.gateway(0, 11)];
    let until = Instant::now() + Duration::from_secs(25);
    while !gateways.iter().all(|line| line.terminal.is_active()) {
        assert!(Instant::now() < until, "{:#?}", gateways.iter().map(|l| &l.events).collect::<Vec<_>>());
        gateways.iter_mut().for_each(Line::turn);
    }
    assert!(proxy.counter("proxy", "lane_peers_silent") <= 1);
}

#[test]
fn a_domain_without_its_authentication_centre_slows_no_other() {
    let world = World::plan();
    let [_own, foreign, _a1, _a2, _b] = ["auc0", "auc1", "ss0", "ss1", "ss2"].map(|name| world.start(name));
    let _proxy = world.start("proxy");
    foreign.kill();
    let mut guest = world.line(1, 9);
    let mut own: Vec<_> = (0..4).map(|n| world.line(0, n)).collect();
    let began = Instant::now();
    own.iter_mut().for_each(Line::active);
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    let busy = |e: &Event| matches!(e, Event::Failed { why: Failure::Busy { .. }, .. });
    guest.until("its domain is out of reach", busy, || ());
}
