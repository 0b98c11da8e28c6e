//! `portunus-load auc`.

use super::{Plan, is_met, program, run, text};
use std::io;
use std::path::PathBuf;

/// The AuC beside FreeRADIUS, interleaved: CPU an answered question, among few and among a million subscribers, and how
/// soon after its start the AuC answers
#[derive(Debug, clap::Args)]
pub struct Auc {
    /// A B B A pairs of slices
    #[arg(long, default_value_t = 6)]
    pairs: usize,
    /// Questions a slice
    #[arg(long, default_value_t = 60_000)]
    questions: u64,
    /// Subscribers, where they are many
    #[arg(long, default_value_t = 1_000_000)]
    subscribers: u64,
    /// Subscribers, where they are few
    #[arg(long, default_value_t = 10_000)]
    few: u64,
    /// Questions under way at any time
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u64).range(1..=128))]
    window: u64,
    /// Starts over many subscribers
    #[arg(long, default_value_t = 5)]
    starts: usize,
    /// A look, not a measurement: short slices, fewer subscribers, and no target is held against it
    #[arg(long, conflicts_with_all = ["pairs", "questions", "subscribers", "gate"])]
    quick: bool,
    /// Leaves FreeRADIUS out
    #[arg(long)]
    no_peers: bool,
    /// The AuC's program; by default `portunus` beside this one
    #[arg(long)]
    program: Option<PathBuf>,
    /// Writes the outcome as JSON to this file (`-`: standard output, instead of the table)
    #[arg(long)]
    json: Option<PathBuf>,
    /// Fails (exit code 2) where a target is missed
    #[arg(long)]
    gate: bool,
}

/// Does it; `tell` hears what is being done and how far it is. Gives the exit code.
///
/// # Errors
/// As [`run`], and what keeps the outcome from being written.
pub fn command(args: &Auc, tell: &mut dyn FnMut(&str, f64)) -> io::Result<u8> {
    let (pairs, questions, many) =
        if args.quick { (2, 5_000, 50_000) } else { (args.pairs, args.questions, args.subscribers) };
    let plan = Plan {
        program: args.program.clone().map_or_else(program, Ok)?,
        subscribers: [args.few.max(1), many.max(1)],
        pairs: pairs.max(1),
        questions: questions.max(1),
        window: args.window,
        starts: if args.quick { 1 } else { args.starts },
        no_peers: args.no_peers,
        is_measurement: !args.quick,
    };
    let outcome = run(&plan, tell)?;
    tell("", 1.0);
    let json = serde_json::to_string_pretty(&outcome).map_err(io::Error::other)?;
    match args.json.as_deref() {
        Some(path) if path.as_os_str() == "-" => println!("{json}"),
        path => {
            path.map_or(Ok(()), |path| std::fs::write(path, json))?;
            print!("{}", text(&outcome));
        }
    }
    Ok(if args.gate && !is_met(&outcome) { 2 } else { 0 })
}
