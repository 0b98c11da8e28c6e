//! The word of the digest profile: RFC 7616 section 3.4.1 without qop, so that everything it depends on is known when
//! the challenge is made (spec section 4, stock phones).

use md5::{Digest as _, Md5};
use portunus_aaa::{DigestAlgorithm, DigestWord};
use portunus_codec::{b64_encode, hex_encode};
use portunus_keydist::ident::Rand;
use ring::digest::{SHA256, digest};
use zeroize::Zeroizing;

/// The method that every registration's digest covers.
const METHOD: &[u8] = b"REGISTER";

/// H of the profile: 16 or 32 octets, in the first of a 32-octet room.
fn hash(algorithm: DigestAlgorithm, parts: &[&[u8]]) -> Zeroizing<[u8; 32]> {
    let joined = Zeroizing::new(parts.join(&b':'));
    let mut out = Zeroizing::new([0u8; 32]);
    match algorithm {
        DigestAlgorithm::Sha256 => out.copy_from_slice(digest(&SHA256, &joined).as_ref()),
        DigestAlgorithm::Md5 => out[..16].copy_from_slice(&Md5::digest(joined.as_slice())),
    }
    out
}

/// H in hex: 32 or 64 digits of a 64-octet room.
fn hex(algorithm: DigestAlgorithm, parts: &[&[u8]]) -> Zeroizing<[u8; 64]> {
    let mut out = Zeroizing::new([0u8; 64]);
    hex_encode(&hash(algorithm, parts)[..algorithm.word_len()], out.as_mut_slice());
    out
}

/// The response that answers the challenge `rand` for a REGISTER to `uri`.
pub fn word(
    algorithm: DigestAlgorithm,
    username: &str,
    realm: &str,
    secret: &[u8],
    uri: &str,
    rand: &Rand,
) -> DigestWord {
    let digits = algorithm.word_len() * 2;
    let ha1 = hex(algorithm, &[username.as_bytes(), realm.as_bytes(), secret]);
    let ha2 = hex(algorithm, &[METHOD, uri.as_bytes()]);
    let mut nonce = [0u8; 22];
    b64_encode(rand, &mut nonce);
    let octets = hash(algorithm, &[&ha1[..digits], &nonce, &ha2[..digits]]);
    match algorithm {
        DigestAlgorithm::Sha256 => DigestWord::Sha256(*octets),
        DigestAlgorithm::Md5 => DigestWord::Md5(core::array::from_fn(|i| octets[i])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers computed apart from this code, with Python's hashlib.
    #[test]
    fn known_answers() {
        let rand = [0x11; 16];
        let of = |a| word(a, "alice@example.test", "example.test", b"wonderland", "sip:example.test", &rand);
        let text = |w: DigestWord| w.as_bytes().iter().map(|b| format!("{b:02x}")).collect::<String>();
        assert_eq!(
            text(of(DigestAlgorithm::Sha256)),
            "f94858df6b4b16912da6d80e628c4a4ff9207cd55d9f2d06aa79b9999ef97311"
        );
        assert_eq!(text(of(DigestAlgorithm::Md5)), "5d18069895faba93e5578b0c7c15eb06");
    }
}
