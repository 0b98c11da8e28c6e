//! `tls` (spec section 5): TLS 1.3 (RFC 8446) with an external PSK and (EC)DHE, through OpenSSL, as one end of a
//! connection without I/O: octets of the peer in, octets for the peer out, plaintext between.
//!
//! ```text
//!  peer's octets --> [hello::read] --> identity --> the holder looks the PSK up
//!                          |                              |
//!                          +------ Connection::server <---+   unknown: a PSK that nobody has
//!                                        |
//!          OpenSSL's handshake --> traffic secrets --> [records]
//!                                        |
//!       octets for the peer <-- take / put / close --> plaintext
//! ```
//!
//! The identity is read out of the ClientHello before anything is made for the connection, so that a worker that does
//! not hold the session can hand the connection over first. An unknown identity goes through the same handshake with a
//! PSK that nobody has: its end is that of a wrong key, in octets and in time.
//!
//! Deliberately absent: certificates, tickets, early data, PSK without (EC)DHE, everything before TLS 1.3. What OpenSSL
//! does allocates: this room is for the few connections of those that chose it, and nothing of it is in the way of
//! datagrams. OpenSSL is let go of, and erases its copy of the PSK, when the handshake is over.

mod connection;
mod ends;
mod half;
pub mod hello;
mod records;

use crate::contract::{Carrier, Room};
use crate::keys::{Keys, TrafficKey};
use core::fmt;
use portunus_codec::{b64_decode, b64_encode, b64_len};
use portunus_keydist::mech::Mech;
use portunus_keydist::schedule::{Secret, TrafficCtx};
use zeroize::{Zeroize, ZeroizeOnDrop};

pub use connection::{Connection, Taken};
pub use ends::{Client, Server};

/// The proxy's TCP port for SIP unless configured otherwise.
pub const PORT_SIP: u16 = 5061;
/// The proxy's TCP port for H.248 unless configured otherwise.
pub const PORT_H248: u16 = 2945;
/// Octets of an identity.
pub const ID_LEN: usize = 16;
/// Characters of an identity as it stands in a ClientHello.
pub const ID_TEXT: usize = b64_len(ID_LEN);
/// Octets of a PSK.
pub const PSK_LEN: usize = 32;

/// This mechanism's line in the table.
pub(crate) const ROOM: Room = Room { mech: Mech::Tls, carrier: Carrier::Stream };

/// What names a session in a ClientHello: label `tls id`. No secret: it travels in the clear.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Identity(pub [u8; ID_LEN]);

impl Identity {
    /// As it travels: base64url.
    pub fn text(&self) -> [u8; ID_TEXT] {
        let mut text = [0; ID_TEXT];
        b64_encode(&self.0, &mut text);
        text
    }

    /// Which of so many workers, 0 counting as 1, it belongs to: a connection may arrive at any of them. A proxy draws N2b until the
    /// identity that follows from it names the worker that holds the session.
    pub const fn worker(&self, workers: u8) -> u8 {
        let [high, low, ..] = self.0;
        let workers = if workers == 0 { 1 } else { workers as u16 };
        (u16::from_be_bytes([high, low]) % workers) as u8
    }

    /// `None` for what [`Identity::text`] never wrote.
    pub fn from_text(text: &[u8]) -> Option<Self> {
        let mut id = [0; ID_LEN];
        (b64_decode(text, &mut id)? == ID_LEN).then_some(Self(id))
    }
}

/// The pre-shared key of a session: label `tls psk`. Erased when dropped.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct Psk([u8; PSK_LEN]);

impl Psk {
    /// Takes the octets over.
    pub const fn new(octets: [u8; PSK_LEN]) -> Self {
        Self(octets)
    }

    /// The octets, for handing to an implementation of TLS; never for output.
    pub const fn expose(&self) -> &[u8; PSK_LEN] {
        &self.0
    }
}

impl fmt::Debug for Psk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Psk(..)")
    }
}

/// The identity of a session, from S.
pub fn identity(secret: &Secret, ctx: &TrafficCtx<'_>) -> Identity {
    let mut id = [0; ID_LEN];
    secret.traffic("tls id", ctx, &mut id);
    Identity(id)
}

/// The identity and the PSK of a session, from S.
pub fn derive(secret: &Secret, ctx: &TrafficCtx<'_>) -> (Identity, Psk) {
    let mut psk = [0; PSK_LEN];
    secret.traffic("tls psk", ctx, &mut psk);
    let derived = (identity(secret, ctx), Psk(psk));
    psk.zeroize();
    derived
}

/// The same as what a session table holds of every mechanism.
impl From<(Identity, Psk)> for Keys {
    fn from((id, psk): (Identity, Psk)) -> Self {
        let mut named = [0; PSK_LEN];
        let (place, _) = named.split_at_mut(ID_LEN);
        place.copy_from_slice(&id.0);
        Self { c2s: TrafficKey::new(psk.0), s2c: TrafficKey::new(named) }
    }
}

impl From<&Keys> for (Identity, Psk) {
    fn from(keys: &Keys) -> Self {
        let mut id = [0; ID_LEN];
        let (named, _) = keys.s2c.octets().split_at(ID_LEN);
        id.copy_from_slice(named);
        (Identity(id), Psk(*keys.c2s.octets()))
    }
}

/// What one connection may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Octets of the peer's until the handshake is complete.
    pub handshake: usize,
    /// Octets of the peer's that wait because their plaintext is not taken.
    pub incoming: usize,
    /// Octets for the peer that wait because nobody fetches them.
    pub outgoing: usize,
}

impl Default for Limits {
    fn default() -> Self {
        // A handshake without certificates is under 1 KiB from the client, twice that after a HelloRetryRequest.
        Self { handshake: 16 << 10, incoming: 64 << 10, outgoing: 64 << 10 }
    }
}

/// Why a connection is over. After each of them the peer gets what [`Taken`] or [`Connection::close`] left in the
/// output (an alert at most), and nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Ended {
    /// The peer closed it as the standard says.
    Closed,
    /// The peer gave up: it sent a fatal alert of this number.
    Alert(u8),
    /// Its first octets are no TLS. Nothing is answered.
    NotTls,
    /// The ClientHello is malformed, or longer than [`hello::HELLO_MAX`]. Nothing is answered.
    Hello,
    /// The PSK does not verify: the identity is unknown or the key is another one.
    Unproven,
    /// The handshake came to nothing for another reason: version, suite, group, no PSK, no (EC)DHE with it.
    Refused,
    /// A record that does not verify, or what no record may be, after the handshake.
    Broken,
    /// More octets than a handshake may take.
    Long,
    /// Its plaintext is not taken as fast as it comes.
    Flood,
    /// It does not fetch what it is sent.
    Slow,
    /// The system has no memory for it.
    Memory,
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("closed by the peer"),
            Self::Alert(number) => write!(f, "the peer gave up with alert {number}"),
            Self::NotTls => f.write_str("the peer does not speak TLS"),
            Self::Hello => f.write_str("the peer's ClientHello is malformed or too long"),
            Self::Unproven => f.write_str("the peer's PSK identity is unknown or its key is another one"),
            Self::Refused => f.write_str("the peers have no version, suite, group or way of keying in common"),
            Self::Broken => f.write_str("a record of the peer's does not verify"),
            Self::Long => f.write_str("the peer's handshake is too long"),
            Self::Flood => f.write_str("the peer sends faster than it is read"),
            Self::Slow => f.write_str("the peer does not read"),
            Self::Memory => f.write_str("no memory for the connection"),
        }
    }
}

impl core::error::Error for Ended {}
