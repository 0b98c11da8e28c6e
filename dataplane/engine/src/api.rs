//! The engine's face: what goes in, what comes out. Effects are data; nothing here knows a socket.

use arrayvec::ArrayString;
use core::net::{IpAddr, Ipv6Addr, SocketAddr};
use portunus_channel::kernel::Pair;
use portunus_keydist::bugs::{Bug, planted};
use portunus_keydist::ident::IDC_MAX;
use portunus_keydist::proxy::HashKey;
use portunus_keydist::{DeviceKeys, Idc};
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
    /// Its octets; protected datagrams are opened in place.
    pub bytes: &'a mut [u8],
}

/// The port by which something passes between the proxy and the core (see
/// [`portunus_signalling::Signalling::lanes`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Lane {
    /// The one that all terminals of a worker share: s2, and everything of protocols without lanes.
    Shared,
    /// A terminal's own, by its name: see [`Lane::name`].
    Of(u64),
}

impl Lane {
    /// The number that names a terminal's lane: a keyed hash of its identity, the same on every worker of the process.
    /// Its lower half is the affinity of the terminal's messages.
    pub fn name(hash: &HashKey, idc: Idc<'_>) -> u64 {
        if planted(Bug::LaneShared) {
            return hash.digest(b'I', &[]) as u64;
        }
        hash.digest(b'I', &[idc.as_bytes()]) as u64
    }

    /// An address for this lane of this worker where no socket is between the proxy and the core: out of the block
    /// that leads nowhere (RFC 6666). The port is never 0.
    pub const fn virtual_address(self, worker: u8) -> SocketAddr {
        let (name, kind) = match self {
            Self::Shared => (0, 1),
            Self::Of(name) => (name, 2),
        };
        let ip = Ipv6Addr::from_bits(0x0100 << 112 | name as u128);
        SocketAddr::new(IpAddr::V6(ip), (worker as u16) << 8 | kind)
    }

    /// The worker and the lane of such an address; `None` for any other.
    pub const fn of_virtual_address(address: SocketAddr) -> Option<(u8, Self)> {
        let IpAddr::V6(ip) = address.ip() else { return None };
        let bits = ip.to_bits();
        let lane = match (bits >> 64 == 0x0100 << 48, address.port() & 0xff) {
            (true, 1) if bits as u64 == 0 => Self::Shared,
            (true, 2) => Self::Of(bits as u64),
            _ => return None,
        };
        Some(((address.port() >> 8) as u8, lane))
    }
}

/// One message of the core.
#[derive(Debug, Clone, Copy)]
pub struct CorePacket<'a> {
    /// What it came by.
    pub lane: Lane,
    /// What brings an answer of the proxy's own back to its sender, as [`To::Core::affinity`].
    pub affinity: u32,
    /// Its octets.
    pub bytes: &'a [u8],
}

impl<'a> CorePacket<'a> {
    /// A message of a protocol without lanes, from the only core there is.
    pub const fn shared(bytes: &'a [u8]) -> Self {
        Self { lane: Lane::Shared, affinity: 0, bytes }
    }

    /// The way back.
    pub(crate) const fn back(&self, protocol: Protocol) -> To {
        To::Core { protocol, affinity: self.affinity, lane: self.lane }
    }
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
        /// it lets s8 meet the one that has the challenge. What answers a message of the core's leaves with the affinity
        /// that came with it.
        affinity: u32,
        /// What it leaves by; [`Lane::Shared`] for protocols without lanes.
        lane: Lane,
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

    /// The host's kernel is to have a session's ESP from now on; it counts on nothing until the terminal is heard through
    /// it. False: the kernel cannot be asked at present. Sinks without a kernel never can.
    fn install(&mut self, _pair: Pair) -> bool {
        false
    }

    /// It need not have this session's any more, once what was sent last has left.
    fn uninstall(&mut self, _kid: u64) {}

    /// Closes a connection of mechanism `tls` once it has been sent what waits. Sinks without connections have nothing to
    /// do.
    fn hang_up(&mut self, _conn: u32) {}
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
    /// Ends the session of this handle: what carried it is gone.
    EndChannel {
        /// The session's handle.
        kid: u64,
    },
    /// Whether the host's kernel takes new sessions; it does from the beginning.
    Kernel(bool),
    /// From now on new registrations get 503; those under way finish, sessions go on.
    Drain,
    /// New registrations are taken again.
    Resume,
    /// Another policy from now on. It was validated by [`crate::Policy::validate`]; one that was not is ignored.
    Reload(Arc<crate::Policy>),
    /// Other long-term keys from now on. Sessions have their own and go on.
    Rekey(Arc<DeviceKeys>),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn virtual_addresses_differ_and_come_back() {
        for worker in [0, 7, 254] {
            for lane in [Lane::Shared, Lane::Of(0), Lane::Of(0x0123_4567_89ab_cdef), Lane::Of(u64::MAX)] {
                let address = lane.virtual_address(worker);
                assert_eq!(Lane::of_virtual_address(address), Some((worker, lane)));
                assert!(address.port() != 0);
            }
        }
        for other in ["192.0.2.1:513", "[100::5]:1", "[100::5]:3", "[2001:db8::5]:2"] {
            assert_eq!(Lane::of_virtual_address(other.parse().unwrap()), None, "{other}");
        }
    }
}
