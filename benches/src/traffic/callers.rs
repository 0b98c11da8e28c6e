//! The terminals that ask: real ones with sessions of their own before the proxy, bare ones before the floor.

use super::floor::Channel;
use crate::keys::{IDSP, REALM, identity, key_of};
use core::net::SocketAddr;
use portunus_keydist::mech::Mech;
use portunus_keydist::{Now, SystemRandom};
use portunus_terminal::sip::{Event, Profile, SipTerminal, Transmit, Transport, call_id_tag};
use portunus_terminal::{handles, offering};
use std::collections::HashMap;
use std::io;
use std::sync::Arc;

/// Terminals that registered at the proxy and were given keys.
pub(super) struct Agreed {
    profile: Arc<Profile>,
    terminals: Vec<SipTerminal>,
    by_handle: HashMap<u64, usize>,
    rng: SystemRandom,
}

/// Terminals that share the floor's keys.
pub(super) struct Fixed {
    floor: SocketAddr,
    channel: Channel,
}

/// Either.
pub(super) enum Callers {
    Agreed(Box<Agreed>),
    Fixed(Fixed),
}

impl Fixed {
    pub(super) fn new(floor: SocketAddr, mech: Mech) -> io::Result<Self> {
        let channel = Channel::new(mech).ok_or(io::ErrorKind::InvalidInput)?;
        Ok(Self { floor, channel })
    }
}

impl Agreed {
    pub(super) fn new(proxy: SocketAddr, mech: Mech) -> io::Result<Self> {
        let profile = Profile::new(proxy, Transport::Udp, IDSP, REALM, &offering(mech)).map_err(io::Error::other)?;
        // Somebody else asks by them, and they have nothing to say themselves.
        let profile = Arc::new(Profile { through: true, probe_ms: 0, ..profile });
        Ok(Self { profile, terminals: Vec::new(), by_handle: HashMap::new(), rng: SystemRandom::new() })
    }

    /// A terminal at `local` begins to register.
    pub(super) fn start(&mut self, now: Now, local: SocketAddr) -> Option<Vec<Transmit>> {
        let tag = self.terminals.len() as u32;
        let name = identity(tag.into());
        let profile = Arc::clone(&self.profile);
        let mut terminal = SipTerminal::new(profile, &name, &key_of(&name), local, tag, &mut self.rng)?;
        terminal.start(now, &mut self.rng);
        self.terminals.push(terminal);
        Some(self.transmits(tag as usize))
    }

    fn transmits(&mut self, n: usize) -> Vec<Transmit> {
        let Some(terminal) = self.terminals.get_mut(n) else { return Vec::new() };
        core::iter::from_fn(|| terminal.poll_transmit()).collect()
    }

    /// How many of them are active.
    pub(super) fn active(&self) -> usize {
        self.terminals.iter().filter(|t| t.is_active()).count()
    }

    /// What is due while they register.
    pub(super) fn on_timer(&mut self, now: Now) -> Vec<(usize, Transmit)> {
        let mut out = Vec::new();
        for n in 0..self.terminals.len() {
            if let Some(terminal) = self.terminals.get_mut(n) {
                terminal.on_timer(now, &mut self.rng);
            }
            out.extend(self.transmits(n).into_iter().map(|t| (n, t)));
        }
        out
    }

    /// Takes a datagram; what was said inside a session, and what is to be sent.
    fn take(&mut self, now: Now, from: SocketAddr, datagram: &mut [u8]) -> (Option<usize>, Vec<(usize, Transmit)>) {
        let named = handles(datagram).find_map(|handle| self.by_handle.get(&handle).copied());
        let Some(n) = named.or_else(|| call_id_tag(datagram).map(|tag| tag as usize)) else {
            return (None, Vec::new());
        };
        let Some(terminal) = self.terminals.get_mut(n) else { return (None, Vec::new()) };
        terminal.on_datagram(now, &mut self.rng, from, datagram);
        let mut said = None;
        while let Some(event) = terminal.poll_event() {
            match event {
                Event::Keyed { kid } => _ = self.by_handle.insert(kid, n),
                Event::Inside { .. } => said = Some(n),
                _ => {}
            }
        }
        (said, self.transmits(n).into_iter().map(|t| (n, t)).collect())
    }
}

impl Callers {
    /// The datagram by which terminal `n` says this, and where it goes.
    pub(super) fn seal(&mut self, now: Now, n: usize, message: &[u8]) -> Option<(SocketAddr, Vec<u8>)> {
        match self {
            Self::Fixed(fixed) => Some((fixed.floor, fixed.channel.seal_request(message)?)),
            Self::Agreed(agreed) => {
                let terminal = agreed.terminals.get_mut(n)?;
                terminal.say(now, &mut agreed.rng, message).then_some(())?;
                let sent = terminal.poll_transmit()?;
                Some((sent.to, sent.octets))
            }
        }
    }

    /// Takes a datagram. The terminal whose request it answers, once it has verified, and what is to be sent.
    pub(super) fn take(
        &mut self,
        now: Now,
        from: SocketAddr,
        datagram: &mut [u8],
    ) -> (Option<usize>, Vec<(usize, Transmit)>) {
        match self {
            Self::Agreed(agreed) => agreed.take(now, from, datagram),
            Self::Fixed(fixed) => {
                let reply = fixed.channel.open_reply(datagram);
                (reply.and_then(call_id_tag).map(|tag| tag as usize), Vec::new())
            }
        }
    }
}
