//! The call agent's address, which gateways are told as the entity that is to be notified (RFC 3435 section 3.2.2.7): they
//! see the proxy's instead, with the agent's own name sealed in the local part, and whatever gives it back shows it to the
//! core again.

use super::read;
use crate::code::what;
use crate::view::{Name, fault};
use core::net::SocketAddr;
use portunus_codec::{Full, Writer};
use portunus_signalling::{Cover, Fault, FaultKind, Hop, MARK, Room, SessionRef};

/// What is hidden: a NotifiedEntity.
const ENTITY: u8 = b'N';

fn too_big(_: Full) -> Fault {
    fault(FaultKind::TooBig, what::SIZE, 0)
}

/// The values of the NotifiedEntity lines of a datagram whose messages were read before, with their offsets.
fn entities(datagram: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let start = |part: &[u8]| (part.as_ptr() as usize).wrapping_sub(datagram.as_ptr() as usize);
    read::messages(datagram).filter_map(Result::ok).flat_map(move |msg| {
        let from = start(msg.octets());
        let named = msg.lines().filter(|line| line.name == Name::NotifiedEntity);
        named.map(move |line| (from + line.at, line.value))
    })
}

/// Copies a datagram with these values replaced by what `put` writes; false from it leaves one as it stands.
fn replaced(
    datagram: &[u8],
    w: &mut Writer<'_>,
    mut put: impl FnMut(&[u8], &mut Writer<'_>) -> Result<bool, Fault>,
) -> Result<(), Fault> {
    let mut copied = 0;
    for (at, value) in entities(datagram) {
        let before = w.len();
        w.put(datagram.get(copied..at).unwrap_or_default());
        match put(value, w)? {
            true => copied = at + value.len(),
            false => w.truncate(before),
        }
    }
    w.put(datagram.get(copied..).unwrap_or_default()).finish().map(|_| ()).map_err(too_big)
}

fn put_address(a: SocketAddr, w: &mut Writer<'_>) {
    // Numbers and dots or colons, at most 39 octets: formatting into a buffer cannot fail.
    let mut text = arrayvec::ArrayString::<48>::new();
    let _ = core::fmt::Write::write_fmt(&mut text, format_args!("{}", a.ip()));
    w.put(b"[").text(&text).put(b"]:").decimal(a.port().into());
}

/// Towards the gateway.
///
/// # Errors
/// A [`Fault`] when it does not fit.
pub(super) fn down(hop: &Hop<'_>, session: &SessionRef<'_>, datagram: &[u8], w: &mut Writer<'_>) -> Result<(), Fault> {
    let Some(cover) = Cover::hiding(&session.crossing, session.idc) else {
        return w.put(datagram).finish().map(|_| ()).map_err(too_big);
    };
    replaced(datagram, w, |value, w| {
        w.put(MARK);
        cover.put(ENTITY, |w| _ = w.put(value), w);
        w.put(b"@");
        put_address(hop.own.access, w);
        Ok(true)
    })
}

/// From the gateway.
///
/// # Errors
/// A [`Fault`]: this proxy never hid that for this gateway, or it does not fit.
pub(super) fn up(session: &SessionRef<'_>, datagram: &[u8], w: &mut Writer<'_>) -> Result<(), Fault> {
    let Some(cover) = Cover::showing(&session.crossing, session.idc) else {
        return w.put(datagram).finish().map(|_| ()).map_err(too_big);
    };
    replaced(datagram, w, |value, w| {
        let Some(hidden) = value.strip_prefix(MARK) else { return Ok(false) };
        let hidden = hidden.split(|c| *c == b'@').next().unwrap_or_default();
        let mut room = Room::new();
        match cover.shown(ENTITY, hidden, &mut room) {
            Some(shown) => {
                w.put(shown);
                Ok(true)
            }
            None => {
                session.crossing.notice(|n| n.forged = true);
                Err(fault(FaultKind::Forbidden, what::NOTIFIED, 0))
            }
        }
    })
}
