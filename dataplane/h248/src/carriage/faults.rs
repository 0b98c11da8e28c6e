//! The answer to a message that was not taken: in a reply where its transaction's identifier can be read, else for the
//! whole message. A reply, an error or an acknowledgement is never answered, and no answer is an amplifier.

use crate::view::{Kind, Message};
use crate::{ber, write};
use portunus_codec::{Full, Writer};
use portunus_signalling::{Fault, FaultKind};

/// Most octets of an answer for each of what it answers, before anything is proven (spec section 2).
const AMPLIFICATION: usize = 3;

/// Error codes of H.248.8.
pub(crate) mod code {
    pub(crate) const SYNTAX: u16 = 400;
    pub(crate) const PROTOCOL: u16 = 401;
    pub(crate) const UNAUTHORIZED: u16 = 402;
    pub(crate) const VERSION: u16 = 406;
    pub(crate) const TRANSACTIONS: u16 = 413;
    pub(crate) const NOT_IMPLEMENTED: u16 = 501;
    pub(crate) const UNAVAILABLE: u16 = 503;
}

/// Writes the answer that is due; `false` when none is. `begin` writes version and identifier of whoever answers,
/// `name` is that identifier in the binary encoding: at most 63 octets.
pub(crate) fn write(
    begin: impl Fn(u8, &mut Writer<'_>),
    name: &[u8],
    request: &[u8],
    fault: &Fault,
    w: &mut Writer<'_>,
) -> Result<bool, Full> {
    let begun = w.len();
    if ber::is_binary(request) {
        let Some(version) = ber::version(request) else { return Ok(false) };
        ber::write_error(version, name, w)?;
        return Ok(no_amplifier(begun, request, w));
    }
    let (code, text) = match fault.kind {
        FaultKind::Unreadable => return Ok(false),
        FaultKind::Unsupported if fault.what == "version" => {
            // Another version may mean anything: no identifier is repeated.
            begin(3, w);
            write::error(code::VERSION, "Version not supported", w);
            w.finish()?;
            return Ok(no_amplifier(begun, request, w));
        }
        FaultKind::Malformed => (code::SYNTAX, "Syntax error in message"),
        FaultKind::TooBig if fault.what == "transactions" => (code::TRANSACTIONS, "Too many transactions"),
        FaultKind::TooBig => (code::SYNTAX, "Message too large"),
        FaultKind::Forbidden => (code::UNAUTHORIZED, "Unauthorized"),
        FaultKind::Unsupported => (code::PROTOCOL, "Protocol error"),
    };
    // What could be read of a message with more than one request is answered request by request.
    if let Ok(msg) = Message::parse(request) {
        return errors(&begin, &msg, code, text, w);
    }
    let Some((version, id)) = Message::salvage(request) else { return Ok(false) };
    begin(version, w);
    match id {
        Some(id) => put_reply(id, code, text, w),
        None => write::error(code, text, w),
    }
    w.finish()?;
    Ok(no_amplifier(begun, request, w))
}

/// One error for each transaction request of a message; nothing where it has none.
pub(crate) fn errors(
    begin: &impl Fn(u8, &mut Writer<'_>),
    msg: &Message<'_>,
    code: u16,
    text: &str,
    w: &mut Writer<'_>,
) -> Result<bool, Full> {
    let requests = || msg.transactions().filter(|t| t.kind == Kind::Request);
    if requests().next().is_none() {
        return Ok(false);
    }
    let begun = w.len();
    begin(msg.version(), w);
    for t in requests() {
        put_reply(t.id, code, text, w);
    }
    w.finish()?;
    Ok(no_amplifier(begun, msg.octets(), w))
}

fn put_reply(id: u32, code: u16, text: &str, w: &mut Writer<'_>) {
    w.put(b"P=").decimal(id.into()).put(b"{");
    write::error(code, text, w);
    w.put(b"}");
}

/// Takes an answer back that is too long for what it answers. True where it stays.
fn no_amplifier(begun: usize, request: &[u8], w: &mut Writer<'_>) -> bool {
    let stays = w.len() - begun <= AMPLIFICATION * request.len();
    if !stays {
        w.truncate(begun);
    }
    stays
}
