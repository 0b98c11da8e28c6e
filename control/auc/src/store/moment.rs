//! One moment of the store, kept open: many lookups for the price of one beginning, which takes locks on the file.

use super::keys;
use super::{
    Credential, DEVICES, GENERATION, META, PREVIOUS, SUBSCRIBERS, Space, Store, StoreError, previous, unseal,
    unseal_former,
};
use portunus_keydist::{Key, SystemRandom};
use redb::{ReadOnlyTable, ReadableTableMetadata as _, TableDefinition};

type Table = ReadOnlyTable<&'static str, &'static [u8]>;

/// See the module. While it is kept, pages that were replaced since stay in the file: it is for a moment.
pub struct Moment {
    subscribers: Table,
    devices: Table,
    /// `None`: there are no former keys at all.
    previous: Option<Table>,
    meta: Table,
}

impl Moment {
    /// True when nobody has a former key.
    pub const fn has_no_former_keys(&self) -> bool {
        self.previous.is_none()
    }
}

impl core::fmt::Debug for Moment {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Moment(..)")
    }
}

impl Store {
    /// The store as it is now.
    ///
    /// # Errors
    /// [`StoreError::Backend`].
    pub fn moment(&self) -> Result<Moment, StoreError> {
        let txn = self.db.begin_read().map_err(|e| self.fault(e))?;
        let table = |definition: TableDefinition<'static, &'static str, &'static [u8]>| {
            txn.open_table(definition).map_err(|e| self.fault(e))
        };
        let former = table(PREVIOUS)?;
        let any = former.len().map_err(|e| self.fault(e))? > 0;
        let previous = any.then_some(former);
        Ok(Moment { subscribers: table(SUBSCRIBERS)?, devices: table(DEVICES)?, previous, meta: table(META)? })
    }

    /// The credential that an identity has in that moment; `None` when there is none, which costs the same.
    ///
    /// # Errors
    /// [`StoreError::Record`] for a damaged record, [`StoreError::Backend`].
    pub fn credential_in(&self, moment: &Moment, space: Space, id: &str) -> Result<Option<Credential>, StoreError> {
        let table = match space {
            Space::Subscriber => &moment.subscribers,
            Space::Device => &moment.devices,
        };
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
        let newer = self.newer_keys(moment)?;
        let opened = newer.then(|| unseal(&self.keys.now().custody, space, id, octets)).flatten();
        let damaged = || StoreError::Record { noun: space.noun(), id: id.to_owned() };
        opened.map(Some).ok_or_else(damaged)
    }

    /// The key that an identity had before that moment, with the end of its time in milliseconds since 1970 UTC, past
    /// or not.
    ///
    /// # Errors
    /// [`StoreError::Record`] for one that does not open, [`StoreError::Backend`].
    pub fn previous_in(&self, moment: &Moment, space: Space, id: &str) -> Result<Option<(Key, u64)>, StoreError> {
        let Some(table) = &moment.previous else { return Ok(None) };
        let row = previous::row(space, id);
        let Some(octets) = table.get(&*row).map_err(|e| self.fault(e))? else { return Ok(None) };
        let open = || unseal_former(&self.keys.now().custody, &row, octets.value());
        if let Some(found) = open() {
            return Ok(Some(found));
        }
        self.newer_keys(moment)?;
        open().map(Some).ok_or_else(|| StoreError::Record { noun: "former key of", id: id.to_owned() })
    }

    /// Changes of credentials by any process, from the making of the store to that moment.
    ///
    /// # Errors
    /// [`StoreError::Backend`].
    pub fn generation_in(&self, moment: &Moment) -> Result<u64, StoreError> {
        let octets = moment.meta.get(GENERATION).map_err(|e| self.fault(e))?;
        Ok(octets.map_or(0, |v| u64::from_be_bytes(v.value().try_into().unwrap_or([0; 8]))))
    }

    fn newer_keys(&self, moment: &Moment) -> Result<bool, StoreError> {
        self.keys.refresh(&keys::reader(&moment.meta, &self.path), &self.path, &mut SystemRandom::new())
    }
}
