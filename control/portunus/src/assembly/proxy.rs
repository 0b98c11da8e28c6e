//! The proxy from configuration, and the same machine in front of a softswitch in this process.

use crate::assembly::direct::InProcess;
use crate::exit::Failure;
use portunus_aaa::net::RunnerConfig;
use portunus_channel::Mechanism as Protection;
use portunus_channel::esp::Esp;
use portunus_channel::sealed::Sealed;
use portunus_config::model::{
    Cookies as CookiesModel, Core, CoreRoute, Edge, ListenProtocol, ListenTransport, Listener, Mechanism, Peers,
    Proxy as Model, Softswitch as SoftswitchModel, Terms as TermsModel,
};
use portunus_engine::{
    CLASSES_MAX, Capacity, Class, Classes, Cookies, LISTENERS_MAX, ListenerKind, Names, Pattern, Policy, Routes, Rule,
    Rules, Terms,
};
use portunus_h323::Ras;
use portunus_io::listen::Buffers;
use portunus_keydist::mech::Mech;
use portunus_keydist::proxy::LockoutPolicy;
use portunus_keydist::{DeviceKeys, Key};
use portunus_mgcp::Mgcp;
use portunus_node::{
    Cpus, KernelEsp, LanesConfig, LanesUpstream, Links, ListenerConfig, Node, NodeConfig, NodeHandle, Pace, Shares,
    StartError, Topology, UdpConfig, UdpUpstream,
};
use portunus_signalling::{Protocol, Signalling, Transport};
use portunus_sip::Sip;
use portunus_softswitch::Witness;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};

static SIP: Sip = Sip;
static MGCP: Mgcp = Mgcp;
static H248: portunus_h248::H248 = portunus_h248::H248;
static RAS: Ras = Ras;

fn millis(d: core::time::Duration) -> u64 {
    u64::try_from(d.as_millis()).unwrap_or(u64::MAX)
}

fn millis32(d: core::time::Duration) -> u32 {
    u32::try_from(d.as_millis()).unwrap_or(u32::MAX)
}

fn seconds(d: core::time::Duration) -> u32 {
    u32::try_from(d.as_secs()).unwrap_or(u32::MAX)
}

fn octets(s: portunus_config::Size) -> usize {
    usize::try_from(s.0).unwrap_or(usize::MAX)
}

/// What a mechanism of the configuration is, where it is one for datagrams.
const fn protection(mechanism: Mechanism) -> Option<&'static dyn Protection> {
    match mechanism {
        Mechanism::Sealed => Some(&Sealed),
        Mechanism::Ipsec => Some(&Esp),
        Mechanism::Tls => None,
    }
}

fn mech(mechanism: Mechanism) -> Mech {
    protection(mechanism).map_or(Mech::Tls, Protection::mech)
}

/// What a policy allows, apart from the mechanisms.
fn terms(edge: &Edge, t: &TermsModel) -> Terms {
    Terms {
        floor: t.floor.map(mech),
        plain: t.plain,
        digest: t.digest,
        rate_s: t.rate,
        burst: t.burst,
        message: octets(t.message.unwrap_or(edge.capacity.message)),
    }
}

/// All policies of an access side, and whom they are for.
fn classes(edge: &Edge) -> Classes {
    let named = edge.policies.iter().map(|p| {
        let (mechanisms, t) = p.at(edge);
        let mechanisms = mechanisms.into_iter().map(mech).take(3).collect();
        Class { name: p.name.clone(), mechanisms, terms: terms(edge, &t) }
    });
    let number = |n: usize| u8::try_from(n).unwrap_or(0);
    let patterns = edge.policies.iter().enumerate().flat_map(|(n, p)| {
        let own = p.terminals.iter().filter_map(|text| Pattern::new(text));
        own.map(move |pattern| (pattern, number(n + 1)))
    });
    Classes {
        base: terms(edge, &edge.policy.terms),
        named: named.take(CLASSES_MAX).collect(),
        listeners: edge.listeners.iter().take(LISTENERS_MAX).map(|l| number(edge.policy_of(l))).collect(),
        terminals: patterns.collect(),
    }
}

/// What of sessions' messages crosses the border. The configuration has checked the names.
fn border(edge: &Edge) -> Rules {
    let names = |list: &[String]| Names::of(list.iter().map(String::as_str)).unwrap_or_default();
    let b = &edge.border;
    Rules { hide: b.hide, strip_up: names(&b.strip_up), strip_down: names(&b.strip_down) }
}

/// The rules that a reload may change.
pub fn policy(edge: &Edge) -> Policy {
    let (p, o, l) = (&edge.policy, &edge.overload, &edge.lockout);
    Policy {
        mechanisms: p.mechanisms.iter().copied().map(mech).take(3).collect(),
        life_s: seconds(p.key_life),
        window_ms: millis(p.clock_window),
        challenge_ms: millis(p.challenge_life),
        core_timeout_ms: millis(p.core_timeout),
        provisional_ms: millis(p.confirm_within),
        stock_life_ms: millis(p.stock_life),
        answer_ms: millis(p.answer_cache),
        cookies: match o.cookies {
            CookiesModel::Always => Cookies::Always,
            CookiesModel::Auto => Cookies::Auto,
            CookiesModel::Never => Cookies::Never,
        },
        cookie_percent: o.cookie_percent,
        busy_percent: o.busy_percent,
        drop_percent: o.drop_percent,
        retry_after_min_s: seconds(o.retry_after.least),
        retry_after_max_s: seconds(o.retry_after.most),
        lockout: LockoutPolicy {
            slow_after: l.slow_after,
            slow_ms: millis32(l.slow),
            ignore_after: l.ignore_after,
            ignore_ms: millis32(l.ignore),
        },
        classes: classes(edge),
        border: border(edge),
    }
}

const fn signalling(protocol: ListenProtocol) -> &'static dyn Signalling {
    match protocol {
        ListenProtocol::Sip => &SIP,
        ListenProtocol::Mgcp => &MGCP,
        ListenProtocol::H248 => &H248,
        ListenProtocol::Ras => &RAS,
    }
}

fn listener(l: &Listener) -> ListenerConfig {
    let signalling = signalling(l.protocol);
    let transport = match l.transport {
        ListenTransport::Udp => Transport::Udp,
        ListenTransport::Tcp => Transport::Tcp,
    };
    ListenerConfig {
        bind: l.address,
        advertised: l.advertised,
        kind: ListenerKind::Access { signalling, transport, stock_phones: l.stock_phones },
    }
}

/// The sizes of one worker: its share of the whole, and a tenth more because steering is by lot.
fn capacity(edge: &Edge) -> Capacity {
    let c = &edge.capacity;
    let share = |n: usize| if edge.workers > 1 { n.div_ceil(edge.workers) + n / edge.workers / 10 } else { n };
    let mut capacity = Capacity::for_terminals(share(c.sessions));
    if let Some(pending) = c.pending {
        capacity.pendings = share(pending).max(16);
    }
    // What was accepted is remembered for up to three freshness windows, what was answered for half a minute.
    let expected = match c.registrations {
        Some(a_second) => share(a_second),
        None => share(c.sessions / 1800).max(1000),
    };
    let window_ms = edge.policy.clock_window.as_millis().try_into().unwrap_or(u64::MAX);
    capacity.replay = Capacity::replay_for(expected as u64, window_ms);
    if c.registrations.is_some() {
        capacity.answers = capacity.answers.max(expected.saturating_mul(2 * 33)).min(1 << 24);
        capacity.answer_octets = capacity.answer_octets.max(capacity.answers * 768);
    }
    capacity.request = octets(c.request);
    capacity.message = octets(c.message);
    capacity.answer_octets = capacity.answer_octets.max(128 * capacity.message);
    capacity
}

fn topology(edge: &Edge) -> Topology {
    let io = &edge.io;
    let mut t = Topology {
        cpus: if edge.cores.is_empty() { Cpus::Unpinned(edge.workers) } else { Cpus::List(edge.cores.clone()) },
        control_cpu: edge.control_core,
        batch: io.batch,
        ring: octets(io.ring),
        pace: Pace { rest: io.rest, enough: io.enough },
        buffers: Buffers { receive: octets(io.receive_buffer), send: octets(io.send_buffer) },
        directory: edge.capacity.sessions,
        ..Topology::default()
    };
    t.message_max = t.message_max.max(octets(edge.capacity.message));
    t.streams.connections = edge.capacity.connections.div_ceil(edge.workers);
    t.streams.idle_ms = millis(io.idle_connection);
    t.streams.opening_ms = millis(io.handshake);
    t
}

/// What a node is told. `device`: the extract of Ksp (or Kss), of both while one replaces the other.
pub fn node_config(edge: &Edge, identity: &str, realm: &str, device: DeviceKeys) -> NodeConfig {
    let mut listeners: Vec<ListenerConfig> = edge.listeners.iter().map(listener).collect();
    listeners.extend(edge.protected().filter_map(|(mechanism, place)| {
        let kind = ListenerKind::Protected(protection(mechanism)?);
        Some(ListenerConfig { bind: place.address, advertised: place.advertised, kind })
    }));
    listeners.extend(edge.tls.iter().map(|l| ListenerConfig {
        bind: l.address,
        advertised: l.advertised,
        kind: ListenerKind::Tls { signalling: signalling(l.protocol) },
    }));
    listeners.extend(edge.kernel_rows().into_iter().flat_map(|(protocol, bind)| {
        let outer = edge.kernel_esp.map_or(0, |kernel| kernel.address.port());
        let kind = move |row| ListenerKind::Kernel { signalling: signalling(protocol), outer, row };
        [0, 1].map(|row| ListenerConfig { bind, advertised: None, kind: kind(row) })
    }));
    NodeConfig {
        topology: topology(edge),
        idsp: identity.to_owned(),
        realm: realm.to_owned(),
        routes: Routes::default(),
        device,
        listeners,
        capacity: capacity(edge),
        kernel: edge.kernel_esp.map(|kernel| KernelEsp { outer: kernel.address, sessions: kernel.sessions }),
        policy: policy(edge),
        middleware: None,
    }
}

/// Reads the device key of an edge, or both.
///
/// # Errors
/// What is wrong with their places.
pub fn device_keys(edge: &Edge, identity: &str, lab: bool) -> Result<DeviceKeys, Failure> {
    let read =
        |source| -> Result<_, Failure> { Ok(Key::new(*portunus_config::read_key(source, identity, lab)?).prk()) };
    Ok(DeviceKeys::new(read(&edge.key)?, edge.other_key.as_ref().map(read).transpose()?))
}

/// A proxy that runs, or the access side of a softswitch that does. Dropping it stops it.
#[derive(Debug)]
pub struct Proxy {
    node: NodeHandle,
}

/// Whose registrations go where: route 0 is for all that no other is for.
fn routes(model: &Model) -> Routes {
    let realms = model.named_realms();
    // Where only its own is named, nobody is turned away for his name.
    let served = if realms.len() > 1 { realms.into_iter().map(str::to_owned).collect() } else { Vec::new() };
    let rule = |(nth, route): (usize, &CoreRoute)| Rule {
        realm: route.realm.clone(),
        prefix: route.prefix.clone(),
        route: u8::try_from(nth + 1).unwrap_or(0),
    };
    let rules = model.core.routes.iter().enumerate().map(rule).collect();
    let several = model.core.lists().any(|list| LISTENED.iter().any(|p| list.of(*p).len() > 1));
    Routes { served, rules, several }
}

const LISTENED: [ListenProtocol; 4] =
    [ListenProtocol::Sip, ListenProtocol::Mgcp, ListenProtocol::H248, ListenProtocol::Ras];

/// The softswitches of a protocol, and which of them each route leads to.
fn softswitches(core: &Core, protocol: ListenProtocol) -> (Vec<SocketAddr>, Vec<Shares>) {
    let peers = core.peers(protocol);
    let number = |peer| peers.iter().position(|p| *p == peer).and_then(|n| u8::try_from(n).ok());
    let shares = |list: &Peers| {
        Shares(list.shares(protocol).filter_map(|(peer, weight)| Some((number(peer)?, weight))).collect())
    };
    let routes = core.lists().map(shares).collect();
    (peers, routes)
}

/// A link to the core for each protocol that a listener speaks, SIP's first.
fn links(model: &Model) -> Links {
    let (core, io) = (&model.core, &model.edge.io);
    let message_max = octets(model.edge.capacity.message).max(8192);
    let spoken = |protocol| model.edge.listeners.iter().any(|l| l.protocol == protocol);
    let (silent_ms, probe_ms) = (millis(core.silent_after), millis(core.probe_every));
    let mut links = Links::new();
    if spoken(ListenProtocol::Sip) {
        let (peers, routes) = softswitches(core, ListenProtocol::Sip);
        let sip = UdpConfig::new(Protocol::Sip, core.listen, peers);
        let sip = UdpConfig { routes, silent_ms, probe_ms, batch: io.batch, message_max, ..sip };
        let sip = UdpConfig { advertised: core.advertised, ..sip };
        links = links.with(Protocol::Sip, Box::new(UdpUpstream::new(sip)));
    }
    let on_lanes = [
        (ListenProtocol::Mgcp, Protocol::Mgcp),
        (ListenProtocol::H248, Protocol::H248),
        (ListenProtocol::Ras, Protocol::Ras),
    ];
    for (listens, protocol) in on_lanes.into_iter().filter(|(listens, _)| spoken(*listens)) {
        let (peers, routes) = softswitches(core, listens);
        let lanes = LanesConfig::new(protocol, core.listen.ip(), peers);
        let lanes = LanesConfig { routes, silent_ms, probe_ms, ..lanes };
        let lanes = LanesConfig { lanes: core.lanes, batch: io.batch, message_max, ..lanes };
        links = links.with(protocol, Box::new(LanesUpstream::new(lanes)));
    }
    links
}

/// Starts a proxy with UDP towards its softswitches.
///
/// # Errors
/// What its configuration or the host has wrong.
pub fn start(model: &Model, device: DeviceKeys) -> Result<Proxy, Failure> {
    let upstream = links(model);
    let config = node_config(&model.edge, &model.identity, &model.realm, device);
    let config = NodeConfig { routes: routes(model), ..config };
    Node::start(config, Box::new(upstream)).map(|node| Proxy { node }).map_err(start_failure)
}

/// Starts a softswitch that faces terminals itself: the same machine with IDss and Kss, the softswitch in its
/// control thread.
///
/// # Errors
/// What its configuration or the host has wrong, or that it has no [softswitch.direct].
pub fn start_direct(
    model: &SoftswitchModel,
    device: DeviceKeys,
    aaa: RunnerConfig,
    witness: Option<Witness>,
) -> Result<Proxy, Failure> {
    let Some(edge) = &model.direct else {
        return Err(Failure::configuration("no [softswitch.direct]", "add it, or serve proxies"));
    };
    // The configuration has a listener at least.
    let nowhere = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0);
    let first = edge.listeners.first().map_or(nowhere, |l| l.advertised.unwrap_or(l.address));
    let (core, own) = names(first, model.listen);
    let told = super::softswitch::config(model, own, Some(core));
    let upstream = InProcess::new(told, aaa, model.listen, witness).map_err(|e| match e.kind() {
        std::io::ErrorKind::InvalidInput => Failure::configuration(e.to_string(), "correct [softswitch]"),
        _ => Failure::io("opening the softswitch", &e),
    })?;
    let config = node_config(edge, &model.identity, &model.realm, device);
    Node::start(config, Box::new(upstream)).map(|node| Proxy { node }).map_err(start_failure)
}

/// The addresses by which the engine and the softswitch in one process know each other in messages: nothing is ever
/// sent to them, but terminals see them in Record-Route, so they are of the host that terminals know. They differ,
/// as a message says by them which of the two it is for.
fn names(first: SocketAddr, listen: Option<SocketAddr>) -> (SocketAddr, SocketAddr) {
    let ip = if first.ip().is_unspecified() { Ipv4Addr::LOCALHOST.into() } else { first.ip() };
    let port = if first.port() == 0 { 5060 } else { first.port() };
    let core = SocketAddr::new(ip, port);
    let beside = SocketAddr::new(ip, if port == u16::MAX { port - 1 } else { port + 1 });
    (core, listen.unwrap_or(beside))
}

fn start_failure(e: StartError) -> Failure {
    let text = e.to_string();
    match e {
        StartError::Listener { address, error, .. } => Failure::io(&format!("opening {address}"), &error),
        StartError::Upstream(error) => Failure::io("opening the link to the core", &error),
        StartError::System(error) => Failure::io("starting workers", &error),
        _ => Failure::configuration(text, "correct it; `portunus check` has every limit"),
    }
}

impl Proxy {
    /// Listener `n` in the order of the configuration; those for protected datagrams and for `tls` stand last.
    pub fn address(&self, n: usize) -> SocketAddr {
        let nowhere = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0);
        self.node.listeners().get(n).copied().unwrap_or(nowhere)
    }

    /// The node: drain, reload, failures.
    pub fn node(&self) -> &NodeHandle {
        &self.node
    }

    /// All counters, summed over the threads.
    pub fn counters(&self) -> BTreeMap<String, u64> {
        let mut all = BTreeMap::new();
        for one in self.node.readings() {
            *all.entry(one.reading.name.to_owned()).or_default() += one.reading.value;
        }
        all
    }

    /// Ends it, what waits to be sent first.
    ///
    /// # Errors
    /// Which thread had died, and of what.
    pub fn stop(self) -> Result<(), Failure> {
        self.node.stop().map_err(|e| Failure::new(crate::exit::Exit::Failed, e.to_string(), "report it with the log"))
    }
}
