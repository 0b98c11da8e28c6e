//! The proxy from configuration, and the same machine in front of a softswitch in this process.

use crate::exit::Failure;
use portunus_config::model::{Cookies as CookiesModel, Edge, ListenTransport, Listener, Mechanism};
use portunus_engine::{Capacity, Cookies, ListenerKind, Policy};
use portunus_io::listen::Buffers;
use portunus_keydist::mech::Mech;
use portunus_keydist::proxy::LockoutPolicy;
use portunus_keydist::{Key, Prk};
use portunus_node::{Cpus, ListenerConfig, NodeConfig, Pace, Topology};
use portunus_signalling::{Signalling, Transport};
use portunus_sip::Sip;

static SIP: Sip = Sip;

fn millis(d: core::time::Duration) -> u64 {
    u64::try_from(d.as_millis()).unwrap_or(u64::MAX)
}

fn millis32(d: core::time::Duration) -> u32 {
    u32::try_from(d.as_millis()).unwrap_or(u32::MAX)
}

fn seconds(d: core::time::Duration) -> u32 {
    u32::try_from(d.as_secs()).unwrap_or(u32::MAX)
}

/// The rules that a reload may change.
pub fn policy(edge: &Edge) -> Policy {
    let (p, o, l) = (&edge.policy, &edge.overload, &edge.lockout);
    let mech = |m: &Mechanism| match m {
        Mechanism::Sealed => Mech::Sealed,
    };
    Policy {
        mechanisms: p.mechanisms.iter().map(mech).take(3).collect(),
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
    }
}

fn listener(l: &Listener) -> ListenerConfig {
    let signalling: &'static dyn Signalling = match l.protocol {
        portunus_config::model::ListenProtocol::Sip => &SIP,
    };
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
    let octets = |s: portunus_config::Size| usize::try_from(s.0).unwrap_or(usize::MAX);
    let mut capacity = Capacity::for_terminals(share(c.sessions));
    if let Some(pending) = c.pending {
        capacity.pendings = share(pending).max(16);
    }
    capacity.request = octets(c.request);
    capacity.message = octets(c.message);
    capacity.answer_octets = capacity.answer_octets.max(128 * capacity.message);
    capacity
}

fn topology(edge: &Edge) -> Topology {
    let io = &edge.io;
    let octets = |s: portunus_config::Size| usize::try_from(s.0).unwrap_or(usize::MAX);
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
    t
}

/// What a node is told. `prk` is the extract of Ksp (or Kss).
pub fn node_config(edge: &Edge, identity: &str, realm: &str, prk: Prk) -> NodeConfig {
    let mut listeners: Vec<ListenerConfig> = edge.listeners.iter().map(listener).collect();
    listeners.push(ListenerConfig {
        bind: edge.sealed.address,
        advertised: edge.sealed.advertised,
        kind: ListenerKind::Sealed,
    });
    NodeConfig {
        topology: topology(edge),
        idsp: identity.to_owned(),
        realm: realm.to_owned(),
        prk,
        listeners,
        capacity: capacity(edge),
        policy: policy(edge),
    }
}

/// Reads the device key of an edge.
///
/// # Errors
/// What is wrong with its place.
pub fn device_prk(edge: &Edge, identity: &str, lab: bool) -> Result<Prk, Failure> {
    Ok(Key::new(*portunus_config::read_key(&edge.key, identity, lab)?).prk())
}
