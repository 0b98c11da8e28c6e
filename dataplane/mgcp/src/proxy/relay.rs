//! What passes inside a session: datagrams as they stand, when every message in them may.

use super::{border, read};
use crate::carriage::step;
use crate::code::{self, Code, what};
use crate::view::{Message, Name, Verb, fault};
use crate::write::{response, separator};
use portunus_codec::Writer;
use portunus_keydist::bugs::{Bug, planted};
use portunus_signalling::{Fault, FaultKind, Hop, SessionRef, Up};

fn too_big<E>(_: E) -> Fault {
    fault(FaultKind::TooBig, what::SIZE, 0)
}

/// Why a gateway's message does not pass: another's endpoint, or a step, which nobody takes inside a session.
fn objection(session: &SessionRef<'_>, msg: &Message<'_>) -> Option<Code> {
    let other = |domain| domain != session.idc.as_bytes() && !planted(Bug::NameUnbound);
    match msg.command() {
        Some((_, endpoint)) if other(endpoint.domain) => Some(code::UNKNOWN_ENDPOINT),
        Some(_) if step::is_touched(msg) => Some(code::PROTOCOL_ERROR),
        _ => None,
    }
}

/// True for what takes the whole gateway out of service at once.
fn ends(msg: &Message<'_>) -> bool {
    let forced = msg.value(Name::RestartMethod).is_some_and(|m| m.eq_ignore_ascii_case(b"forced"));
    forced && msg.command().is_some_and(|(verb, endpoint)| verb == Verb::Rsip && endpoint.is_all())
}

/// [`portunus_signalling::Signalling::relay_up`].
pub(super) fn up(session: &SessionRef<'_>, datagram: &[u8], w: &mut Writer<'_>) -> Result<Up, Fault> {
    let begun = w.len();
    let mut deregisters = None;
    for msg in read::messages(datagram) {
        let msg = msg?;
        deregisters = deregisters.or(Some(ends(&msg)));
        let Some(code) = objection(session, &msg) else { continue };
        if w.len() > begun {
            separator(w);
        }
        response(code, msg.transaction(), w);
    }
    if w.len() > begun {
        return w.finish().map(|_| Up::Answer).map_err(too_big);
    }
    border::up(session, datagram, w)?;
    Ok(if deregisters == Some(true) { Up::Deregister } else { Up::Forward })
}

/// [`portunus_signalling::Signalling::relay_down`].
pub(super) fn down(hop: &Hop<'_>, session: &SessionRef<'_>, datagram: &[u8], w: &mut Writer<'_>) -> Result<(), Fault> {
    for msg in read::messages(datagram) {
        let msg = msg?;
        match msg.command() {
            Some((_, endpoint)) if endpoint.domain != session.idc.as_bytes() => {
                return Err(fault(FaultKind::Forbidden, what::ENDPOINT, 0));
            }
            _ if step::is_touched(&msg) => return Err(fault(FaultKind::Forbidden, what::PARAMETERS, 0)),
            _ => {}
        }
    }
    border::down(hop, session, datagram, w)
}
