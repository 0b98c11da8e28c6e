//! Messages of a gateway and a controller beside the registration's steps.

use crate::write;
use portunus_codec::{Full, Writer};
use portunus_keydist::ident::Idc;

/// Who speaks, and which version of the protocol.
#[derive(Debug, Clone, Copy)]
pub struct Sender<'a> {
    /// Its identity, from which its message identifier is made.
    pub idc: Idc<'a>,
    /// The protocol's version: 1, 2 or 3.
    pub version: u8,
}

/// Writes `T=id{actions}`: the actions as they shall stand, e.g. `C=-{AV=ROOT{AT{}}}`.
///
/// # Errors
/// [`Full`].
pub fn write_request(from: &Sender<'_>, id: u32, actions: &str, w: &mut Writer<'_>) -> Result<(), Full> {
    write::begin_as(from.version, from.idc, w);
    w.put(b"T=").decimal(id.into()).put(b"{").text(actions).put(b"}").finish().map(|_| ())
}

/// Writes `P=id{actions}`: the action replies as they shall stand, e.g. `C=-{MF=ROOT}`.
///
/// # Errors
/// [`Full`].
pub fn write_reply(from: &Sender<'_>, id: u32, actions: &str, w: &mut Writer<'_>) -> Result<(), Full> {
    write::begin_as(from.version, from.idc, w);
    w.put(b"P=").decimal(id.into()).put(b"{").text(actions).put(b"}").finish().map(|_| ())
}

/// Writes `P=id{ER=code{"text"}}`. The text must hold no quotation mark.
///
/// # Errors
/// [`Full`].
pub fn write_error(from: &Sender<'_>, id: u32, code: u16, text: &str, w: &mut Writer<'_>) -> Result<(), Full> {
    write::begin_as(from.version, from.idc, w);
    w.put(b"P=").decimal(id.into()).put(b"{");
    write::error(code, text, w);
    w.put(b"}").finish().map(|_| ())
}

/// Writes the error that a whole message gets, `ER=code{"text"}`.
///
/// # Errors
/// [`Full`].
pub fn write_message_error(from: &Sender<'_>, code: u16, text: &str, w: &mut Writer<'_>) -> Result<(), Full> {
    write::begin_as(from.version, from.idc, w);
    write::error(code, text, w);
    w.finish().map(|_| ())
}

/// Writes `PN=id{}`: the reply comes later.
///
/// # Errors
/// [`Full`].
pub fn write_pending(from: &Sender<'_>, id: u32, w: &mut Writer<'_>) -> Result<(), Full> {
    write::begin_as(from.version, from.idc, w);
    w.put(b"PN=").decimal(id.into()).put(b"{}").finish().map(|_| ())
}

/// Writes `K{id}`: the reply has arrived.
///
/// # Errors
/// [`Full`].
pub fn write_ack(from: &Sender<'_>, id: u32, w: &mut Writer<'_>) -> Result<(), Full> {
    write::begin_as(from.version, from.idc, w);
    w.put(b"K{").decimal(id.into()).put(b"}").finish().map(|_| ())
}
