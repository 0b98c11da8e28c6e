//! The link to the core for protocols that tell terminals apart by their transport address (MGCP, H.248, RAS): one
//! shared UDP port a worker for first steps, and for each terminal that answers a challenge a port of its own, its
//! *lane*, through which everything of its session passes.
//!
//! ```text
//!  worker 0 ── s2 ──────────────────► [shared port of worker 0] ───► softswitch
//!  worker 0 ── s8, session of A ────► [lane (A, worker 0)] ────────► softswitch
//!  worker 1 ── s8, session of B ────► [lane (B, worker 1)] ────────► softswitch
//! ```
//!
//! The pool of lanes is bounded. A lane is opened by an s8 and closed when its session has ended and nothing has passed
//! for a while; when the pool is full, the lane without an active session that has been unused for the longest time
//! makes room, and when all have one, the message is dropped and counted.
//!
//! Where there is one worker, the ports are that worker's own, as those of [`crate::udp`] are. Several workers leave
//! them to the control thread, for a session may be at another worker than its lane.

mod link;
mod pool;

use core::ops::Range;
use std::io;
use std::net::{IpAddr, SocketAddr};

use mio::Registry;
use mio::event::Event;
use portunus_engine::Reading;
use portunus_io::Pushed;
use portunus_io::listen::Buffers;
use portunus_keydist::Now;
use portunus_signalling::Protocol;

pub(crate) use self::link::{LanesLink, LanesRx, TOKENS};
use crate::own::OwnLinks;
use crate::readings::counters;
use crate::softswitches::Shares;
use crate::upstream::{Arrival, CoreMessage, Deliver, Delivered, Upstream};

/// What the link is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LanesConfig {
    /// Whose messages it carries.
    pub protocol: Protocol,
    /// The address of all its ports; the system chooses their numbers.
    pub bind: IpAddr,
    /// The softswitches (or what stands before them); at least one, at most 255. A terminal keeps one of them.
    pub peers: Vec<SocketAddr>,
    /// Which of them each route leads to; none: all, evenly.
    pub routes: Vec<Shares>,
    /// Milliseconds of silence after which a softswitch is passed over.
    pub silent_ms: u64,
    /// Milliseconds between the messages that try a silent one.
    pub probe_ms: u64,
    /// Further hosts whose messages are taken.
    pub trusted: Vec<IpAddr>,
    /// Lanes open at once, at most; 1 to 65536, each a file descriptor.
    pub lanes: usize,
    /// Datagrams moved by one system call at the shared ports, 1 to 256.
    pub batch: usize,
    /// Octets of the longest message.
    pub message_max: usize,
    /// Kernel buffers of the shared ports; lanes have the system's own sizes.
    pub buffers: Buffers,
    /// Lets messages to and from a softswitch pass the system's network stack joined at the shared ports (UDP_SEGMENT,
    /// UDP_GRO), as [`crate::UdpConfig::coalesce`] does.
    pub coalesce: bool,
}

/// Most lanes of a link.
pub const LANES_MAX: usize = 1 << 16;

impl LanesConfig {
    /// The defaults for a link from `bind` to `peers`.
    pub fn new(protocol: Protocol, bind: IpAddr, peers: Vec<SocketAddr>) -> Self {
        let (lanes, batch, message_max, buffers) = (4096, 64, 8192, Buffers::default());
        Self {
            protocol,
            bind,
            peers,
            routes: Vec::new(),
            silent_ms: 2000,
            probe_ms: 1000,
            trusted: Vec::new(),
            lanes,
            batch,
            message_max,
            buffers,
            coalesce: true,
        }
    }
}

counters! {
    /// What the link did.
    LaneCounters {
        Counter lane_sent "Datagrams sent to the core by lanes and shared ports";
        Counter lane_received "Datagrams received from the core by lanes and shared ports";
        Counter lane_foreign "Datagrams dropped at lanes and shared ports: not from a host of the core";
        Counter lane_oversize "Datagrams dropped at lanes and shared ports: longer than the buffers";
        Counter lane_failed "Datagrams that the system could not send by a lane or a shared port";
        Counter lane_blocked "Datagrams dropped: the system takes no more at a lane or a shared port";
        Counter lane_opened "Lanes opened";
        Counter lane_unopened "Messages dropped: the system opens no further socket for a lane or a shared port";
        Counter lane_none_free "Messages dropped: every lane has an active session";
        Counter lane_reused "Lanes without an active session closed because another terminal needed one";
        Counter lane_closed "Lanes closed because their session had ended";
        Counter lane_failed_over "Messages sent to another softswitch because theirs is silent";
        Counter lane_held "Messages not sent: only a softswitch that is silent could answer them";
        Counter lane_probes "Messages that tried a silent softswitch";
        Gauge lane_peers_silent "Softswitches of lane protocols that are silent";
        Gauge lane_open "Lanes open";
        Gauge lane_active "Lanes with an active session";
    }
}

/// The lanes as the control thread drives them; see the module.
pub struct LanesUpstream {
    config: LanesConfig,
    link: LanesLink,
    tokens: Range<usize>,
    rx: LanesRx,
    answer: Box<[u8]>,
}

impl core::fmt::Debug for LanesUpstream {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("LanesUpstream").field("config", &self.config).field("link", &self.link).finish_non_exhaustive()
    }
}

impl LanesUpstream {
    /// A link that opens when the node starts it.
    pub fn new(config: LanesConfig) -> Self {
        let link = LanesLink::new(config.clone());
        let (rx, answer) = (link.room(), vec![0; link.longest().max(4096)].into_boxed_slice());
        Self { config, link, tokens: 0..0, rx, answer }
    }

    /// Receives what is ready now, and delivers it.
    fn receive(&mut self, now: Now, up: &mut dyn Deliver) {
        let Self { link, rx, answer, config, .. } = self;
        for _ in 0..link.waiting() {
            if !link.recv(now, rx) {
                return;
            }
            for (from, sender, octets) in rx.iter() {
                let Some(affinity) = link.admit(&from, sender, octets) else { continue };
                let (protocol, worker, lane) = (config.protocol, from.worker, from.lane);
                let arrival = Arrival { protocol, worker, lane, affinity, octets };
                if let Delivered::Answer(len) = up.deliver(arrival, answer) {
                    link.push_back(&from, sender, answer.get(..len).unwrap_or_default());
                }
            }
            rx.clear();
        }
    }
}

impl Upstream for LanesUpstream {
    fn start(&mut self, registry: &Registry, tokens: Range<usize>) -> io::Result<SocketAddr> {
        if tokens.len() < self.descriptors() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "too many lanes"));
        }
        self.tokens = tokens;
        self.link.open(registry, self.tokens.start)
    }

    fn yield_links(&mut self, registry: &Registry, own: &mut OwnLinks) -> io::Result<()> {
        own.take_lanes(registry, core::mem::replace(&mut self.link, LanesLink::new(self.config.clone())))
    }

    fn send(&mut self, now: Now, message: CoreMessage<'_>) -> bool {
        if message.protocol != self.config.protocol {
            return false;
        }
        let pushed = self.link.push_with(now, message.affinity, (message.lane, message.worker), &mut |place| {
            place.get_mut(..message.octets.len())?.copy_from_slice(message.octets);
            Some(message.octets.len())
        });
        self.link.counters.lane_oversize += u64::from(pushed == Pushed::Declined);
        pushed == Pushed::Written
    }

    fn flush(&mut self, _now: Now, _up: &mut dyn Deliver) {
        self.link.flush();
    }

    fn on_ready(&mut self, _now: Now, event: &Event, _up: &mut dyn Deliver) {
        if let Some(nth) = event.token().0.checked_sub(self.tokens.start) {
            self.link.set_ready(nth);
        }
    }

    fn hungry(&self) -> bool {
        self.link.waiting() > 0
    }

    fn on_timer(&mut self, now: Now, up: &mut dyn Deliver) {
        self.receive(now, up);
        self.link.look(now);
    }

    fn next_deadline(&self) -> Option<u64> {
        // The system took no more: try again soon.
        if self.link.is_blocked() { Some(0) } else { self.link.next_look() }
    }

    fn descriptors(&self) -> usize {
        link::WORKERS + self.config.lanes.clamp(1, LANES_MAX)
    }

    fn follows_sessions(&self) -> bool {
        self.link.is_open()
    }

    fn on_session(&mut self, now: Now, name: u64, worker: u8, active: bool) {
        self.link.on_session(now, (name, worker), active);
    }

    fn readings(&self, show: &mut dyn FnMut(Reading)) {
        self.link.readings(show);
    }
}
