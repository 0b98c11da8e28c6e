//! The control thread: owns the links to the core, brings each message of the core to its worker, and keeps the
//! directory of terminals. It may take its time, but not the workers': all it shares with them are bounded rings.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arrayvec::ArrayString;
use crossbeam::channel::Receiver;
use mio::{Events, Poll};
use portunus_engine::{Command, CorePacket, Lane};
use portunus_io::{Consumer, Producer};
use portunus_keydist::Idc;
use portunus_keydist::Now;
use portunus_keydist::ident::IdcBuf;
use portunus_keydist::proxy::HashKey;

use crate::clock::Clock;
use crate::directory::{Directory, Entered};
use crate::outputs::{EVENT_ACTIVE, EVENT_ENDED, NAME, Told, core_tag, put_lane, take_core};
use crate::pace::Pacer;
use crate::readings::{Board, ControlCounters};
use crate::route::{Destination, Router};
use crate::upstream::{Arrival, CoreMessage, Deliver, Delivered, Upstream};
use crate::worker::{Bell, WAKER};

/// Tokens of the links to the core.
pub(crate) const LINKS: core::ops::Range<usize> = 16..(1 << 20);
/// Messages that one worker may bring in one turn, so that others get theirs.
const TURN_MESSAGES: usize = 256;
/// Orders that may wait for a worker whose queue is full.
const BACKLOG: usize = 65_536;
const PUBLISH_MS: u64 = 100;
const SLEEP_MS: u64 = 1000;

/// What the handle asks of the control thread.
pub(crate) enum Order {
    /// For every worker.
    All(Command),
    /// Ends a terminal's session, wherever it is.
    End(IdcBuf),
    /// Ends the session of this handle: what carried it is gone.
    Channel(u64),
}

/// The way to one worker.
pub(crate) struct Way {
    pub(crate) to: Producer,
    pub(crate) orders: rtrb::Producer<Command>,
    pub(crate) backlog: VecDeque<Command>,
    pub(crate) bell: Arc<Bell>,
    pub(crate) pushed: bool,
}

/// What comes from one worker.
pub(crate) struct Intake {
    pub(crate) messages: Consumer,
    pub(crate) events: Option<Consumer>,
}

/// Everything on the workers' side of the control thread; the links' side calls it as [`Deliver`].
pub(crate) struct Hub {
    pub(crate) ways: Vec<Way>,
    pub(crate) router: Box<dyn Router>,
    /// What names terminals, as the workers name them.
    pub(crate) hash: HashKey,
    /// `None` with one worker: every terminal is there.
    pub(crate) directory: Option<Directory>,
    pub(crate) counters: ControlCounters,
}

impl Hub {
    fn hand_over(&mut self, worker: u8, message: &Arrival<'_>) -> Delivered {
        let Some(way) = self.ways.get_mut(usize::from(worker)) else {
            self.counters.core_unroutable += 1;
            return Delivered::Dropped;
        };
        let Arrival { protocol, lane, affinity, octets, .. } = *message;
        let copy = |place: &mut [u8]| {
            place.get_mut(..octets.len())?.copy_from_slice(octets);
            Some(octets.len())
        };
        let room = octets.len() + NAME;
        match way.to.push_with(core_tag(protocol, affinity, lane), room, |place| put_lane(lane, place, copy)) {
            Ok(_) => {
                way.pushed = true;
                Delivered::Taken
            }
            Err(_) => {
                self.counters.core_ring_full += 1;
                Delivered::Dropped
            }
        }
    }

    fn order(&mut self, worker: u8, command: Command) {
        let Some(way) = self.ways.get_mut(usize::from(worker)) else { return };
        if way.backlog.len() >= BACKLOG {
            self.counters.commands_lost += 1;
            return;
        }
        way.backlog.push_back(command);
    }

    /// Passes on what waits and wakes the workers that have something new.
    fn flush(&mut self) {
        for way in &mut self.ways {
            while !way.orders.is_full() {
                let Some(command) = way.backlog.pop_front() else { break };
                if let Err(rtrb::PushError::Full(command)) = way.orders.push(command) {
                    way.backlog.push_front(command);
                    break;
                }
                way.pushed = true;
            }
            if core::mem::take(&mut way.pushed) && way.bell.ring() {
                self.counters.wakes_issued += 1;
            }
        }
    }

    fn on_event(&mut self, tag: u32, octets: &[u8], session: &mut dyn FnMut(u64, u8, bool)) {
        let Some(Told { stamp, kid, name }) = Told::read(octets) else { return };
        let Some(idc) = Idc::from_octets(name) else { return };
        let (name, worker) = (Lane::name(&self.hash, idc), worker_of(kid));
        let Some(directory) = &mut self.directory else { return session(name, worker, tag == EVENT_ACTIVE) };
        let mut moved = None;
        match tag {
            EVENT_ACTIVE => match directory.enter(name, kid, stamp) {
                Entered::Replaced(older) if worker_of(older) != worker => moved = Some(older),
                // Its news came late: the newest confirmed session stays.
                Entered::Older => moved = Some(kid),
                Entered::Full => self.counters.directory_full += 1,
                Entered::New | Entered::Replaced(_) => {}
            },
            EVENT_ENDED => directory.remove(name, kid),
            _ => {}
        }
        self.counters.directory = directory.len() as u64;
        session(name, worker, tag == EVENT_ACTIVE);
        if let Some(older) = moved {
            self.counters.sessions_moved += 1;
            session(name, worker_of(older), false);
            self.order(worker_of(older), end_session(idc, Some(older)));
        }
    }

    fn session_of(&self, idc: Idc<'_>) -> Option<u64> {
        self.directory.as_ref()?.find(Lane::name(&self.hash, idc))
    }

    /// The worker that holds the session of the terminal of this name.
    fn holder(&self, name: u64) -> Option<u8> {
        self.directory.as_ref()?.find(name).map(worker_of)
    }

    fn on_order(&mut self, order: Order) {
        let all = |hub: &mut Self, command: &Command| {
            for worker in 0..hub.ways.len() {
                hub.order(worker as u8, command.clone());
            }
        };
        match order {
            Order::All(command) => all(self, &command),
            Order::Channel(kid) => self.order(worker_of(kid), Command::EndChannel { kid }),
            Order::End(idc) => match self.session_of(idc.as_idc()) {
                Some(kid) => self.order(worker_of(kid), end_session(idc.as_idc(), Some(kid))),
                None => all(self, &end_session(idc.as_idc(), None)),
            },
        }
    }
}

/// The worker that a session's handle names.
const fn worker_of(kid: u64) -> u8 {
    (kid >> 56) as u8
}

fn end_session(idc: Idc<'_>, kid: Option<u64>) -> Command {
    // An IDc is never longer than the buffer.
    let idc = ArrayString::from(idc.as_str()).unwrap_or_default();
    Command::EndSession { idc, kid }
}

impl Deliver for Hub {
    fn deliver(&mut self, message: Arrival<'_>, answer: &mut [u8]) -> Delivered {
        self.counters.core_received += 1;
        if self.directory.is_none() && self.router.by_lane(message.protocol) {
            return self.hand_over(message.worker, &message);
        }
        let reachable = match self.router.route(message.protocol, message.octets) {
            Destination::Worker(worker) => return self.hand_over(worker, &message),
            Destination::Step => return self.hand_over(message.worker, &message),
            Destination::Lane => {
                let holder = match message.lane {
                    Lane::Of(name) => self.holder(name),
                    Lane::Shared => None,
                };
                return self.hand_over(holder.unwrap_or(message.worker), &message);
            }
            Destination::Terminal(idc) => {
                let worker = match &self.directory {
                    None => Some(0),
                    Some(_) => self.session_of(idc.as_idc()).map(worker_of),
                };
                match worker {
                    Some(worker) => return self.hand_over(worker, &message),
                    None => false,
                }
            }
            Destination::Own => true,
            Destination::Unknown => {
                self.counters.core_unroutable += 1;
                return Delivered::Dropped;
            }
        };
        match self.router.answer(message.protocol, message.octets, reachable, answer) {
            0 => Delivered::Dropped,
            len => {
                self.counters.core_answered += 1;
                Delivered::Answer(len)
            }
        }
    }
}

/// What others see of the control thread.
pub(crate) struct ControlShared {
    pub(crate) board: Board,
    pub(crate) stop: AtomicBool,
}

/// The parts of the control thread, moved into it.
pub(crate) struct Control {
    pub(crate) clock: Clock,
    pub(crate) poll: Poll,
    pub(crate) events: Events,
    pub(crate) upstream: Box<dyn Upstream>,
    pub(crate) hub: Hub,
    pub(crate) intakes: Vec<Intake>,
    pub(crate) orders: Receiver<Order>,
    pub(crate) bell: Arc<Bell>,
    pub(crate) shared: Arc<ControlShared>,
    pub(crate) pacer: Pacer,
    pub(crate) published_ms: u64,
    pub(crate) dirty: bool,
}

impl Control {
    /// Works until told to stop.
    ///
    /// # Errors
    /// What waiting for events reports, an interruption excepted: the thread cannot go on then.
    pub(crate) fn run(&mut self) -> io::Result<()> {
        let mut came = 0;
        while !self.shared.stop.load(Ordering::Relaxed) {
            let now = self.clock.now();
            let work = self.turn(now) + came;
            self.dirty |= work > 0;
            // What a link does by itself, in its own time, is seen no later than the thread looks up.
            let age_ms = now.mono_ms.saturating_sub(self.published_ms);
            if age_ms >= if self.dirty { PUBLISH_MS } else { SLEEP_MS } {
                self.published_ms = now.mono_ms;
                self.dirty = false;
                self.publish();
            }
            came = self.wait(now, work)?;
        }
        self.upstream.flush(self.clock.now(), &mut self.hub);
        self.publish();
        Ok(())
    }

    fn publish(&self) {
        let (counters, upstream) = (&self.hub.counters, &self.upstream);
        self.shared.board.publish(|show| {
            counters.readings(show);
            upstream.readings(show);
        });
    }

    /// One turn; returns how many messages, events and orders it handled.
    fn turn(&mut self, now: Now) -> usize {
        let Self { intakes, upstream, hub, orders, .. } = self;
        hub.counters.loops += 1;
        let (mut work, before) = (0, hub.counters.core_received);
        for (worker, intake) in intakes.iter_mut().enumerate() {
            if let Some(events) = &mut intake.events {
                work += events.drain(usize::MAX, |tag, octets| {
                    hub.on_event(tag, octets, &mut |name, worker, active| {
                        upstream.on_session(now, name, worker, active);
                    });
                });
            }
            work += intake.messages.drain(TURN_MESSAGES, |tag, octets| {
                let Some((protocol, packet)) = take_core(tag, octets) else { return };
                let CorePacket { affinity, lane, bytes: octets } = packet;
                let message = CoreMessage { protocol, affinity, worker: worker as u8, lane, octets };
                let taken = upstream.send(now, message);
                hub.counters.core_sent += u64::from(taken);
                hub.counters.core_dropped += u64::from(!taken);
            });
        }
        while let Ok(order) = orders.try_recv() {
            hub.on_order(order);
            work += 1;
        }
        if upstream.hungry() || upstream.next_deadline().is_some_and(|at| at <= now.mono_ms) {
            upstream.on_timer(now, hub);
        }
        upstream.flush(now, hub);
        hub.flush();
        work + (hub.counters.core_received - before) as usize
    }

    /// Waits for what comes next and lets the links deal with their events; returns how many messages came.
    fn wait(&mut self, now: Now, work: usize) -> io::Result<usize> {
        let before = self.hub.counters.core_received;
        if self.hungry() {
            self.look(Duration::ZERO)?;
        } else if let Some(rest) = self.pacer.rest(work) {
            self.hub.counters.rests += 1;
            std::thread::sleep(rest);
            let event = self.look(Duration::ZERO)?;
            self.pacer.outcome(event || self.hungry());
        } else {
            self.bell.prepare();
            if !self.hungry() {
                let longest = if self.dirty { PUBLISH_MS } else { SLEEP_MS };
                let next = self.upstream.next_deadline().map_or(longest, |at| at.saturating_sub(now.mono_ms));
                self.look(Duration::from_millis(next.min(longest)))?;
            }
            self.bell.awake();
        }
        Ok((self.hub.counters.core_received - before) as usize)
    }

    fn hungry(&self) -> bool {
        let waiting = |intake: &Intake| {
            !intake.messages.is_empty() || intake.events.as_ref().is_some_and(|events| !events.is_empty())
        };
        self.upstream.hungry()
            || self.intakes.iter().any(waiting)
            || self.hub.ways.iter().any(|way| !way.backlog.is_empty() && !way.orders.is_full())
    }

    fn look(&mut self, timeout: Duration) -> io::Result<bool> {
        self.hub.counters.calls_poll += 1;
        match self.poll.poll(&mut self.events, Some(timeout)) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(false),
            Err(error) => return Err(error),
        }
        let now = self.clock.now();
        for event in &self.events {
            if event.token().0 != WAKER {
                // What a link only counts and throws away is to be seen too.
                self.dirty = true;
                self.upstream.on_ready(now, event, &mut self.hub);
            }
        }
        Ok(!self.events.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outputs::{News, Outputs};
    use crate::own::OwnLinks;
    use mio::{Token, Waker};
    use portunus_engine::{EndReason, Event, Sink as _};
    use portunus_io::ring::ring;
    use portunus_io::stream::{StreamLimits, Streams};
    use portunus_signalling::Protocol;
    use std::sync::atomic::AtomicU64;

    /// Nothing comes from the core here.
    struct Nowhere;

    impl Router for Nowhere {
        fn route(&self, _: Protocol, _: &[u8]) -> Destination {
            Destination::Unknown
        }

        fn answer(&self, _: Protocol, _: &[u8], _: bool, _: &mut [u8]) -> usize {
            0
        }
    }

    /// A hub with two workers; per worker its outgoing side, its orders and its news.
    fn two_workers() -> (Hub, Vec<(Outputs, rtrb::Consumer<Command>, Consumer)>) {
        let order = Arc::new(AtomicU64::new(0));
        let poll = Poll::new().unwrap();
        let bell = Arc::new(Bell::new(Waker::new(poll.registry(), Token(0)).unwrap()));
        let mut ways = Vec::new();
        let workers = (0..2).map(|_| {
            let ((to_core, _), (to, _), (news, events)) = (ring(4096), ring(4096), ring(4096));
            let (orders, taken) = rtrb::RingBuffer::new(16);
            ways.push(Way { to, orders, backlog: VecDeque::new(), bell: Arc::clone(&bell), pushed: false });
            let streams = Streams::new(StreamLimits::default(), 1);
            let news = Some(News { ring: news, order: Arc::clone(&order) });
            let own = OwnLinks::new(HashKey::new(1, 2));
            (Outputs::new(Vec::new(), streams, (to_core, own), news, 1500), taken, events)
        });
        let workers = workers.collect();
        let (hash, directory) = (HashKey::new(1, 2), Some(Directory::new(8)));
        (Hub { ways, router: Box::new(Nowhere), hash, directory, counters: ControlCounters::default() }, workers)
    }

    /// Whatever order the news of two workers is read in, the session that became active last stays.
    #[test]
    fn the_newest_session_stays_whichever_workers_news_is_read_first() {
        let idc = Idc::new("alice@example.test").unwrap();
        let kid = |worker: u64| worker << 56 | 5;
        for first in [0, 1] {
            let (mut hub, mut workers) = two_workers();
            workers[0].0.event(Event::Active { idc, kid: kid(0), keyed: true });
            workers[1].0.event(Event::Active { idc, kid: kid(1), keyed: true });
            for worker in [first, 1 - first] {
                workers[worker].2.drain(usize::MAX, |tag, octets| hub.on_event(tag, octets, &mut |_, _, _| {}));
            }
            hub.flush();
            assert_eq!(hub.session_of(idc), Some(kid(1)), "news of {first} first");
            let ended = workers[0].1.pop();
            assert!(matches!(ended, Ok(Command::EndSession { kid: Some(ended), .. }) if ended == kid(0)), "{ended:?}");
            assert!(workers[1].1.pop().is_err());
            // The older one's end is no news; the newer one's is.
            workers[0].0.event(Event::Ended { idc, kid: kid(0), why: EndReason::Commanded });
            workers[0].2.drain(usize::MAX, |tag, octets| hub.on_event(tag, octets, &mut |_, _, _| {}));
            assert_eq!(hub.session_of(idc), Some(kid(1)));
            workers[1].0.event(Event::Ended { idc, kid: kid(1), why: EndReason::Deregistered });
            workers[1].2.drain(usize::MAX, |tag, octets| hub.on_event(tag, octets, &mut |_, _, _| {}));
            assert_eq!(hub.session_of(idc), None);
        }
    }
}
