//! The signalling proxy without I/O: registrations under way, sessions, timers, admission and routing, for one
//! worker's shard of the terminals. Generic over the signalling protocol, and it names none.
//!
//! [`Engine::on_batch`] takes messages of the access side, [`Engine::on_core`] those of the core, [`Engine::on_timer`]
//! the time; effects leave through a [`Sink`]. All memory is reserved when the engine is made, and touched when it is
//! used; afterwards nothing allocates, locks or waits. Every limit that is reached has a counter.
//!
//! Deliberately absent: sockets, clocks, threads, logs, any protocol's vocabulary, other workers' sessions.

mod access;
mod api;
mod border;
mod choice;
mod classes;
mod config;
mod counters;
mod engine;
mod from_core;
mod grant;
mod kernel;
mod lanes;
mod out;
mod protected;
mod protection;
mod registration;
mod routes;
mod site;
mod stock;
mod store;
mod timers;
mod tls;
mod traffic;

pub use api::{Command, CorePacket, EndReason, Event, Lane, Meta, Packet, Sink, To, Why};
pub use classes::{CLASSES_MAX, Class, Classes, PATTERNS_MAX, Pattern, RATE_MAX, Terms};
pub use config::{
    Capacity, Config, ConfigError, Cookies, Keys, LISTENERS_MAX, Listener, ListenerKind, Policy, SESSIONS_MAX,
};
pub use counters::{Counters, Kind, Reading};
pub use engine::Engine;
pub use portunus_keydist::proxy::LockoutPolicy;
pub use portunus_signalling::{NAMES_MAX, Names, Rules};
pub use routes::{Affinity, HOMES_MAX, LOTS, ROUTES_MAX, Routes, Rule};
