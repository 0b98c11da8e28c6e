//! The terminal's end of a sealed session.

use core::net::SocketAddr;
use portunus_channel::sealed::{HEADER_LEN, Header, Keys, SEQ_MAX, Sealed, TAG_LEN};
use portunus_channel::{Mechanism, ReplayWindow, Sequence};
use portunus_codec::Writer;
use portunus_keydist::Random;
use portunus_keydist::timing::below;

/// A session: its handle, keys, sequence numbers and dates.
pub(crate) struct Session {
    pub(crate) kid: u64,
    pub(crate) to: SocketAddr,
    pub(crate) life_s: u32,
    pub(crate) expires_s: u32,
    /// When something protected last verified.
    pub(crate) heard_ms: u64,
    pub(crate) refresh_ms: u64,
    keys: Keys,
    seq: Sequence,
    window: ReplayWindow,
}

/// A datagram that verified.
pub(crate) struct Heard<'m> {
    pub(crate) protocol: u8,
    pub(crate) text: &'m [u8],
}

impl Session {
    pub(crate) fn new(kid: u64, keys: Keys, to: SocketAddr, life_s: u32, expires_s: u32) -> Self {
        Self {
            kid,
            to,
            life_s,
            expires_s,
            heard_ms: 0,
            refresh_ms: u64::MAX,
            keys,
            seq: Sequence::new(),
            window: ReplayWindow::new(),
        }
    }

    /// Sets the date of the next refresh from the expiry granted: between three quarters and nine tenths of it;
    /// never where there is none.
    pub(crate) fn refreshed(&mut self, now_ms: u64, expires_s: u32, rng: &mut dyn Random) {
        self.expires_s = expires_s;
        if expires_s == 0 {
            self.refresh_ms = u64::MAX;
            return;
        }
        let whole = u64::from(expires_s) * 1_000;
        self.refresh_ms = now_ms + whole * 3 / 4 + below(rng, whole * 3 / 20 + 1);
    }

    /// One sealed datagram under the next sequence number; `None` when no number is left.
    pub(crate) fn seal(&mut self, protocol: u8, text: &[u8]) -> Option<Vec<u8>> {
        let seq = self.seq.take(SEQ_MAX)?;
        let mut out = vec![0; HEADER_LEN + text.len() + TAG_LEN];
        Sealed::seal(&self.keys.c2s, self.kid, protocol, seq, text, &mut Writer::new(&mut out)).ok()?;
        Some(out)
    }

    /// Opens a datagram of this session in place; `None` when it does not verify or was seen before.
    pub(crate) fn open<'m>(&mut self, now_ms: u64, datagram: &'m mut [u8]) -> Option<Heard<'m>> {
        let peek = Sealed::peek(datagram).ok()?;
        if peek.handle != self.kid || self.window.check(peek.seq).is_err() {
            return None;
        }
        let opened = Sealed::open(&self.keys.s2c, datagram).ok()?;
        self.window.commit(peek.seq).ok()?;
        self.heard_ms = now_ms;
        Some(Heard { protocol: opened.peek.protocol, text: opened.content })
    }

    /// True when the sequence numbers run low.
    pub(crate) fn worn(&self) -> bool {
        self.seq.runs_low(SEQ_MAX)
    }
}

/// The proxy's handle in a sealed datagram's header; `None` when the datagram is not one.
pub fn kid_of(datagram: &[u8]) -> Option<u64> {
    Header::read(datagram).ok().map(|h| h.kid)
}
