//! Aligned PER from outside: whatever is written reads the same, also at another octet boundary, and whatever arrives is
//! read without a panic and with work that its octets bound.

use portunus_codec::{PerReader, PerWriter, Writer};
use proptest::prelude::*;

/// One thing that PER can say.
#[derive(Debug, Clone)]
enum Item {
    Bits(u32, u32),
    Octets(Vec<u8>),
    /// Value, low and high.
    Int(u32, u32, u32),
    Length(usize),
    Small(u32),
    Align,
    /// A message inside a message.
    Open(Vec<Item>),
}

fn item() -> impl Strategy<Value = Item> {
    let leaf = prop_oneof![
        (any::<u32>(), 0u32..=32).prop_map(|(value, n)| Item::Bits((u64::from(value) & ((1u64 << n) - 1)) as u32, n)),
        prop::collection::vec(any::<u8>(), 0..5).prop_map(Item::Octets),
        (any::<u32>(), any::<u32>(), any::<u32>(), 0u32..5).prop_map(|(a, b, c, narrow)| {
            // Narrow ranges as well as wide ones: each of the forms of X.691 10.5.7 has its turn.
            let shift = [0, 8, 16, 24, 30][narrow as usize];
            let (low, high) = (a.min(a.wrapping_add(b >> shift)), a.max(a.wrapping_add(b >> shift)));
            let value = low + (u64::from(c) % (u64::from(high - low) + 1)) as u32;
            Item::Int(value, low, high)
        }),
        (0usize..=0x3fff).prop_map(Item::Length),
        (0u32..64).prop_map(Item::Small),
        Just(Item::Align),
    ];
    leaf.prop_recursive(3, 24, 6, |inner| prop::collection::vec(inner, 0..6).prop_map(Item::Open))
}

fn put(items: &[Item], p: &mut PerWriter<'_, '_>) {
    for item in items {
        match item {
            Item::Bits(value, n) => _ = p.bits(*value, *n),
            Item::Octets(octets) => _ = p.octets(octets),
            Item::Int(value, low, high) => _ = p.constrained(*value, *low, *high),
            Item::Length(n) => _ = p.length(*n),
            Item::Small(n) => _ = p.small(*n),
            Item::Align => _ = p.align(),
            Item::Open(inner) => {
                let opened = p.open();
                put(inner, p);
                p.end_open(opened);
            }
        }
    }
}

/// Reads the items and compares each.
fn compare<E: portunus_codec::Echo>(items: &[Item], r: &mut PerReader<'_, E>) {
    for item in items {
        match item {
            Item::Bits(value, n) => assert_eq!(r.bits(*n), Some(*value)),
            Item::Octets(octets) => assert_eq!(r.octets(octets.len()), Some(&octets[..])),
            Item::Int(value, low, high) => assert_eq!(r.constrained(*low, *high), Some(*value)),
            Item::Length(n) => assert_eq!(r.length(), Some(*n)),
            Item::Small(n) => assert_eq!(r.small(), Some(*n)),
            Item::Align => r.align(),
            Item::Open(inner) => {
                let content = r.open().expect("an open type");
                let mut inside = PerReader::new(content);
                compare(inner, &mut inside);
                assert!(inside.left() < 8 || content == [0], "nothing is behind the value");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn what_is_written_reads_the_same_here_and_elsewhere(items in prop::collection::vec(item(), 0..12), shift in 0u32..8) {
        let mut buf = [0; 4096];
        let mut w = Writer::new(&mut buf);
        put(&items, &mut PerWriter::new(&mut w));
        prop_assert!(w.finish().is_ok());
        let octets = w.written().to_vec();
        // Read, and written again behind some bits: aligned anew, it is what it was.
        let mut moved = [0; 4096];
        let mut m = Writer::new(&mut moved);
        let mut p = PerWriter::new(&mut m);
        p.bits(0, shift);
        compare(&items, &mut PerReader::echoing(&octets, 0, &mut p));
        let mut directly = [0; 4096];
        let mut d = Writer::new(&mut directly);
        let mut p = PerWriter::new(&mut d);
        p.bits(0, shift);
        put(&items, &mut p);
        prop_assert_eq!(m.written(), d.written());
        compare(&items, &mut PerReader::at(m.written(), shift as usize));
    }

    #[test]
    fn a_buffer_that_is_too_small_shows_at_the_end(items in prop::collection::vec(item(), 1..12), room in 0usize..64) {
        let mut buf = [0; 4096];
        let mut w = Writer::new(&mut buf);
        put(&items, &mut PerWriter::new(&mut w));
        let needed = w.len();
        let mut small = vec![0; room];
        let mut s = Writer::new(&mut small);
        put(&items, &mut PerWriter::new(&mut s));
        prop_assert_eq!(s.finish().is_ok(), needed <= room);
    }

    #[test]
    fn arbitrary_octets_are_read_with_bounded_work(
        octets in prop::collection::vec(any::<u8>(), 0..40),
        from in 0usize..400,
        items in prop::collection::vec(item(), 0..40),
    ) {
        // Whatever is asked of them, from wherever, the reader goes forward and never behind the end.
        let mut r = PerReader::at(&octets, from);
        let end = (octets.len() * 8).max(from).next_multiple_of(8);
        for item in &items {
            let before = r.bit();
            match item {
                Item::Bits(_, n) => _ = r.bits(*n),
                Item::Octets(octets) => _ = r.octets(octets.len()),
                Item::Int(_, low, high) => {
                    if let Some(value) = r.constrained(*low, *high) {
                        prop_assert!((*low..=*high).contains(&value));
                    }
                }
                Item::Length(_) => prop_assert!(r.length().is_none_or(|n| n <= 0x3fff)),
                Item::Small(_) => prop_assert!(r.small().is_none_or(|n| n < 64)),
                Item::Align => r.align(),
                Item::Open(_) => prop_assert!(r.open().is_none_or(|content| !content.is_empty())),
            }
            prop_assert!(before <= r.bit() && r.bit() <= end);
        }
    }
}

/// The octets of a writer's work.
fn written(f: impl FnOnce(&mut PerWriter<'_, '_>)) -> Vec<u8> {
    let mut buf = vec![0; 40_000];
    let mut w = Writer::new(&mut buf);
    f(&mut PerWriter::new(&mut w));
    w.finish().unwrap();
    w.written().to_vec()
}

#[test]
fn integers_take_the_form_of_their_range() {
    // Up to 255 values: as few bits as they need, where they stand. 256: an octet at a boundary. Up to 65,536: two.
    for (high, bits) in [(1, 1), (2, 2), (3, 2), (4, 3), (127, 7), (128, 8), (253, 8), (254, 8)] {
        let octets = written(|p| _ = p.bool(true).constrained(high, 0, high).bool(true));
        assert_eq!(octets.len(), if bits == 7 { 2 } else { (bits as usize + 2).div_ceil(8) }, "0..{high}");
        let mut r = PerReader::new(&octets);
        assert_eq!((r.bool(), r.constrained(0, high), r.bit()), (Some(true), Some(high), 1 + bits as usize));
    }
    assert_eq!(written(|p| _ = p.bool(true).constrained(7, 0, 255)), [0x80, 7]);
    assert_eq!(written(|p| _ = p.bool(true).constrained(7, 0, 256)), [0x80, 0, 7]);
    assert_eq!(written(|p| _ = p.bool(true).constrained(7, 0, 65_535)), [0x80, 0, 7]);
    // Above: the octets' number less one in two bits, then at a boundary as few as there are.
    assert_eq!(written(|p| _ = p.bool(true).constrained(7, 0, 65_536)), [0x80, 7]);
    assert_eq!(written(|p| _ = p.bool(true).constrained(256, 0, 65_536)), [0xa0, 1, 0]);
    assert_eq!(written(|p| _ = p.constrained(u32::MAX, 0, u32::MAX)), [0xc0, 0xff, 0xff, 0xff, 0xff]);
    // A range of one value says nothing, and one of none cannot be read.
    assert_eq!(written(|p| _ = p.constrained(9, 9, 9)), [0u8; 0]);
    assert_eq!(PerReader::new(&[0]).constrained(2, 1), None);
    // Beyond its range, or padded.
    assert_eq!(PerReader::new(&[0xe0]).constrained(0, 5), None);
    assert_eq!(PerReader::new(&[0xff, 0xff]).constrained(1, 65_535), None);
    assert_eq!(PerReader::new(&[0xc0, 0, 1, 0, 0]).constrained(0, u32::MAX), None);
    assert_eq!(PerReader::new(&[0xc0, 0xff, 0xff, 0xff, 0xff]).constrained(1, u32::MAX), None);
}

#[test]
fn lengths_are_of_one_fragment() {
    for (len, octets) in
        [(0, &[0][..]), (127, &[0x7f]), (128, &[0x80, 0x80]), (300, &[0x81, 0x2c]), (16_383, &[0xbf, 0xff])]
    {
        assert_eq!(written(|p| _ = p.length(len)), octets);
        assert_eq!(PerReader::new(octets).length(), Some(len));
        // At a boundary, wherever it begins.
        assert_eq!(written(|p| _ = p.bool(true).length(len)), [&[0x80], octets].concat());
        assert_eq!(PerReader::at(&[&[0xff], octets].concat(), 3).length(), Some(len));
    }
    // Fragments of 16, 32, 48 and 64 K, and their empty end, are more than a datagram has.
    for first in [0xc0, 0xc1, 0xc2, 0xc3, 0xc4, 0xff] {
        assert_eq!(PerReader::new(&[first, 0]).length(), None);
    }
    let mut buf = [0; 8];
    let mut w = Writer::new(&mut buf);
    PerWriter::new(&mut w).length(16_384);
    assert!(w.finish().is_err());
}

#[test]
fn normally_small_numbers_are_below_64() {
    assert_eq!(written(|p| _ = p.small(0)), [0]);
    assert_eq!(written(|p| _ = p.bool(true).small(63)), [0xbf]);
    assert_eq!(PerReader::new(&[0x7e]).small(), Some(63));
    assert_eq!(PerReader::new(&[0x80, 1, 64]).small(), None, "64 and above have another form, which nobody needs");
    assert_eq!(PerReader::at(&[0], 2).small(), None, "six bits are left");
}

#[test]
fn nothing_of_nothing_moves_nothing() {
    // No octets, no alignment (X.691 10.9.3.3).
    let octets = written(|p| _ = p.bool(true).octets(&[]).bool(true));
    assert_eq!(octets, [0xc0]);
    let mut r = PerReader::new(&octets);
    assert_eq!((r.bool(), r.octets(0), r.bool(), r.bit()), (Some(true), Some(&[][..]), Some(true), 2));
    // Octets that are not there take nothing.
    let mut r = PerReader::new(&[1, 2]);
    assert_eq!((r.octets(3), r.octets(2)), (None, Some(&[1, 2][..])));
    assert_eq!((r.bits(0), r.bits(1), r.bool(), r.left()), (Some(0), None, None, 0));
    assert_eq!(PerReader::new(&[0; 8]).bits(33), None);
}

#[test]
fn writing_goes_on_within_an_octet() {
    let mut buf = [0; 8];
    let mut w = Writer::new(&mut buf);
    w.put(&[0b1010_0000]);
    PerWriter::within(&mut w, 5).bits(0b11, 2).octets(&[9]);
    assert_eq!(w.written(), [0b1011_1000, 9]);
}

#[test]
fn open_types_within_open_types_get_their_lengths() {
    // Both grow past 127 octets after they were begun: what is inside makes room twice.
    let octets = written(|p| {
        let outer = p.open();
        p.bits(0b101, 3);
        let inner = p.open();
        p.octets(&[7; 200]);
        p.end_open(inner);
        p.bool(true);
        p.end_open(outer);
        p.bool(true);
    });
    let mut r = PerReader::new(&octets);
    let outer = r.open().unwrap();
    assert_eq!((outer.len(), r.bool()), (1 + 202 + 1, Some(true)));
    let mut o = PerReader::new(outer);
    assert_eq!(o.bits(3), Some(0b101));
    assert_eq!(o.open(), Some(&[7; 200][..]));
    assert_eq!((o.bool(), o.bit()), (Some(true), outer.len() * 8 - 7));
}
