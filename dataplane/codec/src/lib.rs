//! Octet-level building blocks shared by every protocol: a bounded writer, hex, unpadded base64url, decimal
//! numbers and the primitives of aligned PER. Nothing here allocates and nothing here knows a protocol.
//!
//! Deliberately absent: anything growable, anything that can panic on input.

mod base64url;
mod hex;
mod num;
mod per;
mod scan;
mod writer;

pub use base64url::{b64_decode, b64_encode, b64_len};
pub use hex::{hex_decode, hex_encode, hex_u64, parse_hex_u64};
pub use num::{Decimal, parse_u32, parse_u64};
pub use per::{Echo, Opened, PerReader, PerWriter, Range};
pub use scan::{find, find_or_unprintable, first_word};
pub use writer::{Full, Writer};
