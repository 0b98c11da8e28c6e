//! The indexing pass: one walk over the header lines.

use super::digest::{Digest, Field, PRIVATE};
use super::lex::{self, is_ws};
use super::name::Name;
use super::{Cut, HEADERS_MAX, Header, MESSAGE_MAX, Message, Start};
use arrayvec::ArrayVec;
use portunus_codec::parse_u32;
use portunus_signalling::{Fault, FaultKind, Marks};

const NONE: u8 = u8::MAX;
/// In [`Marks`]: tells a cut in the credentials from a header.
const CUT: u16 = 0x100;

fn fault(kind: FaultKind, what: &'static str, at: usize) -> Fault {
    Fault { kind, what, at }
}

/// Octets that are looked at side by side: the compiler makes vector operations of that.
const LANES: usize = 16;

/// Offset of the first CR or LF in `s`. Most lines are short: the first of them is looked for here, as one of the octets
/// below a space; only what is longer is worth the vector search's call.
#[inline(always)]
fn find_break(s: &[u8]) -> Option<usize> {
    let (blocks, _) = s.as_chunks::<LANES>();
    let mut at = 0;
    for block in blocks.iter().take(6) {
        let low = u128::from_le_bytes(block.map(|c| if c < b' ' { 0xff } else { 0 }));
        if low != 0 {
            at += (low.trailing_zeros() / 8) as usize;
            // Where it is a tab or another control, the general search goes on.
            if matches!(s.get(at), Some(b'\r' | b'\n')) {
                return Some(at);
            }
            break;
        }
        at += LANES;
    }
    memchr::memchr2(b'\r', b'\n', s.get(at..)?).map(|n| at + n)
}

/// The end of the line that begins at `from`: the offset of its CRLF. A bare CR or LF, or none, is a fault.
#[inline(always)]
fn line_end(octets: &[u8], from: usize) -> Result<usize, Fault> {
    let rest = octets.get(from..).unwrap_or_default();
    match find_break(rest) {
        Some(n) if rest.get(n..n + 2) == Some(b"\r\n") => Ok(from + n),
        broken => Err(no_line_end(octets.len(), from, broken)),
    }
}

/// A CR at the very end is a message cut short, not a bare one.
#[cold]
fn no_line_end(len: usize, from: usize, found: Option<usize>) -> Fault {
    match found {
        Some(n) if from + n + 1 < len => fault(FaultKind::Malformed, "line end", from + n),
        Some(n) => fault(FaultKind::Unreadable, "line end", from + n),
        None => fault(FaultKind::Unreadable, "message", len),
    }
}

/// The start line: what it is, and the offset of its CRLF.
fn start_line(octets: &[u8]) -> Result<(Start, usize), Fault> {
    let unreadable = || fault(FaultKind::Unreadable, "start line", 0);
    let end = line_end(octets, 0).map_err(|_| unreadable())?;
    let line = octets.get(..end).unwrap_or_default();
    if line.get(..4) == Some(b"SIP/") {
        let Some(&[b'S', b'I', b'P', b'/', b'2', b'.', b'0', b' ', h @ b'1'..=b'6', t, u, b' ']) = line.get(..12)
        else {
            return Err(unreadable());
        };
        if !t.is_ascii_digit() || !u.is_ascii_digit() {
            return Err(unreadable());
        }
        let status = u16::from(h - b'0') * 100 + u16::from(t - b'0') * 10 + u16::from(u - b'0');
        return Ok((Start::Response { status, end: end as u16 }, end));
    }
    let (method, rest) = lex::run(line, lex::class::TOKEN);
    let uri_at = method.len() + 1;
    let uri_end = memchr::memrchr(b' ', line).unwrap_or(0);
    if method.is_empty() || rest.first() != Some(&b' ') || uri_end < uri_at {
        return Err(unreadable());
    }
    match line.get(uri_end + 1..) {
        Some(v) if v.eq_ignore_ascii_case(b"SIP/2.0") => {}
        Some(v) if v.len() >= 4 && v.get(..4).is_some_and(|s| s.eq_ignore_ascii_case(b"SIP/")) => {
            return Err(fault(FaultKind::Unsupported, "SIP-Version", uri_end + 1));
        }
        _ => return Err(unreadable()),
    }
    if !super::uri::is_uri(line.get(uri_at..uri_end).unwrap_or_default()) {
        return Err(fault(FaultKind::Malformed, "Request-URI", uri_at));
    }
    Ok((Start::Request { method_end: method.len() as u16, uri_end: uri_end as u16 }, end))
}

/// The header lines after the start line, one at a time.
pub(crate) struct Lines<'a> {
    octets: &'a [u8],
    at: usize,
}

/// What [`Lines::next`] finds.
pub(crate) enum Line {
    /// A header: name, offset of its line, and its value's range.
    Header(Name, usize, core::ops::Range<usize>),
    /// The empty line, at this offset.
    Blank(usize),
}

impl<'a> Lines<'a> {
    /// From the line that begins at `at`.
    pub(crate) fn new(octets: &'a [u8], at: usize) -> Self {
        Self { octets, at }
    }

    /// The next line. After a `Malformed` fault the walk goes on behind the faulty line; after any other it is over.
    #[inline]
    pub(crate) fn next(&mut self) -> Result<Line, Fault> {
        let at = self.at;
        if self.octets.get(at..at + 2) == Some(b"\r\n") {
            return Ok(Line::Blank(at));
        }
        let mut end = line_end(self.octets, at).inspect_err(|f| {
            // Behind a bare CR or LF: only an answer is made from what follows.
            self.at = f.at + 1;
        })?;
        self.at = end + 2;
        // A line that begins with white space continues this one.
        while let Some(b' ' | b'\t') = self.octets.get(self.at) {
            end = line_end(self.octets, self.at).inspect_err(|f| self.at = f.at + 1)?;
            self.at = end + 2;
        }
        let line = self.octets.get(at..end).unwrap_or_default();
        let bad = || fault(FaultKind::Malformed, "header", at);
        let colon = lex::find(line, *b":").ok_or_else(bad)?;
        let mut name = line.get(..colon).unwrap_or_default();
        if let [.., b' ' | b'\t'] = name {
            name = lex::trim_end(name);
        }
        let known = Name::of(name);
        if known == Name::Other && !lex::token(name) {
            return Err(bad());
        }
        // Nearly always one space stands before a value and none behind it.
        let value = match line.get(colon + 1..).unwrap_or_default() {
            [b' ', v @ ..] => v,
            v => v,
        };
        let (from, to) = match value {
            [first, .., last] if !is_ws(*first) && !is_ws(*last) => (end - value.len(), end),
            _ => {
                let begun = lex::trim_start(value);
                (end - begun.len(), end - begun.len() + lex::trim_end(begun).len())
            }
        };
        Ok(Line::Header(known, at, from..to))
    }
}

/// The values of the first headers of these names, found without indexing the message.
pub(crate) fn lines_at<const N: usize>(octets: &[u8], names: [Name; N]) -> [Option<&[u8]>; N] {
    let mut found = [None; N];
    let octets = octets.get(..MESSAGE_MAX.min(octets.len())).unwrap_or_default();
    let Ok(start) = line_end(octets, 0) else { return found };
    let mut lines = Lines::new(octets, start + 2);
    while let Ok(Line::Header(name, _, value)) = lines.next() {
        for (n, slot) in names.iter().zip(&mut found) {
            if *n == name && slot.is_none() {
                *slot = octets.get(value.clone());
            }
        }
        if found.iter().all(Option::is_some) {
            break;
        }
    }
    found
}

/// The value of the first header `name`.
pub(crate) fn line_at(octets: &[u8], name: Name) -> Option<&[u8]> {
    let [value] = lines_at(octets, [name]);
    value
}

impl<'a> Message<'a> {
    /// Indexes a message without reading what its headers say, Content-Length apart.
    ///
    /// # Errors
    /// A [`Fault`]: not SIP, cut short, a malformed line, a single-instance header twice, or a limit passed.
    pub fn index(octets: &'a [u8]) -> Result<Self, Fault> {
        let mut msg = Self::empty(octets);
        msg.fill()?;
        Ok(msg)
    }

    /// Nothing indexed yet. Whoever reads every message makes it where it stays and lets [`Message::fill`] follow: a
    /// kilobyte is not moved for nothing.
    pub(crate) fn empty(octets: &'a [u8]) -> Self {
        let (start, headers) = (Start::Response { status: 0, end: 0 }, ArrayVec::new());
        Self { octets, start, headers, first: [NONE; Name::COUNT], blank: 0, read: None, cuts: ArrayVec::new() }
    }

    /// Adds a header that was found.
    #[inline(always)]
    fn add(&mut self, header: Header) -> Result<(), Fault> {
        if let Some(slot) = self.first.get_mut(header.name as usize).filter(|slot| **slot == NONE) {
            *slot = self.headers.len() as u8;
        }
        self.headers.try_push(header).map_err(|_| fault(FaultKind::TooBig, "headers", usize::from(header.at)))
    }

    /// The indexing of an empty one; see [`Message::index`].
    pub(crate) fn fill(&mut self) -> Result<(), Fault> {
        let octets = self.octets;
        if octets.len() > MESSAGE_MAX {
            return Err(fault(FaultKind::TooBig, "message", MESSAGE_MAX));
        }
        let (start, end) = start_line(octets)?;
        self.start = start;
        let mut lines = Lines::new(octets, end + 2);
        let blank = loop {
            match lines.next()? {
                Line::Blank(at) => break at,
                Line::Header(name, at, value) => {
                    if name.is_single() && self.has(name) {
                        return Err(fault(FaultKind::Malformed, name.as_str(), at));
                    }
                    let (value, value_end) = (value.start as u16, value.end as u16);
                    self.add(Header { name, at: at as u16, value, value_end })?;
                }
            }
        };
        self.blank = blank as u16;
        if let Some(value) = self.value(Name::ContentLength) {
            let bad = || self.fault(FaultKind::Malformed, Name::ContentLength);
            let len = parse_u32(value).ok_or_else(bad)? as usize;
            self.octets = octets.get(..blank + 2 + len).ok_or_else(bad)?;
        }
        Ok(())
    }

    /// Notes the index of a request, and what its credentials lose on the way to the core, so that [`Message::marked`] has
    /// it without looking again. One of many headers is not noted.
    pub(crate) fn mark(&self, marks: &mut Marks, credentials: Option<&Digest<'_>>) {
        marks.clear();
        let Start::Request { method_end, uri_end } = self.start else { return };
        let mut noted = marks.push(&[method_end, uri_end, self.blank, self.octets.len() as u16]);
        for h in &self.headers {
            noted = noted && marks.push(&[h.name as u16, h.at, h.value, h.value_end]);
        }
        let cuts = credentials.and_then(|digest| digest.cuts(&PRIVATE)).unwrap_or_default();
        // All or none: what is not noted is looked for again.
        if noted && marks.room() >= 4 * cuts.len() {
            for (field, cut) in cuts {
                let at = self.offset(cut);
                marks.push(&[CUT | field as u16, at as u16, (at + cut.len()) as u16, 0]);
            }
        }
    }

    /// As [`Message::index`], from what [`Message::mark`] noted of the same octets, where it noted anything.
    ///
    /// # Errors
    /// As [`Message::index`], where nothing is noted.
    #[inline]
    pub(crate) fn marked(octets: &'a [u8], marks: &Marks) -> Result<Self, Fault> {
        let mut msg = Self::empty(octets);
        msg.fill_marked(marks)?;
        Ok(msg)
    }

    /// The indexing of an empty one; see [`Message::marked`].
    pub(crate) fn fill_marked(&mut self, marks: &Marks) -> Result<(), Fault> {
        let Some((&[method_end, uri_end, blank, len], rows)) = marks.words().split_first_chunk::<4>() else {
            return self.fill();
        };
        self.octets = self.octets.get(..usize::from(len)).unwrap_or_default();
        (self.start, self.blank) = (Start::Request { method_end, uri_end }, blank);
        for &[name, at, value, value_end] in rows.as_chunks::<4>().0 {
            if name & CUT != 0
                && let Some(field) = Field::private(name ^ CUT)
            {
                let cut = Cut { field, from: at, to: value };
                self.cuts.try_push(cut).map_err(|_| fault(FaultKind::TooBig, "headers", at.into()))?;
                continue;
            }
            self.add(Header { name: Name::at(name.into()), at, value, value_end })?;
        }
        Ok(())
    }

    /// What an answer to a message that [`Message::parse`] refused can be made from: the headers that an answer
    /// repeats, as far as they can be told. `None` for a response, and where an answer is impossible: no start line, or
    /// one of Via, From, To, Call-ID and CSeq missing or there twice.
    pub(crate) fn salvage(octets: &'a [u8]) -> Option<Self> {
        let octets = octets.get(..MESSAGE_MAX.min(octets.len())).unwrap_or_default();
        let (start, end) = match start_line(octets) {
            Ok(found) => found,
            // A bad URI or version stands in a line whose end is known.
            Err(f) if f.kind != FaultKind::Unreadable => {
                let end = line_end(octets, 0).ok()?;
                let method_end = memchr::memchr(b' ', octets)? as u16;
                (Start::Request { method_end, uri_end: method_end + 1 }, end)
            }
            Err(_) => return None,
        };
        let mut headers = ArrayVec::<Header, HEADERS_MAX>::new();
        let mut first = [NONE; Name::COUNT];
        let mut lines = Lines::new(octets, end + 2);
        let mut blank = octets.len();
        // Each step consumes at least one octet of a bounded message.
        while !headers.is_full() {
            match lines.next() {
                Ok(Line::Blank(at)) => {
                    blank = at;
                    break;
                }
                Ok(Line::Header(name, at, value)) => {
                    let slot = first.get_mut(name as usize)?;
                    let repeated = matches!(name, Name::From | Name::To | Name::CallId | Name::CSeq);
                    match (*slot, repeated) {
                        (NONE, _) => *slot = headers.len() as u8,
                        (_, true) => return None,
                        _ => {}
                    }
                    let (value, value_end) = (value.start as u16, value.end as u16);
                    headers.push(Header { name, at: at as u16, value, value_end });
                }
                Err(f) if f.kind == FaultKind::Malformed => {}
                Err(_) => break,
            }
        }
        let msg = Self { octets, start, headers, first, blank: blank as u16, read: None, cuts: ArrayVec::new() };
        let needed = [Name::Via, Name::From, Name::To, Name::CallId, Name::CSeq];
        (msg.is_request() && needed.into_iter().all(|n| msg.has(n))).then_some(msg)
    }
}
