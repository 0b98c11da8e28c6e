//! What a softswitch is told at start. Plain values; reading files is somebody else's work.

use core::net::SocketAddr;
use portunus_aaa::{DigestAlgorithm, Realms};
use portunus_keydist::ident::Idsp;
use portunus_signalling::Protocol;
use std::sync::Arc;

/// Most challenges after the first that one registration may get (spec section 2).
pub const RETRIES_MAX: u8 = 3;

/// A neighbour on the trusted side: a signalling proxy, or a SIP element between it and us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Its address. Port 0 stands for every port of that address.
    pub addr: SocketAddr,
    /// The proxy identities whose registrations it may send; none for an element that only relays calls.
    pub idsps: Vec<Arc<str>>,
}

/// The softswitch of another domain, or another one of ours. Trusted both ways: what it says of callers is believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Neighbour {
    /// Where it takes SIP over UDP.
    pub address: SocketAddr,
    /// Domains whose subscribers are reached by it. One of ours: it serves some of them, and is asked for those that are
    /// not here.
    pub domains: Vec<Arc<str>>,
}

/// The proxy engine in front of us in the same process (direct topology): it talks to us in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalProxy {
    /// The identity it goes by: ours (IDss).
    pub idss: Arc<str>,
    /// The address that it writes into Via, Path and Contact. Nothing is ever sent there: it names the proxy.
    pub core: SocketAddr,
}

/// Servers of somebody else's, which know nothing of PKD1 and serve the terminals once they are authenticated here. Of one
/// kind any of them serves any terminal; where there are none of a kind, its terminals are served here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Behind {
    /// SIP registrars.
    pub registrars: Vec<Upstream>,
    /// MGCP call agents.
    pub call_agents: Vec<Upstream>,
    /// H.248 media gateway controllers.
    pub controllers: Vec<Upstream>,
    /// How they are watched.
    pub health: Health,
    /// Ports towards call agents and controllers at most, each one gateway's own; whoever owns the sockets keeps to it.
    pub ports: usize,
}

impl Default for Behind {
    fn default() -> Self {
        let (registrars, call_agents, controllers) = (Vec::new(), Vec::new(), Vec::new());
        Self { registrars, call_agents, controllers, health: Health::default(), ports: 4_096 }
    }
}

impl Behind {
    /// Those of one protocol.
    pub fn of(&self, protocol: Protocol) -> &[Upstream] {
        match protocol {
            Protocol::Sip => &self.registrars,
            Protocol::Mgcp => &self.call_agents,
            Protocol::H248 => &self.controllers,
            Protocol::Ras => &[],
        }
    }

    /// True where gateways have ports of their own towards somebody.
    pub fn has_ports(&self) -> bool {
        !self.call_agents.is_empty() || !self.controllers.is_empty()
    }

    fn validate(&self, own: &[SocketAddr]) -> Result<(), ConfigError> {
        let must = |ok: bool, what: &'static str| if ok { Ok(()) } else { Err(ConfigError(what)) };
        let all = || self.registrars.iter().chain(&self.call_agents).chain(&self.controllers);
        must(all().all(|one| one.weight > 0), "the weight of a server behind us must be at least 1")?;
        must(all().all(|one| !own.contains(&one.address)), "a server behind us must be somebody else")?;
        must(all().count() <= usize::from(u16::MAX), "there may be at most 65535 servers behind us")?;
        must(!self.has_ports() || self.ports > 0, "a controller or call agent needs at least one port")?;
        let h = &self.health;
        must(h.probe_every_ms >= 100, "a server must be asked for a sign of life at most every 100 ms")?;
        must((100..=16_000).contains(&h.answer_within_ms), "a server must have 100 ms to 16 s to answer")?;
        must(u64::from(h.answer_within_ms) <= h.patience_ms, "a registrar has longer than all of them together")?;
        must(h.down_after > 0 && h.up_after > 0, "a server must be down, and up, after at least one sign")
    }
}

/// How servers of somebody else's are watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Health {
    /// How often each is asked for a sign of life, milliseconds.
    pub probe_every_ms: u64,
    /// How long one may take to answer, milliseconds: then a registration is put to the next, and a question for a sign of
    /// life counts as unanswered.
    pub answer_within_ms: u32,
    /// SIP: how long a registration may wait for all of them, milliseconds: a little less than the proxy's patience with
    /// us, so that its answer is ours and not silence.
    pub patience_ms: u64,
    /// So many silences in a row and one is down.
    pub down_after: u32,
    /// So many answers in a row and it is up again.
    pub up_after: u32,
}

impl Default for Health {
    fn default() -> Self {
        Self { probe_every_ms: 2_000, answer_within_ms: 1_200, patience_ms: 3_500, down_after: 3, up_after: 2 }
    }
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upstream {
    /// Where it takes its protocol over UDP; it is trusted as a peer.
    pub address: SocketAddr,
    /// Its share of the terminals, compared with that of the others of its kind.
    pub weight: u32,
    /// A call agent or controller: how others call it that send gateways there, where that is not by its address.
    pub name: Option<Arc<str>>,
}

impl Upstream {
    /// One with a share of 1 and no name.
    pub const fn at(address: SocketAddr) -> Self {
        Self { address, weight: 1, name: None }
    }
}

/// Lifetimes of registrations in seconds (RFC 3261 section 10.3; timeToLive of H.225.0).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expires {
    /// Granted where nothing was asked.
    pub default_s: u32,
    /// SIP: a shorter one is refused with 423, unless it asks for at least an hour.
    pub min_s: u32,
    /// A longer one is cut to this.
    pub max_s: u32,
}

impl Default for Expires {
    fn default() -> Self {
        Self { default_s: 3600, min_s: 60, max_s: 3600 }
    }
}

/// Where the protocols beside SIP are served; `None`: not at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Listeners {
    /// MGCP, UDP; call agents listen at 2727.
    pub mgcp: Option<SocketAddr>,
    /// H.248 text, UDP; 2944.
    pub h248: Option<SocketAddr>,
    /// H.323 RAS, UDP; 1719.
    pub ras: Option<SocketAddr>,
}

impl Listeners {
    /// The address of a protocol; `None` also for SIP, which has [`Config::own`].
    pub const fn of(&self, protocol: Protocol) -> Option<SocketAddr> {
        match protocol {
            Protocol::Sip => None,
            Protocol::Mgcp => self.mgcp,
            Protocol::H248 => self.h248,
            Protocol::Ras => self.ras,
        }
    }
}

/// Bounds of every table. A full one is a named counter; what is not authenticated gives way, oldest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Identities in the location table; further ones get 503.
    pub identities: usize,
    /// Bindings of one identity; a registration that would pass it is refused.
    pub bindings_each: usize,
    /// Challenges waiting for their answer.
    pub challenges: usize,
    /// Commands of our own that wait for their answer, of each protocol; further ones are not sent.
    pub commands: usize,
    /// Questions open at the AuC; further registrations get 503.
    pub asks: usize,
    /// Octets of cached answers.
    pub cache_octets: usize,
    /// Registration records on their way to the AuC, or waiting for it to come back.
    pub records: usize,
    /// Longest message taken or sent, in octets.
    pub message: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            identities: 1_000_000,
            bindings_each: 8,
            challenges: 65_536,
            commands: 65_536,
            asks: 8_192,
            cache_octets: 64 << 20,
            records: 65_536,
            message: 8_192,
        }
    }
}

/// The configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where peers reach us in SIP: goes into Via and Record-Route.
    pub own: SocketAddr,
    /// Where they reach us in the other protocols.
    pub listeners: Listeners,
    /// Whoever of somebody else's serves the terminals once they are authenticated here.
    ///
    /// SIP registrars get an ordinary registration with a Path through us and P-Asserted-Identity, and whatever a terminal
    /// asks for; what they ask of a terminal reaches it by that Path, and the location table here follows what they grant.
    /// A call agent or controller is [`crate::Peer::Behind`] a gateway's lane, hears of the gateway in its name when its
    /// session is active, and everything else of the gateway's goes to it.
    pub behind: Behind,
    /// The digest realm of our own domain.
    pub realm: Arc<str>,
    /// Whose AuC is asked about whom. Subscribers of other realms may name theirs as the digest realm.
    pub realms: Realms,
    /// Host parts that we answer for, beside our own address. Compared without regard to case.
    pub domains: Vec<Arc<str>>,
    /// Where subscribers of other domains, and of ours that are not here, are reached.
    pub neighbours: Vec<Neighbour>,
    /// Whom we trust. Everything from other addresses is dropped, and nothing is ever sent elsewhere.
    pub peers: Vec<Peer>,
    /// The proxy engine in this process, in the direct topology.
    pub local: Option<LocalProxy>,
    /// Challenges after the first that one registration may get; at most [`RETRIES_MAX`].
    pub retries: u8,
    /// How long a challenge waits for its answer, milliseconds.
    pub challenge_ms: u64,
    /// How long an answered REGISTER is remembered, milliseconds (64 * T1 of RFC 3261).
    pub transaction_ms: u64,
    /// How long a question may stay open at the AAA client before we give it up, milliseconds.
    pub ask_ms: u64,
    /// Seconds that a 503 asks to wait: from the first, up to the second, drawn evenly.
    pub retry_after_s: (u32, u32),
    /// Lifetimes of registrations.
    pub expires: Expires,
    /// A gateway (MGCP, H.248) or endpoint (H.323) that showed no sign of life for so many seconds is forgotten; it is
    /// audited at half of it. Any message of its counts; an endpoint's registration ends with its time to live too.
    pub silent_s: u32,
    /// How long an identity that is no longer bound is remembered (480 instead of 404), milliseconds.
    pub remember_ms: u64,
    /// Wait before a registration record is sent again to an AuC that did not take it, milliseconds.
    pub record_retry_ms: u64,
    /// Stock phones: the one hash that they are challenged with; `None`: none is admitted. Which listener admits them
    /// is the proxy's policy.
    pub digest: Option<DigestAlgorithm>,
    /// Bounds.
    pub limits: Limits,
}

impl Config {
    /// A configuration with every default, for `realm` (which is also the only domain), without peers.
    pub fn new(own: SocketAddr, realm: &str) -> Self {
        let realm: Arc<str> = realm.into();
        Self {
            own,
            listeners: Listeners::default(),
            behind: Behind::default(),
            domains: vec![realm.clone()],
            realms: Realms::only(&realm),
            realm,
            neighbours: Vec::new(),
            peers: Vec::new(),
            local: None,
            retries: 1,
            challenge_ms: 15_000,
            transaction_ms: 32_000,
            ask_ms: 32_000,
            retry_after_s: (5, 15),
            expires: Expires::default(),
            silent_s: 600,
            remember_ms: 3_600_000,
            record_retry_ms: 5_000,
            digest: None,
            limits: Limits::default(),
        }
    }

    /// Checks what the types cannot.
    ///
    /// # Errors
    /// The first mistake, in words: always the configuration's fault.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let must = |ok: bool, what: &'static str| if ok { Ok(()) } else { Err(ConfigError(what)) };
        let idsps = self.peers.iter().flat_map(|p| &p.idsps).chain(self.local.iter().map(|l| &l.idss));
        must(idsps.clone().all(|i| Idsp::new(i).is_some()), "a proxy identity has a character that none may have")?;
        must(!self.realm.is_empty() && self.realm.len() <= 253, "the realm must have 1 to 253 octets")?;
        must(!self.realm.bytes().any(|c| c < b' ' || c == b'"' || c == b'\\'), "the realm has a forbidden character")?;
        must(!self.domains.is_empty(), "there must be a domain to answer for")?;
        must(self.retries <= RETRIES_MAX, "retries must be at most 3")?;
        must(self.expires.min_s >= 1, "the shortest lifetime must be at least 1 s")?;
        must(self.expires.min_s <= self.expires.max_s, "the shortest lifetime is longer than the longest")?;
        must(
            (self.expires.min_s..=self.expires.max_s).contains(&self.expires.default_s),
            "the default lifetime lies outside the shortest and the longest",
        )?;
        must(self.retry_after_s.0 <= self.retry_after_s.1, "retry_after: the first is larger than the second")?;
        must((10..=86_400).contains(&self.silent_s), "a silent gateway must be forgotten after 10 s to a day")?;
        let Listeners { mgcp, h248, .. } = self.listeners;
        let own: Vec<SocketAddr> = [Some(self.own), mgcp, h248].into_iter().flatten().collect();
        self.behind.validate(&own)?;
        must(self.neighbours.iter().all(|n| n.address != self.own), "a neighbour must be somebody else")?;
        must(self.neighbours.iter().all(|n| !n.domains.is_empty()), "a neighbour must have a domain")?;
        must((1_000..=60_000).contains(&self.challenge_ms), "a challenge must live 1 s to 60 s")?;
        must((1_000..=120_000).contains(&self.transaction_ms), "an answer must be remembered 1 s to 120 s")?;
        must((1_000..=120_000).contains(&self.ask_ms), "a question must be given up after 1 s to 120 s")?;
        must(self.record_retry_ms >= 100, "a record must wait at least 100 ms before it is sent again")?;
        let l = &self.limits;
        let none_is_zero =
            l.identities.min(l.commands).min(l.bindings_each).min(l.challenges).min(l.asks).min(l.records) > 0;
        must(none_is_zero, "no limit may be 0")?;
        must((1_500..=65_507).contains(&l.message), "a message may have 1500 to 65507 octets")?;
        must(l.cache_octets >= 16 * l.message, "the answer cache must hold at least 16 messages")
    }
}

/// A configuration that cannot be used, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConfigError(pub &'static str);

impl core::fmt::Display for ConfigError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "softswitch configuration: {}", self.0)
    }
}

impl core::error::Error for ConfigError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_hold_and_mistakes_are_named() {
        let good = Config::new(([127, 0, 0, 1], 5070).into(), "example.test");
        assert_eq!(good.validate(), Ok(()));
        let mut bad = good.clone();
        bad.retries = 4;
        assert!(bad.validate().unwrap_err().to_string().contains("retries"));
        let mut bad = good.clone();
        bad.peers.push(Peer { addr: good.own, idsps: vec!["sp 1".into()] });
        assert!(bad.validate().unwrap_err().to_string().contains("identity"));
        let mut bad = good;
        bad.expires.default_s = 10;
        assert!(bad.validate().is_err());
    }
}
