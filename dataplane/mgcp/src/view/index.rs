//! The indexing pass: one walk over a message's lines.

use super::{DATAGRAM_MAX, Endpoint, LINES_MAX, Line, Message, Name, Start, TRANSACTION_MAX, Verb, fault};
use crate::code::{Code, what};
use portunus_codec::{find, parse_u32};
use portunus_signalling::{Fault, FaultKind};

const fn is_blank(c: u8) -> bool {
    matches!(c, b' ' | b'\t')
}

/// The line that begins at `at`, without its end, and where the next begins; a line ends with CR LF or LF.
fn line(octets: &[u8], at: usize) -> Option<(&[u8], usize)> {
    let rest = octets.get(at..)?;
    let end = memchr::memchr(b'\n', rest)?;
    let line = rest.get(..end)?;
    Some((line.strip_suffix(b"\r").unwrap_or(line), at + end + 1))
}

/// Cuts the first word off a line, and the blanks behind it.
fn word(line: &[u8]) -> (&[u8], &[u8]) {
    let end = line.iter().position(|c| is_blank(*c)).unwrap_or(line.len());
    let (word, rest) = line.split_at_checked(end).unwrap_or((line, b""));
    (word, rest.trim_ascii_start())
}

fn transaction(text: &[u8]) -> Option<u32> {
    let n = if text.len() <= 9 { parse_u32(text)? } else { return None };
    (1..=TRANSACTION_MAX).contains(&n).then_some(n)
}

fn code(text: &[u8]) -> Option<Code> {
    if text.len() != 3 {
        return None;
    }
    parse_u32(text).and_then(|n| Code::try_from(n).ok())
}

fn is_verb(text: &[u8]) -> bool {
    text.len() == 4 && text.iter().all(u8::is_ascii_alphanumeric)
}

pub(super) fn command_transaction(octets: &[u8]) -> Option<u32> {
    // The whole line: a limit in it would cut an identifier behind many blanks short.
    let end = find(octets, [b'\r', b'\n']).unwrap_or(octets.len());
    let (verb, rest) = word(octets.get(..end)?);
    if !is_verb(verb) { None } else { transaction(word(rest).0) }
}

/// The first line: what it is, and its transaction.
fn start(line: &[u8]) -> Result<(Start<'_>, u32), Fault> {
    let unreadable = || fault(FaultKind::Unreadable, what::START, 0);
    let (first, rest) = word(line);
    let (second, rest) = word(rest);
    if let Some(code) = code(first) {
        let transaction = transaction(second).ok_or_else(unreadable)?;
        let package = rest.strip_prefix(b"/").map(|rest| word(rest).0).filter(|package| !package.is_empty());
        return Ok((Start::Response { code, package }, transaction));
    }
    if !is_verb(first) {
        return Err(unreadable());
    }
    let transaction = transaction(second).ok_or_else(unreadable)?;
    let (third, rest) = word(rest);
    let endpoint = Endpoint::parse(third).ok_or(fault(FaultKind::Malformed, what::ENDPOINT, 0))?;
    let (protocol, rest) = word(rest);
    let (version, _profile) = word(rest);
    if !protocol.eq_ignore_ascii_case(b"MGCP") {
        return Err(fault(FaultKind::Malformed, what::START, 0));
    }
    match version {
        b"1.0" => Ok((Start::Command { verb: Verb::of(first), endpoint }, transaction)),
        _ if is_version(version) => Err(fault(FaultKind::Unsupported, what::VERSION, 0)),
        _ => Err(fault(FaultKind::Malformed, what::START, 0)),
    }
}

fn is_version(text: &[u8]) -> bool {
    let mut sides = text.splitn(2, |c| *c == b'.');
    let digits = |side: Option<&[u8]>| side.is_some_and(|s| !s.is_empty() && s.iter().all(u8::is_ascii_digit));
    digits(sides.next()) && digits(sides.next())
}

/// Where name and value of a parameter line stand in it.
fn parameter(line: &[u8]) -> Option<(&[u8], core::ops::Range<usize>)> {
    let colon = memchr::memchr(b':', line)?;
    let name = line.get(..colon)?.trim_ascii_end();
    let good = |c: &u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'+' | b'/' | b'_');
    if name.is_empty() || !name.iter().all(good) {
        return None;
    }
    let value = line.get(colon + 1..)?;
    let from = colon + 1 + (value.len() - value.trim_ascii_start().len());
    let to = from + value.trim_ascii().len();
    Some((name, from..to))
}

/// True for what may stand in a line: no control but a tab. Beyond ASCII stands only what quoted strings and
/// commentaries of other languages hold; it passes.
fn is_text(line: &[u8]) -> bool {
    line.iter().all(|c| (*c >= b' ' && *c != 0x7f) || *c == b'\t')
}

pub(super) fn message(octets: &[u8]) -> Result<Message<'_>, Fault> {
    if octets.len() > DATAGRAM_MAX {
        return Err(fault(FaultKind::TooBig, what::SIZE, DATAGRAM_MAX));
    }
    let (first, mut at) = line(octets, 0).ok_or(fault(FaultKind::Unreadable, what::MESSAGE, octets.len()))?;
    if !is_text(first) {
        return Err(fault(FaultKind::Unreadable, what::START, 0));
    }
    let (start, transaction) = start(first)?;
    let (from, mut count, mut seen) = (at, 0, 0u64);
    while at < octets.len() {
        // What has no end was cut.
        let (text, next) = line(octets, at).ok_or(fault(FaultKind::Malformed, what::LINE, at))?;
        if text.is_empty() {
            return Ok(Message { octets, start, transaction, lines: (from, at), body_at: next });
        }
        let (spelled, _) =
            parameter(text).filter(|_| is_text(text)).ok_or(fault(FaultKind::Malformed, what::LINE, at))?;
        let name = Name::of(spelled);
        let bit = 1u64 << (name as u8);
        if seen & bit != 0 && !name.may_repeat() {
            return Err(fault(FaultKind::Malformed, what::TWICE, at));
        }
        seen |= bit;
        count += 1;
        if count > LINES_MAX {
            return Err(fault(FaultKind::TooBig, what::SIZE, at));
        }
        at = next;
    }
    Ok(Message { octets, start, transaction, lines: (from, at), body_at: octets.len() })
}

/// The parameter lines of a message that was checked, in order; each is read as it is asked for.
#[derive(Debug, Clone)]
pub struct Lines<'m> {
    octets: &'m [u8],
    at: usize,
    end: usize,
}

pub(super) fn lines(octets: &[u8], (at, end): (usize, usize)) -> Lines<'_> {
    Lines { octets, at, end }
}

impl<'m> Iterator for Lines<'m> {
    type Item = Line<'m>;

    fn next(&mut self) -> Option<Line<'m>> {
        if self.at >= self.end {
            return None;
        }
        let (text, next) = line(self.octets, self.at)?;
        let (spelled, value) = parameter(text)?;
        let at = core::mem::replace(&mut self.at, next) + value.start;
        Some(Line { name: Name::of(spelled), spelled, value: text.get(value).unwrap_or_default(), at })
    }
}
