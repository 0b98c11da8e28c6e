//! The authentication centre as the simulator runs it: the real RADIUS end and the real AuC over subscribers in memory.
//! What is on disk in production, keys and records, survives a crash here.

use crate::net::{Datagram, addr};
use crate::prng::Prng;
use crate::switch::RADIUS_SECRET;
use portunus_aaa::secret::SharedSecret;
use portunus_aaa::server::{ClientEntry, End, EndConfig, Origin, Port, Received};
use portunus_aaa::transport::RADIUS_UDP;
use portunus_aaa::{AaaAnswer, AaaRequest, Account, Scheme};
use portunus_auc::auc::{Auc as Centre, AucConfig, Verdict};
use portunus_auc::store::Credential;
use portunus_auc::subscribers::InMemory;
use portunus_keydist::auc::{Change, Record, record};
use portunus_keydist::steps::{S4, S11};
use portunus_keydist::{Idc, Idsp, Key, Now, Rand};
use std::collections::BTreeMap;
use zeroize::Zeroizing;

/// What the AuC did, for the reference model.
#[derive(Debug, Clone)]
pub enum Did {
    /// It made a vector.
    Vector {
        /// Who was asked for.
        idc: String,
        /// Through whom.
        idsp: String,
        /// N1a.
        n1a: portunus_keydist::N1,
        /// The vector.
        s4: S4,
    },
    /// It made a digest challenge.
    Digest {
        /// Who was asked for.
        idc: String,
        /// The challenge.
        rand: Rand,
    },
    /// It was told of a registration.
    Recorded(Account),
    /// It has something to tell people.
    Noted(String),
}

/// What survives a crash: keys and records.
pub struct Store {
    /// Terminals' keys.
    pub subscribers: BTreeMap<String, Key>,
    /// Stock phones' secrets.
    pub phones: BTreeMap<String, Vec<u8>>,
    /// Proxies' and softswitches' keys.
    pub devices: BTreeMap<String, Key>,
    /// The first one that each of them had.
    pub first: BTreeMap<String, Key>,
    /// Who is registered.
    pub records: BTreeMap<String, Record>,
    held: InMemory,
}

impl core::fmt::Debug for Store {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Store({:?}, {:?}, {:?})", self.subscribers, self.devices, self.held)
    }
}

impl Store {
    /// An empty one.
    pub fn new(rng: &mut Prng) -> Self {
        Self {
            subscribers: BTreeMap::new(),
            phones: BTreeMap::new(),
            devices: BTreeMap::new(),
            first: BTreeMap::new(),
            records: BTreeMap::new(),
            held: InMemory::new(rng),
        }
    }

    /// A terminal with a key.
    pub fn add_subscriber(&mut self, idc: &str, key: Key) {
        self.held.add_subscriber(idc, Credential::Key(key.clone()));
        self.subscribers.insert(idc.to_owned(), key);
    }

    /// A stock phone with a digest secret.
    pub fn add_phone(&mut self, idc: &str, secret: &[u8]) {
        self.held.add_subscriber(idc, Credential::Digest(Zeroizing::new(secret.to_vec())));
        self.phones.insert(idc.to_owned(), secret.to_vec());
    }

    /// A proxy or softswitch.
    pub fn add_device(&mut self, idsp: &str, key: Key) {
        self.held.add_device(idsp, key.clone());
        self.first.entry(idsp.to_owned()).or_insert_with(|| key.clone());
        self.devices.insert(idsp.to_owned(), key);
    }
}

/// One AuC process over its store.
pub struct Auc {
    end: Box<dyn End>,
    centre: Centre<InMemory>,
    rng: Prng,
}

impl core::fmt::Debug for Auc {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Auc({:?}, {:?})", self.end.counters(), self.centre)
    }
}

impl Auc {
    /// A process that has just started.
    pub fn start(store: &Store, rng: &mut Prng) -> Self {
        let client = ClientEntry::host("ss1", addr::lane(0).ip(), SharedSecret::new(*RADIUS_SECRET));
        let config = EndConfig { clients: vec![client], cache: 512, pending: 64, ..EndConfig::default() };
        let end = (RADIUS_UDP.end)(config, Box::new(rng.fork()));
        let config = AucConfig { realms: vec!["example.test".into()], digest_sha256: true, digest_md5: false };
        Self { end, centre: Centre::new(config, store.held.clone(), rng), rng: rng.fork() }
    }

    /// A device has another key from now on.
    pub fn rekey(&mut self, idsp: &str, key: Key) {
        self.centre.subscribers_mut().add_device(idsp, key);
    }

    /// A datagram for one of its ports.
    pub fn receive(&mut self, now: Now, store: &mut Store, datagram: &Datagram) -> (Vec<Datagram>, Vec<Did>) {
        let port = if datagram.to == addr::auc_auth() { Port::Auth } else { Port::Acct };
        let origin = Origin::Datagram { peer: datagram.from, port };
        let reply = |bytes: &[u8]| vec![Datagram { from: datagram.to, to: datagram.from, bytes: bytes.to_vec() }];
        let (ticket, request) = match self.end.on_packet(now, &origin, &datagram.bytes) {
            Received::Asked { ticket, request, .. } => (ticket, request),
            Received::Answer(bytes) => return (reply(bytes), Vec::new()),
            Received::Nothing | Received::Close => return (Vec::new(), Vec::new()),
        };
        let asked = request.clone();
        let (answer, mut did) = match self.centre.on_request(now, &mut self.rng, request) {
            Verdict::Answer(answer) => (answer, vector(&asked, &answer)),
            // This one knows of no other domain.
            Verdict::Foreign { .. } => (AaaAnswer::Rejected, None),
            Verdict::Record(account) => {
                keep(now, store, &account);
                (AaaAnswer::Recorded, Some(Did::Recorded(account)))
            }
        };
        while let Some(notice) = self.centre.poll_notice() {
            did.get_or_insert(Did::Noted(format!("{notice:?}")));
        }
        let sent = self.end.answer(now, ticket, &answer).map(|(_, bytes)| reply(bytes)).unwrap_or_default();
        (sent, did.into_iter().collect())
    }
}

fn vector(asked: &AaaRequest, answer: &AaaAnswer) -> Option<Did> {
    let AaaRequest::Authenticate(a) = asked else { return None };
    let idc = a.idc.clone();
    match (a.scheme, answer) {
        (Scheme::Pkd1 { n1 }, AaaAnswer::Vector(s4)) => {
            Some(Did::Vector { idc, idsp: a.idsp.clone(), n1a: n1, s4: *s4 })
        }
        (Scheme::Digest { .. }, AaaAnswer::Digest(v)) => Some(Did::Digest { idc, rand: v.rand }),
        _ => None,
    }
}

fn keep(now: Now, store: &mut Store, a: &Account) {
    let (Some(idc), Some(idsp)) = (Idc::new(&a.idc), Idsp::new(&a.idsp)) else { return };
    let s11 = S11 { idc, idsp, rand: a.rand, ipc: (a.ip, 0).into(), event: a.event };
    match record(store.records.get(&a.idc), now.wall_ms, &s11) {
        Change::Keep(record) => {
            store.records.insert(a.idc.clone(), record);
        }
        Change::Remove => {
            store.records.remove(&a.idc);
        }
        Change::Ignore => {}
    }
}
