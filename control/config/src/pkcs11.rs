//! `pkcs11:` URIs (RFC 7512), as far as they name a key, its token, its module and where the PIN is.

use crate::model::{PinSource, TokenKey};
use std::path::PathBuf;

/// What to write where one is wrong.
const FORM: &str = "write it like \"pkcs11:token=TOKEN;object=KEY?module-path=/usr/lib/MODULE.so&pin-source=file:/etc/\
                    portunus/token.pin\"";

/// A URI's scheme.
pub const SCHEME: &str = "pkcs11:";

/// Reads one.
///
/// # Errors
/// What is wrong, and what to write instead. The PIN is in neither.
pub fn pkcs11_uri(text: &str) -> Result<TokenKey, (String, String)> {
    let wrong = |problem: String| (problem, FORM.to_owned());
    let Some(rest) = text.strip_prefix(SCHEME) else {
        return Err(wrong(format!("no {SCHEME} URI")));
    };
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    let mut found = Found::default();
    for (part, separator) in [(path, ';'), (query, '&')] {
        for attribute in part.split(separator).filter(|a| !a.is_empty()) {
            let (name, value) = attribute.split_once('=').ok_or_else(|| wrong("an attribute without =".to_owned()))?;
            let value = decoded(value).ok_or_else(|| wrong(format!("{name}: % without two hex digits")))?;
            found.take(separator == ';', name, value).map_err(wrong)?;
        }
    }
    found.whole().map_err(wrong)
}

#[derive(Default)]
struct Found {
    module: Option<PathBuf>,
    token: Option<String>,
    serial: Option<String>,
    object: Option<String>,
    id: Option<Vec<u8>>,
    pin: Option<PinSource>,
}

impl Found {
    fn take(&mut self, in_path: bool, name: &str, value: Vec<u8>) -> Result<(), String> {
        let text = |value: Vec<u8>| String::from_utf8(value).map_err(|_| format!("{name}: not UTF-8"));
        let twice = match (in_path, name) {
            (true, "token") => self.token.replace(text(value)?).is_some(),
            (true, "serial") => self.serial.replace(text(value)?).is_some(),
            (true, "object") => self.object.replace(text(value)?).is_some(),
            (true, "id") => self.id.replace(value).is_some(),
            (true, "type") if value == b"secret-key" => false,
            (true, "type") => return Err("type: a master key is a secret-key".to_owned()),
            (false, "module-path") => self.module.replace(absolute(name, text(value)?)?).is_some(),
            (false, "pin-source") => self.pin.replace(pin_source(&text(value)?)?).is_some(),
            (false, "pin-value") => return Err("pin-value: a PIN stands in no configuration".to_owned()),
            (in_path, _) => {
                let place = if in_path { "before" } else { "after" };
                return Err(format!("{name}: no attribute {place} `?` that is known here"));
            }
        };
        if twice { Err(format!("{name} twice")) } else { Ok(()) }
    }

    fn whole(self) -> Result<TokenKey, String> {
        if self.token.is_none() && self.serial.is_none() {
            return Err("no token: neither token= nor serial=".to_owned());
        }
        if self.object.is_none() && self.id.is_none() {
            return Err("no key: neither object= nor id=".to_owned());
        }
        let module = self.module.ok_or("no module-path=")?;
        let pin = self.pin.unwrap_or(PinSource::Keypad);
        let Self { token, serial, object, id, .. } = self;
        Ok(TokenKey { module, token, serial, object, id, pin, folders: Vec::new() })
    }
}

fn absolute(name: &str, path: String) -> Result<PathBuf, String> {
    if path.starts_with('/') { Ok(PathBuf::from(path)) } else { Err(format!("{name}: no path that begins with /")) }
}

/// `file:/path`, `/path`, or `credential:NAME` for one of systemd's.
fn pin_source(text: &str) -> Result<PinSource, String> {
    if let Some(name) = text.strip_prefix("credential:") {
        return match name.is_empty() || name.contains('/') {
            true => Err("pin-source: a credential's name has no slash".to_owned()),
            false => Ok(PinSource::Credential(name.to_owned())),
        };
    }
    let path = text.strip_prefix("file:").unwrap_or(text);
    let path = path.strip_prefix("//").unwrap_or(path);
    absolute("pin-source", path.to_owned()).map(PinSource::File)
}

/// With `%41` undone.
fn decoded(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let mut octets = text.bytes();
    while let Some(octet) = octets.next() {
        if octet != b'%' {
            out.push(octet);
            continue;
        }
        let mut digit = || (octets.next()? as char).to_digit(16);
        out.push((digit()? << 4 | digit()?) as u8);
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_it_names() {
        let text = "pkcs11:token=The%20token;object=auc-master;type=secret-key;id=%01%ff?module-path=/usr/lib/m.so&\
                    pin-source=file:/etc/pin";
        let key = pkcs11_uri(text).unwrap();
        assert_eq!(key.token.as_deref(), Some("The token"));
        assert_eq!((key.object.as_deref(), key.id), (Some("auc-master"), Some(vec![1, 0xff])));
        assert_eq!(key.module, PathBuf::from("/usr/lib/m.so"));
        assert_eq!(key.pin, PinSource::File("/etc/pin".into()));
        for (source, pin) in [
            ("", PinSource::Keypad),
            ("&pin-source=/a", PinSource::File("/a".into())),
            ("&pin-source=file:///a", PinSource::File("/a".into())),
            ("&pin-source=credential:token.pin", PinSource::Credential("token.pin".into())),
        ] {
            let key = pkcs11_uri(&format!("pkcs11:serial=1;id=%01?module-path=/m{source}")).unwrap();
            assert_eq!((key.pin, key.serial.as_deref()), (pin, Some("1")));
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, problem) in [
            ("file:/a", "no pkcs11: URI"),
            ("pkcs11:object=k?module-path=/m", "no token"),
            ("pkcs11:token=t?module-path=/m", "no key"),
            ("pkcs11:token=t;object=k", "no module-path"),
            ("pkcs11:token=t;object=k?module-path=m.so", "begins with /"),
            ("pkcs11:token=t;object=k?module-path=/m&pin-value=1234", "pin-value"),
            ("pkcs11:token=t;object=k?module-path=/m&pin-source=credential:a/b", "no slash"),
            ("pkcs11:token=t;token=t;object=k?module-path=/m", "token twice"),
            ("pkcs11:token=t;object=k;type=private?module-path=/m", "secret-key"),
            ("pkcs11:token=%4;object=k?module-path=/m", "hex digits"),
            ("pkcs11:token=%ff;object=k?module-path=/m", "not UTF-8"),
            ("pkcs11:token;object=k?module-path=/m", "without ="),
            ("pkcs11:token=t;object=k;slot-id=1?module-path=/m", "slot-id"),
            ("pkcs11:token=t;object=k?module-path=/m&token=t", "token"),
        ] {
            let (said, write) = pkcs11_uri(text).unwrap_err();
            assert!(said.contains(problem), "{text}: {said}");
            assert!(write.contains("pkcs11:token=") && !said.contains("1234"));
        }
    }
}
