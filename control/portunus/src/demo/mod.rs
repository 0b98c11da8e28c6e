//! `portunus demo`: an AuC, a softswitch, a proxy and terminals of every protocol on this machine, over real sockets,
//! and what one of each went through.

mod crowd;
mod report;
mod world;

use crate::cli::{Carrier, DemoArgs, MechanismArg, ProtocolArg, Topology};
use crate::exit::{Exit, Failure};
use crate::ladder;
use crate::out::Out;
use crate::signals::Signals;
use crowd::{Crowd, alone, together};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use portunus_terminal::fleet::FleetResult;
use report::{Negotiated, Report, Spoken};
use std::time::{Duration, Instant};
use world::World;

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

/// What is spoken by how many: each protocol once, in the order asked for, and all about equally.
fn crowds(args: &DemoArgs) -> Vec<(ProtocolArg, u32)> {
    let mut spoken: Vec<ProtocolArg> = Vec::new();
    for protocol in &args.protocols {
        if !spoken.contains(protocol) {
            spoken.push(*protocol);
        }
    }
    let all = u32::try_from(spoken.len()).unwrap_or(1).max(1);
    let share = |n: u32| args.terminals / all + u32::from(n < args.terminals % all);
    spoken.into_iter().zip(0..).map(|(protocol, n)| (protocol, share(n))).filter(|(_, count)| *count > 0).collect()
}

/// What carries a protocol here: what was asked for where it can be chosen.
fn carrier(args: &DemoArgs, spoken: ProtocolArg) -> Carrier {
    if spoken.runs_over(args.transport) { args.transport } else { Carrier::Udp }
}

/// What protects a protocol here: what was asked for where it can be used.
fn mechanism(args: &DemoArgs, spoken: ProtocolArg) -> MechanismArg {
    if spoken.uses(args.mechanism) { args.mechanism } else { MechanismArg::Sealed }
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
    let crowds = crowds(args);
    // One terminal of each protocol alone first: its ladder is not disturbed by the others' traffic.
    let mut ones = Vec::new();
    for (spoken, _) in &crowds {
        world.watch.begin(spoken.protocol());
        let one = alone(args, world, *spoken, signals)?;
        let watched = world.watch.end(one.began);
        bar.inc(u64::from(one.active));
        ones.push((one, watched));
    }
    let rest: Vec<Crowd> = crowds.iter().map(|(spoken, count)| Crowd { spoken: *spoken, count: count - 1 }).collect();
    let results = together(args, world, &rest, signals, &bar)?;
    bar.finish_and_clear();
    let mut report = Report::new(args, millis(started_in));
    for (((spoken, _), (one, watched)), rest) in crowds.iter().zip(&ones).zip(&results) {
        let by = carrier(args, *spoken);
        let spoken = Spoken {
            protocol: spoken.name(),
            title: spoken.title(),
            transport: if by == Carrier::Udp { "udp" } else { "tcp" },
            ladder: rungs(args, *spoken, one, watched),
            negotiated: Negotiated::of(one, *spoken, world),
            ..Spoken::default()
        };
        report.add(spoken, one, rest.as_ref());
    }
    let crowd = results.iter().flatten().map(|r| r.elapsed).max().unwrap_or_default();
    let elapsed = ones.iter().map(|(one, _)| one.elapsed).sum::<Duration>() + crowd;
    report.end(millis(elapsed), world.counters());
    Ok(report)
}

/// The ladder; without a proxy its steps are those of the softswitch's own access side.
fn rungs(
    args: &DemoArgs,
    spoken: ProtocolArg,
    one: &FleetResult,
    watched: &[(&'static str, Duration)],
) -> Vec<ladder::Rung> {
    let mut rungs = ladder::ladder(spoken.protocol(), &one.ladder, watched);
    if args.topology == Topology::Direct {
        let names = rungs.iter_mut().flat_map(|r| [&mut r.from, &mut r.to]);
        names.filter(|name| *name == "proxy").for_each(|name| "access".clone_into(name));
        // No address of a proxy's is there to send from: the two are sides of one process.
        rungs.iter_mut().filter(|r| r.step == "s2").for_each(|r| r.carries = "the same, within one process");
    }
    rungs
}

fn millis(d: Duration) -> u64 {
    u64::try_from(d.as_millis()).unwrap_or(u64::MAX)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Cli, Command};
    use clap::Parser as _;

    fn args(line: &[&str]) -> DemoArgs {
        let all = ["portunus", "demo"].iter().chain(line);
        match Cli::parse_from(all).command {
            Command::Demo(args) => args,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_mix_is_even_and_of_what_was_asked_for() {
        use ProtocolArg::{H248, H323, Mgcp, Sip};
        assert_eq!(crowds(&args(&[])), [(Sip, 250), (Mgcp, 250), (H248, 250), (H323, 250)]);
        let some = args(&["--protocols", "h323,sip,h323,mgcp", "--terminals", "10"]);
        assert_eq!(crowds(&some), [(H323, 4), (Sip, 3), (Mgcp, 3)]);
        assert_eq!(crowds(&args(&["--terminals", "2"])), [(Sip, 1), (Mgcp, 1)]);
        let tcp = args(&["--transport", "tcp"]);
        assert_eq!([Sip, Mgcp, H248, H323].map(|p| carrier(&tcp, p) == Carrier::Tcp), [true, false, true, false]);
    }
}
