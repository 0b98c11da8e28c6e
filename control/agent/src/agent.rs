//! All phones of one agent, without I/O.

use crate::config::{Config, ConfigError};
use crate::counters::Counters;
use crate::phone::{Gateway, Phone};
use crate::way::{Branches, Flow};
use core::net::SocketAddr;
use portunus_channel::tls::{Identity, Psk};
use portunus_codec::{Full, Writer};
use portunus_keydist::timing::Due;
use portunus_keydist::{Now, Random};
use portunus_signalling::Protocol;
use portunus_terminal::{Active, AnyTerminal, Event, Failure, Path, Profile};
use std::collections::VecDeque;
use std::sync::Arc;

/// Longest message written, octets: what a UDP datagram may hold of the longest that is read.
const MESSAGE_MAX: usize = 20_000;

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// A message to the proxy: a datagram from this phone's socket, or inside the connection of its session.
    ToProxy {
        /// Which phone.
        phone: usize,
        /// How.
        path: Path,
        /// Where.
        to: SocketAddr,
        /// Its octets.
        octets: Vec<u8>,
    },
    /// A session of mechanism `tls` wants a connection: [`Agent::connection_key`] says where to and with which key, and
    /// [`Agent::on_secured`] or [`Agent::on_secured_lost`] hears what came of it.
    Connect {
        /// Whose.
        phone: usize,
        /// Names the session.
        kid: u64,
    },
    /// A session is over: its connection, where it has one, is to be closed.
    HangUp {
        /// Whose.
        phone: usize,
        /// Names the session.
        kid: u64,
    },
    /// A message to a phone. Where its connection is gone, [`Agent::on_undelivered`] follows.
    ToPhone {
        /// How.
        flow: Flow,
        /// Its octets.
        octets: Vec<u8>,
    },
    /// Something worth telling.
    Tell {
        /// Of which phone.
        phone: usize,
        /// What.
        notice: Notice,
    },
}

/// What an agent tells of a phone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// Its channel is open, for the first time or under a new key.
    Active(Active),
    /// An attempt to open its channel failed; milliseconds until the next one, `None`: it waits for the phone.
    Failed(Failure, Option<u64>),
    /// The phone registered, for so many seconds.
    Registered(u32),
    /// The phone is no longer registered: by its own wish, or because it did not say so again in time (`lapsed`).
    Gone {
        /// True: it did not say so again in time.
        lapsed: bool,
    },
    /// Its session has ended in order.
    Closed,
}

/// The agent.
#[derive(Debug)]
pub struct Agent {
    pub(crate) config: Config,
    /// Where media gateways reach it, and by what.
    pub(crate) beside: Vec<(SocketAddr, Protocol)>,
    pub(crate) phones: Vec<Phone>,
    pub(crate) branches: Branches,
    pub(crate) counters: Counters,
    pub(crate) out: VecDeque<Effect>,
}

impl Agent {
    /// An agent at rest. `locals`: for each phone the address that its datagrams to the proxy leave from.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn new(mut config: Config, locals: &[SocketAddr], rng: &mut dyn Random) -> Result<Self, ConfigError> {
        config.check()?;
        let through = |profile: &Profile| Arc::new(Profile { through: true, ..profile.clone() });
        let mut all = vec![(through(&config.profile), None, core::mem::take(&mut config.phones))];
        let mut beside = Vec::new();
        for of in &mut config.gateways {
            let protocol = of.profile.protocol;
            beside.extend(of.listeners.iter().map(|at| (*at, protocol)));
            all.push((through(&of.profile), Some(protocol), core::mem::take(&mut of.list)));
        }
        // The terminals hold what they make of their keys; the keys themselves are erased here.
        let mut phones = Vec::new();
        // From anywhere: the SPIs that its terminals name follow from it, and another agent may be on this host.
        let mut tags = rng.next_u64() as u32 >> 1..;
        let mut locals = locals.iter().copied();
        for (profile, protocol, list) in all {
            for (told, (tag, local)) in list.into_iter().zip(tags.by_ref().zip(locals.by_ref())) {
                let terminal = AnyTerminal::any(Arc::clone(&profile), &told.id, &told.key, local, tag, rng);
                let terminal = terminal.ok_or_else(|| ConfigError::Identity(told.id.clone()))?;
                phones.push(Phone::new(told.id, told.from, terminal, local, protocol.map(Gateway::new)));
            }
        }
        let branches = Branches::draw(rng);
        Ok(Self { config, beside, phones, branches, counters: Counters::default(), out: VecDeque::new() })
    }

    /// What happened so far.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// The identity of a phone.
    pub fn id(&self, phone: usize) -> &str {
        self.phones.get(phone).map_or("", |p| &p.id)
    }

    /// What a phone speaks.
    pub fn protocol(&self, phone: usize) -> Protocol {
        let gateway = self.phones.get(phone).and_then(|p| p.gateway.as_ref());
        gateway.map_or(Protocol::Sip, |g| g.protocol)
    }

    /// Where SIP phones reach it.
    pub fn listeners(&self) -> &[SocketAddr] {
        &self.config.listeners
    }

    /// Where media gateways reach it, and by what.
    pub fn beside(&self) -> &[(SocketAddr, Protocol)] {
        &self.beside
    }

    /// How many phones and gateways there are, and how many have an open channel.
    pub fn active(&self) -> (usize, usize) {
        (self.phones.len(), self.phones.iter().filter(|p| p.terminal.is_active()).count())
    }

    /// The next thing to do, until there is none.
    pub fn poll(&mut self) -> Option<Effect> {
        self.out.pop_front()
    }

    /// Opens the channel of every phone without waiting for the phones.
    pub fn open_all(&mut self, now: Now, rng: &mut dyn Random) {
        for n in 0..self.phones.len() {
            if let Some(phone) = self.phones.get_mut(n) {
                phone.wanted = true;
                phone.terminal.start(now, rng);
            }
            self.attend(n, now, rng);
        }
    }

    /// Ends every phone's registration in its channel: [`Notice::Closed`] follows for those that have one.
    pub fn close_all(&mut self, now: Now, rng: &mut dyn Random) {
        for n in 0..self.phones.len() {
            if let Some(phone) = self.phones.get_mut(n) {
                (phone.bound, phone.wanted) = (None, false);
                if !phone.terminal.deregister(now, rng) {
                    phone.terminal.come_to_rest(now, rng);
                }
            }
            self.attend(n, now, rng);
        }
    }

    /// Takes a datagram from the socket of a phone's terminal.
    pub fn on_proxy(&mut self, now: Now, rng: &mut dyn Random, phone: usize, from: SocketAddr, octets: &mut [u8]) {
        if let Some(to) = self.phones.get_mut(phone) {
            to.terminal.on_datagram(now, rng, from, octets);
            self.attend(phone, now, rng);
        }
    }

    /// Where the connection of a phone's session goes, and what it is keyed by; `None`: the session is over.
    pub fn connection_key(&mut self, phone: usize, kid: u64) -> Option<(SocketAddr, Identity, Psk)> {
        self.phones.get_mut(phone)?.terminal.connection_key(kid)
    }

    /// The connection of a phone's session is open.
    pub fn on_secured(&mut self, now: Now, rng: &mut dyn Random, phone: usize, kid: u64) {
        if let Some(of) = self.phones.get_mut(phone) {
            of.terminal.on_secured(now, rng, kid);
            self.attend(phone, now, rng);
        }
    }

    /// Takes a message from inside the connection of a phone's session.
    pub fn on_inside(&mut self, now: Now, rng: &mut dyn Random, phone: usize, kid: u64, octets: &[u8]) {
        if let Some(of) = self.phones.get_mut(phone) {
            of.terminal.on_inside(now, rng, kid, octets);
            self.attend(phone, now, rng);
        }
    }

    /// The connection of a phone's session could not be had, or is lost.
    pub fn on_secured_lost(&mut self, now: Now, rng: &mut dyn Random, phone: usize, kid: u64) {
        if let Some(of) = self.phones.get_mut(phone) {
            of.terminal.on_secured_lost(now, rng, kid);
            self.attend(phone, now, rng);
        }
    }

    /// Does what is due at `now`; harmless when nothing is.
    pub fn on_timer(&mut self, now: Now, rng: &mut dyn Random) {
        for n in 0..self.phones.len() {
            if self.deadline_of(n).is_none_or(|at| at > now.mono_ms) {
                continue;
            }
            if let Some(phone) = self.phones.get_mut(n) {
                phone.terminal.on_timer(now, rng);
            }
            self.registering_due(n, now, rng);
            self.waiting_due(n, now);
            self.repeat_due(n, now, rng);
            self.attend(n, now, rng);
        }
    }

    /// When [`Agent::on_timer`] wants to be called, monotonic milliseconds; `None`: at rest.
    pub fn next_deadline(&self) -> Option<u64> {
        (0..self.phones.len()).filter_map(|n| self.deadline_of(n)).min()
    }

    fn deadline_of(&self, n: usize) -> Option<u64> {
        let phone = self.phones.get(n)?;
        let terminal = phone.terminal.next_deadline().map(|(at, _)| at);
        let under = phone.under.iter().map(|u| u.repeat.deadline().0).min();
        [terminal, phone.registering_deadline(), phone.waiting_deadline(), under].into_iter().flatten().min()
    }

    /// After anything happened to a phone's terminal: its datagrams leave, its events are dealt with.
    pub(crate) fn attend(&mut self, n: usize, now: Now, rng: &mut dyn Random) {
        loop {
            let Some(phone) = self.phones.get_mut(n) else { return };
            if let Some(out) = phone.terminal.poll_transmit() {
                self.out.push_back(Effect::ToProxy { phone: n, path: out.path, to: out.to, octets: out.octets });
            } else if let Some(event) = phone.terminal.poll_event() {
                self.on_event(n, now, rng, event);
            } else {
                return;
            }
        }
    }

    fn on_event(&mut self, n: usize, now: Now, rng: &mut dyn Random, event: Event) {
        match event {
            Event::Active(agreed) => {
                if let Some(phone) = self.phones.get_mut(n) {
                    phone.opened = true;
                }
                self.tell(n, Notice::Active(agreed));
                self.channel_open(n, now, agreed.expires_s);
                self.gateway_open(n, now, rng);
            }
            Event::Refreshed { expires_s } => self.channel_open(n, now, expires_s),
            Event::Failed { why, retry_in_ms } => self.channel_failed(n, now, rng, why, retry_in_ms),
            Event::Deregistered => self.channel_closed(n, now, rng),
            Event::Inside { message } => self.down(n, now, rng, &message),
            // Only a de-registration of the terminal's own is answered so, where it is refused.
            Event::Response { .. } => self.not_closed(n),
            Event::Connect { kid } => self.out.push_back(Effect::Connect { phone: n, kid }),
            Event::Forget { kid } => self.out.push_back(Effect::HangUp { phone: n, kid }),
            Event::Step { .. } | Event::Keyed { .. } | Event::Request { .. } => {}
        }
    }

    fn repeat_due(&mut self, n: usize, now: Now, rng: &mut dyn Random) {
        let Some(phone) = self.phones.get_mut(n) else { return };
        let Self { counters, .. } = self;
        let Phone { under, terminal, .. } = phone;
        under.retain_mut(|u| match u.repeat.poll(now) {
            Some(Due::Repeat) => {
                counters.repeated += 1;
                terminal.say(now, rng, &u.octets);
                true
            }
            // The phone's own timers tell it.
            Some(Due::GiveUp) => false,
            None => true,
        });
    }

    pub(crate) fn tell(&mut self, phone: usize, notice: Notice) {
        self.out.push_back(Effect::Tell { phone, notice });
    }

    /// A message written whole; counted where it does not fit.
    pub(crate) fn written(&mut self, write: impl FnOnce(&mut Writer<'_>) -> Result<(), Full>) -> Option<Vec<u8>> {
        let mut room = vec![0u8; MESSAGE_MAX];
        let mut w = Writer::new(&mut room);
        if write(&mut w).and_then(|()| w.finish()).is_err() {
            self.counters.too_big += 1;
            return None;
        }
        Some(w.written().to_vec()).filter(|octets| !octets.is_empty())
    }
}
