//! What passes through a session.

use super::{border, read, steps};
use crate::carriage::values::{first_alias_is, forbidden};
use crate::view::{Kind, Message, Reason};
use crate::write;
use portunus_codec::{Full, Writer};
use portunus_keydist::ident::Idc;
use portunus_signalling::{Fault, FaultKind, Hop, SessionRef, Up};

fn too_big(_: Full) -> Fault {
    Fault { kind: FaultKind::TooBig, what: "message", at: 0 }
}

/// True when a message bears its session's name, wherever it names its sender. An answering endpoint's AdmissionRequest
/// names the caller there.
fn bears(msg: &Message<'_>, idc: Idc<'_>) -> bool {
    match msg.kind() {
        Kind::GatekeeperRequest => first_alias_is(msg, idc),
        Kind::RegistrationRequest => !msg.has_aliases() && msg.keep_alive() || first_alias_is(msg, idc),
        Kind::AdmissionRequest if msg.answer_call() => true,
        Kind::UnregistrationRequest | Kind::AdmissionRequest | Kind::LocationRequest | Kind::InfoRequestResponse => {
            let mut named = msg.aliases().peekable();
            named.peek().is_none() || named.any(|alias| alias.is(idc.as_str()))
        }
        _ => true,
    }
}

/// [`portunus_signalling::Signalling::relay_up`].
pub(super) fn up(session: &SessionRef<'_>, octets: &[u8], w: &mut Writer<'_>) -> Result<Up, Fault> {
    let msg = Message::parse(octets)?;
    let token = read::forbid_core_only(&msg)?;
    if !bears(&msg, session.idc) {
        return match msg.kind().reject() {
            Some(reject) => {
                let reason = Reason::security_error(reject, 3);
                write::reject(reject, msg.seq(), reason, None, w).map_err(too_big)?;
                Ok(Up::Answer)
            }
            None => Ok(Up::Drop),
        };
    }
    match (token.is_none(), msg.kind().root_index()) {
        (true, _) => _ = w.put(octets).finish().map_err(too_big)?,
        // A session's own registrations carry none: the channel says who sends.
        (false, Some(_)) => steps::without_tokens(&msg, w).map_err(too_big)?,
        (false, None) => return Err(forbidden("tokens")),
    }
    Ok(match msg.kind() {
        Kind::RegistrationRequest => Up::Refresh,
        Kind::UnregistrationRequest => Up::Deregister,
        _ => Up::Forward,
    })
}

/// [`portunus_signalling::Signalling::relay_down`].
pub(super) fn down(hop: &Hop<'_>, session: &SessionRef<'_>, octets: &[u8], w: &mut Writer<'_>) -> Result<(), Fault> {
    let (msg, start) = (Message::parse(octets)?, w.len());
    let clean = msg.token()?.is_none() && !msg.has_mac();
    match (clean, msg.kind().root_index()) {
        (true, _) => w.put(octets).finish().map(|_| ()).map_err(too_big),
        (false, Some(_)) => steps::without_tokens(&msg, w).map_err(too_big),
        // Added alternatives have their tokens in the root, which is not edited; none of PKD1's has any business there.
        (false, None) => Err(forbidden("tokens")),
    }?;
    border::own_address(hop, session, &msg, (start, w))
}
