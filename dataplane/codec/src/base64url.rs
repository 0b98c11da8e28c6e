//! Unpadded base64url (RFC 4648 section 5), strict: no padding, no white space, and the unused bits of the last
//! character must be zero, so that one octet string has exactly one spelling.

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

static REVERSE: [u8; 256] = {
    let mut table = [0xffu8; 256];
    let mut i = 0u8;
    while i < 64 {
        table[ALPHABET[i as usize] as usize] = i;
        i += 1;
    }
    table
};

/// Characters that `n` octets take.
pub const fn b64_len(n: usize) -> usize {
    n / 3 * 4 + [0, 2, 3][n % 3]
}

/// Encodes into the first [`b64_len`] octets of `out`; a shorter `out` gets whole groups only.
pub fn b64_encode(octets: &[u8], out: &mut [u8]) {
    let (groups, rest) = octets.as_chunks::<3>();
    let (places, _) = out.as_chunks_mut::<4>();
    for ([a, b, c], o) in groups.iter().zip(places) {
        let n = u32::from(*a) << 16 | u32::from(*b) << 8 | u32::from(*c);
        *o = [18, 12, 6, 0].map(|shift| ALPHABET[(n >> shift & 63) as usize]);
    }
    let last = out.get_mut(groups.len() * 4..).unwrap_or_default();
    for (group, o) in rest.chunks(3).zip(last.chunks_mut(4)) {
        let n = u32::from(group[0]) << 16
            | u32::from(group.get(1).copied().unwrap_or(0)) << 8
            | u32::from(group.get(2).copied().unwrap_or(0));
        for (i, c) in o.iter_mut().take(group.len() + 1).enumerate() {
            *c = ALPHABET[(n >> (18 - 6 * i) & 63) as usize];
        }
    }
}

/// Decodes into `out` and returns the octets written; `None` for a bad character, an impossible length, non-zero
/// unused bits, or an `out` that is too short.
pub fn b64_decode(text: &[u8], out: &mut [u8]) -> Option<usize> {
    if text.len() % 4 == 1 {
        return None;
    }
    let len = text.len() / 4 * 3 + [0, 0, 1, 2][text.len() % 4];
    let out = out.get_mut(..len)?;
    let ((groups, rest), (places, last)) = (text.as_chunks::<4>(), out.as_chunks_mut::<3>());
    let mut seen = 0;
    for (chars, o) in groups.iter().zip(places) {
        let [a, b, c, d] = chars.map(|c| REVERSE[usize::from(c)]);
        seen |= a | b | c | d;
        let n = u32::from(a) << 18 | u32::from(b) << 12 | u32::from(c) << 6 | u32::from(d);
        *o = [(n >> 16) as u8, (n >> 8) as u8, n as u8];
    }
    if seen > 63 {
        return None;
    }
    for (chars, o) in rest.chunks(4).zip(last.chunks_mut(3)) {
        let mut n = 0u32;
        for i in 0..4 {
            let v = match chars.get(i) {
                Some(c) => REVERSE[usize::from(*c)],
                None => 0,
            };
            if v == 0xff {
                return None;
            }
            n = n << 6 | u32::from(v);
        }
        let bytes = [(n >> 16) as u8, (n >> 8) as u8, n as u8];
        if bytes[o.len()..].iter().any(|b| *b != 0) {
            return None;
        }
        o.copy_from_slice(&bytes[..o.len()]);
    }
    Some(len)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_octet_string_comes_back(octets in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut text = vec![0u8; b64_len(octets.len())];
            b64_encode(&octets, &mut text);
            let mut back = vec![0u8; octets.len()];
            prop_assert_eq!(b64_decode(&text, &mut back), Some(octets.len()));
            prop_assert_eq!(back, octets);
        }

        #[test]
        fn one_spelling_only(text in proptest::collection::vec(any::<u8>(), 0..40)) {
            let mut out = [0u8; 64];
            if let Some(n) = b64_decode(&text, &mut out) {
                let mut again = vec![0u8; b64_len(n)];
                b64_encode(&out[..n], &mut again);
                prop_assert_eq!(again, text);
            }
        }
    }
}
