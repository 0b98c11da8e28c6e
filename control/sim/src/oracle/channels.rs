//! Protected datagrams: under keys that the model derives itself, under numbers that were never used, from and to where
//! the session's terminal is, and only fresh ones of the peer's own making to any effect.

use super::{Life, Oracle, Session};
use crate::dialect;
use crate::net::{Datagram, addr};
use crate::phone::{self, Phone};
use crate::proxy;
use core::net::SocketAddr;
use portunus_channel::esp::Esp;
use portunus_channel::sealed::Sealed;
use portunus_channel::tls::{self, Identity};
use portunus_channel::{End, Flow, Mechanism, Said, TrafficKey};
use portunus_codec::Writer;
use portunus_keydist::mech::{Mech, MechList, Sel};
use portunus_keydist::schedule::{Secret, TrafficCtx};
use portunus_signalling::Protocol;
use std::collections::{BTreeMap, BTreeSet};

/// What a session is protected by.
pub(super) enum Chosen {
    Datagrams(Box<Channel>),
    Stream,
}

/// A session of a mechanism for datagrams.
pub(super) struct Channel {
    mechanism: &'static dyn Mechanism,
    up: Direction,
    down: Direction,
    /// The highest number of the terminal's that reached the proxy, and from where it came.
    top: u64,
    at: SocketAddr,
}

impl Channel {
    const fn direction(&self, up: bool) -> &Direction {
        if up { &self.up } else { &self.down }
    }
}

/// One direction of a session.
pub(super) struct Direction {
    flow: Flow,
    key: TrafficKey,
    /// Key and salt, as they name what a nonce may be used with once.
    octets: [u8; 36],
}

/// Octets of a datagram, and the worker and life, or the terminal, that took them.
type Taken = (Life, Vec<u8>);

/// What is known of protected datagrams.
#[derive(Default)]
pub(super) struct Channels {
    /// Every key with every nonce that was ever on a wire, over all sessions, processes and lives.
    nonces: BTreeSet<([u8; 36], u64)>,
    /// Every handle with every number of it, by life and direction.
    numbers: BTreeSet<(Life, bool, &'static str, u64, u64)>,
    /// Sessions by mechanism and the handle that the terminal's datagrams bear.
    up: BTreeMap<(Life, &'static str, u64), usize>,
    /// And the proxy's; terminals choose those, so several may be of the same name.
    down: BTreeMap<(Life, &'static str, u64), Vec<usize>>,
    /// Datagrams that terminals made: of which session, under which number.
    made_up: BTreeMap<Vec<u8>, (usize, u64)>,
    /// Those that proxies made.
    made_down: BTreeMap<Vec<u8>, usize>,
    taken: BTreeSet<Taken>,
    heard: BTreeSet<(usize, Vec<u8>)>,
}

impl Session {
    pub(super) fn mech(&self) -> Mech {
        match &self.chosen {
            Chosen::Datagrams(channel) => channel.mechanism.mech(),
            Chosen::Stream => Mech::Tls,
        }
    }
}

/// The number under which the cipher was used: the eight octets of a nonce that differ from message to message.
fn nonce(mech: Mech, bytes: &[u8]) -> u64 {
    let at = if mech == Mech::Esp { 8 } else { 12 };
    let octets = bytes.get(at..).and_then(|rest| rest.first_chunk());
    octets.map_or(0, |octets| u64::from_be_bytes(*octets))
}

impl Oracle {
    /// The mechanism that must be chosen of a list: the highest priority among those that are allowed, in the order of
    /// the policy among equals, that the protocol can be carried by.
    pub(super) fn strongest(&self, list: &str, protocol: Protocol) -> Option<Mech> {
        let list = MechList::from_text(list).ok()?;
        let streams = addr::SECURED.iter().any(|(p, _)| *p == protocol);
        let ends = |mech| mech != Mech::Esp || list.get(mech).is_some_and(|e| Esp.offered(&e).is_some());
        let left = self.allowed.iter().enumerate().filter(|(_, m)| (**m != Mech::Tls || streams) && ends(**m));
        let ranked = left.filter_map(|(rank, mech)| Some((list.get(*mech)?.q_milli, usize::MAX - rank, *mech)));
        ranked.max().map(|(_, _, mech)| mech)
    }

    /// The keys of a new session, derived here from the labels of the specification. `None`: its answer names no end.
    pub(super) fn chosen(
        &mut self,
        (life, index): (Life, usize),
        (sel, mechs, to): (&Sel, &str, SocketAddr),
        protocol: Protocol,
        (secret, ctx): (&Secret, &TrafficCtx<'_>),
    ) -> Option<(Chosen, u64)> {
        let (mechanism, labels, len): (&'static dyn Mechanism, _, _) = match sel.mech() {
            Mech::Sealed => (&Sealed, ["sealed c2s", "sealed s2c"], 32),
            Mech::Esp => (&Esp, ["esp c2s", "esp s2c"], 36),
            Mech::Tls => {
                let (mut psk, mut id) = ([0u8; 32], [0u8; tls::ID_LEN]);
                secret.traffic("tls psk", ctx, &mut psk);
                secret.traffic("tls id", ctx, &mut id);
                self.leaks.watch("a key of a connection", &psk);
                return Some((Chosen::Stream, Identity(id).worker(self.workers as u8).into()));
            }
        };
        let list = MechList::from_text(mechs).ok()?;
        let terminal = mechanism.offered(&list.get(sel.mech())?)?;
        let (proxy, port) = mechanism.answered(sel)?;
        if addr::protected(life.0, mechanism).port() != port {
            return None;
        }
        let flows = [Flow::c2s(terminal, proxy, protocol as u8), Flow::s2c(terminal, proxy, protocol as u8)];
        let mut direction = |label, flow| {
            let mut octets = [0u8; 36];
            secret.traffic(label, ctx, octets.get_mut(..len).unwrap_or_default());
            self.leaks.watch("a traffic key", &octets[..32]);
            let (mut key, mut salt) = ([0u8; 32], [0u8; 4]);
            key.copy_from_slice(&octets[..32]);
            salt.copy_from_slice(&octets[32..]);
            Direction { flow, key: TrafficKey::salted(key, salt), octets }
        };
        let (up, down) = (direction(labels[0], flows[0]), direction(labels[1], flows[1]));
        let token = sel.mech().token();
        let taken = self.channels.up.insert((life, token, up.flow.handle), index).is_some();
        self.hold(!taken, || "a handle was given out twice".into());
        self.channels.down.entry((life, token, down.flow.handle)).or_default().push(index);
        let worker = worker_of(mechanism, proxy);
        Some((Chosen::Datagrams(Box::new(Channel { mechanism, up, down, top: 0, at: to })), worker))
    }

    /// A terminal sends a protected datagram.
    pub(super) fn protected_up(&mut self, phone: &Phone, mechanism: &'static dyn Mechanism, datagram: &Datagram) {
        let (bytes, token) = (&datagram.bytes, mechanism.mech().token());
        // For the NATs on the way; it tells nobody anything.
        if mechanism.format().keep_alive == Some(&bytes[..]) {
            return;
        }
        let Ok(peek) = mechanism.peek(bytes) else {
            return self.forbid(format!("{} sends what is not protected where only that belongs", phone.idc));
        };
        let mine = |index: &usize| self.sessions.get(*index).is_some_and(|s| s.idc == phone.idc);
        let proxy = addr::proxy_of(datagram.to);
        let named = self
            .channels
            .up
            .iter()
            .filter(|((life, t, handle), _)| Some(life.0) == proxy && *t == token && *handle == peek.handle);
        let Some(index) = named.map(|(_, index)| *index).rfind(mine) else {
            return self.forbid(format!("{} uses a session that was never granted", phone.idc));
        };
        if self.protected(index, true, peek.seq, bytes, &phone.idc).is_some() {
            self.channels.made_up.insert(bytes.clone(), (index, peek.seq));
        }
    }

    /// A proxy sends from a port for protected datagrams.
    pub(super) fn protected_down(&mut self, life: Life, mechanism: &'static dyn Mechanism, datagram: &Datagram) {
        let (bytes, token) = (&datagram.bytes, mechanism.mech().token());
        let Ok(peek) = mechanism.peek(bytes) else {
            return self.forbid("a proxy sends something unprotected from a port for protected datagrams");
        };
        let named = self.channels.down.get(&(life, token, peek.handle)).cloned().unwrap_or_default();
        let Some(index) = named.iter().copied().rev().find(|index| self.opens(*index, false, bytes).is_some()) else {
            let known = !named.is_empty();
            return self.forbid(if known {
                "a proxy does not hold the key that the AuC drew"
            } else {
                "a proxy uses a session that was never granted"
            });
        };
        let at = self.channel(index).map(|channel| channel.at);
        let (idc, to) = (self.sessions.get(index).map(|s| s.idc.clone()).unwrap_or_default(), datagram.to);
        self.hold(at == Some(to), || format!("the session of {idc} is at {at:?}, and is sent something to {to}"));
        if let Some((said, content)) = self.protected(index, false, peek.seq, bytes, "a proxy") {
            self.channels.made_down.insert(bytes.clone(), index);
            if said == Said::Message {
                self.said_down(index, &content);
            }
        }
    }

    fn channel(&self, index: usize) -> Option<&Channel> {
        match &self.sessions.get(index)?.chosen {
            Chosen::Datagrams(channel) => Some(channel),
            Chosen::Stream => None,
        }
    }

    fn opens(&self, index: usize, up: bool, bytes: &[u8]) -> Option<(Said, Vec<u8>)> {
        let channel = self.channel(index)?;
        let direction = channel.direction(up);
        let mut octets = bytes.to_vec();
        let opened = channel.mechanism.open(&direction.key, &direction.flow, &mut octets).ok()?;
        Some((opened.said, opened.content.to_vec()))
    }

    /// A datagram in a session: what it is, where it may be sent.
    fn protected(&mut self, index: usize, up: bool, seq: u64, bytes: &[u8], who: &str) -> Option<(Said, Vec<u8>)> {
        let opened = self.opens(index, up, bytes);
        let session = self.sessions.get(index)?;
        let (mech, life) = (session.mech(), session.life);
        let direction = self.channel(index)?.direction(up);
        let (key, handle) = (direction.octets, direction.flow.handle);
        let once = self.channels.nonces.insert((key, nonce(mech, bytes)));
        self.hold(once, || format!("{who} used a nonce of a key twice"));
        let handle = if up { handle } else { index as u64 };
        let first = self.channels.numbers.insert((life, up, mech.token(), handle, seq));
        self.hold(first, || format!("{who} used sequence number {seq} of a key twice"));
        self.hold(opened.is_some(), || format!("{who} does not hold the key that the AuC drew"));
        if matches!(opened, Some((Said::Message, _))) {
            self.count(index, up);
        }
        opened
    }

    /// Something with content is said in a session.
    pub(super) fn count(&mut self, index: usize, up: bool) {
        if let Some(session) = self.sessions.get_mut(index) {
            *(if up { &mut session.said.0 } else { &mut session.said.1 }) += 1;
        }
    }

    /// A datagram reaches a living proxy's port for protected ones: whether anything may come of it.
    pub fn reaches_proxy(&mut self, life: Life, datagram: &Datagram) -> Option<bool> {
        let mechanism = addr::mechanism(datagram.to)?;
        let Some((index, seq)) = self.channels.made_up.get(&datagram.bytes).copied() else { return Some(false) };
        let Some(session) = self.sessions.get_mut(index).filter(|s| s.life == life) else { return Some(false) };
        let Chosen::Datagrams(channel) = &mut session.chosen else { return Some(false) };
        if channel.mechanism.mech() != mechanism.mech() || !self.channels.taken.insert((life, datagram.bytes.clone())) {
            return Some(false);
        }
        if seq > channel.top {
            (channel.top, channel.at) = (seq, datagram.from);
        }
        Some(true)
    }

    /// What came of a datagram of the access side: of a protected one nothing, unless it may; of an unprotected one no
    /// more than steps of a registration.
    pub fn proxy_did(&mut self, datagram: &Datagram, may: Option<bool>, out: &proxy::Out) {
        let from = datagram.from;
        if let Some(may) = may {
            let quiet = may || out.is_empty();
            return self.hold(quiet, || {
                format!("a protected datagram from {from} that is no fresh one of its session's terminal had an effect")
            });
        }
        // A stock phone has no key, and speaks plainly by right.
        let stock = addr::proxy_of(datagram.to).is_some_and(|p| addr::stock(p) == datagram.to);
        if stock || addr::spoken(datagram.to).is_none() {
            return;
        }
        for raised in &out.raised {
            let step = dialect::of(raised.protocol).is_step(raised.lane, &raised.bytes);
            self.hold(step, || {
                let what = String::from_utf8_lossy(&raised.bytes);
                format!("plaintext from {from} was accepted and passed to the core: {what}")
            });
        }
    }

    /// A datagram reaches a terminal: whether anything may come of it. `None`: it is no protected one.
    pub fn reaches_phone(&mut self, phone: &Phone, datagram: &Datagram) -> Option<bool> {
        let made = self.channels.made_down.get(&datagram.bytes).copied();
        if made.is_none() && datagram.from == addr::access(phone.proxy, phone.protocol) {
            return None;
        }
        let own = made.and_then(|index| self.sessions.get(index)).is_some_and(|s| s.idc == phone.idc);
        Some(own && self.channels.heard.insert((phone.index, datagram.bytes.clone())))
    }

    /// What came of it.
    pub fn phone_did(&mut self, phone: &Phone, may: Option<bool>, out: &phone::Out) {
        self.hold(may != Some(false) || out.is_empty(), || {
            format!("{} obeyed what is no fresh datagram of its session's proxy", phone.idc)
        });
    }

    /// What the owner of a terminal's session can send who does not keep to the rules; `None` where it is one of `tls`.
    pub fn seal_as(&mut self, phone: &Phone, seq: u64, text: &[u8]) -> Option<Datagram> {
        let index = *self.by_phone.get(&(phone.index, phone.active()?))?;
        let session = self.sessions.get(index)?;
        let Channel { mechanism, up, .. } = self.channel(index)?;
        let mut buf = vec![0; mechanism.sealed_len(text.len())];
        let mut w = Writer::new(&mut buf);
        mechanism.seal(&up.key, &up.flow, seq, text, &mut w).ok()?;
        let to = addr::protected(session.life.0, *mechanism);
        let datagram = Datagram { from: phone.addr, to, bytes: w.written().to_vec() };
        self.channels.made_up.insert(datagram.bytes.clone(), (index, seq));
        Some(datagram)
    }
}

/// The worker that a session is at, as its handle says.
fn worker_of(mechanism: &dyn Mechanism, proxy: End) -> u64 {
    if mechanism.mech() == Mech::Esp { proxy.handle & 0xff } else { proxy.handle >> 56 }
}
