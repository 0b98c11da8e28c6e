//! Shared secrets between RADIUS client and server.

use std::sync::Arc;
use zeroize::Zeroizing;

/// A shared secret: erased when the last copy of it is dropped, never printed. Copies are one secret in one place.
#[derive(Clone)]
pub struct SharedSecret(Arc<Zeroizing<Box<[u8]>>>);

impl SharedSecret {
    /// Takes the octets over. RFC 2865 section 3 wants at least 16 unguessable octets; the configuration checks that,
    /// because RFC 6614 itself fixes a short public one where TLS does the protecting.
    pub fn new(octets: impl Into<Box<[u8]>>) -> Self {
        Self(Arc::new(Zeroizing::new(octets.into())))
    }

    /// The secret that RFC 6614 section 2.3 fixes for RADIUS inside TLS.
    pub fn radsec() -> Self {
        Self::new(*b"radsec")
    }

    /// The octets, for authenticators only; never for output.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl core::fmt::Debug for SharedSecret {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("SharedSecret(..)")
    }
}
