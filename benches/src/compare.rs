//! Proxy, floors and peers in one run, in A B B A slices.

use crate::cpu::udp_receive_errors;
use crate::element::{Element, Kind, Setup, name};
use crate::keys::{IDSP, REALM, identity_in, key_of};
use crate::standin::StandIn;
use crate::stats::Spread;
use core::time::Duration;
use hdrhistogram::Histogram;
use portunus_signalling::Protocol;
use portunus_terminal::fleet::{Arrivals, Fleet, FleetConfig, FleetResult, Goal};
use portunus_terminal::sip::{MECHS, Profile, Transport};
use std::io;
use std::sync::atomic::Ordering;

/// How a comparison is run.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Plan {
    /// What the terminals speak.
    #[serde(serialize_with = "spoken")]
    pub protocol: Protocol,
    /// A B B A pairs of slices.
    pub pairs: usize,
    /// Registrations a slice.
    pub registrations: u32,
    /// Registrations under way at any time (closed loop).
    pub window: usize,
    /// Workers of the proxy and of Kamailio.
    pub workers: usize,
    /// What is measured.
    pub subjects: Vec<Subject>,
}

fn spoken<S: serde::Serializer>(protocol: &Protocol, s: S) -> Result<S::Ok, S::Error> {
    s.serialize_str(name(*protocol))
}

/// An element under one kind of load.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
pub struct Subject {
    /// The element.
    pub kind: Kind,
    /// False: the forwarded challenged registration alone, four packets in and four out, which all elements do. True:
    /// the key's confirmation as well, which only the proxy answers: five in and five out.
    pub confirmed: bool,
}

impl Subject {
    /// What tables call it.
    pub fn label(&self) -> String {
        let more = if self.confirmed { " + key confirmation" } else { "" };
        format!("{}{more}", self.kind.label())
    }

    /// Packets at the element for one registration, in and out: where steps are commands, each is answered by a receipt
    /// on both sides.
    pub const fn packets(&self, protocol: Protocol) -> u32 {
        let steps = match protocol {
            Protocol::Sip | Protocol::Ras => 8,
            Protocol::Mgcp | Protocol::H248 => 16,
        };
        if self.confirmed { steps + 2 } else { steps }
    }
}

/// One slice.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Slice {
    /// Processor time of the element for one registration, microseconds.
    pub cpu_us: f64,
    /// Registrations a second.
    pub rate: f64,
    /// Half of the registrations had their key within this, microseconds.
    pub p50_us: u64,
    /// 99 of 100 had.
    pub p99_us: u64,
    /// Requests repeated.
    pub retransmissions: u64,
    /// Why the slice does not count, if it does not.
    pub invalid: Option<String>,
}

/// One subject's slices and what they come to.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Row {
    /// What was measured.
    pub subject: Subject,
    /// What tables call it.
    pub label: String,
    /// What it did to each registration.
    pub does: &'static str,
    /// Its slices in order of time; those of warming up are not among them.
    pub slices: Vec<Slice>,
    /// Processor time for one registration, microseconds.
    pub cpu_us: Spread,
    /// Registrations a second.
    pub rate: Spread,
    /// Median latency, microseconds.
    pub p50_us: Spread,
    /// 99th percentile of latency, microseconds.
    pub p99_us: Spread,
    /// The proxy's processor time over this one's, pair by pair; `None` for the proxy itself.
    pub proxy_over_this: Option<Spread>,
}

/// The outcome.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Outcome {
    /// How it was run.
    pub plan: Plan,
    /// One row a subject.
    pub rows: Vec<Row>,
    /// Registrations that the stand-in core granted, over all slices.
    pub stored: u64,
    /// Registrations that terminals accepted, over all slices.
    pub accepted: u64,
}

/// Runs a plan. `tell` hears what is being done and how far it is, from 0 to 1.
///
/// # Errors
/// What keeps an element or the generator from running.
pub fn run(plan: &Plan, tell: &mut dyn FnMut(&str, f64)) -> io::Result<Outcome> {
    let standin = StandIn::start(plan.protocol, 0)?;
    let setup = Setup {
        protocol: plan.protocol,
        behind_proxy: standin.behind_proxy,
        behind_forwarder: standin.behind_forwarder,
        workers: plan.workers,
        terminals: plan.registrations as usize * 4,
    };
    let mut kinds: Vec<Kind> = plan.subjects.iter().map(|s| s.kind).collect();
    kinds.dedup();
    let elements = kinds.iter().map(|kind| Element::start(*kind, &setup)).collect::<io::Result<Vec<_>>>()?;
    let mut bench = Bench { plan, standin: &standin, elements: &elements, accepted: 0 };
    let steps = (plan.subjects.len() * (plan.pairs + 1)) as f64;
    let mut slices = vec![Vec::new(); plan.subjects.len()];
    for pair in 0..=plan.pairs {
        for n in 0..plan.subjects.len() {
            // A B C, then C B A: what drifts over time weighs on all alike.
            let i = if pair % 2 == 0 { n } else { plan.subjects.len() - 1 - n };
            tell(&plan.subjects[i].label(), (pair * plan.subjects.len() + n) as f64 / steps);
            let slice = bench.slice(&plan.subjects[i])?;
            // The first round warms caches, tables and buffers.
            if pair > 0 {
                slices[i].push(slice);
            }
        }
    }
    let accepted = bench.accepted;
    let stored = standin.counts.granted.load(Ordering::Relaxed);
    Ok(Outcome { plan: plan.clone(), rows: rows(plan, slices), stored, accepted })
}

struct Bench<'a> {
    plan: &'a Plan,
    standin: &'a StandIn,
    elements: &'a [Element],
    accepted: u64,
}

impl Bench<'_> {
    fn slice(&mut self, subject: &Subject) -> io::Result<Slice> {
        let element = self.elements.iter().find(|e| e.kind == subject.kind);
        let element = element.ok_or_else(|| io::Error::other("no such element"))?;
        let granted = || self.standin.counts.granted.load(Ordering::Relaxed);
        let (errors, stored, cpu) = (udp_receive_errors(), granted(), element.meter.read());
        let result = drive(element.address, subject.confirmed, self.plan)?;
        // What is still on its way belongs to this slice.
        std::thread::sleep(Duration::from_millis(5));
        let cpu = element.meter.read().saturating_sub(cpu);
        let (errors, stored) = (udp_receive_errors() - errors, granted() - stored);
        self.accepted += u64::from(result.registered);
        let n = f64::from(result.registered.max(1));
        Ok(Slice {
            cpu_us: cpu as f64 / 1_000.0 / n,
            rate: result.rate(),
            p50_us: at(&result.keyed_us, 50.0),
            p99_us: at(&result.keyed_us, 99.0),
            retransmissions: result.retransmissions,
            invalid: fault(subject, &result, stored, errors),
        })
    }
}

fn at(h: &Histogram<u64>, percentile: f64) -> u64 {
    h.value_at_percentile(percentile)
}

/// Why a slice does not count: what was registered must be what was asked for and what was stored, and nothing may
/// have been thrown away or repeated, for then the packets were not the same for all.
fn fault(subject: &Subject, r: &FleetResult, stored: u64, errors: u64) -> Option<String> {
    if r.registered != r.terminals || (subject.confirmed && r.active != r.terminals) {
        return Some(format!("{} of {} registered, failures {:?}", r.registered, r.terminals, r.failures));
    }
    // The stand-in has no memory: an s7 that was repeated is granted, and counted, again.
    if stored < u64::from(r.terminals) || stored > u64::from(r.terminals) + r.retransmissions {
        return Some(format!("{} registered, {stored} stored", r.terminals));
    }
    if errors != 0 {
        return Some(format!("{errors} datagrams lost in receive buffers"));
    }
    // Up to one in a hundred: a neighbour on this machine may stop us for longer than T1.
    (r.retransmissions > u64::from(r.terminals) / 100).then(|| format!("{} retransmissions", r.retransmissions))
}

fn drive(server: core::net::SocketAddr, confirmed: bool, plan: &Plan) -> io::Result<FleetResult> {
    let profile = Profile::new(server, Transport::Udp, IDSP, REALM, MECHS).map_err(io::Error::other)?;
    let profile = profile.speaking(plan.protocol);
    let config = FleetConfig {
        profile,
        terminals: plan.registrations,
        local: [127, 0, 0, 1].into(),
        sockets: 8,
        arrivals: Arrivals::Window(plan.window),
        limit: Duration::from_secs(60),
        goal: if confirmed { Goal::Active } else { Goal::Keyed },
        stay: false,
    };
    let protocol = plan.protocol;
    let subscribers = move |n: u32| {
        let name = identity_in(protocol, n.into());
        let key = key_of(&name);
        Some((name, key))
    };
    Fleet::new(config, Box::new(subscribers))?.run(&mut |_| true)
}

fn rows(plan: &Plan, slices: Vec<Vec<Slice>>) -> Vec<Row> {
    let reference = |confirmed: bool| {
        plan.subjects.iter().position(|s| s.kind == Kind::Proxy && s.confirmed == confirmed).map(|i| slices[i].clone())
    };
    // Peers and floors never see a confirmation: they are compared with the proxy without it.
    let proxy = reference(false);
    let of = |each: &[Slice], f: fn(&Slice) -> f64| {
        let values: Vec<f64> = each.iter().filter(|s| s.invalid.is_none()).map(f).collect();
        Spread::of(&values)
    };
    let row = |(subject, slices): (&Subject, Vec<Slice>)| {
        let ratios = proxy.as_ref().filter(|_| subject.kind != Kind::Proxy).map(|proxy| {
            let good = proxy.iter().zip(&slices).filter(|(a, b)| a.invalid.is_none() && b.invalid.is_none());
            good.map(|(a, b)| a.cpu_us / b.cpu_us).collect::<Vec<_>>()
        });
        // Without a single good pair there is no ratio, rather than one of nothing.
        let ratios = ratios.filter(|r| !r.is_empty()).map(|r| Spread::of(&r));
        Row {
            subject: *subject,
            label: subject.label(),
            does: subject.kind.does(),
            cpu_us: of(&slices, |s| s.cpu_us),
            rate: of(&slices, |s| s.rate),
            p50_us: of(&slices, |s| s.p50_us as f64),
            p99_us: of(&slices, |s| s.p99_us as f64),
            proxy_over_this: ratios,
            slices,
        }
    };
    plan.subjects.iter().zip(slices.clone()).map(row).collect()
}

/// The ratio that a subject's row must show, and no more.
pub const fn target(kind: Kind) -> Option<f64> {
    match kind {
        Kind::F0 => Some(1.5),
        Kind::KamailioStateless => Some(0.8),
        Kind::KamailioStateful => Some(0.4),
        Kind::Proxy | Kind::F1 | Kind::Fn => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slice(cpu_us: f64, invalid: Option<&str>) -> Slice {
        let invalid = invalid.map(str::to_owned);
        Slice { cpu_us, rate: 1.0, p50_us: 1, p99_us: 2, retransmissions: 0, invalid }
    }

    #[test]
    fn ratios_are_taken_pair_by_pair_and_only_of_good_slices() {
        let subject = |kind| Subject { kind, confirmed: false };
        let subjects = vec![subject(Kind::Proxy), subject(Kind::F0)];
        let plan = Plan { protocol: Protocol::Sip, pairs: 3, registrations: 1, window: 1, workers: 1, subjects };
        let proxy = vec![slice(10.0, None), slice(30.0, None), slice(99.0, Some("lost"))];
        let floor = vec![slice(10.0, None), slice(10.0, None), slice(1.0, None)];
        let rows = rows(&plan, vec![proxy, floor]);
        assert_eq!(rows[1].proxy_over_this, Some(Spread { low: 1.5, median: 2.0, high: 2.5 }));
        assert_eq!(rows[0].cpu_us.median, 20.0, "the slice that lost packets does not count");
        assert_eq!(rows[0].proxy_over_this, None);
    }
}
