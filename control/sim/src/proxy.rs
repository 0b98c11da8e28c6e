//! A signalling proxy as the simulator runs it: the real engine, one for each worker, and what stands for the control
//! thread around them: the directory of sessions and the way of core messages to workers. In the direct topology the
//! real softswitch is in the same process.

use crate::dialect::{self, Dialect};
use crate::lanes::Lanes;
use crate::net::{Datagram, addr};
use crate::prng::Prng;
use crate::scenario::Scenario;
use crate::secured::{Connections, Segment};
use crate::switch::{Local, Sends, Switch};
use core::net::SocketAddr;
use portunus_engine::{
    Capacity, Command, Config, CorePacket, Engine, Event, Keys, Lane, Listener, ListenerKind, Meta, Packet, Policy,
    Routes, Sink, To,
};
use portunus_keydist::proxy::HashKey;
use portunus_keydist::{DeviceKeys, Idc, Key, Now};
use portunus_signalling::{Protocol, Route, Transport};
use portunus_softswitch::Peer;
use std::collections::BTreeMap;
use std::sync::Arc;

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
    hang_ups: Vec<u32>,
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

    fn hang_up(&mut self, conn: u32) {
        self.hang_ups.push(conn);
    }
}

/// A message between proxy and core on a terminal's lane.
#[derive(Debug)]
pub struct Passed {
    /// True towards the core.
    pub up: bool,
    /// Of which protocol.
    pub protocol: Protocol,
    /// The lane's name.
    pub lane: u64,
    /// What the softswitch in the same process knows the lane by; `None`: the message is on the network too.
    pub local: Option<SocketAddr>,
    /// Its octets.
    pub bytes: Vec<u8>,
}

/// What came out of a proxy.
#[derive(Debug, Default)]
pub struct Out {
    /// What passed on lanes.
    pub passed: Vec<Passed>,
    /// Datagrams, access and core alike.
    pub sends: Vec<Datagram>,
    /// What its engines told.
    pub told: Vec<Told>,
    /// What an engine sent towards the core at once, when it was given the datagram.
    pub raised: Vec<Raised>,
    /// Octets on connections.
    pub segments: Vec<Segment>,
    /// Connections whose handshake succeeded.
    pub opened: Vec<u32>,
    /// Messages out of connections, as the engine got them.
    pub inside: Vec<(u32, Vec<u8>)>,
    /// Messages into connections.
    pub outside: Vec<(u32, Vec<u8>)>,
}

impl Out {
    /// True when nothing at all came of it.
    pub fn is_empty(&self) -> bool {
        let sent = [self.passed.is_empty(), self.sends.is_empty(), self.segments.is_empty(), self.raised.is_empty()];
        sent.iter().all(|empty| *empty) && self.told.is_empty()
    }
}

/// A message towards the core that a datagram of the access side gave rise to.
#[derive(Debug)]
pub struct Raised {
    /// Of which protocol.
    pub protocol: Protocol,
    /// By a terminal's own lane.
    pub lane: bool,
    /// Its octets.
    pub bytes: Vec<u8>,
}

/// One proxy process.
pub struct Proxy {
    index: usize,
    pub(crate) engines: Vec<Engine>,
    pub(crate) streams: Connections,
    listeners: Vec<Listener>,
    directory: BTreeMap<String, (usize, u64)>,
    lanes: Vec<Lanes>,
    hash: HashKey,
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
            mechanisms: scenario.allowed.iter().copied().collect(),
            life_s: scenario.life_s,
            cookies: scenario.cookies,
            retry_after_min_s: 1,
            retry_after_max_s: 4,
            ..Policy::default()
        };
        let policy = Arc::new(policy);
        let keys = Keys::new(key.prk(), rng);
        let listeners = listeners(index);
        let engine = |worker: u8, rng: &mut Prng| {
            let config = Config {
                worker,
                workers: scenario.workers,
                idsp: name(scenario, index),
                realm: "example.test".into(),
                routes: Routes::default(),
                core: addr::core(index),
                listeners: listeners.clone(),
                capacity: CAPACITY,
            };
            match Engine::new(config, policy.clone(), keys.clone(), Box::new(rng.fork())) {
                Ok(engine) => engine,
                Err(e) => panic!("the simulator's own configuration: {e}"),
            }
        };
        let engines = (0..scenario.workers).map(|w| engine(w, rng)).collect();
        let with_lanes = dialect::ALL.iter().filter(|d| d.signalling().lanes()).map(|d| d.protocol());
        let workers = usize::from(scenario.workers);
        let lanes = with_lanes.map(|p| Lanes::new(index, p, workers, scenario.lanes, rng.fork())).collect();
        Self {
            index,
            engines,
            streams: Connections::new(),
            listeners,
            directory: BTreeMap::new(),
            lanes,
            hash: keys.process.hash().clone(),
            inside: scenario.direct.then(|| Switch::start(scenario, rng)),
        }
    }

    /// A datagram for one of its addresses.
    pub fn receive(&mut self, now: Now, datagram: &mut Datagram) -> Out {
        let mut out = Out::default();
        if self.inside.as_ref().is_some_and(|s| s.owns(datagram.to)) {
            if let Some(switch) = &mut self.inside {
                let sends = switch.receive(now, datagram);
                self.settle(now, sends, &mut out);
            }
            return out;
        }
        let Some(listener) = self.listeners.iter().position(|l| l.address == datagram.to) else {
            // Towards the core: a closed lane and a stranger are the host's to refuse.
            if addr::is_switch(datagram.from)
                && let Some((protocol, worker, lane)) = self.core_port(datagram.to)
            {
                self.lane_touched(now, protocol, (worker, lane));
                self.core_says(now, protocol, (worker, lane), &datagram.bytes, &mut out);
            }
            return out;
        };
        let workers = self.engines.len() as u64;
        // A terminal always meets the same worker; a protected datagram meets the one that its handle names.
        let worker = match self.listeners.get(listener).map(|l| l.kind) {
            Some(ListenerKind::Protected(mechanism)) => {
                let named = datagram.bytes.get(mechanism.format().worker_octet as usize);
                u64::from(named.copied().unwrap_or_default()) % workers
            }
            Some(ListenerKind::Tls { .. }) => return out,
            // Whoever does ESP in a kernel has a port for each worker; no simulated proxy does.
            Some(ListenerKind::Access { .. } | ListenerKind::Kernel { .. }) | None => {
                u64::from(datagram.from.port()) % workers
            }
        };
        let meta = Meta { source: datagram.from, listener: listener as u8, conn: 0 };
        let mut sink = Collect::default();
        if let Some(engine) = self.engines.get_mut(worker as usize) {
            engine.on_batch(now, &mut [Packet { meta, bytes: &mut datagram.bytes }], &mut sink);
        }
        out.raised.extend(sink.sends.iter().filter_map(|(to, bytes)| match to {
            To::Core { protocol, lane, .. } => {
                Some(Raised { protocol: *protocol, lane: *lane != Lane::Shared, bytes: bytes.clone() })
            }
            To::Access { .. } => None,
        }));
        self.effects(now, worker as usize, sink, &mut out);
        out
    }

    /// Octets of a connection to one of its listeners.
    pub fn receive_stream(&mut self, now: Now, segment: &Segment) -> Out {
        let place = self.listeners.iter().enumerate().find_map(|(index, l)| match l.kind {
            ListenerKind::Tls { signalling } if l.address == segment.server => {
                Some((index as u8, signalling.protocol()))
            }
            _ => None,
        });
        place.map(|place| self.stream(now, segment, place)).unwrap_or_default()
    }

    /// Asks the engine of a worker, and sees to what it wants done.
    pub(crate) fn with_engine<R>(
        &mut self,
        now: Now,
        worker: usize,
        out: &mut Out,
        ask: impl FnOnce(&mut Engine, &mut dyn Sink) -> R,
    ) -> Option<R> {
        let mut sink = Collect::default();
        let result = self.engines.get_mut(worker).map(|engine| ask(engine, &mut sink));
        self.effects(now, worker, sink, out);
        result
    }

    /// What arrives at an address towards the core: of which protocol, for which worker, by which lane.
    fn core_port(&self, at: SocketAddr) -> Option<(Protocol, usize, Lane)> {
        if at == addr::core(self.index) {
            return Some((Protocol::Sip, 0, Lane::Shared));
        }
        self.lanes.iter().find_map(|lanes| lanes.at(at).map(|(worker, lane)| (lanes.protocol(), worker, lane)))
    }

    fn lane_touched(&mut self, now: Now, protocol: Protocol, (worker, lane): (usize, Lane)) {
        if let Some(lanes) = self.lanes.iter_mut().find(|lanes| lanes.protocol() == protocol) {
            lanes.touch(now.mono_ms, lane, worker);
        }
    }

    /// What the softswitch in this process knows a lane by.
    fn local(&self, (worker, lane): (usize, Lane)) -> Option<SocketAddr> {
        self.inside.is_some().then(|| lane.virtual_address(worker as u8))
    }

    /// The worker that holds the session of the terminal whose lane this is.
    fn holder(&self, lane: Lane) -> Option<usize> {
        let is = |idc: &str| Idc::new(idc).is_some_and(|idc| Lane::Of(Lane::name(&self.hash, idc)) == lane);
        self.directory.iter().find(|(idc, _)| is(idc)).map(|(_, (worker, _))| *worker)
    }

    fn core_says(&mut self, now: Now, protocol: Protocol, by: (usize, Lane), message: &[u8], out: &mut Out) {
        if let Lane::Of(lane) = by.1 {
            let local = self.local(by);
            out.passed.push(Passed { up: false, protocol, lane, local, bytes: message.to_vec() });
        }
        let worker = match dialect::of(protocol).signalling().route_core(message) {
            Route::Ticket(ticket) => usize::from(ticket.worker()),
            Route::Terminal(idc) => self.directory.get(idc.as_idc().as_str()).map_or(0, |(w, _)| *w),
            Route::Lane => self.holder(by.1).unwrap_or(by.0),
            Route::Step | Route::Own | Route::Unknown => by.0,
        };
        let mut sink = Collect::default();
        if let Some(engine) = self.engines.get_mut(worker) {
            let packet = CorePacket { lane: by.1, ..CorePacket::shared(message) };
            engine.on_core(now, &[packet], protocol, &mut sink);
        }
        self.effects(now, worker, sink, out);
    }

    fn effects(&mut self, now: Now, worker: usize, sink: Collect, out: &mut Out) {
        for (to, bytes) in sink.sends {
            match to {
                To::Access { conn: 0, listener, addr: to } => {
                    let Some(from) = self.listeners.get(usize::from(listener)) else { continue };
                    out.sends.push(Datagram { from: from.address, to, bytes });
                }
                To::Access { conn, .. } => self.stream_send(conn, bytes, out),
                To::Core { protocol, lane, .. } => self.send_to_core(now, protocol, (worker, lane), bytes, out),
            }
        }
        for conn in sink.hang_ups {
            self.stream_end(conn, out);
        }
        for told in sink.told {
            self.keep(now, worker, &told, out);
            out.told.push(told);
        }
    }

    fn send_to_core(&mut self, now: Now, protocol: Protocol, by: (usize, Lane), bytes: Vec<u8>, out: &mut Out) {
        let local = self.local(by);
        let lanes = self.lanes.iter_mut().find(|lanes| lanes.protocol() == protocol);
        if let (Some(_), Lane::Of(lane)) = (&lanes, by.1) {
            out.passed.push(Passed { up: true, protocol, lane, local, bytes: bytes.clone() });
        }
        let Some(switch) = &mut self.inside else {
            let from = match lanes {
                Some(lanes) => lanes.send(now.mono_ms, by.1, by.0),
                None => Some(addr::core(self.index)),
            };
            let to = addr::switch(protocol);
            return out.sends.extend(from.map(|from| Datagram { from, to, bytes }));
        };
        let from = match lanes {
            Some(_) => Peer::LocalLane(by.1.virtual_address(by.0 as u8)),
            None => Peer::LocalProxy,
        };
        let sends = switch.message(now, protocol, from, &bytes);
        self.settle(now, sends, out);
    }

    /// What the softswitch inside has to say: to the engine in memory, to the AuC over the network.
    fn settle(&mut self, now: Now, sends: Sends, out: &mut Out) {
        out.sends.extend(sends.outside);
        for Local { protocol, lane, bytes } in sends.local {
            self.core_says(now, protocol, lane, &bytes, out);
        }
    }

    fn on_session(&mut self, now: Now, idc: &str, worker: usize, active: bool) {
        let Some(idc) = Idc::new(idc) else { return };
        let name = Lane::name(&self.hash, idc);
        self.lanes.iter_mut().for_each(|lanes| lanes.on_session(now.mono_ms, name, worker, active));
    }

    /// The directory: one session an identity; a newer one ends the older, on whatever worker it is.
    fn keep(&mut self, now: Now, worker: usize, told: &Told, out: &mut Out) {
        match told {
            Told::Active { idc, kid, .. } => {
                let older = self.directory.insert(idc.clone(), (worker, *kid)).filter(|(w, _)| *w != worker);
                self.on_session(now, idc, worker, true);
                let Some((other, old)) = older else { return };
                self.on_session(now, idc, other, false);
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
                self.on_session(now, idc, worker, false);
            }
        }
    }

    /// Other long-term keys, as a reload brings them to every worker.
    pub fn rekey(&mut self, now: Now, keys: &DeviceKeys) -> Out {
        let mut out = Out::default();
        for worker in 0..self.engines.len() {
            let command = Command::Rekey(Arc::new(keys.clone()));
            self.with_engine(now, worker, &mut out, |engine, sink| engine.on_command(now, command, sink));
        }
        out
    }

    /// Wraps that opened under the other key only, and wraps that did not open.
    pub fn unwrapped(&self) -> (u64, u64) {
        let counters = self.engines.iter().map(Engine::counters);
        counters.fold((0, 0), |(other, failed), c| (other + c.unwrap_other_key, failed + c.unwrap_failed))
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
        self.lanes.iter_mut().for_each(|lanes| lanes.on_timer(now.mono_ms));
        out
    }

    /// When time matters next.
    pub fn deadline(&self) -> Option<u64> {
        let inside = self.inside.as_ref().and_then(Switch::deadline);
        let lanes = self.lanes.iter().filter_map(Lanes::next_deadline);
        self.engines.iter().filter_map(due).chain(inside).chain(lanes).min()
    }

    /// Which handle is active for an identity.
    pub fn active(&self, idc: &str) -> Option<u64> {
        self.directory.get(idc).map(|(_, kid)| *kid)
    }

    /// True while the core can reach somebody by this address.
    pub fn is_lane(&self, at: SocketAddr) -> bool {
        let lane =
            Lane::of_virtual_address(at).or_else(|| self.core_port(at).map(|(_, worker, lane)| (worker as u8, lane)));
        lane.is_some_and(|(_, lane)| lane != Lane::Shared)
    }

    /// True while no protocol has more lanes than it may.
    pub fn lanes_bounded(&self) -> bool {
        self.lanes.iter().map(Lanes::open).all(|(open, limit)| open <= limit)
    }

    /// Totals that have bounds: registrations waiting, sessions.
    pub fn load(&self) -> (u64, u64) {
        self.engines.iter().map(Engine::counters).fold((0, 0), |(p, s), c| {
            (p.max(c.pendings), s.max(c.sessions_active + c.sessions_provisional + c.sessions_stock))
        })
    }
}

/// All of a proxy's listeners.
fn listeners(index: usize) -> Vec<Listener> {
    let listens = |dialect: &&'static dyn Dialect, address, stock_phones| {
        let kind = ListenerKind::Access { signalling: dialect.signalling(), transport: Transport::Udp, stock_phones };
        Listener { address, kind }
    };
    let protected = addr::PROTECTED.iter().map(|(mechanism, _)| Listener {
        address: addr::protected(index, *mechanism),
        kind: ListenerKind::Protected(*mechanism),
    });
    let secured = addr::SECURED.iter().map(|(protocol, _)| Listener {
        address: addr::secured(index, *protocol),
        kind: ListenerKind::Tls { signalling: dialect::of(*protocol).signalling() },
    });
    let stock = listens(&dialect::of(Protocol::Sip), addr::stock(index), true);
    let access = dialect::ALL.iter().map(|d| listens(d, addr::access(index, d.protocol()), false));
    protected.chain([stock]).chain(access).chain(secured).collect()
}

fn due(engine: &Engine) -> Option<u64> {
    engine.next_deadline().map(|(at, _)| at)
}
