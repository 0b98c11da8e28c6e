//! Digest credentials, challenges and Authentication-Info (RFC 3261 section 20.7, RFC 7616), checked: every parameter
//! well formed and none twice.

use super::lex::{self, Param, trim, trim_start, unquote};
use arrayvec::ArrayVec;

/// Most parameters of one header.
pub const PARAMS_MAX: usize = 24;

/// The parameters of one Digest header.
#[derive(Debug, Clone, Default)]
pub struct Digest<'a> {
    params: ArrayVec<Param<'a>, PARAMS_MAX>,
}

impl<'a> Digest<'a> {
    /// Credentials or a challenge: `Digest` and parameters. `None` for another scheme, a malformed or doubled
    /// parameter, and more than [`PARAMS_MAX`].
    pub fn parse(value: &'a [u8]) -> Option<Self> {
        let (scheme, rest) = lex::take_while(value, lex::is_token);
        let list = trim_start(rest);
        if !scheme.eq_ignore_ascii_case(b"Digest") || list.len() == rest.len() {
            return None;
        }
        Self::list(list)
    }

    /// Bare parameters, as in Authentication-Info.
    pub fn list(value: &'a [u8]) -> Option<Self> {
        let mut params = ArrayVec::<Param<'a>, PARAMS_MAX>::new();
        let mut rest = trim(value);
        loop {
            let (p, after) = digest_param(rest)?;
            if params.iter().any(|q| q.name.eq_ignore_ascii_case(p.name)) {
                return None;
            }
            params.try_push(p).ok()?;
            match after.split_first() {
                None => return Some(Self { params }),
                Some((b',', s)) => rest = s,
                Some(_) => return None,
            }
        }
    }

    /// The parameters, in order.
    pub fn params(&self) -> &[Param<'a>] {
        &self.params
    }

    /// The value of `name` without its quotes, escapes as they stand; `None` when absent.
    pub fn get(&self, name: &str) -> Option<&'a [u8]> {
        let p = self.params.iter().find(|p| p.name.eq_ignore_ascii_case(name.as_bytes()))?;
        p.value.map(unquote)
    }

    /// As [`Digest::get`]; also `None` where an escape keeps the value from standing there literally. Every value of
    /// PKD1 has one spelling only.
    pub fn plain(&self, name: &str) -> Option<&'a [u8]> {
        self.get(name).filter(|v| memchr::memchr(b'\\', v).is_none())
    }

    /// True when `name` is there.
    pub fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }
}

/// `name = value`; a value is required, and an empty quoted string is one.
fn digest_param(s: &[u8]) -> Option<(Param<'_>, &[u8])> {
    lex::param(s).filter(|(p, _)| p.value.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_quotes_and_escapes() {
        let d = Digest::parse(b"digest username=\"a\\\"b\", realm = \"x,y\",nonce=\"\" ,\r\n stale=true, uri=\"sip:h\"").unwrap();
        assert_eq!(d.get("USERNAME"), Some(&b"a\\\"b"[..]));
        assert_eq!(d.plain("username"), None);
        assert_eq!(d.plain("realm"), Some(&b"x,y"[..]));
        assert_eq!(d.plain("nonce"), Some(&b""[..]));
        assert_eq!(d.plain("stale"), Some(&b"true"[..]));
        assert!(!d.has("cnonce"));
    }

    #[test]
    fn malformed_and_doubled() {
        for bad in [
            &b""[..], b"Digest", b"Basic a=b", b"Digest a", b"Digest a=", b"Digest a=\"", b"Digest a=1,", b"Digest a=1,,b=2",
            b"Digest a=1 b=2", b"Digest a=1,A=2", b"Digesta=1", b"Digest =1", b"Digest a=1;b=2",
        ] {
            assert!(Digest::parse(bad).is_none(), "{:?}", String::from_utf8_lossy(bad));
        }
        let many = (0..PARAMS_MAX + 1).map(|i| format!("p{i}=1")).collect::<Vec<_>>().join(",");
        assert!(Digest::list(many.as_bytes()).is_none());
    }
}
