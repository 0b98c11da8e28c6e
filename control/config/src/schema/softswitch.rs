//! `[softswitch]`

use super::{Place, count, edge};
use crate::defaults as d;
use crate::model::{
    Aaa, AaaServer, AaaTransport, Digest, Expires, Health, Neighbour, Peer, Softswitch, SoftswitchCapacity, Upstream,
};
use crate::read::Section;
use crate::value::{Device, OneOf, Realm, Value as _, Word};
use core::net::SocketAddr;

impl Word for AaaTransport {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("radsec", Self::RadSec),
        ("udp", Self::Udp),
        ("diameter-tls", Self::DiameterTls),
        ("diameter-tcp", Self::DiameterTcp),
    ];
}

impl Word for Digest {
    const WORDS: &'static [(&'static str, Self)] = &[("sha-256", Self::Sha256), ("md5", Self::Md5)];
}

pub(super) fn read(mut s: Section<'_, '_, '_>, place: Place<'_>) -> Option<Softswitch> {
    let identity = s.key::<Device>("identity").required();
    let realm = s.key::<Realm>("realm").required();
    let domains = s.key::<Vec<Realm>>("domains").optional();
    let listen = s.key::<SocketAddr>("listen").check(edge::specific).optional();
    let mut beside = |key| s.key::<SocketAddr>(key).check(edge::specific).optional();
    let (listen_mgcp, listen_h248, listen_ras) = (beside("listen_mgcp"), beside("listen_h248"), beside("listen_ras"));
    s.renamed("h248_controller", "there may be several: write [[softswitch.controller]] with `address`");
    s.renamed("registrar_health", "it holds for call agents and controllers too: write [softswitch.health]");
    let registrars: Vec<_> = s.sections("registrar").into_iter().map(|r| upstream(r, false)).collect();
    let call_agents: Vec<_> = s.sections("call_agent").into_iter().map(|c| upstream(c, true)).collect();
    let controllers: Vec<_> = s.sections("controller").into_iter().map(|c| upstream(c, true)).collect();
    let health = health(s.section_or_empty("health"));
    let peers: Vec<_> = s.sections("peer").into_iter().map(peer).collect();
    let neighbours: Vec<_> = s.sections("neighbour").into_iter().map(neighbour).collect();
    let retries = s.key("retries").within(0, 3).or(d::RETRIES);
    let challenge_life = s.key("challenge_life").within_ms(1_000, 60_000).or(d::SOFTSWITCH_CHALLENGE_LIFE);
    let answer_cache = s.key("answer_cache").within_ms(1_000, 120_000).or(d::ANSWER_CACHE);
    let digest = s.key::<OneOf<Digest>>("digest").optional().map(|d| d.0);
    let retry_after = edge::retry_after(&mut s, false);
    let expires = expires(s.section_or_empty("expires"));
    let capacity = capacity(s.section_or_empty("capacity"));
    let aaa = match s.section("aaa") {
        Some(a) => aaa(a, place),
        None => {
            s.note("no link to an AuC", "add [softswitch.aaa] and [[softswitch.aaa.server]]");
            None
        }
    };
    let direct = s.section("direct").map(|e| edge::edge(e, place));
    reachable(&s, listen.is_some(), !peers.is_empty() || !registrars.is_empty(), direct.is_some());
    s.finish();
    if direct.as_ref().is_some_and(Option::is_none) {
        return None;
    }
    let realm = realm?.0;
    Some(Softswitch {
        identity: identity?.0,
        domains: domains.map_or_else(|| vec![realm.clone()], |d| d.into_iter().map(|r| r.0).collect()),
        realm,
        listen,
        listen_mgcp,
        listen_h248,
        listen_ras,
        registrars: registrars.into_iter().collect::<Option<_>>()?,
        call_agents: call_agents.into_iter().collect::<Option<_>>()?,
        controllers: controllers.into_iter().collect::<Option<_>>()?,
        health,
        peers: peers.into_iter().collect::<Option<_>>()?,
        neighbours: neighbours.into_iter().collect::<Option<_>>()?,
        retries: u8::try_from(retries).unwrap_or(3),
        challenge_life,
        answer_cache,
        expires,
        retry_after,
        digest,
        capacity,
        aaa: aaa?,
        direct: direct.flatten(),
    })
}

/// Somebody must be able to register: through a proxy, directly, or both.
fn reachable(s: &Section<'_, '_, '_>, listen: bool, peers: bool, direct: bool) {
    if !listen && !direct && !s.has("listen") {
        s.note(
            "nobody can reach the softswitch",
            "add `listen = \"ADDRESS:PORT\"` for proxies, or [softswitch.direct]",
        );
    }
    if listen && !peers {
        s.note("`listen` without a trusted peer", "add [[softswitch.peer]] with `address` and `identities`");
    }
}

fn peer(mut p: Section<'_, '_, '_>) -> Option<Peer> {
    let address = p.key::<SocketAddr>("address").required();
    let identities = p.key::<Vec<Device>>("identities").required();
    p.finish();
    Some(Peer { address: address?, identities: identities?.into_iter().map(|d| d.0).collect() })
}

fn neighbour(mut n: Section<'_, '_, '_>) -> Option<Neighbour> {
    let address = n.key::<SocketAddr>("address").check(edge::reachable).required();
    let domains = n.key::<Vec<Realm>>("domains").check(|d| some_domain(d)).required();
    n.finish();
    Some(Neighbour { address: address?, domains: domains?.into_iter().map(|d| d.0).collect() })
}

fn some_domain(list: &[Realm]) -> Result<(), (String, String)> {
    let problem = || ("no domain".to_owned(), "write the domains whose subscribers it serves".to_owned());
    if list.is_empty() { Err(problem()) } else { Ok(()) }
}

/// `sent_to`: others may send terminals there, by a name.
fn upstream(mut r: Section<'_, '_, '_>, sent_to: bool) -> Option<Upstream> {
    let address = r.key::<SocketAddr>("address").check(edge::reachable).required();
    let weight = r.key("weight").within(1, 1_000).or(1);
    let name = if sent_to { r.key::<Device>("name").optional().map(|name| name.0) } else { None };
    r.finish();
    Some(Upstream { address: address?, weight: u32::try_from(weight).unwrap_or(1), name })
}

fn health(mut h: Section<'_, '_, '_>) -> Health {
    let times = |n: u64| u32::try_from(n).unwrap_or(1);
    let health = Health {
        probe_every: h.key("probe_every").within_ms(100, 600_000).or(d::UPSTREAM_PROBE_EVERY),
        answer_within: h.key("answer_within").within_ms(100, 16_000).or(d::UPSTREAM_ANSWER_WITHIN),
        down_after: times(h.key("down_after").within(1, 100).or(d::UPSTREAM_DOWN_AFTER)),
        up_after: times(h.key("up_after").within(1, 100).or(d::UPSTREAM_UP_AFTER)),
    };
    h.finish();
    health
}

fn expires(mut e: Section<'_, '_, '_>) -> Expires {
    let least = e.key("least").within_ms(1_000, 86_400_000).or(d::EXPIRES_LEAST);
    let most = e.key("most").within_ms(1_000, 864_000_000).or(d::EXPIRES_MOST);
    let default = e.key("default").within_ms(1_000, 864_000_000).or(d::EXPIRES_DEFAULT.clamp(least, most.max(least)));
    if !(least <= default && default <= most) {
        let write =
            format!("keep least <= default <= most (now {}, {}, {})", least.show(), default.show(), most.show());
        e.note("the lifetimes contradict each other", write);
    }
    e.finish();
    Expires { least, default, most }
}

fn capacity(mut c: Section<'_, '_, '_>) -> SoftswitchCapacity {
    c.renamed("controller_ports", "call agents have them too: write `gateway_ports`");
    let capacity = SoftswitchCapacity {
        registrations: count(c.key("registrations").within(1, 100_000_000).or(d::REGISTRATIONS)),
        contacts: count(c.key("contacts").within(1, 64).or(d::CONTACTS)),
        challenges: count(c.key("challenges").within(16, 16_777_216).or(d::CHALLENGES)),
        asks: count(c.key("asks").within(16, 1_048_576).or(d::ASKS)),
        records: count(c.key("records").within(16, 16_777_216).or(d::RECORDS)),
        answers: c.key("answers").within_size(1 << 20, 1 << 36).or(d::SOFTSWITCH_ANSWERS),
        gateway_ports: count(c.key("gateway_ports").within(1, 65_536).or(d::GATEWAY_PORTS)),
    };
    c.finish();
    capacity
}

/// The links to an AuC, from a section that may hold other keys, which the caller has asked for.
pub(super) fn aaa(mut a: Section<'_, '_, '_>, place: Place<'_>) -> Option<Aaa> {
    let transport = a.key("transport").or(OneOf(AaaTransport::RadSec)).0;
    let (tls, lanes) = match transport {
        AaaTransport::RadSec | AaaTransport::DiameterTls => (place.tls(&mut a).map(Some), d::AAA_LANES_TLS),
        AaaTransport::DiameterTcp => (Some(None), d::AAA_LANES_TLS),
        AaaTransport::Udp => (Some(None), d::AAA_LANES_UDP),
    };
    let servers: Vec<_> = a.sections("server").into_iter().map(|v| server(v, place, transport)).collect();
    if servers.is_empty() {
        a.note("no AuC", format!("add [[{}.server]] with `address`", a.path));
    }
    let read = Aaa {
        transport,
        servers: Vec::new(),
        tls: None,
        lanes: u16::try_from(a.key("lanes").within(1, 1024).or(lanes)).unwrap_or(1),
        window: count(a.key("window").within(1, 262_144).or(d::AAA_WINDOW)),
        questions: count(a.key("questions").within(1, 1_048_576).or(d::AAA_QUESTIONS)),
        records: count(a.key("records").within(1, 16_777_216).or(d::AAA_RECORDS)),
        patience: a.key("patience").within_ms(100, 32_000).or(d::AAA_PATIENCE),
        repeat_first: a.key("repeat_first").within_ms(10, 10_000).or(d::AAA_REPEAT_FIRST),
        repeat_most: a.key("repeat_most").within_ms(10, 60_000).or(d::AAA_REPEAT_MOST),
        dead_after: a.key("dead_after").within_ms(100, 60_000).or(d::AAA_DEAD_AFTER),
        probe_every: a.key("probe_every").within_ms(100, 600_000).or(d::AAA_PROBE_EVERY),
        watchdog: a.key("watchdog").within_ms(1_000, 600_000).or(d::AAA_WATCHDOG),
    };
    if read.repeat_first > read.repeat_most {
        a.note("`repeat_first` is above `repeat_most`", "let `repeat_most` be the larger one");
    }
    if read.lanes != 1 && matches!(transport, AaaTransport::DiameterTls | AaaTransport::DiameterTcp) {
        let at = a.path_of("lanes");
        a.gather.note_at(&at, "Diameter has one connection to a peer", "remove `lanes`");
    }
    a.finish();
    Some(Aaa { servers: servers.into_iter().collect::<Option<_>>()?, tls: tls?, ..read })
}

fn server(mut v: Section<'_, '_, '_>, place: Place<'_>, transport: AaaTransport) -> Option<AaaServer> {
    let address = v.key::<SocketAddr>("address").required();
    let out = match transport {
        AaaTransport::RadSec | AaaTransport::DiameterTls => {
            let name = v.key::<String>("name").required();
            address.zip(name).map(|(address, name)| AaaServer {
                address,
                accounting: address,
                secret: None,
                name: Some(name),
                realms: realms(&mut v),
            })
        }
        AaaTransport::DiameterTcp => address.map(|address| AaaServer {
            address,
            accounting: address,
            secret: None,
            name: None,
            realms: realms(&mut v),
        }),
        AaaTransport::Udp => {
            let beside = address.map(|a| SocketAddr::new(a.ip(), a.port().saturating_add(1)));
            let accounting = v.key::<SocketAddr>("accounting").optional().or(beside);
            let secret = place.secret_source(&mut v);
            address.zip(accounting).zip(secret).map(|((address, accounting), secret)| AaaServer {
                address,
                accounting,
                secret: Some(secret),
                name: None,
                realms: realms(&mut v),
            })
        }
    };
    v.finish();
    out
}

/// Realms that a server leads to; none: all.
fn realms(v: &mut Section<'_, '_, '_>) -> Vec<String> {
    let realms = v.key::<Vec<Realm>>("realms").optional();
    realms.into_iter().flatten().map(|r| r.0).collect()
}
