//! The softswitch: registrations of four call protocols, and what follows them at once.
//!
//! - One registration core ([`Softswitch`]): it asks the AuC, keeps the first verification word and compares it with
//!   the second (the softswitch's part of PKD1), bounds and counts, tells the AuC of registrations, and keeps one
//!   location for each identity over all protocols.
//! - One agent a protocol: SIP, a registrar and location service (RFC 3261 section 10, RFC 3327) and a stateless proxy
//!   (section 16.11); MGCP, a call agent; H.248, a media gateway controller; H.323 RAS, a gatekeeper.
//!
//! SIP registrars, call agents and media gateway controllers may be somebody else's, who know nothing of PKD1 and stand
//! behind us ([`Config::behind`]): who is authenticated here is told to them in their own words, and the rest passes.
//!
//! [`Softswitch`] does no I/O: messages and time go in, [`Effect`]s come out. [`run`] is the thin loop with the
//! sockets and the AAA client. Behind a signalling proxy its neighbours are UDP addresses; facing terminals directly,
//! the proxy engine runs in front of it in the same process and is [`Peer::LocalProxy`] or [`Peer::LocalLane`].
//!
//! What it trusts: its configured neighbours, each for the proxy identities configured with it. Everybody else is
//! silence. Deliberately absent: any key (words and wraps pass through, keys never), any list of subscribers (the AuC
//! has it), DNS, and state for calls.

mod agent;
mod behind;
mod challenges;
mod commands;
mod config;
mod counters;
mod gateways;
mod h248;
mod joined;
mod keyed;
mod location;
mod mgcp;
mod peers;
mod ports;
mod ras;
mod records;
mod registration;
pub mod run;
mod sip;
mod state;
mod switch;
mod transactions;
mod upstreams;
mod uri;

pub use config::{
    Behind, Config, ConfigError, Expires, Health, Limits, Listeners, LocalProxy, Neighbour, Peer as PeerConfig,
    RETRIES_MAX, Upstream,
};
pub use counters::Counters;
pub use joined::{Joined, Questions, Seen, Witness};
pub use peers::Peer;
pub use ports::{PortCounters, Ports};
pub use state::{AskId, Effect, Gauges};
pub use switch::Softswitch;
