//! H.323 RAS: the gatekeeper's part.

use super::{Core, Did};
use portunus_codec::Writer;
use portunus_h323::carriage::core::{Ask, Named, read, write_refusal, write_s5, write_s9};
use portunus_h323::view::{Kind, Message};
use portunus_h323::write::{Confirmed, admission_confirm, confirm, registration_confirm};
use portunus_keydist::steps::Refusal;
use portunus_signalling::Text;

/// Where it would take calls.
const SIGNAL: ([u8; 4], u16) = ([127, 0, 0, 1], 1720);

/// What a gatekeeper says of itself; the lifetime is what was asked for.
fn confirmed<'a>(message: &Message<'_>, aliases: &'a [&'a str], endpoint_id: &'a str) -> Confirmed<'a> {
    let ttl = message.time_to_live().unwrap_or(3_600);
    Confirmed { signal: SIGNAL.into(), aliases, gatekeeper_id: "core", endpoint_id, ttl }
}

pub(super) fn on_request(core: &Core, octets: &[u8], w: &mut Writer<'_>) -> Option<Did> {
    let message = Message::parse(octets).ok()?;
    let (request, mut text) = ((message.kind(), message.seq()), Text::default());
    match read(&message, &mut text).ok()? {
        Ask::S2(s2) => {
            let rand = core.rand(s2.idc, &s2.n1);
            write_s5(request, s2.idc, s2.idsp, &s2.n1, &rand, w).ok()?;
            Some(Did::Challenged)
        }
        Ask::S8(s8) => match core.vouch(&s8) {
            Some(s9) => {
                let aliases = [s8.idc.as_str()];
                let confirmed = confirmed(&message, &aliases, s8.idc.as_str());
                write_s9(request.1, &confirmed, s8.idc, s8.idsp, &s8.rand, &s9, w).ok()?;
                Some(Did::Granted)
            }
            None => {
                let named = Named::Rand(&s8.rand);
                write_refusal(request, s8.idc, s8.idsp, &named, &Refusal::Denied, w).ok()?;
                Some(Did::Refused)
            }
        },
        Ask::None => None,
    }
}

/// Registrations, admissions and what ends them are confirmed.
pub(super) fn inside(octets: &[u8], w: &mut Writer<'_>) -> Option<()> {
    let message = Message::parse(octets).ok()?;
    let seq = message.seq();
    match message.kind() {
        Kind::RegistrationRequest => registration_confirm(seq, &confirmed(&message, &[], "endpoint"), None, w),
        Kind::AdmissionRequest => admission_confirm(seq, message.bandwidth().unwrap_or(0), SIGNAL.into(), w),
        Kind::DisengageRequest => confirm(Kind::DisengageConfirm, seq, w),
        Kind::UnregistrationRequest => confirm(Kind::UnregistrationConfirm, seq, w),
        _ => return None,
    }
    .ok()
}
