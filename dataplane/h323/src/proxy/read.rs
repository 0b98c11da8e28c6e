//! Messages into steps: what a terminal or the core says.

use crate::carriage::values::{Values, first_alias_is, forbidden, malformed, values};
use crate::view::{Element, Kind, Message, Reason};
use portunus_keydist::ident::{Idc, IdcBuf, is_n2};
use portunus_keydist::steps::{Refusal, S1, S7, S9};
use portunus_signalling::{Fault, FromCore, FromTerminal, Marks, Of, Route, Text};

/// Seconds to wait when a busy core does not say; RAS has no room for it.
const RETRY_AFTER_S: u32 = 5;

/// Refuses what only the core may send. Gives the PKD1 token, read once.
pub(super) fn forbid_core_only<'m>(msg: &Message<'m>) -> Result<Option<Values<'m>>, Fault> {
    if msg.has_mac() {
        return Err(forbidden("mac"));
    }
    let values = values(msg)?;
    match values.as_ref().and_then(|v| v.token.core_only()) {
        Some(what) => Err(forbidden(what)),
        None => Ok(values),
    }
}

/// [`portunus_signalling::Signalling::read_marked`].
pub(super) fn terminal<'m>(
    octets: &'m [u8],
    marks: Option<&mut Marks>,
    text: &'m mut Text,
) -> Result<FromTerminal<'m>, Fault> {
    if octets.is_empty() {
        return Ok(FromTerminal::KeepAlive(b""));
    }
    let msg = Message::parse(octets)?;
    let token = forbid_core_only(&msg)?;
    if let (Some(marks), Some(_)) = (marks, &token) {
        msg.mark(marks);
    }
    match (msg.kind(), token) {
        (Kind::GatekeeperRequest, Some(v)) if v.token.n == 1 => s1(&msg, &v, text),
        (Kind::RegistrationRequest, Some(v)) if v.token.n == 3 => s7(&msg, &v, text),
        (Kind::GatekeeperRequest | Kind::RegistrationRequest, Some(_)) => Err(malformed("tokenOID")),
        (kind, _) if kind.is_request() || kind == Kind::InfoRequestResponse => Ok(FromTerminal::Request { idc: None }),
        _ => Ok(FromTerminal::Response { ticket: None }),
    }
}

/// Names are bound: sendersID equals the first alias.
fn bound(msg: &Message<'_>, idc: Idc<'_>) -> Result<(), Fault> {
    if first_alias_is(msg, idc) { Ok(()) } else { Err(forbidden("sendersID")) }
}

fn s1<'m>(msg: &Message<'m>, v: &Values<'m>, text: &'m mut Text) -> Result<FromTerminal<'m>, Fault> {
    let (idc, idsp) = v.names(true, text)?;
    bound(msg, idc)?;
    v.no_challenge()?;
    let cookie = v.token.get(Element::Cookie);
    if cookie.is_some_and(|c| !is_n2(c)) {
        return Err(malformed("cookie"));
    }
    Ok(FromTerminal::S1(S1 { idc, idsp, n1: v.n1()?, ts: v.ts()?, cookie }))
}

fn s7<'m>(msg: &Message<'m>, v: &Values<'m>, text: &'m mut Text) -> Result<FromTerminal<'m>, Fault> {
    let (idc, idsp) = v.names(true, text)?;
    bound(msg, idc)?;
    if msg.keep_alive() {
        return Err(malformed("keepAlive"));
    }
    Ok(FromTerminal::S7(S7 {
        idc,
        idsp: Some(idsp),
        n1: v.n1()?,
        n2: v.token.get(Element::N2).filter(|n2| is_n2(n2)).ok_or(malformed("n2"))?,
        ts: v.ts()?,
        rand: Some(v.rand()?),
        auth_c: v.token.array(Element::AuthC).ok_or(malformed("authc"))?,
        mechs: v.mechs()?,
    }))
}

/// [`portunus_signalling::Signalling::read_answer`].
pub(super) fn core<'m>(octets: &'m [u8], text: &'m mut Text) -> Result<FromCore<'m>, Fault> {
    let msg = Message::parse(octets)?;
    let kind = msg.kind();
    match (kind, values(&msg)?) {
        (Kind::GatekeeperReject | Kind::RegistrationReject, Some(v)) => rejected(&msg, &v, text),
        (Kind::RegistrationConfirm, Some(v)) => granted(&v, text),
        (kind, _) if kind.is_request() => Ok(FromCore::Request { idc: None }),
        _ => Ok(FromCore::Answer {
            of: Of::Lane,
            last: kind != Kind::RequestInProgress,
            success: kind.confirms() || kind == Kind::InfoRequestResponse,
        }),
    }
}

/// s5, or a refusal that says of what.
fn rejected<'m>(msg: &Message<'m>, v: &Values<'m>, text: &'m mut Text) -> Result<FromCore<'m>, Fault> {
    if v.token.n != 2 {
        return Err(malformed("tokenOID"));
    }
    let (idc, idsp) = v.names(false, text)?;
    let reason = msg.reason();
    let denied = reason == Some(Reason::security_denial(msg.kind()));
    let of = match (v.token.challenge.is_some(), v.token.get(Element::N1).is_some()) {
        (true, true) if denied => {
            return Ok(FromCore::Challenge { of: Of::N1(v.n1()?), idc: Some(idc), idsp, rand: v.rand()? });
        }
        (true, _) => Of::Rand(v.rand()?),
        (false, _) => Of::N1(v.n1()?),
    };
    let refusal = if reason == Some(Reason::resource_unavailable(msg.kind())) {
        Refusal::Busy { retry_after_s: RETRY_AFTER_S }
    } else if reason == Some(Reason::undefined(msg.kind())) {
        Refusal::Malformed
    } else {
        Refusal::Denied
    };
    Ok(FromCore::Refused { of, refusal })
}

/// s9.
fn granted<'m>(v: &Values<'m>, text: &'m mut Text) -> Result<FromCore<'m>, Fault> {
    if v.token.n != 4 {
        return Err(malformed("tokenOID"));
    }
    v.no_challenge()?;
    let (idc, _) = v.names(false, text)?;
    let idc = Some(IdcBuf::new(idc));
    let rand = v.token.array(Element::Rand).ok_or(malformed("rand"))?;
    let ekc = v.token.array(Element::Ekc).ok_or(malformed("ekc"))?;
    let eksp = v.token.array(Element::Eksp).ok_or(malformed("eksp"))?;
    Ok(FromCore::Key { of: Of::Rand(rand), idc, s9: S9 { ekc, eksp } })
}

/// [`portunus_signalling::Signalling::route_core`]: a step is what bears a token, in the three kinds that steps are.
pub(super) fn route(octets: &[u8]) -> Route {
    match Message::salvage(octets) {
        Some((Kind::GatekeeperReject | Kind::RegistrationReject | Kind::RegistrationConfirm, _)) => {
            match Message::parse(octets).map(|msg| msg.token()) {
                Ok(Ok(Some(_))) => Route::Step,
                Ok(Ok(None)) => Route::Lane,
                _ => Route::Unknown,
            }
        }
        _ if Message::parse(octets).is_ok() => Route::Lane,
        _ => Route::Unknown,
    }
}
