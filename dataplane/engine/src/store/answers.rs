//! Answers kept for retransmissions: a ring of octets, oldest out first.
//!
//! An answer is found by the keyed 128-bit digest of source and octets of the message that it answers. It is written
//! where it stays, so that s10's MAC is made over, and put into, the copy that is kept.

use super::index::Index;

#[derive(Clone, Copy)]
struct Answer {
    of: u128,
    from: u64,
    len: u32,
    until_ms: u64,
}

/// Names an answer until it is overwritten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AnswerId(u64);

/// The ring.
pub(crate) struct Answers {
    octets: Vec<u8>,
    /// Ring of descriptions; grows to its capacity and stays.
    answers: Vec<Answer>,
    capacity: usize,
    index: Index,
    /// Numbers of the oldest answer and of the next one.
    first: u64,
    next: u64,
    /// Where the next octet goes; counts on over the end of the ring.
    head: u64,
    longest: usize,
}

impl Answers {
    /// Room for `capacity` answers of `octets` octets together, the longest of `longest` octets.
    pub(crate) fn new(capacity: usize, octets: usize, longest: usize) -> Self {
        Self {
            octets: vec![0; octets],
            answers: Vec::with_capacity(capacity),
            capacity,
            index: Index::new(capacity),
            first: 0,
            next: 0,
            head: 0,
            longest,
        }
    }

    fn slot(&self, number: u64) -> u32 {
        (number % self.capacity as u64) as u32
    }

    fn entry(&self, number: u64) -> Option<&Answer> {
        self.answers.get(self.slot(number) as usize)
    }

    fn place(&self, answer: &Answer) -> core::ops::Range<usize> {
        let from = (answer.from % self.octets.len() as u64) as usize;
        from..from + answer.len as usize
    }

    /// Drops the oldest; true when it was not yet due to go.
    fn drop_first(&mut self, now_ms: u64) -> bool {
        let slot = self.slot(self.first);
        let Some(answer) = self.entry(self.first).copied() else { return false };
        self.index.remove(answer.of as u32, slot);
        self.first += 1;
        answer.until_ms > now_ms
    }

    /// Lets `write` write an answer to the message with this digest and keeps it until `until_ms`. Returns its name
    /// and how many others had to go before their time; `None` when `write` gives up.
    pub(crate) fn put(
        &mut self,
        now_ms: u64,
        of: u128,
        until_ms: u64,
        write: impl FnOnce(&mut [u8]) -> Option<usize>,
    ) -> Option<(AnswerId, u64)> {
        let size = self.octets.len() as u64;
        let mut from = self.head;
        if from % size + self.longest as u64 > size {
            from += size - from % size;
        }
        let mut early = 0;
        let end = from + self.longest as u64;
        while self.first < self.next
            && (self.next - self.first >= self.capacity as u64
                || self.entry(self.first).is_some_and(|oldest| oldest.from + size < end))
        {
            early += u64::from(self.drop_first(now_ms));
        }
        let start = (from % size) as usize;
        let len = write(self.octets.get_mut(start..start + self.longest)?)?.min(self.longest);
        let answer = Answer { of, from, len: len as u32, until_ms };
        let slot = self.slot(self.next);
        match self.answers.get_mut(slot as usize) {
            Some(place) => *place = answer,
            None => self.answers.push(answer),
        }
        self.index.insert(of as u32, slot);
        self.head = from + len as u64;
        self.next += 1;
        Some((AnswerId(self.next - 1), early))
    }

    /// Reads where an answer to the message with this digest is looked for, so that the misses of several overlap.
    #[inline]
    pub(crate) fn touch(&self, of: u128) -> u64 {
        self.index.touch(of as u32)
    }

    /// As [`Answers::touch`], for the `count` answers that will make room next.
    pub(crate) fn touch_oldest(&self, count: u64) -> u64 {
        let oldest = (self.first..self.next).take(count as usize).filter_map(|number| self.entry(number));
        oldest.fold(0, |sum, answer| sum ^ self.touch(answer.of))
    }

    /// The answer to the message with this digest, while it is kept.
    pub(crate) fn find(&self, now_ms: u64, of: u128) -> Option<AnswerId> {
        let is_it = |slot: u32| self.answers.get(slot as usize).is_some_and(|a| a.of == of && a.until_ms > now_ms);
        let slot = u64::from(self.index.find(of as u32, is_it)?);
        let turn = self.capacity as u64;
        // The slot's number is the only one of its residue between first and next.
        Some(AnswerId(self.first + (slot + turn - self.first % turn) % turn))
    }

    /// The octets of an answer; empty once it is overwritten.
    pub(crate) fn get(&self, id: AnswerId) -> &[u8] {
        let held = (self.first..self.next).contains(&id.0);
        let answer = self.entry(id.0).filter(|_| held);
        answer.and_then(|a| self.octets.get(self.place(a))).unwrap_or_default()
    }

    /// As [`Answers::get`], to patch.
    pub(crate) fn get_mut(&mut self, id: AnswerId) -> &mut [u8] {
        let held = (self.first..self.next).contains(&id.0);
        match self.entry(id.0).filter(|_| held).map(|a| self.place(a)) {
            Some(place) => self.octets.get_mut(place).unwrap_or_default(),
            None => &mut [],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    #[test]
    fn kept_for_its_time() {
        let mut answers = Answers::new(4, 1000, 100);
        let (id, early) = answers
            .put(0, 7 << 64 | 1, 32_000, |b| {
                b[..3].copy_from_slice(b"abc");
                Some(3)
            })
            .unwrap();
        assert_eq!((answers.get(id), early), (&b"abc"[..], 0));
        assert_eq!(answers.find(31_999, 7 << 64 | 1), Some(id));
        assert_eq!(answers.find(32_000, 7 << 64 | 1), None);
        assert_eq!(answers.find(0, 8 << 64 | 1), None, "the whole digest counts");
        assert!(answers.put(0, 9, 32_000, |_| None).is_none());
        answers.get_mut(id)[1] = b'X';
        assert_eq!(answers.get(id), b"aXc");
    }

    proptest! {
        /// What is found is always what was written; the newest are always found; the oldest go first.
        #[test]
        fn never_a_wrong_answer(lens in proptest::collection::vec(1usize..100, 1..300)) {
            let mut answers = Answers::new(16, 1500, 100);
            let mut written = BTreeMap::new();
            for (n, len) in lens.iter().enumerate() {
                let of = (n as u128) << 70 | (n as u128 % 3);
                let put = answers.put(0, of, 1, |b| { b[..*len].fill(n as u8); Some(*len) });
                prop_assert!(put.is_some());
                written.insert(n, vec![n as u8; *len]);
                let mut missing = true;
                for (m, octets) in &written {
                    match answers.find(0, (*m as u128) << 70 | (*m as u128 % 3)) {
                        Some(id) => { prop_assert_eq!(answers.get(id), &octets[..]); missing = false; }
                        None => prop_assert!(missing, "a younger one went before an older one"),
                    }
                }
                let kept = (0..=n).rev().take(7).all(|m| answers.find(0, (m as u128) << 70 | (m as u128 % 3)).is_some());
                prop_assert!(kept);
            }
        }
    }
}
