//! `[auc]`

use super::{Place, count};
use crate::defaults as d;
use crate::model::{
    ApiTls, Auc, AucApi, AucListener, AucRedeem, Digest, ForeignAuc, KeySource, MasterSource, PartnerAuc, RadiusClient,
    TokenKey,
};
use crate::read::Section;
use crate::value::{Device, OneOf, Realm, Word};
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;
use std::path::PathBuf;

#[derive(Clone, Copy, PartialEq)]
enum Carrier {
    RadSec,
    Udp,
    DiameterTls,
    DiameterTcp,
}

impl Word for Carrier {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("radsec", Self::RadSec),
        ("udp", Self::Udp),
        ("diameter-tls", Self::DiameterTls),
        ("diameter-tcp", Self::DiameterTcp),
    ];
}

pub(super) fn read(mut s: Section<'_, '_, '_>, place: Place<'_>) -> Option<Auc> {
    let realms = s.key::<Vec<Realm>>("realms").check(|r| not_empty(r)).required();
    let store = place.join(s.key("store").or(PathBuf::from(d::AUC_STORE)));
    let import = s.key::<PathBuf>("import").optional().map(|p| place.join(p));
    let devices = s.key::<Vec<Device>>("devices").optional();
    let digests = s.key::<Vec<OneOf<Digest>>>("digests").or(vec![OneOf(Digest::Sha256)]);
    let audit_log = place.join(s.key("audit_log").or(PathBuf::from(d::AUC_AUDIT_LOG)));
    let answer_cache = s.key("answer_cache").within_ms(1_000, 300_000).or(d::ANSWER_CACHE);
    let answers = count(s.key("answers").within(256, 16_777_216).or(d::AUC_ANSWERS));
    let open_keys = count(s.key("open_keys").within(256, 100_000_000).or(d::AUC_OPEN_KEYS));
    let (master_key, create_master_key) = master_key(&mut s, place);
    let database = super::database::read(&mut s, place);
    let listeners: Vec<_> = s.sections("listen").into_iter().map(|l| listener(l, place)).collect();
    if listeners.is_empty() {
        s.note("the AuC listens nowhere", "add [[auc.listen]] with `transport` and `address`");
    }
    let api = s.section("api").map(|a| api(a, place));
    let redeem = s.section("redeem").map(redeem);
    let foreign: Vec<_> = s.sections("foreign").into_iter().map(|f| foreign(f, place)).collect();
    let partners: Vec<_> = s.sections("partner").into_iter().map(partner).collect();
    s.finish();
    Some(Auc {
        foreign: foreign.into_iter().collect::<Option<_>>()?,
        partners: partners.into_iter().collect::<Option<_>>()?,
        realms: realms?.into_iter().map(|r| r.0).collect(),
        store,
        master_key: master_key?,
        create_master_key,
        database: match database {
            Some(read) => Some(read?),
            None => None,
        },
        import,
        devices: devices.into_iter().flatten().map(|d| d.0).collect(),
        digests: digests.into_iter().map(|d| d.0).collect(),
        audit_log,
        answer_cache,
        answers,
        open_keys,
        listeners: listeners.into_iter().collect::<Option<_>>()?,
        // Where it could not be read the whole is refused.
        api: api.map_or(Some(None), |api| api.map(Some))?,
        redeem: redeem.map_or(Some(None), |redeem| redeem.map(Some))?,
    })
}

/// `[auc.api]`
fn api(mut a: Section<'_, '_, '_>, place: Place<'_>) -> Option<AucApi> {
    let address = a.key::<SocketAddr>("address").required();
    let files = ["certificate", "key", "ca"].map(|name| a.key::<PathBuf>(name).optional().map(|p| place.join(p)));
    let [certificate, key, ca] = files;
    let plain = certificate.is_none() && key.is_none() && ca.is_none();
    let tls = certificate.zip(key).map(|(certificate, key)| ApiTls { certificate, key, ca });
    let loopback = address.is_none_or(|at| at.ip().is_loopback());
    if tls.is_none() && !(plain && place.lab && loopback) {
        let problem = "administrators and their tokens would be in clear";
        let write = "add `certificate = \"PATH\"` and `key = \"PATH\"`; without them a laboratory (`lab = true`) may \
                     listen on 127.0.0.1";
        a.note(problem, write);
    }
    let connections = count(a.key("connections").within(1, 4_096).or(d::API_CONNECTIONS));
    let rate = a.key("rate").within(1, 10_000).or(d::API_RATE);
    let import_max = a.key("import_max").within_size(1 << 10, 4 << 30).or(d::API_IMPORT);
    a.finish();
    Some(AucApi { address: address?, tls, connections, rate: u32::try_from(rate).unwrap_or(u32::MAX), import_max })
}

/// `[auc.redeem]`
fn redeem(mut r: Section<'_, '_, '_>) -> Option<AucRedeem> {
    let address = r.key::<SocketAddr>("address").required();
    let rate = r.key("rate").within(1, 100_000).or(d::REDEEM_RATE);
    r.finish();
    Some(AucRedeem { address: address?, rate: u32::try_from(rate).unwrap_or(u32::MAX) })
}

fn not_empty(realms: &[Realm]) -> Result<(), (String, String)> {
    let problem = || ("no realm".to_owned(), "write at least one, like [\"example.test\"]".to_owned());
    if realms.is_empty() { Err(problem()) } else { Ok(()) }
}

/// `[[auc.foreign]]`: what [softswitch.aaa] has, and whose AuC it is.
fn foreign(mut f: Section<'_, '_, '_>, place: Place<'_>) -> Option<ForeignAuc> {
    let realms = f.key::<Vec<Realm>>("realms").check(|r| not_empty(r)).required();
    let identity = f.key::<Device>("identity").required();
    let key = match f.section("shared_key") {
        Some(mut k) => {
            let source = place.key_source(&mut k, false);
            k.finish();
            source
        }
        None => {
            f.note("no key shared with it", format!("add [{}.shared_key] with `file = \"PATH\"`", f.path));
            None
        }
    };
    let aaa = super::softswitch::aaa(f, place);
    let realms = realms?.into_iter().map(|r| r.0).collect();
    Some(ForeignAuc { realms, identity: identity?.0, key: key?, aaa: aaa? })
}

fn partner(mut p: Section<'_, '_, '_>) -> Option<PartnerAuc> {
    let client = p.key::<String>("client").required();
    let device = p.key::<Device>("device").required();
    p.finish();
    Some(PartnerAuc { client: client?, device: device?.0 })
}

/// `[auc.master_key]`: a token, or what a key is read from; without it, a file beside the configuration that is created at the first start.
fn master_key(s: &mut Section<'_, '_, '_>, place: Place<'_>) -> (Option<MasterSource>, bool) {
    let Some(mut m) = s.section("master_key") else {
        let beside = KeySource::File(place.join(PathBuf::from(d::AUC_MASTER_KEY)));
        return (Some(MasterSource::Key(beside)), true);
    };
    let create = m.key("create").or(false);
    if m.has("pkcs11") {
        let token = token_key(&mut m, place);
        if create {
            m.note("`create` makes no key in a token", "remove it; `portunus store master create` makes one, once");
        }
        m.finish();
        return (token.map(MasterSource::Token), false);
    }
    let source = place.key_source(&mut m, false);
    if create && matches!(source, Some(KeySource::Credential(_) | KeySource::Environment(_) | KeySource::Inline(_))) {
        m.note("`create` works with `file` only", "remove `create`, or name a `file`");
    }
    m.finish();
    (source.map(MasterSource::Key), create)
}

/// `pkcs11` and `pkcs11_folders`.
fn token_key(m: &mut Section<'_, '_, '_>, place: Place<'_>) -> Option<TokenKey> {
    if let Some(other) = ["file", "credential", "environment", "hex"].into_iter().find(|key| m.has(key)) {
        m.note(format!("both `pkcs11` and `{other}`"), "keep one of them");
        let _ = place.key_source(m, false);
    }
    let folders = m.key::<Vec<PathBuf>>("pkcs11_folders").or(Vec::new());
    let uri = m.key::<String>("pkcs11").check(|text| crate::pkcs11_uri(text).map(|_| ())).required()?;
    let key = crate::pkcs11_uri(&uri).ok()?;
    Some(TokenKey { folders: folders.into_iter().map(|folder| place.join(folder)).collect(), ..key })
}

fn listener(mut l: Section<'_, '_, '_>, place: Place<'_>) -> Option<AucListener> {
    let transport = l.key("transport").or(OneOf(Carrier::RadSec)).0;
    let address = l.key::<SocketAddr>("address").required();
    let out = match transport {
        Carrier::RadSec => {
            let tls = place.tls(&mut l);
            let clients = l.key::<Vec<String>>("clients").or(Vec::new());
            address.zip(tls).map(|(address, tls)| AucListener::RadSec { address, tls, clients })
        }
        Carrier::DiameterTls => {
            let tls = place.tls(&mut l);
            let names = l.key::<Vec<String>>("clients").or(Vec::new());
            let (identity, watchdog) = diameter(&mut l);
            address.zip(tls).zip(identity).map(|((address, tls), identity)| AucListener::Diameter {
                address,
                identity,
                tls: Some(tls),
                names,
                hosts: Vec::new(),
                watchdog,
            })
        }
        Carrier::DiameterTcp => {
            let hosts = l.key::<Vec<IpAddr>>("clients").required();
            let (identity, watchdog) = diameter(&mut l);
            if hosts.as_ref().is_some_and(Vec::is_empty) {
                let at = l.path_of("clients");
                l.gather.note_at(&at, "nobody may connect here", "write the addresses of those who may");
            }
            address.zip(hosts).zip(identity).map(|((address, hosts), identity)| AucListener::Diameter {
                address,
                identity,
                tls: None,
                names: Vec::new(),
                hosts,
                watchdog,
            })
        }
        Carrier::Udp => {
            // Accounting listens by custom one port above authentication (1812, 1813).
            let beside = address.map(|a| SocketAddr::new(a.ip(), a.port().saturating_add(1)));
            let accounting = l.key::<SocketAddr>("accounting").optional().or(beside);
            let clients: Vec<_> = l.sections("client").into_iter().map(|c| client(c, place)).collect();
            if clients.is_empty() {
                l.note(
                    "nobody may ask here",
                    format!("add [[{}.client]] with `address` and `secret_file`", "auc.listen"),
                );
            }
            let clients: Option<Vec<_>> = clients.into_iter().collect();
            address.zip(accounting).zip(clients).map(|((address, accounting), clients)| AucListener::Udp {
                address,
                accounting,
                clients,
            })
        }
    };
    l.finish();
    out
}

fn client(mut c: Section<'_, '_, '_>, place: Place<'_>) -> Option<RadiusClient> {
    let address = c.key::<IpAddr>("address").required();
    let secret = place.secret_source(&mut c);
    c.finish();
    Some(RadiusClient { address: address?, secret: secret? })
}

/// What every Diameter listener has: the AuC's Origin-Host, and Tw.
fn diameter(l: &mut Section<'_, '_, '_>) -> (Option<String>, Duration) {
    let identity = l.key::<Device>("identity").required().map(|d| d.0);
    let watchdog = l.key("watchdog").within_ms(1_000, 600_000).or(d::DIAMETER_WATCHDOG);
    (identity, watchdog)
}
