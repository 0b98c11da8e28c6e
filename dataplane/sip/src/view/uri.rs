//! SIP URIs (RFC 3261 section 19.1) as far as routing and identities need them, and their relation to IDc.

use super::lex::{self, class};
use portunus_codec::Writer;
use portunus_keydist::ident::{IDC_MAX, Idc, IdcBuf};

/// A `sip:` or `sips:` URI, checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Uri<'a> {
    /// True for `sips:`.
    pub secure: bool,
    /// `user` or `user:password`, escapes as they stand.
    pub user: Option<&'a [u8]>,
    /// Host name, IPv4 address, or IPv6 address in brackets.
    pub host: &'a [u8],
    /// Port, where given.
    pub port: Option<u16>,
    /// `user@host:port` as it stands.
    pub address: &'a [u8],
    /// Parameters, from the first `;`.
    pub params: &'a [u8],
    /// Headers, from the `?`.
    pub headers: &'a [u8],
}

/// Splits `host[:port]`; `None` when it is neither. A port is 1 to 65535.
pub(crate) fn host_port(s: &[u8]) -> Option<(&[u8], Option<u16>)> {
    let host_len = match s.first()? {
        b'[' => {
            let end = lex::find(s, *b"]")?;
            let inside = s.get(1..end)?;
            let good = |c: &u8| c.is_ascii_hexdigit() || matches!(c, b':' | b'.');
            if inside.is_empty() || !inside.iter().all(good) {
                return None;
            }
            end + 1
        }
        _ => lex::find(s, *b":").unwrap_or(s.len()),
    };
    let (host, rest) = s.split_at_checked(host_len)?;
    if !host.starts_with(b"[") && (host.is_empty() || !lex::none(host, class::NOT_HOST)) {
        return None;
    }
    match rest {
        [] => Some((host, None)),
        [b':', digits @ ..] => Some((host, Some(port(digits)?))),
        _ => None,
    }
}

/// A port: 1 to 65535, in at most five digits.
fn port(digits: &[u8]) -> Option<u16> {
    let port = portunus_codec::parse_u32(digits).filter(|_| digits.len() <= 5)?;
    u16::try_from(port).ok().filter(|port| *port != 0)
}

/// True where every `%` begins an escape of two hex digits and every octet may stand in a URI.
fn clean(s: &[u8]) -> bool {
    let escape = |at: usize| s.get(at + 1..at + 3).is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit));
    lex::none(s, class::NOT_SIP_URI) && memchr::memchr_iter(b'%', s).all(escape)
}

/// True for anything of the form `scheme:rest` without white space, controls, quotes or angle brackets.
pub(crate) fn is_uri(s: &[u8]) -> bool {
    let rest = match s.strip_prefix(b"sip:") {
        Some(rest) => rest,
        None => {
            let Some((scheme, rest)) = lex::find(s, *b":").and_then(|colon| s.split_at_checked(colon)) else {
                return false;
            };
            let letters = |c: &u8| c.is_ascii_alphanumeric() || matches!(c, b'+' | b'-' | b'.');
            if !scheme.first().is_some_and(u8::is_ascii_alphabetic) || !scheme.iter().all(letters) {
                return false;
            }
            rest.get(1..).unwrap_or_default()
        }
    };
    !rest.is_empty() && lex::none(rest, class::NOT_URI)
}

impl<'a> Uri<'a> {
    /// As [`Uri::parse`], for what nearly all are: `sip:`, a user or none, a host and perhaps a port, of characters that
    /// can mean nothing else. `None` says nothing.
    #[inline]
    fn usual(s: &'a [u8]) -> Option<Self> {
        let address = s.strip_prefix(b"sip:")?;
        let (first, rest) = lex::run(address, class::PLAIN);
        let (user, host, rest) = match rest.split_first() {
            Some((b'@', rest)) if !first.is_empty() => {
                let (host, rest) = lex::run(rest, class::PLAIN);
                (Some(first), host, rest)
            }
            _ => (None, first, rest),
        };
        let port = match rest {
            [] => None,
            [b':', digits @ ..] => Some(port(digits)?),
            _ => return None,
        };
        let none = address.get(address.len()..)?;
        (!host.is_empty()).then_some(Self { secure: false, user, host, port, address, params: none, headers: none })
    }

    /// Reads a `sip:` or `sips:` URI; `None` for any other scheme and for a malformed one.
    pub fn parse(s: &'a [u8]) -> Option<Self> {
        if let Some(usual) = Self::usual(s) {
            return Some(usual);
        }
        let colon = lex::find(s.get(..5)?, *b":")?;
        let (scheme, rest) = s.split_at(colon);
        let secure = scheme.eq_ignore_ascii_case(b"sips");
        if !secure && !scheme.eq_ignore_ascii_case(b"sip") {
            return None;
        }
        let rest = rest.get(1..)?;
        // An unescaped @ stands between user and host only.
        let (user, from_host) = match lex::find(rest, *b"@") {
            Some(at) => (Some(rest.get(..at)?), rest.get(at + 1..)?),
            None => (None, rest),
        };
        let (from_host, headers) = from_host.split_at(lex::find(from_host, *b"?").unwrap_or(from_host.len()));
        let (hostport, params) = from_host.split_at(lex::find(from_host, *b";").unwrap_or(from_host.len()));
        let (host, port) = host_port(hostport)?;
        let address = rest.get(..user.map_or(0, |u| u.len() + 1) + hostport.len())?;
        let good = user != Some(b"") && clean(rest);
        let once = lex::find(rest.get(address.len()..)?, *b"@").is_none();
        (good && once).then_some(Self { secure, user, host, port, address, params, headers })
    }

    /// The value of a URI parameter; `Some` of nothing for one without value.
    pub fn param(&self, name: &str) -> Option<&'a [u8]> {
        self.params.split(|c| *c == b';').skip(1).find_map(|p| {
            let (n, v) = p.split_at(lex::find(p, *b"=").unwrap_or(p.len()));
            n.eq_ignore_ascii_case(name.as_bytes()).then(|| v.get(1..).unwrap_or_default())
        })
    }

    /// True when this is `sip:`IDc: scheme `sip`, and the address, escapes undone, is IDc octet by octet. Parameters
    /// say nothing about who it is; headers have no place in an identity.
    pub fn is_idc(&self, idc: Idc<'_>) -> bool {
        !self.secure && self.headers.is_empty() && unescape(self.address).eq(idc.as_bytes().iter().copied())
    }

    /// The IDc that this URI is, as it stands in the message; `None` for `sips:`, with headers, and where escapes keep
    /// it from standing there literally.
    pub fn as_idc(&self) -> Option<Idc<'a>> {
        let literal = !self.secure && self.headers.is_empty() && lex::find(self.address, *b"%").is_none();
        literal.then(|| Idc::from_octets(self.address))?
    }

    /// The IDc that the user part spells (the proxy's own URIs: `sip:TOKEN@proxy`).
    pub fn token(&self) -> Option<IdcBuf> {
        let mut buf = [0u8; IDC_MAX];
        let mut len = 0;
        for c in unescape(self.user?) {
            *buf.get_mut(len)? = c;
            len += 1;
        }
        Idc::from_octets(buf.get(..len)?).map(IdcBuf::new)
    }
}

/// The octets that an escaped text stands for. An incomplete escape stands for itself.
pub(crate) fn unescape(s: &[u8]) -> impl Iterator<Item = u8> + '_ {
    let mut rest = s;
    core::iter::from_fn(move || {
        let digit = |c: &u8| char::from(*c).to_digit(16).map(|d| d as u8);
        if let [b'%', h, l, after @ ..] = rest
            && let (Some(h), Some(l)) = (digit(h), digit(l))
        {
            rest = after;
            return Some(h << 4 | l);
        }
        let (c, after) = rest.split_first()?;
        rest = after;
        Some(*c)
    })
}

/// Writes a text as the user part of a URI, escaped where RFC 3261 asks for it.
pub fn put_user(text: &[u8], w: &mut Writer<'_>) {
    let mut rest = text;
    while !rest.is_empty() {
        let (run, after) = lex::run(rest, class::PLAIN_USER);
        w.put(run);
        rest = after;
        if let Some((c, after)) = rest.split_first() {
            put_escape(*c, w);
            rest = after;
        }
    }
}

/// Writes `sip:`IDc: the part before the last `@` escaped as a user part, the rest as it stands.
pub fn put_idc_uri(idc: Idc<'_>, w: &mut Writer<'_>) {
    w.text("sip:");
    let text = idc.as_bytes();
    match memchr::memrchr(b'@', text) {
        Some(at) => {
            let (user, host) = text.split_at(at);
            put_user(user, w);
            w.put(b"@");
            put_host(host.get(1..).unwrap_or_default(), w);
        }
        None => put_host(text, w),
    }
}

/// A host, with the `:`, `[`, `]` of ports and addresses as they stand; escaped where it cannot be one, so that what
/// is written is always a URI.
fn put_host(text: &[u8], w: &mut Writer<'_>) {
    for c in text {
        if c.is_ascii_alphanumeric() || matches!(c, b':' | b'[' | b']' | b'.' | b'-' | b'_') {
            w.put(&[*c]);
        } else {
            put_escape(*c, w);
        }
    }
}

fn put_escape(c: u8, w: &mut Writer<'_>) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let digit = |n: u8| HEX.get(usize::from(n & 15)).copied().unwrap_or(b'0');
    w.put(&[b'%', digit(c >> 4), digit(c)]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn idc(s: &str) -> Idc<'_> {
        Idc::new(s).unwrap()
    }

    #[test]
    fn parts() {
        let u = Uri::parse(b"sip:alice:pw@[2001:db8::9]:5070;lr;transport=tcp?Subject=x%20y").unwrap();
        assert_eq!((u.user, u.host, u.port), (Some(&b"alice:pw"[..]), &b"[2001:db8::9]"[..], Some(5070)));
        assert_eq!(u.param("LR"), Some(&b""[..]));
        assert_eq!(u.param("transport"), Some(&b"tcp"[..]));
        assert_eq!(u.headers, b"?Subject=x%20y");
        assert_eq!(u.address, b"alice:pw@[2001:db8::9]:5070");
        assert_eq!(Uri::parse(b"SIPS:example.test").unwrap().host, b"example.test");
        for bad in [
            &b"sip:"[..],
            b"tel:+1",
            b"sip:@h",
            b"sip:a@",
            b"sip:a@b@c",
            b"sip:a@h:0",
            b"sip:a@h:65536",
            b"sip:a@[::1",
            b"sip:a%4@h",
            b"sip:a b@h",
            b"sip:a@h;x=<",
            b"sip",
            b"sip:a@h:",
            b"sip:a@[]",
        ] {
            assert_eq!(Uri::parse(bad), None, "{:?}", String::from_utf8_lossy(bad));
        }
    }

    proptest! {
        /// The usual spelling is read as the general reader reads it: an empty parameter list behind it takes the quick
        /// way from a URI and changes nothing else.
        #[test]
        fn the_usual_spelling_is_no_other_reading(text in "sip:[a-c.@:%;?0-9_-]{0,12}") {
            let longer = format!("{text};");
            let (quick, general) = (Uri::parse(text.as_bytes()), Uri::parse(longer.as_bytes()));
            if !text.contains([';', '?']) {
                let stripped = general.map(|u| Uri { params: b"", ..u });
                prop_assert_eq!(quick, stripped);
            }
        }
    }

    #[test]
    fn identities_survive_escaping() {
        for name in [
            "alice@example.test",
            "+1%2@x.y",
            "größe@example.test",
            "a@b@c.d",
            "gw1.example.test",
            "a:b@h",
            "a@größe.test",
            "größe",
            "[192.0.2.7]:2944",
        ] {
            let mut buf = [0u8; 600];
            let mut w = Writer::new(&mut buf);
            put_idc_uri(idc(name), &mut w);
            let text = w.written().to_vec();
            let shown = String::from_utf8_lossy(&text).into_owned();
            if name.starts_with('[') {
                continue; // An IPv4 address in brackets is H.248's, and no SIP host.
            }
            assert!(Uri::parse(&text).unwrap_or_else(|| panic!("{shown}")).is_idc(idc(name)), "{shown}");

            let mut w = Writer::new(&mut buf);
            w.text("sip:");
            put_user(name.as_bytes(), &mut w);
            w.text("@192.0.2.1:5060");
            let token = Uri::parse(w.written()).unwrap().token().unwrap();
            assert_eq!(token.as_idc().as_str(), name);
        }
    }

    #[test]
    fn comparison_is_octet_by_octet() {
        let u = |s: &'static str| Uri::parse(s.as_bytes()).unwrap();
        assert!(u("sip:%61lice@example.test").is_idc(idc("alice@example.test")));
        assert!(u("sip:alice@example.test;user=phone").is_idc(idc("alice@example.test")));
        for other in [
            "sip:Alice@example.test",
            "sips:alice@example.test",
            "sip:alice@example.test:5060",
            "sip:alice@example.test?x=y",
        ] {
            assert!(!u(other).is_idc(idc("alice@example.test")), "{other}");
        }
        assert_eq!(u("sip:%61lice@example.test").as_idc(), None);
        assert_eq!(u("sip:bob@example.test;x").as_idc(), Some(idc("bob@example.test")));
    }
}
