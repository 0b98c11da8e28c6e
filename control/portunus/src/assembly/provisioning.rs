//! What stands beside an AuC: its administrators' interface, and the place where activation codes are redeemed.

use crate::exit::Failure;
use portunus_api::records::Records;
use portunus_api::server::{ServerConfig, ServerHandle};
use portunus_api::service::{Service, ServiceConfig};
use portunus_auc::audit::Audit;
use portunus_auc::provision::Provision;
use portunus_auc::redeem::{RedeemConfig, RedeemHandle};
use portunus_auc::store::Store;
use portunus_auc::{AucHandle, AucStatus};
use portunus_config::model::{Auc, AucApi, AucRedeem};
use serde_json::json;
use std::sync::{Arc, Weak};

/// What stands beside a running AuC; ends in this order when dropped.
#[derive(Debug)]
pub struct Beside {
    api: Option<(ServerHandle, &'static str)>,
    redeem: Option<Arc<RedeemHandle>>,
}

impl Beside {
    /// False when a thread of it ended by itself.
    pub fn is_running(&self) -> bool {
        self.api.as_ref().is_none_or(|(api, _)| api.is_running()) && self.redeem.as_ref().is_none_or(|r| r.is_running())
    }

    /// Where it is reached, in words.
    pub fn addresses(&self) -> impl Iterator<Item = String> {
        let api = self.api.iter().map(|(api, by)| format!("api {by} {}", api.address()));
        api.chain(self.redeem.iter().map(|redeem| format!("codes udp {}", redeem.address())))
    }
}

/// Starts what a configuration has sections for. `record`: the system of record, where that is not the store itself.
///
/// # Errors
/// A certificate that cannot be used, an address that cannot be had.
pub fn start(
    model: &Auc,
    (auc, store): (&Arc<AucHandle>, Arc<Store>),
    record: Option<Arc<dyn Provision>>,
    audit: Arc<Audit>,
) -> Result<Beside, Failure> {
    let redeem = model.redeem.map(|r| redeem(r, &store, record.clone(), audit.clone())).transpose()?;
    let records = match record {
        Some(record) => Records::elsewhere(store, record),
        None => Records::new(store),
    };
    let api = model.api.as_ref().map(|api| serve(api, (auc, redeem.as_ref()), records, audit)).transpose()?;
    Ok(Beside { api, redeem })
}

fn redeem(
    model: AucRedeem,
    store: &Arc<Store>,
    record: Option<Arc<dyn Provision>>,
    audit: Arc<Audit>,
) -> Result<Arc<RedeemHandle>, Failure> {
    let config = RedeemConfig { address: model.address, rate: model.rate };
    let started = portunus_auc::redeem::start(config, store.clone(), record, Some(audit));
    started.map(Arc::new).map_err(|e| Failure::io("opening the AuC's listener for activation codes", &e))
}

fn serve(
    model: &AucApi,
    (auc, redeem): (&Arc<AucHandle>, Option<&Arc<RedeemHandle>>),
    records: Records,
    audit: Arc<Audit>,
) -> Result<(ServerHandle, &'static str), Failure> {
    let tls = model.tls.as_ref().map(|t| portunus_api::tls::server(&t.certificate, &t.key, t.ca.as_deref()));
    let tls = tls.transpose().map_err(|what| Failure::configuration(what, "correct [auc.api]"))?;
    // Whoever watches keeps nothing alive.
    let (watched, redeem) = (Arc::downgrade(auc), redeem.map(Arc::downgrade));
    let watch = Box::new(move || {
        let Some(auc) = watched.upgrade() else { return json!({ "running": false }) };
        let mut all = status(&auc);
        if let Some(redeem) = redeem.as_ref().and_then(Weak::upgrade) {
            all["codes"] = redeem.counters().all().into_iter().map(|(name, n)| (name.to_owned(), json!(n))).collect();
        }
        all
    });
    let by = if tls.is_some() { "https" } else { "http" };
    let config = ServiceConfig { rate: model.rate, import_max: model.import_max.0 };
    let service = Service::new(config, records, Some(audit), watch);
    let config = ServerConfig { address: model.address, tls, connections: model.connections };
    let started = portunus_api::server::start(config, service);
    started.map(|api| (api, by)).map_err(|e| Failure::io("opening the AuC's provisioning interface", &e))
}

/// What an AuC counted, for its administrators.
fn status(auc: &AucHandle) -> serde_json::Value {
    let AucStatus { auc: done, recorded, commits, unrecorded, .. } = auc.status();
    json!({
        "running": auc.is_running(), "vectors": done.vectors, "decoys": done.decoys, "digests": done.digests,
        "rejected": done.rejected, "faults": done.faults, "recorded": recorded, "commits": commits,
        "unrecorded": unrecorded,
    })
}
