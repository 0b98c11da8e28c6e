//! One replica, one turn: it follows, or takes a copy of one moment.
//!
//! ```text
//!  no stand, or another origin, or ahead of the database --> copy: page by page, what is not there goes
//!  stand n                                               --> follow: what came after n, in its order
//! ```
//!
//! Each page is a short transaction of the replica, so that registrations are recorded in between. While a copy is under
//! way the stand says so, and one that was broken off begins anew. Only where the working keys themselves are others
//! (they were renewed, or the database is another one) everything is taken over at once: half of it would not open.

use super::estate::{self, Estate};
use super::link::{Conn, Trouble};
use crate::store::{Applied, Batch, Row, Space, Stand, Store, StoreError};
use core::ops::ControlFlow;
use portunus_keydist::Random;

/// How often that a replica is even is written down when nothing changes, milliseconds.
const TOUCHED_MS: u64 = 60_000;
/// What is asked for in one transaction is of one moment.
const MOMENT: &str = "begin isolation level repeatable read read only";

/// What a turn did.
#[derive(Debug, Default)]
pub(super) struct Turn {
    pub(super) applied: Applied,
    /// True when everything was compared, not only what changed.
    pub(super) copied: bool,
    /// The number that the replica has come to.
    pub(super) changes: u64,
}

/// From after one identity of a space to another, or to its end.
type Stretch = (Space, String, Option<String>);

/// Where pages go: into the store one by one, or all at once in the end.
struct Taking<'a> {
    store: &'a Store,
    estate: &'a Estate,
    envelope: bool,
    at_once: bool,
    whole: bool,
    now_ms: u64,
    held: (Vec<Row>, Vec<Stretch>),
    turn: Turn,
}

impl Taking<'_> {
    fn apply(
        &mut self,
        (rows, sweep): (&[Row], Vec<Stretch>),
        (changes, whole): (Option<u64>, bool),
        rng: &mut dyn Random,
    ) -> Result<(), Trouble> {
        let stand = Stand { origin: self.estate.origin.clone(), changes, whole, touched_ms: self.now_ms };
        let envelope = core::mem::take(&mut self.envelope).then_some(&self.estate.envelope);
        let done = self.store.apply(&Batch { envelope, rows, sweep, stand }, rng)?;
        self.turn.applied.written += done.written;
        self.turn.applied.removed += done.removed;
        self.turn.applied.refused.extend(done.refused);
        Ok(())
    }

    fn page(
        &mut self,
        rows: Vec<Row>,
        stretch: Option<Stretch>,
        changes: Option<u64>,
        rng: &mut dyn Random,
    ) -> Result<(), Trouble> {
        if self.at_once {
            self.held.0.extend(rows);
            // All of a space at once is one stretch.
            let begun = |space: Space| self.held.1.iter().any(|(of, ..)| *of == space);
            let all = stretch.map(|(space, ..)| (space, String::new(), None)).filter(|(space, ..)| !begun(*space));
            self.held.1.extend(all);
            return Ok(());
        }
        self.apply((&rows, stretch.into_iter().collect()), (changes, self.whole), rng)
    }

    fn end(mut self, rng: &mut dyn Random) -> Result<Turn, Trouble> {
        let (rows, sweep) = core::mem::take(&mut self.held);
        self.apply((&rows, sweep), (Some(self.estate.seq), true), rng)?;
        self.turn.changes = self.estate.seq;
        Ok(self.turn)
    }
}

/// Makes the replica even with the database. `now_ms`: milliseconds since 1970 UTC.
pub(super) fn even(conn: &mut Conn, store: &Store, now_ms: u64, rng: &mut dyn Random) -> Result<Turn, Trouble> {
    let stand = store.stand()?;
    let own = store.own_envelope()?;
    if own.is_none() {
        return Err(StoreError::Older { path: store.path().to_path_buf(), version: 1 }.into());
    }
    if let Some(stand) = &stand {
        let estate = estate::read(conn)?;
        let same = own.as_ref() == Some(&estate.envelope) && stand.origin == estate.origin;
        if same && stand.changes == Some(estate.seq) {
            if now_ms.saturating_sub(stand.touched_ms) >= TOUCHED_MS {
                let stand = Stand { touched_ms: now_ms, ..stand.clone() };
                store.apply(&Batch { envelope: None, rows: &[], sweep: Vec::new(), stand }, rng)?;
            }
            return Ok(Turn { changes: estate.seq, ..Turn::default() });
        }
    } else if store.identities()? > 0 {
        let what = "this node's store has keys of its own, which a copy would remove: run `portunus store migrate`";
        return Err(Trouble::Said(what.to_owned()));
    }
    conn.transaction(MOMENT, |conn| {
        let estate = estate::read(conn)?;
        let custody = estate::open(&estate.envelope, store.wrapping())?;
        let mut taking = Taking {
            store,
            estate: &estate,
            envelope: own.as_ref() != Some(&estate.envelope),
            at_once: !store.seals_with(&custody) && store.identities()? > 0,
            whole: stand.as_ref().is_some_and(|s| s.whole),
            now_ms,
            held: Default::default(),
            turn: Turn::default(),
        };
        let followed = stand.as_ref().filter(|s| s.origin == estate.origin).and_then(|s| s.changes);
        match followed.filter(|n| *n <= estate.seq) {
            Some(from) => follow(conn, &mut taking, from, rng)?,
            None => copy(conn, &mut taking, rng)?,
        }
        taking.end(rng)
    })
}

fn follow(conn: &mut Conn, taking: &mut Taking<'_>, from: u64, rng: &mut dyn Random) -> Result<(), Trouble> {
    let mut from = from;
    loop {
        let (rows, last) = estate::changed(conn, from)?;
        let Some(last) = last else { return Ok(()) };
        taking.page(rows, None, Some(last), rng)?;
        from = last;
    }
}

fn copy(conn: &mut Conn, taking: &mut Taking<'_>, rng: &mut dyn Random) -> Result<(), Trouble> {
    taking.turn.copied = true;
    for space in [Space::Subscriber, Space::Device] {
        let mut after = String::new();
        estate::pages(conn, space, "", &mut |rows| {
            let end = rows.last().filter(|_| rows.len() == estate::PAGE).map(|row| row.id.clone());
            let stretch = (space, after.clone(), end.clone());
            after = end.unwrap_or_default();
            taking.page(rows, Some(stretch), None, rng)?;
            Ok(ControlFlow::Continue(()))
        })?;
    }
    Ok(())
}
