//! The world: everybody's processes, one queue of events, and one way for every datagram.

use crate::attack::{Attackers, nobody};
use crate::auc::{Auc, Did, Store};
use crate::clock::Clock;
use crate::ladder::{Fate, Ladder};
use crate::net::{Datagram, Network, Verdict, addr, link};
use crate::oracle::{Life, Oracle};
use crate::phone::{self, Phone};
use crate::prng::Prng;
use crate::proxy::{self, CAPACITY, Proxy};
use crate::scenario::{LinkKind, Mishap, Node, Scenario};
use crate::stock::{self, Stock};
use crate::switch::Switch;
use core::net::SocketAddr;
use portunus_keydist::{Idc, Idsp, Key, Random as _};
use portunus_terminal::sip::Event as PhoneEvent;
use std::collections::BTreeMap;

#[derive(Debug)]
enum Event {
    Arrive(Datagram),
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
    delivered: u64,
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
            store.add_subscriber(&phone::name(i), key.clone());
            phones.push(Phone::new(&scenario, i, key, &mut rng));
        }
        let mut stock = Vec::new();
        for i in 0..scenario.stock {
            let secret = format!("{:016x}{:016x}", rng.bits(), rng.bits()).into_bytes();
            store.add_phone(&stock::name(i), &secret);
            let due = rng.between(0, 3_000);
            stock.push(Stock::new(i, i % scenario.proxies, &secret, due, rng.fork()));
        }
        let mut columns: Vec<String> = phones.iter().map(|p| column(&p.idc)).collect();
        columns.extend((0..scenario.proxies).map(|p| column(&proxy::name(&scenario, p))));
        columns.extend(["softswitch".to_owned(), "auc".to_owned()]);
        let mut world = Self {
            now_ms: 0,
            queue: BTreeMap::new(),
            serial: 0,
            net: Network::new(rng.fork()),
            proxies: (0..scenario.proxies).map(|_| Process::new()).collect(),
            switch: Process::new(),
            auc: Process::new(),
            oracle: Oracle::new(scenario.workers, &store.devices, &store.subscribers),
            store,
            phone_wakes: vec![None; scenario.phones],
            stock_wakes: vec![None; scenario.stock],
            stock,
            phones,
            attackers: Attackers::new(rng.fork()),
            ladder: Ladder::new(picture, columns),
            events: 0,
            well_since: None,
            insider_seq: 0,
            delivered: 0,
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

    /// Runs to the end. True when everybody is well at the end of it; the model's violation says what went wrong.
    pub fn run(&mut self) {
        while self.oracle.violation.is_none() && !self.is_over() {
            let Some(((at, _), event)) = self.queue.pop_first() else { break };
            self.now_ms = at;
            self.events += 1;
            if self.events > EVENTS_MAX {
                self.oracle.forbid("a storm: far more datagrams than the registrations need");
            }
            self.handle(event);
        }
        self.last_look();
    }

    /// Over: the trouble has passed and everybody has been well for a while, or the time is up.
    fn is_over(&mut self) -> bool {
        let well = self.now_ms > self.scenario.calm_at && self.well_since.is_some_and(|s| self.now_ms >= s + 40_000);
        if !well && self.now_ms > self.scenario.deadline {
            let who = self.unwell().unwrap_or_default();
            self.oracle.forbid(format!("long after the trouble ended {who}"));
        }
        well
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Arrive(datagram) => self.arrive(datagram),
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

    // ---- datagrams ----

    fn name(&self, at: SocketAddr) -> String {
        if let Some(p) = self.phones.iter().find(|p| p.addr == at) {
            return column(&p.idc);
        }
        match (self.proxy_at(at), at) {
            (Some(p), _) => column(&proxy::name(&self.scenario, p)),
            (_, at) if at == addr::switch() || self.is_lane(at) => "softswitch".into(),
            (_, at) if at == addr::auc_auth() || at == addr::auc_acct() => "auc".into(),
            _ => at.to_string(),
        }
    }

    fn is_lane(&self, at: SocketAddr) -> bool {
        (0..8).any(|n| addr::lane(n) == at)
    }

    fn proxy_at(&self, at: SocketAddr) -> Option<usize> {
        let lane = self.scenario.direct && self.is_lane(at);
        (0..self.scenario.proxies)
            .find(|p| lane || [addr::access(*p), addr::sealed(*p), addr::stock(*p), addr::core(*p)].contains(&at))
    }

    /// Somebody honest sends: over the path, where attackers and weather are.
    fn send(&mut self, mut datagram: Datagram) {
        self.oracle.look("a datagram", &datagram.bytes);
        let access = link(datagram.from, datagram.to) == LinkKind::Access;
        let mut fate = Fate::Arrives;
        if access && !self.calm() && self.scenario.malice.every > 0 {
            self.attackers.hear(&datagram);
            if let Some(copy) = self.attackers.race(&self.scenario, &datagram) {
                self.slip_in(copy);
            }
            if self.attackers.edit(&self.scenario, &mut datagram) {
                fate = Fate::Edited;
            }
        }
        self.carry(datagram, fate);
    }

    /// An attacker sends: it arrives at once, whatever the weather.
    fn slip_in(&mut self, datagram: Datagram) {
        self.draw(&datagram, Fate::Forged);
        self.at(self.now_ms, Event::Arrive(datagram));
    }

    fn carry(&mut self, mut datagram: Datagram, fate: Fate) {
        match self.net.decide(self.now_ms, &self.scenario, &mut datagram) {
            Verdict::Lost => self.draw(&datagram, Fate::Lost),
            Verdict::Arrives { after, again, corrupted } => {
                self.draw(&datagram, if corrupted { Fate::Corrupted } else { fate });
                if let Some(again) = again {
                    self.draw(&datagram, Fate::Again);
                    self.at(self.now_ms + again, Event::Arrive(datagram.clone()));
                }
                self.at(self.now_ms + after, Event::Arrive(datagram));
            }
        }
    }

    fn draw(&mut self, d: &Datagram, fate: Fate) {
        if self.ladder.is_on() {
            let (from, to) = (self.name(d.from), self.name(d.to));
            self.ladder.message(self.now_ms, &from, &to, &d.bytes, fate);
        }
    }

    fn arrive(&mut self, mut datagram: Datagram) {
        self.delivered += 1;
        let to = datagram.to;
        if let Some(p) = self.proxy_at(to) {
            self.oracle.proxy_receives(self.life(p), &datagram);
            let now = self.proxies[p].clock.now(self.now_ms);
            let out = self.proxies[p].it.as_mut().map(|proxy| proxy.receive(now, &mut datagram));
            self.proxy_out(p, out);
        } else if to == addr::switch() || self.is_lane(to) {
            let now = self.switch.clock.now(self.now_ms);
            let out = self.switch.it.as_mut().map(|s| s.receive(now, &datagram));
            self.switch_out(out);
        } else if to == addr::auc_auth() || to == addr::auc_acct() {
            let now = self.auc.clock.now(self.now_ms);
            let store = &mut self.store;
            let Some((sends, did)) = self.auc.it.as_mut().map(|a| a.receive(now, store, &datagram)) else { return };
            self.auc_out(sends, &did);
        } else if let Some(i) = self.phones.iter().position(|p| p.addr == to) {
            let taken = datagram.bytes.clone();
            let from = datagram.from;
            let out =
                self.phones[i].with(self.now_ms, |t, now, rng| t.on_datagram(now, rng, from, &mut datagram.bytes));
            self.phone_out(i, out, &taken);
        } else if let Some(i) = self.stock.iter().position(|p| p.addr == to) {
            let (heard, answer) = self.stock[i].receive(self.now_ms, &datagram.bytes);
            // Nobody protects what a stock phone hears: what attackers say to it directly is not the system's saying.
            if let Some((from, body)) = heard.filter(|_| self.proxy_at(datagram.from).is_some()) {
                let idc = self.stock[i].idc.clone();
                if self.scenario.malice.every == 0 {
                    self.oracle.heard_by(&idc, &from, &body);
                }
            }
            self.stock_out(i, answer);
        } else if addr::is_attacker(to) {
            self.attacker_receives(&datagram);
        }
    }

    fn attacker_receives(&mut self, datagram: &Datagram) {
        let now = Clock::default().now(self.now_ms);
        let (scenario, store) = (&self.scenario, &self.store);
        let luck = |idc: &str, p: usize, rand: &[u8; 16]| {
            let idsp = proxy::name(scenario, p);
            Some(store.subscribers.get(idc)?.prk().word(Idc::new(idc)?, Idsp::new(&idsp)?, rand))
        };
        let sends = self.attackers.receive(scenario, now, datagram, luck);
        for d in sends {
            self.slip_in(d);
        }
    }

    // ---- what comes out of the roles ----

    fn proxy_out(&mut self, p: usize, out: Option<proxy::Out>) {
        let (Some(out), life) = (out, self.life(p)) else { return };
        for d in &out.sends {
            self.oracle.proxy_sends(self.now_ms, life, d);
        }
        for told in &out.told {
            self.oracle.proxy_told(life, told);
            if self.ladder.is_on() {
                let (who, text) = (column(&proxy::name(&self.scenario, p)), format!("{told:?}"));
                self.ladder.note(self.now_ms, &who, text);
            }
        }
        for d in out.sends {
            self.send(d);
        }
        let world = self.proxies[p].clock;
        let due = self.proxies[p].it.as_ref().and_then(Proxy::deadline).map(|d| world.world(d));
        let (now, wake) = (self.now_ms, &mut self.proxies[p].wake);
        if let Some(at) = sooner(now, due, wake) {
            self.at(at, Event::Wake(Node::Proxy(p)));
        }
    }

    fn switch_out(&mut self, out: Option<crate::switch::Sends>) {
        let Some(out) = out else { return };
        for d in out.outside {
            self.send(d);
        }
        let world = self.switch.clock;
        let due = self.switch.it.as_ref().and_then(Switch::deadline).map(|d| world.world(d));
        if let Some(at) = sooner(self.now_ms, due, &mut self.switch.wake) {
            self.at(at, Event::Wake(Node::Switch));
        }
    }

    fn auc_out(&mut self, sends: Vec<Datagram>, did: &[Did]) {
        for did in did {
            self.oracle.auc(did);
            if let (true, Did::Recorded(a)) = (self.ladder.is_on(), did) {
                self.ladder.note(self.now_ms, "auc", format!("s11 {:?} {}", a.event, a.idc));
            }
        }
        for d in sends {
            self.send(d);
        }
    }

    fn phone_out(&mut self, i: usize, out: phone::Out, taken: &[u8]) {
        for event in &out.events {
            self.phone_event(i, event, taken);
        }
        for d in out.sends {
            self.oracle.phone_sends(&self.phones[i], &d);
            self.send(d);
        }
        let due = self.phones[i].deadline();
        if let Some(at) = sooner(self.now_ms, due, &mut self.phone_wakes[i]) {
            self.at(at, Event::Wake(Node::Phone(i)));
        }
    }

    fn stock_out(&mut self, i: usize, out: Option<Datagram>) {
        for rand in core::mem::take(&mut self.stock[i].answered) {
            let idc = self.stock[i].idc.clone();
            self.oracle.stock_answers(&idc, &rand);
        }
        if let Some(d) = out {
            self.send(d);
        }
        let due = Some(self.stock[i].deadline());
        if let Some(at) = sooner(self.now_ms, due, &mut self.stock_wakes[i]) {
            self.at(at, Event::Wake(Node::Stock(i)));
        }
    }

    fn phone_event(&mut self, i: usize, event: &PhoneEvent, taken: &[u8]) {
        let text = format!("{event:?}");
        self.oracle.look("an event of a terminal", text.as_bytes());
        self.ladder.note(self.now_ms, &column(&self.phones[i].idc), text);
        let phone = &self.phones[i];
        match event {
            PhoneEvent::Keyed { kid } => self.oracle.phone_keyed(phone, *kid, taken),
            PhoneEvent::Active(active) => self.oracle.phone_active(phone, active.kid),
            PhoneEvent::Request { from, body, .. } => self.oracle.heard(phone, from, body),
            PhoneEvent::Failed { why, .. } => {
                let words = why.to_string();
                self.oracle.look("an error", words.as_bytes());
            }
            PhoneEvent::Deregistered => {
                let again = self.rng.between(0, 4_000);
                self.at(self.now_ms + again, Event::Restart(Node::Phone(i)));
            }
            _ => {}
        }
    }

    // ---- time, mishaps, malice ----

    fn wake(&mut self, node: Node) {
        let now_ms = self.now_ms;
        match node {
            Node::Proxy(p) if self.proxies[p].wake == Some(now_ms) => {
                self.proxies[p].wake = None;
                let now = self.proxies[p].clock.now(now_ms);
                let out = self.proxies[p].it.as_mut().map(|proxy| proxy.timer(now));
                self.proxy_out(p, out);
            }
            Node::Switch if self.switch.wake == Some(now_ms) => {
                self.switch.wake = None;
                let now = self.switch.clock.now(now_ms);
                let out = self.switch.it.as_mut().map(|s| s.timer(now));
                self.switch_out(out);
            }
            Node::Stock(i) if self.stock_wakes[i] == Some(now_ms) => {
                self.stock_wakes[i] = None;
                let out = (self.stock[i].deadline() <= now_ms).then(|| self.stock[i].timer(now_ms)).flatten();
                self.stock_out(i, out);
            }
            Node::Phone(i) if self.phone_wakes[i] == Some(now_ms) => {
                self.phone_wakes[i] = None;
                let out = self.phones[i].with(now_ms, |t, now, rng| t.on_timer(now, rng));
                self.phone_out(i, out, &[]);
            }
            _ => {}
        }
    }

    fn restart(&mut self, node: Node) {
        let rng = &mut self.rng;
        match node {
            Node::Proxy(p) => {
                let name = proxy::name(&self.scenario, p);
                let Some(key) = self.store.devices.get(&name) else { return };
                let it = Proxy::start(&self.scenario, p, key, rng);
                self.proxies[p].live(it, rng);
            }
            Node::Switch if !self.scenario.direct => {
                let it = Switch::start(&self.scenario, rng);
                self.switch.live(it, rng);
            }
            Node::Switch | Node::Stock(_) => {}
            Node::Auc => {
                let it = Auc::start(&self.store, rng);
                self.auc.live(it, rng);
            }
            Node::Phone(i) => {
                let out = self.phones[i].start(self.now_ms);
                self.phone_out(i, out, &[]);
            }
        }
        let who = self.column_of(node);
        self.ladder.note(self.now_ms, &who, "starts");
    }

    fn column_of(&self, node: Node) -> String {
        match node {
            Node::Proxy(p) => column(&proxy::name(&self.scenario, p)),
            Node::Switch => "softswitch".into(),
            Node::Auc => "auc".into(),
            Node::Phone(i) => column(&self.phones[i].idc),
            Node::Stock(i) => column(&self.stock[i].idc),
        }
    }

    fn happen(&mut self, mishap: Mishap) {
        let who = match mishap {
            Mishap::Crash(node, _) => self.column_of(node),
            Mishap::Move(i) | Mishap::Leave(i, _) => self.column_of(Node::Phone(i)),
            Mishap::Partition(..) => "softswitch".into(),
        };
        self.ladder.note(self.now_ms, &who, format!("{mishap:?}"));
        match mishap {
            Mishap::Crash(node, down) => {
                match node {
                    Node::Proxy(p) => self.proxies[p].it = None,
                    Node::Switch => self.switch.it = None,
                    Node::Auc => self.auc.it = None,
                    Node::Phone(i) => self.phones[i].crash(),
                    Node::Stock(_) => {}
                }
                self.at(self.now_ms + down, Event::Restart(node));
            }
            Mishap::Partition(link, long) => self.net.cut(link, self.now_ms + long),
            Mishap::Move(i) => self.phones[i].moved(),
            Mishap::Leave(i, _) => {
                let out = self.phones[i].with(self.now_ms, |t, now, rng| {
                    t.deregister(now, rng);
                });
                self.phone_out(i, out, &[]);
            }
        }
    }

    fn attack(&mut self) {
        if self.calm() {
            return;
        }
        let now = Clock::default().now(self.now_ms);
        for d in self.attackers.act(&self.scenario, now) {
            self.slip_in(d);
        }
        if self.scenario.malice.insider && self.rng.chance(300) {
            self.speak_inside();
        }
        let every = self.scenario.malice.every;
        let next = self.now_ms + self.rng.between(1, 2 * every);
        self.at(next, Event::Attack);
    }

    /// The attackers' own terminal says in its session what it may not.
    fn speak_inside(&mut self) {
        let text = self.attackers.inside(&self.scenario);
        self.insider_seq += 1;
        let (phone, seq) = (&self.phones[0], (1 << 20) + self.insider_seq);
        if let Some(bytes) = self.oracle.seal_as(phone, seq, text.as_bytes()) {
            let (from, to) = (phone.addr, addr::sealed(phone.proxy));
            self.slip_in(Datagram { from, to, bytes });
        }
    }

    /// Somebody says something to somebody, or calls.
    fn chat(&mut self) {
        let count = self.phones.len() as u64;
        let (a, b) = (self.rng.between(0, count - 1) as usize, self.rng.between(0, count - 1) as usize);
        let method = *self.rng.pick(&["MESSAGE", "MESSAGE", "OPTIONS", "INVITE", "BYE"]).unwrap_or(&"MESSAGE");
        let said = self.phones[a].said;
        let target = match self.rng.chance(250) && !self.stock.is_empty() {
            true => stock::name(0),
            false => phone::name(b),
        };
        let body = format!("{} says number {said}", self.phones[a].idc).into_bytes();
        self.phones[a].said += 1;
        self.oracle.saying(&self.phones[a], &body);
        let out = self.phones[a].with(self.now_ms, |t, now, rng| {
            match method {
                "BYE" => t.hang_up(now, rng),
                "OPTIONS" => t.send_request(now, rng, method, &target, b""),
                _ => t.send_request(now, rng, method, &target, &body),
            };
        });
        self.phone_out(a, out, &[]);
        let next = self.now_ms + self.rng.between(500, 6_000);
        self.at(next, Event::Chat);
    }

    // ---- what must always hold ----

    fn check(&mut self) {
        for proxy in self.proxies.iter().filter_map(|p| p.it.as_ref()) {
            let (pendings, sessions) = proxy.load();
            if pendings > CAPACITY.pendings as u64 || sessions > CAPACITY.sessions as u64 {
                self.oracle.forbid("a proxy's table is fuller than it may be");
            }
        }
        let idcs = self.phones.iter().map(|p| p.idc.clone()).chain((0..self.scenario.nobodies).map(nobody));
        for idc in idcs.chain(self.stock.iter().map(|s| s.idc.clone())).collect::<Vec<_>>() {
            for binding in self.bindings(&idc) {
                self.oracle.bound(&idc, &binding);
            }
        }
        if let Some(table) = self.a_switch().and_then(|(s, _)| s.overfull()) {
            self.oracle.forbid(format!("the softswitch's table of {table} is fuller than it may be"));
        }
        match self.unwell() {
            Some(_) => self.well_since = None,
            None => self.well_since = Some(self.well_since.unwrap_or(self.now_ms)),
        }
        self.at(self.now_ms + CHECK_MS, Event::Check);
    }

    fn a_switch(&self) -> Option<(&Switch, Clock)> {
        match self.proxies.first() {
            Some(p) if self.scenario.direct => Some((p.it.as_ref()?.inside.as_ref()?, p.clock)),
            _ => Some((self.switch.it.as_ref()?, self.switch.clock)),
        }
    }

    fn bindings(&self, idc: &str) -> Vec<String> {
        self.a_switch().map(|(s, clock)| s.bindings(clock.now(self.now_ms), idc)).unwrap_or_default()
    }

    /// Who is not registered and reachable, and why not.
    fn unwell(&self) -> Option<String> {
        let stock = self.stock.iter().find(|s| self.bindings(&s.idc).is_empty());
        if let Some(phone) = stock {
            return Some(format!("{} cannot be reached", phone.idc));
        }
        self.phones.iter().find_map(|phone| {
            let p = phone.proxy;
            let theirs = self.proxies[p].it.as_ref().and_then(|proxy| proxy.active(&phone.idc));
            match (phone.active(), theirs) {
                (None, _) => Some(format!("{} is not registered", phone.idc)),
                (_, None) => Some(format!("the proxy has no session of {}", phone.idc)),
                (Some(a), Some(b)) if a != b || !self.oracle.agreed(phone, self.life(p), a) => {
                    Some(format!("{} and its proxy do not hold the same session", phone.idc))
                }
                _ if self.bindings(&phone.idc).is_empty() => Some(format!("{} cannot be reached", phone.idc)),
                _ => None,
            }
        })
    }

    /// At the end: nobody's state shows a key.
    fn last_look(&mut self) {
        let mut texts = vec![format!("{:?} {:?}", self.attackers, self.store)];
        texts.extend(self.proxies.iter().map(|p| format!("{:?}", p.it)));
        texts.extend(self.phones.iter().map(|p| format!("{p:?}")));
        texts.push(format!("{:?} {:?}", self.switch.it, self.auc.it));
        for text in texts {
            self.oracle.look("what a role's Debug prints", text.as_bytes());
        }
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
