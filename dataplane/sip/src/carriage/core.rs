//! The softswitch's end: reads registrations that a proxy sent, writes the answers.

use crate::view::Message;
use core::net::SocketAddr;
use portunus_codec::{Full, Writer};
use portunus_keydist::ident::{Idc, Idsp, Rand};
use portunus_keydist::steps::{S2, S8, S9};
use portunus_signalling::{Fault, Ticket};

/// A REGISTER from a proxy, read. Contacts and Path are read from the view.
#[derive(Debug, Clone, Copy)]
pub struct Register<'m> {
    /// What it asks for.
    pub ask: Ask<'m>,
    /// Who registers.
    pub idc: Idc<'m>,
    /// Through whom.
    pub idsp: Idsp<'m>,
    /// The digest realm.
    pub realm: &'m [u8],
    /// The digest `uri`: what the AuC gets as Digest-URI.
    pub uri: &'m [u8],
    /// The proxy's handle, from the topmost Via that bears one.
    pub ticket: Ticket,
    /// Where the terminal is as the proxy sees it.
    pub ipc: SocketAddr,
}

/// What a proxy's REGISTER asks for.
#[derive(Debug, Clone, Copy)]
pub enum Ask<'m> {
    /// s2.
    S2(S2<'m>),
    /// s8.
    S8(S8<'m>),
    /// A stock phone's, challenge wanted.
    DigestChallenge,
    /// A stock phone's, answered.
    DigestAnswer {
        /// The challenge answered; `None` when the nonce is none of ours.
        rand: Option<Rand>,
        /// `response` as sent: 64 hex digits (SHA-256) or 32 (MD5).
        response: &'m [u8],
        /// The algorithm token; absent means MD5.
        algorithm: Option<&'m [u8]>,
    },
    /// Asserted by the proxy: a refresh or de-registration inside a session.
    Refresh,
}

/// One binding in a 200.
#[derive(Debug, Clone, Copy)]
pub struct Granted<'a> {
    /// The Contact as it was registered: URI without brackets.
    pub uri: &'a [u8],
    /// Seconds left.
    pub expires: u32,
}

/// Reads a REGISTER that came from a proxy of this domain.
///
/// # Errors
/// A [`Fault`] naming the header.
pub fn read_register<'m>(msg: &Message<'m>) -> Result<Register<'m>, Fault> {
    let _ = msg;
    Err(Fault { kind: portunus_signalling::FaultKind::Unreadable, what: "message", at: 0 })
}

/// s5: 401 with the challenge.
///
/// # Errors
/// [`Full`].
pub fn write_s5(
    request: &Message<'_>,
    to_tag: &str,
    realm: &str,
    idsp: Idsp<'_>,
    rand: &Rand,
    w: &mut Writer<'_>,
) -> Result<(), Full> {
    Err(Full)
}

/// s9: 200 with both wraps and the bindings.
///
/// # Errors
/// [`Full`].
pub fn write_s9(
    request: &Message<'_>,
    to_tag: &str,
    s9: &S9,
    bindings: &[Granted<'_>],
    w: &mut Writer<'_>,
) -> Result<(), Full> {
    Err(Full)
}

/// 200 without a key: a refresh, a de-registration, a query or a stock phone's registration.
///
/// # Errors
/// [`Full`].
pub fn write_granted(
    request: &Message<'_>,
    to_tag: &str,
    bindings: &[Granted<'_>],
    w: &mut Writer<'_>,
) -> Result<(), Full> {
    Err(Full)
}

/// 401 for a stock phone: RFC 7616 without qop; `algorithm` is `SHA-256` or `MD5`.
///
/// # Errors
/// [`Full`].
pub fn write_digest_challenge(
    request: &Message<'_>,
    to_tag: &str,
    realm: &str,
    rand: &Rand,
    algorithm: &str,
    w: &mut Writer<'_>,
) -> Result<(), Full> {
    Err(Full)
}

/// Any other response: 200 (OPTIONS), 400, 403, 404, 480, 483, 503 with `retry_after_s`, and so on.
///
/// # Errors
/// [`Full`].
pub fn write_status(
    request: &Message<'_>,
    to_tag: &str,
    status: u16,
    reason: &str,
    retry_after_s: Option<u32>,
    w: &mut Writer<'_>,
) -> Result<(), Full> {
    Err(Full)
}

/// What a stateless proxy (RFC 3261 section 16.11) changes in a request that it passes on.
#[derive(Debug, Clone, Copy)]
pub struct Forward<'a> {
    /// The new Request-URI; `None`: as it stands.
    pub uri: Option<&'a [u8]>,
    /// Its own Via value, e.g. `SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK...`.
    pub via: &'a [u8],
    /// Where the request came from: written as `received` and `rport` on the Via below where RFC 3581 asks for it.
    pub source: SocketAddr,
    /// Route values to put on top (a binding's Path); `None`: none.
    pub route: Option<&'a [u8]>,
    /// True: takes the topmost Route away, it was the proxy's own.
    pub pop_route: bool,
    /// A Record-Route value to add; `None`: none.
    pub record_route: Option<&'a [u8]>,
}

/// Writes a request onwards. Max-Forwards is counted down (70 where there is none); the caller answered 483 to 0.
///
/// # Errors
/// [`Full`].
pub fn forward_request(msg: &Message<'_>, f: &Forward<'_>, w: &mut Writer<'_>) -> Result<(), Full> {
    Err(Full)
}

/// Writes a response onwards without its topmost Via, which was the proxy's own.
///
/// # Errors
/// [`Full`].
pub fn forward_response(msg: &Message<'_>, w: &mut Writer<'_>) -> Result<(), Full> {
    Err(Full)
}
