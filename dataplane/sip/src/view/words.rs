//! Recognition of known names in any case, in constant time: a perfect hash over the first and last octets, found by
//! the compiler, and one comparison of machine words. Names are recognised a few hundred times a registration, so
//! this is where the view's time would go.

/// Every letter in lower case. It maps just `A-Z` onto `a-z`; of the octets that it changes otherwise none becomes one
/// that a known name has, save CR (onto `-`), which does not occur within a line.
const LOWER: u64 = 0x2020_2020_2020_2020;

const SLOTS: usize = 256;
const NONE: u8 = u8::MAX;

/// What a name is hashed and compared by: its first and last eight octets, or for shorter ones all of them, some
/// twice.
#[derive(Clone, Copy)]
struct Key(u64, u64);

const fn octet(s: &[u8], i: usize) -> u64 {
    s[i] as u64
}

const fn le(s: &[u8], from: usize, n: usize) -> u64 {
    let mut word = 0;
    let mut i = 0;
    while i < n {
        word |= octet(s, from + i) << (8 * i);
        i += 1;
    }
    word
}

const fn key(s: &[u8]) -> Key {
    let n = s.len();
    match n {
        0 => Key(0, 0),
        1..=3 => Key((octet(s, 0) | octet(s, n / 2) << 8 | octet(s, n - 1) << 16) | LOWER, 0),
        4..=7 => Key((le(s, 0, 4) | le(s, n - 4, 4) << 32) | LOWER, 0),
        _ => Key(le(s, 0, 8) | LOWER, le(s, n - 8, 8) | LOWER),
    }
}

/// As [`key`], with whole loads.
#[inline(always)]
fn key_of(s: &[u8]) -> Key {
    if let (Some(first), Some(last)) = (s.first_chunk::<8>(), s.last_chunk::<8>()) {
        return Key(u64::from_le_bytes(*first) | LOWER, u64::from_le_bytes(*last) | LOWER);
    }
    if let (Some(first), Some(last)) = (s.first_chunk::<4>(), s.last_chunk::<4>()) {
        let (first, last) = (u32::from_le_bytes(*first), u32::from_le_bytes(*last));
        return Key((u64::from(first) | u64::from(last) << 32) | LOWER, 0);
    }
    match s {
        [a] => Key((u64::from(*a) * 0x01_0101) | LOWER, 0),
        [a, b] => Key(u64::from(*a) | u64::from(*b) << 8 | u64::from(*b) << 16 | LOWER, 0),
        [a, b, c] => Key(u64::from(*a) | u64::from(*b) << 8 | u64::from(*c) << 16 | LOWER, 0),
        _ => Key(0, 0),
    }
}

const fn slot(k: Key, len: usize, seed: u64) -> usize {
    ((k.0 ^ k.1.rotate_left(29) ^ len as u64).wrapping_mul(seed) >> 56) as usize
}

/// A table of known names.
pub(crate) struct Words<const N: usize> {
    names: [&'static str; N],
    keys: [Key; N],
    slots: [u8; SLOTS],
    seed: u64,
}

impl<const N: usize> Words<N> {
    /// Finds a seed that gives every name a slot of its own; does not compile where there is none.
    pub(crate) const fn new(names: [&'static str; N]) -> Self {
        assert!(N < NONE as usize);
        let mut keys = [Key(0, 0); N];
        let mut i = 0;
        while i < N {
            keys[i] = key(names[i].as_bytes());
            i += 1;
        }
        let mut seed = 0x9e37_79b9_7f4a_7c15u64;
        let mut tries = 0;
        while tries < 20_000 {
            let mut slots = [NONE; SLOTS];
            let mut placed = 0;
            while placed < N {
                let at = slot(keys[placed], names[placed].len(), seed);
                if slots[at] != NONE {
                    break;
                }
                slots[at] = placed as u8;
                placed += 1;
            }
            if placed == N {
                return Self { names, keys, slots, seed };
            }
            seed = seed.wrapping_mul(0xd134_2543_de82_ef95).wrapping_add(2);
            tries += 1;
        }
        panic!("no seed separates these names");
    }

    /// The index of a name, in any case.
    #[inline(always)]
    pub(crate) fn find(&self, s: &[u8]) -> Option<usize> {
        let k = key_of(s);
        let found = usize::from(*self.slots.get(slot(k, s.len(), self.seed))?);
        let (known, name) = (self.keys.get(found)?, self.names.get(found)?);
        if known.0 != k.0 || known.1 != k.1 || name.len() != s.len() {
            return None;
        }
        // Sixteen octets are compared; the middle of a longer name is compared here.
        if let Some(middle) = s.get(8..s.len().saturating_sub(8)).filter(|m| !m.is_empty())
            && !name.as_bytes().get(8..s.len() - 8).is_some_and(|n| n.eq_ignore_ascii_case(middle))
        {
            return None;
        }
        Some(found)
    }

    /// The name at an index.
    pub(crate) const fn name(&self, index: usize) -> Option<&'static str> {
        if index < N { Some(self.names[index]) } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NAMES: [&str; 9] =
        ["a", "to", "via", "from", "call-id", "expires", "refer-to", "P-Asserted-Identity", "content-length"];
    static WORDS: Words<9> = Words::new(NAMES);

    proptest! {
        #[test]
        fn finds_what_comparison_finds(other in "[ -~]{0,24}", which in 0usize..9, at in 0usize..24, c in any::<u8>()) {
            let slow = |s: &[u8]| NAMES.iter().position(|n| n.as_bytes().eq_ignore_ascii_case(s));
            prop_assert_eq!(WORDS.find(other.as_bytes()), slow(other.as_bytes()));
            let mut near = NAMES[which].as_bytes().to_vec();
            let at = at % near.len();
            near[at] = c;
            // CR, which maps onto the hyphen, never comes here.
            if c != b'\r' {
                prop_assert_eq!(WORDS.find(&near), slow(&near));
            }
            prop_assert_eq!(WORDS.find(NAMES[which].to_uppercase().as_bytes()), Some(which));
        }
    }
}
