//! The gatekeeper's end: reads s2 and s8, writes s5, s9 and refusals.

use super::values::{first_alias_is, forbidden, malformed, values};
use crate::view::{Element, Kind, Message, Reason};
use crate::write::{self, Confirmed, Tok};
use core::net::SocketAddr;
use portunus_codec::{Full, Writer};
use portunus_keydist::ident::{Idc, Idsp, N1, Rand};
use portunus_keydist::steps::{Refusal, S2, S8, S9};
use portunus_signalling::{Fault, Text};

/// What a registration that came through a proxy asks.
#[derive(Debug, Clone, Copy)]
pub enum Ask<'m> {
    /// s2.
    S2(S2<'m>),
    /// s8.
    S8(S8<'m>),
    /// No step of PKD1.
    None,
}

/// Reads what a proxy sent.
///
/// # Errors
/// A [`Fault`]: a token of another form, or in another message, than s2's or s8's.
pub fn read<'m>(msg: &Message<'m>, text: &'m mut Text) -> Result<Ask<'m>, Fault> {
    let Some(v) = values(msg)? else { return Ok(Ask::None) };
    let (idc, idsp) = v.names(true, text)?;
    if !first_alias_is(msg, idc) {
        return Err(forbidden("sendersID"));
    }
    match (msg.kind(), v.token.n) {
        (Kind::GatekeeperRequest, 1) => {
            v.no_challenge()?;
            Ok(Ask::S2(S2 { idc, idsp, n1: v.n1()? }))
        }
        (Kind::RegistrationRequest, 3) => {
            let auth_c = v.token.array(Element::AuthC).ok_or(malformed("authc"))?;
            let ipc = v.text(Element::IpC, "ipc")?.parse().map_err(|_| malformed("ipc"))?;
            Ok(Ask::S8(S8 { idc, idsp, rand: v.rand()?, auth_c, ipc }))
        }
        _ => Err(malformed("tokenOID")),
    }
}

/// s5: the challenge, as the rejection of the request of this kind and number; `n1` is the N1 of the registration's s1.
///
/// # Errors
/// [`Full`].
pub fn write_s5(
    (kind, seq): (Kind, u16),
    idc: Idc<'_>,
    idsp: Idsp<'_>,
    n1: &N1,
    rand: &Rand,
    w: &mut Writer<'_>,
) -> Result<(), Full> {
    let reject = kind.reject().ok_or(Full)?;
    let elements = [(Element::N1, &n1.as_bytes()[..])];
    let tok = Tok { challenge: Some(rand), ..down(idc, idsp, &elements) };
    write::reject(reject, seq, Reason::security_denial(reject), Some(&tok), w)
}

/// Token 2 of the core's.
fn down<'a>(idc: Idc<'a>, idsp: Idsp<'a>, elements: &'a [(Element, &'a [u8])]) -> Tok<'a> {
    let (general_id, senders_id) = (idc.as_str().into(), idsp.as_str());
    Tok { n: 2, time_stamp: 0, challenge: None, general_id, senders_id, elements }
}

/// s9: the RegistrationConfirm, with both wraps.
///
/// # Errors
/// [`Full`].
pub fn write_s9(
    seq: u16,
    confirmed: &Confirmed<'_>,
    idc: Idc<'_>,
    idsp: Idsp<'_>,
    rand: &Rand,
    s9: &S9,
    w: &mut Writer<'_>,
) -> Result<(), Full> {
    let elements = [(Element::Ekc, &s9.ekc[..]), (Element::Eksp, &s9.eksp[..]), (Element::Rand, &rand[..])];
    let tok = Tok { n: 4, ..down(idc, idsp, &elements) };
    write::registration_confirm(seq, confirmed, Some(&tok), w)
}

/// What a refusal is of: it names the registration by the challenge that was answered, and before there is one by N1.
#[derive(Debug, Clone, Copy)]
pub enum Named<'a> {
    /// The N1 of s2.
    N1(&'a N1),
    /// The Rand of s8.
    Rand(&'a Rand),
}

/// A refusal of s2 or s8.
///
/// # Errors
/// [`Full`].
pub fn write_refusal(
    (kind, seq): (Kind, u16),
    idc: Idc<'_>,
    idsp: Idsp<'_>,
    named: &Named<'_>,
    refusal: &Refusal,
    w: &mut Writer<'_>,
) -> Result<(), Full> {
    let reject = kind.reject().ok_or(Full)?;
    let reason = match refusal {
        Refusal::Denied => Reason::security_denial(reject),
        Refusal::Stale { .. } => Reason::security_error(reject, 0),
        Refusal::Mechanism => Reason::needed_feature(reject),
        Refusal::Busy { .. } => Reason::resource_unavailable(reject),
        Refusal::Malformed => Reason::undefined(reject),
    };
    match named {
        Named::N1(n1) => {
            let elements = [(Element::N1, &n1.as_bytes()[..])];
            write::reject(reject, seq, reason, Some(&down(idc, idsp, &elements)), w)
        }
        Named::Rand(rand) => {
            let tok = Tok { challenge: Some(&rand[..]), ..down(idc, idsp, &[]) };
            write::reject(reject, seq, reason, Some(&tok), w)
        }
    }
}

/// The address of an s8's terminal as the token says it.
pub(crate) fn put_ipc(ipc: SocketAddr, w: &mut Writer<'_>) {
    match ipc {
        SocketAddr::V4(v4) => {
            for (i, octet) in v4.ip().octets().into_iter().enumerate() {
                w.put(if i == 0 { b"" } else { b"." }).decimal(octet.into());
            }
        }
        SocketAddr::V6(v6) => {
            w.put(b"[");
            for (i, pair) in v6.ip().octets().chunks(2).enumerate() {
                w.put(if i == 0 { b"" } else { b":" }).hex(pair);
            }
            w.put(b"]");
        }
    }
    w.put(b":").decimal(ipc.port().into());
}
