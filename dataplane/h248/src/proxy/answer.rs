//! Replies to the registration's commands, refusals, answers to faults, and the proxy's own answers to the core.

use super::notes::{Noted, Which};
use super::steps;
use crate::carriage::faults::{self, code};
use crate::carriage::steps::{Signal, Step, may_mention};
use crate::view::Message;
use crate::write;
use portunus_codec::{Full, Writer};
use portunus_keydist::ident::N1;
use portunus_keydist::steps::Refusal;
use portunus_signalling::{Fault, Hop};

/// [`portunus_signalling::Signalling::acknowledge`].
pub(super) fn acknowledge(hop: &Hop<'_>, octets: &[u8], w: &mut Writer<'_>) {
    let Some(Noted { version, id, which, .. }) = Noted::read(octets, hop.marks) else { return };
    let begun = w.len();
    write::begin_own(version, &hop.own, w);
    let written = match which {
        Which::Register { version: granted, .. } => {
            w.put(b"P=").decimal(id.into()).put(b"{C=-{SC=ROOT{SV{V=").decimal(granted.into()).put(b"}}}}");
            w.finish().map(|_| ())
        }
        Which::Response { .. } => write::reply(id, "N=ROOT", w),
    };
    if written.is_err() {
        w.truncate(begun);
    }
}

/// [`portunus_signalling::Signalling::acknowledge_core`].
pub(super) fn acknowledge_core(hop: &Hop<'_>, octets: &[u8], w: &mut Writer<'_>) {
    if !may_mention(octets) {
        return;
    }
    let Ok(msg) = Message::parse(octets) else { return };
    if let Ok(Some(Step::Signal { id, name: Signal::Chal | Signal::Key | Signal::Fail, .. })) = Step::of(&msg) {
        reply_to_signal(hop, (msg.version(), id), w);
    }
}

/// [`portunus_signalling::Signalling::acknowledge_step`]: a step is the only command of its message.
pub(super) fn acknowledge_step(hop: &Hop<'_>, octets: &[u8], w: &mut Writer<'_>) {
    if let Some((version, Some(id))) = Message::salvage(octets) {
        reply_to_signal(hop, (version, id), w);
    }
}

fn reply_to_signal(hop: &Hop<'_>, (version, id): (u8, u32), w: &mut Writer<'_>) {
    let begun = w.len();
    write::begin_own(version, &hop.own, w);
    if write::reply(id, "MF=ROOT", w).is_err() {
        w.truncate(begun);
    }
}

/// One error for each transaction request of a message; nothing where it has none.
pub(super) fn errors(
    hop: &Hop<'_>,
    msg: &Message<'_>,
    code: u16,
    text: &str,
    w: &mut Writer<'_>,
) -> Result<bool, Full> {
    faults::errors(&|version, w: &mut Writer<'_>| write::begin_own(version, &hop.own, w), msg, code, text, w)
}

/// [`portunus_signalling::Signalling::write_refusal`].
pub(super) fn refusal(
    hop: &Hop<'_>,
    request: &[u8],
    refusal: &Refusal,
    n1: Option<&N1>,
    w: &mut Writer<'_>,
) -> Result<(), Full> {
    if Noted::read(request, hop.marks).is_some() && !matches!(refusal, Refusal::Malformed) {
        return steps::fail(hop, request, refusal, n1, w);
    }
    let msg = Message::parse(request).map_err(|_| Full)?;
    let (code, text) = match refusal {
        Refusal::Denied | Refusal::Mechanism | Refusal::Stale { .. } => (code::UNAUTHORIZED, "Unauthorized"),
        Refusal::Busy { .. } => (code::UNAVAILABLE, "Service unavailable"),
        Refusal::Malformed => (code::SYNTAX, "Syntax error in message"),
    };
    errors(hop, &msg, code, text, w).map(|_| ())
}

/// [`portunus_signalling::Signalling::write_fault`] and [`portunus_signalling::Signalling::write_core_fault`].
pub(super) fn fault(hop: &Hop<'_>, request: &[u8], fault: &Fault, w: &mut Writer<'_>) -> Result<bool, Full> {
    faults::write(|version, w| write::begin_own(version, &hop.own, w), hop.own.idsp.as_bytes(), request, fault, w)
}

/// [`portunus_signalling::Signalling::answer_own`].
pub(super) fn own(hop: &Hop<'_>, request: &[u8], reachable: bool, w: &mut Writer<'_>) -> Result<(), Full> {
    let msg = Message::parse(request).map_err(|_| Full)?;
    let (code, text) = match reachable {
        true => (code::NOT_IMPLEMENTED, "Not implemented"),
        false => (code::UNAVAILABLE, "Service unavailable"),
    };
    errors(hop, &msg, code, text, w).map(|_| ())
}
