//! The one place where this interface touches credentials: the node's own store to read whole records from, and the
//! system of record, which is that store or another one.

use portunus_auc::import::{ImportError, ImportOptions, Imported, import};
use portunus_auc::provision::Provision;
use portunus_auc::store::{Credential, Entry, If, Listed, Space, Store, StoreError, Stored, Tag};
use portunus_keydist::Random;
use std::io::Read;
use std::sync::Arc;

/// See the module. Every change is durable when its call returns.
#[derive(Clone)]
pub struct Records {
    store: Arc<Store>,
    record: Arc<dyn Provision>,
}

impl core::fmt::Debug for Records {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Records").field("store", &self.store).finish_non_exhaustive()
    }
}

impl Records {
    /// Over a node's own store.
    pub fn new(store: Arc<Store>) -> Self {
        Self { record: store.clone(), store }
    }

    /// Over another system of record, of which the node's own store is a replica: it follows a moment later.
    pub fn elsewhere(store: Arc<Store>, record: Arc<dyn Provision>) -> Self {
        Self { store, record }
    }

    /// The node's own store, for what is not about credentials.
    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    pub(crate) fn look(&self, space: Space, id: &str) -> Result<Option<(Listed, Tag)>, StoreError> {
        self.record.look(space, id)
    }

    /// At most `limit` identities behind `after`, and whether there are more.
    pub(crate) fn page(&self, space: Space, after: &str, limit: usize) -> Result<(Vec<Listed>, bool), StoreError> {
        let mut page = Vec::with_capacity(limit + 1);
        self.record.list(space, after, &mut |listed| {
            page.push(listed);
            page.len() <= limit
        })?;
        let more = page.len() > limit;
        page.truncate(limit);
        Ok((page, more))
    }

    /// A whole record, of the node's own store.
    pub(crate) fn credential(&self, space: Space, id: &str) -> Result<Option<Credential>, StoreError> {
        self.store.credential(space, id)
    }

    pub(crate) fn put(
        &self,
        now_ms: u64,
        entry: Entry,
        wanted: If,
        rng: &mut dyn Random,
    ) -> Result<Stored, StoreError> {
        self.record.put_if(now_ms, entry, wanted, rng)
    }

    pub(crate) fn rotate(
        &self,
        times: (u64, u64),
        whose: (Space, &str),
        credential: Credential,
        wanted: If,
        rng: &mut dyn Random,
    ) -> Result<(), StoreError> {
        self.record.rotate_if(times, whose, credential, wanted, rng)
    }

    pub(crate) fn remove(&self, space: Space, id: &str, wanted: If) -> Result<(), StoreError> {
        self.record.remove_if(space, id, wanted)
    }

    pub(crate) fn import(
        &self,
        rows: &mut dyn Read,
        now_ms: u64,
        options: &ImportOptions<'_>,
        rng: &mut dyn Random,
    ) -> Result<Imported, ImportError> {
        import(rows, &*self.record, now_ms, options, rng)
    }
}
