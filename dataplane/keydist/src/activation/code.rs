//! The code as people read, type and dictate it: 26 characters of Crockford's base32, the last one a check.
//!
//! 25 characters are drawn at random, 125 bits. The check makes the sum of all values, weighted by the powers of a
//! generator of GF(32), zero: one wrong character and two swapped ones are always found.

use super::schedule::CodeKey;
use crate::Random;
use core::fmt;
use zeroize::{Zeroize as _, ZeroizeOnDrop};

/// Characters of a code.
pub const CODE_CHARS: usize = 26;
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
/// How it is written: groups of so many characters.
const GROUPS: [usize; 5] = [5, 5, 5, 5, 6];

/// A code: erased when dropped, never printed unless asked for.
#[derive(Clone, PartialEq, Eq, ZeroizeOnDrop)]
pub struct Code([u8; CODE_CHARS]);

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Code(..)")
    }
}

/// What is wrong with a text that should be a code. It holds nothing of the text but a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CodeFault {
    /// Another number of characters than 26: how many there are, hyphens and spaces aside.
    Length(usize),
    /// A character that stands in no code: which one it is, from 1, hyphens and spaces included.
    Character(usize),
    /// Every character may be in a code and one is wrong, or two are swapped.
    Check,
}

impl fmt::Display for CodeFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length(n) => write!(f, "a code has {CODE_CHARS} letters and digits, not {n}"),
            Self::Character(at) => write!(f, "character {at} stands in no code"),
            Self::Check => f.write_str("one character is wrong, or two are swapped"),
        }
    }
}

impl core::error::Error for CodeFault {}

/// Multiplication by x in GF(32), x^5 + x^2 + 1.
const fn by_x(a: u8) -> u8 {
    (a << 1) ^ if a & 16 == 0 { 0 } else { 0x25 }
}

/// The sum over the values, the last one weighted by one.
fn weighted(values: &[u8]) -> u8 {
    values.iter().fold(0, |sum, value| by_x(sum) ^ value)
}

/// The value of a character, as forgiving as the alphabet was made for.
fn value(c: u8) -> Option<u8> {
    let c = match c.to_ascii_uppercase() {
        b'I' | b'L' => b'1',
        b'O' => b'0',
        c => c,
    };
    ALPHABET.iter().position(|a| *a == c).map(|at| at as u8)
}

impl Code {
    /// A fresh code.
    pub fn random(rng: &mut dyn Random) -> Self {
        let mut values = [0u8; CODE_CHARS];
        rng.fill(&mut values);
        values.iter_mut().for_each(|v| *v &= 31);
        values[CODE_CHARS - 1] = 0;
        // The last value is what the sum lacks of zero; addition is its own inverse here.
        values[CODE_CHARS - 1] = weighted(&values);
        Self(values)
    }

    /// Reads what somebody typed: either case, hyphens and spaces anywhere, I and L for 1, O for 0.
    ///
    /// # Errors
    /// [`CodeFault`].
    pub fn parse(text: &str) -> Result<Self, CodeFault> {
        let mut code = Self([0; CODE_CHARS]);
        let mut n = 0;
        for (at, c) in text.trim().chars().enumerate() {
            if c == '-' || c == ' ' {
                continue;
            }
            let v = u8::try_from(c).ok().and_then(value).ok_or(CodeFault::Character(at + 1))?;
            if let Some(place) = code.0.get_mut(n) {
                *place = v;
            }
            n += 1;
        }
        if n != CODE_CHARS {
            return Err(CodeFault::Length(n));
        }
        if weighted(&code.0) == 0 { Ok(code) } else { Err(CodeFault::Check) }
    }

    /// Writes it in groups into `out`, for the one time that it is shown.
    pub fn write(&self, out: &mut String) {
        let mut from = 0;
        for len in GROUPS {
            if from > 0 {
                out.push('-');
            }
            let group = self.0.get(from..from + len).unwrap_or_default();
            out.extend(group.iter().map(|v| char::from(ALPHABET[usize::from(v & 31)])));
            from += len;
        }
    }

    /// What both ends derive everything from.
    pub fn key(&self) -> CodeKey {
        let mut text = [0u8; CODE_CHARS - 1];
        for (c, v) in text.iter_mut().zip(&self.0) {
            *c = ALPHABET[usize::from(v & 31)];
        }
        let key = CodeKey::new(&text);
        text.zeroize();
        key
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SystemRandom;
    use proptest::prelude::*;

    fn written(code: &Code) -> String {
        let mut out = String::new();
        code.write(&mut out);
        out
    }

    #[test]
    fn what_is_written_is_read_however_it_is_typed() {
        let code = Code::random(&mut SystemRandom::new());
        let text = written(&code);
        assert_eq!((text.len(), text.matches('-').count()), (30, 4));
        let typed = text.to_lowercase().replace('-', " ").replace('1', "l").replace('0', "o");
        for form in [text.clone(), typed, text.replace('-', ""), format!("  {text}\n")] {
            assert_eq!(Code::parse(&form).as_ref(), Ok(&code), "{form}");
        }
        assert_eq!(Code::parse("").unwrap_err(), CodeFault::Length(0));
        assert_eq!(Code::parse(&format!("{text}0")).unwrap_err(), CodeFault::Length(27));
        assert_eq!(Code::parse("ABU").unwrap_err(), CodeFault::Character(3));
        assert_eq!(Code::parse("AB\u{e9}").unwrap_err(), CodeFault::Character(3));
        assert_eq!(format!("{code:?}"), "Code(..)");
    }

    #[test]
    fn one_wrong_character_and_any_two_swapped_are_found() {
        let code = Code::random(&mut SystemRandom::new());
        for at in 0..CODE_CHARS {
            for wrong in (0..32).filter(|v| *v != code.0[at]) {
                let mut bad = code.clone();
                bad.0[at] = wrong;
                assert_eq!(Code::parse(&written(&bad)), Err(CodeFault::Check));
            }
            for other in 0..at {
                let mut bad = code.clone();
                bad.0.swap(at, other);
                assert_eq!(Code::parse(&written(&bad)).is_ok(), code.0[at] == code.0[other], "{at} {other}");
            }
        }
    }

    #[test]
    fn every_value_occurs_in_every_place_but_the_last() {
        let rng = &mut SystemRandom::new();
        let mut seen = [0u32; CODE_CHARS];
        for _ in 0..2_000 {
            for (seen, v) in seen.iter_mut().zip(Code::random(rng).0) {
                *seen |= 1 << v;
            }
        }
        assert!(seen.iter().all(|s| *s == u32::MAX));
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused_with_a_place_inside_it(text in ".{0,60}") {
            if let Err(CodeFault::Character(at)) = Code::parse(&text) {
                prop_assert!((1..=text.chars().count()).contains(&at));
            }
        }
    }
}
