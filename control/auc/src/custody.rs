//! The master key, and how records are sealed under it.
//!
//! ```text
//! master key --HKDF--> "portunus wrap"    wraps the two working keys in the store's envelope
//!            |-------> "portunus backup"  seals backups
//!            |-------> "portunus seal"    the working keys of stores made before there were envelopes
//!            \-------> "portunus decoy"
//!
//! working keys: seal   AES-256-GCM-SIV over every stored key, bound to its kind, identity and header
//!               decoy  keys of identities that do not exist
//! ```
//!
//! Where a token holds the master key ([`crate::token`]), it wraps the working keys of the envelope and a key for each
//! backup itself, and stores of the time before there were envelopes are not for it.
//!
//! AES-GCM-SIV, because its nonces are drawn at random and a repeated one costs no key (RFC 8452).

use crate::envelope::Wrapping;
use crate::token::Token;
use aes_gcm_siv::aead::{AeadInPlace as _, KeyInit as _};
use aes_gcm_siv::{Aes256GcmSiv, Nonce, Tag};
use core::fmt;
use portunus_codec::b64_decode;
use portunus_keydist::{Key, Random};
use ring::hkdf;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::sync::Arc;
use zeroize::{Zeroize as _, ZeroizeOnDrop, Zeroizing};

/// The environment variable that may hold the master key.
pub const MASTER_KEY_VARIABLE: &str = "PORTUNUS_MASTER_KEY";
/// Octets that sealing adds: nonce and tag.
pub const SEAL_OVERHEAD: usize = 28;
/// No master key file is longer.
const FILE_MAX: u64 = 1_024;

/// The key that everything else is kept under: 32 octets, erased when dropped, never printed.
#[derive(Clone, ZeroizeOnDrop)]
pub struct MasterKey([u8; 32]);

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterKey(..)")
    }
}

/// Why there is no master key. The configuration's fault, or the host's; the text never holds key material.
#[derive(Debug)]
pub struct CustodyError {
    /// The file, credential or variable.
    pub source: String,
    /// What is wrong with it, and what to do.
    pub what: String,
}

impl fmt::Display for CustodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "master key from {}: {}", self.source, self.what)
    }
}

impl core::error::Error for CustodyError {}

fn fault(source: impl fmt::Display, what: impl fmt::Display) -> CustodyError {
    CustodyError { source: source.to_string(), what: what.to_string() }
}

const FORMS: &str = "it must be 32 octets: raw, as 64 hex digits, or as base64";

impl MasterKey {
    /// Takes 32 random octets over.
    pub fn new(octets: [u8; 32]) -> Self {
        Self(octets)
    }

    /// From text: 64 hex digits of either case, or base64 (either alphabet, padded or not). `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim_ascii();
        let mut octets = [0u8; 32];
        if text.len() == 64 {
            let lower = Zeroizing::new(text.to_ascii_lowercase());
            return portunus_codec::hex_decode::<32>(lower.as_bytes()).map(Self);
        }
        let bare = text.strip_suffix('=').unwrap_or(text);
        let url = Zeroizing::new(bare.replace('+', "-").replace('/', "_"));
        (b64_decode(url.as_bytes(), &mut octets) == Some(32)).then(|| Self(octets))
    }

    /// From a file that nobody but its owner can read, the owner being the one who runs this or root.
    ///
    /// # Errors
    /// [`CustodyError`]: the file cannot be read, others can read it, somebody else owns it, or it holds no key.
    pub fn from_file(path: &Path) -> Result<Self, CustodyError> {
        Self::read(&mut private_file(path)?, &path.display())
    }

    /// From a systemd credential (`LoadCredential=`, `LoadCredentialEncrypted=`): the file `name` in
    /// `$CREDENTIALS_DIRECTORY`, which systemd lets nobody else read.
    ///
    /// # Errors
    /// [`CustodyError`]: there is no such directory or file, or it holds no key.
    pub fn from_credential(name: &str) -> Result<Self, CustodyError> {
        Self::read(&mut credential_file(name)?, &format!("credential {name}"))
    }

    /// From an environment variable, by custom [`MASTER_KEY_VARIABLE`], as hex or base64.
    ///
    /// # Errors
    /// [`CustodyError`]: it is not set or holds no key.
    pub fn from_environment(variable: &str) -> Result<Self, CustodyError> {
        let at = format!("${variable}");
        let text = Zeroizing::new(std::env::var(variable).map_err(|_| fault(&at, "not set"))?);
        Self::parse(&text).ok_or_else(|| fault(&at, FORMS))
    }

    fn read(file: &mut std::fs::File, at: &dyn fmt::Display) -> Result<Self, CustodyError> {
        let octets = short(file, at)?;
        if let Ok(raw) = <[u8; 32]>::try_from(octets.as_slice()) {
            return Ok(Self(raw));
        }
        core::str::from_utf8(&octets).ok().and_then(Self::parse).ok_or_else(|| fault(at, FORMS))
    }

    /// Makes a key and writes it as hex to a new file of mode 0600; an existing file is left alone.
    ///
    /// # Errors
    /// [`CustodyError`]: the file exists or cannot be made.
    pub fn create_file(path: &Path, rng: &mut dyn Random) -> Result<Self, CustodyError> {
        let at = path.display();
        let mut octets = [0u8; 32];
        rng.fill(&mut octets);
        let key = Self(octets);
        octets.zeroize();
        let mut hex = Zeroizing::new([b'\n'; 65]);
        portunus_codec::hex_encode(&key.0, &mut hex[..64]);
        let mut options = std::fs::OpenOptions::new();
        let mut file = options.write(true).create_new(true).mode(0o600).open(path).map_err(|e| fault(&at, e))?;
        file.write_all(hex.as_slice()).and_then(|()| file.sync_all()).map_err(|e| fault(&at, e))?;
        Ok(key)
    }

    /// A key for one purpose.
    pub(crate) fn derive(&self, label: &[u8]) -> Zeroizing<[u8; 32]> {
        struct Len;
        impl hkdf::KeyType for Len {
            fn len(&self) -> usize {
                32
            }
        }
        let mut out = Zeroizing::new([0u8; 32]);
        let prk = hkdf::Salt::new(hkdf::HKDF_SHA256, b"portunus custody").extract(&self.0);
        let filled = prk.expand(&[label], Len).and_then(|okm| okm.fill(out.as_mut_slice()));
        debug_assert!(filled.is_ok(), "32 octets are within HKDF's limit");
        out
    }
}

/// Opens a file that nobody but its owner can read, the owner being the one who runs this or root.
fn private_file(path: &Path) -> Result<std::fs::File, CustodyError> {
    let at = path.display();
    // Opened first and asked afterwards, so that what is checked is what is read.
    let file = std::fs::File::open(path).map_err(|e| fault(&at, e))?;
    let meta = file.metadata().map_err(|e| fault(&at, e))?;
    if !meta.is_file() {
        return Err(fault(&at, "not a file"));
    }
    if meta.mode() & 0o077 != 0 {
        let mode = meta.mode() & 0o777;
        let what = format!("mode {mode:04o} lets others in: chmod 600 it, and consider what is in it known");
        return Err(fault(&at, what));
    }
    if meta.uid() != 0 && meta.uid() != rustix::process::getuid().as_raw() {
        return Err(fault(&at, format!("user {} owns it, not the one who runs this", meta.uid())));
    }
    Ok(file)
}

fn credential_file(name: &str) -> Result<std::fs::File, CustodyError> {
    let at = format!("credential {name}");
    let Some(folder) = std::env::var_os("CREDENTIALS_DIRECTORY") else {
        return Err(fault(at, "$CREDENTIALS_DIRECTORY is not set: is this run by systemd with LoadCredential=?"));
    };
    if name.is_empty() || name.contains('/') {
        return Err(fault(at, "a credential's name has no slash"));
    }
    std::fs::File::open(Path::new(&folder).join(name)).map_err(|e| fault(&at, e))
}

fn short(file: &mut std::fs::File, at: &dyn fmt::Display) -> Result<Zeroizing<Vec<u8>>, CustodyError> {
    // Room enough from the start: growing would leave copies behind.
    let mut octets = Zeroizing::new(Vec::with_capacity(FILE_MAX as usize + 1));
    file.take(FILE_MAX).read_to_end(&mut octets).map_err(|e| fault(at, e))?;
    Ok(octets)
}

fn text_of(file: &mut std::fs::File, at: &dyn fmt::Display) -> Result<Zeroizing<String>, CustodyError> {
    let octets = short(file, at)?;
    let text = core::str::from_utf8(&octets).map_err(|_| fault(at, "not text"))?;
    Ok(Zeroizing::new(text.to_owned()))
}

/// A short text from a file that nobody but its owner can read.
pub(crate) fn private_text(path: &Path) -> Result<Zeroizing<String>, CustodyError> {
    text_of(&mut private_file(path)?, &path.display())
}

/// A short text from a systemd credential.
pub(crate) fn credential_text(name: &str) -> Result<Zeroizing<String>, CustodyError> {
    text_of(&mut credential_file(name)?, &format!("credential {name}"))
}

/// What everything else is kept under: a key that is held here, or one that a token holds.
pub trait Master: fmt::Debug {
    /// What it is to envelopes and backups.
    fn wrapping(&self) -> Wrapping;

    /// The secret behind the keys of nobody, for a store that is new: the nodes of one master key tell the same of who
    /// does not exist.
    ///
    /// # Errors
    /// [`CustodyError`]: the token does not answer.
    fn decoy(&self) -> Result<Key, CustodyError>;

    /// The key itself, where it is held here.
    fn held(&self) -> Option<&MasterKey>;
}

impl Master for MasterKey {
    fn wrapping(&self) -> Wrapping {
        Wrapping::new(self)
    }

    fn decoy(&self) -> Result<Key, CustodyError> {
        Ok(Custody::new(self).decoy())
    }

    fn held(&self) -> Option<&MasterKey> {
        Some(self)
    }
}

impl Master for Arc<Token> {
    fn wrapping(&self) -> Wrapping {
        Wrapping::of_token(self)
    }

    fn decoy(&self) -> Result<Key, CustodyError> {
        Token::decoy(self)
    }

    fn held(&self) -> Option<&MasterKey> {
        None
    }
}

/// What opens and closes records: the working keys. The master key itself is not kept.
#[derive(Clone)]
pub struct Custody {
    seal: Zeroizing<[u8; 32]>,
    decoy: Key,
}

impl fmt::Debug for Custody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Custody(..)")
    }
}

/// A record did not open: sealed under another master key, moved from another identity, or altered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sealed;

impl Custody {
    /// The working keys that follow from a master key alone.
    pub fn new(master: &MasterKey) -> Self {
        Self { seal: master.derive(b"portunus seal"), decoy: Key::new(*master.derive(b"portunus decoy")) }
    }

    /// A new key for sealing, at random, beside the secret behind the keys of nobody. That one must stay: an identity
    /// that does not exist must not be told by a key that changes when others do not.
    pub(crate) fn renewed(decoy: Key, rng: &mut dyn Random) -> Self {
        let mut seal = Zeroizing::new([0u8; 32]);
        rng.fill(seal.as_mut_slice());
        Self { seal, decoy }
    }

    /// Both working keys, to be wrapped.
    pub(crate) fn to_octets(&self) -> Zeroizing<[u8; 64]> {
        let mut out = Zeroizing::new([0u8; 64]);
        out[..32].copy_from_slice(self.seal.as_slice());
        out[32..].copy_from_slice(self.decoy.expose());
        out
    }

    /// From what [`Custody::to_octets`] gave.
    pub(crate) fn from_octets(octets: &[u8]) -> Option<Self> {
        let (seal, decoy) = octets.split_first_chunk::<32>()?;
        let decoy = Zeroizing::new(<[u8; 32]>::try_from(decoy).ok()?);
        Some(Self { seal: Zeroizing::new(*seal), decoy: Key::new(*decoy) })
    }

    /// The secret behind the keys of identities that do not exist.
    pub fn decoy(&self) -> Key {
        self.decoy.clone()
    }

    /// Seals `plain` for the place that `bound` names: nonce, ciphertext, tag.
    pub fn seal(&self, bound: &[u8], plain: &[u8], rng: &mut dyn Random) -> Vec<u8> {
        seal(&self.seal, bound, plain, rng)
    }

    /// Opens what [`Custody::seal`] made for the same place.
    ///
    /// # Errors
    /// [`Sealed`].
    pub fn open(&self, bound: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, Sealed> {
        open(&self.seal, bound, sealed)
    }
}

/// Seals `plain` for the place that `bound` names under a key: nonce, ciphertext, tag.
pub(crate) fn seal(key: &[u8; 32], bound: &[u8], plain: &[u8], rng: &mut dyn Random) -> Vec<u8> {
    let mut nonce = [0u8; 12];
    rng.fill(&mut nonce);
    let mut out = Vec::with_capacity(plain.len() + SEAL_OVERHEAD);
    out.extend_from_slice(&nonce);
    out.extend_from_slice(plain);
    let Some(text) = out.get_mut(12..) else { return Vec::new() };
    match Aes256GcmSiv::new(key.into()).encrypt_in_place_detached(Nonce::from_slice(&nonce), bound, text) {
        Ok(tag) => out.extend_from_slice(&tag),
        // Records are far below the cipher's limit of 64 GiB.
        Err(_) => out.zeroize(),
    }
    out
}

/// Opens what [`seal`] made for the same place under the same key.
pub(crate) fn open(key: &[u8; 32], bound: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, Sealed> {
    let (nonce, rest) = sealed.split_at_checked(12).ok_or(Sealed)?;
    let (text, tag) = rest.split_at_checked(rest.len().wrapping_sub(16)).ok_or(Sealed)?;
    let mut text = Zeroizing::new(text.to_vec());
    let tag = Tag::from_slice(tag);
    let cipher = Aes256GcmSiv::new(key.into());
    let opened = cipher.decrypt_in_place_detached(Nonce::from_slice(nonce), bound, &mut text, tag);
    opened.map(|()| text).map_err(|_| Sealed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use portunus_keydist::SystemRandom;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_seal_opens_in_its_place_only_and_altered_nowhere() {
        let custody = Custody::new(&MasterKey::new([7; 32]));
        let sealed = custody.seal(b"here", b"the key", &mut SystemRandom::new());
        assert_eq!(custody.open(b"here", &sealed).unwrap().as_slice(), b"the key");
        assert_eq!(custody.open(b"there", &sealed), Err(Sealed));
        assert_eq!(Custody::new(&MasterKey::new([8; 32])).open(b"here", &sealed), Err(Sealed));
        for bit in 0..sealed.len() * 8 {
            let mut bad = sealed.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(custody.open(b"here", &bad), Err(Sealed));
        }
        for n in 0..sealed.len() {
            assert_eq!(custody.open(b"here", &sealed[..n]), Err(Sealed));
        }
        assert!(!sealed.windows(7).any(|w| w == b"the key"));
    }

    #[test]
    fn every_spelling_of_a_key_is_read() {
        let key = MasterKey::new(core::array::from_fn(|i| (i as u8).wrapping_mul(251)));
        let hex: String = key.0.iter().map(|b| format!("{b:02X}")).collect();
        for text in [hex.clone(), hex.to_lowercase() + "\n", "APv28ezn4t3Y087JxL+6tbCrpqGcl5KNiIN+eXRvamU=".into()] {
            assert_eq!(MasterKey::parse(&text).unwrap().0, key.0, "{text}");
        }
        for text in ["", "00", &hex[..63], "not a key at all, though it is long enough for one, really."] {
            assert!(MasterKey::parse(text).is_none());
        }
    }

    #[test]
    fn a_file_that_others_can_read_is_refused_and_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("master");
        let made = MasterKey::create_file(&path, &mut SystemRandom::new()).unwrap();
        assert_eq!(MasterKey::from_file(&path).unwrap().0, made.0);
        assert!(MasterKey::create_file(&path, &mut SystemRandom::new()).is_err(), "an existing key is left alone");
        for mode in [0o640, 0o604, 0o666, 0o610] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            let text = MasterKey::from_file(&path).unwrap_err().to_string();
            assert!(text.contains("chmod 600") && text.contains("master"), "{text}");
        }
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o400)).unwrap();
        assert!(MasterKey::from_file(&path).is_ok());
        std::fs::write(folder.path().join("short"), "abcd").unwrap();
        std::fs::set_permissions(folder.path().join("short"), std::fs::Permissions::from_mode(0o600)).unwrap();
        let text = MasterKey::from_file(&folder.path().join("short")).unwrap_err().to_string();
        assert!(text.contains("32 octets") && !text.contains("abcd"), "{text}");
        assert!(MasterKey::from_file(folder.path()).is_err());
        assert!(MasterKey::from_credential("../master").is_err());
    }

    #[test]
    fn nothing_prints_a_key() {
        let master = MasterKey::new([0x5a; 32]);
        let text = format!("{master:?} {:?}", Custody::new(&master));
        assert_eq!(text, "MasterKey(..) Custody(..)");
    }
}
