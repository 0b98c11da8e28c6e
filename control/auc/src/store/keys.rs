//! The store's working keys: found in its envelope, kept open, renewed.

use super::record::{self, Head};
use super::{CHECK, ENVELOPE, Kind, SCHEMA, Space, StoreError};
use crate::custody::{Custody, Master};
use crate::envelope::{Envelope, NotAdmitted, Wrapping};
use portunus_keydist::Random;
use redb::ReadableTable;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

/// The layout that this program writes. 1: working keys derived from the master key. 2: an envelope.
pub(super) const VERSION: u32 = 2;
/// The name on the record that is nobody's: as long as most are, and no identity.
pub(super) const DUMMY: &str = "nobody \\ nowhere.example";
/// In the place of the check of layout 1: opens under no key, so that a program that knows only that layout stays out.
const NO_CHECK: &[u8] = b"see envelope";

/// The working keys, open.
pub(super) struct Open {
    pub(super) custody: Custody,
    /// See [`Envelope`]; 0 where there is none.
    pub(super) epoch: u32,
    /// A sealed record that is nobody's: opened where there is none, so that both cost the same.
    pub(super) dummy: Vec<u8>,
}

impl Open {
    fn new(custody: Custody, epoch: u32, rng: &mut dyn Random) -> Arc<Self> {
        let head = Head { kind: Kind::Terminal, made_ms: 0, rotated_ms: 0 }.to_octets();
        let mut dummy = head.to_vec();
        if let Some(plain) = record::pad(&[0; 32]) {
            dummy.extend(custody.seal(&record::bound(Space::Subscriber, DUMMY, &head), plain.as_slice(), rng));
        }
        Arc::new(Self { custody, epoch, dummy })
    }
}

/// The master key's part in it, and the working keys as they are now.
pub(super) struct Keys {
    pub(super) wrapping: Wrapping,
    now: RwLock<Arc<Open>>,
}

/// What a table of the store's own data says.
pub(super) type Meta<'a> = dyn Fn(&str) -> Result<Option<Vec<u8>>, StoreError> + 'a;

/// Reads from the table of the store's own data.
pub(super) fn reader<'a>(
    table: &'a impl ReadableTable<&'static str, &'static [u8]>,
    path: &'a Path,
) -> impl Fn(&str) -> Result<Option<Vec<u8>>, StoreError> + 'a {
    move |key| match table.get(key) {
        Ok(found) => Ok(found.map(|v| v.value().to_vec())),
        Err(e) => Err(StoreError::Backend { path: path.to_path_buf(), what: e.to_string() }),
    }
}

/// The layout of a store; `None` for one that is new.
pub(super) fn version(meta: &Meta<'_>) -> Result<Option<u32>, StoreError> {
    let schema = meta(SCHEMA)?.map(|octets| octets.try_into().map_or(u32::MAX, u32::from_be_bytes));
    Ok(match schema {
        Some(version) => Some(version),
        None => meta(CHECK)?.map(|_| 1),
    })
}

/// The envelope, which a store of this layout has.
pub(super) fn envelope(meta: &Meta<'_>) -> Result<Envelope, StoreError> {
    let damaged = || StoreError::Record { noun: "the store's own", id: ENVELOPE.to_owned() };
    meta(ENVELOPE)?.and_then(|octets| Envelope::read(&octets)).ok_or_else(damaged)
}

impl Keys {
    /// The keys of a store; `None` for one that is new.
    pub(super) fn of(
        meta: &Meta<'_>,
        path: &Path,
        master: &dyn Master,
        rng: &mut dyn Random,
    ) -> Result<Option<Self>, StoreError> {
        let wrapping = master.wrapping();
        let wrong = || StoreError::WrongMasterKey { path: path.to_path_buf() };
        let (custody, epoch) = match version(meta)? {
            Some(version) if version > VERSION => {
                return Err(StoreError::Newer { path: path.to_path_buf(), version, known: VERSION });
            }
            Some(1) => {
                let held = master.held();
                let custody = Custody::new(held.ok_or_else(|| StoreError::Unwrapped { path: path.to_path_buf() })?);
                let check = meta(CHECK)?.unwrap_or_default();
                custody.open(CHECK.as_bytes(), &check).map_err(|_| wrong())?;
                (custody, 0)
            }
            Some(_) => {
                let envelope = envelope(meta)?;
                (envelope.open(&wrapping)?.ok_or_else(wrong)?, envelope.epoch)
            }
            None => return Ok(None),
        };
        Ok(Some(Self { wrapping, now: RwLock::new(Open::new(custody, epoch, rng)) }))
    }

    /// Opens a store's keys, or makes those of a new one. The table is written to only then.
    pub(super) fn open(
        table: &mut redb::Table<'_, &'static str, &'static [u8]>,
        path: &Path,
        master: &dyn Master,
        rng: &mut dyn Random,
    ) -> Result<Self, StoreError> {
        if let Some(found) = Self::of(&reader(table, path), path, master, rng)? {
            return Ok(found);
        }
        let wrapping = master.wrapping();
        // The nodes of one master key tell the same of who does not exist.
        let custody = Custody::renewed(master.decoy()?, rng);
        write(table, path, &custody, 1, &[&wrapping], rng)?;
        Ok(Self { wrapping, now: RwLock::new(Open::new(custody, 1, rng)) })
    }

    /// As they are now.
    pub(super) fn now(&self) -> Arc<Open> {
        Arc::clone(&self.now.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes other ones.
    pub(super) fn set(&self, custody: Custody, epoch: u32, rng: &mut dyn Random) {
        *self.now.write().unwrap_or_else(PoisonError::into_inner) = Open::new(custody, epoch, rng);
    }

    /// Takes those that another process put into the envelope meanwhile; true when there were any.
    pub(super) fn refresh(&self, meta: &Meta<'_>, path: &Path, rng: &mut dyn Random) -> Result<bool, StoreError> {
        if version(meta)? != Some(VERSION) {
            return Ok(false);
        }
        let envelope = envelope(meta)?;
        if envelope.epoch == self.now().epoch {
            return Ok(false);
        }
        let custody = envelope.open(&self.wrapping)?;
        let custody = custody.ok_or_else(|| StoreError::WrongMasterKey { path: path.to_path_buf() })?;
        self.set(custody, envelope.epoch, rng);
        Ok(true)
    }
}

/// Why a master key was not admitted to the store at this path.
pub(super) fn refused(e: NotAdmitted, path: &Path) -> StoreError {
    match e {
        NotAdmitted::Full => StoreError::Masters { path: path.to_path_buf() },
        NotAdmitted::Custody(e) => StoreError::Custody(e),
    }
}

/// Writes working keys for these master keys, and that the store is of this layout.
pub(super) fn write(
    table: &mut redb::Table<'_, &'static str, &'static [u8]>,
    path: &Path,
    custody: &Custody,
    epoch: u32,
    masters: &[&Wrapping],
    rng: &mut dyn Random,
) -> Result<(), StoreError> {
    let mut envelope = Envelope::new(epoch);
    for master in masters {
        envelope.admit(custody, master, rng).map_err(|e| refused(e, path))?;
    }
    put(table, path, &envelope)?;
    let fault = |e: redb::StorageError| StoreError::Backend { path: path.to_path_buf(), what: e.to_string() };
    table.insert(SCHEMA, VERSION.to_be_bytes().as_slice()).map_err(fault)?;
    table.insert(CHECK, NO_CHECK).map_err(fault)?;
    Ok(())
}

/// Writes an envelope.
pub(super) fn put(
    table: &mut redb::Table<'_, &'static str, &'static [u8]>,
    path: &Path,
    envelope: &Envelope,
) -> Result<(), StoreError> {
    let fault = |e: redb::StorageError| StoreError::Backend { path: path.to_path_buf(), what: e.to_string() };
    table.insert(ENVELOPE, envelope.to_octets().as_slice()).map(|_| ()).map_err(fault)
}
