//! Completion scripts and manual pages, both made from the command line's own definition.

use crate::cli::Cli;
use crate::exit::Failure;
use crate::out::Out;
use clap::CommandFactory as _;
use std::path::Path;

/// Writes the completion script of a shell to standard output.
pub fn completions(shell: clap_complete::Shell) {
    clap_complete::generate(shell, &mut Cli::command(), "portunus", &mut std::io::stdout().lock());
}

/// Writes a page for the command and one for each of its sub-commands.
///
/// # Errors
/// What the file system says.
pub fn pages(folder: &Path, out: Out) -> Result<(), Failure> {
    let cannot = |e: std::io::Error| Failure::io(&format!("writing manual pages to {}", folder.display()), &e);
    std::fs::create_dir_all(folder).map_err(cannot)?;
    clap_mangen::generate_to(Cli::command(), folder).map_err(cannot)?;
    out.say(format!("manual pages written to {}", folder.display()));
    out.machine(&serde_json::json!({ "folder": folder }));
    Ok(())
}
