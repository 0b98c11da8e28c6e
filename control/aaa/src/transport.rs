//! The table of transports between softswitch and AuC. A protocol is a [`Link`] and an [`End`] of its own, and a line
//! a transport here; clients, servers and their sockets read this table and name no protocol.

use crate::client::link::{Link, LinkConfig};
use crate::diameter;
use crate::radius;
use crate::server::{End, EndConfig};
use portunus_keydist::Random;

/// What carries the packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carrier {
    /// UDP, one packet a datagram, two ports; a lane is a source port.
    Datagram,
    /// TLS 1.3 with certificates on both sides; a lane is a connection.
    Tls,
    /// TCP alone, for a lab or a host's own relay; a lane is a connection.
    Tcp,
}

impl Carrier {
    /// True where there are connections.
    pub const fn is_stream(self) -> bool {
        !matches!(self, Self::Datagram)
    }
}

/// The stream cannot be followed any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutOfStep;

/// One way to reach an AuC.
#[derive(Debug)]
pub struct Transport {
    /// Its name in configurations.
    pub name: &'static str,
    /// What carries it.
    pub carrier: Carrier,
    /// Its standard ports: authentication, accounting.
    pub ports: (u16, u16),
    /// True where a client has one connection to a server, whatever was asked for.
    pub one_lane: bool,
    /// The client's end towards one server.
    pub link: fn(LinkConfig) -> Box<dyn Link>,
    /// The server's end.
    pub end: fn(EndConfig, Box<dyn Random + Send>) -> Box<dyn End>,
    /// Streams: octets that the first packet takes, `None` while it is incomplete.
    pub frame: fn(&[u8]) -> Result<Option<usize>, OutOfStep>,
}

fn radius_link(config: LinkConfig) -> Box<dyn Link> {
    Box::new(radius::link::RadiusLink::new(config))
}

fn radius_end(config: EndConfig, rng: Box<dyn Random + Send>) -> Box<dyn End> {
    Box::new(radius::server::RadiusEnd::new(config, rng))
}

fn radius_frame(stream: &[u8]) -> Result<Option<usize>, OutOfStep> {
    radius::frame(stream).map_err(|_| OutOfStep)
}

fn diameter_link(config: LinkConfig) -> Box<dyn Link> {
    Box::new(diameter::link::DiameterLink::new(config))
}

fn diameter_end(config: EndConfig, rng: Box<dyn Random + Send>) -> Box<dyn End> {
    Box::new(diameter::end::DiameterEnd::new(config, rng))
}

fn diameter_frame(stream: &[u8]) -> Result<Option<usize>, OutOfStep> {
    diameter::frame(stream).map_err(|_| OutOfStep)
}

/// RADIUS over UDP, for a lab: RFC 2865, 2866.
pub static RADIUS_UDP: Transport = Transport {
    name: "radius",
    carrier: Carrier::Datagram,
    ports: (1812, 1813),
    one_lane: false,
    link: radius_link,
    end: radius_end,
    frame: radius_frame,
};

/// RADIUS over TLS, the default: RFC 6614.
pub static RADSEC: Transport = Transport {
    name: "radsec",
    carrier: Carrier::Tls,
    ports: (2083, 2083),
    one_lane: false,
    link: radius_link,
    end: radius_end,
    frame: radius_frame,
};

/// Diameter over TLS from its first octet: RFC 6733 section 2.1.
pub static DIAMETER_TLS: Transport = Transport {
    name: "diameter-tls",
    carrier: Carrier::Tls,
    ports: (5658, 5658),
    one_lane: true,
    link: diameter_link,
    end: diameter_end,
    frame: diameter_frame,
};

/// Diameter over TCP, for a lab, or towards a relay on the same host.
pub static DIAMETER_TCP: Transport =
    Transport { name: "diameter-tcp", carrier: Carrier::Tcp, ports: (3868, 3868), ..DIAMETER_TLS };

/// All of them.
pub static TRANSPORTS: &[&Transport] = &[&RADIUS_UDP, &RADSEC, &DIAMETER_TLS, &DIAMETER_TCP];

/// The transport of that name.
pub fn transport(name: &str) -> Option<&'static Transport> {
    TRANSPORTS.iter().find(|t| t.name == name).copied()
}

#[cfg(test)]
mod tests;
