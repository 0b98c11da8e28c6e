//! The proxy engine in memory, between terminals and a core that are called directly: what the engine itself costs,
//! without sockets, and how much memory its terminals take.

use crate::keys::{IDSP, REALM, identity, key_of};
use core::net::SocketAddr;
use core::time::Duration;
use portunus_channel::esp::Esp;
use portunus_channel::sealed::Sealed;
use portunus_codec::Writer;
use portunus_engine::{
    Capacity, Config, Engine, Event as EngineEvent, Keys, Listener, ListenerKind, Meta, Packet, Policy, Routes, Sink,
    To,
};
use portunus_keydist::mech::Mech;
use portunus_keydist::{Now, SystemRandom};
use portunus_signalling::{Protocol, Transport};
use portunus_sip::Sip;
use portunus_terminal::farend::Core;
use portunus_terminal::sip::{Event, MECHS, Path, Profile, SipTerminal};
use std::io;
use std::sync::Arc;
use std::time::Instant;

/// Registrations that travel together: a batch of the node's.
pub const BATCH: usize = 32;
const MESSAGE_MAX: usize = 4_096;
/// Where the rig's terminals are: the port says which of a batch.
const PORT: u16 = 20_000;

fn local(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

/// A message in a buffer that is longer, and used again.
#[derive(Debug)]
struct Message {
    room: Box<[u8]>,
    len: usize,
}

impl Message {
    fn octets(&mut self) -> &mut [u8] {
        self.room.get_mut(..self.len).unwrap_or_default()
    }
}

/// What the engine sends, kept. Its buffers are used again, so that it costs the measured engine next to nothing.
#[derive(Debug, Default)]
struct Outbox {
    access: Vec<(SocketAddr, Message)>,
    core: Vec<Message>,
    spare: Vec<Box<[u8]>>,
}

impl Sink for Outbox {
    fn send(&mut self, to: To, write: &mut dyn FnMut(&mut [u8]) -> Option<usize>) -> bool {
        let mut room = self.spare.pop().unwrap_or_else(|| vec![0; MESSAGE_MAX].into_boxed_slice());
        let Some(len) = write(&mut room) else {
            self.spare.push(room);
            return true;
        };
        let message = Message { room, len };
        match to {
            To::Access { addr, .. } => self.access.push((addr, message)),
            To::Core { .. } => self.core.push(message),
        }
        true
    }

    fn event(&mut self, _event: EngineEvent<'_>) {}
}

/// The part of a run that is measured; a function of its own so that valgrind can be told to count nothing else.
#[inline(never)]
pub fn measured_section<R>(work: impl FnOnce() -> R) -> R {
    std::hint::black_box(work())
}

/// An engine and what stands around it.
pub struct Rig {
    engine: Engine,
    core: Core,
    profile: Arc<Profile>,
    rng: SystemRandom,
    out: Outbox,
    now_us: u64,
    pace_us: u64,
    /// Time spent in the engine so far.
    pub engine_time: Duration,
    /// Registrations that became active so far.
    pub active: u64,
}

impl core::fmt::Debug for Rig {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Rig({} registrations)", self.active)
    }
}

impl Rig {
    /// An engine with room for so many terminals, that register about as fast as its sizes are made for.
    ///
    /// # Errors
    /// When the engine refuses its configuration.
    pub fn new(terminals: usize) -> io::Result<Self> {
        Self::offering(terminals, MECHS)
    }

    /// As [`Rig::new`], for terminals that offer this list.
    ///
    /// # Errors
    /// Also when the list is none, or offers nothing that exists here.
    pub fn offering(terminals: usize, mechs: &str) -> io::Result<Self> {
        let listener = |port, kind| Listener { address: local(port), kind };
        let access = ListenerKind::Access { signalling: &Sip, transport: Transport::Udp, stock_phones: false };
        let config = Config {
            workers: 1,
            worker: 0,
            idsp: IDSP.into(),
            realm: REALM.into(),
            routes: Routes::default(),
            core: local(5_070),
            listeners: vec![
                listener(5_060, access),
                listener(5_065, ListenerKind::Protected(&Sealed)),
                listener(4_500, ListenerKind::Protected(&Esp)),
            ],
            capacity: Capacity::for_terminals(terminals),
        };
        let mut rng = SystemRandom::new();
        let keys = Keys::new(key_of(IDSP).prk(), &mut rng);
        let mechanisms = [Mech::Sealed, Mech::Esp].into_iter().collect();
        let policy = Arc::new(Policy { mechanisms, ..Policy::default() });
        let engine = Engine::new(config, policy, keys, Box::new(SystemRandom::new()));
        let mut profile = Profile::new(local(5_060), Transport::Udp, IDSP, REALM, mechs).map_err(io::Error::other)?;
        profile.probe_ms = 0;
        Ok(Self {
            engine: engine.map_err(io::Error::other)?,
            core: Core::new(REALM, Box::new(|identity| Some(key_of(identity)))),
            profile: Arc::new(profile),
            rng,
            out: Outbox::default(),
            now_us: 1_000_000,
            // All terminals within half an hour; at least 40 a second, for which the smallest sizes suffice.
            pace_us: (1_800_000_000 / terminals.max(1) as u64).min(25_000),
            engine_time: Duration::ZERO,
            active: 0,
        })
    }

    fn now(&self) -> Now {
        let mono_ms = self.now_us / 1_000;
        Now { mono_ms, wall_ms: 1_800_000_000_000 + mono_ms }
    }

    /// Registers the terminals of these numbers, at most [`BATCH`], together and to the end: s1 to s10 and the key's
    /// confirmation. Returns how many became active.
    pub fn register(&mut self, numbers: &[u64]) -> usize {
        let numbers = numbers.get(..BATCH).unwrap_or(numbers);
        self.now_us += self.pace_us * numbers.len() as u64;
        let now = self.now();
        let mut terminals: Vec<SipTerminal> = (PORT..)
            .zip(numbers)
            .filter_map(|(port, n)| {
                let name = identity(*n);
                let profile = Arc::clone(&self.profile);
                SipTerminal::new(profile, &name, &key_of(&name), local(port), port.into(), &mut self.rng)
            })
            .collect();
        for terminal in &mut terminals {
            terminal.start(now, &mut self.rng);
        }
        loop {
            let mut up: Vec<(Meta, Vec<u8>)> = Vec::new();
            for (port, terminal) in (PORT..).zip(&mut terminals) {
                while let Some(out) = terminal.poll_transmit() {
                    let listener = match out.path {
                        Path::Signalling => 0,
                        Path::Sealed => 1 + u8::from(out.to.port() == 4_500),
                        // Connections need sockets; no list offered here leads to one.
                        Path::Secured { .. } => continue,
                    };
                    up.push((Meta { source: local(port), listener, conn: 0 }, out.octets));
                }
            }
            if up.is_empty() {
                break;
            }
            self.access(now, &mut up);
            self.through_the_core(now);
            self.downwards(now, &mut terminals);
        }
        self.timers(now);
        let became =
            |t: &mut SipTerminal| core::iter::from_fn(|| t.poll_event()).any(|e| matches!(e, Event::Active(_)));
        let active = terminals.iter_mut().map(became).filter(|a| *a).count();
        self.active += active as u64;
        active
    }

    fn access(&mut self, now: Now, up: &mut [(Meta, Vec<u8>)]) {
        // One batch a listener, as from its socket.
        for listener in 0..3 {
            let mut packets: Vec<Packet<'_>> = up
                .iter_mut()
                .filter(|(meta, _)| meta.listener == listener)
                .map(|(meta, octets)| Packet { meta: *meta, bytes: octets })
                .collect();
            if packets.is_empty() {
                continue;
            }
            let start = Instant::now();
            measured_section(|| self.engine.on_batch(now, &mut packets, &mut self.out));
            self.engine_time += start.elapsed();
        }
    }

    fn through_the_core(&mut self, now: Now) {
        let mut answers = Vec::new();
        for mut request in self.out.core.drain(..) {
            let mut room = vec![0u8; MESSAGE_MAX];
            let mut w = Writer::new(&mut room);
            if self.core.on_request(request.octets(), &mut w).is_some() {
                answers.push(w.written().to_vec());
            }
            self.out.spare.push(request.room);
        }
        let messages: Vec<_> = answers.iter().map(|answer| portunus_engine::CorePacket::shared(answer)).collect();
        if !messages.is_empty() {
            let start = Instant::now();
            measured_section(|| self.engine.on_core(now, &messages, Protocol::Sip, &mut self.out));
            self.engine_time += start.elapsed();
        }
    }

    fn downwards(&mut self, now: Now, terminals: &mut [SipTerminal]) {
        for (to, mut message) in self.out.access.drain(..) {
            let octets = message.octets();
            if let Some(terminal) = terminals.get_mut(usize::from(to.port().wrapping_sub(PORT))) {
                // Protected messages are taken from everywhere.
                terminal.on_datagram(now, &mut self.rng, local(5_060), octets);
            }
            self.out.spare.push(message.room);
        }
    }

    fn timers(&mut self, now: Now) {
        while self.engine.next_deadline().is_some_and(|(at, _)| at <= now.mono_ms) {
            let start = Instant::now();
            measured_section(|| self.engine.on_timer(now, &mut self.out));
            self.engine_time += start.elapsed();
        }
        // Nothing that a timer sends is for a terminal that still exists.
        self.out.access.clear();
        self.out.core.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_terminal_becomes_active_and_may_come_again() {
        let mut rig = Rig::new(1_000).unwrap();
        let numbers: Vec<u64> = (0..100).collect();
        for _ in 0..3 {
            for batch in numbers.chunks(BATCH) {
                assert_eq!(rig.register(batch), batch.len());
            }
        }
        assert_eq!(rig.active, 300);
        assert!(rig.engine_time > Duration::ZERO);
    }
}
