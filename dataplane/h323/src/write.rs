//! Writers of RAS messages: what terminals, gatekeepers and the proxy say of their own.
//!
//! All of them know the extension additions of H.225.0 (12/2009), and say so in their maps of them.

mod messages;

pub use messages::*;

use crate::view::{Element, Kind, Reason, Utf16};
use core::net::SocketAddr;
use portunus_codec::{Full, PerWriter, Writer};

/// 0.0.8.2250.0 without the version, as DER has it: protocolIdentifier of H.225.0.
pub(crate) const H225: [u8; 5] = [0, 8, 0x91, 0x4a, 0];
/// The version of H.225.0 that is written.
pub(crate) const VERSION: u8 = 7;

/// A name to be written in UTF-16.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Name<'a> {
    /// As text.
    Text(&'a str),
    /// As a message that was read has it, 1 to 128 units.
    Same(Utf16<'a>),
}

impl<'a> From<&'a str> for Name<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(text)
    }
}

/// A PKD1 token to be written.
#[derive(Debug, Clone, Copy)]
pub struct Tok<'a> {
    /// n of its OID.
    pub n: u8,
    /// timeStamp in seconds; 0 is none.
    pub time_stamp: u32,
    /// challenge, 8 to 128 octets.
    pub challenge: Option<&'a [u8]>,
    /// generalID: whom it is for.
    pub general_id: Name<'a>,
    /// sendersID: whom it is from.
    pub senders_id: &'a str,
    /// profileInfo, in this order.
    pub elements: &'a [(Element, &'a [u8])],
}

/// Additions that ClearToken has.
const TOKEN_ADDITIONS: u32 = 4;

/// An addition's place, and what writes it.
pub(crate) type Addition<'a> = (u8, &'a dyn Fn(&mut PerWriter<'_, '_>));

/// How many additions are known, 1 to 64, and which of them are there, the first in the lowest bit.
pub(crate) fn put_map(p: &mut PerWriter<'_, '_>, count: u32, present: u64) {
    let map = present.reverse_bits();
    if (1..=25).contains(&count) {
        // A normally small number, of seven bits, and the map together.
        p.bits((count - 1) << count | (map >> (64 - count)) as u32, 7 + count);
        return;
    }
    p.small(count.saturating_sub(1)).bits((map >> (64 - count.clamp(1, 32))) as u32, count.min(32));
    if count > 32 {
        p.bits((map >> (64 - count)) as u32, count - 32);
    }
}

/// The map of the additions, `count` of them known, and those that are there, in order.
pub(crate) fn put_additions(p: &mut PerWriter<'_, '_>, count: u32, all: &[Addition<'_>]) {
    put_map(p, count, all.iter().fold(0, |map, (at, _)| map | 1 << at));
    for (_, write) in all {
        let opened = p.open();
        write(p);
        p.end_open(opened);
    }
}

/// An open type that `write` writes; of so many octets, where that is known beforehand.
fn put_open(p: &mut PerWriter<'_, '_>, len: Option<usize>, write: impl FnOnce(&mut PerWriter<'_, '_>)) {
    match len {
        Some(len) => write(p.length(len)),
        None => {
            let opened = p.open();
            write(p);
            p.end_open(opened);
        }
    }
}

pub(crate) fn put_oid(p: &mut PerWriter<'_, '_>, parts: &[&[u8]]) {
    p.length(parts.iter().map(|part| part.len()).sum());
    for part in parts {
        p.octets(part);
    }
}

/// PKD1's identifier with this number at its end.
fn put_pkd1(p: &mut PerWriter<'_, '_>, n: u8) {
    let mut oid = [0; 2 + crate::OID_PKD1.len()];
    let [len, rest @ .., last] = &mut oid;
    (*len, *last) = (crate::OID_PKD1.len() as u8 + 1, n);
    rest.copy_from_slice(&crate::OID_PKD1);
    p.octets(&oid);
}

pub(crate) fn put_string(p: &mut PerWriter<'_, '_>, octets: &[u8]) {
    p.length(octets.len()).octets(octets);
}

/// Text as a BMPString of `low` to `high` units.
pub(crate) fn put_bmp(p: &mut PerWriter<'_, '_>, text: &str, low: u32, high: u32) {
    if !text.is_ascii() {
        p.constrained(text.encode_utf16().count() as u32, low, high);
        return text.encode_utf16().for_each(|unit| _ = p.octets(&unit.to_be_bytes()));
    }
    p.constrained(text.len() as u32, low, high);
    if text.is_empty() {
        return;
    }
    if let Some(room) = p.room(2 * text.len()) {
        widen(text.as_bytes(), room);
    }
}

/// ASCII as units of UTF-16, for which there is just room.
fn widen(octets: &[u8], room: &mut [u8]) {
    let (fours, rest) = octets.as_chunks::<4>();
    let (places, last) = room.as_chunks_mut::<8>();
    for (place, four) in places.iter_mut().zip(fours) {
        // Four at once: aabbccdd, 0000aabb0000ccdd, 00aa00bb00cc00dd.
        let narrow = u64::from(u32::from_be_bytes(*four));
        let pairs = (narrow | narrow << 16) & 0x0000_ffff_0000_ffff;
        *place = ((pairs | pairs << 8) & 0x00ff_00ff_00ff_00ff).to_be_bytes();
    }
    last.chunks_exact_mut(2).zip(rest).for_each(|(unit, octet)| unit.copy_from_slice(&[0, *octet]));
}

/// Elements shorter than this have a length of one octet.
const SHORT: usize = 0x80;

impl Tok<'_> {
    pub(crate) fn put(&self, p: &mut PerWriter<'_, '_>) {
        // Extended; of the optional components timeStamp, challenge and generalID.
        let (stamped, challenged) = (u32::from(self.time_stamp > 0), u32::from(self.challenge.is_some()));
        p.bits(0b1_0000_0010 | stamped << 7 | challenged << 4, 9);
        put_pkd1(p, self.n);
        if self.time_stamp > 0 {
            p.constrained(self.time_stamp, 1, u32::MAX);
        }
        if let Some(challenge) = self.challenge {
            p.constrained(challenge.len() as u32, 8, 128).octets(challenge);
        }
        match self.general_id {
            Name::Text(text) => put_bmp(p, text, 1, 128),
            Name::Same(units) => {
                p.constrained(units.octets().len() as u32 / 2, 1, 128).octets(units.octets());
            }
        }
        // sendersID and profileInfo of the additions, both of them open types.
        put_map(p, TOKEN_ADDITIONS, 0b1010);
        let put_sender = |p: &mut PerWriter<'_, '_>| put_bmp(p, self.senders_id, 1, 128);
        put_open(p, self.senders_id.is_ascii().then(|| 1 + 2 * self.senders_id.len()), put_sender);
        put_open(p, self.elements_len(), |p| self.put_elements(p));
    }

    /// Octets that [`Tok::put_elements`] writes, where all of them are short.
    fn elements_len(&self) -> Option<usize> {
        let longest = self.elements.iter().map(|(_, octets)| octets.len()).max().unwrap_or(0);
        let content = self.elements.iter().map(|(_, octets)| 4 + octets.len()).sum::<usize>();
        (longest < SHORT && self.elements.len() < SHORT).then_some(1 + content)
    }

    fn put_elements(&self, p: &mut PerWriter<'_, '_>) {
        p.length(self.elements.len());
        for (element, octets) in self.elements {
            if octets.len() < SHORT {
                // At an octet boundary, as all of them are: `octets` alone is there, of the alternative `octets`.
                p.octets(&[0b001 << 5, *element as u8, 0, octets.len() as u8]).octets(octets);
                continue;
            }
            p.bits(0b001, 3).constrained(*element as u32, 0, 255);
            // Element: the alternative `octets`.
            p.bool(false).constrained(0, 0, 4);
            put_string(p, octets);
        }
    }
}

/// A list of nothing but this token.
pub(crate) fn put_token_list(p: &mut PerWriter<'_, '_>, tok: &Tok<'_>) {
    p.length(1);
    tok.put(p);
}

/// cryptoTokens with the MAC's token and nothing else; its 32 octets are the last that this writes.
pub(crate) fn put_mac_list(p: &mut PerWriter<'_, '_>) {
    p.length(1);
    // nestedcryptoToken, cryptoHashedToken.
    p.bool(false).constrained(7, 0, 7).bool(false).constrained(2, 0, 3);
    put_pkd1(p, 5);
    // hashedVals: a ClearToken of its OID alone.
    p.bits(0, 9);
    put_pkd1(p, 5);
    put_oid(p, &[&crate::OID_HMAC_SHA256]);
    p.bits(0, 3).length(256).octets(crate::MAC_PLACEHOLDER);
}

/// An alias: dialled digits where it is of those, else an h323-ID.
pub(crate) fn put_alias(p: &mut PerWriter<'_, '_>, text: &str) {
    let digit = |c: u8| crate::view::DIGITS.iter().position(|d| *d == c);
    let all = (1..=128).contains(&text.len()) && text.bytes().all(|c| digit(c).is_some());
    p.bool(false).bool(!all);
    if !all {
        return put_bmp(p, text, 1, 256);
    }
    p.constrained(text.len() as u32, 1, 128).align();
    for four in text.bytes().filter_map(digit) {
        p.bits(four as u32, 4);
    }
}

pub(crate) fn put_aliases(p: &mut PerWriter<'_, '_>, aliases: &[&str]) {
    p.length(aliases.len());
    for alias in aliases {
        put_alias(p, alias);
    }
}

pub(crate) fn put_address(p: &mut PerWriter<'_, '_>, address: SocketAddr) {
    p.bool(false);
    match address {
        SocketAddr::V4(v4) => p.constrained(0, 0, 6).octets(&v4.ip().octets()),
        SocketAddr::V6(v6) => p.constrained(3, 0, 6).bool(false).octets(&v6.ip().octets()),
    };
    p.constrained(address.port().into(), 0, 65_535);
}

pub(crate) fn put_addresses(p: &mut PerWriter<'_, '_>, addresses: &[SocketAddr]) {
    p.length(addresses.len());
    for address in addresses {
        put_address(p, *address);
    }
}

/// The choice, for an alternative of the root.
pub(crate) fn put_kind(p: &mut PerWriter<'_, '_>, kind: Kind) {
    // Not extended, and five bits for which.
    p.bits(kind.root_index().unwrap_or(0), 6);
}

pub(crate) fn put_seq(p: &mut PerWriter<'_, '_>, seq: u16) {
    p.constrained(seq.into(), 1, 65_535);
}

pub(crate) fn put_protocol(p: &mut PerWriter<'_, '_>) {
    put_oid(p, &[&H225, &[VERSION]]);
}

fn put_reason(p: &mut PerWriter<'_, '_>, kind: Kind, reason: Reason) {
    match reason {
        Reason::Root(n) => {
            p.bool(false).constrained(n.into(), 0, kind.reasons().unwrap_or(1) - 1);
        }
        Reason::Added(n, detail) => {
            p.bool(true).small(n.into());
            let opened = p.open();
            if let (Some(name), Some((_, bits))) = (detail, kind.security_error()) {
                p.bool(false).bits(name.into(), bits);
            }
            p.end_open(opened);
        }
    }
}

impl Reason {
    /// securityDenial of a rejecting kind.
    pub const fn security_denial(kind: Kind) -> Self {
        match kind.security_denial() {
            Some(n) => Self::Added(n, None),
            None => Self::Root(0),
        }
    }

    /// A name of securityError: 0 securityWrongSyncTime, 1 securityReplay, 2 securityWrongGeneralID,
    /// 3 securityWrongSendersID, 4 securityIntegrityFailed, 5 securityWrongOID.
    pub const fn security_error(kind: Kind, name: u8) -> Self {
        match kind.security_error() {
            Some((n, _)) => Self::Added(n, Some(name)),
            None => Self::Root(0),
        }
    }

    /// undefinedReason, or what comes nearest.
    pub const fn undefined(kind: Kind) -> Self {
        Self::Root(match kind {
            Kind::RegistrationReject => 6,
            Kind::UnregistrationReject => 2,
            Kind::BandwidthReject => 5,
            Kind::DisengageReject => 0,
            _ => 3,
        })
    }

    /// resourceUnavailable, or what comes nearest.
    pub const fn resource_unavailable(kind: Kind) -> Self {
        match kind {
            Kind::GatekeeperReject => Self::Root(0),
            Kind::RegistrationReject => Self::Added(1, None),
            Kind::AdmissionReject => Self::Root(7),
            Kind::LocationReject => Self::Added(3, None),
            Kind::BandwidthReject => Self::Root(3),
            other => Self::undefined(other),
        }
    }

    /// neededFeatureNotSupported of a GatekeeperReject or RegistrationReject, else undefinedReason.
    pub const fn needed_feature(kind: Kind) -> Self {
        match kind {
            Kind::GatekeeperReject => Self::Added(2, None),
            Kind::RegistrationReject => Self::Added(8, None),
            other => Self::undefined(other),
        }
    }
}

/// A rejecting message, with a token where one is due. GatekeeperReject and RegistrationReject alone have room for it.
///
/// # Errors
/// [`Full`].
pub fn reject(kind: Kind, seq: u16, reason: Reason, tok: Option<&Tok<'_>>, w: &mut Writer<'_>) -> Result<(), Full> {
    let mut p = PerWriter::new(w);
    let with_protocol = matches!(kind, Kind::GatekeeperReject | Kind::RegistrationReject);
    let tok = tok.filter(|_| with_protocol);
    put_kind(&mut p, kind);
    let optional = if with_protocol { 2 } else { 1 };
    p.bits(u32::from(tok.is_some()) << optional, 1 + optional);
    put_seq(&mut p, seq);
    if with_protocol {
        put_protocol(&mut p);
    }
    put_reason(&mut p, kind, reason);
    if kind == Kind::BandwidthReject {
        p.constrained(0, 0, u32::MAX);
    }
    if let Some(tok) = tok {
        put_additions(&mut p, kind.additions().into(), &[(1, &|p| put_token_list(p, tok))]);
    }
    w.finish().map(|_| ())
}
