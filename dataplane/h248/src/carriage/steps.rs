//! The registration's steps in a message: which it is, and its parameters.

use crate::PACKAGE;
use crate::view::{Command, CommandKind, Element, Kind, Message, Services, Tok};
use portunus_codec::find;
use portunus_keydist::params::{PARAMS_MAX, ParamError, ParamFault, Params};
use portunus_signalling::{Fault, FaultKind};

/// A step, where a message is one and nothing else.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Step<'m> {
    /// A registration: s1, s2.
    Register {
        /// Its transaction.
        id: u32,
        /// The version of the protocol that it proposes, else that of its header.
        version: u8,
        /// What else it says.
        services: Services<'m>,
        /// Its parameters.
        params: Params<'m>,
    },
    /// The answer to a challenge: s7, s8.
    Response {
        /// Its transaction.
        id: u32,
        /// The request that it answers.
        request_id: u32,
        /// Its parameters.
        params: Params<'m>,
    },
    /// A signal of the package: s5, s6, s9, s10, cookie or refusal.
    Signal {
        /// Its transaction.
        id: u32,
        /// Which.
        name: Signal,
        /// Its parameters.
        params: Params<'m>,
    },
}

/// The package's signals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signal {
    Chal,
    Key,
    Fail,
    Cookie,
}

/// The item of an event's or signal's name that is of the package.
fn item<'m>(e: &Element<'m>) -> Option<&'m [u8]> {
    let (package, rest) = e.name().split_at_checked(PACKAGE.len())?;
    rest.strip_prefix(b"/").filter(|_| package.eq_ignore_ascii_case(PACKAGE.as_bytes()))
}

impl<'m> Step<'m> {
    /// The step that a message is; `None` where it has nothing of one.
    ///
    /// # Errors
    /// A [`Fault`] where it has something of a step and is none, or has more beside it.
    pub(crate) fn of(msg: &Message<'m>) -> Result<Option<Self>, Fault> {
        if !may_mention(msg.octets()) {
            return Ok(None);
        }
        match Self::alone(msg) {
            Ok(step) => Ok(Some(step)),
            Err(fault) if mentions(msg) => Err(fault),
            Err(_) => Ok(None),
        }
    }

    /// The step that is the only command of a message.
    fn alone(msg: &Message<'m>) -> Result<Self, Fault> {
        let (id, command) = msg.only_command().ok_or_else(|| fault(msg, "transaction", msg.octets()))?;
        if !command.is_root() {
            return Err(fault(msg, "termination", command.element().whole()));
        }
        match command.kind {
            CommandKind::ServiceChange => register(msg, id, &command),
            CommandKind::Notify => observed(msg, id, &command),
            CommandKind::Modify => signalled(msg, id, &command),
            _ => Err(fault(msg, "command", command.element().whole())),
        }
    }
}

/// True where a request of the message has something of the package in it. Replies may tell of it, as an audit's do.
pub(crate) fn mentions(msg: &Message<'_>) -> bool {
    let mut requests = msg.transactions().filter(|t| t.kind == Kind::Request);
    may_mention(msg.octets()) && requests.any(|t| t.actions().any(|a| a.commands().any(|c| command_mentions(&c))))
}

/// False where the package's name stands nowhere in the octets, as in nearly all that is no step: one look says so.
pub(crate) fn may_mention(octets: &[u8]) -> bool {
    let ends = |text: &[u8], name: &[u8]| {
        text.len().checked_sub(name.len()).and_then(|at| text.get(at..)).is_some_and(|e| e.eq_ignore_ascii_case(name))
    };
    let mut from = 0;
    while let Some(found) = octets.get(from..).and_then(|rest| find(rest, [b'/', b'-'])) {
        let at = from + found;
        from = at + 1;
        let (before, behind) = (octets.get(..at).unwrap_or_default(), octets.get(at..).unwrap_or_default());
        let extension = || ends(before, b"X") && behind.get(..4).is_some_and(|e| e.eq_ignore_ascii_case(b"-PKD"));
        if ends(before, PACKAGE.as_bytes()) || extension() {
            return true;
        }
    }
    false
}

fn command_mentions(command: &Command<'_>) -> bool {
    let named = |e: Element<'_>| item(&e).is_some();
    match command.kind {
        CommandKind::ServiceChange => command.services().is_some_and(|s| s.pkd().is_some()),
        CommandKind::Notify => command.descriptors().any(|d| d.elements().any(named)),
        CommandKind::Add | CommandKind::Move | CommandKind::Modify => {
            command.descriptors().any(|d| descriptor_mentions(&d))
        }
        _ => false,
    }
}

/// Events, buffered events and signals, those in signal lists and embedded in events among them.
fn descriptor_mentions(e: &Element<'_>) -> bool {
    let deep = e.is(Tok::SIGNALS) || e.is(Tok::EVENTS) || e.is(Tok::EVENT_BUFFER);
    let into = |e: &Element<'_>| e.is(Tok::EMBED) || e.is(Tok::NOTIFY_REGULATED) || e.is(Tok::SIGNAL_LIST);
    let inner = |i: Element<'_>| {
        item(&i).is_some()
            || into(&i) && descriptor_mentions(&i)
            || i.elements().any(|p| into(&p) && descriptor_mentions(&p))
    };
    if deep || e.is(Tok::SIGNAL_LIST) {
        return e.elements().any(inner);
    }
    into(e) && e.elements().any(|d| descriptor_mentions(&d))
}

fn fault(msg: &Message<'_>, what: &'static str, part: &[u8]) -> Fault {
    msg.fault(FaultKind::Malformed, what, part)
}

fn register<'m>(msg: &Message<'m>, id: u32, command: &Command<'m>) -> Result<Step<'m>, Fault> {
    let services = command.services().ok_or_else(|| fault(msg, "Services", command.element().whole()))?;
    let list = services.pkd().ok_or_else(|| fault(msg, "X-PKD", command.element().whole()))?;
    if !services.method().is_some_and(|m| m.registers()) {
        return Err(fault(msg, "Method", command.element().whole()));
    }
    let params = Params::read_services(list).map_err(|e| param_fault(msg, list, &e))?;
    let version = services.version().unwrap_or(msg.version()).clamp(1, 3);
    Ok(Step::Register { id, version, services, params })
}

fn observed<'m>(msg: &Message<'m>, id: u32, command: &Command<'m>) -> Result<Step<'m>, Fault> {
    let mut descriptors = command.descriptors();
    let bad = || fault(msg, "ObservedEvents", command.element().whole());
    let events = descriptors.next().filter(|_| descriptors.next().is_none()).ok_or_else(bad)?;
    let mut list = events.elements();
    let event = list.next().filter(|_| list.next().is_none()).ok_or_else(bad)?;
    if !item(&event).is_some_and(|i| i.eq_ignore_ascii_case(b"resp")) {
        return Err(bad());
    }
    let request_id = portunus_codec::parse_u32(events.value()).unwrap_or(1);
    Ok(Step::Response { id, request_id, params: params(msg, &event)? })
}

fn signalled<'m>(msg: &Message<'m>, id: u32, command: &Command<'m>) -> Result<Step<'m>, Fault> {
    const NAMES: [(&[u8], Signal); 4] =
        [(b"chal", Signal::Chal), (b"key", Signal::Key), (b"fail", Signal::Fail), (b"cookie", Signal::Cookie)];
    let bad = || fault(msg, "Signals", command.element().whole());
    let mut signals = command.descriptors().filter(|d| d.is(Tok::SIGNALS)).flat_map(|d| d.elements());
    let signal = signals.next().filter(|_| signals.next().is_none()).ok_or_else(bad)?;
    let name = item(&signal).and_then(|i| NAMES.iter().find(|(n, _)| i.eq_ignore_ascii_case(n)));
    let &(_, name) = name.ok_or_else(bad)?;
    Ok(Step::Signal { id, name, params: params(msg, &signal)? })
}

/// The parameters of an event or a signal.
fn params<'m>(msg: &Message<'m>, e: &Element<'m>) -> Result<Params<'m>, Fault> {
    let mut params = Params::default();
    let mut names: [&[u8]; PARAMS_MAX] = [b""; PARAMS_MAX];
    for (i, p) in e.elements().enumerate() {
        let listed = p.value().starts_with(b"[") || p.value().starts_with(b"{");
        if p.relation() != b'=' || listed || names.iter().take(i).any(|n| n.eq_ignore_ascii_case(p.name())) {
            return Err(fault(msg, "parameter", p.whole()));
        }
        match names.get_mut(i) {
            Some(place) => *place = p.name(),
            None => return Err(msg.fault(FaultKind::TooBig, "parameters", p.whole())),
        }
        params.take(p.name(), p.text(), 0).map_err(|e| param_fault(msg, p.whole(), &e))?;
    }
    Ok(params)
}

/// What is wrong with a list, as a fault of the message that holds it.
pub(crate) fn param_fault(msg: &Message<'_>, list: &[u8], e: &ParamError) -> Fault {
    let kind = match e.fault {
        ParamFault::CoreOnly => FaultKind::Forbidden,
        ParamFault::TooBig => FaultKind::TooBig,
        ParamFault::Syntax | ParamFault::Twice | ParamFault::Value | ParamFault::Missing | ParamFault::Version => {
            FaultKind::Malformed
        }
    };
    let what = if e.name.is_empty() { "parameter" } else { e.name };
    msg.fault(kind, what, list.get(e.at.min(list.len())..).unwrap_or_default())
}
