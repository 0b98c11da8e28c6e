//! Why a registration attempt came to nothing, and what to do about it.

use portunus_keydist::steps::Refusal;
use portunus_keydist::terminal::{self as machine, Reject};

/// Whose fault a failure is, as far as the terminal can know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Blame {
    /// The proxy, the core or the network between.
    Peer,
    /// Names, keys or mechanisms that do not fit together.
    Configuration,
    /// This terminal.
    Us,
}

/// Why an attempt failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Failure {
    /// No answer to s1 (`step` 1) or s7 (`step` 7) before the give-up time.
    Silent {
        /// The step that was not answered.
        step: u8,
    },
    /// 403, the one refusal for every cause: wrong key, unknown identity, wrong proxy name.
    Denied,
    /// 494: no mechanism offered is acceptable to the proxy.
    Mechanism,
    /// 400: the proxy could not read the message.
    Malformed,
    /// 503: overload, or the core cannot be reached.
    Busy {
        /// Seconds to wait that the proxy asked for.
        retry_after_s: u32,
    },
    /// The clock was still refused after it had been corrected.
    Clock,
    /// An answer did not pass the terminal's checks.
    Rejected(Reject),
    /// s10 was good, but nothing protected ever came back: the session died unconfirmed.
    Unconfirmed,
    /// The stream to the proxy could not be opened or was lost.
    Connection,
    /// Any other final answer.
    Status(u16),
    /// An active session that stopped answering.
    Lost,
    /// The names are so long that no message can hold them.
    TooLong,
}

impl Failure {
    /// From a refusal and the code that it came with, where that says more.
    pub(crate) const fn of_refusal(refusal: &Refusal, status: Option<u16>) -> Self {
        match (refusal, status) {
            (Refusal::Stale { .. }, _) => Self::Clock,
            (Refusal::Mechanism, _) => Self::Mechanism,
            (Refusal::Busy { retry_after_s }, _) => Self::Busy { retry_after_s: *retry_after_s },
            (Refusal::Denied, None | Some(403)) => Self::Denied,
            (Refusal::Malformed, None | Some(400)) => Self::Malformed,
            (_, Some(status)) => Self::Status(status),
        }
    }

    /// From what the role machine says; `step` is the one whose answer was awaited.
    pub(crate) const fn of_machine(failure: machine::Failure, step: u8) -> Self {
        match failure {
            machine::Failure::Silence => Self::Silent { step },
            machine::Failure::Unconfirmed => Self::Unconfirmed,
            machine::Failure::Refused(refusal) => Self::of_refusal(&refusal, None),
            machine::Failure::Rejected(reject) => Self::Rejected(reject),
        }
    }

    /// A stable word for tables and counters.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Silent { step: 1 } => "silent-s1",
            Self::Silent { .. } => "silent-s7",
            Self::Denied => "denied",
            Self::Mechanism => "mechanism",
            Self::Malformed => "malformed",
            Self::Busy { .. } => "busy",
            Self::Clock => "clock",
            Self::Rejected(Reject::Late) => "late",
            Self::Rejected(_) => "rejected",
            Self::Unconfirmed => "unconfirmed",
            Self::Connection => "connection",
            Self::Status(_) => "status",
            Self::Lost => "lost",
            Self::TooLong => "too-long",
        }
    }

    /// Whose fault it is.
    pub const fn blame(&self) -> Blame {
        match self {
            Self::Denied | Self::Mechanism | Self::Clock | Self::TooLong => Blame::Configuration,
            Self::Malformed => Blame::Us,
            _ => Blame::Peer,
        }
    }

    /// What to look at next, for whoever reads it.
    pub const fn next_move(&self) -> &'static str {
        match self {
            Self::Silent { step: 1 } => "check the proxy's address and port, and that it runs",
            Self::Silent { .. } => "the challenge came but the answer to it got lost: check the path and the core",
            Self::Denied => "check the identity, its key and the proxy's name; the proxy never says which is wrong",
            Self::Mechanism => "offer a mechanism that the proxy's policy allows",
            Self::Malformed => "a message of this terminal was not understood: report it with a capture",
            Self::Busy { .. } => "wait as long as the proxy said; it or its core is overloaded or cut off",
            Self::Clock => "set the clocks: terminal and proxy disagree although the terminal corrected its offset",
            Self::Rejected(Reject::Late) => "the path is slow or loses much; the terminal registers afresh at once",
            Self::Rejected(_) => {
                "somebody altered the answer, or the proxy does not hold the right key: do not trust it"
            }
            Self::Unconfirmed => "check that the port for protected datagrams is open in both directions",
            Self::Connection => "check the proxy's address, port and transport",
            Self::Status(_) => "look the status up; the registrar does not take this registration",
            Self::TooLong => "shorten the identity, the realm or the mechanism list",
            Self::Lost => "the proxy or the path went away; the terminal registers afresh",
        }
    }
}

impl core::fmt::Display for Failure {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Silent { step } => write!(f, "no answer to s{step}"),
            Self::Denied => f.write_str("refused (403)"),
            Self::Mechanism => f.write_str("no acceptable mechanism (494)"),
            Self::Malformed => f.write_str("malformed (400)"),
            Self::Busy { retry_after_s } => write!(f, "busy (503, retry after {retry_after_s} s)"),
            Self::Clock => f.write_str("clock refused twice"),
            Self::Rejected(why) => write!(f, "answer rejected: {why}"),
            Self::Unconfirmed => f.write_str("key not confirmed"),
            Self::Connection => f.write_str("no connection"),
            Self::Status(code) => write!(f, "refused ({code})"),
            Self::Lost => f.write_str("session lost"),
            Self::TooLong => f.write_str("the message does not fit"),
        }?;
        write!(f, "; {}", self.next_move())
    }
}

impl core::error::Error for Failure {}
