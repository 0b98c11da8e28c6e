//! Lower-case hexadecimal, both ways. Upper-case digits are refused: words, MACs and handles travel in one spelling
//! only, so that octet comparison and retransmission detection agree.

const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// Writes two lower-case digits an octet; writes as many whole octets as `out` has room for.
pub fn hex_encode(octets: &[u8], out: &mut [u8]) {
    for (b, o) in octets.iter().zip(out.chunks_exact_mut(2)) {
        o[0] = DIGITS[usize::from(b >> 4)];
        o[1] = DIGITS[usize::from(b & 15)];
    }
}

/// What is no digit.
const BAD: u8 = 0xff;

/// The value of every digit. A table, since what is random cannot be predicted digit by digit.
static VALUES: [u8; 256] = {
    let mut table = [BAD; 256];
    let mut i = 0u8;
    while i < 16 {
        table[DIGITS[i as usize] as usize] = i;
        i += 1;
    }
    table
};

/// Reads exactly `N` octets from `2 * N` lower-case digits; `None` for any other length or character.
pub fn hex_decode<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    if text.len() != N * 2 {
        return None;
    }
    let mut out = [0u8; N];
    let mut seen = 0;
    for (o, [high, low]) in out.iter_mut().zip(text.as_chunks::<2>().0) {
        let (high, low) = (VALUES[usize::from(*high)], VALUES[usize::from(*low)]);
        seen |= high | low;
        *o = high << 4 | low & 15;
    }
    (seen < 16).then_some(out)
}

/// The sixteen lower-case digits of a 64-bit number.
pub fn hex_u64(n: u64) -> [u8; 16] {
    let mut out = [0u8; 16];
    hex_encode(&n.to_be_bytes(), &mut out);
    out
}

/// Reads sixteen lower-case digits as a 64-bit number.
pub fn parse_hex_u64(text: &[u8]) -> Option<u64> {
    hex_decode::<8>(text).map(u64::from_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip_and_refusals() {
        assert_eq!(parse_hex_u64(&hex_u64(0x0123_4567_89ab_cdef)), Some(0x0123_4567_89ab_cdef));
        assert_eq!(hex_decode::<2>(b"AB0c"), None);
        assert_eq!(hex_decode::<2>(b"ab0"), None);
        assert_eq!(hex_decode::<2>(b"ab0c"), Some([0xab, 0x0c]));
    }
}
