//! `portunus agent`: PKD1 for SIP phones and media gateways that know nothing of it.

use crate::check;
use crate::cli::AgentArgs;
use crate::exit::{Exit, Failure};
use crate::logging::Logging;
use crate::out::Out;
use crate::register::refusal;
use crate::run::notify;
use crate::signals::Signals;
use portunus_agent::run::{Runner, StartError};
use portunus_agent::{Config, Gateways, Notice, PhoneConfig};
use portunus_config::model::{Agent as Model, AgentPhone, Mechanism, PhoneKey};
use portunus_keydist::Key;
use portunus_keydist::timing::Repeat;
use portunus_signalling::Protocol;
use portunus_terminal::{Failure as Why, Profile, Transport};
use sd_notify::NotifyState;
use serde_json::json;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// How often signals are looked for.
const LOOK: Duration = Duration::from_millis(200);
/// Longest wait for registrations to be ended when the process ends.
const FAREWELL: Duration = Duration::from_secs(3);
/// Requests of the agent's own inside the channel: given up sooner than a phone would, so that a proxy that went away
/// is noticed while callers still wait.
const INSIDE: Repeat = Repeat { gaps_ms: &[500, 1000, 2000], give_up_ms: 8_000 };

/// Runs until SIGTERM or SIGINT; with `--once`, until every phone is registered.
///
/// # Errors
/// What keeps it from starting; with `--once`, why a phone is not registered.
pub fn agent(args: &AgentArgs, out: Out) -> Result<(), Failure> {
    let loaded = check::load(&args.config, out)?;
    let Some(model) = &loaded.config.agent else {
        let what = format!("{}: no [agent]", args.config.display());
        return Err(Failure::configuration(what, "add the section [agent]; tuning/agent.toml explains it"));
    };
    let config = config(model, loaded.config.lab)?;
    let start = |e: StartError| match &e {
        StartError::Config(_) => Failure::configuration(e.to_string(), "correct it in [agent]"),
        StartError::Listener(_, io) | StartError::Route(_, io) => {
            let failure = Failure::io("starting the agent", io);
            let exit = if failure.exit == Exit::Failed { Exit::Unreachable } else { failure.exit };
            Failure { exit, what: e.to_string(), ..failure }
        }
        StartError::System(io) => Failure::io("starting the agent", io),
    };
    let signals = Signals::catch()?;
    if args.once {
        // Nothing of a phone's is wanted: any free port of this host will do.
        let mut aside = Config { listeners: Vec::new(), ..config };
        aside.gateways.iter_mut().for_each(|of| of.listeners.clear());
        return once(Runner::new(aside).map_err(start)?, model, args, &signals, out);
    }
    Logging::start(loaded.config.log);
    serve(Runner::new(config).map_err(start)?, model, &signals, out)
}

/// What terminals of one protocol are told.
fn profile(
    model: &Model,
    protocol: Protocol,
    server: SocketAddr,
    mechanisms: &[Mechanism],
) -> Result<Profile, Failure> {
    let wrong = |e: portunus_terminal::ProfileError| Failure::configuration(e.to_string(), "correct it in [agent]");
    // The preferred one with the highest q.
    let offers: Vec<_> = (0..).zip(mechanisms).map(|(n, m)| format!("{};q=0.{}", m.word(), 9 - n)).collect();
    let offers = offers.join(", ");
    let profile = Profile::new(server, Transport::Udp, &model.proxy, &model.realm, &offers).map_err(wrong)?;
    let mut profile = profile.speaking(protocol);
    profile.expires_s = u32::try_from(model.expires.as_secs()).unwrap_or(u32::MAX);
    profile.probe_ms = u32::try_from(model.sign_of_life.as_millis()).unwrap_or(u32::MAX);
    profile.inside = INSIDE;
    Ok(profile)
}

fn config(model: &Model, lab: bool) -> Result<Config, Failure> {
    let list = |list: &[AgentPhone]| -> Result<Vec<PhoneConfig>, Failure> {
        let one = |p: &AgentPhone| -> Result<PhoneConfig, Failure> {
            let key = match &p.key {
                PhoneKey::Key(source) => Key::new(*portunus_config::read_key(source, &p.id, lab)?),
                PhoneKey::Passphrase(file) => {
                    let text = portunus_config::read_passphrase(file, &p.id, &model.realm)?;
                    crate::passphrase::derive(&text, &p.id, &model.realm)?
                }
            };
            Ok(PhoneConfig { id: p.id.clone(), key, from: p.from.clone() })
        };
        list.iter().map(one).collect()
    };
    let mut gateways = Vec::new();
    for (protocol, of) in [(Protocol::Mgcp, &model.mgcp), (Protocol::H248, &model.h248)] {
        let Some(of) = of else { continue };
        let profile = profile(model, protocol, of.server, &of.mechanisms)?;
        gateways.push(Gateways { profile, listeners: of.listen.clone(), list: list(&of.list)? });
    }
    let phones = list(&model.phones)?;
    let profile = profile(model, Protocol::Sip, model.server, &model.mechanisms)?;
    Ok(Config { profile, listeners: model.listen.clone(), phones, gateways })
}

/// Opens every channel, and says so.
fn once(mut runner: Runner, model: &Model, args: &AgentArgs, signals: &Signals, out: Out) -> Result<(), Failure> {
    let until = Instant::now() + Duration::from_secs(args.limit);
    let mut last: BTreeMap<String, Why> = BTreeMap::new();
    runner.open_all();
    loop {
        let mut failed = None;
        runner
            .turn(LOOK.min(until.saturating_duration_since(Instant::now())), &mut |id, notice| match notice {
                Notice::Active(agreed) => {
                    last.remove(id);
                    let session = format!("{:016x}", agreed.kid);
                    let (by, seconds) = (agreed.mech.token(), agreed.expires_s);
                    out.say(format!("{id} active: {by}, session {session}, registered for {seconds} s"));
                    out.machine(&json!({ "id": id, "mechanism": by, "session": session, "expires_s": seconds }));
                }
                Notice::Failed(why @ (Why::Denied | Why::Mechanism | Why::TooLong), _) => {
                    failed = Some((id.to_owned(), *why));
                }
                Notice::Failed(why, _) => {
                    last.insert(id.to_owned(), *why);
                }
                Notice::Registered(_) | Notice::Gone { .. } | Notice::Closed => {}
            })
            .map_err(|e| Failure::io("waiting for the proxy", &e))?;
        if let Some((id, why)) = failed {
            return Err(refusal(&id, model.server, why));
        }
        let (phones, active) = runner.agent().active();
        if active == phones {
            out.say(format!("{active} of {phones} phones active through {}", model.proxy));
            out.machine(&json!({ "phones": phones, "active": active }));
            return Ok(());
        }
        if Instant::now() >= until || signals.end_asked() {
            let why = last.first_key_value().map(|(id, why)| refusal(id, model.server, *why));
            let what = format!("{active} of {phones} phones active after {} s", args.limit);
            let next = "check the proxy's address, or raise --limit";
            return Err(why.unwrap_or_else(|| Failure::unreachable(format!("{}: {what}", model.server), next)));
        }
    }
}

fn serve(mut runner: Runner, model: &Model, signals: &Signals, out: Out) -> Result<(), Failure> {
    ready(&runner, model, out);
    let poll = |e: std::io::Error| Failure::io("waiting for phones", &e);
    let mut petted = Instant::now();
    let watchdog = sd_notify::watchdog_enabled();
    while !signals.end_asked() {
        runner.turn(LOOK, &mut log).map_err(poll)?;
        if signals.counters_asked() {
            let (phones, active) = runner.agent().active();
            let counters = runner.agent().counters();
            out.data(&json!({ "event": "counters", "agent": counters, "phones": phones, "active": active,
                "send_errors": runner.send_errors() }));
        }
        if watchdog.is_some_and(|every| petted.elapsed() * 2 >= every) {
            petted = Instant::now();
            notify(&[NotifyState::Watchdog]);
        }
    }
    notify(&[NotifyState::Stopping]);
    runner.close_all();
    let until = Instant::now() + FAREWELL;
    while runner.agent().active().1 > 0 && Instant::now() < until {
        runner.turn(Duration::from_millis(20), &mut log).map_err(poll)?;
    }
    out.say("portunus agent stopped");
    out.machine(&json!({ "event": "stopped" }));
    Ok(())
}

fn ready(runner: &Runner, model: &Model, out: Out) {
    let at: Vec<String> = runner.listeners().iter().map(|a| format!("sip udp {a}, sip tcp {a}")).collect();
    let named = |protocol| if protocol == Protocol::Mgcp { "mgcp" } else { "h248" };
    let beside = runner.agent().beside().iter().map(|(at, protocol)| format!("{} udp {at}", named(*protocol)));
    let at: Vec<String> = at.into_iter().chain(beside).collect();
    let (phones, plural) = (model.phones.len(), |n: usize| if n == 1 { "" } else { "s" });
    let gateways: usize = model.mgcp.iter().chain(&model.h248).map(|of| of.list.len()).sum();
    let line = format!(
        "portunus agent ready: {}; {phones} phone{}, {gateways} gateway{} of {} at {}",
        at.join(", "),
        plural(phones),
        plural(gateways),
        model.proxy,
        model.server.ip()
    );
    out.say_under(4, &line);
    out.machine(&json!({ "event": "ready", "roles": { "agent": at }, "phones": phones, "gateways": gateways }));
    notify(&[NotifyState::Ready, NotifyState::Status(&line)]);
}

fn log(id: &str, notice: &Notice) {
    match notice {
        Notice::Active(a) => {
            tracing::info!(id, mechanism = a.mech.token(), session = %format!("{:016x}", a.kid), "channel open");
        }
        Notice::Failed(why, retry) => tracing::warn!(id, retry_in_ms = ?retry, "no channel: {why}"),
        Notice::Registered(seconds) => tracing::info!(id, seconds, "phone registered"),
        Notice::Gone { lapsed: true } => tracing::info!(id, "phone gone: it did not register again in time"),
        Notice::Gone { lapsed: false } => tracing::info!(id, "phone de-registered"),
        Notice::Closed => tracing::info!(id, "channel closed"),
    }
}
