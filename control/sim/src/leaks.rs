//! Looks for key octets where none may be: on every wire, in every text. Each secret is looked for raw, in hex (either
//! case) and in base64 of either alphabet at each of the three alignments that it can have inside something longer.
//!
//! Eight octets of a pattern are looked up at every offset, behind a bitmap that lets almost nothing through, so that
//! scanning costs about a nanosecond an octet; what the lookup finds is compared in full length.

use std::collections::BTreeMap;

/// A secret's name and one spelling of it.
#[derive(Debug, Clone)]
struct Pattern {
    what: String,
    octets: Vec<u8>,
}

/// All secrets of a run.
#[derive(Debug)]
pub struct Leaks {
    bitmap: Vec<u64>,
    by_head: BTreeMap<u64, Vec<Pattern>>,
}

const BITS: u32 = 20;

fn slot(head: u64) -> usize {
    (head.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - BITS)) as usize
}

fn base64(octets: &[u8], skip: usize, url: bool) -> Vec<u8> {
    // Whole characters only: those that hold bits of nothing but the secret.
    let bits: Vec<bool> = octets.iter().flat_map(|o| (0..8).rev().map(move |i| o >> i & 1 == 1)).collect();
    let alphabet: Vec<u8> =
        (b'A'..=b'Z').chain(b'a'..=b'z').chain(b'0'..=b'9').chain(*if url { b"-_" } else { b"+/" }).collect();
    let from = (6 - skip * 8 % 6) % 6;
    bits.get(from..)
        .unwrap_or_default()
        .chunks_exact(6)
        .filter_map(|c| alphabet.get(c.iter().fold(0usize, |n, b| n << 1 | usize::from(*b))).copied())
        .collect()
}

fn hex(octets: &[u8], upper: bool) -> Vec<u8> {
    let text: String = octets.iter().map(|o| format!("{o:02x}")).collect();
    if upper { text.to_uppercase().into() } else { text.into() }
}

impl Default for Leaks {
    fn default() -> Self {
        Self { bitmap: vec![0; 1 << (BITS - 6)], by_head: BTreeMap::new() }
    }
}

impl Leaks {
    /// From now on this is looked for. Secrets have 16 octets or more.
    pub fn watch(&mut self, what: &str, secret: &[u8]) {
        let mut spellings = vec![secret.to_vec(), hex(secret, false), hex(secret, true)];
        for skip in 0..3 {
            spellings.push(base64(secret, skip, true));
            spellings.push(base64(secret, skip, false));
        }
        // What Debug makes of an array.
        let decimal: Vec<String> = secret.iter().map(u8::to_string).collect();
        spellings.push(decimal.join(", ").into());
        spellings.dedup();
        for octets in spellings {
            let Some(head) = octets.first_chunk::<8>().map(|h| u64::from_le_bytes(*h)) else { continue };
            let at = slot(head);
            self.bitmap[at >> 6] |= 1 << (at & 63);
            self.by_head.entry(head).or_default().push(Pattern { what: what.to_owned(), octets });
        }
    }

    /// The name of a secret that these octets hold.
    pub fn find(&self, octets: &[u8]) -> Option<&str> {
        for (at, window) in octets.windows(8).enumerate() {
            let Ok(head) = window.try_into().map(u64::from_le_bytes) else { continue };
            let bit = slot(head);
            if self.bitmap[bit >> 6] >> (bit & 63) & 1 == 0 {
                continue;
            }
            let rest = octets.get(at..).unwrap_or_default();
            let found = self.by_head.get(&head).into_iter().flatten().find(|p| rest.starts_with(&p.octets));
            if let Some(pattern) = found {
                return Some(&pattern.what);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_is_found_at_every_place() {
        let secret: Vec<u8> = (0..32).map(|n| (n * 37 + 11) as u8).collect();
        let mut leaks = Leaks::default();
        leaks.watch("Kc", &secret);
        for pad in 0..5 {
            let mut raw = vec![7; pad];
            raw.extend_from_slice(&secret);
            raw.push(9);
            assert_eq!(leaks.find(&raw), Some("Kc"), "raw");
            let mut text = vec![0; portunus_codec::b64_len(raw.len())];
            portunus_codec::b64_encode(&raw, &mut text);
            assert_eq!(leaks.find(&text), Some("Kc"), "base64url at {pad}");
            let hex: String = raw.iter().map(|o| format!("{o:02x}")).collect();
            assert_eq!(leaks.find(hex.as_bytes()), Some("Kc"), "hex at {pad}");
            assert_eq!(leaks.find(format!("{raw:?}").as_bytes()), Some("Kc"), "decimal");
        }
        assert_eq!(leaks.find(&secret[..31]), None);
        assert_eq!(leaks.find(&[0; 500]), None);
    }
}
