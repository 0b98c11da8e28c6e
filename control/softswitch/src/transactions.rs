//! The REGISTER transactions (RFC 3261 section 17.2.2): a retransmission gets the answer that the request got, and
//! never a second challenge or a second key.
//!
//! ```text
//!   request ──► open ──(our answer)──► answered ──(32 s, or room needed)──► gone
//!                │ ▲                      │ ▲
//!                └─┘ absorbed             └─┘ the same answer again
//! ```

use crate::keyed::Keyed;
use hashbrown::HashMap;
use portunus_keydist::Random;
use std::collections::VecDeque;

/// Names a transaction from its start to its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct TransactionId(u64);

#[derive(Debug)]
struct Entry {
    key: Box<[u8]>,
    answer: Option<Box<[u8]>>,
    until_ms: u64,
}

impl Entry {
    fn octets(&self) -> usize {
        // What the tables around an entry cost is counted too, roughly.
        160 + 2 * self.key.len() + self.answer.as_ref().map_or(0, |a| a.len())
    }
}

/// What a request is to the table.
#[derive(Debug)]
pub(crate) enum Seen<'a> {
    /// New: it is open now.
    New(TransactionId),
    /// A retransmission whose answer is on its way: nothing is to be done.
    Open,
    /// A retransmission; its answer.
    Answered(&'a [u8]),
}

/// The table, bounded in octets.
#[derive(Debug)]
pub(crate) struct Transactions {
    by_key: HashMap<Box<[u8]>, u64, Keyed>,
    entries: HashMap<u64, Entry, Keyed>,
    /// Every time is "now plus a constant", so the queue is in order. An entry's own time is the truth.
    queue: VecDeque<(u64, u64)>,
    next: u64,
    octets: usize,
    octets_max: usize,
    keep_ms: u64,
    evicted: u64,
}

impl Transactions {
    pub(crate) fn new(octets_max: usize, keep_ms: u64, random: &mut dyn Random) -> Self {
        let keyed = Keyed::new(random);
        Self {
            by_key: HashMap::with_hasher(keyed),
            entries: HashMap::with_hasher(keyed),
            queue: VecDeque::new(),
            next: 1,
            octets: 0,
            octets_max,
            keep_ms,
            evicted: 0,
        }
    }

    /// Finds a request by the key that RFC 3261 section 17.2.3 gives it, or opens it.
    pub(crate) fn begin(&mut self, now_ms: u64, key: &[u8]) -> Seen<'_> {
        if let Some(id) = self.by_key.get(key) {
            return match self.entries.get(id).and_then(|e| e.answer.as_deref()) {
                Some(answer) => Seen::Answered(answer),
                None => Seen::Open,
            };
        }
        let id = self.next;
        self.next += 1;
        let entry = Entry { key: key.into(), answer: None, until_ms: now_ms + self.keep_ms };
        self.octets += entry.octets();
        self.make_room();
        self.queue.push_back((entry.until_ms, id));
        self.by_key.insert(key.into(), id);
        self.entries.insert(id, entry);
        Seen::New(TransactionId(id))
    }

    /// Keeps the answer for retransmissions.
    pub(crate) fn answer(&mut self, now_ms: u64, id: TransactionId, answer: &[u8]) {
        let until_ms = now_ms + self.keep_ms;
        if let Some(entry) = self.entries.get_mut(&id.0) {
            self.octets -= entry.octets();
            entry.answer = Some(answer.into());
            entry.until_ms = until_ms;
            self.octets += entry.octets();
            self.queue.push_back((until_ms, id.0));
        }
        self.make_room();
    }

    /// The oldest transactions go when there is no room.
    fn make_room(&mut self) {
        while self.octets > self.octets_max {
            let Some((until, id)) = self.queue.pop_front() else { break };
            self.evicted += u64::from(self.remove(id, until));
        }
    }

    /// Transactions that went to make room, since the last time that this was asked.
    pub(crate) fn take_evicted(&mut self) -> u64 {
        core::mem::take(&mut self.evicted)
    }

    /// Takes a transaction back, as if the request had never come: a retransmission will be new.
    pub(crate) fn forget(&mut self, id: TransactionId) {
        if let Some(until_ms) = self.entries.get(&id.0).map(|e| e.until_ms) {
            self.remove(id.0, until_ms);
        }
    }

    fn remove(&mut self, id: u64, until_ms: u64) -> bool {
        // A queue item that is not the entry's present one was overtaken by its answer.
        if self.entries.get(&id).is_none_or(|e| e.until_ms != until_ms) {
            return false;
        }
        let Some(entry) = self.entries.remove(&id) else { return false };
        self.octets -= entry.octets();
        self.by_key.remove(&entry.key);
        true
    }

    pub(crate) fn expire(&mut self, now_ms: u64) {
        while let Some((until_ms, id)) = self.queue.front().copied().filter(|(until, _)| *until <= now_ms) {
            self.queue.pop_front();
            self.remove(id, until_ms);
        }
    }

    pub(crate) fn next_deadline(&self) -> Option<u64> {
        self.queue.front().map(|(until, _)| *until)
    }

    /// Octets held, roughly.
    pub(crate) fn octets(&self) -> usize {
        self.octets
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use portunus_keydist::SystemRandom;

    #[test]
    fn a_retransmission_gets_the_same_answer_until_it_is_forgotten() {
        let mut t = Transactions::new(10_000, 32_000, &mut SystemRandom::new());
        let Seen::New(id) = t.begin(0, b"k") else { panic!() };
        assert!(matches!(t.begin(1, b"k"), Seen::Open));
        t.answer(100, id, b"answer");
        t.expire(32_050);
        assert!(matches!(t.begin(32_099, b"k"), Seen::Answered(b"answer")));
        t.expire(32_100);
        assert!(matches!(t.begin(32_100, b"k"), Seen::New(_)));
        assert_eq!(t.entries.len(), t.by_key.len());
    }

    #[test]
    fn room_is_bounded_and_the_oldest_goes() {
        let mut t = Transactions::new(4_000, 32_000, &mut SystemRandom::new());
        for n in 0u32..100 {
            let Seen::New(id) = t.begin(u64::from(n), &n.to_be_bytes()) else { panic!() };
            t.answer(u64::from(n), id, &[0; 500]);
            assert!(t.octets() <= 4_000);
        }
        assert!(matches!(t.begin(100, &99u32.to_be_bytes()), Seen::Answered(_)));
        assert!(t.take_evicted() > 90 && matches!(t.begin(100, &0u32.to_be_bytes()), Seen::New(_)));
        t.expire(u64::MAX);
        assert_eq!((t.octets(), t.queue.len(), t.by_key.len()), (0, 0, 0));
        for n in 0u32..100 {
            t.begin(0, &n.to_be_bytes());
            assert!(t.octets() <= 4_000, "open ones count too");
        }
    }

    #[test]
    fn what_is_taken_back_is_new_again() {
        let mut t = Transactions::new(4_000, 32_000, &mut SystemRandom::new());
        let Seen::New(id) = t.begin(0, b"k") else { panic!() };
        t.forget(id);
        assert!(matches!(t.begin(0, b"k"), Seen::New(_)));
    }
}
