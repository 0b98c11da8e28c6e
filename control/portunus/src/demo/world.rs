//! Everything that a demonstration needs, made from nothing: keys, certificates, a store in a temporary folder, and
//! the roles.

use crate::assembly::{auc, proxy, softswitch, watch::Watch};
use crate::cli::{Carrier, DemoArgs, Topology};
use crate::exit::{Exit, Failure};
use crate::out::Out;
use crate::signals::Signals;
use portunus_aaa::client::{Limits, link::Timing};
use portunus_aaa::lab;
use portunus_aaa::net::{Listen, ListenTls, RunnerConfig, ServerPeer, TlsPeer};
use portunus_aaa::secret::SharedSecret;
use portunus_aaa::server::EndConfig;
use portunus_aaa::transport::RADSEC;
use portunus_config::{Config, parse};
use portunus_keydist::{Key, Random as _, SystemRandom};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use zeroize::Zeroizing;

pub(super) const REALM: &str = "demo.test";
const IDSP: &str = "sp1.demo.test";
const IDSS: &str = "ss1.demo.test";
const AUC: &str = "auc.demo.test";

/// The subscribers' keys: each is an output of one secret, so that a million of them need no memory.
#[derive(Clone)]
pub(super) struct Keys {
    secret: Arc<Zeroizing<[u8; 32]>>,
    count: u32,
}

impl Keys {
    fn draw(count: u32) -> Self {
        Self { secret: Arc::new(Zeroizing::new(SystemRandom::new().array())), count }
    }

    fn key(&self, id: &str) -> [u8; 32] {
        let mut out = [0u8; 32];
        let tag = ring::hmac::sign(&ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &**self.secret), id.as_bytes());
        out.copy_from_slice(tag.as_ref());
        out
    }

    /// Identity and key of terminal `n`.
    pub(super) fn subscriber(&self, n: u32) -> Option<(String, [u8; 32])> {
        let id = format!("t{:06}@{REALM}", n + 1);
        (n < self.count).then(|| (id.clone(), self.key(&id)))
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
        let (keys, watch) = (Keys::draw(args.terminals), Watch::default());
        let certificates = lab::certificates(&[AUC], &[IDSS]).map_err(in_memory)?;
        let server = certificates.server.server().map_err(in_memory)?;
        let listen = Listen {
            transport: &RADSEC,
            auth: loopback(),
            acct: loopback(),
            tls: Some(ListenTls { config: server, names: vec![IDSS.into()] }),
            end: EndConfig::default(),
        };
        let subscribers = (0..args.terminals).filter_map(|n| keys.subscriber(n));
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
    pub(super) fn access(&self, by: Carrier) -> SocketAddr {
        // UDP, TCP, sealed: in the order in which `edge` names them.
        self.proxy.address(usize::from(by == Carrier::Tcp))
    }

    /// Where sealed datagrams go.
    pub(super) fn sealed(&self) -> SocketAddr {
        self.proxy.address(2)
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
        let access: Vec<String> = [Carrier::Udp, Carrier::Tcp].map(|c| self.access(c).to_string()).into();
        out.say(format!("\nstaying up: SIP over UDP at {}, TCP at {}; interrupt to end", access[0], access[1]));
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
        window: 1024,
        timing: Timing::default(),
    };
    Ok(RunnerConfig { servers: vec![peer], nas_identifier: IDSS.into(), limits: Limits::default() })
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
    for transport in ["udp", "tcp"] {
        text += &format!(
            "[[{section}.listener]]\nprotocol = \"sip\"\ntransport = \"{transport}\"\naddress = \"127.0.0.1:0\"\n"
        );
    }
    text + &format!(
        "[{section}.sealed]\naddress = \"127.0.0.1:0\"\n[{section}.key]\nfile = \"in memory\"\n\
         [{section}.capacity]\nsessions = {sessions}\nconnections = 65536\n"
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
    let config = configuration(&softswitch_text("listen = \"127.0.0.1:0\"", &peer))?;
    let model = config.softswitch.ok_or_else(missing)?;
    let told = softswitch::config(&model, loopback(), None);
    let handle = softswitch::start(told, aaa, Some(watch.witness()))?;
    let text = format!(
        "[proxy]\nidentity = \"{IDSP}\"\nrealm = \"{REALM}\"\nworkers = {}\n[proxy.core]\nlisten = \"127.0.0.1:0\"\n\
         softswitches = [\"{}\"]\n{}",
        args.workers,
        handle.address(),
        edge("proxy", args)
    );
    let model = configuration(&text)?.proxy.ok_or_else(missing)?;
    let prk = Key::new(keys.key(IDSP)).prk();
    Ok((proxy::start(&model, prk)?, Some(handle)))
}

fn direct(args: &DemoArgs, keys: &Keys, aaa: RunnerConfig, watch: &Watch) -> Result<proxy::Proxy, Failure> {
    let more = format!("[softswitch.direct]\nworkers = {}\n{}", args.workers, edge("softswitch.direct", args));
    let model = configuration(&softswitch_text("", &more))?.softswitch.ok_or_else(missing)?;
    let prk = Key::new(keys.key(IDSS)).prk();
    proxy::start_direct(&model, prk, aaa, Some(watch.witness()))
}

fn missing() -> Failure {
    Failure::new(Exit::Failed, "the demonstration's configuration lacks a role", "")
}
