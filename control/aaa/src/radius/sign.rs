//! Authenticators: who may have sent a packet (RFC 2865 section 3, RFC 2866 section 3, RFC 3579 section 3.2, RFC 5080
//! section 2.2.2).
//!
//! The rule of the product: Access-Request, Status-Server and every answer to an Access-Request carry exactly one
//! valid Message-Authenticator, sent as the first attribute and accepted anywhere; accounting packets carry none and
//! stand on their Request and Response Authenticators. Whatever breaks the rule is dropped, without a reply.

use super::attr::MESSAGE_AUTHENTICATOR;
use super::packet::{Code, HEADER_LEN, Packet};
use crate::secret::SharedSecret;
use hmac::{Hmac, Mac as _};
use md5::{Digest as _, Md5};
use subtle::ConstantTimeEq as _;

/// Why a packet is not believed. Dropped in silence, counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Distrust {
    /// No Message-Authenticator where one is required.
    Missing,
    /// More than one, one of a wrong length, or one where none belongs.
    Misplaced,
    /// The Message-Authenticator is wrong: other secret, or altered.
    MessageAuthenticator,
    /// The Request or Response Authenticator is wrong.
    Authenticator,
    /// Not a packet of this direction.
    Direction,
}

impl core::fmt::Display for Distrust {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Missing => "no Message-Authenticator",
            Self::Misplaced => "Message-Authenticator repeated, cut, or where none belongs",
            Self::MessageAuthenticator => "wrong Message-Authenticator: is the shared secret the same at both ends?",
            Self::Authenticator => "wrong authenticator: is the shared secret the same at both ends?",
            Self::Direction => "a packet that does not go this way",
        })
    }
}

/// Where the one Message-Authenticator's value stands.
fn place(packet: &Packet<'_>) -> Result<Option<usize>, Distrust> {
    let mut found = packet.attributes().filter(|a| a.kind == MESSAGE_AUTHENTICATOR);
    match (found.next(), found.next()) {
        (None, _) => Ok(None),
        (Some(one), None) if one.value.len() == 16 => Ok(Some(one.at + 2)),
        _ => Err(Distrust::Misplaced),
    }
}

/// HMAC-MD5 over the packet with `authenticator` in its header and zeros for the value at `value_at`.
fn message_authenticator(
    octets: &[u8],
    authenticator: &[u8; 16],
    value_at: usize,
    secret: &SharedSecret,
) -> Option<[u8; 16]> {
    let mut mac = <Hmac<Md5> as hmac::Mac>::new_from_slice(secret.expose()).ok()?;
    mac.update(octets.get(..4)?);
    mac.update(authenticator);
    mac.update(octets.get(HEADER_LEN..value_at)?);
    mac.update(&[0; 16]);
    mac.update(octets.get(value_at + 16..)?);
    Some(mac.finalize().into_bytes().into())
}

/// MD5(code, id, length, `authenticator`, attributes, secret): Accounting-Request (zeros) and every answer (the
/// request's authenticator).
fn digest(octets: &[u8], authenticator: &[u8; 16], secret: &SharedSecret) -> [u8; 16] {
    let mut md5 = Md5::new();
    md5.update(octets.get(..4).unwrap_or_default());
    md5.update(authenticator);
    md5.update(octets.get(HEADER_LEN..).unwrap_or_default());
    md5.update(secret.expose());
    md5.finalize().into()
}

fn same(a: &[u8], b: &[u8]) -> bool {
    a.ct_eq(b).into()
}

fn check_message_authenticator(
    packet: &Packet<'_>,
    at: usize,
    authenticator: &[u8; 16],
    secret: &SharedSecret,
) -> Result<(), Distrust> {
    let octets = packet.octets();
    let wanted = message_authenticator(octets, authenticator, at, secret).ok_or(Distrust::Misplaced)?;
    let found = octets.get(at..at + 16).unwrap_or_default();
    if same(found, &wanted) { Ok(()) } else { Err(Distrust::MessageAuthenticator) }
}

/// Checks a request as a server must.
///
/// # Errors
/// [`Distrust`]; the packet is dropped.
pub fn check_request(packet: &Packet<'_>, secret: &SharedSecret) -> Result<(), Distrust> {
    let place = place(packet)?;
    match (packet.code(), place) {
        (Code::AccessRequest | Code::StatusServer, Some(at)) => {
            check_message_authenticator(packet, at, &packet.authenticator(), secret)
        }
        (Code::AccessRequest | Code::StatusServer, None) => Err(Distrust::Missing),
        (Code::AccountingRequest, Some(_)) => Err(Distrust::Misplaced),
        (Code::AccountingRequest, None) => {
            let wanted = digest(packet.octets(), &[0; 16], secret);
            if same(&packet.authenticator(), &wanted) { Ok(()) } else { Err(Distrust::Authenticator) }
        }
        _ => Err(Distrust::Direction),
    }
}

/// Checks an answer as a client must: `asked` is the code and Request Authenticator of the request.
///
/// # Errors
/// [`Distrust`]; the packet is dropped, and the request goes on waiting.
pub fn check_answer(packet: &Packet<'_>, asked: (Code, &[u8; 16]), secret: &SharedSecret) -> Result<(), Distrust> {
    let (code, request) = asked;
    let fits = match packet.code() {
        Code::AccessAccept => matches!(code, Code::AccessRequest | Code::StatusServer),
        Code::AccessReject | Code::AccessChallenge => code == Code::AccessRequest,
        // A Status-Server sent to an accounting port is answered by this (RFC 5997 section 4.2).
        Code::AccountingResponse => matches!(code, Code::AccountingRequest | Code::StatusServer),
        _ => false,
    };
    if !fits {
        return Err(Distrust::Direction);
    }
    if !same(&packet.authenticator(), &digest(packet.octets(), request, secret)) {
        return Err(Distrust::Authenticator);
    }
    match (packet.code(), place(packet)?) {
        (Code::AccountingResponse, Some(_)) if code == Code::AccountingRequest => Err(Distrust::Misplaced),
        (Code::AccountingResponse, None) => Ok(()),
        (_, Some(at)) => check_message_authenticator(packet, at, request, secret),
        (_, None) => Err(Distrust::Missing),
    }
}

/// Puts the Message-Authenticator into the attribute whose value begins at `at`, the header holding the authenticator
/// that it is computed with.
pub(super) fn put_message_authenticator(octets: &mut [u8], at: usize, secret: &SharedSecret) {
    let Some(authenticator) = octets.get(4..HEADER_LEN).and_then(|a| <[u8; 16]>::try_from(a).ok()) else { return };
    if let Some(mac) = message_authenticator(octets, &authenticator, at, secret)
        && let Some(room) = octets.get_mut(at..at + 16)
    {
        room.copy_from_slice(&mac);
    }
}

/// Replaces the header's authenticator by the MD5 over the packet as it stands.
pub(super) fn put_digest(octets: &mut [u8], authenticator: &[u8; 16], secret: &SharedSecret) {
    let wanted = digest(octets, authenticator, secret);
    put_authenticator(octets, &wanted);
}

/// Sets the header's authenticator.
pub(super) fn put_authenticator(octets: &mut [u8], authenticator: &[u8; 16]) {
    if let Some(room) = octets.get_mut(4..HEADER_LEN) {
        room.copy_from_slice(authenticator);
    }
}
