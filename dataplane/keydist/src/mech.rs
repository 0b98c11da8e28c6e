//! The mechanism list (spec section 4): entries `token;name=value...` with priorities, its canonical form, the
//! choice, and the answer that names what was chosen.
//!
//! A list is checked once, on the way in; everything after that cannot fail. The canonical form is what the proxy
//! echoes in s10 and what the terminal compares octet by octet, so it is kept as text and never rebuilt.

use crate::bugs::{Bug, planted};
use arrayvec::ArrayString;
use core::fmt;

/// Longest canonical list in octets.
pub const LIST_MAX: usize = 512;
/// Most entries in a list.
pub const ENTRIES_MAX: usize = 16;
/// Longest answer ([`Sel`]) in octets.
pub const SEL_MAX: usize = 128;
/// The lowest SPI that an association may have; those below are reserved (RFC 4303 section 2.1).
pub const SPI_MIN: u32 = 256;

/// The mechanisms this specification knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Mech {
    /// `x-pkd-sealed`: sealed datagrams.
    Sealed = 1,
    /// `ipsec-man`: ESP in UDP.
    Esp = 2,
    /// `tls`: TLS 1.3 keyed by PKD1.
    Tls = 3,
}

impl Mech {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Sealed, Self::Esp, Self::Tls];

    /// The token in lists, answers and derivations.
    pub const fn token(self) -> &'static str {
        match self {
            Self::Sealed => "x-pkd-sealed",
            Self::Esp => "ipsec-man",
            Self::Tls => "tls",
        }
    }

    /// The mechanism of a token; `None` for one that this specification does not know.
    pub fn from_token(token: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|m| m.token() == token)
    }
}

/// What is wrong with a mechanism list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MechFault {
    /// No entry at all.
    Empty,
    /// An entry without a token: two separators in a row, or one at an end.
    EmptyEntry,
    /// A character that is no lower-case token character, `;` or `=`; blanks inside an entry are among them.
    Character,
    /// More than [`ENTRIES_MAX`] entries.
    TooManyEntries,
    /// More than [`LIST_MAX`] octets in canonical form.
    TooLong,
    /// A mechanism named twice.
    EntryTwice,
    /// A parameter that is not `name=value`.
    Parameter,
    /// A parameter given twice in one entry.
    ParameterTwice,
    /// `q` is not 0 to 1 with three decimals at most.
    Priority,
    /// An answer that names a mechanism which this specification does not know.
    Unknown,
}

impl MechFault {
    /// The fault in words.
    pub const fn what(self) -> &'static str {
        match self {
            Self::Empty => "the list is empty",
            Self::EmptyEntry => "an entry is empty",
            Self::Character => "a character that a list may not hold",
            Self::TooManyEntries => "more than 16 entries",
            Self::TooLong => "more than 512 octets",
            Self::EntryTwice => "a mechanism is listed twice",
            Self::Parameter => "a parameter is not name=value",
            Self::ParameterTwice => "a parameter is given twice",
            Self::Priority => "q is not a number from 0 to 1 with at most three decimals",
            Self::Unknown => "an answer with an unknown mechanism",
        }
    }
}

/// A mechanism list that was refused: what, and where. The fault is its author's: the peer, or for a configured list
/// the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MechError {
    /// What is wrong.
    pub fault: MechFault,
    /// Octet offset in the text as it was given.
    pub at: usize,
}

impl fmt::Display for MechError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "mechanism list: {} (at octet {})", self.fault.what(), self.at)
    }
}

impl core::error::Error for MechError {}

/// A list that was checked against every rule of the spec, held in canonical form: the entries as sent, trimmed,
/// joined by one space.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MechList {
    text: ArrayString<LIST_MAX>,
}

impl MechList {
    /// Reads the value of a `Security-Client` header: entries separated by commas, blanks (and folds) around them.
    /// Several header rows may be joined by the caller with a comma.
    ///
    /// # Errors
    /// [`MechError`] with the offset in `value`.
    pub fn from_sip(value: &str) -> Result<Self, MechError> {
        if value.bytes().all(is_blank) {
            return Err(MechError { fault: MechFault::Empty, at: 0 });
        }
        Self::build(value, b',')
    }

    /// Reads the string `mechs` of the other protocols and of s10: entries separated by exactly one space.
    ///
    /// # Errors
    /// [`MechError`] with the offset in `value`.
    pub fn from_text(value: &str) -> Result<Self, MechError> {
        if value.is_empty() {
            return Err(MechError { fault: MechFault::Empty, at: 0 });
        }
        Self::build(value, b' ')
    }

    /// The canonical form: the entries joined by one space.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The entries in the order in which they were sent.
    pub fn entries(&self) -> impl Iterator<Item = Entry<'_>> {
        pieces(&self.text, b' ').map(Entry::checked)
    }

    /// The entry of a mechanism.
    pub fn get(&self, mech: Mech) -> Option<Entry<'_>> {
        self.entries().find(|e| e.mech == Some(mech))
    }

    /// The entry with the highest priority among those in `order` for which `usable` holds; equal priorities are
    /// decided by `order`, the proxy's own. `order` is the policy: what is not in it is not allowed. `usable` says
    /// what the protocol at hand can carry (`tls` is nothing for MGCP and RAS). An entry without the parameters that its
    /// mechanism needs counts as not offered.
    pub fn choose(&self, order: &[Mech], usable: impl Fn(Mech) -> bool) -> Option<Entry<'_>> {
        let mut best: Option<(Entry<'_>, usize)> = None;
        for entry in self.entries() {
            let Some(mech) = entry.mech else { continue };
            let Some(rank) = order.iter().position(|m| *m == mech) else { continue };
            if !usable(mech) || !entry.is_complete() {
                continue;
            }
            let better =
                best.is_none_or(|(b, r)| entry.q_milli > b.q_milli || (entry.q_milli == b.q_milli && rank < r));
            let better = better != (planted(Bug::WeakestChosen) && best.is_some());
            if better {
                best = Some((entry, rank));
            }
        }
        best.map(|(entry, _)| entry)
    }

    /// The list with `spi-c` and `port-c` in its entry `ipsec-man`, where it has such an entry and that does not say: the
    /// SPI and the inner port that the terminal receives under. `None` when there is no room for them.
    pub fn receiving(&self, spi_c: u32, port_c: u16) -> Option<Self> {
        let mut text = ArrayString::new();
        for (index, entry) in self.entries().enumerate() {
            if index > 0 {
                text.try_push(' ').ok()?;
            }
            text.try_push_str(entry.text).ok()?;
            if entry.mech == Some(Mech::Esp) && entry.param("spi-c").is_none() && entry.param("port-c").is_none() {
                for (name, value) in [(";spi-c=", spi_c), (";port-c=", port_c.into())] {
                    text.try_push_str(name).ok()?;
                    let digits = portunus_codec::Decimal::new(value.into());
                    text.try_push_str(core::str::from_utf8(digits.as_bytes()).ok()?).ok()?;
                }
            }
        }
        Some(Self { text })
    }

    /// Splits at `separator`, checks each entry, and joins them by one space.
    fn build(value: &str, separator: u8) -> Result<Self, MechError> {
        let mut text = ArrayString::new();
        let mut from = 0;
        for (index, raw) in pieces(value, separator).enumerate() {
            // A space-separated list is canonical already; only SIP's commas stand among blanks.
            let blank = |c: char| separator == b',' && c.is_ascii() && is_blank(c as u8);
            let begun = raw.trim_start_matches(blank);
            let at = if begun.is_empty() { from } else { from + raw.len() - begun.len() };
            let part = begun.trim_end_matches(blank);
            from += raw.len() + 1;
            if index == ENTRIES_MAX {
                return Err(MechError { fault: MechFault::TooManyEntries, at });
            }
            let token = check_entry(part, at)?;
            if index > 0 && pieces(&text, b' ').any(|e| pieces(e, b';').next() == Some(token)) {
                return Err(MechError { fault: MechFault::EntryTwice, at });
            }
            let joined = if index == 0 { Ok(()) } else { text.try_push(' ').map_err(|_| ()) };
            if joined.is_err() || text.try_push_str(part).is_err() {
                return Err(MechError { fault: MechFault::TooLong, at });
            }
        }
        Ok(Self { text })
    }
}

impl fmt::Display for MechList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One entry of a checked list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry<'a> {
    /// The mechanism's token.
    pub token: &'a str,
    /// The mechanism, where this specification knows it.
    pub mech: Option<Mech>,
    /// The priority in thousandths, 0 to 1000.
    pub q_milli: u16,
    text: &'a str,
}

impl<'a> Entry<'a> {
    /// From text that [`check_entry`] accepted.
    fn checked(text: &'a str) -> Self {
        let token = pieces(text, b';').next().unwrap_or_default();
        let q = params(text).find(|(name, _)| *name == "q").and_then(|(_, value)| priority(value));
        Self { token, mech: Mech::from_token(token), q_milli: q.unwrap_or(1000), text }
    }

    /// The value of a parameter.
    pub fn param(&self, name: &str) -> Option<&'a str> {
        params(self.text).find(|(n, _)| *n == name).map(|(_, value)| value)
    }

    /// The entry as sent.
    pub fn as_str(&self) -> &'a str {
        self.text
    }

    /// `spi-c` of `ipsec-man`: the SPI that the terminal receives under, [`SPI_MIN`] or more, decimal.
    pub fn spi_c(&self) -> Option<u32> {
        spi(self.param("spi-c")?)
    }

    /// `port-c` of `ipsec-man`: the terminal's inner port, decimal.
    pub fn port_c(&self) -> Option<u16> {
        port(self.param("port-c")?)
    }

    /// True when it holds the parameters that its mechanism cannot do without.
    pub fn is_complete(&self) -> bool {
        match self.mech {
            Some(Mech::Esp) => self.spi_c().is_some() && self.port_c().is_some(),
            Some(Mech::Sealed | Mech::Tls) | None => true,
        }
    }
}

fn spi(value: &str) -> Option<u32> {
    portunus_codec::parse_u32(value.as_bytes()).filter(|spi| *spi >= SPI_MIN)
}

fn port(value: &str) -> Option<u16> {
    let number = portunus_codec::parse_u32(value.as_bytes())?;
    u16::try_from(number).ok().filter(|port| *port != 0)
}

const fn is_blank(c: u8) -> bool {
    matches!(c, b' ' | b'\t' | b'\r' | b'\n')
}

/// The token characters of RFC 3261 section 25.1 without the capitals.
const fn is_token(c: u8) -> bool {
    c.is_ascii_lowercase()
        || c.is_ascii_digit()
        || matches!(c, b'-' | b'.' | b'!' | b'%' | b'*' | b'_' | b'+' | b'`' | b'\'' | b'~')
}

/// Cuts a text at the first `separator`, an ASCII octet. The standard library's search is made for long texts; these
/// are a few octets, and a proxy reads them for every registration.
fn cut(text: &str, separator: u8) -> Option<(&str, &str)> {
    let n = text.bytes().position(|c| c == separator)?;
    Some((text.get(..n)?, text.get(n + 1..)?))
}

/// The pieces between separators: one more than there are separators.
fn pieces(text: &str, separator: u8) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    core::iter::from_fn(move || {
        let here = rest.take()?;
        let Some((piece, after)) = cut(here, separator) else { return Some(here) };
        rest = Some(after);
        Some(piece)
    })
}

fn params(entry: &str) -> impl Iterator<Item = (&str, &str)> {
    pieces(entry, b';').skip(1).filter_map(|p| cut(p, b'='))
}

/// qvalue of RFC 3261 section 25.1, in thousandths.
fn priority(value: &str) -> Option<u16> {
    let (whole, decimals) = cut(value, b'.').unwrap_or((value, ""));
    if decimals.len() > 3 || !decimals.bytes().all(|c| c.is_ascii_digit()) {
        return None;
    }
    let thousandths =
        decimals.bytes().chain(core::iter::repeat(b'0')).take(3).fold(0, |n, c| n * 10 + u16::from(c - b'0'));
    match (whole, thousandths) {
        ("0", n) => Some(n),
        ("1", 0) => Some(1000),
        _ => None,
    }
}

/// Checks one trimmed entry that begins at octet `at`; returns its token.
fn check_entry(entry: &str, at: usize) -> Result<&str, MechError> {
    let fail = |fault, offset: usize| Err(MechError { fault, at: at + offset });
    if entry.is_empty() {
        return fail(MechFault::EmptyEntry, 0);
    }
    if entry.len() > LIST_MAX {
        return fail(MechFault::TooLong, LIST_MAX);
    }
    if let Some(bad) = entry.bytes().position(|c| !is_token(c) && !matches!(c, b';' | b'=')) {
        return fail(MechFault::Character, bad);
    }
    let token = pieces(entry, b';').next().unwrap_or_default();
    if token.is_empty() {
        return fail(MechFault::EmptyEntry, 0);
    }
    if let Some(bad) = token.bytes().position(|c| c == b'=') {
        return fail(MechFault::Character, bad);
    }
    let mut offset = token.len() + 1;
    for param in pieces(entry, b';').skip(1) {
        let Some((name, value)) = cut(param, b'=') else {
            return fail(MechFault::Parameter, offset);
        };
        if name.is_empty() || value.is_empty() || value.bytes().any(|c| c == b'=') {
            return fail(MechFault::Parameter, offset);
        }
        // An entry is at most 512 octets, so this looks at no more than 128 earlier parameters.
        let before = entry.get(..offset).unwrap_or_default();
        if params(before).any(|(n, _)| n == name) {
            return fail(MechFault::ParameterTwice, offset);
        }
        if name == "q" && priority(value).is_none() {
            return fail(MechFault::Priority, offset + 2);
        }
        offset += param.len() + 1;
    }
    Ok(token)
}

/// The answer: the chosen mechanism's token and the proxy's parameters for it, e.g.
/// `x-pkd-sealed;kid=0000000100000001;port=5065`. The proxy makes it, the terminal reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sel {
    text: ArrayString<SEL_MAX>,
    mech: Mech,
}

impl Sel {
    /// The answer for `x-pkd-sealed`: the proxy's handle for the session and its UDP port for sealed datagrams.
    pub fn sealed(kid: u64, port: u16) -> Self {
        let mut sel = Self::bare(Mech::Sealed);
        let digits = portunus_codec::hex_u64(kid);
        sel.put("kid", core::str::from_utf8(&digits).unwrap_or_default());
        sel.put_number("port", port.into());
        sel
    }

    /// The answer for `ipsec-man`: the SPI that the proxy receives under, its inner port, and the outer port.
    pub fn esp(spi_s: u32, port_s: u16, port: u16) -> Self {
        let mut sel = Self::bare(Mech::Esp);
        sel.put_number("spi-s", spi_s.into());
        sel.put_number("port-s", port_s.into());
        sel.put_number("port", port.into());
        sel
    }

    /// The answer for `tls`: the port to connect to.
    pub fn tls(port: u16) -> Self {
        let mut sel = Self::bare(Mech::Tls);
        sel.put_number("port", port.into());
        sel
    }

    /// Reads an answer: one entry of a known mechanism, blanks around it allowed.
    ///
    /// # Errors
    /// [`MechError`] with the offset in `value`; a mechanism that nobody knows is [`MechFault::Unknown`].
    pub fn parse(value: &str) -> Result<Self, MechError> {
        let blank = |c: char| c.is_ascii() && is_blank(c as u8);
        let begun = value.trim_start_matches(blank);
        let entry = begun.trim_end_matches(blank);
        let at = if entry.is_empty() { 0 } else { value.len() - begun.len() };
        let token = check_entry(entry, at)?;
        let mech = Mech::from_token(token).ok_or(MechError { fault: MechFault::Unknown, at })?;
        let text = ArrayString::from(entry).map_err(|_| MechError { fault: MechFault::TooLong, at: at + SEL_MAX })?;
        Ok(Self { text, mech })
    }

    /// The text that travels.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The mechanism chosen.
    pub fn mech(&self) -> Mech {
        self.mech
    }

    /// The value of a parameter.
    pub fn param(&self, name: &str) -> Option<&str> {
        params(&self.text).find(|(n, _)| *n == name).map(|(_, value)| value)
    }

    /// `kid` of `x-pkd-sealed`: the proxy's handle for the session, 16 hex digits.
    pub fn kid(&self) -> Option<u64> {
        portunus_codec::parse_hex_u64(self.param("kid")?.as_bytes())
    }

    /// `port`: where protected messages go; `None` when absent or not 1 to 65535.
    pub fn port(&self) -> Option<u16> {
        port(self.param("port")?)
    }

    /// `port-s` of `ipsec-man`: the proxy's inner port.
    pub fn port_s(&self) -> Option<u16> {
        port(self.param("port-s")?)
    }

    /// `spi-s` of `ipsec-man`: the SPI that the proxy receives under, 256 or more.
    pub fn spi_s(&self) -> Option<u32> {
        spi(self.param("spi-s")?)
    }

    /// True when it holds the parameters that its mechanism cannot do without.
    pub fn is_complete(&self) -> bool {
        match self.mech {
            Mech::Sealed => self.kid().is_some() && self.port().is_some(),
            Mech::Esp => {
                let port = self.param("port").is_none() || self.port().is_some();
                self.spi_s().is_some() && self.port_s().is_some() && port
            }
            Mech::Tls => true,
        }
    }

    fn bare(mech: Mech) -> Self {
        let mut text = ArrayString::new();
        text.push_str(mech.token());
        Self { text, mech }
    }

    /// Appends `;name=value`. The longest answer above is under 64 octets, so it always fits.
    fn put(&mut self, name: &str, value: &str) {
        for part in [";", name, "=", value] {
            let fits = self.text.try_push_str(part).is_ok();
            debug_assert!(fits);
        }
    }

    fn put_number(&mut self, name: &str, value: u64) {
        let digits = portunus_codec::Decimal::new(value);
        self.put(name, core::str::from_utf8(digits.as_bytes()).unwrap_or_default());
    }
}
