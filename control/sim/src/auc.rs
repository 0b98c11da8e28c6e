//! The authentication centre as the simulator runs it: the real RADIUS end and the real role (vectors, decoys,
//! registration records) over subscribers in memory. What is on disk in production survives a crash here.

use crate::net::{Datagram, addr};
use crate::prng::Prng;
use crate::switch::RADIUS_SECRET;
use portunus_aaa::secret::SharedSecret;
use portunus_aaa::server::{ClientEntry, End, EndConfig, Origin, Port, Received};
use portunus_aaa::transport::RADIUS_UDP;
use portunus_aaa::{AaaAnswer, AaaRequest, Account, Authenticate, Scheme};
use portunus_keydist::auc::{Change, Decoy, Record, record, vector};
use portunus_keydist::steps::{S2, S4, S11};
use portunus_keydist::{Idc, Idsp, Key, Now};
use std::collections::BTreeMap;

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
    /// It was told of a registration.
    Recorded(Account),
}

/// What survives a crash: keys and records.
#[derive(Debug, Default)]
pub struct Store {
    /// Subscribers' keys.
    pub subscribers: BTreeMap<String, Key>,
    /// Proxies' and softswitches' keys.
    pub devices: BTreeMap<String, Key>,
    /// Who is registered.
    pub records: BTreeMap<String, Record>,
}

/// One AuC process over its store.
pub struct Auc {
    end: Box<dyn End>,
    rng: Prng,
    decoy: Decoy,
}

impl core::fmt::Debug for Auc {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Auc({:?}, {:?})", self.end.counters(), self.decoy)
    }
}

impl Auc {
    /// A process that has just started.
    pub fn start(rng: &mut Prng) -> Self {
        let client = ClientEntry::host("ss1", addr::switch().ip(), SharedSecret::new(*RADIUS_SECRET));
        let config = EndConfig { clients: vec![client], cache: 512, pending: 64, ..EndConfig::default() };
        let decoy = Decoy::new(Key::new([0xd5; 32]));
        Self { end: (RADIUS_UDP.end)(config, Box::new(rng.fork())), rng: rng.fork(), decoy }
    }

    /// A datagram for one of its ports.
    pub fn receive(&mut self, now: Now, store: &mut Store, datagram: &Datagram) -> (Vec<Datagram>, Option<Did>) {
        let port = if datagram.to == addr::auc_auth() { Port::Auth } else { Port::Acct };
        let origin = Origin::Datagram { peer: datagram.from, port };
        let reply = |bytes: &[u8]| vec![Datagram { from: datagram.to, to: datagram.from, bytes: bytes.to_vec() }];
        let (ticket, request) = match self.end.on_packet(now, &origin, &datagram.bytes) {
            Received::Asked { ticket, request, .. } => (ticket, request),
            Received::Answer(bytes) => return (reply(bytes), None),
            Received::Nothing | Received::Close => return (Vec::new(), None),
        };
        let (answer, did) = match request {
            AaaRequest::Authenticate(a) => self.authenticate(store, &a),
            AaaRequest::Account(a) => account(now, store, a),
        };
        let sent = self.end.answer(now, ticket, &answer).map(|(_, bytes)| reply(bytes)).unwrap_or_default();
        (sent, did)
    }

    fn authenticate(&mut self, store: &Store, a: &Authenticate) -> (AaaAnswer, Option<Did>) {
        let names = (Idc::new(&a.idc), Idsp::new(&a.idsp));
        let (Scheme::Pkd1 { n1 }, (Some(idc), Some(idsp))) = (a.scheme, names) else {
            return (AaaAnswer::Rejected, None);
        };
        let s3 = S2 { idc, idsp, n1 };
        let (kc, device) = (store.subscribers.get(&a.idc), store.devices.get(&a.idsp));
        match vector(&mut self.rng, kc, &self.decoy, device, &s3) {
            Ok(s4) => {
                let did = Did::Vector { idc: a.idc.clone(), idsp: a.idsp.clone(), n1a: n1, s4 };
                (AaaAnswer::Vector(s4), Some(did))
            }
            Err(_) => (AaaAnswer::Rejected, None),
        }
    }
}

fn account(now: Now, store: &mut Store, a: Account) -> (AaaAnswer, Option<Did>) {
    let (Some(idc), Some(idsp)) = (Idc::new(&a.idc), Idsp::new(&a.idsp)) else { return (AaaAnswer::Rejected, None) };
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
    (AaaAnswer::Recorded, Some(Did::Recorded(a)))
}
