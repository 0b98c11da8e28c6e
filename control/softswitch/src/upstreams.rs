//! Servers of somebody else's behind us, SIP registrars, call agents and controllers: which of a kind serves whom, and
//! which are up.
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

use crate::config::{Behind, Health, Upstream};
use crate::keyed::Keyed;
use core::net::{IpAddr, SocketAddr};
use core::ops::{Index, IndexMut};
use portunus_signalling::Protocol;
use std::sync::Arc;

#[derive(Debug)]
struct One {
    address: SocketAddr,
    weight: u32,
    name: Option<Arc<str>>,
    up: bool,
    /// Signs in a row that say the opposite of `up`.
    against: u32,
    /// When it is asked for a sign of life; `None` while it is.
    due_ms: Option<u64>,
}

/// All of a kind; none where we serve its terminals ourselves.
#[derive(Debug, Default)]
pub(crate) struct Upstreams {
    all: Vec<One>,
    probe_every_ms: u64,
    down_after: u32,
    up_after: u32,
}

impl Upstreams {
    /// All taken for up until they are found to be down.
    pub(crate) fn new(list: &[Upstream], health: &Health) -> Self {
        let one = |u: &Upstream| {
            let (address, weight, name) = (u.address, u.weight, u.name.clone());
            One { address, weight, name, up: true, against: 0, due_ms: Some(0) }
        };
        Self {
            all: list.iter().map(one).collect(),
            probe_every_ms: health.probe_every_ms,
            down_after: health.down_after,
            up_after: health.up_after,
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

    /// True where one is up.
    pub(crate) fn is_up(&self, nth: usize) -> bool {
        self.all.get(nth).is_some_and(|one| one.up)
    }

    /// The one that an address names, whose port may be left to the protocol's own, or where only one is at that host to
    /// whichever it has.
    pub(crate) fn named(&self, ip: IpAddr, port: Option<u16>, standard: u16) -> Option<usize> {
        let exact = self.find(SocketAddr::new(ip, port.unwrap_or(standard)));
        let mut there = self.all.iter().enumerate().filter(|(_, one)| one.address.ip() == ip);
        let only = there.next().filter(|_| port.is_none() && there.next().is_none()).map(|(nth, _)| nth);
        exact.or(only)
    }

    /// The one of this name, at this port where one is said.
    pub(crate) fn called(&self, name: &[u8], port: Option<u16>) -> Option<usize> {
        let is = |one: &One| one.name.as_ref().is_some_and(|n| n.as_bytes().eq_ignore_ascii_case(name));
        self.all.iter().position(|one| is(one) && port.is_none_or(|port| port == one.address.port()))
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

/// Those of every protocol.
#[derive(Debug, Default)]
pub(crate) struct Kinds {
    registrars: Upstreams,
    call_agents: Upstreams,
    controllers: Upstreams,
    /// Of RAS: nobody's gatekeeper is behind us.
    none: Upstreams,
}

impl Kinds {
    pub(crate) fn new(behind: &Behind) -> Self {
        let of = |protocol| Upstreams::new(behind.of(protocol), &behind.health);
        let [registrars, call_agents, controllers] = [Protocol::Sip, Protocol::Mgcp, Protocol::H248].map(of);
        Self { registrars, call_agents, controllers, none: Upstreams::default() }
    }

    /// When any of them is to be asked for a sign of life.
    pub(crate) fn next_due(&self) -> Option<u64> {
        [&self.registrars, &self.call_agents, &self.controllers].into_iter().filter_map(Upstreams::next_due).min()
    }
}

impl Index<Protocol> for Kinds {
    type Output = Upstreams;

    fn index(&self, protocol: Protocol) -> &Upstreams {
        match protocol {
            Protocol::Sip => &self.registrars,
            Protocol::Mgcp => &self.call_agents,
            Protocol::H248 => &self.controllers,
            Protocol::Ras => &self.none,
        }
    }
}

impl IndexMut<Protocol> for Kinds {
    fn index_mut(&mut self, protocol: Protocol) -> &mut Upstreams {
        match protocol {
            Protocol::Sip => &mut self.registrars,
            Protocol::Mgcp => &mut self.call_agents,
            Protocol::H248 => &mut self.controllers,
            Protocol::Ras => &mut self.none,
        }
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
        let one = |(n, weight)| Upstream { weight, ..Upstream::at(([192, 0, 2, n], 5060).into()) };
        let list = (1..=3u8).zip(weights).map(one);
        Upstreams::new(&list.collect::<Vec<_>>(), &Health::default())
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
        let none = Upstreams::default();
        assert_eq!((none.is_empty(), none.next_due(), none.choose(b"x", &[])), (true, None, None));
    }

    #[test]
    fn an_address_names_one_by_its_port_or_where_it_is_alone() {
        let at = |port| Upstream::at(([192, 0, 2, 9], port).into());
        let ip = IpAddr::from([192, 0, 2, 9]);
        let two = Upstreams::new(&[at(2944), at(2945)], &Health::default());
        assert_eq!(
            [None, Some(2944), Some(2945), Some(9)].map(|p| two.named(ip, p, 2944)),
            [Some(0), Some(0), Some(1), None]
        );
        assert_eq!(two.named(ip, None, 2727), None, "either may be meant");
        let one = Upstreams::new(&[at(3000)], &Health::default());
        assert_eq!((one.named(ip, None, 2944), one.named(ip, Some(2944), 2944)), (Some(0), None));
        assert_eq!(one.named([192, 0, 2, 8].into(), None, 3000), None);
        let called = Upstream { name: Some("mgc2.example.test".into()), ..at(3000) };
        let two = Upstreams::new(&[at(2944), called], &Health::default());
        let asked =
            [(&b"MGC2.example.test"[..], None), (b"mgc2.example.test", Some(3000))].map(|(n, p)| two.called(n, p));
        assert_eq!(asked, [Some(1); 2]);
        assert_eq!((two.called(b"mgc2.example.test", Some(2944)), two.called(b"", None)), (None, None));
    }
}
