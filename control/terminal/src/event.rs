//! What a terminal tells its owner.

use crate::failure::Failure;
use core::fmt;
use portunus_keydist::mech::Mech;

/// A step of the protocol as the terminal sees it, or confirmation after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Step {
    /// s1: the plain registration.
    S1,
    /// The proxy asks for s1 again with a cookie.
    Cookie,
    /// The proxy refuses the clock and says its own.
    Stale,
    /// s6: the challenge.
    S6,
    /// s7: the answer and the list.
    S7,
    /// s10: the key and the choice.
    S10,
    /// The first protected message.
    Confirm,
    /// The proxy's protected answer.
    Confirmed,
    /// A request sent again because no answer came.
    Again,
}

impl Step {
    /// The step's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::S1 => "s1",
            Self::Cookie => "cookie",
            Self::Stale => "stale",
            Self::S6 => "s6",
            Self::S7 => "s7",
            Self::S10 => "s10",
            Self::Confirm => "confirm",
            Self::Confirmed => "confirmed",
            Self::Again => "again",
        }
    }
}

/// What was agreed, without any secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Active {
    /// The mechanism chosen.
    pub mech: Mech,
    /// The handle that the proxy's datagrams bear.
    pub kid: u64,
    /// The key's lifetime in seconds.
    pub life_s: u32,
    /// The expiry granted, in seconds.
    pub expires_s: u32,
    /// From the intended start of the attempt to s10 accepted, in milliseconds.
    pub keyed_after_ms: u64,
    /// From the intended start of the attempt to the proxy's protected answer, in milliseconds.
    pub active_after_ms: u64,
}

/// What happened.
#[derive(Clone, PartialEq, Eq)]
pub enum Event {
    /// A step was seen; only with [`crate::Profile::ladder`].
    Step {
        /// Which.
        step: Step,
        /// When, monotonic milliseconds.
        at_ms: u64,
    },
    /// s10 was accepted; the session is provisional. Requests for demultiplexing by handle may start.
    Keyed {
        /// The handle that the proxy's datagrams bear.
        kid: u64,
    },
    /// A session of mechanism `tls` wants a connection: [`crate::Endpoint::connection_key`] says where to and with which
    /// key, and [`crate::Endpoint::on_secured`] or [`crate::Endpoint::on_secured_lost`] hears what came of it. With
    /// [`Event::Forget`] it is to be closed.
    Connect {
        /// Names the session.
        kid: u64,
    },
    /// The key was confirmed both ways: the session is active.
    Active(Active),
    /// An attempt failed.
    Failed {
        /// Why.
        why: Failure,
        /// Milliseconds until the next attempt; `None`: the terminal has stopped trying.
        retry_in_ms: Option<u64>,
    },
    /// The binding was refreshed inside the channel; the expiry granted, in seconds.
    Refreshed {
        /// Seconds.
        expires_s: u32,
    },
    /// The terminal de-registered and the session has ended.
    Deregistered,
    /// A handle no longer belongs to this terminal.
    Forget {
        /// The handle.
        kid: u64,
    },
    /// A request reached the terminal inside the channel and was answered.
    Request {
        /// Its method.
        method: String,
        /// Who sent it, as its From says.
        from: String,
        /// Its body.
        body: Vec<u8>,
        /// The status that it was answered with; 0 for ACK.
        status: u16,
    },
    /// Something reached the terminal inside the channel that answers nothing of its own; only with
    /// [`crate::Profile::through`].
    Inside {
        /// Its octets.
        message: Vec<u8>,
    },
    /// A final answer to a request of the terminal's; 408 when none came.
    Response {
        /// The number that [`crate::sip::SipTerminal::send_request`] returned.
        id: u32,
        /// Status code.
        status: u16,
    },
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Step { step, at_ms } => write!(f, "Step({} at {at_ms} ms)", step.name()),
            Self::Keyed { kid } => write!(f, "Keyed({kid:016x})"),
            Self::Connect { kid } => write!(f, "Connect({kid:016x})"),
            Self::Active(a) => write!(f, "{a:?}"),
            Self::Failed { why, retry_in_ms } => write!(f, "Failed({why:?}, retry in {retry_in_ms:?} ms)"),
            Self::Refreshed { expires_s } => write!(f, "Refreshed({expires_s} s)"),
            Self::Deregistered => f.write_str("Deregistered"),
            Self::Forget { kid } => write!(f, "Forget({kid:016x})"),
            Self::Request { method, from, body, status } => {
                write!(f, "Request({method} from {from}, {} octets, answered {status})", body.len())
            }
            Self::Inside { message } => write!(f, "Inside({} octets)", message.len()),
            Self::Response { id, status } => write!(f, "Response({id}: {status})"),
        }
    }
}
