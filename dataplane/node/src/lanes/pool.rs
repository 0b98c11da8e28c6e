//! The pool of lanes: which terminal has which socket, and who makes room for whom.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::net::{IpAddr, SocketAddr};

use mio::event::Source;
use mio::{Interest, Registry, Token};
use portunus_io::{UdpPort, listen};

use super::LaneCounters;

/// A terminal's lane.
pub(super) struct Slot {
    pub(super) port: UdpPort,
    pub(super) name: u64,
    pub(super) worker: u8,
    /// The softswitch that was heard last.
    pub(super) peer: Option<SocketAddr>,
    /// Its terminal has an active session at its worker.
    pub(super) active: bool,
    used_ms: u64,
    /// It may have more to read.
    pub(super) ready: bool,
}

/// What sockets are opened with.
pub(super) struct Opening {
    pub(super) bind: IpAddr,
    /// The token of the first slot's socket.
    pub(super) first_token: usize,
}

/// All lanes of a link. Slots keep their numbers, which their tokens are made from.
pub(super) struct Pool {
    limit: usize,
    slots: Vec<Option<Slot>>,
    free: Vec<u32>,
    by_name: HashMap<(u64, u8), u32>,
    /// Lanes without an active session by the time of their last message.
    idle: BTreeSet<(u64, u32)>,
}

impl Pool {
    /// Empty, for at most `limit` lanes.
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, slots: Vec::new(), free: Vec::new(), by_name: HashMap::new(), idle: BTreeSet::new() }
    }

    /// Lanes open.
    pub(super) fn len(&self) -> usize {
        self.by_name.len()
    }

    pub(super) fn get(&mut self, slot: u32) -> Option<&mut Slot> {
        self.slots.get_mut(slot as usize).and_then(Option::as_mut)
    }

    pub(super) fn find(&self, name: u64, worker: u8) -> Option<u32> {
        self.by_name.get(&(name, worker)).copied()
    }

    /// The lane of this terminal at this worker, opened where there is none. `None`, and counted, where none can be had.
    pub(super) fn lane(
        &mut self,
        (name, worker): (u64, u8),
        now_ms: u64,
        registry: &Registry,
        opening: &Opening,
        counters: &mut LaneCounters,
    ) -> Option<u32> {
        if let Some(slot) = self.find(name, worker) {
            return Some(slot);
        }
        if self.len() >= self.limit {
            let Some(&(_, oldest)) = self.idle.first() else {
                counters.lane_none_free += 1;
                return None;
            };
            self.close(oldest, registry, counters);
            counters.lane_reused += 1;
        }
        let slot = self.free.last().copied().unwrap_or(self.slots.len() as u32);
        let Ok(port) = open(registry, opening, slot) else {
            counters.lane_unopened += 1;
            return None;
        };
        let opened = Slot { port, name, worker, peer: None, active: false, used_ms: now_ms, ready: false };
        match self.slots.get_mut(slot as usize) {
            Some(place) => *place = Some(opened),
            None => self.slots.push(Some(opened)),
        }
        self.free.pop();
        self.by_name.insert((name, worker), slot);
        self.idle.insert((now_ms, slot));
        counters.lane_opened += 1;
        counters.lane_open = self.len() as u64;
        Some(slot)
    }

    /// Closes a lane: what still comes for it is refused by the host.
    fn close(&mut self, slot: u32, registry: &Registry, counters: &mut LaneCounters) {
        let Some(mut closed) = self.slots.get_mut(slot as usize).and_then(Option::take) else { return };
        // The descriptor leaves the event queue when it is closed, whatever this says.
        let _ = closed.port.deregister(registry);
        self.by_name.remove(&(closed.name, closed.worker));
        self.idle.remove(&(closed.used_ms, slot));
        self.free.push(slot);
        counters.lane_open = self.len() as u64;
        counters.lane_active -= u64::from(closed.active);
    }

    /// Something passed the lane.
    pub(super) fn touch(&mut self, slot: u32, now_ms: u64) {
        let Some(lane) = self.slots.get_mut(slot as usize).and_then(Option::as_mut) else { return };
        let before = core::mem::replace(&mut lane.used_ms, now_ms);
        if !lane.active && before != now_ms {
            self.idle.remove(&(before, slot));
            self.idle.insert((now_ms, slot));
        }
    }

    /// The lane's terminal has, or has no longer, an active session.
    pub(super) fn set_active(&mut self, slot: u32, now_ms: u64, active: bool, counters: &mut LaneCounters) {
        let Some(lane) = self.slots.get_mut(slot as usize).and_then(Option::as_mut) else { return };
        if lane.active == active {
            return;
        }
        lane.active = active;
        let before = core::mem::replace(&mut lane.used_ms, now_ms);
        if active {
            self.idle.remove(&(before, slot));
            counters.lane_active += 1;
        } else {
            self.idle.insert((now_ms, slot));
            counters.lane_active -= 1;
        }
    }

    /// When the lane that has been unused for the longest time was used.
    pub(super) fn oldest(&self) -> Option<u64> {
        self.idle.first().map(|(used, _)| *used)
    }

    /// Closes the lanes without an active session that nothing has passed since `until_ms`.
    pub(super) fn close_idle(&mut self, until_ms: u64, registry: &Registry, counters: &mut LaneCounters) {
        while let Some(&(used, slot)) = self.idle.first()
            && used <= until_ms
        {
            self.close(slot, registry, counters);
            counters.lane_closed += 1;
        }
    }
}

/// Datagrams received by one system call: an acknowledgement and the step behind it, and one that shows there are no more.
const BATCH: usize = 3;

fn open(registry: &Registry, opening: &Opening, slot: u32) -> io::Result<UdpPort> {
    let socket = listen::udp_small(SocketAddr::new(opening.bind, 0))?;
    let mut port = UdpPort::unconnected(socket, BATCH);
    port.register(registry, Token(opening.first_token + slot as usize), Interest::READABLE)?;
    Ok(port)
}

#[cfg(test)]
mod tests {
    use super::*;
    use mio::Poll;
    use std::net::Ipv4Addr;

    #[test]
    fn the_longest_unused_without_a_session_makes_room() {
        let poll = Poll::new().unwrap();
        let opening = Opening { bind: Ipv4Addr::LOCALHOST.into(), first_token: 16 };
        let (mut pool, mut c) = (Pool::new(3), LaneCounters::default());
        let lane =
            |pool: &mut Pool, name, now, c: &mut LaneCounters| pool.lane((name, 0), now, poll.registry(), &opening, c);
        let [a, b, d] = [1, 2, 3].map(|name| lane(&mut pool, name, name, &mut c).unwrap());
        assert_eq!(lane(&mut pool, 1, 4, &mut c), Some(a));
        pool.set_active(a, 5, true, &mut c);
        pool.touch(b, 6);
        // The third was used last of all but the first, which has a session.
        assert_eq!(lane(&mut pool, 4, 7, &mut c), Some(d));
        assert_eq!((pool.find(3, 0), pool.find(4, 0), c.lane_reused, c.lane_active), (None, Some(d), 1, 1));
        pool.set_active(b, 8, true, &mut c);
        pool.set_active(d, 8, true, &mut c);
        assert_eq!((lane(&mut pool, 5, 9, &mut c), c.lane_none_free, pool.oldest()), (None, 1, None));
        // A session that ends leaves its lane for a while, to whoever it was.
        pool.set_active(a, 10, false, &mut c);
        pool.close_idle(9, poll.registry(), &mut c);
        assert_eq!((pool.find(1, 0), pool.oldest()), (Some(a), Some(10)));
        pool.close_idle(10, poll.registry(), &mut c);
        assert_eq!((pool.find(1, 0), pool.len(), c.lane_closed, c.lane_active), (None, 2, 1, 2));
        assert_eq!(lane(&mut pool, 5, 11, &mut c), Some(a));
        // Another worker's lane for the same terminal is another one.
        pool.set_active(a, 12, false, &mut c);
        assert_eq!(pool.lane((2, 1), 13, poll.registry(), &opening, &mut c), Some(a));
        assert_eq!((pool.find(2, 0), pool.find(2, 1), c.lane_open, c.lane_opened), (Some(b), Some(a), 3, 6));
    }
}
