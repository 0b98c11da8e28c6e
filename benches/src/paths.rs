//! A first step of each protocol, and reading it as the proxy does: what the counts of instructions are taken of.

use crate::keys::{IDSP, identity_in};
use core::net::SocketAddr;
use portunus_codec::{Full, Writer};
use portunus_h248::H248;
use portunus_h248::carriage::message::Sender;
use portunus_h323::Ras;
use portunus_h323::write::{Confirmed, Endpoint};
use portunus_keydist::ident::{Idc, Idsp, N1};
use portunus_keydist::mech::MechList;
use portunus_keydist::steps::{S1, S7, S8, S9, S10};
use portunus_mgcp::Mgcp;
use portunus_signalling::{FromCore, FromTerminal, Hop, Marks, Own, Protocol, Signalling, Text, Ticket, Transport};

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
            core::hint::black_box(signalling.step_transaction(w.written()));
        }
        Some(())
    })
}

/// How RAS's second round is passed on so many times: s7 read and written as s8, s9 read and s10 written from both. `None`
/// where that does not come to its end.
pub fn pass_s7_to_s10(times: u64) -> Option<()> {
    let (name, address) = (identity_in(Protocol::Ras, 1), SocketAddr::from(([127, 0, 0, 1], 5_060)));
    let (idc, idsp, n1) = (Idc::new(&name)?, Idsp::new(IDSP)?, N1::from_bits(9));
    let mechs = MechList::from_text("x-pkd-sealed;q=0.9").ok()?;
    let (ts, rand, auth_c) = (1_800_000_000_000, [7; 16], [8; 32]);
    let told = S7 { idc, idsp: Some(idsp), n1, n2: &[b'n'; 96], ts, rand: Some(rand), auth_c, mechs };
    let (aliases, signal) = (&[idc.as_str()][..], address);
    let endpoint = Endpoint { aliases, ras: address, signal, product: "bench" };
    let (mut s7_room, mut s9_room, mut out) = ([0u8; 2_048], [0u8; 2_048], [0u8; 2_048]);
    let (mut s7_msg, mut s9_msg) = (Writer::new(&mut s7_room), Writer::new(&mut s9_room));
    portunus_h323::carriage::terminal::write_s7(&endpoint, 2, 3_600, &told, &mut s7_msg).ok()?;
    let granted = Confirmed { signal, aliases, gatekeeper_id: "gk", endpoint_id: "ep1", ttl: 3_600 };
    let keys = S9 { ekc: [1; 48], eksp: [2; 48] };
    portunus_h323::carriage::core::write_s9(2, &granted, idc, idsp, &rand, &keys, &mut s9_msg).ok()?;
    let (s7_msg, s9_msg) = (s7_msg.written(), s9_msg.written());
    let own = Own { idsp, realm: crate::keys::REALM, access: address, core: address };
    let (mut marks, mut text, mut core_text) = (Marks::NONE, Text::new(), Text::new());
    crate::rig::measured_section(|| {
        for _ in 0..times {
            let read = Ras.read_marked(core::hint::black_box(s7_msg), &mut marks, &mut text);
            let Ok(FromTerminal::S7(s7)) = read else { return None };
            let (source, transport, ticket) = (address, Transport::Udp, Ticket(0));
            let hop = Hop { own, source, transport, ticket, salt: 7, marks: &marks };
            let s8 = S8 { idc: s7.idc, idsp, rand: s7.rand?, auth_c: s7.auth_c, ipc: source };
            Ras.write_s8(&hop, s7_msg, &s7, &s8, &mut Writer::new(&mut out)).ok()?;
            let read = Ras.read_answer(core::hint::black_box(s9_msg), &mut core_text);
            let Ok((FromCore::Key { s9, .. }, _)) = read else { return None };
            let (sel, mechs) = ("x-pkd-sealed;kid=0000000100000001;port=5065", s7.mechs.as_str());
            let s10 = S10 { idsp, n1: s7.n1, n2: n1, ts, life: 86_400, ekc: s9.ekc, sel, mechs };
            let mut w = Writer::new(&mut out);
            core::hint::black_box(Ras.write_s10(&hop, s7_msg, s9_msg, &s10, &mut w).ok()?);
        }
        Some(())
    })
}
