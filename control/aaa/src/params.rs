//! `name="value"`, as Digest-Auth-Param holds it in RADIUS and in Diameter.

/// One parameter.
pub(crate) fn write(name: &str, value: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(name.len() + value.len() + 3);
    text.extend_from_slice(name.as_bytes());
    text.extend_from_slice(b"=\"");
    text.extend_from_slice(value);
    text.push(b'"');
    text
}

/// A parameter that occurs twice, or is not in quotes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BadParam;

/// The value of the parameter of that name; `Ok(None)` when there is none.
pub(crate) fn read<'a>(params: impl Iterator<Item = &'a [u8]>, name: &str) -> Result<Option<&'a [u8]>, BadParam> {
    let mut found = None;
    for param in params {
        let Some(rest) = param.strip_prefix(name.as_bytes()).and_then(|r| r.strip_prefix(b"=")) else { continue };
        let inner = rest.strip_prefix(b"\"").and_then(|r| r.strip_suffix(b"\"")).ok_or(BadParam)?;
        if found.is_some() || inner.iter().any(|c| matches!(c, b'"' | b'\\')) {
            return Err(BadParam);
        }
        found = Some(inner);
    }
    Ok(found)
}
