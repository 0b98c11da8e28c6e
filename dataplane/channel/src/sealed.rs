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

use crate::contract::{Dropped, Keys as KeysOf, Mechanism, OpenJob, Opened, Peek, SealError, SealJob};
use core::hint::black_box;
use core::ops::Range;
use portunus_keydist::mech::Mech;
use portunus_keydist::schedule::{Secret, TrafficCtx};
use ring::aead;
use zeroize::{Zeroize, ZeroizeOnDrop};

pub use portunus_codec::Writer;

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
pub const SEQ_MAX: u64 = 1 << 32;

const MAGIC: u8 = 0x50;
const VERSION: u8 = 1;
const PROTOCOL_MAX: u8 = 4;

/// The key of one direction: 32 octets, raw. The schedule of `ring` is 544 octets, so it is made anew for every
/// message; a million sessions are worth more than the 130 ns.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct TrafficKey([u8; 32]);

impl TrafficKey {
    /// Takes the 32 octets over.
    pub fn new(octets: [u8; 32]) -> Self {
        Self(octets)
    }

    fn ready(&self) -> Option<aead::LessSafeKey> {
        aead::UnboundKey::new(&aead::AES_256_GCM, &self.0).ok().map(aead::LessSafeKey::new)
    }
}

impl core::fmt::Debug for TrafficKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("TrafficKey(..)")
    }
}

/// A session's keys: 64 octets.
pub type Keys = KeysOf<TrafficKey>;

impl Keys {
    /// The keys of labels `sealed c2s` and `sealed s2c`.
    pub fn derive(secret: &Secret, ctx: &TrafficCtx<'_>) -> Self {
        let key = |label| {
            let mut octets = [0u8; 32];
            secret.traffic(label, ctx, &mut octets);
            let key = TrafficKey(octets);
            octets.zeroize();
            key
        };
        Self { c2s: key("sealed c2s"), s2c: key("sealed s2c") }
    }
}

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

fn nonce(seq: u64) -> aead::Nonce {
    let mut octets = [0u8; 12];
    let (_, low) = octets.split_at_mut(4);
    low.copy_from_slice(&seq.to_be_bytes());
    aead::Nonce::assume_unique_for_key(octets)
}

/// Opens in place; returns the header and the content's range in `datagram`.
fn open_range(key: &TrafficKey, datagram: &mut [u8]) -> Result<(Peek, Range<usize>), Dropped> {
    let header = Header::read(datagram)?;
    let ready = key.ready().ok_or(Dropped::Unverified)?;
    let (head, body) = datagram.split_at_mut(HEADER_LEN);
    let plain =
        ready.open_in_place(nonce(header.seq), aead::Aad::from(&*head), body).map_err(|_| Dropped::Unverified)?;
    let len = plain.len();
    if header.protocol == NO_PROTOCOL && len != 0 {
        return Err(Dropped::Content);
    }
    let peek = Peek { handle: header.kid, seq: header.seq, protocol: header.protocol };
    Ok((peek, HEADER_LEN..HEADER_LEN + len))
}

/// The mechanism's room.
#[derive(Debug, Clone, Copy)]
pub struct Sealed;

impl Mechanism for Sealed {
    const MECH: Mech = Mech::Sealed;
    type Key = TrafficKey;
    const HEAD: usize = HEADER_LEN;
    const TAIL: usize = TAG_LEN;
    const SEQ_MAX: u64 = SEQ_MAX;

    fn derive(secret: &Secret, ctx: &TrafficCtx<'_>) -> Keys {
        Keys::derive(secret, ctx)
    }

    fn peek(datagram: &[u8]) -> Result<Peek, Dropped> {
        Header::read(datagram).map(|h| Peek { handle: h.kid, seq: h.seq, protocol: h.protocol })
    }

    fn open<'d>(key: &TrafficKey, datagram: &'d mut [u8]) -> Result<Opened<'d>, Dropped> {
        let (peek, range) = open_range(key, datagram)?;
        let content = datagram.get_mut(range).ok_or(Dropped::Short)?;
        Ok(Opened { peek, content })
    }

    fn seal_in_place(
        key: &TrafficKey,
        handle: u64,
        protocol: u8,
        seq: u64,
        datagram: &mut [u8],
    ) -> Result<(), SealError> {
        if seq == 0 || seq > SEQ_MAX {
            return Err(SealError::Sequence);
        }
        let content = datagram.len().checked_sub(HEADER_LEN + TAG_LEN).ok_or(SealError::Full)?;
        if protocol > PROTOCOL_MAX || (protocol == NO_PROTOCOL && content != 0) {
            return Err(SealError::Content);
        }
        let header = Header { protocol, kid: handle, seq }.octets();
        let (head, body) = datagram.split_at_mut(HEADER_LEN);
        let (text, tail) = body.split_at_mut(content);
        head.copy_from_slice(&header);
        let ready = key.ready().ok_or(SealError::Full)?;
        let tag =
            ready.seal_in_place_separate_tag(nonce(seq), aead::Aad::from(header), text).map_err(|_| SealError::Full)?;
        tail.copy_from_slice(tag.as_ref());
        Ok(())
    }

    fn open_batch(jobs: &mut [OpenJob<'_, TrafficKey>]) {
        let touched = jobs.iter().fold(0, |sum, j| sum ^ first(&j.key.0) ^ first(j.datagram));
        black_box(touched);
        for job in jobs {
            job.result = open_range(job.key, job.datagram);
        }
    }

    fn seal_batch(jobs: &mut [SealJob<'_, TrafficKey>]) {
        let touched = jobs.iter().fold(0, |sum, j| sum ^ first(&j.key.0) ^ first(j.datagram));
        black_box(touched);
        for job in jobs {
            job.result = Self::seal_in_place(job.key, job.handle, job.protocol, job.seq, job.datagram);
        }
    }
}

fn first(octets: &[u8]) -> u8 {
    octets.first().copied().unwrap_or_default()
}

/// Appends one protected message to `w`; as [`Mechanism::seal`].
///
/// # Errors
/// [`SealError`]; `w` is as before.
pub fn seal(
    key: &TrafficKey,
    kid: u64,
    protocol: u8,
    seq: u64,
    content: &[u8],
    w: &mut Writer<'_>,
) -> Result<(), SealError> {
    Sealed::seal(key, kid, protocol, seq, content, w)
}

/// Opens one datagram in place; as [`Mechanism::open`].
///
/// # Errors
/// [`Dropped`] with the reason.
pub fn open<'d>(key: &TrafficKey, datagram: &'d mut [u8]) -> Result<Opened<'d>, Dropped> {
    Sealed::open(key, datagram)
}
