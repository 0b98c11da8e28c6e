//! The key schedule (spec section 3): HKDF-SHA-256, HMAC-SHA-256 and AES-256-GCM of `ring`, and the labels.
//!
//! Every secret here is erased when it is dropped and none of them can be printed. `ring`'s own key types do not
//! erase themselves; those that outlive a call are therefore kept in types that overwrite them with a blank key.

use crate::bugs::{Bug, planted};
use crate::ident::{Idc, Idsp, N1, Rand, Word, Wrap};
use ring::{aead, hkdf, hmac};
use std::sync::LazyLock;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// A long-term shared key: Kc, Ksp or Kss.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct Key([u8; 32]);

impl Key {
    /// Takes the 32 octets over.
    pub fn new(octets: [u8; 32]) -> Self {
        Self(octets)
    }

    /// The octets, for sealing at rest and for derivation; never for output.
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    /// PRK(X) = HKDF-Extract(salt "PKD1", X).
    pub fn prk(&self) -> Prk {
        Prk(hkdf::Salt::new(hkdf::HKDF_SHA256, b"PKD1").extract(&self.0))
    }
}

impl core::fmt::Debug for Key {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        if planted(Bug::KeyPrinted) {
            return write!(f, "Key({:?})", self.0);
        }
        f.write_str("Key(..)")
    }
}

/// A PRK of no secret, to overwrite others with.
static BLANK_PRK: LazyLock<hkdf::Prk> = LazyLock::new(|| hkdf::Prk::new_less_safe(hkdf::HKDF_SHA256, &[0; 32]));
/// A MAC key of no secret, to overwrite others with.
static BLANK_MAC: LazyLock<hmac::Key> = LazyLock::new(|| hmac::Key::new(hmac::HMAC_SHA256, &[0; 32]));

/// Overwrites a key of `ring`'s. The value counts as used afterwards, so the compiler may not leave the write out.
fn overwrite<T: Clone>(key: &mut T, blank: &T) {
    key.clone_from(blank);
    core::hint::black_box(key);
}

/// PRK(X): what words and wraps are made from. Holders of a long-term key keep this instead of deriving it anew.
#[derive(Clone)]
pub struct Prk(hkdf::Prk);

impl Drop for Prk {
    fn drop(&mut self) {
        overwrite(&mut self.0, &BLANK_PRK);
    }
}

impl core::fmt::Debug for Prk {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Prk(..)")
    }
}

/// Whose copy of the session key a wrap is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum For {
    /// The terminal's, under Kc.
    Terminal,
    /// The proxy's (or, in the direct topology, the softswitch's), under Ksp or Kss.
    Proxy,
}

impl For {
    const fn label(self) -> &'static [u8] {
        match self {
            Self::Terminal => b"c",
            Self::Proxy => b"sp",
        }
    }
}

/// The names and nonces that a wrap is bound to.
#[derive(Debug, Clone, Copy)]
pub struct WrapCtx<'a> {
    /// The terminal.
    pub idc: Idc<'a>,
    /// The proxy.
    pub idsp: Idsp<'a>,
    /// The challenge.
    pub rand: &'a Rand,
    /// The N1 of the registration's s1.
    pub n1a: &'a N1,
}

/// Why a wrap did not open: made under another key, for other names, for another N1a, or altered. Which of them
/// cannot be known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WrapError;

impl core::fmt::Display for WrapError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("the wrapped session key does not open: other key, other names, other N1, or altered on the way")
    }
}

impl core::error::Error for WrapError {}

const INFO_MAX: usize = 10 + 2 + (2 + 128) + (2 + 63) + (2 + 16) + (2 + 16);

/// `info(w)` of the spec, built on the stack.
struct Info {
    buf: [u8; INFO_MAX],
    len: usize,
}

impl Info {
    fn put(&mut self, octets: &[u8]) {
        // The parts are bounded by their types, so the buffer always suffices.
        if let Some(room) = self.buf.get_mut(self.len..self.len + octets.len()) {
            room.copy_from_slice(octets);
            self.len += octets.len();
        }
    }

    fn lp(&mut self, octets: &[u8]) {
        self.put(&(octets.len() as u16).to_be_bytes());
        self.put(octets);
    }

    fn wrap(w: For, ctx: &WrapCtx<'_>) -> Self {
        let mut info = Self { buf: [0; INFO_MAX], len: 0 };
        info.put(b"PKD1 wrap ");
        info.put(w.label());
        info.lp(ctx.idc.as_bytes());
        info.lp(ctx.idsp.as_bytes());
        info.lp(ctx.rand);
        info.lp(ctx.n1a.as_bytes());
        info
    }

    fn as_bytes(&self) -> &[u8] {
        self.buf.get(..self.len).unwrap_or_default()
    }
}

/// A length for ring's HKDF output.
struct Len(usize);

impl hkdf::KeyType for Len {
    fn len(&self) -> usize {
        self.0
    }
}

fn expand(prk: &hkdf::Prk, info: &[&[u8]], out: &mut [u8]) {
    // Fails only for outputs over 255 blocks; the longest here is 36 octets.
    let filled = prk.expand(info, Len(out.len())).and_then(|okm| okm.fill(out));
    debug_assert!(filled.is_ok());
}

impl Prk {
    /// A secret of the holder's own, which no peer derives: HKDF-Expand(PRK, "PKD1 own " || label, out.len()).
    pub(crate) fn own(&self, label: &str, out: &mut [u8]) {
        expand(&self.0, &[b"PKD1 own ", label.as_bytes()], out);
    }

    /// Auth_c: the verification word for this challenge (K_f from PRK(Kc)).
    pub fn word(&self, idc: Idc<'_>, idsp: Idsp<'_>, rand: &Rand) -> Word {
        let mut k_f = [0u8; 32];
        expand(&self.0, &[b"PKD1 f"], &mut k_f);
        let mut mac = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, &k_f));
        k_f.zeroize();
        mac.update(b"PKD1 auth");
        for part in [idc.as_bytes(), idsp.as_bytes(), rand.as_slice()] {
            mac.update(&(part.len() as u16).to_be_bytes());
            mac.update(part);
        }
        let mut word = [0u8; 32];
        word.copy_from_slice(mac.sign().as_ref());
        word
    }

    fn wrap_key(&self, info: &Info) -> aead::LessSafeKey {
        let mut octets = [0u8; 32];
        expand(&self.0, &[info.as_bytes()], &mut octets);
        let unbound = aead::UnboundKey::new(&aead::AES_256_GCM, &octets);
        octets.zeroize();
        match unbound {
            Ok(key) => aead::LessSafeKey::new(key),
            Err(_) => unreachable!("an AES-256-GCM key is 32 octets"),
        }
    }

    /// `E_Kx[K]`: wraps the session key under this PRK.
    pub fn wrap(&self, w: For, ctx: &WrapCtx<'_>, key: &SessionKey) -> Wrap {
        let info = Info::wrap(w, ctx);
        let mut out = [0u8; 48];
        let (text, tag) = out.split_at_mut(32);
        text.copy_from_slice(&key.0);
        let nonce = aead::Nonce::assume_unique_for_key([0; 12]);
        match self.wrap_key(&info).seal_in_place_separate_tag(nonce, aead::Aad::from(info.as_bytes()), text) {
            Ok(t) => tag.copy_from_slice(t.as_ref()),
            Err(_) => unreachable!("32 octets are within AES-GCM's limit"),
        }
        out
    }

    /// Opens `E_Kx[K]`.
    ///
    /// # Errors
    /// [`WrapError`] when the wrap was not made under this key for these names and nonces.
    pub fn unwrap(&self, w: For, ctx: &WrapCtx<'_>, wrap: &Wrap) -> Result<SessionKey, WrapError> {
        let info = Info::wrap(w, ctx);
        let mut text = *wrap;
        let nonce = aead::Nonce::assume_unique_for_key([0; 12]);
        let aad = aead::Aad::from(info.as_bytes());
        let opened = match self.wrap_key(&info).open_in_place(nonce, aad, &mut text) {
            Ok(plain) => <[u8; 32]>::try_from(&*plain).map(SessionKey).map_err(|_| WrapError),
            Err(_) => Err(WrapError),
        };
        text.zeroize();
        opened
    }
}

/// K: the session key that the AuC draws.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct SessionKey([u8; 32]);

impl core::fmt::Debug for SessionKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("SessionKey(..)")
    }
}

impl SessionKey {
    /// Takes 32 random octets over.
    pub fn new(octets: [u8; 32]) -> Self {
        Self(octets)
    }

    /// The octets, for tests and for handing to a mechanism; never for output.
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    /// S = HKDF-Extract(salt Rand, K): the secret that the MAC key and all traffic keys come from.
    pub fn secret(&self, rand: &Rand) -> Secret {
        Secret(hkdf::Salt::new(hkdf::HKDF_SHA256, rand).extract(&self.0))
    }
}

/// S of the spec.
#[derive(Clone)]
pub struct Secret(hkdf::Prk);

impl Drop for Secret {
    fn drop(&mut self) {
        overwrite(&mut self.0, &BLANK_PRK);
    }
}

impl core::fmt::Debug for Secret {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// K_mac: the key of s10's MAC. Stands in for the `ring` key wherever one is asked for.
#[derive(Clone)]
pub struct MacKey(hmac::Key);

impl core::ops::Deref for MacKey {
    type Target = hmac::Key;

    fn deref(&self) -> &hmac::Key {
        &self.0
    }
}

impl Drop for MacKey {
    fn drop(&mut self) {
        overwrite(&mut self.0, &BLANK_MAC);
    }
}

impl core::fmt::Debug for MacKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("MacKey(..)")
    }
}

/// What traffic keys are bound to: `ctx` of the spec.
#[derive(Debug, Clone, Copy)]
pub struct TrafficCtx<'a> {
    /// The terminal.
    pub idc: Idc<'a>,
    /// The proxy.
    pub idsp: Idsp<'a>,
    /// N1 of s7.
    pub n1b: &'a N1,
    /// N2 of s10.
    pub n2b: &'a N1,
    /// The chosen mechanism's token alone, without parameters.
    pub token: &'a str,
}

impl Secret {
    /// K_mac, ready for use.
    pub fn mac_key(&self) -> MacKey {
        let mut octets = [0u8; 32];
        expand(&self.0, &[b"PKD1 mac"], &mut octets);
        let key = MacKey(hmac::Key::new(hmac::HMAC_SHA256, &octets));
        octets.zeroize();
        key
    }

    /// traffic = HKDF-Expand(S, "PKD1 " || label || ctx, out.len()).
    pub fn traffic(&self, label: &str, ctx: &TrafficCtx<'_>, out: &mut [u8]) {
        let len = |x: &[u8]| (x.len() as u16).to_be_bytes();
        let (idc, idsp, token) = (ctx.idc.as_bytes(), ctx.idsp.as_bytes(), ctx.token.as_bytes());
        let info: [&[u8]; 12] = [
            b"PKD1 ",
            label.as_bytes(),
            &len(idc),
            idc,
            &len(idsp),
            idsp,
            &len(ctx.n1b.as_bytes()),
            ctx.n1b.as_bytes(),
            &len(ctx.n2b.as_bytes()),
            ctx.n2b.as_bytes(),
            &len(token),
            token,
        ];
        expand(&self.0, &info, out);
    }
}

/// `fm`: HMAC over a message whose MAC field, at `field`, counts as `placeholder` (64 `0` digits in text, 32 zero
/// octets in H.323), whatever it holds. `None` when `field` lies outside the message or is not as long as
/// `placeholder`.
pub fn message_mac(
    key: &hmac::Key,
    message: &[u8],
    field: core::ops::Range<usize>,
    placeholder: &[u8],
) -> Option<Word> {
    if message.get(field.clone())?.len() != placeholder.len() {
        return None;
    }
    let mut mac = hmac::Context::with_key(key);
    mac.update(message.get(..field.start)?);
    mac.update(placeholder);
    mac.update(message.get(field.end..)?);
    let mut out = [0u8; 32];
    out.copy_from_slice(mac.sign().as_ref());
    Some(out)
}

/// True when both verification words (or MACs) are the same; takes the same time wherever they differ. Words of
/// different length differ.
pub fn words_equal(a: &[u8], b: &[u8]) -> bool {
    if planted(Bug::PrefixCompared) {
        return a.first() == b.first();
    }
    subtle::ConstantTimeEq::ct_eq(a, b).into()
}
