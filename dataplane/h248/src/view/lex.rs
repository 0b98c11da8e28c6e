//! The characters of H.248.1 annex B.2, and how far a word, a string, white space or a block goes. All positions are
//! octet offsets in the message.

use super::{Bad, Tok, Word};
use portunus_codec::find_or_unprintable;
use portunus_signalling::FaultKind;

/// Deepest nesting of brackets that is looked into. The grammar's own deepest is 10.
pub const DEPTH_MAX: usize = 16;

const SAFE: u16 = 1;
const REST: u16 = 2;
const WSP: u16 = 4;
const EOL: u16 = 8;
const QUOTE: u16 = 16;
/// What neither opens, closes nor separates anything: between brackets it is passed over.
const PLAIN: u16 = 32;
/// What white space and comments begin with.
const BLANK: u16 = 64;
/// What a domain name consists of.
const DOMAIN: u16 = 128;
/// What a NAME consists of.
const NAME: u16 = 256;

static CLASS: [u16; 256] = {
    let mut table = [0u16; 256];
    let mut i = 0;
    while i < 256 {
        let c = i as u8;
        table[i] = match c {
            b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' => SAFE | DOMAIN | NAME,
            b'-' | b'.' => SAFE | DOMAIN,
            b'_' => SAFE | NAME,
            b'+' | b'&' | b'!' | b'/' | b'\'' | b'?' | b'@' | b'^' | b'`' | b'~' | b'*' | b'$' | b'\\' | b'('
            | b')' | b'%' | b'|' => SAFE,
            b';' => REST | BLANK,
            b'[' | b']' | b'{' | b'}' | b':' | b',' | b'#' | b'<' | b'>' | b'=' => REST,
            b' ' | b'\t' => WSP | BLANK,
            b'\r' | b'\n' => EOL | BLANK,
            b'"' => QUOTE,
            _ => 0,
        };
        if table[i] & (SAFE | WSP | EOL) != 0 || matches!(c, b'[' | b']' | b':' | b'#' | b'<' | b'>' | b'=') {
            table[i] |= PLAIN;
        }
        i += 1;
    }
    table
};

#[inline]
fn of_class(c: u8, class: u16) -> bool {
    CLASS[usize::from(c)] & class != 0
}

/// True for what consists of a domain name's characters.
pub(super) fn all_domain(text: &[u8]) -> bool {
    text.iter().all(|c| of_class(*c, DOMAIN))
}

/// True for what consists of a NAME's characters.
pub(super) fn all_name(text: &[u8]) -> bool {
    text.iter().all(|c| of_class(*c, NAME))
}

/// True for SafeChar.
pub(super) fn is_safe(c: u8) -> bool {
    of_class(c, SAFE)
}

fn end_while(s: &[u8], at: usize, class: u16) -> usize {
    let rest = s.get(at..).unwrap_or_default();
    at + rest.iter().position(|c| !of_class(*c, class)).unwrap_or(rest.len())
}

/// As [`end_while`], for a single class of which many are expected: eight octets at a time.
#[inline]
fn end_of_run(s: &[u8], at: usize, class: u16) -> usize {
    let rest = s.get(at..).unwrap_or_default();
    let of = |word: &&[u8; 8]| word.iter().fold(u16::MAX, |all, c| all & CLASS[usize::from(*c)]) & class != 0;
    let words = rest.as_chunks::<8>().0.iter().take_while(of).count();
    end_while(s, at + 8 * words, class)
}

/// Where white space, line ends and comments that begin at `at` end.
#[inline]
pub(super) fn lwsp(s: &[u8], at: usize) -> usize {
    // Mostly there is none.
    if s.get(at).is_some_and(|c| of_class(*c, BLANK)) { behind_blanks(s, at) } else { at }
}

fn behind_blanks(s: &[u8], mut at: usize) -> usize {
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
    let mut end = at + 1;
    loop {
        let rest = s.get(end..).unwrap_or_default();
        end += find_or_unprintable(rest, b'"').unwrap_or(rest.len());
        match s.get(end) {
            Some(b'"') => return Ok(end + 1),
            Some(b'\t') => end += 1,
            _ => return Err(Bad::at("quoted string", end)),
        }
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
pub(super) fn holds_octets(name: Word<'_>) -> bool {
    name.is(Tok::LOCAL) || name.is(Tok::REMOTE) || name.is(Tok::DIGIT_MAP)
}

/// Brackets noted on the way through a block.
const PAIRS: usize = 8;

/// Where brackets of a block close that were passed on the way through it, the block's own among them: what stands inside
/// needs no second look for its end. The first few are noted; the end of others is looked for.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Pairs {
    /// Opening and closing brackets, in the order of the former; 0: not closed.
    at: [(u16, u16); PAIRS],
    noted: u8,
}

impl Pairs {
    /// Notes a bracket that opens, where there is room and the offset can be said.
    fn open(&mut self, at: usize) {
        if let (Some(place), Ok(at)) = (self.at.get_mut(usize::from(self.noted)), u16::try_from(at)) {
            *place = (at, 0);
            self.noted += 1;
        }
    }

    /// Where the bracket at `open` closes, if it was noted.
    fn close(&self, open: usize) -> Option<usize> {
        let noted = self.at.iter().take(self.noted.into());
        noted
            .map(|(from, to)| (usize::from(*from), usize::from(*to)))
            .find(|(from, to)| *from == open && *to > 0)
            .map(|(_, to)| to)
    }
}

/// The block whose opening bracket is at `open`: where its closing one is. `pairs` may know; what they know afterwards is
/// of this block and its inside.
#[inline]
pub(super) fn block(s: &[u8], open: usize, pairs: &mut Pairs) -> Result<usize, Bad> {
    match pairs.close(open) {
        Some(close) => Ok(close),
        None => pass(s, open, pairs),
    }
}

/// As [`block`], of which nothing is known. Octet strings, quoted strings and comments inside are passed over as what they
/// are.
fn pass(s: &[u8], open: usize, pairs: &mut Pairs) -> Result<usize, Bad> {
    *pairs = Pairs::default();
    pairs.open(open);
    // Which of the noted brackets are open; those that are not noted are not among them.
    let mut unclosed = [0u8; DEPTH_MAX];
    let (mut at, mut depth, mut first) = (open + 1, 1, true);
    loop {
        if core::mem::take(&mut first) {
            at = lwsp(s, at);
            // Most names need no look at all of them to be none of those.
            if s.get(at).is_some_and(|c| matches!(c | 0x20, b'l' | b'r' | b'd')) {
                let end = word(s, at);
                let name = Word::new(s.get(at..end).unwrap_or_default());
                at = if holds_octets(name) { behind_octets(s, name, end)? } else { end };
            }
        }
        at = end_of_run(s, at, PLAIN);
        match s.get(at) {
            Some(b'{') => {
                if depth >= DEPTH_MAX {
                    return Err(Bad { kind: FaultKind::TooBig, what: "nesting", at });
                }
                if let Some(place) = unclosed.get_mut(depth) {
                    *place = pairs.noted;
                }
                depth += 1;
                pairs.open(at);
                first = true;
                at += 1;
            }
            Some(b'}') => {
                depth -= 1;
                let noted = unclosed.get(depth).and_then(|nth| pairs.at.get_mut(usize::from(*nth)));
                if let (Some(noted), Ok(at)) = (noted, u16::try_from(at)) {
                    noted.1 = at;
                }
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
fn behind_octets(s: &[u8], name: Word<'_>, end: usize) -> Result<usize, Bad> {
    let mut at = lwsp(s, end);
    if name.is(Tok::DIGIT_MAP) && s.get(at) == Some(&b'=') {
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
                Some(b'"') => at = plain_quoted(s, at)?,
                Some(c) if is_safe(*c) => {
                    let end = word(s, at);
                    let name = Word::new(s.get(at..end).unwrap_or_default());
                    at = if was_first && holds_octets(name) { behind_octets(s, name, end)? } else { end };
                }
                Some(c) if of_class(*c, REST) => at += 1,
                Some(_) => return Err(Bad::at("character", at)),
                None => return Err(Bad::at("bracket", at)),
            }
        }
    }

    fn plain_quoted(s: &[u8], at: usize) -> Result<usize, Bad> {
        match end_while(s, at + 1, SAFE | REST | WSP) {
            end if s.get(end) == Some(&b'"') => Ok(end + 1),
            end => Err(Bad::at("quoted string", end)),
        }
    }

    proptest! {
        #[test]
        fn a_string_ends_where_the_grammar_says(text in prop::collection::vec(
            prop_oneof![Just(b'"'), Just(b'\t'), 0x20u8..0x7f, 0x20u8..0x7f, 0x20u8..0x7f, 0x1eu8..0x82], 0..60,
        )) {
            prop_assert_eq!(quoted(&text, 0), plain_quoted(&text, 0));
        }

        #[test]
        fn a_block_ends_where_the_grammar_says(parts in prop::collection::vec(prop::sample::select(vec![
            "{", "}", "}", ",", "\"", " ", "\r\n", ";", "=", "L", "Local", "dm", "DigitMap", "R", "\\", "abcdefghij", "0x1f",
            "[", "]", ":", "\"q{x}\"", "; c }\n", "\u{7}", "\0",
        ]), 0..60)) {
            let mut pairs = Pairs::default();
            let text = format!("{{{}", parts.concat());
            let (found, plain) = (block(text.as_bytes(), 0, &mut pairs), plain_block(text.as_bytes(), 0));
            let inside: Vec<_> = (0..text.len()).filter_map(|open| Some((open, pairs.close(open)?))).collect();
            prop_assert_eq!(found.map_err(|e| (e.what, e.at)), plain.map_err(|e| (e.what, e.at)), "{}", text);
            for (open, close) in inside {
                prop_assert_eq!(plain_block(text.as_bytes(), open).ok(), Some(close), "{} {}", text, open);
            }
        }
    }
}
