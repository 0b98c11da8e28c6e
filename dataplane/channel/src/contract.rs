//! The contract that every mechanism for datagrams meets, and the table of mechanisms.

use crate::sealed;
use portunus_codec::Writer;
use portunus_keydist::bugs::{Bug, planted};
use portunus_keydist::mech::Mech;
use portunus_keydist::schedule::{Secret, TrafficCtx};

/// Why a protected message was dropped; each is a counter, none is ever answered. All are the peer's (or an
/// attacker's) doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Dropped {
    /// Shorter than header and tag.
    Short,
    /// Not this mechanism's first octet.
    Magic,
    /// A version that this implementation does not speak.
    Version,
    /// A protocol number that does not exist.
    Protocol,
    /// Flags that are not zero.
    Flags,
    /// Sequence number 0.
    Sequence,
    /// It does not verify: other key, other direction, or altered.
    Unverified,
    /// It verifies and breaks a rule on its content: protocol 0 that is not empty.
    Content,
}

/// Why a message was not sealed. Ours: the session must be renewed, or the buffer was too small.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SealError {
    /// The output does not fit.
    Full,
    /// The sequence number is 0 or past the mechanism's limit.
    Sequence,
    /// Protocol 0 with a content, or a number that does not exist.
    Content,
}

impl core::fmt::Display for SealError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Full => "the protected message does not fit in its buffer",
            Self::Sequence => "no sequence number is left under this key",
            Self::Content => "content and protocol number do not belong together",
        })
    }
}

impl core::error::Error for SealError {}

/// What a header says before any key is touched; nothing of it is proven.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peek {
    /// The receiver's handle for the session (`kid`, SPI).
    pub handle: u64,
    /// The sequence number, for [`crate::ReplayWindow::check`].
    pub seq: u64,
    /// The protocol of the content, 0 for none.
    pub protocol: u8,
}

/// A message that verified.
#[derive(Debug, PartialEq, Eq)]
pub struct Opened<'d> {
    /// The header, now proven.
    pub peek: Peek,
    /// The content, in place.
    pub content: &'d mut [u8],
}

/// The keys of a session by direction.
#[derive(Debug, Clone)]
pub struct Keys<K> {
    /// Terminal to proxy.
    pub c2s: K,
    /// Proxy to terminal.
    pub s2c: K,
}

/// One message to open in a batch.
#[derive(Debug)]
pub struct OpenJob<'d, K> {
    /// The receiving direction's key of the session that the handle named.
    pub key: &'d K,
    /// The datagram; its content is deciphered in place.
    pub datagram: &'d mut [u8],
    /// The outcome: the header and where the content is.
    pub result: Result<(Peek, core::ops::Range<usize>), Dropped>,
}

/// One message to seal in a batch, in place.
#[derive(Debug)]
pub struct SealJob<'d, K> {
    /// The sending direction's key.
    pub key: &'d K,
    /// The receiver's handle.
    pub handle: u64,
    /// The protocol of the content, 0 for none.
    pub protocol: u8,
    /// The sequence number, never used before under this key.
    pub seq: u64,
    /// The content between [`Mechanism::HEAD`] octets before and [`Mechanism::TAIL`] octets after, which are written.
    pub datagram: &'d mut [u8],
    /// The outcome.
    pub result: Result<(), SealError>,
}

/// A mechanism that protects one message a datagram, both ways.
///
/// Implementations hold no state: keys are arguments, sequence numbers and replay windows are the session's.
pub trait Mechanism {
    /// Which one.
    const MECH: Mech;
    /// The key of one direction; erased when dropped.
    type Key: Clone + zeroize::ZeroizeOnDrop;
    /// Octets before the content.
    const HEAD: usize;
    /// Octets after the content.
    const TAIL: usize;
    /// The last sequence number that may be used under one key.
    const SEQ_MAX: u64;

    /// The session's keys from S, by direction, under this mechanism's labels.
    fn derive(secret: &Secret, ctx: &TrafficCtx<'_>) -> Keys<Self::Key>;

    /// Reads the header: bounded work, no key.
    ///
    /// # Errors
    /// [`Dropped`] with the reason.
    fn peek(datagram: &[u8]) -> Result<Peek, Dropped>;

    /// Verifies and deciphers in place. The caller has asked the replay window before and commits after.
    ///
    /// # Errors
    /// [`Dropped`] with the reason; the datagram's octets are then worthless.
    fn open<'d>(key: &Self::Key, datagram: &'d mut [u8]) -> Result<Opened<'d>, Dropped>;

    /// Protects the content that stands in `datagram` between `HEAD` and `TAIL` octets of room.
    ///
    /// # Errors
    /// [`SealError`]; the buffer then holds no message.
    fn seal_in_place(
        key: &Self::Key,
        handle: u64,
        protocol: u8,
        seq: u64,
        datagram: &mut [u8],
    ) -> Result<(), SealError>;

    /// Appends the protected form of `content` to `w`.
    ///
    /// # Errors
    /// [`SealError`]; `w` is as before.
    fn seal(
        key: &Self::Key,
        handle: u64,
        protocol: u8,
        seq: u64,
        content: &[u8],
        w: &mut Writer<'_>,
    ) -> Result<(), SealError> {
        let before = w.len();
        let Some(room) = w.reserve(Self::HEAD + content.len() + Self::TAIL) else {
            w.truncate(before);
            return Err(SealError::Full);
        };
        if let Some(place) = room.get_mut(Self::HEAD..Self::HEAD + content.len()) {
            place.copy_from_slice(content);
        }
        let sealed = Self::seal_in_place(key, handle, protocol, seq, room);
        if sealed.is_err() {
            // What stands there now may be the content in the clear.
            room.fill(0);
            w.truncate(before);
        }
        sealed
    }

    /// Opens a batch: touches every key and header first, so that their cache misses overlap, then computes.
    fn open_batch(jobs: &mut [OpenJob<'_, Self::Key>]);

    /// Seals a batch in place, likewise.
    fn seal_batch(jobs: &mut [SealJob<'_, Self::Key>]);
}

/// A sender's sequence numbers: from 1, each handed out once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sequence(u64);

impl Sequence {
    /// None handed out yet.
    pub const fn new() -> Self {
        Self(0)
    }

    /// The next number, up to `max`; `None` when they are used up, and ever after.
    pub fn take(&mut self, max: u64) -> Option<u64> {
        if self.0 >= max {
            return None;
        }
        if planted(Bug::SequenceRepeats) && self.0 % 4 == 3 {
            self.0 += 1;
            return Some(self.0 - 1);
        }
        self.0 += 1;
        Some(self.0)
    }

    /// The last number handed out; 0 before the first.
    pub const fn last(&self) -> u64 {
        self.0
    }

    /// True when seven eighths of `max` are used: time to register anew.
    pub const fn runs_low(&self, max: u64) -> bool {
        self.0 >= max - max / 8
    }
}

/// What carries a mechanism's messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carrier {
    /// UDP, one message a datagram.
    Datagram {
        /// Octets added to each message.
        overhead: usize,
        /// The last sequence number under one key.
        seq_max: u64,
    },
    /// A TCP connection (the room of `tls`).
    Stream,
}

/// One line of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// The mechanism.
    pub mech: Mech,
    /// The proxy's default port.
    pub port: u16,
    /// What carries it.
    pub carrier: Carrier,
}

impl Room {
    const fn datagram<M: Mechanism>(port: u16) -> Self {
        let carrier = Carrier::Datagram { overhead: M::HEAD + M::TAIL, seq_max: M::SEQ_MAX };
        Self { mech: M::MECH, port, carrier }
    }
}

/// The mechanisms that exist here. A policy may only allow what has a line.
pub const TABLE: &[Room] = &[Room::datagram::<sealed::Sealed>(sealed::PORT)];

/// The line of a mechanism.
pub fn room(mech: Mech) -> Option<&'static Room> {
    TABLE.iter().find(|r| r.mech == mech)
}
