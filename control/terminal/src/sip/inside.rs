//! What a terminal does inside its channel: refreshes and ends its registration, asks for signs of life, sends and
//! answers requests.
//!
//! As user agent server it is stateless: a request that comes again gets the same answer again, so a lost answer needs
//! no timer here. INVITE is answered 200 at once; this is a terminal to test reachability with, not a phone.

use super::{Sip, SipTerminal, branch, compose, text, written};
use crate::agent::Ctx;
use crate::event::Event;
use crate::requests::{Request, Requests};
use portunus_codec::Writer;
use portunus_keydist::{Idc, Now, Random};
use portunus_sip::carriage::terminal::{Plain, Txn, granted, write_register, write_request, write_response};
use portunus_sip::view::uri::put_idc_uri;
use portunus_sip::view::{Message, Method, Name};

/// Dialogs that a terminal keeps at most; an INVITE beyond gets 486.
const DIALOGS_MAX: usize = 4;

/// Requests under way and dialogs.
#[derive(Default)]
pub(super) struct Inside {
    pub(super) requests: Requests<[u8; 23], Kind>,
    dialogs: Vec<Dialog>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Refresh,
    Deregister,
    /// The owner's.
    Plain,
    Invite,
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
        self.call(now, rng, |sip, ctx| sip.request_to(ctx, kind, method, &uri, body))
    }

    /// Ends the newest dialog with BYE. Returns as [`SipTerminal::send_request`].
    pub fn hang_up(&mut self, now: Now, rng: &mut dyn Random) -> Option<u32> {
        self.call(now, rng, |sip, ctx| sip.bye(ctx))
    }
}

impl Sip {
    fn bye(&mut self, ctx: &mut Ctx<'_>) -> Option<u32> {
        let mut dialog = self.inside.dialogs.pop()?;
        dialog.cseq += 1;
        let bits = branch(ctx.rng.next_u64());
        let outline = Outline {
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
        };
        let text = compose_plain(ctx, &outline)?;
        self.inside.requests.ask(ctx, bits, Kind::Plain, text)
    }

    pub(super) fn register_inside(&mut self, ctx: &mut Ctx<'_>, kind: Kind, expires: u32) -> Option<u32> {
        if !ctx.is_active() {
            return None;
        }
        let (cseq, branch) = self.next_txn(ctx.rng);
        let text =
            compose(&ctx.env(), self.call, cseq, &branch, |agent, txn, w| write_register(agent, txn, expires, w))?;
        self.inside.requests.ask(ctx, branch, kind, text)
    }

    pub(super) fn request_to(
        &mut self,
        ctx: &mut Ctx<'_>,
        kind: Kind,
        method: &str,
        uri: &str,
        body: &[u8],
    ) -> Option<u32> {
        if !ctx.is_active() {
            return None;
        }
        let (bits, call) = (branch(ctx.rng.next_u64()), ctx.rng.next_u64());
        let outline = Outline {
            method,
            uri,
            to_uri: uri,
            to_tag: None,
            from_tag: &format!("{:08x}", call as u32),
            call_id: &text::call_id(ctx.env().tag, call),
            cseq: 1,
            branch: &bits,
            route: None,
            body,
        };
        let text = compose_plain(ctx, &outline)?;
        self.inside.requests.ask(ctx, bits, kind, text)
    }

    pub(super) fn heard(&mut self, ctx: &mut Ctx<'_>, octets: &[u8]) {
        let Ok(message) = Message::parse(octets) else {
            ctx.ignore();
            return;
        };
        if ctx.env().profile.through && !self.is_awaited(&message) {
            return ctx.tell(Event::Inside { message: octets.to_vec() });
        }
        if message.is_request() { self.answer(ctx, &message) } else { self.on_response(ctx, &message) }
    }

    /// True for an answer to a request of the terminal's own.
    fn is_awaited(&self, message: &Message<'_>) -> bool {
        let branch = message.via().branch().and_then(|b| b.try_into().ok());
        !message.is_request() && branch.is_some_and(|key| self.inside.requests.awaits(&key))
    }

    fn on_response(&mut self, ctx: &mut Ctx<'_>, message: &Message<'_>) {
        let status = message.status();
        let top = message.via().branch();
        let key: Option<[u8; 23]> = top.and_then(|b| b.try_into().ok());
        let Some(key) = key.filter(|key| self.inside.requests.awaits(key)) else {
            // A 200 that came again because its ACK was lost.
            if message.method() == Method::Invite && (200..300).contains(&status) {
                self.acknowledge(ctx, message);
            }
            return;
        };
        let Some(request) = (status >= 200).then(|| self.inside.requests.answered(&key)).flatten() else { return };
        match request.purpose {
            Kind::Refresh => refreshed(ctx, message),
            Kind::Deregister if (200..300).contains(&status) => self.deregistered(ctx),
            // Still registered, and able to ask again.
            Kind::Deregister | Kind::Plain => ctx.tell(Event::Response { id: request.id, status }),
            Kind::Invite => {
                if status < 300 {
                    self.enter_dialog_as_caller(message);
                    self.acknowledge(ctx, message);
                } else {
                    acknowledge_refusal(ctx, &request, message);
                }
                ctx.tell(Event::Response { id: request.id, status });
            }
        }
    }

    fn deregistered(&mut self, ctx: &mut Ctx<'_>) {
        self.inside.dialogs.clear();
        ctx.deregistered();
    }

    /// ACK of a 200 (RFC 3261 section 13.2.2.4): a request of its own in the dialog.
    fn acknowledge(&mut self, ctx: &mut Ctx<'_>, message: &Message<'_>) {
        let call_id = message.call_id();
        let bits = branch(ctx.rng.next_u64());
        let Some(dialog) = self.inside.dialogs.iter().find(|d| d.call_id.as_bytes() == call_id) else { return };
        let outline = Outline {
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
        };
        if let Some(text) = compose_plain(ctx, &outline) {
            ctx.say(&text);
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
    fn answer(&mut self, ctx: &mut Ctx<'_>, request: &Message<'_>) {
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
            let env = ctx.env();
            let contact = text::contact(env.idc.as_str(), env.local, env.profile.transport);
            let contact = (request.method() == Method::Invite).then_some(contact.as_str());
            let text = written(|w| write_response(request, status, reason, &tag, contact, None, w));
            if let Some(text) = text {
                ctx.say(&text);
            }
        }
        ctx.tell(Event::Request {
            method: owned(request.method_token()),
            from: owned(request.from().uri),
            body: request.body().to_vec(),
            status,
        });
    }

    /// A request that nobody answered.
    pub(super) fn unanswered(&mut self, ctx: &mut Ctx<'_>, request: &Request<[u8; 23], Kind>) {
        match request.purpose {
            Kind::Plain | Kind::Invite => ctx.tell(Event::Response { id: request.id, status: 408 }),
            // Whoever was asked may be gone, or the core: only the proxy's own silence ends the session.
            Kind::Deregister => self.deregistered(ctx),
            Kind::Refresh => ctx.register_anew(),
        }
    }

    /// The session is over.
    pub(super) fn abandon(&mut self, ctx: &mut Ctx<'_>) {
        for request in self.inside.requests.abandon() {
            if matches!(request.purpose, Kind::Plain | Kind::Invite) {
                ctx.tell(Event::Response { id: request.id, status: 408 });
            }
        }
    }
}

/// A request that is not REGISTER, spelled out.
fn compose_plain(ctx: &Ctx<'_>, o: &Outline<'_>) -> Option<Vec<u8>> {
    let env = ctx.env();
    let contact = text::contact(env.idc.as_str(), env.local, env.profile.transport);
    let plain = Plain {
        method: o.method,
        uri: o.uri,
        from: env.idc,
        from_tag: o.from_tag,
        to_uri: o.to_uri,
        to_tag: o.to_tag,
        call_id: o.call_id,
        txn: Txn { cseq: o.cseq, branch: core::str::from_utf8(o.branch).ok()? },
        local: env.local,
        transport: env.carrier,
        contact: (o.method == "INVITE").then_some(&contact),
        route: o.route,
        body: (!o.body.is_empty()).then_some(("text/plain", o.body)),
    };
    written(|w| write_request(&plain, w))
}

/// ACK of a refusal (section 17.1.1.3): part of the INVITE's transaction.
fn acknowledge_refusal(ctx: &mut Ctx<'_>, request: &Request<[u8; 23], Kind>, message: &Message<'_>) {
    let Ok(invite) = Message::parse(&request.text) else { return };
    let to_tag = message.to().tag().map(owned);
    let outline = Outline {
        method: "ACK",
        uri: &owned(invite.uri()),
        to_uri: &owned(message.to().uri),
        to_tag: to_tag.as_deref(),
        from_tag: &owned(message.from().tag().unwrap_or_default()),
        call_id: &owned(message.call_id()),
        cseq: message.cseq().0,
        branch: &request.key,
        route: None,
        body: &[],
    };
    if let Some(text) = compose_plain(ctx, &outline) {
        ctx.say(&text);
    }
}

fn refreshed(ctx: &mut Ctx<'_>, message: &Message<'_>) {
    let env = ctx.env();
    let contact = text::contact(env.idc.as_str(), env.local, env.profile.transport);
    let ok = (200..300).contains(&message.status());
    match ok.then(|| granted(message.octets(), &contact)).flatten() {
        Some(expires_s) => ctx.refreshed(expires_s),
        None => ctx.register_anew(),
    }
}
