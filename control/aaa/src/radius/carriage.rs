//! s3, s4 and s11 as RADIUS packets (spec section 4, RADIUS), both ways.
//!
//! Writers cannot be given anything that does not fit; readers are handed packets whose authenticators were checked
//! already, so that a fault here is a peer's mistake and never a stranger's trick.

use super::attr;
use super::build::Builder;
use super::packet::{Code, Only, Packet};
use crate::exchange::{
    AaaAnswer, AaaRequest, Account, Authenticate, DigestAlgorithm, DigestVector, DigestWord, REALM_MAX, Scheme,
};
use crate::params;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use portunus_codec::{b64_decode, b64_encode, hex_decode, hex_encode};
use portunus_keydist::ident::{Idc, Idsp, N1, Rand};
use portunus_keydist::steps::{Registration, S4};

/// The algorithm token of PKD1.
pub const PKD1_ALGORITHM: &str = "PKD1-HMAC-SHA-256";
/// The method that the digest covers.
pub const METHOD: &[u8] = b"REGISTER";

/// An attribute that is missing, repeated, or not what the carriage asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed {
    /// The attribute or parameter at fault.
    pub what: &'static str,
}

impl core::fmt::Display for Malformed {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{} is missing, repeated or malformed", self.what)
    }
}

impl core::error::Error for Malformed {}

const fn bad(what: &'static str) -> Malformed {
    Malformed { what }
}

/// base64url of a challenge: Digest-Nonce and Acct-Session-Id.
pub(crate) fn rand_text(rand: &Rand) -> [u8; 22] {
    let mut text = [0u8; 22];
    b64_encode(rand, &mut text);
    text
}

pub(crate) fn rand_from(text: &[u8]) -> Option<Rand> {
    let mut rand = [0u8; 16];
    (text.len() == 22 && b64_decode(text, &mut rand) == Some(16)).then_some(rand)
}

fn put_param(b: &mut Builder, name: &str, value: &[u8]) {
    b.put(attr::DIGEST_AUTH_PARAM, &params::write(name, value));
}

/// The value of the Digest-Auth-Param of that name; `Ok(None)` when there is none.
fn param<'a>(packet: &Packet<'a>, name: &'static str) -> Result<Option<&'a [u8]>, Malformed> {
    let all = packet.attributes().filter(|a| a.kind == attr::DIGEST_AUTH_PARAM).map(|a| a.value);
    params::read(all, name).map_err(|_| bad(name))
}

fn one<'a>(packet: &Packet<'a>, kind: u8, what: &'static str) -> Result<&'a [u8], Malformed> {
    match packet.only(kind) {
        Only::One(value) if !value.is_empty() => Ok(value),
        _ => Err(bad(what)),
    }
}

fn optional<'a>(packet: &Packet<'a>, kind: u8, what: &'static str) -> Result<Option<&'a [u8]>, Malformed> {
    match packet.only(kind) {
        Only::Absent => Ok(None),
        Only::One(value) if !value.is_empty() => Ok(Some(value)),
        _ => Err(bad(what)),
    }
}

fn text<'a>(value: &'a [u8], what: &'static str) -> Result<&'a str, Malformed> {
    let s = core::str::from_utf8(value).map_err(|_| bad(what))?;
    if s.bytes().any(|c| c < b' ' || c == 0x7f) { Err(bad(what)) } else { Ok(s) }
}

/// The code that a request travels under.
pub const fn code_of(request: &AaaRequest) -> Code {
    match request {
        AaaRequest::Authenticate(_) => Code::AccessRequest,
        AaaRequest::Account(_) => Code::AccountingRequest,
    }
}

/// Writes s3 or s11. `state` is the server's from an earlier challenge of the same registration.
pub fn write_request(b: &mut Builder, request: &AaaRequest, nas_identifier: &str, state: Option<&[u8]>) {
    match request {
        AaaRequest::Authenticate(a) => {
            b.put(attr::USER_NAME, a.idc.as_bytes());
            b.put(attr::NAS_IDENTIFIER, nas_identifier.as_bytes());
            if let Some(state) = state {
                b.put(attr::STATE, state);
            }
            b.put(attr::DIGEST_REALM, a.realm.as_bytes());
            b.put(attr::DIGEST_METHOD, METHOD);
            b.put(attr::DIGEST_URI, a.uri_or_default().as_bytes());
            put_param(b, "idsp", a.idsp.as_bytes());
            match a.scheme {
                Scheme::Pkd1 { n1 } => put_param(b, "n1", n1.as_bytes()),
                Scheme::Digest { algorithm } => {
                    b.put(attr::DIGEST_ALGORITHM, algorithm.token().as_bytes());
                }
            }
        }
        AaaRequest::Account(a) => {
            let status = match a.event {
                Registration::Start => attr::STATUS_START,
                Registration::Refresh => attr::STATUS_INTERIM,
                Registration::Stop => attr::STATUS_STOP,
            };
            b.put(attr::ACCT_STATUS_TYPE, &status.to_be_bytes());
            b.put(attr::ACCT_SESSION_ID, &rand_text(&a.rand));
            b.put(attr::USER_NAME, a.idc.as_bytes());
            b.put(attr::NAS_IDENTIFIER, nas_identifier.as_bytes());
            b.put(attr::CALLED_STATION_ID, a.idsp.as_bytes());
            match a.ip {
                IpAddr::V4(ip) => b.put(attr::FRAMED_IP_ADDRESS, &ip.octets()),
                IpAddr::V6(ip) => b.put(attr::FRAMED_IPV6_ADDRESS, &ip.octets()),
            };
        }
    }
}

/// Reads s3 or s11 from a request whose authenticator was checked.
///
/// # Errors
/// [`Malformed`]: an Access-Request is then rejected, an Accounting-Request left unanswered.
pub fn read_request(packet: &Packet<'_>) -> Result<AaaRequest, Malformed> {
    match packet.code() {
        Code::AccessRequest => read_s3(packet).map(AaaRequest::Authenticate),
        Code::AccountingRequest => read_s11(packet).map(AaaRequest::Account),
        _ => Err(bad("Code")),
    }
}

fn user_name<'a>(packet: &Packet<'a>) -> Result<Idc<'a>, Malformed> {
    Idc::from_octets(one(packet, attr::USER_NAME, "User-Name")?).ok_or(bad("User-Name"))
}

fn read_s3(packet: &Packet<'_>) -> Result<Authenticate, Malformed> {
    let idc = user_name(packet)?;
    let realm = text(one(packet, attr::DIGEST_REALM, "Digest-Realm")?, "Digest-Realm")?;
    if one(packet, attr::DIGEST_METHOD, "Digest-Method")? != METHOD {
        return Err(bad("Digest-Method"));
    }
    // A response is verified by the softswitch, never here (spec section 2): a client that sends one expects another
    // service.
    if packet.only(attr::DIGEST_RESPONSE) != Only::Absent {
        return Err(bad("Digest-Response"));
    }
    let uri = text(one(packet, attr::DIGEST_URI, "Digest-URI")?, "Digest-URI")?;
    let idsp = param(packet, "idsp")?.and_then(Idsp::from_octets).ok_or(bad("idsp"))?;
    let algorithm = optional(packet, attr::DIGEST_ALGORITHM, "Digest-Algorithm")?;
    let algorithm = algorithm.map(|a| text(a, "Digest-Algorithm")).transpose()?;
    let scheme = match algorithm {
        None => None,
        Some(a) if a.eq_ignore_ascii_case(PKD1_ALGORITHM) => None,
        Some(a) => Some(DigestAlgorithm::from_token(a).ok_or(bad("Digest-Algorithm"))?),
    };
    let scheme = match scheme {
        Some(algorithm) => Scheme::Digest { algorithm },
        None => Scheme::Pkd1 { n1: param(packet, "n1")?.and_then(N1::parse).ok_or(bad("n1"))? },
    };
    Ok(Authenticate {
        idc: idc.as_str().to_owned(),
        idsp: idsp.as_str().to_owned(),
        scheme,
        realm: realm.into(),
        uri: Some(uri.to_owned()),
        source: None,
    })
}

fn read_s11(packet: &Packet<'_>) -> Result<Account, Malformed> {
    let status = one(packet, attr::ACCT_STATUS_TYPE, "Acct-Status-Type")?;
    let event = match <[u8; 4]>::try_from(status).map(u32::from_be_bytes) {
        Ok(attr::STATUS_START) => Registration::Start,
        Ok(attr::STATUS_INTERIM) => Registration::Refresh,
        Ok(attr::STATUS_STOP) => Registration::Stop,
        _ => return Err(bad("Acct-Status-Type")),
    };
    let session = one(packet, attr::ACCT_SESSION_ID, "Acct-Session-Id")?;
    let rand = rand_from(session).ok_or(bad("Acct-Session-Id"))?;
    let idc = user_name(packet)?;
    let called = one(packet, attr::CALLED_STATION_ID, "Called-Station-Id")?;
    let idsp = Idsp::from_octets(called).ok_or(bad("Called-Station-Id"))?;
    let v4 = optional(packet, attr::FRAMED_IP_ADDRESS, "Framed-IP-Address")?;
    let v6 = optional(packet, attr::FRAMED_IPV6_ADDRESS, "Framed-IPv6-Address")?;
    let v4 = v4.map(|v| <[u8; 4]>::try_from(v).map_err(|_| bad("Framed-IP-Address"))).transpose()?;
    let v6 = v6.map(|v| <[u8; 16]>::try_from(v).map_err(|_| bad("Framed-IPv6-Address"))).transpose()?;
    let ip = match (v4, v6) {
        (Some(v4), None) => IpAddr::V4(Ipv4Addr::from(v4)),
        (None, Some(v6)) => IpAddr::V6(Ipv6Addr::from(v6)),
        _ => return Err(bad("Framed-IP-Address")),
    };
    let softswitch = optional(packet, attr::NAS_IDENTIFIER, "NAS-Identifier")?;
    let softswitch = softswitch.and_then(Idsp::from_octets).map(|name| name.as_str().to_owned());
    Ok(Account { idc: idc.as_str().to_owned(), idsp: idsp.as_str().to_owned(), rand, ip, event, softswitch })
}

/// The code that an answer travels under.
pub const fn code_of_answer(answer: &AaaAnswer) -> Code {
    match answer {
        AaaAnswer::Vector(_) | AaaAnswer::Digest(_) => Code::AccessChallenge,
        AaaAnswer::Recorded => Code::AccountingResponse,
        AaaAnswer::Rejected => Code::AccessReject,
    }
}

/// Writes s4, its digest like, an Access-Reject or an Accounting-Response. `realm` is the request's, `state` the one
/// to be repeated by the client.
pub fn write_answer(b: &mut Builder, answer: &AaaAnswer, realm: &str, state: &[u8]) {
    let mut hex = [0u8; 64];
    let mut challenge = |b: &mut Builder, rand: &Rand, algorithm: &str, word: &[u8]| {
        b.put(attr::STATE, state);
        b.put(attr::DIGEST_REALM, realm.as_bytes());
        b.put(attr::DIGEST_NONCE, &rand_text(rand));
        b.put(attr::DIGEST_ALGORITHM, algorithm.as_bytes());
        hex_encode(word, &mut hex);
        put_param(b, "authc", hex.get(..word.len() * 2).unwrap_or_default());
    };
    match answer {
        AaaAnswer::Vector(s4) => {
            challenge(b, &s4.rand, PKD1_ALGORITHM, &s4.auth_c);
            for (name, wrap) in [("ekc", &s4.ekc), ("eksp", &s4.eksp)] {
                let mut text = [0u8; 64];
                b64_encode(wrap, &mut text);
                put_param(b, name, &text);
            }
        }
        AaaAnswer::Digest(d) => challenge(b, &d.rand, d.word.algorithm().token(), d.word.as_bytes()),
        AaaAnswer::Recorded | AaaAnswer::Rejected => {}
    }
}

/// Reads the answer to `request` from a packet whose authenticators were checked.
///
/// # Errors
/// [`Malformed`]: an honest server that does not speak this carriage, or speaks for another realm or algorithm.
pub fn read_answer(packet: &Packet<'_>, request: &AaaRequest) -> Result<AaaAnswer, Malformed> {
    match (packet.code(), request) {
        (Code::AccessReject, AaaRequest::Authenticate(_)) => Ok(AaaAnswer::Rejected),
        (Code::AccountingResponse, AaaRequest::Account(_)) => Ok(AaaAnswer::Recorded),
        (Code::AccessChallenge, AaaRequest::Authenticate(a)) => read_s4(packet, a),
        _ => Err(bad("Code")),
    }
}

fn read_s4(packet: &Packet<'_>, asked: &Authenticate) -> Result<AaaAnswer, Malformed> {
    if one(packet, attr::DIGEST_REALM, "Digest-Realm")? != asked.realm.as_bytes() {
        return Err(bad("Digest-Realm"));
    }
    let nonce = one(packet, attr::DIGEST_NONCE, "Digest-Nonce")?;
    let rand = rand_from(nonce).ok_or(bad("Digest-Nonce"))?;
    let algorithm = text(one(packet, attr::DIGEST_ALGORITHM, "Digest-Algorithm")?, "Digest-Algorithm")?;
    let word = param(packet, "authc")?.ok_or(bad("authc"))?;
    let wrap = |name| -> Result<[u8; 48], Malformed> {
        let mut octets = [0u8; 48];
        let text = param(packet, name)?.ok_or(bad(name))?;
        if b64_decode(text, &mut octets) == Some(48) { Ok(octets) } else { Err(bad(name)) }
    };
    match asked.scheme {
        Scheme::Pkd1 { .. } if algorithm.eq_ignore_ascii_case(PKD1_ALGORITHM) => {
            let auth_c = hex_decode::<32>(word).ok_or(bad("authc"))?;
            Ok(AaaAnswer::Vector(S4 { rand, auth_c, ekc: wrap("ekc")?, eksp: wrap("eksp")? }))
        }
        Scheme::Digest { algorithm: a } if a.token().eq_ignore_ascii_case(algorithm) => {
            let word = match a {
                DigestAlgorithm::Sha256 => hex_decode(word).map(DigestWord::Sha256),
                DigestAlgorithm::Md5 => hex_decode(word).map(DigestWord::Md5),
            };
            Ok(AaaAnswer::Digest(DigestVector { rand, word: word.ok_or(bad("authc"))? }))
        }
        _ => Err(bad("Digest-Algorithm")),
    }
}

const _: () = assert!(REALM_MAX <= super::VALUE_MAX);

#[cfg(test)]
mod tests;
