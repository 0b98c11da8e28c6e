//! The carriage of PKD1 (spec section 4) in RAS: at the terminal's end, and at the gatekeeper's.

pub mod core;
pub mod terminal;
pub(crate) mod values;

pub use crate::proxy::write_fault;
