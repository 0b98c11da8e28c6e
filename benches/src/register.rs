//! The registration generator: open or closed loop against a given server, with the checks that make a run count.

use crate::cpu::udp_receive_errors;
use crate::keys::{identity_in, key_of};
use crate::report::{number, table};
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;
use portunus_codec::hex_decode;
use portunus_keydist::Key;
use portunus_signalling::Protocol;
use portunus_terminal::fleet::{Arrivals, Fleet, FleetConfig, FleetResult, Goal, Progress};
use portunus_terminal::sip::{Profile, Transport};
use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// What to load, and how.
#[derive(Debug, Clone)]
pub struct Load {
    /// What the terminals speak.
    pub protocol: Protocol,
    /// The proxy.
    pub server: SocketAddr,
    /// What carries s1 and s7.
    pub transport: Transport,
    /// The proxy's identity.
    pub idsp: String,
    /// The realm.
    pub realm: String,
    /// The mechanisms offered.
    pub mechs: String,
    /// Identities and keys; `None`: derived from numbers, as the stand-in core knows them.
    pub subscribers: Option<Arc<Vec<(String, Key)>>>,
    /// The number of the first derived identity.
    pub first: u64,
    /// Terminals.
    pub terminals: u32,
    /// Source address.
    pub local: IpAddr,
    /// Source sockets.
    pub sockets: u16,
    /// When they start.
    pub arrivals: Arrivals,
    /// When each has done its part.
    pub goal: Goal,
    /// The end, whatever is under way.
    pub limit: Duration,
}

/// The subscribers of a CSV file of `id,key` lines, keys as 64 hex digits; a first line `id,key` is a header.
///
/// # Errors
/// The file's, or the line that is not such.
pub fn read_subscribers(path: &Path) -> io::Result<Vec<(String, Key)>> {
    let text = std::fs::read_to_string(path)?;
    let lines =
        text.lines().enumerate().filter(|(_, l)| !l.trim().is_empty() && !l.starts_with('#') && l.trim() != "id,key");
    lines
        .map(|(n, line)| {
            let bad = || io::Error::other(format!("{}:{}: want id,key with 64 hex digits", path.display(), n + 1));
            let (id, key) = line.trim().split_once(',').ok_or_else(bad)?;
            let octets = hex_decode::<32>(key.trim().to_ascii_lowercase().as_bytes()).ok_or_else(bad)?;
            Ok((id.trim().to_owned(), Key::new(octets)))
        })
        .collect()
}

/// What came of a run, and whether it counts.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The fleet's result.
    pub result: FleetResult,
    /// Datagrams that the kernel threw away meanwhile because a buffer was full.
    pub receive_errors: u64,
}

impl Outcome {
    /// Why the run does not count as a measurement; empty when it does.
    pub fn faults(&self) -> Vec<String> {
        let r = &self.result;
        let mut faults = Vec::new();
        if r.registered != r.terminals {
            faults.push(format!("{} of {} accepted an s10", r.registered, r.terminals));
        }
        if self.receive_errors != 0 {
            faults.push(format!("{} datagrams lost in receive buffers of this host", self.receive_errors));
        }
        if r.send_errors != 0 {
            faults.push(format!("{} datagrams could not be sent", r.send_errors));
        }
        faults
    }

    /// As JSON.
    pub fn json(&self) -> serde_json::Value {
        let r = &self.result;
        let latency = |h: &hdrhistogram::Histogram<u64>| -> BTreeMap<String, u64> {
            let at = |p: f64| (format!("p{p}_us"), h.value_at_percentile(p));
            [50.0, 90.0, 99.0, 99.9, 100.0].into_iter().map(at).collect()
        };
        serde_json::json!({
            "terminals": r.terminals, "registered": r.registered, "active": r.active, "verified": r.verified,
            "failures": r.failures, "seconds": r.elapsed.as_secs_f64(), "registrations_per_second": r.rate(),
            "keyed": latency(&r.keyed_us), "activated": latency(&r.active_us),
            "packets_sent": r.packets_sent, "packets_received": r.packets_received,
            "octets_sent": r.octets_sent, "octets_received": r.octets_received,
            "retransmissions": r.retransmissions, "ignored": r.ignored, "send_errors": r.send_errors,
            "udp_receive_errors": self.receive_errors, "faults": self.faults(),
        })
    }
}

/// Runs one load.
///
/// # Errors
/// What keeps the fleet from running.
pub fn run(load: &Load, progress: &mut dyn FnMut(&Progress) -> bool) -> io::Result<Outcome> {
    let profile = Profile::new(load.server, load.transport, &load.idsp, &load.realm, &load.mechs);
    let config = FleetConfig {
        profile: profile.map_err(io::Error::other)?.speaking(load.protocol),
        terminals: load.terminals,
        local: load.local,
        sockets: load.sockets,
        arrivals: load.arrivals,
        limit: load.limit,
        goal: load.goal,
        stay: false,
    };
    let (given, first, protocol) = (load.subscribers.clone(), load.first, load.protocol);
    let subscribers = move |n: u32| match &given {
        Some(list) => list.get(n as usize).cloned(),
        None => {
            let name = identity_in(protocol, first + u64::from(n));
            let key = key_of(&name);
            Some((name, key))
        }
    };
    let before = udp_receive_errors();
    let result = Fleet::new(config, Box::new(subscribers))?.run(progress)?;
    Ok(Outcome { result, receive_errors: udp_receive_errors() - before })
}

/// Finds the rate at which the server is saturated (closed loop), then measures latency in open loop with Poisson
/// arrivals at 50, 80 and 95 per cent of it. Gives each run with its name.
///
/// # Errors
/// As [`run`].
pub fn sweep(load: &Load, window: usize, tell: &mut dyn FnMut(&str)) -> io::Result<Vec<(String, Outcome)>> {
    let mut outcomes = Vec::new();
    let mut load = Load { arrivals: Arrivals::Window(window), ..load.clone() };
    let mut go = |load: &mut Load, name: String| {
        tell(&name);
        let outcome = run(load, &mut |_| true);
        // Other identities the next time, where they are derived: nothing is a re-registration.
        load.first += u64::from(load.terminals);
        outcome.map(|o| (name, o))
    };
    let saturated = go(&mut load, format!("closed loop, {window} under way"))?;
    let rate = saturated.1.result.rate();
    outcomes.push(saturated);
    for percent in [50.0, 80.0, 95.0] {
        load.arrivals = Arrivals::Poisson(rate * percent / 100.0);
        outcomes.push(go(&mut load, format!("Poisson, {percent} % of {rate:.0}/s"))?);
    }
    Ok(outcomes)
}

/// The runs as a table, with what is wrong with them below.
pub fn text(outcomes: &[(String, Outcome)]) -> String {
    let mut t = table(&[
        "run",
        "registered",
        "active",
        "rate/s",
        "p50 us",
        "p90 us",
        "p99 us",
        "max us",
        "repeated",
        "rx errors",
    ]);
    let mut below = String::new();
    for (name, o) in outcomes {
        let (r, at) = (&o.result, |p| number(o.result.keyed_us.value_at_percentile(p)));
        t.add_row(vec![
            comfy_table::Cell::new(name),
            number(format!("{}/{}", r.registered, r.terminals)),
            number(r.active),
            number(format!("{:.0}", r.rate())),
            at(50.0),
            at(90.0),
            at(99.0),
            at(100.0),
            number(r.retransmissions),
            number(o.receive_errors),
        ]);
        for (reason, n) in &r.failures {
            below.push_str(&format!("{name}: {n} attempts failed: {reason}\n"));
        }
        o.faults().iter().for_each(|f| below.push_str(&format!("{name}: does not count: {f}\n")));
    }
    format!("{t}\nLatency: from the intended start to s10 accepted.\n{below}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subscribers_are_read_and_mistakes_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s.csv");
        std::fs::write(&path, format!("id,key\nalice@example.test,{}\n", "0A".repeat(32))).unwrap();
        let list = read_subscribers(&path).unwrap();
        assert_eq!((list[0].0.as_str(), list[0].1.expose()), ("alice@example.test", &[10u8; 32]));
        std::fs::write(&path, "id,key\nalice,xx\n").unwrap();
        assert!(read_subscribers(&path).unwrap_err().to_string().contains(":2:"));
    }

    #[test]
    fn a_load_against_the_proxy_counts_in_every_protocol() {
        for protocol in [Protocol::Sip, Protocol::Mgcp, Protocol::H248, Protocol::Ras] {
            a_load_counts(protocol);
        }
    }

    fn a_load_counts(protocol: Protocol) {
        let standin = crate::standin::StandIn::start(protocol, 0).unwrap();
        let node =
            crate::serve::start_proxy(protocol, standin.behind_proxy, 2, 1_000, portunus_keydist::mech::Mech::Sealed)
                .unwrap();
        let load = Load {
            protocol,
            server: node.listeners()[0],
            transport: Transport::Udp,
            idsp: crate::keys::IDSP.into(),
            realm: crate::keys::REALM.into(),
            mechs: portunus_terminal::sip::MECHS.into(),
            subscribers: None,
            first: 0,
            terminals: 300,
            local: [127, 0, 0, 1].into(),
            sockets: 8,
            arrivals: Arrivals::Window(32),
            goal: if protocol == Protocol::Sip { Goal::Verified } else { Goal::Active },
            limit: Duration::from_secs(30),
        };
        let o = run(&load, &mut |_| true).unwrap();
        assert_eq!((o.result.registered, o.result.active), (300, 300), "{protocol:?} {:?}", o.result.failures);
        assert!(o.result.verified == 300 || load.goal == Goal::Active);
        assert_eq!(standin.counts.granted.load(std::sync::atomic::Ordering::Relaxed), 300);
        assert!(o.json()["registered"] == 300);
    }
}
