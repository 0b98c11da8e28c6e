//! What passes through a session.

use super::{answer, read};
use crate::carriage::steps::mentions;
use crate::view::{CommandKind, Element, Message, Method, is_address};
use crate::write;
use portunus_codec::{Full, Writer};
use portunus_keydist::bugs::{Bug, planted};
use portunus_signalling::{Fault, FaultKind, Hop, SessionRef, Up};

fn too_big(_: Full) -> Fault {
    Fault { kind: FaultKind::TooBig, what: "message", at: 0 }
}

/// [`portunus_signalling::Signalling::relay_up`].
pub(super) fn up(hop: &Hop<'_>, session: &SessionRef<'_>, octets: &[u8], w: &mut Writer<'_>) -> Result<Up, Fault> {
    let msg = Message::parse(octets)?;
    read::forbid_auth(&msg)?;
    if msg.mid().idc() != Some(session.idc) && !planted(Bug::NameUnbound) {
        let answered = answer::errors(hop, &msg, 402, "Unauthorized", w).map_err(too_big)?;
        return Ok(if answered { Up::Answer } else { Up::Drop });
    }
    if mentions(&msg) {
        return Err(msg.fault(FaultKind::Forbidden, "portunus", octets));
    }
    write::begin(msg.version(), msg.mid().text, w);
    put_body(&msg, w).map_err(too_big)?;
    Ok(purpose(&msg))
}

/// What a gateway's message does to its registration.
fn purpose(msg: &Message<'_>) -> Up {
    let mut purpose = Up::Forward;
    for command in read::requests(msg).flat_map(|t| t.actions()).flat_map(|a| a.commands()) {
        if command.kind != CommandKind::ServiceChange || !command.is_root() {
            continue;
        }
        match command.services().and_then(|s| s.method()) {
            Some(Method::Forced) => return Up::Deregister,
            Some(method) if method.registers() => purpose = Up::Refresh,
            _ => {}
        }
    }
    purpose
}

/// [`portunus_signalling::Signalling::relay_down`].
pub(super) fn down(hop: &Hop<'_>, octets: &[u8], w: &mut Writer<'_>) -> Result<(), Fault> {
    let msg = Message::parse(octets)?;
    if mentions(&msg) {
        return Err(msg.fault(FaultKind::Forbidden, "portunus", octets));
    }
    write::begin_own(msg.version(), &hop.own, w);
    put_body(&msg, w).map_err(too_big)
}

/// The body as it came, without the transport addresses that a ServiceChange or its reply names.
fn put_body(msg: &Message<'_>, w: &mut Writer<'_>) -> Result<(), Full> {
    let octets = msg.octets();
    let (_, _, mut from) = msg.places();
    for services in msg.transactions().flat_map(|t| t.actions()).flat_map(|a| a.commands()).filter_map(|c| c.services())
    {
        let mut before: Option<Element<'_>> = None;
        let mut list = services.elements().peekable();
        while let Some(e) = list.next() {
            if is_address(&e) {
                // With the comma before it; where it is the first, with the one behind it. Where it is alone, as in a
                // reply it may be, the version stands in its place.
                let cut = match (before, list.peek()) {
                    (Some(before), _) => (before.span().1, e.span().1),
                    (None, Some(next)) => (e.span().0, next.span().0),
                    (None, None) => e.span(),
                };
                w.put(octets.get(from..cut.0).unwrap_or_default());
                from = cut.1;
                if cut == e.span() {
                    w.put(b"V=").decimal(msg.version().into());
                }
                // What goes is not what the next is counted from.
                continue;
            }
            before = Some(e);
        }
    }
    w.put(octets.get(from..).unwrap_or_default()).finish().map(|_| ())
}
