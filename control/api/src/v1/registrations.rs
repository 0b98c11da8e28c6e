//! `/v1/registrations`: who is registered where, as the softswitches reported it.

use crate::problem::Problem;
use crate::service::{Call, Reply};
use portunus_keydist::auc::Record;
use serde_json::{Value, json};

fn shown(id: &str, record: &Record) -> Value {
    let session: String = record.rand.iter().map(|octet| format!("{octet:02x}")).collect();
    json!({
        "id": id, "device": record.idsp, "address": record.ipc.ip().to_string(), "session": session,
        "since_ms": record.since_ms, "seen_ms": record.seen_ms,
    })
}

pub(crate) fn list(call: &mut Call<'_>) -> Result<Reply, Problem> {
    let (after, limit) = call.page()?;
    let mut page = Vec::with_capacity(limit + 1);
    call.service.records.store().registrations_after(&after, &mut |id, found| {
        // Those that ended are for `portunus store records`.
        if found.ended_ms.is_none() {
            page.push((id.to_owned(), found.record));
        }
        page.len() <= limit
    })?;
    let more = page.len() > limit;
    page.truncate(limit);
    let next = page.last().filter(|_| more).map(|(id, _)| id);
    let registrations: Vec<_> = page.iter().map(|(id, record)| shown(id, record)).collect();
    Ok(Reply::json(200, &json!({ "registrations": registrations, "next": next })))
}

pub(crate) fn get(call: &mut Call<'_>) -> Result<Reply, Problem> {
    match call.service.records.store().registration(&call.id)? {
        Some(record) => Ok(Reply::json(200, &shown(&call.id, &record))),
        None => {
            let detail = format!("{} is not registered", call.id);
            Err(Problem::new(404, "not-registered", detail, "see /v1/subscribers for whether it exists"))
        }
    }
}
