//! Identities and the small values that travel in every step.

use portunus_codec::{hex_decode, hex_encode, parse_hex_u64};

/// The challenge: 16 octets drawn by the AuC.
pub type Rand = [u8; 16];
/// A verification word: HMAC-SHA-256, 32 octets.
pub type Word = [u8; 32];
/// A wrapped session key: AES-256-GCM of 32 octets, 48 with its tag.
pub type Wrap = [u8; 48];

/// Longest IDc in octets.
pub const IDC_MAX: usize = 128;
/// Longest IDsp or IDss in octets.
pub const IDSP_MAX: usize = 63;
/// Longest N2a token in octets.
pub const N2_MAX: usize = 128;

/// The octets that may stand in an IDc in ASCII.
static IDC_ASCII: [bool; 256] = {
    let mut good = [false; 256];
    let mut c = b'!';
    while c <= b'~' {
        good[c as usize] = !matches!(c, b'"' | b'\\' | b';' | b',');
        c += 1;
    }
    good
};

/// The octets that may stand in an IDsp, and those that may stand in an N2a token.
static IDSP_ASCII: [bool; 256] = alphanumeric_and(b"._:[]-");
static N2_ASCII: [bool; 256] = alphanumeric_and(b"_-");

const fn alphanumeric_and(others: &[u8]) -> [bool; 256] {
    let mut good = [false; 256];
    let mut c = 0;
    while c < 128 {
        good[c] = (c as u8).is_ascii_alphanumeric();
        c += 1;
    }
    let mut i = 0;
    while i < others.len() {
        good[others[i] as usize] = true;
        i += 1;
    }
    good
}

/// True when all of these octets are good: without an early end, for names are short and mostly good.
fn all(s: &[u8], good: &[bool; 256]) -> bool {
    s.iter().fold(true, |all, c| all & good[usize::from(*c)])
}

/// A terminal's identity, 1 to 128 octets, no controls, space, `"`, `\`, `;` or `,` (spec section 1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Idc<'a>(&'a str);

impl<'a> Idc<'a> {
    /// Checks the form; `None` when it is not an IDc.
    pub fn new(s: &'a str) -> Option<Self> {
        if !(1..=IDC_MAX).contains(&s.len()) {
            return None;
        }
        // Of the characters beyond ASCII only U+0080 to U+009F are controls; a name in ASCII is looked at by octets.
        let odd = |c: char| c.is_control() || matches!(c, ' ' | '"' | '\\' | ';' | ',');
        let good = all(s.as_bytes(), &IDC_ASCII) || !s.is_ascii() && !s.chars().any(odd);
        good.then_some(Self(s))
    }

    /// As [`Idc::new`], from octets that must be UTF-8.
    pub fn from_octets(s: &'a [u8]) -> Option<Self> {
        core::str::from_utf8(s).ok().and_then(Self::new)
    }

    /// The identity as text.
    pub fn as_str(self) -> &'a str {
        self.0
    }

    /// The identity as octets, the form that is compared and derived from.
    pub fn as_bytes(self) -> &'a [u8] {
        self.0.as_bytes()
    }
}

/// An [`Idc`] held by value, for where a message spells it in another form than its own (SIP: percent-escaped) and
/// for what must outlive the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IdcBuf(arrayvec::ArrayString<IDC_MAX>);

impl IdcBuf {
    /// Copies an identity.
    pub fn new(idc: Idc<'_>) -> Self {
        let mut text = arrayvec::ArrayString::new();
        // An Idc is never longer than the buffer.
        let _ = text.try_push_str(idc.as_str());
        Self(text)
    }

    /// The identity.
    pub fn as_idc(&self) -> Idc<'_> {
        Idc(self.0.as_str())
    }
}

impl From<Idc<'_>> for IdcBuf {
    fn from(idc: Idc<'_>) -> Self {
        Self::new(idc)
    }
}

/// A proxy's or softswitch's identity, 1 to 63 octets of `[A-Za-z0-9._:\[\]-]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Idsp<'a>(&'a str);

impl<'a> Idsp<'a> {
    /// Checks the form; `None` when it is not an IDsp.
    pub fn new(s: &'a str) -> Option<Self> {
        let fits = (1..=IDSP_MAX).contains(&s.len());
        (fits && all(s.as_bytes(), &IDSP_ASCII)).then_some(Self(s))
    }

    /// As [`Idsp::new`], from octets.
    pub fn from_octets(s: &'a [u8]) -> Option<Self> {
        core::str::from_utf8(s).ok().and_then(Self::new)
    }

    /// The identity as text.
    pub fn as_str(self) -> &'a str {
        self.0
    }

    /// The identity as octets.
    pub fn as_bytes(self) -> &'a [u8] {
        self.0.as_bytes()
    }
}

/// An [`Idsp`] held by value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IdspBuf(arrayvec::ArrayString<IDSP_MAX>);

impl IdspBuf {
    /// Copies an identity.
    pub fn new(idsp: Idsp<'_>) -> Self {
        let mut text = arrayvec::ArrayString::new();
        // An Idsp is never longer than the buffer.
        let _ = text.try_push_str(idsp.as_str());
        Self(text)
    }

    /// The identity.
    pub fn as_idsp(&self) -> Idsp<'_> {
        Idsp(self.0.as_str())
    }
}

impl From<Idsp<'_>> for IdspBuf {
    fn from(idsp: Idsp<'_>) -> Self {
        Self::new(idsp)
    }
}

/// A terminal's nonce (N1a, N1b) or the proxy's N2b: 64 random bits that travel, and enter every derivation, as 16
/// lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct N1([u8; 16]);

impl N1 {
    /// From 64 random bits.
    pub fn from_bits(bits: u64) -> Self {
        let mut text = [0u8; 16];
        hex_encode(&bits.to_be_bytes(), &mut text);
        Self(text)
    }

    /// From its sixteen lower-case hex digits.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let digits: [u8; 16] = text.try_into().ok()?;
        hex_decode::<8>(&digits).map(|_| Self(digits))
    }

    /// The digits, as they travel.
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// The digits as text.
    pub fn as_str(&self) -> &str {
        core::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// The 64 bits.
    pub fn bits(&self) -> u64 {
        parse_hex_u64(&self.0).unwrap_or_default()
    }
}

impl core::fmt::Debug for N1 {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "N1({})", self.as_str())
    }
}

impl core::fmt::Display for N1 {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// True for an N2a token: 1 to 128 characters `[A-Za-z0-9_-]`.
pub fn is_n2(token: &[u8]) -> bool {
    (1..=N2_MAX).contains(&token.len()) && all(token, &N2_ASCII)
}
