//! One phone: its terminal, its registration, and what waits.

use crate::way::Flow;
use core::net::{IpAddr, SocketAddr};
use portunus_keydist::timing::Repeating;
use portunus_terminal::sip::SipTerminal;

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
    pub(crate) terminal: SipTerminal,
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
}

impl Phone {
    pub(crate) fn new(id: String, from: Vec<IpAddr>, terminal: SipTerminal, local: SocketAddr) -> Self {
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
