//! SIP: the registrar's part.

use super::{Core, Did};
use portunus_codec::Writer;
use portunus_sip::carriage::core::{self as carriage, Ask, Granted};
use portunus_sip::view::{Addr, Message, Method};

pub(super) fn on_request(core: &Core, octets: &[u8], w: &mut Writer<'_>) -> Option<Did> {
    let message = Message::parse(octets).ok()?;
    if !message.is_request() || message.method() == Method::Ack {
        return None;
    }
    if message.method() != Method::Register {
        carriage::write_status(&message, "core", 200, "OK", None, w).ok()?;
        return Some(Did::Answered);
    }
    let register = carriage::read_register(&message).ok()?;
    match register.ask {
        Ask::S2(s2) => {
            let rand = core.rand(s2.idc, &s2.n1);
            carriage::write_s5(&message, "core", &core.realm, s2.idsp, &rand, w).ok()?;
            Some(Did::Challenged)
        }
        Ask::S8(s8) => match core.vouch(&s8) {
            Some(s9) => {
                carriage::write_s9(&message, "core", &s9, &bindings(&message), w).ok()?;
                Some(Did::Granted)
            }
            None => {
                carriage::write_status(&message, "core", 403, "Forbidden", None, w).ok()?;
                Some(Did::Refused)
            }
        },
        Ask::Refresh => {
            carriage::write_granted(&message, "core", &bindings(&message), w).ok()?;
            Some(Did::Refreshed)
        }
        Ask::DigestChallenge | Ask::DigestAnswer { .. } => {
            carriage::write_status(&message, "core", 403, "Forbidden", None, w).ok()?;
            Some(Did::Refused)
        }
    }
}

/// REGISTER is granted what it asks for, anything else that wants an answer gets 200.
pub(super) fn inside(text: &[u8], w: &mut Writer<'_>) -> Option<()> {
    let message = Message::parse(text).ok().filter(Message::is_request)?;
    match message.method() {
        Method::Ack => None,
        Method::Register => carriage::write_granted(&message, "core", &bindings(&message), w).ok(),
        _ => carriage::write_status(&message, "core", 200, "OK", None, w).ok(),
    }
}

/// The Contacts of a REGISTER, each granted what it asks for.
fn bindings<'m>(message: &Message<'m>) -> Vec<Granted<'m>> {
    let granted = |a: Addr<'m>| {
        let expires = message.contact_expires(&a).unwrap_or(3_600);
        (expires > 0).then_some(Granted { uri: a.uri, expires })
    };
    message.contacts().filter_map(granted).collect()
}
