//! One session: an entry of four cache lines.

use crate::api::Meta;
use core::net::{IpAddr, Ipv6Addr, SocketAddr};
use portunus_channel::{Keys, ReplayWindow, Sequence};
use portunus_keydist::mech::Mech;
use portunus_signalling::Protocol;

/// How far a session has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum State {
    /// No session.
    Free,
    /// Its s10 was sent; nothing protected has been received yet.
    Provisional,
    /// Confirmed.
    Active,
    /// A stock phone's: no key.
    Stock,
}

/// What carries a session's messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Carried {
    /// Nothing protects them (stock phones): the connection, 0 for datagrams.
    Plain {
        /// See [`Meta::conn`].
        conn: u32,
    },
    /// Datagrams of a mechanism.
    Protected {
        /// Which.
        mech: Mech,
        /// The terminal's inner port.
        port: u16,
        /// The terminal's handle, 0 where it has none of its own.
        handle: u32,
    },
    /// Datagrams of `ipsec-man` that the host's kernel protects: they come and go in the clear by a listener of its own.
    Kernel {
        /// The terminal's inner port.
        port: u16,
        /// The terminal's SPI.
        spi: u32,
    },
    /// A connection of mechanism `tls`: the newest one whose handshake succeeded, 0 where there is none now.
    Stream {
        /// See [`Meta::conn`].
        conn: u32,
    },
}

/// One session, 256 octets.
pub(crate) struct Session {
    pub(crate) keys: Keys,
    pub(crate) window: ReplayWindow,
    pub(crate) sequence: Sequence,
    /// How often the slot was used, 24 bits; kept in free slots.
    pub(crate) generation: u32,
    /// The piece of text that holds IDc and binding; the next free slot plus one while free.
    pub(super) text: u32,
    pub(super) ip: [u8; 16],
    /// End of life in seconds of the monotonic clock.
    pub(crate) ends_s: u32,
    pub(crate) carried: Carried,
    pub(super) port: u16,
    pub(super) idc_len: u8,
    pub(super) binding_len: u8,
    /// The address was given in IPv4's own form.
    pub(super) is_v4: bool,
    pub(super) listener: u8,
    pub(crate) protocol: Protocol,
    pub(crate) state: State,
}

impl Session {
    /// Where to send what is for the terminal.
    pub(crate) fn meta(&self) -> Meta {
        let v6 = Ipv6Addr::from(self.ip);
        let ip = match v6.to_ipv4_mapped() {
            Some(v4) if self.is_v4 => IpAddr::V4(v4),
            _ => IpAddr::V6(v6),
        };
        let conn = match self.carried {
            Carried::Plain { conn } | Carried::Stream { conn } => conn,
            Carried::Protected { .. } | Carried::Kernel { .. } => 0,
        };
        Meta { source: SocketAddr::new(ip, self.port), listener: self.listener, conn }
    }

    /// The terminal was heard from there.
    pub(crate) fn set_meta(&mut self, meta: &Meta) {
        (self.ip, self.is_v4) = match meta.source.ip() {
            IpAddr::V4(v4) => (v4.to_ipv6_mapped().octets(), true),
            IpAddr::V6(v6) => (v6.octets(), false),
        };
        (self.port, self.listener) = (meta.source.port(), meta.listener);
        if let Carried::Plain { conn } = &mut self.carried {
            *conn = meta.conn;
        }
    }

    /// A connection of `tls` proved that it is the terminal's, and is the one that it is reached by from now on. Returns
    /// the one before, 0 for none.
    pub(crate) fn set_stream(&mut self, meta: &Meta) -> u32 {
        self.set_meta(meta);
        match &mut self.carried {
            Carried::Stream { conn } => core::mem::replace(conn, meta.conn),
            Carried::Plain { .. } | Carried::Protected { .. } | Carried::Kernel { .. } => 0,
        }
    }

    /// This connection is gone.
    pub(crate) fn forget_stream(&mut self, gone: u32) {
        if let Carried::Stream { conn } = &mut self.carried
            && *conn == gone
        {
            *conn = 0;
        }
    }

    /// The connection that it is reached by, for a session of `tls`; 0: none.
    pub(crate) const fn stream(&self) -> Option<u32> {
        match self.carried {
            Carried::Stream { conn } => Some(conn),
            Carried::Plain { .. } | Carried::Protected { .. } | Carried::Kernel { .. } => None,
        }
    }

    /// The terminal's SPI, for a session whose ESP the kernel does.
    pub(crate) const fn kernel_spi(&self) -> Option<u32> {
        match self.carried {
            Carried::Kernel { spi, .. } => Some(spi),
            Carried::Plain { .. } | Carried::Protected { .. } | Carried::Stream { .. } => None,
        }
    }

    /// It is found by where its messages come from.
    pub(super) const fn is_by_source(&self) -> bool {
        matches!(self.state, State::Stock) || matches!(self.carried, Carried::Kernel { .. })
    }

    pub(super) fn text_len(&self) -> usize {
        usize::from(self.idc_len) + usize::from(self.binding_len)
    }

    /// True when it has a key.
    pub(crate) fn is_keyed(&self) -> bool {
        matches!(self.state, State::Provisional | State::Active)
    }
}
