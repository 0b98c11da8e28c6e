//! One signalling proxy as threads: pinned workers with their own sockets and their own shard of the terminals, and
//! one control thread that owns the links to the core (a lone worker drives them itself).
//!
//! ```text
//!  terminals        worker 0  [sockets | Handler | timers]  --ring-->  control thread  [Upstream]      core
//!  ---------------> worker 1  [sockets | Handler | timers]  <--ring--  [directory, routing, counters] <----->
//! ```
//!
//! * [`config`]: what a node is told. * [`node`]: [`Node::start`] and the [`NodeHandle`].
//! * [`handler`]: the trait that the engine implements for a worker; [`floor`] has the bare forwarder beside it.
//! * [`upstream`]: the way to the core; [`udp`] is the one over UDP to several softswitches, [`lanes`] the one for
//!   protocols that tell terminals apart by their address, [`links`] several of them as one.
//!
//! Steering brings every source to the same worker, a protected datagram to the worker that its handle names, and an
//! answer of the core to the worker that its ticket names; nothing on a packet's way locks, allocates or waits.

mod assemble;
mod clock;
pub mod config;
mod control;
mod directory;
pub mod floor;
mod framing;
pub mod handler;
pub mod kernel;
mod lanes;
pub mod links;
pub mod node;
mod outputs;
mod own;
mod pace;
mod readings;
pub mod route;
mod secured;
pub mod softswitches;
pub mod udp;
pub mod upstream;
mod worker;

pub use clock::Clock;
pub use config::{Cpus, ListenerConfig, NodeConfig, Pace, Topology};
pub use handler::Handler;
pub use kernel::{KernelCounters, KernelEsp};
pub use lanes::{LANES_MAX, LaneCounters, LanesConfig, LanesUpstream};
pub use links::Links;
pub use node::{Failure, Middleware, Node, NodeHandle, NodeReading, Place, Plan, PlanKind, PlanListener, Seat};
pub use node::{StartError, StartReport};
pub use own::OwnLinks;
pub use readings::{ControlCounters, WorkerCounters};
pub use route::{Destination, Router};
pub use softswitches::Shares;
pub use udp::{UdpConfig, UdpCounters, UdpLink, UdpUpstream};
pub use upstream::{Arrival, CoreMessage, Deliver, Delivered, Upstream};
