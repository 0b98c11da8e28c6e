//! The agent beside unmodified SIP phones and media gateways: it takes their plain registrations, performs PKD1 with the proxy in their
//! names, and carries everything else that they say and hear through the channel.
//!
//! ```text
//!   phone                    agent                                  proxy
//!     | REGISTER               |                                      |
//!     |----------------------->| s1 s6 s7 s10, confirmation           |
//!     |                 200 OK |<====================================>|
//!     |<-----------------------|                                      |
//!     | INVITE ...             |  its own Via and Record-Route        |
//!     |<---------------------->|<============ sealed ===============>|
//! ```
//!
//! - [`Agent`]: all phones of one agent without I/O; time, randomness and octets are arguments, [`Effect`]s leave as
//!   data. The terminal role itself is [`portunus_terminal`]'s.
//! - [`run::Runner`]: the thin loop over sockets.
//!
//! To its phones the agent is registrar and outbound proxy. It is stateless towards calls (RFC 3261 section 16.11): a
//! keyed hash in its Via branch shows that a response answers what it passed on, and whose it is. Only the registrations
//! that wait for the channel are kept, and the requests of phones that rely on a stream to deliver them. Of MGCP and H.248
//! gateways everything passes as it stands (`gateways`).
//!
//! Deliberately absent: media, which flows beside the agent; digest towards phones, since whoever may send from a phone's
//! address is the phone (`from`).

mod agent;
mod config;
mod counters;
mod gateways;
mod passing;
mod phone;
mod registering;
pub mod run;
mod secured;
mod way;

pub use agent::{Agent, Effect, Notice};
pub use config::{Config, ConfigError, Gateways, PhoneConfig};
pub use counters::Counters;
pub use way::Flow;
