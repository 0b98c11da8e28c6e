//! How messages find their way back without memory: the agent's Via branches, and its own addresses in URIs.

use core::net::{IpAddr, SocketAddr};
use portunus_keydist::Random;
use portunus_keydist::proxy::HashKey;
use portunus_sip::view::{Items, Message, Name, Uri, Via};

/// Where a phone's message came from, and its answers go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Flow {
    /// Which listener, counted as in [`crate::Config::listeners`], behind which those of gateways follow.
    pub listener: usize,
    /// The phone's address.
    pub peer: SocketAddr,
    /// The connection's handle, never 0; `None`: UDP.
    pub stream: Option<u32>,
}

/// What the two halves of a branch say: of what is passed up, the listener and connection; of what is passed down, the
/// phone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Back {
    /// To the phone.
    Up { listener: u8, stream: u32 },
    /// To the proxy.
    Down { phone: u32 },
}

impl Back {
    const fn handle(self) -> (char, u64) {
        match self {
            Self::Up { listener, stream } => ('u', (listener as u64) << 32 | stream as u64),
            Self::Down { phone } => ('d', phone as u64),
        }
    }
}

/// Makes branches, and knows its own again.
pub(crate) struct Branches(HashKey);

impl core::fmt::Debug for Branches {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Branches(..)")
    }
}

impl Branches {
    pub(crate) fn draw(rng: &mut dyn Random) -> Self {
        Self(HashKey::new(rng.next_u64(), rng.next_u64()))
    }

    /// The branch of what is passed on: made from what tells the sender's transaction from others, method apart, so that
    /// CANCEL and the ACK of a refusal get their INVITE's (RFC 3261 section 16.11).
    pub(crate) fn of(&self, phone: usize, back: Back, below: &Via<'_>, msg: &Message<'_>) -> String {
        let (way, handle) = back.handle();
        let (owner, octets, number) = ((phone as u64).to_be_bytes(), handle.to_be_bytes(), msg.cseq().0.to_be_bytes());
        let parts = [&owner[..], &octets, below.branch().unwrap_or_default(), below.host, msg.call_id(), &number];
        format!("z9hG4bK{way}{handle:010x}{:016x}", self.0.digest(way as u8, &parts) as u64)
    }

    /// A mark of some octets that is the same when they come again: for tags without memory.
    pub(crate) fn mark(&self, octets: &[u8]) -> u64 {
        self.0.digest(b'm', &[octets]) as u64
    }

    /// What a response's topmost Via says, where it is one of ours made for the Via below it and for `phone`. `None`: it
    /// answers nothing that was passed on.
    pub(crate) fn read(&self, phone: Option<usize>, msg: &Message<'_>) -> Option<(usize, Back)> {
        let mut vias = msg.items(Name::Via).map(Via::parse);
        let (own, below) = (vias.next()??, vias.next()??);
        let branch = core::str::from_utf8(own.branch()?).ok()?;
        let rest = branch.strip_prefix("z9hG4bK")?;
        let handle = u64::from_str_radix(rest.get(1..11)?, 16).ok()?;
        let (owner, back) = match (rest.get(..1)?, phone) {
            ("u", Some(phone)) => {
                let back = Back::Up { listener: u8::try_from(handle >> 32).ok()?, stream: handle as u32 };
                (phone, back)
            }
            ("d", None) => (usize::try_from(handle).ok()?, Back::Down { phone: u32::try_from(handle).ok()? }),
            _ => return None,
        };
        (self.of(owner, back, &below, msg) == branch).then_some((owner, back))
    }
}

fn ip(host: &[u8]) -> Option<IpAddr> {
    let text = core::str::from_utf8(host).ok()?;
    text.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

/// True when a URI's host and port are this address.
pub(crate) fn is_at(uri: &Uri<'_>, own: SocketAddr) -> bool {
    uri.port.unwrap_or(5060) == own.port() && ip(uri.host) == Some(own.ip())
}

/// Where a response goes by the Via that it has below the agent's own: RFC 3581 section 4, RFC 3261 section 18.2.2.
pub(crate) fn back_to(msg: &Message<'_>) -> Option<SocketAddr> {
    let below = msg.items(Name::Via).nth(1).and_then(Via::parse)?;
    let received = below.params.value("received").and_then(ip);
    let address = || Some(SocketAddr::new(received.or_else(|| ip(below.host))?, below.port.unwrap_or(5060)));
    below.source().or_else(address)
}

/// Where a phone is that registered this Contact from `peer`: at the Contact where it names the same host, so that a
/// phone that sends from another port than it listens at is reached; else where it sent from.
pub(crate) fn reached(contact: &[u8], peer: SocketAddr) -> SocketAddr {
    let named = Uri::parse(contact).filter(|uri| ip(uri.host) == Some(peer.ip()));
    named.map_or(peer, |uri| SocketAddr::new(peer.ip(), uri.port.unwrap_or(5060)))
}

/// The first element of a message's Via list, as it stands.
pub(crate) fn top<'m>(msg: &Message<'m>) -> &'m [u8] {
    msg.value(Name::Via).and_then(|v| Items::new(v).next()).unwrap_or_default()
}
