//! The engine: what it holds, and its face. What it does with a message stands in the modules beside this one.

use crate::access::Taken;
use crate::api::{Command, EndReason, Meta, Packet, Sink, Why};
use crate::border::border;
use crate::config::{Config, ConfigError, Keys, Policy};
use crate::counters::Counters;
use crate::routes::Routes;
use crate::site::{Site, TicketKind, TicketParts};
use crate::store::answers::Answers;
use crate::store::asked::Asked;
use crate::store::pendings::Pendings;
use crate::store::sessions::{Sessions, State};
use crate::store::staged::Stage;
use crate::store::wheel::Wheel;
use arrayvec::ArrayVec;
use portunus_keydist::bugs::{Bug, planted};
use portunus_keydist::proxy::{HashKey, Proxy, Rules, Sizes, Source};
use portunus_keydist::{DeviceKeys, Idc, Now, Random};
use portunus_signalling::{Border, Marks, Text, Ticket};
use std::sync::Arc;

/// Messages that are read before the first of them is handled: what they will look up lies scattered over large tables,
/// and the misses of so many overlap.
pub(crate) const AHEAD: usize = 8;

/// What a protocol may lay down of each message that is read ahead.
type Rooms = [(Marks, Text); AHEAD];

/// One worker's proxy.
///
/// ```text
///   access ──► on_batch ─┬─ unprotected ─► access ─┬─► registration (s1, s7) ──► s2, s8 ──► core
///                        │                         └─► stock phones
///                        └─ protected ───► traffic ────────────────────────────────────────► core
///   core ────► on_core ──┬─ s5 ──────────► registration ──► s6 ──► access
///                        ├─ s9, batched ─► grant ──► s10, provisional session ──► access
///                        └─ the rest ────► core ──► sessions, protected or plain ──► access
///   time ────► on_timer ──► 503s, sessions' ends
/// ```
pub struct Engine {
    pub(crate) site: Site,
    pub(crate) routes: Routes,
    pub(crate) policy: Arc<Policy>,
    pub(crate) border: Arc<Border>,
    pub(crate) device: DeviceKeys,
    pub(crate) hash: HashKey,
    pub(crate) role: Proxy,
    pub(crate) rng: Box<dyn Random + Send>,
    pub(crate) counters: Counters,
    pub(crate) sessions: Sessions,
    /// Bindings that refreshes ask for.
    pub(crate) staged: Stage,
    /// What sessions on lanes have asked of the core.
    pub(crate) asked: Asked,
    pub(crate) pendings: Pendings,
    pub(crate) answers: Answers,
    pub(crate) wheel: Wheel,
    /// For messages whose destination is known only when they are written.
    pub(crate) scratch: Vec<u8>,
    /// For what protocols note of the messages that are read ahead; elsewhere while a batch is in hand.
    rooms: Option<Box<Rooms>>,
    /// Timers below this are pendings', the others sessions'.
    pub(crate) first_session_timer: u32,
    pub(crate) draining: bool,
    /// The host's kernel takes new sessions, where it is asked at all.
    pub(crate) kernel: bool,
}

impl core::fmt::Debug for Engine {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Engine").field("worker", &self.site.worker).finish_non_exhaustive()
    }
}

fn rules(policy: &Policy) -> Rules {
    Rules { window_ms: policy.window_ms, challenge_ms: policy.challenge_ms, lockout: policy.lockout }
}

impl Engine {
    /// Makes an engine and reserves all the memory that it will ever use.
    ///
    /// # Errors
    /// [`ConfigError`] names the first field of the configuration or policy that is out of its limits.
    pub fn new(
        config: Config,
        policy: Arc<Policy>,
        keys: Keys,
        mut rng: Box<dyn Random + Send>,
    ) -> Result<Self, ConfigError> {
        config.validate()?;
        policy.validate()?;
        let (c, worker, hash) = (config.capacity, config.worker, keys.process.hash().clone());
        let seeds = rng.next_u64();
        let routes = config.routes.clone();
        let site = Site::new(config);
        let sizes = Sizes { replay: c.replay, lockout: c.lockout };
        Ok(Self {
            role: Proxy::new(&keys.process, worker, sizes, rules(&policy)),
            sessions: Sessions::new(
                c.sessions,
                c.session_text,
                (hash.clone(), [site.has_tls(), site.has_kernel()]),
                worker,
                seeds as u32,
            ),
            staged: Stage::new(),
            asked: Asked::new(),
            pendings: Pendings::new(c.pendings, c.request, (seeds >> 32) as u32),
            answers: Answers::new(c.answers, c.answer_octets, c.message),
            wheel: Wheel::new(c.pendings + c.sessions),
            scratch: vec![0; c.message],
            rooms: Some(Box::new([const { (Marks::NONE, Text::new()) }; AHEAD])),
            first_session_timer: c.pendings as u32,
            site,
            routes,
            border: border(&keys.device, &policy.border),
            policy,
            device: keys.device,
            hash,
            rng,
            counters: Counters::default(),
            draining: false,
            kernel: true,
        })
    }

    /// Takes a batch of messages from the access side. Protected datagrams are opened in place.
    pub fn on_batch(&mut self, now: Now, packets: &mut [Packet<'_>], sink: &mut dyn Sink) {
        self.counters.rx_access += packets.len() as u64;
        for of_listener in packets.chunk_by_mut(|a, b| a.meta.listener == b.meta.listener) {
            let mechanism = of_listener.first().and_then(|packet| self.site.protected(packet.meta.listener));
            let opened = || of_listener.first().is_some_and(|p| self.site.opened_by_kernel(p.meta.listener).is_some());
            let kernel = mechanism.is_none() && opened();
            for some in of_listener.chunks_mut(AHEAD) {
                match (mechanism, kernel) {
                    (Some(mechanism), _) => self.on_protected(now, mechanism, some, sink),
                    (None, true) => self.on_opened_by_kernel(now, some, sink),
                    (None, false) => self.on_some_unprotected(now, some, sink),
                }
            }
        }
        self.gauge();
    }

    fn on_some_unprotected(&mut self, now: Now, some: &[Packet<'_>], sink: &mut dyn Sink) {
        // Made once: three kilobytes need not be cleared for every few messages. They are elsewhere only within this call.
        let Some(mut rooms) = self.rooms.take() else { return };
        let mut taken: ArrayVec<Taken<'_>, AHEAD> = ArrayVec::new();
        for (packet, (marks, text)) in some.iter().zip(&mut *rooms) {
            taken.extend(self.take(packet, marks, text));
        }
        core::hint::black_box(taken.iter().fold(0, |sum, each| sum ^ self.touch(each)));
        // Where they lie: a list of mechanisms makes them long.
        for (incoming, said) in &mut taken {
            self.on_unprotected(now, incoming, said, sink);
        }
        drop(taken);
        self.rooms = Some(rooms);
    }

    /// When [`Engine::on_timer`] is wanted next, on the monotonic clock in milliseconds, and why.
    pub fn next_deadline(&self) -> Option<(u64, Why)> {
        let (at, timer) = self.wheel.next_deadline()?;
        let why = match timer {
            Some(timer) if timer < self.first_session_timer => Why::CoreTimeout,
            Some(_) => Why::Session,
            None => Why::Wheel,
        };
        Some((at, why))
    }

    /// Obeys an order of the control side.
    pub fn on_command(&mut self, now: Now, command: Command, sink: &mut dyn Sink) {
        match command {
            Command::EndSession { idc, kid } => {
                if let Some(idc) = Idc::new(&idc) {
                    self.end_by_command(idc, kid, sink);
                }
            }
            Command::EndChannel { kid } => {
                if let Some(slot) = self.sessions.by_kid(kid) {
                    self.counters.kernel_lost += 1;
                    self.end_session(slot, EndReason::Commanded, sink);
                }
            }
            Command::Kernel(takes) => self.kernel = takes,
            Command::Drain => self.draining = true,
            Command::Resume => self.draining = false,
            Command::Reload(policy) => {
                if policy.validate().is_ok() {
                    self.role.set_rules(rules(&policy));
                    self.border = border(&self.device, &policy.border);
                    let (mut policy, base) = (Arc::unwrap_or_clone(policy), self.policy.classes.clone());
                    policy.classes.follow(&base, &policy.mechanisms);
                    self.policy = Arc::new(policy);
                }
            }
            Command::Rekey(device) => {
                self.border = border(&device, &self.policy.border);
                self.device = Arc::unwrap_or_clone(device);
            }
        }
        let _ = now;
        self.gauge();
    }

    fn end_by_command(&mut self, idc: Idc<'_>, kid: Option<u64>, sink: &mut dyn Sink) {
        let meant = |slot: &u32, sessions: &Sessions| kid.is_none() || sessions.kid(*slot) == kid;
        for wanted in [State::Active, State::Stock, State::Provisional] {
            let found = self.sessions.by_idc(idc, |state| state == wanted);
            if let Some(slot) = found.filter(|slot| meant(slot, &self.sessions)) {
                self.end_session(slot, EndReason::Commanded, sink);
            }
        }
    }

    /// True when no registration waits for the core.
    pub fn is_idle(&self) -> bool {
        self.pendings.used() == 0
    }

    /// What was counted so far.
    pub const fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Names a message: source and octets.
    pub(crate) fn digest(&self, meta: &Meta, octets: &[u8]) -> u128 {
        if planted(Bug::SourcelessCache) {
            return self.hash.digest(b'M', &[octets]);
        }
        self.hash.digest(b'M', &[Source::new(meta.source, meta.listener).as_bytes(), octets])
    }

    pub(crate) fn pending_ticket(&self, slot: u32) -> Ticket {
        self.pendings.get(slot).map_or(Ticket(0), |pending| pending.ticket(slot, self.site.worker))
    }

    pub(crate) fn session_ticket(&self, slot: u32, kind: TicketKind) -> Ticket {
        let generation = self.sessions.get(slot).map_or(0, |session| session.generation);
        TicketParts { kind, generation, slot }.ticket(self.site.worker)
    }

    pub(crate) const fn session_timer(&self, slot: u32) -> u32 {
        self.first_session_timer + slot
    }

    /// Seconds until a refused terminal should try again, spread so that not all come at once.
    pub(crate) fn retry_after(&mut self) -> u32 {
        let (min, max) = (self.policy.retry_after_min_s, self.policy.retry_after_max_s);
        min + (self.rng.next_u64() % u64::from(max - min + 1)) as u32
    }

    pub(crate) fn gauge(&mut self) {
        self.counters.pendings = self.pendings.used() as u64;
    }
}
