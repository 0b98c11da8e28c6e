//! The location service (RFC 3261 section 10.3, RFC 3327): where each identity can be reached, until when.
//!
//! ```text
//!            update(Contact, Expires > 0)
//!   absent ─────────────────────────────► bound ◄──┐ refresh: newer CSeq, or another Call-ID
//!     ▲                                     │  └───┘
//!     │  forgotten after `remember`         │ Expires 0, Contact *, or the time ran out
//!     └──────────── known, unbound ◄────────┘
//!                     (480 instead of 404)
//! ```
//!
//! Protocols whose terminals are told apart by transport address (MGCP, H.248, RAS) bind an identity to its *lane*:
//! the proxy's address that is this terminal's own (`lanes`). There is one name space: who is bound by one protocol is
//! bound by no other. Who registers at another place than where it is bound moves when it shows life there (`candidates`).
//!
//! A binding names the authenticated session (the challenge's Rand) that made it, so that the AuC's record can
//! follow the registration's life. All times are monotonic milliseconds. Deliberately absent: SIP syntax, and any
//! judgement about who may register what: both come before.

use crate::keyed::Keyed;
use crate::peers::Peer;
use crate::uri;
use core::net::SocketAddr;
use hashbrown::HashMap;
use portunus_keydist::{Rand, Random};
use portunus_signalling::Protocol;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

/// The authenticated registration behind a binding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Session {
    /// The challenge that authenticated it.
    pub rand: Rand,
    /// The proxy that it came through.
    pub idsp: Arc<str>,
    /// The terminal's address as that proxy saw it.
    pub ipc: SocketAddr,
}

/// Where an identity can be reached.
#[derive(Debug, Clone)]
pub(crate) struct Binding {
    /// What it is reached by.
    pub protocol: Protocol,
    /// The lane, for protocols that have one; SIP's fields below then say nothing.
    pub lane: Option<Peer>,
    /// The Contact's URI, as it was registered.
    pub uri: Box<[u8]>,
    /// The Path's rows joined by comma, to be pre-loaded as Route; empty where there was none.
    pub path: Box<[u8]>,
    /// Priority in thousandths.
    pub q_milli: u16,
    /// When it ends, monotonic milliseconds.
    pub expires_ms: u64,
    /// When it ends once it is no candidate.
    granted_ms: u64,
    /// Who stands behind it.
    pub session: Session,
    /// It waits for a sign of life (`candidates`).
    candidate: bool,
    call_id: u64,
    cseq: u32,
    age: u64,
}

impl Binding {
    /// Which of two bindings is tried first: the greater.
    pub(crate) fn rank(&self) -> (bool, u16, u64) {
        (!self.candidate, self.q_milli, self.age)
    }

    /// For people: the Contact's URI, or the protocol and the lane.
    pub(crate) fn spelled(&self) -> String {
        let scheme = match self.protocol {
            Protocol::Sip => return String::from_utf8_lossy(&self.uri).into_owned(),
            Protocol::Mgcp => "mgcp",
            Protocol::H248 => "h248",
            Protocol::Ras => "ras",
        };
        match self.lane {
            Some(Peer::Udp(addr) | Peer::LocalLane(addr) | Peer::Behind(addr, _)) => format!("{scheme}:{addr}"),
            Some(Peer::LocalProxy) | None => format!("{scheme}:"),
        }
    }
}

/// One Contact of a REGISTER.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wanted<'a> {
    /// Its URI.
    pub uri: &'a [u8],
    /// Priority in thousandths.
    pub q_milli: u16,
    /// Granted lifetime in seconds; 0 removes the binding.
    pub expires_s: u32,
}

/// The Contacts of a REGISTER.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Contacts<'a> {
    /// None: a query.
    Query,
    /// `Contact: *` with `Expires: 0`: remove them all.
    RemoveAll,
    /// These.
    List(&'a [Wanted<'a>]),
}

/// A registration that may change bindings: authenticated, and checked for form.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Update<'a> {
    /// Whose bindings.
    pub idc: &'a str,
    /// The request's Call-ID.
    pub call_id: &'a [u8],
    /// The request's CSeq number.
    pub cseq: u32,
    /// Its Path rows joined by comma.
    pub path: &'a [u8],
    /// Its Contacts.
    pub contacts: Contacts<'a>,
    /// Who stands behind it.
    pub session: &'a Session,
    /// True when it was authenticated by a challenge of its own and a new session key, so that what it binds
    /// belongs to `session` from now on; false for a refresh, which leaves an existing binding's session as it is.
    pub fresh: bool,
    /// True when a trusted proxy vouches that it came in an active session.
    pub vouched: bool,
}

/// Why a registration changed nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unchanged {
    /// A CSeq that is not newer under the same Call-ID.
    OutOfOrder,
    /// More Contacts than one identity may have.
    TooManyContacts,
    /// The table is full.
    Full,
}

/// What became of the sessions that a registration concerns, for s11.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    /// A session holds a binding for the first time.
    Started(Session),
    /// A session's binding was refreshed.
    Refreshed(Session),
    /// A session holds no binding any more.
    Ended(Session),
}

mod candidates;
mod lanes;

pub(crate) use candidates::UNCONFIRMED_MS;
use candidates::{Place, until};

#[derive(Debug)]
struct Record {
    idc: Box<str>,
    bindings: Vec<Binding>,
    /// When the queue looks at it next.
    due_ms: u64,
    /// When it may be forgotten, once unbound.
    forget_ms: u64,
}

/// The table.
#[derive(Debug)]
pub(crate) struct Location {
    keyed: Keyed,
    index: HashMap<Box<str>, u32, Keyed>,
    records: Vec<Option<Record>>,
    free: Vec<u32>,
    /// When something may be due at a record. An entry that is not the record's `due_ms` was overtaken.
    queue: BinaryHeap<Reverse<(u64, u32)>>,
    limits: Limits,
    age: u64,
    bindings: usize,
    /// Whose lane is whose.
    by_lane: HashMap<(Protocol, Peer), Box<str>, Keyed>,
    /// Who is no longer bound to which lane, for its protocol to be told.
    left: Vec<(Protocol, Box<str>, Peer)>,
    /// Bindings that wait for a sign of life.
    candidates: usize,
    /// Who got such a binding in SIP, for signs of life to be asked for.
    named: Vec<Box<str>>,
}

/// Limits of the table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub identities: usize,
    pub bindings_each: usize,
    pub remember_ms: u64,
}

impl Location {
    /// An empty table.
    pub(crate) fn new(limits: Limits, random: &mut dyn Random) -> Self {
        let keyed = Keyed::new(random);
        Self {
            keyed,
            index: HashMap::with_hasher(keyed),
            records: Vec::new(),
            free: Vec::new(),
            queue: BinaryHeap::new(),
            limits,
            age: 0,
            bindings: 0,
            by_lane: HashMap::with_hasher(keyed),
            left: Vec::new(),
            candidates: 0,
            named: Vec::new(),
        }
    }

    /// Identities known, bound or not.
    pub(crate) fn identities(&self) -> usize {
        self.index.len()
    }

    /// Bindings held.
    pub(crate) fn bindings(&self) -> usize {
        self.bindings
    }

    fn record(&self, idc: &str) -> Option<&Record> {
        let slot = *self.index.get(idc)?;
        self.records.get(slot as usize)?.as_ref()
    }

    /// The bindings of an identity that have not run out; `None` when it is not known at all.
    pub(crate) fn find(&self, now_ms: u64, idc: &str) -> Option<impl Iterator<Item = &Binding>> {
        Some(self.record(idc)?.bindings.iter().filter(move |b| b.expires_ms > now_ms))
    }

    /// Where SIP requests reach an identity: the highest q, and among equals the newest; a candidate only when there is
    /// nothing else.
    pub(crate) fn best(&self, now_ms: u64, idc: &str) -> Option<&Binding> {
        let reached = self.find(now_ms, idc)?.filter(|b| b.is_reached());
        reached.max_by_key(|b| b.rank()).filter(|b| b.lane.is_none())
    }

    /// Changes an identity's bindings as one step: all of what is asked, or nothing (RFC 3261 section 10.3).
    ///
    /// # Errors
    /// [`Unchanged`], and then nothing has changed.
    pub(crate) fn update(&mut self, now_ms: u64, update: &Update<'_>) -> Result<Vec<Change>, Unchanged> {
        let call_id = self.keyed.parts(1, &[update.call_id]);
        let held: &[Binding] = self.record(update.idc).map_or(&[], |r| r.bindings.as_slice());
        let before: Vec<Session> = sessions(held.iter());
        let mut next: Vec<Binding> = held.iter().filter(|b| b.expires_ms > now_ms).cloned().collect();
        let mut touched: Vec<Session> = Vec::new();
        let start = self.age;
        match update.contacts {
            Contacts::Query => return Ok(Vec::new()),
            Contacts::RemoveAll => {
                if next.iter().any(|b| b.call_id == call_id && b.cseq >= update.cseq) {
                    return Err(Unchanged::OutOfOrder);
                }
                next.retain(|b| b.lane.is_some());
            }
            Contacts::List(list) => {
                for wanted in list {
                    touched.extend(self.apply(now_ms, (call_id, start), update, wanted, &mut next)?);
                }
                if update.vouched && !touched.is_empty() {
                    candidates::alive(&mut next, Place::Proxy(&update.session.idsp));
                }
                // Bound by SIP is bound by nothing else.
                let bound = !touched.is_empty() && next.iter().any(|b| b.lane.is_none() && !b.candidate);
                next.retain(|b| b.lane.is_none() || b.candidate || !bound);
            }
        }
        if next.iter().filter(|b| b.lane.is_none()).count() > self.limits.bindings_each {
            return Err(Unchanged::TooManyContacts);
        }
        self.commit(now_ms, update.idc, next)?;
        let after = self.record(update.idc).map_or_else(Vec::new, |r| sessions(r.bindings.iter()));
        Ok(changes(&before, &after, &touched))
    }

    /// Applies one Contact to the bindings in `next`; the session that it leaves the binding with. `start` is the
    /// table's age when the request began: what is younger was bound by the same request.
    fn apply(
        &mut self,
        now_ms: u64,
        (call_id, start): (u64, u64),
        update: &Update<'_>,
        wanted: &Wanted<'_>,
        next: &mut Vec<Binding>,
    ) -> Result<Option<Session>, Unchanged> {
        let at = next.iter().position(|b| uri::equivalent(&b.uri, wanted.uri));
        if let Some(held) = at.and_then(|i| next.get(i)) {
            // The same Contact twice in one request is the same registration said twice, not a reordering.
            let newer = held.call_id != call_id || held.cseq < update.cseq || held.age > start;
            if !newer {
                return Err(Unchanged::OutOfOrder);
            }
        }
        let old = at.map(|i| next.swap_remove(i));
        if wanted.expires_s == 0 {
            return Ok(None);
        }
        let session = match old {
            Some(old) if !update.fresh && old.session.idsp == update.session.idsp => {
                Session { ipc: update.session.ipc, ..old.session }
            }
            _ => update.session.clone(),
        };
        self.age += 1;
        let candidate = update.fresh && candidates::waits(Place::Proxy(&update.session.idsp), next);
        if candidate {
            self.named.push(update.idc.into());
        }
        next.push(Binding {
            protocol: Protocol::Sip,
            lane: None,
            uri: wanted.uri.into(),
            path: update.path.into(),
            q_milli: wanted.q_milli,
            expires_ms: until(now_ms, wanted.expires_s),
            granted_ms: until(now_ms, wanted.expires_s),
            session: session.clone(),
            candidate,
            call_id,
            cseq: update.cseq,
            age: self.age,
        });
        Ok(Some(session))
    }

    fn commit(&mut self, now_ms: u64, idc: &str, next: Vec<Binding>) -> Result<(), Unchanged> {
        let slot = match self.index.get(idc) {
            Some(slot) => *slot,
            None if next.is_empty() => return Ok(()),
            None => self.insert(idc)?,
        };
        let remember = self.limits.remember_ms;
        let Some(record) = self.records.get_mut(slot as usize).and_then(Option::as_mut) else { return Ok(()) };
        self.bindings = self.bindings + next.len() - record.bindings.len();
        self.candidates = self.candidates + candidates::count(&next) - candidates::count(&record.bindings);
        let before = core::mem::replace(&mut record.bindings, next);
        lanes::moved(&mut self.by_lane, &mut self.left, idc, &before, &record.bindings);
        let due = match record.bindings.iter().map(|b| b.expires_ms).min() {
            Some(first) => first,
            None => {
                record.forget_ms = now_ms + remember;
                record.forget_ms
            }
        };
        self.due_by(slot, due);
        Ok(())
    }

    /// Sees to it that a record is looked at when `due` has come.
    fn due_by(&mut self, slot: u32, due: u64) {
        // A later due time is found when the present entry comes up; only an earlier one needs an entry of its own.
        match self.records.get_mut(slot as usize).and_then(Option::as_mut) {
            Some(record) if due < record.due_ms => {
                record.due_ms = due;
                self.queue.push(Reverse((due, slot)));
            }
            _ => {}
        }
        self.compact();
    }

    /// Drops entries that were overtaken by earlier ones, before they outnumber the records.
    fn compact(&mut self) {
        if self.queue.len() > 2 * self.index.len() + 64 {
            let entries = self.records.iter().enumerate();
            self.queue = entries.filter_map(|(slot, r)| Some(Reverse((r.as_ref()?.due_ms, slot as u32)))).collect();
        }
    }

    fn insert(&mut self, idc: &str) -> Result<u32, Unchanged> {
        if self.index.len() >= self.limits.identities {
            return Err(Unchanged::Full);
        }
        let record = Record { idc: idc.into(), bindings: Vec::new(), due_ms: u64::MAX, forget_ms: 0 };
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None => {
                self.records.push(None);
                (self.records.len() - 1) as u32
            }
        };
        if let Some(place) = self.records.get_mut(slot as usize) {
            *place = Some(record);
        }
        self.index.insert(idc.into(), slot);
        Ok(slot)
    }

    /// When [`Location::expire`] may have something to do.
    pub(crate) fn next_deadline(&self) -> Option<u64> {
        self.queue.peek().map(|Reverse((due, _))| *due)
    }

    /// Removes what has run out; each session that lost its last binding is reported with its identity. At most
    /// `budget` records are looked at, so that a million registrations of the same second do not stop everything
    /// else; the next deadline then lies in the past.
    pub(crate) fn expire(&mut self, now_ms: u64, budget: usize, mut ended: impl FnMut(&str, Session, usize)) {
        for _ in 0..budget {
            match self.queue.peek() {
                Some(Reverse((due, _))) if *due <= now_ms => {}
                _ => return,
            }
            let Some(Reverse((due, slot))) = self.queue.pop() else { return };
            let Some(record) = self.records.get_mut(slot as usize).and_then(Option::as_mut) else { continue };
            if record.due_ms != due {
                continue;
            }
            let before = sessions(record.bindings.iter());
            let held: Vec<Binding> = record.bindings.extract_if(.., |b| b.expires_ms <= now_ms).collect();
            let gone = held.len();
            lanes::moved(&mut self.by_lane, &mut self.left, &record.idc, &held, &record.bindings);
            self.bindings -= gone;
            self.candidates -= candidates::count(&held);
            let after = sessions(record.bindings.iter());
            let mut left = gone;
            for session in before.into_iter().filter(|s| !after.contains(s)) {
                ended(&record.idc, session, core::mem::take(&mut left));
            }
            if gone > 0 && record.bindings.is_empty() {
                record.forget_ms = now_ms + self.limits.remember_ms;
            }
            let next = record.bindings.iter().map(|b| b.expires_ms).min().unwrap_or(record.forget_ms);
            if next <= now_ms {
                let idc = core::mem::take(&mut record.idc);
                self.index.remove(&idc);
                if let Some(place) = self.records.get_mut(slot as usize) {
                    *place = None;
                }
                self.free.push(slot);
            } else {
                record.due_ms = next;
                self.queue.push(Reverse((next, slot)));
            }
        }
    }
}

/// The distinct sessions behind some bindings. Two bindings of one registration are one session; the address that a
/// refresh may have changed does not make another.
fn sessions<'a>(bindings: impl Iterator<Item = &'a Binding>) -> Vec<Session> {
    let mut out: Vec<Session> = Vec::new();
    for b in bindings {
        if !out.iter().any(|s| same(s, &b.session)) {
            out.push(b.session.clone());
        }
    }
    out
}

fn same(a: &Session, b: &Session) -> bool {
    a.rand == b.rand && a.idsp == b.idsp
}

fn changes(before: &[Session], after: &[Session], touched: &[Session]) -> Vec<Change> {
    let holds = |list: &[Session], s: &Session| list.iter().any(|x| same(x, s));
    let mut out: Vec<Change> = before.iter().filter(|s| !holds(after, s)).cloned().map(Change::Ended).collect();
    for s in after.iter().filter(|s| holds(touched, s)) {
        out.push(if holds(before, s) { Change::Refreshed(s.clone()) } else { Change::Started(s.clone()) });
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    struct Zero(u64);
    impl Random for Zero {
        fn fill(&mut self, out: &mut [u8]) {
            self.0 += 1;
            out.fill(self.0 as u8);
        }
    }

    fn table() -> Location {
        Location::new(Limits { identities: 4, bindings_each: 2, remember_ms: 1000 }, &mut Zero(0))
    }

    fn session(n: u8) -> Session {
        Session { rand: [n; 16], idsp: "sp1".into(), ipc: ([192, 0, 2, n], 5060).into() }
    }

    fn register(
        t: &mut Location,
        now: u64,
        (call_id, cseq): (&str, u32),
        contacts: &[(&str, u32)],
        session: &Session,
        fresh: bool,
    ) -> Result<Vec<Change>, Unchanged> {
        let list: Vec<_> = contacts
            .iter()
            .map(|(uri, expires_s)| Wanted { uri: uri.as_bytes(), q_milli: 1000, expires_s: *expires_s })
            .collect();
        let contacts = if list.is_empty() { Contacts::RemoveAll } else { Contacts::List(&list) };
        let call_id = call_id.as_bytes();
        let path = b"<sip:a@192.0.2.9;lr>";
        t.update(now, &Update { idc: "a@x", call_id, cseq, path, contacts, session, fresh, vouched: false })
    }

    #[test]
    fn binds_refreshes_and_ends() {
        let mut t = table();
        let (s1, s2) = (session(1), session(2));
        let up = register(&mut t, 0, ("c", 1), &[("sip:a@h", 60)], &s1, true).unwrap();
        assert_eq!(up, [Change::Started(s1.clone())]);
        let up = register(&mut t, 10, ("c", 2), &[("sip:a@h", 60)], &s2, false).unwrap();
        assert_eq!(up, [Change::Refreshed(Session { ipc: s2.ipc, ..s1.clone() })]);
        let up = register(&mut t, 20, ("c", 3), &[("sip:a@h", 60)], &s2, true).unwrap();
        assert!(matches!(&up[..], [Change::Ended(a), Change::Started(b)] if a.rand == [1; 16] && b.rand == [2; 16]));
        assert_eq!(t.best(60_019, "a@x").unwrap().session.rand, [2; 16]);
        assert!(t.best(60_020, "a@x").is_none());
        let up = register(&mut t, 30, ("c", 4), &[("sip:a@h", 0)], &s2, false).unwrap();
        assert!(matches!(&up[..], [Change::Ended(s)] if s.rand == [2; 16]));
        assert!(t.find(40, "a@x").is_some(), "known, and bound no more");
        t.expire(2_000, 10, |_, _, _| panic!("nothing was bound"));
        assert!(t.find(2_000, "a@x").is_none(), "forgotten");
        assert_eq!((t.identities(), t.bindings()), (0, 0));
    }

    #[test]
    fn an_old_cseq_changes_nothing_at_all() {
        let mut t = table();
        let s = session(1);
        register(&mut t, 0, ("c", 5), &[("sip:a@h", 60)], &s, true).unwrap();
        let two = [("sip:b@h", 60), ("sip:a@h", 90)];
        assert_eq!(register(&mut t, 1, ("c", 5), &two, &s, false), Err(Unchanged::OutOfOrder));
        assert_eq!(t.find(1, "a@x").unwrap().count(), 1);
        assert_eq!(register(&mut t, 1, ("c", 5), &[], &s, false), Err(Unchanged::OutOfOrder));
        assert!(register(&mut t, 1, ("other", 1), &two, &s, false).is_ok());
        assert_eq!(t.find(1, "a@x").unwrap().count(), 2);
        assert!(register(&mut t, 1, ("third", 1), &[], &s, false).is_ok());
        assert_eq!(t.find(1, "a@x").unwrap().count(), 0);
    }

    #[test]
    fn limits_hold() {
        let mut t = table();
        let s = session(1);
        let three = [("sip:a@h", 60), ("sip:b@h", 60), ("sip:c@h", 60)];
        assert_eq!(register(&mut t, 0, ("c", 1), &three, &s, true), Err(Unchanged::TooManyContacts));
        let list = [Wanted { uri: b"sip:x@h", q_milli: 1000, expires_s: 60 }];
        let results: Vec<_> = ["a", "b", "c", "d", "e"]
            .into_iter()
            .map(|idc| {
                let contacts = Contacts::List(&list);
                t.update(
                    0,
                    &Update {
                        idc,
                        call_id: b"c",
                        cseq: 1,
                        path: b"",
                        contacts,
                        session: &s,
                        fresh: true,
                        vouched: false,
                    },
                )
            })
            .collect();
        assert_eq!(results[4], Err(Unchanged::Full));
        assert_eq!(results.iter().filter(|r| r.is_ok()).count(), 4);
    }

    #[test]
    fn the_highest_q_is_reached_first_then_the_newest() {
        let mut t = table();
        let s = session(1);
        let list = |q: [u16; 2]| {
            [
                Wanted { uri: b"sip:one@h", q_milli: q[0], expires_s: 60 },
                Wanted { uri: b"sip:two@h", q_milli: q[1], expires_s: 60 },
            ]
        };
        for (cseq, q, best) in [(1, [1000, 1000], "sip:two@h"), (2, [900, 100], "sip:one@h")] {
            let list = list(q);
            let contacts = Contacts::List(&list);
            let update = Update {
                idc: "a@x",
                call_id: b"c",
                cseq,
                path: b"",
                contacts,
                session: &s,
                fresh: true,
                vouched: false,
            };
            t.update(0, &update).unwrap();
            assert_eq!(&*t.best(1, "a@x").unwrap().uri, best.as_bytes());
        }
    }

    proptest! {
        /// Against a plain model: one Contact an identity, random times.
        #[test]
        fn agrees_with_a_model(ops in proptest::collection::vec((0u8..4, 0u64..40, 0u32..50, any::<bool>()), 1..80)) {
            let mut t = Location::new(Limits { identities: 8, bindings_each: 2, remember_ms: 5000 }, &mut Zero(0));
            let mut model: [Option<(u64, u8)>; 4] = [None; 4];
            let (mut now, mut n) = (0u64, 0u8);
            for (who, wait_s, expires_s, fresh) in ops {
                now += wait_s * 1000;
                n += 1;
                let mut ended = Vec::new();
                t.expire(now, usize::MAX, |idc, s, gone| ended.push((idc.to_owned(), s.rand[0], gone)));
                let mut expected = Vec::new();
                for (i, m) in model.iter_mut().enumerate() {
                    if let Some((until, rand)) = *m && until <= now {
                        expected.push((format!("{i}"), rand, 1));
                        *m = None;
                    }
                }
                ended.sort();
                prop_assert_eq!(ended, expected);
                let list = [Wanted { uri: b"sip:t@h", q_milli: 1000, expires_s }];
                let idc = format!("{who}");
                let changes = t.update(now, &Update {
                    idc: &idc, call_id: b"c", cseq: u32::from(n), path: b"", contacts: Contacts::List(&list),
                    session: &session(n), fresh, vouched: false,
                }).unwrap();
                let m = &mut model[usize::from(who)];
                let old = *m;
                *m = (expires_s > 0).then(|| {
                    let rand = old.filter(|_| !fresh).map_or(n, |(_, r)| r);
                    (now + u64::from(expires_s) * 1000, rand)
                });
                prop_assert_eq!(changes.is_empty(), old.is_none() && m.is_none());
                let best = t.best(now, &idc).map(|b| (b.expires_ms, b.session.rand[0]));
                prop_assert_eq!(best, *m);
                prop_assert_eq!(t.bindings(), model.iter().flatten().count());
                prop_assert!(t.queue.len() <= 2 * t.identities() + 64);
            }
        }
    }
}
