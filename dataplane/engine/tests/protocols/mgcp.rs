//! MGCP's gateways and call agent.

#![allow(unreachable_pub)]

use super::dialect::*;
use portunus_keydist::steps::{Refusal, S1, S5, S7, S9};
use portunus_keydist::{Idc, Idsp, N1, Rand};
use portunus_mgcp::Mgcp;
use portunus_mgcp::carriage::core::{self, Ask, Txn};
use portunus_mgcp::carriage::terminal::{self, Answer};
use portunus_mgcp::view::{Endpoint, Message};
use portunus_mgcp::write as mgcp;
use portunus_signalling::Signalling;

pub struct Calls;

fn transaction(octets: &[u8]) -> u32 {
    Mgcp.transaction(octets).expect("a transaction")
}

fn response(code: u16, octets: &[u8]) -> Vec<u8> {
    write(|w| {
        {
            mgcp::response(code, transaction(octets), w);
            w.finish()
        }
        .map(|_| ())
    })
}

/// The core's place in the registration that a step of the proxy's belongs to.
fn txn(t: u32, request: &[u8], f: impl FnOnce(&Txn<'_>) -> Vec<u8>) -> Vec<u8> {
    let msg = Message::parse(request).expect("a message");
    let registration = core::read(&msg).expect("a step").expect("a registration");
    let endpoint: Endpoint<'_> = core::challenged(&registration.endpoint);
    f(&Txn { transaction: t, endpoint, x: b"0a" })
}

impl Dialect for Calls {
    fn signalling(&self) -> &'static dyn Signalling {
        &Mgcp
    }

    fn idcs(&self) -> [&'static str; 2] {
        ["gw1.example.test", "gw2.example.test"]
    }

    fn has_receipts(&self) -> bool {
        true
    }

    fn s1(&self, t: u32, s1: &S1<'_>) -> Vec<u8> {
        write(|w| terminal::write_s1(t, "*", "restart", s1, w))
    }

    fn s7(&self, t: u32, s6: &[u8], s7: &S7<'_>) -> Vec<u8> {
        let reply = terminal::read(s6).expect("a command").expect("a step");
        write(|w| terminal::write_s7(t, &reply.endpoint, reply.x, s7, w))
    }

    fn said(&self, octets: &[u8]) -> Said {
        if let Some((code, _)) = terminal::read_response(octets) {
            return Said::Receipt { error: code >= 300 };
        }
        match terminal::read(octets).expect("a command").expect("a step").answer {
            Answer::Challenge(s6) => Said::Challenge { n1: s6.n1, n2: s6.n2.to_vec(), rand: s6.rand },
            Answer::Cookie { cookie, .. } => Said::Cookie(cookie.to_vec()),
            Answer::Key { .. } => Said::Key,
            Answer::Refused { refusal, .. } => Said::Refused(refusal),
        }
    }

    fn key(&self, octets: &[u8]) -> Option<Key> {
        let Answer::Key { s10, mac, mac_value } = terminal::read(octets).ok()??.answer else { return None };
        let (sel, mechs) = (s10.sel.to_owned(), s10.mechs.to_owned());
        Some(Key { n1: s10.n1, n2: s10.n2, ekc: s10.ekc, sel, mechs, mac, mac_value })
    }

    fn asked(&self, octets: &[u8]) -> Asked {
        let msg = Message::parse(octets).expect("a message");
        match core::read(&msg).expect("readable").map(|registration| registration.ask) {
            Some(Ask::S2(s2)) => Asked::S2 { idc: s2.idc.as_str().into(), n1: s2.n1 },
            Some(Ask::S8(s8)) => Asked::S8 { idc: s8.idc.as_str().into(), rand: s8.rand, word: s8.auth_c },
            None => Asked::Other,
        }
    }

    fn receipt(&self, command: &[u8]) -> Option<Vec<u8>> {
        Some(response(200, command))
    }

    fn s5(&self, t: u32, request: &[u8], idsp: Idsp<'_>, idc: Idc<'_>, n1: &N1, rand: &Rand) -> Vec<u8> {
        let s5 = S5 { idc, idsp, rand: *rand };
        txn(t, request, |txn| write(|w| core::write_s5(txn, &s5, n1, w)))
    }

    fn s9(&self, t: u32, request: &[u8], idsp: Idsp<'_>, _: Idc<'_>, rand: &Rand, s9: &S9) -> Vec<u8> {
        txn(t, request, |txn| write(|w| core::write_s9(txn, idsp, rand, s9, w)))
    }

    fn fail(&self, t: u32, request: &[u8], _: Idsp<'_>, _: Idc<'_>, named: Named) -> Vec<u8> {
        let (rand, n1) = match named {
            Named::N1(n1) => (None, n1),
            Named::Rand(rand) => (Some(rand), N1::from_bits(0)),
        };
        txn(t, request, |txn| write(|w| core::write_fail(txn, &Refusal::Denied, rand.as_ref(), &n1, w)))
    }

    fn request(&self, t: u32, idc: &str) -> Vec<u8> {
        format!("NTFY {t} aaln/1@{idc} MGCP 1.0\r\nX: 0b\r\nO: L/hd\r\n").into_bytes()
    }

    fn granted(&self, request: &[u8]) -> Vec<u8> {
        response(200, request)
    }

    fn rejected(&self, request: &[u8]) -> Vec<u8> {
        response(502, request)
    }

    fn refresh(&self, _: u32, _: &str) -> Option<Vec<u8>> {
        None
    }

    fn leave(&self, t: u32, idc: &str) -> Vec<u8> {
        format!("RSIP {t} *@{idc} MGCP 1.0\r\nRM: forced\r\n").into_bytes()
    }

    fn command(&self, t: u32, idc: &str) -> Vec<u8> {
        format!("RQNT {t} aaln/1@{idc} MGCP 1.0\r\nX: 0c\r\nR: L/hd(N)\r\nS: L/dl\r\n").into_bytes()
    }

    fn done(&self, command: &[u8], _: &str) -> Vec<u8> {
        response(200, command)
    }
}
