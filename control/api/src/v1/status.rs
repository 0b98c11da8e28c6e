//! `/v1/health`, `/v1/ready`, `/v1/counters`, `/v1/openapi.json`.

use crate::problem::Problem;
use crate::service::{Call, Reply};
use portunus_auc::store::Space;
use serde_json::json;

/// Something answers here.
pub(crate) fn health(_: &mut Call<'_>) -> Result<Reply, Problem> {
    Ok(Reply::json(200, &json!({ "status": "ok" })))
}

/// The AuC answers, and its store can be read.
pub(crate) fn ready(call: &mut Call<'_>) -> Result<Reply, Problem> {
    call.service.records.store().generation()?;
    let running = (call.service.watch)()["running"].as_bool() == Some(true);
    let stopped = || Problem::new(503, "stopped", "the AuC's loop does not run", "see the log; restart it").after(5);
    if running { Ok(Reply::json(200, &json!({ "status": "ready" }))) } else { Err(stopped()) }
}

pub(crate) fn counters(call: &mut Call<'_>) -> Result<Reply, Problem> {
    let store = call.service.records.store();
    let (subscribers, devices) = (store.count(Space::Subscriber)?, store.count(Space::Device)?);
    let api = call.service.counters();
    let value = json!({ "auc": (call.service.watch)(), "api": api, "subscribers": subscribers, "devices": devices });
    Ok(Reply::json(200, &value))
}

pub(crate) fn openapi(_: &mut Call<'_>) -> Result<Reply, Problem> {
    let mut reply = Reply::empty(200);
    reply.content_type = Some("application/json");
    reply.body.extend_from_slice(crate::OPENAPI.as_bytes());
    Ok(reply)
}
