//! The authentication centre: keeps every shared key, sealed; makes vectors; records who is registered where.

pub mod custody;
pub mod digest;
pub mod store;
