//! `portunus store`: what an operator does to an AuC's store as a whole.

use crate::assembly::place::Place;
use crate::assembly::store::{fault, master_key, named, token_place, wall_ms};
use crate::cli::{MasterCommand, StoreCommand};
use crate::exit::{Exit, Failure};
use crate::out::Out;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use portunus_auc::custody::Master as _;
use portunus_auc::postgres::{Compared, Moved};
use portunus_auc::store::backup::{self, BackupError};
use portunus_auc::store::{Depth, Store, Verified};
use portunus_auc::token::Token;
use portunus_config::model::MasterSource;
use portunus_keydist::SystemRandom;
use serde_json::json;
use std::path::Path;

/// Does one of them.
///
/// # Errors
/// What is wrong with the store, the master key or the file.
pub fn store(command: &StoreCommand, out: Out) -> Result<(), Failure> {
    match command {
        StoreCommand::Verify(args) => verify(&Place::of(args, false, out)?, out),
        StoreCommand::Records { store, id, active } => {
            crate::records::records(&Place::of(store, false, out)?, id.as_deref(), *active, out)
        }
        StoreCommand::Backup { store, to } => save(&Place::of(store, false, out)?, to, out),
        StoreCommand::Restore { store, from, replace } => restore(&Place::of(store, false, out)?, from, *replace, out),
        StoreCommand::Migrate(args) => migrate(&Place::of(args, true, out)?, out),
        StoreCommand::Reseal(args) => reseal(&Place::of(args, false, out)?, out),
        StoreCommand::Master(MasterCommand::List(args)) => masters(&Place::of(args, false, out)?, out),
        StoreCommand::Master(MasterCommand::Admit { store, next }) => admit(&Place::of(store, false, out)?, next, out),
        StoreCommand::Master(MasterCommand::Create { config, uri }) => create(config.as_deref(), uri.as_deref(), out),
        StoreCommand::Master(MasterCommand::Retire(args)) => retire(&Place::of(args, false, out)?, out),
    }
}

/// A count on a terminal while it lasts; nothing elsewhere, and nothing where a machine reads.
fn counting(what: &'static str, out: Out) -> ProgressBar {
    let target = if out.json { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
    let bar = ProgressBar::with_draw_target(None, target).with_message(what);
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}: {human_pos} records, {per_sec}") {
        bar.set_style(style);
    }
    bar
}

/// What backups' errors are to whoever started us.
fn backup_fault(e: BackupError) -> Failure {
    let text = e.to_string();
    match e {
        BackupError::Io(_, e) => Failure { what: text, ..Failure::io("", &e) },
        BackupError::NoBackup(_) => Failure::configuration(text, "name a file that `portunus store backup` wrote"),
        BackupError::WrongMasterKey(_) => {
            Failure::configuration(text, "name the master key that opened the store on the day of the backup")
        }
        BackupError::Damaged(..) => Failure::new(Exit::Failed, text, "take another copy, or an earlier backup"),
        BackupError::Exists(_) => Failure::configuration(text, "name a new file"),
        BackupError::Store(e) => fault(e),
    }
}

fn verify(place: &Place, out: Out) -> Result<(), Failure> {
    let mut store = place.existing()?;
    let whole = store.verify_file().map_err(fault)?;
    let bar = counting("verified", out);
    let found = store.verify(Depth::Records, &mut |n| bar.set_position(n));
    bar.finish_and_clear();
    let found = found.map_err(fault)?;
    let version = store.version().map_err(fault)?;
    let Verified { subscribers, devices, registrations, damaged, damaged_count } = &found;
    out.say(format!("{}: layout {version}", place.path.display()));
    out.say(format!("whole: subscribers {subscribers}, devices {devices}, registrations {registrations}"));
    for (noun, id) in damaged {
        out.say(format!("damaged: {noun} {id}"));
    }
    out.machine(&json!({
        "store": place.path, "layout": version, "file_whole": whole, "subscribers": subscribers, "devices": devices,
        "registrations": registrations, "damaged": damaged_count,
        "named": damaged.iter().map(|(noun, id)| json!({ "kind": noun, "id": id })).collect::<Vec<_>>(),
    }));
    if !whole {
        let what = format!("{}: the file had to be mended", place.path.display());
        return Err(Failure::new(Exit::Failed, what, "what was stored last may be missing: compare with your records"));
    }
    if *damaged_count > 0 {
        let what = format!("records damaged: {damaged_count}");
        let next = "remove these identities and add them anew, or bring a backup back with `portunus store restore`";
        return Err(Failure::new(Exit::Failed, what, next));
    }
    compare(place, &store, out)
}

/// A replica is compared with its system of record.
fn compare(place: &Place, store: &Store, out: Out) -> Result<(), Failure> {
    let Some(database) = &place.database else { return Ok(()) };
    let bar = counting("compared", out);
    let found = database.compare(store, &mut |n| bar.set_position(n));
    bar.finish_and_clear();
    let found = found.map_err(fault)?;
    let Compared { same, missing, surplus, different, damaged, named } = &found;
    out.say(format!("database {}: {same} identities are the same here", database.label()));
    for (what, noun, id) in named {
        out.say(format!("{what}: {noun} {id}"));
    }
    out.machine(&json!({
        "database": database.label(), "same": same, "missing": missing, "surplus": surplus, "different": different,
        "damaged": damaged,
        "named": named.iter().map(|(what, kind, id)| json!({ "what": what, "kind": kind, "id": id })).collect::<Vec<_>>(),
    }));
    if found.is_even() {
        return Ok(());
    }
    let what = format!(
        "in the database and not here {missing}, here only {surplus}, not the same {different}, \
                        damaged in the database {damaged}"
    );
    let next = "what has just changed is even in a moment: verify again; give identities whose record is damaged a new \
                key, and run `portunus store migrate`, which compares and takes over everything";
    Err(Failure::new(Exit::Failed, what, next))
}

fn save(place: &Place, to: &Path, out: Out) -> Result<(), Failure> {
    let store = place.existing()?;
    let bar = counting("saved", out);
    let rows = backup::write(&store, &*place.master, to, &mut |n| bar.set_position(n), &mut SystemRandom::new());
    bar.finish_and_clear();
    let rows = rows.map_err(backup_fault)?;
    let name = store.master();
    place.audit("store.backup", &[("rows", &rows.to_string()), ("master", &name)])?;
    out.say(format!("{rows} rows saved to {}; master key {name} opens it: keep the two apart", to.display()));
    out.machine(&json!({ "done": "saved", "rows": rows, "backup": to, "master": name }));
    Ok(())
}

fn restore(place: &Place, from: &Path, replace: bool, out: Out) -> Result<(), Failure> {
    let aside = place.path.with_file_name({
        let mut name = place.path.file_name().unwrap_or_default().to_owned();
        name.push(".before-restore");
        name
    });
    let there = place.path.exists();
    if there && !replace {
        let what = format!("there is a store at {} already", place.path.display());
        return Err(Failure::configuration(what, "stop the AuC and give --replace, which keeps it under another name"));
    }
    if there && aside.exists() {
        let what = format!("{} exists already", aside.display());
        return Err(Failure::configuration(what, "see whether anybody still needs it, and move it away"));
    }
    // The old store goes aside only when the new one is whole, so it is built under another name.
    let fresh = aside.with_extension("restored");
    let bar = counting("restored", out);
    let rows = backup::restore(from, &*place.master, &fresh, &mut |n| bar.set_position(n));
    bar.finish_and_clear();
    let rows = rows.map_err(backup_fault)?;
    let moving = |e: std::io::Error| Failure::io(&format!("putting {} in its place", fresh.display()), &e);
    if there {
        // A second name first: at no moment is there no store, in whose place an AuC would make an empty one.
        std::fs::hard_link(&place.path, &aside).map_err(moving)?;
    }
    std::fs::rename(&fresh, &place.path).map_err(moving)?;
    place.audit("store.restore", &[("rows", &rows.to_string())])?;
    let old = if there { format!("; the store before it is {}", aside.display()) } else { String::new() };
    out.say(format!("{rows} rows restored to {}{old}", place.path.display()));
    out.machine(&json!({ "done": "restored", "rows": rows, "store": place.path, "before": there.then_some(aside) }));
    Ok(())
}

fn migrate(place: &Place, out: Out) -> Result<(), Failure> {
    // The first node of an estate may begin with nothing: its database is made with it.
    let store = if place.database.is_some() { place.open()? } else { place.existing()? };
    let from = store.migrate(&mut SystemRandom::new()).map_err(fault)?;
    let to = store.version().map_err(fault)?;
    if from == to {
        out.say(format!("layout {to}: nothing to do"));
    } else {
        place.audit("store.migrate", &[("from", &from.to_string()), ("to", &to.to_string())])?;
        out.say(format!("layout {from} became {to}; no record was touched"));
    }
    let Some(database) = &place.database else {
        out.machine(&json!({ "from": from, "to": to }));
        return Ok(());
    };
    let bar = counting("moved", out);
    let moved = database.take_in(&store, wall_ms(), &mut |n| bar.set_position(n), &mut SystemRandom::new());
    bar.finish_and_clear();
    let Moved { from: tables, to: now, founded, moved, known } = moved.map_err(fault)?;
    let numbers = [moved, known].map(|n| n.to_string());
    place.audit("store.migrate.database", &[("moved", &numbers[0]), ("known", &numbers[1])])?;
    let label = database.label();
    if tables == now {
        out.say(format!("database {label}: tables of version {now}: nothing to do"));
    } else {
        out.say(format!("database {label}: tables of version {tables} became {now}"));
    }
    if founded {
        out.say("this node's working keys are the estate's now");
    }
    out.say(format!("{moved} identities moved in, {known} were there already; this node's store is a replica"));
    out.machine(&json!({
        "from": from, "to": to, "database": { "from": tables, "to": now, "founded": founded, "moved": moved, "known": known },
    }));
    Ok(())
}

fn reseal(place: &Place, out: Out) -> Result<(), Failure> {
    let bar = counting("sealed anew", out);
    let (told, rng) = (&mut |n| bar.set_position(n), &mut SystemRandom::new());
    let done = match &place.database {
        Some(database) => database.reseal(told, rng),
        None => place.existing()?.reseal(told, rng),
    };
    bar.finish_and_clear();
    let done = done.map_err(fault)?;
    place.audit("store.reseal", &[("records", &done.to_string())])?;
    let name = place.master.wrapping().name();
    out.say(format!("{done} records sealed anew; only master key {name} opens the store now"));
    out.machine(&json!({ "done": "resealed", "records": done, "master": name }));
    Ok(())
}

fn masters(place: &Place, out: Out) -> Result<(), Failure> {
    let names = match &place.database {
        Some(database) => database.masters(),
        None => place.existing()?.masters(),
    };
    let (names, own) = (names.map_err(fault)?, place.master.wrapping().name());
    if names.is_empty() {
        out.say("layout 1: its only master key cannot be replaced before `portunus store migrate`");
    }
    for name in &names {
        out.say(format!("{name}{}", if *name == own { "  the one named here" } else { "" }));
    }
    out.machine(&json!({ "masters": names, "named": own }));
    Ok(())
}

fn admit(place: &Place, next: &Path, out: Out) -> Result<(), Failure> {
    // What is to admit it comes first: no key is made for a store that is not there.
    let (made, rng) = (|| named(next).and_then(|source| master_key(&source, true)), &mut SystemRandom::new());
    let admitted = match &place.database {
        Some(database) => {
            let key = made()?;
            database.admit_master(&*key, rng).map(|()| key)
        }
        None => {
            let (store, key) = (place.existing()?, made()?);
            store.admit_master(&*key, rng).map(|()| key)
        }
    };
    let key = admitted.map_err(fault)?;
    let name = key.wrapping().name();
    place.audit("store.master.admit", &[("master", &name)])?;
    out.say(format!("master key {name} opens the store too"));
    out.say("next: name it in [auc.master_key], restart the AuC, then `portunus store master retire`");
    out.machine(&json!({ "done": "admitted", "master": name, "key_file": next }));
    Ok(())
}

/// Makes a master key where it is to stay: in a token.
fn create(config: Option<&Path>, uri: Option<&Path>, out: Out) -> Result<(), Failure> {
    let source = match (config, uri) {
        (_, Some(uri)) => named(uri)?,
        (Some(config), None) => crate::key::section(config, out)?.0.master_key,
        (None, None) => {
            return Err(Failure::new(Exit::Usage, "no place for a key", "name --config, or --at with a URI"));
        }
    };
    let MasterSource::Token(key) = source else {
        let next = "a key in a file makes itself: `portunus store master admit --next FILE`, or `create = true`";
        return Err(Failure::configuration("this is no key in a token", next));
    };
    let made = Token::create(&token_place(&key), &mut SystemRandom::new());
    let made = std::sync::Arc::new(made.map_err(|e| Failure::configuration(e.to_string(), "correct the place"))?);
    let name = made.wrapping().name();
    out.say(format!(
        "master key {name} made; it stays in the token: losing the token loses every store under it alone"
    ));
    out.say(
        "next: name it in [auc.master_key] of a new AuC, or let it open a store with `portunus store master admit`",
    );
    out.machine(&json!({ "done": "created", "master": name }));
    Ok(())
}

fn retire(place: &Place, out: Out) -> Result<(), Failure> {
    let retired = match &place.database {
        Some(database) => database.retire_masters(),
        None => place.existing()?.retire_masters(),
    };
    let retired = retired.map_err(fault)?;
    let name = place.master.wrapping().name();
    place.audit("store.master.retire", &[("kept", &name), ("retired", &retired.to_string())])?;
    out.say(format!("master keys retired: {retired}; {name} stays"));
    if retired > 0 {
        out.say("next: where the old one may be known to others, `portunus store reseal`");
    }
    out.machine(&json!({ "done": "retired", "retired": retired, "master": name }));
    Ok(())
}
