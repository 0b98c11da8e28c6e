//! The embedded store: subscribers, devices, registrations.
//!
//! Credentials are sealed one by one; identities, times and registrations are readable to whoever can read the file.
//! Several processes may have the store open (`key add` beside a running AuC); one write transaction is under way at a
//! time. What was acknowledged survives a crash at any moment.

pub mod backup;
mod codes;
mod keys;
mod pages;
mod previous;
mod record;
mod rekey;
mod replica;
mod sealed;
mod sealing;
mod tokens;
mod types;
mod verify;

pub use codes::{CodeListed, Issued, Redemption, Whose};
pub(crate) use pages::met;
pub use pages::{If, Tag};
pub(crate) use previous::row as former_row;
pub use replica::Stand;
pub(crate) use replica::{Applied, Batch, Row};
pub(crate) use sealing::{fits, former, row_anew, seal, unseal, unseal_former};
pub use types::{Credential, Entry, IfThere, Kind, Listed, Space, StoreError, Stored};
pub use verify::{Depth, Verified};

use crate::custody::Master;
use core::fmt;
use core::ops::Bound;
use keys::Keys;
use portunus_aaa::Account;
use portunus_keydist::auc::{Change, Decoy, Record};
use portunus_keydist::ident::{Idc, Idsp};
use portunus_keydist::steps::S11;
use portunus_keydist::{Random, SystemRandom};
use record::Head;
use redb::{
    Builder, ConcurrencyMode, Database, ReadableDatabase as _, ReadableTable as _, ReadableTableMetadata as _,
    TableDefinition,
};
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
/// redb's own page cache, octets; its default is 1 GiB.
const PAGE_CACHE: usize = 64 << 20;

const fn definition(space: Space) -> TableDefinition<'static, &'static str, &'static [u8]> {
    match space {
        Space::Subscriber => SUBSCRIBERS,
        Space::Device => DEVICES,
    }
}

/// The store. Shared between threads as it stands.
pub struct Store {
    db: Database,
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
        let mut builder = Builder::new();
        builder.set_cache_size(PAGE_CACHE).set_concurrency_mode(ConcurrencyMode::MultiWriter);
        let db = builder.create(path).map_err(|e| backend(e.to_string()))?;
        let fault = |e: redb::Error| backend(e.to_string());
        let txn = db.begin_write().map_err(|e| fault(e.into()))?;
        let keys = {
            for table in [SUBSCRIBERS, PREVIOUS, DEVICES, REGISTRATIONS, TOKENS, CODES] {
                txn.open_table(table).map_err(|e| fault(e.into()))?;
            }
            let mut meta = txn.open_table(META).map_err(|e| fault(e.into()))?;
            Keys::open(&mut meta, path, master, rng)?
        };
        txn.commit().map_err(|e| fault(e.into()))?;
        Ok(Self { db, path: path.to_path_buf(), keys, changes: AtomicU64::new(0) })
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
        let txn = self.db.begin_read().map_err(|e| self.fault(e))?;
        let table = txn.open_table(definition(space)).map_err(|e| self.fault(e))?;
        let record = table.get(id).map_err(|e| self.fault(e))?;
        let found = record.as_ref().map(|octets| octets.value());
        let keys = self.keys.now();
        let Some(octets) = found else {
            let nobody = std::hint::black_box(keys.dummy.as_slice());
            let _ = std::hint::black_box(unseal(&keys.custody, Space::Subscriber, keys::DUMMY, nobody));
            return Ok(None);
        };
        if let Some(credential) = unseal(&keys.custody, space, id, octets) {
            return Ok(Some(credential));
        }
        // Another process may have sealed it anew; the keys are those of the moment at which the record was read.
        let meta = txn.open_table(META).map_err(|e| self.fault(e))?;
        let newer = self.keys.refresh(&keys::reader(&meta, &self.path), &self.path, &mut SystemRandom::new())?;
        let opened = newer.then(|| unseal(&self.keys.now().custody, space, id, octets)).flatten();
        let damaged = || StoreError::Record { noun: space.noun(), id: id.to_owned() };
        opened.map(Some).ok_or_else(damaged)
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
        let txn = self.db.begin_read().map_err(|e| self.fault(e))?;
        let meta = txn.open_table(META).map_err(|e| self.fault(e))?;
        let octets = meta.get(GENERATION).map_err(|e| self.fault(e))?;
        Ok(octets.map_or(0, |v| u64::from_be_bytes(v.value().try_into().unwrap_or([0; 8]))))
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

    /// Applies many s11 in one transaction that is durable when this returns. `wall_ms`: milliseconds since 1970 UTC.
    /// The changes come back in order, for the audit log.
    ///
    /// # Errors
    /// [`StoreError::Backend`]; then none is applied.
    pub fn record(&self, wall_ms: u64, accounts: &[Account]) -> Result<Vec<Change>, StoreError> {
        let txn = self.db.begin_write().map_err(|e| self.fault(e))?;
        let mut changes = Vec::with_capacity(accounts.len());
        {
            let mut table = txn.open_table(REGISTRATIONS).map_err(|e| self.fault(e))?;
            for account in accounts {
                let current = table.get(account.idc.as_str()).map_err(|e| self.fault(e))?;
                // One that cannot be read is replaced: it is only about the past.
                let current = current.and_then(|v| record::read_registration(v.value()));
                let change = change(current.as_ref(), wall_ms, account);
                match &change {
                    Change::Keep(r) => {
                        let octets = record::write_registration(r);
                        table.insert(account.idc.as_str(), octets.as_slice()).map_err(|e| self.fault(e))?;
                    }
                    Change::Remove => {
                        table.remove(account.idc.as_str()).map_err(|e| self.fault(e))?;
                    }
                    Change::Ignore => {}
                }
                changes.push(change);
            }
        }
        txn.commit().map_err(|e| self.fault(e))?;
        Ok(changes)
    }

    /// An identity's registration.
    ///
    /// # Errors
    /// [`StoreError::Record`] for a damaged one, [`StoreError::Backend`].
    pub fn registration(&self, idc: &str) -> Result<Option<Record>, StoreError> {
        let txn = self.db.begin_read().map_err(|e| self.fault(e))?;
        let table = txn.open_table(REGISTRATIONS).map_err(|e| self.fault(e))?;
        let Some(octets) = table.get(idc).map_err(|e| self.fault(e))? else { return Ok(None) };
        let damaged = StoreError::Record { noun: "registration", id: idc.to_owned() };
        record::read_registration(octets.value()).map(Some).ok_or(damaged)
    }

    /// Gives `visit` every registration in the order of identities until it says false.
    ///
    /// # Errors
    /// [`StoreError::Record`] naming one that cannot be read, [`StoreError::Backend`].
    pub fn registrations(&self, visit: &mut dyn FnMut(&str, Record) -> bool) -> Result<(), StoreError> {
        self.registrations_after("", visit)
    }
}

/// What a record says of itself.
pub(crate) fn listed(space: Space, id: &str, octets: &[u8]) -> Result<Listed, StoreError> {
    let head = Head::read(octets).ok_or_else(|| StoreError::Record { noun: space.noun(), id: id.to_owned() })?;
    let Head { kind, made_ms, rotated_ms } = head;
    Ok(Listed { id: id.to_owned(), kind, made_ms, rotated_ms })
}

/// What s11 does to a record; see [`portunus_keydist::auc::record`]. Identities were checked when the packet was read.
pub(crate) fn change(current: Option<&Record>, wall_ms: u64, account: &Account) -> Change {
    let (Some(idc), Some(idsp)) = (Idc::new(&account.idc), Idsp::new(&account.idsp)) else { return Change::Ignore };
    let ipc = core::net::SocketAddr::new(account.ip, 0);
    let s11 = S11 { idc, idsp, rand: account.rand, ipc, event: account.event };
    portunus_keydist::auc::record(current, wall_ms, &s11)
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
