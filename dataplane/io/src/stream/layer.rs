//! What may stand between the octets of a connection and its messages: ciphers, for one. Nothing here knows what it is.

use std::net::SocketAddr;

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};

use super::connection::Connection;
use super::frame::Framing;
use super::{LISTENERS_MAX, Slot, Streams, handle};

/// Kinds of end that a layer can name.
pub const LAYER_ENDS: usize = 16;

/// Why a layer ended its connection: an index below [`LAYER_ENDS`] whose meaning is the layer's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LayerEnd(pub u8);

/// What came of some octets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Passed {
    /// Octets that the room got.
    pub octets: usize,
    /// There are more for another room, or something to do: ask again without octets.
    pub more: bool,
}

/// Turns what a peer sends into what messages are cut from, and messages into what the peer is sent.
pub trait Layer: Send {
    /// Takes octets of the peer; what they say goes to `room`, what the peer gets back is appended to `out`.
    ///
    /// # Errors
    /// [`LayerEnd`]: what stands in `out` is sent, and then the connection closed.
    fn take(&mut self, octets: &[u8], room: &mut [u8], out: &mut Vec<u8>) -> Result<Passed, LayerEnd>;

    /// Appends to `out` what the peer is sent for `octets`.
    ///
    /// # Errors
    /// [`LayerEnd`]: the connection is closed.
    fn put(&mut self, octets: &[u8], out: &mut Vec<u8>) -> Result<(), LayerEnd>;

    /// Appends to `out` what says that nothing follows.
    fn close(&mut self, out: &mut Vec<u8>);

    /// The name that the owner must find a secret for before anything goes on; until [`Layer::answer`] it stays.
    fn asks(&self) -> Option<u128>;

    /// The owner's answer; `None`: it has no such secret.
    fn answer(&mut self, secret: Option<&[u8; 32]>);

    /// True once messages may pass.
    fn is_open(&self) -> bool;
}

/// Makes the layer of a new connection.
pub type MakeLayer = Box<dyn Fn() -> Box<dyn Layer> + Send>;

/// A connection on its way to another set, before any message of it was seen.
pub struct Departing {
    stream: TcpStream,
    peer: SocketAddr,
    listener: u8,
    framing: Framing,
    layer: Option<Box<dyn Layer>>,
    opening_ends_ms: u64,
}

impl core::fmt::Debug for Departing {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Departing").field("peer", &self.peer).field("listener", &self.listener).finish_non_exhaustive()
    }
}

impl Departing {
    /// What its layer asks for.
    pub fn asks(&self) -> Option<u128> {
        self.layer.as_ref()?.asks()
    }
}

impl Streams {
    /// Answers what a connection's layer asked for ([`super::Turn::asks`]); the next turns go on with it.
    pub fn answer(&mut self, conn: u32, secret: Option<&[u8; 32]>) {
        let Some((slot, connection)) = self.of(conn) else { return };
        let Some(layer) = &mut connection.layer else { return };
        layer.answer(secret);
        connection.more_behind = true;
        if !core::mem::replace(&mut connection.queued, true) {
            self.ready.push_back(slot);
        }
    }

    /// Keeps the owner's number for a connection: it comes back with every turn, and with its end
    /// ([`Streams::take_ended`]) unless it is 0.
    pub fn mark(&mut self, conn: u32, mark: u64) {
        if let Some((_, connection)) = self.of(conn) {
            connection.mark = mark;
        }
    }

    /// The marks and handles of marked connections that have ended since the last call, in the order of their ends.
    pub fn take_ended(&mut self) -> Option<(u64, u32)> {
        self.ended.pop_front()
    }

    /// Says to the peer that nothing follows, and closes the connection once it has been sent everything that waits.
    pub fn finish(&mut self, conn: u32) {
        let Some((slot, connection)) = self.of(conn) else { return };
        if let Some(layer) = &mut connection.layer {
            layer.close(&mut connection.out);
        }
        connection.finishing = true;
        if !core::mem::replace(&mut connection.dirty, true) {
            self.dirty.push(slot);
        }
    }

    /// Gives a connection away; `None` when it is gone.
    pub fn release(&mut self, registry: &Registry, conn: u32) -> Option<Departing> {
        let (slot, _) = self.of(conn)?;
        let Connection { mut stream, peer, listener, framing, layer, opening_ends_ms, .. } = *self.detach(slot)?;
        // Where this fails the descriptor is closed soon, which does the same.
        let _ = registry.deregister(&mut stream);
        Some(Departing { stream, peer, listener, framing, layer, opening_ends_ms })
    }

    /// Takes a connection over that another set gave away; its handle, or `None` when it was refused.
    pub fn adopt(&mut self, registry: &Registry, from: Departing, now_ms: u64) -> Option<u32> {
        let Departing { stream, peer, listener, framing, layer, opening_ends_ms } = from;
        let mut connection = Connection::new(stream, (peer, listener, framing), now_ms);
        (connection.layer, connection.opening_ends_ms) = (layer, opening_ends_ms);
        self.settle(registry, connection)
    }

    /// Gives a connection a slot and its place in every list.
    pub(super) fn settle(&mut self, registry: &Registry, mut connection: Box<Connection>) -> Option<u32> {
        if self.open >= self.limits.connections {
            self.counters.refused += 1;
            return None;
        }
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            (self.slots.len() - 1) as u32
        });
        let token = Token(self.tokens.start + LISTENERS_MAX + slot as usize);
        let both = Interest::READABLE | Interest::WRITABLE;
        if registry.register(&mut connection.stream, token, both).is_err() {
            self.counters.accept_failed += 1;
            self.free.push(slot);
            return None;
        }
        let opening = connection.layer.as_ref().map(|_| connection.opening_ends_ms);
        let place = self.slots.get_mut(slot as usize)?;
        place.generation = if place.generation >= 0xFFF { 1 } else { place.generation + 1 };
        place.connection = Some(connection);
        let conn = handle(slot, place.generation);
        self.open += 1;
        self.append(slot);
        self.opening.extend(opening.map(|ends_ms| (ends_ms, conn)));
        Some(conn)
    }
}
