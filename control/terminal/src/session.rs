//! The terminal's end of a session, under whichever mechanism was chosen.

use core::net::SocketAddr;
use portunus_channel::{Flow, Keys, Mechanism, Opened, ReplayWindow, Sequence, TABLE, datagrams};
use portunus_codec::Writer;
use portunus_keydist::Random;
use portunus_keydist::mech::Mech;
use portunus_keydist::terminal::{Established, Terminal};
use portunus_keydist::timing::below;
use portunus_signalling::Protocol;

/// A session: its handle, keys, sequence numbers and dates.
pub(crate) struct Session {
    /// What the proxy's datagrams bear.
    pub(crate) kid: u64,
    pub(crate) to: SocketAddr,
    pub(crate) life_s: u32,
    pub(crate) expires_s: u32,
    /// When something protected last verified.
    pub(crate) heard_ms: u64,
    pub(crate) refresh_ms: u64,
    mechanism: &'static dyn Mechanism,
    c2s: Flow,
    s2c: Flow,
    keys: Keys,
    seq: Sequence,
    window: ReplayWindow,
}

impl Session {
    /// The session that an accepted key begins, with the proxy at `server`. `None`: its mechanism was offered although
    /// this terminal has no room for it.
    pub(crate) fn agreed(
        machine: &Terminal,
        established: &Established,
        protocol: Protocol,
        server: SocketAddr,
        expires_s: u32,
    ) -> Option<Self> {
        let (mech, offered) = (established.sel.mech(), machine.mechs());
        let mechanism = datagrams(mech)?;
        let own = mechanism.offered(&offered.get(mech)?)?;
        let (proxy, port) = mechanism.answered(&established.sel)?;
        let s2c = Flow::s2c(own, proxy, protocol as u8);
        Some(Self {
            kid: s2c.handle,
            to: SocketAddr::new(server.ip(), port),
            life_s: established.life_s,
            expires_s,
            heard_ms: 0,
            refresh_ms: u64::MAX,
            mechanism,
            c2s: Flow::c2s(own, proxy, protocol as u8),
            s2c,
            keys: mechanism.derive(&established.secret, &machine.traffic_ctx(established)),
            seq: Sequence::new(),
            window: ReplayWindow::new(),
        })
    }

    /// The mechanism chosen.
    pub(crate) fn mech(&self) -> Mech {
        self.mechanism.mech()
    }

    /// True for a datagram that bears this session's handle.
    pub(crate) fn is_named_by(&self, datagram: &[u8]) -> bool {
        self.mechanism.peek(datagram).is_ok_and(|peek| peek.handle == self.kid)
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

    /// One protected datagram under the next sequence number, a confirmation where there is no text; `None` when no number
    /// is left.
    pub(crate) fn seal(&mut self, text: &[u8]) -> Option<Vec<u8>> {
        let seq = self.seq.take(self.mechanism.format().seq_max)?;
        let mut out = vec![0; self.mechanism.sealed_len(text.len())];
        self.mechanism.seal(&self.keys.c2s, &self.c2s, seq, text, &mut Writer::new(&mut out)).ok()?;
        Some(out)
    }

    /// Opens a datagram of this session in place; `None` when it does not verify or was seen before.
    pub(crate) fn open<'m>(&mut self, now_ms: u64, datagram: &'m mut [u8]) -> Option<Opened<'m>> {
        let peek = self.mechanism.peek(datagram).ok()?;
        if peek.handle != self.kid || self.window.check(peek.seq).is_err() {
            return None;
        }
        let opened = self.mechanism.open(&self.keys.s2c, &self.s2c, datagram).ok()?;
        self.window.commit(peek.seq).ok()?;
        self.heard_ms = now_ms;
        Some(opened)
    }

    /// True when the sequence numbers run low.
    pub(crate) fn worn(&self) -> bool {
        self.seq.runs_low(self.mechanism.format().seq_max)
    }
}

/// The handles that a datagram may bear, by mechanism: what a session is looked for under.
pub fn handles(datagram: &[u8]) -> impl Iterator<Item = u64> {
    let mechanisms = TABLE.iter().filter_map(|room| datagrams(room.mech));
    mechanisms.filter_map(|mechanism| mechanism.peek(datagram).ok()).map(|peek| peek.handle)
}
