//! What bounds a set of connections, and what is counted of it.

use super::layer::{LAYER_ENDS, LayerEnd};

/// Limits of a set of connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamLimits {
    /// Connections at a time, 1 to 2^20 - 1.
    pub connections: usize,
    /// Octets of the longest message.
    pub message_max: usize,
    /// Octets that may wait for a peer that does not read.
    pub write_max: usize,
    /// Milliseconds without a complete message after which a connection is closed.
    pub idle_ms: u64,
    /// Milliseconds that a connection's layer has to open.
    pub opening_ms: u64,
}

impl Default for StreamLimits {
    fn default() -> Self {
        Self { connections: 16_384, message_max: 8192, write_max: 65_536, idle_ms: 900_000, opening_ms: 10_000 }
    }
}

/// What happened to connections, each counted once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StreamCounters {
    /// Connections accepted.
    pub accepted: u64,
    /// Connections refused: the limit was reached.
    pub refused: u64,
    /// Connections that the system could not accept (out of descriptors, aborted meanwhile).
    pub accept_failed: u64,
    /// Connections that the peer closed or reset.
    pub closed: u64,
    /// Connections closed because their octets are no messages, or a message is too long.
    pub broken: u64,
    /// Connections that the owner closed.
    pub finished: u64,
    /// Connections closed because the peer does not read.
    pub slow: u64,
    /// Connections closed because no message came for too long.
    pub idle: u64,
    /// Connections closed because their layer did not open in time.
    pub opening_late: u64,
    /// Connections that their layer ended, by [`super::LayerEnd`].
    pub layer: [u64; LAYER_ENDS],
    /// Messages for a connection that is gone.
    pub gone: u64,
    /// System calls for reading and writing.
    pub calls: u64,
}

impl StreamCounters {
    pub(super) fn layer_ended(&mut self, LayerEnd(why): LayerEnd) {
        if let Some(counter) = self.layer.get_mut(usize::from(why)) {
            *counter += 1;
        }
    }
}

/// Why a message could not be queued on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Undeliverable {
    /// The connection is gone (the peer's doing, or a limit's).
    Gone,
    /// The peer does not read: the connection was closed now.
    Slow,
    /// The writer gave no message.
    Declined,
}
