//! Activation codes in the store.
//!
//! ```text
//! key: locator, 16 hex digits
//! clear: version 1 | state u8 | replace u8 | made u64 | expires u64 | n u8 | n nonces of 16 | IDc
//! sealed: PRK 32 (issued) | PRK, Nt 16, Na 16, Kc 32 (answered) | confirm 61, done 61 (redeemed) | nothing (revoked)
//! ```
//!
//! The code itself is not kept, only what its messages are made under; that goes when it is redeemed or revoked.

use super::{CODES, Credential, Entry, IfThere, Kind, META, SUBSCRIBERS, Space, Store, StoreError, sealed};
use crate::activation::{CodeRecord, Reply, State, Step, Why, step};
use crate::provision::Provision;
use core::hint::black_box;
use portunus_keydist::activation::{CONFIRM, Code, CodeKey, Granted, Message, NONCE, locator_text};
use portunus_keydist::ident::Idc;
use portunus_keydist::schedule::words_equal;
use portunus_keydist::{Key, Random};
use redb::{ReadableTable as _, ReadableTableMetadata as _, WriteTransaction};
use std::collections::BTreeSet;
use std::ops::Bound;
use std::sync::atomic::Ordering;
use zeroize::Zeroizing;

const VERSION: u8 = 1;
const HEAD: usize = 20;
const NOUN: &str = "activation code";
/// A code that has ended is forgotten so long after its end, milliseconds: until then it is listed.
const KEPT_MS: u64 = 30 * 86_400_000;

/// Whose codes are issued.
#[derive(Debug, Clone, Copy)]
pub enum Whose<'a> {
    /// These identities'.
    Named(&'a [String]),
    /// Identities that the system assigns: the prefix, a number that was never assigned before, `@` and the realm.
    Assigned {
        /// What they begin with.
        prefix: &'a str,
        /// What follows `@`; `None`: no `@` either.
        realm: Option<&'a str>,
        /// How many.
        count: usize,
    },
}

/// A code, for the one time that it is shown.
#[derive(Debug)]
pub struct Issued {
    /// Whose.
    pub idc: String,
    /// The code.
    pub code: Code,
    /// What it is listed and revoked by.
    pub locator: String,
}

/// What is known of a code without its secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CodeListed {
    /// What it is found by.
    pub locator: String,
    /// Whose key it brings.
    pub idc: String,
    /// `issued`, `answered`, `redeemed` or `revoked`.
    pub state: &'static str,
    /// True: a key that is there already is replaced.
    pub replace: bool,
    /// When it was issued, milliseconds since 1970 UTC.
    pub made_ms: u64,
    /// When it ends.
    pub expires_ms: u64,
}

impl CodeListed {
    /// Its state at a time, `expired` included.
    pub fn state_at(&self, wall_ms: u64) -> &'static str {
        let open = matches!(self.state, "issued" | "answered");
        if open && wall_ms >= self.expires_ms { "expired" } else { self.state }
    }
}

/// What became of a terminal's message.
#[derive(Debug)]
pub enum Redemption {
    /// No answer.
    Silence(Why),
    /// The answer of before, again.
    Repeated(Reply),
    /// A key was answered.
    Answered(String, Reply),
    /// It works now.
    Redeemed(String, Reply),
}

const fn number(state: &State) -> u8 {
    match state {
        State::Issued { .. } => 1,
        State::Answered { .. } => 2,
        State::Redeemed { .. } => 3,
        State::Revoked => 4,
    }
}

fn clear_of(record: &CodeRecord) -> Vec<u8> {
    let mut out = vec![VERSION, number(&record.state), u8::from(record.replace)];
    out.extend_from_slice(&record.made_ms.to_be_bytes());
    out.extend_from_slice(&record.expires_ms.to_be_bytes());
    out.push(record.asked.len() as u8);
    record.asked.iter().for_each(|nonce| out.extend_from_slice(nonce));
    out.extend_from_slice(record.idc.as_bytes());
    out
}

fn secret_of(state: &State) -> Zeroizing<Vec<u8>> {
    // Room for the longest from the start: growing would leave copies behind.
    let mut out = Zeroizing::new(Vec::with_capacity(2 * CONFIRM));
    match state {
        State::Issued { key } => out.extend_from_slice(key.expose()),
        State::Answered { key, granted } => {
            out.extend_from_slice(key.expose());
            out.extend_from_slice(&granted.nt);
            out.extend_from_slice(&granted.na);
            out.extend_from_slice(granted.kc.expose());
        }
        State::Redeemed { confirm, done } => {
            out.extend_from_slice(confirm);
            out.extend_from_slice(done);
        }
        State::Revoked => {}
    }
    out
}

/// The clear part: everything but what a state needs besides; the state's number.
fn head_of(clear: &[u8]) -> Option<(u8, CodeRecord)> {
    let (head, rest) = clear.split_first_chunk::<HEAD>()?;
    let number = |from: usize| head.get(from..from + 8)?.try_into().ok().map(u64::from_be_bytes);
    let (nonces, idc) = rest.split_at_checked(usize::from(head[19]) * NONCE)?;
    let asked = nonces.chunks_exact(NONCE).filter_map(|n| n.try_into().ok()).collect();
    let (made_ms, expires_ms) = (number(3)?, number(11)?);
    let idc = Idc::from_octets(idc)?.as_str().to_owned();
    let record = CodeRecord { idc, replace: head[2] == 1, made_ms, expires_ms, asked, state: State::Revoked };
    (head[0] == VERSION && (1..=4).contains(&head[1])).then_some((head[1], record))
}

fn record_of(clear: &[u8], secret: &[u8]) -> Option<CodeRecord> {
    let (number, mut record) = head_of(clear)?;
    let key = || secret.first_chunk::<32>().map(|octets| CodeKey::from_octets(*octets));
    record.state = match number {
        1 => State::Issued { key: key()? },
        2 => {
            let (nt, rest) = secret.get(32..)?.split_first_chunk::<NONCE>()?;
            let (na, kc) = rest.split_first_chunk::<NONCE>()?;
            let kc = Key::new(kc.try_into().ok()?);
            State::Answered { key: key()?, granted: Granted { nt: *nt, na: *na, kc } }
        }
        3 => {
            let (confirm, done) = secret.split_first_chunk::<CONFIRM>()?;
            State::Redeemed { confirm: *confirm, done: done.try_into().ok()? }
        }
        _ => State::Revoked,
    };
    Some(record)
}

fn listed(locator: &str, clear: &[u8]) -> Option<CodeListed> {
    let (number, CodeRecord { idc, replace, made_ms, expires_ms, .. }) = head_of(clear)?;
    let state = ["issued", "answered", "redeemed", "revoked"].get(usize::from(number) - 1)?;
    Some(CodeListed { locator: locator.to_owned(), idc, state, replace, made_ms, expires_ms })
}

/// The key that a code brings, for the store.
fn entry(record: &CodeRecord, kc: Key) -> Entry {
    Entry { id: record.idc.clone(), kind: Kind::Terminal, credential: Credential::Key(kc) }
}

fn damaged(locator: &str) -> StoreError {
    StoreError::Record { noun: NOUN, id: locator.to_owned() }
}

impl Store {
    /// Codes kept at one time.
    pub const CODES_MAX: u64 = 1_000_000;

    /// Issues activation codes, all or none, in one transaction. `now_ms`, `expires_ms`: milliseconds since 1970 UTC.
    ///
    /// # Errors
    /// [`StoreError::Malformed`] for what can be no terminal; [`StoreError::Exists`] for one that has a key, unless that
    /// is to be replaced; [`StoreError::Code`] for one that has a code which is still good; [`StoreError::Full`],
    /// [`StoreError::Backend`].
    pub fn issue_codes(
        &self,
        (now_ms, expires_ms): (u64, u64),
        whose: Whose<'_>,
        replace: bool,
        rng: &mut dyn Random,
    ) -> Result<Vec<Issued>, StoreError> {
        let txn = self.db.begin_write().map_err(|e| self.fault(e))?;
        let keys = self.keys_in(&txn, rng)?;
        let mut open = self.tidy_codes(&txn, now_ms)?;
        let ids = match whose {
            Whose::Named(ids) => ids.to_vec(),
            Whose::Assigned { prefix, realm, count } => self.assign(&txn, (prefix, realm), count, &open)?,
        };
        let mut issued = Vec::with_capacity(ids.len());
        {
            let mut table = txn.open_table(CODES).map_err(|e| self.fault(e))?;
            let there = table.len().map_err(|e| self.fault(e))?;
            if there + ids.len() as u64 > Self::CODES_MAX {
                return Err(StoreError::Full { noun: NOUN, most: Self::CODES_MAX });
            }
            let subscribers = txn.open_table(SUBSCRIBERS).map_err(|e| self.fault(e))?;
            for idc in ids {
                if Idc::new(&idc).is_none() {
                    return Err(StoreError::Malformed { kind: Kind::Terminal, id: idc });
                }
                if !replace && subscribers.get(idc.as_str()).map_err(|e| self.fault(e))?.is_some() {
                    return Err(StoreError::Exists { space: Space::Subscriber, id: idc });
                }
                if !open.insert(idc.clone()) {
                    return Err(StoreError::Code { id: idc, what: "has a code that is still good" });
                }
                let code = Code::random(rng);
                let key = code.key();
                let locator = locator_text(&key.locator());
                let state = State::Issued { key };
                let record = CodeRecord { idc, replace, made_ms: now_ms, expires_ms, asked: Vec::new(), state };
                let parts = (clear_of(&record), secret_of(&record.state));
                let row = sealed::seal(&keys.custody, CODES, &locator, (&parts.0, &parts.1), rng);
                table.insert(locator.as_str(), row.as_slice()).map_err(|e| self.fault(e))?;
                issued.push(Issued { idc: record.idc, code, locator });
            }
        }
        txn.commit().map_err(|e| self.fault(e))?;
        Ok(issued)
    }

    /// Forgets codes that ended long ago; whose codes are still good.
    fn tidy_codes(&self, txn: &WriteTransaction, now_ms: u64) -> Result<BTreeSet<String>, StoreError> {
        let mut table = txn.open_table(CODES).map_err(|e| self.fault(e))?;
        let (mut open, mut over) = (BTreeSet::new(), Vec::new());
        for row in table.iter().map_err(|e| self.fault(e))? {
            let (locator, octets) = row.map_err(|e| self.fault(e))?;
            let locator = locator.value();
            let found = sealed::parts(octets.value()).and_then(|(clear, _)| listed(locator, clear));
            let found = found.ok_or_else(|| damaged(locator))?;
            if now_ms >= found.expires_ms.saturating_add(KEPT_MS) {
                over.push(found.locator);
            } else if matches!(found.state_at(now_ms), "issued" | "answered") {
                open.insert(found.idc);
            }
        }
        for locator in over {
            table.remove(locator.as_str()).map_err(|e| self.fault(e))?;
        }
        Ok(open)
    }

    /// Identities that nobody has and nobody ever had by assignment.
    fn assign(
        &self,
        txn: &WriteTransaction,
        (prefix, realm): (&str, Option<&str>),
        count: usize,
        open: &BTreeSet<String>,
    ) -> Result<Vec<String>, StoreError> {
        let behind = realm.map_or(String::new(), |realm| format!("@{realm}"));
        let name = format!("assigned {prefix}{behind}");
        let mut meta = txn.open_table(META).map_err(|e| self.fault(e))?;
        let next = meta.get(name.as_str()).map_err(|e| self.fault(e))?;
        let mut next = next.and_then(|v| v.value().try_into().ok()).map_or(1, u64::from_be_bytes);
        let subscribers = txn.open_table(SUBSCRIBERS).map_err(|e| self.fault(e))?;
        let mut ids = Vec::with_capacity(count);
        while ids.len() < count {
            let idc = format!("{prefix}{next:06}{behind}");
            next += 1;
            // One that was put in by hand keeps it.
            let taken = open.contains(&idc) || subscribers.get(idc.as_str()).map_err(|e| self.fault(e))?.is_some();
            if !taken {
                ids.push(idc);
            }
        }
        meta.insert(name.as_str(), next.to_be_bytes().as_slice()).map_err(|e| self.fault(e))?;
        Ok(ids)
    }

    /// Gives `visit` every code behind `after`, in the order of locators, until it says false.
    ///
    /// # Errors
    /// [`StoreError::Record`] naming one that cannot be read, [`StoreError::Backend`].
    pub fn codes_after(&self, after: &str, visit: &mut dyn FnMut(CodeListed) -> bool) -> Result<(), StoreError> {
        let txn = self.db.begin_read().map_err(|e| self.fault(e))?;
        let table = txn.open_table(CODES).map_err(|e| self.fault(e))?;
        let from: (Bound<&str>, Bound<&str>) = (Bound::Excluded(after), Bound::Unbounded);
        for row in table.range::<&str>(from).map_err(|e| self.fault(e))? {
            let (locator, octets) = row.map_err(|e| self.fault(e))?;
            let locator = locator.value();
            let found = sealed::parts(octets.value()).and_then(|(clear, _)| listed(locator, clear));
            if !visit(found.ok_or_else(|| damaged(locator))?) {
                break;
            }
        }
        Ok(())
    }

    /// Ends a code that was not redeemed; whose it was.
    ///
    /// # Errors
    /// [`StoreError::NoSuch`]; [`StoreError::Code`] when it was redeemed; [`StoreError::Backend`].
    pub fn revoke_code(&self, locator: &str, rng: &mut dyn Random) -> Result<String, StoreError> {
        let txn = self.db.begin_write().map_err(|e| self.fault(e))?;
        let found = self.code_in(&txn, locator, rng)?;
        let mut record = found.ok_or_else(|| StoreError::NoSuch { noun: NOUN, id: locator.to_owned() })?;
        if matches!(record.state, State::Redeemed { .. }) {
            return Err(StoreError::Code { id: record.idc, what: "has redeemed that code already" });
        }
        record.state = State::Revoked;
        self.keep_code(&txn, locator, &record, rng)?;
        txn.commit().map_err(|e| self.fault(e))?;
        Ok(record.idc)
    }

    fn code_in(
        &self,
        txn: &WriteTransaction,
        locator: &str,
        rng: &mut dyn Random,
    ) -> Result<Option<CodeRecord>, StoreError> {
        let keys = self.keys_in(txn, rng)?;
        let table = txn.open_table(CODES).map_err(|e| self.fault(e))?;
        let Some(octets) = table.get(locator).map_err(|e| self.fault(e))? else { return Ok(None) };
        let opened = sealed::open(&keys.custody, CODES, locator, octets.value());
        let record = opened.and_then(|(clear, secret)| record_of(&clear, &secret));
        record.map(Some).ok_or_else(|| damaged(locator))
    }

    fn keep_code(
        &self,
        txn: &WriteTransaction,
        locator: &str,
        record: &CodeRecord,
        rng: &mut dyn Random,
    ) -> Result<(), StoreError> {
        let keys = self.keys_in(txn, rng)?;
        let row = sealed::seal(&keys.custody, CODES, locator, (&clear_of(record), &secret_of(&record.state)), rng);
        let mut table = txn.open_table(CODES).map_err(|e| self.fault(e))?;
        table.insert(locator, row.as_slice()).map(|_| ()).map_err(|e| self.fault(e))
    }

    /// Does what a terminal's message asks for; what it answers is durable by then. `wall_ms`: milliseconds since 1970
    /// UTC. Only a message that changes something waits for the disk. `elsewhere`: the system of record, where this store
    /// is a replica of it: a key goes there first. Then nobody else may redeem from this store meanwhile.
    ///
    /// # Errors
    /// [`StoreError::Record`] for a damaged record, [`StoreError::Backend`], and what `elsewhere` says: then nothing has
    /// changed here, and the same message may be tried again.
    pub fn redeem(
        &self,
        wall_ms: u64,
        octets: &[u8],
        elsewhere: Option<&dyn Provision>,
        rng: &mut dyn Random,
    ) -> Result<Redemption, StoreError> {
        let Some(message) = Message::read(octets) else { return Ok(Redemption::Silence(Why::Malformed)) };
        let locator = locator_text(message.locator());
        let Some(record) = self.code(&locator)? else {
            // The same work as for one that exists.
            black_box(CodeKey::from_octets([0; 32]).is_ask(black_box(octets)));
            return Ok(Redemption::Silence(Why::Unknown));
        };
        match step(&record, wall_ms, octets, rng) {
            Step::Silence(why) => return Ok(Redemption::Silence(why)),
            Step::Repeat(reply) => return Ok(Redemption::Repeated(reply)),
            Step::Activate(next, kc, _) => {
                if let Some(elsewhere) = elsewhere
                    && !self.given_elsewhere(wall_ms, (&next, kc), elsewhere, rng)?
                {
                    return Ok(Redemption::Silence(Why::Taken));
                }
            }
            Step::Answer(..) => {}
        }
        // Once more where nobody else can change it meanwhile.
        let txn = self.db.begin_write().map_err(|e| self.fault(e))?;
        let Some(record) = self.code_in(&txn, &locator, rng)? else { return Ok(Redemption::Silence(Why::Unknown)) };
        match step(&record, wall_ms, octets, rng) {
            Step::Silence(why) => Ok(Redemption::Silence(why)),
            Step::Repeat(reply) => Ok(Redemption::Repeated(reply)),
            Step::Answer(next, reply) => {
                self.keep_code(&txn, &locator, &next, rng)?;
                txn.commit().map_err(|e| self.fault(e))?;
                Ok(Redemption::Answered(next.idc, reply))
            }
            Step::Activate(next, kc, reply) => {
                if elsewhere.is_none() {
                    let if_there = if next.replace { IfThere::Replace } else { IfThere::Refuse };
                    match self.put_in(&txn, wall_ms, &[entry(&next, kc)], if_there, rng) {
                        Err(StoreError::Exists { .. }) => return Ok(Redemption::Silence(Why::Taken)),
                        other => other?,
                    };
                }
                self.keep_code(&txn, &locator, &next, rng)?;
                txn.commit().map_err(|e| self.fault(e))?;
                self.changes.fetch_add(1, Ordering::Release);
                Ok(Redemption::Redeemed(next.idc, reply))
            }
        }
    }

    /// Gives a key to a subscriber in the system of record; false where another one is there. A key that is this one was
    /// given before a crash.
    fn given_elsewhere(
        &self,
        wall_ms: u64,
        (next, kc): (&CodeRecord, Key),
        elsewhere: &dyn Provision,
        rng: &mut dyn Random,
    ) -> Result<bool, StoreError> {
        let if_there = if next.replace { IfThere::Replace } else { IfThere::Refuse };
        match elsewhere.put(wall_ms, &[entry(next, kc.clone())], if_there, rng) {
            Ok(_) => Ok(true),
            Err(StoreError::Exists { .. }) => {
                let here = self.credential(Space::Subscriber, &next.idc)?;
                Ok(matches!(here, Some(Credential::Key(here)) if words_equal(here.expose(), kc.expose())))
            }
            Err(e) => Err(e),
        }
    }

    fn code(&self, locator: &str) -> Result<Option<CodeRecord>, StoreError> {
        let txn = self.db.begin_read().map_err(|e| self.fault(e))?;
        let table = txn.open_table(CODES).map_err(|e| self.fault(e))?;
        let Some(octets) = table.get(locator).map_err(|e| self.fault(e))? else { return Ok(None) };
        let meta = txn.open_table(META).map_err(|e| self.fault(e))?;
        let (clear, secret) = self.open_row(CODES, (locator, octets.value()), &meta, NOUN)?;
        record_of(&clear, &secret).map(Some).ok_or_else(|| damaged(locator))
    }
}

#[cfg(test)]
mod tests;
