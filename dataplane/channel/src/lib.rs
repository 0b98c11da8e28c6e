//! What protects signalling after registration (spec section 5): one contract, one room a mechanism, replay windows
//! and sequence numbers.
//!
//! A room that protects datagrams implements [`Mechanism`] and has one line in [`TABLE`] and one in the compliance
//! suite's list (`tests/compliance.rs`), which then holds it to round trips, truncation at every octet, bit flips,
//! replay, reflection and re-ordering. `tls` protects a stream: its room takes the PSK and its identity and lives with
//! the listener that ends the handshake, so it gets a line in the table without datagram functions.
//!
//! Nothing here allocates, reads a clock or knows a session: a caller finds the session by the handle that
//! [`Mechanism::peek`] returns, asks its [`ReplayWindow`], opens, and only then commits the sequence number.

mod contract;
pub mod esp;
pub mod kernel;
mod keys;
pub mod sealed;
pub mod sequence;
pub mod tls;
pub mod window;

pub use contract::{
    Carrier, Dropped, End, Flow, Format, Handles, Mechanism, OpenJob, Opened, Peek, Room, Said, SealError, SealJob,
    TABLE, datagrams, room,
};
pub use keys::{Keys, TrafficKey};
pub use sequence::{Reserving, Sequence};
pub use window::{Replay, ReplayWindow};
