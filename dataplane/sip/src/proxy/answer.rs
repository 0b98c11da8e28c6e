//! Refusals, answers to faults, and the proxy's own answers to the core.

use super::steps;
use crate::view::{Message, Method, Name};
use crate::write::{Tag, begin_response, end, simple};
use core::net::SocketAddr;
use portunus_codec::{Full, Writer};
use portunus_keydist::ident::N1;
use portunus_keydist::steps::Refusal;
use portunus_signalling::{Fault, FaultKind, Hop};

/// [`portunus_signalling::Signalling::write_refusal`].
pub(super) fn refusal(
    hop: &Hop<'_>,
    request: &[u8],
    refusal: &Refusal,
    n1: Option<&N1>,
    w: &mut Writer<'_>,
) -> Result<(), Full> {
    let msg = Message::marked(request, hop.marks).map_err(|_| Full)?;
    if !msg.is_request() || msg.method() == Method::Ack {
        return Ok(());
    }
    let (tag, source) = (Tag::Salt(hop.salt), Some(hop.source));
    match *refusal {
        Refusal::Denied => simple(&msg, 403, &["Forbidden"], tag, source, None, w),
        Refusal::Stale { ts } => steps::stale(hop, &msg, n1, ts, w),
        Refusal::Mechanism => {
            begin_response(&msg, 494, &["Security Agreement Required"], tag, source, w);
            // RFC 3329 section 2.3.1 wants the server's list; the one mechanism that every proxy of PKD1 has is named. A
            // terminal offers nothing weaker because of it: the answer is unauthenticated.
            w.put(b"Security-Server: x-pkd-sealed\r\n");
            end(w)
        }
        Refusal::Busy { retry_after_s } => {
            simple(&msg, 503, &["Service Unavailable"], tag, source, Some(retry_after_s), w)
        }
        Refusal::Malformed => simple(&msg, 400, &["Bad Request"], tag, source, None, w),
    }
}

/// [`portunus_signalling::Signalling::write_fault`], with `source` written down for the sender where it is a terminal, and
/// [`portunus_signalling::Signalling::write_core_fault`].
pub(super) fn fault(
    hop: &Hop<'_>,
    source: Option<SocketAddr>,
    request: &[u8],
    fault: &Fault,
    w: &mut Writer<'_>,
) -> Result<bool, Full> {
    if fault.kind == FaultKind::Unreadable {
        return Ok(false);
    }
    let Some(msg) = Message::salvage(request) else { return Ok(false) };
    if msg.method() == Method::Ack {
        return Ok(false);
    }
    let tag = Tag::Salt(hop.salt);
    let mut say = |status, reason: &[&str]| simple(&msg, status, reason, tag, source, None, w).map(|()| true);
    match fault.kind {
        FaultKind::Unreadable => Ok(false),
        FaultKind::Malformed => say(400, &["Malformed ", fault.what]),
        FaultKind::TooBig => say(513, &["Message Too Large"]),
        FaultKind::Forbidden => say(403, &["Forbidden"]),
        FaultKind::Unsupported => match fault.what {
            "Max-Forwards" => say(483, &["Too Many Hops"]),
            "SIP-Version" => say(505, &["Version Not Supported"]),
            "Proxy-Require" => {
                begin_response(&msg, 420, &["Bad Extension"], tag, source, w);
                for tag in msg.items(Name::ProxyRequire).filter(|t| !t.eq_ignore_ascii_case(b"sec-agree")) {
                    w.put(b"Unsupported: ").put(tag).put(b"\r\n");
                }
                end(w).map(|()| true)
            }
            _ => say(501, &["Not Implemented"]),
        },
    }
}

/// [`portunus_signalling::Signalling::answer_own`].
pub(super) fn own(hop: &Hop<'_>, request: &[u8], reachable: bool, w: &mut Writer<'_>) -> Result<(), Full> {
    let msg = Message::index(request).map_err(|_| Full)?;
    if !msg.is_request() {
        return Ok(());
    }
    let tag = Tag::Salt(hop.salt);
    match (reachable, msg.method()) {
        (_, Method::Ack) => Ok(()),
        (false, _) => simple(&msg, 480, &["Temporarily Unavailable"], tag, None, None, w),
        (true, Method::Options) => {
            begin_response(&msg, 200, &["OK"], tag, None, w);
            w.put(b"Allow: OPTIONS\r\nSupported: path, sec-agree\r\n");
            end(w)
        }
        (true, _) => {
            begin_response(&msg, 405, &["Method Not Allowed"], tag, None, w);
            w.put(b"Allow: OPTIONS\r\n");
            end(w)
        }
    }
}
