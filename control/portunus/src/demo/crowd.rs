//! The terminals of a demonstration: one alone, and the rest of every protocol at the same time.

use super::world::{self, World};
use super::{carrier, mechanism};
use crate::cli::{DemoArgs, ProtocolArg};
use crate::exit::{Exit, Failure};
use crate::signals::Signals;
use indicatif::ProgressBar;
use portunus_keydist::Key;
use portunus_terminal::fleet::{Arrivals, Fleet, FleetConfig, FleetResult, Goal, Progress};
use portunus_terminal::{Profile, offering};
use std::time::Duration;

/// Sockets that the terminals of a protocol share: the proxy steers by source address and port, so many more than
/// workers.
const SOCKETS: u16 = 64;

/// So many terminals that speak this, but the first, which registered alone.
#[derive(Debug, Clone, Copy)]
pub(super) struct Crowd {
    pub(super) spoken: ProtocolArg,
    pub(super) count: u32,
}

/// Registers the first terminal of a protocol.
pub(super) fn alone(
    args: &DemoArgs,
    world: &World,
    spoken: ProtocolArg,
    signals: &Signals,
) -> Result<FleetResult, Failure> {
    run(&mut fleet(args, world, (spoken, 0, 1), 1)?, signals, &mut |_| {})
}

/// Registers the others, every protocol on a thread of its own; `None` where there are none.
pub(super) fn together(
    args: &DemoArgs,
    world: &World,
    crowds: &[Crowd],
    signals: &Signals,
    bar: &ProgressBar,
) -> Result<Vec<Option<FleetResult>>, Failure> {
    let busy = crowds.iter().filter(|c| c.count > 0).count().max(1);
    let window = (args.concurrency as usize).div_ceil(busy);
    let one = |crowd: &Crowd| -> Result<Option<FleetResult>, Failure> {
        if crowd.count == 0 {
            return Ok(None);
        }
        let mut fleet = fleet(args, world, (crowd.spoken, 1, crowd.count), window)?;
        let mut told = 0;
        let mut tell = |p: &Progress| {
            bar.inc(u64::from(p.active - told));
            told = p.active;
        };
        run(&mut fleet, signals, &mut tell).map(Some)
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = crowds.iter().map(|crowd| scope.spawn(|| one(crowd))).collect();
        let died = || Failure::new(Exit::Failed, "a thread of the terminals died", "report it");
        threads.into_iter().map(|t| t.join().unwrap_or_else(|_| Err(died()))).collect()
    })
}

fn run(fleet: &mut Fleet, signals: &Signals, each: &mut dyn FnMut(&Progress)) -> Result<FleetResult, Failure> {
    let result = fleet.run(&mut |p| {
        each(p);
        !signals.end_asked()
    });
    result.map_err(|e| Failure::io("running the terminals", &e))
}

fn fleet(
    args: &DemoArgs,
    world: &World,
    (spoken, from, count): (ProtocolArg, u32, u32),
    window: usize,
) -> Result<Fleet, Failure> {
    let by = carrier(args, spoken);
    let access = world.access(spoken, by);
    let mechs = offering(mechanism(args, spoken).mech());
    let mut profile = Profile::new(access, by.into(), world.identity(), world::REALM, &mechs)
        .map_err(|e| Failure::new(Exit::Failed, e.to_string(), ""))?
        .speaking(spoken.protocol());
    profile.ladder = from == 0;
    let keys = world.keys.clone();
    let subscriber = move |n: u32| {
        let (id, key) = keys.subscriber(spoken.protocol(), from + n);
        Some((id, Key::new(key)))
    };
    let config = FleetConfig {
        profile,
        terminals: count,
        local: std::net::Ipv4Addr::LOCALHOST.into(),
        sockets: if count > 1 { SOCKETS } else { 1 },
        arrivals: Arrivals::Window(window),
        limit: Duration::from_secs(args.limit),
        // The first one also asks the core something inside its session, and waits for the answer.
        goal: if from == 0 { Goal::Verified } else { Goal::Active },
        stay: false,
    };
    Fleet::new(config, Box::new(subscriber)).map_err(|e| Failure::io("opening the terminals' sockets", &e))
}
