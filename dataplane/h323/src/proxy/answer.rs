//! Refusals, answers to faults, and the proxy's own answers to the core.

use super::steps::rejection;
use crate::view::{Element, Kind, Message, Reason};
use crate::write;
use portunus_codec::{Full, Writer};
use portunus_keydist::ident::N1;
use portunus_keydist::steps::Refusal;
use portunus_signalling::{Fault, FaultKind, Hop};

/// Longest message that is repeated in an UnknownMessageResponse.
const REPEATED_MAX: usize = 1024;

/// [`portunus_signalling::Signalling::write_refusal`].
pub(super) fn refusal(
    hop: &Hop<'_>,
    request: &[u8],
    refusal: &Refusal,
    n1: Option<&N1>,
    w: &mut Writer<'_>,
) -> Result<(), Full> {
    if let (Refusal::Stale { ts }, Some(n1)) = (refusal, n1) {
        let octets = ts.to_be_bytes();
        let elements = [(Element::N1, &n1.as_bytes()[..]), (Element::Ts, &octets[..])];
        let wrong_time = |kind| Reason::security_error(kind, 0);
        return rejection((hop, request), wrong_time, (hop.own.idsp.as_str(), *ts, None), &elements, w);
    }
    let Some((kind, seq)) = known(request) else { return Ok(()) };
    let Some(reject) = kind.reject() else { return unknown(kind, seq, request, w).map(|_| ()) };
    let reason = match refusal {
        Refusal::Denied => Reason::security_denial(reject),
        Refusal::Stale { .. } => Reason::security_error(reject, 0),
        Refusal::Mechanism => Reason::needed_feature(reject),
        Refusal::Busy { .. } => Reason::resource_unavailable(reject),
        Refusal::Malformed => Reason::undefined(reject),
    };
    write::reject(reject, seq, reason, None, w)
}

/// [`portunus_signalling::Signalling::write_progress`]: with the terminal's number and the core's delay. Whatever else the core's
/// message bears is not for a terminal that is not authenticated.
pub(super) fn progress(
    hop: &Hop<'_>,
    request: &[u8],
    core_msg: &[u8],
    w: &mut Writer<'_>,
) -> Result<Option<u32>, Full> {
    let core_msg = Message::parse(core_msg).map_err(|_| Full)?;
    let Some(delay_ms) = core_msg.delay_ms().filter(|_| core_msg.kind() == Kind::RequestInProgress) else {
        return Ok(None);
    };
    let request = Message::marked(request, hop.marks).map_err(|_| Full)?;
    write::request_in_progress(request.seq(), delay_ms as u16, w)?;
    Ok(Some(delay_ms))
}

/// Kind and number, of a message that need not be well formed.
fn known(octets: &[u8]) -> Option<(Kind, u16)> {
    Message::salvage(octets).or_else(|| Message::parse(octets).ok().map(|msg| (msg.kind(), msg.seq())))
}

/// Most octets of an answer for each of what it answers, where nobody has proven to be its source (spec section 2). Rejections
/// keep to it by themselves.
const AMPLIFICATION: usize = 3;

/// XRS to what is not understood; nothing to the rest. True when something was written.
fn unknown(kind: Kind, seq: u16, message: &[u8], w: &mut Writer<'_>) -> Result<bool, Full> {
    if !matches!(kind, Kind::Unknown(_) | Kind::NonStandardMessage) {
        return Ok(false);
    }
    let repeated = if message.len() <= REPEATED_MAX { message } else { &[] };
    let begun = w.len();
    write::unknown_message_response(seq, repeated, w)?;
    let stays = w.len() - begun <= AMPLIFICATION * message.len();
    if !stays {
        w.truncate(begun);
    }
    Ok(stays)
}

/// The answer to a message that was not taken: requests are rejected with the reason that says most, what is unknown is
/// answered so, and nothing else is answered. True when something was written.
///
/// # Errors
/// [`Full`].
pub fn fault(request: &[u8], fault: &Fault, w: &mut Writer<'_>) -> Result<bool, Full> {
    let Some((kind, seq)) = known(request) else { return Ok(false) };
    let Some(reject) = kind.reject() else { return unknown(kind, seq, request, w) };
    let reason = match (fault.kind, fault.what) {
        (FaultKind::Unreadable, _) => return Ok(false),
        (FaultKind::Malformed | FaultKind::TooBig, "tokenOID") => Reason::security_error(reject, 5),
        (FaultKind::Forbidden, "sendersID") => Reason::security_error(reject, 3),
        (FaultKind::Forbidden, _) => Reason::security_denial(reject),
        (FaultKind::Malformed | FaultKind::TooBig | FaultKind::Unsupported, _) => Reason::undefined(reject),
    };
    write::reject(reject, seq, reason, None, w).map(|()| true)
}

/// [`portunus_signalling::Signalling::answer_own`]: nobody is registered here under that lane; nothing is ever asked of the
/// proxy itself.
pub(super) fn own(request: &[u8], reachable: bool, w: &mut Writer<'_>) -> Result<(), Full> {
    let Some((kind, seq)) = known(request) else { return Ok(()) };
    match kind.reject() {
        Some(reject) if !reachable => {
            let reason = match reject {
                Kind::UnregistrationReject | Kind::DisengageReject | Kind::LocationReject => Reason::Root(0),
                other => Reason::undefined(other),
            };
            write::reject(reject, seq, reason, None, w)
        }
        _ => unknown(kind, seq, request, w).map(|_| ()),
    }
}
