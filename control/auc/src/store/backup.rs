//! Backups: one moment of the store in one file that is of no use to whoever lacks the master key.
//!
//! ```text
//! "portunus backup" | version 1 or 2 | salt 16 | in version 2 only: nonce 12, sealed key 32, tag 16 | chunks
//! chunk: length of what follows u32 | nonce 12 | sealed | tag 16
//! sealed: last u8 | rows; in the last chunk: number of rows u64
//! row: table u8 | length u16 | key | length u32 | value
//! ```
//!
//! Everything is sealed, identities and registrations too: AES-256-GCM-SIV under HKDF(master key, salt), or, where a
//! token holds the master key (version 2), under a random key that the token sealed; bound to the
//! head and the chunk's number, so that chunks can neither be altered, left out, moved nor taken from another backup.
//! A backup opens with the master key of its day: keep that as long as the backup.

use super::{CODES, DEVICES, META, PREVIOUS, REGISTRATIONS, SUBSCRIBERS, Store, StoreError, TOKENS};
use crate::custody::{self, Master, MasterKey};
use core::fmt;
use portunus_keydist::Random;
use redb::{Builder, Database, ReadableTable as _, TableDefinition};
use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

const MAGIC: &[u8; 15] = b"portunus backup";
/// The key follows from the master key.
const DERIVED: u8 = 1;
/// The key is in the head, sealed by the token that holds the master key.
const WRAPPED: u8 = 2;
const HEAD: usize = 32;
/// What follows the head in the second version.
const SEALED_KEY: usize = 32 + custody::SEAL_OVERHEAD;
/// Rows are gathered up to this before they are sealed, octets.
const CHUNK: usize = 64 << 10;
/// No chunk is longer: a row of any store fits beside a full chunk.
const CHUNK_MAX: usize = CHUNK + (1 << 20);
/// The tables, by their numbers in rows.
const TABLES: [TableDefinition<'static, &str, &[u8]>; 7] =
    [SUBSCRIBERS, DEVICES, REGISTRATIONS, META, PREVIOUS, TOKENS, CODES];

/// Why there is no backup, or it was not brought back. No text here holds key material.
#[derive(Debug)]
pub enum BackupError {
    /// The file system's fault.
    Io(PathBuf, io::Error),
    /// The file is no backup, or one of another version.
    NoBackup(PathBuf),
    /// The first chunk does not open: another master key's, or altered.
    WrongMasterKey(PathBuf),
    /// It ends early, or a chunk was altered, left out or moved: the chunk's number, from 0.
    Damaged(PathBuf, u32),
    /// The place is taken.
    Exists(PathBuf),
    /// The store's fault.
    Store(StoreError),
}

impl fmt::Display for BackupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(path, e) => write!(f, "{}: {e}", path.display()),
            Self::NoBackup(path) => write!(f, "{}: not a backup of a store", path.display()),
            Self::WrongMasterKey(path) => {
                write!(f, "{}: does not open with this master key, or its beginning was altered", path.display())
            }
            Self::Damaged(path, chunk) => {
                write!(f, "{}: damaged or cut short at chunk {chunk}; nothing was restored", path.display())
            }
            Self::Exists(path) => write!(f, "{} exists already", path.display()),
            Self::Store(e) => e.fmt(f),
        }
    }
}

impl core::error::Error for BackupError {}

impl From<StoreError> for BackupError {
    fn from(e: StoreError) -> Self {
        Self::Store(e)
    }
}

/// What chunks are sealed under, and where in the file we are.
struct Seal {
    key: Zeroizing<[u8; 32]>,
    head: [u8; HEAD],
    chunk: u32,
}

impl Seal {
    fn derived(master: &MasterKey, head: [u8; HEAD]) -> Self {
        // The label is as in the first version of all: the version's octet stands before the salt.
        let label = [b"portunus backup".as_slice(), &head[MAGIC.len() + 1..]].concat();
        Self { key: master.derive(&label), head, chunk: 0 }
    }

    /// For a new backup, with all that stands before the chunks.
    fn make(master: &dyn Master, rng: &mut dyn Random) -> Result<(Self, Vec<u8>), StoreError> {
        let mut head = [0u8; HEAD];
        head[..MAGIC.len()].copy_from_slice(MAGIC);
        rng.fill(&mut head[MAGIC.len() + 1..]);
        if let Some(held) = master.held() {
            head[MAGIC.len()] = DERIVED;
            return Ok((Self::derived(held, head), head.to_vec()));
        }
        head[MAGIC.len()] = WRAPPED;
        let mut key = Zeroizing::new([0u8; 32]);
        rng.fill(key.as_mut_slice());
        let sealed = master.wrapping().seal(&head, key.as_slice(), rng)?;
        Ok((Self { key, head, chunk: 0 }, [head.as_slice(), &sealed].concat()))
    }

    /// Of a backup that begins here; `None` when it is of another master key.
    fn find(master: &dyn Master, head: [u8; HEAD], file: &mut impl Read) -> Result<Option<Self>, StoreError> {
        if head[MAGIC.len()] == DERIVED {
            return Ok(master.held().map(|held| Self::derived(held, head)));
        }
        let mut sealed = [0u8; SEALED_KEY];
        if master.held().is_some() || file.read_exact(&mut sealed).is_err() {
            return Ok(None);
        }
        let opened = master.wrapping().open(&head, &sealed)?;
        let key = opened.and_then(|key| Some(Zeroizing::new(<[u8; 32]>::try_from(key.as_slice()).ok()?)));
        Ok(key.map(|key| Self { key, head, chunk: 0 }))
    }

    /// What the next chunk is bound to.
    fn bound(&mut self) -> Vec<u8> {
        let bound = [self.head.as_slice(), &self.chunk.to_be_bytes()].concat();
        self.chunk += 1;
        bound
    }
}

/// Writes a backup to a new file of mode 0600, while others go on working; how many rows it holds. `told` hears how
/// many are written. A file that could not be finished is removed.
///
/// # Errors
/// [`BackupError`].
pub fn write(
    store: &Store,
    master: &dyn Master,
    to: &Path,
    told: &mut dyn FnMut(u64),
    rng: &mut dyn Random,
) -> Result<u64, BackupError> {
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(to);
    let file = made.map_err(|e| match e.kind() {
        io::ErrorKind::AlreadyExists => BackupError::Exists(to.to_path_buf()),
        _ => BackupError::Io(to.to_path_buf(), e),
    })?;
    let written = write_rows(store, master, (file, to), told, rng);
    if written.is_err() {
        let _ = std::fs::remove_file(to);
    }
    written
}

fn write_rows(
    store: &Store,
    master: &dyn Master,
    (file, to): (File, &Path),
    told: &mut dyn FnMut(u64),
    rng: &mut dyn Random,
) -> Result<u64, BackupError> {
    let failed = |e: io::Error| BackupError::Io(to.to_path_buf(), e);
    let fault =
        |e: redb::Error| BackupError::Store(StoreError::Backend { path: store.path.clone(), what: e.to_string() });
    let (mut seal, head) = Seal::make(master, rng)?;
    let mut out = BufWriter::new(file);
    out.write_all(&head).map_err(failed)?;
    let mut put = |rows: &mut Vec<u8>, rng: &mut dyn Random| {
        let bound = seal.bound();
        let sealed = custody::seal(&seal.key, &bound, rows, rng);
        rows.clear();
        rows.push(0);
        out.write_all(&(sealed.len() as u32).to_be_bytes()).and_then(|()| out.write_all(&sealed)).map_err(failed)
    };
    let (mut rows, mut count) = (vec![0u8], 0u64);
    let txn = store.db.begin_read().map_err(fault)?;
    for (n, table) in TABLES.into_iter().enumerate() {
        let table = txn.open_table(table).map_err(|e| fault(e.into()))?;
        for row in table.iter().map_err(|e| fault(e.into()))? {
            let (key, value) = row.map_err(|e| fault(e.into()))?;
            push(&mut rows, n as u8, key.value(), value.value());
            count += 1;
            if rows.len() >= CHUNK {
                put(&mut rows, rng)?;
                told(count);
            }
        }
    }
    rows[0] = 1;
    rows.extend_from_slice(&count.to_be_bytes());
    put(&mut rows, rng)?;
    told(count);
    out.flush().map_err(failed)?;
    out.get_ref().sync_all().map_err(failed)?;
    Ok(count)
}

/// Identities are at most 128 octets and records a few hundred.
fn push(rows: &mut Vec<u8>, table: u8, key: &str, value: &[u8]) {
    rows.push(table);
    rows.extend_from_slice(&(key.len() as u16).to_be_bytes());
    rows.extend_from_slice(key.as_bytes());
    rows.extend_from_slice(&(value.len() as u32).to_be_bytes());
    rows.extend_from_slice(value);
}

/// Brings a backup back into a new store at `to`; how many rows it holds. It is built beside that place and put there
/// only when all of it was read, opened and made durable. `told` hears how many rows are done.
///
/// # Errors
/// [`BackupError`]; then nothing is at `to` that was not there before.
pub fn restore(from: &Path, master: &dyn Master, to: &Path, told: &mut dyn FnMut(u64)) -> Result<u64, BackupError> {
    if to.exists() {
        return Err(BackupError::Exists(to.to_path_buf()));
    }
    let mut name = to.file_name().unwrap_or_default().to_owned();
    name.push(".restoring");
    let beside = to.with_file_name(name);
    let removed = |e: &io::Error| e.kind() == io::ErrorKind::NotFound;
    // One that an earlier attempt left is worth nothing.
    std::fs::remove_file(&beside)
        .or_else(|e| if removed(&e) { Ok(()) } else { Err(e) })
        .map_err(|e| BackupError::Io(beside.clone(), e))?;
    let done = restore_rows(from, master, &beside, told).and_then(|count| {
        // It must open with the same master key, for the store's own envelope is among the rows.
        drop(Store::open(&beside, master, &mut portunus_keydist::SystemRandom::new())?);
        std::fs::rename(&beside, to).map_err(|e| BackupError::Io(to.to_path_buf(), e))?;
        sync_folder(to)?;
        Ok(count)
    });
    if done.is_err() {
        let _ = std::fs::remove_file(&beside);
    }
    done
}

/// A new name in a folder is durable when the folder is.
fn sync_folder(of: &Path) -> Result<(), BackupError> {
    let folder = of.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder).and_then(|f| f.sync_all()).map_err(|e| BackupError::Io(folder.to_path_buf(), e))
}

fn restore_rows(from: &Path, master: &dyn Master, to: &Path, told: &mut dyn FnMut(u64)) -> Result<u64, BackupError> {
    let failed = |e: io::Error| BackupError::Io(from.to_path_buf(), e);
    let fault =
        |e: redb::Error| BackupError::Store(StoreError::Backend { path: to.to_path_buf(), what: e.to_string() });
    let mut file = BufReader::new(File::open(from).map_err(failed)?);
    let mut head = [0u8; HEAD];
    let whole = file.read_exact(&mut head);
    if whole.is_err() || !head.starts_with(MAGIC) || ![DERIVED, WRAPPED].contains(&head[MAGIC.len()]) {
        return Err(BackupError::NoBackup(from.to_path_buf()));
    }
    super::private_file(to).map_err(|e| BackupError::Io(to.to_path_buf(), e))?;
    let db = Builder::new().create(to).map_err(|e| fault(e.into()))?;
    let found = Seal::find(master, head, &mut file)?;
    let mut seal = found.ok_or_else(|| BackupError::WrongMasterKey(from.to_path_buf()))?;
    let mut count = 0;
    loop {
        let chunk = seal.chunk;
        let damaged = || BackupError::Damaged(from.to_path_buf(), chunk);
        let sealed = chunk_of(&mut file).map_err(|e| match e.kind() {
            io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData => damaged(),
            _ => failed(e),
        })?;
        let bound = seal.bound();
        let opened = custody::open(&seal.key, &bound, &sealed).map_err(|_| match chunk {
            0 => BackupError::WrongMasterKey(from.to_path_buf()),
            _ => damaged(),
        })?;
        let (last, mut rows) = opened.split_first().ok_or_else(damaged)?;
        let mut promised = None;
        if *last == 1 {
            let (before, n) = rows.split_last_chunk::<8>().ok_or_else(damaged)?;
            (rows, promised) = (before, Some(u64::from_be_bytes(*n)));
        }
        count += insert(&db, rows).map_err(|e| e.map_or_else(damaged, fault))?;
        told(count);
        match promised {
            Some(n) if n == count && at_end(&mut file) => return Ok(count),
            Some(_) => return Err(damaged()),
            None => {}
        }
    }
}

fn at_end(file: &mut impl Read) -> bool {
    matches!(file.read(&mut [0u8]), Ok(0))
}

fn chunk_of(file: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut len = [0u8; 4];
    file.read_exact(&mut len)?;
    let len = u32::from_be_bytes(len) as usize;
    if len > CHUNK_MAX {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut sealed = vec![0; len];
    file.read_exact(&mut sealed)?;
    Ok(sealed)
}

/// Table, key and value.
type Row<'a> = (u8, &'a str, &'a [u8]);

/// One row, and what follows it.
fn row(rows: &[u8]) -> Option<(Row<'_>, &[u8])> {
    let (table, rest) = rows.split_first()?;
    let (len, rest) = rest.split_first_chunk::<2>()?;
    let (key, rest) = rest.split_at_checked(u16::from_be_bytes(*len).into())?;
    let (len, rest) = rest.split_first_chunk::<4>()?;
    let (value, rest) = rest.split_at_checked(u32::from_be_bytes(*len) as usize)?;
    Some(((*table, core::str::from_utf8(key).ok()?, value), rest))
}

/// Puts rows into a store in the making; `Err(None)` when they are none.
fn insert(db: &Database, mut rows: &[u8]) -> Result<u64, Option<redb::Error>> {
    let txn = db.begin_write().map_err(|e| Some(e.into()))?;
    let mut count = 0;
    {
        let mut tables = Vec::with_capacity(TABLES.len());
        for table in TABLES {
            tables.push(txn.open_table(table).map_err(|e| Some(e.into()))?);
        }
        while !rows.is_empty() {
            let ((table, key, value), rest) = row(rows).ok_or(None)?;
            let table = tables.get_mut(usize::from(table)).ok_or(None)?;
            table.insert(key, value).map_err(|e| Some(e.into()))?;
            (rows, count) = (rest, count + 1);
        }
    }
    txn.commit().map_err(|e| Some(e.into()))?;
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{account, entry, lab, master, octets, rng};
    use super::super::{Depth, IfThere, Kind, Space};
    use super::*;
    use portunus_keydist::steps::Registration;

    const DEVICE: &str = "sp1.example.test";

    fn filled(store: &Store, n: u32) {
        let batch: Vec<_> = (0..n).map(|n| entry(&format!("t{n}@example.test"), Kind::Terminal, n as u8)).collect();
        store.put(1, &batch, IfThere::Refuse, &mut rng()).unwrap();
        store.put(1, &[entry(DEVICE, Kind::Device, 0xd7)], IfThere::Refuse, &mut rng()).unwrap();
        store.record(5, &[account("t1@example.test", 1, Registration::Start)]).unwrap();
    }

    #[test]
    fn what_was_saved_comes_back_whole_and_only_with_the_master_key() {
        let lab = lab();
        let store = lab.open();
        filled(&store, 2000);
        let (file, other) = (lab.path.with_file_name("backup"), lab.path.with_file_name("other.redb"));
        let rows = write(&store, &master(1), &file, &mut |_| (), &mut rng()).unwrap();
        assert!(matches!(write(&store, &master(1), &file, &mut |_| (), &mut rng()), Err(BackupError::Exists(_))));
        let text = std::fs::read(&file).unwrap();
        let readable = |what: &[u8]| text.windows(what.len()).any(|w| w == what);
        assert!(!readable(b"example.test") && !readable(&[0xd7; 8]), "nothing in it can be read");
        assert!(matches!(restore(&file, &master(2), &other, &mut |_| ()), Err(BackupError::WrongMasterKey(_))));
        let mut told = 0;
        assert_eq!(restore(&file, &master(1), &other, &mut |n| told = n).unwrap(), rows);
        assert_eq!(told, rows);
        assert!(matches!(restore(&file, &master(1), &other, &mut |_| ()), Err(BackupError::Exists(_))));
        let back = Store::open(&other, &master(1), &mut rng()).unwrap();
        let [before, after] = [&store, &back].map(|s| s.verify(Depth::Records, &mut |_| ()).unwrap());
        assert_eq!((before.subscribers, &before), (2000, &after));
        assert_eq!(octets(&back, Space::Device, DEVICE), Some(vec![0xd7; 32]));
        assert_eq!(back.registration("t1@example.test").unwrap(), store.registration("t1@example.test").unwrap());
        assert_eq!(back.generation().unwrap(), store.generation().unwrap());
        use std::os::unix::fs::PermissionsExt as _;
        for path in [&file, &other] {
            assert_eq!(std::fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
        }
    }

    #[test]
    fn cut_anywhere_or_altered_anywhere_nothing_is_restored() {
        let lab = lab();
        let store = lab.open();
        filled(&store, 900);
        let [file, bad, to] = ["backup", "bad", "other.redb"].map(|name| lab.path.with_file_name(name));
        write(&store, &master(1), &file, &mut |_| (), &mut rng()).unwrap();
        let whole = std::fs::read(&file).unwrap();
        assert!(whole.len() > 2 * CHUNK, "several chunks: {}", whole.len());
        let refuse = |octets: &[u8]| {
            std::fs::write(&bad, octets).unwrap();
            let refused = restore(&bad, &master(1), &to, &mut |_| ()).unwrap_err();
            assert!(!to.exists() && !to.with_file_name("other.redb.restoring").exists(), "{refused}");
        };
        for at in (0..whole.len()).step_by(1 + whole.len() / 40).chain([0, 15, 31, 32, 35, 36, whole.len() - 1]) {
            refuse(&whole[..at]);
            let mut flipped = whole.clone();
            flipped[at] ^= 0x10;
            refuse(&flipped);
        }
        refuse(&[&whole[..], b"x"].concat());
        // Two chunks swapped.
        let len = |at: usize| 4 + u32::from_be_bytes(whole[at..at + 4].try_into().unwrap()) as usize;
        let (one, two) = (HEAD..HEAD + len(HEAD), HEAD + len(HEAD)..HEAD + len(HEAD) + len(HEAD + len(HEAD)));
        refuse(&[&whole[..HEAD], &whole[two.clone()], &whole[one], &whole[two.end..]].concat());
    }
}
