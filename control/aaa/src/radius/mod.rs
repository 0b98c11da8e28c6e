//! RADIUS: the packet, its authenticators, what the steps look like in it, and the two ends of a link.

pub mod attr;
mod build;
pub mod carriage;
mod lane;
pub mod link;
mod packet;
pub mod server;
mod sign;
mod states;

pub use build::Builder;
pub use packet::{
    Attribute, Attributes, Code, HEADER_LEN, Only, PACKET_MAX, Packet, PacketError, PacketErrorKind, VALUE_MAX, frame,
};
pub use sign::{Distrust, check_answer, check_request};
