//! What passes through a session, and through a stock phone's proven source.

use super::border::{Down, Up as Upward, Way, chooses, vias};
use super::{read, steps};
use crate::ALGORITHM;
use crate::edit::{self, Contacts, Credentials, Response, Top};
use crate::view::{Addr, Items, Message, Method, Name, Uri, Via};
use crate::write::{Stamp, Tag, simple};
use core::net::{IpAddr, SocketAddr};
use portunus_codec::{Full, Writer};
use portunus_keydist::ident::Idc;
use portunus_keydist::proxy::HashKey;
use portunus_signalling::{BINDING_MAX, Fault, FaultKind, Hop, Marks, Room, SessionRef, Ticket, Up};

/// The default port of SIP over UDP and TCP.
const SIP_PORT: u16 = 5060;
/// Second half of the key of branches; the first is the terminal's own.
const BRANCH: u64 = u64::from_be_bytes(*b"branches");

fn too_big(_: Full) -> Fault {
    Fault { kind: FaultKind::TooBig, what: "message", at: 0 }
}

/// True when a URI's host and port are this address.
pub(super) fn is_at(uri: &Uri<'_>, own: SocketAddr) -> bool {
    let host = core::str::from_utf8(uri.host).unwrap_or_default();
    let ip = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    uri.port.unwrap_or(SIP_PORT) == own.port() && ip == Ok(own.ip())
}

/// True for `sip:TOKEN@core`: what this proxy calls that terminal.
pub(super) fn is_token_of(uri: &Uri<'_>, core: SocketAddr, idc: Idc<'_>) -> bool {
    is_at(uri, core) && uri.token().is_some_and(|t| t.as_idc() == idc)
}

/// The seconds that the registrar granted to the Contact of the proxy's making.
pub(super) fn granted(answer: &Message<'_>, hop: &Hop<'_>) -> Option<u32> {
    let own = |a: &Addr<'_>| a.sip().is_some_and(|u| is_at(&u, hop.own.core));
    answer.contacts().find(own).and_then(|a| answer.contact_expires(&a))
}

/// [`portunus_signalling::Signalling::binding`].
pub(super) fn binding(registration: &[u8], marks: &Marks, w: &mut Writer<'_>) -> Result<(), Full> {
    let msg = Message::marked(registration, marks).map_err(|_| Full)?;
    // A folded line may stand between brackets; nothing is ever sent to such a Contact.
    let kept = || msg.contacts().filter(|a| msg.contact_expires(a) != Some(0) && !a.uri.contains(&edit::BETWEEN));
    let (mut best, mut count): (Option<Addr<'_>>, usize) = (None, 0);
    for contact in kept() {
        count += 1;
        if best.is_none_or(|b| contact.q_milli() > b.q_milli()) {
            best = Some(contact);
        }
    }
    let Some(best) = best.map(|a| a.uri) else { return w.finish().map(|_| ()) };
    // Nearly always there is one, and it need not be read again.
    let others = kept().take(if count > 1 { count } else { 0 });
    put_binding(core::iter::once(best).chain(others.map(|a| a.uri).filter(|uri| *uri != best)), w)
}

/// Writes a binding: the first URI must fit, others are left out where they do not.
fn put_binding<'u>(uris: impl Iterator<Item = &'u [u8]>, w: &mut Writer<'_>) -> Result<(), Full> {
    let from = w.len();
    for uri in uris {
        let used = w.len() - from;
        if used + usize::from(used > 0) + uri.len() <= BINDING_MAX {
            w.put(if used > 0 { &[edit::BETWEEN] } else { &[] }).put(uri);
        } else if used == 0 {
            return Err(Full);
        }
    }
    w.finish().map(|_| ())
}

/// [`portunus_signalling::Signalling::rebinding`].
pub(super) fn rebinding(session: &SessionRef<'_>, refresh: &[u8], w: &mut Writer<'_>) -> Result<(), Full> {
    let msg = Message::index(refresh).map_err(|_| Full)?;
    if read::ends(&msg) { put_binding(remaining(session, &msg), w) } else { binding(refresh, &Marks::NONE, w) }
}

/// The Contacts of a session that a REGISTER which only takes Contacts back leaves.
fn remaining<'s>(session: &SessionRef<'s>, msg: &Message<'_>) -> impl Iterator<Item = &'s [u8]> {
    let held = edit::binding_uris(session.binding).filter(|uri| !uri.is_empty());
    held.filter(move |uri| !msg.contact_star() && msg.contacts().all(|a| a.uri != *uri))
}

/// The branch's second half for what is relayed for a terminal: made from what tells the sender's transaction from
/// others, method apart, so that CANCEL and the ACK of a refusal get their INVITE's (RFC 3261 section 16.11). It is a
/// keyed hash, handle included, under the terminal's own key (the salt of these hops), so it also shows that a response
/// answers what this proxy really passed on: nobody who was not sent a request makes one up for it, and nobody turns
/// the handle of one transaction into that of another.
fn transaction(hop: &Hop<'_>, ticket: Ticket, via: &Via<'_>, msg: &Message<'_>) -> u64 {
    let (handle, number) = (ticket.0.to_be_bytes(), msg.cseq().0.to_be_bytes());
    let parts = [&handle, via.branch().unwrap_or_default(), via.host, msg.call_id(), &number];
    HashKey::new(hop.salt, BRANCH).digest(b'B', &parts) as u64
}

/// The salt that every answer to, and branch of, a request of the terminal's gets.
fn hop_of<'h>(hop: &Hop<'h>, msg: &Message<'_>) -> Hop<'h> {
    Hop { salt: transaction(hop, hop.ticket, &msg.via(), msg), ..*hop }
}

/// A response must bear a branch of this proxy's making on top, made for the transaction below it: below it where it
/// stands, or in what the proxy hid of it.
fn answers_ours(hop: &Hop<'_>, msg: &Message<'_>, hidden: Option<&[u8]>) -> Result<(), Fault> {
    let mut vias = msg.items(Name::Via).map(Via::parse);
    let own = vias.next().flatten();
    let below = match hidden {
        Some(list) => Items::new(list).next().and_then(Via::parse),
        None => vias.next().flatten(),
    };
    let made = own.zip(below).and_then(|(own, below)| {
        let (ticket, salt) = own.handle()?;
        // A registration outside sessions has the salt that the hop had; the engine tells whose it is.
        Some(salt == hop.salt || salt == transaction(hop, ticket, &below, msg))
    });
    made.filter(|made| *made).map(|_| ()).ok_or_else(|| msg.fault(FaultKind::Unsupported, Name::Via))
}

/// [`portunus_signalling::Signalling::relay_up`].
pub(super) fn up(hop: &Hop<'_>, session: &SessionRef<'_>, octets: &[u8], w: &mut Writer<'_>) -> Result<Up, Fault> {
    let msg = Message::parse(octets)?;
    read::forbid_core_only(&msg)?;
    if !msg.is_request() {
        return response_up(hop, session, &msg, w);
    }
    read::passable(&msg)?;
    let hop = &hop_of(hop, &msg);
    let is_idc = |a: Addr<'_>| read::is_idc(&a, session.idc);
    let register = msg.method() == Method::Register;
    if !is_idc(msg.from()) || register && !is_idc(msg.to()) {
        if msg.method() == Method::Ack {
            return Ok(Up::Drop);
        }
        simple(&msg, 403, &["Forbidden"], Tag::Salt(hop.salt), Some(hop.source), None, w).map_err(too_big)?;
        return Ok(Up::Answer);
    }
    if register {
        return register_in_session(hop, session, &msg, w);
    }
    request_up(hop, session, &msg, w)
}

/// A request: it goes where the proxy's own routes lead, and where there is something to hide nowhere else.
fn request_up(hop: &Hop<'_>, session: &SessionRef<'_>, msg: &Message<'_>, w: &mut Writer<'_>) -> Result<Up, Fault> {
    let (mut for_uri, mut for_routes) = (Room::new(), Room::new());
    let Way { uri, routes } = Way::of(session, msg, (&mut for_uri, &mut for_routes))?;
    let (own, hides) = (steps::own_route(hop, msg), session.crossing.border.hiding().is_some());
    let through = routes.is_some() || hides;
    if through && chooses(msg, own, routes.is_some()) {
        session.crossing.notice(|n| n.routed = true);
    }
    let record_route = msg.method().forms_dialog() && msg.to().tag().is_none();
    let edit = edit::Request {
        uri,
        top: steps::top(hop, hop.salt, session.idc, false, record_route),
        source: Some((hop.source, Stamp::Asked)),
        routes: if through { edit::Routes::Drop } else { edit::Routes::popped(own) },
        contacts: Contacts::Keep,
        credentials: Credentials::Keep,
        strip_agreement: true,
        strip_core_only: false,
    };
    let mut beside = Upward::new(hop, session, (routes, None));
    edit::request_beside(msg, &edit, &mut beside, w).map_err(too_big)?;
    beside.end().map(|()| Up::Forward)
}

/// A response must be to what this proxy sent down: its Via is on top, and another below it says where it goes.
fn response_up(hop: &Hop<'_>, session: &SessionRef<'_>, msg: &Message<'_>, w: &mut Writer<'_>) -> Result<Up, Fault> {
    let mut room = Room::new();
    let hidden = vias(session, msg, &mut room)?;
    answers_ours(hop, msg, hidden)?;
    let mut beside = Upward::new(hop, session, (None, hidden));
    let edit = Response { strip_core_only: false, contact: None };
    edit::response_beside(msg, &edit, &mut beside, w).map_err(too_big)?;
    beside.end().map(|()| Up::Forward)
}

/// A refresh or de-registration: the proxy says to the softswitch who it is from.
fn register_in_session(
    hop: &Hop<'_>,
    session: &SessionRef<'_>,
    msg: &Message<'_>,
    w: &mut Writer<'_>,
) -> Result<Up, Fault> {
    if !session.keyed {
        // A stock phone proves itself each time; its registrations do not come this way.
        return Err(msg.fault(FaultKind::Unsupported, Name::Authorization));
    }
    read::proper_register(msg)?;
    let mut buf = [0u8; 1024];
    let mut own = Writer::new(&mut buf);
    steps::put_credentials(hop, session.idc, msg.uri(), ALGORITHM, ", integrity-protected=\"yes\"", &mut own);
    let len = own.finish().map_err(too_big)?;
    let credentials = Credentials::Replace(buf.get(..len).unwrap_or_default());
    let (contacts, up) = match (msg.has(Name::Contact), read::ends(msg)) {
        (true, true) if remaining(session, msg).next().is_some() => (steps::Binds::Nothing, Up::Refresh),
        (_, true) => (steps::Binds::Own, Up::Deregister),
        (true, false) => (steps::Binds::Own, Up::Refresh),
        (false, false) => (steps::Binds::Nothing, Up::Forward),
    };
    let how = steps::ToCore { idc: session.idc, contacts, credentials, strip_agreement: true };
    let mut beside = Upward::new(hop, session, (None, None));
    steps::register_up_beside(hop, msg, &how, &mut beside, w).map_err(too_big)?;
    beside.end().map(|()| up)
}

/// [`portunus_signalling::Signalling::relay_down`].
pub(super) fn down(hop: &Hop<'_>, session: &SessionRef<'_>, octets: &[u8], w: &mut Writer<'_>) -> Result<(), Fault> {
    let msg = Message::parse(octets)?;
    if !msg.is_request() {
        answers_ours(hop, &msg, None)?;
        return response_down(hop, session, &msg, w).map_err(too_big);
    }
    read::passable(&msg)?;
    let own = &hop.own;
    let route = msg.addrs(Name::Route).next().and_then(|a| a.sip());
    let called = Uri::parse(msg.uri()).is_some_and(|u| is_token_of(&u, own.core, session.idc));
    let salt = transaction(hop, hop.ticket, &msg.via(), &msg);
    let record_route = msg.method().forms_dialog() && msg.to().tag().is_none();
    let mut beside = Down::request(hop, session, &msg, salt, record_route);
    let top = Top::Own {
        transport: hop.transport,
        by: own.access,
        ticket: hop.ticket,
        salt,
        idc: session.idc,
        core: own.core,
        path: false,
        record_route,
    };
    let edit = edit::Request {
        uri: edit::binding_uris(session.binding).next().filter(|uri| called && !uri.is_empty()),
        top: if beside.hides() { Top::Beside } else { top },
        source: None,
        routes: edit::Routes::popped(route.is_some_and(|u| is_at(&u, own.core))),
        contacts: Contacts::Keep,
        credentials: Credentials::Keep,
        strip_agreement: false,
        strip_core_only: true,
    };
    edit::request_beside(&msg, &edit, &mut beside, w).map_err(too_big)?;
    beside.end(session);
    Ok(())
}

/// A response to what the terminal sent. In a registration's, the terminal's own Contact stands for the proxy's.
fn response_down(hop: &Hop<'_>, session: &SessionRef<'_>, msg: &Message<'_>, w: &mut Writer<'_>) -> Result<(), Full> {
    let register = msg.method() == Method::Register && msg.has(Name::Contact);
    let contact = match granted(msg, hop) {
        Some(seconds) if register && !session.binding.is_empty() => Some((session.binding, seconds)),
        _ => None,
    };
    let mut beside = Down::response(hop, session, msg, contact.is_none());
    edit::response_beside(msg, &Response { strip_core_only: true, contact }, &mut beside, w)?;
    beside.end(session);
    Ok(())
}
