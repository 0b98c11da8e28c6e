//! The command line.

mod provisioning;
mod register;

pub use provisioning::{CodeCommand, CodeIssueArgs, RedeemArgs, TokenCommand};
pub use register::{PassphraseArgs, RegisterArgs};

use crate::exit::EXIT_CODES;
use clap::{Args, Parser, Subcommand, ValueEnum};
use portunus_keydist::mech::Mech;
use portunus_signalling::Protocol;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// A signalling border controller that hands every terminal its session key while it registers.
#[derive(Debug, Parser)]
#[command(name = "portunus", version, after_help = EXIT_CODES, subcommand_required = true, arg_required_else_help = true)]
pub struct Cli {
    /// Write JSON where a machine may read it: results on standard output, errors on standard error.
    #[arg(long, global = true)]
    pub json: bool,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The sub-commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show everything at once: an AuC, a softswitch, a proxy and a thousand terminals on this machine, no file needed.
    Demo(DemoArgs),
    /// Start the roles that a configuration file has sections for.
    ///
    /// SIGHUP takes over what the file may change while they run; SIGTERM ends them once the registrations under way are
    /// answered; SIGUSR1 writes every counter of proxies as one line of JSON.
    Run(ConfigArgs),
    /// Stand beside SIP phones that know nothing of PKD1: take their plain registrations, register them with the proxy,
    /// and carry what they say through the channel.
    ///
    /// To the phones it is registrar and outbound proxy. SIGTERM ends their registrations first; SIGUSR1 writes every
    /// counter as one line of JSON.
    Agent(AgentArgs),
    /// Find every mistake of a configuration file, with its place and what to write instead.
    Check(ConfigArgs),
    /// Keep the keys of subscribers and devices in an AuC's store. A key once stored is never printed.
    #[command(subcommand)]
    Key(KeyCommand),
    /// Check an AuC's store, save it, bring it back, change its master key.
    #[command(subcommand)]
    Store(StoreCommand),
    /// Say who may use the AuC's provisioning interface, [auc.api], and for what.
    #[command(subcommand)]
    Token(TokenCommand),
    /// Issue activation codes, with which terminals fetch their first key, once each.
    #[command(subcommand)]
    Code(CodeCommand),
    /// Be a new terminal: fetch the key with an activation code.
    ///
    /// An attempt that was cut off leaves FILE.unconfirmed beside the key file; the same command goes on from there.
    Redeem(RedeemArgs),
    /// Be a terminal: register, check the proxy, use the session key; print who told whom what.
    Register(RegisterArgs),
    /// Host settings that the data plane wants, in stages.
    #[command(subcommand)]
    Tune(TuneCommand),
    /// Write a completion script for a shell to standard output.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Write the manual pages into a folder.
    Man {
        /// The folder; made when it does not exist.
        #[arg(default_value = ".")]
        folder: PathBuf,
    },
}

/// Which way terminals register.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Topology {
    /// Through a signalling proxy.
    Proxied,
    /// At the softswitch itself.
    Direct,
}

impl Topology {
    /// Its name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Proxied => "proxied",
            Self::Direct => "direct",
        }
    }
}

/// What carries signalling.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Carrier {
    /// UDP.
    Udp,
    /// TCP.
    Tcp,
}

/// Signalling protocols.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ProtocolArg {
    /// SIP, RFC 3261.
    Sip,
    /// MGCP, RFC 3435: a media gateway.
    Mgcp,
    /// H.248.1 in text: a media gateway.
    H248,
    /// H.323: an endpoint, by RAS (H.225.0).
    #[value(alias = "ras")]
    H323,
}

impl ProtocolArg {
    /// Its name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sip => "sip",
            Self::Mgcp => "mgcp",
            Self::H248 => "h248",
            Self::H323 => "h323",
        }
    }

    /// Its name to people.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Sip => "SIP",
            Self::Mgcp => "MGCP",
            Self::H248 => "H.248",
            Self::H323 => "H.323",
        }
    }

    /// What terminals call the protocol.
    pub const fn protocol(self) -> Protocol {
        match self {
            Self::Sip => Protocol::Sip,
            Self::Mgcp => Protocol::Mgcp,
            Self::H248 => Protocol::H248,
            Self::H323 => Protocol::Ras,
        }
    }

    /// True where it may be carried by this.
    pub const fn runs_over(self, carrier: Carrier) -> bool {
        matches!((self, carrier), (_, Carrier::Udp) | (Self::Sip | Self::H248, Carrier::Tcp))
    }
}

impl ProtocolArg {
    /// True where its messages may be protected by this.
    pub const fn uses(self, mechanism: MechanismArg) -> bool {
        !matches!((self, mechanism), (Self::Mgcp | Self::H323, MechanismArg::Tls))
    }
}

/// What protects signalling after the registration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum MechanismArg {
    /// Sealed datagrams, x-pkd-sealed.
    #[value(alias = "x-pkd-sealed")]
    Sealed,
    /// ESP in UDP, ipsec-man.
    #[value(alias = "esp")]
    IpsecMan,
    /// TLS 1.3 with the key from the registration, tls; for SIP and H.248.
    Tls,
}

impl MechanismArg {
    /// The mechanism.
    pub const fn mech(self) -> Mech {
        match self {
            Self::Sealed => Mech::Sealed,
            Self::IpsecMan => Mech::Esp,
            Self::Tls => Mech::Tls,
        }
    }
}

/// `demo`
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// How many terminals register.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub terminals: u32,
    /// What the terminals speak, comma separated; each speaks one, in turn.
    #[arg(long, value_enum, value_delimiter = ',', default_values = ["sip", "mgcp", "h248", "h323"])]
    pub protocols: Vec<ProtocolArg>,
    /// Through a proxy, or at the softswitch itself.
    #[arg(long, value_enum, default_value = "proxied")]
    pub topology: Topology,
    /// What carries the registrations, where the protocol lets one choose: SIP and H.248 do.
    #[arg(long, value_enum, default_value = "udp")]
    pub transport: Carrier,
    /// What protects everything after the registration; MGCP and H.323 stay with sealed datagrams where it is tls.
    #[arg(long, value_enum, default_value = "sealed")]
    pub mechanism: MechanismArg,
    /// Proxy worker threads.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=64))]
    pub workers: u8,
    /// Registrations under way at a time.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub concurrency: u32,
    /// Give up after so many seconds.
    #[arg(long, default_value_t = 120, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub limit: u64,
    /// Stay up after the report, for other tools to look at, until interrupted.
    #[arg(long)]
    pub keep: bool,
}

/// `run`, `check`
#[derive(Debug, Args)]
pub struct ConfigArgs {
    /// The configuration file.
    #[arg(long, short, value_name = "FILE")]
    pub config: PathBuf,
}

/// `agent`
#[derive(Debug, Args)]
pub struct AgentArgs {
    /// The configuration file; its [agent] section is what counts.
    #[arg(long, short, value_name = "FILE")]
    pub config: PathBuf,
    /// Register every phone of the file without waiting for the phones, say so when all are active, and end.
    #[arg(long)]
    pub once: bool,
    /// With --once: give up after so many seconds.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=600), requires = "once")]
    pub limit: u64,
}

/// Where an AuC's store is.
#[derive(Debug, Args)]
pub struct StoreArgs {
    /// A configuration file with an [auc] section; its master key and its store, or its database, are used.
    #[arg(long, short, value_name = "FILE", required_unless_present = "store", conflicts_with = "store")]
    pub config: Option<PathBuf>,
    /// The store itself; needs --master-key.
    #[arg(long, value_name = "FILE", requires = "master_key")]
    pub store: Option<PathBuf>,
    /// The file with the store's master key, made with mode 0600 when store and key do not exist yet; or the `pkcs11:`
    /// URI of one in a token.
    #[arg(long, value_name = "FILE|URI", requires = "store")]
    pub master_key: Option<PathBuf>,
}

/// Whose key it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// A terminal's: registers with PKD1.
    Terminal,
    /// A proxy's or softswitch's.
    Device,
    /// A stock phone's: digest authentication, no session key.
    Digest,
}

/// `key`
#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    /// Add one identity with a new key, or a given one.
    Add(KeyAddArgs),
    /// Add the rows `id,key` (64 hex digits) of a CSV.
    Import {
        /// The store.
        #[command(flatten)]
        store: StoreArgs,
        /// The CSV.
        #[arg(long, value_name = "FILE")]
        csv: PathBuf,
        /// Whose keys they are; by default an identity with `@` or without a digit-free domain is a terminal's.
        #[arg(long, value_enum)]
        kind: Option<Kind>,
        /// Replace the keys of identities that the store has already.
        #[arg(long)]
        replace: bool,
    },
    /// List the identities of the store; never their keys.
    List {
        /// The store.
        #[command(flatten)]
        store: StoreArgs,
    },
    /// Give an identity a new key.
    Rotate {
        /// Whose, and which.
        #[command(flatten)]
        key: KeyAddArgs,
        /// How long a terminal's key until now works beside the new one, like `7d`, `24h` or `10m`; of a device, how long
        /// the key until now is used before the new one is.
        #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = portunus_config::duration)]
        overlap: Duration,
    },
    /// Remove an identity.
    Remove {
        /// The store.
        #[command(flatten)]
        store: StoreArgs,
        /// The identity.
        #[arg(long)]
        id: String,
    },
}

/// `key add`, `key rotate`
#[derive(Debug, Args)]
pub struct KeyAddArgs {
    /// The store.
    #[command(flatten)]
    pub store: StoreArgs,
    /// The identity.
    #[arg(long)]
    pub id: String,
    /// Whose key it is.
    #[arg(long, value_enum, default_value = "terminal")]
    pub kind: Kind,
    /// What the key is made of, where a person remembers it.
    #[command(flatten)]
    pub passphrase: PassphraseArgs,
    /// The realm that a passphrase's key is for; by default the part of the identity after `@`.
    #[arg(long)]
    pub realm: Option<String>,
    /// The key as 64 hex digits. Anybody who lists processes can read it: prefer --key-file.
    #[arg(long, value_name = "HEX", conflicts_with_all = ["key_file", "out", "passphrase", "passphrase_file"])]
    pub hex: Option<String>,
    /// A file with the key: 64 hex digits, or rows `id,key`; `-` reads standard input.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["out", "passphrase", "passphrase_file"])]
    pub key_file: Option<PathBuf>,
    /// Generate the key and write it, once, to this new file (mode 0600).
    #[arg(long, value_name = "FILE", required_unless_present_any = ["hex", "key_file", "passphrase", "passphrase_file"],
        conflicts_with_all = ["passphrase", "passphrase_file"]
    )]
    pub out: Option<PathBuf>,
}

/// `store`
#[derive(Debug, Subcommand)]
pub enum StoreCommand {
    /// Open every record and name those that are damaged; a replica is compared with its database. The AuC may be running.
    Verify(StoreArgs),
    /// Show who is registered where, through which proxy and softswitch, since when, and until when. The AuC may be
    /// running.
    Records {
        /// The store.
        #[command(flatten)]
        store: StoreArgs,
        /// Only this identity.
        #[arg(long, value_name = "IDC")]
        id: Option<String>,
        /// Only registrations that last.
        #[arg(long)]
        active: bool,
    },
    /// Save everything as it is at this moment in one file that opens with the master key only. The AuC may be running.
    Backup {
        /// The store.
        #[command(flatten)]
        store: StoreArgs,
        /// The backup: a new file (mode 0600).
        #[arg(long, value_name = "FILE")]
        to: PathBuf,
    },
    /// Bring a backup back. Stop the AuC first.
    Restore {
        /// The store.
        #[command(flatten)]
        store: StoreArgs,
        /// The backup.
        #[arg(long, value_name = "FILE")]
        from: PathBuf,
        /// Where there is a store already, keep it under a name that ends in `.before-restore`.
        #[arg(long)]
        replace: bool,
    },
    /// Bring a store of an earlier version to the present layout; where a database is the system of record, make or
    /// bring forward its tables, and move the store's own keys into it. Twice does no harm. The AuC may be running.
    Migrate(StoreArgs),
    /// Seal every record anew, so that nothing of an earlier master key is of any use. The AuC may be running.
    Reseal(StoreArgs),
    /// Replace the master key without a pause: admit the next one, restart the AuC with it, retire the others.
    #[command(subcommand)]
    Master(MasterCommand),
}

/// `store master`
#[derive(Debug, Subcommand)]
pub enum MasterCommand {
    /// Name the master keys that open the store; a name tells nothing of the key.
    List(StoreArgs),
    /// Let another master key open the store too.
    Admit {
        /// The store.
        #[command(flatten)]
        store: StoreArgs,
        /// The file with the next master key, made with mode 0600 when it does not exist; or the `pkcs11:` URI of one in
        /// a token.
        #[arg(long, value_name = "FILE|URI")]
        next: PathBuf,
    },
    /// Make a master key in a PKCS#11 token, which it never leaves.
    Create {
        /// A configuration whose [auc.master_key] names token and key.
        #[arg(long, short, value_name = "FILE", required_unless_present = "uri", conflicts_with = "uri")]
        config: Option<PathBuf>,
        /// Token and key as a URI:
        /// pkcs11:token=TOKEN;object=KEY?module-path=/usr/lib/MODULE.so&pin-source=file:/etc/portunus/token.pin
        #[arg(long = "at", value_name = "URI")]
        uri: Option<PathBuf>,
    },
    /// Shut out every master key but the one that is named here.
    Retire(StoreArgs),
}

/// `tune`
#[derive(Debug, Subcommand)]
pub enum TuneCommand {
    /// Compare the host with what the data plane wants, and explain each setting.
    Check(TuneArgs),
    /// Change what is not as wanted, remembering what was there. Changes nothing without --yes.
    Apply(TuneApplyArgs),
    /// Put back what `apply` found. Changes nothing without --yes.
    Undo(TuneApplyArgs),
}

/// What to tune for.
#[derive(Debug, Args)]
pub struct TuneArgs {
    /// A configuration file: worker cores and socket buffers are taken from it.
    #[arg(long, short, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Cores that workers are pinned to, comma separated.
    #[arg(long, value_delimiter = ',')]
    pub cores: Vec<usize>,
    /// Network devices that carry the terminals' traffic, comma separated.
    #[arg(long, value_delimiter = ',')]
    pub device: Vec<String>,
    /// Only these stages.
    #[arg(long, value_enum, value_delimiter = ',')]
    pub stage: Vec<crate::tune::Stage>,
    /// Where the host's /proc and /sys are.
    #[arg(long, hide = true, default_value = "/")]
    pub root: PathBuf,
}

/// `tune apply`, `tune undo`
#[derive(Debug, Args)]
pub struct TuneApplyArgs {
    /// What to tune for.
    #[command(flatten)]
    pub what: TuneArgs,
    /// Do it; without this flag only what would be done is shown.
    #[arg(long)]
    pub yes: bool,
    /// Where the values from before are kept.
    #[arg(long, value_name = "FILE", default_value = "/var/lib/portunus/tune-undo.json")]
    pub state: PathBuf,
}

/// A server's address from HOST:PORT; names are resolved once.
///
/// # Errors
/// A [`crate::exit::Failure`] that says whether the form or the name is wrong.
pub fn resolve(server: &str) -> Result<SocketAddr, crate::exit::Failure> {
    use std::net::ToSocketAddrs as _;
    if !server.contains(':') {
        let what = format!("{server} is not HOST:PORT");
        return Err(crate::exit::Failure::new(crate::exit::Exit::Usage, what, "add the port, like 192.0.2.1:5060"));
    }
    let unreachable = |why: String| {
        crate::exit::Failure::unreachable(format!("{server}: {why}"), "check the name, or give the address")
    };
    let mut found = server.to_socket_addrs().map_err(|e| unreachable(e.to_string()))?;
    found.next().ok_or_else(|| unreachable("no address".to_owned()))
}
