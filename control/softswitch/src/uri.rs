//! What a registrar and a proxy ask of SIP URIs beside their syntax: where they lead, whom they name, and whether two
//! are the same (RFC 3261 section 19.1.4).

use core::net::{IpAddr, SocketAddr};
use portunus_keydist::ident::{IDC_MAX, Idc, IdcBuf};
use portunus_sip::view::Uri;

/// Where to send, for a host that is an IP literal: names are configuration, never looked up on the way.
pub(crate) fn address(uri: &Uri<'_>) -> Option<SocketAddr> {
    let host = core::str::from_utf8(uri.host).ok()?;
    let ip = match host.strip_prefix('[').and_then(|h| h.strip_suffix(']')) {
        Some(v6) => IpAddr::V6(v6.parse().ok()?),
        None => IpAddr::V4(host.parse().ok()?),
    };
    Some((ip, uri.port.unwrap_or(5060)).into())
}

/// The identity that an address of record names: user and host as they are compared, octet by octet, with escapes
/// undone.
pub(crate) fn identity(uri: &Uri<'_>) -> Option<IdcBuf> {
    let mut buf = [0u8; IDC_MAX];
    let mut len = 0;
    for (octet, _) in Unescape(uri.address) {
        *buf.get_mut(len)? = octet;
        len += 1;
    }
    Idc::from_octets(buf.get(..len)?).map(IdcBuf::new)
}

fn hex(c: u8) -> Option<u8> {
    (c as char).to_digit(16).map(|d| d as u8)
}

/// The `name=value` parts of a text that begins with `first` (URI parameters, URI headers).
fn parts(text: &[u8], first: u8, by: u8) -> impl Iterator<Item = (&[u8], &[u8])> {
    let text = text.strip_prefix(&[first]).unwrap_or(text);
    text.split(move |c| *c == by).filter(|p| !p.is_empty()).map(|p| match p.iter().position(|c| *c == b'=') {
        Some(at) => (p.get(..at).unwrap_or_default(), p.get(at + 1..).unwrap_or_default()),
        None => (p, &[][..]),
    })
}

fn params<'a>(uri: &Uri<'a>) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
    parts(uri.params, b';', b';')
}

fn headers<'a>(uri: &Uri<'a>) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
    parts(uri.headers, b'?', b'&')
}

/// Octet by octet after unescaping; escapes of reserved characters stay what they are (RFC 3261 section 19.1.4).
fn same_text(a: &[u8], b: &[u8], fold: bool) -> bool {
    let mut a = Unescape(a);
    let mut b = Unescape(b);
    loop {
        match (a.next(), b.next()) {
            (None, None) => return true,
            (Some((x, ex)), Some((y, ey))) => {
                let same = if fold { x.eq_ignore_ascii_case(&y) } else { x == y };
                if !same || (ex != ey && is_reserved(x)) {
                    return false;
                }
            }
            _ => return false,
        }
    }
}

fn is_reserved(c: u8) -> bool {
    b";/?:@&=+$,".contains(&c)
}

struct Unescape<'a>(&'a [u8]);

impl Iterator for Unescape<'_> {
    type Item = (u8, bool);

    fn next(&mut self) -> Option<(u8, bool)> {
        let (octet, escaped, rest) = match self.0 {
            [b'%', h, l, rest @ ..] => match (hex(*h), hex(*l)) {
                (Some(h), Some(l)) => (h << 4 | l, true, rest),
                _ => (b'%', false, self.0.get(1..).unwrap_or_default()),
            },
            [c, rest @ ..] => (*c, false, rest),
            [] => return None,
        };
        self.0 = rest;
        Some((octet, escaped))
    }
}

/// True when two URIs name the same thing (RFC 3261 section 19.1.4). What is not a SIP URI is compared as it stands.
pub(crate) fn equivalent(a: &[u8], b: &[u8]) -> bool {
    if a == b {
        return true;
    }
    let (Some(x), Some(y)) = (Uri::parse(a), Uri::parse(b)) else { return false };
    x.secure == y.secure
        && x.port == y.port
        && x.host.eq_ignore_ascii_case(y.host)
        && match (x.user, y.user) {
            (Some(a), Some(b)) => same_text(a, b, false),
            (a, b) => a.is_none() && b.is_none(),
        }
        && covers(&x, &y)
        && covers(&y, &x)
        && same_headers(&x, &y)
        && same_headers(&y, &x)
}

/// A parameter in both must be the same; those that decide where and how a request goes must be in both or neither.
fn covers(x: &Uri<'_>, y: &Uri<'_>) -> bool {
    const MUST: [&[u8]; 5] = [b"user", b"ttl", b"method", b"maddr", b"transport"];
    params(x).all(|(name, value)| match params(y).find(|(n, _)| n.eq_ignore_ascii_case(name)) {
        Some((_, other)) => same_text(value, other, true),
        None => !MUST.iter().any(|must| name.eq_ignore_ascii_case(must)),
    })
}

fn same_headers(x: &Uri<'_>, y: &Uri<'_>) -> bool {
    headers(x).all(|(n, v)| headers(y).any(|(m, w)| n.eq_ignore_ascii_case(m) && same_text(v, w, false)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The examples of RFC 3261 section 19.1.4.
    #[test]
    fn comparisons_of_the_rfc() {
        for (a, b) in [
            ("sip:%61lice@atlanta.com;transport=TCP", "sip:alice@AtLanTa.CoM;Transport=tcp"),
            ("sip:carol@chicago.com", "sip:carol@chicago.com;newparam=5"),
            ("sip:carol@chicago.com", "sip:carol@chicago.com;security=on"),
            (
                "sip:biloxi.com;transport=tcp;method=REGISTER?to=sip:bob%40biloxi.com",
                "sip:biloxi.com;method=REGISTER;transport=tcp?to=sip:bob%40biloxi.com",
            ),
            (
                "sip:alice@atlanta.com?subject=project%20x&priority=urgent",
                "sip:alice@atlanta.com?priority=urgent&subject=project%20x",
            ),
        ] {
            assert!(equivalent(a.as_bytes(), b.as_bytes()), "{a} {b}");
        }
        for (a, b) in [
            ("SIP:ALICE@AtLanTa.CoM;Transport=udp", "sip:alice@AtLanTa.CoM;Transport=UDP"),
            ("sip:bob@biloxi.com", "sip:bob@biloxi.com:5060"),
            ("sip:bob@biloxi.com", "sip:bob@biloxi.com;transport=udp"),
            ("sip:bob@biloxi.com", "sip:bob@biloxi.com:6000;transport=tcp"),
            ("sip:carol@chicago.com", "sip:carol@chicago.com?Subject=next%20meeting"),
            ("sip:bob@phone21.boxesbybob.com", "sip:bob@192.0.2.4"),
            ("sip:a%3Bb@h", "sip:a;b@h"),
            ("sips:a@h", "sip:a@h"),
            ("sip:a@h", "sip:h"),
        ] {
            assert!(!equivalent(a.as_bytes(), b.as_bytes()), "{a} {b}");
        }
    }

    #[test]
    fn addresses_and_identities() {
        let uri = |s: &'static str| Uri::parse(s.as_bytes()).unwrap();
        assert_eq!(address(&uri("sip:a@[2001:db8::1]:5070;lr")), "[2001:db8::1]:5070".parse().ok());
        assert_eq!(address(&uri("sip:192.0.2.1")), "192.0.2.1:5060".parse().ok());
        assert_eq!(address(&uri("sip:sp1.example.test")), None);
        let idc = |s: &'static str| identity(&uri(s)).map(|i| i.as_idc().as_str().to_owned());
        assert_eq!(idc("sip:%61lice@example.test;user=phone").as_deref(), Some("alice@example.test"));
        assert_eq!(idc("sip:a%22@example.test"), None, "no identity holds a quote");
    }

    proptest! {
        #[test]
        fn comparison_is_safe_reflexive_and_symmetric(a in "sip:[a-c%@:;=?&0-9]{0,24}", b in "sip:[ab%@;=?&]{0,12}") {
            prop_assert!(equivalent(a.as_bytes(), a.as_bytes()));
            prop_assert_eq!(equivalent(a.as_bytes(), b.as_bytes()), equivalent(b.as_bytes(), a.as_bytes()));
        }
    }
}
