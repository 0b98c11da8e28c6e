//! What a gateway does inside its session: answers the call agent's audits and requests at most once, notifies,
//! restarts.

use super::lines::{Asked, Lines, Unknown, hook_event, knows};
use super::{ANSWERS_MAX, Mgcp, text, written};
use crate::agent::Ctx;
use crate::event::Event;
use crate::requests::Request;
use portunus_mgcp::code::{self, Code};
use portunus_mgcp::transaction::{HISTORY_MS, Response, confirmed, response};
use portunus_mgcp::view::{Endpoint, Message, Name, PARTS_MAX, Parts, Verb, is_request_id};
use portunus_mgcp::write;

/// What a command of the gateway's is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// The owner's.
    Plain,
    /// The end.
    Deregister,
}

/// The code that a command gets, and what stands in its answer.
struct Outcome {
    code: Code,
    lines: Vec<(&'static str, Vec<u8>)>,
}

fn only(code: Code) -> Outcome {
    Outcome { code, lines: Vec::new() }
}

impl Mgcp {
    /// An endpoint's receiver is lifted or put down.
    pub(super) fn hook(&mut self, ctx: &mut Ctx<'_>, local: &str, lifted: bool) -> Option<u32> {
        let n = self.lines.number(local)?;
        let wanted = self.lines.asked(n).is_some_and(|asked| {
            portunus_mgcp::view::Events::new(&asked.events).flatten().any(|e| {
                let of_line = e.package.is_none_or(|p| p.eq_ignore_ascii_case(b"L"));
                of_line && e.name.eq_ignore_ascii_case(hook_event(lifted).as_bytes())
            })
        });
        self.lines.set_lifted(n, lifted);
        if wanted { self.notify(ctx, n, lifted) } else { None }
    }

    /// NTFY of a receiver, under the identifier of the request that asked for it.
    pub(super) fn notify(&mut self, ctx: &mut Ctx<'_>, n: u16, lifted: bool) -> Option<u32> {
        let transaction = self.next_transaction();
        let asked = self.lines.asked(n);
        let octets = written(|w| {
            write::command(Verb::Ntfy, transaction, Lines::name(n).as_bytes(), ctx.env().idc.as_bytes(), w);
            if let Some(entity) = asked.map(|a| &a.notified).filter(|entity| !entity.is_empty()) {
                write::line("N", entity, w);
            }
            write::line("X", asked.map_or(b"0", |a| &a.x), w);
            write::line("O", format!("L/{}", hook_event(lifted)).as_bytes(), w);
        })?;
        let id = self.requests.ask(ctx, transaction, Purpose::Plain, octets)?;
        self.lines.set_lifted(n, lifted);
        Some(id)
    }

    /// RSIP.
    pub(super) fn restart(
        &mut self,
        ctx: &mut Ctx<'_>,
        local: &str,
        method: &str,
        delay_s: Option<u32>,
        purpose: Purpose,
    ) -> Option<u32> {
        let transaction = self.next_transaction();
        let octets = written(|w| {
            write::command(Verb::Rsip, transaction, local.as_bytes(), ctx.env().idc.as_bytes(), w);
            write::line("RM", method.as_bytes(), w);
            if let Some(delay_s) = delay_s {
                write::line("RD", delay_s.to_string().as_bytes(), w);
            }
        })?;
        self.requests.ask(ctx, transaction, purpose, octets)
    }

    /// True for the answer to a command of the terminal's own, alone in its datagram.
    fn is_awaited(&self, octets: &[u8]) -> bool {
        let read = Message::alone(octets);
        read.is_ok_and(|msg| response(&msg).is_some() && self.requests.awaits(&msg.transaction()))
    }

    /// A datagram from inside the session.
    pub(super) fn heard(&mut self, ctx: &mut Ctx<'_>, octets: &[u8]) {
        if ctx.env().profile.through && !self.is_awaited(octets) {
            let codes = Parts::new(octets).take(PARTS_MAX).filter_map(|part| Message::parse(part).ok()?.code());
            if codes.into_iter().any(is_forgotten) {
                ctx.register_anew();
            }
            return ctx.tell(Event::Inside { message: octets.to_vec() });
        }
        for part in Parts::new(octets).take(PARTS_MAX) {
            match Message::parse(part) {
                Ok(msg) => match response(&msg) {
                    Some(found) => self.on_answer(ctx, &msg, found),
                    None => self.on_command(ctx, &msg),
                },
                Err(fault) => {
                    ctx.ignore();
                    let readable = fault.kind != portunus_signalling::FaultKind::Unreadable;
                    if let Some(transaction) = Message::salvage(part).filter(|_| readable) {
                        respond(ctx, code::of(&fault), transaction);
                    }
                }
            }
        }
    }

    fn on_answer(&mut self, ctx: &mut Ctx<'_>, msg: &Message<'_>, found: Response) {
        let transaction = msg.transaction();
        let (code, confirm) = match found {
            Response::Pending => return,
            Response::Confirmed => return self.answers.retain(|(answered, ..)| *answered != transaction),
            Response::Final { code, confirm } => (code, confirm),
        };
        if confirm {
            respond(ctx, code::ACKNOWLEDGED, transaction);
        }
        let Some(request) = self.requests.answered(&transaction) else { return };
        match (request.purpose, code) {
            (Purpose::Deregister, 200..=299) => ctx.deregistered(),
            _ => ctx.tell(Event::Response { id: request.id, status: code }),
        }
        if is_forgotten(code) {
            ctx.register_anew();
        }
    }

    fn on_command(&mut self, ctx: &mut Ctx<'_>, msg: &Message<'_>) {
        let now_ms = ctx.now.mono_ms;
        let transaction = msg.transaction();
        self.answers.retain(|(answered, at_ms, _)| {
            at_ms + HISTORY_MS > now_ms && !confirmed(msg).any(|(first, last)| (first..=last).contains(answered))
        });
        if let Some((.., answer)) = self.answers.iter().find(|(answered, ..)| *answered == transaction) {
            let answer = answer.clone();
            return ctx.repeat(&answer);
        }
        let Some((verb, endpoint)) = msg.command() else { return };
        let outcome = match endpoint.domain == ctx.env().idc.as_bytes() {
            true => self.execute(verb, endpoint, msg),
            false => only(code::UNKNOWN_ENDPOINT),
        };
        let answer = written(|w| {
            write::response(outcome.code, transaction, w);
            outcome.lines.iter().for_each(|(name, value)| write::line(name, value, w));
        });
        let answer = answer.or_else(|| written(|w| write::response(code::RESPONSE_TOO_LARGE, transaction, w)));
        let Some(answer) = answer else { return };
        ctx.say(&answer);
        if self.answers.len() >= ANSWERS_MAX {
            self.answers.pop_front();
        }
        self.answers.push_back((transaction, now_ms, answer));
        ctx.tell(Event::Request {
            method: verb.as_str().to_owned(),
            from: format!("{}@{}", text(endpoint.local), text(endpoint.domain)),
            body: msg.value(Name::SignalRequests).unwrap_or_default().to_vec(),
            status: outcome.code,
        });
    }

    fn execute(&mut self, verb: Verb, endpoint: Endpoint<'_>, msg: &Message<'_>) -> Outcome {
        if msg.find(Name::Critical).is_some() {
            return only(code::UNKNOWN_EXTENSION);
        }
        let covered = self.lines.covered(endpoint);
        let Some(first) = covered.first() else { return only(code::UNKNOWN_ENDPOINT) };
        match verb {
            Verb::Auep if endpoint.is_wildcard() => self.names(&covered, endpoint.domain),
            Verb::Auep => self.audited(*first, msg.value(Name::RequestedInfo).unwrap_or_default()),
            Verb::Rqnt => self.requested(&covered, msg),
            // There are no connections here, and none can be made.
            Verb::Dlcx | Verb::Aucx | Verb::Mdcx => only(UNKNOWN_CONNECTION),
            _ => only(code::UNKNOWN_COMMAND),
        }
    }

    /// AUEP of a wildcard: the names.
    fn names(&self, covered: &[u16], domain: &[u8]) -> Outcome {
        let name = |n: &u16| [Lines::name(*n).as_bytes(), b"@", domain].concat();
        Outcome { code: code::OK, lines: covered.iter().map(|n| ("Z", name(n))).collect() }
    }

    /// AUEP of one endpoint: what was asked of it, item by item.
    fn audited(&self, n: u16, items: &[u8]) -> Outcome {
        let none = Asked::default();
        let asked = self.lines.asked(n).unwrap_or(&none);
        let state = || match self.lines.is_lifted(n) {
            true => b"L/hd".to_vec(),
            false => b"L/hu".to_vec(),
        };
        let item = |item: &[u8]| match &item.trim_ascii().to_ascii_uppercase()[..] {
            b"R" => Some(("R", asked.events.to_vec())),
            b"S" => Some(("S", asked.signals.to_vec())),
            b"X" => Some(("X", asked.x.to_vec())),
            b"N" => Some(("N", asked.notified.to_vec())),
            b"ES" => Some(("ES", state())),
            b"A" => Some(("A", b"v:L;D;G;x-pkd, m:inactive".to_vec())),
            b"I" => Some(("I", Vec::new())),
            _ => None,
        };
        Outcome { code: code::OK, lines: items.split(|c| *c == b',').take(16).filter_map(item).collect() }
    }

    /// RQNT.
    fn requested(&mut self, covered: &[u16], msg: &Message<'_>) -> Outcome {
        let Some(x) = msg.value(Name::RequestIdentifier).filter(|x| is_request_id(x)) else {
            return only(code::PROTOCOL_ERROR);
        };
        for list in [Name::RequestedEvents, Name::SignalRequests] {
            for event in msg.events(list) {
                match event.map(|e| knows(&e)) {
                    Ok(Ok(())) => {}
                    Ok(Err(Unknown::Package)) => return only(code::UNKNOWN_PACKAGE),
                    Ok(Err(Unknown::Event)) => return only(code::UNKNOWN_EVENT),
                    Err(fault) => return only(code::of(&fault)),
                }
            }
        }
        let value = |name| msg.value(name).unwrap_or_default().into();
        let asked = Asked {
            x: x.into(),
            events: value(Name::RequestedEvents),
            signals: value(Name::SignalRequests),
            notified: value(Name::NotifiedEntity),
        };
        covered.iter().for_each(|n| self.lines.ask(*n, asked.clone()));
        only(code::OK)
    }

    /// A command that nobody answered.
    pub(super) fn unanswered(&mut self, ctx: &mut Ctx<'_>, request: &Request<u32, Purpose>) {
        match request.purpose {
            Purpose::Plain => ctx.tell(Event::Response { id: request.id, status: UNANSWERED }),
            // The core may be gone: the gateway is out of service whoever heard of it.
            Purpose::Deregister => ctx.deregistered(),
        }
    }

    /// The session is over.
    pub(super) fn abandon(&mut self, ctx: &mut Ctx<'_>) {
        self.lines.forget();
        self.answers = std::collections::VecDeque::new();
        for request in self.requests.abandon() {
            if request.purpose == Purpose::Plain {
                ctx.tell(Event::Response { id: request.id, status: UNANSWERED });
            }
        }
    }
}

/// The core forgot the gateway, or another call agent is to serve it.
const fn is_forgotten(code: Code) -> bool {
    matches!(code, code::UNKNOWN_ENDPOINT | code::REDIRECTED)
}

/// What the owner hears of a command that nobody answered.
const UNANSWERED: u16 = 408;
/// The connection is unknown (RFC 3435 section 2.4).
const UNKNOWN_CONNECTION: Code = 515;

fn respond(ctx: &mut Ctx<'_>, code: Code, transaction: u32) {
    if let Some(octets) = written(|w| write::response(code, transaction, w)) {
        ctx.say(&octets);
    }
}
