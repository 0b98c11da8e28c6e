//! What an active session costs: a protected request of a terminal's, passed on to the core, and the core's reply, passed
//! back protected. Proxy and floor F1 in one run, in A B B A slices.
//!
//! The floor is shown the same datagrams and makes the same calls of `ring` for them: it opens the request under keys
//! that never change, appends as much as the proxy adds to it, and seals the reply. It knows no session, window or
//! rule, and reads no SIP. A second floor has its messages pass the system joined towards the core, as the proxy has: by
//! system calls it is the proxy's equal, and what is between the two is the engine's.

mod callers;
mod drive;
pub mod floor;

use crate::element::{Element, Kind, Setup};
use crate::report::{number, table};
use crate::standin::StandIn;
use crate::stats::Spread;
use callers::{Agreed, Callers, Fixed};
use comfy_table::Cell;
use core::time::Duration;
use drive::Drive;
use portunus_keydist::mech::Mech;
use portunus_signalling::Protocol;
use std::io;

/// What the proxy may cost over the floor.
pub const TARGET: f64 = 1.3;
/// What is measured, in this order.
const LABELS: [&str; 3] = [Kind::Proxy.label(), Kind::F1.label(), "floor F1, joined"];

/// How traffic is measured.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Plan {
    /// The mechanism, by its token.
    #[serde(serialize_with = "token")]
    pub mech: Mech,
    /// A B B A pairs of slices.
    pub pairs: usize,
    /// Requests, each with its reply, a slice.
    pub requests: u32,
    /// Requests under way at any time (closed loop); as many terminals take part.
    pub window: u32,
    /// Workers of the proxy.
    pub workers: usize,
}

fn token<S: serde::Serializer>(mech: &Mech, s: S) -> Result<S::Ok, S::Error> {
    s.serialize_str(mech.token())
}

/// One slice.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Slice {
    /// Processor time of the element for a request and its reply, microseconds.
    pub cpu_us: f64,
    /// Requests a second.
    pub rate: f64,
    /// Half of the replies came within this, microseconds.
    pub p50_us: u64,
    /// 99 of 100 did.
    pub p99_us: u64,
    /// Why the slice does not count, if it does not.
    pub invalid: Option<String>,
}

/// One element's slices.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Row {
    /// What tables call it.
    pub label: &'static str,
    /// Its slices in order of time, without that of warming up.
    pub slices: Vec<Slice>,
    /// Processor time for a request and its reply, microseconds.
    pub cpu_us: Spread,
    /// The proxy's over this one's, pair by pair; `None` for the proxy itself, and without a single good pair.
    pub proxy_over_this: Option<Spread>,
}

/// The outcome.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Outcome {
    /// How it was run.
    pub plan: Plan,
    /// The rows of the proxy, the floor, and the floor that joins.
    pub rows: Vec<Row>,
}

impl Outcome {
    /// Proxy over floor.
    fn ratio(&self) -> Option<Spread> {
        self.rows.get(1)?.proxy_over_this
    }
}

/// Runs a plan. `tell` hears what is being done and how far it is, from 0 to 1.
///
/// # Errors
/// What keeps an element or the generator from running; also that the terminals could not register.
pub fn run(plan: &Plan, tell: &mut dyn FnMut(&str, f64)) -> io::Result<Outcome> {
    let standin = StandIn::start(Protocol::Sip, 0)?;
    let setup = Setup::new(Protocol::Sip, &standin, plan.workers, plan.window);
    let channel = ["--channel", plan.mech.token()];
    let proxy = Element::with(Kind::Proxy, &setup, &channel)?;
    let floor = Element::with(Kind::F1, &setup, &channel)?;
    let joined = Element::with(Kind::F1, &setup, &[&channel[..], &["--joined"]].concat())?;
    let agreed = Callers::Agreed(Box::new(Agreed::new(proxy.address, plan.mech)?));
    let fixed = |floor: &Element| Fixed::new(floor.address, plan.mech).map(Callers::Fixed);
    let mut subjects = [
        (&proxy, Drive::new(agreed, plan.window)?),
        (&floor, Drive::new(fixed(&floor)?, plan.window)?),
        (&joined, Drive::new(fixed(&joined)?, plan.window)?),
    ];
    subjects[0].1.register(Duration::from_secs(20))?;
    let count = subjects.len();
    let mut slices = vec![Vec::new(); count];
    for pair in 0..=plan.pairs {
        for n in 0..count {
            let i = if pair % 2 == 0 { n } else { count - 1 - n };
            let (element, drive) = &mut subjects[i];
            tell(LABELS[i], (pair * count + n) as f64 / (count * (plan.pairs + 1)) as f64);
            let slice = slice(element, drive, plan.requests)?;
            // The first round warms caches, tables and buffers.
            if pair > 0 {
                slices[i].push(slice);
            }
        }
    }
    Ok(outcome(plan, &slices))
}

fn slice(element: &Element, drive: &mut Drive, requests: u32) -> io::Result<Slice> {
    let (errors, cpu) = (crate::cpu::udp_receive_errors(), element.meter.read());
    let done = drive.exchange(requests, Duration::from_secs(60))?;
    // What is still on its way belongs to this slice.
    std::thread::sleep(Duration::from_millis(5));
    let cpu = element.meter.read().saturating_sub(cpu);
    let lost = crate::cpu::udp_receive_errors() - errors;
    let invalid = if done.answered != requests {
        Some(format!("{} of {requests} answered", done.answered))
    } else if lost != 0 {
        Some(format!("{lost} datagrams lost in receive buffers"))
    } else {
        // A neighbour on this machine may stop us for longer than a repetition takes.
        (done.repeated > requests / 100).then(|| format!("{} repeated", done.repeated))
    };
    Ok(Slice {
        cpu_us: cpu as f64 / 1_000.0 / f64::from(done.answered.max(1)),
        rate: f64::from(done.answered) / done.elapsed.as_secs_f64().max(1e-9),
        p50_us: done.latency_us.value_at_percentile(50.0),
        p99_us: done.latency_us.value_at_percentile(99.0),
        invalid,
    })
}

fn outcome(plan: &Plan, slices: &[Vec<Slice>]) -> Outcome {
    let over = |i: usize| {
        let pairs = slices[0].iter().zip(&slices[i]).filter(|(a, b)| a.invalid.is_none() && b.invalid.is_none());
        let ratios: Vec<f64> = pairs.map(|(a, b)| a.cpu_us / b.cpu_us).collect();
        (i > 0 && !ratios.is_empty()).then(|| Spread::of(&ratios))
    };
    let row = |(i, (label, slices)): (usize, (&&'static str, &Vec<Slice>))| {
        let good: Vec<f64> = slices.iter().filter(|s| s.invalid.is_none()).map(|s| s.cpu_us).collect();
        Row { label, cpu_us: Spread::of(&good), slices: slices.clone(), proxy_over_this: over(i) }
    };
    let rows = LABELS.iter().zip(slices).enumerate().map(row).collect();
    Outcome { plan: plan.clone(), rows }
}

/// True when the target is met.
pub fn is_met(outcome: &Outcome) -> bool {
    outcome.ratio().is_some_and(|ratio| ratio.median <= TARGET)
}

/// The report as text.
pub fn text(outcome: &Outcome) -> String {
    let plan = &outcome.plan;
    let mut out = format!(
        "One request in an active session of {} and its reply: opened, passed on, passed back, sealed; 2 packets in and 2 \
         out.\n{} A B B A pairs, {} requests a slice, {} under way, {} worker(s). Median (quartiles).\n\n",
        plan.mech.token(),
        plan.pairs,
        plan.requests,
        plan.window,
        plan.workers
    );
    let spread = |s: &Spread, digits: usize| format!("{:.digits$} ({:.digits$}..{:.digits$})", s.median, s.low, s.high);
    let mut t = table(&["element", "CPU us / request", "requests/s", "p50 us", "p99 us", "proxy / this", "target"]);
    for (i, row) in outcome.rows.iter().enumerate() {
        let of = |f: fn(&Slice) -> f64| {
            Spread::of(&row.slices.iter().filter(|s| s.invalid.is_none()).map(f).collect::<Vec<_>>()).median
        };
        let verdict = if is_met(outcome) { "met" } else { "MISSED" };
        t.add_row(vec![
            Cell::new(row.label),
            number(spread(&row.cpu_us, 2)),
            number(format!("{:.0}", of(|s| s.rate))),
            number(format!("{:.0}", of(|s| s.p50_us as f64))),
            number(format!("{:.0}", of(|s| s.p99_us as f64))),
            number(row.proxy_over_this.map_or_else(String::new, |r| spread(&r, 3))),
            Cell::new(if i == 1 { format!("<= {TARGET}: {verdict}") } else { String::new() }),
        ]);
    }
    out.push_str(&format!("{t}\n"));
    for row in &outcome.rows {
        let bad = row.slices.iter().filter_map(|s| Some(format!("{}: {}\n", row.label, s.invalid.as_ref()?)));
        bad.for_each(|line| out.push_str(&line));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    /// Octets of a request as the core got it.
    fn each(standin: &StandIn) -> u64 {
        let counts = &standin.counts;
        counts.other_octets.swap(0, Ordering::Relaxed) / counts.other.swap(0, Ordering::Relaxed).max(1)
    }

    #[test]
    fn proxy_and_floor_pass_on_as_much_of_what_terminals_ask_and_answer_it_under_every_mechanism() {
        for mech in [Mech::Sealed, Mech::Esp] {
            let standin = StandIn::start(Protocol::Sip, 0).unwrap();
            let node = crate::serve::start_proxy(Protocol::Sip, standin.behind_proxy, 1, 100, mech).unwrap();
            let address = *node.listeners().first().unwrap();
            let mut drive = Drive::new(Callers::Agreed(Box::new(Agreed::new(address, mech).unwrap())), 8).unwrap();
            drive.register(Duration::from_secs(20)).unwrap();
            assert_eq!(drive.exchange(100, Duration::from_secs(20)).unwrap().answered, 100, "{mech:?}");
            node.stop().unwrap();
            let proxied = each(&standin);

            let floor = crate::serve::bind_floor(
                Protocol::Sip,
                standin.behind_forwarder,
                false,
                (Some(mech), mech == Mech::Esp),
            );
            let floor = floor.unwrap();
            let address = floor.address().unwrap();
            let stop = Arc::new(AtomicBool::new(false));
            let stopped = Arc::clone(&stop);
            let thread = std::thread::spawn(move || floor.run(|| stopped.load(Ordering::Relaxed)).unwrap());
            let mut drive = Drive::new(Callers::Fixed(Fixed::new(address, mech).unwrap()), 8).unwrap();
            assert_eq!(drive.exchange(100, Duration::from_secs(20)).unwrap().answered, 100, "{mech:?}");
            stop.store(true, Ordering::Relaxed);
            thread.join().unwrap();
            let floored = each(&standin);
            assert!(proxied.abs_diff(floored) <= 8, "{proxied} octets by the proxy, {floored} by the floor");
        }
    }

    #[test]
    fn a_slice_that_lost_something_is_in_no_ratio() {
        let slice = |cpu_us, invalid: Option<&str>| {
            let invalid = invalid.map(str::to_owned);
            Slice { cpu_us, rate: 1.0, p50_us: 1, p99_us: 1, invalid }
        };
        let plan = Plan { mech: Mech::Sealed, pairs: 2, requests: 1, window: 1, workers: 1 };
        let slices = |bad| [vec![slice(12.0, None), slice(90.0, bad)], vec![slice(10.0, None), slice(10.0, None)]];
        assert!(is_met(&outcome(&plan, &slices(Some("lost")))));
        assert!(!is_met(&outcome(&plan, &slices(None))));
    }
}
