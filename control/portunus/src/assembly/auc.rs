//! The AuC from configuration.

use crate::assembly::{aaa, store};
use crate::exit::Failure;
use crate::key::import_csv;
use portunus_aaa::net::Listen;
use portunus_auc::audit::Audit;
use portunus_auc::custody::{Master, MasterKey};
use portunus_auc::store::{Credential, Entry, IfThere, Kind, Store};
use portunus_auc::{AucConfig, AucHandle, RunConfig};
use portunus_config::model::{Auc as Model, Digest};
use portunus_keydist::{Key, Random as _, SystemRandom};
use std::path::Path;
use std::sync::Arc;

/// Octets after which a new audit file is begun.
pub const AUDIT_MAX: u64 = 64 << 20;

/// The master key of an AuC: apart from its start, because a token's module is loaded from places and with calls that the
/// process gives up afterwards.
///
/// # Errors
/// What is wrong with its place.
pub fn master(model: &Model) -> Result<Box<dyn Master>, Failure> {
    store::master_key(&model.master_key, model.create_master_key)
}

/// Starts an AuC: opens its store, imports what it does not know yet, opens its listeners.
///
/// # Errors
/// What is wrong with the store, the files or the addresses.
pub fn start(model: &Model, master: &dyn Master, lab: bool) -> Result<AucHandle, Failure> {
    let listen = aaa::listeners(model, lab)?;
    let store = store::looked_at(store::open_with(&model.store, master)?)?;
    if let Some(csv) = &model.import {
        let stored = import_csv(&store, csv, lab, &model.devices, None, IfThere::Keep)?;
        tracing::info!(added = stored.added, known = stored.kept, "subscribers imported");
    }
    let audit = audit(model)?;
    let has = |d| model.digests.contains(&d);
    let config =
        AucConfig { realms: model.realms.clone(), digest_sha256: has(Digest::Sha256), digest_md5: has(Digest::Md5) };
    run(config, listen, store, model.open_keys, Some(Arc::new(audit)))
}

/// Opens the audit log of a configuration.
///
/// # Errors
/// What the file system says, or that the file is not such a log.
pub fn audit(model: &Model) -> Result<Audit, Failure> {
    store::folder_of(&model.audit_log)?;
    Audit::open(&model.audit_log, AUDIT_MAX)
        .map_err(|e| Failure::io(&format!("opening the audit log {}", model.audit_log.display()), &e))
}

fn run(
    auc: AucConfig,
    listen: Vec<Listen>,
    store: Store,
    open_keys: usize,
    audit: Option<Arc<Audit>>,
) -> Result<AucHandle, Failure> {
    let config = RunConfig { auc, listen, open_keys };
    portunus_auc::start(config, Arc::new(store), audit).map_err(|e| Failure::io("opening the AuC's listeners", &e))
}

/// Entries a transaction when a demonstration's store is filled.
const TOGETHER: usize = 20_000;

/// An AuC for a demonstration: a store in `folder` under a master key that nobody keeps.
///
/// # Errors
/// What the host says.
pub fn temporary(
    folder: &Path,
    realm: &str,
    listen: Vec<Listen>,
    subscribers: impl Iterator<Item = (String, [u8; 32])>,
    devices: [(String, [u8; 32]); 2],
) -> Result<AucHandle, Failure> {
    let mut rng = SystemRandom::new();
    let master = MasterKey::new(rng.array());
    let store = store::open_with(&folder.join("auc.redb"), &master)?;
    let entry = |kind| move |(id, key)| Entry { id, kind, credential: Credential::Key(Key::new(key)) };
    let mut all = subscribers.map(entry(Kind::Terminal)).chain(devices.map(entry(Kind::Device)));
    loop {
        let batch: Vec<Entry> = all.by_ref().take(TOGETHER).collect();
        if batch.is_empty() {
            break;
        }
        store.put(store::wall_ms(), &batch, IfThere::Refuse, &mut rng).map_err(store::fault)?;
    }
    let config = AucConfig { realms: vec![realm.to_owned()], digest_sha256: false, digest_md5: false };
    run(config, listen, store, TOGETHER, None)
}
