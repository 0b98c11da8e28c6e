//! Searching short texts: the lines and values of signalling have a few dozen octets, for which a call of a vectorised
//! search costs more than the search.

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = 0x8080_8080_8080_8080;

/// The highest bit of every octet of `word` that is in `set`. The lowest of them is exact, others above it may be wrong.
#[inline(always)]
fn hits<const N: usize>(word: u64, set: [u8; N]) -> u64 {
    set.iter().fold(0, |hits, c| {
        let x = word ^ (ONES * u64::from(*c));
        hits | (x.wrapping_sub(ONES) & !x & HIGH)
    })
}

#[inline(always)]
const fn first(hits: u64) -> usize {
    (hits.trailing_zeros() / 8) as usize
}

/// As [`hits`], for every octet that is `c` or no printable ASCII (0x20 to 0x7e).
#[inline(always)]
const fn unprintable(word: u64, c: u8) -> u64 {
    let x = word ^ (ONES * c as u64);
    let below = word.wrapping_sub(ONES * 0x20) & !word;
    let above = (word & !HIGH).wrapping_add(ONES) | word;
    (x.wrapping_sub(ONES) & !x | below | above) & HIGH
}

/// The last `len` octets of `text`, fewer than eight, lowest first, with zeros above them.
#[inline(always)]
fn last_word(text: &[u8], len: usize) -> u64 {
    if let Some(word) = text.last_chunk::<8>() {
        // Two steps: `len` may be 0, and a shift by 64 is none.
        return u64::from_le_bytes(*word) >> 8 >> (8 * (7 - len));
    }
    match (text.first_chunk::<4>(), text.last_chunk::<4>()) {
        (Some(low), Some(high)) => {
            u64::from(u32::from_le_bytes(*low)) | u64::from(u32::from_le_bytes(*high)) << (8 * (len - 4))
        }
        _ => text.iter().rev().fold(0, |word, c| word << 8 | u64::from(*c)),
    }
}

/// Offset of the first octet that `hits` finds, looked for eight octets at a time.
#[inline(always)]
fn search(text: &[u8], hits: impl Fn(u64) -> u64) -> Option<usize> {
    let (words, tail) = text.as_chunks::<8>();
    let mut at = 0;
    for word in words {
        let found = hits(u64::from_le_bytes(*word));
        if found != 0 {
            return Some(at + first(found));
        }
        at += 8;
    }
    // What stands above the text is zero, which may be found.
    Some(first(hits(last_word(text, tail.len())))).filter(|n| *n < tail.len()).map(|n| at + n)
}

/// Offset of the first octet of `text` that is one of `set`, looked for eight octets at a time.
#[inline(always)]
pub fn find<const N: usize>(text: &[u8], set: [u8; N]) -> Option<usize> {
    search(text, |word| hits(word, set))
}

/// Offset of the first octet of `text` that is `c` or no printable ASCII (0x20 to 0x7e): where a quoted text ends, or goes
/// wrong.
#[inline]
pub fn find_or_unprintable(text: &[u8], c: u8) -> Option<usize> {
    search(text, |word| unprintable(word, c))
}

/// The first eight octets of `text` as one number, lowest first, with zeros above them where there are fewer.
#[inline]
pub fn first_word(text: &[u8]) -> u64 {
    match text.first_chunk::<8>() {
        Some(word) => u64::from_le_bytes(*word),
        None => last_word(text, text.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn finds_what_a_plain_search_finds(
            text in proptest::collection::vec(prop_oneof![Just(0u8), Just(1), Just(b','), Just(0x7f), Just(0x80), Just(0x1f), 0x20u8..0x7f, any::<u8>()], 0..70),
            a in any::<u8>(),
        ) {
            let plain = |set: &[u8]| text.iter().position(|c| set.contains(c));
            prop_assert_eq!(find(&text, [a]), plain(&[a]));
            prop_assert_eq!(find(&text, [0]), plain(&[0]));
            prop_assert_eq!(find(&text, [b',', a]), plain(&[b',', a]));
            prop_assert_eq!(find(&text, [0x80, 0, b',']), plain(&[0x80, 0, b',']));
            prop_assert_eq!(find(&text, []), None);
            let printable = text.iter().position(|c| *c == a || !matches!(c, b' '..=b'~'));
            prop_assert_eq!(find_or_unprintable(&text, a), printable);
        }
    }

    #[test]
    fn at_every_place_of_every_length() {
        for len in 0..50 {
            let counted: Vec<u8> = (1..=len as u8).collect();
            let plain = counted.iter().take(8).rev().fold(0, |word, c| word << 8 | u64::from(*c));
            assert_eq!(first_word(&counted), plain);
            let text = vec![b'x'; len];
            assert_eq!(find(&text, [b',']), None);
            for at in 0..len {
                let mut text = text.clone();
                text[at] = b',';
                assert_eq!(find(&text, [b';', b',']), Some(at));
            }
        }
    }
}
