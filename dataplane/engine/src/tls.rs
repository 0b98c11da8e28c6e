//! Sessions of mechanism `tls`: whoever holds the connections asks here for their keys, says when a handshake confirmed a
//! session, and brings the messages inside.

use crate::api::{Meta, Packet, Sink};
use crate::engine::Engine;
use crate::store::sessions::{Session, State};
use portunus_channel::tls::{Identity, Psk};
use portunus_keydist::Now;
use portunus_keydist::bugs::{Bug, planted};
use portunus_signalling::Signalling;

impl Engine {
    /// The session that a ClientHello names: its number and PSK. `None`: there is none, and the handshake is to fail as
    /// with a wrong key.
    pub fn tls_session(&mut self, id: &Identity) -> Option<(u64, Psk)> {
        let found = self.sessions.by_tls(id).and_then(|slot| {
            let (_, psk) = <(Identity, Psk)>::from(&self.sessions.get(slot)?.keys);
            Some((self.sessions.kid(slot)?, psk))
        });
        self.counters.tls_unknown_id += u64::from(found.is_none());
        found
    }

    /// The handshake on a connection proved that its peer holds the PSK of session `kid`: confirms a provisional session,
    /// and is where its terminal is reached from now on; the connection before it is closed. False: the session has ended,
    /// or another protocol is spoken there, and the connection is to be closed.
    pub fn on_secured(&mut self, now: Now, kid: u64, meta: &Meta, sink: &mut dyn Sink) -> bool {
        let Some(slot) = self.sessions.by_kid(kid) else {
            self.counters.tls_session_gone += 1;
            return false;
        };
        let spoken = self.site.tls(meta.listener).map(Signalling::protocol);
        let Some(session) = self.sessions.get_mut(slot).filter(|session| Some(session.protocol) == spoken) else {
            self.counters.wrong_listener += 1;
            return false;
        };
        let (state, before) = (session.state, session.set_stream(meta));
        self.counters.tls_handshakes += 1;
        if before != 0 && before != meta.conn {
            self.counters.tls_replaced += 1;
            sink.hang_up(before);
        }
        if state == State::Provisional {
            self.activate(now, slot, sink);
        }
        true
    }

    /// Messages from inside a connection whose handshake named session `kid`, all of one connection.
    pub fn on_inside(&mut self, now: Now, kid: u64, packets: &mut [Packet<'_>], sink: &mut dyn Sink) {
        self.counters.rx_access += packets.len() as u64;
        for packet in packets {
            let slot =
                self.sessions.by_kid(kid).filter(|slot| self.sessions.get(*slot).is_some_and(|s| s.stream().is_some()));
            let (Some(slot), Some(signalling)) = (slot, self.site.tls(packet.meta.listener)) else {
                // What ended the session has closed its connection, or is about to.
                self.counters.tls_session_gone += 1;
                continue;
            };
            if !self.kept_alive(signalling, slot, packet.bytes, sink) {
                self.relay_up(now, signalling, (slot, packet.bytes), sink);
            }
        }
        self.gauge();
    }

    /// A connection of session `kid` is gone.
    pub fn on_connection_gone(&mut self, kid: u64, conn: u32) {
        let slot = self.sessions.by_kid(kid);
        if let Some(session) = slot.and_then(|slot| self.sessions.get_mut(slot)) {
            session.forget_stream(conn);
        }
    }

    /// True unless the session is one of `tls` without a connection, or may carry nothing: nobody can be reached by it at
    /// present.
    pub(crate) fn is_reachable(&self, slot: u32) -> bool {
        let connected = |s: &Session| s.stream() != Some(0) || planted(Bug::ClearWithoutConnection);
        self.is_admitted(slot) && self.sessions.get(slot).is_some_and(connected)
    }
}
