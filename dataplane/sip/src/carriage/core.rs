//! The softswitch's end: reads registrations that a proxy sent, writes the answers.

use super::values::{self, Credentials};
use crate::ALGORITHM;
use crate::edit::{self, Contacts, Response, Top};
use crate::view::{Field, Message, Method, Name, Via};
use crate::write::{Stamp, Tag, begin_response, end, put_param, put_quoted, simple};
use core::net::SocketAddr;
use portunus_codec::{Full, Writer};
use portunus_keydist::ident::{Idc, Idsp, Rand};
use portunus_keydist::steps::{S2, S8, S9};
use portunus_signalling::{Fault, FaultKind, Ticket};

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
    if !msg.is_request() || msg.method() != Method::Register {
        return Err(msg.fault(FaultKind::Unsupported, Name::CSeq));
    }
    let missing = || msg.fault(FaultKind::Malformed, Name::Authorization);
    let digest = msg.digest(Name::Authorization)?.ok_or_else(missing)?;
    let c = Credentials { msg, digest: &digest };
    let (idc, idsp) = (c.idc()?, c.idsp()?);
    for (name, addr) in [(Name::To, msg.to()), (Name::From, msg.from())] {
        if !addr.sip().is_some_and(|u| u.is_idc(idc)) {
            return Err(msg.fault(FaultKind::Forbidden, name));
        }
    }
    let (ticket, ipc) = hop(msg)?;
    let ask = ask(&c, idc, idsp, ipc)?;
    Ok(Register { ask, idc, idsp, realm: c.need(Field::Realm)?, uri: c.need(Field::Uri)?, ticket, ipc })
}

/// The proxy's handle, and what it wrote on the Via below its own: where the terminal is. Vias of elements between
/// proxy and softswitch stand above; what a terminal makes up stands below.
fn hop(msg: &Message<'_>) -> Result<(Ticket, SocketAddr), Fault> {
    let mut vias = msg.items(Name::Via).map(Via::parse);
    let ticket = vias.by_ref().find_map(|v| v.and_then(|v| v.ticket()));
    let ipc = vias.next().flatten().and_then(|v| v.source());
    ticket.zip(ipc).ok_or_else(|| msg.fault(FaultKind::Malformed, Name::Via))
}

fn ask<'m>(c: &Credentials<'_, 'm>, idc: Idc<'m>, idsp: Idsp<'m>, ipc: SocketAddr) -> Result<Ask<'m>, Fault> {
    if let Some(asserted) = c.digest.plain(Field::IntegrityProtected) {
        let yes = asserted.eq_ignore_ascii_case(b"yes");
        return if yes { Ok(Ask::Refresh) } else { Err(c.bad("Authorization integrity-protected")) };
    }
    let (nonce, response) = (c.need(Field::Nonce)?, c.need(Field::Response)?);
    let algorithm = c.digest.plain(Field::Algorithm);
    let pkd = algorithm.is_some_and(|a| a.eq_ignore_ascii_case(ALGORITHM.as_bytes()));
    match (pkd, response.is_empty()) {
        (true, true) => Ok(Ask::S2(S2 { idc, idsp, n1: c.n1()? })),
        (true, false) => {
            let rand = values::rand(nonce).ok_or_else(|| c.bad("Authorization nonce"))?;
            let auth_c = values::word(response).ok_or_else(|| c.bad("Authorization response"))?;
            Ok(Ask::S8(S8 { idc, idsp, rand, auth_c, ipc }))
        }
        (false, true) => Ok(Ask::DigestChallenge),
        (false, false) => Ok(Ask::DigestAnswer { rand: values::rand(nonce), response, algorithm }),
    }
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
    begin_response(request, 401, &["Unauthorized"], Tag::Text(to_tag.as_bytes()), None, w);
    put_challenge(realm, rand, ALGORITHM, w);
    put_param("idsp", idsp.as_bytes(), w);
    w.put(b"\r\n");
    end(w)
}

fn put_challenge(realm: &str, rand: &Rand, algorithm: &str, w: &mut Writer<'_>) {
    w.put(b"WWW-Authenticate: Digest realm=");
    put_quoted(realm.as_bytes(), w);
    w.put(b", nonce=\"").b64(rand).put(b"\", algorithm=").text(algorithm);
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
    begin_granted(request, to_tag, bindings, w);
    w.put(b"Authentication-Info: ekc=\"").b64(&s9.ekc).put(b"\", eksp=\"").b64(&s9.eksp).put(b"\"\r\n");
    end(w)
}

/// 200 with the bindings, and Path as it came (RFC 3327 section 5.3).
fn begin_granted(request: &Message<'_>, to_tag: &str, bindings: &[Granted<'_>], w: &mut Writer<'_>) {
    begin_response(request, 200, &["OK"], Tag::Text(to_tag.as_bytes()), None, w);
    put_bindings(bindings, w);
    for path in request.values(Name::Path) {
        w.put(b"Path: ").put(path).put(b"\r\n");
    }
}

/// A Contact for each binding.
pub(super) fn put_bindings(bindings: &[Granted<'_>], w: &mut Writer<'_>) {
    for b in bindings {
        w.put(b"Contact: <").put(b.uri).put(b">;expires=").decimal(b.expires.into()).put(b"\r\n");
    }
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
    begin_granted(request, to_tag, bindings, w);
    end(w)
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
    begin_response(request, 401, &["Unauthorized"], Tag::Text(to_tag.as_bytes()), None, w);
    put_challenge(realm, rand, algorithm, w);
    w.put(b"\r\n");
    end(w)
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
    simple(request, status, &[reason], Tag::Text(to_tag.as_bytes()), None, retry_after_s, w)
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
    /// How many Routes are taken away from the top: they were the proxy's own.
    pub pop_routes: usize,
    /// A Record-Route value to add; `None`: none.
    pub record_route: Option<&'a [u8]>,
    /// Whose request this is, said to an element that trusts the proxy (P-Asserted-Identity, RFC 3325).
    pub asserted: Option<Idc<'a>>,
}

/// Writes a request onwards. Max-Forwards is counted down (70 where there is none); the caller answered 483 to 0.
///
/// # Errors
/// [`Full`].
pub fn forward_request(msg: &Message<'_>, f: &Forward<'_>, w: &mut Writer<'_>) -> Result<(), Full> {
    let edit = edit::Request {
        uri: f.uri,
        top: Top::Raw { via: f.via, route: f.route, record_route: f.record_route, asserted: f.asserted },
        source: Some((f.source, Stamp::Asked)),
        routes: edit::Routes::Pop(f.pop_routes),
        contacts: Contacts::Keep,
        credentials: edit::Credentials::Keep,
        strip_agreement: false,
        strip_core_only: false,
    };
    edit::request(msg, &edit, w)
}

/// Writes a response onwards without its topmost Via, which was the proxy's own.
///
/// # Errors
/// [`Full`].
pub fn forward_response(msg: &Message<'_>, w: &mut Writer<'_>) -> Result<(), Full> {
    edit::response(msg, &Response { strip_core_only: false, contact: None }, w)
}
