//! A proxy's lanes: what the control thread of a real one has sockets for, as plain values. Which terminal has which
//! port towards the core, and who makes room for whom.

use crate::net::addr;
use crate::prng::Prng;
use core::net::SocketAddr;
use portunus_engine::Lane;
use portunus_signalling::Protocol;
use std::collections::BTreeMap;

/// Milliseconds for which a lane without an active session is kept after its last message.
const LINGER_MS: u64 = 32_000;

/// A terminal's lane.
#[derive(Debug)]
struct Slot {
    port: u16,
    active: bool,
    used_ms: u64,
}

/// The lanes of one protocol.
#[derive(Debug)]
pub struct Lanes {
    proxy: usize,
    protocol: Protocol,
    workers: usize,
    limit: usize,
    /// By name and worker.
    slots: BTreeMap<(u64, usize), Slot>,
    rng: Prng,
}

impl Lanes {
    /// None open.
    pub fn new(proxy: usize, protocol: Protocol, workers: usize, limit: usize, rng: Prng) -> Self {
        let limit = limit.min(usize::from(addr::PORTS) / 2);
        Self { proxy, protocol, workers, limit, slots: BTreeMap::new(), rng }
    }

    /// Whose messages these lanes carry.
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// How many are open, of how many.
    pub fn open(&self) -> (usize, usize) {
        (self.slots.len(), self.limit)
    }

    /// The address that a message leaves by; `None` when every lane has an active session.
    pub fn send(&mut self, now_ms: u64, lane: Lane, worker: usize) -> Option<SocketAddr> {
        let Lane::Of(name) = lane else { return Some(addr::shared(self.proxy, self.protocol, worker)) };
        if !self.slots.contains_key(&(name, worker)) {
            if self.slots.len() >= self.limit {
                let idle = self.slots.iter().filter(|(_, slot)| !slot.active);
                let oldest = idle.min_by_key(|(_, slot)| slot.used_ms).map(|(whose, _)| *whose)?;
                self.slots.remove(&oldest);
            }
            let free = |port: &u16| self.slots.values().all(|slot| slot.port != *port);
            let free: Vec<u16> = (0..addr::PORTS).filter(free).collect();
            let port = *self.rng.pick(&free)?;
            self.slots.insert((name, worker), Slot { port, active: false, used_ms: now_ms });
        }
        let slot = self.slots.get_mut(&(name, worker))?;
        slot.used_ms = now_ms;
        Some(addr::terminal_lane(self.proxy, self.protocol, slot.port))
    }

    /// The lane of an address, and its worker; `None`: it is closed.
    pub fn at(&self, at: SocketAddr) -> Option<(usize, Lane)> {
        if let Some(worker) = (0..self.workers).find(|w| addr::shared(self.proxy, self.protocol, *w) == at) {
            return Some((worker, Lane::Shared));
        }
        let is = |slot: &Slot| addr::terminal_lane(self.proxy, self.protocol, slot.port) == at;
        let found = self.slots.iter().find(|(_, slot)| is(slot));
        found.map(|((name, worker), _)| (*worker, Lane::Of(*name)))
    }

    /// Something came by a lane.
    pub fn touch(&mut self, now_ms: u64, lane: Lane, worker: usize) {
        let Lane::Of(name) = lane else { return };
        if let Some(slot) = self.slots.get_mut(&(name, worker)) {
            slot.used_ms = now_ms;
        }
    }

    /// A terminal has, or has no longer, an active session at a worker.
    pub fn on_session(&mut self, now_ms: u64, name: u64, worker: usize, active: bool) {
        if let Some(slot) = self.slots.get_mut(&(name, worker)).filter(|slot| slot.active != active) {
            (slot.active, slot.used_ms) = (active, now_ms);
        }
    }

    /// Closes what has been idle for long.
    pub fn on_timer(&mut self, now_ms: u64) {
        self.slots.retain(|_, slot| slot.active || slot.used_ms + LINGER_MS > now_ms);
    }

    /// When [`Lanes::on_timer`] has something to do.
    pub fn next_deadline(&self) -> Option<u64> {
        self.slots.values().filter(|slot| !slot.active).map(|slot| slot.used_ms + LINGER_MS).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pool_is_bounded_and_the_longest_unused_makes_room() {
        let mut lanes = Lanes::new(0, Protocol::Mgcp, 2, 2, Prng::new(1));
        let a = lanes.send(1, Lane::Of(1), 0).unwrap();
        lanes.on_session(2, 1, 0, true);
        let b = lanes.send(3, Lane::Of(2), 1).unwrap();
        assert_eq!((lanes.at(a), lanes.at(b)), (Some((0, Lane::Of(1))), Some((1, Lane::Of(2)))));
        let c = lanes.send(4, Lane::Of(3), 0).unwrap();
        assert_eq!((lanes.at(c), lanes.open()), (Some((0, Lane::Of(3))), (2, 2)));
        lanes.on_session(5, 3, 0, true);
        assert_eq!(lanes.send(6, Lane::Of(4), 0), None, "every lane has a session");
        lanes.on_session(7, 1, 0, false);
        lanes.on_timer(7 + LINGER_MS - 1);
        assert_eq!((lanes.at(a), lanes.next_deadline()), (Some((0, Lane::Of(1))), Some(7 + LINGER_MS)));
        lanes.on_timer(7 + LINGER_MS);
        assert_eq!((lanes.at(a), lanes.open().0), (None, 1));
        let shared = lanes.send(8, Lane::Shared, 1).unwrap();
        assert_eq!(lanes.at(shared), Some((1, Lane::Shared)));
    }
}
