//! A world around one engine: a phone that knows the protocol, a core that answers as softswitch and AuC together, a
//! sink that keeps what leaves. SIP carries it; the engine does not know.
#![allow(dead_code, unreachable_pub)]

pub mod script;
pub mod session;

use portunus_channel::esp::Esp;
use portunus_channel::kernel::Pair;
use portunus_channel::sealed::Sealed;
use portunus_channel::tls;
use portunus_codec::Writer;
use portunus_engine::{
    Affinity, Capacity, Command, Config, CorePacket, Counters, EndReason, Engine, Event, Keys, Listener, ListenerKind,
    Meta, Packet, Policy, Routes, Sink, To,
};
use portunus_keydist::mech::{Mech, MechList, Sel};
use portunus_keydist::schedule::{For, Key, SessionKey, TrafficCtx, WrapCtx, message_mac};
use portunus_keydist::steps::{S1, S6, S7, S9};
use portunus_keydist::{Idc, Idsp, N1, Now, Prk, Rand, Random, Word};
use portunus_signalling::{Protocol, Signalling, Transport};
use portunus_sip::carriage::core::{self as core_side, Ask, Granted};
use portunus_sip::carriage::terminal::{self as ua, Agent, Answer, Txn};
use portunus_sip::view::Message;
use portunus_sip::{MAC_PLACEHOLDER, Sip};
pub use session::Session;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

pub static SIP: Sip = Sip;
pub const IDSP: &str = "sp1.example.test";
pub const REALM: &str = "example.test";
/// Indices of the world's listeners.
pub const UDP: u8 = 0;
pub const SEALED: u8 = 1;
pub const STOCK: u8 = 2;
pub const TCP: u8 = 3;
pub const ESP: u8 = 4;
pub const TLS: u8 = 5;
/// Those of a world whose kernel does ESP.
pub const ROWS: [u8; 2] = [6, 7];

/// A seeded generator (SplitMix64): the same run from the same seed.
#[derive(Clone)]
pub struct Seeded(pub u64);

impl Random for Seeded {
    fn fill(&mut self, out: &mut [u8]) {
        for chunk in out.chunks_mut(8) {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = self.0;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            chunk.copy_from_slice(&(z ^ (z >> 31)).to_le_bytes()[..chunk.len()]);
        }
    }
}

/// An event, owned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    Active { idc: String, kid: u64, keyed: bool },
    Ended { idc: String, kid: u64, why: EndReason },
}

/// Keeps what leaves.
#[derive(Default)]
pub struct Recorder {
    pub out: Vec<(To, Vec<u8>)>,
    pub events: Vec<Heard>,
    pub core_is_full: bool,
    pub access_is_full: bool,
    /// Connections that were to be closed.
    pub hung_up: Vec<u32>,
    /// What the kernel was asked for, and what it need not have any more.
    pub installs: Vec<Pair>,
    pub uninstalls: Vec<u64>,
    pub kernel_is_full: bool,
}

impl Sink for Recorder {
    fn send(&mut self, to: To, write: &mut dyn FnMut(&mut [u8]) -> Option<usize>) -> bool {
        let full = match to {
            To::Core { .. } => self.core_is_full,
            To::Access { .. } => self.access_is_full,
        };
        if full {
            return false;
        }
        let mut buf = vec![0u8; 4096];
        if let Some(len) = write(&mut buf) {
            buf.truncate(len);
            self.out.push((to, buf));
        }
        true
    }

    fn install(&mut self, pair: Pair) -> bool {
        if !self.kernel_is_full {
            self.installs.push(pair);
        }
        !self.kernel_is_full
    }

    fn uninstall(&mut self, kid: u64) {
        self.uninstalls.push(kid);
    }

    fn hang_up(&mut self, conn: u32) {
        self.hung_up.push(conn);
    }

    fn event(&mut self, event: Event<'_>) {
        self.events.push(match event {
            Event::Active { idc, kid, keyed } => Heard::Active { idc: idc.as_str().into(), kid, keyed },
            Event::Ended { idc, kid, why } => Heard::Ended { idc: idc.as_str().into(), kid, why },
        });
    }
}

/// Softswitch and AuC together, as small as can be.
pub struct Core {
    pub subscribers: BTreeMap<String, Key>,
    pub proxy: Key,
    pub retries: u8,
    /// By challenge: the word awaited, the wraps, N1a and the retries left.
    pub asked: BTreeMap<Rand, (Word, S9, N1, u8)>,
    pub rands: Vec<Rand>,
    pub rng: Seeded,
}

impl Core {
    fn vector(&mut self, idc: Idc<'_>, idsp: Idsp<'_>, n1a: N1, retries: u8) -> Rand {
        let rand: Rand = self.rng.array();
        let session = SessionKey::new(self.rng.array());
        let nobody = Key::new(self.rng.array());
        let kc = self.subscribers.get(idc.as_str()).unwrap_or(&nobody).prk();
        let ctx = WrapCtx { idc, idsp, rand: &rand, n1a: &n1a };
        let s9 =
            S9 { ekc: kc.wrap(For::Terminal, &ctx, &session), eksp: self.proxy.prk().wrap(For::Proxy, &ctx, &session) };
        self.asked.insert(rand, (kc.word(idc, idsp, &rand), s9, n1a, retries));
        self.rands.push(rand);
        rand
    }

    /// The answer to one message of the proxy's.
    pub fn answer(&mut self, octets: &[u8]) -> Vec<u8> {
        let msg = Message::parse(octets).expect("the proxy sends what can be read");
        let register = core_side::read_register(&msg).expect("a registration of the proxy's");
        let mut buf = vec![0u8; 4096];
        let mut w = Writer::new(&mut buf);
        let contact = msg.contacts().next().map(|c| c.uri).unwrap_or_default();
        let granted = [Granted { uri: contact, expires: 3600 }];
        match register.ask {
            Ask::S2(s2) => {
                let rand = self.vector(s2.idc, s2.idsp, s2.n1, self.retries);
                core_side::write_s5(&msg, "core", REALM, s2.idsp, &rand, &mut w).unwrap();
            }
            Ask::S8(s8) => match self.asked.remove(&s8.rand) {
                Some((word, s9, ..)) if word == s8.auth_c => {
                    core_side::write_s9(&msg, "core", &s9, &granted, &mut w).unwrap();
                }
                Some((.., n1a, retries)) if retries > 0 => {
                    let rand = self.vector(s8.idc, s8.idsp, n1a, retries - 1);
                    core_side::write_s5(&msg, "core", REALM, s8.idsp, &rand, &mut w).unwrap();
                }
                _ => core_side::write_status(&msg, "core", 403, "Forbidden", None, &mut w).unwrap(),
            },
            Ask::Refresh => core_side::write_granted(&msg, "core", &granted, &mut w).unwrap(),
            Ask::DigestChallenge => {
                core_side::write_digest_challenge(&msg, "core", REALM, &[7; 16], "SHA-256", &mut w).unwrap();
            }
            Ask::DigestAnswer { response, .. } => {
                if response == [b'a'; 64] {
                    core_side::write_granted(&msg, "core", &granted, &mut w).unwrap();
                } else {
                    core_side::write_status(&msg, "core", 403, "Forbidden", None, &mut w).unwrap();
                }
            }
        }
        let len = w.finish().unwrap();
        buf.truncate(len);
        buf
    }
}

/// A terminal.
pub struct Phone {
    pub idc: String,
    pub prk: Prk,
    pub addr: SocketAddr,
    pub listener: u8,
    pub mechs: MechList,
    pub cseq: u32,
    pub n1a: N1,
    pub n1b: N1,
    pub rand: Rand,
    pub clock_ms: i64,
    pub session: Option<Session>,
    /// What an answer of mechanism `tls` leads to, and the proxy's port.
    pub tls: Option<(tls::Identity, tls::Psk, u16)>,
    pub rng: Seeded,
}

impl Phone {
    pub fn new(idc: &str, key: &Key, addr: &str) -> Self {
        let addr: SocketAddr = addr.parse().unwrap();
        let seed = idc.bytes().fold(u64::from(addr.port()), |n, b| n.wrapping_mul(31).wrapping_add(b.into()));
        Self {
            idc: idc.into(),
            prk: key.prk(),
            addr,
            listener: UDP,
            mechs: MechList::from_text("x-pkd-sealed;q=0.9 tls;q=0.5").unwrap(),
            cseq: 0,
            n1a: N1::from_bits(0),
            n1b: N1::from_bits(0),
            rand: [0; 16],
            clock_ms: 0,
            session: None,
            tls: None,
            rng: Seeded(seed),
        }
    }

    pub fn meta(&self) -> Meta {
        Meta { source: self.addr, listener: self.listener, conn: u32::from(self.listener == TCP) }
    }

    fn idc(&self) -> Idc<'_> {
        Idc::new(&self.idc).unwrap()
    }

    pub fn contact(&self) -> String {
        format!("sip:ua@{}", self.addr)
    }

    pub fn write(
        &mut self,
        write: impl FnOnce(&Agent<'_>, &Txn<'_>, &mut Writer<'_>) -> Result<(), portunus_codec::Full>,
    ) -> Vec<u8> {
        self.cseq += 1;
        let (branch, contact) = (format!("z9hG4bKphone{}", self.cseq), self.contact());
        let call_id = format!("call-{}", self.idc);
        let agent = Agent {
            idc: Idc::new(&self.idc).unwrap(),
            realm: REALM,
            registrar: "sip:example.test",
            local: self.addr,
            transport: if self.listener == TCP { Transport::Tcp } else { Transport::Udp },
            contact: &contact,
            call_id: &call_id,
            from_tag: "tag",
        };
        let mut buf = vec![0u8; 4096];
        let mut w = Writer::new(&mut buf);
        write(&agent, &Txn { cseq: self.cseq, branch: &branch }, &mut w).unwrap();
        let len = w.finish().unwrap();
        buf.truncate(len);
        buf
    }

    fn ts(&self, now: Now) -> u64 {
        now.wall_ms.checked_add_signed(self.clock_ms).unwrap()
    }

    pub fn s1(&mut self, now: Now) -> Vec<u8> {
        self.n1a = N1::from_bits(self.rng.next_u64());
        self.s1_again(now, None)
    }

    /// s1 with the same N1 and a new TS, as after a cookie.
    pub fn s1_again(&mut self, now: Now, cookie: Option<&[u8]>) -> Vec<u8> {
        let (idc, n1, ts) = (self.idc.clone(), self.n1a, self.ts(now));
        let s1 = S1 { idc: Idc::new(&idc).unwrap(), idsp: Idsp::new(IDSP).unwrap(), n1, ts, cookie };
        self.write(|a, t, w| ua::write_s1(a, t, 3600, &s1, w))
    }

    /// s7 for an s6, with the right word.
    pub fn s7(&mut self, now: Now, s6: &[u8]) -> Vec<u8> {
        let s6 = challenge(s6);
        let word = self.prk.word(self.idc(), s6.idsp, &s6.rand);
        self.s7_with(now, &s6, word)
    }

    pub fn s7_with(&mut self, now: Now, s6: &S6<'_>, auth_c: Word) -> Vec<u8> {
        self.n1b = N1::from_bits(self.rng.next_u64());
        self.rand = s6.rand;
        let (idc, mechs) = (self.idc.clone(), self.mechs);
        let s7 = S7 {
            idc: Idc::new(&idc).unwrap(),
            idsp: Some(s6.idsp),
            n1: self.n1b,
            n2: s6.n2,
            ts: self.ts(now),
            rand: Some(s6.rand),
            auth_c,
            mechs,
        };
        self.write(|a, t, w| ua::write_s7(a, t, 3600, &s7, w))
    }

    /// Takes s10 in as the specification says; true when all of it holds.
    pub fn on_s10(&mut self, octets: &[u8]) -> bool {
        let reply = ua::read_answer(octets).expect("an answer");
        let Answer::Key { s10, mac, mac_value } = reply.answer else { return false };
        let idsp = Idsp::new(IDSP).unwrap();
        let ctx = WrapCtx { idc: self.idc(), idsp, rand: &self.rand, n1a: &self.n1a };
        let Ok(key) = self.prk.unwrap(For::Terminal, &ctx, &s10.ekc) else { return false };
        let secret = key.secret(&self.rand);
        let made = message_mac(&secret.mac_key(), octets, mac.into(), MAC_PLACEHOLDER);
        let own_contact = ua::granted(octets, &self.contact()).is_some_and(|seconds| seconds <= 3600);
        if made != Some(mac_value) || s10.n1 != self.n1b || s10.mechs != self.mechs.as_str() || !own_contact {
            return false;
        }
        let sel = Sel::parse(s10.sel).unwrap();
        let (idc, token) = (Idc::new(&self.idc).unwrap(), sel.mech().token());
        let ctx = TrafficCtx { idc, idsp, n1b: &self.n1b, n2b: &s10.n2, token };
        if sel.mech() == Mech::Tls {
            let (id, psk) = tls::derive(&secret, &ctx);
            self.tls = Some((id, psk, sel.port().expect("a port")));
            return true;
        }
        self.session = Some(Session::agreed(&self.mechs, &sel, Protocol::Sip, &secret, &ctx));
        true
    }

    pub fn seal(&mut self, protocol: u8, content: &[u8]) -> Vec<u8> {
        self.session.as_mut().expect("a session").seal(protocol, content)
    }

    pub fn open(&self, octets: &[u8]) -> Option<(u8, Vec<u8>)> {
        self.session.as_ref()?.open(octets)
    }
}

/// The s6 that an answer must be.
pub fn challenge(octets: &[u8]) -> S6<'_> {
    match ua::read_answer(octets).expect("an answer").answer {
        Answer::Challenge(s6) => s6,
        other => panic!("no challenge: {other:?}"),
    }
}

/// The status of an answer.
pub fn status(octets: &[u8]) -> u16 {
    Message::parse(octets).expect("a message").status()
}

pub fn capacity() -> Capacity {
    Capacity {
        sessions: 64,
        session_text: 64 << 10,
        pendings: 64,
        request: 2048,
        message: 4096,
        answer_octets: 128 * 4096,
        answers: 512,
        replay: 4096,
        lockout: 64,
    }
}

pub fn config(capacity: Capacity) -> Config {
    let access =
        |transport, stock_phones| ListenerKind::Access { signalling: &SIP as &dyn Signalling, transport, stock_phones };
    let at = |port, kind| Listener { address: SocketAddr::new("203.0.113.5".parse().unwrap(), port), kind };
    Config {
        workers: 7,
        worker: 3,
        idsp: IDSP.into(),
        realm: REALM.into(),
        routes: Routes::default(),
        core: "10.0.0.1:5070".parse().unwrap(),
        listeners: vec![
            at(5060, access(Transport::Udp, false)),
            at(5065, ListenerKind::Protected(&Sealed)),
            at(5062, access(Transport::Udp, true)),
            at(5060, access(Transport::Tcp, false)),
            at(4500, ListenerKind::Protected(&Esp)),
            at(5061, ListenerKind::Tls { signalling: &SIP }),
        ],
        capacity,
    }
}

/// Everything together.
pub struct World {
    pub engine: Engine,
    pub core: Core,
    pub sink: Recorder,
    pub now: Now,
    /// What its phones offer.
    pub mechs: MechList,
}

impl World {
    pub fn new() -> Self {
        Self::with(Policy::default(), capacity())
    }

    /// A world whose policy and phones know this mechanism alone.
    pub fn under(mech: Mech) -> Self {
        let policy = Policy { mechanisms: [mech].into_iter().collect(), ..Policy::default() };
        let mut world = Self::with(policy, capacity());
        if mech == Mech::Esp {
            world.mechs = MechList::from_text("tls;q=0.9 ipsec-man;q=0.5;spi-c=3221225729;port-c=5066").unwrap();
        }
        world
    }

    /// As [`World::under`] with ESP, done by a kernel.
    pub fn with_kernel() -> Self {
        let policy = Policy { mechanisms: [Mech::Esp].into_iter().collect(), ..Policy::default() };
        let mut config = config(capacity());
        let address = |port| SocketAddr::new("203.0.113.5".parse().unwrap(), port);
        config.listeners.extend([(6_003, 0), (6_010, 1)].map(|(port, row)| Listener {
            address: address(port),
            kind: ListenerKind::Kernel { signalling: &SIP, outer: 4501, row },
        }));
        let mut world = Self::of(config, policy);
        world.mechs = MechList::from_text("ipsec-man;spi-c=3221225729;port-c=5066").unwrap();
        world
    }

    pub fn with(policy: Policy, capacity: Capacity) -> Self {
        Self::of(config(capacity), policy)
    }

    /// A world with several softswitches.
    pub fn routed(routes: Routes) -> Self {
        Self::of(Config { routes, ..config(capacity()) }, Policy::default())
    }

    fn of(config: Config, policy: Policy) -> Self {
        let (proxy, mut rng) = (Key::new([0x5a; 32]), Seeded(1));
        let keys = Keys::new(proxy.prk(), &mut rng);
        let engine = Engine::new(config, Arc::new(policy), keys, Box::new(rng)).expect("a good configuration");
        let (subscribers, asked) = (BTreeMap::new(), BTreeMap::new());
        let core = Core { subscribers, proxy, retries: 1, asked, rands: Vec::new(), rng: Seeded(2) };
        let now = Now { mono_ms: 5_000_000, wall_ms: 1_700_000_000_000 };
        let mechs = MechList::from_text("x-pkd-sealed;q=0.9 tls;q=0.5").unwrap();
        Self { engine, core, sink: Recorder::default(), now, mechs }
    }

    /// A terminal with a key that the AuC knows.
    pub fn phone(&mut self, idc: &str, addr: &str) -> Phone {
        let key = Key::new(core::array::from_fn(|i| idc.as_bytes()[i % idc.len()] ^ i as u8));
        let phone = Phone { mechs: self.mechs, ..Phone::new(idc, &key, addr) };
        self.core.subscribers.insert(idc.into(), key);
        phone
    }

    pub fn pass(&mut self, ms: u64) {
        self.now.mono_ms += ms;
        self.now.wall_ms += ms;
        while self.engine.next_deadline().is_some_and(|(at, _)| at <= self.now.mono_ms) {
            self.engine.on_timer(self.now, &mut self.sink);
        }
    }

    fn taken(&mut self) -> Vec<(To, Vec<u8>)> {
        std::mem::take(&mut self.sink.out)
    }

    /// One message of the access side in; what leaves comes back.
    pub fn access(&mut self, meta: Meta, octets: &[u8]) -> Vec<(To, Vec<u8>)> {
        let mut octets = octets.to_vec();
        self.engine.on_batch(self.now, &mut [Packet { meta, bytes: &mut octets }], &mut self.sink);
        self.taken()
    }

    /// As [`World::access`], of a whole batch.
    pub fn access_all(&mut self, mut batch: Vec<(Meta, Vec<u8>)>) -> Vec<(To, Vec<u8>)> {
        let mut packets: Vec<_> =
            batch.iter_mut().map(|(meta, octets)| Packet { meta: *meta, bytes: octets }).collect();
        self.engine.on_batch(self.now, &mut packets, &mut self.sink);
        self.taken()
    }

    pub fn core_says(&mut self, octets: &[u8]) -> Vec<(To, Vec<u8>)> {
        self.core_says_all(&[octets])
    }

    /// A message of the `nth` softswitch's.
    pub fn switch_says(&mut self, nth: usize, octets: &[u8]) -> Vec<(To, Vec<u8>)> {
        let packet = CorePacket { affinity: Affinity::from(nth).0, ..CorePacket::shared(octets) };
        self.engine.on_core(self.now, &[packet], Protocol::Sip, &mut self.sink);
        self.taken()
    }

    /// Several messages of the core's in one batch.
    pub fn core_says_all(&mut self, batch: &[&[u8]]) -> Vec<(To, Vec<u8>)> {
        let packets: Vec<_> = batch.iter().map(|octets| CorePacket::shared(octets)).collect();
        self.engine.on_core(self.now, &packets, Protocol::Sip, &mut self.sink);
        self.taken()
    }

    /// In, to the core and back: what comes back to the terminal in the end.
    pub fn round(&mut self, meta: Meta, octets: &[u8]) -> Vec<(To, Vec<u8>)> {
        let mut back = Vec::new();
        for (to, message) in self.access(meta, octets) {
            match to {
                To::Core { .. } => {
                    let answer = self.core.answer(&message);
                    back.extend(self.core_says(&answer));
                }
                To::Access { .. } => back.push((to, message)),
            }
        }
        back
    }

    /// As [`World::round`], where one message comes back, to the phone's own address.
    pub fn one(&mut self, phone: &Phone, octets: &[u8]) -> Vec<u8> {
        let mut back = self.round(phone.meta(), octets);
        assert_eq!(back.len(), 1, "one answer");
        let (to, answer) = back.remove(0);
        let Meta { source, listener, conn } = phone.meta();
        assert_eq!(to, To::Access { listener, conn, addr: source });
        answer
    }

    /// s1 to s10.
    pub fn register(&mut self, phone: &mut Phone) -> Vec<u8> {
        let s1 = phone.s1(self.now);
        let s6 = self.one(phone, &s1);
        let s7 = phone.s7(self.now, &s6);
        let s10 = self.one(phone, &s7);
        assert!(phone.on_s10(&s10), "s10 holds: {}", String::from_utf8_lossy(&s10));
        s10
    }

    /// The phone's meta at the port of its mechanism.
    pub fn sealed(&self, phone: &Phone) -> Meta {
        let esp = phone.session.as_ref().is_some_and(|session| session.mech() == Mech::Esp);
        Meta { source: phone.addr, listener: if esp { ESP } else { SEALED }, conn: 0 }
    }

    /// The first protected message, and its answer.
    pub fn confirm(&mut self, phone: &mut Phone) {
        let confirmation = phone.seal(0, b"");
        let back = self.access(self.sealed(phone), &confirmation);
        assert_eq!(back.len(), 1);
        assert_eq!(phone.open(&back[0].1), Some((0, Vec::new())));
    }

    /// Registered and confirmed.
    pub fn active(&mut self, idc: &str, addr: &str) -> Phone {
        let mut phone = self.phone(idc, addr);
        self.register(&mut phone);
        self.confirm(&mut phone);
        phone
    }

    pub fn count(&self) -> Counters {
        *self.engine.counters()
    }

    pub fn command(&mut self, command: Command) {
        self.engine.on_command(self.now, command, &mut self.sink);
    }
}
