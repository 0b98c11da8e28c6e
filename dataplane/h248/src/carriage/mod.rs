//! The carriage of PKD1 (spec section 4) at the two ends that are not the proxy: [`terminal`], a media gateway, and
//! [`core`], a controller. [`message`] writes whatever else the two say to each other.

pub mod core;
pub(crate) mod faults;
pub mod message;
pub(crate) mod steps;
pub mod terminal;
