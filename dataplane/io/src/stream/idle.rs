//! How connections end: of idleness, of an opening that takes too long, or because somebody said so.

use super::connection::Connection;
use super::{NONE, Streams, handle, shelve};

impl Streams {
    /// Puts a connection at the young end of the idle list.
    pub(super) fn append(&mut self, slot: u32) {
        let last = self.newest;
        if let Some(connection) = self.connection(slot) {
            connection.older = last;
            connection.newer = NONE;
        }
        match self.connection(last) {
            Some(connection) => connection.newer = slot,
            None => self.oldest = slot,
        }
        self.newest = slot;
    }

    /// Takes a connection out of the idle list.
    pub(super) fn unlink(&mut self, slot: u32) {
        let Some((older, newer)) = self.connection(slot).map(|c| (c.older, c.newer)) else { return };
        match self.connection(older) {
            Some(connection) => connection.newer = newer,
            None => self.oldest = newer,
        }
        match self.connection(newer) {
            Some(connection) => connection.older = older,
            None => self.newest = older,
        }
    }

    /// Takes a connection out of everything. The owner hears of it where it gave the connection a number.
    pub(super) fn detach(&mut self, slot: u32) -> Option<Box<Connection>> {
        self.unlink(slot);
        let place = self.slots.get_mut(slot as usize)?;
        let connection = place.connection.take()?;
        if connection.mark != 0 {
            self.ended.push_back((connection.mark, handle(slot, place.generation)));
        }
        self.free.push(slot);
        self.open -= 1;
        Some(connection)
    }

    pub(super) fn close(&mut self, slot: u32) {
        // Closing the descriptor takes it out of epoll, too.
        let Some(connection) = self.detach(slot) else { return };
        let Connection { held, out, .. } = *connection;
        shelve(&mut self.spare, held);
        shelve(&mut self.spare, out);
    }

    /// Closes connections that were idle for too long; the oldest ones first, so it costs what it closes. Call it
    /// from time to time even before [`Streams::next_deadline`]: it also takes up accepting again after a want of
    /// descriptors.
    pub fn on_timer(&mut self, now_ms: u64) {
        self.accepting |= core::mem::take(&mut self.accept_later);
        while let Some(slot) = self.late_opening(now_ms) {
            self.counters.opening_late += 1;
            self.close(slot);
        }
        while self.idle_deadline().is_some_and(|deadline| deadline <= now_ms) {
            self.counters.idle += 1;
            self.close(self.oldest);
        }
    }

    /// The connection that should have opened by now; those that have opened, or are gone, are forgotten.
    fn late_opening(&mut self, now_ms: u64) -> Option<u32> {
        while let Some(&(ends_ms, conn)) = self.opening.front() {
            let waits = self.of(conn).filter(|(_, connection)| !connection.opened).map(|(slot, _)| slot);
            match waits {
                Some(_) if ends_ms > now_ms => return None,
                Some(slot) => return Some(slot),
                None => _ = self.opening.pop_front(),
            }
        }
        None
    }

    /// When the connection that is idle for longest will have been so for too long, or a layer should have opened, in
    /// milliseconds.
    pub fn next_deadline(&self) -> Option<u64> {
        let opening = self.opening.front().map(|&(ends_ms, _)| ends_ms);
        [opening, self.idle_deadline()].into_iter().flatten().min()
    }

    fn idle_deadline(&self) -> Option<u64> {
        let oldest = self.slots.get(self.oldest as usize)?.connection.as_deref()?;
        Some(oldest.active_ms.saturating_add(self.limits.idle_ms))
    }
}
