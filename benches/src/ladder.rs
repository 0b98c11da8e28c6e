//! A whole registration of H.248's, step by step, as the proxy reads, acknowledges and writes it: what instructions are
//! counted of.

use crate::keys::{IDSP, REALM, identity_in};
use core::hint::black_box;
use core::net::SocketAddr;
use portunus_codec::{Full, Writer};
use portunus_h248::H248;
use portunus_h248::carriage::message::{Sender, write_reply};
use portunus_h248::carriage::{core as controller, terminal};
use portunus_keydist::ident::{Idc, Idsp, N1, Rand};
use portunus_keydist::mech::MechList;
use portunus_keydist::steps::{S1, S5, S6, S7, S8, S9, S10};
use portunus_signalling::{FromCore, FromTerminal, Hop, Marks, Own, Protocol, Signalling, Text, Ticket, Transport};

const TS: u64 = 1_800_000_000_000;
const RAND: Rand = [7; 16];
const N2: [u8; 96] = [b'n'; 96];

/// The messages that arrive at the proxy.
struct Messages {
    s1: Vec<u8>,
    s5: Vec<u8>,
    s7: Vec<u8>,
    s9: Vec<u8>,
    /// What a gateway says to s6 and s10.
    receipt: Vec<u8>,
    /// What the core says to s2 and s8.
    receipts: [Vec<u8>; 2],
}

fn message(write: impl FnOnce(&mut Writer<'_>) -> Result<(), Full>) -> Option<Vec<u8>> {
    let mut room = [0u8; 2_048];
    let mut w = Writer::new(&mut room);
    write(&mut w).ok()?;
    Some(w.written().to_vec())
}

fn messages(idc: Idc<'_>, idsp: Idsp<'_>, n1: N1) -> Option<Messages> {
    let (gateway, core) = (Sender { idc, version: 2 }, Sender { idc: Idc::new("ss1.bench.example.test")?, version: 2 });
    let mechs = MechList::from_text("x-pkd-sealed;q=0.9").ok()?;
    let s7 = S7 { idc, idsp: Some(idsp), n1, n2: &N2, ts: TS, rand: Some(RAND), auth_c: [8; 32], mechs };
    let keys = S9 { ekc: [1; 48], eksp: [2; 48] };
    Some(Messages {
        s1: message(|w| terminal::write_s1(&gateway, 1, &S1 { idc, idsp, n1, ts: TS, cookie: None }, w))?,
        s5: message(|w| controller::write_s5(&core, 7_001, &S5 { idc, idsp, rand: RAND }, &n1, w))?,
        s7: message(|w| terminal::write_s7(&gateway, 2, &s7, w))?,
        s9: message(|w| controller::write_s9(&core, 7_002, idsp, &RAND, &keys, w))?,
        receipt: message(|w| terminal::write_step_reply(&gateway, 2_718_281_828, w))?,
        receipts: [
            message(|w| write_reply(&core, 3_141_592_653, "C=-{SC=ROOT{SV{V=2}}}", w))?,
            message(|w| write_reply(&core, 3_141_592_653, "C=-{N=ROOT}", w))?,
        ],
    })
}

/// The proxy's part, with room for what it reads and writes.
struct Proxy<'a> {
    hop: Hop<'a>,
    idsp: Idsp<'a>,
    out: [u8; 2_048],
}

impl Proxy<'_> {
    /// s1 or s7, read, acknowledged, and passed on as s2 or s8 with its transaction noted.
    fn up(&mut self, octets: &[u8], marks: &mut Marks) -> Option<()> {
        let mut text = Text::new();
        let read = H248.read_marked(black_box(octets), marks, &mut text).ok()?;
        let hop = Hop { marks, ..self.hop };
        H248.acknowledge(&hop, octets, &mut Writer::new(&mut self.out));
        let mut w = Writer::new(&mut self.out);
        match &read {
            FromTerminal::S1(s1) => H248.write_s2(&hop, octets, s1, &mut w).ok()?,
            FromTerminal::S7(s7) => {
                let s8 = S8 { idc: s7.idc, idsp: self.idsp, rand: RAND, auth_c: s7.auth_c, ipc: hop.source };
                H248.write_s8(&hop, octets, s7, &s8, &mut w).ok()?;
            }
            _ => return None,
        }
        black_box(H248.step_transaction(w.written()));
        Some(())
    }

    /// What the core says to s2 or s8.
    fn receipt(&self, octets: &[u8]) -> Option<()> {
        let mut text = Text::new();
        let (FromCore::Answer { .. }, _) = H248.read_answer(black_box(octets), &mut text).ok()? else { return None };
        black_box(H248.transaction(octets));
        Some(())
    }

    /// s5 or s9, read, acknowledged, and answered by s6 or s10 to this request.
    fn down(&mut self, octets: &[u8], request: &[u8], marks: &Marks) -> Option<()> {
        let mut text = Text::new();
        let (read, _) = H248.read_answer(black_box(octets), &mut text).ok()?;
        let (hop, n1) = (Hop { marks, ..self.hop }, N1::from_bits(9));
        H248.acknowledge_step(&hop, octets, &mut Writer::new(&mut self.out));
        let (mut w, idsp) = (Writer::new(&mut self.out), self.idsp);
        match read {
            FromCore::Challenge { rand, .. } => {
                H248.write_s6(&hop, request, octets, &S6 { idsp, n1, n2: &N2, ts: TS, rand }, &mut w).ok()?;
            }
            FromCore::Key { s9, .. } => {
                let (sel, mechs) = ("x-pkd-sealed;kid=0000000100000001;port=5065", "x-pkd-sealed;q=0.9");
                let s10 = S10 { idsp, n1, n2: n1, ts: TS, life: 86_400, ekc: s9.ekc, sel, mechs };
                black_box(H248.write_s10(&hop, request, octets, &s10, &mut w).ok()?);
            }
            _ => return None,
        }
        Some(())
    }
}

/// Takes so many registrations from s1 to s10, receipts and all. `None` where one does not come to its end.
pub fn pass(times: u64) -> Option<()> {
    let (name, address) = (identity_in(Protocol::H248, 1), SocketAddr::from(([127, 0, 0, 1], 5_060)));
    let (idc, idsp) = (Idc::new(&name)?, Idsp::new(IDSP)?);
    let m = messages(idc, idsp, N1::from_bits(9))?;
    let own = Own { idsp, realm: REALM, access: address, core: address };
    let hop = Hop { own, source: address, transport: Transport::Udp, ticket: Ticket(0), salt: 7, marks: &Marks::NONE };
    let mut proxy = Proxy { hop, idsp, out: [0; 2_048] };
    let gateway_receipt = |octets: &[u8]| {
        let (mut marks, mut text) = (Marks::NONE, Text::new());
        let read = H248.read_marked(black_box(octets), &mut marks, &mut text);
        matches!(read, Ok(FromTerminal::Response { .. })).then_some(())
    };
    crate::rig::measured_section(|| {
        for _ in 0..times {
            let mut marks = Marks::NONE;
            proxy.up(&m.s1, &mut marks)?;
            proxy.receipt(&m.receipts[0])?;
            proxy.down(&m.s5, &m.s1, &marks)?;
            gateway_receipt(&m.receipt)?;
            proxy.up(&m.s7, &mut marks)?;
            proxy.receipt(&m.receipts[1])?;
            proxy.down(&m.s9, &m.s7, &marks)?;
            gateway_receipt(&m.receipt)?;
        }
        Some(())
    })
}
