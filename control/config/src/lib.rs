//! Configuration: one TOML file, one section a role. Reading it finds every mistake, not only the first, and says of
//! each the line, the column, what is wrong and what to write instead. What comes out are plain structures with
//! every default applied.
//!
//! Deliberately absent: globals, environment variables that override keys, includes, and anything that starts a role.

mod cross;
mod defaults;
mod diff;
mod keys;
mod mistake;
pub mod model;
mod pkcs11;
mod read;
mod schema;
mod value;

pub use diff::{Change, Difference, difference};
pub use keys::{KeyError, read_key, read_key_file, read_passphrase, read_rows, read_secret, rows};
pub use mistake::{Mistake, Mistakes};
pub use model::Config;
pub use pkcs11::{SCHEME as PKCS11, pkcs11_uri};
pub use read::Setting;
pub use value::duration;
pub use value::{Secret, Size};

use std::collections::BTreeMap;
use std::path::Path;

/// Largest configuration file that is read, in octets.
pub const FILE_MAX: u64 = 1 << 20;

/// A configuration and where it came from.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The values.
    pub config: Config,
    /// Every key with its value, written or by default, by dotted path.
    pub settings: BTreeMap<String, Setting>,
}

/// Reads a text as the configuration file named `file`, without touching anything else: relative paths are joined
/// with `folder`, the files that they name are not opened.
///
/// # Errors
/// Every mistake in it.
pub fn parse(file: &str, text: &str, folder: &Path) -> Result<Loaded, Mistakes> {
    read_text(file, text, folder, |_, _| ())
}

/// Reads a configuration file and checks that the files which it names can be used: keys and secrets are read once
/// and forgotten.
///
/// # Errors
/// Every mistake in it; a file that cannot be read is one.
pub fn load(path: &Path) -> Result<Loaded, Mistakes> {
    let file = path.display().to_string();
    let text = read_limited(path).map_err(|problem| {
        let write = "name a configuration file that this user can read".to_owned();
        Mistakes(vec![Mistake { file: file.clone(), line: 1, column: 1, key: String::new(), problem, write }])
    })?;
    let folder = path.parent().unwrap_or_else(|| Path::new(""));
    read_text(&file, &text, folder, keys::check_files)
}

fn read_limited(path: &Path) -> Result<String, String> {
    use std::io::Read as _;
    let file = std::fs::File::open(path).map_err(|e| format!("cannot be opened: {e}"))?;
    let mut text = String::new();
    let n = file.take(FILE_MAX + 1).read_to_string(&mut text).map_err(|e| format!("cannot be read: {e}"))?;
    if n as u64 > FILE_MAX { Err(format!("longer than {FILE_MAX} octets")) } else { Ok(text) }
}

fn read_text(
    file: &str,
    text: &str,
    folder: &Path,
    more: impl FnOnce(&Config, &read::Gather<'_>),
) -> Result<Loaded, Mistakes> {
    let gather = read::Gather::new(mistake::Source { file, text });
    let (table, errors) = toml::de::DeTable::parse_recoverable(text);
    for e in &errors {
        let span = e.span().unwrap_or(0..0);
        let problem = e.message().lines().next().unwrap_or("not TOML");
        gather.note(&span, "", problem, toml_hint(problem, text.get(span.start..).unwrap_or_default()));
    }
    let config = schema::file(read::Section::root(&gather, table.get_ref()), folder);
    if let Some(config) = &config {
        cross::check(config, &gather);
        more(config, &gather);
    }
    let mistakes = gather.sorted();
    match config {
        Some(config) if mistakes.is_empty() => Ok(Loaded { config, settings: gather.settings.into_inner() }),
        _ => Err(Mistakes(mistakes)),
    }
}

/// What to do about an error of TOML itself: `rest` is the file from the place of the error on.
fn toml_hint(problem: &str, rest: &str) -> &'static str {
    if problem.contains("duplicate") {
        "keep one of the two"
    } else if problem.contains("string") || problem.contains("quot") || rest.starts_with(char::is_alphabetic) {
        "put text in double quotes"
    } else {
        "write `key = value`, one a line, under a [section]"
    }
}

/// Reads octets as a configuration, for fuzzing: whatever they are, reading ends and every mistake has a place that
/// exists. Returns the number of mistakes.
pub fn fuzz(octets: &[u8]) -> usize {
    let Ok(text) = core::str::from_utf8(octets) else { return 0 };
    match parse("fuzz.toml", text, Path::new("")) {
        Ok(loaded) => {
            // What was accepted does not differ from itself.
            assert!(difference(&loaded, &loaded).changes.is_empty());
            0
        }
        Err(Mistakes(found)) => {
            assert!(!found.is_empty(), "refused without a reason");
            let lines = text.matches('\n').count() + 1;
            for m in &found {
                assert!((1..=lines).contains(&m.line) && m.column >= 1, "{m}");
            }
            found.len()
        }
    }
}
