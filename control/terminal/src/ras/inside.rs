//! What an endpoint does inside its session: keeps its registration, asks for admission and location, answers what its
//! gatekeeper asks.

use super::{Ras, asked_s, described, written};
use crate::agent::Ctx;
use crate::event::Event;
use crate::requests::Request;
use portunus_h323::carriage::write_fault;
use portunus_h323::view::{Kind, Message, Reason};
use portunus_h323::write::{self, Call, Registering};

/// What a request of the endpoint's is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// The owner's.
    Plain,
    /// The owner's, for admission of this call.
    Admission(Call),
    /// The end of a call that was admitted, of which the owner hears nothing.
    Disengage,
    /// A lightweight registration.
    Refresh,
    /// The end.
    Deregister,
}

/// What the owner hears of a request that was granted, that was rejected, and that nobody answered.
const GRANTED: u16 = 200;
const REJECTED: u16 = 403;
const NOT_FOUND: u16 = 404;
const UNANSWERED: u16 = 408;
/// What is asked to be admitted, hundreds of bits a second.
const BANDWIDTH: u32 = 1_280;

impl Ras {
    /// A lightweight RegistrationRequest; a registration afresh where there is no room for it.
    pub(super) fn keep_alive(&mut self, ctx: &mut Ctx<'_>) {
        let seq = self.next_seq();
        let (env, how) = (ctx.env(), Registering::KeepAlive { endpoint_id: &self.id });
        let octets = described(&env, |e| written(|w| write::registration_request(seq, e, asked_s(&env), &how, w)));
        let asked = octets.and_then(|octets| self.requests.ask(ctx, seq, Purpose::Refresh, octets));
        if asked.is_none() {
            ctx.register_anew();
        }
    }

    /// UnregistrationRequest.
    pub(super) fn leave(&mut self, ctx: &mut Ctx<'_>) -> bool {
        let seq = self.next_seq();
        let octets = described(&ctx.env(), |e| {
            written(|w| write::unregistration_request(seq, e.signal, e.aliases, Some(&self.id), w))
        });
        octets.and_then(|octets| self.requests.ask(ctx, seq, Purpose::Deregister, octets)).is_some()
    }

    /// AdmissionRequest.
    pub(super) fn admission(&mut self, ctx: &mut Ctx<'_>, alias: &str) -> Option<u32> {
        let seq = self.next_seq();
        let mut call = Call { conference: [0; 16], id: [0; 16], reference: seq & 0x7fff };
        ctx.rng.fill(&mut call.conference);
        ctx.rng.fill(&mut call.id);
        let own = [ctx.env().idc.as_str()];
        let octets = written(|w| write::admission_request(seq, &self.id, &own, &[alias], &call, false, BANDWIDTH, w))?;
        self.requests.ask(ctx, seq, Purpose::Admission(call), octets)
    }

    /// LocationRequest.
    pub(super) fn locate(&mut self, ctx: &mut Ctx<'_>, alias: &str) -> Option<u32> {
        let seq = self.next_seq();
        let reply = ctx.env().local;
        let octets = written(|w| write::location_request(seq, Some(&self.id), &[alias], reply, w))?;
        self.requests.ask(ctx, seq, Purpose::Plain, octets)
    }

    /// DisengageRequest: the call that was admitted is not made.
    fn disengage(&mut self, ctx: &mut Ctx<'_>, call: &Call) {
        let seq = self.next_seq();
        if let Some(octets) = written(|w| write::disengage_request(seq, &self.id, call, w)) {
            self.requests.ask(ctx, seq, Purpose::Disengage, octets);
        }
    }

    /// A message from inside the session.
    pub(super) fn heard(&mut self, ctx: &mut Ctx<'_>, octets: &[u8]) {
        let msg = match Message::parse(octets) {
            Ok(msg) => msg,
            Err(fault) => {
                ctx.ignore();
                let answer = written(|w| write_fault(octets, &fault, w).map(|_| ()));
                if let Some(answer) = answer.filter(|answer| !answer.is_empty()) {
                    ctx.say(&answer);
                }
                return;
            }
        };
        match msg.kind() {
            Kind::RequestInProgress => {
                if !self.requests.postpone(ctx, &msg.seq(), msg.delay_ms().unwrap_or(1)) {
                    ctx.ignore();
                }
            }
            kind if kind.is_request() => self.on_request(ctx, &msg),
            _ => self.on_answer(ctx, &msg),
        }
    }

    /// What a gatekeeper asks.
    fn on_request(&mut self, ctx: &mut Ctx<'_>, msg: &Message<'_>) {
        let (kind, seq, mut status) = (msg.kind(), msg.seq(), GRANTED);
        let answer = match kind {
            Kind::InfoRequest => {
                described(&ctx.env(), |e| written(|w| write::info_request_response(seq, e, &self.id, false, w)))
            }
            Kind::UnregistrationRequest if self.is_named(ctx, msg) => {
                ctx.register_anew();
                written(|w| write::confirm(Kind::UnregistrationConfirm, seq, w))
            }
            // There is no call here: it is over already.
            Kind::DisengageRequest => written(|w| write::confirm(Kind::DisengageConfirm, seq, w)),
            _ => {
                status = REJECTED;
                match kind.reject() {
                    Some(reject) => {
                        let other = kind == Kind::UnregistrationRequest;
                        let reason = if other { Reason::NOT_REGISTERED } else { Reason::undefined(reject) };
                        written(|w| write::reject(reject, seq, reason, None, w))
                    }
                    None => written(|w| write::unknown_message_response(seq, msg.octets(), w)),
                }
            }
        };
        if let Some(answer) = answer {
            ctx.say(&answer);
        }
        let (method, from) = (format!("{kind:?}"), "gatekeeper".to_owned());
        ctx.tell(Event::Request { method, from, body: Vec::new(), status });
    }

    /// True when an UnregistrationRequest is of this registration and not of one before.
    fn is_named(&self, ctx: &Ctx<'_>, msg: &Message<'_>) -> bool {
        let own = ctx.env().idc;
        match msg.endpoint_id() {
            Some(id) => id.is(&self.id),
            None => !msg.has_aliases() || msg.aliases().any(|alias| alias.is(own.as_str())),
        }
    }

    fn on_answer(&mut self, ctx: &mut Ctx<'_>, msg: &Message<'_>) {
        let Some(request) = self.requests.answered(&msg.seq()) else { return ctx.ignore() };
        let (granted, reason) = (msg.kind().confirms(), msg.reason());
        let told = |status| Event::Response { id: request.id, status };
        match (request.purpose, granted) {
            (Purpose::Refresh, true) => ctx.refreshed(msg.time_to_live().unwrap_or(0)),
            // Whatever is wrong with it, it is not kept.
            (Purpose::Refresh, false) => ctx.register_anew(),
            (Purpose::Deregister, true) => ctx.deregistered(),
            (Purpose::Deregister, false) if reason == Some(Reason::NOT_REGISTERED) => ctx.deregistered(),
            (Purpose::Disengage, _) => {}
            (Purpose::Admission(call), true) => {
                ctx.tell(told(GRANTED));
                self.disengage(ctx, &call);
            }
            (_, true) => ctx.tell(told(GRANTED)),
            (purpose, false) => {
                ctx.tell(told(status(msg.kind(), reason)));
                let unknown = [Reason::CALLER_NOT_REGISTERED, Reason::INVALID_ENDPOINT_IDENTIFIER];
                // The core forgot the endpoint.
                if matches!(purpose, Purpose::Admission(_)) && reason.is_some_and(|reason| unknown.contains(&reason)) {
                    ctx.register_anew();
                }
            }
        }
    }

    /// A request that nobody answered.
    pub(super) fn unanswered(&mut self, ctx: &mut Ctx<'_>, request: &Request<u16, Purpose>) {
        match request.purpose {
            Purpose::Plain | Purpose::Admission(_) => {
                ctx.tell(Event::Response { id: request.id, status: UNANSWERED });
            }
            Purpose::Disengage => {}
            // The core may be gone: only the proxy's own silence ends the session.
            Purpose::Refresh => ctx.register_anew(),
            Purpose::Deregister => ctx.deregistered(),
        }
    }

    /// The session is over.
    pub(super) fn abandon(&mut self, ctx: &mut Ctx<'_>) {
        for request in self.requests.abandon() {
            if matches!(request.purpose, Purpose::Plain | Purpose::Admission(_)) {
                ctx.tell(Event::Response { id: request.id, status: UNANSWERED });
            }
        }
    }
}

/// A rejection in the words of SIP, as [`Event::Response`] has them.
fn status(kind: Kind, reason: Option<Reason>) -> u16 {
    match (kind, reason) {
        (Kind::AdmissionReject, Some(Reason::CALLED_PARTY_NOT_REGISTERED)) => NOT_FOUND,
        (Kind::LocationReject, Some(Reason::REQUEST_DENIED)) => NOT_FOUND,
        _ => REJECTED,
    }
}
