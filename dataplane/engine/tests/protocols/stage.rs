//! A terminal, the proxy's engine and a core that is softswitch and AuC together, in any dialect.

#![allow(unreachable_pub)]

use super::common::{Heard, IDSP, REALM, Recorder, Seeded, Session, capacity};
use super::dialect::*;
use portunus_channel::esp::Esp;
use portunus_channel::sealed::Sealed;
use portunus_engine::{
    Config, CorePacket, Counters, Engine, Keys, Lane, Listener, ListenerKind, Meta, Packet, Policy, Routes, To,
};
use portunus_keydist::mech::{Mech, MechList, Sel};
use portunus_keydist::schedule::{For, Key as Kc, SessionKey, TrafficCtx, WrapCtx, message_mac};
use portunus_keydist::steps::{S1, S7, S9};
use portunus_keydist::{Idc, Idsp, N1, Now, Rand, Random, Word};
use portunus_signalling::{Protocol, Transport};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

pub const ACCESS: u8 = 0;
pub const SEALED: u8 = 1;
pub const ESP: u8 = 2;

pub struct Terminal {
    pub idc: String,
    key: Kc,
    pub addr: SocketAddr,
    pub t: u32,
    pub n1a: N1,
    pub n1b: N1,
    pub rand: Rand,
    pub session: Option<Session>,
    pub mechs: MechList,
    protocol: Protocol,
    rng: Seeded,
}

/// What left: to terminals, and to the core with its lane.
pub type Left = (Vec<Vec<u8>>, Vec<(Lane, Vec<u8>)>);

/// What waits for its s8: by challenge, the word awaited, the wraps and N1a.
type Awaited = BTreeMap<Rand, (Word, S9, N1)>;

/// Softswitch and AuC together, as small as can be.
pub struct Core {
    pub dialect: &'static dyn Dialect,
    keys: BTreeMap<String, Kc>,
    proxy: Kc,
    pub awaited: Awaited,
    /// Wrong words get another challenge.
    pub again: bool,
    t: u32,
    rng: Seeded,
}

pub struct Stage {
    pub dialect: &'static dyn Dialect,
    pub engine: Engine,
    pub sink: Recorder,
    pub now: Now,
    pub core: Core,
    /// What the core has heard besides steps, with the lane.
    pub heard: Vec<(Lane, Vec<u8>)>,
}

/// Ksp.
pub fn proxy_key() -> Kc {
    Kc::new([0x5a; 32])
}

pub fn idsp() -> Idsp<'static> {
    Idsp::new(IDSP).unwrap()
}

impl Terminal {
    fn idc(&self) -> Idc<'_> {
        Idc::new(&self.idc).unwrap()
    }

    pub fn meta(&self) -> Meta {
        Meta { source: self.addr, listener: ACCESS, conn: 0 }
    }

    pub fn sealed_meta(&self) -> Meta {
        let esp = self.session.as_ref().is_some_and(|session| session.mech() == Mech::Esp);
        Meta { listener: if esp { ESP } else { SEALED }, ..self.meta() }
    }

    pub fn next(&mut self) -> u32 {
        self.t += 1;
        self.t
    }

    pub fn s1(&mut self, d: &dyn Dialect, now: Now) -> Vec<u8> {
        self.n1a = N1::from_bits(self.rng.next_u64());
        self.s1_again(d, now, None)
    }

    pub fn s1_again(&mut self, d: &dyn Dialect, now: Now, cookie: Option<&[u8]>) -> Vec<u8> {
        let t = self.next();
        d.s1(t, &S1 { idc: self.idc(), idsp: idsp(), n1: self.n1a, ts: now.wall_ms, cookie })
    }

    /// Answers s6; `key` is Kc, or what is held for it.
    pub fn s7_with(&mut self, d: &dyn Dialect, now: Now, s6: &[u8], key: &Kc) -> Vec<u8> {
        let Said::Challenge { n2, rand, .. } = d.said(s6) else { panic!("no challenge") };
        (self.rand, self.n1b) = (rand, N1::from_bits(self.rng.next_u64()));
        let auth_c = key.prk().word(self.idc(), idsp(), &rand);
        let (t, mechs) = (self.next(), self.mechs);
        let s7 = S7 {
            idc: self.idc(),
            idsp: Some(idsp()),
            n1: self.n1b,
            n2: &n2,
            ts: now.wall_ms,
            rand: Some(rand),
            auth_c,
            mechs,
        };
        d.s7(t, s6, &s7)
    }

    pub fn s7(&mut self, d: &dyn Dialect, now: Now, s6: &[u8]) -> Vec<u8> {
        let key = self.key.clone();
        self.s7_with(d, now, s6, &key)
    }

    /// Takes s10 in as the specification says; true when all of it holds.
    pub fn on_s10(&mut self, d: &dyn Dialect, octets: &[u8]) -> bool {
        let Some(s10) = d.key(octets) else { return false };
        let ctx = WrapCtx { idc: self.idc(), idsp: idsp(), rand: &self.rand, n1a: &self.n1a };
        let Ok(key) = self.key.prk().unwrap(For::Terminal, &ctx, &s10.ekc) else { return false };
        let secret = key.secret(&self.rand);
        let made = message_mac(&secret.mac_key(), octets, s10.mac, d.signalling().mac_placeholder());
        if made != Some(s10.mac_value) || s10.n1 != self.n1b || s10.mechs != self.mechs.as_str() {
            return false;
        }
        let Ok(sel) = Sel::parse(&s10.sel) else { return false };
        let ctx = TrafficCtx { idc: self.idc(), idsp: idsp(), n1b: &self.n1b, n2b: &s10.n2, token: sel.mech().token() };
        self.session = Some(Session::agreed(&self.mechs, &sel, self.protocol, &secret, &ctx));
        true
    }

    pub fn seal(&mut self, protocol: u8, content: &[u8]) -> Vec<u8> {
        self.session.as_mut().expect("a session").seal(protocol, content)
    }

    pub fn open(&self, octets: &[u8]) -> Option<(u8, Vec<u8>)> {
        self.session.as_ref()?.open(octets)
    }
}

pub fn mechs() -> MechList {
    MechList::from_text("x-pkd-sealed;q=0.9 tls;q=0.5").unwrap()
}

impl Core {
    pub fn new(dialect: &'static dyn Dialect, seed: u64) -> Self {
        let (keys, awaited) = (BTreeMap::new(), BTreeMap::new());
        Self { dialect, keys, proxy: proxy_key(), awaited, again: false, t: 7000, rng: Seeded(seed) }
    }

    /// A terminal with a key that the AuC knows.
    pub fn terminal(&mut self, nth: usize, addr: &str) -> Terminal {
        self.terminal_as(self.dialect.idcs()[nth], addr)
    }

    pub fn terminal_as(&mut self, idc: &str, addr: &str) -> Terminal {
        let idc = idc.to_owned();
        let key = Kc::new(core::array::from_fn(|i| idc.as_bytes()[i % idc.len()] ^ i as u8));
        self.keys.insert(idc.clone(), key.clone());
        let (addr, zero): (SocketAddr, _) = (addr.parse().unwrap(), N1::from_bits(0));
        let rng = Seeded(idc.bytes().fold(u64::from(addr.port()), |n, b| n.wrapping_mul(31).wrapping_add(b.into())));
        let (mechs, protocol) = (mechs(), self.dialect.signalling().protocol());
        Terminal { idc, key, addr, t: 40, n1a: zero, n1b: zero, rand: [0; 16], session: None, mechs, protocol, rng }
    }

    pub fn next(&mut self) -> u32 {
        self.t += 1;
        self.t
    }

    fn vector(&mut self, idc: Idc<'_>, n1a: N1) -> Rand {
        let (rand, session): (Rand, _) = (self.rng.array(), SessionKey::new(self.rng.array()));
        let nobody = Kc::new(self.rng.array());
        let kc = self.keys.get(idc.as_str()).unwrap_or(&nobody).prk();
        let ctx = WrapCtx { idc, idsp: idsp(), rand: &rand, n1a: &n1a };
        let (ekc, eksp) = (kc.wrap(For::Terminal, &ctx, &session), self.proxy.prk().wrap(For::Proxy, &ctx, &session));
        self.awaited.insert(rand, (kc.word(idc, idsp(), &rand), S9 { ekc, eksp }, n1a));
        rand
    }

    /// What the core says to a message of the proxy's.
    pub fn answer(&mut self, octets: &[u8]) -> Vec<Vec<u8>> {
        let (d, t) = (self.dialect, self.next());
        let step = match d.asked(octets) {
            Asked::Other => return Vec::new(),
            Asked::S2 { idc, n1 } => {
                let idc = Idc::new(&idc).unwrap();
                let rand = self.vector(idc, n1);
                d.s5(t, octets, idsp(), idc, &n1, &rand)
            }
            Asked::S8 { idc, rand, word } => {
                let idc = Idc::new(&idc).unwrap();
                match self.awaited.remove(&rand) {
                    Some((awaited, s9, _)) if awaited == word => d.s9(t, octets, idsp(), idc, &rand, &s9),
                    Some((_, _, n1a)) if self.again => {
                        let rand = self.vector(idc, n1a);
                        d.s5(t, octets, idsp(), idc, &n1a, &rand)
                    }
                    _ => d.fail(t, octets, idsp(), idc, Named::Rand(rand)),
                }
            }
        };
        d.receipt(octets).into_iter().chain([step]).collect()
    }
}

impl Stage {
    pub fn new(dialect: &'static dyn Dialect) -> Self {
        Self::with(dialect, Policy::default())
    }

    pub fn with(dialect: &'static dyn Dialect, policy: Policy) -> Self {
        let access =
            ListenerKind::Access { signalling: dialect.signalling(), transport: Transport::Udp, stock_phones: false };
        let at = |port, kind| Listener { address: SocketAddr::from(([203, 0, 113, 5], port)), kind };
        let config = Config {
            workers: 4,
            worker: 3,
            idsp: IDSP.into(),
            realm: REALM.into(),
            routes: Routes::default(),
            core: "10.0.0.1:5070".parse().unwrap(),
            listeners: vec![
                at(2944, access),
                at(5065, ListenerKind::Protected(&Sealed)),
                at(4500, ListenerKind::Protected(&Esp)),
            ],
            capacity: capacity(),
        };
        let mut rng = Seeded(1);
        let keys = Keys::new(proxy_key().prk(), &mut rng);
        let engine = Engine::new(config, Arc::new(policy), keys, Box::new(rng)).expect("a good configuration");
        Self {
            dialect,
            engine,
            sink: Recorder::default(),
            now: Now { mono_ms: 5_000_000, wall_ms: 1_700_000_000_000 },
            core: Core::new(dialect, 2),
            heard: Vec::new(),
        }
    }

    pub fn terminal(&mut self, nth: usize, addr: &str) -> Terminal {
        self.core.terminal(nth, addr)
    }

    /// What the core says to a message of the proxy's.
    pub fn answer(&mut self, octets: &[u8]) -> Vec<Vec<u8>> {
        self.core.answer(octets)
    }

    pub fn pass(&mut self, ms: u64) -> Vec<Vec<u8>> {
        self.now.mono_ms += ms;
        self.now.wall_ms += ms;
        while self.engine.next_deadline().is_some_and(|(at, _)| at <= self.now.mono_ms) {
            self.engine.on_timer(self.now, &mut self.sink);
        }
        self.split().0
    }

    /// What left, to terminals and to the core.
    fn split(&mut self) -> Left {
        let (mut down, mut up) = (Vec::new(), Vec::new());
        for (to, octets) in std::mem::take(&mut self.sink.out) {
            match to {
                To::Access { .. } => down.push(octets),
                To::Core { protocol, lane, .. } => {
                    assert_eq!(protocol, self.dialect.signalling().protocol());
                    up.push((lane, octets));
                }
            }
        }
        (down, up)
    }

    /// A message of the access side in; what leaves comes back, to terminals and to the core.
    pub fn access(&mut self, meta: Meta, octets: &[u8]) -> Left {
        let mut octets = octets.to_vec();
        self.engine.on_batch(self.now, &mut [Packet { meta, bytes: &mut octets }], &mut self.sink);
        self.split()
    }

    pub fn core_says(&mut self, lane: Lane, octets: &[u8]) -> Left {
        let packet = CorePacket { lane, affinity: 0, bytes: octets };
        self.engine.on_core(self.now, &[packet], self.dialect.signalling().protocol(), &mut self.sink);
        self.split()
    }

    /// In, to the core and back until nothing moves: what terminals are sent in the end, receipts left out.
    pub fn round(&mut self, meta: Meta, octets: &[u8]) -> Vec<Vec<u8>> {
        let (mut down, mut up) = self.access(meta, octets);
        while !up.is_empty() {
            for (lane, octets) in std::mem::take(&mut up) {
                let said = self.answer(&octets);
                if said.is_empty() {
                    self.heard.push((lane, octets));
                }
                for message in said {
                    let (further_down, further_up) = self.core_says(lane, &message);
                    down.extend(further_down);
                    up.extend(further_up);
                }
            }
        }
        down.retain(|octets| {
            octets.first() == Some(&0x51) || !matches!(self.dialect.said(octets), Said::Receipt { error: false })
        });
        down
    }

    /// As [`Stage::round`], where one message comes back.
    pub fn one(&mut self, meta: Meta, octets: &[u8]) -> Vec<u8> {
        let mut back = self.round(meta, octets);
        assert_eq!(back.len(), 1, "one answer");
        back.remove(0)
    }

    /// s1 to s10 and the confirmation.
    pub fn register(&mut self, terminal: &mut Terminal) {
        let (d, now) = (self.dialect, self.now);
        let s1 = terminal.s1(d, now);
        let s6 = self.one(terminal.meta(), &s1);
        let s7 = terminal.s7(d, now, &s6);
        let s10 = self.one(terminal.meta(), &s7);
        assert!(terminal.on_s10(d, &s10), "s10 holds");
        let confirmation = terminal.seal(0, b"");
        let (down, up) = self.access(terminal.sealed_meta(), &confirmation);
        assert!(up.is_empty());
        assert_eq!(down.iter().map(|octets| terminal.open(octets)).collect::<Vec<_>>(), [Some((0, Vec::new()))]);
    }

    pub fn active(&mut self, nth: usize, addr: &str) -> Terminal {
        let mut terminal = self.terminal(nth, addr);
        self.register(&mut terminal);
        self.heard.clear();
        terminal
    }

    /// A terminal's message inside its session: what the core gets, and what comes back opened.
    pub fn inside(&mut self, terminal: &mut Terminal, octets: &[u8]) -> Left {
        let datagram = terminal.seal(self.dialect.signalling().protocol() as u8, octets);
        let (down, up) = self.access(terminal.sealed_meta(), &datagram);
        (down.iter().map(|octets| terminal.open(octets).expect("sealed for it").1).collect(), up)
    }

    /// The core's message on a lane: what the terminal gets, opened, and what goes back.
    pub fn outside(&mut self, terminal: &Terminal, lane: Lane, octets: &[u8]) -> Left {
        let (down, up) = self.core_says(lane, octets);
        (down.iter().map(|octets| terminal.open(octets).expect("sealed for it").1).collect(), up)
    }

    pub fn count(&self) -> Counters {
        *self.engine.counters()
    }

    pub fn ended(&self) -> usize {
        self.sink.events.iter().filter(|event| matches!(event, Heard::Ended { .. })).count()
    }
}
