//! Reads rows `id,key` or `id,key,kind` into the store: streaming, a transaction a batch, every mistake with its line and
//! column. Keys never stand in a message, and every buffer that held one is erased.

use crate::provision::Provision;
use crate::store::{Credential, Entry, IfThere, Kind, StoreError, Stored};
use portunus_keydist::ident::{Idc, Idsp};
use portunus_keydist::{Key, Random};
use std::io::Read;
use zeroize::{Zeroize as _, Zeroizing};

/// Longest line.
const LINE_MAX: usize = 1_024;
/// Rows a transaction.
const BATCH: usize = 1_000;
/// Mistakes told one by one; the others are counted.
const MISTAKES_MAX: usize = 100;

/// A mistake in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// Line, from 1.
    pub line: u64,
    /// Octet in the line, from 1.
    pub column: usize,
    /// What is wrong, and what to write instead.
    pub what: &'static str,
}

impl core::fmt::Display for Mistake {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "line {}, column {}: {}", self.line, self.column, self.what)
    }
}

/// What became of a file.
#[derive(Debug, Default)]
pub struct Imported {
    /// What was stored.
    pub stored: Stored,
    /// The first mistakes.
    pub mistakes: Vec<Mistake>,
    /// All mistakes; their rows were left out.
    pub refused: u64,
}

/// Why an import ended early. Batches stored before stay stored.
#[derive(Debug)]
pub enum ImportError {
    /// The file cannot be read.
    Read(std::io::Error),
    /// The store failed.
    Store(StoreError),
}

impl core::fmt::Display for ImportError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Read(e) => e.fmt(f),
            Self::Store(e) => e.fmt(f),
        }
    }
}

impl core::error::Error for ImportError {}

/// How to read a file.
#[derive(Clone, Copy)]
pub struct ImportOptions<'a> {
    /// What the identity of a row without third column is; a file may name terminals and devices alike. Several: it is
    /// stored as each of them. Kinds that do not fit the identity's form are passed over.
    pub kinds_of: &'a dyn Fn(&str) -> &'static [Kind],
    /// What a row may be at all: a row of another kind is a mistake.
    pub admitted: &'a [Kind],
    /// For identities that are there already: [`IfThere::Keep`] or [`IfThere::Replace`].
    pub if_there: IfThere,
    /// Only look for mistakes.
    pub dry_run: bool,
}

/// Lines of a reader in a buffer of their own, which is erased.
struct Lines<R> {
    reader: R,
    buf: Zeroizing<Vec<u8>>,
    from: usize,
    to: usize,
    ended: bool,
}

impl<R: Read> Lines<R> {
    fn new(reader: R) -> Self {
        Self { reader, buf: Zeroizing::new(vec![0; 64 * 1_024]), from: 0, to: 0, ended: false }
    }

    /// The next line without its end; `None` at the end of the file. A line that is too long comes cut, one octet over
    /// the limit, and its rest is dropped.
    fn next(&mut self) -> std::io::Result<Option<Zeroizing<Vec<u8>>>> {
        let mut line = Zeroizing::new(Vec::with_capacity(LINE_MAX + 1));
        let mut seen = false;
        loop {
            let rest = self.buf.get(self.from..self.to).unwrap_or_default();
            if !rest.is_empty() {
                seen = true;
                let end = rest.iter().position(|b| *b == b'\n');
                let part = rest.get(..end.unwrap_or(rest.len())).unwrap_or_default();
                let room = LINE_MAX + 1 - line.len();
                line.extend_from_slice(part.get(..room.min(part.len())).unwrap_or_default());
                self.from += part.len() + usize::from(end.is_some());
                if end.is_some() {
                    break;
                }
            }
            if self.ended {
                if !seen {
                    return Ok(None);
                }
                break;
            }
            self.from = 0;
            self.to = self.reader.read(&mut self.buf)?;
            self.ended = self.to == 0;
        }
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        Ok(Some(line))
    }
}

/// Reads one row into entries; none for a line that holds no row.
fn row(line: &[u8], number: u64, options: &ImportOptions<'_>, out: &mut Vec<Entry>) -> Result<(), Mistake> {
    let fault = |at: usize, what| Mistake { line: number, column: at + 1, what };
    if line.len() > LINE_MAX {
        return Err(fault(LINE_MAX, "the line is too long"));
    }
    let line = if number == 1 { line.strip_prefix(b"\xef\xbb\xbf".as_slice()).unwrap_or(line) } else { line };
    let text = core::str::from_utf8(line).map_err(|e| fault(e.valid_up_to(), "not UTF-8"))?;
    let header = number == 1 && (text.eq_ignore_ascii_case("id,key") || text.eq_ignore_ascii_case("id,key,kind"));
    if text.trim().is_empty() || text.starts_with('#') || header {
        return Ok(());
    }
    let (id, rest) = text.split_once(',').ok_or(fault(text.len(), "no comma: write id,key"))?;
    let at = id.len() + 1;
    let (key, kind) = match rest.rsplit_once(',') {
        Some((key, kind)) => {
            let column = at + key.len() + 1;
            let known = Kind::from_name(kind.trim()).ok_or(fault(column, "write terminal, digest or device"))?;
            (key, Some(known))
        }
        None => (rest, None),
    };
    let one;
    let kinds: &[Kind] = match kind {
        Some(kind) => {
            one = [kind];
            &one
        }
        None => (options.kinds_of)(id),
    };
    let fits = |k: &&Kind| match k {
        Kind::Device => Idsp::new(id).is_some(),
        Kind::Terminal | Kind::Digest => Idc::new(id).is_some(),
    };
    if kinds.iter().any(|kind| !options.admitted.contains(kind)) {
        return Err(fault(0, "rows of this kind are not for whoever imports here to add"));
    }
    let mut any = false;
    for kind in kinds.iter().filter(fits) {
        let credential = credential(*kind, key).map_err(|(column, what)| fault(at + column, what))?;
        out.push(Entry { id: id.to_owned(), kind: *kind, credential });
        any = true;
    }
    if any { Ok(()) } else { Err(fault(0, "this cannot be an identity: no spaces, quotes, semicolons; at most 128")) }
}

fn credential(kind: Kind, text: &str) -> Result<Credential, (usize, &'static str)> {
    if kind == Kind::Digest {
        let fits = (1..=128).contains(&text.len());
        let secret = Zeroizing::new(text.as_bytes().to_vec());
        return if fits { Ok(Credential::Digest(secret)) } else { Err((0, "a digest secret has 1 to 128 octets")) };
    }
    let digits = text.trim_end();
    if let Some(bad) = digits.bytes().position(|c| !c.is_ascii_hexdigit()) {
        return Err((bad, "not a hex digit: a key is 64 of them"));
    }
    let lower = Zeroizing::new(digits.to_ascii_lowercase());
    let mut octets = portunus_codec::hex_decode::<32>(lower.as_bytes())
        .ok_or((digits.len().min(64), "a key is 64 hex digits, no more and no fewer"))?;
    let key = Key::new(octets);
    octets.zeroize();
    Ok(Credential::Key(key))
}

/// Reads a whole file into the store. `now_ms`: milliseconds since 1970 UTC. Rows with a mistake are left out and told;
/// the others are stored, a batch at a time.
///
/// # Errors
/// [`ImportError`].
pub fn import(
    reader: impl Read,
    store: &dyn Provision,
    now_ms: u64,
    options: &ImportOptions<'_>,
    rng: &mut dyn Random,
) -> Result<Imported, ImportError> {
    let mut lines = Lines::new(reader);
    let mut done = Imported::default();
    let mut batch = Vec::with_capacity(BATCH + 1);
    let mut number = 0;
    loop {
        let line = lines.next().map_err(ImportError::Read)?;
        if batch.len() >= BATCH || (line.is_none() && !batch.is_empty()) {
            if !options.dry_run {
                let stored = store.put(now_ms, &batch, options.if_there, rng).map_err(ImportError::Store)?;
                done.stored.added += stored.added;
                done.stored.replaced += stored.replaced;
                done.stored.kept += stored.kept;
            }
            batch.clear();
        }
        let Some(line) = line else { return Ok(done) };
        number += 1;
        if let Err(mistake) = row(&line, number, options, &mut batch) {
            done.refused += 1;
            if done.mistakes.len() < MISTAKES_MAX {
                done.mistakes.push(mistake);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::custody::MasterKey;
    use crate::store::{Space, Store};
    use portunus_keydist::SystemRandom;
    use proptest::prelude::*;

    fn store() -> (tempfile::TempDir, Store) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("auc.redb");
        let store = Store::open(&path, &MasterKey::new([1; 32]), &mut SystemRandom::new()).unwrap();
        (folder, store)
    }

    fn kinds_of(id: &str) -> &'static [Kind] {
        if id.starts_with("sp") { &[Kind::Device] } else { &[Kind::Terminal] }
    }

    fn read(store: &Store, text: &[u8], if_there: IfThere) -> Imported {
        let options = ImportOptions { kinds_of: &kinds_of, admitted: &Kind::ALL, if_there, dry_run: false };
        // Small pieces, so that lines lie across reads.
        struct Pieces<'a>(&'a [u8]);
        impl Read for Pieces<'_> {
            fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
                let n = self.0.len().min(7).min(out.len());
                out[..n].copy_from_slice(&self.0[..n]);
                self.0 = &self.0[n..];
                Ok(n)
            }
        }
        import(Pieces(text), store, 1, &options, &mut SystemRandom::new()).unwrap()
    }

    #[test]
    fn rows_of_every_kind_are_stored_and_mistakes_are_told_where_they_are() {
        let (_folder, store) = store();
        let k = "0123456789abcdef".repeat(4);
        let text = format!(
            "\u{feff}id,key\r\n# a comment\n\nalice@example.test,{k}\r\nsp1.example.test,{}\nphone,won,der,digest\n\
             nocomma\nbob,{}\ncarol,{}zz\ntwo words,{k}\ndave,{k},king\neve,{k},device\nlast,{k}",
            k.to_uppercase(),
            &k[1..],
            &k[2..],
        );
        let done = read(&store, text.as_bytes(), IfThere::Keep);
        let told: Vec<_> = done.mistakes.iter().map(|m| (m.line, m.column)).collect();
        assert_eq!(told, [(7, 8), (8, 68), (9, 69), (10, 1), (11, 71)]);
        assert_eq!((done.refused, done.stored.added), (5, 5));
        assert!(!done.mistakes.iter().any(|m| m.to_string().contains("0123")));
        for (space, id) in [
            (Space::Subscriber, "alice@example.test"),
            (Space::Device, "sp1.example.test"),
            (Space::Device, "eve"),
            (Space::Subscriber, "last"),
        ] {
            let Some(Credential::Key(key)) = store.credential(space, id).unwrap() else { panic!("{id}") };
            assert_eq!(key.expose()[..2], [0x01, 0x23]);
        }
        let Some(Credential::Digest(secret)) = store.credential(Space::Subscriber, "phone").unwrap() else { panic!() };
        assert_eq!(secret.as_slice(), b"won,der");
        // Once more: all kept, or all replaced.
        assert_eq!(read(&store, text.as_bytes(), IfThere::Keep).stored.kept, 5);
        assert_eq!(read(&store, text.as_bytes(), IfThere::Replace).stored.replaced, 5);
    }

    #[test]
    fn thousands_of_rows_and_endless_lines() {
        let (_folder, store) = store();
        let k = "ab".repeat(32);
        let mut text: String = (0..2_500).map(|n| format!("user{n},{k}\n")).collect();
        text.push_str(&"x".repeat(300_000));
        text.push_str(&format!("\nafter,{k}\n"));
        let done = read(&store, text.as_bytes(), IfThere::Keep);
        assert_eq!(done.stored.added, 2_501);
        assert_eq!((done.mistakes[0].line, done.mistakes[0].column), (2_501, LINE_MAX + 1));
        assert_eq!(store.count(Space::Subscriber).unwrap(), 2_501);
    }

    #[test]
    fn a_dry_run_stores_nothing() {
        let (_folder, store) = store();
        let text = format!("alice,{}\nbob,xy\n", "ab".repeat(32));
        let options =
            ImportOptions { kinds_of: &kinds_of, admitted: &Kind::ALL, if_there: IfThere::Keep, dry_run: true };
        let done = import(text.as_bytes(), &store, 1, &options, &mut SystemRandom::new()).unwrap();
        assert_eq!((done.refused, store.count(Space::Subscriber).unwrap()), (1, 0));
    }

    proptest! {
        #[test]
        fn any_line_is_a_row_or_a_mistake_inside_it(line in proptest::collection::vec(any::<u8>(), 0..120)) {
            let options = ImportOptions { kinds_of: &kinds_of, admitted: &Kind::ALL, if_there: IfThere::Keep, dry_run: true };
            let mut out = Vec::new();
            if let Err(mistake) = row(&line, 2, &options, &mut out) {
                prop_assert!((1..=line.len() + 1).contains(&mistake.column));
                prop_assert!(out.is_empty());
            }
        }
    }
}
