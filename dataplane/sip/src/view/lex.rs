//! Lexical elements of RFC 3261 section 25.1: tokens, quoted strings, comma lists and parameters. Everything works on
//! slices of the message; a fold (CRLF and white space) counts as white space.

use core::iter::FusedIterator;
pub(crate) use portunus_codec::find;

/// Classes of octets, one bit each; see [`CLASS`].
pub(crate) mod class {
    /// `token` of RFC 3261 section 25.1.
    pub(crate) const TOKEN: u8 = 1;
    /// What no URI of any scheme holds: white space, controls, quotes, angle brackets.
    pub(crate) const NOT_URI: u8 = 2;
    /// What no SIP URI holds: those, what RFC 3986 calls unsafe, and anything above ASCII.
    pub(crate) const NOT_SIP_URI: u8 = 4;
    /// What no host name holds. Escapes have no place in an RFC 3261 host, but RFC 3986 knows them, and an IDc may
    /// need them there.
    pub(crate) const NOT_HOST: u8 = 8;
    /// What no Call-ID holds: white space, controls, separators of lists and parameters, anything above ASCII.
    pub(crate) const NOT_CALL_ID: u8 = 16;
    /// What a bare parameter value holds: tokens and hosts.
    pub(crate) const VALUE: u8 = 32;
    /// What stands for itself in the user part of a URI that is written here.
    pub(crate) const PLAIN_USER: u8 = 64;
    /// What stands for itself in every part of a URI and separates none: letters, digits, `-`, `.`, `_`.
    pub(crate) const PLAIN: u8 = 128;
}

/// The classes of every octet.
static CLASS: [u8; 256] = {
    let mut table = [0u8; 256];
    let mut i = 0usize;
    while i < 256 {
        let c = i as u8;
        let word = c.is_ascii_alphanumeric();
        if word || matches!(c, b'-' | b'.' | b'!' | b'%' | b'*' | b'_' | b'+' | b'`' | b'\'' | b'~') {
            table[i] |= class::TOKEN | class::VALUE;
        }
        if matches!(c, b'[' | b']' | b':' | b'/') {
            table[i] |= class::VALUE;
        }
        if table[i] & class::TOKEN != 0 && !matches!(c, b'%' | b'`') || matches!(c, b'(' | b')' | b'&' | b'=' | b'$') {
            table[i] |= class::PLAIN_USER;
        }
        if matches!(c, 0..=b' ' | 0x7f | b'"' | b'<' | b'>') {
            table[i] |= class::NOT_URI | class::NOT_SIP_URI;
        }
        if matches!(c, 0x80..=0xff | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}') {
            table[i] |= class::NOT_SIP_URI;
        }
        if word || matches!(c, b'-' | b'.' | b'_') {
            table[i] |= class::PLAIN;
        } else if c != b'%' {
            table[i] |= class::NOT_HOST;
        }
        if !matches!(c, b'!'..=b'~') || matches!(c, b',' | b';') {
            table[i] |= class::NOT_CALL_ID;
        }
        i += 1;
    }
    table
};

/// True for a `token` character.
#[inline(always)]
pub(crate) fn is_token(c: u8) -> bool {
    CLASS[usize::from(c)] & class::TOKEN != 0
}

/// The classes of any of these octets.
#[inline(always)]
fn any_of(s: &[u8]) -> u8 {
    s.iter().fold(0, |found, c| found | CLASS[usize::from(*c)])
}

/// The classes that all of these octets have.
#[inline(always)]
fn all_of(s: &[u8]) -> u8 {
    s.iter().fold(u8::MAX, |all, c| all & CLASS[usize::from(*c)])
}

/// True when no octet is of that class: without an early end, for values are short and mostly good. Eight at a time,
/// which is what the compiler unrolls.
#[inline]
pub(crate) fn none(s: &[u8], class: u8) -> bool {
    let (words, rest) = s.as_chunks::<8>();
    (words.iter().fold(0, |found, word| found | any_of(word)) | any_of(rest)) & class == 0
}

/// Cuts `s` behind the octets of that class that it begins with.
#[inline]
pub(crate) fn run(s: &[u8], class: u8) -> (&[u8], &[u8]) {
    let (words, _) = s.as_chunks::<8>();
    let mut at = words.iter().take_while(|word| all_of(*word) & class != 0).count() * 8;
    while s.get(at).is_some_and(|c| CLASS[usize::from(*c)] & class != 0) {
        at += 1;
    }
    s.split_at_checked(at).unwrap_or((s, &[]))
}

/// True for one octet or more, all of that class.
#[inline]
pub(crate) fn all(s: &[u8], class: u8) -> bool {
    let (words, rest) = s.as_chunks::<8>();
    !s.is_empty() && words.iter().fold(all_of(rest), |all, word| all & all_of(word)) & class != 0
}

/// True for a non-empty token.
#[inline]
pub(crate) fn token(s: &[u8]) -> bool {
    all(s, class::TOKEN)
}

/// Linear white space. CR and LF occur in a checked header value only as part of a fold.
#[inline]
pub(crate) fn is_ws(c: u8) -> bool {
    matches!(c, b' ' | b'\t' | b'\r' | b'\n')
}

/// Without white space at its ends.
#[inline]
pub(crate) fn trim(s: &[u8]) -> &[u8] {
    trim_end(trim_start(s))
}

/// Without white space behind it.
#[inline]
pub(crate) fn trim_end(mut s: &[u8]) -> &[u8] {
    while let [rest @ .., last] = s {
        if !is_ws(*last) {
            break;
        }
        s = rest;
    }
    s
}

/// Without white space before it.
#[inline]
pub(crate) fn trim_start(mut s: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = s {
        if !is_ws(*first) {
            break;
        }
        s = rest;
    }
    s
}

/// Cuts `s` where `f` first fails to hold.
#[inline]
pub(crate) fn take_while(s: &[u8], f: impl Fn(u8) -> bool) -> (&[u8], &[u8]) {
    let n = s.iter().position(|c| !f(*c)).unwrap_or(s.len());
    s.split_at(n)
}

/// `s` begins with a double quote: cuts after the closing one; `None` when it is not closed.
pub(crate) fn quoted(s: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut at = 1;
    loop {
        at += find(s.get(at..)?, *b"\"\\")?;
        if s.get(at) == Some(&b'"') {
            return s.split_at_checked(at + 1);
        }
        at += 2;
    }
}

/// The elements of a comma-separated list, trimmed. Commas in quoted strings and in angle brackets do not separate.
/// An element whose quotes or brackets are not closed reaches to the end, and fails when it is read.
#[derive(Debug, Clone)]
pub struct Items<'a> {
    rest: Option<&'a [u8]>,
}

impl<'a> Items<'a> {
    /// Over one header value.
    pub fn new(value: &'a [u8]) -> Self {
        Self { rest: Some(value) }
    }
}

impl<'a> Iterator for Items<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let s = self.rest.take()?;
        let mut at = 0;
        let mut end = s.len();
        while let Some(n) = s.get(at..).and_then(|t| find(t, *b",\"<")) {
            at += n;
            match s.get(at) {
                Some(b',') => {
                    end = at;
                    self.rest = s.get(at + 1..);
                    break;
                }
                Some(b'"') => match s.get(at..).and_then(quoted) {
                    Some((q, _)) => at += q.len(),
                    None => break,
                },
                _ => match s.get(at..).and_then(|t| find(t, *b">")) {
                    Some(n) => at += n + 1,
                    None => break,
                },
            }
        }
        Some(trim(s.get(..end).unwrap_or_default()))
    }
}

impl FusedIterator for Items<'_> {}

/// One parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Param<'a> {
    /// Its name as written; names compare case-insensitively.
    pub name: &'a [u8],
    /// Its value as written, quotes included; `None` when there is no `=`.
    pub value: Option<&'a [u8]>,
    /// From the name to the end of the value.
    pub whole: &'a [u8],
}

/// Most parameters that one element may have.
pub(crate) const PARAMS_MAX: usize = 32;

/// Reads one parameter at the start of `s`; gives it and what follows it, trimmed.
pub(crate) fn param(s: &[u8]) -> Option<(Param<'_>, &[u8])> {
    let start = trim_start(s);
    // Octet by octet: names are short.
    let (name, rest) = take_while(start, is_token);
    if name.is_empty() {
        return None;
    }
    let after = trim_start(rest);
    let Some((b'=', v)) = after.split_first() else {
        return Some((Param { name, value: None, whole: name }, after));
    };
    let v = trim_start(v);
    let (value, rest) = match v.first()? {
        b'"' => quoted(v)?,
        _ => run(v, class::VALUE),
    };
    // Digest's uri is always quoted, so a bare value is a token or a host; it is never empty.
    if value.is_empty() {
        return None;
    }
    let whole = start.get(..start.len() - rest.len())?;
    Some((Param { name, value: Some(value), whole }, trim_start(rest)))
}

/// The `;name=value` parameters of an element, checked: well formed, no name twice, at most 32.
#[derive(Debug, Clone, Copy, Default)]
pub struct Params<'a>(&'a [u8]);

impl<'a> Params<'a> {
    /// Checks what follows an element: nothing, or `;` and parameters. `None` when it is neither.
    pub fn parse(s: &'a [u8]) -> Option<Self> {
        let all = trim(s);
        let mut names = arrayvec::ArrayVec::<&[u8], PARAMS_MAX>::new();
        let mut rest = all;
        while let Some((c, s)) = rest.split_first() {
            if *c != b';' {
                return None;
            }
            let (p, after) = param(s)?;
            if names.iter().any(|n| n.eq_ignore_ascii_case(p.name)) {
                return None;
            }
            names.try_push(p.name).ok()?;
            rest = after;
        }
        Some(Self(all))
    }

    /// The parameters, in order.
    pub fn iter(&self) -> impl Iterator<Item = Param<'a>> + use<'a> {
        let mut rest = self.0;
        core::iter::from_fn(move || {
            let (p, after) = param(rest.get(1..)?)?;
            rest = after;
            Some(p)
        })
    }

    /// The parameter `name`.
    pub fn get(&self, name: &str) -> Option<Param<'a>> {
        self.iter().find(|p| p.name.eq_ignore_ascii_case(name.as_bytes()))
    }

    /// The value of `name`, without quotes where it has them.
    pub fn value(&self, name: &str) -> Option<&'a [u8]> {
        self.get(name)?.value.map(unquote)
    }

    /// As they stand, from the first `;`.
    pub fn as_bytes(&self) -> &'a [u8] {
        self.0
    }
}

/// The inside of a quoted string, escapes as they stand; anything else unchanged.
pub(crate) fn unquote(v: &[u8]) -> &[u8] {
    match v {
        [b'"', inside @ .., b'"'] => inside,
        _ => v,
    }
}

/// A `qvalue` (RFC 3261: `0`, `1` or up to three decimals) in thousandths.
pub(crate) fn qvalue(v: &[u8]) -> Option<u16> {
    let (whole, frac) = match v.split_first()? {
        (c @ (b'0' | b'1'), rest) => (u16::from(c - b'0') * 1000, rest),
        _ => return None,
    };
    let digits = match frac {
        [] => return Some(whole),
        [b'.', d @ ..] if d.len() <= 3 && d.iter().all(u8::is_ascii_digit) => d,
        _ => return None,
    };
    let thousandths = (0..3).fold(0u16, |n, i| n * 10 + u16::from(digits.get(i).map_or(0, |d| d - b'0')));
    Some(whole + thousandths).filter(|q| *q <= 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_respect_quotes_and_brackets() {
        let items: Vec<_> = Items::new(b" \"a, \\\"b\" <sip:x,y@z> , <sip:q;r=1,2>;p=\"u,v\",c").collect();
        assert_eq!(items, [&b"\"a, \\\"b\" <sip:x,y@z>"[..], b"<sip:q;r=1,2>;p=\"u,v\"", b"c"]);
        assert_eq!(Items::new(b"").collect::<Vec<_>>(), [b""]);
        assert_eq!(Items::new(b"a,").collect::<Vec<_>>(), [&b"a"[..], b""]);
        assert_eq!(Items::new(b"\"a,b").count(), 1);
    }

    #[test]
    fn parameters_are_checked_once() {
        let p = Params::parse(b" ;a = 1; b;c=\"x;\\\" y\" ;d=[2001:db8::1]").unwrap();
        assert_eq!(p.value("A"), Some(&b"1"[..]));
        assert_eq!(p.get("b").unwrap().value, None);
        assert_eq!(p.value("c"), Some(&b"x;\\\" y"[..]));
        assert_eq!(p.value("d"), Some(&b"[2001:db8::1]"[..]));
        for bad in [&b"a=1"[..], b";", b";a=", b";=1", b";a;A", b";a=\"x", b";a b", b";a=1,b"] {
            assert!(Params::parse(bad).is_none(), "{:?}", String::from_utf8_lossy(bad));
        }
    }

    #[test]
    fn priorities() {
        assert_eq!(qvalue(b"1"), Some(1000));
        assert_eq!(qvalue(b"0.5"), Some(500));
        assert_eq!(qvalue(b"0.123"), Some(123));
        assert_eq!(qvalue(b"1.000"), Some(1000));
        for bad in [&b""[..], b"1.001", b"2", b"0.1234", b".5", b"0,5"] {
            assert_eq!(qvalue(bad), None);
        }
    }
}
