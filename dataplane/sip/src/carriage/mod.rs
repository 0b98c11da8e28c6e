//! Carriage: PKD1's steps in SIP messages (spec section 4), for the two ends that the proxy talks to.

pub mod core;
pub mod terminal;
pub(crate) mod values;
