//! The AuC from configuration.

use crate::assembly::provisioning::{self, Beside};
use crate::assembly::{aaa, record, store};
use crate::exit::{Exit, Failure};
use crate::key::import_csv;
use portunus_aaa::Realms;
use portunus_aaa::net::Listen;
use portunus_auc::audit::Audit;
use portunus_auc::custody::{Master, MasterKey};
use portunus_auc::postgres::Follower;
use portunus_auc::provision::Provision;
use portunus_auc::store::{Credential, Entry, IfThere, Kind, Stand, Store};
use portunus_auc::{AucConfig, AucHandle, Foreign, ForeignRun, Partner, RunConfig};
use portunus_config::model::{Auc as Model, Digest, ForeignAuc, PartnerAuc};
use portunus_keydist::{Key, Random as _, SystemRandom};
use serde_json::json;
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

/// A running AuC, and what keeps its replica even where the database is the system of record.
pub struct Centre {
    /// What stands beside it; ends first.
    pub beside: Beside,
    /// The AuC.
    pub handle: Arc<AucHandle>,
    /// Where keys are given and taken.
    pub record: Arc<dyn Provision>,
    /// What follows the database.
    pub follower: Option<Follower>,
    /// How far the replica followed when the node began to answer from it.
    pub began: Option<Stand>,
}

impl Centre {
    /// False when a thread ended by itself, which is a fault of ours.
    pub fn is_running(&self) -> bool {
        self.beside.is_running() && self.handle.is_running() && self.follower.as_ref().is_none_or(Follower::is_running)
    }

    /// What the node began to answer from, in words; `None` where its store is the system of record.
    pub fn replica(&self) -> Option<String> {
        let Stand { changes, touched_ms, .. } = self.began.as_ref()?;
        let age = store::wall_ms().saturating_sub(*touched_ms) / 1000;
        Some(match changes {
            Some(n) => format!("replica at change {n}, even {age} s ago"),
            None => format!("replica being copied anew, even {age} s ago"),
        })
    }

    /// How the database is followed, for machines; `None` where there is none.
    pub fn database(&self) -> Option<serde_json::Value> {
        let s = self.follower.as_ref()?.status();
        let named: Vec<_> = s.refused_named.iter().map(|(kind, id)| json!({ "kind": kind, "id": id })).collect();
        Some(json!({
            "reached": s.reached, "changes": s.changes, "even_ms": s.even_ms, "written": s.written,
            "removed": s.removed, "refused": s.refused, "refused_named": named, "copies": s.copies,
            "failures": s.failures, "failure": s.failure,
        }))
    }

    /// Stops: what was taken is recorded and acknowledged first.
    pub fn stop(self) {
        drop(self.beside);
        drop(self.follower);
        drop(self.handle);
    }
}

/// Starts an AuC: opens its store, has it made even with the database when it never was, imports what is not known yet,
/// opens its listeners.
///
/// # Errors
/// What is wrong with the store, the files or the addresses; a node without a copy needs the database once.
pub fn start(model: &Model, master: &dyn Master, lab: bool) -> Result<Centre, Failure> {
    let listen = aaa::listeners(model, lab)?;
    let database = record::database(model, lab, master)?.map(Arc::new);
    let store = Arc::new(store::looked_at(store::open_with(&model.store, master)?)?);
    let followed = database.clone().map(|database| Follower::start(store.clone(), database));
    let (follower, began) = followed.transpose().map_err(store::fault)?.unzip();
    let record: Arc<dyn Provision> = match database {
        Some(database) => database,
        None => store.clone(),
    };
    if let Some(csv) = &model.import {
        match import_csv(&*record, csv, lab, &model.devices, None, IfThere::Keep) {
            Ok(stored) => tracing::info!(added = stored.added, known = stored.kept, "subscribers imported"),
            // The next start does it, or another node.
            Err(e) if e.exit == Exit::Unreachable => tracing::warn!("not imported: {}", e.what),
            Err(e) => return Err(e),
        }
    }
    let audit = Arc::new(audit(model)?);
    let has = |d| model.digests.contains(&d);
    let config =
        AucConfig { realms: model.realms.clone(), digest_sha256: has(Digest::Sha256), digest_md5: has(Digest::Md5) };
    let among = (foreign(model, lab)?, partners(model));
    let handle = Arc::new(run(config, (listen, among), store.clone(), model.open_keys, Some(audit.clone()))?);
    let elsewhere = follower.is_some().then(|| record.clone());
    let beside = provisioning::start(model, (&handle, store), elsewhere, audit)?;
    Ok(Centre { beside, handle, record, follower, began })
}

/// The AuCs of other domains, as they are asked.
fn foreign(model: &Model, lab: bool) -> Result<Vec<ForeignRun>, Failure> {
    let own = model.realms.first().map_or("", String::as_str);
    let each = |f: &ForeignAuc| -> Result<ForeignRun, Failure> {
        let key = Key::new(*portunus_config::read_key(&f.key, &f.identity, lab)?);
        let known: Vec<Arc<str>> = f.realms.iter().map(|r| Arc::from(r.as_str())).collect();
        let realms = Realms::new(own, &[], core::iter::once(known.as_slice()));
        let links = aaa::links(&f.aaa, (&f.identity, realms), lab)?;
        Ok(ForeignRun { foreign: Foreign { realms: f.realms.clone(), key }, links })
    };
    model.foreign.iter().map(each).collect()
}

/// Those that ask us.
fn partners(model: &Model) -> Vec<Partner> {
    let each = |p: &PartnerAuc| Partner { client: p.client.clone(), device: p.device.clone() };
    model.partners.iter().map(each).collect()
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
    (listen, among): (Vec<Listen>, (Vec<ForeignRun>, Vec<Partner>)),
    store: Arc<Store>,
    open_keys: usize,
    audit: Option<Arc<Audit>>,
) -> Result<AucHandle, Failure> {
    let config = RunConfig { auc, listen, open_keys };
    portunus_auc::start_among(config, among, store, audit).map_err(|e| Failure::io("opening the AuC's listeners", &e))
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
    run(config, (listen, Default::default()), Arc::new(store), TOGETHER, None)
}
