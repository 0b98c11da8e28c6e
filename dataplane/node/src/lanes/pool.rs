//! The pool of lanes: which terminal has which socket, and who makes room for whom.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;

use mio::event::Source;
use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use portunus_io::listen;

use super::LaneCounters;

/// A terminal's lane.
pub(super) struct Slot {
    pub(super) socket: UdpSocket,
    pub(super) name: u64,
    pub(super) worker: u8,
    /// The softswitch that was heard last.
    pub(super) peer: Option<SocketAddr>,
    /// Its terminal has an active session at its worker.
    pub(super) active: bool,
    used_ms: u64,
    /// It may have more to read.
    pub(super) ready: bool,
    /// While it is idle: the idle lanes used just before and just after it, as slot + 1; 0: none.
    before: u32,
    after: u32,
}

/// What sockets are opened with.
pub(super) struct Opening {
    pub(super) bind: IpAddr,
    /// The token of the first slot's socket.
    pub(super) first_token: usize,
}

/// Names are keyed hashes already (see [`portunus_engine::Lane::name`]): nobody outside chooses where they fall.
#[derive(Default)]
struct AsItIs(u64);

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, octets: &[u8]) {
        octets.iter().for_each(|octet| self.write_u8(*octet));
    }

    fn write_u8(&mut self, worker: u8) {
        self.0 = self.0.rotate_left(8) ^ u64::from(worker);
    }

    fn write_u64(&mut self, name: u64) {
        self.0 ^= name;
    }
}

/// All lanes of a link. Slots keep their numbers, which their tokens are made from.
pub(super) struct Pool {
    limit: usize,
    slots: Vec<Option<Slot>>,
    free: Vec<u32>,
    by_name: HashMap<(u64, u8), u32, BuildHasherDefault<AsItIs>>,
    /// The lanes without an active session that were used first and last, as slot + 1: a list in the order of time.
    idle_first: u32,
    idle_last: u32,
}

impl Pool {
    /// Empty, for at most `limit` lanes; all its memory is reserved.
    pub(super) fn new(limit: usize) -> Self {
        let (slots, free) = (Vec::with_capacity(limit), Vec::with_capacity(limit));
        let by_name = HashMap::with_capacity_and_hasher(limit, BuildHasherDefault::default());
        Self { limit, slots, free, by_name, idle_first: 0, idle_last: 0 }
    }

    /// Lanes open.
    pub(super) fn len(&self) -> usize {
        self.by_name.len()
    }

    /// True when no further lane can be had unless one makes room.
    pub(super) fn is_full(&self) -> bool {
        self.len() >= self.limit
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
        if self.is_full() {
            let Some(oldest) = self.idle_first.checked_sub(1) else {
                counters.lane_none_free += 1;
                return None;
            };
            self.close(oldest, registry, counters);
            counters.lane_reused += 1;
        }
        let slot = self.free.last().copied().unwrap_or(self.slots.len() as u32);
        let Ok(socket) = open(registry, opening, slot) else {
            counters.lane_unopened += 1;
            return None;
        };
        let (peer, active, ready) = (None, false, false);
        let opened = Slot { socket, name, worker, peer, active, used_ms: now_ms, ready, before: 0, after: 0 };
        match self.slots.get_mut(slot as usize) {
            Some(place) => *place = Some(opened),
            None => self.slots.push(Some(opened)),
        }
        self.free.pop();
        self.by_name.insert((name, worker), slot);
        self.queue(slot);
        counters.lane_opened += 1;
        counters.lane_open = self.len() as u64;
        Some(slot)
    }

    /// Closes a lane: what still comes for it is refused by the host.
    fn close(&mut self, slot: u32, registry: &Registry, counters: &mut LaneCounters) {
        if self.get(slot).is_some_and(|lane| !lane.active) {
            self.unqueue(slot);
        }
        let Some(closed) = self.slots.get_mut(slot as usize).and_then(Option::take) else { return };
        // The descriptor leaves the event queue when it is closed, whatever this says.
        let _ = SourceFd(&closed.socket.as_raw_fd()).deregister(registry);
        self.by_name.remove(&(closed.name, closed.worker));
        self.free.push(slot);
        counters.lane_open = self.len() as u64;
        counters.lane_active -= u64::from(closed.active);
    }

    /// Something passed the lane.
    pub(super) fn touch(&mut self, slot: u32, now_ms: u64) {
        let Some(lane) = self.get(slot) else { return };
        let before = core::mem::replace(&mut lane.used_ms, now_ms);
        if !lane.active && before != now_ms {
            self.unqueue(slot);
            self.queue(slot);
        }
    }

    /// The lane's terminal has, or has no longer, an active session.
    pub(super) fn set_active(&mut self, slot: u32, now_ms: u64, active: bool, counters: &mut LaneCounters) {
        let Some(lane) = self.get(slot) else { return };
        if lane.active == active {
            return;
        }
        lane.active = active;
        lane.used_ms = now_ms;
        if active {
            self.unqueue(slot);
            counters.lane_active += 1;
        } else {
            self.queue(slot);
            counters.lane_active -= 1;
        }
    }

    /// Puts a lane, used just now, at the end of the idle ones.
    fn queue(&mut self, slot: u32) {
        let last = core::mem::replace(&mut self.idle_last, slot + 1);
        match last.checked_sub(1).and_then(|last| self.get(last)) {
            Some(last) => last.after = slot + 1,
            None => self.idle_first = slot + 1,
        }
        if let Some(lane) = self.get(slot) {
            (lane.before, lane.after) = (last, 0);
        }
    }

    /// Takes a lane out of the idle ones.
    fn unqueue(&mut self, slot: u32) {
        let Some(lane) = self.get(slot) else { return };
        let (before, after) = (lane.before, lane.after);
        match before.checked_sub(1).and_then(|before| self.get(before)) {
            Some(lane) => lane.after = after,
            None => self.idle_first = after,
        }
        match after.checked_sub(1).and_then(|after| self.get(after)) {
            Some(lane) => lane.before = before,
            None => self.idle_last = before,
        }
    }

    /// When the lane that has been unused for the longest time was used.
    pub(super) fn oldest(&self) -> Option<u64> {
        let slot = self.idle_first.checked_sub(1)?;
        self.slots.get(slot as usize)?.as_ref().map(|lane| lane.used_ms)
    }

    /// Closes the lanes without an active session that nothing has passed since `until_ms`.
    pub(super) fn close_idle(&mut self, until_ms: u64, registry: &Registry, counters: &mut LaneCounters) {
        while self.oldest().is_some_and(|used| used <= until_ms)
            && let Some(slot) = self.idle_first.checked_sub(1)
        {
            self.close(slot, registry, counters);
            counters.lane_closed += 1;
        }
    }
}

fn open(registry: &Registry, opening: &Opening, slot: u32) -> io::Result<UdpSocket> {
    let socket = listen::udp_small(SocketAddr::new(opening.bind, 0))?;
    let token = Token(opening.first_token + slot as usize);
    SourceFd(&socket.as_raw_fd()).register(registry, token, Interest::READABLE)?;
    Ok(socket)
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
