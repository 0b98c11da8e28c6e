//! The connections of sessions under `tls`: one for a phone's session, one more while a new session is to take its place.
//!
//! Those of SIP are kept alive, and found out when they are dead (RFC 5626 section 4.4.1): after a silence the proxy is
//! sent an empty line twice, which it answers with one; a connection on which nothing comes back is lost. H.248 has
//! nothing of the kind: there the system's word counts.

use core::net::SocketAddr;
use mio::{Registry, Token};
use portunus_channel::tls::{Client, Identity, Limits, Psk};
use portunus_signalling::Protocol;
use portunus_terminal::stream::{Stream, Turn};
use std::io;

/// What a proxy is asked for a sign of life with.
const PING: &[u8] = b"\r\n\r\n";
/// Connections that a phone has at most: of its session, and of the next.
const EACH: usize = 2;

struct Connection {
    phone: usize,
    /// Names the session.
    kid: u64,
    stream: Stream,
    /// It can be asked for signs of life.
    pings: bool,
    /// Octets of the proxy when this was last looked at, and when there were more, monotonic milliseconds.
    heard: (u64, u64),
    /// When the proxy was asked for a sign of life.
    asked_ms: Option<u64>,
}

/// What happened on a connection.
#[derive(Debug, Default)]
pub(crate) struct Happened {
    pub(crate) phone: usize,
    pub(crate) kid: u64,
    pub(crate) turn: Turn,
}

/// All connections of an agent.
pub(crate) struct Secured {
    client: Option<Client>,
    /// By place: the phone's number, twice.
    all: Vec<Option<Connection>>,
    /// Of the first place.
    base: usize,
    /// The silence after which a sign of life is asked for, and how long it may take, milliseconds.
    quiet_ms: u64,
    patience_ms: u64,
}

impl Secured {
    /// For so many phones; tokens from `base` on are this one's.
    pub(crate) fn new(phones: usize, base: usize, quiet_ms: u64, patience_ms: u64) -> Self {
        let all = (0..phones * EACH).map(|_| None).collect();
        Self { client: None, all, base, quiet_ms, patience_ms }
    }

    /// Opens the connection of a session.
    ///
    /// # Errors
    /// It cannot be had: TLS or the system refuses, or the phone has as many as it may have.
    pub(crate) fn connect(
        &mut self,
        registry: &Registry,
        now_ms: u64,
        (phone, kid, protocol): (usize, u64, Protocol),
        (to, id, psk): (SocketAddr, Identity, Psk),
    ) -> io::Result<()> {
        if self.client.is_none() {
            self.client = Some(Client::new(Limits::default()).map_err(io::Error::other)?);
        }
        let Some(client) = &self.client else { return Ok(()) };
        let first = phone * EACH;
        let places = self.all.iter_mut().enumerate().skip(first).take(EACH);
        let free = places.into_iter().find(|(_, place)| place.as_ref().is_none_or(|one| one.kid == kid));
        let Some((n, place)) = free else { return Err(io::ErrorKind::AddrInUse.into()) };
        let tls = client.connection(id, psk).map_err(io::Error::other)?;
        let stream = Stream::connect(to, protocol, registry, Token(self.base + n))?.secure(tls)?;
        let pings = protocol == Protocol::Sip;
        *place = Some(Connection { phone, kid, stream, pings, heard: (0, now_ms), asked_ms: None });
        Ok(())
    }

    fn place(&mut self, phone: usize, kid: u64) -> Option<&mut Option<Connection>> {
        let mut places = self.all.iter_mut().skip(phone * EACH).take(EACH);
        places.find(|place| place.as_ref().is_some_and(|one| one.kid == kid))
    }

    /// Sends a message inside the connection of a session.
    ///
    /// # Errors
    /// The connection is lost; [`Secured::drop_lost`] is to follow. `Ok(false)`: there is none.
    pub(crate) fn send(&mut self, phone: usize, kid: u64, octets: &[u8]) -> io::Result<bool> {
        match self.place(phone, kid).and_then(Option::as_mut) {
            Some(one) => one.stream.send(octets).map(|()| true),
            None => Ok(false),
        }
    }

    /// Something happened on the connection of this token.
    pub(crate) fn on_event(&mut self, token: Token, now_ms: u64) -> Option<Happened> {
        let one = self.all.get_mut(token.0.checked_sub(self.base)?)?.as_mut()?;
        let turn = one.stream.turn();
        if one.stream.received() != one.heard.0 {
            one.heard = (one.stream.received(), now_ms);
            one.asked_ms = None;
        }
        Some(Happened { phone: one.phone, kid: one.kid, turn })
    }

    /// Forgets a connection that is lost.
    pub(crate) fn drop_lost(&mut self, registry: &Registry, phone: usize, kid: u64) {
        if let Some(mut one) = self.place(phone, kid).and_then(Option::take) {
            one.stream.deregister(registry);
        }
    }

    /// Closes the connection of a session, where it has one.
    pub(crate) fn hang_up(&mut self, registry: &Registry, phone: usize, kid: u64) {
        if let Some(mut one) = self.place(phone, kid).and_then(Option::take) {
            one.stream.finish();
            one.stream.deregister(registry);
        }
    }

    /// Asks for signs of life where they are due; whose connections are dead.
    pub(crate) fn on_timer(&mut self, now_ms: u64) -> Vec<(usize, u64)> {
        let (quiet_ms, patience_ms) = (self.quiet_ms, self.patience_ms);
        let dead = |one: &mut Connection| {
            let asked = one.asked_ms.map(|at| at + patience_ms);
            // A handshake has the same time.
            let due = if one.stream.is_open() { asked } else { Some(one.heard.1 + patience_ms) };
            if due.is_some_and(|due| due <= now_ms) {
                return true;
            }
            let quiet = one.pings && one.stream.is_open() && one.asked_ms.is_none() && one.heard.1 + quiet_ms <= now_ms;
            if quiet {
                one.asked_ms = Some(now_ms);
            }
            quiet && one.stream.send(PING).is_err()
        };
        let all = self.all.iter_mut().flatten();
        all.filter_map(|one| dead(one).then_some((one.phone, one.kid))).collect()
    }

    /// When [`Secured::on_timer`] wants to be called, monotonic milliseconds.
    pub(crate) fn next_deadline(&self) -> Option<u64> {
        let due = |one: &Connection| match (one.stream.is_open(), one.asked_ms) {
            (true, Some(at)) => Some(at + self.patience_ms),
            (true, None) => one.pings.then_some(one.heard.1 + self.quiet_ms),
            (false, _) => Some(one.heard.1 + self.patience_ms),
        };
        self.all.iter().flatten().filter_map(due).min()
    }
}
