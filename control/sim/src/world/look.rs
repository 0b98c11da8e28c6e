//! What must always hold: tables within their bounds, bindings that somebody earned, and who is well and who is not.

use super::{CHECK_MS, Event, World};
use crate::attack::nobody;
use crate::clock::Clock;
use crate::dialect;
use crate::net::addr;
use crate::phone::Phone;
use crate::proxy::CAPACITY;
use crate::switch::Switch;
use core::net::SocketAddr;
use portunus_engine::Lane;
use portunus_signalling::Protocol;

impl World {
    pub(super) fn check(&mut self) {
        for proxy in self.proxies.iter().filter_map(|p| p.it.as_ref()) {
            let (pendings, sessions) = proxy.load();
            if pendings > CAPACITY.pendings as u64 || sessions > CAPACITY.sessions as u64 {
                self.oracle.forbid("a proxy's table is fuller than it may be");
            }
            if !proxy.lanes_bounded() {
                self.oracle.forbid("a proxy has more lanes than it may");
            }
        }
        let nobodies = (0..self.scenario.nobodies).flat_map(|n| dialect::ALL.iter().map(move |d| d.idc(&nobody(n))));
        let idcs = self.owners().map(|p| p.idc.clone()).chain(nobodies);
        for idc in idcs.chain(self.stock.iter().map(|s| s.idc.clone())).collect::<Vec<_>>() {
            let bindings = self.bindings(&idc);
            for binding in &bindings {
                self.oracle.bound(&idc, binding);
                if let Some((protocol, lane)) = lane_address(binding) {
                    self.oracle.reached_by(&idc, protocol, lane);
                }
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
        if let Some((_, at)) = lane_address(binding) {
            return addr::proxy_of(at).or_else(|| Lane::of_virtual_address(at).map(|_| 0));
        }
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
                (Some(a), Some(b)) if !self.oracle.agreed(phone, self.life(p), a, b) => {
                    Some(format!("{} and its proxy do not hold the same session", phone.idc))
                }
                (Some(a), _) if !self.is_connected(phone, a) => Some(format!("{} has no connection", phone.idc)),
                _ => (!self.is_reachable(&phone.idc, p)).then(|| format!("{} cannot be reached", phone.idc)),
            }
        })
    }

    /// True unless a session is one of `tls` and nothing can pass in it at present.
    fn is_connected(&self, phone: &Phone, kid: u64) -> bool {
        let proxy = self.proxies[phone.proxy].it.as_ref();
        let wired = || phone.open_wire(kid).is_some_and(|conn| proxy.is_some_and(|proxy| proxy.is_wired(conn)));
        !self.oracle.is_stream(phone, kid) || wired()
    }

    /// True when the softswitch reaches somebody through this proxy: by a lane that is open, where there are lanes.
    fn is_reachable(&self, idc: &str, p: usize) -> bool {
        let bindings = self.bindings(idc);
        let Some(binding) = bindings.first() else { return false };
        let open = |at| self.proxies[p].it.as_ref().is_some_and(|proxy| proxy.is_lane(at));
        self.proxy_of(binding) == Some(p) && lane_address(binding).is_none_or(|(_, at)| open(at))
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

/// What a binding to a lane says; `None` for SIP's, which have none.
fn lane_address(binding: &str) -> Option<(Protocol, SocketAddr)> {
    let (scheme, at) = binding.split_once(':')?;
    let protocol = match scheme {
        "mgcp" => Protocol::Mgcp,
        "h248" => Protocol::H248,
        "ras" => Protocol::Ras,
        _ => return None,
    };
    Some((protocol, at.parse().ok()?))
}
