//! Rules that concern more than one section.

use crate::model::{AucListener, Config, Edge, ListenProtocol, ListenTransport, Mechanism, NamedPolicy};
use crate::read::Gather;
use crate::value::Size;
use core::net::SocketAddr;
use std::collections::HashMap;

pub(crate) fn check(config: &Config, gather: &Gather<'_>) {
    addresses(config, gather);
    trust(config, gather);
    policies(config, gather);
    protected(config, gather);
    secured(config, gather);
    peers(config, gather);
    upstreams(config, gather);
    registrars(config, gather);
    neighbours(config, gather);
    policies_used(config, gather);
}

/// Servers of somebody else's must have terminals to serve, and be others, each once.
fn upstreams(config: &Config, gather: &Gather<'_>) {
    let Some(softswitch) = &config.softswitch else { return };
    let proxies = softswitch.peers.iter().any(|peer| !peer.identities.is_empty());
    let kinds = [
        ("registrar", &softswitch.registrars, ListenProtocol::Sip, softswitch.listen, "[[softswitch.peer]]"),
        ("call_agent", &softswitch.call_agents, ListenProtocol::Mgcp, softswitch.listen_mgcp, "`listen_mgcp`"),
        ("controller", &softswitch.controllers, ListenProtocol::H248, softswitch.listen_h248, "`listen_h248`"),
    ];
    for (kind, list, protocol, listen, through) in kinds {
        let key = |n: usize| format!("softswitch.{kind}[{n}].address");
        let Some(first) = list.first() else { continue };
        let direct = softswitch.direct.iter().flat_map(|e| &e.listeners).filter(|l| l.protocol == protocol);
        let own: Vec<SocketAddr> = direct.map(|l| l.address).collect();
        if own.is_empty() && (listen.is_none() || !proxies) {
            let problem = format!("no {} terminal can register here", protocol.name());
            let word = protocol.word();
            let write =
                format!("add [[softswitch.direct.listener]] with `protocol = \"{word}\"`, or {through} for proxies");
            gather.note_at(&key(0), problem, write);
        }
        for (n, one) in list.iter().enumerate() {
            let at = one.address;
            if own.contains(&at) || softswitch.listens().any(|(_, own)| own == at) {
                let write = format!("write the address of a {} that is to serve the terminals", kind.replace('_', " "));
                gather.note_at(&key(n), format!("{at} is the softswitch's own"), write);
            }
            if first.address.is_ipv4() != at.is_ipv4() {
                let problem = format!("{at} and {} are not of one version of IP", first.address);
                gather.note_at(&key(n), problem, "write addresses of one version");
            }
            let called = one.name.as_ref().filter(|name| list.iter().take(n).any(|b| b.name.as_ref() == Some(*name)));
            if let Some(name) = called {
                let problem = format!("\"{name}\" is another one's name already");
                gather.note_at(&format!("softswitch.{kind}[{n}].name"), problem, "write a name of its own");
            }
            if list.iter().take(n).any(|before| before.address == at) {
                let write = format!("write each {} once; `weight` is its share", kind.replace('_', " "));
                gather.note_at(&key(n), format!("{at} is there already"), write);
            }
        }
    }
}

/// A neighbour is another, and is reached from where the softswitch is.
fn neighbours(config: &Config, gather: &Gather<'_>) {
    let Some(softswitch) = &config.softswitch else { return };
    for (n, neighbour) in softswitch.neighbours.iter().enumerate() {
        let (at, key) = (neighbour.address, format!("softswitch.neighbour[{n}].address"));
        match softswitch.listen {
            None => gather.note_at(&key, "it cannot reach the softswitch", "add `listen = \"ADDRESS:PORT\"` for it"),
            Some(own) if own == at => {
                gather.note_at(&key, format!("{at} is the softswitch's own"), "write the other softswitch's address");
            }
            Some(own) if own.is_ipv4() != at.is_ipv4() => {
                let problem = format!("{at} and softswitch.listen are not of one version of IP");
                gather.note_at(&key, problem, "write addresses of one version");
            }
            Some(_) => {}
        }
    }
}

/// Registrars must have a way back, and leave time for one another.
fn registrars(config: &Config, gather: &Gather<'_>) {
    let Some(softswitch) = config.softswitch.as_ref().filter(|s| !s.registrars.is_empty()) else { return };
    let key = |n: usize| format!("softswitch.registrar[{n}].address");
    if softswitch.listen.is_none() {
        gather.note_at(&key(0), "a registrar cannot reach the softswitch", "add `listen = \"ADDRESS:PORT\"` for it");
    }
    for (n, registrar) in softswitch.registrars.iter().enumerate() {
        let at = registrar.address;
        if softswitch.listen.is_some_and(|own| own.is_ipv4() != at.is_ipv4()) {
            let problem = format!("{at} and softswitch.listen are not of one version of IP");
            gather.note_at(&key(n), problem, "write addresses of one version");
        }
    }
    let within = softswitch.health.answer_within;
    let direct = softswitch.direct.as_ref().map(|e| (e, "softswitch.direct"));
    let edges = direct.into_iter().chain(config.proxy.as_ref().map(|p| (&p.edge, "proxy")));
    for (edge, path) in edges.filter(|(e, _)| within * 2 > e.policy.core_timeout) {
        let patience = edge.policy.core_timeout;
        let write = format!("keep it at or below half of {path}.policy.core_timeout, {patience:?}");
        let problem = "a second registrar could not be asked before the terminal is given up";
        gather.note_at("softswitch.health.answer_within", problem, write);
    }
}

/// What a proxy's listeners take in must have somewhere to go.
fn peers(config: &Config, gather: &Gather<'_>) {
    let Some(proxy) = &config.proxy else { return };
    for protocol in [ListenProtocol::Mgcp, ListenProtocol::H248, ListenProtocol::Ras] {
        let (listen, key) = (proxy.core.listen, protocol.peers());
        if let Some(other) = proxy.core.peers(protocol).iter().find(|peer| peer.is_ipv4() != listen.is_ipv4()) {
            let problem = format!("{other} and proxy.core.listen, {listen}, are not of one version of IP");
            let write = "write addresses of the version that the proxy has on the core side";
            gather.note_at(&format!("proxy.core.{key}"), problem, write);
        }
    }
    for (n, l) in proxy.edge.listeners.iter().enumerate() {
        let first = proxy.edge.listeners.iter().take(n).all(|before| before.protocol != l.protocol);
        if first && proxy.core.all.of(l.protocol).is_empty() {
            let key = l.protocol.peers();
            let problem = format!("the core side names no `{key}` for {}", l.protocol.name());
            let write = format!("add `{key} = [\"ADDRESS:PORT\"]` to [proxy.core]");
            gather.note_at(&format!("proxy.listener[{n}].protocol"), problem, write);
        }
    }
}

/// Where the host's kernel receives ESP, and the ports inside.
fn inside(e: &Edge, path: &str, gather: &Gather<'_>) -> Vec<(String, SocketAddr)> {
    let outer = e.kernel_esp.map(|kernel| (format!("{path}.ipsec.kernel.address"), kernel.address));
    let mut places: Vec<_> = outer.into_iter().collect();
    let key = format!("{path}.ipsec.kernel.ports");
    for (protocol, first) in e.kernel_rows() {
        for nth in 0..u16::try_from(2 * e.workers).unwrap_or(u16::MAX) {
            let Some(port) = first.port().checked_add(nth).filter(|port| *port < u16::MAX) else {
                let problem = format!("no ports are left for {}", protocol.name());
                gather.note_at(&key, problem, "let them begin lower: two a worker for each protocol");
                return places;
            };
            places.push((key.clone(), SocketAddr::new(first.ip(), port)));
        }
    }
    places
}

/// Two sockets of one file on the same address and port of the same kind cannot both be opened.
fn addresses(config: &Config, gather: &Gather<'_>) {
    let mut taken: HashMap<(bool, SocketAddr), String> = HashMap::new();
    let mut take = |tcp: bool, address: SocketAddr, key: String| {
        if address.port() == 0 {
            return;
        }
        if let Some(other) = taken.get(&(tcp, address)) {
            gather.note_at(&key, format!("{address} is already used by {other}"), "write another port");
            return;
        }
        taken.insert((tcp, address), key);
    };
    let mut edge = |e: &Edge, path: &str| {
        for (n, l) in e.listeners.iter().enumerate() {
            take(l.transport == ListenTransport::Tcp, l.address, format!("{path}.listener[{n}].address"));
        }
        for (mechanism, place) in e.protected() {
            take(false, place.address, format!("{path}.{}.address", mechanism.section()));
        }
        for (key, place) in inside(e, path, gather) {
            take(false, place, key);
        }
        for (n, l) in e.tls.iter().enumerate() {
            take(true, l.address, format!("{path}.tls[{n}].address"));
        }
    };
    if let Some(p) = &config.proxy {
        edge(&p.edge, "proxy");
    }
    if let Some(e) = config.softswitch.as_ref().and_then(|s| s.direct.as_ref()) {
        edge(e, "softswitch.direct");
    }
    if let Some(p) = &config.proxy {
        take(false, p.core.listen, "proxy.core.listen".into());
    }
    if let Some(s) = &config.softswitch {
        for (key, listen) in s.listens() {
            take(false, listen, format!("softswitch.{key}"));
        }
    }
    for at in config.agent.iter().flat_map(|a| &a.listen) {
        take(false, *at, "agent.listen".into());
        take(true, *at, "agent.listen".into());
    }
    let gateways = config.agent.iter().flat_map(|a| [("mgcp", &a.mgcp), ("h248", &a.h248)]);
    for (name, gateways) in gateways {
        for at in gateways.iter().flat_map(|g| &g.listen) {
            take(false, *at, format!("agent.{name}.listen"));
        }
    }
    for (n, l) in config.auc.iter().flat_map(|a| a.listeners.iter().enumerate()) {
        match l {
            AucListener::Udp { address, accounting, .. } => {
                take(false, *address, format!("auc.listen[{n}].address"));
                take(false, *accounting, format!("auc.listen[{n}].accounting"));
            }
            AucListener::RadSec { address, .. } | AucListener::Diameter { address, .. } => {
                take(true, *address, format!("auc.listen[{n}].address"))
            }
        }
    }
    if let Some(api) = config.auc.as_ref().and_then(|a| a.api.as_ref()) {
        take(true, api.address, "auc.api.address".into());
    }
    if let Some(redeem) = config.auc.as_ref().and_then(|a| a.redeem.as_ref()) {
        take(false, redeem.address, "auc.redeem.address".into());
    }
}

/// In a file with a proxy and its softswitch, each must know the other.
fn trust(config: &Config, gather: &Gather<'_>) {
    let Some(softswitch) = &config.softswitch else { return };
    for (n, p) in softswitch.peers.iter().enumerate() {
        if p.identities.contains(&softswitch.identity) {
            let write = "proxies and softswitches share one name space; give each its own name";
            let key = format!("softswitch.peer[{n}].identities");
            gather.note_at(&key, "the softswitch's own identity among its proxies", write);
        }
    }
    let Some(proxy) = &config.proxy else { return };
    // A proxy whose softswitch is elsewhere is no concern of this one.
    if softswitch.listen.is_none_or(|l| !proxy.core.peers(ListenProtocol::Sip).contains(&l)) {
        return;
    }
    let from = |p: &crate::model::Peer| {
        p.address == proxy.core.listen || (p.address.port() == 0 && p.address.ip() == proxy.core.listen.ip())
    };
    let known = softswitch.peers.iter().any(|p| from(p) && p.identities.contains(&proxy.identity));
    if !known {
        let write = format!(
            "add [[softswitch.peer]] with `address = \"{}\"` and `identities = [\"{}\"]`",
            proxy.core.listen, proxy.identity
        );
        gather.note_at("proxy.identity", "the softswitch of this file does not trust this proxy", write);
    }
    if !proxy.named_realms().contains(&softswitch.realm.as_str()) {
        gather.note_at("proxy.realm", "not the softswitch's realm", format!("write \"{}\"", softswitch.realm));
    }
}

/// The access sides of a file, with their sections' names.
fn edges(config: &Config) -> impl Iterator<Item = (&'static str, &Edge)> {
    let proxy = config.proxy.as_ref().map(|p| ("proxy", &p.edge));
    let direct = config.softswitch.as_ref().and_then(|s| s.direct.as_ref()).map(|e| ("softswitch.direct", e));
    proxy.into_iter().chain(direct)
}

/// Whoever registers at a listener must find the places for protected datagrams by the same version of IP; else its
/// registrations would be refused for want of a mechanism.
fn protected(config: &Config, gather: &Gather<'_>) {
    for (path, edge) in edges(config) {
        let places = edge.protected().map(|(of, p)| (of.section(), p.advertised.unwrap_or(p.address)));
        let listeners = || edge.listeners.iter().enumerate();
        for ((section, place), (n, l)) in places.flat_map(|place| listeners().map(move |l| (place, l))) {
            let reached = l.advertised.unwrap_or(l.address);
            if reached.is_ipv4() != place.is_ipv4() {
                let problem = format!("{reached} and {path}.{section}, {place}, are not of one version of IP");
                let write = "write addresses of one version; a second process serves the other";
                gather.note_at(&format!("{path}.listener[{n}].address"), problem, write);
            }
        }
    }
}

/// Where connections of `tls` arrive, terminals must be able to register, by the same version of IP.
fn secured(config: &Config, gather: &Gather<'_>) {
    for (path, edge) in edges(config) {
        for (n, l) in edge.tls.iter().enumerate() {
            let place = l.advertised.unwrap_or(l.address);
            let mut registers = edge.listeners.iter().filter(|other| other.protocol == l.protocol).peekable();
            if registers.peek().is_none() {
                let problem = format!("no {} terminal can register here", l.protocol.name());
                let write = format!("add [[{path}.listener]] with `protocol = \"{}\"`", l.protocol.word());
                gather.note_at(&format!("{path}.tls[{n}].protocol"), problem, write);
            } else if !registers.any(|other| other.advertised.unwrap_or(other.address).is_ipv4() == place.is_ipv4()) {
                let problem = format!("{place} is of a version of IP that no {} listener has", l.protocol.name());
                let write = "write addresses of one version; a second process serves the other";
                gather.note_at(&format!("{path}.tls[{n}].address"), problem, write);
            }
        }
    }
}

/// Policies with a name: those that are named exist, those that exist are somebody's, and each can be kept.
fn policies_used(config: &Config, gather: &Gather<'_>) {
    let all = edges(config).next().map(|(_, edge)| edge.policies.clone()).unwrap_or_default();
    let known: Vec<&str> = all.iter().map(|p| p.name.as_str()).collect();
    let listeners = || edges(config).flat_map(|(path, e)| e.listeners.iter().enumerate().map(move |l| (path, l)));
    for (path, (n, listener)) in listeners() {
        let Some(name) = listener.policy.as_deref().filter(|name| !known.contains(name)) else { continue };
        let write = match (crate::mistake::nearest(name, &known), known.is_empty()) {
            (Some(meant), _) => format!("did you mean \"{meant}\"?"),
            (None, true) => format!("add [[policy]] with `name = \"{name}\"`"),
            (None, false) => format!("write one of {}, or add [[policy]]", known.join(", ")),
        };
        gather.note_at(&format!("{path}.listener[{n}].policy"), format!("there is no policy \"{name}\""), write);
    }
    for (n, policy) in all.iter().enumerate() {
        let named = listeners().any(|(_, (_, l))| l.policy.as_deref() == Some(&policy.name));
        let said = gather.settings.borrow().get(&format!("policy[{n}].terminals")).is_some_and(|s| s.value != "[]");
        if !named && !said {
            let write = "add `terminals`, or name it at a listener: `policy = \"...\"`";
            gather.note_at(&format!("policy[{n}].name"), "nobody has this policy", write);
        }
        edges(config).for_each(|(path, edge)| policy_kept(path, edge, (n, policy), gather));
    }
    for (path, edge) in edges(config) {
        message_written(&format!("{path}.policy.message"), path, edge, edge.policy.terms.message, gather);
    }
}

/// A policy together with what it takes over from an access side.
fn policy_kept(path: &str, edge: &Edge, (n, policy): (usize, &NamedPolicy), gather: &Gather<'_>) {
    let (mechanisms, terms) = policy.at(edge);
    let key = |name: &str| format!("policy[{n}].{name}");
    if let Some(floor) = policy.floor.filter(|floor| policy.mechanisms.is_none() && !mechanisms.contains(floor)) {
        let problem = format!("{} is not among the mechanisms of {path}.policy, which this one has", floor.word());
        gather.note_at(&key("floor"), problem, "write `mechanisms` here too, or another floor");
    }
    let written = policy.plain == Some(false) && policy.digest == Some(true);
    if terms.digest && !terms.plain && !written && (policy.plain.is_some() || policy.digest.is_some()) {
        let at = if policy.plain.is_some() { "plain" } else { "digest" };
        let write = "say `digest = false` where `plain = false` is to hold";
        gather.note_at(&key(at), "stock phones would register, and nothing would reach them", write);
    }
    for mechanism in policy.mechanisms.iter().flatten() {
        let (somewhere, write) = match mechanism {
            Mechanism::Tls => (!edge.tls.is_empty(), format!("add [[{path}.tls]] with `protocol` and `address`")),
            other => (edge.place(*other).is_some(), format!("add [{path}.{}] with `address`", other.section())),
        };
        if !somewhere {
            gather.note_at(&key("mechanisms"), format!("no place for {} at {path}", mechanism.word()), write);
        }
    }
    message_written(&key("message"), path, edge, policy.message, gather);
}

/// What a terminal may send must fit what is written of it.
fn message_written(key: &str, path: &str, edge: &Edge, limit: Option<Size>, gather: &Gather<'_>) {
    if limit.is_some_and(|limit| limit > edge.capacity.message) {
        let write = format!("write a larger `message` in [{path}.capacity] too");
        gather.note_at(key, format!("longer than {path}.capacity.message, the longest that is passed on"), write);
    }
}

/// Times of one access side that contradict each other.
fn policies(config: &Config, gather: &Gather<'_>) {
    for (path, e) in edges(config) {
        if e.policy.core_timeout > e.policy.answer_cache {
            let write = "keep core_timeout at or below answer_cache";
            gather.note_at(
                &format!("{path}.policy.core_timeout"),
                "the core may answer after the terminal gave up",
                write,
            );
        }
        if e.policy.challenge_life > e.policy.clock_window {
            let write = "keep challenge_life at or below clock_window";
            gather.note_at(&format!("{path}.policy.challenge_life"), "a challenge outlives the clock window", write);
        }
        if e.capacity.sessions < e.workers {
            let write = format!("write at least {}", e.workers);
            gather.note_at(&format!("{path}.capacity.sessions"), "fewer sessions than workers", write);
        }
    }
}
