//! `[agent]`

use super::{Place, edge};
use crate::defaults as d;
use crate::model::{Agent, AgentGateways, AgentPhone, KeySource, Mechanism, PhoneKey};
use crate::read::Section;
use crate::value::{Device, Gateway, OneOf, Phone, Realm};
use core::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

/// Most places where phones may reach one agent: those that a set of connections can have.
const LISTEN_MAX: usize = 32;

pub(super) fn read(mut s: Section<'_, '_, '_>, place: Place<'_>) -> Option<Agent> {
    let proxy = s.key::<Device>("proxy").required();
    let realm = s.key::<Realm>("realm").required();
    let mechanisms = mechanisms(&mut s);
    let expires = s.key("expires").within_ms(60_000, 86_400_000).or(d::EXPIRES_DEFAULT);
    let sign_of_life = s.key("sign_of_life").within_ms(1_000, 3_600_000).or(d::SIGN_OF_LIFE);
    let gateways = [("mgcp", false), ("h248", true)];
    let gateways = gateways.map(|(name, tls)| s.section(name).map(|g| gateways_of(g, place, tls)));
    let sections = s.sections("phone");
    // Who has gateways need not have phones.
    let beside = gateways.iter().flatten().flatten().next().filter(|_| sections.is_empty() && !s.has("server"));
    let (server, listen) = match beside.map(|g| g.server) {
        Some(server) => (Some(server), Some(Vec::new())),
        None => {
            let server = s.key::<SocketAddr>("server").check(edge::specific).required();
            (server, s.key::<Vec<SocketAddr>>("listen").check(|l| places(l)).required())
        }
    };
    let outside = listen.iter().flatten().any(|at| !at.ip().is_loopback());
    let phones: Vec<_> = sections.into_iter().map(|p| phone(p, place, outside)).collect();
    if phones.is_empty() && gateways.iter().all(Option::is_none) {
        s.note("no phone", "add [[agent.phone]] with `id` and `key_file`");
    }
    twice(&s, "agent.phone", "a phone", &phones);
    s.finish();
    let [mgcp, h248] = gateways;
    let (mgcp, h248) = (mgcp.map_or(Some(None), |g| g.map(Some)), h248.map_or(Some(None), |g| g.map(Some)));
    Some(Agent {
        server: server?,
        proxy: proxy?.0,
        realm: realm?.0,
        listen: listen?,
        mechanisms,
        expires,
        sign_of_life,
        phones: phones.into_iter().collect::<Option<_>>()?,
        mgcp: mgcp?,
        h248: h248?,
    })
}

fn mechanisms(s: &mut Section<'_, '_, '_>) -> Vec<Mechanism> {
    let sealed = vec![OneOf(Mechanism::Sealed)];
    let list = s.key::<Vec<OneOf<Mechanism>>>("mechanisms").check(|l| edge::some_mechanism(l)).or(sealed);
    list.into_iter().map(|m| m.0).collect()
}

/// `[agent.mgcp]` and `[agent.h248]`; `tls`: the protocol is carried inside TLS too.
fn gateways_of(mut s: Section<'_, '_, '_>, place: Place<'_>, tls: bool) -> Option<AgentGateways> {
    let server = s.key::<SocketAddr>("server").check(edge::specific).required();
    let listen = s.key::<Vec<SocketAddr>>("listen").check(|l| places(l)).required();
    let mechanisms = mechanisms(&mut s);
    if !tls && mechanisms.contains(&Mechanism::Tls) {
        s.note("MGCP is not carried inside TLS", "write [\"x-pkd-sealed\"], [\"ipsec-man\"], or both");
    }
    let path = if tls { "agent.h248.gateway" } else { "agent.mgcp.gateway" };
    let outside = listen.iter().flatten().any(|at| !at.ip().is_loopback());
    let list: Vec<_> = s.sections("gateway").into_iter().map(|g| gateway(g, place, outside)).collect();
    if list.is_empty() {
        s.note("no gateway", format!("add [[{path}]] with `id` and `key_file`"));
    }
    twice(&s, path, "a gateway", &list);
    s.finish();
    let list = list.into_iter().collect::<Option<_>>()?;
    Some(AgentGateways { server: server?, listen: listen?, mechanisms, list })
}

fn places(list: &[SocketAddr]) -> Result<(), (String, String)> {
    if list.is_empty() || list.len() > LISTEN_MAX {
        let problem = format!("{} addresses", list.len());
        return Err((problem, format!("write 1 to {LISTEN_MAX}, like [\"127.0.0.1:5060\"]")));
    }
    list.iter().try_for_each(edge::specific)
}

fn phone(mut p: Section<'_, '_, '_>, place: Place<'_>, outside: bool) -> Option<AgentPhone> {
    let id = p.key::<Phone>("id").required().map(|id| id.0);
    keyed(p, place, id, ("phone", outside))
}

fn gateway(mut g: Section<'_, '_, '_>, place: Place<'_>, outside: bool) -> Option<AgentPhone> {
    let id = g.key::<Gateway>("id").required().map(|id| id.0);
    keyed(g, place, id, ("gateway", outside))
}

/// What phones and gateways have beside their identities.
fn keyed(
    mut p: Section<'_, '_, '_>,
    place: Place<'_>,
    id: Option<String>,
    (kind, outside): (&str, bool),
) -> Option<AgentPhone> {
    let file = p.key::<PathBuf>("key_file").optional();
    let credential = p.key::<String>("key_credential").optional();
    let passphrase = p.key::<PathBuf>("passphrase_file").optional();
    let all = [
        file.map(|file| PhoneKey::Key(KeySource::File(place.join(file)))),
        credential.map(|name| PhoneKey::Key(KeySource::Credential(name))),
        passphrase.map(|file| PhoneKey::Passphrase(place.join(file))),
    ];
    let mut given = all.into_iter().flatten();
    let key = match (given.next(), given.next()) {
        (Some(key), None) => Some(key),
        (Some(_), Some(_)) => {
            p.note("more than one place for one key", "keep one of `key_file`, `key_credential`, `passphrase_file`");
            None
        }
        (None, _) => {
            if !["key_file", "key_credential", "passphrase_file"].iter().any(|key| p.has(key)) {
                let write = "add `key_file = \"PATH\"`, `key_credential = \"NAME\"` or `passphrase_file = \"PATH\"`";
                p.note("no key", write);
            }
            None
        }
    };
    let from = p.key::<Vec<IpAddr>>("from").or(Vec::new());
    if outside && from.is_empty() {
        let write = format!("add `from = [\"ADDRESS\"]` with the address that the {kind} has");
        p.note(format!("others than this host reach `listen`, and nothing says where this {kind} is"), write);
    }
    p.finish();
    Some(AgentPhone { id: id?, key: key?, from })
}

fn twice(s: &Section<'_, '_, '_>, path: &str, what: &str, list: &[Option<AgentPhone>]) {
    for (n, one) in list.iter().enumerate() {
        let same = |p: &Option<AgentPhone>| p.is_some() && p.as_ref().map(|p| &p.id) == one.as_ref().map(|p| &p.id);
        if list.iter().take(n).any(same) {
            let problem = format!("{what} before it has this identity");
            s.gather.note_at(&format!("{path}[{n}].id"), problem, "write another");
        }
    }
}
