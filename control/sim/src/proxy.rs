//! A signalling proxy as the simulator runs it: the real engine, one for each worker, and what stands for the control
//! thread around them: the directory of sessions and the way of core messages to workers. In the direct topology the
//! real softswitch is in the same process.

use crate::net::{Datagram, addr};
use crate::prng::Prng;
use crate::scenario::Scenario;
use crate::switch::Switch;
use portunus_channel::sealed::Header;
use portunus_engine::{
    Capacity, Command, Config, Engine, Event, Keys, Listener, ListenerKind, Meta, Packet, Policy, Sink, To,
};
use portunus_keydist::{Key, Now};
use portunus_signalling::{Protocol, Route, Signalling as _, Transport};
use portunus_sip::Sip;
use portunus_softswitch::Peer;
use std::collections::BTreeMap;
use std::sync::Arc;

static SIP: Sip = Sip;

/// The tables' sizes: small, so that a flood finds their ends.
pub const CAPACITY: Capacity = Capacity {
    sessions: 64,
    session_text: 1 << 16,
    pendings: 48,
    request: 2048,
    message: 4096,
    answer_octets: 1 << 19,
    answers: 1024,
    replay: 8192,
    lockout: 64,
};

const ACCESS: u8 = 0;
const SEALED: u8 = 1;
const STOCK: u8 = 2;

/// Something that an engine told its control side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// A session became active.
    Active {
        /// Whose.
        idc: String,
        /// Its handle.
        kid: u64,
        /// False for a stock phone's.
        keyed: bool,
    },
    /// An active session ended.
    Ended {
        /// Whose.
        idc: String,
        /// Its handle.
        kid: u64,
    },
}

#[derive(Default)]
struct Collect {
    sends: Vec<(To, Vec<u8>)>,
    told: Vec<Told>,
}

impl Sink for Collect {
    fn send(&mut self, to: To, write: &mut dyn FnMut(&mut [u8]) -> Option<usize>) -> bool {
        let mut buf = [0u8; CAPACITY.message];
        if let Some(len) = write(&mut buf) {
            self.sends.push((to, buf[..len].to_vec()));
        }
        true
    }

    fn event(&mut self, event: Event<'_>) {
        self.told.push(match event {
            Event::Active { idc, kid, keyed } => Told::Active { idc: idc.as_str().into(), kid, keyed },
            Event::Ended { idc, kid, .. } => Told::Ended { idc: idc.as_str().into(), kid },
        });
    }
}

/// What came out of a proxy.
#[derive(Debug, Default)]
pub struct Out {
    /// Datagrams, access and core alike.
    pub sends: Vec<Datagram>,
    /// What its engines told.
    pub told: Vec<Told>,
}

/// One proxy process.
pub struct Proxy {
    index: usize,
    engines: Vec<Engine>,
    directory: BTreeMap<String, (usize, u64)>,
    /// The softswitch in the same process.
    pub inside: Option<Switch>,
}

impl core::fmt::Debug for Proxy {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Proxy({}, {:?}, {:?}, {:?})", self.index, self.engines, self.directory, self.inside)
    }
}

/// A proxy's name.
pub fn name(scenario: &Scenario, index: usize) -> String {
    if scenario.direct { "ss1.example.test".into() } else { format!("sp{}.example.test", index + 1) }
}

impl Proxy {
    /// A process that has just started.
    pub fn start(scenario: &Scenario, index: usize, key: &Key, rng: &mut Prng) -> Self {
        let policy = Policy {
            life_s: scenario.life_s,
            cookies: scenario.cookies,
            retry_after_min_s: 1,
            retry_after_max_s: 4,
            ..Policy::default()
        };
        let policy = Arc::new(policy);
        let keys = Keys::new(key.prk(), rng);
        let engine = |worker: u8, rng: &mut Prng| {
            let listens =
                |stock_phones| ListenerKind::Access { signalling: &SIP, transport: Transport::Udp, stock_phones };
            let config = Config {
                worker,
                idsp: name(scenario, index),
                realm: "example.test".into(),
                core: addr::core(index),
                listeners: vec![
                    Listener { address: addr::access(index), kind: listens(false) },
                    Listener { address: addr::sealed(index), kind: ListenerKind::Sealed },
                    Listener { address: addr::stock(index), kind: listens(true) },
                ],
                capacity: CAPACITY,
            };
            match Engine::new(config, policy.clone(), keys.clone(), Box::new(rng.fork())) {
                Ok(engine) => engine,
                Err(e) => panic!("the simulator's own configuration: {e}"),
            }
        };
        let engines = (0..scenario.workers).map(|w| engine(w, rng)).collect();
        let inside = scenario.direct.then(|| Switch::start(scenario, rng));
        Self { index, engines, directory: BTreeMap::new(), inside }
    }

    /// A datagram for one of its addresses.
    pub fn receive(&mut self, now: Now, datagram: &mut Datagram) -> Out {
        let mut out = Out::default();
        if datagram.to == addr::core(self.index) {
            self.core_says(now, &[&datagram.bytes], &mut out);
            return out;
        }
        if self.inside.as_ref().is_some_and(|s| s.owns(datagram.to)) {
            if let Some(switch) = &mut self.inside {
                let sends = switch.receive(now, datagram);
                self.settle(now, sends, &mut out);
            }
            return out;
        }
        let sealed = datagram.to == addr::sealed(self.index);
        let workers = self.engines.len() as u64;
        // A terminal always meets the same worker; a sealed datagram meets the one that its handle names.
        let worker = match Header::read(&datagram.bytes) {
            Ok(header) if sealed => (header.kid >> 56) % workers,
            _ => u64::from(datagram.from.port()) % workers,
        };
        let listener = match datagram.to {
            to if to == addr::sealed(self.index) => SEALED,
            to if to == addr::stock(self.index) => STOCK,
            _ => ACCESS,
        };
        let meta = Meta { source: datagram.from, listener, conn: 0 };
        let mut sink = Collect::default();
        if let Some(engine) = self.engines.get_mut(worker as usize) {
            engine.on_batch(now, &mut [Packet { meta, bytes: &mut datagram.bytes }], &mut sink);
        }
        self.effects(now, worker as usize, sink, &mut out);
        out
    }

    fn core_says(&mut self, now: Now, messages: &[&[u8]], out: &mut Out) {
        for message in messages {
            let worker = match SIP.route_core(message) {
                Route::Ticket(ticket) => usize::from(ticket.worker()),
                Route::Terminal(idc) => self.directory.get(idc.as_idc().as_str()).map_or(0, |(w, _)| *w),
                Route::Step | Route::Lane | Route::Own | Route::Unknown => 0,
            };
            let mut sink = Collect::default();
            if let Some(engine) = self.engines.get_mut(worker) {
                engine.on_core(now, &[portunus_engine::CorePacket::shared(message)], Protocol::Sip, &mut sink);
            }
            self.effects(now, worker, sink, out);
        }
    }

    fn effects(&mut self, now: Now, worker: usize, sink: Collect, out: &mut Out) {
        for (to, bytes) in sink.sends {
            match (to, &mut self.inside) {
                (To::Access { listener, addr: to, .. }, _) => {
                    let from = match listener {
                        SEALED => addr::sealed(self.index),
                        STOCK => addr::stock(self.index),
                        _ => addr::access(self.index),
                    };
                    out.sends.push(Datagram { from, to, bytes });
                }
                (To::Core { .. }, None) => {
                    out.sends.push(Datagram { from: addr::core(self.index), to: addr::switch(), bytes });
                }
                (To::Core { .. }, Some(switch)) => {
                    let sends = switch.sip(now, Peer::LocalProxy, &bytes);
                    self.settle(now, sends, out);
                }
            }
        }
        for told in sink.told {
            self.keep(now, worker, &told, out);
            out.told.push(told);
        }
    }

    /// What the softswitch inside has to say: to the engine in memory, to the AuC over the network.
    fn settle(&mut self, now: Now, sends: crate::switch::Sends, out: &mut Out) {
        out.sends.extend(sends.outside);
        let messages: Vec<&[u8]> = sends.local.iter().map(Vec::as_slice).collect();
        self.core_says(now, &messages, out);
    }

    /// The directory: one session an identity; a newer one ends the older, on whatever worker it is.
    fn keep(&mut self, now: Now, worker: usize, told: &Told, out: &mut Out) {
        match told {
            Told::Active { idc, kid, .. } => {
                let older = self.directory.insert(idc.clone(), (worker, *kid)).filter(|(w, _)| *w != worker);
                let Some((other, old)) = older else { return };
                let mut sink = Collect::default();
                let Ok(name) = arrayvec::ArrayString::from(idc) else { return };
                if let Some(engine) = self.engines.get_mut(other) {
                    engine.on_command(now, Command::EndSession { idc: name, kid: Some(old) }, &mut sink);
                }
                self.effects(now, other, sink, out);
            }
            Told::Ended { idc, kid } => {
                if self.directory.get(idc).is_some_and(|(_, k)| k == kid) {
                    self.directory.remove(idc);
                }
            }
        }
    }

    /// Time has passed.
    pub fn timer(&mut self, now: Now) -> Out {
        let mut out = Out::default();
        for worker in 0..self.engines.len() {
            let mut sink = Collect::default();
            if let Some(engine) = self.engines.get_mut(worker).filter(|e| due(e).is_some_and(|d| d <= now.mono_ms)) {
                engine.on_timer(now, &mut sink);
            }
            self.effects(now, worker, sink, &mut out);
        }
        if let Some(switch) = &mut self.inside {
            let sends = switch.timer(now);
            self.settle(now, sends, &mut out);
        }
        out
    }

    /// When time matters next.
    pub fn deadline(&self) -> Option<u64> {
        let inside = self.inside.as_ref().and_then(Switch::deadline);
        self.engines.iter().filter_map(due).chain(inside).min()
    }

    /// Which handle is active for an identity.
    pub fn active(&self, idc: &str) -> Option<u64> {
        self.directory.get(idc).map(|(_, kid)| *kid)
    }

    /// Totals that have bounds: registrations waiting, sessions.
    pub fn load(&self) -> (u64, u64) {
        self.engines.iter().map(Engine::counters).fold((0, 0), |(p, s), c| {
            (p.max(c.pendings), s.max(c.sessions_active + c.sessions_provisional + c.sessions_stock))
        })
    }
}

fn due(engine: &Engine) -> Option<u64> {
    engine.next_deadline().map(|(at, _)| at)
}
