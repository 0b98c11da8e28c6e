//! A replica beside the system of record: what is here and not there, there and not here, or not the same.

use super::database::Database;
use super::estate;
use super::link::Trouble;
use crate::store::{Row, Space, Store, StoreError, unseal};
use core::ops::ControlFlow;
use std::collections::BTreeMap;

/// What was found. Of one moment of the database and the present of the replica: where both are in use, what has just
/// changed is found too, and is gone when compared again.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Compared {
    /// Identities that are the same in both.
    pub same: u64,
    /// In the database only: not followed yet, or refused.
    pub missing: u64,
    /// In the replica only.
    pub surplus: u64,
    /// In both, and not the same.
    pub different: u64,
    /// In the database, and does not open under the estate's keys.
    pub damaged: u64,
    /// The first [`Compared::NAMED`] of the last four: what, which kind of identity, and whose.
    pub named: Vec<(&'static str, &'static str, String)>,
}

impl Compared {
    /// Findings that are named; the others are counted.
    pub const NAMED: usize = 100;

    fn find(&mut self, what: &'static str, space: Space, id: &str) {
        *(match what {
            "missing" => &mut self.missing,
            "surplus" => &mut self.surplus,
            "different" => &mut self.different,
            _ => &mut self.damaged,
        }) += 1;
        if self.named.len() < Self::NAMED {
            self.named.push((what, space.noun(), id.to_owned()));
        }
    }

    /// True when nothing is amiss.
    pub const fn is_even(&self) -> bool {
        self.missing + self.surplus + self.different + self.damaged == 0
    }
}

impl Database {
    /// Compares everything. `told` hears how many identities were looked at.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Backend`].
    pub fn compare(&self, store: &Store, told: &mut dyn FnMut(u64)) -> Result<Compared, StoreError> {
        let label = self.label();
        let mut conn = self.pool.link().connect(true).map_err(|e| e.told(label))?;
        let mut found = Compared::default();
        let mut seen = 0;
        let done = conn.transaction("begin isolation level repeatable read read only", |conn| {
            let custody = estate::open(&estate::read(conn)?.envelope, &self.wrapping)?;
            for space in [Space::Subscriber, Space::Device] {
                let mut after = String::new();
                estate::pages(conn, space, "", &mut |rows| {
                    let last = rows.len() < estate::PAGE;
                    let upto = rows.last().map(|row| row.id.clone()).filter(|_| !last);
                    let mut here = stretch(store, space, &after, upto.as_deref())?;
                    for row in &rows {
                        let record = row.record.as_deref().unwrap_or_default();
                        if unseal(&custody, space, &row.id, record).is_none() {
                            here.remove(&row.id);
                            found.find("damaged", space, &row.id);
                            continue;
                        }
                        match here.remove(&row.id) {
                            None => found.find("missing", space, &row.id),
                            Some(own) if own == *row => found.same += 1,
                            Some(_) => found.find("different", space, &row.id),
                        }
                    }
                    here.keys().for_each(|id| found.find("surplus", space, id));
                    seen += rows.len() as u64;
                    told(seen);
                    after = upto.unwrap_or_default();
                    Ok(ControlFlow::Continue(()))
                })?;
            }
            Ok(())
        });
        done.map_err(|e: Trouble| e.told(label))?;
        Ok(found)
    }
}

/// What the replica has from after one identity to another, or to the end.
fn stretch(store: &Store, space: Space, after: &str, upto: Option<&str>) -> Result<BTreeMap<String, Row>, StoreError> {
    let mut out = BTreeMap::new();
    let mut after = after.to_owned();
    loop {
        let rows = store.rows(space, &after, estate::PAGE)?;
        let full = rows.len() == estate::PAGE;
        for row in rows {
            if upto.is_some_and(|upto| row.id.as_str() > upto) {
                return Ok(out);
            }
            after.clone_from(&row.id);
            out.insert(row.id.clone(), row);
        }
        if !full {
            return Ok(out);
        }
    }
}
