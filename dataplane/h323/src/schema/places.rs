//! Where the components of a message stand.

use super::{IDS, Id};
use crate::view::number;
use portunus_codec::PerReader;

/// Words that say where all of them stand.
pub(crate) const WORDS: usize = IDS + 3;

/// What is not there.
const ABSENT: u16 = u16::MAX;

/// Where things stand: bit offsets. Of a message's tokens, the components of the first that is PKD1's.
#[derive(Clone, Copy)]
pub(crate) struct Places {
    at: [u16; IDS],
    /// Where the sequence's extension bit is.
    pub(crate) extension_bit: u32,
    /// The bit behind its root.
    pub(crate) root_end: u32,
    /// Tokens that are not PKD1's.
    pub(crate) foreign: u32,
    /// Where the identifier of a second token of PKD1's is.
    pub(crate) second: Option<u32>,
    /// The additions were gone through before: it is enough to note where they are. A lone token is PKD1's then.
    pub(super) checked: bool,
    /// Something stands where an offset cannot say it: in the last bit of the longest message.
    pub(crate) lost: bool,
}

/// The components of a token.
const OF_TOKEN: core::ops::RangeFrom<usize> = Id::TokenOid as usize..;

impl Places {
    pub(crate) const fn new() -> Self {
        let at = [ABSENT; IDS];
        Self { at, extension_bit: 0, root_end: 0, foreign: 0, second: None, checked: false, lost: false }
    }

    /// For a message with a token of PKD1's that was checked before.
    pub(crate) const fn checked() -> Self {
        Self { checked: true, ..Self::new() }
    }

    /// The bit where something stands, when it is there.
    pub(crate) fn get(&self, id: Id) -> Option<usize> {
        self.at.get(id as usize).filter(|at| **at != ABSENT).map(|at| usize::from(*at))
    }

    /// All of it as words; `None` where an offset is more than a word can say. A second token cannot be said.
    pub(crate) fn words(&self) -> Option<[u16; WORDS]> {
        let mut words = [0; WORDS];
        let (at, rest) = words.split_first_chunk_mut::<IDS>()?;
        *at = self.at;
        for (word, value) in rest.iter_mut().zip([self.extension_bit, self.root_end, self.foreign]) {
            *word = u16::try_from(value).ok()?;
        }
        Some(words)
    }

    /// What [`Places::words`] gave.
    pub(crate) fn of_words(words: &[u16; WORDS]) -> Self {
        let mut places = Self::new();
        if let Some((at, &[extension_bit, root_end, foreign])) = words.split_first_chunk::<IDS>() {
            places.at = *at;
            places.extension_bit = extension_bit.into();
            places.root_end = root_end.into();
            places.foreign = foreign.into();
        }
        places
    }

    #[inline]
    pub(super) fn set(&mut self, id: Id, bit: usize) {
        if let Some(at) = self.at.get_mut(id as usize) {
            self.lost |= bit >= usize::from(ABSENT);
            *at = bit as u16;
        }
    }

    /// Takes note of one of the message's tokens, which has these places.
    pub(super) fn token(&mut self, octets: &[u8], token: &Self) {
        let at = token.get(Id::TokenOid).unwrap_or(0);
        let mut oid = PerReader::at(octets, at);
        self.lost |= token.lost;
        if oid.length().and_then(|n| oid.octets(n)).and_then(number).is_none() {
            self.foreign += 1;
        } else if self.get(Id::TokenOid).is_some() {
            self.second.get_or_insert(at as u32);
        } else if let (Some(places), Some(from)) = (self.at.get_mut(OF_TOKEN), token.at.get(OF_TOKEN)) {
            places.copy_from_slice(from);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_say_it_all_again() {
        let mut places = Places::new();
        places.set(Id::Seq, 0);
        places.set(Id::ProfileInfo, 65_534);
        (places.extension_bit, places.root_end, places.foreign) = (6, 300, 2);
        let again = Places::of_words(&places.words().unwrap());
        assert_eq!(
            (again.get(Id::Seq), again.get(Id::ProfileInfo), again.get(Id::Alias)),
            (Some(0), Some(65_534), None)
        );
        assert_eq!((again.extension_bit, again.root_end, again.foreign, again.lost), (6, 300, 2, false));
        places.root_end = 65_536;
        assert!(places.words().is_none());
    }

    #[test]
    fn what_an_offset_cannot_say_is_not_taken_for_absent() {
        let mut places = Places::new();
        places.set(Id::AnswerCall, 65_535);
        assert!(places.lost);
    }
}
