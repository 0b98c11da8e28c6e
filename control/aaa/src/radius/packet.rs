//! The packet as it stands in its buffer: checked once from end to end, then read without failing (RFC 2865 section 3).

/// Octets of the header: code, identifier, length, authenticator.
pub const HEADER_LEN: usize = 20;
/// Longest packet (RFC 2865 section 3).
pub const PACKET_MAX: usize = 4096;
/// Longest attribute value.
pub const VALUE_MAX: usize = 253;

/// Packet codes that this product sends or takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Code {
    /// RFC 2865.
    AccessRequest = 1,
    /// RFC 2865.
    AccessAccept = 2,
    /// RFC 2865.
    AccessReject = 3,
    /// RFC 2866.
    AccountingRequest = 4,
    /// RFC 2866.
    AccountingResponse = 5,
    /// RFC 2865.
    AccessChallenge = 11,
    /// RFC 5997.
    StatusServer = 12,
}

impl Code {
    /// The code of an octet; `None` for one that has no business here.
    pub const fn from_octet(octet: u8) -> Option<Self> {
        Some(match octet {
            1 => Self::AccessRequest,
            2 => Self::AccessAccept,
            3 => Self::AccessReject,
            4 => Self::AccountingRequest,
            5 => Self::AccountingResponse,
            11 => Self::AccessChallenge,
            12 => Self::StatusServer,
            _ => return None,
        })
    }
}

/// Why octets are not a packet; `at` is where. The peer's fault, always.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PacketError {
    /// What is wrong.
    pub kind: PacketErrorKind,
    /// Octet offset of the field concerned.
    pub at: usize,
}

/// Kinds of [`PacketError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PacketErrorKind {
    /// Fewer octets than the header, or than the length field promises.
    Truncated,
    /// The length field is below 20 or above 4096.
    Length,
    /// A code that this product does not know.
    Code,
    /// An attribute's length is below 2 or reaches beyond the packet.
    Attribute,
}

impl core::fmt::Display for PacketError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let what = match self.kind {
            PacketErrorKind::Truncated => "the packet is shorter than it says",
            PacketErrorKind::Length => "the length field is out of range",
            PacketErrorKind::Code => "unknown packet code",
            PacketErrorKind::Attribute => "an attribute's length does not fit",
        };
        write!(f, "{what} (octet {})", self.at)
    }
}

impl core::error::Error for PacketError {}

/// One attribute in place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attribute<'a> {
    /// Its type.
    pub kind: u8,
    /// Its value.
    pub value: &'a [u8],
    /// Offset of its type octet in the packet.
    pub at: usize,
}

/// A view of a well-formed packet: every attribute's length has been checked up to the packet's last octet.
#[derive(Debug, Clone, Copy)]
pub struct Packet<'a> {
    octets: &'a [u8],
    code: Code,
}

impl<'a> Packet<'a> {
    /// Checks a whole datagram. Octets beyond the length field are padding and not part of the view (RFC 2865
    /// section 3).
    ///
    /// # Errors
    /// [`PacketError`].
    pub fn parse(datagram: &'a [u8]) -> Result<Self, PacketError> {
        let fail = |kind, at| PacketError { kind, at };
        let (Some(&code), Some(len)) = (datagram.first(), length_field(datagram)) else {
            return Err(fail(PacketErrorKind::Truncated, datagram.len()));
        };
        if !(HEADER_LEN..=PACKET_MAX).contains(&len) {
            return Err(fail(PacketErrorKind::Length, 2));
        }
        let octets = datagram.get(..len).ok_or(fail(PacketErrorKind::Truncated, datagram.len()))?;
        let code = Code::from_octet(code).ok_or(fail(PacketErrorKind::Code, 0))?;
        let mut at = HEADER_LEN;
        while at < len {
            let size = octets.get(at + 1).map_or(0, |n| usize::from(*n));
            if size < 2 || at + size > len {
                return Err(fail(PacketErrorKind::Attribute, at));
            }
            at += size;
        }
        Ok(Self { octets, code })
    }

    /// What kind of packet.
    pub fn code(&self) -> Code {
        self.code
    }

    /// The identifier.
    pub fn id(&self) -> u8 {
        self.octets.get(1).copied().unwrap_or_default()
    }

    /// Request or Response Authenticator.
    pub fn authenticator(&self) -> [u8; 16] {
        self.octets.get(4..HEADER_LEN).and_then(|a| a.try_into().ok()).unwrap_or_default()
    }

    /// The octets from code to last attribute.
    pub fn octets(&self) -> &'a [u8] {
        self.octets
    }

    /// The attributes in order.
    pub fn attributes(&self) -> Attributes<'a> {
        Attributes { octets: self.octets, at: HEADER_LEN }
    }

    /// The value of the attribute of this type, when there is exactly one.
    pub fn only(&self, kind: u8) -> Only<'a> {
        let mut found = self.attributes().filter(|a| a.kind == kind);
        match (found.next(), found.next()) {
            (None, _) => Only::Absent,
            (Some(one), None) => Only::One(one.value),
            _ => Only::Several,
        }
    }
}

/// How often an attribute occurs that may occur once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Only<'a> {
    /// Not at all.
    Absent,
    /// Once, with this value.
    One(&'a [u8]),
    /// More than once.
    Several,
}

/// Iterates over a view's attributes.
#[derive(Debug, Clone)]
pub struct Attributes<'a> {
    octets: &'a [u8],
    at: usize,
}

impl<'a> Iterator for Attributes<'a> {
    type Item = Attribute<'a>;

    fn next(&mut self) -> Option<Attribute<'a>> {
        let at = self.at;
        let kind = *self.octets.get(at)?;
        let size = usize::from(*self.octets.get(at + 1)?);
        let value = self.octets.get(at + 2..at + size)?;
        self.at = at + size;
        Some(Attribute { kind, value, at })
    }
}

/// The length field of what may be the beginning of a packet; `None` while fewer than four octets are there.
pub(crate) fn length_field(octets: &[u8]) -> Option<usize> {
    let field: [u8; 2] = octets.get(2..4)?.try_into().ok()?;
    Some(usize::from(u16::from_be_bytes(field)))
}

/// Cuts packets out of a byte stream (RFC 6613 section 2.6, RFC 6614): how many octets the first packet in `stream`
/// takes, `None` while it is incomplete.
///
/// # Errors
/// [`PacketError`] when the length field is out of range: the connection must be closed, because the stream cannot be
/// followed any more.
pub fn frame(stream: &[u8]) -> Result<Option<usize>, PacketError> {
    match length_field(stream) {
        Some(len) if !(HEADER_LEN..=PACKET_MAX).contains(&len) => {
            Err(PacketError { kind: PacketErrorKind::Length, at: 2 })
        }
        Some(len) if stream.len() >= len => Ok(Some(len)),
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The Access-Request of RFC 2865 section 7.1.
    const RFC2865_7_1: [u8; 56] = [
        0x01, 0x00, 0x00, 0x38, 0x0f, 0x40, 0x3f, 0x94, 0x73, 0x97, 0x80, 0x57, 0xbd, 0x83, 0xd5, 0xcb, 0x98, 0xf4,
        0x22, 0x7a, 0x01, 0x06, 0x6e, 0x65, 0x6d, 0x6f, 0x02, 0x12, 0x0d, 0xbe, 0x70, 0x8d, 0x93, 0xd4, 0x13, 0xce,
        0x31, 0x96, 0xe4, 0x3f, 0x78, 0x2a, 0x0a, 0xee, 0x04, 0x06, 0xc0, 0xa8, 0x01, 0x10, 0x05, 0x06, 0x00, 0x00,
        0x00, 0x03,
    ];

    #[test]
    fn the_example_of_rfc_2865_reads() {
        let packet = Packet::parse(&RFC2865_7_1).unwrap();
        assert_eq!(packet.code(), Code::AccessRequest);
        assert_eq!(packet.only(super::super::attr::USER_NAME), Only::One(b"nemo"));
        assert_eq!(packet.attributes().map(|a| a.kind).collect::<Vec<_>>(), [1, 2, 4, 5]);
    }

    #[test]
    fn every_truncation_is_refused_and_padding_is_not_seen() {
        for n in 0..RFC2865_7_1.len() {
            let err = Packet::parse(&RFC2865_7_1[..n]).unwrap_err();
            assert_eq!(err.kind, PacketErrorKind::Truncated, "{n}");
            assert_eq!(frame(&RFC2865_7_1[..n]), Ok(None));
        }
        let mut padded = RFC2865_7_1.to_vec();
        padded.extend([0xff; 9]);
        assert_eq!(Packet::parse(&padded).unwrap().octets(), RFC2865_7_1);
    }

    #[test]
    fn a_length_field_or_attribute_cut_anywhere_is_refused() {
        for len in 0..=u16::MAX {
            let mut bad = RFC2865_7_1.to_vec();
            bad[2..4].copy_from_slice(&len.to_be_bytes());
            // 20, 26, 44, 50 and 56 are where an attribute ends.
            let whole = [20, 26, 44, 50, 56].contains(&len);
            assert_eq!(Packet::parse(&bad).is_ok(), whole, "{len}");
        }
        for size in 0..=255u8 {
            let mut bad = RFC2865_7_1.to_vec();
            bad[51] = size;
            assert_eq!(Packet::parse(&bad).is_ok(), size == 6, "{size}");
        }
    }

    proptest! {
        #[test]
        fn any_octets_end_in_a_view_that_covers_them(octets in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(packet) = Packet::parse(&octets) {
                let covered: usize = packet.attributes().map(|a| a.value.len() + 2).sum();
                prop_assert_eq!(covered + HEADER_LEN, packet.octets().len());
                prop_assert_eq!(frame(&octets), Ok(Some(packet.octets().len())));
            }
        }
    }
}
