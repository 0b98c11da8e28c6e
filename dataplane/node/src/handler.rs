//! What a worker runs: the proxy engine, or a floor that the engine is measured against.

use portunus_engine::{Command, CorePacket, Engine, Packet, Reading, Sink};
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

    fn next_deadline(&self) -> Option<u64> {
        Engine::next_deadline(self).map(|(when, _)| when)
    }

    fn readings(&self, show: &mut dyn FnMut(Reading)) {
        self.counters().readings().for_each(show);
    }
}
