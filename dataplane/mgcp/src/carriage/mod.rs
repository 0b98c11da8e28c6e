//! Carriage: PKD1's steps in MGCP messages (spec section 4), for the two ends that the proxy talks to.

pub mod core;
pub(crate) mod step;
pub mod terminal;
