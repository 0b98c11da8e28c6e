//! The contract that every mechanism for datagrams meets, and the table of mechanisms.

use crate::esp::Esp;
use crate::keys::{Keys, TrafficKey};
use crate::sealed::Sealed;
use crate::tls;
use core::hint::black_box;
use core::ops::Range;
use portunus_codec::Writer;
use portunus_keydist::mech::{Entry, Mech, Sel};
use portunus_keydist::schedule::{Secret, TrafficCtx};

/// Why a protected message was dropped; each is a counter, none is ever answered. All are the peer's (or an
/// attacker's) doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Dropped {
    /// Shorter than header and tag.
    Short,
    /// A NAT's keep-alive, one octet 0xFF (RFC 3948 section 2.3): nobody's fault.
    KeepAlive,
    /// Four zero octets where the SPI stands: a key exchange's message (RFC 3948 section 2.2), which nobody here reads.
    Marker,
    /// A handle that no session can have.
    Handle,
    /// Not this mechanism's first octet.
    Magic,
    /// A version that this implementation does not speak.
    Version,
    /// A protocol number that does not exist, or is not the session's.
    Protocol,
    /// Flags that are not zero.
    Flags,
    /// Sequence number 0.
    Sequence,
    /// A length that the mechanism's messages do not have: no whole number of words.
    Length,
    /// It does not verify: other key, other direction, or altered.
    Unverified,
    /// It verifies and breaks a rule on its content: protocol 0 that is not empty, a length inside that exceeds it.
    Content,
    /// It verifies and its padding is not 1, 2, 3 and so on (RFC 4303 section 2.4), or longer than it.
    Padding,
    /// It verifies and carries neither UDP nor nothing.
    NextHeader,
    /// It verifies and its inner ports are not those agreed on.
    Ports,
}

impl Dropped {
    /// True for what only the holder of the key can have sent.
    pub const fn is_verified(self) -> bool {
        matches!(self, Self::Content | Self::Padding | Self::NextHeader | Self::Ports)
    }
}

/// Why a message was not sealed. Ours: the session must be renewed, or the buffer was too small.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SealError {
    /// The output does not fit.
    Full,
    /// The sequence number is 0 or past the mechanism's limit.
    Sequence,
    /// Content of a protocol number that does not exist.
    Content,
    /// The handle is none of this mechanism's.
    Handle,
}

impl core::fmt::Display for SealError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Full => "the protected message does not fit in its buffer",
            Self::Sequence => "no sequence number is left under this key",
            Self::Content => "content and protocol number do not belong together",
            Self::Handle => "the handle is none that this mechanism's messages can bear",
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
}

/// What a message that verified is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Said {
    /// Signalling of the session's protocol.
    Message,
    /// No content: the confirmation of a key, a question for a sign of life, and the answer to either.
    Confirmation,
    /// A dummy, sent to hide when something is said (RFC 4303 section 2.6). It confirms nothing and is not answered.
    Nothing,
}

/// A message that verified.
#[derive(Debug, PartialEq, Eq)]
pub struct Opened<'d> {
    /// What it is.
    pub said: Said,
    /// The content, in place; empty unless it is a [`Said::Message`].
    pub content: &'d mut [u8],
}

/// One end of a session: what it finds the messages that it receives by, and the port inside them. A terminal names its
/// own in its list, a proxy in its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct End {
    /// The handle; 0 where the mechanism uses the proxy's in both directions.
    pub handle: u64,
    /// The inner port; 0 where the mechanism has none.
    pub port: u16,
}

/// One direction of a session: what its messages bear besides their number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flow {
    /// The receiver's handle.
    pub handle: u64,
    /// The protocol of every content: 1 SIP, 2 MGCP, 3 H.248, 4 RAS.
    pub protocol: u8,
    /// The sender's and the receiver's inner port.
    pub ports: (u16, u16),
}

impl Flow {
    /// A direction of a mechanism that carries no inner ports.
    pub const fn plain(handle: u64, protocol: u8) -> Self {
        Self { handle, protocol, ports: (0, 0) }
    }

    /// From the terminal to the proxy.
    pub const fn c2s(terminal: End, proxy: End, protocol: u8) -> Self {
        Self { handle: proxy.handle, protocol, ports: (terminal.port, proxy.port) }
    }

    /// From the proxy to the terminal.
    pub const fn s2c(terminal: End, proxy: End, protocol: u8) -> Self {
        let handle = if terminal.handle == 0 { proxy.handle } else { terminal.handle };
        Self { handle, protocol, ports: (proxy.port, terminal.port) }
    }

    /// Whether `len` octets of content may be sent.
    pub(crate) const fn carries(&self, len: usize) -> bool {
        len == 0 || (self.protocol != 0 && self.protocol <= PROTOCOL_MAX)
    }
}

/// The highest protocol number.
pub(crate) const PROTOCOL_MAX: u8 = 4;

/// One message to open in a batch.
#[derive(Debug)]
pub struct OpenJob<'d> {
    /// The receiving direction's key of the session that the handle named.
    pub key: &'d TrafficKey,
    /// The receiving direction.
    pub flow: Flow,
    /// The datagram; its content is deciphered in place.
    pub datagram: &'d mut [u8],
    /// The outcome: what it is and where the content stands.
    pub result: Result<(Said, Range<usize>), Dropped>,
}

/// One message to seal in a batch, in place.
#[derive(Debug)]
pub struct SealJob<'d> {
    /// The sending direction's key.
    pub key: &'d TrafficKey,
    /// The sending direction.
    pub flow: Flow,
    /// The sequence number, never used before under this key.
    pub seq: u64,
    /// Octets of content; they stand in `buffer` behind [`Format::head`] octets of room.
    pub len: usize,
    /// Where the datagram is made, from its beginning.
    pub buffer: &'d mut [u8],
    /// The outcome: octets of the datagram.
    pub result: Result<usize, SealError>,
}

/// How a mechanism's messages name a session at the proxy. The worker that holds it stands in one octet, so that the
/// kernel finds it too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Handles {
    /// 64 bits, the worker in the first octet.
    Wide,
    /// 32 bits, 256 or more, the worker in the last octet.
    Narrow,
}

/// The numbers of a mechanism.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Format {
    /// The proxy's UDP port unless configured otherwise.
    pub port: u16,
    /// Octets before the content.
    pub head: usize,
    /// Most octets after the content.
    pub tail: usize,
    /// Octets of the shortest datagram that can verify.
    pub shortest: usize,
    /// The last sequence number that may be used under one key; below 2^32.
    pub seq_max: u64,
    /// How sessions are named.
    pub handles: Handles,
    /// Which octet of a datagram names the worker.
    pub worker_octet: u32,
    /// What keeps a NAT's mapping alive and says nothing, where the mechanism has such a thing ([`Dropped::KeepAlive`]).
    pub keep_alive: Option<&'static [u8]>,
}

/// A mechanism that protects one message a datagram, both ways.
///
/// Implementations hold no state: keys and directions are arguments, sequence numbers and replay windows are the
/// session's.
pub trait Mechanism: Sync {
    /// Which one.
    fn mech(&self) -> Mech;

    /// Its numbers.
    fn format(&self) -> &'static Format;

    /// The session's keys from S, by direction, under this mechanism's labels.
    fn derive(&self, secret: &Secret, ctx: &TrafficCtx<'_>) -> Keys;

    /// What the terminal named of its own end in its list; `None`: the entry lacks a parameter.
    fn offered(&self, entry: &Entry<'_>) -> Option<End>;

    /// The answer that names the proxy's end, and the UDP port that it listens at.
    fn answer(&self, proxy: End, port: u16) -> Sel;

    /// The proxy's end in an answer, and its UDP port; `None`: the answer lacks a parameter.
    fn answered(&self, sel: &Sel) -> Option<(End, u16)>;

    /// Reads the header: bounded work, no key.
    ///
    /// # Errors
    /// [`Dropped`] with the reason.
    fn peek(&self, datagram: &[u8]) -> Result<Peek, Dropped>;

    /// Verifies and deciphers in place; returns what it is and where the content stands in `datagram`. The caller has
    /// asked the replay window before and commits after.
    ///
    /// # Errors
    /// [`Dropped`] with the reason; the datagram's octets are then worthless.
    fn open_range(&self, key: &TrafficKey, flow: &Flow, datagram: &mut [u8]) -> Result<(Said, Range<usize>), Dropped>;

    /// Octets of the datagram for so many of content.
    fn sealed_len(&self, content: usize) -> usize;

    /// Protects the `len` octets of content that stand in `buffer` behind [`Format::head`] octets of room; no content
    /// is the confirmation. Returns the octets of the datagram, which stands at the beginning of `buffer`.
    ///
    /// # Errors
    /// [`SealError`]; the buffer then holds no message.
    fn seal_in_place(
        &self,
        key: &TrafficKey,
        flow: &Flow,
        seq: u64,
        len: usize,
        buffer: &mut [u8],
    ) -> Result<usize, SealError>;

    /// As [`Mechanism::open_range`].
    ///
    /// # Errors
    /// As there.
    fn open<'d>(&self, key: &TrafficKey, flow: &Flow, datagram: &'d mut [u8]) -> Result<Opened<'d>, Dropped> {
        let (said, range) = self.open_range(key, flow, datagram)?;
        let content = datagram.get_mut(range).ok_or(Dropped::Short)?;
        Ok(Opened { said, content })
    }

    /// Appends the protected form of `content` to `w`.
    ///
    /// # Errors
    /// [`SealError`]; `w` is as before.
    fn seal(
        &self,
        key: &TrafficKey,
        flow: &Flow,
        seq: u64,
        content: &[u8],
        w: &mut Writer<'_>,
    ) -> Result<(), SealError> {
        let (before, head) = (w.len(), self.format().head);
        let Some(room) = w.reserve(self.sealed_len(content.len())) else {
            w.truncate(before);
            return Err(SealError::Full);
        };
        if let Some(place) = room.get_mut(head..head + content.len()) {
            place.copy_from_slice(content);
        }
        let sealed = self.seal_in_place(key, flow, seq, content.len(), room);
        if sealed.is_err() {
            // What stands there now may be the content in the clear.
            room.fill(0);
            w.truncate(before);
        }
        sealed.map(|_| ())
    }

    /// Opens a batch: touches every key and header first, so that their cache misses overlap, then computes.
    fn open_batch(&self, jobs: &mut [OpenJob<'_>]) {
        black_box(jobs.iter().fold(0, |sum, job| sum ^ job.key.touch() ^ first(job.datagram)));
        for job in jobs {
            job.result = self.open_range(job.key, &job.flow, job.datagram);
        }
    }

    /// Seals a batch in place, likewise.
    fn seal_batch(&self, jobs: &mut [SealJob<'_>]) {
        black_box(jobs.iter().fold(0, |sum, job| sum ^ job.key.touch() ^ first(job.buffer)));
        for job in jobs {
            job.result = self.seal_in_place(job.key, &job.flow, job.seq, job.len, job.buffer);
        }
    }
}

fn first(octets: &[u8]) -> u8 {
    octets.first().copied().unwrap_or_default()
}

impl core::fmt::Debug for dyn Mechanism {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.mech().token())
    }
}

/// What carries a mechanism's messages.
#[derive(Debug, Clone, Copy)]
pub enum Carrier {
    /// UDP, one message a datagram.
    Datagram(&'static dyn Mechanism),
    /// A TCP connection (the room of `tls`).
    Stream,
}

/// One line of the table.
#[derive(Debug, Clone, Copy)]
pub struct Room {
    /// The mechanism.
    pub mech: Mech,
    /// What carries it.
    pub carrier: Carrier,
}

/// The mechanisms that exist here. A policy may only allow what has a line.
pub const TABLE: &[Room] = &[
    Room { mech: Mech::Sealed, carrier: Carrier::Datagram(&Sealed) },
    Room { mech: Mech::Esp, carrier: Carrier::Datagram(&Esp) },
    tls::ROOM,
];

/// The line of a mechanism.
pub fn room(mech: Mech) -> Option<&'static Room> {
    TABLE.iter().find(|r| r.mech == mech)
}

/// A mechanism, where it is one for datagrams that exists here.
pub fn datagrams(mech: Mech) -> Option<&'static dyn Mechanism> {
    match room(mech)?.carrier {
        Carrier::Datagram(mechanism) => Some(mechanism),
        Carrier::Stream => None,
    }
}
