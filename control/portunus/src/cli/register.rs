//! A terminal's side of the command line: `register`, and passphrases.

use super::{Carrier, MechanismArg, ProtocolArg};
use clap::Args;
use std::path::PathBuf;

/// `register`
#[derive(Debug, Args)]
pub struct RegisterArgs {
    /// The signalling protocol.
    #[arg(long, value_enum, default_value = "sip")]
    pub protocol: ProtocolArg,
    /// The proxy (or softswitch), as HOST:PORT.
    #[arg(long, value_name = "HOST:PORT")]
    pub server: String,
    /// The terminal's identity (IDc): alice@example.test (SIP), gw1.example.test (MGCP, H.248), an alias (H.323).
    #[arg(long, value_name = "IDC")]
    pub id: String,
    /// The identity of the proxy (IDsp), or of the softswitch that serves terminals directly.
    #[arg(long, value_name = "IDSP")]
    pub proxy_id: String,
    /// A file with the terminal's key: 64 hex digits, or rows `id,key` of which the terminal's is taken.
    #[arg(
        long,
        value_name = "FILE",
        required_unless_present_any = ["passphrase", "passphrase_file"],
        conflicts_with_all = ["passphrase", "passphrase_file"]
    )]
    pub key_file: Option<PathBuf>,
    /// Or what it is made of.
    #[command(flatten)]
    pub passphrase: PassphraseArgs,
    /// What carries the registration; TCP for SIP and H.248.
    #[arg(long, value_enum, default_value = "udp")]
    pub transport: Carrier,
    /// The mechanism to offer for everything after the registration; tls for SIP and H.248.
    #[arg(long, value_enum, default_value = "sealed")]
    pub mechanism: MechanismArg,
    /// The digest realm (SIP); by default the part of IDC after `@`.
    #[arg(long)]
    pub realm: Option<String>,
    /// The lifetime to ask for, in seconds (SIP, H.323).
    #[arg(long, default_value_t = 3600, value_parser = clap::value_parser!(u32).range(1..=86_400))]
    pub expires: u32,
    /// Register so many times, one after the other.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub count: u32,
    /// Give one registration up after so many seconds.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=600))]
    pub limit: u64,
}

/// A terminal's key from a passphrase. It is refused when it would be guessed, here and at the other end.
#[derive(Debug, Args)]
pub struct PassphraseArgs {
    /// Ask for the user's passphrase, and make the key from it.
    #[arg(long, conflicts_with = "passphrase_file")]
    pub passphrase: bool,
    /// Make the key from the passphrase on the first line of a file that nobody else can read; `-` reads standard input.
    #[arg(long, value_name = "FILE")]
    pub passphrase_file: Option<PathBuf>,
}
