//! Reading the keys and secrets that a configuration names. What is read is erased by whoever asked for it.

use crate::model::{
    Agent, AgentGateways, AucListener, Config, Edge, KeySource, MasterSource, PhoneKey, PinSource, SecretSource,
    TokenKey,
};
use crate::read::Gather;
use core::fmt;
use std::path::Path;
use zeroize::Zeroizing;

/// Longest key file or CSV that is read, in octets: 64 MiB, some 700,000 subscribers.
const KEY_FILE_MAX: u64 = 64 << 20;

/// Why a key could not be read: always a mistake of the configuration or the host, never of a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyError {
    /// What is wrong; no octet of any key is in it.
    pub problem: String,
    /// What to do.
    pub write: String,
}

impl KeyError {
    fn new(problem: impl Into<String>, write: impl Into<String>) -> Self {
        Self { problem: problem.into(), write: write.into() }
    }
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.problem, self.write)
    }
}

impl core::error::Error for KeyError {}

/// Reads the key of `identity`. `lab` admits files that others can read.
///
/// # Errors
/// [`KeyError`].
pub fn read_key(source: &KeySource, identity: &str, lab: bool) -> Result<Zeroizing<[u8; 32]>, KeyError> {
    match source {
        KeySource::File(path) => read_key_file(path, identity, lab),
        KeySource::Inline(secret) => key_of(secret.expose()),
        KeySource::Environment(name) => {
            let text = std::env::var(name)
                .map(Zeroizing::new)
                .map_err(|_| KeyError::new(format!("{name} is not set"), "set it to 64 hex digits"))?;
            key_of(&text)
        }
        KeySource::Credential(name) => {
            let folder = std::env::var_os("CREDENTIALS_DIRECTORY").ok_or_else(|| {
                let write = format!("start under systemd with LoadCredential={name}:PATH");
                KeyError::new("there is no credentials directory", write)
            })?;
            if name.contains('/') || name.starts_with('.') {
                return Err(KeyError::new("not a credential's name", "write the name of LoadCredential="));
            }
            // systemd mounts credentials readable for the service alone.
            read_key_file(&Path::new(&folder).join(name), identity, true)
        }
    }
}

/// Reads a key from a file that holds 64 hex digits, or rows `id,key` of which the one of `identity` is taken.
/// `lax` admits a file that others than its owner can read.
///
/// # Errors
/// [`KeyError`].
pub fn read_key_file(path: &Path, identity: &str, lax: bool) -> Result<Zeroizing<[u8; 32]>, KeyError> {
    let text = read_private(path, lax)?;
    if !text.contains(',') {
        return key_of(text.trim());
    }
    for row in rows(&text) {
        let (id, key) = row?;
        if id == identity {
            return Ok(key);
        }
    }
    Err(KeyError::new(format!("no row for {identity}"), "add a row `id,key` for it"))
}

/// Reads a CSV of rows `id,key` for [`rows`]. `lax` admits a file that others than its owner can read.
///
/// # Errors
/// [`KeyError`].
pub fn read_rows(path: &Path, lax: bool) -> Result<Zeroizing<String>, KeyError> {
    read_private(path, lax)
}

/// Reads the rows `id,key` of a CSV. Empty lines, lines that begin with `#` and a first line `id,key` are passed
/// over; the key stands after the last comma.
pub fn rows(text: &str) -> impl Iterator<Item = Result<(&str, Zeroizing<[u8; 32]>), KeyError>> {
    text.lines().enumerate().filter_map(|(n, line)| {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') || (n == 0 && line.eq_ignore_ascii_case("id,key")) {
            return None;
        }
        let at = |e: KeyError| KeyError::new(format!("line {}: {}", n + 1, e.problem), e.write);
        let Some((id, key)) = line.rsplit_once(',') else {
            return Some(Err(at(KeyError::new("not a row", "write `id,key` with the key as 64 hex digits"))));
        };
        let id = id.trim().trim_matches('"');
        Some(key_of(key.trim().trim_matches('"')).map(|key| (id, key)).map_err(at))
    })
}

/// Reads a textual secret.
///
/// # Errors
/// [`KeyError`].
pub fn read_secret(source: &SecretSource, lab: bool) -> Result<Zeroizing<String>, KeyError> {
    match source {
        SecretSource::Inline(secret) => Ok(Zeroizing::new(secret.expose().to_owned())),
        SecretSource::File(path) => {
            let text = read_private(path, lab)?;
            let line = text.lines().next().unwrap_or_default().trim();
            if line.is_empty() {
                return Err(KeyError::new("the secret's file is empty", "write the secret on its first line"));
            }
            Ok(Zeroizing::new(line.to_owned()))
        }
    }
}

/// Reads a file that only its owner may read, unless `lax`.
fn read_private(path: &Path, lax: bool) -> Result<Zeroizing<String>, KeyError> {
    use std::io::Read as _;
    use std::os::unix::fs::PermissionsExt as _;
    let shown = path.display();
    let cannot =
        |e: std::io::Error| KeyError::new(format!("{shown} cannot be read: {e}"), "create it, or name another file");
    let file = std::fs::File::open(path).map_err(cannot)?;
    let meta = file.metadata().map_err(cannot)?;
    if !lax && meta.permissions().mode() & 0o077 != 0 {
        let problem = format!("{shown} can be read by others (mode {:03o})", meta.permissions().mode() & 0o777);
        return Err(KeyError::new(problem, format!("run `chmod 600 {shown}`")));
    }
    if meta.len() > KEY_FILE_MAX {
        return Err(KeyError::new(format!("{shown} is longer than {KEY_FILE_MAX} octets"), "split it"));
    }
    // Reserved at once, so that growing leaves no copies of keys behind.
    let mut text = Zeroizing::new(String::with_capacity(usize::try_from(meta.len()).unwrap_or(0) + 1));
    file.take(KEY_FILE_MAX).read_to_string(&mut text).map_err(cannot)?;
    Ok(text)
}

/// 32 octets of 64 hex digits, in either case.
fn key_of(text: &str) -> Result<Zeroizing<[u8; 32]>, KeyError> {
    let bad = || {
        let write = "write 64 hex digits (32 octets); `openssl rand -hex 32` makes such a key";
        KeyError::new("not a key of 32 octets in hex", write)
    };
    let digits = text.as_bytes();
    if digits.len() != 64 {
        return Err(bad());
    }
    let mut key = Zeroizing::new([0u8; 32]);
    for (octet, pair) in key.iter_mut().zip(digits.chunks_exact(2)) {
        let nibble = |c: u8| (c as char).to_digit(16).map(|d| d as u8);
        let (Some(high), Some(low)) = (nibble(pair[0]), nibble(pair[1])) else { return Err(bad()) };
        *octet = high << 4 | low;
    }
    Ok(key)
}

/// Checks every file that a configuration names.
pub(crate) fn check_files(config: &Config, gather: &Gather<'_>) {
    let lab = config.lab;
    let note = |key: &str, e: KeyError| gather.note_at(key, e.problem, e.write);
    let key_at = |path: &str, source: &KeySource, identity: &str| {
        let part = match source {
            KeySource::File(_) => "file",
            KeySource::Credential(_) => "credential",
            KeySource::Environment(_) => "environment",
            KeySource::Inline(_) => "hex",
        };
        // A credential exists only in the service; its absence is found when the role starts.
        if !matches!(source, KeySource::Credential(_)) {
            let _ = read_key(source, identity, lab).map_err(|e| note(&format!("{path}.{part}"), e));
        }
    };
    let edge = |path: &str, e: &Edge, identity: &str| {
        key_at(&format!("{path}.key"), &e.key, identity);
        if let Some(other) = &e.other_key {
            key_at(&format!("{path}.key.other"), other, identity);
        }
    };
    if let Some(p) = &config.proxy {
        edge("proxy", &p.edge, &p.identity);
    }
    if let Some(s) = &config.softswitch {
        if let Some(e) = &s.direct {
            edge("softswitch.direct", e, &s.identity);
        }
        aaa_files("softswitch.aaa", &s.aaa, lab, gather, &note);
    }
    if let Some(agent) = &config.agent {
        agent_files(agent, lab, &note);
    }
    if let Some(a) = &config.auc {
        auc_files(a, lab, gather, &note, &key_at);
    }
}

fn agent_files(agent: &Agent, lab: bool, note: &dyn Fn(&str, KeyError)) {
    let gateways = |of: &Option<AgentGateways>| of.as_ref().map_or_else(Vec::new, |of| of.list.clone());
    let lists = [
        ("agent.phone", agent.phones.clone()),
        ("agent.mgcp.gateway", gateways(&agent.mgcp)),
        ("agent.h248.gateway", gateways(&agent.h248)),
    ];
    for (path, list) in lists {
        for (n, one) in list.iter().enumerate() {
            let (key, found) = match &one.key {
                PhoneKey::Key(KeySource::File(file)) => ("key_file", read_key_file(file, &one.id, lab).map(drop)),
                PhoneKey::Key(_) => continue,
                PhoneKey::Passphrase(file) => {
                    ("passphrase_file", read_passphrase(file, &one.id, &agent.realm).map(drop))
                }
            };
            let _ = found.map_err(|e| note(&format!("{path}[{n}].{key}"), e));
        }
    }
}

/// Reads a passphrase from the first line of a file that only its owner may read, and sees that it is strong enough.
///
/// # Errors
/// [`KeyError`].
pub fn read_passphrase(file: &Path, idc: &str, realm: &str) -> Result<Zeroizing<String>, KeyError> {
    let text = read_secret(&SecretSource::File(file.to_path_buf()), false)?;
    let checked = portunus_passphrase::check(&text, idc, realm);
    checked.map_err(|e| KeyError::new(format!("{}: {e}", file.display()), e.next()))?;
    Ok(text)
}

/// What the links to an AuC name.
fn aaa_files(path: &str, aaa: &crate::model::Aaa, lab: bool, gather: &Gather<'_>, note: &dyn Fn(&str, KeyError)) {
    for (n, secret) in aaa.servers.iter().enumerate().filter_map(|(n, v)| Some((n, v.secret.as_ref()?))) {
        let _ = read_secret(secret, lab).map_err(|e| note(&format!("{path}.server[{n}].secret_file"), e));
    }
    if let Some(tls) = &aaa.tls {
        readable(path, tls, gather);
    }
}

fn auc_files(
    auc: &crate::model::Auc,
    lab: bool,
    gather: &Gather<'_>,
    note: &dyn Fn(&str, KeyError),
    key_at: &dyn Fn(&str, &KeySource, &str),
) {
    match &auc.master_key {
        // Made at the first start.
        MasterSource::Key(KeySource::File(path)) if auc.create_master_key && !path.exists() => {}
        // A laboratory's master key is created by us with mode 0600 like any other: no reason for a lax one.
        MasterSource::Key(KeySource::File(path)) => {
            let _ = read_private(path, false).map_err(|e| note("auc.master_key.file", e));
        }
        MasterSource::Key(source) => key_at("auc.master_key", source, ""),
        // The PIN is not tried here: a wrong one, tried at every check, would lock the token.
        MasterSource::Token(token) => token_files(token, note),
    }
    if let Some(csv) = &auc.import {
        let checked = read_private(csv, lab).and_then(|text| rows(&text).try_for_each(|r| r.map(|_| ())));
        let _ = checked.map_err(|e| note("auc.import", e));
    }
    if let Some(database) = &auc.database {
        if let Some(password) = &database.password {
            let _ = read_secret(password, lab).map_err(|e| note("auc.database.secret_file", e));
        }
        let tls = database.tls.iter();
        let named = tls.flat_map(|tls| {
            [("ca", &tls.ca)].into_iter().chain(tls.own.iter().flat_map(|(c, k)| [("certificate", c), ("key", k)]))
        });
        named.for_each(|(key, file)| readable_file(&format!("auc.database.{key}"), file, gather));
    }
    if let Some(tls) = auc.api.as_ref().and_then(|api| api.tls.as_ref()) {
        let own = [("certificate", &tls.certificate), ("key", &tls.key)].into_iter();
        let named = own.chain(tls.ca.iter().map(|ca| ("ca", ca)));
        named.for_each(|(key, file)| readable_file(&format!("auc.api.{key}"), file, gather));
    }
    for (n, f) in auc.foreign.iter().enumerate() {
        key_at(&format!("auc.foreign[{n}].shared_key"), &f.key, &f.identity);
        aaa_files(&format!("auc.foreign[{n}]"), &f.aaa, lab, gather, note);
    }
    for (n, l) in auc.listeners.iter().enumerate() {
        match l {
            AucListener::RadSec { tls, .. } | AucListener::Diameter { tls: Some(tls), .. } => {
                readable(&format!("auc.listen[{n}]"), tls, gather);
            }
            AucListener::Diameter { tls: None, .. } => {}
            AucListener::Udp { clients, .. } => {
                for (m, c) in clients.iter().enumerate() {
                    let key = format!("auc.listen[{n}].client[{m}].secret_file");
                    let _ = read_secret(&c.secret, lab).map_err(|e| note(&key, e));
                }
            }
        }
    }
}

fn token_files(token: &TokenKey, note: &dyn Fn(&str, KeyError)) {
    if let Err(e) = std::fs::File::open(&token.module) {
        let problem = format!("{} cannot be read: {e}", token.module.display());
        note("auc.master_key.pkcs11", KeyError::new(problem, "install the token's software, or correct module-path="));
    }
    if let PinSource::File(path) = &token.pin {
        let _ = read_private(path, false).map_err(|e| note("auc.master_key.pkcs11", e));
    }
}

fn readable(path: &str, tls: &crate::model::Tls, gather: &Gather<'_>) {
    for (key, file) in [("certificate", &tls.certificate), ("key", &tls.key), ("ca", &tls.ca)] {
        readable_file(&format!("{path}.{key}"), file, gather);
    }
}

fn readable_file(key: &str, file: &Path, gather: &Gather<'_>) {
    if let Err(e) = std::fs::File::open(file) {
        let problem = format!("{} cannot be read: {e}", file.display());
        gather.note_at(key, problem, "create it, or name another PEM file");
    }
}
