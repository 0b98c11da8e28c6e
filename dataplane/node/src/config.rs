//! What a node is told: plain values, made by whoever reads configuration files.

use core::time::Duration;
use std::net::SocketAddr;

use portunus_engine::{Capacity, ListenerKind, Policy, Routes};
use portunus_io::listen::Buffers;
use portunus_io::stream::StreamLimits;
use portunus_keydist::DeviceKeys;

use crate::kernel::KernelEsp;
use crate::node::Middleware;

/// Which processors the workers own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cpus {
    /// The first processors that this process may use, leaving one for the control thread. Pinned where there are at
    /// least four.
    Auto {
        /// Workers wanted; 0 means all processors but one, at least one.
        workers: usize,
    },
    /// One worker for each of these, pinned to it.
    List(Vec<usize>),
    /// So many workers, pinned nowhere.
    Unpinned(usize),
}

/// How the threads of a node trade latency for batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// How long a busy thread rests between two batches that were smaller than `enough`, so that the next one is
    /// larger: the interrupt moderation of network cards, in software. Zero: never. At most 10 ms.
    pub rest: Duration,
    /// A batch of so many messages is worth no rest.
    pub enough: usize,
}

impl Default for Pace {
    fn default() -> Self {
        Self { rest: Duration::from_micros(100), enough: 32 }
    }
}

/// Threads, batches and rings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topology {
    /// The workers' processors; at most 255 workers.
    pub cpus: Cpus,
    /// The control thread's processor; `None` leaves the choice to the system.
    pub control_cpu: Option<usize>,
    /// Datagrams received or sent by one system call, 1 to 256.
    pub batch: usize,
    /// Octets of the longest message that is received or sent, 576 to 65535; longer ones are counted and dropped.
    pub message_max: usize,
    /// Octets of each ring between a worker and the control thread, 65536 to 2^30.
    pub ring: usize,
    /// Latency against batches.
    pub pace: Pace,
    /// Kernel buffers of the sockets.
    pub buffers: Buffers,
    /// Limits of stream connections, a worker.
    pub streams: StreamLimits,
    /// Terminals that the directory holds at most, when there is more than one worker. 30 octets each.
    pub directory: usize,
}

impl Default for Topology {
    fn default() -> Self {
        Self {
            cpus: Cpus::Auto { workers: 0 },
            control_cpu: None,
            batch: 64,
            message_max: 8192,
            ring: 1 << 20,
            pace: Pace::default(),
            buffers: Buffers::default(),
            streams: StreamLimits::default(),
            directory: 1 << 20,
        }
    }
}

/// One place where terminals are listened to; the index in [`NodeConfig::listeners`] is the engine's listener index.
#[derive(Clone, Copy)]
pub struct ListenerConfig {
    /// The address to bind; port 0 finds a free one.
    pub bind: SocketAddr,
    /// Where terminals reach it, where that differs (behind a translator, or for a wildcard address). Port 0 here
    /// means the port bound.
    pub advertised: Option<SocketAddr>,
    /// What arrives there.
    pub kind: ListenerKind,
}

/// Everything that a signalling proxy's node needs.
#[derive(Clone)]
pub struct NodeConfig {
    /// Threads, batches and rings.
    pub topology: Topology,
    /// The proxy's identity.
    pub idsp: String,
    /// The digest realm of its domain.
    pub realm: String,
    /// Which terminals are served, and by which route; the links to the core know what a route is.
    pub routes: Routes,
    /// PRK(Ksp), or PRK(Kss) in the direct topology.
    pub device: DeviceKeys,
    /// The access side; 1 to 32.
    pub listeners: Vec<ListenerConfig>,
    /// The engine's fixed sizes, for each worker.
    pub capacity: Capacity,
    /// That the host's kernel does ESP, for listeners of [`ListenerKind::Kernel`].
    pub kernel: Option<KernelEsp>,
    /// What a reload may change.
    pub policy: Policy,
    /// Around the datagram sockets of the access side, where given: captures, traces, faults.
    pub middleware: Option<Middleware>,
}

impl core::fmt::Debug for NodeConfig {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("NodeConfig")
            .field("topology", &self.topology)
            .field("idsp", &self.idsp)
            .field("realm", &self.realm)
            .field("listeners", &self.listeners.len())
            .field("capacity", &self.capacity)
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}
