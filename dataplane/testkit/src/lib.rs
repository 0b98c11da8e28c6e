//! What the tests of all signalling protocols share, for tests alone: what the steps of a registration say ([`steps`]),
//! messages on their way and how an independent reader is shown them ([`wire`]), and the suite that every protocol
//! passes: nothing allocates ([`allocation`]), and whatever arrives does no harm ([`robust`]).
//!
//! A protocol's own tests bring its messages, made by its own writers, and its own properties; a further protocol gets
//! everything here for one implementation of [`steps::Party`].

pub mod allocation;
pub mod robust;
pub mod steps;
pub mod wire;
