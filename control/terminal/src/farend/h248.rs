//! H.248: the media gateway controller's part.

use super::{Core, Did, transaction};
use portunus_codec::Writer;
use portunus_h248::carriage::core::{FromProxy, read, write_refusal, write_s5, write_s9};
use portunus_h248::carriage::message::{Sender, write_reply};
use portunus_h248::view::Message;
use portunus_keydist::ident::{Idc, N1};
use portunus_keydist::steps::{Refusal, S5};

fn controller(version: u8) -> Option<Sender<'static>> {
    Some(Sender { idc: Idc::new("mgc.example.test")?, version })
}

pub(super) fn on_request(core: &Core, octets: &[u8], w: &mut Writer<'_>) -> Option<Did> {
    let message = Message::parse(octets).ok()?;
    match read(&message).ok()?? {
        FromProxy::Register { version, s2, .. } => {
            let rand = core.rand(s2.idc, &s2.n1);
            let s5 = S5 { idc: s2.idc, idsp: s2.idsp, rand };
            write_s5(&controller(version)?, transaction(&rand, 5), &s5, &s2.n1, w).ok()?;
            Some(Did::Challenged)
        }
        FromProxy::Response { version, s8, .. } => {
            let (from, id) = (controller(version)?, transaction(&s8.rand, 9));
            match core.vouch(&s8) {
                Some(s9) => {
                    write_s9(&from, id, s8.idsp, &s8.rand, &s9, w).ok()?;
                    Some(Did::Granted)
                }
                None => {
                    let rand = Some(&s8.rand);
                    write_refusal(&from, id, &Refusal::Denied, rand, &N1::from_bits(0), w).ok()?;
                    Some(Did::Refused)
                }
            }
        }
    }
}

/// The reply to a ServiceChange or a Notify of ROOT.
pub(super) fn receipt(octets: &[u8], w: &mut Writer<'_>) -> bool {
    let Ok(message) = Message::parse(octets) else { return false };
    let Some((id, command)) = message.only_command() else { return false };
    let actions = if command.services().is_some() { "C=-{SC=ROOT}" } else { "C=-{N=ROOT}" };
    controller(message.version()).is_some_and(|from| write_reply(&from, id, actions, w).is_ok())
}
