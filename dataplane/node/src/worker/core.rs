//! What comes from the core: by the worker's own links, or from the control thread.

use arrayvec::ArrayVec;
use portunus_engine::{Affinity, CorePacket, Lane};
use portunus_io::Batch;
use portunus_keydist::Now;
use portunus_signalling::Protocol;

use super::{HAND, TURN_BATCHES, Worker};
use crate::handler::Handler;
use crate::lanes::LanesRx;
use crate::outputs::{Outputs, take_core};
use crate::own::Rooms;

impl<H: Handler> Worker<H> {
    /// Receives by the worker's own links to the core.
    pub(super) fn receive_core(&mut self, now: Now) -> usize {
        let Self { out, rooms: Rooms { udp, lanes }, handler, .. } = self;
        out.own.look(now);
        let mut work = receive_udp(now, udp, handler, out);
        for (nth, rx) in lanes.iter_mut().enumerate() {
            work += receive_lanes(now, (nth, rx), handler, out);
        }
        work
    }

    /// Takes what the control thread has passed on, protocol by protocol.
    pub(super) fn take_from_core(&mut self, now: Now) -> usize {
        let Some(read) = self.from_core.read() else { return 0 };
        let mut messages = read.messages();
        let mut ahead = messages.next();
        let mut work = 0;
        while let Some((tag, octets)) = ahead {
            ahead = messages.next();
            let Some((protocol, first)) = take_core(tag, octets) else { continue };
            let mut hand: ArrayVec<CorePacket<'_>, HAND> = ArrayVec::new();
            hand.push(first);
            let same = |&(tag, octets): &(u32, _)| take_core(tag, octets).filter(|(of, _)| *of == protocol);
            while let Some((_, packet)) = ahead.as_ref().and_then(same).filter(|_| !hand.is_full()) {
                hand.push(packet);
                ahead = messages.next();
            }
            work += hand.len();
            self.handler.on_core(now, protocol, &hand, &mut self.out);
        }
        let consumed = messages.consumed();
        read.release(consumed);
        self.out.counters.ring_core_received += work as u64;
        work
    }
}

fn receive_udp<H: Handler>(now: Now, rx: &mut Batch, handler: &mut H, out: &mut Outputs) -> usize {
    let Some((sockets, protocol)) = out.own.udp.as_ref().map(|link| (link.sockets(), link.protocol())) else {
        return 0;
    };
    let mut work = 0;
    for nth in 0..sockets {
        let affinity = Affinity::from(nth).0;
        for _ in 0..TURN_BATCHES {
            if !out.own.udp.as_mut().is_some_and(|link| link.recv(nth, now, rx)) {
                break;
            }
            work += rx.len();
            hand_over(now, protocol, rx.iter(), handler, out, |out, (peer, bytes)| {
                let admitted = out.own.udp.as_mut().is_some_and(|link| link.admits(peer, bytes));
                admitted.then_some(CorePacket { lane: Lane::Shared, affinity, bytes })
            });
            rx.clear();
        }
    }
    work
}

fn receive_lanes<H: Handler>(now: Now, (nth, rx): (usize, &mut LanesRx), handler: &mut H, out: &mut Outputs) -> usize {
    let Some((sockets, protocol)) = out.own.lanes.get(nth).map(|link| (link.waiting(), link.protocol())) else {
        return 0;
    };
    let mut work = 0;
    // At most a few messages of each that is ready now: others get their turn, and what is left does not wait for events.
    for _ in 0..sockets {
        if !out.own.lanes.get_mut(nth).is_some_and(|link| link.recv(now, rx)) {
            break;
        }
        work += rx.len();
        hand_over(now, protocol, rx.iter(), handler, out, |out, (from, sender, bytes)| {
            let affinity = out.own.lanes.get_mut(nth)?.admit(&from, sender, bytes)?;
            Some(CorePacket { lane: from.lane, affinity, bytes })
        });
        rx.clear();
    }
    work
}

/// Hands what `admit` lets through to the handler.
fn hand_over<'m, H: Handler, M>(
    now: Now,
    protocol: Protocol,
    mut messages: impl Iterator<Item = M>,
    handler: &mut H,
    out: &mut Outputs,
    admit: impl Fn(&mut Outputs, M) -> Option<CorePacket<'m>>,
) {
    loop {
        let mut hand: ArrayVec<CorePacket<'_>, HAND> = ArrayVec::new();
        for message in messages.by_ref() {
            hand.extend(admit(out, message));
            if hand.is_full() {
                break;
            }
        }
        if hand.is_empty() {
            return;
        }
        out.counters.core_received += hand.len() as u64;
        handler.on_core(now, protocol, &hand, out);
    }
}
