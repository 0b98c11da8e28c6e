//! Message identifiers (H.248.1 annex B.2, `mId`), and the IDc that each stands for.

use super::{Bad, element, lex};
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use portunus_codec::parse_u32;
use portunus_keydist::ident::Idc;

/// Longest message identifier in octets.
pub const MID_MAX: usize = 160;

/// A message identifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mid<'m> {
    /// As it stands in the message.
    pub text: &'m [u8],
    /// Its form.
    pub form: MidForm<'m>,
}

/// The forms of a message identifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MidForm<'m> {
    /// `<gw1.example.test>`, with a port or without.
    Domain {
        /// The name between the brackets.
        name: &'m [u8],
        /// The port behind them.
        port: Option<u16>,
    },
    /// `[192.0.2.7]:2944`.
    Address {
        /// The address.
        ip: IpAddr,
        /// The port.
        port: Option<u16>,
    },
    /// `MTP{…}`: hex digits.
    Mtp(&'m [u8]),
    /// A path name.
    Device(&'m [u8]),
}

impl<'m> Mid<'m> {
    /// Reads the identifier at `at`; it ends where the second value says.
    pub(super) fn read(s: &'m [u8], at: usize) -> Result<(Self, usize), Bad> {
        let bad = Bad::at("message identifier", at);
        let (form, end) = match s.get(at) {
            Some(b'<') => {
                let close = element::angled(s, at)?;
                let end = element::with_port(s, close)?;
                let name = s.get(at + 1..close - 1).filter(|n| is_domain(n)).ok_or(bad)?;
                (MidForm::Domain { name, port: port(s, close, end)? }, end)
            }
            Some(b'[') => {
                let rest = s.get(at + 1..).unwrap_or_default();
                let close = at + 2 + rest.iter().take(46).position(|c| *c == b']').ok_or(bad)?;
                let end = element::with_port(s, close)?;
                let ip = s.get(at + 1..close - 1).and_then(address).ok_or(bad)?;
                (MidForm::Address { ip, port: port(s, close, end)? }, end)
            }
            _ => {
                let end = lex::word(s, at);
                let word = s.get(at..end).unwrap_or_default();
                let open = lex::lwsp(s, end);
                if word.eq_ignore_ascii_case(b"MTP") && s.get(open) == Some(&b'{') {
                    mtp(s, open)?
                } else {
                    let name = |w: &&[u8]| is_path(w) && w.first().is_some_and(u8::is_ascii_alphabetic);
                    (MidForm::Device(Some(word).filter(name).ok_or(bad)?), end)
                }
            }
        };
        let text = s.get(at..end).filter(|t| t.len() <= MID_MAX).ok_or(bad)?;
        Ok((Self { text, form }, end))
    }

    /// Reads what is one message identifier and nothing else.
    pub fn parse(text: &'m [u8]) -> Option<Self> {
        Self::read(text, 0).ok().filter(|(_, end)| *end == text.len()).map(|(mid, _)| mid)
    }

    /// The identity that it stands for (spec section 1): the domain name without brackets and port; every other form
    /// as it stands. `None` where that is no identity, as with blanks inside.
    pub fn idc(&self) -> Option<Idc<'m>> {
        match self.form {
            MidForm::Domain { name, .. } => Idc::from_octets(name),
            _ => Idc::from_octets(self.text),
        }
    }

    /// The brackets that an identity needs to be a message identifier: those of a domain name, or none.
    pub(crate) fn brackets(idc: &[u8]) -> (&'static [u8], &'static [u8]) {
        if is_domain(idc) { (b"<", b">") } else { (b"", b"") }
    }
}

/// domainName: `(ALPHA / DIGIT) *63(ALPHA / DIGIT / "-" / ".")`.
pub(crate) fn is_domain(name: &[u8]) -> bool {
    (1..=64).contains(&name.len()) && name.first().is_some_and(u8::is_ascii_alphanumeric) && lex::all_domain(name)
}

/// pathNAME, as wide as implementations use it: the first character may be a digit.
pub(super) fn is_path(name: &[u8]) -> bool {
    let mut parts = name.splitn(2, |c| *c == b'@');
    let (path, domain) = (parts.next().unwrap_or_default(), parts.next());
    let good = |c: &u8| c.is_ascii_alphanumeric() || matches!(c, b'_' | b'/' | b'*' | b'$');
    let host = |c: &u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'*' | b'.');
    (1..=64).contains(&path.len())
        && path.iter().all(good)
        && !path.starts_with(b"/")
        && domain.is_none_or(|d| (1..=64).contains(&d.len()) && d.iter().all(host))
}

fn address(text: &[u8]) -> Option<IpAddr> {
    let text = core::str::from_utf8(text).ok()?;
    let v4 = || text.parse::<Ipv4Addr>().ok().map(IpAddr::V4);
    v4().or_else(|| text.parse::<Ipv6Addr>().ok().map(IpAddr::V6))
}

fn port(s: &[u8], close: usize, end: usize) -> Result<Option<u16>, Bad> {
    if end == close {
        return Ok(None);
    }
    let digits = s.get(close + 1..end).and_then(parse_u32).and_then(|p| u16::try_from(p).ok());
    digits.map(Some).ok_or(Bad::at("port", close))
}

/// `MTP{` 4 to 8 hex digits `}`.
fn mtp(s: &[u8], open: usize) -> Result<(MidForm<'_>, usize), Bad> {
    let from = lex::lwsp(s, open + 1);
    let to = lex::word(s, from);
    let close = lex::lwsp(s, to);
    let digits = s.get(from..to).unwrap_or_default();
    let good = (4..=8).contains(&digits.len()) && digits.iter().all(u8::is_ascii_hexdigit);
    if good && s.get(close) == Some(&b'}') {
        Ok((MidForm::Mtp(digits), close + 1))
    } else {
        Err(Bad::at("MTP address", open))
    }
}
