//! Commands of the softswitch's own: repeated until they are answered, or given up. For protocols whose core speaks
//! first (MGCP RQNT and AUEP, H.248 Modify and AuditValue, RAS URQ and IRQ); the times are the protocol's.
//!
//! ```text
//!   send ──► open ──(answer from where it went)──► its purpose, once
//!             │ ▲
//!             └─┘ repeated ──(no answer in time)──► given up: its purpose
//! ```

use crate::agent::Ctx;
use crate::keyed::Keyed;
use crate::peers::Peer;
use core::ops::RangeInclusive;
use hashbrown::HashMap;
use portunus_keydist::timing::{Due, Repeat, Repeating};
use portunus_keydist::{Now, Random};
use std::cmp::Reverse;
use std::collections::BinaryHeap;

#[derive(Debug)]
struct Command<P> {
    to: Peer,
    bytes: Vec<u8>,
    purpose: P,
    /// `None`: not sent yet.
    repeat: Option<Repeating>,
    due_ms: u64,
}

/// Open commands of one protocol, by transaction id. `P` says what a command was for.
#[derive(Debug)]
pub(crate) struct Commands<P> {
    open: HashMap<u32, Command<P>, Keyed>,
    /// What is due when; an entry that is not its command's `due_ms` was overtaken.
    queue: BinaryHeap<Reverse<(u64, u32)>>,
    ids: RangeInclusive<u32>,
    next: u32,
    schedule: Repeat,
    max: usize,
}

impl<P> Commands<P> {
    /// No commands. `ids` are the transaction ids that the protocol allows, drawn from in turn; at most `max` commands
    /// are open at a time.
    pub(crate) fn new(ids: RangeInclusive<u32>, schedule: Repeat, max: usize, random: &mut dyn Random) -> Self {
        let span = u64::from(ids.end() - ids.start()) + 1;
        let next = ids.start() + (random.next_u64() % span) as u32;
        let open = HashMap::with_hasher(Keyed::new(random));
        Self { open, queue: BinaryHeap::new(), ids, next, schedule, max }
    }

    /// A transaction id that no open command has: ask for it, write the command, then [`Commands::send`] it.
    pub(crate) fn id(&mut self) -> u32 {
        loop {
            let id = self.next;
            self.next = if id >= *self.ids.end() { *self.ids.start() } else { id + 1 };
            // Fewer commands than ids are ever open.
            if !self.open.contains_key(&id) {
                return id;
            }
        }
    }

    /// True where no further command would be sent.
    pub(crate) fn is_full(&self) -> bool {
        self.open.len() >= self.max
    }

    /// Sends a command now, and again until it is answered. Too many open: it is counted and dropped, and `false`.
    pub(crate) fn send(&mut self, ctx: &mut Ctx<'_>, id: u32, to: Peer, bytes: Vec<u8>, purpose: P) -> bool {
        self.send_in(ctx, 0, (id, to), bytes, purpose)
    }

    /// As [`Commands::send`], for the first time after `ms` milliseconds: for what is to follow a registration as soon
    /// as its session may be active.
    pub(crate) fn send_in(
        &mut self,
        ctx: &mut Ctx<'_>,
        ms: u64,
        (id, to): (u32, Peer),
        bytes: Vec<u8>,
        purpose: P,
    ) -> bool {
        if self.is_full() {
            ctx.core.counters.command_full += 1;
            return false;
        }
        let due_ms = ctx.now.mono_ms + ms;
        self.open.insert(id, Command { to, bytes, purpose, repeat: None, due_ms });
        match ms {
            0 => drop(self.work(ctx, id)),
            _ => self.queue.push(Reverse((due_ms, id))),
        }
        true
    }

    /// An answer: the purpose of the command that it belongs to, which is over. `None`, and counted: it answers nothing
    /// that was sent to `from`.
    pub(crate) fn answered(&mut self, ctx: &mut Ctx<'_>, id: u32, from: Peer) -> Option<P> {
        if self.open.get(&id).is_none_or(|c| c.to != from) {
            ctx.core.counters.stray_answer += 1;
            return None;
        }
        self.open.remove(&id).map(|c| c.purpose)
    }

    /// True when a command to this neighbour is open under this id.
    pub(crate) fn awaits(&self, id: u32, from: Peer) -> bool {
        self.open.get(&id).is_some_and(|c| c.to == from)
    }

    /// A provisional answer: the command is not repeated, and given up after `wait_ms` more.
    pub(crate) fn pending(&mut self, now: Now, id: u32, from: Peer, wait_ms: u32) {
        if let Some(command) = self.open.get_mut(&id).filter(|c| c.to == from) {
            let repeat = Repeating::begin(Repeat { gaps_ms: &[], give_up_ms: wait_ms }, now);
            command.due_ms = repeat.deadline().0;
            command.repeat = Some(repeat);
            self.queue.push(Reverse((command.due_ms, id)));
        }
    }

    /// Drops every command to a lane that is no longer a terminal's.
    pub(crate) fn cancel(&mut self, to: Peer) {
        self.cancel_if(|at| at == to);
    }

    /// Drops every command to these neighbours.
    pub(crate) fn cancel_if(&mut self, is: impl Fn(Peer) -> bool) {
        self.open.retain(|_, c| !is(c.to));
    }

    /// Repeats what is due. The purposes of what nobody answered are returned, and counted.
    pub(crate) fn on_timer(&mut self, ctx: &mut Ctx<'_>) -> Vec<P> {
        let mut given_up = Vec::new();
        while let Some(Reverse((due, id))) =
            self.queue.peek().copied().filter(|Reverse((due, _))| *due <= ctx.now.mono_ms)
        {
            self.queue.pop();
            if self.open.get(&id).is_some_and(|c| c.due_ms == due) {
                given_up.extend(self.work(ctx, id));
            }
        }
        given_up
    }

    /// What a command's time asks for: the first sending, another one, or giving up.
    fn work(&mut self, ctx: &mut Ctx<'_>, id: u32) -> Option<P> {
        let command = self.open.get_mut(&id)?;
        let due = match &mut command.repeat {
            None => {
                command.repeat = Some(Repeating::begin(self.schedule, ctx.now));
                ctx.core.counters.command_sent += 1;
                Some(Due::Repeat)
            }
            Some(repeat) => {
                let due = repeat.poll(ctx.now);
                ctx.core.counters.command_repeated += u64::from(due == Some(Due::Repeat));
                due
            }
        };
        if due == Some(Due::GiveUp) {
            ctx.core.counters.command_given_up += 1;
            return self.open.remove(&id).map(|c| c.purpose);
        }
        command.due_ms = command.repeat.as_ref().map_or(u64::MAX, |r| r.deadline().0);
        self.queue.push(Reverse((command.due_ms, id)));
        if due == Some(Due::Repeat) {
            ctx.send(command.to, command.bytes.clone());
        }
        None
    }

    /// When [`Commands::on_timer`] has something to do, monotonic milliseconds; at worst a little early.
    pub(crate) fn next_deadline(&self) -> Option<u64> {
        self.queue.peek().map(|Reverse((due, _))| *due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::state::{Core, Effect};
    use portunus_keydist::SystemRandom;
    use portunus_signalling::Protocol;

    const SCHEDULE: Repeat = Repeat { gaps_ms: &[200, 400], give_up_ms: 1_500 };

    struct World {
        core: Core,
        commands: Commands<&'static str>,
        out: Vec<Effect>,
        now: Now,
    }

    impl World {
        fn new(max: usize) -> Self {
            let config = Config::new(([127, 0, 0, 1], 5060).into(), "example.test");
            let core = Core::new(config, Box::new(SystemRandom::new())).unwrap();
            let commands = Commands::new(5..=7, SCHEDULE, max, &mut SystemRandom::new());
            Self { core, commands, out: Vec::new(), now: Now { mono_ms: 100, wall_ms: 0 } }
        }

        fn with<R>(&mut self, f: impl FnOnce(&mut Commands<&'static str>, &mut Ctx<'_>) -> R) -> R {
            let (now, protocol) = (self.now, Protocol::Mgcp);
            f(&mut self.commands, &mut Ctx { core: &mut self.core, now, protocol, out: &mut self.out })
        }

        /// Until `ms`; when something was sent.
        fn pass(&mut self, ms: u64) -> (Vec<u64>, Vec<&'static str>) {
            let (mut sent, mut given_up) = (Vec::new(), Vec::new());
            while let Some(due) = self.commands.next_deadline().filter(|due| *due <= ms) {
                self.now.mono_ms = self.now.mono_ms.max(due);
                given_up.extend(self.with(|c, ctx| c.on_timer(ctx)));
                sent.extend(self.out.drain(..).map(|_| self.now.mono_ms));
            }
            self.now.mono_ms = ms;
            (sent, given_up)
        }
    }

    fn lane(n: u16) -> Peer {
        Peer::Udp(([192, 0, 2, 1], n).into())
    }

    #[test]
    fn repeated_until_answered_by_whom_was_asked() {
        let mut w = World::new(3);
        let id = w.commands.id();
        assert!(w.with(|c, ctx| c.send(ctx, id, lane(1), b"AUEP".to_vec(), "audit")));
        assert!(matches!(&w.out.remove(0), Effect::Send { protocol: Protocol::Mgcp, to, .. } if *to == lane(1)));
        assert_eq!(w.pass(800), (vec![300, 700], vec![]));
        assert_eq!(w.with(|c, ctx| c.answered(ctx, id, lane(2))), None);
        assert_eq!(w.with(|c, ctx| c.answered(ctx, id, lane(1))), Some("audit"));
        assert_eq!(w.with(|c, ctx| c.answered(ctx, id, lane(1))), None);
        assert_eq!((w.pass(9_000), w.core.counters.stray_answer), ((vec![], vec![]), 2));
        assert_eq!((w.core.counters.command_sent, w.core.counters.command_repeated), (1, 2));
    }

    #[test]
    fn given_up_in_time_and_later_after_a_provisional_answer() {
        let mut w = World::new(3);
        let (one, two) = (w.commands.id(), w.commands.id());
        assert_ne!(one, two);
        w.with(|c, ctx| c.send(ctx, one, lane(1), vec![1], "one"));
        w.with(|c, ctx| c.send_in(ctx, 50, (two, lane(2)), vec![2], "two"));
        assert_eq!(w.out.drain(..).len(), 1, "the second waits");
        assert_eq!(w.pass(160).0, [150]);
        w.commands.pending(w.now, two, lane(2), 5_000);
        let (sent, given_up) = w.pass(2_000);
        assert_eq!((sent, given_up), (vec![300, 700, 1_100, 1_500], vec!["one"]));
        assert_eq!(w.pass(9_000), (vec![], vec!["two"]));
        assert_eq!((w.core.counters.command_given_up, w.commands.open.len()), (2, 0));
    }

    #[test]
    fn ids_are_those_allowed_and_the_table_is_bounded() {
        let mut w = World::new(2);
        let mut ids = Vec::new();
        for n in 0..3u16 {
            let id = w.commands.id();
            ids.push((id, w.with(|c, ctx| c.send(ctx, id, lane(n), vec![0], "x"))));
        }
        assert!(ids.iter().all(|(id, _)| (5..=7).contains(id)));
        assert_eq!(ids.iter().map(|(_, sent)| *sent).collect::<Vec<_>>(), [true, true, false]);
        assert_eq!(w.core.counters.command_full, 1);
        assert!(w.commands.awaits(ids[0].0, lane(0)));
        w.commands.cancel(lane(0));
        assert_eq!((w.commands.open.len(), w.commands.awaits(ids[0].0, lane(0))), (1, false));
    }
}
