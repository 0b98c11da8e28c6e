//! `[proxy.core]` and its routes.

use super::{count, edge::specific};
use crate::defaults as d;
use crate::model::{Core, CoreRoute, ListenProtocol, Peers};
use crate::read::Section;
use crate::value::Realm;
use core::net::SocketAddr;

/// Most softswitches of one protocol: what the links tell apart.
pub(super) const PEERS_MAX: usize = 255;
/// Most routes, beside the one for all others.
pub(super) const ROUTES_MAX: usize = 31;

pub(super) fn core(mut c: Section<'_, '_, '_>) -> Option<Core> {
    let listen = c.key::<SocketAddr>("listen").check(specific).required();
    let advertised = c.key::<SocketAddr>("advertised").check(specific).optional();
    let all = peers(&mut c);
    let lanes = count(c.key("lanes").within(16, 65_536).or(d::LANES));
    let silent_after = c.key("silent_after").within_ms(100, 16_000).or(d::SILENT_AFTER);
    let probe_every = c.key("probe_every").within_ms(100, 60_000).or(d::PROBE_EVERY);
    let sections = c.sections("route");
    if sections.len() > ROUTES_MAX {
        c.note(format!("{} routes", sections.len()), format!("write at most {ROUTES_MAX}"));
    }
    let routes: Vec<_> = sections.into_iter().map(route).collect();
    for protocol in [ListenProtocol::Sip, ListenProtocol::Mgcp, ListenProtocol::H248, ListenProtocol::Ras] {
        let named = all.of(protocol).len() + routes.iter().map(|r| r.peers.of(protocol).len()).sum::<usize>();
        if named > PEERS_MAX {
            let problem = format!("{named} of `{}`, with those of the routes", protocol.peers());
            c.note(problem, format!("write at most {PEERS_MAX}"));
        }
    }
    c.finish();
    Some(Core { listen: listen?, advertised, all, routes, silent_after, probe_every, lanes })
}

/// Lists of softswitches, and their shares.
fn peers(c: &mut Section<'_, '_, '_>) -> Peers {
    let mut of =
        |protocol: ListenProtocol| c.key::<Vec<SocketAddr>>(protocol.peers()).check(|l| some_address(l)).or(Vec::new());
    let softswitches = of(ListenProtocol::Sip);
    let call_agents = of(ListenProtocol::Mgcp);
    let controllers = of(ListenProtocol::H248);
    let gatekeepers = of(ListenProtocol::Ras);
    let weights = c.key::<Vec<u64>>("weights").check(|w| weighed(w)).or(Vec::new());
    let weights: Vec<u16> = weights.into_iter().map(|w| u16::try_from(w).unwrap_or(u16::MAX)).collect();
    let peers = Peers { softswitches, call_agents, controllers, gatekeepers, weights };
    for list in [&peers.softswitches, &peers.call_agents, &peers.controllers, &peers.gatekeepers] {
        if !peers.weights.is_empty() && !list.is_empty() && list.len() != peers.weights.len() {
            let problem = format!("{} weights for {} softswitches", peers.weights.len(), list.len());
            c.gather.note_at(&c.path_of("weights"), problem, "write one a softswitch, in the same order");
            break;
        }
    }
    peers
}

fn route(mut r: Section<'_, '_, '_>) -> CoreRoute {
    let realm = r.key::<Realm>("realm").optional().map(|r| r.0);
    let prefix = r.key::<String>("prefix").check(|p| plain_prefix(p)).optional();
    let peers = peers(&mut r);
    if realm.is_none() && prefix.is_none() {
        r.note("a route for everybody", "add `realm` or `prefix`, or write its softswitches into [proxy.core]");
    }
    let protocols = [ListenProtocol::Sip, ListenProtocol::Mgcp, ListenProtocol::H248, ListenProtocol::Ras];
    if protocols.iter().all(|p| peers.of(*p).is_empty()) {
        r.note("a route that leads nowhere", "add `softswitches = [\"ADDRESS:PORT\"]`");
    }
    r.finish();
    CoreRoute { realm, prefix, peers }
}

fn plain_prefix(prefix: &str) -> Result<(), (String, String)> {
    let problem = || ("the `+` of a number does not count".to_owned(), "write what follows it".to_owned());
    if prefix.starts_with('+') { Err(problem()) } else { Ok(()) }
}

fn weighed(weights: &[u64]) -> Result<(), (String, String)> {
    let good = weights.iter().all(|w| (1..=1000).contains(w)) && !weights.is_empty();
    let problem =
        || ("a weight is 1 to 1000".to_owned(), "write one for each softswitch, in the same order".to_owned());
    if good { Ok(()) } else { Err(problem()) }
}

fn some_address(list: &[SocketAddr]) -> Result<(), (String, String)> {
    let problem = || ("no address".to_owned(), "write at least one, or leave the key out".to_owned());
    if list.is_empty() {
        return Err(problem());
    }
    let twice = list.iter().enumerate().find(|(n, a)| list.iter().take(*n).any(|before| before == *a));
    match twice {
        None => Ok(()),
        Some((_, address)) => {
            Err((format!("{address} is there already"), "write each once; `weights` are the shares".to_owned()))
        }
    }
}
