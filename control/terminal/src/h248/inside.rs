//! What a gateway does inside its session: replies to the controller's audits and modifications at most once, notifies,
//! changes its service.

use super::terminations::{PACKAGES, ROOT_PACKAGES, Terminations, hook_event, knows};
use super::{H248, Inactivity, REPLIES_MAX, sender, written};
use crate::agent::Ctx;
use crate::event::Event;
use crate::requests::Request;
use portunus_codec::parse_u32;
use portunus_h248::carriage::message::{self, HISTORY_MS};
use portunus_h248::view::{Command, CommandKind, Context, Element, Kind, Message, Method, Transaction};
use std::fmt::Write as _;

/// What a request of the gateway's is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// The owner's.
    Plain,
    /// A sign of life, of which the owner hears nothing.
    Life,
    /// The end.
    Deregister,
}

/// What the owner hears of a request that nobody answered.
const UNANSWERED: u16 = 408;
/// What stands for success where the protocol has no code for it.
const DONE: u16 = 200;
/// Not authenticated: the core forgot the gateway.
const UNAUTHORIZED: u16 = 402;

/// A command that cannot be done: the error's code and text.
struct Unable(u16, &'static str);

const UNKNOWN_CONTEXT: Unable = Unable(411, "The transaction refers to an unknown ContextID");
const UNKNOWN_TERMINATION: Unable = Unable(430, "Unknown TerminationID");
const NO_TERMINATION: Unable = Unable(431, "No TerminationID matched a wildcard");
const UNKNOWN_PACKAGE: Unable = Unable(440, "Unsupported or unknown Package");
const NOT_IMPLEMENTED: Unable = Unable(501, "Not implemented");

impl H248 {
    /// A termination's receiver is lifted or put down.
    pub(super) fn hook(&mut self, ctx: &mut Ctx<'_>, termination: &str, lifted: bool) -> Option<u32> {
        let place = self.terminations.place(termination)?;
        let line = self.terminations.get_mut(place)?;
        line.lifted = lifted;
        let wanted = line.events.split(|c| *c == b',').any(|e| e.eq_ignore_ascii_case(hook_event(lifted).as_bytes()));
        if wanted { self.notify_hook(ctx, place) } else { None }
    }

    /// The receiver of the first termination, lifted or put down, and notified whoever asked.
    pub(super) fn lift_in_turn(&mut self, ctx: &mut Ctx<'_>) -> Option<u32> {
        let line = self.terminations.get_mut(0)?;
        line.lifted = !line.lifted;
        let id = self.notify_hook(ctx, 0);
        if id.is_none() {
            let line = self.terminations.get_mut(0)?;
            line.lifted = !line.lifted;
        }
        id
    }

    /// Notify of a receiver, under the identifier of the request that asked for it.
    fn notify_hook(&mut self, ctx: &mut Ctx<'_>, place: usize) -> Option<u32> {
        let line = self.terminations.get(place)?;
        let (request, event) = (line.request, hook_event(line.lifted));
        let actions = format!("C=-{{N={}{{OE={request}{{{event}}}}}}}", Terminations::name(place));
        self.ask(ctx, &actions, Purpose::Plain)
    }

    /// ServiceChange.
    pub(super) fn service_change(
        &mut self,
        ctx: &mut Ctx<'_>,
        termination: &str,
        method: Method,
        (reason, delay_s): (&str, Option<u32>),
        purpose: Purpose,
    ) -> Option<u32> {
        let method = match method {
            Method::Graceful => "GR",
            Method::Forced => "FO",
            Method::Restart => "RS",
            Method::Disconnected => "DC",
            Method::HandOff => "HO",
            Method::Failover => "FL",
            Method::Other => return None,
        };
        let delay = delay_s.map(|s| format!(",DL={s}")).unwrap_or_default();
        let actions = format!("C=-{{SC={termination}{{SV{{MT={method},RE=\"{reason}\"{delay}}}}}}}");
        self.ask(ctx, &actions, purpose)
    }

    fn ask(&mut self, ctx: &mut Ctx<'_>, actions: &str, purpose: Purpose) -> Option<u32> {
        let transaction = self.next_transaction();
        let octets = written(|w| message::write_request(&sender(ctx.env().idc), transaction, actions, w))?;
        self.active_now(ctx);
        self.requests.ask(ctx, transaction, purpose, octets)
    }

    /// A message of ours leaves: inactivity is counted from now.
    fn active_now(&mut self, ctx: &Ctx<'_>) {
        if let Some(inactivity) = &mut self.inactivity {
            inactivity.due_ms = ctx.now.mono_ms + inactivity.every_ms;
        }
    }

    /// Tells the controller of inactivity where it is due.
    pub(super) fn say_inactive(&mut self, ctx: &mut Ctx<'_>) {
        let Some(due) = self.inactivity.filter(|i| i.due_ms <= ctx.now.mono_ms) else { return };
        if !ctx.is_active() {
            self.inactivity = None;
            return;
        }
        self.active_now(ctx);
        self.ask(ctx, &format!("C=-{{N=ROOT{{OE={}{{it/ito}}}}}}", due.request), Purpose::Life);
    }

    /// A message from inside the session.
    pub(super) fn heard(&mut self, ctx: &mut Ctx<'_>, octets: &[u8]) {
        let msg = match Message::parse(octets) {
            Ok(msg) => msg,
            Err(fault) => {
                ctx.ignore();
                let answer = written(|w| message::write_fault(&sender(ctx.env().idc), octets, &fault, w).map(|_| ()));
                if let Some(answer) = answer.filter(|answer| !answer.is_empty()) {
                    ctx.say(&answer);
                }
                return;
            }
        };
        if ctx.env().profile.through && !self.is_awaited(&msg) {
            if msg.transactions().any(|t| t.error().is_some_and(|e| e.code == UNAUTHORIZED)) {
                ctx.register_anew();
            }
            return ctx.tell(Event::Inside { message: octets.to_vec() });
        }
        for t in msg.transactions() {
            match t.kind {
                Kind::Request => self.on_request(ctx, &t),
                Kind::Reply => self.on_reply(ctx, &t),
                Kind::ResponseAck => self
                    .replies
                    .retain(|(replied, ..)| !t.acknowledged().any(|(first, last)| (first..=last).contains(replied))),
                Kind::Pending | Kind::Segment | Kind::Error => {}
            }
        }
    }

    /// True for a reply to a request of the terminal's own, alone in its message.
    fn is_awaited(&self, msg: &Message<'_>) -> bool {
        msg.transactions().all(|t| t.kind == Kind::Reply && self.requests.awaits(&t.id))
    }

    fn on_reply(&mut self, ctx: &mut Ctx<'_>, reply: &Transaction<'_>) {
        if reply.wants_ack()
            && let Some(ack) = written(|w| message::write_ack(&sender(ctx.env().idc), reply.id, w))
        {
            ctx.say(&ack);
        }
        let Some(request) = self.requests.answered(&reply.id) else { return };
        let deeper = || reply.actions().find_map(|a| a.error().or_else(|| a.commands().find_map(|c| c.error())));
        let status = reply.error().or_else(deeper).map_or(DONE, |e| e.code);
        let elsewhere =
            reply.actions().flat_map(|a| a.commands()).any(|c| c.services().is_some_and(|s| s.mgc().is_some()));
        match (request.purpose, status) {
            (Purpose::Deregister, DONE) => ctx.deregistered(),
            (Purpose::Life, _) => {}
            _ => ctx.tell(Event::Response { id: request.id, status }),
        }
        // The core forgot the gateway, or another controller is to serve it.
        if status == UNAUTHORIZED || elsewhere {
            ctx.register_anew();
        }
    }

    fn on_request(&mut self, ctx: &mut Ctx<'_>, request: &Transaction<'_>) {
        let now_ms = ctx.now.mono_ms;
        self.replies.retain(|(_, at_ms, _)| at_ms + HISTORY_MS > now_ms);
        if let Some((.., reply)) = self.replies.iter().find(|(replied, ..)| *replied == request.id) {
            let reply = reply.clone();
            return ctx.repeat(&reply);
        }
        let mut actions = String::new();
        for (i, action) in request.actions().enumerate() {
            let context = match action.context {
                Context::Null => "-".to_owned(),
                Context::Choose => "$".to_owned(),
                Context::All => "*".to_owned(),
                Context::Id(id) => id.to_string(),
            };
            _ = write!(actions, "{}C={context}{{", if i > 0 { "," } else { "" });
            if matches!(action.context, Context::Null) {
                self.execute(ctx, action.commands(), &mut actions);
            } else {
                put_error(&UNKNOWN_CONTEXT, &mut actions);
            }
            actions.push('}');
        }
        let from = sender(ctx.env().idc);
        let reply = written(|w| message::write_reply(&from, request.id, &actions, w));
        // H.248.8: the reply is longer than a message may be.
        let reply =
            reply.or_else(|| written(|w| message::write_error(&from, request.id, 533, "Response too large", w)));
        let Some(reply) = reply else { return };
        ctx.say(&reply);
        self.active_now(ctx);
        if self.replies.len() >= REPLIES_MAX {
            self.replies.pop_front();
        }
        self.replies.push_back((request.id, now_ms, reply));
    }

    /// The commands of one action, until one fails that is not optional.
    fn execute<'m>(&mut self, ctx: &mut Ctx<'_>, commands: impl Iterator<Item = Command<'m>>, out: &mut String) {
        let mut replied = 0;
        for command in commands {
            if replied > 0 {
                out.push(',');
            }
            replied += 1;
            let name = text(command.terminations().next().unwrap_or_default());
            let done = self.command(ctx, &command, &name, out);
            let status = done.as_ref().map_or_else(|Unable(code, _)| *code, |()| DONE);
            let signals = command.descriptors().find(|d| is(d, b"Signals", b"SG"));
            ctx.tell(Event::Request {
                method: format!("{:?}", command.kind),
                from: name.clone(),
                body: signals.map(|s| s.block().to_vec()).unwrap_or_default(),
                status,
            });
            if let Err(unable) = done {
                // The whole command failed: so its reply says, and no later one is done.
                _ = write!(out, "{}={name}{{", token(command.kind));
                put_error(&unable, out);
                out.push('}');
                if !command.optional {
                    return;
                }
            }
        }
        if replied == 0 {
            put_error(&NOT_IMPLEMENTED, out);
        }
    }

    /// Does a command, and writes what it is replied.
    fn command(
        &mut self,
        ctx: &mut Ctx<'_>,
        command: &Command<'_>,
        name: &str,
        out: &mut String,
    ) -> Result<(), Unable> {
        let (root, all) = (command.is_root(), name.contains('*'));
        let places = if root { Vec::new() } else { self.terminations.covered(name) };
        if !root && places.is_empty() {
            return Err(if all { NO_TERMINATION } else { UNKNOWN_TERMINATION });
        }
        let token = token(command.kind);
        match command.kind {
            CommandKind::AuditValue | CommandKind::AuditCapability => {
                let names: Vec<String> = match (root, all && command.wildcard) {
                    (true, _) => vec!["ROOT".to_owned()],
                    (_, true) => vec![name.to_owned()],
                    _ => places.iter().map(|n| Terminations::name(*n)).collect(),
                };
                for (i, name) in names.iter().enumerate() {
                    _ = write!(out, "{}{token}={name}", if i > 0 { "," } else { "" });
                    let place = self.terminations.place(name).or(places.first().copied()).filter(|_| !root);
                    let audit = command.descriptors().next();
                    let items: Vec<_> = audit.into_iter().flat_map(|a| self.audited(place, &a)).collect();
                    if !items.is_empty() {
                        _ = write!(out, "{{{}}}", items.join(","));
                    }
                }
            }
            CommandKind::Modify => {
                self.modify(ctx, command, root, &places)?;
                _ = write!(out, "{token}={name}");
            }
            CommandKind::ServiceChange => {
                _ = write!(out, "{token}={name}");
                // A handoff: whoever serves it next is asked to, through the proxy.
                if root && command.services().and_then(|s| s.method()) == Some(Method::HandOff) {
                    ctx.register_anew();
                }
            }
            CommandKind::Add | CommandKind::Move | CommandKind::Subtract | CommandKind::Notify => {
                return Err(NOT_IMPLEMENTED);
            }
        }
        Ok(())
    }

    /// What an audit finds of one termination, or of the gateway (`None`), item by item; what is empty is left out.
    fn audited(&self, place: Option<usize>, audit: &Element<'_>) -> Vec<String> {
        let line = place.and_then(|n| self.terminations.get(n));
        let item = |i: Element<'_>| {
            if is(&i, b"Packages", b"PG") {
                return Some(format!("PG{{{}}}", if line.is_some() { PACKAGES } else { ROOT_PACKAGES }));
            }
            if is(&i, b"Media", b"M") && line.is_some() {
                return Some("M{TS{SI=IV}}".to_owned());
            }
            if is(&i, b"Events", b"E") {
                return match (line, self.inactivity) {
                    (Some(line), _) if !line.events.is_empty() => {
                        Some(format!("E={}{{{}}}", line.request, text(&line.events)))
                    }
                    (None, Some(i)) => Some(format!("E={}{{it/ito{{mit=\"{}\"}}}}", i.request, i.every_ms / 10)),
                    _ => None,
                };
            }
            None
        };
        audit.elements().filter_map(item).collect()
    }

    /// Modify: the events wanted and the signals applied replace those before.
    fn modify(&mut self, ctx: &Ctx<'_>, command: &Command<'_>, root: bool, places: &[usize]) -> Result<(), Unable> {
        let lists = || command.descriptors().filter(|d| is(d, b"Events", b"E") || is(d, b"Signals", b"SG"));
        if lists().flat_map(|d| d.elements()).any(|e| !knows(e.name(), root)) {
            return Err(UNKNOWN_PACKAGE);
        }
        let Some(events) = command.descriptors().find(|d| is(d, b"Events", b"E")) else { return Ok(()) };
        let request = parse_u32(events.value()).unwrap_or(0);
        if root {
            let ito = events.elements().find(|e| e.name().eq_ignore_ascii_case(b"it/ito"));
            self.inactivity = ito.map(|ito| {
                // Ten milliseconds each; a quarter of a minute where it does not say, and no less than a second.
                let mit = ito.elements().find(|p| p.name().eq_ignore_ascii_case(b"mit"));
                let mit = mit.and_then(|p| parse_u32(p.text())).unwrap_or(1_500);
                let every_ms = (u64::from(mit) * 10).max(1_000);
                Inactivity { request, every_ms, due_ms: ctx.now.mono_ms + every_ms }
            });
            return Ok(());
        }
        let names: Vec<_> = events.elements().map(|e| text(e.name())).collect();
        for place in places {
            if let Some(line) = self.terminations.get_mut(*place) {
                (line.request, line.events) = (request, names.join(",").into_bytes().into());
            }
        }
        Ok(())
    }

    /// A request that nobody answered.
    pub(super) fn unanswered(&mut self, ctx: &mut Ctx<'_>, request: &Request<u32, Purpose>) {
        match request.purpose {
            Purpose::Plain => ctx.tell(Event::Response { id: request.id, status: UNANSWERED }),
            Purpose::Life => {}
            // The core may be gone: the gateway is out of service whoever heard of it.
            Purpose::Deregister => ctx.deregistered(),
        }
    }

    /// The session is over.
    pub(super) fn abandon(&mut self, ctx: &mut Ctx<'_>) {
        self.terminations.forget();
        self.inactivity = None;
        self.replies.clear();
        for request in self.requests.abandon() {
            if request.purpose == Purpose::Plain {
                ctx.tell(Event::Response { id: request.id, status: UNANSWERED });
            }
        }
    }
}

fn put_error(Unable(code, text): &Unable, out: &mut String) {
    _ = write!(out, "ER={code}{{\"{text}\"}}");
}

fn is(e: &Element<'_>, long: &[u8], short: &[u8]) -> bool {
    e.name().eq_ignore_ascii_case(long) || e.name().eq_ignore_ascii_case(short)
}

fn text(octets: &[u8]) -> String {
    String::from_utf8_lossy(octets).into_owned()
}

const fn token(kind: CommandKind) -> &'static str {
    match kind {
        CommandKind::Add => "A",
        CommandKind::Move => "MV",
        CommandKind::Modify => "MF",
        CommandKind::Subtract => "S",
        CommandKind::AuditValue => "AV",
        CommandKind::AuditCapability => "AC",
        CommandKind::Notify => "N",
        CommandKind::ServiceChange => "SC",
    }
}
