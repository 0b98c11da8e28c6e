//! The tables, by versions. A version, once released, is never altered: what changes later is a further one.

use super::link::{Conn, Trouble};

/// Everything of ours lies in a schema of this name, and is always named with it.
///
/// `record`: one row an identity. `space` 1: subscribers, 2: devices. `record` as [`crate::store`] seals it, or nothing
/// for one that was removed; `former` the sealed key before, while it works.
const VERSIONS: &[&str] = &["
    create table portunus.estate (
        one boolean primary key default true check (one),
        seq bigint not null check (seq >= 0),
        envelope bytea
    );
    insert into portunus.estate (seq) values (0);
    create table portunus.record (
        space smallint not null check (space in (1, 2)),
        id text collate \"C\" not null check (octet_length(id) between 1 and 128),
        seq bigint not null,
        record bytea,
        former bytea,
        primary key (space, id)
    );
    create unique index record_seq on portunus.record (seq);
"];

/// Two programs that migrate at one time would trip over one another: the second waits for this.
const LOCK: i64 = 0x706f_7274_756e_7573;

const FOUND: &str = "select coalesce(max(version), 0) from portunus.migration";

/// Brings the tables to the present version, in one transaction; the versions before and after. Done twice it changes
/// nothing the second time.
pub(super) fn migrate(conn: &mut Conn) -> Result<(i32, i32), Trouble> {
    let newest = VERSIONS.len() as i32;
    conn.transaction("begin", |conn| {
        conn.query("select pg_advisory_xact_lock($1)", &[&LOCK])?;
        let there: bool = conn.one("select to_regclass('portunus.migration') is not null", &[])?.get(0);
        if !there {
            conn.batch(
                "create schema if not exists portunus;
                 create table portunus.migration (version int primary key, at timestamptz not null default now());",
            )?;
        }
        let from: i32 = conn.one(FOUND, &[])?.get(0);
        if from > newest {
            return Err(newer(from));
        }
        for (version, tables) in (1i32..).zip(VERSIONS).filter(|(version, _)| *version > from) {
            conn.batch(tables)?;
            conn.execute("insert into portunus.migration (version) values ($1)", &[&version])?;
        }
        Ok((from, newest))
    })
}

fn newer(version: i32) -> Trouble {
    let known = VERSIONS.len();
    Trouble::Said(format!("its tables are of version {version}; this program knows versions up to {known}"))
}

/// That the tables are those that this program works on.
pub(super) fn check(conn: &mut Conn) -> Result<(), Trouble> {
    let found: i32 = conn.one(FOUND, &[])?.get(0);
    match found.cmp(&(VERSIONS.len() as i32)) {
        core::cmp::Ordering::Equal => Ok(()),
        core::cmp::Ordering::Greater => Err(newer(found)),
        core::cmp::Ordering::Less => {
            Err(Trouble::Said(format!("its tables are of version {found}: run `portunus store migrate`")))
        }
    }
}
