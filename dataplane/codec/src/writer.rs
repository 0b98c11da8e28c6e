//! A writer over a borrowed buffer that remembers overflow instead of failing at every call.

/// The output did not fit in the buffer it was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full;

impl core::fmt::Display for Full {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("output does not fit in its buffer")
    }
}

impl core::error::Error for Full {}

/// Appends octets to a borrowed buffer. After the first append that does not fit nothing more is written and
/// [`Writer::finish`] reports [`Full`]; so code that writes a message checks once, at its end.
#[derive(Debug)]
pub struct Writer<'a> {
    buf: &'a mut [u8],
    len: usize,
    full: bool,
}

impl<'a> Writer<'a> {
    /// Starts at the beginning of `buf`; its length is the limit in octets.
    pub fn new(buf: &'a mut [u8]) -> Self {
        Self { buf, len: 0, full: false }
    }

    /// Octets written so far.
    pub fn len(&self) -> usize {
        self.len
    }

    /// True while nothing has been written.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Appends octets as they stand.
    #[inline]
    pub fn put(&mut self, octets: &[u8]) -> &mut Self {
        match self.buf.get_mut(self.len..self.len.saturating_add(octets.len())) {
            Some(room) if !self.full => {
                room.copy_from_slice(octets);
                self.len += octets.len();
            }
            _ => self.full = true,
        }
        self
    }

    /// Appends text.
    #[inline]
    pub fn text(&mut self, s: &str) -> &mut Self {
        self.put(s.as_bytes())
    }

    /// Appends a number in decimal digits.
    pub fn decimal(&mut self, n: u64) -> &mut Self {
        self.put(crate::Decimal::new(n).as_bytes())
    }

    /// Appends octets as lower-case hex digits.
    pub fn hex(&mut self, octets: &[u8]) -> &mut Self {
        if let Some(room) = self.reserve(octets.len() * 2) {
            crate::hex_encode(octets, room);
        }
        self
    }

    /// Appends octets as unpadded base64url.
    pub fn b64(&mut self, octets: &[u8]) -> &mut Self {
        if let Some(room) = self.reserve(crate::b64_len(octets.len())) {
            crate::b64_encode(octets, room);
        }
        self
    }

    /// Appends `n` octets for the caller to fill; `None` when they do not fit.
    pub fn reserve(&mut self, n: usize) -> Option<&mut [u8]> {
        let from = self.len;
        match from.checked_add(n) {
            Some(to) if !self.full && to <= self.buf.len() => {
                self.len = to;
                self.buf.get_mut(from..to)
            }
            _ => {
                self.full = true;
                None
            }
        }
    }

    /// Gives back what was written after position `len`: an attempt undone.
    pub fn truncate(&mut self, len: usize) {
        if len <= self.len {
            self.len = len;
            self.full = false;
        }
    }

    /// What has been written so far.
    pub fn written(&self) -> &[u8] {
        self.buf.get(..self.len).unwrap_or_default()
    }

    /// What has been written so far, to patch in place.
    pub fn written_mut(&mut self) -> &mut [u8] {
        self.buf.get_mut(..self.len).unwrap_or_default()
    }

    /// The number of octets written.
    ///
    /// # Errors
    /// [`Full`] when anything did not fit.
    pub fn finish(&self) -> Result<usize, Full> {
        if self.full { Err(Full) } else { Ok(self.len) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overflow_is_remembered_and_nothing_more_is_written() {
        let mut buf = [0u8; 8];
        let mut w = Writer::new(&mut buf);
        w.text("abcd").decimal(12345).text("x");
        assert_eq!(w.finish(), Err(Full));
        assert_eq!(w.written(), b"abcd");
        w.truncate(2);
        w.hex(&[0xab, 0x0c]).put(b"zz");
        assert_eq!(w.finish(), Ok(8));
        assert_eq!(&buf, b"abab0czz");
    }

    #[test]
    fn base64url_goes_straight_into_the_buffer() {
        let mut buf = [0u8; 22];
        let mut w = Writer::new(&mut buf);
        w.b64(&[0xff; 16]);
        assert_eq!(w.finish(), Ok(22));
        assert_eq!(&buf, b"_____________________w");
    }
}
