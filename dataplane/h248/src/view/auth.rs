//! The authentication header: H.248.1 annex B.2, `authenticationHeader`.

use super::{Bad, Tok, is, lex, separated};

/// The authentication header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Auth<'m> {
    /// Security parameters index.
    pub spi: u32,
    /// Sequence number.
    pub sequence: u32,
    /// The hex digits of the authentication data, without `0x`.
    pub data: &'m [u8],
    /// Octet offset of those digits in the message.
    pub at: usize,
}

/// The authentication header at `at`, if there is one, and where the message begins behind it.
pub(super) fn authentication(s: &[u8], at: usize) -> Result<(Option<Auth<'_>>, usize), Bad> {
    let end = lex::word(s, at);
    if !is(s.get(at..end).unwrap_or_default(), Tok::AUTH) {
        return Ok((None, at));
    }
    let bad = |at| Bad::at("authentication header", at);
    let equals = lex::lwsp(s, end);
    if s.get(equals) != Some(&b'=') {
        return Err(bad(equals));
    }
    let mut from = lex::lwsp(s, equals + 1);
    let mut part = |last: bool| {
        let end = lex::word(s, from);
        let digits = match s.get(from..end) {
            Some([b'0', b'x' | b'X', digits @ ..]) if digits.iter().all(u8::is_ascii_hexdigit) => digits,
            _ => return Err(bad(from)),
        };
        if !last && s.get(end) != Some(&b':') {
            return Err(bad(end));
        }
        from = end + 1;
        Ok((digits, end))
    };
    let number = |(digits, end): (&[u8], usize)| match digits.len() {
        8 => Ok(digits.iter().fold(0u32, |n, d| n << 4 | char::from(*d).to_digit(16).unwrap_or(0))),
        _ => Err(bad(end)),
    };
    let (spi, sequence) = (number(part(false)?)?, number(part(false)?)?);
    let (data, end) = part(true)?;
    if !(24..=64).contains(&data.len()) {
        return Err(bad(end));
    }
    let auth = Auth { spi, sequence, data, at: end - data.len() };
    Ok((Some(auth), separated(s, end)?))
}
