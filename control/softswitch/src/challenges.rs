//! Challenges that wait for their answer: the first words, by (IDc, Rand).
//!
//! ```text
//!   s4 ──► waiting ──(s8, word equal)──────────────► granted: s9, s11
//!             │ └────(s8, word differs, retries left)─► a new s3, and another challenge
//!             │ └────(s8, word differs, none left)────► refused
//!             └──────(nobody answers, or room needed)─► gone
//! ```
//!
//! A challenge serves one answer, whatever that answer is. Words are compared in constant time, and where there is
//! no challenge a word that nobody has is compared instead, so that every refusal takes the same way.

use crate::keyed::Keyed;
use hashbrown::HashMap;
use portunus_aaa::DigestVector;
use portunus_keydist::steps::{S4, S9};
use portunus_keydist::{N1, Rand, Random, Word};
use std::collections::VecDeque;
use std::sync::Arc;
use subtle::ConstantTimeEq as _;
use zeroize::Zeroize;

/// What is expected, and what a correct answer is worth.
#[derive(Clone)]
pub(crate) enum Expected {
    /// PKD1.
    Pkd1 {
        /// The first word and the wraps.
        s4: S4,
        /// The N1 of the registration's s1: every wrap of it uses this one.
        n1a: N1,
    },
    /// A stock phone's.
    Digest(DigestVector),
}

impl core::fmt::Debug for Expected {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Pkd1 { .. } => "Pkd1(..)",
            Self::Digest(_) => "Digest(..)",
        })
    }
}

impl Drop for Expected {
    fn drop(&mut self) {
        if let Self::Pkd1 { s4, .. } = self {
            s4.auth_c.zeroize();
        }
    }
}

/// One challenge.
#[derive(Debug)]
pub(crate) struct Challenge {
    pub idc: Box<str>,
    pub idsp: Arc<str>,
    pub expected: Expected,
    /// Challenges that this registration may still get.
    pub retries_left: u8,
}

/// What an answer is worth.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// The word is right.
    Right(Challenge),
    /// The word differs.
    Wrong(Challenge),
    /// There is no such challenge for this identity and proxy.
    Unknown,
}

/// An answer, as its carriage spells the word.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Answer<'a> {
    /// s8's word.
    Pkd1(&'a Word),
    /// A digest response, as octets.
    Digest(&'a [u8]),
}

/// The table.
#[derive(Debug)]
pub(crate) struct Challenges {
    by_rand: HashMap<Rand, (u64, Challenge), Keyed>,
    /// In order of time, for every challenge lives equally long. What was answered meanwhile is skipped.
    queue: VecDeque<(u64, Rand)>,
    max: usize,
    keep_ms: u64,
}

impl Challenges {
    pub(crate) fn new(max: usize, keep_ms: u64, random: &mut dyn Random) -> Self {
        let by_rand = HashMap::with_hasher(Keyed::new(random));
        Self { by_rand, queue: VecDeque::new(), max, keep_ms }
    }

    /// Keeps a challenge. When the table is full the oldest goes; returns how many went (0 or 1).
    pub(crate) fn insert(&mut self, now_ms: u64, rand: Rand, challenge: Challenge) -> u64 {
        let mut evicted = 0;
        while self.by_rand.len() >= self.max {
            let Some((until, oldest)) = self.queue.pop_front() else { break };
            evicted += u64::from(self.remove(until, &oldest));
        }
        let until_ms = now_ms + self.keep_ms;
        self.by_rand.insert(rand, (until_ms, challenge));
        self.queue.push_back((until_ms, rand));
        // What was answered leaves its place in the queue behind; those must not outnumber the challenges.
        if self.queue.len() > 2 * self.max {
            let by_rand = &self.by_rand;
            self.queue.retain(|(until, rand)| by_rand.get(rand).is_some_and(|(u, _)| u == until));
        }
        evicted
    }

    /// Judges an answer. The challenge is used up, right or wrong; one that was made for somebody else stays.
    pub(crate) fn answer(
        &mut self,
        now_ms: u64,
        rand: Option<&Rand>,
        (idc, idsp): (&str, &str),
        answer: Answer<'_>,
    ) -> Verdict {
        let found = rand.and_then(|r| self.by_rand.get(r));
        let theirs = |(until, c): &&(u64, Challenge)| *until > now_ms && &*c.idc == idc && &*c.idsp == idsp;
        let found = found.filter(theirs).filter(|(_, c)| match (&c.expected, answer) {
            (Expected::Pkd1 { .. }, Answer::Pkd1(_)) => true,
            (Expected::Digest(v), Answer::Digest(word)) => v.word.as_bytes().len() == word.len(),
            _ => false,
        });
        let nobodys = [0u8; 32];
        let expected: &[u8] = match found.map(|(_, c)| &c.expected) {
            Some(Expected::Pkd1 { s4, .. }) => &s4.auth_c,
            Some(Expected::Digest(v)) => v.word.as_bytes(),
            None => &nobodys,
        };
        let word = match answer {
            Answer::Pkd1(word) => word.as_slice(),
            Answer::Digest(word) => word,
        };
        let equal = same_word(expected, word);
        let known = found.is_some();
        match rand.filter(|_| known).and_then(|r| self.by_rand.remove(r)) {
            Some((_, challenge)) if equal => Verdict::Right(challenge),
            Some((_, challenge)) => Verdict::Wrong(challenge),
            None => Verdict::Unknown,
        }
    }

    fn remove(&mut self, until_ms: u64, rand: &Rand) -> bool {
        let present = self.by_rand.get(rand).is_some_and(|(until, _)| *until == until_ms);
        present && self.by_rand.remove(rand).is_some()
    }

    /// Drops what nobody answered; returns how many.
    pub(crate) fn expire(&mut self, now_ms: u64) -> u64 {
        let mut gone = 0;
        while let Some((until, rand)) = self.queue.front().copied().filter(|(until, _)| *until <= now_ms) {
            self.queue.pop_front();
            gone += u64::from(self.remove(until, &rand));
        }
        gone
    }

    pub(crate) fn next_deadline(&self) -> Option<u64> {
        self.queue.front().map(|(until, _)| *until)
    }

    pub(crate) fn len(&self) -> usize {
        self.by_rand.len()
    }
}

/// Compares words without telling where they differ.
fn same_word(a: &[u8], b: &[u8]) -> bool {
    #[cfg(feature = "seeded-bugs")]
    if crate::bugs::active(crate::bugs::Bug::PrefixCompare) {
        return a.first() == b.first();
    }
    a.ct_eq(b).into()
}

/// What a granted PKD1 registration sends: s9.
pub(crate) fn s9(s4: &S4) -> S9 {
    S9 { ekc: s4.ekc, eksp: s4.eksp }
}

#[cfg(test)]
mod tests {
    use super::*;
    use portunus_keydist::SystemRandom;

    fn challenge(word: u8) -> Challenge {
        let s4 = S4 { rand: [0; 16], auth_c: [word; 32], ekc: [0; 48], eksp: [0; 48] };
        let expected = Expected::Pkd1 { s4, n1a: N1::from_bits(1) };
        Challenge { idc: "a@x".into(), idsp: "sp1".into(), expected, retries_left: 1 }
    }

    fn table() -> Challenges {
        Challenges::new(3, 15_000, &mut SystemRandom::new())
    }

    #[test]
    fn serves_one_answer_and_only_its_own() {
        let mut t = table();
        let (rand, word) = ([7; 16], [1; 32]);
        let right = Answer::Pkd1(&word);
        t.insert(0, rand, challenge(1));
        assert!(matches!(t.answer(1, Some(&rand), ("b@x", "sp1"), right), Verdict::Unknown));
        assert!(matches!(t.answer(1, Some(&rand), ("a@x", "sp2"), right), Verdict::Unknown));
        assert!(matches!(t.answer(1, Some(&[8; 16]), ("a@x", "sp1"), right), Verdict::Unknown));
        assert!(matches!(t.answer(1, Some(&rand), ("a@x", "sp1"), Answer::Digest(&word)), Verdict::Unknown));
        assert!(matches!(t.answer(1, Some(&rand), ("a@x", "sp1"), right), Verdict::Right(_)));
        assert!(matches!(t.answer(1, Some(&rand), ("a@x", "sp1"), right), Verdict::Unknown));
        t.insert(0, rand, challenge(1));
        let mut nearly = word;
        nearly[31] ^= 1;
        assert!(matches!(t.answer(1, Some(&rand), ("a@x", "sp1"), Answer::Pkd1(&nearly)), Verdict::Wrong(_)));
        assert!(matches!(t.answer(1, Some(&rand), ("a@x", "sp1"), right), Verdict::Unknown));
    }

    #[test]
    fn nobodys_word_is_nobodys() {
        let mut t = table();
        assert!(matches!(t.answer(0, None, ("a@x", "sp1"), Answer::Pkd1(&[0; 32])), Verdict::Unknown));
    }

    #[test]
    fn late_is_late_and_the_oldest_gives_way() {
        let mut t = table();
        t.insert(0, [1; 16], challenge(1));
        assert!(matches!(t.answer(15_000, Some(&[1; 16]), ("a@x", "sp1"), Answer::Pkd1(&[1; 32])), Verdict::Unknown));
        assert_eq!(t.expire(15_000), 1);
        let evicted: u64 = (0..10).map(|n| t.insert(u64::from(n), [n; 16], challenge(n))).sum();
        assert_eq!((evicted, t.len()), (7, 3));
        let answer = |t: &mut Challenges, n: u8| t.answer(20, Some(&[n; 16]), ("a@x", "sp1"), Answer::Pkd1(&[n; 32]));
        assert!(matches!(answer(&mut t, 6), Verdict::Unknown));
        assert!(matches!(answer(&mut t, 7), Verdict::Right(_)));
        for n in 0..100 {
            t.insert(30, [n; 16], challenge(n));
            answer(&mut t, n);
        }
        assert!(t.queue.len() <= 6);
    }
}
