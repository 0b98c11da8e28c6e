//! Diameter: the message, its dictionary, the watchdog, what the steps look like in Cx, and the two ends of a link.
//!
//! Between softswitch and AuC one side always connects (the softswitch, or a relay towards the AuC) and the other
//! accepts, so that two nodes never have two half-made connections and the election of RFC 6733 section 5.6.4 has
//! nothing to decide. A host that connects again has lost its former connection: the newer one replaces it.

mod base;
mod build;
pub mod cx;
pub mod dict;
pub mod end;
pub mod link;
mod message;
mod watchdog;

pub use build::Builder;
pub use message::{Avp, Avps, BadLength, Fault, HEADER_LEN, Header, MESSAGE_MAX, Message, flag, frame};
