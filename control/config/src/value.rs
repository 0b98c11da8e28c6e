//! The forms that a value of the configuration may take. Every one says its form, so that a mistake can say what to
//! write instead; none accepts a bare number where a unit belongs.

use core::net::{IpAddr, SocketAddr};
use core::time::Duration;
use portunus_keydist::ident::{Idc, Idsp};
use std::path::PathBuf;
use toml::de::DeValue;

/// A value with one way to be written.
pub(crate) trait Value: Sized {
    /// What to write, as an instruction.
    fn form() -> String;
    /// Reads it; `None` when it has another form.
    fn read(v: &DeValue<'_>) -> Option<Self>;
    /// How it is shown and compared; never a secret's text.
    fn show(&self) -> String;
}

impl Value for String {
    fn form() -> String {
        "write text in quotes".into()
    }
    fn read(v: &DeValue<'_>) -> Option<Self> {
        v.as_str().filter(|s| !s.is_empty() && !s.chars().any(char::is_control)).map(str::to_owned)
    }
    fn show(&self) -> String {
        format!("\"{self}\"")
    }
}

impl Value for bool {
    fn form() -> String {
        "write true or false".into()
    }
    fn read(v: &DeValue<'_>) -> Option<Self> {
        v.as_bool()
    }
    fn show(&self) -> String {
        self.to_string()
    }
}

impl Value for u64 {
    fn form() -> String {
        "write a whole number without quotes".into()
    }
    fn read(v: &DeValue<'_>) -> Option<Self> {
        let n = v.as_integer()?;
        // The parser keeps a sign; underscores are already removed.
        u64::from_str_radix(n.as_str().trim_start_matches('+'), n.radix()).ok()
    }
    fn show(&self) -> String {
        self.to_string()
    }
}

/// Reads `<number><unit>` with one of `units`, each worth so many of the smallest; nothing else.
fn with_unit(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at_checked(digits)?;
    let worth = units.iter().find(|(name, _)| *name == unit)?.1;
    number.parse::<u64>().ok()?.checked_mul(worth)
}

const DURATIONS: &[(&str, u64)] = &[
    ("us", 1),
    ("ms", 1_000),
    ("s", 1_000_000),
    ("m", 60_000_000),
    ("min", 60_000_000),
    ("h", 3_600_000_000),
    ("d", 86_400_000_000),
];

/// Reads a duration as configuration files have it.
///
/// # Errors
/// What to write instead.
pub fn duration(text: &str) -> Result<Duration, String> {
    with_unit(text, DURATIONS)
        .map(Duration::from_micros)
        .ok_or_else(|| "write it like 250ms, 4s, 10m, 24h or 7d".into())
}

impl Value for Duration {
    fn form() -> String {
        "write a duration with its unit in quotes, like \"250ms\", \"4s\", \"10m\" or \"24h\"".into()
    }
    fn read(v: &DeValue<'_>) -> Option<Self> {
        with_unit(v.as_str()?, DURATIONS).map(Duration::from_micros)
    }
    fn show(&self) -> String {
        let us = self.as_micros();
        for (unit, worth) in DURATIONS.iter().rev().filter(|(unit, _)| *unit != "min") {
            if us > 0 && us.is_multiple_of(u128::from(*worth)) {
                return format!("{}{unit}", us / u128::from(*worth));
            }
        }
        format!("{}s", us / 1_000_000)
    }
}

/// A number of octets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

const SIZES: &[(&str, u64)] = &[
    ("B", 1),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("kB", 1000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
];

impl Value for Size {
    fn form() -> String {
        "write a size with its unit in quotes, like \"512KiB\" or \"64MiB\"".into()
    }
    fn read(v: &DeValue<'_>) -> Option<Self> {
        with_unit(v.as_str()?, SIZES).map(Size)
    }
    fn show(&self) -> String {
        for (unit, worth) in [("GiB", 1u64 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)] {
            if self.0 > 0 && self.0.is_multiple_of(worth) {
                return format!("{}{unit}", self.0 / worth);
            }
        }
        format!("{}B", self.0)
    }
}

impl Value for SocketAddr {
    fn form() -> String {
        "write \"ADDRESS:PORT\", like \"192.0.2.1:5060\" or \"[2001:db8::1]:5060\" (an address, not a name)".into()
    }
    fn read(v: &DeValue<'_>) -> Option<Self> {
        v.as_str()?.parse().ok()
    }
    fn show(&self) -> String {
        format!("\"{self}\"")
    }
}

/// A host, by name or address, and a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HostPort(pub(crate) String, pub(crate) u16);

impl Value for HostPort {
    fn form() -> String {
        "write \"HOST:PORT\", like \"db1.example.test:5432\" or \"[2001:db8::1]:5432\"".into()
    }
    fn read(v: &DeValue<'_>) -> Option<Self> {
        let (host, port) = v.as_str()?.rsplit_once(':')?;
        let port = port.parse().ok().filter(|port| *port != 0)?;
        let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
        let good = match bare {
            Some(address) => address.parse::<core::net::Ipv6Addr>().is_ok(),
            None => !host.is_empty() && host.bytes().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'-')),
        };
        good.then(|| Self(bare.unwrap_or(host).to_owned(), port))
    }
    fn show(&self) -> String {
        let Self(host, port) = self;
        if host.contains(':') { format!("\"[{host}]:{port}\"") } else { format!("\"{host}:{port}\"") }
    }
}

impl Value for IpAddr {
    fn form() -> String {
        "write an IP address in quotes, like \"192.0.2.1\" or \"2001:db8::1\"".into()
    }
    fn read(v: &DeValue<'_>) -> Option<Self> {
        v.as_str()?.parse().ok()
    }
    fn show(&self) -> String {
        format!("\"{self}\"")
    }
}

impl Value for PathBuf {
    fn form() -> String {
        "write a path in quotes; a relative one counts from the folder of this file".into()
    }
    fn read(v: &DeValue<'_>) -> Option<Self> {
        v.as_str().filter(|s| !s.is_empty() && !s.contains('\0')).map(PathBuf::from)
    }
    fn show(&self) -> String {
        format!("\"{}\"", self.display())
    }
}

/// A proxy's or softswitch's identity (IDsp, IDss).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Device(pub(crate) String);

impl Value for Device {
    fn form() -> String {
        "write 1 to 63 characters of letters, digits and . _ : [ ] - like \"sp1.example.test\"".into()
    }
    fn read(v: &DeValue<'_>) -> Option<Self> {
        v.as_str().filter(|s| Idsp::new(s).is_some()).map(|s| Self(s.to_owned()))
    }
    fn show(&self) -> String {
        format!("\"{}\"", self.0)
    }
}

/// A realm: goes into quoted strings of SIP and RADIUS as it stands, so it obeys the rules of an identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Realm(pub(crate) String);

impl Value for Realm {
    fn form() -> String {
        "write a realm without spaces, quotes, commas or semicolons, like \"example.test\"".into()
    }
    fn read(v: &DeValue<'_>) -> Option<Self> {
        v.as_str().filter(|s| Idc::new(s).is_some()).map(|s| Self(s.to_owned()))
    }
    fn show(&self) -> String {
        format!("\"{}\"", self.0)
    }
}

/// A SIP phone's identity: an IDc that is `user@host`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Phone(pub(crate) String);

impl Value for Phone {
    fn form() -> String {
        "write user@domain without spaces, quotes, commas or semicolons, like \"alice@example.test\"".into()
    }
    fn read(v: &DeValue<'_>) -> Option<Self> {
        let parts = |s: &str| s.rsplit_once('@').is_some_and(|(user, host)| !user.is_empty() && !host.is_empty());
        v.as_str().filter(|s| Idc::new(s).is_some() && parts(s)).map(|s| Self(s.to_owned()))
    }
    fn show(&self) -> String {
        format!("\"{}\"", self.0)
    }
}

/// The identity of a media gateway (IDc).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Gateway(pub(crate) String);

impl Value for Gateway {
    fn form() -> String {
        "write the gateway's domain name or message identifier, like \"gw1.example.test\"".into()
    }
    fn read(v: &DeValue<'_>) -> Option<Self> {
        v.as_str().filter(|s| Idc::new(s).is_some()).map(|s| Self(s.to_owned()))
    }
    fn show(&self) -> String {
        format!("\"{}\"", self.0)
    }
}

/// One of a fixed set of words.
pub(crate) trait Word: Sized + Copy + PartialEq + 'static {
    /// The words and what they mean.
    const WORDS: &'static [(&'static str, Self)];
}

/// Adapter that makes a [`Word`] a [`Value`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OneOf<W>(pub(crate) W);

impl<W: Word> Value for OneOf<W> {
    fn form() -> String {
        let words: Vec<String> = W::WORDS.iter().map(|(w, _)| format!("\"{w}\"")).collect();
        match words.split_last() {
            Some((last, rest)) if !rest.is_empty() => format!("write {} or {last}", rest.join(", ")),
            _ => format!("write {}", words.join(", ")),
        }
    }
    fn read(v: &DeValue<'_>) -> Option<Self> {
        let text = v.as_str()?;
        W::WORDS.iter().find(|(w, _)| *w == text).map(|(_, w)| Self(*w))
    }
    fn show(&self) -> String {
        let word = W::WORDS.iter().find(|(_, w)| *w == self.0).map_or("", |(w, _)| w);
        format!("\"{word}\"")
    }
}

impl<T: Value> Value for Vec<T> {
    fn form() -> String {
        format!("write a list in brackets; in it, {}", T::form())
    }
    fn read(v: &DeValue<'_>) -> Option<Self> {
        v.as_array()?.iter().map(|e| T::read(e.get_ref())).collect()
    }
    fn show(&self) -> String {
        format!("[{}]", self.iter().map(Value::show).collect::<Vec<_>>().join(", "))
    }
}

/// A secret written in the file itself (lab only). Erased when dropped, never shown.
#[derive(Clone, PartialEq, Eq, zeroize::ZeroizeOnDrop)]
pub struct Secret(String);

impl Secret {
    /// A secret of this text.
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// The secret itself; for the one place that uses it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl core::fmt::Debug for Secret {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Secret")
    }
}

impl Value for Secret {
    fn form() -> String {
        "write the secret in quotes (lab only), or name a file with `secret_file`".into()
    }
    fn read(v: &DeValue<'_>) -> Option<Self> {
        v.as_str().filter(|s| !s.is_empty()).map(|s| Self(s.to_owned()))
    }
    fn show(&self) -> String {
        "(secret)".into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_sizes_need_units() {
        let d = |s: &str| Duration::read(&DeValue::String(s.into()));
        assert_eq!(d("4s"), Some(Duration::from_secs(4)));
        assert_eq!(d("250ms"), Some(Duration::from_millis(250)));
        assert_eq!(d("24h").map(|d| d.show()), Some("1d".into()));
        for bad in ["4", "s", "", "-4s", "4 s", "4S", "99999999999999999999s", "18446744073709551615d"] {
            assert_eq!(d(bad), None, "{bad}");
        }
        let s = |s: &str| Size::read(&DeValue::String(s.into()));
        assert_eq!(s("64MiB"), Some(Size(64 << 20)));
        assert_eq!(s("64Mib"), None);
        assert_eq!(s("64MiB").map(|s| s.show()), Some("64MiB".into()));
    }

    #[test]
    fn secrets_are_not_shown() {
        let s = Secret::new("hunter2".into());
        assert!(!format!("{s:?}{}", s.show()).contains("hunter"));
    }
}
