//! The stateless cookie (spec section 6): under load a source must show that it receives what is sent to it before
//! anything is kept, or asked, for its sake. A MAC over an epoch, the source, IDc and N1; no memory.

use super::source::{ProcessKeys, Source};
use crate::ident::{Idc, N1};
use portunus_codec::{b64_encode, b64_len};
use ring::hmac;

/// Length of an epoch in milliseconds; a cookie serves during its own and the next.
pub const EPOCH_MS: u64 = 16_000;

const OCTETS: usize = 18;

/// Characters of a cookie, `[A-Za-z0-9_-]`.
pub const COOKIE_LEN: usize = b64_len(OCTETS);

/// Bakes and checks cookies.
pub struct Cookies {
    key: hmac::Key,
}

impl core::fmt::Debug for Cookies {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Cookies(..)")
    }
}

impl Cookies {
    /// With the process's key.
    pub fn new(keys: &ProcessKeys) -> Self {
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, &keys.cookie) }
    }

    fn at(&self, epoch: u64, source: &Source, idc: Idc<'_>, n1: &N1) -> [u8; COOKIE_LEN] {
        let mut mac = hmac::Context::with_key(&self.key);
        // Only the last part varies in length, so no two inputs look alike.
        mac.update(&epoch.to_be_bytes());
        mac.update(source.as_bytes());
        mac.update(n1.as_bytes());
        mac.update(idc.as_bytes());
        let mut text = [0u8; COOKIE_LEN];
        b64_encode(mac.sign().as_ref().get(..OCTETS).unwrap_or_default(), &mut text);
        text
    }

    /// The cookie for this s1.
    pub fn bake(&self, mono_ms: u64, source: &Source, idc: Idc<'_>, n1: &N1) -> [u8; COOKIE_LEN] {
        self.at(mono_ms / EPOCH_MS, source, idc, n1)
    }

    /// True when `cookie` was baked for this s1 in this epoch or the one before. Constant in time for its contents.
    pub fn is_good(&self, mono_ms: u64, source: &Source, idc: Idc<'_>, n1: &N1, cookie: &[u8]) -> bool {
        let epoch = mono_ms / EPOCH_MS;
        let good = |epoch| bool::from(subtle::ConstantTimeEq::ct_eq(&self.at(epoch, source, idc, n1)[..], cookie));
        good(epoch) || epoch.checked_sub(1).is_some_and(good)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::SystemRandom;

    #[test]
    fn bound_to_all_four() {
        let cookies = Cookies::new(&ProcessKeys::draw(&mut SystemRandom::new()));
        let source = |s: &str| Source::new(s.parse().unwrap(), 0);
        let (here, idc, n1) = (source("192.0.2.7:5060"), Idc::new("alice").unwrap(), N1::from_bits(5));
        let now = EPOCH_MS * 7 + 3;
        let cookie = cookies.bake(now, &here, idc, &n1);
        assert!(cookies.is_good(now, &here, idc, &n1, &cookie));
        assert!(cookies.is_good(EPOCH_MS * 9 - 1, &here, idc, &n1, &cookie));
        assert!(!cookies.is_good(EPOCH_MS * 9, &here, idc, &n1, &cookie));
        assert!(!cookies.is_good(EPOCH_MS * 7 - 1, &here, idc, &n1, &cookie));
        assert!(!cookies.is_good(now, &source("192.0.2.7:5061"), idc, &n1, &cookie));
        assert!(!cookies.is_good(now, &here, Idc::new("alic").unwrap(), &n1, &cookie));
        assert!(!cookies.is_good(now, &here, idc, &N1::from_bits(6), &cookie));
        assert!(!cookies.is_good(now, &here, idc, &n1, &cookie[1..]));
        assert!(!cookies.is_good(now, &here, idc, &n1, b""));
    }
}
