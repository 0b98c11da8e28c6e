//! The reference model: it sees everything that everybody sends and all keys, and says what the specification forbids.
//!
//! It never looks into a role's state for a verdict. What it holds against each message is what honest roles really
//! did: which s6 went where, which s7 the terminal that has Kc made, which vector the AuC drew. So a mistake in a role's
//! own checks cannot hide in the model.

mod access;
mod channels;
mod lanes;
mod streams;

use crate::auc::Did;
use crate::leaks::Leaks;
use crate::phone::Phone;
use crate::proxy::Told;
use crate::scenario::Scenario;
use channels::Chosen;
use core::net::SocketAddr;
use portunus_keydist::mech::Mech;
use portunus_keydist::schedule::{For, Secret, WrapCtx};
use portunus_keydist::steps::Registration;
use portunus_keydist::{Idc, Idsp, Key, N1, Rand, Word};
use portunus_signalling::Protocol;
use portunus_sip::view::Uri;
use std::collections::{BTreeMap, BTreeSet};

/// A proxy process: which proxy, and which of its lives.
pub type Life = (usize, u32);

/// What a worker remembers of an s1: process, worker, identity, N1a.
type Question = (Life, u64, String, N1);

struct Vector {
    idc: String,
    idsp: String,
    secret: Secret,
}

struct Challenge {
    rand: Rand,
    life: Life,
    to: SocketAddr,
    at: u64,
    used: bool,
}

/// What a terminal really answered to a challenge.
struct Response {
    rand: Rand,
    word: Word,
}

/// An s7 as it reached a proxy, on whatever way.
struct Arrived {
    idc: String,
    n2: Vec<u8>,
    word: Word,
}

struct Session {
    life: Life,
    idc: String,
    protocol: Protocol,
    n1b: N1,
    mechs: String,
    /// Where its s10 went.
    to: SocketAddr,
    chosen: Chosen,
    keyed: bool,
    active: bool,
    /// Messages with content, from the terminal and to it.
    said: (usize, usize),
}

/// Octets between a source that has proven nothing and a proxy.
#[derive(Default)]
struct Traffic {
    received: usize,
    sent: usize,
    proven: bool,
}

/// How long after its challenge an s10 may still come: the challenge's 10 s, and the core's 4 s with some to spare.
const CHALLENGE_MS: u64 = 10_000 + 4_000 + 500;

/// How long after it was accepted an N1 may not be accepted again: as long as any s1 that bears it may be fresh.
const REPLAY_MS: u64 = 2 * 30_000;

/// The model.
#[derive(Default)]
pub struct Oracle {
    /// What may not be seen anywhere.
    pub leaks: Leaks,
    /// The first thing that the specification forbids, and that happened.
    pub violation: Option<String>,
    devices: BTreeMap<String, Key>,
    subscribers: BTreeMap<String, Key>,
    vectors: BTreeMap<Rand, Vector>,
    challenges: BTreeMap<Vec<u8>, Challenge>,
    answered: BTreeMap<Question, (Rand, SocketAddr, u64)>,
    workers: u64,
    /// By identity and N2a.
    responses: BTreeMap<(String, Vec<u8>), Response>,
    /// What a terminal offered, by its number and N1b.
    offers: BTreeMap<(usize, N1), String>,
    allowed: Vec<Mech>,
    sessions: Vec<Session>,
    by_message: BTreeMap<Vec<u8>, usize>,
    /// Active sessions by the number that their proxy tells.
    by_kid: BTreeMap<(Life, u64), usize>,
    /// The session granted last to somebody on a worker: the one that is active when any is.
    newest: BTreeMap<(Life, u64, String), usize>,
    by_phone: BTreeMap<(usize, u64), usize>,
    granted: BTreeSet<(String, N1)>,
    authenticated: BTreeSet<(String, Rand)>,
    /// Who ever had an active session, and at which proxy since when.
    ever_active: BTreeMap<(String, usize), u64>,
    /// Who has an active session at which proxy, by its handle there.
    lives: BTreeMap<(String, usize), u64>,
    /// Since when somebody is bound through a proxy.
    bound_since: BTreeMap<(String, usize), u64>,
    /// Through which proxies somebody was reached when it was last looked at, in this order.
    places: BTreeMap<String, Vec<usize>>,
    traffic: BTreeMap<(Life, SocketAddr), Traffic>,
    said: BTreeMap<Vec<u8>, String>,
    /// What a proxy can have given a key for, by N1b.
    arrived: BTreeMap<(Life, N1), Vec<Arrived>>,
    lanes: lanes::Lanes,
    channels: channels::Channels,
    streams: streams::Streams,
    by_rand: BTreeMap<Rand, Vec<u8>>,
    /// Stock phones, and where they are.
    stock: BTreeMap<String, SocketAddr>,
    /// Digest challenges, and whose they are.
    digests: BTreeMap<Rand, String>,
}

impl core::fmt::Debug for Oracle {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Oracle({} sessions)", self.sessions.len())
    }
}

impl Oracle {
    /// A model that knows the proxies' keys, and watches for all long-term keys.
    pub fn new(scenario: &Scenario, devices: &BTreeMap<String, Key>, subscribers: &BTreeMap<String, Key>) -> Self {
        let (devices, subscribers) = (devices.clone(), subscribers.clone());
        let (workers, allowed) = (u64::from(scenario.workers), scenario.allowed.to_vec());
        let mut oracle = Self { workers, allowed, devices, subscribers, ..Self::default() };
        for (name, key) in oracle.devices.iter().chain(&oracle.subscribers) {
            oracle.leaks.watch(&format!("the key of {name}"), key.expose());
        }
        oracle.leaks.watch("the RADIUS secret", crate::switch::RADIUS_SECRET);
        oracle
    }

    /// The AuC uses another key for a proxy from now on.
    pub(crate) fn rekeyed(&mut self, name: &str, key: Key) {
        self.leaks.watch(&format!("the new key of {name}"), key.expose());
        self.devices.insert(name.to_owned(), key);
    }

    /// Notes a violation; the first one counts.
    pub fn forbid(&mut self, what: impl Into<String>) {
        self.violation.get_or_insert_with(|| what.into());
    }

    fn hold(&mut self, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            self.forbid(what());
        }
    }

    /// Any datagram leaves anybody, or any text is written.
    pub fn look(&mut self, where_: &str, octets: &[u8]) {
        if let Some(what) = self.leaks.find(octets).map(str::to_owned) {
            self.forbid(format!("{what} is visible in {where_}"));
        }
    }

    /// The AuC did something.
    pub fn auc(&mut self, did: &Did) {
        match did {
            Did::Vector { idc, idsp, n1a, s4 } => {
                let (Some(id), Some(sp), Some(key)) = (Idc::new(idc), Idsp::new(idsp), self.devices.get(idsp)) else {
                    return self.forbid("the AuC answered for a proxy that it does not know");
                };
                let ctx = WrapCtx { idc: id, idsp: sp, rand: &s4.rand, n1a };
                let Ok(k) = key.prk().unwrap(For::Proxy, &ctx, &s4.eksp) else {
                    return self.forbid("the AuC made a wrap that its proxy cannot open");
                };
                self.leaks.watch(&format!("a session key of {idc}"), k.expose());
                let vector = Vector { idc: idc.clone(), idsp: idsp.clone(), secret: k.secret(&s4.rand) };
                let twice = self.vectors.insert(s4.rand, vector).is_some();
                self.hold(!twice, || "a Rand, and with it a wrap key, was used twice".into());
            }
            Did::Recorded(a) if a.event != Registration::Stop => {
                let proven = self.authenticated.contains(&(a.idc.clone(), a.rand));
                // After a restart the softswitch names the record of a session that its proxy vouches for itself.
                let drawn = self.vectors.contains_key(&a.rand) || self.digests.contains_key(&a.rand);
                let vouched = !drawn && self.ever_active.keys().any(|(idc, _)| *idc == a.idc);
                self.hold(proven || vouched, || format!("the AuC records {} although it never answered", a.idc));
            }
            Did::Digest { idc, rand } => {
                let twice = self.digests.insert(*rand, idc.clone()).is_some();
                self.hold(!twice, || "a Rand was used twice".into());
            }
            Did::Noted(text) => self.look("a notice of the AuC", text.as_bytes()),
            Did::Recorded(_) => {}
        }
    }

    /// There is a stock phone.
    pub fn stock_phone(&mut self, idc: &str, at: SocketAddr, secret: &[u8]) {
        self.leaks.watch(&format!("the secret of {idc}"), secret);
        self.stock.insert(idc.to_owned(), at);
    }

    /// A stock phone answered a challenge.
    pub fn stock_answers(&mut self, idc: &str, rand: &Rand) {
        if self.digests.get(rand).is_some_and(|i| i == idc) {
            self.authenticated.insert((idc.to_owned(), *rand));
        }
    }

    /// A terminal took a datagram and now holds a key.
    pub fn phone_keyed(&mut self, phone: &Phone, kid: u64, taken: &[u8]) {
        let Some(index) = self.by_message.get(taken).copied() else {
            return self.forbid(format!("{} accepted an s10 that no proxy made", phone.idc));
        };
        let Some(s) = self.sessions.get_mut(index) else { return };
        s.keyed = true;
        let mine = s.idc == phone.idc && s.life.0 == phone.proxy;
        let offered = self.offers.get(&(phone.index, s.n1b));
        let (own, list) = (offered.is_some(), offered.is_none_or(|list| *list == s.mechs));
        let (chosen, strongest) = (s.mech(), offered.and_then(|list| self.strongest(list, phone.protocol)));
        self.by_phone.insert((phone.index, kid), index);
        self.hold(mine, || format!("{} accepted somebody else's s10", phone.idc));
        self.hold(own, || format!("{} accepted an s10 for an N1 that is not its own", phone.idc));
        self.hold(list, || format!("{} accepted an s10 that echoes another list than its own", phone.idc));
        let best = strongest == Some(chosen);
        self.hold(best, || format!("{} accepted {chosen:?} where {strongest:?} is the strongest agreed", phone.idc));
    }

    /// A terminal heard its proxy under the new key.
    pub fn phone_active(&mut self, phone: &Phone, kid: u64) {
        let session = self.by_phone.get(&(phone.index, kid)).and_then(|i| self.sessions.get(*i));
        // A handshake of TLS is complete at the terminal before its last octets reach the proxy; that the proxy holds the
        // key is proven by then (RFC 8446 section 4.4.4).
        let confirmed = session.is_some_and(|s| s.active || s.mech() == Mech::Tls);
        self.hold(confirmed, || format!("{} is active, and its proxy does not know", phone.idc));
    }

    /// An engine told something.
    pub fn proxy_told(&mut self, now_ms: u64, life: Life, told: &Told) {
        let (idc, kid, keyed) = match told {
            Told::Active { idc, kid, keyed } => (idc, kid, keyed),
            Told::Ended { idc, kid } => {
                let at = (idc.clone(), life.0);
                if self.lives.get(&at) == Some(kid) {
                    self.lives.remove(&at);
                }
                return;
            }
        };
        if !keyed {
            let phone = self.stock.contains_key(idc);
            return self.hold(phone, || format!("{idc} is admitted as a stock phone, and is none"));
        }
        let Some(index) = self.newest.get(&(life, kid >> 56, idc.clone())).copied() else {
            return self.forbid(format!("a session of {idc} is active and was never granted"));
        };
        let taken = self.by_kid.insert((life, *kid), index).is_some();
        self.hold(!taken, || "a kid was given out twice".into());
        let Some(session) = self.sessions.get_mut(index) else { return };
        session.active = true;
        let keyed = session.keyed;
        self.ever_active.entry((idc.clone(), life.0)).or_insert(now_ms);
        self.lives.insert((idc.clone(), life.0), *kid);
        self.hold(keyed, || format!("a session of {idc} is active before its terminal confirmed the key"));
    }

    /// A terminal is about to say this to another.
    pub fn saying(&mut self, phone: &Phone, body: &[u8]) {
        self.said.insert(body.to_vec(), phone.idc.clone());
    }

    /// A request reached a terminal inside its session. Those of a core that names nobody are held against what was said
    /// on its lane ((`lanes`)).
    pub fn heard(&mut self, phone: &Phone, from: &str, body: &[u8]) {
        if phone.protocol == Protocol::Sip {
            self.heard_by(&phone.idc, from, body);
        }
    }

    /// A request reached somebody, on whatever way.
    pub fn heard_by(&mut self, who: &str, from: &str, body: &[u8]) {
        let real = body.is_empty() || self.said.get(body).is_some_and(|idc| from.contains(idc.as_str()));
        self.hold(real, || format!("{who} heard something that {from} never said"));
    }

    /// The softswitch has a binding for an identity.
    pub fn bound(&mut self, idc: &str, binding: &str) {
        let proven = self.authenticated.iter().any(|(i, _)| i == idc);
        self.hold(proven, || format!("{idc} is bound and never answered a challenge"));
        if !binding.starts_with("sip:") {
            return;
        }
        // A terminal's location is its proxy, whatever anybody said in a Contact.
        let uri = Uri::parse(binding.as_bytes());
        let token = uri.and_then(|u| u.token()).is_some_and(|t| t.as_idc().as_str() == idc);
        let inside = binding.contains("@192.0.2.") && token || self.stock.contains_key(idc);
        self.hold(inside, || format!("{idc} is bound to {binding}, which is not its proxy"));
    }

    /// The softswitch would try these proxies for an identity, in this order.
    pub fn placed(&mut self, now_ms: u64, idc: &str, proxies: &[usize]) {
        let former = self.places.insert(idc.to_owned(), proxies.to_vec()).unwrap_or_default();
        if let (Some(was), Some(first)) = (former.first(), proxies.first()) {
            let active = |p: &usize| self.ever_active.contains_key(&(idc.to_owned(), *p));
            // What waited beside may be tried once the place where it was has ended by itself.
            let replaced = was != first && (proxies.contains(was) || !former.contains(first));
            // Where it was it may have ended, and have begun elsewhere, since the last look.
            let lives = self.lives.contains_key(&(idc.to_owned(), *was));
            let moved = replaced && lives && !active(first);
            self.hold(!moved, || format!("a registration that nobody confirmed moved {idc} to another proxy"));
        }
        self.bound_since.retain(|(who, p), _| who != idc || proxies.contains(p));
        for p in proxies {
            self.bound_since.entry((idc.to_owned(), *p)).or_insert(now_ms);
        }
        let Some(first) = proxies.first().map(|p| (idc.to_owned(), *p)) else { return };
        let since = self.bound_since.get(&first);
        // Somewhere else it was bound, and active, before it was bound there; and there it never was active.
        let earlier = |p: &usize| {
            let at = (idc.to_owned(), *p);
            self.bound_since.get(&at) < since && self.ever_active.get(&at).is_some_and(|t| Some(t) < since)
        };
        let moved = !self.ever_active.contains_key(&first) && proxies.iter().any(earlier);
        self.hold(!moved, || format!("a registration that nobody confirmed moved {idc} to another proxy"));
    }

    /// True when both ends hold this session and it is the same one: the terminal knows it as `kid`, the proxy as `theirs`.
    pub fn agreed(&self, phone: &Phone, life: Life, kid: u64, theirs: u64) -> bool {
        let index = self.by_kid.get(&(life, theirs));
        index.is_some() && index == self.by_phone.get(&(phone.index, kid))
    }

    /// What was seen of each mechanism, in the order of [`MECHS`].
    pub fn totals(&self) -> [Seen; 3] {
        MECHS.map(|mech| {
            let of = || self.sessions.iter().filter(move |s| s.mech() == mech);
            Seen {
                granted: of().count(),
                active: of().filter(|s| s.active).count(),
                up: of().map(|s| s.said.0).sum(),
                down: of().map(|s| s.said.1).sum(),
            }
        })
    }
}

/// All mechanisms.
pub const MECHS: [Mech; 3] = [Mech::Sealed, Mech::Esp, Mech::Tls];

/// What was seen of a mechanism.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Seen {
    /// Sessions granted.
    pub granted: usize,
    /// Of those, confirmed.
    pub active: usize,
    /// Messages with content from terminals.
    pub up: usize,
    /// And from proxies.
    pub down: usize,
}

impl Seen {
    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            granted: self.granted + other.granted,
            active: self.active + other.active,
            up: self.up + other.up,
            down: self.down + other.down,
        }
    }
}
