//! The floors that the proxy is measured against: the same workers, rings, control thread and sockets, with a bare
//! forwarder where the engine would be.
//!
//! F0 forwards and does nothing else. F1 makes, besides, the calls that [`Floor::with_work`] is given: the same number
//! of the same cryptographic calls as the proxy makes. The difference to the proxy is what parsing, tables, timers and
//! writing cost.
//!
//! What goes to the core is led by [`LABEL`] octets that say whom the answer is for; the core (the load generator's)
//! sends them back in front of its answer. A message for a terminal is what follows them.

use std::net::SocketAddr;

use portunus_engine::{Affinity, Command, CorePacket, Kind, Lane, Packet, Reading, Sink, To};
use portunus_keydist::Now;
use portunus_signalling::Protocol;

use crate::handler::Handler;
use crate::route::{Destination, Router};

/// Octets before each message on the core's side: worker (1), listener (1), connection (4), IP address as IPv6 (16),
/// port (2).
pub const LABEL: usize = 24;

/// Which way a message goes through a floor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leg {
    /// From a terminal to the core.
    Up,
    /// From the core to a terminal.
    Down,
}

/// Work that is done for each message: on F1, cryptographic calls over the message.
pub type Work = Box<dyn FnMut(Leg, &[u8]) + Send>;

/// A bare forwarder.
pub struct Floor {
    worker: u8,
    work: Option<Work>,
    up: u64,
    down: u64,
    dropped: u64,
}

impl core::fmt::Debug for Floor {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Floor").field("worker", &self.worker).field("up", &self.up).finish_non_exhaustive()
    }
}

impl Floor {
    /// F0 for this worker.
    pub fn new(worker: u8) -> Self {
        Self { worker, work: None, up: 0, down: 0, dropped: 0 }
    }

    /// F1: as F0, with `work` done for each message.
    pub fn with_work(worker: u8, work: Work) -> Self {
        Self { work: Some(work), ..Self::new(worker) }
    }
}

fn put_label(out: &mut [u8], worker: u8, packet: &Packet<'_>) -> Option<()> {
    let ip = match packet.meta.source {
        SocketAddr::V4(v4) => v4.ip().to_ipv6_mapped(),
        SocketAddr::V6(v6) => *v6.ip(),
    };
    let label = out.first_chunk_mut::<LABEL>()?;
    label[0] = worker;
    label[1] = packet.meta.listener;
    label[2..6].copy_from_slice(&packet.meta.conn.to_be_bytes());
    label[6..22].copy_from_slice(&ip.octets());
    label[22..24].copy_from_slice(&packet.meta.source.port().to_be_bytes());
    Some(())
}

fn take_label(message: &[u8]) -> Option<(To, &[u8])> {
    let (label, rest) = message.split_first_chunk::<LABEL>()?;
    let conn = u32::from_be_bytes([label[2], label[3], label[4], label[5]]);
    let ip: [u8; 16] = label[6..22].try_into().ok()?;
    let source = SocketAddr::new(ip.into(), u16::from_be_bytes([label[22], label[23]]));
    Some((To::Access { listener: label[1], conn, addr: portunus_io::addr::canonical(source) }, rest))
}

impl Handler for Floor {
    fn on_batch(&mut self, _now: Now, packets: &mut [Packet<'_>], sink: &mut dyn Sink) {
        for packet in packets {
            if let Some(work) = &mut self.work {
                work(Leg::Up, packet.bytes);
            }
            let worker = self.worker;
            let affinity = Affinity::new(0, 0, u64::from(packet.meta.source.port()) << 40).asking().0;
            let to = To::Core { protocol: Protocol::Sip, affinity, lane: Lane::Shared };
            let taken = sink.send(to, &mut |out| {
                put_label(out, worker, packet)?;
                out.get_mut(LABEL..LABEL + packet.bytes.len())?.copy_from_slice(packet.bytes);
                Some(LABEL + packet.bytes.len())
            });
            self.up += u64::from(taken);
            self.dropped += u64::from(!taken);
        }
    }

    fn on_core(&mut self, _now: Now, _protocol: Protocol, packets: &[CorePacket<'_>], sink: &mut dyn Sink) {
        for packet in packets {
            let Some((to, rest)) = take_label(packet.bytes) else {
                self.dropped += 1;
                continue;
            };
            if let Some(work) = &mut self.work {
                work(Leg::Down, rest);
            }
            let taken = sink.send(to, &mut |out| {
                out.get_mut(..rest.len())?.copy_from_slice(rest);
                Some(rest.len())
            });
            self.down += u64::from(taken);
            self.dropped += u64::from(!taken);
        }
    }

    fn on_command(&mut self, _now: Now, _command: Command, _sink: &mut dyn Sink) {}

    fn on_timer(&mut self, _now: Now, _sink: &mut dyn Sink) {}

    fn next_deadline(&self) -> Option<u64> {
        None
    }

    fn readings(&self, show: &mut dyn FnMut(Reading)) {
        let mut counter = |name, help, value| show(Reading { name, help, kind: Kind::Counter, value });
        counter("floor_up", "Messages forwarded to the core", self.up);
        counter("floor_down", "Messages forwarded to terminals", self.down);
        counter("floor_dropped", "Messages that could not be forwarded", self.dropped);
    }
}

/// The floor's router: the label names the worker.
#[derive(Debug, Clone, Copy, Default)]
pub struct FloorRouter;

impl Router for FloorRouter {
    fn route(&self, _protocol: Protocol, message: &[u8]) -> Destination {
        message.first().map_or(Destination::Unknown, |&worker| Destination::Worker(worker))
    }

    fn answer(&self, _protocol: Protocol, _message: &[u8], _reachable: bool, _out: &mut [u8]) -> usize {
        0
    }
}
