//! Provisioning in the database: each call one transaction, one writer at a time.

use super::estate;
use super::link::{Conn, DatabaseConfig, Link, Pool};
use crate::custody::{Custody, Master};
use crate::envelope::Wrapping;
use crate::provision::Provision;
use crate::store::{
    Credential, Entry, If, IfThere, Listed, Row, Space, StoreError, Stored, Tag, fits, former as former_sealed,
    former_row, listed, met, seal, unseal, unseal_former,
};
use core::ops::ControlFlow;
use portunus_keydist::Random;
use std::collections::BTreeMap;

/// The system of record. Shared between threads as it stands; nothing is connected before it is needed.
pub struct Database {
    pub(super) pool: Pool,
    pub(super) wrapping: Wrapping,
    pub(super) config: DatabaseConfig,
}

impl core::fmt::Debug for Database {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_tuple("Database").field(&self.config).finish()
    }
}

/// Identities as they are before a change.
type There = BTreeMap<(Space, String), Row>;

impl Database {
    /// Of a configuration, with the master key of the estate.
    ///
    /// # Errors
    /// [`StoreError::Database`] when a certificate cannot be used.
    pub fn new(config: DatabaseConfig, master: &dyn Master) -> Result<Self, StoreError> {
        let pool = Pool::new(Link::new(&config)?, config.pool);
        Ok(Self { pool, wrapping: master.wrapping(), config })
    }

    /// Which one, as `host:port/name`.
    pub fn label(&self) -> &str {
        self.pool.link().label()
    }

    /// One change: `decide` sees the identities concerned and says what they become.
    fn change<'a, T>(
        &self,
        ids: impl Iterator<Item = (Space, &'a str)> + Clone,
        mut decide: impl FnMut(&Custody, There) -> Result<(T, Vec<Row>), StoreError>,
    ) -> Result<T, StoreError> {
        self.pool.with(|conn| {
            conn.transaction("begin", |conn: &mut Conn| {
                let (seq, envelope) = estate::lock_estate(conn)?;
                let custody = estate::open(&envelope, &self.wrapping)?;
                let found = estate::named(conn, ids.clone())?;
                let there = found.into_iter().map(|row| ((row.space, row.id.clone()), row)).collect();
                let (done, rows) = decide(&custody, there)?;
                if !rows.is_empty() {
                    let seq = estate::put(conn, seq, &rows)?;
                    estate::number_and_tell(conn, seq)?;
                }
                Ok(done)
            })
        })
    }
}

/// What a batch of entries makes of what is there.
fn put(
    custody: &Custody,
    mut there: There,
    (now_ms, entries, if_there): (u64, &[Entry], IfThere),
    rng: &mut dyn Random,
) -> Result<(Stored, Vec<Row>), StoreError> {
    let mut stored = Stored::default();
    let mut rows = BTreeMap::new();
    for entry in entries {
        fits(entry)?;
        let (space, id) = (entry.kind.space(), entry.id.clone());
        let old = there.get(&(space, id.clone())).and_then(|row| row.record.as_deref());
        let made_ms = match (old, if_there) {
            (None, _) => now_ms,
            (Some(_), IfThere::Refuse) => return Err(StoreError::Exists { space, id }),
            (Some(_), IfThere::Keep) => {
                stored.kept += 1;
                continue;
            }
            (Some(old), IfThere::Replace) => listed(space, &id, old).map_or(now_ms, |l| l.made_ms),
        };
        *(if old.is_some() { &mut stored.replaced } else { &mut stored.added }) += 1;
        let record = Some(seal(custody, entry, (made_ms, now_ms), rng)?);
        let row = Row { space, id: id.clone(), record, former: None };
        there.insert((space, id.clone()), row.clone());
        rows.insert((space, id), row);
    }
    Ok((stored, rows.into_values().collect()))
}

impl Provision for Database {
    fn put(
        &self,
        now_ms: u64,
        entries: &[Entry],
        if_there: IfThere,
        rng: &mut dyn Random,
    ) -> Result<Stored, StoreError> {
        let ids = entries.iter().map(|e| (e.kind.space(), e.id.as_str()));
        self.change(ids, |custody, there| put(custody, there, (now_ms, entries, if_there), rng))
    }

    fn listed(&self, space: Space, id: &str) -> Result<Option<Listed>, StoreError> {
        let found = self.pool.with(|conn| estate::named(conn, [(space, id)].into_iter()))?;
        let record = found.into_iter().next().and_then(|row| row.record);
        record.map(|record| listed(space, id, &record)).transpose()
    }

    fn list(&self, space: Space, after: &str, visit: &mut dyn FnMut(Listed) -> bool) -> Result<(), StoreError> {
        // Where a connection breaks, the next one goes on after what was shown.
        let mut last = after.to_owned();
        self.pool.with(|conn| {
            let from = last.clone();
            estate::pages(conn, space, &from, &mut |page| {
                for Row { id, record, .. } in page {
                    let known = listed(space, &id, &record.unwrap_or_default())?;
                    last = id;
                    if !visit(known) {
                        return Ok(ControlFlow::Break(()));
                    }
                }
                Ok(ControlFlow::Continue(()))
            })
        })
    }

    fn look(&self, space: Space, id: &str) -> Result<Option<(Listed, Tag)>, StoreError> {
        let found = self.pool.with(|conn| estate::named(conn, [(space, id)].into_iter()))?;
        let record = found.into_iter().next().and_then(|row| row.record);
        record.map(|record| Ok((listed(space, id, &record)?, Tag::of(&record)))).transpose()
    }

    fn put_if(&self, now_ms: u64, entry: Entry, wanted: If, rng: &mut dyn Random) -> Result<Stored, StoreError> {
        let (space, entries) = (entry.kind.space(), [entry]);
        let id = entries[0].id.as_str();
        self.change([(space, id)].into_iter(), |custody, there| {
            let record = there.get(&(space, id.to_owned())).and_then(|row| row.record.as_deref());
            met((space, id), record, wanted)?;
            put(custody, there, (now_ms, &entries, IfThere::Replace), rng)
        })
    }

    fn rotate_if(
        &self,
        (now_ms, overlap_ms): (u64, u64),
        (space, id): (Space, &str),
        credential: Credential,
        wanted: If,
        rng: &mut dyn Random,
    ) -> Result<(), StoreError> {
        self.change([(space, id)].into_iter(), |custody, there| {
            let damaged = |noun| StoreError::Record { noun, id: id.to_owned() };
            let there = there.into_values().next();
            let (old, kept) = there.map_or((None, None), |row| (row.record, row.former));
            met((space, id), old.as_deref(), wanted)?;
            let old = old.ok_or_else(|| StoreError::Missing { space, id: id.to_owned() })?;
            let Listed { kind, made_ms, .. } = listed(space, id, &old)?;
            let entry = Entry { id: id.to_owned(), kind, credential: credential.clone() };
            let record = Some(seal(custody, &entry, (made_ms, now_ms), rng)?);
            let row = former_row(space, id);
            // A device whose key is being replaced already goes on with the one in use; see the store's own.
            let in_use = match kept.filter(|_| space == Space::Device) {
                None => None,
                Some(kept) => Some(unseal_former(custody, &row, &kept).ok_or_else(|| damaged("former key of"))?),
            };
            let in_use = in_use.filter(|(_, until)| now_ms < *until).map(|(key, _)| key);
            let former = match in_use {
                _ if overlap_ms == 0 => None,
                Some(key) => Some(key),
                None => match unseal(custody, space, id, &old) {
                    Some(Credential::Key(key)) => Some(key),
                    _ => return Err(damaged(space.noun())),
                },
            };
            let former = former.map(|key| former_sealed(custody, &row, now_ms.saturating_add(overlap_ms), &key, rng));
            Ok(((), vec![Row { space, id: id.to_owned(), record, former }]))
        })
    }

    fn remove_if(&self, space: Space, id: &str, wanted: If) -> Result<(), StoreError> {
        self.change([(space, id)].into_iter(), |_, there| {
            let old = there.into_values().next().and_then(|row| row.record);
            met((space, id), old.as_deref(), wanted)?;
            match old {
                None => Err(StoreError::Missing { space, id: id.to_owned() }),
                Some(_) => Ok(((), vec![Row { space, id: id.to_owned(), record: None, former: None }])),
            }
        })
    }
}
