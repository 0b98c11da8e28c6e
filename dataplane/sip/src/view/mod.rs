//! A SIP message (RFC 3261), indexed in place and checked once; afterwards the accessors cannot fail.
//!
//! [`Message::index`] finds the start line, every header and the body, and refuses what is not a SIP message or says
//! one thing twice. [`Message::parse`] also checks the headers that every message must have and those that decide
//! where it goes. Both keep offsets into the octets that they were given: nothing is copied, allocated or changed,
//! so what is passed on is what came, octet by octet.
//!
//! Limits: [`MESSAGE_MAX`] octets, [`HEADERS_MAX`] headers. Lines end with CRLF; a bare CR or LF is malformed, since
//! readers disagree about it.

mod check;
pub mod digest;
pub mod field;
mod index;
pub(crate) use index::{line_at, lines_at};
pub(crate) mod lex;
pub mod name;
pub mod uri;
pub(crate) mod words;

use digest::CUTS_MAX;
pub use digest::{Digest, Field};
pub use field::{Addr, Via};
pub use lex::{Items, Param, Params};
pub use name::Name;
pub use uri::Uri;

use arrayvec::ArrayVec;
use core::ops::Range;
use portunus_signalling::{Fault, FaultKind};

/// Longest message in octets.
pub const MESSAGE_MAX: usize = 16 * 1024;
/// Most header lines (folded lines count with the one that they continue).
pub const HEADERS_MAX: usize = 96;

/// Where one header stands. Ten octets, so that an index stays within a few cache lines.
#[derive(Debug, Clone, Copy)]
struct Header {
    name: Name,
    /// Offset of the line, and of its name.
    at: u16,
    /// The value, without white space at its ends.
    value: u16,
    value_end: u16,
}

/// A parameter of credentials that goes no further, and what goes with it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cut {
    pub(crate) field: Field,
    from: u16,
    to: u16,
}

impl Cut {
    pub(crate) fn range(&self) -> Range<usize> {
        self.from.into()..self.to.into()
    }
}

/// The start line.
#[derive(Debug, Clone, Copy)]
enum Start {
    /// End of the method and end of the Request-URI, which begins one octet after the method.
    Request { method_end: u16, uri_end: u16 },
    /// Status code, and end of the line.
    Response { status: u16, end: u16 },
}

/// The index of one message. About one kilobyte, on the stack.
#[derive(Debug, Clone)]
pub struct Message<'a> {
    /// From the start line to the end of the body.
    octets: &'a [u8],
    start: Start,
    headers: ArrayVec<Header, HEADERS_MAX>,
    /// Index of the first header of each name; 255: none.
    first: [u8; Name::COUNT],
    /// Offset of the empty line that ends the headers.
    blank: u16,
    /// What the check has read already.
    read: Option<Read<'a>>,
    /// What leaves the credentials when the proxy's own parameters do, where that was noted.
    cuts: ArrayVec<Cut, CUTS_MAX>,
}

/// Headers that every message has, read.
#[derive(Debug, Clone, Copy)]
struct Read<'a> {
    via: Via<'a>,
    from: Addr<'a>,
    to: Addr<'a>,
    /// A Contact does not expire at once.
    binds: bool,
}

/// Methods that something here decides on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)] // Each is the method of its name.
pub enum Method {
    Register,
    Invite,
    Ack,
    Bye,
    Cancel,
    Options,
    Message,
    Subscribe,
    Refer,
    /// Any other.
    Other,
}

impl Method {
    /// Methods are case-sensitive.
    pub fn of(token: &[u8]) -> Self {
        match token {
            b"REGISTER" => Self::Register,
            b"INVITE" => Self::Invite,
            b"ACK" => Self::Ack,
            b"BYE" => Self::Bye,
            b"CANCEL" => Self::Cancel,
            b"OPTIONS" => Self::Options,
            b"MESSAGE" => Self::Message,
            b"SUBSCRIBE" => Self::Subscribe,
            b"REFER" => Self::Refer,
            _ => Self::Other,
        }
    }

    /// True for the methods that may form a dialog.
    pub const fn forms_dialog(self) -> bool {
        matches!(self, Self::Invite | Self::Subscribe | Self::Refer)
    }
}

impl<'a> Message<'a> {
    /// Indexes and checks a message; see the module's description. Octets after the body that Content-Length gives
    /// are left out of the view (RFC 3261 section 18.3).
    ///
    /// # Errors
    /// A [`Fault`] that names the header and its octet offset.
    pub fn parse(octets: &'a [u8]) -> Result<Self, Fault> {
        let mut msg = Self::empty(octets);
        msg.fill()?;
        msg.check()?;
        Ok(msg)
    }

    /// The message, from the start line to the end of the body.
    pub fn octets(&self) -> &'a [u8] {
        self.octets
    }

    fn slice(&self, range: Range<u16>) -> &'a [u8] {
        self.octets.get(usize::from(range.start)..usize::from(range.end)).unwrap_or_default()
    }

    /// True for a request.
    pub fn is_request(&self) -> bool {
        matches!(self.start, Start::Request { .. })
    }

    /// The method of a request as written; of a response, that of its CSeq.
    pub fn method_token(&self) -> &'a [u8] {
        match self.start {
            Start::Request { method_end, .. } => self.slice(0..method_end),
            Start::Response { .. } => self.cseq().1,
        }
    }

    /// The method; see [`Message::method_token`].
    pub fn method(&self) -> Method {
        Method::of(self.method_token())
    }

    /// The Request-URI; empty in a response.
    pub fn uri(&self) -> &'a [u8] {
        match self.start {
            Start::Request { method_end, uri_end } => self.slice(method_end + 1..uri_end),
            Start::Response { .. } => &[],
        }
    }

    /// The status code; 0 in a request.
    pub fn status(&self) -> u16 {
        match self.start {
            Start::Request { .. } => 0,
            Start::Response { status, .. } => status,
        }
    }

    /// The reason phrase; empty in a request.
    pub fn reason(&self) -> &'a [u8] {
        match self.start {
            Start::Request { .. } => &[],
            Start::Response { end, .. } => self.slice(12.min(end)..end),
        }
    }

    /// The body.
    pub fn body(&self) -> &'a [u8] {
        self.octets.get(usize::from(self.blank) + 2..).unwrap_or_default()
    }

    /// Where the empty line stands that ends the headers: the place to add one.
    pub fn headers_end(&self) -> usize {
        usize::from(self.blank)
    }

    /// Every header in order: its name, its value and where its line stands, end of line included.
    pub fn headers(&self) -> impl Iterator<Item = (Name, &'a [u8], Range<usize>)> + '_ {
        let ends = self.headers.iter().skip(1).map(|h| h.at).chain([self.blank]);
        self.headers
            .iter()
            .zip(ends)
            .map(|(h, end)| (h.name, self.slice(h.value..h.value_end), usize::from(h.at)..usize::from(end)))
    }

    fn first(&self, name: Name) -> Option<(usize, &Header)> {
        let i = usize::from(*self.first.get(name as usize)?);
        self.headers.get(i).map(|h| (i, h))
    }

    /// True when a header of that name is there.
    pub fn has(&self, name: Name) -> bool {
        self.first(name).is_some()
    }

    /// The value of the first header of that name.
    pub fn value(&self, name: Name) -> Option<&'a [u8]> {
        self.first(name).map(|(_, h)| self.slice(h.value..h.value_end))
    }

    /// The values of all headers of that name, in order.
    pub fn values(&self, name: Name) -> impl Iterator<Item = &'a [u8]> + '_ {
        let from = self.first(name).map_or(self.headers.len(), |(i, _)| i);
        let rows = self.headers.get(from..).unwrap_or_default();
        rows.iter().filter(move |h| h.name == name).map(|h| self.slice(h.value..h.value_end))
    }

    /// The elements of a list header, over all its rows.
    pub fn items(&self, name: Name) -> impl Iterator<Item = &'a [u8]> + '_ {
        self.values(name).flat_map(Items::new)
    }

    /// What leaves these credentials when the proxy's own parameters do; `None` where it was not noted.
    pub(crate) fn cuts(&self, credentials: &[u8]) -> Option<&[Cut]> {
        let (from, first) = (self.offset(credentials), usize::from(self.cuts.first()?.from));
        (from..from + credentials.len()).contains(&first).then_some(&self.cuts)
    }

    /// Offset of a part of this message, as the accessors give them.
    pub fn offset(&self, part: &[u8]) -> usize {
        (part.as_ptr() as usize).wrapping_sub(self.octets.as_ptr() as usize).min(self.octets.len())
    }

    /// A fault at the first header of that name.
    pub fn fault(&self, kind: FaultKind, name: Name) -> Fault {
        Fault { kind, what: name.as_str(), at: self.first(name).map_or(0, |(_, h)| usize::from(h.at)) }
    }

    /// The topmost Via.
    pub fn via(&self) -> Via<'a> {
        match &self.read {
            Some(read) => read.via,
            None => self.vias().next().unwrap_or_default(),
        }
    }

    /// The Vias, topmost first. Those below the topmost are checked as they are read, and left out where malformed.
    pub fn vias(&self) -> impl Iterator<Item = Via<'a>> + '_ {
        self.items(Name::Via).filter_map(Via::parse)
    }

    fn addr(&self, name: Name) -> Addr<'a> {
        self.value(name).and_then(Addr::parse).unwrap_or_default()
    }

    /// From.
    pub fn from(&self) -> Addr<'a> {
        self.read.as_ref().map_or_else(|| self.addr(Name::From), |read| read.from)
    }

    /// To.
    pub fn to(&self) -> Addr<'a> {
        self.read.as_ref().map_or_else(|| self.addr(Name::To), |read| read.to)
    }

    /// Call-ID.
    pub fn call_id(&self) -> &'a [u8] {
        self.value(Name::CallId).unwrap_or_default()
    }

    /// CSeq: number and method.
    pub fn cseq(&self) -> (u32, &'a [u8]) {
        self.value(Name::CSeq).and_then(field::cseq).unwrap_or_default()
    }

    /// Max-Forwards; `None` when absent.
    pub fn max_forwards(&self) -> Option<u8> {
        self.value(Name::MaxForwards).and_then(check::max_forwards)
    }

    /// The Expires header in seconds.
    pub fn expires(&self) -> Option<u32> {
        self.value(Name::Expires).and_then(field::seconds)
    }

    /// True for `Contact: *`.
    pub fn contact_star(&self) -> bool {
        self.value(Name::Contact) == Some(b"*")
    }

    /// The Contacts, `*` left out.
    pub fn contacts(&self) -> impl Iterator<Item = Addr<'a>> + '_ {
        self.addrs(Name::Contact)
    }

    /// The elements of Route, Record-Route, Path, Service-Route or Contact.
    pub fn addrs(&self, name: Name) -> impl Iterator<Item = Addr<'a>> + '_ {
        self.items(name).filter_map(Addr::parse)
    }

    /// The seconds that a Contact of this REGISTER asks for, or of its answer has: its own `expires`, else the Expires
    /// header; `None` where neither says.
    pub fn contact_expires(&self, contact: &Addr<'_>) -> Option<u32> {
        contact.expires().or_else(|| self.expires())
    }

    /// True when some Contact does not expire at once.
    pub(crate) fn binds(&self) -> bool {
        let lasts = |contact: Addr<'_>| self.contact_expires(&contact) != Some(0);
        self.read.as_ref().map_or_else(|| self.contacts().any(lasts), |read| read.binds)
    }

    /// True when an option tag is in Require, Proxy-Require, Supported or the like.
    pub fn has_option(&self, name: Name, tag: &str) -> bool {
        self.items(name).any(|t| t.eq_ignore_ascii_case(tag.as_bytes()))
    }

    /// The parameters of Authorization, WWW-Authenticate or their Proxy- forms, of a first header of that name.
    /// `Ok(None)` when there is none.
    ///
    /// # Errors
    /// A [`Fault`] of kind `Malformed` naming the header: not Digest, or a parameter malformed or there twice.
    pub fn digest(&self, name: Name) -> Result<Option<Digest<'a>>, Fault> {
        let Some(value) = self.value(name) else { return Ok(None) };
        let read = match name {
            Name::AuthenticationInfo => Digest::list(value),
            _ => Digest::parse(value),
        };
        read.map(Some).ok_or_else(|| self.fault(FaultKind::Malformed, name))
    }

    /// The first header that only the core may send (spec section 2), as the fault that it is.
    ///
    /// # Errors
    /// A [`Fault`] of kind `Forbidden`.
    pub fn forbid_core_only(&self) -> Result<(), Fault> {
        match self.headers.iter().find(|h| h.name.is_core_only()) {
            Some(h) => Err(Fault { kind: FaultKind::Forbidden, what: h.name.as_str(), at: usize::from(h.at) }),
            None => Ok(()),
        }
    }
}
