//! Identities and bindings, of varying length, in size classes of sixteen octets.
//!
//! Pages of 4 KiB are given to a class when it needs one; a freed piece returns to its class. A piece's class follows
//! from its length, so nothing is stored beside it.

const UNIT: usize = 16;
const PAGE: usize = 4096;
/// Longest piece.
pub(crate) const PIECE_MAX: usize = 320;
const CLASSES: usize = PIECE_MAX / UNIT;

/// One class: where its next piece comes from. Places count units, plus one; 0 is nothing.
#[derive(Clone, Copy, Default)]
struct Class {
    free: u32,
    fresh: u32,
    fresh_left: u32,
}

/// The store.
pub(crate) struct Texts {
    octets: Vec<u8>,
    classes: [Class; CLASSES],
    next_page: usize,
}

impl Texts {
    /// Room for so many octets, rounded down to pages.
    pub(crate) fn new(octets: usize) -> Self {
        Self { octets: vec![0; octets / PAGE * PAGE], classes: [Class::default(); CLASSES], next_page: 0 }
    }

    fn place(handle: u32, len: usize) -> core::ops::Range<usize> {
        let from = (handle as usize).saturating_sub(1) * UNIT;
        from..from + len
    }

    /// The octets of a piece.
    pub(crate) fn get(&self, handle: u32, len: usize) -> &[u8] {
        self.octets.get(Self::place(handle, len)).unwrap_or_default()
    }

    fn next_free(&self, handle: u32) -> u32 {
        self.get(handle, 4).try_into().map_or(0, u32::from_ne_bytes)
    }

    /// Stores the parts one behind the other; the handle is never 0. `None` when the room is used up, or nothing or
    /// more than [`PIECE_MAX`] octets are given.
    pub(crate) fn store(&mut self, parts: &[&[u8]]) -> Option<u32> {
        let len: usize = parts.iter().map(|part| part.len()).sum();
        let number = len.div_ceil(UNIT).checked_sub(1)?;
        let class = self.classes.get(number).copied()?;
        let units = number as u32 + 1;
        let (handle, class) = if class.free != 0 {
            (class.free, Class { free: self.next_free(class.free), ..class })
        } else if class.fresh_left >= units {
            (class.fresh, Class { fresh: class.fresh + units, fresh_left: class.fresh_left - units, ..class })
        } else {
            let first = u32::try_from(self.next_page / UNIT + 1).ok()?;
            if self.next_page + PAGE > self.octets.len() {
                return None;
            }
            self.next_page += PAGE;
            let left = (PAGE / UNIT) as u32 - units;
            (first, Class { fresh: first + units, fresh_left: left, ..class })
        };
        if let Some(place) = self.classes.get_mut(number) {
            *place = class;
        }
        let mut room = self.octets.get_mut(Self::place(handle, len))?;
        for part in parts {
            let (here, rest) = room.split_at_mut_checked(part.len())?;
            here.copy_from_slice(part);
            room = rest;
        }
        Some(handle)
    }

    /// Gives a piece back.
    pub(crate) fn free(&mut self, handle: u32, len: usize) {
        let Some(class) = len.div_ceil(UNIT).checked_sub(1).and_then(|n| self.classes.get_mut(n)) else { return };
        let next = core::mem::replace(&mut class.free, handle);
        if let Some(place) = self.octets.get_mut(Self::place(handle, 4)) {
            place.copy_from_slice(&next.to_ne_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn pieces_keep_their_octets(ops in proptest::collection::vec((1usize..=PIECE_MAX, any::<u8>(), any::<bool>()), 1..300)) {
            let mut texts = Texts::new(64 << 10);
            let mut held: Vec<(u32, Vec<u8>)> = Vec::new();
            for (len, fill, release) in ops {
                if release && !held.is_empty() {
                    let (handle, octets) = held.swap_remove(len % held.len());
                    texts.free(handle, octets.len());
                } else {
                    let octets = vec![fill; len];
                    let (a, b) = octets.split_at(len / 3);
                    if let Some(handle) = texts.store(&[a, b]) {
                        held.push((handle, octets));
                    }
                }
                for (handle, octets) in &held {
                    prop_assert_eq!(texts.get(*handle, octets.len()), &octets[..]);
                }
            }
        }
    }

    #[test]
    fn bounded_and_used_again() {
        let mut texts = Texts::new(8192);
        assert_eq!(texts.store(&[&[0; 321]]), None);
        assert_eq!(texts.store(&[]), None);
        let held: Vec<u32> = std::iter::from_fn(|| texts.store(&[&[1; 60]])).collect();
        assert_eq!(held.len(), 8192 / 64);
        texts.free(held[5], 60);
        assert_eq!(texts.store(&[&[2; 64]]), Some(held[5]));
        assert_eq!(texts.store(&[&[2; 64]]), None);
    }
}
