//! Who is registered where, through whom, since when; and who was, until when.
//!
//! An identity has one record. It outlives its registration, so that the last one can be looked up, and a message about
//! it that comes late brings nothing back. The next registration takes its place; removing the identity removes it.

use super::{REGISTRATIONS, Store, StoreError, record};
use core::net::SocketAddr;
use portunus_aaa::Account;
use portunus_keydist::auc::{Change, Record};
use portunus_keydist::ident::{Idc, Idsp};
use portunus_keydist::steps::S11;
use redb::ReadableTable as _;

/// What the AuC knows of an identity's registration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registered {
    /// Where, through which proxy, since when, last heard of when.
    pub record: Record,
    /// The softswitch that said so.
    pub softswitch: Option<String>,
    /// When it ended, milliseconds since 1970 UTC; `None`: as far as the AuC knows it lasts.
    pub ended_ms: Option<u64>,
}

impl Registered {
    /// What it becomes by `account`, and what that is to those who count.
    fn next(current: Option<&Self>, wall_ms: u64, account: &Account) -> (Option<Self>, Change) {
        if current.is_some_and(|c| c.ended_ms.is_some() && c.record.rand == account.rand) {
            return (None, Change::Ignore);
        }
        let live = current.filter(|c| c.ended_ms.is_none());
        let change = change(live.map(|c| &c.record), wall_ms, account);
        // Whoever tells the end need not be who told the beginning.
        let told = || account.softswitch.clone().or_else(|| live.and_then(|c| c.softswitch.clone()));
        let next = match &change {
            Change::Keep(record) => Some(Self { record: record.clone(), softswitch: told(), ended_ms: None }),
            Change::Remove => live.map(|c| Self { softswitch: told(), ended_ms: Some(wall_ms), ..c.clone() }),
            Change::Ignore => None,
        };
        (next, change)
    }
}

/// What s11 does to a record; see [`portunus_keydist::auc::record`]. Identities were checked when the packet was read.
fn change(current: Option<&Record>, wall_ms: u64, account: &Account) -> Change {
    let (Some(idc), Some(idsp)) = (Idc::new(&account.idc), Idsp::new(&account.idsp)) else { return Change::Ignore };
    let ipc = SocketAddr::new(account.ip, 0);
    let s11 = S11 { idc, idsp, rand: account.rand, ipc, event: account.event };
    portunus_keydist::auc::record(current, wall_ms, &s11)
}

impl Store {
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
                let (next, change) = Registered::next(current.as_ref(), wall_ms, account);
                if let Some(next) = next {
                    let octets = record::write_registration(&next);
                    table.insert(account.idc.as_str(), octets.as_slice()).map_err(|e| self.fault(e))?;
                }
                changes.push(change);
            }
        }
        txn.commit().map_err(|e| self.fault(e))?;
        Ok(changes)
    }

    /// An identity's registration; `None` when there is none, or none any more.
    ///
    /// # Errors
    /// [`StoreError::Record`] for a damaged one, [`StoreError::Backend`].
    pub fn registration(&self, idc: &str) -> Result<Option<Record>, StoreError> {
        let txn = self.db.begin_read().map_err(|e| self.fault(e))?;
        let table = txn.open_table(REGISTRATIONS).map_err(|e| self.fault(e))?;
        let Some(octets) = table.get(idc).map_err(|e| self.fault(e))? else { return Ok(None) };
        let damaged = StoreError::Record { noun: "registration", id: idc.to_owned() };
        let found = record::read_registration(octets.value()).ok_or(damaged)?;
        Ok(found.ended_ms.is_none().then_some(found.record))
    }

    /// Gives `visit` every record, of registrations that last and of those that ended, in the order of identities, until
    /// it says false.
    ///
    /// # Errors
    /// [`StoreError::Record`] naming one that cannot be read, [`StoreError::Backend`].
    pub fn registrations(&self, visit: &mut dyn FnMut(&str, Registered) -> bool) -> Result<(), StoreError> {
        self.registrations_after("", visit)
    }
}
