//! The terminal's end of a session, under whichever mechanism was chosen.

use crate::endpoint::Path;
use core::net::SocketAddr;
use portunus_channel::{Flow, Keys, Mechanism, Opened, ReplayWindow, Sequence, TABLE, datagrams, tls};
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
    /// When something was last sent.
    pub(crate) said_ms: u64,
    pub(crate) refresh_ms: u64,
    keys: Keys,
    carried: Carried,
}

/// What carries it.
enum Carried {
    /// Datagrams of a mechanism.
    Datagrams { mechanism: &'static dyn Mechanism, c2s: Flow, s2c: Flow, seq: Sequence, window: ReplayWindow },
    /// A connection of `tls`, which the owner keeps.
    Stream(Stream),
}

/// How far the connection of a session of `tls` has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stream {
    /// There is none.
    None,
    /// The owner was asked for one, and has until then, monotonic milliseconds.
    Wanted { until_ms: u64 },
    /// Its handshake succeeded.
    Open,
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
        if mech == Mech::Tls {
            return Some(Self::over_tls(machine, established, protocol, server, expires_s));
        }
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
            said_ms: 0,
            refresh_ms: u64::MAX,
            keys: mechanism.derive(&established.secret, &machine.traffic_ctx(established)),
            carried: Carried::Datagrams {
                mechanism,
                c2s: Flow::c2s(own, proxy, protocol as u8),
                s2c,
                seq: Sequence::new(),
                window: ReplayWindow::new(),
            },
        })
    }

    /// As [`Session::agreed`], under `tls`. What names it are the first octets of its identity.
    fn over_tls(
        machine: &Terminal,
        established: &Established,
        protocol: Protocol,
        server: SocketAddr,
        expires_s: u32,
    ) -> Self {
        let usual = if protocol == Protocol::H248 { tls::PORT_H248 } else { tls::PORT_SIP };
        let (id, psk) = tls::derive(&established.secret, &machine.traffic_ctx(established));
        let kid = id.0.first_chunk().map_or(0, |head| u64::from_be_bytes(*head));
        Self {
            kid,
            to: SocketAddr::new(server.ip(), established.sel.port().unwrap_or(usual)),
            life_s: established.life_s,
            expires_s,
            heard_ms: 0,
            said_ms: 0,
            refresh_ms: u64::MAX,
            keys: Keys::from((id, psk)),
            carried: Carried::Stream(Stream::None),
        }
    }

    /// The connection of a session of `tls`; `None` for any other.
    pub(crate) fn stream(&mut self) -> Option<&mut Stream> {
        match &mut self.carried {
            Carried::Stream(stream) => Some(stream),
            Carried::Datagrams { .. } => None,
        }
    }

    /// Until when the connection that was asked for must be open.
    pub(crate) fn opening(&self) -> Option<u64> {
        match self.carried {
            Carried::Stream(Stream::Wanted { until_ms }) => Some(until_ms),
            Carried::Stream(Stream::None | Stream::Open) | Carried::Datagrams { .. } => None,
        }
    }

    /// True for a session of `tls`.
    pub(crate) const fn is_stream(&self) -> bool {
        matches!(self.carried, Carried::Stream(_))
    }

    /// What the connection of a session of `tls` is keyed by.
    pub(crate) fn key(&self) -> Option<(tls::Identity, tls::Psk)> {
        self.is_stream().then(|| (&self.keys).into())
    }

    /// The mechanism chosen.
    pub(crate) fn mech(&self) -> Mech {
        match &self.carried {
            Carried::Datagrams { mechanism, .. } => mechanism.mech(),
            Carried::Stream(_) => Mech::Tls,
        }
    }

    /// True for a datagram that bears this session's handle.
    pub(crate) fn is_named_by(&self, datagram: &[u8]) -> bool {
        match &self.carried {
            Carried::Datagrams { mechanism, .. } => mechanism.peek(datagram).is_ok_and(|peek| peek.handle == self.kid),
            Carried::Stream(_) => false,
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

    /// One protected message, a confirmation where there is no text, and how it leaves; `None` when no sequence number is
    /// left, or no connection is open.
    pub(crate) fn seal(&mut self, now_ms: u64, text: &[u8]) -> Option<(Path, Vec<u8>)> {
        self.said_ms = now_ms;
        match &mut self.carried {
            Carried::Datagrams { mechanism, c2s, seq, .. } => {
                let seq = seq.take(mechanism.format().seq_max)?;
                let mut out = vec![0; mechanism.sealed_len(text.len())];
                mechanism.seal(&self.keys.c2s, c2s, seq, text, &mut Writer::new(&mut out)).ok()?;
                Some((Path::Sealed, out))
            }
            // The handshake is the confirmation.
            Carried::Stream(stream) => {
                let says = *stream == Stream::Open && !text.is_empty();
                says.then(|| (Path::Secured { kid: self.kid }, text.to_vec()))
            }
        }
    }

    /// What keeps a NAT's mapping alive for this session, where its mechanism has such a thing.
    pub(crate) fn keep_alive(&self) -> Option<&'static [u8]> {
        match &self.carried {
            Carried::Datagrams { mechanism, .. } => mechanism.format().keep_alive,
            Carried::Stream(_) => None,
        }
    }

    /// Opens a datagram of this session in place; `None` when it does not verify or was seen before.
    pub(crate) fn open<'m>(&mut self, now_ms: u64, datagram: &'m mut [u8]) -> Option<Opened<'m>> {
        let Carried::Datagrams { mechanism, s2c, window, .. } = &mut self.carried else { return None };
        let peek = mechanism.peek(datagram).ok()?;
        if peek.handle != self.kid || window.check(peek.seq).is_err() {
            return None;
        }
        let opened = mechanism.open(&self.keys.s2c, s2c, datagram).ok()?;
        window.commit(peek.seq).ok()?;
        self.heard_ms = now_ms;
        Some(opened)
    }

    /// True when the sequence numbers run low.
    pub(crate) fn worn(&self) -> bool {
        match &self.carried {
            Carried::Datagrams { mechanism, seq, .. } => seq.runs_low(mechanism.format().seq_max),
            Carried::Stream(_) => false,
        }
    }
}

/// The handles that a datagram may bear, by mechanism: what a session is looked for under.
pub fn handles(datagram: &[u8]) -> impl Iterator<Item = u64> {
    let mechanisms = TABLE.iter().filter_map(|room| datagrams(room.mech));
    mechanisms.filter_map(|mechanism| mechanism.peek(datagram).ok()).map(|peek| peek.handle)
}
