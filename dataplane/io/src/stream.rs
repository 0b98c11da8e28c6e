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

use core::ops::Range;
use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::SocketAddr;

use mio::event::Event;
use mio::net::{TcpListener, TcpStream};
use mio::{Interest, Registry, Token};

/// What a framing finds at the beginning of the octets that it is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Frame {
    /// A message of so many octets.
    Message(usize),
    /// So many octets that belong to no message and are passed over.
    Skip(usize),
    /// Not complete yet.
    Incomplete,
    /// Nothing that can become a message: the connection is closed.
    Broken,
}

/// Cuts a stream into messages. Called again with the same beginning when more has arrived.
pub trait Framing: Send {
    /// What stands at the beginning of `octets`.
    fn next(&self, octets: &[u8]) -> Frame;
}

impl<F: Fn(&[u8]) -> Frame + Send> Framing for F {
    fn next(&self, octets: &[u8]) -> Frame {
        self(octets)
    }
}

/// Limits of a set of connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamLimits {
    /// Connections at a time, 1 to 2^20 - 1.
    pub connections: usize,
    /// Octets of the longest message.
    pub message_max: usize,
    /// Octets that may wait for a peer that does not read.
    pub write_max: usize,
    /// Milliseconds without a complete message after which a connection is closed.
    pub idle_ms: u64,
}

impl Default for StreamLimits {
    fn default() -> Self {
        Self { connections: 16_384, message_max: 8192, write_max: 65_536, idle_ms: 900_000 }
    }
}

/// What happened to connections, each counted once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StreamCounters {
    /// Connections accepted.
    pub accepted: u64,
    /// Connections refused: the limit was reached.
    pub refused: u64,
    /// Connections that the system could not accept (out of descriptors, aborted meanwhile).
    pub accept_failed: u64,
    /// Connections that the peer closed or reset.
    pub closed: u64,
    /// Connections closed because their octets are no messages, or a message is too long.
    pub broken: u64,
    /// Connections closed because the peer does not read.
    pub slow: u64,
    /// Connections closed because no message came for too long.
    pub idle: u64,
    /// Messages for a connection that is gone.
    pub gone: u64,
    /// System calls for reading and writing.
    pub calls: u64,
}

/// Why a message could not be queued on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Undeliverable {
    /// The connection is gone (the peer's doing, or a limit's).
    Gone,
    /// The peer does not read: the connection was closed now.
    Slow,
    /// The writer gave no message.
    Declined,
}

const NONE: u32 = u32::MAX;
const SLOT_BITS: u32 = 20;
const READ: usize = 16 * 1024;
const SPARE_BUFFERS: usize = 256;
const FRAMES: usize = 64;

#[derive(Debug)]
struct Connection {
    stream: TcpStream,
    peer: SocketAddr,
    listener: u8,
    /// Octets received of a message that is not complete, or of messages that did not fit a turn.
    held: Vec<u8>,
    /// `held` may begin with complete messages.
    more_held: bool,
    /// Octets that the system did not take yet, from `out_from` on.
    out: Vec<u8>,
    out_from: usize,
    queued: bool,
    dirty: bool,
    /// The peer has closed its side: read on until the end shows.
    closing: bool,
    active_ms: u64,
    older: u32,
    newer: u32,
}

#[derive(Debug, Default)]
struct Slot {
    generation: u16,
    connection: Option<Box<Connection>>,
}

/// What one turn of one connection brought: [`Streams::turn`].
#[derive(Debug)]
pub struct Turn<'s> {
    /// The connection's handle for [`Streams::write_with`], never 0.
    pub conn: u32,
    /// The number that [`Streams::listen`] was given.
    pub listener: u8,
    /// The peer.
    pub peer: SocketAddr,
    octets: &'s mut [u8],
    frames: &'s [Range<usize>],
}

impl<'s> Turn<'s> {
    /// The messages, oldest first, to be read or edited in place. At most 64.
    pub fn messages(self) -> impl Iterator<Item = &'s mut [u8]> {
        let mut rest = self.octets;
        let mut at = 0;
        self.frames.iter().map(move |frame| {
            let (_, from) = core::mem::take(&mut rest).split_at_mut(frame.start - at);
            let (message, after) = from.split_at_mut(frame.len());
            rest = after;
            at = frame.end;
            message
        })
    }
}

/// Listeners and their connections.
pub struct Streams {
    limits: StreamLimits,
    tokens: Range<usize>,
    listeners: Vec<(TcpListener, u8)>,
    slots: Vec<Slot>,
    free: Vec<u32>,
    ready: VecDeque<u32>,
    dirty: Vec<u32>,
    spare: Vec<Vec<u8>>,
    scratch: Box<[u8]>,
    frames: Vec<Range<usize>>,
    framing: Box<dyn Framing>,
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
    pub fn new(limits: StreamLimits, framing: Box<dyn Framing>, first_token: usize) -> Self {
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
            scratch: vec![0; limits.message_max + READ].into_boxed_slice(),
            frames: Vec::with_capacity(FRAMES),
            framing,
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

    /// Adds a bound, non-blocking listener. `listener` comes back with every message of its connections.
    ///
    /// # Errors
    /// What the system reports; more than [`LISTENERS_MAX`] listeners.
    pub fn listen(&mut self, registry: &Registry, socket: std::net::TcpListener, listener: u8) -> io::Result<()> {
        if self.listeners.len() == LISTENERS_MAX {
            return Err(io::Error::from(io::ErrorKind::QuotaExceeded));
        }
        let mut socket = TcpListener::from_std(socket);
        registry.register(&mut socket, Token(self.tokens.start + self.listeners.len()), Interest::READABLE)?;
        self.listeners.push((socket, listener));
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
            while let Some((socket, listener)) = self.listeners.get(nth) {
                if budget == 0 {
                    self.accepting = true;
                    return;
                }
                budget -= 1;
                let listener = *listener;
                match socket.accept() {
                    Ok((stream, peer)) => self.welcome(registry, stream, peer, listener, now_ms),
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

    fn welcome(&mut self, registry: &Registry, stream: TcpStream, peer: SocketAddr, listener: u8, now_ms: u64) {
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
        self.shelve(held);
        self.shelve(out);
    }

    /// Keeps a buffer for reuse, unless there are enough or it has grown large.
    fn shelve(&mut self, mut buffer: Vec<u8>) {
        if self.spare.len() < SPARE_BUFFERS && (1..=4 * READ).contains(&buffer.capacity()) {
            buffer.clear();
            self.spare.push(buffer);
        }
    }

    /// Reads once from the next connection that has something, and cuts it. `None` when none is left.
    ///
    /// A turn may bring no message. Call until `None`, or until a budget is spent: [`Streams::hungry`] says whether
    /// there is more.
    pub fn turn(&mut self, now_ms: u64) -> Option<Turn<'_>> {
        let slot = self.ready.pop_front()?;
        self.frames.clear();
        match self.fill_and_cut(slot, now_ms) {
            Ok(()) => {}
            Err(End::Closed) => {
                self.counters.closed += 1;
                self.close(slot);
            }
            Err(End::Broken) => {
                self.counters.broken += 1;
                self.close(slot);
            }
            Err(End::Stale) => {}
        }
        let place = self.slots.get(slot as usize)?;
        let conn = handle(slot, place.generation);
        let (listener, peer) = match place.connection.as_deref() {
            Some(connection) => (connection.listener, connection.peer),
            // What arrived before the end is not served: nobody could be answered.
            None => {
                self.frames.clear();
                (0, SocketAddr::from(([0, 0, 0, 0], 0)))
            }
        };
        Some(Turn { conn, listener, peer, octets: &mut self.scratch, frames: &self.frames })
    }

    fn fill_and_cut(&mut self, slot: u32, now_ms: u64) -> Result<(), End> {
        let Self { slots, scratch, frames, framing, counters, limits, spare, ready, .. } = self;
        let place = slots.get_mut(slot as usize).and_then(|place| place.connection.as_deref_mut());
        let connection = place.ok_or(End::Stale)?;
        connection.queued = false;
        let held = connection.held.len();
        let again = core::mem::take(&mut connection.more_held);
        if let Some(front) = scratch.get_mut(..held) {
            front.copy_from_slice(&connection.held);
        }
        connection.held.clear();
        let mut filled = held;
        let mut ended = false;
        let mut drained = true;
        if !again {
            // Of a message that is not complete at most `message_max` octets are held, so at least READ are free.
            let room = scratch.get_mut(held..).unwrap_or_default();
            counters.calls += 1;
            match connection.stream.read(room) {
                Ok(0) => ended = true,
                Ok(count) => {
                    filled += count;
                    drained = count < room.len() && !connection.closing;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => ended = connection.closing,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => drained = false,
                Err(_) => return Err(End::Closed),
            }
        }
        let mut at = 0;
        let mut alive = false;
        while at < filled && frames.len() < FRAMES {
            match framing.next(scratch.get(at..filled).unwrap_or_default()) {
                Frame::Message(len) if len > 0 && len <= limits.message_max && at + len <= filled => {
                    frames.push(at..at + len);
                    at += len;
                    alive = true;
                }
                Frame::Skip(len) if len > 0 && at + len <= filled => {
                    at += len;
                    alive = true;
                }
                Frame::Incomplete if filled - at < limits.message_max => break,
                _ => return Err(End::Broken),
            }
        }
        if ended && frames.is_empty() {
            return Err(End::Closed);
        }
        let left = scratch.get(at..filled).unwrap_or_default();
        if left.is_empty() {
            let empty = core::mem::take(&mut connection.held);
            if (1..=4 * READ).contains(&empty.capacity()) && spare.len() < SPARE_BUFFERS {
                spare.push(empty);
            }
        } else {
            if connection.held.capacity() == 0 {
                connection.held = spare.pop().unwrap_or_default();
            }
            connection.held.extend_from_slice(left);
        }
        connection.more_held = frames.len() == FRAMES && !left.is_empty();
        if !drained || ended || connection.more_held || again {
            connection.queued = true;
            ready.push_back(slot);
        }
        if alive {
            connection.active_ms = now_ms;
            self.unlink(slot);
            self.append(slot);
        }
        Ok(())
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
        connection.out.resize(from + max, 0);
        let len = connection.out.get_mut(from..).and_then(write).filter(|&len| len <= max);
        connection.out.truncate(from + len.unwrap_or(0));
        if len.is_none() {
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
                    let out = core::mem::take(&mut connection.out);
                    self.shelve(out);
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

/// Why a turn ended a connection.
enum End {
    /// By the peer.
    Closed,
    /// By the framing.
    Broken,
    /// It was closed before its turn came.
    Stale,
}

fn handle(slot: u32, generation: u16) -> u32 {
    (u32::from(generation) << SLOT_BITS) | slot
}
