//! H.323 RAS (H.225.0, aligned PER over UDP) for Portunus: a checked, zero-copy view of a message; writers; editing by
//! patching the original octets; the carriage of PKD1 (spec section 4) at the terminal's and the gatekeeper's end; and
//! [`Ras`], the proxy's side, as the engine sees it.
//!
//! Nothing here allocates, does I/O, reads a clock or draws randomness; work is bounded by a message's octets. Everything
//! unknown in a message is carried on untouched: extension additions by their length, tokens of others aligned anew.
//!
//! Deliberately absent: an ASN.1 compiler's types (a data plane that builds a tree of every message allocates), H.245, the
//! call signalling channel, anything growable.

pub mod carriage;
mod edit;
mod proxy;
mod schema;
pub mod view;
pub mod write;

pub use proxy::Ras;

/// 1.3.6.1.4.1.32473.7 without the last number, as DER has it.
pub(crate) const OID_PKD1: [u8; 9] = [0x2b, 6, 1, 4, 1, 0x81, 0xfd, 0x59, 7];

/// 1.2.840.113549.2.9, hmacWithSHA256 (RFC 4231).
pub(crate) const OID_HMAC_SHA256: [u8; 8] = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 2, 9];

/// What stands for s10's MAC while it is computed: 32 zero octets.
pub const MAC_PLACEHOLDER: &[u8; 32] = &[0; 32];
