//! What H.248.1's text consists of: elements `name`, `name=value`, `name{…}` and `name=value{…}`, in lists.

use super::{Bad, Tok, Word, lex};
use portunus_signalling::FaultKind;

/// A part of the message, by octet offsets.
pub(crate) type Span = (usize, usize);

/// A [`Span`] as elements keep it, which are copied a lot: no message is longer than these offsets can say.
#[derive(Debug, Clone, Copy)]
struct Part {
    from: u16,
    to: u16,
}

impl Part {
    const fn new(from: usize, to: usize) -> Self {
        Self { from: from as u16, to: to as u16 }
    }

    const fn span(self) -> Span {
        (self.from as usize, self.to as usize)
    }

    fn of(self, s: &[u8]) -> &[u8] {
        slice(s, self.span())
    }
}

/// One element of a list.
#[derive(Debug, Clone, Copy)]
pub struct Element<'m> {
    s: &'m [u8],
    /// What tells the name from tokens.
    key: u64,
    name: Part,
    value: Part,
    block: Option<Part>,
    stamp: Option<Part>,
    end: u16,
    relation: u8,
    /// Where brackets inside it close.
    pairs: lex::Pairs,
}

impl<'m> Element<'m> {
    /// Reads the element at `at`, where no white space stands; it ends where [`Element::span`] says. `pairs` are of a block
    /// that it stands in, or none.
    pub(super) fn read(s: &'m [u8], at: usize, pairs: lex::Pairs) -> Result<Self, Bad> {
        if s.len() > usize::from(u16::MAX) {
            return Err(Bad { kind: FaultKind::TooBig, what: "message", at });
        }
        let mut name = (at, lex::value(s, at)?);
        let (mut stamp, mut at) = (None, lex::lwsp(s, name.1));
        if s.get(at) == Some(&b':') && is_stamp(slice(s, name)) {
            let from = lex::lwsp(s, at + 1);
            (stamp, name) = (Some(Part::new(name.0, name.1)), (from, lex::word(s, from)));
            if name.0 == name.1 {
                return Err(Bad::at("event", from));
            }
            at = lex::lwsp(s, name.1);
        }
        let word = Word::new(slice(s, name));
        let (name, value, end) = (Part::new(name.0, name.1), Part::new(at, at), name.1 as u16);
        let mut element = Self { s, key: word.key(), name, value, block: None, stamp, end, relation: 0, pairs };
        element.read_value(word, at)?;
        element.read_block(word)?;
        Ok(element)
    }

    fn valued(&mut self, relation: u8, from: usize, end: usize) {
        (self.relation, self.value, self.end) = (relation, Part::new(from, end), end as u16);
    }

    fn read_value(&mut self, name: Word<'_>, at: usize) -> Result<(), Bad> {
        let s = self.s;
        match s.get(at) {
            Some(b'=') => {
                let from = lex::lwsp(s, at + 1);
                let end = match s.get(from) {
                    Some(b'[') => with_port(s, listed(s, from)?)?,
                    Some(b'<') => with_port(s, angled(s, from)?)?,
                    // A list of values; a digit map without a name is its own block.
                    Some(b'{') if lex::holds_octets(name) => from,
                    Some(b'{') => lex::block(s, from, &mut self.pairs)? + 1,
                    _ => lex::value(s, from)?,
                };
                self.valued(b'=', from, end);
            }
            Some(relation @ (b'#' | b'<' | b'>')) => {
                let from = lex::lwsp(s, at + 1);
                let end = lex::value(s, from)?;
                self.valued(*relation, from, end);
            }
            // Modem types stand in a list without a sign before it.
            Some(b'[') if name.is(Tok::MODEM) => {
                let end = listed(s, at)?;
                self.valued(0, at, end);
            }
            _ => {}
        }
        Ok(())
    }

    fn read_block(&mut self, name: Word<'_>) -> Result<(), Bad> {
        let open = lex::lwsp(self.s, self.end.into());
        if self.s.get(open) != Some(&b'{') {
            return Ok(());
        }
        let close = match lex::holds_octets(name) {
            true => lex::octets(self.s, open)?,
            false => lex::block(self.s, open, &mut self.pairs)?,
        };
        (self.block, self.end) = (Some(Part::new(open + 1, close)), (close + 1) as u16);
        Ok(())
    }

    /// Its name: a word, or where a list holds strings the whole string.
    pub fn name(&self) -> &'m [u8] {
        self.name.of(self.s)
    }

    /// The time before an observed event's name.
    pub fn stamp(&self) -> Option<&'m [u8]> {
        self.stamp.map(|part| part.of(self.s))
    }

    /// The sign between name and value: `=`, `#`, `<` or `>`; 0 where there is none.
    pub fn relation(&self) -> u8 {
        self.relation
    }

    /// The value as it stands, quotation marks and brackets included; empty where there is none.
    pub fn value(&self) -> &'m [u8] {
        self.value.of(self.s)
    }

    /// The value without quotation marks.
    pub fn text(&self) -> &'m [u8] {
        unquoted(self.value())
    }

    /// The elements between its brackets; none where it has no block.
    pub fn elements(&self) -> Elements<'m> {
        let (at, end) = self.block.map_or((0, 0), Part::span);
        Elements { s: self.s, at, end, begun: false, pairs: self.pairs }
    }

    /// Where brackets inside it close.
    pub(super) fn pairs(&self) -> lex::Pairs {
        self.pairs
    }

    /// True where it has a block, be it empty.
    pub fn has_block(&self) -> bool {
        self.block.is_some()
    }

    /// What stands between its brackets.
    pub fn block(&self) -> &'m [u8] {
        self.block.map_or(&[], |part| part.of(self.s))
    }

    /// The whole element as it stands.
    pub fn whole(&self) -> &'m [u8] {
        slice(self.s, self.span())
    }

    /// Where it stands in the message.
    pub(crate) fn span(&self) -> Span {
        (self.stamp.unwrap_or(self.name).from.into(), self.end.into())
    }

    /// Where its value stands in the message.
    pub(crate) fn value_span(&self) -> Span {
        self.value.span()
    }

    /// True where the name is this token, in its long or short form.
    #[inline]
    pub(crate) fn is(&self, token: Tok) -> bool {
        token.may_be(self.key) && Word::new(self.name()).is(token)
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
    pairs: lex::Pairs,
}

impl<'m> Elements<'m> {
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
        let element = Element::read(self.s, at, self.pairs)?;
        (self.at, self.begun) = (element.end.into(), true);
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
