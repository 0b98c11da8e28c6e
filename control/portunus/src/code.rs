//! `portunus code`: activation codes, with which terminals fetch their first key.

use crate::assembly::place::Place;
use crate::assembly::store::{fault, wall_ms};
use crate::cli::{CodeCommand, CodeIssueArgs};
use crate::exit::{Exit, Failure};
use crate::out::{Out, date};
use portunus_auc::store::{CodeListed, Issued, Store, Whose};
use portunus_keydist::SystemRandom;
use serde_json::json;
use std::io::Write as _;
use std::path::Path;
use zeroize::Zeroizing;

/// Longest file of identities, octets.
const IDS_MAX: u64 = 64 << 20;

/// Does one of the three.
///
/// # Errors
/// What is wrong with the store, the identities or the file.
pub fn code(command: &CodeCommand, out: Out) -> Result<(), Failure> {
    match command {
        CodeCommand::Issue(args) => issue(args, out),
        CodeCommand::List(store) => list(&Place::of(store, false, out)?, out),
        CodeCommand::Revoke { store, locator } => revoke(&Place::of(store, false, out)?, locator, out),
    }
}

/// The identities of a file, one a line; empty lines and those that begin with `#` are passed over.
fn ids(path: &Path) -> Result<Vec<String>, Failure> {
    use std::io::Read as _;
    let cannot = |e: std::io::Error| {
        Failure::configuration(format!("{}: {e}", path.display()), "name a file with an identity a line")
    };
    let mut text = String::new();
    std::fs::File::open(path).and_then(|f| f.take(IDS_MAX).read_to_string(&mut text)).map_err(cannot)?;
    let lines = text.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#'));
    Ok(lines.map(str::to_owned).collect())
}

fn issue(args: &CodeIssueArgs, out: Out) -> Result<(), Failure> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let named = args.ids.as_deref().map(ids).transpose()?;
    let whose = match (&named, &args.prefix) {
        (Some(ids), _) => Whose::Named(ids),
        (None, Some(prefix)) => {
            let count = usize::try_from(args.count).unwrap_or(usize::MAX);
            Whose::Assigned { prefix, realm: args.realm.as_deref(), count }
        }
        (None, None) => return Err(Failure::new(Exit::Usage, "whose?", "name --ids FILE, or --prefix and --count")),
    };
    let place = Place::of(&args.store, false, out)?;
    let store = place.existing()?;
    // The file first: codes that nobody has are worse than a file that nobody needs.
    let made = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&args.out);
    let mut file = made.map_err(|e| match e.kind() {
        std::io::ErrorKind::AlreadyExists => {
            Failure::configuration(format!("{} exists already", args.out.display()), "name a new file with --out")
        }
        _ => Failure::io(&format!("writing {}", args.out.display()), &e),
    })?;
    let now = wall_ms();
    let until = now.saturating_add(u64::try_from(args.expires.as_millis()).unwrap_or(u64::MAX));
    let issued = store.issue_codes((now, until), whose, args.replace, &mut SystemRandom::new());
    let issued = issued.map_err(fault).inspect_err(|_| drop(std::fs::remove_file(&args.out)))?;
    let written = file.write_all(rows(&issued).as_bytes()).and_then(|()| file.sync_all());
    if let Err(e) = written {
        taken_back(&store, &issued, &args.out);
        return Err(Failure::io(&format!("writing {}", args.out.display()), &e));
    }
    let count = issued.len();
    place.audit("code.issue", &[("codes", &count.to_string())])?;
    out.say(format!("{count} codes in {}, good until {}; they are nowhere else", args.out.display(), date(until)));
    out.machine(&json!({ "done": "issued", "codes": count, "file": args.out, "expires_ms": until }));
    Ok(())
}

/// The file for whoever hands the codes out.
fn rows(issued: &[Issued]) -> Zeroizing<String> {
    // Room for all of it from the start: growing would leave copies behind.
    let room = issued.iter().map(|i| i.idc.len() + 34).sum::<usize>() + 16;
    let mut text = Zeroizing::new(String::with_capacity(room));
    text.push_str("id,code\n");
    for one in issued {
        text.push_str(&one.idc);
        text.push(',');
        one.code.write(&mut text);
        text.push('\n');
    }
    text
}

/// Codes that could not be handed over open nothing.
fn taken_back(store: &Store, issued: &[Issued], file: &Path) {
    for one in issued {
        if let Err(e) = store.revoke_code(&one.locator, &mut SystemRandom::new()) {
            tracing::error!(error = %e, code = one.locator, "a code that nobody has is still good");
        }
    }
    let _ = std::fs::remove_file(file);
}

fn list(place: &Place, out: Out) -> Result<(), Failure> {
    let store = place.existing()?;
    let now = wall_ms();
    let mut table = comfy_table::Table::new();
    table.load_preset(comfy_table::presets::NOTHING).set_header(["locator", "identity", "state", "until"]);
    let mut rows = Vec::new();
    let each = &mut |c: CodeListed| {
        let state = c.state_at(now);
        if out.json {
            rows.push(json!({
                "locator": c.locator, "id": c.idc, "state": state, "replace": c.replace, "made_ms": c.made_ms,
                "expires_ms": c.expires_ms,
            }));
        } else {
            table.add_row([c.locator, c.idc, state.to_owned(), date(c.expires_ms)]);
        }
        true
    };
    store.codes_after("", each).map_err(fault)?;
    out.say(table.to_string());
    out.machine(&json!({ "codes": rows }));
    Ok(())
}

fn revoke(place: &Place, locator: &str, out: Out) -> Result<(), Failure> {
    let idc = place.existing()?.revoke_code(locator, &mut SystemRandom::new()).map_err(fault)?;
    place.audit("code.revoke", &[("code", locator), ("id", &idc)])?;
    out.say(format!("the code {locator} of {idc} opens nothing any more"));
    out.machine(&json!({ "done": "revoked", "locator": locator, "id": idc }));
    Ok(())
}
