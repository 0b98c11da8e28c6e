//! The hidden sub-commands: proxy and floors as processes of their own.

use crate::floor::Floor;
use crate::keys::{IDSP, REALM, key_of};
use crate::traffic::floor::Channel;
use core::net::SocketAddr;
use portunus_channel::esp::Esp;
use portunus_channel::sealed::Sealed;
use portunus_engine::{Capacity, ListenerKind, Policy};
use portunus_h248::H248;
use portunus_h323::Ras;
use portunus_keydist::mech::Mech;
use portunus_mgcp::Mgcp;
use portunus_node::floor::{Floor as NodeFloor, FloorRouter};
use portunus_node::node::{Plan, PlanKind, PlanListener};
use portunus_node::{
    Cpus, LanesConfig, LanesUpstream, ListenerConfig, Node, NodeConfig, NodeHandle, Pace, Topology, UdpConfig,
    UdpUpstream, Upstream,
};
use portunus_signalling::{Protocol, Signalling, Transport};
use portunus_sip::Sip;
use std::io::{self, Read as _, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Fingerprints in the replay set: three a registration, kept for up to three windows of 30 s. Room for 30,000
/// registrations a second without a pause: a load generator brings in seconds what a town brings in an hour, and a set
/// that is full answers 503.
const REPLAY: usize = 1 << 23;

fn any() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

fn topology(workers: usize) -> Topology {
    Topology { cpus: Cpus::Unpinned(workers), ..Topology::default() }
}

/// Lanes that a proxy may open: each is a file descriptor, and hosts allow a process some ten thousand.
const LANES: usize = 8_192;

/// The link to the core.
fn link(protocol: Protocol, core: SocketAddr) -> Box<dyn Upstream> {
    match protocol {
        Protocol::Sip => upstream(core),
        Protocol::Mgcp | Protocol::H248 | Protocol::Ras => {
            let lanes = LanesConfig::new(protocol, any().ip(), vec![core]);
            Box::new(LanesUpstream::new(LanesConfig { lanes: LANES, ..lanes }))
        }
    }
}

fn upstream(core: SocketAddr) -> Box<UdpUpstream> {
    Box::new(UdpUpstream::new(UdpConfig::new(Protocol::Sip, any(), vec![core])))
}

/// Says where it serves and serves until its input ends, which it does when the parent does.
fn until_parent_ends(address: SocketAddr) -> io::Result<()> {
    println!("ready {address}");
    io::stdout().flush()?;
    let mut room = [0u8; 64];
    while io::stdin().read(&mut room)? > 0 {}
    Ok(())
}

/// The proxy of this product before `core`, with room for `terminals`, that protects by `mech`.
///
/// # Errors
/// What keeps it from starting.
pub fn start_proxy(
    protocol: Protocol,
    core: SocketAddr,
    workers: usize,
    terminals: usize,
    mech: Mech,
) -> io::Result<NodeHandle> {
    let signalling: &'static dyn Signalling = match protocol {
        Protocol::Sip => &Sip,
        Protocol::Mgcp => &Mgcp,
        Protocol::H248 => &H248,
        Protocol::Ras => &Ras,
    };
    let access = ListenerKind::Access { signalling, transport: Transport::Udp, stock_phones: false };
    let protected = match mech {
        Mech::Sealed => ListenerKind::Protected(&Sealed),
        Mech::Esp => ListenerKind::Protected(&Esp),
        Mech::Tls => ListenerKind::Tls { signalling },
    };
    let listener = |kind| ListenerConfig { bind: any(), advertised: None, kind };
    let capacity = match mech {
        // Here memory is measured: tables no larger than their terminals need.
        Mech::Tls => Capacity::for_terminals(terminals),
        // Unconfirmed sessions, which most slices leave behind, stay for 30 s.
        Mech::Sealed | Mech::Esp => Capacity { replay: REPLAY, ..Capacity::for_terminals(terminals.max(1_000_000)) },
    };
    let config = NodeConfig {
        topology: topology(workers),
        idsp: IDSP.into(),
        realm: REALM.into(),
        routes: Default::default(),
        device: key_of(IDSP).prk().into(),
        listeners: vec![listener(access), listener(protected)],
        capacity,
        policy: Policy { mechanisms: [mech].into_iter().collect(), ..Policy::default() },
        kernel: None,
        middleware: None,
    };
    Node::start(config, link(protocol, core)).map_err(io::Error::other)
}

/// The sub-command `proxy`.
///
/// # Errors
/// What keeps it from starting.
pub fn proxy(protocol: Protocol, core: SocketAddr, workers: usize, terminals: usize, mech: Mech) -> io::Result<()> {
    let node = start_proxy(protocol, core, workers, terminals, mech)?;
    let address = node.listeners().first().copied().unwrap_or_else(any);
    until_parent_ends(address)?;
    if std::env::var_os("PORTUNUS_LOAD_COUNTERS").is_some() {
        for r in node.readings().iter().filter(|r| r.reading.value != 0) {
            eprintln!("{:?} {} {}", r.worker, r.reading.name, r.reading.value);
        }
    }
    node.stop().map_err(io::Error::other)
}

/// A floor in the node's pace: F0, F1 with `crypto`, or F1 of what passes a channel, `joined` or not towards the core.
///
/// # Errors
/// What the system reports; that the channel's mechanism is none for datagrams.
pub fn bind_floor(
    protocol: Protocol,
    core: SocketAddr,
    crypto: bool,
    (channel, joined): (Option<Mech>, bool),
) -> io::Result<Floor> {
    let pace = Pace::default();
    let channel = channel.map(|mech| Channel::new(mech).ok_or(io::ErrorKind::InvalidInput)).transpose()?;
    let floor = Floor::bind(protocol, core, crypto, pace.rest, pace.enough)?;
    let floor = if joined { floor.joined() } else { floor };
    Ok(match channel {
        Some(channel) => floor.with_channel(channel),
        None => floor,
    })
}

/// The sub-command `floor`: F0, or F1 with `crypto` or a channel.
///
/// # Errors
/// What keeps it from starting.
pub fn floor(protocol: Protocol, core: SocketAddr, crypto: bool, channel: (Option<Mech>, bool)) -> io::Result<()> {
    let floor = bind_floor(protocol, core, crypto, channel)?;
    let address = floor.address()?;
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let thread = std::thread::spawn(move || floor.run(|| stopped.load(Ordering::Relaxed)));
    until_parent_ends(address)?;
    stop.store(true, Ordering::Relaxed);
    thread.join().unwrap_or(Ok(()))
}

/// The sub-command `floor --node`: a bare forwarder in the node's threads.
///
/// # Errors
/// What keeps it from starting.
pub fn node_floor(core: SocketAddr, workers: usize) -> io::Result<()> {
    let steer = PlanKind::Udp(portunus_io::steer::Steer::Source { seed: 1 });
    let listeners = vec![PlanListener { bind: any(), advertised: None, kind: steer }];
    let plan = Plan { topology: topology(workers), listeners, middleware: None, kernel: None };
    let node =
        Node::start_with(&plan, upstream(core), |_| Box::new(FloorRouter), |seat| Ok(NodeFloor::new(seat.worker)));
    let node = node.map_err(io::Error::other)?;
    let address = node.listeners().first().copied().unwrap_or_else(any);
    until_parent_ends(address)?;
    node.stop().map_err(io::Error::other)
}
