//! Configuration: what is fixed at start ([`Config`], [`Keys`]) and what a reload may change ([`Policy`]).

use crate::classes::Classes;
use crate::routes::{ROUTES_MAX, Routes};
use arrayvec::ArrayVec;
use core::net::SocketAddr;
use portunus_channel::{Mechanism, room};
use portunus_keydist::mech::Mech;
use portunus_keydist::proxy::{LockoutPolicy, ProcessKeys};
use portunus_keydist::{DeviceKeys, Idsp, Random};
use portunus_signalling::{Rules, Signalling, Transport};

/// Most listeners of one engine.
pub const LISTENERS_MAX: usize = 32;
/// Most sessions of one engine: as many as the 24 bits of an SPI that name a slot can tell apart.
pub const SESSIONS_MAX: usize = (1 << 24) - 1;

/// What is fixed while an engine lives.
#[derive(Clone)]
pub struct Config {
    /// This worker's number: the top octet of tickets and key ids.
    pub worker: u8,
    /// How many workers the proxy has. What a session of `tls` is named by names the worker among them.
    pub workers: u8,
    /// The proxy's identity (spec section 1).
    pub idsp: String,
    /// The digest realm of its domain.
    pub realm: String,
    /// Whose registrations go where.
    pub routes: Routes,
    /// Where the core reaches the proxy.
    pub core: SocketAddr,
    /// The access side's listeners; at most [`LISTENERS_MAX`]. Their indices are the same on every worker.
    pub listeners: Vec<Listener>,
    /// The fixed sizes.
    pub capacity: Capacity,
}

/// One place where the access side is listened to.
#[derive(Clone, Copy)]
pub struct Listener {
    /// Where terminals reach it; its port is what s10 names for a listener of protected datagrams, and what stands inside
    /// them where a mechanism has inner ports.
    pub address: SocketAddr,
    /// What arrives there.
    pub kind: ListenerKind,
}

/// What arrives at a listener.
#[derive(Clone, Copy)]
pub enum ListenerKind {
    /// Unprotected signalling: registrations, and stock phones where admitted.
    Access {
        /// The protocol spoken there.
        signalling: &'static dyn Signalling,
        /// Datagrams or framed messages of streams.
        transport: Transport,
        /// True when phones that know only digest authentication may register here (spec section 4). Off by default.
        stock_phones: bool,
    },
    /// Datagrams of a mechanism, of any protocol that some access listener speaks.
    Protected(&'static dyn Mechanism),
    /// What the host's kernel took out of ESP (mechanism `ipsec-man`), of one protocol: datagrams of sessions, told by their
    /// source. The kernel lets nothing else pass there. Two such listeners of a protocol let a terminal keep its session
    /// until the next one is confirmed.
    Kernel {
        /// The protocol spoken there.
        signalling: &'static dyn Signalling,
        /// The UDP port that the kernel receives ESP at.
        outer: u16,
        /// 0 for the first, 1 for the second. Each has a port for every worker.
        row: u8,
    },
    /// Connections of mechanism `tls`, for one protocol. Their messages come by [`crate::Engine::on_inside`].
    Tls {
        /// The protocol spoken inside.
        signalling: &'static dyn Signalling,
    },
}

/// Fixed sizes of one engine, reserved when it is made and touched only when used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capacity {
    /// Sessions: provisional, active and stock phones' together.
    pub sessions: usize,
    /// Octets for the identities and bindings of all sessions.
    pub session_text: usize,
    /// Registrations that wait for the core.
    pub pendings: usize,
    /// Octets of the longest registration that is accepted, and kept until the core has answered.
    pub request: usize,
    /// Octets of the longest message that is written.
    pub message: usize,
    /// Octets of answers kept for retransmissions.
    pub answer_octets: usize,
    /// Answers kept for retransmissions.
    pub answers: usize,
    /// Fingerprints in the replay set: three a registration, kept for two to three freshness windows.
    pub replay: usize,
    /// (source, IDc) pairs remembered after failures.
    pub lockout: usize,
}

impl Capacity {
    /// Sizes for so many registered terminals on this worker, all registering anew within about half an hour; at least
    /// for a thousand registrations a second.
    pub fn for_terminals(terminals: usize) -> Self {
        let (half_minute, sessions) = (terminals / 60 + 1024, terminals + terminals / 16 + 256);
        Self {
            sessions,
            session_text: sessions * 112 + (256 << 10),
            pendings: (terminals / 128).clamp(1024, 65_536),
            request: 2048,
            message: 4096,
            answer_octets: (half_minute * 2 * 768).max(16 << 20),
            answers: (half_minute * 2).max(24 << 10),
            replay: Self::replay_for((terminals as u64 / 1800).max(1000), 30_000),
            lockout: (terminals / 64).clamp(1024, 1 << 20),
        }
    }
}

/// Fingerprints that one registration leaves in the replay set: of its s1, and of its s7 with the challenge.
const MARKS: u64 = 3;
/// Freshness windows for which they are kept, at most.
const WINDOWS: u64 = 3;

impl Capacity {
    /// The replay set for so many registrations a second under this window: a third more than they fill, because a set
    /// of small buckets says that it is full before it is.
    pub fn replay_for(registrations_s: u64, window_ms: u64) -> usize {
        let kept = registrations_s.saturating_mul(MARKS * WINDOWS).saturating_mul(window_ms) / 1000;
        usize::try_from(kept.saturating_add(kept / 3)).unwrap_or(usize::MAX).clamp(1024, 1 << 30)
    }
}

/// The secrets of the process: the same for all of its workers.
#[derive(Clone)]
pub struct Keys {
    /// PRK(Ksp), or PRK(Kss) in the direct topology.
    pub device: DeviceKeys,
    /// What challenges, cookies and hashes are keyed by; drawn afresh at every start.
    pub process: ProcessKeys,
}

impl Keys {
    /// Draws the process's own secrets.
    pub fn new(device: impl Into<DeviceKeys>, rng: &mut dyn Random) -> Self {
        Self { device: device.into(), process: ProcessKeys::draw(rng) }
    }
}

impl core::fmt::Debug for Keys {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Keys(..)")
    }
}

/// When s1 must bring a stateless cookie first (spec section 6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Cookies {
    /// From every source.
    Always,
    /// While more pendings are in use than [`Policy::cookie_percent`].
    #[default]
    Auto,
    /// Never.
    Never,
}

/// What a reload may change. Times in milliseconds unless named otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// The mechanisms allowed, in the order preferred among equal priorities of the terminal.
    pub mechanisms: ArrayVec<Mech, 3>,
    /// Lifetime of a session key in seconds, told in s10. 60 to 604800.
    pub life_s: u32,
    /// How far a terminal's TS may be from the clock, either way. 1000 to 300000.
    pub window_ms: u64,
    /// How long a challenge serves. 1000 to `window_ms`.
    pub challenge_ms: u64,
    /// How long the core may take before the terminal is told 503. 100 to 32000.
    pub core_timeout_ms: u64,
    /// How long an unconfirmed session lives. 1000 to 120000.
    pub provisional_ms: u64,
    /// How long a stock phone's session lives after its last granted registration.
    pub stock_life_ms: u64,
    /// How long answers are kept for retransmissions.
    pub answer_ms: u64,
    /// When cookies are asked for.
    pub cookies: Cookies,
    /// Share of pendings in use above which [`Cookies::Auto`] asks for cookies, percent.
    pub cookie_percent: u8,
    /// Share of pendings in use above which new registrations get 503, percent.
    pub busy_percent: u8,
    /// Share of pendings in use above which new registrations are dropped without a word, percent.
    pub drop_percent: u8,
    /// Shortest Retry-After in seconds.
    pub retry_after_min_s: u32,
    /// Longest Retry-After in seconds; drawn evenly between the two.
    pub retry_after_max_s: u32,
    /// What repeated failures cost.
    pub lockout: LockoutPolicy,
    /// The policies of listeners and terminals: mechanisms, floors, limits.
    pub classes: Classes,
    /// What of sessions' messages crosses the border between access and core.
    pub border: Rules,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            mechanisms: ArrayVec::from_iter([Mech::Sealed]),
            life_s: 86_400,
            window_ms: 30_000,
            challenge_ms: 10_000,
            core_timeout_ms: 4_000,
            provisional_ms: 30_000,
            stock_life_ms: 3_600_000,
            answer_ms: 32_000,
            cookies: Cookies::Auto,
            cookie_percent: 50,
            busy_percent: 80,
            drop_percent: 95,
            retry_after_min_s: 5,
            retry_after_max_s: 30,
            lockout: LockoutPolicy::default(),
            classes: Classes::default(),
            border: Rules::OPEN,
        }
    }
}

/// What is wrong with a configuration: the operator's fault, always.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// The field.
    pub field: &'static str,
    /// What it must be.
    pub must: &'static str,
}

impl core::fmt::Display for ConfigError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{} must be {}", self.field, self.must)
    }
}

impl core::error::Error for ConfigError {}

type Rule = (&'static str, &'static str, bool);

fn all(rules: &[Rule]) -> Result<(), ConfigError> {
    match rules.iter().find(|(_, _, good)| !good) {
        Some((field, must, _)) => Err(ConfigError { field, must }),
        None => Ok(()),
    }
}

impl Policy {
    /// Checks every limit.
    ///
    /// # Errors
    /// The first field that is out of its limits, and what it must be.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let percent = self.cookie_percent <= self.busy_percent
            && self.busy_percent <= self.drop_percent
            && self.drop_percent <= 100;
        let retry = self.retry_after_min_s >= 1 && self.retry_after_min_s <= self.retry_after_max_s;
        let window = (1_000..=300_000).contains(&self.window_ms);
        all(&[
            ("mechanisms", "at least one", !self.mechanisms.is_empty()),
            (
                "mechanisms",
                "among those that exist here: x-pkd-sealed, ipsec-man, tls",
                self.mechanisms.iter().all(|m| room(*m).is_some()),
            ),
            (
                "classes",
                "policies that exist, with mechanisms, floors among them, rates up to 1000 and bursts of at least 1",
                self.classes.is_sound(&self.mechanisms),
            ),
            ("life_s", "60 to 604800", (60..=604_800).contains(&self.life_s)),
            ("window_ms", "1000 to 300000", window),
            ("challenge_ms", "1000 to window_ms", (1_000..=self.window_ms).contains(&self.challenge_ms)),
            ("core_timeout_ms", "100 to 32000", (100..=32_000).contains(&self.core_timeout_ms)),
            ("provisional_ms", "1000 to 120000", (1_000..=120_000).contains(&self.provisional_ms)),
            ("stock_life_ms", "60000 to 604800000", (60_000..=604_800_000).contains(&self.stock_life_ms)),
            ("answer_ms", "1000 to 120000", (1_000..=120_000).contains(&self.answer_ms)),
            ("cookie_percent", "at most busy_percent, that at most drop_percent, that at most 100", percent),
            ("retry_after_min_s", "1 to retry_after_max_s", retry),
            ("retry_after_max_s", "at most 86400", self.retry_after_max_s <= 86_400),
        ])
    }
}

impl Config {
    /// Checks every limit.
    ///
    /// # Errors
    /// The first field that is out of its limits, and what it must be.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let c = &self.capacity;
        let some = (1..=LISTENERS_MAX).contains(&self.listeners.len());
        let slots = |n: usize, max: usize| (1..=max).contains(&n);
        all(&[
            ("idsp", "1 to 63 of A-Z a-z 0-9 . _ : [ ] -", Idsp::new(&self.idsp).is_some()),
            ("realm", "1 to 255 octets", slots(self.realm.len(), 255)),
            (
                "routes",
                "of numbers below 32",
                self.routes.rules.iter().all(|rule| usize::from(rule.route) < ROUTES_MAX),
            ),
            ("workers", "more than worker", self.worker < self.workers),
            ("listeners", "1 to 32", some),
            ("capacity.sessions", "1 to 16777215", slots(c.sessions, SESSIONS_MAX)),
            ("capacity.session_text", "4096 to 4294967296", (4096..=1 << 32).contains(&c.session_text)),
            ("capacity.pendings", "16 to 1048576", (16..=1 << 20).contains(&c.pendings)),
            ("capacity.request", "512 to 65535", (512..=65_535).contains(&c.request)),
            ("capacity.message", "request to 65535", (c.request..=65_535).contains(&c.message)),
            ("capacity.answer_octets", "128 messages at least", c.answer_octets >= 128 * c.message),
            ("capacity.answers", "128 to 16777216", (128..=1 << 24).contains(&c.answers)),
            ("capacity.replay", "1024 to 1073741824", (1024..=1 << 30).contains(&c.replay)),
            ("capacity.lockout", "64 to 16777216", (64..=1 << 24).contains(&c.lockout)),
        ])
    }
}
