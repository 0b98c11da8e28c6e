//! A first step of each protocol, and reading it as the proxy does: what the counts of instructions are taken of.

use crate::keys::{IDSP, identity_in};
use core::net::SocketAddr;
use portunus_codec::{Full, Writer};
use portunus_h248::H248;
use portunus_h248::carriage::message::Sender;
use portunus_h323::Ras;
use portunus_h323::write::Endpoint;
use portunus_keydist::ident::{Idc, Idsp, N1};
use portunus_keydist::steps::S1;
use portunus_mgcp::Mgcp;
use portunus_signalling::{FromTerminal, Hop, Marks, Own, Protocol, Signalling, Text, Ticket, Transport};

/// SIP's.
pub const S1_SIP: &str = "REGISTER sip:bench.example.test SIP/2.0\r\n\
Via: SIP/2.0/UDP 192.0.2.7:5060;branch=z9hG4bK0123456789abcdef;rport\r\nMax-Forwards: 70\r\n\
From: <sip:u00000001@bench.example.test>;tag=01234567\r\nTo: <sip:u00000001@bench.example.test>\r\n\
Call-ID: 00000001-0123456789abcdef\r\nCSeq: 1 REGISTER\r\nContact: <sip:u00000001@192.0.2.7:5060>\r\n\
Expires: 3600\r\nSupported: path, sec-agree\r\nAuthorization: Digest username=\"u00000001@bench.example.test\", \
realm=\"bench.example.test\", nonce=\"\", uri=\"sip:bench.example.test\", response=\"\", \
algorithm=PKD1-HMAC-SHA-256, idsp=\"sp1.bench.example.test\", n1=\"0123456789abcdef\", ts=\"1800000000000\"\r\n\
Content-Length: 0\r\n\r\n";

/// An s1 of a protocol's, always the same.
fn write_s1(protocol: Protocol, s1: &S1<'_>, w: &mut Writer<'_>) -> Result<(), Full> {
    let address = SocketAddr::from(([192, 0, 2, 7], 1719));
    match protocol {
        Protocol::Sip => w.text(S1_SIP).finish().map(|_| ()),
        Protocol::Mgcp => portunus_mgcp::carriage::terminal::write_s1(1, "*", "restart", s1, w),
        Protocol::H248 => {
            let from = Sender { idc: s1.idc, version: 2 };
            portunus_h248::carriage::terminal::write_s1(&from, 1, s1, w)
        }
        Protocol::Ras => {
            let e = Endpoint { aliases: &[s1.idc.as_str()], ras: address, signal: address, product: "bench" };
            portunus_h323::carriage::terminal::write_s1(&e, 1, s1, w)
        }
    }
}

/// How a protocol's first step is passed on so many times: read, acknowledged where the protocol does that, and written
/// as s2. `None` where that does not come to its end.
pub fn pass_s1(protocol: Protocol, times: u64) -> Option<()> {
    let signalling: &dyn Signalling = match protocol {
        Protocol::Sip => &portunus_sip::Sip,
        Protocol::Mgcp => &Mgcp,
        Protocol::H248 => &H248,
        Protocol::Ras => &Ras,
    };
    let (name, address) = (identity_in(protocol, 1), SocketAddr::from(([127, 0, 0, 1], 5_060)));
    let (idc, idsp) = (Idc::new(&name)?, Idsp::new(IDSP)?);
    let s1 = S1 { idc, idsp, n1: N1::from_bits(9), ts: 1_800_000_000_000, cookie: None };
    let (mut room, mut out) = ([0u8; 2_048], [0u8; 2_048]);
    let mut w = Writer::new(&mut room);
    write_s1(protocol, &s1, &mut w).ok()?;
    let message = w.written();
    let (mut marks, mut text) = (Marks::NONE, Text::new());
    let own = Own { idsp, realm: crate::keys::REALM, access: address, core: address };
    crate::rig::measured_section(|| {
        for _ in 0..times {
            let read = signalling.read_marked(core::hint::black_box(message), &mut marks, &mut text);
            let Ok(FromTerminal::S1(s1)) = read else { return None };
            let (source, transport, ticket) = (address, Transport::Udp, Ticket(0));
            let hop = Hop { own, source, transport, ticket, salt: 7, marks: &marks };
            signalling.acknowledge(&hop, message, &mut Writer::new(&mut out));
            let mut w = Writer::new(&mut out);
            signalling.write_s2(&hop, message, &s1, &mut w).ok()?;
            core::hint::black_box(signalling.transaction(w.written()));
        }
        Some(())
    })
}
