//! Timers: a hierarchical wheel of four levels of 64 slots, intrusive, 12 octets a timer, no allocation.
//!
//! A tick is 64 ms; level 0 spans 4 s, level 1 four minutes, level 2 four and a half hours, level 3 twelve days. A
//! timer never fires early, and at most one tick late.

/// Milliseconds of a tick.
pub(crate) const TICK_MS: u64 = 64;

const LEVELS: usize = 4;
const SLOTS: usize = 64;
/// The list of timers that are due, after those of the slots.
const READY: usize = LEVELS * SLOTS;
/// How far ahead a timer may be, in ticks: four years. Farther ones come then.
const AHEAD_MAX: u64 = i32::MAX as u64;
/// In `prev`: the rest is a list's number, not a timer's.
const HEAD: u32 = 1 << 31;

/// A timer's place. All zero: not armed.
#[derive(Clone, Copy)]
struct Link {
    /// The timer behind it plus one; 0 at the end.
    next: u32,
    /// The timer before it plus one, or `HEAD` and its list's number plus one.
    prev: u32,
    /// When, in ticks: the low half, which together with the current tick says the whole.
    due: u32,
}

/// The wheel. Timers are numbers below the capacity.
pub(crate) struct Wheel {
    links: Vec<[u32; 3]>,
    heads: [u32; READY + 1],
    /// A bit for each slot that is not empty.
    filled: [u64; LEVELS],
    tick: u64,
    armed: usize,
}

impl Wheel {
    pub(crate) fn new(timers: usize) -> Self {
        Self { links: vec![[0; 3]; timers], heads: [0; READY + 1], filled: [0; LEVELS], tick: 0, armed: 0 }
    }

    fn link(&self, timer: u32) -> Link {
        let [next, prev, due] = self.links.get(timer as usize).copied().unwrap_or_default();
        Link { next, prev, due }
    }

    fn set(&mut self, timer: u32, link: Link) {
        if let Some(place) = self.links.get_mut(timer as usize) {
            *place = [link.next, link.prev, link.due];
        }
    }

    fn head(&self, list: usize) -> u32 {
        self.heads.get(list).copied().unwrap_or_default()
    }

    fn set_head(&mut self, list: usize, timer_plus_one: u32) {
        if let Some(head) = self.heads.get_mut(list) {
            *head = timer_plus_one;
        }
        if let Some(bits) = self.filled.get_mut(list / SLOTS) {
            let bit = 1u64 << (list % SLOTS);
            *bits = if timer_plus_one == 0 { *bits & !bit } else { *bits | bit };
        }
    }

    /// The list for a time, seen from the current tick.
    fn list_for(&self, due: u64) -> usize {
        let ahead = due.saturating_sub(self.tick);
        let level = match ahead {
            0..64 => 0,
            64..4_096 => 1,
            4_096..262_144 => 2,
            _ => 3,
        };
        // What is farther than the wheel spans waits in the last slot and is placed again from there.
        let at = due.min(self.tick + (1 << 24) - 1) >> (6 * level);
        level * SLOTS + (at as usize & (SLOTS - 1))
    }

    fn insert(&mut self, list: usize, timer: u32, due: u32) {
        let next = self.head(list);
        self.set(timer, Link { next, prev: HEAD | (list as u32 + 1), due });
        if let Some(behind) = next.checked_sub(1) {
            let link = self.link(behind);
            self.set(behind, Link { prev: timer + 1, ..link });
        }
        self.set_head(list, timer + 1);
    }

    fn unlink(&mut self, timer: u32) -> Link {
        let link = self.link(timer);
        if link.prev & HEAD != 0 {
            self.set_head((link.prev & !HEAD) as usize - 1, link.next);
        } else if let Some(before) = link.prev.checked_sub(1) {
            let other = self.link(before);
            self.set(before, Link { next: link.next, ..other });
        }
        if let Some(behind) = link.next.checked_sub(1) {
            let other = self.link(behind);
            self.set(behind, Link { prev: link.prev, ..other });
        }
        self.set(timer, Link { next: 0, prev: 0, due: 0 });
        link
    }

    /// Arms `timer`, or arms it anew, for `due_ms` on the monotonic clock.
    pub(crate) fn arm(&mut self, now_ms: u64, timer: u32, due_ms: u64) {
        self.disarm(timer);
        if self.armed == 0 {
            self.tick = self.tick.max(now_ms / TICK_MS);
        }
        let due = due_ms.div_ceil(TICK_MS).clamp(self.tick + 1, self.tick + AHEAD_MAX);
        self.insert(self.list_for(due), timer, due as u32);
        self.armed += 1;
    }

    /// Disarms `timer`; nothing happens when it is not armed.
    pub(crate) fn disarm(&mut self, timer: u32) {
        if self.link(timer).prev != 0 {
            self.unlink(timer);
            self.armed -= 1;
        }
    }

    /// The next tick at which a slot has to be looked at, and whether timers in it are due then.
    fn next_tick(&self) -> Option<(u64, bool)> {
        let near = |level: usize| {
            let bits = self.filled.get(level).copied().filter(|bits| *bits != 0)?;
            let position = self.tick >> (6 * level);
            let turned = bits.rotate_right((position as u32 + 1) & 63);
            let ahead = u64::from(turned.trailing_zeros()) + 1;
            Some(((position + ahead) << (6 * level), level == 0))
        };
        (0..LEVELS).filter_map(near).min()
    }

    /// When [`Wheel::pop`] has something to do, in milliseconds, and the timer that is due, where that is certain.
    pub(crate) fn next_deadline(&self) -> Option<(u64, Option<u32>)> {
        if let Some(timer) = self.head(READY).checked_sub(1) {
            return Some((self.tick * TICK_MS, Some(timer)));
        }
        let (tick, exact) = self.next_tick()?;
        let timer = if exact { self.head(tick as usize % SLOTS).checked_sub(1) } else { None };
        Some((tick * TICK_MS, timer))
    }

    /// The whole time of a link's half, which is not far from the current tick.
    fn whole(&self, due: u32) -> u64 {
        let ahead = due.wrapping_sub(self.tick as u32) as i32;
        self.tick.saturating_add_signed(ahead.into())
    }

    /// Places the timers of a higher slot anew.
    fn cascade(&mut self, list: usize) {
        while let Some(timer) = self.head(list).checked_sub(1) {
            let due = self.unlink(timer).due;
            self.insert(self.list_for(self.whole(due)), timer, due);
        }
    }

    /// Moves to the next filled slot that is not later than `target`; false when there is none.
    fn step(&mut self, target: u64) -> bool {
        match self.next_tick() {
            Some((tick, _)) if tick <= target => self.tick = tick,
            _ => {
                self.tick = self.tick.max(target);
                return false;
            }
        }
        for level in (1..LEVELS).rev() {
            if self.tick & ((1 << (6 * level)) - 1) == 0 {
                self.cascade(level * SLOTS + ((self.tick >> (6 * level)) as usize & (SLOTS - 1)));
            }
        }
        let slot = self.tick as usize & (SLOTS - 1);
        while let Some(timer) = self.head(slot).checked_sub(1) {
            let due = self.unlink(timer).due;
            self.insert(READY, timer, due);
        }
        true
    }

    /// Takes one timer that is due at `now_ms`.
    pub(crate) fn pop(&mut self, now_ms: u64) -> Option<u32> {
        loop {
            if let Some(timer) = self.head(READY).checked_sub(1) {
                self.unlink(timer);
                self.armed -= 1;
                return Some(timer);
            }
            if !self.step(now_ms / TICK_MS) {
                return None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    #[test]
    fn far_timers_come_in_time() {
        // Also where ticks outgrow 32 bits, and far beyond.
        for start in [0u64, 63, 4_095 * 64, 1_000_003, (1 << 38) - 5_000, 1 << 40] {
            let mut wheel = Wheel::new(8);
            let dues = [1, 65, 4_000, 4_097, 300_000, 20_000_000, 86_400_000, 604_800_000];
            for (timer, due) in dues.iter().enumerate() {
                wheel.arm(start, timer as u32, start + due);
            }
            for (timer, due) in dues.iter().enumerate() {
                assert_eq!(wheel.pop(start + due - 1), None, "{start} {due}");
                let fires = (start + due).div_ceil(TICK_MS) * TICK_MS;
                assert_eq!(wheel.pop(fires), Some(timer as u32), "{start} {due}");
            }
            assert_eq!(wheel.next_deadline(), None);
        }
    }

    proptest! {
        /// Against a map: every timer fires once, not early, and at most a tick late; disarmed ones do not fire; and
        /// going by next_deadline misses nothing.
        #[test]
        fn agrees_with_a_map(
            start in 0u64..100_000_000,
            ops in proptest::collection::vec((0u32..24, 0u64..600_000, 0u64..90_000, any::<bool>()), 1..120),
        ) {
            let mut wheel = Wheel::new(24);
            let mut map: BTreeMap<u32, u64> = BTreeMap::new();
            let mut now = start;
            for (timer, delay, pass, disarm) in ops {
                if disarm {
                    wheel.disarm(timer);
                    map.remove(&timer);
                } else {
                    wheel.arm(now, timer, now + delay);
                    map.insert(timer, now + delay);
                }
                let end = now + pass;
                while let Some((at, _)) = wheel.next_deadline().filter(|(at, _)| *at <= end) {
                    now = now.max(at);
                    while let Some(fired) = wheel.pop(now) {
                        let due = map.remove(&fired);
                        prop_assert!(due.is_some_and(|due| due <= now && now <= due + 2 * TICK_MS), "{due:?} {now}");
                    }
                }
                now = end;
                prop_assert!(map.values().all(|due| *due + 2 * TICK_MS > now), "{map:?} {now}");
            }
        }
    }
}
