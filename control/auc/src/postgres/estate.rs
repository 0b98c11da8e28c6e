//! What lies in the database, read and written: the one numbered row, and rows of records.

use super::link::{Conn, Trouble};
use crate::custody::Custody;
use crate::envelope::{Envelope, Wrapping};
use crate::store::{Row, Space, StoreError};
use core::ops::ControlFlow;

/// Rows that are asked for at a time.
pub(super) const PAGE: usize = 1_000;
/// On this channel the database says that something changed.
pub(super) const LISTEN: &str = "listen portunus_change";

/// Which database this is, and which life of it: the cluster, its timeline (a standby that took over, or a recovery to
/// an earlier moment, begins another one), and the table (a dump that was read back makes another one).
const ESTATE: &str = "select e.seq, e.envelope, s.system_identifier::text || '/' || \
                      substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) || '/' || \
                      'portunus.estate'::regclass::oid::text \
                      from portunus.estate e, pg_control_system() s";
/// What makes writers take turns; see [`super`].
const LOCKED: &str = "select seq, envelope from portunus.estate for update";
const NUMBERED: &str = "update portunus.estate set seq = $1";
const ENVELOPED: &str = "update portunus.estate set envelope = $1";
const TOLD: &str = "select pg_notify('portunus_change', '')";
const WRITTEN: &str = "insert into portunus.record (space, id, seq, record, former) \
                       select * from unnest($1::smallint[], $2::text[], $3::bigint[], $4::bytea[], $5::bytea[]) \
                       on conflict (space, id) do update set \
                       seq = excluded.seq, record = excluded.record, former = excluded.former";
const NAMED: &str = "select space, id, record, former from portunus.record \
                     where (space, id) in (select * from unnest($1::smallint[], $2::text[])) and record is not null";
const FROM: &str = "select space, id, record, former from portunus.record \
                    where space = $1 and id > $2 and record is not null order by id limit $3";
const CHANGED: &str = "select space, id, record, former, seq from portunus.record where seq > $1 order by seq limit $2";

/// The state of the estate at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Estate {
    /// The number of the last change.
    pub(super) seq: u64,
    /// The working keys, wrapped.
    pub(super) envelope: Envelope,
    /// See [`ESTATE`].
    pub(super) origin: String,
}

const fn number(space: Space) -> i16 {
    match space {
        Space::Subscriber => 1,
        Space::Device => 2,
    }
}

fn no_keys() -> Trouble {
    Trouble::Said("it holds no estate yet: run `portunus store migrate` on the first node".to_owned())
}

fn envelope_of(octets: Option<&[u8]>) -> Result<Envelope, Trouble> {
    let octets = octets.ok_or_else(no_keys)?;
    Envelope::read(octets).ok_or_else(|| Trouble::Said("its envelope of working keys is damaged".to_owned()))
}

/// Opens the working keys.
pub(super) fn open(envelope: &Envelope, wrapping: &Wrapping) -> Result<Custody, Trouble> {
    let masters = envelope.masters().join(" and ");
    let own = wrapping.name();
    let wrong = || Trouble::Said(format!("master key {masters} opens it, not {own}, which is configured here"));
    envelope.open(wrapping).map_err(StoreError::from)?.ok_or_else(wrong)
}

fn row(row: &tokio_postgres::Row) -> Result<Row, Trouble> {
    let space = match row.try_get::<_, i16>(0)? {
        1 => Space::Subscriber,
        _ => Space::Device,
    };
    Ok(Row { space, id: row.try_get(1)?, record: row.try_get(2)?, former: row.try_get(3)? })
}

/// The estate as it is.
pub(super) fn read(conn: &mut Conn) -> Result<Estate, Trouble> {
    let row = conn.one(ESTATE, &[])?;
    let seq = u64::try_from(row.try_get::<_, i64>(0)?).unwrap_or_default();
    Ok(Estate { seq, envelope: envelope_of(row.try_get(1)?)?, origin: row.try_get(2)? })
}

/// Takes the turn to write: until the transaction ends nobody else does. The last number, and the envelope if any.
pub(super) fn lock(conn: &mut Conn) -> Result<(u64, Option<Envelope>), Trouble> {
    let row = conn.one(LOCKED, &[])?;
    let seq = u64::try_from(row.try_get::<_, i64>(0)?).unwrap_or_default();
    let envelope = match row.try_get::<_, Option<&[u8]>>(1)? {
        None => None,
        some => Some(envelope_of(some)?),
    };
    Ok((seq, envelope))
}

/// As [`lock`], where there must be an estate.
pub(super) fn lock_estate(conn: &mut Conn) -> Result<(u64, Envelope), Trouble> {
    let (seq, envelope) = lock(conn)?;
    Ok((seq, envelope.ok_or_else(no_keys)?))
}

/// Writes the envelope.
pub(super) fn put_envelope(conn: &mut Conn, envelope: &Envelope) -> Result<(), Trouble> {
    conn.execute(ENVELOPED, &[&envelope.to_octets()]).map(|_| ())
}

/// Writes rows, numbered from `seq` on; the last number. Only with the turn to write.
pub(super) fn put(conn: &mut Conn, seq: u64, rows: &[Row]) -> Result<u64, Trouble> {
    for (n, page) in rows.chunks(PAGE).enumerate() {
        let spaces: Vec<i16> = page.iter().map(|r| number(r.space)).collect();
        let ids: Vec<&str> = page.iter().map(|r| r.id.as_str()).collect();
        let first = seq + (n * PAGE) as u64 + 1;
        let numbers: Vec<i64> = (first..).take(page.len()).map(|n| n as i64).collect();
        let records: Vec<Option<&[u8]>> = page.iter().map(|r| r.record.as_deref()).collect();
        let formers: Vec<Option<&[u8]>> = page.iter().map(|r| r.former.as_deref()).collect();
        conn.execute(WRITTEN, &[&spaces, &ids, &numbers, &records, &formers])?;
    }
    Ok(seq + rows.len() as u64)
}

/// Sets the last number and tells the nodes, when the transaction commits. Only with the turn to write.
pub(super) fn number_and_tell(conn: &mut Conn, seq: u64) -> Result<(), Trouble> {
    conn.execute(NUMBERED, &[&(seq as i64)])?;
    conn.query(TOLD, &[]).map(|_| ())
}

/// Those of these identities that exist.
pub(super) fn named<'a>(conn: &mut Conn, ids: impl Iterator<Item = (Space, &'a str)>) -> Result<Vec<Row>, Trouble> {
    let (spaces, ids): (Vec<i16>, Vec<&str>) = ids.map(|(space, id)| (number(space), id)).unzip();
    conn.query(NAMED, &[&spaces, &ids])?.iter().map(row).collect()
}

/// The identities of a space from after one on, a page at a time, until `visit` has had enough.
pub(super) fn pages(
    conn: &mut Conn,
    space: Space,
    after: &str,
    visit: &mut dyn FnMut(Vec<Row>) -> Result<ControlFlow<()>, Trouble>,
) -> Result<(), Trouble> {
    let mut after = after.to_owned();
    loop {
        let found = conn.query(FROM, &[&number(space), &after, &(PAGE as i64)])?;
        let page: Vec<Row> = found.iter().map(row).collect::<Result<_, _>>()?;
        let whole = page.len() == PAGE;
        if let Some(last) = page.last() {
            after.clone_from(&last.id);
        }
        if visit(page)?.is_break() || !whole {
            return Ok(());
        }
    }
}

/// Up to [`PAGE`] identities that changed after that number, in the order of their last changes, and the number of the
/// last of them.
pub(super) fn changed(conn: &mut Conn, after: u64) -> Result<(Vec<Row>, Option<u64>), Trouble> {
    let found = conn.query(CHANGED, &[&(after as i64), &(PAGE as i64)])?;
    let last = found.last().map(|row| row.try_get::<_, i64>(4)).transpose()?.map(|n| n as u64);
    Ok((found.iter().map(row).collect::<Result<_, _>>()?, last))
}
