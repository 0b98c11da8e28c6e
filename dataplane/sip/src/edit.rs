//! How a SIP element changes a message that it passes on: one walk over the headers, in order, with a [`Patch`].

use crate::patch::Patch;
use crate::view::digest::PRIVATE;
use crate::view::uri::put_idc_uri;
use crate::view::{Digest, Field, Items, Message, Name};
use crate::write::{Stamp, put_own_via, put_stamped, put_token_uri};
use core::net::SocketAddr;
use core::ops::Range;
use portunus_codec::{Full, Writer};
use portunus_keydist::ident::Idc;
use portunus_signalling::{Ticket, Transport};

/// The lines that go on top of a request.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Top<'a> {
    /// This product's proxy.
    Own {
        transport: Transport,
        by: SocketAddr,
        ticket: Ticket,
        salt: u64,
        /// Whose the request is, for Path and Record-Route, which name the proxy as `core`.
        idc: Idc<'a>,
        core: SocketAddr,
        path: bool,
        record_route: bool,
    },
    /// Whatever [`Beside::top`] writes.
    Beside,
    /// Any other element: complete values, and whose the request is where it says so (RFC 3325).
    Raw { via: &'a [u8], route: Option<&'a [u8]>, record_route: Option<&'a [u8]>, asserted: Option<Idc<'a>> },
}

impl Top<'_> {
    fn put(&self, w: &mut Writer<'_>) {
        match *self {
            Self::Own { transport, by, ticket, salt, idc, core, path, record_route } => {
                put_own_via(transport, by, ticket, salt, w);
                for (wanted, name) in [(record_route, "Record-Route: "), (path, "Path: ")] {
                    if wanted {
                        w.text(name);
                        put_token_uri(idc, core, w);
                        w.put(b";lr>\r\n");
                    }
                }
            }
            Self::Beside => {}
            Self::Raw { via, route, record_route, asserted } => {
                w.put(b"Via: ").put(via).put(b"\r\n");
                for (value, name) in [(record_route, "Record-Route: "), (route, "Route: ")] {
                    if let Some(value) = value {
                        w.text(name).put(value).put(b"\r\n");
                    }
                }
                if let Some(idc) = asserted {
                    w.put(b"P-Asserted-Identity: <");
                    put_idc_uri(idc, w);
                    w.put(b">\r\n");
                }
            }
        }
    }
}

/// What becomes of the Routes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Routes {
    /// They stay.
    Keep,
    /// So many leave from the top: they were this element.
    Pop(usize),
    /// All leave: where this goes is not the sender's to say.
    Drop,
}

impl Routes {
    /// `Pop` where the topmost is one's own.
    pub(crate) const fn popped(own: bool) -> Self {
        if own { Self::Pop(1) } else { Self::Keep }
    }
}

/// What becomes of the Contacts.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Contacts<'a> {
    /// They stay.
    Keep,
    /// All leave.
    Drop,
    /// One of the proxy's making stands for them, with this `expires` where one was asked for.
    Own { idc: Idc<'a>, core: SocketAddr, expires: Option<u32> },
}

/// What becomes of the credentials.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Credentials<'a> {
    /// They stay.
    Keep,
    /// These parameters leave.
    Without(&'a [Field]),
    /// These parameters leave, and this text is added behind the others; where there are no credentials, the second
    /// text stands for the whole value.
    With { without: &'a [Field], add: &'a [u8], else_all: &'a [u8] },
    /// This value stands for them.
    Replace(&'a [u8]),
    /// All leave, those for proxies too.
    Drop,
}

/// What else becomes of a message as it is walked.
pub(crate) trait Beside {
    /// Writes lines behind those of [`Top`].
    fn top(&mut self, _w: &mut Writer<'_>) {}

    /// True when this header was dealt with, and nothing else is to become of it.
    fn header(&mut self, _msg: &Message<'_>, _header: &Header<'_>, _p: &mut Patch<'_, '_, '_>) -> bool {
        false
    }
}

/// A header of the walk.
#[derive(Debug)]
pub(crate) struct Header<'m> {
    pub(crate) name: Name,
    pub(crate) value: &'m [u8],
    pub(crate) line: Range<usize>,
    /// The first of its name.
    pub(crate) first: bool,
}

/// Nothing else.
pub(crate) struct Nothing;

impl Beside for Nothing {}

/// The changes to a request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Request<'a> {
    pub(crate) uri: Option<&'a [u8]>,
    pub(crate) top: Top<'a>,
    /// Where it came from, and when that is written down.
    pub(crate) source: Option<(SocketAddr, Stamp)>,
    pub(crate) routes: Routes,
    pub(crate) contacts: Contacts<'a>,
    pub(crate) credentials: Credentials<'a>,
    /// The security agreement's headers and option tags end at this hop.
    pub(crate) strip_agreement: bool,
    /// Headers that only the core may see are left out.
    pub(crate) strip_core_only: bool,
}

/// Writes `msg`, a request, with these changes; Max-Forwards is counted down, Content-Length added where missing.
pub(crate) fn request(msg: &Message<'_>, edit: &Request<'_>, w: &mut Writer<'_>) -> Result<(), Full> {
    request_beside(msg, edit, &mut Nothing, w)
}

/// As [`request`], with whatever else becomes of it.
#[inline]
pub(crate) fn request_beside(
    msg: &Message<'_>,
    edit: &Request<'_>,
    beside: &mut impl Beside,
    w: &mut Writer<'_>,
) -> Result<(), Full> {
    let mut p = Patch::new(msg.octets(), w);
    if let Some(uri) = edit.uri {
        p.replace(range(msg, msg.uri())).put(uri);
    }
    let mut seen = 0u64;
    let mut pop = if let Routes::Pop(own) = edit.routes { own } else { 0 };
    let mut top = Some(edit.top);
    for (name, value, line) in msg.headers() {
        let first = seen & name.bit() == 0;
        seen |= name.bit();
        // Above every header: some elements put their Record-Route above the Vias, and ours belongs above theirs.
        if let Some(top) = top.take() {
            let w = p.insert(line.start);
            top.put(w);
            beside.top(w);
        }
        let header = Header { name, value, line, first };
        if beside.header(msg, &header, &mut p) {
            continue;
        }
        let line = header.line;
        match name {
            Name::Via if first => {
                if let (Some((source, stamp)), Some(via)) = (edit.source, Items::new(value).next()) {
                    put_stamped(via, source, stamp, p.replace(range(msg, via)));
                }
            }
            Name::MaxForwards => {
                _ = p.replace(range(msg, value)).decimal(msg.max_forwards().unwrap_or(70).saturating_sub(1).into());
            }
            Name::Route if edit.routes == Routes::Drop => p.remove(line),
            Name::Route if pop > 0 => pop -= remove_some(msg, value, line, pop, &mut p),
            Name::Contact => contact(msg, value, line, first, edit.contacts, &mut p),
            Name::Authorization | Name::ProxyAuthorization if matches!(edit.credentials, Credentials::Drop) => {
                p.remove(line);
            }
            Name::Authorization => credentials(msg, value, edit.credentials, &mut p),
            Name::SecurityClient | Name::SecurityVerify if edit.strip_agreement => p.remove(line),
            Name::Require | Name::ProxyRequire | Name::Supported if edit.strip_agreement => {
                remove_option(msg, value, line, "sec-agree", &mut p);
            }
            _ if edit.strip_core_only && name.is_core_only() => p.remove(line),
            _ => {}
        }
    }
    let w = p.insert(msg.headers_end());
    if !msg.has(Name::MaxForwards) {
        w.put(b"Max-Forwards: 70\r\n");
    }
    if !msg.has(Name::Authorization)
        && let Credentials::With { else_all: all, .. } | Credentials::Replace(all) = edit.credentials
    {
        w.put(b"Authorization: ").put(all).put(b"\r\n");
    }
    put_length(msg, w);
    p.finish()
}

/// The changes to a response.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Response<'a> {
    /// Headers that only the core may see are left out.
    pub(crate) strip_core_only: bool,
    /// A registration's answer: the Contacts of this binding stand for the proxy's, with what was granted to it.
    pub(crate) contact: Option<(&'a [u8], u32)>,
}

/// Writes `msg`, a response, without its topmost Via and with these changes.
pub(crate) fn response(msg: &Message<'_>, edit: &Response<'_>, w: &mut Writer<'_>) -> Result<(), Full> {
    response_beside(msg, edit, &mut Nothing, w)
}

/// As [`response`], with whatever else becomes of it.
#[inline]
pub(crate) fn response_beside(
    msg: &Message<'_>,
    edit: &Response<'_>,
    beside: &mut impl Beside,
    w: &mut Writer<'_>,
) -> Result<(), Full> {
    let mut p = Patch::new(msg.octets(), w);
    let mut seen = 0u64;
    for (name, value, line) in msg.headers() {
        let first = seen & name.bit() == 0;
        seen |= name.bit();
        let header = Header { name, value, line, first };
        if beside.header(msg, &header, &mut p) {
            continue;
        }
        let line = header.line;
        match name {
            Name::Via if first => _ = remove_some(msg, value, line, 1, &mut p),
            Name::Contact => match edit.contact {
                Some((binding, expires)) if first => {
                    let w = p.replace(range(msg, value));
                    for (i, uri) in binding_uris(binding).enumerate() {
                        w.put(if i == 0 { b"<" } else { b", <" }).put(uri).put(b">;expires=").decimal(expires.into());
                    }
                }
                Some(_) => p.remove(line),
                None => {}
            },
            _ if edit.strip_core_only && name.is_core_only() => p.remove(line),
            _ => {}
        }
    }
    put_length(msg, p.insert(msg.headers_end()));
    p.finish()
}

/// Stands between the URIs of a binding: no line of a message holds it.
pub(crate) const BETWEEN: u8 = b'\n';

/// The Contact URIs of a binding; requests go to the first.
pub(crate) fn binding_uris(binding: &[u8]) -> impl Iterator<Item = &[u8]> {
    binding.split(|c| *c == BETWEEN)
}

fn put_length(msg: &Message<'_>, w: &mut Writer<'_>) {
    if !msg.has(Name::ContentLength) {
        w.put(b"Content-Length: ").decimal(msg.body().len() as u64).put(b"\r\n");
    }
}

pub(crate) fn range(msg: &Message<'_>, part: &[u8]) -> Range<usize> {
    let at = msg.offset(part);
    at..at + part.len()
}

/// Takes the first `n` elements of a list header away, the whole line where it has no others; how many there were.
fn remove_some(msg: &Message<'_>, value: &[u8], line: Range<usize>, n: usize, p: &mut Patch<'_, '_, '_>) -> usize {
    let mut items = Items::new(value);
    let gone = items.by_ref().take(n).count();
    match items.next() {
        Some(kept) => p.remove(msg.offset(value)..msg.offset(kept)),
        None => p.remove(line),
    }
    gone
}

/// Takes an option tag away; the whole line where it has no other.
fn remove_option(msg: &Message<'_>, value: &[u8], line: Range<usize>, tag: &str, p: &mut Patch<'_, '_, '_>) {
    let is_tag = |i: &[u8]| i.eq_ignore_ascii_case(tag.as_bytes());
    let (gone, all) = Items::new(value).fold((0, 0), |(gone, all), i| (gone + usize::from(is_tag(i)), all + 1));
    if gone == all {
        return p.remove(line);
    }
    if gone == 0 {
        return;
    }
    let w = p.replace(range(msg, value));
    for (i, item) in Items::new(value).filter(|i| !is_tag(i)).enumerate() {
        w.put(if i == 0 { b"" } else { b", " }).put(item);
    }
}

fn contact(
    msg: &Message<'_>,
    value: &[u8],
    line: Range<usize>,
    first: bool,
    contacts: Contacts<'_>,
    p: &mut Patch<'_, '_, '_>,
) {
    let (idc, core, expires) = match contacts {
        Contacts::Keep => return,
        Contacts::Own { idc, core, expires } if first => (idc, core, expires),
        Contacts::Own { .. } | Contacts::Drop => return p.remove(line),
    };
    let w = p.replace(range(msg, value));
    put_token_uri(idc, core, w);
    w.put(b">");
    if let Some(expires) = expires {
        w.put(b";expires=").decimal(expires.into());
    }
}

fn credentials(msg: &Message<'_>, value: &[u8], what: Credentials<'_>, p: &mut Patch<'_, '_, '_>) {
    let (without, add) = match what {
        Credentials::Keep | Credentials::Drop => return,
        Credentials::Replace(all) => {
            p.replace(range(msg, value)).put(all);
            return;
        }
        Credentials::Without(without) => (without, &b""[..]),
        Credentials::With { without, add, .. } => (without, add),
    };
    if let Some(cuts) = msg.cuts(value).filter(|_| without.iter().all(|field| PRIVATE.contains(field))) {
        for cut in cuts.iter().filter(|cut| without.contains(&cut.field)) {
            p.remove(cut.range());
        }
        p.insert(range(msg, value).end).put(add);
        return;
    }
    // Readable when the message was taken; what cannot be read now stays as it is.
    let Some(digest) = Digest::parse(value) else { return };
    let leaves = |field: Option<usize>| without.iter().any(|f| Some(*f as usize) == field);
    let mut kept = false;
    let mut behind = 0;
    let mut params = digest.known_params().peekable();
    while let Some((field, whole)) = params.next() {
        let here = range(msg, whole);
        match (leaves(field), kept, params.peek()) {
            (false, ..) => kept = true,
            // Behind one that stays: with the comma before it. In front of all: with the comma after it.
            (true, true, _) => p.remove(behind..here.end),
            (true, false, Some((_, next))) => p.remove(here.start..msg.offset(next)),
            (true, false, None) => p.remove(here.clone()),
        }
        behind = here.end;
    }
    p.insert(behind).put(add);
}
