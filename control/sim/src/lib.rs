//! The whole system in one process on a seeded clock and network: the real proxy engines, softswitch, AAA client and
//! server ends, AuC role and terminals, none of them with a socket, a clock or randomness of its own.
//!
//! One number is one run: [`run`] draws from it who is there, what the network does, who crashes when and what the
//! attackers try ([`scenario`]), lets it happen ([`world`]) and holds every message against a reference model that
//! knows all keys ([`oracle`]). A run ends when the trouble has passed and everybody is registered and reachable again,
//! or with what the specification forbids; then the same number gives the same run once more, with its life-line
//! picture ([`ladder`]).
//!
//! Each terminal speaks a protocol that is drawn for it; where that tells terminals apart by transport addresses, the
//! proxies have a bounded pool of lanes ([`lanes`]), as in production.
//!
//! Terminals prefer different mechanisms and proxies allow different ones. Datagrams of `x-pkd-sealed` and `ipsec-man`
//! are the same octets in every run of a number. Connections of `tls` ([`secured`]) go through OpenSSL, whose random
//! numbers nobody here gives it: their octets differ, their lengths and everything that follows from them do not.
//!
//! Deliberately absent: real time, sockets, TCP before a session (steps are datagrams here), IP's own fragments,
//! attackers inside the trusted network, and attackers who break the cryptography itself.

pub mod attack;
pub mod auc;
pub mod clock;
pub mod dialect;
pub mod ladder;
pub mod lanes;
pub mod leaks;
pub mod net;
pub mod oracle;
pub mod phone;
pub mod prng;
pub mod proxy;
pub mod scenario;
pub mod secured;
pub mod stock;
pub mod switch;
pub mod world;

use oracle::Seen;
use scenario::Scenario;
use world::World;

/// A run that ended well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Report {
    /// Simulated milliseconds.
    pub took_ms: u64,
    /// Datagrams that arrived.
    pub datagrams: u64,
    /// Sessions granted.
    pub granted: usize,
    /// Of those, confirmed.
    pub active: usize,
    /// The same by mechanism, in the order of [`oracle::MECHS`].
    pub seen: [Seen; 3],
}

/// A run in which something happened that the specification forbids, or in which somebody never got registered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The number that replays it.
    pub seed: u64,
    /// When, simulated milliseconds.
    pub at_ms: u64,
    /// What.
    pub what: String,
}

impl core::fmt::Display for Failure {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "seed {} at {} ms: {} (PORTUNUS_SEED={} replays it)", self.seed, self.at_ms, self.what, self.seed)
    }
}

impl core::error::Error for Failure {}

fn finished(mut world: World, seed: u64) -> (Result<Report, Failure>, World) {
    world.run();
    let seen = world.oracle.totals();
    let all = seen.into_iter().fold(Seen::default(), Seen::plus);
    let (granted, active) = (all.granted, all.active);
    let result = match world.oracle.violation.clone() {
        Some(what) => Err(Failure { seed, at_ms: world.now_ms(), what }),
        None => Ok(Report { took_ms: world.now_ms(), datagrams: world.delivered(), granted, active, seen }),
    };
    (result, world)
}

/// The run of a scenario.
///
/// # Errors
/// [`Failure`].
pub fn run_scenario(scenario: Scenario) -> Result<Report, Failure> {
    let seed = scenario.seed;
    finished(World::new(scenario, false), seed).0
}

/// The run of a seed.
///
/// # Errors
/// [`Failure`].
pub fn run(seed: u64) -> Result<Report, Failure> {
    run_scenario(Scenario::draw(seed))
}

/// The run of a scenario once more, with the last `entries` of its life-line picture.
pub fn replay_scenario(scenario: Scenario, entries: usize) -> (Result<Report, Failure>, String) {
    let seed = scenario.seed;
    let (result, world) = finished(World::new(scenario, true), seed);
    (result, world.ladder.draw(entries))
}

/// The run of a seed once more, with its picture.
pub fn replay(seed: u64, entries: usize) -> (Result<Report, Failure>, String) {
    replay_scenario(Scenario::draw(seed), entries)
}
