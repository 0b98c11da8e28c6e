//! Where the control thread takes a message of the core.

use std::net::SocketAddr;

use portunus_keydist::Idsp;
use portunus_keydist::ident::IdcBuf;
use portunus_signalling::{Hop, Marks, Own, Protocol, Route, Signalling, Ticket, Transport, Writer};

/// Finds the worker that a message of the core is for, and answers what no worker is to see.
pub trait Router: Send {
    /// Where it belongs.
    fn route(&self, protocol: Protocol, message: &[u8]) -> Destination;

    /// True where whatever comes by a worker's lane is that worker's, when there is no other.
    fn by_lane(&self, _protocol: Protocol) -> bool {
        false
    }

    /// Writes the answer to a request for the proxy itself (`reachable`) or for a terminal that has no session; 0
    /// octets when none is due.
    fn answer(&self, protocol: Protocol, message: &[u8], reachable: bool, out: &mut [u8]) -> usize;
}

/// What a router found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// This worker.
    Worker(u8),
    /// The worker that holds this terminal's session.
    Terminal(IdcBuf),
    /// The worker by whose lane it came.
    Step,
    /// The worker that holds the session of the terminal by whose lane it came, else as [`Destination::Step`].
    Lane,
    /// The proxy itself.
    Own,
    /// Nothing here.
    Unknown,
}

/// The proxy's router: asks the protocols.
pub(crate) struct ByProtocol {
    protocols: Vec<&'static dyn Signalling>,
    idsp: String,
    realm: String,
    core: SocketAddr,
}

impl ByProtocol {
    pub(crate) fn new(protocols: Vec<&'static dyn Signalling>, idsp: &str, realm: &str, core: SocketAddr) -> Self {
        Self { protocols, idsp: idsp.to_owned(), realm: realm.to_owned(), core }
    }

    fn protocol(&self, protocol: Protocol) -> Option<&'static dyn Signalling> {
        self.protocols.iter().copied().find(|signalling| signalling.protocol() == protocol)
    }
}

impl Router for ByProtocol {
    fn route(&self, protocol: Protocol, message: &[u8]) -> Destination {
        match self.protocol(protocol).map(|signalling| signalling.route_core(message)) {
            Some(Route::Ticket(ticket)) => Destination::Worker(ticket.worker()),
            Some(Route::Terminal(idc)) => Destination::Terminal(idc),
            Some(Route::Own) => Destination::Own,
            Some(Route::Step) => Destination::Step,
            Some(Route::Lane) => Destination::Lane,
            Some(Route::Unknown) | None => Destination::Unknown,
        }
    }

    fn by_lane(&self, protocol: Protocol) -> bool {
        self.protocol(protocol).is_some_and(Signalling::lanes)
    }

    fn answer(&self, protocol: Protocol, message: &[u8], reachable: bool, out: &mut [u8]) -> usize {
        let (Some(signalling), Some(idsp)) = (self.protocol(protocol), Idsp::new(&self.idsp)) else { return 0 };
        // An answer goes back where the request came from and passes no terminal: core is all that it names.
        let hop = Hop {
            own: Own { idsp, realm: &self.realm, access: self.core, core: self.core },
            source: self.core,
            transport: Transport::Udp,
            ticket: Ticket(0),
            salt: 0,
            marks: &Marks::NONE,
        };
        let mut writer = Writer::new(out);
        match signalling.answer_own(&hop, message, reachable, &mut writer) {
            Ok(()) => writer.len(),
            Err(_) => 0,
        }
    }
}
