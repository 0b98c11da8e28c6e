//! The one binary, `portunus`: `demo`, `run`, `agent`, `check`, `key`, `store`, `token`, `code`, `redeem`, `register`, `tune`, and the assembly of the
//! roles in one process that several of them share.
//!
//! Deliberately absent: protocol logic of any kind. What happens on the wire is decided below; here it is started,
//! watched and told.

pub mod agent;
pub mod assembly;
pub mod check;
pub mod cli;
pub mod code;
pub mod confine;
pub mod demo;
pub mod exit;
pub mod key;
pub mod ladder;
pub mod latency;
pub mod logging;
pub mod manual;
pub mod out;
pub mod passphrase;
mod records;
pub mod redeem;
pub mod register;
pub mod run;
pub mod signals;
pub mod store;
pub mod token;
pub mod tune;

use clap::Parser as _;
use cli::{Cli, Command};
use exit::{Exit, Failure};
use out::Out;
use std::process::ExitCode;

/// Reads the command line and does what it says.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(e) => {
            // Help and version are no mistakes; clap says which is which.
            let _ = e.print();
            return ExitCode::from(u8::try_from(e.exit_code()).unwrap_or(Exit::Usage as u8));
        }
    };
    let out = Out { json: cli.json };
    signals::outlive_full_files();
    match command(&cli.command, out) {
        Ok(()) => ExitCode::from(Exit::Ok as u8),
        Err(failure) => {
            out.failure(&failure);
            ExitCode::from(failure.exit as u8)
        }
    }
}

fn command(command: &Command, out: Out) -> Result<(), Failure> {
    match command {
        Command::Demo(args) => demo::demo(args, out),
        Command::Key(command) => key::key(command, out),
        Command::Store(command) => store::store(command, out),
        Command::Token(command) => token::token(command, out),
        Command::Code(command) => code::code(command, out),
        Command::Redeem(args) => redeem::redeem(args, out),
        Command::Register(args) => register::register(args, out),
        Command::Run(args) => run::run(args, out),
        Command::Agent(args) => agent::agent(args, out),
        Command::Check(args) => check::check(args, out),
        Command::Tune(command) => tune::tune(command, out),
        Command::Completions { shell } => {
            manual::completions(*shell);
            Ok(())
        }
        Command::Man { folder } => manual::pages(folder, out),
    }
}
