//! What a message is: from the access side, and from the core.

use crate::PACKAGE;
use crate::carriage::step;
use crate::code::what;
use crate::view::{Event, Message, Name, PARTS_MAX, Parts, Verb, fault};
use portunus_keydist::ident::IdcBuf;
use portunus_keydist::params::Params;
use portunus_signalling::{Fault, FaultKind, FromCore, FromTerminal, Of, Route};

/// All messages of a datagram, one at a time.
pub(super) fn messages(datagram: &[u8]) -> impl Iterator<Item = Result<Message<'_>, Fault>> {
    Parts::new(datagram).enumerate().map(|(i, part)| match i < PARTS_MAX {
        true => Message::parse(part),
        false => Err(fault(FaultKind::TooBig, what::SIZE, 0)),
    })
}

/// What a terminal's message is, the parts of a registration still unread.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind<'m> {
    S1,
    S7(Event<'m>),
    Command,
    Response,
}

/// # Errors
/// The package's lines and events where they do not belong.
pub(super) fn kind<'m>(msg: &Message<'m>) -> Result<Kind<'m>, Fault> {
    let Some((verb, _)) = msg.command() else { return Ok(Kind::Response) };
    if let Some(line) = msg.find(Name::PkdMac) {
        return Err(fault(FaultKind::Forbidden, what::MAC, line.at));
    }
    match (verb, msg.find(Name::Pkd)) {
        (Verb::Rsip, Some(_)) => return Ok(Kind::S1),
        (_, Some(line)) => return Err(fault(FaultKind::Malformed, what::PKD, line.at)),
        (Verb::Ntfy, None) => {
            if let Some(event) = step::only_event(msg, Name::ObservedEvents)? {
                return Ok(Kind::S7(event));
            }
        }
        _ => {}
    }
    Ok(Kind::Command)
}

/// [`super::Mgcp::read_terminal`].
pub(super) fn terminal(datagram: &[u8]) -> Result<FromTerminal<'_>, Fault> {
    let mut all = messages(datagram);
    let first = all.next().unwrap_or(Err(fault(FaultKind::Unreadable, what::MESSAGE, 0)))?;
    let read = match kind(&first)? {
        Kind::S1 => s1(&first)?,
        Kind::S7(event) => s7(&first, &event)?,
        Kind::Command => FromTerminal::Request { idc: step::idc(&first) },
        Kind::Response => FromTerminal::Response { ticket: None },
    };
    let mut command = matches!(read, FromTerminal::Request { .. });
    let mut alone = true;
    for msg in all {
        alone = false;
        match kind(&msg?)? {
            Kind::Command => command = true,
            Kind::Response => {}
            Kind::S1 | Kind::S7(_) => return Err(fault(FaultKind::Malformed, what::PIGGY_BACK, 0)),
        }
    }
    match read {
        FromTerminal::S1(_) | FromTerminal::S7(_) if !alone => Err(fault(FaultKind::Malformed, what::PIGGY_BACK, 0)),
        FromTerminal::Response { .. } if command => Ok(FromTerminal::Request { idc: None }),
        read => Ok(read),
    }
}

fn s1<'m>(msg: &Message<'m>) -> Result<FromTerminal<'m>, Fault> {
    let line = msg.find(Name::Pkd).ok_or(fault(FaultKind::Malformed, what::PKD, 0))?;
    // A registration puts endpoints into service; what takes them out of it comes in a session.
    if let Some(method) = msg.find(Name::RestartMethod) {
        let serves = [&b"restart"[..], b"disconnected"].iter().any(|m| m.eq_ignore_ascii_case(method.value));
        if !serves {
            return Err(fault(FaultKind::Malformed, what::RESTART, method.at));
        }
    }
    let endpoint = msg.command().map(|(_, endpoint)| endpoint);
    let idc = step::idc(msg).filter(|_| endpoint.is_some_and(|e| !e.is_any()));
    let idc = idc.ok_or(fault(FaultKind::Malformed, what::ENDPOINT, 0))?;
    let of = |e| step::of_params(e, what::PKD, line.at);
    Params::read_services(line.value).and_then(|p| p.s1(idc)).map(FromTerminal::S1).map_err(of)
}

fn s7<'m>(msg: &Message<'m>, event: &Event<'m>) -> Result<FromTerminal<'m>, Fault> {
    let at = msg.find(Name::ObservedEvents).map_or(0, |l| l.at);
    if !event.is(PACKAGE, "resp") {
        return Err(fault(FaultKind::Malformed, what::EVENTS, at));
    }
    let endpoint = msg.command().map(|(_, endpoint)| endpoint);
    let idc = step::idc(msg).filter(|_| endpoint.is_some_and(|e| !e.is_wildcard()));
    let idc = idc.ok_or(fault(FaultKind::Malformed, what::ENDPOINT, 0))?;
    step::request_id(msg)?;
    let s7 = step::params(event, at)?.s7(idc).map_err(|e| step::of_params(e, what::PARAMETERS, at))?;
    Ok(FromTerminal::S7(s7))
}

/// The step of the core's in a datagram, where one of its messages is one.
pub(super) fn core_step(datagram: &[u8]) -> Option<Message<'_>> {
    messages(datagram).filter_map(Result::ok).find(is_core_step)
}

fn is_core_step(msg: &Message<'_>) -> bool {
    step::verb(msg) == Some(Verb::Rqnt) && step::is_touched(msg)
}

/// [`super::Mgcp::read_core`].
pub(super) fn core(datagram: &[u8]) -> Result<FromCore<'_>, Fault> {
    if let Some(step) = core_step(datagram) {
        return core_read_step(&step);
    }
    let mut read = None;
    for msg in messages(datagram) {
        let msg = msg?;
        read = read.or(match (msg.command(), msg.code()) {
            (Some(_), _) => Some(FromCore::Request { idc: step::idc(&msg).map(IdcBuf::new) }),
            (None, code) => {
                let code = code.unwrap_or_default();
                let (last, success) = (!(100..200).contains(&code), (200..300).contains(&code));
                Some(FromCore::Answer { of: Of::Lane, last, success })
            }
        });
    }
    read.ok_or(fault(FaultKind::Unreadable, what::MESSAGE, 0))
}

fn core_read_step<'m>(msg: &Message<'m>) -> Result<FromCore<'m>, Fault> {
    let at = msg.find(Name::SignalRequests).map_or(0, |l| l.at);
    let bad = fault(FaultKind::Malformed, what::EVENTS, at);
    let event = step::only_event(msg, Name::SignalRequests)?.ok_or(bad)?;
    let idc = step::idc(msg).ok_or(fault(FaultKind::Malformed, what::ENDPOINT, 0))?;
    let params = step::params(&event, at)?;
    let of = |e| step::of_params(e, what::PARAMETERS, at);
    if event.is(PACKAGE, "chal") {
        let (s5, n1) = params.s5(idc).map_err(of)?;
        return Ok(FromCore::Challenge { of: Of::N1(n1), idc: Some(idc), idsp: s5.idsp, rand: s5.rand });
    }
    if event.is(PACKAGE, "key") {
        let (s9, rand) = params.s9().map_err(of)?;
        return Ok(FromCore::Key { of: Of::Rand(rand), idc: Some(IdcBuf::new(idc)), s9 });
    }
    if event.is(PACKAGE, "fail") {
        let which = params.rand.map(Of::Rand).or(params.n1.map(Of::N1));
        let refusal = match params.cause {
            // The softswitch knows no clock of the terminal's.
            Some(portunus_keydist::params::Cause::Stale) => return Err(bad),
            _ => params.refusal().map_err(of)?,
        };
        return Ok(FromCore::Refused { of: which.ok_or(bad)?, refusal });
    }
    Err(bad)
}

/// [`portunus_signalling::Signalling::route_core`].
pub(super) fn route(datagram: &[u8]) -> Route {
    let mut route = Route::Unknown;
    for msg in messages(datagram).filter_map(Result::ok) {
        if is_core_step(&msg) {
            return Route::Step;
        }
        route = match (route, msg.code(), step::idc(&msg)) {
            (Route::Terminal(_), ..) => route,
            (_, _, Some(idc)) => Route::Terminal(IdcBuf::new(idc)),
            _ => Route::Lane,
        };
    }
    route
}

/// [`portunus_signalling::Signalling::transaction`]. What acknowledges a response names a transaction of the other
/// side's, and so none here.
pub(super) fn transaction(datagram: &[u8]) -> Option<u32> {
    let first = messages(datagram).next()?.ok()?;
    (first.code() != Some(crate::code::ACKNOWLEDGED)).then(|| first.transaction())
}
