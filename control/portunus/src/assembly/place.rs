//! An AuC's store as a command line names it: where it is, what opens it, and who is told of changes.

use super::store::{master_key, named, open_with, wall_ms};
use super::{auc, record};
use crate::cli::StoreArgs;
use crate::exit::{Exit, Failure};
use crate::out::Out;
use portunus_auc::audit::{Audit, AuditEntry};
use portunus_auc::custody::Master;
use portunus_auc::postgres::Database;
use portunus_auc::provision::Provision;
use portunus_auc::store::Store;
use std::path::PathBuf;

/// See the module.
pub struct Place {
    /// The store's file.
    pub path: PathBuf,
    /// What opens it.
    pub master: Box<dyn Master>,
    /// The system of record, when it is not the store itself.
    pub database: Option<Database>,
    /// Which identities a configuration says are devices.
    pub devices: Vec<String>,
    /// The configuration's audit log; a store that is named alone has none.
    audit: Option<Audit>,
}

impl core::fmt::Debug for Place {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Place").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Place {
    /// Of a command line. `may_make`: a master key may be made where there is none yet, for a store that is new too.
    ///
    /// # Errors
    /// What is wrong with the configuration, the master key or the audit log.
    pub fn of(args: &StoreArgs, may_make: bool, out: Out) -> Result<Self, Failure> {
        if let Some(config) = &args.config {
            let (auc, lab) = crate::key::section(config, out)?;
            let audit = Some(auc::audit(&auc)?);
            let master = master_key(&auc.master_key, may_make && auc.create_master_key)?;
            let database = record::database(&auc, lab, &*master)?;
            return Ok(Self { path: auc.store, master, database, devices: auc.devices, audit });
        }
        // The command line demands either a configuration or both of these.
        let (Some(path), Some(master)) = (&args.store, &args.master_key) else {
            return Err(Failure::new(Exit::Usage, "no store", "name --config, or --store and --master-key"));
        };
        // A key is made for a new store only: with an old one it could not be the right one.
        let master = master_key(&named(master)?, may_make && !path.exists())?;
        Ok(Self { path: path.clone(), master, database: None, devices: Vec::new(), audit: None })
    }

    /// Opens the store, or makes one.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn open(&self) -> Result<Store, Failure> {
        open_with(&self.path, &*self.master)
    }

    /// Where keys are given and taken.
    ///
    /// # Errors
    /// What is wrong with the store, when it is that.
    pub fn provision(self) -> Result<(Box<dyn Provision>, Self), Failure> {
        let Self { database: Some(database), .. } = self else {
            return Ok((Box::new(self.open()?), self));
        };
        Ok((Box::new(database), Self { database: None, ..self }))
    }

    /// Opens the store that is there.
    ///
    /// # Errors
    /// There is none, or what is wrong with it.
    pub fn existing(&self) -> Result<Store, Failure> {
        if !self.path.exists() {
            let what = format!("there is no store at {}", self.path.display());
            return Err(Failure::configuration(what, "name the store of a running AuC, or restore a backup"));
        }
        self.open()
    }

    /// Says who did what, where there is a log for it.
    ///
    /// # Errors
    /// What the file system says.
    pub fn audit(&self, event: &'static str, fields: &[(&'static str, &str)]) -> Result<(), Failure> {
        let Some(audit) = &self.audit else { return Ok(()) };
        let entry = AuditEntry::new(wall_ms(), event, fields);
        audit.append(&[entry]).map_err(|e| Failure::io("writing the audit log", &e))
    }
}
