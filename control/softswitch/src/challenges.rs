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
use portunus_keydist::softswitch::{Registration, Verdict as Judged};
use portunus_keydist::steps::{S8, S9};
use portunus_keydist::{Now, Rand, Random};
use std::collections::VecDeque;
use std::sync::Arc;
use subtle::ConstantTimeEq as _;

/// A PKD1 registration or a stock phone's, challenged.
#[derive(Debug)]
pub(crate) enum Challenge {
    /// PKD1: the role machine, which keeps the first word and compares.
    Pkd1(Box<Registration>),
    /// A stock phone's.
    Digest(Phone),
}

/// A stock phone's challenge.
#[derive(Debug)]
pub(crate) struct Phone {
    pub idc: Box<str>,
    pub idsp: Arc<str>,
    pub vector: DigestVector,
    /// Challenges that this registration may still get.
    pub retries_left: u8,
}

/// What an answer is worth.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// The word is right; for PKD1, what it is worth.
    Right(Option<S9>),
    /// The word differs, and another challenge may follow: ask the AuC again, for this.
    Again(Again),
    /// The word differs, and that was the last challenge.
    Wrong,
    /// There is no such challenge for this identity and proxy.
    Unknown,
}

/// What goes on after a wrong word.
#[derive(Debug)]
pub(crate) enum Again {
    /// The same registration, waiting for another s4.
    Pkd1(Box<Registration>),
    /// A phone, with so many challenges left.
    Digest {
        /// Challenges that it may still get after the next.
        retries_left: u8,
    },
}

/// The table.
#[derive(Debug)]
pub(crate) struct Challenges {
    /// Rand is the AuC's, 128 bits, and never drawn twice: it names the challenge; whose it is is compared.
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

    /// Judges s8. The challenge is used up, right or wrong; one that was made for somebody else stays.
    pub(crate) fn answer(&mut self, now: Now, s8: &S8<'_>) -> Verdict {
        let found = self.by_rand.get(&s8.rand).filter(|(until, _)| *until > now.mono_ms);
        let theirs = matches!(found, Some((_, Challenge::Pkd1(r))) if r.names() == (s8.idc, s8.idsp));
        if theirs && let Some((_, Challenge::Pkd1(mut registration))) = self.by_rand.remove(&s8.rand) {
            return match registration.on_s8(now, s8) {
                Ok(Judged::Granted(s9, _)) => Verdict::Right(Some(s9)),
                Ok(Judged::Again(_)) => Verdict::Again(Again::Pkd1(registration)),
                Ok(Judged::Refused) => Verdict::Wrong,
                Err(_) => Verdict::Unknown,
            };
        }
        nobodys(&s8.auth_c)
    }

    /// Judges a stock phone's answer: `word` is its response as octets.
    pub(crate) fn answer_digest(
        &mut self,
        now: Now,
        rand: Option<&Rand>,
        (idc, idsp): (&str, &str),
        word: &[u8],
    ) -> Verdict {
        let found = rand.and_then(|r| self.by_rand.get(r)).filter(|(until, _)| *until > now.mono_ms);
        let theirs = |p: &Phone| &*p.idc == idc && &*p.idsp == idsp && p.vector.word.as_bytes().len() == word.len();
        let theirs = matches!(found, Some((_, Challenge::Digest(p))) if theirs(p));
        let taken = rand.filter(|_| theirs).and_then(|r| self.by_rand.remove(r));
        let Some((_, Challenge::Digest(phone))) = taken else { return nobodys(word) };
        if phone.vector.word.as_bytes().ct_eq(word).into() {
            return Verdict::Right(None);
        }
        match phone.retries_left.checked_sub(1) {
            Some(retries_left) => Verdict::Again(Again::Digest { retries_left }),
            None => Verdict::Wrong,
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

/// Where there is no challenge a word that nobody has is compared, so that this refusal takes the time of the others.
fn nobodys(word: &[u8]) -> Verdict {
    let equal: bool = [0u8; 32].ct_eq(word).into();
    // Kept from being optimised away; it decides nothing.
    core::hint::black_box(equal);
    Verdict::Unknown
}

#[cfg(test)]
mod tests {
    use super::*;
    use portunus_aaa::DigestWord;
    use portunus_keydist::softswitch::Policy;
    use portunus_keydist::steps::{S2, S4};
    use portunus_keydist::{Idc, Idsp, N1, SystemRandom};

    fn at(mono_ms: u64) -> Now {
        Now { mono_ms, wall_ms: 0 }
    }

    fn challenge(n: u8, retries: u8) -> Challenge {
        let (idc, idsp) = (Idc::new("a@x").unwrap(), Idsp::new("sp1").unwrap());
        let policy = Policy::new(retries, 4_000, 15_000).unwrap();
        let mut r = Registration::on_s2(at(0), &S2 { idc, idsp, n1: N1::from_bits(1) }, policy);
        r.on_s4(at(0), &S4 { rand: [n; 16], auth_c: [n; 32], ekc: [n; 48], eksp: [0; 48] }).unwrap();
        Challenge::Pkd1(Box::new(r))
    }

    fn s8(n: u8, word: [u8; 32], idc: &'static str, idsp: &'static str) -> S8<'static> {
        let (idc, idsp) = (Idc::new(idc).unwrap(), Idsp::new(idsp).unwrap());
        S8 { idc, idsp, rand: [n; 16], auth_c: word, ipc: "192.0.2.1:5060".parse().unwrap() }
    }

    fn table() -> Challenges {
        Challenges::new(3, 15_000, &mut SystemRandom::new())
    }

    #[test]
    fn serves_one_answer_and_only_its_own() {
        let mut t = table();
        t.insert(0, [7; 16], challenge(7, 0));
        let right = s8(7, [7; 32], "a@x", "sp1");
        assert!(matches!(t.answer(at(1), &s8(7, [7; 32], "b@x", "sp1")), Verdict::Unknown));
        assert!(matches!(t.answer(at(1), &s8(7, [7; 32], "a@x", "sp2")), Verdict::Unknown));
        assert!(matches!(t.answer(at(1), &s8(8, [7; 32], "a@x", "sp1")), Verdict::Unknown));
        let digest = t.answer_digest(at(1), Some(&[7; 16]), ("a@x", "sp1"), &[7; 32]);
        assert!(matches!(digest, Verdict::Unknown), "a PKD1 challenge takes no digest");
        assert!(matches!(t.answer(at(1), &right), Verdict::Right(Some(s9)) if s9.ekc == [7; 48]));
        assert!(matches!(t.answer(at(1), &right), Verdict::Unknown));
        let mut nearly = right;
        nearly.auth_c[31] ^= 1;
        t.insert(0, [7; 16], challenge(7, 1));
        assert!(matches!(t.answer(at(1), &nearly), Verdict::Again(Again::Pkd1(_))));
        assert!(matches!(t.answer(at(1), &right), Verdict::Unknown));
        t.insert(0, [7; 16], challenge(7, 0));
        assert!(matches!(t.answer(at(1), &nearly), Verdict::Wrong));
        assert!(matches!(t.answer(at(1), &s8(9, [0; 32], "a@x", "sp1")), Verdict::Unknown), "nobody's word");
    }

    #[test]
    fn a_phone_gets_as_many_tries_as_configured() {
        let mut t = table();
        let who = ("p@x", "sp1");
        let vector = DigestVector { rand: [1; 16], word: DigestWord::Md5([5; 16]) };
        let phone =
            |retries_left| Challenge::Digest(Phone { idc: who.0.into(), idsp: who.1.into(), vector, retries_left });
        t.insert(0, [1; 16], phone(1));
        assert!(matches!(t.answer_digest(at(1), Some(&[1; 16]), who, &[5; 32]), Verdict::Unknown));
        let again = t.answer_digest(at(1), Some(&[1; 16]), who, &[6; 16]);
        assert!(matches!(again, Verdict::Again(Again::Digest { retries_left: 0 })));
        t.insert(0, [1; 16], phone(0));
        assert!(matches!(t.answer_digest(at(1), Some(&[1; 16]), who, &[6; 16]), Verdict::Wrong));
        t.insert(0, [1; 16], phone(0));
        assert!(matches!(t.answer_digest(at(1), Some(&[1; 16]), who, &[5; 16]), Verdict::Right(None)));
        assert!(matches!(t.answer_digest(at(1), None, who, &[5; 16]), Verdict::Unknown));
    }

    #[test]
    fn late_is_late_and_the_oldest_gives_way() {
        let mut t = table();
        t.insert(0, [1; 16], challenge(1, 0));
        assert!(matches!(t.answer(at(15_000), &s8(1, [1; 32], "a@x", "sp1")), Verdict::Unknown));
        assert_eq!(t.expire(15_000), 1);
        let evicted: u64 = (0..10).map(|n| t.insert(u64::from(n), [n; 16], challenge(n, 0))).sum();
        assert_eq!((evicted, t.len()), (7, 3));
        let answer = |t: &mut Challenges, n: u8| t.answer(at(20), &s8(n, [n; 32], "a@x", "sp1"));
        assert!(matches!(answer(&mut t, 6), Verdict::Unknown));
        assert!(matches!(answer(&mut t, 7), Verdict::Right(_)));
        for n in 0..100 {
            t.insert(30, [n; 16], challenge(n, 0));
            answer(&mut t, n);
        }
        assert!(t.queue.len() <= 6);
    }
}
