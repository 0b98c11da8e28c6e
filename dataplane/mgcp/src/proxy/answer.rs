//! Acknowledgements, refusals, answers to faults, and the proxy's own answers to the core.

use super::{read, steps};
use crate::code::{self, Code};
use crate::view::{Message, PARTS_MAX, Parts};
use crate::write::{response, separator};
use portunus_codec::{Full, Writer};
use portunus_keydist::ident::N1;
use portunus_keydist::steps::Refusal;
use portunus_signalling::{Fault, FaultKind, Hop};

/// 200 for the s1 or s7 that a datagram is.
pub(super) fn acknowledge(datagram: &[u8], w: &mut Writer<'_>) {
    if let Some(transaction) = Message::salvage(datagram) {
        response(code::OK, transaction, w);
    }
}

/// 200 for the core's step in a datagram.
pub(super) fn acknowledge_core(datagram: &[u8], w: &mut Writer<'_>) {
    if let Some(step) = read::core_step(datagram) {
        response(code::OK, step.transaction(), w);
    }
}

/// [`portunus_signalling::Signalling::acknowledge_step`]: what is alone in its datagram is the step.
pub(super) fn acknowledge_step(datagram: &[u8], w: &mut Writer<'_>) {
    let alone = Parts::new(datagram).next().is_some_and(|first| first.len() == datagram.len());
    match Message::salvage(datagram).filter(|_| alone) {
        Some(transaction) => response(code::OK, transaction, w),
        None => acknowledge_core(datagram, w),
    }
}

/// One response for every command of a datagram, piggy-backed as they were; none for responses. False when there was
/// nothing to answer.
fn each_command(
    datagram: &[u8],
    w: &mut Writer<'_>,
    mut answer: impl FnMut(&[u8]) -> Option<Code>,
) -> Result<bool, Full> {
    let mut any = false;
    for part in Parts::new(datagram).take(PARTS_MAX) {
        let Some((code, transaction)) = Message::salvage(part).and_then(|t| Some((answer(part)?, t))) else { continue };
        if any {
            separator(w);
        }
        any = true;
        response(code, transaction, w);
    }
    w.finish().map(|_| any)
}

/// [`portunus_signalling::Signalling::write_refusal`]: a step's by a command of the proxy's, any other command's by its
/// return code.
pub(super) fn refusal(
    hop: &Hop<'_>,
    request: &[u8],
    refusal: &Refusal,
    n1: Option<&N1>,
    w: &mut Writer<'_>,
) -> Result<(), Full> {
    let code = match (refusal, n1) {
        (Refusal::Malformed, _) => code::PROTOCOL_ERROR,
        (_, Some(n1)) => return steps::refusal(hop, request, refusal, n1, w),
        (Refusal::Busy { .. }, None) => code::OVERLOAD,
        _ => code::NOT_READY,
    };
    each_command(request, w, |_| Some(code)).map(|_| ())
}

/// [`portunus_signalling::Signalling::write_fault`] and [`portunus_signalling::Signalling::write_core_fault`]: each
/// message that is at fault by itself gets its own code; where none is, the first command gets that of `fault`.
pub(super) fn fault(request: &[u8], fault: &Fault, w: &mut Writer<'_>) -> Result<bool, Full> {
    let own = |part: &[u8]| match Message::parse(part) {
        Err(Fault { kind: FaultKind::Unreadable, .. }) | Ok(_) => None,
        Err(fault) => Some(code::of(&fault)),
    };
    if each_command(request, w, own)? {
        return Ok(true);
    }
    if fault.kind == FaultKind::Unreadable {
        return Ok(false);
    }
    let mut first = true;
    each_command(request, w, |_| core::mem::take(&mut first).then(|| code::of(fault)))
}

/// [`portunus_signalling::Signalling::answer_own`]: the gateway has no session, so none of its endpoints is ready.
pub(super) fn own(request: &[u8], reachable: bool, w: &mut Writer<'_>) -> Result<(), Full> {
    if reachable {
        return Ok(());
    }
    each_command(request, w, |_| Some(code::NOT_READY)).map(|_| ())
}
