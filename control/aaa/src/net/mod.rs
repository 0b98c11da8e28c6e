//! Sockets around the state machines, on the caller's `mio` loop. Nothing here decides anything of the protocol.

mod client;
mod datagrams;
mod proof;
mod server;
mod stream;

pub use client::{ClientRunner, RunnerConfig, ServerPeer, TlsPeer};
pub use server::{Asked, Listen, ListenTls, ServerRunner, ServerTicket};

/// Longest datagram that is read.
pub(crate) const DATAGRAM_MAX: usize = 4_096;
/// Packets read from one socket before the others have their turn.
pub(crate) const TURN: usize = 512;
