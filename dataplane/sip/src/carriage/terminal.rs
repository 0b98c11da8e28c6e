//! The terminal's end: writes s1, s7 and what a user agent sends inside its session; reads the answers.

use crate::view::Message;
use core::net::SocketAddr;
use core::ops::Range;
use portunus_codec::{Full, Writer};
use portunus_keydist::ident::{Idc, N1};
use portunus_keydist::steps::{Refusal, S1, S6, S7, S10};
use portunus_signalling::{Fault, Transport};

/// A user agent's place in SIP: what all its registrations have in common.
#[derive(Debug, Clone, Copy)]
pub struct Agent<'a> {
    /// Who it is: To, From and digest username.
    pub idc: Idc<'a>,
    /// The digest realm.
    pub realm: &'a str,
    /// Request-URI and digest `uri` of its registrations, e.g. `sip:example.test`.
    pub registrar: &'a str,
    /// Its own address: the Via sent-by.
    pub local: SocketAddr,
    /// What its messages travel by.
    pub transport: Transport,
    /// Its Contact URI, without angle brackets.
    pub contact: &'a str,
    /// Call-ID of its registrations.
    pub call_id: &'a str,
    /// From tag of its registrations.
    pub from_tag: &'a str,
}

/// What tells one transaction from another.
#[derive(Debug, Clone, Copy)]
pub struct Txn<'a> {
    /// CSeq number.
    pub cseq: u32,
    /// Via branch, complete with the cookie `z9hG4bK`.
    pub branch: &'a str,
}

/// An answer to a registration, with what matches it to its request.
#[derive(Debug, Clone, Copy)]
pub struct Reply<'m> {
    /// Status code.
    pub status: u16,
    /// Branch of the topmost Via.
    pub branch: &'m [u8],
    /// Call-ID.
    pub call_id: &'m [u8],
    /// CSeq number.
    pub cseq: u32,
    /// The realm of the challenge, where there is one.
    pub realm: Option<&'m [u8]>,
    /// What it says.
    pub answer: Answer<'m>,
}

/// What an answer to a registration says.
#[derive(Debug, Clone, Copy)]
pub enum Answer<'m> {
    /// 1xx: wait.
    Provisional,
    /// s6.
    Challenge(S6<'m>),
    /// The stateless cookie: repeat s1 with it.
    Cookie {
        /// The N1 that it answers.
        n1: N1,
        /// The proxy's clock.
        ts: u64,
        /// The cookie, to be repeated octet by octet.
        cookie: &'m [u8],
    },
    /// The clock is off: the proxy's, in milliseconds since 1970 UTC.
    Stale {
        /// The N1 that it answers, where the answer says so.
        n1: Option<N1>,
        /// The proxy's clock.
        ts: u64,
    },
    /// s10. Its MAC is `mac_value`, found at `mac` in the message and computed over the message with
    /// [`crate::MAC_PLACEHOLDER`] in its place.
    Key {
        /// The step.
        s10: S10<'m>,
        /// Where the MAC's 64 digits stand.
        mac: Range16,
        /// The MAC, decoded.
        mac_value: [u8; 32],
    },
    /// 2xx without a key: a refresh, a de-registration or a stock phone's registration was granted.
    Granted,
    /// Anything else that is final, as the terminal's role machine hears it.
    Refused(Refusal),
    /// A digest challenge of RFC 7616, for a stock phone.
    Digest {
        /// The nonce as sent.
        nonce: &'m [u8],
        /// The algorithm token; absent means MD5.
        algorithm: Option<&'m [u8]>,
    },
}

/// A range of octets in a message, `Copy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range16 {
    /// First octet.
    pub start: u16,
    /// One past the last.
    pub end: u16,
}

impl From<Range16> for Range<usize> {
    fn from(r: Range16) -> Self {
        usize::from(r.start)..usize::from(r.end)
    }
}

/// A stock phone's answer to a digest challenge (RFC 7616 without qop).
#[derive(Debug, Clone, Copy)]
pub struct StockAnswer<'a> {
    /// The nonce answered.
    pub nonce: &'a str,
    /// `response`: lower-case hex.
    pub response: &'a str,
    /// `SHA-256` or `MD5`.
    pub algorithm: &'a str,
}

/// s1.
///
/// # Errors
/// [`Full`].
pub fn write_s1(a: &Agent<'_>, t: &Txn<'_>, expires: u32, s1: &S1<'_>, w: &mut Writer<'_>) -> Result<(), Full> {
    Err(Full)
}

/// s7.
///
/// # Errors
/// [`Full`].
pub fn write_s7(a: &Agent<'_>, t: &Txn<'_>, expires: u32, s7: &S7<'_>, w: &mut Writer<'_>) -> Result<(), Full> {
    Err(Full)
}

/// A registration inside the session: a refresh, or with `expires` 0 the end of it.
///
/// # Errors
/// [`Full`].
pub fn write_register(a: &Agent<'_>, t: &Txn<'_>, expires: u32, w: &mut Writer<'_>) -> Result<(), Full> {
    Err(Full)
}

/// A stock phone's registration: first without, then with its answer.
///
/// # Errors
/// [`Full`].
pub fn write_stock_register(
    a: &Agent<'_>,
    t: &Txn<'_>,
    expires: u32,
    answer: Option<&StockAnswer<'_>>,
    w: &mut Writer<'_>,
) -> Result<(), Full> {
    Err(Full)
}

/// Reads the answer to a registration. `msg` is the whole datagram or framed message.
///
/// # Errors
/// A [`Fault`]: not a response to REGISTER, or malformed.
pub fn read_answer(msg: &[u8]) -> Result<Reply<'_>, Fault> {
    let _ = Message::parse(msg)?;
    Err(Fault { kind: portunus_signalling::FaultKind::Unreadable, what: "message", at: 0 })
}

/// The seconds granted to the Contact `uri` in a 2xx to REGISTER; `None` when that Contact is not in it.
pub fn granted(msg: &[u8], uri: &str) -> Option<u32> {
    None
}

/// A request of a user agent other than REGISTER.
#[derive(Debug, Clone, Copy)]
pub struct Plain<'a> {
    /// The method, e.g. `INVITE`.
    pub method: &'a str,
    /// The Request-URI, e.g. `sip:bob@example.test`, or in a dialog the peer's Contact.
    pub uri: &'a str,
    /// Who sends: its From.
    pub from: Idc<'a>,
    /// From tag.
    pub from_tag: &'a str,
    /// The To URI.
    pub to_uri: &'a str,
    /// The To tag, in a dialog.
    pub to_tag: Option<&'a str>,
    /// Call-ID.
    pub call_id: &'a str,
    /// Transaction.
    pub txn: Txn<'a>,
    /// Via sent-by.
    pub local: SocketAddr,
    /// What it travels by.
    pub transport: Transport,
    /// Contact URI; needed in what forms a dialog.
    pub contact: Option<&'a str>,
    /// The value of the Route header, where the dialog has one: route-params separated by comma.
    pub route: Option<&'a str>,
    /// Content-Type and body.
    pub body: Option<(&'a str, &'a [u8])>,
}

/// Writes a request: INVITE, ACK, BYE, CANCEL, MESSAGE, OPTIONS and so on.
///
/// # Errors
/// [`Full`].
pub fn write_request(p: &Plain<'_>, w: &mut Writer<'_>) -> Result<(), Full> {
    Err(Full)
}

/// Writes a user agent's response to `request`: Via, Record-Route, From, To (with `to_tag` where it has none), Call-ID
/// and CSeq as they came.
///
/// # Errors
/// [`Full`].
pub fn write_response(
    request: &Message<'_>,
    status: u16,
    reason: &str,
    to_tag: &str,
    contact: Option<&str>,
    body: Option<(&str, &[u8])>,
    w: &mut Writer<'_>,
) -> Result<(), Full> {
    Err(Full)
}
