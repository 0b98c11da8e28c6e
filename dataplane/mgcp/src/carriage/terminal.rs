//! The gateway's end: writes s1 and s7; reads the proxy's commands.

use super::step;
use crate::code::what;
use crate::view::{Endpoint, Message, Name, Verb, fault};
use crate::write::{command, command_to, line};
use crate::{PACKAGE, view};
use core::ops::Range;
use portunus_codec::{Full, Writer, hex_decode};
use portunus_keydist::ident::N1;
use portunus_keydist::steps::{Refusal, S1, S6, S7, S10};
use portunus_signalling::{Fault, FaultKind};

/// A command of the proxy's that belongs to a registration.
#[derive(Debug, Clone)]
pub struct Reply<'m> {
    /// Its transaction, to be answered with 200.
    pub transaction: u32,
    /// Its endpoint: that of s7.
    pub endpoint: Endpoint<'m>,
    /// Its request identifier: that of s7.
    pub x: &'m [u8],
    /// What it says.
    pub answer: Answer<'m>,
}

/// What it says.
#[derive(Debug, Clone)]
pub enum Answer<'m> {
    /// s6.
    Challenge(S6<'m>),
    /// The stateless cookie: repeat s1 with it.
    Cookie {
        /// The N1 that it answers.
        n1: N1,
        /// The proxy's clock.
        ts: u64,
        /// The cookie, to be repeated octet by octet.
        cookie: &'m [u8],
    },
    /// s10. Its MAC is `mac_value`, found at `mac` in the datagram and computed over the datagram with
    /// [`crate::MAC_PLACEHOLDER`] in its place.
    Key {
        /// The step.
        s10: S10<'m>,
        /// Where the MAC's 64 digits stand.
        mac: Range<usize>,
        /// The MAC, decoded.
        mac_value: [u8; 32],
    },
    /// A refusal.
    Refused {
        /// The N1 that it answers.
        n1: N1,
        /// Why.
        refusal: Refusal,
    },
}

/// s1: `local` is what registers, `*` for all of the gateway's endpoints; `method` is `restart` or `disconnected`.
///
/// # Errors
/// [`Full`].
pub fn write_s1(transaction: u32, local: &str, method: &str, s1: &S1<'_>, w: &mut Writer<'_>) -> Result<(), Full> {
    command(Verb::Rsip, transaction, local.as_bytes(), s1.idc.as_bytes(), w);
    line("RM", method.as_bytes(), w);
    w.put(b"X-PKD: ");
    s1.write_services(w);
    w.put(b"\r\n");
    w.finish().map(|_| ())
}

/// s7, under the endpoint and the request identifier of s6.
///
/// # Errors
/// [`Full`].
pub fn write_s7(
    transaction: u32,
    endpoint: &Endpoint<'_>,
    x: &[u8],
    s7: &S7<'_>,
    w: &mut Writer<'_>,
) -> Result<(), Full> {
    command_to(Verb::Ntfy, transaction, endpoint, w);
    step::put_event(x, "O", "resp", w, |q| q.s7(s7));
    w.finish().map(|_| ())
}

/// Reads a command of the proxy's; `None` where the datagram holds none of the package: a response, or what may only be
/// obeyed inside a session.
///
/// # Errors
/// A [`Fault`] of a message that is meant to be a step.
pub fn read(datagram: &[u8]) -> Result<Option<Reply<'_>>, Fault> {
    let msg = match Message::alone(datagram) {
        // Nothing of the proxy's is piggy-backed before there is a session.
        Err(Fault { what: what::PIGGY_BACK, .. }) => return Ok(None),
        other => other?,
    };
    let Some((Verb::Rqnt, endpoint)) = msg.command() else { return Ok(None) };
    let Some(event) = step::only_event(&msg, Name::SignalRequests)? else { return Ok(None) };
    let at = msg.find(Name::SignalRequests).map_or(0, |l| l.at);
    let params = step::params(&event, at)?;
    let of = |e| step::of_params(e, what::PARAMETERS, at);
    let n1 = params.n1.ok_or(fault(FaultKind::Malformed, what::PARAMETERS, at));
    let answer = if event.is(PACKAGE, "chal") {
        Answer::Challenge(params.s6().map_err(of)?)
    } else if event.is(PACKAGE, "key") {
        let (mac, mac_value) = mac(&msg)?;
        Answer::Key { s10: params.s10().map_err(of)?, mac, mac_value }
    } else if event.is(PACKAGE, "fail") {
        Answer::Refused { n1: n1?, refusal: params.refusal().map_err(of)? }
    } else if let (true, Some(ts), Some(cookie)) = (event.is(PACKAGE, "cookie"), params.ts, params.cookie) {
        Answer::Cookie { n1: n1?, ts, cookie }
    } else {
        return Err(fault(FaultKind::Malformed, what::EVENTS, at));
    };
    if msg.find(Name::PkdMac).is_some() && !matches!(answer, Answer::Key { .. }) {
        return Err(fault(FaultKind::Malformed, what::MAC, at));
    }
    Ok(Some(Reply { transaction: msg.transaction(), endpoint, x: step::request_id(&msg)?, answer }))
}

/// The MAC's place and value: 64 lower-case digits in the last line, with nothing behind it.
fn mac(msg: &Message<'_>) -> Result<(Range<usize>, [u8; 32]), Fault> {
    let last = msg.last().filter(|l| l.name == Name::PkdMac);
    let line = last.ok_or(fault(FaultKind::Malformed, what::MAC, msg.octets().len()))?;
    let range = line.at..line.at + line.value.len();
    let rest = msg.octets().get(range.end..).unwrap_or_default();
    match hex_decode(line.value) {
        Some(value) if matches!(rest, b"\r\n" | b"\n") => Ok((range, value)),
        _ => Err(fault(FaultKind::Malformed, what::MAC, line.at)),
    }
}

/// The code that a response of the proxy's says, and its transaction; `None` where the datagram is none.
pub fn read_response(datagram: &[u8]) -> Option<(crate::code::Code, u32)> {
    let msg = view::Message::alone(datagram).ok()?;
    msg.code().map(|code| (code, msg.transaction()))
}
