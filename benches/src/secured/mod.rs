//! New connections of TLS 1.3 with a registration each, and the memory that one takes while nothing is said on it: the
//! proxy, whose terminals register first and bring the key along, beside Kamailio's tls module, which has a certificate.
//!
//! One unit of the proxy's is a whole challenged registration (s1 to s10, by UDP) and the connection that confirms its
//! key; one of Kamailio's is the connection and a REGISTER in it, forwarded and answered at once. Both ends agree on
//! the same cipher suite and group.

mod client;

use crate::element::{Element, Kind, Setup};
use crate::keys::{IDSP, REALM, identity, key_of};
use crate::report::{number, table};
use crate::standin::StandIn;
use crate::stats::Spread;
use client::Phones;
use comfy_table::Cell;
use core::time::Duration;
use portunus_keydist::mech::Mech;
use portunus_signalling::Protocol;
use portunus_terminal::fleet::{Arrivals, Fleet, FleetConfig, Goal};
use portunus_terminal::offering;
use portunus_terminal::sip::{Profile, Transport};
use std::io;

/// How many times Kamailio's connections a second the proxy must take.
pub const RATE: f64 = 1.5;
/// What part of Kamailio's memory a connection the proxy may take.
pub const MEMORY: f64 = 1.0 / 3.0;
const LIMIT: Duration = Duration::from_secs(120);

/// How connections are measured.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Plan {
    /// A B B A pairs of slices.
    pub pairs: usize,
    /// Connections a slice.
    pub connections: u32,
    /// Connections that stay, for their memory.
    pub stay: u32,
    /// Connections that are being opened at any time.
    pub window: u32,
    /// Workers of either.
    pub workers: usize,
}

/// One element's figures.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Row {
    /// What tables call it.
    pub label: &'static str,
    /// Processor time a connection with its registration, microseconds; one a slice.
    pub cpu_us: Vec<f64>,
    /// Octets a connection that stays.
    pub octets: f64,
}

/// The outcome.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Outcome {
    /// How it was run.
    pub plan: Plan,
    /// The proxy's row and Kamailio's.
    pub rows: [Row; 2],
    /// Connections for the same processor time, the proxy's over Kamailio's, pair by pair.
    pub rate: Spread,
    /// Octets a connection, the proxy's over Kamailio's.
    pub memory: f64,
}

/// Terminals stay connected while it lives.
type Connected = Box<dyn core::any::Any>;

/// Opens `count` connections with their registrations, from identity `first` on.
fn come(element: &Element, plan: &Plan, first: u32, count: u32) -> io::Result<Connected> {
    let (came, connected): (u32, Connected) = if element.kind == Kind::Proxy {
        let mechs = offering(Mech::Tls);
        let profile = Profile::new(element.address, Transport::Udp, IDSP, REALM, &mechs).map_err(io::Error::other)?;
        let config = FleetConfig {
            profile,
            terminals: count,
            local: [127, 0, 0, 1].into(),
            sockets: 8,
            arrivals: Arrivals::Window(plan.window as usize),
            limit: LIMIT,
            goal: Goal::Active,
            stay: false,
        };
        let subscribers = move |n: u32| {
            let name = identity(u64::from(first) + u64::from(n));
            let key = key_of(&name);
            Some((name, key))
        };
        let mut fleet = Fleet::new(config, Box::new(subscribers))?;
        let result = fleet.run(&mut |_| true)?;
        (result.active, Box::new(fleet))
    } else {
        let mut phones = Phones::new(element.address)?;
        (phones.come(count, plan.window, LIMIT)?, Box::new(phones))
    };
    if came != count {
        return Err(io::Error::other(format!("{} of {count} came through {}", came, element.kind.label())));
    }
    Ok(connected)
}

/// Runs a plan. `tell` hears what is being done and how far it is, from 0 to 1.
///
/// # Errors
/// What keeps an element or the generator from running; also a connection that came to nothing.
pub fn run(plan: &Plan, tell: &mut dyn FnMut(&str, f64)) -> io::Result<Outcome> {
    portunus_io::descriptors::raise_limit()?;
    let standin = StandIn::start(Protocol::Sip, 0)?;
    let setup = Setup::new(Protocol::Sip, &standin, plan.workers, plan.connections.max(plan.stay));
    let proxy = Element::with(Kind::Proxy, &setup, &["--channel", Mech::Tls.token()])?;
    let kamailio = Element::start(Kind::KamailioTls, &setup)?;
    let elements = [&proxy, &kamailio];
    let steps = (2 * (plan.pairs + 2)) as f64;
    // First, for what a connection leaves free the next one takes: afterwards it would seem to cost nothing.
    let mut octets = [0.0; 2];
    for (i, element) in elements.into_iter().enumerate() {
        tell(element.kind.label(), i as f64 / steps);
        octets[i] = memory(element, plan)?;
    }
    let mut cpu_us = [Vec::new(), Vec::new()];
    for pair in 0..=plan.pairs {
        for n in 0..2 {
            let i = if pair % 2 == 0 { n } else { 1 - n };
            let element = elements[i];
            tell(element.kind.label(), (pair * 2 + n + 2) as f64 / steps);
            let before = element.meter.read();
            let connected = come(element, plan, 0, plan.connections)?;
            // What is still on its way belongs to this slice, and so does the end of its connections.
            drop(connected);
            std::thread::sleep(Duration::from_millis(100));
            let cost = element.meter.read().saturating_sub(before);
            // The first round warms caches, tables and buffers.
            if pair > 0 {
                cpu_us[i].push(cost as f64 / 1_000.0 / f64::from(plan.connections));
            }
        }
    }
    Ok(outcome(plan, cpu_us, octets))
}

/// Octets a connection that stays, the session behind it included.
fn memory(element: &Element, plan: &Plan) -> io::Result<f64> {
    // What the first connections need once.
    let few = come(element, plan, 0, plan.stay.min(64))?;
    let before = element.meter.resident();
    let many = come(element, plan, 64, plan.stay)?;
    std::thread::sleep(Duration::from_millis(500));
    let after = element.meter.resident();
    drop((few, many));
    // The element finds them closed before anything else is measured.
    std::thread::sleep(Duration::from_millis(500));
    Ok(after.saturating_sub(before) as f64 / f64::from(plan.stay))
}

fn outcome(plan: &Plan, [proxy, kamailio]: [Vec<f64>; 2], octets: [f64; 2]) -> Outcome {
    let rates: Vec<f64> = proxy.iter().zip(&kamailio).map(|(p, k)| k / p).collect();
    let row = |kind: Kind, cpu_us, octets| Row { label: kind.label(), cpu_us, octets };
    let rows = [row(Kind::Proxy, proxy, octets[0]), row(Kind::KamailioTls, kamailio, octets[1])];
    Outcome { plan: plan.clone(), rows, rate: Spread::of(&rates), memory: octets[0] / octets[1].max(1.0) }
}

/// True when both targets are met.
pub fn is_met(outcome: &Outcome) -> bool {
    outcome.rate.median >= RATE && outcome.memory <= MEMORY
}

/// The report as text.
pub fn text(outcome: &Outcome) -> String {
    let plan = &outcome.plan;
    let mut out = format!(
        "New connections of TLS 1.3 ({}, X25519) with a registration each; the proxy's key comes from the registration, \
         Kamailio has a certificate (P-256).\n{} A B B A pairs, {} connections a slice, {} being opened, {} that stay, {} \
         worker(s). Median (quartiles).\n\n",
        client::SUITE,
        plan.pairs,
        plan.connections,
        plan.window,
        plan.stay,
        plan.workers
    );
    let mut t = table(&["element", "CPU us / connection", "octets / idle connection"]);
    for row in &outcome.rows {
        let s = Spread::of(&row.cpu_us);
        t.add_row(vec![
            Cell::new(row.label),
            number(format!("{:.1} ({:.1}..{:.1})", s.median, s.low, s.high)),
            number(format!("{:.0}", row.octets)),
        ]);
    }
    let verdict = |met| if met { "met" } else { "MISSED" };
    let Spread { low, median, high } = outcome.rate;
    out.push_str(&format!(
        "{t}\n\nConnections a second of the same processor time, proxy / Kamailio: {median:.2} ({low:.2}..{high:.2}); >= {RATE}: \
         {}\nOctets a connection, proxy / Kamailio: {:.3}; <= {MEMORY:.3}: {}\n",
        verdict(median >= RATE),
        outcome.memory,
        verdict(outcome.memory <= MEMORY)
    ));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_kamailios_cost_over_ours() {
        let plan = Plan { pairs: 1, connections: 1, stay: 1, window: 1, workers: 1 };
        let met = outcome(&plan, [vec![100.0], vec![200.0]], [10_000.0, 40_000.0]);
        assert_eq!((met.rate.median, is_met(&met)), (2.0, true));
        assert!(!is_met(&outcome(&plan, [vec![200.0], vec![200.0]], [10_000.0, 40_000.0])));
        assert!(!is_met(&outcome(&plan, [vec![100.0], vec![200.0]], [20_000.0, 40_000.0])));
    }
}
