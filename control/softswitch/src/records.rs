//! s11: what the AuC shall know of each registration, in order and until it knows it.
//!
//! One record (named by its challenge's Rand) has at most one message under way; what happens meanwhile is merged and
//! waits. So a Stop never overtakes its Start, and an AuC that was away for a minute hears at most one message a
//! registration when it comes back, spread over time, not a minute's worth of them at once.
//!
//! ```text
//!   event ──► under way ──(recorded)──► done, or what was merged meanwhile is sent
//!                │  ▲
//!    unreachable │  │ after `retry`
//!                ▼  │
//!              waiting
//! ```

use crate::keyed::Keyed;
use hashbrown::HashMap;
use portunus_aaa::Account;
use portunus_keydist::steps::Registration;
use portunus_keydist::{Rand, Random};
use std::collections::VecDeque;

#[derive(Debug)]
struct Record {
    /// What is under way, or was.
    sent: Account,
    under_way: bool,
    /// What happened meanwhile.
    next: Option<Account>,
}

/// The records that the AuC does not know yet.
#[derive(Debug)]
pub(crate) struct Records {
    by_rand: HashMap<Rand, Record, Keyed>,
    waiting: VecDeque<(u64, Rand)>,
    max: usize,
    retry_ms: u64,
}

/// Records sent again at one go.
const AGAIN_AT_ONCE: usize = 64;

impl Records {
    pub(crate) fn new(max: usize, retry_ms: u64, random: &mut dyn Random) -> Self {
        let by_rand = HashMap::with_hasher(Keyed::new(random));
        Self { by_rand, waiting: VecDeque::new(), max, retry_ms }
    }

    /// Something happened. Returns what is to be sent now, if anything; `Err` when there are too many records and
    /// this one is lost.
    pub(crate) fn push(&mut self, account: Account) -> Result<Option<Account>, Full> {
        if let Some(record) = self.by_rand.get_mut(&account.rand) {
            record.next = Some(match record.next.take() {
                Some(earlier) => merge(earlier, account),
                None => account,
            });
            return Ok(None);
        }
        if self.by_rand.len() >= self.max {
            return Err(Full);
        }
        let record = Record { sent: account.clone(), under_way: true, next: None };
        self.by_rand.insert(account.rand, record);
        Ok(Some(account))
    }

    /// The AuC has it. Returns what is to be sent next for the same record.
    pub(crate) fn recorded(&mut self, rand: &Rand) -> Option<Account> {
        let record = self.by_rand.get_mut(rand)?;
        match record.next.take() {
            Some(next) => {
                record.sent = next.clone();
                Some(next)
            }
            None => {
                self.by_rand.remove(rand);
                None
            }
        }
    }

    /// The AuC could not be reached: it waits.
    pub(crate) fn failed(&mut self, now_ms: u64, rand: &Rand) {
        let Some(record) = self.by_rand.get_mut(rand) else { return };
        record.under_way = false;
        if let Some(next) = record.next.take() {
            record.sent = merge(record.sent.clone(), next);
        }
        self.waiting.push_back((now_ms + self.retry_ms, *rand));
    }

    /// What is to be sent again now; some of it, with the rest due a little later.
    pub(crate) fn due(&mut self, now_ms: u64, mut send: impl FnMut(Account)) {
        for _ in 0..AGAIN_AT_ONCE {
            match self.waiting.front() {
                Some((due, _)) if *due <= now_ms => {}
                _ => return,
            }
            let Some((_, rand)) = self.waiting.pop_front() else { return };
            let Some(record) = self.by_rand.get_mut(&rand).filter(|r| !r.under_way) else { continue };
            record.under_way = true;
            if let Some(next) = record.next.take() {
                record.sent = merge(record.sent.clone(), next);
            }
            send(record.sent.clone());
        }
        // The next portion a little later, so that it does not crowd out registrations.
        for (due, _) in self.waiting.iter_mut().take_while(|(due, _)| *due <= now_ms) {
            *due = now_ms + 20;
        }
    }

    pub(crate) fn next_deadline(&self) -> Option<u64> {
        self.waiting.front().map(|(due, _)| *due)
    }

    pub(crate) fn len(&self) -> usize {
        self.by_rand.len()
    }
}

/// There is no room for a further record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Full;

/// Two events of one record as one: the later state, and a Start that the AuC never heard stays one.
fn merge(earlier: Account, later: Account) -> Account {
    let event = match (earlier.event, later.event) {
        (_, Registration::Stop) | (Registration::Stop, _) => Registration::Stop,
        (Registration::Start, _) | (_, Registration::Start) => Registration::Start,
        (Registration::Refresh, Registration::Refresh) => Registration::Refresh,
    };
    Account { event, ..later }
}

#[cfg(test)]
mod tests {
    use super::*;
    use portunus_keydist::SystemRandom;

    fn account(n: u8, event: Registration) -> Account {
        Account {
            idc: "a@x".into(),
            idsp: "sp1".into(),
            rand: [n; 16],
            ip: [192, 0, 2, n].into(),
            event,
            softswitch: None,
        }
    }

    #[test]
    fn a_stop_waits_for_its_start_and_a_lost_start_stays_one() {
        let mut r = Records::new(2, 1000, &mut SystemRandom::new());
        assert_eq!(r.push(account(1, Registration::Start)).unwrap().unwrap().event, Registration::Start);
        assert_eq!(r.push(account(1, Registration::Refresh)), Ok(None));
        assert_eq!(r.push(account(1, Registration::Refresh)), Ok(None));
        r.failed(0, &[1; 16]);
        let mut sent = Vec::new();
        r.due(999, |a| sent.push(a));
        assert!(sent.is_empty());
        r.due(1000, |a| sent.push(a));
        assert_eq!(sent, [account(1, Registration::Start)]);
        assert_eq!(r.push(account(1, Registration::Stop)), Ok(None));
        assert_eq!(r.recorded(&[1; 16]).unwrap().event, Registration::Stop);
        assert_eq!(r.recorded(&[1; 16]), None);
        assert_eq!(r.len(), 0);
    }

    #[test]
    fn full_is_full_and_an_outage_ends_in_portions() {
        let mut r = Records::new(200, 1000, &mut SystemRandom::new());
        for n in 0..200 {
            assert!(matches!(r.push(account(n, Registration::Start)), Ok(Some(_))));
            r.failed(0, &[n; 16]);
        }
        assert_eq!(r.push(account(200, Registration::Start)), Err(Full));
        let (mut now, mut sent) = (1000, 0);
        let mut most = 0;
        while sent < 200 {
            let mut portion = 0;
            r.due(now, |_| portion += 1);
            sent += portion;
            most = most.max(portion);
            now = r.next_deadline().unwrap_or(now);
        }
        assert!(most <= AGAIN_AT_ONCE && now >= 1040);
    }
}
