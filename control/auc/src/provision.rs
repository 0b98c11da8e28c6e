//! Provisioning: who is given a key, a new one, or none any more. One surface for the command line, imports, the AuC's
//! own start and an administrator's interface, whichever place is the system of record.
//!
//! | system of record | implementation |
//! |---|---|
//! | the node's own store | [`Store`] itself |
//! | PostgreSQL, for several nodes | [`crate::postgres::Database`] |
//!
//! Whatever is acknowledged here is durable in the system of record. Where that is PostgreSQL, the nodes have it a
//! moment later. Answering never goes through here.

use crate::store::{Credential, Entry, If, IfThere, Listed, Space, Store, StoreError, Stored, Tag};
use portunus_keydist::Random;

/// What a system of record does. Shared between threads as it stands; each call waits until it is durable.
pub trait Provision: Send + Sync {
    /// Puts credentials in, all or none. `now_ms`: milliseconds since 1970 UTC.
    ///
    /// # Errors
    /// [`StoreError::Malformed`]; [`StoreError::Exists`] under [`IfThere::Refuse`]; [`StoreError::Database`],
    /// [`StoreError::Backend`]: then nothing was stored, unless the text says that it is not known.
    fn put(
        &self,
        now_ms: u64,
        entries: &[Entry],
        if_there: IfThere,
        rng: &mut dyn Random,
    ) -> Result<Stored, StoreError>;

    /// Gives an identity a new secret; the former key works beside it for `overlap_ms`. See [`Store::rotate`].
    ///
    /// # Errors
    /// As [`Store::rotate`], and [`StoreError::Database`].
    fn rotate(
        &self,
        times: (u64, u64),
        space: Space,
        id: &str,
        credential: Credential,
        rng: &mut dyn Random,
    ) -> Result<(), StoreError> {
        self.rotate_if(times, (space, id), credential, If::Any, rng)
    }

    /// Removes an identity.
    ///
    /// # Errors
    /// [`StoreError::Missing`], [`StoreError::Database`], [`StoreError::Backend`].
    fn remove(&self, space: Space, id: &str) -> Result<(), StoreError> {
        self.remove_if(space, id, If::Any)
    }

    /// What is known of one identity.
    ///
    /// # Errors
    /// [`StoreError::Record`] when it cannot be read, [`StoreError::Database`], [`StoreError::Backend`].
    fn listed(&self, space: Space, id: &str) -> Result<Option<Listed>, StoreError>;

    /// Gives `visit` the identities of a space that come after `after` (all, when it is empty), in their order, until it
    /// says false.
    ///
    /// # Errors
    /// As [`Provision::listed`].
    fn list(&self, space: Space, after: &str, visit: &mut dyn FnMut(Listed) -> bool) -> Result<(), StoreError>;

    /// As [`Provision::listed`], with the record's version.
    ///
    /// # Errors
    /// As [`Provision::listed`].
    fn look(&self, space: Space, id: &str) -> Result<Option<(Listed, Tag)>, StoreError>;

    /// Puts one credential in, new or in the place of another, where the identity is as `wanted`.
    ///
    /// # Errors
    /// As [`Provision::put`]; [`StoreError::Exists`], [`StoreError::Missing`], [`StoreError::Changed`].
    fn put_if(&self, now_ms: u64, entry: Entry, wanted: If, rng: &mut dyn Random) -> Result<Stored, StoreError>;

    /// As [`Provision::rotate`], where the identity is as `wanted`.
    ///
    /// # Errors
    /// As [`Provision::rotate`]; [`StoreError::Changed`].
    fn rotate_if(
        &self,
        times: (u64, u64),
        whose: (Space, &str),
        credential: Credential,
        wanted: If,
        rng: &mut dyn Random,
    ) -> Result<(), StoreError>;

    /// As [`Provision::remove`], where the identity is as `wanted`.
    ///
    /// # Errors
    /// As [`Provision::remove`]; [`StoreError::Changed`].
    fn remove_if(&self, space: Space, id: &str, wanted: If) -> Result<(), StoreError>;
}

impl Provision for Store {
    fn put(
        &self,
        now_ms: u64,
        entries: &[Entry],
        if_there: IfThere,
        rng: &mut dyn Random,
    ) -> Result<Stored, StoreError> {
        Self::put(self, now_ms, entries, if_there, rng)
    }

    fn listed(&self, space: Space, id: &str) -> Result<Option<Listed>, StoreError> {
        Self::listed(self, space, id)
    }

    fn list(&self, space: Space, after: &str, visit: &mut dyn FnMut(Listed) -> bool) -> Result<(), StoreError> {
        self.list_after(space, after, visit)
    }

    fn look(&self, space: Space, id: &str) -> Result<Option<(Listed, Tag)>, StoreError> {
        Self::look(self, space, id)
    }

    fn put_if(&self, now_ms: u64, entry: Entry, wanted: If, rng: &mut dyn Random) -> Result<Stored, StoreError> {
        Self::put_if(self, now_ms, entry, wanted, rng)
    }

    fn rotate_if(
        &self,
        times: (u64, u64),
        whose: (Space, &str),
        credential: Credential,
        wanted: If,
        rng: &mut dyn Random,
    ) -> Result<(), StoreError> {
        Self::rotate_if(self, times, whose, credential, wanted, rng)
    }

    fn remove_if(&self, space: Space, id: &str, wanted: If) -> Result<(), StoreError> {
        Self::remove_if(self, space, id, wanted)
    }
}
