//! Carriage: PKD1's steps in SIP messages (spec section 4), for the two ends that the proxy talks to, and what stands
//! between a phone without PKD1 and the terminal's end.

pub mod beside;
pub mod core;
pub mod terminal;
pub(crate) mod values;
