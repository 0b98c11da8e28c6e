//! The thread that keeps a node's replica even with the database, whatever becomes of the database.

use super::copy::{self, Turn};
use super::database::Database;
use super::estate;
use super::link::{Conn, Trouble};
use crate::store::{Stand, Store, StoreError};
use core::time::Duration;
use portunus_keydist::{Random as _, SystemRandom};
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// The first pause after a failure; each further one is twice as long.
const PAUSE: Duration = Duration::from_millis(250);
/// No pause is longer: how late a database that is back may be noticed.
const PAUSE_MAX: Duration = Duration::from_secs(8);
/// How soon a stop is noticed.
const SLICE: Duration = Duration::from_millis(200);
/// Refused records that are named; the others are counted.
const NAMED: usize = 20;

/// How it goes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FollowStatus {
    /// True while the database is reached.
    pub reached: bool,
    /// The number of the last change that is here.
    pub changes: u64,
    /// When the replica was last even, milliseconds since 1970 UTC.
    pub even_ms: u64,
    /// Records written or replaced.
    pub written: u64,
    /// Identities removed.
    pub removed: u64,
    /// Records that did not open under the estate's keys: damaged, or moved from another place.
    pub refused: u64,
    /// The last [`FollowStatus::NAMED`] of them: what, and whose.
    pub refused_named: Vec<(&'static str, String)>,
    /// Times that everything was compared.
    pub copies: u64,
    /// Connections lost, or not had.
    pub failures: u64,
    /// What the last failure was; `None` while the database is reached.
    pub failure: Option<String>,
}

impl FollowStatus {
    /// Refused records that are named.
    pub const NAMED: usize = NAMED;

    fn add(&mut self, turn: &Turn, now_ms: u64) {
        self.reached = true;
        self.failure = None;
        self.changes = turn.changes;
        self.even_ms = now_ms;
        self.written += turn.applied.written;
        self.removed += turn.applied.removed;
        self.refused += turn.applied.refused.len() as u64;
        self.copies += u64::from(turn.copied);
        self.refused_named.extend(turn.applied.refused.iter().take(NAMED).cloned());
        let over = self.refused_named.len().saturating_sub(NAMED);
        self.refused_named.drain(..over);
    }
}

/// The running thread.
#[derive(Debug)]
pub struct Follower {
    status: Arc<Mutex<FollowStatus>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

fn wall_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as u64)
}

impl Follower {
    /// Begins to follow. A store without a complete copy gets one first, while the caller waits; any other follows from
    /// where it stands, now or when the database is back. With it comes the stand that the node begins with.
    ///
    /// # Errors
    /// [`StoreError::Database`] when there is no copy and none is to be had; [`StoreError::Backend`].
    pub fn start(store: Arc<Store>, database: Arc<Database>) -> Result<(Self, Stand), StoreError> {
        let mut work = Work { store, database, status: Arc::default(), stop: Arc::default() };
        let told = |e: Trouble, work: &Work| e.told(work.database.label());
        if !work.store.stand()?.is_some_and(|stand| stand.whole) {
            let mut conn = work.connect().map_err(|e| told(e, &work))?;
            work.turn(&mut conn).map_err(|e| told(e, &work))?;
        }
        let none = || StoreError::Record { noun: "the store's own", id: "replica".to_owned() };
        let stand = work.store.stand()?.ok_or_else(none)?;
        {
            let mut status = work.status.lock().unwrap_or_else(PoisonError::into_inner);
            status.changes = stand.changes.unwrap_or_default();
            status.even_ms = stand.touched_ms;
        }
        let (status, stop) = (work.status.clone(), work.stop.clone());
        let label = work.database.label().to_owned();
        let spawned = std::thread::Builder::new().name("auc-follower".into()).spawn(move || work.run());
        let no_thread =
            |e: io::Error| StoreError::Database { server: label, what: format!("no thread: {e}"), unknown: false };
        Ok((Self { status, stop, thread: Some(spawned.map_err(no_thread)?) }, stand))
    }

    /// How it goes.
    pub fn status(&self) -> FollowStatus {
        self.status.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// False when the thread ended by itself, which is a fault of ours.
    pub fn is_running(&self) -> bool {
        self.thread.as_ref().is_some_and(|t| !t.is_finished())
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Work {
    store: Arc<Store>,
    database: Arc<Database>,
    status: Arc<Mutex<FollowStatus>>,
    stop: Arc<AtomicBool>,
}

impl Work {
    fn run(mut self) {
        let mut failed = 0u32;
        while !self.stopped() {
            match self.connect().and_then(|mut conn| self.follow(&mut conn, &mut failed)) {
                Ok(()) => return,
                Err(e) => self.pause(e, &mut failed),
            }
        }
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    fn connect(&self) -> Result<Conn, Trouble> {
        let mut conn = self.database.pool.link().connect(true)?;
        conn.batch(estate::LISTEN)?;
        Ok(conn)
    }

    /// Until it is to stop.
    fn follow(&mut self, conn: &mut Conn, failed: &mut u32) -> Result<(), Trouble> {
        let poll = self.database.config.poll;
        while !self.stopped() {
            self.turn(conn)?;
            if *failed > 0 {
                tracing::info!(database = self.database.label(), "the database is back, the replica is even");
                *failed = 0;
            }
            let until = Instant::now() + poll;
            while !self.stopped() && !conn.is_closed() {
                let left = until.saturating_duration_since(Instant::now()).min(SLICE);
                if left.is_zero() || conn.wait_for_change(left) {
                    break;
                }
            }
        }
        Ok(())
    }

    fn turn(&mut self, conn: &mut Conn) -> Result<(), Trouble> {
        let turn = copy::even(conn, &self.store, wall_ms(), &mut SystemRandom::new())?;
        for (noun, id) in turn.applied.refused.iter().take(NAMED) {
            tracing::error!(id, "the record of a {noun} in the database does not open: the replica keeps what it has");
        }
        if turn.copied {
            let (written, removed) = (turn.applied.written, turn.applied.removed);
            tracing::info!(written, removed, "the replica was compared with the whole database");
        }
        self.status.lock().unwrap_or_else(PoisonError::into_inner).add(&turn, wall_ms());
        Ok(())
    }

    /// Says what is wrong, once, and waits: longer each time, and no two nodes equally long.
    fn pause(&mut self, e: Trouble, failed: &mut u32) {
        let failure = e.told(self.database.label());
        if *failed == 0 {
            tracing::warn!(error = %failure, "not followed: answers go on, provisioning waits");
        }
        {
            let mut status = self.status.lock().unwrap_or_else(PoisonError::into_inner);
            status.reached = false;
            status.failures += 1;
            status.failure = Some(failure.to_string());
        }
        let longest = PAUSE.saturating_mul(1 << (*failed).min(8)).min(PAUSE_MAX);
        *failed = failed.saturating_add(1);
        let mut octet = [0u8];
        SystemRandom::new().fill(&mut octet);
        let until = Instant::now() + longest.mul_f64(0.5 + f64::from(octet[0]) / 512.0);
        while !self.stopped() && Instant::now() < until {
            std::thread::sleep(until.saturating_duration_since(Instant::now()).min(SLICE));
        }
    }
}
