//! The softswitch for SIP: registrar and location service (RFC 3261 section 10, RFC 3327), the softswitch's part of
//! PKD1 (it asks the AuC, keeps the first verification word and compares it with the second), and a stateless proxy
//! (RFC 3261 section 16.11) between the terminals that registered.
//!
//! [`Softswitch`] does no I/O: messages and time go in, [`Effect`]s come out. [`run`] is the thin loop with the
//! socket and the AAA client. Behind a signalling proxy its neighbours are UDP addresses; facing terminals directly,
//! the proxy engine runs in front of it in the same process and is [`Peer::LocalProxy`].
//!
//! What it trusts: its configured neighbours, each for the proxy identities configured with it. Everybody else is
//! silence. Deliberately absent: any key (words and wraps pass through, keys never), any list of subscribers (the AuC
//! has it), DNS, and state for calls.

mod answers;
mod challenges;
mod config;
mod counters;
mod joined;
mod keyed;
mod location;
mod peers;
mod records;
mod register;
mod relay;
pub mod run;
mod state;
mod transactions;
mod uri;

pub use config::{Config, ConfigError, Expires, Limits, LocalProxy, Peer as PeerConfig, RETRIES_MAX};
pub use counters::Counters;
pub use joined::{Joined, Questions, Seen, Witness};
pub use peers::Peer;
pub use state::{AskId, Effect, Gauges, Softswitch};
