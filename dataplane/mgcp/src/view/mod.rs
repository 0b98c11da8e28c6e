//! A message seen in place: checked once, then read without fail. Nothing is copied and nothing allocated.
//!
//! Limits: a datagram of [`DATAGRAM_MAX`] octets and [`PARTS_MAX`] piggy-backed messages, [`LINES_MAX`] parameter lines a
//! message, [`EVENTS_MAX`] events a list; every octet is looked at a fixed number of times.

pub mod endpoint;
pub mod events;
mod index;
pub mod name;
mod parts;

pub use endpoint::Endpoint;
pub use events::{Event, Events};
pub use index::Lines;
pub use name::{Name, Verb};
pub use parts::Parts;

use crate::code::{Code, what};
use portunus_signalling::{Fault, FaultKind};

/// Longest datagram in octets. RFC 3435 section 3.5.4 expects 4000; larger ones are announced by `MD`.
pub const DATAGRAM_MAX: usize = 16_384;
/// Most messages in a datagram (RFC 3435 section 3.5.5).
pub const PARTS_MAX: usize = 32;
/// Most parameter lines in a message: the audit of a gateway with hundreds of endpoints names each on its own line.
pub const LINES_MAX: usize = 1024;
/// Most events in a list.
pub const EVENTS_MAX: usize = 64;
/// Highest transaction identifier (RFC 3435 section 3.2.1.2).
pub const TRANSACTION_MAX: u32 = 999_999_999;

/// A message's first line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start<'m> {
    /// A command.
    Command {
        /// What is asked.
        verb: Verb,
        /// Of whom.
        endpoint: Endpoint<'m>,
    },
    /// A response.
    Response {
        /// 0 to 999; 0 acknowledges a response.
        code: Code,
        /// The package that a code of 800 to 899 belongs to.
        package: Option<&'m [u8]>,
    },
}

/// A parameter line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line<'m> {
    /// Which.
    pub name: Name,
    /// The name as it stands.
    pub spelled: &'m [u8],
    /// The value without blanks around it.
    pub value: &'m [u8],
    /// Offset of the value in the message.
    pub at: usize,
}

/// One command or response.
#[derive(Debug, Clone)]
pub struct Message<'m> {
    octets: &'m [u8],
    start: Start<'m>,
    transaction: u32,
    /// Where the parameter lines begin and end, and where what follows them begins.
    lines: (usize, usize),
    body_at: usize,
}

pub(crate) const fn fault(kind: FaultKind, what: &'static str, at: usize) -> Fault {
    Fault { kind, what, at }
}

impl<'m> Message<'m> {
    /// Reads one message, as [`Parts`] cuts it: no line with a single dot is in it.
    ///
    /// # Errors
    /// A [`Fault`] whose `what` is one of [`crate::code::what`]. `Unreadable`: no answer is possible, since there is no
    /// transaction to answer.
    pub fn parse(octets: &'m [u8]) -> Result<Self, Fault> {
        index::message(octets)
    }

    /// Reads a datagram that must hold a single message.
    ///
    /// # Errors
    /// As [`Message::parse`]; `Malformed` where there are several.
    pub fn alone(octets: &'m [u8]) -> Result<Self, Fault> {
        let mut parts = Parts::new(octets);
        let first = parts.next().unwrap_or_default();
        if parts.next().is_some() {
            return Err(fault(FaultKind::Malformed, what::PIGGY_BACK, first.len()));
        }
        Self::parse(first)
    }

    /// The transaction of a command, however broken the rest of it may be: what an error can be said of.
    pub fn salvage(octets: &[u8]) -> Option<u32> {
        index::command_transaction(octets)
    }

    /// The first line.
    pub fn start(&self) -> Start<'m> {
        self.start
    }

    /// The transaction identifier, 1 to [`TRANSACTION_MAX`].
    pub fn transaction(&self) -> u32 {
        self.transaction
    }

    /// Verb and endpoint of a command.
    pub fn command(&self) -> Option<(Verb, Endpoint<'m>)> {
        match self.start {
            Start::Command { verb, endpoint } => Some((verb, endpoint)),
            Start::Response { .. } => None,
        }
    }

    /// The code of a response.
    pub fn code(&self) -> Option<Code> {
        match self.start {
            Start::Response { code, .. } => Some(code),
            Start::Command { .. } => None,
        }
    }

    /// All of it, as it was read.
    pub fn octets(&self) -> &'m [u8] {
        self.octets
    }

    /// What follows the empty line: session descriptions, untouched.
    pub fn body(&self) -> &'m [u8] {
        self.octets.get(self.body_at..).unwrap_or_default()
    }

    /// The parameter lines in order.
    pub fn lines(&self) -> Lines<'m> {
        index::lines(self.octets, self.lines)
    }

    /// The value of the first line of this name.
    pub fn value(&self, name: Name) -> Option<&'m [u8]> {
        self.find(name).map(|line| line.value)
    }

    /// The first line of this name.
    pub fn find(&self, name: Name) -> Option<Line<'m>> {
        self.lines().find(|line| line.name == name)
    }

    /// The last line.
    pub fn last(&self) -> Option<Line<'m>> {
        self.lines().last()
    }

    /// The events or signals of a list: `R`, `S`, `O`, `T` or `ES`.
    pub fn events(&self, name: Name) -> Events<'m> {
        Events::new(self.value(name).unwrap_or_default())
    }
}

/// True for a request identifier: 1 to 32 hexadecimal digits (RFC 3435 section 3.2.2.18).
pub fn is_request_id(value: &[u8]) -> bool {
    (1..=32).contains(&value.len()) && value.iter().all(u8::is_ascii_hexdigit)
}
