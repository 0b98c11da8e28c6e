//! Editing by patching the original octets: a cursor walks the message once, front to back, copies what stays and
//! writes what is put in its place. What no edit names is passed on exactly as it came.
//!
//! Deliberately absent: a tree of the message. Edits come in the order of their places, which is the order in which
//! [`crate::view::Message::headers`] gives them; one that comes too late spoils the patch and [`Patch::finish`] says so.

use core::ops::Range;
use portunus_codec::{Full, Writer};

/// A message being rewritten into a [`Writer`].
#[derive(Debug)]
pub struct Patch<'s, 'w, 'b> {
    source: &'s [u8],
    at: usize,
    w: &'w mut Writer<'b>,
    spoilt: bool,
}

impl<'s, 'w, 'b> Patch<'s, 'w, 'b> {
    /// Starts at the first octet of `source`.
    pub fn new(source: &'s [u8], w: &'w mut Writer<'b>) -> Self {
        Self { source, at: 0, w, spoilt: false }
    }

    /// Copies up to `place` and gives the writer: what is written now stands before the octet at `place`.
    pub fn insert(&mut self, place: usize) -> &mut Writer<'b> {
        match self.source.get(self.at..place) {
            Some(kept) => {
                self.w.put(kept);
                self.at = place;
            }
            None => {
                debug_assert!(false, "edits come in order and inside the message");
                self.spoilt = true;
            }
        }
        self.w
    }

    /// Copies up to `range`, leaves it out, and gives the writer for what stands in its place.
    pub fn replace(&mut self, range: Range<usize>) -> &mut Writer<'b> {
        self.insert(range.start);
        if range.end < self.at || range.end > self.source.len() {
            self.spoilt = true;
        } else {
            self.at = range.end;
        }
        self.w
    }

    /// Leaves `range` out.
    pub fn remove(&mut self, range: Range<usize>) {
        self.replace(range);
    }

    /// Copies the rest.
    ///
    /// # Errors
    /// [`Full`] when it did not fit, or when an edit named a place outside the message or before an earlier one.
    pub fn finish(self) -> Result<(), Full> {
        if self.spoilt {
            return Err(Full);
        }
        self.w.put(self.source.get(self.at..).unwrap_or_default());
        self.w.finish().map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn insertion_replacement_removal() {
        let mut buf = [0u8; 64];
        let mut w = Writer::new(&mut buf);
        let mut p = Patch::new(b"one two three", &mut w);
        p.insert(0).text("<");
        p.replace(0..3).text("1");
        p.remove(3..7);
        p.insert(13).text(">");
        assert_eq!(p.finish(), Ok(()));
        assert_eq!(w.written(), b"<1 three>");
    }

    proptest! {
        #[test]
        fn no_edit_changes_nothing_and_edits_stay_in_their_places(
            text in proptest::collection::vec(any::<u8>(), 0..80),
            cuts in proptest::collection::vec(0usize..80, 4),
        ) {
            let mut cuts: Vec<_> = cuts.into_iter().map(|c| c.min(text.len())).collect();
            cuts.sort_unstable();
            let mut buf = [0u8; 200];
            let mut w = Writer::new(&mut buf);
            prop_assert_eq!(Patch::new(&text, &mut w).finish(), Ok(()));
            prop_assert_eq!(w.written(), &text[..]);

            let mut w = Writer::new(&mut buf);
            let mut p = Patch::new(&text, &mut w);
            p.replace(cuts[0]..cuts[1]).text("AB");
            p.replace(cuts[2]..cuts[3]).text("CD");
            prop_assert_eq!(p.finish(), Ok(()));
            let expected = [&text[..cuts[0]], b"AB", &text[cuts[1]..cuts[2]], b"CD", &text[cuts[3]..]].concat();
            prop_assert_eq!(w.written(), &expected[..]);
        }
    }
}
