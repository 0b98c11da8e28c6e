//! Everything that a worker's handler can send: the [`Sink`] over sockets, connections and rings.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use portunus_channel::kernel::Pair;
use portunus_engine::{CorePacket, EndReason, Event, Lane, Sink, To};
use portunus_io::stream::{Streams, Undeliverable};
use portunus_io::{Batch, Link, Producer, Pushed};
use portunus_keydist::Now;
use portunus_signalling::Protocol;

use crate::kernel::{ToKernel, Wish};
use crate::own::OwnLinks;
use crate::readings::WorkerCounters;

/// A UDP socket of one listener, with what waits to leave by it.
pub(crate) struct Port {
    pub(crate) link: Box<dyn Link>,
    pub(crate) listener: u8,
    pub(crate) tx: Batch,
    /// It may have something to receive.
    pub(crate) ready: bool,
}

/// Marks that no port serves a listener.
const NO_PORT: u8 = u8::MAX;

/// Where a worker tells the control thread what became of sessions, and the count that all workers of a node share: it
/// puts their news in order, which their rings do not.
pub(crate) struct News {
    pub(crate) ring: Producer,
    pub(crate) order: Arc<AtomicU64>,
}

/// What one event says, as it passes the ring: stamp, handle and name.
pub(crate) struct Told<'a> {
    pub(crate) stamp: u64,
    pub(crate) kid: u64,
    pub(crate) name: &'a [u8],
}

/// Octets of a stamp and a handle.
const HEAD: usize = 16;

impl<'a> Told<'a> {
    fn len(&self) -> usize {
        HEAD + self.name.len()
    }

    fn write(&self, place: &mut [u8]) -> Option<usize> {
        let (head, rest) = place.split_first_chunk_mut::<HEAD>()?;
        *head = (u128::from(self.stamp) << 64 | u128::from(self.kid)).to_be_bytes();
        rest.get_mut(..self.name.len())?.copy_from_slice(self.name);
        Some(self.len())
    }

    /// `None` for what [`Told`] never wrote.
    pub(crate) fn read(octets: &'a [u8]) -> Option<Self> {
        let (head, name) = octets.split_first_chunk::<HEAD>()?;
        let head = u128::from_be_bytes(*head);
        Some(Self { stamp: (head >> 64) as u64, kid: head as u64, name })
    }
}

/// A worker's outgoing side.
pub(crate) struct Outputs {
    pub(crate) ports: Vec<Port>,
    port_of: [u8; 256],
    pub(crate) streams: Streams,
    to_core: Producer,
    /// The links to the core that are this worker's own.
    pub(crate) own: OwnLinks,
    /// The time of this turn.
    pub(crate) now: Now,
    news: Option<News>,
    /// The way to the host's kernel, where that does ESP.
    pub(crate) kernel: Option<ToKernel>,
    message_max: usize,
    /// Something was put into a ring to the control thread since the last flush.
    pub(crate) pushed: bool,
    /// A socket takes no more at present.
    pub(crate) blocked: bool,
    pub(crate) counters: WorkerCounters,
}

/// Bits of an affinity that do not pass a ring.
pub(crate) const AFFINITY_SHIFT: u32 = 8;
/// In a tag: the name of a lane stands before the message.
const ON_LANE: u32 = 1 << 31;
/// Octets of a lane's name.
pub(crate) const NAME: usize = 8;

/// Tag of a message from or for the core: whether a lane's name leads it, the protocol, the upper 24 bits of the
/// affinity.
pub(crate) const fn core_tag(protocol: Protocol, affinity: u32, lane: Lane) -> u32 {
    let flag = if matches!(lane, Lane::Of(_)) { ON_LANE } else { 0 };
    flag | (protocol as u32) << 24 | affinity >> AFFINITY_SHIFT
}

/// Puts the lane's name, if it has one, before what `write` writes.
pub(crate) fn put_lane(lane: Lane, place: &mut [u8], write: impl FnOnce(&mut [u8]) -> Option<usize>) -> Option<usize> {
    let Lane::Of(name) = lane else { return write(place) };
    let (head, rest) = place.split_first_chunk_mut::<NAME>()?;
    *head = name.to_be_bytes();
    write(rest).map(|len| NAME + len)
}

/// Takes what a ring carried apart. `None` for what [`core_tag`] and [`put_lane`] never made.
pub(crate) fn take_core(tag: u32, octets: &[u8]) -> Option<(Protocol, CorePacket<'_>)> {
    let protocol = protocol_of((tag >> 24) as u8 & 0x7f)?;
    let (lane, bytes) = if tag & ON_LANE == 0 {
        (Lane::Shared, octets)
    } else {
        let (head, rest) = octets.split_first_chunk::<NAME>()?;
        (Lane::Of(u64::from_be_bytes(*head)), rest)
    };
    Some((protocol, CorePacket { lane, affinity: tag << AFFINITY_SHIFT, bytes }))
}

/// The protocol of this number.
pub(crate) fn protocol_of(number: u8) -> Option<Protocol> {
    [Protocol::Sip, Protocol::Mgcp, Protocol::H248, Protocol::Ras].into_iter().find(|&known| known as u8 == number)
}

/// Tags in the ring of events.
pub(crate) const EVENT_ACTIVE: u32 = 1;
/// See [`EVENT_ACTIVE`].
pub(crate) const EVENT_ENDED: u32 = 2;

impl Outputs {
    pub(crate) fn new(
        ports: Vec<Port>,
        streams: Streams,
        (to_core, own): (Producer, OwnLinks),
        news: Option<News>,
        message_max: usize,
    ) -> Self {
        let mut port_of = [NO_PORT; 256];
        for (nth, port) in ports.iter().enumerate() {
            if let Some(place) = port_of.get_mut(usize::from(port.listener)) {
                *place = nth as u8;
            }
        }
        let counters = WorkerCounters::default();
        let now = Now { mono_ms: 0, wall_ms: 0 };
        Self {
            ports,
            port_of,
            streams,
            to_core,
            own,
            now,
            news,
            kernel: None,
            message_max,
            pushed: false,
            blocked: false,
            counters,
        }
    }

    fn send_datagram(
        &mut self,
        listener: u8,
        addr: SocketAddr,
        write: &mut dyn FnMut(&mut [u8]) -> Option<usize>,
    ) -> bool {
        let nth = self.port_of.get(usize::from(listener)).copied().unwrap_or(NO_PORT);
        let Some(port) = self.ports.get_mut(usize::from(nth)) else { return false };
        if port.tx.is_full() {
            self.blocked |= flush(port, &mut self.counters);
        }
        match port.tx.push_with(addr, write) {
            Pushed::Written | Pushed::Declined => true,
            Pushed::Full => {
                self.counters.io_tx_full += 1;
                false
            }
        }
    }

    /// A message for the core.
    fn send_core(
        &mut self,
        (protocol, affinity, lane): (Protocol, u32, Lane),
        write: &mut dyn FnMut(&mut [u8]) -> Option<usize>,
    ) -> bool {
        if let Some(pushed) = self.own.push_with(self.now, (protocol, affinity, lane), write) {
            return match pushed {
                Pushed::Written => {
                    self.counters.core_sent += 1;
                    true
                }
                Pushed::Declined => true,
                Pushed::Full => {
                    self.counters.core_dropped += 1;
                    false
                }
            };
        }
        let tag = core_tag(protocol, affinity, lane);
        let room = self.message_max + NAME;
        match self.to_core.push_with(tag, room, |place| put_lane(lane, place, write)) {
            Ok(written) => {
                self.counters.ring_core_sent += u64::from(written);
                self.pushed |= written;
                true
            }
            Err(_) => {
                self.counters.ring_core_full += 1;
                false
            }
        }
    }

    /// Everything that waits leaves now; returns whether the control thread has something new.
    pub(crate) fn flush(&mut self) -> bool {
        self.blocked = false;
        for port in &mut self.ports {
            self.blocked |= flush(port, &mut self.counters);
        }
        self.streams.flush();
        if let Some(kernel) = &mut self.kernel {
            kernel.flush();
        }
        self.blocked |= self.own.flush();
        core::mem::take(&mut self.pushed)
    }

    /// Brings the counters of the connections up to date.
    pub(crate) fn tally(&mut self) {
        let (c, s) = (&mut self.counters, self.streams.counters());
        c.stream_accepted = s.accepted;
        c.stream_refused = s.refused;
        c.stream_accept_failed = s.accept_failed;
        c.stream_closed = s.closed;
        c.stream_broken = s.broken;
        c.stream_slow = s.slow;
        c.stream_idle = s.idle;
        c.stream_gone = s.gone;
        c.stream_open = self.streams.open() as u64;
        crate::secured::tally(c, s);
    }
}

/// Sends what waits at a port; true when the system takes no more of it.
fn flush(port: &mut Port, counters: &mut WorkerCounters) -> bool {
    if port.tx.is_empty() {
        return false;
    }
    counters.calls_io += 1;
    match port.link.send(&mut port.tx) {
        Ok(sent) => {
            counters.io_tx_datagrams += sent.messages as u64;
            counters.io_tx_oversize += sent.oversize as u64;
            counters.io_tx_failed += sent.failed as u64;
            counters.io_tx_blocked += u64::from(sent.blocked);
            sent.blocked
        }
        Err(_) => {
            counters.io_tx_failed += port.tx.len() as u64;
            port.tx.clear();
            false
        }
    }
}

impl Sink for Outputs {
    fn send(&mut self, to: To, write: &mut dyn FnMut(&mut [u8]) -> Option<usize>) -> bool {
        match to {
            To::Access { listener, conn: 0, addr } => self.send_datagram(listener, addr, write),
            To::Access { conn, .. } => {
                match self.streams.write_with(conn, self.message_max, write) {
                    Ok(()) => self.counters.io_tx_stream_messages += 1,
                    // Counted where connections are counted; there is no queue that could have been full.
                    Err(Undeliverable::Gone | Undeliverable::Slow | Undeliverable::Declined) => {}
                }
                true
            }
            To::Core { protocol, affinity, lane } => self.send_core((protocol, affinity, lane), write),
        }
    }

    fn install(&mut self, pair: Pair) -> bool {
        self.kernel.as_mut().is_some_and(|kernel| kernel.wish(Wish::Install(pair)))
    }

    fn uninstall(&mut self, kid: u64) {
        if let Some(kernel) = &mut self.kernel
            && !kernel.wish(Wish::End(kid))
        {
            // Its associations stay until the process ends: nothing can come or go by them any more.
            self.counters.kernel_ends_lost += 1;
        }
    }

    fn hang_up(&mut self, conn: u32) {
        self.streams.finish(conn);
    }

    fn event(&mut self, event: Event<'_>) {
        let (tag, idc, kid) = match event {
            Event::Active { idc, kid, .. } => (EVENT_ACTIVE, idc, kid),
            // The worker that reports the newer session has replaced the older one in the directory already, and the
            // lane of both is one.
            Event::Ended { why: EndReason::Replaced, .. } => return,
            Event::Ended { idc, kid, .. } => (EVENT_ENDED, idc, kid),
        };
        self.own.on_session(self.now, &event);
        let Some(News { ring, order }) = &mut self.news else { return };
        // All steps of one counter have one order, whatever else is seen when: nothing else needs to be ordered by it.
        let told = Told { stamp: order.fetch_add(1, Ordering::Relaxed), kid, name: idc.as_bytes() };
        let pushed = ring.push_with(tag, told.len(), |place| told.write(place));
        self.pushed |= pushed.is_ok();
        self.counters.ring_events_lost += u64::from(pushed.is_err());
    }
}
