//! `portunus register`: a real terminal on the command line.

use crate::cli::{Carrier, ProtocolArg, RegisterArgs, resolve};
use crate::exit::{Exit, Failure};
use crate::ladder;
use crate::latency::Latency;
use crate::out::Out;
use crate::passphrase;
use core::net::SocketAddr;
use portunus_keydist::{Idc, Key};
use portunus_terminal::fleet::{Arrivals, Fleet, FleetConfig, FleetResult, Goal};
use portunus_terminal::{Failure as Why, Profile, Transport, offering};
use serde_json::json;
use std::time::Duration;

impl From<Carrier> for Transport {
    fn from(c: Carrier) -> Self {
        match c {
            Carrier::Udp => Self::Udp,
            Carrier::Tcp => Self::Tcp,
        }
    }
}

/// Registers, so many times as asked, and tells what happened.
///
/// # Errors
/// Why the last registration that failed did, with an exit code that says whose fault it is.
pub fn register(args: &RegisterArgs, out: Out) -> Result<(), Failure> {
    let profile = profile(args)?;
    let key = key(args)?;
    let (mut latency, mut active, mut last) = (Latency::new(), 0u32, None);
    for n in 0..args.count {
        let result = once(args, &profile, &key, n == 0)?;
        latency.add(&result.active_us);
        active += result.active;
        tell(args, &profile, &result, n, out);
        if result.active == 0 {
            last = Some(result.last_failure);
            // A refusal does not get better by repetition, and repetition gets one ignored.
            if args.count > 1 {
                break;
            }
        }
    }
    if args.count > 1 {
        out.say_under(0, format!("{active} of {} registrations active; {}", args.count, latency.words()));
    }
    out.machine(&json!({ "id": args.id, "count": args.count, "active": active, "latency_us": latency }));
    match last {
        None => Ok(()),
        Some(why) => Err(failure(args, profile.server, why)),
    }
}

fn profile(args: &RegisterArgs) -> Result<Profile, Failure> {
    let usage = |what: String, next: &str| Failure::new(Exit::Usage, what, next);
    Idc::new(&args.id).ok_or_else(|| {
        let next = "write 1 to 128 octets without spaces, quotes, backslash, comma or semicolon";
        usage(format!("{} is not an identity", args.id), next)
    })?;
    if !args.protocol.runs_over(args.transport) {
        let next = "leave --transport away";
        return Err(usage(format!("{} runs over UDP only", args.protocol.title()), next));
    }
    if !args.protocol.uses(args.mechanism) {
        let next = "leave --mechanism away";
        return Err(usage(format!("{} is not carried inside TLS", args.protocol.title()), next));
    }
    let realm = match (&args.realm, args.id.split_once('@')) {
        (Some(realm), _) => realm.clone(),
        (None, Some((_, host))) if !host.is_empty() => host.to_owned(),
        _ if args.protocol != ProtocolArg::Sip => String::new(),
        _ => return Err(usage(format!("{} has no domain", args.id), "add --realm")),
    };
    let server = resolve(&args.server)?;
    let mechs = offering(args.mechanism.mech());
    let mut profile = Profile::new(server, args.transport.into(), &args.proxy_id, &realm, &mechs)
        .map_err(|e| usage(e.to_string(), "check --proxy-id"))?
        .speaking(args.protocol.protocol());
    profile.expires_s = args.expires;
    profile.attempts_max = 1;
    Ok(profile)
}

fn key(args: &RegisterArgs) -> Result<Key, Failure> {
    use std::os::unix::fs::PermissionsExt as _;
    if let Some(key) = passphrase::key(&args.passphrase, &args.id, args.realm.as_deref(), false)? {
        return Ok(key);
    }
    // The command line demands one of both.
    let none = || Failure::new(Exit::Usage, "no key", "add --key-file or --passphrase");
    let file = args.key_file.as_ref().ok_or_else(none)?;
    if std::fs::metadata(file).is_ok_and(|m| m.permissions().mode() & 0o077 != 0) {
        // A terminal's key is its owner's business, and a laboratory's is public: a word, no refusal.
        eprintln!("portunus: {} can be read by others; `chmod 600` keeps it private", file.display());
    }
    Ok(Key::new(*portunus_config::read_key_file(file, &args.id, true)?))
}

fn once(args: &RegisterArgs, profile: &Profile, key: &Key, ladder: bool) -> Result<FleetResult, Failure> {
    let local = portunus_agent::run::source_towards(profile.server).map_err(|e| {
        Failure::unreachable(format!("no route to {}: {e}", profile.server), "check the address and the network")
    })?;
    let config = FleetConfig {
        profile: Profile { ladder, ..profile.clone() },
        terminals: 1,
        local,
        sockets: 1,
        arrivals: Arrivals::Window(1),
        limit: Duration::from_secs(args.limit),
        goal: Goal::Active,
        stay: false,
    };
    let (id, octets) = (args.id.clone(), *key.expose());
    let subscriber = move |_: u32| Some((id.clone(), Key::new(octets)));
    let socket = |e: std::io::Error| Failure::io("opening a socket", &e);
    Fleet::new(config, Box::new(subscriber)).map_err(socket)?.run(&mut |_| true).map_err(socket)
}

fn tell(args: &RegisterArgs, profile: &Profile, result: &FleetResult, n: u32, out: Out) {
    let rungs = ladder::ladder(profile.protocol, &result.ladder, &[]);
    if n == 0 {
        let by = if profile.transport == Transport::Udp { "UDP" } else { "TCP" };
        let name = args.protocol.title();
        let through =
            format!("{} registers at {} by {name} over {by}, through {}", args.id, profile.server, args.proxy_id);
        out.say_under(0, through);
        ladder::lines(&rungs).iter().for_each(|l| out.say_under(ladder::INDENT, l));
    }
    if let Some(a) = result.first_active {
        let ms = result.active_us.max() as f64 / 1000.0;
        let life = Duration::from_secs(a.life_s.into());
        out.say_under(
            0,
            format!(
                "active after {ms:.1} ms: {}, session {:016x}, key for {} h{}",
                a.mech.token(),
                a.kid,
                life.as_secs() / 3600,
                if a.expires_s > 0 { format!(", registered for {} s", a.expires_s) } else { String::new() }
            ),
        );
    }
    if out.json {
        out.machine(&json!({
            "registration": n + 1,
            "active": result.active == 1,
            "mechanism": result.first_active.map(|a| a.mech.token()),
            "session": result.first_active.map(|a| format!("{:016x}", a.kid)),
            "key_life_s": result.first_active.map(|a| a.life_s),
            "expires_s": result.first_active.map(|a| a.expires_s),
            "after_us": (result.active == 1).then(|| result.active_us.max()),
            "failure": result.last_failure.map(|w| w.word()),
            "ladder": rungs,
        }));
    }
}

fn failure(args: &RegisterArgs, server: SocketAddr, why: Option<Why>) -> Failure {
    let Some(why) = why else {
        let what = format!("{server}: the registration did not end within {} s", args.limit);
        return Failure::unreachable(what, "check the address, the port and --transport, or raise --limit");
    };
    refusal(&args.id, server, why)
}

/// Why a terminal's registration failed, with the exit code that says whose fault it is.
pub fn refusal(id: &str, server: SocketAddr, why: Why) -> Failure {
    let exit = match (why, why.blame()) {
        (Why::Denied | Why::Mechanism, _) => Exit::Denied,
        (Why::Silent { .. } | Why::Connection | Why::Busy { .. } | Why::Unconfirmed, _) => Exit::Unreachable,
        _ => Exit::Failed,
    };
    let text = why.to_string();
    let (what, next) = text.split_once("; ").unwrap_or((text.as_str(), ""));
    Failure::new(exit, format!("{id} at {server}: {what}"), next)
}
