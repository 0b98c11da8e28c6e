//! The softswitches of one link: which route leads to which of them, in what shares, and who is silent.
//!
//! ```text
//!   exact (an s8, an answer) ─► that one; nothing at all while it is silent and another of its route is not
//!   a terminal that has a home ─► that one     ┐ while it is silent, the next of its route that is not;
//!   any other ─► by lot, in shares of weight   ┘ one message an interval still tries the silent one
//! ```
//!
//! Silent is who was asked something and said nothing for a while, or whose host refuses. Fixed tables: choosing reads
//! one octet while nobody is silent.

use std::net::SocketAddr;

use portunus_engine::{Affinity, HOMES_MAX, LOTS, ROUTES_MAX, Reading};
use portunus_keydist::Now;

/// Where a route leads: softswitches of a link, by their place in its list, with their shares.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Shares(pub Vec<(u8, u16)>);

impl Shares {
    /// The first `count` of a list, evenly.
    pub fn even(count: usize) -> Self {
        Self((0..count.min(HOMES_MAX)).map(|nth| (nth as u8, 1)).collect())
    }
}

/// What is known of a softswitch.
#[derive(Debug, Clone, Copy, Default)]
struct Health {
    /// When the first message that is to be answered left to which nothing has come back.
    asked_ms: Option<u64>,
    /// It is passed over, and tried again at this time.
    silent_until: Option<u64>,
    /// Messages that were for it.
    sent: u64,
}

struct Route {
    /// In the order of the configuration.
    list: Vec<u8>,
    /// Whose each lot is.
    lots: [u8; LOTS as usize],
}

/// What happened when one was chosen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Passed {
    /// Messages that went to another because theirs is silent.
    pub(crate) failed_over: u64,
    /// Messages that tried a silent one.
    pub(crate) probes: u64,
    /// Messages for a silent one alone, which were not sent.
    pub(crate) held: u64,
}

/// See the module.
pub(crate) struct Softswitches {
    all: Vec<Health>,
    routes: Vec<Route>,
    silent_ms: u64,
    probe_ms: u64,
    silent: usize,
    look_ms: u64,
    pub(crate) passed: Passed,
    /// Names and help of what is counted of each.
    labels: Vec<[(&'static str, &'static str); 2]>,
}

/// Milliseconds between looks at who is silent.
const LOOK_MS: u64 = 250;

/// Lots in shares of weight, taken in turns (smooth weighted round robin), so that neighbours lie apart.
fn lots(shares: &Shares) -> [u8; LOTS as usize] {
    let mut lots = [0; LOTS as usize];
    let total: i64 = shares.0.iter().map(|(_, weight)| i64::from(*weight)).sum();
    let mut credit = vec![0i64; shares.0.len()];
    for lot in &mut lots {
        for (credit, (_, weight)) in credit.iter_mut().zip(&shares.0) {
            *credit += i64::from(*weight);
        }
        // The first of the largest.
        let most = credit.iter().copied().max().unwrap_or_default();
        let Some(at) = credit.iter().position(|c| *c == most) else { continue };
        if let (Some(credit), Some((nth, _))) = (credit.get_mut(at), shares.0.get(at)) {
            *credit -= total;
            *lot = *nth;
        }
    }
    lots
}

/// A name for a counter, made once at start; configurations bound how many there are.
fn name(text: String) -> &'static str {
    Box::leak(text.into_boxed_str())
}

impl Softswitches {
    /// `peers` with the routes that lead to them; a route that is not there, or leads nowhere, is as the first, and the
    /// first as one to all. `link`: what counters' names begin with.
    pub(crate) fn new(link: &str, peers: &[SocketAddr], routes: &[Shares], (silent_ms, probe_ms): (u64, u64)) -> Self {
        let exists = |(nth, weight): &&(u8, u16)| usize::from(*nth) < peers.len() && *weight > 0;
        let good = |shares: &Shares| Shares(shares.0.iter().filter(exists).copied().collect());
        let first = routes.first().map(good).filter(|s| !s.0.is_empty()).unwrap_or_else(|| Shares::even(peers.len()));
        let route = |shares: &Shares| {
            let shares = Some(good(shares)).filter(|s| !s.0.is_empty()).unwrap_or_else(|| first.clone());
            Route { list: shares.0.iter().map(|(nth, _)| *nth).collect(), lots: lots(&shares) }
        };
        let mut all: Vec<Route> = routes.iter().take(ROUTES_MAX).map(route).collect();
        if all.is_empty() {
            all.push(route(&first));
        }
        let label = |(nth, peer): (usize, &SocketAddr)| {
            let sent = name(format!("{link}_peer_{nth}_sent"));
            let silent = name(format!("{link}_peer_{nth}_silent"));
            [
                (sent, name(format!("Messages for the softswitch {peer}"))),
                (silent, name(format!("1: {peer} is silent"))),
            ]
        };
        // One alone says nothing that the link's own counters do not.
        let labels = if peers.len() > 1 { peers.iter().enumerate().map(label).collect() } else { Vec::new() };
        let (health, passed) = (vec![Health::default(); peers.len()], Passed::default());
        Self { all: health, routes: all, silent_ms, probe_ms, silent: 0, look_ms: 0, passed, labels }
    }

    fn route(&self, number: u8) -> Option<&Route> {
        self.routes.get(usize::from(number)).or_else(|| self.routes.first())
    }

    fn is_silent(&self, nth: usize) -> bool {
        self.all.get(nth).is_some_and(|health| health.silent_until.is_some())
    }

    /// The softswitch for a message; `None`, and counted: it is not to be sent.
    pub(crate) fn choose(&mut self, now: Now, affinity: Affinity) -> Option<usize> {
        let home = usize::from(affinity.home()).checked_sub(1).filter(|nth| *nth < self.all.len());
        let own = home.or_else(|| {
            self.route(affinity.route()).and_then(|r| r.lots.get(affinity.lot() as usize)).map(|n| usize::from(*n))
        })?;
        let at = if self.silent == 0 { own } else { self.pass_over(now, affinity, own)? };
        if let Some(health) = self.all.get_mut(at) {
            health.sent += 1;
            if affinity.asks() {
                health.asked_ms = health.asked_ms.or(Some(now.mono_ms));
            }
        }
        Some(at)
    }

    /// True when this one may be sent to: it is not silent, or it is time to try it.
    fn may(&mut self, now: Now, nth: usize) -> bool {
        let interval = self.probe_ms;
        let Some(health) = self.all.get_mut(nth) else { return false };
        match health.silent_until {
            None => true,
            Some(until) if until <= now.mono_ms => {
                health.silent_until = Some(now.mono_ms + interval);
                self.passed.probes += 1;
                true
            }
            Some(_) => false,
        }
    }

    fn pass_over(&mut self, now: Now, affinity: Affinity, own: usize) -> Option<usize> {
        if self.may(now, own) {
            return Some(own);
        }
        let len = self.route(affinity.route()).map_or(0, |r| r.list.len());
        let place = |route: &Route| route.list.iter().position(|n| usize::from(*n) == own).map_or(0, |at| at + 1);
        let first = self.route(affinity.route()).map_or(0, place);
        for step in 0..len {
            let nth =
                self.route(affinity.route()).and_then(|r| r.list.get((first + step) % len)).map(|n| usize::from(*n));
            let Some(nth) = nth.filter(|nth| *nth != own) else { continue };
            if affinity.is_exact() {
                if !self.is_silent(nth) {
                    self.passed.held += 1;
                    return None;
                }
            } else if self.may(now, nth) {
                self.passed.failed_over += 1;
                return Some(nth);
            }
        }
        // All are silent: theirs may be the first to come back.
        Some(own)
    }

    /// Something came from this one.
    pub(crate) fn heard(&mut self, nth: usize) {
        let Some(health) = self.all.get_mut(nth) else { return };
        health.asked_ms = None;
        if health.silent_until.take().is_some() {
            self.silent = self.silent.saturating_sub(1);
        }
    }

    /// Its host says that nobody listens there.
    pub(crate) fn refused(&mut self, nth: usize, now: Now) {
        let interval = self.probe_ms;
        if let Some(health) = self.all.get_mut(nth) {
            health.silent_until = health.silent_until.or(Some(now.mono_ms + interval));
        }
        self.look_at_all(now);
    }

    /// Brings everybody's standing up to date, when that is due.
    pub(crate) fn look(&mut self, now: Now) {
        if self.look_ms <= now.mono_ms {
            self.look_at_all(now);
        }
    }

    fn look_at_all(&mut self, now: Now) {
        self.look_ms = now.mono_ms + LOOK_MS;
        let (patience, interval) = (self.silent_ms, self.probe_ms);
        let mut silent = 0;
        for health in &mut self.all {
            let overdue = health.asked_ms.is_some_and(|asked| now.mono_ms.saturating_sub(asked) >= patience);
            if overdue && health.silent_until.is_none() {
                health.silent_until = Some(now.mono_ms + interval);
            }
            silent += usize::from(health.silent_until.is_some());
        }
        self.silent = silent;
    }

    /// When [`Softswitches::look`] is wanted next, on the monotonic clock in milliseconds.
    pub(crate) fn next_look(&self) -> Option<u64> {
        self.all.iter().any(|health| health.asked_ms.is_some()).then_some(self.look_ms)
    }

    /// How many are silent.
    pub(crate) const fn silent(&self) -> usize {
        self.silent
    }

    /// Shows what was counted of each.
    pub(crate) fn readings(&self, show: &mut dyn FnMut(Reading)) {
        use portunus_engine::Kind;
        for ([sent, silent], health) in self.labels.iter().zip(&self.all) {
            let quiet = u64::from(health.silent_until.is_some());
            show(Reading { name: sent.0, help: sent.1, kind: Kind::Counter, value: health.sent });
            show(Reading { name: silent.0, help: silent.1, kind: Kind::Gauge, value: quiet });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(mono_ms: u64) -> Now {
        Now { mono_ms, wall_ms: 0 }
    }

    fn peers(n: u8) -> Vec<SocketAddr> {
        (0..n).map(|n| SocketAddr::from(([192, 0, 2, n + 1], 5070))).collect()
    }

    fn lot(route: u8, lot: u64) -> Affinity {
        Affinity::new(route, 0, lot << 40).asking()
    }

    #[test]
    fn lots_fall_in_shares_and_routes_lead_to_their_own() {
        let routes = [Shares(vec![(0, 1), (1, 3)]), Shares(vec![(2, 1)]), Shares::default(), Shares(vec![(9, 1)])];
        let mut s = Softswitches::new("link", &peers(3), &routes, (1000, 500));
        let mut count = [0; 3];
        for n in 0..u64::from(LOTS) {
            count[s.choose(at(0), lot(0, n)).unwrap()] += 1;
            assert_eq!(s.choose(at(0), lot(1, n)), Some(2));
            // A route without softswitches here, or that is not there, is the first.
            let first = s.choose(at(0), lot(0, n));
            assert_eq!([2, 3, 7].map(|route| s.choose(at(0), lot(route, n))), [first; 3]);
        }
        assert_eq!(count, [LOTS as usize / 4, LOTS as usize * 3 / 4, 0]);
        // Who has come to one stays there.
        let mut homed = (0..9).map(|n| s.choose(at(0), Affinity::new(0, 3, n << 40)));
        assert!(homed.all(|to| to == Some(2)));
    }

    #[test]
    fn a_silent_one_is_passed_over_tried_and_taken_back() {
        let mut s = Softswitches::new("link", &peers(2), &[], (1000, 500));
        assert_eq!((s.choose(at(0), lot(0, 0)), s.choose(at(0), lot(0, 1))), (Some(0), Some(1)));
        s.heard(1);
        s.look(at(999));
        assert_eq!(s.silent(), 0);
        s.look(at(1250));
        assert_eq!(s.silent(), 1, "it was asked and said nothing");
        assert_eq!(s.choose(at(1300), lot(0, 0)), Some(1));
        // What only it can answer is kept back, and what follows a session goes on.
        let exact = Affinity::new(0, 1, 0).exactly().asking();
        assert_eq!((s.choose(at(1300), exact), s.choose(at(1300), Affinity::new(0, 1, 0))), (None, Some(1)));
        assert_eq!((s.passed.failed_over, s.passed.held, s.passed.probes), (2, 1, 0));
        // One message an interval tries it.
        assert_eq!([s.choose(at(1800), lot(0, 0)), s.choose(at(1801), lot(0, 0))], [Some(0), Some(1)]);
        s.heard(0);
        assert_eq!((s.silent(), s.choose(at(1802), lot(0, 0)), s.choose(at(1802), exact)), (0, Some(0), Some(0)));
        // Refused is silent at once; with all of them so, one's own is as good as another.
        s.refused(0, at(1900));
        s.refused(1, at(1900));
        assert_eq!((s.silent(), s.choose(at(1901), lot(0, 1)), s.choose(at(1901), exact)), (2, Some(1), Some(0)));
    }

    #[test]
    fn what_asks_nothing_makes_nobody_silent() {
        let mut s = Softswitches::new("link", &peers(2), &[], (1000, 500));
        s.choose(at(0), Affinity::from(0));
        s.choose(at(0), Affinity::new(0, 1, 0));
        s.look(at(60_000));
        assert_eq!((s.silent(), s.next_look()), (0, None));
        let mut shown = Vec::new();
        s.readings(&mut |r| shown.push((r.name, r.value)));
        assert_eq!(shown[..2], [("link_peer_0_sent", 2), ("link_peer_0_silent", 0)]);
    }

    /// Whatever happens in whatever order, an answer to a challenge reaches its maker or nobody, and nobody is sent to a
    /// route that is not his.
    #[test]
    fn no_order_of_events_brings_an_exact_message_to_another() {
        let routes = [Shares(vec![(0, 2), (1, 1), (2, 1)]), Shares(vec![(3, 1), (4, 5)])];
        let mut dice = 7u64;
        let mut draw = |below: u64| {
            dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (dice >> 33) % below
        };
        let mut s = Softswitches::new("link", &peers(5), &routes, (1_000, 500));
        let (mut now, mut held, mut over) = (0, 0, 0);
        for _ in 0..100_000 {
            now += draw(200);
            let (route, lot, nth) = (draw(2) as u8, draw(u64::from(LOTS)), draw(5) as usize);
            match draw(8) {
                0 | 1 => s.heard(nth),
                2 if draw(4) == 0 => s.refused(nth, at(now)),
                2 => s.look(at(now)),
                3 | 4 => {
                    let home = Affinity::new(u8::from(nth > 2), nth as u8 + 1, lot << 40).asking().exactly();
                    let to = s.choose(at(now), home);
                    assert!(to.is_none_or(|to| to == nth), "{to:?} for {nth}");
                    held += u64::from(to.is_none());
                }
                _ => {
                    let own = usize::from(s.routes[usize::from(route)].lots[lot as usize]);
                    let silent = s.is_silent(own);
                    let to = s.choose(at(now), Affinity::new(route, 0, lot << 40).asking()).expect("somebody");
                    assert_eq!(to > 2, route == 1, "of its route");
                    assert!(silent || to == own);
                    over += u64::from(to != own);
                }
            }
        }
        assert!(held > 100 && over > 1_000, "{held} {over}");
    }
}
