//! The gateway's end: writes s1 and s7, reads what the proxy answers.

use super::message::Sender;
use super::steps::{Signal, Step, param_fault};
use crate::view::{Kind, Message};
use crate::write;
use core::ops::Range;
use portunus_codec::{Full, Writer, hex_decode};
use portunus_keydist::ident::N1;
use portunus_keydist::mech::Sel;
use portunus_keydist::steps::{Refusal, S1, S6, S7, S10};
use portunus_signalling::{Fault, FaultKind};

/// The sequence number of s10's authentication header.
pub(crate) const SEQUENCE: u32 = 1;

/// What the proxy says outside a session.
#[derive(Debug, Clone)]
pub enum FromProxy<'m> {
    /// s6, to be replied to, and answered by s7.
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
    /// s10. Its MAC is `mac_value`, found at `mac` in the message and computed over the message with
    /// [`crate::MAC_PLACEHOLDER`] in its place.
    Key {
        /// The step.
        s10: S10<'m>,
        /// Where the MAC's 64 digits stand.
        mac: Range<usize>,
        /// The MAC, decoded.
        mac_value: [u8; 32],
    },
    /// A registration was not granted.
    Refused {
        /// The N1 that it answers, where it says so.
        n1: Option<N1>,
        /// Why.
        refusal: Refusal,
    },
    /// The reply to a command of the gateway's own.
    Reply {
        /// Whose: the transaction's identifier.
        id: u32,
        /// The code of the error that it met, the first where there are several.
        error: Option<u16>,
    },
    /// The error that a whole message got.
    Error(u16),
    /// The reply comes later.
    Pending(u32),
    /// Any other request.
    Request,
}

/// Writes s1: the registration of a gateway that starts cold. It proposes the version that the gateway speaks under a
/// header of version 1, which everybody reads (H.248.1 section 11.3).
///
/// # Errors
/// [`Full`].
pub fn write_s1(from: &Sender<'_>, id: u32, s1: &S1<'_>, w: &mut Writer<'_>) -> Result<(), Full> {
    write::begin_as(1, from.idc, w);
    write::request(id, w, |w| {
        w.put(b"SC=ROOT{SV{MT=RS,RE=\"901 Cold Boot\",V=").decimal(from.version.into()).put(b",X-PKD=\"");
        s1.write_services(w);
        w.put(b"\"}}");
    })
}

/// Writes s7, which answers the request for events 1 of s6.
///
/// # Errors
/// [`Full`].
pub fn write_s7(from: &Sender<'_>, id: u32, s7: &S7<'_>, w: &mut Writer<'_>) -> Result<(), Full> {
    write::begin_as(from.version, from.idc, w);
    write::response(id, 1, w, |q| q.s7(s7))
}

/// Writes the reply to a step of the proxy's.
///
/// # Errors
/// [`Full`].
pub fn write_step_reply(from: &Sender<'_>, id: u32, w: &mut Writer<'_>) -> Result<(), Full> {
    write::begin_as(from.version, from.idc, w);
    write::reply(id, "MF=ROOT", w)
}

/// Reads what the proxy says outside a session, with the identifier of its transaction; 0 where it has none. `msg` is
/// the whole datagram, or the message without its TPKT header.
///
/// # Errors
/// A [`Fault`]: no message, or malformed.
pub fn read(msg: &[u8]) -> Result<(u32, FromProxy<'_>), Fault> {
    let view = Message::parse(msg)?;
    let Some(step) = Step::of(&view)? else { return Ok(other(&view)) };
    let Step::Signal { id, name, params } = step else {
        return Err(view.fault(FaultKind::Unsupported, "command", msg));
    };
    let bad = |e| param_fault(&view, msg, &e);
    let said = match name {
        Signal::Chal => FromProxy::Challenge(params.s6().map_err(bad)?),
        Signal::Fail => FromProxy::Refused { n1: params.n1, refusal: params.refusal().map_err(bad)? },
        Signal::Cookie => match (params.n1, params.ts, params.cookie) {
            (Some(n1), Some(ts), Some(cookie)) => FromProxy::Cookie { n1, ts, cookie },
            _ => return Err(view.fault(FaultKind::Malformed, "cookie", msg)),
        },
        Signal::Key => key(&view, params.s10().map_err(bad)?)?,
    };
    Ok((id, said))
}

/// The security parameters index of s10: the low half of the session key's handle, or where the mechanism has an index
/// of its own, that.
pub(crate) fn spi(sel: &Sel) -> u32 {
    sel.kid().map(|kid| kid as u32).or(sel.spi_s()).unwrap_or(0)
}

/// s10 with its MAC, which is the authentication header's data: nothing stands before that header, its SPI is the
/// session's, and its sequence number 1.
fn key<'m>(view: &Message<'m>, s10: S10<'m>) -> Result<FromProxy<'m>, Fault> {
    let bad = || view.fault(FaultKind::Malformed, "authentication header", view.octets());
    let auth = view.auth().ok_or_else(bad)?;
    let mac_value = hex_decode(auth.data).ok_or_else(bad)?;
    let spi = Sel::parse(s10.sel).map_or(0, |sel| spi(&sel));
    if auth.sequence != SEQUENCE || auth.spi != spi || !view.octets().starts_with(b"AU=0x") {
        return Err(bad());
    }
    Ok(FromProxy::Key { s10, mac: auth.at..auth.at + auth.data.len(), mac_value })
}

/// What is no step.
fn other<'m>(view: &Message<'m>) -> (u32, FromProxy<'m>) {
    let Some(first) = view.transactions().next() else { return (0, FromProxy::Request) };
    let said = match first.kind {
        Kind::Reply => {
            let action = || first.actions().find_map(|a| a.error().or_else(|| a.commands().find_map(|c| c.error())));
            FromProxy::Reply { id: first.id, error: first.error().or_else(action).map(|e| e.code) }
        }
        Kind::Pending => FromProxy::Pending(first.id),
        Kind::Error => FromProxy::Error(first.error().map_or(400, |e| e.code)),
        _ => FromProxy::Request,
    };
    (first.id, said)
}
