//! The connections of a fleet's sessions of `tls`.

use super::run::Fleet;
use crate::stream::Stream;
use portunus_channel::tls::{Client, Limits};
use std::io;

/// The connection of one session.
struct Connection {
    /// Names the session.
    kid: u64,
    stream: Stream,
}

/// A terminal's connections.
#[derive(Default)]
pub(super) struct Secured([Option<Connection>; 2]);

impl Secured {
    fn of(&mut self, kid: u64) -> Option<&mut Option<Connection>> {
        self.0.iter_mut().find(|place| place.as_ref().is_some_and(|one| one.kid == kid))
    }
}

impl Fleet {
    /// Opens the connection that a terminal wants for a session.
    pub(super) fn connect(&mut self, index: u32, kid: u64) {
        if self.open(index, kid).is_err() {
            self.secured_lost(index, kid);
        }
    }

    fn open(&mut self, index: u32, kid: u64) -> io::Result<()> {
        if self.tls.is_none() {
            self.tls = Some(Client::new(Limits::default()).map_err(io::Error::other)?);
        }
        let tokens = [self.token(index, 1), self.token(index, 2)];
        let (Some(member), Some(client)) = (self.members.get_mut(index as usize), &self.tls) else { return Ok(()) };
        let Some((to, id, psk)) = member.terminal.connection_key(kid) else { return Ok(()) };
        let places = &mut member.secured.get_or_insert_default().0;
        let free = places.iter_mut().zip(tokens).find(|(place, _)| place.as_ref().is_none_or(|one| one.kid == kid));
        let Some((place, token)) = free else { return Err(io::ErrorKind::AddrInUse.into()) };
        let tls = client.connection(id, psk).map_err(io::Error::other)?;
        let stream = Stream::connect(to, self.profile.protocol, self.poll.registry(), token)?.secure(tls)?;
        *place = Some(Connection { kid, stream });
        Ok(())
    }

    /// Sends a message inside a session's connection.
    pub(super) fn send_secured(&mut self, index: u32, kid: u64, octets: &[u8]) {
        let secured = self.members.get_mut(index as usize).and_then(|member| member.secured.as_mut());
        let one = secured.and_then(|secured| secured.of(kid)?.as_mut());
        match one.map(|one| one.stream.send(octets)) {
            Some(Ok(())) => {
                self.result.packets_sent += 1;
                self.result.octets_sent += octets.len() as u64;
            }
            Some(Err(_)) => self.secured_lost(index, kid),
            None => self.result.send_errors += 1,
        }
    }

    /// Something happened on a connection of a terminal's.
    pub(super) fn secured_ready(&mut self, index: u32, which: usize) {
        let now = self.clock.now();
        let Some(member) = self.members.get_mut(index as usize) else { return };
        let Some(one) = member.secured.as_mut().and_then(|secured| secured.0.get_mut(which)?.as_mut()) else { return };
        let kid = one.kid;
        let turn = one.stream.turn();
        if turn.opened {
            member.terminal.on_secured(now, &mut self.rng, kid);
        }
        for message in turn.messages {
            self.result.packets_received += 1;
            self.result.octets_received += message.len() as u64;
            member.terminal.on_inside(now, &mut self.rng, kid, &message);
        }
        self.attend(index);
        if turn.lost {
            self.secured_lost(index, kid);
        }
    }

    /// A session's connection could not be had, or is gone.
    fn secured_lost(&mut self, index: u32, kid: u64) {
        let now = self.clock.now();
        if let Some(member) = self.members.get_mut(index as usize) {
            let gone = member.secured.as_mut().and_then(|secured| secured.of(kid)?.take());
            if let Some(mut one) = gone {
                one.stream.deregister(self.poll.registry());
            }
            member.terminal.on_secured_lost(now, &mut self.rng, kid);
            // Its events are taken by the caller's `attend`, or at its next deadline, which this sets.
            self.deadlines.arm(index, now.mono_ms);
        }
    }

    /// The terminal has no use for a session's connection any more.
    pub(super) fn hang_up(&mut self, index: u32, kid: u64) {
        let secured = self.members.get_mut(index as usize).and_then(|member| member.secured.as_mut());
        if let Some(mut one) = secured.and_then(|secured| secured.of(kid)?.take()) {
            one.stream.finish();
            one.stream.deregister(self.poll.registry());
        }
    }
}
