//! Messages into steps: what a terminal or the core says.

use crate::ALGORITHM;
use crate::carriage::values::{self, Credentials};
use crate::view::{Addr, Digest, Field, Items, Message, Method, Name, Uri, Via, lex, line_at};
use portunus_codec::parse_u32;
use portunus_keydist::ident::{Idc, IdcBuf, Idsp, is_n2};
use portunus_keydist::mech::{LIST_MAX, MechList};
use portunus_keydist::steps::{Refusal, S1, S7, S9};
use portunus_signalling::{Fault, FaultKind, FromCore, FromTerminal, Marks, Of, Route, Ticket};

/// Digest parameters that only the core may send (spec section 2).
const CORE_ONLY: [Field; 4] = [Field::Ekc, Field::Eksp, Field::Mac, Field::IntegrityProtected];

/// Seconds to wait when a busy core does not say.
const RETRY_AFTER_S: u32 = 5;

/// Refuses what only the core may send, in whatever a terminal sent. Gives its Authorization, read once; `None` when
/// it has none, or one of another scheme than Digest.
pub(super) fn forbid_core_only<'m>(msg: &Message<'m>) -> Result<Option<Digest<'m>>, Fault> {
    msg.forbid_core_only()?;
    for value in msg.values(Name::ProxyAuthorization) {
        credentials(msg, Name::ProxyAuthorization, value)?;
    }
    msg.value(Name::Authorization).map_or(Ok(None), |value| credentials(msg, Name::Authorization, value))
}

/// What one reader refuses another may take: nothing of Digest passes that was not read here. Other schemes have no
/// such parameters.
fn credentials<'m>(msg: &Message<'m>, name: Name, value: &'m [u8]) -> Result<Option<Digest<'m>>, Fault> {
    let fault = |kind, what| Fault { kind, what, at: msg.offset(value) };
    let Some(digest) = Digest::parse(value) else {
        let unread = lex::run(value, lex::class::TOKEN).0.eq_ignore_ascii_case(b"Digest");
        return if unread { Err(fault(FaultKind::Malformed, name.as_str())) } else { Ok(None) };
    };
    match CORE_ONLY.into_iter().find(|f| digest.has(*f)) {
        Some(field) => Err(fault(FaultKind::Forbidden, field.as_str())),
        None => Ok(Some(digest)),
    }
}

/// What a request must fulfil before this element passes it on.
pub(super) fn passable(msg: &Message<'_>) -> Result<(), Fault> {
    if msg.max_forwards() == Some(0) {
        return Err(msg.fault(FaultKind::Unsupported, Name::MaxForwards));
    }
    let known = |tag: &[u8]| tag.eq_ignore_ascii_case(b"sec-agree") || tag.eq_ignore_ascii_case(b"path");
    if msg.items(Name::ProxyRequire).any(|tag| !known(tag)) {
        return Err(msg.fault(FaultKind::Unsupported, Name::ProxyRequire));
    }
    Ok(())
}

/// [`portunus_signalling::Signalling::read_marked`].
pub(super) fn terminal<'m>(octets: &'m [u8], marks: Option<&mut Marks>) -> Result<FromTerminal<'m>, Fault> {
    match octets {
        b"\r\n\r\n" => return Ok(FromTerminal::KeepAlive(crate::frame::PONG)),
        b"" | b"\r\n" | b"\0" | b"\0\0\0\0" => return Ok(FromTerminal::KeepAlive(b"")),
        _ => {}
    }
    let mut msg = Message::empty(octets);
    msg.fill()?;
    msg.check()?;
    let digest = forbid_core_only(&msg)?;
    if let Some(marks) = marks {
        msg.mark(marks, digest.as_ref());
    }
    if !msg.is_request() {
        return Ok(FromTerminal::Response { ticket: msg.via().ticket() });
    }
    passable(&msg)?;
    match msg.method() {
        Method::Register => registration(&msg, digest.as_ref()),
        _ => Ok(FromTerminal::Request { idc: msg.from().sip().and_then(|u| u.as_idc()) }),
    }
}

/// What RFC 3261 asks of a REGISTER: `Contact: *` ends all registrations, and only with `Expires: 0` (section 10.2.2);
/// the Request-URI names a domain and no user (section 10.2), so none of it is ever routed to a terminal.
pub(super) fn proper_register(msg: &Message<'_>) -> Result<(), Fault> {
    if msg.contact_star() && msg.expires() != Some(0) {
        return Err(msg.fault(FaultKind::Malformed, Name::Contact));
    }
    match Uri::parse(msg.uri()) {
        Some(uri) if uri.user.is_none() => Ok(()),
        _ => Err(Fault { kind: FaultKind::Malformed, what: "Request-URI", at: msg.offset(msg.uri()) }),
    }
}

fn registration<'m>(msg: &Message<'m>, digest: Option<&Digest<'m>>) -> Result<FromTerminal<'m>, Fault> {
    proper_register(msg)?;
    let Some(digest) = digest else {
        // Another scheme than Digest registers nobody here.
        return match msg.has(Name::Authorization) {
            true => Err(msg.fault(FaultKind::Malformed, Name::Authorization)),
            false => stock(msg, None, false),
        };
    };
    let c = Credentials { msg, digest };
    if c.digest.plain(Field::Algorithm).is_none_or(|a| !a.eq_ignore_ascii_case(ALGORITHM.as_bytes())) {
        let answered = c.digest.get(Field::Response).is_some_and(|r| !r.is_empty());
        return stock(msg, c.digest.get(Field::Username), answered);
    }
    let idc = c.idc()?;
    for name in [Name::To, Name::From] {
        bound(msg, name, idc)?;
    }
    let (idsp, n1, ts) = (c.idsp()?, c.n1()?, c.ts()?);
    c.need(Field::Realm)?;
    c.need(Field::Uri)?;
    let (nonce, response) = (c.need(Field::Nonce)?, c.need(Field::Response)?);
    if nonce.is_empty() && response.is_empty() {
        let cookie = c.digest.plain(Field::Cookie);
        if cookie.is_some_and(|c| !is_n2(c)) {
            return Err(c.bad("Authorization cookie"));
        }
        return Ok(FromTerminal::S1(S1 { idc, idsp, n1, ts, cookie }));
    }
    let rand = values::rand(nonce).ok_or_else(|| c.bad("Authorization nonce"))?;
    let auth_c = values::word(response).ok_or_else(|| c.bad("Authorization response"))?;
    let n2 = c.digest.plain(Field::N2).filter(|n2| is_n2(n2)).ok_or_else(|| c.bad("Authorization n2"))?;
    // Its Contact is repeated under the MAC, and it is what the session is for.
    if !msg.binds() {
        return Err(msg.fault(FaultKind::Malformed, Name::Contact));
    }
    let mechs = mechs(msg)?;
    Ok(FromTerminal::S7(S7 { idc, idsp: Some(idsp), n1, n2, ts, rand: Some(rand), auth_c, mechs }))
}

/// Names are bound: To and From must be `sip:`IDc.
fn bound(msg: &Message<'_>, name: Name, idc: Idc<'_>) -> Result<(), Fault> {
    let addr = if name == Name::To { msg.to() } else { msg.from() };
    match is_idc(&addr, idc) {
        true => Ok(()),
        false => Err(msg.fault(FaultKind::Forbidden, name)),
    }
}

/// True when an address is `sip:`IDc.
pub(super) fn is_idc(addr: &Addr<'_>, idc: Idc<'_>) -> bool {
    // Nearly always it stands there as it is: `user@host` of characters that a URI reads no other way.
    let literal = || {
        let text = addr.uri.strip_prefix(b"sip:").filter(|t| *t == idc.as_bytes())?;
        let (user, host) = text.split_at(lex::find(text, *b"@")?);
        let host = host.get(1..)?;
        (lex::all(user, lex::class::PLAIN) && lex::all(host, lex::class::PLAIN)).then_some(())
    };
    literal().is_some() || addr.sip().is_some_and(|u| u.is_idc(idc))
}

/// A stock phone's registration.
fn stock<'m>(msg: &Message<'m>, username: Option<&[u8]>, answered: bool) -> Result<FromTerminal<'m>, Fault> {
    // Its name must stand in To literally: it is compared, hashed and routed by, octet by octet.
    let idc = msg.to().sip().and_then(|u| u.as_idc());
    let idc = idc.ok_or_else(|| msg.fault(FaultKind::Unsupported, Name::To))?;
    bound(msg, Name::From, idc)?;
    if username.is_some_and(|u| u != idc.as_bytes()) {
        return Err(msg.fault(FaultKind::Forbidden, Name::Authorization));
    }
    Ok(FromTerminal::Digest { idc, answered, ends: ends(msg) })
}

/// True when a REGISTER names Contacts and every one of them expires at once.
pub(super) fn ends(msg: &Message<'_>) -> bool {
    msg.contact_star() || msg.has(Name::Contact) && !msg.binds()
}

/// The mechanism list: all rows of Security-Client.
fn mechs(msg: &Message<'_>) -> Result<MechList, Fault> {
    let bad = || msg.fault(FaultKind::Malformed, Name::SecurityClient);
    let read = |value: &[u8]| MechList::from_sip(core::str::from_utf8(value).ok()?).ok();
    let mut rows = msg.values(Name::SecurityClient);
    match (rows.next(), rows.next()) {
        (Some(only), None) => read(only),
        (Some(_), Some(_)) => {
            let mut joined = [0u8; 2 * LIST_MAX];
            let mut w = portunus_codec::Writer::new(&mut joined);
            for (i, row) in msg.values(Name::SecurityClient).enumerate() {
                w.put(if i == 0 { b"" } else { b"," }).put(row);
            }
            w.finish().ok().and_then(|_| read(w.written()))
        }
        (None, _) => None,
    }
    .ok_or_else(bad)
}

/// [`portunus_signalling::Signalling::read_answer`].
pub(super) fn core(octets: &[u8]) -> Result<(FromCore<'_>, Option<u64>), Fault> {
    // The core is trusted; what is read of an answer is checked here, and all of it before it is passed on.
    let mut msg = Message::empty(octets);
    msg.fill()?;
    if msg.is_request() {
        msg.check()?;
        let read = match called(|n| msg.value(n), msg.uri()) {
            Some(idc) => FromCore::Request { idc: Some(idc) },
            None => FromCore::Own,
        };
        return Ok((read, None));
    }
    // The topmost Via and no other, whatever follows it.
    let handle = |via| Via::plain_handle(via).or_else(|| Via::parse(via)?.handle());
    let handle = msg.items(Name::Via).next().and_then(handle);
    let (ticket, salt) = handle.ok_or_else(|| msg.fault(FaultKind::Unsupported, Name::Via))?;
    answer(&msg, ticket).map(|read| (read, Some(salt)))
}

/// What an answer of the core's to what bore this handle says.
fn answer<'m>(msg: &Message<'m>, ticket: Ticket) -> Result<FromCore<'m>, Fault> {
    let of = Of::Ticket(ticket);
    let status = msg.status();
    let (last, success) = (status >= 200, (200..300).contains(&status));
    let answer = FromCore::Answer { of, last, success };
    if !last || msg.method() != Method::Register {
        return Ok(answer);
    }
    let idc = msg.to().sip().and_then(|u| u.as_idc());
    if success {
        let keys =
            msg.digest(Name::AuthenticationInfo)?.and_then(|d| Some((d.plain(Field::Ekc)?, d.plain(Field::Eksp)?)));
        let Some((ekc, eksp)) = keys else { return Ok(answer) };
        let bad = || msg.fault(FaultKind::Malformed, Name::AuthenticationInfo);
        let s9 = S9 { ekc: values::wrap(ekc).ok_or_else(bad)?, eksp: values::wrap(eksp).ok_or_else(bad)? };
        return Ok(FromCore::Key { of, idc: idc.map(IdcBuf::new), s9 });
    }
    for name in [Name::WwwAuthenticate, Name::ProxyAuthenticate] {
        let Some(digest) = msg.digest(name)? else { continue };
        if digest.plain(Field::Algorithm).is_none_or(|a| !a.eq_ignore_ascii_case(ALGORITHM.as_bytes())) {
            return Ok(answer);
        }
        let bad = || msg.fault(FaultKind::Malformed, name);
        let rand = digest.plain(Field::Nonce).and_then(values::rand).ok_or_else(bad)?;
        let idsp = digest.plain(Field::Idsp).and_then(Idsp::from_octets).ok_or_else(bad)?;
        return Ok(FromCore::Challenge { of, idc, idsp, rand });
    }
    let refusal = match status {
        // What is wrong with the request and says nothing about who sent it.
        400 | 416 | 420 | 423 => Refusal::Malformed,
        408 | 480 | 500..=504 => {
            let wait =
                msg.value(Name::RetryAfter).and_then(|v| parse_u32(lex::take_while(v, |c| c.is_ascii_digit()).0));
            Refusal::Busy { retry_after_s: wait.unwrap_or(RETRY_AFTER_S) }
        }
        _ => Refusal::Denied,
    };
    Ok(FromCore::Refused { of, refusal })
}

/// The terminal that a request from the core is for: the user part of the topmost Route, where it names one, else of
/// the Request-URI.
fn called<'m>(value: impl Fn(Name) -> Option<&'m [u8]>, uri: &[u8]) -> Option<IdcBuf> {
    let route = value(Name::Route).and_then(|v| Items::new(v).next()).and_then(Addr::parse).and_then(|a| a.sip());
    route.and_then(|r| r.token()).or_else(|| Uri::parse(uri).and_then(|u| u.token()))
}

/// [`portunus_signalling::Signalling::route_core`]: the start line and one header are read.
pub(super) fn route(octets: &[u8]) -> Route {
    let response = octets.starts_with(b"SIP/");
    if response {
        let via = line_at(octets, Name::Via).and_then(|v| Items::new(v).next()).and_then(Via::parse);
        return via.and_then(|v| v.ticket()).map_or(Route::Unknown, Route::Ticket);
    }
    let line = octets.get(..memchr::memchr(b'\r', octets).unwrap_or(0)).unwrap_or_default();
    let mut words = line.split(|c| *c == b' ');
    let (Some(_), Some(uri), Some(_)) = (words.next(), words.next(), words.next()) else { return Route::Unknown };
    called(|n| line_at(octets, n), uri).map_or(Route::Own, Route::Terminal)
}
