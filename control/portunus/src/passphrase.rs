//! Keys from passphrases: asked for, or read from a file; refused when weak, at the AuC and at the terminal alike.

use crate::cli::PassphraseArgs;
use crate::exit::{Exit, Failure};
use portunus_keydist::Key;
use std::io::Read as _;
use std::path::Path;
use zeroize::Zeroizing;

/// Longest that is read from standard input, octets.
const READ_MAX: u64 = 1_024;

/// The realm of a terminal: what is named, or the part of its identity after `@`, as terminals take it.
///
/// # Errors
/// There is neither.
pub fn realm<'a>(named: Option<&'a str>, id: &'a str) -> Result<&'a str, Failure> {
    let host = || id.split_once('@').map(|(_, host)| host).filter(|host| !host.is_empty());
    named.or_else(host).ok_or_else(|| Failure::new(Exit::Usage, format!("{id} has no domain"), "add --realm"))
}

/// The key that a command line's passphrase makes for a terminal; `None` where it names no passphrase. `new`: it is asked
/// for twice.
///
/// # Errors
/// It cannot be read, is weak, or was not typed twice alike.
pub fn key(args: &PassphraseArgs, id: &str, named: Option<&str>, new: bool) -> Result<Option<Key>, Failure> {
    let text = match &args.passphrase_file {
        Some(file) => of_file(file, id, realm(named, id)?)?,
        None if args.passphrase => ask(id, new)?,
        None => return Ok(None),
    };
    derive(&text, id, realm(named, id)?).map(Some)
}

/// The key that a passphrase makes.
///
/// # Errors
/// It is refused.
pub fn derive(passphrase: &str, id: &str, realm: &str) -> Result<Key, Failure> {
    let made = portunus_passphrase::derive(passphrase, id, realm);
    made.map(|key| Key::new(*key)).map_err(|e| Failure::configuration(e.to_string(), e.next()))
}

fn of_file(file: &Path, id: &str, realm: &str) -> Result<Zeroizing<String>, Failure> {
    if file != Path::new("-") {
        return Ok(portunus_config::read_passphrase(file, id, realm)?);
    }
    let mut text = Zeroizing::new(String::with_capacity(READ_MAX as usize + 1));
    let read = std::io::stdin().lock().take(READ_MAX).read_to_string(&mut text);
    read.map_err(|e| Failure::io("reading standard input", &e))?;
    Ok(Zeroizing::new(text.lines().next().unwrap_or_default().to_owned()))
}

fn ask(id: &str, new: bool) -> Result<Zeroizing<String>, Failure> {
    let one = |question: String| {
        rpassword::prompt_password(question).map(Zeroizing::new).map_err(|e| {
            let what = format!("no terminal to ask for the passphrase at: {e}");
            Failure::new(Exit::Usage, what, "name a file with --passphrase-file, or `-` for standard input")
        })
    };
    let first = one(format!("Passphrase of {id}: "))?;
    if new && *first != *one("The same again: ".to_owned())? {
        return Err(Failure::new(Exit::Usage, "the two passphrases differ", "type it anew"));
    }
    Ok(first)
}
