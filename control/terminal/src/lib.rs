//! The terminal's side of PKD1: registers, proves that it knows Kc, checks the proxy, and uses the session key.
//!
//! - [`sip::SipTerminal`]: one SIP terminal without I/O. Time, randomness and received octets are arguments;
//!   datagrams to send and events leave as data. The agent, the fleet and the simulator all run this one machine.
//! - [`fleet::Fleet`]: many of them over real sockets, with an arrival schedule and latencies measured from the
//!   intended start.
//! - [`farend`]: the other side without memory, for tests and for measuring.
//!
//! Deliberately absent: media, a dial plan, stock-phone digest (real phones and sipp do that).

pub mod farend;
pub mod fleet;
pub mod sip;
