//! The configuration as plain values, one structure a role. Everything is filled in: defaults are applied, relative
//! paths are joined with the folder of the file.

mod agent;
mod beside;
mod core_side;
mod database;
mod edge;
mod policy;

pub use agent::*;
pub use beside::*;
pub use core_side::*;
pub use database::*;
pub use edge::*;
pub use policy::*;

use crate::value::{Secret, Size};
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;
use std::path::PathBuf;

/// A whole file.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// True where the file declares itself a laboratory: secrets may stand in files that others can read, and in
    /// the configuration itself.
    pub lab: bool,
    /// Logging.
    pub log: Log,
    /// The authentication centre, when this process is one.
    pub auc: Option<Auc>,
    /// The softswitch, when this process is one.
    pub softswitch: Option<Softswitch>,
    /// The signalling proxy, when this process is one.
    pub proxy: Option<Proxy>,
    /// The agent beside phones, which a process of its own is.
    pub agent: Option<Agent>,
}

/// Logging to standard error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Log {
    /// The least severe level that is written.
    pub level: LogLevel,
    /// How a line looks.
    pub format: LogFormat,
}

/// Levels, in descending severity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

/// Forms of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Where a 32-octet key is read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeySource {
    /// A file: 64 hex digits, or rows `id,key` of which the one of the identity concerned is taken. Nobody but its
    /// owner may be able to read it, except in a laboratory.
    File(PathBuf),
    /// A systemd credential of this name (`LoadCredential=`).
    Credential(String),
    /// An environment variable that holds 64 hex digits.
    Environment(String),
    /// 64 hex digits in the configuration itself; laboratory only.
    Inline(Secret),
}

/// Where the key is that a store is kept under.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MasterSource {
    /// It is read.
    Key(KeySource),
    /// It stays in a PKCS#11 token.
    Token(TokenKey),
}

/// A key in a PKCS#11 token, in the words of RFC 7512.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenKey {
    /// The shared library of the token's maker.
    pub module: PathBuf,
    /// The token's label.
    pub token: Option<String>,
    /// The token's serial number.
    pub serial: Option<String>,
    /// The key's label.
    pub object: Option<String>,
    /// The key's identifier.
    pub id: Option<Vec<u8>>,
    /// Where the PIN is.
    pub pin: PinSource,
    /// Folders that the module reads and writes while an AuC runs.
    pub folders: Vec<PathBuf>,
}

/// Where a token's PIN is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PinSource {
    /// On the first line of a file that nobody but its owner may be able to read.
    File(PathBuf),
    /// A systemd credential of this name.
    Credential(String),
    /// The token has a keypad of its own.
    Keypad,
}

/// The AuC.
#[derive(Debug, Clone, PartialEq)]
pub struct Auc {
    /// Realms that it serves; the first is the default.
    pub realms: Vec<String>,
    /// The subscriber store (redb), created when absent.
    pub store: PathBuf,
    /// The key that seals stored keys.
    pub master_key: MasterSource,
    /// True: a master key file that does not exist is created with a fresh key, mode 0600.
    pub create_master_key: bool,
    /// The system of record of several nodes; without it the store is.
    pub database: Option<Database>,
    /// A CSV (`id,key`) from which subscribers and devices that the store does not know yet are added at start.
    pub import: Option<PathBuf>,
    /// Which identities of `import` are proxies and softswitches; every other one is a terminal. By default those
    /// that the file's other sections name.
    pub devices: Vec<String>,
    /// Stock phones: vectors for these hashes are made.
    pub digests: Vec<Digest>,
    /// The append-only audit log.
    pub audit_log: PathBuf,
    /// How long the answer to a request is kept for its retransmissions.
    pub answer_cache: Duration,
    /// Most answers kept.
    pub answers: usize,
    /// Most subscribers whose keys are kept open in memory.
    pub open_keys: usize,
    /// Where it listens.
    pub listeners: Vec<AucListener>,
    /// The administrators' HTTP interface, where there is one.
    pub api: Option<AucApi>,
    /// Where terminals redeem activation codes.
    pub redeem: Option<AucRedeem>,
    /// The AuCs of other domains, whose subscribers are guests here.
    pub foreign: Vec<ForeignAuc>,
    /// Those that ask for our subscribers, who are guests there.
    pub partners: Vec<PartnerAuc>,
}

/// An address where the AuC answers RADIUS or Diameter.
#[derive(Debug, Clone, PartialEq)]
pub enum AucListener {
    /// RADIUS over UDP: for a laboratory.
    Udp {
        /// Authentication, by custom port 1812.
        address: SocketAddr,
        /// Accounting, by custom port 1813.
        accounting: SocketAddr,
        /// Who may ask.
        clients: Vec<RadiusClient>,
    },
    /// RADIUS over TLS 1.3 with certificates on both sides.
    RadSec {
        /// By custom port 2083.
        address: SocketAddr,
        /// Ours, and how we check theirs.
        tls: Tls,
        /// Names that a client's certificate may be for; empty: any certificate of the authorities.
        clients: Vec<String>,
    },
    /// Diameter with the Cx application.
    Diameter {
        /// By custom port 5658 over TLS, 3868 over TCP.
        address: SocketAddr,
        /// The AuC's Origin-Host.
        identity: String,
        /// Over TLS: ours, and how we check theirs.
        tls: Option<Tls>,
        /// Over TLS: names that a peer's certificate may be for, each its Origin-Host; empty: any certificate of the
        /// authorities.
        names: Vec<String>,
        /// Over TCP: addresses that may connect.
        hosts: Vec<IpAddr>,
        /// Silence on a connection after which it is probed.
        watchdog: Duration,
    },
}

/// A RADIUS client by address.
#[derive(Debug, Clone, PartialEq)]
pub struct RadiusClient {
    /// Its address.
    pub address: IpAddr,
    /// The secret shared with it.
    pub secret: SecretSource,
}

/// Where a textual secret is read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretSource {
    /// The first line of a file.
    File(PathBuf),
    /// In the configuration itself; laboratory only.
    Inline(Secret),
}

/// Files of a TLS end with a certificate of its own that demands one of the peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// Our certificate chain, PEM.
    pub certificate: PathBuf,
    /// Our private key, PEM.
    pub key: PathBuf,
    /// The authorities whose certificates we accept, PEM.
    pub ca: PathBuf,
}

/// The softswitch.
#[derive(Debug, Clone, PartialEq)]
pub struct Softswitch {
    /// IDss.
    pub identity: String,
    /// Digest realm of its domain.
    pub realm: String,
    /// Host parts that it answers for, beside its own address.
    pub domains: Vec<String>,
    /// Where peers reach it (SIP over UDP); `None` when it only serves terminals directly.
    pub listen: Option<SocketAddr>,
    /// Where peers reach its call agent (MGCP over UDP).
    pub listen_mgcp: Option<SocketAddr>,
    /// Where peers reach its media gateway controller (H.248 text over UDP).
    pub listen_h248: Option<SocketAddr>,
    /// Where peers reach its gatekeeper (H.323 RAS).
    pub listen_ras: Option<SocketAddr>,
    /// SIP: the registrars of somebody else's that serve the terminals once they are authenticated; empty: the
    /// softswitch does.
    pub registrars: Vec<Upstream>,
    /// MGCP: the call agents, as for SIP.
    pub call_agents: Vec<Upstream>,
    /// H.248: the controllers, as for SIP.
    pub controllers: Vec<Upstream>,
    /// How all of these are watched.
    pub health: Health,
    /// Softswitches of other domains, and others of its own.
    pub neighbours: Vec<Neighbour>,
    /// The peers that it trusts.
    pub peers: Vec<Peer>,
    /// New challenges after a wrong word, 0 to 3.
    pub retries: u8,
    /// How long a challenge may be answered.
    pub challenge_life: Duration,
    /// How long an answer is kept for retransmissions of its request.
    pub answer_cache: Duration,
    /// Shortest, default and longest registration granted.
    pub expires: Expires,
    /// Least and most Retry-After of a 503.
    pub retry_after: Span,
    /// Stock phones: the hash that they are challenged with; `None`: none is admitted.
    pub digest: Option<Digest>,
    /// Fixed capacities.
    pub capacity: SoftswitchCapacity,
    /// Its links to the AuC.
    pub aaa: Aaa,
    /// Serving terminals without a proxy (direct topology).
    pub direct: Option<Edge>,
}

/// The softswitch of another domain, or another one of the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Neighbour {
    /// Where it takes SIP over UDP.
    pub address: SocketAddr,
    /// Domains whose subscribers are reached by it.
    pub domains: Vec<String>,
}

/// A registrar, call agent or controller of somebody else's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upstream {
    /// Where it takes its protocol over UDP.
    pub address: SocketAddr,
    /// Its share of the terminals, compared with that of the others of its kind.
    pub weight: u32,
    /// A call agent or controller: how others call it that send gateways there, where that is not by its address.
    pub name: Option<String>,
}

/// How servers of somebody else's are watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Health {
    /// How often each is asked for a sign of life.
    pub probe_every: Duration,
    /// How long one may take to answer before the next is tried.
    pub answer_within: Duration,
    /// So many silences in a row and one is down.
    pub down_after: u32,
    /// So many answers in a row and it is up again.
    pub up_after: u32,
}

/// Hashes of digest authentication.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Digest {
    /// RFC 7616's SHA-256.
    Sha256,
    /// RFC 2617's MD5, for phones that know nothing else.
    Md5,
}

/// From least to most, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// The least.
    pub least: Duration,
    /// The most.
    pub most: Duration,
}

/// Limits of a registration's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expires {
    /// Shorter ones get 423.
    pub least: Duration,
    /// Where the request names none.
    pub default: Duration,
    /// Longer ones are shortened.
    pub most: Duration,
}

/// The softswitch's tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SoftswitchCapacity {
    /// Registered identities.
    pub registrations: usize,
    /// Contacts of one identity.
    pub contacts: usize,
    /// Challenges waiting for their answer.
    pub challenges: usize,
    /// Questions open at the AuC.
    pub asks: usize,
    /// Registration records on their way to the AuC.
    pub records: usize,
    /// Cached answers, in octets.
    pub answers: Size,
    /// Ports towards call agents and controllers of somebody else's, each one gateway's own.
    pub gateway_ports: usize,
}

/// A neighbour that the softswitch trusts: a proxy, or a SIP element between the two.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Where its messages come from; port 0: any port of that address.
    pub address: SocketAddr,
    /// The proxies whose registrations it may send; none for an element that relays calls only.
    pub identities: Vec<String>,
}

/// Links to the AuC.
#[derive(Debug, Clone, PartialEq)]
pub struct Aaa {
    /// What is spoken, and over what.
    pub transport: AaaTransport,
    /// The AuC's addresses, in order of preference.
    pub servers: Vec<AaaServer>,
    /// Our certificate and the authorities accepted; over TLS only.
    pub tls: Option<Tls>,
    /// UDP source ports, or connections, a server: each has its own 256 identifiers.
    pub lanes: u16,
    /// Most requests outstanding at one server.
    pub window: usize,
    /// Most questions in flight or waiting, over all servers.
    pub questions: usize,
    /// Most registration records in flight or waiting.
    pub records: usize,
    /// How long a question may take altogether; below the proxy's patience with the core.
    pub patience: Duration,
    /// UDP: the first repetition follows after this; later ones after twice as long each.
    pub repeat_first: Duration,
    /// UDP: the doubling stops here.
    pub repeat_most: Duration,
    /// A server unanswered for this long is down, and another one is asked.
    pub dead_after: Duration,
    /// Time between probes of a server that is down.
    pub probe_every: Duration,
    /// Silence on a connection after which it is probed.
    pub watchdog: Duration,
}

/// What is spoken between softswitch and AuC, and over what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AaaTransport {
    /// RADIUS over TLS 1.3.
    RadSec,
    /// RADIUS over UDP, for a laboratory.
    Udp,
    /// Diameter over TLS 1.3.
    DiameterTls,
    /// Diameter over TCP, for a laboratory or towards a relay on the same host.
    DiameterTcp,
}

/// One AuC, or a proxy or relay on the way to it.
#[derive(Debug, Clone, PartialEq)]
pub struct AaaServer {
    /// Authentication.
    pub address: SocketAddr,
    /// Accounting; the same as `address` where there are connections.
    pub accounting: SocketAddr,
    /// UDP: the shared secret.
    pub secret: Option<SecretSource>,
    /// TLS: the name that its certificate must bear.
    pub name: Option<String>,
    /// Realms that it leads to; none: all.
    pub realms: Vec<String>,
}

/// The signalling proxy.
#[derive(Debug, Clone, PartialEq)]
pub struct Proxy {
    /// IDsp.
    pub identity: String,
    /// Digest realm of its domain.
    pub realm: String,
    /// Further realms whose terminals it serves.
    pub realms: Vec<String>,
    /// The core side.
    pub core: Core,
    /// The terminals' side.
    pub edge: Edge,
}

impl Proxy {
    /// Every realm that is named here; it alone where no other is.
    pub fn named_realms(&self) -> Vec<&str> {
        let routes = self.core.routes.iter().filter_map(|route| route.realm.as_deref());
        core::iter::once(self.realm.as_str()).chain(self.realms.iter().map(String::as_str)).chain(routes).collect()
    }
}

impl Softswitch {
    /// Where peers reach it, by key.
    pub fn listens(&self) -> impl Iterator<Item = (&'static str, SocketAddr)> {
        let keys = ["listen", "listen_mgcp", "listen_h248", "listen_ras"];
        let all = [self.listen, self.listen_mgcp, self.listen_h248, self.listen_ras];
        keys.into_iter().zip(all).filter_map(|(key, address)| Some((key, address?)))
    }
}
