//! What a demonstration came to, for people and for machines.

use super::world::World;
use crate::cli::{DemoArgs, ProtocolArg};
use crate::ladder::{self, Rung};
use crate::latency::Latency;
use crate::out::Out;
use portunus_keydist::mech::Mech;
use portunus_terminal::fleet::FleetResult;
use serde::Serialize;
use std::collections::BTreeMap;

/// Columns of the words that begin the lines of totals.
const LABEL: usize = 12;

/// What the first terminal agreed on.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Negotiated {
    pub(super) mechanism: &'static str,
    pub(super) protects: &'static str,
    pub(super) session: String,
    pub(super) protected_at: String,
    pub(super) key_life_s: u32,
    pub(super) expires_s: u32,
    pub(super) aaa: &'static str,
}

impl Negotiated {
    /// `None` when the first terminal never became active.
    pub(super) fn of(one: &FleetResult, spoken: ProtocolArg, world: &World) -> Option<Self> {
        one.first_active.map(|a| Self {
            mechanism: a.mech.token(),
            protects: match a.mech {
                Mech::Tls => "TLS 1.3, PSK with (EC)DHE, no certificates",
                Mech::Sealed | Mech::Esp => "AES-256-GCM, a key each way, replay window 1024",
            },
            session: format!("{:016x}", a.kid),
            protected_at: world.protected(spoken, a.mech).to_string(),
            key_life_s: a.life_s,
            expires_s: a.expires_s,
            aaa: "RADIUS over TLS 1.3, certificates on both sides",
        })
    }
}

impl Negotiated {
    fn tell(&self, out: Out) {
        out.say_under(
            LABEL,
            format!("negotiated  {} ({}), messages to {}", self.mechanism, self.protects, self.protected_at),
        );
        out.say_under(
            LABEL,
            format!("            keys for {} h; softswitch to AuC: {}", self.key_life_s / 3600, self.aaa),
        );
    }
}

/// The terminals of one protocol.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct Spoken {
    pub(super) protocol: &'static str,
    /// The protocol's name to people.
    #[serde(skip)]
    pub(super) title: &'static str,
    pub(super) transport: &'static str,
    pub(super) terminals: u32,
    /// Terminals whose s10 passed every check.
    pub(super) verified: u32,
    /// Terminals whose session the proxy confirmed.
    pub(super) active: u32,
    /// Terminals that the core answered a request inside the session; only the first of them asks.
    pub(super) answered_inside: u32,
    pub(super) ladder: Vec<Rung>,
    pub(super) negotiated: Option<Negotiated>,
    /// Microseconds from a terminal's start to its accepted s10.
    pub(super) keyed_us: Latency,
    /// Microseconds from a terminal's start to the proxy's protected answer.
    pub(super) active_us: Latency,
    pub(super) packets_sent: u64,
    pub(super) packets_received: u64,
    pub(super) octets_sent: u64,
    pub(super) octets_received: u64,
    pub(super) retransmissions: u64,
}

/// Everything.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Report {
    pub(super) topology: &'static str,
    pub(super) terminals: u32,
    pub(super) verified: u32,
    pub(super) active: u32,
    pub(super) failures: BTreeMap<String, u32>,
    pub(super) protocols: Vec<Spoken>,
    /// Over all protocols.
    pub(super) keyed_us: Latency,
    pub(super) active_us: Latency,
    /// Registrations a second.
    pub(super) rate: f64,
    pub(super) elapsed_ms: u64,
    pub(super) started_in_ms: u64,
    pub(super) packets_sent: u64,
    pub(super) packets_received: u64,
    pub(super) octets_sent: u64,
    pub(super) octets_received: u64,
    pub(super) retransmissions: u64,
    pub(super) counters: BTreeMap<String, u64>,
}

impl Report {
    pub(super) fn new(args: &DemoArgs, started_in_ms: u64) -> Self {
        Self {
            topology: args.topology.name(),
            terminals: args.terminals,
            verified: 0,
            active: 0,
            failures: BTreeMap::new(),
            protocols: Vec::new(),
            keyed_us: Latency::new(),
            active_us: Latency::new(),
            rate: 0.0,
            elapsed_ms: 0,
            started_in_ms,
            packets_sent: 0,
            packets_received: 0,
            octets_sent: 0,
            octets_received: 0,
            retransmissions: 0,
            counters: BTreeMap::new(),
        }
    }

    /// Adds what the first terminal of a protocol and the others came to.
    pub(super) fn add(&mut self, mut spoken: Spoken, one: &FleetResult, rest: Option<&FleetResult>) {
        for r in [Some(one), rest].into_iter().flatten() {
            spoken.terminals += r.terminals;
            spoken.verified += r.registered;
            spoken.active += r.active;
            spoken.answered_inside += r.verified;
            spoken.keyed_us.add(&r.keyed_us);
            spoken.active_us.add(&r.active_us);
            spoken.packets_sent += r.packets_sent;
            spoken.packets_received += r.packets_received;
            spoken.octets_sent += r.octets_sent;
            spoken.octets_received += r.octets_received;
            spoken.retransmissions += r.retransmissions;
            self.keyed_us.add(&r.keyed_us);
            self.active_us.add(&r.active_us);
            for (why, n) in &r.failures {
                *self.failures.entry((*why).to_owned()).or_default() += n;
            }
        }
        self.verified += spoken.verified;
        self.active += spoken.active;
        self.packets_sent += spoken.packets_sent;
        self.packets_received += spoken.packets_received;
        self.octets_sent += spoken.octets_sent;
        self.octets_received += spoken.octets_received;
        self.retransmissions += spoken.retransmissions;
        self.protocols.push(spoken);
    }

    /// Nothing follows.
    pub(super) fn end(&mut self, elapsed_ms: u64, counters: BTreeMap<String, u64>) {
        self.elapsed_ms = elapsed_ms;
        self.rate = f64::from(self.verified) / (elapsed_ms.max(1) as f64 / 1000.0);
        self.counters = counters;
    }

    pub(super) fn all_active(&self) -> bool {
        let heard = self.protocols.iter().all(|s| s.answered_inside > 0);
        self.active == self.terminals && self.verified == self.terminals && heard
    }

    /// What to look at where not all are active.
    pub(super) fn advice(&self) -> String {
        let worst = self.failures.iter().max_by_key(|(_, n)| **n);
        match worst {
            Some((why, n)) => format!("the most frequent failure was `{why}` ({n} times); --json has every counter"),
            None => "nothing failed, time ran out: raise --limit or lower --concurrency".to_owned(),
        }
    }

    pub(super) fn tell(&self, out: Out) {
        out.machine(self);
        let speak = |s: &Spoken| format!("{} {}", s.terminals, s.title);
        let mix = self.protocols.iter().map(speak).collect::<Vec<_>>().join(", ");
        out.say_under(
            2,
            format!(
                "AuC, softswitch and {} on 127.0.0.1, ready in {} ms; {} terminals: {mix}\n",
                if self.topology == "proxied" { "proxy" } else { "its own access side" },
                self.started_in_ms,
                self.terminals,
            ),
        );
        for spoken in &self.protocols {
            let (name, by) = (spoken.title, spoken.transport.to_uppercase());
            out.say(format!("One {name} terminal's way to its key, over {by}:"));
            ladder::lines(&spoken.ladder).iter().for_each(|l| out.say_under(ladder::INDENT, l));
            out.say("");
        }
        if let Some(n) = self.protocols.iter().find_map(|s| s.negotiated.as_ref()) {
            n.tell(out);
        }
        self.totals(out);
    }

    fn totals(&self, out: Out) {
        out.say_under(
            LABEL,
            format!(
                "terminals   {} started, {} verified their s10, {} active, in {:.2} s ({:.0} a second)",
                self.terminals,
                self.verified,
                self.active,
                self.elapsed_ms as f64 / 1000.0,
                self.rate
            ),
        );
        out.say_under(LABEL, format!("key         {}", self.keyed_us.words()));
        out.say_under(LABEL, format!("active      {}", self.active_us.words()));
        for s in self.protocols.iter().filter(|_| self.protocols.len() > 1) {
            let (name, words) = (s.title, s.active_us.words());
            out.say_under(LABEL, format!("{:<8}    {} of {} active: {words}", name, s.active, s.terminals));
        }
        let each = |n: u64| n as f64 / f64::from(self.terminals.max(1));
        out.say_under(LABEL, format!(
            "traffic     terminals sent {} packets ({} octets), received {} ({}); {:.1} and {:.1} a terminal, {} repeated",
            self.packets_sent,
            self.octets_sent,
            self.packets_received,
            self.octets_received,
            each(self.packets_sent),
            each(self.packets_received),
            self.retransmissions
        ));
        for (why, n) in &self.failures {
            out.say(format!("failed      {n} x {why}"));
        }
    }
}
