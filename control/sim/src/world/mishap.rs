//! What happens by itself: time passes, roles stop and start again, links break, attackers act, terminals talk.

use super::{Event, World, column};
use crate::auc::Auc;
use crate::clock::Clock;
use crate::net::Datagram;
use crate::phone;
use crate::proxy::{self, Proxy};
use crate::scenario::{Held, Mishap, Node};
use crate::secured::Segment;
use crate::stock;
use crate::switch::Switch;
use portunus_keydist::{DeviceKeys, Key};

/// What replaces a proxy's key.
fn new_key(proxy: usize) -> Key {
    Key::new([0xc0 | proxy as u8; 32])
}

impl World {
    pub(super) fn wake(&mut self, node: Node) {
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
                let out = self.phones[i].timer(now_ms);
                self.phone_out(i, out, &[]);
            }
            _ => {}
        }
    }

    pub(super) fn restart(&mut self, node: Node) {
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

    pub(super) fn happen(&mut self, mishap: Mishap) {
        let who = match mishap {
            Mishap::Crash(node, _) | Mishap::Torn(node, _) => self.column_of(node),
            Mishap::Move(i) | Mishap::Leave(i, _) | Mishap::Roam(i) | Mishap::Half(i) => self.column_of(Node::Phone(i)),
            Mishap::Mute(p, _) | Mishap::Rotate(p) | Mishap::Hold(p, _) => self.column_of(Node::Proxy(p)),
            Mishap::Partition(..) => "softswitch".into(),
        };
        self.ladder.note(self.now_ms, &who, format!("{mishap:?}"));
        match mishap {
            Mishap::Crash(node, down) => {
                match node {
                    Node::Proxy(p) => {
                        self.proxies[p].it = None;
                        self.streams_end(p);
                    }
                    Node::Switch => self.switch.it = None,
                    Node::Auc => self.auc.it = None,
                    Node::Phone(i) => self.phones[i].crash(),
                    Node::Stock(_) => {}
                }
                self.at(self.now_ms + down, Event::Restart(node));
            }
            Mishap::Torn(node, down) => _ = self.torn.insert(node, down),
            Mishap::Mute(p, long) => _ = self.mute.insert(p, self.now_ms + long),
            Mishap::Rotate(p) => {
                let (name, new) = (proxy::name(&self.scenario, p), new_key(p));
                if let Some(auc) = &mut self.auc.it {
                    auc.rekey(&name, new.clone());
                }
                self.oracle.rekeyed(&name, new.clone());
                self.store.add_device(&name, new);
            }
            Mishap::Hold(p, held) => {
                let Some(old) = self.store.first.get(&proxy::name(&self.scenario, p)) else { return };
                let (old, new) = (old.prk(), new_key(p).prk());
                let keys = match held {
                    Held::OldNew => DeviceKeys::new(old, Some(new)),
                    Held::NewOld => DeviceKeys::new(new, Some(old)),
                    Held::New => new.into(),
                };
                let now = self.proxies[p].clock.now(self.now_ms);
                let out = self.proxies[p].it.as_mut().map(|proxy| proxy.rekey(now, &keys));
                self.proxy_out(p, out);
            }
            Mishap::Partition(link, long) => self.net.cut(link, self.now_ms + long),
            Mishap::Move(i) => {
                self.phones[i].moved();
                self.streams_break(i);
            }
            Mishap::Roam(i) => {
                let next = (self.phones[i].proxy + 1) % self.scenario.proxies;
                self.phones[i].crash();
                self.phones[i].roam(&self.scenario, next);
                self.restart(Node::Phone(i));
            }
            Mishap::Half(i) => {
                let (next, second) = ((self.phones[i].proxy + 1) % self.scenario.proxies, self.scenario.phones + i);
                self.phones[second].roam(&self.scenario, next);
                self.restart(Node::Phone(second));
            }
            Mishap::Leave(i, _) => {
                let out = self.phones[i].leave(self.now_ms);
                self.phone_out(i, out, &[]);
            }
        }
    }

    /// Whoever is to stop in the middle of what it does: all but the first of its messages never leave, and it stops.
    pub(super) fn tear(&mut self, node: Node, sends: &mut Vec<Datagram>, segments: &mut Vec<Segment>) {
        if sends.len() + segments.len() > 0
            && let Some(down) = self.torn.remove(&node)
        {
            sends.truncate(self.rng.between(0, sends.len() as u64 - u64::from(!sends.is_empty())) as usize);
            segments.clear();
            self.at(self.now_ms, Event::Happen(Mishap::Crash(node, down)));
        }
    }

    pub(super) fn attack(&mut self) {
        if self.calm() {
            return;
        }
        let now = Clock::default().now(self.now_ms);
        for d in self.attackers.act(&self.scenario, now) {
            self.slip_in(d);
        }
        if self.rng.chance(100) {
            self.dial();
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
        let seq = (1 << 20) + self.insider_seq;
        if let Some(datagram) = self.oracle.seal_as(&self.phones[0], seq, &text) {
            self.slip_in(datagram);
        } else if let Some(kid) = self.phones[0].active() {
            let out = self.phones[0].say_inside(kid, &text);
            self.phone_out(0, out, &[]);
        }
    }

    /// Somebody says something to somebody, or calls.
    pub(super) fn chat(&mut self) {
        let count = self.scenario.phones as u64;
        let (a, b) = (self.rng.between(0, count - 1) as usize, self.rng.between(0, count - 1) as usize);
        let method = *self.rng.pick(&["MESSAGE", "MESSAGE", "OPTIONS", "INVITE", "BYE"]).unwrap_or(&"MESSAGE");
        let said = self.phones[a].said;
        let target = match self.rng.chance(250) && !self.stock.is_empty() {
            true => stock::name(0),
            false => phone::name(&self.scenario, b),
        };
        let body = format!("{} says number {said}", self.phones[a].idc).into_bytes();
        self.phones[a].said += 1;
        self.oracle.saying(&self.phones[a], &body);
        let out = self.phones[a].say(self.now_ms, method, &target, &body);
        self.phone_out(a, out, &[]);
        let next = self.now_ms + self.rng.between(500, 6_000);
        self.at(next, Event::Chat);
    }
}
