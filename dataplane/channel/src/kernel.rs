//! Sessions of `ipsec-man` whose ESP the host's kernel does (spec section 5): which associations are to be there, which are,
//! and what is to be asked of the kernel so that the two are the same. No system call: requests leave by
//! [`Installer::question`], answers come in by [`Installer::answered`].
//!
//! ```text
//!            install                 both granted                 end
//!   (none) ----------> installing -----------------> installed --------> leaving
//!     ^                    |                             |                  | a while after, so that the last reply
//!     |                    | one refused, or silence     | lost, moved      | still leaves protected
//!     |                    v                             v                  v
//!     +---------------- removing <------------------------------------------+
//!        both answered
//! ```
//!
//! Both directions or none: where one is refused the other is removed. What a former life of this process left behind bears
//! the same owner's number and is removed at the beginning, before anything is installed; whenever answers were lost
//! the kernel's list is compared again, both ways.

use crate::keys::TrafficKey;
use core::net::{IpAddr, SocketAddr};
use std::collections::{BTreeMap, HashMap, VecDeque};

/// Milliseconds after which a request that the kernel has not answered is taken for refused.
const ANSWER_MS: u64 = 2_000;
/// Milliseconds for which the associations of an ended session stay.
const LINGER_MS: u64 = 5_000;

/// A session's two associations.
#[derive(Debug, Clone)]
pub struct Pair {
    /// The session's handle.
    pub kid: u64,
    /// This end's address, and its port inside.
    pub here: SocketAddr,
    /// The terminal's address, and its port inside.
    pub there: SocketAddr,
    /// The outer ports: this end's, and where the terminal's datagrams come from as far as is known.
    pub outer: (u16, u16),
    /// The SPIs: this end's, the terminal's.
    pub spi: (u32, u32),
    /// Terminal to proxy.
    pub c2s: TrafficKey,
    /// Proxy to terminal.
    pub s2c: TrafficKey,
}

/// One direction, as the kernel is asked for it.
#[derive(Debug, Clone, Copy)]
pub struct Half<'p> {
    /// The receiver's address.
    pub to: IpAddr,
    /// The sender's.
    pub from: IpAddr,
    /// The receiver's SPI.
    pub spi: u32,
    /// Inner ports, the sender's and the receiver's.
    pub ports: (u16, u16),
    /// Outer ports, likewise.
    pub outer: (u16, u16),
    /// Its key.
    pub key: &'p TrafficKey,
    /// This end receives.
    pub inward: bool,
}

impl Pair {
    /// What the terminal sends.
    pub const fn inward(&self) -> Half<'_> {
        Half {
            to: self.here.ip(),
            from: self.there.ip(),
            spi: self.spi.0,
            ports: (self.there.port(), self.here.port()),
            outer: (self.outer.1, self.outer.0),
            key: &self.c2s,
            inward: true,
        }
    }

    /// What it receives.
    pub const fn outward(&self) -> Half<'_> {
        Half {
            to: self.there.ip(),
            from: self.here.ip(),
            spi: self.spi.1,
            ports: (self.here.port(), self.there.port()),
            outer: (self.outer.0, self.outer.1),
            key: &self.s2c,
            inward: false,
        }
    }
}

/// What the kernel is to be asked.
#[derive(Debug, Clone, Copy)]
pub enum Ask<'p> {
    /// A new association.
    Add(Half<'p>),
    /// Other outer ports for one that is there.
    Update(Half<'p>),
    /// The end of one: the receiver's address and SPI.
    Remove(IpAddr, u32),
    /// All that there are.
    List,
}

/// What became of a session's associations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Report {
    /// Both are there.
    Installed(u64),
    /// There are none; the kernel's error (errno), 0 for its silence or a full table.
    Refused(u64, i32),
    /// They were there and are gone, or lead to another address than the terminal's: the session has nothing to be carried
    /// by.
    Lost(u64),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Installing,
    Installed,
    Leaving,
    Removing,
}

struct Entry {
    pair: Pair,
    stage: Stage,
    /// Answers awaited to what the present stage asked for.
    open: u8,
    /// When it may be removed, once it is leaving.
    until_ms: u64,
    /// The error of the first half that was refused.
    refused: Option<i32>,
    /// Seen in the list that is being read.
    seen: [bool; 2],
}

/// A request that waits, or whose answer is awaited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Work {
    Add {
        kid: u64,
        outward: bool,
    },
    Update {
        kid: u64,
        outward: bool,
    },
    Remove {
        kid: u64,
        outward: bool,
    },
    /// Nobody's: left over from a former life.
    Stray(IpAddr, u32),
    List,
}

/// Keeps the kernel's associations and the sessions the same.
pub struct Installer {
    entries: HashMap<u64, Entry>,
    /// By the receiver's address and SPI: whose it is, and whether it is the outward one.
    by_id: HashMap<(IpAddr, u32), (u64, bool)>,
    capacity: usize,
    waiting: VecDeque<Work>,
    /// By the number that the request was sent with.
    asked: BTreeMap<u32, (Work, u64)>,
    reports: VecDeque<Report>,
    /// The first list has been read: what was left behind is known.
    begun: bool,
    listing: bool,
    /// Strays found so far.
    strays: u64,
}

impl core::fmt::Debug for Installer {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Installer").field("sessions", &self.entries.len()).finish_non_exhaustive()
    }
}

impl Installer {
    /// For so many sessions at most. Begins by asking what is there already.
    pub fn new(capacity: usize) -> Self {
        Self {
            entries: HashMap::new(),
            by_id: HashMap::new(),
            capacity,
            waiting: VecDeque::from([Work::List]),
            asked: BTreeMap::new(),
            reports: VecDeque::new(),
            begun: false,
            listing: true,
            strays: 0,
        }
    }

    /// Sessions that have associations, or are about to, or had.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// True when no session has any.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Associations of a former life that were found and removed.
    pub const fn strays(&self) -> u64 {
        self.strays
    }

    /// A session is to have its associations. One that has any already, a full table, and an SPI towards a terminal that
    /// another session has: [`Report::Refused`].
    pub fn install(&mut self, pair: Pair) {
        let kid = pair.kid;
        let ids = ids(&pair);
        let taken = ids.iter().any(|id| self.by_id.contains_key(id));
        if taken || self.entries.contains_key(&kid) || self.entries.len() >= self.capacity {
            return self.reports.push_back(Report::Refused(kid, 0));
        }
        for (id, outward) in ids.into_iter().zip([false, true]) {
            self.by_id.insert(id, (kid, outward));
            self.waiting.push_back(Work::Add { kid, outward });
        }
        let entry = Entry { pair, stage: Stage::Installing, open: 2, until_ms: 0, refused: None, seen: [false; 2] };
        self.entries.insert(kid, entry);
    }

    /// A session has ended: its associations follow once its last reply has left.
    pub fn end(&mut self, now_ms: u64, kid: u64) {
        let Some(entry) = self.entries.get_mut(&kid) else { return };
        match entry.stage {
            Stage::Installed => (entry.stage, entry.until_ms) = (Stage::Leaving, now_ms + LINGER_MS),
            // Nothing was ever said in it.
            Stage::Installing => self.remove(now_ms, kid),
            Stage::Leaving | Stage::Removing => {}
        }
    }

    /// The next request; `None`: nothing is to be asked at present. [`Installer::sent`] or [`Installer::unsent`] follows.
    pub fn question(&mut self) -> Option<Ask<'_>> {
        loop {
            let work = *self.waiting.front()?;
            // Nothing is installed before it is known what was left behind.
            if !self.begun && matches!(work, Work::Add { .. }) {
                let first = self.waiting.iter().position(|w| !matches!(w, Work::Add { .. }))?;
                self.waiting.swap(0, first);
                continue;
            }
            let kid = match work {
                Work::Add { kid, .. } | Work::Update { kid, .. } | Work::Remove { kid, .. } => kid,
                Work::Stray(to, spi) => return Some(Ask::Remove(to, spi)),
                Work::List => return Some(Ask::List),
            };
            if !self.entries.contains_key(&kid) {
                self.waiting.pop_front();
                continue;
            }
            let pair = &self.entries.get(&kid)?.pair;
            let half = |outward| if outward { pair.outward() } else { pair.inward() };
            return Some(match work {
                Work::Add { outward, .. } => Ask::Add(half(outward)),
                Work::Update { outward, .. } => Ask::Update(half(outward)),
                Work::Remove { outward, .. } => Ask::Remove(half(outward).to, half(outward).spi),
                Work::Stray(to, spi) => Ask::Remove(to, spi),
                Work::List => Ask::List,
            });
        }
    }

    /// The request of [`Installer::question`] left under this number.
    pub fn sent(&mut self, now_ms: u64, number: u32) {
        if let Some(work) = self.waiting.pop_front() {
            self.asked.insert(number, (work, now_ms + ANSWER_MS));
        }
    }

    /// The request of [`Installer::question`] could not be sent: as if the kernel had refused it.
    pub fn unsent(&mut self, now_ms: u64, error: i32) {
        if let Some(work) = self.waiting.pop_front() {
            self.done(now_ms, work, Err(error));
        }
    }

    /// The kernel's answer to a request: its error, 0 for none.
    pub fn answered(&mut self, now_ms: u64, number: u32, error: i32) {
        if let Some((work, _)) = self.asked.remove(&number) {
            self.done(now_ms, work, if error == 0 { Ok(()) } else { Err(error) });
        }
    }

    /// The list names an association that bears our number.
    pub fn listed(&mut self, to: IpAddr, spi: u32) {
        // What is there before anything was installed is nobody's, whatever SPI a new one bears.
        match self.by_id.get(&(to, spi)).filter(|_| self.begun) {
            Some((kid, outward)) => {
                if let Some(entry) = self.entries.get_mut(kid)
                    && let Some(seen) = entry.seen.get_mut(usize::from(*outward))
                {
                    *seen = true;
                }
            }
            None => {
                self.strays += 1;
                // Before everything else: a new one might bear the same SPI.
                self.waiting.push_front(Work::Stray(to, spi));
            }
        }
    }

    /// The list is complete: whatever should be there and is not is lost.
    pub fn list_ended(&mut self, now_ms: u64, number: u32) {
        self.asked.remove(&number);
        self.listing = false;
        if !core::mem::replace(&mut self.begun, true) {
            return;
        }
        let gone = |entry: &Entry| entry.stage == Stage::Installed && entry.seen != [true; 2];
        let lost: Vec<u64> = self.entries.iter().filter(|(_, entry)| gone(entry)).map(|(kid, _)| *kid).collect();
        for kid in lost {
            self.reports.push_back(Report::Lost(kid));
            self.remove(now_ms, kid);
        }
    }

    /// Answers were lost: the kernel's list is read again.
    pub fn unsure(&mut self) {
        if !core::mem::replace(&mut self.listing, true) {
            self.entries.values_mut().for_each(|entry| entry.seen = [false; 2]);
            self.waiting.push_back(Work::List);
        }
    }

    /// The datagrams of an inward association come from there now, and verify. Another port is followed; another address
    /// ends the session, for neither the terminal's inner address nor its association can follow.
    pub fn moved(&mut self, now_ms: u64, (to, spi): (IpAddr, u32), from: SocketAddr) {
        let Some(&(kid, false)) = self.by_id.get(&(to, spi)) else { return };
        let Some(entry) = self.entries.get_mut(&kid) else { return };
        if !matches!(entry.stage, Stage::Installing | Stage::Installed) || entry.pair.outer.1 == from.port() {
            return;
        }
        if entry.pair.there.ip() != from.ip() {
            self.reports.push_back(Report::Lost(kid));
            return self.remove(now_ms, kid);
        }
        entry.pair.outer.1 = from.port();
        self.waiting.extend([false, true].map(|outward| Work::Update { kid, outward }));
    }

    /// What the kernel has, or may have, of all sessions: the receiver's address and SPI of each association.
    pub fn held(&self) -> Vec<(IpAddr, u32)> {
        self.by_id.keys().copied().collect()
    }

    /// What became of sessions, in order.
    pub fn report(&mut self) -> Option<Report> {
        self.reports.pop_front()
    }

    /// When [`Installer::on_timer`] is wanted, in milliseconds of the clock of all arguments.
    pub fn next_deadline(&self) -> Option<u64> {
        let timed = |entry: &&Entry| entry.stage == Stage::Leaving;
        let entries = self.entries.values().filter(timed).map(|entry| entry.until_ms);
        entries.chain(self.asked.values().map(|(_, until)| *until)).min()
    }

    /// Takes silence for a refusal, and removes what has lingered.
    pub fn on_timer(&mut self, now_ms: u64) {
        while let Some((&number, &(work, _))) = self.asked.iter().find(|(_, (_, until))| *until <= now_ms) {
            self.asked.remove(&number);
            self.done(now_ms, work, Err(0));
        }
        let over = |entry: &Entry| entry.stage == Stage::Leaving && entry.until_ms <= now_ms;
        let over: Vec<u64> = self.entries.iter().filter(|(_, entry)| over(entry)).map(|(kid, _)| *kid).collect();
        over.into_iter().for_each(|kid| self.remove(now_ms, kid));
    }

    /// A request is over: granted, or refused with the kernel's error, 0 for its silence.
    fn done(&mut self, now_ms: u64, work: Work, outcome: Result<(), i32>) {
        match work {
            Work::Add { kid, .. } => self.added(now_ms, kid, outcome),
            Work::Remove { kid, .. } => {
                let Some(entry) = self.entries.get_mut(&kid) else { return };
                entry.open = entry.open.saturating_sub(1);
                if entry.open == 0 {
                    self.forget(kid);
                }
            }
            Work::Update { kid, .. } if outcome.is_err() => {
                if self.entries.get(&kid).is_some_and(|entry| entry.stage == Stage::Installed) {
                    self.reports.push_back(Report::Lost(kid));
                    self.remove(now_ms, kid);
                }
            }
            // A list that does not end is asked for again.
            Work::List if outcome.is_err() => self.waiting.push_back(Work::List),
            Work::Update { .. } | Work::List | Work::Stray(..) => {}
        }
    }

    fn added(&mut self, now_ms: u64, kid: u64, outcome: Result<(), i32>) {
        // Once its removal is under way nothing depends on it any more.
        let Some(entry) = self.entries.get_mut(&kid).filter(|entry| entry.stage == Stage::Installing) else { return };
        entry.open = entry.open.saturating_sub(1);
        entry.refused = entry.refused.or(outcome.err());
        match (entry.open, entry.refused) {
            (0, None) => {
                entry.stage = Stage::Installed;
                self.reports.push_back(Report::Installed(kid));
            }
            (0, Some(error)) => {
                self.reports.push_back(Report::Refused(kid, error));
                self.remove(now_ms, kid);
            }
            _ => {}
        }
    }

    /// Asks for the removal of what is there of a session's, or may be.
    fn remove(&mut self, now_ms: u64, kid: u64) {
        let Some(entry) = self.entries.get_mut(&kid) else { return };
        (entry.stage, entry.until_ms, entry.open) = (Stage::Removing, now_ms, 0);
        for outward in [false, true] {
            // What has not left yet need not be undone.
            if !self.waiting.contains(&Work::Add { kid, outward }) {
                entry.open += 1;
                self.waiting.push_back(Work::Remove { kid, outward });
            }
        }
        let of = |work: &Work| matches!(work, Work::Add { kid: k, .. } | Work::Update { kid: k, .. } if *k == kid);
        self.waiting.retain(|work| !of(work));
        if entry.open == 0 {
            self.forget(kid);
        }
    }

    fn forget(&mut self, kid: u64) {
        if let Some(entry) = self.entries.remove(&kid) {
            for id in ids(&entry.pair) {
                self.by_id.remove(&id);
            }
        }
    }
}

fn ids(pair: &Pair) -> [(IpAddr, u32); 2] {
    [(pair.here.ip(), pair.spi.0), (pair.there.ip(), pair.spi.1)]
}

#[cfg(test)]
#[path = "kernel/tests.rs"]
mod tests;
