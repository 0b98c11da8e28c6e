//! SIP registrars of somebody else's behind us: which of them serves whom, and which are up.
//!
//! ```text
//!            silent `down_after` times in a row
//!     up ────────────────────────────────────────► down      asked for a sign of life in either
//!      ▲                                             │
//!      └─────────────────────────────────────────────┘
//!            answers `up_after` times in a row
//! ```
//!
//! Each identity prefers them in an order of its own (weighted rendezvous hashing): whatever a terminal asks for goes to
//! the same one while it is up, and when one is down its own terminals go elsewhere and nobody else's. The order is the
//! same in every process. All times are monotonic milliseconds.

use crate::config::{Registrars, Upstream};
use crate::keyed::Keyed;
use core::net::SocketAddr;

#[derive(Debug)]
struct One {
    address: SocketAddr,
    weight: u32,
    up: bool,
    /// Signs in a row that say the opposite of `up`.
    against: u32,
    /// When it is asked for a sign of life; `None` while it is.
    due_ms: Option<u64>,
}

/// All of them; none where we keep the locations ourselves.
#[derive(Debug, Default)]
pub(crate) struct Upstreams {
    all: Vec<One>,
    probe_every_ms: u64,
    down_after: u32,
    up_after: u32,
}

impl Upstreams {
    /// All taken for up until they are found to be down.
    pub(crate) fn new(registrars: Option<&Registrars>) -> Self {
        let Some(r) = registrars else { return Self::default() };
        let one = |u: &Upstream| One { address: u.address, weight: u.weight, up: true, against: 0, due_ms: Some(0) };
        Self {
            all: r.list.iter().map(one).collect(),
            probe_every_ms: r.probe_every_ms,
            down_after: r.down_after,
            up_after: r.up_after,
        }
    }

    /// True when there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Those that are up.
    pub(crate) fn up(&self) -> usize {
        self.all.iter().filter(|one| one.up).count()
    }

    /// Where one of them is.
    pub(crate) fn address(&self, nth: usize) -> Option<SocketAddr> {
        self.all.get(nth).map(|one| one.address)
    }

    /// The one at an address.
    pub(crate) fn find(&self, address: SocketAddr) -> Option<usize> {
        self.all.iter().position(|one| one.address == address)
    }

    /// The one that an identity prefers of those that are up and were not tried.
    pub(crate) fn choose(&self, idc: &[u8], tried: &[usize]) -> Option<usize> {
        let free = self.all.iter().enumerate().filter(|(nth, one)| one.up && !tried.contains(nth));
        let best = free.max_by(|(_, a), (_, b)| score(a, idc).total_cmp(&score(b, idc)));
        best.map(|(nth, _)| nth)
    }

    /// It answered; true when it is up from now on.
    pub(crate) fn heard(&mut self, nth: usize) -> bool {
        let up_after = self.up_after;
        self.all.get_mut(nth).is_some_and(|one| one.sign(true, up_after))
    }

    /// It did not answer; true when it is down from now on.
    pub(crate) fn silent(&mut self, nth: usize) -> bool {
        let down_after = self.down_after;
        self.all.get_mut(nth).is_some_and(|one| one.sign(false, down_after))
    }

    /// One that is to be asked for a sign of life now; what comes of it is told by [`Upstreams::probed`].
    pub(crate) fn take_due(&mut self, now_ms: u64) -> Option<usize> {
        let nth = self.all.iter().position(|one| one.due_ms.is_some_and(|due| due <= now_ms))?;
        self.all.get_mut(nth)?.due_ms = None;
        Some(nth)
    }

    /// The question for a sign of life is over: the next one follows in its time.
    pub(crate) fn probed(&mut self, now_ms: u64, nth: usize) {
        if let Some(one) = self.all.get_mut(nth) {
            one.due_ms = Some(now_ms + self.probe_every_ms);
        }
    }

    /// When [`Upstreams::take_due`] has one.
    pub(crate) fn next_due(&self) -> Option<u64> {
        self.all.iter().filter_map(|one| one.due_ms).min()
    }
}

impl One {
    /// True when this sign, the `enough`-th in a row, turned it.
    fn sign(&mut self, up: bool, enough: u32) -> bool {
        if self.up == up {
            self.against = 0;
            return false;
        }
        self.against += 1;
        if self.against < enough {
            return false;
        }
        (self.up, self.against) = (up, 0);
        true
    }
}

/// The higher, the sooner: of many identities each one is first for a share that is its weight's.
fn score(one: &One, idc: &[u8]) -> f64 {
    let hash = Keyed::common().parts(0, &[one.address.to_string().as_bytes(), idc]);
    // 53 bits are what a double holds; never 0 and never 1.
    let even = ((hash >> 11) as f64 + 0.5) / (1u64 << 53) as f64;
    f64::from(one.weight) / -even.ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn three(weights: [u32; 3]) -> Upstreams {
        let list =
            (1..=3u8).zip(weights).map(|(n, weight)| Upstream { address: ([192, 0, 2, n], 5060).into(), weight });
        Upstreams::new(Some(&Registrars::new(list.collect())))
    }

    #[test]
    fn shares_follow_the_weights_and_only_the_orphans_move() {
        let mut u = three([1, 2, 3]);
        let mut shares = [0usize; 3];
        for n in 0..6_000 {
            shares[u.choose(format!("user{n}@example.test").as_bytes(), &[]).unwrap()] += 1;
        }
        for (share, expected) in shares.into_iter().zip([1_000, 2_000, 3_000]) {
            assert!(share.abs_diff(expected) < 200, "{shares:?}");
        }
        let names: Vec<String> = (0..500).map(|n| format!("user{n}@example.test")).collect();
        let chosen = |u: &Upstreams| names.iter().map(|n| u.choose(n.as_bytes(), &[])).collect::<Vec<_>>();
        let before = chosen(&u);
        while !u.silent(1) {}
        for ((name, before), after) in names.iter().zip(&before).zip(chosen(&u)) {
            // Whom it asks when the first one is silent is whom it moves to.
            let second = three([1, 2, 3]).choose(name.as_bytes(), &[1]);
            assert_eq!(after, if *before == Some(1) { second } else { *before }, "{name}");
        }
        while !u.heard(1) {}
        assert_eq!(chosen(&u), before);
        assert_eq!(u.choose(b"x", &[0, 1, 2]), None);
    }

    #[test]
    fn up_and_down_take_several_signs_in_a_row() {
        let mut u = three([1, 1, 1]);
        assert_eq!([u.silent(0), u.silent(0), u.heard(0), u.silent(0), u.silent(0)], [false; 5]);
        assert_eq!((u.up(), u.silent(0), u.up()), (3, true, 2));
        assert_eq!([u.silent(0), u.heard(0), u.silent(0), u.heard(0)], [false; 4]);
        assert_eq!((u.up(), u.heard(0), u.up()), (2, true, 3));
    }

    #[test]
    fn each_is_asked_again_when_it_was_asked() {
        let mut u = three([1, 1, 1]);
        assert_eq!(u.next_due(), Some(0));
        assert_eq!([u.take_due(5), u.take_due(5), u.take_due(5), u.take_due(5)], [Some(0), Some(1), Some(2), None]);
        assert_eq!(u.next_due(), None);
        u.probed(100, 1);
        assert_eq!((u.next_due(), u.take_due(2_099), u.take_due(2_100)), (Some(2_100), None, Some(1)));
        let none = Upstreams::new(None);
        assert_eq!((none.is_empty(), none.next_due(), none.choose(b"x", &[])), (true, None, None));
    }
}
