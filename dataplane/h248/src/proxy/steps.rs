//! The registration's messages as the proxy writes them.

use super::notes::{Noted, Which};
use crate::MAC_PLACEHOLDER;
use crate::carriage::terminal::{SEQUENCE, spi};
use crate::write;
use core::ops::Range;
use portunus_codec::{Full, Writer};
use portunus_keydist::ident::N1;
use portunus_keydist::mech::Sel;
use portunus_keydist::params::Quoted;
use portunus_keydist::steps::{Refusal, S1, S2, S6, S8, S10};
use portunus_signalling::Hop;

/// The commands that the proxy sends of its own; each has identifiers of its own for one and the same message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Own {
    S2 = 1,
    S6 = 2,
    S8 = 3,
    S10 = 4,
    Refusal = 5,
    Cookie = 6,
}

/// The identifier of a command of the proxy's: the same for a retransmission, never 0, and with no useful probability
/// that of another.
fn id(hop: &Hop<'_>, own: Own) -> u32 {
    let mixed = (hop.salt ^ own as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    ((mixed >> 32) as u32).max(1)
}

/// The step of the gateway's that is written from.
fn noted<'m>(hop: &Hop<'_>, octets: &'m [u8]) -> Result<Noted<'m>, Full> {
    Noted::read(octets, hop.marks).ok_or(Full)
}

/// s2: the ServiceChange as it came, without the clock and the cookie, which are the proxy's business, and without
/// addresses.
pub(super) fn s2(hop: &Hop<'_>, octets: &[u8], s1: &S1<'_>, w: &mut Writer<'_>) -> Result<(), Full> {
    let Noted { version, mid, which: Which::Register { services, .. }, .. } = noted(hop, octets)? else {
        return Err(Full);
    };
    let services = services.read().ok_or(Full)?;
    write::begin(version, mid, w);
    write::request(id(hop, Own::S2), w, |w| {
        w.put(b"SC=ROOT{SV{");
        for p in services.elements().filter(|p| !crate::view::is_pkd(p) && !crate::view::is_address(p)) {
            w.put(p.whole()).put(b",");
        }
        w.put(b"X-PKD=\"");
        S2 { idc: s1.idc, idsp: s1.idsp, n1: s1.n1 }.write_services(w);
        w.put(b"\"}}");
    })
}

/// s6, in the version that the gateway speaks.
pub(super) fn s6(hop: &Hop<'_>, request: &[u8], s6: &S6<'_>, w: &mut Writer<'_>) -> Result<(), Full> {
    write::begin_own(noted(hop, request)?.speaks(), &hop.own, w);
    write::signal(id(hop, Own::S6), "chal", true, w, |q| q.s6(s6))
}

/// s8.
pub(super) fn s8(hop: &Hop<'_>, octets: &[u8], s8: &S8<'_>, w: &mut Writer<'_>) -> Result<(), Full> {
    let Noted { version, mid, which: Which::Response { request_id }, .. } = noted(hop, octets)? else {
        return Err(Full);
    };
    write::begin(version, mid, w);
    write::response(id(hop, Own::S8), request_id, w, |q| q.s8(s8))
}

/// s10, behind the authentication header that holds its MAC.
pub(super) fn s10(hop: &Hop<'_>, request: &[u8], s10: &S10<'_>, w: &mut Writer<'_>) -> Result<Range<usize>, Full> {
    let version = noted(hop, request)?.version;
    let spi = Sel::parse(s10.sel).map_or(0, |sel| spi(&sel));
    w.put(b"AU=0x").hex(&spi.to_be_bytes()).put(b":0x").hex(&SEQUENCE.to_be_bytes()).put(b":0x");
    let start = w.len();
    w.put(MAC_PLACEHOLDER);
    let field = start..w.len();
    w.put(b" ");
    write::begin_own(version, &hop.own, w);
    write::signal(id(hop, Own::S10), "key", false, w, |q| q.s10(s10)).map(|()| field)
}

/// The refusal of a registration.
pub(super) fn fail(
    hop: &Hop<'_>,
    request: &[u8],
    refusal: &Refusal,
    n1: Option<&N1>,
    w: &mut Writer<'_>,
) -> Result<(), Full> {
    signal(hop, request, Own::Refusal, "fail", w, |q| q.refusal(n1, refusal))
}

/// The stateless cookie.
pub(super) fn cookie(
    hop: &Hop<'_>,
    request: &[u8],
    n1: &N1,
    ts: u64,
    cookie: &[u8],
    w: &mut Writer<'_>,
) -> Result<(), Full> {
    signal(hop, request, Own::Cookie, "cookie", w, |q| q.cookie(n1, ts, cookie))
}

fn signal(
    hop: &Hop<'_>,
    request: &[u8],
    own: Own,
    name: &str,
    w: &mut Writer<'_>,
    parameters: impl FnOnce(&mut Quoted<'_, '_>),
) -> Result<(), Full> {
    write::begin_own(noted(hop, request)?.speaks(), &hop.own, w);
    write::signal(id(hop, own), name, false, w, parameters)
}
