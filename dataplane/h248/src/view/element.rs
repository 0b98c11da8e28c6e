//! What H.248.1's text consists of: elements `name`, `name=value`, `name{…}` and `name=value{…}`, in lists.

use super::{Bad, Tok, is, lex};

/// A part of the message, by octet offsets.
pub(crate) type Span = (usize, usize);

/// One element of a list.
#[derive(Debug, Clone, Copy)]
pub struct Element<'m> {
    s: &'m [u8],
    stamp: Option<Span>,
    name: Span,
    relation: u8,
    value: Span,
    block: Option<Span>,
    end: usize,
}

impl<'m> Element<'m> {
    /// Reads the element at `at`, where no white space stands; it ends where [`Element::span`] says.
    pub(super) fn read(s: &'m [u8], at: usize) -> Result<Self, Bad> {
        let mut name = (at, lex::value(s, at)?);
        let (mut stamp, mut at) = (None, lex::lwsp(s, name.1));
        if s.get(at) == Some(&b':') && is_stamp(slice(s, name)) {
            let from = lex::lwsp(s, at + 1);
            (stamp, name) = (Some(name), (from, lex::word(s, from)));
            if name.0 == name.1 {
                return Err(Bad::at("event", from));
            }
            at = lex::lwsp(s, name.1);
        }
        let mut element = Self { s, stamp, name, relation: 0, value: (at, at), block: None, end: name.1 };
        element.read_value(at)?;
        element.read_block()?;
        Ok(element)
    }

    fn read_value(&mut self, at: usize) -> Result<(), Bad> {
        let s = self.s;
        match s.get(at) {
            Some(b'=') => {
                let from = lex::lwsp(s, at + 1);
                let end = match s.get(from) {
                    Some(b'[') => with_port(s, listed(s, from)?)?,
                    Some(b'<') => with_port(s, angled(s, from)?)?,
                    // A list of values; a digit map without a name is its own block.
                    Some(b'{') if lex::holds_octets(self.name()) => from,
                    Some(b'{') => lex::block(s, from)? + 1,
                    _ => lex::value(s, from)?,
                };
                (self.relation, self.value, self.end) = (b'=', (from, end), end);
            }
            Some(relation @ (b'#' | b'<' | b'>')) => {
                let from = lex::lwsp(s, at + 1);
                let end = lex::value(s, from)?;
                (self.relation, self.value, self.end) = (*relation, (from, end), end);
            }
            // Modem types stand in a list without a sign before it.
            Some(b'[') if is(self.name(), Tok::MODEM) => {
                let end = listed(s, at)?;
                (self.value, self.end) = ((at, end), end);
            }
            _ => {}
        }
        Ok(())
    }

    fn read_block(&mut self) -> Result<(), Bad> {
        let open = lex::lwsp(self.s, self.end);
        if self.s.get(open) != Some(&b'{') {
            return Ok(());
        }
        let close = if lex::holds_octets(self.name()) { lex::octets(self.s, open)? } else { lex::block(self.s, open)? };
        (self.block, self.end) = (Some((open + 1, close)), close + 1);
        Ok(())
    }

    /// Its name: a word, or where a list holds strings the whole string.
    pub fn name(&self) -> &'m [u8] {
        slice(self.s, self.name)
    }

    /// The time before an observed event's name.
    pub fn stamp(&self) -> Option<&'m [u8]> {
        self.stamp.map(|span| slice(self.s, span))
    }

    /// The sign between name and value: `=`, `#`, `<` or `>`; 0 where there is none.
    pub fn relation(&self) -> u8 {
        self.relation
    }

    /// The value as it stands, quotation marks and brackets included; empty where there is none.
    pub fn value(&self) -> &'m [u8] {
        slice(self.s, self.value)
    }

    /// The value without quotation marks.
    pub fn text(&self) -> &'m [u8] {
        unquoted(self.value())
    }

    /// The elements between its brackets; none where it has no block.
    pub fn elements(&self) -> Elements<'m> {
        self.block.map_or(Elements::EMPTY, |(at, end)| Elements { s: self.s, at, end, begun: false })
    }

    /// True where it has a block, be it empty.
    pub fn has_block(&self) -> bool {
        self.block.is_some()
    }

    /// What stands between its brackets.
    pub fn block(&self) -> &'m [u8] {
        self.block.map_or(&[], |span| slice(self.s, span))
    }

    /// The whole element as it stands.
    pub fn whole(&self) -> &'m [u8] {
        slice(self.s, self.span())
    }

    /// Where it stands in the message.
    pub(crate) fn span(&self) -> Span {
        (self.stamp.unwrap_or(self.name).0, self.end)
    }

    /// Where its value stands in the message.
    pub(crate) fn value_span(&self) -> Span {
        self.value
    }

    /// True where the name is this token, in its long or short form.
    pub(crate) fn is(&self, token: Tok) -> bool {
        is(self.name(), token)
    }

    /// A fault at its beginning.
    pub(super) fn bad(&self, what: &'static str) -> Bad {
        Bad::at(what, self.span().0)
    }
}

/// The elements of a list, in order. In a checked message nothing is left out.
#[derive(Debug, Clone, Copy)]
pub struct Elements<'m> {
    s: &'m [u8],
    at: usize,
    end: usize,
    begun: bool,
}

impl<'m> Elements<'m> {
    const EMPTY: Self = Self { s: &[], at: 0, end: 0, begun: false };

    /// The next one; `None` at the end of the list.
    pub(super) fn try_next(&mut self) -> Result<Option<Element<'m>>, Bad> {
        let mut at = lex::lwsp(self.s, self.at);
        if at >= self.end {
            self.at = self.end;
            return Ok(None);
        }
        if self.begun {
            if self.s.get(at) != Some(&b',') {
                return Err(Bad::at("comma", at));
            }
            at = lex::lwsp(self.s, at + 1);
        }
        let element = Element::read(self.s, at)?;
        (self.at, self.begun) = (element.end, true);
        Ok(Some(element))
    }
}

impl<'m> Iterator for Elements<'m> {
    type Item = Element<'m>;

    fn next(&mut self) -> Option<Element<'m>> {
        self.try_next().ok().flatten()
    }
}

pub(super) fn slice(s: &[u8], (from, to): Span) -> &[u8] {
    s.get(from..to).unwrap_or_default()
}

/// A value without its quotation marks.
pub(crate) fn unquoted(value: &[u8]) -> &[u8] {
    match value {
        [b'"', inner @ .., b'"'] => inner,
        other => other,
    }
}

/// `yyyymmddThhmmsscc`.
pub(super) fn is_stamp(word: &[u8]) -> bool {
    let digits = |s: &[u8]| s.iter().all(u8::is_ascii_digit);
    match word {
        [date @ .., t, _, _, _, _, _, _, _, _] if date.len() == 8 => {
            digits(date) && t.eq_ignore_ascii_case(&b'T') && word.get(9..).is_some_and(digits)
        }
        _ => false,
    }
}

/// Behind the square bracket that closes the list at `open`.
fn listed(s: &[u8], open: usize) -> Result<usize, Bad> {
    let mut at = open + 1;
    loop {
        at = lex::lwsp(s, at);
        match s.get(at) {
            Some(b']') => return Ok(at + 1),
            Some(b'"') => at = lex::quoted(s, at)?,
            Some(b',' | b':') => at += 1,
            Some(c) if lex::is_safe(*c) => at = lex::word(s, at),
            _ => return Err(Bad::at("list", at)),
        }
    }
}

/// Behind the bracket that closes the domain name at `open`.
pub(super) fn angled(s: &[u8], open: usize) -> Result<usize, Bad> {
    let end = lex::word(s, open + 1);
    match s.get(end) {
        Some(b'>') => Ok(end + 1),
        _ => Err(Bad::at("domain name", end)),
    }
}

/// Behind the port that follows an address, where one does.
pub(super) fn with_port(s: &[u8], at: usize) -> Result<usize, Bad> {
    if s.get(at) != Some(&b':') {
        return Ok(at);
    }
    match lex::word(s, at + 1) {
        end if end > at + 1 => Ok(end),
        _ => Err(Bad::at("port", at)),
    }
}
