//! The way to the core: what the control thread drives, whatever stands behind it.

use core::ops::Range;
use std::io;
use std::net::SocketAddr;

use mio::Registry;
use mio::event::Event;
use portunus_engine::{Lane, Reading};
use portunus_keydist::Now;
use portunus_signalling::Protocol;

use crate::own::OwnLinks;

/// A message from a worker to the core.
#[derive(Debug, Clone, Copy)]
pub struct CoreMessage<'m> {
    /// Whose syntax it has.
    pub protocol: Protocol,
    /// The same for every message of one terminal: lets a terminal keep its softswitch. The lower 8 bits are not kept
    /// on the way and read as 0.
    pub affinity: u32,
    /// The worker that sends it.
    pub worker: u8,
    /// What of this worker's it leaves by.
    pub lane: Lane,
    /// Its octets.
    pub octets: &'m [u8],
}

/// A message from the core.
#[derive(Debug, Clone, Copy)]
pub struct Arrival<'m> {
    /// Whose syntax it has.
    pub protocol: Protocol,
    /// The worker by whose lane it came; of no meaning for protocols without lanes.
    pub worker: u8,
    /// What it came by.
    pub lane: Lane,
    /// The [`CoreMessage::affinity`] by which an answer finds its sender; the lower 8 bits are not kept.
    pub affinity: u32,
    /// Its octets.
    pub octets: &'m [u8],
}

impl<'m> Arrival<'m> {
    /// A message of a protocol without lanes, from the only core that there is.
    pub const fn shared(protocol: Protocol, octets: &'m [u8]) -> Self {
        Self { protocol, worker: 0, lane: Lane::Shared, affinity: 0, octets }
    }
}

/// What became of a message from the core.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivered {
    /// A worker has it.
    Taken,
    /// It belongs nowhere, or the worker's ring is full; counted.
    Dropped,
    /// It was for the proxy itself: so many octets of the answer buffer go back to where it came from.
    Answer(usize),
}

/// Takes messages from the core; the control thread's side of [`Upstream`].
pub trait Deliver {
    /// Takes one message. `answer` (at least 2048 octets, better 4096) is used for [`Delivered::Answer`] only.
    fn deliver(&mut self, message: Arrival<'_>, answer: &mut [u8]) -> Delivered;
}

/// The links to the core. Owned by the control thread, which calls it from one place only, never waits in it, and
/// sleeps in `epoll` between calls: an implementation registers its sources with the registry that it is given.
pub trait Upstream: Send {
    /// Opens the links and registers their sources, with tokens from `tokens` only (at least 4096 of them). Called
    /// once, before anything else. Returns where the core reaches the proxy.
    ///
    /// # Errors
    /// What keeps a link from opening at all; a peer that does not answer is no error.
    fn start(&mut self, registry: &Registry, tokens: Range<usize>) -> io::Result<SocketAddr>;

    /// Gives its sockets up to the only worker of a node, which drives them from then on, registered there. Called after
    /// [`Upstream::start`], before anything has passed. What is not given up stays the control thread's.
    ///
    /// # Errors
    /// What keeps a socket from being registered.
    fn yield_links(&mut self, _registry: &Registry, _own: &mut OwnLinks) -> io::Result<()> {
        Ok(())
    }

    /// Takes a message for the core; it may leave with the next [`Upstream::flush`] only. False when it was dropped.
    fn send(&mut self, now: Now, message: CoreMessage<'_>) -> bool;

    /// Ends a batch: what `send` took leaves now. An in-process core may answer through `up`.
    fn flush(&mut self, now: Now, up: &mut dyn Deliver);

    /// One of its sources is ready (edge-triggered: read until it is drained, or return true from
    /// [`Upstream::hungry`]).
    fn on_ready(&mut self, now: Now, event: &Event, up: &mut dyn Deliver);

    /// True while it has more to do at once without a further event: it then gets [`Upstream::on_timer`].
    fn hungry(&self) -> bool {
        false
    }

    /// The time that [`Upstream::next_deadline`] named has come, or it was hungry, or nothing happened for long.
    fn on_timer(&mut self, now: Now, up: &mut dyn Deliver);

    /// When [`Upstream::on_timer`] is wanted next, on the monotonic clock in milliseconds.
    fn next_deadline(&self) -> Option<u64>;

    /// File descriptors that it may come to hold.
    fn descriptors(&self) -> usize {
        64
    }

    /// True when it wants to hear of sessions.
    fn follows_sessions(&self) -> bool {
        false
    }

    /// The terminal whose lane has this name has, or has no longer, an active session at this worker.
    fn on_session(&mut self, _now: Now, _name: u64, _worker: u8, _active: bool) {}

    /// Shows every counter, always the same ones in the same order.
    fn readings(&self, show: &mut dyn FnMut(Reading));
}
