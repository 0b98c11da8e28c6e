//! The characters of H.248.1 annex B.2, and how far a word, a string, white space or a block goes. All positions are
//! octet offsets in the message.

use super::{Bad, Tok, is};
use portunus_signalling::FaultKind;

/// Deepest nesting of brackets that is looked into. The grammar's own deepest is 10.
pub const DEPTH_MAX: usize = 16;

const SAFE: u8 = 1;
const REST: u8 = 2;
const WSP: u8 = 4;
const EOL: u8 = 8;
const QUOTE: u8 = 16;
/// What neither opens, closes nor separates anything: between brackets it is passed over.
const PLAIN: u8 = 32;
/// What stands in a quoted string.
const QUOTED: u8 = 64;

static CLASS: [u8; 256] = {
    let mut table = [0u8; 256];
    let mut i = 0;
    while i < 256 {
        let c = i as u8;
        table[i] = match c {
            b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' => SAFE,
            b'+' | b'-' | b'&' | b'!' | b'_' | b'/' | b'\'' | b'?' | b'@' | b'^' | b'`' | b'~' | b'*' | b'$'
            | b'\\' | b'(' | b')' | b'%' | b'|' | b'.' => SAFE,
            b';' | b'[' | b']' | b'{' | b'}' | b':' | b',' | b'#' | b'<' | b'>' | b'=' => REST,
            b' ' | b'\t' => WSP,
            b'\r' | b'\n' => EOL,
            b'"' => QUOTE,
            _ => 0,
        };
        if table[i] & (SAFE | WSP | EOL) != 0 || matches!(c, b'[' | b']' | b':' | b'#' | b'<' | b'>' | b'=') {
            table[i] |= PLAIN;
        }
        if table[i] & (SAFE | REST | WSP) != 0 {
            table[i] |= QUOTED;
        }
        i += 1;
    }
    table
};

fn of_class(c: u8, class: u8) -> bool {
    CLASS[usize::from(c)] & class != 0
}

/// True for SafeChar.
pub(super) fn is_safe(c: u8) -> bool {
    of_class(c, SAFE)
}

fn end_while(s: &[u8], at: usize, class: u8) -> usize {
    let rest = s.get(at..).unwrap_or_default();
    at + rest.iter().position(|c| !of_class(*c, class)).unwrap_or(rest.len())
}

/// As [`end_while`], for a single class of which many are expected: eight octets at a time.
#[inline]
fn end_of_run(s: &[u8], at: usize, class: u8) -> usize {
    let rest = s.get(at..).unwrap_or_default();
    let of = |word: &&[u8; 8]| word.iter().fold(u8::MAX, |all, c| all & CLASS[usize::from(*c)]) & class != 0;
    let words = rest.as_chunks::<8>().0.iter().take_while(of).count();
    end_while(s, at + 8 * words, class)
}

/// Where white space, line ends and comments that begin at `at` end.
#[inline]
pub(super) fn lwsp(s: &[u8], mut at: usize) -> usize {
    loop {
        at = end_while(s, at, WSP | EOL);
        if s.get(at) != Some(&b';') {
            return at;
        }
        at = end_while(s, at, SAFE | REST | WSP | QUOTE);
    }
}

/// Where the word that begins at `at` ends; `at` itself where none does.
#[inline]
pub(super) fn word(s: &[u8], at: usize) -> usize {
    end_while(s, at, SAFE)
}

/// Where the quoted string ends whose first mark is at `at`: behind its last mark.
pub(super) fn quoted(s: &[u8], at: usize) -> Result<usize, Bad> {
    let end = end_of_run(s, at + 1, QUOTED);
    match s.get(end) {
        Some(b'"') => Ok(end + 1),
        _ => Err(Bad::at("quoted string", end)),
    }
}

/// A word or a quoted string.
pub(super) fn value(s: &[u8], at: usize) -> Result<usize, Bad> {
    match s.get(at) {
        Some(b'"') => quoted(s, at),
        _ => match word(s, at) {
            end if end > at => Ok(end),
            _ => Err(Bad::at("value", at)),
        },
    }
}

/// The octet string of Local, Remote and DigitMap whose opening bracket is at `open`: where its closing one is.
pub(super) fn octets(s: &[u8], open: usize) -> Result<usize, Bad> {
    let mut at = open + 1;
    loop {
        match s.get(at) {
            Some(b'}') => return Ok(at),
            Some(b'\\') if s.get(at + 1) == Some(&b'}') => at += 2,
            Some(0) | None => return Err(Bad::at("octet string", at)),
            Some(_) => at += 1,
        }
    }
}

/// True where what stands between brackets behind this name is an octet string.
pub(super) fn holds_octets(name: &[u8]) -> bool {
    is(name, Tok::LOCAL) || is(name, Tok::REMOTE) || is(name, Tok::DIGIT_MAP)
}

/// The block whose opening bracket is at `open`: where its closing one is. Octet strings, quoted strings and comments
/// inside are passed over as what they are.
pub(super) fn block(s: &[u8], open: usize) -> Result<usize, Bad> {
    let (mut at, mut depth, mut first) = (open + 1, 1, true);
    loop {
        if core::mem::take(&mut first) {
            at = lwsp(s, at);
            let end = word(s, at);
            let name = s.get(at..end).unwrap_or_default();
            at = if holds_octets(name) { behind_octets(s, name, end)? } else { end };
        }
        at = end_of_run(s, at, PLAIN);
        match s.get(at) {
            Some(b'{') => {
                depth += 1;
                if depth > DEPTH_MAX {
                    return Err(Bad { kind: FaultKind::TooBig, what: "nesting", at });
                }
                first = true;
                at += 1;
            }
            Some(b'}') => {
                depth -= 1;
                if depth == 0 {
                    return Ok(at);
                }
                at += 1;
            }
            Some(b',') => {
                first = true;
                at += 1;
            }
            Some(b'"') => at = quoted(s, at)?,
            Some(b';') => at = lwsp(s, at),
            Some(_) => return Err(Bad::at("character", at)),
            None => return Err(Bad::at("bracket", at)),
        }
    }
}

/// Behind the octet string of the name that ends at `end`, where it has one.
fn behind_octets(s: &[u8], name: &[u8], end: usize) -> Result<usize, Bad> {
    let mut at = lwsp(s, end);
    if is(name, Tok::DIGIT_MAP) && s.get(at) == Some(&b'=') {
        at = lwsp(s, at + 1);
        at = lwsp(s, word(s, at));
    }
    match s.get(at) {
        Some(b'{') => octets(s, at).map(|close| close + 1),
        _ => Ok(end),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// [`block`] as the grammar reads, octet by octet.
    fn plain_block(s: &[u8], open: usize) -> Result<usize, Bad> {
        let (mut at, mut depth, mut first) = (open + 1, 1, true);
        loop {
            at = lwsp(s, at);
            let was_first = core::mem::replace(&mut first, false);
            match s.get(at) {
                Some(b'{') if depth == DEPTH_MAX => {
                    return Err(Bad { kind: FaultKind::TooBig, what: "nesting", at });
                }
                Some(b'{') => (depth, first, at) = (depth + 1, true, at + 1),
                Some(b'}') if depth == 1 => return Ok(at),
                Some(b'}') => (depth, at) = (depth - 1, at + 1),
                Some(b',') => (first, at) = (true, at + 1),
                Some(b'"') => at = quoted(s, at)?,
                Some(c) if is_safe(*c) => {
                    let end = word(s, at);
                    let name = s.get(at..end).unwrap_or_default();
                    at = if was_first && holds_octets(name) { behind_octets(s, name, end)? } else { end };
                }
                Some(c) if of_class(*c, REST) => at += 1,
                Some(_) => return Err(Bad::at("character", at)),
                None => return Err(Bad::at("bracket", at)),
            }
        }
    }

    proptest! {
        #[test]
        fn a_block_ends_where_the_grammar_says(parts in prop::collection::vec(prop::sample::select(vec![
            "{", "}", "}", ",", "\"", " ", "\r\n", ";", "=", "L", "Local", "dm", "DigitMap", "R", "\\", "abcdefghij", "0x1f",
            "[", "]", ":", "\"q{x}\"", "; c }\n", "\u{7}", "\0",
        ]), 0..60)) {
            let text = format!("{{{}", parts.concat());
            let (found, plain) = (block(text.as_bytes(), 0), plain_block(text.as_bytes(), 0));
            prop_assert_eq!(found.map_err(|e| (e.what, e.at)), plain.map_err(|e| (e.what, e.at)), "{}", text);
        }
    }
}
