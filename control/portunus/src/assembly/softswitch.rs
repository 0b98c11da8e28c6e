//! The softswitch from configuration.

use crate::exit::Failure;
use portunus_aaa::DigestAlgorithm;
use portunus_aaa::net::RunnerConfig;
use portunus_config::model::{Digest, Softswitch as Model};
use portunus_softswitch::run::{Handle, start_watched};
use portunus_softswitch::{
    Behind, Config, Expires, Health, Limits, Listeners, LocalProxy, Neighbour, PeerConfig, Upstream, Witness,
};
use std::net::SocketAddr;
use std::sync::Arc;

fn millis(d: core::time::Duration) -> u64 {
    u64::try_from(d.as_millis()).unwrap_or(u64::MAX)
}

fn seconds(d: core::time::Duration) -> u32 {
    u32::try_from(d.as_secs()).unwrap_or(u32::MAX)
}

/// What a softswitch is told. `own` is where it is reached; `local` names the proxy engine in the same process, in
/// the direct topology.
pub fn config(model: &Model, own: SocketAddr, local: Option<SocketAddr>) -> Config {
    let c = &model.capacity;
    let limits = Limits {
        identities: c.registrations,
        bindings_each: c.contacts,
        challenges: c.challenges,
        asks: c.asks,
        cache_octets: usize::try_from(c.answers.0).unwrap_or(usize::MAX),
        records: c.records,
        ..Limits::default()
    };
    let peer = |p: &portunus_config::model::Peer| PeerConfig {
        addr: p.address,
        idsps: p.identities.iter().map(|i| Arc::from(i.as_str())).collect(),
    };
    let neighbour = |n: &portunus_config::model::Neighbour| Neighbour {
        address: n.address,
        domains: n.domains.iter().map(|d| Arc::from(d.as_str())).collect(),
    };
    Config {
        behind: behind(model),
        listeners: Listeners { mgcp: model.listen_mgcp, h248: model.listen_h248, ras: model.listen_ras },
        domains: model.domains.iter().map(|d| Arc::from(d.as_str())).collect(),
        neighbours: model.neighbours.iter().map(neighbour).collect(),
        peers: model.peers.iter().map(peer).collect(),
        local: local.map(|core| LocalProxy { idss: model.identity.as_str().into(), core }),
        retries: model.retries,
        challenge_ms: millis(model.challenge_life),
        transaction_ms: millis(model.answer_cache),
        retry_after_s: (seconds(model.retry_after.least), seconds(model.retry_after.most)),
        expires: Expires {
            default_s: seconds(model.expires.default),
            min_s: seconds(model.expires.least),
            max_s: seconds(model.expires.most),
        },
        digest: model.digest.map(|d| match d {
            Digest::Sha256 => DigestAlgorithm::Sha256,
            Digest::Md5 => DigestAlgorithm::Md5,
        }),
        limits,
        realms: super::aaa::realms(model),
        ..Config::new(own, &model.realm)
    }
}

/// Servers of somebody else's.
fn behind(model: &Model) -> Behind {
    let upstream = |u: &portunus_config::model::Upstream| Upstream {
        address: u.address,
        weight: u.weight,
        name: u.name.as_deref().map(Arc::from),
    };
    let all = |list: &[portunus_config::model::Upstream]| list.iter().map(upstream).collect();
    // A little less than the engine waits for us.
    let patience = model.direct.as_ref().map(|e| millis(e.policy.core_timeout * 7 / 8));
    let health = Health {
        probe_every_ms: millis(model.health.probe_every),
        answer_within_ms: u32::try_from(millis(model.health.answer_within)).unwrap_or(u32::MAX),
        patience_ms: patience.unwrap_or(Health::default().patience_ms),
        down_after: model.health.down_after,
        up_after: model.health.up_after,
    };
    Behind {
        registrars: all(&model.registrars),
        call_agents: all(&model.call_agents),
        controllers: all(&model.controllers),
        health,
        ports: model.capacity.gateway_ports,
    }
}

/// Starts a softswitch that proxies reach at `config.own`.
///
/// # Errors
/// A configuration that it does not take, or an address that cannot be opened.
pub fn start(config: Config, aaa: RunnerConfig, witness: Option<Witness>) -> Result<Handle, Failure> {
    let own = config.own;
    start_watched(config, aaa, witness).map_err(|e| match e.kind() {
        std::io::ErrorKind::InvalidInput => Failure::configuration(e.to_string(), "correct [softswitch]"),
        _ => Failure::io(&format!("opening the softswitch at {own}"), &e),
    })
}
