//! What a worker runs: the proxy engine, or a floor that the engine is measured against.

use portunus_channel::tls::{Identity, Psk};
use portunus_engine::{Command, CorePacket, Engine, Meta, Packet, Reading, Sink};
use portunus_keydist::Now;
use portunus_signalling::Protocol;

/// The part of a worker that decides. It owns its shard's state; the worker owns sockets, rings and the clock.
///
/// No method may block, and in the steady state none may allocate.
pub trait Handler: Send + 'static {
    /// Messages of the access side, all received at about `now`.
    fn on_batch(&mut self, now: Now, packets: &mut [Packet<'_>], sink: &mut dyn Sink);

    /// Messages of the core for this worker, all of one protocol.
    fn on_core(&mut self, now: Now, protocol: Protocol, packets: &[CorePacket<'_>], sink: &mut dyn Sink);

    /// An order of the control side.
    fn on_command(&mut self, now: Now, command: Command, sink: &mut dyn Sink);

    /// The time that [`Handler::next_deadline`] named has come.
    fn on_timer(&mut self, now: Now, sink: &mut dyn Sink);

    /// The session that a ClientHello of mechanism `tls` names: its number, never 0, and its PSK. Handlers without such
    /// sessions know none.
    fn tls_session(&mut self, _id: &Identity) -> Option<(u64, Psk)> {
        None
    }

    /// A connection's handshake proved the key of session `kid`. False: it is to be closed.
    fn on_secured(&mut self, _now: Now, _kid: u64, _meta: &Meta, _sink: &mut dyn Sink) -> bool {
        false
    }

    /// Messages from inside a connection of session `kid`.
    fn on_inside(&mut self, _now: Now, _kid: u64, _packets: &mut [Packet<'_>], _sink: &mut dyn Sink) {}

    /// A connection that named session `kid` is gone.
    fn on_connection_gone(&mut self, _kid: u64, _conn: u32) {}

    /// When [`Handler::on_timer`] is wanted next, on the monotonic clock in milliseconds.
    fn next_deadline(&self) -> Option<u64>;

    /// Shows every counter, always the same ones in the same order.
    fn readings(&self, show: &mut dyn FnMut(Reading));
}

impl Handler for Engine {
    fn on_batch(&mut self, now: Now, packets: &mut [Packet<'_>], sink: &mut dyn Sink) {
        Engine::on_batch(self, now, packets, sink);
    }

    fn on_core(&mut self, now: Now, protocol: Protocol, packets: &[CorePacket<'_>], sink: &mut dyn Sink) {
        Engine::on_core(self, now, packets, protocol, sink);
    }

    fn on_command(&mut self, now: Now, command: Command, sink: &mut dyn Sink) {
        Engine::on_command(self, now, command, sink);
    }

    fn on_timer(&mut self, now: Now, sink: &mut dyn Sink) {
        Engine::on_timer(self, now, sink);
    }

    fn tls_session(&mut self, id: &Identity) -> Option<(u64, Psk)> {
        Engine::tls_session(self, id)
    }

    fn on_secured(&mut self, now: Now, kid: u64, meta: &Meta, sink: &mut dyn Sink) -> bool {
        Engine::on_secured(self, now, kid, meta, sink)
    }

    fn on_inside(&mut self, now: Now, kid: u64, packets: &mut [Packet<'_>], sink: &mut dyn Sink) {
        Engine::on_inside(self, now, kid, packets, sink);
    }

    fn on_connection_gone(&mut self, kid: u64, conn: u32) {
        Engine::on_connection_gone(self, kid, conn);
    }

    fn next_deadline(&self) -> Option<u64> {
        Engine::next_deadline(self).map(|(when, _)| when)
    }

    fn readings(&self, show: &mut dyn FnMut(Reading)) {
        self.counters().readings().for_each(show);
    }
}
