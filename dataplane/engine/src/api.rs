//! The engine's face: what goes in, what comes out. Effects are data; nothing here knows a socket.

use arrayvec::ArrayString;
use core::net::SocketAddr;
use portunus_keydist::Idc;
use portunus_keydist::ident::IDC_MAX;
use portunus_signalling::Protocol;
use std::sync::Arc;

/// Where a message of the access side came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Meta {
    /// The sender's address and port as seen by the proxy.
    pub source: SocketAddr,
    /// Index of the listener in [`crate::Config::listeners`].
    pub listener: u8,
    /// The stream connection on that listener; 0 for datagrams.
    pub conn: u32,
}

/// One message of the access side: a datagram, or what the I/O side framed from a stream.
#[derive(Debug)]
pub struct Packet<'a> {
    /// Where it came from.
    pub meta: Meta,
    /// Its octets; sealed datagrams are opened in place.
    pub bytes: &'a mut [u8],
}

/// Where a message goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum To {
    /// To a terminal.
    Access {
        /// Index of the listener that sends it.
        listener: u8,
        /// The stream connection; 0 for datagrams.
        conn: u32,
        /// The terminal's address.
        addr: SocketAddr,
    },
    /// To the core.
    Core {
        /// The protocol, which names the link.
        protocol: Protocol,
        /// The same number for every message of one IDc, from every worker of the process: with several softswitches
        /// it lets s8 meet the one that has the challenge.
        affinity: u32,
    },
}

/// Takes the engine's effects, in order.
pub trait Sink {
    /// Offers a buffer (at least [`crate::Capacity::message`] octets long) to `write`, which returns the length of the
    /// message, or `None` to give the attempt up. Returns false only when the message could not be queued (the
    /// queue is full); the engine counts that and carries on.
    fn send(&mut self, to: To, write: &mut dyn FnMut(&mut [u8]) -> Option<usize>) -> bool;

    /// Something that the control side keeps account of.
    fn event(&mut self, event: Event<'_>);
}

/// Why a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EndReason {
    /// A newer session of the same IDc was confirmed.
    Replaced,
    /// The terminal de-registered and has its last reply.
    Deregistered,
    /// The key's (or the stock phone's registration's) lifetime is over.
    Expired,
    /// The control side ended it.
    Commanded,
    /// Its sequence numbers ran out.
    Exhausted,
}

/// What the control side hears of, to keep its directory of terminals and workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event<'a> {
    /// A session became active: requests of the core for this IDc go to this worker now. An older one on another
    /// worker is to be ended with [`Command::EndSession`].
    Active {
        /// The terminal.
        idc: Idc<'a>,
        /// The session's handle; the top octet is the worker.
        kid: u64,
        /// False for a stock phone's session, which has no key.
        keyed: bool,
    },
    /// An active session ended.
    Ended {
        /// The terminal.
        idc: Idc<'a>,
        /// The session's handle.
        kid: u64,
        /// Why.
        why: EndReason,
    },
}

/// An order from the control side.
#[derive(Debug, Clone)]
pub enum Command {
    /// Ends the active session of an IDc.
    EndSession {
        /// The terminal.
        idc: ArrayString<IDC_MAX>,
        /// Only this session, when given: a newer one stays.
        kid: Option<u64>,
    },
    /// From now on new registrations get 503; those under way finish, sessions go on.
    Drain,
    /// New registrations are taken again.
    Resume,
    /// Another policy from now on. It was validated by [`crate::Policy::validate`]; one that was not is ignored.
    Reload(Arc<crate::Policy>),
}

/// Why the engine wants [`crate::Engine::on_timer`] at a certain time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Why {
    /// The core may have been silent for too long.
    CoreTimeout,
    /// A session may be unconfirmed for too long, or at the end of its life.
    Session,
    /// The timer wheel wants to sort far timers into nearer slots.
    Wheel,
}
