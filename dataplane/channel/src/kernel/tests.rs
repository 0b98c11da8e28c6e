use super::*;
use proptest::prelude::*;
use std::collections::BTreeSet;

fn pair(nth: u64) -> Pair {
    let there = SocketAddr::from(([198, 51, 100, 1 + (nth / 4) as u8], 5070 + (nth % 4) as u16));
    Pair {
        kid: nth,
        here: "192.0.2.1:5066".parse().unwrap(),
        there,
        outer: (4501, 0),
        spi: (256 + nth as u32, 700 + nth as u32),
        c2s: TrafficKey::new([1; 32]),
        s2c: TrafficKey::new([2; 32]),
    }
}

/// A kernel as small as can be: what it has, and which requests it refuses or forgets to answer.
#[derive(Default)]
struct Kernel {
    has: BTreeSet<(IpAddr, u32)>,
    updated: Vec<(u32, (u16, u16))>,
    number: u32,
}

/// How the kernel treats the next request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mood {
    Grant,
    Refuse,
    /// It does as asked, and the answer is lost.
    Mute,
}

impl Kernel {
    /// One request and its answer; false when nothing was asked.
    fn serve(&mut self, now: u64, installer: &mut Installer, mood: Mood) -> bool {
        let Some(ask) = installer.question() else { return false };
        self.number += 1;
        let mut listed = Vec::new();
        let error = match ask {
            Ask::List => {
                listed.extend(self.has.iter().copied());
                0
            }
            _ if mood == Mood::Refuse => 12,
            Ask::Add(half) => {
                if self.has.insert((half.to, half.spi)) {
                    0
                } else {
                    17
                }
            }
            Ask::Update(half) => {
                self.updated.push((half.spi, half.outer));
                if self.has.contains(&(half.to, half.spi)) { 0 } else { 3 }
            }
            Ask::Remove(to, spi) => {
                if self.has.remove(&(to, spi)) {
                    0
                } else {
                    3
                }
            }
        };
        let is_list = matches!(ask, Ask::List);
        installer.sent(now, self.number);
        match (is_list, mood) {
            (_, Mood::Mute) => {}
            (true, _) => {
                listed.into_iter().for_each(|(to, spi)| installer.listed(to, spi));
                installer.list_ended(now, self.number);
            }
            (false, _) => installer.answered(now, self.number, error),
        }
        true
    }

    fn settle(&mut self, now: u64, installer: &mut Installer) {
        while self.serve(now, installer, Mood::Grant) {}
    }
}

fn reports(installer: &mut Installer) -> Vec<Report> {
    std::iter::from_fn(|| installer.report()).collect()
}

#[test]
fn both_directions_are_there_and_leave_after_the_last_reply() {
    let (mut installer, mut kernel) = (Installer::new(4), Kernel::default());
    installer.install(pair(1));
    kernel.settle(0, &mut installer);
    assert_eq!((reports(&mut installer), kernel.has.len()), (vec![Report::Installed(1)], 2));
    installer.end(1_000, 1);
    installer.on_timer(1_000 + LINGER_MS - 1);
    kernel.settle(1_000, &mut installer);
    assert_eq!((kernel.has.len(), installer.next_deadline()), (2, Some(1_000 + LINGER_MS)));
    installer.on_timer(1_000 + LINGER_MS);
    kernel.settle(1_000 + LINGER_MS, &mut installer);
    assert!(kernel.has.is_empty() && installer.is_empty() && installer.next_deadline().is_none());
}

#[test]
fn one_direction_refused_is_none_installed() {
    for refused in [0, 1] {
        let (mut installer, mut kernel) = (Installer::new(4), Kernel::default());
        kernel.settle(0, &mut installer);
        installer.install(pair(1));
        for nth in 0..2 {
            kernel.serve(0, &mut installer, if nth == refused { Mood::Refuse } else { Mood::Grant });
        }
        kernel.settle(0, &mut installer);
        assert_eq!((reports(&mut installer), kernel.has.len()), (vec![Report::Refused(1, 12)], 0), "{refused}");
        assert!(installer.is_empty());
    }
}

#[test]
fn silence_is_a_refusal_and_what_was_done_in_silence_is_undone() {
    let (mut installer, mut kernel) = (Installer::new(4), Kernel::default());
    kernel.settle(0, &mut installer);
    installer.install(pair(1));
    kernel.serve(0, &mut installer, Mood::Grant);
    kernel.serve(0, &mut installer, Mood::Mute);
    assert_eq!((kernel.has.len(), installer.next_deadline()), (2, Some(ANSWER_MS)));
    installer.on_timer(ANSWER_MS);
    kernel.settle(ANSWER_MS, &mut installer);
    assert_eq!((reports(&mut installer), kernel.has.len()), (vec![Report::Refused(1, 0)], 0));
}

#[test]
fn a_former_life_is_cleared_away_before_anything_is_installed() {
    let mut kernel = Kernel::default();
    let mut before = Installer::new(4);
    before.install(pair(1));
    kernel.settle(0, &mut before);
    // Killed; the next life happens to use the same SPI.
    let mut installer = Installer::new(4);
    installer.install(pair(1));
    kernel.settle(0, &mut installer);
    assert_eq!((reports(&mut installer), installer.strays(), kernel.has.len()), (vec![Report::Installed(1)], 2, 2));
}

#[test]
fn what_somebody_else_removes_is_found_missing() {
    let (mut installer, mut kernel) = (Installer::new(4), Kernel::default());
    (1..3).for_each(|nth| installer.install(pair(nth)));
    kernel.settle(0, &mut installer);
    reports(&mut installer);
    kernel.has.remove(&(pair(1).there.ip(), pair(1).spi.1));
    installer.unsure();
    installer.unsure();
    kernel.settle(0, &mut installer);
    assert_eq!((reports(&mut installer), installer.len(), kernel.has.len()), (vec![Report::Lost(1)], 1, 2));
}

#[test]
fn another_port_is_followed_and_another_address_is_not() {
    let (mut installer, mut kernel) = (Installer::new(4), Kernel::default());
    let one = pair(1);
    let inward = (one.here.ip(), one.spi.0);
    installer.install(one.clone());
    kernel.settle(0, &mut installer);
    reports(&mut installer);
    for _ in 0..2 {
        installer.moved(0, inward, SocketAddr::new(one.there.ip(), 40_000));
    }
    kernel.settle(0, &mut installer);
    assert_eq!(kernel.updated, [(one.spi.0, (40_000, 4501)), (one.spi.1, (4501, 40_000))]);
    assert!(reports(&mut installer).is_empty());
    installer.moved(0, (one.there.ip(), one.spi.1), "203.0.113.9:1".parse().unwrap());
    assert!(reports(&mut installer).is_empty(), "an outward one receives nothing");
    installer.moved(0, inward, "203.0.113.9:40001".parse().unwrap());
    kernel.settle(0, &mut installer);
    assert_eq!((reports(&mut installer), kernel.has.len()), (vec![Report::Lost(1)], 0));
}

#[test]
fn full_and_taken_are_refused() {
    let (mut installer, mut kernel) = (Installer::new(1), Kernel::default());
    installer.install(pair(1));
    installer.install(pair(1));
    installer.install(pair(2));
    kernel.settle(0, &mut installer);
    assert_eq!(reports(&mut installer), [Report::Refused(1, 0), Report::Refused(2, 0), Report::Installed(1)]);
    let (mut installer, same) = (Installer::new(4), Pair { kid: 9, spi: (999, pair(1).spi.1), ..pair(1) });
    installer.install(pair(1));
    installer.install(same);
    assert_eq!(reports(&mut installer), [Report::Refused(9, 0)]);
}

#[derive(Debug, Clone)]
enum Event {
    Install(u64),
    End(u64),
    Serve(Mood),
    Wait(u64),
    Unsure,
    Vanish(usize),
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let mood = prop_oneof![6 => Just(Mood::Grant), 2 => Just(Mood::Refuse), 1 => Just(Mood::Mute)];
    let one = prop_oneof![
        4 => (0u64..8).prop_map(Event::Install),
        3 => (0u64..8).prop_map(Event::End),
        8 => mood.prop_map(Event::Serve),
        2 => (0u64..3_000).prop_map(Event::Wait),
        1 => Just(Event::Unsure),
        1 => (0usize..8).prop_map(Event::Vanish),
    ];
    proptest::collection::vec(one, 0..120)
}

proptest! {
    /// Whatever is refused, lost or removed by others: once all is quiet and looked through, the kernel has both
    /// associations of each session that was said to be installed and is not ended, and nothing else.
    #[test]
    fn in_the_end_the_kernel_has_what_is_installed_and_nothing_else(events in events()) {
        let (mut installer, mut kernel, mut now) = (Installer::new(6), Kernel::default(), 0);
        let (mut installed, mut ended) = (BTreeSet::new(), BTreeSet::new());
        let mut heard = |installer: &mut Installer, ended: &mut BTreeSet<u64>| {
            for report in reports(installer) {
                match report {
                    Report::Installed(kid) => { installed.insert(kid); ended.remove(&kid); }
                    Report::Lost(kid) => { prop_assert!(installed.remove(&kid)); }
                    Report::Refused(kid, _) => { prop_assert!(!installed.contains(&kid) || ended.contains(&kid) || kid < 8); }
                }
            }
            Ok(installed.clone())
        };
        for event in events {
            match event {
                Event::Install(nth) => installer.install(pair(nth)),
                Event::End(nth) => { installer.end(now, nth); ended.insert(nth); }
                Event::Serve(mood) => { kernel.serve(now, &mut installer, mood); }
                Event::Wait(ms) => { now += ms; installer.on_timer(now); }
                Event::Unsure => installer.unsure(),
                Event::Vanish(nth) => {
                    if let Some(id) = kernel.has.iter().nth(nth).copied() { kernel.has.remove(&id); }
                }
            }
            heard(&mut installer, &mut ended)?;
        }
        for _ in 0..4 {
            kernel.settle(now, &mut installer);
            now += ANSWER_MS + LINGER_MS;
            installer.on_timer(now);
            installer.unsure();
        }
        kernel.settle(now, &mut installer);
        let installed = heard(&mut installer, &mut ended)?;
        let alive: Vec<Pair> = installer.entries.values().map(|entry| entry.pair.clone()).collect();
        let wanted: BTreeSet<_> = alive.iter().flat_map(ids).collect();
        prop_assert_eq!(&kernel.has, &wanted);
        for pair in &alive {
            prop_assert!(installed.contains(&pair.kid), "{} is there and nobody was told", pair.kid);
        }
        prop_assert!(installer.asked.is_empty() && installer.waiting.is_empty());
    }
}
