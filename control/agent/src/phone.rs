//! One phone, or media gateway: its terminal, its registration, and what waits.

use crate::way::Flow;
use core::net::{IpAddr, SocketAddr};
use portunus_keydist::timing::Repeating;
use portunus_signalling::Protocol;
use portunus_terminal::AnyTerminal;

/// What a REGISTER asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Wish {
    /// This Contact, for so many seconds.
    Bind { contact: Vec<u8>, expires_s: u32 },
    /// No longer registered.
    Unbind,
}

/// A REGISTER that waits for the channel.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) flow: Flow,
    pub(crate) request: Vec<u8>,
    pub(crate) wish: Wish,
    pub(crate) since_ms: u64,
    /// True once 100 was said.
    pub(crate) trying: bool,
}

/// Where a registered phone is.
#[derive(Debug)]
pub(crate) struct Bound {
    pub(crate) flow: Flow,
    pub(crate) contact: Vec<u8>,
    pub(crate) until_ms: u64,
}

/// The last answer to a REGISTER, for its retransmissions.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) via: Vec<u8>,
    pub(crate) octets: Vec<u8>,
}

/// A request that a phone trusted a stream with.
#[derive(Debug)]
pub(crate) struct Under {
    pub(crate) branch: String,
    pub(crate) method: Vec<u8>,
    pub(crate) octets: Vec<u8>,
    pub(crate) repeat: Repeating,
}

pub(crate) struct Phone {
    pub(crate) id: String,
    /// Addresses that it may send from; none: those of this host.
    from: Vec<IpAddr>,
    pub(crate) terminal: AnyTerminal,
    /// Where its terminal is, towards the proxy.
    pub(crate) local: SocketAddr,
    pub(crate) held: Option<Held>,
    pub(crate) bound: Option<Bound>,
    pub(crate) answered: Option<Answered>,
    pub(crate) under: Vec<Under>,
    /// True: its channel is wanted whether or not it registers.
    pub(crate) wanted: bool,
    /// True once its channel was open, until it is closed in order.
    pub(crate) opened: bool,
    /// What is kept of a media gateway; `None`: it is a SIP phone.
    pub(crate) gateway: Option<Gateway>,
}

/// What is kept of a media gateway.
#[derive(Debug)]
pub(crate) struct Gateway {
    pub(crate) protocol: Protocol,
    /// Where it was heard last.
    pub(crate) flow: Option<Flow>,
    /// Its last message, which waits for the channel, and since when, monotonic milliseconds.
    pub(crate) waiting: Option<(Vec<u8>, u64)>,
    /// The transaction that takes it out of service.
    pub(crate) leaving: Option<u32>,
    /// Whom the call agent wants told (MGCP), in whose place the agent stands.
    pub(crate) notified: Option<Vec<u8>>,
}

impl Gateway {
    pub(crate) const fn new(protocol: Protocol) -> Self {
        Self { protocol, flow: None, waiting: None, leaving: None, notified: None }
    }
}

impl Phone {
    pub(crate) fn new(
        id: String,
        from: Vec<IpAddr>,
        terminal: AnyTerminal,
        local: SocketAddr,
        gateway: Option<Gateway>,
    ) -> Self {
        Self {
            id,
            from,
            terminal,
            local,
            held: None,
            bound: None,
            answered: None,
            under: Vec::new(),
            wanted: false,
            opened: false,
            gateway,
        }
    }

    /// True when it may send from this address.
    pub(crate) fn admits(&self, ip: IpAddr) -> bool {
        if self.from.is_empty() { ip.is_loopback() } else { self.from.contains(&ip) }
    }
}

impl core::fmt::Debug for Phone {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Phone({:?}, {})", self.terminal, if self.bound.is_some() { "registered" } else { "not registered" })
    }
}
