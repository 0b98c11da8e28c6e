//! The four messages: fixed lengths, one datagram each.
//!
//! ```text
//! every one : "PKA1" | type u8 | locator 8 | Nt 16 | ...
//! 1 ask     : zeros up to 190 | MAC 32
//! 2 answer  : Na 16 | sealed 177
//! 3 confirm : MAC 32
//! 4 done    : MAC 32
//! ```
//!
//! No message is longer than the one that it answers, so that nothing is amplified towards a forged source.

/// What a code is found by; tells nothing of it.
pub type Locator = [u8; 8];
/// Nt and Na.
pub type Nonce = [u8; NONCE];

/// Octets of a nonce.
pub const NONCE: usize = 16;
/// Octets of a MAC.
pub const MAC: usize = 32;
const MAGIC: &[u8; 4] = b"PKA1";
const HEAD: usize = 4 + 1 + 8 + NONCE;
/// Octets of an ask and of an answer.
pub const ASK: usize = HEAD + NONCE + super::schedule::SEALED;
/// Likewise.
pub const ANSWER: usize = ASK;
/// Octets of a confirm and of a done.
pub const CONFIRM: usize = HEAD + MAC;
/// Octets of the longest message.
pub const MESSAGE_MAX: usize = ASK;

/// A message, taken apart; nothing in it is verified yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Message<'a> {
    /// The terminal asks.
    Ask {
        /// Which code.
        locator: &'a Locator,
        /// The terminal's nonce.
        nt: &'a Nonce,
        /// Under the code, over everything before it.
        mac: &'a [u8; MAC],
    },
    /// The AuC answers.
    Answer {
        /// Which code.
        locator: &'a Locator,
        /// The terminal's nonce.
        nt: &'a Nonce,
        /// The AuC's.
        na: &'a Nonce,
        /// IDc and Kc.
        sealed: &'a [u8; super::schedule::SEALED],
    },
    /// The terminal has kept its key.
    Confirm {
        /// Which code.
        locator: &'a Locator,
        /// The terminal's nonce.
        nt: &'a Nonce,
        /// Under code, nonces and key.
        mac: &'a [u8; MAC],
    },
    /// The key works.
    Done {
        /// Which code.
        locator: &'a Locator,
        /// The terminal's nonce.
        nt: &'a Nonce,
        /// Under code, nonces and key.
        mac: &'a [u8; MAC],
    },
}

impl<'a> Message<'a> {
    /// Takes a datagram apart; `None` for anything that is no message.
    pub fn read(octets: &'a [u8]) -> Option<Self> {
        let (magic, rest) = octets.split_first_chunk::<4>()?;
        let (kind, rest) = rest.split_first()?;
        let (locator, rest) = rest.split_first_chunk::<8>()?;
        let (nt, rest) = rest.split_first_chunk::<NONCE>()?;
        if magic != MAGIC {
            return None;
        }
        Some(match kind {
            1 => {
                let (zeros, mac) = rest.split_last_chunk::<MAC>()?;
                (octets.len() == ASK && zeros.iter().all(|z| *z == 0)).then_some(Self::Ask { locator, nt, mac })?
            }
            2 => {
                let (na, rest) = rest.split_first_chunk::<NONCE>()?;
                Self::Answer { locator, nt, na, sealed: rest.try_into().ok()? }
            }
            3 => Self::Confirm { locator, nt, mac: rest.try_into().ok()? },
            4 => Self::Done { locator, nt, mac: rest.try_into().ok()? },
            _ => return None,
        })
    }

    /// Which code it is about.
    pub const fn locator(&self) -> &'a Locator {
        match self {
            Self::Ask { locator, .. }
            | Self::Answer { locator, .. }
            | Self::Confirm { locator, .. }
            | Self::Done { locator, .. } => locator,
        }
    }
}

/// The beginning of a message of type `kind`.
pub(super) fn head(kind: u8, locator: &Locator, nt: &Nonce) -> [u8; HEAD] {
    let mut out = [0u8; HEAD];
    out[..4].copy_from_slice(MAGIC);
    out[4] = kind;
    out[5..13].copy_from_slice(locator);
    out[13..].copy_from_slice(nt);
    out
}

/// A locator as it is written: 16 hex digits.
pub fn locator_text(locator: &Locator) -> String {
    locator.iter().map(|octet| format!("{octet:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn no_answer_is_longer_than_what_it_answers() {
        const { assert!(ANSWER <= ASK && ASK == 222 && CONFIRM == 61) };
    }

    proptest! {
        #[test]
        fn any_octets_are_a_message_or_none(
            kind in 0u8..6, rest in proptest::collection::vec(any::<u8>(), 0..260), magic in any::<bool>(),
        ) {
            let mut octets = if magic { b"PKA1".to_vec() } else { b"PKA2".to_vec() };
            octets.push(kind);
            octets.extend(rest);
            if let Some(message) = Message::read(&octets) {
                prop_assert!(magic && (1..=4).contains(&kind));
                prop_assert_eq!(message.locator().as_slice(), &octets[5..13]);
                for n in 0..octets.len() {
                    prop_assert_eq!(Message::read(&octets[..n]), None);
                }
            }
        }
    }
}
