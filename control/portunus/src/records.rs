//! `portunus store records`: who is registered, as the AuC was told (s11).

use crate::assembly::place::Place;
use crate::assembly::store::fault;
use crate::exit::Failure;
use crate::out::Out;
use crate::out::date;
use portunus_auc::store::Registered;
use portunus_codec::b64_encode;
use serde_json::json;

/// The name of a record on the wire: RADIUS Acct-Session-Id, Diameter Acct-Session-Id.
fn session(rand: &[u8; 16]) -> String {
    let mut text = [0u8; 22];
    b64_encode(rand, &mut text);
    String::from_utf8_lossy(&text).into_owned()
}

/// Shows the records of a store: all, `id`'s, or those of registrations that last.
///
/// # Errors
/// What is wrong with the store or its master key; a record that cannot be read.
pub(crate) fn records(place: &Place, id: Option<&str>, active: bool, out: Out) -> Result<(), Failure> {
    let store = place.existing()?;
    let mut table = comfy_table::Table::new();
    let head = ["identity", "address", "proxy", "softswitch", "since", "last heard of", "until"];
    table.load_preset(comfy_table::presets::NOTHING).set_header(head);
    let mut rows = Vec::new();
    let each = &mut |idc: &str, registered: Registered| {
        let Registered { record, softswitch, ended_ms } = registered;
        if id.is_some_and(|id| id != idc) || (active && ended_ms.is_some()) {
            return true;
        }
        let address = record.ipc.ip().to_string();
        if out.json {
            rows.push(json!({
                "id": idc, "address": address, "proxy": record.idsp, "softswitch": softswitch,
                "session": session(&record.rand), "since_ms": record.since_ms, "seen_ms": record.seen_ms,
                "ended_ms": ended_ms,
            }));
        } else {
            let softswitch = softswitch.unwrap_or_else(|| "not said".into());
            let until = ended_ms.map_or_else(|| "lasts".into(), date);
            table.add_row([
                idc.into(),
                address,
                record.idsp,
                softswitch,
                date(record.since_ms),
                date(record.seen_ms),
                until,
            ]);
        }
        true
    };
    store.registrations(each).map_err(fault)?;
    out.say(table.to_string());
    out.machine(&json!({ "records": rows }));
    Ok(())
}
