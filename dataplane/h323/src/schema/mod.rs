//! H.225.0 RAS and the tokens of H.235 as tables, and the one function that goes through octets by them.
//!
//! The tables are data: what ASN.1 says, in its order and with its names. Root components are there in full, for what
//! follows them is found only behind them; of the extension additions, which bear their length, those that are read.
//! Nothing in them refers to itself, so depth is bounded by the tables, and every element of a list takes at least one
//! bit, so work is bounded by the octets.

pub(crate) mod common;
pub(crate) mod ras;
pub(crate) mod tokens;

use self::tokens::{CLEAR_TOKEN, PROFILE_ELEMENT};
use crate::view::number;
use portunus_codec::{Echo, PerReader};

/// What is looked for in messages and tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
#[expect(clippy::enum_variant_names, reason = "the names are the Recommendation's")]
pub(crate) enum Id {
    Other,
    Seq,
    ProtocolId,
    RasAddress,
    CallSignal,
    EndpointType,
    Alias,
    GatekeeperId,
    EndpointId,
    Reason,
    Tokens,
    CryptoTokens,
    TimeToLive,
    KeepAlive,
    Destination,
    DestinationAddress,
    AnswerCall,
    ConferenceId,
    CallReference,
    CallId,
    CallModel,
    BandWidth,
    ReplyAddress,
    Delay,
    NeedResponse,
    DiscoveryComplete,
    TokenOid,
    TimeStamp,
    Challenge,
    GeneralId,
    SendersId,
    ProfileInfo,
}

/// How many there are.
const IDS: usize = Id::ProfileInfo as usize + 1;
/// Words that say where all of them stand.
pub(crate) const WORDS: usize = IDS + 3;

/// A type of the Recommendations.
pub(crate) enum Type {
    Null,
    Bool,
    /// From and to.
    Int(u32, u32),
    /// Without bounds.
    BigInt,
    /// Octets, from and to how many.
    Octets(u16, u16),
    OctetString,
    /// Bits, from and to how many.
    Bits(u16, u16),
    BitString,
    Oid,
    /// UTF-16, from and to how many units.
    Bmp(u16, u16),
    FreeBmp,
    /// `0123456789#*,` in four bits each, from and to how many.
    Digits(u16, u16),
    /// ASCII, an octet each.
    Ascii,
    /// Whether it is extensible, its root, and what is known of its additions.
    Sequence(bool, &'static [Field], &'static [More]),
    /// Whether it is extensible, and the alternatives of its root.
    Choice(bool, &'static [&'static Type]),
    /// An extensible choice between so many names in its root.
    Nulls(u8),
    List(&'static Type),
    Open,
}

/// A root component.
pub(crate) struct Field {
    id: Id,
    name: &'static str,
    optional: bool,
    ty: &'static Type,
}

/// An extension addition, by its place among them.
pub(crate) struct More {
    index: u8,
    field: Field,
}

const fn need(id: Id, name: &'static str, ty: &'static Type) -> Field {
    Field { id, name, optional: false, ty }
}

const fn opt(id: Id, name: &'static str, ty: &'static Type) -> Field {
    Field { id, name, optional: true, ty }
}

const fn more(index: u8, id: Id, name: &'static str, ty: &'static Type) -> More {
    More { index, field: need(id, name, ty) }
}

static NULL: Type = Type::Null;
static BOOL: Type = Type::Bool;
static BIG: Type = Type::BigInt;
static OCTETS: Type = Type::OctetString;
static BITS: Type = Type::BitString;
static OID: Type = Type::Oid;
static FREE_BMP: Type = Type::FreeBmp;
static IA5: Type = Type::Ascii;
static OPEN: Type = Type::Open;

/// Where things stand: bit offsets. Of a message's tokens, the components of the first that is PKD1's.
#[derive(Clone, Copy)]
pub(crate) struct Places {
    at: [u32; IDS],
    /// Where the sequence's extension bit is.
    pub(crate) extension_bit: u32,
    /// The bit behind its root.
    pub(crate) root_end: u32,
    /// Tokens that are not PKD1's.
    pub(crate) foreign: u32,
    /// Where the identifier of a second token of PKD1's is.
    pub(crate) second: Option<u32>,
    /// The additions were gone through before: it is enough to note where they are. A lone token is PKD1's then.
    checked: bool,
}

/// The components of a token.
const OF_TOKEN: core::ops::RangeFrom<usize> = Id::TokenOid as usize..;

impl Places {
    pub(crate) const fn new() -> Self {
        Self { at: [u32::MAX; IDS], extension_bit: 0, root_end: 0, foreign: 0, second: None, checked: false }
    }

    /// For a message with a token of PKD1's that was checked before.
    pub(crate) const fn checked() -> Self {
        Self { checked: true, ..Self::new() }
    }

    /// The bit where something stands, when it is there.
    pub(crate) fn get(&self, id: Id) -> Option<usize> {
        self.at.get(id as usize).filter(|at| **at != u32::MAX).map(|at| *at as usize)
    }

    /// All of it as words; `None` where an offset is more than a word can say. A second token cannot be said.
    pub(crate) fn words(&self) -> Option<[u16; WORDS]> {
        let mut words = [u16::MAX; WORDS];
        let rest = [&self.extension_bit, &self.root_end, &self.foreign];
        for (word, at) in words.iter_mut().zip(self.at.iter().chain(rest)) {
            match u16::try_from(*at) {
                _ if *at == u32::MAX => {}
                Ok(at) if at != u16::MAX => *word = at,
                _ => return None,
            }
        }
        Some(words)
    }

    /// What [`Places::words`] gave.
    pub(crate) fn of_words(words: &[u16; WORDS]) -> Self {
        let mut places = Self::new();
        let rest = [&mut places.extension_bit, &mut places.root_end, &mut places.foreign];
        for (at, word) in places.at.iter_mut().chain(rest).zip(words) {
            *at = if *word == u16::MAX { u32::MAX } else { (*word).into() };
        }
        places
    }

    fn set(&mut self, id: Id, bit: usize) {
        if let Some(at) = self.at.get_mut(id as usize) {
            *at = bit as u32;
        }
    }

    /// Takes note of one of the message's tokens, which has these places.
    fn token(&mut self, octets: &[u8], token: &Self) {
        let at = token.get(Id::TokenOid).unwrap_or(0);
        let mut oid = PerReader::at(octets, at);
        if oid.length().and_then(|n| oid.octets(n)).and_then(number).is_none() {
            self.foreign += 1;
        } else if self.get(Id::TokenOid).is_some() {
            self.second.get_or_insert(at as u32);
        } else if let (Some(places), Some(from)) = (self.at.get_mut(OF_TOKEN), token.at.get(OF_TOKEN)) {
            places.copy_from_slice(from);
        }
    }
}

/// What is wrong, and at which bit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bad {
    pub(crate) what: &'static str,
    pub(crate) bit: usize,
}

/// Goes through one value of a type, checking everything on the way.
pub(crate) fn walk<E: Echo>(ty: &'static Type, r: &mut PerReader<'_, E>) -> Result<(), Bad> {
    match ty {
        Type::Sequence(extensible, root, known) => sequence(*extensible, root, known, r, None),
        Type::Choice(extensible, root) => choice(*extensible, root, r),
        Type::List(of) => list(of, r),
        plain => plain_value(plain, r).ok_or(Bad { what: "value", bit: r.bit() }),
    }
}

/// As [`walk`] for a sequence, noting where its components stand.
pub(crate) fn walk_noting<E: Echo>(ty: &'static Type, r: &mut PerReader<'_, E>, into: &mut Places) -> Result<(), Bad> {
    match ty {
        Type::Sequence(extensible, root, known) => sequence(*extensible, root, known, r, Some(into)),
        other => walk(other, r),
    }
}

fn sequence<E: Echo>(
    extensible: bool,
    root: &'static [Field],
    known: &'static [More],
    r: &mut PerReader<'_, E>,
    mut into: Option<&mut Places>,
) -> Result<(), Bad> {
    let ended = |r: &PerReader<'_, E>| Bad { what: "preamble", bit: r.bit() };
    let extension_bit = r.bit() as u32;
    let extended = extensible && r.bool().ok_or_else(|| ended(r))?;
    let optional = root.iter().filter(|f| f.optional).count() as u32;
    let mut present = match optional {
        0 => 0,
        n => r.bits(n).ok_or_else(|| ended(r))? << (32 - n),
    };
    for field in root {
        if field.optional {
            let here = present >> 31 == 1;
            present <<= 1;
            if !here {
                continue;
            }
        }
        noted(field, r, &mut into)?;
    }
    if let Some(into) = &mut into {
        (into.extension_bit, into.root_end) = (extension_bit, r.bit() as u32);
    }
    if extended { additions(known, r, into) } else { Ok(()) }
}

/// A component whose place, and what is in it if it is the tokens, is to be noted.
fn noted<E: Echo>(field: &'static Field, r: &mut PerReader<'_, E>, into: &mut Option<&mut Places>) -> Result<(), Bad> {
    let Some(into) = into else { return component(field, r) };
    into.set(field.id, r.bit());
    if field.id != Id::Tokens {
        return component(field, r);
    }
    for _ in 0..count(r).map_err(|bad| Bad { what: field.name, ..bad })? {
        let mut token = Places::new();
        walk_noting(&CLEAR_TOKEN, r, &mut token)?;
        into.token(r.whole(), &token);
    }
    Ok(())
}

fn component<E: Echo>(field: &'static Field, r: &mut PerReader<'_, E>) -> Result<(), Bad> {
    walk(field.ty, r).map_err(|bad| if bad.what == "value" { Bad { what: field.name, ..bad } } else { bad })
}

/// The extension additions of a sequence: how many its sender knows, which of them are there, and each in its octets.
fn additions<E: Echo>(
    known: &'static [More],
    r: &mut PerReader<'_, E>,
    mut into: Option<&mut Places>,
) -> Result<(), Bad> {
    let bad = |r: &PerReader<'_, E>| Bad { what: "extension additions", bit: r.bit() };
    // Somebody who says that there are some names one at least.
    let (_, mut present) = map_of_additions(r).filter(|(_, present)| *present != 0).ok_or_else(|| bad(r))?;
    while present != 0 {
        let i = present.trailing_zeros();
        present &= present - 1;
        let content = r.open().ok_or_else(|| bad(r))?;
        let Some(more) = known.iter().find(|m| u32::from(m.index) == i) else { continue };
        let end = r.bit() / 8;
        let mut inner = PerReader::at(r.whole().get(..end).unwrap_or_default(), (end - content.len()) * 8);
        if let Some(into) = into.as_mut().filter(|into| into.checked)
            && (more.field.id != Id::Tokens || count(&mut inner.clone()).is_ok_and(|n| n == 1))
        {
            into.set(more.field.id, inner.bit());
            continue;
        }
        noted(&more.field, &mut inner, &mut into)?;
        // A value fills its octets, all of them.
        if inner.left() >= 8 {
            return Err(Bad { what: more.field.name, bit: inner.bit() });
        }
    }
    Ok(())
}

/// How many additions a sequence's sender knows, and which of them are there, the first in the lowest bit.
pub(crate) fn map_of_additions<E: Echo>(r: &mut PerReader<'_, E>) -> Option<(u32, u64)> {
    let count = r.small()? + 1;
    let (upper, lower) = (count.min(32), count.saturating_sub(32));
    let map = u64::from(r.bits(upper)?) << lower | u64::from(r.bits(lower)?);
    Some((count, (map << (64 - count)).reverse_bits()))
}

/// Passes the additions of a sequence of which none is known.
pub(crate) fn skip_additions<E: Echo>(r: &mut PerReader<'_, E>) -> Option<()> {
    additions(&[], r, None).ok()
}

fn choice<E: Echo>(extensible: bool, root: &'static [&'static Type], r: &mut PerReader<'_, E>) -> Result<(), Bad> {
    let bad = |r: &PerReader<'_, E>| Bad { what: "value", bit: r.bit() };
    if extensible && r.bool().ok_or_else(|| bad(r))? {
        return r.small().and_then(|_| r.open()).map(|_| ()).ok_or_else(|| bad(r));
    }
    let index = r.constrained(0, (root.len() as u32).saturating_sub(1)).ok_or_else(|| bad(r))?;
    match root.get(index as usize) {
        Some(ty) => walk(ty, r),
        None => Err(bad(r)),
    }
}

/// The elements of a list, each of at least one bit.
fn count<E: Echo>(r: &mut PerReader<'_, E>) -> Result<usize, Bad> {
    r.length().filter(|n| *n <= r.left()).ok_or(Bad { what: "value", bit: r.bit() })
}

/// Passes a profile element of the form that all of PKD1's have: no parameters, octets, and less than 128 of them. False, and
/// nothing is passed, where it has another.
fn plain_element<E: Echo>(r: &mut PerReader<'_, E>) -> bool {
    let at = r.whole().get(r.bit() / 8..).and_then(|rest| rest.first_chunk());
    let Some(&[flags, _, choice, len]) = at.filter(|_| r.bit().is_multiple_of(8)) else { return false };
    let plain = flags >> 5 == 0b001 && choice >> 4 == 0 && r.left() / 8 >= 4 + usize::from(len);
    plain && len < 0x80 && {
        // Bit by bit as they stand: what they are is known, and nothing is missing.
        r.bits(3).and_then(|_| r.constrained(0, 255)).and_then(|_| r.bits(4));
        r.length().and_then(|n| r.octets(n)).is_some()
    }
}

fn list<E: Echo>(of: &'static Type, r: &mut PerReader<'_, E>) -> Result<(), Bad> {
    let elements = core::ptr::eq(of, &PROFILE_ELEMENT);
    (0..count(r)?).try_for_each(|_| match elements && plain_element(r) {
        true => Ok(()),
        false => walk(of, r),
    })
}

/// Everything that holds no other types.
fn plain_value<E: Echo>(ty: &'static Type, r: &mut PerReader<'_, E>) -> Option<()> {
    match *ty {
        Type::Null => Some(()),
        Type::Bool => r.bool().map(|_| ()),
        Type::Int(low, high) => r.constrained(low, high).map(|_| ()),
        Type::BigInt => r.length().filter(|n| *n > 0).and_then(|n| r.octets(n)).map(|_| ()),
        Type::Octets(low, high) => sized_octets(low, high, r).map(|_| ()),
        Type::OctetString => r.length().and_then(|n| r.octets(n)).map(|_| ()),
        Type::Bits(low, high) => {
            let n = r.constrained(low.into(), high.into())?;
            bit_string(n as usize, r)
        }
        Type::BitString => {
            let n = r.length()?;
            bit_string(n, r)
        }
        Type::Oid => r.length().and_then(|n| r.octets(n)).filter(|oid| is_oid(oid)).map(|_| ()),
        Type::Bmp(low, high) => {
            let n = r.constrained(low.into(), high.into())?;
            r.octets(n as usize * 2).map(|_| ())
        }
        Type::FreeBmp => r.length().and_then(|n| r.octets(n * 2)).map(|_| ()),
        Type::Digits(low, high) => {
            let n = r.constrained(low.into(), high.into())?;
            r.align();
            (0..n).try_for_each(|_| r.bits(4).filter(|d| *d < 13).map(|_| ()))
        }
        Type::Ascii => r.length().and_then(|n| r.octets(n)).filter(|s| s.is_ascii()).map(|_| ()),
        Type::Nulls(n) => {
            if r.bool()? {
                r.small().and_then(|_| r.open()).map(|_| ())
            } else {
                r.constrained(0, u32::from(n) - 1).map(|_| ())
            }
        }
        Type::Open => r.open().map(|_| ()),
        Type::Sequence(..) | Type::Choice(..) | Type::List(..) => None,
    }
}

/// Octets of a size between bounds; two of a fixed size stand between bits as they are (X.691 16.6).
fn sized_octets<'m, E: Echo>(low: u16, high: u16, r: &mut PerReader<'m, E>) -> Option<&'m [u8]> {
    if low == high && high <= 2 {
        return r.bits(u32::from(high) * 8).map(|_| &[][..]);
    }
    let n = r.constrained(low.into(), high.into())?;
    r.octets(n as usize)
}

fn bit_string<E: Echo>(n: usize, r: &mut PerReader<'_, E>) -> Option<()> {
    if n > 0 {
        r.align();
    }
    r.octets(n / 8)?;
    r.bits((n % 8) as u32).map(|_| ())
}

/// An object identifier's contents: whole subidentifiers, each in as few octets as possible (X.690 8.19).
fn is_oid(octets: &[u8]) -> bool {
    let ends = octets.last().is_some_and(|last| last & 0x80 == 0);
    let padded =
        |i: usize| octets.get(i) == Some(&0x80) && (i == 0 || octets.get(i - 1).is_some_and(|p| p & 0x80 == 0));
    ends && !(0..octets.len()).any(padded)
}

impl Type {
    /// Bits in front of a sequence's first component, where that component is requestSeqNum.
    pub(crate) fn preamble(&self) -> Option<u32> {
        let Self::Sequence(extensible, root, _) = self else { return None };
        let first = root.first().is_some_and(|f| f.id == Id::Seq);
        first.then(|| u32::from(*extensible) + root.iter().filter(|f| f.optional).count() as u32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(ty: &'static Type, octets: &[u8]) -> Result<usize, Bad> {
        let mut r = PerReader::new(octets);
        walk(ty, &mut r).map(|()| r.bit())
    }

    #[test]
    fn object_identifiers_are_whole_and_none_is_padded() {
        for good in [&[0x2a][..], &[0x2b, 6, 1, 4, 1, 0x81, 0xfd, 0x59, 7, 1], &[0x88, 0x37], &[0x81, 0x80, 0]] {
            let octets = [&[good.len() as u8], good].concat();
            assert_eq!(value(&OID, &octets), Ok(octets.len() * 8));
        }
        for bad in [&[][..], &[0x81], &[0x2a, 0x81], &[0x80, 1], &[0x2a, 0x80, 0x80, 1]] {
            assert!(value(&OID, &[&[bad.len() as u8], bad].concat()).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn strings_have_their_sizes_and_alignment() {
        static SHORT: Type = Type::Bmp(1, 128);
        static LONG: Type = Type::Bmp(1, 256);
        static DIGITS: Type = Type::Digits(1, 128);
        static FIXED: Type = Type::Octets(2, 2);
        static GUID: Type = Type::Octets(16, 16);
        // 7 bits of length, then a boundary; 8 at a boundary.
        assert_eq!(value(&SHORT, &[0x02, 0, 65, 0, 66]), Ok(40));
        assert_eq!(value(&LONG, &[0x01, 0, 65, 0, 66]), Ok(40));
        assert!(value(&SHORT, &[0x04, 0, 65, 0, 66]).is_err());
        // Half an octet a digit, of thirteen.
        assert_eq!(value(&DIGITS, &[0x04, 0x3c, 0x00]), Ok(20));
        assert!(value(&DIGITS, &[0x00, 0xd0]).is_err());
        // Two octets of a fixed size stand where they are, sixteen at a boundary.
        let mut r = PerReader::at(&[0; 20], 3);
        assert_eq!((walk(&FIXED, &mut r), r.bit()), (Ok(()), 19));
        assert_eq!((walk(&GUID, &mut r), r.bit()), (Ok(()), 24 + 128));
    }

    #[test]
    fn additions_bear_their_lengths_and_there_is_one_at_least() {
        static FLAG: Type =
            Type::Sequence(true, &[need(Id::Other, "flag", &BOOL)], &[more(1, Id::KeepAlive, "more", &BOOL)]);
        // Not extended; extended with what is known, what is not, and both.
        assert_eq!(value(&FLAG, &[0x40]), Ok(2));
        assert_eq!(value(&FLAG, &[0b1100_0000, 0b1010_0000, 1, 0x80]), Ok(32));
        assert_eq!(value(&FLAG, &[0b1100_0001, 0b0001_0000, 3, 1, 2, 3]), Ok(48));
        let both = [0b1100_0001, 0b0011_0000, 1, 0x80, 3, 1, 2, 3];
        let (mut r, mut places) = (PerReader::new(&both), Places::new());
        assert_eq!((walk_noting(&FLAG, &mut r, &mut places), r.left()), (Ok(()), 0));
        assert_eq!((places.get(Id::KeepAlive), places.root_end, places.extension_bit), (Some(24), 2, 0));
        // None of them, one of no octets, one that ends too late, one that is not all there, 64 and more of them.
        for bad in [
            &[0b1100_0000, 0b1000_0000][..],
            &[0b1100_0000, 0b1010_0000, 0],
            &[0b1100_0000, 0b1010_0000, 2, 0x80, 0],
            &[0b1100_0000, 0b1010_0000, 2, 0x80],
            &[0b1110_0000, 0b1010_0000, 1, 0x80],
        ] {
            assert!(value(&FLAG, bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn lists_and_choices_end_with_their_octets() {
        static FLAGS: Type = Type::List(&BOOL);
        static EITHER: Type = Type::Choice(true, &[&NULL, &BOOL, &IA5]);
        assert_eq!(value(&FLAGS, &[9, 0, 0]), Ok(17));
        assert!(value(&FLAGS, &[0xbf, 0xff, 0]).is_err(), "as many as a length can say");
        for (octets, bits) in [(&[0x00][..], 3), (&[0x20], 4), (&[0x40, 1, 65], 24), (&[0x85, 2, 7, 7], 32)] {
            assert_eq!(value(&EITHER, octets), Ok(bits));
        }
        for bad in [&[0x60][..], &[0x40, 1, 0x80], &[0x40, 2, 65], &[0x85, 2, 7], &[0xff, 1, 7]] {
            assert!(value(&EITHER, bad).is_err(), "{bad:?}");
        }
    }
}
