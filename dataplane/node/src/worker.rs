//! A worker: its sockets, its connections, its shard of the terminals, in one loop on one processor.
//!
//! ```text
//!  +-> receive (UDP batches, connections) -> Handler --+
//!  |   messages of the core, by the worker's own links |
//!  |   or a ring, orders, timers ------------> Handler -+-> flush: sendmmsg, write, ring the control thread
//!  |                                                                  |
//!  +---- busy: at once | some work: rest, then look | none: epoll <---+
//! ```

mod core;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arrayvec::ArrayVec;
use mio::{Events, Poll};
use portunus_engine::{Command, Meta, Packet};
use portunus_io::stream::Scratch;
use portunus_io::{Batch, Consumer, Doorbell};
use portunus_keydist::Now;

use crate::clock::Clock;
use crate::handler::Handler;
use crate::outputs::Outputs;
use crate::own::{LINK, OwnLinks, Rooms};
use crate::pace::Pacer;
use crate::readings::Board;
use crate::secured::Neighbours;

/// How a thread of a node is woken.
pub(crate) type Bell = Doorbell<mio::Waker>;

/// Token of a thread's own waker.
pub(crate) const WAKER: usize = 0;
/// Tokens of a worker's ports begin here.
pub(crate) const PORTS: usize = 1;
/// Tokens of a worker's connections begin here.
pub(crate) const STREAMS: usize = 1024;

/// Messages that a handler is given at once.
const HAND: usize = 64;
/// Batches that one port may bring in one turn, so that others get theirs.
const TURN_BATCHES: usize = 4;
/// Reads of connections in one turn.
const TURN_READS: usize = 64;
/// Turns without a look at epoll while there is enough to do.
const BLIND_TURNS: u64 = 8;
/// Milliseconds between two publications of counters while there is traffic.
const PUBLISH_MS: u64 = 100;
/// Longest sleep in milliseconds: a net under everything that should have woken the thread earlier.
const SLEEP_MS: u64 = 1000;

/// What others see of a worker.
pub(crate) struct WorkerShared {
    pub(crate) board: Board,
    pub(crate) stop: AtomicBool,
}

/// The parts of a worker, moved into its thread.
pub(crate) struct Worker<H> {
    pub(crate) clock: Clock,
    pub(crate) poll: Poll,
    pub(crate) events: Events,
    pub(crate) handler: H,
    pub(crate) out: Outputs,
    pub(crate) rx: Batch,
    pub(crate) scratch: Scratch,
    /// What is received by the worker's own links to the core.
    pub(crate) rooms: Rooms,
    pub(crate) from_core: Consumer,
    pub(crate) orders: rtrb::Consumer<Command>,
    pub(crate) bell: Arc<Bell>,
    pub(crate) neighbours: Neighbours,
    pub(crate) control: Arc<Bell>,
    pub(crate) shared: Arc<WorkerShared>,
    pub(crate) pacer: Pacer,
    pub(crate) published_ms: u64,
    /// Something was counted since the last publication.
    pub(crate) dirty: bool,
}

impl<H: Handler> Worker<H> {
    /// Works until told to stop.
    ///
    /// # Errors
    /// What waiting for events reports, an interruption excepted: the worker cannot go on then.
    pub(crate) fn run(&mut self) -> io::Result<()> {
        while !self.shared.stop.load(Ordering::Relaxed) {
            let now = self.clock.now();
            let work = self.turn(now);
            self.dirty |= work > 0;
            self.housekeeping(now);
            self.wait(now, work)?;
        }
        self.out.flush();
        self.publish();
        Ok(())
    }

    /// After a failure: keeps the sockets open until the node stops. Closing them would renumber the group, and
    /// the other workers' terminals would meet strangers.
    pub(crate) fn linger(&mut self) {
        while !self.shared.stop.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// One turn; returns how many messages it handled.
    fn turn(&mut self, now: Now) -> usize {
        self.out.counters.loops += 1;
        self.out.now = now;
        let mut work = 0;
        for nth in 0..self.out.ports.len() {
            work += self.receive(nth, now);
        }
        while let Some((kid, conn)) = self.out.streams.take_ended() {
            self.handler.on_connection_gone(kid, conn);
        }
        work += self.neighbours.adopt(now, self.poll.registry(), &mut self.handler, &mut self.out);
        if self.out.streams.hungry() {
            work += self.read_streams(now);
        }
        work += self.receive_core(now) + self.take_from_core(now);
        while let Ok(order) = self.orders.pop() {
            self.handler.on_command(now, order, &mut self.out);
            work += 1;
        }
        if self.handler.next_deadline().is_some_and(|at| at <= now.mono_ms) {
            self.handler.on_timer(now, &mut self.out);
            self.dirty = true;
        }
        if self.out.streams.next_deadline().is_some_and(|at| at <= now.mono_ms) {
            self.out.streams.on_timer(now.mono_ms);
            self.dirty = true;
        }
        if self.out.flush() && self.control.ring() {
            self.out.counters.wakes_issued += 1;
        }
        work
    }

    /// Receives at one port.
    fn receive(&mut self, nth: usize, now: Now) -> usize {
        let mut work = 0;
        for _ in 0..TURN_BATCHES {
            let Some(port) = self.out.ports.get_mut(nth).filter(|port| port.ready) else { break };
            let listener = port.listener;
            self.out.counters.calls_io += 1;
            match port.link.recv(&mut self.rx) {
                Ok(received) => {
                    port.ready = !received.drained;
                    self.out.counters.io_rx_datagrams += received.messages as u64;
                    self.out.counters.io_rx_oversize += received.oversize as u64;
                    self.out.counters.io_rx_invalid += received.invalid as u64;
                }
                Err(_) => {
                    // An error of the socket (an ICMP message, say) is taken out by reporting it; go on with the rest.
                    self.out.counters.io_rx_errors += 1;
                    break;
                }
            }
            work += self.rx.len();
            let mut messages = self.rx.iter_mut();
            loop {
                let mut hand: ArrayVec<Packet<'_>, HAND> = ArrayVec::new();
                for (source, bytes) in messages.by_ref().take(HAND) {
                    hand.push(Packet { meta: Meta { source, listener, conn: 0 }, bytes });
                }
                if hand.is_empty() {
                    break;
                }
                self.handler.on_batch(now, &mut hand, &mut self.out);
            }
            self.rx.clear();
        }
        work
    }

    /// Accepts connections and reads from those that have something.
    fn read_streams(&mut self, now: Now) -> usize {
        self.out.streams.accept(self.poll.registry(), now.mono_ms, TURN_READS);
        let mut work = 0;
        for _ in 0..TURN_READS {
            let Some(turn) = self.out.streams.turn(now.mono_ms, &mut self.scratch) else { break };
            // A handshake that brings no message is to be seen too.
            self.dirty = true;
            let meta = Meta { source: turn.peer, listener: turn.listener, conn: turn.conn };
            if let Some(name) = turn.asks {
                self.neighbours.asked(self.poll.registry(), (turn.conn, name), &mut self.handler, &mut self.out);
                continue;
            }
            if turn.opened && !self.handler.on_secured(now, turn.mark, &meta, &mut self.out) {
                self.out.streams.finish(turn.conn);
                continue;
            }
            let mut messages = self.scratch.messages();
            loop {
                let mut hand: ArrayVec<Packet<'_>, HAND> = ArrayVec::new();
                for bytes in messages.by_ref().take(HAND) {
                    hand.push(Packet { meta, bytes });
                }
                if hand.is_empty() {
                    break;
                }
                work += hand.len();
                match turn.mark {
                    0 => self.handler.on_batch(now, &mut hand, &mut self.out),
                    kid => self.handler.on_inside(now, kid, &mut hand, &mut self.out),
                }
            }
        }
        self.out.counters.io_rx_stream_messages += work as u64;
        work
    }

    fn housekeeping(&mut self, now: Now) {
        if self.dirty && now.mono_ms.saturating_sub(self.published_ms) >= PUBLISH_MS {
            self.published_ms = now.mono_ms;
            self.dirty = false;
            self.out.streams.on_timer(now.mono_ms);
            self.publish();
        }
    }

    pub(crate) fn publish(&mut self) {
        self.out.tally();
        let (counters, handler, own) = (&self.out.counters, &self.handler, &self.out.own);
        self.shared.board.publish(|show| {
            counters.readings(show);
            handler.readings(show);
            own.readings(show);
        });
    }

    /// True while there is something to do without any event.
    fn hungry(&self) -> bool {
        self.out.ports.iter().any(|port| port.ready)
            || self.out.own.hungry()
            || self.out.streams.hungry()
            || !self.from_core.is_empty()
    }

    /// Waits for what comes next, as long as it takes, and takes note of it.
    fn wait(&mut self, now: Now, work: usize) -> io::Result<()> {
        if self.hungry() {
            if self.out.counters.loops.is_multiple_of(BLIND_TURNS) {
                self.look(Duration::ZERO)?;
            }
            return Ok(());
        }
        if let Some(rest) = self.pacer.rest(work) {
            self.out.counters.rests += 1;
            std::thread::sleep(rest);
            self.look(Duration::ZERO)?;
            self.pacer.outcome(self.hungry());
            return Ok(());
        }
        self.bell.prepare();
        if self.from_core.is_empty() && self.orders.is_empty() && self.neighbours.is_empty() {
            let timeout = self.timeout(now);
            let event = self.look(timeout)?;
            if !event && timeout >= Duration::from_millis(SLEEP_MS) {
                // Nothing came for long: look at every port once, should an event have been missed.
                self.out.ports.iter_mut().for_each(|port| port.ready = true);
                self.out.own.set_all_ready();
                self.out.streams.on_timer(self.clock.now().mono_ms);
            }
        }
        self.bell.awake();
        Ok(())
    }

    fn timeout(&self, now: Now) -> Duration {
        let longest = match (self.out.blocked, self.dirty) {
            (true, _) => 1,
            (false, true) => PUBLISH_MS,
            (false, false) => SLEEP_MS,
        };
        let deadlines = [self.handler.next_deadline(), self.out.streams.next_deadline(), self.out.own.next_look()];
        let next = deadlines.into_iter().flatten().min().map_or(longest, |at| at.saturating_sub(now.mono_ms));
        Duration::from_millis(next.min(longest))
    }

    /// Asks epoll and takes note of what it says; true when it said anything.
    fn look(&mut self, timeout: Duration) -> io::Result<bool> {
        self.out.counters.calls_poll += 1;
        match self.poll.poll(&mut self.events, Some(timeout)) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(false),
            Err(error) => return Err(error),
        }
        for event in &self.events {
            match event.token().0 {
                WAKER => {}
                token if OwnLinks::is_lane(token) => self.out.own.on_event(token),
                token if token >= STREAMS => self.out.streams.on_event(event),
                token if token >= LINK => self.out.own.on_event(token),
                token => {
                    if let Some(port) = self.out.ports.get_mut(token - PORTS) {
                        port.ready = true;
                    }
                }
            }
        }
        Ok(!self.events.is_empty())
    }
}
