//! Lists of events and signals (RFC 3435 sections 3.2.2.14 to 3.2.2.20 and appendix A): names, and what stands in
//! brackets behind them.

use super::{EVENTS_MAX, fault};
use crate::code::what;
use portunus_signalling::{Fault, FaultKind};

/// Deepest nesting of brackets: requested events embed a request (`E(R(...),S(...))`), whose parameters nest again.
const DEPTH_MAX: u32 = 16;

/// One event or signal of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event<'m> {
    /// The package; `None` where the endpoint's default one is meant.
    pub package: Option<&'m [u8]>,
    /// The event, a range such as `[0-9#*T]`, or `all`.
    pub name: &'m [u8],
    /// The connection behind `@`.
    pub connection: Option<&'m [u8]>,
    /// What stands in the first brackets: actions of a requested event, parameters of any other.
    pub first: Option<&'m [u8]>,
    /// What stands in the second brackets: parameters of a requested event.
    pub second: Option<&'m [u8]>,
}

impl Event<'_> {
    /// True for an event of this package, in any case.
    pub fn is_of(&self, package: &str) -> bool {
        self.package.is_some_and(|p| p.eq_ignore_ascii_case(package.as_bytes()))
    }

    /// True for this event of this package.
    pub fn is(&self, package: &str, name: &str) -> bool {
        self.is_of(package) && self.name.eq_ignore_ascii_case(name.as_bytes())
    }
}

/// The events of a list, in order. After a fault there are no more.
#[derive(Debug, Clone)]
pub struct Events<'m> {
    list: &'m [u8],
    at: usize,
    count: usize,
}

impl<'m> Events<'m> {
    /// Of a parameter line's value.
    pub fn new(list: &'m [u8]) -> Self {
        Self { list, at: 0, count: 0 }
    }

    fn one(&mut self) -> Result<Event<'m>, Fault> {
        let from = self.skip_blanks(self.at);
        let bad = |at| fault(FaultKind::Malformed, what::EVENTS, at);
        self.count += 1;
        if self.count > EVENTS_MAX {
            return Err(fault(FaultKind::TooBig, what::EVENTS, from));
        }
        let end = self.name_end(from);
        let mut event = name(self.list.get(from..end).unwrap_or_default()).ok_or(bad(from))?;
        let mut at = self.skip_blanks(end);
        for place in [&mut event.first, &mut event.second] {
            if self.list.get(at) != Some(&b'(') {
                break;
            }
            let close = closing(self.list, at)?;
            *place = self.list.get(at + 1..close);
            at = self.skip_blanks(close + 1);
        }
        match self.list.get(at) {
            None => self.at = at,
            Some(b',') => self.at = self.skip_blanks(at + 1),
            Some(_) => return Err(bad(at)),
        }
        // A comma with nothing behind it.
        if self.at == self.list.len() && self.list.get(at).is_some() {
            return Err(bad(at));
        }
        Ok(event)
    }

    fn skip_blanks(&self, at: usize) -> usize {
        let rest = self.list.get(at..).unwrap_or_default();
        at + (rest.len() - rest.trim_ascii_start().len())
    }

    /// Where a name ends: at a bracket, a comma or a blank; what stands in square brackets is a range and may hold any.
    fn name_end(&self, from: usize) -> usize {
        let mut in_range = false;
        let rest = self.list.get(from..).unwrap_or_default();
        let ends = |c: &u8| {
            match c {
                b'[' => in_range = true,
                b']' => in_range = false,
                _ => {}
            }
            !in_range && matches!(c, b'(' | b',' | b' ' | b'\t' | b')')
        };
        from + rest.iter().position(ends).unwrap_or(rest.len())
    }
}

impl<'m> Iterator for Events<'m> {
    type Item = Result<Event<'m>, Fault>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.at >= self.list.len() {
            return None;
        }
        let one = self.one();
        if one.is_err() {
            self.at = self.list.len();
        }
        Some(one)
    }
}

/// `[package/]name[@connection]`.
fn name(text: &[u8]) -> Option<Event<'_>> {
    let (event, connection) = match memchr::memchr(b'@', text) {
        Some(at) => (text.get(..at)?, Some(text.get(at + 1..)?)),
        None => (text, None),
    };
    let (package, name) = match memchr::memchr(b'/', event) {
        Some(at) => (Some(event.get(..at)?), event.get(at + 1..)?),
        None => (None, event),
    };
    let empty = name.is_empty() || package.is_some_and(<[u8]>::is_empty) || connection.is_some_and(<[u8]>::is_empty);
    let good = text.iter().all(|c| c.is_ascii_graphic() && *c != b'"');
    (good && !empty).then_some(Event { package, name, connection, first: None, second: None })
}

/// Where the bracket that opens at `open` closes; brackets in quoted strings are text.
fn closing(list: &[u8], open: usize) -> Result<usize, Fault> {
    let bad = || fault(FaultKind::Malformed, what::EVENTS, open);
    let mut depth = 0u32;
    let mut quoted = false;
    for (i, c) in list.iter().enumerate().skip(open) {
        match c {
            // A doubled mark ends the string and begins it again.
            b'"' => quoted = !quoted,
            _ if quoted => {}
            b'(' => {
                depth += 1;
                if depth > DEPTH_MAX {
                    return Err(fault(FaultKind::TooBig, what::EVENTS, i));
                }
            }
            b')' => {
                depth = depth.checked_sub(1).ok_or_else(bad)?;
                if depth == 0 {
                    return Ok(i);
                }
            }
            _ => {}
        }
    }
    Err(bad())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(list: &str) -> Result<Vec<Event<'_>>, Fault> {
        Events::new(list.as_bytes()).collect()
    }

    #[test]
    fn the_lists_of_the_rfc() {
        let list = all("hu(N), hf(N), L/[0-9#*T](A, D)").unwrap();
        assert_eq!((list.len(), list[2].name, list[2].first), (3, &b"[0-9#*T]"[..], Some(&b"A, D"[..])));
        let list = all("L/hd(A, E(S(L/dl),R(L/oc, L/hu, L/[0-9#*T](D))))").unwrap();
        assert_eq!((list.len(), list[0].package, list[0].name), (1, Some(&b"L"[..]), &b"hd"[..]));
        let list = all("R/rt@0A3F58, D/[0-9,*](N)(timeout=\"1,)2\")").unwrap();
        assert_eq!(list[0].connection, Some(&b"0A3F58"[..]));
        assert_eq!(list[1].second, Some(&b"timeout=\"1,)2\""[..]));
        assert!(all("x-pkd/chal(n1=\"a\"\"(\")").unwrap()[0].is("X-PKD", "CHAL"));
        assert_eq!(all("").unwrap(), []);
    }

    #[test]
    fn what_is_broken_is_refused() {
        for list in
            ["(", "a(", "a)", "a((b)", ",", "a,", "a b", "/a", "a/", "a@", "a(\")", "a\"b", "a(b)(c)(d)", "a(b)c"]
        {
            assert!(all(list).is_err(), "{list}");
        }
        let deep = format!("a{}{}", "(".repeat(17), ")".repeat(17));
        assert_eq!(all(&deep).unwrap_err().kind, FaultKind::TooBig);
        let many = vec!["a"; EVENTS_MAX + 1].join(",");
        assert_eq!(all(&many).unwrap_err().kind, FaultKind::TooBig);
    }
}
