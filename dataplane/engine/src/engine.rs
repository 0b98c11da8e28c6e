//! The engine: what it holds, and its face.

use crate::api::{Command, Packet, Sink, Why};
use crate::config::{Config, ConfigError, Keys, Policy};
use crate::counters::Counters;
use portunus_keydist::{Now, Random};
use portunus_signalling::Protocol;
use std::sync::Arc;

/// One worker's proxy.
pub struct Engine {
    config: Config,
    policy: Arc<Policy>,
    keys: Keys,
    rng: Box<dyn Random + Send>,
    counters: Counters,
}

impl Engine {
    /// Makes an engine and reserves all the memory that it will ever use.
    ///
    /// # Errors
    /// [`ConfigError`] names the first field of the configuration or policy that is out of its limits.
    pub fn new(
        config: Config,
        policy: Arc<Policy>,
        keys: Keys,
        rng: Box<dyn Random + Send>,
    ) -> Result<Self, ConfigError> {
        config.validate()?;
        policy.validate()?;
        Ok(Self { config, policy, keys, rng, counters: Counters::default() })
    }

    /// Takes a batch of messages from the access side.
    pub fn on_batch(&mut self, now: Now, packets: &mut [Packet<'_>], sink: &mut dyn Sink) {
        let _ = (now, sink, &self.keys, &mut self.rng, &self.config);
        self.counters.rx_access += packets.len() as u64;
    }

    /// Takes a batch of messages from the core, all of one protocol.
    pub fn on_core(&mut self, now: Now, messages: &[&[u8]], protocol: Protocol, sink: &mut dyn Sink) {
        let _ = (now, protocol, sink);
        self.counters.rx_core += messages.len() as u64;
    }

    /// Does what is due.
    pub fn on_timer(&mut self, now: Now, sink: &mut dyn Sink) {
        let _ = (now, sink);
    }

    /// When [`Engine::on_timer`] is wanted next, on the monotonic clock in milliseconds, and why.
    pub fn next_deadline(&self) -> Option<(u64, Why)> {
        None
    }

    /// Obeys an order of the control side.
    pub fn on_command(&mut self, now: Now, command: Command, sink: &mut dyn Sink) {
        let _ = (now, sink);
        if let Command::Reload(policy) = command {
            self.policy = policy;
        }
    }

    /// True when no registration waits for the core.
    pub fn is_idle(&self) -> bool {
        self.counters.pendings == 0
    }

    /// What was counted so far.
    pub const fn counters(&self) -> &Counters {
        &self.counters
    }
}
