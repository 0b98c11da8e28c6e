//! Keys that generator, proxy under test and stand-in core agree on without a file: derived from names. For
//! measuring only; nothing secret is protected by them.

use portunus_keydist::Key;
use ring::hmac;

/// The realm of all measurements.
pub const REALM: &str = "bench.example.test";
/// The proxy's identity in all measurements.
pub const IDSP: &str = "sp1.bench.example.test";

/// The key of an identity.
pub fn key_of(identity: &str) -> Key {
    let key = hmac::Key::new(hmac::HMAC_SHA256, b"portunus-load: no secret");
    let mut octets = [0u8; 32];
    octets.copy_from_slice(hmac::sign(&key, identity.as_bytes()).as_ref());
    Key::new(octets)
}

/// The identity of terminal `n`.
pub fn identity(n: u64) -> String {
    format!("u{n:08}@{REALM}")
}
