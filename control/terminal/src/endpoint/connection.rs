//! Sessions of mechanism `tls`: the owner keeps the connections and shakes hands; the terminal says when it wants one.

use super::{Base, Endpoint};
use crate::agent::Agent;
use crate::event::{Event, Step};
use crate::session::{Session, Stream};
use core::net::SocketAddr;
use portunus_channel::tls::{Identity, Psk};
use portunus_keydist::{Now, Random};

/// How long the connection of an active session may take to open, milliseconds. A peer that takes octets and answers
/// nothing looks to TCP as one that is well.
const OPENING_MS: u64 = 32_000;

impl Base {
    /// Asks the owner for a connection, unless it has been asked. `newest`: for the session that is not confirmed yet.
    pub(super) fn want_connection(&mut self, now: Now, step: Step, newest: bool) {
        let session = if newest { &mut self.provisional } else { &mut self.session };
        let Some(session) = session else { return };
        let kid = session.kid;
        if let Some(stream @ Stream::None) = session.stream() {
            *stream = Stream::Wanted { until_ms: now.mono_ms + OPENING_MS };
            self.events.push_back(Event::Connect { kid });
            self.step(now, step);
        }
    }

    /// The session of this name, and whether it is the one that is not confirmed yet.
    fn named(&mut self, kid: u64) -> Option<(&mut Session, bool)> {
        let of = |session: &&mut Box<Session>| session.kid == kid;
        match (self.provisional.as_mut().filter(of), self.session.as_mut().filter(of)) {
            (Some(session), _) => Some((session, true)),
            (None, Some(session)) => Some((session, false)),
            (None, None) => None,
        }
    }
}

impl<A: Agent> Endpoint<A> {
    /// Where the connection of a session goes, and what it is keyed by; `None`: there is no such session any more.
    pub fn connection_key(&mut self, kid: u64) -> Option<(SocketAddr, Identity, Psk)> {
        let (session, _) = self.base.named(kid)?;
        let (id, psk) = session.key()?;
        Some((session.to, id, psk))
    }

    /// The handshake of a session's connection succeeded, so the proxy holds the key: the session is active.
    pub fn on_secured(&mut self, now: Now, rng: &mut dyn Random, kid: u64) {
        let Some((session, newest)) = self.base.named(kid) else { return };
        session.heard_ms = now.mono_ms;
        if let Some(stream) = session.stream() {
            *stream = Stream::Open;
        }
        if newest {
            self.confirmed(now, rng);
        }
    }

    /// A message from inside a session's connection.
    pub fn on_inside(&mut self, now: Now, rng: &mut dyn Random, kid: u64, message: &[u8]) {
        match self.base.named(kid) {
            Some((session, false)) => {
                session.heard_ms = now.mono_ms;
                self.call(now, rng, |agent, ctx| agent.on_inside(ctx, message));
            }
            Some((_, true)) | None => self.base.tally.ignored += 1,
        }
    }

    /// The connection of a session could not be had, or is lost. A session that is not confirmed tries again when its
    /// confirmation is due; an active one at once, and when that fails too it counts as lost.
    pub fn on_secured_lost(&mut self, now: Now, rng: &mut dyn Random, kid: u64) {
        let Some((session, newest)) = self.base.named(kid) else { return };
        let Some(stream) = session.stream() else { return };
        match core::mem::replace(stream, Stream::None) {
            Stream::Open if !newest => self.base.want_connection(now, Step::Again, false),
            Stream::Wanted { .. } if !newest => self.base.lost(now, rng),
            Stream::Open | Stream::Wanted { .. } | Stream::None => {}
        }
    }
}
