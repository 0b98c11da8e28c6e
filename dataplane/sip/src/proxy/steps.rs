//! The registration's messages as the proxy writes them.

use crate::edit::{self, Contacts, Credentials, Top};
use crate::view::field::seconds;
use crate::view::{Addr, Field, Items, Message, Name, Uri, line_at, lines_at};
use crate::write::{Stamp, Tag, begin_response, end, put_number, put_param, put_quoted};
use crate::{ALGORITHM, MAC_PLACEHOLDER};
use core::ops::Range;
use portunus_codec::{Full, Writer};
use portunus_keydist::ident::{Idc, N1};
use portunus_keydist::steps::{S1, S6, S10};
use portunus_signalling::Hop;

/// Room for `sip:` and the realm, which names the domain.
const DOMAIN_MAX: usize = 260;
/// Room for the credentials that the proxy writes: realm, IDc and URI are the long parts.
const CREDENTIALS_MAX: usize = 1024;

/// The lines that the proxy puts on top of a registration.
pub(super) fn top<'a>(hop: &Hop<'a>, salt: u64, idc: Idc<'a>, path: bool, record_route: bool) -> Top<'a> {
    let own = &hop.own;
    Top::Own {
        // The core side is UDP inside the trusted network.
        transport: portunus_signalling::Transport::Udp,
        by: own.core,
        ticket: hop.ticket,
        salt,
        idc,
        core: own.core,
        path,
        record_route,
    }
}

/// What a registration binds at the core.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Binds {
    /// Nothing yet: its Contacts stay what they are.
    Later,
    /// A Contact of the proxy's, which stands for the terminal's.
    Own,
    /// Nothing changes there: its Contacts leave.
    Nothing,
}

/// How a registration goes to the core.
#[derive(Debug, Clone, Copy)]
pub(super) struct ToCore<'a> {
    /// Whose it is.
    pub(super) idc: Idc<'a>,
    /// What becomes of its Contacts.
    pub(super) contacts: Binds,
    /// What becomes of the credentials.
    pub(super) credentials: Credentials<'a>,
    /// True where the security agreement ends: everywhere but in s2, which is s1 as it came.
    pub(super) strip_agreement: bool,
}

/// Writes a registration towards the core.
pub(super) fn register_up(hop: &Hop<'_>, msg: &Message<'_>, how: &ToCore<'_>, w: &mut Writer<'_>) -> Result<(), Full> {
    register_up_beside(hop, msg, how, &mut edit::Nothing, w)
}

/// As [`register_up`], with whatever else becomes of it.
#[inline]
pub(super) fn register_up_beside(
    hop: &Hop<'_>,
    msg: &Message<'_>,
    how: &ToCore<'_>,
    beside: &mut impl edit::Beside,
    w: &mut Writer<'_>,
) -> Result<(), Full> {
    let &ToCore { idc, contacts, credentials, strip_agreement } = how;
    let contacts = match contacts {
        Binds::Own => Contacts::Own { idc, core: hop.own.core, expires: asked(msg) },
        Binds::Later => Contacts::Keep,
        Binds::Nothing => Contacts::Drop,
    };
    let mut buf = [0u8; DOMAIN_MAX];
    let mut domain = Writer::new(&mut buf);
    let addressed = is_own_address(hop, msg);
    if addressed {
        domain.put(b"sip:").text(hop.own.realm).finish()?;
    }
    let edit = edit::Request {
        uri: addressed.then_some(domain.written()),
        top: top(hop, hop.salt, idc, true, false),
        source: Some((hop.source, Stamp::Always)),
        // Whoever is not authenticated yet does not choose a way through the core; nor does a registration need to.
        routes: edit::Routes::Drop,
        contacts,
        credentials,
        strip_agreement,
        strip_core_only: false,
    };
    edit::request_beside(msg, &edit, beside, w)
}

/// True when a REGISTER is for this proxy's own address, as of phones that know no domain: the proxy stands for the
/// domain there.
fn is_own_address(hop: &Hop<'_>, msg: &Message<'_>) -> bool {
    // A domain begins with neither; the others are not looked at further.
    let literal = msg.uri().get(4).is_some_and(|c| c.is_ascii_digit() || *c == b'[');
    let own = |u: Uri<'_>| [hop.own.access, hop.own.core].into_iter().any(|own| super::relay::is_at(&u, own));
    literal && Uri::parse(msg.uri()).is_some_and(own)
}

/// True when the topmost Route is this proxy, by either of its addresses or by its name.
pub(super) fn own_route(hop: &Hop<'_>, msg: &Message<'_>) -> bool {
    msg.addrs(Name::Route).next().and_then(|a| a.sip()).is_some_and(|u| {
        let named = u.user.is_none() && u.host.eq_ignore_ascii_case(hop.own.idsp.as_bytes());
        named || [hop.own.core, hop.own.access].into_iter().any(|own| super::relay::is_at(&u, own))
    })
}

/// The longest time that a REGISTER asks for: what the one Contact of the proxy's making asks for in its stead.
fn asked(msg: &Message<'_>) -> Option<u32> {
    if msg.contact_star() {
        return Some(0);
    }
    msg.contacts().filter_map(|a| msg.contact_expires(&a)).max()
}

/// s2: the proxy's Via and Path; without the clock and the cookie, which are the proxy's business.
pub(super) fn s2(hop: &Hop<'_>, octets: &[u8], s1: &S1<'_>, w: &mut Writer<'_>) -> Result<(), Full> {
    let msg = Message::marked(octets, hop.marks).map_err(|_| Full)?;
    let credentials = Credentials::Without(&[Field::Ts, Field::Cookie]);
    let how = ToCore { idc: s1.idc, contacts: Binds::Later, credentials, strip_agreement: false };
    register_up(hop, &msg, &how, w)
}

/// s8: as s2, with a Contact of the proxy's making and without the security agreement, which ends here.
pub(super) fn s8(hop: &Hop<'_>, octets: &[u8], idc: Idc<'_>, w: &mut Writer<'_>) -> Result<(), Full> {
    let msg = Message::marked(octets, hop.marks).map_err(|_| Full)?;
    let credentials = Credentials::Without(&[Field::N2, Field::Ts, Field::Cookie]);
    register_up(hop, &msg, &ToCore { idc, contacts: Binds::Own, credentials, strip_agreement: true }, w)
}

/// A stock phone's registration, with the proxy named in its credentials.
pub(super) fn digest(hop: &Hop<'_>, octets: &[u8], idc: Idc<'_>, w: &mut Writer<'_>) -> Result<(), Full> {
    let msg = Message::marked(octets, hop.marks).map_err(|_| Full)?;
    let mut buf = [0u8; CREDENTIALS_MAX];
    let mut own = Writer::new(&mut buf);
    put_param("idsp", hop.own.idsp.as_bytes(), &mut own);
    let add = own.finish()?;
    put_credentials(hop, idc, msg.uri(), "SHA-256", "", &mut own);
    let all = own.finish()?;
    let (add, all) = (buf.get(..add).unwrap_or_default(), buf.get(add..all).unwrap_or_default());
    let credentials =
        Credentials::With { without: &[Field::Idsp, Field::N1, Field::N2, Field::Ts], add, else_all: all };
    register_up(hop, &msg, &ToCore { idc, contacts: Binds::Own, credentials, strip_agreement: true }, w)
}

/// Credentials that the proxy writes for a terminal: nothing is proven by them.
pub(super) fn put_credentials(
    hop: &Hop<'_>,
    idc: Idc<'_>,
    uri: &[u8],
    algorithm: &str,
    more: &str,
    w: &mut Writer<'_>,
) {
    w.put(b"Digest username=\"").put(idc.as_bytes()).put(b"\", realm=");
    put_quoted(hop.own.realm.as_bytes(), w);
    w.put(b", nonce=\"\", uri=");
    put_quoted(uri, w);
    w.put(b", response=\"\", algorithm=").text(algorithm);
    put_param("idsp", hop.own.idsp.as_bytes(), w);
    w.text(more);
}

/// The tag of the softswitch's answer, from its To, so that the terminal sees the one that answered; else one from the
/// salt.
fn tag_of<'m>(hop: &Hop<'_>, to: Option<&'m [u8]>) -> Tag<'m> {
    let tag = to.and_then(Addr::parse).and_then(|a| a.tag());
    tag.map_or(Tag::Salt(hop.salt), Tag::Text)
}

/// A challenge of the proxy's: `Digest realm, nonce, algorithm, idsp`.
fn put_challenge(hop: &Hop<'_>, w: &mut Writer<'_>, nonce: impl FnOnce(&mut Writer<'_>)) {
    w.put(b"WWW-Authenticate: Digest realm=");
    put_quoted(hop.own.realm.as_bytes(), w);
    w.put(b", nonce=\"");
    nonce(w);
    w.put(b"\", algorithm=").text(ALGORITHM);
    put_param("idsp", hop.own.idsp.as_bytes(), w);
}

/// s6.
pub(super) fn s6(hop: &Hop<'_>, request: &[u8], core_msg: &[u8], s6: &S6<'_>, w: &mut Writer<'_>) -> Result<(), Full> {
    let msg = Message::marked(request, hop.marks).map_err(|_| Full)?;
    begin_response(&msg, 401, &["Unauthorized"], tag_of(hop, line_at(core_msg, Name::To)), Some(hop.source), w);
    put_challenge(hop, w, |w| _ = w.b64(&s6.rand));
    put_param("n1", s6.n1.as_bytes(), w);
    put_param("n2", s6.n2, w);
    put_number("ts", s6.ts, w);
    w.put(b", mech-req=\"1\"\r\n");
    end(w)
}

/// The stateless cookie: shaped as s6, with no Rand.
pub(super) fn cookie(
    hop: &Hop<'_>,
    request: &[u8],
    n1: &N1,
    ts: u64,
    cookie: &[u8],
    w: &mut Writer<'_>,
) -> Result<(), Full> {
    let msg = Message::marked(request, hop.marks).map_err(|_| Full)?;
    begin_response(&msg, 401, &["Unauthorized"], Tag::Salt(hop.salt), Some(hop.source), w);
    put_challenge(hop, w, |_| ());
    put_param("n1", n1.as_bytes(), w);
    put_number("ts", ts, w);
    put_param("cookie", cookie, w);
    w.put(b"\r\n");
    end(w)
}

/// The refusal of a clock that is off.
pub(super) fn stale(
    hop: &Hop<'_>,
    msg: &Message<'_>,
    n1: Option<&N1>,
    ts: u64,
    w: &mut Writer<'_>,
) -> Result<(), Full> {
    begin_response(msg, 401, &["Unauthorized"], Tag::Salt(hop.salt), Some(hop.source), w);
    put_challenge(hop, w, |_| ());
    w.put(b", stale=true");
    if let Some(n1) = n1 {
        put_param("n1", n1.as_bytes(), w);
    }
    put_number("ts", ts, w);
    w.put(b"\r\n");
    end(w)
}

/// s10: the terminal's own Contacts with what was granted, the key and the list, all under the MAC. Nothing of the
/// core's answer passes but what is written here.
pub(super) fn s10(
    hop: &Hop<'_>,
    request: &[u8],
    core_msg: &[u8],
    s10: &S10<'_>,
    w: &mut Writer<'_>,
) -> Result<Range<usize>, Full> {
    let msg = Message::marked(request, hop.marks).map_err(|_| Full)?;
    let [to, contact] = lines_at(core_msg, [Name::To, Name::Contact]);
    begin_response(&msg, 200, &["OK"], tag_of(hop, to), Some(hop.source), w);
    // The answer's one Contact is the proxy's; what was granted to it stands there or in Expires.
    let own = contact.and_then(|v| Items::new(v).find_map(|i| own_contact(hop, i)));
    let granted = own.and_then(|a| a.expires()).or_else(|| line_at(core_msg, Name::Expires).and_then(seconds));
    for contact in msg.contacts() {
        put_granted(&msg, &contact, granted, w);
    }
    if let Some(seconds) = granted.or_else(|| msg.expires()) {
        w.put(b"Expires: ").decimal(seconds.into()).put(b"\r\n");
    }
    w.put(b"Security-Server: ").text(s10.sel).put(b"\r\nAuthentication-Info: idsp=\"");
    w.put(s10.idsp.as_bytes()).put(b"\"");
    put_param("n1", s10.n1.as_bytes(), w);
    put_param("n2", s10.n2.as_bytes(), w);
    put_number("ts", s10.ts, w);
    put_number("life", s10.life.into(), w);
    w.put(b", ekc=\"").b64(&s10.ekc).put(b"\"");
    put_param("mechs", s10.mechs.as_bytes(), w);
    w.put(b", mac=\"");
    let start = w.len();
    w.put(MAC_PLACEHOLDER);
    let field = start..w.len();
    w.put(b"\"\r\n");
    end(w).map(|()| field)
}

/// A Contact of an answer, where it is of the proxy's making.
fn own_contact<'m>(hop: &Hop<'_>, item: &'m [u8]) -> Option<Addr<'m>> {
    Addr::parse(item).filter(|a| a.sip().is_some_and(|u| super::relay::is_at(&u, hop.own.core)))
}

/// One of the terminal's Contacts as it asked for it, with the time granted: never longer than asked.
fn put_granted(msg: &Message<'_>, contact: &Addr<'_>, granted: Option<u32>, w: &mut Writer<'_>) {
    let asked = msg.contact_expires(contact);
    if asked == Some(0) {
        return;
    }
    let kept = contact.whole.len() - contact.params.as_bytes().len();
    w.put(b"Contact: ").put(crate::view::lex::trim(contact.whole.get(..kept).unwrap_or_default()));
    for p in contact.params.iter().filter(|p| !p.name.eq_ignore_ascii_case(b"expires")) {
        w.put(b";").put(p.whole);
    }
    if let Some(seconds) = [asked, granted].into_iter().flatten().min() {
        w.put(b";expires=").decimal(seconds.into());
    }
    w.put(b"\r\n");
}
