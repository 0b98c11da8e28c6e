//! An attacker's script against one honest terminal, from arbitrary octets: for property tests and fuzzing alike.

use super::*;

/// What the attacker does next.
#[derive(Debug, Clone)]
pub enum Deed {
    /// Lets the honest terminal take its next step, and the core answer.
    Step,
    /// Sends a seen message again: from this source (0: the terminal's own), with a bit flipped, or cut in half.
    Again { which: usize, from: u8, flip: Option<usize>, cut: bool },
    /// Sends an answer of the core's again, twice in a batch, with a bit flipped.
    Core { which: usize, flip: Option<usize> },
    /// Sends octets of its own to a listener, and as if from the core.
    Noise { octets: Vec<u8>, listener: u8 },
    /// Lets milliseconds pass.
    Pass(u64),
}

/// Reads deeds from octets; any octets are some script.
pub fn deeds(octets: &[u8]) -> Vec<Deed> {
    let mut rest = octets.iter().copied();
    let mut deeds = Vec::new();
    while let Some(code) = rest.next() {
        if deeds.len() >= 200 {
            break;
        }
        let mut byte = || usize::from(rest.next().unwrap_or_default());
        deeds.push(match code % 8 {
            0..=2 => Deed::Step,
            3 | 4 => {
                let (which, how, at) = (byte(), byte(), byte() << 8 | byte());
                let (flip, cut) = ((how & 4 != 0).then_some(at), how & 8 != 0);
                Deed::Again { which, from: how as u8 & 3, flip, cut }
            }
            5 => {
                let (which, at) = (byte(), byte() << 8 | byte());
                Deed::Core { which, flip: (at != 0).then_some(at) }
            }
            6 => {
                let (len, listener) = (byte() * 4, byte() as u8 % 6);
                Deed::Noise { octets: rest.by_ref().take(len).collect(), listener }
            }
            _ => Deed::Pass((byte() << 8 | byte()) as u64 % 40_000),
        });
    }
    deeds
}

fn altered(octets: &[u8], flip: Option<usize>, cut: bool) -> Vec<u8> {
    let mut octets = octets.to_vec();
    if let Some(flip) = flip.filter(|_| !octets.is_empty()) {
        let bit = flip % (octets.len() * 8);
        octets[bit / 8] ^= 1 << (bit % 8);
    }
    if cut {
        octets.truncate(octets.len() / 2);
    }
    octets
}

struct Scene {
    world: World,
    phone: Phone,
    last: Option<Vec<u8>>,
    seen: Vec<(Meta, Vec<u8>)>,
    from_core: Vec<Vec<u8>>,
    /// s7 that the honest terminal sent.
    answered: u64,
}

/// Plays a script and asserts, after every deed, what must hold whatever happens. Returns what was counted.
pub fn play(deeds: &[Deed]) -> Counters {
    let small = Capacity { pendings: 16, sessions: 8, ..capacity() };
    let mut world = World::with(Policy::default(), small);
    let phone = world.phone("alice@example.test", "192.0.2.7:5060");
    let (last, seen, from_core) = (None, Vec::new(), Vec::new());
    let mut scene = Scene { world, phone, last, seen, from_core, answered: 0 };
    for deed in deeds {
        scene.act(deed);
        scene.check();
    }
    scene.world.count()
}

impl Scene {
    fn act(&mut self, deed: &Deed) {
        match deed {
            Deed::Step => self.step(),
            Deed::Again { which, from, flip, cut } if !self.seen.is_empty() => {
                let (mut meta, octets) = self.seen[which % self.seen.len()].clone();
                if *from > 0 {
                    meta.source = format!("198.51.100.{from}:{}", 4000 + u16::from(*from)).parse().unwrap();
                }
                let sent = altered(&octets, *flip, *cut);
                let (mut back, source) = (0, meta.source);
                for (to, message) in self.world.access(meta, &sent) {
                    let To::Access { addr, .. } = to else { continue };
                    let own = addr == self.phone.addr;
                    assert!(own || !String::from_utf8_lossy(&message).contains("ekc="), "a key for a stranger");
                    // What time brings to others meanwhile is not an answer to this.
                    back += if addr == source { message.len() } else { 0 };
                }
                assert!(*from == 0 || back <= 3 * sent.len(), "{back} octets for {}", sent.len());
            }
            Deed::Core { which, flip } if !self.from_core.is_empty() => {
                let octets = altered(&self.from_core[which % self.from_core.len()], *flip, false);
                self.world.core_says_all(&[&octets, &octets]);
            }
            Deed::Noise { octets, listener } => {
                self.world
                    .access(Meta { source: "198.51.100.1:9".parse().unwrap(), listener: *listener, conn: 0 }, octets);
                self.world.core_says(octets);
            }
            Deed::Pass(ms) => self.world.pass(*ms),
            Deed::Again { .. } | Deed::Core { .. } => {}
        }
    }

    /// The honest terminal's next message, from what it got last; and the core's answer to what the proxy makes of it.
    fn step(&mut self) {
        let now = self.world.now;
        let (meta, octets) = if self.phone.session.is_some() {
            (self.world.sealed(&self.phone), self.phone.seal(0, b""))
        } else {
            match self.last.take().filter(|answer| status(answer) == 401) {
                Some(s6) if matches!(ua::read_answer(&s6).map(|r| r.answer), Ok(Answer::Challenge(_))) => {
                    self.answered += 1;
                    (self.phone.meta(), self.phone.s7(now, &s6))
                }
                _ => (self.phone.meta(), self.phone.s1(now)),
            }
        };
        let registering = self.phone.session.is_none();
        for (to, message) in self.world.access(meta, &octets) {
            if matches!(to, To::Core { .. }) {
                let answer = self.world.core.answer(&message);
                self.from_core.push(answer.clone());
                for (to, message) in self.world.core_says(&answer) {
                    assert!(matches!(to, To::Access { addr, .. } if addr == self.phone.addr));
                    if registering && status(&message) == 200 {
                        assert!(self.phone.on_s10(&message), "an honest s10 holds");
                    }
                    self.last = Some(message);
                }
            }
        }
        self.seen.push((meta, octets));
    }

    fn check(&self) {
        let count = self.world.count();
        assert!(count.pendings <= 16 && count.sessions_active + count.sessions_provisional <= 8);
        assert!(count.sessions_active <= 1, "one terminal, one session");
        assert!(count.s10_sent <= self.answered, "a key for each answer of the terminal's own, at most");
        let heard = self.world.sink.events.iter().filter(|e| matches!(e, Heard::Active { .. })).count();
        assert_eq!(count.sessions_confirmed, heard as u64);
    }
}
