//! The AuC's store: opening it with its master key, and putting keys into it.

use crate::exit::{Exit, Failure};
use portunus_auc::custody::{Master, MasterKey};
use portunus_auc::store::{Store, StoreError};
use portunus_auc::token::{self, Pin, Token};
use portunus_config::model::{KeySource, MasterSource, PinSource, TokenKey};
use portunus_keydist::SystemRandom;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// Milliseconds since 1970 UTC.
pub fn wall_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64
}

/// What the store's errors are to whoever started us.
pub fn fault(e: StoreError) -> Failure {
    let text = e.to_string();
    match e {
        StoreError::WrongMasterKey { .. } => {
            Failure::configuration(text, "name the master key that the store was made with")
        }
        StoreError::Custody(_) => Failure::configuration(text, "correct [auc.master_key]"),
        StoreError::Unwrapped { .. } => {
            let next =
                "with the master key that it has now: `portunus store migrate`, then `portunus store master admit`";
            Failure::new(Exit::Failed, text, next)
        }
        StoreError::Exists { .. } => Failure::new(Exit::Failed, text, "`portunus key rotate` gives it a new key"),
        StoreError::Missing { .. } => Failure::new(Exit::Failed, text, "`portunus key list` shows who is there"),
        StoreError::Changed { .. } => Failure::new(Exit::Failed, text, "look again, and decide again"),
        StoreError::NoSuch { .. } => Failure::new(Exit::Failed, text, "its `list` shows what is there"),
        StoreError::Code { .. } => Failure::new(Exit::Failed, text, "see `portunus code list`; `code revoke` ends one"),
        StoreError::Full { .. } => Failure::new(Exit::Failed, text, "remove what is not used any more"),
        StoreError::Unnamed { .. } => Failure::new(Exit::Usage, text, "write another name"),
        StoreError::Malformed { .. } => Failure::new(Exit::Usage, text, "see `portunus key add --help`"),
        StoreError::Record { .. } => Failure::new(
            Exit::Failed,
            text,
            "remove the identity and add it anew, or bring a backup back with `portunus store restore`",
        ),
        StoreError::Backend { .. } => Failure::new(
            Exit::Failed,
            text,
            "see that the disk has room and the file is ours to write; if it is damaged, bring a backup back with \
             `portunus store restore --replace`",
        ),
        StoreError::Newer { .. } => Failure::new(Exit::Failed, text, "use the version that wrote it, or a later one"),
        StoreError::Older { .. } => Failure::new(Exit::Failed, text, "run `portunus store migrate` first"),
        StoreError::Replica { .. } => {
            Failure::configuration(text, "name the node's configuration with --config: its [auc.database] is asked")
        }
        StoreError::Database { unknown: true, .. } => {
            Failure::unreachable(text, "see `portunus key list` once the database is back, and repeat what is missing")
        }
        StoreError::Database { .. } => {
            Failure::unreachable(text, "see to the database and repeat; meanwhile terminals register as before")
        }
        StoreError::Masters { .. } => {
            Failure::new(Exit::Failed, text, "retire one first: `portunus store master retire` with the one to keep")
        }
    }
}

/// The master key of a configuration; made where the configuration says so and it does not exist yet.
///
/// # Errors
/// What is wrong with its place.
pub fn master_key(source: &MasterSource, create: bool) -> Result<Box<dyn Master>, Failure> {
    let next = "correct [auc.master_key], or what the command line names";
    let source = match source {
        MasterSource::Key(source) => source,
        MasterSource::Token(key) => {
            let token = Token::open(&token_place(key)).map_err(|e| Failure::configuration(e.to_string(), next))?;
            return Ok(Box::new(Arc::new(token)));
        }
    };
    let made = match source {
        KeySource::File(path) if create && !path.exists() => {
            folder_of(path)?;
            MasterKey::create_file(path, &mut SystemRandom::new())
        }
        KeySource::File(path) => MasterKey::from_file(path),
        KeySource::Credential(name) => MasterKey::from_credential(name),
        KeySource::Environment(name) => MasterKey::from_environment(name),
        KeySource::Inline(text) => {
            let key = MasterKey::parse(text.expose());
            return match key {
                Some(key) => Ok(Box::new(key)),
                None => Err(Failure::configuration("auc.master_key.hex is no key", "write 64 hex digits")),
            };
        }
    };
    match made {
        Ok(key) => Ok(Box::new(key)),
        Err(e) => Err(Failure::configuration(e.to_string(), next)),
    }
}

/// The same place in the AuC's words.
pub fn token_place(key: &TokenKey) -> token::Place {
    let TokenKey { module, token, serial, object, id, pin, .. } = key.clone();
    let pin = match pin {
        PinSource::File(path) => Pin::File(path),
        PinSource::Credential(name) => Pin::Credential(name),
        PinSource::Keypad => Pin::Keypad,
    };
    token::Place { module, token, serial, object, id, pin }
}

/// What a command line names as a master key: a file, or the URI of a key in a token.
///
/// # Errors
/// A URI that is wrong.
pub fn named(named: &Path) -> Result<MasterSource, Failure> {
    match named.to_str().filter(|text| text.starts_with(portunus_config::PKCS11)) {
        None => Ok(MasterSource::Key(KeySource::File(PathBuf::from(named)))),
        Some(uri) => match portunus_config::pkcs11_uri(uri) {
            Ok(key) => Ok(MasterSource::Token(key)),
            Err((problem, write)) => Err(Failure::new(Exit::Usage, problem, write)),
        },
    }
}

/// Makes the folder of a file.
///
/// # Errors
/// What the file system says.
pub fn folder_of(path: &Path) -> Result<(), Failure> {
    match path.parent().filter(|p| !p.as_os_str().is_empty()) {
        Some(folder) => {
            std::fs::create_dir_all(folder).map_err(|e| Failure::io(&format!("making {}", folder.display()), &e))
        }
        None => Ok(()),
    }
}

/// Has every record looked at, without opening any: an AuC does not start on a store that it cannot read.
///
/// # Errors
/// The first damaged record, and how to bring it back.
pub fn looked_at(store: Store) -> Result<Store, Failure> {
    let found = store.verify(portunus_auc::store::Depth::Heads, &mut |_| ()).map_err(fault)?;
    match found.damaged.into_iter().next() {
        Some((noun, id)) => Err(fault(StoreError::Record { noun, id })),
        None => Ok(store),
    }
}

/// Opens a store, making it when it does not exist.
///
/// # Errors
/// A master key that is not this store's, or what the file system says.
pub fn open_with(path: &Path, master: &dyn Master) -> Result<Store, Failure> {
    folder_of(path)?;
    Store::open(path, master, &mut SystemRandom::new()).map_err(fault)
}
