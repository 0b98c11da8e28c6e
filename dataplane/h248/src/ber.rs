//! The binary encoding (H.248.1 annex A: BER with automatic tags): read as far as an answer in it needs. It is not
//! served; a peer that speaks it is told so in it.

use portunus_codec::{Full, Writer};

/// Universal SEQUENCE: MegacoMessage.
const SEQUENCE: u8 = 0x30;
/// Context tags 0 to 2, constructed.
const HEADER: u8 = 0xa0;
const MESSAGE: u8 = 0xa1;
const BODY: u8 = 0xa2;
/// Most octets of a version's INTEGER.
const VERSION_MAX: usize = 1;
/// Syntax error in message (H.248.8).
const SYNTAX: u16 = 400;
/// Version not supported.
const VERSION: u16 = 406;

/// True for what begins as a message in BER does; no text message begins so.
pub(crate) fn is_binary(octets: &[u8]) -> bool {
    octets.first() == Some(&SEQUENCE)
        && octets.get(1).is_some_and(|l| *l >= 0x80 || octets.len() <= usize::from(*l) + 2)
}

/// One tag, its content, and what follows. Indefinite lengths give all the rest as content.
fn element(octets: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (tag, rest) = octets.split_first()?;
    let (first, rest) = rest.split_first()?;
    let (len, rest) = match first {
        0x80 => return Some((*tag, rest, &[])),
        0x00..=0x7f => (usize::from(*first), rest),
        0x81..=0x83 => {
            let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (digits.iter().fold(0, |n, d| n << 8 | usize::from(*d)), rest)
        }
        _ => return None,
    };
    Some((*tag, rest.get(..len)?, rest.get(len..)?))
}

/// The version of a binary message that is to be answered; `None` where it is none, or carries nothing but an error or
/// replies.
pub(crate) fn version(octets: &[u8]) -> Option<u8> {
    let (SEQUENCE, content, _) = element(octets)? else { return None };
    let mut parts = content;
    let (mut tag, mut inner, rest) = element(parts)?;
    if tag == HEADER {
        parts = rest;
        (tag, inner, _) = element(parts)?;
    }
    let (0x80, version, rest) = element(if tag == MESSAGE { inner } else { return None })? else { return None };
    let (MESSAGE, _, rest) = element(rest)? else { return None };
    let (BODY, body, _) = element(rest)? else { return None };
    // messageBody: [0] error, [1] transactions, whose first is [0] a request.
    let (0xa1, transactions, _) = element(body)? else { return None };
    let (0xa0, _, _) = element(transactions)? else { return None };
    if version.len() == VERSION_MAX { version.first().copied().filter(|v| *v < 100) } else { None }
}

/// Writes `MegacoMessage{version, mId domainName, messageError{code, text}}`: 406 where the version is none of ours,
/// else 400 with what is expected.
pub(crate) fn write_error(version: u8, mid: &[u8], w: &mut Writer<'_>) -> Result<(), Full> {
    let known = (1..=3).contains(&version);
    let (code, text) = match known {
        true => (SYNTAX, &b"Text encoding only"[..]),
        false => (VERSION, &b"Version not supported"[..]),
    };
    // All lengths are below 128: the identifier has at most 64 octets.
    let short = |n: usize| u8::try_from(n).ok().filter(|n| *n < 0x80).ok_or(Full);
    let error = 4 + 2 + text.len();
    let (name, body) = (2 + mid.len(), 2 + error);
    let message = 3 + 4 + name + 2 + body;
    w.put(&[SEQUENCE, short(message + 2)?, MESSAGE, short(message)?, 0x80, 1, if known { version } else { 3 }]);
    w.put(&[0xa1, short(name + 2)?, 0xa2, short(name)?, 0x80, short(mid.len())?]).put(mid);
    w.put(&[BODY, short(body)?, 0xa0, short(error)?, 0x80, 2]).put(&code.to_be_bytes());
    w.put(&[0x81, short(text.len())?]).put(text);
    w.finish().map(|_| ())
}
