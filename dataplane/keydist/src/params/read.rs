//! Reading a list's text.

use super::{PARAMS_MAX, ParamError, ParamFault, Params, VALUE_MAX};

/// One pair, still untyped.
struct Pair<'m> {
    name: &'m [u8],
    value: &'m [u8],
    at: usize,
}

impl<'m> Params<'m> {
    /// Reads `name="value"` pairs between commas, blanks and line ends around any of them allowed: what stands between
    /// the brackets of a signal or an observed event.
    ///
    /// # Errors
    /// [`ParamError`] with the offset in `list`.
    pub fn read_quoted(list: &'m [u8]) -> Result<Self, ParamError> {
        let mut at = 0;
        collect(|| match quoted_pair(list, at)? {
            Some((pair, next)) => {
                at = next;
                Ok(Some(pair))
            }
            None => Ok(None),
        })
    }

    /// Reads `v=1;name=value` with `;` between the pairs: the value of `X-PKD`. `v` must come first and be 1.
    ///
    /// # Errors
    /// [`ParamError`] with the offset in `list`.
    pub fn read_services(list: &'m [u8]) -> Result<Self, ParamError> {
        let rest = match list {
            [b'v' | b'V', b'=', b'1', rest @ ..] if matches!(rest.first(), None | Some(b';')) => rest,
            [b'v' | b'V', b'=', ..] => return Err(ParamError { fault: ParamFault::Version, name: "v", at: 0 }),
            _ => return Err(ParamError { fault: ParamFault::Missing, name: "v", at: 0 }),
        };
        let mut at = list.len() - rest.len();
        collect(|| match bare_pair(list, at)? {
            Some((pair, next)) => {
                at = next;
                Ok(Some(pair))
            }
            None => Ok(None),
        })
    }
}

fn collect<'m>(mut next: impl FnMut() -> Result<Option<Pair<'m>>, ParamError>) -> Result<Params<'m>, ParamError> {
    let mut params = Params::default();
    let mut names: [&[u8]; PARAMS_MAX] = [b""; PARAMS_MAX];
    let mut count = 0;
    while let Some(pair) = next()? {
        let fail = |fault| ParamError { fault, name: "", at: pair.at };
        let seen = names.get(..count).unwrap_or_default();
        params.take(pair.name, pair.value, pair.at)?;
        if seen.iter().any(|name| name.eq_ignore_ascii_case(pair.name)) || pair.name.eq_ignore_ascii_case(b"v") {
            return Err(fail(ParamFault::Twice));
        }
        *names.get_mut(count).ok_or(fail(ParamFault::TooBig))? = pair.name;
        count += 1;
    }
    Ok(params)
}

const fn is_name(c: u8) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_')
}

const fn is_blank(c: u8) -> bool {
    matches!(c, b' ' | b'\t' | b'\r' | b'\n')
}

fn skip(text: &[u8], at: usize, skipped: impl Fn(u8) -> bool) -> usize {
    let rest = text.get(at..).unwrap_or_default();
    at + rest.iter().position(|c| !skipped(*c)).unwrap_or(rest.len())
}

fn fail<T>(fault: ParamFault, at: usize) -> Result<T, ParamError> {
    Err(ParamError { fault, name: "", at })
}

type Found<'m> = Result<Option<(Pair<'m>, usize)>, ParamError>;

/// The pair at `at`, and where the next begins. `at` is 0 or behind a value.
fn quoted_pair(list: &[u8], at: usize) -> Found<'_> {
    let mut from = skip(list, at, is_blank);
    if at > 0 {
        match list.get(from) {
            None => return Ok(None),
            Some(b',') => from = skip(list, from + 1, is_blank),
            Some(_) => return fail(ParamFault::Syntax, from),
        }
    } else if from == list.len() {
        return Ok(None);
    }
    let end = skip(list, from, is_name);
    let equals = skip(list, end, is_blank);
    let open = skip(list, equals + 1, is_blank);
    if end == from || list.get(equals) != Some(&b'=') || list.get(open) != Some(&b'"') {
        return fail(ParamFault::Syntax, from);
    }
    let Some(close) = closing(list, open + 1) else { return fail(ParamFault::Syntax, open) };
    let value = list.get(open + 1..close).unwrap_or_default();
    if value.len() > VALUE_MAX {
        return fail(ParamFault::TooBig, open);
    }
    Ok(Some((Pair { name: list.get(from..end).unwrap_or_default(), value, at: from }, close + 1)))
}

/// Where a quoted string ends whose text begins at `from`. A doubled mark stands for one (RFC 3435 appendix A); no
/// value of ours holds one, but one that is passed over may.
fn closing(list: &[u8], mut from: usize) -> Option<usize> {
    loop {
        from += memchr::memchr(b'"', list.get(from..)?)?;
        match list.get(from + 1) {
            Some(b'"') => from += 2,
            _ => return Some(from),
        }
    }
}

/// The pair behind the `;` at `at`, and where it ends.
fn bare_pair(list: &[u8], at: usize) -> Found<'_> {
    let Some(rest) = list.get(at + 1..).filter(|_| at < list.len()) else { return Ok(None) };
    let end = at + 1 + rest.iter().position(|c| *c == b';').unwrap_or(rest.len());
    let name_end = skip(list, at + 1, is_name);
    if name_end == at + 1 || list.get(name_end) != Some(&b'=') {
        return fail(ParamFault::Syntax, at + 1);
    }
    let value = list.get(name_end + 1..end).unwrap_or_default();
    if value.is_empty() || value.iter().any(|c| !matches!(c, b'!'..=b'~') || matches!(c, b'"' | b',')) {
        return fail(ParamFault::Syntax, name_end + 1);
    }
    Ok(Some((Pair { name: list.get(at + 1..name_end).unwrap_or_default(), value, at: at + 1 }, end)))
}
