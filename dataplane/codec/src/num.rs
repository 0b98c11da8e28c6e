//! Decimal numbers, bounded.

/// A number's decimal digits, on the stack.
#[derive(Debug, Clone, Copy)]
pub struct Decimal {
    buf: [u8; 20],
    start: usize,
}

impl Decimal {
    /// Formats `n`.
    pub fn new(mut n: u64) -> Self {
        let mut buf = [b'0'; 20];
        let mut start = 20;
        loop {
            start -= 1;
            buf[start] = b'0' + (n % 10) as u8;
            n /= 10;
            if n == 0 || start == 0 {
                return Self { buf, start };
            }
        }
    }

    /// The digits.
    pub fn as_bytes(&self) -> &[u8] {
        self.buf.get(self.start..).unwrap_or_default()
    }
}

/// Reads 1 to 20 ASCII digits; `None` for anything else and on overflow.
pub fn parse_u64(text: &[u8]) -> Option<u64> {
    if text.is_empty() || text.len() > 20 {
        return None;
    }
    text.iter().try_fold(0u64, |n, c| match c {
        b'0'..=b'9' => n.checked_mul(10)?.checked_add(u64::from(c - b'0')),
        _ => None,
    })
}

/// As [`parse_u64`], refusing what does not fit 32 bits.
pub fn parse_u32(text: &[u8]) -> Option<u32> {
    parse_u64(text).and_then(|n| u32::try_from(n).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_and_at_the_limits() {
        for n in [0, 7, 10, 4_294_967_295, u64::MAX] {
            assert_eq!(parse_u64(Decimal::new(n).as_bytes()), Some(n));
        }
        assert_eq!(parse_u64(b"18446744073709551616"), None);
        assert_eq!(parse_u64(b""), None);
        assert_eq!(parse_u64(b"1 "), None);
        assert_eq!(parse_u32(b"4294967296"), None);
    }
}
