//! Piggy-backing (RFC 3435 section 3.5.5): messages of one datagram, separated by lines that hold a single dot.

/// The messages of a datagram, in order. One without any octet counts as one empty message, which cannot be read.
#[derive(Debug, Clone)]
pub struct Parts<'m> {
    rest: Option<&'m [u8]>,
}

impl<'m> Parts<'m> {
    /// Of a datagram.
    pub fn new(datagram: &'m [u8]) -> Self {
        Self { rest: Some(datagram) }
    }
}

impl<'m> Iterator for Parts<'m> {
    type Item = &'m [u8];

    fn next(&mut self) -> Option<&'m [u8]> {
        let here = self.rest.take()?;
        for end in memchr::memchr_iter(b'\n', here) {
            let after = match here.get(end + 1..).unwrap_or_default() {
                [b'.', b'\n', after @ ..] | [b'.', b'\r', b'\n', after @ ..] => after,
                _ => continue,
            };
            // A dot behind the last message separates it from nothing.
            self.rest = Some(after).filter(|after| !after.is_empty());
            return here.get(..=end);
        }
        Some(here)
    }
}

#[cfg(test)]
mod tests {
    use super::Parts;

    fn cut(text: &str) -> Vec<&str> {
        Parts::new(text.as_bytes()).map(|p| std::str::from_utf8(p).unwrap()).collect()
    }

    #[test]
    fn dots_alone_on_their_line_separate() {
        assert_eq!(cut("200 1 OK\r\n.\r\nDLCX 2 a@b MGCP 1.0\r\n"), ["200 1 OK\r\n", "DLCX 2 a@b MGCP 1.0\r\n"]);
        assert_eq!(cut("200 1\n.\n200 2\n.\n"), ["200 1\n", "200 2\n"]);
        assert_eq!(cut("200 1\n..\n"), ["200 1\n..\n"]);
        assert_eq!(cut("200 1\n.x\n.\r"), ["200 1\n.x\n.\r"]);
        assert_eq!(cut(""), [""]);
        assert_eq!(cut("a\n.\n.\n"), ["a\n", ".\n"]);
    }
}
