//! A thousand runs, each from one number. `PORTUNUS_SEED=n` replays one of them alone, with its life-line picture;
//! `PORTUNUS_SEEDS=n` runs so many.

use portunus_sim::{replay, run, scenario::Scenario};

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
    if std::env::var("SURVEY").is_ok() {
        let mut n = 0;
        for seed in 0..count {
            if let Err(f) = run(seed) {
                println!("{f}");
                n += 1;
                if n > 30 {
                    break;
                }
            }
        }
        return;
    }
    let (mut datagrams, mut active, mut simulated) = (0, 0, 0);
    for seed in 0..count {
        match run(seed) {
            Ok(report) => {
                datagrams += report.datagrams;
                active += report.active;
                simulated += report.took_ms;
            }
            Err(failure) => {
                let (_, picture) = replay(seed, 120);
                panic!("{picture}\n{failure}");
            }
        }
    }
    println!("{count} runs: {} h simulated, {datagrams} datagrams, {active} sessions", simulated / 3_600_000);
    assert!(active as u64 >= count, "every run registers somebody");
}
