//! The base protocol's own messages (RFC 6733 sections 5.3 to 5.5), and answers that say what was wrong.

use super::Builder;
use super::dict::{self, result};
use super::message::{Avps, Fault, Header, Message, flag};
use crate::node::Node;
use core::net::IpAddr;

/// Our Product-Name.
const PRODUCT: &str = "Portunus";
/// Disconnect-Cause: we start again.
pub(super) const REBOOTING: u32 = 0;

/// A request of the base protocol.
fn request(code: u32, names: (u32, u32), node: &Node) -> Builder {
    let header =
        Header { flags: flag::REQUEST, code, application: dict::BASE, hop_by_hop: names.0, end_to_end: names.1 };
    let mut b = Builder::new(&header);
    from(&mut b, node);
    b
}

/// Origin-Host and Origin-Realm.
pub(super) fn from(b: &mut Builder, node: &Node) {
    b.text(&dict::ORIGIN_HOST, &node.host).text(&dict::ORIGIN_REALM, &node.realm);
}

/// What we are and can do.
fn capabilities(b: &mut Builder, node: &Node, local: IpAddr) {
    let mut address = [0u8; 18];
    let address = match local {
        IpAddr::V4(ip) => {
            address[1] = 1;
            address[2..6].copy_from_slice(&ip.octets());
            &address[..6]
        }
        IpAddr::V6(ip) => {
            address[1] = 2;
            address[2..].copy_from_slice(&ip.octets());
            &address[..]
        }
    };
    b.put(&dict::HOST_IP_ADDRESS, address)
        // No enterprise number is ours: Cx's is the one that says something.
        .number(&dict::VENDOR_ID, 0)
        .text(&dict::PRODUCT_NAME, PRODUCT)
        .number(&dict::ORIGIN_STATE_ID, node.state_id)
        .number(&dict::SUPPORTED_VENDOR_ID, dict::TGPP);
    b.group(&dict::VENDOR_SPECIFIC_APPLICATION_ID, cx_application);
}

/// The members of Vendor-Specific-Application-Id for Cx.
pub(super) fn cx_application(group: &mut Builder) {
    group.number(&dict::VENDOR_ID, dict::TGPP).number(&dict::AUTH_APPLICATION_ID, dict::CX);
}

/// CER.
pub(super) fn cer(names: (u32, u32), node: &Node) -> Vec<u8> {
    let mut b = request(dict::CAPABILITIES, names, node);
    capabilities(&mut b, node, node.address);
    b.finish()
}

/// CEA.
pub(super) fn cea(to: &Header, node: &Node, local: IpAddr, code: u32) -> Vec<u8> {
    let mut b = Builder::answer(to, is_protocol_error(code));
    b.number(&dict::RESULT_CODE, code);
    from(&mut b, node);
    capabilities(&mut b, node, local);
    b.finish()
}

/// DWR.
pub(super) fn dwr(names: (u32, u32), node: &Node) -> Vec<u8> {
    let mut b = request(dict::WATCHDOG, names, node);
    b.number(&dict::ORIGIN_STATE_ID, node.state_id);
    b.finish()
}

/// DPR: we are about to stop.
pub(super) fn dpr(names: (u32, u32), node: &Node) -> Vec<u8> {
    let mut b = request(dict::DISCONNECT, names, node);
    b.number(&dict::DISCONNECT_CAUSE, REBOOTING);
    b.finish()
}

/// DWA or DPA.
pub(super) fn done(to: &Header, node: &Node) -> Vec<u8> {
    let mut b = Builder::answer(to, false);
    b.number(&dict::RESULT_CODE, result::SUCCESS);
    from(&mut b, node);
    if to.code == dict::WATCHDOG {
        b.number(&dict::ORIGIN_STATE_ID, node.state_id);
    }
    b.finish()
}

const fn is_protocol_error(code: u32) -> bool {
    code / 1_000 == 3
}

/// The answer to a request that is not done: E for protocol errors, Failed-AVP where an AVP is at fault; Session-Id
/// and Proxy-Info as far as they can be read (RFC 6733 sections 6.2 and 7.2).
pub(super) fn refuse(to: &Header, request: &[u8], node: &Node, fault: &Fault) -> Vec<u8> {
    let avps = Avps::of(request.get(super::HEADER_LEN..).unwrap_or_default());
    let mut b = Builder::answer(to, is_protocol_error(fault.code));
    if let Some(session) = avps.first(&dict::SESSION_ID) {
        b.put(&dict::SESSION_ID, session.value);
    }
    if to.application == dict::CX {
        b.group(&dict::VENDOR_SPECIFIC_APPLICATION_ID, cx_application).number(&dict::AUTH_SESSION_STATE, 1);
    }
    b.number(&dict::RESULT_CODE, fault.code);
    from(&mut b, node);
    if !fault.avp.is_empty() {
        b.put(&dict::FAILED_AVP, &fault.avp);
    }
    b.wire(&proxy_info(&avps));
    b.finish()
}

/// The Proxy-Info AVPs in wire form, to be repeated unchanged and in order (RFC 6733 section 6.2).
pub(super) fn proxy_info(avps: &Avps<'_>) -> Vec<u8> {
    let mut wire = Vec::new();
    for avp in avps.clone().filter(|a| a.is(&dict::PROXY_INFO)) {
        wire.extend_from_slice(avp.octets);
        wire.resize(wire.len().next_multiple_of(4), 0);
    }
    wire
}

/// True when the peer serves Cx, or is a relay.
pub(super) fn is_capable(message: &Message<'_>) -> bool {
    let fits = |avps: Avps<'_>| {
        avps.filter(|a| a.is(&dict::AUTH_APPLICATION_ID)).any(|a| matches!(a.number(), Some(dict::CX | dict::RELAY)))
    };
    let groups = message.avps().filter(|a| a.is(&dict::VENDOR_SPECIFIC_APPLICATION_ID));
    fits(message.avps()) || groups.map(|g| Avps::of(g.value)).any(fits)
}

/// True when the peer asks for nothing, or among others nothing, of inband security: TLS has a port of its own
/// (RFC 6733 section 13.1).
pub(super) fn is_secured_elsewhere(message: &Message<'_>) -> bool {
    let mut offers = message.avps().filter(|a| a.is(&dict::INBAND_SECURITY_ID)).map(|a| a.number()).peekable();
    offers.peek().is_none() || offers.any(|n| n == Some(0))
}
