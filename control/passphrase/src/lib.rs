//! Kc from a passphrase that a user enters, at the AuC and at the terminal alike, with nothing exchanged between them.
//! `dataplane/keydist/PROTOCOL.md` ("Kc from a passphrase") says why it is made so.
//!
//! ```text
//! passphrase --prepare (RFC 8265)--> judge (at least 10^12 guesses) --> Argon2id --> Kc, 32 octets
//! salt       = hex(SHA-256("PKD1 passphrase 1" || lp(IDc) || lp(realm)))
//! parameters = RFC 9106 section 4, second choice: 64 MiB, 3 passes, 4 lanes, version 0x13
//! ```
//!
//! Deliberately absent: a way around the judgement. Both ends refuse what is weak, so that neither provisions it.

use argon2::{Algorithm, Argon2, Block, Params, Version};
use core::fmt;
use ring::digest;
use unicode_normalization::UnicodeNormalization as _;
use zeroize::{Zeroize as _, Zeroizing};

/// Memory in KiB.
pub const MEMORY_KIB: u32 = 65_536;
/// Passes over the memory.
pub const PASSES: u32 = 3;
/// Lanes.
pub const LANES: u32 = 4;
/// Begins what the salt is made of; its number changes with anything that changes the key.
pub const LABEL: &[u8] = b"PKD1 passphrase 1";
/// Fewest guesses, as a power of ten, that a passphrase has to withstand.
pub const GUESSES_LOG10: f64 = 12.0;
/// Longest passphrase in octets, and the shortest in characters.
pub const OCTETS_MAX: usize = 256;
const CHARACTERS_MIN: usize = 12;

/// Why a passphrase makes no key. The passphrase is in no text of it.
#[derive(Debug, Clone, PartialEq)]
pub enum Refused {
    /// Nothing but white space.
    Empty,
    /// More than [`OCTETS_MAX`] octets.
    Long,
    /// A control character in it: nobody can be sure to type it again.
    Control,
    /// It would be guessed.
    Weak {
        /// About so many guesses find it, as a power of ten.
        log10: f64,
        /// What makes it weak, where that is known.
        because: Option<String>,
    },
    /// There is no memory for Argon2id.
    Memory,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("the passphrase is empty"),
            Self::Long => write!(f, "the passphrase is longer than {OCTETS_MAX} octets"),
            Self::Control => f.write_str("the passphrase has a control character in it"),
            Self::Weak { log10, because } => {
                write!(f, "the passphrase is weak: about 10^{} guesses find it", log10.floor())?;
                if let Some(because) = because {
                    write!(f, " ({})", because.trim_end_matches('.'))?;
                }
                write!(f, "; at least 10^{GUESSES_LOG10} and {CHARACTERS_MIN} characters are needed")
            }
            Self::Memory => write!(f, "no {MEMORY_KIB} KiB of memory for Argon2id"),
        }
    }
}

impl core::error::Error for Refused {}

impl Refused {
    /// What to do about it.
    pub const fn next(&self) -> &'static str {
        match self {
            Self::Memory => "free memory, or take the key itself instead of a passphrase",
            Self::Control => "type it anew, without tabs and the like",
            Self::Long => "a sentence is enough",
            Self::Empty | Self::Weak { .. } => {
                "take five or more words drawn at random, which belong neither together nor to the user; or give the \
                 terminal a random key (`portunus key add --out`)"
            }
        }
    }
}

/// A passphrase as everybody types it: every kind of space a plain one, composed characters (RFC 8265, OpaqueString),
/// without white space around it.
fn prepare(passphrase: &str) -> Result<Zeroizing<String>, Refused> {
    let trimmed = passphrase.trim();
    if trimmed.is_empty() {
        return Err(Refused::Empty);
    }
    if trimmed.len() > OCTETS_MAX {
        return Err(Refused::Long);
    }
    if trimmed.chars().any(char::is_control) {
        return Err(Refused::Control);
    }
    // Composing never makes a text three times as long (Unicode Annex 15), so that nothing is left behind by growing.
    let mut out = Zeroizing::new(String::with_capacity(3 * OCTETS_MAX));
    out.extend(trimmed.chars().map(|c| if c.is_whitespace() { ' ' } else { c }).nfc());
    Ok(out)
}

/// Says whether a passphrase would make a key, without making it.
///
/// # Errors
/// [`Refused`].
pub fn check(passphrase: &str, idc: &str, realm: &str) -> Result<(), Refused> {
    judge(&prepare(passphrase)?, idc, realm)
}

fn judge(prepared: &str, idc: &str, realm: &str) -> Result<(), Refused> {
    // What everybody knows of the terminal helps whoever guesses.
    let known = idc.split(['@', '.', ':', '-', '_']).chain([idc, realm]).filter(|word| !word.is_empty());
    let known: Vec<&str> = known.collect();
    // Spaces between words are no riddle, and are not counted as one.
    let closed = Zeroizing::new(prepared.split(' ').collect::<String>());
    let found = [prepared, &closed].map(|text| zxcvbn::zxcvbn(text, &known));
    let log10 = found.iter().map(parts_log10).fold(f64::INFINITY, f64::min);
    if log10 >= GUESSES_LOG10 && prepared.chars().count() >= CHARACTERS_MIN {
        return Ok(());
    }
    let warning = found.iter().find_map(|found| found.feedback()?.warning());
    Err(Refused::Weak { log10, because: warning.map(|warning| warning.to_string()) })
}

/// Guesses for a passphrase whose parts are guessed one by one, as a power of ten. The estimator's own figure supposes
/// besides that nobody knows into how many parts it falls; of passphrases everybody does.
fn parts_log10(found: &zxcvbn::Entropy) -> f64 {
    let parts = found.sequence().iter().map(|part| (part.guesses.unwrap_or(1).max(1) as f64).log10());
    parts.sum::<f64>().min(found.guesses_log10())
}

/// The salt: unlike for every terminal of every realm, and known to both ends without a word between them.
fn salt(idc: &str, realm: &str) -> String {
    let realm = realm.to_ascii_lowercase();
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(LABEL);
    for part in [idc, &realm] {
        context.update(&u16::try_from(part.len()).unwrap_or(u16::MAX).to_be_bytes());
        context.update(part.as_bytes());
    }
    context.finish().as_ref().iter().map(|octet| format!("{octet:02x}")).collect()
}

/// Kc of a terminal from its user's passphrase. Takes a fraction of a second and 64 MiB, which are erased.
///
/// # Errors
/// [`Refused`].
pub fn derive(passphrase: &str, idc: &str, realm: &str) -> Result<Zeroizing<[u8; 32]>, Refused> {
    let prepared = prepare(passphrase)?;
    judge(&prepared, idc, realm)?;
    let params = Params::new(MEMORY_KIB, PASSES, LANES, Some(32)).map_err(|_| Refused::Memory)?;
    let mut blocks: Vec<Block> = Vec::new();
    blocks.try_reserve_exact(params.block_count()).map_err(|_| Refused::Memory)?;
    blocks.resize(params.block_count(), Block::default());
    let mut key = Zeroizing::new([0u8; 32]);
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let salt = salt(idc, realm);
    let made =
        argon2.hash_password_into_with_memory(prepared.as_bytes(), salt.as_bytes(), key.as_mut_slice(), &mut blocks);
    blocks.iter_mut().for_each(|block| block.zeroize());
    made.map(|()| key).map_err(|_| Refused::Memory)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;
    use std::process::{Command, Stdio};

    const ALICE: &str = "alice@example.test";
    const REALM: &str = "example.test";
    const GOOD: &str = "gravel otter monsoon thimble quartz";

    fn hex(octets: &[u8]) -> String {
        octets.iter().map(|o| format!("{o:02x}")).collect()
    }

    /// The reference implementation's own program, from Debian's package `argon2`.
    fn reference(passphrase: &str, salt: &str) -> String {
        let (memory, passes, lanes) = (MEMORY_KIB.to_string(), PASSES.to_string(), LANES.to_string());
        let mut command = Command::new("argon2");
        command.args([salt, "-id", "-t", &passes, "-k", &memory, "-p", &lanes, "-l", "32", "-v", "13", "-r"]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("argon2 is installed");
        child.stdin.take().expect("a pipe").write_all(passphrase.as_bytes()).expect("written");
        let out = child.wait_with_output().expect("it ends");
        String::from_utf8(out.stdout).expect("hex").trim().to_owned()
    }

    #[test]
    fn the_reference_implementation_makes_the_same_key() {
        for (idc, realm) in [(ALICE, REALM), ("gw1.example.test", "Example.TEST"), ("4711", REALM)] {
            let key = derive(GOOD, idc, realm).unwrap();
            assert_eq!(hex(key.as_slice()), reference(GOOD, &salt(idc, realm)), "{idc} of {realm}");
        }
    }

    #[test]
    fn the_answers_of_the_protocol_document() {
        let text = include_str!("../../../dataplane/keydist/PROTOCOL.md");
        let (salt, key) = (salt(ALICE, REALM), hex(derive(GOOD, ALICE, REALM).unwrap().as_slice()));
        for known in [GOOD, &salt, &key] {
            assert!(text.contains(known), "{known}");
        }
    }

    #[test]
    fn one_passphrase_is_another_key_for_everybody_else_and_however_it_is_typed_the_same() {
        let key = derive(GOOD, ALICE, REALM).unwrap();
        assert_ne!(derive(GOOD, "bob@example.test", REALM).unwrap(), key);
        assert_ne!(derive(GOOD, ALICE, "example.com").unwrap(), key);
        for same in ["  gravel otter monsoon thimble quartz\n", "gravel\u{a0}otter monsoon\u{2003}thimble quartz"] {
            assert_eq!(derive(same, ALICE, "Example.Test").unwrap(), key);
        }
        let composed = derive("gr\u{e4}vel otter monsoon thimble quartz", ALICE, REALM).unwrap();
        assert_eq!(derive("gra\u{308}vel otter monsoon thimble quartz", ALICE, REALM).unwrap(), composed);
        assert_ne!(composed, key);
    }

    #[test]
    fn what_would_be_guessed_is_refused_with_the_reason() {
        for weak in [
            "iloveyou2",
            "Tr0ub4dor&3",
            "qwertyuiop1234",
            "aaaaaaaaaaaaaaaaaaaaaaaaa",
            "alice@example.test",
            "alice example test alice",
            "alice example 2026",
            "one two three four five",
            "i love my little dog",
            "correct horse",
            "20261127",
            "\u{4e00}\u{4e8c}",
        ] {
            let refused = derive(weak, ALICE, REALM).unwrap_err();
            assert!(matches!(refused, Refused::Weak { .. }), "{weak}: {refused:?}");
            let text = refused.to_string();
            assert!(text.contains("weak") && !text.contains(weak) && refused.next().contains("at random"), "{text}");
        }
        for good in [GOOD, "otter monsoon thimble quartz", "Vq7#pLw2!xRb9z", "der Otter quakt im Monsun Trompete"] {
            assert_eq!(check(good, ALICE, REALM), Ok(()), "{good}");
        }
        assert_eq!(derive(" \t", ALICE, REALM), Err(Refused::Empty));
        assert_eq!(derive("gravel otter\tmonsoon thimble", ALICE, REALM), Err(Refused::Control));
        assert_eq!(derive(&"x".repeat(257), ALICE, REALM), Err(Refused::Long));
        assert!(derive("password1", ALICE, REALM).unwrap_err().to_string().contains("common"));
    }
}
