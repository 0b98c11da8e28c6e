//! Memory a terminal, and what a registration costs in a full table beside an empty one.

use crate::cpu::resident;
use crate::rig::{BATCH, Rig};
use crate::stats::{Spread, quantile};
use portunus_keydist::{Random as _, SystemRandom};
use std::io;

/// What was found.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Found {
    /// Terminals registered and active at the end.
    pub terminals: u64,
    /// Resident octets of the engine with all of them, per terminal: everything included.
    pub octets_each: f64,
    /// Engine time for a registration (s1 to s10 and confirmation) with a thousand terminals, microseconds.
    pub few_us: Spread,
    /// The same with all of them, chosen at random.
    pub many_us: Spread,
    /// `many_us` over `few_us`, pair by pair.
    pub ratio: Spread,
}

/// Most octets a terminal that the product allows itself.
pub const OCTETS_MAX: f64 = 400.0;
/// Most that a registration in the full table may cost, against one in a small one.
pub const RATIO_MAX: f64 = 1.15;

const FEW: u64 = 1_000;

/// Registers `terminals` that offer `mechs` in one engine, then compares re-registrations there with those in an engine of a thousand,
/// in `pairs` A B B A pairs of `slice` registrations.
///
/// # Errors
/// When an engine refuses its configuration, or a terminal does not become active.
pub fn run(terminals: u64, mechs: &str, pairs: usize, slice: u64, tell: &mut dyn FnMut(u64)) -> io::Result<Found> {
    let mut few = Rig::offering(FEW as usize, mechs)?;
    fill(&mut few, FEW, &mut |_| {})?;
    let before = resident();
    let mut many = Rig::offering(terminals as usize, mechs)?;
    fill(&mut many, terminals, tell)?;
    let octets_each = resident().saturating_sub(before) as f64 / terminals.max(1) as f64;
    let mut rng = SystemRandom::new();
    let (mut a, mut b, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for pair in 0..=pairs {
        let (x, y) = if pair % 2 == 0 {
            let x = again(&mut few, FEW, slice, &mut rng)?;
            (x, again(&mut many, terminals, slice, &mut rng)?)
        } else {
            let y = again(&mut many, terminals, slice, &mut rng)?;
            (again(&mut few, FEW, slice, &mut rng)?, y)
        };
        // The first pair warms up.
        if pair > 0 {
            a.push(x);
            b.push(y);
            ratios.push(y / x);
        }
    }
    Ok(Found {
        terminals: many.active.min(terminals),
        octets_each,
        few_us: Spread::of(&a),
        many_us: Spread::of(&b),
        ratio: Spread::of(&ratios),
    })
}

fn registered(rig: &mut Rig, numbers: &[u64]) -> io::Result<()> {
    let active = rig.register(numbers);
    let short = || io::Error::other(format!("{active} of {} terminals became active", numbers.len()));
    if active == numbers.len() { Ok(()) } else { Err(short()) }
}

fn fill(rig: &mut Rig, terminals: u64, tell: &mut dyn FnMut(u64)) -> io::Result<()> {
    let mut next = 0;
    while next < terminals {
        let to = (next + BATCH as u64).min(terminals);
        let numbers: Vec<u64> = (next..to).collect();
        registered(rig, &numbers)?;
        next = to;
        tell(next);
    }
    Ok(())
}

/// Microseconds of engine time for a registration of terminals chosen at random among those registered: the median
/// over the slice's batches, so that a batch during which a neighbour had the processor does not count.
fn again(rig: &mut Rig, terminals: u64, slice: u64, rng: &mut SystemRandom) -> io::Result<f64> {
    let (mut done, mut each) = (0u64, Vec::new());
    while done < slice {
        let mut numbers: Vec<u64> = (0..BATCH).map(|_| rng.next_u64() % terminals).collect();
        numbers.sort_unstable();
        numbers.dedup();
        let before = rig.engine_time;
        registered(rig, &numbers)?;
        each.push((rig.engine_time - before).as_secs_f64() * 1e6 / numbers.len() as f64);
        done += numbers.len() as u64;
    }
    Ok(quantile(&each, 0.5))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_run_comes_to_its_end() {
        let found = run(2_000, "ipsec-man", 2, 200, &mut |_| {}).unwrap();
        assert_eq!(found.terminals, 2_000);
        assert!(found.few_us.median > 0.0 && found.ratio.median > 0.0);
    }
}
