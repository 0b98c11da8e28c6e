//! What SIP hides, by its purpose, and the URIs that it hides in.

use crate::view::{Addr, Uri, lex};
use crate::write::put_host_port;
use core::net::SocketAddr;
use portunus_codec::Writer;
pub(super) use portunus_signalling::{Cover, MARK, Room};

/// The core's Vias, one list.
pub(super) const VIA: u8 = b'V';
/// The core's part of a route set, in the order of Routes, behind an octet that says whether the proxy recorded itself
/// before it ([`OURS`]) or not.
pub(super) const ROUTE: u8 = b'R';
/// A URI without its headers.
const URI: u8 = b'U';

/// The proxy recorded itself; it is towards the core what this hides first of all.
pub(super) const OURS: u8 = b'1';
/// It did not.
pub(super) const NOT_OURS: u8 = b'0';

/// A URI that hides another one; its headers stay in sight, for whoever makes a request of it must read them.
pub(super) fn put_uri(cover: &Cover<'_>, uri: &[u8], own: SocketAddr, w: &mut Writer<'_>) {
    let (text, headers) = uri.split_at(lex::find(uri, *b"?").unwrap_or(uri.len()));
    let scheme = lex::find(text, *b":").map_or(text, |colon| text.get(..colon).unwrap_or_default());
    w.put(scheme).put(b":").put(MARK);
    cover.put(URI, |w| _ = w.put(text), w);
    w.put(b"@");
    put_host_port(own, w);
    w.put(headers);
}

/// The URI that this one hides, without headers.
pub(super) fn shown_uri<'r>(cover: &Cover<'_>, uri: &Uri<'_>, room: &'r mut Room) -> Option<&'r [u8]> {
    cover.shown(URI, marked(uri)?, room)
}

/// What a URI hides, still hidden; `None` for one that hides nothing.
pub(super) fn marked<'u>(uri: &Uri<'u>) -> Option<&'u [u8]> {
    uri.user?.strip_prefix(MARK)
}

/// The URI of an address, where it is a SIP URI.
pub(super) fn sip_uri<'m>(item: &'m [u8]) -> Option<(&'m [u8], Uri<'m>)> {
    let uri = Addr::parse(item)?.uri;
    Some((uri, Uri::parse(uri)?))
}

/// Begins a Record-Route's URI that hides something.
pub(super) fn begin_route(w: &mut Writer<'_>) {
    w.put(b"<sip:").put(MARK);
}

/// Ends it.
pub(super) fn end_route(own: SocketAddr, w: &mut Writer<'_>) {
    w.put(b"@");
    put_host_port(own, w);
    w.put(b";lr>");
}
