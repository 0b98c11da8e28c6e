//! The long-term key of a proxy or softswitch and, while one replaces another, the other one.
//!
//! The AuC makes each wrap under one key, and nothing in it says under which (spec section 3). A device that holds both
//! therefore opens whatever the AuC makes, and neither end has to change its key at the moment at which the other does.

use crate::batch::{OpenJob, Opened, open_batch};
use crate::schedule::{Prk, WrapError};

/// One key or two.
#[derive(Debug, Clone)]
pub struct DeviceKeys {
    own: Prk,
    other: Option<Prk>,
}

impl From<Prk> for DeviceKeys {
    fn from(own: Prk) -> Self {
        Self { own, other: None }
    }
}

/// Under which key a wrap opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Under {
    /// The first one.
    Own,
    /// The other one.
    Other,
}

impl DeviceKeys {
    /// A key, and the one that it replaces or that replaces it.
    pub fn new(own: Prk, other: Option<Prk>) -> Self {
        Self { own, other }
    }

    /// The key that is tried first, and that what the device hides for itself is hidden under.
    pub const fn own(&self) -> &Prk {
        &self.own
    }

    /// The other one.
    pub const fn other(&self) -> Option<&Prk> {
        self.other.as_ref()
    }

    /// As [`open_batch`]: a wrap that does not open under the first key is tried once more where there is a second one.
    pub fn open_batch(&self, jobs: &[OpenJob<'_>], mut out: impl FnMut(Result<(Opened, Under), WrapError>)) {
        open_batch(&self.own, jobs, |index, opened| {
            let second = || {
                let (other, job) = (self.other.as_ref()?, jobs.get(index)?);
                Opened::new(other, job).ok().map(|opened| (opened, Under::Other))
            };
            out(match opened {
                Ok(opened) => Ok((opened, Under::Own)),
                Err(e) => second().ok_or(e),
            });
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ident::{Idc, Idsp, N1};
    use crate::schedule::{For, Key, SessionKey, WrapCtx};

    #[test]
    fn a_wrap_opens_under_either_key_and_under_no_third() {
        let prk = |n: u8| Key::new([n; 32]).prk();
        let (idc, idsp) = (Idc::new("alice@example.test").unwrap(), Idsp::new("sp1").unwrap());
        let (rand, n1a) = ([7; 16], N1::from_bits(5));
        let ctx = WrapCtx { idc, idsp, rand: &rand, n1a: &n1a };
        let wraps = [1, 2, 3, 1].map(|n| prk(n).wrap(For::Proxy, &ctx, &SessionKey::new([n; 32])));
        let jobs = [0, 1, 2, 3].map(|n| OpenJob { ctx, wrap: &wraps[n] });
        let under = |keys: &DeviceKeys| {
            let mut all = Vec::new();
            keys.open_batch(&jobs, |opened| all.push(opened.ok().map(|(_, under)| under)));
            all
        };
        let (own, other) = (Some(Under::Own), Some(Under::Other));
        assert_eq!(under(&prk(1).into()), [own, None, None, own]);
        assert_eq!(under(&DeviceKeys::new(prk(1), Some(prk(2)))), [own, other, None, own]);
        assert_eq!(under(&DeviceKeys::new(prk(2), Some(prk(1)))), [other, own, None, other]);
        let mut tags = Vec::new();
        DeviceKeys::new(prk(2), Some(prk(1))).open_batch(&jobs[..1], |opened| {
            tags.push(ring::hmac::sign(&opened.unwrap().0.mac_key, b"s10").as_ref().to_vec());
        });
        let same = ring::hmac::sign(&SessionKey::new([1; 32]).secret(&rand).mac_key(), b"s10");
        assert_eq!(tags, [same.as_ref()], "and it is the same K");
    }
}
