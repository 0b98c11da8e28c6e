//! `portunus tune`: the host settings that the data plane wants, in stages. `check` compares and explains, `apply`
//! changes what differs and remembers what was there, `undo` puts it back. Nothing is changed without `--yes`.

mod settings;

pub use settings::{Setting, Stage, Want};

use crate::cli::{TuneApplyArgs, TuneArgs, TuneCommand};
use crate::exit::{Exit, Failure};
use crate::out::Out;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::io;
use std::path::Path;

/// Runs one of the three.
///
/// # Errors
/// [`Exit::Failed`] where `check` finds something that is not as wanted; else what the host says.
pub fn tune(command: &TuneCommand, out: Out) -> Result<(), Failure> {
    match command {
        TuneCommand::Check(args) => check(args, out),
        TuneCommand::Apply(args) => apply(args, out),
        TuneCommand::Undo(args) => undo(args, out),
    }
}

/// How a setting stands.
#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    Good,
    Differs(String),
    Absent,
}

fn state(root: &Path, s: &Setting) -> State {
    match read(root, &s.path) {
        Ok(now) if s.want.met_by(&now) => State::Good,
        Ok(now) => State::Differs(now),
        Err(_) => State::Absent,
    }
}

fn read(root: &Path, path: &str) -> io::Result<String> {
    Ok(std::fs::read_to_string(root.join(path.trim_start_matches('/')))?.trim().to_owned())
}

fn write(root: &Path, path: &str, value: &str) -> io::Result<()> {
    // The file is a kernel's: it must exist, and is written in one piece.
    let mut file = std::fs::OpenOptions::new().write(true).open(root.join(path.trim_start_matches('/')))?;
    io::Write::write_all(&mut file, value.as_bytes())
}

fn wanted(args: &TuneArgs, out: Out) -> Result<Vec<Setting>, Failure> {
    let config = args.config.as_deref().map(|p| crate::check::load(p, out)).transpose()?;
    let mut all = settings::wanted(&args.root, config.map(|l| l.config).as_ref(), &args.cores, &args.device);
    if !args.stage.is_empty() {
        all.retain(|s| args.stage.contains(&s.stage));
    }
    Ok(all)
}

fn check(args: &TuneArgs, out: Out) -> Result<(), Failure> {
    let all = wanted(args, out)?;
    let mut differing = 0usize;
    let mut rows = Vec::new();
    let mut stage = None;
    for s in &all {
        if stage != Some(s.stage) {
            stage = Some(s.stage);
            out.say_under(4, format!("{}: {}", s.stage.name(), s.stage.purpose()));
        }
        let (word, now) = match state(&args.root, s) {
            State::Good => ("good", None),
            State::Differs(now) => {
                differing += 1;
                ("differs", Some(now))
            }
            State::Absent => ("absent", None),
        };
        let now_text = now.as_ref().map_or(String::new(), |n| format!(" (now {n:?})"));
        out.say_under(11, format!("  {word:<8} {}: {}{now_text}", s.path, s.want));
        out.say_under(11, format!("           {}", s.why));
        rows.push(json!({
            "stage": s.stage.name(), "path": s.path, "wanted": s.want.to_string(), "now": now, "state": word,
            "why": s.why, "by_hand": s.by_hand,
        }));
    }
    out.machine(&json!({ "settings": rows, "differing": differing }));
    if differing == 0 {
        return Ok(());
    }
    let next = "`portunus tune apply --yes` as root changes what can be changed while the host runs";
    Err(Failure::new(Exit::Failed, format!("{differing} of {} settings are not as wanted", all.len()), next))
}

/// A value from before, to be put back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Before {
    path: String,
    value: String,
}

fn remembered(state: &Path) -> Result<Vec<Before>, Failure> {
    match std::fs::read_to_string(state) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(e) => Err(Failure::io(&format!("reading {}", state.display()), &e)),
        Ok(text) => serde_json::from_str(&text).map_err(|e| {
            let next = "restore it, or remove it and tune by hand";
            Failure::new(Exit::Configuration, format!("{} is damaged: {e}", state.display()), next)
        }),
    }
}

fn remember(state: &Path, before: &[Before]) -> Result<(), Failure> {
    let cannot = |e: io::Error| Failure::io(&format!("writing {}", state.display()), &e);
    if let Some(folder) = state.parent() {
        std::fs::create_dir_all(folder).map_err(cannot)?;
    }
    // Written beside and renamed: an interrupted write must not lose what undo needs.
    let fresh = state.with_extension("new");
    std::fs::write(&fresh, serde_json::to_vec_pretty(before).unwrap_or_default()).map_err(cannot)?;
    std::fs::rename(&fresh, state).map_err(cannot)
}

fn apply(args: &TuneApplyArgs, out: Out) -> Result<(), Failure> {
    let root = &args.what.root;
    let all = wanted(&args.what, out)?;
    let mut before = remembered(&args.state)?;
    let (mut changed, mut refused, mut by_hand) = (Vec::new(), Vec::new(), Vec::new());
    for s in &all {
        let State::Differs(now) = state(root, s) else { continue };
        if let Some(how) = &s.by_hand {
            out.say(format!("by hand    {}: {} ({how})", s.path, s.want));
            by_hand.push(s.path.clone());
            continue;
        }
        let value = s.want.value();
        if !args.yes {
            out.say(format!("would set  {}: {now:?} -> {value:?}", s.path));
            changed.push(s.path.clone());
            continue;
        }
        // The first value found is the one to go back to, however often settings are applied; it is on disk before
        // the host is touched.
        if !before.iter().any(|b| b.path == s.path) {
            before.push(Before { path: s.path.clone(), value: settings::selected(&now) });
            remember(&args.state, &before)?;
        }
        match write(root, &s.path, &value) {
            Ok(()) => {
                out.say(format!("set        {}: {now:?} -> {value:?}", s.path));
                changed.push(s.path.clone());
            }
            Err(e) => {
                out.say(format!("refused    {}: {e}", s.path));
                refused.push(s.path.clone());
            }
        }
    }
    out.machine(&json!({ "done": args.yes, "changed": changed, "refused": refused, "by_hand": by_hand }));
    finish(args.yes, changed.len(), refused.len(), out)
}

fn undo(args: &TuneApplyArgs, out: Out) -> Result<(), Failure> {
    let root = &args.what.root;
    let before = remembered(&args.state)?;
    if before.is_empty() {
        out.say("nothing was applied");
        out.machine(&json!({ "done": false, "changed": [], "refused": [] }));
        return Ok(());
    }
    let (mut changed, mut refused) = (Vec::new(), Vec::new());
    for b in before.iter().rev() {
        if !args.yes {
            out.say(format!("would put back  {}: {:?}", b.path, b.value));
            changed.push(b.path.clone());
            continue;
        }
        match write(root, &b.path, &b.value) {
            Ok(()) => {
                out.say(format!("put back   {}: {:?}", b.path, b.value));
                changed.push(b.path.clone());
            }
            Err(e) => {
                out.say(format!("refused    {}: {e}", b.path));
                refused.push(b.clone());
            }
        }
    }
    let paths: Vec<&str> = refused.iter().map(|b| b.path.as_str()).collect();
    out.machine(&json!({ "done": args.yes, "changed": changed, "refused": paths }));
    if args.yes && refused.is_empty() {
        let _ = std::fs::remove_file(&args.state);
    } else if args.yes {
        remember(&args.state, &refused.iter().rev().cloned().collect::<Vec<_>>())?;
    }
    finish(args.yes, changed.len(), refused.len(), out)
}

fn finish(done: bool, changed: usize, refused: usize, out: Out) -> Result<(), Failure> {
    if refused > 0 {
        let what = format!("{refused} settings could not be changed");
        return Err(Failure::new(Exit::Permission, what, "run it as root, outside a container"));
    }
    if !done && changed > 0 {
        out.say("nothing was changed; add --yes to do it");
    }
    Ok(())
}
