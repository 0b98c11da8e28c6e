//! What faces terminals, and its rules.

use super::{Border, KeySource, NamedPolicy, Span, Terms};
use crate::value::Size;
use core::net::SocketAddr;
use core::time::Duration;

/// What faces terminals: a proxy's access side, or the softswitch's own in the direct topology.
#[derive(Debug, Clone, PartialEq)]
pub struct Edge {
    /// Ksp, or Kss in the direct topology.
    pub key: KeySource,
    /// While one key replaces another: the other one. Whichever of both the AuC uses is understood.
    pub other_key: Option<KeySource>,
    /// Worker threads, one shard of terminals each.
    pub workers: usize,
    /// Cores that the workers are pinned to, in order; empty: not pinned.
    pub cores: Vec<usize>,
    /// The core of the control thread; `None` leaves the choice to the system.
    pub control_core: Option<usize>,
    /// Where terminals reach us.
    pub listeners: Vec<Listener>,
    /// Where sealed datagrams arrive, if anywhere.
    pub sealed: Option<Protected>,
    /// Where ESP in UDP arrives, if anywhere.
    pub ipsec: Option<Protected>,
    /// That the host's kernel does ESP, if it is to.
    pub kernel_esp: Option<KernelEsp>,
    /// Where connections of mechanism `tls` arrive, protocol by protocol; a node opens them behind those for datagrams.
    pub tls: Vec<Secured>,
    /// Rules.
    pub policy: Policy,
    /// The policies of the file that have a name.
    pub policies: Vec<NamedPolicy>,
    /// What crosses the border.
    pub border: Border,
    /// Fixed capacities.
    pub capacity: Capacity,
    /// What happens when there is too much.
    pub overload: Overload,
    /// What happens to those who fail again and again.
    pub lockout: Lockout,
    /// Sockets and batches.
    pub io: Io,
}

/// An address where terminals reach us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// The signalling protocol.
    pub protocol: ListenProtocol,
    /// What carries it.
    pub transport: ListenTransport,
    /// Where.
    pub address: SocketAddr,
    /// Where terminals reach it, where that differs (behind a translator, or for a wildcard address).
    pub advertised: Option<SocketAddr>,
    /// True: stock phones may register with digest authentication, without keys.
    pub stock_phones: bool,
    /// The policy with a name that holds for whoever registers here; `None`: the access side's own.
    pub policy: Option<String>,
}

impl Edge {
    /// Where protected datagrams arrive, mechanism by mechanism; a node opens them in this order, behind the listeners.
    pub fn protected(&self) -> impl Iterator<Item = (Mechanism, Protected)> {
        let place = |mechanism| Some((mechanism, self.place(mechanism)?));
        Mechanism::DATAGRAMS.into_iter().filter_map(place)
    }

    /// Where the datagrams of a mechanism arrive.
    pub const fn place(&self, mechanism: Mechanism) -> Option<Protected> {
        match mechanism {
            Mechanism::Sealed => self.sealed,
            Mechanism::Ipsec => self.ipsec,
            Mechanism::Tls => None,
        }
    }
}

/// Where protected datagrams arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Protected {
    /// Where.
    pub address: SocketAddr,
    /// Where terminals reach it, where that differs.
    pub advertised: Option<SocketAddr>,
}

/// That the host's kernel does the ESP of terminals, as far as it takes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KernelEsp {
    /// Where it receives ESP in UDP.
    pub address: SocketAddr,
    /// The first of the inner ports: two for each worker and each protocol spoken over UDP.
    pub ports: u16,
    /// Sessions at most.
    pub sessions: usize,
}

impl Edge {
    /// The first inner port of each protocol whose ESP the kernel does.
    pub fn kernel_rows(&self) -> Vec<(ListenProtocol, SocketAddr)> {
        let Some(kernel) = self.kernel_esp else { return Vec::new() };
        let spoken =
            |p: &ListenProtocol| self.listeners.iter().any(|l| l.protocol == *p && l.transport == ListenTransport::Udp);
        let protocols = [ListenProtocol::Sip, ListenProtocol::Mgcp, ListenProtocol::H248, ListenProtocol::Ras];
        let each = u16::try_from(2 * self.workers).unwrap_or(u16::MAX);
        let first = (0..).map(|nth: u16| kernel.ports.saturating_add(nth.saturating_mul(each)));
        let at = |(protocol, port)| (protocol, SocketAddr::new(kernel.address.ip(), port));
        protocols.into_iter().filter(spoken).zip(first).map(at).collect()
    }
}

/// Where connections of mechanism `tls` arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Secured {
    /// The protocol inside: SIP or H.248.
    pub protocol: ListenProtocol,
    /// Where.
    pub address: SocketAddr,
    /// Where terminals reach it, where that differs.
    pub advertised: Option<SocketAddr>,
}

/// Signalling protocols that a listener can speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListenProtocol {
    /// SIP, RFC 3261.
    Sip,
    /// MGCP, RFC 3435.
    Mgcp,
    /// H.248.1, text encoding.
    H248,
    /// H.323 RAS.
    Ras,
}

impl ListenProtocol {
    /// As it stands in a file.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Sip => "sip",
            Self::Mgcp => "mgcp",
            Self::H248 => "h248",
            Self::Ras => "ras",
        }
    }

    /// As people write it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sip => "SIP",
            Self::Mgcp => "MGCP",
            Self::H248 => "H.248",
            Self::Ras => "RAS",
        }
    }

    /// The key of [proxy.core] that names the elements of the core that speak it.
    pub const fn peers(self) -> &'static str {
        match self {
            Self::Sip => "softswitches",
            Self::Mgcp => "call_agents",
            Self::H248 => "controllers",
            Self::Ras => "gatekeepers",
        }
    }
}

/// What carries a listener's messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListenTransport {
    /// UDP.
    Udp,
    /// TCP.
    Tcp,
}

/// Security mechanisms that a policy may allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mechanism {
    /// `x-pkd-sealed`.
    Sealed,
    /// `ipsec-man`.
    Ipsec,
    /// `tls`.
    Tls,
}

impl Mechanism {
    /// Those whose messages are datagrams of any protocol.
    pub const DATAGRAMS: [Self; 2] = [Self::Sealed, Self::Ipsec];

    /// Its token, as in a file.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Sealed => "x-pkd-sealed",
            Self::Ipsec => "ipsec-man",
            Self::Tls => "tls",
        }
    }

    /// The section that says where its messages arrive.
    pub const fn section(self) -> &'static str {
        match self {
            Self::Sealed => "sealed",
            Self::Ipsec => "ipsec",
            Self::Tls => "tls",
        }
    }
}

/// The rules of an access side; a running process takes changes over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Mechanisms allowed, ours preferred first.
    pub mechanisms: Vec<Mechanism>,
    /// What else it allows.
    pub terms: Terms,
    /// How far a terminal's clock may be off, either way.
    pub clock_window: Duration,
    /// How long a challenge may be answered.
    pub challenge_life: Duration,
    /// How long an answer is kept for retransmissions of its request.
    pub answer_cache: Duration,
    /// A session key's lifetime.
    pub key_life: Duration,
    /// How long a session may stay provisional.
    pub confirm_within: Duration,
    /// How long the core may be silent before the terminal hears 503.
    pub core_timeout: Duration,
    /// How long a stock phone's session outlives its last granted registration.
    pub stock_life: Duration,
}

/// The fixed capacities of an access side, all workers together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capacity {
    /// Registered terminals.
    pub sessions: usize,
    /// Registrations under way; `None`: in proportion to `sessions`.
    pub pending: Option<usize>,
    /// Registrations a second that are expected at most; `None`: all terminals within half an hour, and at least 1000
    /// a worker.
    pub registrations: Option<usize>,
    /// Longest registration that is accepted.
    pub request: Size,
    /// Longest message that is written.
    pub message: Size,
    /// TCP connections.
    pub connections: usize,
}

/// When an s1 must show that its source is real, by a stateless cookie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cookies {
    /// From everybody.
    Always,
    /// Above a share of the pending room.
    Auto,
    /// Never.
    Never,
}

/// What happens when there is too much; shares of `capacity.pending` in percent. A running process takes changes
/// over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Overload {
    /// Whether cookies are asked for.
    pub cookies: Cookies,
    /// Above this share, with [`Cookies::Auto`], cookies are asked for.
    pub cookie_percent: u8,
    /// Above this share a new registration gets 503.
    pub busy_percent: u8,
    /// Above this share a new registration gets nothing.
    pub drop_percent: u8,
    /// Least and most Retry-After of a 503, drawn evenly between the two.
    pub retry_after: Span,
}

/// What happens to a (source, IDc) that fails repeatedly; a running process takes changes over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lockout {
    /// From this failure on a new attempt must wait; 0 switches lockouts off.
    pub slow_after: u16,
    /// The first wait; it doubles with each further failure.
    pub slow: Duration,
    /// From this failure on attempts are ignored.
    pub ignore_after: u16,
    /// For so long after the last failure, after which failures are forgotten.
    pub ignore: Duration,
}

/// Sockets and batches of a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Io {
    /// Datagrams that one system call moves.
    pub batch: usize,
    /// Receive buffer of each socket.
    pub receive_buffer: Size,
    /// Send buffer of each socket.
    pub send_buffer: Size,
    /// Each ring between a worker and control, in octets.
    pub ring: Size,
    /// How long a busy worker rests between small batches, so that the next is larger; zero: never.
    pub rest: Duration,
    /// A batch of so many messages is worth no rest.
    pub enough: usize,
    /// How long an idle TCP connection is kept.
    pub idle_connection: Duration,
    /// How long a TLS handshake may take.
    pub handshake: Duration,
}
