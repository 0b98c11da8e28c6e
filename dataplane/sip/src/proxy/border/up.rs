//! From the terminal: what was hidden is shown to the core again, and what is not the terminal's to say ends here.

use super::cover::{Cover, OURS, ROUTE, Room, VIA, marked, shown_uri, sip_uri};
use super::ends;
use crate::edit::{Beside, Header, range};
use crate::patch::Patch;
use crate::view::{Addr, Digest, Field, Items, Message, Method, Name, Uri, Via};
use crate::write::put_token_uri;
use portunus_codec::Writer;
use portunus_signalling::{Fault, FaultKind, Hop, SessionRef};

/// The parameter of the proxy's Via that hides the Vias below it.
const HIDDEN: &str = "pkd";

fn forged(session: &SessionRef<'_>, at: usize, what: &'static str) -> Fault {
    session.crossing.notice(|n| n.forged = true);
    Fault { kind: FaultKind::Forbidden, what, at }
}

fn cover<'a>(session: &SessionRef<'a>) -> Option<Cover<'a>> {
    Cover::showing(&session.crossing, session.idc)
}

/// Where a terminal's request goes: what it gave back of what had been hidden from it.
pub(in super::super) struct Way<'r> {
    /// The Request-URI that was hidden.
    pub(in super::super) uri: Option<&'r [u8]>,
    /// The Routes that were hidden.
    pub(in super::super) routes: Option<&'r [u8]>,
}

impl<'r> Way<'r> {
    /// Reads it.
    ///
    /// # Errors
    /// A [`Fault`] of kind `Forbidden`: this proxy never hid that for this terminal.
    pub(in super::super) fn of(
        session: &SessionRef<'_>,
        msg: &Message<'_>,
        (for_uri, for_routes): (&'r mut Room, &'r mut Room),
    ) -> Result<Self, Fault> {
        let Some(cover) = cover(session) else { return Ok(Self { uri: None, routes: None }) };
        let uri = match Uri::parse(msg.uri()).filter(|uri| marked(uri).is_some()) {
            Some(uri) => {
                let bad = || forged(session, msg.offset(msg.uri()), "Request-URI");
                Some(shown_uri(&cover, &uri, for_uri).ok_or_else(bad)?)
            }
            None => None,
        };
        let hidden = msg.items(Name::Route).find_map(|item| Some((item, marked(&sip_uri(item)?.1)?)));
        let routes = match hidden {
            Some((item, hidden)) => {
                let bad = || forged(session, msg.offset(item), "Route");
                Some(cover.shown(ROUTE, hidden, for_routes).ok_or_else(bad)?)
            }
            None => None,
        };
        Ok(Self { uri, routes: routes.map(|list| list.get(1..).unwrap_or_default()) })
    }
}

/// The Vias of the core below the proxy's own in a response: as they were hidden, or as they stand.
///
/// # Errors
/// A [`Fault`] of kind `Forbidden`: this proxy never hid that for this terminal.
pub(in super::super) fn vias<'r>(
    session: &SessionRef<'_>,
    msg: &Message<'_>,
    room: &'r mut Room,
) -> Result<Option<&'r [u8]>, Fault> {
    let top = msg.items(Name::Via).next().and_then(Via::parse);
    let (Some(hidden), Some(cover)) = (top.and_then(|via| via.params.value(HIDDEN)), cover(session)) else {
        return Ok(None);
    };
    let bad = || forged(session, msg.offset(hidden), Name::Via.as_str());
    cover.shown(VIA, hidden, room).map(Some).ok_or_else(bad)
}

/// What becomes of a message on its way to the core, beside the edits of every proxy.
pub(in super::super) struct Up<'a, 'r> {
    hop: &'a Hop<'a>,
    session: &'a SessionRef<'a>,
    cover: Option<Cover<'a>>,
    /// A request's Routes.
    routes: Option<&'r [u8]>,
    /// A response's Vias, and that they stood hidden.
    vias: Option<&'r [u8]>,
    stripped: bool,
    forged: Option<Fault>,
}

impl<'a, 'r> Up<'a, 'r> {
    /// Of a request, or of a response with the Vias that were hidden.
    pub(in super::super) fn new(
        hop: &'a Hop<'a>,
        session: &'a SessionRef<'a>,
        (routes, vias): (Option<&'r [u8]>, Option<&'r [u8]>),
    ) -> Self {
        Self { hop, session, cover: cover(session), routes, vias, stripped: false, forged: None }
    }

    /// Notes what was noticed.
    ///
    /// # Errors
    /// A [`Fault`] of kind `Forbidden`: something hidden was given back that this proxy never hid for this terminal.
    pub(in super::super) fn end(self) -> Result<(), Fault> {
        if self.stripped {
            self.session.crossing.notice(|n| n.stripped = true);
        }
        self.forged.map_or(Ok(()), Err)
    }

    /// Shows the URIs that a list of addresses hides.
    fn show_uris(&mut self, cover: &Cover<'_>, msg: &Message<'_>, header: &Header<'_>, p: &mut Patch<'_, '_, '_>) {
        let hiding = Items::new(header.value).filter_map(sip_uri).filter(|(_, uri)| marked(uri).is_some());
        for (text, uri) in hiding {
            let mut room = Room::new();
            match shown_uri(cover, &uri, &mut room) {
                Some(shown) => _ = p.replace(range(msg, text)).put(shown).put(uri.headers),
                None => self.forged = Some(forged(self.session, msg.offset(text), header.name.as_str())),
            }
        }
    }

    /// Shows the routes that an answer's Record-Route hides, with the proxy as the core knows it before them.
    fn show_routes(&mut self, cover: &Cover<'_>, msg: &Message<'_>, header: &Header<'_>, p: &mut Patch<'_, '_, '_>) {
        for item in Items::new(header.value) {
            let Some(hidden) = sip_uri(item).and_then(|(_, uri)| marked(&uri)) else { continue };
            let mut room = Room::new();
            let Some((flag, list)) = cover.shown(ROUTE, hidden, &mut room).and_then(<[u8]>::split_first) else {
                self.forged = Some(forged(self.session, msg.offset(item), header.name.as_str()));
                continue;
            };
            let w = p.replace(range(msg, item));
            if *flag == OURS {
                put_token_uri(self.session.idc, self.hop.own.core, w);
                w.put(if list.is_empty() { b";lr>" } else { b";lr>, " });
            }
            w.put(list);
        }
    }

    /// True for what is not the terminal's to say.
    fn forbids(&self, msg: &Message<'_>, header: &Header<'_>) -> bool {
        let rules = &self.session.crossing.border.rules;
        // A session with a key has nothing to prove to a proxy; without one, to the domain's own and to no other.
        let credentials = header.name == Name::ProxyAuthorization && rules.hide;
        let foreign = || {
            let realm = Digest::parse(header.value).and_then(|d| d.get(Field::Realm));
            self.session.keyed || realm != Some(self.hop.own.realm.as_bytes())
        };
        credentials && foreign() || ends(&rules.strip_up, msg, header)
    }
}

impl Beside for Up<'_, '_> {
    fn top(&mut self, w: &mut Writer<'_>) {
        if let Some(routes) = self.routes.filter(|list| !list.is_empty()) {
            w.put(b"Route: ").put(routes).put(b"\r\n");
        }
    }

    fn header(&mut self, msg: &Message<'_>, header: &Header<'_>, p: &mut Patch<'_, '_, '_>) -> bool {
        if let (Name::Via, Some(vias)) = (header.name, self.vias) {
            match header.first {
                true => _ = p.replace(range(msg, header.value)).put(vias),
                false => p.remove(header.line.clone()),
            }
            return true;
        }
        if self.forbids(msg, header) {
            self.stripped = true;
            p.remove(header.line.clone());
            return true;
        }
        // The proxy replaces the Contacts of registrations.
        if let Some(cover) = self.cover.filter(|_| msg.method() != Method::Register) {
            match header.name {
                Name::RecordRoute if !msg.is_request() => self.show_routes(&cover, msg, header, p),
                Name::Contact | Name::ReferTo => self.show_uris(&cover, msg, header, p),
                _ => return false,
            }
            return true;
        }
        false
    }
}

/// True when a terminal names a way through the core that this proxy did not give it.
pub(in super::super) fn chooses(msg: &Message<'_>, own: bool, hidden: bool) -> bool {
    msg.items(Name::Route).skip(usize::from(own)).any(|item| {
        let uri = Addr::parse(item).and_then(|a| a.sip());
        !(hidden && uri.is_some_and(|uri| marked(&uri).is_some()))
    })
}
