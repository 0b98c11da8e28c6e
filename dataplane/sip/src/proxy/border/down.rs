//! Towards the terminal: what is of the core is hidden or left out.

use super::cover::{Cover, NOT_OURS, OURS, ROUTE, VIA, begin_route, end_route, put_uri, sip_uri};
use super::ends;
use crate::edit::{Beside, Header, range};
use crate::patch::Patch;
use crate::proxy::relay::is_token_of;
use crate::view::{Addr, Items, Message, Name};
use crate::write::begin_own_via;
use arrayvec::ArrayVec;
use portunus_codec::Writer;
use portunus_keydist::ident::Idc;
use portunus_signalling::{Hop, Names, SessionRef};

/// Most elements of a route set.
const ROUTES_MAX: usize = 32;

/// What becomes of a message on its way to a terminal, beside the edits of every proxy.
pub(in super::super) struct Down<'a, 'm> {
    msg: &'a Message<'m>,
    hop: &'a Hop<'a>,
    idc: Idc<'a>,
    cover: Option<Cover<'a>>,
    names: &'a Names,
    /// A request's own branch, and whether the proxy records itself.
    request: Option<(u64, bool)>,
    /// The Contacts are dealt with by who calls.
    contacts: bool,
    stripped: bool,
}

impl<'a, 'm> Down<'a, 'm> {
    fn new(hop: &'a Hop<'a>, session: &SessionRef<'a>, msg: &'a Message<'m>, request: Option<(u64, bool)>) -> Self {
        let border = session.crossing.border;
        let cover = Cover::hiding(&session.crossing, session.idc);
        let names = &border.rules.strip_down;
        Self { msg, hop, idc: session.idc, cover, names, request, contacts: true, stripped: false }
    }

    /// Of a request, with the second half of the proxy's branch.
    pub(in super::super) fn request(
        hop: &'a Hop<'a>,
        session: &SessionRef<'a>,
        msg: &'a Message<'m>,
        branch: u64,
        record_route: bool,
    ) -> Self {
        Self::new(hop, session, msg, Some((branch, record_route)))
    }

    /// Of a response; `contacts`: those in it may be hidden.
    pub(in super::super) fn response(
        hop: &'a Hop<'a>,
        session: &SessionRef<'a>,
        msg: &'a Message<'m>,
        contacts: bool,
    ) -> Self {
        Self { contacts, ..Self::new(hop, session, msg, None) }
    }

    /// True where the core's Vias and routes are hidden.
    pub(in super::super) fn hides(&self) -> bool {
        self.cover.is_some()
    }

    /// Notes what was noticed.
    pub(in super::super) fn end(self, session: &SessionRef<'_>) {
        if self.stripped {
            session.crossing.notice(|n| n.stripped = true);
        }
    }

    /// The route set of a response, as far as it is the core's: one element hides it, in the order that the terminal's
    /// Routes have. What the terminal's own side recorded stands below the proxy, and stays.
    fn put_answered_routes(&self, cover: &Cover<'_>, w: &mut Writer<'_>) {
        let mut items: ArrayVec<&[u8], ROUTES_MAX> = ArrayVec::new();
        for item in self.msg.items(Name::RecordRoute) {
            if items.try_push(item).is_err() {
                _ = w.reserve(usize::MAX);
            }
        }
        let own = |item: &&[u8]| {
            Addr::parse(item).and_then(|a| a.sip()).is_some_and(|u| is_token_of(&u, self.hop.own.core, self.idc))
        };
        let ours = items.iter().rposition(own);
        let (core, below) = match ours {
            Some(at) => (items.get(..at), items.get(at + 1..)),
            None => (Some(&items[..]), None),
        };
        begin_route(w);
        let flag = if ours.is_some() { OURS } else { NOT_OURS };
        cover.put(ROUTE, |w| put_list(flag, core.unwrap_or_default().iter().rev().copied(), w), w);
        end_route(self.hop.own.access, w);
        for item in below.unwrap_or_default() {
            w.put(b", ").put(item);
        }
    }

    /// Hides the SIP URIs of a list of addresses.
    fn hide_uris(&self, cover: &Cover<'_>, msg: &Message<'_>, value: &[u8], p: &mut Patch<'_, '_, '_>) {
        for (uri, _) in Items::new(value).filter_map(sip_uri) {
            put_uri(cover, uri, self.hop.own.access, p.replace(range(msg, uri)));
        }
    }
}

/// A flag, and a list behind it.
fn put_list<'i>(flag: u8, items: impl Iterator<Item = &'i [u8]>, w: &mut Writer<'_>) {
    w.put(&[flag]);
    for (i, item) in items.enumerate() {
        w.put(if i == 0 { b"" } else { b", " }).put(item);
    }
}

impl Beside for Down<'_, '_> {
    fn top(&mut self, w: &mut Writer<'_>) {
        let (Some(cover), Some((branch, record_route))) = (self.cover, self.request) else { return };
        let (hop, msg) = (self.hop, self.msg);
        begin_own_via(hop.transport, hop.own.access, hop.ticket, branch, w);
        w.put(b";pkd=");
        let vias = |w: &mut Writer<'_>| {
            for (i, value) in msg.values(Name::Via).enumerate() {
                w.put(if i == 0 { b"" } else { b", " }).put(value);
            }
        };
        cover.put(VIA, vias, w);
        w.put(b"\r\n");
        if record_route || msg.has(Name::RecordRoute) {
            w.put(b"Record-Route: ");
            begin_route(w);
            let flag = if record_route { OURS } else { NOT_OURS };
            cover.put(ROUTE, |w| put_list(flag, msg.items(Name::RecordRoute), w), w);
            end_route(hop.own.access, w);
            w.put(b"\r\n");
        }
    }

    fn header(&mut self, msg: &Message<'_>, header: &Header<'_>, p: &mut Patch<'_, '_, '_>) -> bool {
        let is_request = self.request.is_some();
        if let Some(cover) = self.cover {
            match header.name {
                Name::Via | Name::RecordRoute if is_request => {
                    p.remove(header.line.clone());
                    return true;
                }
                Name::RecordRoute if header.first => {
                    self.put_answered_routes(&cover, p.replace(range(msg, header.value)));
                    return true;
                }
                Name::RecordRoute => {
                    p.remove(header.line.clone());
                    return true;
                }
                Name::Contact if self.contacts => {
                    self.hide_uris(&cover, msg, header.value, p);
                    return true;
                }
                Name::ReferTo => {
                    self.hide_uris(&cover, msg, header.value, p);
                    return true;
                }
                _ => {}
            }
        }
        if ends(self.names, msg, header) {
            self.stripped = true;
            p.remove(header.line.clone());
            return true;
        }
        false
    }
}
