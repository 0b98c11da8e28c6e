//! H.323 RAS.

use super::{Dialect, Edit, Said, Speaker, written};
use core::net::SocketAddr;
use portunus_h323::carriage::core::{Ask, read, write_s9};
use portunus_h323::carriage::terminal::{Answer, read_answer, write_s1, write_s7};
use portunus_h323::view::{Element, Kind, Message};
use portunus_h323::write::{self as ras, Call, Confirmed, Endpoint, Registering, Tok};
use portunus_keydist::steps::{S1, S7, S9};
use portunus_keydist::{Idsp, Rand};
use portunus_signalling::{Signalling, Text};

/// See the module.
pub(super) struct Ras;

/// What may stand in a message is as long as what stood there: everything else moves the rest.
const EDITS: &[Edit] = &[
    Edit::Octets(b"q=1.0", b"q=0.1"),
    Edit::Octets(b"q=0.9", b"q=0.2"),
    Edit::Octets(b"x-pkd-sealed", b"ipsec-man;q="),
    Edit::Octets(b"port=5065", b"port=5066"),
    Edit::Octets(b"\0a\0l\0i\0c\0e", b"\0c\0a\0r\0o\0l"),
    Edit::Octets(&[10, 0, 0], &[10, 9, 9]),
    Edit::Octets(b"kid=00", b"kid=01"),
];

fn described<R>(who: &Speaker<'_>, f: impl FnOnce(&Endpoint<'_>) -> R) -> R {
    let signal = SocketAddr::new(who.at.ip(), 1720);
    f(&Endpoint { aliases: &[who.idc.as_str()], ras: who.at, signal, product: "evil" })
}

/// An alias as text.
fn alias(msg: &Message<'_>) -> Option<String> {
    let mut room = [0u8; 3 * 128];
    let len = msg.aliases().next()?.put(&mut room)?;
    room.get(..len).map(|text| String::from_utf8_lossy(text).into_owned())
}

impl Dialect for Ras {
    fn signalling(&self) -> &'static dyn Signalling {
        &portunus_h323::Ras
    }

    fn port(&self) -> u16 {
        1719
    }

    fn idc(&self, name: &str) -> String {
        name.to_owned()
    }

    fn s1(&self, who: &Speaker<'_>, s1: &S1<'_>) -> Option<Vec<u8>> {
        described(who, |e| written(|w| write_s1(e, who.number as u16, s1, w)))
    }

    fn s7(&self, who: &Speaker<'_>, _: &[u8], s7: &S7<'_>) -> Option<Vec<u8>> {
        described(who, |e| written(|w| write_s7(e, who.number as u16, 300, s7, w)))
    }

    fn said<'m>(&self, msg: &'m [u8], text: &'m mut Text) -> Result<Said<'m>, String> {
        let kind = Message::parse(msg).map_err(|fault| format!("{fault:?}"))?.kind();
        Ok(match read_answer(msg, text).map(|reply| reply.answer) {
            Ok(Answer::Challenge(s6)) => Said::Challenge { idc: None, s6 },
            Ok(Answer::Cookie { n1, cookie, .. }) => Said::Cookie { n1, cookie },
            Ok(Answer::Key { s10, mac }) => Said::Key { idc: None, s10, mac: mac.field, mac_value: mac.value },
            Ok(Answer::Granted(_)) => Said::Granted,
            _ if kind.reject().is_some() || self.is_request(msg) => Said::Request,
            _ => Said::Harmless,
        })
    }

    fn s8(&self, msg: &[u8]) -> Option<Rand> {
        match read(&Message::parse(msg).ok()?, &mut Text::new()).ok()? {
            Ask::S8(s8) => Some(s8.rand),
            Ask::S2(_) | Ask::None => None,
        }
    }

    fn bears(&self, msg: &[u8]) -> Option<String> {
        let msg = Message::parse(msg).ok()?;
        // An answering endpoint's request names the caller.
        alias(&msg).filter(|_| !msg.answer_call())
    }

    fn is_request(&self, msg: &[u8]) -> bool {
        Message::parse(msg).is_ok_and(|msg| msg.kind().reject().is_some() || msg.kind() == Kind::InfoRequest)
    }

    fn edits(&self) -> &'static [Edit] {
        EDITS
    }

    fn proofs(&self) -> &'static [(&'static [u8], u8)] {
        &[]
    }

    fn tail(&self) -> &'static [u8] {
        &[0]
    }

    fn instead(&self, msg: &[u8], bits: u64) -> Option<Vec<u8>> {
        let msg = Message::parse(msg).ok()?;
        let kind = match msg.kind() {
            Kind::RegistrationConfirm | Kind::RegistrationReject => Kind::RegistrationReject,
            Kind::GatekeeperReject => Kind::GatekeeperReject,
            _ => return None,
        };
        match bits % 4 {
            0 => written(|w| ras::request_in_progress(msg.seq(), 30_000, w)),
            1 => written(|w| ras::registration_confirm(msg.seq(), &confirmed(&[]), None, w)),
            n => {
                let reason = portunus_h323::view::Reason::Root(n as u8);
                written(|w| ras::reject(kind, msg.seq(), reason, None, w))
            }
        }
    }

    fn plainly(&self, who: &Speaker<'_>, _: &str) -> Option<Vec<u8>> {
        let (seq, aliases) = (who.number as u16, [who.idc.as_str()]);
        match who.bits % 3 {
            0 => written(|w| ras::unregistration_request(seq, who.at, &aliases, None, w)),
            1 => described(who, |e| written(|w| ras::registration_request(seq, e, 300, &Registering::Full(None), w))),
            _ => written(|w| ras::info_request(seq, 0, w)),
        }
    }

    /// s8, s2 and s9, as proxy and gatekeeper write them.
    fn claim(&self, who: &Speaker<'_>, idsp: &str) -> Vec<u8> {
        let (seq, idc, n1) = (who.number as u16, who.idc, format!("{:016x}", who.bits));
        let tok = |n, challenge, elements| {
            let (general_id, senders_id) = (idsp.into(), idc.as_str());
            Tok { n, time_stamp: 1, challenge, general_id, senders_id, elements }
        };
        let claimed = match (who.bits % 3, Idsp::new(idsp)) {
            (0, _) => {
                let elements = [(Element::AuthC, &[7; 32][..]), (Element::IpC, b"203.0.113.66:1719")];
                let tok = tok(3, Some(&[0; 16][..]), &elements);
                described(who, |e| {
                    written(|w| ras::registration_request(seq, e, 300, &Registering::Full(Some(&tok)), w))
                })
            }
            (1, _) => {
                let elements = [(Element::N1, n1.as_bytes())];
                let tok = tok(1, None, &elements);
                described(who, |e| written(|w| ras::gatekeeper_request(seq, e, Some(&tok), w)))
            }
            (_, Some(idsp)) => {
                let (aliases, s9) = ([idc.as_str()], S9 { ekc: [0; 48], eksp: [0; 48] });
                written(|w| write_s9(seq, &confirmed(&aliases), idc, idsp, &[0; 16], &s9, w))
            }
            (_, None) => None,
        };
        claimed.unwrap_or_default()
    }

    fn inside(&self, who: &Speaker<'_>, other: &str) -> Vec<u8> {
        let (seq, aliases) = (who.number as u16, [other]);
        let said = match who.bits % 4 {
            // Another's registration ended, and taken over.
            0 => written(|w| ras::unregistration_request(seq, who.at, &aliases, None, w)),
            1 => {
                let e = Endpoint { aliases: &aliases, ras: who.at, signal: who.at, product: "evil" };
                written(|w| ras::registration_request(seq, &e, 300, &Registering::Full(None), w))
            }
            // A call in another's name.
            2 => {
                let call = Call { conference: [0xc0; 16], id: [0x1d; 16], reference: 17 };
                written(|w| ras::admission_request(seq, "evil", &aliases, &[who.idc.as_str()], &call, false, 640, w))
            }
            // A step.
            _ => return self.claim(who, "sp1.example.test"),
        };
        said.unwrap_or_default()
    }
}

fn confirmed<'a>(aliases: &'a [&'a str]) -> Confirmed<'a> {
    let signal = SocketAddr::from(([203, 0, 113, 66], 1720));
    Confirmed { signal, aliases, gatekeeper_id: "evil", endpoint_id: "evil", ttl: 300 }
}
