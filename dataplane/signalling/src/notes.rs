//! Rooms that the engine lends a protocol while a message is read.

/// Most words of [`Marks`].
pub const MARKS_MAX: usize = 104;

/// What a protocol noted of a terminal's message when it read it, so that its writers need not look for it again. The
/// engine keeps them beside the message's octets, gives them back with the very same octets, and knows nothing of
/// what they say. They spare work only: without them everything is written as it is with them.
#[derive(Clone, Copy)]
pub struct Marks {
    len: u8,
    words: [u16; MARKS_MAX],
}

impl core::fmt::Debug for Marks {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Marks({})", self.len)
    }
}

impl Marks {
    /// Nothing noted.
    pub const NONE: Self = Self { len: 0, words: [0; MARKS_MAX] };

    /// Forgets everything.
    pub const fn clear(&mut self) {
        self.len = 0;
    }

    /// Notes some words behind the others; what does not fit as a whole leaves nothing noted at all, and false is said.
    #[inline]
    pub fn push(&mut self, words: &[u16]) -> bool {
        let from = usize::from(self.len);
        match self.words.get_mut(from..from + words.len()) {
            Some(room) => {
                room.copy_from_slice(words);
                self.len += words.len() as u8;
                true
            }
            None => {
                self.clear();
                false
            }
        }
    }

    /// Words that still fit.
    pub const fn room(&self) -> usize {
        MARKS_MAX - self.len as usize
    }

    /// What was noted.
    pub fn words(&self) -> &[u16] {
        self.words.get(..usize::from(self.len)).unwrap_or_default()
    }
}

/// Octets of [`Text`]: room for the longest IDc and the longest IDsp.
pub const TEXT_MAX: usize = 192;

/// Room for names of a message that spells them otherwise than in UTF-8: what is read borrows from here as from the
/// message.
#[derive(Clone)]
pub struct Text([u8; TEXT_MAX]);

impl core::fmt::Debug for Text {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Text")
    }
}

impl Default for Text {
    fn default() -> Self {
        Self::new()
    }
}

impl Text {
    /// Room, empty.
    pub const fn new() -> Self {
        Self([0; TEXT_MAX])
    }

    /// All of it, for the protocol that reads.
    pub const fn room(&mut self) -> &mut [u8; TEXT_MAX] {
        &mut self.0
    }
}
