//! What phones say, and what is said to them: passed on, or answered here.

use crate::agent::{Agent, Effect, Notice};
use crate::phone::Under;
use crate::way::{Back, Flow, back_to, is_at};
use core::net::SocketAddr;
use portunus_keydist::timing::{Repeat, Repeating};
use portunus_keydist::{Idc, Idsp, Now, Random};
use portunus_signalling::{Fault, FaultKind, Hop, Marks, Own, Signalling as _, Ticket, Transport};
use portunus_sip::Sip;
use portunus_sip::carriage::beside::{Answer, forward_bare, write_answer};
use portunus_sip::carriage::core::{Forward, Granted, forward_request, forward_response, write_status};
use portunus_sip::frame::PONG;
use portunus_sip::view::{Message, Method, Name, Uri};

/// Requests of one phone on a stream that are repeated at a time.
const UNDER_MAX: usize = 32;
/// Seconds after which a phone whose channel is being opened may ask again.
const SOON_S: u32 = 5;

/// An answer of the agent's own.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Said<'a> {
    pub(crate) status: u16,
    pub(crate) reason: &'a str,
    pub(crate) retry_after_s: Option<u32>,
    pub(crate) bindings: &'a [Granted<'a>],
}

impl<'a> Said<'a> {
    pub(crate) const fn status(status: u16, reason: &'a str) -> Self {
        Self { status, reason, retry_after_s: None, bindings: &[] }
    }

    pub(crate) const fn busy(seconds: u32) -> Self {
        Self { retry_after_s: Some(seconds), ..Self::status(503, "Service Unavailable") }
    }
}

impl Agent {
    /// Takes a message from a phone or gateway: a datagram, or what was framed from its connection.
    pub fn on_phone(&mut self, now: Now, rng: &mut dyn Random, flow: Flow, octets: &[u8]) {
        let beside = flow.listener.checked_sub(self.config.listeners.len()).and_then(|n| self.beside.get(n));
        if let Some((_, protocol)) = beside {
            return self.on_gateway(now, rng, flow, *protocol, octets);
        }
        match octets {
            // Keep-alives of RFC 5626 section 4.4 and of phones behind a NAT.
            b"\r\n\r\n" => return self.send_down(flow, PONG.to_vec()),
            b"" | b"\r\n" | b"\0" | b"\0\0\0\0" => return,
            _ => {}
        }
        self.counters.from_phones += 1;
        let msg = match Message::parse(octets) {
            Ok(msg) => msg,
            Err(fault) => return self.faulty(flow, octets, &fault),
        };
        if !msg.is_request() {
            return self.response_up(now, rng, flow, &msg);
        }
        let Some(n) = self.sender(flow, &msg) else {
            self.counters.stranger += 1;
            self.answer(flow, &msg, &Said::status(403, "Forbidden"));
            return;
        };
        match msg.method() {
            Method::Register => self.register(n, now, rng, flow, &msg),
            _ => self.request_up(n, now, rng, flow, &msg),
        }
    }

    /// The phone that a request is from: its From, for REGISTER its To as well, is the identity of one that may send from
    /// here.
    fn sender(&self, flow: Flow, msg: &Message<'_>) -> Option<usize> {
        let (from, to) = (msg.from().sip()?, msg.to().sip());
        let register = msg.method() == Method::Register;
        let bound = |idc: Idc<'_>| from.is_idc(idc) && (!register || to.is_some_and(|to| to.is_idc(idc)));
        self.phones.iter().position(|phone| {
            phone.gateway.is_none() && phone.admits(flow.peer.ip()) && Idc::new(&phone.id).is_some_and(bound)
        })
    }

    /// What is no SIP, or broken SIP: SIP's own error.
    fn faulty(&mut self, flow: Flow, octets: &[u8], fault: &Fault) {
        let readable = fault.kind != FaultKind::Unreadable;
        *(if readable { &mut self.counters.malformed } else { &mut self.counters.unreadable }) += 1;
        let (profile, here) = (self.config.profile.clone(), self.listener(flow.listener));
        let Some(idsp) = Idsp::new(&profile.idsp) else { return };
        let hop = Hop {
            own: Own { idsp, realm: &profile.realm, access: here, core: here },
            source: flow.peer,
            transport: transport(flow),
            ticket: Ticket(0),
            salt: self.branches.mark(octets),
            marks: &Marks::NONE,
        };
        if let Some(answer) = self.written(|w| Sip.write_fault(&hop, octets, fault, w).map(|_| ())) {
            self.send_down(flow, answer);
        }
    }

    /// Answers a phone's request; an ACK gets nothing. What was sent.
    pub(crate) fn answer(&mut self, flow: Flow, request: &Message<'_>, said: &Said<'_>) -> Option<Vec<u8>> {
        let to_tag = format!("{:016x}", self.branches.mark(request.via().whole));
        let answer = Answer {
            source: flow.peer,
            to_tag: &to_tag,
            status: said.status,
            reason: said.reason,
            retry_after_s: said.retry_after_s,
            bindings: said.bindings,
        };
        let octets = self.written(|w| write_answer(request, &answer, w))?;
        self.send_down(flow, octets.clone());
        Some(octets)
    }

    pub(crate) fn send_down(&mut self, flow: Flow, octets: Vec<u8>) {
        self.out.push_back(Effect::ToPhone { flow, octets });
    }

    fn listener(&self, n: usize) -> SocketAddr {
        self.config.listeners.get(n).copied().unwrap_or(SocketAddr::from(([0, 0, 0, 0], 0)))
    }

    fn is_own(&self, uri: &Uri<'_>) -> bool {
        self.config.listeners.iter().any(|l| is_at(uri, *l))
    }

    /// True when the topmost Route is the agent's own.
    fn own_route(&self, msg: &Message<'_>) -> bool {
        msg.addrs(Name::Route).next().and_then(|a| a.sip()).is_some_and(|uri| self.is_own(&uri))
    }

    /// The agent's Record-Route, where a dialog may begin.
    fn record_route(&self, flow: Flow, msg: &Message<'_>) -> Option<String> {
        let begins = msg.method().forms_dialog() && msg.to().tag().is_none();
        let more = if flow.stream.is_some() { ";transport=tcp" } else { "" };
        begins.then(|| format!("<sip:{}{more};lr>", self.listener(flow.listener)))
    }

    /// A request of phone `n`, into the channel.
    fn request_up(&mut self, n: usize, now: Now, rng: &mut dyn Random, flow: Flow, msg: &Message<'_>) {
        let Some(phone) = self.phones.get(n) else { return };
        if !phone.terminal.is_active() {
            self.counters.no_channel += 1;
            let opening = phone.bound.is_some() || phone.held.is_some();
            let said = if opening { Said::busy(SOON_S) } else { Said::status(403, "Register First") };
            self.answer(flow, msg, &said);
            return;
        }
        // To a phone that knows no other registrar the domain is at the agent's address.
        let uri = Uri::parse(msg.uri()).filter(|uri| self.is_own(uri)).map(|uri| {
            let user = uri.user.map(|user| String::from_utf8_lossy(user).into_owned() + "@");
            format!("sip:{}{}", user.unwrap_or_default(), self.config.profile.realm)
        });
        let back = Back::Up { listener: flow.listener as u8, stream: flow.stream.unwrap_or(0) };
        let branch = self.branches.of(n, back, &msg.via(), msg);
        let by = if phone.terminal.carrier() == Transport::Tls { "TLS" } else { "UDP" };
        let via = format!("SIP/2.0/{by} {};branch={branch}", phone.local);
        let (pop_route, record_route) = (self.own_route(msg), self.record_route(flow, msg));
        let forward = Forward {
            uri: uri.as_deref().map(str::as_bytes),
            via: via.as_bytes(),
            source: flow.peer,
            route: None,
            pop_routes: usize::from(pop_route),
            record_route: record_route.as_deref().map(str::as_bytes),
            asserted: None,
        };
        let Some(octets) = self.written(|w| forward_bare(msg, &forward, w)) else {
            self.answer(flow, msg, &Said::status(513, "Message Too Large"));
            return;
        };
        self.up(n, now, rng, &octets);
        if flow.stream.is_some() && msg.method() != Method::Ack {
            self.watch(n, now, branch, msg.method_token(), octets);
        }
    }

    /// Into the channel of phone `n`.
    pub(crate) fn up(&mut self, n: usize, now: Now, rng: &mut dyn Random, octets: &[u8]) {
        let said = self.phones.get_mut(n).is_some_and(|phone| phone.terminal.say(now, rng, octets));
        *(if said { &mut self.counters.passed_up } else { &mut self.counters.no_channel }) += 1;
        self.attend(n, now, rng);
    }

    /// The channel, or what follows it, is of datagrams: what a phone relied on its stream to deliver is repeated until it
    /// is answered.
    fn watch(&mut self, n: usize, now: Now, branch: String, method: &[u8], octets: Vec<u8>) {
        let Some(phone) = self.phones.get_mut(n) else { return };
        if phone.under.len() >= UNDER_MAX {
            self.counters.repeat_full += 1;
            return;
        }
        let repeat = Repeating::begin(Repeat::SIP_UDP, now);
        phone.under.push(Under { branch, method: method.to_vec(), octets, repeat });
    }

    /// A phone's response, into the channel that its request came by.
    fn response_up(&mut self, now: Now, rng: &mut dyn Random, flow: Flow, msg: &Message<'_>) {
        let read = self.branches.read(None, msg).map(|(n, _)| n);
        let owner = read.filter(|n| self.phones.get(*n).is_some_and(|p| p.admits(flow.peer.ip())));
        let Some(n) = owner else {
            self.counters.stray_from_phones += 1;
            return;
        };
        if let Some(octets) = self.written(|w| forward_response(msg, w)) {
            self.up(n, now, rng, &octets);
        }
    }

    /// A message out of the channel of phone `n`.
    pub(crate) fn down(&mut self, n: usize, now: Now, rng: &mut dyn Random, octets: &[u8]) {
        if self.phones.get(n).is_some_and(|phone| phone.gateway.is_some()) {
            return self.gateway_down(n, now, rng, octets);
        }
        match Message::parse(octets) {
            Ok(msg) if msg.is_request() => self.request_down(n, now, rng, &msg),
            Ok(msg) => self.response_down(n, &msg),
            Err(_) => self.counters.stray_from_proxy += 1,
        }
    }

    fn request_down(&mut self, n: usize, now: Now, rng: &mut dyn Random, msg: &Message<'_>) {
        let Some(phone) = self.phones.get(n) else { return };
        let Some(bound) = &phone.bound else {
            return self.nobody(n, now, rng, msg);
        };
        let (flow, contact) = (bound.flow, bound.contact.clone());
        let called = Uri::parse(msg.uri()).is_some_and(|uri| is_at(&uri, phone.local));
        let branch = self.branches.of(n, Back::Down { phone: n as u32 }, &msg.via(), msg);
        let by = if flow.stream.is_some() { "TCP" } else { "UDP" };
        let via = format!("SIP/2.0/{by} {};branch={branch}", self.listener(flow.listener));
        let record_route = self.record_route(flow, msg);
        let forward = Forward {
            uri: called.then_some(&contact[..]),
            via: via.as_bytes(),
            source: self.config.profile.server,
            route: None,
            pop_routes: usize::from(self.own_route(msg)),
            record_route: record_route.as_deref().map(str::as_bytes),
            asserted: None,
        };
        if let Some(octets) = self.written(|w| forward_request(msg, &forward, w)) {
            self.counters.passed_down += 1;
            self.send_down(flow, octets);
        }
    }

    /// 480 into the channel of a phone that is not there.
    fn nobody(&mut self, n: usize, now: Now, rng: &mut dyn Random, msg: &Message<'_>) {
        self.counters.unreachable += 1;
        if msg.method() == Method::Ack {
            return;
        }
        let tag = format!("{:016x}", self.branches.mark(msg.via().whole));
        if let Some(octets) = self.written(|w| write_status(msg, &tag, 480, "Temporarily Unavailable", None, w)) {
            self.up(n, now, rng, &octets);
        }
    }

    fn response_down(&mut self, n: usize, msg: &Message<'_>) {
        let back = self.branches.read(Some(n), msg).zip(back_to(msg));
        let Some(((_, Back::Up { listener, stream }), peer)) = back else {
            self.counters.stray_from_proxy += 1;
            return;
        };
        if let Some(phone) = self.phones.get_mut(n) {
            let branch = msg.via().branch().unwrap_or_default();
            let over = msg.status() >= 200 || msg.method() == Method::Invite;
            phone.under.retain(|u| !(over && u.branch.as_bytes() == branch && u.method == msg.method_token()));
        }
        let stream = Some(stream).filter(|s| *s != 0);
        if let Some(octets) = self.written(|w| forward_response(msg, w)) {
            self.counters.passed_down += 1;
            self.send_down(Flow { listener: listener.into(), peer, stream }, octets);
        }
    }

    /// A message could not be delivered: the phone's connection is gone, and with it the way of what registered by it.
    pub fn on_undelivered(&mut self, now: Now, rng: &mut dyn Random, flow: Flow, octets: &[u8]) {
        self.refuse_undelivered(now, rng, octets);
        for n in 0..self.phones.len() {
            let by = |p: &crate::phone::Phone| p.bound.as_ref().is_some_and(|b| b.flow == flow);
            if let Some(phone) = self.phones.get_mut(n).filter(|p| by(p)) {
                phone.bound = None;
                self.counters.lapsed += 1;
                self.tell(n, Notice::Gone { lapsed: true });
                self.close(n, now, rng);
                self.attend(n, now, rng);
            }
        }
    }

    /// Answers a request that did not reach its phone, as if the phone had.
    fn refuse_undelivered(&mut self, now: Now, rng: &mut dyn Random, octets: &[u8]) {
        let Some(msg) = Message::parse(octets).ok().filter(|m| m.is_request() && m.method() != Method::Ack) else {
            return;
        };
        self.counters.unreachable += 1;
        let tag = format!("{:016x}", self.branches.mark(msg.via().whole));
        let refusal = self.written(|w| write_status(&msg, &tag, 480, "Temporarily Unavailable", None, w));
        let Some(Ok(refusal)) = refusal.as_deref().map(Message::parse) else { return };
        let phone = self.branches.read(None, &refusal).map(|(n, _)| n);
        if let (Some(n), Some(octets)) = (phone, self.written(|w| forward_response(&refusal, w))) {
            self.up(n, now, rng, &octets);
        }
    }
}

const fn transport(flow: Flow) -> Transport {
    if flow.stream.is_some() { Transport::Tcp } else { Transport::Udp }
}
