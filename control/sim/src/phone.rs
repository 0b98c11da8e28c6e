//! A terminal as the simulator runs it: the real terminal, with a clock and an address of its own.

use crate::clock::Clock;
use crate::net::{Datagram, addr};
use crate::prng::Prng;
use crate::proxy;
use crate::scenario::Scenario;
use core::net::SocketAddr;
use portunus_keydist::Key;
use portunus_keydist::mech::MechList;
use portunus_terminal::sip::{Event, Profile, SipTerminal, Transport};
use std::sync::Arc;

/// What came out of a terminal.
#[derive(Debug, Default)]
pub struct Out {
    /// Datagrams.
    pub sends: Vec<Datagram>,
    /// Events.
    pub events: Vec<Event>,
}

/// A terminal, and what is fixed about it.
pub struct Phone {
    /// Its number.
    pub index: usize,
    /// Who it is.
    pub idc: String,
    /// Through which proxy it registers.
    pub proxy: usize,
    /// What it offers, in canonical form.
    pub mechs: String,
    /// Its clock.
    pub clock: Clock,
    /// Where it is seen.
    pub addr: SocketAddr,
    /// How often it has moved.
    moves: u16,
    /// How often it was started.
    starts: u32,
    /// Messages that it sent to others.
    pub said: u32,
    key: Key,
    rng: Prng,
    profile: Arc<Profile>,
    terminal: Option<SipTerminal>,
}

impl core::fmt::Debug for Phone {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Phone({}, {:?}, {:?}, {:?})", self.idc, self.terminal, self.profile, self.key)
    }
}

/// The name of the `index`-th subscriber.
pub fn name(index: usize) -> String {
    let first = ["alice", "bob", "carol", "dave", "erin"];
    match first.get(index) {
        Some(name) => format!("{name}@example.test"),
        None => format!("t{index}@example.test"),
    }
}

fn profile(scenario: &Scenario, proxy: usize, mechs: &str) -> Arc<Profile> {
    let made = Profile::new(addr::access(proxy), Transport::Udp, &proxy::name(scenario, proxy), "example.test", mechs);
    match made {
        Ok(profile) => Arc::new(Profile { expires_s: scenario.expires_s, ..profile }),
        Err(e) => panic!("the simulator's own configuration: {e}"),
    }
}

impl Phone {
    /// A terminal that is switched off: the `who`-th subscriber's, and the `index`-th of all.
    pub fn new(scenario: &Scenario, who: usize, index: usize, key: Key, rng: &mut Prng) -> Self {
        let proxy = who % scenario.proxies;
        let mechs = scenario.mechs.get(who).copied().unwrap_or(portunus_terminal::sip::MECHS);
        let canonical = MechList::from_sip(mechs).map(|l| l.as_str().to_owned()).unwrap_or_default();
        let clock = Clock { mono: rng.between(0, 1 << 40), wall: scenario.clock_off.get(who).copied().unwrap_or(0) };
        Self {
            index,
            idc: name(who),
            proxy,
            mechs: canonical,
            clock,
            addr: addr::public(index, 0),
            moves: 0,
            starts: 0,
            said: 0,
            key,
            rng: rng.fork(),
            profile: profile(scenario, proxy, mechs),
            terminal: None,
        }
    }

    /// Switches it on: it begins to register.
    pub fn start(&mut self, world_ms: u64) -> Out {
        self.starts += 1;
        let tag = self.index as u32 * 1000 + self.starts;
        let (profile, local) = (self.profile.clone(), addr::local(self.index));
        self.terminal = SipTerminal::new(profile, &self.idc, &self.key, local, tag, &mut self.rng);
        self.with(world_ms, |t, now, rng| t.start(now, rng))
    }

    /// It uses another proxy from its next start on.
    pub fn roam(&mut self, scenario: &Scenario, proxy: usize) {
        let mechs = self.mechs.replace(' ', ", ");
        (self.proxy, self.profile) = (proxy, profile(scenario, proxy, &mechs));
    }

    /// Switches it off, without a word.
    pub fn crash(&mut self) {
        self.terminal = None;
    }

    /// It is seen elsewhere from now on.
    pub fn moved(&mut self) {
        self.moves += 1;
        self.addr = addr::public(self.index, self.moves);
    }

    /// Does something with it at a time.
    pub fn with(&mut self, world_ms: u64, f: impl FnOnce(&mut SipTerminal, portunus_keydist::Now, &mut Prng)) -> Out {
        let mut out = Out::default();
        let Some(terminal) = &mut self.terminal else { return out };
        f(terminal, self.clock.now(world_ms), &mut self.rng);
        while let Some(event) = terminal.poll_event() {
            out.events.push(event);
        }
        while let Some(t) = terminal.poll_transmit() {
            out.sends.push(Datagram { from: self.addr, to: t.to, bytes: t.octets });
        }
        out
    }

    /// When time matters next, in the world's time.
    pub fn deadline(&self) -> Option<u64> {
        let (at, _) = self.terminal.as_ref()?.next_deadline()?;
        Some(self.clock.world(at))
    }

    /// The handle of its active session.
    pub fn active(&self) -> Option<u64> {
        self.terminal.as_ref()?.kid()
    }
}
