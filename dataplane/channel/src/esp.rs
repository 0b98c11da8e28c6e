//! `ipsec-man` (spec section 5): ESP (RFC 4303) with AES-256-GCM-16 (RFC 4106) in transport mode, in UDP (RFC 3948),
//! 32-bit sequence numbers.
//!
//! ```text
//!  0      4      8          16      18      20     22       24
//! +------+------+----------+-------+-------+------+--------+---------+---------+-----+------+--------+
//! | SPI  | seq  | IV       | from  | to    | len  | sum 0  | content | 1 2 ..  | pad | next | ICV    |
//! +------+------+----------+-------+-------+------+--------+---------+---------+-----+------+--------+
//!  <-- aad --->  = seq      <------ UDP (RFC 768) -------------------> padding  length  17    16 octets
//!                           <------------------- enciphered ---------------------------->
//!  nonce = salt, four octets of the key || IV
//! ```
//!
//! Which protocol the content is stands nowhere: it follows from the session. The inner checksum is sent as 0 and not
//! looked at: the addresses that it covers are the NAT's to change, and the ICV proves more (RFC 3948 section 3.1.2).
//! Each end chooses the SPI and the inner port that it receives at.

use crate::contract::{Dropped, End, Flow, Format, Handles, Mechanism, Peek, Said, SealError};
use crate::keys::{Keys, TAG_LEN, TrafficKey};
use core::ops::Range;
use portunus_keydist::mech::{Entry, Mech, SPI_MIN, Sel};
use portunus_keydist::schedule::{Secret, TrafficCtx};

/// Octets of SPI and sequence number.
const HEADER_LEN: usize = 8;
/// Octets of the explicit IV (RFC 4106 section 3.1).
const IV_LEN: usize = 8;
/// Octets of the inner UDP header.
const UDP_LEN: usize = 8;
/// Where the enciphered part begins.
const BODY: usize = HEADER_LEN + IV_LEN;
/// Octets of pad length and next header.
const TRAILER_LEN: usize = 2;
/// What the enciphered part is a multiple of (RFC 4303 section 2.4, RFC 4106 section 6).
const WORD: usize = 4;

/// IPPROTO_UDP.
const UDP: u8 = 17;
/// "No next header": a dummy (RFC 4303 section 2.6).
const DUMMY: u8 = 59;
/// A NAT's keep-alive (RFC 3948 section 2.3).
const KEEP_ALIVE: [u8; 1] = [0xff];

const FORMAT: Format = Format {
    port: 4500,
    head: BODY + UDP_LEN,
    tail: WORD - 1 + TRAILER_LEN + TAG_LEN,
    shortest: BODY + WORD + TAG_LEN,
    // All of them, and no more: the counter may not cycle (RFC 4303 section 3.3.3).
    seq_max: u32::MAX as u64,
    handles: Handles::Narrow,
    // The last one of the SPI.
    worker_octet: 3,
    keep_alive: Some(&KEEP_ALIVE),
};

/// The mechanism's room.
#[derive(Debug, Clone, Copy)]
pub struct Esp;

fn word(octets: &[u8; 4]) -> u32 {
    u32::from_be_bytes(*octets)
}

/// Octets of the enciphered part for so many of content.
const fn padded(content: usize) -> usize {
    (UDP_LEN + content + TRAILER_LEN).next_multiple_of(WORD)
}

/// Reads SPI and sequence number.
fn read(datagram: &[u8]) -> Result<Peek, Dropped> {
    if datagram == KEEP_ALIVE {
        return Err(Dropped::KeepAlive);
    }
    let Some((spi, rest)) = datagram.split_first_chunk() else { return Err(Dropped::Short) };
    let spi = word(spi);
    if spi == 0 {
        return Err(Dropped::Marker);
    }
    if datagram.len() < FORMAT.shortest {
        return Err(Dropped::Short);
    }
    if spi < SPI_MIN {
        return Err(Dropped::Handle);
    }
    if !(datagram.len() - BODY - TAG_LEN).is_multiple_of(WORD) {
        return Err(Dropped::Length);
    }
    let seq = rest.first_chunk().map_or(0, word);
    if seq == 0 {
        return Err(Dropped::Sequence);
    }
    Ok(Peek { handle: spi.into(), seq: seq.into() })
}

/// What stands before trailer and padding, and the next header.
fn strip(plain: &[u8]) -> Result<(&[u8], u8), Dropped> {
    let (rest, [pad, next]) = plain.split_last_chunk().ok_or(Dropped::Padding)?;
    if *next == DUMMY {
        // The rest of a dummy may be anything.
        return Ok((&[], DUMMY));
    }
    let at = rest.len().checked_sub(usize::from(*pad)).ok_or(Dropped::Padding)?;
    let (payload, padding) = rest.split_at(at);
    if padding.iter().zip(1..=u8::MAX).any(|(is, must)| *is != must) {
        return Err(Dropped::Padding);
    }
    Ok((payload, *next))
}

/// The octets of content in an inner datagram of these ports. What follows the datagram is padding against those who
/// look at lengths (RFC 4303 section 2.7).
fn inner(payload: &[u8], ports: (u16, u16)) -> Result<usize, Dropped> {
    let (&[f0, f1, t0, t1, l0, l1, _, _], rest) = payload.split_first_chunk::<UDP_LEN>().ok_or(Dropped::Content)?;
    let number = |high, low| u16::from_be_bytes([high, low]);
    if (number(f0, f1), number(t0, t1)) != ports {
        return Err(Dropped::Ports);
    }
    let content = usize::from(number(l0, l1)).checked_sub(UDP_LEN).ok_or(Dropped::Content)?;
    if content > rest.len() { Err(Dropped::Content) } else { Ok(content) }
}

impl Mechanism for Esp {
    fn mech(&self) -> Mech {
        Mech::Esp
    }

    fn format(&self) -> &'static Format {
        &FORMAT
    }

    fn derive(&self, secret: &Secret, ctx: &TrafficCtx<'_>) -> Keys {
        Keys::salted(secret, ctx, ["esp c2s", "esp s2c"])
    }

    fn offered(&self, entry: &Entry<'_>) -> Option<End> {
        Some(End { handle: entry.spi_c()?.into(), port: entry.port_c()? })
    }

    fn answer(&self, proxy: End, port: u16) -> Sel {
        // A handle that is no SPI makes an answer that no terminal takes.
        Sel::esp(u32::try_from(proxy.handle).unwrap_or_default(), proxy.port, port)
    }

    fn answered(&self, sel: &Sel) -> Option<(End, u16)> {
        let port = if sel.param("port").is_none() { FORMAT.port } else { sel.port()? };
        Some((End { handle: sel.spi_s()?.into(), port: sel.port_s()? }, port))
    }

    fn peek(&self, datagram: &[u8]) -> Result<Peek, Dropped> {
        read(datagram)
    }

    fn open_range(&self, key: &TrafficKey, flow: &Flow, datagram: &mut [u8]) -> Result<(Said, Range<usize>), Dropped> {
        read(datagram)?;
        let (head, body) = datagram.split_at_mut(BODY);
        let (aad, iv) = head.split_at(HEADER_LEN);
        // Any IV that verifies is the sender's own business: only he can spend his nonces twice.
        let iv = iv.try_into().map_err(|_| Dropped::Short)?;
        let len = key.open(iv, aad, body)?;
        let (payload, next) = strip(body.get(..len).unwrap_or_default())?;
        match next {
            UDP => {
                let content = inner(payload, flow.ports)?;
                let said = if content == 0 { Said::Confirmation } else { Said::Message };
                Ok((said, FORMAT.head..FORMAT.head + content))
            }
            DUMMY => Ok((Said::Nothing, 0..0)),
            _ => Err(Dropped::NextHeader),
        }
    }

    fn sealed_len(&self, content: usize) -> usize {
        BODY + padded(content) + TAG_LEN
    }

    fn seal_in_place(
        &self,
        key: &TrafficKey,
        flow: &Flow,
        seq: u64,
        len: usize,
        buffer: &mut [u8],
    ) -> Result<usize, SealError> {
        let number = u32::try_from(seq).map_err(|_| SealError::Sequence)?;
        if number == 0 {
            return Err(SealError::Sequence);
        }
        let spi = u32::try_from(flow.handle).ok().filter(|spi| *spi >= SPI_MIN).ok_or(SealError::Handle)?;
        if !flow.carries(len) {
            return Err(SealError::Content);
        }
        let datagram = u16::try_from(UDP_LEN + len).map_err(|_| SealError::Full)?;
        let total = self.sealed_len(len);
        let whole = buffer.get_mut(..total).ok_or(SealError::Full)?;
        let (head, rest) = whole.split_at_mut(BODY);
        let (text, tag) = rest.split_at_mut(padded(len));
        let (aad, iv) = head.split_at_mut(HEADER_LEN);
        aad.copy_from_slice(&(u64::from(spi) << 32 | u64::from(number)).to_be_bytes());
        iv.copy_from_slice(&seq.to_be_bytes());
        let ports = u32::from(flow.ports.0) << 16 | u32::from(flow.ports.1);
        let (udp, behind) = text.split_at_mut(UDP_LEN);
        udp.copy_from_slice(&(u64::from(ports) << 32 | u64::from(datagram) << 16).to_be_bytes());
        let (_, trailer) = behind.split_at_mut(len);
        let pad = trailer.len() - TRAILER_LEN;
        for (place, value) in trailer.iter_mut().zip((1..=pad as u8).chain([pad as u8, UDP])) {
            *place = value;
        }
        key.seal(seq.to_be_bytes(), aad, text, tag)?;
        Ok(total)
    }
}
