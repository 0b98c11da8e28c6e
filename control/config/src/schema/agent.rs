//! `[agent]`

use super::{Place, edge};
use crate::defaults as d;
use crate::model::{Agent, AgentPhone, KeySource, Mechanism};
use crate::read::Section;
use crate::value::{Device, OneOf, Phone, Realm};
use core::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

/// Most places where phones may reach one agent: those that a set of connections can have.
const LISTEN_MAX: usize = 32;

pub(super) fn read(mut s: Section<'_, '_, '_>, place: Place<'_>) -> Option<Agent> {
    let server = s.key::<SocketAddr>("server").check(edge::specific).required();
    let proxy = s.key::<Device>("proxy").required();
    let realm = s.key::<Realm>("realm").required();
    let listen = s.key::<Vec<SocketAddr>>("listen").check(|l| places(l)).required();
    let sealed = vec![OneOf(Mechanism::Sealed)];
    let mechanisms = s.key::<Vec<OneOf<Mechanism>>>("mechanisms").check(|l| edge::some_mechanism(l)).or(sealed);
    let expires = s.key("expires").within_ms(60_000, 86_400_000).or(d::EXPIRES_DEFAULT);
    let sign_of_life = s.key("sign_of_life").within_ms(1_000, 3_600_000).or(d::SIGN_OF_LIFE);
    let outside = listen.iter().flatten().any(|at| !at.ip().is_loopback());
    let phones: Vec<_> = s.sections("phone").into_iter().map(|p| phone(p, place, outside)).collect();
    if phones.is_empty() {
        s.note("no phone", "add [[agent.phone]] with `id` and `key_file`");
    }
    twice(&s, &phones);
    s.finish();
    Some(Agent {
        server: server?,
        proxy: proxy?.0,
        realm: realm?.0,
        listen: listen?,
        mechanisms: mechanisms.into_iter().map(|m| m.0).collect(),
        expires,
        sign_of_life,
        phones: phones.into_iter().collect::<Option<_>>()?,
    })
}

fn places(list: &[SocketAddr]) -> Result<(), (String, String)> {
    if list.is_empty() || list.len() > LISTEN_MAX {
        let problem = format!("{} addresses", list.len());
        return Err((problem, format!("write 1 to {LISTEN_MAX}, like [\"127.0.0.1:5060\"]")));
    }
    list.iter().try_for_each(edge::specific)
}

fn phone(mut p: Section<'_, '_, '_>, place: Place<'_>, outside: bool) -> Option<AgentPhone> {
    let id = p.key::<Phone>("id").required();
    let file = p.key::<PathBuf>("key_file").optional();
    let credential = p.key::<String>("key_credential").optional();
    let key = match (file, credential) {
        (Some(file), None) => Some(KeySource::File(place.join(file))),
        (None, Some(name)) => Some(KeySource::Credential(name)),
        (Some(_), Some(_)) => {
            p.note("more than one place for one key", "keep one of `key_file`, `key_credential`");
            None
        }
        (None, None) => {
            if !p.has("key_file") && !p.has("key_credential") {
                p.note("no key", "add `key_file = \"PATH\"` or `key_credential = \"NAME\"`");
            }
            None
        }
    };
    let from = p.key::<Vec<IpAddr>>("from").or(Vec::new());
    if outside && from.is_empty() {
        let write = "add `from = [\"ADDRESS\"]` with the address that the phone has";
        p.note("others than this host reach `listen`, and nothing says where this phone is", write);
    }
    p.finish();
    Some(AgentPhone { id: id?.0, key: key?, from })
}

fn twice(s: &Section<'_, '_, '_>, phones: &[Option<AgentPhone>]) {
    for (n, phone) in phones.iter().enumerate() {
        let same = |p: &Option<AgentPhone>| p.is_some() && p.as_ref().map(|p| &p.id) == phone.as_ref().map(|p| &p.id);
        if phones.iter().take(n).any(same) {
            s.gather.note_at(&format!("agent.phone[{n}].id"), "a phone before it has this identity", "write another");
        }
    }
}
