//! A handler that shows whether its thread allocates. Whoever uses it makes `portunus_io::count::Counting` the global
//! allocator.
#![allow(unreachable_pub)]

use portunus_engine::{Command, CorePacket, Engine, Kind, Packet, Reading, Sink};
use portunus_io::count::allocations;
use portunus_keydist::Now;
use portunus_node::Handler;
use portunus_signalling::Protocol;

/// The engine, showing how often its thread allocates after the first registrations.
pub struct Watched {
    engine: Engine,
    handled: u64,
    at: Option<u64>,
}

impl Watched {
    pub fn new(engine: Engine) -> Self {
        Self { engine, handled: 0, at: None }
    }
}

impl Handler for Watched {
    fn on_batch(&mut self, now: Now, packets: &mut [Packet<'_>], sink: &mut dyn Sink) {
        self.engine.on_batch(now, packets, sink);
        self.handled += packets.len() as u64;
        if self.handled > 20 {
            self.at.get_or_insert_with(allocations);
        }
    }

    fn on_core(&mut self, now: Now, protocol: Protocol, packets: &[CorePacket<'_>], sink: &mut dyn Sink) {
        self.engine.on_core(now, packets, protocol, sink);
    }

    fn on_command(&mut self, now: Now, command: Command, sink: &mut dyn Sink) {
        self.engine.on_command(now, command, sink);
    }

    fn on_timer(&mut self, now: Now, sink: &mut dyn Sink) {
        self.engine.on_timer(now, sink);
    }

    fn next_deadline(&self) -> Option<u64> {
        Handler::next_deadline(&self.engine)
    }

    fn readings(&self, show: &mut dyn FnMut(Reading)) {
        self.engine.readings(show);
        let value = self.at.map_or(0, |at| allocations() - at);
        show(Reading { name: "allocations", help: "in the steady state", kind: Kind::Counter, value });
        show(Reading {
            name: "watched",
            help: "steady state reached",
            kind: Kind::Gauge,
            value: self.at.is_some().into(),
        });
    }
}
