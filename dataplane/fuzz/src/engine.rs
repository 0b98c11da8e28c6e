//! What must hold for the whole engine, whatever an attacker does between an honest terminal, the proxy and the core:
//! the engine's own test world plays scripts made of arbitrary octets.

#[path = "../../engine/tests/common/mod.rs"]
mod common;

/// One arbitrary script.
pub fn engine(octets: &[u8]) {
    common::script::play(&common::script::deeds(octets));
}
