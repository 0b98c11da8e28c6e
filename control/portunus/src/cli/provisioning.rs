//! `token`, `code`, `redeem`: who may provision, and how a terminal comes by its first key.

use super::StoreArgs;
use clap::{Args, Subcommand};
use std::path::PathBuf;
use std::time::Duration;

/// `token`
#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// Make a token and show it, once. The AuC may be running.
    Add {
        /// The store.
        #[command(flatten)]
        store: StoreArgs,
        /// Whose it is: stands in lists and in the audit log.
        #[arg(long)]
        name: String,
        /// What it is good for, comma separated: subscribers:read, subscribers:write, devices:read, devices:write,
        /// codes:issue, records:read, status:read.
        #[arg(long, value_delimiter = ',', required = true, value_parser = crate::token::scope)]
        scope: Vec<portunus_auc::tokens::Scope>,
        /// When it ends, from now, like `30d` or `8h`.
        #[arg(long, value_name = "DURATION", default_value = "30d", value_parser = portunus_config::duration)]
        expires: Duration,
    },
    /// List the tokens; never their secret part.
    List(StoreArgs),
    /// End a token at once.
    Revoke {
        /// The store.
        #[command(flatten)]
        store: StoreArgs,
        /// The token's public part: the 16 digits behind `ptk_`.
        #[arg(long)]
        id: String,
    },
}

/// `code`
#[derive(Debug, Subcommand)]
pub enum CodeCommand {
    /// Issue codes into a new file of rows `id,code`. The AuC may be running.
    Issue(CodeIssueArgs),
    /// List the codes by their locators; never a code itself.
    List(StoreArgs),
    /// End a code that was not redeemed.
    Revoke {
        /// The store.
        #[command(flatten)]
        store: StoreArgs,
        /// The code's locator, as it is listed.
        #[arg(long)]
        locator: String,
    },
}

/// `code issue`
#[derive(Debug, Args)]
pub struct CodeIssueArgs {
    /// The store.
    #[command(flatten)]
    pub store: StoreArgs,
    /// A file with an identity a line.
    #[arg(long, value_name = "FILE", required_unless_present = "prefix")]
    pub ids: Option<PathBuf>,
    /// Assign identities: this, then a number that was never assigned before.
    #[arg(long, conflicts_with = "ids")]
    pub prefix: Option<String>,
    /// What follows `@` in assigned identities; without it there is no `@`.
    #[arg(long, requires = "prefix")]
    pub realm: Option<String>,
    /// How many identities to assign.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100_000), conflicts_with = "ids")]
    pub count: u32,
    /// How long the codes may be redeemed, like `7d` or `24h`.
    #[arg(long, value_name = "DURATION", default_value = "7d", value_parser = portunus_config::duration)]
    pub expires: Duration,
    /// Identities may have a key already; it serves until the code is redeemed.
    #[arg(long)]
    pub replace: bool,
    /// Where the codes go: a new file (mode 0600).
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
}

/// `redeem`
#[derive(Debug, Args)]
pub struct RedeemArgs {
    /// Where the AuC redeems codes ([auc.redeem]), as HOST:PORT.
    #[arg(long, value_name = "HOST:PORT")]
    pub server: String,
    /// A file with the code on its first line; `-` reads standard input.
    #[arg(long, value_name = "FILE")]
    pub code: PathBuf,
    /// Where the key goes: a new file (mode 0600), for `--key-file`.
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    /// Give up after so many seconds.
    #[arg(long, default_value_t = 40, value_parser = clap::value_parser!(u64).range(1..=600))]
    pub limit: u64,
}
