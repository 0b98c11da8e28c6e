//! The gatekeeper's own RAS address: endpoints are told the proxy's instead, where a message says where to send (GCF, LCF,
//! IRQ). The address has a fixed size and is written over in place. Not hidden: addresses for call signalling, which
//! does not pass here, and alternate gatekeepers.

use crate::schema::Id;
use crate::view::{Kind, Message};
use core::net::{IpAddr, SocketAddr};
use portunus_codec::{PerReader, Writer};
use portunus_signalling::{Fault, FaultKind, Hop, SessionRef};

/// Writes the proxy's address over the gatekeeper's in what was written of `msg` from `start` on: the root of it stands
/// there as it came. An address of another version of IP than the proxy's becomes the one that is nobody's.
///
/// # Errors
/// A [`Fault`] for an address that is none of IP.
pub(super) fn own_address(
    hop: &Hop<'_>,
    session: &SessionRef<'_>,
    msg: &Message<'_>,
    (start, w): (usize, &mut Writer<'_>),
) -> Result<(), Fault> {
    let id = match msg.kind() {
        Kind::GatekeeperConfirm | Kind::LocationConfirm => Id::RasAddress,
        Kind::InfoRequest => Id::ReplyAddress,
        _ => return Ok(()),
    };
    let Some(bit) = msg.places.get(id).filter(|_| session.crossing.border.hiding().is_some()) else { return Ok(()) };
    let bad = || Fault { kind: FaultKind::Forbidden, what: "rasAddress", at: bit / 8 };
    let (at, len) = place(msg.octets(), bit).ok_or_else(bad)?;
    let room = w.written_mut().get_mut(start + at..start + at + len + 2).ok_or_else(bad)?;
    room.fill(0);
    put(hop.own.access, room);
    Ok(())
}

/// The first octet of an IP address and how many it has; its port follows.
fn place(octets: &[u8], bit: usize) -> Option<(usize, usize)> {
    let mut r = PerReader::at(octets, bit);
    if r.bool()? {
        return None;
    }
    let len = match r.constrained(0, 6)? {
        0 => 4,
        3 => {
            r.bool()?;
            16
        }
        _ => return None,
    };
    r.align();
    Some((r.bit() / 8, len))
}

/// Address and port into room for one of the same version.
fn put(own: SocketAddr, room: &mut [u8]) {
    let Some((ip, port)) = room.len().checked_sub(2).and_then(|len| room.split_at_mut_checked(len)) else { return };
    match own.ip() {
        IpAddr::V4(v4) if ip.len() == 4 => ip.copy_from_slice(&v4.octets()),
        IpAddr::V6(v6) if ip.len() == 16 => ip.copy_from_slice(&v6.octets()),
        _ => return,
    }
    port.copy_from_slice(&own.port().to_be_bytes());
}
