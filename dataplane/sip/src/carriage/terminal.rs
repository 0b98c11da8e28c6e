//! The terminal's end: writes s1, s7 and what a user agent sends inside its session; reads the answers.

use super::values;
use crate::view::{Addr, Digest, Field, Message, Method, Name, lex};
use crate::write::{Tag, begin_response, end, end_with, put_host_port, put_number, put_param, put_quoted, transport};
use crate::{ALGORITHM, view::uri::put_idc_uri};
use core::net::SocketAddr;
use core::ops::Range;
use portunus_codec::{Full, Writer, parse_u32, parse_u64};
use portunus_keydist::ident::{Idc, Idsp, N1, is_n2};
use portunus_keydist::steps::{Refusal, S1, S6, S7, S10};
use portunus_signalling::{Fault, FaultKind, Transport};

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
    /// Offset of its first octet.
    pub start: u16,
    /// Offset behind its last.
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
    begin_register(a, t, expires, w);
    w.put(b"Supported: path, sec-agree\r\n");
    put_credentials(a, w);
    w.put(b", nonce=\"\", response=\"\", algorithm=").text(ALGORITHM);
    put_param("idsp", s1.idsp.as_bytes(), w);
    put_param("n1", s1.n1.as_bytes(), w);
    put_number("ts", s1.ts, w);
    if let Some(cookie) = s1.cookie {
        put_param("cookie", cookie, w);
    }
    w.put(b"\r\n");
    end(w)
}

/// s7.
///
/// # Errors
/// [`Full`]; also when `s7.rand`, without which there is no nonce to answer, or `s7.idsp` is missing.
pub fn write_s7(a: &Agent<'_>, t: &Txn<'_>, expires: u32, s7: &S7<'_>, w: &mut Writer<'_>) -> Result<(), Full> {
    let (rand, idsp) = s7.rand.zip(s7.idsp).ok_or(Full)?;
    begin_register(a, t, expires, w);
    w.put(b"Supported: path, sec-agree\r\nRequire: sec-agree\r\nProxy-Require: sec-agree\r\nSecurity-Client: ");
    for (i, entry) in s7.mechs.as_str().split(' ').enumerate() {
        w.put(if i == 0 { b"" } else { b", " }).text(entry);
    }
    w.put(b"\r\n");
    put_credentials(a, w);
    w.put(b", nonce=\"").b64(&rand).put(b"\", response=\"").hex(&s7.auth_c).put(b"\", algorithm=").text(ALGORITHM);
    put_param("idsp", idsp.as_bytes(), w);
    put_param("n1", s7.n1.as_bytes(), w);
    put_param("n2", s7.n2, w);
    put_number("ts", s7.ts, w);
    w.put(b"\r\n");
    end(w)
}

/// A registration inside the session: a refresh, or with `expires` 0 the end of it.
///
/// # Errors
/// [`Full`].
pub fn write_register(a: &Agent<'_>, t: &Txn<'_>, expires: u32, w: &mut Writer<'_>) -> Result<(), Full> {
    begin_register(a, t, expires, w);
    w.put(b"Supported: path\r\n");
    end(w)
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
    begin_register(a, t, expires, w);
    if let Some(answer) = answer {
        put_credentials(a, w);
        w.put(b", nonce=");
        put_quoted(answer.nonce.as_bytes(), w);
        w.put(b", response=\"").text(answer.response).put(b"\", algorithm=").text(answer.algorithm).put(b"\r\n");
    }
    end(w)
}

/// The lines that every registration of an agent begins with.
fn begin_register(a: &Agent<'_>, t: &Txn<'_>, expires: u32, w: &mut Writer<'_>) {
    w.put(b"REGISTER ").text(a.registrar).put(b" SIP/2.0\r\n");
    put_via(a.transport, a.local, t.branch, w);
    w.put(b"Max-Forwards: 70\r\nFrom: <");
    put_idc_uri(a.idc, w);
    w.put(b">;tag=").text(a.from_tag).put(b"\r\nTo: <");
    put_idc_uri(a.idc, w);
    w.put(b">\r\nCall-ID: ").text(a.call_id).put(b"\r\nCSeq: ").decimal(t.cseq.into()).put(b" REGISTER\r\nContact: <");
    w.text(a.contact).put(b">;expires=").decimal(expires.into());
    w.put(b"\r\nExpires: ").decimal(expires.into()).put(b"\r\n");
}

fn put_via(t: Transport, local: SocketAddr, branch: &str, w: &mut Writer<'_>) {
    w.put(b"Via: SIP/2.0/").text(transport(t)).put(b" ");
    put_host_port(local, w);
    w.put(b";branch=").text(branch).put(b";rport\r\n");
}

/// `Authorization: Digest username, realm, uri`.
fn put_credentials(a: &Agent<'_>, w: &mut Writer<'_>) {
    w.put(b"Authorization: Digest username=\"").put(a.idc.as_bytes()).put(b"\", realm=");
    put_quoted(a.realm.as_bytes(), w);
    w.put(b", uri=");
    put_quoted(a.registrar.as_bytes(), w);
}

/// Reads the answer to a registration. `msg` is the whole datagram or framed message.
///
/// # Errors
/// A [`Fault`]: not a response to REGISTER, or malformed.
pub fn read_answer(msg: &[u8]) -> Result<Reply<'_>, Fault> {
    let view = Message::parse(msg)?;
    if view.is_request() || view.method() != Method::Register {
        return Err(view.fault(FaultKind::Unsupported, Name::CSeq));
    }
    let mut realm = None;
    let answer = match view.status() {
        100..=199 => Answer::Provisional,
        200..=299 => success(&view)?,
        401 => match view.digest(Name::WwwAuthenticate)? {
            Some(digest) => {
                realm = digest.plain(Field::Realm);
                challenge(&view, &digest)?
            }
            None => Answer::Refused(Refusal::Denied),
        },
        400 => Answer::Refused(Refusal::Malformed),
        494 => Answer::Refused(Refusal::Mechanism),
        408 | 480 | 500..=599 => {
            let wait = view.value(Name::RetryAfter).map(|v| lex::take_while(v, |c| c.is_ascii_digit()).0);
            Answer::Refused(Refusal::Busy { retry_after_s: wait.and_then(parse_u32).unwrap_or(0) })
        }
        _ => Answer::Refused(Refusal::Denied),
    };
    let (status, (cseq, _)) = (view.status(), view.cseq());
    let branch = view.via().branch().unwrap_or_default();
    Ok(Reply { status, branch, call_id: view.call_id(), cseq, realm, answer })
}

fn challenge<'m>(view: &Message<'m>, digest: &Digest<'m>) -> Result<Answer<'m>, Fault> {
    let bad = || view.fault(FaultKind::Malformed, Name::WwwAuthenticate);
    let nonce = digest.plain(Field::Nonce).ok_or_else(bad)?;
    let algorithm = digest.plain(Field::Algorithm);
    if algorithm.is_none_or(|a| !a.eq_ignore_ascii_case(ALGORITHM.as_bytes())) {
        return Ok(Answer::Digest { nonce, algorithm });
    }
    let n1 = match digest.plain(Field::N1) {
        Some(n1) => Some(N1::parse(n1).ok_or_else(bad)?),
        None => None,
    };
    let ts = digest.plain(Field::Ts).and_then(parse_u64).ok_or_else(bad)?;
    if nonce.is_empty() {
        let stale = digest.plain(Field::Stale).is_some_and(|s| s.eq_ignore_ascii_case(b"true"));
        return match digest.plain(Field::Cookie) {
            Some(cookie) if !stale => Ok(Answer::Cookie { n1: n1.ok_or_else(bad)?, ts, cookie }),
            None if stale => Ok(Answer::Stale { n1, ts }),
            _ => Err(bad()),
        };
    }
    if digest.plain(Field::MechReq) != Some(b"1") {
        return Err(bad());
    }
    Ok(Answer::Challenge(S6 {
        idsp: digest.plain(Field::Idsp).and_then(Idsp::from_octets).ok_or_else(bad)?,
        n1: n1.ok_or_else(bad)?,
        n2: digest.plain(Field::N2).filter(|n2| is_n2(n2)).ok_or_else(bad)?,
        ts,
        rand: values::rand(nonce).ok_or_else(bad)?,
    }))
}

/// A 2xx: s10 where it bears a key.
fn success<'m>(view: &Message<'m>) -> Result<Answer<'m>, Fault> {
    let Some(info) = view.digest(Name::AuthenticationInfo)?.filter(|d| d.has(Field::Ekc) || d.has(Field::Mac)) else {
        return Ok(Answer::Granted);
    };
    let bad = || view.fault(FaultKind::Malformed, Name::AuthenticationInfo);
    let text = |v: &'m [u8]| core::str::from_utf8(v).ok();
    let mac = info.plain(Field::Mac).ok_or_else(bad)?;
    let start = view.offset(mac);
    // The mechanism chosen is one; a list would leave open which.
    let mut chosen = view.items(Name::SecurityServer);
    let sel = match (chosen.next(), chosen.next()) {
        (Some(sel), None) => text(sel),
        _ => None,
    };
    let s10 = S10 {
        idsp: info.plain(Field::Idsp).and_then(Idsp::from_octets).ok_or_else(bad)?,
        n1: info.plain(Field::N1).and_then(N1::parse).ok_or_else(bad)?,
        n2: info.plain(Field::N2).and_then(N1::parse).ok_or_else(bad)?,
        ts: info.plain(Field::Ts).and_then(parse_u64).ok_or_else(bad)?,
        life: info.plain(Field::Life).and_then(parse_u32).ok_or_else(bad)?,
        ekc: info.plain(Field::Ekc).and_then(values::wrap).ok_or_else(bad)?,
        sel: sel.ok_or_else(|| view.fault(FaultKind::Malformed, Name::SecurityServer))?,
        mechs: info.plain(Field::Mechs).and_then(text).ok_or_else(bad)?,
    };
    let mac_value = values::word(mac).ok_or_else(bad)?;
    let mac = Range16 { start: start as u16, end: (start + mac.len()) as u16 };
    Ok(Answer::Key { s10, mac, mac_value })
}

/// The seconds granted to the Contact `uri` in a 2xx to REGISTER; `None` when that Contact is not in it, octet by
/// octet.
pub fn granted(msg: &[u8], uri: &str) -> Option<u32> {
    let view = Message::parse(msg).ok()?;
    let own = view.contacts().find(|a| a.uri == uri.as_bytes())?;
    view.contact_expires(&own)
}

/// The seconds granted by an s10 to a terminal that asked for `asked` seconds on the one Contact `uri`, written as
/// [`write_s7`] writes it. `None` when s10 differs from what was asked, a shorter time apart: another Contact in its
/// place or beside it, a parameter, a time that is longer or none. s7's Contact travels unprotected, so what somebody
/// added on the way shows here only (spec section 2).
pub fn terms_kept(msg: &[u8], uri: &str, asked: u32) -> Option<u32> {
    let view = Message::parse(msg).ok()?;
    let mut contacts = view.items(Name::Contact);
    let (only, None) = (contacts.next()?, contacts.next()) else { return None };
    let own = Addr::parse(only).filter(|a| a.uri == uri.as_bytes())?;
    let bare = own.params.iter().all(|p| p.name.eq_ignore_ascii_case(b"expires"));
    let granted = view.contact_expires(&own)?;
    let shorter = (1..=asked).contains(&granted) && view.expires().is_none_or(|all| all <= asked);
    (bare && shorter).then_some(granted)
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
    w.text(p.method).put(b" ").text(p.uri).put(b" SIP/2.0\r\n");
    put_via(p.transport, p.local, p.txn.branch, w);
    w.put(b"Max-Forwards: 70\r\n");
    if let Some(route) = p.route {
        w.put(b"Route: ").text(route).put(b"\r\n");
    }
    w.put(b"From: <");
    put_idc_uri(p.from, w);
    w.put(b">;tag=").text(p.from_tag).put(b"\r\nTo: <").text(p.to_uri).put(b">");
    if let Some(tag) = p.to_tag {
        w.put(b";tag=").text(tag);
    }
    w.put(b"\r\nCall-ID: ").text(p.call_id).put(b"\r\nCSeq: ").decimal(p.txn.cseq.into()).put(b" ").text(p.method);
    w.put(b"\r\n");
    put_contact(p.contact, w);
    end_with(p.body, w)
}

fn put_contact(uri: Option<&str>, w: &mut Writer<'_>) {
    if let Some(uri) = uri {
        w.put(b"Contact: <").text(uri).put(b">\r\n");
    }
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
    begin_response(request, status, &[reason], Tag::Text(to_tag.as_bytes()), None, w);
    for value in request.values(Name::RecordRoute) {
        w.put(b"Record-Route: ").put(value).put(b"\r\n");
    }
    put_contact(contact, w);
    end_with(body, w)
}
