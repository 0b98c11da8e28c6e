//! Aligned PER (X.691): the primitives of a reader and a writer, bit by bit, without a schema.
//!
//! Lengths are those of one fragment: 16,383 at most, so a message of a datagram and no more. A reader never looks behind
//! its octets, every call costs a bounded amount of work, and `None` means that the octets end or a value is out of its
//! constraint.

use crate::Writer;

/// Where a reader puts what it reads once more; see [`PerReader::echoing`].
pub trait Echo {
    /// The low `n` bits of `value`, at most 32.
    fn bits(&mut self, value: u32, n: u32);
    /// Up to the next octet boundary.
    fn align(&mut self);
    /// Whole octets, at an octet boundary.
    fn octets(&mut self, octets: &[u8]);
}

impl Echo for () {
    fn bits(&mut self, _value: u32, _n: u32) {}
    fn align(&mut self) {}
    fn octets(&mut self, _octets: &[u8]) {}
}

/// The largest length that one fragment can have.
const FRAGMENT_MAX: usize = 0x3fff;

/// The range of an integer, with the form that its values have (X.691 10.5.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    low: u32,
    /// The largest offset from it.
    most: u32,
    form: Form,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// One value, of no bits.
    Fixed,
    /// So many bits as they stand.
    Bits(u8),
    /// An octet at its boundary.
    Octet,
    /// Two octets.
    Pair,
    /// One to four octets, behind how many they are.
    Counted,
}

impl Range {
    /// `low..=high`, `low` being no more than `high`.
    #[inline]
    pub const fn new(low: u32, high: u32) -> Self {
        let most = high.saturating_sub(low);
        let form = match most {
            0 => Form::Fixed,
            1..=254 => Form::Bits((32 - most.leading_zeros()) as u8),
            255 => Form::Octet,
            256..=65_535 => Form::Pair,
            _ => Form::Counted,
        };
        Self { low, most, form }
    }

    /// The only value, where there is one.
    pub const fn only(&self) -> Option<u32> {
        if self.most == 0 { Some(self.low) } else { None }
    }
}

/// Reads aligned PER.
#[derive(Debug, Clone)]
pub struct PerReader<'m, E = ()> {
    octets: &'m [u8],
    bit: usize,
    echo: E,
}

impl<'m> PerReader<'m> {
    /// From the first bit.
    pub const fn new(octets: &'m [u8]) -> Self {
        Self::at(octets, 0)
    }

    /// From some bit; octet boundaries are those of `octets`.
    pub const fn at(octets: &'m [u8], bit: usize) -> Self {
        Self { octets, bit, echo: () }
    }
}

impl<'m, E: Echo> PerReader<'m, E> {
    /// A reader that writes what it reads into `echo` again, where other octet boundaries may hold: so a value moves to
    /// another place, aligned anew. What the caller pads or skips by itself moves too.
    pub const fn echoing(octets: &'m [u8], bit: usize, echo: E) -> Self {
        Self { octets, bit, echo }
    }

    /// The bit that is read next.
    pub const fn bit(&self) -> usize {
        self.bit
    }

    /// All octets, those that were read too.
    pub const fn whole(&self) -> &'m [u8] {
        self.octets
    }

    /// Goes on at this bit. Nothing of what lies between is echoed.
    pub const fn seek(&mut self, bit: usize) {
        self.bit = bit;
    }

    /// Bits that are left.
    pub const fn left(&self) -> usize {
        (self.octets.len() * 8).saturating_sub(self.bit)
    }

    /// One bit.
    #[inline]
    pub fn bool(&mut self) -> Option<bool> {
        self.bits(1).map(|b| b == 1)
    }

    /// An unsigned number of `n` bits, at most 32.
    #[inline]
    pub fn bits(&mut self, n: u32) -> Option<u32> {
        if n as usize > self.left() || n > 32 {
            return None;
        }
        let rest = self.octets.get(self.bit / 8..)?;
        let all = match rest.first_chunk() {
            Some(eight) => u64::from_be_bytes(*eight),
            None => up_to_eight(rest),
        };
        // With the bits of the first octet that were read already, at most 39. In two steps, for none may be wanted.
        let value = (all << (self.bit % 8)) >> 32 >> (32 - n);
        self.bit += n as usize;
        self.echo.bits(value as u32, n);
        Some(value as u32)
    }

    /// Goes on at the next octet boundary. What is skipped is not looked at: receivers ignore it.
    #[inline]
    pub fn align(&mut self) {
        self.bit = self.bit.next_multiple_of(8);
        self.echo.align();
    }

    /// `n` octets from the next octet boundary; where `n` is 0 nothing is skipped either (X.691 10.9.3.3).
    #[inline]
    pub fn octets(&mut self, n: usize) -> Option<&'m [u8]> {
        if n == 0 {
            return Some(&[]);
        }
        self.align();
        let octets = self.octets.get(self.bit / 8..)?.get(..n)?;
        self.bit += n * 8;
        self.echo.octets(octets);
        Some(octets)
    }

    /// An integer of the range `low..=high` (X.691 10.5.7).
    #[inline]
    pub fn constrained(&mut self, low: u32, high: u32) -> Option<u32> {
        if low > high { None } else { self.within(&Range::new(low, high)) }
    }

    /// As [`PerReader::constrained`], of a range whose form is known.
    #[inline]
    pub fn within(&mut self, range: &Range) -> Option<u32> {
        let offset = match range.form {
            Form::Fixed => 0,
            Form::Bits(n) => self.bits(n.into())?,
            Form::Octet => self.whole_octet()?.into(),
            Form::Pair => {
                self.align();
                let octets = self.octets.get(self.bit / 8..)?.first_chunk()?;
                let value = u32::from(u16::from_be_bytes(*octets));
                self.bit += 16;
                self.echo.bits(value, 16);
                value
            }
            Form::Counted => self.counted()?,
        };
        (offset <= range.most).then(|| range.low + offset)
    }

    /// An offset in as many octets as are said in front of it.
    #[inline(never)]
    fn counted(&mut self) -> Option<u32> {
        let len = self.bits(2)? + 1;
        self.align();
        let value = self.bits(len * 8)?;
        // The fewest octets that hold it, and no others.
        if len > 1 && value >> ((len - 1) * 8) == 0 { None } else { Some(value) }
    }

    /// The octet from the next octet boundary.
    #[inline]
    fn whole_octet(&mut self) -> Option<u8> {
        self.align();
        let octet = *self.octets.get(self.bit / 8)?;
        self.bit += 8;
        self.echo.bits(octet.into(), 8);
        Some(octet)
    }

    /// A length without bound (X.691 10.9.3.5 to 10.9.3.7), at most 16,383.
    #[inline]
    pub fn length(&mut self) -> Option<usize> {
        let first = usize::from(self.whole_octet()?);
        match first {
            0..=0x7f => Some(first),
            0x80..=0xbf => {
                let len = (first & 0x3f) << 8 | self.bits(8)? as usize;
                // One octet says what fits into one.
                (len > 0x7f).then_some(len)
            }
            _ => None,
        }
    }

    /// A normally small number (X.691 10.6) below 64.
    pub fn small(&mut self) -> Option<u32> {
        let from = self.bit;
        let number = self.bits(7).filter(|number| *number < 64);
        if number.is_none() {
            // The bit that says whether it is small was read.
            self.bit = from + self.octets.len().saturating_mul(8).saturating_sub(from).min(1);
        }
        number
    }

    /// An open type: its octets, without those of its length. It is read as a message of its own: octet boundaries are
    /// the same.
    pub fn open(&mut self) -> Option<&'m [u8]> {
        let len = self.length()?;
        if len == 0 { None } else { self.octets(len) }
    }
}

/// The first octets as the upper ones of a number; only at the end of a message, so it stays out of what is done everywhere.
#[cold]
#[inline(never)]
fn up_to_eight(octets: &[u8]) -> u64 {
    let mut eight = [0; 8];
    eight.iter_mut().zip(octets).for_each(|(place, octet)| *place = *octet);
    u64::from_be_bytes(eight)
}

/// Writes aligned PER behind what a [`Writer`] holds already; overflow shows at its [`Writer::finish`].
#[derive(Debug)]
pub struct PerWriter<'w, 'b> {
    w: &'w mut Writer<'b>,
    /// Bits of the last octet that are still free.
    free: u32,
}

/// Where an open type begins: for [`PerWriter::end_open`].
#[derive(Debug, Clone, Copy)]
pub struct Opened(usize);

impl<'w, 'b> PerWriter<'w, 'b> {
    /// Begins at an octet boundary.
    pub const fn new(w: &'w mut Writer<'b>) -> Self {
        Self { w, free: 0 }
    }

    /// Begins inside the last octet of `w`, which has `free` free bits, all zero.
    pub const fn within(w: &'w mut Writer<'b>, free: u32) -> Self {
        Self { w, free }
    }

    /// Octets written so far, the last one perhaps in part.
    pub fn len(&self) -> usize {
        self.w.len()
    }

    /// True while nothing has been written.
    pub fn is_empty(&self) -> bool {
        self.w.is_empty()
    }

    /// One bit.
    pub fn bool(&mut self, b: bool) -> &mut Self {
        self.bits(u32::from(b), 1)
    }

    /// The low `n` bits of `value`, at most 32.
    #[inline]
    pub fn bits(&mut self, value: u32, n: u32) -> &mut Self {
        let n = n.min(32);
        let value = u64::from(value) & ((1 << n) - 1);
        let (here, over) = (n.min(self.free), n.saturating_sub(self.free));
        if here > 0
            && let Some(last) = self.w.written_mut().last_mut()
        {
            *last |= ((value >> over) << (self.free - here)) as u8;
        }
        self.free -= here;
        if over > 0 {
            let octets = over.div_ceil(8);
            self.free = octets * 8 - over;
            let [a, b, c, d, ..] = (value << (64 - over)).to_be_bytes();
            // Each of its own length: that many octets are stored, and none are copied in a loop.
            match octets {
                1 => self.w.put(&[a]),
                2 => self.w.put(&[a, b]),
                3 => self.w.put(&[a, b, c]),
                _ => self.w.put(&[a, b, c, d]),
            };
        }
        self
    }

    /// Goes on at the next octet boundary.
    pub const fn align(&mut self) -> &mut Self {
        self.free = 0;
        self
    }

    /// Whole octets from the next octet boundary; none leave everything as it is.
    #[inline]
    pub fn octets(&mut self, octets: &[u8]) -> &mut Self {
        if !octets.is_empty() {
            self.align();
            self.w.put(octets);
        }
        self
    }

    /// `n` octets from the next octet boundary for the caller to fill; `None` when they do not fit.
    pub fn room(&mut self, n: usize) -> Option<&mut [u8]> {
        self.align();
        self.w.reserve(n)
    }

    /// An integer of the range `low..=high`, in which `value` must lie.
    pub fn constrained(&mut self, value: u32, low: u32, high: u32) -> &mut Self {
        let (range, offset) = (high.saturating_sub(low), value.saturating_sub(low));
        match range {
            0 => self,
            1..=254 => self.bits(offset, 32 - range.leading_zeros()),
            255 => self.octets(&[offset as u8]),
            256..=65_535 => self.octets(&(offset as u16).to_be_bytes()),
            _ => {
                let len = (32 - offset.leading_zeros()).div_ceil(8).max(1);
                self.bits(len - 1, 2).align().bits(offset, len * 8)
            }
        }
    }

    /// A length without bound; one above 16,383 makes the message too large for any buffer.
    pub fn length(&mut self, len: usize) -> &mut Self {
        match len {
            0..=0x7f => self.octets(&[len as u8]),
            0x80..=FRAGMENT_MAX => self.octets(&(0x8000 | len as u16).to_be_bytes()),
            _ => {
                self.w.reserve(usize::MAX);
                self
            }
        }
    }

    /// A normally small number below 64.
    pub fn small(&mut self, value: u32) -> &mut Self {
        self.bits(value & 0x3f, 7)
    }

    /// Begins an open type.
    pub fn open(&mut self) -> Opened {
        self.align();
        self.w.put(&[0]);
        Opened(self.w.len())
    }

    /// Ends an open type: puts its length in front. Nothing inside makes it one octet (X.691 10.1.3).
    pub fn end_open(&mut self, opened: Opened) -> &mut Self {
        self.align();
        if self.w.len() == opened.0 {
            self.w.put(&[0]);
        }
        let len = self.w.len().saturating_sub(opened.0);
        if len > 0x7f {
            if len > FRAGMENT_MAX {
                self.w.reserve(usize::MAX);
                return self;
            }
            // The length needs one octet more: what was written makes room.
            self.w.put(&[0]);
            if let Some(content) = self.w.written_mut().get_mut(opened.0..)
                && content.len() > len
            {
                content.copy_within(..len, 1);
                content[0] = len as u8;
            }
        }
        let first = if len > 0x7f { 0x80 | (len >> 8) as u8 } else { len as u8 };
        if let Some(at) = opened.0.checked_sub(1).and_then(|i| self.w.written_mut().get_mut(i)) {
            *at = first;
        }
        self
    }
}

impl Echo for &mut PerWriter<'_, '_> {
    fn bits(&mut self, value: u32, n: u32) {
        PerWriter::bits(self, value, n);
    }
    fn align(&mut self) {
        PerWriter::align(self);
    }
    fn octets(&mut self, octets: &[u8]) {
        PerWriter::octets(self, octets);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Examples of X.691 and H.225.0: value, range, bits in front, octets.
    #[test]
    fn integers_have_the_sizes_of_the_standard() {
        let cases: [(u32, u32, u32, &[u8]); 9] = [
            (5, 5, 5, &[]),
            (6, 0, 7, &[0b1100_0000]),
            (254, 0, 254, &[0xfe]),
            (255, 0, 255, &[0xff]),
            (1, 0, 256, &[0, 1]),
            (65_535, 1, 65_535, &[0xff, 0xfe]),
            (0, 0, u32::MAX, &[0, 0]),
            (640, 0, u32::MAX, &[0x40, 0x02, 0x80]),
            (u32::MAX, 1, u32::MAX, &[0xc0, 0xff, 0xff, 0xff, 0xfe]),
        ];
        for (value, low, high, octets) in cases {
            let mut buf = [0; 8];
            let mut w = Writer::new(&mut buf);
            PerWriter::new(&mut w).constrained(value, low, high);
            assert_eq!(w.written(), octets, "{value} of {low}..{high}");
            assert_eq!(PerReader::new(octets).constrained(low, high), Some(value));
        }
        // Two octets for what one holds, and a value beyond its range.
        assert_eq!(PerReader::new(&[0x40, 0, 1]).constrained(0, u32::MAX), None);
        assert_eq!(PerReader::new(&[0b1101_0000]).constrained(0, 12), None);
    }

    #[test]
    fn an_open_type_gets_its_length_afterwards() {
        for len in [0usize, 1, 127, 128, 300, 16_383, 16_384] {
            let mut buf = vec![0; 20_000];
            let mut w = Writer::new(&mut buf);
            let mut p = PerWriter::new(&mut w);
            p.bool(true);
            let opened = p.open();
            p.octets(&vec![7; len]);
            p.end_open(opened).bool(true);
            if len > FRAGMENT_MAX {
                assert!(w.finish().is_err());
                continue;
            }
            let mut r = PerReader::new(w.written());
            assert_eq!(r.bool(), Some(true));
            let read = r.open().unwrap();
            assert_eq!(read.len(), len.max(1));
            assert!(len == 0 || read.iter().all(|o| *o == 7));
            assert_eq!(r.bool(), Some(true));
        }
    }

    #[test]
    fn lengths_are_minimal_and_of_one_fragment() {
        assert_eq!(PerReader::new(&[0x80, 0x7f]).length(), None);
        assert_eq!(PerReader::new(&[0x80, 0x80]).length(), Some(128));
        assert_eq!(PerReader::new(&[0xc1]).length(), None);
        assert_eq!(PerReader::new(&[0x00]).open(), None);
    }

    proptest! {
        #[test]
        fn both_ways_and_moved(
            parts in prop::collection::vec((any::<u32>(), 0u32..=32, prop::collection::vec(any::<u8>(), 0..5)), 0..20),
            shift in 0u32..8,
        ) {
            let mut buf = [0; 400];
            let mut w = Writer::new(&mut buf);
            let mut p = PerWriter::new(&mut w);
            for (value, n, octets) in &parts {
                p.bits(*value, *n).octets(octets);
            }
            let octets = w.written().to_vec();
            let mut moved = [0; 400];
            let mut m = Writer::new(&mut moved);
            let mut p = PerWriter::new(&mut m);
            p.bits(0, shift);
            let mut r = PerReader::echoing(&octets, 0, &mut p);
            for (value, n, octets) in &parts {
                let mask = if *n == 32 { u32::MAX } else { (1 << n) - 1 };
                prop_assert_eq!(r.bits(*n), Some(value & mask));
                prop_assert_eq!(r.octets(octets.len()), Some(&octets[..]));
            }
            let moved = m.written().to_vec();
            let mut r = PerReader::at(&moved, shift as usize);
            for (value, n, octets) in &parts {
                let mask = if *n == 32 { u32::MAX } else { (1 << n) - 1 };
                prop_assert_eq!(r.bits(*n), Some(value & mask));
                prop_assert_eq!(r.octets(octets.len()), Some(&octets[..]));
            }
        }

        #[test]
        fn nothing_is_read_behind_the_end(octets in prop::collection::vec(any::<u8>(), 0..6), ops in prop::collection::vec(0u8..6, 0..20)) {
            let mut r = PerReader::new(&octets);
            for op in ops {
                match op {
                    0 => _ = r.bits(13),
                    1 => _ = r.octets(2),
                    2 => _ = r.length(),
                    3 => _ = r.open(),
                    4 => _ = r.constrained(0, u32::MAX),
                    _ => r.align(),
                }
                prop_assert!(r.bit() <= octets.len() * 8);
            }
        }
    }
}
