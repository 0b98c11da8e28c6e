//! A datagram's way: from whoever sends it, past attackers and weather, to the role whose address it is for, and what
//! comes out of that role.

use super::{Event, World, column, sooner};
use crate::auc::Did;
use crate::clock::Clock;
use crate::dialect::is_s7;
use crate::ladder::Fate;
use crate::net::{Datagram, Verdict, addr, link};
use crate::phone;
use crate::proxy::{self, Proxy};
use crate::scenario::{LinkKind, Node};
use crate::switch::Switch;
use core::net::SocketAddr;
use portunus_keydist::{Idc, Idsp};
use portunus_terminal::Event as PhoneEvent;

impl World {
    fn name(&self, at: SocketAddr) -> String {
        if let Some(p) = self.phones.iter().find(|p| p.addr == at) {
            return column(&p.idc);
        }
        match (self.proxy_at(at), at) {
            (Some(p), _) => column(&proxy::name(&self.scenario, p)),
            (_, at) if addr::is_switch(at) => "softswitch".into(),
            (_, at) if at == addr::auc_auth() || at == addr::auc_acct() => "auc".into(),
            _ => at.to_string(),
        }
    }

    fn is_lane(&self, at: SocketAddr) -> bool {
        (0..8).any(|n| addr::lane(n) == at)
    }

    pub(super) fn proxy_at(&self, at: SocketAddr) -> Option<usize> {
        let inside = (self.scenario.direct && self.is_lane(at)).then_some(0);
        inside.or_else(|| addr::proxy_of(at)).filter(|p| *p < self.scenario.proxies)
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
            if let Some(held) = self.attackers.hold(&self.scenario, &datagram) {
                self.draw(&datagram, Fate::Lost);
                if let Some(after) = held {
                    self.at(self.now_ms + after, Event::Arrive(datagram));
                }
                return;
            }
            if self.attackers.edit(&self.scenario, &mut datagram) {
                fate = Fate::Edited;
            }
        }
        self.carry(datagram, fate);
    }

    /// An attacker sends: it arrives at once, whatever the weather.
    pub(super) fn slip_in(&mut self, datagram: Datagram) {
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

    pub(super) fn draw(&mut self, d: &Datagram, fate: Fate) {
        if self.ladder.is_on() {
            let (from, to) = (self.name(d.from), self.name(d.to));
            self.ladder.message(self.now_ms, &from, &to, &d.bytes, fate);
        }
    }

    pub(super) fn arrive(&mut self, mut datagram: Datagram) {
        self.delivered += 1;
        let to = datagram.to;
        if let Some(p) = self.proxy_at(to) {
            self.oracle.proxy_receives(self.life(p), &datagram);
            let (life, now) = (self.life(p), self.proxies[p].clock.now(self.now_ms));
            let Some(proxy) = self.proxies[p].it.as_mut() else { return };
            let may = self.oracle.reaches_proxy(life, &datagram);
            let out = proxy.receive(now, &mut datagram);
            self.oracle.proxy_did(&datagram, may, &out);
            self.proxy_out(p, Some(out));
        } else if addr::is_switch(to) {
            let now = self.switch.clock.now(self.now_ms);
            let out = self.switch.it.as_mut().map(|s| s.receive(now, &datagram));
            self.switch_out(out);
        } else if to == addr::auc_auth() || to == addr::auc_acct() {
            // Names travel in the clear here. What strangers ask about their own inventions is not counted.
            let named = |idc: &str| datagram.bytes.windows(idc.len()).any(|w| w == idc.as_bytes());
            if self.phones.iter().any(|p| named(&p.idc)) {
                *self.asked.entry(self.now_ms / 1_000).or_default() += 1;
            }
            let now = self.auc.clock.now(self.now_ms);
            let store = &mut self.store;
            let Some((sends, did)) = self.auc.it.as_mut().map(|a| a.receive(now, store, &datagram)) else { return };
            self.auc_out(sends, &did);
        } else if let Some(i) = self.phones.iter().position(|p| p.addr == to) {
            let taken = datagram.bytes.clone();
            let from = datagram.from;
            let may = self.oracle.reaches_phone(&self.phones[i], &datagram);
            let out = self.phones[i].receive(self.now_ms, from, &mut datagram.bytes);
            self.oracle.phone_did(&self.phones[i], may, &out);
            self.phone_out(i, out, &taken);
        } else if let Some(i) = self.stock.iter().position(|p| p.addr == to) {
            let (heard, answer) = self.stock[i].receive(self.now_ms, &datagram.bytes);
            // Nobody protects what a stock phone hears: what attackers say to it directly is not the system's saying.
            if let Some((from, body)) = heard.filter(|_| self.proxy_at(datagram.from).is_some()) {
                let idc = self.stock[i].idc.clone();
                if self.scenario.malice.every == 0 && self.scenario.access.corrupt == 0 {
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

    pub(super) fn proxy_out(&mut self, p: usize, out: Option<proxy::Out>) {
        let (Some(mut out), life) = (out, self.life(p)) else { return };
        self.tear(Node::Proxy(p), &mut out.sends, &mut out.segments);
        for message in &out.passed {
            self.oracle.passed(life, message);
        }
        for d in &out.sends {
            self.oracle.proxy_sends(self.now_ms, life, d);
        }
        for told in &out.told {
            self.oracle.proxy_told(self.now_ms, life, told);
            if self.ladder.is_on() {
                let (who, text) = (column(&proxy::name(&self.scenario, p)), format!("{told:?}"));
                self.ladder.note(self.now_ms, &who, text);
            }
        }
        self.proxy_streams(&out);
        for d in out.sends {
            self.send(d);
        }
        for segment in out.segments {
            self.send_segment(segment);
        }
        let world = self.proxies[p].clock;
        let due = self.proxies[p].it.as_ref().and_then(Proxy::deadline).map(|d| world.world(d));
        let (now, wake) = (self.now_ms, &mut self.proxies[p].wake);
        if let Some(at) = sooner(now, due, wake) {
            self.at(at, Event::Wake(Node::Proxy(p)));
        }
    }

    pub(super) fn switch_out(&mut self, out: Option<crate::switch::Sends>) {
        let Some(out) = out else { return };
        for d in out.outside {
            self.oracle.switch_sends(&d);
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

    pub(super) fn phone_out(&mut self, i: usize, mut out: phone::Out, taken: &[u8]) {
        self.tear(Node::Phone(i), &mut out.sends, &mut out.segments);
        self.phone_streams(&out);
        for segment in out.segments {
            self.send_segment(segment);
        }
        for event in &out.events {
            self.phone_event(i, event, taken);
        }
        for d in out.sends {
            let s7 = is_s7(self.phones[i].dialect(), &d.bytes);
            self.oracle.phone_sends(&self.phones[i], &d);
            self.send(d);
            if s7 && i >= self.scenario.phones {
                self.phones[i].crash();
                break;
            }
        }
        let due = self.phones[i].deadline();
        if let Some(at) = sooner(self.now_ms, due, &mut self.phone_wakes[i]) {
            self.at(at, Event::Wake(Node::Phone(i)));
        }
    }

    pub(super) fn stock_out(&mut self, i: usize, out: Option<Datagram>) {
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
            PhoneEvent::Connect { kid } => self.connect(i, *kid),
            PhoneEvent::Forget { kid } => self.hang_up(i, *kid),
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
}
