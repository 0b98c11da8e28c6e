//! The one place where this interface touches the store of credentials: what another system of record would have to do.

use portunus_auc::import::{ImportError, ImportOptions, Imported, import};
use portunus_auc::store::{Credential, Entry, If, Kind, Listed, Space, Store, StoreError, Stored, Tag};
use portunus_keydist::Random;
use std::io::Read;
use std::sync::Arc;

/// See the module. Every change is durable when its call returns.
#[derive(Debug, Clone)]
pub struct Records(Arc<Store>);

impl Records {
    /// Over a node's own store.
    pub fn new(store: Arc<Store>) -> Self {
        Self(store)
    }

    /// The store, for what is not about credentials.
    pub(crate) fn store(&self) -> &Store {
        &self.0
    }

    pub(crate) fn look(&self, space: Space, id: &str) -> Result<Option<(Listed, Tag)>, StoreError> {
        self.0.look(space, id)
    }

    /// At most `limit` identities behind `after`, and whether there are more.
    pub(crate) fn page(&self, space: Space, after: &str, limit: usize) -> Result<(Vec<Listed>, bool), StoreError> {
        let mut page = Vec::with_capacity(limit + 1);
        self.0.list_after(space, after, &mut |listed| {
            page.push(listed);
            page.len() <= limit
        })?;
        let more = page.len() > limit;
        page.truncate(limit);
        Ok((page, more))
    }

    pub(crate) fn credential(&self, space: Space, id: &str) -> Result<Option<Credential>, StoreError> {
        self.0.credential(space, id)
    }

    pub(crate) fn put(
        &self,
        now_ms: u64,
        entry: Entry,
        wanted: If,
        rng: &mut dyn Random,
    ) -> Result<Stored, StoreError> {
        self.0.put_if(now_ms, entry, wanted, rng)
    }

    pub(crate) fn rotate(
        &self,
        times: (u64, u64),
        whose: (Space, &str),
        credential: &dyn Fn(Kind) -> Credential,
        wanted: If,
        rng: &mut dyn Random,
    ) -> Result<Kind, StoreError> {
        self.0.rotate_if(times, whose, credential, wanted, rng)
    }

    pub(crate) fn remove(&self, space: Space, id: &str, wanted: If) -> Result<(), StoreError> {
        self.0.remove_if(space, id, wanted)
    }

    pub(crate) fn import(
        &self,
        rows: &mut dyn Read,
        now_ms: u64,
        options: &ImportOptions<'_>,
        rng: &mut dyn Random,
    ) -> Result<Imported, ImportError> {
        import(rows, &self.0, now_ms, options, rng)
    }
}
