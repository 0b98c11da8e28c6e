//! The structured header fields: addresses (From, To, Contact, Route and their like), Via, CSeq, option tags.

use super::lex::{self, Params, is_token, trim, trim_start};
use super::uri::{self, Uri};
use portunus_codec::{parse_hex_u64, parse_u32};
use portunus_signalling::Ticket;

/// `name-addr` or `addr-spec` with header parameters.
#[derive(Debug, Clone, Copy, Default)]
pub struct Addr<'a> {
    /// The URI, without brackets; of any scheme.
    pub uri: &'a [u8],
    /// The header's parameters (not the URI's).
    pub params: Params<'a>,
    /// All of it, as it stands.
    pub whole: &'a [u8],
}

impl<'a> Addr<'a> {
    /// Reads one element of a list, trimmed.
    pub fn parse(item: &'a [u8]) -> Option<Self> {
        let after_name = match item.first()? {
            b'"' => trim_start(lex::quoted(item)?.1),
            _ => item,
        };
        let Some(open) = lex::find(after_name, *b"<") else {
            // addr-spec alone: a quoted name needs brackets, and what follows a semicolon is the header's.
            let end = item.iter().position(|c| *c == b';' || lex::is_ws(*c)).unwrap_or(item.len());
            let (uri, params) = item.split_at(end);
            let good = uri::is_uri(uri) && lex::find(uri, *b",?").is_none();
            return good.then_some(Self { uri, params: Params::parse(params)?, whole: item });
        };
        let (name, rest) = after_name.split_at(open);
        let named = |c: &u8| is_token(*c) || lex::is_ws(*c) || *c >= 0x80;
        let name_good = if after_name.len() == item.len() { name.iter().all(named) } else { name.is_empty() };
        let close = lex::find(rest, *b">")?;
        let uri = rest.get(1..close)?;
        let params = Params::parse(rest.get(close + 1..)?)?;
        (name_good && uri::is_uri(uri)).then_some(Self { uri, params, whole: item })
    }

    /// The `tag` parameter; `None` when absent.
    pub fn tag(&self) -> Option<&'a [u8]> {
        self.params.value("tag")
    }

    /// The URI, where it is a well-formed `sip:` or `sips:` one.
    pub fn sip(&self) -> Option<Uri<'a>> {
        Uri::parse(self.uri)
    }

    /// The `expires` parameter of a Contact, in seconds.
    pub fn expires(&self) -> Option<u32> {
        self.params.value("expires").and_then(seconds)
    }

    /// The `q` parameter of a Contact, in thousandths; 1000 when absent.
    pub fn q_milli(&self) -> u16 {
        self.params.value("q").and_then(lex::qvalue).unwrap_or(1000)
    }
}

/// delta-seconds: what does not fit 32 bits counts as the largest value (RFC 3261 section 20.19).
pub(crate) fn seconds(v: &[u8]) -> Option<u32> {
    let digits = (1..=64).contains(&v.len()) && v.iter().all(u8::is_ascii_digit);
    digits.then(|| parse_u32(v).unwrap_or(u32::MAX))
}

/// One Via value.
#[derive(Debug, Clone, Copy, Default)]
pub struct Via<'a> {
    /// `UDP`, `TCP`, `TLS` and so on, as written.
    pub transport: &'a [u8],
    /// Host of sent-by; an IPv6 address keeps its brackets.
    pub host: &'a [u8],
    /// Port of sent-by.
    pub port: Option<u16>,
    /// Its parameters.
    pub params: Params<'a>,
    /// All of it, as it stands.
    pub whole: &'a [u8],
}

impl<'a> Via<'a> {
    /// Reads one element of a Via list, trimmed.
    pub fn parse(item: &'a [u8]) -> Option<Self> {
        // As nearly everyone writes it; the general form has white space around the slashes.
        let usual = item.strip_prefix(b"SIP/2.0/");
        let part = |s: &'a [u8]| {
            let (t, rest) = lex::run(s, lex::class::TOKEN);
            (!t.is_empty()).then_some((t, trim_start(rest)))
        };
        let slash = |s: &'a [u8]| s.strip_prefix(b"/").map(trim_start);
        let slashed = match usual {
            Some(rest) => trim_start(rest),
            None => {
                let (name, rest) = part(item)?;
                let (version, rest) = part(slash(rest)?)?;
                if !name.eq_ignore_ascii_case(b"SIP") || version != b"2.0" {
                    return None;
                }
                slash(rest)?
            }
        };
        let (transport, after) = lex::run(slashed, lex::class::TOKEN);
        let sent = trim_start(after);
        if sent.len() == after.len() || transport.is_empty() {
            return None;
        }
        let (by, params) = sent.split_at(lex::find(sent, *b";").unwrap_or(sent.len()));
        let (host, port) = sent_by(trim(by)).filter(|(host, _)| lex::find(host, *b"%").is_none())?;
        Some(Self { transport, host, port, params: Params::parse(params)?, whole: item })
    }

    /// The branch.
    pub fn branch(&self) -> Option<&'a [u8]> {
        self.params.value("branch")
    }

    /// The handle that a proxy of this product put into the branch: `z9hG4bK`, 16 hex digits, `.`, 16 hex digits.
    pub fn ticket(&self) -> Option<Ticket> {
        self.handle().map(|(ticket, _)| ticket)
    }

    /// The handle and salt of a Via that stands as this proxy writes it towards the core, with nothing behind its branch.
    /// `None` says nothing: [`Via::parse`] and [`Via::handle`] read every other.
    pub(crate) fn plain_handle(item: &[u8]) -> Option<(Ticket, u64)> {
        const BRANCH: usize = b";branch=z9hG4bK".len() + 16 + 1 + 16;
        let (sent, branch) = item.split_at_checked(item.len().checked_sub(BRANCH)?)?;
        let halves = branch.strip_prefix(b";branch=z9hG4bK")?;
        let by = sent.strip_prefix(b"SIP/2.0/UDP ").filter(|by| lex::find(by, *b"%").is_none())?;
        uri::host_port(by).and(handle(halves))
    }

    /// The same branch in both its halves: handle and salt.
    pub(crate) fn handle(&self) -> Option<(Ticket, u64)> {
        handle(self.branch()?.strip_prefix(b"z9hG4bK")?)
    }

    /// Where the message came from by `received` and `rport` (RFC 3581), both.
    pub fn source(&self) -> Option<core::net::SocketAddr> {
        let ip = core::str::from_utf8(self.params.value("received")?).ok()?;
        let ip = ip.trim_start_matches('[').trim_end_matches(']').parse().ok()?;
        let port = u16::try_from(parse_u32(self.params.value("rport")?)?).ok()?;
        Some(core::net::SocketAddr::new(ip, port))
    }
}

/// Handle and salt: 16 hex digits, `.`, 16 hex digits.
fn handle(halves: &[u8]) -> Option<(Ticket, u64)> {
    let (ticket, salt) = halves.split_at_checked(16)?;
    Some((Ticket(parse_hex_u64(ticket)?), parse_hex_u64(salt.strip_prefix(b".")?)?))
}

/// `host [HCOLON port]`: white space may surround the colon (RFC 3261 section 25.1, COLON).
fn sent_by(s: &[u8]) -> Option<(&[u8], Option<u16>)> {
    if !s.iter().any(|c| lex::is_ws(*c)) {
        return uri::host_port(s);
    }
    let colon = memchr::memrchr(b':', s)?;
    let host = uri::host_port(trim(s.get(..colon)?)).filter(|(_, port)| port.is_none())?.0;
    let port = u16::try_from(parse_u32(trim(s.get(colon + 1..)?))?).ok()?;
    (port != 0).then_some((host, Some(port)))
}

/// CSeq: number (below 2^31) and method.
pub(crate) fn cseq(value: &[u8]) -> Option<(u32, &[u8])> {
    let (digits, rest) = lex::take_while(value, |c| c.is_ascii_digit());
    let method = trim(rest);
    let number = (digits.len() <= 10).then(|| parse_u32(digits))??;
    let good = number < 1 << 31 && method.len() < rest.len() && lex::token(method);
    good.then_some((number, method))
}

/// Call-ID: one `word`, or two around `@`; here: no white space, printable.
pub(crate) fn call_id(value: &[u8]) -> bool {
    !value.is_empty() && lex::none(value, lex::class::NOT_CALL_ID)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let a = Addr::parse(b"\"A. \\\"Q\\\" <x>, Z\" <sip:a@h;lr>;tag=77 ; x").unwrap();
        assert_eq!((a.uri, a.tag()), (&b"sip:a@h;lr"[..], Some(&b"77"[..])));
        let a = Addr::parse(b"sip:a@h;tag=1").unwrap();
        assert_eq!((a.uri, a.tag()), (&b"sip:a@h"[..], Some(&b"1"[..])));
        let a = Addr::parse(b"Watson & Co").is_none();
        assert!(a);
        assert_eq!(Addr::parse(b"The Operator <tel:+1>;expires=60;q=0.7").unwrap().q_milli(), 700);
        for bad in [
            &b""[..],
            b"<sip:a@h",
            b"\"x <sip:a@h>",
            b"<>",
            b"sip:a@h;tag=1;TAG=2",
            b"a;b <sip:a@h>",
            b"<sip:a@h> x",
            b"\"x\" sip:a@h",
            b"\"a\" b <sip:a@h>",
            b"sip:a,b@h",
            b"<sip:a b@h>",
        ] {
            assert!(Addr::parse(bad).is_none(), "{:?}", String::from_utf8_lossy(bad));
        }
    }

    #[test]
    fn vias() {
        let v =
            Via::parse(b"SIP / 2.0 / UDP first.example.test: 4000;ttl=16 ;maddr=224.2.0.1 ;branch=z9hG4bKa7c6a8dlze.1")
                .unwrap();
        assert_eq!((v.transport, v.host, v.port), (&b"UDP"[..], &b"first.example.test"[..], Some(4000)));
        assert_eq!(v.branch(), Some(&b"z9hG4bKa7c6a8dlze.1"[..]));
        let v = Via::parse(b"SIP/2.0/TCP [2001:db8::9:1]:5060;received=[2001:db8::9:255];rport=77;branch=z9hG4bK00000000000000ff.0123456789abcdef").unwrap();
        assert_eq!(v.host, b"[2001:db8::9:1]");
        assert_eq!(v.source(), Some("[2001:db8::9:255]:77".parse().unwrap()));
        assert_eq!(v.ticket(), Some(Ticket(255)));
        for bad in [
            &b""[..],
            b"SIP/2.0",
            b"SIP/2.0/UDP",
            b"SIP/3.0/UDP h",
            b"SIP/2.0/UDPh",
            b"SIP/2.0/UDP h:x",
            b"SIP/2.0/UDP h;;",
            b"SIP/2.0/UDP h;branch=1;branch=2",
            b"SIP/2.0/UDP a b",
            b"HTTP/2.0/UDP h",
            b"SIP/2.0/UDP h:99999",
        ] {
            assert!(Via::parse(bad).is_none(), "{:?}", String::from_utf8_lossy(bad));
        }
    }

    #[test]
    fn sequences() {
        assert_eq!(cseq(b"0009\r\n  INVITE"), Some((9, &b"INVITE"[..])));
        for bad in [&b"9"[..], b"9INVITE", b"x INVITE", b"2147483648 A", b"1 A B", b"-1 A", b""] {
            assert_eq!(cseq(bad), None);
        }
    }
}
