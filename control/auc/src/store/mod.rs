//! The embedded store: subscribers, devices, registrations.
//!
//! Credentials are sealed one by one; identities, times and registrations are readable to whoever can read the file.
//! Several processes may have the store open (`key add` beside a running AuC); one write transaction is under way at a
//! time. What was acknowledged survives a crash at any moment.

pub mod backup;
mod codes;
mod file;
mod keys;
mod moment;
mod pages;
mod previous;
mod record;
mod registrations;
mod rekey;
mod replica;
mod sealed;
mod sealing;
mod tokens;
mod types;
mod verify;

pub use codes::{CodeListed, Issued, Redemption, Whose};
pub use moment::Moment;
pub(crate) use pages::met;
pub use pages::{If, Tag};
pub(crate) use previous::row as former_row;
pub use registrations::Registered;
pub use replica::Stand;
pub(crate) use replica::{Applied, Batch, Row};
pub(crate) use sealing::{fits, former, row_anew, seal, unseal, unseal_former};
pub use types::{Credential, Entry, IfThere, Kind, Listed, Space, StoreError, Stored};
pub use verify::{Depth, Verified};

use crate::custody::Master;
use core::fmt;
use core::ops::Bound;
use file::File;
use keys::Keys;
use portunus_keydist::Random;
use portunus_keydist::auc::Decoy;
use record::Head;
use redb::{ReadableTable as _, ReadableTableMetadata as _, TableDefinition};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const SUBSCRIBERS: TableDefinition<'static, &str, &[u8]> = TableDefinition::new("subscribers");
const DEVICES: TableDefinition<'static, &str, &[u8]> = TableDefinition::new("devices");
const REGISTRATIONS: TableDefinition<'static, &str, &[u8]> = TableDefinition::new("registrations");
/// Keys that identities had before, while they still work.
const PREVIOUS: TableDefinition<'static, &str, &[u8]> = TableDefinition::new("previous");
/// Who may use the provisioning interface.
const TOKENS: TableDefinition<'static, &str, &[u8]> = TableDefinition::new("tokens");
/// Activation codes.
const CODES: TableDefinition<'static, &str, &[u8]> = TableDefinition::new("codes");
/// Tables whose rows are partly in clear and partly sealed, and what a row of each is called.
const ROWS: [(sealed::Table, &str); 2] = [(TOKENS, "token"), (CODES, "activation code")];
const META: TableDefinition<'static, &str, &[u8]> = TableDefinition::new("meta");
/// Sealed at the store's making, to tell a wrong master key before anything else is tried.
const CHECK: &str = "master-key check";
/// Counts changes of credentials, for caches in other processes.
const GENERATION: &str = "generation";
/// The layout: u32; absent in the first one.
const SCHEMA: &str = "schema";
/// The working keys, wrapped.
const ENVELOPE: &str = "envelope";

const fn definition(space: Space) -> TableDefinition<'static, &'static str, &'static [u8]> {
    match space {
        Space::Subscriber => SUBSCRIBERS,
        Space::Device => DEVICES,
    }
}

/// The store. Shared between threads as it stands.
pub struct Store {
    db: File,
    path: PathBuf,
    keys: Keys,
    /// Changed with every change of a credential in this process.
    changes: AtomicU64,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Store {
    /// Opens the store, or makes one, readable by its owner only.
    ///
    /// # Errors
    /// [`StoreError::WrongMasterKey`]; [`StoreError::Custody`] when a token does not answer; [`StoreError::Unwrapped`];
    /// [`StoreError::Backend`] for anything else.
    pub fn open(path: &Path, master: &dyn Master, rng: &mut dyn Random) -> Result<Self, StoreError> {
        let backend = |what: String| StoreError::Backend { path: path.to_path_buf(), what };
        private_file(path).map_err(|e| backend(e.to_string()))?;
        let fault = |e: redb::Error| backend(e.to_string());
        let db = File::open(path).map_err(fault)?;
        let known = Self::keys_of(&db, path, master, rng)?;
        let keys = match known {
            Some(keys) => keys,
            None => Self::make(&db, path, master, rng)?,
        };
        Ok(Self { db, path: path.to_path_buf(), keys, changes: AtomicU64::new(0) })
    }

    /// The keys of a store that has all it needs: it is opened without writing, even on a full disk.
    fn keys_of(db: &File, path: &Path, master: &dyn Master, rng: &mut dyn Random) -> Result<Option<Keys>, StoreError> {
        let fault = |e: redb::Error| StoreError::Backend { path: path.to_path_buf(), what: e.to_string() };
        let txn = db.begin_read().map_err(fault)?;
        for table in [SUBSCRIBERS, PREVIOUS, DEVICES, REGISTRATIONS, TOKENS, CODES, META] {
            match txn.open_table(table) {
                Err(redb::TableError::TableDoesNotExist(_)) => return Ok(None),
                opened => drop(opened.map_err(|e| fault(e.into()))?),
            }
        }
        let meta = txn.open_table(META).map_err(|e| fault(e.into()))?;
        Keys::of(&keys::reader(&meta, path), path, master, rng)
    }

    /// Makes what a store needs.
    fn make(db: &File, path: &Path, master: &dyn Master, rng: &mut dyn Random) -> Result<Keys, StoreError> {
        let fault = |e: redb::Error| StoreError::Backend { path: path.to_path_buf(), what: e.to_string() };
        let txn = db.begin_write().map_err(fault)?;
        let keys = {
            for table in [SUBSCRIBERS, PREVIOUS, DEVICES, REGISTRATIONS, TOKENS, CODES] {
                txn.open_table(table).map_err(|e| fault(e.into()))?;
            }
            let mut meta = txn.open_table(META).map_err(|e| fault(e.into()))?;
            Keys::open(&mut meta, path, master, rng)?
        };
        txn.commit().map_err(|e| fault(e.into()))?;
        Ok(keys)
    }

    fn fault(&self, e: impl Into<redb::Error>) -> StoreError {
        StoreError::Backend { path: self.path.clone(), what: e.into().to_string() }
    }

    /// The source of keys for identities that do not exist.
    pub fn decoy(&self) -> Decoy {
        Decoy::new(self.keys.now().custody.decoy())
    }

    /// The credential of an identity; `None` when there is none, which costs the same.
    ///
    /// # Errors
    /// [`StoreError::Record`] for a damaged record, [`StoreError::Backend`].
    pub fn credential(&self, space: Space, id: &str) -> Result<Option<Credential>, StoreError> {
        self.credential_in(&self.moment()?, space, id)
    }

    /// Puts credentials into the store, all or none, in one transaction that is durable when this returns.
    ///
    /// # Errors
    /// [`StoreError::Malformed`], [`StoreError::Exists`] (under [`IfThere::Refuse`]), [`StoreError::Backend`].
    pub fn put(
        &self,
        now_ms: u64,
        entries: &[Entry],
        if_there: IfThere,
        rng: &mut dyn Random,
    ) -> Result<Stored, StoreError> {
        let txn = self.db.begin_write().map_err(|e| self.fault(e))?;
        let stored = self.put_in(&txn, now_ms, entries, if_there, rng)?;
        txn.commit().map_err(|e| self.fault(e))?;
        self.changes.fetch_add(1, Ordering::Release);
        Ok(stored)
    }

    fn put_in(
        &self,
        txn: &redb::WriteTransaction,
        now_ms: u64,
        entries: &[Entry],
        if_there: IfThere,
        rng: &mut dyn Random,
    ) -> Result<Stored, StoreError> {
        let mut stored = Stored::default();
        self.own_in(txn)?;
        let keys = self.keys_in(txn, rng)?;
        for entry in entries {
            let Entry { id, kind, .. } = entry;
            sealing::fits(entry)?;
            let space = kind.space();
            let mut table = txn.open_table(definition(space)).map_err(|e| self.fault(e))?;
            let old = table.get(id.as_str()).map_err(|e| self.fault(e))?.map(|v| Head::read(v.value()));
            let made_ms = match (&old, if_there) {
                (None, _) => now_ms,
                (Some(_), IfThere::Refuse) => return Err(StoreError::Exists { space, id: id.clone() }),
                (Some(_), IfThere::Keep) => {
                    stored.kept += 1;
                    continue;
                }
                (Some(head), IfThere::Replace) => head.map_or(now_ms, |h| h.made_ms),
            };
            let value = seal(&keys.custody, entry, (made_ms, now_ms), rng)?;
            table.insert(id.as_str(), value.as_slice()).map_err(|e| self.fault(e))?;
            if old.is_some() {
                self.forget_previous(txn, space, id)?;
            }
            *(if old.is_some() { &mut stored.replaced } else { &mut stored.added }) += 1;
        }
        if stored.added + stored.replaced > 0 {
            self.count_change(txn)?;
        }
        Ok(stored)
    }

    /// Removes an identity, and a subscriber's registration with it.
    ///
    /// # Errors
    /// [`StoreError::Missing`], [`StoreError::Backend`].
    pub fn remove(&self, space: Space, id: &str) -> Result<(), StoreError> {
        self.remove_if(space, id, If::Any)
    }

    fn remove_in(&self, txn: &redb::WriteTransaction, space: Space, id: &str) -> Result<(), StoreError> {
        self.own_in(txn)?;
        let mut table = txn.open_table(definition(space)).map_err(|e| self.fault(e))?;
        if table.remove(id).map_err(|e| self.fault(e))?.is_none() {
            return Err(StoreError::Missing { space, id: id.to_owned() });
        }
        self.forget_previous(txn, space, id)?;
        if space == Space::Subscriber {
            let mut registrations = txn.open_table(REGISTRATIONS).map_err(|e| self.fault(e))?;
            registrations.remove(id).map_err(|e| self.fault(e))?;
        }
        self.count_change(txn)
    }

    /// The working keys of a write transaction: nobody else can change them before it ends.
    fn keys_in(&self, txn: &redb::WriteTransaction, rng: &mut dyn Random) -> Result<Arc<keys::Open>, StoreError> {
        let meta = txn.open_table(META).map_err(|e| self.fault(e))?;
        self.keys.refresh(&keys::reader(&meta, &self.path), &self.path, rng)?;
        Ok(self.keys.now())
    }

    fn count_change(&self, txn: &redb::WriteTransaction) -> Result<(), StoreError> {
        let mut meta = txn.open_table(META).map_err(|e| self.fault(e))?;
        let octets = meta.get(GENERATION).map_err(|e| self.fault(e))?.map(|v| v.value().try_into().unwrap_or([0; 8]));
        let next = octets.map_or(0, u64::from_be_bytes).wrapping_add(1);
        meta.insert(GENERATION, next.to_be_bytes().as_slice()).map_err(|e| self.fault(e))?;
        Ok(())
    }

    /// Changes of credentials by this process; cheap.
    pub fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    /// Changes of credentials by any process, since the store was made.
    ///
    /// # Errors
    /// [`StoreError::Backend`].
    pub fn generation(&self) -> Result<u64, StoreError> {
        self.generation_in(&self.moment()?)
    }

    /// Gives `visit` every credential of a space in the order of identities, without opening any, until it says false.
    ///
    /// # Errors
    /// [`StoreError::Record`] naming one that cannot be read, [`StoreError::Backend`].
    pub fn list(&self, space: Space, visit: &mut dyn FnMut(Listed) -> bool) -> Result<(), StoreError> {
        self.list_after(space, "", visit)
    }

    /// As [`Store::list`], from the identity that comes after `after`.
    ///
    /// # Errors
    /// As [`Store::list`].
    pub fn list_after(
        &self,
        space: Space,
        after: &str,
        visit: &mut dyn FnMut(Listed) -> bool,
    ) -> Result<(), StoreError> {
        let txn = self.db.begin_read().map_err(|e| self.fault(e))?;
        let table = txn.open_table(definition(space)).map_err(|e| self.fault(e))?;
        for row in table.range::<&str>((Bound::Excluded(after), Bound::Unbounded)).map_err(|e| self.fault(e))? {
            let (id, octets) = row.map_err(|e| self.fault(e))?;
            if !visit(listed(space, id.value(), octets.value())?) {
                break;
            }
        }
        Ok(())
    }

    /// What is known of one identity without opening its credential.
    ///
    /// # Errors
    /// [`StoreError::Record`] when it cannot be read, [`StoreError::Backend`].
    pub fn listed(&self, space: Space, id: &str) -> Result<Option<Listed>, StoreError> {
        let txn = self.db.begin_read().map_err(|e| self.fault(e))?;
        let table = txn.open_table(definition(space)).map_err(|e| self.fault(e))?;
        let found = table.get(id).map_err(|e| self.fault(e))?;
        found.map(|octets| listed(space, id, octets.value())).transpose()
    }

    /// How many identities a space has.
    ///
    /// # Errors
    /// [`StoreError::Backend`].
    pub fn count(&self, space: Space) -> Result<u64, StoreError> {
        let txn = self.db.begin_read().map_err(|e| self.fault(e))?;
        let table = txn.open_table(definition(space)).map_err(|e| self.fault(e))?;
        table.len().map_err(|e| self.fault(e))
    }
}

/// What a record says of itself.
pub(crate) fn listed(space: Space, id: &str, octets: &[u8]) -> Result<Listed, StoreError> {
    let head = Head::read(octets).ok_or_else(|| StoreError::Record { noun: space.noun(), id: id.to_owned() })?;
    let Head { kind, made_ms, rotated_ms } = head;
    Ok(Listed { id: id.to_owned(), kind, made_ms, rotated_ms })
}

/// Makes the file with mode 0600 when there is none.
fn private_file(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let made = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    match made {
        Err(e) if e.kind() != std::io::ErrorKind::AlreadyExists => Err(e),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
