//! The terminal's side of PKD1: registers, proves that it knows Kc, checks the proxy, and uses the session key.
//!
//! - [`Endpoint`]: one terminal without I/O. Time, randomness and received octets are arguments; datagrams to send and
//!   events leave as data. The role machine, repetition, clock correction, cookie, confirmation, protected session, signs
//!   of life and refresh dates are the same for every protocol; an [`agent::Agent`] writes and reads its messages:
//!   [`sip::Sip`], [`mgcp::Mgcp`], [`h248::H248`], [`ras::Ras`].
//! - [`fleet::Fleet`]: many of them over real sockets, with an arrival schedule and latencies measured from the
//!   intended start.
//! - [`stream::Stream`]: a connection to the proxy, for owners of terminals that need one.
//! - [`activation`]: a first key for a code on paper.
//! - [`farend`]: the other side without memory, for tests and for measuring.
//!
//! A terminal may stand for somebody else ([`Profile::through`]): then it registers and keeps the session, and hands
//! over what is said inside.
//!
//! Deliberately absent: media, a dial plan, stock-phone digest (real phones and sipp do that).

pub mod activation;
pub mod agent;
mod endpoint;
mod event;
mod failure;
pub mod farend;
pub mod fleet;
pub mod h248;
pub mod mgcp;
mod profile;
pub mod ras;
mod requests;
mod session;
pub mod sip;
pub mod stream;
pub mod words;

pub use endpoint::{AnyTerminal, Endpoint, Path, Tally, Transmit, Why};
pub use event::{Active, Event, Step};
pub use failure::{Blame, Failure};
pub use profile::{MECHS, Profile, ProfileError, Transport, offering};
pub use session::handles;
