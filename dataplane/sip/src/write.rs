//! What several writers share: addresses, quoted strings, Via lines, and the frame of a response.

use crate::view::{Addr, Items, Message, Method, Name, Via, lex, uri};
use core::fmt::Write as _;
use core::net::{IpAddr, SocketAddr};
use portunus_codec::{Full, Writer};
use portunus_keydist::ident::Idc;
use portunus_signalling::{Ticket, Transport};

/// Formats into a [`Writer`]; overflow is remembered there.
struct Fmt<'w, 'b>(&'w mut Writer<'b>);

impl core::fmt::Write for Fmt<'_, '_> {
    fn write_str(&mut self, s: &str) -> core::fmt::Result {
        self.0.text(s);
        Ok(())
    }
}

/// Every octet in decimal with a dot behind it, and how long that is.
static DOTTED: [([u8; 4], u8); 256] = {
    let mut table = [([0u8; 4], 0u8); 256];
    let mut n = 0usize;
    while n < 256 {
        let (h, t, u) = ((n / 100) as u8 + b'0', (n / 10 % 10) as u8 + b'0', (n % 10) as u8 + b'0');
        table[n] = match n {
            0..10 => ([u, b'.', 0, 0], 2),
            10..100 => ([t, u, b'.', 0], 3),
            _ => ([h, t, u, b'.'], 4),
        };
        n += 1;
    }
    table
};

/// An address without brackets.
pub(crate) fn put_ip(ip: IpAddr, w: &mut Writer<'_>) {
    match ip {
        IpAddr::V4(v4) => {
            let mut text = [0u8; 16];
            let mut len = 0;
            for octet in v4.octets() {
                let (digits, count) = DOTTED[usize::from(octet)];
                if let Some(room) = text.get_mut(len..len + 4) {
                    room.copy_from_slice(&digits);
                    len += usize::from(count);
                }
            }
            // Without the last dot.
            w.put(text.get(..len - 1).unwrap_or_default());
        }
        // Rare enough for the general formatter. Writing to a Writer never fails.
        IpAddr::V6(v6) => _ = write!(Fmt(w), "{v6}"),
    }
}

/// `host:port`, an IPv6 address in brackets.
pub(crate) fn put_host_port(a: SocketAddr, w: &mut Writer<'_>) {
    if a.is_ipv6() {
        w.put(b"[");
        put_ip(a.ip(), w);
        w.put(b"]");
    } else {
        put_ip(a.ip(), w);
    }
    w.put(b":").decimal(a.port().into());
}

/// A quoted string; quotes and backslashes are escaped.
pub(crate) fn put_quoted(text: &[u8], w: &mut Writer<'_>) {
    w.put(b"\"");
    let mut rest = text;
    while let Some(n) = lex::find(rest, *b"\"\\") {
        let (run, after) = rest.split_at(n);
        w.put(run).put(b"\\").put(after.get(..1).unwrap_or_default());
        rest = after.get(1..).unwrap_or_default();
    }
    w.put(rest).put(b"\"");
}

/// `, name="value"` for values that need no escape.
pub(crate) fn put_param(name: &str, value: &[u8], w: &mut Writer<'_>) {
    w.put(b", ").text(name).put(b"=\"").put(value).put(b"\"");
}

/// `, name="digits"`.
pub(crate) fn put_number(name: &str, value: u64, w: &mut Writer<'_>) {
    w.put(b", ").text(name).put(b"=\"").decimal(value).put(b"\"");
}

/// `UDP`, `TCP` or `TLS`.
pub(crate) const fn transport(t: Transport) -> &'static str {
    match t {
        Transport::Udp => "UDP",
        Transport::Tcp => "TCP",
        Transport::Tls => "TLS",
    }
}

/// The proxy's Via line.
pub(crate) fn put_own_via(t: Transport, by: SocketAddr, ticket: Ticket, salt: u64, w: &mut Writer<'_>) {
    begin_own_via(t, by, ticket, salt, w);
    w.put(b"\r\n");
}

/// The same without its end: handle and salt in the branch.
pub(crate) fn begin_own_via(t: Transport, by: SocketAddr, ticket: Ticket, salt: u64, w: &mut Writer<'_>) {
    w.put(b"Via: SIP/2.0/").text(transport(t)).put(b" ");
    put_host_port(by, w);
    w.put(b";branch=z9hG4bK").hex(&ticket.0.to_be_bytes()).put(b".").hex(&salt.to_be_bytes());
}

/// `<sip:TOKEN@core` without the closing bracket: what the proxy calls a terminal towards the core.
pub(crate) fn put_token_uri(idc: Idc<'_>, core: SocketAddr, w: &mut Writer<'_>) {
    w.put(b"<sip:");
    uri::put_user(idc.as_bytes(), w);
    w.put(b"@");
    put_host_port(core, w);
}

/// When the source of a message is written on its topmost Via.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stamp {
    /// `received` and `rport`, whatever the sender asked: the core reads IPc from it.
    Always,
    /// As RFC 3581 section 4 and RFC 3261 section 18.2.1 say.
    Asked,
}

/// The topmost Via, one element of the list, with where it really came from. What the sender itself wrote there is
/// dropped. It was checked when the message was read; what is malformed all the same is copied as it stands.
pub(crate) fn put_stamped(via: &[u8], source: SocketAddr, stamp: Stamp, w: &mut Writer<'_>) {
    let (sent, mut rest) = via.split_at(lex::find(via, *b";").unwrap_or(via.len()));
    w.put(lex::trim(sent));
    let mut asked = false;
    while let Some((p, after)) = rest.get(1..).and_then(lex::param) {
        if p.name.eq_ignore_ascii_case(b"rport") {
            asked = true;
        } else if !p.name.eq_ignore_ascii_case(b"received") {
            w.put(b";").put(p.whole);
        }
        rest = after;
    }
    w.put(rest);
    let host = || {
        let text = core::str::from_utf8(Via::parse(via)?.host).ok()?;
        text.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().ok()
    };
    if asked || stamp == Stamp::Always || host() != Some(source.ip()) {
        w.put(b";received=");
        put_ip(source.ip(), w);
    }
    if asked || stamp == Stamp::Always {
        w.put(b";rport=").decimal(source.port().into());
    }
}

/// The tag that an answer adds to To.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Tag<'a> {
    /// This one.
    Text(&'a [u8]),
    /// Made from the hop's salt: the same for a retransmission, without memory.
    Salt(u64),
}

/// Begins a response to `request`: status line, Via, From, To, Call-ID and CSeq. `source`: where the request came from,
/// written on its Via where asked.
pub(crate) fn begin_response(
    request: &Message<'_>,
    status: u16,
    reason: &[&str],
    tag: Tag<'_>,
    source: Option<SocketAddr>,
    w: &mut Writer<'_>,
) {
    w.put(b"SIP/2.0 ").decimal(status.into()).put(b" ");
    for part in reason {
        w.text(part);
    }
    w.put(b"\r\n");
    for (i, value) in request.values(Name::Via).enumerate() {
        w.put(b"Via: ");
        match (source, Items::new(value).next()) {
            (Some(source), Some(top)) if i == 0 => {
                put_stamped(top, source, Stamp::Asked, w);
                let used = request.offset(top) + top.len() - request.offset(value);
                w.put(value.get(used..).unwrap_or_default());
            }
            _ => _ = w.put(value),
        }
        w.put(b"\r\n");
    }
    let line = |name: Name, w: &mut Writer<'_>| {
        w.text(name.as_str()).put(b": ").put(request.value(name).unwrap_or_default());
    };
    line(Name::From, w);
    w.put(b"\r\n");
    line(Name::To, w);
    if request.value(Name::To).is_some_and(untagged) {
        w.put(b";tag=");
        match tag {
            Tag::Text(t) => w.put(t),
            Tag::Salt(s) => w.hex(&s.to_be_bytes()),
        };
    }
    w.put(b"\r\n");
    line(Name::CallId, w);
    w.put(b"\r\n");
    line(Name::CSeq, w);
    w.put(b"\r\n");
}

/// True for an address without a tag; what is no address gets none either.
fn untagged(to: &[u8]) -> bool {
    // Nearly always a URI in brackets and nothing else.
    let bare = to.strip_prefix(b"<").and_then(|s| s.strip_suffix(b">")).is_some_and(uri::is_uri);
    bare || Addr::parse(to).is_some_and(|a| a.tag().is_none())
}

/// Ends a message without body.
pub(crate) fn end(w: &mut Writer<'_>) -> Result<(), Full> {
    w.put(b"Content-Length: 0\r\n\r\n").finish().map(|_| ())
}

/// Ends a message with a body.
pub(crate) fn end_with(body: Option<(&str, &[u8])>, w: &mut Writer<'_>) -> Result<(), Full> {
    let Some((kind, octets)) = body else { return end(w) };
    w.put(b"Content-Type: ").text(kind).put(b"\r\nContent-Length: ").decimal(octets.len() as u64);
    w.put(b"\r\n\r\n").put(octets).finish().map(|_| ())
}

/// A whole response without body or further headers, except Retry-After.
pub(crate) fn simple(
    request: &Message<'_>,
    status: u16,
    reason: &[&str],
    tag: Tag<'_>,
    source: Option<SocketAddr>,
    retry_after_s: Option<u32>,
    w: &mut Writer<'_>,
) -> Result<(), Full> {
    // Nothing answers an ACK (RFC 3261 section 17.1.1.3).
    if request.method() == Method::Ack {
        return Ok(());
    }
    begin_response(request, status, reason, tag, source, w);
    if let Some(s) = retry_after_s {
        w.put(b"Retry-After: ").decimal(s.into()).put(b"\r\n");
    }
    end(w)
}
