//! What follows from a code: its locator, the MACs, and the key under which IDc and Kc travel.
//!
//! ```text
//! PRK      = HKDF-Extract(salt "PKA1", the code's first 25 characters)
//! locator  = HKDF-Expand(PRK, "PKA1 locator", 8)
//! K_ask    = HKDF-Expand(PRK, "PKA1 ask", 32)
//! K_answer = HKDF-Expand(PRK, "PKA1 answer" || Nt || Na, 32)
//! K_confirm, K_done = HKDF-Expand(PRK, "PKA1 confirm" or "PKA1 done" || Nt || Na || Kc, 32)
//! ```

use super::message::{ANSWER, ASK, CONFIRM, Locator, MAC, NONCE, Nonce, head};
use crate::ident::{IDC_MAX, Idc};
use crate::schedule::{Key, words_equal};
use core::fmt;
use ring::{aead, hkdf, hmac};
use zeroize::{Zeroize as _, ZeroizeOnDrop};

/// Octets in which an IDc travels, whatever its length: so that no length tells whose key it is.
pub const IDC_ROOM: usize = IDC_MAX;
const PLAIN: usize = 32 + 1 + IDC_ROOM;
/// Octets of what is sealed in an answer.
pub(super) const SEALED: usize = PLAIN + 16;

/// PRK of a code: what the AuC keeps of it, sealed, and the terminal while it redeems. Erased when dropped, never
/// printed.
#[derive(Clone, PartialEq, Eq, ZeroizeOnDrop)]
pub struct CodeKey([u8; 32]);

impl fmt::Debug for CodeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CodeKey(..)")
    }
}

/// What one redemption agreed on.
#[derive(Clone)]
pub struct Granted {
    /// The terminal's nonce.
    pub nt: Nonce,
    /// The AuC's.
    pub na: Nonce,
    /// The key.
    pub kc: Key,
}

impl fmt::Debug for Granted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Granted(..)")
    }
}

struct Len(usize);

impl hkdf::KeyType for Len {
    fn len(&self) -> usize {
        self.0
    }
}

fn mac(key: &[u8; 32], parts: &[&[u8]]) -> [u8; MAC] {
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, key));
    parts.iter().for_each(|part| context.update(part));
    let mut out = [0u8; MAC];
    out.copy_from_slice(context.sign().as_ref());
    out
}

impl CodeKey {
    pub(super) fn new(code: &[u8]) -> Self {
        // HKDF-Extract is this HMAC (RFC 5869 section 2.2).
        let mut prk = Self([0; 32]);
        prk.0.copy_from_slice(hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, b"PKA1"), code).as_ref());
        prk
    }

    /// From what [`CodeKey::expose`] gave.
    pub fn from_octets(octets: [u8; 32]) -> Self {
        Self(octets)
    }

    /// The octets, for sealing at rest; never for output.
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    fn expand<const N: usize>(&self, info: &[&[u8]]) -> [u8; N] {
        let mut out = [0u8; N];
        let prk = hkdf::Prk::new_less_safe(hkdf::HKDF_SHA256, &self.0);
        let filled = prk.expand(info, Len(N)).and_then(|okm| okm.fill(&mut out));
        debug_assert!(filled.is_ok(), "32 octets are within HKDF's limit");
        out
    }

    /// What the code is found by.
    pub fn locator(&self) -> Locator {
        self.expand(&[b"PKA1 locator"])
    }

    fn asked(&self, octets: &[u8]) -> [u8; MAC] {
        let mut key = self.expand::<32>(&[b"PKA1 ask"]);
        let out = mac(&key, &[octets]);
        key.zeroize();
        out
    }

    /// The terminal's first message.
    pub fn ask(&self, nt: &Nonce) -> [u8; ASK] {
        let mut out = [0u8; ASK];
        let head = head(1, &self.locator(), nt);
        out[..head.len()].copy_from_slice(&head);
        let tag = self.asked(&out[..ASK - MAC]);
        out[ASK - MAC..].copy_from_slice(&tag);
        out
    }

    /// True for an ask, as it arrived, that was made under this code.
    pub fn is_ask(&self, octets: &[u8]) -> bool {
        let Some((before, tag)) = octets.split_last_chunk::<MAC>() else { return false };
        words_equal(&self.asked(before), tag)
    }

    fn answer_key(&self, nt: &Nonce, na: &Nonce) -> aead::LessSafeKey {
        let mut octets = self.expand::<32>(&[b"PKA1 answer", nt, na]);
        let unbound = aead::UnboundKey::new(&aead::AES_256_GCM, &octets);
        octets.zeroize();
        match unbound {
            Ok(key) => aead::LessSafeKey::new(key),
            Err(_) => unreachable!("an AES-256-GCM key is 32 octets"),
        }
    }

    /// The AuC's answer. The key is of these two nonces alone, and seals nothing else: Na must be fresh.
    pub fn answer(&self, granted: &Granted, idc: Idc<'_>) -> [u8; ANSWER] {
        let mut out = [0u8; ANSWER];
        let (clear, sealed) = out.split_at_mut(ANSWER - SEALED);
        let (start, na) = clear.split_at_mut(clear.len() - NONCE);
        start.copy_from_slice(&head(2, &self.locator(), &granted.nt));
        na.copy_from_slice(&granted.na);
        let (plain, tag) = sealed.split_at_mut(PLAIN);
        plain[..32].copy_from_slice(granted.kc.expose());
        plain[32] = idc.as_bytes().len() as u8;
        if let Some(room) = plain.get_mut(33..33 + idc.as_bytes().len()) {
            room.copy_from_slice(idc.as_bytes());
        }
        let nonce = aead::Nonce::assume_unique_for_key([0; 12]);
        let key = self.answer_key(&granted.nt, &granted.na);
        match key.seal_in_place_separate_tag(nonce, aead::Aad::from(&*clear), plain) {
            Ok(t) => tag.copy_from_slice(t.as_ref()),
            Err(_) => unreachable!("161 octets are within AES-GCM's limit"),
        }
        out
    }

    /// Opens an answer, as it arrived: what was granted, and to whom. `None` for one that was not made under this code
    /// for this nonce.
    pub fn open_answer(&self, nt: &Nonce, octets: &[u8]) -> Option<(Granted, String)> {
        let octets: &[u8; ANSWER] = octets.try_into().ok()?;
        let (clear, sealed) = octets.split_at(ANSWER - SEALED);
        let (start, na) = clear.split_last_chunk::<NONCE>()?;
        if start != head(2, &self.locator(), nt) {
            return None;
        }
        let mut plain = [0u8; SEALED];
        plain.copy_from_slice(sealed);
        let nonce = aead::Nonce::assume_unique_for_key([0; 12]);
        let opened = self.answer_key(nt, na).open_in_place(nonce, aead::Aad::from(clear), &mut plain);
        let read = opened.ok().and_then(|plain| {
            let (kc, rest) = plain.split_first_chunk::<32>()?;
            let (len, rest) = rest.split_first()?;
            let (idc, zeros) = rest.split_at_checked(usize::from(*len))?;
            let idc = Idc::from_octets(idc).filter(|_| zeros.iter().all(|z| *z == 0))?;
            Some((Granted { nt: *nt, na: *na, kc: Key::new(*kc) }, idc.as_str().to_owned()))
        });
        plain.zeroize();
        read
    }

    fn closing(&self, kind: u8, label: &[u8], granted: &Granted) -> [u8; CONFIRM] {
        let Granted { nt, na, kc } = granted;
        let mut key = self.expand::<32>(&[label, nt, na, kc.expose()]);
        let head = head(kind, &self.locator(), nt);
        let tag = mac(&key, &[&head]);
        key.zeroize();
        let mut out = [0u8; CONFIRM];
        out[..head.len()].copy_from_slice(&head);
        out[head.len()..].copy_from_slice(&tag);
        out
    }

    /// The terminal's second message: it has its key and keeps it.
    pub fn confirm(&self, granted: &Granted) -> [u8; CONFIRM] {
        self.closing(3, b"PKA1 confirm", granted)
    }

    /// The AuC's second message: the key works, the code does not any more.
    pub fn done(&self, granted: &Granted) -> [u8; CONFIRM] {
        self.closing(4, b"PKA1 done", granted)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Code, Message};
    use super::*;
    use crate::{Random as _, SystemRandom};

    fn granted() -> Granted {
        let rng = &mut SystemRandom::new();
        Granted { nt: rng.array(), na: rng.array(), kc: Key::new(rng.array()) }
    }

    #[test]
    fn an_answer_opens_under_its_code_for_its_nonce_and_not_when_altered() {
        let code = Code::random(&mut SystemRandom::new());
        let (key, granted) = (code.key(), granted());
        for id in ["a".to_owned(), "alice@example.test".into(), "x".repeat(IDC_MAX)] {
            let answer = key.answer(&granted, Idc::new(&id).unwrap());
            let (read, idc) = key.open_answer(&granted.nt, &answer).unwrap();
            assert_eq!((read.na, read.kc.expose(), idc), (granted.na, granted.kc.expose(), id));
        }
        let answer = key.answer(&granted, Idc::new("alice").unwrap());
        assert!(key.open_answer(&[0; 16], &answer).is_none(), "another nonce");
        let other = Code::random(&mut SystemRandom::new()).key();
        assert!(other.open_answer(&granted.nt, &answer).is_none(), "another code");
        for bit in 0..answer.len() * 8 {
            let mut bad = answer;
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(key.open_answer(&granted.nt, &bad).is_none(), "bit {bit}");
        }
        for n in 0..answer.len() {
            assert!(key.open_answer(&granted.nt, &answer[..n]).is_none(), "cut at {n}");
        }
    }

    #[test]
    fn asks_are_known_and_none_that_was_altered() {
        let key = Code::random(&mut SystemRandom::new()).key();
        let ask = key.ask(&[7; 16]);
        assert!(key.is_ask(&ask) && matches!(Message::read(&ask), Some(Message::Ask { .. })));
        for bit in 0..ask.len() * 8 {
            let mut bad = ask;
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(!key.is_ask(&bad), "bit {bit}");
        }
    }

    #[test]
    fn the_last_two_messages_depend_on_everything_and_differ() {
        let key = Code::random(&mut SystemRandom::new()).key();
        let one = granted();
        let confirm = key.confirm(&one);
        assert_ne!(confirm[29..], key.done(&one)[29..]);
        let (mut nt, mut na, mut kc) = (one.clone(), one.clone(), one.clone());
        nt.nt[0] ^= 1;
        na.na[0] ^= 1;
        kc.kc = Key::new([1; 32]);
        for other in [nt, na, kc] {
            assert_ne!(key.confirm(&other)[29..], confirm[29..]);
        }
        assert_ne!(Code::random(&mut SystemRandom::new()).key().confirm(&one)[29..], confirm[29..]);
    }

    /// Answers for whoever builds a peer; PROTOCOL.md section 19 has them too.
    #[test]
    fn a_fixed_code_gives_fixed_answers() {
        let code = Code::parse("00000-00000-00000-00000-000000").unwrap();
        let hex = |octets: &[u8]| octets.iter().map(|o| format!("{o:02x}")).collect::<String>();
        let key = code.key();
        let granted = Granted { nt: [0x11; 16], na: [0x22; 16], kc: Key::new([0x33; 32]) };
        assert_eq!(hex(&key.locator()), VECTORS[0]);
        assert_eq!(hex(&key.ask(&granted.nt)[ASK - MAC..]), VECTORS[1]);
        assert_eq!(hex(&key.answer(&granted, Idc::new("alice@example.test").unwrap())[ANSWER - 16..]), VECTORS[2]);
        assert_eq!(hex(&key.confirm(&granted)[CONFIRM - MAC..]), VECTORS[3]);
        assert_eq!(hex(&key.done(&granted)[CONFIRM - MAC..]), VECTORS[4]);
    }

    /// Computed by another implementation.
    const VECTORS: [&str; 5] = [
        "78cc792678cfc533",
        "c39b2b968b875879002d6763dccf06e180fe2b03902f156d4d2938b9a662f6af",
        "5ad7e28975673892821646dfc3d9583c",
        "d1b18905b0b95ce56ff72fc335799729b0b59fcde104907ab77cbaf2f411819f",
        "6591655d4dcbca7224bd1477fc36bed8c88314cf8199f4e8b45ba9e48d62d469",
    ];
}
