//! `portunus demo`: an AuC, a softswitch, a proxy and a fleet of terminals on this machine, over real sockets, and
//! what one of them went through.

mod report;
mod world;

use crate::cli::{Carrier, DemoArgs, Topology};
use crate::exit::{Exit, Failure};
use crate::ladder;
use crate::latency::Latency;
use crate::out::Out;
use crate::signals::Signals;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use portunus_keydist::Key;
use portunus_terminal::fleet::{Arrivals, Fleet, FleetConfig, FleetResult, Goal, Progress};
use portunus_terminal::sip::{MECHS, Profile, Transport};
use report::Report;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use world::World;

/// Sockets that the terminals share: the proxy steers by source address and port, so many more than workers.
const SOCKETS: u16 = 64;

/// Runs it.
///
/// # Errors
/// [`Exit::Failed`] unless every terminal verified its s10 and its session became active; else what could not be
/// started.
pub fn demo(args: &DemoArgs, out: Out) -> Result<(), Failure> {
    let signals = Signals::catch()?;
    let began = Instant::now();
    let world = World::start(args)?;
    let report = register_all(args, &world, began, &signals, out)?;
    report.tell(out);
    if args.keep {
        world.keep(&signals, out);
    }
    if report.all_active() {
        Ok(())
    } else {
        let what = format!("{} of {} terminals are active", report.active, report.terminals);
        Err(Failure::new(Exit::Failed, what, report.advice()))
    }
}

fn register_all(
    args: &DemoArgs,
    world: &World,
    began: Instant,
    signals: &Signals,
    out: Out,
) -> Result<Report, Failure> {
    let started_in = began.elapsed();
    let bar = progress_bar(args.terminals, out);
    // One terminal alone first: its ladder is not disturbed by the others' traffic.
    let mut first = fleet(args, world, 0, 1)?;
    let one = run(&mut first, signals, &mut |_| {})?;
    let watched = world.watch.since(one.began);
    bar.set_position(u64::from(one.active));
    let others = args.terminals - 1;
    let mut crowd = if others > 0 { Some(fleet(args, world, 1, others)?) } else { None };
    let mut result = match &mut crowd {
        Some(crowd) => run(crowd, signals, &mut |p| bar.set_position(u64::from(one.active + p.active)))?,
        None => one.clone(),
    };
    bar.finish_and_clear();
    if others > 0 {
        join(&mut result, &one);
    }
    let (mut keyed, mut active) = (Latency::new(), Latency::new());
    keyed.add(&result.keyed_us);
    active.add(&result.active_us);
    Ok(Report {
        topology: args.topology.name(),
        transport: if args.transport == Carrier::Udp { "udp" } else { "tcp" },
        terminals: args.terminals,
        verified: result.registered,
        active: result.active,
        failures: result.failures.iter().map(|(k, v)| ((*k).to_owned(), *v)).collect::<BTreeMap<_, _>>(),
        ladder: rungs(args, &one, &watched),
        negotiated: report::Negotiated::of(&one, world),
        keyed_us: keyed,
        active_us: active,
        rate: result.rate(),
        elapsed_ms: millis(result.elapsed),
        started_in_ms: millis(started_in),
        packets_sent: result.packets_sent,
        packets_received: result.packets_received,
        octets_sent: result.octets_sent,
        octets_received: result.octets_received,
        retransmissions: result.retransmissions,
        counters: world.counters(),
    })
}

/// The ladder; without a proxy its steps are those of the softswitch's own access side.
fn rungs(args: &DemoArgs, one: &FleetResult, watched: &[(&'static str, Duration)]) -> Vec<ladder::Rung> {
    let mut rungs = ladder::ladder(&one.ladder, watched);
    if args.topology == Topology::Direct {
        let names = rungs.iter_mut().flat_map(|r| [&mut r.from, &mut r.to]);
        names.filter(|name| *name == "proxy").for_each(|name| "access".clone_into(name));
    }
    rungs
}

fn millis(d: Duration) -> u64 {
    u64::try_from(d.as_millis()).unwrap_or(u64::MAX)
}

/// Adds what the first terminal came to.
fn join(all: &mut FleetResult, one: &FleetResult) {
    all.terminals += one.terminals;
    all.registered += one.registered;
    all.active += one.active;
    for (why, n) in &one.failures {
        *all.failures.entry(why).or_default() += n;
    }
    // Both histograms have the same bounds.
    let _ = all.keyed_us.add(&one.keyed_us);
    let _ = all.active_us.add(&one.active_us);
    all.packets_sent += one.packets_sent;
    all.packets_received += one.packets_received;
    all.octets_sent += one.octets_sent;
    all.octets_received += one.octets_received;
    all.retransmissions += one.retransmissions;
    all.elapsed += one.elapsed;
}

fn run(fleet: &mut Fleet, signals: &Signals, each: &mut dyn FnMut(&Progress)) -> Result<FleetResult, Failure> {
    let result = fleet.run(&mut |p| {
        each(p);
        !signals.end_asked()
    });
    result.map_err(|e| Failure::io("running the terminals", &e))
}

fn fleet(args: &DemoArgs, world: &World, from: u32, count: u32) -> Result<Fleet, Failure> {
    let transport = Transport::from(args.transport);
    let mut profile = Profile::new(world.access(args.transport), transport, world.identity(), world::REALM, MECHS)
        .map_err(|e| Failure::new(Exit::Failed, e.to_string(), ""))?;
    profile.ladder = from == 0;
    let keys = world.keys.clone();
    let subscriber = move |n: u32| keys.subscriber(from + n).map(|(id, key)| (id, Key::new(key)));
    let config = FleetConfig {
        profile,
        terminals: count,
        local: std::net::Ipv4Addr::LOCALHOST.into(),
        sockets: if count > 1 { SOCKETS } else { 1 },
        arrivals: Arrivals::Window(args.concurrency as usize),
        limit: Duration::from_secs(args.limit),
        goal: Goal::Active,
        stay: false,
    };
    Fleet::new(config, Box::new(subscriber)).map_err(|e| Failure::io("opening the terminals' sockets", &e))
}

/// A bar on a terminal; nothing elsewhere, and nothing where a machine reads.
fn progress_bar(terminals: u32, out: Out) -> ProgressBar {
    let target = if out.json { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
    let bar = ProgressBar::with_draw_target(Some(u64::from(terminals)), target);
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos}/{len} terminals active, {per_sec}, {eta} left") {
        bar.set_style(style);
    }
    bar
}
