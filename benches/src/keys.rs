//! Keys that generator, proxy under test and stand-in core agree on without a file: derived from names. For
//! measuring only; nothing secret is protected by them.

use portunus_keydist::Key;
use portunus_signalling::Protocol;
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

/// The identity of SIP terminal `n`.
pub fn identity(n: u64) -> String {
    identity_in(Protocol::Sip, n)
}

/// The identity of terminal `n`, as its protocol names terminals.
pub fn identity_in(protocol: Protocol, n: u64) -> String {
    match protocol {
        Protocol::Sip => format!("u{n:08}@{REALM}"),
        Protocol::Mgcp | Protocol::H248 => format!("g{n:08}.{REALM}"),
        Protocol::Ras => format!("e{n:08}.{REALM}"),
    }
}
