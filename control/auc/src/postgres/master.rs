//! The estate's master key is replaced, and its records are sealed anew, while every node works. What
//! [`crate::store::Store`] does to a store of its own, in the system of record; the nodes follow.

use super::database::Database;
use super::estate;
use super::link::{Conn, Trouble};
use crate::custody::{Custody, Master};
use crate::envelope::{Envelope, NotAdmitted};
use crate::store::{Row, Space, StoreError, row_anew};
use core::ops::ControlFlow;
use portunus_keydist::Random;

impl Database {
    /// Names of the master keys that open the estate.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub fn masters(&self) -> Result<Vec<String>, StoreError> {
        Ok(self.pool.with(estate::read)?.envelope.masters())
    }

    /// The name of the master key that is configured here.
    pub fn master(&self) -> String {
        self.wrapping.name()
    }

    fn two_masters(&self) -> Trouble {
        Trouble::Store(StoreError::Masters { path: self.label().into() })
    }

    fn refused(&self, e: NotAdmitted) -> Trouble {
        match e {
            NotAdmitted::Full => self.two_masters(),
            NotAdmitted::Custody(e) => Trouble::Store(e.into()),
        }
    }

    /// One change of the envelope, with the working keys open.
    fn rewrap<T>(
        &self,
        mut change: impl FnMut(&mut Envelope, &Custody) -> Result<T, Trouble>,
    ) -> Result<T, StoreError> {
        self.pool.with(|conn| {
            conn.transaction("begin", |conn: &mut Conn| {
                let (seq, mut envelope) = estate::lock_estate(conn)?;
                // Whoever was shut out lets nobody in and shuts nobody out.
                let custody = estate::open(&envelope, &self.wrapping)?;
                let done = change(&mut envelope, &custody)?;
                estate::put_envelope(conn, &envelope)?;
                estate::number_and_tell(conn, seq)?;
                Ok(done)
            })
        })
    }

    /// Lets another master key open the estate, beside the present one.
    ///
    /// # Errors
    /// [`StoreError::Masters`] when two do already, [`StoreError::Database`].
    pub fn admit_master(&self, next: &dyn Master, rng: &mut dyn Random) -> Result<(), StoreError> {
        let next = next.wrapping();
        self.rewrap(|envelope, custody| envelope.admit(custody, &next, rng).map_err(|e| self.refused(e)))
    }

    /// Shuts out every master key but the one that is configured here; how many that were. A node that has another one
    /// goes on answering, and follows no more.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub fn retire_masters(&self) -> Result<usize, StoreError> {
        self.rewrap(|envelope, _| Ok(envelope.keep_only(&self.wrapping)))
    }

    /// Seals every record anew, under working keys that no earlier master key ever wrapped, in one transaction; how many
    /// identities. Others' changes wait, or are refused when that takes longer than a statement may. Each node takes
    /// everything over at once. `told` hears how many are done.
    ///
    /// # Errors
    /// [`StoreError::Masters`] when two master keys open the estate; [`StoreError::Record`] for a record that does not
    /// open; [`StoreError::Database`]. Nothing has changed then.
    pub fn reseal(&self, told: &mut dyn FnMut(u64), rng: &mut dyn Random) -> Result<u64, StoreError> {
        self.pool.with(|conn| {
            conn.transaction("begin", |conn: &mut Conn| {
                let (mut seq, envelope) = estate::lock_estate(conn)?;
                let old = estate::open(&envelope, &self.wrapping)?;
                if envelope.masters() != [self.wrapping.name()] {
                    return Err(self.two_masters());
                }
                let new = Custody::renewed(old.decoy(), rng);
                let mut done = 0;
                for space in [Space::Subscriber, Space::Device] {
                    let mut after = String::new();
                    loop {
                        let mut page: Vec<Row> = Vec::new();
                        estate::pages(conn, space, &after, &mut |rows| {
                            page = rows;
                            Ok(ControlFlow::Break(()))
                        })?;
                        let Some(last) = page.last() else { break };
                        after.clone_from(&last.id);
                        let rows = page.into_iter().map(|row| row_anew((&old, &new), row, rng));
                        let rows = rows.collect::<Result<Vec<Row>, _>>()?;
                        seq = estate::put(conn, seq, &rows)?;
                        done += rows.len() as u64;
                        told(done);
                    }
                }
                let mut renewed = Envelope::new(envelope.epoch.wrapping_add(1));
                renewed.admit(&new, &self.wrapping, rng).map_err(|e| self.refused(e))?;
                estate::put_envelope(conn, &renewed)?;
                estate::number_and_tell(conn, seq)?;
                Ok(done)
            })
        })
    }
}
