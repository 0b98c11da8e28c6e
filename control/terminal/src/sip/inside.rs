//! What a terminal does inside its channel: refreshes and ends its registration, asks for signs of life, sends and
//! answers requests.
//!
//! As user agent server it is stateless: a request that comes again gets the same answer again, so a lost answer needs
//! no timer here. INVITE is answered 200 at once; this is a terminal to test reachability with, not a phone.

use super::event::Event;
use super::failure::Failure;
use super::registering::{MESSAGE_MAX, SIP, branch, compose};
use super::{Path, SipTerminal, Why, text};
use portunus_channel::sealed::NO_PROTOCOL;
use portunus_codec::{Full, Writer};
use portunus_keydist::timing::{Due, Repeating};
use portunus_keydist::{Idc, Now, Random};
use portunus_sip::carriage::terminal::{Plain, Txn, granted, write_register, write_request, write_response};
use portunus_sip::view::uri::put_idc_uri;
use portunus_sip::view::{Message, Method, Name};

/// Requests of its own that a terminal has under way at most.
const PENDING_MAX: usize = 16;
/// Dialogs that a terminal keeps at most; an INVITE beyond gets 486.
const DIALOGS_MAX: usize = 4;

/// Requests under way and dialogs.
#[derive(Default)]
pub(super) struct Inside {
    pending: Vec<Request>,
    dialogs: Vec<Dialog>,
    last_id: u32,
    /// A sign of life that the proxy was asked for and has not given yet.
    sign: Option<Repeating>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Refresh,
    Deregister,
    /// The owner's.
    Plain,
    Invite,
}

/// A client transaction inside the channel.
struct Request {
    id: u32,
    kind: Kind,
    branch: [u8; 23],
    text: Vec<u8>,
    repeat: Repeating,
}

/// What a dialog needs to be ended (RFC 3261 section 12).
struct Dialog {
    call_id: String,
    local_tag: String,
    remote_tag: String,
    /// The peer's address of record, from From or To.
    peer: String,
    /// The peer's Contact.
    target: String,
    route: Option<String>,
    cseq: u32,
}

/// A request to write that is not REGISTER.
struct Outline<'a> {
    method: &'a str,
    uri: &'a str,
    to_uri: &'a str,
    to_tag: Option<&'a str>,
    from_tag: &'a str,
    call_id: &'a str,
    cseq: u32,
    branch: &'a [u8; 23],
    route: Option<&'a str>,
    body: &'a [u8],
}

fn owned(octets: &[u8]) -> String {
    String::from_utf8_lossy(octets).into_owned()
}

/// The address-of-record URI of an identity.
fn address(idc: Idc<'_>) -> Option<String> {
    let mut room = [0u8; 512];
    let mut w = Writer::new(&mut room);
    put_idc_uri(idc, &mut w);
    let len = w.finish().ok()?;
    room.get(..len).map(owned)
}

impl SipTerminal {
    /// Sends a request inside the channel: MESSAGE or OPTIONS to `target` (an IDc), or INVITE, whose dialog the
    /// terminal acknowledges and keeps until [`SipTerminal::hang_up`]. Returns the number that
    /// [`Event::Response`] will bear. `None`: not active, too much under way, `target` is no IDc, or it does not fit.
    pub fn send_request(
        &mut self,
        now: Now,
        rng: &mut dyn Random,
        method: &str,
        target: &str,
        body: &[u8],
    ) -> Option<u32> {
        let uri = address(Idc::new(target)?)?;
        let kind = if method == "INVITE" { Kind::Invite } else { Kind::Plain };
        self.request_to(now, rng, kind, method, &uri, body)
    }

    /// Asks the registrar for a sign of life (OPTIONS to its own URI): proves the key both ways, end to end. Returns as
    /// [`SipTerminal::send_request`].
    pub fn probe(&mut self, now: Now, rng: &mut dyn Random) -> Option<u32> {
        let registrar = self.profile.registrar.clone();
        self.request_to(now, rng, Kind::Plain, "OPTIONS", &registrar, &[])
    }

    /// Ends the newest dialog with BYE. Returns as [`SipTerminal::send_request`].
    pub fn hang_up(&mut self, now: Now, rng: &mut dyn Random) -> Option<u32> {
        let mut dialog = self.inside.dialogs.pop()?;
        dialog.cseq += 1;
        let bits = branch(rng.next_u64());
        let text = self.compose_plain(&Outline {
            method: "BYE",
            uri: &dialog.target,
            to_uri: &dialog.peer,
            to_tag: Some(&dialog.remote_tag),
            from_tag: &dialog.local_tag,
            call_id: &dialog.call_id,
            cseq: dialog.cseq,
            branch: &bits,
            route: dialog.route.as_deref(),
            body: &[],
        })?;
        self.request(now, Kind::Plain, bits, text)
    }

    /// Ends the registration inside the channel; [`Event::Deregistered`] follows when it is granted, or nobody
    /// answers at all; [`Event::Response`] when it is refused, and the session goes on. False: not active, or too much
    /// under way.
    pub fn deregister(&mut self, now: Now, rng: &mut dyn Random) -> bool {
        self.register_inside(now, rng, Kind::Deregister, 0).is_some()
    }

    fn register_inside(&mut self, now: Now, rng: &mut dyn Random, kind: Kind, expires: u32) -> Option<u32> {
        self.session.as_ref()?;
        let (spelled, (cseq, branch)) = (self.spelled(), self.next_txn(rng));
        let idc = self.machine.names().0;
        let text = compose(&self.profile, idc, self.local, &spelled, cseq, &branch, |agent, txn, w| {
            write_register(agent, txn, expires, w)
        })?;
        self.request(now, kind, branch, text)
    }

    fn request_to(
        &mut self,
        now: Now,
        rng: &mut dyn Random,
        kind: Kind,
        method: &str,
        uri: &str,
        body: &[u8],
    ) -> Option<u32> {
        self.session.as_ref()?;
        let (bits, call) = (branch(rng.next_u64()), rng.next_u64());
        let text = self.compose_plain(&Outline {
            method,
            uri,
            to_uri: uri,
            to_tag: None,
            from_tag: &format!("{:08x}", call as u32),
            call_id: &text::call_id(self.tag, call),
            cseq: 1,
            branch: &bits,
            route: None,
            body,
        })?;
        self.request(now, kind, bits, text)
    }

    fn compose_plain(&self, o: &Outline<'_>) -> Option<Vec<u8>> {
        let contact = text::contact(self.idc(), self.local, self.profile.transport);
        let plain = Plain {
            method: o.method,
            uri: o.uri,
            from: self.machine.names().0,
            from_tag: o.from_tag,
            to_uri: o.to_uri,
            to_tag: o.to_tag,
            call_id: o.call_id,
            txn: Txn { cseq: o.cseq, branch: core::str::from_utf8(o.branch).ok()? },
            local: self.local,
            transport: self.profile.transport,
            contact: (o.method == "INVITE").then_some(&contact),
            route: o.route,
            body: (!o.body.is_empty()).then_some(("text/plain", o.body)),
        };
        written(|w| write_request(&plain, w))
    }

    fn request(&mut self, now: Now, kind: Kind, branch: [u8; 23], text: Vec<u8>) -> Option<u32> {
        if self.inside.pending.len() >= PENDING_MAX || !self.send_sealed(&text) {
            return None;
        }
        self.inside.last_id = self.inside.last_id.wrapping_add(1);
        let id = self.inside.last_id;
        let repeat = Repeating::begin(self.profile.inside, now);
        self.inside.pending.push(Request { id, kind, branch, text, repeat });
        Some(id)
    }

    fn send_sealed(&mut self, text: &[u8]) -> bool {
        let sealed = self.session.as_mut().and_then(|s| Some((s.to, s.seal(SIP, text)?)));
        sealed.map(|(to, octets)| self.send(Path::Sealed, to, octets)).is_some()
    }

    /// Asks the proxy itself for a sign of life: a protected message without content, which it answers with one of its
    /// own, whatever becomes of the core behind it.
    fn ask_for_sign(&mut self) {
        let sealed = self.session.as_mut().and_then(|s| Some((s.to, s.seal(NO_PROTOCOL, &[])?)));
        if let Some((to, octets)) = sealed {
            self.send(Path::Sealed, to, octets);
        }
    }

    /// Something protected verified: the proxy is there.
    pub(super) fn heard(&mut self) {
        self.inside.sign = None;
    }

    /// Takes a message that arrived inside the channel.
    pub(super) fn on_inside(&mut self, now: Now, rng: &mut dyn Random, octets: &[u8]) {
        let Ok(message) = Message::parse(octets) else {
            self.tally.ignored += 1;
            return;
        };
        if message.is_request() { self.answer(&message) } else { self.on_response(now, rng, &message) }
    }

    fn on_response(&mut self, now: Now, rng: &mut dyn Random, message: &Message<'_>) {
        let status = message.status();
        let top = message.via().branch();
        let Some(i) = self.inside.pending.iter().position(|r| top == Some(r.branch.as_slice())) else {
            // A 200 that came again because its ACK was lost.
            if message.method() == Method::Invite && (200..300).contains(&status) {
                self.acknowledge(rng, message);
            }
            return;
        };
        if status < 200 {
            return;
        }
        let request = self.inside.pending.swap_remove(i);
        match request.kind {
            Kind::Refresh => self.refreshed(now, rng, message),
            Kind::Deregister if (200..300).contains(&status) => self.deregistered(),
            // Still registered, and able to ask again.
            Kind::Deregister => self.events.push_back(Event::Response { id: request.id, status }),
            Kind::Plain => self.events.push_back(Event::Response { id: request.id, status }),
            Kind::Invite => {
                if status < 300 {
                    self.enter_dialog_as_caller(message);
                    self.acknowledge(rng, message);
                } else {
                    self.acknowledge_refusal(&request, message);
                }
                self.events.push_back(Event::Response { id: request.id, status });
            }
        }
    }

    /// At rest: a registration that was to follow this session ends with it.
    fn deregistered(&mut self) {
        self.machine.stop();
        self.inside = Inside { last_id: self.inside.last_id, ..Inside::default() };
        self.forget_registration();
        self.forget_session();
        self.events.push_back(Event::Deregistered);
    }

    fn refreshed(&mut self, now: Now, rng: &mut dyn Random, message: &Message<'_>) {
        let contact = self.spelled().contact;
        let expires = (200..300).contains(&message.status()).then(|| granted(message.octets(), &contact)).flatten();
        match (expires, &mut self.session) {
            (Some(expires_s), Some(session)) => {
                session.refreshed(now.mono_ms, expires_s, rng);
                self.events.push_back(Event::Refreshed { expires_s });
            }
            // The core forgot the registration or wants proof again: a new one beside the session.
            _ if self.pending.is_none() && self.provisional.is_none() => self.begin(now, rng),
            _ => {}
        }
    }

    /// ACK of a 200 (RFC 3261 section 13.2.2.4): a request of its own in the dialog.
    fn acknowledge(&mut self, rng: &mut dyn Random, message: &Message<'_>) {
        let call_id = message.call_id();
        let bits = branch(rng.next_u64());
        let Some(dialog) = self.inside.dialogs.iter().find(|d| d.call_id.as_bytes() == call_id) else { return };
        let text = self.compose_plain(&Outline {
            method: "ACK",
            uri: &dialog.target,
            to_uri: &dialog.peer,
            to_tag: Some(&dialog.remote_tag),
            from_tag: &dialog.local_tag,
            call_id: &dialog.call_id,
            cseq: message.cseq().0,
            branch: &bits,
            route: dialog.route.as_deref(),
            body: &[],
        });
        if let Some(text) = text {
            self.send_sealed(&text);
        }
    }

    /// ACK of a refusal (section 17.1.1.3): part of the INVITE's transaction.
    fn acknowledge_refusal(&mut self, request: &Request, message: &Message<'_>) {
        let Ok(invite) = Message::parse(&request.text) else { return };
        let text = self.compose_plain(&Outline {
            method: "ACK",
            uri: &owned(invite.uri()),
            to_uri: &owned(message.to().uri),
            to_tag: message.to().tag().map(owned).as_deref(),
            from_tag: &owned(message.from().tag().unwrap_or_default()),
            call_id: &owned(message.call_id()),
            cseq: message.cseq().0,
            branch: &request.branch,
            route: None,
            body: &[],
        });
        if let Some(text) = text {
            self.send_sealed(&text);
        }
    }

    fn enter_dialog_as_caller(&mut self, message: &Message<'_>) {
        let (from, to) = (message.from(), message.to());
        let mut route: Vec<String> = message.addrs(Name::RecordRoute).map(|a| owned(a.whole)).collect();
        route.reverse();
        self.enter_dialog(message, from.tag().map(owned), to.tag().map(owned), owned(to.uri), route, message.cseq().0);
    }

    fn enter_dialog(
        &mut self,
        message: &Message<'_>,
        local_tag: Option<String>,
        remote_tag: Option<String>,
        peer: String,
        route: Vec<String>,
        cseq: u32,
    ) {
        let call_id = owned(message.call_id());
        let known = self.inside.dialogs.iter().any(|d| d.call_id == call_id);
        let (Some(local_tag), Some(remote_tag), Some(target)) = (local_tag, remote_tag, message.contacts().next())
        else {
            return;
        };
        if !known && self.inside.dialogs.len() < DIALOGS_MAX {
            let route = (!route.is_empty()).then(|| route.join(", "));
            let target = owned(target.uri);
            self.inside.dialogs.push(Dialog { call_id, local_tag, remote_tag, peer, target, route, cseq });
        }
    }

    /// Answers a request from the channel.
    fn answer(&mut self, request: &Message<'_>) {
        let call_id = owned(request.call_id());
        let tag = format!("{:08x}", (self.call >> 32) as u32);
        let known = self.inside.dialogs.iter().position(|d| d.call_id == call_id);
        let (status, reason) = match request.method() {
            Method::Ack => (0, ""),
            Method::Invite if known.is_none() && self.inside.dialogs.len() >= DIALOGS_MAX => (486, "Busy Here"),
            Method::Invite => {
                let from = request.from();
                let route = request.addrs(Name::RecordRoute).map(|a| owned(a.whole)).collect();
                self.enter_dialog(request, Some(tag.clone()), from.tag().map(owned), owned(from.uri), route, 0);
                (200, "OK")
            }
            Method::Bye => match known {
                Some(i) => {
                    self.inside.dialogs.remove(i);
                    (200, "OK")
                }
                None => (481, "Call/Transaction Does Not Exist"),
            },
            // Everything is answered at once, so there is never anything left to cancel.
            Method::Cancel => (481, "Call/Transaction Does Not Exist"),
            Method::Message | Method::Options => (200, "OK"),
            _ => (501, "Not Implemented"),
        };
        if status != 0 {
            let contact = text::contact(self.idc(), self.local, self.profile.transport);
            let contact = (request.method() == Method::Invite).then_some(contact.as_str());
            let text = written(|w| write_response(request, status, reason, &tag, contact, None, w));
            if let Some(text) = text {
                self.send_sealed(&text);
            }
        }
        self.events.push_back(Event::Request {
            method: owned(request.method_token()),
            from: owned(request.from().uri),
            body: request.body().to_vec(),
            status,
        });
    }

    /// What is due inside the channel.
    pub(super) fn inside_due(&mut self, now: Now, rng: &mut dyn Random) {
        if self.session.is_none() {
            return self.abandon();
        }
        let mut i = 0;
        while let Some(request) = self.inside.pending.get_mut(i) {
            match request.repeat.poll(now) {
                Some(Due::Repeat) => {
                    let text = core::mem::take(&mut request.text);
                    self.tally.repeated += 1;
                    self.send_sealed(&text);
                    if let Some(request) = self.inside.pending.get_mut(i) {
                        request.text = text;
                    }
                    i += 1;
                }
                Some(Due::GiveUp) => {
                    let request = self.inside.pending.swap_remove(i);
                    self.unanswered(now, rng, &request);
                }
                None => i += 1,
            }
        }
        self.watch(now, rng);
        self.upkeep(now, rng);
    }

    fn unanswered(&mut self, now: Now, rng: &mut dyn Random, request: &Request) {
        if matches!(request.kind, Kind::Plain | Kind::Invite) {
            self.events.push_back(Event::Response { id: request.id, status: 408 });
        }
        // Whoever was asked may be gone, or the core: only the proxy's own silence ends the session.
        if request.kind == Kind::Deregister {
            self.deregistered();
        } else if request.kind == Kind::Refresh && self.pending.is_none() && self.provisional.is_none() {
            self.begin(now, rng);
        }
    }

    /// The sign of life is repeated, and given up: then the session is lost.
    fn watch(&mut self, now: Now, rng: &mut dyn Random) {
        match self.inside.sign.as_mut().and_then(|sign| sign.poll(now)) {
            Some(Due::Repeat) => {
                self.tally.repeated += 1;
                self.ask_for_sign();
            }
            Some(Due::GiveUp) => {
                self.machine.session_lost(now, rng);
                self.forget_session();
                if self.pending.is_none() && self.provisional.is_none() {
                    self.failed(now, Failure::Lost);
                }
            }
            None => {}
        }
    }

    /// Refresh, sign of life, and a new key before the sequence numbers run out.
    fn upkeep(&mut self, now: Now, rng: &mut dyn Random) {
        let busy = |kind, inside: &Inside| inside.pending.iter().any(|r| r.kind == kind);
        let Some(session) = &mut self.session else { return };
        if session.worn() {
            self.machine.renew(now);
        }
        let probe_ms = u64::from(self.profile.probe_ms);
        let quiet = probe_ms != 0 && session.heard_ms + probe_ms <= now.mono_ms;
        let stale = session.refresh_ms <= now.mono_ms;
        if stale {
            session.refresh_ms = u64::MAX;
        }
        if stale && !busy(Kind::Refresh, &self.inside) {
            self.register_inside(now, rng, Kind::Refresh, self.profile.expires_s);
        }
        if quiet && self.inside.sign.is_none() {
            self.inside.sign = Some(Repeating::begin(self.profile.inside, now));
            self.ask_for_sign();
        }
    }

    fn abandon(&mut self) {
        for request in core::mem::take(&mut self.inside.pending) {
            if matches!(request.kind, Kind::Plain | Kind::Invite) {
                self.events.push_back(Event::Response { id: request.id, status: 408 });
            }
        }
    }

    /// The next thing to do inside the channel.
    pub(super) fn inside_deadline(&self) -> Option<(u64, Why)> {
        let session = self.session.as_ref()?;
        let again = self.inside.pending.iter().map(|r| (r.repeat.deadline().0, Why::Inside)).min_by_key(|d| d.0);
        let refresh = (session.refresh_ms != u64::MAX).then_some((session.refresh_ms, Why::Refresh));
        let probe_ms = u64::from(self.profile.probe_ms);
        let probe = match &self.inside.sign {
            Some(sign) => Some((sign.deadline().0, Why::Probe)),
            None => (probe_ms != 0).then_some((session.heard_ms + probe_ms, Why::Probe)),
        };
        [again, refresh, probe].into_iter().flatten().min_by_key(|d| d.0)
    }
}

fn written(write: impl FnOnce(&mut Writer<'_>) -> Result<(), Full>) -> Option<Vec<u8>> {
    let mut room = [0u8; MESSAGE_MAX];
    let mut w = Writer::new(&mut room);
    write(&mut w).ok()?;
    w.finish().ok()?;
    Some(w.written().to_vec())
}
