//! Proxy, floors and peers in one run, in A B B A slices.
//!
//! What an element does for a slice it may do after it: Kamailio's `tm` frees a transaction seconds after its end, in a
//! process of its own; the proxy lets an unconfirmed session go half a minute later. So every subject has an element to
//! itself, and that element's meter is read without a gap: from the beginning of one slice to the beginning of its next,
//! the others' slices in between and a wait of [`SETTLE`] at least. What that comes to, less what the element costs
//! when nobody asks anything of it, measured before the first slice, is what the slice cost *with deferred work*. Work
//! that comes later still falls into a later slice of the same element, which is as long: none is lost, and none is
//! anybody else's. What the meter said right after the slice is kept beside it (*at once*).

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
use std::time::Instant;

/// How long an element is left alone at least between two of its slices, and after its last: longer than `tm` keeps a
/// transaction after its end (`wt_timer`, 5 s) with the second or two that its timer process takes to free some
/// ten thousand of them. What is kept longer (the proxy's unconfirmed sessions: 30 s) falls into a later slice.
pub const SETTLE: Duration = Duration::from_secs(7);

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
    /// How long an element is left alone between its slices; less than [`SETTLE`] makes it a look, not a measurement.
    #[serde(serialize_with = "seconds")]
    pub settle: Duration,
    /// What is measured.
    pub subjects: Vec<Subject>,
}

fn spoken<S: serde::Serializer>(protocol: &Protocol, s: S) -> Result<S::Ok, S::Error> {
    s.serialize_str(name(*protocol))
}

fn seconds<S: serde::Serializer>(time: &Duration, s: S) -> Result<S::Ok, S::Error> {
    s.serialize_f64(time.as_secs_f64())
}

impl Plan {
    /// False for what is too short to say anything of a target.
    pub fn is_measurement(&self) -> bool {
        self.settle >= SETTLE
    }
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
    /// Processor time of the element for one registration, microseconds, with deferred work: up to the beginning of its
    /// next slice, less what it costs idle.
    pub cpu_us: f64,
    /// The same up to the end of the slice only.
    pub at_once_us: f64,
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
    /// Processor time of the element when it is idle, microseconds a second.
    pub idle_us_s: f64,
    /// Processor time for one registration with deferred work, microseconds.
    pub cpu_us: Spread,
    /// Processor time for one registration up to the end of its slice, microseconds.
    pub at_once_us: Spread,
    /// Registrations a second.
    pub rate: Spread,
    /// Median latency, microseconds.
    pub p50_us: Spread,
    /// 99th percentile of latency, microseconds.
    pub p99_us: Spread,
    /// The proxy's processor time over this one's, with deferred work, pair by pair; `None` for the proxy itself.
    pub proxy_over_this: Option<Spread>,
    /// The same, up to the end of each slice only.
    pub proxy_over_this_at_once: Option<Spread>,
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
    let setup = Setup::new(plan.protocol, &standin, plan.workers, plan.registrations);
    let elements = plan.subjects.iter().map(|s| Element::start(s.kind, &setup)).collect::<io::Result<Vec<_>>>()?;
    let mut tracks: Vec<Track<'_>> = elements.iter().map(Track::new).collect();
    tell("idle", 0.0);
    idle(&mut tracks, plan.settle);
    let mut bench = Bench { plan, standin: &standin, accepted: 0 };
    let steps = (plan.subjects.len() * (plan.pairs + 1)) as f64;
    for pair in 0..=plan.pairs {
        for n in 0..plan.subjects.len() {
            // A B C, then C B A: what drifts over time weighs on all alike.
            let i = if pair % 2 == 0 { n } else { plan.subjects.len() - 1 - n };
            tell(&plan.subjects[i].label(), (pair * plan.subjects.len() + n) as f64 / steps);
            bench.slice(&plan.subjects[i], &mut tracks[i])?;
        }
    }
    tell("deferred work", 1.0);
    tracks.iter_mut().for_each(|track| track.settle(plan.settle));
    let accepted = bench.accepted;
    let stored = standin.counts.granted.load(Ordering::Relaxed);
    Ok(Outcome { plan: plan.clone(), rows: rows(plan, tracks.iter().map(Track::measured).collect()), stored, accepted })
}

/// One element through the whole run.
struct Track<'a> {
    element: &'a Element,
    /// Nanoseconds of processor time a nanosecond, when nobody asks anything of it.
    idle: f64,
    slices: Vec<Slice>,
    /// Since when, and since which reading of the meter, its last slice has been over, and how many registrations that had.
    over: Option<(Instant, u64, f64)>,
}

/// Measures what all elements cost while none has anything to do.
fn idle(tracks: &mut [Track<'_>], time: Duration) {
    let before: Vec<_> = tracks.iter().map(|track| (Instant::now(), track.element.meter.read())).collect();
    std::thread::sleep(time);
    for (track, (since, read)) in tracks.iter_mut().zip(before) {
        let used = track.element.meter.read().saturating_sub(read);
        track.idle = used as f64 / since.elapsed().as_nanos().max(1) as f64;
    }
}

impl<'a> Track<'a> {
    fn new(element: &'a Element) -> Self {
        Self { element, idle: 0.0, slices: Vec::new(), over: None }
    }

    /// Waits until the last slice has been over for so long, and charges what was done since to it.
    fn settle(&mut self, wait: Duration) {
        let Some((since, read, registrations)) = self.over.take() else { return };
        std::thread::sleep(wait.saturating_sub(since.elapsed()));
        let (used, passed) = (self.element.meter.read().saturating_sub(read), since.elapsed());
        if let Some(slice) = self.slices.last_mut() {
            slice.cpu_us += deferred_us(used, passed, self.idle) / registrations;
        }
    }

    /// The slices that count as measured: the first warms caches, tables and buffers.
    fn measured(&self) -> (f64, Vec<Slice>) {
        (self.idle * 1e6, self.slices.iter().skip(1).cloned().collect())
    }
}

/// Microseconds that an element used beyond being idle. Less than idle is what it may come to where there was nothing to
/// do; it is not made zero, for then chance would only ever add.
fn deferred_us(used_ns: u64, passed: Duration, idle: f64) -> f64 {
    (used_ns as f64 - idle * passed.as_nanos() as f64) / 1_000.0
}

struct Bench<'a> {
    plan: &'a Plan,
    standin: &'a StandIn,
    accepted: u64,
}

impl Bench<'_> {
    fn slice(&mut self, subject: &Subject, track: &mut Track<'_>) -> io::Result<()> {
        track.settle(self.plan.settle);
        let element = track.element;
        let granted = || self.standin.counts.granted.load(Ordering::Relaxed);
        let (errors, stored, before) = (udp_receive_errors(), granted(), element.meter.read());
        let result = drive(element.address, subject.confirmed, self.plan)?;
        // What is still on its way belongs to this slice.
        std::thread::sleep(Duration::from_millis(5));
        let (over, after) = (Instant::now(), element.meter.read());
        let (errors, stored) = (udp_receive_errors() - errors, granted() - stored);
        self.accepted += u64::from(result.registered);
        let n = f64::from(result.registered.max(1));
        let at_once_us = after.saturating_sub(before) as f64 / 1_000.0 / n;
        track.over = Some((over, after, n));
        track.slices.push(Slice {
            cpu_us: at_once_us,
            at_once_us,
            rate: result.rate(),
            p50_us: at(&result.keyed_us, 50.0),
            p99_us: at(&result.keyed_us, 99.0),
            retransmissions: result.retransmissions,
            invalid: fault(subject, &result, stored, errors),
        });
        Ok(())
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
        limit: Duration::from_secs(120),
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

fn rows(plan: &Plan, measured: Vec<(f64, Vec<Slice>)>) -> Vec<Row> {
    // Peers and floors never see a confirmation: they are compared with the proxy without it.
    let reference = plan.subjects.iter().position(|s| s.kind == Kind::Proxy && !s.confirmed);
    let proxy = reference.map(|i| measured[i].1.clone());
    let of = |each: &[Slice], f: fn(&Slice) -> f64| {
        let values: Vec<f64> = each.iter().filter(|s| s.invalid.is_none()).map(f).collect();
        Spread::of(&values)
    };
    let row = |(subject, (idle_us_s, slices)): (&Subject, (f64, Vec<Slice>))| {
        let ratios = |f: fn(&Slice) -> f64| {
            let proxy = proxy.as_ref().filter(|_| subject.kind != Kind::Proxy)?;
            let good = proxy.iter().zip(&slices).filter(|(a, b)| a.invalid.is_none() && b.invalid.is_none());
            let ratios: Vec<f64> = good.map(|(a, b)| f(a) / f(b)).collect();
            // Without a single good pair there is no ratio, rather than one of nothing.
            (!ratios.is_empty()).then(|| Spread::of(&ratios))
        };
        Row {
            subject: *subject,
            label: subject.label(),
            does: subject.kind.does(),
            idle_us_s,
            cpu_us: of(&slices, |s| s.cpu_us),
            at_once_us: of(&slices, |s| s.at_once_us),
            rate: of(&slices, |s| s.rate),
            p50_us: of(&slices, |s| s.p50_us as f64),
            p99_us: of(&slices, |s| s.p99_us as f64),
            proxy_over_this: ratios(|s| s.cpu_us),
            proxy_over_this_at_once: ratios(|s| s.at_once_us),
            slices,
        }
    };
    plan.subjects.iter().zip(measured.iter().cloned()).map(row).collect()
}

/// The ratio that a subject's row must show, and no more.
pub const fn target(kind: Kind) -> Option<f64> {
    match kind {
        Kind::F0 => Some(1.5),
        Kind::KamailioStateless => Some(0.8),
        Kind::KamailioStateful => Some(0.4),
        Kind::Proxy | Kind::F1 | Kind::Fn | Kind::KamailioTls => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slice(cpu_us: f64, invalid: Option<&str>) -> Slice {
        let invalid = invalid.map(str::to_owned);
        Slice { cpu_us, at_once_us: cpu_us / 2.0, rate: 1.0, p50_us: 1, p99_us: 2, retransmissions: 0, invalid }
    }

    #[test]
    fn ratios_are_taken_pair_by_pair_and_only_of_good_slices() {
        let subject = |kind| Subject { kind, confirmed: false };
        let subjects = vec![subject(Kind::Proxy), subject(Kind::F0)];
        let (protocol, settle) = (Protocol::Sip, SETTLE);
        let plan = Plan { protocol, pairs: 3, registrations: 1, window: 1, workers: 1, settle, subjects };
        let proxy = vec![slice(10.0, None), slice(30.0, None), slice(99.0, Some("lost"))];
        let mut floor = vec![slice(10.0, None), slice(10.0, None), slice(1.0, None)];
        floor.iter_mut().for_each(|slice| slice.at_once_us = slice.cpu_us);
        let rows = rows(&plan, vec![(0.0, proxy), (0.0, floor)]);
        assert_eq!(rows[1].proxy_over_this, Some(Spread { low: 1.5, median: 2.0, high: 2.5 }));
        assert_eq!(rows[1].proxy_over_this_at_once.map(|s| s.median), Some(1.0));
        assert_eq!(rows[0].cpu_us.median, 20.0, "the slice that lost packets does not count");
        assert_eq!(rows[0].proxy_over_this, None);
    }

    #[test]
    fn deferred_work_is_what_lies_above_idling() {
        // 30 ms in 10 s, of which 1 ms a second would have passed anyway.
        assert_eq!(deferred_us(30_000_000, Duration::from_secs(10), 0.001), 20_000.0);
        assert_eq!(deferred_us(9_000_000, Duration::from_secs(10), 0.001), -1_000.0);
    }
}
