//! `portunus-load`: loads a proxy with registrations, and says what it costs beside floors and peers.

use clap::{Args, Parser, Subcommand, ValueEnum};
use core::net::SocketAddr;
use core::time::Duration;
use portunus_benches::compare::{self, Plan, Subject};
use portunus_benches::element::Kind;
use portunus_benches::{auc, count, keys, memory, plot, register, report, secured, serve, standin, stats, traffic};
use portunus_keydist::mech::Mech;
use portunus_signalling::Protocol;
use portunus_terminal::fleet::{Arrivals, Goal};
use portunus_terminal::sip::{MECHS, Transport};
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

#[derive(Parser)]
#[command(
    version,
    about = "Loads a signalling proxy with registrations, and says what it costs beside floors and peers"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Proxy, floors and Kamailio in one run, interleaved: CPU a registration, rate, latency and ratios
    Compare(Compare),
    /// Registers terminals at a given server, in closed or open loop
    Register(Register),
    Auc(auc::Auc),
    /// Resident octets a terminal, and the cost of a registration among many beside among a thousand
    Memory(Memory),
    /// Instruction counts under valgrind, held against benches/instructions.json
    Count(Count),
    /// Does one piece of the counted work
    #[command(hide = true)]
    Work {
        name: String,
    },
    /// A fast stand-in for softswitch and AuC, with real vectors and keys derived from names
    Core {
        /// UDP port on 127.0.0.1 for s2 and s8; the next one takes what plain proxies forward
        #[arg(long, default_value_t = 0)]
        port: u16,
        /// What it speaks
        #[arg(long, value_enum, default_value = "sip")]
        protocol: Spoken,
    },
    #[command(hide = true)]
    Proxy {
        #[arg(long, value_enum, default_value = "sip")]
        protocol: Spoken,
        #[arg(long)]
        core: SocketAddr,
        #[arg(long, default_value_t = 1)]
        workers: usize,
        #[arg(long, default_value_t = 1_000_000)]
        terminals: usize,
        #[arg(long, default_value = "x-pkd-sealed", value_parser = mechanism)]
        channel: Mech,
    },
    #[command(hide = true)]
    Floor {
        #[arg(long, value_enum, default_value = "sip")]
        protocol: Spoken,
        #[arg(long)]
        core: SocketAddr,
        #[arg(long)]
        crypto: bool,
        #[arg(long)]
        node: bool,
        #[arg(long, default_value_t = 1)]
        workers: usize,
        #[arg(long, value_parser = mechanism)]
        channel: Option<Mech>,
        #[arg(long)]
        joined: bool,
    },
}

fn mechanism(token: &str) -> Result<Mech, String> {
    Mech::from_token(token).ok_or_else(|| "no mechanism of this name".to_owned())
}

/// What passes after registration.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Passing {
    /// Requests and replies under x-pkd-sealed.
    Sealed,
    /// Requests and replies under ipsec-man.
    Esp,
    /// New connections of tls with a registration each, and their memory, beside Kamailio's tls module.
    Tls,
}

#[derive(Clone, Copy, ValueEnum)]
enum Spoken {
    Sip,
    Mgcp,
    H248,
    #[value(alias = "ras")]
    H323,
}

impl From<Spoken> for Protocol {
    fn from(s: Spoken) -> Self {
        match s {
            Spoken::Sip => Self::Sip,
            Spoken::Mgcp => Self::Mgcp,
            Spoken::H248 => Self::H248,
            Spoken::H323 => Self::Ras,
        }
    }
}

#[derive(Args)]
struct Compare {
    /// What the terminals speak; each protocol has floors of its own, and SIP alone has peers
    #[arg(long, value_enum, default_value = "sip")]
    protocol: Spoken,
    /// Instead of registrations, what passes after them: requests and replies in active sessions, or new connections
    #[arg(long, value_enum)]
    traffic: Option<Passing>,
    /// A B B A pairs of slices
    #[arg(long, default_value_t = 6)]
    pairs: usize,
    /// Registrations (requests or connections, with --traffic) a slice [default: 60000 for sip; 6000 for the others, whose
    /// terminals need a socket each; 20000 requests, 3000 connections]
    #[arg(long)]
    registrations: Option<u32>,
    /// Registrations under way at any time
    #[arg(long, default_value_t = 128)]
    window: usize,
    /// Workers of the proxy and of Kamailio
    #[arg(long, default_value_t = 1)]
    workers: usize,
    /// Three pairs of short slices: a look, not a measurement, and no target is held against it
    #[arg(long, conflicts_with_all = ["gate", "pairs", "registrations"])]
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

#[derive(Clone, Copy, ValueEnum)]
enum By {
    Udp,
    Tcp,
}

#[derive(Clone, Copy, ValueEnum)]
enum Until {
    /// s10 accepted; nothing is sent inside the channel
    Keyed,
    /// something protected verified both ways
    Active,
    /// and a request inside the channel was answered
    Verified,
}

#[derive(Args)]
struct Register {
    /// What the terminals speak
    #[arg(long, value_enum, default_value = "sip")]
    protocol: Spoken,
    /// The proxy's access listener
    #[arg(long)]
    server: SocketAddr,
    /// The proxy's identity
    #[arg(long, default_value = keys::IDSP)]
    proxy_id: String,
    /// The digest realm
    #[arg(long, default_value = keys::REALM)]
    realm: String,
    /// Mechanisms offered, as Security-Client would hold them
    #[arg(long, default_value = MECHS)]
    mechs: String,
    /// Identities and keys: a CSV file of id,key (64 hex digits). Without it they are derived from numbers, as
    /// `portunus-load core` knows them
    #[arg(long)]
    subscribers: Option<PathBuf>,
    /// Terminals; with --subscribers all of the file's unless given
    #[arg(long)]
    terminals: Option<u32>,
    #[arg(long, value_enum, default_value = "udp")]
    transport: By,
    /// Closed loop: registrations under way at any time
    #[arg(long, default_value_t = 128, conflicts_with_all = ["rate"])]
    window: usize,
    /// Open loop: registrations a second
    #[arg(long)]
    rate: Option<f64>,
    /// Poisson arrivals instead of a steady rate
    #[arg(long, requires = "rate")]
    poisson: bool,
    /// Finds saturation in closed loop, then measures at 50, 80 and 95 % of it with Poisson arrivals
    #[arg(long, conflicts_with_all = ["rate"])]
    sweep: bool,
    /// When a terminal has done its part
    #[arg(long, value_enum, default_value = "active")]
    until: Until,
    /// Source address
    #[arg(long, default_value = "127.0.0.1")]
    local: core::net::IpAddr,
    /// Source sockets
    #[arg(long, default_value_t = 16)]
    sockets: u16,
    /// Seconds after which the run ends, whatever is under way
    #[arg(long, default_value_t = 120)]
    limit: u64,
    /// JSON on standard output instead of the table
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct Memory {
    /// Terminals
    #[arg(long, default_value_t = 1_000_000)]
    terminals: u64,
    /// Mechanisms offered, as Security-Client would hold them
    #[arg(long, default_value = MECHS)]
    mechs: String,
    /// A B B A pairs of slices
    #[arg(long, default_value_t = 15)]
    pairs: usize,
    /// Registrations a slice
    #[arg(long, default_value_t = 2_000)]
    slice: u64,
    /// JSON on standard output instead of text
    #[arg(long)]
    json: bool,
    /// Fails (exit code 2) where a target is missed
    #[arg(long)]
    gate: bool,
}

#[derive(Args)]
struct Count {
    /// The counts to hold
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/instructions.json"))]
    baseline: PathBuf,
    /// How much a count may grow, per cent
    #[arg(long, default_value_t = 3)]
    tolerance: u64,
    /// Writes the counts found as the new baseline
    #[arg(long)]
    update: bool,
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Compare(args) => match args.traffic {
            None => compare(&args),
            Some(Passing::Sealed) => traffic(&args, Mech::Sealed),
            Some(Passing::Esp) => traffic(&args, Mech::Esp),
            Some(Passing::Tls) => secured(&args),
        },
        Command::Register(args) => register(&args),
        Command::Auc(args) => showing(|tell| auc::command(&args, tell)),
        Command::Memory(args) => memory(&args),
        Command::Count(args) => count(&args),
        Command::Work { name } => count::work(&name).map(|known| u8::from(!known)),
        Command::Core { port, protocol } => core(protocol.into(), port),
        Command::Proxy { protocol, core, workers, terminals, channel } => {
            serve::proxy(protocol.into(), core, workers, terminals, channel).map(|()| 0)
        }
        Command::Floor { core, node: true, workers, .. } => serve::node_floor(core, workers).map(|()| 0),
        Command::Floor { protocol, core, crypto, channel, joined, .. } => {
            serve::floor(protocol.into(), core, crypto, (channel, joined)).map(|()| 0)
        }
    };
    match outcome {
        Ok(code) => ExitCode::from(code),
        Err(e) => {
            eprintln!("portunus-load: {e}");
            ExitCode::FAILURE
        }
    }
}

fn subjects(protocol: Protocol, peers: bool) -> Vec<Subject> {
    let plain = |kind| Subject { kind, confirmed: false };
    let confirmed = Subject { kind: Kind::Proxy, confirmed: true };
    let mut all = vec![plain(Kind::Proxy), confirmed, plain(Kind::F0), plain(Kind::F1)];
    if protocol != Protocol::Sip {
        return all;
    }
    all.push(plain(Kind::Fn));
    if peers {
        all.extend([plain(Kind::KamailioStateless), plain(Kind::KamailioStateful)]);
    }
    all
}

fn compare(args: &Compare) -> io::Result<u8> {
    let usual = if matches!(args.protocol, Spoken::Sip) { 60_000 } else { 6_000 };
    let (pairs, registrations, settle) = match args.quick {
        true => (3, 1_500, Duration::from_millis(500)),
        false => (args.pairs, args.registrations.unwrap_or(usual), compare::SETTLE),
    };
    let plan = Plan {
        pairs: pairs.max(1),
        registrations: registrations.max(1),
        window: args.window.max(1),
        workers: args.workers.max(1),
        settle,
        protocol: args.protocol.into(),
        subjects: subjects(args.protocol.into(), !args.no_peers),
    };
    let outcome = showing(|tell| compare::run(&plan, tell))?;
    tell(args, &serde_json::to_value(&outcome).map_err(io::Error::other)?, &report::text(&outcome))?;
    if let Some(path) = &args.svg {
        std::fs::write(path, plot::svg(&outcome))?;
    }
    Ok(if args.gate && !report::all_met(&outcome) { 2 } else { 0 })
}

/// Does something under a bar that hears how far it is.
fn showing<T>(work: impl FnOnce(&mut dyn FnMut(&str, f64)) -> io::Result<T>) -> io::Result<T> {
    let bar = indicatif::ProgressBar::new(1_000);
    bar.set_style(indicatif::ProgressStyle::with_template("{wide_bar} {percent}% {msg}").map_err(io::Error::other)?);
    let done = work(&mut |what, done| {
        bar.set_message(what.to_owned());
        bar.set_position((done * 1_000.0) as u64);
    })?;
    bar.finish_and_clear();
    Ok(done)
}

/// Puts an outcome out as JSON and as text, wherever they are wanted.
fn tell(args: &Compare, json: &serde_json::Value, text: &str) -> io::Result<()> {
    let json = serde_json::to_string_pretty(json).map_err(io::Error::other)?;
    match args.json.as_deref() {
        Some(path) if path.as_os_str() == "-" => println!("{json}"),
        Some(path) => {
            std::fs::write(path, json)?;
            print!("{text}");
        }
        None => print!("{text}"),
    }
    Ok(())
}

fn traffic(args: &Compare, mech: Mech) -> io::Result<u8> {
    let (pairs, requests) = if args.quick { (3, 5_000) } else { (args.pairs, args.registrations.unwrap_or(20_000)) };
    let plan = traffic::Plan {
        mech,
        pairs: pairs.max(1),
        requests: requests.max(1),
        window: u32::try_from(args.window).unwrap_or(u32::MAX).max(1),
        workers: args.workers.max(1),
    };
    let outcome = showing(|tell| traffic::run(&plan, tell))?;
    tell(args, &serde_json::to_value(&outcome).map_err(io::Error::other)?, &traffic::text(&outcome))?;
    Ok(if args.gate && !traffic::is_met(&outcome) { 2 } else { 0 })
}

fn secured(args: &Compare) -> io::Result<u8> {
    let (pairs, connections) =
        if args.quick { (2, 500) } else { (args.pairs, args.registrations.unwrap_or(3_000).min(5_000)) };
    let plan = secured::Plan {
        pairs: pairs.max(1),
        connections: connections.max(1),
        stay: connections.max(1),
        window: u32::try_from(args.window).unwrap_or(u32::MAX).max(1),
        workers: args.workers.max(1),
    };
    let outcome = showing(|tell| secured::run(&plan, tell))?;
    tell(args, &serde_json::to_value(&outcome).map_err(io::Error::other)?, &secured::text(&outcome))?;
    Ok(if args.gate && !secured::is_met(&outcome) { 2 } else { 0 })
}

fn register(args: &Register) -> io::Result<u8> {
    let subscribers = args.subscribers.as_deref().map(register::read_subscribers).transpose()?;
    let given = subscribers.as_ref().map_or(1_000, |s| s.len() as u32);
    let arrivals = match args.rate {
        Some(rate) if args.poisson => Arrivals::Poisson(rate),
        Some(rate) => Arrivals::Steady(rate),
        None => Arrivals::Window(args.window.max(1)),
    };
    let load = register::Load {
        protocol: args.protocol.into(),
        server: args.server,
        transport: match args.transport {
            By::Udp => Transport::Udp,
            By::Tcp => Transport::Tcp,
        },
        idsp: args.proxy_id.clone(),
        realm: args.realm.clone(),
        mechs: args.mechs.clone(),
        subscribers: subscribers.map(Arc::new),
        first: 0,
        terminals: args.terminals.unwrap_or(given),
        local: args.local,
        sockets: args.sockets,
        arrivals,
        goal: match args.until {
            Until::Keyed => Goal::Keyed,
            Until::Active => Goal::Active,
            Until::Verified => Goal::Verified,
        },
        limit: Duration::from_secs(args.limit),
    };
    let bar = indicatif::ProgressBar::new(load.terminals.into());
    let outcomes = if args.sweep {
        register::sweep(&load, args.window.max(1), &mut |what| bar.set_message(what.to_owned()))?
    } else {
        let run = register::run(&load, &mut |p| {
            bar.set_position(p.keyed.into());
            true
        })?;
        vec![(format!("{arrivals:?}"), run)]
    };
    bar.finish_and_clear();
    if args.json {
        let runs: Vec<_> =
            outcomes.iter().map(|(name, o)| serde_json::json!({ "run": name, "outcome": o.json() })).collect();
        println!("{}", serde_json::to_string_pretty(&runs).map_err(io::Error::other)?);
    } else {
        print!("{}", register::text(&outcomes));
    }
    Ok(if outcomes.iter().all(|(_, o)| o.faults().is_empty()) { 0 } else { 2 })
}

fn memory(args: &Memory) -> io::Result<u8> {
    let bar = indicatif::ProgressBar::new(args.terminals);
    let (terminals, pairs, slice) = (args.terminals.max(1), args.pairs.max(1), args.slice.max(32));
    let found = memory::run(terminals, &args.mechs, pairs, slice, &mut |n| {
        if n % 4_096 == 0 {
            bar.set_position(n);
        }
    })?;
    bar.finish_and_clear();
    let met = found.octets_each <= memory::OCTETS_MAX && found.ratio.median <= memory::RATIO_MAX;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&found).map_err(io::Error::other)?);
    } else {
        println!(
            "{} terminals registered and active in one engine: {:.0} resident octets each (target <= {:.0})",
            found.terminals,
            found.octets_each,
            memory::OCTETS_MAX
        );
        let spread = |s: &stats::Spread| format!("{:.3} ({:.3}..{:.3})", s.median, s.low, s.high);
        println!("engine time a registration, us, among 1000:  {}", spread(&found.few_us));
        println!("                                among all:   {}", spread(&found.many_us));
        println!("ratio: {} (target <= {})", spread(&found.ratio), memory::RATIO_MAX);
    }
    Ok(if args.gate && !met { 2 } else { 0 })
}

fn count(args: &Count) -> io::Result<u8> {
    let counts = count::all(&mut |name| eprintln!("counting {name}"))?;
    if args.update {
        let text = serde_json::to_string_pretty(&counts).map_err(io::Error::other)?;
        std::fs::write(&args.baseline, text + "\n")?;
    }
    let held = std::fs::read_to_string(&args.baseline)?;
    let held: count::Counts = serde_json::from_str(&held).map_err(io::Error::other)?;
    let mut t = report::table(&["work", "instructions a unit", "baseline", ""]);
    let mut worst = 0;
    for (name, n) in &counts {
        let verdict = count::verdict(held.get(name).copied(), *n, args.tolerance);
        if verdict == count::Verdict::Worse {
            worst = 2;
        }
        let was = held.get(name).map_or_else(String::new, u64::to_string);
        t.add_row(vec![name.clone(), n.to_string(), was, format!("{verdict:?}").to_lowercase()]);
    }
    println!("{t}");
    Ok(worst)
}

fn core(protocol: Protocol, port: u16) -> io::Result<u8> {
    let standin = standin::StandIn::start(protocol, port)?;
    println!("ready {} (from a proxy) {} (from a plain proxy)", standin.behind_proxy, standin.behind_forwarder);
    standin.join().map(|()| 0)
}
