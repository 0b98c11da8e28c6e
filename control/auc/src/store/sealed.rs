//! Rows with a part in clear and a sealed part: tokens of the provisioning interface, activation codes.
//!
//! ```text
//! length of the clear part u16 | clear part | nonce 12 | sealed part | tag 16
//! ```
//!
//! The seal covers the table, the row's key and the clear part: what can be read cannot be altered, and no row serves in
//! the place of another.

use super::{Store, StoreError, keys};
use crate::custody::Custody;
use portunus_keydist::{Random, SystemRandom};
use redb::{ReadableTable, TableDefinition, TableHandle as _, WriteTransaction};
use zeroize::Zeroizing;

/// A table of such rows.
pub(super) type Table = TableDefinition<'static, &'static str, &'static [u8]>;

/// A row, open: what stood in clear, and what was sealed.
pub(super) type Opened = (Vec<u8>, Zeroizing<Vec<u8>>);

fn bound(table: &str, key: &str, clear: &[u8]) -> Vec<u8> {
    let mut out = b"portunus row".to_vec();
    for part in [table.as_bytes(), key.as_bytes(), clear] {
        out.extend_from_slice(&(part.len() as u16).to_be_bytes());
        out.extend_from_slice(part);
    }
    out
}

/// The clear part, and what is sealed; `None` when it is no such row.
pub(super) fn parts(octets: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = octets.split_first_chunk::<2>()?;
    rest.split_at_checked(u16::from_be_bytes(*len).into())
}

/// Writes a row. The clear part has at most 65,535 octets.
pub(super) fn seal(
    custody: &Custody,
    table: Table,
    key: &str,
    (clear, secret): (&[u8], &[u8]),
    rng: &mut dyn Random,
) -> Vec<u8> {
    let sealed = custody.seal(&bound(table.name(), key, clear), secret, rng);
    [(clear.len() as u16).to_be_bytes().as_slice(), clear, &sealed].concat()
}

/// Opens a row; `None` when it does not open.
pub(super) fn open(custody: &Custody, table: Table, key: &str, octets: &[u8]) -> Option<Opened> {
    let (clear, sealed) = parts(octets)?;
    let secret = custody.open(&bound(table.name(), key, clear), sealed).ok()?;
    Some((clear.to_vec(), secret))
}

impl Store {
    /// Opens a row that was read in a transaction; another process may have sealed it anew meanwhile.
    pub(super) fn open_row(
        &self,
        table: Table,
        (key, octets): (&str, &[u8]),
        meta: &impl ReadableTable<&'static str, &'static [u8]>,
        noun: &'static str,
    ) -> Result<Opened, StoreError> {
        if let Some(opened) = open(&self.keys.now().custody, table, key, octets) {
            return Ok(opened);
        }
        let newer = self.keys.refresh(&keys::reader(meta, &self.path), &self.path, &mut SystemRandom::new())?;
        let opened = newer.then(|| open(&self.keys.now().custody, table, key, octets)).flatten();
        opened.ok_or_else(|| StoreError::Record { noun, id: key.to_owned() })
    }

    /// Seals every row of a table under other working keys. One that does not open stays as it is: `verify` names it.
    pub(super) fn reseal_rows(
        &self,
        txn: &WriteTransaction,
        definition: Table,
        (old, new): (&Custody, &Custody),
        rng: &mut dyn Random,
    ) -> Result<(), StoreError> {
        /// Rows at a time: what is held open in memory meanwhile.
        const BATCH: usize = 1024;
        let mut table = txn.open_table(definition).map_err(|e| self.fault(e))?;
        let mut after = String::new();
        loop {
            let mut batch = Vec::with_capacity(BATCH);
            for row in table.range(after.as_str()..).map_err(|e| self.fault(e))? {
                let (key, octets) = row.map_err(|e| self.fault(e))?;
                // Keys are never empty, so that the beginning is behind nothing.
                if key.value() != after {
                    batch.push((key.value().to_owned(), octets.value().to_vec()));
                }
                if batch.len() == BATCH {
                    break;
                }
            }
            let Some((last, _)) = batch.last() else { return Ok(()) };
            after.clone_from(last);
            for (key, octets) in batch {
                let Some((clear, secret)) = open(old, definition, &key, &octets) else { continue };
                let anew = seal(new, definition, &key, (&clear, &secret), rng);
                table.insert(key.as_str(), anew.as_slice()).map_err(|e| self.fault(e))?;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::custody::MasterKey;
    use crate::store::TOKENS;

    #[test]
    fn a_row_opens_in_its_place_only_and_not_when_altered() {
        let rng = &mut SystemRandom::new();
        let custody = Custody::new(&MasterKey::new([7; 32]));
        let row = seal(&custody, TOKENS, "a", (b"clear", b"secret"), rng);
        let (clear, secret) = open(&custody, TOKENS, "a", &row).unwrap();
        assert_eq!((clear.as_slice(), secret.as_slice()), (b"clear".as_slice(), b"secret".as_slice()));
        assert!(open(&custody, TOKENS, "b", &row).is_none());
        assert!(open(&custody, super::super::PREVIOUS, "a", &row).is_none());
        for n in 0..row.len() {
            assert!(open(&custody, TOKENS, "a", &row[..n]).is_none(), "cut at {n}");
            let mut bad = row.clone();
            bad[n] ^= 4;
            assert!(open(&custody, TOKENS, "a", &bad).is_none(), "altered at {n}");
        }
    }
}
