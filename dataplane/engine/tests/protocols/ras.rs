//! H.323's endpoints and gatekeeper.

#![allow(unreachable_pub)]

use super::dialect::*;
use portunus_h323::Ras;
use portunus_h323::carriage::core::{self, Ask};
use portunus_h323::carriage::terminal::{self, Answer};
use portunus_h323::view::{Kind, Message, Reason};
use portunus_h323::write::{self as ras, Call, Confirmed, Endpoint, Registering};
use portunus_keydist::steps::{Refusal, S1, S7, S9};
use portunus_keydist::{Idc, Idsp, N1, Rand};
use portunus_signalling::{Signalling, Text};
use std::net::SocketAddr;

pub struct Endpoints;

const CALL: Call = Call { conference: [0xc0; 16], id: [0x1d; 16], reference: 17 };
const ID: &str = "4711_portunus";
const TTL: u32 = 3600;

fn at(port: u16) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 7], port))
}

fn endpoint<T>(idc: &str, f: impl FnOnce(&Endpoint<'_>) -> T) -> T {
    f(&Endpoint { aliases: &[idc], ras: at(1719), signal: at(1720), product: "portunus" })
}

fn seq(octets: &[u8]) -> u16 {
    Message::parse(octets).expect("a message").seq()
}

fn of(request: &[u8]) -> (Kind, u16) {
    let msg = Message::parse(request).expect("a message");
    (msg.kind(), msg.seq())
}

impl Dialect for Endpoints {
    fn signalling(&self) -> &'static dyn Signalling {
        &Ras
    }

    fn idcs(&self) -> [&'static str; 2] {
        ["studio-3", "größe-𝄞"]
    }

    fn has_receipts(&self) -> bool {
        false
    }

    fn s1(&self, t: u32, s1: &S1<'_>) -> Vec<u8> {
        endpoint(s1.idc.as_str(), |e| write(|w| terminal::write_s1(e, t as u16, s1, w)))
    }

    fn s7(&self, t: u32, _: &[u8], s7: &S7<'_>) -> Vec<u8> {
        endpoint(s7.idc.as_str(), |e| write(|w| terminal::write_s7(e, t as u16, TTL, s7, w)))
    }

    fn said(&self, octets: &[u8]) -> Said {
        let mut text = Text::new();
        let Ok(reply) = terminal::read_answer(octets, &mut text) else { return Said::Receipt { error: true } };
        match reply.answer {
            Answer::Challenge(s6) => Said::Challenge { n1: s6.n1, n2: s6.n2.to_vec(), rand: s6.rand },
            Answer::Cookie { cookie, .. } => Said::Cookie(cookie.to_vec()),
            Answer::Stale { ts, .. } => Said::Refused(Refusal::Stale { ts }),
            Answer::Key { .. } => Said::Key,
            Answer::Refused(refusal) => Said::Refused(refusal),
            Answer::Provisional(_) | Answer::Granted(_) => Said::Receipt { error: false },
        }
    }

    fn key(&self, octets: &[u8]) -> Option<Key> {
        let mut text = Text::new();
        let Answer::Key { s10, mac } = terminal::read_answer(octets, &mut text).ok()?.answer else { return None };
        let (sel, mechs) = (s10.sel.to_owned(), s10.mechs.to_owned());
        Some(Key { n1: s10.n1, n2: s10.n2, ekc: s10.ekc, sel, mechs, mac: mac.field.clone(), mac_value: mac.value })
    }

    fn asked(&self, octets: &[u8]) -> Asked {
        let msg = Message::parse(octets).expect("a message");
        let mut text = Text::new();
        match core::read(&msg, &mut text).expect("readable") {
            Ask::S2(s2) => Asked::S2 { idc: s2.idc.as_str().into(), n1: s2.n1 },
            Ask::S8(s8) => Asked::S8 { idc: s8.idc.as_str().into(), rand: s8.rand, word: s8.auth_c },
            Ask::None => Asked::Other,
        }
    }

    fn receipt(&self, _: &[u8]) -> Option<Vec<u8>> {
        None
    }

    fn s5(&self, _: u32, request: &[u8], idsp: Idsp<'_>, idc: Idc<'_>, n1: &N1, rand: &Rand) -> Vec<u8> {
        write(|w| core::write_s5(of(request), idc, idsp, n1, rand, w))
    }

    fn s9(&self, _: u32, request: &[u8], idsp: Idsp<'_>, idc: Idc<'_>, rand: &Rand, s9: &S9) -> Vec<u8> {
        let aliases = [idc.as_str()];
        let confirmed =
            Confirmed { signal: at(1720), aliases: &aliases, gatekeeper_id: "gk", endpoint_id: ID, ttl: TTL };
        write(|w| core::write_s9(seq(request), &confirmed, idc, idsp, rand, s9, w))
    }

    fn fail(&self, _: u32, request: &[u8], idsp: Idsp<'_>, idc: Idc<'_>, named: Named) -> Vec<u8> {
        let named = match &named {
            Named::N1(n1) => core::Named::N1(n1),
            Named::Rand(rand) => core::Named::Rand(rand),
        };
        write(|w| core::write_refusal(of(request), idc, idsp, &named, &Refusal::Denied, w))
    }

    fn request(&self, t: u32, idc: &str) -> Vec<u8> {
        write(|w| ras::admission_request(t as u16, ID, &[idc], &["bob"], &CALL, false, 640, w))
    }

    fn granted(&self, request: &[u8]) -> Vec<u8> {
        let seq = seq(request);
        match of(request).0 {
            Kind::AdmissionRequest => write(|w| ras::admission_confirm(seq, 640, at(1720), w)),
            Kind::UnregistrationRequest => write(|w| ras::confirm(Kind::UnregistrationConfirm, seq, w)),
            _ => {
                let confirmed =
                    Confirmed { signal: at(1720), aliases: &[], gatekeeper_id: "gk", endpoint_id: ID, ttl: TTL };
                write(|w| ras::registration_confirm(seq, &confirmed, None, w))
            }
        }
    }

    fn rejected(&self, request: &[u8]) -> Vec<u8> {
        let reject = of(request).0.reject().expect("a kind that is rejected");
        write(|w| ras::reject(reject, seq(request), Reason::undefined(reject), None, w))
    }

    fn refresh(&self, t: u32, idc: &str) -> Option<Vec<u8>> {
        let light = Registering::KeepAlive { endpoint_id: ID };
        Some(endpoint(idc, |e| write(|w| ras::registration_request(t as u16, e, TTL, &light, w))))
    }

    fn leave(&self, t: u32, idc: &str) -> Vec<u8> {
        write(|w| ras::unregistration_request(t as u16, at(1720), &[idc], Some(ID), w))
    }

    fn command(&self, t: u32, _: &str) -> Vec<u8> {
        write(|w| ras::info_request(t as u16, 0, w))
    }

    fn done(&self, command: &[u8], idc: &str) -> Vec<u8> {
        endpoint(idc, |e| write(|w| ras::info_request_response(seq(command), e, ID, false, w)))
    }
}
