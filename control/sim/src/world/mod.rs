//! The world: everybody's processes, one queue of events, and one way for every datagram.

mod deliver;
mod look;
mod mishap;
mod streams;

use crate::attack::Attackers;
use crate::auc::{Auc, Store};
use crate::clock::Clock;
use crate::ladder::Ladder;
use crate::net::{Datagram, Network};
use crate::oracle::{Life, Oracle};
use crate::phone::{self, Phone};
use crate::prng::Prng;
use crate::proxy::{self, Proxy};
use crate::scenario::{Mishap, Node, Scenario};
use crate::secured::Segment;
use crate::stock::{self, Stock};
use crate::switch::Switch;
use portunus_keydist::{Key, Random as _};
use std::collections::BTreeMap;
use streams::Streams;

#[derive(Debug)]
enum Event {
    Arrive(Datagram),
    Stream(Segment),
    Wake(Node),
    Restart(Node),
    Happen(Mishap),
    Attack,
    Chat,
    Check,
}

/// A process that may be down, with its clock and the time at which it wants to be woken.
struct Process<T> {
    it: Option<T>,
    clock: Clock,
    wake: Option<u64>,
    lives: u32,
}

impl<T> Process<T> {
    fn new() -> Self {
        Self { it: None, clock: Clock::default(), wake: None, lives: 0 }
    }

    /// A new life begins, with a monotonic clock that knows nothing of the last one.
    fn live(&mut self, it: T, rng: &mut Prng) {
        self.it = Some(it);
        self.clock.mono = rng.between(0, 1 << 40);
        self.lives += 1;
        self.wake = None;
    }
}

/// How often the model looks at everything, milliseconds.
const CHECK_MS: u64 = 1_000;
/// Events of one run at most: what needs more is a storm.
const EVENTS_MAX: u64 = 400_000;

/// One run.
pub struct World {
    scenario: Scenario,
    now_ms: u64,
    queue: BTreeMap<(u64, u64), Event>,
    serial: u64,
    rng: Prng,
    net: Network,
    streams: Streams,
    proxies: Vec<Process<Proxy>>,
    switch: Process<Switch>,
    auc: Process<Auc>,
    store: Store,
    phones: Vec<Phone>,
    phone_wakes: Vec<Option<u64>>,
    stock: Vec<Stock>,
    stock_wakes: Vec<Option<u64>>,
    attackers: Attackers,
    /// The reference model.
    pub oracle: Oracle,
    /// The picture.
    pub ladder: Ladder,
    /// Events handled.
    pub events: u64,
    /// Since when everybody has been registered and reachable.
    well_since: Option<u64>,
    insider_seq: u64,
    /// Who stops in the middle of what it does next, and for how long.
    torn: BTreeMap<Node, u64>,
    /// Whose connections nobody reads, and until when.
    mute: BTreeMap<usize, u64>,
    delivered: u64,
    asked: BTreeMap<u64, u64>,
}

impl core::fmt::Debug for World {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "World({:?} at {} ms)", self.scenario, self.now_ms)
    }
}

impl World {
    /// The world of a scenario, with everything switched on.
    pub fn new(scenario: Scenario, picture: bool) -> Self {
        let mut rng = Prng::new(scenario.seed ^ 0x706f_7274_756e_7573);
        let mut store = Store::new(&mut rng);
        for p in 0..scenario.proxies {
            store.add_device(&proxy::name(&scenario, p), Key::new(rng.array()));
        }
        let mut phones = Vec::new();
        for i in 0..scenario.phones {
            let key = Key::new(rng.array());
            store.add_subscriber(&phone::name(&scenario, i), key.clone());
            phones.push(Phone::new(&scenario, i, i, key, &mut rng));
        }
        // The second device of each subscriber, for registrations that come to nothing.
        for i in 0..scenario.phones {
            let Some(key) = store.subscribers.get(&phone::name(&scenario, i)) else { continue };
            phones.push(Phone::new(&scenario, i, scenario.phones + i, key.clone(), &mut rng));
        }
        let mut stock = Vec::new();
        for i in 0..scenario.stock {
            let secret = format!("{:016x}{:016x}", rng.bits(), rng.bits()).into_bytes();
            store.add_phone(&stock::name(i), &secret);
            let due = rng.between(0, 3_000);
            stock.push(Stock::new(i, i % scenario.proxies, &secret, due, rng.fork()));
        }
        let mut columns: Vec<String> = phones.iter().take(scenario.phones).map(|p| column(&p.idc)).collect();
        columns.extend((0..scenario.proxies).map(|p| column(&proxy::name(&scenario, p))));
        columns.extend(["softswitch".to_owned(), "auc".to_owned()]);
        let mut world = Self {
            now_ms: 0,
            queue: BTreeMap::new(),
            serial: 0,
            net: Network::new(rng.fork()),
            streams: Streams::new(),
            proxies: (0..scenario.proxies).map(|_| Process::new()).collect(),
            switch: Process::new(),
            auc: Process::new(),
            oracle: Oracle::new(&scenario, &store.devices, &store.subscribers),
            store,
            phone_wakes: vec![None; 2 * scenario.phones],
            stock_wakes: vec![None; scenario.stock],
            stock,
            phones,
            attackers: Attackers::new(rng.fork()),
            ladder: Ladder::new(picture, columns),
            events: 0,
            well_since: None,
            insider_seq: 0,
            torn: BTreeMap::new(),
            mute: BTreeMap::new(),
            delivered: 0,
            asked: BTreeMap::new(),
            rng,
            scenario,
        };
        world.begin();
        world
    }

    fn begin(&mut self) {
        for p in 0..self.scenario.proxies {
            self.restart(Node::Proxy(p));
        }
        self.restart(Node::Switch);
        self.restart(Node::Auc);
        for i in 0..self.scenario.phones {
            let at = self.rng.between(0, 3_000);
            self.at(at, Event::Restart(Node::Phone(i)));
        }
        for i in 0..self.stock.len() {
            let (phone, secret) = (&self.stock[i], self.store.phones.get(&self.stock[i].idc));
            self.oracle.stock_phone(&phone.idc, phone.addr, secret.map_or(&[][..], Vec::as_slice));
            self.stock_out(i, None);
        }
        for (at, mishap) in self.scenario.mishaps.clone() {
            self.at(at, Event::Happen(mishap));
        }
        if self.scenario.malice.every > 0 {
            self.at(100, Event::Attack);
        }
        self.at(2_000, Event::Chat);
        self.at(CHECK_MS, Event::Check);
    }

    fn at(&mut self, at: u64, event: Event) {
        self.serial += 1;
        self.queue.insert((at.max(self.now_ms), self.serial), event);
    }

    /// Runs to the end: until everybody has been well for a while after the trouble, or the model forbids something.
    pub fn run(&mut self) {
        while self.oracle.violation.is_none() && !self.is_over() && self.step() {}
        self.last_look();
    }

    /// Runs until a time, or until the model forbids something.
    pub fn run_to(&mut self, until_ms: u64) {
        while self.oracle.violation.is_none()
            && self.queue.first_key_value().is_some_and(|((at, _), _)| *at <= until_ms)
        {
            self.step();
        }
        self.now_ms = self.now_ms.max(until_ms);
    }

    /// The terminals that are to be registered.
    fn owners(&self) -> impl Iterator<Item = &Phone> {
        self.phones.iter().take(self.scenario.phones)
    }

    fn step(&mut self) -> bool {
        let Some(((at, _), event)) = self.queue.pop_first() else { return false };
        self.now_ms = at;
        self.events += 1;
        if self.events > EVENTS_MAX {
            self.oracle.forbid("a storm: far more datagrams than the registrations need");
        }
        self.handle(event);
        true
    }

    /// The handles of the terminals' active sessions.
    pub fn sessions(&self) -> Vec<Option<u64>> {
        self.owners().map(Phone::active).collect()
    }

    /// Of a proxy: wraps that opened under its other key only, and wraps that did not open.
    pub fn unwrapped(&self, proxy: usize) -> (u64, u64) {
        self.proxies[proxy].it.as_ref().map_or((0, 0), Proxy::unwrapped)
    }

    /// Datagrams about the terminals that reached the AuC's ports, whether it was there or not, by second.
    pub fn asked(&self) -> &BTreeMap<u64, u64> {
        &self.asked
    }

    /// Over: the trouble has passed and everybody has been well for a while, or the time is up.
    fn is_over(&mut self) -> bool {
        let well = self.now_ms > self.scenario.calm_at && self.well_since.is_some_and(|s| self.now_ms >= s + 40_000);
        if !well && self.now_ms > self.scenario.deadline {
            let who = self.trouble().unwrap_or_default();
            self.oracle.forbid(format!("long after the trouble ended {who}"));
        }
        well
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Arrive(datagram) => self.arrive(datagram),
            Event::Stream(segment) => self.stream_arrives(&segment),
            Event::Wake(node) => self.wake(node),
            Event::Restart(node) => self.restart(node),
            Event::Happen(mishap) => self.happen(mishap),
            Event::Attack => self.attack(),
            Event::Chat => self.chat(),
            Event::Check => self.check(),
        }
    }

    fn calm(&self) -> bool {
        self.now_ms >= self.scenario.calm_at
    }

    fn life(&self, proxy: usize) -> Life {
        (proxy, self.proxies.get(proxy).map_or(0, |p| p.lives))
    }

    /// The world's time, milliseconds.
    pub fn now_ms(&self) -> u64 {
        self.now_ms
    }

    /// Datagrams that arrived.
    pub fn delivered(&self) -> u64 {
        self.delivered
    }
}

/// When somebody who is due then must be woken; `None` when that is arranged already.
fn sooner(now_ms: u64, due: Option<u64>, wake: &mut Option<u64>) -> Option<u64> {
    // What is due at once is woken in the next millisecond: a role that is always due must not stop the world.
    let at = due?.max(now_ms + 1);
    if wake.is_some_and(|w| w > now_ms && w <= at) {
        return None;
    }
    *wake = Some(at);
    Some(at)
}

/// A life-line's name: the identity without its domain.
fn column(idc: &str) -> String {
    idc.split(['@', '.']).next().unwrap_or(idc).to_owned()
}
