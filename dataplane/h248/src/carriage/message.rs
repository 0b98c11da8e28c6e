//! Messages of a gateway and a controller beside the registration's steps.

use super::faults;
use crate::write;
use portunus_codec::{Full, Writer};
use portunus_keydist::ident::{IDSP_MAX, Idc};
use portunus_keydist::timing::Repeat;
use portunus_signalling::Fault;

/// When a command is repeated over UDP, and given up (H.248.1 annex D.1): exponential, and no longer than the peer knows
/// it for the same.
pub const REPEAT: Repeat = Repeat { gaps_ms: &[500, 1000, 2000, 4000], give_up_ms: 30_000 };

/// How long a reply is kept for repetitions of its command, in milliseconds: LONG-TIMER, 30 s.
pub const HISTORY_MS: u64 = 30_000;

/// How much longer a reply is awaited behind a pending one, in milliseconds.
pub const LONG_MS: u32 = 30_000;

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

/// Writes the answer to a message that was not taken, as the proxy does; `Ok(false)` when none is due.
///
/// # Errors
/// [`Full`].
pub fn write_fault(from: &Sender<'_>, request: &[u8], fault: &Fault, w: &mut Writer<'_>) -> Result<bool, Full> {
    let name = from.idc.as_bytes();
    let name = name.get(..name.len().min(IDSP_MAX)).unwrap_or_default();
    faults::write(|version, w| write::begin_as(version, from.idc, w), name, request, fault, w)
}
