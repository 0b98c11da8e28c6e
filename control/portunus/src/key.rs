//! `portunus key`: the keys of subscribers and devices in an AuC's store.

use crate::assembly::place::Place;
use crate::assembly::store::{fault, wall_ms};
use crate::cli::{KeyAddArgs, KeyCommand, Kind as KindArg, StoreArgs};
use crate::exit::{Exit, Failure};
use crate::out::{Out, date};
use crate::passphrase;
use portunus_auc::import::{ImportError, ImportOptions};
use portunus_auc::provision::Provision;
use portunus_auc::store::{Credential, Entry, IfThere, Kind, Space, Stored};
use portunus_config::model::Auc;
use portunus_keydist::{Key, Random as _, SystemRandom};
use serde_json::json;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;
use zeroize::Zeroizing;

/// Longest digest secret in octets.
const SECRET_MAX: usize = 128;

impl From<KindArg> for Kind {
    fn from(kind: KindArg) -> Self {
        match kind {
            KindArg::Terminal => Self::Terminal,
            KindArg::Device => Self::Device,
            KindArg::Digest => Self::Digest,
        }
    }
}

/// Does one of the five.
///
/// # Errors
/// What is wrong with the store, the key or the identity.
pub fn key(command: &KeyCommand, out: Out) -> Result<(), Failure> {
    match command {
        KeyCommand::Add(args) => add(args, out),
        KeyCommand::Rotate { key, overlap } => rotate(key, *overlap, out),
        KeyCommand::List { store } => list(&*Opened::of(store, out)?.record, out),
        KeyCommand::Remove { store, id } => remove(&Opened::of(store, out)?, id, out),
        KeyCommand::Import { store, csv, kind, replace } => import(store, csv, *kind, *replace, out),
    }
}

/// Where keys are given and taken: the database, or a store that is open; it is made when it does not exist.
struct Opened {
    record: Box<dyn Provision>,
    place: Place,
}

impl Opened {
    fn of(args: &StoreArgs, out: Out) -> Result<Self, Failure> {
        let (record, place) = Place::of(args, true, out)?.provision()?;
        Ok(Self { record, place })
    }
}

/// The `[auc]` of a configuration, and whether that is a laboratory's.
pub(crate) fn section(config: &Path, out: Out) -> Result<(Auc, bool), Failure> {
    let loaded = crate::check::load(config, out)?;
    let auc = loaded.config.auc.ok_or_else(|| {
        Failure::configuration(format!("{} has no [auc]", config.display()), "name the AuC's configuration")
    })?;
    Ok((auc, loaded.config.lab))
}

/// The secret that a command line names, or a fresh one together with the file that it is to be written to.
fn secret(args: &KeyAddArgs, kind: Kind) -> Result<(Credential, Option<PathBuf>), Failure> {
    if let Some(hex) = &args.hex {
        if kind == Kind::Digest {
            return Ok((Credential::Digest(Zeroizing::new(hex.clone().into_bytes())), None));
        }
        let row = format!("-,{hex}");
        let key = portunus_config::rows(&row).next().transpose()?;
        let key = key.ok_or_else(|| Failure::new(Exit::Usage, "no key", "write 64 hex digits"))?.1;
        return Ok((Credential::Key(Key::new(*key)), None));
    }
    if let Some(key) = passphrase::key(&args.passphrase, &args.id, args.realm.as_deref(), true)? {
        if kind != Kind::Terminal {
            let what = format!("{} is no terminal: nobody remembers the key of a {}", args.id, kind.name());
            return Err(Failure::new(Exit::Usage, what, "take --out instead, which draws one at random"));
        }
        return Ok((Credential::Key(key), None));
    }
    if let Some(path) = &args.key_file {
        return Ok((from_file(path, &args.id, kind)?, None));
    }
    let mut octets = Zeroizing::new([0u8; 32]);
    SystemRandom::new().fill(&mut *octets);
    let credential = match kind {
        // A phone's secret is typed in by people: hex of 16 octets is long enough and short enough.
        Kind::Digest => Credential::Digest(Zeroizing::new(hex_text(&octets[..16]).into_bytes())),
        Kind::Terminal | Kind::Device => Credential::Key(Key::new(*octets)),
    };
    Ok((credential, args.out.clone()))
}

fn from_file(path: &Path, id: &str, kind: Kind) -> Result<Credential, Failure> {
    let stdin = path == Path::new("-");
    if kind != Kind::Digest && !stdin {
        return Ok(Credential::Key(Key::new(*portunus_config::read_key_file(path, id, false)?)));
    }
    let mut text = Zeroizing::new(String::with_capacity(4096));
    if stdin {
        let read = std::io::stdin().lock().take(4096).read_to_string(&mut text);
        read.map_err(|e| Failure::io("reading standard input", &e))?;
    } else {
        let source = portunus_config::model::SecretSource::File(path.to_path_buf());
        text = portunus_config::read_secret(&source, false)?;
    }
    let line = text.lines().next().unwrap_or_default().trim();
    if kind == Kind::Digest {
        if line.is_empty() || line.len() > SECRET_MAX {
            return Err(Failure::configuration("not a secret", "write 1 to 128 octets on the first line"));
        }
        return Ok(Credential::Digest(Zeroizing::new(line.as_bytes().to_vec())));
    }
    let row = Zeroizing::new(format!("-,{line}"));
    match portunus_config::rows(&row).next().transpose()? {
        Some((_, key)) => Ok(Credential::Key(Key::new(*key))),
        None => Err(Failure::configuration("no key", "write 64 hex digits on the first line")),
    }
}

fn hex_text(octets: &[u8]) -> String {
    octets.iter().map(|o| format!("{o:02x}")).collect()
}

/// Writes a generated secret to a new file that only its owner can read. It is written before it is stored: a key in
/// the store that nobody has is worse than a file that nobody needs.
fn hand_over(path: &Path, credential: &Credential) -> Result<(), Failure> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let text = Zeroizing::new(match credential {
        Credential::Key(key) => hex_text(key.expose()),
        Credential::Digest(secret) => String::from_utf8_lossy(secret).into_owned(),
    });
    let made = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let written = made.and_then(|mut f| {
        let whole = f.write_all(text.as_bytes()).and_then(|()| f.write_all(b"\n")).and_then(|()| f.sync_all());
        // A part of a key is nobody's, and would be in the way of the next attempt.
        whole.inspect_err(|_| drop(std::fs::remove_file(path)))
    });
    written.map_err(|e| match e.kind() {
        std::io::ErrorKind::AlreadyExists => {
            Failure::configuration(format!("{} exists already", path.display()), "name a new file with --out")
        }
        _ => Failure::io(&format!("writing {}", path.display()), &e),
    })
}

fn add(args: &KeyAddArgs, out: Out) -> Result<(), Failure> {
    let opened = Opened::of(&args.store, out)?;
    let kind = Kind::from(args.kind);
    let (credential, file) = secret(args, kind)?;
    if let Some(file) = &file {
        hand_over(file, &credential)?;
    }
    let entry = Entry { id: args.id.clone(), kind, credential };
    let stored = opened.record.put(wall_ms(), &[entry], IfThere::Refuse, &mut SystemRandom::new());
    undo_on_failure(stored.map_err(fault), file.as_deref())?;
    opened.place.audit("key.add", &[("kind", kind.name()), ("id", &args.id)])?;
    done("added", args, kind, file.as_deref(), out);
    Ok(())
}

fn rotate(args: &KeyAddArgs, overlap: Duration, out: Out) -> Result<(), Failure> {
    let opened = Opened::of(&args.store, out)?;
    let kind = kind_of(&*opened.record, &args.id, Kind::from(args.kind))?;
    let (credential, file) = secret(args, kind)?;
    if let Some(file) = &file {
        hand_over(file, &credential)?;
    }
    if kind == Kind::Digest && !overlap.is_zero() {
        let what = format!("{} is a stock phone's: no former secret of one works", args.id);
        return Err(Failure::new(Exit::Usage, what, "leave --overlap out"));
    }
    let times = (wall_ms(), u64::try_from(overlap.as_millis()).unwrap_or(u64::MAX));
    let rotated = opened.record.rotate(times, kind.space(), &args.id, credential, &mut SystemRandom::new());
    undo_on_failure(rotated.map_err(fault), file.as_deref())?;
    opened.place.audit("key.rotate", &[("kind", kind.name()), ("id", &args.id)])?;
    done("rotated", args, kind, file.as_deref(), out);
    if kind == Kind::Device && overlap.is_zero() {
        out.say("it is used from now on: a device that does not hold it yet gives out no key");
    } else if kind == Kind::Device {
        out.say(format!(
            "the key until now is used for {} s more: before that, give the device this one as its key and the old one \
             as key.other, and reload it",
            overlap.as_secs()
        ));
    }
    Ok(())
}

/// The file of a key that was not stored goes away again.
fn undo_on_failure<T>(stored: Result<T, Failure>, file: Option<&Path>) -> Result<T, Failure> {
    if let (Err(_), Some(file)) = (&stored, file) {
        let _ = std::fs::remove_file(file);
    }
    stored
}

/// What an identity of the store is: the two name spaces are searched, the one named on the command line first.
fn kind_of(record: &dyn Provision, id: &str, named: Kind) -> Result<Kind, Failure> {
    let other = if named.space() == Space::Device { Space::Subscriber } else { Space::Device };
    for space in [named.space(), other] {
        if let Some(found) = record.listed(space, id).map_err(fault)? {
            return Ok(found.kind);
        }
    }
    Err(fault(portunus_auc::store::StoreError::Missing { space: named.space(), id: id.to_owned() }))
}

fn done(what: &str, args: &KeyAddArgs, kind: Kind, file: Option<&Path>, out: Out) {
    let written = file.map_or(String::new(), |f| format!("; its key is in {}, nowhere else", f.display()));
    out.say(format!("{what} {} {}{written}", kind.name(), args.id));
    out.machine(&json!({ "done": what, "id": args.id, "kind": kind.name(), "key_file": file }));
}

fn list(record: &dyn Provision, out: Out) -> Result<(), Failure> {
    let mut table = comfy_table::Table::new();
    table.load_preset(comfy_table::presets::NOTHING).set_header(["identity", "kind", "added", "key since"]);
    let mut rows = Vec::new();
    for space in [Space::Subscriber, Space::Device] {
        let each = &mut |l: portunus_auc::store::Listed| {
            if out.json {
                let (id, kind) = (&l.id, l.kind.name());
                rows.push(json!({ "id": id, "kind": kind, "added_ms": l.made_ms, "key_since_ms": l.rotated_ms }));
            } else {
                table.add_row([l.id, l.kind.name().into(), date(l.made_ms), date(l.rotated_ms)]);
            }
            true
        };
        record.list(space, "", each).map_err(fault)?;
    }
    out.say(table.to_string());
    out.machine(&json!({ "identities": rows }));
    Ok(())
}

fn remove(opened: &Opened, id: &str, out: Out) -> Result<(), Failure> {
    let kind = kind_of(&*opened.record, id, Kind::Terminal)?;
    opened.record.remove(kind.space(), id).map_err(fault)?;
    opened.place.audit("key.remove", &[("kind", kind.name()), ("id", id)])?;
    out.say(format!("removed {} {id}", kind.name()));
    out.machine(&json!({ "done": "removed", "id": id, "kind": kind.name() }));
    Ok(())
}

fn import(args: &StoreArgs, csv: &Path, kind: Option<KindArg>, replace: bool, out: Out) -> Result<(), Failure> {
    let opened = Opened::of(args, out)?;
    let if_there = if replace { IfThere::Replace } else { IfThere::Keep };
    let stored = import_csv(&*opened.record, csv, true, &opened.place.devices, kind.map(Kind::from), if_there)?;
    let Stored { added, replaced, kept } = stored;
    let numbers = [added, replaced, kept].map(|n| n.to_string());
    opened.place.audit("key.import", &[("added", &numbers[0]), ("replaced", &numbers[1]), ("kept", &numbers[2])])?;
    out.say(format!("{added} added, {replaced} replaced, {kept} were there already"));
    out.machine(&json!({ "added": added, "replaced": replaced, "kept": kept }));
    Ok(())
}

/// Puts the rows `id,key` or `id,key,kind` of a CSV into a store. Where a row does not say it, an identity among
/// `devices` is a device and every other one a terminal, unless `kind` says what all are. `lax` admits a file that
/// others can read.
///
/// # Errors
/// What is wrong with the file or the store. Rows with a mistake are told, the others are stored.
pub fn import_csv(
    record: &dyn Provision,
    csv: &Path,
    lax: bool,
    devices: &[String],
    kind: Option<Kind>,
    if_there: IfThere,
) -> Result<Stored, Failure> {
    use std::os::unix::fs::PermissionsExt as _;
    let shown = csv.display();
    let cannot = |e: std::io::Error| Failure::configuration(format!("{shown}: {e}"), "name a file that can be read");
    let file = std::fs::File::open(csv).map_err(cannot)?;
    let mode = file.metadata().map_err(cannot)?.permissions().mode();
    if !lax && mode & 0o077 != 0 {
        let problem = format!("{shown} can be read by others (mode {:03o})", mode & 0o777);
        return Err(Failure::configuration(problem, format!("run `chmod 600 {shown}`")));
    }
    let kinds_of = |id: &str| -> &'static [Kind] {
        match kind {
            Some(Kind::Device) => &[Kind::Device],
            Some(Kind::Digest) => &[Kind::Digest],
            None if devices.iter().any(|d| d == id) => &[Kind::Device],
            Some(Kind::Terminal) | None => &[Kind::Terminal],
        }
    };
    let options = ImportOptions { kinds_of: &kinds_of, admitted: &Kind::ALL, if_there, dry_run: false };
    let done = portunus_auc::import::import(file, record, wall_ms(), &options, &mut SystemRandom::new());
    let done = done.map_err(|e| match e {
        ImportError::Read(e) => cannot(e),
        ImportError::Store(e) => fault(e),
    })?;
    if done.refused == 0 {
        return Ok(done.stored);
    }
    let told: Vec<String> = done.mistakes.iter().map(|m| format!("{shown}: {m}")).collect();
    let what = format!("{} rows were left out\n{}", done.refused, told.join("\n"));
    Err(Failure::configuration(what, "correct these rows and import again; the others are stored"))
}
