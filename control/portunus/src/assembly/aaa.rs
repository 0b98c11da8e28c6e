//! RADIUS and Diameter ends from configuration.

use crate::exit::Failure;
use portunus_aaa::Realms;
use portunus_aaa::client::{Limits, link::Timing};
use portunus_aaa::net::{Listen, ListenTls, RunnerConfig, ServerPeer, TlsPeer};
use portunus_aaa::node::Node;
use portunus_aaa::secret::SharedSecret;
use portunus_aaa::server::{ClientEntry, EndConfig};
use portunus_aaa::tls::Identity;
use portunus_aaa::transport::{DIAMETER_TCP, DIAMETER_TLS, RADIUS_UDP, RADSEC};
use portunus_config::model::{Aaa, AaaTransport, Auc, AucListener, SecretSource, Softswitch, Tls};
use std::net::SocketAddr;
use std::sync::Arc;

fn secret(source: &SecretSource, lab: bool) -> Result<SharedSecret, Failure> {
    Ok(SharedSecret::new(portunus_config::read_secret(source, lab)?.as_bytes()))
}

fn identity(tls: &Tls) -> Result<Identity, Failure> {
    let wrong = |e: portunus_aaa::tls::IdentityError| Failure::configuration(e.to_string(), "write a good PEM file");
    Identity::from_pem_files(&tls.ca, &tls.certificate, &tls.key).map_err(wrong)
}

fn tls_fault(e: impl ToString) -> Failure {
    Failure::configuration(e.to_string(), "let certificate, key and ca belong together")
}

fn millis(d: core::time::Duration) -> u64 {
    u64::try_from(d.as_millis()).unwrap_or(u64::MAX)
}

/// The realms that the softswitch tells apart.
pub fn realms(softswitch: &Softswitch) -> Realms {
    let arcs = |list: &[String]| list.iter().map(|r| Arc::from(r.as_str())).collect::<Vec<Arc<str>>>();
    let servers: Vec<_> = softswitch.aaa.servers.iter().map(|s| arcs(&s.realms)).collect();
    Realms::new(&softswitch.realm, &arcs(&softswitch.domains), servers.iter().map(Vec::as_slice))
}

/// The softswitch's client: its IDss is the NAS-Identifier or Origin-Host.
///
/// # Errors
/// A secret or certificate that cannot be read or used.
pub fn client(softswitch: &Softswitch, lab: bool) -> Result<RunnerConfig, Failure> {
    links(&softswitch.aaa, (&softswitch.identity, realms(softswitch)), lab)
}

/// Links to an AuC, by this name of ours.
///
/// # Errors
/// A secret or certificate that cannot be read or used.
pub fn links(aaa: &Aaa, (identity_of_ours, realms): (&str, Realms), lab: bool) -> Result<RunnerConfig, Failure> {
    let tls = aaa.tls.as_ref().map(identity).transpose()?;
    let tls = tls.map(|t| t.client().map_err(tls_fault)).transpose()?;
    let timing = Timing {
        repeat_initial_ms: millis(aaa.repeat_first),
        repeat_max_ms: millis(aaa.repeat_most),
        dead_after_ms: millis(aaa.dead_after),
        probe_every_ms: millis(aaa.probe_every),
        watchdog_ms: millis(aaa.watchdog),
        ..Timing::default()
    };
    let mut servers = Vec::new();
    for server in &aaa.servers {
        let name = server.name.clone().unwrap_or_default();
        let tls = match &tls {
            Some(config) => Some(TlsPeer { config: config.clone(), name: name.try_into().map_err(tls_fault)? }),
            None => None,
        };
        servers.push(ServerPeer {
            transport: match aaa.transport {
                AaaTransport::RadSec => &RADSEC,
                AaaTransport::Udp => &RADIUS_UDP,
                AaaTransport::DiameterTls => &DIAMETER_TLS,
                AaaTransport::DiameterTcp => &DIAMETER_TCP,
            },
            auth: server.address,
            acct: server.accounting,
            secret: match &server.secret {
                Some(source) => secret(source, lab)?,
                None => SharedSecret::radsec(),
            },
            tls,
            lanes: aaa.lanes,
            realms: server.realms.iter().map(|r| r.as_str().into()).collect(),
            window: aaa.window,
            timing,
        });
    }
    let limits = Limits {
        authenticate: aaa.questions,
        account: aaa.records,
        authenticate_ms: millis(aaa.patience),
        ..Limits::default()
    };
    Ok(RunnerConfig { servers, nas_identifier: identity_of_ours.to_owned(), realms, limits })
}

/// The AuC's listeners.
///
/// # Errors
/// A secret or certificate that cannot be read or used.
pub fn listeners(auc: &Auc, lab: bool) -> Result<Vec<Listen>, Failure> {
    let end = EndConfig {
        cache: auc.answers,
        cache_ms: millis(auc.answer_cache),
        realms: auc.realms.iter().map(|r| r.as_str().into()).collect(),
        ..EndConfig::default()
    };
    auc.listeners.iter().map(|l| listener(l, &end, lab)).collect()
}

fn listener(l: &AucListener, end: &EndConfig, lab: bool) -> Result<Listen, Failure> {
    match l {
        AucListener::Udp { address, accounting, clients } => {
            let entry = |c: &portunus_config::model::RadiusClient| -> Result<ClientEntry, Failure> {
                Ok(ClientEntry::host(&c.address.to_string(), c.address, secret(&c.secret, lab)?))
            };
            let clients = clients.iter().map(entry).collect::<Result<Vec<_>, _>>()?;
            let end = EndConfig { clients, ..end.clone() };
            Ok(Listen { transport: &RADIUS_UDP, auth: *address, acct: *accounting, tls: None, end })
        }
        AucListener::RadSec { address, tls, clients } => {
            let config = identity(tls)?.server().map_err(tls_fault)?;
            let tls = ListenTls { config, names: clients.clone() };
            Ok(Listen { transport: &RADSEC, auth: *address, acct: *address, tls: Some(tls), end: end.clone() })
        }
        AucListener::Diameter { address, identity: host, tls, names, hosts, watchdog } => {
            let realm = end.realms.first().cloned().unwrap_or_else(|| "".into());
            let end = EndConfig {
                // Who connects over TCP is known by address; the protocol has no shared secret.
                clients: hosts.iter().map(|a| ClientEntry::host(&a.to_string(), *a, SharedSecret::new([]))).collect(),
                node: Node { host: host.as_str().into(), realm, state_id: started(), ..Node::default() },
                hosts_proven: !names.is_empty(),
                watchdog_ms: millis(*watchdog),
                ..end.clone()
            };
            let tls = match tls {
                Some(tls) => {
                    let config = identity(tls)?.server().map_err(tls_fault)?;
                    Some(ListenTls { config, names: names.clone() })
                }
                None => None,
            };
            let transport = if tls.is_some() { &DIAMETER_TLS } else { &DIAMETER_TCP };
            Ok(Listen { transport, auth: *address, acct: *address, tls, end })
        }
    }
}

/// Origin-State-Id: this start's, in seconds since 1970 UTC.
fn started() -> u32 {
    u32::try_from(super::store::wall_ms() / 1_000).unwrap_or(u32::MAX)
}

/// Addresses in a row.
pub fn list(addresses: &[SocketAddr]) -> String {
    addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
