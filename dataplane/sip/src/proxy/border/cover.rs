//! Text that is hidden, and shown again.

use crate::view::{Addr, Uri, lex};
use crate::write::put_host_port;
use core::net::SocketAddr;
use portunus_codec::{Writer, b64_decode, b64_len};
use portunus_keydist::ident::Idc;
use portunus_keydist::proxy::{VEIL_LEN, Veil};

/// What a user part begins with that hides something. Octets that stand for themselves in a user part, and that no name
/// of a person begins with.
const MARK: &[u8] = b"pkd~";
/// Octets of the longest text that is hidden at once.
const TEXT_MAX: usize = 1024;
/// Octets before the text in its sealed form.
const HEAD: usize = 12;

/// What a hidden text is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    /// The core's Vias, one list.
    Via = b'V',
    /// The core's part of a route set, in the order of Routes, behind an octet that says whether the proxy recorded
    /// itself before it ([`OURS`]) or not.
    Route = b'R',
    /// A URI without its headers.
    Uri = b'U',
}

/// The proxy recorded itself; it is towards the core what this hides first of all.
pub(super) const OURS: u8 = b'1';
/// It did not.
pub(super) const NOT_OURS: u8 = b'0';

/// Room for a text that is shown.
pub(in super::super) struct Room([u8; TEXT_MAX + VEIL_LEN]);

impl Room {
    pub(in super::super) const fn new() -> Self {
        Self([0; TEXT_MAX + VEIL_LEN])
    }
}

/// A veil, and whom it is drawn for.
#[derive(Clone, Copy)]
pub(super) struct Cover<'a> {
    pub(super) veil: &'a Veil,
    pub(super) idc: Idc<'a>,
}

impl Cover<'_> {
    /// Hides what `write` writes; what is too long spoils `w`.
    pub(super) fn put(&self, kind: Kind, write: impl FnOnce(&mut Writer<'_>), w: &mut Writer<'_>) {
        let mut room = [0u8; TEXT_MAX + VEIL_LEN];
        let mut text = Writer::new(room.get_mut(HEAD..HEAD + TEXT_MAX).unwrap_or_default());
        write(&mut text);
        let sealed = text.finish().ok().and_then(|len| room.get_mut(..len + VEIL_LEN)).and_then(|sealed| {
            let done = self.veil.seal(kind as u8, self.idc, sealed);
            done.then_some(&*sealed)
        });
        match sealed {
            Some(sealed) => _ = w.b64(sealed),
            None => _ = w.reserve(usize::MAX),
        }
    }

    /// What these characters hide; `None`: nothing that this proxy hid for this terminal and this use.
    pub(super) fn shown<'r>(&self, kind: Kind, hidden: &[u8], Room(room): &'r mut Room) -> Option<&'r [u8]> {
        if hidden.len() > b64_len(room.len()) {
            return None;
        }
        let len = b64_decode(hidden, room)?;
        self.veil.open(kind as u8, self.idc, room.get_mut(..len)?)
    }

    /// A URI that hides another one; its headers stay in sight, for whoever makes a request of it must read them.
    pub(super) fn put_uri(&self, uri: &[u8], own: SocketAddr, w: &mut Writer<'_>) {
        let (text, headers) = uri.split_at(lex::find(uri, *b"?").unwrap_or(uri.len()));
        let scheme = lex::find(text, *b":").map_or(text, |colon| text.get(..colon).unwrap_or_default());
        w.put(scheme).put(b":").put(MARK);
        self.put(Kind::Uri, |w| _ = w.put(text), w);
        w.put(b"@");
        put_host_port(own, w);
        w.put(headers);
    }

    /// The URI that this one hides, without headers.
    pub(super) fn shown_uri<'r>(&self, uri: &Uri<'_>, room: &'r mut Room) -> Option<&'r [u8]> {
        self.shown(Kind::Uri, marked(uri)?, room)
    }
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
