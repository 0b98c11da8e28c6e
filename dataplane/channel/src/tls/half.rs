//! One direction of a connection after its handshake: the traffic secret and what follows from it (RFC 8446 sections 5.2,
//! 5.3, 7.2 and 7.3).

use ring::aead::{self, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::hkdf::{self, HKDF_SHA256, KeyType};
use zeroize::{Zeroize, ZeroizeOnDrop};

/// Octets of a secret of SHA-256.
pub(super) const SECRET_LEN: usize = 32;
/// Octets of a record's header.
pub(super) const HEADER: usize = 5;
/// Octets of a tag.
pub(super) const TAG: usize = 16;
/// Octets of plaintext in a record, without its content type.
pub(super) const PLAIN_MAX: usize = 1 << 14;
const IV_LEN: usize = 12;
const KEY_MAX: usize = 32;
/// Records that leave under one key. RFC 8446 section 5.5 allows AES-GCM some 24 million of full size.
pub(super) const RECORDS_MAX: u64 = 1 << 24;

/// The cipher of the suite that was agreed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cipher {
    Aes128Gcm,
    ChaCha20Poly1305,
}

impl Cipher {
    /// Of a suite's name. Both suites that are offered hash with SHA-256.
    pub(super) fn of_suite(name: &str) -> Option<Self> {
        match name {
            "TLS_AES_128_GCM_SHA256" => Some(Self::Aes128Gcm),
            "TLS_CHACHA20_POLY1305_SHA256" => Some(Self::ChaCha20Poly1305),
            _ => None,
        }
    }

    fn algorithm(self) -> &'static aead::Algorithm {
        match self {
            Self::Aes128Gcm => &aead::AES_128_GCM,
            Self::ChaCha20Poly1305 => &aead::CHACHA20_POLY1305,
        }
    }
}

/// A length to expand to.
struct Octets(usize);

impl KeyType for Octets {
    fn len(&self) -> usize {
        self.0
    }
}

/// HKDF-Expand-Label without context (section 7.1).
fn expand(secret: &[u8; SECRET_LEN], label: &[u8], out: &mut [u8]) -> Option<()> {
    let len = u16::try_from(out.len()).ok()?.to_be_bytes();
    let named = u8::try_from(b"tls13 ".len() + label.len()).ok()?;
    let info: [&[u8]; 5] = [&len, &[named], b"tls13 ", label, &[0]];
    let secret = hkdf::Prk::new_less_safe(HKDF_SHA256, secret);
    secret.expand(&info, Octets(out.len())).and_then(|okm| okm.fill(out)).ok()
}

/// The secret of a direction, its key, and how many records it has protected. Erased when dropped.
#[derive(Zeroize, ZeroizeOnDrop)]
pub(super) struct Half {
    #[zeroize(skip)]
    cipher: Cipher,
    secret: [u8; SECRET_LEN],
    key: [u8; KEY_MAX],
    iv: [u8; IV_LEN],
    pub(super) records: u64,
}

impl Half {
    /// `None` never happens with lengths that are constant.
    pub(super) fn new(cipher: Cipher, secret: &[u8; SECRET_LEN]) -> Option<Self> {
        let mut half = Self { cipher, secret: *secret, key: [0; KEY_MAX], iv: [0; IV_LEN], records: 0 };
        half.rekey()?;
        Some(half)
    }

    fn rekey(&mut self) -> Option<()> {
        let len = self.cipher.algorithm().key_len();
        expand(&self.secret, b"key", self.key.get_mut(..len)?)?;
        expand(&self.secret, b"iv", &mut self.iv)?;
        self.records = 0;
        Some(())
    }

    /// The next secret (section 7.2).
    pub(super) fn update(&mut self) -> Option<()> {
        let mut next = [0; SECRET_LEN];
        expand(&self.secret, b"traffic upd", &mut next)?;
        self.secret.copy_from_slice(&next);
        next.zeroize();
        self.rekey()
    }

    /// The cipher ready for the next record, and its nonce. The schedule of `ring` is larger than all the rest: it is made
    /// for each record.
    fn next(&mut self) -> Option<(LessSafeKey, Nonce)> {
        let algorithm = self.cipher.algorithm();
        let key = UnboundKey::new(algorithm, self.key.get(..algorithm.key_len())?).ok()?;
        let mut nonce = self.iv;
        let number = self.records.to_be_bytes();
        nonce.iter_mut().rev().zip(number.iter().rev()).for_each(|(place, octet)| *place ^= octet);
        self.records = self.records.checked_add(1)?;
        Some((LessSafeKey::new(key), Nonce::assume_unique_for_key(nonce)))
    }

    /// Verifies and deciphers the body of a record in place; the octets of plaintext, content type and padding among them.
    /// `None`: it does not verify.
    pub(super) fn open(&mut self, header: [u8; HEADER], body: &mut [u8]) -> Option<usize> {
        let (key, nonce) = self.next()?;
        Some(key.open_in_place(nonce, Aad::from(header), body).ok()?.len())
    }

    /// Appends a record of this content to `out`.
    pub(super) fn seal(&mut self, kind: u8, content: &[u8], out: &mut Vec<u8>) -> Option<()> {
        let len = u16::try_from(content.len() + 1 + TAG).ok()?.to_be_bytes();
        let header = [super::records::APPLICATION_DATA, 3, 3, len[0], len[1]];
        let (key, nonce) = self.next()?;
        out.extend_from_slice(&header);
        let from = out.len();
        out.extend_from_slice(content);
        out.push(kind);
        let tag = key.seal_in_place_separate_tag(nonce, Aad::from(header), out.get_mut(from..)?).ok()?;
        out.extend_from_slice(tag.as_ref());
        Some(())
    }
}
