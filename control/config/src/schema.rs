//! How each section of the file is read. A function a section; each asks for its keys, with their limits and
//! defaults, and reports what nobody asked for.

mod agent;
mod auc;
mod core_side;
mod database;
mod edge;
mod policy;
mod softswitch;

use crate::model::{Config, KeySource, Log, LogFormat, LogLevel, NamedPolicy, Proxy, SecretSource, Softswitch, Tls};
use crate::read::Section;
use crate::value::{OneOf, Secret, Word};
use std::path::PathBuf;

/// What the readers of sections need to know of the file.
#[derive(Clone, Copy)]
pub(crate) struct Place<'p> {
    /// The file's folder: relative paths start here.
    pub(crate) folder: &'p std::path::Path,
    /// True for a laboratory.
    pub(crate) lab: bool,
    /// Its policies that have a name.
    pub(crate) policies: &'p [NamedPolicy],
}

impl Word for LogLevel {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("error", Self::Error),
        ("warn", Self::Warn),
        ("info", Self::Info),
        ("debug", Self::Debug),
        ("trace", Self::Trace),
    ];
}

impl Word for LogFormat {
    const WORDS: &'static [(&'static str, Self)] = &[("text", Self::Text), ("json", Self::Json)];
}

/// Reads the whole file; the mistakes are in the sections' `gather`.
pub(crate) fn file(mut root: Section<'_, '_, '_>, folder: &std::path::Path) -> Option<Config> {
    let lab = root.key("lab").or(false);
    let policies = policy::named(&mut root);
    let place = Place { folder, lab, policies: &policies };
    let log = log(root.section_or_empty("log"));
    let auc = root.section("auc").map(|s| auc::read(s, place));
    let softswitch = root.section("softswitch").map(|s| softswitch::read(s, place));
    let proxy = root.section("proxy").map(|s| edge::proxy(s, place));
    let agent = root.section("agent").map(|s| agent::read(s, place));
    if auc.is_none() && softswitch.is_none() && proxy.is_none() && agent.is_none() {
        root.note("no role", "add at least one of the sections [auc], [softswitch], [proxy] and [agent]");
    }
    root.finish();
    // A role whose reading failed has noted why; the configuration as a whole is then refused.
    let whole = |role: Option<Option<()>>| role != Some(None);
    let good = whole(auc.as_ref().map(|r| r.as_ref().map(|_| ())))
        && whole(softswitch.as_ref().map(|r| r.as_ref().map(|_| ())))
        && whole(proxy.as_ref().map(|r| r.as_ref().map(|_| ())))
        && whole(agent.as_ref().map(|r| r.as_ref().map(|_| ())));
    good.then(|| {
        let (mut auc, softswitch, proxy) = (auc.flatten(), softswitch.flatten(), proxy.flatten());
        if let Some(auc) = auc.as_mut().filter(|a| a.devices.is_empty()) {
            auc.devices = devices(softswitch.as_ref(), proxy.as_ref());
        }
        Config { lab, log, auc, softswitch, proxy, agent: agent.flatten() }
    })
}

/// The devices that the file's other sections name.
fn devices(softswitch: Option<&Softswitch>, proxy: Option<&Proxy>) -> Vec<String> {
    let peers = softswitch.iter().flat_map(|s| &s.peers).flat_map(|p| &p.identities);
    let own = softswitch.map(|s| &s.identity).into_iter().chain(proxy.map(|p| &p.identity));
    let mut all: Vec<String> = own.chain(peers).cloned().collect();
    all.sort();
    all.dedup();
    all
}

fn log(mut s: Section<'_, '_, '_>) -> Log {
    let level = s.key("level").live().or(OneOf(LogLevel::Info)).0;
    let format = s.key("format").or(OneOf(LogFormat::Text)).0;
    s.finish();
    Log { level, format }
}

impl Place<'_> {
    /// A path of the file, joined with its folder.
    pub(crate) fn join(self, path: PathBuf) -> PathBuf {
        self.folder.join(path)
    }

    /// A section that says where a 32-octet key is: exactly one of `file`, `credential`, `environment`, `hex`.
    /// `live`: a reload takes another one over.
    pub(crate) fn key_source(self, s: &mut Section<'_, '_, '_>, live: bool) -> Option<KeySource> {
        let file = s.key::<PathBuf>("file").live_if(live).optional().map(|p| KeySource::File(self.join(p)));
        let credential = s.key::<String>("credential").live_if(live).optional().map(KeySource::Credential);
        let environment = s.key::<String>("environment").live_if(live).optional().map(KeySource::Environment);
        let hex = s.key::<Secret>("hex").live_if(live).check(is_key_hex).optional();
        if hex.is_some() && !self.lab {
            let write = "use `file`, `credential` or `environment`; or say `lab = true` at the top";
            s.gather.note_at(&s.path_of("hex"), "a key in the configuration itself", write);
        }
        let all = [file, credential, environment, hex.map(KeySource::Inline)];
        let mut given = all.into_iter().flatten();
        match (given.next(), given.next()) {
            (Some(one), None) => Some(one),
            (None, _) if ["file", "credential", "environment", "hex"].iter().any(|k| s.has(k)) => None,
            (None, _) => {
                s.note("no key", "add one of `file = \"PATH\"`, `credential = \"NAME\"`, `environment = \"NAME\"`");
                None
            }
            (Some(_), Some(_)) => {
                s.note("more than one place for one key", "keep one of `file`, `credential`, `environment`, `hex`");
                None
            }
        }
    }

    /// `secret_file`, or `secret` in a laboratory.
    pub(crate) fn secret_source(self, s: &mut Section<'_, '_, '_>) -> Option<SecretSource> {
        let file = s.key::<PathBuf>("secret_file").optional();
        let inline = s.key::<Secret>("secret").optional();
        if inline.is_some() && !self.lab {
            let write = "use `secret_file = \"PATH\"`; or say `lab = true` at the top";
            s.gather.note_at(&s.path_of("secret"), "a secret in the configuration itself", write);
        }
        match (file, inline) {
            (Some(file), None) => Some(SecretSource::File(self.join(file))),
            (None, Some(inline)) => Some(SecretSource::Inline(inline)),
            (Some(_), Some(_)) => {
                s.note("both `secret` and `secret_file`", "keep one of them");
                None
            }
            (None, None) => {
                s.note("no secret", "add `secret_file = \"PATH\"`");
                None
            }
        }
    }

    /// `certificate`, `key` and `ca`.
    pub(crate) fn tls(self, s: &mut Section<'_, '_, '_>) -> Option<Tls> {
        let certificate = s.key::<PathBuf>("certificate").required();
        let key = s.key::<PathBuf>("key").required();
        let ca = s.key::<PathBuf>("ca").required();
        Some(Tls { certificate: self.join(certificate?), key: self.join(key?), ca: self.join(ca?) })
    }
}

fn is_key_hex(secret: &Secret) -> Result<(), (String, String)> {
    let text = secret.expose();
    let good = text.len() == 64 && text.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'));
    good.then_some(()).ok_or_else(|| {
        (
            "not a key".to_owned(),
            "write 64 lower-case hex digits (32 octets); `openssl rand -hex 32` makes one".to_owned(),
        )
    })
}

/// A number of things as a count.
pub(crate) fn count(n: u64) -> usize {
    usize::try_from(n).unwrap_or(usize::MAX)
}
