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
mod idle;
mod layer;
mod limits;
mod send;

use core::ops::Range;
use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;

use mio::event::Event;
use mio::net::TcpListener;
use mio::{Interest, Registry, Token};

use connection::{Connection, End, Input};
use frame::{FRAMES, cut};
pub use frame::{Frame, Framing, HEADER, Header, Scratch};
pub use layer::{Departing, LAYER_ENDS, Layer, LayerEnd, MakeLayer, Passed};
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
    /// The owner's number ([`Streams::mark`]), 0 where it gave none.
    pub mark: u64,
    /// What its layer asks for ([`Streams::answer`]).
    pub asks: Option<u128>,
    /// Its layer lets messages pass from now on.
    pub opened: bool,
}

/// A listener and what its connections are.
struct Listening {
    socket: TcpListener,
    number: u8,
    framing: Framing,
    layer: Option<MakeLayer>,
}

/// Listeners and their connections.
pub struct Streams {
    limits: StreamLimits,
    tokens: Range<usize>,
    listeners: Vec<Listening>,
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
    /// Connections whose layer is not open yet, or was not when they came, in the order of their deadlines.
    opening: VecDeque<(u64, u32)>,
    /// See [`Streams::take_ended`].
    ended: VecDeque<(u64, u32)>,
    /// Messages on their way through a layer.
    plain: Vec<u8>,
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
            opening: VecDeque::new(),
            ended: VecDeque::new(),
            plain: Vec::new(),
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
        Scratch { octets, raw: vec![0; READ].into_boxed_slice(), frames: Vec::with_capacity(FRAMES) }
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
        self.listen_behind(registry, socket, listener, (framing, None))
    }

    /// As [`Streams::listen`], with a layer for each connection where one is made.
    ///
    /// # Errors
    /// As there.
    pub fn listen_behind(
        &mut self,
        registry: &Registry,
        socket: std::net::TcpListener,
        number: u8,
        (framing, layer): (Framing, Option<MakeLayer>),
    ) -> io::Result<()> {
        if self.listeners.len() == LISTENERS_MAX {
            return Err(io::Error::from(io::ErrorKind::QuotaExceeded));
        }
        let mut socket = TcpListener::from_std(socket);
        registry.register(&mut socket, Token(self.tokens.start + self.listeners.len()), Interest::READABLE)?;
        self.listeners.push(Listening { socket, number, framing, layer });
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
            while let Some(at) = self.listeners.get(nth) {
                if budget == 0 {
                    self.accepting = true;
                    return;
                }
                budget -= 1;
                match at.socket.accept() {
                    Ok((stream, peer)) => {
                        let from = (crate::addr::canonical(peer), at.number, at.framing);
                        let mut connection = Connection::new(stream, from, now_ms);
                        connection.layer = at.layer.as_ref().map(|make| make());
                        connection.opening_ends_ms = now_ms.saturating_add(self.limits.opening_ms);
                        let settled = self.settle(registry, connection);
                        self.counters.accepted += u64::from(settled.is_some());
                    }
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

    fn connection(&mut self, slot: u32) -> Option<&mut Connection> {
        self.slots.get_mut(slot as usize)?.connection.as_deref_mut()
    }

    /// The slot and the connection of a handle.
    fn of(&mut self, conn: u32) -> Option<(u32, &mut Connection)> {
        let slot = conn & ((1 << SLOT_BITS) - 1);
        let place = self.slots.get_mut(slot as usize)?;
        let current = handle(slot, place.generation) == conn;
        Some((slot, place.connection.as_deref_mut().filter(|_| current)?))
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
                let place = self.slots.get_mut(slot as usize)?;
                let connection = place.connection.as_deref_mut()?;
                let layer = connection.layer.as_deref();
                let (asks, open) = (layer.and_then(Layer::asks), layer.is_some_and(Layer::is_open));
                let opened = open && !core::mem::replace(&mut connection.opened, open);
                let Connection { listener, peer, mark, .. } = *connection;
                return Some(Turn { conn: handle(slot, place.generation), listener, peer, mark, asks, opened });
            }
            Err(End::Closed) => self.counters.closed += 1,
            Err(End::Broken) => self.counters.broken += 1,
            Err(End::Layer(why)) => {
                self.counters.layer_ended(why);
                self.last_words(slot);
            }
            Err(End::Stale) => {}
        }
        // What arrived before the end is not served: nobody could be answered.
        scratch.frames.clear();
        self.close(slot);
        let peer = SocketAddr::from(([0, 0, 0, 0], 0));
        Some(Turn { conn: 0, listener: 0, peer, mark: 0, asks: None, opened: false })
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
            let room = scratch.octets.get_mut(filled..).unwrap_or_default();
            (count, input) = connection.fill(room, &mut scratch.raw)?;
            filled += count;
            if !connection.out.is_empty() && !core::mem::replace(&mut connection.dirty, true) {
                self.dirty.push(slot);
            }
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
