//! `portunus-load`: loads a proxy with registrations, and says what it costs beside floors and peers.

use clap::{Args, Parser, Subcommand};
use core::net::SocketAddr;
use portunus_benches::compare::{self, Plan, Subject};
use portunus_benches::element::Kind;
use portunus_benches::{plot, report, serve, standin};
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Parser)]
#[command(version, about = "Loads a signalling proxy with registrations, and says what it costs beside floors and peers")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Proxy, floors and Kamailio in one run, interleaved: CPU a registration, rate, latency and ratios
    Compare(Compare),
    /// A fast stand-in for softswitch and AuC, with real vectors and keys derived from names
    Core {
        /// UDP port on 127.0.0.1 for s2 and s8; the next one takes what plain proxies forward
        #[arg(long, default_value_t = 0)]
        port: u16,
    },
    #[command(hide = true)]
    Proxy {
        #[arg(long)]
        core: SocketAddr,
        #[arg(long, default_value_t = 1)]
        workers: usize,
        #[arg(long, default_value_t = 1_000_000)]
        terminals: usize,
    },
    #[command(hide = true)]
    Floor {
        #[arg(long)]
        core: SocketAddr,
        #[arg(long)]
        crypto: bool,
        #[arg(long)]
        node: bool,
        #[arg(long, default_value_t = 1)]
        workers: usize,
    },
}

#[derive(Args)]
struct Compare {
    /// A B B A pairs of slices
    #[arg(long, default_value_t = 15)]
    pairs: usize,
    /// Registrations a slice
    #[arg(long, default_value_t = 6_000)]
    registrations: u32,
    /// Registrations under way at any time
    #[arg(long, default_value_t = 128)]
    window: usize,
    /// Workers of the proxy and of Kamailio
    #[arg(long, default_value_t = 1)]
    workers: usize,
    /// Three pairs of short slices: a look, not a measurement
    #[arg(long)]
    quick: bool,
    /// Leaves Kamailio out
    #[arg(long)]
    no_peers: bool,
    /// Writes the outcome as JSON to this file (`-`: standard output, instead of the table)
    #[arg(long)]
    json: Option<PathBuf>,
    /// Writes the drawing to this file
    #[arg(long)]
    svg: Option<PathBuf>,
    /// Fails (exit code 2) where a target is missed
    #[arg(long)]
    gate: bool,
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Compare(args) => compare(&args),
        Command::Core { port } => core(port),
        Command::Proxy { core, workers, terminals } => serve::proxy(core, workers, terminals).map(|()| 0),
        Command::Floor { core, node: true, workers, .. } => serve::node_floor(core, workers).map(|()| 0),
        Command::Floor { core, crypto, .. } => serve::floor(core, crypto).map(|()| 0),
    };
    match outcome {
        Ok(code) => ExitCode::from(code),
        Err(e) => {
            eprintln!("portunus-load: {e}");
            ExitCode::FAILURE
        }
    }
}

fn subjects(peers: bool) -> Vec<Subject> {
    let plain = |kind| Subject { kind, confirmed: false };
    let mut all = vec![
        plain(Kind::Proxy),
        Subject { kind: Kind::Proxy, confirmed: true },
        plain(Kind::F0),
        plain(Kind::F1),
        plain(Kind::Fn),
    ];
    if peers {
        all.extend([plain(Kind::KamailioStateless), plain(Kind::KamailioStateful)]);
    }
    all
}

fn compare(args: &Compare) -> io::Result<u8> {
    let (pairs, registrations) = if args.quick { (3, 1_500) } else { (args.pairs, args.registrations) };
    let plan = Plan {
        pairs: pairs.max(1),
        registrations: registrations.max(1),
        window: args.window.max(1),
        workers: args.workers.max(1),
        subjects: subjects(!args.no_peers),
    };
    let bar = indicatif::ProgressBar::new(1_000);
    bar.set_style(indicatif::ProgressStyle::with_template("{wide_bar} {percent}% {msg}").map_err(io::Error::other)?);
    let outcome = compare::run(&plan, &mut |what, done| {
        bar.set_message(what.to_owned());
        bar.set_position((done * 1_000.0) as u64);
    })?;
    bar.finish_and_clear();
    let json = serde_json::to_string_pretty(&outcome).map_err(io::Error::other)?;
    match args.json.as_deref() {
        Some(path) if path.as_os_str() == "-" => println!("{json}"),
        Some(path) => {
            std::fs::write(path, json)?;
            print!("{}", report::text(&outcome));
        }
        None => print!("{}", report::text(&outcome)),
    }
    if let Some(path) = &args.svg {
        std::fs::write(path, plot::svg(&outcome))?;
    }
    Ok(if args.gate && !report::all_met(&outcome) { 2 } else { 0 })
}

fn core(port: u16) -> io::Result<u8> {
    let standin = standin::StandIn::start(port)?;
    println!("ready {} (from a proxy) {} (from a plain proxy)", standin.behind_proxy, standin.behind_forwarder);
    standin.join().map(|()| 0)
}
