//! What makes a message a step, for all who read one.

use crate::code::what;
use crate::view::{Event, Message, Name, Verb, fault};
use crate::write::line;
use crate::{PACKAGE, view};
use portunus_codec::Writer;
use portunus_keydist::ident::Idc;
use portunus_keydist::params::{ParamError, ParamFault, Params, Quoted};
use portunus_signalling::{Fault, FaultKind};

/// The lists that may name an event of the package.
const LISTS: [Name; 5] =
    [Name::RequestedEvents, Name::SignalRequests, Name::ObservedEvents, Name::DetectEvents, Name::EventStates];

/// A fault of a parameter list that begins at `at`.
pub(crate) fn of_params(e: ParamError, what: &'static str, at: usize) -> Fault {
    let kind = match e.fault {
        ParamFault::CoreOnly => FaultKind::Forbidden,
        ParamFault::TooBig => FaultKind::TooBig,
        _ => FaultKind::Malformed,
    };
    fault(kind, what, at + e.at)
}

/// Who an endpoint belongs to.
pub(crate) fn idc<'m>(msg: &Message<'m>) -> Option<Idc<'m>> {
    msg.command().and_then(|(_, endpoint)| Idc::from_octets(endpoint.domain))
}

/// True where anything in the message belongs to the package: its lines, or an event of it in any list that can be
/// read. What cannot be read is for whoever is asked to execute it.
pub(crate) fn is_touched(msg: &Message<'_>) -> bool {
    msg.lines().any(|l| match l.name {
        Name::Pkd | Name::PkdMac => true,
        name if LISTS.contains(&name) => touches(l.value),
        _ => false,
    })
}

/// True where a list names the package, however deep: a request may stand in the brackets of another.
fn touches(list: &[u8]) -> bool {
    memchr::memchr_iter(b'/', list).any(|at| {
        let before = list.get(..at).unwrap_or_default();
        let name = before.len().checked_sub(PACKAGE.len()).and_then(|from| before.get(from..));
        name.is_some_and(|name| name.eq_ignore_ascii_case(PACKAGE.as_bytes()))
    })
}

/// The one event of a list that must hold nothing else, when it is of the package.
pub(crate) fn only_event<'m>(msg: &Message<'m>, list: Name) -> Result<Option<Event<'m>>, Fault> {
    if !msg.value(list).is_some_and(touches) {
        return Ok(None);
    }
    let mut events = msg.events(list);
    match (events.next(), events.next()) {
        (Some(event), None) => event.map(|e| e.is_of(PACKAGE).then_some(e)),
        (Some(Err(fault)), _) | (_, Some(Err(fault))) => Err(fault),
        _ => Err(fault(FaultKind::Malformed, what::EVENTS, msg.find(list).map_or(0, |l| l.at))),
    }
}

/// The parameters of a signal or an observed event: those in its only brackets.
pub(crate) fn params<'m>(event: &Event<'m>, at: usize) -> Result<Params<'m>, Fault> {
    let (Some(list), None) = (event.first, event.second) else {
        return Err(fault(FaultKind::Malformed, what::PARAMETERS, at));
    };
    Params::read_quoted(list).map_err(|e| of_params(e, what::PARAMETERS, at))
}

/// The request identifier of a step.
pub(crate) fn request_id<'m>(msg: &Message<'m>) -> Result<&'m [u8], Fault> {
    let found = msg.find(Name::RequestIdentifier);
    let good = found.filter(|l| view::is_request_id(l.value));
    good.map(|l| l.value).ok_or(fault(FaultKind::Malformed, what::REQUEST, found.map_or(0, |l| l.at)))
}

/// The verb, when the message is a command.
pub(crate) fn verb(msg: &Message<'_>) -> Option<Verb> {
    msg.command().map(|(verb, _)| verb)
}

/// `X`, and a list with one event of the package.
pub(crate) fn put_event(
    x: &[u8],
    list: &str,
    event: &str,
    w: &mut Writer<'_>,
    params: impl FnOnce(&mut Quoted<'_, '_>),
) {
    line("X", x, w);
    put_list(list, event, w, params);
}

/// A list with one event of the package.
pub(crate) fn put_list(list: &str, event: &str, w: &mut Writer<'_>, params: impl FnOnce(&mut Quoted<'_, '_>)) {
    w.text(list).put(b": ").text(PACKAGE).put(b"/").text(event).put(b"(");
    params(&mut Quoted::new(w));
    w.put(b")\r\n");
}
