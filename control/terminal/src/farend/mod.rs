//! The far end in one function, without memory: what softswitch and AuC answer ([`Core`]), and what a proxy before
//! them answers ([`FarEnd`]), in any of the protocols. For tests of terminals and for measuring with real vectors; it
//! checks words and makes keys as the real ones do, and leaves out what only they need: storage, freshness, replay,
//! limits.
//!
//! Nothing is kept between steps: Rand is N1a and eight octets of a MAC over it, N2a says Rand, and the session key is a
//! MAC over Rand.

mod h248;
mod mgcp;
mod ras;
mod sip;

use crate::session::handles;
use core::net::SocketAddr;
use portunus_channel::{End, Flow, Keys, Mechanism, Sequence, datagrams};
use portunus_codec::{Writer, hex_decode, hex_encode};
use portunus_keydist::ident::{Idc, Idsp, N1, Rand};
use portunus_keydist::mech::{Entry, Mech};
use portunus_keydist::schedule::{For, WrapCtx, message_mac, words_equal};
use portunus_keydist::steps::{Refusal, S1, S6, S7, S8, S9, S10};
use portunus_keydist::{Key, Now, Prk, Random, SessionKey, SystemRandom, TrafficCtx};
use portunus_signalling::{FromCore, FromTerminal, Hop, Marks, Own, Protocol, Signalling, Text, Ticket, Transport};
use ring::hmac;
use std::collections::HashMap;

/// Longest message written, octets.
const MESSAGE_MAX: usize = 4_096;

/// Gives the key of an identity; `None`: unknown.
pub type KeyOf = dyn Fn(&str) -> Option<Key> + Send;

/// What was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Did {
    /// A challenge: s5, or s6.
    Challenged,
    /// A key: s9, or s10.
    Granted,
    /// A registration inside a session was refreshed or ended.
    Refreshed,
    /// Something else was answered 200.
    Answered,
    /// Refused.
    Refused,
}

/// Softswitch and AuC.
pub struct Core {
    protocol: Protocol,
    realm: String,
    secret: hmac::Key,
    key_of: Box<KeyOf>,
}

impl ::core::fmt::Debug for Core {
    fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
        write!(f, "Core({})", self.realm)
    }
}

impl Core {
    /// A SIP core for a realm. `key_of` is asked for the keys of terminals and of proxies.
    pub fn new(realm: &str, key_of: Box<KeyOf>) -> Self {
        let secret: [u8; 32] = SystemRandom::new().array();
        Self {
            protocol: Protocol::Sip,
            realm: realm.into(),
            secret: hmac::Key::new(hmac::HMAC_SHA256, &secret),
            key_of,
        }
    }

    fn mac(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut mac = hmac::Context::with_key(&self.secret);
        parts.iter().for_each(|p| mac.update(p));
        let mut out = [0u8; 32];
        out.copy_from_slice(mac.sign().as_ref());
        out
    }

    fn rand(&self, idc: Idc<'_>, n1a: &N1) -> Rand {
        let mut rand = [0u8; 16];
        let (bits, proof) = rand.split_at_mut(8);
        bits.copy_from_slice(&n1a.bits().to_be_bytes());
        proof.copy_from_slice(&self.mac(&[n1a.as_bytes(), idc.as_bytes()])[..8]);
        rand
    }

    /// The same in another protocol.
    #[must_use]
    pub fn speaking(self, protocol: Protocol) -> Self {
        Self { protocol, ..self }
    }

    /// Answers a request of a proxy's: s2, s8, a refresh; anything else that wants an answer gets what means yes. The
    /// receipt of a command is [`Core::receipt`]'s.
    pub fn on_request(&self, octets: &[u8], w: &mut Writer<'_>) -> Option<Did> {
        match self.protocol {
            Protocol::Sip => sip::on_request(self, octets, w),
            Protocol::Mgcp => mgcp::on_request(self, octets, w),
            Protocol::H248 => h248::on_request(self, octets, w),
            Protocol::Ras => ras::on_request(self, octets, w),
        }
    }

    /// What a protocol whose steps are commands says at once to a step of a proxy's; false: nothing.
    pub fn receipt(&self, octets: &[u8], w: &mut Writer<'_>) -> bool {
        match self.protocol {
            Protocol::Mgcp => mgcp::receipt(octets, w),
            Protocol::H248 => h248::receipt(octets, w),
            Protocol::Sip | Protocol::Ras => false,
        }
    }

    /// The wraps, when the word is right.
    fn vouch(&self, s8: &S8<'_>) -> Option<S9> {
        let (bits, _) = s8.rand.split_first_chunk::<8>()?;
        let n1a = N1::from_bits(u64::from_be_bytes(*bits));
        let kc = (self.key_of)(s8.idc.as_str())?.prk();
        let ksp = (self.key_of)(s8.idsp.as_str())?.prk();
        let word = kc.word(s8.idc, s8.idsp, &s8.rand);
        if self.rand(s8.idc, &n1a) != s8.rand || !words_equal(&word, &s8.auth_c) {
            return None;
        }
        let key = SessionKey::new(self.mac(&[b"K", &s8.rand, s8.idc.as_bytes()]));
        let ctx = WrapCtx { idc: s8.idc, idsp: s8.idsp, rand: &s8.rand, n1a: &n1a };
        Some(S9 { ekc: kc.wrap(For::Terminal, &ctx, &key), eksp: ksp.wrap(For::Proxy, &ctx, &key) })
    }
}

/// A session that the far end keeps, for tests that go on inside the channel.
struct Kept {
    idc: String,
    mechanism: &'static dyn Mechanism,
    c2s: Flow,
    s2c: Flow,
    keys: Keys,
    seq: Sequence,
    peer: Option<SocketAddr>,
}

/// A transaction id that follows from the registration: 1 to 999,999,999, which every protocol takes.
fn transaction(rand: &Rand, step: u32) -> u32 {
    let bits = rand.last_chunk::<4>().map_or(0, |b| u32::from_be_bytes(*b));
    bits.wrapping_add(step) % 999_999_999 + 1
}

/// As long as a real N2a; it says Rand, so that the far end need not remember it.
fn n2a(rand: &Rand) -> [u8; 80] {
    let mut token = [b'x'; 80];
    let mut digits = [0u8; 32];
    hex_encode(rand, &mut digits);
    token[..32].copy_from_slice(&digits);
    token
}

/// A proxy with a [`Core`] behind it.
pub struct FarEnd {
    core: Core,
    signalling: &'static dyn Signalling,
    idsp: String,
    prk: Prk,
    sealed_port: u16,
    keep_sessions: bool,
    last_kid: u64,
    sessions: HashMap<u64, Kept>,
    rng: SystemRandom,
}

impl ::core::fmt::Debug for FarEnd {
    fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
        write!(f, "FarEnd({}, {} sessions)", self.idsp, self.sessions.len())
    }
}

/// What came out of a protected datagram.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsealed {
    /// Whose session it was.
    pub idc: String,
    /// The content; empty for a confirmation.
    pub text: Vec<u8>,
}

impl FarEnd {
    /// A far end whose s10 names `sealed_port`. `None` when `idsp` is not an IDsp, or `core` has no key for it.
    /// Sessions are kept, and protected datagrams answered, only where `keep_sessions` says so.
    pub fn new(core: Core, idsp: &str, sealed_port: u16, keep_sessions: bool) -> Option<Self> {
        Idsp::new(idsp)?;
        let prk = (core.key_of)(idsp)?.prk();
        let signalling: &'static dyn Signalling = match core.protocol {
            Protocol::Sip => &portunus_sip::Sip,
            Protocol::Mgcp => &portunus_mgcp::Mgcp,
            Protocol::H248 => &portunus_h248::H248,
            Protocol::Ras => &portunus_h323::Ras,
        };
        Some(Self {
            core,
            signalling,
            idsp: idsp.into(),
            prk,
            sealed_port,
            keep_sessions,
            last_kid: 1 << 16,
            sessions: HashMap::new(),
            rng: SystemRandom::new(),
        })
    }

    /// What a protocol whose steps are commands says at once to a terminal's step, before
    /// [`FarEnd::on_terminal`]; false: nothing.
    pub fn receipt(&mut self, from: SocketAddr, octets: &[u8], w: &mut Writer<'_>) -> bool {
        let (signalling, salt) = (self.signalling, self.rng.next_u64());
        let before = w.len();
        self.with_hop(from, salt, |hop| signalling.acknowledge(hop, octets, w));
        w.len() > before
    }

    fn with_hop<R>(&self, source: SocketAddr, salt: u64, f: impl FnOnce(&Hop<'_>) -> R) -> Option<R> {
        let here = SocketAddr::from(([127, 0, 0, 1], 5_060));
        let own = Own { idsp: Idsp::new(&self.idsp)?, realm: &self.core.realm, access: here, core: here };
        let (transport, ticket, marks) = (Transport::Udp, Ticket(1), &Marks::NONE);
        Some(f(&Hop { own, source, transport, ticket, salt, marks }))
    }

    /// Answers s1 with s6 and s7 with s10, or refuses; writes nothing to what it does not know.
    pub fn on_terminal(&mut self, now: Now, from: SocketAddr, octets: &[u8], w: &mut Writer<'_>) -> Option<Did> {
        let (mut marks, mut text) = (Marks::NONE, Text::default());
        let salt = self.rng.next_u64();
        let step = match self.signalling.read_marked(octets, &mut marks, &mut text).ok()? {
            FromTerminal::S1(s1) => return self.with_hop(from, salt, |hop| self.on_s1(now, hop, octets, &s1, w))?,
            FromTerminal::S7(s7) => s7,
            _ => return None,
        };
        self.last_kid += 1;
        let kid = self.last_kid;
        let n2 = N1::from_bits(self.rng.next_u64());
        let (did, kept) = self.with_hop(from, salt, |hop| self.on_s7(now, hop, octets, (&step, kid, n2), w))??;
        if let Some(kept) = kept.filter(|_| self.keep_sessions) {
            self.sessions.insert(kid, kept);
        }
        Some(did)
    }

    fn on_s1(&self, now: Now, hop: &Hop<'_>, octets: &[u8], s1: &S1<'_>, w: &mut Writer<'_>) -> Option<Did> {
        let (mut up, mut down) = ([0u8; MESSAGE_MAX], [0u8; MESSAGE_MAX]);
        let (mut up, mut down) = (Writer::new(&mut up), Writer::new(&mut down));
        self.signalling.write_s2(hop, octets, s1, &mut up).ok()?;
        self.core.on_request(up.written(), &mut down)?;
        let mut text = Text::default();
        let (read, _) = self.signalling.read_answer(down.written(), &mut text).ok()?;
        let FromCore::Challenge { rand, .. } = read else { return None };
        let s6 = S6 { idsp: hop.own.idsp, n1: s1.n1, n2: &n2a(&rand), ts: now.wall_ms, rand };
        self.signalling.write_s6(hop, octets, down.written(), &s6, w).ok()?;
        Some(Did::Challenged)
    }

    fn on_s7(
        &self,
        now: Now,
        hop: &Hop<'_>,
        octets: &[u8],
        (s7, kid, n2): (&S7<'_>, u64, N1),
        w: &mut Writer<'_>,
    ) -> Option<(Did, Option<Kept>)> {
        let (mut up, mut down) = ([0u8; MESSAGE_MAX], [0u8; MESSAGE_MAX]);
        let (mut up, mut down) = (Writer::new(&mut up), Writer::new(&mut down));
        let rand: Rand = hex_decode(s7.n2.get(..32)?)?;
        if s7.rand.is_some_and(|said| said != rand) || s7.idsp.is_some_and(|said| said != hop.own.idsp) {
            return None;
        }
        let s8 = S8 { idc: s7.idc, idsp: hop.own.idsp, rand, auth_c: s7.auth_c, ipc: hop.source };
        self.signalling.write_s8(hop, octets, s7, &s8, &mut up).ok()?;
        self.core.on_request(up.written(), &mut down)?;
        let mut text = Text::default();
        let (read, _) = self.signalling.read_answer(down.written(), &mut text).ok()?;
        let refusal = match read {
            FromCore::Key { s9, .. } => match s7.mechs.choose(&[Mech::Sealed, Mech::Esp], |_| true) {
                Some(chosen) => {
                    let (messages, steps) = ((octets, down.written()), (s7, &s8, &s9));
                    let kept = self.grant(now, hop, messages, steps, (&chosen, kid, n2), w)?;
                    return Some((Did::Granted, Some(kept)));
                }
                None => Refusal::Mechanism,
            },
            _ => Refusal::Denied,
        };
        self.signalling.write_refusal(hop, octets, &refusal, Some(&s7.n1), w).ok()?;
        Some((Did::Refused, None))
    }

    /// s10: the key, signed; and the session that it begins.
    fn grant(
        &self,
        now: Now,
        hop: &Hop<'_>,
        (request, core_msg): (&[u8], &[u8]),
        (s7, s8, s9): (&S7<'_>, &S8<'_>, &S9),
        (chosen, kid, n2): (&Entry<'_>, u64, N1),
        w: &mut Writer<'_>,
    ) -> Option<Kept> {
        let S8 { idc, idsp, rand, .. } = *s8;
        let (bits, _) = rand.split_first_chunk::<8>()?;
        let n1a = N1::from_bits(u64::from_be_bytes(*bits));
        let ctx = WrapCtx { idc, idsp, rand: &rand, n1a: &n1a };
        let secret = self.prk.unwrap(For::Proxy, &ctx, &s9.eksp).ok()?.secret(&rand);
        let mechanism = datagrams(chosen.mech?)?;
        let (terminal, proxy) = (mechanism.offered(chosen)?, End { handle: kid, port: hop.own.access.port() });
        let sel = mechanism.answer(proxy, self.sealed_port);
        let s10 = S10 {
            idsp,
            n1: s7.n1,
            n2,
            ts: now.wall_ms,
            life: 86_400,
            ekc: s9.ekc,
            sel: sel.as_str(),
            mechs: s7.mechs.as_str(),
        };
        let field = self.signalling.write_s10(hop, request, core_msg, &s10, w).ok()?;
        let placeholder = self.signalling.mac_placeholder();
        let mac = message_mac(&secret.mac_key(), w.written(), field.clone(), placeholder)?;
        self.signalling.put_mac(w.written_mut().get_mut(field)?, &mac);
        let token = sel.mech().token();
        let ctx = TrafficCtx { idc, idsp, n1b: &s7.n1, n2b: &s10.n2, token };
        let protocol = self.core.protocol as u8;
        Some(Kept {
            idc: idc.as_str().into(),
            mechanism,
            c2s: Flow::c2s(terminal, proxy, protocol),
            s2c: Flow::s2c(terminal, proxy, protocol),
            keys: mechanism.derive(&secret, &ctx),
            seq: Sequence::new(),
            peer: None,
        })
    }

    /// Opens a datagram of a kept session.
    pub fn open(&mut self, from: SocketAddr, datagram: &mut [u8]) -> Option<Unsealed> {
        let kid = handles(datagram).find(|handle| self.sessions.contains_key(handle))?;
        let session = self.sessions.get_mut(&kid)?;
        let text = session.mechanism.open(&session.keys.c2s, &session.c2s, datagram).ok()?.content.to_vec();
        session.peer = Some(from);
        Some(Unsealed { idc: session.idc.clone(), text })
    }

    /// Seals a message for the newest session of a terminal that was heard: to whom, and the datagram.
    pub fn seal(&mut self, idc: &str, text: &[u8]) -> Option<(SocketAddr, Vec<u8>)> {
        let heard = self.sessions.iter_mut().filter(|(_, s)| s.idc == idc && s.peer.is_some());
        let (_, session) = heard.max_by_key(|(kid, _)| **kid)?;
        let mechanism = session.mechanism;
        let mut out = vec![0u8; mechanism.sealed_len(text.len())];
        let seq = session.seq.take(mechanism.format().seq_max)?;
        mechanism.seal(&session.keys.s2c, &session.s2c, seq, text, &mut Writer::new(&mut out)).ok()?;
        Some((session.peer?, out))
    }

    /// As the core inside the channel: a registration is granted what it asks for, anything else that wants an answer
    /// gets what means yes.
    pub fn answer_inside(&self, text: &[u8]) -> Option<Vec<u8>> {
        let mut room = [0u8; MESSAGE_MAX];
        let mut w = Writer::new(&mut room);
        match self.core.protocol {
            Protocol::Sip => sip::inside(text, &mut w)?,
            Protocol::Mgcp => mgcp::receipt(text, &mut w).then_some(())?,
            Protocol::H248 => h248::receipt(text, &mut w).then_some(())?,
            Protocol::Ras => ras::inside(text, &mut w)?,
        }
        Some(w.written().to_vec())
    }

    /// Forgets every session, as a proxy that was killed and started again.
    pub fn forget(&mut self) {
        self.sessions.clear();
    }
}
