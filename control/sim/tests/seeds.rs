//! A thousand runs, each from one number. `PORTUNUS_SEED=n` replays one of them alone, with its life-line picture;
//! `PORTUNUS_SEEDS=n` runs so many.

use portunus_sim::dialect;
use portunus_sim::oracle::{MECHS, Seen};
use portunus_sim::scenario::Scenario;
use portunus_sim::{replay, replay_scenario, run, run_scenario};
use std::panic::catch_unwind;

/// Runs of each protocol alone.
const ALONE: u64 = 100;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn nobody_does_what_the_specification_forbids_and_everybody_gets_registered() {
    if let Some(seed) = number("PORTUNUS_SEED") {
        let (result, picture) = replay(seed, 4_000);
        println!("{:#?}\n{picture}\n{result:?}", Scenario::draw(seed));
        return assert!(result.is_ok(), "{}", result.unwrap_err());
    }
    let count = number("PORTUNUS_SEEDS").unwrap_or(1_000);
    let (mut datagrams, mut granted, mut active, mut simulated) = (0, 0, 0, 0);
    let mut seen = [Seen::default(); 3];
    for seed in 0..count {
        // A role that panics is as bad as one that breaks a rule, and as easy to bring back.
        match catch_unwind(|| run(seed)) {
            Ok(Ok(report)) => {
                datagrams += report.datagrams;
                granted += report.granted;
                active += report.active;
                simulated += report.took_ms;
                seen = [0, 1, 2].map(|n| seen[n].plus(report.seen[n]));
            }
            Ok(Err(failure)) => panic!("{}\n{failure}", replay(seed, 120).1),
            Err(_) => panic!("seed {seed}: something panicked (PORTUNUS_SEED={seed} replays it)"),
        }
    }
    let hours = simulated / 3_600_000;
    println!("{count} runs: {hours} h simulated, {datagrams} datagrams, {granted} keys granted, {active} confirmed");
    for (mech, seen) in MECHS.iter().zip(seen) {
        println!("{mech:?}: {seen:?}");
        let enough = seen.active as u64 >= count / 10 && seen.granted > seen.active && seen.up.min(seen.down) > 100;
        assert!(count < 100 || enough, "{mech:?} was hardly there: {seen:?}");
    }
    assert!(active as u64 >= count, "every run registers somebody");
    // If attackers and weather never cost a key its confirmation, they were not there.
    assert!(count < 100 || granted > active);
}

#[test]
fn a_number_is_a_whole_run() {
    for seed in [3, 14, 15] {
        let (first, second) = (replay(seed, 4_000), replay(seed, 4_000));
        assert_eq!(first.0, run(seed), "the picture changes nothing");
        assert_eq!(first, second);
    }
    // OpenSSL draws its own numbers, and they change nothing either.
    let tls = |seed: &u64| run(*seed).is_ok_and(|report| report.seen[2].up > 20);
    for seed in (0..).filter(tls).take(3) {
        assert_eq!(replay(seed, 4_000), replay(seed, 4_000), "seed {seed}");
    }
    assert_ne!(replay(3, 100).1, replay(14, 100).1);
}

#[test]
fn the_picture_shows_the_whole_ladder() {
    for protocol in dialect::ALL.iter().map(|d| d.protocol()) {
        let drawn = |direct| (0..).map(|s| Scenario::draw_from(s, &[protocol])).find(|s| s.direct == direct);
        let picture = |direct| drawn(direct).map(|s| replay_scenario(s, 4_000).1).unwrap_or_default();
        let (proxied, direct) = (picture(false), picture(true));
        for step in
            ["s1 ", "s2 ", "(s3)", "(s4)", "s5 ", "s6 ", "s7 ", "s8 ", "s9 ", "s10 ", "(s11)", "sealed", "Active"]
        {
            assert!(proxied.contains(step), "{step} of {protocol:?}");
        }
        // Facing terminals directly, what is between proxy and softswitch never leaves the process.
        for step in ["s1 ", "(s3)", "(s4)", "s6 ", "s7 ", "s10 ", "(s11)", "sealed", "Active"] {
            assert!(direct.contains(step), "{step} of {protocol:?}, directly");
        }
        let forged = |line: &str| line.contains("FORGED");
        assert!(direct.lines().all(|line| !line.contains("s9 ") || forged(line)), "{protocol:?}");
    }
}

/// What each protocol's worlds must have seen in these runs: its own messages, lanes where it has them, attackers
/// and weather that cost a key its confirmation.
#[test]
fn every_protocol_alone_is_registered_whatever_happens() {
    for protocol in dialect::ALL.iter().map(|d| d.protocol()) {
        let (mut granted, mut active) = (0, 0);
        for seed in 0..ALONE {
            // Numbers that the runs over all protocols do not have.
            let seed = 1_000_000 + seed;
            match run_scenario(Scenario::draw_from(seed, &[protocol])) {
                Ok(report) => (granted, active) = (granted + report.granted, active + report.active),
                Err(f) => {
                    let picture = replay_scenario(Scenario::draw_from(seed, &[protocol]), 120).1;
                    panic!("{protocol:?} alone, seed {seed} at {} ms: {}\n{picture}", f.at_ms, f.what);
                }
            }
        }
        println!("{protocol:?}: {granted} keys granted, {active} confirmed");
        assert!(active as u64 >= ALONE && granted > active, "{protocol:?}: {granted} granted, {active} confirmed");
    }
}
