//! A node's own keys move into the database, and the node becomes a replica of it.

use super::copy;
use super::database::Database;
use super::estate;
use super::link::Trouble;
use super::schema;
use crate::store::{Batch, Space, Stand, Store, StoreError};
use portunus_keydist::Random;

/// What a migration did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Moved {
    /// The version of the database's tables before; 0: there were none.
    pub from: i32,
    /// The version now.
    pub to: i32,
    /// True when this node's working keys became the estate's.
    pub founded: bool,
    /// Identities that moved in.
    pub moved: u64,
    /// Identities that the database had already: its keys stay, this node's are gone.
    pub known: u64,
}

impl Database {
    /// Brings the database's tables to the present version and moves what the node has of its own into it, in one
    /// transaction; afterwards the node is a replica. The first node founds the estate: its working keys become those
    /// of all. A database that was lost is founded again from any node's replica. Done twice it changes nothing the
    /// second time. `now_ms`: milliseconds since 1970 UTC; `told` hears how many identities are done.
    ///
    /// # Errors
    /// [`StoreError::Database`]; [`StoreError::Older`] for a store without an envelope; [`StoreError::Record`] for one
    /// that does not open and would have to be sealed anew. Nothing has moved then.
    pub fn take_in(
        &self,
        store: &Store,
        now_ms: u64,
        told: &mut dyn FnMut(u64),
        rng: &mut dyn Random,
    ) -> Result<Moved, StoreError> {
        let label = self.label();
        let mut conn = self.pool.link().connect(false).map_err(|e| e.told(label))?;
        let (from, to) = schema::migrate(&mut conn).map_err(|e| e.told(label))?;
        let own = store.own_envelope()?;
        let own = own.ok_or_else(|| StoreError::Older { path: store.path().to_path_buf(), version: 1 })?;
        let is_replica = store.stand()?.is_some();
        let mut moved = Moved { from, to, ..Moved::default() };
        let done = conn.transaction("begin", |conn| {
            let (mut seq, envelope) = estate::lock(conn)?;
            moved.founded = envelope.is_none();
            if !moved.founded && is_replica {
                return Ok(());
            }
            let envelope = match envelope {
                Some(envelope) => envelope,
                None => {
                    estate::put_envelope(conn, &own)?;
                    own.clone()
                }
            };
            let custody = estate::open(&envelope, store.wrapping())?;
            for space in [Space::Subscriber, Space::Device] {
                let mut after = String::new();
                loop {
                    let mut rows = store.rows(space, &after, estate::PAGE)?;
                    let Some(last) = rows.last() else { break };
                    after.clone_from(&last.id);
                    let all = rows.len() as u64;
                    let there = estate::named(conn, rows.iter().map(|row| (space, row.id.as_str())))?;
                    rows.retain(|row| !there.iter().any(|t| t.id == row.id));
                    if !store.seals_with(&custody) {
                        let anew = rows.into_iter().map(|row| store.sealed_for(&custody, row, rng));
                        rows = anew.collect::<Result<_, _>>()?;
                    }
                    seq = estate::put(conn, seq, &rows)?;
                    moved.moved += rows.len() as u64;
                    moved.known += all - rows.len() as u64;
                    told(moved.moved + moved.known);
                }
            }
            estate::number_and_tell(conn, seq)
        });
        done.map_err(|e: Trouble| e.told(label))?;
        // From here on the store is a replica; what the database knew otherwise takes the place of what was here.
        let whole = store.stand()?.is_some_and(|stand| stand.whole);
        let stand = Stand { origin: String::new(), changes: None, whole, touched_ms: now_ms };
        store.apply(&Batch { envelope: None, rows: &[], sweep: Vec::new(), stand }, rng)?;
        copy::even(&mut conn, store, now_ms, rng).map_err(|e| e.told(label))?;
        Ok(moved)
    }
}
