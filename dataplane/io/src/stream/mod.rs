//! Streams cut into messages: connections over mio with bounded buffers and bounded patience.
//!
//! A connection is born by `accept`, or refused when the limit is reached; it dies when the peer closes, the framing
//! finds garbage, the peer does not read what it is sent ([`StreamLimits::write_max`]), or no complete message has
//! arrived for [`StreamLimits::idle_ms`] (a peer that dribbles octets does not count as alive).
//!
//! ```text
//!            accept                 complete message
//! (slot) ------------> idle list <--------------------+
//!    ^                     |                          |
//!    |  close, garbage,    | readable: read once, cut, |
//!    +--- slow reader, ----+--- hand out, requeue -----+
//!         idle for too long
//! ```
//!
//! Events are edge-triggered: a connection that may have more to read stays in the queue of ready ones, and each
//! gets one read a turn, so that no peer starves another. Buffers come from a small pool and go back to it: an idle
//! connection holds none.

mod connection;
mod frame;
mod limits;

use core::ops::Range;
use std::collections::VecDeque;
use std::io::{self, Write};
use std::net::SocketAddr;

use mio::event::Event;
use mio::net::{TcpListener, TcpStream};
use mio::{Interest, Registry, Token};

use connection::{Connection, End, Input};
use frame::{FRAMES, cut};
pub use frame::{Frame, Framing, HEADER, Header, Scratch};
pub use limits::{StreamCounters, StreamLimits, Undeliverable};

const NONE: u32 = u32::MAX;
const SLOT_BITS: u32 = 20;
const READ: usize = 16 * 1024;
const SPARE_BUFFERS: usize = 256;

#[derive(Debug, Default)]
struct Slot {
    generation: u16,
    connection: Option<Box<Connection>>,
}

/// Whose messages one turn brought; the messages are in the [`Scratch`] that the turn was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Turn {
    /// The connection's handle for [`Streams::write_with`], never 0.
    pub conn: u32,
    /// The number that [`Streams::listen`] was given.
    pub listener: u8,
    /// The peer.
    pub peer: SocketAddr,
}

/// Listeners and their connections.
pub struct Streams {
    limits: StreamLimits,
    tokens: Range<usize>,
    listeners: Vec<(TcpListener, u8, Framing)>,
    slots: Vec<Slot>,
    free: Vec<u32>,
    ready: VecDeque<u32>,
    dirty: Vec<u32>,
    spare: Vec<Vec<u8>>,
    accepting: bool,
    accept_later: bool,
    oldest: u32,
    newest: u32,
    open: usize,
    counters: StreamCounters,
}

impl core::fmt::Debug for Streams {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Streams").field("open", &self.open).field("counters", &self.counters).finish_non_exhaustive()
    }
}

/// Listeners that a set can have.
pub const LISTENERS_MAX: usize = 32;

impl Streams {
    /// A set without listeners. It registers tokens in `first_token ..` only; see [`Streams::tokens`].
    pub fn new(limits: StreamLimits, first_token: usize) -> Self {
        let connections = limits.connections.clamp(1, (1 << SLOT_BITS) - 1);
        let limits = StreamLimits { connections, message_max: limits.message_max.clamp(1, 1 << 20), ..limits };
        Self {
            limits,
            tokens: first_token..first_token + LISTENERS_MAX + connections,
            listeners: Vec::new(),
            slots: Vec::new(),
            free: Vec::new(),
            ready: VecDeque::new(),
            dirty: Vec::new(),
            spare: Vec::with_capacity(SPARE_BUFFERS),
            accepting: false,
            accept_later: false,
            oldest: NONE,
            newest: NONE,
            open: 0,
            counters: StreamCounters::default(),
        }
    }

    /// The tokens that this set registers.
    pub fn tokens(&self) -> Range<usize> {
        self.tokens.clone()
    }

    /// What happened so far.
    pub fn counters(&self) -> &StreamCounters {
        &self.counters
    }

    /// Connections open now.
    pub fn open(&self) -> usize {
        self.open
    }

    /// A buffer for [`Streams::turn`].
    pub fn scratch(&self) -> Scratch {
        let octets = vec![0; HEADER + self.limits.message_max + READ].into_boxed_slice();
        Scratch { octets, frames: Vec::with_capacity(FRAMES) }
    }

    /// Adds a bound, non-blocking listener. `listener` comes back with every message of its connections, which
    /// `framing` cuts.
    ///
    /// # Errors
    /// What the system reports; more than [`LISTENERS_MAX`] listeners.
    pub fn listen(
        &mut self,
        registry: &Registry,
        socket: std::net::TcpListener,
        listener: u8,
        framing: Framing,
    ) -> io::Result<()> {
        if self.listeners.len() == LISTENERS_MAX {
            return Err(io::Error::from(io::ErrorKind::QuotaExceeded));
        }
        let mut socket = TcpListener::from_std(socket);
        registry.register(&mut socket, Token(self.tokens.start + self.listeners.len()), Interest::READABLE)?;
        self.listeners.push((socket, listener, framing));
        Ok(())
    }

    /// Takes note of an event for one of its tokens.
    pub fn on_event(&mut self, event: &Event) {
        let Some(at) = event.token().0.checked_sub(self.tokens.start) else { return };
        let Some(slot) = at.checked_sub(LISTENERS_MAX) else {
            self.accepting = true;
            return;
        };
        let slot = slot as u32;
        let Some(connection) = self.connection(slot) else { return };
        connection.closing |= event.is_read_closed() || event.is_error();
        let writable = event.is_writable() && !connection.out.is_empty() && !connection.dirty;
        connection.dirty |= writable;
        let readable = (event.is_readable() || connection.closing) && !connection.queued;
        connection.queued |= readable;
        if writable {
            self.dirty.push(slot);
        }
        if readable {
            self.ready.push_back(slot);
        }
    }

    /// True while a [`Streams::turn`] or [`Streams::accept`] has something to do without a further event.
    pub fn hungry(&self) -> bool {
        self.accepting || !self.ready.is_empty()
    }

    /// Accepts what waits at the listeners, at most `budget` connections.
    pub fn accept(&mut self, registry: &Registry, now_ms: u64, mut budget: usize) {
        if !core::mem::take(&mut self.accepting) {
            return;
        }
        for nth in 0..self.listeners.len() {
            while let Some((socket, listener, framing)) = self.listeners.get(nth) {
                if budget == 0 {
                    self.accepting = true;
                    return;
                }
                budget -= 1;
                let from = (*listener, *framing);
                match socket.accept() {
                    Ok((stream, peer)) => self.welcome(registry, stream, peer, from, now_ms),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(error) => {
                        self.counters.accept_failed += 1;
                        // A connection that died in the queue says nothing of the next; a want of descriptors does.
                        if matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM)) {
                            self.accept_later = true;
                            return;
                        }
                    }
                }
            }
        }
    }

    fn welcome(
        &mut self,
        registry: &Registry,
        stream: TcpStream,
        peer: SocketAddr,
        (listener, framing): (u8, Framing),
        now_ms: u64,
    ) {
        if self.open >= self.limits.connections {
            self.counters.refused += 1;
            return;
        }
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            (self.slots.len() - 1) as u32
        });
        let mut connection = Box::new(Connection {
            stream,
            peer: crate::addr::canonical(peer),
            listener,
            framing,
            held: Vec::new(),
            more_held: false,
            out: Vec::new(),
            out_from: 0,
            queued: false,
            dirty: false,
            closing: false,
            active_ms: now_ms,
            older: NONE,
            newer: NONE,
        });
        // Answers are small and awaited: nothing gains from Nagle's delay. A failure costs latency only.
        let _ = connection.stream.set_nodelay(true);
        let token = Token(self.tokens.start + LISTENERS_MAX + slot as usize);
        let both = Interest::READABLE | Interest::WRITABLE;
        if registry.register(&mut connection.stream, token, both).is_err() {
            self.counters.accept_failed += 1;
            self.free.push(slot);
            return;
        }
        let Some(place) = self.slots.get_mut(slot as usize) else { return };
        place.generation = if place.generation >= 0xFFF { 1 } else { place.generation + 1 };
        place.connection = Some(connection);
        self.open += 1;
        self.counters.accepted += 1;
        self.append(slot);
    }

    fn connection(&mut self, slot: u32) -> Option<&mut Connection> {
        self.slots.get_mut(slot as usize)?.connection.as_deref_mut()
    }

    /// Puts a connection at the young end of the idle list.
    fn append(&mut self, slot: u32) {
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
    fn unlink(&mut self, slot: u32) {
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

    fn close(&mut self, slot: u32) {
        self.unlink(slot);
        let Some(place) = self.slots.get_mut(slot as usize) else { return };
        // Closing the descriptor takes it out of epoll, too.
        let Some(connection) = place.connection.take() else { return };
        self.free.push(slot);
        self.open -= 1;
        let Connection { held, out, .. } = *connection;
        shelve(&mut self.spare, held);
        shelve(&mut self.spare, out);
    }

    /// Reads once from the next connection that has something, and cuts it. `None` when none is left.
    ///
    /// A turn may bring no message. Call until `None`, or until a budget is spent: [`Streams::hungry`] says whether
    /// there is more.
    pub fn turn(&mut self, now_ms: u64, scratch: &mut Scratch) -> Option<Turn> {
        let slot = self.ready.pop_front()?;
        scratch.frames.clear();
        match self.fill_and_cut(slot, scratch, now_ms) {
            Ok(alive) => {
                if alive {
                    self.unlink(slot);
                    self.append(slot);
                }
                let place = self.slots.get(slot as usize)?;
                let connection = place.connection.as_deref()?;
                let conn = handle(slot, place.generation);
                return Some(Turn { conn, listener: connection.listener, peer: connection.peer });
            }
            Err(End::Closed) => self.counters.closed += 1,
            Err(End::Broken) => self.counters.broken += 1,
            Err(End::Stale) => {}
        }
        // What arrived before the end is not served: nobody could be answered.
        scratch.frames.clear();
        self.close(slot);
        Some(Turn { conn: 0, listener: 0, peer: SocketAddr::from(([0, 0, 0, 0], 0)) })
    }

    /// One read of one connection. Says whether a message, or what passes for a sign of life, was complete.
    fn fill_and_cut(&mut self, slot: u32, scratch: &mut Scratch, now_ms: u64) -> Result<bool, End> {
        let place = self.slots.get_mut(slot as usize).and_then(|place| place.connection.as_deref_mut());
        let connection = place.ok_or(End::Stale)?;
        connection.queued = false;
        let again = core::mem::take(&mut connection.more_held);
        let mut filled = connection.held.len();
        if let Some(front) = scratch.octets.get_mut(..filled) {
            front.copy_from_slice(&connection.held);
        }
        connection.held.clear();
        let mut input = Input::Drained;
        if !again {
            // Of a message that is not complete its header and `message_max` octets are held, so at least READ are free.
            self.counters.calls += 1;
            let count;
            (count, input) = connection.read(scratch.octets.get_mut(filled..).unwrap_or_default())?;
            filled += count;
        }
        let (at, alive) = cut(scratch, filled, connection.framing, self.limits.message_max)?;
        if input == Input::Ended && scratch.frames.is_empty() {
            return Err(End::Closed);
        }
        let left = scratch.octets.get(at..filled).unwrap_or_default();
        if left.is_empty() {
            shelve(&mut self.spare, core::mem::take(&mut connection.held));
        } else {
            if connection.held.capacity() == 0 {
                connection.held = self.spare.pop().unwrap_or_default();
            }
            connection.held.extend_from_slice(left);
        }
        connection.more_held = scratch.frames.len() == FRAMES && !left.is_empty();
        if input != Input::Drained || connection.more_held || again {
            connection.queued = true;
            self.ready.push_back(slot);
        }
        if alive {
            connection.active_ms = now_ms;
        }
        Ok(alive)
    }

    /// Queues what `write` writes into the buffer of `max` octets that it is given; [`Streams::flush`] sends it.
    ///
    /// # Errors
    /// [`Undeliverable`]: nothing was queued.
    pub fn write_with(
        &mut self,
        conn: u32,
        max: usize,
        write: impl FnOnce(&mut [u8]) -> Option<usize>,
    ) -> Result<(), Undeliverable> {
        let slot = conn & ((1 << SLOT_BITS) - 1);
        let current = self.slots.get(slot as usize).is_some_and(|place| handle(slot, place.generation) == conn);
        let spare = &mut self.spare;
        let place = self.slots.get_mut(slot as usize).and_then(|place| place.connection.as_deref_mut());
        let Some(connection) = place.filter(|_| current) else {
            self.counters.gone += 1;
            return Err(Undeliverable::Gone);
        };
        if connection.out.capacity() == 0 {
            connection.out = spare.pop().unwrap_or_default();
        }
        let from = connection.out.len();
        if from - connection.out_from >= self.limits.write_max {
            self.counters.slow += 1;
            self.close(slot);
            return Err(Undeliverable::Slow);
        }
        let lead = connection.framing.lead();
        connection.out.resize(from + lead + max, 0);
        let len = connection.out.get_mut(from + lead..).and_then(write).filter(|&len| len <= max);
        let framed = len.filter(|&len| put_header(&connection.framing, connection.out.get_mut(from..), len));
        connection.out.truncate(framed.map_or(from, |len| from + lead + len));
        if framed.is_none() {
            return Err(Undeliverable::Declined);
        }
        if !connection.dirty {
            connection.dirty = true;
            self.dirty.push(slot);
        }
        Ok(())
    }

    /// Sends what was queued, one call a connection; what the system does not take waits for its readiness.
    pub fn flush(&mut self) {
        while let Some(slot) = self.dirty.pop() {
            let Some(connection) = self.slots.get_mut(slot as usize).and_then(|s| s.connection.as_deref_mut()) else {
                continue;
            };
            connection.dirty = false;
            let waiting = connection.out.get(connection.out_from..).unwrap_or_default();
            if waiting.is_empty() {
                continue;
            }
            self.counters.calls += 1;
            match connection.stream.write(waiting) {
                Ok(0) => {
                    self.counters.closed += 1;
                    self.close(slot);
                }
                Ok(count) if count == waiting.len() => {
                    connection.out_from = 0;
                    shelve(&mut self.spare, core::mem::take(&mut connection.out));
                }
                Ok(count) => {
                    connection.out_from += count;
                    // Keeps the buffer from growing by what has left already.
                    if connection.out_from > connection.out.len() / 2 {
                        connection.out.drain(..connection.out_from);
                        connection.out_from = 0;
                    }
                }
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
                Err(_) => {
                    self.counters.closed += 1;
                    self.close(slot);
                }
            }
        }
    }

    /// Closes connections that were idle for too long; the oldest ones first, so it costs what it closes. Call it
    /// from time to time even before [`Streams::next_deadline`]: it also takes up accepting again after a want of
    /// descriptors.
    pub fn on_timer(&mut self, now_ms: u64) {
        self.accepting |= core::mem::take(&mut self.accept_later);
        while let Some(deadline) = self.next_deadline() {
            if now_ms < deadline {
                break;
            }
            self.counters.idle += 1;
            self.close(self.oldest);
        }
    }

    /// When the connection that is idle for longest will have been so for too long, in milliseconds.
    pub fn next_deadline(&self) -> Option<u64> {
        let oldest = self.slots.get(self.oldest as usize)?.connection.as_deref()?;
        Some(oldest.active_ms.saturating_add(self.limits.idle_ms))
    }
}

/// Writes what precedes a message of `len` octets; false when there is no such header.
fn put_header(framing: &Framing, place: Option<&mut [u8]>, len: usize) -> bool {
    let Some(header) = framing.header else { return true };
    match (header(len), place.and_then(|place| place.first_chunk_mut())) {
        (Some(header), Some(place)) => {
            *place = header;
            true
        }
        _ => false,
    }
}

/// Keeps a buffer for reuse, unless there are enough or it has grown large.
fn shelve(spare: &mut Vec<Vec<u8>>, mut buffer: Vec<u8>) {
    if spare.len() < SPARE_BUFFERS && (1..=4 * READ).contains(&buffer.capacity()) {
        buffer.clear();
        spare.push(buffer);
    }
}

fn handle(slot: u32, generation: u16) -> u32 {
    (u32::from(generation) << SLOT_BITS) | slot
}
