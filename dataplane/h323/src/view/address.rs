//! Aliases, identifiers in UTF-16, and transport addresses.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use portunus_codec::PerReader;

/// Text in UTF-16, big endian, as BMPString carries it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Utf16<'m>(&'m [u8]);

impl<'m> Utf16<'m> {
    pub(crate) fn sized(r: &mut PerReader<'m>, low: u32, high: u32) -> Option<Self> {
        let n = r.constrained(low, high)?;
        r.octets(n as usize * 2).map(Self)
    }

    /// Its characters; `Err` for half of a surrogate pair.
    fn chars(self) -> impl Iterator<Item = Result<char, ()>> + use<'m> {
        let units = self.0.chunks_exact(2).map(|c| u16::from_be_bytes([c[0], c[1]]));
        char::decode_utf16(units).map(|c| c.map_err(|_| ()))
    }

    /// True when it is this text.
    pub fn is(self, text: &str) -> bool {
        let same = self.0.len() == 2 * text.len() && {
            // Of ASCII, which nearly all names are, without an early end: they are short.
            let differ = |(unit, octet): (&[u8], u8)| unit[0] | unit[1] ^ octet | octet & 0x80;
            self.0.chunks_exact(2).zip(text.bytes()).fold(0, |all, pair| all | differ(pair)) == 0
        };
        same || !text.is_ascii() && self.chars().eq(text.chars().map(Ok))
    }

    /// Puts it into `room` in UTF-8; `None` when it is no text or does not fit.
    pub fn put(self, room: &mut [u8]) -> Option<usize> {
        let len = self.0.len() / 2;
        let ascii = room.get_mut(..len).is_some_and(|room| narrowed(self.0, room));
        if ascii { Some(len) } else { put(self.chars(), room) }
    }

    /// Its octets.
    pub const fn octets(self) -> &'m [u8] {
        self.0
    }
}

/// Puts the lower octets of units into `room`, which is as long as there are units; false where one is none of ASCII.
fn narrowed(units: &[u8], room: &mut [u8]) -> bool {
    let (fours, rest) = units.as_chunks::<8>();
    let (places, last) = room.as_chunks_mut::<4>();
    let mut other = 0;
    for (place, four) in places.iter_mut().zip(fours) {
        // Four at once: 00aa00bb00cc00dd, 0000aabb0000ccdd, aabbccdd.
        let wide = u64::from_be_bytes(*four);
        other |= wide & 0xff80_ff80_ff80_ff80;
        let pairs = (wide | wide >> 8) & 0x0000_ffff_0000_ffff;
        *place = ((pairs | pairs >> 16) as u32).to_be_bytes();
    }
    for (place, unit) in last.iter_mut().zip(rest.chunks_exact(2)) {
        other |= u64::from(unit[0]) | u64::from(unit[1] & 0x80);
        *place = unit[1];
    }
    other == 0
}

fn put(chars: impl Iterator<Item = Result<char, ()>>, room: &mut [u8]) -> Option<usize> {
    let mut len = 0;
    for c in chars {
        let c = c.ok()?;
        c.encode_utf8(room.get_mut(len..len + c.len_utf8())?);
        len += c.len_utf8();
    }
    Some(len)
}

/// An AliasAddress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alias<'m> {
    /// dialledDigits: that many, from this bit of the octets on, four bits each.
    Digits(&'m [u8], usize),
    /// h323-ID.
    H323Id(Utf16<'m>),
    /// url-ID or email-ID.
    Url(&'m [u8]),
    /// Any other.
    Other,
}

/// What the four bits of a dialled digit mean (X.691 27.5.4: the characters of `FROM("0123456789#*,")` in order).
pub(crate) const DIGITS: &[u8; 13] = b"#*,0123456789";

impl<'m> Alias<'m> {
    fn read(r: &mut PerReader<'m>) -> Option<Self> {
        if r.bool()? {
            let which = r.small()?;
            let content = r.open()?;
            return Some(match which {
                0 | 2 => {
                    let mut inner = PerReader::new(content);
                    let n = inner.constrained(1, 512)?;
                    inner.octets(n as usize).map_or(Self::Other, Self::Url)
                }
                _ => Self::Other,
            });
        }
        if r.bool()? {
            return Utf16::sized(r, 1, 256).map(Self::H323Id);
        }
        let n = r.constrained(1, 128)? as usize;
        r.align();
        let digits = r.whole().get(r.bit() / 8..)?.get(..n.div_ceil(2))?;
        for _ in 0..n {
            r.bits(4)?;
        }
        Some(Self::Digits(digits, n))
    }

    fn digit(octets: &[u8], i: usize) -> Result<char, ()> {
        let pair = octets.get(i / 2).copied().unwrap_or(0xff);
        let four = if i.is_multiple_of(2) { pair >> 4 } else { pair & 15 };
        DIGITS.get(usize::from(four)).map(|d| char::from(*d)).ok_or(())
    }

    /// True when it is this text.
    pub fn is(&self, text: &str) -> bool {
        match *self {
            Self::Digits(octets, n) => (0..n).map(|i| Self::digit(octets, i)).eq(text.chars().map(Ok)),
            Self::H323Id(id) => id.is(text),
            Self::Url(url) => url == text.as_bytes(),
            Self::Other => false,
        }
    }

    /// Puts it into `room` in UTF-8; `None` when it is no text or does not fit.
    pub fn put(&self, room: &mut [u8]) -> Option<usize> {
        match *self {
            Self::Digits(octets, n) => put((0..n).map(|i| Self::digit(octets, i)), room),
            Self::H323Id(id) => id.put(room),
            Self::Url(url) => put(url.iter().map(|c| if c.is_ascii() { Ok(char::from(*c)) } else { Err(()) }), room),
            Self::Other => None,
        }
    }
}

/// The aliases of a list.
#[derive(Debug, Clone)]
pub struct Aliases<'m> {
    r: PerReader<'m>,
    left: usize,
}

impl<'m> Aliases<'m> {
    pub(super) fn new(r: Option<PerReader<'m>>) -> Self {
        let mut r = r.unwrap_or(PerReader::new(&[]));
        let left = r.length().unwrap_or(0);
        Self { r, left }
    }
}

impl<'m> Iterator for Aliases<'m> {
    type Item = Alias<'m>;

    fn next(&mut self) -> Option<Alias<'m>> {
        self.left = self.left.checked_sub(1)?;
        Alias::read(&mut self.r)
    }
}

/// A TransportAddress, where it is one of IP.
pub(super) fn read(mut r: PerReader<'_>) -> Option<SocketAddr> {
    if r.bool()? {
        return None;
    }
    match r.constrained(0, 6)? {
        0 => {
            let ip: [u8; 4] = r.octets(4)?.try_into().ok()?;
            let port = r.constrained(0, 65_535)?;
            Some(SocketAddr::new(IpAddr::V4(Ipv4Addr::from(ip)), port as u16))
        }
        3 => {
            r.bool()?;
            let ip: [u8; 16] = r.octets(16)?.try_into().ok()?;
            let port = r.constrained(0, 65_535)?;
            Some(SocketAddr::new(IpAddr::V6(Ipv6Addr::from(ip)), port as u16))
        }
        _ => None,
    }
}

/// The first of a list of them.
pub(super) fn first(mut r: PerReader<'_>) -> Option<SocketAddr> {
    r.length().filter(|n| *n > 0)?;
    read(r)
}
