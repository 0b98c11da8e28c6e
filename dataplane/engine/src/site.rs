//! What the proxy is and where it listens: fixed while the engine lives, read by every message.

use crate::config::{Config, Listener, ListenerKind};
use core::net::SocketAddr;
use portunus_channel::Mechanism;
use portunus_keydist::Idsp;
use portunus_keydist::mech::Mech;
use portunus_signalling::{Hop, Marks, Own, Protocol, Signalling, Ticket, Transport};

/// Kinds of ticket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum TicketKind {
    /// A registration that waits for the core.
    Pending = 1,
    /// Something relayed for, or to, a session.
    Session = 2,
    /// A de-registration relayed for a session: its granted answer ends the session.
    Deregister = 3,
}

/// A ticket taken apart: worker 8 bits, kind 4, generation 20, slot 32.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TicketParts {
    pub(crate) kind: TicketKind,
    pub(crate) generation: u32,
    pub(crate) slot: u32,
}

impl TicketParts {
    pub(crate) const fn ticket(self, worker: u8) -> Ticket {
        let (generation, slot) = (self.generation & 0xf_ffff, self.slot);
        let low = (self.kind as u64) << 52 | (generation as u64) << 32 | slot as u64;
        Ticket((worker as u64) << 56 | low)
    }

    /// `None` for another worker's ticket and for an unknown kind.
    pub(crate) fn read(ticket: Ticket, worker: u8) -> Option<Self> {
        if ticket.worker() != worker {
            return None;
        }
        let kind = match ticket.0 >> 52 & 0xf {
            1 => TicketKind::Pending,
            2 => TicketKind::Session,
            3 => TicketKind::Deregister,
            _ => return None,
        };
        Some(Self { kind, generation: (ticket.0 >> 32) as u32 & 0xf_ffff, slot: ticket.0 as u32 })
    }
}

/// The unprotected side of an access listener.
#[derive(Clone, Copy)]
pub(crate) struct Access {
    pub(crate) signalling: &'static dyn Signalling,
    pub(crate) transport: Transport,
    pub(crate) stock_phones: bool,
}

/// The proxy's names and places.
pub(crate) struct Site {
    pub(crate) worker: u8,
    /// See [`Config::workers`].
    pub(crate) workers: u8,
    idsp: String,
    realm: String,
    core: SocketAddr,
    listeners: Vec<Listener>,
    /// Each protocol that an access listener speaks, and the port of the first that does.
    protocols: [Option<(&'static dyn Signalling, u16)>; 5],
}

impl Site {
    /// From a configuration that was validated.
    pub(crate) fn new(config: Config) -> Self {
        let mut protocols = [None; 5];
        for listener in &config.listeners {
            if let ListenerKind::Access { signalling, .. } = listener.kind
                && let Some(place) = protocols.get_mut(signalling.protocol() as usize)
            {
                place.get_or_insert((signalling, listener.address.port()));
            }
        }
        let Config { worker, workers, idsp, realm, core, listeners, .. } = config;
        Self { worker, workers, idsp, realm, core, listeners, protocols }
    }

    /// The proxy's identity.
    pub(crate) fn idsp(&self) -> Idsp<'_> {
        match Idsp::new(&self.idsp) {
            Some(idsp) => idsp,
            None => unreachable!("the configuration was validated"),
        }
    }

    pub(crate) fn listener(&self, number: u8) -> Option<&Listener> {
        self.listeners.get(usize::from(number))
    }

    /// The access listener of this number.
    pub(crate) fn access(&self, number: u8) -> Option<Access> {
        match self.listener(number)?.kind {
            ListenerKind::Access { signalling, transport, stock_phones } => {
                Some(Access { signalling, transport, stock_phones })
            }
            ListenerKind::Protected(_) | ListenerKind::Kernel { .. } | ListenerKind::Tls { .. } => None,
        }
    }

    /// The mechanism of a listener for protected datagrams.
    pub(crate) fn protected(&self, number: u8) -> Option<&'static dyn Mechanism> {
        match self.listener(number)?.kind {
            ListenerKind::Protected(mechanism) => Some(mechanism),
            ListenerKind::Access { .. } | ListenerKind::Kernel { .. } | ListenerKind::Tls { .. } => None,
        }
    }

    /// The protocol inside the connections of a listener for mechanism `tls`.
    pub(crate) fn tls(&self, number: u8) -> Option<&'static dyn Signalling> {
        match self.listener(number)?.kind {
            ListenerKind::Tls { signalling } => Some(signalling),
            ListenerKind::Access { .. } | ListenerKind::Kernel { .. } | ListenerKind::Protected(_) => None,
        }
    }

    /// The protocol of a listener for what the kernel took out of ESP.
    pub(crate) fn opened_by_kernel(&self, number: u8) -> Option<&'static dyn Signalling> {
        match self.listener(number)?.kind {
            ListenerKind::Kernel { signalling, .. } => Some(signalling),
            ListenerKind::Access { .. } | ListenerKind::Protected(_) | ListenerKind::Tls { .. } => None,
        }
    }

    /// The outer port of such a listener.
    pub(crate) fn kernel_outer(&self, number: u8) -> Option<u16> {
        match self.listener(number)?.kind {
            ListenerKind::Kernel { outer, .. } => Some(outer),
            ListenerKind::Access { .. } | ListenerKind::Protected(_) | ListenerKind::Tls { .. } => None,
        }
    }

    /// The listeners for what the kernel took out of ESP that serve terminals which register at `access` in this protocol:
    /// their numbers and the outer port.
    pub(crate) fn kernel_listeners(&self, access: u8, protocol: Protocol) -> impl Iterator<Item = (u8, u16)> {
        let near = self.listener(access).map(|l| l.address.ip());
        let of = move |l: &Listener| match l.kind {
            ListenerKind::Kernel { signalling, outer, .. } => {
                (signalling.protocol() == protocol && Some(l.address.ip()) == near).then_some(outer)
            }
            ListenerKind::Access { .. } | ListenerKind::Protected(_) | ListenerKind::Tls { .. } => None,
        };
        (0..).zip(&self.listeners).filter_map(move |(number, listener)| Some((number, of(listener)?)))
    }

    /// True when some listener is for what the kernel took out of ESP.
    pub(crate) fn has_kernel(&self) -> bool {
        self.listeners.iter().any(|l| matches!(l.kind, ListenerKind::Kernel { .. }))
    }

    /// True when some listener is for mechanism `tls`.
    pub(crate) fn has_tls(&self) -> bool {
        self.listeners.iter().any(|l| matches!(l.kind, ListenerKind::Tls { .. }))
    }

    /// The protocol of this number, as some access listener speaks it.
    pub(crate) fn protocol(&self, number: u8) -> Option<&'static dyn Signalling> {
        self.protocols.get(usize::from(number)).copied().flatten().map(|(signalling, _)| signalling)
    }

    /// The port that stands inside protected datagrams of a protocol: where it is spoken unprotected. The same for all of
    /// its sessions while the engine lives.
    pub(crate) fn inner_port(&self, protocol: Protocol) -> u16 {
        self.protocols.get(protocol as usize).copied().flatten().map_or(0, |(_, port)| port)
    }

    /// The listener of a mechanism for terminals that register at `access` and speak `protocol`: the same address if
    /// possible, else the same family.
    pub(crate) fn protected_port(&self, access: u8, mech: Mech, protocol: Protocol) -> Option<u16> {
        let near = self.listener(access)?.address.ip();
        let of = |l: &&Listener| match l.kind {
            ListenerKind::Protected(mechanism) => mechanism.mech() == mech,
            ListenerKind::Tls { signalling } => mech == Mech::Tls && signalling.protocol() == protocol,
            ListenerKind::Access { .. } | ListenerKind::Kernel { .. } => false,
        };
        let own = || self.listeners.iter().filter(of);
        let same = own().find(|l| l.address.ip() == near);
        same.or_else(|| own().find(|l| l.address.is_ipv4() == near.is_ipv4())).map(|l| l.address.port())
    }

    /// One message's way. Listeners for protected messages carry datagrams, but for those of `tls`.
    pub(crate) fn hop(&self, listener: u8, source: SocketAddr, ticket: Ticket, salt: u64) -> Hop<'_> {
        let access = self.listener(listener).map_or(self.core, |l| l.address);
        let transport = match self.listener(listener).map(|l| l.kind) {
            Some(ListenerKind::Access { transport, .. }) => transport,
            Some(ListenerKind::Tls { .. }) => Transport::Tls,
            Some(ListenerKind::Protected(_) | ListenerKind::Kernel { .. }) | None => Transport::Udp,
        };
        let own = Own { idsp: self.idsp(), realm: &self.realm, access, core: self.core };
        Hop { own, source, transport, ticket, salt, marks: &Marks::NONE }
    }

    /// The way of an answer to the core that no terminal has a part in.
    pub(crate) fn own_hop(&self, salt: u64) -> Hop<'_> {
        self.hop(0, self.core, Ticket(u64::from(self.worker) << 56), salt)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tickets_come_back() {
        for kind in [TicketKind::Pending, TicketKind::Session, TicketKind::Deregister] {
            let parts = TicketParts { kind, generation: 0xf_fffe, slot: 0x89ab_cdef };
            let ticket = parts.ticket(0xfe);
            assert_eq!((ticket.worker(), TicketParts::read(ticket, 0xfe)), (0xfe, Some(parts)));
            assert_eq!(TicketParts::read(ticket, 1), None);
        }
        assert_eq!(TicketParts::read(Ticket(0), 0), None);
        assert_eq!(TicketParts::read(Ticket(0xf << 52), 0), None);
    }
}
