//! Terminals of the protocols beside SIP against the far end, on a made-up clock: what is true of every one of them.

use core::net::SocketAddr;
use portunus_codec::Writer;
use portunus_keydist::mech::{Mech, MechList};
use portunus_keydist::terminal::Config;
use portunus_keydist::{Key, Now, Random as _, SystemRandom};
use portunus_signalling::{Protocol, Transport};
use portunus_terminal::agent::{Tag, tag_of};
use portunus_terminal::farend::{Core, Did, FarEnd};
use portunus_terminal::{AnyTerminal, Event, Failure, MECHS, Path, Profile, Step, offering};
use std::sync::Arc;

const IDSP: &str = "sp1.example.test";
const REALM: &str = "example.test";
const SPOKEN: [Protocol; 3] = [Protocol::Mgcp, Protocol::H248, Protocol::Ras];

fn addr(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

fn key_of(identity: &str) -> Key {
    let mut octets = [7u8; 32];
    octets.iter_mut().zip(identity.bytes()).for_each(|(o, b)| *o = b);
    Key::new(octets)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Up(Path),
    Down(Path),
}

type Fate<'a> = dyn FnMut(&World, Way, &mut Vec<u8>) -> bool + 'a;

struct World {
    now: Now,
    rng: SystemRandom,
    far: FarEnd,
    terminals: Vec<AnyTerminal>,
    events: Vec<(usize, Event)>,
    granted: usize,
}

fn core(protocol: Protocol) -> Core {
    Core::new(REALM, Box::new(|id| Some(key_of(id)))).speaking(protocol)
}

impl World {
    fn new(protocol: Protocol, terminals: u16, profile: impl FnOnce(&mut Profile)) -> Self {
        let mut rng = SystemRandom::new();
        let far = FarEnd::new(core(protocol), IDSP, 5065, true).unwrap();
        let mut p = Profile::new(addr(2000), Transport::Udp, IDSP, REALM, MECHS).unwrap().speaking(protocol);
        p.ladder = true;
        profile(&mut p);
        let p = Arc::new(p);
        let terminals = (0..terminals).map(|n| {
            let idc = format!("gw{n}.example.test");
            AnyTerminal::any(Arc::clone(&p), &idc, &key_of(&idc), addr(10_000 + n), n.into(), &mut rng).unwrap()
        });
        let now = Now { mono_ms: 1_000, wall_ms: 1_800_000_000_000 };
        Self { now, terminals: terminals.collect(), rng, far, events: Vec::new(), granted: 0 }
    }

    fn start(&mut self) {
        for t in &mut self.terminals {
            t.start(self.now, &mut self.rng);
        }
    }

    /// Carries messages, instantly, until nobody has anything to say.
    fn settle(&mut self, fate: &mut Fate<'_>) {
        loop {
            let mut quiet = true;
            for i in 0..self.terminals.len() {
                while let Some(mut out) = self.terminals[i].poll_transmit() {
                    quiet = false;
                    if fate(self, Way::Up(out.path), &mut out.octets) {
                        self.up(i, out.path, out.octets, fate);
                    }
                }
                while let Some(event) = self.terminals[i].poll_event() {
                    self.events.push((i, event));
                }
            }
            if quiet {
                return;
            }
        }
    }

    fn up(&mut self, i: usize, path: Path, mut octets: Vec<u8>, fate: &mut Fate<'_>) {
        let from = addr(10_000 + i as u16);
        let mut room = [0u8; 4096];
        if path == Path::Signalling {
            let mut w = Writer::new(&mut room);
            if self.far.receipt(from, &octets, &mut w) {
                let receipt = w.written().to_vec();
                self.down(i, path, addr(2000), receipt, fate);
            }
            let mut w = Writer::new(&mut room);
            if let Some(did) = self.far.on_terminal(self.now, from, &octets, &mut w) {
                self.granted += usize::from(did == Did::Granted);
                let answer = w.written().to_vec();
                self.down(i, path, addr(2000), answer, fate);
            }
            return;
        }
        let Some(inside) = self.far.open(from, &mut octets) else { return };
        let answer = if inside.text.is_empty() { Some(Vec::new()) } else { self.far.answer_inside(&inside.text) };
        if let Some((_, sealed)) = answer.and_then(|text| self.far.seal(&inside.idc, &text)) {
            self.down(i, path, addr(5065), sealed, fate);
        }
    }

    fn down(&mut self, i: usize, path: Path, from: SocketAddr, mut octets: Vec<u8>, fate: &mut Fate<'_>) {
        if fate(self, Way::Down(path), &mut octets) {
            self.terminals[i].on_datagram(self.now, &mut self.rng, from, &mut octets);
        }
    }

    /// Moves the clock from deadline to deadline until `ms` have passed.
    fn pass(&mut self, ms: u64, fate: &mut Fate<'_>) {
        let end = self.now.mono_ms + ms;
        loop {
            self.settle(fate);
            let next = self.terminals.iter().filter_map(|t| t.next_deadline()).map(|d| d.0).min();
            let at = next.unwrap_or(u64::MAX).clamp(self.now.mono_ms + 1, end.max(self.now.mono_ms + 1));
            if at > end || self.now.mono_ms >= end {
                return;
            }
            self.now = Now { mono_ms: at, wall_ms: self.now.wall_ms + at - self.now.mono_ms };
            for t in &mut self.terminals {
                t.on_timer(self.now, &mut self.rng);
            }
        }
    }

    fn steps(&self) -> Vec<Step> {
        let step = |e: &(usize, Event)| match e.1 {
            Event::Step { step, .. } => Some(step),
            _ => None,
        };
        self.events.iter().filter_map(step).collect()
    }

    fn failures(&self) -> Vec<Failure> {
        let why = |e: &(usize, Event)| match e.1 {
            Event::Failed { why, .. } => Some(why),
            _ => None,
        };
        self.events.iter().filter_map(why).collect()
    }
}

fn fine(_: &World, _: Way, _: &mut Vec<u8>) -> bool {
    true
}

#[test]
fn two_round_trips_and_a_confirmation() {
    for protocol in SPOKEN {
        let mut w = World::new(protocol, 1, |_| {});
        w.start();
        w.settle(&mut fine);
        assert!(w.terminals[0].is_active(), "{protocol:?}: {:?}", w.events);
        let steps = [Step::S1, Step::S6, Step::S7, Step::S10, Step::Confirm, Step::Confirmed];
        assert_eq!(w.steps(), steps, "{protocol:?}");
        let tally = w.terminals[0].tally();
        assert_eq!((tally.repeated, tally.failures), (0, 0), "{protocol:?}");
    }
}

#[test]
fn thirty_per_cent_loss_each_way_only_delays() {
    for protocol in SPOKEN {
        let mut w = World::new(protocol, 40, |_| {});
        w.start();
        let mut rng = SystemRandom::new();
        w.pass(180_000, &mut move |_, _, _| rng.next_u64() % 100 >= 30);
        let missing: Vec<_> = w.terminals.iter().filter(|t| t.tally().activations == 0).collect();
        assert!(missing.is_empty(), "{protocol:?}: {missing:?}");
    }
}

#[test]
fn a_wrong_key_is_refused_and_the_terminal_backs_off() {
    for protocol in SPOKEN {
        let mut w = World::new(protocol, 1, |p| p.attempts_max = 3);
        let wrong = Box::new(|id: &str| Some(if id == IDSP { key_of(id) } else { Key::new([9; 32]) }));
        w.far = FarEnd::new(Core::new(REALM, wrong).speaking(protocol), IDSP, 5065, true).unwrap();
        w.start();
        w.pass(600_000, &mut fine);
        assert_eq!(w.failures(), [Failure::Denied; 3], "{protocol:?}");
        assert!(matches!(w.events.last(), Some((0, Event::Failed { retry_in_ms: None, .. }))));
        assert_eq!(w.terminals[0].next_deadline(), None, "it has stopped");
    }
}

/// Every bit of s10 that differs from what was signed: no key is accepted.
#[test]
fn an_altered_s10_is_never_accepted() {
    for protocol in SPOKEN {
        let (mut length, mut position, mut accepted) = (1, 0, Vec::new());
        while position < length {
            let mut w = World::new(protocol, 1, |_| {});
            w.start();
            let mut altered = false;
            w.settle(&mut |w, way, octets| {
                // The last message that the far end sends unprotected is s10, and its receipt stands before it.
                if way == Way::Down(Path::Signalling) && w.granted == 1 {
                    altered = true;
                    length = octets.len();
                    // Transaction numbers are not all equally long.
                    octets[position.min(length - 1)] ^= 1;
                }
                true
            });
            assert!(altered, "{protocol:?}");
            if w.terminals[0].is_active() || w.events.iter().any(|(_, e)| matches!(e, Event::Keyed { .. })) {
                accepted.push(position);
            }
            position += 1;
        }
        assert_eq!(accepted, [], "{protocol:?}: altered octets of {length} and the key was accepted");
        assert!(length > 250, "{protocol:?}: {length}");
    }
}

#[test]
fn an_edited_list_is_noticed() {
    for protocol in SPOKEN {
        let mut w = World::new(protocol, 1, |_| {});
        w.start();
        let mut edited = false;
        w.settle(&mut |_, way, octets| {
            let found = octets.windows(5).position(|o| o == b"q=1.0");
            if let Some(at) = found.filter(|_| way == Way::Up(Path::Signalling)) {
                octets[at..at + 5].copy_from_slice(b"q=0.1");
                edited = true;
            }
            true
        });
        assert!(edited && !w.terminals[0].is_active(), "{protocol:?}");
        assert!(matches!(w.failures()[..], [Failure::Rejected(_)]), "{protocol:?}: {:?}", w.failures());
    }
}

#[test]
fn silence_is_repeated_and_given_up() {
    for protocol in SPOKEN {
        let mut w = World::new(protocol, 1, |p| p.attempts_max = 1);
        w.start();
        let mut sent = Vec::new();
        w.pass(60_000, &mut |_, _, octets| {
            sent.push(octets.clone());
            false
        });
        assert!((3..=12).contains(&sent.len()), "{protocol:?}: {}", sent.len());
        assert!(sent.iter().all(|o| *o == sent[0]), "{protocol:?}: a retransmission is the same octets");
        assert_eq!(w.failures(), [Failure::Silent { step: 1 }], "{protocol:?}");
    }
}

#[test]
fn nobody_else_can_answer_and_a_copy_changes_nothing() {
    for protocol in SPOKEN {
        let mut w = World::new(protocol, 2, |_| {});
        w.start();
        let mut room = [0u8; 4096];
        let s1 = w.terminals[0].poll_transmit().unwrap();
        let mut writer = Writer::new(&mut room);
        assert_eq!(w.far.on_terminal(w.now, addr(10_000), &s1.octets, &mut writer), Some(Did::Challenged));
        let s6 = writer.written().to_vec();
        w.terminals[0].on_datagram(w.now, &mut w.rng, addr(6_666), &mut s6.clone());
        assert_eq!(w.terminals[0].poll_transmit(), None, "{protocol:?}: from elsewhere");
        w.terminals[0].on_datagram(w.now, &mut w.rng, addr(2000), &mut s6.clone());
        let sent = core::iter::from_fn(|| w.terminals[0].poll_transmit()).count();
        assert!(sent >= 1, "{protocol:?}: the real one still counts");
        let s7s = w.steps().len();
        // The same again, and somebody else's: receipts at most.
        w.terminals[0].on_datagram(w.now, &mut w.rng, addr(2000), &mut s6.clone());
        w.terminals[1].on_datagram(w.now, &mut w.rng, addr(2000), &mut s6.clone());
        w.settle(&mut |_, _, _| false);
        assert!(w.steps().iter().filter(|s| **s == Step::S7).count() <= 1, "{protocol:?}: {s7s}");
    }
}

#[test]
fn answers_say_whose_they_are() {
    for protocol in SPOKEN {
        let mut w = World::new(protocol, 3, |_| {});
        w.start();
        let mut room = [0u8; 4096];
        for i in 0..3 {
            let s1 = w.terminals[i].poll_transmit().unwrap();
            let (n1, transaction) = w.terminals[i].awaited().unwrap();
            let mut writer = Writer::new(&mut room);
            w.far.on_terminal(w.now, addr(10_000), &s1.octets, &mut writer).unwrap();
            assert_eq!(tag_of(protocol, writer.written()), Some(Tag::N1(n1)), "{protocol:?}");
            let mut writer = Writer::new(&mut room);
            if w.far.receipt(addr(10_000), &s1.octets, &mut writer) {
                assert_eq!(tag_of(protocol, writer.written()), transaction.map(Tag::Transaction), "{protocol:?}");
            }
        }
        for junk in [&b""[..], b"\0", b"200", b"!/1 [x]", b"\x0e\x00", &[0xff; 40]] {
            assert_eq!(tag_of(protocol, junk), None, "{protocol:?}: {junk:?}");
        }
    }
}

#[test]
fn what_is_asked_inside_is_answered_and_the_registration_ends_there() {
    for protocol in SPOKEN {
        let mut w = World::new(protocol, 1, |_| {});
        w.start();
        w.settle(&mut fine);
        let (now, rng) = (w.now, &mut SystemRandom::new());
        let id = w.terminals[0].probe(now, rng).expect("a request");
        w.settle(&mut fine);
        let answered = |w: &World, id| w.events.iter().any(|(_, e)| *e == Event::Response { id, status: 200 });
        assert!(answered(&w, id), "{protocol:?}: {:?}", w.events);
        // A lost request is repeated; a proxy that is silent is noticed.
        let id = w.terminals[0].probe(now, rng).expect("a request");
        let mut lost = 0;
        w.pass(20_000, &mut |_, way, _| {
            lost += usize::from(way == Way::Up(Path::Sealed));
            lost > 2
        });
        assert!(answered(&w, id), "{protocol:?}: {:?}", w.events);
    }
}

/// Offers ESP alone.
fn esp(p: &mut Profile) {
    let mechs = MechList::from_sip(&offering(Mech::Esp)).unwrap();
    p.registering = Arc::new(Config { mechs, ..(*p.registering).clone() });
}

#[test]
fn under_esp_every_registration_receives_at_an_spi_of_its_own() {
    for protocol in SPOKEN {
        let mut w = World::new(protocol, 2, esp);
        w.start();
        w.settle(&mut fine);
        let spis = [0, 1].map(|i| w.terminals[i].kid().expect("active"));
        assert!(spis[0] != spis[1] && spis.iter().all(|spi| (0xc000_0000..1 << 32).contains(spi)), "{spis:x?}");
        // A renewal whose confirmation is lost: the session before it serves on.
        let (now, rng) = (w.now, &mut SystemRandom::new());
        w.terminals[0].start(now, rng);
        w.settle(&mut |_, way, _| way != Way::Up(Path::Sealed));
        let id = w.terminals[0].probe(now, rng).expect("a request");
        w.settle(&mut fine);
        let answered = |w: &World, id| w.events.iter().any(|(_, e)| *e == Event::Response { id, status: 200 });
        assert!(answered(&w, id) && w.terminals[0].kid() == Some(spis[0]), "{protocol:?}: {:?}", w.events);
        // It is repeated, and then the newer one serves under its own SPI.
        w.pass(1_000, &mut fine);
        assert_eq!(w.terminals[0].kid(), Some(spis[0] + 1), "{protocol:?}");
        let id = w.terminals[0].probe(w.now, rng).expect("a request");
        w.settle(&mut fine);
        assert!(answered(&w, id), "{protocol:?}: {:?}", w.events);
        assert_eq!(w.failures(), [], "{protocol:?}");
    }
}

#[test]
fn garbage_changes_nothing() {
    for protocol in SPOKEN {
        let mut w = World::new(protocol, 1, |_| {});
        w.start();
        let rng = &mut SystemRandom::new();
        for n in 0..2_000usize {
            let mut junk = vec![0u8; n % 300];
            rng.fill(&mut junk);
            w.terminals[0].on_datagram(w.now, rng, addr(2000), &mut junk);
        }
        w.settle(&mut fine);
        assert!(w.terminals[0].is_active(), "{protocol:?}");
        for n in 0..2_000usize {
            let mut junk = vec![0u8; n % 300];
            rng.fill(&mut junk);
            w.terminals[0].on_datagram(w.now, rng, addr(5065), &mut junk);
        }
        assert!(w.terminals[0].is_active(), "{protocol:?}");
    }
}
