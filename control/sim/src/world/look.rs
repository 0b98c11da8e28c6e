//! What must always hold: tables within their bounds, bindings that somebody earned, and who is well and who is not.

use super::{CHECK_MS, Event, World};
use crate::attack::nobody;
use crate::clock::Clock;
use crate::net::addr;
use crate::proxy::CAPACITY;
use crate::switch::Switch;

impl World {
    pub(super) fn check(&mut self) {
        for proxy in self.proxies.iter().filter_map(|p| p.it.as_ref()) {
            let (pendings, sessions) = proxy.load();
            if pendings > CAPACITY.pendings as u64 || sessions > CAPACITY.sessions as u64 {
                self.oracle.forbid("a proxy's table is fuller than it may be");
            }
        }
        let idcs = self.owners().map(|p| p.idc.clone()).chain((0..self.scenario.nobodies).map(nobody));
        for idc in idcs.chain(self.stock.iter().map(|s| s.idc.clone())).collect::<Vec<_>>() {
            let bindings = self.bindings(&idc);
            for binding in &bindings {
                self.oracle.bound(&idc, binding);
            }
            let places: Vec<usize> = bindings.iter().filter_map(|b| self.proxy_of(b)).collect();
            self.oracle.placed(self.now_ms, &idc, &places);
        }
        if let Some(table) = self.a_switch().and_then(|(s, _)| s.overfull()) {
            self.oracle.forbid(format!("the softswitch's table of {table} is fuller than it may be"));
        }
        match self.trouble() {
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

    /// The proxy that a binding leads to.
    fn proxy_of(&self, binding: &str) -> Option<usize> {
        (0..self.scenario.proxies).find(|p| binding.ends_with(&format!("@{}", addr::core(*p))))
    }

    /// Who is not registered and reachable, and why not.
    pub fn trouble(&self) -> Option<String> {
        let stock = self.stock.iter().find(|s| self.bindings(&s.idc).is_empty());
        if let Some(phone) = stock {
            return Some(format!("{} cannot be reached", phone.idc));
        }
        self.owners().find_map(|phone| {
            let p = phone.proxy;
            let theirs = self.proxies[p].it.as_ref().and_then(|proxy| proxy.active(&phone.idc));
            match (phone.active(), theirs) {
                (None, _) => Some(format!("{} is not registered", phone.idc)),
                (_, None) => Some(format!("the proxy has no session of {}", phone.idc)),
                (Some(a), Some(b)) if a != b || !self.oracle.agreed(phone, self.life(p), a) => {
                    Some(format!("{} and its proxy do not hold the same session", phone.idc))
                }
                _ if self.bindings(&phone.idc).first().and_then(|b| self.proxy_of(b)) != Some(p) => {
                    Some(format!("{} cannot be reached", phone.idc))
                }
                _ => None,
            }
        })
    }

    /// At the end: nobody's state shows a key.
    pub(super) fn last_look(&mut self) {
        let mut texts = vec![format!("{:?} {:?}", self.attackers, self.store)];
        texts.extend(self.proxies.iter().map(|p| format!("{:?}", p.it)));
        texts.extend(self.phones.iter().map(|p| format!("{p:?}")));
        texts.push(format!("{:?} {:?}", self.switch.it, self.auc.it));
        for text in texts {
            self.oracle.look("what a role's Debug prints", text.as_bytes());
        }
    }
}
