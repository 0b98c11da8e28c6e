//! The audit log: who was given a key, who registered where. JSON lines, appended only, each holding the hash of the one
//! before it, so that a line changed, removed or inserted breaks the chain from there on. Never a secret.
//!
//! ```text
//! {"n":7,"at":1763900000000,"event":"key.add","kind":"terminal","id":"alice@example.test","prev":"<hash of line 6>","hash":"..."}
//! ```
//!
//! `hash` is SHA-256 over the line before `,"hash"`, in hex. A full file is renamed to `<name>.<n of its last line>` and
//! the chain goes on in a new one. Several processes may append; a lock on the file orders them.

use ring::digest::{SHA256, digest};
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// Longest line; identities and addresses are far shorter.
const LINE_MAX: usize = 4_096;
/// The hash before the first line.
const BEGINNING: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// One thing to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEntry {
    /// When, milliseconds since 1970 UTC.
    pub at_ms: u64,
    /// What, as `noun.verb`.
    pub event: &'static str,
    /// Particulars, by name. Never a secret.
    pub fields: Vec<(&'static str, String)>,
}

impl AuditEntry {
    /// An entry.
    pub fn new(at_ms: u64, event: &'static str, fields: &[(&'static str, &str)]) -> Self {
        let fields = fields.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        Self { at_ms, event, fields }
    }
}

/// Where the chain stands.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Tail {
    n: u64,
    hash: String,
}

struct Open {
    file: File,
    tail: Tail,
    /// Octets of the file when this process last looked.
    len: u64,
}

/// The log. Shared between threads as it stands.
pub struct Audit {
    path: PathBuf,
    max: u64,
    open: Mutex<Open>,
}

impl core::fmt::Debug for Audit {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Audit").field("path", &self.path).finish_non_exhaustive()
    }
}

fn hash_of(text: &[u8]) -> String {
    digest(&SHA256, text).as_ref().iter().map(|b| format!("{b:02x}")).collect()
}

/// Reads a line's number, predecessor and own hash, when the hash is right.
fn check_line(line: &str) -> Option<(u64, String, Tail)> {
    let (body, rest) = line.rsplit_once(",\"hash\":\"")?;
    let hash = rest.strip_suffix("\"}")?;
    let value: serde_json::Value = serde_json::from_str(line).ok()?;
    let n = value.get("n")?.as_u64()?;
    let prev = value.get("prev")?.as_str()?.to_owned();
    (hash_of(body.as_bytes()) == hash).then(|| (n, prev, Tail { n, hash: hash.to_owned() }))
}

impl Audit {
    /// Opens the log, or begins one, readable by its owner only. A last line that a crash cut short is removed: nobody
    /// was told that it was written. `max`: octets after which a new file is begun.
    ///
    /// # Errors
    /// The file cannot be opened, or its last whole line is not one of this log's.
    pub fn open(path: &Path, max: u64) -> io::Result<Self> {
        let mut file = append(path)?;
        file.lock()?;
        let tail = recover(path, &mut file)?;
        let len = file.metadata()?.len();
        file.unlock()?;
        Ok(Self { path: path.to_path_buf(), max: max.max(LINE_MAX as u64), open: Mutex::new(Open { file, tail, len }) })
    }

    /// Appends entries in order. They are on the disk when this returns.
    ///
    /// # Errors
    /// As the file system gives them; then it is unknown which of them were written.
    pub fn append(&self, entries: &[AuditEntry]) -> io::Result<()> {
        // A panic elsewhere leaves the chain as it was last written; it is read again below where in doubt.
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        self.lock_current(&mut open)?;
        let done = self.append_locked(&mut open, entries);
        let unlocked = open.file.unlock();
        done.and(unlocked)
    }

    /// Takes the lock on the file that now bears the name, and catches up with what other processes wrote.
    fn lock_current(&self, open: &mut Open) -> io::Result<()> {
        loop {
            open.file.lock()?;
            let ours = open.file.metadata()?;
            let theirs = std::fs::metadata(&self.path);
            if theirs.is_ok_and(|t| (t.ino(), t.dev()) == (ours.ino(), ours.dev())) {
                if ours.len() != open.len {
                    open.tail = recover(&self.path, &mut open.file)?;
                }
                return Ok(());
            }
            // Another process began a new file.
            open.file.unlock()?;
            open.file = append(&self.path)?;
            open.len = u64::MAX;
        }
    }

    fn append_locked(&self, open: &mut Open, entries: &[AuditEntry]) -> io::Result<()> {
        open.len = open.file.metadata()?.len();
        let mut text = Vec::new();
        for entry in entries {
            let line = self.line(&mut open.tail, entry)?;
            if open.len + (text.len() + line.len()) as u64 > self.max && open.len + text.len() as u64 > 0 {
                self.write(open, &text)?;
                text.clear();
                self.begin_file(open)?;
            }
            text.extend_from_slice(line.as_bytes());
        }
        self.write(open, &text)
    }

    fn line(&self, tail: &mut Tail, entry: &AuditEntry) -> io::Result<String> {
        let mut body = format!("{{\"n\":{},\"at\":{},\"event\":\"{}\"", tail.n + 1, entry.at_ms, entry.event);
        for (name, value) in &entry.fields {
            body.push_str(&format!(",\"{name}\":{}", serde_json::to_string(value)?));
        }
        body.push_str(&format!(",\"prev\":\"{}\"", tail.hash));
        let hash = hash_of(body.as_bytes());
        body.push_str(&format!(",\"hash\":\"{hash}\"}}\n"));
        if body.len() > LINE_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "an audit line is too long"));
        }
        *tail = Tail { n: tail.n + 1, hash };
        Ok(body)
    }

    fn write(&self, open: &mut Open, text: &[u8]) -> io::Result<()> {
        if text.is_empty() {
            return Ok(());
        }
        let done = open.file.write_all(text).and_then(|()| open.file.sync_data());
        open.len = match done {
            Ok(()) => open.len + text.len() as u64,
            // What is in the file now is looked up before the next line.
            Err(_) => u64::MAX,
        };
        done
    }

    /// Sets the full file aside and goes on in a new one, both locked.
    fn begin_file(&self, open: &mut Open) -> io::Result<()> {
        // The line that did not fit has its number already.
        let aside = aside(&self.path, open.tail.n - 1);
        std::fs::rename(&self.path, aside)?;
        let file = append(&self.path)?;
        file.lock()?;
        open.file.unlock()?;
        open.file = file;
        open.len = 0;
        Ok(())
    }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path)
}

fn aside(path: &Path, n: u64) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{n}"));
    PathBuf::from(name)
}

/// Cuts a torn last line off and finds where the chain stands, in an older file when this one is new.
fn recover(path: &Path, file: &mut File) -> io::Result<Tail> {
    let len = file.metadata()?.len();
    let from = len.saturating_sub(2 * LINE_MAX as u64);
    file.seek(SeekFrom::Start(from))?;
    let mut end = Vec::new();
    file.read_to_end(&mut end)?;
    let whole = end.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
    if whole < end.len() {
        file.set_len(from + whole as u64)?;
    }
    let kept = end.get(..whole.saturating_sub(1)).unwrap_or_default();
    if kept.is_empty() {
        return older(path);
    }
    let line = kept.rsplit(|b| *b == b'\n').next().unwrap_or_default();
    let tail = core::str::from_utf8(line).ok().and_then(check_line);
    let fault = || io::Error::new(io::ErrorKind::InvalidData, format!("{}: broken last line", path.display()));
    tail.map(|(_, _, tail)| tail).ok_or_else(fault)
}

/// The end of the newest file that was set aside.
fn older(path: &Path) -> io::Result<Tail> {
    let beginning = Tail { n: 0, hash: BEGINNING.to_owned() };
    let (Some(folder), Some(name)) = (path.parent(), path.file_name().and_then(|n| n.to_str())) else {
        return Ok(beginning);
    };
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let mut newest: Option<u64> = None;
    for entry in std::fs::read_dir(folder)? {
        let file = entry?.file_name();
        let n = file.to_str().and_then(|f| f.strip_prefix(name)).and_then(|f| f.strip_prefix('.'));
        newest = newest.max(n.and_then(|n| n.parse().ok()));
    }
    match newest {
        Some(n) => recover(&aside(path, n), &mut OpenOptions::new().read(true).append(true).open(aside(path, n))?),
        None => Ok(beginning),
    }
}

/// What [`verify`] found in a whole file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// Number of its first line.
    pub first: u64,
    /// Number of its last line.
    pub last: u64,
    /// The hash that its first line claims for the line before it.
    pub before: String,
    /// The hash of its last line: keep it elsewhere, and nobody can rewrite the log unseen.
    pub hash: String,
}

/// Checks one file of a log from end to end.
///
/// # Errors
/// The number of the first line (counted from 1 in the file) that was changed, removed before, or inserted; 0 when the
/// file cannot be read or is empty.
pub fn verify(path: &Path) -> Result<Verified, usize> {
    let text = std::fs::read_to_string(path).map_err(|_| 0usize)?;
    let mut found: Option<Verified> = None;
    for (at, line) in text.lines().enumerate() {
        let (n, prev, tail) = check_line(line).ok_or(at + 1)?;
        match &mut found {
            None => found = Some(Verified { first: n, last: n, before: prev, hash: tail.hash }),
            Some(v) if v.last + 1 == n && v.hash == prev => {
                v.last = n;
                v.hash = tail.hash;
            }
            Some(_) => return Err(at + 1),
        }
    }
    found.ok_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(n: u64) -> AuditEntry {
        AuditEntry::new(n, "key.add", &[("kind", "terminal"), ("id", "ali\"ce\n@example.test")])
    }

    #[test]
    fn lines_chain_over_reopening_and_every_change_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.log");
        Audit::open(&path, 1 << 20).unwrap().append(&[entry(1), entry(2)]).unwrap();
        Audit::open(&path, 1 << 20).unwrap().append(&[entry(3)]).unwrap();
        let good = std::fs::read_to_string(&path).unwrap();
        let verified = verify(&path).unwrap();
        assert_eq!((verified.first, verified.last, verified.before.as_str()), (1, 3, BEGINNING));
        let value: serde_json::Value = serde_json::from_str(good.lines().next().unwrap()).unwrap();
        assert_eq!(value["id"], "ali\"ce\n@example.test");
        let lines: Vec<&str> = good.lines().collect();
        let tampered = [(lines[1].replace("\"at\":2", "\"at\":9"), 2), (String::new(), 2), (lines[0].to_owned(), 2)];
        for (second, at) in tampered {
            std::fs::write(&path, format!("{}\n{second}\n{}\n", lines[0], lines[2])).unwrap();
            assert_eq!(verify(&path), Err(at), "{second}");
        }
        std::fs::write(&path, format!("{}\n{}\n", lines[0], lines[2])).unwrap();
        assert_eq!(verify(&path), Err(2));
    }

    #[test]
    fn a_torn_line_goes_and_the_chain_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.log");
        Audit::open(&path, 1 << 20).unwrap().append(&[entry(1), entry(2)]).unwrap();
        let good = std::fs::read(&path).unwrap();
        let first = good.iter().position(|b| *b == b'\n').unwrap() + 1;
        for cut in [0, 1, first - 1, first, first + 1, good.len() - 1, good.len()] {
            std::fs::write(&path, &good[..cut]).unwrap();
            Audit::open(&path, 1 << 20).unwrap().append(&[entry(9)]).unwrap();
            let whole = [0, first, good.len()].into_iter().filter(|w| *w <= cut).count() as u64 - 1;
            assert_eq!(verify(&path).unwrap().last, whole + 1, "{cut}");
        }
    }

    #[test]
    fn full_files_are_set_aside_and_chained() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.log");
        let audit = Audit::open(&path, 0).unwrap();
        for n in 0..50 {
            audit.append(&[entry(n)]).unwrap();
        }
        drop(audit);
        let mut parts: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().path()).collect();
        parts.sort_by_key(|p| verify(p).unwrap().first);
        assert!(parts.len() > 2);
        let mut before = (0, BEGINNING.to_owned());
        for part in &parts {
            let v = verify(part).unwrap();
            assert_eq!((v.first, &v.before), (before.0 + 1, &before.1));
            assert!(std::fs::metadata(part).unwrap().len() <= LINE_MAX as u64);
            before = (v.last, v.hash);
        }
        assert_eq!(before.0, 50);
        // A crash between setting aside and beginning anew: the chain is found in what was set aside.
        std::fs::rename(&path, aside(&path, 50)).unwrap();
        Audit::open(&path, 0).unwrap().append(&[entry(51)]).unwrap();
        assert_eq!(verify(&path).unwrap().before, before.1);
    }

    #[test]
    fn several_writers_make_one_chain() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.log");
        // Each its own opening, as processes have.
        std::thread::scope(|s| {
            for _ in 0..4 {
                s.spawn(|| {
                    let audit = Audit::open(&path, 1 << 20).unwrap();
                    for n in 0..25 {
                        audit.append(&[entry(n), entry(n)]).unwrap();
                    }
                });
            }
        });
        assert_eq!(verify(&path).unwrap().last, 200);
    }
}
