//! MGCP: the call agent's part.

use super::{Core, Did, transaction};
use portunus_codec::Writer;
use portunus_keydist::ident::N1;
use portunus_keydist::steps::{Refusal, S5};
use portunus_mgcp::carriage::core::{Ask, Txn, challenged, read, write_fail, write_s5, write_s9};
use portunus_mgcp::code::OK;
use portunus_mgcp::view::Message;
use portunus_mgcp::write::response;

pub(super) fn on_request(core: &Core, octets: &[u8], w: &mut Writer<'_>) -> Option<Did> {
    let message = Message::alone(octets).ok()?;
    let registration = read(&message).ok()??;
    let endpoint = challenged(&registration.endpoint);
    match registration.ask {
        Ask::S2(s2) => {
            let rand = core.rand(s2.idc, &s2.n1);
            let txn = Txn { transaction: transaction(&rand, 5), endpoint, x: b"1" };
            write_s5(&txn, &S5 { idc: s2.idc, idsp: s2.idsp, rand }, &s2.n1, w).ok()?;
            Some(Did::Challenged)
        }
        Ask::S8(s8) => {
            let txn = Txn { transaction: transaction(&s8.rand, 9), endpoint, x: registration.x };
            match core.vouch(&s8) {
                Some(s9) => {
                    write_s9(&txn, s8.idsp, &s8.rand, &s9, w).ok()?;
                    Some(Did::Granted)
                }
                None => {
                    write_fail(&txn, &Refusal::Denied, Some(&s8.rand), &N1::from_bits(0), w).ok()?;
                    Some(Did::Refused)
                }
            }
        }
    }
}

/// 200 to every command.
pub(super) fn receipt(octets: &[u8], w: &mut Writer<'_>) -> bool {
    let Ok(message) = Message::alone(octets) else { return false };
    let command = message.command().is_some();
    if command {
        response(OK, message.transaction(), w);
    }
    command
}
