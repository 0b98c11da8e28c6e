//! The controller's end: reads registrations that a proxy sent, writes the answers.

use super::message::Sender;
use super::steps::{Step, param_fault};
use crate::view::{Message, Services};
use crate::write;
use portunus_codec::{Full, Writer};
use portunus_keydist::ident::{Idc, Idsp, N1, Rand};
use portunus_keydist::steps::{Refusal, S2, S5, S8, S9};
use portunus_signalling::{Fault, FaultKind};

/// A step that a proxy sent.
#[derive(Debug, Clone, Copy)]
pub enum FromProxy<'m> {
    /// s2.
    Register {
        /// Its transaction.
        id: u32,
        /// The version of the protocol that the gateway proposes.
        version: u8,
        /// The step.
        s2: S2<'m>,
        /// What else the gateway says of itself.
        services: Services<'m>,
    },
    /// s8.
    Response {
        /// Its transaction.
        id: u32,
        /// The version of the protocol that the gateway speaks.
        version: u8,
        /// The step.
        s8: S8<'m>,
    },
}

/// The gateway that a message is from, by its message identifier.
///
/// # Errors
/// A [`Fault`]: an identifier that is no identity.
pub fn idc<'m>(msg: &Message<'m>) -> Result<Idc<'m>, Fault> {
    msg.mid().idc().ok_or_else(|| msg.fault(FaultKind::Malformed, "message identifier", msg.mid().text))
}

/// Reads a step; `None` where a message is none.
///
/// # Errors
/// A [`Fault`]: something of a step, and none.
pub fn read<'m>(msg: &Message<'m>) -> Result<Option<FromProxy<'m>>, Fault> {
    let bad = |e| param_fault(msg, msg.octets(), &e);
    let Some(step) = Step::of(msg)? else { return Ok(None) };
    let idc = idc(msg)?;
    let read = match step {
        Step::Register { id, version, services, params } => {
            FromProxy::Register { id, version, s2: params.s2(idc).map_err(bad)?, services }
        }
        Step::Response { id, params, .. } => {
            FromProxy::Response { id, version: msg.version(), s8: params.s8(idc).map_err(bad)? }
        }
        Step::Signal { .. } => return Err(msg.fault(FaultKind::Unsupported, "command", msg.octets())),
    };
    Ok(Some(read))
}

/// Writes s5, with the N1 of the registration that it belongs to.
///
/// # Errors
/// [`Full`].
pub fn write_s5(from: &Sender<'_>, id: u32, s5: &S5<'_>, n1: &N1, w: &mut Writer<'_>) -> Result<(), Full> {
    write::begin_as(from.version, from.idc, w);
    write::signal(id, "chal", true, w, |q| q.s5(s5, n1))
}

/// Writes s9.
///
/// # Errors
/// [`Full`].
pub fn write_s9(
    from: &Sender<'_>,
    id: u32,
    idsp: Idsp<'_>,
    rand: &Rand,
    s9: &S9,
    w: &mut Writer<'_>,
) -> Result<(), Full> {
    write::begin_as(from.version, from.idc, w);
    write::signal(id, "key", false, w, |q| q.s9(idsp, rand, s9))
}

/// Writes a refusal; `rand` once there is one.
///
/// # Errors
/// [`Full`].
pub fn write_refusal(
    from: &Sender<'_>,
    id: u32,
    refusal: &Refusal,
    rand: Option<&Rand>,
    n1: &N1,
    w: &mut Writer<'_>,
) -> Result<(), Full> {
    write::begin_as(from.version, from.idc, w);
    write::signal(id, "fail", false, w, |q| q.core_refusal(refusal, rand, n1))
}
