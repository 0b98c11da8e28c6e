//! Sealing and opening single records, wherever they are kept.

use super::record::{self, Head};
use super::{Credential, Entry, Row, Space, StoreError, previous};
use crate::custody::Custody;
use portunus_keydist::{Key, Random};

/// That an identity has the form of its space and a secret fits its kind.
pub(crate) fn fits(entry: &Entry) -> Result<(), StoreError> {
    let Entry { id, kind, credential } = entry;
    let good = record::pad(credential.octets()).is_some() && kind.takes(id) && credential.fits(*kind);
    good.then_some(()).ok_or_else(|| StoreError::Malformed { kind: *kind, id: id.clone() })
}

/// A credential's record. Times: when it was made and when it got this key, milliseconds since 1970 UTC.
pub(crate) fn seal(
    custody: &Custody,
    entry: &Entry,
    (made_ms, rotated_ms): (u64, u64),
    rng: &mut dyn Random,
) -> Result<Vec<u8>, StoreError> {
    fits(entry)?;
    let Entry { id, kind, credential } = entry;
    let plain = record::pad(credential.octets());
    let plain = plain.ok_or_else(|| StoreError::Malformed { kind: *kind, id: id.clone() })?;
    let head = Head { kind: *kind, made_ms, rotated_ms }.to_octets();
    let mut value = head.to_vec();
    value.extend(custody.seal(&record::bound(kind.space(), id, &head), plain.as_slice(), rng));
    Ok(value)
}

/// Opens a credential's record; `None` when it does not open or is none.
pub(crate) fn unseal(custody: &Custody, space: Space, id: &str, octets: &[u8]) -> Option<Credential> {
    let head = Head::read(octets)?;
    let (clear, sealed) = octets.split_at_checked(record::HEADER)?;
    let plain = custody.open(&record::bound(space, id, clear), sealed).ok()?;
    let credential = Credential::from_octets(head.kind, record::unpad(&plain)?)?;
    (head.kind.space() == space && credential.fits(head.kind)).then_some(credential)
}

/// The record, under the name of its row, of a key that was replaced and works until then, milliseconds since 1970 UTC.
pub(crate) fn former(custody: &Custody, row: &str, until_ms: u64, key: &Key, rng: &mut dyn Random) -> Vec<u8> {
    let until = until_ms.to_be_bytes();
    let mut value = until.to_vec();
    value.extend(custody.seal(&previous::bound(row, &until), key.expose(), rng));
    value
}

/// Opens such a record: the key, and until when it works.
pub(crate) fn unseal_former(custody: &Custody, row: &str, octets: &[u8]) -> Option<(Key, u64)> {
    let (until, sealed) = previous::parts(octets)?;
    let plain = custody.open(&previous::bound(row, until), sealed).ok()?;
    Some((Key::new(plain.as_slice().try_into().ok()?), u64::from_be_bytes(*until)))
}

/// A credential's record, sealed under other keys; `None` when it does not open under the old ones.
pub(super) fn anew(
    (old, new): (&Custody, &Custody),
    space: Space,
    id: &str,
    octets: &[u8],
    rng: &mut dyn Random,
) -> Option<Vec<u8>> {
    let (head, sealed) = octets.split_at_checked(record::HEADER)?;
    let bound = record::bound(space, id, head);
    let plain = old.open(&bound, sealed).ok()?;
    Some([head, &new.seal(&bound, &plain, rng)].concat())
}

/// As [`anew`], of a former key.
pub(super) fn former_anew(
    (old, new): (&Custody, &Custody),
    id: &str,
    octets: &[u8],
    rng: &mut dyn Random,
) -> Option<Vec<u8>> {
    let (until, sealed) = previous::parts(octets)?;
    let bound = previous::bound(id, until);
    let plain = old.open(&bound, sealed).ok()?;
    Some([until.as_slice(), &new.seal(&bound, &plain, rng)].concat())
}

/// An identity's records, sealed under other keys.
pub(crate) fn row_anew(keys: (&Custody, &Custody), row: Row, rng: &mut dyn Random) -> Result<Row, StoreError> {
    let Row { space, id, record, former } = row;
    let damaged = |noun| StoreError::Record { noun, id: id.clone() };
    let record = record.map(|r| anew(keys, space, &id, &r, rng).ok_or_else(|| damaged(space.noun()))).transpose()?;
    let former = former
        .map(|f| former_anew(keys, &previous::row(space, &id), &f, rng).ok_or_else(|| damaged("former key of")))
        .transpose()?;
    Ok(Row { space, id, record, former })
}
