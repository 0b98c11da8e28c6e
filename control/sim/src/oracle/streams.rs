//! Connections of mechanism `tls`: what comes out of one is what its terminal and its proxy put in, in their order and
//! once, and nobody else's handshake ever succeeds.

use super::Oracle;
use crate::phone::Phone;
use portunus_keydist::mech::Mech;
use std::collections::BTreeMap;

/// What passes in one direction of a connection.
#[derive(Default)]
struct Way {
    said: Vec<Vec<u8>>,
    heard: usize,
}

/// A connection.
struct Wire {
    session: Option<usize>,
    up: Way,
    down: Way,
}

/// What is known of connections.
#[derive(Default)]
pub(super) struct Streams(BTreeMap<u32, Wire>);

impl Oracle {
    /// True where a terminal's session is one of `tls`.
    pub fn is_stream(&self, phone: &Phone, kid: u64) -> bool {
        let session = self.by_phone.get(&(phone.index, kid)).and_then(|index| self.sessions.get(*index));
        session.is_some_and(|session| session.mech() == Mech::Tls)
    }

    /// A terminal opens the connection of a session.
    pub fn connects(&mut self, phone: &Phone, kid: u64, conn: u32) {
        let session = self.by_phone.get(&(phone.index, kid)).copied();
        self.hold(session.is_some(), || format!("{} connects for a session that was never granted", phone.idc));
        self.streams.0.insert(conn, Wire { session, up: Way::default(), down: Way::default() });
    }

    /// A handshake succeeded at a proxy.
    pub fn secured(&mut self, conn: u32) {
        let known = self.streams.0.contains_key(&conn);
        self.hold(known, || format!("the handshake of connection {conn} succeeded, and no terminal began it"));
    }

    /// Somebody says something on a connection; `up`: a terminal.
    pub fn stream_said(&mut self, conn: u32, up: bool, message: &[u8]) {
        let Some(wire) = self.streams.0.get_mut(&conn) else {
            return self.forbid(format!("something is said on connection {conn}, which no terminal opened"));
        };
        let way = if up { &mut wire.up } else { &mut wire.down };
        way.said.push(message.to_vec());
        let Some(session) = wire.session else { return };
        self.count(session, up);
        if !up {
            self.said_down(session, message);
        }
    }

    /// Somebody hears something on a connection; `up`: a proxy.
    pub fn stream_heard(&mut self, conn: u32, up: bool, message: &[u8]) {
        let said = self.streams.0.get_mut(&conn).is_some_and(|wire| {
            let way = if up { &mut wire.up } else { &mut wire.down };
            way.heard += 1;
            way.said.get(way.heard - 1).is_some_and(|said| said == message)
        });
        self.hold(said, || format!("on connection {conn} something is heard that its other end did not say next"));
    }
}
