//! Replies to the registration's commands, refusals, answers to faults, and the proxy's own answers to the core.

use super::{read, steps};
use crate::carriage::steps::{Signal, Step};
use crate::view::Message;
use crate::{ber, write};
use portunus_codec::{Full, Writer};
use portunus_keydist::ident::N1;
use portunus_keydist::steps::Refusal;
use portunus_signalling::{Fault, FaultKind, Hop};

/// Most octets of an answer for each of what it answers, before anything is proven (spec section 2).
const AMPLIFICATION: usize = 3;

/// Error codes of H.248.8.
mod code {
    pub(super) const SYNTAX: u16 = 400;
    pub(super) const PROTOCOL: u16 = 401;
    pub(super) const UNAUTHORIZED: u16 = 402;
    pub(super) const VERSION: u16 = 406;
    pub(super) const TRANSACTIONS: u16 = 413;
    pub(super) const NOT_IMPLEMENTED: u16 = 501;
    pub(super) const UNAVAILABLE: u16 = 503;
}

/// [`portunus_signalling::Signalling::acknowledge`].
pub(super) fn acknowledge(hop: &Hop<'_>, octets: &[u8], w: &mut Writer<'_>) {
    let Ok(msg) = Message::parse(octets) else { return };
    let (begun, version) = (w.len(), msg.version());
    let written = match Step::of(&msg) {
        Ok(Some(Step::Register { id, version: granted, .. })) => {
            write::begin_own(version, &hop.own, w);
            w.put(b"P=").decimal(id.into()).put(b"{C=-{SC=ROOT{SV{V=").decimal(granted.into()).put(b"}}}}");
            w.finish().map(|_| ())
        }
        Ok(Some(Step::Response { id, .. })) => {
            write::begin_own(version, &hop.own, w);
            write::reply(id, "N=ROOT", w)
        }
        _ => return,
    };
    if written.is_err() {
        w.truncate(begun);
    }
}

/// [`portunus_signalling::Signalling::acknowledge_core`].
pub(super) fn acknowledge_core(hop: &Hop<'_>, octets: &[u8], w: &mut Writer<'_>) {
    let Ok(msg) = Message::parse(octets) else { return };
    let begun = w.len();
    if let Ok(Some(Step::Signal { id, name: Signal::Chal | Signal::Key | Signal::Fail, .. })) = Step::of(&msg) {
        write::begin_own(msg.version(), &hop.own, w);
        if write::reply(id, "MF=ROOT", w).is_err() {
            w.truncate(begun);
        }
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
    if read::requests(msg).next().is_none() {
        return Ok(false);
    }
    let begun = w.len();
    write::begin_own(msg.version(), &hop.own, w);
    for t in read::requests(msg) {
        w.put(b"P=").decimal(t.id.into()).put(b"{");
        write::error(code, text, w);
        w.put(b"}");
    }
    w.finish()?;
    Ok(no_amplifier(begun, msg.octets(), w))
}

/// Takes an answer back that is too long for what it answers. True where it stays.
fn no_amplifier(begun: usize, request: &[u8], w: &mut Writer<'_>) -> bool {
    let stays = w.len() - begun <= AMPLIFICATION * request.len();
    if !stays {
        w.truncate(begun);
    }
    stays
}

/// [`portunus_signalling::Signalling::write_refusal`].
pub(super) fn refusal(
    hop: &Hop<'_>,
    request: &[u8],
    refusal: &Refusal,
    n1: Option<&N1>,
    w: &mut Writer<'_>,
) -> Result<(), Full> {
    let msg = Message::parse(request).map_err(|_| Full)?;
    if let (Ok(Some(_)), false) = (Step::of(&msg), matches!(refusal, Refusal::Malformed)) {
        return steps::fail(hop, &msg, refusal, n1, w);
    }
    let (code, text) = match refusal {
        Refusal::Denied | Refusal::Mechanism | Refusal::Stale { .. } => (code::UNAUTHORIZED, "Unauthorized"),
        Refusal::Busy { .. } => (code::UNAVAILABLE, "Service unavailable"),
        Refusal::Malformed => (code::SYNTAX, "Syntax error in message"),
    };
    errors(hop, &msg, code, text, w).map(|_| ())
}

/// [`portunus_signalling::Signalling::write_fault`] and [`portunus_signalling::Signalling::write_core_fault`].
pub(super) fn fault(hop: &Hop<'_>, request: &[u8], fault: &Fault, w: &mut Writer<'_>) -> Result<bool, Full> {
    if ber::is_binary(request) {
        return binary(hop, request, w);
    }
    let (code, text) = match fault.kind {
        FaultKind::Unreadable => return Ok(false),
        FaultKind::Unsupported if fault.what == "version" => return other_version(hop, request, w),
        FaultKind::Malformed => (code::SYNTAX, "Syntax error in message"),
        FaultKind::TooBig if fault.what == "transactions" => (code::TRANSACTIONS, "Too many transactions"),
        FaultKind::TooBig => (code::SYNTAX, "Message too large"),
        FaultKind::Forbidden => (code::UNAUTHORIZED, "Unauthorized"),
        FaultKind::Unsupported => (code::PROTOCOL, "Protocol error"),
    };
    // What could be read of a message with more than one request is answered request by request.
    if let Ok(msg) = Message::parse(request) {
        return errors(hop, &msg, code, text, w);
    }
    let Some((version, id)) = Message::salvage(request) else { return Ok(false) };
    let begun = w.len();
    write::begin_own(version, &hop.own, w);
    match id {
        Some(id) => {
            w.put(b"P=").decimal(id.into()).put(b"{");
            write::error(code, text, w);
            w.put(b"}");
        }
        None => write::error(code, text, w),
    }
    w.finish()?;
    Ok(no_amplifier(begun, request, w))
}

/// A version other than 1 to 3, which may mean anything: no identifier is repeated.
fn other_version(hop: &Hop<'_>, request: &[u8], w: &mut Writer<'_>) -> Result<bool, Full> {
    let begun = w.len();
    write::begin_own(3, &hop.own, w);
    write::error(code::VERSION, "Version not supported", w);
    w.finish()?;
    Ok(no_amplifier(begun, request, w))
}

fn binary(hop: &Hop<'_>, request: &[u8], w: &mut Writer<'_>) -> Result<bool, Full> {
    let Some(version) = ber::version(request) else { return Ok(false) };
    let begun = w.len();
    // A domain name whatever it holds: IA5 text of at most 63 octets.
    ber::write_error(version, hop.own.idsp.as_bytes(), w)?;
    Ok(no_amplifier(begun, request, w))
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
