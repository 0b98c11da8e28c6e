//! A terminal's whole life against the far end, on a made-up clock: no socket, no waiting.

use core::net::SocketAddr;
use portunus_codec::Writer;
use portunus_keydist::mech::{Mech, MechList};
use portunus_keydist::terminal::{Config as Registering, Reject};
use portunus_keydist::{Key, Now, Random as _, SystemRandom};
use portunus_terminal::farend::{Core, Did, FarEnd};
use portunus_terminal::offering;
use portunus_terminal::sip::{Event, Failure, MECHS, Path, Profile, SipTerminal, Step, Transport};
use std::sync::Arc;

const IDSP: &str = "sp1.example.test";
const REALM: &str = "example.test";

fn addr(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

fn key_of(identity: &str) -> Key {
    let mut octets = [7u8; 32];
    octets.iter_mut().zip(identity.bytes()).for_each(|(o, b)| *o = b);
    Key::new(octets)
}

/// What the network and the proxy do to a message on its way to the terminal or from it.
type Fate<'a> = dyn FnMut(&World, Way, &mut Vec<u8>) -> bool + 'a;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Up(Path),
    Down(Path),
}

struct World {
    now: Now,
    rng: SystemRandom,
    far: FarEnd,
    terminals: Vec<SipTerminal>,
    events: Vec<(usize, Event)>,
}

impl World {
    fn new(terminals: &[&str], profile: impl FnOnce(&mut Profile)) -> Self {
        let mut rng = SystemRandom::new();
        let core = Core::new(REALM, Box::new(|id| Some(key_of(id))));
        let far = FarEnd::new(core, IDSP, 5065, true).unwrap();
        let mut p = Profile::new(addr(5060), Transport::Udp, IDSP, REALM, MECHS).unwrap();
        p.ladder = true;
        profile(&mut p);
        let p = Arc::new(p);
        let terminals = (10_000u16..).zip(terminals).map(|(port, idc)| {
            SipTerminal::new(Arc::clone(&p), idc, &key_of(idc), addr(port), port.into(), &mut rng).unwrap()
        });
        let now = Now { mono_ms: 1_000, wall_ms: 1_800_000_000_000 };
        Self { now, terminals: terminals.collect(), rng, far, events: Vec::new() }
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
                        self.up(i, out.path, out.to, out.octets, fate);
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

    fn up(&mut self, i: usize, path: Path, to: SocketAddr, mut octets: Vec<u8>, fate: &mut Fate<'_>) {
        let from = addr(10_000 + i as u16);
        match path {
            Path::Secured { .. } => unreachable!("no session of tls"),
            Path::Signalling => {
                assert_eq!(to, addr(5060));
                let mut room = [0u8; 4096];
                let mut w = Writer::new(&mut room);
                if self.far.on_terminal(self.now, from, &octets, &mut w).is_some() {
                    let answer = w.written().to_vec();
                    self.down(i, path, addr(5060), answer, fate);
                }
            }
            Path::Sealed => {
                assert_eq!(to, addr(5065));
                let Some(inside) = self.far.open(from, &mut octets) else { return };
                // Requests for another terminal and their answers go straight there: the far end is no router.
                let text = String::from_utf8_lossy(&inside.text).into_owned();
                let line = text.lines().next().unwrap_or_default();
                let other = self.terminals.iter().position(|t| {
                    let user = t.idc().split('@').next().unwrap();
                    t.idc() != inside.idc && (line.starts_with("SIP/2.0") || line.contains(&format!("sip:{user}@")))
                });
                let (j, idc, text) = match other.filter(|_| !line.contains("REGISTER")) {
                    Some(j) => (j, self.terminals[j].idc().to_owned(), inside.text),
                    None if inside.text.is_empty() => (i, inside.idc, Vec::new()),
                    None => match self.far.answer_inside(&inside.text) {
                        Some(answer) => (i, inside.idc, answer),
                        None => return,
                    },
                };
                let (_, sealed) = self.far.seal(&idc, &text).unwrap();
                self.down(j, path, addr(5065), sealed, fate);
            }
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
    let mut w = World::new(&["alice@example.test"], |_| {});
    w.start();
    w.settle(&mut fine);
    assert!(w.terminals[0].is_active());
    assert_eq!(w.steps(), [Step::S1, Step::S6, Step::S7, Step::S10, Step::Confirm, Step::Confirmed]);
    let tally = w.terminals[0].tally();
    assert_eq!((tally.sent, tally.repeated, tally.ignored, tally.failures), (3, 0, 0, 0));
    let kid = w.terminals[0].kid().unwrap();
    assert!(w.events.iter().any(|(_, e)| *e == Event::Keyed { kid }));
}

#[test]
fn thirty_per_cent_loss_each_way_only_delays() {
    let names: Vec<String> = (0..60).map(|i| format!("u{i:02}@example.test")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut w = World::new(&names, |_| {});
    w.start();
    let mut rng = SystemRandom::new();
    w.pass(120_000, &mut move |_, _, _| rng.next_u64() % 100 >= 30);
    let missing: Vec<_> = w.terminals.iter().filter(|t| t.tally().activations == 0).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn a_wrong_key_is_refused_and_the_terminal_backs_off() {
    let mut w = World::new(&["alice@example.test"], |p| p.attempts_max = 3);
    let core = Core::new(REALM, Box::new(|id| Some(if id == IDSP { key_of(id) } else { Key::new([9; 32]) })));
    w.far = FarEnd::new(core, IDSP, 5065, true).unwrap();
    w.start();
    w.pass(600_000, &mut fine);
    assert_eq!(w.failures(), [Failure::Denied; 3]);
    assert!(matches!(w.events.last(), Some((0, Event::Failed { retry_in_ms: None, .. }))));
    assert_eq!(w.terminals[0].next_deadline(), None, "it has stopped");
    assert!(!w.terminals[0].is_active());
}

#[test]
fn an_altered_s10_is_never_accepted() {
    let mut length = 0;
    let mut position = 0;
    while position == 0 || position < length {
        let mut w = World::new(&["alice@example.test"], |_| {});
        w.start();
        w.settle(&mut |_, way, octets| {
            if way == Way::Down(Path::Signalling) && octets.starts_with(b"SIP/2.0 200") {
                length = octets.len();
                octets[position] ^= 1;
            }
            true
        });
        assert!(!w.terminals[0].is_active(), "octet {position} of {length} was altered and the key accepted");
        assert!(!w.events.iter().any(|(_, e)| matches!(e, Event::Keyed { .. })));
        position += 1;
    }
    assert!(length > 600);
}

#[test]
fn an_edited_list_is_noticed() {
    let mut w = World::new(&["alice@example.test"], |_| {});
    w.start();
    w.settle(&mut |_, way, octets| {
        if way == Way::Up(Path::Signalling) {
            let text = String::from_utf8(octets.clone()).unwrap().replace("q=1.0", "q=0.1");
            *octets = text.into_bytes();
        }
        true
    });
    assert!(!w.terminals[0].is_active());
    assert!(matches!(w.failures()[..], [Failure::Rejected(_)]), "{:?}", w.failures());
}

/// s7's Contact and Expires travel unprotected: whatever was made of them on the way shows in s10.
#[test]
fn an_edited_contact_is_noticed() {
    type Edit = fn(&str) -> String;
    let edits: [(&str, Edit); 6] = [
        ("another beside it", |c| format!("{c}\r\nContact: <sip:mallory@198.51.100.66>;q=1.0")),
        ("another before it", |c| format!("Contact: <sip:mallory@198.51.100.66>;expires=60\r\n{c}")),
        ("another instead", |_| "Contact: <sip:mallory@198.51.100.66>".into()),
        ("a priority", |c| format!("{c};q=0.1")),
        ("an address", |c| c.replace("127.0.0.1", "127.0.0.2")),
        ("a time", |c| c.replace("expires=", "expires=1")),
    ];
    for (what, edit) in edits {
        let mut w = World::new(&["alice@example.test"], |_| {});
        w.start();
        let mut edited = false;
        w.settle(&mut |_, way, octets| {
            let text = String::from_utf8_lossy(octets).into_owned();
            if way == Way::Up(Path::Signalling) && text.contains("Security-Client:") {
                let own = text.lines().find(|l| l.starts_with("Contact:")).unwrap();
                *octets = text.replacen(own, &edit(own), 1).into_bytes();
                edited = true;
            }
            true
        });
        assert!(edited && !w.terminals[0].is_active(), "{what}");
        assert!(matches!(w.failures()[..], [Failure::Rejected(_)]), "{what}: {:?}", w.failures());
        assert!(!w.events.iter().any(|(_, e)| matches!(e, Event::Keyed { .. })), "{what}");
    }
}

#[test]
fn without_a_protected_answer_the_key_is_given_up() {
    let mut w = World::new(&["alice@example.test"], |p| p.attempts_max = 1);
    w.start();
    let mut sealed = 0;
    let start = w.now.mono_ms;
    let mut times = Vec::new();
    w.pass(60_000, &mut |w, way, _| {
        if way == Way::Up(Path::Sealed) {
            times.push(w.now.mono_ms - start);
        }
        sealed += 1;
        way != Way::Down(Path::Sealed)
    });
    assert_eq!(times[..5], [0, 500, 1_500, 3_500, 7_500]);
    assert_eq!(w.failures(), [Failure::Unconfirmed]);
}

#[test]
fn silence_is_repeated_as_rfc_3261_says() {
    let mut w = World::new(&["alice@example.test"], |p| p.attempts_max = 1);
    w.start();
    let (mut times, mut first, start) = (Vec::new(), Vec::new(), w.now.mono_ms);
    w.pass(60_000, &mut |w, _, octets| {
        times.push(w.now.mono_ms - start);
        first.push(octets.clone());
        false
    });
    assert_eq!(times, [0, 500, 1_500, 3_500, 7_500, 11_500, 15_500, 19_500, 23_500, 27_500, 31_500]);
    assert!(first.iter().all(|o| *o == first[0]), "a retransmission is the same octets");
    assert_eq!(w.failures(), [Failure::Silent { step: 1 }]);
}

#[test]
fn nobody_else_can_answer() {
    let mut w = World::new(&["alice@example.test"], |_| {});
    w.start();
    let s1 = w.terminals[0].poll_transmit().unwrap();
    let mut room = [0u8; 4096];
    let mut writer = Writer::new(&mut room);
    assert_eq!(w.far.on_terminal(w.now, addr(10_000), &s1.octets, &mut writer), Some(Did::Challenged));
    let s6 = writer.written().to_vec();
    // From another address; with another branch; for another Call-ID.
    w.terminals[0].on_datagram(w.now, &mut w.rng, addr(6_666), &mut s6.clone());
    for (from, to) in [("branch=z9hG4bK", "branch=z9hG4bK0"), ("Call-ID: ", "Call-ID: 0")] {
        let mut altered = String::from_utf8(s6.clone()).unwrap().replace(from, to).into_bytes();
        w.terminals[0].on_datagram(w.now, &mut w.rng, addr(5060), &mut altered);
    }
    assert_eq!(w.terminals[0].tally().ignored, 3);
    assert_eq!(w.terminals[0].poll_transmit(), None);
    w.terminals[0].on_datagram(w.now, &mut w.rng, addr(5060), &mut s6.clone());
    assert!(w.terminals[0].poll_transmit().is_some(), "the real one still counts");
}

#[test]
fn refreshes_inside_the_channel_and_ends_there() {
    let mut w = World::new(&["alice@example.test"], |p| p.expires_s = 100);
    w.start();
    w.pass(500_000, &mut fine);
    let refreshed = w.events.iter().filter(|(_, e)| matches!(e, Event::Refreshed { expires_s: 100 })).count();
    assert!((5..=6).contains(&refreshed), "{refreshed} refreshes in 500 s of a registration of 100 s");
    assert_eq!(w.terminals[0].tally().activations, 1, "no new challenge was needed");
    assert!(w.terminals[0].deregister(w.now, &mut w.rng));
    w.settle(&mut fine);
    assert!(w.events.iter().any(|(_, e)| *e == Event::Deregistered));
    assert!(!w.terminals[0].is_active());
    assert_eq!(w.terminals[0].next_deadline(), None);
}

/// Keep-alives sent within five minutes in which nobody has anything to say, and what else was.
fn said_in_silence(mech: Mech, profile: impl FnOnce(&mut Profile)) -> (usize, usize) {
    let mut world = World::new(&["alice@example.test"], |p| {
        let mechs = MechList::from_sip(&offering(mech)).unwrap();
        p.registering = Arc::new(Registering::new(mechs, p.registering.repeat));
        profile(p);
    });
    world.start();
    world.settle(&mut fine);
    assert!(world.terminals[0].is_active());
    let (mut alive, mut other) = (0, 0);
    world.pass(300_000, &mut |_, way, octets| {
        if way == Way::Up(Path::Sealed) {
            *(if octets == &[0xff] { &mut alive } else { &mut other }) += 1;
        }
        true
    });
    assert!(world.terminals[0].is_active(), "and nothing comes back for a keep-alive");
    (alive, other)
}

#[test]
fn esp_is_kept_alive_in_nats_when_nothing_else_is_sent() {
    assert_eq!(said_in_silence(Mech::Esp, |p| p.probe_ms = 0), (15, 0), "RFC 3948: every 20 s");
    assert_eq!(said_in_silence(Mech::Esp, |p| p.probe_ms = 15_000), (0, 20), "signs of life do it as well");
    assert_eq!(said_in_silence(Mech::Esp, |p| (p.probe_ms, p.keep_alive_ms) = (0, 0)), (0, 0));
    assert_eq!(said_in_silence(Mech::Sealed, |p| p.probe_ms = 0), (0, 0), "what has no such thing");
}

#[test]
fn a_core_that_is_away_costs_nobody_a_session() {
    let mut w = World::new(&["alice@example.test"], |p| p.expires_s = 100);
    w.start();
    w.pass(1_000, &mut fine);
    let kid = w.terminals[0].kid();
    // The proxy answers for itself, that is, what has no content; nothing gets beyond it.
    let mut cut_off = |_: &World, way: Way, octets: &mut Vec<u8>| way == Way::Down(Path::Sealed) || octets.len() == 36;
    let id = w.terminals[0].send_request(w.now, &mut w.rng, "MESSAGE", "bob@example.test", b"hello").unwrap();
    w.pass(600_000, &mut cut_off);
    assert!(w.events.iter().any(|(_, e)| *e == Event::Response { id, status: 408 }));
    assert_eq!(w.terminals[0].kid(), kid, "neither a silent peer nor a silent core ends a session");
    assert!(!w.failures().contains(&Failure::Lost));
    w.pass(300_000, &mut fine);
    assert!(w.terminals[0].is_active());
    assert!(w.events.iter().any(|(_, e)| matches!(e, Event::Refreshed { .. }) || matches!(e, Event::Active(_))));
}

#[test]
fn a_restarted_proxy_is_noticed_and_registered_with_again() {
    let mut w = World::new(&["alice@example.test"], |_| {});
    w.start();
    w.pass(1_000, &mut fine);
    let old = w.terminals[0].kid();
    w.far.forget();
    w.pass(180_000, &mut fine);
    assert!(w.terminals[0].is_active());
    assert_ne!(w.terminals[0].kid(), old);
    assert_eq!(w.failures(), [Failure::Lost]);
}

#[test]
fn a_new_key_before_the_old_one_dies_and_no_gap_between() {
    let mut w = World::new(&["alice@example.test"], |_| {});
    w.start();
    let mut gap = false;
    let mut seen = false;
    w.pass(3 * 86_400_000, &mut |w, _, _| {
        seen |= w.terminals[0].is_active();
        gap |= seen && !w.terminals[0].is_active();
        true
    });
    assert!(!gap);
    let activations = w.terminals[0].tally().activations;
    assert!((3..=5).contains(&activations), "{activations} keys in three days of 24 h keys");
    let forgotten = w.events.iter().filter(|(_, e)| matches!(e, Event::Forget { .. })).count();
    assert_eq!(forgotten as u32, activations - 1);
}

#[test]
fn what_registered_can_be_reached() {
    let mut w = World::new(&["alice@example.test", "bob@example.test"], |_| {});
    w.start();
    w.settle(&mut fine);
    let id = w.terminals[0].send_request(w.now, &mut w.rng, "MESSAGE", "bob@example.test", b"hello").unwrap();
    w.settle(&mut fine);
    let heard = w.events.iter().any(|(i, e)| {
        *i == 1
            && matches!(e, Event::Request { method, from, body, status: 200 }
            if method == "MESSAGE" && from == "sip:alice@example.test" && body == b"hello")
    });
    assert!(heard, "{:?}", w.events);
    assert!(w.events.contains(&(0, Event::Response { id, status: 200 })));

    let invite = w.terminals[0].send_request(w.now, &mut w.rng, "INVITE", "bob@example.test", b"").unwrap();
    w.settle(&mut fine);
    assert!(w.events.contains(&(0, Event::Response { id: invite, status: 200 })));
    let acked = |w: &World| {
        w.events.iter().any(|(i, e)| *i == 1 && matches!(e, Event::Request { method, .. } if method == "ACK"))
    };
    assert!(acked(&w));
    // The callee hangs up: its dialog is the mirror of the caller's.
    let bye = w.terminals[1].hang_up(w.now, &mut w.rng).unwrap();
    w.settle(&mut fine);
    assert!(w.events.contains(&(1, Event::Response { id: bye, status: 200 })), "{:?}", w.events);
    assert_eq!(w.terminals[0].hang_up(w.now, &mut w.rng), None, "the dialog is over");
}

#[test]
fn garbage_changes_nothing() {
    let mut w = World::new(&["alice@example.test"], |_| {});
    w.start();
    w.settle(&mut fine);
    let mut rng = SystemRandom::new();
    for len in 0..300 {
        let mut octets = vec![0u8; len];
        rng.fill(&mut octets);
        w.terminals[0].on_datagram(w.now, &mut w.rng, addr(5060), &mut octets);
        // A sealed header of the right session over garbage.
        let kid = w.terminals[0].kid().unwrap();
        let mut sealed = [&[0x50, 1, 1, 0][..], &kid.to_be_bytes(), &7u64.to_be_bytes(), &octets].concat();
        w.terminals[0].on_datagram(w.now, &mut w.rng, addr(5065), &mut sealed);
    }
    assert!(w.terminals[0].is_active());
    assert_eq!(w.terminals[0].tally().ignored, 600);
    assert_eq!(w.terminals[0].poll_transmit(), None);
}

#[test]
fn a_challenge_that_is_held_up_too_long_is_not_answered() {
    let mut w = World::new(&["alice@example.test"], |_| {});
    w.start();
    // The s6 of the first s1, ten seconds later than it was made; the network loses everything else meanwhile.
    let mut held = Vec::new();
    w.settle(&mut |_, way, octets| {
        let down = matches!(way, Way::Down(_));
        if down {
            held.push(octets.clone());
        }
        !down
    });
    assert_eq!(held.len(), 1);
    w.pass(12_000, &mut |_, _, _| false);
    let (now, mut rng) = (w.now, SystemRandom::new());
    w.terminals[0].on_datagram(now, &mut rng, addr(5060), &mut held.remove(0));
    w.settle(&mut fine);
    assert!(!w.steps().contains(&Step::S7), "{:?}", w.steps());
    w.pass(10, &mut fine);
    assert!(w.terminals[0].is_active(), "{:?}", w.events);
    assert_eq!(w.failures(), [Failure::Rejected(Reject::Late)]);
}

#[test]
fn only_a_2xx_de_registers() {
    let mut w = World::new(&["alice@example.test"], |_| {});
    w.start();
    w.settle(&mut fine);
    for (status, active) in [("500 Registration Out Of Order", true), ("200 OK", false)] {
        assert!(w.terminals[0].deregister(w.now, &mut w.rng));
        let mut sent = w.terminals[0].poll_transmit().unwrap().octets;
        let asked = w.far.open(addr(10_000), &mut sent).unwrap();
        let answer = String::from_utf8(w.far.answer_inside(&asked.text).unwrap()).unwrap();
        let answer = answer.replace("200 OK", status);
        let (_, mut answer) = w.far.seal(&asked.idc, answer.as_bytes()).unwrap();
        w.terminals[0].on_datagram(w.now, &mut w.rng, addr(5065), &mut answer);
        assert_eq!(w.terminals[0].is_active(), active, "{status}");
    }
    w.settle(&mut fine);
    assert!(w.events.iter().any(|(_, e)| matches!(e, Event::Response { status: 500, .. })), "{:?}", w.events);
    assert_eq!(w.events.iter().filter(|(_, e)| *e == Event::Deregistered).count(), 1);
}
