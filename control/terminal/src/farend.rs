//! The far end in one function, without memory: what softswitch and AuC answer ([`Core`]), and what a proxy before
//! them answers ([`FarEnd`]). For tests of terminals and for measuring with real vectors; it checks words and makes
//! keys as the real ones do, and leaves out what only they need: storage, freshness, replay, limits.
//!
//! Nothing is kept between steps: Rand is N1a and eight octets of a MAC over it, and the session key is a MAC over Rand.

use core::net::SocketAddr;
use portunus_channel::sealed::{Keys, SEQ_MAX, Sealed};
use portunus_channel::{Mechanism as _, Sequence};
use portunus_codec::Writer;
use portunus_keydist::ident::{Idc, Idsp, N1, Rand};
use portunus_keydist::mech::{Mech, Sel};
use portunus_keydist::schedule::{For, WrapCtx, message_mac, words_equal};
use portunus_keydist::steps::{Refusal, S1, S6, S7, S8, S9, S10};
use portunus_keydist::{Key, Now, Prk, Random, SessionKey, SystemRandom, TrafficCtx};
use portunus_signalling::{FromCore, FromTerminal, Hop, Marks, Own, Signalling as _, Ticket, Transport};
use portunus_sip::Sip;
use portunus_sip::carriage::core::{self as carriage, Ask, Granted};
use portunus_sip::view::{Message, Method};
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
    /// A core for a realm. `key_of` is asked for the keys of terminals and of proxies.
    pub fn new(realm: &str, key_of: Box<KeyOf>) -> Self {
        let secret: [u8; 32] = SystemRandom::new().array();
        Self { realm: realm.into(), secret: hmac::Key::new(hmac::HMAC_SHA256, &secret), key_of }
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

    /// Answers a request of a proxy's: s2, s8, a refresh; anything else that wants an answer gets 200.
    pub fn on_request(&self, octets: &[u8], w: &mut Writer<'_>) -> Option<Did> {
        let message = Message::parse(octets).ok()?;
        if !message.is_request() || message.method() == Method::Ack {
            return None;
        }
        if message.method() != Method::Register {
            carriage::write_status(&message, "core", 200, "OK", None, w).ok()?;
            return Some(Did::Answered);
        }
        let register = carriage::read_register(&message).ok()?;
        match register.ask {
            Ask::S2(s2) => {
                let rand = self.rand(s2.idc, &s2.n1);
                carriage::write_s5(&message, "core", &self.realm, s2.idsp, &rand, w).ok()?;
                Some(Did::Challenged)
            }
            Ask::S8(s8) => match self.vouch(&s8) {
                Some(s9) => {
                    let bindings = bindings(&message);
                    carriage::write_s9(&message, "core", &s9, &bindings, w).ok()?;
                    Some(Did::Granted)
                }
                None => {
                    carriage::write_status(&message, "core", 403, "Forbidden", None, w).ok()?;
                    Some(Did::Refused)
                }
            },
            Ask::Refresh => {
                carriage::write_granted(&message, "core", &bindings(&message), w).ok()?;
                Some(Did::Refreshed)
            }
            Ask::DigestChallenge | Ask::DigestAnswer { .. } => {
                carriage::write_status(&message, "core", 403, "Forbidden", None, w).ok()?;
                Some(Did::Refused)
            }
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

/// The Contacts of a REGISTER, each granted what it asks for.
fn bindings<'m>(message: &Message<'m>) -> Vec<Granted<'m>> {
    let granted = |a: portunus_sip::view::Addr<'m>| {
        let expires = message.contact_expires(&a).unwrap_or(3_600);
        (expires > 0).then_some(Granted { uri: a.uri, expires })
    };
    message.contacts().filter_map(granted).collect()
}

/// A session that the far end keeps, for tests that go on inside the channel.
struct Kept {
    idc: String,
    keys: Keys,
    seq: Sequence,
    peer: Option<SocketAddr>,
}

/// A proxy with a [`Core`] behind it.
pub struct FarEnd {
    core: Core,
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

/// What came out of a sealed datagram.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsealed {
    /// Whose session it was.
    pub idc: String,
    /// The content; empty for a confirmation.
    pub text: Vec<u8>,
}

impl FarEnd {
    /// A far end whose s10 names `sealed_port`. `None` when `idsp` is not an IDsp, or `core` has no key for it.
    /// Sessions are kept, and sealed datagrams answered, only where `keep_sessions` says so.
    pub fn new(core: Core, idsp: &str, sealed_port: u16, keep_sessions: bool) -> Option<Self> {
        Idsp::new(idsp)?;
        let prk = (core.key_of)(idsp)?.prk();
        Some(Self {
            core,
            idsp: idsp.into(),
            prk,
            sealed_port,
            keep_sessions,
            last_kid: 1 << 32,
            sessions: HashMap::new(),
            rng: SystemRandom::new(),
        })
    }

    /// Answers s1 with s6 and s7 with s10, or refuses; writes nothing to what it does not know.
    pub fn on_terminal(&mut self, now: Now, from: SocketAddr, octets: &[u8], w: &mut Writer<'_>) -> Option<Did> {
        let here = SocketAddr::from(([127, 0, 0, 1], 5_060));
        let (idsp, realm) = (self.idsp.clone(), self.core.realm.clone());
        let own = Own { idsp: Idsp::new(&idsp)?, realm: &realm, access: here, core: here };
        let hop = Hop {
            own,
            source: from,
            transport: Transport::Udp,
            ticket: Ticket(1),
            salt: self.rng.next_u64(),
            marks: &Marks::NONE,
        };
        match Sip.read_terminal(octets).ok()? {
            FromTerminal::S1(s1) => self.on_s1(now, &hop, octets, &s1, w),
            FromTerminal::S7(s7) => self.on_s7(now, &hop, octets, &s7, w),
            _ => None,
        }
    }

    fn on_s1(&self, now: Now, hop: &Hop<'_>, octets: &[u8], s1: &S1<'_>, w: &mut Writer<'_>) -> Option<Did> {
        let (mut up, mut down) = ([0u8; MESSAGE_MAX], [0u8; MESSAGE_MAX]);
        let (mut up, mut down) = (Writer::new(&mut up), Writer::new(&mut down));
        Sip.write_s2(hop, octets, s1, &mut up).ok()?;
        self.core.on_request(up.written(), &mut down)?;
        let FromCore::Challenge { rand, .. } = Sip.read_core(down.written()).ok()? else { return None };
        // As long as a real N2a; the far end has nothing to remember in it.
        let s6 = S6 { idsp: hop.own.idsp, n1: s1.n1, n2: &[b'x'; 80], ts: now.wall_ms, rand };
        Sip.write_s6(hop, octets, down.written(), &s6, w).ok()?;
        Some(Did::Challenged)
    }

    fn on_s7(&mut self, now: Now, hop: &Hop<'_>, octets: &[u8], s7: &S7<'_>, w: &mut Writer<'_>) -> Option<Did> {
        let (mut up, mut down) = ([0u8; MESSAGE_MAX], [0u8; MESSAGE_MAX]);
        let (mut up, mut down) = (Writer::new(&mut up), Writer::new(&mut down));
        let rand = s7.rand?;
        let s8 = S8 { idc: s7.idc, idsp: hop.own.idsp, rand, auth_c: s7.auth_c, ipc: hop.source };
        Sip.write_s8(hop, octets, s7, &s8, &mut up).ok()?;
        self.core.on_request(up.written(), &mut down)?;
        let refusal = match Sip.read_core(down.written()).ok()? {
            FromCore::Key { s9, .. } if s7.mechs.get(Mech::Sealed).is_some() => {
                return self.grant(now, hop, (octets, down.written()), s7, &s9, w);
            }
            FromCore::Key { .. } => Refusal::Mechanism,
            _ => Refusal::Denied,
        };
        Sip.write_refusal(hop, octets, &refusal, Some(&s7.n1), w).ok()?;
        Some(Did::Refused)
    }

    /// s10: the key, signed.
    fn grant(
        &mut self,
        now: Now,
        hop: &Hop<'_>,
        (request, core_msg): (&[u8], &[u8]),
        s7: &S7<'_>,
        s9: &S9,
        w: &mut Writer<'_>,
    ) -> Option<Did> {
        let rand = s7.rand?;
        let (bits, _) = rand.split_first_chunk::<8>()?;
        let n1a = N1::from_bits(u64::from_be_bytes(*bits));
        let ctx = WrapCtx { idc: s7.idc, idsp: hop.own.idsp, rand: &rand, n1a: &n1a };
        let secret = self.prk.unwrap(For::Proxy, &ctx, &s9.eksp).ok()?.secret(&rand);
        self.last_kid += 1;
        let kid = self.last_kid;
        let sel = Sel::sealed(kid, self.sealed_port);
        let s10 = S10 {
            idsp: hop.own.idsp,
            n1: s7.n1,
            n2: N1::from_bits(self.rng.next_u64()),
            ts: now.wall_ms,
            life: 86_400,
            ekc: s9.ekc,
            sel: sel.as_str(),
            mechs: s7.mechs.as_str(),
        };
        let field = Sip.write_s10(hop, request, core_msg, &s10, w).ok()?;
        let mac = message_mac(&secret.mac_key(), w.written(), field.clone(), Sip.mac_placeholder())?;
        Sip.put_mac(w.written_mut().get_mut(field)?, &mac);
        if self.keep_sessions {
            let token = Mech::Sealed.token();
            let ctx = TrafficCtx { idc: s7.idc, idsp: hop.own.idsp, n1b: &s7.n1, n2b: &s10.n2, token };
            let keys = Sealed::derive(&secret, &ctx);
            let idc = s7.idc.as_str().into();
            self.sessions.insert(kid, Kept { idc, keys, seq: Sequence::new(), peer: None });
        }
        Some(Did::Granted)
    }

    /// Opens a datagram of a kept session.
    pub fn open(&mut self, from: SocketAddr, datagram: &mut [u8]) -> Option<Unsealed> {
        let kid = Sealed::peek(datagram).ok()?.handle;
        let session = self.sessions.get_mut(&kid)?;
        let text = Sealed::open(&session.keys.c2s, datagram).ok()?.content.to_vec();
        session.peer = Some(from);
        Some(Unsealed { idc: session.idc.clone(), text })
    }

    /// Seals a message for the newest session of a terminal that was heard: to whom, and the datagram.
    pub fn seal(&mut self, idc: &str, text: &[u8]) -> Option<(SocketAddr, Vec<u8>)> {
        let heard = self.sessions.iter_mut().filter(|(_, s)| s.idc == idc && s.peer.is_some());
        let (kid, session) = heard.max_by_key(|(kid, _)| **kid)?;
        let mut out = vec![0u8; Sealed::HEAD + text.len() + Sealed::TAIL];
        let seq = session.seq.take(SEQ_MAX)?;
        let protocol = u8::from(!text.is_empty());
        Sealed::seal(&session.keys.s2c, *kid, protocol, seq, text, &mut Writer::new(&mut out)).ok()?;
        Some((session.peer?, out))
    }

    /// As a registrar inside the channel: REGISTER is granted what it asks for, anything else that wants an answer
    /// gets 200.
    pub fn answer_inside(&self, text: &[u8]) -> Option<Vec<u8>> {
        let message = Message::parse(text).ok().filter(Message::is_request)?;
        let mut room = [0u8; MESSAGE_MAX];
        let mut w = Writer::new(&mut room);
        match message.method() {
            Method::Ack => return None,
            Method::Register => carriage::write_granted(&message, "core", &bindings(&message), &mut w).ok()?,
            _ => carriage::write_status(&message, "core", 200, "OK", None, &mut w).ok()?,
        }
        Some(w.written().to_vec())
    }

    /// Forgets every session, as a proxy that was killed and started again.
    pub fn forget(&mut self) {
        self.sessions.clear();
    }
}
