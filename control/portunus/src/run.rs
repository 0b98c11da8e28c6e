//! `portunus run`: the roles that a file has sections for, until a signal ends them.

use crate::assembly::{aaa, auc, proxy, softswitch};
use crate::check;
use crate::cli::ConfigArgs;
use crate::exit::{Exit, Failure};
use crate::logging::Logging;
use crate::out::Out;
use crate::signals::Signals;
use portunus_auc::custody::Master;
use portunus_config::model::{AucListener, Edge, ListenTransport};
use portunus_config::{Config, Loaded, Mistakes, difference};
use portunus_softswitch::Listeners;
use portunus_softswitch::run::Handle as SoftswitchHandle;
use sd_notify::NotifyState;
use serde_json::json;
use std::path::Path;
use std::time::{Duration, Instant};

/// How often the roles are looked after.
const LOOK: Duration = Duration::from_millis(200);
/// Longest wait for what is under way when the process drains.
const DRAIN: Duration = Duration::from_secs(35);

/// The running roles, in the order in which they end.
struct Roles {
    proxy: Option<proxy::Proxy>,
    direct: Option<proxy::Proxy>,
    softswitch: Option<SoftswitchHandle>,
    auc: Option<auc::Centre>,
}

/// Runs until SIGTERM or SIGINT.
///
/// # Errors
/// What keeps a role from starting, or which one died.
pub fn run(args: &ConfigArgs, out: Out) -> Result<(), Failure> {
    let mut loaded = check::load(&args.config, out)?;
    if check::roles(&loaded.config) == ["agent"] {
        let what = format!("{}: only an agent, which is a process of its own", args.config.display());
        return Err(Failure::configuration(what, "start it with `portunus agent`"));
    }
    let logging = Logging::start(loaded.config.log);
    let signals = Signals::catch()?;
    let mut confined = crate::confine::memory(&loaded.config)?;
    let master = loaded.config.auc.as_ref().map(auc::master).transpose()?;
    confined.extend(crate::confine::fence(&loaded.config, &args.config)?);
    if !confined.is_empty() {
        tracing::info!("confined: {}", confined.join(", "));
    }
    let roles = Roles::start(&loaded.config, master.as_deref())?;
    // The store keeps what it needs of it.
    drop(master);
    ready(&roles, &loaded.config, out);
    let ended = look_after(&args.config, &mut loaded, &roles, &logging, &signals, out);
    notify(&[NotifyState::Stopping]);
    if ended.is_ok() {
        roles.drain();
    }
    let stopped = roles.stop();
    out.say("portunus stopped");
    out.machine(&json!({ "event": "stopped" }));
    ended.and(stopped)
}

/// A word to systemd; without it, nothing.
pub(crate) fn notify(state: &[NotifyState<'_>]) {
    let _ = sd_notify::notify(state);
}

impl Roles {
    /// The AuC first, the proxy last: each finds the one that it asks.
    fn start(config: &Config, master: Option<&dyn Master>) -> Result<Self, Failure> {
        let lab = config.lab;
        let mut roles = Self { proxy: None, direct: None, softswitch: None, auc: None };
        if let (Some(model), Some(master)) = (&config.auc, master) {
            roles.auc = Some(auc::start(model, master, lab)?);
        }
        if let Some(model) = &config.softswitch {
            let links = aaa::client(model, lab)?;
            if let Some(edge) = &model.direct {
                let device = proxy::device_keys(edge, &model.identity, lab)?;
                roles.direct = Some(proxy::start_direct(model, device, links, None)?);
            } else if let Some(listen) = model.listen {
                roles.softswitch = Some(softswitch::start(softswitch::config(model, listen, None), links, None)?);
            }
        }
        if let Some(model) = &config.proxy {
            let device = proxy::device_keys(&model.edge, &model.identity, lab)?;
            roles.proxy = Some(proxy::start(model, device)?);
        }
        for warning in roles.edges().flat_map(|e| &e.node().report().warnings) {
            tracing::warn!("{warning}");
        }
        Ok(roles)
    }

    fn edges(&self) -> impl Iterator<Item = &proxy::Proxy> {
        self.proxy.iter().chain(&self.direct)
    }

    /// One line of JSON with every counter of the access sides.
    fn show_counters(&self, out: Out) {
        let of = |edge: &Option<proxy::Proxy>| edge.as_ref().map(proxy::Proxy::counters);
        let mut line = json!({ "event": "counters" });
        for (role, counters) in [("proxy", of(&self.proxy)), ("softswitch", of(&self.direct))] {
            if let Some(counters) = counters {
                line[role] = json!(counters);
            }
        }
        if let Some(database) = self.auc.as_ref().and_then(auc::Centre::database) {
            line["auc"] = json!({ "database": database });
        }
        out.data(&line);
    }

    /// Which role died, if any.
    fn dead(&self) -> Result<(), Failure> {
        let next = "the log says more; a service manager starts the process again";
        for edge in self.edges() {
            if let Some(failure) = edge.node().failure(Duration::ZERO) {
                return Err(Failure::new(Exit::Failed, failure.to_string(), next));
            }
        }
        if self.softswitch.as_ref().is_some_and(|s| !s.is_running()) {
            return Err(Failure::new(Exit::Failed, "the softswitch ended by itself", next));
        }
        if self.auc.as_ref().is_some_and(|a| !a.is_running()) {
            return Err(Failure::new(Exit::Failed, "the AuC, or what keeps its replica even, ended by itself", next));
        }
        Ok(())
    }

    /// Takes no new registrations and waits for those under way.
    fn drain(&self) {
        self.edges().for_each(|e| e.node().drain());
        let until = Instant::now() + DRAIN;
        // Counters are published a moment after what they count.
        std::thread::sleep(LOOK);
        while Instant::now() < until && self.edges().any(|e| e.node().counter("pendings") > 0) {
            std::thread::sleep(LOOK);
        }
    }

    fn stop(self) -> Result<(), Failure> {
        let edges = self.proxy.into_iter().chain(self.direct).map(proxy::Proxy::stop);
        let edges = edges.fold(Ok(()), Result::and);
        let softswitch = self.softswitch.map_or(Ok(()), SoftswitchHandle::stop);
        if let Some(auc) = self.auc {
            auc.stop();
        }
        edges.and(softswitch.map_err(|e| Failure::io("running the softswitch", &e)))
    }
}

/// Each role with the addresses at which it is reached, as they were bound.
fn addresses(roles: &Roles, config: &Config) -> Vec<(String, Vec<String>)> {
    let mut all = Vec::new();
    if let (Some(auc), Some(model)) = (&roles.auc, &config.auc) {
        let mut bound = auc.handle.addresses().iter();
        let mut next = |what: &str| format!("{what} {}", bound.next().map_or_else(String::new, ToString::to_string));
        let each = model.listeners.iter().flat_map(|l| match l {
            AucListener::Udp { .. } => vec![next("radius udp"), next("accounting udp")],
            AucListener::RadSec { .. } => vec![next("radsec tls")],
            AucListener::Diameter { tls: Some(_), .. } => vec![next("diameter tls")],
            AucListener::Diameter { tls: None, .. } => vec![next("diameter tcp")],
        });
        all.push(("auc".to_owned(), each.chain(auc.beside.addresses()).chain(auc.replica()).collect()));
    }
    let edge = |proxy: &proxy::Proxy, model: &Edge| {
        let mut list: Vec<String> = Vec::new();
        for (n, l) in model.listeners.iter().enumerate() {
            let by = if l.transport == ListenTransport::Udp { "udp" } else { "tcp" };
            list.push(format!("{} {by} {}", l.protocol.word(), proxy.address(n)));
        }
        for (n, (mechanism, _)) in model.protected().enumerate() {
            list.push(format!("{} udp {}", mechanism.section(), proxy.address(model.listeners.len() + n)));
        }
        let first = model.listeners.len() + model.protected().count();
        for (n, l) in model.tls.iter().enumerate() {
            list.push(format!("{} tls {}", l.protocol.word(), proxy.address(first + n)));
        }
        list
    };
    if let (Some(softswitch), Some(_)) = (&roles.softswitch, &config.softswitch) {
        let Listeners { mgcp, h248, ras } = softswitch.listeners();
        let beside = [("mgcp", mgcp), ("h248", h248), ("ras", ras)];
        let beside = beside.into_iter().filter_map(|(word, at)| Some(format!("{word} udp {}", at?)));
        let all_of = [format!("sip udp {}", softswitch.address())].into_iter().chain(beside);
        all.push(("softswitch".to_owned(), all_of.collect()));
    }
    if let (Some(direct), Some(model)) = (&roles.direct, config.softswitch.as_ref().and_then(|s| s.direct.as_ref())) {
        all.push(("softswitch".to_owned(), edge(direct, model)));
    }
    if let (Some(proxy), Some(model)) = (&roles.proxy, &config.proxy) {
        let mut list = edge(proxy, &model.edge);
        list.push(format!("core udp {}", proxy.node().core()));
        all.push(("proxy".to_owned(), list));
    }
    all
}

/// Says that every role is there: one line on standard output, and a word to systemd.
fn ready(roles: &Roles, config: &Config, out: Out) {
    let all = addresses(roles, config);
    let line: Vec<String> = all.iter().map(|(role, list)| format!("{role} {}", list.join(", "))).collect();
    out.say_under(4, format!("portunus ready: {}", line.join("; ")));
    if out.json {
        let roles: serde_json::Map<_, _> = all.iter().map(|(role, list)| (role.clone(), json!(list))).collect();
        out.machine(&json!({ "event": "ready", "roles": roles }));
    }
    tracing::info!(roles = %check::roles(config).join(", "), "ready");
    notify(&[NotifyState::Ready, NotifyState::Status(&line.join("; "))]);
}

fn look_after(
    path: &Path,
    loaded: &mut Loaded,
    roles: &Roles,
    logging: &Logging,
    signals: &Signals,
    out: Out,
) -> Result<(), Failure> {
    let watchdog = sd_notify::watchdog_enabled();
    let mut petted = Instant::now();
    while !signals.end_asked() {
        roles.dead()?;
        if signals.reload_asked() {
            reload(path, loaded, roles, logging, out);
        }
        if signals.counters_asked() {
            roles.show_counters(out);
        }
        // Half of what systemd grants, so that one late turn is no death.
        if watchdog.is_some_and(|every| petted.elapsed() * 2 >= every) {
            petted = Instant::now();
            notify(&[NotifyState::Watchdog]);
        }
        signals.wait(LOOK);
    }
    tracing::info!("ending: new registrations get 503, those under way finish");
    Ok(())
}

/// "1 change", "2 changes".
fn counted(n: usize, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

/// Reads the file again: takes over what can be taken over and says what needs a restart. A wrong file changes
/// nothing.
fn reload(path: &Path, running: &mut Loaded, roles: &Roles, logging: &Logging, out: Out) {
    match NotifyState::monotonic_usec_now() {
        Ok(since) => notify(&[NotifyState::Reloading, since]),
        Err(_) => notify(&[NotifyState::Reloading]),
    }
    match portunus_config::load(path) {
        Err(Mistakes(found)) => {
            for mistake in &found {
                tracing::error!("{mistake}");
            }
            let count = counted(found.len(), "mistake");
            out.say(format!("portunus not reloaded: {count}, the running configuration is untouched"));
            out.machine(&json!({ "event": "reload", "done": false, "mistakes": found }));
        }
        Ok(new) => {
            let d = difference(running, &new);
            take_over(&new.config, running, roles, logging);
            for change in &d.changes {
                tracing::info!("{change}");
            }
            let (live, restart) = (d.live().count(), d.restart().count());
            let mut line = format!("portunus reloaded: {} applied", counted(live, "change"));
            if restart > 0 {
                let keys: Vec<&str> = d.restart().map(|c| c.key.as_str()).collect();
                let verb = if restart == 1 { "needs" } else { "need" };
                line += &format!("; {restart} {verb} a restart: {}", keys.join(", "));
            }
            out.say_under(4, line);
            out.machine(&json!({ "event": "reload", "done": true, "changes": d.changes }));
            // What needs a restart is still what runs, and is told again with the next reload.
            for change in d.live() {
                if let Some(setting) = new.settings.get(&change.key) {
                    running.settings.insert(change.key.clone(), setting.clone());
                }
            }
        }
    }
    notify(&[NotifyState::Ready]);
}

/// Hands the live parts of a new configuration to the roles, and keeps them as what runs.
fn take_over(new: &Config, running: &mut Loaded, roles: &Roles, logging: &Logging) {
    logging.set(new.log.level);
    running.config.log.level = new.log.level;
    let give = |edge: Option<&Edge>, to: Option<&proxy::Proxy>, identity: &str| {
        let (Some(edge), Some(proxy)) = (edge, to) else { return };
        if let Err(e) = proxy.node().reload(proxy::policy(edge)) {
            tracing::error!(error = %e, "the policy was not taken over");
        }
        // Read anew at every reload: a key is replaced by another file of the same name, too.
        match proxy::device_keys(edge, identity, new.lab) {
            Ok(keys) => proxy.node().rekey(keys),
            Err(e) => tracing::error!("the device key stays as it was: {}; {}", e.what, e.next),
        }
    };
    // Another identity takes a restart, so the keys are those of the present one.
    let name = |identity: Option<&String>| identity.cloned().unwrap_or_default();
    let (sp, ss) = (running.config.proxy.as_ref(), running.config.softswitch.as_ref());
    let (idsp, idss) = (name(sp.map(|p| &p.identity)), name(ss.map(|s| &s.identity)));
    give(new.proxy.as_ref().map(|p| &p.edge), roles.proxy.as_ref(), &idsp);
    give(new.softswitch.as_ref().and_then(|s| s.direct.as_ref()), roles.direct.as_ref(), &idss);
}
