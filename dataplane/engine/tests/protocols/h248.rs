//! H.248's gateways and media gateway controller.

#![allow(unreachable_pub)]

use super::dialect::*;
use portunus_h248::H248;
use portunus_h248::carriage::core::{self, FromProxy as Step};
use portunus_h248::carriage::message::{self, Sender};
use portunus_h248::carriage::terminal::{self, FromProxy};
use portunus_h248::view::Message;
use portunus_keydist::steps::{Refusal, S1, S5, S7, S9};
use portunus_keydist::{Idc, Idsp, N1, Rand};
use portunus_signalling::Signalling;

pub struct Gateways;

fn gateway(idc: &str) -> Sender<'_> {
    Sender { idc: Idc::new(idc).expect("an identity"), version: 2 }
}

fn controller() -> Sender<'static> {
    gateway("ss1.example.test")
}

fn transaction(octets: &[u8]) -> u32 {
    H248.transaction(octets).expect("a transaction")
}

impl Dialect for Gateways {
    fn signalling(&self) -> &'static dyn Signalling {
        &H248
    }

    fn idcs(&self) -> [&'static str; 2] {
        ["gw1.example.test", "[192.0.2.77]:2944"]
    }

    fn has_receipts(&self) -> bool {
        true
    }

    fn s1(&self, t: u32, s1: &S1<'_>) -> Vec<u8> {
        write(|w| terminal::write_s1(&gateway(s1.idc.as_str()), t, s1, w))
    }

    fn s7(&self, t: u32, _: &[u8], s7: &S7<'_>) -> Vec<u8> {
        write(|w| terminal::write_s7(&gateway(s7.idc.as_str()), t, s7, w))
    }

    fn said(&self, octets: &[u8]) -> Said {
        match terminal::read(octets).expect("readable").1 {
            FromProxy::Challenge(s6) => Said::Challenge { n1: s6.n1, n2: s6.n2.to_vec(), rand: s6.rand },
            FromProxy::Cookie { cookie, .. } => Said::Cookie(cookie.to_vec()),
            FromProxy::Key { .. } => Said::Key,
            FromProxy::Refused { refusal, .. } => Said::Refused(refusal),
            FromProxy::Reply { error, .. } => Said::Receipt { error: error.is_some() },
            FromProxy::Error(_) => Said::Receipt { error: true },
            other => panic!("{other:?}"),
        }
    }

    fn key(&self, octets: &[u8]) -> Option<Key> {
        let FromProxy::Key { s10, mac, mac_value } = terminal::read(octets).ok()?.1 else { return None };
        let (sel, mechs) = (s10.sel.to_owned(), s10.mechs.to_owned());
        Some(Key { n1: s10.n1, n2: s10.n2, ekc: s10.ekc, sel, mechs, mac, mac_value })
    }

    fn asked(&self, octets: &[u8]) -> Asked {
        let msg = Message::parse(octets).expect("a message");
        match core::read(&msg).expect("readable") {
            Some(Step::Register { s2, .. }) => Asked::S2 { idc: s2.idc.as_str().into(), n1: s2.n1 },
            Some(Step::Response { s8, .. }) => {
                Asked::S8 { idc: s8.idc.as_str().into(), rand: s8.rand, word: s8.auth_c }
            }
            None => Asked::Other,
        }
    }

    fn receipt(&self, command: &[u8]) -> Option<Vec<u8>> {
        let actions = match self.asked(command) {
            Asked::S2 { .. } => "C=-{SC=ROOT{SV{V=2}}}",
            _ => "C=-{N=ROOT}",
        };
        Some(write(|w| message::write_reply(&controller(), transaction(command), actions, w)))
    }

    fn s5(&self, t: u32, _: &[u8], idsp: Idsp<'_>, idc: Idc<'_>, n1: &N1, rand: &Rand) -> Vec<u8> {
        let s5 = S5 { idc, idsp, rand: *rand };
        write(|w| core::write_s5(&controller(), t, &s5, n1, w))
    }

    fn s9(&self, t: u32, _: &[u8], idsp: Idsp<'_>, _: Idc<'_>, rand: &Rand, s9: &S9) -> Vec<u8> {
        write(|w| core::write_s9(&controller(), t, idsp, rand, s9, w))
    }

    fn fail(&self, t: u32, _: &[u8], _: Idsp<'_>, _: Idc<'_>, named: Named) -> Vec<u8> {
        let (rand, n1) = match named {
            Named::N1(n1) => (None, n1),
            Named::Rand(rand) => (Some(rand), N1::from_bits(0)),
        };
        write(|w| core::write_refusal(&controller(), t, &Refusal::Denied, rand.as_ref(), &n1, w))
    }

    fn request(&self, t: u32, idc: &str) -> Vec<u8> {
        let notify = "C=-{N=A4444{OE=2222{20261124T03500000:al/of{init=\"OFF\"}}}}";
        write(|w| message::write_request(&gateway(idc), t, notify, w))
    }

    fn granted(&self, request: &[u8]) -> Vec<u8> {
        write(|w| message::write_reply(&controller(), transaction(request), "C=-{N=A4444}", w))
    }

    fn rejected(&self, request: &[u8]) -> Vec<u8> {
        write(|w| message::write_error(&controller(), transaction(request), 500, "Internal", w))
    }

    fn refresh(&self, t: u32, idc: &str) -> Option<Vec<u8>> {
        let restart = "C=-{SC=ROOT{SV{MT=RS,RE=\"900 Service Restored\",V=2}}}";
        Some(write(|w| message::write_request(&gateway(idc), t, restart, w)))
    }

    fn leave(&self, t: u32, idc: &str) -> Vec<u8> {
        let forced = "C=-{SC=ROOT{SV{MT=FO,RE=\"905 Termination taken out of service\"}}}";
        write(|w| message::write_request(&gateway(idc), t, forced, w))
    }

    fn command(&self, t: u32, _: &str) -> Vec<u8> {
        write(|w| message::write_request(&controller(), t, "C=-{MF=A4444{SG{cg/dt},E=2223{al/on}}}", w))
    }

    fn done(&self, command: &[u8], idc: &str) -> Vec<u8> {
        write(|w| message::write_reply(&gateway(idc), transaction(command), "C=-{MF=A4444}", w))
    }
}
