//! The softswitch process as the simulator runs it: the real softswitch and the real AAA client, joined as in
//! production, with datagrams where production has sockets.

use crate::dialect;
use crate::net::{Datagram, addr};
use crate::prng::Prng;
use crate::proxy;
use crate::scenario::Scenario;
use core::net::SocketAddr;
use portunus_aaa::DigestAlgorithm;
use portunus_aaa::client::link::{LinkConfig, Timing};
use portunus_aaa::client::{Client, Effect, LaneId, Limits};
use portunus_aaa::secret::SharedSecret;
use portunus_aaa::transport::RADIUS_UDP;
use portunus_engine::Lane;
use portunus_keydist::Now;
use portunus_signalling::Protocol;
use portunus_softswitch::{Config, Joined, Listeners, LocalProxy, Peer, PeerConfig, Softswitch};

/// The secret between softswitch and AuC in every run; watched for like the others.
pub const RADIUS_SECRET: &[u8; 24] = b"radius-secret-of-the-sim";

const LANES: u16 = 2;

/// What a softswitch sends.
#[derive(Debug, Default)]
pub struct Sends {
    /// Over the network.
    pub outside: Vec<Datagram>,
    /// To the engine in the same process.
    pub local: Vec<Local>,
}

/// A message to the engine in the same process.
#[derive(Debug)]
pub struct Local {
    /// Of which protocol.
    pub protocol: Protocol,
    /// By whose lane, and at which worker.
    pub lane: (usize, Lane),
    /// Its octets.
    pub bytes: Vec<u8>,
}

/// One softswitch process.
#[derive(Debug)]
pub struct Switch {
    joined: Joined<Client>,
    limits: portunus_softswitch::Limits,
}

impl Switch {
    /// A process that has just started.
    pub fn start(scenario: &Scenario, rng: &mut Prng) -> Self {
        let mut config = Config::new(addr::switch(Protocol::Sip), "example.test");
        config.retries = scenario.retries;
        let served = |protocol| dialect::ALL.iter().any(|d| d.protocol() == protocol).then(|| addr::switch(protocol));
        config.listeners =
            Listeners { mgcp: served(Protocol::Mgcp), h248: served(Protocol::H248), ras: served(Protocol::Ras) };
        config.silent_s = scenario.silent_s;
        config.expires.min_s = 30;
        config.retry_after_s = (1, 4);
        config.digest = Some(DigestAlgorithm::Sha256);
        config.limits = portunus_softswitch::Limits {
            identities: 64,
            challenges: 64,
            asks: 48,
            commands: 48,
            cache_octets: 1 << 18,
            records: 64,
            ..config.limits
        };
        if scenario.direct {
            config.local = Some(LocalProxy { idss: proxy::name(scenario, 0).into(), core: addr::core(0) });
        } else {
            let peer = |p| PeerConfig { addr: addr::core(p), idsps: vec![proxy::name(scenario, p).into()] };
            config.peers = (0..scenario.proxies).map(peer).collect();
        }
        let limits = config.limits;
        let softswitch = match Softswitch::new(config, Box::new(rng.fork())) {
            Ok(softswitch) => softswitch,
            Err(e) => panic!("the simulator's own configuration: {e}"),
        };
        let link = LinkConfig {
            auth: addr::auc_auth(),
            acct: addr::auc_acct(),
            secret: SharedSecret::new(*RADIUS_SECRET),
            nas_identifier: "ss1.example.test".into(),
            lanes: LANES,
            window: 64,
            stream: false,
            node: Default::default(),
            realms: vec![],
            timing: Timing::default(),
        };
        let client = Client::new(vec![(RADIUS_UDP.link)(link)], Limits::default(), Box::new(rng.fork()));
        Self { joined: Joined::new(softswitch, client), limits }
    }

    /// True for an address of its AAA client.
    pub fn owns(&self, to: SocketAddr) -> bool {
        (0..LANES).any(|lane| addr::lane(lane) == to)
    }

    /// A message from a neighbour.
    pub fn message(&mut self, now: Now, protocol: Protocol, from: Peer, bytes: &[u8]) -> Sends {
        self.joined.on_message(now, protocol, from, bytes);
        self.sends()
    }

    /// A datagram for one of its addresses.
    pub fn receive(&mut self, now: Now, datagram: &Datagram) -> Sends {
        if let Some(lane) = (0..LANES).find(|lane| addr::lane(*lane) == datagram.to) {
            let lane = LaneId { server: 0, lane };
            self.joined.aaa().on_packet(now, lane, datagram.from, &datagram.bytes);
            self.joined.pump(now);
            return self.sends();
        }
        match addr::served(datagram.to) {
            Some(protocol) => self.message(now, protocol, Peer::Udp(datagram.from), &datagram.bytes),
            None => Sends::default(),
        }
    }

    /// Time has passed.
    pub fn timer(&mut self, now: Now) -> Sends {
        if self.joined.aaa().next_deadline().is_some_and(|due| due <= now.mono_ms) {
            self.joined.aaa().on_timer(now);
            self.joined.pump(now);
        }
        if self.joined.next_deadline().is_some_and(|due| due <= now.mono_ms) {
            self.joined.on_timer(now);
        }
        self.sends()
    }

    /// When time matters next.
    pub fn deadline(&self) -> Option<u64> {
        [self.joined.next_deadline(), self.joined.aaa_ref().next_deadline()].into_iter().flatten().min()
    }

    fn sends(&mut self) -> Sends {
        let mut sends = Sends::default();
        while let Some((protocol, to, bytes)) = self.joined.poll_send() {
            match to {
                Peer::Udp(to) => sends.outside.push(Datagram { from: addr::switch(protocol), to, bytes }),
                Peer::LocalProxy => sends.local.push(Local { protocol, lane: (0, Lane::Shared), bytes }),
                Peer::LocalLane(at) => {
                    let lane = Lane::of_virtual_address(at).map(|(worker, lane)| (usize::from(worker), lane));
                    sends.local.extend(lane.map(|lane| Local { protocol, lane, bytes }));
                }
                // Nobody's controller is behind this one.
                Peer::Behind(..) => {}
            }
        }
        while let Some(effect) = self.joined.aaa().poll_effect() {
            if let Effect::Send { lane, to, bytes } = effect {
                sends.outside.push(Datagram { from: addr::lane(lane.lane), to, bytes: bytes.to_vec() });
            }
        }
        sends
    }

    /// Where an identity can be reached.
    pub fn bindings(&self, now: Now, idc: &str) -> Vec<String> {
        self.joined.softswitch().bindings_of(now, idc)
    }

    /// The first table that is fuller than it may be.
    pub fn overfull(&self) -> Option<&'static str> {
        let (g, l) = (self.joined.softswitch().gauges(), &self.limits);
        let tables = [
            ("identities", g.identities, l.identities),
            ("challenges", g.challenges, l.challenges),
            ("asks", g.asks, l.asks + l.records),
            ("cache", g.cache_octets, l.cache_octets),
            ("records", g.records, l.records),
        ];
        tables.into_iter().find(|(_, n, most)| n > most).map(|(name, ..)| name)
    }
}
