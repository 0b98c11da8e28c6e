//! Many terminals over real sockets, on one thread: what `portunus demo`, `portunus register --count` and the load
//! generator run.
//!
//! Terminals of one protocol share a few UDP sockets. A protected datagram finds its terminal by the handle in its header,
//! anything else by the tag in its Call-ID (SIP), or by the N1 or the transaction id that it answers; over TCP each
//! terminal has a connection until it is active, and sessions of `tls` have one of their own. Every terminal checks its
//! own keys: nothing here looks into a message.

mod config;
mod deadlines;
mod finder;
mod run;
mod schedule;
mod secured;
mod sockets;

pub use config::{FleetConfig, FleetResult, Goal, Progress, Subscribers};
pub use run::Fleet;
pub use schedule::{Arrivals, Schedule};
