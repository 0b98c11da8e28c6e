//! `x-pkd-sealed` (spec section 5): AES-256-GCM datagrams with an explicit header.
//!
//! ```text
//!  0        1        2         3      4 ......... 11  12 ........ 19  20 ...           last 16
//! +--------+--------+---------+------+---------------+---------------+----------------+-------+
//! | 0x50   | ver 1  | protocol| flags| kid, u64 BE   | seq, u64 BE   | ciphertext     | tag   |
//! +--------+--------+---------+------+---------------+---------------+----------------+-------+
//!  <------------------- aad -------------------------------------->    nonce = 0000 || seq
//! ```
//!
//! `kid` is the proxy's handle in both directions. Keys differ by direction, so a reflected message does not verify.

use crate::contract::{Dropped, End, Flow, Format, Handles, Mechanism, PROTOCOL_MAX, Peek, Said, SealError};
use crate::keys::{Keys, TrafficKey};
use core::ops::Range;
use portunus_keydist::mech::{Entry, Mech, Sel};
use portunus_keydist::schedule::{Secret, TrafficCtx};

/// Octets of the header.
pub const HEADER_LEN: usize = 20;
/// Octets of the tag.
pub const TAG_LEN: usize = 16;
/// The proxy's UDP port unless configured otherwise.
pub const PORT: u16 = 5065;
/// The protocol number of a message without content: the confirmation and its answer.
pub const NO_PROTOCOL: u8 = 0;
/// The last sequence number under one key. Far below what the 64-bit nonce would allow: with messages of up to 64 KiB
/// it keeps AES-GCM's distinguishing advantage under 2^-40, with usual signalling under 2^-50 (the bound is the square
/// of the 16-octet blocks enciphered, over 2^129).
pub const SEQ_MAX: u64 = u32::MAX as u64;

const MAGIC: u8 = 0x50;
const VERSION: u8 = 1;

const FORMAT: Format = Format {
    port: PORT,
    head: HEADER_LEN,
    tail: TAG_LEN,
    shortest: HEADER_LEN + TAG_LEN,
    seq_max: SEQ_MAX,
    handles: Handles::Wide,
    // The first one of the key id, behind version, protocol and flags.
    worker_octet: 4,
    keep_alive: None,
};

/// The header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// The protocol of the content: 1 SIP, 2 MGCP, 3 H.248, 4 RAS, 0 none.
    pub protocol: u8,
    /// The proxy's handle for the session.
    pub kid: u64,
    /// The sequence number, never 0.
    pub seq: u64,
}

impl Header {
    /// Reads the header of a whole datagram.
    ///
    /// # Errors
    /// [`Dropped`]: what is shorter than header and tag, and every unknown or forbidden value in it.
    #[inline]
    pub fn read(datagram: &[u8]) -> Result<Self, Dropped> {
        if datagram.len() < HEADER_LEN + TAG_LEN {
            return Err(Dropped::Short);
        }
        let Some((head, _)) = datagram.split_first_chunk::<HEADER_LEN>() else {
            return Err(Dropped::Short);
        };
        let [magic, version, protocol, flags, numbers @ ..] = head;
        if *magic != MAGIC {
            return Err(Dropped::Magic);
        }
        if *version != VERSION {
            return Err(Dropped::Version);
        }
        if *protocol > PROTOCOL_MAX {
            return Err(Dropped::Protocol);
        }
        if *flags != 0 {
            return Err(Dropped::Flags);
        }
        let numbers = u128::from_be_bytes(*numbers);
        let (kid, seq) = ((numbers >> 64) as u64, numbers as u64);
        // SEQ_MAX binds senders only: a receiver has nothing to lose by a higher number that verifies.
        if seq == 0 {
            return Err(Dropped::Sequence);
        }
        Ok(Self { protocol: *protocol, kid, seq })
    }

    /// The twenty octets.
    #[inline]
    pub fn octets(&self) -> [u8; HEADER_LEN] {
        let mut out = [0u8; HEADER_LEN];
        let (fixed, numbers) = out.split_at_mut(4);
        fixed.copy_from_slice(&[MAGIC, VERSION, self.protocol, 0]);
        numbers.copy_from_slice(&(u128::from(self.kid) << 64 | u128::from(self.seq)).to_be_bytes());
        out
    }
}

/// The mechanism's room.
#[derive(Debug, Clone, Copy)]
pub struct Sealed;

impl Mechanism for Sealed {
    fn mech(&self) -> Mech {
        Mech::Sealed
    }

    fn format(&self) -> &'static Format {
        &FORMAT
    }

    fn derive(&self, secret: &Secret, ctx: &TrafficCtx<'_>) -> Keys {
        Keys::unsalted(secret, ctx, ["sealed c2s", "sealed s2c"])
    }

    fn offered(&self, _: &Entry<'_>) -> Option<End> {
        Some(End::default())
    }

    fn answer(&self, proxy: End, port: u16) -> Sel {
        Sel::sealed(proxy.handle, port)
    }

    fn answered(&self, sel: &Sel) -> Option<(End, u16)> {
        Some((End { handle: sel.kid()?, port: 0 }, sel.port()?))
    }

    fn peek(&self, datagram: &[u8]) -> Result<Peek, Dropped> {
        Header::read(datagram).map(|h| Peek { handle: h.kid, seq: h.seq })
    }

    fn open_range(&self, key: &TrafficKey, flow: &Flow, datagram: &mut [u8]) -> Result<(Said, Range<usize>), Dropped> {
        let header = Header::read(datagram)?;
        if header.protocol != NO_PROTOCOL && header.protocol != flow.protocol {
            return Err(Dropped::Protocol);
        }
        let (head, body) = datagram.split_at_mut(HEADER_LEN);
        let len = key.open(header.seq.to_be_bytes(), head, body)?;
        let said = match header.protocol {
            NO_PROTOCOL if len != 0 => return Err(Dropped::Content),
            NO_PROTOCOL => Said::Confirmation,
            _ => Said::Message,
        };
        Ok((said, HEADER_LEN..HEADER_LEN + len))
    }

    fn sealed_len(&self, content: usize) -> usize {
        HEADER_LEN + content + TAG_LEN
    }

    fn seal_in_place(
        &self,
        key: &TrafficKey,
        flow: &Flow,
        seq: u64,
        len: usize,
        buffer: &mut [u8],
    ) -> Result<usize, SealError> {
        if seq == 0 || seq > SEQ_MAX {
            return Err(SealError::Sequence);
        }
        if !flow.carries(len) {
            return Err(SealError::Content);
        }
        let total = self.sealed_len(len);
        let whole = buffer.get_mut(..total).ok_or(SealError::Full)?;
        let protocol = if len == 0 { NO_PROTOCOL } else { flow.protocol };
        let header = Header { protocol, kid: flow.handle, seq }.octets();
        let (head, body) = whole.split_at_mut(HEADER_LEN);
        let (text, tail) = body.split_at_mut(len);
        head.copy_from_slice(&header);
        key.seal(seq.to_be_bytes(), &header, text, tail)?;
        Ok(total)
    }
}
