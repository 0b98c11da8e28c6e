//! The bodies of the fuzz targets: what must hold for any input. Each is a function of octets, so that the ordinary
//! tests of the crate concerned include the same file and replay the kept seeds (`seeds/<target>/`).

pub mod channel;
pub mod engine;
pub mod h248;
pub mod h323;
pub mod hello;
pub mod mgcp;
pub mod seeds;
pub mod sip;
