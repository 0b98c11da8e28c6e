//! SIP (RFC 3261) for Portunus: a checked, zero-copy view of a message; framing on streams; editing by patching the
//! original octets; the carriage of PKD1 (spec section 4) at the terminal's and the softswitch's end; and [`Sip`], the
//! proxy's side, as the engine sees it.
//!
//! Nothing here allocates, does I/O, reads a clock or draws randomness; work is bounded by the limits of [`view`].
//!
//! Deliberately absent: transactions, dialogs and their timers; media; anything growable.

pub mod carriage;
mod edit;
pub mod frame;
pub mod patch;
mod proxy;
pub mod view;
mod write;

pub use proxy::Sip;

/// The digest algorithm token of PKD1.
pub const ALGORITHM: &str = "PKD1-HMAC-SHA-256";

/// What stands for s10's MAC while it is computed: 64 `0` digits.
pub const MAC_PLACEHOLDER: &[u8; 64] = &[b'0'; 64];
