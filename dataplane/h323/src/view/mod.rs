//! A checked view of a RAS message: gone through once, by the tables of H.225.0, then read where things stand.

mod address;
mod kind;
mod reasons;
mod token;

pub(crate) use address::DIGITS;
pub use address::{Alias, Aliases, Utf16};
pub use kind::Kind;
pub(crate) use token::number;
pub use token::{Element, Mac, Token};

use crate::schema::{Bad, Id, Places, WORDS, walk_noting};
use core::net::SocketAddr;
use portunus_codec::PerReader;
use portunus_signalling::{Fault, FaultKind, Marks};

/// Longest message in octets.
pub const MESSAGE_MAX: usize = 8192;

/// A message, checked: every root component and every extension addition that is read here has the form that H.225.0 gives
/// it, and what is not read bears a length that fits.
#[derive(Clone, Copy)]
pub struct Message<'m> {
    octets: &'m [u8],
    kind: Kind,
    seq: u16,
    pub(crate) places: Places,
}

impl core::fmt::Debug for Message<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{:?} {} ({} octets)", self.kind, self.seq, self.octets.len())
    }
}

const fn malformed(what: &'static str, bit: usize) -> Fault {
    Fault { kind: FaultKind::Malformed, what, at: bit / 8 }
}

impl From<Bad> for Fault {
    fn from(bad: Bad) -> Self {
        malformed(bad.what, bad.bit)
    }
}

/// What a message begins with: its kind, the sequence number where it can be told, and a reader behind the choice.
struct Head<'m> {
    kind: Kind,
    body: PerReader<'m>,
}

fn head(octets: &[u8]) -> Option<Head<'_>> {
    let mut r = PerReader::new(octets);
    if !r.bool()? {
        let kind = Kind::of_root(r.constrained(0, Kind::ROOT_MAX)?)?;
        return Some(Head { kind, body: r });
    }
    let kind = Kind::of_addition(r.small()?);
    let content = r.open()?;
    let end = r.bit() / 8;
    // A message ends where its open type does.
    (end == octets.len()).then(|| Head { kind, body: PerReader::at(octets, (end - content.len()) * 8) })
}

impl<'m> Message<'m> {
    /// Checks a whole datagram.
    ///
    /// # Errors
    /// [`FaultKind::Unreadable`]: no RAS message. [`FaultKind::TooBig`]: longer than [`MESSAGE_MAX`].
    /// [`FaultKind::Malformed`]: the choice was read, and what is behind it is not what it says. Kinds that H.225.0 has
    /// and that are not read here, and those that it may get, are [`Kind::Unknown`] and no fault.
    pub fn parse(octets: &'m [u8]) -> Result<Self, Fault> {
        Self::parse_into(octets, Places::new())
    }

    /// As [`Message::parse`], for a message that was parsed before and found to have a token of PKD1's. What is in the
    /// token is not there to be read.
    ///
    /// # Errors
    /// As [`Message::parse`].
    pub(crate) fn parse_again(octets: &'m [u8]) -> Result<Self, Fault> {
        Self::parse_into(octets, Places::checked())
    }

    fn parse_into(octets: &'m [u8], mut places: Places) -> Result<Self, Fault> {
        if octets.len() > MESSAGE_MAX {
            return Err(Fault { kind: FaultKind::TooBig, what: "message", at: MESSAGE_MAX });
        }
        let unreadable = Fault { kind: FaultKind::Unreadable, what: "RasMessage", at: 0 };
        let Head { kind, mut body } = head(octets).ok_or(unreadable)?;
        let Some(ty) = kind.ty() else {
            let seq = kind.seq_of_unread(&mut body).unwrap_or(0);
            return Ok(Self { octets, kind, seq, places });
        };
        walk_noting(ty, &mut body, &mut places)?;
        if body.left() >= 8 {
            return Err(malformed("RasMessage", body.bit()));
        }
        if places.lost {
            return Err(Fault { kind: FaultKind::TooBig, what: "message", at: MESSAGE_MAX });
        }
        let msg = Self { octets, kind, seq: 0, places };
        let seq = msg.number(Id::Seq, 1, 65_535).ok_or_else(|| malformed("requestSeqNum", 0))?;
        Ok(Self { seq: seq as u16, ..msg })
    }

    /// Notes where everything stands, for [`Message::marked`]; nothing of a message that is too long to say it.
    pub(crate) fn mark(&self, marks: &mut Marks) {
        marks.clear();
        if let (Some(words), Some(kind)) = (self.places.words(), self.kind.place()) {
            _ = marks.push(&words) && marks.push(&[self.seq, kind as u16]);
        }
    }

    /// A message that was checked and noted; without notes it is checked now.
    ///
    /// # Errors
    /// As [`Message::parse`].
    pub(crate) fn marked(octets: &'m [u8], marks: &Marks) -> Result<Self, Fault> {
        if let Some((words, &[seq, kind])) = marks.words().split_first_chunk::<WORDS>()
            && let Some(kind) = Kind::of_place(kind.into())
        {
            return Ok(Self { octets, kind, seq, places: Places::of_words(words) });
        }
        Self::parse(octets)
    }

    /// Kind and sequence number of a message that need not be complete: enough to answer one that is malformed.
    pub fn salvage(octets: &[u8]) -> Option<(Kind, u16)> {
        let Head { kind, mut body } = head(octets)?;
        let seq = kind.salvage_seq(&mut body)?;
        Some((kind, seq))
    }

    /// Its octets.
    pub const fn octets(&self) -> &'m [u8] {
        self.octets
    }

    /// What it is.
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// requestSeqNum; 0 for a kind that is not read here and does not show it.
    pub const fn seq(&self) -> u16 {
        self.seq
    }

    pub(crate) fn reader(&self, id: Id) -> Option<PerReader<'m>> {
        self.places.get(id).map(|bit| PerReader::at(self.octets, bit))
    }

    fn number(&self, id: Id, low: u32, high: u32) -> Option<u32> {
        self.reader(id)?.constrained(low, high)
    }

    fn bool(&self, id: Id) -> bool {
        self.reader(id).and_then(|mut r| r.bool()).unwrap_or(false)
    }

    /// Who the message says that it is of: endpointAlias, terminalAlias, srcInfo or sourceInfo, as the kind has it.
    pub fn aliases(&self) -> Aliases<'m> {
        Aliases::new(self.reader(Id::Alias))
    }

    /// True where that list is there, be it empty.
    pub fn has_aliases(&self) -> bool {
        self.places.get(Id::Alias).is_some()
    }

    /// destinationInfo.
    pub fn destination(&self) -> Aliases<'m> {
        Aliases::new(self.reader(Id::Destination))
    }

    /// endpointIdentifier.
    pub fn endpoint_id(&self) -> Option<Utf16<'m>> {
        Utf16::sized(&mut self.reader(Id::EndpointId)?, 1, 128)
    }

    /// gatekeeperIdentifier.
    pub fn gatekeeper_id(&self) -> Option<Utf16<'m>> {
        Utf16::sized(&mut self.reader(Id::GatekeeperId)?, 1, 128)
    }

    /// timeToLive in seconds.
    pub fn time_to_live(&self) -> Option<u32> {
        self.number(Id::TimeToLive, 1, u32::MAX)
    }

    /// keepAlive: a lightweight registration (H.225.0 section 7.9.1).
    pub fn keep_alive(&self) -> bool {
        self.bool(Id::KeepAlive)
    }

    /// answerCall of an admission request: the called endpoint asks.
    pub fn answer_call(&self) -> bool {
        self.bool(Id::AnswerCall)
    }

    /// needResponse of an InfoRequestResponse.
    pub fn need_response(&self) -> bool {
        self.bool(Id::NeedResponse)
    }

    /// delay of a RequestInProgress, in milliseconds.
    pub fn delay_ms(&self) -> Option<u32> {
        self.number(Id::Delay, 1, 65_535)
    }

    /// bandWidth in hundreds of bits a second.
    pub fn bandwidth(&self) -> Option<u32> {
        self.number(Id::BandWidth, 0, u32::MAX)
    }

    /// callReferenceValue.
    pub fn call_reference(&self) -> Option<u16> {
        self.number(Id::CallReference, 0, 65_535).map(|n| n as u16)
    }

    /// conferenceID, 16 octets.
    pub fn conference_id(&self) -> Option<&'m [u8]> {
        self.reader(Id::ConferenceId)?.octets(16)
    }

    /// The address that an endpoint says its RAS channel has, the first of several; what the spec (section 4) never answers
    /// to. `None` where it is none of IP.
    pub fn ras_address(&self) -> Option<SocketAddr> {
        let r = self.reader(Id::RasAddress)?;
        if self.kind == Kind::RegistrationRequest { address::first(r) } else { address::read(r) }
    }

    /// The call signalling address, the first of several, in the messages that register and locate.
    pub fn call_signal_address(&self) -> Option<SocketAddr> {
        let r = self.reader(Id::CallSignal)?;
        if self.kind == Kind::LocationConfirm { address::read(r) } else { address::first(r) }
    }

    /// destCallSignalAddress.
    pub fn destination_address(&self) -> Option<SocketAddr> {
        address::read(self.reader(Id::DestinationAddress)?)
    }

    /// The version of H.225.0 that its sender has: the last number of protocolIdentifier.
    pub fn version(&self) -> Option<u8> {
        let mut r = self.reader(Id::ProtocolId)?;
        let n = r.length()?;
        r.octets(n)?.strip_prefix(&crate::write::H225[..]).and_then(|rest| rest.first().copied())
    }

    /// rejectReason: the name's place in the root, or among the additions.
    pub fn reason(&self) -> Option<Reason> {
        let mut r = self.reader(Id::Reason)?;
        if !r.bool()? {
            let names = self.kind.reasons()?;
            return r.constrained(0, names - 1).map(|n| Reason::Root(n as u8));
        }
        let n = r.small()? as u8;
        let mut content = PerReader::new(r.open()?);
        let detail = match self.kind.security_error() {
            Some((at, bits)) if at == n && content.bool() == Some(false) => content.bits(bits).map(|n| n as u8),
            _ => None,
        };
        Some(Reason::Added(n, detail))
    }
}

/// A rejectReason as it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// An alternative of the root.
    Root(u8),
    /// An added alternative; with it, the name inside securityError if it is that.
    Added(u8, Option<u8>),
}
