//! Everything that a demonstration needs, made from nothing: keys, certificates, a store in a temporary folder, and
//! the roles.

use crate::assembly::{auc, proxy, softswitch, watch::Watch};
use crate::cli::{Carrier, DemoArgs, MechanismArg, ProtocolArg, Topology};
use crate::exit::{Exit, Failure};
use crate::out::Out;
use crate::signals::Signals;
use portunus_aaa::client::{Limits, link::Timing};
use portunus_aaa::lab;
use portunus_aaa::net::{Listen, ListenTls, RunnerConfig, ServerPeer, TlsPeer};
use portunus_aaa::secret::SharedSecret;
use portunus_aaa::server::EndConfig;
use portunus_aaa::transport::RADSEC;
use portunus_config::model::Mechanism;
use portunus_config::{Config, parse};
use portunus_keydist::mech::Mech;
use portunus_keydist::{Key, Random as _, SystemRandom};
use portunus_signalling::Protocol;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use zeroize::Zeroizing;

pub(super) const REALM: &str = "demo.test";
const IDSP: &str = "sp1.demo.test";
const IDSS: &str = "ss1.demo.test";
const AUC: &str = "auc.demo.test";

/// The access side's listeners, in the order of its configuration; those for protected datagrams follow.
const LISTENERS: [(ProtocolArg, Carrier); 6] = [
    (ProtocolArg::Sip, Carrier::Udp),
    (ProtocolArg::Sip, Carrier::Tcp),
    (ProtocolArg::Mgcp, Carrier::Udp),
    (ProtocolArg::H248, Carrier::Udp),
    (ProtocolArg::H248, Carrier::Tcp),
    (ProtocolArg::H323, Carrier::Udp),
];

/// Those for connections of mechanism `tls`, which stand last.
const TLS: [ProtocolArg; 2] = [ProtocolArg::Sip, ProtocolArg::H248];

/// The subscribers' keys: each is an output of one secret, so that a million of them need no memory.
#[derive(Clone)]
pub(super) struct Keys {
    secret: Arc<Zeroizing<[u8; 32]>>,
}

impl Keys {
    fn draw() -> Self {
        Self { secret: Arc::new(Zeroizing::new(SystemRandom::new().array())) }
    }

    fn key(&self, id: &str) -> [u8; 32] {
        let mut out = [0u8; 32];
        let tag = ring::hmac::sign(&ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &**self.secret), id.as_bytes());
        out.copy_from_slice(tag.as_ref());
        out
    }

    /// Identity and key of terminal `n` of those that speak a protocol: named as the protocol names its terminals.
    pub(super) fn subscriber(&self, protocol: Protocol, n: u32) -> (String, [u8; 32]) {
        let n = n + 1;
        let id = match protocol {
            Protocol::Sip => format!("t{n:06}@{REALM}"),
            Protocol::Mgcp => format!("rgw{n:06}.{REALM}"),
            Protocol::H248 => format!("mg{n:06}.{REALM}"),
            Protocol::Ras => format!("e{n:06}"),
        };
        let key = self.key(&id);
        (id, key)
    }
}

/// The running roles. Dropped, they end and the temporary folder goes.
pub(super) struct World {
    pub(super) keys: Keys,
    pub(super) watch: Watch,
    topology: Topology,
    // In the order in which they end: terminals' side first.
    proxy: proxy::Proxy,
    softswitch: Option<portunus_softswitch::run::Handle>,
    _auc: portunus_auc::AucHandle,
    _folder: tempfile::TempDir,
}

impl World {
    pub(super) fn start(args: &DemoArgs) -> Result<Self, Failure> {
        let folder = tempfile::tempdir().map_err(|e| Failure::io("making a temporary folder", &e))?;
        let (keys, watch) = (Keys::draw(), Watch::default());
        let certificates = lab::certificates(&[AUC], &[IDSS]).map_err(in_memory)?;
        let server = certificates.server.server().map_err(in_memory)?;
        let listen = Listen {
            transport: &RADSEC,
            auth: loopback(),
            acct: loopback(),
            tls: Some(ListenTls { config: server, names: vec![IDSS.into()] }),
            end: EndConfig::default(),
        };
        let crowds = super::crowds(args);
        let each = crowds.iter().flat_map(|(spoken, count)| (0..*count).map(|n| (spoken.protocol(), n)));
        let subscribers = each.map(|(protocol, n)| keys.subscriber(protocol, n));
        let devices = [IDSP, IDSS].map(|id| (id.to_owned(), keys.key(id)));
        let auc = auc::temporary(folder.path(), REALM, vec![listen], subscribers, devices)?;
        let aaa = client(&certificates, auc.addresses().first().copied().unwrap_or_else(loopback))?;
        let (proxy, softswitch) = match args.topology {
            Topology::Proxied => proxied(args, &keys, aaa, &watch)?,
            Topology::Direct => (direct(args, &keys, aaa, &watch)?, None),
        };
        Ok(Self { keys, watch, topology: args.topology, proxy, softswitch, _auc: auc, _folder: folder })
    }

    /// The identity that faces the terminals.
    pub(super) fn identity(&self) -> &'static str {
        match self.topology {
            Topology::Proxied => IDSP,
            Topology::Direct => IDSS,
        }
    }

    /// Where terminals register.
    pub(super) fn access(&self, spoken: ProtocolArg, by: Carrier) -> SocketAddr {
        let at = LISTENERS.iter().position(|l| *l == (spoken, by));
        self.proxy.address(at.unwrap_or_default())
    }

    /// Where the messages of a mechanism go.
    pub(super) fn protected(&self, spoken: ProtocolArg, mech: Mech) -> SocketAddr {
        let datagrams = Mechanism::DATAGRAMS;
        let at = if mech == Mech::Tls {
            TLS.iter().position(|of| *of == spoken).map(|at| datagrams.len() + at)
        } else {
            datagrams.iter().position(|mechanism| mechanism.word() == mech.token())
        };
        self.proxy.address(LISTENERS.len() + at.unwrap_or_default())
    }

    /// Every counter that is not zero.
    pub(super) fn counters(&self) -> BTreeMap<String, u64> {
        let mut all = self.proxy.counters();
        if let Some(softswitch) = &self.softswitch {
            let snapshot = softswitch.snapshot();
            all.extend(snapshot.counters.named().map(|(name, n)| (format!("softswitch_{name}"), n)));
        }
        all.retain(|_, n| *n > 0);
        all
    }

    /// Stays up until interrupted.
    pub(super) fn keep(&self, signals: &Signals, out: Out) {
        let listeners = LISTENERS.map(|(spoken, by)| {
            let by = if by == Carrier::Tcp { " over TCP" } else { "" };
            format!(
                "{}{by} at {}",
                spoken.title(),
                self.access(spoken, if by.is_empty() { Carrier::Udp } else { Carrier::Tcp })
            )
        });
        out.say("");
        out.say_under(2, format!("staying up: {}; interrupt to end", listeners.join(", ")));
        while !signals.end_asked() {
            signals.wait(std::time::Duration::from_millis(500));
        }
    }
}

fn loopback() -> SocketAddr {
    ([127, 0, 0, 1], 0).into()
}

fn in_memory(e: portunus_aaa::tls::IdentityError) -> Failure {
    Failure::new(Exit::Failed, format!("making certificates: {e}"), "")
}

fn client(certificates: &lab::LabCertificates, auc: SocketAddr) -> Result<RunnerConfig, Failure> {
    let name = AUC.try_into().map_err(|_| Failure::new(Exit::Failed, "no name for the AuC", ""))?;
    let peer = ServerPeer {
        transport: &RADSEC,
        auth: auc,
        acct: auc,
        secret: SharedSecret::radsec(),
        tls: Some(TlsPeer { config: certificates.client.client().map_err(in_memory)?, name }),
        lanes: 4,
        realms: vec![],
        window: 1024,
        timing: Timing::default(),
    };
    Ok(RunnerConfig {
        servers: vec![peer],
        nas_identifier: IDSS.into(),
        realms: REALM.into(),
        limits: Limits::default(),
    })
}

/// The demonstration's configuration is one like any other, with free ports. The keys and certificates that it
/// names are in memory; nothing reads those files.
fn configuration(text: &str) -> Result<Config, Failure> {
    let loaded = parse("demo.toml", text, Path::new("")).map_err(|e| Failure::new(Exit::Failed, e.to_string(), ""))?;
    Ok(loaded.config)
}

fn edge(section: &str, args: &DemoArgs) -> String {
    let sessions = u64::from(args.terminals).max(1000) * 2;
    let mut text = String::new();
    for (spoken, by) in LISTENERS {
        let protocol = if spoken == ProtocolArg::H323 { "ras" } else { spoken.name() };
        let transport = if by == Carrier::Tcp { "tcp" } else { "udp" };
        text += &format!(
            "[[{section}.listener]]\nprotocol = \"{protocol}\"\ntransport = \"{transport}\"\naddress = \"127.0.0.1:0\"\n"
        );
    }
    for spoken in TLS {
        let protocol = spoken.name();
        text += &format!("[[{section}.tls]]\nprotocol = \"{protocol}\"\naddress = \"127.0.0.1:0\"\n");
    }
    // Where the mechanism is nothing for a protocol, that stays with sealed datagrams.
    let also = if args.mechanism == MechanismArg::Tls { ", \"x-pkd-sealed\"" } else { "" };
    text + &format!(
        "[{section}.sealed]\naddress = \"127.0.0.1:0\"\n[{section}.ipsec]\naddress = \"127.0.0.1:0\"\n\
         [{section}.policy]\nmechanisms = [\"{}\"{also}]\n[{section}.key]\nfile = \"in memory\"\n\
         [{section}.capacity]\nsessions = {sessions}\nconnections = 65536\n",
        args.mechanism.mech().token(),
    )
}

fn softswitch_text(listen: &str, more: &str) -> String {
    format!(
        "[softswitch]\nidentity = \"{IDSS}\"\nrealm = \"{REALM}\"\n{listen}\n[softswitch.capacity]\nregistrations = 2000000\n\
         [softswitch.aaa]\ncertificate = \"in memory\"\nkey = \"in memory\"\nca = \"in memory\"\n\
         [[softswitch.aaa.server]]\naddress = \"127.0.0.1:1\"\nname = \"{AUC}\"\n{more}"
    )
}

type Both = (proxy::Proxy, Option<portunus_softswitch::run::Handle>);

fn proxied(args: &DemoArgs, keys: &Keys, aaa: RunnerConfig, watch: &Watch) -> Result<Both, Failure> {
    // Port 0 of a peer stands for every port of its address: the proxy's is not known yet.
    let peer = format!("[[softswitch.peer]]\naddress = \"127.0.0.1:0\"\nidentities = [\"{IDSP}\"]\n");
    let listen = ["listen", "listen_mgcp", "listen_h248", "listen_ras"].map(|key| format!("{key} = \"127.0.0.1:0\"\n"));
    let listen = listen.concat();
    let config = configuration(&softswitch_text(&listen, &peer))?;
    let model = config.softswitch.ok_or_else(missing)?;
    let told = softswitch::config(&model, loopback(), None);
    let handle = softswitch::start(told, aaa, Some(watch.witness()))?;
    let others = handle.listeners();
    let peers = [("call_agents", others.mgcp), ("controllers", others.h248), ("gatekeepers", others.ras)];
    let peers = peers.map(|(key, at)| at.map_or_else(String::new, |at| format!("{key} = [\"{at}\"]\n"))).concat();
    let text = format!(
        "[proxy]\nidentity = \"{IDSP}\"\nrealm = \"{REALM}\"\nworkers = {}\n[proxy.core]\nlisten = \"127.0.0.1:0\"\n\
         softswitches = [\"{}\"]\n{peers}{}",
        args.workers,
        handle.address(),
        edge("proxy", args)
    );
    let model = configuration(&text)?.proxy.ok_or_else(missing)?;
    let device = Key::new(keys.key(IDSP)).prk().into();
    Ok((proxy::start(&model, device)?, Some(handle)))
}

fn direct(args: &DemoArgs, keys: &Keys, aaa: RunnerConfig, watch: &Watch) -> Result<proxy::Proxy, Failure> {
    let more = format!("[softswitch.direct]\nworkers = {}\n{}", args.workers, edge("softswitch.direct", args));
    let model = configuration(&softswitch_text("", &more))?.softswitch.ok_or_else(missing)?;
    let device = Key::new(keys.key(IDSS)).prk().into();
    proxy::start_direct(&model, device, aaa, Some(watch.witness()))
}

fn missing() -> Failure {
    Failure::new(Exit::Failed, "the demonstration's configuration lacks a role", "")
}
