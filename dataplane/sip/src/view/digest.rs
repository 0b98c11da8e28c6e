//! Digest credentials, challenges and Authentication-Info (RFC 3261 section 20.7, RFC 7616), checked: every parameter
//! well formed and none twice.

use super::lex::{self, Param, trim, trim_start, unquote};
use super::words::Words;
use arrayvec::ArrayVec;

/// Most parameters of one header.
pub const PARAMS_MAX: usize = 24;

/// Parameters that this product reads or writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
#[allow(missing_docs)] // Each is the parameter of its name, see `WORDS`.
pub enum Field {
    Username,
    Realm,
    Nonce,
    Uri,
    Response,
    Algorithm,
    Idsp,
    N1,
    N2,
    Ts,
    Cookie,
    Stale,
    MechReq,
    Ekc,
    Eksp,
    Mac,
    Mechs,
    Life,
    IntegrityProtected,
}

const FIELDS: usize = 19;

/// The names, in the order of [`Field`].
static WORDS: Words<FIELDS> = Words::new([
    "username",
    "realm",
    "nonce",
    "uri",
    "response",
    "algorithm",
    "idsp",
    "n1",
    "n2",
    "ts",
    "cookie",
    "stale",
    "mech-req",
    "ekc",
    "eksp",
    "mac",
    "mechs",
    "life",
    "integrity-protected",
]);

const NONE: u8 = u8::MAX;

/// Fields that are taken out together at most.
pub(crate) const CUTS_MAX: usize = 3;

impl Field {
    /// The field of this number, of those that the proxy keeps to itself.
    pub(crate) fn private(number: u16) -> Option<Self> {
        PRIVATE.into_iter().find(|field| *field as u16 == number)
    }

    /// Its name as it is written.
    pub fn as_str(self) -> &'static str {
        WORDS.name(self as usize).unwrap_or_default()
    }
}

/// What is between terminal and proxy: it leaves a registration that goes on to the core.
pub(crate) const PRIVATE: [Field; CUTS_MAX] = [Field::N2, Field::Ts, Field::Cookie];

/// Where one parameter stands in its header's value. Values are shorter than a message, so 16 bits suffice.
#[derive(Debug, Clone, Copy)]
struct Span {
    name: u16,
    name_end: u16,
    value: u16,
    value_end: u16,
    /// Index of its [`Field`], or [`NONE`].
    field: u8,
    /// An escape stands in the value.
    escaped: bool,
}

/// Which field a parameter is, and whether its value holds an escape.
type Known = (Option<usize>, bool);

/// The parameters of one Digest header.
#[derive(Debug, Clone)]
pub struct Digest<'a> {
    text: &'a [u8],
    spans: ArrayVec<Span, PARAMS_MAX>,
    /// Where in `spans` each field is.
    fields: [u8; FIELDS],
}

impl<'a> Digest<'a> {
    /// Credentials or a challenge: `Digest` and parameters. `None` for another scheme, a malformed or doubled
    /// parameter, and more than [`PARAMS_MAX`].
    pub fn parse(value: &'a [u8]) -> Option<Self> {
        let (scheme, rest) = value.split_at_checked(6)?;
        let list = trim_start(rest);
        if !scheme.eq_ignore_ascii_case(b"Digest") || list.len() == rest.len() {
            return None;
        }
        Self::list(list)
    }

    /// Bare parameters, as in Authentication-Info.
    pub fn list(value: &'a [u8]) -> Option<Self> {
        let text = trim(value);
        if text.len() > usize::from(u16::MAX) {
            return None;
        }
        let mut digest = Self { text, spans: ArrayVec::new(), fields: [NONE; FIELDS] };
        let mut rest = text;
        loop {
            rest = trim_start(rest);
            let (p, known, after) = param(rest)?;
            // A value is required; an empty quoted string is one.
            digest.add(&p, p.value?, known)?;
            match after.split_first() {
                None => return Some(digest),
                Some((b',', s)) => rest = s,
                Some(_) => return None,
            }
        }
    }

    #[inline]
    fn add(&mut self, p: &Param<'a>, value: &'a [u8], (field, escaped): Known) -> Option<()> {
        let at = |part: &[u8]| (part.as_ptr() as usize).wrapping_sub(self.text.as_ptr() as usize) as u16;
        let (name, value_at) = (at(p.name), at(value));
        if let Some(slot) = field.and_then(|f| self.fields.get_mut(f)) {
            if *slot != NONE {
                return None;
            }
            *slot = self.spans.len() as u8;
        } else if self.params().any(|q| q.name.eq_ignore_ascii_case(p.name)) {
            return None;
        }
        let (name_end, value_end) = (name + p.name.len() as u16, value_at + value.len() as u16);
        let field = field.map_or(NONE, |f| f as u8);
        self.spans.try_push(Span { name, name_end, value: value_at, value_end, field, escaped }).ok()
    }

    fn slice(&self, from: u16, to: u16) -> &'a [u8] {
        self.text.get(usize::from(from)..usize::from(to)).unwrap_or_default()
    }

    /// The parameters, in order.
    pub fn params(&self) -> impl Iterator<Item = Param<'a>> + '_ {
        self.spans.iter().map(|s| Param {
            name: self.slice(s.name, s.name_end),
            value: Some(self.slice(s.value, s.value_end)),
            whole: self.slice(s.name, s.value_end),
        })
    }

    /// As [`Digest::params`], with what each is.
    pub(crate) fn known_params(&self) -> impl Iterator<Item = (Option<usize>, &'a [u8])> + '_ {
        self.spans.iter().map(|s| ((s.field != NONE).then_some(usize::from(s.field)), self.slice(s.name, s.value_end)))
    }

    /// What goes when these fields are taken out: each with the comma before it, in order. `None` where the first
    /// parameter is one of them.
    pub(crate) fn cuts(&self, fields: &[Field; CUTS_MAX]) -> Option<ArrayVec<(Field, &'a [u8]), CUTS_MAX>> {
        let mut cuts = ArrayVec::new();
        let mut behind = None;
        for span in &self.spans {
            if let Some(field) = fields.iter().find(|field| **field as u8 == span.field) {
                // No field is there twice.
                cuts.try_push((*field, self.slice(behind?, span.value_end))).ok()?;
            }
            behind = Some(span.value_end);
        }
        Some(cuts)
    }

    /// The value of a field without its quotes, escapes as they stand; `None` when absent.
    pub fn get(&self, field: Field) -> Option<&'a [u8]> {
        self.span(field).map(|s| unquote(self.slice(s.value, s.value_end)))
    }

    /// As [`Digest::get`]; also `None` where an escape keeps the value from standing there literally. Every value of
    /// PKD1 has one spelling only.
    pub fn plain(&self, field: Field) -> Option<&'a [u8]> {
        let span = self.span(field).filter(|span| !span.escaped)?;
        Some(unquote(self.slice(span.value, span.value_end)))
    }

    fn span(&self, field: Field) -> Option<&Span> {
        self.spans.get(usize::from(*self.fields.get(field as usize)?))
    }

    /// True when a field is there.
    pub fn has(&self, field: Field) -> bool {
        self.fields.get(field as usize).is_some_and(|i| *i != NONE)
    }
}

/// One parameter at the start of `s`, which field it is, whether its value holds an escape, and what follows. The usual
/// spelling, `name="value"` of a
/// known name without escapes, is read in three steps; everything else by the general reader.
#[inline]
fn param(s: &[u8]) -> Option<(Param<'_>, Known, &[u8])> {
    if let Some(eq) = lex::find(s, *b"=")
        && let (Some(name), Some(quoted)) = (s.get(..eq), s.get(eq + 2..))
        && s.get(eq + 1) == Some(&b'"')
        && let Some(field) = WORDS.find(name)
        && let Some(n) = lex::find(quoted, *b"\"\\")
        && quoted.get(n) == Some(&b'"')
    {
        let end = eq + n + 3;
        let p = Param { name, value: s.get(eq + 1..end), whole: s.get(..end)? };
        return Some((p, (Some(field), false), trim_start(s.get(end..)?)));
    }
    let (p, after) = lex::param(s)?;
    let escaped = p.value.is_some_and(|value| lex::find(value, *b"\\").is_some());
    Some((p, (WORDS.find(p.name), escaped), after))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_have_their_names() {
        for i in 0..FIELDS {
            let d = format!("{}=\"v\"", WORDS.name(i).unwrap());
            let d = Digest::list(d.as_bytes()).unwrap();
            assert_eq!(d.fields.iter().position(|f| *f == 0), Some(i));
        }
        assert_eq!(Field::IntegrityProtected.as_str(), "integrity-protected");
        assert_eq!(Field::IntegrityProtected as usize, FIELDS - 1);
    }

    #[test]
    fn a_cut_takes_the_comma_before_it() {
        let cuts = |text: &'static str| {
            let digest = Digest::list(text.as_bytes()).unwrap();
            let cuts = digest.cuts(&PRIVATE)?;
            Some(cuts.iter().map(|(field, cut)| (*field, core::str::from_utf8(cut).unwrap())).collect::<Vec<_>>())
        };
        let found = cuts("realm=\"r\" , ts=\"1\",\tn2=\"x\", n1=\"y\", cookie=z").unwrap();
        assert_eq!(found, [(Field::Ts, " , ts=\"1\""), (Field::N2, ",\tn2=\"x\""), (Field::Cookie, ", cookie=z")]);
        assert_eq!(cuts("n1=\"y\", nonce=\"\""), Some(vec![]));
        assert_eq!(cuts("ts=\"1\", n1=\"y\""), None);
        assert_eq!(Field::private(Field::Ts as u16), Some(Field::Ts));
        assert_eq!(Field::private(Field::Nonce as u16), None);
    }

    #[test]
    fn values_quotes_and_escapes() {
        let d =
            Digest::parse(b"digest USERname=\"a\\\"b\", realm = \"x,y\",nonce=\"\" ,\r\n stale=true, uri=\"sip:h\"")
                .unwrap();
        assert_eq!(d.get(Field::Username), Some(&b"a\\\"b"[..]));
        assert_eq!(d.plain(Field::Username), None);
        assert_eq!(d.plain(Field::Realm), Some(&b"x,y"[..]));
        assert_eq!(d.plain(Field::Nonce), Some(&b""[..]));
        assert_eq!(d.plain(Field::Stale), Some(&b"true"[..]));
        assert!(!d.has(Field::Cookie));
        assert_eq!(d.params().map(|p| p.whole).nth(1), Some(&b"realm = \"x,y\""[..]));
    }

    #[test]
    fn malformed_and_doubled() {
        for bad in [
            &b""[..],
            b"Digest",
            b"Basic a=b",
            b"Digest a",
            b"Digest a=",
            b"Digest a=\"",
            b"Digest a=1,",
            b"Digest a=1,,b=2",
            b"Digest a=1 b=2",
            b"Digest a=1,A=2",
            b"Digesta=1",
            b"Digest =1",
            b"Digest a=1;b=2",
            b"Digest nonce=\"a\" b=1",
            b"Digest nonce=\"a\",Nonce=b",
            b"Digest nonce=\"a\", uri=\"",
        ] {
            assert!(Digest::parse(bad).is_none(), "{:?}", String::from_utf8_lossy(bad));
        }
        let many = (0..PARAMS_MAX + 1).map(|i| format!("p{i}=1")).collect::<Vec<_>>().join(",");
        assert!(Digest::list(many.as_bytes()).is_none());
    }
}
