//! The AuC with its sockets: one thread answers, one thread records.
//!
//! A guest's question goes out by a link to its own AuC, and is answered when that has answered (`foreign`).
//!
//! ```text
//!  sockets --> [auc] --s3--> vector --> answer
//!                |  \--s11--> queue (bounded) --> [auc-records] --one commit for all that wait--> acknowledged
//!                ^                                      |
//!                +------ tickets, waker ----------------+
//! ```
//!
//! An s11 is acknowledged only after the commit that holds it. While one commit is on its way to the disk, what
//! arrives waits for the next: the busier the AuC, the more of them share a commit.
//!
//! Where a commit fails (a full disk), none of its events is acknowledged and none is recorded; whoever sent them says
//! them again until there is room. Questions (s3) are answered meanwhile: they only read.

mod foreign;

pub use foreign::ForeignRun;

use crate::auc::{Auc, AucConfig, AucCounters, Notice, Partner, Verdict};
use crate::audit::{Audit, AuditEntry};
use crate::store::Store;
use crate::subscribers::Cached;
use core::net::SocketAddr;
use foreign::Abroad;
use mio::{Events, Poll, Token, Waker};
use portunus_aaa::net::{Listen, ServerRunner, ServerTicket};
use portunus_aaa::server::EndCounters;
use portunus_aaa::{AaaAnswer, Account};
use portunus_keydist::auc::Change;
use portunus_keydist::steps::Registration;
use portunus_keydist::{Now, SystemRandom};
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, TrySendError, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Registration events that may wait for a commit; more are dropped and asked for again.
const RECORDS_MAX: usize = 65_536;
/// Most events in one commit.
const COMMIT_MAX: usize = 4_096;
/// How long the loop sleeps when nothing is due: the delay of a stop whose wake-up was lost.
const IDLE: Duration = Duration::from_secs(1);
const WAKER: Token = Token(0);
const SOCKETS: Token = Token(1);

/// What an AuC process is made from.
#[derive(Debug)]
pub struct RunConfig {
    /// What it serves.
    pub auc: AucConfig,
    /// Where it listens.
    pub listen: Vec<Listen>,
    /// Most subscribers' credentials kept open in memory.
    pub open_keys: usize,
}

/// What was counted since the start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AucStatus {
    /// By the AuC.
    pub auc: AucCounters,
    /// By each listener, in the order of the configuration.
    pub ends: Vec<EndCounters>,
    /// Registration events recorded.
    pub recorded: u64,
    /// Commits that it took.
    pub commits: u64,
    /// Registration events that could not be recorded: asked for again by whoever sent them.
    pub unrecorded: u64,
}

type Job = (ServerTicket, Account);

/// One batch's fate.
struct Done {
    tickets: Vec<ServerTicket>,
    durable: bool,
}

/// A running AuC.
#[derive(Debug)]
pub struct AucHandle {
    addresses: Vec<SocketAddr>,
    store: Arc<Store>,
    status: Arc<Mutex<AucStatus>>,
    stop: Arc<AtomicBool>,
    waker: Arc<Waker>,
    threads: Vec<JoinHandle<()>>,
}

impl AucHandle {
    /// The addresses in use, as [`ServerRunner::addresses`] orders them.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The store, for key operations: they take effect at once.
    pub fn store(&self) -> &Arc<Store> {
        &self.store
    }

    /// What was counted, at most a turn of the loop old.
    pub fn status(&self) -> AucStatus {
        self.status.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// False when a thread ended by itself, which is a fault of ours.
    pub fn is_running(&self) -> bool {
        !self.threads.iter().any(|t| t.is_finished())
    }

    /// Stops: what was taken is recorded and acknowledged first.
    pub fn stop(mut self) {
        self.halt();
    }

    fn halt(&mut self) {
        self.stop.store(true, Ordering::Release);
        let _ = self.waker.wake();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Drop for AucHandle {
    fn drop(&mut self) {
        self.halt();
    }
}

/// Starts an AuC; its sockets are open when this returns.
///
/// # Errors
/// An address that cannot be had, named; no threads to be had.
pub fn start(config: RunConfig, store: Arc<Store>, audit: Option<Arc<Audit>>) -> io::Result<AucHandle> {
    start_among(config, (Vec::new(), Vec::new()), store, audit)
}

/// Starts an AuC that asks those of other domains, and is asked by them.
///
/// # Errors
/// As [`start`].
pub fn start_among(
    config: RunConfig,
    (foreign, partners): (Vec<ForeignRun>, Vec<Partner>),
    store: Arc<Store>,
    audit: Option<Arc<Audit>>,
) -> io::Result<AucHandle> {
    let mut generator = || -> Box<dyn portunus_keydist::Random + Send> { Box::new(SystemRandom::new()) };
    let mut sockets = ServerRunner::bind(config.listen, &mut generator)?;
    let poll = Poll::new()?;
    let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
    sockets.register(poll.registry(), SOCKETS)?;
    let (known, links) = foreign.into_iter().map(|f| (f.foreign, f.links)).unzip();
    let mut abroad = Abroad::new(links)?;
    abroad.register(poll.registry(), sockets.tokens(), Now::default())?;
    let addresses = sockets.addresses();
    let mut rng = SystemRandom::new();
    let auc = Auc::new(config.auc, Cached::new(store.clone(), config.open_keys), &mut rng).among(known, partners);
    let (jobs, queue) = sync_channel(RECORDS_MAX);
    let (done_out, done_in) = channel();
    let stop = Arc::new(AtomicBool::new(false));
    let status = Arc::new(Mutex::new(AucStatus::default()));
    let recorder = Recorder { store: store.clone(), audit, queue, done: done_out, waker: waker.clone() };
    let answerer = Answerer {
        poll,
        sockets,
        abroad,
        auc,
        rng,
        jobs: Some(jobs),
        done: done_in,
        stop: stop.clone(),
        status: status.clone(),
        own: AucStatus::default(),
        begun: Instant::now(),
        open: 0,
    };
    let threads = vec![
        std::thread::Builder::new().name("auc-records".into()).spawn(move || recorder.run())?,
        std::thread::Builder::new().name("auc".into()).spawn(move || answerer.run())?,
    ];
    Ok(AucHandle { addresses, store, status, stop, waker, threads })
}

fn wall_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as u64)
}

/// The thread that answers.
struct Answerer {
    poll: Poll,
    sockets: ServerRunner,
    abroad: Abroad,
    auc: Auc<Cached>,
    rng: SystemRandom,
    /// `None` once it stops.
    jobs: Option<SyncSender<Job>>,
    done: Receiver<Done>,
    stop: Arc<AtomicBool>,
    status: Arc<Mutex<AucStatus>>,
    own: AucStatus,
    begun: Instant,
    /// Registration events handed over and not heard of yet.
    open: usize,
}

impl Answerer {
    fn now(&self) -> Now {
        Now { mono_ms: self.begun.elapsed().as_millis() as u64, wall_ms: wall_ms() }
    }

    fn run(mut self) {
        let mut events = Events::with_capacity(1_024);
        while self.jobs.is_some() || self.open > 0 {
            let now = self.now();
            let due = [self.sockets.next_deadline(), self.abroad.next_deadline()].into_iter().flatten().min();
            let wait = due.map(|at| Duration::from_millis(at.saturating_sub(now.mono_ms)));
            match self.poll.poll(&mut events, Some(wait.unwrap_or(IDLE).min(IDLE))) {
                Err(e) if e.kind() != io::ErrorKind::Interrupted => {
                    tracing::error!(error = %e, "the AuC's loop failed");
                    return;
                }
                _ => {}
            }
            let now = self.now();
            for event in &events {
                if !self.sockets.on_ready(now, event) {
                    self.abroad.on_ready(now, event);
                }
            }
            self.sockets.on_timer(now);
            self.abroad.on_timer(now);
            self.bring_back(now);
            self.answer_all(now);
            while let Ok(done) = self.done.try_recv() {
                self.acknowledge(now, done);
            }
            self.abroad.flush(now);
            self.sockets.flush();
            self.tell();
            if self.stop.load(Ordering::Acquire) {
                // Ends the recorder once it has recorded what is queued.
                self.jobs = None;
            }
        }
    }

    fn answer_all(&mut self, now: Now) {
        while let Some(asked) = self.sockets.poll_asked() {
            match self.auc.on_request_of(now, &mut self.rng, &asked.client, asked.request) {
                Verdict::Answer(answer) => self.sockets.answer(now, asked.ticket, &answer),
                Verdict::Foreign { nth, request } => {
                    if let Err(ticket) = self.abroad.ask(now, asked.ticket, (nth, request)) {
                        self.sockets.abandon(ticket);
                    }
                }
                Verdict::Record(account) => {
                    let sent = match &self.jobs {
                        Some(jobs) => jobs.try_send((asked.ticket, account)),
                        None => Err(TrySendError::Disconnected((asked.ticket, account))),
                    };
                    match sent {
                        Ok(()) => self.open += 1,
                        Err(_) => {
                            self.own.unrecorded += 1;
                            self.sockets.abandon(asked.ticket);
                        }
                    }
                }
            }
        }
    }

    /// Answers of other domains' AuCs.
    fn bring_back(&mut self, now: Now) {
        while let Some(back) = self.abroad.poll() {
            match back.answer {
                Some(answer) => {
                    let answer = self.auc.on_foreign(now, back.nth, &back.request, answer);
                    self.sockets.answer(now, back.ticket, &answer);
                }
                // Silence here is silence there: whoever asked finds out as we did.
                None => self.sockets.abandon(back.ticket),
            }
        }
    }

    fn acknowledge(&mut self, now: Now, done: Done) {
        self.own.commits += u64::from(done.durable);
        for ticket in done.tickets {
            self.open = self.open.saturating_sub(1);
            if done.durable {
                self.own.recorded += 1;
                self.sockets.answer(now, ticket, &AaaAnswer::Recorded);
            } else {
                self.own.unrecorded += 1;
                self.sockets.abandon(ticket);
            }
        }
    }

    fn tell(&mut self) {
        while let Some(notice) = self.auc.poll_notice() {
            match notice {
                Notice::UnknownDevice { idsp } => tracing::warn!(idsp, "asked for a device without a key here"),
                Notice::UnknownRealm { realm } => tracing::warn!(realm, "asked for a realm not served here"),
                Notice::ForeignWrap { realm } => {
                    tracing::error!(realm, "its centre does not share the key that we have for it");
                }
                Notice::DigestOff => tracing::warn!("asked for a digest profile that is off"),
                Notice::Store(e) => tracing::error!(error = %e, "the store failed"),
            }
        }
        self.own.auc = self.auc.counters();
        self.own.ends = self.sockets.counters();
        self.status.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&self.own);
    }
}

/// The thread that records.
struct Recorder {
    store: Arc<Store>,
    audit: Option<Arc<Audit>>,
    queue: Receiver<Job>,
    done: Sender<Done>,
    waker: Arc<Waker>,
}

impl Recorder {
    fn run(self) {
        // Ends when the answering thread lets go of its end of the queue.
        while let Ok(first) = self.queue.recv() {
            let mut tickets = vec![first.0];
            let mut accounts = vec![first.1];
            while accounts.len() < COMMIT_MAX {
                let Ok((ticket, account)) = self.queue.try_recv() else { break };
                tickets.push(ticket);
                accounts.push(account);
            }
            let durable = self.commit(&accounts);
            if self.done.send(Done { tickets, durable }).is_err() {
                return;
            }
            let _ = self.waker.wake();
        }
    }

    fn commit(&self, accounts: &[Account]) -> bool {
        let wall_ms = wall_ms();
        let changes = match self.store.record(wall_ms, accounts) {
            Ok(changes) => changes,
            Err(e) => {
                tracing::error!(error = %e, events = accounts.len(), "registration events were not recorded");
                return false;
            }
        };
        let Some(audit) = &self.audit else { return true };
        let entries: Vec<_> =
            accounts.iter().zip(&changes).filter_map(|(a, c)| registration_entry(wall_ms, a, c)).collect();
        if !entries.is_empty()
            && let Err(e) = audit.append(&entries)
        {
            // What is recorded stays recorded; the log's gap is told.
            tracing::error!(error = %e, lines = entries.len(), "the audit log was not written");
        }
        true
    }
}

/// Beginnings and ends are audited, refreshes are not.
fn registration_entry(wall_ms: u64, account: &Account, change: &Change) -> Option<AuditEntry> {
    let event = match (account.event, change) {
        (_, Change::Ignore) | (Registration::Refresh, _) => return None,
        (Registration::Start, _) => "registration.start",
        (Registration::Stop, _) => "registration.stop",
    };
    let session: String = account.rand.iter().map(|b| format!("{b:02x}")).collect();
    let ip = account.ip.to_string();
    let fields =
        [("id", account.idc.as_str()), ("device", &account.idsp), ("address", ip.as_str()), ("session", &session)];
    Some(AuditEntry::new(wall_ms, event, &fields))
}

#[cfg(test)]
mod tests;
