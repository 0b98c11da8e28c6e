//! H.248.1 (Megaco) in its text encoding, for Portunus: a checked, zero-copy view of a message; TPKT framing on
//! streams; the carriage of PKD1 (spec section 4) at the
//! gateway's and the controller's end; and [`H248`], the proxy's side, as the engine sees it. The package that
//! carries it, `portunus` (0xF5A1), is defined in `PACKAGE.md` beside this crate's sources.
//!
//! Nothing on the proxy's path allocates, does I/O, reads a clock or draws randomness; work is bounded by the limits of
//! [`view`].
//!
//! Deliberately absent: the binary encoding, which is answered with an error; contexts and terminations as state.

mod ber;
pub mod carriage;
mod proxy;
mod renumber;
pub mod tpkt;
pub mod view;
mod write;

pub use proxy::H248;
pub use renumber::renumbered;

/// The package's name in the text encoding.
pub const PACKAGE: &str = "portunus";

/// What stands for s10's MAC while it is computed: 64 `0` digits.
pub const MAC_PLACEHOLDER: &[u8; 64] = &[b'0'; 64];
