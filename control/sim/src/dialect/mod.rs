//! What the simulator must know of a signalling protocol beside the engine's contract: how its terminals are called,
//! what a proxy says outside sessions, and what attackers write and change. A further protocol is a file here and a
//! line in [`ALL`].

mod h248;
mod mgcp;
mod ras;
mod sip;

use core::net::SocketAddr;
use core::ops::Range;
use portunus_codec::Writer;
use portunus_keydist::steps::{S1, S6, S7, S10};
use portunus_keydist::{Idc, N1, Rand, Word};
use portunus_signalling::{FromTerminal, Marks, Protocol, Signalling, Text};

/// Every protocol that is simulated.
pub static ALL: &[&dyn Dialect] = &[&sip::Sip, &mgcp::Mgcp, &h248::H248, &ras::Ras];

/// The one of a protocol.
pub fn of(protocol: Protocol) -> &'static dyn Dialect {
    match ALL.iter().find(|d| d.protocol() == protocol) {
        Some(dialect) => *dialect,
        None => panic!("the simulator's own configuration: {protocol:?} is not simulated"),
    }
}

/// Who writes.
#[derive(Debug, Clone, Copy)]
pub struct Speaker<'a> {
    /// In whose name.
    pub idc: Idc<'a>,
    /// From where.
    pub at: SocketAddr,
    /// The transaction's number.
    pub number: u32,
    /// Chance, for whatever else names it.
    pub bits: u64,
}

/// What a proxy says outside sessions. `idc` is whom the message names, where it names anybody.
#[derive(Debug, Clone)]
pub enum Said<'m> {
    /// s6.
    Challenge {
        /// To whom.
        idc: Option<String>,
        /// The step.
        s6: S6<'m>,
    },
    /// The request for s1 with a cookie.
    Cookie {
        /// The N1 that it answers.
        n1: N1,
        /// The cookie.
        cookie: &'m [u8],
    },
    /// s10.
    Key {
        /// To whom.
        idc: Option<String>,
        /// The step.
        s10: S10<'m>,
        /// Where its MAC stands.
        mac: Range<usize>,
        /// Its MAC.
        mac_value: Word,
    },
    /// A registration without a key is granted (stock phones).
    Granted,
    /// What decides nothing, or refuses: receipts, provisional answers, errors.
    Harmless,
    /// A request that is none of these.
    Request,
}

/// A change that somebody on the path may make.
#[derive(Debug, Clone, Copy)]
pub enum Edit {
    /// The value between this and that octet becomes another one.
    Value(&'static [u8], u8, &'static [u8]),
    /// These octets, where they stand first, become those.
    Octets(&'static [u8], &'static [u8]),
}

/// A protocol.
pub trait Dialect: Sync {
    /// As the engine knows it.
    fn signalling(&self) -> &'static dyn Signalling;

    /// Which.
    fn protocol(&self) -> Protocol {
        self.signalling().protocol()
    }

    /// The port at which proxies and softswitches listen for it.
    fn port(&self) -> u16;

    /// The IDc of the subscriber of this name.
    fn idc(&self, name: &str) -> String;

    /// s1, as anybody may write it.
    fn s1(&self, who: &Speaker<'_>, s1: &S1<'_>) -> Option<Vec<u8>>;

    /// s7 in answer to the message `s6`, likewise.
    fn s7(&self, who: &Speaker<'_>, s6: &[u8], s7: &S7<'_>) -> Option<Vec<u8>>;

    /// Reads what a proxy says outside sessions.
    ///
    /// # Errors
    /// It is not of this protocol; why.
    fn said<'m>(&self, msg: &'m [u8], text: &'m mut Text) -> Result<Said<'m>, String>;

    /// The challenge that an s8 answers; `None`: it is none.
    fn s8(&self, msg: &[u8]) -> Option<Rand>;

    /// True for s2 and s8; `lane`: it passes on a terminal's own lane.
    fn is_step(&self, lane: bool, msg: &[u8]) -> bool {
        !lane || self.s8(msg).is_some()
    }

    /// Whom a message of a terminal's names as its sender; `None` where it names nobody.
    fn bears(&self, msg: &[u8]) -> Option<String>;

    /// True for a request of the core's.
    fn is_request(&self, msg: &[u8]) -> bool;

    /// What may be changed.
    fn edits(&self) -> &'static [Edit];

    /// Where words and MACs begin, each of 64 digits, and what ends them.
    fn proofs(&self) -> &'static [(&'static [u8], u8)];

    /// Something well-formed behind the end.
    fn tail(&self) -> &'static [u8];

    /// What a proxy might have said instead of this, had it said anything else; `bits` chooses.
    fn instead(&self, msg: &[u8], bits: u64) -> Option<Vec<u8>>;

    /// An unprotected request to `to`.
    fn plainly(&self, who: &Speaker<'_>, to: &str) -> Option<Vec<u8>>;

    /// What only the core's side may say of `who`.
    fn claim(&self, who: &Speaker<'_>, idsp: &str) -> Vec<u8>;

    /// What the owner of a session says in it in another's name, or against the rules.
    fn inside(&self, who: &Speaker<'_>, other: &str) -> Vec<u8>;
}

/// Reads what a terminal says outside its session; `None`: it is not of this protocol.
pub fn heard<'m>(dialect: &dyn Dialect, msg: &'m [u8], text: &'m mut Text) -> Option<FromTerminal<'m>> {
    dialect.signalling().read_marked(msg, &mut Marks::NONE.clone(), text).ok()
}

/// True for an s7 of this protocol.
pub fn is_s7(dialect: &dyn Dialect, msg: &[u8]) -> bool {
    matches!(heard(dialect, msg, &mut Text::new()), Some(FromTerminal::S7(_)))
}

/// Runs a writer in a fresh buffer; `None`: it does not fit.
pub fn written<E>(f: impl FnOnce(&mut Writer<'_>) -> Result<(), E>) -> Option<Vec<u8>> {
    let mut buf = [0u8; 4096];
    let mut w = Writer::new(&mut buf);
    f(&mut w).ok()?;
    w.finish().ok()?;
    Some(w.written().to_vec())
}

/// Replaces the first `what`.
pub fn replaced(bytes: &[u8], what: &[u8], with: &[u8]) -> Option<Vec<u8>> {
    let at = bytes.windows(what.len().max(1)).position(|w| w == what)?;
    Some([&bytes[..at], with, &bytes[at + what.len()..]].concat())
}

/// The value that begins behind `head` and ends before `end`.
pub fn value<'b>(bytes: &'b [u8], head: &[u8], end: u8) -> Option<&'b [u8]> {
    let at = bytes.windows(head.len()).position(|w| w == head)? + head.len();
    let rest = bytes.get(at..)?;
    rest.get(..rest.iter().position(|c| *c == end)?)
}
