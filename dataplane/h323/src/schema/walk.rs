//! Goes through octets by the tables.

use super::common::TRANSPORT_ADDRESS;
use super::places::Places;
use super::tokens::{CLEAR_TOKEN, PROFILE_ELEMENT};
use super::{Field, Id, More, Type};
use portunus_codec::{Echo, PerReader, Range};

/// What is wrong, and at which bit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bad {
    pub(crate) what: &'static str,
    pub(crate) bit: usize,
}

/// What is wrong, by name; the reader stands where it is.
type Walked = Result<(), &'static str>;

/// A value that is none of its type: the component that it is gives its name for this.
const VALUE: &str = "value";
const PREAMBLE: &str = "preamble";
const ADDITIONS: &str = "extension additions";

/// Goes through one value of a type, checking everything on the way.
pub(crate) fn walk<E: Echo>(ty: &'static Type, r: &mut PerReader<'_, E>) -> Result<(), Bad> {
    value(ty, r).map_err(|what| Bad { what, bit: r.bit() })
}

/// As [`walk`] for a sequence, noting where its components stand.
pub(crate) fn walk_noting<E: Echo>(ty: &'static Type, r: &mut PerReader<'_, E>, into: &mut Places) -> Result<(), Bad> {
    match ty {
        Type::Sequence(extensible, root, known) => sequence(*extensible, root, known, r, Some(into)),
        other => value(other, r),
    }
    .map_err(|what| Bad { what, bit: r.bit() })
}

/// The bits in front of a sequence, upper ones first: whether it is extended, and which optional components are there.
#[inline]
fn preamble<E: Echo>(extensible: bool, root: &'static [Field], r: &mut PerReader<'_, E>) -> Option<(bool, u32)> {
    let optional = root.iter().filter(|f| f.optional).count() as u32;
    let n = optional + u32::from(extensible);
    if n == 0 {
        return Some((false, 0));
    }
    let Some(bits) = r.bits(n) else {
        // So far it could be read.
        _ = extensible && r.bool().is_some();
        return None;
    };
    let upper = bits << (32 - n);
    Some(if extensible { (upper >> 31 == 1, upper << 1) } else { (false, upper) })
}

fn sequence<E: Echo>(
    extensible: bool,
    root: &'static [Field],
    known: &'static [More],
    r: &mut PerReader<'_, E>,
    mut into: Option<&mut Places>,
) -> Walked {
    let extension_bit = r.bit() as u32;
    let (extended, mut present) = preamble(extensible, root, r).ok_or(PREAMBLE)?;
    for field in root {
        if field.optional {
            let here = present >> 31 == 1;
            present <<= 1;
            if !here {
                continue;
            }
        }
        match &mut into {
            Some(into) => noted(field, r, into)?,
            None => component(field, r)?,
        }
    }
    if let Some(into) = &mut into {
        (into.extension_bit, into.root_end) = (extension_bit, r.bit() as u32);
    }
    if extended { additions(known, r, into) } else { Ok(()) }
}

/// A component whose place, and what is in it if it is the tokens, is to be noted.
#[inline]
fn noted<E: Echo>(field: &'static Field, r: &mut PerReader<'_, E>, into: &mut Places) -> Walked {
    into.set(field.id, r.bit());
    if field.id == Id::Tokens { tokens(field, r, into) } else { component(field, r) }
}

fn tokens<E: Echo>(field: &'static Field, r: &mut PerReader<'_, E>, into: &mut Places) -> Walked {
    for _ in 0..count(r).map_err(|_| field.name)? {
        let mut token = Places::new();
        if let Type::Sequence(extensible, root, known) = &CLEAR_TOKEN {
            sequence(*extensible, root, known, r, Some(&mut token))?;
        }
        into.token(r.whole(), &token);
    }
    Ok(())
}

#[inline(always)]
fn component<E: Echo>(field: &'static Field, r: &mut PerReader<'_, E>) -> Walked {
    value(field.ty, r).map_err(|what| if what == VALUE { field.name } else { what })
}

/// The extension additions of a sequence: how many its sender knows, which of them are there, and each in its octets.
fn additions<E: Echo>(known: &'static [More], r: &mut PerReader<'_, E>, mut into: Option<&mut Places>) -> Walked {
    // Somebody who says that there are some names one at least.
    let (_, mut present) = upper_map(r).filter(|(_, present)| *present != 0).ok_or(ADDITIONS)?;
    while present != 0 {
        let i = present.leading_zeros();
        present &= !(1 << 63 >> i);
        let content = r.open().ok_or(ADDITIONS)?;
        let Some(more) = known.iter().find(|m| u32::from(m.index) == i) else { continue };
        let end = r.bit() / 8;
        let mut inner = PerReader::at(r.whole().get(..end).unwrap_or_default(), (end - content.len()) * 8);
        if let Some(into) = into.as_mut().filter(|into| into.checked)
            && (more.field.id != Id::Tokens || count(&mut inner.clone()).is_ok_and(|n| n == 1))
        {
            into.set(more.field.id, inner.bit());
            continue;
        }
        let walked = match &mut into {
            Some(into) => noted(&more.field, &mut inner, into),
            None => component(&more.field, &mut inner),
        };
        // A value fills its octets, all of them.
        let walked = if inner.left() >= 8 { walked.and(Err(more.field.name)) } else { walked };
        if walked.is_err() {
            r.seek(inner.bit());
            return walked;
        }
    }
    Ok(())
}

/// How many additions a sequence's sender knows, and which of them are there, the first in the lowest bit.
pub(crate) fn map_of_additions<E: Echo>(r: &mut PerReader<'_, E>) -> Option<(u32, u64)> {
    upper_map(r).map(|(count, map)| (count, map.reverse_bits()))
}

/// As [`map_of_additions`], the first in the highest bit.
#[inline]
fn upper_map<E: Echo>(r: &mut PerReader<'_, E>) -> Option<(u32, u64)> {
    let count = r.small()? + 1;
    let (upper, lower) = (count.min(32), count.saturating_sub(32));
    let mut map = u64::from(r.bits(upper)?);
    if lower > 0 {
        map = map << lower | u64::from(r.bits(lower)?);
    }
    Some((count, map << (64 - count)))
}

/// Passes the additions of a sequence of which none is known.
pub(crate) fn skip_additions<E: Echo>(r: &mut PerReader<'_, E>) -> Option<()> {
    additions(&[], r, None).ok()
}

/// Passes an address of IPv4; false, and nothing is passed, where it is another.
#[inline]
fn plain_address<E: Echo>(r: &mut PerReader<'_, E>) -> bool {
    // The alternative ipAddress, the first: an octet boundary, then four octets and two.
    let mut ahead = PerReader::at(r.whole(), r.bit());
    let plain = ahead.bits(4) == Some(0) && ahead.octets(6).is_some();
    plain && r.bits(4).and_then(|_| r.octets(6)).is_some()
}

fn choice<E: Echo>(extensible: bool, root: &'static [&'static Type], r: &mut PerReader<'_, E>) -> Walked {
    if extensible && r.bool().ok_or(VALUE)? {
        return r.small().and_then(|_| r.open()).map(|_| ()).ok_or(VALUE);
    }
    let index = r.constrained(0, (root.len() as u32).saturating_sub(1)).ok_or(VALUE)?;
    root.get(index as usize).map_or(Err(VALUE), |ty| value(ty, r))
}

/// The elements of a list, each of at least one bit.
fn count<E: Echo>(r: &mut PerReader<'_, E>) -> Result<usize, &'static str> {
    r.length().filter(|n| *n <= r.left()).ok_or(VALUE)
}

/// Passes a profile element of the form that all of PKD1's have: no parameters, octets, and less than 128 of them; what its
/// number and its octets are. `None`, and nothing is passed, where it has another.
///
/// Lists of them stand in extension additions alone, so they begin at an octet wherever they are echoed.
#[inline]
pub(crate) fn plain_element<'m, E: Echo>(r: &mut PerReader<'m, E>) -> Option<(u8, &'m [u8])> {
    let rest = r.whole().get(r.bit() / 8..).filter(|_| r.bit().is_multiple_of(8))?;
    let &[flags, id, choice, len] = rest.first_chunk()?;
    let plain = flags >> 5 == 0b001 && choice >> 4 == 0 && len < 0x80;
    let content = rest.get(4..4 + usize::from(len)).filter(|_| plain)?;
    r.octets(4 + content.len())?;
    Some((id, content))
}

fn list<E: Echo>(of: &'static Type, r: &mut PerReader<'_, E>) -> Walked {
    let elements = core::ptr::eq(of, &PROFILE_ELEMENT);
    for _ in 0..count(r)? {
        if !elements || plain_element(r).is_none() {
            value(of, r)?;
        }
    }
    Ok(())
}

/// One value; what holds others goes through them.
fn value<E: Echo>(ty: &'static Type, r: &mut PerReader<'_, E>) -> Walked {
    let plain = match *ty {
        Type::Sequence(extensible, root, known) => return sequence(extensible, root, known, r, None),
        Type::Choice(..) if core::ptr::eq(ty, &TRANSPORT_ADDRESS) && plain_address(r) => Some(()),
        Type::Choice(extensible, root) => return choice(extensible, root, r),
        Type::List(of) => return list(of, r),
        Type::Null => Some(()),
        Type::Bool => r.bool().map(|_| ()),
        Type::Int(range) => r.within(&range).map(|_| ()),
        Type::BigInt => r.length().filter(|n| *n > 0).and_then(|n| r.octets(n)).map(|_| ()),
        Type::Octets(range) => sized_octets(&range, r).map(|_| ()),
        Type::OctetString => r.length().and_then(|n| r.octets(n)).map(|_| ()),
        Type::Bits(range) => r.within(&range).and_then(|n| bit_string(n as usize, r)),
        Type::BitString => r.length().and_then(|n| bit_string(n, r)),
        Type::Oid => r.length().and_then(|n| r.octets(n)).filter(|oid| is_oid(oid)).map(|_| ()),
        Type::Bmp(range) => r.within(&range).and_then(|n| r.octets(n as usize * 2)).map(|_| ()),
        Type::FreeBmp => r.length().and_then(|n| r.octets(n * 2)).map(|_| ()),
        Type::Digits(range) => r.within(&range).and_then(|n| digits(n, r)),
        Type::Ascii => r.length().and_then(|n| r.octets(n)).filter(|s| s.is_ascii()).map(|_| ()),
        Type::Nulls(n) => nulls(n, r),
        Type::Open => r.open().map(|_| ()),
    };
    plain.ok_or(VALUE)
}

fn digits<E: Echo>(n: u32, r: &mut PerReader<'_, E>) -> Option<()> {
    r.align();
    (0..n).try_for_each(|_| r.bits(4).filter(|d| *d < 13).map(|_| ()))
}

fn nulls<E: Echo>(n: u8, r: &mut PerReader<'_, E>) -> Option<()> {
    if r.bool()? {
        r.small().and_then(|_| r.open()).map(|_| ())
    } else {
        r.constrained(0, u32::from(n) - 1).map(|_| ())
    }
}

/// Octets of a size between bounds; two of a fixed size stand between bits as they are (X.691 16.6).
fn sized_octets<'m, E: Echo>(range: &Range, r: &mut PerReader<'m, E>) -> Option<&'m [u8]> {
    match range.only() {
        Some(n @ ..=2) => r.bits(n * 8).map(|_| &[][..]),
        _ => r.within(range).and_then(|n| r.octets(n as usize)),
    }
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
    // True where the next octet begins a subidentifier.
    let mut begins = true;
    for octet in octets {
        if begins && *octet == 0x80 {
            return false;
        }
        begins = octet & 0x80 == 0;
    }
    begins && !octets.is_empty()
}

#[cfg(test)]
mod tests {
    use super::super::{BOOL, IA5, NULL, OID, more, need, within};
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
        static SHORT: Type = Type::Bmp(within(1, 128));
        static LONG: Type = Type::Bmp(within(1, 256));
        static DIGITS: Type = Type::Digits(within(1, 128));
        static FIXED: Type = Type::Octets(within(2, 2));
        static GUID: Type = Type::Octets(within(16, 16));
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
