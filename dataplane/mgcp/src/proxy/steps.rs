//! The registration's messages as the proxy writes them.

use super::read;
use crate::MAC_PLACEHOLDER;
use crate::carriage::core::challenged;
use crate::carriage::step::{put_event, put_list};
use crate::view::{Endpoint, Message, Name, TRANSACTION_MAX, Verb, is_request_id};
use crate::write::{command_to, line};
use core::ops::Range;
use portunus_codec::{Full, Writer, hex_u64};
use portunus_keydist::bugs::{Bug, planted};
use portunus_keydist::ident::N1;
use portunus_keydist::steps::{Refusal, S1, S2, S6, S8, S10};
use portunus_signalling::Hop;

/// The commands that the proxy writes from one message of the terminal's: each its own transaction.
#[derive(Debug, Clone, Copy)]
pub(super) enum Own {
    S2 = 1,
    S6,
    S8,
    S10,
    Refusal,
    Cookie,
}

/// The transaction of one of the proxy's commands: the same for a retransmission, and no counter to keep.
fn transaction(hop: &Hop<'_>, own: Own) -> u32 {
    // The finaliser of splitmix64: every bit of the salt tells.
    let mut n = hop.salt.wrapping_add((own as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    n ^= n >> 31;
    1 + (n % u64::from(TRANSACTION_MAX)) as u32
}

fn parse<'m>(octets: &'m [u8]) -> Result<(Message<'m>, Endpoint<'m>), Full> {
    let msg = Message::alone(octets).map_err(|_| Full)?;
    let (_, endpoint) = msg.command().ok_or(Full)?;
    Ok((msg, endpoint))
}

/// s2: who registers, how, and nothing else of what somebody wrote who is not authenticated.
pub(super) fn s2(hop: &Hop<'_>, octets: &[u8], s1: &S1<'_>, w: &mut Writer<'_>) -> Result<(), Full> {
    let (msg, endpoint) = parse(octets)?;
    command_to(Verb::Rsip, transaction(hop, Own::S2), &endpoint, w);
    for (spelled, name) in [("RM", Name::RestartMethod), ("RD", Name::RestartDelay), ("E", Name::ReasonCode)] {
        if let Some(value) = msg.value(name) {
            line(spelled, value, w);
        }
    }
    w.put(b"X-PKD: ");
    S2 { idc: s1.idc, idsp: s1.idsp, n1: s1.n1 }.write_services(w);
    w.put(b"\r\n");
    w.finish().map(|_| ())
}

/// s8, under the identifier that the core gave.
pub(super) fn s8(hop: &Hop<'_>, octets: &[u8], s8: &S8<'_>, w: &mut Writer<'_>) -> Result<(), Full> {
    let (msg, endpoint) = parse(octets)?;
    command_to(Verb::Ntfy, transaction(hop, Own::S8), &endpoint, w);
    put_event(msg.value(Name::RequestIdentifier).unwrap_or(b"0"), "O", "resp", w, |q| q.s8(s8));
    w.finish().map(|_| ())
}

/// The request identifier of the core's step; of the proxy's own making where it has none.
fn with_x(hop: &Hop<'_>, core_msg: &[u8], f: impl FnOnce(&[u8])) {
    let step = read::core_step(core_msg);
    let given = step.and_then(|msg| msg.value(Name::RequestIdentifier)).filter(|x| is_request_id(x));
    f(given.unwrap_or(&hex_u64(hop.salt)));
}

/// The head of a command towards the terminal: which endpoint, and whom it is to notify.
fn begin(hop: &Hop<'_>, own: Own, octets: &[u8], w: &mut Writer<'_>) -> Result<(), Full> {
    let (_, endpoint) = parse(octets)?;
    command_to(Verb::Rqnt, transaction(hop, own), &challenged(&endpoint), w);
    w.put(b"N: x-pkd@");
    put_host(hop.own.access, w);
    w.put(b":").decimal(hop.own.access.port().into()).put(b"\r\n");
    Ok(())
}

/// An address in square brackets (RFC 3435 section 3.2.1.3).
fn put_host(address: core::net::SocketAddr, w: &mut Writer<'_>) {
    use core::fmt::Write as _;
    let mut text = arrayvec::ArrayString::<64>::new();
    // The longest address is 45 characters.
    _ = write!(text, "[{}]", address.ip());
    w.text(&text);
}

/// s6.
pub(super) fn s6(hop: &Hop<'_>, request: &[u8], core_msg: &[u8], s6: &S6<'_>, w: &mut Writer<'_>) -> Result<(), Full> {
    begin(hop, Own::S6, request, w)?;
    with_x(hop, core_msg, |x| line("X", x, w));
    w.put(b"R: x-pkd/resp(N)\r\n");
    put_list("S", "chal", w, |q| q.s6(s6));
    w.finish().map(|_| ())
}

/// s10: nothing of the core's passes but its request identifier; all of it is under the MAC.
pub(super) fn s10(
    hop: &Hop<'_>,
    request: &[u8],
    core_msg: &[u8],
    s10: &S10<'_>,
    w: &mut Writer<'_>,
) -> Result<Range<usize>, Full> {
    begin(hop, Own::S10, request, w)?;
    with_x(hop, core_msg, |x| put_event(x, "S", "key", w, |q| q.s10(s10)));
    w.put(b"X-PKDMAC: ");
    let start = w.len();
    w.put(MAC_PLACEHOLDER);
    let late = usize::from(planted(Bug::MacMisplaced));
    let field = start + late..w.len() + late;
    w.put(b"\r\n");
    w.finish().map(|_| field)
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
    begin(hop, Own::Cookie, request, w)?;
    put_event(&hex_u64(hop.salt), "S", "cookie", w, |q| q.cookie(n1, ts, cookie));
    w.finish().map(|_| ())
}

/// The refusal of an s1 or s7.
pub(super) fn refusal(
    hop: &Hop<'_>,
    request: &[u8],
    refusal: &Refusal,
    n1: &N1,
    w: &mut Writer<'_>,
) -> Result<(), Full> {
    begin(hop, Own::Refusal, request, w)?;
    put_event(&hex_u64(hop.salt), "S", "fail", w, |q| q.refusal(Some(n1), refusal));
    w.finish().map(|_| ())
}
